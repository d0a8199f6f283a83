"""Features of data larger than memory, from files to files, by a saved model.

The output is a folder of shards and a manifest, ``_manifest.json``. A shard gets its name
when it is whole and on the disk, and then its line in the manifest; so an extraction that
is killed, at any instant, is continued by the same call, and ends in the same bits.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import platform
import stat
import struct
import sys
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from itertools import count
from numbers import Integral
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal, Self

import joblib
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .._replacing import is_temporary, remove_temporary, replacing
from .._version import __version__
from ..disentangler import SparseSharedDisentangler
from ..files.file_format import MAX_HEADER
from .readers import (
    MANIFEST,
    ArrayFiles,
    TableFiles,
    check_numbers,
    import_tables,
    open_source,
)

if sys.platform != "win32":
    import fcntl

__all__ = ["extract_features", "verify_features"]

#: Version of the layout of the manifest, by its key of this name.
LAYOUT_KEY, LAYOUT = "skdisentangle_features", 1

#: What a manifest holds, and each entry of its shards.
MANIFEST_KINDS = {
    "model": {"class": str, "sha256": str},
    "input": dict,
    "settings": {"format": str, "batch_size": int, "rows_per_shard": int},
    "versions": dict,
    "features": {"names": list, "dtype": str},
    "complete": bool,
    "shards": list,
}
SHARD_KINDS = {
    "file": str,
    "rows": int,
    "bytes": int,
    "sha256": str,
    "input_crc32": str,
}

#: What ``"auto"`` aims at: bytes of input for a call of ``transform``, and of features
#: in a shard; and the most rows of either.
BATCH_BYTES, MAX_BATCH_ROWS = 2**24, 2**16
SHARD_BYTES, MAX_SHARD_ROWS = 2**25, 2**18

#: Rows that tell whether a model fits an input, and what its features are like.
PROBE_ROWS = 16

#: Seconds between two lines of progress: on a terminal, where a line overwrites the
#: last, and in a file.
PROGRESS_SECONDS = {True: 0.5, False: 30.0}


def extract_features(
    model: str | os.PathLike[str],
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    format: Literal["npy", "csv", "parquet", "arrow"] = "npy",
    batch_size: int | Literal["auto"] = "auto",
    rows_per_shard: int | Literal["auto"] = "auto",
    verbose: bool = False,
) -> dict[str, Any]:
    """Write the features of all rows of some files, or go on where it was cut short.

    Memory holds a few blocks of rows, whatever the size of the input. Called again, with
    the same arguments, it first reads what has been done, input rows and shards, and
    compares checksums; a shard that is damaged is made anew; then it goes on. What
    comes out is bit for bit what one call would have written.

    Parameters
    ----------
    model : str or path-like
        File of a fitted estimator or pipeline with ``transform``, written by
        ``joblib.dump``. Such a file can run any code when it is loaded: take it only
        from a source that you trust. Or a file written by
        :meth:`~skdisentangle.SparseSharedDisentangler.save`, which runs nothing. Which of
        the two it is, its content says, whatever its name; only that a name that ends in
        ``.safetensors`` is never loaded by joblib.
    input : str or path-like
        A ``.npy``, ``.csv``, ``.parquet``, ``.arrow`` or ``.feather`` file, or a folder
        of such files of one kind, which are read in the order of their names. Columns of
        tables are found by name, if the model was fitted on a data frame; else they are
        taken as they stand. All but ``.npy`` needs ``pip install
        'skdisentangle[parquet]'``.
    output : str or path-like
        Folder for the shards, made if needed. It holds the features of one input, and
        nothing else.
    format : {"npy", "csv", "parquet", "arrow"}, default="npy"
        Kind of the shards.
    batch_size : int or "auto", default="auto"
        Rows that ``transform`` gets at a time. ``"auto"`` takes 16 MB of input, at the
        most 65,536 rows.
    rows_per_shard : int or "auto", default="auto"
        Rows of a shard. ``"auto"`` takes 32 MB of features, at the most 262,144 rows.
        After a kill, at most two shards are computed again.
    verbose : bool, default=False
        Whether to show progress, rate and time left on the standard error.

    Returns
    -------
    dict
        The manifest, as it is in the file.

    Raises
    ------
    ImportError
        If a file needs packages that are not there.
    OSError
        If a file cannot be read or written, as on a full disk, or another process
        writes to ``output``. What was done is kept: call again to go on.
    TypeError, ValueError
        If an argument is not as described; if ``output`` holds something else, or was
        begun with another model, input, setting or version of a package.

    Warns
    -----
    UserWarning
        If a shard was damaged, or is a link, and is made anew. Nothing is written to where
        a link leads.

    See Also
    --------
    verify_features : Check an output.

    Examples
    --------
    >>> import joblib, numpy as np, tempfile
    >>> from pathlib import Path
    >>> from sklearn.decomposition import PCA
    >>> from skdisentangle.extraction import extract_features, verify_features
    >>> folder = Path(tempfile.mkdtemp())
    >>> X = np.random.default_rng(0).normal(size=(100, 5))
    >>> np.save(folder / "X.npy", X)
    >>> _ = joblib.dump(PCA(2).fit(X), folder / "model.joblib")
    >>> manifest = extract_features(
    ...     folder / "model.joblib", folder / "X.npy", folder / "features"
    ... )
    >>> [shard["file"] for shard in manifest["shards"]]
    ['part-000000.npy']
    >>> np.load(folder / "features" / "part-000000.npy").shape
    (100, 2)
    >>> verify_features(folder / "features")["complete"]
    True
    """
    if format not in WRITERS:
        raise ValueError(
            f"format must be one of {', '.join(map(repr, WRITERS))}; got {format!r}."
        )
    if format != "npy":
        import_tables()
    sizes: dict[str, Any] = {
        "batch_size": batch_size,
        "rows_per_shard": rows_per_shard,
    }
    for name, value in sizes.items():
        if value != "auto" and (not isinstance(value, Integral) or value < 1):
            raise ValueError(
                f"{name} must be a positive integer or 'auto'; got {value!r}."
            )
    estimator, model_hash = _load_model(model)
    names = _column_names(estimator)
    source = open_source(input, names)
    if batch_size == "auto":
        row_bytes = max(1, source.row_bytes)
        batch_size = int(np.clip(BATCH_BYTES // row_bytes, 1, MAX_BATCH_ROWS))

    # What cannot work fails here, before anything is written.
    first = _transform(estimator, source.read(PROBE_ROWS))
    if rows_per_shard == "auto":
        row_bytes = max(1, first.shape[1] * first.itemsize)
        rows_per_shard = int(np.clip(SHARD_BYTES // row_bytes, 1, MAX_SHARD_ROWS))
    header = {
        LAYOUT_KEY: LAYOUT,
        "model": {"class": type(estimator).__name__, "sha256": model_hash},
        "input": source.fingerprint(),
        "settings": {
            "format": format,
            "batch_size": int(batch_size),
            "rows_per_shard": int(rows_per_shard),
        },
        "versions": _versions(format, source),
        "features": {
            "names": _feature_names(estimator, first.shape[1]),
            "dtype": str(first.dtype),
        },
    }
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        manifest = _begin(folder, header)
        _run(estimator, open_source(input, names), folder, manifest, verbose)
    return manifest


def verify_features(
    output: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    input: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Check that an output is complete, and each of its shards what was written.

    Parameters
    ----------
    output : str or path-like
        Folder that :func:`extract_features` has written.
    model : str or path-like, default=None
        If given, this must be the file of the model that was used. It is not loaded.
    input : str or path-like, default=None
        If given, its rows must be those that were read.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    OSError
        If a file cannot be read.
    ValueError
        If something is not as it should be; says what.
    """
    folder = Path(output)
    manifest = _read_manifest(folder)
    shards = manifest["shards"]
    found = [_damage(folder, shard) for shard in shards]
    problems = [problem for problem in found if problem is not None]
    if not manifest["complete"]:
        problems.append(
            f"it is not complete: {len(shards)} shards, "
            f"{sum(shard['rows'] for shard in shards):,} rows; extract again to go on"
        )
    if model is not None and _file_hash(model) != manifest["model"]["sha256"]:
        problems.append(f"{os.fspath(model)!r} is not the model that was used")
    known = {shard["file"] for shard in shards}
    problems += [  # what a reader of the folder would take for one
        f"{path.name} is none of its shards"
        for path in sorted(folder.glob(f"[!._]*.{manifest['settings']['format']}"))
        if path.name not in known
    ]
    if input is not None:
        problems += _input_problems(input, manifest)
    if problems:
        raise ValueError(f"output {str(folder)!r}: {'; '.join(problems)}.")
    return manifest


# -- the model -------------------------------------------------------------------------


def _file_hash(path: str | os.PathLike[str]) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load_model(path: str | os.PathLike[str]) -> tuple[Any, str]:
    """Estimator in a file, and the checksum of the file."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(
            "model must be the path of a file, with which a killed extraction can go "
            f"on; got {type(path).__name__}. Write the file with joblib.dump(model, path)."
        )
    with open(path, "rb") as file:
        start = file.read(9)
    if _are_tensors(start) or Path(path).suffix.lower() == ".safetensors":
        return SparseSharedDisentangler.load(path), _file_hash(path)
    try:
        with open(path, "rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            estimator = joblib.load(file)
    except (
        ArithmeticError,
        AttributeError,
        EOFError,
        ImportError,
        LookupError,
        RuntimeError,
        TypeError,
        UnpicklingError,
        ValueError,
        struct.error,
        zlib.error,
    ) as error:  # what bytes that are no pickle, or one of other classes, end in
        raise ValueError(
            f"model: {os.fspath(path)!r} must be a file written by joblib.dump, with "
            "the packages that it needs installed; loading it ended in "
            f"{type(error).__name__}: {error}."
        ) from error
    if not hasattr(estimator, "transform"):
        what = f"a {type(estimator).__name__}, which has no transform"
        if hasattr(estimator, "steps"):
            what += "; save pipeline[:-1], which gives what the last step gets"
        raise ValueError(f"model: {os.fspath(path)!r} holds {what}.")
    return estimator, checksum


def _are_tensors(start: bytes) -> bool:
    """Whether a file that starts so is one of safetensors; no file of joblib does."""
    return int.from_bytes(start[:8], "little") <= MAX_HEADER and start[8:] == b"{"


def _column_names(estimator: Any) -> Any:
    """Names of the columns that the model wants; None if it does not know them."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        for _, step in getattr(estimator, "steps", ()):
            if step not in (None, "passthrough"):
                return _column_names(step)
    return names


def _knows_names(estimator: Any) -> bool:
    """Whether the model, or a part of it, looks at the names of columns."""
    parts = [
        *getattr(estimator, "steps", ()),
        *getattr(estimator, "transformer_list", ()),
    ]
    return hasattr(estimator, "feature_names_in_") or any(
        _knows_names(part) for _, part in parts
    )


def _transform(estimator: Any, rows: Any) -> NDArray[Any]:
    """Features of a block of rows."""
    if len(rows) == 0:
        raise ValueError("input must hold at least one row; got none.")
    if hasattr(rows, "columns") and not _knows_names(estimator):
        check_numbers(
            rows, "The model was fitted without names, and takes columns as they stand."
        )
        rows = rows.to_numpy()
        if rows.dtype.kind != "f":  # whole numbers in a block, if none is missing there
            rows = rows.astype(np.float64)
    with warnings.catch_warnings():
        # .npy files have none, and are taken as they stand
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        try:
            features = estimator.transform(rows)
        except TypeError as error:
            raise ValueError(
                f"input: the model cannot take its rows: {error}"
            ) from error
    if sparse.issparse(features):
        raise ValueError("model: its features are sparse; they must be a dense array.")
    features = np.ascontiguousarray(features)
    if (
        features.ndim != 2
        or len(features) != len(rows)
        or features.dtype.kind not in "fiub"
    ):
        raise ValueError(
            f"model: transform of {len(rows)} rows must give numbers of shape "
            f"({len(rows)}, n_features_out); got {features.dtype} of shape "
            f"{features.shape}."
        )
    return features


def _feature_names(estimator: Any, width: int) -> list[str]:
    try:
        names = [str(name) for name in estimator.get_feature_names_out()]
    except (AttributeError, ValueError):  # a step does not know them
        names = []
    if len(names) == len(set(names)) == width:  # a table has each name once
        return names
    return [f"feature{j}" for j in range(width)]


def _versions(format: str, source: ArrayFiles | TableFiles) -> dict[str, str]:
    """Versions that the bits of the output depend on."""
    packages = ["numpy", "scipy", "scikit-learn", "torch"]
    if format != "npy" or isinstance(source, TableFiles):
        packages += ["pandas", "pyarrow"]
    found = {"python": platform.python_version(), "skdisentangle": __version__}
    return found | {package: version(package) for package in packages}


# -- shards ----------------------------------------------------------------------------


def _npy_parts(batches: list[NDArray[Any]], names: Sequence[str]) -> list[Any]:
    header = io.BytesIO()
    description = {
        "descr": np.lib.format.dtype_to_descr(batches[0].dtype),
        "fortran_order": False,
        "shape": (sum(map(len, batches)), batches[0].shape[1]),
    }
    np.lib.format.write_array_header_1_0(header, description)
    return [header.getvalue(), *batches]


def _table_parts(
    kind: str, batches: list[NDArray[Any]], names: Sequence[str]
) -> list[Any]:
    import pyarrow as pa

    columns = np.concatenate(batches).T
    table = pa.table(dict(zip(names, columns, strict=True)))
    sink = pa.BufferOutputStream()
    if kind == "parquet":
        from pyarrow import parquet

        # few values come twice: a dictionary of them takes longer, and more room
        parquet.write_table(table, sink, use_dictionary=False)
    elif kind == "csv":
        from pyarrow import csv

        csv.write_csv(table, sink)
    else:
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    return [sink.getvalue()]


#: From batches of features and the names of the columns to the content of a shard, in
#: parts.
WRITERS: dict[str, Callable[..., list[Any]]] = {
    "npy": _npy_parts,
    **{kind: partial(_table_parts, kind) for kind in ("csv", "parquet", "arrow")},
}


def _damage(folder: Path, shard: Mapping[str, Any]) -> str | None:
    """What is wrong with a shard; None if it is what was written."""
    path = folder / shard["file"]
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            is_link = stat.S_ISLNK(found.st_mode)
            what = "a symbolic link" if is_link else "no regular file"
            return f"{path.name} is {what}, and not what was written"
        size = found.st_size
        if size != shard["bytes"]:
            return f"{path.name} has {size:,} bytes in place of {shard['bytes']:,}"
        if _file_hash(path) != shard["sha256"]:
            return f"{path.name} has been altered, its checksum is another"
    except FileNotFoundError:
        return f"{path.name} is missing"
    return None


def _write_shard(
    folder: Path,
    manifest: dict[str, Any],
    index: int,
    batches: list[NDArray[Any]],
    input_checksum: str,
) -> None:
    """Write a shard, and then its line in the manifest."""
    settings, shards = manifest["settings"], manifest["shards"]
    parts = WRITERS[settings["format"]](batches, manifest["features"]["names"])
    checksum = hashlib.sha256()
    for part in parts:
        checksum.update(part)
    shard: dict[str, Any] = {
        "file": _shard_name(index, settings["format"]),
        "rows": sum(map(len, batches)),
        "bytes": sum(memoryview(part).nbytes for part in parts),
        "sha256": checksum.hexdigest(),
        "input_crc32": input_checksum,
    }
    if index < len(shards) and shard != shards[index]:
        raise ValueError(
            f"output: {shard['file']} was damaged, and cannot be made as it was: the "
            "same model and rows give other bits here. Remove the output and extract "
            "it anew, on one kind of machine."
        )
    with replacing(folder / shard["file"], follow_links=False) as file:
        file.writelines(parts)
    if index == len(shards):
        shards.append(shard)
        _write_manifest(folder, manifest)


# -- the manifest ----------------------------------------------------------------------


def _write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    with replacing(folder / MANIFEST, follow_links=False) as file:
        file.write((json.dumps(manifest, indent=1) + "\n").encode())


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if path.is_symlink():
        raise ValueError(
            f"output: {str(path)!r} is a symbolic link, and not what was written. Put the "
            "file itself there, or take another output."
        )
    if not path.exists():
        raise FileNotFoundError(
            f"output: {str(folder)!r} must be a folder that extract_features has "
            f"written; it has no {MANIFEST}."
        )
    damaged = f"output: {str(path)!r} is damaged, or not of extract_features."
    try:
        manifest = json.loads(path.read_bytes())
        layout = manifest[LAYOUT_KEY]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(damaged) from error
    if layout != LAYOUT:
        raise ValueError(
            f"output: {str(path)!r} has layout {layout!r}; this version of skdisentangle "
            f"reads {LAYOUT}."
        )
    if not _is_manifest(manifest):
        raise ValueError(damaged)
    found: dict[str, Any] = manifest
    return found


def _is_manifest(found: Any) -> bool:
    """Whether all is there that is asked for, of the right kind."""
    if not _is_of(found, MANIFEST_KINDS):
        return False
    kind, columns = found["settings"]["format"], found["input"].get("columns", [])
    return (
        all(_is_of(shard, SHARD_KINDS) for shard in found["shards"])
        and [shard["file"] for shard in found["shards"]]
        == [_shard_name(index, kind) for index in range(len(found["shards"]))]
        and min(found["settings"]["batch_size"], found["settings"]["rows_per_shard"])
        > 0
        and isinstance(columns, list)
        and all(isinstance(each, list) and len(each) == 2 for each in columns)
    )


def _is_of(found: Any, kinds: Any) -> bool:
    if isinstance(kinds, dict):
        return isinstance(found, dict) and all(
            _is_of(found.get(key), kind) for key, kind in kinds.items()
        )
    return type(found) is kinds


def _shard_name(index: int, kind: str) -> str:
    return f"part-{index:06d}.{kind}"


def _begin(folder: Path, header: dict[str, Any]) -> dict[str, Any]:
    """Manifest of an output that is new, or that was begun in the same way."""
    if not os.path.lexists(folder / MANIFEST):
        others = [path.name for path in folder.iterdir() if not is_temporary(path)]
        if others:
            raise ValueError(
                f"output: the folder {str(folder)!r} must be new, empty, or an output "
                f"begun before; it has no {MANIFEST}, but {sorted(others)[0]!r}."
            )
        remove_temporary(folder)
        manifest = {**header, "complete": False, "shards": []}
        _write_manifest(folder, manifest)
        return manifest
    manifest = _read_manifest(folder)
    for part, mine in header.items():
        if manifest[part] != mine:
            raise ValueError(
                f"output: {str(folder)!r} was begun with another "
                f"{part.removesuffix('s')}: {_difference(manifest[part], mine)}. Give "
                "what it was begun with, or another output."
            )
    remove_temporary(folder)
    return manifest


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """First entry in which two parts of a manifest differ, in words."""
    key = next(k for k in [*before, *now] if before.get(k) != now.get(k))
    one, other = before.get(key), now.get(key)
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return f"{key} were {len(one)}, and are {len(other)}"
        one, other = next((a, b) for a, b in zip(one, other, strict=True) if a != b)
    return f"{key} was {one!r}, and is {other!r}"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep others from writing to a folder; the lock ends with the process."""
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"output: another process is writing to {str(folder)!r}."
            ) from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
                raise
            # a file system that has no locks
        yield
    finally:
        os.close(descriptor)


# -- the run ---------------------------------------------------------------------------


def _blocks(
    source: ArrayFiles | TableFiles, settings: Mapping[str, Any]
) -> Iterator[tuple[int, Any, str | None]]:
    """Shard and rows of each block; the last of a shard has the checksum of its rows."""
    for index in count():
        if source.at_end:
            return
        # a change by accident is what it is to find, at the speed of memory
        checksum = 0
        left = settings["rows_per_shard"]
        while left and not source.at_end:
            rows = source.read(min(left, settings["batch_size"]))
            checksum = source.checksum(rows, checksum)
            left -= len(rows)
            last = left == 0 or source.at_end
            yield index, rows, f"{checksum:08x}" if last else None


def _ahead(blocks: Iterator[Any], helpers: ThreadPoolExecutor) -> Iterator[Any]:
    """Have the next block read while one is worked on."""
    coming = helpers.submit(next, blocks, None)
    while (block := coming.result()) is not None:
        coming = helpers.submit(next, blocks, None)
        yield block


def _run(
    estimator: Any,
    source: ArrayFiles | TableFiles,
    folder: Path,
    manifest: dict[str, Any],
    verbose: bool,
) -> None:
    """Check the shards that are there, make the others."""
    shards = manifest["shards"]
    n_before = len(shards)
    damaged = set()
    for index, shard in enumerate(shards):
        if damage := _damage(folder, shard):
            damaged.add(index)
            warnings.warn(
                f"output {str(folder)!r}: {damage}; it is made anew.",
                UserWarning,
                stacklevel=3,
            )
    batches: list[NDArray[Any]] = []
    # One thread reads ahead, one writes the last shard, and this one computes.
    with _Progress(source, verbose) as progress, ThreadPoolExecutor(2) as helpers:
        writing: Future[None] = helpers.submit(lambda: None)
        blocks = _blocks(source, manifest["settings"])
        for index, rows, input_checksum in _ahead(blocks, helpers):
            is_made = index >= n_before or index in damaged
            if is_made:
                batches.append(_features(estimator, rows, manifest, progress.n_rows))
            progress.add(len(rows), is_made)
            if input_checksum is None:
                continue
            if index < n_before and shards[index]["input_crc32"] != input_checksum:
                raise ValueError(f"{_other_rows(shards, index)}. Take another output.")
            writing.result()
            if is_made:
                writing = helpers.submit(
                    _write_shard, folder, manifest, index, batches, input_checksum
                )
                batches = []
        writing.result()
    if not manifest["complete"]:
        manifest["complete"] = True
        _write_manifest(folder, manifest)


def _features(
    estimator: Any, rows: Any, manifest: Mapping[str, Any], first: int
) -> NDArray[Any]:
    """Features of a block of rows, like those of all others, or an error that says where.

    Parameters
    ----------
    estimator, rows, manifest
        As elsewhere.
    first : int
        Number of the first of these rows.
    """
    like = manifest["features"]
    try:
        features = _transform(estimator, rows)
        if (features.shape[1], str(features.dtype)) != (
            len(like["names"]),
            like["dtype"],
        ):
            raise ValueError(
                f"the model gives {features.shape[1]} features of {features.dtype}, where "
                f"it gave {len(like['names'])} of {like['dtype']} for the first rows."
            )
    except ValueError as error:
        last = first + len(rows) - 1
        raise ValueError(f"input, rows {first:,} to {last:,}: {error}") from error
    return features


def _other_rows(shards: Sequence[Mapping[str, Any]], index: int) -> str:
    first = sum(shard["rows"] for shard in shards[:index])
    return (
        f"input: rows {first:,} to {first + shards[index]['rows'] - 1:,} are others than "
        f"those that {shards[index]['file']} was made of"
    )


def _input_problems(
    path: str | os.PathLike[str], manifest: Mapping[str, Any]
) -> list[str]:
    """How an input differs from the one that was read."""
    columns = [name for name, _ in manifest["input"].get("columns", ())]
    source = open_source(path, columns or None)
    if source.fingerprint() != manifest["input"]:
        difference = _difference(manifest["input"], source.fingerprint())
        return [f"{os.fspath(path)!r} is another input: {difference}"]
    shards, problems = manifest["shards"], []
    for index, _, checksum in _blocks(source, manifest["settings"]):
        if index >= len(shards):
            n_rows = sum(shard["rows"] for shard in shards)
            problems.append(f"{os.fspath(path)!r} has more rows than these {n_rows:,}")
            break
        if checksum and checksum != shards[index]["input_crc32"]:
            problems.append(_other_rows(shards, index))
    return problems


class _Progress:
    """Rows, share, rate and time left, on the standard error."""

    def __init__(self, source: ArrayFiles | TableFiles, verbose: bool) -> None:
        self._source = source
        self._verbose = verbose
        self._overwrites = verbose and sys.stderr.isatty()
        self._start = self._shown = time.monotonic()
        self._share_checked = 0.0  # share of the input that was done before
        self.n_rows = self._n_made = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is None:
            self._show(self._total(), "\n")
        elif self._overwrites:
            print(file=sys.stderr)

    def add(self, n_rows: int, is_made: bool) -> None:
        """Count a block that has been made, or only compared with what was done."""
        self.n_rows += n_rows
        if is_made:
            self._n_made += n_rows
        elif self._n_made == 0:
            self._start = time.monotonic()
            self._share_checked = self._source.share_read()
        if time.monotonic() - self._shown > PROGRESS_SECONDS[self._overwrites]:
            self._show(self._state(), "")

    def _total(self) -> str:
        text = f"all {self.n_rows:,} rows"
        if self._n_made == 0:
            return f"{text} were there already"
        if self._n_made < self.n_rows:
            text += f", {self._n_made:,} of them now"
        return f"{text}, {self._rate():,.0f} rows/s"

    def _rate(self) -> float:
        return self._n_made / max(1e-9, time.monotonic() - self._start)

    def _state(self) -> str:
        share = self._source.share_read()
        text = f"{self.n_rows:,} rows, {share:.1%}"
        if self._n_made == 0:
            return f"{text}, looking at what is done"
        speed = (share - self._share_checked) / (time.monotonic() - self._start)
        left = timedelta(seconds=round((1 - share) / max(1e-12, speed)))
        return f"{text}, {self._rate():,.0f} rows/s, {left} left"

    def _show(self, text: str, end: str) -> None:
        self._shown = time.monotonic()
        if not self._verbose:
            return
        if self._overwrites:
            print(f"\r{text:<78}", end=end, file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)
