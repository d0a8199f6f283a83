from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from skdisentangle.distributed import ALONE, Part
from skdisentangle.fitting import steps
from skdisentangle.fitting.steps import (
    EPS,
    VARIANCE_FLOOR,
    TrainingState,
    _descend,
    standardise,
    step,
    through_standardisation,
)
from skdisentangle.rows.batches import LabelTensors
from skdisentangle.solvers.proximal import augment, proximal_steps
from skdisentangle.tasks.blocks import Block, loss_values

from ..small_fits import BLOCKS, make


def test_weighted_standardisation_is_that_of_repeated_rows():
    rows, _, _, state = make(n_rows=10)
    repeats = torch.arange(1, 11)
    weights = repeats.double() / repeats.double().mean()
    once, _ = standardise(rows @ torch.ones(3, 4).double(), state, weights)
    many = rows.repeat_interleave(repeats, dim=0)
    _, _, _, other = make(n_rows=10)
    all_rows, _ = standardise(many @ torch.ones(3, 4).double(), other, None)
    torch.testing.assert_close(once.repeat_interleave(repeats, dim=0), all_rows)


@pytest.mark.parametrize("part", [None, Part(ALONE, 12)])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_through_standardisation_is_that_of_autograd(weighted, part):
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(12, 4, generator=generator, dtype=torch.float64) * 3 + 1
    slope = torch.randn(12, 4, generator=generator, dtype=torch.float64)
    weights = 1 + torch.arange(12).double() if weighted else None
    share = torch.ones(12).double() if weights is None else weights
    share = (share / share.sum()).unsqueeze(1)
    leaf = raw.clone().requires_grad_()
    centred = leaf - (share * leaf).sum(0)
    expected = centred * ((share * centred.square()).sum(0) + EPS).rsqrt()
    expected.backward(slope)
    codes, scale = standardise(raw, make()[3], weights, part)
    torch.testing.assert_close(codes, expected.detach())
    found = through_standardisation(slope, codes, scale, weights, part)
    torch.testing.assert_close(found, leaf.grad)


@pytest.mark.parametrize("missing", [False, True])
def test_a_step_moves_the_body_down_the_loss_of_the_new_heads(missing, monkeypatch):
    """The gradient of the body is that of the weighted mean loss, heads held fixed."""
    rows, targets, options, state = make()
    state.theta = torch.randn(4, 5, generator=torch.Generator().manual_seed(2)).double()
    weights = None
    if missing:
        weights = 2.0 * (torch.arange(len(rows)) % 2).double().unsqueeze(1)
        weights = weights.expand(-1, 4).contiguous()
    held = []

    def keep(optimizer):
        held.extend(p.grad.clone() for p in optimizer.param_groups[0]["params"])

    monkeypatch.setattr(steps, "_descend", keep)
    step(
        state,
        rows,
        LabelTensors(targets, weights, None),
        torch.full((4, 5), 0.01).double(),
        options,
    )
    outer = options.task_weights.clone()
    outer[:2] /= state.variance + VARIANCE_FLOOR
    raw = state.body(rows)
    codes = (raw - raw.mean(0)) * (raw.var(0, correction=0) + EPS).rsqrt()
    values = loss_values(augment(codes) @ state.theta.T, targets, BLOCKS)
    if weights is not None:
        values = values * weights
    parameters = list(state.body.parameters())
    expected = torch.autograd.grad((values.mean(0) * outer).sum(), parameters)
    for gradient_found, gradient_expected in zip(held, expected, strict=True):
        torch.testing.assert_close(gradient_found, gradient_expected)


@pytest.mark.parametrize("part", [None, Part(ALONE, 200)])
@pytest.mark.parametrize("tasks", ["mixed", "classes"])
@pytest.mark.parametrize("n_steps", [1, 2])
def test_the_heads_of_a_step_are_those_of_the_solver(n_steps, tasks, part):
    rows, targets, options, state = make()
    if tasks == "classes":
        blocks = (Block("binary", slice(0, 2), slice(0, 2)),)
        options = replace(
            options,
            blocks=blocks,
            spread=options.spread[2:],
            task_weights=options.task_weights[2:],
        )
        theta = torch.zeros(2, 5, dtype=torch.float64)
        targets, state = targets[:, 2:], TrainingState.start(state.body, theta, options)
    l1 = torch.full_like(state.theta, 0.01)
    with torch.no_grad():
        codes, _ = standardise(state.body(rows), state, None)
    known = LabelTensors(targets, None, None)
    state.inner_steps = n_steps
    expected = proximal_steps(
        state.theta, augment(codes), targets, None, options.blocks, l1, n_steps
    )
    step(state, rows, known, l1, options, part)
    assert expected.abs().amax() > 0.05
    torch.testing.assert_close(state.theta, expected)


def test_descent_is_that_of_the_optimiser():
    """Also of a parameter that starts anew, and beside one without a gradient."""
    ends = []
    for step_of in (_descend, torch.optim.Adam.step):
        parameters = [torch.nn.Parameter(torch.ones(3) * (i + 1)) for i in range(3)]
        optimizer = torch.optim.Adam(parameters, lr=0.1, eps=1e-6, fused=True)
        for number in range(6):
            if number == 3:
                optimizer.state.pop(parameters[0])
            for parameter in parameters[:2]:
                parameter.grad = torch.arange(3.0) - number
            step_of(optimizer)
            assert step_of is torch.optim.Adam.step or parameters[0].grad is None
            optimizer.zero_grad()
        ends.append([p.detach() for p in parameters])
    torch.testing.assert_close(*ends, rtol=0, atol=0)
