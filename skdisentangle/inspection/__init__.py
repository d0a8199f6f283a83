"""What to think of a fit: whether its components can be the factors."""

from ._identifiability import (
    IdentifiabilityDisplay,
    IdentifiabilityReport,
    identifiability_report,
)

__all__ = [
    "IdentifiabilityDisplay",
    "IdentifiabilityReport",
    "identifiability_report",
]
