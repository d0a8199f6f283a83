from __future__ import annotations

import numpy as np
import pytest
import torch

from skdisentangle.solvers.penalties import (
    few_labels_factor,
    output_weights,
    penalty_weights,
    sharing_entropy,
    sharing_weights,
    soft_threshold,
    usage,
)
from skdisentangle.tasks.blocks import Block

COEF = torch.tensor(
    [[2.0, 0.0, -2.0], [0.0, 0.0, 1.0], [3.0, 1.0, 0.0], [0.0, 0.0, 0.0]],
    dtype=torch.float64,
)


def test_soft_threshold_is_the_proximal_operator():
    """It minimises (x - c)^2 / 2 + t |x|, found here by brute force."""
    grid = np.linspace(-4, 4, 8001)
    for c, t in [(1.5, 0.5), (-1.5, 0.5), (0.3, 0.5), (-0.5, 0.5), (2.0, 0.0)]:
        best = grid[np.argmin((grid - c) ** 2 / 2 + t * np.abs(grid))]
        ours = float(soft_threshold(torch.tensor(c), torch.tensor(t)))
        assert ours == pytest.approx(best, abs=1e-3)


def test_soft_threshold_gives_exact_zeros():
    coef = torch.tensor([0.1, -0.1, 0.1 + 1e-9, 5.0], dtype=torch.float64)
    out = soft_threshold(coef, torch.tensor(0.1, dtype=torch.float64))
    assert (out == 0).tolist() == [True, True, False, False]


def test_usage_by_hand():
    """Rows by magnitude: (1/2, 0, 1/2), (0, 0, 1), (3/4, 1/4, 0); the last is empty."""
    expected = torch.tensor([1.25, 0.25, 1.5], dtype=torch.float64) / 3
    torch.testing.assert_close(usage(COEF), expected)
    torch.testing.assert_close(usage(COEF * 7), expected)
    weights = torch.tensor([0.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    assert usage(COEF, weights).tolist() == [0, 0, 1]
    assert usage(torch.zeros(2, 3)).tolist() == [0, 0, 0]
    torch.testing.assert_close(usage(COEF.float() * 1e-30), expected.float())


def test_sharing_entropy_by_hand():
    assert float(sharing_entropy(torch.tensor([0.5, 0.5, 0.0]))) == pytest.approx(
        np.log(2)
    )
    assert float(sharing_entropy(torch.tensor([1.0, 0.0]))) == 0


def test_sharing_weights_are_the_gradient_of_the_entropy_up_to_a_constant():
    use = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64, requires_grad=True)
    sharing_entropy(use).backward()
    slope = use.grad
    torch.testing.assert_close(sharing_weights(use.detach()), slope - slope.min())


def test_sharing_weights_rise_where_few_tasks_use_a_component():
    weights = sharing_weights(torch.tensor([0.7, 0.2, 0.1, 0.0]))
    assert weights[0] == 0
    assert torch.all(weights.diff() > 0)
    assert torch.isfinite(weights).all()
    assert sharing_weights(torch.tensor([1.0])).tolist() == [0]


def test_a_component_without_use_counts_as_one_of_little():
    unused = torch.tensor([0.5, 0.5, 0.0])
    little = torch.tensor([0.5, 0.5, 1e-6])
    torch.testing.assert_close(sharing_weights(unused), sharing_weights(little))
    less = torch.tensor([0.5, 0.5, 1e-7])
    torch.testing.assert_close(sharing_weights(less), sharing_weights(little))


@pytest.mark.parametrize("sharing", [0.0, 0.2])
def test_weights_by_their_formula(sharing):
    """Entry by entry, as the head of the module says."""
    rng = np.random.default_rng(0)
    coef = rng.normal(size=(5, 4)) * [[1.0], [0.1], [10.0], [0.3], [0.0]]
    use, spread, factor = rng.uniform(0.2, 1.0, size=(3, 5))
    sizes = np.abs(coef)
    shares = [use[k] * sizes[k] / sizes[k].sum() for k in range(4)]
    total = np.sum(shares, axis=0) / np.sum(shares)
    expected = np.empty((5, 4))
    for k, m in np.ndindex(5, 4):
        strength = 0.1 * factor[k] + sharing * np.log(total.max() / total[m])
        cut = max(0.3 * sizes[k].max(), 2 * 0.1 / spread[k])
        expected[k, m] = spread[k] * strength * max(0, 1 - sizes[k, m] / cut)
    found = penalty_weights(
        torch.from_numpy(coef),
        torch.from_numpy(use),
        sparsity=0.1,
        sharing=sharing,
        reweighted=True,
        spread=torch.from_numpy(spread),
        factor=torch.from_numpy(factor),
    )
    np.testing.assert_allclose(found, expected)
    assert 0 < (expected == 0).sum() < 16


def test_without_any_strength_nothing_is_penalised():
    use = torch.full((4,), 0.25, dtype=torch.float64)
    found = penalty_weights(COEF, use, sparsity=0.0, sharing=0.0, reweighted=True)
    assert found.tolist() == [[0.0] * 3] * 4


def test_sharing_step_lowers_the_entropy():
    """A small step of the weighted L1 penalty on heads makes usage less even."""
    coef = torch.tensor([[1.0, 0.5], [1.0, 0.4], [0.2, 0.9]], dtype=torch.float64)
    weights = torch.full((3,), 1 / 3, dtype=torch.float64)
    l1 = penalty_weights(coef, weights, sparsity=0.0, sharing=0.05, reweighted=False)
    after = soft_threshold(coef, l1)
    assert sharing_entropy(usage(after)) < sharing_entropy(usage(coef))


def test_reweighting_spares_large_coefficients():
    ones = torch.full((4,), 0.25, dtype=torch.float64)
    l1 = penalty_weights(COEF, ones, sparsity=0.1, sharing=0.0, reweighted=True)
    assert float(l1[0, 0]) == 0.0
    assert float(l1[0, 1]) == pytest.approx(0.1)
    assert float(l1[2, 1]) == 0.0  # a third of the largest
    assert l1[3].tolist() == pytest.approx([0.1] * 3)
    small = torch.tensor([[-2.0, 0.15, 0.3]], dtype=torch.float64)
    l1 = penalty_weights(small, ones[:1], sparsity=0.1, sharing=0.0, reweighted=True)
    assert l1[0].tolist() == pytest.approx([0.0, 0.1 * 0.75, 0.1 * 0.5])
    l1 = penalty_weights(COEF, ones, sparsity=0.1, sharing=0.0, reweighted=True)
    # and its scale does not matter
    torch.testing.assert_close(
        l1,
        penalty_weights(COEF * 50, ones, sparsity=0.1, sharing=0.0, reweighted=True),
    )


def test_spread_scales_the_penalty_of_an_output():
    ones = torch.full((4,), 0.25, dtype=torch.float64)
    spread = torch.tensor([1.0, 0.5, 0.3, 0.1], dtype=torch.float64)
    options = {"sparsity": 0.1, "sharing": 0.2, "reweighted": False}
    plain = penalty_weights(COEF, ones, **options)
    scaled = penalty_weights(COEF, ones, **options, spread=spread)
    torch.testing.assert_close(scaled, spread.unsqueeze(1) * plain)


def test_few_labels_raise_the_penalty_as_they_raise_random_errors():
    factor = few_labels_factor(torch.tensor([20.0, 80.0, 2000.0, 1e6]))
    assert factor.tolist() == pytest.approx([10, 5, 1, 1])


def test_factor_leaves_large_coefficients_alone():
    ones = torch.full((4,), 0.25, dtype=torch.float64)
    factor = torch.tensor([3.0, 1.0, 5.0, 2.0], dtype=torch.float64)
    options = {"sparsity": 0.1, "sharing": 0.2, "reweighted": True}
    plain = penalty_weights(COEF, ones, **options)
    more = penalty_weights(COEF, ones, **options, factor=factor)
    alone = penalty_weights(COEF, ones, **options | {"sharing": 0.0})
    extra = (factor - 1).unsqueeze(1) * alone
    torch.testing.assert_close(more, plain + extra)
    assert (more == 0).any()


def test_a_task_of_many_classes_weighs_as_one_task():
    blocks = [
        Block("regression", slice(0, 2), slice(0, 2)),
        Block("multiclass", slice(2, 3), slice(2, 1002), 1000),
    ]
    coef = torch.zeros(1002, 2)
    weights = output_weights(blocks, coef)
    assert float(weights.sum()) == pytest.approx(1, rel=1e-5)
    assert float(weights[:2].sum()) == pytest.approx(2 / 3, rel=1e-5)
    assert weights[-1].tolist() == pytest.approx(1 / 3000)
    coef[:2, 0], coef[2:, 1] = 1.0, 1.0
    assert usage(coef, weights).tolist() == pytest.approx([2 / 3, 1 / 3], rel=1e-4)
