"""Metrics of disentanglement, from true factors and codes, and accuracy by group."""

from ._correlation import mcc_score, sap_score
from ._dci import DCIScores, dci_scores
from ._dci_single import (
    completeness_score,
    disentanglement_score,
    informativeness_score,
)
from ._explicitness import (
    explicitness_curve_score,
    explicitness_from_curve,
    explicitness_score,
)
from ._infomec import InfoMECScores, infomec_scores
from ._information import mig_score, modularity_score
from ._intervention import factor_vae_score, irs_score
from ._report import DisentanglementReport, disentanglement_report
from ._scorer import DisentanglementScorer, make_disentanglement_scorer
from ._shift import group_accuracies, worst_group_accuracy

__all__ = [
    "DCIScores",
    "DisentanglementReport",
    "DisentanglementScorer",
    "InfoMECScores",
    "completeness_score",
    "dci_scores",
    "disentanglement_report",
    "disentanglement_score",
    "explicitness_curve_score",
    "explicitness_from_curve",
    "explicitness_score",
    "factor_vae_score",
    "group_accuracies",
    "infomec_scores",
    "informativeness_score",
    "irs_score",
    "make_disentanglement_scorer",
    "mcc_score",
    "mig_score",
    "modularity_score",
    "sap_score",
    "worst_group_accuracy",
]
