"""What torch is set to while it computes for us: threads, and the settings it comes with."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from joblib import cpu_count

#: More threads than this are taken for a mistake: torch may end the process.
MAX_THREADS = 1024

__all__ = ["thread_count", "threads"]


def thread_count(n_threads: int) -> int:
    """Number of threads; -1 is all processors, -2 all but one, ..."""
    if n_threads == 0:
        raise ValueError("n_threads must be positive, or -1; got 0.")
    if n_threads > MAX_THREADS:
        raise ValueError(f"n_threads must be at most {MAX_THREADS}; got {n_threads}.")
    return n_threads if n_threads > 0 else max(1, int(cpu_count()) + 1 + n_threads)


class _Users:
    """Threads of this process inside of :func:`threads`, and what torch had before them.

    The number of threads and the default dtype are, in part, settings of the process: who
    comes while others are inside would take theirs for what there was before.
    """

    def __init__(self) -> None:
        self.count = 0
        self.n_threads = 0
        self.dtype = torch.float32

    def enter(self) -> None:
        # Asked in each thread: when first asked, torch forgets what a thread has set.
        n_threads = torch.get_num_threads()
        if self.count == 0:
            self.n_threads = n_threads
            self.dtype = torch.get_default_dtype()
            torch.set_default_dtype(torch.float32)
        self.count += 1

    def leave(self) -> None:
        self.count -= 1
        if self.count == 0:
            torch.set_default_dtype(self.dtype)


class _Here(threading.local):
    """How deep this thread is inside of :func:`threads`, and its number of threads."""

    depth = 0
    n_threads: int | None = None


_LOCK, _USERS, _HERE = threading.Lock(), _Users(), _Here()


def _after_fork() -> None:
    """A forked process has not the other threads, which would leave and give back."""
    global _LOCK
    _LOCK = threading.Lock()
    if _USERS.count and not _HERE.depth:
        _USERS.count = 1
        _USERS.leave()
    elif _USERS.count:
        _USERS.count = 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def threads(n_threads: int | None = None) -> Iterator[None]:
    """Let torch compute with its default settings, then restore those of the user.

    Gradients are on, inference mode is off, and the default dtype and device are float32 and
    the CPU. The user's settings for other models then do not change our results.

    Parameters
    ----------
    n_threads : int, optional
        Threads that torch may use; None leaves them as they are.
    """
    outer = _HERE.n_threads
    with _LOCK:
        if not _HERE.depth:
            _USERS.enter()
        _HERE.depth += 1
    try:
        if n_threads is not None:
            _HERE.n_threads = n_threads
            torch.set_num_threads(n_threads)
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            if torch.get_default_device().type != "cpu":
                stack.enter_context(torch.device("cpu"))
            yield
    finally:
        with _LOCK:
            if n_threads is not None:
                _HERE.n_threads = outer
                torch.set_num_threads(_USERS.n_threads if outer is None else outer)
            _HERE.depth -= 1
            if not _HERE.depth:
                _USERS.leave()
