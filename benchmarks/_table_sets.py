"""Real tables with several labels a row, read from files that anyone can get.

None is part of this repository. They are looked for, at any depth, below the folder that
``--data`` or the environment variable ``SKDISENTANGLE_DATA`` names:

- ``atp7d.arff``, ``enb.arff``, ``jura.arff``, ``oes97.arff``, ``wq.arff`` (or gzipped): the
  multi-target sets of Mulan, https://mulan.sourceforge.net/datasets-mtr.html.
- ``tox21_features.npz``: Tox21 of MoleculeNet, https://moleculenet.org. By molecule
  ``ecfp4_packed`` (1,024 bits of Morgan fingerprints of radius 2, from ``np.packbits``), ``Y``
  (-1 where a label is missing), ``parsed`` (whether RDKit reads it) and ``scaffold_id``
  (a number for each Bemis-Murcko scaffold).
- ``disdat_NZ.npz``: plants of New Zealand, region "NZ" of CRAN's package disdat. By site ``X``
  (13 variables of the environment), ``Y`` (presence of each species) and ``xy`` (easting and
  northing, in metres).
- ``hiv_nrti.npz``: ``X`` and ``Y`` are the data ``HIV`` of CRAN's package MTPS: mutations, and
  resistance to five drugs.
- ``psych_bfi.csv`` (or gzipped) and ``psych_keys.json``: ``bfi`` and ``bfi.keys`` of CRAN's
  package psychTools, the latter as ``{"bfi.keys": {scale: [item or -item, ...]}}``.
- ``psych_epi.csv``, ``psych_msq.csv`` and ``psych_spi.csv`` (or gzipped): ``epi``, ``msq`` and
  ``spi`` of the same package, written by ``write.csv(..., row.names = FALSE)``.

Diabetes and linnerud come with scikit-learn; piosphere, chemicals and yeast are those of
:mod:`benchmarks._real`.
"""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy.io import arff
from sklearn import datasets

from benchmarks._real import LOADERS, data_folder, find_file

#: Where files come from that are missing.
MULAN = "Get it from https://mulan.sourceforge.net/datasets-mtr.html"
MOLECULENET = (
    "Make it of Tox21 from https://moleculenet.org as benchmarks/_table_sets.py says"
)
DISDAT = "Make it of CRAN's package disdat as benchmarks/_table_sets.py says"
MTPS = "Make it of CRAN's package MTPS as benchmarks/_table_sets.py says"
PSYCH = "Make it of CRAN's package psychTools as benchmarks/_table_sets.py says"


@dataclass(frozen=True)
class Table:
    """Rows, labels (NaN where missing), and groups of rows that a shift holds out whole."""

    X: np.ndarray
    Y: np.ndarray
    groups: np.ndarray | None = None


@dataclass(frozen=True)
class Source:
    """How a set is read, and what is known of it before.

    Attributes
    ----------
    read : callable
        Gives a :class:`Table`.
    kind : {"regression", "binary"}
        Of all tasks.
    complete : bool
        Whether no label is missing.
    many : bool
        Whether there are eight tasks or more.
    shift : str
        What its groups are; empty if it has none.
    """

    read: Callable[[], Table]
    kind: str
    complete: bool = True
    many: bool = False
    shift: str = ""


def read_arff(name, n_tasks):
    """A set of Mulan; its last columns are the tasks."""
    path = find_file(f"{name}.arff*", MULAN)
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    records, _ = arff.loadarff(io.StringIO(content.decode("utf-8")))
    frame = pd.DataFrame(records)
    for column in frame:
        if isinstance(frame[column].iloc[0], bytes):  # a category, "?" where missing
            frame[column] = frame[column].str.decode("utf-8").replace("?", None)
    tasks = frame.iloc[:, -n_tasks:].apply(pd.to_numeric)
    X = pd.get_dummies(frame.iloc[:, :-n_tasks], dtype=float)
    return Table(X.to_numpy(float), tasks.to_numpy(float))


def read_tox21():
    with np.load(find_file("tox21_features.npz", MOLECULENET)) as file:
        there = file["parsed"]
        X = np.unpackbits(file["ecfp4_packed"][there], axis=1).astype(np.float32)
        labels = file["Y"][there]
        Y = np.where(labels < 0, np.nan, labels)
        return Table(X, Y, file["scaffold_id"][there])


def read_new_zealand():
    with np.load(find_file("disdat_NZ.npz", DISDAT)) as file:
        northing = file["xy"][:, 1]
        north = northing > np.median(northing)
        return Table(file["X"].astype(float), file["Y"].astype(float), north)


def read_hiv():
    with np.load(find_file("hiv_nrti.npz", MTPS)) as file:
        return Table(file["X"].astype(float), file["Y"].astype(float))


def bfi_items():
    """Answers to the 25 items, of who answered all; and the items of each scale, by name.

    An item with a minus before it counts the other way round.
    """
    keys = json.loads(find_file("psych_keys.json", PSYCH).read_text())["bfi.keys"]
    names = sorted(item.lstrip("-") for items in keys.values() for item in items)
    answers = pd.read_csv(find_file("psych_bfi.csv*", PSYCH))[names].dropna()
    return answers, keys


def halves(answers, seed):
    """Items at random: those that are columns, and those that are tasks."""
    order = np.random.default_rng(seed).permutation(answers.columns)
    return np.split(order, [len(order) // 2])


def read_bfi():
    """Half of the items, at random but always the same, predict the others."""
    answers, _ = bfi_items()
    columns, tasks = halves(answers, seed=0)
    return Table(answers[columns].to_numpy(float), answers[tasks].to_numpy(float))


def read_items(name, columns):
    """Half of the items of a questionnaire, as for bfi, of who answered all.

    Items that more than half of the people were not asked are left out.
    """
    answers = pd.read_csv(find_file(f"psych_{name}.csv*", PSYCH)).iloc[:, columns]
    answers = answers.loc[:, answers.notna().mean() > 0.5].dropna()
    columns, tasks = halves(answers, seed=0)
    return Table(answers[columns].to_numpy(float), answers[tasks].to_numpy(float))


def read_diabetes():
    X, y = datasets.load_diabetes(return_X_y=True)
    return Table(X, y[:, np.newaxis])


def read_linnerud():
    return Table(*datasets.load_linnerud(return_X_y=True))


def read_known(name):
    """A set that comes with a package."""
    X, Y = LOADERS[name]()
    return Table(X.astype(float), Y.to_numpy(float))


SETS = {
    "diabetes": Source(read_diabetes, "regression"),
    "linnerud": Source(read_linnerud, "regression"),
    "bfi": Source(read_bfi, "regression", many=True),
    # Their first columns are items, but for ten of spi that say who answers.
    "epi": Source(lambda: read_items("epi", slice(57)), "regression", many=True),
    "msq": Source(lambda: read_items("msq", slice(75)), "regression", many=True),
    "spi": Source(lambda: read_items("spi", slice(10, 145)), "regression", many=True),
    "enb": Source(lambda: read_arff("enb", 2), "regression"),
    "jura": Source(lambda: read_arff("jura", 3), "regression"),
    "hiv": Source(read_hiv, "regression"),
    "wq": Source(lambda: read_arff("wq", 14), "regression", many=True),
    "atp7d": Source(lambda: read_arff("atp7d", 6), "regression"),
    "oes97": Source(lambda: read_arff("oes97", 16), "regression", many=True),
    "chemicals": Source(
        lambda: read_known("chemicals"), "regression", complete=False, many=True
    ),
    "NZ": Source(read_new_zealand, "binary", many=True, shift="north or south"),
    "tox21": Source(read_tox21, "binary", complete=False, many=True, shift="scaffolds"),
    "yeast": Source(lambda: read_known("yeast"), "binary", many=True),
    "piosphere": Source(lambda: read_known("piosphere"), "binary", many=True),
}


@cache
def _table(name, folder):
    return SETS[name].read()


def table(name):
    """A set, read once from a folder."""
    return _table(name, str(data_folder()))


def lacking(name):
    """What a set lacks, and how to get it; None if nothing."""
    try:
        table(name)
    except ImportError as error:
        hint = "pip install -r benchmarks/requirements.txt"
        return f"{name!r} is left out: {error}. Install it with '{hint}'."
    except FileNotFoundError as error:
        return f"{name!r} is left out: {error}"
    return None


def add_folder(parser):
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        help="where the files are; else the environment variable SKDISENTANGLE_DATA",
    )


def add_cache(parser):
    parser.add_argument(
        "--cache",
        metavar="FOLDER",
        help="where embeddings are kept; else the environment variable "
        "SKDISENTANGLE_CACHE, else the folder cache in that with the files",
    )


def use_folder(parser, folder):
    """Look for files there, in workers too; an error in words if there is no such folder."""
    given = folder if folder is not None else os.environ.get("SKDISENTANGLE_DATA")
    if given is None:
        return
    os.environ["SKDISENTANGLE_DATA"] = given
    if not data_folder().is_dir():
        name = "--data" if folder is not None else "SKDISENTANGLE_DATA"
        parser.error(
            f"{name}: there is no folder {given!r}. Give the one with the data."
        )
