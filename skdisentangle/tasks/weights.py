"""What each task weighs beside the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .task_set import TaskSet, said_of_tasks

__all__ = ["idle_tasks", "learned_task_weights"]


Weights = ArrayLike | Mapping[Any, float] | None


def idle_tasks(task_weight: Weights, task_set: TaskSet) -> NDArray[np.bool_]:
    """Whether each task, in the order of the columns, is to be learned at weight zero."""
    idle = np.zeros(len(task_set.tasks), dtype=bool)
    idle[task_set.learned] = learned_task_weights(task_weight, task_set) == 0
    return idle


def learned_task_weights(
    task_weight: Weights, task_set: TaskSet
) -> NDArray[np.float64]:
    """Weights of the learned tasks, in the order of the solvers, of mean one."""
    n_tasks = len(task_set.tasks)
    if task_weight is None:
        return np.ones(len(task_set.learned))
    if isinstance(task_weight, Mapping):
        names = [task.name for task in task_set.tasks]
        task_weight = said_of_tasks(
            task_weight, names, task_set.keys, "task_weight", 1.0
        )
    try:
        weight = np.asarray(task_weight, dtype=np.float64)
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(
            f"task_weight must hold numbers; got {task_weight!r}."
        ) from error
    if weight.shape != (n_tasks,):
        raise ValueError(
            f"task_weight must hold one weight for each of the {n_tasks} tasks; got "
            f"shape {weight.shape}."
        )
    weight = weight[task_set.learned]
    if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
        raise ValueError(
            "task_weight must be finite and not negative, and at least one task that can "
            f"be learned must have a weight above zero; got {task_weight!r}."
        )
    relative: NDArray[np.float64] = weight / weight.mean()
    return relative
