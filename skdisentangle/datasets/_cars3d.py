"""Cars3D: renderings of car models from all sides."""

from __future__ import annotations

import os
import posixpath
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from .._random import RandomState
from ._cache import Source, cached_arrays, make_bunch
from ._download import (
    RemoteFile,
    check_arguments,
    data_folder,
    get_files,
)

__all__ = ["fetch_cars3d"]

#: Address as in disentanglement_lib's download script. No SHA256 is published; the MD5 is
#: the one of two independent loaders (disent, latte).
ARCHIVE = RemoteFile(
    "nips2015-analogy-data.tar.gz",
    "http://www.scottreed.info/files/nips2015-analogy-data.tar.gz",
    "md5:4e866a7919c1beedf53964e6f7a23686",
)

DESCR = """\
Cars3D: 17,568 colour images of 128 x 128 pixels, renderings of 183 car models. Each
combination of three factors occurs once, in lexicographic order.

Columns of `target`:

- elevation: of the camera, 0, ..., 3.
- azimuth: of the camera, 0, ..., 23 in steps of 15 degrees; its period is 24.
- object: number of the model in the order of the archive's list.txt, 0, ..., 182;
  unordered.

S. Reed, Y. Zhang, Y. Zhang and H. Lee, "Deep Visual Analogy-Making", NeurIPS 2015.
"""


def fetch_cars3d(
    *,
    n_samples: int | None = None,
    random_state: RandomState = None,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Any:
    """Load Cars3D: three factors of rendered cars (17,568 images).

    The official file (.tar.gz) is read from `data_home`, or downloaded if it is missing.
    Nothing is unpacked to disk.

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
        :func:`sklearn.datasets.get_data_home`. This set is in its subfolder ``cars3d``.
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

        data : ndarray of uint8, shape (n_samples, 49152)
            One image per row of the array, by channel, then by row of the image. Without
            `n_samples`, a read-only view of the file on disk: pixels are read when you use
            them.
        images : ndarray of uint8, shape (n_samples, 128, 128, 3)
            The same memory, shaped as images.
        target : ndarray of float64, shape (n_samples, 3)
            The factors: class numbers, as the file has no values.
        target_classes : ndarray of int64, shape (n_samples, 3)
            The class of each factor, from 0.
        factor_names : list of str
            "elevation", "azimuth", "object".
        input_shape : tuple
            (3, 128, 128).
        categorical : tuple
            Columns of `target` that are classes without order: (2,).
        periods : dict
            The period of the azimuth, whose steps are 15 degrees: ``{1: 24.0}``.
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
    The first call converts the official file to arrays beside it, 0.9 GB on disk. Later
    calls map the arrays into memory and read only the rows that you use. You may then
    delete the official file.

    Images keep the size of the file. disentanglement_lib shrinks them to 64 x 64 pixels.

    References
    ----------
    Reed, Zhang, Zhang and Lee, "Deep Visual Analogy-Making", NeurIPS 2015.

    Examples
    --------
    >>> from skdisentangle.datasets import fetch_cars3d
    >>> cars = fetch_cars3d(n_samples=1000, random_state=0)  # doctest: +SKIP
    >>> cars.data.shape, cars.target.shape  # doctest: +SKIP
    ((1000, 49152), (1000, 3))
    """
    check_arguments(n_samples, random_state, n_retries, delay)
    folder = data_folder(data_home, "cars3d")

    def read_source() -> Source:
        (path,) = get_files(
            [ARCHIVE],
            folder,
            download_if_missing=download_if_missing,
            n_retries=n_retries,
            delay=delay,
        )
        return _read(path)

    images, classes, values = cached_arrays(folder, "cars3d", read_source)
    bunch = make_bunch(
        images,
        classes,
        values,
        n_samples=n_samples,
        random_state=random_state,
        factor_names=["elevation", "azimuth", "object"],
        categorical=(2,),
        descr=DESCR,
    )
    bunch.periods = {1: float(len(values[1]))}
    return (bunch.data, bunch.target) if return_X_y else bunch


def _members(path: Path) -> Iterator[tuple[str, BytesIO]]:
    """Names and contents of the files in the archive's folder of cars."""
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            if name.parent.name != "cars":
                continue
            if (member.issym() or member.islnk()) and not _is_within(member):
                raise OSError(
                    f"{path}: {member.name!r} in it is a link that leads out of its "
                    f"folder, to {member.linkname!r}; it is not followed."
                )
            file = archive.extractfile(member)
            if file is not None:
                yield name.name, BytesIO(file.read())


def _is_within(member: tarfile.TarInfo) -> bool:
    """Whether a link leads to a file of the folder that it is in."""
    folder = posixpath.dirname(member.name)
    # a hard link counts from the top of the archive
    start = folder if member.issym() else ""
    target = posixpath.normpath(posixpath.join(start, member.linkname))
    return posixpath.dirname(target) == posixpath.normpath(folder)


def _load_views(file: BytesIO, path: Path) -> NDArray[np.uint8]:
    """Views of a car, shape (n_elevations, n_azimuths, 3, H, W)."""
    views: NDArray[np.uint8] = loadmat(file, variable_names=["im"]).get(
        "im", np.empty(0)
    )
    if views.ndim != 5 or views.shape[2] != 3 or views.dtype != np.uint8:
        raise ValueError(
            f"{path}: expected 'im' of each car to be uint8 of shape (128, 128, 3, 24, 4); "
            f"got {views.dtype} of shape {views.shape}."
        )
    return views.transpose(4, 3, 2, 0, 1)


def _read(path: Path) -> Source:
    names: list[str] = []
    views = None
    for name, file in _members(path):
        if name == "list.txt":
            names = file.read().decode().split()
        elif name.endswith(".mat") and views is None:
            views = _load_views(file, path)
        if names and views is not None:
            break
    if views is None or not names:
        raise ValueError(f"{path}: expected data/cars/list.txt and data/cars/*.mat.")
    sizes = (*views.shape[:2], len(names))
    n_samples = int(np.prod(sizes))
    classes = np.column_stack(np.unravel_index(np.arange(n_samples), sizes))
    shape = (n_samples, *views.shape[2:])
    return Source(
        shape, _blocks(path, names), classes, [np.arange(size) for size in sizes]
    )


def _blocks(path: Path, names: list[str]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """One image after the other, of the cars in the order of the archive."""
    missing = {f"{name}.mat": number for number, name in enumerate(names)}
    for name, file in _members(path):
        number = missing.pop(name, None)
        if number is not None:
            views = _load_views(file, path)
            for view, image in enumerate(views.reshape(-1, *views.shape[2:])):
                yield view * len(names) + number, image[None]
    if missing:
        raise ValueError(f"{path}: list.txt names {list(missing)}, which are missing.")
