"""From the literals of a case to rows, labels, weights and options."""

from __future__ import annotations

import contextlib
import datetime
import math

import numpy as np
import pandas as pd
import polars as pl
import torch
from scipy import sparse

__all__ = [
    "FILLS",
    "FORMS",
    "LABELS",
    "LABEL_FORMS",
    "WEIGHTS",
    "evaluate",
    "make_labels",
    "make_rows",
    "make_weights",
    "some_rows",
]


#: What polars says of values that it cannot hold.
NOT_POLARS = (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError)


def evaluate(text):
    """Value of an option, which a case has as the text of an expression."""
    return eval(text, {"np": np, "torch": torch, "nan": math.nan, "inf": math.inf})


# -- rows ------------------------------------------------------------------------------


def _repeated(rng, shape):
    return rng.normal(size=(1, *shape[1:])).repeat(shape[0], axis=0)


def _scales(rng, shape):
    """Columns, or what goes for them, of very different scales."""
    return rng.normal(size=shape) * 10.0 ** rng.integers(-30, 30, size=shape[1:])


def _extremes(rng, shape):
    most = np.finfo(np.float64).max
    return rng.choice([most, -most, 5e-324, 0.0, -0.0, 1.0], size=shape)


FILLS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "whole": lambda rng, shape: rng.integers(0, 5, size=shape) * 1.0,
    "constant": lambda rng, shape: np.full(shape, 0.1),
    "zero": lambda rng, shape: np.zeros(shape),
    "repeated": _repeated,
    "rank one": lambda rng, shape: np.multiply.outer(
        rng.normal(size=shape[:1]), rng.normal(size=shape[1:])
    ),
    "offset": lambda rng, shape: 1e9 + rng.normal(size=shape),
    "scales": _scales,
    "extremes": _extremes,
    "discrete": lambda rng, shape: rng.choice([0.0, 1.0, 2.5], size=shape),
    "few rows repeated": lambda rng, shape: rng.normal(size=(3, *shape[1:]))[
        np.arange(shape[0]) % 3
    ],
    "outlier": lambda rng, shape: rng.standard_cauchy(size=shape) ** 5,
    "1e300": lambda rng, shape: rng.normal(size=shape) * 1e300,
    "1e160": lambda rng, shape: rng.normal(size=shape) * 1e160,
    "1e36": lambda rng, shape: rng.normal(size=shape) * 1e36,
    "1e-40": lambda rng, shape: rng.normal(size=shape) * 1e-40,
    "1e-160": lambda rng, shape: rng.normal(size=shape) * 1e-160,
    "1e-300": lambda rng, shape: rng.normal(size=shape) * 1e-300,
}


def _read_only(values):
    values = values.copy()
    values.setflags(write=False)
    return values


def _frame(values, kind=pd.DataFrame):
    return kind(values, columns=[f"c{j}" for j in range(values.shape[1])])


def _polars(values):
    columns = values.T.tolist()
    try:
        return pl.DataFrame({f"c{j}": column for j, column in enumerate(columns)})
    except NOT_POLARS:
        return _frame(values)


def _twice(values):
    return pd.DataFrame(values, columns=["c"] * values.shape[1])


def _sparse(kind):
    def made(values):
        if values.dtype.kind not in "fiub" or values.dtype == np.float16:
            values = np.ones((9, 3))  # scipy takes no such values
        return kind(values)

    return made


def _torch(values):
    return torch.from_numpy(values) if values.dtype.kind in "fiub" else values


FORMS = {
    "array": lambda values: values,
    "fortran": np.asfortranarray,
    "read-only": _read_only,
    "strided": lambda values: np.repeat(values, 2, axis=0)[::2],
    "reversed": lambda values: values[::-1].copy()[::-1],
    "big-endian": lambda values: values.astype(values.dtype.newbyteorder(">")),
    "list": lambda values: values.tolist(),
    "tuple": lambda values: tuple(map(tuple, values.tolist())),
    "pandas": _frame,
    "pandas nullable": lambda values: _frame(values).convert_dtypes(),
    "pandas category": lambda values: _frame(values).astype("category"),
    "pandas numbered": pd.DataFrame,
    "pandas same names": _twice,
    "polars": _polars,
    "csr": _sparse(sparse.csr_array),
    "csr matrix": _sparse(sparse.csr_matrix),
    "csc": _sparse(sparse.csc_array),
    "coo": _sparse(sparse.coo_array),
    "1d": lambda values: values[:, 0],
    "3d": lambda values: values[:, :, np.newaxis],
    "0d": lambda values: np.asarray(1.0),
    "torch": _torch,
    "dict": lambda values: {"c0": values.tolist()},
    "ragged": lambda values: [*values.tolist(), [0.0]],
    "masked": lambda values: np.ma.masked_array(values, mask=values == 0),
    "text": lambda values: "rows",
    "nothing": lambda values: None,
    "object": lambda values: object(),
}

SPOILS = {
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "none": None,
    "text": "a",
    "dict": {},
    "huge whole": 10**400,
}


def make_rows(spec):
    """Rows, in a container, as a case describes them."""
    rng = np.random.default_rng(spec["seed"])
    values = FILLS[spec["fill"]](rng, (spec["rows"], spec["columns"]))
    if spec.get("spoil") and values.size:
        odd = SPOILS[spec["spoil"]]
        if not isinstance(odd, float):
            values = values.astype(object)
        values.flat[rng.integers(values.size)] = odd
    elif spec["dtype"] != "float64":
        with np.errstate(all="ignore"):
            values = values.astype(spec["dtype"])
    return FORMS[spec["form"]](values)


def some_rows(X, which):
    """Rows of a container by a slice."""
    if hasattr(X, "iloc"):
        return X.iloc[which]
    if sparse.issparse(X):
        return X.tocsr()[which]
    return X[which]


# -- labels ----------------------------------------------------------------------------


def _day(number):
    return datetime.date(2020, 1, 1 + number)


#: From a generator and a number of rows to the labels of a task.
LABELS = {
    "numbers": lambda rng, n: rng.normal(size=n).tolist(),
    "whole": lambda rng, n: rng.integers(-2, 2, size=n).tolist(),
    "whole floats": lambda rng, n: (rng.integers(0, 3, size=n) * 1.0).tolist(),
    "bools": lambda rng, n: (rng.random(n) > 0.5).tolist(),
    "words": lambda rng, n: rng.choice(["a", "b", ""], size=n).tolist(),
    "two words": lambda rng, n: rng.choice(["yes", "no"], size=n).tolist(),
    "many": lambda rng, n: rng.permutation(n).tolist(),
    "many words": lambda rng, n: [f"w{i}" for i in range(n)],
    "one": lambda rng, n: [1.5] * n,
    "one class": lambda rng, n: ["a"] * n,
    "rare": lambda rng, n: [int(i == 0) for i in range(n)],
    "none": lambda rng, n: [None] * n,
    "huge": lambda rng, n: (rng.normal(size=n) * 1e300).tolist(),
    "tiny": lambda rng, n: (rng.normal(size=n) * 1e-300).tolist(),
    "extremes": lambda rng, n: _extremes(rng, n).tolist(),
    "offset": lambda rng, n: (1e15 + rng.normal(size=n)).tolist(),
    "inf": lambda rng, n: [math.inf, *rng.normal(size=n).tolist()][:n],
    "huge whole": lambda rng, n: [2**70, *rng.integers(0, 3, size=n).tolist()][:n],
    "vast whole": lambda rng, n: [10**400, *rng.integers(0, 3, size=n).tolist()][:n],
    "mixed": lambda rng, n: [[1, "a", 2.5, True][i % 4] for i in range(n)],
    "bools and numbers": lambda rng, n: [[True, 0.5][i % 2] for i in range(n)],
    "complex": lambda rng, n: [1j, *rng.normal(size=n).tolist()][:n],
    "bytes": lambda rng, n: [b"a" if i % 2 else b"b" for i in range(n)],
    "ids": lambda rng, n: (2**60 + rng.integers(0, 3, size=n)).tolist(),
    "unsigned ids": lambda rng, n: [2**63 + int(v) for v in rng.integers(0, 3, size=n)],
    "codes": lambda rng, n: rng.integers(-1, 6, size=n).tolist(),
    "counts": lambda rng, n: rng.poisson(1.5, size=n).tolist(),
    "zip codes": lambda rng, n: rng.choice(["001", "01", "1"], size=n).tolist(),
    "accents": lambda rng, n: rng.choice(["ä", "ä", "\u0130"], size=n).tolist(),
    "dates": lambda rng, n: [_day(i % 2) for i in range(n)],
    "lists": lambda rng, n: [[1, 2]] * n,
    "dicts": lambda rng, n: [{}] * n,
}


def _columns(columns):
    return {f"t{j}": column for j, column in enumerate(columns)}


def _objects(columns):
    out = np.empty((len(columns[0]), len(columns)), dtype=object)
    for j, column in enumerate(columns):
        for i, label in enumerate(column):
            out[i, j] = label
    return out


def _numbers(columns):
    """An array of numbers with NaN, if it can be one."""
    values = _objects(columns)
    if any(isinstance(value, str) for value in values.ravel()):
        return values  # of which "01" would be made a number
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        return values


def _polars_labels(columns):
    try:
        return pl.DataFrame(_columns(columns), strict=False)
    except NOT_POLARS:
        return _numbers(columns)


def _converted(columns):
    try:
        return pd.DataFrame(_columns(columns)).convert_dtypes()
    except (TypeError, ValueError, OverflowError):
        return pd.DataFrame(_columns(columns))


def _as_categories(frame):
    try:
        return frame.astype("category")
    except TypeError:
        return frame


def _categories(columns):
    return _as_categories(pd.DataFrame(_columns(columns)))


LABEL_FORMS = {
    "array": _numbers,
    "objects": _objects,
    "list": lambda columns: [list(row) for row in zip(*columns, strict=True)],
    "1d": lambda columns: _numbers(columns)[:, 0],
    "1d list": lambda columns: columns[0],
    "pandas": lambda columns: pd.DataFrame(_columns(columns)),
    "pandas nullable": _converted,
    "pandas category": _categories,
    "pandas series": lambda columns: pd.Series(columns[0]),
    "pandas same names": lambda columns: pd.DataFrame(
        _objects(columns), columns=["t"] * len(columns)
    ),
    "polars": _polars_labels,
    "polars series": lambda columns: (
        lambda y: y.to_series(0) if isinstance(y, pl.DataFrame) else y
    )(_polars_labels(columns[:1])),
    "float32": lambda columns: _float32(columns),
    "masked": lambda columns: _masked(columns),
    "string dtype nan": lambda columns: _string_dtype(math.nan)(columns),
    "string dtype None": lambda columns: _string_dtype(None)(columns),
    "bytes": lambda columns: _bytes(columns),
    "fixed bytes": lambda columns: _fixed_bytes(columns),
    "Int64": lambda columns: _of_dtype("Int64")(columns),
    "UInt64": lambda columns: _of_dtype("UInt64")(columns),
    "category of whole": lambda columns: _as_categories(_of_dtype("Int64")(columns)),
    "arrow": lambda columns: _of_dtype("int64[pyarrow]")(columns),
    "dict": _columns,
    "3d": lambda columns: _objects(columns)[:, :, np.newaxis],
    "no column": lambda columns: np.empty((len(columns[0]), 0)),
    "nothing": lambda columns: None,
    "text": lambda columns: "labels",
    "csr": lambda columns: sparse.csr_array(np.ones((len(columns[0]), 1))),
}


def _masked(columns):
    """A masked array of the widest numbers that there are, or of objects."""
    values = _objects(columns)
    mask = np.vectorize(lambda value: value is None, otypes=[bool])(values)
    there = values[~mask]
    for place in np.argwhere(mask):
        values[tuple(place)] = there[0] if len(there) else 0
    for dtype in (np.int64, np.uint64, np.float64):
        try:
            with np.errstate(all="ignore"):
                typed = values.astype(dtype)
            if (typed.astype(object) == values).all():
                return np.ma.masked_array(typed, mask=mask)
        except (TypeError, ValueError, OverflowError):
            continue
    return np.ma.masked_array(values, mask=mask)


def _string_dtype(na_object):
    """Arrays of numpy's StringDType, where all labels are strings."""

    def made(columns):
        values = _objects(columns)
        found = [value for value in values.ravel().tolist() if value is not None]
        if not all(isinstance(value, str) for value in found):
            return values
        if not hasattr(np.dtypes, "StringDType"):
            return values
        values[np.equal(values, None)] = na_object
        return values.astype(np.dtypes.StringDType(na_object=na_object))

    return made


def _bytes(columns):
    """Objects of bytes, as h5py has them, where all labels are strings."""
    values = _objects(columns)
    for place, value in np.ndenumerate(values):
        if isinstance(value, str):
            values[place] = value.encode()
    return values


def _fixed_bytes(columns):
    values = _bytes(columns)
    if all(type(value) is bytes for value in values.ravel().tolist()):
        return values.astype("S")
    return values


def _of_dtype(dtype):
    """A data frame with the columns of whole numbers in a data type of pandas."""

    def made(columns):
        frame = pd.DataFrame(_columns(columns), dtype=object)
        for name, column in _columns(columns).items():
            if all(value is None or type(value) is int for value in column):
                with contextlib.suppress(TypeError, ValueError, OverflowError):
                    frame[name] = pd.array(column, dtype=dtype)
        return frame

    return made


def _float32(columns):
    values = _numbers(columns)
    with np.errstate(all="ignore"):
        return values if values.dtype == object else values.astype(np.float32)


def make_labels(spec, n_rows):
    """Labels in a container, and those of each task that are there."""
    rng = np.random.default_rng(spec["seed"])
    columns = []
    n_rows = max(0, n_rows + spec.get("more", 0))
    for kind in spec["tasks"]:
        labels = LABELS[kind](rng, n_rows)
        missing = rng.random(n_rows) < spec["missing"]
        block = int(spec.get("block", 0) * n_rows)  # of rows that lack a label
        missing[:block] = True
        if spec.get("repeats", 1) > 1:  # rows said again
            source = np.arange(n_rows) // spec["repeats"]
            labels = [labels[i] for i in source]
            missing = missing[source]
        columns.append(
            [
                None if gone else label
                for label, gone in zip(labels, missing, strict=True)
            ]
        )
    return LABEL_FORMS[spec["form"]](columns), columns


WEIGHTS = {
    "none": lambda rng, n: None,
    "ones": lambda rng, n: np.ones(n),
    "random": lambda rng, n: rng.random(n),
    "some zero": lambda rng, n: rng.integers(0, 3, size=n),
    "one": lambda rng, n: np.arange(n) == 0,
    "zero": lambda rng, n: np.zeros(n),
    "huge": lambda rng, n: rng.random(n) * 1e300,
    "tiny": lambda rng, n: rng.random(n) * 1e-300,
    "wide": lambda rng, n: 10.0 ** rng.integers(-300, 300, size=n),
    "negative": lambda rng, n: -rng.random(n),
    "nan": lambda rng, n: np.full(n, math.nan),
    "inf": lambda rng, n: np.full(n, math.inf),
    "short": lambda rng, n: np.ones(max(0, n - 1)),
    "2d": lambda rng, n: np.ones((n, 2)),
    "words": lambda rng, n: ["a"] * n,
    "number": lambda rng, n: 2.0,
    "list": lambda rng, n: rng.random(n).tolist(),
}


def make_weights(kind, n_rows):
    """Weights of rows."""
    return WEIGHTS[kind](np.random.default_rng(0), n_rows)
