"""Guesses at what to call the components."""

from __future__ import annotations

from itertools import chain, count
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from ..tasks import Task
from ._fitted import fitted_parts, learned_tasks, task_sizes
from ._input_effects import InputEffects, input_effects
from ._plots import one_line

__all__ = ["suggest_component_names", "suggested_names"]

#: Longest name.
MAX_LENGTH = 32


def suggest_component_names(estimator: Any, X: Any) -> list[str]:
    """Guess at names for the components, from the columns and tasks that go with them.

    A component gets the name of a column, if that column moves it at least as far as all
    others together. Otherwise it gets the name of the task that depends most on this
    component alone. A name says what high values of the component mean:

    ============================= ==========================================================
    ``"high price"``              the component rises with the price
    ``"low price"``               it rises as the price falls
    ``"likely sold"``             it makes the second class of a task of classes 0 and 1 likely
    ``"not sold"``                it makes that class unlikely
    ``"kind=round"``              it makes this one of two classes likely
    ``"about class"``             it is about a task of more than two classes without an order
    ============================= ==========================================================

    No name is that of a task or a column, so features stand beside them in one table.

    The names are guesses. Before you use one, look at the rows where the component is low and
    high.

    Parameters
    ----------
    estimator : SparseSharedDisentangler, or pipeline or search with one
        Fitted.
    X : array-like, data frame or sparse matrix of shape (n_samples, n_features)
        Rows as the estimator takes them, or images or texts. At least two.

    Returns
    -------
    list of str
        A name for each component, as ``set_component_names`` takes them: all differ, and
        none has more than 32 characters. One that no task uses keeps the name that it has in
        ``get_feature_names_out``. The same fit and rows give the same names.

    Raises
    ------
    TypeError
        If there is no disentangler in the estimator.
    ValueError
        If X is not as described.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    See Also
    --------
    describe : What the names are taken from, and more, as a table.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skdisentangle import SparseSharedDisentangler
    >>> from skdisentangle.inspection import suggest_component_names
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame(rng.normal(size=(500, 3)), columns=["area", "age", "noise"])
    >>> Y_tasks = pd.DataFrame({"rent": X["area"], "price": 2 * X["area"], "old": X["age"]})
    >>> dis = SparseSharedDisentangler(n_components=3, random_state=0).fit(X, Y_tasks)
    >>> sorted(suggest_component_names(dis, X))
    ['high age', 'high area']
    """
    return suggested_names(estimator, input_effects(estimator, X))


def suggested_names(estimator: Any, effects: InputEffects) -> list[str]:
    """The same, where the effects of the columns are known."""
    dis, before = fitted_parts(estimator)
    sizes, signs = task_sizes(dis)
    # How much of a task is about one component.
    alone = sizes / np.maximum(sizes.sum(axis=1, keepdims=True), 1e-300)
    tasks = learned_tasks(dis)
    names = [str(name) for name in dis.get_feature_names_out()]
    taken = set(np.delete(names, dis.active_components_))
    taken |= {*effects.column_names, *(str(task.name) for task in dis.tasks_)}
    for place, component in enumerate(dis.active_components_):
        found = _of_column(effects, place, before)
        for t in np.argsort(-alone[:, component], kind="stable"):
            if sizes[t, component] > 0 and str(tasks[t].name).strip():
                found.append(_of_task(tasks[t], signs[t, component]))
        short = [one_line(name, MAX_LENGTH) for name in found]
        base = one_line(short[0], MAX_LENGTH - 4) if short else "component"
        numbered = (f"{base} {number}" for number in count(component))
        names[component] = next(n for n in chain(short, numbered) if n not in taken)
        taken.add(names[component])
    return names


def _of_column(effects: InputEffects, place: int, before: Pipeline | None) -> list[str]:
    """The column that moves a component, if it is one, and has a name of its own."""
    if effects.image_shape is not None:
        return []
    sizes = effects.effects[:, place]
    first = int(sizes.argmax())
    if sizes[first] < sizes.sum() / 2:
        return []
    name, sign = effects.column_names[first], effects.clear_directions()[first, place]
    if (
        sign == 0
        or not name.strip()
        or name.rstrip("0123456789") in _given_by_code(before)
    ):
        return []
    return [_end(name, sign)]


def _given_by_code(before: Pipeline | None) -> set[str]:
    """What the names of columns begin with that are numbered, such as ``pca3``."""
    steps = [] if before is None else before.named_steps.values()
    return {"x", *(type(step).__name__.lower() for step in steps)}


def _of_task(task: Task, sign: float) -> str:
    name = str(task.name)
    if sign == 0:  # of several classes
        return f"about {name}"
    if task.type != "binary" or task.classes is None:
        return _end(name, sign)
    classes = task.classes.tolist()
    if classes == [0, 1]:  # or False and True
        return f"likely {name}" if sign > 0 else f"not {name}"
    return f"{name}={classes[1 if sign > 0 else 0]}"


def _end(name: str, sign: float) -> str:
    return f"high {name}" if sign > 0 else f"low {name}"
