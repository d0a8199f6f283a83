"""Turn columns of labels into typed tasks, encoded targets and weights.

One column of labels is one task. Each task has a type, inferred from its labels or given by
the user, and an encoding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from .._warnings import warn
from ..distributed import ALONE, Ranks
from .blocks import Block, with_thresholds
from .labels import Column, Labels, beyond_floats, text_as_str
from .task import Task
from .types import TYPES, TaskType, check_type, infer_type

__all__ = ["TaskSet", "said_of_tasks"]

Said = TypeVar("Said")

#: Of so many labels or more, a share above this that differ makes them names of rows.
ID_ROWS, ID_SHARE = 50, 0.5

#: Why a task is left out of the training of an encoder, and gets its head afterwards.
IDLE = "has weight zero"

#: Tasks that are named in a warning: of those left out, and of those taken for classes.
MOST_NAMED, MOST_GUESSES = 20, 3


def said_of_tasks(
    said: Mapping[Any, Said],
    names: Sequence[str],
    keys: Sequence[Any],
    argument: str,
    default: Said,
) -> list[Said]:
    """Look up the value of each task in a mapping.

    Parameters
    ----------
    said : mapping
        By the names of tasks, or by their keys.
    names : sequence of str
        Names of all tasks.
    keys : sequence
        Names of the columns as the user gave them, such as numbers; empty for arrays.
    argument : str
        Name of the mapping, for errors.
    default
        Value of a task that the mapping does not name.

    Returns
    -------
    list

    Raises
    ------
    ValueError
        If the mapping names something that is not a task.
    """
    known = {*names, *keys}
    unknown = [name for name in said if name not in known]
    if unknown:
        raise ValueError(
            f"{argument} names {unknown[0]!r}, which is not a task; the tasks are "
            f"{', '.join(map(repr, names[:10]))}."
        )
    return [
        said.get(key, said.get(name, default))
        for key, name in zip(keys or names, names, strict=True)
    ]


def _resolve_types(
    task_types: str | Sequence[str | None] | Mapping[Any, str | None] | None,
    labels: Labels,
) -> list[str | None]:
    """Type of each task as given by the user, None if it must be inferred."""
    names = labels.names
    if task_types is None or isinstance(task_types, str):
        types: list[str | None] = [task_types] * len(names)
    elif isinstance(task_types, Mapping):
        types = said_of_tasks(task_types, names, labels.keys, "task_types", None)
    else:
        types = list(task_types)
        if len(types) != len(names):
            raise ValueError(
                f"task_types must name one type for each of the {len(names)} tasks; got "
                f"{len(types)}."
            )
    for name, kind in zip(names, types, strict=True):
        check_type(kind, f"task_types: the type of task {name!r}")
    return types


def _repeats(
    weight: NDArray[np.float64], ranks: Ranks = ALONE
) -> NDArray[np.float64] | None:
    """As how many rows each row counts: whole weights are repetitions, others are not."""
    some_are_none = ranks.largest(np.array([float(np.any(weight % 1 != 0))]))
    return None if some_are_none[0] else weight


def _typed(
    column: Column,
    index: int,
    kind: str | None,
    row_weight: NDArray[np.float64],
    repeats: NDArray[np.float64] | None,
) -> Task:
    """Type a column and look at its labels; its outputs are numbered later."""
    if kind is not None:
        return TYPES[kind].task(column, index, row_weight)
    distinct = column.distinct(repeats)
    found = infer_type(distinct)
    assert distinct.counts is not None
    n_rows, n_classes = int(distinct.counts.sum()), len(distinct.values)
    if column.categorical and n_rows >= ID_ROWS and n_classes > ID_SHARE * n_rows:
        reason = f"looks like an id: {n_classes:,} different labels in {n_rows:,} rows"
        none = distinct.values[:0]
        return Task(column.name, index, found.name, none, left_out=reason)
    return found.task(column, index, row_weight)


def _named(names: Sequence[str], most: int = MOST_NAMED) -> str:
    """Some of the names of tasks, and how many more there are."""
    n_more = len(names) - most
    return ", ".join(names[:most]) + (f" and {n_more} more" if n_more > 0 else "")


def _declared(column: Column, index: int, kind: str | None, classes: Any) -> Task:
    """The task of a column whose classes have been said."""
    found = _declared_classes(classes)
    all_of_them = Column(column.name, found, True, None, order=column.order)
    stated = infer_type(all_of_them) if kind is None else TYPES[kind]
    return stated.declared(all_of_them, index)


def _declared_classes(classes: Any) -> NDArray[Any]:
    """Sorted classes as said by the user; dates as objects, as they are read."""
    values = np.asarray(classes)
    if values.dtype.kind in "mM":
        values = np.asarray(classes, dtype=object)
    return np.unique(text_as_str(values, "classes", "classes"))


def _rescaled(
    tasks: list[Task], labels: Labels, row_weight: NDArray[np.float64], ranks: Ranks
) -> list[Task]:
    """Tasks with the means and scales of the labels of all ranks."""
    numbers = [t for t in tasks if TYPES[t.type].scaled and t.left_out is None]
    there = [~labels.columns[task.index].missing for task in numbers]
    values = [
        labels.columns[task.index].values[here].astype(np.float64)
        for task, here in zip(numbers, there, strict=True)
    ]
    weights = [row_weight[here] for here in there]

    def total(parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        out: NDArray[np.float64] = ranks.sum(
            np.array([w @ part for w, part in zip(weights, parts, strict=True)])
        )
        return out

    # In units of the largest value, as above.
    units = ranks.largest(np.array([np.abs(v).max(initial=0.0) for v in values]))
    values = [v / unit for v, unit in zip(values, units, strict=True)]
    weight = total([np.ones_like(v) for v in values])
    means = total(values) / weight
    spread = total([(v - m) ** 2 for v, m in zip(values, means, strict=True)]) / weight
    out = list(tasks)
    for task, mean, scale in zip(
        numbers, means * units, np.sqrt(spread) * units, strict=True
    ):
        shift, unit = TYPES[task.type].units(float(mean), float(scale))
        out[task.index] = replace(task, mean=shift, scale=unit)
    return out


@dataclass(frozen=True)
class TaskSet:
    """The tasks of a fit, and their order inside the solvers.

    The solvers want tasks of one type side by side; ``coef_`` has them in the order of
    the columns of ``Y_tasks``.

    Attributes
    ----------
    tasks : list of Task
        All tasks, in the order of the columns.
    learned : ndarray of int
        Columns of the tasks that are learned, in the order of the solvers.
    blocks : tuple of Block
    output_order : ndarray of int
        For each row of ``coef_`` the solver's output.
    container, dtypes, keys
        As in :class:`Labels`.
    """

    tasks: list[Task]
    learned: NDArray[np.intp]
    blocks: tuple[Block, ...]
    output_order: NDArray[np.intp]
    container: str
    dtypes: list[Any]
    keys: list[Any]

    @property
    def n_outputs(self) -> int:
        return len(self.output_order)

    def types_found(self) -> list[str | None]:
        """Types to say in a fit on some of the rows, whose labels may look like others.

        Tasks that were left out have no entry, so they are left out again.
        """
        return [None if task.left_out else task.type for task in self.tasks]

    def kind(self, number: int) -> TaskType:
        """Type of a learned task, by its number in the order of the solvers."""
        return TYPES[self.tasks[self.learned[number]].type]

    def n_classes(self) -> NDArray[np.intp]:
        """Classes of each learned task, in the order of the solvers, or zero."""
        found = [self.tasks[index].classes for index in self.learned]
        return np.array([0 if c is None else len(c) for c in found], dtype=np.intp)

    def output_units(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and scale of each row of ``coef_``; zero and one for classes."""
        mean, scale = np.zeros(self.n_outputs), np.ones(self.n_outputs)
        for task in self.tasks:
            mean[task.outputs], scale[task.outputs] = task.mean, task.scale
        return mean, scale

    @classmethod
    def build(
        cls,
        labels: Labels,
        *,
        task_types: str | Sequence[str | None] | Mapping[Any, str | None] | None,
        sample_weight: NDArray[np.float64],
        classes: Sequence[Any] | None = None,
        quiet: bool = False,
        ranks: Ranks = ALONE,
        setting: str = "task_types",
    ) -> TaskSet:
        """Type the tasks and lay out their outputs.

        Parameters
        ----------
        labels : Labels
        task_types : str, sequence, mapping or None
            As in the estimator.
        sample_weight : ndarray of shape (n_samples,)
            Weights in the means and variances of regression targets. If all are whole, a
            row counts as so many rows where types are inferred.
        classes : sequence of (array-like or None), optional
            All classes of each task, None for regression tasks.
        quiet : bool, default=False
            Whether to leave out the warnings.
        ranks : Ranks, optional
            Processes that have the other labels.
        setting : str, default="task_types"
            Name of the parameter for types, for the warning.

        Returns
        -------
        TaskSet

        Raises
        ------
        ValueError
            If a type does not fit its labels, or no task can be learned.

        Warns
        -----
        UserWarning
            Naming the tasks that are left out; and those of numbers, of more than two
            values, which are inferred to be classes.
        """
        types = _resolve_types(task_types, labels)
        here, repeats = labels, _repeats(sample_weight, ranks)
        if ranks.size > 1:
            labels = here.of_all(ranks, repeats)
        tasks: list[Task] = []
        guessed = []
        for j, column in enumerate(labels.columns):
            declared = None if classes is None else classes[j]
            if declared is None:
                weight = sample_weight
                if ranks.size > 1:
                    weight = np.ones(len(column.values))  # of no account
                tasks.append(_typed(column, j, types[j], weight, repeats))
                found = tasks[-1].classes
                n_classes = 0 if found is None else len(found)
                if types[j] is None and not column.categorical and n_classes > 2:
                    guessed.append(f"{column.name!r} ({n_classes} values)")
            else:
                tasks.append(_declared(column, j, types[j], declared))
        if ranks.size > 1:
            tasks = _rescaled(tasks, here, sample_weight, ranks)
        quiet = quiet or ranks.rank > 0
        out = cls.lay_out(tasks, labels, quiet=quiet)
        if guessed and not quiet:
            warn(
                "Numbers are taken for classes in the tasks "
                f"{_named(guessed, MOST_GUESSES)}, because they are few, small and repeated. "
                f"Set {setting}='multiclass' to confirm this, 'ordinal' if they have an "
                "order, 'count' for counts, or 'regression' for measurements."
            )
        return out

    def without(self, idle: NDArray[np.bool_]) -> TaskSet:
        """The set that leaves out these tasks, but knows what they are."""
        tasks = [
            replace(task, left_out=IDLE) if away else task
            for task, away in zip(self.tasks, idle, strict=True)
        ]
        return self._numbered(tasks, self)

    def idle(self) -> TaskSet | None:
        """The set in which only those are learned that :meth:`without` left out; None if none."""
        away = np.array([task.left_out == IDLE for task in self.tasks])
        if not away.any():
            return None
        tasks = [
            replace(task, left_out=None if idle else task.left_out or IDLE)
            for task, idle in zip(self.tasks, away, strict=True)
        ]
        return self._numbered(tasks, self)

    def joined(self, idle: TaskSet) -> TaskSet:
        """The set with the tasks that are in the other alone."""
        tasks = [
            theirs if own.left_out == IDLE else own
            for own, theirs in zip(self.tasks, idle.tasks, strict=True)
        ]
        return self._numbered(tasks, self)

    @classmethod
    def lay_out(
        cls, tasks: list[Task], labels: Labels, *, quiet: bool = False
    ) -> TaskSet:
        """Number the outputs of typed tasks; of the labels only the container matters."""
        left_out = [task for task in tasks if task.left_out is not None]
        if len(left_out) == len(tasks):
            reasons = sorted({f"{task.name!r} {task.left_out}" for task in left_out})
            raise ValueError(
                f"{labels.argument}: no task can be learned: "
                + "; ".join(reasons[:5])
                + ". At least one task needs labels of two classes, or two values."
            )
        if left_out and not quiet:
            names = _named([f"{t.name!r} ({t.left_out})" for t in left_out])
            hint = (
                " Set task_types='multiclass' for tasks that are not ids."
                if "looks like an id" in names
                else ""
            )
            warn(f"Tasks left out, because they cannot be learned: {names}.{hint}")
        return cls._numbered(tasks, labels)

    @classmethod
    def _numbered(cls, tasks: list[Task], labels: Labels | TaskSet) -> TaskSet:
        start = 0
        numbered = []
        for task in tasks:
            width = 0 if task.left_out else TYPES[task.type].n_outputs(task)
            numbered.append(replace(task, outputs=slice(start, start + width)))
            start += width
        learned = [task for task in numbered if task.left_out is None]
        order = list(TYPES)

        def shape(task: Task) -> tuple[int, int, int]:
            return order.index(task.type), task.n_outputs, len(task.thresholds)

        learned.sort(key=lambda task: (*shape(task), task.index))
        blocks: list[Block] = []
        first = output = 0
        for (_, width, n_thresholds), group in groupby(learned, shape):
            alike = list(group)
            last, end = first + len(alike), output + width * len(alike)
            thresholds = None
            if n_thresholds:
                thresholds = torch.tensor(
                    [task.thresholds for task in alike], dtype=torch.float64
                )
            spans = slice(first, last), slice(output, end)
            blocks.append(Block(alike[0].type, *spans, width, thresholds))
            first, output = last, end
        solver_outputs = np.concatenate(
            [np.arange(t.outputs.start, t.outputs.stop) for t in learned]
        )
        return cls(
            tasks=numbered,
            learned=np.array([task.index for task in learned]),
            blocks=tuple(blocks),
            output_order=np.argsort(solver_outputs),
            container=labels.container,
            dtypes=labels.dtypes,
            keys=labels.keys,
        )

    def with_thresholds(self, thresholds: Sequence[torch.Tensor]) -> TaskSet:
        """The tasks with the thresholds of blocks that have some, as tuples and tensors."""
        if not thresholds:
            return self
        values = [each.double().cpu().clone() for each in thresholds]
        blocks = with_thresholds(self.blocks, values)
        tasks = list(self.tasks)
        for block in blocks:
            if block.thresholds is None:
                continue
            indices = self.learned[block.tasks]
            for index, own in zip(indices, block.thresholds.tolist(), strict=True):
                tasks[index] = replace(tasks[index], thresholds=tuple(own))
        return replace(self, tasks=tasks, blocks=blocks)

    def check(self, labels: Labels) -> None:
        """Raise ValueError unless the labels have this set's number of tasks.

        Those of data frames must also have its names, in its order. Labels without names
        go by position.
        """
        if len(labels.columns) != len(self.tasks):
            raise ValueError(
                f"{labels.argument} has {len(labels.columns)} tasks, but the estimator "
                f"was fitted on {len(self.tasks)}."
            )
        if _is_frame(self) and _is_frame(labels):
            names = [task.name for task in self.tasks]
            _check_names(labels.names, names, labels.argument)

    def encode(
        self, labels: Labels, *, unseen_ok: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Targets of the learned tasks, in the order of the solvers.

        Parameters
        ----------
        labels : Labels
        unseen_ok : bool, default=False
            Whether a label that is none of its task's classes becomes -1.

        Returns
        -------
        targets : ndarray of shape (n_samples, n_learned)
            See :mod:`skdisentangle.tasks.blocks`; zero where not labelled.
        labelled : ndarray of bool, shape (n_samples, n_learned)

        Raises
        ------
        ValueError
            If a label is none of its task's classes.
        """
        self.check(labels)
        targets = np.empty((labels.n_rows, len(self.learned)))
        labelled = np.empty(targets.shape, dtype=bool)
        for number in range(len(self.learned)):
            targets[:, number], labelled[:, number] = self.encode_task(
                number, labels, unseen_ok=unseen_ok
            )
        return targets, labelled

    def encode_task(
        self, number: int, labels: Labels, *, unseen_ok: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The same for one learned task, by its number in the order of the solvers."""
        index = self.learned[number]
        task, column = self.tasks[index], labels.columns[index]
        labelled = ~column.missing
        present = column.values[labelled]
        targets = np.zeros(labels.n_rows)
        targets[labelled] = TYPES[task.type].encode(
            task, column, present, unseen_ok=unseen_ok
        )
        return targets, labelled

    def decode(self, columns: Sequence[NDArray[Any]], index: Any = None) -> Any:
        """Predictions in the labels' own container and types.

        Parameters
        ----------
        columns : sequence of ndarray of shape (n_rows,)
            Predictions of each task.
        index : pandas.Index, default=None
            Of the rows, for a series or data frame of pandas; None numbers them.

        Returns
        -------
        ndarray, series or data frame
        """
        if self.container in ("1d", "2d"):
            out = columns[0]
            if self.container == "2d":
                dtype = _common_dtype(columns)
                out = np.column_stack([column.astype(dtype) for column in columns])
            return _as_it_was(out, self.dtypes[0])
        library = self.container.split("-")[0]
        series = [
            _to_series(library, key, column, dtype, task)
            for key, column, dtype, task in zip(
                self.keys, columns, self.dtypes, self.tasks, strict=True
            )
        ]
        single = self.container.endswith("series")
        if library == "pandas":
            import pandas as pd

            out = series[0] if single else pd.concat(series, axis=1)
            return out if index is None else out.set_axis(index)
        import polars as pl

        return series[0] if single else pl.DataFrame(series)


def _is_frame(labels: Labels | TaskSet) -> bool:
    return labels.container in ("pandas", "polars")


def _check_names(names: list[str], fitted: list[str], argument: str) -> None:
    """Raise ValueError unless names are those of the fit, in its order."""
    if names == fitted:
        return
    missing = set(fitted) - set(names)
    if missing and (_are_numbers(names) or _are_numbers(fitted)):
        return
    place = next(j for j, name in enumerate(fitted) if names[j] != name)
    raise ValueError(
        f"{argument} must have the same columns as in the fit, in the same order; column "
        f"{place} is {names[place]!r}, but was {fitted[place]!r}. "
        + (
            f"There is no column {min(missing)!r}."
            if missing
            else "The names are the same, in a different order."
        )
    )


def _are_numbers(names: list[str]) -> bool:
    """Whether names are those that pandas or polars give to columns without any."""
    return any(
        names == [f"{prefix}{j}" for j in range(len(names))]
        for prefix in ("", "column_")
    )


def _common_dtype(columns: Sequence[NDArray[Any]]) -> np.dtype[Any]:
    """Data type that holds the values of all columns as they are."""
    kinds = {column.dtype.kind for column in columns}
    if not (kinds <= set("biuf") or kinds == {"U"}):
        return np.dtype(object)
    common = np.result_type(*columns)
    rounds = common.kind == "f" and any(map(beyond_floats, columns))
    return np.dtype(object) if rounds else common


def _as_it_was(values: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Strings in the data type of labels that were no plain strings of numpy."""
    if dtype.kind == "S" and values.dtype.kind == "U":
        return np.asarray(np.char.encode(values, "utf-8"))
    found = values.ravel().tolist() if dtype.kind == "T" else []
    if found and all(isinstance(value, str) for value in found):
        return values.astype(dtype)
    return values


def _to_series(
    library: str, name: Any, values: NDArray[Any], dtype: Any, task: Task
) -> Any:
    """Series of predictions in the label's own data type, where it can hold them."""
    # Whole numbers among which some are missing are read as floats.
    whole = task.classes is not None and _are_whole(values)
    if library == "pandas":
        import pandas as pd

        categories = dtype.categories if dtype.name == "category" else pd.Index([])
        if categories.inferred_type == "bytes" and values.dtype.kind in "OU":
            values = np.array([value.encode() for value in values.tolist()], object)
        series = pd.Series(values, name=name)
        if (
            dtype.name == "category"
            or values.dtype.kind != "f"
            or (whole and dtype.kind in "iu")
        ):
            return series.astype(dtype)
        return series
    import polars as pl

    if dtype == pl.Binary and values.dtype.kind in "OU":
        return pl.Series(name, [value.encode() for value in values.tolist()], dtype)
    if values.dtype.kind == "f":
        series = pl.Series(name, values)
        return series.cast(dtype) if whole and dtype.is_integer() else series
    return pl.Series(name, values.tolist(), dtype=dtype)


def _are_whole(values: NDArray[Any]) -> bool:
    return values.dtype.kind == "f" and bool(np.all(values % 1 == 0))
