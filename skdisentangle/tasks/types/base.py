"""The interface of a task type.

Tasks of one type stand side by side in a *block*. A loss is a function of their *scores*
``codes @ coef.T + intercept``, of shape (n_rows, n_tasks * n_outputs), with a task's outputs
side by side. :meth:`TaskType.encode` makes targets of one number per row and task.

To add a type, write one file with a subclass of :class:`TaskType` into this folder.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...distributed import ALONE, Ranks
from ..labels import ARGUMENT, Column, beyond_floats
from ..task import Task

__all__ = ["TaskType"]


class TaskType(ABC):
    """One type of task.

    A type of several outputs must have a loss whose derivative is :meth:`mean` less
    :meth:`statistic`.
    """

    name: ClassVar[str]
    """As in ``task_types``."""

    place: ClassVar[int] = 25
    """Types are asked in the order of their places whether labels are of theirs, and tasks
    stand in it inside the solvers: quadratic types first, then other dispersed ones. A type
    that takes all that is left comes last."""

    curvature: ClassVar[float]
    """Upper bound on the largest eigenvalue of the Hessian in a task's scores."""

    quadratic: ClassVar[bool] = False
    """Whether the loss is half a squared error: of its rows only sums are needed, its heads
    have a closed form, and its residual variance sets its weight in the fit."""

    dispersed: ClassVar[bool] = False
    """Whether how far labels are from what is predicted is not told by the loss: the mean
    squared residual sets the weight of a task in the fit. Only with one output."""

    separable: ClassVar[bool] = False
    """Whether scores can grow without bound, as where classes are told apart without error."""

    scaled: ClassVar[bool] = False
    """Whether labels are divided by a scale of theirs to make targets."""

    has_classes: ClassVar[bool] = False
    """Whether labels are classes, of which there are probabilities."""

    most_classes: ClassVar[int | None] = None
    """Largest number of classes; None for any."""

    score_scale: ClassVar[float] = 1.0
    """Standard deviation of the scores of a task, as long as no other is known."""

    # -- labels ------------------------------------------------------------------------

    def claims(self, column: Column, distinct: NDArray[Any]) -> bool:
        """Whether labels without a given type are of this type.

        Types are asked in order. A type that is never inferred says no.

        Parameters
        ----------
        column : Column
            Its labels that differ, with the number of rows of each.
        distinct : ndarray
            These labels, sorted: its ``values``.
        """
        return False

    @abstractmethod
    def task(self, column: Column, index: int, row_weight: NDArray[np.float64]) -> Task:
        """Look at the labels of a column; ValueError if they are not of this type."""

    def declared(self, column: Column, index: int) -> Task:
        """The task of all classes that there can be, as said before their labels come."""
        raise ValueError(
            f"classes declares {len(column.values)} classes for task {column.name!r}, but "
            f"task_types says that it is {self.name!r}."
        )

    def units(self, mean: float, spread: float) -> tuple[float, float]:
        """What is added to scores, and what multiplies them, to be in units of labels.

        Of a scaled type, from mean and standard deviation of the labels.
        """
        return mean, spread

    def n_outputs(self, task: Task) -> int:
        """Number of scores of a task."""
        return 1

    @abstractmethod
    def encode(
        self,
        task: Task,
        column: Column,
        present: NDArray[Any],
        *,
        unseen_ok: bool = False,
    ) -> NDArray[np.float64]:
        """Targets of labels; of an unknown class -1 or, unless that is fine, ValueError."""

    def fits(self, classes: NDArray[Any] | None, left_out: str | None) -> bool:
        """Whether a task of a file can be of this type."""
        return classes is None

    def n_thresholds(self, classes: NDArray[Any] | None) -> int:
        """Number of thresholds of a task."""
        return 0

    # -- the loss, on tensors ----------------------------------------------------------

    def at(self, thresholds: Tensor) -> TaskType:
        """The type with the thresholds of the tasks of a block, that its loss depends on.

        Parameters
        ----------
        thresholds : Tensor of shape (n_tasks, n_thresholds)
        """
        return self

    def threshold_slopes(
        self, scores: Tensor, targets: Tensor, weights: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """First and second derivatives of the summed loss in each threshold."""
        raise NotImplementedError(f"{self.name} tasks have no thresholds.")

    @abstractmethod
    def value(self, scores: Tensor, targets: Tensor, n_outputs: int) -> Tensor:
        """Loss of each row and task, shape (n_rows, n_tasks)."""

    @abstractmethod
    def mean(self, scores: Tensor, n_outputs: int) -> Tensor:
        """What the scores predict of :meth:`statistic`, of the shape of the scores."""

    def statistic(self, targets: Tensor, n_outputs: int) -> Tensor:
        """What of the targets each output stands for, of the shape of the scores."""
        return targets

    def residual_(self, scores: Tensor, targets: Tensor, n_outputs: int) -> None:
        """Overwrite scores by the derivative of the loss in them."""
        expected = self.mean(scores, n_outputs)
        scores.copy_(expected - self.statistic(targets, n_outputs))

    @abstractmethod
    def hessian_product_(
        self, direction: Tensor, scores: Tensor, n_outputs: int
    ) -> None:
        """Overwrite a direction, of the shape of the scores, by the Hessian times it."""

    @abstractmethod
    def second_derivatives(self, scores: Tensor, n_outputs: int) -> Tensor:
        """Second derivative of the loss in each score, of their shape."""

    def coupling(self, scores: Tensor, n_outputs: int) -> Tensor | None:
        """Values ``u``, of the shape of the scores, that couple the outputs of a task.

        The Hessian of the loss of a row and task is diagonal, less the outer product of its
        ``u`` with itself. None if a task has one output.
        """
        return None

    def variance(self, mean: Tensor, told: Tensor) -> Tensor:
        """Variance of :meth:`statistic` about a mean: of its distribution, or as observed.

        Parameters
        ----------
        mean : Tensor of shape (n_rows, n_outputs) or (n_outputs,)
        told : Tensor of shape (n_rows, n_outputs)
            The statistics themselves.

        Returns
        -------
        Tensor of the shape of either
            To be averaged over the rows.
        """
        return (told - mean).square_()

    def squared_error(self, scores: Tensor, targets: Tensor, n_outputs: int) -> Tensor:
        """Half the squared error of what is predicted, of each row and task."""
        error = self.mean(scores, n_outputs) - self.statistic(targets, n_outputs)
        by_task: Tensor = error.square_().unflatten(1, (-1, n_outputs)).sum(2).div_(2)
        return by_task

    @abstractmethod
    def spread(
        self,
        targets: NDArray[np.float64],
        weight: NDArray[np.float64] | None,
        n_classes: int,
        ranks: Ranks = ALONE,
    ) -> NDArray[np.float64]:
        """Standard deviation of what each output of a task predicts.

        Parameters
        ----------
        targets : ndarray of shape (n_rows,)
        weight : ndarray of shape (n_rows,) or None
            Of mean one over the rows.
        n_classes : int
        ranks : Ranks, optional
            Processes that have the other rows.

        Returns
        -------
        ndarray of shape (n_outputs,)
        """

    # -- what comes out ----------------------------------------------------------------

    @abstractmethod
    def predict(self, task: Task, scores: NDArray[np.floating]) -> NDArray[Any]:
        """Labels of a task, from its scores in the units of labels (n_rows, n_outputs)."""

    def predict_proba(
        self, task: Task, scores: NDArray[np.floating]
    ) -> NDArray[np.floating] | None:
        """Probabilities of the classes, shape (n_rows, n_classes); None without classes."""
        return None

    def numbers(self, task: Task) -> dict[str, Any]:
        """Numbers needed besides type and classes to turn scores into predictions."""
        return {}

    @abstractmethod
    def score(
        self,
        scores: Tensor,
        targets: Tensor,
        weights: Tensor,
        n_outputs: int,
        ranks: Ranks = ALONE,
    ) -> Tensor:
        """How well each task is predicted, shape (n_tasks,); one is perfect.

        Parameters
        ----------
        scores : Tensor of shape (n_rows, n_tasks * n_outputs)
        targets, weights : Tensor of shape (n_rows, n_tasks)
        n_outputs : int
        ranks : Ranks, optional
            Processes that have the other rows.
        """

    # -- made labels, for benchmarks and examples --------------------------------------

    @abstractmethod
    def draw(
        self,
        rng: np.random.Generator,
        value: NDArray[np.float64],
        *,
        shift: float,
        noise: float,
        n_classes: int,
        link: str,
    ) -> NDArray[np.float64]:
        """Draw labels of a task from its value for each row, which has variance one."""

    def disturb(
        self,
        rng: np.random.Generator,
        labels: NDArray[np.float64],
        rows: NDArray[np.intp],
    ) -> None:
        """Make the labels of some rows wrong, in place."""
        labels[rows] = labels[rng.permutation(rows)]


def r2(scores: Tensor, targets: Tensor, weights: Tensor, ranks: Ranks) -> Tensor:
    """Coefficient of determination of each column."""
    mean = ranks.sum((weights * targets).sum(0)) / ranks.sum(weights.sum(0))
    lost, spread = (targets - scores).square(), (targets - mean).square()
    return share_explained(lost, spread, weights, ranks)


def share_explained(
    lost: Tensor, spread: Tensor, weights: Tensor, ranks: Ranks
) -> Tensor:
    """One less the loss of each column over that of the mean.

    Where a target does not vary, 1 if it is met and 0 if not, as in scikit-learn.
    """
    lost = ranks.sum((weights * lost).sum(0))
    spread = ranks.sum((weights * spread).sum(0))
    constant = torch.where(lost > 0, 0.0, 1.0).to(lost)
    return torch.where(spread > 0, 1 - lost / spread, constant)


def accuracy(
    predicted: Tensor, targets: Tensor, weights: Tensor, ranks: Ranks
) -> Tensor:
    """Share of the labels of each column that are met."""
    met = ranks.sum((weights * (predicted == targets)).sum(0))
    share: Tensor = met / ranks.sum(weights.sum(0))
    return share


def by_output(scores: Tensor, n_outputs: int) -> Tensor:
    """View of shape (n_tasks, n_outputs, n_rows).

    Torch is many times slower over a short last dimension than over a middle one.
    """
    view: Tensor = scores.T.unflatten(0, (-1, n_outputs))
    return view


def _are_text(values: NDArray[Any]) -> bool:
    if values.dtype.kind == "O":
        return all(isinstance(value, str) for value in values.tolist())
    return values.dtype.kind in "US"


def class_indices(
    task: Task,
    present: NDArray[Any],
    unseen_ok: bool = False,
    argument: str = ARGUMENT,
) -> NDArray[np.intp]:
    """Numbers of labels among the classes of a task."""
    classes = task.classes
    assert classes is not None
    if len(present) and _are_text(present) != _are_text(classes):
        # None would be right, however good the predictions are.
        raise ValueError(
            f"{argument}: task {task.name!r} has the label {present.tolist()[0]!r}, but its "
            f"classes are of another kind: {classes[:10].tolist()}. Give labels of the kind "
            "of those in the fit."
        )
    kinds = present.dtype.kind, classes.dtype.kind
    in_order = "O" not in kinds and bool(np.all(classes[1:] >= classes[:-1]))
    # Objects may not be comparable; numbers of two kinds are compared as floats.
    if not in_order or (
        kinds[0] != kinds[1] and (beyond_floats(present) or beyond_floats(classes))
    ):
        number = {label: place for place, label in enumerate(classes.tolist())}
        index = np.array([number.get(label, -1) for label in present.tolist()], int)
    else:
        index = np.minimum(np.searchsorted(classes, present), len(classes) - 1)
        index = np.where(classes[index] == present, index, -1)
    unseen = present[index < 0]
    if len(unseen) and not unseen_ok:
        raise ValueError(
            f"{argument}: task {task.name!r} has the label {unseen.tolist()[0]!r}, which "
            f"is not among its {len(classes)} classes {classes[:10].tolist()}. The first fit "
            "determines the classes. To change them, fit again without warm_start, or give "
            "all classes to the first call of partial_fit."
        )
    return index


def class_frequencies(
    targets: NDArray[np.float64],
    weight: NDArray[np.float64] | None,
    n_classes: int,
    ranks: Ranks,
) -> NDArray[np.float64]:
    """Share of each class; as if all were as frequent where there is no label yet."""
    index = targets.astype(np.intp)
    total = ranks.sum(np.bincount(index, weight, minlength=n_classes))
    share: NDArray[np.float64] = (
        total / total.sum() if total.any() else np.full(n_classes, 1 / n_classes)
    )
    return share
