"""Heads solved to the end on the codes of all rows.

The problem is that of :mod:`skdisentangle.solvers.proximal`, with a ridge on request. Accelerated
proximal gradient finds the supports; on these, where it is slow, Newton steps find the
coefficients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..distributed import ALONE, Part, Ranks
from ..tasks.blocks import (
    Block,
    block_residual,
    block_scores,
    hessian_product,
    largest_of_tasks,
    outputs_to_tasks,
    split_heads,
    split_labels,
    tasks_to_outputs,
    weighted,
)
from .conjugate import conjugate_gradients
from .penalties import penalty_weights, soft_threshold
from .proximal import (
    Sliceable,
    augment,
    curvature,
    optimality_gap,
    pad_weights,
    sum_tensors,
    sums_of_slopes,
)
from .thresholds import move_thresholds

__all__ = ["HeadSolution", "pulls_at_zeros", "solve_heads", "solve_penalized_heads"]

#: Scores (rows times outputs), at the most, of which :func:`solve_heads` holds all at once,
#: and of a part of the rows where they are more. Small parts stay in the cache.
WHOLE_VALUES, PART_VALUES = 2**21, 2**18

#: Steps of conjugate gradients that make a Newton step, the share of the slope that may
#: remain, and the lengths of a Newton step that are tried.
NEWTON_STEPS, NEWTON_TOL, NEWTON_LENGTHS = 10, 1e-2, (1.0, 0.25, 0.06)

#: Rounds of heads and thresholds in turn, at the most, and the move that ends them.
THRESHOLD_ROUNDS, THRESHOLD_TOL = 10, 0.01

_Rows = tuple[Tensor, Tensor, Tensor | None, Tensor | None]
_Parts = Callable[[], Iterable[_Rows]]


def _in_parts(
    codes: Tensor,
    targets: Sliceable,
    weights: Sliceable | None,
    row_weights: Tensor | None,
    blocks: Sequence[Block],
    part: Part | None,
) -> _Parts:
    """Augmented codes, targets, weights and weights of the rows, a part at a time.

    Many rows of one process are looked at in parts, so that no temporary is as long as
    they are; fewer are one part.
    """
    n_rows, width = len(codes), max(blocks[-1].outputs.stop, codes.shape[1] + 1)

    def of(rows: slice) -> _Rows:
        return (
            augment(codes[rows]),
            targets[rows],
            None if weights is None else weights[rows],
            None if row_weights is None else row_weights[rows],
        )

    if part is not None or n_rows * width <= WHOLE_VALUES:
        whole = [of(slice(None))]
        return lambda: whole
    size = max(1, PART_VALUES // width)
    return lambda: (of(slice(i, i + size)) for i in range(0, n_rows, size))


def _bound_and_slopes(
    codes: Tensor,
    parts: _Parts,
    blocks: Sequence[Block],
    ranks_part: Part | None,
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Bound on the curvature, and gradient of each task's summed loss, over all rows."""
    n_rows = len(codes)
    own, truth, weight, row_weights = next(iter(parts()))
    if len(own) == n_rows:
        ranks = ALONE if ranks_part is None else ranks_part.ranks
        gram = ranks.sum(own.T @ own) if row_weights is None else None
        bound = curvature(own, weight, blocks, row_weights, gram, ranks_part)
        return bound, sums_of_slopes(own, truth, weight, blocks, gram, ranks_part)
    if weight is not None:
        # The mean of bounds of the parts' curvatures bounds that of their mean.
        bound = sum_tensors(
            curvature(own, weight, blocks, row_weight) * (len(own) / n_rows)
            for own, _, weight, row_weight in parts()
        )
        return bound, lambda theta: sum_tensors(
            sums_of_slopes(own, truth, weight, blocks)(theta)
            for own, truth, weight, _ in parts()
        )
    # Of squared losses only sums over rows are needed; these tasks come first.
    gram = sum_tensors(own.T @ own for own, *_ in parts())
    n_squared = sum(block.n_tasks for block in blocks if block.kind.quadratic)
    others = [block for block in blocks if not block.kind.quadratic]
    product = sum_tensors(truth[:, :n_squared].T @ own for own, truth, *_ in parts())

    def slopes(theta: Tensor) -> Tensor:
        found = torch.addmm(product, theta[:n_squared], gram, beta=-1)
        if others:
            rest = sum_tensors(
                sums_of_slopes(own, truth[:, n_squared:], None, others)(
                    theta[n_squared:]
                )
                for own, truth, *_ in parts()
            )
            found = torch.cat([found, rest])
        return found

    return curvature(codes, None, blocks, gram=gram), slopes


@dataclass(frozen=True)
class HeadSolution:
    """Heads for given codes.

    Attributes
    ----------
    coef : Tensor of shape (n_outputs, n_components)
    intercept : Tensor of shape (n_outputs,)
    n_iter : int
        Proximal gradient steps taken.
    gap : float
        Largest violation of the optimality conditions.
    """

    coef: Tensor
    intercept: Tensor
    n_iter: int
    gap: float


@dataclass(frozen=True)
class _Problem:
    """The problem of :func:`solve_heads`: what its solver asks of the rows.

    Attributes
    ----------
    bound : Tensor of shape (n_outputs, 1)
        On the curvature of each task's smooth part.
    sums : callable
        Gradient of each task's loss, summed over the rows of all ranks.
    shrink : Tensor of shape (n_outputs, n_components + 1) or None
        Ridge of each entry of the heads.
    """

    n_rows: int
    parts: _Parts
    blocks: Sequence[Block]
    l1: Tensor
    ranks: Ranks
    bound: Tensor
    sums: Callable[[Tensor], Tensor]
    shrink: Tensor | None

    @classmethod
    def build(
        cls,
        codes: Tensor,
        parts: _Parts,
        blocks: Sequence[Block],
        l1: Tensor,
        ridge: Tensor | None,
        part: Part | None,
    ) -> _Problem:
        ranks, n_rows = part or (ALONE, len(codes))
        bound, sums = _bound_and_slopes(codes, parts, blocks, part)
        shrink = None
        if ridge is not None:
            shrink = F.pad(ridge.unsqueeze(1).expand(-1, codes.shape[1]), (0, 1))
            bound = bound + ridge.unsqueeze(1)
        return cls(n_rows, parts, blocks, l1, ranks, bound, sums, shrink)

    def slope(self, theta: Tensor) -> Tensor:
        """Gradient of the smooth part, of the shape of the heads."""
        slope = self.sums(theta) / self.n_rows
        return slope if self.shrink is None else slope.addcmul_(self.shrink, theta)

    def gaps(self, theta: Tensor, slope: Tensor) -> Tensor:
        """Largest violation of the optimality conditions, per task."""
        worst = largest_of_tasks(optimality_gap(theta, slope, self.l1), self.blocks)
        # All ranks stop at once, whatever rounding says.
        return self.ranks.largest(worst)

    def newton_step(
        self, theta: Tensor, slope: Tensor, gaps: Tensor, late: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A Newton step on the supports of some tasks, where it brings them nearer.

        Where the classes of a task are nearly told apart the loss bends so much less than
        its bound that plain steps, whose length that bound sets, take hundreds. Zeros stay,
        and a coefficient that would change its sign becomes zero.

        Parameters
        ----------
        theta, slope, gaps
            Heads, :meth:`slope` and :meth:`gaps` there.
        late : Tensor of bool, of shape (n_tasks,)
            The tasks.

        Returns
        -------
        theta, gaps : Tensor
            Of a task whose gap does not shrink by half the length of the step, or by half
            of a shorter one, those given.
        """
        blocks = self.blocks

        def product(direction: Tensor) -> Tensor:
            bent = self.ranks.sum(sum_tensors(self._products(theta, direction)))
            bent = bent.div_(self.n_rows)
            return (
                bent if self.shrink is None else bent.addcmul_(self.shrink, direction)
            )

        active = theta != 0
        active[:, -1] = True
        active &= tasks_to_outputs(late, blocks).unsqueeze(1)
        move = conjugate_gradients(
            product,
            slope + self.l1 * theta.sign(),
            active,
            blocks,
            max_iter=NEWTON_STEPS,
            tol=NEWTON_TOL,
            ask=self.ranks.size == 1,  # else all must ask for as many sums
        )
        found, left = theta, gaps
        for length in NEWTON_LENGTHS:
            new = theta + length * move
            new = torch.where((new * theta < 0) & (self.l1 > 0), 0.0, new)
            new_gaps = self.gaps(new, self.slope(new))
            better = late & (new_gaps < (1 - length / 2) * gaps)
            whose = tasks_to_outputs(better, blocks).unsqueeze(1)
            found = torch.where(whose, new, found)
            left = torch.where(better, new_gaps, left)
            late = late & ~better
            if not late.any():
                break
        return found, left

    def _products(self, theta: Tensor, direction: Tensor) -> Iterator[Tensor]:
        """Hessian of each task's loss, summed over the rows of a part, times a direction."""
        for own, _, weight, _ in self.parts():
            bent, scores = direction @ own.T, theta @ own.T  # a task's side by side
            hessian_product(bent.T, scores.T, weight, self.blocks)
            yield bent @ own


def solve_heads(
    codes: Tensor,
    targets: Sliceable,
    weights: Sliceable | None,
    blocks: Sequence[Block],
    l1_weights: Tensor,
    *,
    coef: Tensor | None = None,
    intercept: Tensor | None = None,
    row_weights: Tensor | None = None,
    part: Part | None = None,
    ridge: Tensor | None = None,
    max_iter: int = 1000,
    tol: float = 1e-5,
) -> HeadSolution:
    """Solve for the heads by accelerated proximal gradient, all tasks at once.

    The momentum of a task is dropped whenever it points uphill (O'Donoghue & Candès,
    "Adaptive restart for accelerated gradient schemes", Found. Comput. Math. 15, 2015).
    With a ridge, which makes sure that there is an optimum, the tasks that are not solved
    take a Newton step on their supports after every ten steps.

    Parameters
    ----------
    codes : Tensor of shape (n_rows, n_components)
    targets : Tensor (or Sliceable) of shape (n_rows, n_tasks)
        See :mod:`skdisentangle.tasks.blocks`.
    weights : Tensor (or Sliceable) of shape (n_rows, n_tasks) or None
        Weight of each row for each task, zero where it is not labelled. Of mean one
        over the rows, they make the loss a weighted mean. None weighs all by one.
    blocks : sequence of Block
    l1_weights : Tensor of shape (n_outputs, n_components)
        Penalty of each coefficient; a task takes the mean over its outputs.
    coef, intercept : Tensor, optional
        Where to start; zero by default.
    row_weights : Tensor of shape (n_rows,), optional
        As in :func:`skdisentangle.solvers.proximal.curvature`.
    part : Part, optional
        As in :func:`skdisentangle.solvers.proximal.curvature`.
    ridge : Tensor of shape (n_outputs,), optional
        Half of it times the squared coefficients of an output is added to the objective.
    max_iter : int, default=1000
    tol : float, default=1e-5
        Stop when no optimality condition is violated by more than this.

    Returns
    -------
    HeadSolution
    """
    l1 = pad_weights(l1_weights, blocks)
    if coef is None:
        coef = torch.zeros_like(l1_weights)
    if intercept is None:
        intercept = coef.new_zeros(len(coef))
    parts = _in_parts(codes, targets, weights, row_weights, blocks, part)
    problem = _Problem.build(codes, parts, blocks, l1, ridge, part)
    step = problem.bound.reciprocal()
    threshold = step * l1
    theta = torch.cat([coef, intercept.unsqueeze(1)], dim=1)
    ahead, pace = theta, codes.new_ones(targets.shape[1])
    gap, n_iter = float("inf"), 0
    for n_iter in range(1, max_iter + 1):
        new = soft_threshold(ahead - step * problem.slope(ahead), threshold)
        change = new - theta
        uphill = ((ahead - new) * change).sum(1)
        restart = outputs_to_tasks(uphill, blocks) > 0
        pace = torch.where(restart, torch.ones_like(pace), pace)
        new_pace = (1 + (1 + 4 * pace.square()).sqrt()) / 2
        momentum = torch.where(restart, torch.zeros_like(pace), (pace - 1) / new_pace)
        ahead = new + tasks_to_outputs(momentum, blocks).unsqueeze(1) * change
        theta, pace = new, new_pace
        if n_iter % 10 == 0 or n_iter == max_iter:
            slope = problem.slope(theta)
            gaps = problem.gaps(theta, slope)
            if ridge is not None and bool((gaps > tol).any()):
                found, found_gaps = problem.newton_step(theta, slope, gaps, gaps > tol)
                moved = found_gaps < gaps
                pace = torch.where(moved, torch.ones_like(pace), pace)
                whose = tasks_to_outputs(moved, blocks).unsqueeze(1)
                ahead = torch.where(whose, found, ahead)
                theta, gaps = found, found_gaps
            gap = float(gaps.max())
            if gap <= tol:
                break
    return HeadSolution(theta[:, :-1], theta[:, -1], n_iter, gap)


def solve_penalized_heads(
    codes: Tensor,
    targets: Sliceable,
    weights: Sliceable | None,
    blocks: Sequence[Block],
    usage_weights: Tensor,
    *,
    sparsity: float,
    sharing: float,
    reweighted: bool,
    coef: Tensor,
    intercept: Tensor,
    row_weights: Tensor | None = None,
    part: Part | None = None,
    spread: Tensor | None = None,
    factor: Tensor | None = None,
    ridge: Tensor | None = None,
    n_rounds: int = 3,
    max_iter: int = 200,
    tol: float = 1e-4,
) -> HeadSolution:
    """Solve for the heads with the penalty's weights following them.

    Each round linearises the penalty at the last heads and solves the weighted L1
    problem (Zou & Li, "One-step sparse estimates in nonconcave penalized likelihood
    models", Ann. Statist. 36, 2008). After it thresholds, if blocks have any, are moved in
    place to where the loss is least; until they stay there, there are more rounds.

    Parameters
    ----------
    codes, targets, weights, blocks, coef, intercept, row_weights, part, ridge
        As in :func:`solve_heads`; ``coef`` also sets the first round's weights.
    usage_weights : Tensor of shape (n_outputs,)
        See :func:`skdisentangle.solvers.penalties.output_weights`.
    sparsity, sharing, reweighted, spread, factor
        As in :func:`skdisentangle.solvers.penalties.penalty_weights`.
    n_rounds, max_iter : int
        Rounds, and iterations in each.
    tol : float, default=1e-4
        As in :func:`solve_heads`.

    Returns
    -------
    HeadSolution
        Of the last round.
    """
    moving = reweighted or sharing > 0
    n_iter = 0
    least = most = n_rounds if moving else 1
    if any(block.thresholds is not None for block in blocks):
        parts = _in_parts(codes, targets, weights, None, blocks, part)
        most += THRESHOLD_ROUNDS
    for number in range(most):
        l1_weights = penalty_weights(
            coef,
            usage_weights,
            sparsity=sparsity,
            sharing=sharing,
            reweighted=reweighted,
            spread=spread,
            factor=factor,
        )
        solution = solve_heads(
            codes,
            targets,
            weights,
            blocks,
            l1_weights,
            coef=coef,
            intercept=intercept,
            row_weights=row_weights,
            part=part,
            ridge=ridge,
            max_iter=max_iter,
            tol=tol,
        )
        coef, intercept = solution.coef, solution.intercept
        n_iter += solution.n_iter
        if most == least:
            continue
        moved = move_thresholds(
            torch.cat([coef, intercept.unsqueeze(1)], dim=1),
            lambda: (rows[:3] for rows in parts()),
            blocks,
            ranks=ALONE if part is None else part.ranks,
        )
        if number + 1 >= least and moved <= THRESHOLD_TOL:
            break
    return HeadSolution(coef, intercept, n_iter, solution.gap)


def pulls_at_zeros(
    theta: Tensor,
    codes: Tensor,
    targets: Sliceable,
    weights: Sliceable | None,
    blocks: Sequence[Block],
    *,
    part: Part | None = None,
) -> Tensor:
    """How large a coefficient that is zero would become without a penalty, beyond chance.

    That of a Newton step of the coefficient alone, ``|slope| / bend``, less three times its
    standard error, as there are hundreds of zeros: of the slope, a mean over rows of
    residual times code, ``sqrt(mean (residual * code)^2 / n_rows)`` (the score test of Rao,
    Proc. Camb. Phil. Soc. 44, 1948, with the variance of White, Econometrica 48, 1980).

    Parameters
    ----------
    theta : Tensor of shape (n_outputs, n_components + 1)
        Heads that are optimal.
    codes, targets, weights, blocks, part
        As in :func:`solve_heads`.

    Returns
    -------
    Tensor of shape (n_outputs, n_components)
        Zero for coefficients that are not, and where it is no more than chance.
    """
    slope, bend, square = (torch.zeros_like(theta) for _ in range(3))
    for own, truth, weight, _ in _in_parts(
        codes, targets, weights, None, blocks, part
    )():
        labels = split_labels(truth, weight, blocks)
        errors, bends = [], []
        for head, block, (known, share) in zip(
            split_heads(theta, blocks), blocks, labels, strict=True
        ):
            score = block_scores(head, own, block)
            bend_of = block.kind.second_derivatives(score, block.n_classes)
            bends.append(weighted(bend_of, share, block))
            errors.append(block_residual(score, known, share, block))
        error, squares = torch.cat(errors, dim=1), own.square()
        slope += error.T @ own
        square += error.square_().T @ squares
        bend += torch.cat(bends, dim=1).T @ squares
    (ALONE if part is None else part.ranks).sum_each([slope, bend, square])
    tiny = torch.finfo(bend.dtype).tiny
    pull = (slope.abs() - 3 * square.sqrt()).clamp_min(0) / bend.clamp_min(tiny)
    return torch.where(theta == 0, pull, 0.0)[:, :-1]
