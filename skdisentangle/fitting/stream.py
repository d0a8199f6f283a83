"""A fit in pieces: each call of ``partial_fit`` is one pass over the rows that it brings."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import Any

import torch

from .._random import RandomState, check_rng
from ..encoders.networks import seeded
from ..rows.inputs import standardised_rows
from ..rows.targets import encode_labels
from ..validation import noise_sizes, torch_device
from .fit import (
    Setup,
    budget,
    columns_in_use,
    fitted_from,
    input_scaler,
    training_options,
)
from .problem import Fitted, Problem, Settings
from .steps import EPS, TrainingOptions, TrainingState
from .training import PARTIAL_FIT_STEPS, train_pass

__all__ = ["fit_more", "resumed"]

#: Steps that a fit counts for where a stream, or a backbone, goes on from it.
RESUMED_STEPS = 10 * PARTIAL_FIT_STEPS


def fit_more(
    problem: Problem,
    settings: Settings,
    random_state: RandomState,
    *,
    before: Fitted | None = None,
    state: TrainingState | None = None,
    classes: Any = None,
) -> tuple[Fitted, TrainingState]:
    """One pass over some rows.

    Parameters
    ----------
    problem : Problem
    settings : Settings
    random_state : int, RandomState instance or None
    before : Fitted, optional
        What has been learned by now, by passes or by a fit.
    state : TrainingState, optional
        Where the last pass ended; None after a fit. It is not changed.
    classes : list of (array-like or None), optional
        All classes of each task, for the first pass.

    Returns
    -------
    Fitted, TrainingState
    """
    rng = check_rng(random_state)
    seeds = rng.randint(2**31 - 1, size=3)
    body_seed, order_seed, noise_seed = map(int, seeds)
    if before is None:
        setup = Setup.new(problem, settings, body_seed, classes=classes)
    else:
        setup = _seen(before, problem, settings)
    task_set = setup.task_set
    balanced = settings.class_weight == "balanced"
    encoded = encode_labels(task_set, problem.labels, problem.weight, balanced)
    spread = encoded.spread(task_set) if before is None else before.spread
    like = torch.empty(0, dtype=torch.float32, device=torch_device(settings.device))
    width = torch.from_numpy(spread).to(like)
    noise = 0.0, 0.0  # on a stream it is not known how few the rows will be
    if settings.input_noise != "auto":
        noise = noise_sizes(settings.input_noise)
    elif before is not None:
        noise = before.input_noise, before.nonlinear_noise
    options = training_options(settings, task_set, width)
    if state is not None:
        state = copy.deepcopy(
            state
        )  # a pass that is cut short leaves nothing half done
    elif before is None:
        state = setup.begin(like, options)
    else:
        state = resumed(setup, before, like, options)
    options = options.at(state)
    state.set_noise(*noise)
    seen = torch.from_numpy(encoded.counts(slice(None)).labels).to(like)
    batch_size, _ = budget(problem.n_rows, settings)
    own_noise = isinstance(settings.encoder, str)
    with nullcontext() if own_noise else seeded(noise_seed):
        loss = train_pass(
            state,
            standardised_rows(problem.X, setup.inputs, like),
            encoded.tensors(slice(None), like),
            options,
            batch_size=batch_size,
            generator=torch.Generator().manual_seed(
                (order_seed + state.n_steps) % 2**31
            ),
            n_labels=seen,
        )
    if state.columns is None and state.settled:
        state.columns, state.signs = columns_in_use(
            state, task_set.blocks, penalised=settings.penalised
        )
    fitted = fitted_from(copy.deepcopy(state), setup, settings, width, fixed=True)
    fitted.losses = (
        [loss] if state is None or before is None else [*before.losses, loss]
    )
    return fitted, state


def _seen(before: Fitted, problem: Problem, settings: Settings) -> Setup:
    """Tasks and body of the last pass; scales of the columns with these rows, too."""
    before.task_set.check(problem.labels)
    moments = copy.copy(before.moments)
    moments.update(problem.X, problem.weights())
    n_rows = before.n_rows + problem.n_rows
    inputs = input_scaler(moments, n_rows, settings)
    width = len(before.encoder.components.mean)
    body = before.encoder.body
    return Setup(before.task_set, moments, n_rows, inputs, body, width, before)


def resumed(
    setup: Setup, before: Fitted, like: torch.Tensor, options: TrainingOptions
) -> TrainingState:
    """State after a fit, of which no pass was the last: in the last stage of a stream."""
    setup.body = copy.deepcopy(before.encoder.body)
    state = setup.begin(like, options)
    components = before.encoder.components
    state.mean = components.mean.to(like)
    state.var = (components.scale.pow(-2) - EPS).to(like)
    state.n_steps = RESUMED_STEPS
    state.based = options.sparsity > 0 or options.sharing > 0
    state.columns, state.signs = components.order, components.sign
    state.settled = True
    return state
