"""The report: a page of evidence, and a page for each suite, from saved results."""

from __future__ import annotations

import importlib
import platform
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import sklearn
import torch

from skdisentangle import __version__

FOLDER = Path(__file__).parent
REPORTS = FOLDER / "reports"

#: Each suite, and the question that it answers.
SUITES = {
    "real_tables": "Does it predict your own tasks as well as other models do?",
    "known_factors": "Does it find the five scales behind a questionnaire?",
    "hard": "Does it find factors in data made to be hard?",
    "real_images": "What is it worth on photographs and drawings?",
    "real_sprites": "Does it find six factors of sprites, from pixels?",
    "emotions": "What is it worth on short texts?",
    "new_tasks": "How well does a new task go with few labels?",
    "recovery": "Does it find known factors, and in what time?",
    "method": "When does it find them, when not, and with which solver?",
    "factors": "What do other methods find in the same made data and images?",
    "ablations": "What does each piece of the method add?",
    "constants": "What do half and twice the value of each constant change?",
    "identifiability": "Does the report tell which components to believe?",
    "leakage": "What goes wrong when a next step sees the rows of the fit?",
    "metrics": "Do the metrics themselves say what they should?",
    "cost": "What do many tasks, many classes and new tasks cost?",
    "speed": "How fast are fit, `transform` and import?",
    "memory": "How much memory do many rows take?",
    "extraction": "How fast do features go from files to files?",
    "gpu": "What does a GPU gain?",
}

#: How the code of older rows differs from the present one.
LATE = "one step older: D differs by at most 0.0003, and by 0.008 for 500 rows"
EARLY = "older: the short fits that choose the noise depended on each other"
SLOW = "heads took two steps per batch all along"

#: Rows of a suite that are not from the present code: which, and how that code differs.
#: A suite that is not here has all its rows from the present code.
OLDER = {
    "real_tables": f"Rows of new tasks are {LATE}.",
    "known_factors": f"All rows are {LATE}.",
    "hard": f"All rows are {LATE}.",
    "real_images": f"All rows are {LATE}.",
    "real_sprites": f"All rows are {LATE}.",
    "emotions": f"All rows are {LATE}.",
    "recovery": f"All rows are {LATE}.",
    "ablations": f"All rows are {LATE}.",
    "new_tasks": f"All rows are {EARLY}.",
    "method": f"All rows are {EARLY}. With 50 factors, {SLOW}.",
    "factors": (
        f"All rows are {EARLY}. Ours on dSprites and glyphs had no noise on the rows. "
        "Seconds of ours on synthetic data and sprites are from a faster machine."
    ),
    "constants": f"All rows are {EARLY}.",
    "identifiability": f"All rows are {EARLY}.",
    "leakage": f"All rows are {EARLY}.",
    "speed": f"All rows are {EARLY}. For growth and other estimators, {SLOW}.",
    "memory": f"All rows are {EARLY}; {SLOW}.",
    "extraction": f"All rows are {EARLY}; {SLOW}.",
    "gpu": f"All rows are {EARLY}; {SLOW}.",
}
PRESENT = "All rows are from the present code."


def machine():
    return (
        f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, scikit-learn {sklearn.__version__}, "
        f"skdisentangle {__version__}"
    )


def spread(values):
    """Mean and standard deviation, in a cell."""
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=len(values) > 1):.3f}"


def report(suite):
    """The page of a suite: title, version of its rows, and what the suite itself says."""
    text = importlib.import_module(f"benchmarks.{suite}").page()
    title, _, rest = text.partition("\n")
    if not rest:
        title, rest = f"# {suite}", "\nNot measured yet.\n"
    said = f"**Version.** {OLDER.get(suite, PRESENT)} Back to [the evidence](../README.md)."
    return f"{title}\n\n{said}\n{rest.rstrip()}\n"


def pages():
    """Text of each page, by its path below the folder."""
    evidence = importlib.import_module("benchmarks._evidence")
    found = {"README.md": evidence.page()}
    return found | {f"reports/{suite}.md": report(suite) for suite in SUITES}


def write_pages():
    """Write all pages, and draw the pictures if there is matplotlib."""
    REPORTS.mkdir(exist_ok=True)
    for path, text in pages().items():
        (FOLDER / path).write_text(text)
    if find_spec("matplotlib") is None:
        hint = "pip install -r benchmarks/requirements.txt"
        print(f"The pictures are left as they are, without matplotlib: '{hint}'.")
    else:
        importlib.import_module("benchmarks._pictures").draw(REPORTS)
