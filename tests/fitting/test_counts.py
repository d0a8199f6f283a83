"""Labels are counted as labels: rows that repeat, weights, and samples of rows."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression

from skdisentangle import SparseSharedDisentangler
from skdisentangle.distributed import ALONE
from skdisentangle.fitting import all_rows
from skdisentangle.fitting.all_rows import sample_rows
from skdisentangle.rows import targets
from skdisentangle.rows.batches import LabelTensors
from skdisentangle.rows.targets import encode_labels
from skdisentangle.tasks.labels import Labels
from skdisentangle.tasks.task_set import TaskSet


@pytest.mark.parametrize("n_values", [2, 3])
def test_rows_that_repeat_are_as_many_labels(n_values):
    """As good as least squares on columns of few values, and as with a little jitter."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, n_values, size=(3000, 4)).astype(float)
    signal = X @ rng.normal(size=(4, 12))
    Y = signal + 1.4 * signal.std(0) * rng.normal(size=signal.shape)
    dis = SparseSharedDisentangler(8, random_state=0).fit(X, Y)
    linear = LinearRegression().fit(X, Y).score(X, Y)
    assert dis.score(X, Y) > linear - 0.01
    assert dis.transform(X).shape[1] == 4
    jittered = X + 1e-5 * rng.normal(size=X.shape)
    again = SparseSharedDisentangler(8, random_state=0).fit(jittered, Y)
    assert again.input_noise_ == dis.input_noise_
    assert dis.score(X, Y) == pytest.approx(again.score(jittered, Y), abs=0.01)


@pytest.mark.parametrize("compact", [False, True])
def test_counts_of_rows_and_labels(compact, monkeypatch):
    monkeypatch.setattr(targets, "MANY_LABELS", 0 if compact else 10**9)
    Y = np.array([[0.5, 1.0], [1.5, np.nan], [2.5, 0.0], [3.5, np.nan]])
    labels = Labels.read(Y)

    def counts(weight, rows=slice(None)):
        ones = np.ones(4) if weight is None else weight
        tasks = TaskSet.build(labels, task_types=None, sample_weight=ones)
        found = encode_labels(tasks, labels, weight, balanced=False).counts(rows)
        return found.rows, found.labels.tolist()

    assert counts(None) == (4, [4, 2])
    assert counts(np.array([2.0, 1, 3, 1])) == (7, [7, 5])
    assert counts(np.array([0.5, 0.5, 0.25, 0.5])) == (4, [4, 2])
    assert counts(np.array([2.0, 1, 3, 1]), np.array([0, 1])) == (3, [3, 2])


@pytest.mark.parametrize("every", [2, 3, 5])
def test_labels_in_a_pattern(every, monkeypatch):
    """Each task is labelled on every k-th row, each on another."""
    monkeypatch.setattr(all_rows, "BASIS_ROWS", 300)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300 * every, 5))
    Y = X[:, :3] @ rng.normal(size=(3, 2 * every)) + 0.1
    for task in range(Y.shape[1]):
        Y[np.arange(len(X)) % every != task % every, task] = np.nan
    dis = SparseSharedDisentangler(4, encoder="linear", max_iter=30, random_state=0)
    assert dis.fit(X, Y).score_tasks(X, Y).min() > 0.95


def test_samples_hold_labels_of_every_task(monkeypatch):
    monkeypatch.setattr(all_rows, "LEAST_LABELS", 10)
    there = torch.zeros(5000, 3)
    there[:, 0] = 1.0
    there[torch.arange(7, 5000, 250), 1] = 1.0  # 20 labels
    there[4321, 2] = 1.0
    labels = LabelTensors(torch.zeros(5000, 3), there, None)
    some = sample_rows(labels, ALONE, most=200)
    known = (there[some] > 0).sum(0)
    assert 200 <= len(some) <= 212
    assert known[0] == len(some)
    assert known[1] >= 10
    assert known[2] == 1
    assert torch.equal(some, some.unique())
    # All rows where they are few, in order; and no pattern of the order.
    assert sample_rows(labels, ALONE, most=5000).tolist() == list(range(5000))
    steps = sample_rows(LabelTensors(there, None, None), ALONE, most=200).diff()
    assert len(steps.unique()) > 20
