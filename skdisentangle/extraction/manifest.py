"""The manifest of an output: its model, input and settings, and the finished shards.

The whole file is rewritten each time a shard is finished.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .._replacing import is_temporary, remove_temporary, replacing

if sys.platform != "win32":
    import fcntl

__all__ = [
    "LAYOUT",
    "LAYOUT_KEY",
    "MANIFEST",
    "begin",
    "difference",
    "file_hash",
    "file_sizes",
    "is_complete",
    "locked",
    "read_manifest",
    "shard_name",
    "write_manifest",
]

#: Name of the manifest of extracted features, which may be an input again. Readers of
#: Parquet folders skip files with an underscore.
MANIFEST = "_manifest.json"

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


def file_hash(path: str | os.PathLike[str]) -> str:
    """Checksum of a file, by which a manifest knows it again."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_sizes(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Names and sizes of files, by which a manifest knows an input again."""
    return [{"name": file.name, "bytes": file.stat().st_size} for file in files]


def is_complete(name: str, manifest: Path) -> bool:
    """Whether the extraction of a manifest has ended; `name` is for errors."""
    try:
        return bool(json.loads(manifest.read_bytes())["complete"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{name}: {str(manifest)!r} is damaged.") from error


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest of a folder, in place of the one that is there."""
    with replacing(folder / MANIFEST, follow_links=False) as file:
        file.write((json.dumps(manifest, indent=1) + "\n").encode())


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a folder, or say why it is none."""
    path = folder / MANIFEST
    if path.is_symlink():
        raise ValueError(
            f"output: {str(path)!r} is a symbolic link, unlike the file that was written. "
            "Put the file itself there, or use another output."
        )
    if not path.exists():
        raise FileNotFoundError(
            f"output: {str(folder)!r} must be a folder that extract_features has "
            f"written; it has no {MANIFEST}."
        )
    damaged = f"output: {str(path)!r} is damaged, or not written by extract_features."
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
    kind, given = found["settings"]["format"], found["input"]
    columns = [given.get("columns", []), given.get("kept", [])]
    return (
        all(_is_of(shard, SHARD_KINDS) for shard in found["shards"])
        and [shard["file"] for shard in found["shards"]]
        == [shard_name(index, kind) for index in range(len(found["shards"]))]
        and min(found["settings"]["batch_size"], found["settings"]["rows_per_shard"])
        > 0
        and all(isinstance(each, list) for each in columns)
        and all(
            isinstance(one, list) and len(one) == 2 for each in columns for one in each
        )
    )


def _is_of(found: Any, kinds: Any) -> bool:
    if isinstance(kinds, dict):
        return isinstance(found, dict) and all(
            _is_of(found.get(key), kind) for key, kind in kinds.items()
        )
    return type(found) is kinds


def shard_name(index: int, kind: str) -> str:
    """Name of the file of a shard."""
    return f"part-{index:06d}.{kind}"


def begin(folder: Path, header: dict[str, Any]) -> dict[str, Any]:
    """Manifest of an output that is new, or that was begun in the same way."""
    if not os.path.lexists(folder / MANIFEST):
        others = [path.name for path in folder.iterdir() if not is_temporary(path)]
        if others:
            raise ValueError(
                f"output: the folder {str(folder)!r} must be new, empty, or an output "
                f"begun before; it has no {MANIFEST}, but holds {sorted(others)[0]!r}."
            )
        remove_temporary(folder)
        manifest = {**header, "complete": False, "shards": []}
        write_manifest(folder, manifest)
        return manifest
    manifest = read_manifest(folder)
    for part, mine in header.items():
        if manifest[part] != mine:
            raise ValueError(
                f"output: {str(folder)!r} was begun with a different "
                f"{part.removesuffix('s')}: {difference(manifest[part], mine)}. Use the "
                "same as before, or another output."
            )
    remove_temporary(folder)
    return manifest


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """First entry in which two parts of a manifest differ, in words."""
    key = next(k for k in [*before, *now] if before.get(k) != now.get(k))
    one, other = before.get(key), now.get(key)
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return f"{key} were {len(one)}, now {len(other)}"
        one, other = next((a, b) for a, b in zip(one, other, strict=True) if a != b)
    return f"{key} was {one!r}, now {other!r}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
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
