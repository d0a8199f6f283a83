from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, r2_score

from skdisentangle.tasks.blocks import (
    Block,
    hessian_product,
    loss_values,
    residual,
    task_scores,
    tasks_to_outputs,
)
from skdisentangle.tasks.types import TYPES
from tests.conftest import on_two_ranks

BLOCKS = [
    Block("regression", slice(0, 2), slice(0, 2)),
    Block("binary", slice(2, 3), slice(2, 3)),
    Block("multiclass", slice(3, 5), slice(3, 11), 4),
]


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.normal(size=(40, 11)))
    targets = torch.from_numpy(
        np.column_stack(
            [
                rng.normal(size=(40, 2)),
                rng.integers(0, 2, size=40),
                rng.integers(0, 4, size=(40, 2)),
            ]
        )
    )
    weights = torch.from_numpy(rng.integers(0, 3, size=(40, 5)).astype(float))
    return scores, targets, weights


def test_values_are_those_of_scikit_learn(batch):
    scores, targets, _ = batch
    values = loss_values(scores, targets, BLOCKS).mean(0).numpy()
    for task in (0, 1):
        error = (scores[:, task] - targets[:, task]).square().mean() / 2
        assert values[task] == pytest.approx(float(error))
    positive = torch.sigmoid(scores[:, 2]).numpy()
    assert values[2] == pytest.approx(log_loss(targets[:, 2], positive))
    for task, outputs in ((3, slice(3, 7)), (4, slice(7, 11))):
        proba = scores[:, outputs].softmax(1).numpy()
        expected = log_loss(targets[:, task], proba, labels=[0, 1, 2, 3])
        assert values[task] == pytest.approx(expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_residual_is_the_derivative(batch, weighted):
    scores, targets, weights = batch
    weights = weights if weighted else None
    leaf = scores.clone().requires_grad_()
    values = loss_values(leaf, targets, BLOCKS)
    (values if weights is None else values * weights).sum().backward()
    torch.testing.assert_close(
        residual(scores.clone(), targets, weights, BLOCKS), leaf.grad
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_hessian_product_is_the_derivative_of_the_residual(batch, weighted):
    scores, targets, weights = batch
    weights = weights if weighted else None
    direction = torch.from_numpy(np.random.default_rng(1).normal(size=scores.shape))
    step = 1e-6 * direction
    ends = [
        residual(moved, targets, weights, BLOCKS)
        for moved in (scores + step, scores - step)
    ]
    torch.testing.assert_close(
        hessian_product(direction.clone(), scores, weights, BLOCKS),
        (ends[0] - ends[1]) / 2e-6,
        rtol=1e-6,
        atol=1e-8,
    )


@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: b.type)
def test_curvature_bounds_the_hessian(block):
    rng = np.random.default_rng(1)
    width = block.n_classes
    single = Block(block.type, slice(0, 1), slice(0, width), width)
    target = torch.zeros(1, 1, dtype=torch.float64)
    largest = 0.0
    for scale in (0.0, 0.1, 1.0, 3.0):
        scores = torch.from_numpy(scale * rng.normal(size=(1, width)))
        hessian = torch.autograd.functional.hessian(
            lambda s: loss_values(s, target, [single]).sum(), scores
        ).reshape(width, width)
        largest = max(largest, float(torch.linalg.eigvalsh(hessian)[-1]))
    assert largest <= TYPES[block.type].curvature + 1e-12


@pytest.mark.parametrize(
    ("kind", "scores"),
    [("regression", [3.0]), ("binary", [0.0]), ("multiclass", [0.0, 0.0, -40.0])],
)
def test_no_smaller_curvature_would_do(kind, scores):
    """Where a class is as likely as not, or two are as likely as each other."""
    width = len(scores)
    single = Block(kind, slice(0, 1), slice(0, width), width)
    target = torch.zeros(1, 1, dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(
        lambda s: loss_values(s, target, [single]).sum(),
        torch.tensor([scores], dtype=torch.float64),
    ).reshape(width, width)
    largest = float(torch.linalg.eigvalsh(hessian)[-1])
    assert largest == pytest.approx(TYPES[kind].curvature)


def test_huge_scores_stay_finite():
    scores = torch.tensor([[1e4, -1e4, 1e4, 0.0]])
    blocks = [
        Block("binary", slice(0, 2), slice(0, 2)),
        Block("multiclass", slice(2, 3), slice(2, 4), 2),
    ]
    targets = torch.tensor([[0.0, 1.0, 1.0]])
    values = loss_values(scores, targets, blocks)
    assert values.tolist() == [[1e4, 1e4, 1e4]]
    assert torch.isfinite(residual(scores, targets, None, blocks)).all()


def test_tasks_to_outputs_repeats_by_class():
    values = torch.arange(5.0)
    assert tasks_to_outputs(values, BLOCKS).tolist() == [0, 1, 2] + [3] * 4 + [4] * 4
    rows = torch.stack([values, values + 10])
    repeated = tasks_to_outputs(rows, BLOCKS)
    assert repeated[1].tolist() == [10, 11, 12] + [13] * 4 + [14] * 4
    for n in (2, 3):
        block = Block("multiclass", slice(0, 2), slice(0, 2 * n), n)
        assert tasks_to_outputs(values[:2], [block]).tolist() == [0] * n + [1] * n


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_are_those_of_scikit_learn(batch, weighted):
    scores, targets, weights = batch
    given = weights if weighted else None
    ours = task_scores(scores, targets, given, BLOCKS).numpy()
    scores, targets = scores.numpy(), targets.numpy()
    w = weights.numpy() if weighted else np.ones((40, 5))
    for task in (0, 1):
        expected = r2_score(targets[:, task], scores[:, task], sample_weight=w[:, task])
        assert ours[task] == pytest.approx(expected)
    predicted = scores[:, 2] > 0
    assert ours[2] == pytest.approx(
        accuracy_score(targets[:, 2], predicted, sample_weight=w[:, 2])
    )
    for task, outputs in ((3, slice(3, 7)), (4, slice(7, 11))):
        predicted = scores[:, outputs].argmax(1)
        assert ours[task] == pytest.approx(
            accuracy_score(targets[:, task], predicted, sample_weight=w[:, task])
        )


def test_scores_of_the_rows_of_two_ranks(batch):
    scores, targets, weights = batch

    def job(ranks):
        mine = slice(0, 7) if ranks.rank == 0 else slice(7, None)
        return task_scores(scores[mine], targets[mine], weights[mine], BLOCKS, ranks)

    expected = task_scores(scores, targets, weights, BLOCKS)
    for found in on_two_ranks(job):
        torch.testing.assert_close(found, expected)


def test_scores_of_even_odds_and_of_classes_never_seen():
    """A score of zero says class 0; a class of -1 is never predicted."""
    blocks = [
        Block("binary", slice(0, 1), slice(0, 1)),
        Block("multiclass", slice(1, 2), slice(1, 4), 3),
    ]
    scores = torch.tensor([[0.0, 1.0, 0.0, 2.0], [0.1, 1.0, 0.0, 2.0]])
    targets = torch.tensor([[0.0, 2.0], [0.0, -1.0]])
    assert task_scores(scores, targets, None, blocks).tolist() == [0.5, 0.5]
    targets = torch.tensor([[1.0, 2.0], [-1.0, 2.0]])
    assert task_scores(scores, targets, None, blocks).tolist() == [0, 1]


def test_scores_of_unlabelled_and_constant_tasks():
    blocks = [Block("regression", slice(0, 3), slice(0, 3))]
    scores = torch.tensor([[1.0, 1.0, 5.0], [1.0, 2.0, 5.0]])
    targets = torch.tensor([[0.0, 1.0, 5.0], [0.0, 1.0, 5.0]])
    weights = torch.tensor([[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    out = task_scores(scores, targets, weights, blocks)
    assert torch.isnan(out[0])
    assert out[1:].tolist() == [0, 1]
    # Weights of a task without labels are zero; of one with, they may be below one.
    small = task_scores(scores, targets, weights / 4, blocks)
    torch.testing.assert_close(small, out, equal_nan=True)


@pytest.mark.parametrize("n_classes", [3, 32, 33, 100])
def test_residual_of_few_and_of_many_classes(n_classes):
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.normal(size=(20, 2 * n_classes)))
    targets = torch.from_numpy(rng.integers(0, n_classes, size=(20, 2)) * 1.0)
    blocks = [
        Block("multiclass", slice(0, 2), slice(0, 2 * n_classes), n_classes),
    ]
    leaf = scores.clone().requires_grad_()
    loss_values(leaf, targets, blocks).sum().backward()
    out = residual(scores.clone(), targets, None, blocks)
    torch.testing.assert_close(out, leaf.grad)
