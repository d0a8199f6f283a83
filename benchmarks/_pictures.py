"""Pictures of the page of evidence: SVG, always the same from the same results."""

from __future__ import annotations

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np

from benchmarks import _evidence, hard, real_tables
from benchmarks._tables import half_width

#: Colours that people who are colour-blind tell apart (Okabe and Ito).
BETTER, WORSE, UNSURE = "#0072B2", "#D55E00", "#808080"
COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7"),
    *("#56B4E9", "#D55E00", "#000000", "#999999"),
)

SETTINGS = {
    "svg.hashsalt": "benchmarks",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}

#: Differences beyond it are drawn at the edge, so that one set does not shrink all others.
EDGE = 0.2


def tables():
    """Ours less each rival, for each real table, with intervals over splits."""
    found = _evidence.sets_of(real_tables.PLAIN)
    rivals = (
        real_tables.LINEAR,
        real_tables.UNPENALISED,
        "random forest",
        "boosting",
    )
    figure, axes = plt.subplots(2, 2, figsize=(7, 6.4), sharex=True, sharey=True)
    names = list(found)
    for axis, rival in zip(axes.flat, rivals, strict=True):
        axis.axvline(0, color="black", linewidth=0.8)
        for name, gaps in _evidence.score_gaps(found, rival).items():
            mean, half = np.mean(gaps), half_width(gaps)
            sure = abs(mean) > half
            colour = (BETTER if mean > 0 else WORSE) if sure else UNSURE
            at = names.index(name)
            low, high = np.clip([mean - half, mean + half], -EDGE, EDGE)
            axis.plot([low, high], [at, at], color=colour)
            axis.plot(np.clip(mean, -EDGE, EDGE), at, "o", color=colour, markersize=4)
        axis.set_title(f"ours less {rival.removeprefix('ours, ')}")
        axis.set_xlim(-1.05 * EDGE, 1.05 * EDGE)
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].invert_yaxis()
    figure.supxlabel(
        "difference in mean score, with 95% interval; right is better", size=9
    )
    return figure


def hard_cases():
    """D of ours and of others in each hard case: mean, and each seed as a small dot."""
    found, _ = _evidence.hard_by_case()
    methods = [m for m in hard.METHODS if m != "ours, linear encoder"]
    figure, axis = plt.subplots(figsize=(7, 5.6))
    shifts = np.linspace(-0.3, 0.3, len(methods))
    for method, colour, shift in zip(methods, COLOURS, shifts, strict=False):
        marker = "D" if method == hard.OURS else "o"
        label = method
        for at, by in enumerate(found.values()):
            seeds = list(by.get(method, {}).values())
            if not seeds:
                continue
            rows = [at + shift] * len(seeds)
            axis.plot(seeds, rows, ".", color=colour, markersize=3)
            axis.plot(np.mean(seeds), rows[0], marker, color=colour, ms=5, label=label)
            label = None  # once in the legend
    for at in range(1, len(found)):
        axis.axhline(at - 0.5, color="#DDDDDD", linewidth=0.6)
    axis.set_yticks(range(len(found)), found)
    axis.set_ylim(len(found) - 0.5, -0.5)
    axis.set(xlim=(0, 1), xlabel="D: 1 is one factor per component (small dots: seeds)")
    axis.legend(loc="upper center", bbox_to_anchor=(0.3, -0.1), ncols=2)
    return figure


def spaced(values, least):
    """Heights as near the values as can be seen apart, from the lowest up."""
    heights = np.array(values, dtype=float)
    order = np.argsort(heights)
    for below, above in pairwise(order):
        heights[above] = max(heights[above], heights[below] + least)
    return heights


def correlation():
    """D against the correlation of the factors, with the names at the ends of lines."""
    figure, axis = plt.subplots(figsize=(7, 4))
    found = {
        method: by
        for method, by in _evidence.made_by_method().items()
        if method == "ours" or not method.startswith("ours,") or "no penalty" in method
    }
    styles = [(colour, style) for style in ("-", "--") for colour in COLOURS]
    means = {
        method: [np.mean(_evidence.d_of(rows)) for rows in by.values()]
        for method, by in found.items()
    }
    heights = spaced([own[-1] for own in means.values()], 0.045)
    for (method, own), height, (colour, style) in zip(
        means.items(), heights, styles, strict=False
    ):
        width = 2.5 if method == "ours" else 1.2
        axis.plot(list(found[method]), own, style, color=colour, marker="o", lw=width)
        end = max(found[method]) + 0.02
        axis.text(end, height, method, color=colour, va="center", size=8)
    axis.set(ylim=(0, 1.03), xlabel="correlation of the factors", ylabel="D")
    axis.set_xticks([0, 0.5, 0.9], ["0", "0.5", "0.9"])
    return figure


def cost():
    """Time of ours divided by that of the other program."""
    rows = list(_evidence.cost_rows())
    kinds = list(dict.fromkeys(name for _, name, _, _ in rows))
    figure, axis = plt.subplots(figsize=(7, 5.6))
    axis.axvline(1, color="black", linewidth=0.8)
    labelled = set()
    for at, (_, name, ratios, _) in enumerate(rows):
        colour = COLOURS[kinds.index(name) % len(COLOURS)]
        axis.plot([min(ratios), max(ratios)], [at, at], color=colour)
        label = None if name in labelled else f"over {name}"
        axis.plot(np.median(ratios), at, "o", color=colour, markersize=5, label=label)
        labelled.add(name)
    axis.set_yticks(range(len(rows)), [case.replace("`", "") for case, *_ in rows])
    axis.invert_yaxis()
    axis.set(xscale="log", xlim=(0.05, 1500))
    ticks = [0.1, 1, 10, 100, 1000]
    axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axis.set(xlabel="time of ours over the other (left is faster)")
    axis.legend(loc="upper right", bbox_to_anchor=(1, -0.12), ncols=2)
    return figure


PICTURES = {
    "tables": tables,
    "hard": hard_cases,
    "correlation": correlation,
    "cost": cost,
}


def draw(folder):
    with plt.rc_context(SETTINGS):
        for name, make in PICTURES.items():
            figure = make()
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            plt.close(figure)
