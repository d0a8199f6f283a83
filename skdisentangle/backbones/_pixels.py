"""The rows of X that are images of any kind, as pixels or as content of files."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from os import PathLike
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse

from .._images import File, Pixels, array_pixels, pillow_pixels, read_file

__all__ = ["ImageRows", "image_shape"]

#: What messages say of X.
WANTED = (
    "X must be an array of images (n, height, width) or (n, height, width, channels), "
    "or a list of paths, Pillow images or arrays"
)


class ImageRows:
    """The images of X, read when they are needed.

    An image that is a path is read as the content of the file, any other as pixels.
    """

    def __init__(self, X: Any, input_shape: tuple[int, int, int] | None) -> None:
        if hasattr(X, "__array__") and not hasattr(X, "shape"):
            X = np.asarray(X)
        has_length = hasattr(X, "__len__") or hasattr(X, "shape")
        several = has_length and not isinstance(X, str | bytes | PathLike)
        if issparse(X) or not several:
            raise TypeError(f"{WANTED}; got {X!r}. Put a single image into a list.")
        if isinstance(X, torch.Tensor):
            X = X.numpy(force=True)
        elif hasattr(X, "columns") or (input_shape is not None and _is_list(X)):
            X = np.asarray(X)  # a data frame, or lists of pixels
        shape = tuple(getattr(X, "shape", (len(X),)))
        self._shape = input_shape
        self._array = None if _is_list(X) else X
        if self._array is None:
            if len(shape) != 1 and shape[1:] != (1,):
                raise ValueError(f"{WANTED}; got shape {shape} of {X.dtype}.")
            self._items = [*(X.ravel() if len(shape) == 2 else X)]
        elif input_shape is None and len(shape) not in (3, 4):
            raise ValueError(
                f"{WANTED}; got an array of shape {shape}. For rows of "
                "flattened pixels give input_shape=(channels, height, width)."
            )
        elif input_shape is None and len(shape) == 3 and shape[2] in (3, 4):
            raise ValueError(
                f"{WANTED}; the shape {shape} looks like that of a single image in "
                "colour: give [X]."
            )
        elif input_shape is not None and shape[1:] != (prod(input_shape),):
            raise ValueError(
                f"With input_shape={input_shape} X must have rows of "
                f"{prod(input_shape)} pixels; got shape {shape}."
            )

    def __len__(self) -> int:
        return len(self._items) if self._array is None else int(self._array.shape[0])

    def read(self, rows: range) -> list[File | Pixels]:
        """Content of files, and pixels of what is no file."""
        if self._array is None:
            return [_read_item(self._items[row], row) for row in rows]
        block = np.asarray(self._array[rows.start : rows.stop])
        if self._shape is not None:
            block = np.moveaxis(block.reshape(-1, *self._shape), 1, -1)
        return [
            array_pixels(image, f"X[{row}]")
            for row, image in zip(rows, block, strict=True)
        ]


def _is_list(X: Any) -> bool:
    """Whether X is a list of images, not one array of pixels."""
    dtype = getattr(X, "dtype", None)
    if dtype is None or not hasattr(X, "shape"):
        return True
    return not isinstance(dtype, np.dtype) or dtype.kind in "OUST"


def _read_item(item: Any, row: int) -> File | Pixels:
    name = f"X[{row}]"
    if isinstance(item, str | PathLike):
        return read_file(item, name)
    if hasattr(item, "getbands"):
        return pillow_pixels(item, name)
    if isinstance(item, torch.Tensor):
        item = item.numpy(force=True)
    try:
        image = np.asarray(item)
    except ValueError:  # ragged
        image = np.asarray(None)
    return array_pixels(image, name)


def image_shape(image_size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """Height and width of `image_size`."""
    if image_size is None:
        return None
    size: tuple[Any, ...] = (
        (image_size, image_size)
        if isinstance(image_size, int | np.integer)
        else tuple(image_size)
    )
    if len(size) != 2 or not all(
        isinstance(part, int | np.integer) and part >= 1 for part in size
    ):
        raise ValueError(
            "image_size must be a positive integer, a pair (height, width) of them, or "
            f"None; got {image_size!r}."
        )
    return int(size[0]), int(size[1])
