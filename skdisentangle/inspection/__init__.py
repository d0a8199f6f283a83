"""What to think of a fit: whether its components can be the factors; displays.

The displays need matplotlib: ``pip install 'skdisentangle[plots]'``.
"""

from ._data import data_concerns
from ._description import describe
from ._factor_codes import FactorCodeDisplay
from ._identifiability import (
    IdentifiabilityDisplay,
    IdentifiabilityReport,
    identifiability_report,
)
from ._input_effects import InputEffectDisplay, InputEffects, input_effects
from ._loss_curve import LossCurveDisplay
from ._names import suggest_component_names
from ._page import write_report
from ._sparsity_path import SparsityPathDisplay
from ._summary import SummaryDisplay
from ._task_components import TaskComponentDisplay
from ._traversal import TraversalDisplay
from ._usage import UsageDisplay

__all__ = [
    "FactorCodeDisplay",
    "IdentifiabilityDisplay",
    "IdentifiabilityReport",
    "InputEffectDisplay",
    "InputEffects",
    "LossCurveDisplay",
    "SparsityPathDisplay",
    "SummaryDisplay",
    "TaskComponentDisplay",
    "TraversalDisplay",
    "UsageDisplay",
    "data_concerns",
    "describe",
    "identifiability_report",
    "input_effects",
    "suggest_component_names",
    "write_report",
]
