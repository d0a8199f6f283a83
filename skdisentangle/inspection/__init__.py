"""Pictures of fitted models, in the manner of scikit-learn's displays.

They need matplotlib: ``pip install 'skdisentangle[plots]'``.
"""

from ._sparsity_path import SparsityPathDisplay

__all__ = ["SparsityPathDisplay"]
