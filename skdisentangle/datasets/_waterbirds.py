"""Waterbirds: birds pasted on backgrounds that mostly match their kind."""

from __future__ import annotations

import os
import re

import numpy as np
from sklearn.utils import Bunch

from ._layouts import (
    as_objects,
    check_codes,
    check_files,
    find_folder,
    read_columns,
    warn_if_partial,
)

__all__ = ["load_waterbirds"]

FOLDERS = ("waterbird_complete95_forest2water2", "waterbirds_v1.0")

SOURCE = (
    "The archive 'waterbird_complete95_forest2water2' is linked from "
    "https://github.com/kohpangwei/group_DRO; that of WILDS, https://wilds.stanford.edu, "
    "unpacks to 'waterbirds_v1.0' with the same files."
)

N_IMAGES = 11_788

DESCR = """\
Waterbirds: 11,788 birds of 200 species (CUB-200-2011), cut out and pasted on land or water
(Places). In training, 95% of waterbirds are on water and of landbirds on land; in validation
and test, half of each.

`target` is landbird (0) or waterbird (1). Groups are 2 * target + place: 3,498, 184, 56 and
1,057 training rows. Metrics: accuracy on the worst of the four groups, and the average over
groups weighted by their sizes in training, see `skdisentangle.metrics.worst_group_accuracy`.

S. Sagawa, P. W. Koh, T. B. Hashimoto and P. Liang, "Distributionally robust neural networks
for group shifts", ICLR 2020, https://github.com/kohpangwei/group_DRO. Licence: for
non-commercial research and education only.
"""


def load_waterbirds(path: str | os.PathLike[str]) -> Bunch:
    """Load Waterbirds: birds on a spurious background, with four tasks.

    Nothing is downloaded.

    Parameters
    ----------
    path : str or path-like
        The folder that holds ``metadata.csv`` and the images, or the folder that
        contains it as ``waterbird_complete95_forest2water2`` or ``waterbirds_v1.0``.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        A dictionary with attributes:

        paths : ndarray of str, shape (n_samples,)
            The image files. Read them with :func:`read_images`.
        target : ndarray of int64, shape (n_samples,)
            0 landbird, 1 waterbird.
        target_names : list of str
            Their names.
        Y_tasks : ndarray of float64, shape (n_samples, 4)
            The target, the species (out of 200), the place (land or water), the finer
            place (out of 4).
        task_names, task_types : list of str
            For each column of `Y_tasks`.
        task_classes : list of list of str
            Names of the classes of each task.
        group_tasks : list of str
            Tasks that identify the groups: "place", "fine place".
        groups : ndarray of int64, shape (n_samples,)
            2 * target + place.
        group_names : list of str
            Their names.
        split : ndarray of str, shape (n_samples,)
            "train", "val" or "test".
        DESCR : str
            Description, metric, licence and citation.

    Raises
    ------
    OSError
        If the folder, the table or an image is missing (the message says what to get from
        where), or the table is cut off or not the official one.
    TypeError
        If `path` is not a path.

    Warns
    -----
    UserWarning
        If the number of images differs from the official set.

    Examples
    --------
    >>> from skdisentangle.datasets import load_waterbirds
    >>> birds = load_waterbirds("data")  # doctest: +SKIP
    >>> train = birds.split == "train"  # doctest: +SKIP
    """
    folder = find_folder("Waterbirds", path, FOLDERS, ("metadata.csv",), SOURCE)
    table = folder / "metadata.csv"
    columns = read_columns(
        table,
        {
            "img_filename": "str",
            "y": "int",
            "split": "int",
            "place": "int",
            "place_filename": "str",
        },
    )
    check_codes(table, "y", columns["y"], (0, 1))
    check_codes(table, "place", columns["place"], (0, 1))
    check_codes(table, "split", columns["split"], (0, 1, 2))
    names = columns["img_filename"]
    check_files(folder, names, table)
    warn_if_partial("Waterbirds", len(names), N_IMAGES)
    species, kind = np.unique(
        [name.partition("/")[0] for name in names], return_inverse=True
    )
    fine_places, spot = np.unique(
        [_fine_place(table, name) for name in columns["place_filename"]],
        return_inverse=True,
    )
    target, place = columns["y"], columns["place"]
    birds, places = ["landbird", "waterbird"], ["land", "water"]
    return Bunch(
        paths=as_objects([str(folder / name) for name in names]),
        target=target,
        target_names=birds,
        Y_tasks=np.column_stack([target, kind, place, spot]).astype(np.float64),
        task_names=["waterbird", "species", "place", "fine place"],
        task_types=["binary", "multiclass", "binary", "multiclass"],
        task_classes=[birds, species.tolist(), places, fine_places.tolist()],
        group_tasks=["place", "fine place"],
        groups=2 * target + place,
        group_names=[f"{bird} on {place}" for bird in birds for place in places],
        split=np.array(["train", "val", "test"])[columns["split"]],
        DESCR=DESCR,
    )


def _fine_place(table: os.PathLike[str], filename: str) -> str:
    """The category out of a file name of Places: "/f/forest/broadleaf/00000123.jpg"."""
    match = re.fullmatch(r"/?\w/(.+)/[^/]+\.jpg", filename)
    if match is None:
        raise OSError(
            f"{table} is cut off or not the official file: column 'place_filename' must "
            f"hold names such as '/o/ocean/00000123.jpg'; got {filename!r}."
        )
    return match[1]
