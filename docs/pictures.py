"""Draw the pictures of the pages: ``python docs/pictures.py``, a minute."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors

FOLDER = Path(__file__).parent / "images"
WIDTH = 8.0  # inches
SHADES = {"cmap": "Purples", "vmin": 0, "vmax": 1, "aspect": "auto"}


def correlations(factors, codes):
    """Absolute correlation of each factor with each code that varies."""
    n_factors = factors.shape[1]
    return np.abs(np.corrcoef(factors.T, codes.T)[:n_factors, n_factors:])


def in_order(match):
    """Order of columns that puts the largest of them on a diagonal."""
    return np.lexsort((-match.max(0), match.argmax(0)))


def save(figure, name):
    figure.savefig(FOLDER / f"{name}.png", dpi=110)
    plt.close(figure)


def draw_processes():
    """Processes with rows of their own, and the estimator that all end with."""
    figure, axes = plt.subplots(figsize=(4, 3), layout="constrained")
    axes.set(xlim=(0, 10), ylim=(0, 7.5))
    axes.axis("off")
    style = {"boxstyle": "round,pad=0.6", "edgecolor": "none"}
    text = {"ha": "center", "va": "center", "size": 13}
    axes.text(8, 3.75, "one\nestimator", bbox={**style, "fc": "#c9b8dd"}, **text)
    for rank, height in enumerate((6.25, 3.75, 1.25)):
        label = f"rows of\nprocess {rank}"
        axes.text(2, height, label, bbox={**style, "fc": "#e6e6e6"}, **text)
        axes.annotate(
            "", (5.9, 3.75), (3.9, height), arrowprops={"arrowstyle": "->", "lw": 2}
        )
    save(figure, "processes")


def main():
    draw_processes()
    made = make_multitask_factors(3000, n_features=12, n_tasks=40, random_state=1)
    fit, rest = slice(2000), slice(2000, None)

    figure, (left, right) = plt.subplots(
        1, 2, figsize=(WIDTH, 3.6), layout="constrained", width_ratios=[1, 1]
    )
    left.imshow(made.supports, **SHADES)
    left.set(xlabel="factor", ylabel="task", title="What each task depends on")
    right.imshow(correlations(made.factors, made.X), **SHADES)
    right.set(xlabel="column of X", ylabel="factor", title="Correlation with the data")
    save(figure, "idea_data")

    fits = {
        "No penalties": SparseSharedDisentangler(
            12, sparsity=0, sharing=0, random_state=0
        ),
        "Sparse and shared": SparseSharedDisentangler(12, random_state=0),
    }
    heads, axes_heads = plt.subplots(
        1, 2, figsize=(WIDTH, 3.6), layout="constrained", sharey=True
    )
    factors, axes_factors = plt.subplots(
        1, 2, figsize=(WIDTH, 3.0), layout="constrained", sharey=True
    )
    for number, (title, dis) in enumerate(fits.items()):
        dis.fit(made.X[fit], made.Y[fit])
        match = correlations(made.factors[rest], dis.transform(made.X[rest]))
        order = in_order(match)
        size = np.abs(dis.coef_[:, order])
        axes_heads[number].imshow(size / size.max(axis=1, keepdims=True), **SHADES)
        axes_heads[number].set(xlabel="component", title=title)
        picture = axes_factors[number].imshow(match[:, order], **SHADES)
        axes_factors[number].set(xlabel="component", title=title)
        for axes in (axes_heads[number], axes_factors[number]):
            axes.set_xticks(range(len(order)), list(map(str, order)))
        best = match.max(axis=1)
        print(
            f"{title}: {len(order)} components in use, best correlation of a factor "
            f"{best.min():.2f} to {best.max():.2f}, zeros in the heads "
            f"{np.mean(dis.coef_ == 0):.2f}"
        )
    axes_heads[0].set_ylabel("task")
    axes_factors[0].set(ylabel="factor", yticks=range(made.factors.shape[1]))
    factors.colorbar(picture, ax=axes_factors, shrink=0.8, label="correlation")
    save(heads, "idea_heads")
    save(factors, "idea_factors")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    main()
