"""Camelyon17: tumours in patches of tissue from five hospitals."""

from __future__ import annotations

import os

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

__all__ = ["load_camelyon17"]

SOURCE = (
    "The archive of Camelyon17-WILDS, linked from https://wilds.stanford.edu, unpacks to "
    "'camelyon17_v1.0', with 'metadata.csv' and 'patches'."
)

N_PATCHES = 455_954

#: Centres that are held back whole; WILDS counts from 0.
VAL_CENTER, TEST_CENTER = 1, 2

DESCR = """\
Camelyon17: 455,954 patches of 96 x 96 pixels of lymph nodes, from 50 slides of 5 hospitals
(centres). `target` is 1 if there is tumour in the middle 32 x 32 pixels.

Splits are those of WILDS: all of centre 1 is for validation (34,904 patches), all of
centre 2 for test (85,054). Of the others, the table marks 302,436 for training and 33,560 for
validation in the domain. Metric: average accuracy on the test centre. Scores vary so much from
fit to fit that WILDS asks for 10 seeds.

P. Bandi et al., "From detection of individual metastases to classification of lymph node
status at the patient level: the CAMELYON17 challenge", IEEE Transactions on Medical Imaging,
2018; P. W. Koh, S. Sagawa et al., "WILDS: a benchmark of in-the-wild distribution shifts",
ICML 2021. Licence: CC0.
"""


def load_camelyon17(path: str | os.PathLike[str]) -> Bunch:
    """Load Camelyon17 as in WILDS: tumours, with unseen hospitals for testing.

    Nothing is downloaded.

    Parameters
    ----------
    path : str or path-like
        The folder that holds ``metadata.csv`` and ``patches``, or the folder that
        contains it as ``camelyon17_v1.0``.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        A dictionary with attributes:

        paths : ndarray of str, shape (n_samples,)
            The image files. Read them with :func:`read_images`.
        target : ndarray of int64, shape (n_samples,)
            1 if there is tumour.
        target_names : list of str
            Their names.
        Y_tasks : ndarray of float64, shape (n_samples, 3)
            The target, the centre (out of 5), the slide (out of 50).
        task_names, task_types : list of str
            For each column of `Y_tasks`.
        group_tasks : list of str
            Tasks that identify the domain: "centre", "slide".
        domain : ndarray of int64, shape (n_samples,)
            The centre, from 0.
        domain_names : list of str
            Their names.
        patient : ndarray of str, shape (n_samples,)
            The patient of the patch, such as "004".
        split : ndarray of str, shape (n_samples,)
            "train"; "id_val", validation rows of the training centres; "val", centre 1;
            "test", centre 2. The table itself tells only the first two apart.
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
        If the number of patches differs from the official set.

    Examples
    --------
    >>> from skdisentangle.datasets import load_camelyon17
    >>> tissue = load_camelyon17("data")  # doctest: +SKIP
    >>> test = tissue.split == "test"  # doctest: +SKIP
    """
    folder = find_folder(
        "Camelyon17", path, ("camelyon17_v1.0",), ("metadata.csv", "patches"), SOURCE
    )
    table = folder / "metadata.csv"
    columns = read_columns(
        table,
        {
            "patient": "str",  # "004" is part of a file's name
            "node": "str",
            "x_coord": "str",
            "y_coord": "str",
            "tumor": "int",
            "slide": "int",
            "center": "int",
            "split": "int",
        },
    )
    target, center = columns["tumor"], columns["center"]
    check_codes(table, "tumor", target, (0, 1))
    check_codes(table, "center", center, range(5))
    check_codes(table, "split", columns["split"], (0, 1))
    names = [
        f"patches/patient_{patient}_node_{node}/"
        f"patch_patient_{patient}_node_{node}_x_{x}_y_{y}.png"
        for patient, node, x, y in zip(
            columns["patient"],
            columns["node"],
            columns["x_coord"],
            columns["y_coord"],
            strict=True,
        )
    ]
    check_files(folder, names, table)
    warn_if_partial("Camelyon17", len(names), N_PATCHES)
    split = np.array(["train", "id_val"])[columns["split"]]
    split[center == VAL_CENTER] = "val"
    split[center == TEST_CENTER] = "test"
    return Bunch(
        paths=as_objects([str(folder / name) for name in names]),
        target=target,
        target_names=["normal", "tumour"],
        Y_tasks=np.column_stack([target, center, columns["slide"]]).astype(np.float64),
        task_names=["tumour", "centre", "slide"],
        task_types=["binary", "multiclass", "multiclass"],
        group_tasks=["centre", "slide"],
        domain=center,
        domain_names=[f"centre {c}" for c in range(5)],
        patient=as_objects(columns["patient"]),
        split=split,
        DESCR=DESCR,
    )
