"""Images as rows of pixels, for encoders that are made for images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["FlatImages", "flat_images"]


class FlatImages:
    """Images as rows of pixels, channels first.

    They are of shape (n, height, width, channels), or (n, height, width). Rows are read,
    and copied, when a slice of them is asked for.

    Attributes
    ----------
    shape : tuple (n_rows, n_features)
    dtype : numpy.dtype
        float32 for whole numbers, else that of the images.
    image_shape : tuple (channels, height, width)
    """

    def __init__(self, images: Any) -> None:
        n_rows, height, width, channels = map(int, (*images.shape, 1)[:4])
        self._images = images
        self.image_shape = channels, height, width
        self.shape = n_rows, channels * height * width
        whole = images.dtype.kind in "iub"
        self.dtype = np.dtype(np.float32) if whole else images.dtype
        self.chunks = getattr(images, "chunks", None)

    def __getitem__(self, rows: slice) -> NDArray[np.floating]:
        block = np.asarray(self._images[rows])
        block = block.reshape(*block.shape[:3], self.image_shape[0])
        block = np.moveaxis(block, 3, 1)
        return block.reshape(len(block), -1).astype(self.dtype, copy=False)


def flat_images(X: Any, input_shape: Any) -> tuple[Any, Any]:
    """Rows of pixels, and the shape of an image.

    Parameters
    ----------
    X : array of images, or of flattened images
    input_shape : tuple (C, H, W) or None
        What they must be; None takes it from images.

    Raises
    ------
    ValueError
        If X holds no images, or others than those of `input_shape`.
    """
    if isinstance(X, torch.Tensor):
        X = X.numpy(force=True)
    elif isinstance(X, list | tuple):
        X = _stacked(X)
    shape = tuple(getattr(X, "shape", ()))
    is_grey = len(shape) == 3 and shape[2] not in (3, 4)
    if is_grey or len(shape) == 4:
        if getattr(X.dtype, "kind", "O") not in "fiub":
            raise ValueError(f"X must hold numbers; got images of {X.dtype}.")
        if len(shape) == 4 and shape[1] in (1, 3) and shape[3] > 4:
            raise ValueError(
                "X must have the channels last, (n_samples, height, width, channels); got "
                f"shape {shape}. Give numpy.moveaxis(X, 1, 3)."
            )
        images = FlatImages(X)
        if input_shape is not None and tuple(input_shape) != images.image_shape:
            raise ValueError(
                f"X must have images of input_shape={tuple(input_shape)}, channels, height "
                f"and width; got an array of shape {shape}."
            )
        return images, images.image_shape
    if input_shape is None and not sparse.issparse(X):
        raise ValueError(
            "X must be images for encoder='conv', of shape (n_samples, height, width) or "
            "(n_samples, height, width, channels), or rows of flattened images with "
            f"input_shape=(channels, height, width); got shape {shape} and "
            "input_shape=None."
        )
    return X, input_shape


def _stacked(X: list[Any] | tuple[Any, ...]) -> NDArray[Any]:
    try:
        return np.asarray(X)
    except ValueError as error:  # ragged
        raise ValueError("X must hold images of one size; its items differ.") from error
