from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest
import torch

from skdisentangle import steps, training
from skdisentangle.basis import Basis
from skdisentangle.distributed import ALONE, Part
from skdisentangle.losses import Block, loss_values
from skdisentangle.penalties import MANY_LABELS
from skdisentangle.rows import LabelTensors, split_batches
from skdisentangle.solvers import augment, gradient, optimality_gap, pad_weights
from skdisentangle.steps import (
    EPS,
    VARIANCE_FLOOR,
    TrainingOptions,
    TrainingState,
    _descend,
    standardise,
    step,
    through_standardisation,
)
from skdisentangle.training import (
    _gathered,
    _has_settled,
    change_basis,
    finish,
    threads,
    train,
)

BLOCKS = (
    Block("regression", slice(0, 2), slice(0, 2)),
    Block("binary", slice(2, 4), slice(2, 4)),
)


def make(seed=0, n_rows=200, sparsity=0.02, sharing=0.05, reweighted=True):
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
        reweighted=reweighted,
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
    labels = LabelTensors(targets, None, None)
    return train(state, rows, labels, options, **{**settings, **changes})


def test_finish_standardises_and_solves():
    rows, targets, options, state = make(sharing=0.0, reweighted=False)
    fit(rows, targets, options, state, max_iter=50)
    finish(state, rows, LabelTensors(targets, None, None), options)
    raw = state.body(rows).detach()
    torch.testing.assert_close(raw.mean(0), state.mean)
    torch.testing.assert_close(raw.var(0, correction=0), state.var)
    codes = augment((raw - state.mean) * (state.var + EPS).rsqrt())
    slope = gradient(state.theta, codes, targets, None, BLOCKS)
    few = (MANY_LABELS / len(rows)) ** 0.5  # every task has that few labels
    l1 = (few * options.sparsity * options.spread).unsqueeze(1).expand(4, 4)
    assert (
        float(optimality_gap(state.theta, slope, pad_weights(l1, BLOCKS)).max()) < 1e-3
    )
    assert (state.theta[:, :-1] == 0).any()


@pytest.mark.parametrize(("value", "noise"), [(0.0, 0.0), (3.0, 0.0), (0.0, 1e-30)])
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
        patched.setattr(training, "uncorrelated_basis", lambda *_: None)
        finish(state, rows, labels, options)
    ends = state.theta.clone(), state.body[0].weight.detach().clone()
    turn = torch.linalg.qr(
        torch.randn(4, 4, generator=torch.Generator().manual_seed(1))
    )

    def any_rotation(coef, correlation):
        transform = turn.Q.double()
        return Basis(transform, coef @ torch.linalg.inv(transform).T)

    monkeypatch.setattr(training, "uncorrelated_basis", any_rotation)
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


def test_loss_falls_and_supports_are_found():
    rows, targets, options, state = make()
    history = fit(rows, targets, options, state)
    finish(state, rows, LabelTensors(targets, None, None), options)
    assert history.losses[-1] < 0.3 * history.losses[0]
    used = state.theta[:, :-1] != 0
    assert used.sum(1).tolist() == [1, 1, 1, 1]
    # tasks 0 and 2 are about the same column, and share a component
    assert torch.equal(used[0], used[2])
    assert int(used.any(0).sum()) == 3


def test_same_seed_same_bits():
    heads = []
    for _ in range(2):
        rows, targets, options, state = make()
        fit(rows, targets, options, state, batch_size=32, max_iter=20)
        heads.append(state.theta)
    assert torch.equal(*heads)


def test_weighted_standardisation_is_that_of_repeated_rows():
    rows, _, _, state = make(n_rows=10)
    repeats = torch.arange(1, 11)
    weights = repeats.double() / repeats.double().mean()
    once, _ = standardise(rows @ torch.ones(3, 4).double(), state, weights)
    many = rows.repeat_interleave(repeats, dim=0)
    _, _, _, other = make(n_rows=10)
    all_rows, _ = standardise(many @ torch.ones(3, 4).double(), other, None)
    torch.testing.assert_close(once.repeat_interleave(repeats, dim=0), all_rows)


def test_plateaus_end_a_fit_early():
    rows, targets, options, state = make()
    history = fit(rows, targets, options, state, n_iter_no_change=5, tol=0.5)
    assert len(history.losses) < 40
    assert history.converged


def test_a_short_fit_has_not_converged():
    rows, targets, options, state = make()
    assert not fit(rows, targets, options, state, max_iter=3).converged


def test_the_best_state_is_restored():
    rows, targets, options, state = make()
    seen = []

    def validate(state):
        # best in the last third, in the epoch after which it gets worse
        seen.append(state.theta.clone())
        return 1.0 if len(seen) == 25 else 0.0

    fit(rows, targets, options, state, max_iter=30, validate=validate)
    assert torch.equal(state.theta, seen[24])


def test_a_validation_plateau_ends_the_last_stage():
    """Not before: a score of the first stages does not say how the last one goes."""
    rows, targets, options, state = make()
    number = count()
    history = fit(
        rows,
        targets,
        options,
        state,
        max_iter=90,
        n_iter_no_change=4,
        tol=-10.0,  # every loss counts as better, so that no stage is cut short
        validate=lambda state: -100.0 * next(number),
    )
    assert len(history.scores) == len(history.losses)
    assert 60 < len(history.losses) < 70


def test_an_interrupt_leaves_the_model_so_far():
    rows, targets, options, state = make()

    def stop(epoch, loss, score):
        if epoch == 4:
            raise KeyboardInterrupt
        return False

    history = fit(rows, targets, options, state, on_epoch=stop)
    assert history.interrupted
    assert len(history.losses) == 4
    assert state.theta.any()


def test_no_penalty_before_the_encoder_has_seen_the_tasks():
    """What no task uses gets no gradient: nothing is switched off in the first sixth."""
    rows, targets, options, state = make(sparsity=10.0)
    fit(rows, targets, options, state, on_epoch=lambda e, *_: e == 50)
    assert torch.all(state.theta[:, :-1] != 0)
    rows, targets, options, state = make(sparsity=10.0)
    fit(rows, targets, options, state, on_epoch=lambda e, *_: e == 60)
    assert not state.theta[:, :-1].any()


def test_on_epoch_can_end_the_fit():
    rows, targets, options, state = make()
    history = fit(rows, targets, options, state, on_epoch=lambda e, *_: e == 7)
    assert len(history.losses) == 7


def test_statistics_of_parts_are_those_of_all_rows(monkeypatch):
    ends = []
    weights = torch.arange(200).double() % 3 + 0.5
    for part_values in (training.PART_VALUES, 4 * 70):
        monkeypatch.setattr(training, "PART_VALUES", part_values)
        rows, targets, options, state = make()
        finish(state, rows, LabelTensors(targets, None, weights), options)
        ends.append((state.mean, state.var, state.theta))
    torch.testing.assert_close(*ends)


@pytest.mark.parametrize(
    ("n_rows", "size"), [(10, 3), (9, 2), (3, 2), (2, 2), (5, 100)]
)
def test_no_batch_of_one_row(n_rows, size):
    batches = split_batches(torch.arange(n_rows), size)
    assert torch.equal(torch.cat(batches), torch.arange(n_rows))
    assert min(len(batch) for batch in batches) >= 2
    assert max(len(batch) for batch in batches) <= size + 1


def test_threads_are_put_back_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="boom"), threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise RuntimeError("boom")
    assert torch.get_num_threads() == before


def test_labels_follow_any_order_of_rows():
    labels = LabelTensors(torch.arange(6.0).view(3, 2), None, torch.arange(3.0))
    turned = labels[torch.tensor([2, 0, 1])]
    assert turned.targets[:, 0].tolist() == [4, 0, 2]
    assert turned.row_weights.tolist() == [2, 0, 1]


def test_what_counts_as_settled():
    falling = [1 / epoch for epoch in range(1, 41)]
    assert not _has_settled([1.0, 0.5, 0.5, 0.5], 1e-4, 10)
    assert _has_settled([*falling, *[falling[-1]] * 10], 1e-4, 10)
    assert not _has_settled([1.0] * 18 + [0.5, 0.3], 1e-4, 10)
    assert _has_settled([1.0, 0.6] + [0.5] * 18, 1e-4, 10)


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


@pytest.mark.parametrize("at_once", [2**21, 400])
def test_labels_are_counted_without_repeats(at_once, monkeypatch):
    monkeypatch.setattr(training, "LABELS_AT_ONCE", at_once)
    rows, targets, options, state = make()
    twice = torch.cat([rows, rows])
    weights = torch.ones(len(twice), 4, dtype=rows.dtype)
    weights[5:, 1] = 0
    labels = LabelTensors(torch.cat([targets, targets]), weights, None)
    train(
        state,
        twice,
        labels,
        options,
        batch_size=len(twice),
        max_iter=1,
        tol=0.0,
        n_iter_no_change=1,
        generator=torch.Generator(),
    )
    assert state.n_labels.tolist() == [len(rows), 5, len(rows), len(rows)]


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
        torch.Generator(),
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


def test_gradients_that_a_module_comes_with_do_not_count():
    ends = []
    for stale in (False, True):
        rows, targets, options, state = make()
        if stale:
            state.body(rows).sum().backward()
            state = TrainingState.start(state.body, state.theta, options)
        fit(rows, targets, options, state, max_iter=3)
        ends.append(state.body[-1].weight.detach())
    assert torch.equal(*ends)


@pytest.mark.parametrize("n_rows", [10, 9000])
def test_batches_are_gathered_as_they_are_drawn(n_rows):
    rows = torch.arange(2.0 * n_rows).view(n_rows, 2)
    labels = LabelTensors(rows + 1, rows + 2, rows[:, 0])
    order = torch.randperm(n_rows, generator=torch.Generator().manual_seed(0))
    batches = split_batches(order, 250)
    seen = list(_gathered(rows, labels, batches))
    assert len(seen) == len(batches)
    for (part, told), index in zip(seen, batches, strict=True):
        assert torch.equal(part, rows[index])
        assert torch.equal(told.targets, labels.targets[index])
        assert torch.equal(told.weights, labels.weights[index])
        assert torch.equal(told.row_weights, labels.row_weights[index])
