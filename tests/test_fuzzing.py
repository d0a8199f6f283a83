"""Random cases, the same in each run; ``python -m tests.fuzzing`` tries others."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings

pytest.importorskip("polars")
pytest.importorskip("pyarrow")
pytest.importorskip("safetensors")

from .fuzzing.__main__ import main, run
from .fuzzing.properties import PROPERTIES
from .fuzzing.regressions import REGRESSIONS

#: Cases of each property, 800 in all, and how many must be no refusals: else it is only
#: refusals that are tested.
CASES = {
    "labels": (300, 120),
    "fit": (60, 20),
    "use": (150, 50),
    "load": (230, 20),
    "cli": (60, 15),
}


@pytest.mark.parametrize("name", PROPERTIES)
def test_random_cases(name):
    strategy, check = PROPERTIES[name]
    n_cases, least = CASES[name]
    ends = Counter()

    @settings(max_examples=n_cases, derandomize=True, database=None, deadline=None)
    @given(strategy)
    def each(case):
        ends[check(case)] += 1

    each()
    assert ends["done"] + ends["status 0"] >= least, ends


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n_cases", "least"), [("labels", 10_000, 5_000), ("fit", 200, 60)]
)
def test_many_random_cases(name, n_cases, least):
    ends, failures = run(name, n_cases, seed=1)
    assert not failures
    assert ends["done"] >= least, ends


@pytest.mark.parametrize(
    ("name", "what"),
    [(name, what) for name, cases in REGRESSIONS.items() for what in cases],
)
def test_cases_that_once_failed(name, what):
    _, check = PROPERTIES[name]
    assert check(REGRESSIONS[name][what]) != "failed"


def test_command(capsys):
    assert main(["--cases", "3", "--only", "load", "--seed", "1"]) == 0
    assert "load: 3 cases, " in capsys.readouterr().out


def test_command_says_how_to_see_a_failure_again(capsys, monkeypatch):
    strategy, _ = PROPERTIES["load"]

    def check(case):
        raise KeyError(case["model"])

    monkeypatch.setitem(PROPERTIES, "load", (strategy, check))
    assert main(["--cases", "2", "--only", "load"]) == 1
    out = capsys.readouterr().out
    assert "2 failed" in out
    case = out.split("--case ")[1].strip().strip("'").replace("'\"'\"'", "'")
    with pytest.raises(KeyError, match=r"\w"):
        main(["--only", "load", "--case", case])
