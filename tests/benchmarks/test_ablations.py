"""The suite of ablations: its table, and that what it replaces is there."""

from __future__ import annotations

import pytest
import torch

from skdisentangle import SparseSharedDisentangler
from skdisentangle.fitting import training
from skdisentangle.solvers import exact_heads

suite = pytest.importorskip("benchmarks.ablations")


def row(variant, case, d, active=6):
    return {
        "variant": variant,
        "case": case,
        "seed": 0,
        "disentanglement": d,
        "active": active,
        "nonzeros": 1.5,
    }


def test_table_has_a_row_for_each_variant_that_was_run():
    first, second = suite.CASES[:2]
    rows = [row("defaults", first, 0.9), row("defaults", first, 0.8, 8)]
    lines = suite.table([*rows, row("no sharing", second, 0.5)]).splitlines()
    assert len(lines) == 2 + 2
    assert lines[2].startswith("| defaults | 0.850 (0.800); 6 to 8; 1.50 | - |")
    assert lines[3].startswith("| no sharing | - | 0.500 (0.500); 6; 1.50 |")


def test_variants_change_what_is_there():
    for solver, changes, replaced in suite.VARIANTS.values():
        SparseSharedDisentangler(solver=solver, **changes)
        for place, name, value in replaced:
            assert getattr(place, name) is not value
    assert set(suite.CASES) <= set(suite.method.CASES)


def test_plain_l1_shrinks_large_coefficients_as_much_as_small_ones():
    coef = torch.tensor([[2.0, 0.1, 0.0]])
    options = {"sparsity": 0.1, "sharing": 0.0, "reweighted": True}
    for place in (training, exact_heads):
        assert place.penalty_weights(coef, torch.ones(1), **options)[0, 0] == 0
        with suite._plain_l1.plain_l1():
            found = place.penalty_weights(coef, torch.ones(1), **options)
        torch.testing.assert_close(found, torch.full_like(coef, 0.1))
        assert place.penalty_weights(coef, torch.ones(1), **options)[0, 0] == 0
