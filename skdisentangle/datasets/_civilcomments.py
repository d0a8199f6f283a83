"""CivilComments: toxicity of comments, and the identities that they mention."""

from __future__ import annotations

import os

import numpy as np
from sklearn.utils import Bunch

from ._layouts import (
    as_objects,
    check_codes,
    find_folder,
    read_columns,
    warn_if_partial,
)

__all__ = ["load_civilcomments"]

TABLE = "all_data_with_identities.csv"

SOURCE = (
    "The archive of CivilComments-WILDS, linked from https://wilds.stanford.edu, unpacks "
    "to 'civilcomments_v1.0'."
)

N_COMMENTS = 448_000

IDENTITIES = (
    "male",
    "female",
    "LGBTQ",
    "christian",
    "muslim",
    "other_religions",
    "black",
    "white",
)

FURTHER = (
    "identity_any",
    "severe_toxicity",
    "obscene",
    "threat",
    "insult",
    "identity_attack",
    "sexual_explicit",
)

DESCR = """\
CivilComments: 448,000 comments on news articles, with the shares of raters who found them
toxic, toxic in one of six specific ways, or mentioning an identity. A share of 0.5 or more
counts as 1, anything less as 0.

Metric: accuracy on the worst of 16 groups (`groups`). A group holds the toxic or the other
comments that mention one of 8 identities. A comment may be in several groups, or none. Some use
the four groups of any identity x toxicity (`coarse_groups`) instead. Do not compare scores of
the two. WILDS asks for 5 seeds.

D. Borkan, L. Dixon, J. Sorensen, N. Thain and L. Vasserman, "Nuanced metrics for measuring
unintended bias with real data for text classification", WWW 2019; P. W. Koh, S. Sagawa et al.,
"WILDS: a benchmark of in-the-wild distribution shifts", ICML 2021. Licence: CC0.
"""


def load_civilcomments(path: str | os.PathLike[str]) -> Bunch:
    """Load CivilComments as in WILDS: toxicity, identities, 16 tasks.

    Nothing is downloaded. All comments are read into memory (about 0.5 GB).

    Parameters
    ----------
    path : str or path-like
        The folder that holds ``all_data_with_identities.csv``, or the folder that
        contains it as ``civilcomments_v1.0``.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        A dictionary with attributes:

        text : ndarray of str, shape (n_samples,)
            The comments, with quotes and line breaks as they were written.
        target : ndarray of int64, shape (n_samples,)
                1 if toxic: at least half of the raters say so.
        target_names : list of str
            Their names.
        Y_tasks : ndarray of float64, shape (n_samples, 16)
            Toxicity, 8 identities, 7 further labels, cut at 0.5 likewise; NaN where the
            table is blank.
        task_names, task_types : list of str
            For each column of `Y_tasks`.
        group_tasks : list of str
            Tasks that identify the groups: the identities, and "identity_any".
        groups : ndarray of bool, shape (n_samples, 16)
            Which groups of identity x toxicity a comment is in: several, or none.
        group_names : list of str
            Their names.
        coarse_groups : ndarray of int64, shape (n_samples,)
            2 * target + whether any of the 8 identities is there: the coarse form.
        coarse_group_names : list of str
            Their names.
        split : ndarray of str, shape (n_samples,)
            "train", "val" or "test".
        DESCR : str
            Description, metric, licence and citation.

    Raises
    ------
    OSError
        If the file is missing (the message says what to get from where), cut off, or not
        the official one.
    TypeError
        If `path` is not a path.

    Warns
    -----
    UserWarning
        If the number of comments differs from the official set.

    Examples
    --------
    >>> from skdisentangle.datasets import load_civilcomments
    >>> comments = load_civilcomments("data")  # doctest: +SKIP
    >>> comments.groups.shape  # doctest: +SKIP
    (448000, 16)
    """
    folder = find_folder(
        "CivilComments", path, ("civilcomments_v1.0",), (TABLE,), SOURCE
    )
    table = folder / TABLE
    tasks = ("toxicity", *IDENTITIES, *FURTHER)
    columns = read_columns(
        table, {"comment_text": "str", "split": "str", **dict.fromkeys(tasks, "float")}
    )
    splits = ("train", "val", "test")
    check_codes(table, "split", columns["split"], splits)
    shares = np.column_stack([columns[name] for name in tasks])
    outside = np.argwhere((shares < 0) | (shares > 1))
    if len(outside) or np.isnan(shares[:, 0]).any():
        row, column = (
            outside[0] if len(outside) else (np.isnan(shares[:, 0]).argmax(), 0)
        )
        raise OSError(
            f"{table} is not the official file: column {tasks[column]!r} must hold shares "
            f"from 0 to 1; got {float(shares[row, column])} in row {row}."
        )
    warn_if_partial("CivilComments", len(shares), N_COMMENTS)
    target = (shares[:, 0] >= 0.5).astype(np.int64)
    present = shares[:, 1 : 1 + len(IDENTITIES)] >= 0.5  # a blank is not present
    toxic = target[:, None] == np.arange(2)
    groups = present[:, :, None] & toxic[:, None, :]
    said = ["not toxic", "toxic"]
    return Bunch(
        text=as_objects(columns["comment_text"]),
        target=target,
        target_names=said,
        Y_tasks=np.where(np.isnan(shares), np.nan, shares >= 0.5),
        task_names=list(tasks),
        task_types=["binary"] * len(tasks),
        group_tasks=[*IDENTITIES, "identity_any"],
        groups=groups.reshape(len(groups), -1),
        group_names=[f"{name}, {word}" for name in IDENTITIES for word in said],
        coarse_groups=2 * target + present.any(axis=1),
        coarse_group_names=[
            f"{identity}, {word}" for word in said for identity in ("none", "any")
        ],
        split=np.array(columns["split"]),
        DESCR=DESCR,
    )
