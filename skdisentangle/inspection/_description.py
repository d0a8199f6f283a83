"""What each component means, in one table."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _num_samples, check_scalar

from ._fitted import active_codes, fitted_parts, learned_tasks, task_sizes
from ._identifiability import identifiability_report
from ._input_effects import InputEffects, input_effects

__all__ = ["describe"]

#: Characters of a text that are shown.
TEXT_WIDTH = 40

#: A column that moves a component by less, in standard deviations, is not named.
LEAST_EFFECT = 0.005

SIGNS = {1: "+", -1: "-", 0: ""}


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
        - ``"name"``: its name, if ``set_component_names`` gave it one;
        - ``"share of use"``: its share of the heads' magnitude;
        - ``"tasks"``: the tasks that use it most. A plus says that the target, or the odds of the
          second class, rises with the component, a minus that it falls; a task of several classes
          has no sign. The number is the size of the coefficient, as a share of the largest of
          that task;
        - ``"columns"``: the columns that move it most, with the sign in which they do. The
          number is the mean change of the component, in standard deviations, when the column is
          taken from another row;
        - ``"verdict"``: whether it can be a factor, see
          :func:`~skdisentangle.inspection.identifiability_report`;
        - ``"lowest rows"``, ``"highest rows"``: the rows of X where the component is lowest and
          highest, from the most extreme on: their labels in the index of a data frame, their
          beginnings if they are texts, else their numbers.

    Raises
    ------
    TypeError
        If there is no disentangler in the estimator.
    ValueError
        If X or ``n_named`` is not as described.
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
    ['+x0', '+x1']
    """
    check_scalar(n_named, "n_named", Integral, min_val=1)
    dis, before = fitted_parts(estimator)
    effects = input_effects(estimator, X)
    codes = active_codes(dis, X if before is None else before.transform(X))
    report = identifiability_report(estimator, X)
    sizes, signs = task_sizes(dis)
    names = [str(task.name) for task in learned_tasks(dis)]
    own = getattr(dis, "component_names_", None)
    records = [
        {
            "component": int(component),
            **({} if own is None else {"name": own[component]}),
            "share of use": row["usage"],
            "tasks": _named(names, sizes[:, component], signs[:, component], n_named),
            "columns": _columns(effects, place, n_named),
            "verdict": _verdict(row),
            "lowest rows": _rows(X, np.argsort(codes[:, place])[:n_named]),
            "highest rows": _rows(X, np.argsort(-codes[:, place])[:n_named]),
        }
        for place, (component, row) in enumerate(
            zip(dis.active_components_, report.components, strict=True)
        )
    ]
    try:
        import pandas as pd
    except ImportError:
        return records
    return pd.DataFrame(records).set_index("component")


def _named(
    names: Sequence[str],
    sizes: NDArray[np.float64],
    signs: NDArray[np.float64],
    n_named: int,
) -> str:
    """The names of largest size, with signs and sizes, and how many more there are."""
    order = [int(i) for i in np.argsort(-sizes, kind="stable") if sizes[i] > 0]
    shown = [
        f"{SIGNS[int(signs[i])]}{names[i]} {sizes[i]:.2f}" for i in order[:n_named]
    ]
    more = len(order) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _columns(effects: InputEffects, place: int, n_named: int) -> str:
    if effects.image_shape is not None:
        return "pixels: see InputEffectDisplay"
    directions = effects.clear_directions()[:, place]
    sizes = effects.effects[:, place]
    sizes = np.where(sizes >= LEAST_EFFECT, sizes, 0.0)
    return _named(effects.column_names, sizes, directions, n_named)


def _verdict(row: dict[str, Any]) -> str:
    if row["identifiable"]:
        return "identifiable"
    if row["mixed_with"]:
        others = ", ".join(map(str, row["mixed_with"]))
        return f"may be a mixture with {others}"
    return str(row["verdict"])


def _rows(X: Any, places: NDArray[np.intp]) -> str:
    """What to call some rows."""
    if hasattr(X, "index") and hasattr(X, "iloc"):
        return ", ".join(str(X.index[i]) for i in places)
    if isinstance(X, list | tuple) and _num_samples(X) and isinstance(X[0], str):
        return " | ".join(_shortened(X[i]) for i in places)
    return ", ".join(str(int(i)) for i in places)


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TEXT_WIDTH else f"{line[: TEXT_WIDTH - 3]}..."
