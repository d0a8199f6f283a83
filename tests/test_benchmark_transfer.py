"""Suites "shift" and "transfer": on a small set, and how their tables count."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks import _features, shift, transfer
from benchmarks._features import OURS, RAW, Training, class_subsets, numeric
from benchmarks._real import RealSet
from benchmarks._tables import half_width, interval
from skdisentangle import SparseSharedDisentangler


def _real_set(n=360, few=False):
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(n, 3))
    X = (factors @ rng.normal(size=(3, 8))).astype(np.float32)
    domain = np.where(np.arange(n) % 2, "b", "a")
    X[domain == "b"] += 0.3
    if few:
        letters = np.array(list("pqrstu"))
        number = (factors[:, 0] > 0) * 3 + np.digitize(factors[:, 1], [-0.5, 0.5])
        Y = pd.DataFrame({"letter": letters[number], "size": factors[:, 2]})
        types = {"letter": "multiclass", "size": "regression"}
        return RealSet("small", X, Y, types, {"half": domain}, "letter")
    values = factors @ rng.normal(size=(3, 12))
    Y = pd.DataFrame({f"label {i}": values[:, i] for i in range(12)})
    Y.iloc[::5, 0] = np.nan
    for i in range(4):
        Y[f"label {i + 4}"] = (values[:, i + 4] > 0).astype(int)
    types = {name: "binary" if Y[name].nunique() == 2 else "regression" for name in Y}
    return RealSet("small", X, Y, types, {"half": domain})


@pytest.fixture(params=[False, True], ids=["many labels", "few labels"])
def small(request, monkeypatch):
    real = _real_set(few=request.param)
    for module in (shift, transfer):
        monkeypatch.setattr(module, "loaded", lambda name: real)
    monkeypatch.setattr(_features, "N_COMPONENTS", 6)
    monkeypatch.setattr(
        _features,
        "SparseSharedDisentangler",
        lambda *args, **settings: SparseSharedDisentangler(
            *args, max_iter=8, **settings
        ),
    )
    return real


METHODS = [name for name in _features.METHODS if name != "cebra"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_goes_through_both_suites(method, small):
    shifted = shift.run("small", method, 0)
    new = transfer.run("small", method, 0)
    if method in ("lda", "nca") and small.classes is None:
        assert shifted["found"] == new["found"] == {}
        return
    for result in shifted["found"].values():
        assert set(result) == {"half a", "half b"}
        for one in result.values():
            assert set(one["labels"]) == set(small.Y)
            assert np.isfinite(list(one["labels"].values())).all()
            assert 0 < one["features"] <= 8 + 6
    for scores in new["found"].values():
        expected = {"1", "5", "10", "50"}
        assert "10" in scores
        assert set(scores) <= expected
        assert all(-1 <= value <= 1 for found in scores.values() for value in found)


def test_raw_columns_carry_over_to_the_other_domain(small):
    found = shift.run("small", "raw", 0)["found"][RAW]
    for one in found.values():
        for chosen, inside, outside in one["labels"].values():
            assert min(chosen, inside, outside) > 0.6


def test_what_is_held_out_is_not_in_the_fit():
    many, few = _real_set(), _real_set(few=True)
    fit, tasks, types, (rows, new, new_types, pool, test) = transfer.problem(many, 0)
    assert not set(types) & set(new_types)
    assert set(types) | set(new_types) == set(many.Y)
    assert set(rows[pool]) == set(fit)
    assert not set(rows[pool]) & set(rows[test])
    assert list(tasks) == list(types)
    assert list(new) == list(new_types)
    fit, tasks, types, (rows, new, new_types, pool, test) = transfer.problem(few, 0)
    known, unknown = few.Y["letter"].iloc[fit], few.Y["letter"].iloc[rows]
    assert not set(known) & set(unknown)
    assert not set(pool) & set(test)
    assert len(tasks) == len(fit)
    assert len(new) == len(rows)


def test_a_label_that_is_left_out_is_a_new_task():
    few = _real_set(few=True)
    fit, tasks, types, (rows, new, new_types, pool, test) = transfer.problem(
        few, 0, "letter"
    )
    assert set(types) == set(tasks) == {"size"}
    assert list(new) == [f"is {letter}" for letter in "pqrstu"] == list(new_types)
    assert (new.sum(axis=1) == 1).all()
    assert set(rows[pool]) == set(fit)
    assert not set(rows[pool]) & set(rows[test])


def test_labels_are_drawn_in_equal_numbers_from_the_pool():
    labels = np.array([0] * 5 + [1] * 50)
    known = np.ones(55, dtype=bool)
    known[0] = False
    rng = np.random.default_rng(0)
    pool = np.arange(0, 40)
    rows = transfer.draw(labels, known, "binary", 3, pool, rng)
    assert np.bincount(labels[rows]).tolist() == [3, 3]
    assert 0 not in rows
    assert rows.max() < 40
    assert transfer.draw(labels, known, "binary", 5, pool, rng) is None
    numbers = np.arange(55.0)
    assert len(transfer.draw(numbers, known, "regression", 10, pool, rng)) == 10
    same = np.zeros(55)
    assert transfer.draw(same, known, "regression", 10, pool, rng) is None


def test_a_subset_is_half_of_the_classes():
    labels = np.repeat(list("abcdef"), 3)
    tasks = class_subsets(labels, 4, 0)
    for column in tasks:
        chosen = {label for label, is_in in zip(labels, tasks[column]) if is_in}  # noqa: B905
        assert len(chosen) == 3
        assert tasks[column].sum() == 9


def test_tasks_as_numbers_leave_missing_labels_at_the_mean():
    tasks = pd.DataFrame({"a": [1.0, np.nan, 3.0], "b": ["x", "y", "z"]})
    values = numeric(tasks, {"a": "regression", "b": "multiclass"})
    assert values.shape == (3, 4)
    assert values[1, 0] == 0
    np.testing.assert_allclose(values.mean(0), 0, atol=1e-12)


def test_labels_of_a_fit_have_components_of_their_own():
    real = _real_set()
    training = Training(real.X, real.Y, real.types, None, 0)
    features = _features.ours(training)["ours, the label's own components"]
    n_columns = features.transform(real.X).shape[1]
    sizes = [len(features.columns(name, n_columns)) for name in real.Y]
    assert min(sizes) < n_columns
    assert len(features.columns("unknown", n_columns)) == n_columns


def _result(chosen, inside, outside):
    one = {"labels": {"y": [chosen, inside, outside]}, "features": 3, "seconds": 1.0}
    return {"half a": one, "half b": one}


def test_the_baseline_is_picked_without_a_look_at_the_target():
    found = {
        RAW: {0: _result(0.7, 0.7, 0.9)},
        "PCA": {0: _result(0.8, 0.6, 0.1)},
        OURS: {0: _result(0.9, 0.9, 0.9)},
        "ours, sparsity chosen": {0: _result(0.95, 0.9, 0.9)},
    }
    assert shift.picked_baseline(found, 0, "half a") == "PCA"
    # The target of one shift is in the source of the other.
    found[RAW][0]["half b"] = _result(1.0, 0.7, 0.9)["half b"]
    assert shift.picked_baseline(found, 0, "half a") == "PCA"
    assert shift.picked_baseline(found, 0, "half b") == RAW


def _rows(name="watch"):
    scores = {RAW: 0.5, "PCA": 0.504, OURS: 0.6}
    return [
        {
            "set": name,
            "method": method,
            "seed": seed,
            "seconds": 1.0,
            "machine": "some",
            "found": {variant: _result(0.5, 0.5, scores[variant] + 0.01 * seed)},
        }
        for method, variant in (("raw", RAW), ("pca", "PCA"), ("ours", OURS))
        for seed in (5000, 5001)
    ]


def test_tables_of_the_shift():
    text = shift.section(_rows())
    assert "| raw columns | 4 / 0 / 0 | +0.100 |" in text
    assert "| PCA | 4 / 0 / 0 | +0.096 |" in text
    assert "Seeds 5000 to 5001" in text
    assert shift.section([]) == ""


def test_tables_of_new_tasks():
    rows = [
        row | {"found": {v: {"5": [s], "10": [s + 0.2]} for v, s in found.items()}}
        for row, found in (
            (
                {"set": "yeast", "method": "raw", "seed": 5000, "machine": ""},
                {RAW: 0.5},
            ),
            (
                {"set": "yeast", "method": "ours", "seed": 5000, "machine": ""},
                {OURS: 0.6},
            ),
        )
    ]
    text = transfer.section(rows)
    assert "| yeast | ours | +0.100" in text
    assert transfer.section([]) == ""


def test_numbers_of_labels_are_paired_within_a_seed():
    # Only the second seed has both numbers.
    found = {
        RAW: {0: {5: 0.5}, 1: {5: 0.5, 10: 0.6}, 2: {10: 0.0}},
        OURS: {0: {5: 0.9}, 1: {5: 0.6, 10: 0.8}, 2: {10: 1.0}},
    }
    assert transfer.gaps(found, OURS, RAW, 5, 10) == pytest.approx([0.15])
    assert transfer.gaps(found, OURS, RAW, 5) == pytest.approx([0.4, 0.1])


def test_an_interval_is_that_of_student():
    # 2.776 is the 97.5% quantile with four degrees of freedom.
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert half_width(values) == pytest.approx(2.776 * np.sqrt(2.5 / 5), rel=1e-3)
    assert interval(values).startswith("+3.000 (+1.037 to +4.963)")
    assert np.isnan(half_width([1.0]))
