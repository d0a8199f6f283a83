"""Images of any kind as arrays (height, width, 3) of uint8."""

from __future__ import annotations

import io
from collections.abc import Sequence
from math import prod
from os import PathLike, fspath
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse

from ._embedder import import_extra

__all__ = ["File", "ImageRows", "Pixels", "decode", "resized"]

Pixels = NDArray[np.uint8]

#: What messages say of X.
WANTED = (
    "X must be an array of images (n, height, width) or (n, height, width, channels), "
    "or a list of paths, Pillow images or arrays"
)


class File(NamedTuple):
    """An image file that was read, but not decoded."""

    path: str
    content: bytes


class ImageRows:
    """The images of X, read when they are needed.

    An image that is a path is read as the content of the file, any other as pixels.
    """

    def __init__(self, X: Any, input_shape: tuple[int, int, int] | None) -> None:
        if hasattr(X, "__array__") and not hasattr(X, "shape"):
            X = np.asarray(X)
        several = hasattr(X, "__len__") and not isinstance(X, str | bytes | PathLike)
        if issparse(X) or not several:
            raise TypeError(f"{WANTED}; got {X!r}. A single image goes into a list.")
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
            _rgb(image, f"X[{row}]") for row, image in zip(rows, block, strict=True)
        ]


def _is_list(X: Any) -> bool:
    """Whether X is a list of images, not one array of pixels."""
    dtype = getattr(X, "dtype", None)
    if dtype is None or not hasattr(X, "shape"):
        return True
    return not isinstance(dtype, np.dtype) or dtype.kind in "OUST"


def _read_item(item: Any, row: int) -> File | Pixels:
    if isinstance(item, str | PathLike):
        path = fspath(item)
        try:
            with open(path, "rb") as file:
                return File(path, file.read())
        except OSError as error:
            why = error.strerror or str(error)
            raise type(error)(
                f"X[{row}] must be the path of an image; cannot read {path!r}: {why}."
            ) from error
    if hasattr(item, "getbands"):
        return _pillow_rgb(item)
    if isinstance(item, torch.Tensor):
        item = item.numpy(force=True)
    try:
        image = np.asarray(item)
    except ValueError:  # ragged
        image = np.asarray(None)
    return _rgb(image, f"X[{row}]")


def decode(file: File, row: int) -> Pixels:
    """Pixels of an image file, which is in some row of X."""
    pillow = import_extra("PIL.Image", "ImageEmbedder")
    turned = import_extra("PIL.ImageOps", "ImageEmbedder").exif_transpose
    try:
        with pillow.open(io.BytesIO(file.content)) as image:
            return _pillow_rgb(turned(image))
    # what Pillow raises, by format, for files that are not what they seem
    except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError) as error:
        why = "" if "BytesIO" in str(error) else f": {error}"
        raise ValueError(
            f"X[{row}] must be an image file that Pillow can read; cannot decode "
            f"{file.path!r}{why}."
        ) from error


def _pillow_rgb(image: Any) -> Pixels:
    """Pixels of a Pillow image of any mode."""
    if image.mode.startswith("I"):  # 16 bits a pixel; Pillow would clip them to 8
        return _rgb((np.asarray(image) >> 8).clip(0, 255), "An image of 16 bits")
    clear = "transparency" in image.info or image.mode in ("LA", "PA", "La", "RGBa")
    kind = "RGBA" if clear or image.mode == "RGBA" else "RGB"
    return _rgb(np.asarray(image.convert(kind)), "An image")


def _rgb(image: NDArray[Any], name: str) -> Pixels:
    """Pixels as three channels of 8 bits, on white where they are transparent."""
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.ndim not in (2, 3) or channels not in (1, 2, 3, 4) or 0 in image.shape:
        raise ValueError(
            f"{name} must be a path, a Pillow image, or an array (height, width) or "
            "(height, width, channels) with 1 to 4 channels, the channels last; got "
            + (f"shape {image.shape}." if image.ndim else f"{image[()]!r}.")
        )
    image = _eight_bits(image.reshape(*image.shape[:2], channels), name)
    if channels in (2, 4):
        alpha = image[..., -1:].astype(np.uint32)
        image = (image[..., :-1] * alpha + 255 * (255 - alpha) + 127) // 255
    return np.ascontiguousarray(
        np.broadcast_to(image, (*image.shape[:2], 3)), dtype=np.uint8
    )


def _eight_bits(image: NDArray[Any], name: str) -> NDArray[Any]:
    if image.dtype == np.uint8:
        return image
    if image.dtype.kind not in "buif":
        raise ValueError(f"{name} must hold numbers; got {image.dtype}.")
    top = 1 if image.dtype.kind in "bf" else 255
    low, high = image.min(), image.max()
    if not (low >= 0 and high <= top):
        raise ValueError(
            f"{name} holds values from {low} to {high}; floating-point images must lie "
            "in [0, 1], whole numbers in [0, 255]."
        )
    if top == 1:
        image = np.rint(image * np.float32(255))
    return image.astype(np.uint8)


def resized(image: Pixels, size: tuple[int, int]) -> Pixels:
    """The image at another height and width; bilinear, smoothed where it shrinks."""
    if image.shape[:2] == size:
        return image
    pillow = import_extra("PIL.Image", "ImageEmbedder")
    height, width = size
    small = pillow.fromarray(image).resize((width, height), pillow.Resampling.BILINEAR)
    return np.asarray(small)


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
