"""Conjugate gradients for the heads of all tasks at once.

Hestenes & Stiefel, "Methods of conjugate gradients for solving linear systems", J. Res.
Natl. Bur. Stand. 49, 1952. It needs products with a matrix only, no more of them than a task
has active coefficients (but for rounding), and it is at home where the matrix is singular.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..tasks.blocks import Block, outputs_to_tasks, tasks_to_outputs

__all__ = ["conjugate_gradients"]


def conjugate_gradients(
    product: Callable[[Tensor], Tensor],
    slope: Tensor,
    active: Tensor,
    blocks: Sequence[Block],
    *,
    max_iter: int,
    tol: float,
    ask: bool = True,
) -> Tensor:
    """Solve ``product(x) = -slope`` for the active entries of each task's heads.

    Parameters
    ----------
    product : callable
        From a direction of the shape of the heads to the symmetric positive semidefinite
        matrix of each task times it, overwritten where entries are not active.
    slope : Tensor of shape (n_outputs, n_components + 1)
    active : Tensor of bool, of shape (n_outputs, n_components + 1)
        The other entries of the solution are zero.
    blocks : sequence of Block
    max_iter : int
        Steps at the most.
    tol : float
        A task is solved when its remainder has fallen to this share of its slope.
    ask : bool, default=True
        Whether to stop early once all tasks are solved; if not, all ``max_iter`` steps are
        taken, those of solved tasks of length zero.

    Returns
    -------
    Tensor of shape (n_outputs, n_components + 1)
    """

    def inner(a: Tensor, b: Tensor) -> Tensor:
        return outputs_to_tasks((a * b).sum(1), blocks)

    def by_output(values: Tensor) -> Tensor:
        return tasks_to_outputs(values, blocks).unsqueeze(1)

    rest = -slope * active
    solution, direction = torch.zeros_like(rest), rest.clone()
    size = inner(rest, rest)
    enough = size * tol**2
    for _ in range(max_iter):
        bent = product(direction).mul_(active)
        bend = inner(direction, bent)
        going = (size > enough) & (bend > 0)
        if ask and not going.any():
            break
        length = by_output(torch.where(going, size / bend, 0.0))
        solution.addcmul_(length, direction)
        rest.addcmul_(length, bent, value=-1)
        new = inner(rest, rest)
        turn = by_output(torch.where(going, new / size, 0.0))
        direction = rest + turn * direction
        size = new
    return solution
