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
    "real_images": "How useful is it on photographs and drawings?",
    "real_sprites": "Does it find six factors of sprites, from pixels?",
    "emotions": "How useful is it on short texts?",
    "new_tasks": "How well is a new task learned from few labels?",
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
    "extraction": "How fast are features extracted from files to files?",
    "gpu": "How much faster is a GPU?",
}

#: What the age of a suite's rows means. The evidence explains those that occur in it.
AGES = {
    "current": "The rows are from the present code.",
    "recent": (
        "The rows are from the code before the last change that affects results: weaker "
        "directions of the labels now become components, and hidden layers can get more "
        "noise. Both were run in the suites method (320 fits) and hard. In method, 300 fits "
        "had the same D to the last bit, and D changed by at most 0.006 in the others. In hard "
        "the mean of the cases rose from 0.661 to 0.670."
    ),
    "older": (
        "The rows are from earlier code: a formula alone chose the noise on the rows, hidden "
        "layers had no noise of their own, and the last layer of the network did not see the "
        "row."
    ),
}

#: Age of each suite whose rows are not "current".
OLDER = {
    "new_tasks": "recent",
    "constants": "recent",
    "factors": "older",
    "speed": "older",
    "memory": "older",
    "extraction": "older",
    "gpu": "older",
}

TWO_STEPS = "heads took two steps per batch in all epochs, and not only in the first."

#: What else the page of a suite says of its rows. Leave it out once they are run again.
NOTES = {
    "real_images": "But new characters are recent: from before the last change of the rank.",
    "constants": "The rows of LOSS_SHARE, NOISE_FACTOR and MORE are current.",
    "method": "But those of 50 factors are older: a formula alone chose the noise.",
    "factors": (
        "But ours on synthetic data is current, and other methods do not depend on the "
        "package. Ours on dSprites and glyphs had no noise on the rows. Seconds of ours on "
        "sprites are from a faster machine than the others."
    ),
    "speed": f"For growth and other estimators, {TWO_STEPS}",
    "memory": f"In all rows, {TWO_STEPS}",
    "extraction": f"In all rows, {TWO_STEPS}",
    "gpu": f"In all rows, {TWO_STEPS}",
}


def age(suite):
    return OLDER.get(suite, "current")


def version(suite):
    """How old the rows of a suite are, in sentences."""
    return " ".join(filter(None, [AGES[age(suite)], NOTES.get(suite)]))


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
    said = f"**Version: {age(suite)}.** {version(suite)} Back to [the evidence](../README.md)."
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
