"""Out-of-fold features: what a row's own labels must not touch, and what must match."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skdisentangle import SparseSharedDisentangler
from skdisentangle.fitting import training
from skdisentangle.fitting.crossfit import matching
from skdisentangle.rows import blocks

from ..conftest import make_problem

RNG = np.random.RandomState


@pytest.fixture(scope="module")
def problem():
    return make_problem(n_samples=120, n_tasks=6)


def quick(**options):
    """A small and fast estimator."""
    defaults = {
        "n_components": 6,
        "hidden_layer_sizes": (16,),
        "max_iter": 40,
        "cross_fit": 3,
        "random_state": 0,
    }
    return SparseSharedDisentangler(**{**defaults, **options})


@pytest.fixture(autouse=True)
def _quiet():
    """Short fits may say that they were short."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def correlations(a, b):
    return np.array([np.corrcoef(x, y)[0, 1] for x, y in zip(a.T, b.T, strict=True)])


@pytest.fixture(scope="module")
def plain(problem):
    X, Y, _ = problem
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return quick().fit_transform(X, Y)


class TestMatching:
    codes = RNG(0).normal(size=(200, 4))

    def test_finds_order_and_signs(self):
        noisy = self.codes + 0.5 * RNG(1).normal(size=self.codes.shape)
        moved = noisy[:, [2, 0, 3, 1]] * [1, -1, -1, 1]
        matrix = matching(moved, self.codes)
        assert np.array_equal(moved @ matrix, noisy)

    def test_is_the_best_for_all_not_for_the_first(self):
        """The first code is nearest to both components, the second only to one."""
        a, b, c = self.codes.T[:3]
        reference = np.column_stack([a + 0.6 * b, a])
        matrix = matching(np.column_stack([a + 0.3 * b, c + a]), reference)
        assert np.array_equal(matrix, [[1, 0], [0, 1]])

    def test_more_or_fewer_components(self):
        fewer = self.codes * [1, 0, 1, 1]
        assert np.array_equal(matching(fewer, self.codes), np.diag([1, 0, 1, 1]))
        assert np.array_equal(matching(self.codes, fewer), np.diag([1, 0, 1, 1]))
        assert not matching(self.codes * 0, self.codes).any()


class TestFeatures:
    def test_match_those_of_transform(self):
        X, Y, _ = make_problem(n_samples=400, n_tasks=24)
        dis = quick(max_iter=200, input_noise=0)
        features = dis.fit_transform(X, Y)
        codes = dis.transform(X)
        assert features.shape == codes.shape
        assert np.ptp(features - codes) > 0
        # components that the truth does not need are noise, and noise has no match
        assert codes.shape[1] >= 3
        assert (correlations(features[:, :3], codes[:, :3]) > 0.95).all()

    def test_fit_and_transform_are_those_without(self, problem):
        X, Y, _ = problem
        ours = quick()
        ours.fit_transform(X, Y)
        plain = quick(cross_fit=None)
        assert np.array_equal(plain.fit_transform(X, Y), ours.transform(X))
        assert np.array_equal(quick().fit(X, Y).transform(X), ours.transform(X))

    def test_of_a_row_do_not_hang_on_its_labels(self):
        X, _, _ = make_problem(n_samples=60)
        y = np.column_stack([X[:, 0] > 0, RNG(1).randint(2, size=60)]).astype(float)
        before = quick().fit_transform(X, y)
        plain = quick(cross_fit=None).fit_transform(X, y)
        moved = []
        for row in (3, 42):
            flipped = y.copy()
            flipped[row] = 1 - y[row]
            after = quick().fit_transform(X, flipped)
            assert np.abs(after[row]).max() > 0
            # the encoder of all rows has a say in order and signs only
            assert np.allclose(
                np.sort(np.abs(after[row])), np.sort(np.abs(before[row]))
            )
            again = quick(cross_fit=None).fit_transform(X, flipped)
            moved.append(np.abs(again[row] - plain[row]).max())
            assert np.ptp(after - before) > 0.01  # other rows have seen it
        assert min(moved) > 0.05

    def test_the_next_step_does_not_believe_noise(self):
        X = RNG(0).normal(size=(200, 10))
        y = RNG(1).randint(2, size=200)
        plain = quick(max_iter=200, cross_fit=None, input_noise=0)
        assert (
            LogisticRegression()
            .fit(plain.fit_transform(X, y), y)
            .score(plain.transform(X), y)
            > 0.8
        )
        honest = quick(max_iter=200).fit_transform(X, y)
        assert LogisticRegression().fit(honest, y).score(honest, y) < 0.6

    def test_have_the_same_bits_again(self, problem, plain):
        X, Y, _ = problem
        seed = RNG(5)
        again = clone(quick(random_state=seed))
        first = quick(random_state=seed).fit_transform(X, Y)
        assert np.array_equal(first, again.fit_transform(X, Y))
        assert np.array_equal(plain, quick().fit_transform(X, Y))
        assert not np.array_equal(first, plain)

    def test_containers_and_types(self, problem, plain):
        X, Y, _ = problem
        assert np.array_equal(quick().fit_transform(X, Y.tolist()), plain)
        frame = pd.DataFrame(X, index=np.arange(len(X))[::-1])
        frame.columns = frame.columns.astype(str)
        labels = pd.DataFrame(Y, index=frame.index)
        out = quick().set_output(transform="pandas").fit_transform(frame, labels)
        assert out.index.equals(frame.index)
        assert np.allclose(out.to_numpy(), plain)
        out = quick().set_output(transform="polars").fit_transform(X, pl.DataFrame(Y))
        assert isinstance(out, pl.DataFrame)
        assert np.allclose(out.to_numpy(), plain)
        out = quick().fit_transform(sparse.csr_array(X), Y)
        assert out.shape == plain.shape
        assert quick().fit_transform(X.astype(np.float32), Y).dtype == np.float32

    def test_weight_zero_is_as_good_as_removed(self, problem):
        X, Y, _ = problem
        weight = RNG(0).randint(3, size=len(X)).astype(float)
        kept = weight > 0
        ours = quick()
        features = ours.fit_transform(X, Y, sample_weight=weight)
        rest = quick().fit_transform(X[kept], Y[kept], sample_weight=weight[kept])
        assert np.allclose(features[kept], rest)
        assert np.array_equal(features[~kept], ours.transform(X)[~kept])

    def test_missing_labels_and_rare_classes(self, problem):
        """A fold may lack a class, and the values that told a regression task."""
        X, Y, _ = problem
        Y = Y[:, :4].copy()
        Y[RNG(0).random(Y.shape) < 0.3] = np.nan
        rare = np.full(len(X), "a", dtype=object)
        rare[7] = "b"
        whole = np.arange(len(X)) % 21  # one value more than classes may have
        whole[whole == 20] = np.where(np.flatnonzero(whole == 20) == 20, 20, 0)
        labels = pd.DataFrame(Y).assign(rare=rare, whole=whole)
        with pytest.warns(UserWarning, match="'rare' .has one class only"):
            features = quick().fit_transform(X, labels)
        assert np.isfinite(features).all()


class TestUse:
    def test_in_a_pipeline_and_a_search(self, problem):
        X, Y, factors = problem
        y = (factors[:, 0] > 0).astype(int)
        pipe = Pipeline([("dis", quick()), ("clf", LogisticRegression())])
        pipe.fit(X, y, dis__Y_tasks=Y)
        on_folds = LogisticRegression().fit(quick().fit_transform(X, Y), y)
        assert np.array_equal(pipe[-1].coef_, on_folds.coef_)
        weight = np.ones(len(X))
        with sklearn.config_context(enable_metadata_routing=True):
            routed = Pipeline(
                [
                    ("dis", quick().set_fit_request(sample_weight=True)),
                    ("clf", LogisticRegression().set_fit_request(sample_weight=False)),
                ]
            ).fit(X, y, Y_tasks=Y, sample_weight=weight)
        assert np.array_equal(pipe[-1].coef_, routed[-1].coef_)
        search = GridSearchCV(pipe, {"dis__cross_fit": [None, 2]}, cv=2)
        search.fit(X, y, dis__Y_tasks=Y)
        assert search.best_score_ > 0.8

    def test_ctrl_c_ends_all_folds(self, problem, monkeypatch):
        """Once pressed in the second of three further fits, no other begins."""
        X, Y, *_ = problem
        seen = []
        step = training.step

        def pressed(state, *arguments, **options):
            if not seen or seen[-1] is not state:
                seen.append(state)
            if len(seen) == 3:
                raise KeyboardInterrupt
            return step(state, *arguments, **options)

        monkeypatch.setattr(training, "step", pressed)
        dis = quick(cross_fit=3, max_iter=3)
        with pytest.raises(KeyboardInterrupt):
            dis.fit_transform(X, Y)
        assert len(seen) == 3
        assert not hasattr(dis, "coef_")

    def test_errors_name_the_argument_and_leave_all_as_it_was(self, problem):
        X, Y, _ = problem
        with pytest.raises(ValueError, match="'cross_fit' parameter"):
            quick(cross_fit=1).fit_transform(X, Y)
        dis = quick(cross_fit=8)
        with pytest.raises(ValueError, match="rows of weight above zero, 7; got 8"):
            dis.fit_transform(X[:7], Y[:7, 0])
        assert not hasattr(dis, "coef_")
        y = np.zeros(30)
        y[3] = 1
        with pytest.raises(ValueError, match=r"cross_fit=3: without fold .* one class"):
            dis.set_params(cross_fit=3).fit_transform(X[:30], y)
        assert not hasattr(dis, "coef_")


def test_rows_that_are_read_in_pieces(problem, plain, monkeypatch):
    X, Y, _ = problem
    monkeypatch.setattr(blocks, "BUFFER_VALUES", X.size // 2)
    features = quick().fit_transform(X, Y)
    assert features.shape[0] == plain.shape[0]
    assert np.isfinite(features).all()
