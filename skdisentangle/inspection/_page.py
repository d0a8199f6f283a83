"""A fit on one page of HTML, to keep or to send."""

from __future__ import annotations

import base64
import io
import os
import platform
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch

from .._notebook import task_table
from .._replacing import replacing
from .._version import __version__
from ._data import data_concerns
from ._description import describe
from ._fitted import fitted_parts
from ._identifiability import identifiability_report

__all__ = ["write_report"]

STYLE = """\
body {font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1em; max-width: 72em;
  color: #222; background: #fff}
h1, h2 {line-height: 1.2} h2 {margin-top: 2em}
.wide {overflow-x: auto}
table {border-collapse: collapse; font-size: 0.9em}
th, td {text-align: left; vertical-align: top; padding: 0.3em 0.8em; border-bottom: 1px solid #ccc}
img {max-width: 100%}"""


def write_report(
    estimator: Any, path: str | os.PathLike[str], X: Any, Y_tasks: Any = None
) -> Path:
    """Write one page of HTML that says what a fit is, and what it found.

    The page holds all that it shows, and loads nothing: what each component means, whether
    components can be factors, a picture, the tasks with their scores, concerns about the data,
    settings and versions.

    Parameters
    ----------
    estimator : SparseSharedDisentangler, or pipeline or search with one
        Fitted.
    path : str or path-like
        File to write, such as ``"fit.html"``.
    X : array-like, data frame or sparse matrix of shape (n_samples, n_features)
        Rows as the estimator takes them, best some that were not in the fit. At least two.
    Y_tasks : array-like or data frame, default=None
        Labels of these rows, for scores and concerns. None leaves those out.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ImportError
        If pandas is not installed. Without matplotlib there is no picture.
    OSError
        If the file cannot be written.
    TypeError, ValueError
        If an argument is not as described.
    """
    path = Path(path)
    dis, before = fitted_parts(estimator)
    table = describe(estimator, X)
    report = identifiability_report(estimator, X)
    inner = X if before is None else before.transform(X)
    parts = [
        f"<h1>{escape(type(dis).__name__)}</h1>",
        f"<p>{len(dis.active_components_)} components for {len(dis.tasks_)} tasks, described "
        f"on {np.shape(X)[0] if hasattr(X, 'shape') else len(X):,} rows.</p>",
        "<h2>What each component means</h2>",
        f'<div class="wide">{_frame(table)}</div>',
        "<h2>Can the components be factors?</h2>",
        f"<p>{escape(report.verdict)}</p>",
        _picture(estimator, X),
        "<h2>Tasks</h2>",
        _scores(dis, inner, Y_tasks),
        task_table(dis),
        _concerns(X, Y_tasks),
        "<h2>Settings and versions</h2>",
        f'<div class="wide">{_settings(dis)}</div>',
    ]
    html = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(type(dis).__name__)}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )
    with replacing(path) as file:
        file.write(html.encode())
    return path


def _frame(table: Any) -> str:
    if isinstance(table, list):
        raise ImportError("A report needs pandas. Install it with pip install pandas.")
    html: str = table.reset_index().to_html(
        index=False, border=0, float_format="{:.2f}".format
    )
    return html


def _picture(estimator: Any, X: Any) -> str:
    from ._summary import SummaryDisplay

    try:
        import matplotlib.pyplot as plt
    except ImportError:
        return ""
    figure = SummaryDisplay.from_estimator(estimator, X).figure_
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    plt.close(figure)
    data = base64.b64encode(out.getvalue()).decode("ascii")
    return (
        "<h2>Tasks and columns, by component</h2>"
        f'<img alt="Tasks and columns, by component" src="data:image/png;base64,{data}">'
    )


def _scores(dis: Any, X: Any, Y_tasks: Any) -> str:
    if Y_tasks is None:
        return ""
    rows = []
    for task, score in zip(
        dis.tasks_, dis.score_tasks(X, Y_tasks=Y_tasks), strict=True
    ):
        shown = "none" if np.isnan(score) else f"{score:.3f}"
        kind = {"regression": "R2", "count": "D2"}.get(task.type, "accuracy")
        rows.append((str(task.name), f"{shown} ({kind})"))
    return f'<div class="wide">{_pairs("task", "score on these rows", rows)}</div>'


def _concerns(X: Any, Y_tasks: Any) -> str:
    if Y_tasks is None:
        return ""
    found = data_concerns(X, Y_tasks) or ["Nothing stands out."]
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
    return _pairs("setting", "value", rows)


def _pairs(first: str, second: str, rows: list[tuple[str, str]]) -> str:
    body = "".join(
        f"<tr><td>{escape(a)}</td><td>{escape(b)}</td></tr>" for a, b in rows
    )
    return (
        f"<table><thead><tr><th>{first}</th><th>{second}</th></tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )
