"""Gradients through the heads, against finite differences and against unrolling."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors, tasks_from_classes
from skdisentangle.fitting.bilevel import implicit_gradient
from skdisentangle.solvers.exact_heads import solve_heads
from skdisentangle.solvers.penalties import soft_threshold
from skdisentangle.solvers.proximal import (
    augment,
    curvature,
    gradient,
    pad_weights,
)
from skdisentangle.tasks.blocks import Block, loss_values

N_COMPONENTS = 4
#: Two regression tasks, two binary ones, two of three classes.
BLOCKS = [
    Block("regression", slice(0, 2), slice(0, 2)),
    Block("binary", slice(2, 4), slice(2, 4)),
    Block("multiclass", slice(4, 6), slice(4, 10), 3),
]


class Problem:
    """Support and query rows of tasks of all types; half of the labels may be missing."""

    def __init__(self, how):
        generator = torch.Generator().manual_seed(0)

        def normal(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        heads = normal(6, N_COMPONENTS)
        self.codes, self.targets, self.weights = [], [], []
        for n_rows in (40, 30):
            codes = normal(n_rows, N_COMPONENTS)
            value = codes @ heads.T + normal(n_rows, 6)
            classes = [(v > -1).double() + (v > 1) for v in value[:, 4:].T]
            self.codes.append(codes)
            self.targets.append(
                torch.cat(
                    [
                        value[:, :2],
                        (value[:, 2:4] > 0).double(),
                        torch.stack(classes, dim=1),
                    ],
                    dim=1,
                )
            )
            weights = torch.rand(n_rows, 6, generator=generator, dtype=torch.float64)
            weights[torch.rand(n_rows, 6, generator=generator) < 0.5] = 0
            self.weights.append(None if how == "all" else weights)
        self.l1 = 0.02 + 0.1 * torch.rand(
            10, N_COMPONENTS, generator=generator, dtype=torch.float64
        )

    def solve(self, codes, start=None):
        """Heads of the support at its optimum."""
        solution = solve_heads(
            codes,
            self.targets[0],
            self.weights[0],
            BLOCKS,
            self.l1,
            coef=None if start is None else start[:, :-1],
            intercept=None if start is None else start[:, -1],
            max_iter=20_000,
            tol=1e-12,
        )
        return torch.cat([solution.coef, solution.intercept.unsqueeze(1)], dim=1)

    def query_loss(self, theta):
        values = loss_values(augment(self.codes[1]) @ theta.T, self.targets[1], BLOCKS)
        return (values if self.weights[1] is None else values * self.weights[1]).mean()

    def slope(self, theta):
        """Gradient of the query loss, a mean over the six tasks, in the heads."""
        rows = augment(self.codes[1])
        return gradient(theta, rows, self.targets[1], self.weights[1], BLOCKS) / 6

    def implicit(self, theta, **changes):
        return implicit_gradient(
            theta,
            augment(self.codes[0]),
            self.targets[0],
            self.weights[0],
            BLOCKS,
            self.slope(theta),
            **changes,
        )


@pytest.mark.parametrize("how", ["all", "missing"])
def test_agrees_with_finite_differences_of_heads_solved_anew(how):
    problem = Problem(how)
    theta = problem.solve(problem.codes[0])
    used = theta != 0
    assert 0 < (~used[:, :-1]).sum() < used[:, :-1].numel()
    ours = problem.implicit(theta)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        change = torch.randn(40, N_COMPONENTS, generator=generator).double()
        step = 1e-4 * change / change.norm()
        ends = []
        for moved in (problem.codes[0] + step, problem.codes[0] - step):
            heads = problem.solve(moved, theta)
            assert torch.equal(heads != 0, used)
            ends.append(problem.query_loss(heads))
        expected = float(ends[0] - ends[1]) / 2
        assert float((ours * step).sum()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("how", ["all", "missing"])
def test_agrees_with_unrolling(how):
    """Autograd through proximal gradient steps, with momentum, from zero to the optimum."""
    problem = Problem(how)
    targets, weights = problem.targets[0], problem.weights[0]
    step = curvature(augment(problem.codes[0]), weights, BLOCKS).reciprocal()
    threshold = step * pad_weights(problem.l1, BLOCKS)
    leaf = problem.codes[0].clone().requires_grad_()
    rows = augment(leaf)
    theta = before = torch.zeros(10, N_COMPONENTS + 1).double().requires_grad_()
    for _ in range(400):
        ahead = theta + 0.8 * (theta - before)
        values = loss_values(rows @ ahead.T, targets, BLOCKS)
        loss = (values if weights is None else values * weights).mean(0).sum()
        slope = torch.autograd.grad(loss, ahead, create_graph=True)[0]
        theta, before = soft_threshold(ahead - step * slope, threshold), theta
    problem.query_loss(theta).backward()
    ours = problem.implicit(theta.detach())
    torch.testing.assert_close(ours, leaf.grad, rtol=1e-4, atol=1e-7)


def test_damping_is_a_ridge():
    """As in the system written out, task by task; strong, it silences the heads."""
    problem = Problem("missing")
    theta = problem.solve(problem.codes[0])
    rows, weights = augment(problem.codes[0]), problem.weights[0]
    slope = problem.slope(theta)
    ridge = 0.1
    v = torch.zeros_like(theta)
    for output in (0, 1):  # regression, the Hessian does not depend on the scores
        used = torch.nonzero(theta[output]).squeeze(1)
        hessian = (rows.T * weights[:, output]) @ rows / len(rows)
        hessian = hessian[used][:, used] + ridge * torch.eye(len(used)).double()
        v[output, used] = -torch.linalg.solve(hessian, slope[output, used])
    error = weights[:, :2] * (rows @ theta[:2].T - problem.targets[0][:, :2])
    bent = weights[:, :2] * (rows @ v[:2].T)
    expected = (error @ v[:2] + bent @ theta[:2])[:, :-1] / len(rows)
    slope = slope.clone()
    slope[2:] = 0
    arguments = theta, rows, problem.targets[0], weights, BLOCKS, slope
    torch.testing.assert_close(implicit_gradient(*arguments, damping=ridge), expected)
    silent = implicit_gradient(*arguments, damping=1e6)
    assert silent.abs().max() < 1e-5 * expected.abs().max()


def test_a_task_without_labels_on_the_support_has_no_gradient():
    problem = Problem("missing")
    problem.weights[0][:, 0::2] = 0
    theta = problem.solve(problem.codes[0])
    theta[0::2] += 1.0
    whole = problem.implicit(theta)
    assert torch.isfinite(whole).all()
    problem.weights[1][:, 0::2] = 0
    torch.testing.assert_close(problem.implicit(theta), whole)


def make_estimator(**changes):
    options = {"solver": "bilevel", "random_state": 0}
    return SparseSharedDisentangler(6, **(options | changes))


def test_finds_the_factors():
    problem = make_multitask_factors(
        1000, n_factors=4, support_size=(1, 2), n_tasks=30, random_state=100
    )
    fitted = make_estimator(max_iter=100)
    codes = fitted.fit_transform(problem.X, problem.Y)
    assert fitted.active_components_.tolist() == [0, 1, 2, 3]
    both = np.abs(np.corrcoef(problem.factors.T, codes[:, :4].T)[:4, 4:])
    assert both.max(1).min() > 0.98
    assert sorted(both.argmax(1)) == [0, 1, 2, 3]
    used = (fitted.coef_ != 0)[:, both.argmax(1)]
    assert (used == problem.supports).mean() > 0.95


def test_the_solver_has_a_say(problem):
    X, Y, _ = problem
    Y = Y[:, [0, 1, 3, 4, 6, 7]]
    Y = np.where(np.random.default_rng(0).random(Y.shape) < 0.3, np.nan, Y)
    found = []
    for changes in ({}, {}, {"solver": "alternating"}):
        fitted = make_estimator(max_iter=6, batch_size=128, **changes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted.fit(X, Y)
        found.append(fitted.predict(X))
        assert np.isfinite(fitted.coef_).all()
    assert np.array_equal(found[0], found[1])  # the same seed, the same bits
    assert not np.array_equal(found[0], found[2])


def test_rare_labels_make_no_nan(problem):
    """Two labels a task, so that support or query have none of most tasks."""
    X, Y, _ = problem
    few = np.full_like(Y, np.nan)
    for task, labels in enumerate(Y.T):
        rows = np.unique(labels, return_index=True)[1][:2]
        few[rows, task] = labels[rows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = make_estimator(max_iter=10, batch_size=32).fit(X, few)
    assert np.isfinite(fitted.transform(X)).all()
    assert np.isfinite(fitted.coef_).all()


def test_partial_fit_learns(problem):
    X, Y, _ = problem
    fitted = make_estimator(batch_size=60)
    for _ in range(60):
        fitted.partial_fit(X, Y)
    assert fitted.loss_curve_[-1] < 0.5 * fitted.loss_curve_[0]
    assert fitted.score(X, Y) > 0.8


def test_another_solver_is_refused(problem):
    X, Y, _ = problem
    with pytest.raises(ValueError, match="'solver' parameter"):
        make_estimator(solver="newton").fit(X, Y)


def test_tasks_of_class_subsets(problem):
    """Single-label data, fitted on episodes of two classes."""
    X, _, factors = problem
    y = np.array(["a", "b", "c", "d"])[np.digitize(factors[:, 0], [-0.7, 0, 0.7])]
    tasks = tasks_from_classes(y, n_tasks=6, random_state=0)
    fitted = make_estimator(max_iter=60).fit(X, tasks.Y)
    assert [list(t.classes) for t in fitted.tasks_] == tasks.classes.tolist()
    assert fitted.score(X, tasks.Y) > 0.9
