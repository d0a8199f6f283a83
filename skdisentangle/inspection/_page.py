"""A fit on one page of HTML, to keep or to send."""

from __future__ import annotations

import base64
import io
import os
import platform
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import sklearn
import torch
from sklearn.utils.validation import _num_samples

from .._notebook import task_table
from .._replacing import replacing
from .._version import __version__
from .._warnings import each_once
from ._data import data_concerns, fit_concerns
from ._description import description
from ._fitted import fitted_parts
from ._identifiability import identifiability_report
from ._input_effects import InputEffectDisplay
from ._loss_curve import LossCurveDisplay
from ._rows import in_rows
from ._scores import SCORES_SAY, score_lines
from ._task_components import TaskComponentDisplay

__all__ = ["write_report"]

STYLE = """\
body {font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1em; max-width: 76em;
  color: #222; background: #fff}
h1, h2 {line-height: 1.2} h2 {margin-top: 2em}
p, ul {max-width: 46em}
.table {overflow-x: auto} .wide {overflow: auto; max-height: 36em}
.pairs {border-collapse: collapse; font-size: 0.9em}
.pairs th, .pairs td {text-align: left; vertical-align: top; padding: 0.3em 0.8em;
  border-bottom: 1px solid #ccc; overflow-wrap: anywhere}
.pictures {display: flex; flex-wrap: wrap; gap: 1em; align-items: flex-start}
.pictures div {overflow-x: auto; max-width: 100%}
.pictures img {max-width: 100%}
body .skd-tasks td {overflow-wrap: break-word}"""

#: Share of its width that a picture keeps on a narrow screen.
LEAST_WIDTH = 0.6

#: Tasks, columns and rows that are named for each component, at the most.
N_NAMED = 4

#: Dots per inch of a picture, and those that a browser reckons with.
DPI, CSS_DPI = 150, 96


@each_once()
def write_report(
    estimator: Any, path: str | os.PathLike[str], X: Any, Y_tasks: Any = None
) -> Path:
    """Write one page of HTML that says what a fit is, and what it found.

    The page holds all that it shows, and loads nothing: what each component means, with
    pictures or texts of its lowest and highest rows where X is images or texts; whether
    components can be factors; pictures of the fit; the tasks with their scores; concerns
    about the data; settings and versions.

    Parameters
    ----------
    estimator : SparseSharedDisentangler, or pipeline or search with one
        Fitted.
    path : str or path-like
        File to write, such as ``"fit.html"``.
    X : array-like, data frame or sparse matrix of shape (n_samples, n_features)
        Rows as the estimator takes them, or images or texts, best some that were not in the
        fit. At least two.
    Y_tasks : array-like or data frame, default=None
        Labels of these rows, for scores and concerns. None leaves those out.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ImportError
        If rows are image files, and Pillow is not installed. Without matplotlib the page has
        no pictures of the fit.
    OSError
        If the file cannot be written.
    TypeError, ValueError
        If an argument is not as described.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            "path must be the name of the file to write, such as 'fit.html', and comes before "
            f"X and Y_tasks; got {type(path).__name__}."
        )
    path, X = Path(path), in_rows(X)
    dis, before = fitted_parts(estimator)
    _, table = description(estimator, X, N_NAMED)
    report = identifiability_report(estimator, X)
    inner = X if before is None else before.transform(X)
    number, n_tasks = len(dis.active_components_), len(dis.tasks_)
    title = f"Fit of {_some(n_tasks, 'task')}: {_some(number, 'component')}"
    parts = [
        f"<h1>{title}</h1>",
        f"<p>{escape(type(dis).__name__)} of skdisentangle {__version__}, described on "
        f"{_num_samples(X):,} rows.</p>",
        "<h2>What each component means</h2>",
        "<p>The number of a task is the size of its coefficient, as a share of that task's "
        "largest. With a plus the task rises with the component, with a minus it falls; a task "
        "of several classes has no sign. The number of a column is how far it moves the "
        "component, in standard deviations. With a plus the component rises with the column. "
        "The rows are those where the component is lowest and highest.",
        "</p>"
        if hasattr(dis, "component_names_")
        else " Suggested names are guesses.</p>",
        f'<div class="table">{table}</div>',
        "<h2>Can the components be factors?</h2>",
        f"<p>{escape(report.verdict)}</p>",
        _pictures(estimator, X),
        "<h2>Tasks</h2>",
        _scores(dis, inner, Y_tasks),
        task_table(dis),
        _concerns(dis, X, Y_tasks),
        "<h2>Settings and versions</h2>",
        _settings(dis),
    ]
    html = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )
    with replacing(path) as file:
        file.write(html.encode())
    return path


def _some(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _pictures(estimator: Any, X: Any) -> str:
    """Pictures of the fit, if matplotlib is there."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        return ""
    shown = []
    for display in (
        TaskComponentDisplay.from_estimator(estimator),
        InputEffectDisplay.from_estimator(estimator, X),
        LossCurveDisplay.from_estimator(estimator),
    ):
        figure, out = display.figure_, io.BytesIO()
        figure.savefig(out, format="png", dpi=DPI)
        plt.close(figure)
        width = CSS_DPI * figure.get_figwidth()
        data = base64.b64encode(out.getvalue()).decode("ascii")
        shown.append(
            f'<div><img alt="{escape(display.ax_.get_title())}" '
            f'width="{width:.0f}" style="min-width: {LEAST_WIDTH * width:.0f}px" '
            f'src="data:image/png;base64,{data}"></div>'
        )
    return f'<h2>Pictures of the fit</h2><div class="pictures">{"".join(shown)}</div>'


def _scores(dis: Any, X: Any, Y_tasks: Any) -> str:
    if Y_tasks is None:
        return ""
    lines = score_lines(dis, X, Y_tasks)
    names = ("task", "score on these rows", "most frequent class", "AUC")
    return f"<p>{SCORES_SAY}</p>{_table(names, lines)}"


def _concerns(dis: Any, X: Any, Y_tasks: Any) -> str:
    found = fit_concerns(dis)
    if Y_tasks is not None:
        found = [*data_concerns(X, Y_tasks), *found] or ["Nothing stands out."]
    if not found:
        return ""
    items = "".join(f"<li>{escape(concern)}</li>" for concern in found)
    return f"<h2>Concerns about the data</h2><ul>{items}</ul>"


def _settings(dis: Any) -> str:
    rows = [
        ("skdisentangle", __version__),
        ("scikit-learn", sklearn.__version__),
        ("torch", torch.__version__),
        ("Python", platform.python_version()),
    ]
    rows += [
        (name, f"{value!r:.200}") for name, value in dis.get_params(deep=False).items()
    ]
    rows += [
        (name, f"{getattr(dis, name):.4g}")
        for name in ("sparsity_", "sharing_", "input_noise_", "nonlinear_noise_")
    ]
    return _table(("setting", "value"), rows)


def _table(names: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table class="pairs"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
