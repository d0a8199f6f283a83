"""Steps and formulas of the inner solver, on problems of each task type."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, logsumexp, softmax

from skdisentangle.solvers import proximal as solvers
from skdisentangle.solvers.penalties import soft_threshold
from skdisentangle.solvers.proximal import (
    augment,
    curvature,
    gradient,
    objective,
    optimality_gap,
    pad_weights,
    proximal_steps,
    standard_errors,
)
from skdisentangle.tasks.blocks import Block
from tests.head_problems import (
    MIXED,
    make_codes,
    make_mixed,
    outputs_of_tasks,
)


@pytest.mark.parametrize("how", ["all", "both"])
def test_objective_and_gradient_by_hand(how):
    codes, targets, weights, _ = make_mixed(how)
    rng = np.random.default_rng(11)
    theta = torch.from_numpy(rng.normal(size=(14, 6))).requires_grad_()
    l1 = rng.uniform(0.0, 0.5, size=(14, 5))
    rows, padded = augment(codes), pad_weights(torch.from_numpy(l1), MIXED)
    found = objective(theta.detach(), rows, targets, weights, MIXED, padded)
    smooth = objective(theta, rows, targets, weights, MIXED, torch.zeros_like(padded))
    smooth.sum().backward()
    slope = gradient(theta.detach(), rows, targets, weights, MIXED)
    torch.testing.assert_close(slope, theta.grad)

    heads, codes = theta.detach().numpy(), codes.numpy()
    for task, (kind, outputs) in enumerate(outputs_of_tasks()):
        coef, truth = heads[outputs, :-1], targets[:, task].numpy()
        score = codes @ coef.T + heads[outputs, -1]
        if kind == "regression":
            loss = (score[:, 0] - truth) ** 2 / 2
        elif kind == "binary":
            loss = -np.log(expit(np.where(truth == 1, 1, -1) * score[:, 0]))
        else:
            picked = score[np.arange(len(score)), truth.astype(int)]
            loss = logsumexp(score, axis=1) - picked
        if weights is not None:
            loss = loss * weights[:, task].numpy()
        penalty = (l1[outputs] * np.abs(coef)).sum() / len(coef)
        assert float(found[task]) == pytest.approx(loss.mean() + penalty)


def test_optimality_gap_by_hand():
    theta = torch.tensor([[0.0, 2.0, 0.0], [-1.0, 0.0, 3.0], [0.0, 0.0, 1.0]])
    slope = torch.tensor([[-0.5, -0.2, 0.1], [0.1, -0.3, 0.0], [0.2, -0.2, 0.0]])
    l1 = torch.tensor([[0.2, 0.2, 0.0], [0.2, 0.1, 0.0], [0.2, 0.3, 0.0]])
    # 0.3 by a zero that should not be one; 0.2 by an entry that the slope moves too little.
    gap = optimality_gap(theta, slope, l1)
    assert gap.tolist() == pytest.approx([0.3, 0.2, 0.0])
    slope[1, 0] = 0.5  # away from the 0.2 that balances the penalty
    assert optimality_gap(theta, slope, l1).tolist() == pytest.approx([0.3, 0.3, 0.0])


@pytest.mark.parametrize("how", ["all", "missing", "both"])
def test_curvature_is_that_of_its_formula(how):
    codes, _, weights, row_weights = make_mixed(how)
    rows = augment(codes)
    found = curvature(rows, weights, MIXED, row_weights).numpy()
    assert found.shape == (14, 1)
    rows = rows.numpy()
    each = np.ones(90) if row_weights is None else row_weights.numpy()
    gram = rows.T @ (each[:, None] * rows) / 90
    largest = np.linalg.norm(np.linalg.matrix_power(gram, 4)) ** 0.25
    factor = {"regression": 1, "binary": 0.25, "multiclass": 0.5}
    for task, (kind, outputs) in enumerate(outputs_of_tasks()):
        bound = largest
        if weights is not None:
            weight = weights[:, task].numpy()
            mean = (weight @ rows**2).sum() / 90
            bound = min((weight / each).max() * largest, mean)
        np.testing.assert_allclose(found[outputs], factor[kind] * bound)


def test_curvature_of_huge_and_of_zero_codes():
    codes, _, _, _ = make_mixed("all")
    rows = augment(codes).float()
    usual, huge = (curvature(size * rows, None, MIXED) for size in (1.0, 1e15))
    torch.testing.assert_close(huge / 1e15 / 1e15, usual)
    zero = curvature(0 * rows, None, MIXED)
    assert (zero > 0).all()
    assert zero.reciprocal().isfinite().all()


@pytest.mark.parametrize("weighted", [False, True])
def test_curvature_is_a_bound(weighted):
    """No smaller than the true largest eigenvalue, and not wildly larger."""
    rng = np.random.default_rng(5)
    codes = augment(torch.from_numpy(make_codes(rng)))
    weights = rng.random((120, 3)) * (rng.random((120, 3)) < 0.5) if weighted else None
    blocks = [Block("regression", slice(0, 3), slice(0, 3))]
    w = None if weights is None else torch.from_numpy(weights)
    bound = curvature(codes, w, blocks).squeeze(1).numpy()
    for task in range(3):
        weight = np.ones(120) if weights is None else weights[:, task]
        gram = codes.numpy().T @ (weight[:, None] * codes.numpy()) / 120
        largest = np.linalg.eigvalsh(gram)[-1]
        assert largest <= bound[task] * (1 + 1e-12)
        assert bound[task] <= 8 * largest


def test_row_weights_give_the_step_of_repeated_rows():
    rng = np.random.default_rng(6)
    codes = make_codes(rng, n_rows=30)
    repeats = rng.integers(1, 4, size=30)
    weight = repeats / repeats.mean()
    blocks = [Block("binary", slice(0, 1), slice(0, 1))]
    w = torch.from_numpy(weight)
    once = curvature(augment(torch.from_numpy(codes)), w.unsqueeze(1), blocks, w)
    many = augment(torch.from_numpy(codes.repeat(repeats, axis=0)))
    torch.testing.assert_close(once, curvature(many, None, blocks))


@pytest.mark.parametrize("kind", ["regression", "binary"])
def test_steps_by_a_given_bound(kind):
    rng = np.random.default_rng(4)
    rows = augment(torch.from_numpy(make_codes(rng)))
    blocks = [Block(kind, slice(0, 2), slice(0, 2))]
    targets = torch.from_numpy(rng.integers(0, 2, size=(120, 2)).astype(float))
    l1 = pad_weights(torch.full((2, 7), 0.05).double(), blocks)
    given = (torch.zeros(2, 8).double(), rows, targets, None, blocks, l1)
    bound = curvature(rows, None, blocks)
    plain = proximal_steps(*given, 1)
    for gram in (None, rows.T @ rows):
        same = proximal_steps(*given, 1, bound=bound, gram=gram)
        torch.testing.assert_close(same, plain)
    # Half as long, with half of the penalty.
    shorter = proximal_steps(*given, 1, bound=2 * bound)
    slope = gradient(given[0], rows, targets, None, blocks)
    torch.testing.assert_close(
        shorter, soft_threshold(-slope / (2 * bound), l1 / (2 * bound))
    )


@pytest.mark.parametrize("how", ["missing", "both"])
def test_steps_of_weighted_tasks_are_plain_ones(how):
    codes, targets, weights, row_weights = make_mixed(how)
    rows = augment(codes)
    l1 = pad_weights(torch.full((14, 5), 0.1).double(), MIXED)
    naive = start = torch.ones(14, 6).double()
    step = curvature(rows, weights, MIXED, row_weights).reciprocal()
    for _ in range(3):
        moved = naive - step * gradient(naive, rows, targets, weights, MIXED)
        naive = soft_threshold(moved, step * l1)
    found = proximal_steps(start, rows, targets, weights, MIXED, l1, 3, row_weights)
    torch.testing.assert_close(found, naive)


@pytest.mark.parametrize("how", ["all", "missing"])
def test_standard_errors_of_parts_are_those_of_all_tasks(how, monkeypatch):
    codes, targets, weights, _ = make_mixed(how)
    theta = torch.from_numpy(np.random.default_rng(2).normal(size=(14, 6)))
    scores = augment(codes) @ theta.T
    given = (targets, weights, MIXED, torch.full((7,), 80.0).double(), 5)
    whole = standard_errors(scores, *given)
    monkeypatch.setattr(solvers, "ERROR_VALUES", len(scores))
    torch.testing.assert_close(standard_errors(scores, *given), whole, rtol=0, atol=0)


def test_heads_of_a_task_without_labels_stay():
    """The penalty alone, its objective on these rows, would wipe them out."""
    rng = np.random.default_rng(9)
    rows = augment(torch.from_numpy(make_codes(rng)))
    blocks = [Block("binary", slice(0, 2), slice(0, 2))]
    targets = torch.from_numpy(rng.integers(0, 2, size=(120, 2)).astype(float))
    weights = torch.ones_like(targets)
    weights[:, 0] = 0
    l1 = pad_weights(torch.full((2, 7), 0.05).double(), blocks)
    before = torch.ones(2, 8, dtype=torch.float64)
    after = proximal_steps(before, rows, targets, weights, blocks, l1, 2)
    assert torch.equal(after[0], before[0])
    assert not torch.equal(after[1], before[1])


def test_standard_errors_of_classes_that_are_told_apart_stay_small():
    codes = torch.linspace(-1, 1, 500, dtype=torch.float64).unsqueeze(1)
    targets = (codes > 0).double()
    block = [Block("binary", slice(0, 1), slice(0, 1))]
    number = torch.full((1,), 500.0, dtype=torch.float64)
    errors = [
        float(standard_errors(size * codes, targets, None, block, number, 1)) / size
        for size in (1.0, 1000.0)
    ]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("how", ["all", "both"])
@pytest.mark.parametrize("n_components", [2, 50])
def test_standard_errors_by_their_formula(how, n_components):
    """One output after the other; with 50 components the bound from below counts."""
    _, targets, weights, _ = make_mixed(how)
    rng = np.random.default_rng(15)
    scores = 2 * rng.normal(size=(90, 14))
    number = rng.integers(30, 90, size=7).astype(float)
    found = standard_errors(
        torch.from_numpy(scores),
        *(targets, weights, MIXED, torch.from_numpy(number), n_components),
    )
    for task, (kind, outputs) in enumerate(outputs_of_tasks()):
        weight = np.ones(90) if weights is None else weights[:, task].numpy()
        score = scores[:, outputs]

        def mean(values, weight=weight):
            return np.average(values, weights=weight)

        for k, own in enumerate(score.T):
            if kind == "regression":
                left = mean((own - targets[:, task].numpy()) ** 2)
                ratio = 1.0
            else:
                chance = expit(own) if kind == "binary" else softmax(score, 1)[:, k]
                p, share = mean(chance), min(1, n_components / number[task])
                left = max(mean(chance * (1 - chance)), p * (1 - p) * share)
                ratio = mean((own - mean(own)) ** 2) / mean((chance - p) ** 2)
            expected = np.sqrt(left / number[task] * ratio)
            assert float(found[outputs.start + k]) == pytest.approx(expected)
