"""Fits of a linear layer to four tasks, below the estimator."""

from __future__ import annotations

import torch

from skdisentangle.fitting.steps import TrainingOptions, TrainingState
from skdisentangle.fitting.training import train
from skdisentangle.rows.batches import LabelTensors
from skdisentangle.tasks.blocks import Block

BLOCKS = (
    Block("regression", slice(0, 2), slice(0, 2)),
    Block("binary", slice(2, 4), slice(2, 4)),
)


def make(seed=0, n_rows=200, sparsity=0.02, sharing=0.05):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n_rows, 3, generator=generator, dtype=torch.float64)
    targets = torch.stack(
        [rows[:, 0], rows[:, 1], (rows[:, 0] > 0).double(), (rows[:, 2] > 0).double()],
        dim=1,
    )
    options = TrainingOptions(
        blocks=BLOCKS,
        sparsity=sparsity,
        sharing=sharing,
        learning_rate=0.01,
        spread=torch.tensor([1.0, 1.0, 0.5, 0.5], dtype=torch.float64),
        task_weights=torch.full((4,), 0.25, dtype=torch.float64),
    )
    layer = torch.nn.Linear(3, 4).double()
    with torch.no_grad():
        layer.weight.copy_(torch.randn(4, 3, generator=generator).double())
        layer.bias.zero_()
    body = torch.nn.Sequential(layer)
    theta = torch.zeros(4, 5, dtype=torch.float64)
    return rows, targets, options, TrainingState.start(body, theta, options)


def fit(rows, targets, options, state, **changes):
    settings = {
        "batch_size": len(rows),
        "max_iter": 300,
        "tol": 1e-4,
        "n_iter_no_change": 300,
        "generator": torch.Generator().manual_seed(0),
    }
    state.n_labels = targets.new_full((targets.shape[1],), len(rows))
    labels = LabelTensors(targets, None, None)
    return train(state, rows, labels, options, **{**settings, **changes})
