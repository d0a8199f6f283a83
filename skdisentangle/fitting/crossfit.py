"""Out-of-fold features: each row's from an encoder that has not seen its labels.

An encoder of a fold has the same factors to find as the one of all rows, but may find them in
another order and with other signs. Its components are matched one to one with those of all
rows, so that the absolute correlations sum to the most (Kuhn, "The Hungarian method for the
assignment problem", Naval Research Logistics Quarterly 2, 1955), over rows that both have
seen, and take the sign of their correlation. So the encoder of all rows, which has seen the
labels of all, has a say in order and signs only. Scales need none: components are
standardised by either encoder.

A rotation to the nearest (orthogonal Procrustes) or a regression did no better where the
factors can be found, and mixed components where a one-to-one matching keeps them apart.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.base import clone
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils.validation import _num_samples

from .._random import check_rng, draw_seed
from ..backbones._finetuned import FineTuned

__all__ = ["matching", "out_of_fold"]


def matching(
    codes: NDArray[np.floating], reference: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Matrix that brings codes into the order and signs of those of another encoder.

    Parameters
    ----------
    codes : ndarray of shape (n_rows, n_codes)
    reference : ndarray of shape (n_rows, n_components)
        Codes of the same rows from the other encoder.

    Returns
    -------
    ndarray of shape (n_codes, n_components)
        In each row and each column at most one entry that is not zero, which is 1 or -1.
        Constant columns are not matched. If one side has more columns than the other,
        those that match worst are left out, or are zero.
    """
    matrix = np.zeros((codes.shape[1], reference.shape[1]), dtype=reference.dtype)
    own = np.flatnonzero(np.ptp(codes, axis=0) > 0)
    theirs = np.flatnonzero(np.ptp(reference, axis=0) > 0)
    if len(own) and len(theirs):
        both = np.corrcoef(codes[:, own].T, reference[:, theirs].T)
        both = both[: len(own), len(own) :]
        rows, columns = linear_sum_assignment(np.abs(both), maximize=True)
        signs = np.where(both[rows, columns] < 0, -1, 1)
        matrix[own[rows], theirs[columns]] = signs
    return matrix


def out_of_fold(
    unfitted: Any,
    fitted: Any,
    X: Any,
    labels: Any,
    weight: NDArray[np.float64] | None,
) -> NDArray[np.floating]:
    """Features of training rows, each from an encoder fitted without that row.

    Parameters
    ----------
    unfitted : SparseSharedDisentangler
        As `fitted` was before its fit: a random state has not been drawn from.
    fitted : SparseSharedDisentangler
        Fitted on all rows.
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        Or images or texts, whatever holds them.
    labels : array-like or data frame of shape (n_samples,) or (n_samples, n_tasks)
    weight : ndarray of shape (n_samples,) or None
        Weights of the rows. A row of weight zero is in no fold: `fitted` has not seen
        its labels, and gives its features.

    Returns
    -------
    ndarray of shape (n_samples, n_components)

    Raises
    ------
    ValueError
        If there are fewer rows than folds, or a fold leaves too few labels for a fit.
    """
    n_folds = unfitted.cross_fit
    rows = np.arange(_num_samples(X)) if weight is None else np.flatnonzero(weight)
    if len(rows) < n_folds:
        raise ValueError(
            f"cross_fit must be at most the number of rows of weight above zero, "
            f"{len(rows)}; got {n_folds}."
        )
    (labels,) = indexable(labels)
    # What is validated already has no names of columns to check.
    raw = isinstance(unfitted.encoder, FineTuned)

    def rows_of(which: NDArray[np.intp] | slice) -> Any:
        return _safe_indexing(X, which) if raw else X[which]

    def codes(estimator: Any, which: NDArray[np.intp] | slice) -> Any:
        some = rows_of(which)
        return estimator._codes(some) if raw else estimator._forward(some)

    reference = codes(fitted, slice(None))
    features: NDArray[np.floating] = reference.copy()
    # Folds do not depend on labels (they are not stratified), else a row's label would
    # have a say in which encoder gives its features.
    seed = draw_seed(check_rng(copy.deepcopy(unfitted.random_state)))
    # Imported when used: it takes a third of the time of our own import.
    from sklearn.model_selection import KFold

    folds = KFold(n_folds, shuffle=True, random_state=seed).split(rows)
    for number, (kept, held_back) in enumerate(folds, 1):
        seen, unseen = rows[kept], rows[held_back]
        # Labels of a part may look like another type: fewer values, fewer classes.
        types = fitted._task_set.types_found()
        part = clone(unfitted).set_params(
            cross_fit=None,
            task_types=types,
            verbose=False,
            input_shape=fitted.input_shape_,
        )
        part.__dict__.pop("_skl_callbacks", None)
        part._ends_when_interrupted = part._is_part = True
        try:
            part.fit(
                rows_of(seen),
                _safe_indexing(labels, seen),
                sample_weight=None if weight is None else weight[seen],
            )
        except ValueError as error:
            raise ValueError(
                f"cross_fit={n_folds}: without fold {number} of {n_folds} the encoder "
                f"cannot be fitted. Change cross_fit, or set it to None. {error}"
            ) from error
        order = matching(codes(part, seen), reference[seen])
        features[unseen] = codes(part, unseen) @ order
    return features
