"""The suite of constants: that it names all there are, and what it makes of them."""

from __future__ import annotations

import ast
import importlib
import inspect

import pytest
import torch

suite = pytest.importorskip("benchmarks.constants")
constant = "solvers.basis._common.SMALL"


def numbers_of(module):
    """Names in capitals to which a module itself gives a number, or several."""
    tree = ast.parse(inspect.getsource(module))
    targets = [t for node in tree.body for t in getattr(node, "targets", [])]
    found = {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return {
        name
        for name in found
        if name.isupper()
        and isinstance(
            value := getattr(module, name), (int, float, tuple, torch.Tensor)
        )
        and not (isinstance(value, tuple) and isinstance(value[0], str))
    }


@pytest.mark.parametrize("path", sorted({*suite.CONSTANTS, *suite.BOUNDS}))
def test_every_constant_is_changed_or_named_as_a_bound(path):
    module = importlib.import_module(f"skdisentangle.{path}")
    listed = [*suite.CONSTANTS.get(path, ()), *suite.BOUNDS.get(path, ())]
    assert sorted(listed) == sorted(numbers_of(module))


def test_constants_are_changed_wherever_they_are_used():
    names = {place.__name__ for place in suite.places("fitting.steps.EPS")}
    fitting = "skdisentangle.fitting"
    assert {f"{fitting}.steps", f"{fitting}.all_rows"} <= names
    assert suite.scaled("MEMORY", 0.99, 2.0) == pytest.approx(0.98)
    assert suite.scaled("STAGES", (0.25, 0.75), 2.0) == (0.5, 1.0)
    assert suite.scaled("INNER_STEPS", 1, 0.5) == 1
    assert list(suite.seeds("fitting.steps.INNER_STEPS", "half", "digits")) == []
    assert list(suite.seeds("fitting.steps.INNER_STEPS", "twice", "digits"))


def test_problems_of_all_constants_are_there():
    for names in suite.CONSTANTS.values():
        for problems in names.values():
            assert set(problems) <= set(suite.PROBLEMS)


def test_scores_are_compared_with_those_of_the_default(monkeypatch):
    from skdisentangle.solvers.basis import _common

    def score(seed):
        return {"score": _common.SMALL + seed, "active": 6, "nonzeros": 1.0}

    monkeypatch.setitem(suite.PROBLEMS, "digits", score)
    suite._at_default.cache_clear()
    row = suite.run(constant, "twice", "digits", 1)
    suite._at_default.cache_clear()
    assert row["score"] == 1.2
    assert row["default score"] == 1.1


def test_table_shows_the_worst_change():
    def row(change, problem, score):
        return {
            "constant": constant,
            "change": change,
            "problem": problem,
            "seed": 0,
            "score": score,
            "default score": 0.9,
        }

    rows = [row("half", "digits", 0.85), row("half", "few tasks", 0.95)]
    lines = suite.table([*rows, row("twice", "digits", 0.9)]).splitlines()
    assert lines[2:] == [
        "| `solvers.basis._common` | `SMALL` | 0.1 | -0.050 (digits) | 0 |"
    ]
