from __future__ import annotations

import inspect
import re
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from skdisentangle import SparseSharedDisentangler, SparseSharedDisentanglerCV
from skdisentangle.fitting import path as path_module
from skdisentangle.fitting.path import compare, fewest_nonzeros, row_losses
from skdisentangle.fitting.problem import Fitted, Problem, Settings
from skdisentangle.inspection import SparsityPathDisplay
from skdisentangle.model_selection import sparsity_path
from skdisentangle.tasks.labels import Labels

from .conftest import make_problem, run_check

OPTIONS = {
    "n_components": 5,
    "encoder": "linear",
    "max_iter": 30,
    "n_iter_no_change": 100,
    "random_state": 0,
}


def quick(**options):
    return SparseSharedDisentangler(**{**OPTIONS, **options})


def quick_cv(**options):
    options = {"sparsities": [0.05, 2.0], "cv": 2, **options}
    return SparseSharedDisentanglerCV(**{**OPTIONS, **options})


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


class _Interrupts(torch.nn.Module):
    """As if a key were pressed while it is trained."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(8, 5)

    def forward(self, rows):
        if self.training:
            raise KeyboardInterrupt
        return self.layer(rows)


@pytest.fixture(scope="module")
def path(problem):
    X, Y, _ = problem
    return sparsity_path(quick(), X, Y, sparsities=[0.03, 3.0, 0.3])


class TestRule:
    def test_error_is_that_of_the_difference(self):
        common = np.random.default_rng(0).normal(size=50)
        loss, error = compare(np.array([common, common + 1, common + [0, 2] * 25]))
        np.testing.assert_allclose(loss - loss[0], [0, 1, 1])
        assert error[0] == 0
        assert error[1] == pytest.approx(0, abs=1e-12)
        assert error[2] == pytest.approx(1 / 7)

    def test_fewest_nonzeros_among_the_best(self):
        loss = np.array([1.0, 1.009, 1.5, 1.5])
        strengths = [(0.2, 0.0), (0.1, 0.0), (0.3, 0.0), (0.4, 0.0)]
        assert fewest_nonzeros(loss, np.array([20, 10, 9, 5]), strengths) == 1
        assert fewest_nonzeros(loss, np.array([3, 10, 9, 9]), strengths) == 0
        assert fewest_nonzeros(loss, np.array([3, 3, 9, 9]), strengths) == 1
        strengths[1] = 0.2, 0.1
        assert fewest_nonzeros(loss, np.array([3, 3, 9, 9]), strengths) == 0

    def test_a_single_row(self):
        loss, error = compare(np.array([[1.0], [2.0]]))
        assert loss.tolist() == [1, 2]
        assert error.tolist() == [0, 0]


class TestRowLosses:
    def losses(self, dis, X, Y, weight=None):
        settings = Settings.of(dis, dis.sparsity_, dis.sharing_)
        problem = Problem(X, Labels.read(Y), weight)
        return row_losses(Fitted.of(dis), settings, problem)

    def test_is_the_mean_over_tasks(self, problem):
        """Against scikit-learn's Brier score, and the squared error by hand."""
        X, Y, _ = problem
        Y = Y[:, :3]
        dis = quick().fit(X, Y)
        scale = dis.tasks_[0].scale
        regression = ((dis.predict(X)[:, 0] - Y[:, 0]) / scale) ** 2 / 2
        _, two, three = dis.predict_proba(X)
        binary = brier_score_loss(Y[:, 1], two[:, 1])
        multi = ((three - np.eye(3)[Y[:, 2].astype(int)]) ** 2).sum(1) / 2
        expected = np.mean([regression.mean(), binary, multi.mean()])
        assert self.losses(dis, X, Y).mean() == pytest.approx(expected, rel=1e-6)

    def test_labels_that_say_nothing(self, problem):
        """Missing ones, classes not seen in the fit, tasks and rows without weight."""
        X, Y, _ = problem
        Y = Y[:, :3]
        dis = quick().fit(X, Y)
        kept = np.arange(300) % 3 > 0
        missing = np.where(kept[:, None], Y, np.nan)
        part = self.losses(dis, X[kept], Y[kept]).mean()
        assert self.losses(dis, X, missing).mean() == pytest.approx(part)
        weight = kept.astype(float)
        assert self.losses(dis, X, Y, weight).mean() == pytest.approx(part)
        unseen = Y.copy()
        unseen[~kept, 2] = 9
        one = missing.copy()
        one[:, :2] = Y[:, :2]
        np.testing.assert_allclose(
            self.losses(dis, X, unseen), self.losses(dis, X, one)
        )
        dis.set_params(task_weight=[1, 0, 1])
        other = Y.copy()
        other[:, 1] = 1 - Y[:, 1]
        np.testing.assert_allclose(self.losses(dis, X, other), self.losses(dis, X, Y))

    def test_no_label_at_all(self, problem):
        X, Y, _ = problem
        dis = quick().fit(X, Y)
        assert np.isnan(self.losses(dis, X, np.full(Y.shape, np.nan))).all()


class TestPath:
    def test_from_strong_to_weak(self, path, problem):
        X, Y, _ = problem
        assert path.sparsities.tolist() == [3.0, 0.3, 0.03]
        assert path.n_nonzero[0] <= 13
        assert path.n_nonzero[0] < path.n_nonzero[1] <= path.n_nonzero[2]
        assert path.n_active[1] == 3
        assert path.losses[0] > 3 * path.losses[1]
        assert path.best_sparsity == path.sparsities[path.best_index] != 3.0
        held = path.held_back
        assert len(held) == 30
        for number, model in enumerate(path.estimators):
            assert model.sparsity == model.sparsity_ == path.sparsities[number]
            assert model.score(X[held], Y[held]) == pytest.approx(path.scores[number])
            assert np.count_nonzero(model.coef_) == path.n_nonzero[number]
            assert model.coef_.shape[1] == path.n_active[number]
            assert model.get_params()["task_types"] is None

    def test_held_back_rows_have_no_influence(self, path, problem):
        X, Y, _ = problem
        X, Y = X.copy(), Y.copy()
        X[path.held_back] *= 7
        Y[path.held_back] = 0
        again = sparsity_path(quick(), X, Y, sparsities=[0.03, 3.0, 0.3])
        for a, b in zip(path.estimators, again.estimators, strict=True):
            np.testing.assert_array_equal(a.coef_, b.coef_)

    def test_a_model_does_not_depend_on_the_others(self, path, problem):
        """But for the weakest, which all begin from."""
        X, Y, _ = problem
        two = sparsity_path(quick(), X, Y, sparsities=[0.3, 0.03])
        np.testing.assert_array_equal(two.estimators[0].coef_, path.estimators[1].coef_)

    def test_as_good_as_a_fit_of_its_own(self, path, problem):
        X, Y, _ = problem
        rest = np.setdiff1d(np.arange(300), path.held_back)
        # At 0.3, with so few labels, a coefficient more or less is a matter of chance.
        alone = quick(sparsity=0.03).fit(X[rest], Y[rest])
        assert path.scores[2] > alone.score(X[path.held_back], Y[path.held_back]) - 0.02
        assert path.n_nonzero[2] <= np.count_nonzero(alone.coef_) + 2

    def test_number_of_sparsities(self, problem):
        X, Y, _ = problem
        many = sparsity_path(quick(max_iter=2), X, Y, sparsities=3).sparsities
        np.testing.assert_allclose(many, np.geomspace(0.5, 0.003, 3))

    def test_rows_of_weight_zero(self, problem):
        X, Y, _ = problem
        weight = np.arange(300) % 2.0
        held = sparsity_path(
            quick(max_iter=2), X, Y, sample_weight=weight, sparsities=[0.1]
        ).held_back
        assert len(held) == 15
        assert (weight[held] > 0).all()

    @pytest.mark.parametrize(
        ("options", "sparsities", "message"),
        [
            ({}, [0.1, 0.0], "sparsities must hold numbers above 0; got"),
            ({}, [], "sparsities must hold numbers above 0"),
            ({}, ["a"], "sparsities must hold numbers above 0"),
            ({}, 0, "sparsities must be at least 1; got 0"),
            ({"sharing": "auto"}, [0.1], "sharing of the estimator must be a number"),
            ({"sharing": -1}, [0.1], "'sharing' parameter"),
        ],
    )
    def test_says_what_is_wrong(self, problem, options, sparsities, message):
        X, Y, _ = problem
        with pytest.raises(ValueError, match=message):
            sparsity_path(quick(**options), X, Y, sparsities=sparsities)


class TestAuto:
    def test_is_the_fit_at_the_strengths_chosen(self, problem, monkeypatch):
        X, Y, _ = problem
        monkeypatch.setattr(path_module, "SPARSITIES", (0.003, 0.05, 3.0))
        monkeypatch.setattr(path_module, "SHARINGS", (0.1, 5.0))
        dis = quick(sparsity="auto", sharing="auto").fit(X, Y)
        assert (dis.sparsity, dis.sharing) == ("auto", "auto")
        assert dis.sparsity_ in (0.003, 0.05)
        alone = quick(sparsity=dis.sparsity_, sharing=dis.sharing_).fit(X, Y)
        np.testing.assert_array_equal(dis.coef_, alone.coef_)
        np.testing.assert_array_equal(dis.transform(X), alone.transform(X))

    def test_takes_away_what_is_not_needed_but_no_factor(self):
        X, Y, _ = make_problem(seed=5, n_samples=240)
        Y = Y[:, [0, 1, 3, 4, 6, 7]]
        Y[:, ::2] += 0.7 * np.random.default_rng(0).normal(size=(240, 3))
        weak = quick(sparsity=0.0001).fit(X, Y)
        auto = quick(sparsity="auto").fit(X, Y)
        assert auto.sparsity_ in path_module.SPARSITIES
        assert np.count_nonzero(auto.coef_) < np.count_nonzero(weak.coef_)
        assert auto.score(X, Y) > weak.score(X, Y) - 0.02

    def test_weights_sparse_rows_and_early_stopping(self, problem):
        X, Y, _ = problem
        X = np.where(np.abs(X) < 0.5, 0, X)
        options = {"sparsity": "auto", "max_iter": 10, "early_stopping": True}
        weight = np.random.default_rng(0).integers(0, 3, size=300)
        dense = quick(**options).fit(X, Y, sample_weight=weight)
        lazy = quick(**options).fit(sparse.csr_array(X), Y, sample_weight=weight)
        assert dense.sparsity_ == lazy.sparsity_
        assert len(dense.validation_scores_) == dense.n_iter_

    def test_types_are_those_of_all_rows(self, problem):
        """Whole numbers of 21 values are a regression; on most rows they are fewer."""
        X, Y, _ = problem
        Y = Y[:, :2].copy()
        Y[:, 1] = np.where(np.arange(300) < 279, 0, np.arange(300) - 279)
        dis = quick(sparsity="auto", max_iter=5).fit(X, Y)
        assert [task.type for task in dis.tasks_] == ["regression", "regression"]

    def test_warm_start_keeps_them(self, problem, monkeypatch):
        X, Y, _ = problem
        dis = quick(sparsity="auto", warm_start=True, max_iter=5).fit(X, Y)
        chosen = dis.sparsity_
        monkeypatch.setattr(path_module, "SPARSITIES", (0.07,))
        assert dis.fit(X, Y).sparsity_ == chosen
        assert dis.set_params(warm_start=False).fit(X, Y).sparsity_ == 0.07

    @pytest.mark.parametrize(
        "dis", [quick(sparsity="auto"), quick(sharing="auto"), quick_cv()]
    )
    def test_partial_fit_cannot_choose(self, dis):
        assert not hasattr(dis, "partial_fit")
        with pytest.raises(AttributeError, match="no attribute 'partial_fit'") as error:
            dis.partial_fit([[0.0], [1.0]], [0, 1])
        assert "to a number, such as the" in str(error.value.__cause__)

    def test_warnings_are_given_once_at_the_users_line(self, problem):
        X, Y, _ = problem
        Y = Y[:, :2].copy()
        Y[:, 1] = np.nan
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            quick(sparsity="auto", max_iter=3).fit(X, Y)
        assert len(caught) == 3  # a task left out, one alone, and too few epochs
        assert {warning.filename for warning in caught} == {__file__}

    def test_verbose(self, problem, capsys):
        X, Y, _ = problem
        quick(sparsity="auto", max_iter=2, verbose=True).fit(X, Y)
        lines = capsys.readouterr().out.split("\n")
        assert len(lines) == len(path_module.SPARSITIES) + 2
        assert lines[-2].split("\r")[-1].startswith("Done in ")
        assert lines[0].startswith("sparsity 0.01  sharing 0.1  held-out loss ")

    def test_ctrl_c_ends_the_search(self, problem):
        X, Y, _ = problem
        dis = quick(sparsity="auto", encoder=_Interrupts())
        with pytest.raises(KeyboardInterrupt):
            dis.fit(X, Y)
        assert not hasattr(dis, "coef_")

    def test_rows_held_back_without_labels(self, problem):
        X, Y, _ = problem
        y = Y[:, 0].copy()
        held = sparsity_path(quick(max_iter=1), X, y, sparsities=[0.1]).held_back
        dis = quick(sparsity="auto", max_iter=1)
        few = np.full(300, np.nan)
        few[:5] = y[:5]
        assert not set(held) & set(range(5)), "choose other rows for this test"
        with pytest.raises(ValueError, match="no task that can be learned from the"):
            dis.fit(X, few)
        with pytest.raises(ValueError, match="from which no task can be learned"):
            dis.set_params(validation_fraction=0.99).fit(X, few)


@pytest.fixture(scope="module")
def fitted(problem):
    X, Y, _ = problem
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return quick_cv(sharings=[0.1, 0.0]).fit(X, Y)


class TestCV:
    def test_is_the_fit_at_the_strengths_chosen(self, fitted, problem):
        X, Y, _ = problem
        assert fitted.sparsity_ == 0.05
        alone = quick(sparsity=0.05, sharing=fitted.sharing_).fit(X, Y)
        np.testing.assert_array_equal(fitted.coef_, alone.coef_)

    def test_results(self, fitted):
        results = fitted.cv_results_
        assert {len(values) for values in results.values()} == {4}
        assert results["param_sparsity"].tolist() == [2.0, 2.0, 0.05, 0.05]
        assert results["param_sharing"].tolist() == [0.1, 0.0, 0.1, 0.0]
        assert fitted.sharing_ == results["param_sharing"][fitted.best_index_]
        assert (results["mean_test_loss"][:2] > results["mean_test_loss"][2:]).all()
        assert fitted.n_splits_ == 2

    def test_parameters_are_those_of_the_estimator(self):
        ours = inspect.signature(SparseSharedDisentanglerCV).parameters
        theirs = dict(inspect.signature(SparseSharedDisentangler).parameters)
        del theirs["sparsity"], theirs["sharing"]
        added = ["sparsities", "sharings", "cv"]
        assert set(ours) == {*theirs, *added}
        for name, parameter in theirs.items():
            assert ours[name].default == parameter.default, name
        text = inspect.getdoc(SparseSharedDisentanglerCV)
        for name in ours:
            assert re.search(rf"\b{name}\b", text), name

    def test_folds_without_a_class_or_a_task(self, problem):
        """A class in one row only, a task in one fold only."""
        X, Y, _ = problem
        Y = Y[:, :4].copy()
        Y[0, 2] = 7
        Y[:150, 3] = np.nan
        frame = pd.DataFrame(Y).astype({2: "category"})
        dis = quick_cv(cv=[(np.arange(150), np.arange(150, 300))] * 2).fit(X, frame)
        assert dis.sparsity_ == 0.05
        assert len(dis.tasks_[2].classes) == 4
        assert all(task.left_out is None for task in dis.tasks_)

    def test_folds_that_cannot_be_used(self, problem):
        X, Y, _ = problem
        y = Y[:, 1].copy()
        y[150:] = np.nan
        first, last = np.arange(150), np.arange(150, 300)
        mixed = np.arange(300)[::2], np.arange(300)[1::2]
        dis = quick_cv(cv=[(last, first), mixed]).fit(X, y)
        assert dis.n_splits_ == 2
        alone = quick_cv(cv=[mixed]).fit(X, y)
        np.testing.assert_array_equal(
            dis.cv_results_["mean_test_loss"], alone.cv_results_["mean_test_loss"]
        )
        with pytest.raises(ValueError, match="leaves no fold with a task"):
            quick_cv(cv=[(last, first), (first, last)]).fit(X, y)

    def test_row_numbers_are_those_of_all_rows(self, problem):
        X, Y, _ = problem
        weight = np.arange(300) % 3 > 0
        splits = list(KFold(2).split(X))
        place = np.cumsum(weight) - 1
        kept = [tuple(place[r[weight[r]]] for r in fold) for fold in splits]
        a = quick_cv(cv=splits).fit(X, Y, sample_weight=weight)
        b = quick_cv(cv=kept).fit(X[weight], Y[weight])
        np.testing.assert_allclose(
            a.cv_results_["mean_test_loss"], b.cv_results_["mean_test_loss"]
        )

    def test_splitters_see_the_labels(self, problem):
        X, Y, _ = problem
        y = Y[:, 1]
        folds = StratifiedKFold(3)
        a = quick_cv(cv=folds).fit(X, y)
        b = quick_cv(cv=list(folds.split(X, y))).fit(X, y)
        np.testing.assert_array_equal(
            a.cv_results_["mean_test_loss"], b.cv_results_["mean_test_loss"]
        )
        weight = np.arange(300) % 3 > 0
        a = quick_cv(cv=folds).fit(X, y, sample_weight=weight)
        b = quick_cv(cv=folds).fit(X[weight], y[weight])
        np.testing.assert_allclose(
            a.cv_results_["mean_test_loss"], b.cv_results_["mean_test_loss"]
        )

    def test_a_fold_without_rows_is_left_out(self, problem):
        X, Y, _ = problem
        some = np.arange(200), np.arange(200, 300)
        none = np.arange(300), np.arange(0)
        a = quick_cv(cv=[some, none]).fit(X, Y)
        b = quick_cv(cv=[some]).fit(X, Y)
        np.testing.assert_array_equal(
            a.cv_results_["mean_test_loss"], b.cv_results_["mean_test_loss"]
        )

    def test_in_a_pipeline(self, problem):
        X, Y, factors = problem
        y = factors[:, 0] > 0
        pipe = Pipeline([("dis", quick_cv(max_iter=10)), ("clf", LogisticRegression())])
        pipe.fit(X, y, dis__Y_tasks=Y)
        assert len(pipe["dis"].tasks_) == 9
        assert clone(pipe).fit(X, y, dis__Y_tasks=Y).score(X, y) > 0.7

    def test_says_what_is_wrong(self, problem):
        X, Y, _ = problem
        with pytest.raises(ValueError, match="sharings must hold numbers of at least"):
            quick_cv(sharings=[-1]).fit(X, Y)
        with pytest.raises(ValueError, match="'cv' parameter"):
            quick_cv(cv="five").fit(X, Y)
        for estimator in (quick_cv(), LogisticRegression(), make_pipeline(quick())):
            with pytest.raises(TypeError, match="must be a SparseSharedDisentangler"):
                sparsity_path(estimator, X, Y)
        with pytest.raises(ValueError, match="'groups' parameter"):
            quick_cv(cv=GroupKFold(2)).fit(X, Y)


class TestDisplay:
    def test_shows_the_path(self, path):
        matplotlib = pytest.importorskip("matplotlib")
        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        display = SparsityPathDisplay.from_path(path)
        assert display.figure_ is display.axes_[0].figure
        assert [axis.get_xscale() for axis in display.axes_] == ["log"] * 3
        nonzeros = display.axes_[1].lines[0]
        np.testing.assert_array_equal(nonzeros.get_xdata(), path.sparsities[::-1])
        np.testing.assert_array_equal(nonzeros.get_ydata(), path.n_nonzero[::-1])
        figure, axes = plt.subplots(3)
        assert display.plot(ax=axes).figure_ is figure
        with pytest.raises(ValueError, match="ax must hold three axes"):
            display.plot(ax=axes[0])
        plt.close("all")

    def test_from_estimator(self, problem):
        pytest.importorskip("matplotlib").use("Agg")
        import matplotlib.pyplot as plt

        X, Y, _ = problem
        display = SparsityPathDisplay.from_estimator(
            quick(max_iter=2), X, Y_tasks=Y, sparsities=[0.1, 1.0]
        )
        assert len(display.losses) == 2
        plt.close("all")

    def test_without_matplotlib(self, path, monkeypatch):
        for name in ("matplotlib", "matplotlib.pyplot"):
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ImportError, match=r"pip install 'skdisentangle\[plots\]'"):
            SparsityPathDisplay.from_path(path)


CHECKED = {"n_components": 4, "encoder": "linear", "max_iter": 5}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:No component is in use")
@parametrize_with_checks(
    [
        SparseSharedDisentanglerCV(sparsities=[0.03, 0.3], cv=2, **CHECKED),
        SparseSharedDisentangler(sparsity="auto", **CHECKED),
    ]
)
def test_check(estimator, check):
    run_check(estimator, check)
