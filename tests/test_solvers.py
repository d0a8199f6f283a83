"""The inner solver against independent references, on problems of each task type."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.linear_model import Lasso, LogisticRegression

from skdisentangle import solvers
from skdisentangle.losses import Block
from skdisentangle.penalties import soft_threshold
from skdisentangle.solvers import (
    augment,
    curvature,
    gradient,
    objective,
    optimality_gap,
    pad_weights,
    proximal_steps,
    solve_heads,
    standard_errors,
)

TYPES = {
    "regression": Block("regression", slice(0, 1), slice(0, 1)),
    "binary": Block("binary", slice(0, 1), slice(0, 1)),
    "multiclass": Block("multiclass", slice(0, 1), slice(0, 3), 3),
}


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


def tensors(codes, targets, weights, l1_weights):
    return (
        torch.from_numpy(codes),
        torch.from_numpy(targets).unsqueeze(1),
        None if weights is None else torch.from_numpy(weights).unsqueeze(1),
        torch.as_tensor(l1_weights, dtype=torch.float64),
    )


def solve(kind, codes, targets, weights, l1_weights):
    """Solution, and a function from heads to the task's objective."""
    block = TYPES[kind]
    z, t, w, l1 = tensors(codes, targets, weights, l1_weights)
    solution = solve_heads(z, t, w, [block], l1, max_iter=20000, tol=1e-9)
    rows, padded = augment(z), pad_weights(l1, [block])

    def value(coef, intercept):
        theta = np.column_stack([np.atleast_2d(coef), np.atleast_1d(intercept)])
        return float(objective(torch.from_numpy(theta), rows, t, w, [block], padded)[0])

    theta = torch.cat([solution.coef, solution.intercept.unsqueeze(1)], dim=1)
    slope = gradient(theta, rows, t, w, [block])
    assert float(optimality_gap(theta, slope, padded).max()) < 1e-4
    return solution, value


@pytest.mark.parametrize("how", ["all", "missing", "weighted", "both"])
@pytest.mark.parametrize("strength", [0.02, 0.1])
@pytest.mark.parametrize("seed", [0, 1])
def test_regression_agrees_with_lasso(seed, strength, how):
    rng = np.random.default_rng(seed)
    codes = make_codes(rng)
    targets = make_targets(rng, codes, "regression")
    weights = make_weights(rng, len(codes), how)
    solution, value = solve(
        "regression", codes, targets, weights, np.full((1, 7), strength)
    )
    # Lasso halves the mean squared error, as we do, and normalises its weights.
    reference = Lasso(alpha=strength, tol=1e-12, max_iter=100_000)
    reference.fit(codes, targets, sample_weight=weights)
    ours = value(solution.coef.numpy(), solution.intercept.numpy())
    assert ours == pytest.approx(value(reference.coef_, reference.intercept_), abs=1e-6)
    np.testing.assert_allclose(solution.coef.numpy()[0], reference.coef_, atol=1e-4)
    np.testing.assert_array_equal(
        solution.coef.numpy()[0] != 0, np.abs(reference.coef_) > 1e-9
    )
    assert 0 < (solution.coef == 0).sum() < 7


@pytest.mark.parametrize("how", ["all", "missing", "weighted", "both"])
@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_classes_agree_with_logistic_regression(kind, how):
    rng = np.random.default_rng(2)
    codes = make_codes(rng)
    targets = make_targets(rng, codes, kind)
    weights = make_weights(rng, len(codes), how)
    strength = 0.05
    n_outputs = 1 if kind == "binary" else 3
    solution, value = solve(
        kind, codes, targets, weights, np.full((n_outputs, 7), strength)
    )
    # scikit-learn sums: C * sum_i w_i loss_i + |coef|_1, over all outputs.
    total = len(codes) if weights is None else weights.sum()
    per_output = strength / n_outputs
    reference = LogisticRegression(
        C=1 / (total * per_output),
        l1_ratio=1,
        solver="saga",
        tol=1e-10,
        max_iter=50_000,
        random_state=0,
        **({} if _new_logistic() else {"penalty": "elasticnet"}),
    )
    reference.fit(codes, targets, sample_weight=weights)
    ours = value(solution.coef.numpy(), solution.intercept.numpy())
    theirs = value(reference.coef_, reference.intercept_)
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert ours <= theirs + 1e-8
    if kind == "binary":
        np.testing.assert_array_equal(
            solution.coef.numpy() != 0, np.abs(reference.coef_) > 1e-8
        )


def _new_logistic():
    """Whether LogisticRegression takes an L1 penalty from ``l1_ratio`` alone."""
    from sklearn import __version__

    return tuple(int(part) for part in __version__.split(".")[:2]) >= (1, 8)


@pytest.mark.parametrize("kind", ["regression", "binary"])
def test_weighted_penalty_agrees_with_scipy(kind):
    """A penalty of its own for each coefficient, by the split into two halves."""
    rng = np.random.default_rng(3)
    codes = make_codes(rng)
    targets = make_targets(rng, codes, kind)
    weights = make_weights(rng, len(codes), "both")
    l1 = rng.uniform(0.0, 0.2, size=(1, 7))
    solution, value = solve(kind, codes, targets, weights, l1)

    def smooth(flat):
        coef, intercept = flat[:7] - flat[7:14], flat[14]
        score = codes @ coef + intercept
        if kind == "regression":
            loss, slope = (score - targets) ** 2 / 2, score - targets
        else:
            loss = np.logaddexp(0, score) - targets * score
            slope = 1 / (1 + np.exp(-score)) - targets
        slope = slope * weights / len(codes)
        penalty = l1[0] @ (flat[:7] + flat[7:14])
        down = codes.T @ slope
        jac = np.concatenate([down + l1[0], -down + l1[0], [slope.sum()]])
        return weights @ loss / len(codes) + penalty, jac

    bounds = [(0, None)] * 14 + [(None, None)]
    found = minimize(
        smooth,
        np.zeros(15),
        jac=True,
        bounds=bounds,
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 10_000},
    )
    ours = value(solution.coef.numpy(), solution.intercept.numpy())
    assert ours == pytest.approx(found.fun, abs=1e-6)


def test_tasks_are_solved_as_if_alone():
    """Tasks of all types in one call, each as in a call of its own."""
    rng = np.random.default_rng(4)
    codes = make_codes(rng)
    targets = {kind: make_targets(rng, codes, kind) for kind in TYPES}
    weights = np.column_stack([make_weights(rng, len(codes), "both") for _ in range(3)])
    l1 = rng.uniform(0.01, 0.1, size=(5, 7))
    blocks = [
        Block("regression", slice(0, 1), slice(0, 1)),
        Block("binary", slice(1, 2), slice(1, 2)),
        Block("multiclass", slice(2, 3), slice(2, 5), 3),
    ]
    together = solve_heads(
        torch.from_numpy(codes),
        torch.from_numpy(np.column_stack(list(targets.values()))),
        torch.from_numpy(weights),
        blocks,
        torch.from_numpy(l1),
        max_iter=20000,
        tol=1e-9,
    )
    for number, (kind, block) in enumerate(zip(TYPES, blocks, strict=True)):
        alone, _ = solve(
            kind, codes, targets[kind], weights[:, number], l1[block.outputs]
        )
        np.testing.assert_allclose(together.coef[block.outputs], alone.coef, atol=1e-5)


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


@pytest.mark.parametrize("how", ["all", "both"])
def test_rows_in_parts_give_the_same_heads(how, monkeypatch):
    rng = np.random.default_rng(8)
    codes = make_codes(rng)
    weights = make_weights(rng, len(codes), how)
    targets = make_targets(rng, codes, "multiclass")
    l1 = np.full((3, 7), 0.02)
    whole, _ = solve("multiclass", codes, targets, weights, l1)
    monkeypatch.setattr(solvers, "WHOLE_VALUES", 0)
    monkeypatch.setattr(solvers, "PART_VALUES", 50 * 8)  # 50, 50 and 20 rows
    in_parts, _ = solve("multiclass", codes, targets, weights, l1)
    np.testing.assert_allclose(in_parts.coef, whole.coef, atol=1e-6)
    np.testing.assert_allclose(in_parts.intercept, whole.intercept, atol=1e-6)


def test_proximal_steps_go_downhill_to_the_solution():
    rng = np.random.default_rng(7)
    codes = make_codes(rng)
    z, t, w, l1 = tensors(
        codes, make_targets(rng, codes, "binary"), None, np.full((1, 7), 0.05)
    )
    blocks = [TYPES["binary"]]
    rows, padded = augment(z), pad_weights(l1, blocks)
    theta = torch.zeros(1, 8, dtype=torch.float64)
    values = []
    for _ in range(60):
        theta = proximal_steps(theta, rows, t, w, blocks, padded, 5)
        values.append(float(objective(theta, rows, t, w, blocks, padded)))
    assert np.all(np.diff(values) <= 1e-12)
    best = solve_heads(z, t, w, blocks, l1, max_iter=20000, tol=1e-10)
    np.testing.assert_allclose(theta[:, :-1], best.coef, atol=1e-3)


def test_sums_over_rows_do_for_squared_losses():
    """Steps and solutions of complete labels are those of weights of one."""
    rng = np.random.default_rng(8)
    codes = make_codes(rng)
    blocks = [
        Block("regression", slice(0, 2), slice(0, 2)),
        Block("binary", slice(2, 3), slice(2, 3)),
    ]
    targets = [make_targets(rng, codes, k) for k in ("regression", "regression")]
    targets = np.column_stack([*targets, make_targets(rng, codes, "binary")])
    z, t = torch.from_numpy(codes), torch.from_numpy(targets)
    ones, l1 = torch.ones_like(t), torch.full((3, 7), 0.05).double()
    found = [solve_heads(z, t, w, blocks, l1) for w in (None, ones)]
    torch.testing.assert_close(found[0].coef, found[1].coef)
    start, padded = torch.ones(3, 8).double(), pad_weights(l1, blocks)
    # On the same steps: the bound of unweighted rows is the smaller one.
    rows = augment(z)
    step = curvature(rows, None, blocks).reciprocal()
    naive = start
    for _ in range(2):
        moved = naive - step * gradient(naive, rows, t, ones, blocks)
        naive = soft_threshold(moved, step * padded)
    found = proximal_steps(start, rows, t, None, blocks, padded, 2)
    torch.testing.assert_close(found, naive)


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


def test_too_strong_a_penalty_leaves_the_intercepts():
    rng = np.random.default_rng(8)
    codes = make_codes(rng)
    targets = make_targets(rng, codes, "regression") + 5
    solution, _ = solve("regression", codes, targets, None, np.full((1, 7), 50.0))
    assert not solution.coef.any()
    assert float(solution.intercept[0]) == pytest.approx(targets.mean())


def test_standard_errors_are_those_of_repeated_draws():
    """White codes and labels drawn anew many times; weak signal, so that logits are right."""
    generator = torch.Generator().manual_seed(0)
    blocks = [
        Block("regression", slice(0, 1), slice(0, 1)),
        Block("binary", slice(1, 2), slice(1, 2)),
    ]
    coef = torch.tensor([[0.5, 0.0], [0.4, 0.0]], dtype=torch.float64)
    n_labels = torch.full((2,), 400.0, dtype=torch.float64)
    found, errors = [], []
    for _ in range(60):
        codes = torch.randn(400, 2, generator=generator, dtype=torch.float64)
        codes = (codes - codes.mean(0)) / codes.std(0, correction=0)
        noise = torch.randn(400, generator=generator, dtype=torch.float64)
        chance = (codes @ coef[1]).sigmoid()
        targets = torch.stack(
            [
                codes @ coef[0] + 0.5 * noise,
                torch.bernoulli(chance, generator=generator),
            ],
            dim=1,
        )
        heads = solve_heads(codes, targets, None, blocks, torch.zeros_like(coef))
        scores = codes @ heads.coef.T + heads.intercept
        found.append(heads.coef)
        errors.append(standard_errors(scores, targets, None, blocks, n_labels, 2))
    spread = torch.stack(found).std(0).mean(1)
    torch.testing.assert_close(torch.stack(errors).mean(0), spread, rtol=0.15, atol=0.0)


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
