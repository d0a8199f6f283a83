"""Write files so that nobody ever finds an incomplete one."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from uuid import uuid4

__all__ = ["is_temporary", "remove_temporary", "replacing"]


@contextmanager
def replacing(path: Path, *, follow_links: bool = True) -> Iterator[IO[bytes]]:
    """Open a temporary file that becomes `path` if all goes well, and is removed if not.

    It is on disk before it gets its name, so `path` is complete even after a power failure.
    Several processes may do this at once: the last one wins. :func:`remove_temporary` removes
    the files of killed processes. Only a regular file is replaced: no folder, and not
    ``/dev/null``, which a superuser could replace. The new file gets the permissions of the
    old one. For a link, the file behind it is replaced, or the link itself if links are not
    followed.
    """
    path = path.resolve() if follow_links and path.is_symlink() else path
    is_there = path.exists() and not path.is_symlink()
    if is_there and not path.is_file():
        kind, what = errno.EINVAL, "none"
        if path.is_dir():
            kind, what = errno.EISDIR, "a directory"
        raise OSError(
            kind, f"Only a regular file can be replaced, this is {what}", str(path)
        )
    # hidden, so that no reader of the folder takes it for data
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            if is_there:
                os.chmod(temporary, stat.S_IMODE(path.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(temporary)):
            error.filename = str(path)  # writes do not say where
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # elsewhere a folder cannot be opened
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_temporary(path: Path) -> bool:
    """Whether this is a temporary file of :func:`replacing`."""
    return re.fullmatch(r"\..+\.[0-9a-f]{32}\.tmp", path.name) is not None


def remove_temporary(folder: Path) -> None:
    """Remove the temporary files of killed processes; none may be at work there."""
    for path in folder.iterdir():
        if is_temporary(path):
            path.unlink()
