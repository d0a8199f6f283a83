"""Problems of the solvers of heads, of each task type."""

from __future__ import annotations

import numpy as np
import torch

from skdisentangle.tasks.blocks import Block

TYPES = {
    "regression": Block("regression", slice(0, 1), slice(0, 1)),
    "binary": Block("binary", slice(0, 1), slice(0, 1)),
    "multiclass": Block("multiclass", slice(0, 1), slice(0, 3), 3),
}

#: Several tasks of each type; of each, its type and number of outputs.
MIXED = [
    Block("regression", slice(0, 2), slice(0, 2)),
    Block("binary", slice(2, 4), slice(2, 4)),
    Block("multiclass", slice(4, 6), slice(4, 10), 3),
    Block("multiclass", slice(6, 7), slice(10, 14), 4),
]
TASKS = [("regression", 1)] * 2 + [("binary", 1)] * 2
TASKS += [("multiclass", 3)] * 2 + [("multiclass", 4)]


def make_codes(rng, n_rows=120, n_components=7):
    codes = rng.normal(size=(n_rows, n_components))
    codes[:, 1] += 0.7 * codes[:, 0]  # correlated, so that supports are not trivial
    return (codes - codes.mean(0)) / codes.std(0)


def make_targets(rng, codes, kind):
    value = codes[:, 0] - 0.8 * codes[:, 2] + 0.3 * rng.normal(size=len(codes))
    if kind == "regression":
        return value
    if kind == "binary":
        return (value > 0.2).astype(float)
    return np.digitize(value, [-0.6, 0.6]).astype(float)


def make_weights(rng, n_rows, how):
    if how == "all":
        return None
    weights = np.ones(n_rows)
    if how in ("missing", "both"):
        weights *= rng.random(n_rows) < 0.6
    if how in ("weighted", "both"):
        weights *= rng.integers(1, 4, size=n_rows)
    return weights / weights.mean()


def make_mixed(how, n_rows=90):
    """Codes, targets and weights of the tasks of MIXED, and weights of rows."""
    rng = np.random.default_rng(10)
    codes = rng.normal(size=(n_rows, 5)) @ np.diag([1.0, 0.5, 2.0, 1.0, 1.0])
    value = codes @ rng.normal(size=(5, 7)) + rng.normal(size=(n_rows, 7))
    targets = value.copy()
    targets[:, 2:4] = value[:, 2:4] > 0.5
    targets[:, 4:6] = np.digitize(value[:, 4:6], [-0.6, 0.6])
    targets[:, 6] = np.digitize(value[:, 6], [-1, 0, 1])
    weights = row_weights = None
    if how != "all":
        weights = np.column_stack([make_weights(rng, n_rows, how) for _ in TASKS])
    if how == "both":
        row_weights = rng.uniform(0.5, 2.0, size=n_rows)
    found = (codes, targets, weights, row_weights)
    return [None if a is None else torch.from_numpy(a) for a in found]


def outputs_of_tasks():
    """Type and outputs of each task of MIXED."""
    stop = 0
    for kind, width in TASKS:
        yield kind, slice(stop, stop + width)
        stop += width


def tensors(codes, targets, weights, l1_weights):
    return (
        torch.from_numpy(codes),
        torch.from_numpy(targets).unsqueeze(1),
        None if weights is None else torch.from_numpy(weights).unsqueeze(1),
        torch.as_tensor(l1_weights, dtype=torch.float64),
    )
