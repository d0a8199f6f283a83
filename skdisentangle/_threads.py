"""How many threads torch may use, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from joblib import cpu_count

#: More threads than this are taken for a mistake: torch may end the process.
MAX_THREADS = 1024

__all__ = ["thread_count", "threads"]


def thread_count(n_jobs: int | None) -> int:
    """Number of threads; None is 1, and -1 all processors, -2 all but one, ..."""
    if n_jobs is None:
        return 1
    if n_jobs == 0:
        raise ValueError("n_jobs must be None, positive, or -1; got 0.")
    if n_jobs > MAX_THREADS:
        raise ValueError(f"n_jobs must be at most {MAX_THREADS}; got {n_jobs}.")
    return n_jobs if n_jobs > 0 else max(1, int(cpu_count()) + 1 + n_jobs)


@contextmanager
def threads(n_threads: int) -> Iterator[None]:
    """Let torch use so many threads for a while, then put the setting back."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(n_threads)
        yield
    finally:
        torch.set_num_threads(before)
