"""SmallNORB: photographs of toys by two cameras, in all poses and lights."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._random import RandomState
from ._cache import Source, cached_arrays, encode_factors, make_bunch
from ._download import (
    RemoteFile,
    check_arguments,
    data_folder,
    get_files,
    rows_per_block,
)

__all__ = ["fetch_smallnorb"]

_HOST = "https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/"
_TRAIN = "smallnorb-5x46789x9x18x6x2x96x96-training-"
_TEST = "smallnorb-5x01235x9x18x6x2x96x96-testing-"

#: Images, categories and other factors of the training half, then of the test half.
#: Addresses and SHA256 as in tensorflow_datasets/url_checksums/smallnorb.txt.
ARCHIVES = tuple(
    RemoteFile(f"{name}.mat.gz", f"{_HOST}{name}.mat.gz", f"sha256:{checksum}")
    for name, checksum in [
        (
            _TRAIN + "dat",
            "5ffd6272a07d32695ee1082a26a41a93a37aab8c28da047f8c34ed348d214873",
        ),
        (
            _TRAIN + "cat",
            "2784e542c1922060691090952b6cd6278879a216c90f81476f0f00256d42cdaa",
        ),
        (
            _TRAIN + "info",
            "de7eb932ebe7a4ee16217fead60660d0eb3d23632c2f4d1c51f88c501c17bf32",
        ),
        (
            _TEST + "dat",
            "cf7104eed3e51174d2f65b66d1e5878b9da233b886f161b0d88f4510ba2c7474",
        ),
        (
            _TEST + "cat",
            "ecaf6d5bb8c3bc5eab9cf0258f6d2198dd474e016e374836fc097f2e5ff509ff",
        ),
        (
            _TEST + "info",
            "16adf314226327ee006d1a44db8cfef52773c06c829951d5653a9f6f310248a2",
        ),
    ]
)

#: First four bytes of a matrix, and what its numbers are.
MAGIC: dict[int, np.dtype[Any]] = {
    0x1E3D4C55: np.dtype("u1"),
    0x1E3D4C54: np.dtype("<i4"),
}

CAMERAS = {"left": slice(0, 1), "right": slice(1, 2), "both": slice(0, 2)}

DESCR = """\
SmallNORB: photographs of 50 toys in all poses and lights, 24,300 training and 24,300 test
images of 96 x 96 grey pixels for each of two cameras. The two halves show different toys.

Columns of `target`:

- category: 0 animal, 1 human, 2 plane, 3 truck, 4 car; unordered.
- instance: number of the toy within its category, 0, ..., 9; unordered. Toys of the same
  number in two categories have nothing in common. 4, 6, 7, 8 and 9 are in the training
  half.
- elevation: of the cameras, 0, ..., 8 for 30, 35, ..., 70 degrees from the horizontal.
- azimuth: 0, ..., 17 for 0, 20, ..., 340 degrees (half of the file's 0, 2, ..., 34); its
  period is 18.
- lighting: 0, ..., 5; unordered.

F. J. Huang and Y. LeCun, "The small NORB dataset", v1.0, 2005, for research only,
https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/.
"""


def fetch_smallnorb(
    *,
    subset: str = "all",
    camera: str = "left",
    n_samples: int | None = None,
    random_state: RandomState = None,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Any:
    """Load SmallNORB: five factors of photographed toys (48,600 images).

    The six official files (.mat.gz) are read from `data_home`, or downloaded if they are
    missing (263 MB). All six are needed for any subset.

    Parameters
    ----------
    subset : {"all", "train", "test"}, default="all"
        ``"all"`` is the training rows, then the test rows.
    camera : {"left", "right", "both"}, default="left"
        Camera whose images to load. ``"both"`` gives images of two channels.
    n_samples : int or None, default=None
        Number of rows to draw at random without replacement, in their original order.
        None takes all rows of `subset`.
    random_state : int, RandomState or None, default=None
        Seed for the draw of `n_samples`. None draws differently in each call. The global
        random state is never used.
    data_home : str, path-like or None, default=None
        Folder of the data sets. None means that of scikit-learn, see
        :func:`sklearn.datasets.get_data_home`. This set is in its subfolder ``smallnorb``.
    download_if_missing : bool, default=True
        Whether to download the official files.
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

        data : ndarray of uint8, shape (n_samples, 9216)
            One image per row of the array, by row of the image. Without `n_samples`, a
            read-only view of the file on disk: pixels are read when you use them. With two
            cameras 18,432 columns, the left one first.
        images : ndarray of uint8, shape (n_samples, 96, 96) or (n_samples, 96, 96, 2)
            The same memory, shaped as images.
        target : ndarray of float64, shape (n_samples, 5)
            The factors: the file's values, the azimuth halved.
        target_classes : ndarray of int64, shape (n_samples, 5)
            The class of each factor, from 0.
        factor_names : list of str
            "category", "instance", "elevation", "azimuth", "lighting".
        input_shape : tuple
            (1, 96, 96), or (2, 96, 96) with two cameras.
        categorical : tuple
            Columns of `target` that are classes without order: (0, 1, 4).
        periods : dict
            The period of the azimuth, whose steps are 20 degrees: ``{3: 18.0}``.
        DESCR : str
            What the factors mean.

    (data, target) : tuple if ``return_X_y=True``
        Two of these attributes.

    Raises
    ------
    OSError
        If an official file is missing and cannot be downloaded (the message says what to put
        where), or is not the official one.
    ValueError, TypeError
        If an argument is not as described. The message says which.

    Notes
    -----
    The first call converts the official files to arrays beside them, 0.9 GB on disk. Later
    calls map the arrays into memory and read only the rows that you use. You may then
    delete the official files.

    References
    ----------
    LeCun, Huang and Bottou, "Learning methods for generic object recognition with
    invariance to pose and lighting", CVPR 2004.
    https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/

    Examples
    --------
    >>> from skdisentangle.datasets import fetch_smallnorb
    >>> toys = fetch_smallnorb(subset="train")  # doctest: +SKIP
    >>> toys.data.shape, toys.target.shape  # doctest: +SKIP
    ((24300, 9216), (24300, 5))
    """
    if subset not in ("all", "train", "test"):
        raise ValueError(f"subset: got {subset!r}; expected 'all', 'train' or 'test'.")
    if camera not in list(CAMERAS):
        raise ValueError(f"camera: got {camera!r}; expected one of {list(CAMERAS)}.")
    check_arguments(n_samples, random_state, n_retries, delay)
    folder = data_folder(data_home, "smallnorb")

    def read_source() -> Source:
        paths = get_files(
            ARCHIVES,
            folder,
            download_if_missing=download_if_missing,
            n_retries=n_retries,
            delay=delay,
        )
        return _read(paths)

    images, classes, values = cached_arrays(folder, "smallnorb", read_source)
    n_train = int(np.sum(classes[:, 0] == 0))  # the first column says which half
    rows = {"all": slice(None), "train": slice(n_train), "test": slice(n_train, None)}
    bunch = make_bunch(
        images,
        classes[:, 1:],
        values[1:],
        n_samples=n_samples,
        random_state=random_state,
        factor_names=["category", "instance", "elevation", "azimuth", "lighting"],
        categorical=(0, 1, 4),
        descr=DESCR,
        within=rows[subset],
        channels=CAMERAS[camera],
    )
    bunch.periods = {3: float(len(values[4]))}
    return (bunch.data, bunch.target) if return_X_y else bunch


def _read_header(file: gzip.GzipFile) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Type and shape of a matrix, from the start of its file."""
    magic, n_dims = np.frombuffer(file.read(8), "<i4")
    if int(magic) not in MAGIC:
        raise ValueError(
            f"{file.name}: expected a NORB matrix of bytes or integers; "
            f"its first four bytes are {int(magic):#x}."
        )
    # at least three dimensions are stored
    stored = np.frombuffer(file.read(4 * max(3, int(n_dims))), "<i4")
    return MAGIC[int(magic)], tuple(int(size) for size in stored[:n_dims])


def _read_matrix(path: Path) -> NDArray[np.int32]:
    with gzip.open(path) as file:
        dtype, shape = _read_header(file)
        return np.frombuffer(file.read(), dtype).reshape(shape)


def _read_shape(path: Path) -> tuple[int, ...]:
    with gzip.open(path) as file:
        return _read_header(file)[1]


def _blocks(paths: Sequence[Path]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Images of several files, one after the other, in blocks."""
    start = 0
    for path in paths:
        with gzip.open(path) as file:
            _, shape = _read_header(file)
            row_bytes = prod(shape[1:])
            step = rows_per_block(row_bytes)
            for first in range(0, shape[0], step):
                n_rows = min(step, shape[0] - first)
                rows = np.frombuffer(file.read(n_rows * row_bytes), np.uint8)
                yield start + first, rows.reshape(n_rows, *shape[1:])
            start += shape[0]


def _read(paths: Sequence[Path]) -> Source:
    images = [paths[0], paths[3]]
    shapes = [_read_shape(path) for path in images]
    halves = []
    for half, (cat, info) in enumerate([paths[1:3], paths[4:6]]):
        category, others = _read_matrix(cat), _read_matrix(info)
        halves.append(np.column_stack([np.full(len(category), half), category, others]))
    target = np.vstack(halves).astype(np.float64)
    target[:, 4] /= 2  # the azimuth
    shape = (sum(s[0] for s in shapes), *shapes[0][1:])
    return Source(shape, _blocks(images), *encode_factors(target))
