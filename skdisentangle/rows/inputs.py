"""Rows of X on their way into torch: scales, batches, chunks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.sparsefuncs import mean_variance_axis
from torch import Tensor

from ..distributed import ALONE, Ranks
from ..encoders.scalers import Encoder, InputScaler
from .blocks import (
    MAX_CHUNK_ROWS,
    BlockRows,
    LazyRows,
    chunks,
    standardise_into,
)

__all__ = [
    "InputMoments",
    "SparseRows",
    "forward",
    "has_room",
    "standardised_rows",
    "unscaled",
]

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
                f"X: the values of column {beyond[0]} are too large: their variance is not "
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
            f"X: the components of row {first + wrong} are not finite. Its values are too "
            f"large for this encoder in {codes.dtype}, or the training rows had another "
            "scale."
        )
