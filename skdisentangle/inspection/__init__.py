"""What to think of a fit: whether its components can be the factors; displays.

The displays need matplotlib: ``pip install 'skdisentangle[plots]'``.
"""

from ._identifiability import (
    IdentifiabilityDisplay,
    IdentifiabilityReport,
    identifiability_report,
)
from ._sparsity_path import SparsityPathDisplay

__all__ = [
    "IdentifiabilityDisplay",
    "IdentifiabilityReport",
    "SparsityPathDisplay",
    "identifiability_report",
]
