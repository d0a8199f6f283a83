"""The report: one page from the saved results of all suites."""

from __future__ import annotations

import importlib
import platform
from pathlib import Path

import numpy as np
import sklearn
import torch

from skdisentangle import __version__

FOLDER = Path(__file__).parent

#: Suites in the order of the page.
SUITES = (
    "real_tables",
    "known_factors",
    "hard",
    "real_images",
    "real_sprites",
    "emotions",
    "recovery",
    "method",
    "ablations",
    "constants",
    "identifiability",
    "factors",
    "new_tasks",
    "shift",
    "transfer",
    "spurious",
    "leakage",
    "metrics",
    "extraction",
    "sprites",
    "speed",
    "cost",
    "gpu",
    "memory",
)

START = """# Benchmarks

Every table is written by the command that stands above it, from the code of this
repository; `python -m benchmarks` runs all suites. Settings of this package are its defaults
everywhere; none was chosen on the seeds of a report, except as a section says.

These sections are of the code as it is: "Tasks of the fit" in "Real tables", and "Cost of wide
heads, classes and new tasks". "Known factors in real data", "Known factors in hard data", "Real
images", "Sprites of a game", "Emotions of short texts", "Recovery", "What each piece of the method
does" and heads for new tasks of "Real tables" are from just before three changes: the search for a
basis begins at varimax, too; where a pass is short its noise is drawn for eight steps; and heads of
the fits that choose the noise follow the penalty once. On ten cases of "Recovery", with two other
seeds each, these changed D by 0.0003 at the most, except for 500 rows, where it rose by 0.008.

All others are older:

- The noise of `input_noise="auto"` was chosen by short fits that shared.
- Heads took two steps a batch all along, in the sections on "Real data under shift" and "New
  tasks of real data", for 50 factors in "The method on hard problems", for images in "Known
  factors", in "Extraction", "On a GPU" and "Memory", and for growth and the peers in "Speed". Now
  they take one after the first sixth of a fit. That finds as many factors, except on images.
- "Real data under shift", "New tasks of real data" and 50 factors are from before the last heads
  of classes carry a ridge, which changes predictions of classes, and `fit_task`, a little.
- Ours on images in "Known factors" is from before noise became a default.
- In "Real data under shift" and "New tasks of real data" CEBRA, parametric UMAP, "joint" and
  "UPGrad" had 300 steps, where the code now gives them about as many as ours has. The strength of
  `MultiTaskLasso` was fixed, where it is now chosen by cross-validation.
"""


def machine():
    return (
        f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, scikit-learn {sklearn.__version__}, "
        f"skdisentangle {__version__}"
    )


def spread(values):
    """Mean and standard deviation, in a cell."""
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=len(values) > 1):.3f}"


def page():
    sections = [importlib.import_module(f"benchmarks.{s}").section() for s in SUITES]
    return "\n".join([START, *(s.strip() + "\n" for s in sections if s)])


def write_readme():
    (FOLDER / "README.md").write_text(page())
