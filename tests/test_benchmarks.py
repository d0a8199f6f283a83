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
        "active": 6,
        "correlation": 0.99,
        "disentanglement": 0.97,
        "completeness": 0.96,
    }
    lines = recovery.table([row, {**row, "disentanglement": 0.99}]).splitlines()
    assert len(lines) == 3
    assert "| 0.9800 | 0.9700 | 0.9600 |" in lines[2]
    assert "6 (2x)" in lines[2]


def test_the_page_is_made_of_the_saved_results():
    """A page that is older than its results, or edited by hand, is told."""
    readme = pytest.importorskip("benchmarks._readme")
    committed = (readme.FOLDER / "README.md").read_text()
    assert readme.page() == committed
