"""What scikit-learn makes of the estimators: scorers, searches, meta-estimators."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import sklearn
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.exceptions import FitFailedWarning, UnsetMetadataPassedError
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import (
    average_precision_score,
    log_loss,
    roc_auc_score,
    top_k_accuracy_score,
)
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    KFold,
    TunedThresholdClassifierCV,
    check_cv,
    cross_val_score,
)
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.pipeline import make_pipeline

from skdisentangle import SparseSharedDisentangler
from skdisentangle.heads import SparseTaskHead

pytestmark = pytest.mark.usefixtures("short_fits")

RNG = np.random.default_rng(0)
FACTORS = RNG.normal(size=(90, 3))
X = FACTORS @ RNG.normal(size=(3, 4))
BINARY = (FACTORS[:, 0] > 0).astype(int)
CLASSES = np.digitize(FACTORS[:, 1], [-0.5, 0.5])
BINARIES = (FACTORS > 0).astype(int)
MIXED = np.column_stack([BINARY, CLASSES, FACTORS[:, 2]])


def linear(**options):
    defaults = {"n_components": 4, "encoder": "linear", "max_iter": 10}
    return SparseSharedDisentangler(random_state=0, **{**defaults, **options})


@pytest.fixture(scope="module")
def frozen():
    """A fit of all three factors, to put heads on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FrozenEstimator(linear().fit(X, MIXED))


class TestIsAClassifier:
    @pytest.mark.parametrize(
        ("task_types", "expected"),
        [
            (None, False),
            ("regression", False),
            ("binary", True),
            ("multiclass", True),
            (["binary", "multiclass"], True),
            (["binary", None], False),
            (["binary", "regression"], False),
            ({"a": "binary", "b": "multiclass"}, True),
            ({"a": "regression"}, False),
            ({"a": None}, False),
            ([], False),
            ({}, False),
            ("classes", False),
            (7, False),
            ([["binary"], 3], False),
        ],
    )
    def test_if_all_types_named_have_classes(self, task_types, expected):
        estimator = linear(task_types=task_types)
        assert is_classifier(estimator) is expected
        assert is_classifier(make_pipeline(estimator)) is expected

    def test_after_the_fit_if_all_tasks_have(self):
        assert is_classifier(linear().fit(X, BINARIES))
        assert not is_classifier(linear().fit(X, MIXED))
        named = linear(task_types={"task0": "binary"})
        assert is_classifier(named)
        assert not is_classifier(named.fit(X, MIXED))
        assert not is_classifier(clone(linear().fit(X, BINARY)))

    def test_iris_is_stratified(self):
        rows, labels = load_iris(return_X_y=True)
        dis = SparseSharedDisentangler(4, task_types="multiclass", random_state=0)
        folds = check_cv(3, labels, classifier=is_classifier(dis))
        assert {len(set(labels[test])) for _, test in folds.split(rows, labels)} == {3}
        assert cross_val_score(dis, rows, labels, cv=3).min() > 0.9


def halves(labels, scoring, **options):
    """Scores of two folds, and the two fits with the rows that they have not seen."""
    cv = KFold(2, shuffle=True, random_state=0)
    found = cross_val_score(
        linear(**options), X, labels, scoring=scoring, cv=cv, error_score="raise"
    )
    fits = [
        (linear(**options).fit(X[train], labels[train]), X[test], labels[test])
        for train, test in cv.split(X)
    ]
    return found, fits


METRICS = {
    "roc_auc": roc_auc_score,
    "average_precision": average_precision_score,
    "neg_log_loss": lambda y, chances: -log_loss(y, chances),
    "top_k_accuracy": lambda y, chances: top_k_accuracy_score(y, chances, k=2),
}


@pytest.mark.filterwarnings("ignore:'k' .2. greater than or equal to 'n_classes'")
class TestScorers:
    @pytest.mark.parametrize("task_types", [None, "binary"])
    @pytest.mark.parametrize("scoring", METRICS)
    def test_a_binary_task(self, scoring, task_types):
        found, fits = halves(BINARY, scoring, task_types=task_types)
        for score, (dis, rows, labels) in zip(found, fits, strict=True):
            chances = dis.predict_proba(rows)[:, 1]
            if scoring == "neg_log_loss":
                assert score == pytest.approx(-log_loss(labels, chances))
            elif scoring == "top_k_accuracy":
                assert score == 1  # both classes are among the first two
            else:
                assert score == pytest.approx(METRICS[scoring](labels, chances))
                assert score > 0.95

    @pytest.mark.parametrize("scoring", ["neg_log_loss", "top_k_accuracy"])
    def test_classes(self, scoring):
        found, fits = halves(CLASSES, scoring, task_types="multiclass")
        for score, (dis, rows, labels) in zip(found, fits, strict=True):
            expected = METRICS[scoring](labels, dis.predict_proba(rows))
            assert score == pytest.approx(expected)

    @pytest.mark.parametrize("task_types", [None, "binary"])
    @pytest.mark.parametrize("scoring", ["roc_auc", "average_precision"])
    def test_several_binary_tasks(self, scoring, task_types):
        found, fits = halves(BINARIES, scoring, task_types=task_types)
        for score, (dis, rows, labels) in zip(found, fits, strict=True):
            each = [
                METRICS[scoring](labels[:, task], chances[:, 1])
                for task, chances in enumerate(dis.predict_proba(rows))
            ]
            assert score == pytest.approx(np.mean(each))
            assert score > 0.9

    @pytest.mark.parametrize("scoring", METRICS)
    @pytest.mark.parametrize("labels", [MIXED, MIXED[:, :2]], ids=["mixed", "classes"])
    def test_where_they_are_not_defined(self, scoring, labels):
        said = {
            "average_precision": "format is not supported",
            "top_k_accuracy": "y should be a 1d array",
        }
        with pytest.raises(
            ValueError, match=said.get(scoring, "of all tasks in one array")
        ):
            halves(labels, scoring)

    def test_a_function_takes_the_mean_of_those_that_have_it(self):
        """As the guide says, and over folds."""

        def mean_auc(dis, rows, labels):
            chances = zip(labels.T, dis.predict_proba(rows), strict=True)
            of_two = [(y, p) for y, p in chances if p is not None and p.shape[1] == 2]
            return np.mean([roc_auc_score(y, p[:, 1]) for y, p in of_two])

        scores = cross_val_score(
            *(linear(), X, MIXED),
            scoring=mean_auc,
            cv=KFold(2, shuffle=True, random_state=0),
            error_score="raise",
        )
        assert scores.min() > 0.9

    @pytest.mark.parametrize("task_type", [None, "binary"])
    @pytest.mark.parametrize("scoring", METRICS)
    def test_heads(self, scoring, task_type, frozen):
        head = SparseTaskHead(frozen, task_type=task_type)
        (found,) = cross_val_score(
            *(head, X, BINARY),
            scoring=scoring,
            cv=[(np.arange(45), np.arange(45, 90))],
            error_score="raise",
        )
        fitted = head.fit(X[:45], BINARY[:45])
        chances = fitted.predict_proba(X[45:])[:, 1]
        expected = (
            1.0
            if scoring == "top_k_accuracy"
            else METRICS[scoring](BINARY[45:], chances)
        )
        assert found == pytest.approx(expected)


class TestSearches:
    @pytest.mark.filterwarnings("ignore:No component is in use:UserWarning")
    def test_a_model_without_features_loses_a_tie(self):
        """Of labels that are mostly of one class all models may predict that class."""
        labels = np.zeros(90, dtype=int)
        labels[::9] = 1
        rows = np.random.default_rng(1).normal(size=(90, 2))
        search = GridSearchCV(
            linear(max_iter=3, sharing=0), {"sparsity": [1e6, 0]}, cv=KFold(2)
        ).fit(rows, labels)
        first, second = search.cv_results_["mean_test_score"]
        assert first == pytest.approx(second, abs=1e-12)
        assert search.best_params_ == {"sparsity": 0}

    @pytest.mark.filterwarnings("ignore:No component is in use:UserWarning")
    def test_its_score_is_that_of_its_predictions(self):
        dis = linear(sparsity=1e6).fit(X, BINARY)
        assert dis.score(X, BINARY) == pytest.approx((dis.predict(X) == BINARY).mean())
        assert dis.score(X, BINARY) < (dis.predict(X) == BINARY).mean()

    @pytest.mark.filterwarnings("ignore:No component is in use:UserWarning")
    @pytest.mark.filterwarnings("ignore:One or more of the test:UserWarning")
    def test_without_features_a_pipeline_loses(self):
        pipe = make_pipeline(linear(), LogisticRegression())
        grid = {"sparseshareddisentangler__sparsity": [1e6, 0.03]}
        with pytest.warns(FitFailedWarning, match="no component is in use"):
            search = GridSearchCV(pipe, grid, cv=2).fit(X, BINARY)
        assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [True, False]
        assert search.best_index_ == 1
        grid = {"sparseshareddisentangler__sparsity": [1e6, 1e7]}
        with pytest.raises(ValueError, match="All the 4 fits failed"):
            GridSearchCV(pipe, grid, cv=2).fit(X, BINARY)

    @pytest.mark.filterwarnings("ignore:Scoring failed:UserWarning")
    def test_scores_that_are_all_nan_are_said(self):
        search = GridSearchCV(
            linear(), {"sparsity": [0.03, 0.1]}, scoring="roc_auc", cv=2
        )
        with pytest.warns(UserWarning, match="test scores are non-finite"):
            search.fit(X, MIXED)


class TestMetaEstimators:
    @pytest.fixture(params=["types named", "inferred", "head", "pipeline"])
    def classifier(self, request, frozen):
        return {
            "types named": linear(task_types="binary"),
            "inferred": linear(),
            "head": SparseTaskHead(frozen, task_type="binary"),
            "pipeline": make_pipeline(linear(), LogisticRegression()),
        }[request.param]

    @pytest.mark.parametrize(
        "wrap",
        [
            lambda each: CalibratedClassifierCV(each, cv=2),
            lambda each: CalibratedClassifierCV(FrozenEstimator(each.fit(X, BINARY))),
            lambda each: FixedThresholdClassifier(each, threshold=0.5),
            lambda each: TunedThresholdClassifierCV(each, cv=2),
            lambda each: StackingClassifier([("each", each)], cv=2),
        ],
        ids=["calibrated", "frozen", "fixed", "tuned", "stacked"],
    )
    def test_around_a_classifier(self, wrap, classifier):
        wrapped = wrap(classifier).fit(X, BINARY)
        assert wrapped.score(X, BINARY) > 0.9
        chances = wrapped.predict_proba(X)
        assert roc_auc_score(BINARY, chances[:, 1]) > 0.98

    def test_threshold_is_looked_at(self):
        strict = FixedThresholdClassifier(linear(task_types="binary"), threshold=0.9)
        chances = linear(task_types="binary").fit(X, BINARY).predict_proba(X)[:, 1]
        expected = (chances >= 0.9).astype(int)
        np.testing.assert_array_equal(strict.fit(X, BINARY).predict(X), expected)

    def test_voting(self, frozen):
        head = SparseTaskHead(frozen, task_type="binary")
        for each in (linear(task_types="binary"), head):
            both = [("each", each), ("other", LogisticRegression())]
            vote = VotingClassifier(both, voting="soft").fit(X, BINARY)
            parts = [clone(e).fit(X, BINARY).predict_proba(X) for _, e in both]
            np.testing.assert_allclose(vote.predict_proba(X), np.mean(parts, axis=0))
        for each in (linear(), SparseTaskHead(frozen)):
            with pytest.raises(ValueError, match="should be a classifier"):
                VotingClassifier([("each", each)]).fit(X, BINARY)

    @pytest.mark.parametrize("kind", [VotingRegressor, StackingRegressor])
    def test_of_regressors(self, kind, frozen):
        head = SparseTaskHead(frozen, task_type="regression")
        target = FACTORS[:, 2]
        both = kind([("head", head), ("other", Ridge())]).fit(X, target)
        assert both.score(X, target) > 0.99
        for each in (linear(), linear(task_types="regression"), SparseTaskHead(frozen)):
            with pytest.raises(ValueError, match="should be a regressor"):
                kind([("each", each)]).fit(X, target)

    def test_of_several_outputs(self, frozen):
        head = SparseTaskHead(frozen)
        for each in (linear(), linear(task_types="binary"), head):
            wrapped = MultiOutputClassifier(each).fit(X, BINARIES)
            assert (wrapped.predict(X) == BINARIES).mean() > 0.95
            chances = wrapped.predict_proba(X)
            alone = clone(each).fit(X, BINARIES[:, 1]).predict_proba(X)
            np.testing.assert_array_equal(chances[1], alone)
        for each in (linear(), head):
            wrapped = MultiOutputRegressor(each).fit(X, FACTORS)
            assert wrapped.score(X, FACTORS) > 0.99
        with pytest.raises(ValueError, match="Use 'regression' for continuous"):
            MultiOutputRegressor(linear(task_types="binary")).fit(X, FACTORS)

    def test_permutation_importance(self, frozen):
        rows = np.column_stack([X, np.random.default_rng(2).normal(size=90)])
        found = permutation_importance(
            linear(encoder="linear", sparsity=0.1).fit(rows[:, [0, 4]], X[:, 0]),
            rows[:, [0, 4]],
            X[:, 0],
            random_state=0,
        ).importances_mean
        assert found[0] > 1.5
        assert abs(found[1]) < 0.1
        head = SparseTaskHead(frozen).fit(X, BINARY)
        found = permutation_importance(head, X, BINARY, random_state=0)
        assert found.importances_mean.max() > 0.05


class TestSelectors:
    """``coef_`` is over components, of which there may be as many as columns."""

    @pytest.mark.parametrize("n_components", [3, 4, 6])
    @pytest.mark.parametrize("getter", ["auto", "coef_"])
    @pytest.mark.parametrize("kind", [RFE, SelectFromModel])
    def test_they_are_refused(self, kind, getter, n_components):
        dis = linear(n_components=n_components, sparsity=0, sharing=0)
        with pytest.raises(TypeError, match="is over components, not over columns"):
            kind(dis, importance_getter=getter).fit(X, MIXED).get_support()

    @pytest.mark.parametrize("kind", [RFE, SelectFromModel])
    def test_heads_too_and_pipelines_by_name(self, kind, frozen):
        head = SparseTaskHead(frozen)
        with pytest.raises(TypeError, match="SparseTaskHead is over components"):
            kind(head).fit(X, BINARY).transform(X)
        getter = "named_steps.sparseshareddisentangler.coef_"
        pipe = make_pipeline(linear())
        with pytest.raises(TypeError, match="over components"):
            kind(pipe, importance_getter=getter).fit(X, BINARY).get_support()

    def test_a_function_of_the_users_is_asked(self):
        rows = np.column_stack([X, np.random.default_rng(2).normal(size=(90, 2))])

        def effects(dis):
            """Weights of the columns, of a linear encoder."""
            return np.abs(dis.encoder_.body.weight.detach().numpy()).sum(0)

        dis = linear(max_iter=100)
        selector = SelectFromModel(dis, importance_getter=effects, max_features=4)
        mask = selector.fit(rows, MIXED).get_support()
        assert mask.sum() == 3
        assert not mask[4:].any()

    def test_nobody_else_is_refused(self):
        dis = linear()
        assert not hasattr(dis, "coef_")
        assert not hasattr(SparseSharedDisentangler, "coef_")
        with pytest.raises(AttributeError, match="not fitted and has no coef_"):
            dis.coef_  # noqa: B018
        dis.fit(X, MIXED)
        assert dis.coef_ is vars(dis)["coef_"]
        del dis.coef_
        assert not hasattr(dis, "coef_")


class TestRouting:
    """Labels are asked for by default, weights are not, as everywhere in scikit-learn."""

    WEIGHT = np.where(np.arange(90) < 30, 0.0, 1.0)

    @pytest.fixture(autouse=True)
    def _routed(self):
        with sklearn.config_context(enable_metadata_routing=True):
            yield

    def test_requests(self):
        dis = linear(sparsity=0.1)
        requests = dis.get_metadata_routing()
        for method in ("fit", "score", "partial_fit"):
            asked = getattr(requests, method).requests
            assert asked["Y_tasks"] is True
            assert asked["sample_weight"] is None

    def test_weights_for_the_last_step_drop_no_rows_here(self):
        last = LogisticRegression().set_fit_request(sample_weight=True)
        dis = linear().set_fit_request(sample_weight=False)
        pipe = make_pipeline(dis, last)
        pipe.fit(X, BINARY, Y_tasks=MIXED, sample_weight=self.WEIGHT)
        alone = linear().fit(X, MIXED)
        np.testing.assert_array_equal(pipe[0].coef_, alone.coef_)
        codes = alone.transform(X)
        after = LogisticRegression().fit(codes, BINARY, sample_weight=self.WEIGHT)
        np.testing.assert_allclose(pipe[1].coef_, after.coef_)

    def test_without_a_word_they_are_refused(self):
        last = LogisticRegression().set_fit_request(sample_weight=True)
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            make_pipeline(linear(), last).fit(X, BINARY, sample_weight=self.WEIGHT)

    def test_on_request(self):
        last = LogisticRegression().set_fit_request(sample_weight=False)
        dis = linear().set_fit_request(sample_weight=True)
        pipe = make_pipeline(dis, last)
        pipe.fit(X, BINARY, Y_tasks=MIXED, sample_weight=self.WEIGHT)
        expected = linear().fit(X, MIXED, sample_weight=self.WEIGHT).coef_
        np.testing.assert_array_equal(pipe[0].coef_, expected)

    def test_of_scores_in_a_search(self):
        weight = self.WEIGHT[::-1]
        dis = linear().set_fit_request(sample_weight=False)
        dis.set_score_request(sample_weight=True)
        cv = [(np.arange(45), np.arange(45, 90))]
        search = GridSearchCV(dis, {"sparsity": [0.03]}, cv=cv)
        search.fit(X, MIXED, sample_weight=weight)
        fitted = linear().fit(X[:45], MIXED[:45])
        expected = fitted.score(X[45:], MIXED[45:], sample_weight=weight[45:])
        assert search.cv_results_["mean_test_score"][0] == pytest.approx(expected)
        assert expected != fitted.score(X[45:], MIXED[45:])
