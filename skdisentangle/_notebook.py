"""Show the tasks of a fitted estimator in a notebook, below scikit-learn's HTML."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

__all__ = ["task_table"]

#: Borders and text take the colours of the notebook, light or dark.
STYLE = """\
<style>
.skd-tasks {max-height: 24em; overflow: auto; display: inline-block}
.skd-tasks table {border-collapse: collapse; font-size: 0.9em}
.skd-tasks th, .skd-tasks td {text-align: left; padding: 0.2em 0.8em; \
border-bottom: 1px solid rgba(128, 128, 128, 0.4)}
.skd-tasks td {overflow-wrap: anywhere; max-width: 24em}
</style>"""


def task_table(estimator: Any) -> str:
    """Table of the tasks of a fitted estimator, as HTML.

    One row per task: its name, type and classes, and the components that it uses, the
    largest coefficient first.

    Parameters
    ----------
    estimator : SparseSharedDisentangler

    Returns
    -------
    str
        Empty if the estimator is not fitted. Names and classes are escaped.
    """
    tasks = getattr(estimator, "tasks_", None)
    coef = getattr(estimator, "coef_", None)
    if tasks is None or coef is None:
        return ""
    rows = []
    for task in tasks:
        size = np.abs(coef[task.outputs]).max(axis=0, initial=0.0)
        used = np.argsort(-size, kind="stable")[: np.count_nonzero(size)]
        components = ", ".join(map(str, used)) or "none"
        if task.left_out is not None:
            components = f"left out: {task.left_out}"
        cells = (task.name, task.type, _classes(task.class_names()), components)
        rows.append("".join(f"<td>{escape(str(cell))}</td>" for cell in cells))
    head = "".join(
        f"<th>{name}</th>" for name in ("task", "type", "classes", "components")
    )
    active = len(estimator.active_components_)
    n_components = len(estimator.encoder_.components.mean)
    return (
        f"{STYLE}<details open><summary>{len(tasks)} "
        f"task{'' if len(tasks) == 1 else 's'}, {active} of {n_components} components "
        f'in use</summary><div class="skd-tasks"><table><thead><tr>{head}'
        f"</tr></thead><tbody><tr>{'</tr><tr>'.join(rows)}</tr></tbody></table></div>"
        "</details>"
    )


def _classes(names: list[str]) -> str:
    """A few classes in full, of many the number."""
    return ", ".join(names) if len(names) <= 5 else f"{len(names)} classes"
