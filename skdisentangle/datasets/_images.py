"""Images out of files, a few at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
        The files, such as ``bunch.paths[rows]``. Grey and palette images become RGB.
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
        If a file is missing or holds no image; says which.
    ValueError, TypeError
        If an argument is not as described, or sizes differ and `size` is None.
    ImportError
        Without Pillow.

    Examples
    --------
    >>> from skdisentangle.datasets import load_pacs, read_images
    >>> pacs = load_pacs("data/PACS")  # doctest: +SKIP
    >>> read_images(pacs.paths[:32], size=224).shape  # doctest: +SKIP
    (32, 224, 224, 3)
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "Reading image files needs Pillow: pip install 'skdisentangle[images]'"
        ) from error
    if isinstance(paths, str | os.PathLike):
        raise TypeError(f"paths must be a list of paths; got a single one, {paths!r}.")
    files = list(paths)
    if not files:
        raise ValueError("paths must name at least one file; got none.")
    shape = _height_and_width(size)
    images: NDArray[np.uint8] | None = None
    for row, path in enumerate(files):
        try:
            with Image.open(path) as file:
                image = file.convert("RGB")
        except FileNotFoundError:
            raise  # names the file
        except (OSError, SyntaxError) as error:  # a damaged PNG is a SyntaxError
            raise OSError(f"{path} is not an image, or damaged: {error}.") from error
        if shape is not None:
            image = image.resize(shape[::-1], Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
        if images is None:
            images = np.empty((len(files), *pixels.shape), dtype=np.uint8)
        if pixels.shape != images.shape[1:]:
            raise ValueError(
                f"size must be given for images of several sizes; got {pixels.shape[:2]} "
                f"in {path} and {images.shape[1:3]} before."
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
