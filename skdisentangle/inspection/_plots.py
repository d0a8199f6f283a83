"""What the displays share: matplotlib on demand, colours, names that fit, mosaics."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._extras import import_extra

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "ORANGE",
    "STRENGTH",
    "axes_of_size",
    "falls_to_rises",
    "ink",
    "label_ticks",
    "legend_above",
    "mosaic",
    "new_axes",
    "one_line",
    "put_title",
    "pyplot",
    "room_for",
    "short_names",
    "strengths_from",
    "write_signs",
]

#: Of the palette of Okabe & Ito, "Color universal design" (2008), which people with any
#: kind of colour vision can tell apart; markers differ as well.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "0.4"

#: Colours of sizes: one hue from white to dark, which needs no colour vision at all.
STRENGTH = "Blues"

#: Height of a line of tick labels, and width of a digit, in inches.
LINE, DIGIT = 0.17, 0.09

#: Longest name of a task or column that is written out, and of one that is never turned.
MAX_NAME, SHORT = 32, 4


def pyplot(display: object) -> Any:
    """Import matplotlib.pyplot, or raise an ImportError that says how to install it."""
    return import_extra(
        "matplotlib.pyplot", type(display).__name__, "'skdisentangle[plots]'"
    )


def new_axes(display: object, ax: Any, width: float, height: float) -> Any:
    """The axes given, or those of a new figure of this size in inches."""
    if ax is not None and not hasattr(ax, "imshow"):
        raise TypeError(f"ax must be a matplotlib Axes; got {type(ax).__name__}.")
    if ax is None:
        _, ax = pyplot(display).subplots(figsize=(width, height), layout="constrained")
    return ax


def strengths_from(lightest: float) -> Any:
    """The colours of sizes, without the lightest share of them."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps[STRENGTH](np.linspace(lightest, 1, 256)))


def falls_to_rises() -> Any:
    """Colours from what falls, orange, over white to what rises, blue."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("falls_to_rises", (ORANGE, "white", BLUE))


def room_for(names: Sequence[object]) -> float:
    """Inches that names take up beside or, turned, below the axes, beyond a short one."""
    longest = max(map(len, short_names(names)), default=0)
    return 0.06 * max(0, longest - SHORT)


def put_title(ax: Any, text: str, *, over_legend: bool = False) -> None:
    """Set a title that is broken into lines where the figure is narrow."""
    ax.set_title(text, wrap=True, pad=24 if over_legend else None)


def legend_above(ax: Any, **options: Any) -> None:
    """A legend in one line, between the axes and the title."""
    ax.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=4,
        frameon=False,
        fontsize="small",
        handlelength=1.2,
        columnspacing=1.2,
        **options,
    )


def axes_of_size(ax: Any) -> tuple[float, float]:
    """Width and height of axes in inches, as far as known before they are drawn."""
    box, (width, height) = ax.get_position(), ax.figure.get_size_inches()
    return box.width * width, box.height * height


def one_line(text: object, length: int) -> str:
    """A text on one line; the middle of a long one is left out."""
    line = " ".join(str(text).split())
    if len(line) <= length:
        return line
    tail = length // 3
    return f"{line[: length - tail - 1].rstrip()}…{line[-tail:].lstrip()}"


def short_names(names: Sequence[object], length: int = MAX_NAME) -> list[str]:
    """Names on one line, for matplotlib; the middle of a long one is left out.

    Those that are the same then get their number in front. Dollar signs are not to
    begin a formula.
    """
    short = [one_line(name, length).replace("$", r"\$") for name in names]
    times = Counter(short)
    return [
        f"{number}: {text}" if times[text] > 1 else text
        for number, text in enumerate(short)
    ]


def label_ticks(
    ax: Any,
    which: str,
    names: Sequence[object],
    *,
    order: ArrayLike | None = None,
    positions: ArrayLike | None = None,
) -> int:
    """Label rows (``"y"``) or columns (``"x"``).

    Labels of columns are turned if they are too long to stand side by side. If there is no
    room for all labels, every so many is there.

    Parameters
    ----------
    ax : matplotlib Axes
    which : {"x", "y"}
    names : sequence
        Names of all things, in the order that the user knows.
    order : array-like of int, default=None
        The things drawn, from first to last. None stands for all.
    positions : array-like, default=None
        Where they are. None stands for 0, 1, ...

    Returns
    -------
    int
        One of so many is labelled.
    """
    labels = short_names(names)
    if order is not None:
        labels = [labels[i] for i in np.asarray(order)]
    width, height = axes_of_size(ax)
    room, need, look = height, LINE, {}
    if which == "x":
        longest = max(map(len, labels), default=1)
        room, need = width, DIGIT * (1 + longest)
        if len(labels) * need > room and longest > SHORT:
            need = 1.6 * LINE
            look = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    step = max(1, math.ceil(len(labels) * need / room))
    at = np.arange(len(labels)) if positions is None else np.asarray(positions)
    axis = ax.yaxis if which == "y" else ax.xaxis
    axis.set_ticks(at[::step], labels[::step], **look)
    return step


def ink(share: float) -> str:
    """Colour of a text on the colour of a size, of which 1 is the largest."""
    return "white" if share > 0.55 else "black"


def write_signs(
    ax: Any, shares: NDArray[np.float64], signs: NDArray[np.float64]
) -> NDArray[Any]:
    """Write plus and minus into cells, if they are large enough; else nothing."""
    texts = np.full(shares.shape, None, dtype=object)
    width, height = axes_of_size(ax)
    n_rows, n_columns = shares.shape
    if height / n_rows < LINE or width / n_columns < 2 * DIGIT:
        return texts
    for i, j in np.argwhere((signs != 0) & (shares > 0)):
        texts[i, j] = ax.text(
            j,
            i,
            "+" if signs[i, j] > 0 else "−",  # noqa: RUF001
            ha="center",
            va="center",
            color=ink(shares[i, j]),
        )
    return texts


def mosaic(tiles: NDArray[Any], gap: int) -> NDArray[np.float64]:
    """Tiles side by side, NaN in between.

    Parameters
    ----------
    tiles : ndarray of shape (n_rows, n_columns, H, W) or (n_rows, n_columns, H, W, 3)
    gap : int
        Pixels between tiles.

    Returns
    -------
    ndarray of shape (n_rows * (H + gap) - gap, n_columns * (W + gap) - gap, ...)
    """
    n_rows, n_columns, height, width = tiles.shape[:4]
    pad = [(0, 0), (0, 0), (0, gap), (0, gap), *[(0, 0)] * (tiles.ndim - 4)]
    padded = np.pad(tiles.astype(np.float64), pad, constant_values=np.nan)
    whole = padded.swapaxes(1, 2).reshape(
        n_rows * (height + gap), n_columns * (width + gap), *tiles.shape[4:]
    )
    return whole[: whole.shape[0] - gap, : whole.shape[1] - gap]
