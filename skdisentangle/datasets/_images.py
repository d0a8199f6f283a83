"""Images out of files, a few at a time."""

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
    """Read image files as arrays: the rows that are wanted, and no others.

    Needs Pillow: ``pip install 'skdisentangle[images]'``.

    Parameters
    ----------
    paths : iterable of str or path-like
        The files, such as ``bunch.paths[rows]``.
    size : int, (int, int) or None, default=None
        Height and width to resize to, in pixels, by averaging and bilinear interpolation;
        a single number for both, None leaves images as they are, which must then be of one
        size.

    Returns
    -------
    images : ndarray of uint8, shape (n_images, height, width, 3)

    Raises
    ------
    OSError
        If a file is missing or cannot be read; says which.
    ValueError, TypeError
        If an argument is not as described, a file holds no image or a damaged one (says
        which), or sizes differ and `size` is None.
    ImportError
        Without Pillow.

    Notes
    -----
    All of this package reads image files in this way:

    - An image is turned as the orientation in its EXIF data says.
    - Transparent pixels, whether by an alpha channel, a palette or a transparent color,
      are laid on white, and half transparent ones mixed with it.
    - Grey, palette, 1-bit, CMYK and other images become RGB as Pillow converts them.
    - Grey images of more than 8 bits, whole numbers: 0 becomes 0, 65535 becomes 255, and
      what is between goes linearly, rounded. Values outside are an error. (Of color
      images with 16 bits a channel Pillow gives the upper 8.)
    - Grey images of floating-point numbers must lie in [0, 1], and become 0 to 255.
    - Of animations and files of several pages the first image is taken.
    - A file that is cut off or damaged is an error, not an image with a grey part.

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
