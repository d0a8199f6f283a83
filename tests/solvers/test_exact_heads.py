"""Exact heads against independent references, on problems of each task type."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit, softmax
from sklearn.linear_model import Lasso, LogisticRegression

from skdisentangle.distributed import Part
from skdisentangle.solvers import exact_heads
from skdisentangle.solvers.exact_heads import (
    pulls_at_zeros,
    solve_heads,
    solve_penalized_heads,
)
from skdisentangle.solvers.penalties import penalty_weights, soft_threshold
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
from tests.conftest import on_two_ranks
from tests.head_problems import (
    MIXED,
    TYPES,
    make_codes,
    make_mixed,
    make_targets,
    make_weights,
    outputs_of_tasks,
    tensors,
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


def test_a_weighted_fit_takes_the_steps_of_one_on_repeated_rows():
    codes, targets, _, _ = make_mixed("all")
    repeats = torch.from_numpy(np.random.default_rng(16).integers(1, 6, size=90))
    weight = repeats / repeats.double().mean()
    l1 = torch.full((14, 5), 0.1, dtype=torch.float64)
    once = solve_heads(
        *(codes, targets, weight.unsqueeze(1).expand(90, 7), MIXED, l1),
        row_weights=weight,
        max_iter=7,
    )
    rows = [values.repeat_interleave(repeats, dim=0) for values in (codes, targets)]
    many = solve_heads(*rows, None, MIXED, l1, max_iter=7)
    torch.testing.assert_close(once.coef, many.coef)
    torch.testing.assert_close(once.intercept, many.intercept)


class Recorded:
    """Rows of a tensor, of which the longest slice that was asked for is known."""

    def __init__(self, values):
        self.values, self.longest = values, 0
        self.shape, self.device = values.shape, values.device

    def __getitem__(self, rows):
        found = self.values[rows]
        self.longest = max(self.longest, len(found))
        return found


@pytest.mark.parametrize(
    ("how", "blocks"),
    [("all", MIXED), ("all", MIXED[:1]), ("all", MIXED[1:]), ("both", MIXED)],
)
@pytest.mark.parametrize("ridge", [None, 0.01])
def test_rows_in_parts_give_the_same_heads(how, blocks, ridge, monkeypatch):
    codes, targets, weights, row_weights = make_mixed(how)
    tasks = slice(blocks[0].tasks.start, blocks[-1].tasks.stop)
    targets = targets[:, tasks]
    weights = None if weights is None else weights[:, tasks]
    blocks = [
        Block(
            b.type,
            slice(b.tasks.start - tasks.start, b.tasks.stop - tasks.start),
            slice(b.outputs.start - tasks.start, b.outputs.stop - tasks.start),
            b.n_classes,
        )
        for b in blocks
    ]
    n_outputs = blocks[-1].outputs.stop
    l1 = torch.full((n_outputs, 5), 0.1, dtype=torch.float64)
    options = {"row_weights": row_weights, "max_iter": 5000, "tol": 1e-6}
    if ridge is not None:
        options["ridge"] = torch.full((n_outputs,), ridge, dtype=torch.float64)
    width = max(n_outputs, 6)
    found = []
    # All 90 rows at once, also where they just fit; then 40, 40 and 10.
    for whole, longest in [(10**6, 90), (90 * width, 90), (90 * width - 1, 40)]:
        monkeypatch.setattr(exact_heads, "WHOLE_VALUES", whole)
        monkeypatch.setattr(exact_heads, "PART_VALUES", 41 * width - 1)
        seen = [None if a is None else Recorded(a) for a in (targets, weights)]
        found.append(solve_heads(codes, *seen, blocks, l1, **options))
        assert all(a is None or a.longest == longest for a in seen)
        assert found[-1].gap <= 1e-6
    for other in found[1:]:
        torch.testing.assert_close(other.coef, found[0].coef, atol=1e-4, rtol=0)
        torch.testing.assert_close(
            other.intercept, found[0].intercept, atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("how", ["all", "both"])
@pytest.mark.parametrize("cut", [0, 30])
@pytest.mark.parametrize("ridge", [None, 0.01])
def test_two_ranks_take_the_steps_of_one(how, cut, ridge):
    """Each holds some of the rows, or none."""
    codes, targets, weights, row_weights = make_mixed(how)
    rng = np.random.default_rng(12)
    l1 = torch.from_numpy(rng.uniform(0.0, 0.2, size=(14, 5)))
    start = torch.from_numpy(rng.normal(size=(14, 6)))
    options = {"max_iter": 30, "tol": 1e-9}
    if ridge is not None:
        options["ridge"] = torch.full((14,), ridge, dtype=torch.float64)

    def job(rows, part):
        z, t, w, r = (
            None if a is None else a[rows]
            for a in (codes, targets, weights, row_weights)
        )
        steps = proximal_steps(
            *(start, augment(z), t, w, MIXED, pad_weights(l1, MIXED), 3, r, part)
        )
        heads = solve_heads(z, t, w, MIXED, l1, row_weights=r, part=part, **options)
        return steps, heads.coef, heads.intercept, heads.gap

    def on_rank(ranks):
        mine = slice(0, cut) if ranks.rank == 0 else slice(cut, None)
        return job(mine, Part(ranks, 90))

    expected = job(slice(None), None)
    for found in on_two_ranks(on_rank):
        torch.testing.assert_close(found, expected)


def test_the_last_iteration_says_how_far_the_solution_is():
    codes, targets, weights, _ = make_mixed("both")
    l1 = torch.full((14, 5), 0.1, dtype=torch.float64)
    padded, rows = pad_weights(l1, MIXED), augment(codes)
    for max_iter in (10, 13):
        short = solve_heads(codes, targets, weights, MIXED, l1, max_iter=max_iter)
        theta = torch.cat([short.coef, short.intercept.unsqueeze(1)], dim=1)
        slope = gradient(theta, rows, targets, weights, MIXED)
        assert short.n_iter == max_iter
        assert short.gap == pytest.approx(
            float(optimality_gap(theta, slope, padded).max())
        )
        assert short.gap > 1e-5
    whole = solve_heads(codes, targets, weights, MIXED, l1)
    assert whole.gap <= 1e-5
    assert 10 < whole.n_iter < 1000
    again = solve_heads(
        *(codes, targets, weights, MIXED, l1),
        coef=whole.coef,
        intercept=whole.intercept,
    )
    assert again.n_iter == 10


@pytest.mark.parametrize(("kind", "n_rows"), [("binary", 25), ("multiclass", 120)])
def test_newton_steps_save_iterations(kind, n_rows, monkeypatch):
    """Of classes told apart; of several, the full step is often too long."""
    rng = np.random.default_rng(17)
    codes, block = make_codes(rng, n_rows), TYPES[kind]
    told = np.digitize(codes[:, 0], [0.0] if kind == "binary" else [-0.4, 0.4])
    l1 = np.full((block.n_classes, 7), 1e-3)
    z, t, _, l1 = tensors(codes, told.astype(float), None, l1)
    ridge = torch.full((block.n_classes,), 0.01 / n_rows, dtype=torch.float64)
    given = {"ridge": ridge, "max_iter": 20_000, "tol": 1e-6}
    found = solve_heads(z, t, None, [block], l1, **given)
    monkeypatch.setattr(exact_heads, "NEWTON_LENGTHS", (1.0,))
    full = solve_heads(z, t, None, [block], l1, **given)
    monkeypatch.setattr(exact_heads, "NEWTON_LENGTHS", ())
    plain = solve_heads(z, t, None, [block], l1, **given)
    for other in (full, plain):
        assert max(found.gap, other.gap) <= 1e-6
        torch.testing.assert_close(found.coef, other.coef, atol=1e-2, rtol=1e-2)
        assert torch.equal(found.coef == 0, other.coef == 0)
    assert (found.coef == 0).any()
    assert 2.5 * found.n_iter <= plain.n_iter
    if kind == "multiclass":
        assert 1.5 * found.n_iter <= full.n_iter


@pytest.mark.parametrize("kind", ["regression", "binary"])
def test_momentum_and_its_restart_save_iterations(kind):
    """Plain steps need twice as many; those that never drop their momentum, more, too."""
    rng = np.random.default_rng(13)
    codes = make_codes(rng)
    codes[:, 1] = codes[:, 0] + 0.1 * codes[:, 1]
    z, t, _, l1 = tensors(
        codes, make_targets(rng, codes, kind), None, np.full((1, 7), 0.003)
    )
    blocks, tol = [TYPES[kind]], 1e-5
    found = solve_heads(z, t, None, blocks, l1, max_iter=5000, tol=tol)
    assert found.gap <= tol
    rows, padded = augment(z), pad_weights(l1, blocks)
    step = curvature(rows, None, blocks).reciprocal()

    def gaps(n_iter, accelerated):
        theta = ahead = torch.zeros(1, 8, dtype=torch.float64)
        pace = 1.0
        for _ in range(n_iter):
            moved = ahead - step * gradient(ahead, rows, t, None, blocks)
            new = soft_threshold(moved, step * padded)
            faster = (1 + (1 + 4 * pace**2) ** 0.5) / 2
            ahead = new + accelerated * (pace - 1) / faster * (new - theta)
            theta, pace = new, faster
            slope = gradient(theta, rows, t, None, blocks)
            yield float(optimality_gap(theta, slope, padded))

    assert min(gaps(2 * found.n_iter, accelerated=False)) > tol
    assert min(gaps(found.n_iter * 5 // 4, accelerated=True)) > tol


@pytest.mark.parametrize(
    ("strengths", "n_moving"),
    [
        ({"sparsity": 0.2, "sharing": 0.0, "reweighted": False}, 1),
        ({"sparsity": 0.2, "sharing": 0.1, "reweighted": False}, 3),
        ({"sparsity": 0.2, "sharing": 0.0, "reweighted": True}, 3),
        ({"sparsity": 0.2, "sharing": 0.1, "reweighted": True}, 3),
    ],
)
def test_rounds_of_a_penalty_that_follows_the_heads(strengths, n_moving):
    """For white codes each round is a soft threshold of the correlations."""
    rng = np.random.default_rng(14)
    codes, _ = np.linalg.qr(np.column_stack([np.ones(50), rng.normal(size=(50, 4))]))
    codes = codes[:, 1:] * np.sqrt(50)
    targets = codes @ rng.normal(size=(4, 3)) * 0.5 + rng.normal(size=(50, 3)) + 2
    blocks = [Block("regression", slice(0, 3), slice(0, 3))]
    use = torch.full((3,), 1 / 3, dtype=torch.float64)
    extra = {
        "spread": torch.tensor([1.0, 0.5, 0.8], dtype=torch.float64),
        "factor": torch.tensor([1.0, 1.5, 2.0], dtype=torch.float64),
    }
    z, t = torch.from_numpy(codes), torch.from_numpy(targets)
    start = torch.from_numpy(rng.normal(size=(3, 4)))
    options = {"coef": start, "intercept": torch.zeros(3).double(), **extra}
    options = {**strengths, **options}
    for n_rounds in (3, 1):
        coef = start
        for _ in range(min(n_rounds, n_moving)):
            l1 = penalty_weights(coef, use, **strengths, **extra)
            coef = soft_threshold((t.T @ z) / 50, l1)
        rounds = {} if n_rounds == 3 else {"n_rounds": n_rounds}
        found = solve_penalized_heads(z, t, None, blocks, use, **options, **rounds)
        torch.testing.assert_close(found.coef, coef, atol=1e-3, rtol=0)
        torch.testing.assert_close(found.intercept, t.mean(0), atol=1e-3, rtol=0)
        assert found.gap <= 1e-4
        assert found.n_iter < 100  # one suffices for white codes
    short = solve_penalized_heads(z, t, None, blocks, use, **options, max_iter=7)
    assert short.n_iter == 7 * n_moving


@pytest.mark.parametrize("reweighted", [True, False])
def test_a_ridge_divides_what_the_soft_threshold_leaves(reweighted):
    """In white codes, by one more than itself; intercepts it leaves alone."""
    rng = np.random.default_rng(15)
    codes, _ = np.linalg.qr(np.column_stack([np.ones(60), rng.normal(size=(60, 3))]))
    codes = codes[:, 1:] * np.sqrt(60)
    targets = codes @ rng.normal(size=(3, 2)) + 1
    z, t = torch.from_numpy(codes), torch.from_numpy(targets)
    blocks = [Block("regression", slice(0, 2), slice(0, 2))]
    ridge = torch.tensor([0.0, 0.5], dtype=torch.float64)
    use = torch.full((2,), 0.5, dtype=torch.float64)
    options = {"sparsity": 0.1, "sharing": 0.0, "reweighted": reweighted}
    start = {"coef": torch.zeros(2, 3).double(), "intercept": torch.zeros(2).double()}
    found = solve_penalized_heads(
        z, t, None, blocks, use, **options, **start, ridge=ridge, tol=1e-9
    )
    coef = start["coef"]
    for _ in range(3):
        l1 = penalty_weights(coef, use, **options)
        coef = soft_threshold((t.T @ z) / 60, l1) / (1 + ridge.unsqueeze(1))
    torch.testing.assert_close(found.coef, coef)
    torch.testing.assert_close(found.intercept, t.mean(0))
    assert found.gap <= 1e-9


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


@pytest.mark.parametrize("how", ["all", "both"])
def test_pulls_by_their_formula(how, monkeypatch):
    codes, targets, weights, _ = make_mixed(how)
    rng = np.random.default_rng(18)
    theta = torch.from_numpy(rng.normal(size=(14, 6)) * (rng.random((14, 6)) < 0.5))
    found = pulls_at_zeros(theta, codes, targets, weights, MIXED)
    scores = (augment(codes) @ theta.T).numpy()
    share = np.ones((90, 7)) if weights is None else weights.numpy()
    for task, (kind, outputs) in enumerate(outputs_of_tasks()):
        truth, score = targets[:, task].numpy(), scores[:, outputs]
        if kind == "regression":
            error, bend = score - truth[:, None], np.ones_like(score)
        else:
            chance = expit(score) if kind == "binary" else softmax(score, axis=1)
            is_class = truth[:, None] == (
                [1] if kind == "binary" else range(chance.shape[1])
            )
            error, bend = chance - is_class, chance * (1 - chance)
        for output, column in enumerate(range(outputs.start, outputs.stop)):
            each = (share[:, task] * error[:, output])[:, None] * codes.numpy()
            noise = np.sqrt((each**2).mean(0) / len(codes))
            bends = (
                (share[:, task] * bend[:, output])[:, None] * codes.numpy() ** 2
            ).mean(0)
            expected = np.maximum(np.abs(each.mean(0)) - 3 * noise, 0) / bends
            expected[theta[column, :-1].numpy() != 0] = 0
            np.testing.assert_allclose(found[column], expected, atol=1e-12)
    assert (found > 0).any()
    monkeypatch.setattr(exact_heads, "WHOLE_VALUES", 1)
    monkeypatch.setattr(exact_heads, "PART_VALUES", 14 * 17)
    in_parts = pulls_at_zeros(theta, codes, targets, weights, MIXED)
    torch.testing.assert_close(in_parts, found)

    def on_rank(ranks):
        mine = slice(0, 30) if ranks.rank == 0 else slice(30, None)
        given = [None if a is None else a[mine] for a in (codes, targets, weights)]
        return pulls_at_zeros(theta, *given, MIXED, part=Part(ranks, 90))

    for other in on_two_ranks(on_rank):
        torch.testing.assert_close(other, found)


def test_pulls_of_chance_and_of_a_penalty():
    """Three standard errors let few zeros through; a penalty holds the others."""
    rng = np.random.default_rng(19)
    codes = make_codes(rng, 500)
    targets = codes[:, :1] + 0.1 * codes[:, 3:4] + 0.5 * rng.normal(size=(500, 400))
    z, t = torch.from_numpy(codes), torch.from_numpy(targets)
    blocks = [Block("regression", slice(0, 400), slice(0, 400))]
    l1 = torch.full((400, 7), 0.2, dtype=torch.float64)
    l1[:, 0] = 0
    heads = solve_heads(z, t, None, blocks, l1)
    theta = torch.cat([heads.coef, heads.intercept.unsqueeze(1)], dim=1)
    pulled = pulls_at_zeros(theta, z, t, None, blocks)
    share = (pulled > 0).double().mean(0)
    assert (heads.coef[:, 1:] == 0).all()
    assert share[0] == 0
    assert share[3] > 0.7
    assert pulled[:, 3].mean() == pytest.approx(0.1 - 3 * 0.5 / 500**0.5, rel=0.2)
    others = share[[1, 2, 4, 5, 6]]
    assert 0 < others.mean() < 0.01
