"""Make many tasks from known factors or from one label, and expand factors to numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Bunch, check_array, column_or_1d
from sklearn.utils._missing import is_pandas_na, is_scalar_nan

from .._random import RandomState, generator

__all__ = ["expand_factors", "tasks_from_classes", "tasks_from_factors"]

FloatArray = NDArray[np.float64]
TaskTypes = str | Sequence[str] | Mapping[str, float]

#: Shares of ``task_types="mixed"``.
MIXED = {"binary": 0.5, "regression": 0.5}

#: A range below this share of the largest magnitude is rounding.
CONSTANT = 1e-10

#: Places at which the value of a binary task is cut vary with this deviation.
CUT_SPREAD = 0.3


def check_share(name: str, share: Any) -> float:
    """Share of something, at least 0 and less than 1."""
    if not isinstance(share, Real) or not 0 <= float(share) < 1:
        raise ValueError(f"{name} must be at least 0 and less than 1; got {share!r}.")
    return float(share)


def check_noise(noise: Any) -> None:
    """Standard deviation of the noise on a task."""
    if not isinstance(noise, Real) or not 0 <= float(noise) < np.inf:
        raise ValueError(f"noise must be at least 0; got {noise!r}.")


def is_integer(value: Any) -> bool:
    """Whether a value is a whole number, and not a truth value."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_size(name: str, size: Any, least: int = 1) -> int:
    """Whole number of something."""
    if not is_integer(size) or size < least:
        raise ValueError(
            f"{name} must be an integer of at least {least}; got {size!r}."
        )
    return int(size)


def _check_columns(name: str, columns: Any, n_factors: int) -> list[int]:
    """Numbers of columns, counted from the front."""
    if isinstance(columns, str) or not isinstance(columns, Iterable):
        raise TypeError(f"{name} must hold column numbers; got {columns!r}.")
    given = list(columns)
    wrong = [c for c in given if not is_integer(c) or not -n_factors <= c < n_factors]
    if wrong:
        raise ValueError(
            f"{name} must hold column numbers of factors, which has {n_factors} "
            f"columns; got {wrong}."
        )
    return [int(c) % n_factors for c in given]


def _numbers(factors: ArrayLike, categories: set[int]) -> FloatArray:
    """Values of the factors, classes that are text replaced by their rank."""
    values = np.asarray(factors)
    if values.dtype.kind in "OUS" and values.ndim == 2:
        values = values.astype(object)
        for column in categories & set(range(values.shape[1])):
            texts = [str(value) for value in values[:, column]]
            values[:, column] = np.unique(texts, return_inverse=True)[1]
        text = [j for j, v in enumerate(values.T) if any(isinstance(x, str) for x in v)]
        if text:
            raise ValueError(
                f"factors must be numbers, apart from those in categorical; columns "
                f"{text} hold text."
            )
    checked: FloatArray = check_array(values, dtype=np.float64, input_name="factors")
    return checked


def _check_period(column: int, period: Any, n_samples: int) -> FloatArray:
    """Period of an angle on each row."""
    try:
        each = np.asarray(period, dtype=np.float64)
    except (TypeError, ValueError):
        each = np.empty(0)
    defined = each[~np.isnan(each)]
    if (
        each.shape not in ((), (n_samples,))
        or not len(np.atleast_1d(defined))
        or not np.all((defined > 0) & np.isfinite(defined))
    ):
        raise ValueError(
            f"periods[{column}] must be a positive number, or one for each of the "
            f"{n_samples} rows (NaN where there is no angle); got {period!r}."
        )
    return np.broadcast_to(each, n_samples)


def _check_kinds(
    factors: ArrayLike,
    categorical: Sequence[int],
    periods: Mapping[int, float | ArrayLike] | None,
) -> tuple[FloatArray, set[int], dict[int, FloatArray]]:
    """Factors, which are categories, and the period of each angle on each row."""
    n_factors = np.shape(factors)[1] if np.ndim(factors) == 2 else 0
    if n_factors == 0:
        check_array(factors, input_name="factors")  # says what is wrong
    categories = set(_check_columns("categorical", categorical, n_factors))
    given: Mapping[int, Any] = {} if periods is None else periods
    if not isinstance(given, Mapping):
        raise TypeError(
            "periods must be a mapping of column numbers to periods, such as "
            f"{{2: 360.0}}; got {periods!r}."
        )
    columns = _check_columns("periods", given, n_factors)
    twice = sorted({c for c in columns if columns.count(c) > 1})
    both = sorted(categories & set(columns))
    if twice or both:
        raise ValueError(
            "periods must not name a column twice, nor one that is in categorical; got "
            f"columns {twice + both}."
        )
    values = _numbers(factors, categories)
    angles = {
        column: _check_period(column, period, len(values))
        for column, period in zip(columns, given.values(), strict=True)
    }
    return values, categories, angles


def _standardised(value: FloatArray) -> FloatArray:
    """Scale to mean zero and variance one; zeros if constant up to rounding."""
    centred = value - value.mean()
    if np.ptp(value) <= CONSTANT * np.abs(value).max():
        return np.zeros_like(centred)
    scaled: FloatArray = centred / centred.std()
    return scaled


def _turn(angle: FloatArray, period: FloatArray, phase: float) -> FloatArray:
    """Cosine of an angle of that period, zero where the period is not defined."""
    return np.nan_to_num(np.cos(2 * np.pi * angle / period - phase))


def expand_factors(
    factors: ArrayLike,
    *,
    categorical: Sequence[int] = (),
    periods: Mapping[int, float | ArrayLike] | None = None,
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Expand factors to columns of numbers, in which near values mean near states.

    A category becomes one indicator per class. An angle becomes the cosine and sine of its
    phase. Any other factor stays as it is. You can compare codes with these columns by
    correlation or regression, which makes no sense for raw angles and class numbers.

    Parameters
    ----------
    factors : array-like of shape (n_samples, n_factors)
        Values of the factors: numbers, or text in the columns of `categorical`.
    categorical : sequence of int, default=()
        Columns of unordered factors.
    periods : mapping of int to float or array-like of shape (n_samples,), default=None
        Columns of angles, with their periods in the same unit. An array gives the period of
        each row, for sets in which symmetric objects have shorter periods. NaN means that
        the angle is not defined.

    Returns
    -------
    columns : ndarray of shape (n_samples, n_columns)
        The columns. Cosine and sine are zero where an angle is not defined.
    groups : ndarray of shape (n_columns,)
        Factor of each column.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described. The message says which.

    Examples
    --------
    >>> from skdisentangle.datasets import expand_factors
    >>> columns, groups = expand_factors([[0, 0.0], [1, 90.0]], periods={1: 360.0})
    >>> columns.round(6).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    >>> groups.tolist()
    [0, 1, 1]
    """
    values, categories, angles = _check_kinds(factors, categorical, periods)
    parts: list[FloatArray] = []
    groups: list[int] = []
    for column, value in enumerate(values.T):
        if column in categories:
            part = [value == category for category in np.unique(value)]
        elif column in angles:
            quarter = np.pi / 2
            part = [_turn(value, angles[column], phase) for phase in (0.0, quarter)]
        else:
            part = [value]
        parts += [np.asarray(p, dtype=np.float64) for p in part]
        groups += [column] * len(part)
    return np.column_stack(parts), np.array(groups)


def _effect(
    rng: np.random.Generator,
    value: FloatArray,
    *,
    is_category: bool,
    period: FloatArray | None,
) -> FloatArray:
    """What a task takes from a factor: variance one over the rows."""
    effect = value
    if is_category:
        categories, rank = np.unique(value, return_inverse=True)
        effect = rng.normal(size=len(categories))[rank]
    elif period is not None:
        effect = _turn(value, period, phase=2 * np.pi * rng.random())
    return _standardised(effect)


def _type_of_each(
    rng: np.random.Generator, task_types: TaskTypes, n_tasks: int
) -> list[str]:
    if isinstance(task_types, str) and task_types == "mixed":
        task_types = MIXED
    from ..tasks.types import TYPES  # which loads torch

    names = [task_types] if isinstance(task_types, str) else task_types
    known = tuple(TYPES)
    if not isinstance(names, Iterable):
        raise TypeError(f"task_types must be among {known}; got {task_types!r}.")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"task_types must be among {known}; got {unknown}.")
    if isinstance(task_types, str):
        return [task_types] * n_tasks
    if not isinstance(task_types, Mapping):
        types = [str(name) for name in task_types]
        if len(types) != n_tasks:
            raise ValueError(
                f"task_types, a sequence, must name the type of each of the {n_tasks} "
                f"tasks; got {len(types)}."
            )
        return types
    shares: list[Any] = list(task_types.values())
    if (
        not all(isinstance(s, Real) and 0 <= float(s) < np.inf for s in shares)
        or sum(shares) == 0
    ):
        raise ValueError(
            "task_types, a mapping, must give the share of each type, at least 0 "
            f"and not all 0; got {dict(task_types)!r}."
        )
    ends = np.round(np.cumsum(shares) / sum(shares) * n_tasks).astype(int)
    dealt = np.repeat(list(task_types), np.diff(ends, prepend=0))
    return [str(dealt[t]) for t in rng.permutation(n_tasks)]


def _support_bounds(support_size: Any, n_factors: int) -> tuple[int, int]:
    bounds = [support_size] * 2 if is_integer(support_size) else support_size
    valid = isinstance(bounds, Sequence) and len(bounds) == 2
    if not valid or not all(is_integer(bound) for bound in bounds):
        low = high = 0
    else:
        low, high = (int(bound) for bound in bounds)
        if not is_integer(support_size):
            high = min(high, max(low, n_factors))
    if not 1 <= low <= high <= n_factors:
        raise ValueError(
            "support_size must be the number of factors of a task, or its least and "
            f"greatest value, between 1 and {n_factors}, the number of factors; got "
            f"{support_size!r}."
        )
    return low, high


def draw_tasks(
    rng: np.random.Generator,
    factors: FloatArray,
    categories: set[int],
    angles: dict[int, FloatArray],
    *,
    n_tasks: int,
    support_size: int | tuple[int, int],
    task_types: TaskTypes,
    n_classes: int,
    link: str,
    noise: float,
    flip_y: float,
    missing: float,
) -> Bunch:
    """Tasks on checked factors; see :func:`tasks_from_factors`."""
    from ..tasks.types import TYPES  # which loads torch

    n_samples, n_factors = factors.shape
    check_size("n_tasks", n_tasks)
    check_size("n_classes", n_classes, 2)
    check_share("flip_y", flip_y)
    check_share("missing", missing)
    check_noise(noise)
    if link not in ("threshold", "logistic"):
        raise ValueError(f"link must be 'threshold' or 'logistic'; got {link!r}.")
    low, high = _support_bounds(support_size, n_factors)
    types = _type_of_each(rng, task_types, n_tasks)
    Y = np.empty((n_samples, n_tasks))
    supports = np.zeros((n_tasks, n_factors), dtype=bool)
    for task, kind in enumerate(types):
        size = rng.integers(low, high + 1)
        support = rng.choice(n_factors, size=size, replace=False)
        supports[task, support] = True
        signs = rng.choice([-1.0, 1.0], size=size)
        weights = signs * rng.uniform(0.5, 1.5, size=size)
        effects = [
            _effect(
                rng,
                factors[:, factor],
                is_category=factor in categories,
                period=angles.get(factor),
            )
            for factor in support
        ]
        value = _standardised(np.column_stack(effects) @ weights)
        shift = CUT_SPREAD * rng.normal()
        Y[:, task] = TYPES[kind].draw(
            rng, value, shift=shift, noise=noise, n_classes=n_classes, link=link
        )
        if flip_y > 0:
            wrong = np.flatnonzero(rng.random(n_samples) < flip_y)
            TYPES[kind].disturb(rng, Y[:, task], wrong)
    if missing > 0:
        Y[rng.random(Y.shape) < missing] = np.nan
    return Bunch(Y=Y, supports=supports, task_types=types)


def tasks_from_factors(
    factors: ArrayLike,
    *,
    n_tasks: int = 60,
    support_size: int | tuple[int, int] = (1, 3),
    task_types: TaskTypes = "mixed",
    categorical: Sequence[int] = (),
    periods: Mapping[int, float | ArrayLike] | None = None,
    n_classes: int = 4,
    link: str = "threshold",
    noise: float = 0.1,
    flip_y: float = 0.0,
    missing: float = 0.0,
    random_state: RandomState = None,
) -> Bunch:
    r"""Make random sparse tasks on known factors.

    Each task draws its support, a random set of factors, and its *value*

    .. math:: v = \frac{1}{\sigma} \sum_{f \in \text{support}} w_f \, e_f, \qquad
              |w_f| \sim U(0.5, 1.5),

    with random signs and :math:`\sigma` such that the variance of :math:`v` is one. The
    effect :math:`e_f` of a factor has mean zero and variance one over the rows, and is zero
    if the factor is constant. The effect of a category is a normal score per class, that of
    an angle is the cosine of its phase minus a random phase, and that of any other factor
    is the factor itself. A category of three classes and an angle therefore each span two
    dimensions, and every task sees a different direction of them.

    The labels come from the value:

    - regression: :math:`v` with noise;
    - binary: whether :math:`v` with noise is above a cut drawn from :math:`N(0, 0.3^2)`, or,
      with ``link="logistic"``, a draw with log-odds :math:`4 (v - \text{cut})`;
    - multiclass and ordinal: :math:`v` with noise, cut into classes of equal size, or fewer
      if it takes few values. For ordinal tasks with ``link="logistic"`` the noise is
      logistic of scale 1/4;
    - count: Poisson with mean :math:`3 e^{0.7 v}`, with noise on :math:`v`.

    A task on a rare category may have few labels of a class, or none.

    Parameters
    ----------
    factors : array-like of shape (n_samples, n_factors)
        Values of the factors: numbers, or text in the columns of `categorical`.
    n_tasks : int, default=60
        Number of tasks.
    support_size : int or tuple (least, greatest), default=(1, 3)
        Number of factors per task, drawn uniformly between the two bounds. A greatest value
        above the number of factors is lowered to it.
    task_types : str, sequence of str or mapping, default="mixed"
        One of ``"regression"``, ``"count"``, ``"binary"``, ``"ordinal"``,
        ``"multiclass"`` for all tasks; the type of each task; or the share of each type,
        assigned at random. ``"mixed"`` means half binary and half regression.
    categorical : sequence of int, default=()
        Columns of unordered factors.
    periods : mapping of int to float or array-like of shape (n_samples,), default=None
        Columns of angles; see :func:`expand_factors`. The cosine of an undefined angle
        counts as zero.
    n_classes : int, default=4
        Classes of a multiclass or ordinal task.
    link : {"threshold", "logistic"}, default="threshold"
        How binary and ordinal labels depend on the value.
    noise : float, default=0.1
        Standard deviation of the normal noise on the value, which has variance one.
        Logistic labels do not use it, because they are random already.
    flip_y : float, default=0.0
        Share of wrong labels per task. Binary labels are flipped, others are swapped among
        each other.
    missing : float, default=0.0
        Share of labels to replace by NaN, at random.
    random_state : int, RandomState instance or None, default=None
        Seed of all draws.

    Returns
    -------
    Bunch
        With attributes

        - **Y**: ndarray of shape (n_samples, n_tasks), classes as 0, 1, ...
        - **supports**: boolean ndarray of shape (n_tasks, n_factors), the factors of
          each task.
        - **task_types**: list of str.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described. The message says which.

    Examples
    --------
    >>> import numpy as np
    >>> from skdisentangle.datasets import tasks_from_factors
    >>> factors = np.random.default_rng(0).normal(size=(100, 3))
    >>> tasks = tasks_from_factors(factors, n_tasks=4, support_size=1, random_state=0)
    >>> tasks.Y.shape, tasks.supports.sum(axis=1).tolist()
    ((100, 4), [1, 1, 1, 1])
    """
    values, categories, angles = _check_kinds(factors, categorical, periods)
    return draw_tasks(
        generator(random_state),
        values,
        categories,
        angles,
        n_tasks=n_tasks,
        support_size=support_size,
        task_types=task_types,
        n_classes=n_classes,
        link=link,
        noise=noise,
        flip_y=flip_y,
        missing=missing,
    )


def _is_missing(value: Any) -> bool:
    return value is None or is_scalar_nan(value) or is_pandas_na(value)


def _kind(label: Any) -> str:
    if isinstance(label, bool | np.bool_):
        return "booleans"
    if isinstance(label, Real):
        return "numbers"
    return "strings" if isinstance(label, str) else type(label).__name__


def tasks_from_classes(
    y: ArrayLike,
    *,
    n_tasks: int = 60,
    n_classes: int = 2,
    random_state: RandomState = None,
) -> Bunch:
    """Make tasks on random subsets of the classes of a single label.

    Each task distinguishes a few classes. Rows of other classes are not labelled for it. So
    you get many tasks from data with one label per row, like the episodes of few-shot
    learning that Fumero et al. fit on ("Leveraging sparse and shared feature activations
    for disentangled representation learning", NeurIPS 2023). A subset is drawn again only
    after all subsets have been drawn.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Labels: whole numbers, strings, booleans or categories. Rows with a missing label
        (NaN, None, NA) are in no task.
    n_tasks : int, default=60
        Number of tasks.
    n_classes : int, default=2
        Classes per task, from 2 to the number of classes in `y`.
    random_state : int, RandomState instance or None, default=None
        Seed of the draws.

    Returns
    -------
    Bunch
        With attributes

        - **Y**: ndarray of shape (n_samples, n_tasks), the labels of `y`. Numbers are
          float64, with NaN where a row is not labelled. Others, and numbers too large for
          float64, are objects, with None.
        - **classes**: ndarray of shape (n_tasks, n_classes), the classes of each task.
        - **task_types**: list of str. Give it to the estimator as `task_types`, so that it
          does not take class numbers for measurements.

    Raises
    ------
    ValueError
        If an argument is not as described. The message says which.

    Examples
    --------
    >>> from skdisentangle.datasets import tasks_from_classes
    >>> tasks = tasks_from_classes([3, 5, 8, 5], n_tasks=3, random_state=0)
    >>> tasks.classes.tolist()
    [[5.0, 8.0], [3.0, 8.0], [3.0, 5.0]]
    >>> tasks.Y[:, 0].tolist()
    [nan, 5.0, 8.0, 5.0]
    """
    check_size("n_tasks", n_tasks)
    values: NDArray[Any] = column_or_1d(np.asarray(y, dtype=object))
    labelled = np.array([not _is_missing(value) for value in values], dtype=bool)
    present = values[labelled].tolist()
    kinds = {_kind(value) for value in present}
    if len(kinds) > 1:
        raise ValueError(
            f"y must hold labels of one kind; got {', '.join(sorted(kinds))}."
        )
    # Larger whole numbers, as ids are, would be one as floats.
    numeric = kinds == {"numbers"} and all(abs(value) <= 2**53 for value in present)
    known: NDArray[Any] = np.asarray(present, dtype=np.float64 if numeric else object)
    if kinds == {"numbers"}:
        with np.errstate(invalid="ignore"):  # of infinity
            fractions = known[known % 1 != 0].tolist()
        if fractions:
            raise ValueError(
                f"y must hold classes, whole numbers if it holds numbers; got {fractions[0]!r}."
            )
    classes, index = np.unique(known, return_inverse=True)
    check_size("n_classes", n_classes, 2)
    if n_classes > len(classes):
        raise ValueError(
            f"n_classes must be at most {len(classes)}, the number of classes in y; got "
            f"{n_classes}."
        )
    rng = generator(random_state)
    rows = np.flatnonzero(labelled)
    Y = np.full((len(values), n_tasks), np.nan if numeric else None)
    subsets: list[NDArray[np.intp]] = []
    seen: set[tuple[int, ...]] = set()
    while len(subsets) < n_tasks:
        subset = np.sort(rng.choice(len(classes), size=n_classes, replace=False))
        if tuple(subset) in seen:
            continue
        seen.add(tuple(subset))
        if len(seen) == math.comb(len(classes), n_classes):
            seen.clear()
        inside = np.isin(index, subset)
        Y[rows[inside], len(subsets)] = known[inside]
        subsets.append(subset)
    return Bunch(
        Y=Y,
        classes=classes[np.array(subsets)],
        task_types=["binary" if n_classes == 2 else "multiclass"] * n_tasks,
    )
