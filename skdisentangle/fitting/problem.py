"""A fit: what it is of, how it is to be done, and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..backbones._finetuned import FineTuned
from ..distributed import ALONE, Ranks
from ..encoders.scalers import Encoder
from ..rows.inputs import InputMoments, forward
from ..rows.targets import label_weights
from ..tasks.blocks import task_scores
from ..tasks.labels import Labels
from ..tasks.task_set import TaskSet

__all__ = ["Fitted", "Problem", "Settings", "encoder_of_columns"]


def encoder_of_columns(encoder: Any) -> Any:
    """The encoder, or what follows the backbone that it is."""
    return encoder.encoder if isinstance(encoder, FineTuned) else encoder


@dataclass(frozen=True)
class Problem:
    """Rows with their labels and weights, read and checked.

    Attributes
    ----------
    X : ndarray, CSR array or LazyRows of shape (n_rows, n_features)
    labels : Labels
    weight : ndarray of shape (n_rows,) or None
        Positive; None if all rows weigh the same.
    ranks : Ranks
        Processes that have the other rows.
    """

    X: Any
    labels: Labels
    weight: NDArray[np.float64] | None = None
    ranks: Ranks = ALONE

    @property
    def n_rows(self) -> int:
        return int(self.X.shape[0])

    def take(self, rows: NDArray[np.intp]) -> Problem:
        """The problem of some of the rows."""
        weight = None if self.weight is None else self.weight[rows]
        return Problem(self.X[rows], self.labels.take(rows), weight, self.ranks)

    def weights(self) -> NDArray[np.float64]:
        """Weights of the rows, ones where none are given."""
        return np.ones(self.n_rows) if self.weight is None else self.weight


@dataclass(frozen=True)
class Settings:
    """How to fit; names as in the estimator, with strengths that are numbers."""

    sparsity: float
    sharing: float
    n_components: Any
    solver: str
    encoder: str | torch.nn.Module | Callable[..., torch.nn.Module]
    hidden_layer_sizes: Sequence[int]
    input_shape: Sequence[int] | None
    scale_inputs: bool
    input_noise: Any
    task_types: str | Sequence[str | None] | Mapping[Any, str | None] | None
    task_weight: ArrayLike | Mapping[Any, float] | None
    class_weight: str | None
    max_iter: Any
    batch_size: Any
    learning_rate_init: float
    tol: float
    n_iter_no_change: int
    early_stopping: bool
    validation_fraction: float
    device: str | torch.device

    @property
    def penalised(self) -> bool:
        """Whether heads are penalised at all."""
        return self.sparsity > 0 or self.sharing > 0

    @classmethod
    def of(cls, estimator: Any, sparsity: float, sharing: float) -> Self:
        """Those of an estimator, at these strengths."""
        given: dict[str, Any] = {
            each.name: getattr(estimator, each.name, None) for each in fields(cls)
        }
        given["encoder"] = encoder_of_columns(estimator.encoder)
        # As given, or as that of images was found.
        given["input_shape"] = getattr(estimator, "input_shape_", estimator.input_shape)
        return cls(**given | {"sparsity": float(sparsity), "sharing": float(sharing)})


@dataclass
class Fitted:
    """What a fit has learned; the attributes of an estimator are made of it.

    Attributes
    ----------
    task_set : TaskSet
    moments : InputMoments
        Of the columns, over the ``n_rows`` rows seen.
    spread : ndarray of shape (n_outputs,)
        Standard deviation of what each output predicts.
    encoder : Encoder
    coef, intercept, usage : ndarray
        As the estimator has them.
    pull : ndarray of shape (n_outputs, n_components) or None
        See :func:`skdisentangle.solvers.exact_heads.pulls_at_zeros`.
    unexplained : float or None
        Share of the variance of a regression task that its head leaves, the median over
        tasks; None without any.
    sparsity, sharing, input_noise, nonlinear_noise : float
        Those of the fit.
    losses : list of float
    scores : list of float or None
    stages : list of tuple (int, str)
        As in :class:`skdisentangle.fitting.training.History`.
    """

    task_set: TaskSet
    moments: InputMoments
    n_rows: int
    spread: NDArray[np.float64]
    encoder: Encoder
    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]
    usage: NDArray[np.float64]
    pull: NDArray[np.float64] | None
    unexplained: float | None
    sparsity: float
    sharing: float
    input_noise: float
    nonlinear_noise: float
    losses: list[float] = field(default_factory=list)
    scores: list[float] | None = None
    stages: list[tuple[int, str]] = field(default_factory=list)

    #: Attributes of an estimator, and what they are here.
    NAMES: ClassVar = {
        "encoder_": "encoder",
        "coef_": "coef",
        "intercept_": "intercept",
        "usage_": "usage",
        "sparsity_": "sparsity",
        "sharing_": "sharing",
        "input_noise_": "input_noise",
        "nonlinear_noise_": "nonlinear_noise",
        "loss_curve_": "losses",
        "validation_scores_": "scores",
        "_stages": "stages",
        "_task_set": "task_set",
        "_moments": "moments",
        "_n_rows": "n_rows",
        "_spread": "spread",
        "_pull": "pull",
        "_unexplained": "unexplained",
    }

    def attributes(self) -> dict[str, Any]:
        """Attributes of an estimator that has been fitted so."""
        found = {name: getattr(self, own) for name, own in self.NAMES.items()}
        return found | {
            "tasks_": self.task_set.tasks,
            "active_components_": np.flatnonzero(self.coef.any(0)),
            "n_iter_": len(self.losses),
        }

    @classmethod
    def of(cls, estimator: Any) -> Self:
        """What an estimator has been fitted to."""
        return cls(**{own: getattr(estimator, name) for name, own in cls.NAMES.items()})

    def over(self, task_set: TaskSet, other: Fitted | None = None) -> Fitted:
        """The same with the heads of these tasks, those that are not here of another fit.

        The encoder is that of this one.
        """
        parts: list[tuple[Fitted, slice]] = []
        for task in task_set.tasks:
            if task.left_out is None:
                here = self.task_set.tasks[task.index].left_out is None
                source = self if here or other is None else other
                parts.append((source, source.task_set.tasks[task.index].outputs))

        def joined(name: str) -> NDArray[np.float64]:
            return np.concatenate([getattr(fit, name)[rows] for fit, rows in parts])

        spreads = [fit.spread[fit.task_set.output_order][rows] for fit, rows in parts]
        spread = np.empty(task_set.n_outputs)
        spread[task_set.output_order] = np.concatenate(spreads)
        return replace(
            self,
            task_set=task_set,
            spread=spread,
            coef=joined("coef"),
            intercept=joined("intercept"),
            pull=None if self.pull is None else joined("pull"),
        )

    @property
    def n_active(self) -> int:
        """Components that some task uses."""
        return int(self.coef.any(0).sum())

    def standardised_heads(
        self,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Coefficients and intercepts for standardised targets, in the order of the solvers."""
        mean, scale = self.task_set.output_units()
        order = np.argsort(self.task_set.output_order)
        coef = (self.coef / scale[:, np.newaxis])[order]
        return coef, ((self.intercept - mean) / scale)[order]

    def raw_scores(self, X: Any, device: torch.device) -> NDArray[np.floating]:
        """Scores of standardised targets, in the order of the solvers."""
        codes = forward(self.encoder, X, device)
        coef, intercept = self.standardised_heads()
        scores: NDArray[np.floating] = codes @ coef.T.astype(codes.dtype)
        return scores + intercept.astype(codes.dtype)

    def score_tasks(
        self, problem: Problem, device: torch.device
    ) -> NDArray[np.float64]:
        """Score of each task, as its type has it; NaN without labels, or if left out."""
        targets, labelled = self.task_set.encode(problem.labels, unseen_ok=True)
        weights = label_weights(labelled, problem.weight, targets, None)
        raw = torch.from_numpy(self.raw_scores(problem.X, device))
        scores = task_scores(
            raw,
            torch.from_numpy(targets).to(raw),
            None if weights is None else torch.from_numpy(weights),
            self.task_set.blocks,
        )
        out = np.full(len(self.task_set.tasks), np.nan)
        out[self.task_set.learned] = scores.numpy()
        return out
