"""Read rows from ``.npy``, CSV, Parquet and Arrow files, in order and block by block.

Memory holds a block, whatever the size of the files.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .arrays import ArrayFiles
from .manifest import MANIFEST, is_complete
from .tables import TableFiles, check_columns, labels_of_text, what_is_wrong

__all__ = ["KINDS", "Source", "list_files", "open_source", "read_table"]

#: What gives the rows of files, whatever their kind.
Source = ArrayFiles | TableFiles

#: Kind of file by the end of its name.
KINDS = {
    ".npy": "npy",
    ".csv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}


def list_files(name: str, path: str | os.PathLike[str]) -> tuple[str, list[Path]]:
    """Kind and files of a path.

    Parameters
    ----------
    name : str
        What to call the path in errors.
    path : str or path-like
        A file, or a folder whose files are taken in the order of their names. Hidden
        files, and those that begin with an underscore, are not looked at.

    Returns
    -------
    kind : {"npy", "csv", "parquet", "arrow"}
    files : list of Path

    Raises
    ------
    FileNotFoundError
        If there is no such path.
    ValueError
        If the name of a file does not end in a known kind, or a folder holds none, or
        several kinds, or features whose extraction has not ended.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{name}: there is no file or folder {str(path)!r}.")
    known = ", ".join(KINDS)
    if not path.is_dir():
        if path.suffix.lower() not in KINDS:
            raise ValueError(
                f"{name}: {str(path)!r} must be a folder, or a file whose name ends in "
                f"one of {known}."
            )
        return KINDS[path.suffix.lower()], [path]
    manifest = path / MANIFEST
    if manifest.exists() and not is_complete(name, manifest):
        raise ValueError(
            f"{name}: the folder {str(path)!r} holds features whose extraction is not "
            "complete. Run it again first."
        )
    files = sorted(
        file
        for file in path.iterdir()
        if file.suffix.lower() in KINDS and not file.name.startswith((".", "_"))
    )
    kinds = sorted({KINDS[file.suffix.lower()] for file in files})
    if len(kinds) != 1:
        raise ValueError(
            f"{name}: the folder {str(path)!r} must hold files of one kind out of "
            f"{known}; got {' and '.join(kinds) or 'none'}."
        )
    return kinds[0], files


def open_source(
    path: str | os.PathLike[str],
    columns: Sequence[str] | None,
    keep: Sequence[str] = (),
) -> Source:
    """Open the files of a path, to be read once from the first row to the last.

    Parameters
    ----------
    path : str or path-like
        As in :func:`list_files`.
    columns : sequence of str or None
        Columns of a table, in the order wanted; None takes all that are not kept.
        ``.npy`` files have no names, and are read whole.
    keep : sequence of str, optional
        Columns of a table that travel along.
    """
    kind, files = list_files("input", path)
    if kind == "npy":
        if keep:
            raise ValueError(
                f"keep: {os.fspath(path)!r} must be a table, CSV, Parquet or Arrow, whose "
                "columns have names; got .npy."
            )
        return ArrayFiles(files)
    return TableFiles(kind, files, columns, keep)


def read_table(
    path: str | os.PathLike[str],
    tasks: Sequence[str],
    features: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    labels: Callable[[Any], Any] = labels_of_text,
) -> tuple[Any, Any]:
    """Read a whole table into memory.

    Parameters
    ----------
    path : str or path-like
        As in :func:`list_files`, but no ``.npy``.
    tasks : sequence of str
        Columns of labels.
    features : sequence of str or None
        Columns of rows; None takes all that are no tasks.
    drop : sequence of str, optional
        Columns that are not read. Only if ``features`` is None.
    labels : callable, optional
        From a column of labels in a CSV file, as text, to what they mean.

    Returns
    -------
    X, Y_tasks : DataFrame

    Raises
    ------
    ValueError
        If columns are missing, or features hold anything but finite numbers. The message
        names all such columns.
    """
    kind, files = list_files("input", path)
    if kind == "npy":
        raise ValueError(
            f"input: {os.fspath(path)!r} must be a table with column names, such as CSV, "
            "Parquet or Arrow; got .npy."
        )
    takes_all = features is None
    if drop:
        names = TableFiles(kind, files, None).columns
        check_columns(names, drop, files[0])
        both = [name for name in drop if name in tasks]
        if both:
            raise ValueError(f"drop: the column {both[0]!r} is a task.")
        features = [name for name in names if name not in (*drop, *tasks)]
    columns = None if features is None else [*features, *tasks]
    table = TableFiles(kind, files, columns, texts=tasks)
    check_columns(table.columns, tasks, files[0])
    if takes_all and "" in table.columns:
        raise ValueError(
            f"input: {str(files[0])!r} has a column without a name, such as the row numbers "
            "that pandas writes. Leave it out with --drop '', or write the file with "
            "index=False."
        )
    frame = table.read(2**62)
    X = frame.drop(columns=list(tasks))
    if X.shape[1] == 0:
        raise ValueError(
            f"input: all columns are tasks{' or dropped' if drop else ''}; at least one must "
            "be left to learn from."
        )
    wrong = {name: said for name in X if (said := what_is_wrong(X[name]))}
    if wrong:
        listed = "; ".join(f"{name!r} {said}" for name, said in wrong.items())
        remedy = "choose other features"
        if takes_all:
            remedy = f"leave columns out: --drop {shlex.join([*drop, *wrong])}"
        raise ValueError(
            f"input: features must be columns of finite numbers, but {listed}. Correct these "
            f"cells, or {remedy}."
        )
    Y_tasks = frame[list(tasks)].copy()
    if kind == "csv":
        for name in tasks:
            Y_tasks[name] = labels(Y_tasks[name])
    return X, Y_tasks
