"""Checks of the arguments that every metric shares, and what follows from them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import KFold, ShuffleSplit, check_cv
from sklearn.utils import check_array, check_consistent_length

from .._random import draw_seed

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
DiscreteFactors = str | bool | ArrayLike
Split = tuple[IntArray, IntArray]

#: A column whose range is below this share of its largest magnitude is constant:
#: what varies there is rounding.
CONSTANT_TOLERANCE = 1e-12


def check_factors_codes(
    factors: Any, codes: Any, discrete_factors: DiscreteFactors
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Validate the two arrays of a metric.

    Parameters
    ----------
    factors : array-like of shape (n_samples, n_factors)
        The truth: numbers, booleans, strings or categories, one column a factor.
    codes : array-like of shape (n_samples, n_codes)
        The representation, one column a code.
    discrete_factors : "auto", bool or array-like
        See the metrics.

    Returns
    -------
    factors : ndarray of float64, shape (n_samples, n_factors)
        Values of each factor; strings and categories become their sorted rank.
    codes : ndarray of float64, shape (n_samples, n_codes)
    is_discrete : ndarray of bool, shape (n_factors,)

    Raises
    ------
    ValueError
        If an array has the wrong shape, NaN or infinity, the lengths differ, or a
        factor is constant.
    TypeError
        If a factor cannot be read as numbers or classes.
    """
    codes = check_array(
        codes, dtype=np.float64, input_name="codes", ensure_min_samples=2
    )
    columns, looks_discrete = _factor_columns(factors)
    check_consistent_length(columns[0], codes)
    is_discrete = _check_discrete(discrete_factors, looks_discrete)
    values = np.column_stack(columns)
    constant = np.flatnonzero(is_constant(values))
    if constant.size:
        raise ValueError(
            f"factors: column(s) {constant.tolist()} have a single value in all "
            f"{len(values)} rows. Nothing can encode a constant factor; leave those "
            "columns out."
        )
    for j in np.flatnonzero(is_discrete):
        n_classes = len(np.unique(values[:, j]))
        if n_classes > max(20, len(values) // 2):
            warnings.warn(
                f"factors: column {j} is taken as discrete and has {n_classes} classes "
                f"in {len(values)} rows. If it is continuous, set discrete_factors.",
                UserWarning,
                stacklevel=3,
            )
    return values, codes, is_discrete


def _factor_columns(factors: Any) -> tuple[list[FloatArray], BoolArray]:
    """Split factors into numeric columns and tell which look discrete."""
    if hasattr(factors, "iloc") and getattr(factors, "ndim", 0) == 2:  # pandas
        raw = [factors.iloc[:, j] for j in range(factors.shape[1])]
    elif hasattr(factors, "get_columns"):  # polars
        raw = list(factors.get_columns())
    else:
        array = np.asarray(factors)
        if array.ndim != 2:
            raise ValueError(
                f"factors: expected a 2D array of shape (n_samples, n_factors), got "
                f"{array.ndim}D with shape {array.shape}. Reshape a single factor with "
                "factors.reshape(-1, 1)."
            )
        raw = list(array.T)
    if not raw or len(raw[0]) < 2:
        raise ValueError(
            "factors: expected at least one column and two rows, got "
            f"{len(raw)} column(s)."
        )
    parsed = [_parse_column(column, j) for j, column in enumerate(raw)]
    return [p[0] for p in parsed], np.array([p[1] for p in parsed])


def _parse_column(column: Any, j: int) -> tuple[FloatArray, bool]:
    kind = getattr(getattr(column, "dtype", None), "kind", None)
    array = np.asarray(column)
    if array.dtype.kind in "cmMV":
        raise TypeError(
            f"factors: column {j} has dtype {array.dtype}; expected real numbers, "
            "booleans, strings or categories."
        )
    # Nullable pandas columns arrive as objects: missing values are found there too.
    missing = array != array
    if array.dtype.kind == "O":
        missing = np.array([x is None or x != x or str(x) == "<NA>" for x in array])
    if np.any(missing):
        raise ValueError(
            f"factors: column {j} has {int(np.sum(missing))} missing value(s); leave "
            "those rows out of factors and codes."
        )
    if array.dtype.kind == "O":
        numeric = all(
            isinstance(x, (bool, int, float, np.bool_, np.number)) for x in array
        )
        if numeric and kind != "O":
            array = array.astype(np.float64)
            discrete = kind in ("b", "i", "u")
        elif numeric:
            discrete = not any(isinstance(x, (float, np.floating)) for x in array)
            array = array.astype(np.float64)
        else:
            labels = array.astype(str)
            return np.unique(labels, return_inverse=True)[1].astype(np.float64), True
    elif array.dtype.kind in "UST":
        return np.unique(array, return_inverse=True)[1].astype(np.float64), True
    else:
        # a pandas categorical has kind "O" whatever its categories are
        discrete = array.dtype.kind in "biu" or kind == "O"
    array = check_array(
        array.reshape(-1, 1), dtype=np.float64, input_name="factors"
    ).ravel()
    return array, bool(discrete)


def _check_discrete(
    discrete_factors: DiscreteFactors, looks_discrete: BoolArray
) -> BoolArray:
    if isinstance(discrete_factors, str):
        if discrete_factors != "auto":
            raise ValueError(
                f"discrete_factors: got {discrete_factors!r}; expected 'auto', a bool, "
                "or an array: a boolean mask or indices of the discrete columns."
            )
        return looks_discrete
    n_factors = len(looks_discrete)
    if isinstance(discrete_factors, (bool, np.bool_)):
        return np.full(n_factors, bool(discrete_factors))
    given = np.asarray(discrete_factors)
    if given.dtype == bool:
        if given.shape != (n_factors,):
            raise ValueError(
                f"discrete_factors: a boolean mask must have shape ({n_factors},), one "
                f"entry a factor; got {given.shape}."
            )
        return given
    if given.size and given.dtype.kind not in "iu":
        raise TypeError(
            f"discrete_factors: got an array of dtype {given.dtype}; expected 'auto', "
            "a bool, a boolean mask or integer indices."
        )
    mask = np.zeros(n_factors, dtype=bool)
    given = given.astype(np.int64).ravel()
    if np.any((given < -n_factors) | (given >= n_factors)):
        raise ValueError(
            f"discrete_factors: indices must lie in [0, {n_factors}), got "
            f"{given.tolist()}."
        )
    mask[given] = True
    return mask


def check_option(name: str, value: object, options: Sequence[str]) -> None:
    """Raise ValueError unless `value` is one of `options`."""
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name}: got {value!r}; expected one of {list(options)}.")


def check_integer(name: str, value: object, minimum: int) -> int:
    """Return `value` as an int of at least `minimum`, or raise."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral):
        raise TypeError(f"{name}: got {value!r}; expected an integer >= {minimum}.")
    if value < minimum:
        raise ValueError(f"{name}: got {value!r}; expected an integer >= {minimum}.")
    return int(value)


def make_splits(cv: Any, n_samples: int, rng: np.random.RandomState) -> list[Split]:
    """List the (train, test) rows that `cv` stands for.

    None is one split with a third of the rows held out, an integer is that many
    shuffled folds; scikit-learn's splitters and iterables of pairs are taken as given.
    """
    if cv is None:
        cv = ShuffleSplit(1, test_size=1 / 3, random_state=draw_seed(rng))
    elif isinstance(cv, Integral):
        cv = KFold(int(cv), shuffle=True, random_state=draw_seed(rng))
    elif not hasattr(cv, "split") and not isinstance(cv, Iterable):
        raise TypeError(
            f"cv: got {cv!r}; expected None, a number of folds, a splitter or an "
            "iterable of (train, test) index arrays."
        )
    rows = np.arange(n_samples)
    splits = [
        (rows[np.asarray(train)], rows[np.asarray(test)])
        for train, test in check_cv(cv).split(np.zeros((n_samples, 1)))
    ]
    if not splits or any(not len(train) or not len(test) for train, test in splits):
        raise ValueError("cv: expected at least one split, none of them empty.")
    return splits


def is_constant(values: FloatArray) -> BoolArray:
    """Tell which columns do not vary beyond rounding."""
    low, high = values.min(axis=0), values.max(axis=0)
    # halves, as the range of very large values would overflow
    spread = high / 2 - low / 2
    constant: BoolArray = (
        spread <= CONSTANT_TOLERANCE * np.maximum(np.abs(low), np.abs(high)) / 2
    )
    return constant


def unit_scale(values: FloatArray) -> FloatArray:
    """Scale each column by a power of two so that its magnitude is about 1.

    This is exact, so it changes no comparison of values, and what is computed next can
    neither overflow nor underflow.
    """
    exponent = np.frexp(np.abs(values).max(axis=0))[1]
    scaled: FloatArray = np.ldexp(values, -exponent)
    return scaled


def standardize(values: FloatArray) -> FloatArray:
    """Center columns and divide by their deviation (ddof=0); constants become 0."""
    constant = is_constant(values)
    scaled = unit_scale(values)
    centered = scaled - scaled.mean(axis=0)
    centered = unit_scale(np.where(constant, 0.0, centered))
    deviation = np.sqrt((centered**2).mean(axis=0))
    return centered / np.where(constant, 1.0, deviation)


def canonical_codes(codes: FloatArray) -> tuple[FloatArray, IntArray]:
    """Standardise the codes that vary and bring them into an order of their own.

    A metric with a random part that is computed on the result does not depend on the
    order, the scale, the sign or the offset of the codes, nor on constant ones.

    Returns
    -------
    canonical : ndarray of shape (n_samples, n_live_codes)
        Zero mean, unit variance, first row not negative.
    columns : ndarray of int, shape (n_live_codes,)
        The column of `codes` that each came from.
    """
    columns = np.flatnonzero(~is_constant(codes))
    # to 9 digits, as the last ones depend on the scale and could decide ties
    canonical = np.round(standardize(codes[:, columns]), 9)
    head = canonical[:64]
    first = np.argmax(head != 0, axis=0)
    sign = np.where(head[first, np.arange(len(columns))] < 0, -1.0, 1.0)
    canonical = canonical * sign
    order = np.lexsort((head * sign)[::-1])
    return canonical[:, order], columns[order]


def bin_columns(values: FloatArray, n_bins: int) -> IntArray:
    """Find the equal-width bin of each value, column by column.

    The last bin holds its upper end; a constant column has one bin.
    """
    constant = is_constant(values)
    values = unit_scale(values)
    labels = np.zeros(values.shape, dtype=np.int64)
    for j in np.flatnonzero(~constant):
        edges = np.histogram_bin_edges(values[:, j], n_bins)
        labels[:, j] = np.digitize(values[:, j], edges[:-1]) - 1
    return labels


def factor_labels(factors: FloatArray, is_discrete: BoolArray, n_bins: int) -> IntArray:
    """Class 0, 1, ... of each value: its own if discrete, else its bin's."""
    labels = np.empty(factors.shape, dtype=np.int64)
    labels[:, ~is_discrete] = bin_columns(factors[:, ~is_discrete], n_bins)
    for j in range(factors.shape[1]):
        column = factors[:, j] if is_discrete[j] else labels[:, j]
        labels[:, j] = np.unique(column, return_inverse=True)[1]
    return labels


def map_parallel(
    function: Callable[..., Any], items: Iterable[tuple[Any, ...]], n_jobs: int | None
) -> list[Any]:
    """Call `function(*item)` for each item, in threads."""
    return list(
        Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(function)(*item) for item in items
        )
    )
