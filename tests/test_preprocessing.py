from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skdisentangle.preprocessing import BlockScaler

from .conftest import quick


@parametrize_with_checks([BlockScaler(), BlockScaler(total_variance=0.5)])
def test_is_a_transformer_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_variances_have_the_sum_and_keep_their_ratios(dtype):
    X = np.random.default_rng(0).normal(3, [1, 2, 5], size=(50, 3)).astype(dtype)
    scaler = BlockScaler(total_variance=7)
    Z = scaler.fit_transform(X)
    assert Z.dtype == dtype
    np.testing.assert_allclose(Z.var(axis=0).sum(), 7, rtol=1e-5)
    np.testing.assert_allclose(Z, X * scaler.scale_, rtol=1e-5)
    np.testing.assert_allclose(scaler.inverse_transform(Z), X, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e200, 1e307])
def test_sizes_at_the_edge(scale):
    X = np.random.default_rng(0).uniform(-1, 1, size=(50, 3)) * scale
    Z = BlockScaler(2.0).fit_transform(X)
    np.testing.assert_allclose(Z.var(axis=0).sum(), 2)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e300])
def test_columns_that_do_not_vary_count_for_nothing(value):
    rng = np.random.default_rng(0)
    constant = np.full((30, 2), value)
    assert BlockScaler().fit(constant).scale_ == 1
    assert BlockScaler().fit(constant[:1]).scale_ == 1
    X = rng.normal(size=(30, 2))
    both = BlockScaler().fit(np.hstack([X, constant])).scale_
    assert both == pytest.approx(BlockScaler().fit(X).scale_)
    # nor do those that vary by rounding
    constant[::2] = np.nextafter(value, np.inf)
    assert BlockScaler().fit(constant).scale_ == 1


@pytest.mark.parametrize("wrong", [0, -1.0, np.inf, "much", None])
def test_a_wrong_sum_is_named(wrong):
    with pytest.raises(ValueError, match="total_variance"):
        BlockScaler(wrong).fit(np.eye(3))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_components_beside_columns_in_equal_shares(problem):
    X, Y, _ = problem
    frame = pd.DataFrame(X, columns=[f"in {i}" for i in range(X.shape[1])])
    both = FeatureUnion(
        [
            ("dis", make_pipeline(quick(), BlockScaler())),
            ("raw", make_pipeline(StandardScaler(), BlockScaler())),
        ]
    ).set_output(transform="pandas")
    Z = both.fit(frame, Y).transform(frame)
    variances = Z.var(ddof=0)
    components = variances.index.str.startswith("dis__")
    assert components.sum() == both["dis"][0].coef_.shape[1]
    np.testing.assert_allclose(variances[components].sum(), 10, rtol=1e-4)
    np.testing.assert_allclose(variances[~components].sum(), 10, rtol=1e-4)
