"""Disentangled features for scikit-learn, learned from many supervised tasks."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from ._version import __version__

__all__ = ["SparseSharedDisentangler", "SparseSharedDisentanglerCV", "__version__"]

if TYPE_CHECKING:
    from . import backbones as backbones
    from . import datasets as datasets
    from . import distributed as distributed
    from . import extraction as extraction
    from . import heads as heads
    from . import inspection as inspection
    from . import metrics as metrics
    from . import model_selection as model_selection
    from . import preprocessing as preprocessing
    from .disentangler import SparseSharedDisentangler
    from .model_selection import SparseSharedDisentanglerCV
else:
    # torch takes seconds to import, so names are loaded when they are first used. Type
    # checkers do not see these functions: they would take any name for one of ours.

    #: Module of each class.
    _CLASSES = {
        "SparseSharedDisentangler": "disentangler",
        "SparseSharedDisentanglerCV": "model_selection",
    }
    _MODULES = {
        "backbones",
        "datasets",
        "distributed",
        "extraction",
        "heads",
        "inspection",
        "metrics",
        "model_selection",
        "preprocessing",
    }

    def __getattr__(name):
        if name in _MODULES:
            return importlib.import_module(f"{__name__}.{name}")
        if name in _CLASSES:
            module = importlib.import_module(f"{__name__}.{_CLASSES[name]}")
            globals()[name] = getattr(module, name)  # found at once from now on
            return globals()[name]
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}",
            name=name,
            obj=sys.modules[__name__],
        )

    def __dir__():
        return sorted({*globals(), *_CLASSES, *_MODULES})
