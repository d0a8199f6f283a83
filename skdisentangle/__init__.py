"""Disentangled features for scikit-learn, learned from many supervised tasks."""

from ._version import __version__
from .disentangler import SparseSharedDisentangler

__all__ = ["SparseSharedDisentangler", "__version__"]
