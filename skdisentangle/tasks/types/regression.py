"""Regression tasks: measurements, by squared error."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...distributed import ALONE, Ranks
from ..labels import Column
from ..task import Task
from .base import TaskType, r2

__all__ = ["Regression"]

#: Numbers with more distinct values than this are taken for measurements.
MAX_INFERRED_CLASSES = 20

#: Labels beyond it are refused: what is predicted would leave the range.
LARGEST_LABEL = 1e300


class Regression(TaskType):
    """Half the squared error of the standardised label, ``(score - target)^2 / 2``."""

    name = "regression"
    curvature = 1.0
    quadratic = True
    dispersed = True
    scaled = True

    def claims(self, column: Column, distinct: NDArray[Any]) -> bool:
        return not column.categorical and (
            len(distinct) > MAX_INFERRED_CLASSES or bool(np.any(distinct % 1 != 0))
        )

    def task(self, column: Column, index: int, row_weight: NDArray[np.float64]) -> Task:
        present = column.values[~column.missing]
        if column.categorical and len(present):
            raise ValueError(
                f"task_types: task {column.name!r} cannot be 'regression', its labels "
                f"are classes such as {present.tolist()[0]!r}."
            )

        def found(mean: float, scale: float, left_out: str | None = None) -> Task:
            return Task(
                *(column.name, index, self.name, None),
                mean=mean,
                scale=scale,
                left_out=left_out,
            )

        if len(present) == 0:
            return found(np.nan, 1.0, "has no label")
        values = present.astype(np.float64)
        weight = row_weight[~column.missing]
        # Scaled first, so that no square of a huge or tiny target leaves the range.
        unit = float(np.abs(values).max()) or 1.0
        if unit > LARGEST_LABEL:
            raise ValueError(
                f"{column.argument}: task {column.name!r} has labels too large to be "
                f"predicted, of {unit:.3g}. Divide them by a number."
            )
        mean = float(np.average(values / unit, weights=weight)) * unit
        spread = np.average(((values - mean) / unit) ** 2, weights=weight)
        scale = float(np.sqrt(spread)) * unit
        if scale <= 1e-12 * unit:
            varies = np.ptp(values) > 0
            reason = (
                "varies too little for its size" if varies else "has one value only"
            )
            return found(mean, 1.0, reason)
        return found(mean, scale)

    def encode(
        self,
        task: Task,
        column: Column,
        present: NDArray[Any],
        *,
        unseen_ok: bool = False,
    ) -> NDArray[np.float64]:
        if column.categorical and len(present):
            raise ValueError(
                f"{column.argument}: task {task.name!r} is a regression task; got the "
                f"label {present.tolist()[0]!r}."
            )
        with np.errstate(over="ignore"):
            targets: NDArray[np.float64] = (
                present.astype(np.float64) - task.mean
            ) / task.scale
        if not np.isfinite(targets).all():
            raise ValueError(
                f"{column.argument}: task {task.name!r} has labels too large for those "
                f"of the fit, which vary by {task.scale:.3g}."
            )
        return targets

    def value(self, scores: Tensor, targets: Tensor, n_outputs: int) -> Tensor:
        return (scores - targets).square_().mul_(0.5)

    def mean(self, scores: Tensor, n_outputs: int) -> Tensor:
        return scores

    def residual_(self, scores: Tensor, targets: Tensor, n_outputs: int) -> None:
        scores.sub_(targets)

    def hessian_product_(
        self, direction: Tensor, scores: Tensor, n_outputs: int
    ) -> None:
        pass  # the Hessian is one

    def second_derivatives(self, scores: Tensor, n_outputs: int) -> Tensor:
        return torch.ones_like(scores)

    def spread(
        self,
        targets: NDArray[np.float64],
        weight: NDArray[np.float64] | None,
        n_classes: int,
        ranks: Ranks = ALONE,
    ) -> NDArray[np.float64]:
        return np.ones(1)

    def predict(self, task: Task, scores: NDArray[np.floating]) -> NDArray[Any]:
        return scores[:, 0]

    def score(
        self,
        scores: Tensor,
        targets: Tensor,
        weights: Tensor,
        n_outputs: int,
        ranks: Ranks = ALONE,
    ) -> Tensor:
        """R2."""
        return r2(scores, targets, weights, ranks)

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
        return value + noise * rng.normal(size=len(value))
