"""Tasks of one type side by side, and what is done to all of them at once. On tensors.

What a type of task is, is in :mod:`skdisentangle.tasks.types`. Targets are given as one
number per row and task: the standardised value for a regression task, the label over the mean
for a count task, the class's index for others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..distributed import ALONE, Ranks
from .types import TYPES, TaskType
from .types.base import by_output

__all__ = [
    "Block",
    "block_residual",
    "block_scores",
    "hessian_product",
    "largest_of_tasks",
    "loss_values",
    "outputs_to_tasks",
    "residual",
    "split_heads",
    "split_labels",
    "task_scores",
    "tasks_to_outputs",
    "thresholds_of",
    "weighted",
    "with_thresholds",
]


@dataclass(frozen=True)
class Block:
    """Tasks of one type (and one number of classes) that stand side by side.

    Attributes
    ----------
    type : str
        Name of the task type.
    tasks : slice
        The block's columns of the targets and of the weights.
    outputs : slice
        The block's rows of the heads and columns of the scores.
    n_classes : int
        Outputs per task: the number of classes of a multiclass task, else 1.
    thresholds : Tensor of shape (n_tasks, n_thresholds), or None
        Of types that have them.
    """

    type: str
    tasks: slice
    outputs: slice
    n_classes: int = 1
    thresholds: Tensor | None = field(default=None, compare=False)

    @property
    def kind(self) -> TaskType:
        """The task type, with the thresholds of these tasks."""
        kind = TYPES[self.type]
        return kind if self.thresholds is None else kind.at(self.thresholds)

    @property
    def n_tasks(self) -> int:
        return int(self.tasks.stop - self.tasks.start)


def with_thresholds(
    blocks: Sequence[Block], thresholds: Sequence[Tensor]
) -> tuple[Block, ...]:
    """The blocks, with these tensors as the thresholds of those that have some."""
    new = iter(thresholds)
    return tuple(
        block if block.thresholds is None else replace(block, thresholds=next(new))
        for block in blocks
    )


def thresholds_of(blocks: Sequence[Block]) -> list[Tensor]:
    """The thresholds of those blocks that have some."""
    return [block.thresholds for block in blocks if block.thresholds is not None]


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
        block.kind.value(
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
    block.kind.residual_(scores, targets, block.n_classes)
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
        block.kind.hessian_product_(part, scores[:, block.outputs], block.n_classes)
        if weights is not None:
            _weigh_(part, weights[:, block.tasks], block.n_classes)
    return direction


def _weigh_(part: Tensor, weight: Tensor, n_classes: int) -> None:
    """Multiply the outputs of each task of a block by the task's weights."""
    if n_classes == 1:
        part.mul_(weight)
    else:
        by_output(part, n_classes).mul_(weight.T.unsqueeze(1))


def task_scores(
    scores: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    blocks: Sequence[Block],
    ranks: Ranks = ALONE,
) -> Tensor:
    """Score of each task, as its type has it: R2, D2 or accuracy.

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
        part = block.kind.score(score, truth, weight, block.n_classes, ranks)
        parts.append(torch.where(ranks.sum(weight.sum(0)) > 0, part, torch.nan))
    return torch.cat(parts)
