"""Progress of an extraction, on the standard error."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import Self

from .readers import Source

__all__ = ["Progress"]

#: Seconds between two lines of progress: on a terminal, where a line overwrites the
#: last, and in a file.
PROGRESS_SECONDS = {True: 0.5, False: 30.0}


class Progress:
    """Rows, share, rate and time left, on the standard error."""

    def __init__(self, source: Source, verbose: bool) -> None:
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
        """Count a block that was written, or only compared with an earlier run."""
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
            return f"{text} were written before"
        if self._n_made < self.n_rows:
            text += f", {self._n_made:,} of them now"
        return f"{text}, {self._rate():,.0f} rows/s"

    def _rate(self) -> float:
        return self._n_made / max(1e-9, time.monotonic() - self._start)

    def _state(self) -> str:
        share = self._source.share_read()
        text = f"{self.n_rows:,} rows, {share:.1%}"
        if self._n_made == 0:
            return f"{text}, checking what was written before"
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
