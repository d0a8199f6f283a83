"""The suite "hard": its problems are as hard as they are said to be."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from benchmarks import hard as suite


def least_squares(case, seed):
    X, _, factors, _, _ = suite.problem(seed, **suite.CASES[case])
    cut = len(X) - suite.N_TEST
    model = LinearRegression().fit(X[:cut], factors[:cut])
    return r2_score(factors[cut:], model.predict(X[cut:]))


@pytest.mark.parametrize("case", suite.CASES)
def test_least_squares_finds_no_more_than_0_6(case):
    assert np.mean([least_squares(case, seed) for seed in range(5)]) <= 0.6


def test_columns_of_a_table_take_few_values_and_come_twice():
    X, *_ = suite.problem(0, n_train=500, mixing=suite.table)
    kinds = [len(np.unique(column)) for column in X.T]
    assert max(kinds) <= max(suite.N_VALUES)
    assert len(np.unique(X, axis=1).T) == X.shape[1] - suite.N_TWICE


def test_coupling_layers_keep_volumes():
    """Each layer adds to some directions what the others say, so none is lost."""
    step, n = 1e-5, 6
    points = np.random.default_rng(0).normal(size=(20, n))

    def layers(factors):
        return suite.coupled(np.random.default_rng(1), factors, n)

    slopes = [
        (layers(points + e) - layers(points - e)) / (2 * step) for e in step * np.eye(n)
    ]
    slopes = np.stack(slopes, 1)
    assert np.abs(np.linalg.det(slopes)) == pytest.approx(1, abs=1e-5)
    # They are far from linear: the slopes of one point say little of another's.
    assert slopes.std(0).mean() > 0.3


def test_labels_have_three_types_and_use_some_factors_more():
    supports = []
    for seed in range(5):
        _, Y, _, types, own = suite.problem(seed, n_train=200)
        assert set(types) == {"regression", "binary", "multiclass"}
        for labels, kind in zip(Y.T, types, strict=True):
            n_values = {"regression": len(Y), "binary": 2, "multiclass": 3}[kind]
            assert len(np.unique(labels)) == n_values
        supports.append(own)
    use = np.concatenate(supports).sum(0)
    assert use[0] > 2 * use[-1]
    assert use[-1] > 0


@pytest.mark.parametrize("noise", [0.3, 0.7])
def test_noise_is_its_share_of_a_label(noise):
    _, Y, factors, types, supports = suite.problem(1, n_train=4000, noise=noise)
    shares = []
    for task in np.flatnonzero(np.array(types) == "regression"):
        known = factors[:, supports[task]]
        fit = LinearRegression().fit(known, Y[:, task])
        shares.append(1 - fit.score(known, Y[:, task]))
    assert np.mean(shares) == pytest.approx(noise, abs=0.02)


@pytest.mark.parametrize("method", suite.METHODS)
def test_each_method_gives_a_row(method, monkeypatch):
    monkeypatch.setitem(suite.CASES, "small", {"n_train": 200, "n_tasks": 8})
    monkeypatch.setattr(suite, "N_TEST", 200)
    row = suite.run("small", method, 0)
    assert 0 <= row["disentanglement"] <= 1
    assert row["active"] >= 1
    text = suite.page([row | {"machine": "here"}])
    assert f"| small ({row['linear']:.2f}) | {method} |" in text
