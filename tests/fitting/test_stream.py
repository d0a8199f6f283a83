"""Fits in pieces: they go on from where they are, and keep their columns."""

import copy

import numpy as np
import pytest

from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors
from skdisentangle.metrics import disentanglement_score

OPTIONS = {"n_components": 10, "encoder": "linear", "random_state": 0}


@pytest.fixture(scope="module")
def problem():
    return make_multitask_factors(
        30_000, n_factors=4, n_tasks=24, n_features=8, mixing="linear", random_state=100
    )


@pytest.fixture(scope="module")
def fitted(problem):
    dis = SparseSharedDisentangler(**OPTIONS)
    return dis.fit(problem.X[:4000], problem.Y[:4000])


def stream(dis, problem, size, rows, hide=None):
    """Passes over consecutive rows, in calls of one size."""
    for start in range(rows.start, rows.stop, size):
        labels = problem.Y[start : start + size].copy()
        if hide is not None:
            labels[:, hide(start // size)] = np.nan
        dis.partial_fit(problem.X[start : start + size], labels)
    return dis


def same_columns(one, other, X):
    """Correlation of each column with the one in its place."""
    a, b = one.transform(X), other.transform(X)
    assert a.shape == b.shape
    return np.array([np.corrcoef(x, y)[0, 1] for x, y in zip(a.T, b.T, strict=True)])


def purity(dis, problem):
    rows = slice(-2000, None)
    codes = dis.transform(problem.X[rows])
    return disentanglement_score(problem.factors[rows], codes, random_state=0)


@pytest.mark.parametrize("size", [40, 500])
def test_a_stream_ends_where_a_fit_ends(problem, fitted, size):
    """Also where a call brings fewer rows than a basis takes."""
    options = {"batch_size": 40} | OPTIONS
    dis = SparseSharedDisentangler(**options)
    stream(dis, problem, size, range(0, 16_000))
    assert not dis.loss_curve_[-1] > dis.loss_curve_[0]
    assert dis.transform(problem.X[:5]).shape == (5, 10)  # none are chosen yet
    stream(dis, problem, size, range(16_000, 28_000))
    stream(dis, problem, size, range(0, 28_000))
    assert dis.transform(problem.X[:5]).shape == (5, 4)
    assert purity(dis, problem) > purity(fitted, problem) - 0.01
    assert np.count_nonzero(dis.coef_) < 0.7 * dis.coef_.size


def test_a_fit_goes_on(problem, fitted, tmp_path):
    pytest.importorskip("safetensors")
    fitted.save(tmp_path / "model")
    loaded = SparseSharedDisentangler.load(tmp_path / "model")
    for dis in (copy.deepcopy(fitted), loaded):
        dis.partial_fit(problem.X[4000:4500], problem.Y[4000:4500])
        assert dis.coef_.shape == fitted.coef_.shape
        assert np.count_nonzero(dis.coef_) < 1.5 * np.count_nonzero(fitted.coef_)
        assert dis.n_iter_ == fitted.n_iter_ + 1
        assert same_columns(dis, fitted, problem.X[-2000:]).min() > 0.99
        stream(dis, problem, 500, range(4500, 9000))
        assert same_columns(dis, fitted, problem.X[-2000:]).min() > 0.99
        assert purity(dis, problem) > purity(fitted, problem) - 0.01


def test_columns_stay_where_they_are(problem):
    dis = SparseSharedDisentangler(**OPTIONS)
    rows = problem.X[-2000:]
    n_kept = 0
    for start in range(0, 28_000, 2000):
        before = copy.deepcopy(dis) if start else None
        for _ in range(6):
            stream(dis, problem, 2000, range(start, start + 2000))
        chosen = before is not None and before.coef_.shape[1] < 10
        if chosen:
            n_kept += 1
            assert same_columns(dis, before, rows).min() > 0.97
            assert dis.active_components_.max() < dis.coef_.shape[1]
    assert n_kept >= 2
    assert dis.get_feature_names_out().shape == (dis.coef_.shape[1],)


def test_calls_without_a_label_of_some_task(problem):
    """Each call lacks the labels of some tasks, also when the basis is chosen."""
    dis = SparseSharedDisentangler(**OPTIONS, batch_size=50)
    dis.partial_fit(problem.X[:500], problem.Y[:500])

    def hide(call):
        return [call % 24, (call + 7) % 24]

    stream(dis, problem, 500, range(500, 28_000), hide)
    stream(dis, problem, 500, range(0, 28_000), hide)
    assert purity(dis, problem) > 0.97
    assert dis.score_tasks(problem.X[-2000:], problem.Y[-2000:]).min() > 0.6
