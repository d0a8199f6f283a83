"""Rows of X on their way into torch: scales, batches, chunks; and weights of labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.sparsefuncs import mean_variance_axis
from torch import Tensor

from .distributed import ALONE, Ranks
from .encoders import Encoder, InputScaler
from .training import LabelTensors

__all__ = [
    "EncodedLabels",
    "InputMoments",
    "SparseRows",
    "forward",
    "label_weights",
    "output_spread",
    "standardised_rows",
    "unscaled",
]

#: Values of X that a chunk holds at the most, so that memory does not grow with n.
CHUNK_VALUES = 2**21
MAX_CHUNK_ROWS = 4096

#: The same where they go through an encoder on a CPU, whose caches are small.
MAX_CPU_ROWS = 1024

#: A class rarer than this allows (about 1 in 100) is penalised as if it were not.
MIN_SPREAD = 0.1


def _chunks(
    n_rows: int, n_features: int, max_rows: int = MAX_CHUNK_ROWS
) -> Iterator[slice]:
    size = int(np.clip(CHUNK_VALUES // max(1, n_features), 16, max_rows))
    for start in range(0, n_rows, size):
        yield slice(start, min(n_rows, start + size))


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
        X: NDArray[np.floating],
        weight: NDArray[np.float64],
        ranks: Ranks = ALONE,
    ) -> None:
        """Take in rows of X, dense or CSR, with their weights, of all ranks."""
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
        for rows in _chunks(*X.shape):
            part, w = X[rows].astype(np.float64), weight[rows]
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
        constant = var <= n_rows * eps * var + (n_rows * mean * eps) ** 2
        scale = np.where(constant, 0.0, 1 / np.sqrt(np.where(constant, 1.0, var)))
        return InputScaler(torch.from_numpy(mean.copy()), torch.from_numpy(scale))


def unscaled(n_features: int) -> InputScaler:
    """Leave the columns as they are."""
    return InputScaler(
        torch.zeros(n_features, dtype=torch.float64),
        torch.ones(n_features, dtype=torch.float64),
    )


@dataclass(frozen=True)
class EncodedLabels:
    """Labels as arrays; attributes as in :class:`skdisentangle.training.LabelTensors`."""

    targets: NDArray[np.float64]
    weights: NDArray[np.float64] | None
    row_weights: NDArray[np.float64] | None

    def tensors(self, rows: NDArray[np.intp] | slice, like: Tensor) -> LabelTensors:
        """Those of some rows, as ``like`` in type and device."""

        def put(values: NDArray[np.float64]) -> Tensor:
            return torch.from_numpy(values[rows]).to(like)

        return LabelTensors(
            put(self.targets),
            None if self.weights is None else put(self.weights),
            None if self.row_weights is None else put(self.row_weights),
        )


class SparseRows:
    """Rows of a CSR matrix, made dense and standardised batch by batch."""

    def __init__(self, X: sparse.csr_array, inputs: InputScaler, like: Tensor) -> None:
        self._X = X
        self._inputs = inputs
        self._like = like

    def __len__(self) -> int:
        return int(self._X.shape[0])

    def __getitem__(self, index: Tensor) -> Tensor:
        rows = torch.from_numpy(self._X[index.cpu().numpy()].toarray())
        out: Tensor = self._inputs(rows.double()).to(self._like)
        return out


def standardised_rows(
    X: NDArray[np.floating] | sparse.csr_array, inputs: InputScaler, like: Tensor
) -> Tensor | SparseRows:
    """Rows of X, standardised in double precision, as ``like`` in type and device.

    Dense rows are held in memory, which is moved to the device once; sparse rows are
    made dense batch by batch.
    """
    if sparse.issparse(X):
        return SparseRows(X, inputs, like)
    out = torch.empty(X.shape, dtype=like.dtype)
    for rows in _chunks(*X.shape):
        part = torch.from_numpy(X[rows].astype(np.float64))
        out[rows] = inputs(part).to(like.dtype)
    return out.to(like.device)


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
    targets: NDArray[np.float64],
    weights: NDArray[np.float64] | None,
    n_classes: NDArray[np.intp],
    multiclass: NDArray[np.bool_],
    ranks: Ranks = ALONE,
) -> NDArray[np.float64]:
    """Standard deviation of what each output predicts.

    Parameters
    ----------
    targets : ndarray of shape (n_rows, n_tasks)
        Standardised values, or class indices.
    weights : ndarray of shape (n_rows, n_tasks) or None
        Of mean one over the rows.
    n_classes : ndarray of shape (n_tasks,)
        Zero stands for a regression task.
    multiclass : ndarray of bool, shape (n_tasks,)
        Whether the task has an output for each class.
    ranks : Ranks, optional
        Processes that have the other rows.

    Returns
    -------
    ndarray of shape (n_outputs,)
        1 for a regression task, ``sqrt(p (1 - p))`` for a class of frequency p, but at
        least ``MIN_SPREAD``.
    """
    parts = []
    for task, count in enumerate(n_classes):
        if count == 0:
            parts.append(np.ones(1))
            continue
        weight = None if weights is None else weights[:, task]
        index = targets[:, task].astype(np.intp)
        total = ranks.sum(np.bincount(index, weight, minlength=count))
        # A class task without a label yet, in a first batch: as if all were as frequent.
        frequency = total / total.sum() if total.any() else np.full(count, 1 / count)
        spread = np.sqrt(frequency * (1 - frequency)).clip(MIN_SPREAD)
        parts.append(spread if multiclass[task] else spread[1:])
    return np.concatenate(parts)


def forward(
    encoder: Encoder,
    X: NDArray[np.floating] | sparse.csr_array,
    device: torch.device,
) -> NDArray[np.floating]:
    """Codes of X, chunk by chunk, computed in the precision of X.

    The encoder is not changed: a copy of its parameters is cast and moved. Several
    threads may use one encoder at once.

    Parameters
    ----------
    encoder : Encoder
    X : ndarray or CSR matrix of shape (n_rows, n_features)
    device : torch.device

    Returns
    -------
    ndarray of shape (n_rows, n_components), of the dtype of X
    """
    dtype = torch.float32 if X.dtype == np.float32 else torch.float64
    out = np.empty((X.shape[0], len(encoder.components.sign)), dtype=X.dtype)
    max_rows = MAX_CPU_ROWS if device.type == "cpu" else MAX_CHUNK_ROWS
    with torch.no_grad():
        codes = encoder.cast(device, dtype)
        for rows in _chunks(X.shape[0], X.shape[1], max_rows):
            part: Any = X[rows]
            dense = part.toarray() if sparse.issparse(part) else part
            # torch wants memory that it may write to, in positive strides.
            values = torch.from_numpy(np.require(dense, requirements=["C", "W"]))
            out[rows] = codes(values.to(device)).cpu().numpy()
    return out
