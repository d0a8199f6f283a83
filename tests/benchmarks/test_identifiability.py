"""The suite's own pieces: tied tasks, and what the tables say of results made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from skdisentangle.datasets import make_multitask_factors

suite = pytest.importorskip("benchmarks.identifiability")


def row(said, d, condition=True, purity=0.99, case="12 tasks"):
    part = {"identifiable": said, "purity": purity}
    return {
        "case": case,
        "seed": 0,
        "condition": condition,
        "disentanglement": d,
        "identifiable": said,
        "components": [part, part],
    }


def test_tied_factors_are_used_together_only():
    problem = make_multitask_factors(2000, n_tasks=40, random_state=0)
    suite.tie(problem, 0)
    first, last = problem.supports[:, 0], problem.supports[:, -1]
    assert (first == last).all()
    assert 0 < first.sum() < 40
    binary = np.array([kind == "binary" for kind in problem.task_types])
    assert np.isin(problem.Y[:, binary], [0, 1]).all()
    # Labels follow the new supports.
    task = np.flatnonzero(last & ~binary)[0]
    used = problem.supports[task]
    fit = np.linalg.lstsq(problem.factors[:, used], problem.Y[:, task], rcond=None)
    left = fit[1][0] / ((problem.Y[:, task] - problem.Y[:, task].mean()) ** 2).sum()
    assert left < 0.02


def test_table_counts_agreement():
    rows = [row(True, 0.99), row(True, 0.7), row(False, 0.7, False), row(False, 0.6)]
    lines = suite.table(rows).splitlines()
    assert len(lines) == 2 + 2
    assert "| 12 tasks | 4 | 75% | 25% | 50% | 75% | 75% | 0.845 | 0.650 |" in lines
    assert lines[-1].startswith("| all | 4 |")


def test_summary_goes_by_components_too():
    text = suite.summary([row(True, 0.99), row(False, 0.5, purity=0.6)])
    assert "by 0.95 or more. Of the components in doubt, 0% do." in text
    assert "area under the curve of 1.000" in text
    assert "area" not in suite.summary([row(True, 0.99)])
