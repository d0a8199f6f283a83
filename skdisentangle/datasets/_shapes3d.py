"""3D Shapes: an object in a room, in all colours, sizes and views."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._extras import import_extra
from .._random import RandomState
from ._cache import Source, cached_arrays, encode_factors, make_bunch
from ._download import (
    RemoteFile,
    check_arguments,
    data_folder,
    get_files,
    rows_per_block,
)

__all__ = ["fetch_shapes3d"]

#: Address and SHA256 as in tensorflow_datasets/url_checksums/shapes3d.txt.
ARCHIVE = RemoteFile(
    "3dshapes.h5",
    "https://storage.googleapis.com/3d-shapes/3dshapes.h5",
    "sha256:0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785",
)

#: HDF5 stores chunks of rows compressed; read whole ones, up to this many bytes at once.
MAX_CHUNK_BYTES = 2**29

DESCR = """\
3D Shapes: 480,000 colour images of 64 x 64 pixels, an object in a corner of a room. Each
combination of six factors occurs once.

Columns of `target`:

- floor_hue, wall_hue, object_hue: 0, 0.1, ..., 0.9 of a turn of the colour wheel; their
  period is 1.
- scale: 8 values from 0.75 to 1.25.
- shape: 0 cube, 1 cylinder, 2 sphere, 3 capsule; unordered.
- orientation: of the room, 15 values from -30 to 30 degrees.

C. Burgess and H. Kim, "3D Shapes Dataset", 2018,
https://github.com/google-deepmind/3d-shapes.
"""


def fetch_shapes3d(
    *,
    n_samples: int | None = None,
    random_state: RandomState = None,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Any:
    """Load 3D Shapes: six factors of an object in a room (480,000 images).

    The official file is read from `data_home`, or downloaded if it is missing (268 MB). The
    conversion needs h5py: ``pip install 'skdisentangle[datasets]'``.

    Parameters
    ----------
    n_samples : int or None, default=None
        Number of rows to draw at random without replacement, in their original order.
        None takes all rows.
    random_state : int, RandomState or None, default=None
        Seed for the draw of `n_samples`. None draws differently in each call. The global
        random state is never used.
    data_home : str, path-like or None, default=None
        Folder of the data sets. None means that of scikit-learn, see
        :func:`sklearn.datasets.get_data_home`. This set is in its subfolder ``shapes3d``.
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
        target : ndarray of float64, shape (n_samples, 6)
            The factors: the file's values.
        target_classes : ndarray of int64, shape (n_samples, 6)
            The class of each factor, from 0.
        factor_names : list of str
            "floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation".
        input_shape : tuple
            (3, 64, 64).
        categorical : tuple
            Columns of `target` that are classes without order: (4,).
        periods : dict
            The period of the three hues: ``{0: 1.0, 1: 1.0, 2: 1.0}``. The orientation, from -30
            to 30 degrees, is not periodic.
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
    ImportError
        If the official file must be converted and h5py is not installed.

    Notes
    -----
    The first call converts the official file to arrays beside it, 5.9 GB on disk. Later
    calls map the arrays into memory and read only the rows that you use. You may then
    delete the official file.

    References
    ----------
    Burgess and Kim, "3D Shapes Dataset", 2018,
    https://github.com/google-deepmind/3d-shapes.

    Examples
    --------
    >>> from skdisentangle.datasets import fetch_shapes3d
    >>> rooms = fetch_shapes3d(n_samples=10_000, random_state=0)  # doctest: +SKIP
    >>> rooms.data.shape, rooms.target.shape  # doctest: +SKIP
    ((10000, 12288), (10000, 6))
    """
    check_arguments(n_samples, random_state, n_retries, delay)
    folder = data_folder(data_home, "shapes3d")

    def read_source() -> Source:
        h5py = _import_h5py()
        (path,) = get_files(
            [ARCHIVE],
            folder,
            download_if_missing=download_if_missing,
            n_retries=n_retries,
            delay=delay,
        )
        return _read(path, h5py)

    images, classes, values = cached_arrays(folder, "shapes3d", read_source)
    bunch = make_bunch(
        images,
        classes,
        values,
        n_samples=n_samples,
        random_state=random_state,
        factor_names=[
            "floor_hue",
            "wall_hue",
            "object_hue",
            "scale",
            "shape",
            "orientation",
        ],
        categorical=(4,),
        descr=DESCR,
    )
    bunch.periods = {0: 1.0, 1: 1.0, 2: 1.0}
    return (bunch.data, bunch.target) if return_X_y else bunch


def _import_h5py() -> Any:
    return import_extra(
        "h5py", "fetch_shapes3d reads an HDF5 file, so it", "'skdisentangle[datasets]'"
    )


def _read(path: Path, h5py: Any) -> Source:
    with h5py.File(path, "r") as file:
        for name in ("images", "labels"):
            link = file.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink) or file[name].external:
                raise OSError(
                    f"{path}: {name!r} in it refers to another file, which is not read."
                )
        n_samples, height, width, n_channels = file["images"].shape
        target = file["labels"][:]
    shape = (n_samples, n_channels, height, width)
    return Source(shape, _blocks(path, h5py), *encode_factors(target))


def _blocks(path: Path, h5py: Any) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Rows in blocks; those of a compressed chunk together, so that it is read once."""
    with h5py.File(path, "r") as file:
        images = file["images"]
        row_bytes = int(np.prod(images.shape[1:]))
        step = piece = rows_per_block(row_bytes)
        chunk = images.chunks[0] if images.chunks else 1
        if chunk * row_bytes <= MAX_CHUNK_BYTES:
            step = max(1, step // chunk) * chunk
        for first in range(0, len(images), step):
            rows = images[first : first + step].transpose(0, 3, 1, 2)
            for i in range(0, len(rows), piece):
                yield first + i, rows[i : i + piece].copy()
            del rows  # before the next ones are read
