"""Thresholds of ordinal tasks, for given scores. On tensors.

Each threshold is the intercept of a logistic regression of its own, see
:class:`~skdisentangle.tasks.types.ordinal.Ordinal`: with the heads as they are, Newton
steps find it. Heads and thresholds are solved for in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from ..distributed import ALONE, Ranks
from ..tasks.blocks import Block, block_scores, split_heads, split_labels

__all__ = ["move_thresholds"]

#: A Newton step goes so far at the most, and ends the search if it is shorter than this.
LONGEST, TOL = 1.0, 1e-4

#: Threshold beyond which a cut has next to no row on one side.
LARGEST = 30.0

Labelled = tuple[Tensor, Tensor, Tensor | None]


def move_thresholds(
    theta: Tensor,
    parts: Callable[[], Iterable[Labelled]],
    blocks: Sequence[Block],
    *,
    ranks: Ranks = ALONE,
    share: float = 1.0,
    max_iter: int = 20,
) -> float:
    """Move the thresholds of all blocks, in place, to where the loss is least.

    Parameters
    ----------
    theta : Tensor of shape (n_outputs, n_components + 1)
        Heads.
    parts : callable
        Gives the rows in parts: augmented codes, targets and weights, as in
        :func:`~skdisentangle.solvers.exact_heads.solve_heads`.
    blocks : sequence of Block
    ranks : Ranks, optional
        Processes that have the other rows.
    share : float, default=1.0
        Share of each step that is taken.
    max_iter : int, default=20
        Steps at the most.

    Returns
    -------
    float
        How far the thresholds have moved at the most; zero if there are none.
    """
    moving = [i for i, block in enumerate(blocks) if block.thresholds is not None]
    if not moving:
        return 0.0
    before = [_of(blocks[i]).clone() for i in moving]
    heads = split_heads(theta, blocks)
    for _ in range(max_iter):
        slopes = [torch.zeros_like(each) for each in before]
        bends = [torch.zeros_like(each) for each in before]
        for codes, targets, weights in parts():
            labels = split_labels(targets, weights, blocks)
            for k, i in enumerate(moving):
                scores = block_scores(heads[i], codes, blocks[i])
                slope, bend = blocks[i].kind.threshold_slopes(scores, *labels[i])
                slopes[k] += slope
                bends[k] += bend
        ranks.sum_each([*slopes, *bends])
        longest = 0.0
        for i, slope, bend in zip(moving, slopes, bends, strict=True):
            tiny = torch.finfo(bend.dtype).tiny
            step = (slope / bend.clamp_min(tiny)).clamp_(-LONGEST, LONGEST)
            thresholds = _of(blocks[i])
            new = (thresholds - share * step).clamp_(-LARGEST, LARGEST)
            # Those of classes without a label here may be passed by others.
            thresholds.copy_(new.cummax(1).values)
            if max_iter > 1:
                longest = max(longest, float(step.abs().max()))
        if longest <= TOL:
            break
    if max_iter == 1:
        return 0.0
    moved = [
        (_of(blocks[i]) - old).abs().max()
        for i, old in zip(moving, before, strict=True)
    ]
    return float(torch.stack(moved).max())


def _of(block: Block) -> Tensor:
    assert block.thresholds is not None
    return block.thresholds
