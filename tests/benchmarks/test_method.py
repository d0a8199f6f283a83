"""The suite of hard problems: its tables, and that a case of it runs."""

from __future__ import annotations

import pytest

suite = pytest.importorskip("benchmarks.method")


def row(case, d, solver="alternating", condition=True):
    return {
        "case": case,
        "solver": solver,
        "seed": 0,
        "seconds": 1.0,
        "condition": condition,
        "identifiable": d > 0.9,
        "active": 6,
        "nonzeros": 1.0,
        "disentanglement": d,
        "completeness": 0.9,
        "linear": 0.8,
        "mcc": d,
        "correlation": 0.7,
    }


def test_table_has_a_row_for_each_case_and_solver():
    rows = [row("6 components", 0.99), row("6 components", 0.97)]
    lines = suite.table([*rows, row("6 components", 0.5, "bilevel")]).splitlines()
    assert len(lines) == 2 + 2
    assert lines[2].startswith("| 6 components | alternating | 2 | 0.9800 | 0.9700 |")
    assert "| 6 (2x) | 1.00 | 2 of 2 |" in lines[2]
    assert lines[3].endswith("| 0 of 1 | 1.0 |")


def test_few_tasks_have_a_row_of_those_that_can_be_told_apart():
    rows = [row("12 tasks", 0.95), row("12 tasks", 0.4, condition=False)]
    lines = suite.table(rows).splitlines()
    assert len(lines) == 2 + 2
    assert "fulfil the condition | alternating | 1 | 0.9500 |" in lines[3]


def test_all_cases_have_ten_seeds_of_each_solver_but_for_the_longest():
    for case in suite.CASES:
        for solver in suite.SOLVERS:
            n_seeds = len(set(suite.seeds(case, solver)))
            assert n_seeds == 10 or (case in suite.FEWER and n_seeds >= 3)
