"""Find, check and read the folders and tables that official archives unpack to."""

from __future__ import annotations

import csv
import os
import warnings
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "as_objects",
    "check_codes",
    "check_files",
    "find_folder",
    "listing",
    "read_columns",
    "warn_if_partial",
]


def listing(names: Iterable[str], most: int = 8) -> str:
    """Names in quotes, the first few of many."""
    given = sorted(names)
    shown = ", ".join(map(repr, given[:most])) or "nothing"
    return f"{shown} and {len(given) - most} more" if len(given) > most else shown


def find_folder(
    title: str,
    path: str | os.PathLike[str],
    names: Sequence[str],
    needed: Sequence[str],
    source: str,
) -> Path:
    """The folder of a data set: `path` itself, or one of those names in it.

    Parameters
    ----------
    title : str
        What to call the set.
    path : str or path-like
        What the user gave.
    names : sequence of str
        What the set's folder is called, relative to `path`.
    needed : sequence of str
        Files or folders that must be in it.
    source : str
        Where to get the set, as a sentence.

    Returns
    -------
    folder : Path

    Raises
    ------
    FileNotFoundError
        If there is no such folder; says what was looked for, what was found, and where
        to get it.
    TypeError
        If `path` is not a path.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be the path of a folder; got {path!r}.")
    given = Path(path).expanduser()
    folders = [given, *(given / name for name in names)]
    there = [{n for n in needed if (folder / n).exists()} for folder in folders]
    for folder, found in zip(folders, there, strict=True):
        if len(found) == len(needed):
            return folder
    nearest = folders[max(range(len(folders)), key=lambda i: len(there[i]))]
    if not nearest.exists():
        state = f"There is no folder {str(nearest)!r}"
    elif not nearest.is_dir():
        state = f"{str(nearest)!r} is a file, not a folder"
    else:
        state = f"{str(nearest)!r} holds {listing(os.listdir(nearest))}"
    raise FileNotFoundError(
        f"{title}: path must be the folder that holds {listing(needed)}, or the folder that "
        f"contains it as {' or '.join(map(repr, names))}. {state}. {source} Nothing is "
        "downloaded."
    )


def read_columns(path: Path, columns: Mapping[str, str]) -> dict[str, Any]:
    """Columns of a CSV file with a header, quoted line breaks and all.

    Parameters
    ----------
    path : Path
        In UTF-8.
    columns : mapping of str to {"str", "int", "float"}
        What to read, and as what. A number that is left blank is NaN.

    Returns
    -------
    values : dict of str to list of str or ndarray

    Raises
    ------
    OSError
        If the file lacks a column, is cut off, or holds what is not a number where one
        is due; says in which line.
    """
    # Numbers go into arrays at once: as text, they take ten times the memory.
    kinds: dict[str, tuple[Callable[[str], float], str]] = {
        "int": (int, "q"),
        "float": (lambda text: float(text or "nan"), "d"),
    }
    converters = {
        name: kinds[kind][0] for name, kind in columns.items() if kind in kinds
    }
    values: dict[str, Any] = {
        name: array(kinds[kind][1]) if kind in kinds else []
        for name, kind in columns.items()
    }
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file, strict=True)
        try:
            header = next(rows, [])
            lacking = [name for name in columns if name not in header]
            if lacking:
                raise OSError(
                    f"{path} is not the official file: it has no column "
                    f"{listing(lacking)}. Its columns are {listing(header, 30)}."
                )
            places = {name: header.index(name) for name in columns}
            for row in rows:
                if not row:
                    continue
                if len(row) != len(header):
                    raise OSError(
                        f"{path} is cut off or damaged: the row that ends in line "
                        f"{rows.line_num} has {len(row)} values, but the header has "
                        f"{len(header)}. Unpack or download it again."
                    )
                for name, place in places.items():
                    text = row[place]
                    if name in converters:
                        try:
                            values[name].append(converters[name](text))
                        except (ValueError, OverflowError) as error:
                            raise OSError(
                                f"{path} is cut off or damaged: line {rows.line_num} has "
                                f"{text!r} in column {name!r}, which must hold numbers."
                            ) from error
                    else:
                        values[name].append(text)
        except (csv.Error, UnicodeDecodeError) as error:
            raise OSError(
                f"{path} is cut off or damaged after line {rows.line_num}: {error}. "
                "Unpack or download it again."
            ) from error
    if not values[next(iter(columns))]:
        raise OSError(f"{path} has a header but no rows. Unpack or download it again.")
    return {n: v if isinstance(v, list) else np.array(v) for n, v in values.items()}


def check_codes(
    path: Path, name: str, values: Iterable[Any], allowed: Sequence[Any]
) -> None:
    """Every value of a column must be an allowed one.

    Raises
    ------
    OSError
        Names the first one that is not, and its row.
    """
    known = set(allowed)
    for row, value in enumerate(values):
        if value not in known:
            got = value.item() if isinstance(value, np.generic) else value
            raise OSError(
                f"{path} is not the official file: column {name!r} must hold one of "
                f"{', '.join(map(repr, allowed))}; got {got!r} in row {row}."
            )


def check_files(folder: Path, names: Sequence[str], table: Path) -> None:
    """Every file that a table names must be there; folders are listed once.

    Raises
    ------
    FileNotFoundError
        Says how many are missing, and which is the first.
    """
    known: dict[str, set[str]] = {}
    missing = []
    for name in names:
        parent, _, file = name.rpartition("/")
        if parent not in known:
            inside = folder / parent
            known[parent] = set(os.listdir(inside)) if inside.is_dir() else set()
        if file not in known[parent]:
            missing.append(name)
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of the {len(names)} images that {table} names are missing, "
            f"first {str(folder / missing[0])!r}. Unpack the archive again."
        )


def warn_if_partial(title: str, found: int, official: int, stacklevel: int = 3) -> None:
    """Warn if a set has not as many rows as the official one."""
    if found != official:
        warnings.warn(
            f"{title}: there are {found:,} rows, but the official set has {official:,}. "
            "Do not compare scores with those of others.",
            UserWarning,
            stacklevel=stacklevel,
        )


def as_objects(texts: Sequence[str]) -> NDArray[np.object_]:
    """Strings of all lengths as an array that rows can be taken of."""
    out = np.empty(len(texts), dtype=object)
    out[:] = texts
    return out
