"""A look at rows and labels before a fit: what may go wrong with them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from sklearn.utils.validation import _num_samples

from ..tasks.labels import Column, Labels
from ._rows import in_rows

__all__ = ["data_concerns", "fit_concerns"]

#: A task of fewer labels than this says little of its components.
FEW_LABELS = 30

#: Share of rows that repeat, and correlation of what says the same, or nearly the same, from
#: which it is told.
MANY_REPEATS, SAME, NEARLY_SAME = 0.05, 0.9999, 0.98

#: Tasks and columns that are compared, at the most, and rows that say so.
MOST_COLUMNS, MOST_ROWS = 500, 5000

#: Names that one sentence holds, at the most.
MOST_NAMES = 5


def data_concerns(X: Any, Y_tasks: Any) -> list[str]:
    """Say what in the data may mislead a fit, before you fit.

    Nothing is changed, and nothing here is an error: a fit takes such data as they are.

    Parameters
    ----------
    X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
        Rows, or images or texts. Columns that hold no numbers are not looked at.
    Y_tasks : array-like or data frame of shape (n_samples, n_tasks)
        Labels, as ``fit`` takes them.

    Returns
    -------
    list of str
        A sentence for each concern, none if there is nothing to say: a single task; tasks
        of fewer than 30 labels, or of one value; tasks that say the same as each other, or as a
        column of X, or nearly the same as each other (correlation above 0.98); columns of X
        that are constant, or look like ids; rows of X that repeat.

    Raises
    ------
    ValueError
        If labels are not as ``fit`` takes them, or there is not a row of them for each of X.

    Examples
    --------
    >>> import numpy as np
    >>> from skdisentangle.inspection import data_concerns
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> for concern in data_concerns(X, X[:, :1]):
    ...     print(concern)
    There is one task. Its components may be any mixtures of the factors. Give more tasks.
    Task 'task0' says the same as column 'x0' of X. Leave one of them out.
    """
    X = in_rows(X)
    labels = Labels.read(in_rows(Y_tasks))
    names, columns = _columns(X)
    n_rows, n_labelled = _num_samples(X), labels.n_rows
    if n_labelled != n_rows:
        raise ValueError(
            f"Y_tasks must have a row for each of the {n_rows} rows of X; got {n_labelled}."
        )
    return [
        *_of_tasks(labels),
        *_of_columns(names, columns),
        *_of_both(labels, names, columns),
    ]


def fit_concerns(estimator: Any) -> list[str]:
    """Sentences on what a fit shows of its data. Other concerns need the data alone."""
    is_auto = isinstance(estimator.input_noise, str)
    if not is_auto or estimator.nonlinear_noise_ < 1 or estimator.encoder == "linear":
        return []
    return [
        "The hidden layers got much noise (nonlinear_noise_ is at least 1): the rows are fewer "
        "than 100, or did not show a gain from anything that is not linear. Compare with "
        "encoder='linear' by cross_val_score. If it is as good, its components are easier "
        "to read."
    ]


def _columns(X: Any) -> tuple[list[str], NDArray[np.float64]]:
    """Names and values of the columns of numbers, of the first rows and columns."""
    if sparse.issparse(X):
        X = X[:MOST_ROWS, :MOST_COLUMNS].toarray()
    if hasattr(X, "columns"):
        kept, names = [], []
        for name in list(X.columns)[:MOST_COLUMNS]:
            values = np.asarray(X[name])[:MOST_ROWS]
            if values.dtype.kind in "biuf":
                kept.append(values.astype(np.float64))
                names.append(str(name))
        return names, np.column_stack(kept) if kept else np.empty((len(X), 0))
    if isinstance(X, list | tuple) and np.ndim(X[0]) != 1:
        return [], np.empty((len(X), 0))  # texts, paths or images
    values = np.asarray(X)
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        return [], np.empty((len(values), 0))
    values = values[:MOST_ROWS, :MOST_COLUMNS].astype(np.float64)
    return [f"x{j}" for j in range(values.shape[1])], values


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:MOST_NAMES]))
    more = len(names) - MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _of_tasks(labels: Labels) -> list[str]:
    found = []
    if len(labels.columns) == 1:
        found.append(
            "There is one task. Its components may be any mixtures of the factors. Give more "
            "tasks."
        )
    few, constant = [], []
    for column in labels.columns:
        there = ~column.missing
        if len(np.unique(_codes(column)[there])) < 2:
            constant.append(column.name)
        elif there.sum() < FEW_LABELS:
            few.append(column.name)
    if constant:
        found.append(
            f"All labels of {_listed(constant)} are the same, or missing. Such a task is left "
            "out."
        )
    if few:
        found.append(
            f"There are fewer than {FEW_LABELS} labels of {_listed(few)}. Do not rely on what "
            "the fit says of such a task."
        )
    compared = labels.columns[:MOST_COLUMNS]
    codes = np.column_stack([_codes(column)[:MOST_ROWS] for column in compared])
    alike = np.triu(_say_the_same(codes, codes), 1)
    nearly = np.triu(_say_the_same(codes, codes, NEARLY_SAME), 1) & ~alike
    same = [
        f"{compared[i].name!r} and {compared[j].name!r}" for i, j in np.argwhere(alike)
    ]
    if same:
        more = len(same) - MOST_NAMES
        found.append(
            f"Tasks say the same: {'; '.join(same[:MOST_NAMES])}"
            f"{f'; and {more} pairs more' if more > 0 else ''}. They count as one task twice, "
            "and do not help to tell factors apart."
        )
    if nearly.any():
        group = connected_components(nearly, directed=False)[1]
        groups = [
            _listed([compared[i].name for i in np.flatnonzero(group == number)])
            for number in np.flatnonzero(np.bincount(group) > 1)
        ]
        more = len(groups) - MOST_NAMES
        found.append(
            f"Tasks say nearly the same (correlation above {NEARLY_SAME}): "
            f"{'; '.join(groups[:MOST_NAMES])}"
            f"{f'; and {more} groups more' if more > 0 else ''}. They hardly help to tell "
            "factors apart."
        )
    return found


def _of_columns(names: list[str], values: NDArray[np.float64]) -> list[str]:
    found = []
    finite = [bool(np.isfinite(column).all()) for column in values.T]
    constant = [
        n for n, v in zip(names, values.T, strict=True) if len(np.unique(v)) == 1
    ]
    ids = [
        name
        for name, column, whole in zip(names, values.T, finite, strict=True)
        if whole and _looks_like_an_id(column)
    ]
    if constant:
        found.append(
            f"Columns of X are constant, and say nothing: {_listed(constant)}."
        )
    if ids:
        found.append(
            f"Columns of X look like ids, a whole number for each row: {_listed(ids)}. Leave "
            "them out, or they may be learned by heart."
        )
    if values.shape[1] and len(values):
        share = 1 - len(np.unique(values, axis=0)) / len(values)
        if share >= MANY_REPEATS:
            found.append(
                f"{share:.0%} of the rows of X repeat others. Keep copies together when you "
                "split, or scores will be too good."
            )
    return found


def _of_both(
    labels: Labels, names: list[str], values: NDArray[np.float64]
) -> list[str]:
    tasks = labels.columns[:MOST_COLUMNS]
    codes = np.column_stack([_codes(task)[: len(values)] for task in tasks])
    return [
        f"Task {tasks[i].name!r} says the same as column {names[j]!r} of X. Leave one of "
        "them out."
        for i, j in np.argwhere(_say_the_same(codes, values))
    ]


def _codes(column: Column) -> NDArray[np.float64]:
    """Labels as numbers, NaN where they are missing; classes by their order."""
    there = ~column.missing
    codes = np.full(len(column.values), np.nan)
    values = column.values[there]
    if values.dtype.kind in "biuf":
        codes[there] = values.astype(np.float64)
    else:
        order = sorted(set(values.tolist()), key=str)
        place = {value: number for number, value in enumerate(order)}
        codes[there] = [place[value] for value in values.tolist()]
    return codes


def _looks_like_an_id(values: NDArray[np.float64]) -> bool:
    """A whole number for each row, none twice, that always rises, or fills a range."""
    if len(values) < FEW_LABELS or not np.array_equal(values, np.round(values)):
        return False
    steps = np.diff(values)
    fills = bool(np.ptp(values) < 2 * len(values))
    rises = bool((steps > 0).all() or (steps < 0).all())
    return len(np.unique(values)) == len(values) and (rises or fills)


def _say_the_same(
    first: NDArray[np.float64], second: NDArray[np.float64], level: float = SAME
) -> NDArray[np.bool_]:
    """Which columns of one are a line in which columns of the other, where both are known.

    A line, if their correlation is above the level.

    The correlation of all pairs at once, each over the rows that both have, as sums of products.
    """
    parts = []
    for values in (first, second):
        there = np.isfinite(values)
        known = np.where(there, values, 0.0)
        number = np.maximum(there.sum(0), 1)
        centred = np.where(there, known - known.sum(0) / number, 0.0)
        size = np.sqrt((centred**2).sum(0) / number)
        parts.append((there.astype(float), centred / np.where(size > 0, size, 1.0)))
    (seen, a), (also, b) = parts
    number = seen.T @ also
    rows = np.maximum(number, 1)
    mean_a, mean_b = a.T @ also / rows, seen.T @ b / rows
    covariance = a.T @ b / rows - mean_a * mean_b
    spread_a = (a**2).T @ also / rows - mean_a**2
    spread_b = seen.T @ b**2 / rows - mean_b**2
    size = np.sqrt(np.maximum(spread_a * spread_b, 0.0))
    enough = (number >= FEW_LABELS) & (size > 1e-9)
    same: NDArray[np.bool_] = enough & (np.abs(covariance) > level * size)
    return same
