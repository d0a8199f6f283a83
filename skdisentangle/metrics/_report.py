"""All metrics at once, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._random import RandomState, check_rng, draw_seed
from ._correlation import mcc_score, sap_score
from ._dci import dci_scores
from ._explicitness import explicitness_curve_score, explicitness_score
from ._infomec import infomec_scores
from ._information import mig_score, modularity_score
from ._intervention import factor_vae_score, irs_score
from ._validation import (
    DiscreteFactors,
    check_factors_codes,
)


@dataclass(frozen=True)
class DisentanglementReport:
    """Result of :func:`disentanglement_report`. Print it, or call ``to_frame()``.

    Attributes
    ----------
    scores : dict of str to float
        Name of each score and its value.
    meanings : dict of str to str
        What each score asks, in a few words.
    n_samples, n_factors, n_codes : int
        Numbers of rows, factors and codes that were scored.
    """

    scores: dict[str, float]
    meanings: dict[str, str]
    n_samples: int
    n_factors: int
    n_codes: int

    def __getitem__(self, name: str) -> float:
        return self.scores[name]

    def __str__(self) -> str:
        width = max(len(name) for name in self.scores)
        lines = [
            f"{self.n_samples} rows, {self.n_factors} factors, {self.n_codes} codes",
            "",
            f"{'metric':<{width}}  score  asks",
        ]
        lines += [
            f"{name:<{width}}  {score:.3f}  {self.meanings[name]}"
            for name, score in self.scores.items()
        ]
        return "\n".join(lines)

    def to_frame(self) -> Any:
        """Return the table as a data frame.

        Returns
        -------
        frame : pandas.DataFrame
            Index ``metric``, columns ``score`` and ``asks``.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        import pandas as pd

        return pd.DataFrame(
            {"score": self.scores, "asks": self.meanings},
            index=pd.Index(list(self.scores), name="metric"),
        )


_MEANINGS = {
    "dci_disentanglement": "each code matters for one factor (boosted trees)",
    "dci_completeness": "one code matters for each factor (boosted trees)",
    "dci_informativeness": "factors are predicted on held-out rows (boosted trees)",
    "dci_linear_disentanglement": "each code matters for one factor (linear)",
    "dci_linear_completeness": "one code matters for each factor (linear)",
    "dci_linear_informativeness": "factors are predicted on held-out rows (linear)",
    "mcc_pearson": "each factor has a code that is linear in it",
    "mcc_spearman": "each factor has a code that is monotone in it",
    "mig": "each factor is held by one code only (information)",
    "sap": "each factor is predicted by one code only",
    "modularity": "each code informs about one factor (chance is not 0)",
    "explicitness": "factors are read out linearly (chance is 0.5)",
    "explicitness_curve": "little capacity reads the factors out (DCI-ES)",
    "infom": "each code informs about one factor (InfoMEC)",
    "infoc": "each factor is in one code (InfoMEC)",
    "infoe": "factors are read out linearly (InfoMEC)",
    "irs": "codes stay constant while other factors change (chance is not 0)",
    "factor_vae": "the least varying code identifies the fixed factor (chance 1/K)",
}


def disentanglement_report(
    factors: Any,
    codes: Any,
    *,
    importance: Any = "fast_boosting",
    discrete_factors: DiscreteFactors = "auto",
    random_state: RandomState = 0,
    n_jobs: int | None = None,
) -> DisentanglementReport:
    """Score a representation with all metrics of this module and their defaults.

    Parameters
    ----------
    factors : array-like of shape (n_samples, n_factors)
        The true factors. Not constant, no missing values.
    codes : array-like of shape (n_samples, n_codes)
        The representation. Constant codes change nothing.
    importance : str, estimator or (regressor, classifier), default="fast_boosting"
        The model of the first DCI scores, see :func:`dci_scores`. The report always adds
        linear DCI.
    discrete_factors : "auto", bool or array-like, default="auto"
        Which factors are classes rather than numbers, see :func:`mig_score`.
    random_state : int, RandomState or None, default=0
        Seed of all metrics with a random part. None draws differently in each call. The global
        random state is never used.
    n_jobs : int or None, default=None
        Number of factors to process at once, in threads.

    Returns
    -------
    report : DisentanglementReport
        It prints as a table. ``report["mig"]`` is one score, ``report.scores`` holds all,
        and ``report.to_frame()`` returns a pandas data frame.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described. The message says which.

    Notes
    -----
    Each function documents its formula, source and chance level. To see the chance levels
    of a data set, make a report of ``codes`` with shuffled rows. All scores lie in [0, 1],
    but do not compare different metrics with one another.

    *Pitfalls*: do not choose the metric after you have seen the scores. DCI depends on the
    kind of importance, so the report shows boosting beside linear importances and MCC. If
    they disagree, the factors are correlated or the codes are mixtures.

    References
    ----------
    Locatello et al., "Challenging common assumptions in the unsupervised learning of
    disentangled representations", ICML 2019, on how these metrics agree.

    Examples
    --------
    >>> import numpy as np
    >>> from skdisentangle.metrics import disentanglement_report
    >>> factors = np.random.default_rng(0).integers(2, size=(300, 2))
    >>> report = disentanglement_report(factors, factors * [1.0, 2.0])
    >>> round(report["mcc_pearson"], 3)
    1.0
    """
    values, checked, is_discrete = check_factors_codes(factors, codes, discrete_factors)
    seed = draw_seed(check_rng(random_state))
    data: dict[str, Any] = {
        "factors": values,
        "codes": checked,
        "discrete_factors": is_discrete,
    }
    seeded = {**data, "random_state": seed}
    parallel = {**seeded, "n_jobs": n_jobs}
    dci = dci_scores(**parallel, importance=importance)
    linear = dci_scores(**parallel, importance="linear")
    info = infomec_scores(**parallel)
    scores = {
        "dci_disentanglement": dci.disentanglement,
        "dci_completeness": dci.completeness,
        "dci_informativeness": dci.informativeness,
        "dci_linear_disentanglement": linear.disentanglement,
        "dci_linear_completeness": linear.completeness,
        "dci_linear_informativeness": linear.informativeness,
        "mcc_pearson": mcc_score(**data),
        "mcc_spearman": mcc_score(**data, method="spearman"),
        "mig": mig_score(**data),
        "sap": sap_score(**parallel),
        "modularity": modularity_score(**data),
        "explicitness": explicitness_score(**parallel),
        "explicitness_curve": explicitness_curve_score(**seeded),
        "infom": info.infom,
        "infoc": info.infoc,
        "infoe": info.infoe,
        "irs": irs_score(**data),
        "factor_vae": factor_vae_score(**seeded),
    }
    return DisentanglementReport(
        scores=scores,
        meanings=dict(_MEANINGS),
        n_samples=len(values),
        n_factors=values.shape[1],
        n_codes=checked.shape[1],
    )
