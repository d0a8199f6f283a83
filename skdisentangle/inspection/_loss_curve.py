"""The loss in each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from ._fitted import fitted_parts
from ._plots import BLUE, ORANGE, new_axes

__all__ = ["LossCurveDisplay"]


class LossCurveDisplay:
    """Loss in each epoch of a fit, and the score on rows held back, if there were any.

    It is recommended to use :meth:`from_estimator`. All parameters are stored as
    attributes.

    Parameters
    ----------
    losses : sequence of float
        Mean loss over tasks, without the penalty, after each epoch.
    scores : sequence of float, default=None
        Score on the rows held back; drawn against an axis of its own.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : matplotlib Line2D
        The losses.
    score_ax_, score_line_ : matplotlib Axes and Line2D, or None
        The scores.

    Examples
    --------
    >>> from skdisentangle.inspection import LossCurveDisplay
    >>> display = LossCurveDisplay([0.5, 0.2, 0.1], scores=[0.3, 0.7, 0.8])
    >>> display.plot()  # doctest: +SKIP
    """

    def __init__(
        self, losses: Sequence[float], scores: Sequence[float] | None = None
    ) -> None:
        self.losses = losses
        self.scores = scores

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw the curves of a fitted estimator.

        Parameters
        ----------
        estimator : SparseSharedDisentangler, or pipeline or search with one
            Fitted.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        LossCurveDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If there is no disentangler in the estimator.
        """
        dis, _ = fitted_parts(estimator)
        return cls(dis.loss_curve_, dis.validation_scores_).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        LossCurveDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = new_axes(self, ax, width=6.4, height=3.8)
        epochs = range(1, len(self.losses) + 1)
        # A single point has no line.
        marker = "o" if len(self.losses) < 10 else ""
        (self.line_,) = ax.plot(epochs, self.losses, color=BLUE, marker=marker)
        ax.set(xlabel="epoch", ylabel="loss, mean over tasks")
        if all(loss > 0 for loss in self.losses):
            ax.set_yscale("log")
        ax.xaxis.get_major_locator().set_params(integer=True)
        self.score_ax_ = self.score_line_ = None
        if self.scores is not None:
            ax.yaxis.label.set_color(BLUE)
            self.score_ax_ = ax.twinx()
            (self.score_line_,) = self.score_ax_.plot(
                range(1, len(self.scores) + 1),
                self.scores,
                color=ORANGE,
                linestyle="--",
                marker=marker,
            )
            self.score_ax_.set_ylabel("score on rows held back (dashed)", color=ORANGE)
        self.ax_, self.figure_ = ax, ax.figure
        return self
