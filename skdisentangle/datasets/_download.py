"""Find or download official files of data sets, check them, and read them in blocks."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import ssl
import stat
import time
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from math import prod
from numbers import Real
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import get_data_home
from sklearn.utils import check_scalar

from .._random import check_rng
from .._replacing import replacing
from ._tasks import check_size

__all__ = [
    "RemoteFile",
    "check_arguments",
    "data_folder",
    "find_problem",
    "get_files",
    "npz_blocks",
    "npz_shape",
    "refuse_link",
    "rows_per_block",
]

Images = NDArray[np.uint8]

#: Files are read and written in blocks of about this many bytes.
BLOCK_BYTES = 2**24

#: Seconds without a byte after which a connection counts as lost.
TIMEOUT = 60.0

#: What the network does wrong, as opposed to the disk.
NETWORK_ERRORS = (
    URLError,
    TimeoutError,
    ConnectionError,
    HTTPException,
    ssl.SSLError,
)


class RemoteFile(NamedTuple):
    """An official file and where it comes from.

    Attributes
    ----------
    filename : str
        Its name.
    url : str
        Where to download it.
    checksum : str or None
        The published checksum, as ``"sha256:<hex digits>"`` or ``"md5:<hex digits>"``.
        None where there is none: the file must then be a zip archive that agrees with
        its own checksums and holds `arrays`. The SHA-256 of the first such file is kept
        beside it, in ``<filename>.sha256``, and a later one must have the same.
    hint : str, default=""
        Another way to get it, as a sentence.
    arrays : mapping of str to tuple, default={}
        Names and shapes of arrays of bytes that a .npz file without a published checksum
        must hold.
    """

    filename: str
    url: str
    checksum: str | None
    hint: str = ""
    arrays: Mapping[str, tuple[int, ...]] = MappingProxyType({})


# ------------------------------------------------------------------- official files


def check_arguments(
    n_samples: Any, random_state: Any, n_retries: Any, delay: Any
) -> None:
    """Check the arguments that every loader has, before anything is downloaded."""
    if n_samples is not None:
        check_size("n_samples", n_samples)
    check_rng(random_state)
    check_size("n_retries", n_retries, 0)
    check_scalar(delay, "delay", Real, min_val=0)


def data_folder(data_home: str | os.PathLike[str] | None, name: str) -> Path:
    """Folder of a data set, made if missing."""
    folder = Path(get_data_home(data_home)) / name
    folder.mkdir(exist_ok=True)
    return folder


def get_files(
    remotes: Sequence[RemoteFile],
    folder: Path,
    *,
    download_if_missing: bool,
    n_retries: int,
    delay: float,
) -> list[Path]:
    """Paths of official files in a folder, each checked, and downloaded if missing.

    Parameters
    ----------
    remotes : sequence of RemoteFile
        The files.
    folder : Path
        Where they are, or will be.
    download_if_missing : bool
        Whether to download what is not there.
    n_retries : int
        How often to try again when the network fails, for each file.
    delay : float
        Seconds between tries.

    Returns
    -------
    paths : list of Path
        In the order of `remotes`.

    Raises
    ------
    OSError
        If a file is missing and cannot be downloaded, is not the official one, or is a
        link that leads out of the folder.
    """
    paths = []
    for remote in remotes:
        path = folder / remote.filename
        for each in (path, _part(path), _record(path)):
            refuse_link(each)
        if path.exists():
            problem = _problem_of(path, remote, path)
            if problem:
                raise OSError(
                    f"{path} is not the official file: {problem}. Remove it to "
                    f"download it from {remote.url}."
                )
        elif not download_if_missing:
            raise OSError(_where_to_put(remotes, folder, "download_if_missing=False"))
        else:
            try:
                _download(remote, path, n_retries, delay)
            except NETWORK_ERRORS as error:
                raise OSError(_where_to_put(remotes, folder, str(error))) from error
        if remote.checksum is None and not _record(path).exists():
            with replacing(_record(path)) as file:
                file.write(f"{_digest(path, 'sha256')}  {path.name}\n".encode())
        paths.append(path)
    return paths


def refuse_link(path: Path) -> None:
    """Refuse a symbolic link in place of a file, if it leads out of the file's folder.

    Raises
    ------
    OSError
        Says where it leads.
    """
    target = Path(os.path.realpath(path))
    if path.is_symlink() and not target.is_relative_to(os.path.realpath(path.parent)):
        raise OSError(
            f"{path} is a symbolic link that leads out of its folder, to {target}; it is "
            "not followed. Put the file itself there, or give data_home the folder that "
            "holds it."
        )


def _part(path: Path) -> Path:
    """What has arrived of a download."""
    return path.with_name(f"{path.name}.part")


def _record(path: Path) -> Path:
    """Where the checksum of a file is kept that has no published one."""
    return path.with_name(f"{path.name}.sha256")


def _where_to_put(remotes: Sequence[RemoteFile], folder: Path, reason: str) -> str:
    missing = [r for r in remotes if not (folder / r.filename).exists()]
    lines = [
        f"  {remote.url}\n  -> {folder / remote.filename} "
        f"({remote.checksum or 'no published checksum'})"
        for remote in missing
    ]
    text = (
        f"Data not found, and not downloaded ({reason}). To use it without a download, put "
        "these files there:"
    )
    return "\n".join([text, *lines, *(r.hint for r in missing if r.hint)])


def _problem_of(path: Path, remote: RemoteFile, final: Path) -> str:
    """Tell what is wrong with a file that has its name, `final`, or is to get it."""
    if remote.checksum is not None:
        return find_problem(path, remote.checksum)
    record = _record(final)
    if not record.exists():
        return _zip_problem(path, remote.arrays)
    known = re.match(r"[0-9a-f]{64}\b", record.read_text("utf-8", "replace"))
    if known is None:
        return f"{record} should hold its SHA-256 checksum, but does not"
    problem = find_problem(path, f"sha256:{known[0]}")
    if problem:
        problem += (
            f", the checksum of the first file here according to {record} (no checksum is "
            "published; remove that record, too, to use another file)"
        )
    return problem


def find_problem(path: Path, checksum: str) -> str:
    """Tell whether a file has another checksum; empty if it has not."""
    algorithm, expected = checksum.split(":")
    got = _digest(path, algorithm)
    if got == expected:
        return ""
    return f"its {algorithm} checksum is {got}, not {expected}"


def _digest(path: Path, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.new(algorithm, usedforsecurity=False)
        ).hexdigest()


def _zip_problem(path: Path, arrays: Mapping[str, tuple[int, ...]]) -> str:
    """Tell what is wrong with a .npz file by what it says of itself."""
    if not zipfile.is_zipfile(path):
        return "it is not a complete zip archive"
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            return f"{damaged!r} in it is damaged"
        for name, shape in arrays.items():
            found = npz_shape(path, name)
            if found != shape:
                return f"its array {name!r} has shape {found}, not {shape}"
    # what a damaged, an encrypted, and another kind of archive end in
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        RuntimeError,
        ValueError,
    ) as error:
        return str(error).rstrip(".")
    return ""


def _download(remote: RemoteFile, path: Path, n_retries: int, delay: float) -> None:
    """Download to a file beside `path`, check it, and rename it.

    What has arrived when the network fails stays there, and the next try goes on from
    there. Every byte is written at its own place, so that two processes that download
    the same file do not harm each other; the first to end renames it, and the other
    then finds its part gone, or new and with a hole.
    """
    part = _part(path)
    while True:
        try:
            _receive(remote.url, part)
            break
        except FileNotFoundError:
            if path.exists():
                return
            raise
        except NETWORK_ERRORS as error:
            if n_retries <= 0:
                raise
            warnings.warn(
                f"Download of {remote.url} failed ({error}); trying again.",
                stacklevel=6,  # the line that calls the public loader
            )
            n_retries -= 1
            time.sleep(delay)
    try:
        problem = _problem_of(part, remote, path)
        if problem:
            part.unlink()
        else:
            os.replace(part, path)
    except FileNotFoundError:
        if not path.exists():
            raise
        return
    if problem and not path.exists():
        raise OSError(
            f"{remote.url} returned something that is not the official file: {problem}. It "
            f"was removed. Try again later, or put the file at {path}."
        )


def _receive(url: str, part: Path) -> None:
    """Write what `url` gives to the file `part`, or what is missing there."""
    offset = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416:  # nothing comes after `offset`
            if error.headers.get("Content-Range") == f"bytes */{offset}":
                return
            part.unlink(missing_ok=True)
        raise
    with response:
        start = 0  # a server without ranges sends everything
        if response.status == 206:
            start = offset
            content_range = response.headers.get("Content-Range", "")
            if not re.match(rf"bytes {offset}-", content_range):
                raise HTTPException(
                    f"asked for bytes {offset}- and got {content_range!r}"
                )
        part.touch()
        with open(part, "r+b") as file:
            file.seek(start)
            shutil.copyfileobj(response, file, BLOCK_BYTES)
            received = file.tell() - start
            expected = response.headers.get("Content-Length")
            if expected is not None and received < int(expected):
                raise HTTPException(f"got {received} of {expected} bytes")
            file.truncate()


# ------------------------------------------------------------------- arrays in .npz


@contextmanager
def _npz_member(path: Path, name: str) -> Iterator[tuple[tuple[int, ...], IO[bytes]]]:
    """Shape of an array of bytes in a .npz file, and the stream of its values."""
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise ValueError(
                        f"{path}: {info.filename!r} in it is a symbolic link, which is not "
                        "followed."
                    )
            if f"{name}.npy" not in archive.namelist():
                raise ValueError(
                    f"{path}: expected an array {name!r}; got {archive.namelist()}."
                )
            with archive.open(f"{name}.npy") as file:
                if np.lib.format.read_magic(file) == (1, 0):
                    header = np.lib.format.read_array_header_1_0(file)
                else:
                    header = np.lib.format.read_array_header_2_0(file)
                shape, fortran_order, dtype = header
                if dtype != np.uint8 or fortran_order:
                    raise ValueError(
                        f"{path}: expected {name!r} to be uint8 in C order; got "
                        f"{dtype}, fortran_order={fortran_order}."
                    )
                yield shape, file
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise OSError(
            f"{path} is damaged: {error}. Remove it and try again."
        ) from error


def npz_shape(path: Path, name: str) -> tuple[int, ...]:
    """Shape of an array of bytes in a .npz file."""
    with _npz_member(path, name) as (shape, _):
        return shape


def npz_blocks(path: Path, name: str) -> Iterator[tuple[int, Images]]:
    """Rows of an array of bytes in a .npz file, in blocks, each with its first row.

    The zip archive's own checksum is compared after the last.
    """
    with _npz_member(path, name) as (shape, file):
        row_bytes = prod(shape[1:])
        step = rows_per_block(row_bytes)
        for first in range(0, shape[0], step):
            n_rows = min(step, shape[0] - first)
            values = file.read(n_rows * row_bytes)
            if len(values) < n_rows * row_bytes:
                raise EOFError(f"{name!r} ends before its last row")
            yield first, np.frombuffer(values, np.uint8).reshape(n_rows, *shape[1:])


def rows_per_block(row_bytes: int) -> int:
    """Number of rows to read at once."""
    return max(1, BLOCK_BYTES // row_bytes)
