"""One loss per task type, on tensors.

Every loss is a function of the *scores* ``codes @ coef.T + intercept`` of a block of
tasks of one type. The solvers need of it the value per row and task, the *residual* (the
derivative of the value with respect to the scores) and a bound on the curvature, from
which the step of a proximal gradient method follows; and implicit differentiation the
product of the second derivative with a direction of the scores.

Targets are given as one number per row and task: the standardised value for a
regression task, 0 or 1 for a binary task, the class's index for a multiclass task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..distributed import ALONE, Ranks

__all__ = [
    "LOSSES",
    "Block",
    "Loss",
    "hessian_product",
    "largest_of_tasks",
    "block_residual",
    "block_scores",
    "class_chances",
    "class_indicators",
    "loss_values",
    "outputs_to_tasks",
    "residual",
    "second_derivatives",
    "split_heads",
    "split_labels",
    "task_scores",
    "tasks_to_outputs",
    "weighted",
]


class Loss(Protocol):
    """What a solver needs to know of the loss of a task type."""

    curvature: float
    """Upper bound on the largest eigenvalue of the Hessian in the task's scores."""

    def value(self, scores: Tensor, targets: Tensor, n_classes: int) -> Tensor:
        """Loss per row and task, shape (n_rows, n_tasks)."""

    def residual_(self, scores: Tensor, targets: Tensor, n_classes: int) -> None:
        """Overwrite the scores, shape (n_rows, n_outputs), by the derivative."""

    def hessian_product_(
        self, direction: Tensor, scores: Tensor, n_classes: int
    ) -> None:
        """Overwrite a direction, of the shape of the scores, by Hessian times it."""


class SquaredLoss:
    """Half the squared error, ``(score - target)^2 / 2``."""

    curvature = 1.0

    def value(self, scores: Tensor, targets: Tensor, n_classes: int) -> Tensor:
        return (scores - targets).square_().mul_(0.5)

    def residual_(self, scores: Tensor, targets: Tensor, n_classes: int) -> None:
        scores.sub_(targets)

    def hessian_product_(
        self, direction: Tensor, scores: Tensor, n_classes: int
    ) -> None:
        pass  # the Hessian is one


class LogisticLoss:
    """Cross-entropy of one logit, ``log(1 + exp(score)) - target * score``."""

    curvature = 0.25

    def value(self, scores: Tensor, targets: Tensor, n_classes: int) -> Tensor:
        return F.softplus(scores).sub_(targets * scores)

    def residual_(self, scores: Tensor, targets: Tensor, n_classes: int) -> None:
        scores.sigmoid_().sub_(targets)

    def hessian_product_(
        self, direction: Tensor, scores: Tensor, n_classes: int
    ) -> None:
        probability = scores.sigmoid()
        direction.mul_(probability - probability.square())


class SoftmaxLoss:
    """Cross-entropy of ``n_classes`` logits.

    The Hessian ``diag(p) - p p^T`` has no eigenvalue above 1/2 (Böhning, "Multinomial
    logistic regression algorithm", Ann. Inst. Statist. Math. 44, 1992).
    """

    curvature = 0.5

    def value(self, scores: Tensor, targets: Tensor, n_classes: int) -> Tensor:
        logits = _by_class(scores, n_classes)
        picked = logits.gather(1, targets.T.long().unsqueeze(1)).squeeze(1)
        return (logits.logsumexp(1) - picked).T

    def residual_(self, scores: Tensor, targets: Tensor, n_classes: int) -> None:
        logits = _by_class(scores, n_classes)
        probabilities = logits.softmax(1)
        index = targets.T.long().unsqueeze(1)
        probabilities.scatter_add_(
            1, index, probabilities.new_full((), -1.0).expand_as(index)
        )
        logits.copy_(probabilities)

    def hessian_product_(
        self, direction: Tensor, scores: Tensor, n_classes: int
    ) -> None:
        probabilities = _by_class(scores, n_classes).softmax(1)
        change = _by_class(direction, n_classes)
        mean = (probabilities * change).sum(1, keepdim=True)
        change.sub_(mean).mul_(probabilities)


def _by_class(scores: Tensor, n_classes: int) -> Tensor:
    """View of shape (n_tasks, n_classes, n_rows).

    Torch is many times slower over a short last dimension than over a middle one.
    """
    by_class: Tensor = scores.T.unflatten(0, (-1, n_classes))
    return by_class


LOSSES: dict[str, Loss] = {
    "regression": SquaredLoss(),
    "binary": LogisticLoss(),
    "multiclass": SoftmaxLoss(),
}


@dataclass(frozen=True)
class Block:
    """Tasks of one type (and one number of classes) that stand side by side.

    Attributes
    ----------
    type : {"regression", "binary", "multiclass"}
    tasks : slice
        The block's columns of the targets and of the weights.
    outputs : slice
        The block's rows of the heads and columns of the scores.
    n_classes : int
        Outputs per task: the number of classes of a multiclass task, else 1.
    """

    type: str
    tasks: slice
    outputs: slice
    n_classes: int = 1

    @property
    def n_tasks(self) -> int:
        return int(self.tasks.stop - self.tasks.start)


def split_heads(theta: Tensor, blocks: Sequence[Block]) -> Sequence[Tensor]:
    """Views of the rows of each block's heads."""
    return theta.split_with_sizes([b.n_classes * b.n_tasks for b in blocks])


def split_labels(
    targets: Tensor, weights: Tensor | None, blocks: Sequence[Block]
) -> Sequence[tuple[Tensor, Tensor | None]]:
    """Views of the columns of each block's tasks: targets, and weights if there are any."""
    sizes = [block.n_tasks for block in blocks]
    truths = targets.split_with_sizes(sizes, 1)
    if weights is None:
        return [(truth, None) for truth in truths]
    return list(zip(truths, weights.split_with_sizes(sizes, 1), strict=True))


def tasks_to_outputs(values: Tensor, blocks: Sequence[Block]) -> Tensor:
    """Repeat a value per task, in the last dimension, for each of its outputs."""
    if all(block.n_classes == 1 for block in blocks):
        return values
    parts = [
        values[..., block.tasks].repeat_interleave(block.n_classes, dim=-1)
        for block in blocks
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def outputs_to_tasks(values: Tensor, blocks: Sequence[Block]) -> Tensor:
    """Sum of one value per output over the outputs of each task."""
    if all(block.n_classes == 1 for block in blocks):
        return values
    # Not index_add_, which on a GPU adds in an order that differs from time to time.
    parts = [values[b.outputs].unflatten(0, (-1, b.n_classes)).sum(1) for b in blocks]
    return torch.cat(parts)


def second_derivatives(scores: Tensor, block: Block) -> Tensor:
    """Second derivative of the loss of one block in each of its scores, of their shape."""
    if block.type == "regression":
        return torch.ones_like(scores)
    binary = block.type == "binary"
    chances = scores.sigmoid() if binary else class_chances(scores, None, block)
    return chances - chances.square()


def largest_of_tasks(values: Tensor, blocks: Sequence[Block]) -> Tensor:
    """Largest of one value per output over the outputs of each task."""
    parts = [values[b.outputs].unflatten(0, (-1, b.n_classes)).amax(1) for b in blocks]
    return torch.cat(parts)


def loss_values(scores: Tensor, targets: Tensor, blocks: Sequence[Block]) -> Tensor:
    """Loss of each row and task.

    Parameters
    ----------
    scores : Tensor of shape (n_rows, n_outputs)
    targets : Tensor of shape (n_rows, n_tasks)
    blocks : sequence of Block

    Returns
    -------
    Tensor of shape (n_rows, n_tasks)
    """
    parts = [
        LOSSES[block.type].value(
            scores[:, block.outputs], targets[:, block.tasks], block.n_classes
        )
        for block in blocks
    ]
    return torch.cat(parts, dim=1)


def residual(
    scores: Tensor, targets: Tensor, weights: Tensor | None, blocks: Sequence[Block]
) -> Tensor:
    """Turn scores into the derivative of the weighted losses, in place.

    Parameters
    ----------
    scores : Tensor of shape (n_rows, n_outputs)
        Overwritten.
    targets : Tensor of shape (n_rows, n_tasks)
    weights : Tensor of shape (n_rows, n_tasks), or None for weights of one
        A weight of zero says that the row is not labelled for the task.
    blocks : sequence of Block

    Returns
    -------
    Tensor of shape (n_rows, n_outputs)
        ``scores``, holding the derivative.
    """
    labels = split_labels(targets, weights, blocks)
    for block, (truth, weight) in zip(blocks, labels, strict=True):
        block_residual(scores[:, block.outputs], truth, weight, block)
    return scores


def class_chances(scores: Tensor, weights: Tensor | None, block: Block) -> Tensor:
    """Weighted probabilities of the classes of one multiclass block.

    Less :func:`class_indicators` they are the derivative of the weighted losses.
    """
    chances = _by_class(scores, block.n_classes).softmax(1).flatten(0, 1).T
    return weighted(chances, weights, block)


def class_indicators(targets: Tensor, weights: Tensor | None, block: Block) -> Tensor:
    """Weighted targets of one multiclass block, as zeros and ones, a column a class."""
    n_rows, n_tasks = targets.shape
    ones = targets.new_zeros(n_tasks, block.n_classes, n_rows)
    ones.scatter_(1, targets.T.long().unsqueeze(1), 1.0)
    return weighted(ones.flatten(0, 1).T, weights, block)


def block_scores(theta: Tensor, codes: Tensor, block: Block) -> Tensor:
    """Scores of one block, in the memory layout in which its loss is fastest.

    Parameters
    ----------
    theta : Tensor of shape (n_block_outputs, n_components + 1)
        The block's heads.
    codes : Tensor of shape (n_rows, n_components + 1)
    block : Block

    Returns
    -------
    Tensor of shape (n_rows, n_block_outputs)
    """
    return codes @ theta.T if block.n_classes == 1 else (theta @ codes.T).T


def block_residual(
    scores: Tensor, targets: Tensor, weights: Tensor | None, block: Block
) -> Tensor:
    """As :func:`residual`, of one block: all columns are its own."""
    LOSSES[block.type].residual_(scores, targets, block.n_classes)
    return weighted(scores, weights, block)


def weighted(values: Tensor, weights: Tensor | None, block: Block) -> Tensor:
    """Multiply the outputs of a block, in place, by the weights of their tasks."""
    if weights is not None:
        _weigh_(values, weights, block.n_classes)
    return values


def hessian_product(
    direction: Tensor, scores: Tensor, weights: Tensor | None, blocks: Sequence[Block]
) -> Tensor:
    """Turn a direction of the scores into the weighted losses' Hessian times it, in place.

    The Hessian of a row is one matrix a task, of as many rows as the task has outputs.

    Parameters
    ----------
    direction : Tensor of shape (n_rows, n_outputs)
        Overwritten.
    scores : Tensor of shape (n_rows, n_outputs)
        Where the Hessian is taken.
    weights : Tensor of shape (n_rows, n_tasks), or None for weights of one
    blocks : sequence of Block

    Returns
    -------
    Tensor of shape (n_rows, n_outputs)
        ``direction``, holding the product.
    """
    for block in blocks:
        part = direction[:, block.outputs]
        LOSSES[block.type].hessian_product_(
            part, scores[:, block.outputs], block.n_classes
        )
        if weights is not None:
            _weigh_(part, weights[:, block.tasks], block.n_classes)
    return direction


def _weigh_(part: Tensor, weight: Tensor, n_classes: int) -> None:
    """Multiply the outputs of each task of a block by the task's weights."""
    if n_classes == 1:
        part.mul_(weight)
    else:
        _by_class(part, n_classes).mul_(weight.T.unsqueeze(1))


def task_scores(
    scores: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    blocks: Sequence[Block],
    ranks: Ranks = ALONE,
) -> Tensor:
    """R2 of each regression task and accuracy of each other one.

    Parameters
    ----------
    scores : Tensor of shape (n_rows, n_outputs)
    targets : Tensor of shape (n_rows, n_tasks)
        A negative class counts as one that cannot be predicted.
    weights : Tensor of shape (n_rows, n_tasks) or None
    ranks : Ranks, optional
        Processes that have the other rows.

    Returns
    -------
    Tensor of shape (n_tasks,)
        NaN for a task without labelled rows. Where a regression target does not vary,
        1 if it is met and 0 if not, as in scikit-learn.
    """
    parts = []
    for block in blocks:
        truth, score = targets[:, block.tasks], scores[:, block.outputs]
        weight = torch.ones_like(truth) if weights is None else weights[:, block.tasks]
        total = ranks.sum(weight.sum(0))
        if block.type == "regression":
            mean = ranks.sum((weight * truth).sum(0)) / total
            lost = ranks.sum((weight * (truth - score).square()).sum(0))
            spread = ranks.sum((weight * (truth - mean).square()).sum(0))
            constant = torch.where(lost > 0, 0.0, 1.0).to(lost)
            part = torch.where(spread > 0, 1 - lost / spread, constant)
        else:
            if block.type == "binary":
                predicted = (score > 0).to(truth)
            else:
                logits = score.unflatten(1, (-1, block.n_classes))
                predicted = logits.argmax(2).to(truth)
            part = ranks.sum((weight * (predicted == truth)).sum(0)) / total
        parts.append(torch.where(total > 0, part, torch.nan))
    return torch.cat(parts)
