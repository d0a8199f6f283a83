"""The one place that knows scikit-learn's callbacks (experimental there since 1.9).

With an older scikit-learn the estimator works all the same, without ``set_callbacks``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:

    class CallbackSupportMixin:
        def set_callbacks(self, *callbacks: Any) -> Self: ...

else:
    try:
        from sklearn.callback import CallbackSupportMixin
    except ImportError:

        class CallbackSupportMixin:
            """Stands in for scikit-learn's mixin where that does not exist."""


__all__ = ["CallbackSupportMixin", "EpochCallbacks"]


class EpochCallbacks:
    """Tells the callbacks of an estimator about the fit and each of its epochs."""

    def __init__(self, estimator: Any, X: Any, y: Any) -> None:
        self._estimator = estimator
        self._context: Any = None
        self._data = {"X": X, "y": y}

    def begin(self, max_iter: int) -> None:
        """Report the start of a fit of so many epochs at the most."""
        if getattr(self._estimator, "_skl_callbacks", None):
            context = self._estimator._init_callback_context(max_subtasks=max_iter)
            context.call_on_fit_task_begin(estimator=self._estimator, **self._data)
            self._context = context

    def epoch(self, fitted: Callable[[], dict[str, Any]]) -> bool:
        """Report an epoch; return whether a callback asks for the end.

        Parameters
        ----------
        fitted : callable
            Gives the attributes of an estimator that is fitted as if the fit had ended
            here; called only if a callback looks at it.
        """
        if self._context is None:
            return False
        epoch = self._context.subcontext(task_name="epoch")
        epoch.call_on_fit_task_begin(estimator=self._estimator, **self._data)
        stop = epoch.call_on_fit_task_end(
            estimator=self._estimator, reconstruction_attributes=fitted, **self._data
        )
        return bool(stop)

    def end(self) -> None:
        """Report the end of the fit."""
        if self._context is not None:
            self._context.call_on_fit_task_end(
                estimator=self._estimator,
                reconstruction_attributes={},
                **self._data,
            )
