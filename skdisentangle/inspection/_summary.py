"""The one picture to look at first."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from ._input_effects import InputEffectDisplay, input_effects
from ._plots import pyplot, room_for
from ._task_components import TaskComponentDisplay

__all__ = ["SummaryDisplay"]


class SummaryDisplay:
    """Tasks beside columns, by component: the picture of a fit to look at first.

    On the left, which task uses which component. On the right, which columns of X move it, or
    which pixels. Read a component down both: what it is for, and what it is made of.

    It is recommended to use :meth:`from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    tasks : TaskComponentDisplay
    columns : InputEffectDisplay

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, of shape (2,)
    figure_ : matplotlib Figure

    See Also
    --------
    describe : The same, and more, as a table.
    """

    def __init__(
        self, tasks: TaskComponentDisplay, columns: InputEffectDisplay
    ) -> None:
        self.tasks = tasks
        self.columns = columns

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, *, max_columns: int = 20) -> Self:
        """Draw a fitted estimator.

        Parameters
        ----------
        estimator : SparseSharedDisentangler, or pipeline or search with one
            Fitted.
        X : array-like, data frame or sparse matrix of shape (n_samples, n_features)
            Rows as the estimator takes them, or images. At least two.
        max_columns : int, default=20
            Columns to draw, at the most; those of the largest effects.

        Returns
        -------
        SummaryDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError, TypeError
            As from :func:`input_effects`; or if no component is active.
        """
        effects = input_effects(estimator, X)
        columns = InputEffectDisplay(effects, max_columns=max_columns)
        return cls(TaskComponentDisplay._undrawn(estimator), columns).plot()

    def plot(self) -> Self:
        """Draw both, in a new figure.

        Returns
        -------
        SummaryDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        effects = self.columns.effects
        n_rows = max(
            len(np.asarray(self.tasks.sizes)),
            min(len(effects.column_names), self.columns.max_columns),
        )
        self.figure_, self.axes_ = pyplot(self).subplots(
            1,
            2,
            figsize=(
                min(10.0 + 0.6 * len(effects.components), 22.0),
                min(max(3.4, 1.4 + 0.24 * n_rows), 9.0) + room_for(effects.labels),
            ),
            layout="constrained",
        )
        self.tasks.plot(ax=self.axes_[0])
        self.columns.plot(ax=self.axes_[1])
        return self
