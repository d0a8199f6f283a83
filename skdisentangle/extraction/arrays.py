"""Read rows from ``.npy`` files, in order and block by block."""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .manifest import file_sizes

__all__ = ["ArrayFiles"]


class ArrayFiles:
    """Rows of ``.npy`` files, one after the other.

    Parameters
    ----------
    files : list of Path
        Arrays of the same dtype and of the same shape of a row: columns, or images.

    Attributes
    ----------
    at_end : bool
        Whether the last row has been read.
    kept : None
        There are no columns to keep, as they have no names.
    row_bytes : int
        Bytes of a row in memory.
    """

    kept = None

    def __init__(self, files: list[Path]) -> None:
        self._files = files
        self._lengths: list[int] = []
        for file in files:
            rows = _map(file)
            if rows.ndim < 2 or rows.dtype.kind not in "fiub":
                raise ValueError(
                    f"input: {str(file)!r} must hold numbers, of shape (n_samples, "
                    "n_features), or (n_samples, height, width, channels) for images; got "
                    f"{rows.dtype} of shape {rows.shape}."
                )
            if not self._lengths:
                self._dtype, self._shape = rows.dtype, rows.shape[1:]
            elif (rows.dtype, rows.shape[1:]) != (self._dtype, self._shape):
                raise ValueError(
                    "input: all files must hold the same number of columns, of one "
                    f"dtype; {files[0].name!r} has {_columns(self._shape)} of {self._dtype}, "
                    f"{file.name!r} {_columns(rows.shape[1:])} of {rows.dtype}."
                )
            self._lengths.append(len(rows))
        self._n_rows = sum(self._lengths)
        self._n_read = 0  # rows, in all
        self._file, self._row = 0, 0  # where the next row is
        self.row_bytes = math.prod(self._shape) * self._dtype.itemsize

    @property
    def at_end(self) -> bool:
        return self._n_read == self._n_rows

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for the rows to be the same."""
        return {
            "kind": "npy",
            "files": file_sizes(self._files),
            "dtype": str(self._dtype),
            "n_features": _columns(self._shape),
        }

    def share_read(self) -> float:
        """Share of the input that has been read."""
        return self._n_read / self._n_rows if self._n_rows else 1.0

    def read(self, n_rows: int) -> NDArray[Any]:
        """Next rows; fewer than asked for at the end only."""
        parts = [np.empty((0, *self._shape), self._dtype)]
        while n_rows > 0 and not self.at_end:
            if self._row == self._lengths[self._file]:
                self._file, self._row = self._file + 1, 0
                continue
            stop = min(self._lengths[self._file], self._row + n_rows)
            # mapped anew for each block: else all that was read stays in memory
            block = np.array(_map(self._files[self._file])[self._row : stop], order="C")
            if len(block) < stop - self._row:
                raise ValueError(
                    f"input: {str(self._files[self._file])!r} has fewer rows than when "
                    "it was opened."
                )
            n_rows -= len(block)
            self._n_read += len(block)
            self._row = stop
            parts.append(block)
        return parts[1] if len(parts) == 2 else np.concatenate(parts)

    @staticmethod
    def checksum(rows: NDArray[Any], before: int) -> int:
        """CRC-32 of rows, going on from that of the rows before."""
        return zlib.crc32(rows.data, before)


def _columns(shape: tuple[int, ...]) -> int | list[int]:
    """Number of columns, or the shape of an image."""
    return shape[0] if len(shape) == 1 else list(shape)


def _map(file: Path) -> NDArray[Any]:
    try:
        mapped: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"input: {str(file)!r} is not a complete .npy file of numbers: {error}"
        ) from error
    return mapped
