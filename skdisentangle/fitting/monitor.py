"""Who is told of a fit: the user, by printed lines and warnings, and callbacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from .._warnings import warn
from .callbacks import EpochCallbacks
from .problem import Fitted
from .progress import Progress
from .training import History, Reason

__all__ = ["Doubts", "Monitor"]

#: Tasks that a warning names, at the most.
MOST_NAMES = 5


#: Why a fit ends, in words.
REASONS: dict[Reason, str] = {
    "budget": "All {max_iter} epochs were used.",
    "plateau": "It no longer improved.",
    "asked": "A callback asked for the end.",
    "interrupted": "It was interrupted.",
}


class Monitor:
    """Tells the user and the callbacks of an estimator about a fit.

    Parameters
    ----------
    estimator : SparseSharedDisentangler
    X, y
        Rows and labels of the fit, for callbacks.
    speaks : bool, default=True
        Whether this process prints and warns: of several, one does.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, *, speaks: bool = True) -> None:
        self.ends_when_interrupted: bool = estimator._ends_when_interrupted
        self.verbose = int(estimator.verbose) if speaks else 0
        self._progress = Progress(self.verbose)
        self._speaks = speaks
        self._callbacks = EpochCallbacks(estimator, X, y)

    #: Whether all else has been said, or will be, by another fit.
    only_doubts = False

    def begin(self, max_iter: int) -> None:
        """Tell of the start."""
        self._callbacks.begin(max_iter)

    def stage(self, name: str) -> None:
        """Tell of a part of the fit that begins."""
        self._progress.stage(name)

    def epoch(
        self,
        number: int,
        max_iter: int,
        loss: float,
        score: float | None,
        *,
        n_active: int,
        fitted: Callable[[], Fitted],
    ) -> bool:
        """Tell of an epoch; return whether a callback asks for the end."""
        self._progress.epoch(number, max_iter, loss, score, n_active)
        return self._callbacks.epoch(lambda: fitted().attributes())

    def doubt(self, names: Sequence[Any]) -> None:
        """Tell of tasks of which rows held back show no sign that anything was learned."""
        if names and self._speaks:
            shown = ", ".join(map(repr, names[:MOST_NAMES]))
            more = f" and {len(names) - MOST_NAMES} more" if names[MOST_NAMES:] else ""
            warn(
                f"Nothing seems to be learned for {shown}{more}: short fits predict the "
                "labels of held-out rows no better than without X. Do not trust predictions "
                "of these tasks."
            )

    def end(self, fitted: Fitted, history: History, max_iter: int) -> None:
        """Tell of the end, and of what is wrong with it."""
        if history.losses:
            n_epochs, loss = len(history.losses), history.losses[-1]
            reason = REASONS[history.reason].format(max_iter=max_iter)
            self._progress.end(reason, n_epochs, loss, fitted.n_active)
        if history.interrupted:
            warn(
                f"The fit was interrupted in epoch {len(history.losses) + 1}; the model has "
                "what was learned so far."
            )
        elif not history.converged:
            warn(
                f"The fit was still improving after max_iter={max_iter} epochs; raise "
                "max_iter.",
                ConvergenceWarning,
            )
        if fitted.n_active == 0:
            warn(
                "No component is in use: no task gains from one at these strengths. "
                "Lower sparsity or sharing. If that does not help, X may not predict the "
                "tasks."
            )
        self._callbacks.end()


class Doubts(Monitor):
    """Tells of tasks in doubt only: of the first of two fits that are one to the user."""

    only_doubts = True
    ends_when_interrupted = True

    def __init__(self, *, speaks: bool = True) -> None:
        self._speaks = speaks

    def begin(self, max_iter: int) -> None:
        """Say nothing."""

    def stage(self, name: str) -> None:
        """Say nothing."""

    def epoch(self, *args: Any, **kwargs: Any) -> bool:
        """Go on."""
        return False

    def end(self, *args: Any) -> None:
        """Say nothing."""
