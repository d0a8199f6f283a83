"""What changes in images from low to high along a component."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_scalar

from ._fitted import active_codes, component_labels, fitted_parts
from ._plots import falls_to_rises, label_ticks, mosaic, new_axes, put_title, room_for
from ._rows import shape_of

__all__ = ["TraversalDisplay"]

#: Quantiles of the component at which a traversal begins and ends.
LOW, HIGH = 0.02, 0.98

#: Share of the rows that count as low, and as high, where their means are compared.
END = 0.1

#: Share of the rows, and number at the least, that count as near a value of a component.
NEAR, MIN_NEAR = 0.02, 10


def rows_along(
    codes: NDArray[np.float64], component: int, n_steps: int, reference: int
) -> NDArray[np.intp]:
    """Rows from low to high along one component, alike in all others.

    For each of `n_steps` quantiles of the component: of the rows nearest to it in this
    component (a fiftieth of all, ten at the least) the one that is nearest to the
    reference in all others.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, n_codes)
    component : int
    n_steps : int
    reference : int
        Number of a row.

    Returns
    -------
    ndarray of int, of shape (n_steps,)
    """
    along = codes[:, component]
    others = np.delete(codes, component, axis=1)
    distance = ((others - others[reference]) ** 2).sum(axis=1)
    n_near = min(len(codes), max(MIN_NEAR, round(NEAR * len(codes))))
    chosen = []
    for value in np.quantile(along, np.linspace(LOW, HIGH, n_steps)):
        near = np.argsort(np.abs(along - value), kind="stable")[:n_near]
        chosen.append(near[distance[near].argmin()])
    return np.array(chosen)


def change_along(
    along: NDArray[np.float64], images: NDArray[Any]
) -> NDArray[np.float64]:
    """Mean of the images where a component is highest, less that where it is lowest."""
    n_end = max(1, round(END * len(along)))
    order = np.argsort(along, kind="stable")
    low, high = (
        images[rows].mean(axis=0, dtype=np.float64)
        for rows in (order[:n_end], order[-n_end:])
    )
    change: NDArray[np.float64] = high - low
    return change if change.ndim == 2 else change.mean(axis=2)


class TraversalDisplay:
    """What changes in images from low to high along each component.

    On the right of each row is what changes: the mean of the tenth of all images where the
    component is highest, minus the mean of the tenth where it is lowest. What is blue gets
    brighter, what is orange gets darker.

    There is no decoder: the images are rows of the data. A row of the picture is a
    component, its columns go from its low to its high quantiles. Of the images whose
    component is near to such a quantile, that one is shown whose other components are
    nearest to those of a reference image. If the components are the factors, one thing
    changes along each row.

    It is recommended to use :meth:`from_estimator` or :meth:`from_codes`. All parameters
    are stored as attributes.

    Parameters
    ----------
    images : array-like of shape (n_components, n_steps, H, W) or (..., H, W, 3)
        From low to high.
    components : sequence, default=None
        Names of the rows. None numbers them.
    rows : ndarray of int, of shape (n_components, n_steps), default=None
        Which rows of the data these are.
    changes : array-like of shape (n_components, H, W), default=None
        What changes, drawn at the right, if it is given.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    im_ : matplotlib AxesImage
        All images, in one.
    changes_ : matplotlib AxesImage or None
        What changes, in one.
    """

    def __init__(
        self,
        images: ArrayLike,
        *,
        components: Sequence[Any] | None = None,
        rows: NDArray[np.intp] | None = None,
        changes: ArrayLike | None = None,
    ) -> None:
        self.images = images
        self.components = components
        self.rows = rows
        self.changes = changes

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        images: ArrayLike | None = None,
        components: Sequence[int] | None = None,
        n_steps: int = 7,
        reference: int | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw images along the active components of a fitted estimator.

        Parameters
        ----------
        estimator : SparseSharedDisentangler, or pipeline or search with one
            Fitted.
        X : array-like of shape (n_samples, n_features), or images
            As the estimator takes it. Some hundred rows or more: the more there are, the
            more alike are images along a component in all else.
        images : array-like of shape (n_samples, H, W) or (n_samples, H, W, 3), \
default=None
            The images of these rows. None takes the rows themselves: an array of images, or
            rows in the estimator's ``input_shape``.
        components : sequence of int, default=None
            Active components to draw. None draws all.
        n_steps : int, default=7
            Images a component.
        reference : int, default=None
            Number of the row that all images are to be like, but for the component that
            changes. None takes the row nearest to the median of all components.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        TraversalDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If an argument is not as described, or no component is active.
        TypeError
            If there is no disentangler in the estimator.
        """
        dis, before = fitted_parts(estimator)
        active = dis.active_components_.tolist()
        if not active:
            raise ValueError("No component is in use: there is nothing to draw.")
        wanted = active if components is None else list(components)
        idle = [component for component in wanted if component not in active]
        if idle or not wanted:
            raise ValueError(
                f"components must be active ones, of {active}; got {components!r}."
            )
        if images is None:
            if len(shape_of(X)) in (3, 4):
                images = _in_colour(np.asarray(X))
            elif dis.input_shape_ is None or before is not None:
                raise ValueError(
                    "images must be given, of shape (n_samples, H, W) or (n_samples, H, "
                    "W, 3), as the rows of X are no images of an input_shape."
                )
            else:
                images = _as_images(np.asarray(X), tuple(map(int, dis.input_shape_)))
        codes = active_codes(dis, X if before is None else before.transform(X))
        return cls.from_codes(
            codes,
            images,
            columns=[active.index(component) for component in wanted],
            names=[component_labels(dis)[active.index(each)] for each in wanted],
            n_steps=n_steps,
            reference=reference,
            ax=ax,
        )

    @classmethod
    def from_codes(
        cls,
        codes: ArrayLike,
        images: ArrayLike,
        *,
        columns: Sequence[int] | None = None,
        names: Sequence[Any] | None = None,
        n_steps: int = 7,
        reference: int | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw images along columns of any codes.

        Parameters
        ----------
        codes : array-like of shape (n_samples, n_codes)
            All columns count when images are to be alike; leave constant ones out.
        images : array-like of shape (n_samples, H, W) or (n_samples, H, W, 3)
        columns : sequence of int, default=None
            Columns to draw. None draws all.
        names : sequence, default=None
            Names of the columns drawn. None numbers them.
        n_steps, reference, ax
            As in :meth:`from_estimator`.

        Returns
        -------
        TraversalDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If an argument is not as described; the message says which.
        """
        values = check_array(codes, dtype=np.float64, input_name="codes")
        pictures = np.asarray(images)
        channels = pictures.shape[3:]
        if pictures.ndim not in (3, 4) or channels not in ((), (1,), (3,)):
            raise ValueError(
                "images must have shape (n_samples, H, W) or (n_samples, H, W, 3); got "
                f"{pictures.shape}."
            )
        if len(pictures) != len(values):
            raise ValueError(
                f"images must hold one for each of the {len(values)} rows; got "
                f"{len(pictures)}."
            )
        check_scalar(n_steps, "n_steps", Integral, min_val=2)
        if reference is None:
            middle = np.median(values, axis=0)
            reference = int(((values - middle) ** 2).sum(axis=1).argmin())
        else:
            check_scalar(
                reference, "reference", Integral, min_val=0, max_val=len(values) - 1
            )
        chosen = list(range(values.shape[1])) if columns is None else list(columns)
        rows = np.array([rows_along(values, c, n_steps, reference) for c in chosen])
        display = cls(
            pictures[rows],
            components=chosen if names is None else names,
            rows=rows,
            changes=[change_along(values[:, c], pictures) for c in chosen],
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
        TraversalDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If images are not as described.
        """
        tiles = np.asarray(self.images, dtype=np.float64)
        if tiles.ndim == 5 and tiles.shape[4] == 1:
            tiles = tiles[..., 0]
        if tiles.ndim not in (4, 5) or tiles.size == 0:
            raise ValueError(
                "images must have shape (n_components, n_steps, H, W) or (n_components, "
                f"n_steps, H, W, 3); got {np.shape(self.images)}."
            )
        n_components, n_steps, height, width = tiles.shape[:4]
        names = self.components
        if names is None:
            names = range(n_components)
        gap = max(1, height // 16)
        n_drawn = n_steps + (self.changes is not None)
        across = min(0.8 * n_drawn, 12.0)
        ax = new_axes(
            self,
            ax,
            width=across + 0.9 + room_for(names),
            height=min(across * n_components * height / (n_drawn * width), 11.0) + 0.9,
        )
        low, high = np.nanmin(tiles), np.nanmax(tiles)
        whole = mosaic((tiles - low) / (high - low or 1.0), gap)
        if tiles.ndim == 5:
            whole = np.nan_to_num(whole, nan=1.0)
        self.im_ = ax.imshow(
            whole, cmap="gray", vmin=0, vmax=1, interpolation="nearest"
        )
        along = "quantile of the component, from low to high"
        labels = [f"{q:.0%}" for q in np.linspace(LOW, HIGH, n_steps)]
        self.changes_ = None
        if self.changes is not None:
            self.changes_ = self._draw_changes(
                ax, np.asarray(self.changes), n_steps * (width + gap), gap
            )
            labels.append("change")
            along += "\nchange: high minus low (blue is brighter, orange is darker)"
        middles = [
            np.arange(count) * (size + gap) + (size - 1) / 2
            for count, size in ((n_components, height), (n_drawn, width))
        ]
        label_ticks(ax, "y", names, positions=middles[0])
        label_ticks(ax, "x", labels, positions=middles[1])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set(
            xlabel=along,
            ylabel="component",
        )
        put_title(ax, "What changes along each component")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_changes(
        self, ax: Any, changes: NDArray[np.float64], left: int, gap: int
    ) -> Any:
        """Draw what changes, each picture relative to its largest change."""
        largest = np.abs(changes).max(axis=(1, 2), keepdims=True)
        shares = changes / np.where(largest > 0, largest, 1.0)
        whole = mosaic(shares[:, np.newaxis], gap)
        height, width = whole.shape
        image = ax.imshow(
            whole,
            cmap=falls_to_rises(),
            vmin=-1,
            vmax=1,
            interpolation="nearest",
            extent=(left - 0.5, left + width - 0.5, height - 0.5, -0.5),
        )
        ax.set_xlim(-0.5, left + width - 0.5)
        return image


def _as_images(rows: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Flat rows as images; channels that are not three are averaged."""
    if rows.ndim != 2 or rows.shape[1] != np.prod(shape):
        raise ValueError(
            f"X must have a column for each of the {np.prod(shape)} values of an image "
            f"of input_shape={shape}; got shape {rows.shape}."
        )
    return _in_colour(np.moveaxis(rows.reshape(len(rows), *shape), 1, 3))


def _in_colour(images: NDArray[Any]) -> NDArray[Any]:
    """Images of three channels, or of none, as they are; of others the mean over channels."""
    return images if images.ndim == 3 or images.shape[3] == 3 else images.mean(axis=3)
