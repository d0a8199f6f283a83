"""The three scores of DCI, each as a single number."""

from __future__ import annotations

from typing import Any

from .._random import RandomState
from ._dci import dci_scores
from ._validation import DiscreteFactors


def disentanglement_score(
    factors: Any,
    codes: Any,
    *,
    importance: Any = "fast_boosting",
    discrete_factors: DiscreteFactors = "auto",
    cv: Any = None,
    random_state: RandomState = 0,
    n_jobs: int | None = None,
) -> float:
    r"""Compute the disentanglement D of DCI: whether each code matters for one factor only.

    With :math:`R_{ij}` the importance of code i for factor j, each column scaled to sum
    to 1, and :math:`P_{ij} = R_{ij} / \sum_l R_{il}`,

    .. math::
        D = \sum_i \rho_i \Big(1 + \sum_j P_{ij} \log_K P_{ij}\Big), \quad
        \rho_i = \sum_j R_{ij} \big/ \sum_{ij} R_{ij}.

    This is the attribute ``disentanglement`` of :func:`dci_scores` as a single number.

    Parameters
    ----------
    factors : array-like of shape (n_samples, n_factors)
        The true factors. Not constant, no missing values.
    codes : array-like of shape (n_samples, n_codes)
        The representation. Constant codes change nothing.
    importance : str, estimator or (regressor, classifier), default="fast_boosting"
        The model that predicts factors from codes, see :func:`dci_scores`.
    discrete_factors : "auto", bool or array-like, default="auto"
        Which factors are classes rather than numbers, see :func:`mig_score`.
    cv : None, int, splitter or iterable of (train, test), default=None
        Rows to fit on and to score on, see :func:`dci_scores`. None holds out a third.
    random_state : int, RandomState or None, default=0
        Seed of the split and the models. None draws differently in each call.
    n_jobs : int or None, default=None
        Number of factors to process at once, in threads.

    Returns
    -------
    score : float
        In [0, 1], 1 is best.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described. The message says which.

    Notes
    -----
    *Chance level*: 0 to 0.03 with trees, 0.01 to 0.2 with "linear" (6 factors and 6
    codes).

    *Pitfalls*: D depends on the kind of importance. With trees, copies of a code do not
    lower it. Factors that no code holds do lower it. See :func:`dci_scores` for which kind
    to use.

    References
    ----------
    Eastwood and Williams, "A framework for the quantitative evaluation of disentangled
    representations", ICLR 2018.
    """
    return dci_scores(
        factors,
        codes,
        importance=importance,
        discrete_factors=discrete_factors,
        cv=cv,
        random_state=random_state,
        n_jobs=n_jobs,
    ).disentanglement


def completeness_score(
    factors: Any,
    codes: Any,
    *,
    importance: Any = "fast_boosting",
    discrete_factors: DiscreteFactors = "auto",
    cv: Any = None,
    random_state: RandomState = 0,
    n_jobs: int | None = None,
) -> float:
    r"""Compute the completeness C of DCI: whether only one code matters for each factor.

    With :math:`R_{ij}` the importance of code i for factor j, each column scaled to sum
    to 1 (or 0), and M the number of codes that vary,

    .. math::
        C = \sum_j \gamma_j \Big(1 + \sum_i R_{ij} \log_M R_{ij}\Big), \quad
        \gamma_j = \sum_i R_{ij} \big/ \sum_{ij} R_{ij}.

    This is the attribute ``completeness`` of :func:`dci_scores` as a single number.

    Parameters
    ----------
    factors : array-like of shape (n_samples, n_factors)
        The true factors. Not constant, no missing values.
    codes : array-like of shape (n_samples, n_codes)
        The representation. Constant codes change nothing.
    importance : str, estimator or (regressor, classifier), default="fast_boosting"
        The model that predicts factors from codes, see :func:`dci_scores`.
    discrete_factors : "auto", bool or array-like, default="auto"
        Which factors are classes rather than numbers, see :func:`mig_score`.
    cv : None, int, splitter or iterable of (train, test), default=None
        Rows to fit on and to score on, see :func:`dci_scores`. None holds out a third.
    random_state : int, RandomState or None, default=0
        Seed of the split and the models. None draws differently in each call.
    n_jobs : int or None, default=None
        Number of factors to process at once, in threads.

    Returns
    -------
    score : float
        In [0, 1], 1 is best.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described. The message says which.

    Notes
    -----
    *Chance level*: 0 to 0.03 with trees, 0.01 to 0.2 with "linear" (6 factors and 6
    codes).

    *Pitfalls*: C depends on the kind of importance, and one code that holds all factors has
    C = 1. See :func:`dci_scores` for which kind to use.

    References
    ----------
    Eastwood and Williams, "A framework for the quantitative evaluation of disentangled
    representations", ICLR 2018.
    """
    return dci_scores(
        factors,
        codes,
        importance=importance,
        discrete_factors=discrete_factors,
        cv=cv,
        random_state=random_state,
        n_jobs=n_jobs,
    ).completeness


def informativeness_score(
    factors: Any,
    codes: Any,
    *,
    importance: Any = "fast_boosting",
    discrete_factors: DiscreteFactors = "auto",
    cv: Any = None,
    random_state: RandomState = 0,
    n_jobs: int | None = None,
) -> float:
    r"""Compute the informativeness I of DCI: how well codes predict factors on held-out rows.

    .. math::
        I = \frac{1}{K} \sum_j \text{accuracy of discrete, or } \max(0, R^2)
        \text{ of continuous factor } j.

    This is the attribute ``informativeness`` of :func:`dci_scores` as a single number.

    Parameters
    ----------
    factors : array-like of shape (n_samples, n_factors)
        The true factors. Not constant, no missing values.
    codes : array-like of shape (n_samples, n_codes)
        The representation. Constant codes change nothing.
    importance : str, estimator or (regressor, classifier), default="fast_boosting"
        The model that predicts factors from codes, see :func:`dci_scores`.
    discrete_factors : "auto", bool or array-like, default="auto"
        Which factors are classes rather than numbers, see :func:`mig_score`.
    cv : None, int, splitter or iterable of (train, test), default=None
        Rows to fit on and to score on, see :func:`dci_scores`. None holds out a third.
    random_state : int, RandomState or None, default=0
        Seed of the split and the models. None draws differently in each call.
    n_jobs : int or None, default=None
        Number of factors to process at once, in threads.

    Returns
    -------
    score : float
        In [0, 1], 1 is best.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described. The message says which.

    Notes
    -----
    *Chance level*: the mean over factors of the share of the largest class for discrete
    factors, and 0 for continuous ones.

    *Pitfalls*: accuracy and R² are different measures, so compare only scores of the same
    factors. The score depends on the model. The default model is small, so a rotation of
    perfect codes lowers the score. See :func:`dci_scores` for details.

    References
    ----------
    Eastwood and Williams, "A framework for the quantitative evaluation of disentangled
    representations", ICLR 2018.
    """
    return dci_scores(
        factors,
        codes,
        importance=importance,
        discrete_factors=discrete_factors,
        cv=cv,
        random_state=random_state,
        n_jobs=n_jobs,
    ).informativeness
