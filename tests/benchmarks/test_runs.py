"""Reports that are cut short go on where they were."""

from __future__ import annotations

import pytest

runs = pytest.importorskip("benchmarks._runs")

AXES = {"case": ["a", "b"], "solver": ["x", "y"]}


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """A suite whose runs are counted; (main, counted runs, file of results)."""
    made = []
    monkeypatch.setattr(runs, "write_pages", lambda: None)

    def run(case, solver, seed):
        made.append((case, solver, seed))
        if len(made) == 4:
            raise KeyboardInterrupt
        return {"case": case, "solver": solver, "seed": seed, "value": len(made)}

    def seeds(case, solver):
        return range(2) if (case, solver) != ("b", "y") else ()

    def main(*arguments, missing=None):
        path = tmp_path / "results" / "suite.jsonl"
        runs.main("A suite.", path, run, AXES, seeds, str, list(arguments), missing)

    return main, made, tmp_path / "results" / "suite.jsonl"


def test_a_report_goes_on_where_it_was(suite):
    main, made, path = suite
    with pytest.raises(KeyboardInterrupt):
        main()
    assert len(runs.load(path)) == 3
    main()
    rows = runs.load(path)
    assert [(r["case"], r["solver"], r["seed"]) for r in rows] == [
        (case, solver, seed)
        for case, solver in (("a", "x"), ("a", "y"), ("b", "x"))
        for seed in range(2)
    ]
    assert len(made) == 6 + 1  # the one that was cut short twice
    main()
    assert len(made) == 7
    main("--fresh", "--cases", "b")
    assert made[7:] == [("b", "x", 0), ("b", "x", 1)]


def test_other_seeds_are_not_saved(suite, capsys):
    main, made, path = suite
    main("--seeds", "7", "8", "--cases", "b")
    assert made == [("b", "x", 7), ("b", "y", 7)]
    assert "'seed': 7" in capsys.readouterr().out
    assert not path.exists()


def test_what_is_missing_is_told_and_left_out(suite, capsys):
    main, made, path = suite

    def missing(case, solver):
        return "there is no y" if solver == "y" else None

    main("--cases", "a", missing=missing)
    assert made == [("a", "x", 0), ("a", "x", 1)]
    assert capsys.readouterr().out.count("there is no y") == 1
    with pytest.raises(KeyboardInterrupt):
        main("--cases", "a", "--solvers", "y")  # now it is there, for one run
    saved = [row for row in runs.load(path) if row["solver"] == "y"]
    assert len(saved) == 1
    # Without it what is saved stays, even if all is to be run again.
    main("--cases", "a", "--fresh", missing=missing)
    assert [row for row in runs.load(path) if row["solver"] == "y"] == saved
