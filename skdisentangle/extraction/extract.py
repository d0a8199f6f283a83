"""Compute the features of data larger than memory with a saved model.

The output is a folder of shards and a manifest, ``_manifest.json``. A shard gets its name
when it is whole and on disk, and then its line in the manifest. The same call therefore
resumes an extraction that was killed at any moment. The result is byte-identical.
"""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import version
from itertools import count
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .._version import __version__
from .manifest import (
    LAYOUT,
    LAYOUT_KEY,
    begin,
    difference,
    file_hash,
    locked,
    read_manifest,
    write_manifest,
)
from .model import column_names, feature_names, features_of, load_model
from .progress import Progress
from .readers import Source, open_source
from .shards import WRITERS, damage_of, write_shard
from .tables import TableFiles, import_tables

__all__ = ["extract_features", "verify_features"]

#: What ``"auto"`` aims at: bytes of input for a call of ``transform``, and of features
#: in a shard; and the most rows of either.
BATCH_BYTES, MAX_BATCH_ROWS = 2**24, 2**16
SHARD_BYTES, MAX_SHARD_ROWS = 2**25, 2**18

#: Rows that tell whether a model fits an input, and what its features are like.
PROBE_ROWS = 16


def extract_features(
    model: str | os.PathLike[str],
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    format: Literal["npy", "csv", "parquet", "arrow"] = "npy",
    batch_size: int | Literal["auto"] = "auto",
    rows_per_shard: int | Literal["auto"] = "auto",
    keep: Sequence[str] = (),
    verbose: bool = False,
) -> dict[str, Any]:
    """Write the features of all rows of some files, or resume an earlier call.

    Memory holds a few blocks of rows, whatever the size of the input. If you call it again
    with the same arguments, it first checks the input rows and shards of the earlier call by
    their checksums, and writes damaged shards again. Then it continues. The result is
    byte-identical to that of a single call.

    Parameters
    ----------
    model : str or path-like
        File of a fitted estimator or pipeline with ``transform``: either a file written by
        :meth:`~skdisentangle.SparseSharedDisentangler.save`, which runs no code, or one
        written by ``joblib.dump``. The latter can run any code when it is loaded: use it
        only if you trust its source. The content of the file tells which of the two it is,
        but a file with a name ending in ``.safetensors`` is never loaded by joblib.
    input : str or path-like
        A ``.npy``, ``.csv``, ``.parquet``, ``.arrow`` or ``.feather`` file, or a folder
        of such files of one kind, read in the order of their names. If the model was fitted
        on a data frame, it finds columns of tables by name. Otherwise it takes all columns
        in their order. All kinds except ``.npy`` need ``pip install
        'skdisentangle[parquet]'``.
    output : str or path-like
        Folder for the shards, created if needed. It holds the features of one input and
        nothing else.
    format : {"npy", "csv", "parquet", "arrow"}, default="npy"
        File format of the shards.
    batch_size : int or "auto", default="auto"
        Rows to transform at a time. ``"auto"`` takes 16 MB of input, at most 65,536 rows.
    rows_per_shard : int or "auto", default="auto"
        Rows per shard. ``"auto"`` takes 32 MB of features, at most 262,144 rows. After an
        interruption, at most two shards are computed again.
    keep : sequence of str, default=()
        Columns of the input to copy in front of the features, such as an id. The model does
        not use them, unless it was fitted on columns of these names. Input and shards must
        be tables. Columns of a Parquet or Arrow file keep their types. Those of a CSV file
        are text, in which an empty cell, NA, NaN, null and the like are missing.
    verbose : bool, default=False
        Whether to show progress, rate and time left on standard error.

    Returns
    -------
    dict
        The manifest, as written to the file.

    Raises
    ------
    ImportError
        If a file needs packages that are not installed.
    OSError
        If a file cannot be read or written, as on a full disk, or if another process
        writes to ``output``. Finished shards are kept: call again to resume.
    TypeError, ValueError
        If an argument is not as described, or if ``output`` holds something else or was
        begun with a different model, input, setting or version of a package.

    Warns
    -----
    UserWarning
        If a shard is damaged or is a link, and is written again. The target of a link is
        not changed.

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
    kept = _checked_keep(keep, format)
    estimator, model_hash = load_model(model)
    names = column_names(estimator)
    source = open_source(input, names, kept)
    if batch_size == "auto":
        row_bytes = max(1, source.row_bytes)
        batch_size = int(np.clip(BATCH_BYTES // row_bytes, 1, MAX_BATCH_ROWS))

    # What cannot work fails here, before anything is written.
    first = features_of(estimator, source.read(PROBE_ROWS))
    if rows_per_shard == "auto":
        row_bytes = max(1, first.shape[1] * first.itemsize)
        rows_per_shard = int(np.clip(SHARD_BYTES // row_bytes, 1, MAX_SHARD_ROWS))
    own_names = feature_names(estimator, first.shape[1])
    both = sorted({*own_names} & {*kept})
    if both:
        raise ValueError(
            f"keep: {both[0]!r} is also the name of a feature, and names must differ "
            "once. Rename the column."
        )
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
            "names": own_names,
            "dtype": str(first.dtype),
        },
    }
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        manifest = begin(folder, header)
        _run(estimator, open_source(input, names, kept), folder, manifest, verbose)
    return manifest


def verify_features(
    output: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    input: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Check that an output is complete and that no shard has changed.

    Parameters
    ----------
    output : str or path-like
        Folder that :func:`extract_features` has written.
    model : str or path-like, default=None
        If given, check that this is the model file that was used. It is not loaded.
    input : str or path-like, default=None
        If given, check that the features were computed from these rows.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    OSError
        If a file cannot be read.
    ValueError
        If a check fails. The message lists all problems.
    """
    folder = Path(output)
    manifest = read_manifest(folder)
    shards = manifest["shards"]
    found = [damage_of(folder, shard) for shard in shards]
    problems = [problem for problem in found if problem is not None]
    if not manifest["complete"]:
        problems.append(
            f"it is not complete: {len(shards)} shards, "
            f"{sum(shard['rows'] for shard in shards):,} rows; extract again to resume"
        )
    if model is not None and file_hash(model) != manifest["model"]["sha256"]:
        problems.append(f"{os.fspath(model)!r} is not the model that was used")
    known = {shard["file"] for shard in shards}
    problems += [  # what a reader of the folder would take for one
        f"{path.name} is not one of its shards"
        for path in sorted(folder.glob(f"[!._]*.{manifest['settings']['format']}"))
        if path.name not in known
    ]
    if input is not None:
        problems += _input_problems(input, manifest)
    if problems:
        raise ValueError(f"output {str(folder)!r}: {'; '.join(problems)}.")
    return manifest


def _checked_keep(keep: Any, format: str) -> list[str]:
    """Columns to keep, if they can be."""
    if (
        isinstance(keep, str)
        or not isinstance(keep, Sequence)
        or not all(isinstance(name, str) for name in keep)
    ):
        raise TypeError(f"keep must be a sequence of column names; got {keep!r:.80}.")
    if format == "npy" and len(keep):
        raise ValueError(
            "keep: shards of format 'npy' hold features alone; give format='parquet', "
            "'arrow' or 'csv' to keep columns beside them."
        )
    return list(keep)


def _versions(format: str, source: Source) -> dict[str, str]:
    """Versions that the bits of the output depend on."""
    packages = ["numpy", "scipy", "scikit-learn", "torch"]
    if format != "npy" or isinstance(source, TableFiles):
        packages += ["pandas", "pyarrow"]
    found = {"python": platform.python_version(), "skdisentangle": __version__}
    return found | {package: version(package) for package in packages}


def _blocks(
    source: Source, settings: Mapping[str, Any]
) -> Iterator[tuple[int, Any, Any, str | None]]:
    """Shard, rows and what is kept of each block; the last of a shard has its checksum."""
    for index in count():
        if source.at_end:
            return
        # CRC-32 finds accidental changes, at the speed of memory
        checksum = 0
        left = settings["rows_per_shard"]
        while left and not source.at_end:
            rows = source.read(min(left, settings["batch_size"]))
            checksum = source.checksum(rows, checksum)
            left -= len(rows)
            last = left == 0 or source.at_end
            yield index, rows, source.kept, f"{checksum:08x}" if last else None


def _ahead(blocks: Iterator[Any], helpers: ThreadPoolExecutor) -> Iterator[Any]:
    """Have the next block read while one is worked on."""
    coming = helpers.submit(next, blocks, None)
    while (block := coming.result()) is not None:
        coming = helpers.submit(next, blocks, None)
        yield block


def _run(
    estimator: Any,
    source: Source,
    folder: Path,
    manifest: dict[str, Any],
    verbose: bool,
) -> None:
    """Check the shards of an earlier call, and write the others."""
    shards = manifest["shards"]
    n_before = len(shards)
    damaged = set()
    for index, shard in enumerate(shards):
        if damage := damage_of(folder, shard):
            damaged.add(index)
            warnings.warn(
                f"output {str(folder)!r}: {damage}; it is written again.",
                UserWarning,
                stacklevel=3,
            )
    batches: list[NDArray[Any]] = []
    tables: list[Any] = []
    # One thread reads ahead, one writes the last shard, and this one computes.
    with Progress(source, verbose) as progress, ThreadPoolExecutor(2) as helpers:
        writing: Future[None] = helpers.submit(lambda: None)
        blocks = _blocks(source, manifest["settings"])
        for index, rows, kept, input_checksum in _ahead(blocks, helpers):
            is_made = index >= n_before or index in damaged
            if is_made:
                batches.append(_features(estimator, rows, manifest, progress.n_rows))
                if manifest["input"].get("kept"):
                    tables.append(kept)
            progress.add(len(rows), is_made)
            if input_checksum is None:
                continue
            if index < n_before and shards[index]["input_crc32"] != input_checksum:
                raise ValueError(f"{_other_rows(shards, index)}. Use another output.")
            writing.result()
            if is_made:
                writing = helpers.submit(
                    write_shard,
                    folder,
                    manifest,
                    index,
                    batches,
                    tables,
                    input_checksum,
                )
                batches, tables = [], []
        writing.result()
    if not manifest["complete"]:
        manifest["complete"] = True
        write_manifest(folder, manifest)


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
        features = features_of(estimator, rows)
        if (features.shape[1], str(features.dtype)) != (
            len(like["names"]),
            like["dtype"],
        ):
            raise ValueError(
                f"the model returned {features.shape[1]} features of {features.dtype}, but "
                f"{len(like['names'])} of {like['dtype']} for the first rows."
            )
    except ValueError as error:
        last = first + len(rows) - 1
        raise ValueError(f"input, rows {first:,} to {last:,}: {error}") from error
    return features


def _other_rows(shards: Sequence[Mapping[str, Any]], index: int) -> str:
    first = sum(shard["rows"] for shard in shards[:index])
    return (
        f"input: rows {first:,} to {first + shards[index]['rows'] - 1:,} are not those "
        f"that {shards[index]['file']} was computed from"
    )


def _input_problems(
    path: str | os.PathLike[str], manifest: Mapping[str, Any]
) -> list[str]:
    """How an input differs from the one that was read."""
    columns = [name for name, _ in manifest["input"].get("columns", ())]
    keep = [name for name, _ in manifest["input"].get("kept", ())]
    source = open_source(path, columns or None, keep)
    if source.fingerprint() != manifest["input"]:
        other = difference(manifest["input"], source.fingerprint())
        return [f"{os.fspath(path)!r} is a different input: {other}"]
    shards, problems = manifest["shards"], []
    for index, _, _, checksum in _blocks(source, manifest["settings"]):
        if index >= len(shards):
            n_rows = sum(shard["rows"] for shard in shards)
            problems.append(f"{os.fspath(path)!r} has more rows than these {n_rows:,}")
            break
        if checksum and checksum != shards[index]["input_crc32"]:
            problems.append(_other_rows(shards, index))
    return problems
