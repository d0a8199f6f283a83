"""Warnings that point to the user's line of code."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import joblib
import sklearn

__all__ = ["warn"]

#: Folders whose lines are none of the user's.
_INSIDE = tuple(
    str(Path(path).parent)
    for path in (__file__, sklearn.__file__, joblib.__file__)
    if path is not None
)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn with the line that called into this package, however deep the call is."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
