"""How much each component is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ._fitted import component_labels, fitted_parts, task_sizes
from ._plots import BLUE, axes_of_size, label_ticks, new_axes, put_title, room_for

__all__ = ["UsageDisplay"]


class UsageDisplay:
    """How much the tasks use each component.

    The bar of a component is its usage, its share of the heads' magnitude; the number
    on it says how many tasks use it. A component that no task uses has no bar.

    It is recommended to use :meth:`from_estimator`. All parameters are stored as
    attributes.

    Parameters
    ----------
    usage : array-like of shape (n_components,)
    n_tasks : array-like of int, of shape (n_components,)
        Tasks that use the component.
    components : sequence, default=None
        Names of the components. None numbers them.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    bars_ : matplotlib BarContainer
    counts_ : list of matplotlib Text
        The numbers on the bars; empty if there is no room.

    Examples
    --------
    >>> from skdisentangle.inspection import UsageDisplay
    >>> display = UsageDisplay(usage=[0.6, 0.4, 0.0], n_tasks=[7, 4, 0])
    >>> display.plot()  # doctest: +SKIP
    """

    def __init__(
        self,
        usage: ArrayLike,
        n_tasks: ArrayLike,
        *,
        components: Sequence[Any] | None = None,
    ) -> None:
        self.usage = usage
        self.n_tasks = n_tasks
        self.components = components

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw the usage of a fitted estimator's components.

        Parameters
        ----------
        estimator : SparseSharedDisentangler, or pipeline or search with one
            Fitted.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        UsageDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If there is no disentangler in the estimator.
        """
        dis, _ = fitted_parts(estimator)
        sizes, _ = task_sizes(dis)
        names: list[Any] = list(range(len(dis.usage_)))
        for component, label in zip(
            dis.active_components_, component_labels(dis), strict=True
        ):
            names[component] = label
        n_tasks = (sizes > 0).sum(axis=0)
        return cls(dis.usage_, n_tasks, components=names).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        UsageDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the two arrays are not one-dimensional and of the same length, or names do
            not go with them.
        """
        usage, n_tasks = np.asarray(self.usage, dtype=float), np.asarray(self.n_tasks)
        if usage.ndim != 1 or usage.shape != n_tasks.shape:
            raise ValueError(
                "usage and n_tasks must have shape (n_components,); got "
                f"{usage.shape} and {n_tasks.shape}."
            )
        n = len(usage)
        names = range(n) if self.components is None else self.components
        if len(names) != n:
            raise ValueError(f"components must hold {n} names; got {len(names)}.")
        ax = new_axes(
            self,
            ax,
            width=min(max(4.8, 1.4 + 0.32 * n), 12.0),
            height=3.6 + room_for(names),
        )
        self.bars_ = ax.bar(range(n), usage, color=BLUE)
        self.counts_ = []
        width, _ = axes_of_size(ax)
        if width / max(n, 1) > 0.2:
            active = np.flatnonzero(n_tasks)
            self.counts_ = [
                ax.text(j, usage[j], str(n_tasks[j]), ha="center", va="bottom")
                for j in active
            ]
        ax.set_ylim(0, 1.12 * (usage.max(initial=0.0) or 1.0))
        ax.set_xlim(-0.6, max(n, 3) - 0.4)
        label_ticks(ax, "x", names)
        ax.spines[["top", "right"]].set_visible(False)
        ax.set(
            xlabel="component (number on the bar: tasks that use it)"
            if self.counts_
            else "component",
            ylabel="share of use",
        )
        put_title(
            ax, f"How much each component is used ({int((n_tasks > 0).sum())} in use)"
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self
