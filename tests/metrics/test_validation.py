"""What is accepted as factors and codes, and how errors read."""

from __future__ import annotations

import numpy as np
import pytest

from skdisentangle.metrics import (
    factor_vae_score,
    infomec_scores,
    irs_score,
    mcc_score,
    mig_score,
    sap_score,
)
from skdisentangle.metrics._validation import (
    canonical_codes,
    check_factors_codes,
    is_constant,
    make_splits,
    standardize,
    unit_scale,
)

CODES = np.random.default_rng(0).normal(size=(6, 2))


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="numpy 1 has none")
def test_strings_of_variable_length_are_classes():
    names = np.array([["b"], ["a"], ["True"]] * 2, np.dtypes.StringDType())
    factors, _, is_discrete = check_factors_codes(names, CODES, "auto")
    assert is_discrete.tolist() == [True]
    assert factors.ravel().tolist() == [2, 1, 0] * 2


@pytest.mark.parametrize(
    ("column", "discrete", "values"),
    [
        (np.array([1, 2, 3, 1, 2, 3]), True, [1, 2, 3, 1, 2, 3]),
        (np.array([0.5, 1, 2, 3, 4, 5]), False, [0.5, 1, 2, 3, 4, 5]),
        (np.array([True, False] * 3), True, [1, 0] * 3),
        (np.array(["b", "a", "c"] * 2), True, [1, 0, 2] * 2),
        (np.array(["b", "a", 3] * 2, dtype=object), True, [2, 1, 0] * 2),
        (np.array([1, 2, 3] * 2, dtype=object), True, [1, 2, 3] * 2),
        (np.array([1, 2.5, 3] * 2, dtype=object), False, [1, 2.5, 3] * 2),
    ],
)
def test_types_of_factors(column, discrete, values):
    factors, _, is_discrete = check_factors_codes(column[:, None], CODES, "auto")
    assert is_discrete.tolist() == [discrete]
    assert factors.ravel().tolist() == values


def test_data_frames_are_read_column_by_column():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {
            "size": [0.5, 1.5, 2.5, 3.5, 0.5, 1.5],
            "shape": pd.Categorical(["square", "heart"] * 3),
            "level": pd.Categorical([0.1, 0.2] * 3),
            "count": pd.array([1, 2, 3] * 2, dtype="Int64"),
            "share": pd.array([0.1, 0.2, 0.3] * 2, dtype="Float64"),
        }
    )
    factors, codes, is_discrete = check_factors_codes(
        frame, pd.DataFrame(CODES), "auto"
    )
    assert is_discrete.tolist() == [False, True, True, True, False]
    assert factors[:2, 1].tolist() == [1.0, 0.0]
    assert factors[:2, 2].tolist() == [0.1, 0.2]
    assert np.array_equal(codes, CODES)
    frame.loc[0, "count"] = pd.NA
    with pytest.raises(ValueError, match=r"column 3 has 1 missing value"):
        check_factors_codes(frame, CODES, "auto")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (True, [True, True]),
        (False, [False, False]),
        ([True, False], [True, False]),
        ([1], [False, True]),
        ([-1], [False, True]),
        ([], [False, False]),
    ],
)
def test_discrete_factors(given, expected):
    factors = np.arange(12.0).reshape(6, 2)
    assert check_factors_codes(factors, CODES, given)[2].tolist() == expected


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("all", ValueError, "discrete_factors: got 'all'"),
        ([True], ValueError, r"mask must have shape \(2,\)"),
        ([2], ValueError, r"indices must lie in \[0, 2\)"),
        ([0.5], TypeError, "array of dtype float64"),
    ],
)
def test_bad_discrete_factors(given, error, message):
    with pytest.raises(error, match=message):
        check_factors_codes(np.arange(12.0).reshape(6, 2), CODES, given)


@pytest.mark.parametrize(
    ("factors", "error", "message"),
    [
        (
            np.arange(6.0),
            ValueError,
            r"expected a 2D array .* got 1D with shape \(6,\)",
        ),
        (np.ones((6, 1)), ValueError, r"column\(s\) \[0\] have a single value"),
        (np.arange(5.0)[:, None], ValueError, "inconsistent numbers of samples"),
        (np.full((6, 1), np.nan), ValueError, "column 0 has 6 missing value"),
        (np.array([[None]] * 6), ValueError, "column 0 has 6 missing value"),
        (np.array([[1.0]] * 5 + [[np.inf]]), ValueError, "infinity"),
        (np.ones((6, 1)) * 1j, TypeError, "column 0 has dtype complex128"),
        (np.empty((6, 0)), ValueError, "at least one column"),
    ],
)
def test_bad_factors(factors, error, message):
    with pytest.raises(error, match=message):
        mig_score(factors, CODES)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.full((6, 2), np.nan), "codes contains NaN"),
        (np.full((6, 2), np.inf), "codes contains infinity"),
        (np.zeros(6), "Expected 2D array"),
        (np.zeros((1, 2)), "minimum of 2 is required"),
    ],
)
def test_bad_codes(codes, message):
    with pytest.raises(ValueError, match=message):
        mig_score(np.arange(6)[:, None] % 2, codes)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda f, z: mig_score(f, z, n_bins=1), ValueError, "n_bins: got 1"),
        (lambda f, z: mig_score(f, z, n_bins=2.5), TypeError, "n_bins: got 2.5"),
        (lambda f, z: mcc_score(f, z, method="x"), ValueError, "method: got 'x'"),
        (
            lambda f, z: mcc_score(f, z, missing_factors=0),
            ValueError,
            "missing_factors: got 0",
        ),
        (
            lambda f, z: sap_score(f, z, classifier="x"),
            ValueError,
            "classifier: got 'x'",
        ),
        (lambda f, z: sap_score(f, z, cv="x"), ValueError, "cv"),
        (lambda f, z: sap_score(f, z, cv=3.5), TypeError, "cv: got 3.5"),
        (lambda f, z: sap_score(f, z, cv=[]), ValueError, "at least one split"),
        (lambda f, z: irs_score(f, z, quantile=0), ValueError, "quantile: got 0"),
        (lambda f, z: irs_score(f, z, quantile="x"), TypeError, "quantile: got 'x'"),
        (lambda f, z: irs_score(f, z, weights="x"), ValueError, "weights: got 'x'"),
        (
            lambda f, z: factor_vae_score(f, z, batch_size=1),
            ValueError,
            "batch_size: got 1",
        ),
        (
            lambda f, z: infomec_scores(f, z, min_information=1),
            ValueError,
            "min_information",
        ),
    ],
)
def test_bad_options(call, error, message):
    with pytest.raises(error, match=message):
        call(np.arange(6)[:, None] % 2, CODES)


def test_many_classes_are_pointed_out():
    codes = np.random.default_rng(0).normal(size=(100, 2))
    with pytest.warns(UserWarning, match=r"column 0 is taken as discrete and has 100"):
        mig_score(np.arange(100)[:, None], codes)


def test_default_split_holds_out_a_third():
    ((train, test),) = make_splits(None, 300, np.random.RandomState(0))
    assert len(test) == 100
    assert sorted([*train, *test]) == list(range(300))


def test_constant_columns():
    columns = [
        np.zeros(3),
        np.ones(3),
        1e9 + np.arange(3) * 1e-7,
        np.arange(3) * 1e-300,
    ]
    assert is_constant(np.column_stack(columns)).tolist() == [True, True, True, False]
    extreme = np.array([[-1.7e308], [1.7e308]])
    assert is_constant(extreme).tolist() == [False]


def test_standardize_extremes():
    values = np.array([[1e-310, 1e308, 5.0], [2e-310, -1e308, 5.0], [3e-310, 0.0, 5.0]])
    result = standardize(values)
    assert result.std(axis=0) == pytest.approx([1.0, 1.0, 0.0])
    assert np.array_equal(np.abs(unit_scale(values)) <= 1, np.ones((3, 3), dtype=bool))


def test_canonical_codes():
    codes = np.random.default_rng(0).normal(size=(20, 3))
    codes = np.insert(codes, 1, 4.0, axis=1)
    canonical, columns = canonical_codes(codes)
    assert sorted(columns) == [0, 2, 3]
    assert np.all(canonical[0] >= 0)
    scale = np.array([-2.0, 1.0, 1e-9, 7.0])
    changed = ((codes + 1.0) * scale)[:, [3, 2, 1, 0]]
    again, columns_again = canonical_codes(changed)
    assert again == pytest.approx(canonical, abs=1e-8)
    assert columns_again.tolist() == [3 - c for c in columns]
