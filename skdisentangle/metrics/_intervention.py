"""Metrics that hold one factor fixed and measure the change of codes: IRS and FactorVAE."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import check_array

from .._random import RandomState, check_rng
from ._validation import (
    DiscreteFactors,
    FloatArray,
    IntArray,
    canonical_codes,
    check_factors_codes,
    check_integer,
    check_option,
    factor_labels,
    is_constant,
)

#: Draws `n` codes of rows that share one random value of factor `j`.
Sampler = Callable[[int, int, np.random.RandomState], Any]

_VOTES_AT_ONCE = 1000


def irs_score(
    factors: Any,
    codes: Any,
    *,
    discrete_factors: DiscreteFactors = "auto",
    n_bins: int = 20,
    quantile: float = 0.99,
    weights: str = "deviation",
) -> float:
    r"""Compute the interventional robustness score (IRS).

    It asks whether each code stays constant while one factor is held and all others change.
    With
    :math:`d_{ij}` the mean, over the values of factor j, of the `quantile` of
    :math:`|z_i - \mathrm{E}[z_i | v_j]|` and
    :math:`m_i = \max |z_i - \mathrm{E} z_i|`,

    .. math::
        \mathrm{IRS}_i = \max\left(0, 1 - \min_j d_{ij} / m_i\right), \quad
        \mathrm{IRS} = \sum_i w_i \mathrm{IRS}_i,

    with weights :math:`w_i` in proportion to :math:`m_i`, or equal.

    Parameters
    ----------
    factors : array-like of shape (n_samples, n_factors)
        The true factors. Not constant, no missing values.
    codes : array-like of shape (n_samples, n_codes)
        The representation. Constant codes change nothing.
    discrete_factors : "auto", bool or array-like, default="auto"
        Which factors are classes rather than numbers, see :func:`mig_score`.
    n_bins : int, default=20
        Number of equal-width bins for continuous factors.
    quantile : float, default=0.99
        In (0, 1]; 1 is the largest deviation, as in the paper.
    weights : {"deviation", "uniform"}, default="deviation"
        "deviation" follows the paper and lets codes of a large scale dominate; with
        "uniform" the score does not depend on the scale of any code.

    Returns
    -------
    score : float
        In [0, 1], 1 is best; 0 if no code varies.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described. The message says which.

    Notes
    -----
    *Chance level*: not 0, and higher if few rows share a value, because few rows rarely
    deviate far. For normal codes it is 0.26 to 0.38 with at most 10 classes per factor,
    0.42 to 0.52 with continuous factors and 2,000 rows, and 0.5 to 0.55 with 300. Score
    shuffled rows of the codes to learn the level of a data set.

    *Pitfalls*: many nearly constant or heavy-tailed codes raise the score, because the
    maximum is then far from all other values. Continuous factors vary within a bin, so a
    perfect code scores about 1 - 1/n_bins. IRS does not ask whether factors are encoded at
    all, and a code may be robust to a mere copy of itself.

    In disentanglement_lib the score can leave [0, 1] if a group's mean is far from the
    overall mean. Here it is clipped. disentanglement_lib also bins discrete factors: set
    ``discrete_factors=False`` to get its number for a discrete factor with more than
    `n_bins` values.

    References
    ----------
    Suter, Miladinović, Schölkopf and Bauer, "Robustly disentangled causal mechanisms:
    validating deep representations for interventional robustness", ICML 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from skdisentangle.metrics import irs_score
    >>> factors = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> irs_score(factors, factors * [3.0, -2.0])
    1.0
    """
    n_bins = check_integer("n_bins", n_bins, 2)
    check_option("weights", weights, ["deviation", "uniform"])
    if isinstance(quantile, bool) or not isinstance(quantile, (int, float, np.number)):
        raise TypeError(f"quantile: got {quantile!r}; expected a number in (0, 1].")
    if not 0 < quantile <= 1:
        raise ValueError(f"quantile: got {quantile!r}; expected a number in (0, 1].")
    values, codes, is_discrete = check_factors_codes(factors, codes, discrete_factors)
    labels = factor_labels(values, is_discrete, n_bins)
    codes = codes[:, ~is_constant(codes)]
    if not codes.shape[1]:
        return 0.0
    # one exact power of two for all codes: it cannot overflow and keeps the weights
    codes = np.ldexp(codes, -np.frexp(np.abs(codes).max())[1])
    farthest = np.abs(codes - codes.mean(axis=0)).max(axis=0)
    if weights == "uniform":
        # a code far smaller than the largest one still counts in full
        codes = canonical_codes(codes)[0]
        farthest = np.abs(codes - codes.mean(axis=0)).max(axis=0)
    visible = farthest > 0
    codes, farthest = codes[:, visible], farthest[visible]
    held = np.column_stack(
        [_deviation_within(codes, column, quantile) for column in labels.T]
    )
    robustness = np.clip(1.0 - (held / farthest[:, None]).min(axis=1), 0.0, 1.0)
    return float(
        np.average(robustness, weights=farthest if weights == "deviation" else None)
    )


def _deviation_within(
    codes: FloatArray, labels: IntArray, quantile: float
) -> FloatArray:
    """Mean over classes of the quantile of |code - class mean|, shape (n_codes,)."""
    total = np.zeros(codes.shape[1])
    groups = _rows_by_class(labels)
    for rows in groups:
        group = codes[rows]
        total += np.quantile(np.abs(group - group.mean(axis=0)), quantile, axis=0)
    return total / len(groups)


def _rows_by_class(labels: IntArray) -> list[IntArray]:
    """Rows of each class 0, 1, ..., every one of which occurs."""
    order = np.argsort(labels, kind="stable")
    return list(np.split(order, np.cumsum(np.bincount(labels))[:-1]))


def factor_vae_score(
    factors: Any,
    codes: Any,
    *,
    sampler: Sampler | None = None,
    discrete_factors: DiscreteFactors = "auto",
    n_bins: int = 20,
    batch_size: int = 64,
    n_train: int = 10_000,
    n_test: int = 5_000,
    random_state: RandomState = 0,
) -> float:
    r"""Compute the FactorVAE score: whether the least varying code identifies the fixed factor.

    Each vote draws a factor j and a value of it, takes `batch_size` codes of rows with that
    value, and goes to the code

    .. math:: \arg\min_i \mathrm{Var}_{batch}(z_i) / \mathrm{Var}(z_i).

    From `n_train` votes, each code gets the factor for which it was chosen most often. The
    score is the accuracy of this table on `n_test` further votes.

    Parameters
    ----------
    factors : array-like of shape (n_samples, n_factors)
        The true factors. Not constant, no missing values.
    codes : array-like of shape (n_samples, n_codes)
        The representation. Constant codes get no vote.
    sampler : callable or None, default=None
        ``sampler(factor_index, batch_size, rng)`` returns fresh codes of shape
        (batch_size, n_codes) whose factor `factor_index` has one value, drawn by the
        sampler with the ``RandomState`` it is given. `factors` and `codes` then only
        give the number of factors and the overall variances. None draws rows of `codes`
        that share the (binned) value of a random row, with replacement.
    discrete_factors : "auto", bool or array-like, default="auto"
        Which factors are classes rather than numbers, see :func:`mig_score`.
    n_bins : int, default=20
        Number of equal-width bins for continuous factors.
    batch_size : int, default=64
        Rows in one vote.
    n_train, n_test : int, default=10_000 and 5_000
        Number of votes for the table and for its accuracy.
    random_state : int, RandomState or None, default=0
        Seed of the draws. None draws differently in each call. The global state is never used.

    Returns
    -------
    score : float
        In [0, 1], 1 is best.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described. The message says which. Also if no two rows
        share a (binned) value of a factor and there is no sampler.

    Notes
    -----
    *Chance level*: 1 / n_factors with a sampler, and slightly more from static rows,
    which repeat: 0.18 for 6 factors and 2,000 rows, 0.21 to 0.25 for 300. If no code varies,
    the score is 1 / n_factors.

    *Pitfalls*: a rotation hardly lowers the score (0.5 to 0.9 for a random rotation of 6
    factors), and extra codes do not lower it. Values that few rows share make poor votes.
    Values of a single row are not drawn.

    disentanglement_lib removes codes with a deviation below 0.05, so its score depends on
    the scale of the codes. This function removes only constant codes. A noise code need not
    be removed: its variance in a batch is not small compared with its overall variance.

    References
    ----------
    Kim and Mnih, "Disentangling by factorising", ICML 2018, section 4. Resampling
    static rows: Zaidi et al., "Measuring disentanglement: a review of metrics", 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from skdisentangle.metrics import factor_vae_score
    >>> factors = np.random.default_rng(0).integers(3, size=(200, 2))
    >>> factor_vae_score(factors, factors * [3.0, -2.0])
    1.0
    """
    n_bins = check_integer("n_bins", n_bins, 2)
    batch_size = check_integer("batch_size", batch_size, 2)
    n_train = check_integer("n_train", n_train, 1)
    n_test = check_integer("n_test", n_test, 1)
    if sampler is not None and not callable(sampler):
        raise TypeError(
            f"sampler: got {sampler!r}; expected None or a callable "
            "(factor_index, batch_size, rng) -> codes."
        )
    values, codes, is_discrete = check_factors_codes(factors, codes, discrete_factors)
    n_factors: int = values.shape[1]
    rng = check_rng(random_state)
    held = rng.randint(n_factors, size=n_train + n_test)
    if sampler is not None:
        live = ~is_constant(codes)
        relative = _sampled_variances(sampler, held, batch_size, codes, live, rng)
    else:
        canonical, _ = canonical_codes(codes)
        labels = factor_labels(values, is_discrete, n_bins)
        relative = _resampled_variances(canonical, labels, held, batch_size, rng)
    if not relative.shape[1]:
        return 1.0 / n_factors
    votes = relative.argmin(axis=1)
    counts = np.zeros((relative.shape[1], n_factors), dtype=np.int64)
    np.add.at(counts, (votes[:n_train], held[:n_train]), 1)
    return float(np.mean(counts.argmax(axis=1)[votes[n_train:]] == held[n_train:]))


def _resampled_variances(
    codes: FloatArray,
    labels: IntArray,
    held: IntArray,
    batch_size: int,
    rng: np.random.RandomState,
) -> FloatArray:
    """Variance of each code in each vote's batch, shape (n_votes, n_codes)."""
    result = np.empty((len(held), codes.shape[1]))
    for j in range(labels.shape[1]):
        sizes = np.bincount(labels[:, j])
        order = np.argsort(labels[:, j], kind="stable")
        start = np.cumsum(sizes) - sizes
        # draw a row, hence a value by how frequent it is, then rows of that value
        usable = np.flatnonzero(sizes[labels[:, j]] > 1)
        if not len(usable):
            raise ValueError(
                f"factors: no two rows share a value of column {j}, so it cannot be "
                "held fixed. Give more rows, lower n_bins, or say with "
                "discrete_factors that it is continuous."
            )
        votes = np.flatnonzero(held == j)
        for chunk in np.split(votes, range(_VOTES_AT_ONCE, len(votes), _VOTES_AT_ONCE)):
            value = labels[rng.choice(usable, size=len(chunk)), j]
            within = rng.uniform(size=(len(chunk), batch_size)) * sizes[value][:, None]
            rows = order[start[value][:, None] + within.astype(np.int64)]
            result[chunk] = codes[rows].var(axis=1)
    return result


def _sampled_variances(
    sampler: Sampler,
    held: IntArray,
    batch_size: int,
    codes: FloatArray,
    live: np.ndarray,
    rng: np.random.RandomState,
) -> FloatArray:
    """Like `_resampled_variances`, with batches that come from a sampler."""
    result = np.empty((len(held), int(live.sum())))
    # divided before the squares are taken, which might overflow
    overall = codes[:, live].std(axis=0)
    for vote, j in enumerate(held):
        batch = check_array(
            sampler(int(j), batch_size, rng),
            dtype=np.float64,
            input_name="the codes returned by sampler",
        )
        if batch.shape != (batch_size, codes.shape[1]):
            raise ValueError(
                f"sampler: returned codes of shape {batch.shape}; expected "
                f"{(batch_size, codes.shape[1])}."
            )
        result[vote] = (batch[:, live] / overall).var(axis=0)
    return result
