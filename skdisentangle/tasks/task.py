"""A task: one column of labels, typed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from .labels import LARGEST_EXACT

__all__ = ["Task", "TaskProbabilities"]


@dataclass(frozen=True)
class Task:
    """One task, as found in a column of ``Y_tasks``.

    Attributes
    ----------
    name : str
        The column's name, or ``"task0"``, ``"task1"``, ... if it has none.
    index : int
        The column's number.
    type : str
        One of :data:`skdisentangle.tasks.types.TYPES`.
    classes : ndarray of shape (n_classes,) or None
        Class labels, sorted or in the order of ordered categories. None for a task without
        classes.
    outputs : slice
        The task's rows of ``coef_``; empty if the task was left out.
    mean, scale : float
        For a regression task, mean and standard deviation of its labels. For a count task,
        the logarithm of their mean, and one. For other tasks, zero and one.
    thresholds : tuple of float
        Thresholds between the classes of an ordinal task, in their order, see
        :class:`skdisentangle.tasks.types.ordinal.Ordinal`. Empty for other tasks.
    left_out : str or None
        Why the task could not be learned. None if it was learned.
    """

    name: str
    index: int
    type: str
    classes: NDArray[Any] | None
    outputs: slice = field(default_factory=lambda: slice(0, 0))
    mean: float = 0.0
    scale: float = 1.0
    left_out: str | None = None
    thresholds: tuple[float, ...] = ()

    @property
    def n_outputs(self) -> int:
        return int(self.outputs.stop - self.outputs.start)

    @property
    def has_whole_classes(self) -> bool:
        """Whether the classes are whole numbers that are held as floats.

        So are whole numbers beside missing labels.
        """
        if self.classes is None or self.classes.dtype.kind != "f":
            return False
        return bool(np.all(self.classes % 1 == 0)) and not np.any(
            np.abs(self.classes) > LARGEST_EXACT
        )

    def class_names(self) -> list[str]:
        """Classes as they are shown, none for a task without; 1.0 is shown as 1."""
        if self.classes is None:
            return []
        classes = self.classes
        if self.has_whole_classes:
            classes = classes.astype(np.int64)
        return [str(label) for label in classes.tolist()]

    def constant_prediction(self, n_rows: int) -> NDArray[Any]:
        """What is predicted for a task that was left out: its only value, or none."""
        if self.classes is None or len(self.classes) == 0:
            return np.full(n_rows, self.mean if self.classes is None else np.nan)
        return np.repeat(self.classes[:1], n_rows)


class TaskProbabilities(list[Any]):
    """Probabilities of tasks that differ in their classes, one array per task.

    Scorers of scikit-learn try to turn them into one array. They get an error that says what
    to do, instead of numpy's error about shapes.
    """

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise ValueError(
            "This scorer needs the probabilities of all tasks in one array, but the tasks "
            "differ in their classes, or some have none. Use the estimator's own score, or "
            "set scoring to a function of estimator, X and Y that averages over the tasks "
            "you mean."
        )
