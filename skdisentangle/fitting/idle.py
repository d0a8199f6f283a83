"""Heads of tasks of weight zero, on components that have been learned without them.

Such a task is no part of the training. It would else have a say in the noise, in the choice
of the basis, in which components are in use, and in when the fit ends. At the end its head is
solved for like those of the other tasks, but without ``sharing``: it uses what these share.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..rows.batches import LabelRows, Rows
from ..rows.targets import Counts
from ..tasks.task_set import TaskSet
from .all_rows import finish, intercepts_alone
from .problem import Fitted
from .steps import EPS, TrainingOptions, TrainingState

__all__ = ["with_idle_tasks"]


def with_idle_tasks(
    fitted: Fitted,
    tasks: TaskSet,
    rows: Rows,
    labels: LabelRows,
    counts: Counts,
    options: TrainingOptions,
    *,
    seed: int,
) -> Fitted:
    """Add heads of tasks of weight zero to a fit.

    Parameters
    ----------
    fitted : Fitted
        Learned without them.
    tasks : TaskSet
        In which only they are learned.
    rows : Rows
        Standardised inputs, those of this rank.
    labels : LabelRows
    counts : Counts
        How many rows and labels there are.
    options : TrainingOptions
        Those of the fit, for these tasks and without sharing.
    seed : int
        Of the noise on the rows.

    Returns
    -------
    Fitted
    """
    like = options.spread
    encoder = fitted.encoder
    # A module of the user's may not be made to be copied: it is moved there, and back.
    body = nn.Sequential(encoder.body, copy.deepcopy(encoder.components))
    n_components = len(encoder.components.sign)
    theta = like.new_zeros(tasks.n_outputs, n_components + 1)
    state = TrainingState.start(body.to(like.device, like.dtype), theta, options)
    state.input_noise, state.nonlinear_noise = (
        fitted.input_noise,
        fitted.nonlinear_noise,
    )
    state.n_labels = torch.from_numpy(counts.labels).to(like).clamp_min(1)
    if n_components:
        finish(state, rows, labels, options, n_rows=counts.rows, seed=seed)
    else:
        state.theta[:, -1] = intercepts_alone(theta, labels, options)
    encoder.body.cpu().double()
    pull = torch.zeros_like(theta[:, :-1]) if state.pull is None else state.pull
    # As coefficients of the components as they come out of the encoder.
    scale = (state.var + EPS).rsqrt()
    coef = state.theta[:, :-1] * scale
    intercept = state.theta[:, -1] - coef @ state.mean
    mean, unit = tasks.output_units()

    def in_order(values: Tensor) -> NDArray[np.float64]:
        found: NDArray[np.float64] = values.double().cpu().numpy()
        return found[tasks.output_order]

    heads = replace(
        fitted,
        task_set=tasks.with_thresholds(state.thresholds),
        spread=like.double().cpu().numpy(),
        coef=in_order(coef) * unit[:, None] + 0.0,
        intercept=in_order(intercept) * unit + mean,
        pull=in_order(pull / scale) * unit[:, None],
    )
    return fitted.over(fitted.task_set.joined(heads.task_set), heads)
