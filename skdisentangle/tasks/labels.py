"""Read ``Y_tasks`` from any container into columns, one per task.

A missing label (NaN, None, NA) means "not labelled".
"""

from __future__ import annotations

import numbers
import sys
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..distributed import Ranks

__all__ = [
    "LARGEST_EXACT",
    "Column",
    "Labels",
    "beyond_floats",
    "missing_cells",
    "pandas_index",
    "text_as_str",
]

#: Categories of pandas, as it names their kinds, that are classes as they are: they have
#: an order. Those that are numbers, strings or booleans are read as such labels are.
ORDERED_CATEGORIES = ("interval", "period", "datetime64", "timedelta64", "date")

#: Methods that make an array or a data frame of what is none yet, such as a sparse matrix.
WAYS_TO_ARRAYS = ("toarray", "collect")

#: What the labels are called in errors, unless said otherwise.
ARGUMENT = "Y_tasks"


def missing_cells(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where an array of any type holds NaN, None, NA or NaT."""
    if values.dtype.kind in "fc":
        return np.asarray(np.isnan(values))
    if values.dtype.kind == "O":
        return np.array([_is_missing(value) for value in values], dtype=bool)
    if values.dtype.kind in "mM":
        return np.asarray(np.isnat(values))
    return np.zeros(len(values), dtype=bool)


def _is_missing(value: object) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    # only a missing number is not itself; a whole number may be too large for a float
    return isinstance(value, numbers.Real) and bool(value != value)


#: Whole numbers up to here are floats as well; of larger ones some become others.
LARGEST_EXACT = 2**53


def beyond_floats(values: NDArray[Any]) -> bool:
    """Whether there are whole numbers that as floats would not be the same."""
    if values.dtype.kind == "O":
        return any(
            isinstance(value, numbers.Integral) and abs(int(value)) > LARGEST_EXACT
            for value in values.tolist()
        )
    return values.dtype.kind in "iu" and bool(
        np.any((values > LARGEST_EXACT) | (values < -LARGEST_EXACT))
    )


def text_as_str(
    values: NDArray[Any], name: str, argument: str = ARGUMENT
) -> NDArray[Any]:
    """Bytes of numpy or h5py, and strings of variable width, as strings of Python.

    Bytes are UTF-8. What numpy's ``StringDType`` has for missing becomes None.
    """
    if values.dtype.kind == "T":
        objects: NDArray[Any] = values.astype(object)
        na_object = getattr(values.dtype, "na_object", None)
        if isinstance(na_object, str):
            objects[objects == na_object] = None
        return objects
    try:
        if values.dtype.kind == "S":
            return np.asarray(np.char.decode(values, "utf-8"))
        if values.dtype.kind == "O":
            found = values.tolist()
            there = [value for value in found if not _is_missing(value)]
            if there and all(isinstance(value, bytes) for value in there):
                decoded = [v.decode() if isinstance(v, bytes) else None for v in found]
                return np.array(decoded, dtype=object)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{argument}: task {name!r} holds bytes that are not UTF-8, such as "
            f"{error.object!r:.50}. Decode them, as with labels.decode('latin-1')."
        ) from error
    return values


def _numbers(
    name: str, values: NDArray[Any], missing: NDArray[np.bool_], argument: str
) -> NDArray[Any]:
    """Objects that are numbers as floats; whole ones as they are, however large."""
    floats = _floats(name, np.where(missing, np.nan, values), argument)
    present = values[~missing].tolist()
    large = beyond_floats(values)
    whole = all(isinstance(value, numbers.Integral) for value in present) or (
        large and not np.any(floats[~missing] % 1 != 0)
    )
    if not whole or (missing.any() and not large):
        return floats
    integers = [int(value) for value in present]
    if missing.any():
        out = np.full(len(values), None, dtype=object)
        out[~missing] = integers
        return out
    least, most = min(integers), max(integers)
    for dtype in (np.int64, np.uint64):
        if np.iinfo(dtype).min <= least and most <= np.iinfo(dtype).max:
            return np.array(integers, dtype=dtype)
    return np.array(integers, dtype=object)


def _floats(
    name: str, values: NDArray[Any], argument: str = ARGUMENT
) -> NDArray[np.float64]:
    try:
        return values.astype(np.float64)
    except OverflowError as error:
        raise ValueError(
            f"{argument}: task {name!r} holds whole numbers too large for a float. "
            "Turn them into strings if they are ids."
        ) from error


def _is_number(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind in "iuf"


@dataclass(frozen=True)
class Column:
    """Labels of one task: values, what they are, and where they are missing.

    Values are floats, or whole numbers (of numpy, or objects if there are larger ones, or
    large ones and missing ones), booleans, strings or, of categories, other objects.

    ``order`` holds all categories in their order, if these have one.
    """

    name: str
    values: NDArray[Any]
    categorical: bool
    mask: NDArray[np.bool_] | None
    argument: str = ARGUMENT
    counts: NDArray[np.float64] | None = None
    """Rows of each value, where the values are those that differ."""
    order: tuple[Any, ...] | None = None

    @classmethod
    def read(
        cls,
        name: str,
        values: NDArray[Any],
        categorical: bool = False,
        argument: str = ARGUMENT,
    ) -> Column:
        values = text_as_str(values, name, argument)
        missing = missing_cells(values)
        present = values[~missing]
        if values.dtype.kind == "O":
            kinds = {type(value) for value in present.tolist()}
            if kinds and all(issubclass(k, (bool, np.bool_)) for k in kinds):
                categorical = True
            elif kinds and all(issubclass(k, numbers.Real) for k in kinds):
                values = _numbers(name, values, missing, argument)
                present = values[~missing]
            elif any(not issubclass(k, (str, numbers.Real)) for k in kinds):
                odd = next(k for k in kinds if not issubclass(k, (str, numbers.Real)))
                raise ValueError(
                    f"{argument}: labels must be numbers, strings, booleans, or "
                    "categories of these, of dates or of intervals; task "
                    f"{name!r} has one of type {odd.__name__}. Turn them into strings or "
                    "numbers."
                )
            elif kinds and not all(issubclass(k, str) for k in kinds):
                raise ValueError(
                    f"{argument}: task {name!r} mixes strings and numbers. Use one kind "
                    "of label per task."
                )
            else:
                categorical = True
        elif values.dtype.kind in "bU":
            categorical = True
        elif values.dtype.kind not in "iuf":
            raise ValueError(
                f"{argument}: labels must be numbers, strings, booleans or categories; "
                f"task {name!r} has dtype {values.dtype}."
            )
        if present.dtype.kind == "f" and not np.isfinite(present).all():
            raise ValueError(
                f"{argument}: task {name!r} holds infinite labels (inf). Use finite "
                "numbers, and NaN for a missing label."
            )
        mask = missing if values.dtype == "O" else None
        return cls(name, values, categorical, mask, argument)

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Whether a label is missing, of shape (n_rows,).

        Held for objects only, which take long to look at: numbers may be many.
        """
        return missing_cells(self.values) if self.mask is None else self.mask

    def distinct(self, repeats: NDArray[np.float64] | None = None) -> Column:
        """The labels that say what the column is: all classes, or that there are none.

        Parameters
        ----------
        repeats : ndarray of shape (n_rows,), optional
            As how many rows each row counts.
        """
        if self.counts is not None:
            return self
        there = ~self.missing
        found, place = np.unique(self.values[there], return_inverse=True)
        weight = None if repeats is None else repeats[there]
        counts = np.bincount(place.ravel(), weight, len(found)).astype(np.float64)
        if not self.categorical and np.any(found % 1 != 0):
            some = np.unique([0, len(found) - 1, np.argmax(found % 1 != 0)])
            found, counts = found[some], counts[some]
        return replace(self, values=found, mask=None, counts=counts)

    def in_order(self, classes: NDArray[Any]) -> NDArray[Any]:
        """Sorted classes in the order of the categories, if these have one."""
        if self.order is None:
            return classes
        place = {label: number for number, label in enumerate(self.order)}
        after = len(place)
        return classes[np.argsort([place.get(c, after) for c in classes.tolist()])]

    @property
    def _kind(self) -> str | None:
        if len(self.values) == 0:
            return None
        sample = self.values[0]
        if isinstance(sample, str):
            return "strings"
        return "booleans" if isinstance(sample, bool | np.bool_) else "numbers"

    @classmethod
    def merge(cls, columns: list[Column]) -> Column:
        """The distinct labels of one task on all ranks."""
        kinds = {column._kind: rank for rank, column in enumerate(columns)}
        kinds.pop(None, None)
        name, argument = columns[0].name, columns[0].argument
        if len(kinds) > 1:
            (one, first), (other, second) = sorted(kinds.items())[:2]
            raise ValueError(
                f"{argument}: task {name!r} has {one} on rank {first} and {other} on rank "
                f"{second}. Use one kind of label per task."
            )
        some = [column for column in columns if len(column.values)] or columns[:1]
        parts = [column.values for column in some]
        if any(map(beyond_floats, parts)):
            parts = [part.astype(object) for part in parts]
        values, place = np.unique(np.concatenate(parts), return_inverse=True)
        rows = np.concatenate([column.distinct().counts for column in some])
        counts = np.bincount(place.ravel(), rows, len(values)).astype(np.float64)
        categorical = any(column.categorical for column in some)
        order = columns[0].order
        return cls(name, values, categorical, None, argument, counts, order)


@dataclass(frozen=True)
class Labels:
    """Columns of ``Y_tasks``, read from any container, with what undoes the reading.

    Attributes
    ----------
    columns : list of Column
    container : {"1d", "2d", "pandas", "pandas-series", "polars", "polars-series"}
        What ``Y_tasks`` was; arrays and indexes of pandas stand for a series.
    dtypes : list
        The columns' own data types, for data frames.
    keys : list
        The columns' own names, for data frames: they need not be strings.
    argument : str
        What errors call the labels.
    """

    columns: list[Column]
    container: str
    dtypes: list[Any]
    keys: list[Any] = field(default_factory=list)
    argument: str = ARGUMENT

    @property
    def n_rows(self) -> int:
        return len(self.columns[0].values)

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def frame_dtypes(self) -> list[Any]:
        """The columns' data types, which predictions are to have; None for numbers."""
        if self.container in ("1d", "2d"):
            return []
        return [None if _is_number(dtype) else dtype for dtype in self.dtypes]

    def take(self, rows: NDArray[np.intp]) -> Labels:
        """Labels of some rows."""
        columns = [
            replace(
                column,
                values=column.values[rows],
                mask=None if column.mask is None else column.mask[rows],
            )
            for column in self.columns
        ]
        return replace(self, columns=columns)

    def of_all(
        self, ranks: Ranks, repeats: NDArray[np.float64] | None = None
    ) -> Labels:
        """The distinct labels of each task, on all ranks; columns differ in length."""
        own = [column.distinct(repeats) for column in self.columns]
        merged = [
            Column.merge(list(columns))
            for columns in zip(*ranks.gather(own), strict=True)
        ]
        dtypes = [
            np.result_type(*found) if all(map(_is_number, found)) else found[0]
            for found in zip(*ranks.gather(self.dtypes), strict=True)
        ]
        return replace(self, columns=merged, dtypes=dtypes)

    def check_classes(self, classes: Any) -> list[Any]:
        """Classes of each task, as given to ``partial_fit``.

        Raises
        ------
        ValueError
            If there is not one entry for each task.
        """
        if self.container in ("1d", "pandas-series", "polars-series"):
            return [classes]
        listed = list(classes)
        if len(listed) != len(self.columns):
            raise ValueError(
                f"classes must be a list with one entry for each of the {len(self.columns)} "
                "tasks: its classes, or None for a regression task; got "
                f"{len(listed)} entries."
            )
        return listed

    @classmethod
    def read(cls, y: Any, argument: str = ARGUMENT) -> Labels:
        """Read labels.

        Parameters
        ----------
        y : array-like or data frame of shape (n_samples,) or (n_samples, n_tasks)
            What a masked array masks is missing.
        argument : str, default="Y_tasks"
            What errors are to call the labels.

        Returns
        -------
        Labels

        Raises
        ------
        ValueError
            If ``y`` has another number of dimensions, no column, or labels of a kind
            that cannot be used.
        """
        for library in ("pandas", "polars"):
            frame = _of_library(y, library)
            if frame is not None:
                return cls._read_frame(frame, library, argument)
        values = _as_array(y, argument)
        container = "1d" if values.ndim == 1 else "2d"
        if container == "1d":
            values = values[:, np.newaxis]
        if values.shape[1] == 0:
            raise ValueError(f"{argument} must have at least one column; got none.")
        columns = [
            Column.read(f"task{j}", values[:, j], argument=argument)
            for j in range(values.shape[1])
        ]
        dtypes = [values.dtype] * values.shape[1]
        return cls(columns, container, dtypes, argument=argument)

    @classmethod
    def _read_frame(cls, y: Any, library: str, argument: str) -> Labels:
        if hasattr(y, "columns"):
            keys = list(y.columns)
            names = [str(key) for key in keys]
            if not names:
                raise ValueError(f"{argument} must have at least one column; got none.")
            series = [
                y.iloc[:, j] if library == "pandas" else y.to_series(j)
                for j in range(len(names))
            ]
            container = library
        else:
            names = ["task0" if y.name in (None, "") else str(y.name)]
            keys, series, container = [y.name], [y], f"{library}-series"
        read = _read_pandas if library == "pandas" else _read_polars
        columns = [
            read(name, s, argument) for name, s in zip(names, series, strict=True)
        ]
        return cls(columns, container, [s.dtype for s in series], keys, argument)


def pandas_index(X: Any) -> Any:
    """Index of rows that are a data frame of pandas; None for any others."""
    pd = sys.modules.get("pandas")
    return X.index if pd is not None and isinstance(X, pd.DataFrame) else None


def _of_library(y: Any, library: str) -> Any:
    """The data frame or series of a library that ``y`` is or stands for, or None."""
    module = sys.modules.get(library)  # who has a frame has its library imported
    if module is None:
        return None
    if isinstance(y, (module.DataFrame, module.Series)):
        return y
    if library == "polars" or isinstance(y, module.MultiIndex):
        return None
    one_column = module.Index, module.api.extensions.ExtensionArray
    return module.Series(y) if isinstance(y, one_column) else None


def _as_array(y: Any, argument: str) -> NDArray[Any]:
    """Array of one or two dimensions, keeping None and mixed labels as objects."""
    shapes = f"{argument} must have shape (n_samples,) or (n_samples, n_tasks)"
    if isinstance(y, np.ma.MaskedArray):
        values = _without_masked(y)
    elif isinstance(y, np.ndarray):
        values = np.asarray(y)
    else:
        values = _of_sequence(y, shapes)
    if values.ndim == 0 and not isinstance(y, np.ndarray):
        ways = [f"{argument}.{way}()" for way in WAYS_TO_ARRAYS if hasattr(y, way)]
        raise ValueError(
            f"{shapes}: an array, a list, or a data frame; got "
            f"{'None' if y is None else type(y).__name__}."
            + "".join(f" Give {way}." for way in ways)
        )
    if values.ndim not in (1, 2):
        raise ValueError(f"{shapes}; got shape {values.shape}.")
    return values


def _without_masked(y: Any) -> NDArray[Any]:
    """Values of a masked array, with what is masked as a missing label."""
    values, mask = np.array(y.data), np.ma.getmaskarray(y)
    if values.dtype.names is not None or not mask.any():
        return values
    if values.dtype.kind in "iu" and not beyond_floats(values[~mask]):
        values = values.astype(np.float64)
    elif values.dtype.kind != "f":
        values = values.astype(object)
    values[mask] = None if values.dtype.kind == "O" else np.nan
    return values


def _of_sequence(y: Any, shapes: str) -> NDArray[Any]:
    try:
        values = np.asarray(y)
    except ValueError as error:
        raise ValueError(f"{shapes}; its rows have different lengths.") from error
    if hasattr(y, "__array__"):
        return values
    if values.dtype.kind in "US":
        # numpy turns [1, "a", None] into strings; read it once more as it is.
        objects = np.asarray(y, dtype=object)
        if any(not isinstance(value, str) for value in objects.ravel().tolist()):
            return objects
    elif values.dtype.kind == "f" and np.any(np.abs(values) >= LARGEST_EXACT):
        # nor are large whole numbers to become floats beside NaN, fractions or larger ones
        objects = np.asarray(y, dtype=object)
        return objects if beyond_floats(objects.ravel()) else values
    return values


def _read_pandas(name: str, series: Any, argument: str) -> Column:
    missing = series.isna().to_numpy()
    categorical = series.dtype.name == "category"
    is_bool = series.dtype.kind == "b" if hasattr(series.dtype, "kind") else False
    if not categorical and not is_bool and series.dtype.kind in "iuf":
        eight_bytes = series.dtype.kind + "8"
        if not missing.any():
            values = series.to_numpy(dtype=eight_bytes)
        elif beyond_floats(series[~missing].to_numpy(dtype=eight_bytes)):
            values = series.to_numpy(dtype=object, na_value=None)
        else:
            values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        values = series.astype(object).to_numpy(dtype=object, copy=True)
        values[missing] = None
    if categorical and series.dtype.categories.inferred_type in ORDERED_CATEGORIES:
        column = Column(name, values, True, missing, argument)
    else:
        column = Column.read(name, values, categorical, argument)
    if categorical and series.dtype.ordered:
        return replace(column, order=tuple(series.dtype.categories.tolist()))
    return column


def _read_polars(name: str, series: Any, argument: str) -> Column:
    if series.dtype.is_numeric():
        # numpy has no whole numbers of 128 bits, and none that are missing
        as_objects = str(series.dtype) in ("Int128", "UInt128") or (
            series.dtype.is_integer()
            and series.null_count() > 0
            and beyond_floats(series.drop_nulls().to_numpy())
        )
        values = np.array(series.to_list(), object) if as_objects else series.to_numpy()
        if values.dtype.kind == "O" and not as_objects:  # decimals
            values = _floats(name, values, argument)
        return Column.read(name, values, argument=argument)
    values = np.array(series.to_list(), dtype=object)
    column = Column.read(name, values, not series.dtype.is_nested(), argument)
    if type(series.dtype).__name__ == "Enum":
        return replace(column, order=tuple(series.dtype.categories.to_list()))
    return column
