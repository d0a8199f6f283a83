"""Held-out loss and support size over a path of sparsities."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ..fitting.path import TOLERANCE, sparsity_path
from ._plots import BLUE, GREEN, GREY, ORANGE, put_title, pyplot

__all__ = ["SparsityPathDisplay"]


class SparsityPathDisplay:
    """Held-out loss, nonzero coefficients and active components against sparsity.

    It is recommended to use :meth:`from_path` or :meth:`from_estimator`. All parameters
    are stored as attributes.

    Parameters
    ----------
    sparsities : array-like of shape (n_sparsities,)
    losses, errors : array-like of shape (n_sparsities,)
        Loss on rows that were held back, and the standard error of its difference to
        the least.
    n_nonzero, n_active : array-like of shape (n_sparsities,)
        Nonzero coefficients, and active components.
    best_index : int, default=None
        The model chosen, which is marked. None marks none.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of 3 matplotlib Axes
        Loss, nonzero coefficients, active components.

    See Also
    --------
    skdisentangle.model_selection.sparsity_path : Computes what is shown.

    Examples
    --------
    >>> from skdisentangle.inspection import SparsityPathDisplay
    >>> display = SparsityPathDisplay(
    ...     sparsities=[1.0, 0.1, 0.01],
    ...     losses=[0.5, 0.1, 0.1],
    ...     errors=[0.02, 0.01, 0.01],
    ...     n_nonzero=[10, 40, 60],
    ...     n_active=[3, 6, 6],
    ...     best_index=1,
    ... )
    >>> display.plot()  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        sparsities: ArrayLike,
        losses: ArrayLike,
        errors: ArrayLike,
        n_nonzero: ArrayLike,
        n_active: ArrayLike,
        best_index: int | None = None,
    ) -> None:
        self.sparsities = sparsities
        self.losses = losses
        self.errors = errors
        self.n_nonzero = n_nonzero
        self.n_active = n_active
        self.best_index = best_index

    @classmethod
    def from_path(cls, path: Any, *, ax: Any = None) -> Self:
        """Draw what :func:`~skdisentangle.model_selection.sparsity_path` gave.

        Parameters
        ----------
        path : Bunch
        ax : array-like of 3 matplotlib Axes, default=None
            As in :meth:`plot`.

        Returns
        -------
        SparsityPathDisplay
        """
        names = ("sparsities", "losses", "errors", "n_nonzero", "n_active")
        display = cls(
            **{name: path[name] for name in names}, best_index=path.best_index
        )
        return display.plot(ax=ax)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        Y_tasks: Any = None,
        sample_weight: ArrayLike | None = None,
        sparsities: int | ArrayLike = 10,
        ax: Any = None,
    ) -> Self:
        """Compute the path of an estimator, and draw it.

        Parameters
        ----------
        estimator, X, y, Y_tasks, sample_weight, sparsities
            As in :func:`skdisentangle.model_selection.sparsity_path`.
        ax : array-like of 3 matplotlib Axes, default=None
            As in :meth:`plot`.

        Returns
        -------
        SparsityPathDisplay
        """
        path = sparsity_path(
            estimator,
            X,
            y,
            Y_tasks=Y_tasks,
            sample_weight=sample_weight,
            sparsities=sparsities,
        )
        return cls.from_path(path, ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : array-like of 3 matplotlib Axes, default=None
            Where to draw loss, nonzero coefficients and active components. None makes a
            figure.

        Returns
        -------
        self : SparsityPathDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If ``ax`` does not hold three axes.
        """
        if ax is None:
            _, ax = pyplot(self).subplots(
                3, 1, sharex=True, figsize=(6.4, 6.4), layout="constrained"
            )
        axes = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
        if len(axes) != 3:
            raise ValueError(
                "ax must hold three axes, for loss, nonzero coefficients and active "
                f"components; got {len(axes)}."
            )
        order = np.argsort(self.sparsities)
        strengths, losses, errors, nonzeros, active = (
            np.asarray(values)[order]
            for values in (
                self.sparsities,
                self.losses,
                self.errors,
                self.n_nonzero,
                self.n_active,
            )
        )
        axes[0].errorbar(
            strengths, losses, errors, color=BLUE, marker="o", capsize=3, linewidth=1.5
        )
        axes[0].axhline(
            (1 + TOLERANCE) * losses.min(),
            color=GREY,
            linestyle=":",
            label=f"least loss + {TOLERANCE:.0%}",
        )
        axes[1].plot(strengths, nonzeros, color=ORANGE, marker="s", linewidth=1.5)
        axes[2].plot(strengths, active, color=GREEN, marker="^", linewidth=1.5)
        labels = ("held-out loss", "nonzero\ncoefficients", "active\ncomponents")
        for axis, label in zip(axes, labels, strict=True):
            axis.set_xscale("log")
            axis.set_ylabel(label)
            if self.best_index is not None:
                chosen = float(np.asarray(self.sparsities)[self.best_index])
                axis.axvline(
                    chosen,
                    color=GREY,
                    linestyle="--",
                    label=f"chosen: {chosen:.3g}",
                )
        for axis in axes[1:]:
            axis.set_ylim(bottom=0)
            axis.yaxis.get_major_locator().set_params(integer=True)
        axes[0].legend(loc="upper left", frameon=False)
        axes[2].set_xlabel("sparsity")
        put_title(axes[0], "Loss and size of the model at each strength")
        self.axes_, self.figure_ = axes, axes[0].figure
        return self
