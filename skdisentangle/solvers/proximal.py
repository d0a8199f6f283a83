"""The inner problem: heads for given codes. Pure functions on tensors.

For codes ``Z`` (n_rows, n_components) the heads minimise, over ``coef`` and
``intercept``,

    mean over tasks t of
        mean over rows of weights[i, t] * loss_t(Z coef.T + intercept, targets)
        + mean over the task's outputs of sum_m l1_weights[k, m] |coef[k, m]|

The intercepts are not penalised. The problem falls apart into one problem per task; all
of them are solved at once by proximal gradient steps, each task with a step length of
its own (Beck & Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear
inverse problems", SIAM J. Imaging Sci. 2, 2009).

Heads are held as one tensor ``theta`` (n_outputs, n_components + 1) whose last column is
the intercept, and codes with a last column of ones, see :func:`augment`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..distributed import ALONE, Part
from ..tasks.blocks import (
    Block,
    block_residual,
    block_scores,
    loss_values,
    outputs_to_tasks,
    split_heads,
    split_labels,
    tasks_to_outputs,
    weighted,
)
from .penalties import soft_threshold

__all__ = [
    "Sliceable",
    "augment",
    "curvature",
    "gradient",
    "largest_eigenvalue",
    "objective",
    "optimality_gap",
    "pad_weights",
    "proximal_steps",
    "standard_errors",
    "sum_tensors",
    "sums_of_slopes",
]


#: Scores whose errors are looked at together.
ERROR_VALUES = 2**20


class Sliceable(Protocol):
    """A tensor, or what gives the rows of one when it is sliced."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def device(self) -> torch.device: ...

    def __getitem__(self, rows: slice | Tensor) -> Tensor: ...


def augment(codes: Tensor) -> Tensor:
    """Append the column of ones that the intercepts multiply."""
    return F.pad(codes, (0, 1), value=1.0)


def pad_weights(l1_weights: Tensor, blocks: Sequence[Block]) -> Tensor:
    """Penalty of each entry of ``theta`` in its own task's objective."""
    per_task = l1_weights.new_empty(sum(block.n_tasks for block in blocks))
    for block in blocks:
        per_task[block.tasks] = 1.0 / block.n_classes
    scale = tasks_to_outputs(per_task, blocks).unsqueeze(1)
    return F.pad(l1_weights * scale, (0, 1))


def curvature(
    codes: Tensor,
    weights: Tensor | None,
    blocks: Sequence[Block],
    row_weights: Tensor | None = None,
    gram: Tensor | None = None,
    part: Part | None = None,
) -> Tensor:
    """Upper bound on the curvature of each task's loss in its heads.

    With ``a_i`` the augmented codes of row i, ``r_i`` the row's weight, ``w_i`` its
    weight for a task and ``G = mean_i r_i a_i a_i^T``, the largest eigenvalue of
    ``mean_i w_i a_i a_i^T`` is at most both ``max_i (w_i / r_i) * lambda_max(G)`` and
    ``mean_i w_i |a_i|^2``; and ``lambda_max(G)`` is at most ``||G^4||_F^(1/4)``, which
    is cheap and within a factor ``n_components^(1/8)`` of it.

    Parameters
    ----------
    codes : Tensor of shape (n_rows, n_components + 1)
        Augmented codes.
    weights : Tensor of shape (n_rows, n_tasks) or None
    blocks : sequence of Block
    row_weights : Tensor of shape (n_rows,), optional
        Positive; with them, a weighted fit takes the steps of one on repeated rows.
    gram : Tensor of shape (n_components + 1, n_components + 1), optional
        ``n_rows * G``, if it is known.
    part : Part, optional
        Of which rows these are a part, spread over processes; here as below.

    Returns
    -------
    Tensor of shape (n_outputs, 1)
    """
    ranks, n_rows = part or (ALONE, codes.shape[0])
    if gram is None:
        scaled = codes if row_weights is None else codes * row_weights.unsqueeze(1)
        gram = ranks.sum(scaled.T @ codes)
    tiny = torch.finfo(gram.dtype).tiny
    # Scaled by its trace, no power of it overflows.
    trace = gram.trace().clamp_min_(tiny)
    largest = largest_eigenvalue(gram / trace).mul_(trace / n_rows)
    if weights is None:
        bound: Tensor = largest.expand(blocks[-1].outputs.stop).clone()
    else:
        ratio = weights if row_weights is None else weights / row_weights.unsqueeze(1)
        each = ranks.sum(codes.square().sum(1).div_(n_rows) @ weights)
        # A part of a batch may be empty.
        most = ranks.largest(ratio.amax(0) if len(ratio) else ratio.sum(0))
        bound = tasks_to_outputs(torch.minimum(most * largest, each), blocks)
    for block in blocks:
        if block.kind.curvature != 1:
            bound[block.outputs].mul_(block.kind.curvature)
    return bound.clamp_min_(tiny).unsqueeze(1)


def largest_eigenvalue(gram: Tensor, scale: float = 1.0) -> Tensor:
    """Upper bound on that of a Gram matrix times a scale, see :func:`curvature`."""
    square = torch.addmm(gram, gram, gram, beta=0, alpha=scale**2)
    largest: Tensor = torch.linalg.vector_norm(square @ square).pow_(0.25)
    return largest


def gradient(
    theta: Tensor,
    codes: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    blocks: Sequence[Block],
) -> Tensor:
    """Gradient of each task's mean loss in its heads, shape of ``theta``."""
    return sums_of_slopes(codes, targets, weights, blocks)(theta) / len(codes)


def sums_of_slopes(
    codes: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    blocks: Sequence[Block],
    gram: Tensor | None = None,
    part: Part | None = None,
) -> Callable[[Tensor], Tensor]:
    """Gradient of each task's summed loss, as a function of the heads.

    What targets of several outputs have to do with it is summed over the rows once. With
    ``gram``, which is ``codes.T @ codes`` of all rows, nothing of a squared loss on complete
    labels needs the rows.
    """
    ranks = ALONE if part is None else part.ranks
    labels = split_labels(targets, weights, blocks)
    by_gram = [
        gram is not None and weights is None and block.kind.quadratic
        for block in blocks
    ]
    known: list[Tensor | None] = []
    for quick, block, (truth, weight) in zip(by_gram, blocks, labels, strict=True):
        told = None
        if quick:
            told = ranks.sum(truth.T @ codes)
        elif block.n_classes > 1:
            # Of these rows only: it is summed over ranks with what it is taken from.
            stated = block.kind.statistic(truth, block.n_classes)
            told = weighted(stated, weight, block).T @ codes
        known.append(told)

    def slopes(theta: Tensor) -> Tensor:
        parts, of_rows = [], []
        for own, block, (truth, weight), told, quick in zip(
            split_heads(theta, blocks), blocks, labels, known, by_gram, strict=True
        ):
            if quick and gram is not None and told is not None:
                parts.append(torch.addmm(told, own, gram, beta=-1))
                continue
            scores = block_scores(own, codes, block)
            if told is None:
                parts.append(block_residual(scores, truth, weight, block).T @ codes)
            else:
                expected = block.kind.mean(scores, block.n_classes)
                expected = weighted(expected, weight, block)
                parts.append(torch.addmm(told, expected.T, codes, beta=-1))
            of_rows.append(parts[-1])
        ranks.sum_each(of_rows)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    return slopes


def proximal_steps(
    theta: Tensor,
    codes: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    blocks: Sequence[Block],
    l1: Tensor,
    n_steps: int,
    row_weights: Tensor | None = None,
    part: Part | None = None,
    bound: Tensor | None = None,
    gram: Tensor | None = None,
    pace: float = 1.0,
) -> Tensor:
    """A few plain proximal gradient steps from ``theta``, for a moving target.

    The heads of a task without a label among the rows stay as they are: its objective
    here is the penalty alone, which would wipe them out.

    Parameters
    ----------
    theta : Tensor of shape (n_outputs, n_components + 1)
    codes : Tensor of shape (n_rows, n_components + 1)
        Augmented codes.
    targets, weights : Tensor of shape (n_rows, n_tasks)
    blocks : sequence of Block
    l1 : Tensor of shape (n_outputs, n_components + 1)
        Penalty of each entry in its own task's objective.
    n_steps : int
    row_weights : Tensor of shape (n_rows,), optional
        As in :func:`curvature`.
    part : Part, optional
        As in :func:`curvature`.
    bound : Tensor of shape (n_outputs, 1), optional
        That of :func:`curvature` for these rows, if it is known.
    gram : Tensor of shape (n_components + 1, n_components + 1), optional
        As in :func:`curvature`.
    pace : float, default=1.0
        Share of a whole step to take, where heads are to average over batches.

    Returns
    -------
    Tensor of shape (n_outputs, n_components + 1)
    """
    ranks, n_rows = part or (ALONE, codes.shape[0])
    if gram is None and row_weights is None:
        gram = ranks.sum(codes.T @ codes)
    if bound is None:
        bound = curvature(codes, weights, blocks, row_weights, gram, part)
    slopes = sums_of_slopes(codes, targets, weights, blocks, gram, part)
    step = pace * bound.reciprocal()
    if weights is not None:
        step = step * (bound > torch.finfo(bound.dtype).tiny)
    threshold = step * l1
    for _ in range(n_steps):
        moved = theta.addcmul(step, slopes(theta), value=-1 / n_rows)
        theta = soft_threshold(moved, threshold)
    return theta


def objective(
    theta: Tensor,
    codes: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    blocks: Sequence[Block],
    l1: Tensor,
) -> Tensor:
    """Objective of each task, shape (n_tasks,); their mean is the inner objective."""
    values = loss_values(codes @ theta.T, targets, blocks)
    loss = (values if weights is None else values * weights).mean(0)
    penalty = (l1 * theta.abs()).sum(1)
    return loss + outputs_to_tasks(penalty, blocks)


def optimality_gap(theta: Tensor, slope: Tensor, l1: Tensor) -> Tensor:
    """Largest violation of the first-order conditions, per output.

    A nonzero entry needs ``slope + l1 * sign(theta) = 0``, a zero one ``|slope| <= l1``.
    """
    at_zero = (slope.abs() - l1).clamp_min(0)
    away = (slope + l1 * theta.sign()).abs()
    return torch.where(theta == 0, at_zero, away).amax(1)


def sum_tensors(parts: Iterable[Tensor]) -> Tensor:
    """Sum of tensors of equal shape, one at a time; of a single one, itself."""
    return functools.reduce(Tensor.add, parts)


def _narrow(blocks: Sequence[Block], width: int) -> Iterator[Block]:
    """The blocks cut into such of about so many outputs."""
    for block in blocks:
        size = max(1, width // block.n_classes)
        for first in range(0, block.n_tasks, size):
            last = min(block.n_tasks, first + size)
            start, output = block.tasks.start, block.outputs.start
            outputs = (output + block.n_classes * n for n in (first, last))
            yield replace(
                block,
                tasks=slice(start + first, start + last),
                outputs=slice(*outputs),
                thresholds=None
                if block.thresholds is None
                else block.thresholds[first:last],
            )


def standard_errors(
    scores: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    blocks: Sequence[Block],
    n_labels: Tensor,
    n_components: int,
) -> Tensor:
    """Standard error of each output's coefficients, for white codes.

    For a regression task the root of the residual variance over the number of labels. Any
    other output is treated as the regression of what it predicts (the probability of a
    class), whose error is translated to scores by the ratio of the two standard deviations:
    with little signal that is the error from the Fisher information, which vanishes where
    classes are told apart without error. As scores that are fitted to few labels claim too
    much, the residual variance is no less than that of the label times
    ``n_components / n_labels``.

    Parameters
    ----------
    scores : Tensor of shape (n_rows, n_outputs)
        Of unpenalised heads.
    targets, weights, blocks
        As in :func:`solve_heads`.
    n_labels : Tensor of shape (n_tasks,)
        Labels of each task.
    n_components : int

    Returns
    -------
    Tensor of shape (n_outputs,)
    """
    tiny = torch.finfo(scores.dtype).tiny
    parts = []
    for block in _narrow(blocks, max(1, ERROR_VALUES // len(scores))):
        score = scores[:, block.outputs]
        if weights is None:
            weight = torch.ones_like(score)
        else:
            weight = weights[:, block.tasks].repeat_interleave(block.n_classes, dim=1)
        number = n_labels[block.tasks].repeat_interleave(block.n_classes)
        share = weight / weight.sum(0)
        if block.kind.quadratic:
            lost = (score - targets[:, block.tasks]).square()
            parts.append(((share * lost).sum(0) / number).sqrt())
            continue
        expected = block.kind.mean(score, block.n_classes)
        mean = (share * expected).sum(0)
        explained = (share * (expected - mean).square()).sum(0)
        told = block.kind.statistic(targets[:, block.tasks], block.n_classes)
        left = (share * block.kind.variance(expected, told)).sum(0)
        least = (share * block.kind.variance(mean, told)).sum(0)
        least = least * (n_components / number).clamp_max(1)
        left = left.maximum(least)
        spread = (share * (score - (share * score).sum(0)).square()).sum(0)
        ratio = spread / explained.clamp_min(tiny)
        parts.append((left / number * ratio).sqrt())
    return torch.cat(parts)
