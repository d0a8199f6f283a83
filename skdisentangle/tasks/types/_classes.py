"""What binary and multiclass tasks have in common: their labels are classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...distributed import ALONE, Ranks
from ..labels import Column
from ..task import Task
from .base import TaskType, class_frequencies, class_indices

#: A class rarer than this allows (about 1 in 100) is penalised as if it were not.
MIN_SPREAD = 0.1


class ClassType(TaskType):
    """A type of tasks whose labels are classes."""

    separable = True
    has_classes = True
    score_scale = 3.0

    def task(self, column: Column, index: int, row_weight: NDArray[np.float64]) -> Task:
        present = column.values[~column.missing]
        self.check_numbers(column, present)
        classes = column.in_order(np.unique(present))
        if self.most_classes is not None and len(classes) > self.most_classes:
            raise ValueError(
                f"task_types: task {column.name!r} cannot be {self.name!r}: it has "
                f"{len(classes)} classes."
            )
        lacks = {0: "has no label", 1: "has one class only"}.get(len(classes))
        return Task(column.name, index, self.name, classes, left_out=lacks)

    def check_numbers(self, column: Column, present: NDArray[Any]) -> None:
        """Raise ValueError if labels are numbers that cannot be classes."""
        if not column.categorical and np.any(present % 1 != 0):
            raise ValueError(
                f"task_types: task {column.name!r} cannot be {self.name!r}: it has labels "
                f"that are not whole numbers, such as "
                f"{present[present % 1 != 0][0].item()!r}. Use 'regression' for continuous "
                "labels."
            )

    def declared(self, column: Column, index: int) -> Task:
        classes = column.in_order(column.values)
        if self.most_classes is not None and len(classes) > self.most_classes:
            return super().declared(column, index)
        reason = "has one class only" if len(classes) < 2 else None
        return Task(column.name, index, self.name, classes, left_out=reason)

    def encode(
        self,
        task: Task,
        column: Column,
        present: NDArray[Any],
        *,
        unseen_ok: bool = False,
    ) -> NDArray[np.float64]:
        index = class_indices(task, present, unseen_ok, column.argument)
        return index.astype(np.float64)

    def fits(self, classes: NDArray[Any] | None, left_out: str | None) -> bool:
        if classes is None:
            return False
        most = len(classes) if self.most_classes is None else self.most_classes
        return left_out is not None or 2 <= len(classes) <= most

    def spread(
        self,
        targets: NDArray[np.float64],
        weight: NDArray[np.float64] | None,
        n_classes: int,
        ranks: Ranks = ALONE,
    ) -> NDArray[np.float64]:
        """``sqrt(p (1 - p))`` for a class of frequency p, at least ``MIN_SPREAD``."""
        p = class_frequencies(targets, weight, n_classes, ranks)
        spread: NDArray[np.float64] = np.sqrt(p * (1 - p)).clip(MIN_SPREAD)
        return spread


def cut_into_classes(
    values: NDArray[np.float64], n_classes: int
) -> NDArray[np.float64]:
    """Equally frequent classes, cut from low to high."""
    if n_classes > len(values):
        raise ValueError(
            f"n_classes must be at most {len(values)}, the number of rows; got "
            f"{n_classes}."
        )
    levels = np.arange(1, n_classes) / n_classes
    cut = np.searchsorted(np.quantile(values, levels), values)
    labels: NDArray[np.intp] = np.unique(cut, return_inverse=True)[1]
    return labels.astype(np.float64)
