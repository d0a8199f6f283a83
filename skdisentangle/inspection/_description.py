"""What each component means, in one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_scalar

from .._warnings import each_once
from ._fitted import (
    active_codes,
    component_labels,
    fitted_parts,
    learned_tasks,
    task_sizes,
)
from ._identifiability import identifiability_report, listed
from ._input_effects import InputEffects, input_effects
from ._names import suggested_names
from ._rows import image_reader, in_rows, pictures, row_names, text_reader
from ._text import as_text

__all__ = ["describe", "description"]

#: A column that moves a component by less, in standard deviations, is not named.
LEAST_EFFECT = 0.005

SIGNS = {1: "+", -1: "-", 0: ""}

#: Columns of rows, of which pictures or texts are shown.
ENDS = ("lowest rows", "highest rows")

#: Borders and text take the colours of the notebook, light or dark. On a narrow screen each row
#: is a block, as side by side the columns have no room.
STYLE = """\
<style>
.skd-description {border-collapse: collapse; font-size: 0.9em}
.skd-description th, .skd-description td {text-align: left; vertical-align: top; \
padding: 0.3em 0.8em; border-bottom: 1px solid rgba(128, 128, 128, 0.4); \
overflow-wrap: break-word; max-width: 22em}
.skd-description td[data-label="tasks"], .skd-description td[data-label="columns"] \
{min-width: 16em; max-width: 30em}
.skd-description figure {display: inline-block; margin: 0 5px 2px 0; \
text-align: center; font-size: 0.8em}
.skd-description img {width: 52px; image-rendering: pixelated; display: block}
@media (max-width: 50em) {
.skd-description, .skd-description tbody, .skd-description tr, \
.skd-description td[data-label] {display: block; min-width: 0; max-width: none}
.skd-description thead {display: none}
.skd-description tr {padding: 0.6em 0; border-bottom: 2px solid rgba(128, 128, 128, 0.6)}
.skd-description td[data-label] {border: 0; padding: 0.15em 0; display: grid; \
grid-template-columns: 7.5em minmax(0, 1fr)}
.skd-description td::before {content: attr(data-label); font-weight: bold}
}
</style>"""


def describe(estimator: Any, X: Any, *, n_named: int = 3) -> Any:
    """Say what each component means.

    Parameters
    ----------
    estimator : SparseSharedDisentangler, or pipeline or search with one
        Fitted.
    X : array-like, data frame or sparse matrix of shape (n_samples, n_features)
        Rows as the estimator takes them, or images or texts. At least two.
    n_named : int, default=3
        Tasks, columns and rows that are named for each component, at the most.

    Returns
    -------
    pandas.DataFrame, or list of dict without pandas
        A row for each component, the most used first, with

        - ``"component"``: its number, a column of ``transform`` (the index of a data frame);
        - ``"name"``: its name, if ``set_component_names`` gave names; else ``"suggested name"``,
          a guess, see :func:`~skdisentangle.inspection.suggest_component_names`;
        - ``"tasks"``: the tasks that use it most, such as ``"price (+1.00)"``. The number is the
          size of the coefficient, as a share of the largest coefficient of that task: 1 for the
          component that the task depends on most. With a plus the target, or the odds of the
          second class, rises with the component; with a minus it falls. A task of several
          classes has no sign, because each class has a coefficient of its own, and some rise
          while others fall;
        - ``"verdict"``: whether it can be a factor, see
          :func:`~skdisentangle.inspection.identifiability_report`;
        - ``"columns"``: the columns that move it most, such as ``"area (-0.80)"``. The number is
          the mean change of the component, in standard deviations, when the column is taken
          from another row. With a plus the component rises with the column. A column has no
          sign if the component rises with it in some rows, and falls in others;
        - ``"share of use"``: its share of the heads' magnitude;
        - ``"lowest rows"``, ``"highest rows"``: the rows of X where the component is lowest and
          highest, from the most extreme on: their labels in the index of a data frame, else
          their numbers.

        Printed, it is a few lines of text for each component, of the width of the terminal. A
        notebook shows small pictures of these rows if they are images, and their beginnings if
        they are texts.

    Raises
    ------
    TypeError
        If there is no disentangler in the estimator.
    ValueError
        If X or ``n_named`` is not as described.
    ImportError
        If rows are image files, and Pillow is not installed.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    See Also
    --------
    identifiability_report : The verdicts, and what led to them.
    input_effects : All columns, not only the strongest.

    Examples
    --------
    >>> import numpy as np
    >>> from skdisentangle import SparseSharedDisentangler
    >>> from skdisentangle.inspection import describe
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 3))
    >>> Y_tasks = np.column_stack([X[:, 0], 2 * X[:, 0], X[:, 1], -X[:, 1]])
    >>> dis = SparseSharedDisentangler(n_components=3, random_state=0).fit(X, Y_tasks)
    >>> table = describe(dis, X)
    >>> sorted(columns.split()[0] for columns in table["columns"])
    ['x0', 'x1']
    """
    check_scalar(n_named, "n_named", Integral, min_val=1)
    records, html = description(estimator, X, n_named)
    try:
        import pandas  # noqa: F401
    except ImportError:
        return Records(records, html)
    from ._frame import Description  # which needs pandas

    return Description.of(records, html)


class Records(list[dict[str, Any]]):
    """A list of records that prints as text, and that a notebook shows as a table."""

    def __init__(self, records: list[dict[str, Any]], html: str) -> None:
        super().__init__(records)
        self._html = html

    def __repr__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return self._html


@each_once()
def description(
    estimator: Any, X: Any, n_named: int
) -> tuple[list[dict[str, Any]], str]:
    """Records of the components, and a table in HTML, with pictures or texts of the rows."""
    dis, before = fitted_parts(estimator)
    X = in_rows(X)
    effects = input_effects(estimator, X)
    codes = active_codes(dis, X if before is None else before.transform(X))
    report = identifiability_report(estimator, X)
    sizes, signs = task_sizes(dis)
    tasks = [str(task.name) for task in learned_tasks(dis)]
    own = getattr(dis, "component_names_", None)
    labels = dict(
        zip(dis.active_components_.tolist(), component_labels(dis), strict=True)
    )
    key = "suggested name" if own is None else "name"
    names = suggested_names(estimator, effects) if own is None else own
    records, lines = [], []
    for place, (component, row) in enumerate(
        zip(dis.active_components_, report.components, strict=True)
    ):
        order = [int(i) for i in np.argsort(codes[:, place])]
        lists = {
            "tasks": _named(tasks, sizes[:, component], signs[:, component], n_named),
            "columns": _columns(effects, place, n_named),
        }
        ends = {"lowest rows": order[:n_named], "highest rows": order[::-1][:n_named]}
        record = {
            "component": int(component),
            key: str(names[component]),
            "tasks": _joined(lists["tasks"]),
            "verdict": _verdict(row, labels, is_single=len(tasks) == 1),
            "columns": _joined(lists["columns"]),
            "share of use": row["usage"],
            **{name: ", ".join(row_names(X, rows)) for name, rows in ends.items()},
        }
        records.append(record)
        lines.append(record | lists | ends)
    return records, _html(lines, X, image_reader(X, dis, before), text_reader(X))


def _named(
    names: Sequence[str],
    sizes: NDArray[np.float64],
    signs: NDArray[np.float64],
    n_named: int,
) -> list[str]:
    """The names of largest size, as ``name (+size)``, and how many more there are."""
    order = [int(i) for i in np.argsort(-sizes, kind="stable") if sizes[i] > 0]
    shown = [
        f"{names[i]} ({SIGNS[int(signs[i])]}{sizes[i]:.2f})" for i in order[:n_named]
    ]
    more = len(order) - len(shown)
    return [*shown, *([f"and {more} more"] if more else [])]


def _joined(names: list[str]) -> str:
    return ", ".join(names).replace(", and ", " and ")


def _columns(effects: InputEffects, place: int, n_named: int) -> list[str]:
    if effects.image_shape is not None:
        return ["pixels: see InputEffectDisplay"]
    directions = effects.clear_directions()[:, place]
    sizes = effects.effects[:, place]
    sizes = np.where(sizes >= LEAST_EFFECT, sizes, 0.0)
    return _named(effects.column_names, sizes, directions, n_named)


def _verdict(row: dict[str, Any], labels: dict[int, Any], *, is_single: bool) -> str:
    """The verdict on a component, short."""
    if is_single or not row["mixed_with"]:
        return str(row["verdict"]).partition(";")[0]
    others = listed([labels[j] for j in row["mixed_with"]])
    before = "used by all tasks: " if row["used_by_all"] else ""
    return f"{before}may be a mixture with {others}"


def _html(
    lines: list[dict[str, Any]],
    X: Any,
    image: Callable[[int], NDArray[Any]] | None,
    text: Callable[[int], str] | None,
) -> str:
    """The table, of lists where records have them joined."""
    shown = sorted({row for line in lines for name in ENDS for row in line[name]})
    labels = dict(zip(shown, map(escape, row_names(X, shown)), strict=True))
    sources: dict[int, str] = {}
    if image is not None:
        found = pictures([image(row) for row in shown])
        sources = dict(zip(shown, found, strict=True))

    def named(value: list[str]) -> str:
        # A name and its number stay together.
        return "<br>".join(
            "&nbsp;".join(map(escape, name.rsplit(" ", 1))) for name in value
        )

    def ends(rows: list[int]) -> str:
        if sources:
            return "".join(
                f'<figure><img alt="row {labels[row]}" src="{sources[row]}">'
                f"<figcaption>{labels[row]}</figcaption></figure>"
                for row in rows
            )
        if text is None:
            return ", ".join(labels[row] for row in rows)
        return "<br>".join(f"{labels[row]}: {escape(text(row))}" for row in rows)

    def cell(name: str, value: Any) -> str:
        if name in ENDS:
            return ends(value)
        if isinstance(value, list):
            return named(value)
        return f"{value:.2f}" if isinstance(value, float) else escape(str(value))

    names = list(lines[0]) if lines else []
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = (
        "".join(
            f'<td data-label="{name}"><div>{cell(name, line[name])}</div></td>'
            for name in names
        )
        for line in lines
    )
    body = "".join(f"<tr>{cells}</tr>" for cells in rows)
    return (
        f'{STYLE}<table class="skd-description"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )
