"""The same kind of array out as in, with scikit-learn's dispatch and without."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_array_api_input_and_values

from skdisentangle import SparseSharedDisentangler, SparseSharedDisentanglerCV
from skdisentangle.inspection import identifiability_report
from skdisentangle.model_selection import sparsity_path

from ..conftest import quick

strict = pytest.importorskip("array_api_strict")
try:
    sklearn.set_config(array_api_dispatch=True)
    sklearn.set_config(array_api_dispatch=False)
except (ImportError, RuntimeError) as error:  # scipy or scikit-learn are too old
    pytest.skip(f"no array API dispatch: {error}", allow_module_level=True)

ARRAYS = ("coef_", "intercept_", "usage_", "active_components_")


pytestmark = pytest.mark.usefixtures("short_fits")


@pytest.fixture(autouse=True)
def _dispatch():
    with sklearn.config_context(array_api_dispatch=True):
        yield


def as_torch(device):
    return lambda array: torch.asarray(array, device=device)


def as_strict(array):
    return strict.asarray(array, device=strict.Device("device1"))


def values(array):
    """Numbers of another library's array."""
    if isinstance(array, torch.Tensor):
        return array.cpu().numpy()
    return np.asarray(strict.asarray(array, device=strict.Device("CPU_DEVICE")))


def place(array):
    return type(array), array.device


LIBRARIES = [
    pytest.param(as_torch("cpu"), id="torch-cpu"),
    pytest.param(
        as_torch("cuda"),
        id="torch-cuda",
        marks=pytest.mark.skipif(
            not torch.cuda.is_available(), reason="no CUDA device"
        ),
    ),
    pytest.param(as_strict, id="array-api-strict"),
]


@pytest.mark.parametrize("cast", LIBRARIES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_outputs_follow_rows(cast, dtype, quick_fit, problem):
    """A fit in numpy, as from a file, takes rows of any library."""
    X, Y, _ = problem
    X, fitted = X.astype(dtype), quick_fit
    rows = cast(X)
    for name in ("transform", "predict"):
        expected, found = getattr(fitted, name)(X), getattr(fitted, name)(rows)
        assert place(found) == place(rows)
        np.testing.assert_array_equal(values(found), expected)
        assert values(found).dtype == expected.dtype
    for expected, found in zip(
        fitted.predict_proba(X), fitted.predict_proba(rows), strict=True
    ):
        if expected is None:
            assert found is None
        else:
            assert place(found) == place(rows)
            np.testing.assert_array_equal(values(found), expected)
    assert fitted.score(rows, cast(Y)) == fitted.score(X, Y)
    found = fitted.score_tasks(rows, cast(Y))
    np.testing.assert_array_equal(values(found), fitted.score_tasks(X, Y))
    head = fitted.fit_task(cast(X[:50]), cast(Y[:50, 1]))
    assert place(head.predict(rows)) == place(rows)
    assert isinstance(head.coef_, np.ndarray)
    assert isinstance(fitted.coef_, np.ndarray)


@pytest.mark.parametrize("cast", LIBRARIES)
def test_fitted_arrays_follow_the_rows_of_the_fit(cast, problem, tmp_path):
    X, Y, _ = problem
    rows, weight = cast(X), np.linspace(1, 2, len(X))
    plain = quick().fit(X, Y, sample_weight=weight)
    dis = quick().fit(rows, cast(Y), sample_weight=cast(weight))
    for name in ARRAYS:
        assert place(getattr(dis, name)) == place(rows)
        np.testing.assert_array_equal(values(getattr(dis, name)), getattr(plain, name))
    np.testing.assert_array_equal(values(dis.transform(rows)), plain.transform(X))
    np.testing.assert_array_equal(values(dis.predict(rows)), plain.predict(X))
    for method in ("transform", "predict", "predict_proba"):
        with pytest.raises(
            ValueError, match=rf"{method}\(\) must use the same namespace.*got numpy"
        ):
            getattr(dis, method)(X)
    # what looks at the fitted arrays can still do so
    assert len(dis.get_feature_names_out()) == dis.coef_.shape[1]
    assert str(identifiability_report(dis, rows)) == str(
        identifiability_report(plain, X)
    )
    head = dis.fit_task(cast(X[:50]), cast(Y[:50, 1]))
    expected = plain.fit_task(X[:50], Y[:50, 1])
    np.testing.assert_array_equal(head.coef_, expected.coef_)
    back = pickle.loads(pickle.dumps(dis))
    assert place(back.coef_) == place(rows)
    pytest.importorskip("safetensors")
    dis.save(tmp_path / "model")
    back = SparseSharedDisentangler.load(tmp_path / "model", device="cpu")
    # Not bit by bit: the other one is on a GPU if there is one.
    np.testing.assert_allclose(back.transform(X), plain.transform(X), rtol=1e-9)
    # and a fit goes on, in numpy or elsewhere
    for other, form in ((X, lambda a: a), (rows, cast)):
        dis.partial_fit(other, form(Y))
        plain.partial_fit(X, Y)
        np.testing.assert_array_equal(values(form(dis.coef_)), plain.coef_)


def test_without_dispatch_all_is_numpy(problem):
    X, Y, _ = problem
    rows = torch.asarray(X)
    dis = quick(max_iter=2).fit(rows, Y)
    with sklearn.config_context(array_api_dispatch=False):
        # fitted arrays that are tensors are no obstacle
        assert isinstance(dis.transform(rows), np.ndarray)
        assert isinstance(dis.predict(X), np.ndarray)
        dis.fit(rows, torch.asarray(Y))
        assert isinstance(dis.coef_, np.ndarray)
        assert isinstance(dis.transform(rows), np.ndarray)


def test_an_error_leaves_the_estimator_as_it_was(problem):
    X, Y, _ = problem
    rows = torch.asarray(X)
    dis = quick(max_iter=2).fit(rows, Y)
    coef = dis.coef_
    with pytest.raises(ValueError, match=r"infinity|NaN"):
        dis.fit(torch.full_like(rows, torch.nan), Y)
    assert dis.coef_ is coef
    with pytest.raises(NotFittedError):
        quick().transform(rows)


def test_fit_transform_pipeline_and_gradient(problem):
    X, Y, _ = problem
    rows = torch.asarray(X).requires_grad_()
    out = quick().fit_transform(rows, torch.asarray(Y))
    assert isinstance(out, torch.Tensor)
    assert not out.requires_grad
    pipe = make_pipeline(StandardScaler(), quick()).fit(rows.detach(), torch.asarray(Y))
    assert isinstance(pipe.transform(rows.detach()), torch.Tensor)
    assert isinstance(pipe[-1].coef_, torch.Tensor)


def test_labels_that_no_tensor_can_hold(problem):
    X, Y, _ = problem
    rows = torch.asarray(X)
    text = np.array(["a", "b", "c"])[Y[:, 2].astype(int)]
    dis = quick(max_iter=2).fit(rows, text)
    assert dis.predict(rows).dtype.kind == "U"
    assert isinstance(dis.predict_proba(rows), torch.Tensor)
    frame = pd.DataFrame({"a": text, "b": Y[:, 0]})
    assert isinstance(quick(max_iter=2).fit(rows, frame).predict(rows), pd.DataFrame)


def test_strengths_from_data(problem):
    X, Y, _ = problem
    rows, labels = torch.asarray(X), torch.asarray(Y)
    options = {"encoder": "linear", "max_iter": 1, "cv": 2, "sparsities": [0.1]}
    dis = quick(SparseSharedDisentanglerCV, **options).fit(rows, labels)
    plain = quick(SparseSharedDisentanglerCV, **options).fit(X, Y)
    assert dis.sparsity_ == plain.sparsity_
    np.testing.assert_array_equal(dis.coef_.numpy(), plain.coef_)
    found = sparsity_path(quick(max_iter=1), rows, labels, sparsities=[0.1])
    expected = sparsity_path(quick(max_iter=1), X, Y, sparsities=[0.1])
    np.testing.assert_array_equal(found.losses, expected.losses)


@pytest.mark.parametrize("dispatch", [False, True])
def test_data_frames_by_set_output(problem, dispatch):
    X, Y, _ = problem
    frame = pd.DataFrame(X, columns=list("abcdefgh"))
    table = pl.DataFrame(X, schema=list("abcdefgh"))
    with sklearn.config_context(array_api_dispatch=dispatch):
        dis = quick(max_iter=2).fit(frame, Y)
        expected = dis.transform(frame)
        assert isinstance(expected, np.ndarray)
        dis.set_output(transform="pandas")
        out = dis.transform(frame.set_index(frame.index + 7))
        assert isinstance(out, pd.DataFrame)
        assert out.index[0] == 7
        assert list(out.columns) == list(dis.get_feature_names_out())
        dis.set_output(transform="polars")
        assert isinstance(dis.transform(table), pl.DataFrame)
        np.testing.assert_array_equal(dis.transform(table).to_numpy(), expected)
        # what was asked for goes before the kind of the rows
        dis = quick(max_iter=2).set_output(transform="pandas")
        rows = torch.asarray(X)
        assert isinstance(dis.fit_transform(rows, Y), pd.DataFrame)
        assert isinstance(dis.transform(rows), pd.DataFrame)


def test_values_of_scikit_learns_check():
    check_array_api_input_and_values(
        "SparseSharedDisentangler",
        quick(),
        array_namespace="torch",
        device_name="cpu",
        dtype_name="float64",
        check_sample_weight=True,
    )
