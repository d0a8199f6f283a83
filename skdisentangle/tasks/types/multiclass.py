"""Multiclass tasks: one of several classes, by a logit for each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor

from ...distributed import ALONE, Ranks
from ..labels import Column
from ..task import Task
from ._classes import ClassType, cut_into_classes
from .base import accuracy, by_output

__all__ = ["Multiclass"]


class Multiclass(ClassType):
    """Cross-entropy of a logit for each class.

    The Hessian ``diag(p) - p p^T`` has no eigenvalue above 1/2 (Böhning, "Multinomial
    logistic regression algorithm", Ann. Inst. Statist. Math. 44, 1992).
    """

    name = "multiclass"
    place = 40
    curvature = 0.5

    def claims(self, column: Column, distinct: NDArray[Any]) -> bool:
        return True

    def n_outputs(self, task: Task) -> int:
        assert task.classes is not None
        return len(task.classes)

    def value(self, scores: Tensor, targets: Tensor, n_outputs: int) -> Tensor:
        logits = by_output(scores, n_outputs)
        picked = logits.gather(1, targets.T.long().unsqueeze(1)).squeeze(1)
        return (logits.logsumexp(1) - picked).T

    def mean(self, scores: Tensor, n_outputs: int) -> Tensor:
        chances: Tensor = by_output(scores, n_outputs).softmax(1).flatten(0, 1).T
        return chances

    def statistic(self, targets: Tensor, n_outputs: int) -> Tensor:
        """Zeros and ones, a column a class."""
        n_rows, n_tasks = targets.shape
        ones = targets.new_zeros(n_tasks, n_outputs, n_rows)
        ones.scatter_(1, targets.T.long().unsqueeze(1), 1.0)
        return ones.flatten(0, 1).T

    def residual_(self, scores: Tensor, targets: Tensor, n_outputs: int) -> None:
        logits = by_output(scores, n_outputs)
        chances = logits.softmax(1)
        index = targets.T.long().unsqueeze(1)
        chances.scatter_add_(1, index, chances.new_full((), -1.0).expand_as(index))
        logits.copy_(chances)

    def hessian_product_(
        self, direction: Tensor, scores: Tensor, n_outputs: int
    ) -> None:
        chances = by_output(scores, n_outputs).softmax(1)
        change = by_output(direction, n_outputs)
        mean = (chances * change).sum(1, keepdim=True)
        change.sub_(mean).mul_(chances)

    def coupling(self, scores: Tensor, n_outputs: int) -> Tensor | None:
        return self.mean(scores, n_outputs)

    def second_derivatives(self, scores: Tensor, n_outputs: int) -> Tensor:
        expected = self.mean(scores, n_outputs)
        return self.variance(expected, expected)

    def variance(self, mean: Tensor, told: Tensor) -> Tensor:
        return mean - mean.square()

    def predict(self, task: Task, scores: NDArray[np.floating]) -> NDArray[Any]:
        assert task.classes is not None
        labels: NDArray[Any] = task.classes[scores.argmax(1)]
        return labels

    def predict_proba(
        self, task: Task, scores: NDArray[np.floating]
    ) -> NDArray[np.floating] | None:
        chances: NDArray[np.floating] = softmax(scores, axis=1)
        return chances

    def score(
        self,
        scores: Tensor,
        targets: Tensor,
        weights: Tensor,
        n_outputs: int,
        ranks: Ranks = ALONE,
    ) -> Tensor:
        """Accuracy."""
        logits = scores.unflatten(1, (-1, n_outputs))
        return accuracy(logits.argmax(2).to(targets), targets, weights, ranks)

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
        """Equally frequent classes, cut from low to high."""
        noisy = value + noise * rng.normal(size=len(value))
        return cut_into_classes(noisy, n_classes)
