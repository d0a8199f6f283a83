"""Shards: files that hold the features of some rows. Write them whole, check them later."""

from __future__ import annotations

import hashlib
import io
import stat
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._replacing import replacing
from .manifest import file_hash, shard_name, write_manifest

__all__ = ["WRITERS", "damage_of", "write_shard"]


def _npy_parts(
    batches: list[NDArray[Any]], names: Sequence[str], kept: Sequence[Any]
) -> list[Any]:
    header = io.BytesIO()
    description = {
        "descr": np.lib.format.dtype_to_descr(batches[0].dtype),
        "fortran_order": False,
        "shape": (sum(map(len, batches)), batches[0].shape[1]),
    }
    np.lib.format.write_array_header_1_0(header, description)
    return [header.getvalue(), *batches]


def _table_parts(
    kind: str, batches: list[NDArray[Any]], names: Sequence[str], kept: Sequence[Any]
) -> list[Any]:
    import pyarrow as pa

    columns = np.concatenate(batches).T
    found = dict(zip(names, columns, strict=True))
    if kept:
        whole = pa.concat_tables(kept).combine_chunks()
        found = dict(zip(whole.column_names, whole.columns, strict=True)) | found
    table = pa.table(found)
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


#: From batches of features, the names of the columns, and tables of what is kept beside
#: them, to the content of a shard, in parts.
WRITERS: dict[str, Callable[..., list[Any]]] = {
    "npy": _npy_parts,
    **{kind: partial(_table_parts, kind) for kind in ("csv", "parquet", "arrow")},
}


def damage_of(folder: Path, shard: Mapping[str, Any]) -> str | None:
    """What is wrong with a shard; None if it is what was written."""
    path = folder / shard["file"]
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            is_link = stat.S_ISLNK(found.st_mode)
            what = "a symbolic link" if is_link else "not a regular file"
            return f"{path.name} is {what}, unlike the file that was written"
        size = found.st_size
        if size != shard["bytes"]:
            return f"{path.name} has {size:,} bytes instead of {shard['bytes']:,}"
        if file_hash(path) != shard["sha256"]:
            return f"{path.name} has changed: its checksum differs"
    except FileNotFoundError:
        return f"{path.name} is missing"
    return None


def write_shard(
    folder: Path,
    manifest: dict[str, Any],
    index: int,
    batches: list[NDArray[Any]],
    kept: Sequence[Any],
    input_checksum: str,
) -> None:
    """Write a shard, and then its line in the manifest."""
    settings, shards = manifest["settings"], manifest["shards"]
    names = manifest["features"]["names"]
    parts = WRITERS[settings["format"]](batches, names, kept)
    checksum = hashlib.sha256()
    for part in parts:
        checksum.update(part)
    shard: dict[str, Any] = {
        "file": shard_name(index, settings["format"]),
        "rows": sum(map(len, batches)),
        "bytes": sum(memoryview(part).nbytes for part in parts),
        "sha256": checksum.hexdigest(),
        "input_crc32": input_checksum,
    }
    if index < len(shards) and shard != shards[index]:
        raise ValueError(
            f"output: {shard['file']} was damaged and cannot be restored: the same model "
            "and rows give different bytes on this machine. Remove the output and extract "
            "all of it on one kind of machine."
        )
    with replacing(folder / shard["file"], follow_links=False) as file:
        file.writelines(parts)
    if index == len(shards):
        shards.append(shard)
        write_manifest(folder, manifest)
