"""The loss in each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any, Self

from ..fitting.training import BASIS_CHANGED
from ._fitted import fitted_parts
from ._plots import BLUE, GREY, ORANGE, legend_above, new_axes, put_title

__all__ = ["LossCurveDisplay"]

#: Colours of the stages, from the first on.
SHADES = (GREY, BLUE, ORANGE)


class LossCurveDisplay:
    """Loss in each epoch, the stages of the fit, and the score on rows held back, if any.

    A fit begins without penalties, goes on with penalties, and settles. Dotted lines mark
    where the basis of the components was changed to one in which the heads are sparser.

    It is recommended to use :meth:`from_estimator`. All parameters are stored as
    attributes.

    Parameters
    ----------
    losses : sequence of float
        Mean loss over tasks, without the penalty, after each epoch.
    scores : sequence of float, default=None
        Score on the rows held back; drawn against an axis of its own.
    stages : sequence of tuple (int, str), default=()
        What began, or was done, and the number of epochs before it.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : matplotlib Line2D
        The losses.
    score_ax_, score_line_ : matplotlib Axes and Line2D, or None
        The scores.
    stages_ : list of matplotlib Patch
        The shades of the stages.

    Examples
    --------
    >>> from skdisentangle.inspection import LossCurveDisplay
    >>> display = LossCurveDisplay([0.5, 0.2, 0.1], scores=[0.3, 0.7, 0.8])
    >>> display.plot()  # doctest: +SKIP
    """

    def __init__(
        self,
        losses: Sequence[float],
        scores: Sequence[float] | None = None,
        *,
        stages: Sequence[tuple[int, str]] = (),
    ) -> None:
        self.losses = losses
        self.scores = scores
        self.stages = stages

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
        return cls(dis.loss_curve_, dis.validation_scores_, stages=dis._stages).plot(
            ax=ax
        )

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
        put_title(ax, "Loss in each epoch of the fit", over_legend=bool(self.stages))
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
        self.stages_ = self._mark_stages(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _mark_stages(self, ax: Any) -> list[Any]:
        """Shade each stage, and mark changes of the basis."""
        begun = [stage for stage in self.stages if stage[1] != BASIS_CHANGED]
        ends = [epoch for epoch, _ in begun[1:]] + [len(self.losses)]
        spans = [
            ax.axvspan(
                *(epoch + 0.5, end + 0.5), color=shade, alpha=0.15, lw=0, label=name
            )
            for (epoch, name), end, shade in zip(
                begun, ends, cycle(SHADES), strict=False
            )
        ]
        changes = [epoch for epoch, name in self.stages if name == BASIS_CHANGED]
        for number, epoch in enumerate(changes):
            label = BASIS_CHANGED if number == 0 else None
            ax.axvline(epoch + 0.5, color=GREY, linestyle=":", label=label)
        if self.stages:
            legend_above(ax)
        return spans
