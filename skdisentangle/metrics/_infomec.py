"""InfoMEC: modularity, explicitness and compactness by mutual information."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.feature_selection import mutual_info_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from .._random import RandomState, check_rng, draw_seed
from ._explicitness import _standardize_by_train
from ._information import entropies, mutual_information
from ._validation import (
    BoolArray,
    DiscreteFactors,
    FloatArray,
    IntArray,
    Split,
    canonical_codes,
    check_factors_codes,
    check_integer,
    factor_labels,
    make_splits,
    map_parallel,
)


@dataclass(frozen=True)
class InfoMECScores:
    """Result of :func:`infomec_scores`.

    Attributes
    ----------
    infom, infoe, infoc : float
        Modularity, explicitness and compactness, each in [0, 1].
    nmi_matrix : ndarray of shape (n_codes, n_factors)
        Mutual information as a share of the factor's entropy, in [0, 1].
    active_codes : ndarray of bool, shape (n_codes,)
        The active codes.
    """

    infom: float
    infoe: float
    infoc: float
    nmi_matrix: FloatArray
    active_codes: BoolArray


def infomec_scores(
    factors: Any,
    codes: Any,
    *,
    discrete_factors: DiscreteFactors = "auto",
    discrete_codes: bool | None = None,
    n_bins: int = 20,
    n_neighbors: int = 10,
    min_information: float = 0.05,
    cv: Any = None,
    random_state: RandomState = 0,
    n_jobs: int | None = None,
) -> InfoMECScores:
    r"""Compute InfoM, InfoE and InfoC: modularity, explicitness and compactness.

    With :math:`N_{ij} = I(z_i; v_j) / H(v_j)` for the M active codes and K factors,

    .. math::
        \mathrm{InfoM} &= \Big(\frac{1}{M} \sum_i \frac{\max_j N_{ij}}{\sum_j N_{ij}}
        - \frac{1}{K}\Big) \Big/ \Big(1 - \frac{1}{K}\Big) \\
        \mathrm{InfoC} &= \Big(\frac{1}{K} \sum_j \frac{\max_i N_{ij}}{\sum_i N_{ij}}
        - \frac{1}{M}\Big) \Big/ \Big(1 - \frac{1}{M}\Big) \\
        \mathrm{InfoE} &= \frac{1}{K} \sum_j \max\Big(0, 1 -
        \frac{\text{log loss of } v_j \text{ given } z}{\text{that of its class
        frequencies}}\Big).

    The information of continuous codes is estimated from nearest neighbours, that of
    discrete codes by counting. The log loss is that of multinomial logistic regression with
    almost no penalty, on held-out rows.

    Parameters
    ----------
    factors : array-like of shape (n_samples, n_factors)
        The true factors. Not constant, no missing values.
    codes : array-like of shape (n_samples, n_codes)
        The representation. Constant codes change nothing.
    discrete_factors : "auto", bool or array-like, default="auto"
        Which factors are classes rather than numbers, see :func:`mig_score`. Continuous
        factors are binned.
    discrete_codes : bool or None, default=None
        Whether the codes are values of a codebook. None decides by the dtype of `codes`:
        integers and booleans are discrete.
    n_bins : int, default=20
        Number of equal-width bins for continuous factors.
    n_neighbors : int, default=10
        Number of neighbours in the estimate for continuous codes.
    min_information : float, default=0.05
        In [0, 1). A code is active if it holds more than this share of the entropy of
        some factor. A factor without an active code counts as 1/M in InfoC.
    cv : None, int, splitter or iterable of (train, test), default=None
        Rows to fit on and to score on, for InfoE. None holds out a random third, an
        integer means that many shuffled folds.
    random_state : int, RandomState or None, default=0
        Seed of the split, and of the jitter in the estimate of neighbours. None draws
        differently in each call. The global random state is never used.
    n_jobs : int or None, default=None
        Number of factors to process at once, in threads.

    Returns
    -------
    scores : InfoMECScores
        An object with ``infom``, ``infoe`` and ``infoc``, each in [0, 1], 1 is best,
        ``nmi_matrix`` and ``active_codes``.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described. The message says which.

    Notes
    -----
    *Chance level*: 0 for all three, because noise has no active codes. With few rows (300,
    with factors of few and of many classes), estimates of information vary by more than
    `min_information`, and InfoM reached 0.57. Raise `min_information` then. With one factor
    InfoM is 1, and with one active code InfoC is 1.

    *Pitfalls*: correlated factors lower InfoM and InfoC of perfect codes. InfoE sees only
    linear information, and a rotation does not lower it. Noise codes and few rows do lower
    it, because the read-out has almost no penalty (4 noise codes beside perfect codes of 4
    normal factors at 500 rows: from 0.72 to 0.22).

    The authors' code differs in three ways. It removes codes whose range is small compared
    with the others, which depends on the scale of the codes and keeps scaled noise. It
    returns NaN for a code without information. It computes the log loss on the training
    rows with balanced classes.

    References
    ----------
    Hsu, Dorrell, Whittington, Wu and Finn, "Disentanglement via latent quantization",
    NeurIPS 2023, section 4. Estimate of information: Ross, "Mutual information between
    discrete and continuous data sets", PLoS ONE 9, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from skdisentangle.metrics import infomec_scores
    >>> factors = np.random.default_rng(0).integers(3, size=(300, 2))
    >>> scores = infomec_scores(factors, factors)
    >>> round(scores.infoe, 2), scores.infom > 0.95, scores.infoc > 0.95
    (1.0, True, True)
    """
    n_bins = check_integer("n_bins", n_bins, 2)
    n_neighbors = check_integer("n_neighbors", n_neighbors, 1)
    if not 0 <= min_information < 1:
        raise ValueError(
            f"min_information: got {min_information!r}; expected a number in [0, 1)."
        )
    if discrete_codes is None:
        discrete_codes = np.asarray(codes).dtype.kind in "biu"
    values, codes, is_discrete = check_factors_codes(factors, codes, discrete_factors)
    rng = check_rng(random_state)
    splits = make_splits(cv, len(codes), rng)
    seed = draw_seed(rng)
    labels = factor_labels(values, is_discrete, n_bins)
    canonical, columns = canonical_codes(codes)
    nmi = np.zeros((codes.shape[1], labels.shape[1]))
    infoe = 0.0
    if len(columns):
        if discrete_codes:
            information = mutual_information(
                factor_labels(canonical, np.ones(len(columns), dtype=bool), n_bins),
                labels,
            )
        else:
            information = np.column_stack(
                map_parallel(
                    _neighbor_information,
                    [(canonical, column, n_neighbors, seed) for column in labels.T],
                    n_jobs,
                )
            )
        nmi[columns] = np.clip(information / entropies(labels), 0.0, 1.0)
        gains = map_parallel(
            _log_loss_gain,
            [(column, canonical, split) for column in labels.T for split in splits],
            n_jobs,
        )
        infoe = float(np.mean(gains))
    active = nmi.max(axis=1) > min_information
    kept = nmi[active]
    encoded = kept.max(axis=0, initial=0.0) > min_information
    compact = _largest_share(kept.T, encoded) if len(kept) else 0.0
    modular = _largest_share(kept, np.ones(len(kept), dtype=bool)) if len(kept) else 0.0
    return InfoMECScores(modular, infoe, compact, nmi, active)


def _neighbor_information(
    codes: FloatArray, labels: IntArray, n_neighbors: int, seed: int
) -> FloatArray:
    """Information in nats of each code with one factor, shape (n_codes,)."""
    # the estimate leaves out rows that are alone in their class
    kept = np.bincount(labels)[labels] > 1
    if not kept.any():
        return np.zeros(codes.shape[1])
    # each code is estimated on its own, so that its jitter depends on no other
    return np.array(
        [
            mutual_info_classif(
                code[kept, None],
                labels[kept],
                discrete_features=False,
                n_neighbors=n_neighbors,
                random_state=seed,
            )[0]
            for code in codes.T
        ]
    )


def _largest_share(rows: FloatArray, counted: BoolArray) -> float:
    """Mean of max / sum over rows, from 0 for even rows to 1 for rows with one entry.

    Rows that do not count are taken as even.
    """
    n_columns = rows.shape[1]
    if n_columns == 1:
        return float(counted.mean())
    even = 1.0 / n_columns
    shares = np.full(len(rows), even)
    shares[counted] = rows[counted].max(axis=1) / rows[counted].sum(axis=1)
    return float(np.clip((shares.mean() - even) / (1.0 - even), 0.0, 1.0))


def _log_loss_gain(labels: IntArray, codes: FloatArray, split: Split) -> float:
    """Share of the log loss of the class frequencies that the codes take away."""
    train, test = split
    classes, counts = np.unique(labels[train], return_counts=True)
    # rows of classes that were not there to be learned say nothing
    test = test[np.isin(labels[test], classes)]
    if len(classes) < 2 or not len(test):
        return 0.0
    fitted, held_out = _standardize_by_train(codes, train, test)
    model = LogisticRegression(C=1e4, max_iter=500, tol=1e-3).fit(fitted, labels[train])
    frequencies = np.tile(counts / counts.sum(), (len(test), 1))
    baseline = log_loss(labels[test], frequencies, labels=classes)
    loss = log_loss(labels[test], model.predict_proba(held_out), labels=classes)
    return max(0.0, 1.0 - float(loss / baseline))
