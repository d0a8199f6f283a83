"""Accuracy by group, to see what the average hides when the distribution shifts."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length, column_or_1d

__all__ = ["group_accuracies", "worst_group_accuracy"]


def group_accuracies(
    y_true: ArrayLike, y_pred: ArrayLike, groups: ArrayLike
) -> NDArray[np.float64]:
    r"""Compute the accuracy within each group.

    .. math:: \mathrm{acc}_g = \frac{1}{|g|} \sum_{i \in g} [\hat y_i = y_i]

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True classes.
    y_pred : array-like of shape (n_samples,)
        Predicted classes.
    groups : array-like of shape (n_samples,) or (n_samples, n_groups)
        The group of each row; or, where groups overlap or leave rows out, a boolean column
        for each group.

    Returns
    -------
    accuracies : ndarray of shape (n_groups,)
        Accuracies in the sorted order of the groups, or in the order of the columns. NaN for
        a column without rows.

    Raises
    ------
    ValueError
        If an argument is not as described. The message says which.

    Notes
    -----
    Chance level: a constant answer is right in a group as often as its class occurs there.
    If groups are defined by classes, that is always in some groups and never in others.
    Pitfalls: the accuracy of a small group is noisy, and rows that are in no group do not
    count.

    References
    ----------
    Sagawa, Koh, Hashimoto and Liang, "Distributionally robust neural networks for group
    shifts", ICLR 2020.

    Examples
    --------
    The adjusted average accuracy of Waterbirds weights the groups of the test rows by their
    sizes in training:

    >>> import numpy as np
    >>> from skdisentangle.metrics import group_accuracies
    >>> accuracies = group_accuracies([0, 0, 1, 1], [0, 0, 1, 0], [0, 1, 2, 3])
    >>> accuracies.tolist()
    [1.0, 1.0, 1.0, 0.0]
    >>> float(np.average(accuracies, weights=[3498, 184, 56, 1057])).__round__(3)
    0.78
    """
    true = column_or_1d(y_true)
    predicted = column_or_1d(y_pred)
    members = _members(groups)
    check_consistent_length(true, predicted, members)
    if not len(true):
        raise ValueError("y_true must have at least one row; got none.")
    _check_all_there("y_true", true)
    _check_all_there("y_pred", predicted)
    kinds = {_kind(values) for values in (true, predicted)}
    if len(kinds) > 1:
        raise ValueError(
            "y_true and y_pred must hold the same kind of class; got strings in one and "
            "numbers in the other."
        )
    correct = np.asarray(true == predicted, dtype=np.float64)
    sizes = members.sum(axis=0)
    accuracies = np.full(members.shape[1], np.nan)
    np.divide(correct @ members, sizes, out=accuracies, where=sizes > 0)
    return accuracies


def worst_group_accuracy(
    y_true: ArrayLike, y_pred: ArrayLike, groups: ArrayLike
) -> float:
    r"""Compute the accuracy in the group where it is lowest.

    .. math:: \min_g \frac{1}{|g|} \sum_{i \in g} [\hat y_i = y_i]

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True classes.
    y_pred : array-like of shape (n_samples,)
        Predicted classes.
    groups : array-like of shape (n_samples,) or (n_samples, n_groups)
        The group of each row; or, where groups overlap or leave rows out, a boolean column
        for each group. Rows that are in no group do not count, nor do groups without rows.

    Returns
    -------
    accuracy : float
        In [0, 1], 1 is best.

    Raises
    ------
    ValueError
        If an argument is not as described, or no row is in any group.

    Notes
    -----
    The chance level is below that of the accuracy: a constant answer has 0 if groups are
    defined by classes. Pitfalls: the minimum over small groups is noisy and pessimistic. Of
    16 groups of 100 rows with a true accuracy of 0.9 each, the worst has about 0.84. Compare
    it only between methods on the same rows and groups.

    References
    ----------
    Sagawa, Koh, Hashimoto and Liang, "Distributionally robust neural networks for group
    shifts", ICLR 2020 (disjoint groups); Koh, Sagawa et al., "WILDS: a benchmark of
    in-the-wild distribution shifts", ICML 2021 (overlapping groups, CivilComments).

    Examples
    --------
    >>> from skdisentangle.metrics import worst_group_accuracy
    >>> worst_group_accuracy([0, 0, 1, 1], [0, 0, 1, 0], ["a", "a", "b", "b"])
    0.5
    """
    accuracies = group_accuracies(y_true, y_pred, groups)
    if np.isnan(accuracies).all():
        raise ValueError("groups must have at least one row in a group; got none.")
    return float(np.nanmin(accuracies))


def _check_all_there(name: str, values: NDArray[Any]) -> None:
    """Raise ValueError if a value is missing."""
    for row, value in enumerate(values.tolist() if values.dtype.kind in "fO" else []):
        is_none = value is None or type(value).__name__ in ("NAType", "NaTType")
        if is_none or (isinstance(value, Real) and value != value):
            raise ValueError(
                f"{name} must not have missing values; got {value} in row {row}."
            )


def _kind(values: NDArray[Any]) -> str:
    """Whether classes are strings or numbers."""
    return "strings" if isinstance(values[0], str) else "numbers"


def _members(groups: Any) -> NDArray[np.bool_]:
    """Which row is in which group, shape (n_samples, n_groups)."""
    given = np.asarray(groups)
    if given.ndim == 1:
        _check_all_there("groups", given)
        names, number = np.unique(given, return_inverse=True)
        found: NDArray[np.bool_] = number[:, None] == np.arange(len(names))
        return found
    if given.ndim != 2 or given.shape[1] == 0:
        raise ValueError(
            "groups must be of shape (n_samples,), or (n_samples, n_groups) with a column "
            f"for each group; got shape {given.shape}."
        )
    if given.dtype.kind not in "biuf" or not np.isin(given, (0, 1)).all():
        raise ValueError(
            "groups, if two-dimensional, must say for each row and group whether the row is "
            f"in it, as booleans or 0 and 1; got {given.dtype}."
        )
    return given.astype(bool)
