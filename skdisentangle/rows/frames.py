"""Say which columns of a data frame cannot be used as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tasks.labels import missing_cells

__all__ = ["check_cells"]

#: Columns that are named in an error.
MOST_NAMED = 5


def check_cells(X: Any) -> None:
    """Raise ValueError if a data frame has NaN, or columns that are not numbers.

    Call it after scikit-learn has refused X, for a message that names the columns.

    Parameters
    ----------
    X : object
        Only data frames of pandas and polars are looked at.
    """
    odd, gaps = [], []
    for name, series in _columns(X):
        values = np.asarray(series)
        missing = missing_cells(values)
        if not _are_numbers(values[~missing]):
            odd.append(name)
        elif missing.any():
            gaps.append(name)
    said = []
    if odd:
        said.append(
            f"X must hold numbers; got text, dates or other values in {_listed(odd)}. Drop "
            "or encode such columns, for instance with OneHotEncoder."
        )
    if gaps:
        said.append(
            f"Input X contains NaN in {_listed(gaps)}. Impute missing cells, for instance "
            "with SimpleImputer."
        )
    if said:
        raise ValueError(" ".join(said))


def _columns(X: Any) -> list[tuple[Any, Any]]:
    """Names and columns of a data frame of pandas or polars."""
    if hasattr(X, "iter_columns"):
        return [(series.name, series) for series in X.iter_columns()]
    return list(X.items()) if hasattr(X, "iloc") and hasattr(X, "columns") else []


def _are_numbers(values: NDArray[Any]) -> bool:
    """Whether values are numbers, or text that is read as such."""
    if values.dtype.kind in "mMc":
        return False
    try:
        values.astype(np.float64)
    except (OverflowError, TypeError, ValueError):
        return False
    return True


def _listed(names: list[Any]) -> str:
    """Some of the names, and how many more there are."""
    shown = ", ".join(map(repr, names[:MOST_NAMED]))
    more = len(names) - MOST_NAMED
    columns = "the column" if len(names) == 1 else "the columns"
    return f"{columns} {shown}" + (f" and {more} more" if more > 0 else "")
