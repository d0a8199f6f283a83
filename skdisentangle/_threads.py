"""How many threads torch may use, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def threads(n_threads: int) -> Iterator[None]:
    """Let torch use so many threads for a while, then put the setting back."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(n_threads)
        yield
    finally:
        torch.set_num_threads(before)
