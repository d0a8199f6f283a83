"""Read image files, a few at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._images import decode, read_file, resized
from ._tasks import check_size, is_integer

__all__ = ["read_images"]


def read_images(
    paths: Iterable[str | os.PathLike[str]],
    *,
    size: int | tuple[int, int] | None = None,
) -> NDArray[np.uint8]:
    """Read image files into one array.

    Needs Pillow: ``pip install 'skdisentangle[images]'``.

    Parameters
    ----------
    paths : iterable of str or path-like
        The files, such as ``bunch.paths[rows]``.
    size : int, (int, int) or None, default=None
        Height and width in pixels to resize to, by averaging and bilinear interpolation. A
        single number sets both. None does not resize; all images must then have one size.

    Returns
    -------
    images : ndarray of uint8, shape (n_images, height, width, 3)

    Raises
    ------
    OSError
        If a file is missing or cannot be read. The message names it.
    ValueError, TypeError
        If an argument is not as described, if a file holds no image or a damaged one (the
        message names it), or if sizes differ and `size` is None.
    ImportError
        If Pillow is not installed.

    Notes
    -----
    The whole package reads image files in this way:

    - It rotates an image by the orientation in its EXIF data.
    - It puts transparent pixels on white, whether an alpha channel, a palette or a
      transparent color makes them so. Half transparent pixels are mixed with white.
    - It converts grey, palette, 1-bit, CMYK and other images to RGB, as Pillow does.
    - It maps grey images of whole numbers with more than 8 bits linearly from [0, 65535] to
      [0, 255], rounded. Other values raise an error. For color images with 16 bits per
      channel, Pillow returns the upper 8.
    - It maps grey images of floating-point numbers from [0, 1] to [0, 255].
    - It takes the first image of animations and of files with several pages.
    - It raises an error for a file that is cut off or damaged.

    Examples
    --------
    >>> from skdisentangle.datasets import load_pacs, read_images
    >>> pacs = load_pacs("data/PACS")  # doctest: +SKIP
    >>> read_images(pacs.paths[:32], size=224).shape  # doctest: +SKIP
    (32, 224, 224, 3)
    """
    if isinstance(paths, str | os.PathLike):
        raise TypeError(f"paths must be a list of paths; got a single one, {paths!r}.")
    files = list(paths)
    if not files:
        raise ValueError("paths must name at least one file; got none.")
    shape = _height_and_width(size)
    images: NDArray[np.uint8] | None = None
    for row, path in enumerate(files):
        name = f"paths[{row}]"
        pixels = decode(read_file(path, name), name)
        if shape is not None:
            pixels = resized(pixels, shape)
        if images is None:
            images = np.empty((len(files), *pixels.shape), dtype=np.uint8)
        if pixels.shape != images.shape[1:]:
            raise ValueError(
                f"size must be given for images of several sizes; got {pixels.shape[:2]} "
                f"in {os.fspath(path)!r} and {images.shape[1:3]} before."
            )
        images[row] = pixels
    assert images is not None
    return images


def _height_and_width(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    both = (size, size) if is_integer(size) else size
    if not isinstance(both, tuple) or len(both) != 2:
        raise ValueError(
            f"size must be a number of pixels, (height, width) or None; got {size!r}."
        )
    return check_size("size", both[0]), check_size("size", both[1])
