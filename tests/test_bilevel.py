"""Gradients through the heads, against finite differences and against unrolling."""

from __future__ import annotations

import pytest
import torch

from skdisentangle.bilevel import implicit_gradient
from skdisentangle.losses import Block, loss_values
from skdisentangle.solvers import augment, gradient, pad_weights, solve_heads

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

    def solve(self, codes):
        """Heads of the support at its optimum."""
        solution = solve_heads(
            codes,
            self.targets[0],
            self.weights[0],
            BLOCKS,
            self.l1,
            max_iter=20_000,
            tol=1e-13,
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
    for _ in range(4):
        change = torch.randn(40, N_COMPONENTS, generator=generator).double()
        step = 1e-4 * change / change.norm()
        ends = []
        for moved in (problem.codes[0] + step, problem.codes[0] - step):
            heads = problem.solve(moved)
            assert torch.equal(heads != 0, used)
            ends.append(problem.query_loss(heads))
        expected = float(ends[0] - ends[1]) / 2
        assert float((ours * step).sum()) == pytest.approx(expected, rel=1e-3, abs=1e-11)


