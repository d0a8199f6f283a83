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
    "gpu",
    "memory",
)

START = """# Benchmarks

Every table is written by the command that stands above it, from the code of this
repository; `python -m benchmarks` runs all suites. Settings of this package are its defaults
everywhere; none was chosen on the seeds of a report, except as a section says.

Of the code as it is are "Real tables", "Known factors in real data", "Known factors in hard
data", "Real images", "Sprites of a game", "Emotions of short texts", "Recovery", "What each
piece of the method does", and what does not fit anything of ours.

What is older than the code: everywhere else the noise of `input_noise="auto"` was chosen by
short fits that shared. With the default solver heads take one step a batch after the first
sixth of a fit, where they took two all along. With one step all along, which finds as many
factors but on images, were run the default solver in "The method on hard problems"
but for 50 factors, "Whether the factors can be believed", synthetic factors in "Known factors", "New tasks from few labels" and "Leakage". With two all
along: 50 factors, ours on dSprites and glyphs in "Known factors", the sections on real data,
"Extraction", "On a GPU", "Memory", and of "Speed" growth and the peers. Of these the sections
on real data and 50 factors are from before the last heads of classes carry a ridge, which
changes predictions of classes, and `fit_task`, a little; ours on dSprites and glyphs from
before noise on the inputs became a default (`input_noise="auto"`) and `sharing` no longer grows
where labels are few. In "Real data under shift" and "New tasks of real data" CEBRA, parametric
UMAP, "joint" and "UPGrad" had 300 steps, where the code now gives them about as many as ours has,
and the strength of `MultiTaskLasso` was fixed, where it is now chosen by cross-validation.
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
