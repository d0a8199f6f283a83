"""What a fit prints while it runs."""

from __future__ import annotations

import time

__all__ = ["Line", "Progress", "duration"]

#: Seconds between two states of a line, at the least.
PATIENCE = 0.2

#: A line is as wide as a terminal, so that nothing of the last one is left.
WIDTH = 79


def duration(seconds: float) -> str:
    """Seconds in words."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Line:
    """One line on the screen that is rewritten."""

    def __init__(self) -> None:
        self._last = 0.0

    def write(self, text: str, *, patient: bool = True) -> None:
        """Show a text in place of the last one, unless that is just there."""
        now = time.monotonic()
        if patient and now - self._last < PATIENCE:
            return
        self._last = now
        print(f"\r{text[:WIDTH]:<{WIDTH}}", end="", flush=True)

    def end(self, text: str) -> None:
        """Show a last text, and leave it there."""
        print(f"\r{text:<{WIDTH}}", flush=True)


class Progress:
    """Stage, loss, active components and time left of a fit.

    Parameters
    ----------
    verbose : int
        0 prints nothing, 1 one line that is rewritten, 2 a line for each stage and epoch.
    """

    def __init__(self, verbose: int) -> None:
        self._verbose = int(verbose)
        self._line, self._stage, self._numbers = Line(), "", ""
        self._start = time.monotonic()
        self._first: float | None = None

    def stage(self, name: str) -> None:
        """Tell of a part of the fit that begins."""
        self._stage = name
        if self._verbose > 1:
            print(f"{name[0].upper()}{name[1:]}.", flush=True)
        elif self._verbose:
            self._line.write(self._text(), patient=False)

    def epoch(
        self,
        number: int,
        max_iter: int,
        loss: float,
        score: float | None,
        n_active: int,
    ) -> None:
        """Tell of an epoch."""
        if not self._verbose:
            return
        now = time.monotonic()
        shown = "" if score is None else f"  validation score {score:.4f}"
        text = (
            f"{number}/{max_iter}  loss {loss:.4f}{shown}  active components {n_active}"
        )
        if self._first is None:
            self._first = now  # the first epoch also warms things up
        elif number < max_iter:
            left = (now - self._first) / (number - 1) * (max_iter - number)
            text += f"  {duration(left)} left"
        if self._verbose > 1:
            print(f"Epoch {text}", flush=True)
            return
        self._numbers = f"epoch {text}"
        self._line.write(self._text())

    def end(self, reason: str, n_epochs: int, loss: float, n_active: int) -> None:
        """Tell of the end of the fit, and why it came."""
        if not self._verbose:
            return
        took = duration(time.monotonic() - self._start)
        text = (
            f"Done in {took}: {n_epochs} epochs, loss {loss:.4f}, {n_active} active "
            f"components. {reason}"
        )
        if self._verbose > 1:
            print(text, flush=True)
        else:
            self._line.end(text)

    def _text(self) -> str:
        return f"{self._stage}: {self._numbers}" if self._numbers else self._stage
