"""Read image files, Pillow images and arrays as pixels: (height, width, 3) of uint8.

Everything that reads images uses this module, so an image is the same everywhere.
:func:`skdisentangle.datasets.read_images` documents the conversions.
"""

from __future__ import annotations

import io
import struct
import zlib
from os import PathLike, fspath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._extras import import_extra

__all__ = [
    "File",
    "Pixels",
    "array_pixels",
    "decode",
    "pillow_pixels",
    "read_file",
    "resized",
]

Pixels = NDArray[np.uint8]

#: What Pillow was seen to raise, by format, for files that are not what they seem.
DAMAGED = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


class File(NamedTuple):
    """An image file that was read, but not decoded."""

    path: str | bytes
    content: bytes


def read_file(path: str | PathLike[Any], name: str) -> File:
    """Content of a file; an OSError or ValueError says which one cannot be read."""
    plain = fspath(path)
    try:
        with open(plain, "rb") as file:
            return File(plain, file.read())
    except OSError as error:
        why = error.strerror or str(error)
        raise type(error)(_not_read(name, plain, why)) from error
    except ValueError as error:  # a name that no file can have
        raise ValueError(_not_read(name, plain, str(error))) from error


def _not_read(name: str, path: str | bytes, why: str) -> str:
    return f"{name} must be the path of an image; cannot read {path!r}: {why}."


def _pillow(extra: str) -> tuple[Any, Any]:
    """Pillow's Image and ImageOps; an ImportError says how to install them."""
    needed = "Reading or resizing images", f"'skdisentangle[{extra}]'"
    return import_extra("PIL.Image", *needed), import_extra("PIL.ImageOps", *needed)


def decode(file: File, name: str, extra: str = "images") -> Pixels:
    """Pixels of an image file.

    Parameters
    ----------
    file : File
    name : str
        What messages call it, such as ``"X[3]"``.
    extra : str
        What installs Pillow.

    Raises
    ------
    ValueError
        If it is no image, damaged, or of a kind that has no pixels in [0, 255]; it is
        named.
    ImportError
        Without Pillow.
    """
    pillow, operations = _pillow(extra)
    try:
        with pillow.open(io.BytesIO(file.content)) as image:
            return _pixels_of(image, operations, "its image")
    except (*DAMAGED, pillow.DecompressionBombError) as error:
        why = "" if "BytesIO" in str(error) or not str(error) else f": {error}"
        raise ValueError(
            f"{name} must be an image file that Pillow can read; cannot decode "
            f"{file.path!r}{why.rstrip('.')}."
        ) from error


def pillow_pixels(image: Any, name: str) -> Pixels:
    """Pixels of a Pillow image, as of the file that it is from, or could be saved to."""
    pillow, operations = _pillow("images")
    try:
        return _pixels_of(image, operations, "it")
    except (*DAMAGED, pillow.DecompressionBombError) as error:
        path = getattr(image, "filename", "")
        where = f" of {path!r}" if path else ""
        raise ValueError(
            f"{name} must be an image that Pillow can read; cannot decode the image"
            f"{where}: {str(error).rstrip('.')}."
        ) from error


def _pixels_of(image: Any, operations: Any, name: str) -> Pixels:
    image.load()
    if image.format != "TIFF":  # which this has turned; old Pillows would do it again
        image = operations.exif_transpose(image)
    mode, clear = image.mode, image.info.get("transparency")
    if mode.startswith("I"):  # Pillow would cut them off at 255
        return _sixteen_bits(np.asarray(image), clear, name)
    if mode == "F":
        return array_pixels(np.asarray(image), name)
    if mode == "La":  # the only mode that Pillow has no straight way for
        image = image.convert("LA")
    palette = getattr(image.palette, "mode", "")
    has_alpha = clear is not None or mode.endswith(("A", "a")) or palette == "RGBA"
    return array_pixels(np.asarray(image.convert("RGBA" if has_alpha else "RGB")), name)


def _sixteen_bits(image: NDArray[Any], clear: Any, name: str) -> Pixels:
    """Grey of 0 to 65535, with the value that is transparent, if there is one."""
    low, high = image.min(), image.max()
    if low < 0 or high > 65535:
        raise ValueError(
            f"{name} holds values from {low} to {high}; whole numbers of more than 8 "
            "bits must lie in [0, 65535]"
        )
    grey = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if isinstance(clear, int):
        grey[image == clear] = 255
    return array_pixels(grey, name)


def array_pixels(image: NDArray[Any], name: str) -> Pixels:
    """Pixels of an array (height, width[, channels]), on white where they are clear."""
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


def resized(image: Pixels, size: tuple[int, int], extra: str = "images") -> Pixels:
    """The image at another height and width; bilinear, smoothed where it shrinks."""
    if image.shape[:2] == size:
        return image
    pillow, _ = _pillow(extra)
    height, width = size
    small = pillow.fromarray(image).resize((width, height), pillow.Resampling.BILINEAR)
    return np.asarray(small)
