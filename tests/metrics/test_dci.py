"""DCI: weights, dead codes, kinds of importance and the fast default."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.stats import spearmanr
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from skdisentangle.metrics import (
    completeness_score,
    dci_scores,
    disentanglement_score,
    informativeness_score,
)
from skdisentangle.metrics._importance import KINDS, FastBoosting

from .common import make_factors

RNG = np.random.default_rng(0)
FACTORS = RNG.normal(size=(400, 3))
NOISE = RNG.normal(size=(400, 3))


class FixedImportances(LinearRegression):
    """A regression that reports the importances it was given."""

    def __init__(self, importances=None):
        super().__init__()
        self.importances = importances

    def fit(self, X, y):
        super().fit(X, y)
        # the factor is told by the code that it is
        j = int(np.argmax(np.abs(self.coef_)))
        self.feature_importances_ = np.asarray(self.importances)[:, j]
        return self


def test_formula_by_hand():
    """R = [[1, .5], [0, .5]]: code 0 serves both factors, code 1 the second."""
    factors = np.linalg.qr(FACTORS[:, :2])[0]
    codes = factors * np.sign(factors[0])  # already in the order they are sorted into
    codes = codes[:, np.lexsort(codes[:1])]
    order = np.argmax(np.abs(np.corrcoef(codes.T, factors.T)[2:, :2]), axis=1)
    matrix = np.array([[1.0, 0.5], [0.0, 0.5]])
    scores = dci_scores(factors, codes, importance=FixedImportances(matrix))
    live = scores.importance_matrix
    assert sorted(live.sum(axis=1)) == pytest.approx([0.5, 1.5])
    assert live.sum(axis=0) == pytest.approx([1.0, 1.0])
    # rows (2/3, 1/3) and (0, 1): D = 0.75 (1 - h(1/3)) + 0.25; C = (1 + 0) / 2
    h = -(2 / 3 * np.log2(2 / 3) + 1 / 3 * np.log2(1 / 3))
    assert scores.disentanglement == pytest.approx(0.75 * (1 - h) + 0.25)
    assert scores.completeness == pytest.approx(0.5)
    assert set(order) == {0, 1}


def test_noise_codes_have_little_weight():
    """The mean over codes without weights counts noise like any other code."""
    scores = dci_scores(FACTORS, np.hstack([FACTORS, NOISE]))
    assert scores.disentanglement > 0.98
    assert scores.disentanglement_per_code.mean() < 0.95
    assert scores.code_weights.sum() == pytest.approx(1.0)
    assert scores.code_weights[3:].sum() < 0.02


@pytest.mark.parametrize("position", [0, 1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_dead_code_anywhere(kind, position):
    """One reference stops at the first code of zero importance."""
    if kind == "boosting" and position == 1:
        position = 2
    rows = slice(0, 120)
    codes = FACTORS[rows] + 0.5 * NOISE[rows]
    with_dead = np.insert(codes, position, 7.0, axis=1)
    expected = dci_scores(FACTORS[rows], codes, importance=kind)
    scores = dci_scores(FACTORS[rows], with_dead, importance=kind)
    assert scores.disentanglement == pytest.approx(expected.disentanglement)
    assert scores.completeness == pytest.approx(expected.completeness)
    assert scores.informativeness == pytest.approx(expected.informativeness)
    assert scores.importance_matrix.shape == (4, 3)
    assert not scores.importance_matrix[position].any()
    assert scores.disentanglement_per_code[position] == 0.0


def test_informativeness_is_of_held_out_rows():
    """Scored on the rows it was fitted on, noise gets far more than nothing."""
    rows = np.arange(len(FACTORS))
    fitted = informativeness_score(FACTORS, NOISE, cv=[(rows, rows)])
    assert informativeness_score(FACTORS, NOISE) < 0.05 < 0.5 < fitted


def test_splits():
    rows = np.arange(400)
    halves = [(rows[:200], rows[200:]), (rows[200:], rows[:200])]
    codes = FACTORS + NOISE
    both = dci_scores(FACTORS, codes, cv=halves, importance="linear")
    each = [dci_scores(FACTORS, codes, cv=[h], importance="linear") for h in halves]
    mean = np.mean([s.informativeness for s in each])
    assert both.informativeness == pytest.approx(mean)
    folds = informativeness_score(FACTORS, codes, cv=3, importance="linear")
    assert folds == pytest.approx(mean, abs=0.1)


def test_single_numbers():
    codes = FACTORS + 0.2 * NOISE
    scores = dci_scores(FACTORS, codes, importance="linear")
    assert (
        disentanglement_score(FACTORS, codes, importance="linear")
        == scores.disentanglement
    )
    assert (
        completeness_score(FACTORS, codes, importance="linear") == scores.completeness
    )
    assert (
        informativeness_score(FACTORS, codes, importance="linear")
        == scores.informativeness
    )


def test_lasso_finds_nothing_in_noise():
    """Lasso keeps single codes of noise, which would count as perfect codes."""
    scores = dci_scores(FACTORS, NOISE, importance="lasso")
    assert scores.disentanglement == 0.0
    assert scores.completeness == 0.0
    codes = FACTORS[:, [1, 2, 0]] + 0.1 * NOISE
    assert dci_scores(FACTORS, codes, importance="lasso").disentanglement > 0.8


def test_estimators_are_accepted():
    search = GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=2)
    pipeline = make_pipeline(StandardScaler(), search)
    for model in (Ridge(), search, make_pipeline(StandardScaler(), Ridge()), pipeline):
        scores = dci_scores(FACTORS, FACTORS, importance=model)
        assert scores.disentanglement > 0.95
    mixed, is_discrete = make_factors("mixed", 300, np.random.default_rng(0))
    pair = (Ridge(), LogisticRegression())
    scores = dci_scores(mixed, mixed, importance=pair, discrete_factors=is_discrete)
    assert scores.disentanglement > 0.7
    trees = ExtraTreesClassifier(10)
    first, second = (
        disentanglement_score(mixed, mixed, importance=trees, discrete_factors=True)
        for mixed in (mixed[:, ::2].astype(int),) * 2
    )
    assert first == second  # seeded by the metric
    assert trees.random_state is None


@pytest.mark.parametrize(
    ("importance", "error", "message"),
    [
        ("bosting", ValueError, "importance: got 'bosting'; expected one of"),
        (3, TypeError, "importance: got 3"),
        ((Ridge(),), TypeError, "importance: got"),
        (LogisticRegression(), TypeError, "LogisticRegression is not a regressor"),
        (KNeighborsRegressor(), TypeError, "neither feature_importances_ nor coef_"),
        (
            make_pipeline(PolynomialFeatures(2), Ridge()),
            ValueError,
            "returned importances of shape",
        ),
    ],
)
def test_bad_importances(importance, error, message):
    with pytest.raises(error, match=message):
        dci_scores(FACTORS[:60], FACTORS[:60], importance=importance)


def test_fast_boosting_ranks_as_boosting_does():
    """Over rotations, noise, mixtures, copies and correlated factors."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(900, 3))
    correlated = factors @ np.linalg.cholesky(0.1 * np.eye(3) + 0.9).T
    skew = np.array([[0, 1, 0.5], [-1, 0, 0.7], [-0.5, -0.7, 0]])
    cases = [(factors, factors @ expm(a * skew)) for a in (0.1, 0.4, 1.2)]
    cases += [(factors, factors + s * rng.normal(size=(900, 3))) for s in (0.3, 1.0)]
    cases += [
        (factors, np.hstack([factors, -factors]) + 0.1 * rng.normal(size=(900, 6)))
    ]
    cases += [(factors, factors @ rng.normal(size=(3, 5)))]
    cases += [(correlated, correlated @ expm(a * skew)) for a in (0.0, 0.3)]
    fast, plain = (
        np.array(
            [
                (scores.disentanglement, scores.completeness)
                for scores in (dci_scores(f, z, importance=kind) for f, z in cases)
            ]
        )
        for kind in ("fast_boosting", "boosting")
    )
    assert np.abs(fast - plain).max() < 0.06
    assert np.abs(fast - plain).mean() < 0.015
    for j in range(2):
        assert spearmanr(fast[:, j], plain[:, j]).statistic > 0.95


def test_fast_boosting_predicts_as_boosting_does():
    X, y = FACTORS[:, :2], np.sin(2 * FACTORS[:, 0]) + 0.1 * NOISE[:, 0]
    fast = FastBoosting(discrete=False, seed=0).fit(X[:300], y[:300])
    plain = GradientBoostingRegressor(random_state=0).fit(X[:300], y[:300])
    errors = [np.mean((m.predict(X[300:]) - y[300:]) ** 2) for m in (fast, plain)]
    assert errors[0] < 1.3 * errors[1] < 0.1
    classes = np.digitize(y, [-0.5, 0.5])
    model = FastBoosting(discrete=True, seed=0).fit(X[:300], classes[:300])
    assert np.mean(model.predict(X[300:]) == classes[300:]) > 0.8


def test_fast_boosting_in_bins():
    """Many rows are put into bins; a code of few values keeps them all."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=3000), rng.integers(0, 5, size=3000)])
    model = FastBoosting(discrete=False, seed=0, n_steps=20).fit(
        X, X[:, 1] + 0.5 * X[:, 0]
    )
    assert len(model.edges_[0]) == 255
    assert len(model.edges_[1]) == 4
    exact = FastBoosting(discrete=False, seed=0, n_steps=20, max_bins=1000)
    exact.fit(X, X[:, 1] + 0.5 * X[:, 0])
    assert exact.edges_ is None
    assert model.feature_importances_ == pytest.approx(
        exact.feature_importances_, abs=0.01
    )


def test_fast_boosting_stops_when_nothing_is_left():
    step = (FACTORS[:, 0] > 0).astype(float)
    model = FastBoosting(discrete=False, seed=0).fit(FACTORS, step)
    assert len(model.trees_) < 20
