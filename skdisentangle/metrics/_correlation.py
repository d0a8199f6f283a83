"""Metrics that compare one code with one factor: MCC and SAP."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from .._random import RandomState, check_rng, draw_seed
from ._validation import (
    DiscreteFactors,
    FloatArray,
    IntArray,
    canonical_codes,
    check_factors_codes,
    check_option,
    is_constant,
    make_splits,
    map_parallel,
    standardize,
)


def correlations(factors: FloatArray, codes: FloatArray) -> FloatArray:
    """Absolute Pearson correlations, shape (n_codes, n_factors); 0 for constants."""
    product = standardize(codes).T @ standardize(factors) / len(codes)
    return np.minimum(np.abs(product), 1.0)


def mcc_score(
    factors: Any,
    codes: Any,
    *,
    method: str = "pearson",
    missing_factors: str = "zero",
    discrete_factors: DiscreteFactors = "auto",
) -> float:
    r"""Compute the mean correlation coefficient (MCC) of factors and their matched codes.

    With :math:`\pi` the one-to-one match of codes and factors of the largest sum (the
    Hungarian method),

    .. math:: \mathrm{MCC} = \frac{1}{K} \sum_j |\mathrm{corr}(z_{\pi(j)}, v_j)|.

    Parameters
    ----------
    factors : array-like of shape (n_samples, n_factors)
        The true factors. Not constant, no missing values. Classes enter as their
        numbers, strings and categories as their sorted rank.
    codes : array-like of shape (n_samples, n_codes)
        The representation. A constant code correlates with nothing.
    method : {"pearson", "spearman"}, default="pearson"
        Spearman's rank correlation also accepts monotone distortions of a factor.
    missing_factors : {"zero", "ignore"}, default="zero"
        How to count a factor without a code, if there are fewer (varying) codes than
        factors. "ignore" averages over matched pairs only, as many implementations do, so
        missing factors do not lower the score.
    discrete_factors : "auto", bool or array-like, default="auto"
        Which factors are classes rather than numbers, see :func:`mig_score`. It does not
        change this score. All metrics have this parameter.

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
    *Chance level*: a little below :math:`\sqrt{2 \log(M) / N}` for M noise codes and N
    rows, because the match picks among the largest of M correlations. It is 0.03 for M = 6
    and N = 2,000 (the formula gives 0.04), and 0.07 to 0.11 for N = 300.

    *Pitfalls*: codes that are not matched do not count, so copies and noise codes do not
    lower the score. With correlated factors any mixture correlates with several factors.
    Small differences matter: a random rotation of 6 factors already scores 0.6 to 0.8. A
    correlation cannot measure angles or unordered classes. Report which rows you use: the
    training rows and uniformly drawn factors give different numbers.

    References
    ----------
    Hyvärinen and Morioka, "Unsupervised feature extraction by time-contrastive learning
    and nonlinear ICA", NeurIPS 2016, section 6.

    Examples
    --------
    >>> import numpy as np
    >>> from skdisentangle.metrics import mcc_score
    >>> factors = np.random.default_rng(0).normal(size=(100, 3))
    >>> round(mcc_score(factors, -2 * factors[:, [2, 0, 1]]), 6)
    1.0
    >>> round(mcc_score(factors, factors[:, :1]), 6)  # 2 of 3 factors are missing
    0.333333
    """
    check_option("method", method, ["pearson", "spearman"])
    check_option("missing_factors", missing_factors, ["zero", "ignore"])
    values, codes, _ = check_factors_codes(factors, codes, discrete_factors)
    codes = codes[:, ~is_constant(codes)]
    if method == "spearman":
        values, codes = rankdata(values, axis=0), rankdata(codes, axis=0)
    matrix = correlations(values, codes)
    matched = matrix[linear_sum_assignment(matrix, maximize=True)]
    n_factors = values.shape[1]
    n_averaged = n_factors if missing_factors == "zero" else len(matched)
    return float(matched.sum() / max(1, n_averaged))


def sap_score(
    factors: Any,
    codes: Any,
    *,
    discrete_factors: DiscreteFactors = "auto",
    classifier: str = "thresholds",
    cv: Any = None,
    random_state: RandomState = 0,
    n_jobs: int | None = None,
) -> float:
    r"""Compute the separated attribute predictability (SAP).

    With :math:`S_{ij}` a measure of how well code i alone predicts factor j,

    .. math:: \mathrm{SAP} = \frac{1}{K} \sum_j (S_{(1)j} - S_{(2)j}),

    the mean gap between the best and the second best code. For a continuous factor
    :math:`S_{ij}` is the squared correlation, on all rows. For a discrete factor it is
    the balanced accuracy of thresholds on the code on held-out rows, rescaled so that
    chance is 0 and no error is 1. A constant code has :math:`S_{ij} = 0`.

    Parameters
    ----------
    factors : array-like of shape (n_samples, n_factors)
        The true factors. Not constant, no missing values.
    codes : array-like of shape (n_samples, n_codes)
        The representation. Constant codes change nothing.
    discrete_factors : "auto", bool or array-like, default="auto"
        Which factors are classes rather than numbers, see :func:`mig_score`.
    classifier : {"thresholds", "linear_svc"}, default="thresholds"
        For discrete factors: a decision tree with one leaf per class, or
        disentanglement_lib's ``LinearSVC(C=0.01, class_weight="balanced")`` with its
        plain accuracy. The latter depends on the scale of codes and fails on ordered
        classes: a code that equals a factor of 10 classes scores about 0.
    cv : None, int, splitter or iterable of (train, test), default=None
        Rows to fit on and to score on, for discrete factors. None holds out a random
        third, an integer means shuffled folds; the score is the mean over splits.
    random_state : int, RandomState or None, default=0
        Seed of the split and the classifiers. None draws differently in each call. The global
        random state is never used.
    n_jobs : int or None, default=None
        Number of discrete factors to process at once, in threads.

    Returns
    -------
    score : float
        In [0, 1] with thresholds, 1 is best.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described. The message says which.

    Notes
    -----
    *Chance level*: near 0; for noise about 0.001 for continuous and 0.01 for discrete
    factors (the spread of the accuracies of noise) at 2,000 rows, 0.005 and 0.02 to
    0.03 at 300.

    *Pitfalls*: two codes that hold the same factor give 0. Correlated factors lower the
    score of perfect codes. A nonlinear code lowers it for continuous factors only.

    The paper fits thresholds on the test rows and does not rescale the balanced accuracy.
    A perfect code of a factor of C classes beside noise codes then scores 1 - 1/C, and a
    single noise code adds 1/C. Rescaling puts discrete and continuous factors on one scale.

    References
    ----------
    Kumar, Sattigeri and Balakrishnan, "Variational inference of disentangled latent
    concepts from unlabeled observations", ICLR 2018, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from skdisentangle.metrics import sap_score
    >>> factors = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    >>> round(sap_score(factors, factors), 6)
    1.0
    """
    check_option("classifier", classifier, ["thresholds", "linear_svc"])
    values, codes, is_discrete = check_factors_codes(factors, codes, discrete_factors)
    rng = check_rng(random_state)
    live = codes[:, ~is_constant(codes)]
    scores = correlations(values, live) ** 2
    if is_discrete.any() and live.shape[1]:
        splits = make_splits(cv, len(codes), rng)
        inputs = canonical_codes(live)[0] if classifier == "thresholds" else live
        seed = draw_seed(rng)
        labels = [
            np.unique(values[:, j], return_inverse=True)[1]
            for j in np.flatnonzero(is_discrete)
        ]
        columns = map_parallel(
            _class_scores,
            [(label, inputs, splits, classifier, seed) for label in labels],
            n_jobs,
        )
        scores[:, is_discrete] = np.column_stack(columns)
    missing = np.zeros((max(0, 2 - len(scores)), scores.shape[1]))
    # each factor's column is sorted, so the order of the codes does not matter
    ordered = np.sort(np.vstack([missing, scores]), axis=0)
    return float(np.mean(ordered[-1] - ordered[-2]))


def _class_scores(
    labels: IntArray,
    codes: FloatArray,
    splits: list[tuple[IntArray, IntArray]],
    classifier: str,
    seed: int,
) -> FloatArray:
    """Score each code alone as a predictor of the classes, shape (n_codes,)."""
    scores = np.zeros((len(splits), codes.shape[1]))
    for s, (train, test) in enumerate(splits):
        n_classes = len(np.unique(labels[train]))
        if n_classes < 2:
            continue
        for i, code in enumerate(codes.T):
            model: Any
            if classifier == "thresholds":
                model = DecisionTreeClassifier(
                    max_leaf_nodes=n_classes, class_weight="balanced", random_state=seed
                )
            else:
                model = LinearSVC(C=0.01, class_weight="balanced", random_state=seed)
            model.fit(code[train, None], labels[train])
            predicted = model.predict(code[test, None])
            if classifier == "linear_svc":
                scores[s, i] = np.mean(predicted == labels[test])
            else:
                scores[s, i] = _adjusted_accuracy(labels[test], predicted)
    mean: FloatArray = scores.mean(axis=0)
    return mean


def _adjusted_accuracy(labels: IntArray, predicted: IntArray) -> float:
    """Balanced accuracy from 0 at chance to 1; rows of a single class say nothing."""
    present = np.unique(labels)
    if len(present) < 2:
        return 0.0
    # a class predicted but absent from these rows is simply an error
    chance = 1.0 / len(present)
    recall = np.mean([np.mean(predicted[labels == c] == c) for c in present])
    return float(max(0.0, (recall - chance) / (1.0 - chance)))
