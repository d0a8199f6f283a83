"""Which task uses which component."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._fitted import component_labels, fitted_parts, learned_tasks, task_sizes
from ._plots import (
    axes_of_size,
    label_ticks,
    new_axes,
    put_title,
    room_for,
    strengths_from,
    write_signs,
)

__all__ = ["TaskComponentDisplay"]

#: Where the colours of coefficients begin, as a share of those of all sizes: what is
#: small is not to look like what is exactly zero.
LIGHTEST = 0.2


def grouped_by_support(used: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Order of rows that puts equal supports side by side, in steps down the picture.

    By the first component in use, then the number of components, then all of them.
    """
    first = np.where(used.any(axis=1), used.argmax(axis=1), used.shape[1])
    # The last key counts first; of equal rows the order stays.
    order: NDArray[np.intp] = np.lexsort((*~used.T[::-1], used.sum(axis=1), first))
    return order


class TaskComponentDisplay:
    """Which task uses which component, as a picture.

    A row a task, a column a component: the size of the task's coefficient, as a share
    of its largest one. What is white is exactly zero. A sign says whether the target, or
    the odds of the second class, rise or fall with the component; tasks of several
    classes have none. Tasks of the same support stand together, between grey lines.

    It is recommended to use :meth:`from_estimator`. All parameters are stored as
    attributes.

    Parameters
    ----------
    sizes : array-like of shape (n_tasks, n_components)
        Sizes of coefficients; each row is drawn relative to its largest value.
    signs : array-like of shape (n_tasks, n_components), default=None
        Their signs; zero or None where there is none.
    task_names : sequence of str, default=None
        None stands for ``task0``, ``task1``, ...
    components : sequence of int or str, default=None
        Names of the columns. None numbers them.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    im_ : matplotlib AxesImage
    order_ : ndarray of int, of shape (n_tasks,)
        The tasks from top to bottom.
    signs_ : ndarray of shape (n_tasks, n_components)
        Texts of the signs, in the order drawn; None where there is none, or no room.
    lines_ : matplotlib LineCollection
        The lines between groups of the same support.

    See Also
    --------
    IdentifiabilityDisplay : Whether the tasks tell the components apart.

    Examples
    --------
    >>> from skdisentangle.inspection import TaskComponentDisplay
    >>> display = TaskComponentDisplay(
    ...     sizes=[[1.0, 0.5], [0.0, 2.0]],
    ...     signs=[[1, -1], [0, 1]],
    ...     task_names=["weight", "price"],
    ... )
    >>> display.plot()  # doctest: +SKIP
    """

    def __init__(
        self,
        sizes: ArrayLike,
        *,
        signs: ArrayLike | None = None,
        task_names: Sequence[str] | None = None,
        components: Sequence[Any] | None = None,
    ) -> None:
        self.sizes = sizes
        self.signs = signs
        self.task_names = task_names
        self.components = components

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, task_names: Sequence[str] | None = None, ax: Any = None
    ) -> Self:
        """Draw the heads of a fitted estimator on its active components.

        Parameters
        ----------
        estimator : SparseSharedDisentangler, or pipeline or search with one
            Fitted.
        task_names : sequence of str, default=None
            One name a task. None takes those of the fit, the columns of its data frame
            of labels.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        TaskComponentDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If no component is active, or there are not as many names as tasks.
        TypeError
            If there is no disentangler in the estimator.
        """
        return cls._undrawn(estimator, task_names).plot(ax=ax)

    @classmethod
    def _undrawn(cls, estimator: Any, task_names: Sequence[str] | None = None) -> Self:
        dis, _ = fitted_parts(estimator)
        sizes, signs = task_sizes(dis)
        active = dis.active_components_
        if task_names is None:
            task_names = [task.name for task in dis.tasks_]
        if len(task_names) != len(dis.tasks_):
            raise ValueError(
                f"task_names must hold a name for each of the {len(dis.tasks_)} tasks; "
                f"got {len(task_names)}."
            )
        return cls(
            sizes[:, active],
            signs=signs[:, active],
            task_names=[task_names[task.index] for task in learned_tasks(dis)],
            components=component_labels(dis),
        )

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        TaskComponentDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no component, or names, signs and sizes do not go together.
        """
        sizes = np.asarray(self.sizes, dtype=np.float64)
        if sizes.ndim != 2 or sizes.shape[0] == 0:
            raise ValueError(
                "sizes must have shape (n_tasks, n_components), with a task at least; "
                f"got {sizes.shape}."
            )
        n_tasks, n_components = sizes.shape
        if n_components == 0:
            raise ValueError("No component is in use: there is nothing to draw.")
        signs = np.zeros_like(sizes) if self.signs is None else np.asarray(self.signs)
        names = self.task_names or [f"task{t}" for t in range(n_tasks)]
        components = self.components or list(range(n_components))
        for name, length, expected in (
            ("signs", signs.shape, sizes.shape),
            ("task_names", len(names), n_tasks),
            ("components", len(components), n_components),
        ):
            if length != expected:
                raise ValueError(
                    f"{name} must go with sizes of shape {sizes.shape}; got {length}."
                )

        ax = new_axes(
            self,
            ax,
            width=min(4.4 + 0.32 * n_components, 14.0),
            height=min(max(3.0, 1.4 + 0.22 * n_tasks), 9.0) + room_for(components),
        )
        sizes = np.abs(sizes)
        largest = sizes.max(axis=1, keepdims=True)
        shares = np.divide(sizes, largest, out=np.zeros_like(sizes), where=largest > 0)
        order = grouped_by_support(shares > 0)
        shares, signs = shares[order], signs[order]
        self.im_ = ax.imshow(
            np.where(shares > 0, shares, np.nan),
            cmap=strengths_from(LIGHTEST),
            vmin=0,
            vmax=1,
            aspect="auto",
            interpolation="nearest",
        )
        ends = 1 + np.flatnonzero(np.diff(shares > 0, axis=0).any(axis=1))
        self.lines_ = ax.hlines(
            *(ends - 0.5, -0.5, n_components - 0.5),
            color="0.7",
            linewidth=min(0.6, 4 * axes_of_size(ax)[1] / n_tasks),
        )
        self.signs_ = write_signs(ax, shares, signs)
        label_ticks(ax, "x", components)
        step = label_ticks(ax, "y", names, order=order)
        ax.set(
            xlabel="component",
            ylabel="task" if step == 1 else f"task (1 of {step} is named)",
        )
        put_title(ax, "Which task uses which component")
        ax.figure.colorbar(self.im_, ax=ax, label="share of task's largest")
        self.order_, self.ax_, self.figure_ = order, ax, ax.figure
        return self
