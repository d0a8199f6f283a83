"""Rows of X as a person wants to see them: small pictures, beginnings of texts, or names."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.pipeline import Pipeline

from .._images import File, decode
from ..backbones._image import EXTRA, ImageEmbedder
from ..backbones._pixels import ImageRows
from ..rows.dask_blocks import in_memory

if TYPE_CHECKING:
    from ..disentangler import SparseSharedDisentangler

__all__ = [
    "image_reader",
    "in_rows",
    "pictures",
    "row_names",
    "shape_of",
    "text_reader",
]

#: Characters of a text that are shown.
TEXT_WIDTH = 80

#: Height and width of a picture, at the most, in pixels.
PICTURE = 64


def in_rows(X: Any) -> Any:
    """X such that rows and columns of it can be picked by number.

    Of sparse matrices CSR, of Dask and Arrow tables data frames of pandas; all else as it is.
    """
    X = in_memory(X)
    if sparse.issparse(X):
        return X.tocsr()
    is_arrow = hasattr(X, "column_names") and hasattr(X, "to_pandas")
    return X.to_pandas() if is_arrow else X


def row_names(X: Any, rows: Iterable[int]) -> list[str]:
    """Labels of rows in the index of a data frame or series, or their numbers."""
    if hasattr(X, "index") and hasattr(X, "iloc"):
        return [str(X.index[row]) for row in rows]
    return [str(row) for row in rows]


def text_reader(X: Any) -> Callable[[int], str] | None:
    """What gives the beginning of a row, if the rows are texts."""
    if len(shape_of(X)) != 1:
        return None
    rows = getattr(X, "iloc", X)
    if not isinstance(rows[0], str):
        return None

    def beginning(row: int) -> str:
        line = " ".join(rows[row].split())
        if len(line) > TEXT_WIDTH:
            line = f"{line[: TEXT_WIDTH - 1].rstrip()}…"
        return line

    return beginning


def image_reader(
    X: Any, estimator: SparseSharedDisentangler, before: Pipeline | None
) -> Callable[[int], NDArray[Any]] | None:
    """What gives the pixels of a row, channels last, if the rows are images.

    They are where an embedder of images reads them, and where they are arrays of uint8, or
    rows of the shape that the encoder takes. Only the rows asked for are read.
    """
    for step in (
        getattr(estimator, "embedder_", None),
        *([] if before is None else before.named_steps.values()),
    ):
        if isinstance(step, ImageEmbedder):
            images = ImageRows(X, step.input_shape)
            return lambda row: _pixels(images, row)
    shape, wanted = shape_of(X), estimator.input_shape_
    rows = getattr(X, "iloc", X)
    is_bytes = getattr(X, "dtype", None) == np.uint8
    if len(shape) in (3, 4) and (wanted is not None or is_bytes):
        return lambda row: np.asarray(rows[row])
    if len(shape) != 2 or wanted is None or min(wanted[1:]) == 1:
        return None
    if shape[1] != math.prod(wanted):
        return None
    return lambda row: np.moveaxis(np.asarray(rows[row]).reshape(wanted), 0, 2)


def shape_of(X: Any) -> tuple[int, ...]:
    """Shape of X, of a list that of its first row."""
    shape = getattr(X, "shape", None)
    if shape is not None:
        return tuple(shape)
    return (len(X), *np.shape(X[0])) if len(X) else (0,)


def _pixels(images: ImageRows, row: int) -> NDArray[Any]:
    (image,) = images.read(range(row, row + 1))
    return decode(image, f"X[{row}]", EXTRA) if isinstance(image, File) else image


def pictures(images: Sequence[NDArray[Any]]) -> list[str]:
    """Small pictures of images as the sources of HTML's ``img``.

    Parameters
    ----------
    images : sequence of ndarray of shape (H, W) or (H, W, C)
        Channels that are not three are averaged. Values other than uint8 are scaled such
        that the lowest of all is black, and the highest is white.
    """
    small = [_small(image) for image in images]
    if any(image.dtype != np.uint8 for image in images):
        low = min(image.min() for image in small)
        high = max(image.max() for image in small)
        small = [255 * (image - low) / (high - low or 1.0) for image in small]
    return [
        f"data:image/png;base64,{base64.b64encode(_png(image)).decode('ascii')}"
        for image in small
    ]


def _small(image: NDArray[Any]) -> NDArray[np.float64]:
    """The image in single precision or better, each pixel the mean over a square."""
    values = image.astype(np.float64)
    if values.ndim == 3 and values.shape[2] != 3:
        values = values.mean(axis=2)
    height, width = values.shape[:2]
    step = min(math.ceil(max(height, width) / PICTURE), height, width)
    height, width = height // step, width // step
    cut = values[: height * step, : width * step]
    means: NDArray[np.float64] = cut.reshape(
        height, step, width, step, *values.shape[2:]
    ).mean(axis=(1, 3))
    return means


def _png(image: NDArray[np.float64]) -> bytes:
    """A PNG file of an image in grey or colour, of values from 0 to 255."""
    pixels = np.rint(image).astype(np.uint8)
    height, width = pixels.shape[:2]
    lines = pixels.reshape(height, -1)
    unfiltered = np.insert(lines, 0, 0, axis=1).tobytes()
    colour_type = 0 if pixels.ndim == 2 else 2
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, content in (
        (b"IHDR", header),
        (b"IDAT", zlib.compress(unfiltered, 9)),
        (b"IEND", b""),
    ):
        checksum = struct.pack(">I", zlib.crc32(name + content))
        parts += [struct.pack(">I", len(content)), name, content, checksum]
    return b"".join(parts)
