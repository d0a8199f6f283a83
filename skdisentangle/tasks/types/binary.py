"""Binary tasks: yes or no, by one logit."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from ...distributed import ALONE, Ranks
from ..labels import Column
from ..task import Task
from ._classes import ClassType
from .base import accuracy

__all__ = ["Binary"]

#: Made labels of ``link="logistic"``: log-odds a standard deviation of the value.
LOG_ODDS = 4.0


class Binary(ClassType):
    """Cross-entropy of one logit, ``log(1 + exp(score)) - target * score``."""

    name = "binary"
    place = 20
    curvature = 0.25
    most_classes = 2

    def claims(self, column: Column, distinct: NDArray[Any]) -> bool:
        return len(distinct) <= 2

    def value(self, scores: Tensor, targets: Tensor, n_outputs: int) -> Tensor:
        return F.softplus(scores).sub_(targets * scores)

    def mean(self, scores: Tensor, n_outputs: int) -> Tensor:
        return scores.sigmoid()

    def residual_(self, scores: Tensor, targets: Tensor, n_outputs: int) -> None:
        scores.sigmoid_().sub_(targets)

    def hessian_product_(
        self, direction: Tensor, scores: Tensor, n_outputs: int
    ) -> None:
        direction.mul_(self.second_derivatives(scores, n_outputs))

    def second_derivatives(self, scores: Tensor, n_outputs: int) -> Tensor:
        expected = self.mean(scores, n_outputs)
        return self.variance(expected, expected)

    def variance(self, mean: Tensor, told: Tensor) -> Tensor:
        return mean - mean.square()

    def squared_error(self, scores: Tensor, targets: Tensor, n_outputs: int) -> Tensor:
        """Half the Brier score of the two classes."""
        return 2 * super().squared_error(scores, targets, n_outputs)

    def spread(
        self,
        targets: NDArray[np.float64],
        weight: NDArray[np.float64] | None,
        n_classes: int,
        ranks: Ranks = ALONE,
    ) -> NDArray[np.float64]:
        return super().spread(targets, weight, n_classes, ranks)[1:]

    def predict(self, task: Task, scores: NDArray[np.floating]) -> NDArray[Any]:
        assert task.classes is not None
        return task.classes[(scores[:, 0] > 0).astype(np.intp)]

    def predict_proba(
        self, task: Task, scores: NDArray[np.floating]
    ) -> NDArray[np.floating] | None:
        positive = expit(scores[:, 0])
        return np.column_stack([1 - positive, positive])

    def score(
        self,
        scores: Tensor,
        targets: Tensor,
        weights: Tensor,
        n_outputs: int,
        ranks: Ranks = ALONE,
    ) -> Tensor:
        """Accuracy."""
        return accuracy((scores > 0).to(targets), targets, weights, ranks)

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
        if link == "logistic":
            chance = expit(LOG_ODDS * (value - shift))
            labels: NDArray[np.bool_] = rng.random(len(value)) < chance
        else:
            labels = value + noise * rng.normal(size=len(value)) > shift
        return labels.astype(np.float64)

    def disturb(
        self,
        rng: np.random.Generator,
        labels: NDArray[np.float64],
        rows: NDArray[np.intp],
    ) -> None:
        labels[rows] = 1 - labels[rows]
