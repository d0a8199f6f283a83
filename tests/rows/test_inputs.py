from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from skdisentangle.rows import targets
from skdisentangle.rows.inputs import InputMoments, standardised_rows
from skdisentangle.rows.targets import (
    CompactLabels,
    encode_labels,
    label_weights,
    output_spread,
)
from skdisentangle.tasks.labels import Labels
from skdisentangle.tasks.task_set import TaskSet

from ..conftest import make_problem


def make_rows(seed=0, n_rows=5000, n_features=6):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_features)) * rng.uniform(0.1, 10, size=n_features)
    return X * (rng.random(X.shape) < 0.5), rng.integers(0, 4, size=n_rows) * 1.0


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("n_parts", [1, 7])
def test_moments_are_those_of_repeated_rows(container, n_parts):
    X, weight = make_rows()
    moments = InputMoments(X.shape[1])
    for part in np.array_split(np.arange(len(X)), n_parts):
        moments.update(container(X[part]), weight[part])
    repeated = X.repeat(weight.astype(int), axis=0)
    np.testing.assert_allclose(moments.mean, repeated.mean(0), rtol=1e-10)
    np.testing.assert_allclose(moments.var, repeated.var(0), rtol=1e-10)


@pytest.mark.parametrize("offset", [0.0, 1e8, -1e-8])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_any_scale_is_standardised(offset, scale):
    X = np.random.default_rng(0).normal(size=(400, 3)) * scale + offset * scale
    moments = InputMoments(3)
    moments.update(X, np.ones(400))
    like = torch.empty(0, dtype=torch.float64)
    rows = standardised_rows(X, moments.scaler(400), like)
    assert rows.mean(0).abs().max() < 1e-6
    torch.testing.assert_close(rows.std(0, correction=0), torch.ones(3).double())


def test_constant_columns_become_zero():
    X = np.column_stack([np.full(50, 1e8 / 3), np.zeros(50), np.arange(50.0)])
    moments = InputMoments(3)
    moments.update(X, np.ones(50))
    assert moments.scaler(50).scale[:2].tolist() == [0, 0]
    assert moments.scaler(50).scale[2] > 0


def test_channels_share_mean_and_scale():
    images = np.random.default_rng(0).normal(size=(200, 2, 3, 3))
    images[:, 1] = 5 * images[:, 1] + 2
    moments = InputMoments(18)
    moments.update(images.reshape(200, 18), np.ones(200))
    scaler = moments.scaler(200, (2, 3, 3))
    for channel in (0, 1):
        part = slice(9 * channel, 9 * channel + 9)
        np.testing.assert_allclose(scaler.mean[part], images[:, channel].mean())
        np.testing.assert_allclose(scaler.scale[part], 1 / images[:, channel].std())


def test_sparse_rows_equal_dense_rows():
    X, weight = make_rows(n_rows=50)
    moments = InputMoments(6)
    moments.update(X, weight)
    like = torch.empty(0)
    dense = standardised_rows(X, moments.scaler(50), like)
    lazy = standardised_rows(sparse.csr_array(X), moments.scaler(50), like)
    index = torch.tensor([3, 1, 40])
    assert len(lazy) == 50
    torch.testing.assert_close(lazy[index], dense[index])


def test_some_rows_of_dense_and_sparse_ones():
    X, weight = make_rows(n_rows=50)
    moments = InputMoments(6)
    moments.update(X, weight)
    scaler, like = moments.scaler(50), torch.empty(0)
    which = np.array([3, 1, 40])
    expected = standardised_rows(X, scaler, like)[which]
    dense = standardised_rows(X, scaler, like, which)
    torch.testing.assert_close(dense, expected, rtol=0, atol=0)
    few = standardised_rows(sparse.csr_array(X), scaler, like, which)
    torch.testing.assert_close(few[torch.arange(3)], expected)


def test_label_weights():
    labelled = np.array([[True, True], [True, False], [True, True], [True, True]])
    targets = np.array([[0.0, 0.3], [0.0, 0.0], [0.0, 0.1], [1.0, 0.2]])
    assert label_weights(labelled[:, :1], None, targets[:, :1], None) is None
    plain = label_weights(labelled, None, targets, None)
    np.testing.assert_allclose(plain[:, 0], 1)
    np.testing.assert_allclose(plain[:, 1], np.array([1, 0, 1, 1]) * 4 / 3)
    balanced = label_weights(labelled, None, targets, np.array([2, 0]))
    np.testing.assert_allclose(balanced[:, 0], np.array([1, 1, 1, 3]) * 2 / 3)
    np.testing.assert_allclose(balanced[:, 1], plain[:, 1])
    weighted = label_weights(labelled, np.array([1.0, 2, 3, 2]), targets, None)
    np.testing.assert_allclose(weighted.mean(0), 1)
    assert weighted[2, 0] == pytest.approx(3 * weighted[0, 0])


def test_output_spread():
    y = np.array([[0.1, 0.0, 0.0], [0.2, 1.0, 1.0], [0.3, 1.0, 2.0], [0.5, 1.0, 2.0]])
    task_set = TaskSet.build(
        Labels.read(y),
        task_types=["regression", "binary", "multiclass"],
        sample_weight=np.ones(len(y)),
    )
    targets, _ = task_set.encode(Labels.read(y))
    spread = output_spread(task_set, range(3), targets, None)
    quarter, half = np.sqrt(3 / 16), np.sqrt(1 / 4)
    np.testing.assert_allclose(spread, [1, quarter, quarter, quarter, half])
    rare = np.zeros((10_000, 1))
    rare[0] = 1
    assert output_spread(task_set, [1], rare, None) == [0.1]


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_compact_labels_are_the_labels(balanced, weighted, missing, monkeypatch):
    _, Y, _ = make_problem(n_tasks=7)
    rng = np.random.default_rng(0)
    Y[rng.random(Y.shape) < missing] = np.nan
    weight = rng.uniform(0.1, 5, size=300) if weighted else None
    labels = Labels.read(Y)
    task_set = TaskSet.build(labels, task_types=None, sample_weight=np.ones(300))
    like = torch.empty(0)
    plain = encode_labels(task_set, labels, weight, balanced)
    monkeypatch.setattr(targets, "MANY_LABELS", 7 * 300 - 1)
    compact = encode_labels(task_set, labels, weight, balanced)
    assert isinstance(compact, CompactLabels)
    assert compact.values.dtype == np.float32
    np.testing.assert_allclose(compact.spread(task_set), plain.spread(task_set))
    shuffled = rng.permutation(300)[:90]
    for rows in (slice(None), shuffled):
        one, two = plain.tensors(rows, like), compact.tensors(rows, like)
        assert len(one) == len(two)
        for index in (slice(3, 50), torch.tensor([80, 2, 3]), slice(None)):
            for name in ("targets", "weights", "row_weights"):
                expected, made = getattr(one, name), getattr(two, name)
                assert (expected is None) == (made is None)
                if expected is not None:
                    torch.testing.assert_close(made[index], expected[index])
                    part = getattr(two[index], name)
                    torch.testing.assert_close(part, expected[index])
