"""Count tasks: how many, by the logarithm of the expected number."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...distributed import ALONE, Ranks
from ..labels import Column
from ..task import Task
from .base import TaskType, share_explained

__all__ = ["Count"]

#: Logarithm of how many times the mean a count is expected to be, at the most, before the
#: exponential goes on as a straight line. At 1 and 2 a fit explains up to 0.01 less of the
#: deviance, and finds the factors no more clearly.
CAP = 3.0

#: Made labels: mean, and how much the logarithm of what is expected varies with the value.
MADE_MEAN, MADE_EFFECT = 3.0, 0.7


class Count(TaskType):
    """Poisson loss of a score ``s``, with the number expected, ``mean(labels) * m(s)``.

    Targets ``t`` are labels as multiples of their mean, and

        loss = e(s) - t s,    e(s) = exp(s)                                  for s <= c,
                              e(s) = exp(c) (1 + (s - c) + (s - c)^2 / 2)    beyond,
        m(s) = e'(s)               = exp(s),    exp(c) (1 + s - c)           beyond,

    Up to ``c = 3`` this is the negative log-likelihood, divided by the mean. Beyond, where more
    than 20 times the mean is expected, the exponential would have an unbounded second
    derivative. It continues as the parabola of the same value, slope and second derivative.
    The loss stays convex, and no second derivative is above ``exp(c)``.
    """

    name = "count"
    place = 10
    curvature = float(np.exp(CAP))
    dispersed = True
    separable = True
    scaled = True

    def task(self, column: Column, index: int, row_weight: NDArray[np.float64]) -> Task:
        present = column.values[~column.missing]
        wrong = _no_count(column, present)
        if wrong is not None:
            raise ValueError(
                f"task_types: task {column.name!r} cannot be 'count': {wrong}."
            )
        lacks = None
        mean = np.nan
        if len(present) == 0:
            lacks = "has no label"
        elif np.ptp(present) == 0:
            lacks, mean = "has one value only", float(present[0])
        else:
            values = present.astype(np.float64)
            mean = float(np.average(values, weights=row_weight[~column.missing]))
            mean, _ = self.units(mean, 1.0)
        return Task(column.name, index, self.name, None, mean=mean, left_out=lacks)

    def units(self, mean: float, spread: float) -> tuple[float, float]:
        return float(np.log(mean)), 1.0

    def encode(
        self,
        task: Task,
        column: Column,
        present: NDArray[Any],
        *,
        unseen_ok: bool = False,
    ) -> NDArray[np.float64]:
        wrong = _no_count(column, present)
        if wrong is not None:
            raise ValueError(
                f"{column.argument}: task {task.name!r} is a count task, but {wrong}."
            )
        targets: NDArray[np.float64] = present.astype(np.float64) / np.exp(task.mean)
        return targets

    def value(self, scores: Tensor, targets: Tensor, n_outputs: int) -> Tensor:
        low, beyond = scores.clamp_max(CAP), (scores - CAP).clamp_min_(0)
        parabola = 1 + beyond + beyond.square() / 2
        return low.exp() * parabola - targets * scores

    def mean(self, scores: Tensor, n_outputs: int) -> Tensor:
        beyond = (scores - CAP).clamp_min_(0)
        return scores.clamp_max(CAP).exp_().mul_(beyond.add_(1))

    def residual_(self, scores: Tensor, targets: Tensor, n_outputs: int) -> None:
        beyond = (scores - CAP).clamp_min_(0).add_(1)
        scores.clamp_max_(CAP).exp_().mul_(beyond).sub_(targets)

    def hessian_product_(
        self, direction: Tensor, scores: Tensor, n_outputs: int
    ) -> None:
        direction.mul_(self.second_derivatives(scores, n_outputs))

    def second_derivatives(self, scores: Tensor, n_outputs: int) -> Tensor:
        return scores.clamp_max(CAP).exp_()

    def squared_error(self, scores: Tensor, targets: Tensor, n_outputs: int) -> Tensor:
        """Half the squared error of twice the square root of the count.

        The root has the same variance for all counts, so a few large ones do not dominate.
        """
        error = self.mean(scores, n_outputs).sqrt_() - targets.sqrt()
        return error.square_().mul_(2)

    def spread(
        self,
        targets: NDArray[np.float64],
        weight: NDArray[np.float64] | None,
        n_classes: int,
        ranks: Ranks = ALONE,
    ) -> NDArray[np.float64]:
        share = np.ones_like(targets) if weight is None else weight
        total = ranks.sum(np.array([share.sum(), share @ targets]))
        mean = total[1] / max(total[0], np.finfo(float).tiny)
        square = ranks.sum(np.array([share @ (targets - mean) ** 2]))
        spread: NDArray[np.float64] = np.sqrt(square / max(total[0], 1e-300))
        return spread

    def predict(self, task: Task, scores: NDArray[np.floating]) -> NDArray[Any]:
        """The number that is expected."""
        own = torch.from_numpy(scores[:, 0] - task.mean)
        expected: NDArray[Any] = self.mean(own, 1).numpy() * np.exp(task.mean)
        return expected.astype(scores.dtype)

    def numbers(self, task: Task) -> dict[str, Any]:
        """Largest score that is a logarithm of the number. Beyond, the number is linear."""
        return {"linear_from": task.mean + CAP}

    def score(
        self,
        scores: Tensor,
        targets: Tensor,
        weights: Tensor,
        n_outputs: int,
        ranks: Ranks = ALONE,
    ) -> Tensor:
        """D2, the share of the Poisson deviance that is explained."""
        best = torch.xlogy(targets, targets) - targets
        expected = self.mean(scores, n_outputs)
        log = scores.clamp_max(CAP) + (scores - CAP).clamp_min_(0).log1p_()
        mean = ranks.sum((weights * targets).sum(0)) / ranks.sum(weights.sum(0))
        lost = best - targets * log + expected
        spread = best - torch.xlogy(targets, mean) + mean
        return share_explained(lost, spread, weights, ranks)

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
        """Poisson numbers, about 3, whose logarithm is expected to follow the value."""
        noisy = value + noise * rng.normal(size=len(value))
        rate = MADE_MEAN * np.exp(MADE_EFFECT * noisy)
        return rng.poisson(rate).astype(np.float64)


def _no_count(column: Column, present: NDArray[Any]) -> str | None:
    """Why labels are no counts; None if they are."""
    if len(present) == 0:
        return None
    if column.categorical:
        return f"{present.tolist()[0]!r} is a class"
    odd = present[(present % 1 != 0) | (present < 0)]
    if len(odd) == 0:
        return None
    what = "is below zero" if odd[0] < 0 else "is not a whole number"
    return f"{odd.tolist()[0]!r} {what}"
