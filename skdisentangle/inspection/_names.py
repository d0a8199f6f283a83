"""Guesses at what to call the components."""

from __future__ import annotations

from itertools import chain, count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from ..tasks import Task
from ._fitted import fitted_parts, learned_tasks, task_sizes
from ._input_effects import InputEffects, input_effects
from ._plots import one_line

__all__ = ["suggest_component_names", "suggested_names"]

#: Longest name.
MAX_LENGTH = 32

#: Columns, or tasks, of at least this share of the largest count about as much as it.
ABOUT_EQUAL = 2 / 3

#: A name, and whether it rises or falls with the component; zero if that is not known.
Part = tuple[str, float]


def suggest_component_names(estimator: Any, X: Any) -> list[str]:
    """Guess at names for the components, from the columns and tasks that go with them.

    A component gets the name of a column, if that column moves it at least as far as all
    others together, or the names of two columns that do so together and about equally.
    Otherwise it gets the name of the task that depends most on this component alone. If two
    tasks do so about equally, it gets both names; if there are more, it gets one of them and
    their number. What is at least two thirds of the largest is about equal to it. A name says
    what high values of the component mean:

    ============================= ==========================================================
    ``"high price"``              the component rises with the price
    ``"low price"``               it rises as the price falls
    ``"likely sold"``             it makes the second class of a task of classes 0 and 1 likely
    ``"not sold"``                it makes that class unlikely
    ``"kind=round"``              it makes this one of two classes likely
    ``"about class"``             it is about a task of more than two classes without an order
    ``"height + debt"``           it rises with both
    ``"height - debt"``           it rises with the height, and falls with the debt
    ``"low (height + debt)"``     it falls with both
    ``"about class and price"``   it is about both, one of which has no direction
    ``"high debt and 3 others"``  it rises with the debt, and goes with three other tasks
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
        found = _of_columns(effects, place, before)
        found += _of_tasks(tasks, alone[:, component], signs[:, component])
        base = one_line(found[0], MAX_LENGTH - 4) if found else "component"
        numbered = (f"{base} {number}" for number in count(component))
        names[component] = next(n for n in chain(found, numbered) if n not in taken)
        taken.add(names[component])
    return names


def _of_columns(
    effects: InputEffects, place: int, before: Pipeline | None
) -> list[str]:
    """The one or two columns that move a component, if they have names of their own."""
    if effects.image_shape is not None:
        return []
    sizes = effects.effects[:, place]
    first = _about_largest(sizes)
    if len(first) > 2 or sizes[first].sum() < sizes.sum() / 2:
        return []
    names = [effects.column_names[j] for j in first]
    directions = effects.clear_directions()[first, place]
    numbered = _given_by_code(before)
    if not directions.all() or any(
        not name.strip() or name.rstrip("0123456789") in numbered for name in names
    ):
        return []
    if len(names) == 1:
        return [one_line(_end(names[0], directions[0]), MAX_LENGTH)]
    return [_of_two(*zip(names, directions, strict=True))]


def _of_tasks(
    tasks: list[Task], alone: NDArray[np.float64], signs: NDArray[np.float64]
) -> list[str]:
    """The tasks that are most about a component, together; then each by itself if it is one."""
    named = [t for t, task in enumerate(tasks) if str(task.name).strip()]
    order = [t for t in named if alone[t] > 0]
    order.sort(key=lambda t: -alone[t])
    first = [order[i] for i in _about_largest(alone[order])]
    if len(first) == 2:
        return [_of_two(*(_part(tasks[t], signs[t]) for t in first))]
    if len(first) > 2:
        more = f" and {len(first) - 1} others"
        return [
            one_line(_of_task(tasks[t], signs[t]), MAX_LENGTH - len(more)) + more
            for t in first
        ]
    return [one_line(_of_task(tasks[t], signs[t]), MAX_LENGTH) for t in order]


def _about_largest(sizes: NDArray[np.float64]) -> NDArray[np.intp]:
    """Where sizes are about as large as the largest, from there on."""
    order = np.argsort(-sizes, kind="stable")
    least = ABOUT_EQUAL * sizes.max(initial=0.0)
    found: NDArray[np.intp] = order[sizes[order] >= least]
    return found


def _of_two(one: Part, other: Part) -> str:
    """A name of two columns or tasks that count about the same."""
    if one[1] < 0 < other[1]:
        one, other = other, one
    if one[1] == 0 or other[1] == 0:
        form = "about {} and {}"
    elif one[1] < 0:
        form = "low ({} + {})"
    else:
        form = "{} + {}" if other[1] > 0 else "{} - {}"
    room = (MAX_LENGTH - len(form.format("", ""))) // 2
    return form.format(one_line(one[0], room), one_line(other[0], room))


def _given_by_code(before: Pipeline | None) -> set[str]:
    """What the names of columns begin with that are numbered, such as ``pca3``."""
    steps = [] if before is None else before.named_steps.values()
    return {"x", *(type(step).__name__.lower() for step in steps)}


def _of_task(task: Task, sign: float) -> str:
    name, direction = _part(task, sign)
    if direction == 0:  # of several classes
        return f"about {name}"
    if task.type != "binary":
        return _end(name, direction)
    if name != str(task.name):  # it says the class
        return name
    return f"likely {name}" if direction > 0 else f"not {name}"


def _part(task: Task, sign: float) -> Part:
    """A task, or the class of it that goes with the component."""
    name = str(task.name)
    if task.type != "binary" or task.classes is None or sign == 0:
        return name, sign
    if task.classes.tolist() == [0, 1]:  # or False and True
        return name, sign
    return f"{name}={task.class_names()[1 if sign > 0 else 0]}", 1.0


def _end(name: str, sign: float) -> str:
    return f"high {name}" if sign > 0 else f"low {name}"
