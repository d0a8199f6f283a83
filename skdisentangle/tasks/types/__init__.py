"""Task types: one file each, behind the protocol of :mod:`~.base`.

To add one, write its file and name it here. The order is that in which types are asked
whether labels are of theirs, and that of the tasks inside the solvers, where quadratic
types come first, and then the other dispersed ones.
"""

from __future__ import annotations

import numpy as np

from ..labels import Column
from .base import TaskType
from .binary import Binary
from .count import Count
from .multiclass import Multiclass
from .ordinal import Ordinal
from .regression import Regression

__all__ = ["TYPES", "TaskType", "check_type", "infer_type"]

#: All task types, by name.
TYPES: dict[str, TaskType] = {
    kind.name: kind
    for kind in (Regression(), Count(), Binary(), Ordinal(), Multiclass())
}


def infer_type(column: Column) -> TaskType:
    """The first type that claims a column of labels."""
    distinct = np.unique(column.values[~column.missing])
    return next(kind for kind in TYPES.values() if kind.claims(column, distinct))


def check_type(name: object, argument: str) -> None:
    """Raise ValueError unless a type has this name, or it is None, to infer it."""
    if name is not None and name not in TYPES:
        raise ValueError(
            f"{argument} must be one of {', '.join(map(repr, TYPES))}, or None to infer "
            f"it; got {name!r}."
        )
