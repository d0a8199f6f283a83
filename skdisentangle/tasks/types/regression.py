"""Regression tasks: measurements, by squared error."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...distributed import ALONE, Ranks
from ..labels import Column, beyond_floats
from ..task import Task
from .base import TaskType, r2

__all__ = ["Regression"]

#: Numbers are taken for classes if there are at most so many different ones, with so many
#: rows for each on average. A fold of 4/5 of 10 rows a class has 8.
MOST_CODES, ROWS_PER_CODE = 10, 8

#: Rows of the largest code: at least so many, and this share of the average. Counts thin
#: out towards their largest, whatever the number of rows; classes mostly do not.
ROWS_OF_LAST, SHARE_OF_LAST = 5, 0.1

#: Labels beyond it are refused: what is predicted would leave the range.
LARGEST_LABEL = 1e300


def are_codes(distinct: NDArray[Any], counts: NDArray[np.float64]) -> bool:
    """Whether numbers look like codes of classes rather than measurements.

    They do if they are whole and

    - one value, or two of which either repeats, or which are 0 and 1 or the like; or
    - *few and small*: up to ten values that run from -1, 0 or 1, with at most one gap, such
      as 0, 1, 3, or that floats cannot distinguish, such as ids of 18 digits; and
    - *of many rows*: eight rows per value on average, and the largest value is not rare.
      Whole weights count as numbers of rows, because a row of weight two equals two rows.

    Years, ages and the like are never codes, however few rows there are. The rule looks at
    the values, which hardly depend on the fold, unlike the number of different values.
    Counts, such as numbers of children, have the values of codes, but their large values are
    rare: the largest count of a sample has one or two rows in a hundred rows or in a million,
    but the last class has its share. Of samples of 100 to 10,000 Poisson counts of mean 1 to
    3, 4% are taken for classes, and 2% change their type with 4/5 of the rows. By the average
    alone 82% would be taken for classes. Of three to ten equally frequent classes all are
    recognised, of unequal ones 97%. At half or twice a number of rows or the share, these
    numbers change by at most seven points.

    Parameters
    ----------
    distinct : ndarray
        Sorted.
    counts : ndarray
        Rows of each.
    """
    n = len(distinct)
    if np.any(distinct % 1 != 0):
        return False
    if n < 2:
        return True
    codes = distinct[0] in (-1, 0, 1) and distinct[-1] - distinct[0] <= n
    codes = codes or beyond_floats(distinct)
    if n == 2:
        return bool(codes or counts.min() > 1)
    average = counts.mean()
    return bool(
        codes
        and n <= MOST_CODES
        and average >= ROWS_PER_CODE
        and counts[-1] >= max(ROWS_OF_LAST, SHARE_OF_LAST * average)
    )


class Regression(TaskType):
    """Half the squared error of the standardised label, ``(score - target)^2 / 2``."""

    name = "regression"
    place = 0
    curvature = 1.0
    quadratic = True
    dispersed = True
    scaled = True

    def claims(self, column: Column, distinct: NDArray[Any]) -> bool:
        counts = column.distinct().counts
        assert counts is not None
        return not column.categorical and not are_codes(distinct, counts)

    def task(self, column: Column, index: int, row_weight: NDArray[np.float64]) -> Task:
        present = column.values[~column.missing]
        if column.categorical and len(present):
            raise ValueError(
                f"task_types: task {column.name!r} cannot be 'regression': its labels "
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
                f"{column.argument}: task {column.name!r} has labels too large to predict, "
                f"of {unit:.3g}. Divide them by a number."
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
                f"{column.argument}: task {task.name!r} has labels too large compared with "
                f"those of the fit, which vary by {task.scale:.3g}."
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
