"""Scores of tasks, beside what no knowledge of X would score."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tasks.labels import Column, Labels
from ..tasks.types import TYPES

__all__ = ["SCORES_SAY", "score_lines"]

#: What a reader needs to judge the scores of all tasks.
SCORES_SAY = (
    "R2 and D2 are 0 for a constant prediction, and 1 at best. Compare an accuracy with that "
    "of the most frequent class."
)


def score_lines(estimator: Any, X: Any, Y_tasks: Any) -> list[tuple[str, str, str]]:
    """Name, score and baseline of each task of a disentangler.

    The baseline is the accuracy of the class that is most frequent in these labels, and empty
    for tasks without classes.
    """
    scores = estimator.score_tasks(X, Y_tasks=Y_tasks)
    lines = []
    for task, score, column in zip(
        estimator.tasks_, scores, Labels.read(Y_tasks).columns, strict=True
    ):
        shown, baseline = "none", ""
        if not np.isnan(score):
            shown = f"{score:.3f} ({_SCORES.get(task.type, 'accuracy')})"
            if TYPES[task.type].has_classes:
                baseline = f"{_most_frequent(column):.3f}"
        lines.append((str(task.name), shown, baseline))
    return lines


_SCORES = {"regression": "R2", "count": "D2"}


def _most_frequent(column: Column) -> float:
    values = column.values[~column.missing].tolist()
    counts = np.unique([str(value) for value in values], return_counts=True)[1]
    return float(counts.max() / counts.sum())
