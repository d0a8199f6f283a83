"""Read rows that do not fit in memory, one slice at a time, in the order of the disk.

The data is never copied as a whole. :class:`LazyRows` wraps an array of the user, such as a
memory map, an h5py or zarr array, or a large array. It reads, converts and checks rows when
they are needed. :class:`BlockRows` turns them into batches for torch.

A pass over shuffled rows would read the disk at random places. Here rows come in *blocks* of
neighbours, each read in one go. Blocks are drawn at random into a buffer until it is full.
The rows in it are shuffled and cut into batches, and then the buffer is filled again. A batch
therefore mixes rows from about thirty places, different ones in each pass.

Data that fits into the buffer is held in memory as a whole. The choice depends on the shape
only, so the same rows give the same fit from any container, up to rounding. The exception are
arrays that are stored in chunks: their blocks consist of whole chunks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from scipy import sparse
from torch import Tensor

from ..encoders.scalers import InputScaler
from .batches import n_batches, split_batches

__all__ = [
    "BLOCK_VALUES",
    "BUFFER_VALUES",
    "BlockRows",
    "MAX_CHUNK_ROWS",
    "LazyRows",
    "chunks",
    "lazy_if_large",
    "standardise_into",
]

#: Values of X (64 MiB in single precision) that the buffer holds. An array of no more is
#: held in memory.
BUFFER_VALUES = 2**24

#: Values of a block, which is read at a stretch: long enough that finding its place on a
#: disk takes less time than reading it.
BLOCK_VALUES = 2**19

#: Batches that the buffer holds at the least, where rows are long.
MIN_BATCHES = 4

#: Bytes that are rather read than jumped over.
JUMP_BYTES = 2**20

#: Values of X that a chunk holds at the most, so that memory does not grow with n.
CHUNK_VALUES = 2**21
MAX_CHUNK_ROWS = 4096


def chunks(X: Any, max_rows: int = MAX_CHUNK_ROWS) -> Iterator[slice]:
    """Cut the rows of X into pieces of a fixed size in memory."""
    n_rows, n_features = X.shape
    size = int(np.clip(CHUNK_VALUES // max(1, n_features), 16, max_rows))
    if isinstance(X, LazyRows):
        size = X.whole_chunks(size)
    for start in range(0, n_rows, size):
        yield slice(start, min(n_rows, start + size))


def lazy_if_large(X: Any) -> Any:
    """Rows of a large array that gives them by slices; anything else as it is.

    Numpy's arrays and memory maps give rows by slices, and so does whatever else has a
    shape, a numpy dtype of numbers and slices, such as the arrays of h5py, zarr and
    dask. One of the latter that is small is read.

    Parameters
    ----------
    X : object

    Returns
    -------
    LazyRows, ndarray or object
    """
    if isinstance(X, np.ndarray):
        sliced = X.dtype.kind in "fiub"
    else:
        # Other libraries' arrays in memory, which know DLPack, are scikit-learn's affair.
        dtype, shape = getattr(X, "dtype", None), getattr(X, "shape", ())
        sliced = (
            isinstance(dtype, np.dtype)
            and dtype.kind in "fiub"
            and isinstance(shape, tuple)
            and all(isinstance(size, Integral) for size in shape)
            and hasattr(X, "__getitem__")
            and not hasattr(X, "__dlpack__")
            and not sparse.issparse(X)
        )
    if not sliced or len(X.shape) < 2:
        return X
    if len(X.shape) > 2:
        # Too many, which the first row is enough to say.
        return X if isinstance(X, np.ndarray) else np.asarray(X[:1])
    if math.prod(X.shape) > BUFFER_VALUES:
        return X if isinstance(X, LazyRows) else LazyRows(X)
    return X if isinstance(X, np.ndarray) else np.asarray(LazyRows(X))


class LazyRows:
    """Rows of an array, as floating-point numbers, read when numpy asks for them.

    Slices and indices give other rows of the same array, still unread;
    ``numpy.asarray`` reads.

    Parameters
    ----------
    array : array-like of shape (n_rows, n_features)
        See :func:`lazy_if_large`.
    rows : range or ndarray of int, optional
        Those that are meant; all by default.

    Attributes
    ----------
    shape : tuple (n_rows, n_features)
    dtype : numpy.dtype
        float32 if the array's is, else float64.
    """

    ndim = 2

    def __init__(
        self, array: Any, rows: range | NDArray[np.intp] | None = None
    ) -> None:
        self._array = array
        self._rows = range(array.shape[0]) if rows is None else rows
        single = array.dtype == np.float32
        self.dtype = np.dtype(np.float32 if single else np.float64)
        self.shape = (len(self._rows), int(array.shape[1]))

    @property
    def fits_buffer(self) -> bool:
        return math.prod(self.shape) <= BUFFER_VALUES

    def head(self) -> NDArray[np.floating]:
        """Two rows, to be looked at."""
        return np.asarray(self[:2])

    def whole_chunks(self, n_rows: int) -> int:
        """About so many rows, but whole chunks of an array that is stored in chunks.

        To read a part of a chunk all of it has to be read and unpacked. Chunks of more
        than a quarter of the buffer are left out of account.
        """
        stored = getattr(self._array, "chunks", None)
        if not stored:
            return n_rows
        first = int(stored[0][0] if isinstance(stored[0], tuple) else stored[0])
        if first * self.shape[1] > BUFFER_VALUES // MIN_BATCHES:
            return n_rows
        return first * max(1, round(n_rows / first))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | NDArray[np.intp]) -> LazyRows:
        if isinstance(index, slice):
            return LazyRows(self._array, self._rows[index])
        if isinstance(self._rows, range):
            return LazyRows(self._array, self._rows.start + self._rows.step * index)
        return LazyRows(self._array, self._rows[index])

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> NDArray[np.floating]:
        if copy is False:
            raise ValueError("Rows that are read lazily always need a copy.")
        out = np.empty(self.shape, dtype=self.dtype if dtype is None else dtype)
        if isinstance(self._rows, range) and self._rows.step == 1:
            first, size = self._rows.start, self._stretch()
            for start in range(0, len(out), size):
                part = out[start : start + size]
                part[:] = self._read(first + start, first + start + len(part))
            return out
        rows = self._rows
        if isinstance(rows, range):
            rows = np.arange(rows.start, rows.stop, rows.step)
        order = np.argsort(rows, kind="stable")
        for here in self._stretches(rows[order]):
            wanted = rows[order[here]]
            values = self._read(wanted[0], wanted[-1] + 1)
            out[order[here]] = values[wanted - wanted[0]]
        return out

    def _stretch(self) -> int:
        """Rows that are read at a time."""
        return self.whole_chunks(max(1, CHUNK_VALUES // max(1, self.shape[1])))

    def _stretches(self, rows: NDArray[np.intp]) -> Iterator[slice]:
        """Parts of sorted rows that are near enough to be read at a time."""
        row_bytes = max(1, self.shape[1] * self._array.dtype.itemsize)
        jumps = np.flatnonzero(np.diff(rows) > max(1, JUMP_BYTES // row_bytes)) + 1
        size = self._stretch()
        for first, last in pairwise([0, *jumps, len(rows)]):
            while first < last:
                border = (rows[first] // size + 1) * size
                end = first + int(np.searchsorted(rows[first:last], border))
                yield slice(first, end)
                first = end

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        values = np.asarray(self._array[int(start) : int(stop)])
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            row, column = np.argwhere(~np.isfinite(values))[0].tolist()
            raise ValueError(
                f"X must hold finite numbers only; got {values[row, column]} in row "
                f"{int(start) + row}, column {column}. Input X contains NaN or infinity."
            )
        return values


def standardise_into(
    out: Tensor,
    X: Any,
    inputs: InputScaler,
    which: slice | NDArray[np.intp] = slice(None),
) -> None:
    """Fill a tensor with rows, or those given, standardised in double precision."""
    for rows in chunks(X if isinstance(which, slice) else out):
        part = X[rows if isinstance(which, slice) else which[rows]]
        if sparse.issparse(part):
            part = part.toarray()
        # A copy in any case: torch wants memory that it may write to.
        values = torch.from_numpy(np.array(part, dtype=np.float64))
        out[rows] = inputs(values).to(out)


class BlockRows:
    """Rows of a large array for torch, standardised as they are read.

    Parameters
    ----------
    X : LazyRows
    inputs : InputScaler
    like : Tensor
        Gives type and device.
    """

    def __init__(self, X: LazyRows, inputs: InputScaler, like: Tensor) -> None:
        self.shape = X.shape
        self._X = X
        self._inputs = inputs
        self._like = like
        self._block = 1
        self._buffer: Tensor | None = None

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def device(self) -> torch.device:
        return self._like.device

    @property
    def chunk_rows(self) -> int:
        """Rows to look at together."""
        return int(next(chunks(self._X)).stop)

    def batches(self, batch_size: int, generator: torch.Generator) -> BlockBatches:
        """Batches of one pass in random order, block by block."""
        n_features = max(1, self.shape[1])
        in_buffer = max(BUFFER_VALUES // n_features, MIN_BATCHES * batch_size)
        block = self._X.whole_chunks(max(1, BLOCK_VALUES // n_features))
        n_blocks = math.ceil(len(self) / block)
        n_buffers = math.ceil(n_blocks / max(1, in_buffer // block))
        order = torch.randperm(n_blocks, generator=generator)
        return BlockBatches(
            self, block, order.tensor_split(n_buffers), batch_size, generator
        )

    def fill(self, block: int, numbers: list[int]) -> Tensor:
        """Read blocks into the buffer, in the order of the disk; their rows."""
        parts = [
            range(number * block, min(len(self), (number + 1) * block))
            for number in sorted(numbers)
        ]
        n_rows = sum(map(len, parts))
        self._block = block
        self._places = torch.full((math.ceil(len(self) / block),), -1)
        self._buffer = self._like.new_empty(n_rows, self.shape[1])
        start = 0
        for part in parts:
            self._places[part.start // block] = start
            here = self._buffer[start : start + len(part)]
            # All of the block at once: stored chunks are not to be unpacked twice.
            read = np.asarray(self._X[part.start : part.stop])
            standardise_into(here, read, self._inputs)
            start += len(part)
        return torch.cat([torch.arange(part.start, part.stop) for part in parts])

    def release(self) -> None:
        """Give the memory of the buffer back."""
        self._buffer = None

    def __getitem__(self, index: Tensor) -> Tensor:
        index = index.cpu()
        if self._buffer is not None:
            place = self._places[index // self._block]
            if (place >= 0).all():
                return self._buffer[(place + index % self._block).to(self._like.device)]
        out = self._like.new_empty(len(index), self.shape[1])
        standardise_into(out, self._X[index.numpy()], self._inputs)
        return out


class BlockBatches:
    """Batches of row numbers, part by part; a part is what the buffer holds.

    Parameters
    ----------
    rows : BlockRows
        Its buffer holds the rows of a part from when it is given to when the next is.
    block : int
        Rows a block.
    buffers : sequence of Tensor of int
        Blocks that are together in the buffer.
    batch_size : int
    generator : torch.Generator
        Source of the order of the rows in a buffer.
    """

    def __init__(
        self,
        rows: BlockRows,
        block: int,
        buffers: Sequence[Tensor],
        batch_size: int,
        generator: torch.Generator,
    ) -> None:
        self._rows = rows
        self._block = block
        self._buffers = [buffer.tolist() for buffer in buffers]
        self._batch_size = batch_size
        self._generator = generator

    def __len__(self) -> int:
        last = math.ceil(len(self._rows) / self._block) - 1
        missing = (last + 1) * self._block - len(self._rows)
        return sum(
            n_batches(
                len(numbers) * self._block - missing * (last in numbers),
                self._batch_size,
            )
            for numbers in self._buffers
        )

    def parts(self) -> Iterator[list[Tensor]]:
        """Batches of one buffer after another."""
        try:
            for numbers in self._buffers:
                self._rows.release()  # before the next is made
                index = self._rows.fill(self._block, numbers)
                order = torch.randperm(len(index), generator=self._generator)
                index = index[order].to(self._rows.device)
                yield split_batches(index, self._batch_size)
        finally:
            self._rows.release()
