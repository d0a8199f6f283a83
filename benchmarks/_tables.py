"""Cells and lines of tables that suites share."""

from __future__ import annotations

import numpy as np
from scipy import stats


def markdown(heads, lines):
    rule = ["---"] * len(heads)
    return "\n".join("| " + " | ".join(line) + " |" for line in [heads, rule, *lines])


def half_width(values, level=0.95):
    """Half of the t interval of a mean."""
    if len(values) < 2:
        return np.nan
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    return float(stats.t.ppf((1 + level) / 2, len(values) - 1) * error)


def interval(values):
    """Mean of paired differences, and its 95% interval."""
    mean, half = np.mean(values), half_width(values)
    return f"{mean:+.3f} ({mean - half:+.3f} to {mean + half:+.3f})"
