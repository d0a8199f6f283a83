r"""Which columns of the input move a component, and by how much.

Of component m and column j, over rows i:

- *permutation*: the column is replaced by that of another row, drawn at random, all else
  left as it is: :math:`\frac{1}{n} \sum_i |z_m(x_i) - z_m(x_i^{j \leftarrow i'})|`;
- *gradient*: :math:`s_j \frac{1}{n} \sum_i |\partial z_m / \partial x_j (x_i)|` with
  :math:`s_j` the standard deviation of the column over the rows.

Both are in standard deviations of the component over the rows of the fit. In a linear
encoder of normal columns the first is :math:`2 / \sqrt{\pi} = 1.13` times the second.

The first is the change of the output under permutation (Breiman, "Random Forests",
Machine Learning 45, 2001, permutes a column to see the loss change), the second the mean
absolute saliency (Simonyan et al., "Deep inside convolutional networks", ICLR workshop
2014). Neither says what a column *causes*: of two columns that go together, the encoder
may look at either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import _safe_indexing, check_array, check_scalar
from sklearn.utils.validation import _num_samples

from .._random import RandomState, generator
from .._threads import threads
from .._warnings import each_once
from ._fitted import active_codes, column_names, component_labels, fitted_parts
from ._plots import (
    BLUE,
    GREY,
    ORANGE,
    falls_to_rises,
    label_ticks,
    legend_above,
    mosaic,
    new_axes,
    put_title,
    room_for,
    short_names,
)
from ._rows import in_rows

if TYPE_CHECKING:
    from ..disentangler import SparseSharedDisentangler

__all__ = ["InputEffectDisplay", "InputEffects", "input_effects"]

FloatArray = NDArray[np.float64]

METHODS = ("auto", "permutation", "gradient")

#: Rows that gradients are taken of at once.
CHUNK = 128

#: Length of the longest bar, where the cell of a component is one wide.
HALF_CELL = 0.46

#: Colour of a direction, and what it says.
COLOURS = {
    1: (BLUE, "rises with it"),
    -1: (ORANGE, "falls with it"),
    0: ("0.6", "depends on the row"),
}

#: Longest name above a map.
MAP_NAME = 20

#: A direction is told in words and pictures from here on.
CLEAR_DIRECTION = 0.5


@dataclass(frozen=True)
class InputEffects:
    """What :func:`input_effects` returns. Print it, or call ``to_frame()``.

    Attributes
    ----------
    effects : ndarray of shape (n_columns, n_active)
        How much the column moves the component, in standard deviations of it.
    directions : ndarray of shape (n_columns, n_active)
        1 if the component always rises with the column, -1 if it always falls, and
        between if that depends on the row; NaN for a column that is not of numbers.
    column_names : list of str
    components : list of int
        The active components.
    method : {"permutation", "gradient"}
    image_shape : tuple (C, H, W) or None
        If the columns are the pixels of an image.
    component_names : list of str or None
        Those that ``set_component_names`` gave, if it did.
    """

    effects: FloatArray
    directions: FloatArray
    column_names: list[str]
    components: list[int]
    method: str
    image_shape: tuple[int, ...] | None = None
    component_names: list[Any] | None = None

    @property
    def labels(self) -> list[Any]:
        """What to call the components: their names, if they have some, or numbers."""
        return self.components if self.component_names is None else self.component_names

    def top(self, component: int, n_columns: int = 5) -> list[str]:
        """Names of the columns that move a component most, from strong to weak.

        Parameters
        ----------
        component : int
            An active component.
        n_columns : int, default=5
            At the most; columns without effect are left out.

        Returns
        -------
        list of str
        """
        if component not in self.components:
            raise ValueError(
                f"component must be one of the active ones, {self.components}; got "
                f"{component!r}."
            )
        places = self._strongest(self.components.index(component), n_columns)
        return [self.column_names[j] for j in places]

    def clear_directions(self) -> FloatArray:
        """Return ``directions`` without those that depend on the row.

        Returns
        -------
        ndarray of shape (n_columns, n_active)
            1, -1 or 0, where 0 is for what depends on the row, or is unknown.
        """
        return _clear(self.directions)

    def _strongest(self, place: int, n_columns: int) -> list[int]:
        effect = self.effects[:, place]
        order = np.argsort(-effect, kind="stable")[:n_columns]
        return [int(j) for j in order if effect[j] > 0]

    def __str__(self) -> str:
        lines = [
            "component  columns that move it most (effect, + rises, - falls with it)"
        ]
        marks = {1: "+", -1: "-", 0: ""}
        signs = self.clear_directions()
        for m, component in enumerate(self.components):
            named = [
                f"{self.column_names[j]} ({self.effects[j, m]:.2f}{marks[signs[j, m]]})"
                for j in self._strongest(m, 5)
            ]
            lines.append(f"{component:9d}  {', '.join(named) or 'none'}")
        return "\n".join(lines)

    def to_frame(self) -> Any:
        """Return the effects as a data frame.

        Returns
        -------
        frame : pandas.DataFrame
            A row for each column of X, a column for each active component.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        import pandas as pd

        return pd.DataFrame(
            self.effects,
            index=pd.Index(self.column_names, name="column"),
            columns=pd.Index(self.components, name="component"),
        )


def _clear(directions: FloatArray) -> FloatArray:
    """-1, 0 or 1; zero where the direction depends on the row, or is unknown."""
    known = np.nan_to_num(directions)
    return np.sign(known) * (np.abs(known) >= CLEAR_DIRECTION)


def _is_table(X: Any) -> bool:
    shape = X.shape if hasattr(X, "shape") else np.shape(X[:1])
    return len(shape) == 2 and not sparse.issparse(X)


def _column(X: Any, j: int) -> Any:
    if hasattr(X, "iloc"):
        return X.iloc[:, j]
    return X.get_column(X.columns[j]) if hasattr(X, "get_column") else X[:, j]


def _exchanged(X: Any, j: int, partners: NDArray[np.intp]) -> Any:
    """X with column j taken from other rows."""
    column = _column(X, j)
    if hasattr(X, "iloc"):
        out = X.copy()
        taken = column.iloc[partners]
        taken.index = X.index
        out.isetitem(j, taken)
        return out
    if hasattr(X, "get_column"):
        return X.with_columns(column[partners])
    out = X.copy()
    out[:, j] = column[partners]
    return out


def _by_permutation(
    codes_of: Callable[[Any], FloatArray], X: Any, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    n_rows, n_columns = X.shape
    shuffled = rng.permutation(n_rows)
    partners = np.empty(n_rows, dtype=np.intp)
    partners[shuffled] = np.roll(shuffled, 1)  # no row is its own
    before = codes_of(X)
    effects = np.zeros((n_columns, before.shape[1]))
    directions = np.full(effects.shape, np.nan)
    for j in range(n_columns):
        change = codes_of(_exchanged(X, j, partners)) - before
        total = np.abs(change).sum(axis=0)
        effects[j] = total / n_rows
        values = np.asarray(_column(X, j))
        if values.dtype.kind in "biuf":
            numbers = values.astype(np.float64)
            rise = np.nan_to_num(np.sign(numbers[partners] - numbers)) @ change
            directions[j] = rise / np.where(total > 0, total, 1.0)
    return effects, directions


@threads()
def _by_gradient(
    estimator: SparseSharedDisentangler, rows: FloatArray
) -> tuple[FloatArray, FloatArray]:
    active = estimator.active_components_
    total = np.zeros((rows.shape[1], len(active)))
    signed = np.zeros_like(total)
    for start in range(0, len(rows), CHUNK):
        part = torch.from_numpy(rows[start : start + CHUNK]).requires_grad_()
        codes = estimator.encoder_(part)
        for m, component in enumerate(active):
            slope = None
            if codes.requires_grad:
                (slope,) = torch.autograd.grad(
                    codes[:, int(component)].sum(),
                    part,
                    retain_graph=True,
                    allow_unused=True,
                )
            if slope is None:
                raise ValueError(
                    "method='gradient' needs an encoder that torch can differentiate; "
                    "give method='permutation'."
                )
            total[:, m] += slope.abs().sum(0).numpy()
            signed[:, m] += slope.sum(0).numpy()
    spread = rows.std(axis=0)[:, np.newaxis]
    return spread * total / len(rows), signed / np.where(total > 0, total, 1.0)


@each_once()
def input_effects(
    estimator: Any,
    X: Any,
    *,
    method: str = "auto",
    max_samples: int = 1000,
    feature_names: Sequence[str] | None = None,
    random_state: RandomState = 0,
) -> InputEffects:
    r"""Say which columns of the input move which component.

    With ``method="permutation"`` the effect of column j on component m is

    .. math:: \frac{1}{n} \sum_i |z_m(x_i) - z_m(x_i^{j \leftarrow i'})|,

    the mean change of the component if the column is taken from another row. With
    ``method="gradient"`` it is

    .. math:: s_j \frac{1}{n} \sum_i \Big|\frac{\partial z_m}{\partial x_j}(x_i)\Big|

    with :math:`s_j` the column's standard deviation. Both are in standard deviations of
    the component.

    Parameters
    ----------
    estimator : SparseSharedDisentangler, or pipeline or search with one
        Fitted.
    X : array-like, data frame or sparse matrix of shape (n_samples, n_features)
        Rows as the estimator takes them.
    method : {"auto", "permutation", "gradient"}, default="auto"
        ``"permutation"`` asks after the columns of X itself, whatever stands in a
        pipeline before the disentangler, and takes one ``transform`` a column.
        ``"gradient"`` asks after the columns that the disentangler sees, and takes one
        pass back a component: for images and other wide rows. ``"auto"`` takes the
        gradient for rows that are images (``input_shape``), sparse, or no table
        (a list of texts), else permutation.
    max_samples : int, default=1000
        Rows to look at, drawn at random if X has more.
    feature_names : sequence of str, default=None
        Names of the columns asked after. None takes those of a data frame, or of the
        steps of a pipeline, if there are any.
    random_state : int, RandomState instance or None, default=0
        Draws rows, and the rows that columns are taken from.

    Returns
    -------
    InputEffects

    Raises
    ------
    TypeError
        If there is no disentangler in the estimator.
    ValueError
        If an argument is not as described; the message says which.

    Notes
    -----
    Of columns that go together the encoder may look at either. And a column taken from
    another row may make a row that cannot exist. For both reasons effects tell what the
    encoder does, not what the world does.

    Examples
    --------
    >>> import numpy as np
    >>> from skdisentangle import SparseSharedDisentangler
    >>> from skdisentangle.inspection import input_effects
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 3))
    >>> Y_tasks = np.column_stack([X[:, 0], 2 * X[:, 0], X[:, 1], -X[:, 1]])
    >>> dis = SparseSharedDisentangler(n_components=3, random_state=0).fit(X, Y_tasks)
    >>> effects = input_effects(dis, X)
    >>> sorted(effects.top(component, n_columns=1) for component in effects.components)
    [['x0'], ['x1']]
    """
    if method not in METHODS:
        raise ValueError(
            f"method must be one of {', '.join(map(repr, METHODS))}; got {method!r}."
        )
    check_scalar(max_samples, "max_samples", Integral, min_val=2)
    dis, before = fitted_parts(estimator)
    X = in_rows(X)
    n_rows = _num_samples(X)
    if n_rows < 2:
        raise ValueError(f"X must have at least 2 rows; got {n_rows}.")
    rng = generator(random_state)
    if n_rows > max_samples:
        rows = np.sort(rng.choice(n_rows, max_samples, replace=False))
        X = _safe_indexing(X, rows)
    shape = None if dis.input_shape_ is None else tuple(map(int, dis.input_shape_))
    if method == "auto":
        wide = shape is not None or not _is_table(X)
        method = "gradient" if wide else "permutation"

    def seen(rows: Any) -> Any:
        return rows if before is None else before.transform(rows)

    if method == "gradient":
        inner = seen(X)
        values = dis._validate_rows(inner, reset=False)
        dense = values.toarray() if sparse.issparse(values) else np.asarray(values)
        effects, directions = _by_gradient(dis, dense.astype(np.float64))
        names = _seen_names(inner, dis, before, X)
    else:
        if not _is_table(X):
            raise ValueError(
                "method='permutation' needs X as a table, an array or a data frame of "
                "shape (n_samples, n_features); give method='gradient'."
            )
        if not hasattr(X, "columns"):
            X = check_array(X, dtype=None, ensure_all_finite=False)
        effects, directions = _by_permutation(
            lambda rows: active_codes(dis, seen(rows)), X, rng
        )
        names = column_names(X, estimator, X.shape[1])
    if feature_names is not None:
        if len(feature_names) != len(names):
            raise ValueError(
                f"feature_names must hold a name for each of the {len(names)} columns; "
                f"got {len(feature_names)}."
            )
        names = [str(name) for name in feature_names]
    return InputEffects(
        effects=effects,
        directions=directions,
        column_names=names,
        components=dis.active_components_.tolist(),
        method=method,
        image_shape=shape if method == "gradient" or before is None else None,
        component_names=component_labels(dis)
        if hasattr(dis, "component_names_")
        else None,
    )


def _seen_names(
    inner: Any, dis: SparseSharedDisentangler, before: Any, X: Any
) -> list[str]:
    """Names of the columns that the disentangler sees."""
    if before is not None and not hasattr(inner, "columns"):
        try:
            names = before.get_feature_names_out(getattr(X, "columns", None))
            return [str(name) for name in names]
        except AttributeError:  # of a step that names nothing
            pass
    return column_names(inner, dis, dis.n_features_in_)


class InputEffectDisplay:
    """Which columns of the input move a component, as a picture.

    A row is a column of X, a column of the picture is a component. The length of a bar is
    the effect. A bar to the right (blue) says that the component rises with the column, one to
    the left (orange) that it falls. A grey bar on both sides says that the direction depends on
    the row, or is not known. Columns of X that move the same component most stand together, and
    their bars on it are shaded.

    For images, a map for each component: how far it rises (blue) or falls (orange) as a pixel
    gets brighter, on average over the rows, summed over channels, as a share of the largest
    effect of a pixel. A map is pale where the direction depends on the row.

    It is recommended to use :meth:`from_estimator`. All parameters are stored as
    attributes.

    Parameters
    ----------
    effects : InputEffects
    max_columns : int, default=20
        Columns to draw, at the most; those of the largest effects.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    bars_ : matplotlib BarContainer or None
        The bars, from the first row on, each from the first component on; None for images.
    im_ : matplotlib AxesImage or None
        The maps, in one; None for tables.
    order_ : ndarray of int or None
        The columns of X from top to bottom; None for images.

    See Also
    --------
    input_effects : The numbers behind the picture, and their formulas.
    """

    order_: NDArray[np.intp] | None

    def __init__(self, effects: InputEffects, *, max_columns: int = 20) -> None:
        self.effects = effects
        self.max_columns = max_columns

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        method: str = "auto",
        max_samples: int = 1000,
        feature_names: Sequence[str] | None = None,
        max_columns: int = 20,
        random_state: RandomState = 0,
        ax: Any = None,
    ) -> Self:
        """Compute the effects in a fitted estimator, and draw them.

        Parameters
        ----------
        estimator, X, method, max_samples, feature_names
            As in :func:`input_effects`.
        max_columns : int, default=20
            Columns to draw, at the most; those of the largest effects.
        random_state : int, RandomState instance or None, default=0
            As in :func:`input_effects`.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        InputEffectDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError, TypeError
            As from :func:`input_effects`; or if no component is active.
        """
        effects = input_effects(
            estimator,
            X,
            method=method,
            max_samples=max_samples,
            feature_names=feature_names,
            random_state=random_state,
        )
        return cls(effects, max_columns=max_columns).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        InputEffectDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If no component is active.
        """
        check_scalar(self.max_columns, "max_columns", Integral, min_val=1)
        if not self.effects.components:
            raise ValueError("No component is in use: there is nothing to draw.")
        image = self.effects.image_shape
        if image is not None and min(image[1:]) > 1:
            return self._plot_maps(image, ax)
        return self._plot_table(ax)

    def _plot_table(self, ax: Any) -> Self:
        values = self.effects.effects
        n_columns, n_components = values.shape
        strongest = np.argsort(-values.max(axis=1), kind="stable")[: self.max_columns]
        # By the component that the column moves most, then by how much.
        main = values[strongest].argmax(axis=1)
        order = strongest[np.lexsort((-values[strongest].max(axis=1), main))]
        shown, top = values[order], float(values.max()) or 1.0
        signs = _clear(self.effects.directions[order])
        ax = new_axes(
            self,
            ax,
            width=min(max(6.0, 4.4 + 0.55 * n_components), 14.0),
            height=min(max(3.2, 1.9 + 0.24 * len(order)), 9.0)
            + room_for(self.effects.labels),
        )
        rows, middles = np.indices(shown.shape)
        self._shade_groups(ax, shown.argmax(axis=1))
        ax.vlines(
            range(n_components), -0.5, len(order) - 0.5, color=GREY, linewidth=0.6
        )
        lengths = HALF_CELL * shown / top
        self.bars_ = ax.barh(
            rows.ravel(),
            lengths.ravel(),
            left=(middles + lengths * (signs - 1) / 2).ravel(),
            height=0.7,
            color=[COLOURS[int(sign)][0] for sign in signs.ravel()],
        )
        ax.set_xlim(-0.5, n_components - 0.5)
        ax.set_ylim(len(order) - 0.5, -0.5)
        self._explain(ax, np.unique(signs[shown > 0]))
        label_ticks(ax, "x", self.effects.labels)
        label_ticks(ax, "y", self.effects.column_names, order=order)
        columns = "column of X"
        if len(order) < n_columns:
            columns = f"column of X ({len(order)} of {n_columns})"
        ax.set(
            xlabel=f"component\n(longest bar: {top:.2g} of its standard deviation)",
            ylabel=columns,
        )
        put_title(ax, "Columns of X that move each component", over_legend=True)
        self.order_, self.im_ = order, None
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _shade_groups(self, ax: Any, main: NDArray[np.intp]) -> None:
        """Shade the cells of columns that move a component most, and part the groups."""
        for component in np.unique(main):
            rows = np.flatnonzero(main == component)
            ax.barh(rows, 1.0, left=component - 0.5, height=1.0, color="0.92", zorder=0)
        ends = 1 + np.flatnonzero(np.diff(main))
        ax.hlines(
            ends - 0.5, -0.5, len(self.effects.components) - 0.5, color="0.7", lw=0.6
        )

    def _explain(self, ax: Any, signs: NDArray[np.float64]) -> None:
        """A legend of the directions that there are."""
        from matplotlib.patches import Patch

        handles = [
            Patch(color=colour, label=label)
            for sign, (colour, label) in COLOURS.items()
            if sign in signs
        ]
        legend_above(ax, handles=handles)

    def _plot_maps(self, shape: tuple[int, ...], ax: Any) -> Self:
        n_components = len(self.effects.components)
        effects = self.effects.effects
        maps, sizes = (
            values.T.reshape(n_components, *shape).sum(axis=1)
            for values in (effects * self.effects.directions, effects)
        )
        largest = sizes.max(axis=(1, 2), keepdims=True)
        maps = maps / np.where(largest > 0, largest, 1.0)
        across = min(n_components, 6 if ax is None else math.ceil(n_components**0.5))
        down = -(-n_components // across)
        tiles = np.full((down * across, *maps.shape[1:]), np.nan)
        tiles[:n_components] = maps
        height, width = maps.shape[1:]
        gap = max(2, height // 5)
        ax = new_axes(
            self,
            ax,
            width=1.6 + 1.5 * max(across, 2),
            height=1.0 + 1.6 * down * height / width,
        )
        self.im_ = ax.imshow(
            mosaic(tiles.reshape(down, across, height, width), gap),
            cmap=falls_to_rises(),
            vmin=-1,
            vmax=1,
            interpolation="nearest",
        )
        for m, name in enumerate(short_names(self.effects.labels, MAP_NAME)):
            ax.text(
                (m % across) * (width + gap) + (width - 1) / 2,
                (m // across) * (height + gap) - 0.5,
                name,
                ha="center",
                va="bottom",
                fontsize="small",
            )
        ax.set_ylim(down * (height + gap) - gap - 0.5, -gap - 0.5)
        ax.set_axis_off()
        put_title(ax, "Does the component rise or fall as a pixel gets brighter?")
        bar = ax.figure.colorbar(self.im_, ax=ax, ticks=(-1, 0, 1), shrink=0.8)
        bar.ax.set_yticklabels(("falls", "no effect", "rises"))
        self.order_, self.bars_ = None, None
        self.ax_, self.figure_ = ax, ax.figure
        return self
