"""The suite of known factors, on a small questionnaire."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

suite = pytest.importorskip("benchmarks.known_factors")
sets = pytest.importorskip("benchmarks._table_sets")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Five traits with five items each, the first of which counts the other way round."""
    rng = np.random.default_rng(0)
    columns, keys = {}, {}
    for scale in "ACENO":
        trait = rng.normal(size=400)
        for number in range(1, 6):
            sign = -1 if number == 1 else 1
            answers = 3.5 + sign * trait + rng.normal(0, 0.5, 400)
            columns[f"{scale}{number}"] = np.clip(np.round(answers), 1, 6)
        keys[scale] = [f"-{scale}1", *(f"{scale}{n}" for n in range(2, 6))]
    answers = pd.DataFrame({"gender": 1, **columns})
    answers.loc[7, "C3"] = np.nan
    answers.to_csv(tmp_path / "psych_bfi.csv.gz", index=False)
    (tmp_path / "psych_keys.json").write_text(json.dumps({"bfi.keys": keys}))
    monkeypatch.setenv("SKDISENTANGLE_DATA", str(tmp_path))
    monkeypatch.setattr(suite, "RESULTS", tmp_path / "results" / "rows.jsonl")
    monkeypatch.setattr(suite._runs, "write_pages", lambda: None)
    return tmp_path


def test_items_and_their_scales(folder):
    answers, keys = sets.bfi_items()
    assert answers.shape == (399, 25)
    scores = suite.scale_scores(answers, keys)
    own = answers[["A2", "A3", "A4", "A5"]].sum(axis=1) - answers["A1"]
    np.testing.assert_array_equal(scores["A"], own)
    columns, tasks = sets.halves(answers, seed=3)
    assert (len(columns), len(tasks)) == (12, 13)
    assert sorted([*columns, *tasks]) == sorted(answers)
    assert list(columns) != list(sets.halves(answers, seed=4)[0])
    found = sets.table("bfi")
    assert found.X.shape == (399, 12)
    assert found.Y.shape == (399, 13)


def test_scales_are_scored_by_the_items_that_are_there():
    answers = pd.DataFrame({"A1": [1.0, 2], "A2": [5.0, 6], "C1": [3.0, 3]})
    keys = {"A": ["-A1", "A2"], "C": ["C1"], "E": ["E1"]}
    found = suite.partial_scores(answers, keys, np.array(["A1", "C1"]))
    np.testing.assert_array_equal(found, [[-1, 3], [-2, 3]])


def test_factors_are_matched_one_to_one():
    factors = np.random.default_rng(0).normal(size=(500, 3))
    codes = np.column_stack([-2 * factors[:, 1], factors[:, 0], np.zeros(500)])
    np.testing.assert_allclose(suite.matched(factors, codes), [1, 1, 0], atol=0.1)
    # A component stands for one factor only.
    both = np.column_stack([factors[:, :2].sum(1), factors[:, 2]])
    assert np.sum(suite.matched(factors, both) > 0.5) == 2
    np.testing.assert_array_equal(suite.matched(factors, np.zeros((500, 1))), 0)


def test_from_files_to_table(folder, monkeypatch, capsys):
    monkeypatch.setattr(suite, "N_DRAWS", 2)
    names = ["PCA of X, varimax", suite.UPPER]
    suite.main(["--data", str(folder), "--methods", *names])
    rows = suite.load(suite.RESULTS)
    assert [(row["method"], row["seed"]) for row in rows] == [
        (name, suite.FIRST_SEED + draw) for name in names for draw in range(2)
    ]
    for row in rows:
        assert list(row["scales"]) == list("ACENO")
        assert row["components"] <= 5
        # each trait has items among the columns, and they tell it
        assert suite.mean(row) > 0.8
    assert "| PCA of X, varimax |" in capsys.readouterr().out


@pytest.mark.parametrize(
    "method", [name for name in suite.METHODS if "regression" in name or "PLS" in name]
)
def test_axes_of_predictions_find_the_traits(folder, method):
    row = suite.run(method, 0)
    assert row["components"] == 5
    assert suite.mean(row) > 0.7


def test_a_fit_of_the_package(folder, monkeypatch):
    def quick(seed, **settings):
        return disentangler(seed, max_iter=2, hidden_layer_sizes=(4,), **settings)

    disentangler = suite.disentangler
    monkeypatch.setattr(suite, "disentangler", quick)
    row = suite.run("no penalties, varimax of its heads", 0)
    assert row["components"] <= 5
    assert 0 < suite.mean(row) <= 1


def test_missing_files_and_a_wrong_folder(folder, capsys):
    (folder / "psych_keys.json").unlink()
    suite.main(["--data", str(folder)])
    assert "psychTools" in capsys.readouterr().out
    assert not suite.load(suite.RESULTS)
    with pytest.raises(SystemExit):
        suite.main(["--data", str(folder / "none")])
    assert "there is no folder" in capsys.readouterr().err


def test_report_is_paired():
    rows = [
        {
            "method": method,
            "seed": seed,
            "scales": {"A": value, "C": value - 0.2},
            "components": components,
            "seconds": 1.0,
            "machine": "here",
        }
        for method, value, components in ((suite.OURS, 0.9, 7), (suite.UPPER, 1, 5))
        for seed in range(2)
    ]
    rows[1]["components"] = 9
    text = suite.page(rows)
    assert "| ours | 0.800 |  | 7 to 9 | 0.900 | 0.700 | 1.0 |" in text
    assert f"| {suite.UPPER} | 0.900 | -0.100 (-0.100 to -0.100) | 5 |" in text
    assert "| ours |" not in suite.page([])
