"""Save tasks to files: their types, classes and the data types of labels."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._extras import import_extra
from ..tasks.labels import ORDERED_CATEGORIES, Labels
from ..tasks.task import Task
from ..tasks.task_set import TaskSet
from ..tasks.types import TYPES
from .file_format import (
    ABOVE_ZERO,
    Content,
    is_list_of,
    numpy_dtype,
    numpy_name,
    plain,
    restored,
)

__all__ = ["plain_tasks", "restored_tasks"]

#: Data types of labels, by the names that they go by in a file; those of numpy are of any array.
PANDAS_DTYPE = r"U?Int(8|16|32|64)|Float(32|64)|boolean|str|string\[(python|pyarrow)\]"
ARROW_DTYPE = r"u?int(8|16|32|64)|halffloat|float|double|bool|(large_)?(string|binary)"
POLARS_DTYPE = (
    r"U?Int(8|16|32|64|128)|Float(32|64)|Boolean|String|Binary|Categorical|Null"
)

#: Characters of the class labels of a task at the most, where they have a fixed width.
MAX_CHARACTERS = 2**24


def plain_tasks(task_set: TaskSet) -> dict[str, Any]:
    """Tasks as JSON, less what follows from their types and classes."""
    columns = []
    for number, task in enumerate(task_set.tasks):
        _check_kept(task.name, task_set.dtypes[number])
        column = {
            "name": str(task.name),
            "type": task.type,
            "classes": None if task.classes is None else _plain_values(task.classes),
            "mean": plain(float(task.mean)),
            "scale": float(task.scale),
            "left_out": task.left_out,
            "dtype": _plain_dtype(task.name, task_set.dtypes[number]),
        }
        if task.thresholds:
            column["thresholds"] = list(task.thresholds)
        if task_set.keys:
            try:
                column["key"] = plain(task_set.keys[number])
            except TypeError as error:
                raise ValueError(
                    f"the column of task {task.name!r} must be named by a string, number or "
                    f"tuple; got {task_set.keys[number]!r:.100}."
                ) from error
        columns.append(column)
    return {"container": task_set.container, "columns": columns}


def _check_kept(task: str, dtype: Any) -> None:
    """Raise ValueError for categories of pandas that are no plain values."""
    if getattr(dtype, "name", None) != "category":
        return
    kind = dtype.categories.inferred_type
    if kind in (*ORDERED_CATEGORIES, "bytes"):
        make = "bytes.decode" if kind == "bytes" else "str"
        raise ValueError(
            f"the labels of task {task!r} are categories of kind {kind!r}, which cannot be "
            "saved. Turn them into strings before the fit: "
            f"labels.cat.rename_categories({make})."
        )


def restored_tasks(found: Content) -> TaskSet:
    """Tasks of a file, laid out as they were; ValueError if they fit no labels."""
    container = found.get("container", str)
    library = container.split("-")[0]
    if library not in ("1d", "2d", "pandas", "polars"):
        raise ValueError(
            f"'container' is not a container of labels: {container!r:.50}."
        )
    columns = [Content(each, {}) for each in found.get("columns", list)]
    if not columns or (
        container not in ("2d", "pandas", "polars") and len(columns) > 1
    ):
        raise ValueError(
            f"{container!r:.50} cannot hold the labels of {len(columns)} tasks."
        )
    tasks = []
    for index, column in enumerate(columns):
        kind, classes = column.get("type", str), column.document.get("classes")
        if classes is not None:
            classes = _restored_values(column.part("classes"))
        left_out = column.document.get("left_out")
        if left_out is not None:
            left_out = column.get("left_out", str)
        name = column.get("name", str)
        if kind not in TYPES or not TYPES[kind].fits(classes, left_out):
            n_classes = 0 if classes is None else len(classes)
            raise ValueError(
                f"task {name!r:.50} cannot be of type {kind!r:.50}, with {n_classes} "
                f"classes; types are {', '.join(map(repr, TYPES))}."
            )
        thresholds = column.document.get("thresholds", [])
        n_thresholds = 0 if left_out else TYPES[kind].n_thresholds(classes)
        if (
            not is_list_of(thresholds, float)
            or len(thresholds) != n_thresholds
            or thresholds != sorted(thresholds)
        ):
            raise ValueError(
                f"'thresholds' of task {name!r:.50} should be {n_thresholds} numbers in "
                "ascending order."
            )
        tasks.append(
            Task(
                name,
                index,
                kind,
                classes,
                # of no label there is no mean
                mean=(column.get if left_out else column.number)("mean", float),
                scale=column.number("scale", least=ABOVE_ZERO),
                left_out=left_out,
                thresholds=tuple(thresholds),
            )
        )
    labels = Labels(
        [],
        container,
        [_restored_dtype(column.part("dtype"), library) for column in columns],
        [_restored_key(column, library) for column in columns]
        if library in ("pandas", "polars")
        else [],
    )
    return TaskSet.lay_out(tasks, labels, quiet=True)


def _restored_key(column: Content, library: str) -> Any:
    """Name of a column of a data frame: strings in polars, what has a hash in pandas."""
    if library == "polars":
        return column.get("key", str)
    key = restored(column.document.get("key"))
    try:
        hash(key)
    except TypeError as error:
        raise ValueError(f"'key' cannot name a column: {error}.") from error
    return key


def _plain_values(values: NDArray[Any]) -> dict[str, Any]:
    """Class labels, and their data type."""
    items = [plain(value) for value in values.tolist()]
    return {"dtype": numpy_name(values.dtype), "values": items}


def _restored_values(found: Content) -> NDArray[Any]:
    values, name = found.get("values", list), found.get("dtype", str)
    dtype = numpy_dtype(name)
    kinds: dict[str, tuple[type, ...]] = {
        "b": (bool,),
        "i": (int,),
        "u": (int,),
        "f": (int, float),
        "O": (str, bool, int, float),
    }
    if not is_list_of(values, *kinds.get(dtype.kind, (str,))):
        raise ValueError(f"labels of data type {name!r} should not be {values!r:.80}.")
    if dtype.itemsize * len(values) > 4 * MAX_CHARACTERS:
        raise ValueError(f"labels of data type {name!r} are too long.")
    if dtype.kind == "S":  # older files: bytes, which labels are no longer
        return np.array([value.encode("latin-1").decode() for value in values], str)
    try:
        return np.array(values, dtype=dtype)
    except OverflowError as error:
        raise ValueError(f"labels of data type {name!r}: {error}.") from error


def _plain_dtype(task: str, dtype: Any) -> dict[str, Any]:
    """Data type of a column of labels: of numpy, pandas or polars."""
    if isinstance(dtype, np.dtype):
        return {"numpy": numpy_name(dtype)}
    library = type(dtype).__module__.split(".")[0]
    if library == "pandas":
        if dtype.name == "category":
            return {
                "categories": _plain_values(np.asarray(dtype.categories)),
                "of": _plain_dtype(task, dtype.categories.dtype),
                "ordered": bool(dtype.ordered),
            }
        if hasattr(dtype, "pyarrow_dtype"):
            return {"arrow": str(dtype.pyarrow_dtype)}
        if hasattr(dtype, "storage"):  # one of several types named "string"
            named_str = isinstance(dtype.na_value, float)
            return {"pandas": "str" if named_str else f"string[{dtype.storage}]"}
        return {"pandas": str(dtype.name)}
    if hasattr(dtype, "categories") and type(dtype).__name__ == "Enum":
        return {"enum": dtype.categories.to_list()}
    # Older versions of polars also name the order of a Categorical, which is the default.
    return {"polars": str(dtype).removesuffix("(ordering='physical')")}


def _restored_dtype(found: Content, library: str) -> Any:
    """The same from a file; only those of a list, which hold labels."""
    if "numpy" in found.document:
        return numpy_dtype(found.get("numpy", str))
    if library == "pandas":
        pd = _imported("pandas")
        if "categories" in found.document:
            values = _restored_values(found.part("categories"))
            of = _restored_dtype(found.part("of"), library)
            try:
                index = pd.Index(values, dtype=of)
            except TypeError as error:
                raise ValueError(f"categories of {of}: {error}.") from error
            return pd.CategoricalDtype(index, found.get("ordered", bool))
        if "arrow" in found.document:
            name = _named(found, "arrow", ARROW_DTYPE)
            return pd.ArrowDtype(_imported("pyarrow").type_for_alias(name))
        return pd.api.types.pandas_dtype(_named(found, "pandas", PANDAS_DTYPE))
    if library == "polars":
        pl = _imported("polars")
        if "enum" in found.document:
            categories = found.get("enum", list)
            if not is_list_of(categories, str) or len(set(categories)) < len(
                categories
            ):
                raise ValueError("'enum' should be a list of different strings.")
            return pl.Enum(categories)
        return getattr(pl, _named(found, "polars", POLARS_DTYPE))()
    raise ValueError(f"labels cannot have data type {found.document!r:.80}.")


def _named(found: Content, library: str, pattern: str) -> str:
    name: str = found.get(library, str)
    if not re.fullmatch(pattern, name):
        raise ValueError(
            f"labels of {library} data type {name!r:.80} cannot be saved. Turn them into "
            "numbers, strings, booleans or categories before the fit."
        )
    return name


def _imported(library: str) -> Any:
    whose = f"This model predicts in {library}, like the labels of its fit, and"
    return import_extra(library, whose, library)
