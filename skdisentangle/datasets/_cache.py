"""Cache images and factors of a data set as arrays on disk, and return them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from numbers import Integral
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_scalar

from .._random import RandomState, check_rng
from .._replacing import replacing
from ._download import Images, refuse_link

__all__ = ["Source", "cached_arrays", "encode_factors", "make_bunch"]

MappedImages = np.memmap[Any, np.dtype[np.uint8]]


class Source(NamedTuple):
    """What an official file holds, for the cache.

    Attributes
    ----------
    shape : tuple
        Shape of all images, (n_samples, C, H, W).
    blocks : iterable of (int, ndarray of uint8)
        Consecutive images, shape (n, C, H, W), and the row of the first of them. Blocks
        may come in any order; each row comes once.
    classes : ndarray of int, shape (n_samples, n_factors)
        The class of each factor.
    values : list of ndarray
        For each factor the values of its classes.
    """

    shape: tuple[int, ...]
    blocks: Iterable[tuple[int, Images]]
    classes: NDArray[Any]
    values: Sequence[NDArray[Any]]


def encode_factors(
    target: NDArray[np.float64],
) -> tuple[NDArray[np.intp], list[NDArray[np.float64]]]:
    """Classes of each factor, shape (n_samples, n_factors), and their sorted values."""
    pairs = [np.unique(column, return_inverse=True) for column in target.T]
    return np.column_stack([c for _, c in pairs]), [values for values, _ in pairs]


def cached_arrays(
    folder: Path,
    name: str,
    read_source: Callable[[], Source],
    shape: tuple[int, ...] | None = None,
) -> tuple[MappedImages, NDArray[Any], list[NDArray[Any]]]:
    """Images of a data set as a memory map, and its factors; converted at first use.

    Parameters
    ----------
    folder : Path
        Where the cache is: ``<name>_images.npy`` and ``<name>_factors.npz``.
    name : str
        What distinguishes this set from others in the same folder.
    read_source : callable
        Opens the official file, only if the cache is not there.
    shape : tuple, default=None
        Shape that the images must have. None takes any: the checksum of the official
        file vouches for it.

    Returns
    -------
    images : memmap of uint8, shape (n_samples, C, H, W)
    classes : ndarray of int, shape (n_samples, n_factors)
    values : list of ndarray
        As in `Source`.

    Raises
    ------
    OSError
        If a file of the cache is damaged, or a link that leads out of the folder.
    """
    images_path = folder / f"{name}_images.npy"
    factors_path = folder / f"{name}_factors.npz"
    for path in (images_path, factors_path):
        refuse_link(path)
    if not (images_path.exists() and factors_path.exists()):
        source = read_source()
        if len(source.classes) != source.shape[0]:
            raise ValueError(
                f"{name}: expected factors for each of {source.shape[0]} images; got "
                f"{len(source.classes)} rows."
            )
        small = np.min_scalar_type(int(source.classes.max()))
        arrays: dict[str, Any] = {"classes": source.classes.astype(small)}
        arrays |= {f"values_{j}": table for j, table in enumerate(source.values)}
        with replacing(factors_path) as file:
            np.savez(file, **arrays)
        with replacing(images_path) as file:
            _write_images(file, source)
    with _named_if_damaged(factors_path):
        # opened here, as numpy leaves a damaged file open
        with open(factors_path, "rb") as file, np.load(file) as stored:
            classes = stored["classes"]
            values = [stored[f"values_{j}"] for j in range(classes.shape[1])]
        if not _are_factors(classes, values):
            raise ValueError("its classes do not match its values")
    with _named_if_damaged(images_path):
        images = np.load(images_path, mmap_mode="r")
        wanted = shape or (len(classes), *images.shape[1:])
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape != wanted:
            raise ValueError(
                f"it holds {images.dtype} of shape {images.shape} instead of uint8 of "
                f"shape {shape or (len(classes), 'C', 'H', 'W')}"
            )
        if not images.flags.c_contiguous:
            raise ValueError("its rows are not in C order")
        size = images_path.stat().st_size
        if size != images.offset + images.nbytes:
            raise ValueError(
                f"it has {size:,} bytes instead of {images.offset + images.nbytes:,}"
            )
    return images, classes, values


@contextmanager
def _named_if_damaged(path: Path) -> Iterator[None]:
    """Say which file of the cache is damaged, and what to do."""
    try:
        yield
    except (
        AttributeError,  # of another kind of file than is due
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise OSError(
            f"{path} is damaged or was not converted from the official file: {error}. "
            "Remove it to convert the official file again."
        ) from error


def _are_factors(classes: NDArray[Any], values: Sequence[NDArray[Any]]) -> bool:
    return (
        classes.ndim == 2
        and classes.dtype.kind in "iu"
        and all(
            table.ndim == 1
            and table.dtype.kind in "iuf"
            and column.min() >= 0
            and column.max() < len(table)
            for column, table in zip(classes.T, values, strict=True)
        )
    )


def _write_images(file: IO[bytes], source: Source) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": source.shape}
    np.lib.format.write_array_header_1_0(file, header)
    start = file.tell()
    n_written = 0
    for first, block in source.blocks:
        file.seek(start + first * prod(source.shape[1:]))
        file.write(np.ascontiguousarray(block).data)
        n_written += len(block)
    if n_written != source.shape[0]:
        raise ValueError(f"Expected {source.shape[0]} images; got {n_written}.")


def _read_rows(images: MappedImages, rows: NDArray[np.intp]) -> Images:
    """Rows of a memory map, by plain reads: the map would load their neighbours, too."""
    taken = np.empty((len(rows), *images.shape[1:]), dtype=np.uint8)
    flat = taken.reshape(len(rows), -1)
    with open(str(images.filename), "rb", buffering=0) as file:
        for row, target in zip(rows, flat, strict=True):
            file.seek(images.offset + int(row) * flat.shape[1])
            file.readinto(target.data)
    return taken


def make_bunch(
    images: MappedImages,
    classes: NDArray[Any],
    values: Sequence[NDArray[Any]],
    *,
    n_samples: int | None,
    random_state: RandomState,
    factor_names: Sequence[str],
    categorical: tuple[int, ...],
    descr: str,
    within: slice = slice(None),
    channels: slice = slice(None),
) -> Bunch:
    """Put a data set, or a random subsample of its rows, into the form users get.

    Parameters
    ----------
    images : memmap of uint8, shape (n_rows, C, H, W)
        All images as they are on disk; only the chosen ones are read.
    classes : ndarray of int, shape (n_rows, n_factors)
    values : sequence of ndarray
        As in `Source`.
    n_samples : int or None
        Size of the subsample; None takes all rows.
    random_state : int, RandomState or None
        For the subsample.
    factor_names : sequence of str
    categorical : tuple of int
    descr : str
        As in the result.
    within : slice, default=slice(None)
        The rows to draw from.
    channels : slice, default=slice(None)
        Which channels to keep.

    Returns
    -------
    bunch : Bunch
        Without angles: `periods` is empty.
    """
    chosen: Images = images[within]
    classes = classes[within]
    if n_samples is not None:
        check_scalar(n_samples, "n_samples", Integral, min_val=1, max_val=len(chosen))
        rng = check_rng(random_state)
        drawn = np.sort(rng.permutation(len(chosen))[:n_samples])
        chosen = _read_rows(images, np.arange(len(images))[within][drawn])
        classes = classes[drawn]
    chosen = chosen[:, channels]
    n_channels = chosen.shape[1]
    columns = [table[c] for table, c in zip(values, classes.T, strict=True)]
    return Bunch(
        data=chosen.reshape(len(chosen), -1),
        images=chosen[:, 0] if n_channels == 1 else np.moveaxis(chosen, 1, -1),
        target=np.column_stack(columns).astype(np.float64),
        target_classes=classes.astype(np.int64),
        factor_names=list(factor_names),
        input_shape=tuple(int(size) for size in chosen.shape[1:]),
        categorical=categorical,
        periods={},
        DESCR=descr,
    )
