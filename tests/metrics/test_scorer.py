"""Scorers in scikit-learn's searches."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn import config_context
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdisentangle.metrics import (
    infomec_scores,
    make_disentanglement_scorer,
    mcc_score,
    mig_score,
)

RNG = np.random.default_rng(0)
FACTORS = RNG.normal(size=(120, 3)) * [1.0, 2.0, 4.0]
X = np.column_stack([FACTORS, RNG.normal(size=(120, 2)) * 0.1])


def test_grid_search_finds_the_number_of_components():
    scorer = make_disentanglement_scorer(mcc_score)
    search = GridSearchCV(PCA(), {"n_components": [1, 2, 3]}, scoring=scorer, cv=3)
    search.fit(X, FACTORS)
    assert search.best_params_ == {"n_components": 3}
    assert search.best_score_ > 0.95
    assert search.score(X, FACTORS) == mcc_score(FACTORS, search.transform(X))


def test_arguments_reach_the_metric():
    pca = PCA().fit(X)
    scorer = make_disentanglement_scorer(mig_score, n_bins=5)
    assert scorer(pca, X, FACTORS) == mig_score(FACTORS, pca.transform(X), n_bins=5)
    negative = make_disentanglement_scorer(mig_score, greater_is_better=False, n_bins=5)
    assert negative(pca, X, FACTORS) == -scorer(pca, X, FACTORS)


def test_attribute_of_a_result():
    pca = PCA().fit(X)
    scorer = make_disentanglement_scorer(infomec_scores, attribute="infoc")
    assert scorer(pca, X, FACTORS) == infomec_scores(FACTORS, pca.transform(X)).infoc
    with pytest.raises(TypeError, match="returned a InfoMECScores; expected a number"):
        make_disentanglement_scorer(infomec_scores)(pca, X, FACTORS)


def test_several_metrics_in_parallel():
    scoring = {
        "mcc": make_disentanglement_scorer(mcc_score),
        "mig": make_disentanglement_scorer(mig_score),
    }
    pipeline = make_pipeline(StandardScaler(), PCA())
    result = cross_validate(pipeline, X, FACTORS, scoring=scoring, cv=2, n_jobs=2)
    assert np.all(np.isfinite(result["test_mcc"]))
    assert np.all(np.isfinite(result["test_mig"]))


def test_factors_by_metadata_routing():
    """y is something else, and the factors are split along with it."""
    y = np.arange(120) % 2
    with config_context(enable_metadata_routing=True):
        scorer = make_disentanglement_scorer(mcc_score).set_score_request(factors=True)
        search = GridSearchCV(PCA(), {"n_components": [1, 3]}, scoring=scorer, cv=3)
        search.fit(X, y, factors=FACTORS)
    assert search.best_params_ == {"n_components": 3}


def test_a_request_does_not_change_the_scorer():
    scorer = make_disentanglement_scorer(mcc_score)
    requesting = scorer.set_score_request(factors="truth")
    requests = [s.get_metadata_routing().score.requests for s in (scorer, requesting)]
    assert requests == [{"factors": None}, {"factors": "truth"}]


def test_scorers_pickle_and_print():
    scorer = make_disentanglement_scorer(mcc_score, method="spearman")
    copy = pickle.loads(pickle.dumps(scorer))
    pca = PCA().fit(X)
    assert copy(pca, X, FACTORS) == scorer(pca, X, FACTORS)
    assert repr(copy) == "make_disentanglement_scorer(mcc_score, method='spearman')"


def test_errors():
    with pytest.raises(TypeError, match="metric: got 'mig'"):
        make_disentanglement_scorer("mig")
    scorer = make_disentanglement_scorer(mcc_score)
    with pytest.raises(TypeError, match="Ridge has no transform"):
        scorer(Ridge().fit(X, FACTORS), X, FACTORS)
    with pytest.raises(ValueError, match="factors: got None"):
        scorer(PCA().fit(X), X)
