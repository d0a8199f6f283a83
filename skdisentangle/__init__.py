"""Disentangled features for scikit-learn, learned from many supervised tasks."""

from ._version import __version__
from .disentangler import SparseSharedDisentangler
from .model_selection import SparseSharedDisentanglerCV

__all__ = ["SparseSharedDisentangler", "SparseSharedDisentanglerCV", "__version__"]
