from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from skdisentangle import SparseSharedDisentangler

da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")


@pytest.fixture(scope="module")
def frame(problem):
    X, _, _ = problem
    return pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])


@pytest.fixture(scope="module")
def fitted(problem, frame):
    dis = SparseSharedDisentangler(5, hidden_layer_sizes=(8,), random_state=0)
    return dis.fit(frame, problem[1])


@pytest.fixture(scope="module")
def nameless(problem):
    dis = SparseSharedDisentangler(5, hidden_layer_sizes=(8,), random_state=0)
    return dis.fit(*problem[:2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_array(problem, nameless, dtype):
    X = problem[0].astype(dtype)
    rows = da.from_array(X, chunks=(70, 3))
    lazy = nameless.transform(rows)
    assert isinstance(lazy, da.Array)
    assert lazy.chunks == ((70, 70, 70, 70, 20), (nameless.coef_.shape[1],))
    codes = lazy.compute()
    assert lazy.dtype == codes.dtype == dtype
    np.testing.assert_allclose(codes, nameless.transform(X), rtol=0, atol=1e-5)


def test_nothing_is_computed_before_it_is_asked_for(nameless):
    def never(block):
        raise AssertionError("computed")

    rows = da.zeros((10, 8), chunks=(5, 8)).map_blocks(
        never, dtype=float, meta=np.empty((0, 8))
    )
    lazy = nameless.transform(rows)
    with pytest.raises(AssertionError, match="computed"):
        lazy.compute()


def test_sparse_blocks(problem, nameless):
    X, _, _ = problem
    rows = da.from_array(X, chunks=(70, 8)).map_blocks(sparse.csr_array)
    codes = nameless.transform(rows).compute()
    np.testing.assert_allclose(codes, nameless.transform(X), atol=1e-12)


def test_chunks_of_unknown_length_and_empty_ones(problem, nameless):
    X, _, _ = problem
    rows = da.from_array(X, chunks=(50, 8))
    kept = (X[:, 0] > 0) & (np.arange(len(X)) >= 50)
    codes = nameless.transform(rows[da.from_array(kept, chunks=50)]).compute()
    np.testing.assert_allclose(codes, nameless.transform(X[kept]), atol=1e-12)


def test_data_frame(frame, fitted):
    lazy = fitted.transform(dd.from_pandas(frame, npartitions=3))
    assert isinstance(lazy, dd.DataFrame)
    assert lazy.npartitions == 3
    codes = lazy.compute()
    assert list(codes.columns) == list(fitted.get_feature_names_out())
    assert list(lazy.dtypes) == list(codes.dtypes)
    pd.testing.assert_index_equal(codes.index, frame.index)
    np.testing.assert_allclose(codes, fitted.transform(frame), rtol=0, atol=1e-12)


def test_a_fit_on_data_frames_keeps_their_names(frame, problem):
    Y = pd.DataFrame(problem[1], columns=[f"y{j}" for j in range(9)])
    rows, labels = (dd.from_pandas(each, npartitions=3) for each in (frame, Y))
    options = {"hidden_layer_sizes": (8,), "random_state": 0}
    lazy = SparseSharedDisentangler(5, **options).fit(rows, labels)
    other = SparseSharedDisentangler(5, **options).fit(frame, Y)
    np.testing.assert_array_equal(lazy.coef_, other.coef_)
    assert list(lazy.feature_names_in_) == list(frame.columns)
    assert list(lazy.predict(rows).columns) == list(Y.columns)
    assert lazy.score(rows, labels) == other.score(frame, Y)
    with pytest.raises(ValueError, match="feature names should match"):
        lazy.score(rows[list(frame.columns[::-1])], labels)
    with pytest.raises(ValueError, match="same columns as in the fit"):
        lazy.score(rows, labels[list(Y.columns[::-1])])


def test_empty_partitions_of_single_precision(frame, fitted):
    rows = dd.from_pandas(frame.astype(np.float32), npartitions=3)
    rows = rows.map_partitions(lambda part: part[part.index < 90])
    codes = fitted.transform(rows).compute()
    assert len(codes) == 90
    assert set(codes.dtypes) == {np.dtype(np.float32)}


def test_wrong_input_is_said_at_once(frame, fitted, nameless):
    rows = da.zeros((10, 8), chunks=5)
    with pytest.raises(ValueError, match="X has 3 features"):
        nameless.transform(rows[:, :3])
    with pytest.raises(ValueError, match="X must have 2 dimensions"):
        nameless.transform(rows[:, 0])
    other = dd.from_pandas(frame.rename(columns={"x0": "z"}), npartitions=2)
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.transform(other)
    with pytest.raises(ValueError, match="not fitted"):
        SparseSharedDisentangler().transform(rows)


def test_output_that_cannot_be_had_lazily(nameless):
    dis = copy.copy(nameless).set_output(transform="pandas")
    with pytest.raises(ValueError, match=r"set_output\(transform='pandas'\) cannot"):
        dis.transform(da.zeros((10, 8)))
