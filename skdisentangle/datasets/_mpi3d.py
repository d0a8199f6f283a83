"""MPI3D: a robot arm carries an object; three renderings and two sets of photographs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._random import RandomState
from ._cache import Source, cached_arrays, make_bunch
from ._download import (
    RemoteFile,
    check_arguments,
    data_folder,
    get_files,
    npz_blocks,
    npz_shape,
)

__all__ = ["fetch_mpi3d"]


class Variant(NamedTuple):
    """One of the sets: its file, the number of classes of each factor, their meaning."""

    archive: RemoteFile
    sizes: tuple[int, ...]
    colors: str
    shapes: str


#: Height, width and channels of an image.
IMAGE_SHAPE = (64, 64, 3)

_HOST = "https://huggingface.co/datasets/waleedgondal/mpi3d/resolve/main/"
_SIMPLE = (
    (6, 6, 2, 3, 3, 40, 40),
    "0 white, 1 green, 2 red, 3 blue, 4 brown, 5 olive",
    "0 cone, 1 cube, 2 cylinder, 3 hexagonal, 4 pyramid, 5 sphere",
)
_COMPLEX = (
    (4, 4, 2, 3, 3, 40, 40),
    "0 yellow, 1 green, 2 olive, 3 red",
    "0 coffee cup, 1 tennis ball, 2 croissant, 3 beer cup",
)


def _archive(filename: str, url: str, n_images: int) -> RemoteFile:
    """An official file, whose checksum is not published."""
    return RemoteFile(filename, url, None, arrays={"images": (n_images, *IMAGE_SHAPE)})


#: Addresses and factors as in the README of the official repository,
#: https://github.com/rr-learning/disentanglement_dataset, which publishes no checksums.
VARIANTS = {
    **{
        name: Variant(
            _archive(f"mpi3d_{name}.npz", f"{_HOST}mpi3d_{name}.npz", 1_036_800),
            *_SIMPLE,
        )
        for name in ("toy", "realistic", "real")
    },
    "complex": Variant(
        _archive(
            "real3d_complicated_shapes_ordered.npz",
            "https://drive.google.com/uc?export=download&confirm=t"
            "&id=1Tp8eTdHxgUMtsZv5uAoYAbJR1BOa_OQm",
            460_800,
        ),
        *_COMPLEX,
    ),
}

DESCR = """\
MPI3D, variant {variant!r}: {n_rows:,} colour images of 64 x 64 pixels, an object at the end
of a robot arm. Each combination of seven factors occurs once, in lexicographic order.

Columns of `target`:

- object_color: {colors}; unordered.
- object_shape: {shapes}; unordered.
- object_size: 0 small, 1 large.
- camera_height: 0 top, 1 center, 2 bottom.
- background_color: 0 purple, 1 sea green, 2 salmon; unordered.
- horizontal_axis, vertical_axis: position of each joint, 0, ..., 39; not periodic.

Muhammad Waleed Gondal et al., "On the Transfer of Inductive Bias from Simulation to the
Real World: a New Disentanglement Dataset", NeurIPS 2019,
https://github.com/rr-learning/disentanglement_dataset. Licence: CC BY 4.0.
"""


def fetch_mpi3d(
    *,
    variant: str = "toy",
    n_samples: int | None = None,
    random_state: RandomState = None,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Any:
    """Load MPI3D: seven factors of an object on a robot arm (1,036,800 images).

    The official file is read from `data_home`, or downloaded if it is missing (several GB).
    No checksum is published for it. The first file is therefore checked by the zip
    archive's own checksums (CRC-32) and by the shape and type of its array. Its SHA-256 is
    stored beside it, in a file that ends in ``.sha256``, and a later file that differs is
    refused. Only HTTPS ensures that the first file is the official one.

    Parameters
    ----------
    variant : {"toy", "realistic", "real", "complex"}, default="toy"
        ``"toy"`` and ``"realistic"`` are rendered, ``"real"`` are photographs;
        ``"complex"`` are photographs of everyday objects (460,800 images).
    n_samples : int or None, default=None
        Number of rows to draw at random without replacement, in their original order.
        None takes all rows.
    random_state : int, RandomState or None, default=None
        Seed for the draw of `n_samples`. None draws differently in each call. The global
        random state is never used.
    data_home : str, path-like or None, default=None
        Folder of the data sets. None means that of scikit-learn, see
        :func:`sklearn.datasets.get_data_home`. This set is in its subfolder ``mpi3d``.
    download_if_missing : bool, default=True
        Whether to download the official file.
    return_X_y : bool, default=False
        Whether to return only ``(data, target)``.
    n_retries : int, default=3
        How often to resume a download if the network fails.
    delay : float, default=1.0
        Seconds between two attempts.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        A dictionary with attributes:

        data : ndarray of uint8, shape (n_samples, 12288)
            One image per row of the array, by channel, then by row of the image. Without
            `n_samples`, a read-only view of the file on disk: pixels are read when you use
            them.
        images : ndarray of uint8, shape (n_samples, 64, 64, 3)
            The same memory, shaped as images.
        target : ndarray of float64, shape (n_samples, 7)
            The factors: class numbers, as the file has no values.
        target_classes : ndarray of int64, shape (n_samples, 7)
            The class of each factor, from 0.
        factor_names : list of str
            "object_color", "object_shape", "object_size", "camera_height",
            "background_color", "horizontal_axis", "vertical_axis".
        input_shape : tuple
            (3, 64, 64).
        categorical : tuple
            Columns of `target` that are classes without order: (0, 1, 4).
        periods : dict
            Empty: no factor is periodic.
        DESCR : str
            What the factors mean.

    (data, target) : tuple if ``return_X_y=True``
        Two of these attributes.

    Raises
    ------
    OSError
        If the official file is missing and cannot be downloaded (the message says what to put
        where), or is not the official one.
    ValueError, TypeError
        If an argument is not as described. The message says which.

    Notes
    -----
    The first call converts the official file to arrays beside it, 12.7 GB on disk. Later
    calls map the arrays into memory and read only the rows that you use. You may then
    delete the official file.

    ``"complex"`` is on Google Drive, which sometimes returns a web page instead of the file.
    The error then says where to put the file that you download in a browser.

    References
    ----------
    Gondal et al., "On the Transfer of Inductive Bias from Simulation to the Real World: a
    New Disentanglement Dataset", NeurIPS 2019,
    https://github.com/rr-learning/disentanglement_dataset.

    Examples
    --------
    >>> from skdisentangle.datasets import fetch_mpi3d
    >>> arms = fetch_mpi3d(
    ...     variant="real", n_samples=10_000, random_state=0
    ... )  # doctest: +SKIP
    >>> arms.data.shape, arms.target.shape  # doctest: +SKIP
    ((10000, 12288), (10000, 7))
    """
    if variant not in list(VARIANTS):
        raise ValueError(f"variant: got {variant!r}; expected one of {list(VARIANTS)}.")
    archive, sizes, colors, shapes = VARIANTS[variant]
    check_arguments(n_samples, random_state, n_retries, delay)
    folder = data_folder(data_home, "mpi3d")

    def read_source() -> Source:
        (path,) = get_files(
            [archive],
            folder,
            download_if_missing=download_if_missing,
            n_retries=n_retries,
            delay=delay,
        )
        return _read(path, sizes)

    n_samples_all, height, width, n_channels = archive.arrays["images"]
    images, classes, values = cached_arrays(
        folder,
        f"mpi3d_{variant}",
        read_source,
        (n_samples_all, n_channels, height, width),
    )
    bunch = make_bunch(
        images,
        classes,
        values,
        n_samples=n_samples,
        random_state=random_state,
        factor_names=[
            "object_color",
            "object_shape",
            "object_size",
            "camera_height",
            "background_color",
            "horizontal_axis",
            "vertical_axis",
        ],
        categorical=(0, 1, 4),
        descr=DESCR.format(
            variant=variant, n_rows=prod(sizes), colors=colors, shapes=shapes
        ),
    )
    return (bunch.data, bunch.target) if return_X_y else bunch


def _read(path: Path, sizes: Sequence[int]) -> Source:
    n_samples, height, width, n_channels = npz_shape(path, "images")
    blocks = (
        (first, rows.transpose(0, 3, 1, 2))
        for first, rows in npz_blocks(path, "images")
    )
    classes = np.column_stack(np.unravel_index(np.arange(n_samples), sizes))
    shape = (n_samples, n_channels, height, width)
    return Source(shape, blocks, classes, [np.arange(size) for size in sizes])
