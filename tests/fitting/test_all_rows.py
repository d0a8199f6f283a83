from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from skdisentangle.fitting import all_rows
from skdisentangle.fitting.all_rows import _solve_all, change_basis, finish
from skdisentangle.fitting.steps import (
    EPS,
    TrainingOptions,
    TrainingState,
)
from skdisentangle.rows.batches import LabelTensors
from skdisentangle.solvers import exact_heads
from skdisentangle.solvers.basis import Basis
from skdisentangle.solvers.penalties import MANY_LABELS, RIDGE_C, penalty_weights
from skdisentangle.solvers.proximal import (
    augment,
    gradient,
    optimality_gap,
    pad_weights,
)
from skdisentangle.tasks.blocks import Block

from ..small_fits import BLOCKS, fit, make


def test_finish_standardises_and_solves(monkeypatch):
    """Under a plain L1 penalty, whose optimum has simple conditions."""

    def plain(*args, reweighted, **options):
        return penalty_weights(*args, reweighted=False, **options)

    monkeypatch.setattr(exact_heads, "penalty_weights", plain)
    rows, targets, options, state = make(sharing=0.0)
    fit(rows, targets, options, state, max_iter=50)
    finish(state, rows, LabelTensors(targets, None, None), options)
    raw = state.body(rows).detach()
    torch.testing.assert_close(raw.mean(0), state.mean)
    torch.testing.assert_close(raw.var(0, correction=0), state.var)
    codes = augment((raw - state.mean) * (state.var + EPS).rsqrt())
    slope = gradient(state.theta, codes, targets, None, BLOCKS)
    slope[2:, :-1] += state.theta[2:, :-1] / (RIDGE_C * len(rows))
    few = (MANY_LABELS / len(rows)) ** 0.5  # every task has that few labels
    l1 = (few * options.sparsity * options.spread).unsqueeze(1).expand(4, 4)
    assert (
        float(optimality_gap(state.theta, slope, pad_weights(l1, BLOCKS)).max()) < 1e-3
    )
    assert (state.theta[:, :-1] == 0).any()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_heads_of_classes_told_apart_are_those_of_a_logistic_regression(n_classes):
    """Without the ridge they would have no optimum: all penalties are off where it counts."""
    rows, _, options, state = make(sparsity=1e-4, sharing=0.0)
    truth = (rows[:, 0] > 0).double() + (rows[:, 0] > 1) * (n_classes > 2)
    targets = torch.stack([truth, truth], dim=1)
    kind, width = ("binary", 1) if n_classes == 2 else ("multiclass", n_classes)
    blocks = (Block(kind, slice(0, 2), slice(0, 2 * width), width),)
    options = replace(
        options,
        blocks=blocks,
        spread=torch.full((2 * width,), 0.5, dtype=torch.float64),
        task_weights=torch.full((2 * width,), 0.5, dtype=torch.float64),
    )
    theta = torch.zeros(2 * width, 5, dtype=torch.float64)
    state = TrainingState.start(state.body, theta, options)
    fit(rows, targets, options, state, max_iter=30)
    finish(state, rows, LabelTensors(targets, None, None), options)
    raw = state.body(rows).detach()
    codes = ((raw - state.mean) * (state.var + EPS).rsqrt()).numpy()
    used = (state.theta[:, :-1] != 0).any(0).numpy()
    reference = LogisticRegression(C=RIDGE_C, tol=1e-8, max_iter=10_000)
    reference.fit(codes[:, used], truth)
    own = state.theta[:width].numpy()
    scores = codes @ own[:, :-1].T + own[:, -1]
    expected = reference.decision_function(codes[:, used])
    expected = expected[:, None] if n_classes == 2 else expected
    if n_classes > 2:
        scores -= scores.mean(1, keepdims=True)
        expected -= expected.mean(1, keepdims=True)
    np.testing.assert_allclose(scores, expected, atol=0.005 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("value", "noise"), [(0.0, 0.0), (3.0, 0.0), (0.0, 1e-30), (0.0, 1e-12)]
)
@pytest.mark.parametrize("sparsity", [0.0, 0.02])
def test_no_head_is_on_a_component_that_does_not_vary(value, noise, sparsity):
    """Its coefficients had been large before it died."""
    rows, targets, options, state = make(sharing=0.0, sparsity=sparsity)
    with torch.no_grad():
        state.body[0].weight[1] = noise
        state.body[0].bias[1] = value
    state.theta[:, 1] = 10.0
    finish(state, rows, LabelTensors(targets, None, None), options)
    assert (state.theta[:, 1] == 0).all()
    assert (state.theta[:, [0, 2, 3]] != 0).any(0).all()


def test_a_turn_out_of_mixed_components():
    """Two components, each half of two tasks: one turn leaves each task with one."""
    rows, _, options, state = make()
    turn = torch.eye(4, dtype=torch.float64)
    turn[:2, :2] = torch.tensor([[1.0, 1.0], [-1.0, 1.0]]) / 2**0.5
    layer = state.body[-1]
    with torch.no_grad():
        layer.weight.copy_(turn @ torch.eye(4, 3, dtype=torch.float64))
        layer.bias.fill_(0.3)
    raw = layer(rows).detach()
    state.mean, state.var = raw.mean(0), raw.var(0, correction=0) - EPS
    state.var[3] = 1.0
    state.theta[0, :2] = turn[:2, 0]
    state.theta[1, :2] = turn[:2, 1]

    def scores():
        codes = (layer(rows).detach() - state.mean) * (state.var + EPS).rsqrt()
        return augment(codes) @ state.theta.T

    labels = LabelTensors(torch.zeros(len(rows), 4, dtype=torch.float64), None, None)
    before = scores()
    assert change_basis(state, rows, labels, options, first=False)
    assert (state.theta[:2, :2].abs() > 1e-6).sum() == 2
    torch.testing.assert_close(scores(), before, rtol=1e-4, atol=1e-4)
    assert not change_basis(state, rows, labels, options, first=False)


def test_weights_of_rows_count_in_the_choice_of_a_basis():
    """As if rows were repeated."""
    ends = []
    for repeated in (True, False):
        rows, targets, options, state = make()
        weights = 1 + torch.arange(len(rows)).double() % 3
        if repeated:
            often = weights.long()
            rows = rows.repeat_interleave(often, dim=0)
            labels = LabelTensors(targets.repeat_interleave(often, dim=0), None, None)
        else:
            weights = weights / weights.mean()
            each = weights.unsqueeze(1).expand_as(targets)
            labels = LabelTensors(targets, each, weights)
        assert change_basis(state, rows, labels, options, first=True)
        ends.append((state.theta, state.body[-1].weight.detach()))
    torch.testing.assert_close(ends[0], ends[1])


def mixed_pair(rho):
    """Few tasks of three columns; the first component is a mixture of two, near the end."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(2000, 4, generator=generator, dtype=torch.float64)
    rows = (1 - rho) ** 0.5 * drawn[:, :3] + rho**0.5 * drawn[:, 3:]
    coef = torch.tensor(
        [[1, 0.6, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1], [1, 0, 1]]
    ).double()
    options = replace(
        make()[2],
        blocks=(Block("regression", slice(0, 6), slice(0, 6)),),
        spread=torch.ones(6, dtype=torch.float64),
        task_weights=torch.full((6,), 1 / 6, dtype=torch.float64),
    )
    layer = torch.nn.Linear(3, 4).double()
    with torch.no_grad():
        layer.weight.copy_(torch.eye(4, 3))
        layer.weight[0, 1] = 0.6
        layer.bias.zero_()
    theta = torch.zeros(6, 5, dtype=torch.float64)
    theta[:, :3] = coef @ torch.linalg.inv(layer.weight[:3].detach())
    state = TrainingState.start(torch.nn.Sequential(layer), theta, options)
    state.based = True
    return rows, LabelTensors(rows @ coef.T, None, None), options, state


@pytest.mark.parametrize(("rho", "found"), [(0.0, True), (0.5, False)])
def test_at_the_end_uncorrelated_components_are_looked_for(rho, found):
    rows, labels, options, state = mixed_pair(rho)
    before = state.body[0].weight.detach().clone()
    finish(state, rows, labels, options)
    raw = state.body(rows).detach()[:, (state.theta[:, :-1] != 0).any(0)]
    assert raw.shape[1] == 3
    both = torch.corrcoef(torch.cat([rows, raw], dim=1).T)[:3, 3:].abs()
    assert bool(both.max(1).values.min() > 0.99) == found
    assert torch.equal(before, state.body[0].weight) != found


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_what_exact_heads_do_not_bear_out_is_taken_back(rho, monkeypatch):
    """A basis that looks sparse by heads with errors."""
    rows, labels, options, state = mixed_pair(rho)
    with monkeypatch.context() as patched:
        patched.setattr(all_rows, "uncorrelated_basis", lambda *_: None)
        finish(state, rows, labels, options)
    ends = state.theta.clone(), state.body[0].weight.detach().clone()
    turn = torch.linalg.qr(
        torch.randn(4, 4, generator=torch.Generator().manual_seed(1))
    )

    def any_rotation(coef, correlation):
        transform = turn.Q.double()
        return Basis(transform, coef @ torch.linalg.inv(transform).T)

    monkeypatch.setattr(all_rows, "uncorrelated_basis", any_rotation)
    finish(state, rows, labels, options)
    torch.testing.assert_close(state.theta, ends[0])
    assert torch.equal(state.body[0].weight, ends[1])


def test_no_basis_is_chosen_without_penalties_or_a_last_linear_layer():
    rows, targets, options, state = make(sparsity=0.0, sharing=0.0)
    state.theta[:, :-1] = 1.0
    labels = LabelTensors(targets, None, None)
    assert not change_basis(state, rows, labels, options, first=True)
    rows, targets, options, state = make()
    state.theta[:, :-1] = 1.0
    state.body.append(torch.nn.Tanh())
    assert not change_basis(state, rows, labels, options, first=True)
    assert not state.based


def test_statistics_of_parts_are_those_of_all_rows(monkeypatch):
    ends = []
    weights = torch.arange(200).double() % 3 + 0.5
    for part_values in (all_rows.PART_VALUES, 4 * 70):
        monkeypatch.setattr(all_rows, "PART_VALUES", part_values)
        rows, targets, options, state = make()
        finish(state, rows, LabelTensors(targets, None, weights), options)
        ends.append((state.mean, state.var, state.theta))
    torch.testing.assert_close(*ends)


def test_tasks_with_few_labels_keep_no_coefficient_of_noise():
    """Random labels: a threshold that does not follow their number lets noise through."""
    rows, _, options, state = make()
    targets = torch.randn(
        len(rows), 4, generator=torch.Generator().manual_seed(3), dtype=rows.dtype
    )
    targets[:, 2:] = (targets[:, 2:] > 0).to(rows)
    weights = torch.ones_like(targets)
    weights[50:, ::2] = 0  # of each type one task with a quarter of the labels
    labels = LabelTensors(targets, weights / weights.mean(0), None)
    state.n_labels = (weights > 0).sum(0).to(rows)
    with_few = replace(options, sparsity=0.03, sharing=0.0)
    finish(state, rows, labels, with_few)
    kept = (state.theta[:, :-1] != 0).sum(1)
    state.n_labels = None
    finish(state, rows, labels, with_few)
    without = (state.theta[:, :-1] != 0).sum(1)
    assert kept.sum() < without.sum()
    assert kept.sum() <= 4


@pytest.mark.parametrize(("amount", "n_left"), [(0.3, 2), (0.6, 3)])
def test_a_square_is_left_out_if_tasks_can_do_without(amount, n_left):
    """Three classes by noisy cuts; a regression needs the square a little, or much."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(3000, 2, generator=generator, dtype=torch.float64)
    factors[:, 1] = 0.8 * factors[:, 0] + 0.6 * factors[:, 1]
    square = factors.sum(1).square() / 5
    rows = torch.cat([factors, square.unsqueeze(1)], dim=1)
    values = factors @ torch.randn(2, 12, generator=generator, dtype=torch.float64)
    values[:, :8] = factors.repeat(1, 4)
    values /= values.std(0)
    values += 0.1 * torch.randn(3000, 12, generator=generator, dtype=torch.float64)
    classes = (values > -0.43).double() + (values > 0.43)
    wanted = factors[:, 0] + amount * square
    wanted = (wanted - wanted.mean()) / wanted.std(correction=0)
    targets = torch.cat([wanted.unsqueeze(1), classes], dim=1)
    blocks = (
        Block("regression", slice(0, 1), slice(0, 1)),
        Block("multiclass", slice(1, 13), slice(1, 37), 3),
    )
    options = TrainingOptions(
        blocks=blocks,
        sparsity=0.01,
        sharing=0.01,
        learning_rate=0.01,
        spread=torch.tensor([1.0] + 36 * [0.47], dtype=torch.float64),
        task_weights=torch.full((37,), 1 / 13, dtype=torch.float64),
    )
    body = torch.nn.Linear(3, 3).double()
    with torch.no_grad():
        body.weight.copy_(
            torch.tensor([[1.0, -0.5, 0.1], [0.3, 1, -0.1], [0.5, 0, 0.3]])
        )
    theta = torch.zeros(37, 4, dtype=torch.float64)
    state = TrainingState.start(body, theta, options)
    labels = LabelTensors(targets, None, None)
    raw = body(rows).detach()
    codes = (raw - raw.mean(0)) / raw.std(0, correction=0)
    for _ in range(5):  # as in a fit, heads are near their optimum
        _solve_all(state, codes, labels, options, penalised=False)
    assert change_basis(state, rows, labels, options, first=True)
    used = state.theta[:, :-1].any(0)
    assert int(used.sum()) == n_left
    raw = body(rows).detach()[:, used]
    match = torch.corrcoef(torch.cat([factors, raw], 1).T)[:2, 2:].abs()
    assert float(match.amax(1).min()) > 0.99
