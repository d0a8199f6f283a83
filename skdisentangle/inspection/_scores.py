"""Scores of tasks, beside what no knowledge of X would score."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from ..rows.array_api import in_numpy, numpy_array
from ..tasks.labels import Column, Labels
from ..tasks.types import TYPES

__all__ = ["SCORES_SAY", "score_lines"]

#: What a reader needs to judge the scores of all tasks.
SCORES_SAY = (
    "R2 and D2 are 0 for a constant prediction, and 1 at best. Compare an accuracy with that "
    "of the most frequent class. AUC is the area under the ROC curve of a task of two "
    "classes: 0.5 for a constant prediction, and 1 at best, however rare a class is."
)


def score_lines(
    estimator: Any, X: Any, Y_tasks: Any
) -> list[tuple[str, str, str, str]]:
    """Name, score, baseline and AUC of each task of a disentangler.

    The baseline is the accuracy of the class that is most frequent in these labels, and empty
    for tasks without classes. The AUC is empty unless a task has two classes, both among
    these labels.
    """
    scores = estimator.score_tasks(X, Y_tasks=Y_tasks)
    labels = Labels.read(Y_tasks)
    areas = _areas(estimator, X, labels)
    lines = []
    for task, score, column in zip(
        estimator.tasks_, scores, labels.columns, strict=True
    ):
        shown, baseline = "none", ""
        if not np.isnan(score):
            shown = f"{score:.3f} ({_SCORES.get(task.type, 'accuracy')})"
            if TYPES[task.type].has_classes:
                baseline = f"{_most_frequent(column):.3f}"
        area = f"{areas[task.index]:.3f}" if task.index in areas else ""
        lines.append((str(task.name), shown, baseline, area))
    return lines


_SCORES = {"regression": "R2", "count": "D2"}


def _most_frequent(column: Column) -> float:
    values = column.values[~column.missing].tolist()
    counts = np.unique([str(value) for value in values], return_counts=True)[1]
    return float(counts.max() / counts.sum())


def _areas(estimator: Any, X: Any, labels: Labels) -> dict[int, float]:
    """Area under the ROC curve of each task of two classes, by its number, if it has one."""
    task_set, areas = estimator._task_set, {}
    # Of log-odds, as probabilities that are rounded to 1 would be ties.
    log_odds = in_numpy(estimator)._scores(numpy_array(X))
    for number, index in enumerate(task_set.learned):
        task = task_set.tasks[index]
        if task.type != "binary":
            continue
        target, labelled = task_set.encode_task(number, labels, unseen_ok=True)
        known = labelled & (target >= 0)  # -1 is a class that the fit did not know
        if len(np.unique(target[known])) == 2:
            areas[task.index] = float(
                roc_auc_score(target[known], log_odds[known, task.outputs.start])
            )
    return areas
