"""Rows of X on their way into torch: scales, batches, chunks; and weights of labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.sparsefuncs import mean_variance_axis
from torch import Tensor

from ..distributed import ALONE, Ranks
from ..encoders.scalers import Encoder, InputScaler
from ..tasks.labels import Labels
from ..tasks.task_set import TaskSet
from .batches import LabelTensors, gather
from .blocks import (
    MAX_CHUNK_ROWS,
    BlockRows,
    LazyRows,
    chunks,
    standardise_into,
)

__all__ = [
    "MANY_LABELS",
    "CompactLabels",
    "CompactTensors",
    "EncodedLabels",
    "InputMoments",
    "SparseRows",
    "encode_labels",
    "forward",
    "has_room",
    "label_weights",
    "output_spread",
    "standardised_rows",
    "unscaled",
]

#: Labels (rows times tasks) beyond which they are held in single precision only.
MANY_LABELS = 2**22

#: Rows of a chunk that goes through an encoder on a CPU, whose caches are small.
MAX_CPU_ROWS = 2048

#: Share of the free memory of a GPU that rows may take.
GPU_SHARE = 1 / 3

#: Variance, the square of the smallest number of single precision, from which on a column
#: is no constant.
LEAST_VARIANCE = float(np.finfo(np.float32).tiny) ** 2


class InputMoments:
    """Weighted means and variances of the columns, over all rows seen so far.

    Batches are merged by the pairwise update of Chan, Golub & LeVeque, "Updating
    formulae and a pairwise algorithm for computing sample variances" (1979).

    Attributes
    ----------
    weight : float
        Sum of the weights.
    mean, var : ndarray of shape (n_features,)
    """

    def __init__(self, n_features: int) -> None:
        self.weight = 0.0
        self.mean = np.zeros(n_features)
        self.var = np.zeros(n_features)

    def _merge(
        self, weight: float, mean: NDArray[np.float64], var: NDArray[np.float64]
    ) -> None:
        total = self.weight + weight
        if total == 0:
            return
        shift = mean - self.mean
        part = weight / total
        self.mean = self.mean + part * shift
        self.var = (1 - part) * self.var + part * var + part * (1 - part) * shift**2
        self.weight = total

    def update(
        self,
        X: Any,
        weight: NDArray[np.float64],
        ranks: Ranks = ALONE,
    ) -> None:
        """Take in rows of X, dense, lazy or CSR, with their weights, of all ranks.

        Raises
        ------
        ValueError
            If a variance leaves the range of numbers.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            self._update(X, weight, ranks)
        beyond = np.flatnonzero(~np.isfinite(self.var))
        if len(beyond):
            raise ValueError(
                f"X: the values of column {beyond[0]} are too large, their variance is not "
                "finite. Divide the column by a number."
            )

    def _update(self, X: Any, weight: NDArray[np.float64], ranks: Ranks) -> None:
        if ranks.size > 1:
            here = InputMoments(X.shape[1])
            here.update(X, weight)
            for other in ranks.gather(here):
                self._merge(other.weight, other.mean, other.var)
            return
        if sparse.issparse(X):
            mean, var = mean_variance_axis(X.astype(np.float64), axis=0, weights=weight)
            self._merge(float(weight.sum()), mean, var)
            return
        for rows in chunks(X):
            part, w = np.asarray(X[rows], dtype=np.float64), weight[rows]
            total = float(w.sum())
            if total > 0:
                mean = w @ part / total
                self._merge(total, mean, w @ (part - mean) ** 2 / total)

    def scaler(
        self, n_rows: int, input_shape: tuple[int, int, int] | None = None
    ) -> InputScaler:
        """Standardisation of the columns, or of the channels of images.

        Parameters
        ----------
        n_rows : int
            Rows seen; the more, the larger the rounding in the variance of a constant
            column can be.
        input_shape : tuple (C, H, W) or None
            With it, all pixels of a channel get the same mean and scale.
        """
        mean, var = self.mean, self.var
        if input_shape is not None:
            pixels = mean.reshape(input_shape[0], -1)
            middle = pixels.mean(1, keepdims=True)
            pooled = (var.reshape(pixels.shape) + (pixels - middle) ** 2).mean(1)
            mean = np.broadcast_to(middle, pixels.shape).ravel()
            var = np.repeat(pooled, pixels.shape[1])
        eps = np.finfo(np.float64).eps
        # Of less than the least variance the scale could not be had in single precision.
        rounding = n_rows * eps * var + (n_rows * mean * eps) ** 2
        constant = var <= np.maximum(rounding, LEAST_VARIANCE)
        scale = np.where(constant, 0.0, 1 / np.sqrt(np.where(constant, 1.0, var)))
        return InputScaler(torch.from_numpy(mean.copy()), torch.from_numpy(scale))


def unscaled(n_features: int) -> InputScaler:
    """Leave the columns as they are."""
    return InputScaler(
        torch.zeros(n_features, dtype=torch.float64),
        torch.ones(n_features, dtype=torch.float64),
    )


class Counts(NamedTuple):
    """How many rows there are, and how many labels of each task.

    The larger of their number and of the sum of their weights: a row of weight 2 is two
    rows, and one of weight 1/2 is still a row.
    """

    rows: float
    labels: NDArray[np.float64]


def _counts(
    there: NDArray[np.bool_] | None,
    weight: NDArray[np.float64] | None,
    n_rows: int,
    n_tasks: int,
    ranks: Ranks = ALONE,
) -> Counts:
    """Counts of rows, of which those of each task are labelled that are there."""
    every = np.ones((n_rows, 1), dtype=bool)
    known = np.hstack([every, every if there is None else there])
    number = known.sum(0, dtype=np.float64)
    total = number if weight is None else weight @ known
    number, total = ranks.sum(number), ranks.sum(total)
    larger = np.maximum(number, total)
    labels = np.broadcast_to(larger[1:], n_tasks) if there is None else larger[1:]
    return Counts(float(larger[0]), labels.copy())


@dataclass(frozen=True)
class EncodedLabels:
    """Labels as arrays; attributes as in :class:`skdisentangle.rows.batches.LabelTensors`.

    ``weight`` are the weights of the rows as they were given.
    """

    targets: NDArray[np.float64]
    weights: NDArray[np.float64] | None
    row_weights: NDArray[np.float64] | None
    weight: NDArray[np.float64] | None = None

    def counts(self, rows: NDArray[np.intp] | slice, ranks: Ranks = ALONE) -> Counts:
        """Numbers of some rows, and of their labels."""
        there = None if self.weights is None else self.weights[rows] > 0
        weight = None if self.weight is None else self.weight[rows]
        n_rows, n_tasks = self.targets[rows].shape
        return _counts(there, weight, n_rows, n_tasks, ranks)

    def tensors(self, rows: NDArray[np.intp] | slice, like: Tensor) -> LabelTensors:
        """Those of some rows, as ``like`` in type and device."""

        def put(values: NDArray[np.float64]) -> Tensor:
            return torch.from_numpy(values[rows]).to(like)

        return LabelTensors(
            put(self.targets),
            None if self.weights is None else put(self.weights),
            None if self.row_weights is None else put(self.row_weights),
        )

    def spread(self, task_set: TaskSet, ranks: Ranks = ALONE) -> NDArray[np.float64]:
        """See :func:`output_spread`."""
        every = range(self.targets.shape[1])
        return output_spread(task_set, every, self.targets, self.weights, ranks)


@dataclass(frozen=True)
class CompactLabels:
    """The same for many rows and tasks, in four bytes a label.

    Attributes
    ----------
    values : ndarray of float32, shape (n_rows, n_tasks)
        Targets; NaN stands for a missing label.
    factors : ndarray of shape (n_tasks, n_classes), or None
        Weight of a label of each class for a row of weight one. A single column if
        classes do not matter. None if all weights are one.
    row_weights : ndarray of shape (n_rows,) or None
    spreads : ndarray of shape (n_outputs,)
        See :func:`output_spread`.
    weight : ndarray of shape (n_rows,) or None
        Weights of the rows as they were given.
    """

    values: NDArray[np.float32]
    factors: NDArray[np.float64] | None
    row_weights: NDArray[np.float64] | None
    spreads: NDArray[np.float64]
    weight: NDArray[np.float64] | None = None

    def counts(self, rows: NDArray[np.intp] | slice, ranks: Ranks = ALONE) -> Counts:
        """Numbers of some rows, and of their labels."""
        weight = None if self.weight is None else self.weight[rows]
        parts = []
        for column in self.values.T:
            there = ~np.isnan(column[rows])[:, np.newaxis]
            parts.append(_counts(there, weight, len(there), 1, ranks))
        return Counts(parts[0].rows, np.concatenate([part.labels for part in parts]))

    @classmethod
    def encode(
        cls,
        task_set: TaskSet,
        labels: Labels,
        weight: NDArray[np.float64] | None,
        balanced: bool,
    ) -> CompactLabels:
        """Encode labels one task at a time."""
        n_classes = task_set.n_classes()
        n_tasks, n_rows = len(n_classes), labels.n_rows
        width = int(n_classes.max()) if balanced else 1
        values = np.empty((n_rows, n_tasks), dtype=np.float32)
        factors = np.ones((n_tasks, max(1, width)))
        share = None if weight is None else weight / weight.mean()
        plain, spreads = True, []
        for task in range(n_tasks):
            target, labelled = task_set.encode_task(task, labels)
            target, labelled = target[:, np.newaxis], labelled[:, np.newaxis]
            this = slice(task, task + 1)
            weights = label_weights(
                labelled, weight, target, n_classes[this] if balanced else None
            )
            if weights is not None:
                plain = False
                # The weight of a label over that of its row is the same in all of a class.
                there = np.flatnonzero(labelled)
                kind = np.zeros(len(there), dtype=np.intp)
                if balanced and n_classes[task] > 0:
                    kind = target[there, 0].astype(np.intp)
                each = 1.0 if share is None else share[there]
                factors[task, kind] = weights[there, 0] / each
                if n_classes[task] == 0:
                    factors[task] = factors[task, 0]
            spreads.append(output_spread(task_set, [task], target, weights))
            values[:, task] = np.where(labelled, target, np.nan)[:, 0]
        return cls(
            values,
            None if plain else factors,
            share,
            np.concatenate(spreads),
            weight,
        )

    def spread(self, task_set: TaskSet, ranks: Ranks = ALONE) -> NDArray[np.float64]:
        """See :func:`output_spread`."""
        return self.spreads

    def tensors(self, rows: NDArray[np.intp] | slice, like: Tensor) -> CompactTensors:
        """Those of some rows, as ``like`` in type and device."""

        def put(values: NDArray[np.floating] | None) -> Tensor | None:
            return None if values is None else torch.from_numpy(values).to(like)

        values = put(self.values)
        assert values is not None
        chosen = None
        if not isinstance(rows, slice):
            chosen = torch.from_numpy(rows).to(like.device)
        return CompactTensors(values, put(self.factors), put(self.row_weights), chosen)


@dataclass(frozen=True)
class CompactTensors:
    """Labels as in :class:`CompactLabels`; targets and weights are made when asked for.

    ``chosen`` are the rows that are meant, None for all.
    """

    values: Tensor
    factors: Tensor | None
    all_row_weights: Tensor | None
    chosen: Tensor | None

    @property
    def shape(self) -> tuple[int, ...]:
        n_rows = len(self.values) if self.chosen is None else len(self.chosen)
        return n_rows, self.values.shape[1]

    @property
    def targets(self) -> _MadeTargets:
        return _MadeTargets(self)

    @property
    def weights(self) -> _MadeWeights | None:
        return None if self.factors is None else _MadeWeights(self)

    @property
    def row_weights(self) -> Tensor | None:
        every = self.all_row_weights
        return every if every is None or self.chosen is None else every[self.chosen]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Tensor | slice) -> LabelTensors:
        every, weights = self.all_row_weights, self.weights
        return LabelTensors(
            self.targets[index],
            None if weights is None else weights[index],
            None if every is None else every[self.which(index)],
        )

    def which(self, index: Tensor | slice) -> Tensor | slice:
        """Rows of ``values``."""
        return index if self.chosen is None else self.chosen[index]


class _MadeTargets:
    def __init__(self, labels: CompactTensors) -> None:
        self._labels = labels
        self.shape = labels.shape
        self.device = labels.values.device

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        part = gather(self._labels.values, self._labels.which(index))
        return part if self._labels.factors is None else part.nan_to_num(nan=0.0)


class _MadeWeights:
    def __init__(self, labels: CompactTensors) -> None:
        self._labels = labels
        self.shape = labels.shape
        self.device = labels.values.device

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        rows, factors = self._labels.which(index), self._labels.factors
        assert factors is not None
        part = gather(self._labels.values, rows)
        weights = (~part.isnan()).to(part)
        if factors.shape[1] == 1:
            weights *= factors[:, 0]
        else:
            # Of a task without classes all factors are the same.
            kind = part.nan_to_num(nan=0.0).long().clamp_(0, factors.shape[1] - 1)
            task = torch.arange(len(factors), device=part.device)
            weights *= factors[task, kind]
        if self._labels.all_row_weights is not None:
            weights *= self._labels.all_row_weights[rows].unsqueeze(1)
        return weights


def encode_labels(
    task_set: TaskSet,
    labels: Labels,
    weight: NDArray[np.float64] | None,
    balanced: bool,
    ranks: Ranks = ALONE,
) -> EncodedLabels | CompactLabels:
    """Targets and weights of the learned tasks, compact if they are many.

    Where several ranks have rows they are not, as each would have to know of the others'.

    Parameters
    ----------
    task_set : TaskSet
    labels : Labels
    weight : ndarray of shape (n_rows,) or None
    balanced : bool
        Whether the classes of a task weigh the same.
    """
    if ranks.size == 1 and labels.n_rows * len(task_set.learned) > MANY_LABELS:
        task_set.check(labels)
        return CompactLabels.encode(task_set, labels, weight, balanced)
    targets, labelled = task_set.encode(labels)
    weights = label_weights(
        labelled, weight, targets, task_set.n_classes() if balanced else None, ranks
    )
    return EncodedLabels(
        targets,
        weights,
        None if weight is None else weight / ranks.mean(weight),
        weight,
    )


class SparseRows:
    """Rows of a CSR matrix, made dense and standardised batch by batch."""

    def __init__(self, X: sparse.csr_array, inputs: InputScaler, like: Tensor) -> None:
        self.shape = X.shape
        self._X = X
        self._inputs = inputs
        self._like = like

    def __len__(self) -> int:
        return int(self._X.shape[0])

    def __getitem__(self, index: Tensor) -> Tensor:
        out = self._like.new_empty(len(index), self.shape[1])
        standardise_into(out, self._X[index.cpu().numpy()], self._inputs)
        return out


def standardised_rows(
    X: NDArray[np.floating] | sparse.csr_array | LazyRows,
    inputs: InputScaler,
    like: Tensor,
    which: slice | NDArray[np.intp] = slice(None),
) -> Tensor | SparseRows | BlockRows:
    """Rows of X, or those given, standardised in double precision, as ``like`` in type and device.

    Dense rows are held in memory, that of the device; sparse and lazy rows are made dense
    and read batch by batch. Lazy rows are held, too, if they are few, or there is a GPU
    with room for them.
    """
    if sparse.issparse(X):
        return SparseRows(X[which], inputs, like)
    if isinstance(X, LazyRows):
        X, which = X[which], slice(None)
        if not X.fits_buffer and not has_room(like, X.shape):
            return BlockRows(X, inputs, like)
    n_rows = X.shape[0] if isinstance(which, slice) else len(which)
    out = like.new_empty(n_rows, X.shape[1])
    standardise_into(out, X, inputs, which)
    return out


def has_room(like: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether there is room on a GPU for a tensor of this shape, and for the fit beside it."""
    if not like.is_cuda:
        return False
    free, _ = torch.cuda.mem_get_info(like.device)
    return math.prod(shape) * like.element_size() <= GPU_SHARE * free


def label_weights(
    labelled: NDArray[np.bool_],
    sample_weight: NDArray[np.float64] | None,
    targets: NDArray[np.float64],
    n_classes: NDArray[np.intp] | None,
    ranks: Ranks = ALONE,
) -> NDArray[np.float64] | None:
    """Weight of each row for each task, of mean one over the rows.

    Parameters
    ----------
    labelled : ndarray of bool, shape (n_rows, n_tasks)
    sample_weight : ndarray of shape (n_rows,) or None
    targets : ndarray of shape (n_rows, n_tasks)
        Class indices, for the tasks with classes.
    n_classes : ndarray of shape (n_tasks,) or None
        With it, the classes of a task are balanced: each weighs ``1 / n_classes`` of
        the task. Zero stands for a regression task.
    ranks : Ranks, optional
        Processes that have the other rows.

    Returns
    -------
    ndarray of shape (n_rows, n_tasks), or None
        None if all weights are one.
    """
    gaps = ranks.any(not labelled.all())
    if sample_weight is None and n_classes is None and not gaps:
        return None
    weights = labelled.astype(np.float64)
    if sample_weight is not None:
        weights *= sample_weight[:, np.newaxis]
    if n_classes is not None:
        for task in np.flatnonzero(n_classes):
            column = weights[:, task]
            index = targets[:, task].astype(np.intp)
            total = ranks.sum(np.bincount(index, column, minlength=n_classes[task]))
            column /= np.where(total > 0, total, 1.0)[index]
    mean = ranks.mean(weights)
    return weights / np.where(mean > 0, mean, 1.0)


def output_spread(
    task_set: TaskSet,
    tasks: Sequence[int] | range,
    targets: NDArray[np.float64],
    weights: NDArray[np.float64] | None,
    ranks: Ranks = ALONE,
) -> NDArray[np.float64]:
    """Standard deviation of what each output predicts, as the types of tasks have it.

    Parameters
    ----------
    task_set : TaskSet
    tasks : sequence of int
        Which learned tasks are meant.
    targets, weights : ndarray of shape (n_rows, len(tasks))
        Theirs; weights are of mean one over the rows, None for ones.
    ranks : Ranks, optional
        Processes that have the other rows.

    Returns
    -------
    ndarray of shape (n_outputs,)
    """
    n_classes = task_set.n_classes()
    parts = [
        task_set.kind(number).spread(
            targets[:, column],
            None if weights is None else weights[:, column],
            int(n_classes[number]),
            ranks,
        )
        for column, number in enumerate(tasks)
    ]
    return np.concatenate(parts)


def forward(
    encoder: Encoder,
    X: NDArray[np.floating] | sparse.csr_array | LazyRows,
    device: torch.device,
) -> NDArray[np.floating]:
    """Codes of X, chunk by chunk, computed in the precision of X.

    The encoder is not changed: a copy of its parameters is cast and moved. Several
    threads may use one encoder at once.

    Parameters
    ----------
    encoder : Encoder
    X : ndarray, LazyRows or CSR matrix of shape (n_rows, n_features)
    device : torch.device

    Returns
    -------
    ndarray of shape (n_rows, n_components), of the dtype of X

    Raises
    ------
    ValueError
        If a code is not finite.
    """
    dtype = torch.float32 if X.dtype == np.float32 else torch.float64
    out = np.empty((X.shape[0], len(encoder.components.sign)), dtype=X.dtype)
    max_rows = MAX_CPU_ROWS if device.type == "cpu" else MAX_CHUNK_ROWS
    with torch.no_grad():
        codes = encoder.cast(device, dtype)
        for rows in chunks(X, max_rows):
            part: Any = X[rows]
            dense = part.toarray() if sparse.issparse(part) else part
            # torch wants memory that it may write to, in positive strides.
            values = torch.from_numpy(np.require(dense, requirements=["C", "W"]))
            out[rows] = codes(values.to(device)).cpu().numpy()
            _check_codes(out[rows], rows.start)
    return out


def _check_codes(codes: NDArray[np.floating], first: int) -> None:
    finite = np.isfinite(codes)
    if not finite.all():
        wrong = int(np.argmin(finite.all(axis=1)))
        raise ValueError(
            f"X: the components of row {first + wrong} are not finite; its values are "
            f"too large for this encoder in {codes.dtype}, or those of the fit were of "
            "another scale."
        )
