"""Labels on their way into torch: targets, weights, and how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..distributed import ALONE, Ranks
from ..tasks.labels import Labels
from ..tasks.task_set import TaskSet
from .batches import LabelTensors, gather

__all__ = [
    "CompactLabels",
    "Counts",
    "EncodedLabels",
    "encode_labels",
    "label_weights",
    "output_spread",
]

#: Labels (rows times tasks) beyond which they are held in single precision only.
MANY_LABELS = 2**22


class Counts(NamedTuple):
    """How many rows there are, and how many labels of each task.

    The larger of their number and of the sum of their weights: a row of weight 2 is two
    rows, and one of weight 1/2 is still a row.
    """

    rows: float
    labels: NDArray[np.float64]


def _counts(
    there: NDArray[np.bool_] | None,
    weight: NDArray[np.float64] | None,
    n_rows: int,
    n_tasks: int,
    ranks: Ranks = ALONE,
) -> Counts:
    """Counts of rows, of which those of each task are labelled that are there."""
    every = np.ones((n_rows, 1), dtype=bool)
    known = np.hstack([every, every if there is None else there])
    number = known.sum(0, dtype=np.float64)
    total = number if weight is None else weight @ known
    number, total = ranks.sum(number), ranks.sum(total)
    larger = np.maximum(number, total)
    labels = np.broadcast_to(larger[1:], n_tasks) if there is None else larger[1:]
    return Counts(float(larger[0]), labels.copy())


@dataclass(frozen=True)
class EncodedLabels:
    """Labels as arrays; attributes as in :class:`skdisentangle.rows.batches.LabelTensors`.

    ``weight`` are the weights of the rows as they were given.
    """

    targets: NDArray[np.float64]
    weights: NDArray[np.float64] | None
    row_weights: NDArray[np.float64] | None
    weight: NDArray[np.float64] | None = None

    def counts(self, rows: NDArray[np.intp] | slice, ranks: Ranks = ALONE) -> Counts:
        """Numbers of some rows, and of their labels."""
        there = None if self.weights is None else self.weights[rows] > 0
        weight = None if self.weight is None else self.weight[rows]
        n_rows, n_tasks = self.targets[rows].shape
        return _counts(there, weight, n_rows, n_tasks, ranks)

    def tensors(self, rows: NDArray[np.intp] | slice, like: Tensor) -> LabelTensors:
        """Those of some rows, as ``like`` in type and device."""

        def put(values: NDArray[np.float64]) -> Tensor:
            return torch.from_numpy(values[rows]).to(like)

        return LabelTensors(
            put(self.targets),
            None if self.weights is None else put(self.weights),
            None if self.row_weights is None else put(self.row_weights),
        )

    def spread(self, task_set: TaskSet, ranks: Ranks = ALONE) -> NDArray[np.float64]:
        """See :func:`output_spread`."""
        every = range(self.targets.shape[1])
        return output_spread(task_set, every, self.targets, self.weights, ranks)


@dataclass(frozen=True)
class CompactLabels:
    """The same for many rows and tasks, in four bytes a label.

    Attributes
    ----------
    values : ndarray of float32, shape (n_rows, n_tasks)
        Targets; NaN stands for a missing label.
    factors : ndarray of shape (n_tasks, n_classes), or None
        Weight of a label of each class for a row of weight one. A single column if
        classes do not matter. None if all weights are one.
    row_weights : ndarray of shape (n_rows,) or None
    spreads : ndarray of shape (n_outputs,)
        See :func:`output_spread`.
    weight : ndarray of shape (n_rows,) or None
        Weights of the rows as they were given.
    """

    values: NDArray[np.float32]
    factors: NDArray[np.float64] | None
    row_weights: NDArray[np.float64] | None
    spreads: NDArray[np.float64]
    weight: NDArray[np.float64] | None = None

    def counts(self, rows: NDArray[np.intp] | slice, ranks: Ranks = ALONE) -> Counts:
        """Numbers of some rows, and of their labels."""
        weight = None if self.weight is None else self.weight[rows]
        parts = []
        for column in self.values.T:
            there = ~np.isnan(column[rows])[:, np.newaxis]
            parts.append(_counts(there, weight, len(there), 1, ranks))
        return Counts(parts[0].rows, np.concatenate([part.labels for part in parts]))

    @classmethod
    def encode(
        cls,
        task_set: TaskSet,
        labels: Labels,
        weight: NDArray[np.float64] | None,
        balanced: bool,
    ) -> CompactLabels:
        """Encode labels one task at a time."""
        n_classes = task_set.n_classes()
        n_tasks, n_rows = len(n_classes), labels.n_rows
        width = int(n_classes.max()) if balanced else 1
        values = np.empty((n_rows, n_tasks), dtype=np.float32)
        factors = np.ones((n_tasks, max(1, width)))
        share = None if weight is None else weight / weight.mean()
        plain, spreads = True, []
        for task in range(n_tasks):
            target, labelled = task_set.encode_task(task, labels)
            target, labelled = target[:, np.newaxis], labelled[:, np.newaxis]
            this = slice(task, task + 1)
            weights = label_weights(
                labelled, weight, target, n_classes[this] if balanced else None
            )
            if weights is not None:
                plain = False
                # The weight of a label over that of its row is the same in all of a class.
                there = np.flatnonzero(labelled)
                kind = np.zeros(len(there), dtype=np.intp)
                if balanced and n_classes[task] > 0:
                    kind = target[there, 0].astype(np.intp)
                each = 1.0 if share is None else share[there]
                factors[task, kind] = weights[there, 0] / each
                if n_classes[task] == 0:
                    factors[task] = factors[task, 0]
            spreads.append(output_spread(task_set, [task], target, weights))
            values[:, task] = np.where(labelled, target, np.nan)[:, 0]
        return cls(
            values,
            None if plain else factors,
            share,
            np.concatenate(spreads),
            weight,
        )

    def spread(self, task_set: TaskSet, ranks: Ranks = ALONE) -> NDArray[np.float64]:
        """See :func:`output_spread`."""
        return self.spreads

    def tensors(self, rows: NDArray[np.intp] | slice, like: Tensor) -> CompactTensors:
        """Those of some rows, as ``like`` in type and device."""

        def put(values: NDArray[np.floating] | None) -> Tensor | None:
            return None if values is None else torch.from_numpy(values).to(like)

        values = put(self.values)
        assert values is not None
        chosen = None
        if not isinstance(rows, slice):
            chosen = torch.from_numpy(rows).to(like.device)
        return CompactTensors(values, put(self.factors), put(self.row_weights), chosen)


@dataclass(frozen=True)
class CompactTensors:
    """Labels as in :class:`CompactLabels`; targets and weights are made when asked for.

    ``chosen`` are the rows that are meant, None for all.
    """

    values: Tensor
    factors: Tensor | None
    all_row_weights: Tensor | None
    chosen: Tensor | None

    @property
    def shape(self) -> tuple[int, ...]:
        n_rows = len(self.values) if self.chosen is None else len(self.chosen)
        return n_rows, self.values.shape[1]

    @property
    def targets(self) -> _MadeTargets:
        return _MadeTargets(self)

    @property
    def weights(self) -> _MadeWeights | None:
        return None if self.factors is None else _MadeWeights(self)

    @property
    def row_weights(self) -> Tensor | None:
        every = self.all_row_weights
        return every if every is None or self.chosen is None else every[self.chosen]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Tensor | slice) -> LabelTensors:
        every, weights = self.all_row_weights, self.weights
        return LabelTensors(
            self.targets[index],
            None if weights is None else weights[index],
            None if every is None else every[self.which(index)],
        )

    def which(self, index: Tensor | slice) -> Tensor | slice:
        """Rows of ``values``."""
        return index if self.chosen is None else self.chosen[index]


class _MadeTargets:
    def __init__(self, labels: CompactTensors) -> None:
        self._labels = labels
        self.shape = labels.shape
        self.device = labels.values.device

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        part = gather(self._labels.values, self._labels.which(index))
        return part if self._labels.factors is None else part.nan_to_num(nan=0.0)


class _MadeWeights:
    def __init__(self, labels: CompactTensors) -> None:
        self._labels = labels
        self.shape = labels.shape
        self.device = labels.values.device

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        rows, factors = self._labels.which(index), self._labels.factors
        assert factors is not None
        part = gather(self._labels.values, rows)
        weights = (~part.isnan()).to(part)
        if factors.shape[1] == 1:
            weights *= factors[:, 0]
        else:
            # Of a task without classes all factors are the same.
            kind = part.nan_to_num(nan=0.0).long().clamp_(0, factors.shape[1] - 1)
            task = torch.arange(len(factors), device=part.device)
            weights *= factors[task, kind]
        if self._labels.all_row_weights is not None:
            weights *= self._labels.all_row_weights[rows].unsqueeze(1)
        return weights


def encode_labels(
    task_set: TaskSet,
    labels: Labels,
    weight: NDArray[np.float64] | None,
    balanced: bool,
    ranks: Ranks = ALONE,
) -> EncodedLabels | CompactLabels:
    """Targets and weights of the learned tasks, compact if they are many.

    Where several ranks have rows they are not, as each would have to know of the others'.

    Parameters
    ----------
    task_set : TaskSet
    labels : Labels
    weight : ndarray of shape (n_rows,) or None
    balanced : bool
        Whether the classes of a task weigh the same.
    """
    if ranks.size == 1 and labels.n_rows * len(task_set.learned) > MANY_LABELS:
        task_set.check(labels)
        return CompactLabels.encode(task_set, labels, weight, balanced)
    targets, labelled = task_set.encode(labels)
    weights = label_weights(
        labelled, weight, targets, task_set.n_classes() if balanced else None, ranks
    )
    return EncodedLabels(
        targets,
        weights,
        None if weight is None else weight / ranks.mean(weight),
        weight,
    )


def label_weights(
    labelled: NDArray[np.bool_],
    sample_weight: NDArray[np.float64] | None,
    targets: NDArray[np.float64],
    n_classes: NDArray[np.intp] | None,
    ranks: Ranks = ALONE,
) -> NDArray[np.float64] | None:
    """Weight of each row for each task, of mean one over the rows.

    Parameters
    ----------
    labelled : ndarray of bool, shape (n_rows, n_tasks)
    sample_weight : ndarray of shape (n_rows,) or None
    targets : ndarray of shape (n_rows, n_tasks)
        Class indices, for the tasks with classes.
    n_classes : ndarray of shape (n_tasks,) or None
        With it, the classes of a task are balanced: each weighs ``1 / n_classes`` of
        the task. Zero stands for a regression task.
    ranks : Ranks, optional
        Processes that have the other rows.

    Returns
    -------
    ndarray of shape (n_rows, n_tasks), or None
        None if all weights are one.
    """
    gaps = ranks.any(not labelled.all())
    if sample_weight is None and n_classes is None and not gaps:
        return None
    weights = labelled.astype(np.float64)
    if sample_weight is not None:
        weights *= sample_weight[:, np.newaxis]
    if n_classes is not None:
        for task in np.flatnonzero(n_classes):
            column = weights[:, task]
            index = targets[:, task].astype(np.intp)
            total = ranks.sum(np.bincount(index, column, minlength=n_classes[task]))
            column /= np.where(total > 0, total, 1.0)[index]
    mean = ranks.mean(weights)
    return weights / np.where(mean > 0, mean, 1.0)


def output_spread(
    task_set: TaskSet,
    tasks: Sequence[int] | range,
    targets: NDArray[np.float64],
    weights: NDArray[np.float64] | None,
    ranks: Ranks = ALONE,
) -> NDArray[np.float64]:
    """Standard deviation of what each output predicts, as the types of tasks have it.

    Parameters
    ----------
    task_set : TaskSet
    tasks : sequence of int
        Which learned tasks are meant.
    targets, weights : ndarray of shape (n_rows, len(tasks))
        Theirs; weights are of mean one over the rows, None for ones.
    ranks : Ranks, optional
        Processes that have the other rows.

    Returns
    -------
    ndarray of shape (n_outputs,)
    """
    n_classes = task_set.n_classes()
    parts = [
        task_set.kind(number).spread(
            targets[:, column],
            None if weights is None else weights[:, column],
            int(n_classes[number]),
            ranks,
        )
        for column, number in enumerate(tasks)
    ]
    return np.concatenate(parts)
