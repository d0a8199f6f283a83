"""Task types: one file each, behind the protocol of :mod:`~.base`.

To add one, write its file: all modules of this folder are looked through.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from inspect import isabstract
from pkgutil import iter_modules
from typing import Any

from ..labels import Column
from .base import TaskType

__all__ = ["TYPES", "TaskType", "check_type", "infer_type"]


def _kinds(kind: Any) -> Iterator[Any]:
    """A class and all below it that are whole."""
    if not isabstract(kind):
        yield kind
    for each in kind.__subclasses__():
        yield from _kinds(each)


for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

#: All task types, by name, in the order of their places.
TYPES: dict[str, TaskType] = {
    kind.name: kind() for kind in sorted(_kinds(TaskType), key=lambda kind: kind.place)
}


def infer_type(column: Column) -> TaskType:
    """The first type that claims a column of labels."""
    column = column.distinct()
    return next(kind for kind in TYPES.values() if kind.claims(column, column.values))


def check_type(name: object, argument: str) -> None:
    """Raise ValueError unless a type has this name, or it is None, to infer it."""
    if name is not None and name not in TYPES:
        raise ValueError(
            f"{argument} must be one of {', '.join(map(repr, TYPES))}, or None to infer "
            f"it; got {name!r}."
        )
