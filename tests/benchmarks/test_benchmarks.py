"""The benchmark's own measure, on codes whose score is known."""

from __future__ import annotations

import numpy as np
import pytest

recovery = pytest.importorskip("benchmarks.recovery")


def test_dci_of_perfect_codes_and_of_a_rotation():
    factors = np.random.default_rng(0).normal(size=(500, 2))
    perfect = recovery.dci(factors, factors[:, ::-1] * [3, -1])
    assert min(perfect) > 0.98
    dead = np.column_stack([factors, np.zeros(500)])
    assert recovery.dci(factors, dead)[0] > 0.98
    turned = factors @ np.array([[1, 1], [-1, 1]])
    assert max(recovery.dci(factors, turned)) < 0.2


def test_table_has_a_row_for_each_case():
    row = {
        "case": "6 components",
        "seed": 0,
        "seconds": 1.0,
        "ratio": 1.25,
        "ratio_given": 1.1,
        "active": 6,
        "correlation": 0.99,
        "disentanglement": 0.97,
        "completeness": 0.96,
    }
    lines = recovery.table([row, {**row, "disentanglement": 0.99}]).splitlines()
    assert len(lines) == 3
    assert "| 0.9800 | 0.9700 | 0.9600 |" in lines[2]
    assert "6 (2x)" in lines[2]


def test_new_tasks_are_compared_pair_by_pair():
    new_tasks = pytest.importorskip("benchmarks.new_tasks")
    line = {
        "problem": "6 factors",
        "seed": 0,
        "kind": "binary",
        "labels": 5,
        "active": 6,
        "scores": {"fit_task": [0.8, 0.9, 0.7], "ridge": [0.7, 0.9, 0.9]},
        "overlap": {"fit_task": [1.0, 0.5, 0.0]},
    }
    shown = new_tasks.page({"machine": "here", "results": [line]})
    assert "| fit_task | **0.800** |" in shown
    assert "| less ridge or logistic | -0.033 (-0.413 to +0.346) |" in shown
    assert "| fit_task | 0.50 |" in shown


def test_support_is_compared_by_the_factors_that_own_the_components():
    new_tasks = pytest.importorskip("benchmarks.new_tasks")
    owner = [2, 0, 0, 1]
    true = [True, False, True]
    assert new_tasks.jaccard([0, 1], true, owner) == 1
    assert new_tasks.jaccard([1, 2, 3], true, owner) == pytest.approx(1 / 3)
