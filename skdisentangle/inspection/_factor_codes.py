"""Which code says how much about which factor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

from .._random import RandomState
from ..metrics import dci_scores
from ._fitted import active_codes, column_names, component_labels, fitted_parts
from ._plots import (
    STRENGTH,
    axes_of_size,
    ink,
    label_ticks,
    new_axes,
    put_title,
    room_for,
)

__all__ = ["FactorCodeDisplay"]


class FactorCodeDisplay:
    """How much each code matters for each factor, where factors are known.

    A row a factor, a column a code; codes are ordered so that each factor's own stands
    on the diagonal, as far as there is one. One dark cell in each row and column is
    perfect.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`. All
    parameters are stored as attributes.

    Parameters
    ----------
    importance : array-like of shape (n_codes, n_factors)
        Not negative. As in ``dci_scores(...).importance_matrix``, or
        ``infomec_scores(...).nmi_matrix``.
    factor_names, code_names : sequence, default=None
        None numbers them.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    im_ : matplotlib AxesImage
    order_ : ndarray of int, of shape (n_codes,)
        The codes from left to right.
    text_ : ndarray of shape (n_factors, n_codes)
        The numbers in the cells, in the order drawn; None where there is no room, or
        the number is below 0.05.

    See Also
    --------
    skdisentangle.metrics.dci_scores : Where the importances come from.

    Examples
    --------
    >>> from skdisentangle.inspection import FactorCodeDisplay
    >>> display = FactorCodeDisplay(
    ...     importance=[[0.1, 0.9], [0.9, 0.1]], factor_names=["size", "colour"]
    ... )
    >>> display.plot()  # doctest: +SKIP
    """

    def __init__(
        self,
        importance: ArrayLike,
        *,
        factor_names: Sequence[Any] | None = None,
        code_names: Sequence[Any] | None = None,
    ) -> None:
        self.importance = importance
        self.factor_names = factor_names
        self.code_names = code_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        factors: Any,
        *,
        factor_names: Sequence[Any] | None = None,
        importance: Any = "fast_boosting",
        discrete_factors: Any = "auto",
        random_state: RandomState = 0,
        ax: Any = None,
    ) -> Self:
        """Draw how the active components of a fitted estimator go with the factors.

        Parameters
        ----------
        estimator : SparseSharedDisentangler, or pipeline or search with one
            Fitted.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Best rows that were not in the fit.
        factors, factor_names, importance, discrete_factors, random_state, ax
            As in :meth:`from_predictions`.

        Returns
        -------
        FactorCodeDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If no component is active, or factors are not as described.
        TypeError
            If there is no disentangler in the estimator.
        """
        dis, before = fitted_parts(estimator)
        if len(dis.active_components_) == 0:
            raise ValueError("No component is in use: there is nothing to draw.")
        codes = active_codes(dis, X if before is None else before.transform(X))
        display = cls.from_predictions(
            factors,
            codes,
            factor_names=factor_names,
            code_names=component_labels(dis),
            importance=importance,
            discrete_factors=discrete_factors,
            random_state=random_state,
            ax=ax,
        )
        display.ax_.set_xlabel("component")
        put_title(display.ax_, "What each component says about each factor")
        return display

    @classmethod
    def from_predictions(
        cls,
        factors: Any,
        codes: Any,
        *,
        factor_names: Sequence[Any] | None = None,
        code_names: Sequence[Any] | None = None,
        importance: Any = "fast_boosting",
        discrete_factors: Any = "auto",
        random_state: RandomState = 0,
        ax: Any = None,
    ) -> Self:
        """Draw the DCI importances of any codes.

        Parameters
        ----------
        factors : array-like or data frame of shape (n_samples, n_factors)
            The true factors.
        codes : array-like or data frame of shape (n_samples, n_codes)
        factor_names, code_names : sequence, default=None
            None takes the columns of a data frame, else numbers.
        importance, discrete_factors, random_state
            As in :func:`skdisentangle.metrics.dci_scores`.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        FactorCodeDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError, TypeError
            As from :func:`skdisentangle.metrics.dci_scores`.
        """
        scores = dci_scores(
            factors,
            codes,
            importance=importance,
            discrete_factors=discrete_factors,
            random_state=random_state,
        )
        n_codes, n_factors = scores.importance_matrix.shape
        if factor_names is None and hasattr(factors, "columns"):
            factor_names = column_names(factors, None, n_factors)
        if code_names is None and hasattr(codes, "columns"):
            code_names = column_names(codes, None, n_codes)
        display = cls(
            scores.importance_matrix, factor_names=factor_names, code_names=code_names
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        FactorCodeDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the matrix is empty, or names do not go with it.
        """
        matrix = np.asarray(self.importance, dtype=np.float64)
        if matrix.ndim != 2 or matrix.size == 0:
            raise ValueError(
                f"importance must have shape (n_codes, n_factors); got {matrix.shape}."
            )
        n_codes, n_factors = matrix.shape
        factor_names = self.factor_names
        if factor_names is None:
            factor_names = range(n_factors)
        code_names = range(n_codes) if self.code_names is None else self.code_names
        for name, given, expected in (
            ("factor_names", factor_names, n_factors),
            ("code_names", code_names, n_codes),
        ):
            if len(given) != expected:
                raise ValueError(
                    f"{name} must hold {expected} names; got {len(given)}."
                )

        # Each factor's code first, in the order of the factors; then all others.
        codes, factors = linear_sum_assignment(matrix, maximize=True)
        own = codes[np.argsort(factors)]
        others = np.setdiff1d(np.arange(n_codes), own)
        others = others[np.argsort(-matrix[others].sum(axis=1), kind="stable")]
        order = np.concatenate([own, others])
        shown = matrix[order].T
        ax = new_axes(
            self,
            ax,
            width=min(4.4 + 0.42 * n_codes, 14.0),
            height=min(max(3.0, 1.5 + 0.36 * n_factors), 9.0) + room_for(code_names),
        )
        top = max(1.0, float(shown.max()))
        self.im_ = ax.imshow(shown, cmap=STRENGTH, vmin=0, vmax=top, aspect="auto")
        width, height = axes_of_size(ax)
        self.text_ = np.full(shown.shape, None, dtype=object)
        if width / n_codes > 0.32 and height / n_factors > 0.2:
            for i, j in np.argwhere(shown >= 0.05):
                self.text_[i, j] = ax.text(
                    j,
                    i,
                    f"{shown[i, j]:.2f}".removeprefix("0"),
                    ha="center",
                    va="center",
                    color=ink(shown[i, j] / top),
                )
        label_ticks(ax, "x", code_names, order=order)
        label_ticks(ax, "y", factor_names)
        ax.set(xlabel="code", ylabel="factor")
        put_title(ax, "What each code says about each factor")
        ax.figure.colorbar(self.im_, ax=ax, label="importance")
        self.order_, self.ax_, self.figure_ = order, ax, ax.figure
        return self
