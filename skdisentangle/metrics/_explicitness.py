"""Metrics of how easily factors can be read out: explicitness, and the curve of DCI-ES."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import trapezoid
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.utils import check_array, check_consistent_length

from .._random import RandomState, check_rng
from ._validation import (
    DiscreteFactors,
    FloatArray,
    IntArray,
    Split,
    canonical_codes,
    check_factors_codes,
    check_integer,
    factor_labels,
    is_constant,
    make_splits,
    map_parallel,
    standardize,
)


def explicitness_score(
    factors: Any,
    codes: Any,
    *,
    discrete_factors: DiscreteFactors = "auto",
    n_bins: int = 20,
    cv: Any = None,
    random_state: RandomState = 0,
    n_jobs: int | None = None,
) -> float:
    r"""Compute explicitness: the ROC AUC of a linear read-out of each factor.

    .. math::
        \mathrm{explicitness} = \frac{1}{K} \sum_j \frac{1}{C_j} \sum_c
        \mathrm{AUC}(P(v_j = c | z), [v_j = c]),

    where P is a logistic regression (C=1) on all standardised codes, and the AUC is computed
    on held-out rows. Continuous factors are binned.

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
    cv : None, int, splitter or iterable of (train, test), default=None
        Rows to fit on and to score on. None holds out a random third, an integer means
        that many shuffled folds; the score is the mean over splits.
    random_state : int, RandomState or None, default=0
        Seed of the split. None draws differently in each call. The global state is never used.
    n_jobs : int or None, default=None
        Number of factors to process at once, in threads.

    Returns
    -------
    score : float
        In [0, 1], 1 is best and 0.5 is chance.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described. The message says which.

    Notes
    -----
    *Chance level*: 0.5 (0.46 to 0.51 for noise). This is also the score if no code varies.

    *Pitfalls*: explicitness measures linear information, not disentanglement. A rotation or
    any other invertible linear map does not change it. Perfect codes of many ordered
    classes score below 1 with few rows, because the penalised read-out hardly distinguishes
    neighbours (6 factors of 10 classes: 0.94 at 500 rows, 1.00 at 2,000; normal factors in
    20 bins: 0.86 to 0.91). Classes that are missing in the training or the test rows of a
    split are left out.

    disentanglement_lib raises an error if a code is constant. Other implementations rescale
    to 2 AUC - 1 or score training rows.

    References
    ----------
    Ridgeway and Mozer, "Learning deep disentangled embeddings with the F-statistic
    loss", NeurIPS 2018, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from skdisentangle.metrics import explicitness_score
    >>> factors = np.random.default_rng(0).integers(2, size=(100, 2))
    >>> explicitness_score(factors, factors @ [[1.0, 1.0], [1.0, -1.0]])
    1.0
    """
    n_bins = check_integer("n_bins", n_bins, 2)
    values, codes, is_discrete = check_factors_codes(factors, codes, discrete_factors)
    splits = make_splits(cv, len(codes), check_rng(random_state))
    codes, _ = canonical_codes(codes)
    if not codes.shape[1]:
        return 0.5
    labels = factor_labels(values, is_discrete, n_bins)
    areas = map_parallel(
        _linear_auc,
        [(column, codes, split) for column in labels.T for split in splits],
        n_jobs,
    )
    return float(np.mean(areas))


def _linear_auc(labels: IntArray, codes: FloatArray, split: Split) -> float:
    """Mean over classes of the area under the curve on the test rows."""
    train, test = split
    # rows of classes that were not there to be learned say nothing
    test = test[np.isin(labels[test], labels[train])]
    if len(np.unique(labels[train])) < 2 or not len(test):
        return 0.5
    fitted, held_out = _standardize_by_train(codes, train, test)
    model = LogisticRegression(max_iter=1000).fit(fitted, labels[train])
    probabilities = model.predict_proba(held_out)
    areas = [
        roc_auc_score(labels[test] == c, probability)
        for c, probability in zip(model.classes_, probabilities.T, strict=True)
        if 0 < np.sum(labels[test] == c) < len(test)
    ]
    return float(np.mean(areas)) if areas else 0.5


def _standardize_by_train(
    codes: FloatArray, train: IntArray, test: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Standardise by the training rows, without the codes that are constant there."""
    kept = ~is_constant(codes[train])
    mean, deviation = (
        codes[train][:, kept].mean(axis=0),
        codes[train][:, kept].std(axis=0),
    )
    if not kept.any():
        return np.zeros((len(train), 1)), np.zeros((len(test), 1))
    return tuple((codes[rows][:, kept] - mean) / deviation for rows in (train, test))


def explicitness_from_curve(
    capacities: ArrayLike, losses: ArrayLike, baseline_loss: float
) -> float:
    r"""Compute the explicitness E of DCI-ES from a curve of losses over capacities.

    .. math::
        E = \max\left(0, 1 - \frac{2 \int (\ell(\kappa) - \ell^*)\, d\kappa}
        {(\kappa_{max} - \kappa_{min})\, \ell_b} \right),

    where :math:`\ell` is made non-increasing (a larger probe can do what a smaller one
    does), :math:`\ell^*` is its minimum and :math:`\ell_b` the loss of a constant
    prediction. The integral uses trapezoids.

    Parameters
    ----------
    capacities : array-like of shape (n_probes,)
        Strictly increasing, at least two.
    losses : array-like of shape (n_probes,)
        Held-out loss of each probe, not negative. Losses above the baseline are lowered to
        the baseline, which needs no probe.
    baseline_loss : float
        Loss of a constant prediction, positive.

    Returns
    -------
    explicitness : float
        In [0, 1]. It is 1 if the smallest probe is already the best. It is 0 for a straight
        line from the baseline to 0, and for all curves above it.

    Raises
    ------
    ValueError
        If an argument is not as described. The message says which.

    Notes
    -----
    *Chance level*: 1, not 0: the curve of noise is flat at the baseline.

    *Pitfalls*: only the shape counts, so a curve that never falls has E = 1.
    :func:`explicitness_curve_score` corrects for this.

    References
    ----------
    Eastwood et al., "DCI-ES: an extended disentanglement framework with connections to
    identifiability", ICLR 2023, section 4.

    Examples
    --------
    >>> from skdisentangle.metrics import explicitness_from_curve
    >>> explicitness_from_curve([1, 2, 3], [1.0, 0.5, 0.0], baseline_loss=1.0)
    0.0
    >>> explicitness_from_curve([1, 2, 3], [0.5, 0.0, 0.0], baseline_loss=1.0)
    0.75
    """
    x = check_array(capacities, dtype=np.float64, ensure_2d=False, ensure_min_samples=2)
    y = check_array(losses, dtype=np.float64, ensure_2d=False, input_name="losses")
    check_consistent_length(x, y)
    if x.ndim != 1 or np.any(np.diff(x) <= 0):
        raise ValueError(
            f"capacities: expected a strictly increasing 1D array, got {x.tolist()}."
        )
    if y.ndim != 1 or np.any(y < 0):
        raise ValueError(
            f"losses: expected a 1D array without negative values, got {y.tolist()}."
        )
    if not 0 < baseline_loss < np.inf:
        raise ValueError(
            f"baseline_loss: got {baseline_loss!r}; expected a positive number."
        )
    y = np.minimum.accumulate(np.minimum(y, baseline_loss))
    area = trapezoid(y - y[-1], x) / (x[-1] - x[0])
    return float(np.clip(1.0 - 2.0 * area / baseline_loss, 0.0, 1.0))


def explicitness_curve_score(
    factors: Any,
    codes: Any,
    *,
    discrete_factors: DiscreteFactors = "auto",
    n_features: Sequence[int] = (0, 8, 32, 128, 512),
    penalize_unexplained: bool = True,
    cv: Any = None,
    random_state: RandomState = 0,
) -> float:
    r"""Compute the explicitness E of DCI-ES: how little capacity reads the factors out.

    Each probe is a ridge regression on the standardised codes and k random Fourier features
    of them, with capacity :math:`\kappa = \log_2(1 + k)`. The first probe, k = 0, is linear.
    From the losses on held-out rows (1 - R² for continuous factors, 1 - accuracy for
    discrete ones), :func:`explicitness_from_curve` computes :math:`E_j`, and

    .. math:: E = \frac{1}{K} \sum_j E_j \left(1 - \ell^*_j / \ell_{b,j}\right).

    Parameters
    ----------
    factors : array-like of shape (n_samples, n_factors)
        The true factors. Not constant, no missing values.
    codes : array-like of shape (n_samples, n_codes)
        The representation. Constant codes change nothing.
    discrete_factors : "auto", bool or array-like, default="auto"
        Which factors are classes rather than numbers, see :func:`mig_score`.
    n_features : sequence of int, default=(0, 8, 32, 128, 512)
        The k of each probe: strictly increasing, not negative, at least two.
    penalize_unexplained : bool, default=True
        Multiply by the share of the baseline loss that the best probe explains. False gives
        the formula of the paper's code, for which noise scores near 1.
    cv : None, int, splitter or iterable of (train, test), default=None
        Rows to fit on and to take losses on. None holds out a random third, an integer
        means shuffled folds; losses are the mean over splits.
    random_state : int, RandomState or None, default=0
        Seed of the split and the features. None draws differently in each call. The global
        random state is never used.

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
    *Chance level*: slightly above 0, because the best of several probes counts. It is 0.001
    for continuous factors and 0.03 to 0.05 for classes at 2,000 rows, 0.003 and 0.05 to 0.1
    at 300. If no code varies, the score is 0. With ``penalize_unexplained=False`` noise
    scores near 1.

    *Pitfalls*: compare E only within one family of probes and one list of capacities. E
    measures how easily factors are read out, not disentanglement: an invertible linear map
    of the codes changes it little. Noise codes disturb the random features and so lower E if
    the read-out is nonlinear. Discrete factors are read as the class whose mean prediction
    is nearest.

    References
    ----------
    Eastwood et al., "DCI-ES: an extended disentanglement framework with connections to
    identifiability", ICLR 2023, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from skdisentangle.metrics import explicitness_curve_score
    >>> factors = np.random.default_rng(0).normal(size=(300, 2))
    >>> round(explicitness_curve_score(factors, factors @ [[1, 1], [1, -1]]), 3)
    1.0
    """
    sizes = [check_integer("n_features", k, 0) for k in n_features]
    if len(sizes) < 2 or np.any(np.diff(sizes) <= 0):
        raise ValueError(
            "n_features: expected at least two strictly increasing integers, got "
            f"{sizes}."
        )
    values, codes, is_discrete = check_factors_codes(factors, codes, discrete_factors)
    rng = check_rng(random_state)
    splits = make_splits(cv, len(codes), rng)
    codes, _ = canonical_codes(codes)
    if not codes.shape[1]:
        return 0.0
    waves = _fourier_features(codes, sizes[-1], rng)
    targets = [
        np.eye(int(column.max()) + 1)[column] if discrete else value[:, None]
        for column, value, discrete in zip(
            factor_labels(values, is_discrete, 2).T,
            standardize(values).T,
            is_discrete,
            strict=True,
        )
    ]
    losses = np.zeros((len(splits), len(sizes), len(targets)))
    baselines = np.zeros((len(splits), len(targets)))
    for s, split in enumerate(splits):
        baselines[s] = [_constant_loss(target, split) for target in targets]
        for p, k in enumerate(sizes):
            losses[s, p] = _probe_losses(
                np.hstack([codes, waves[:, :k]]), targets, split
            )
    mean_losses, baseline = losses.mean(axis=0), baselines.mean(axis=0)
    capacities = np.log2(1.0 + np.array(sizes))
    scores = np.zeros(len(targets))
    for j in np.flatnonzero(baseline > 0):
        curve = np.minimum(mean_losses[:, j], baseline[j])
        scores[j] = explicitness_from_curve(capacities, curve, baseline[j])
        if penalize_unexplained:
            scores[j] *= 1.0 - curve.min() / baseline[j]
    return float(scores.mean())


def _fourier_features(
    codes: FloatArray, n_features: int, rng: np.random.RandomState
) -> FloatArray:
    """Random Fourier features of a Gaussian kernel as wide as the codes are."""
    frequencies = rng.standard_normal((n_features, codes.shape[1]))
    phases = rng.uniform(0, 2 * np.pi, size=n_features)
    features: FloatArray = np.cos(
        codes @ frequencies.T / np.sqrt(codes.shape[1]) + phases
    )
    return features


def _probe_losses(
    features: FloatArray, targets: list[FloatArray], split: Split
) -> FloatArray:
    """Fit one ridge regression to all targets; loss of each on the test rows."""
    train, test = split
    fitted, held_out = _standardize_by_train(features, train, test)
    stacked = np.hstack(targets)
    model = Ridge(alpha=1e-3 * len(train)).fit(fitted, stacked[train])
    ends = np.cumsum([target.shape[1] for target in targets])[:-1]
    predictions = (
        np.split(model.predict(rows).reshape(len(rows), -1), ends, axis=1)
        for rows in (fitted, held_out)
    )
    return np.array(
        [
            _held_out_loss(target[train], target[test], on_train, on_test)
            for target, on_train, on_test in zip(targets, *predictions, strict=True)
        ]
    )


def _held_out_loss(
    train: FloatArray, test: FloatArray, on_train: FloatArray, on_test: FloatArray
) -> float:
    """1 - R² of a number, or 1 - accuracy of classes given as indicators."""
    if train.shape[1] == 1:
        variance = train.var()
        return float(np.mean((test - on_test) ** 2) / variance) if variance > 0 else 0.0
    seen = np.flatnonzero(train.sum(axis=0))
    centers = np.array([on_train[train[:, c] > 0].mean(axis=0) for c in seen])
    distance = ((on_test[:, None, :] - centers) ** 2).sum(axis=2)
    return float(np.mean(seen[distance.argmin(axis=1)] != test.argmax(axis=1)))


def _constant_loss(target: FloatArray, split: Split) -> float:
    """Loss of the best constant on the training rows, taken on the test rows."""
    train, test = target[split[0]], target[split[1]]
    if target.shape[1] == 1:
        variance = train.var()
        error = np.mean((test - train.mean(axis=0)) ** 2)
        return float(error / variance) if variance > 0 else 0.0
    return float(1.0 - test[:, train.sum(axis=0).argmax()].mean())
