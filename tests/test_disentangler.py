from __future__ import annotations

import io
import pickle
import subprocess
import sys
import threading
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict
from sklearn.pipeline import Pipeline

from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors
from skdisentangle.metrics import dci_scores, mcc_score

from .conftest import make_problem


def quick(**options):
    """A small and fast estimator."""
    defaults = {
        "n_components": 6,
        "hidden_layer_sizes": (16,),
        "max_iter": 40,
        "n_iter_no_change": 100,
        "random_state": 0,
    }
    return SparseSharedDisentangler(**{**defaults, **options})


@pytest.fixture(autouse=True)
def _quiet():
    """Short fits may say that they were short."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


@pytest.fixture(scope="module")
def fitted(problem):
    X, Y, _ = problem
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return quick().fit(X, Y)


class TestFit:
    def test_recovers_correlated_factors_and_their_number(self):
        """At a correlation of 0.9 differences of factors are the cheap components."""
        made = make_multitask_factors(
            3000, correlation=0.9, link="logistic", random_state=11
        )
        dis = SparseSharedDisentangler(random_state=0).fit(made.X, made.Y)
        assert len(dis.active_components_) == 6
        codes = dis.transform(made.X)[:, :6]
        assert mcc_score(made.factors, codes) > 0.99
        assert (
            dci_scores(made.factors, codes, importance="linear").disentanglement > 0.8
        )

    def test_no_component_is_a_square_that_sharpens_classes(self):
        """Of tasks in three classes, correlated factors, and three times the components."""
        made = make_multitask_factors(
            3000,
            n_factors=5,
            n_features=16,
            n_tasks=40,
            correlation=0.9,
            task_types={"multiclass": 1, "binary": 1, "regression": 1},
            n_classes=3,
            random_state=11,
        )
        dis = SparseSharedDisentangler(
            15, task_types=made.task_types, random_state=0
        ).fit(made.X[:2000], made.Y[:2000])
        assert len(dis.active_components_) == 5
        codes = dis.transform(made.X[2000:])
        assert mcc_score(made.factors[2000:], codes) > 0.99
        scores = dci_scores(made.factors[2000:], codes)
        assert scores.disentanglement > 0.97

    @pytest.mark.slow
    @pytest.mark.parametrize("n_components", [7, 21])
    def test_correlated_factors_of_classes_only(self, n_components):
        """With no component to spare, too, a square must not take the place of a factor."""
        made = make_multitask_factors(
            5000,
            n_factors=7,
            n_features=24,
            n_tasks=56,
            correlation=0.9,
            task_types="multiclass",
            n_classes=3,
            random_state=1,
        )
        dis = SparseSharedDisentangler(
            n_components, task_types="multiclass", random_state=1
        ).fit(made.X[:4000], made.Y[:4000])
        assert len(dis.active_components_) == 7
        codes = dis.transform(made.X[4000:])
        scores = dci_scores(made.factors[4000:], codes)
        assert scores.disentanglement > 0.95

    @pytest.mark.parametrize("encoder", ["mlp", "conv"])
    def test_no_more_components_than_asked_for(self, encoder):
        """While it looks for squares of factors a fit has more outputs than components."""
        made = make_multitask_factors(
            400, n_factors=6, n_features=16, task_types="binary", random_state=0
        )
        shape = {"input_shape": (1, 4, 4)} if encoder == "conv" else {}
        dis = quick(n_components=3, encoder=encoder, n_iter_no_change=100, **shape)
        dis.fit(made.X, made.Y)
        assert dis.transform(made.X).shape[1] == 3
        scaler = dis.encoder_.components
        assert len(scaler.mean) == 3
        scores = dis.transform(made.X) @ dis.coef_.T + dis.intercept_
        np.testing.assert_array_equal(scores > 0, dis.predict(made.X))
        before = dis.transform(made.X)
        dis.set_params(warm_start=True, max_iter=1).fit(made.X, made.Y)
        assert dis.transform(made.X).shape == before.shape

    def test_recovers_factors_at_default_settings(self):
        X, Y, factors = make_problem(seed=2, n_samples=1000, n_tasks=36)
        Y = Y[:, np.arange(36) % 3 < 2]  # regression and binary tasks
        dis = SparseSharedDisentangler(random_state=0).fit(X, Y)
        assert dis.active_components_.tolist() == [0, 1, 2]
        codes = dis.transform(X)
        match = np.abs(np.corrcoef(factors.T, codes[:, :3].T)[:3, 3:])
        assert match.max(1).min() > 0.97
        assert sorted(match.argmax(1)) == [0, 1, 2]

    def test_attributes(self, fitted, problem):
        X, Y, _ = problem
        n_outputs = 3 + 3 + 3 * 3
        assert fitted.coef_.shape == (n_outputs, len(fitted.active_components_))
        assert fitted.intercept_.shape == (n_outputs,)
        assert [t.type for t in fitted.tasks_[:3]] == [
            "regression",
            "binary",
            "multiclass",
        ]
        assert fitted.usage_.sum() == pytest.approx(1)
        assert np.all(np.diff(fitted.usage_) <= 0)
        used = np.flatnonzero((fitted.coef_ != 0).any(0))
        np.testing.assert_array_equal(fitted.active_components_, used)
        assert (fitted.coef_ == 0).sum() > 0
        assert fitted.n_iter_ == len(fitted.loss_curve_) == 40
        assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]
        assert fitted.validation_scores_ is None
        assert fitted.n_features_in_ == X.shape[1]
        assert Y.shape[1] == len(fitted.tasks_)

    def test_features_are_standardised(self, fitted, problem):
        codes = fitted.transform(problem[0])[:, fitted.active_components_]
        np.testing.assert_allclose(codes.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(codes.std(0), 1, atol=1e-3)

    def test_signs_are_fixed(self, fitted):
        regression = [t for t in fitted.tasks_ if t.type == "regression"]
        scale = np.ones(len(fitted.coef_))
        for task in regression:
            scale[task.outputs] = task.scale
        standard = fitted.coef_ / scale[:, None]
        for component in fitted.active_components_:
            column = standard[:, component]
            assert column[np.abs(column).argmax()] > 0

    def test_large_coefficients_are_not_shrunk(self, problem):
        """coef_ and intercept_ are those of least squares on transform(X)."""
        X, _, factors = problem
        y = factors[:, 0] * 3 + 10
        dis = quick(sharing=0, sparsity=0.1).fit(X, y)
        codes = dis.transform(X)
        free = LinearRegression().fit(codes, y)
        np.testing.assert_allclose(dis.coef_[0], free.coef_, rtol=1e-3)
        np.testing.assert_allclose(dis.intercept_, free.intercept_, rtol=1e-3)
        assert np.array_equal(dis.active_components_, np.arange(codes.shape[1]))

    def test_no_penalty_is_the_plain_network(self, problem):
        X, Y, _ = problem
        dis = quick(sparsity=0, sharing=0).fit(X, Y)
        assert (dis.coef_ != 0).mean() > 0.99
        assert len(dis.active_components_) == 6

    def test_missing_labels_say_nothing(self, problem):
        """A label that is missing has no influence, whatever stood there."""
        X, Y, _ = problem
        missing = np.random.default_rng(0).random(Y.shape) < 0.4
        first = pd.DataFrame(np.where(missing, np.nan, Y))
        second = np.where(missing, None, Y)
        a, b = quick().fit(X, first), quick().fit(X, second)
        np.testing.assert_array_equal(a.coef_, b.coef_)
        assert a.score(X, Y) > 0.8

    @pytest.mark.parametrize("factor", [1e-8, 1e8])
    def test_scales_do_not_matter(self, problem, factor):
        X, Y, _ = problem
        scaled = Y.copy()
        regression = [0, 3, 6]
        scaled[:, regression] *= factor
        types = [("regression", "binary", "multiclass")[t % 3] for t in range(9)]
        a = quick(task_types=types).fit(X, Y)
        b = quick(task_types=types).fit(X * factor, scaled)
        np.testing.assert_array_equal(a.coef_ != 0, b.coef_ != 0)
        np.testing.assert_allclose(
            a.transform(X), b.transform(X * factor), rtol=1e-2, atol=1e-2
        )
        prediction = b.predict(X * factor)[:, 0] / factor
        np.testing.assert_allclose(prediction, a.predict(X)[:, 0], atol=2e-2)

    def test_odd_columns_are_no_error(self, problem):
        X, Y, _ = problem
        odd = np.column_stack([X, X[:, 0], np.full(len(X), 7.0), X[:, 1] * 1e8])
        assert quick().fit(odd, Y).score(odd, Y) > 0.8
        assert quick().fit(X[:, :1], Y).transform(X[:, :1]).shape == (300, 1)
        whole = np.round(X).astype(int)
        assert quick().fit(whole, Y).score(whole, Y) > 0.5
        assert np.isfinite(quick().fit(X > 0, Y).transform(X > 0)).all()

    def test_sparse_rows_fit_as_dense_rows(self, problem):
        X, Y, _ = problem
        X = np.where(np.abs(X) < 0.5, 0, X)
        dense, lazy = quick().fit(X, Y), quick().fit(sparse.csr_array(X), Y)
        np.testing.assert_allclose(dense.coef_, lazy.coef_, atol=1e-3)
        np.testing.assert_allclose(
            lazy.transform(X), lazy.transform(sparse.csr_matrix(X)), atol=1e-12
        )
        with pytest.raises(TypeError, match=r"[Ss]parse"):
            quick(encoder="conv").fit(sparse.csr_array(X), Y)

    def test_sample_weight_counts_rows(self, problem):
        X, Y, _ = (part[:100] for part in problem)
        weight = np.random.default_rng(0).integers(0, 3, size=100)
        options = {"batch_size": 1000, "max_iter": 60}
        weighted = quick(**options).fit(X, Y, sample_weight=weight)
        repeated = quick(**options).fit(
            X.repeat(weight, axis=0), Y.repeat(weight, axis=0)
        )
        np.testing.assert_allclose(
            weighted.transform(X), repeated.transform(X), atol=1e-4
        )

    @pytest.mark.parametrize("sparsity", [0.01, "auto"])
    def test_the_same_weight_for_all_rows_counts_them(self, sparsity):
        """Weight 5 is each row five times; so few whole numbers are then classes."""
        rng = np.random.default_rng(1)
        X, y = rng.normal(size=(16, 3)), rng.integers(0, 3, 16)
        options = {"encoder": "linear", "sparsity": sparsity, "batch_size": 1000}
        given = [
            (X, y, None),
            (X, y, np.full(16, 0.5)),
            (X, y, np.full(16, 5)),
            (X.repeat(5, axis=0), y.repeat(5), None),
        ]
        plain, light, heavy, repeated = (
            quick(**options).fit(rows, labels, sample_weight=weight)
            for rows, labels, weight in given
        )
        kinds = [dis.tasks_[0].type for dis in (plain, light, heavy, repeated)]
        assert kinds == ["regression", "regression", "multiclass", "multiclass"]
        np.testing.assert_array_equal(light.transform(X), plain.transform(X))
        if sparsity != "auto":  # which holds rows back, of which there are more
            np.testing.assert_allclose(
                heavy.transform(X), repeated.transform(X), atol=1e-8
            )

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"input_noise": "auto"},
            {"encoder": "linear", "early_stopping": True},
            {"sparsity": "auto", "sharing": 0.1},
            {"sparsity": 0, "sharing": 0},
            {"solver": "bilevel"},
        ],
    )
    def test_task_of_weight_zero_has_no_say(self, problem, options):
        """The fit is that without the task, bit by bit; its head predicts what it can."""
        X, Y, factors = problem
        target, first = factors[:, 0], {"first": 0.0}
        cases = {
            "regression": target**3,
            "binary": target > 0.3,
            "multiclass": np.digitize(target, [-0.5, 0.5]),
            "ordinal": np.digitize(target, [-0.5, 0.5]),
        }
        settings = {"n_components": 6, "max_iter": 30, "random_state": 0} | options
        names = [f"t{j}" for j in range(Y.shape[1])]
        tasks = pd.DataFrame(Y, columns=names)
        alone = SparseSharedDisentangler(**settings).fit(X, tasks)
        for kind, labels in cases.items():
            both = SparseSharedDisentangler(
                **settings, task_weight=first, task_types={"first": kind}
            ).fit(X, pd.concat([pd.Series(labels, name="first"), tasks], axis=1))
            np.testing.assert_array_equal(both.transform(X), alone.transform(X))
            own = both.tasks_[0].outputs
            np.testing.assert_array_equal(both.coef_[own.stop :], alone.coef_)
            np.testing.assert_array_equal(both.usage_, alone.usage_)
            assert both.loss_curve_ == alone.loss_curve_
            found = both.predict(X)["first"]
            if kind == "regression":
                assert r2_score(labels, found) > 0.4
            else:
                assert np.mean(found == labels) > 0.8

    def test_a_task_of_weight_zero_beside_a_module_that_cannot_be_copied(self, problem):
        X, Y, factors = problem
        seen = []

        def own(n_features, n_components):
            return _Spy(seen)

        dis = quick(encoder=own, task_weight=[0, 1, 1, 1])
        target = factors[:, 0]
        dis.fit(X, np.column_stack([target, Y[:, :3]]))
        assert r2_score(target, dis.predict(X)[:, 0]) > 0.7
        assert next(dis.encoder_.body.parameters()).dtype == torch.float64

    def test_fits_go_on_beside_a_task_of_weight_zero(self, problem):
        X, Y, factors = problem
        both = np.column_stack([factors[:, 0] ** 3, Y])
        weight = [0, *np.ones(Y.shape[1])]
        options = {"warm_start": True, "max_iter": 5, "input_noise": 0}
        alone, beside = quick(**options), quick(**options, task_weight=weight)
        for _ in range(2):
            alone.fit(X, Y)
            beside.fit(X, both)
            np.testing.assert_array_equal(beside.transform(X), alone.transform(X))
        # Once it counts, it goes on from its head.
        beside.set_params(task_weight=None).fit(X, both)
        assert beside.loss_curve_[0] < 0.5

    def test_a_task_of_weight_zero_without_components(self, problem):
        X, Y, _ = problem
        noise = np.random.default_rng(0).normal(size=len(X))
        dis = quick(task_weight=[1, 0], sparsity=5.0)
        with pytest.warns(UserWarning, match="No component is in use"):
            dis.fit(X, np.column_stack([noise, 3 + Y[:, 0]]))
        assert dis.coef_.shape == (2, 0)
        np.testing.assert_allclose(dis.predict(X)[:, 1], 3 + Y[:, 0].mean(), atol=1e-5)

    def test_balanced_classes(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(600, 4))
        y = (X[:, 0] + 0.5 * rng.normal(size=600) > 1.6).astype(int)
        plain, balanced = quick().fit(X, y), quick(class_weight="balanced").fit(X, y)
        assert balanced.predict(X).mean() > 2 * plain.predict(X).mean()

    def test_early_stopping_keeps_the_best(self, problem):
        X, Y, _ = problem
        dis = quick(early_stopping=True, validation_fraction=0.3).fit(X, Y)
        assert len(dis.validation_scores_) == dis.n_iter_
        assert max(dis.validation_scores_) > 0.7

    def test_early_stopping_needs_labels_among_the_rows_held_back(self, problem):
        X, Y, _ = problem
        y = np.full(300, np.nan)
        y[:10] = Y[:10, 0]
        dis = quick(early_stopping=True, validation_fraction=0.01)
        with pytest.raises(ValueError, match="holds back only rows without a label"):
            dis.fit(X, y)
        assert not hasattr(dis, "coef_")

    def test_warm_start_goes_on(self, problem):
        X, Y, _ = problem
        dis = quick(warm_start=True, max_iter=60, input_noise=0).fit(X, Y)
        first = dis.loss_curve_
        dis.set_params(max_iter=2, learning_rate_init=1e-5).fit(X, Y)
        assert dis.loss_curve_[0] < first[0] / 2
        # From the exact heads, which have a ridge.
        assert dis.loss_curve_[0] < 2 * first[-1]
        with pytest.raises(ValueError, match="cannot continue a fit of 6 components"):
            dis.set_params(n_components=5).fit(X, Y)

    def test_more_components_than_could_be_told_apart_are_cut(self):
        """Neither time nor memory grow with a number that no label or row supports."""
        rng = np.random.default_rng(0)
        X = rng.normal(size=(90, 6))
        Y = X[:, :3] @ rng.normal(size=(3, 100))
        few = quick(n_components=5000).fit(X, Y[:, :12])
        same = quick(n_components=64).fit(X, Y[:, :12])
        np.testing.assert_array_equal(few.transform(X), same.transform(X))
        wide = quick(n_components=5000, warm_start=True, max_iter=3).fit(X, Y)
        again = wide.fit(X, Y)  # goes on, from as many
        assert again.transform(X).shape[1] <= 90
        stream = quick(n_components=5000).partial_fit(X[:50], Y[:50])
        assert stream.partial_fit(X[50:], Y[50:]).transform(X).shape == (90, 100)
        dense = quick(n_components=70, sparsity=0, sharing=0, max_iter=2)
        assert dense.fit(X, Y[:, :12]).transform(X).shape == (90, 70)

    def test_convergence_warning(self, problem):
        X, Y, _ = problem
        with pytest.warns(ConvergenceWarning, match="max_iter=3") as caught:
            quick(max_iter=3).fit(X, Y)
        assert caught[0].filename == __file__

    def test_verbose_is_one_line_that_says_why_the_fit_ended(self, problem, capsys):
        X, Y, _ = problem
        dis = quick(verbose=True, max_iter=3).fit(X, Y)
        out = capsys.readouterr().out
        assert out.count("\n") == 1
        states = [state.rstrip() for state in out.split("\r")]
        assert "choosing the noise, short fit 1" in states
        assert "searching for a basis" in " ".join(states)
        assert states[-1].startswith("Done in ")
        assert f"3 epochs, loss {dis.loss_curve_[-1]:.4f}" in states[-1]
        assert states[-1].endswith("All 3 epochs were used.")
        long = quick(verbose=1, tol=1e9, n_iter_no_change=2, max_iter=50).fit(X, Y)
        assert long.n_iter_ < 50
        assert capsys.readouterr().out.rstrip().endswith("It no longer improved.")

    def test_more_verbose_is_a_line_for_each_epoch(self, problem, capsys):
        X, Y, _ = problem
        quick(verbose=2, max_iter=9, input_noise=0).fit(X, Y)
        lines = capsys.readouterr().out.splitlines()
        epochs = [line for line in lines if line.startswith("Epoch ")]
        assert len(epochs) == 9
        assert epochs[0].startswith("Epoch 1/9  loss ")
        assert epochs[4].endswith(" left")
        stages = [line for line in lines if not line.startswith("Epoch ")]
        assert stages[:4] == [
            "Without penalties.",
            "Searching for a basis.",
            "With penalties.",
            "Searching for a basis.",
        ]
        assert stages[-2] == "Solving for the heads on all rows."

    def test_without_verbose_nothing_is_printed(self, problem, capsys):
        X, Y, _ = problem
        quick(max_iter=3).fit(X, Y)
        assert not capsys.readouterr().out

    def test_ctrl_c_keeps_the_model(self, problem, monkeypatch):
        X, Y, _ = problem
        dis = quick(verbose=2, input_noise=0)

        def press(text="", **kwargs):
            if text.startswith("Epoch 5/"):
                raise KeyboardInterrupt

        monkeypatch.setattr("builtins.print", press)
        with pytest.warns(UserWarning, match="interrupted in epoch 6"):
            dis.fit(X, Y)
        assert dis.n_iter_ == 5
        assert dis.transform(X).shape == (300, len(dis.active_components_))


class TestPartialFit:
    def test_learns_batch_by_batch(self):
        X, Y, _ = make_problem(seed=2, n_samples=2000)
        dis = quick(learning_rate_init=0.01)
        classes = [
            None if t % 3 == 0 else np.arange(2 if t % 3 == 1 else 3) for t in range(9)
        ]
        for start in range(0, 2000, 200):
            rows = slice(start, start + 200)
            dis.partial_fit(X[rows], Y[rows], classes=classes)
        first = dis.score(X, Y)
        for _ in range(10):
            dis.partial_fit(X, Y)
        assert dis.score(X, Y) > max(first, 0.85)
        assert dis.n_iter_ == 20
        assert dis.transform(X).std(0).max() == pytest.approx(1, abs=0.3)

    def test_small_batches_keep_rows_and_labels_together(self):
        """Calls with so few rows that each is a single step."""
        X, Y, _ = make_problem(seed=3, n_samples=2000)
        dis = quick(learning_rate_init=0.01)
        for _ in range(5):
            for start in range(0, 2000, 100):
                rows = slice(start, start + 100)
                dis.partial_fit(X[rows], Y[rows, :2])
        assert dis.score(X, Y[:, :2]) > 0.85

    def test_undeclared_class(self, problem):
        X, _, _ = problem
        y = np.array([0, 1] * 150)
        dis = quick().partial_fit(X, y)
        with pytest.raises(
            ValueError, match="has the label 2, which is not among its 2"
        ):
            dis.partial_fit(X, y + 1)
        dis = quick().partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, y + 1)
        assert dis.predict_proba(X).shape == (300, 3)

    def test_first_batch_without_labels_of_a_declared_task(self, problem):
        X, Y, _ = problem
        empty = Y[:, :2].copy()
        empty[:, 1] = np.nan
        dis = quick().partial_fit(X, empty, classes=[None, [0, 1]])
        for _ in range(20):
            dis.partial_fit(X, Y[:, :2])
        assert dis.score_tasks(X, Y[:, :2])[1] > 0.8

    def test_a_failed_call_changes_nothing(self, problem):
        X, Y, _ = problem
        dis, other = quick().partial_fit(X, Y), quick().partial_fit(X, Y)
        with pytest.raises(ValueError, match=r"at least 2 rows .* got 1"):
            dis.partial_fit(X[:1], Y[:1])
        with pytest.raises(ValueError, match="has the label 7"):
            dis.partial_fit(X + 100, np.where(np.arange(9) == 1, 7, Y))
        np.testing.assert_array_equal(
            dis.partial_fit(X, Y).coef_, other.partial_fit(X, Y).coef_
        )

    def test_classes_against_types(self, problem):
        X, Y, _ = problem
        dis = quick(task_types="multiclass").partial_fit(X, Y[:, 1], classes=[0, 1])
        assert dis.coef_.shape == (2, 6)
        with pytest.raises(ValueError, match="task_types says that it is 'regression'"):
            quick(task_types="regression").partial_fit(X, Y[:, 1], classes=[0, 1])

    def test_wrong_number_of_classes(self, problem):
        X, Y, _ = problem
        with pytest.raises(ValueError, match="each of the 9 tasks"):
            quick().partial_fit(X, Y, classes=[[0, 1]])

    def test_fit_after_partial_fit_starts_anew(self, problem, fitted):
        X, Y, _ = problem
        dis = quick().partial_fit(X, Y)
        np.testing.assert_array_equal(dis.fit(X, Y).coef_, fitted.coef_)


class TestTransform:
    @pytest.mark.parametrize(("dtype", "tol"), [(np.float64, 1e-7), (np.float32, 1e-5)])
    def test_a_row_does_not_depend_on_the_others(self, fitted, problem, dtype, tol):
        X = problem[0].astype(dtype)
        together = fitted.transform(X)
        assert together.dtype == dtype
        alone = np.vstack([fitted.transform(X[i : i + 1]) for i in range(len(X))])
        np.testing.assert_allclose(together, alone, atol=tol, rtol=0)
        np.testing.assert_allclose(
            fitted.transform(np.tile(X, (40, 1)))[-len(X) :], together, atol=tol, rtol=0
        )

    def test_both_precisions_agree(self, fitted, problem):
        X = problem[0]
        np.testing.assert_allclose(
            fitted.transform(X), fitted.transform(X.astype(np.float32)), atol=1e-4
        )

    def test_early_stopping_gives_the_state_that_it_was_asked_for(self):
        """Also where the best epochs come long before the last stage."""
        rng = np.random.default_rng(0)
        X = rng.normal(size=(220, 30))
        y = 2 * X[:, :3].sum(1) + 2.5 * rng.normal(size=220)
        options = {"input_noise": 0, "max_iter": 300, "validation_fraction": 0.3}
        options["n_iter_no_change"] = 10
        test = rng.normal(size=(2000, 30))
        scores = []
        for early_stopping in (True, False):
            dis = quick(hidden_layer_sizes=(64,), early_stopping=early_stopping)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                dis.set_params(**options).fit(X, y)
            scores.append(dis.score(test, 2 * test[:, :3].sum(1)))
            if early_stopping:
                held = dis.validation_scores_
                assert len(held) < 150
                assert np.argmax(held) < len(held) - 10
        assert scores[0] > scores[1] + 0.1

    def test_columns_are_the_components_in_use(self, problem, fitted):
        X = problem[0]
        codes = fitted.transform(X)
        assert 0 < codes.shape[1] < 6
        assert fitted.active_components_.tolist() == list(range(codes.shape[1]))
        assert fitted.coef_.shape[1] == len(fitted.usage_) == codes.shape[1]
        assert len(fitted.get_feature_names_out()) == codes.shape[1]
        scores = codes @ fitted.coef_.T + fitted.intercept_
        first = next(t for t in fitted.tasks_ if t.type == "regression")
        predicted = fitted.predict(X)[:, first.index]
        np.testing.assert_allclose(
            predicted.astype(float), scores[:, first.outputs][:, 0]
        )

    def test_no_component_in_use(self, problem):
        X, Y, _ = problem
        with pytest.warns(UserWarning, match="No component is in use"):
            dis = quick(sparsity=100.0).fit(X, Y)
        assert dis.coef_.shape == (len(dis.intercept_), 0)
        assert len(dis.predict(X)) == len(X)
        with pytest.raises(ValueError, match="Lower sparsity or sharing and fit again"):
            dis.transform(X)

    def test_no_penalties_keep_all_components(self, problem):
        X, Y, _ = problem
        dis = quick(sparsity=0, sharing=0).fit(X, Y)
        assert dis.transform(X).shape == (len(X), 6)

    def test_feature_names_and_containers(self, problem):
        X, Y, _ = problem
        frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
        dis = quick().set_output(transform="pandas")
        out = dis.fit_transform(frame, Y)
        assert list(out.columns) == list(dis.get_feature_names_out())
        assert list(dis.feature_names_in_) == list(frame.columns)
        out = dis.set_output(transform="polars").transform(frame)
        assert isinstance(out, pl.DataFrame)

    def test_encoder_is_a_torch_module(self, fitted, problem):
        X = problem[0]
        with torch.no_grad():
            codes = fitted.encoder_(torch.from_numpy(X))
        np.testing.assert_allclose(codes, fitted.transform(X), atol=1e-12)

    def test_memory_does_not_grow_with_rows(self):
        """In a process of its own, whose memory is limited by the system."""
        code = """
import resource
import numpy as np
from skdisentangle import SparseSharedDisentangler
rng = np.random.default_rng(0)
X = rng.normal(size=(300, 50)).astype(np.float32)
dis = SparseSharedDisentangler(4, max_iter=3, hidden_layer_sizes=(256,)).fit(
    X, X[:, :2])
big = np.broadcast_to(X[:1], (1_000_000, 50)).copy()  # 200 MB
dis.transform(big[:5000])
with open("/proc/self/statm") as file:
    data = int(file.read().split()[5]) * resource.getpagesize()
limit = data + 8_000_000 + 64 * 2**20  # the output, and 64 MB
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
assert dis.transform(big).shape == (1_000_000, 2)
try:
    big * 1.0
except MemoryError:
    print("limited")
"""
        if not sys.platform.startswith("linux"):
            pytest.skip("the limit is read from /proc")
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.strip() == "limited", done.stderr

    def test_not_fitted(self, problem):
        with pytest.raises(NotFittedError):
            quick().transform(problem[0])


class TestPredict:
    def test_is_linear_in_the_features(self, fitted, problem):
        X, Y, _ = problem
        scores = fitted.transform(X) @ fitted.coef_.T + fitted.intercept_
        predicted = fitted.predict(X)
        np.testing.assert_allclose(predicted[:, 0], scores[:, 0])
        np.testing.assert_array_equal(predicted[:, 1], scores[:, 1] > 0)
        np.testing.assert_array_equal(predicted[:, 2], scores[:, 2:5].argmax(1))
        assert predicted.dtype == Y.dtype

    def test_proba(self, fitted, problem):
        X = problem[0]
        proba = fitted.predict_proba(X)
        assert [None if p is None else p.shape for p in proba[:3]] == [
            None,
            (300, 2),
            (300, 3),
        ]
        for task, p in enumerate(proba):
            if p is not None:
                np.testing.assert_allclose(p.sum(1), 1)
                agree = fitted.classes_[task][p.argmax(1)]
                np.testing.assert_array_equal(agree, fitted.predict(X)[:, task])

    def test_no_proba_of_regression_tasks(self, problem):
        X, _, factors = problem
        dis = quick(max_iter=2).fit(X, factors)
        assert not hasattr(dis, "predict_proba")
        assert not hasattr(dis, "classes_")

    def test_cross_validated_proba(self, problem):
        """Which asks for ``classes_``, and puts columns in their order."""
        X, _, factors = problem
        names = np.where(factors[:, 0] > 0, "high", "low")
        proba = cross_val_predict(quick(), X, names, cv=2, method="predict_proba")
        assert (np.array(["high", "low"])[proba.argmax(1)] == names).mean() > 0.8

    def test_one_task(self, problem):
        X, _, factors = problem
        names = np.where(factors[:, 0] > 0, "high", "low")
        dis = quick().fit(X, names)
        assert dis.predict(X).shape == (300,)
        assert set(dis.predict(X)) == {"high", "low"}
        assert dis.predict_proba(X).shape == (300, 2)
        assert dis.classes_.tolist() == ["high", "low"]
        assert not hasattr(quick(), "classes_")
        column = quick().fit(X, names[:, np.newaxis])
        np.testing.assert_array_equal(column.predict_proba(X), dis.predict_proba(X))
        assert column.classes_.tolist() == ["high", "low"]
        assert column.predict(X).shape == (300, 1)
        regression = quick().fit(X, factors[:, 0])
        assert not hasattr(regression, "predict_proba")
        assert not hasattr(regression, "classes_")
        assert regression.score(X, factors[:, 0]) == pytest.approx(
            r2_score(factors[:, 0], regression.predict(X)), abs=1e-6
        )

    def test_score_is_the_mean_over_tasks(self, fitted, problem):
        X, Y, _ = problem
        by_task = fitted.score_tasks(X, Y)
        predicted = fitted.predict(X)
        assert by_task[0] == pytest.approx(r2_score(Y[:, 0], predicted[:, 0]))
        assert by_task[1] == pytest.approx((Y[:, 1] == predicted[:, 1]).mean())
        assert fitted.score(X, Y) == pytest.approx(by_task.mean())
        assert fitted.score(X, Y_tasks=Y) == fitted.score(X, Y)

    def test_score_leaves_missing_labels_out(self, fitted, problem):
        X, Y, _ = problem
        Y = Y.copy()
        Y[:, 4] = np.nan
        Y[::2, 1] = np.nan
        by_task = fitted.score_tasks(X, Y)
        assert np.isnan(by_task[4])
        assert by_task[1] == pytest.approx(fitted.score_tasks(X[1::2], Y[1::2])[1])
        assert fitted.score(X, Y) == pytest.approx(np.nanmean(by_task))

    def test_left_out_tasks(self, problem):
        X, Y, _ = problem
        frame = pd.DataFrame({"a": Y[:, 0], "none": np.nan, "one": "x"})
        with pytest.warns(UserWarning, match="'none' .has no label., 'one'") as caught:
            dis = quick().fit(X, frame)
        assert caught[0].filename == __file__
        out = dis.predict(X)
        assert list(out.columns) == ["a", "none", "one"]
        assert out["none"].isna().all()
        assert set(out["one"]) == {"x"}
        assert dis.coef_.shape[0] == 1
        assert np.isfinite(dis.score(X, frame))


class TestReproducible:
    def test_same_bits_in_another_process_and_under_n_jobs(self, problem, tmp_path):
        X, Y, _ = make_problem(seed=3, n_samples=600)
        options = {"max_iter": 8, "n_components": 5}
        here = quick(**options).fit(X, Y)
        again = quick(**options).fit(X, Y)
        np.testing.assert_array_equal(here.coef_, again.coef_)
        np.testing.assert_array_equal(here.transform(X), again.transform(X))
        from joblib import Parallel, delayed

        jobs = (delayed(quick(**options).fit)(X, Y) for _ in range(2))
        for other in Parallel(n_jobs=2)(jobs):
            np.testing.assert_array_equal(here.coef_, other.coef_)
            np.testing.assert_array_equal(here.transform(X), other.transform(X))
        jobs = (delayed(quick(**options).fit)(X, Y) for _ in range(2))
        for other in Parallel(n_jobs=2, backend="threading")(jobs):
            np.testing.assert_array_equal(here.coef_, other.coef_)
        other = quick(**options, random_state=1).fit(X, Y)
        assert not np.array_equal(here.coef_, other.coef_)

    @pytest.mark.parametrize("random_state", [0, None])
    def test_global_random_states_are_not_touched(self, problem, random_state):
        X, Y, _ = problem
        dropout = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(8, 6))
        numpy_before, torch_before = np.random.get_state(), torch.random.get_rng_state()
        quick(max_iter=2, random_state=random_state).fit(X, Y)
        quick(max_iter=2, random_state=random_state, encoder=dropout).fit(X, Y)
        np.testing.assert_array_equal(numpy_before[1], np.random.get_state()[1])
        assert numpy_before[2] == np.random.get_state()[2]
        assert torch.equal(torch_before, torch.random.get_rng_state())

    def test_dropout_is_seeded(self, problem):
        X, Y, _ = problem
        dropout = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(8, 6))
        a, b = (quick(max_iter=5, encoder=dropout).fit(X, Y) for _ in range(2))
        np.testing.assert_array_equal(a.coef_, b.coef_)

    def test_threads_are_put_back(self, problem):
        X, Y, _ = problem
        before = torch.get_num_threads()
        seen = []
        dis = quick(n_threads=before + 1, max_iter=2, encoder=_Spy(seen))
        dis.fit(X, Y)
        dis.score(X, Y)
        dis.transform(X)
        assert set(seen[1:]) == {before + 1}
        assert torch.get_num_threads() == before
        quick(max_iter=2, encoder=_Spy(seen := [])).fit(X, Y)
        assert set(seen[1:]) == {1}
        with pytest.raises(RuntimeError, match="broken"):
            quick(encoder=_Breaks()).fit(X, Y)
        assert torch.get_num_threads() == before

    def test_ready_module_is_not_changed(self, problem):
        X, Y, _ = problem
        module = torch.nn.Linear(8, 6)
        before = module.weight.detach().clone()
        dis = quick(encoder=module).fit(X, Y)
        assert torch.equal(module.weight, before)
        assert dis.score(X, Y) > 0.7
        assert clone(dis).encoder is not None

    def test_image_encoder(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(300, 3 * 8 * 8))
        images = X.reshape(300, 3, 8, 8)
        Y = np.column_stack([images[:, 0].mean((1, 2)), images[:, 1].mean((1, 2))])
        dis = quick(encoder="conv", input_shape=(3, 8, 8), max_iter=60).fit(X, Y)
        assert dis.transform(X).shape == (300, 2)
        assert dis.score(X, Y) > 0.3


class _Spy(torch.nn.Module):
    """Notes the number of threads at each call."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen
        self.layer = torch.nn.Linear(8, 6)

    def __deepcopy__(self, memo):
        return _Spy(self.seen)

    def forward(self, rows):
        self.seen.append(torch.get_num_threads())
        return self.layer(rows)


class _Breaks(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(8, 6)

    def forward(self, rows):
        if self.training:
            raise RuntimeError("broken")
        return self.layer(rows)


class TestPickle:
    def test_small_and_the_same(self, problem):
        X, Y, _ = problem
        big = np.tile(X, (100, 1)) + np.random.default_rng(0).normal(size=(30000, 8))
        dis = quick(max_iter=1).fit(big, np.tile(Y, (100, 1)))
        data = pickle.dumps(dis)
        assert len(data) < 60_000
        back = pickle.load(io.BytesIO(data))
        np.testing.assert_array_equal(dis.transform(X), back.transform(X))
        np.testing.assert_array_equal(dis.predict(X), back.predict(X))

    def test_goes_on_after_a_pickle(self, problem):
        X, Y, _ = problem
        dis = quick().partial_fit(X, Y)
        back = pickle.loads(pickle.dumps(dis))
        np.testing.assert_array_equal(
            dis.partial_fit(X, Y).coef_, back.partial_fit(X, Y).coef_
        )


class RowMatcher(TransformerMixin, BaseEstimator):
    """Raises if the task labels are not those of the rows."""

    def fit(self, X, y=None, *, Y_tasks=None):
        if not np.allclose(X[:, 0], np.asarray(Y_tasks)[:, 0]):
            raise ValueError("labels are shifted")
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X


class TestPipeline:
    """The three ways to give task labels, each in a search as well."""

    @pytest.fixture
    def data(self):
        X, Y, factors = make_problem(seed=4, n_samples=240)
        y = (factors[:, 0] > 0).astype(int)
        return X, Y, y

    @staticmethod
    def make(dis=None):
        dis = quick(max_iter=20) if dis is None else dis
        return Pipeline([("dis", dis), ("clf", LogisticRegression())])

    def check(self, pipe, X, y, **params):
        pipe.fit(X, y, **params)
        assert pipe.predict(X).shape == y.shape
        assert pipe.score(X, y) > 0.75
        copy = clone(pipe).fit(X, y, **params)
        np.testing.assert_array_equal(copy.predict(X), pipe.predict(X))
        back = pickle.loads(pickle.dumps(pipe))
        np.testing.assert_array_equal(back.predict(X), pipe.predict(X))
        search = GridSearchCV(
            clone(pipe), {"dis__sparsity": [0.01, 0.1]}, cv=KFold(2), n_jobs=2
        )
        search.fit(X, y, **params)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        assert search.best_score_ > 0.7
        return search

    def test_plain_target(self, data):
        X, _, y = data
        pipe = self.make()
        self.check(pipe, X, y)
        assert len(pipe["dis"].tasks_) == 1

    def test_labels_for_a_step(self, data):
        X, Y, y = data
        pipe = self.make()
        search = self.check(pipe, X, y, dis__Y_tasks=Y)
        assert len(pipe["dis"].tasks_) == 9
        assert len(search.best_estimator_["dis"].tasks_) == 9

    def test_routed_labels(self, data):
        X, Y, y = data
        with sklearn.config_context(enable_metadata_routing=True):
            pipe = self.make()
            search = self.check(pipe, X, y, Y_tasks=Y)
            assert len(pipe["dis"].tasks_) == 9
            assert len(search.best_estimator_["dis"].tasks_) == 9

    @pytest.mark.parametrize("routed", [False, True])
    def test_folds_get_their_own_rows(self, data, routed):
        """Fails if the labels of a fold are not those of its rows."""
        X, Y, y = data
        Y = Y.copy()
        Y[:, 0] = X[:, 0]
        dis = quick(max_iter=5, encoder="linear", sharing=0, sparsity=0.01)
        with sklearn.config_context(enable_metadata_routing=routed):
            matcher = RowMatcher()
            if routed:
                matcher = matcher.set_fit_request(Y_tasks=True)
            pipe = Pipeline(
                [("match", matcher), ("dis", dis), ("clf", LogisticRegression())]
            )
            params = (
                {"Y_tasks": Y} if routed else {"match__Y_tasks": Y, "dis__Y_tasks": Y}
            )
            search = GridSearchCV(
                pipe,
                {"dis__sparsity": [0.01, 0.02]},
                cv=KFold(3, shuffle=True, random_state=0),
                n_jobs=2,
                error_score="raise",
            )
            search.fit(X, y, **params)
            task = search.best_estimator_["dis"].tasks_[0]
            assert task.type == "regression"
            shifted = dict.fromkeys(params, np.roll(Y, 1, axis=0))
            with pytest.raises(ValueError, match="labels are shifted"):
                search.fit(X, y, **shifted)

    def test_labels_beside_the_target_win(self, data):
        X, Y, y = data
        dis = quick(max_iter=5).fit(X, y, Y_tasks=Y)
        np.testing.assert_array_equal(dis.coef_, quick(max_iter=5).fit(X, Y).coef_)

    def test_search_over_the_estimator_alone(self, data):
        X, Y, _ = data
        search = GridSearchCV(quick(max_iter=20), {"sparsity": [0.01, 5.0]}, cv=2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            search.fit(X, Y)
        assert search.best_params_ == {"sparsity": 0.01}

    def test_two_fits_at_once(self, data):
        X, Y, _ = data
        results = {}

        def work(seed):
            results[seed] = quick(max_iter=10, random_state=seed).fit(X, Y).coef_

        workers = [threading.Thread(target=work, args=(s,)) for s in (0, 1)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        for seed, coef in results.items():
            alone = quick(max_iter=10, random_state=seed).fit(X, Y)
            np.testing.assert_array_equal(coef, alone.coef_)


X_OK = np.random.default_rng(0).normal(size=(20, 3))
Y_OK = np.column_stack([X_OK[:, 0] > 0, X_OK[:, 1]])


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "width"),
        [
            ({"device": "quantum"}, 4),
            ({"task_weight": [1.0]}, 4),
            ({"encoder": _Breaks()}, 8),
        ],
    )
    def test_a_failed_fit_leaves_the_last_model(self, problem, options, width):
        X, Y, _ = problem
        dis = quick(max_iter=3).fit(X, Y)
        before = dis.predict(X)
        defaults = dis.get_params()
        with pytest.raises((ValueError, RuntimeError)):
            dis.set_params(**options).fit(X[:, :width], Y[:, :2])
        dis.set_params(**{name: defaults[name] for name in options})
        np.testing.assert_array_equal(dis.predict(X), before)
        assert dis.n_features_in_ == 8

    @pytest.mark.parametrize(
        ("options", "X", "Y", "message"),
        [
            ({}, X_OK, np.full((20, 2), np.nan), "no task can be learned"),
            ({}, X_OK, np.ones(20), "has one class only"),
            ({}, np.where(X_OK > 1, np.nan, X_OK), Y_OK, "contains NaN"),
            ({}, np.where(X_OK > 1, np.inf, X_OK), Y_OK, "infinity"),
            ({"task_types": ["binary"]}, X_OK, Y_OK, "each of the 2 tasks"),
            ({"task_types": "quantile"}, X_OK, Y_OK, "must be one of 'regression'"),
            ({}, X_OK[0], Y_OK, "Expected 2D array"),
            ({}, X_OK, Y_OK[:5], "one row for each of the 20 rows of X; got 5"),
            ({}, X_OK, np.zeros((20, 2, 2)), r"got shape \(20, 2, 2\)"),
            ({}, X_OK, None, "requires y to be passed"),
            ({}, np.full((20, 3), "a"), Y_OK, "could not convert string to float"),
            ({}, np.empty((0, 3)), np.empty((0, 2)), "0 sample"),
            ({}, X_OK[:1], Y_OK[:1], "minimum of 2 is required"),
            ({"encoder": torch.nn.Linear(3, 4)}, X_OK, Y_OK, "last layer"),
            ({"sparsity": -0.1}, X_OK, Y_OK, "'sparsity' parameter"),
            ({"sharing": -1}, X_OK, Y_OK, "'sharing' parameter"),
            ({"device": "quantum"}, X_OK, Y_OK, "device must be 'auto'"),
            ({"device": "meta:-7"}, X_OK, Y_OK, "device must be 'auto'"),
            ({"solver": "l2"}, X_OK, Y_OK, "'solver' parameter"),
            ({"encoder": "mpl"}, X_OK, Y_OK, "'encoder' parameter"),
            ({"hidden_layer_sizes": (5, 0)}, X_OK, Y_OK, "hidden_layer_sizes must"),
            ({"n_threads": 0}, X_OK, Y_OK, "n_threads must be"),
            ({"task_weight": [1.0]}, X_OK, Y_OK, r"got shape \(1,\)"),
            ({"task_weight": [-1.0, 1]}, X_OK, Y_OK, "not negative"),
            ({"task_weight": {"b": 1.0}}, X_OK, Y_OK, "task_weight names 'b'"),
            ({"encoder": "conv", "input_shape": (1, 2, 2)}, X_OK, Y_OK, "input_shape"),
            (
                {"early_stopping": True, "validation_fraction": 0.95},
                X_OK,
                Y_OK,
                "validation_fraction=0.95 leaves fewer than 2",
            ),
        ],
    )
    def test_fit_says_what_is_wrong(self, options, X, Y, message):
        with pytest.raises(ValueError, match=message):
            quick(**options).fit(X, Y)

    @pytest.mark.parametrize(
        ("weight", "message"),
        [
            (np.ones(5), "sample_weight.shape"),
            (-np.ones(20), "sample_weight must not be negative; got -1"),
            (np.zeros(20), "zero"),
            (np.full(20, np.nan), "NaN"),
            (np.eye(20)[0], "at least 2 rows of weight above zero; got 1"),
            (np.linspace(1, 1e308, 20), "sample_weight holds numbers up to 1e[+]308"),
        ],
    )
    def test_weights(self, weight, message):
        with pytest.raises(ValueError, match=message):
            quick().fit(X_OK, Y_OK, sample_weight=weight)

    def test_transform_says_what_is_wrong(self):
        dis = quick(max_iter=2).fit(X_OK, Y_OK)
        with pytest.raises(ValueError, match="X has 2 features, but"):
            dis.transform(X_OK[:, :2])
        with pytest.raises(ValueError, match="contains NaN"):
            dis.transform(X_OK * np.nan)
        with pytest.raises(ValueError, match=r"^Found array with 0 sample\(s\)"):
            dis.transform(X_OK[:0])
        frame = pd.DataFrame(X_OK, columns=list("abc"))
        dis = quick(max_iter=2).fit(frame, Y_OK)
        with pytest.raises(ValueError, match="different column names; several are 'a'"):
            quick().fit(frame.set_axis(["b", "a", "a"], axis=1), Y_OK)
        with pytest.raises(ValueError, match="feature names should match"):
            dis.transform(frame[["b", "a", "c"]])


def test_as_many_components_as_were_found():
    problem = make_multitask_factors(
        1500, n_factors=3, n_features=10, n_tasks=20, link="logistic", random_state=0
    )
    found = SparseSharedDisentangler("auto", random_state=0).fit(problem.X, problem.Y)
    assert found.transform(problem.X).shape == (1500, 3)
    assert found.coef_.shape == (20, 3)
    assert len(found.get_feature_names_out()) == 3
    score = found.score(problem.X, problem.Y)
    found.set_params(warm_start=True, max_iter=5).fit(problem.X, problem.Y)
    assert found.score(problem.X, problem.Y) > score - 0.05


def test_components_that_are_off_stay_off():
    """A batch has one or two labels of a task, whose gradients are mostly noise."""
    problem = make_multitask_factors(
        3000, n_tasks=40, missing=0.98, link="logistic", random_state=0
    )
    fitted = SparseSharedDisentangler(random_state=0).fit(problem.X, problem.Y)
    assert len(fitted.active_components_) == 6
