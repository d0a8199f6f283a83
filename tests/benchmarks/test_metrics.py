"""The suite "metrics" on a few rows: its codes, its counts and its section."""

from __future__ import annotations

import json

import numpy as np
import pytest

suite = pytest.importorskip("benchmarks.metrics")


def test_factors_are_as_announced():
    rng = np.random.default_rng(0)
    factors, is_discrete, values = suite.make_factors(rng, 3000, (0, 5, 0), rho=0.5)
    assert is_discrete.tolist() == [False, True, False]
    assert np.unique(factors[:, 1], return_counts=True)[1].tolist() == [600] * 5
    assert np.corrcoef(factors.T)[0, 2] == pytest.approx(0.5, abs=0.05)
    assert values.std(axis=0) == pytest.approx(np.ones(3))


def test_turned_by_an_angle():
    eye = np.eye(5)
    rotation = suite.turned(eye, np.random.default_rng(0), 10)
    assert rotation @ rotation.T == pytest.approx(eye)
    angles = np.rad2deg(np.arccos(np.diag(rotation)))
    assert np.sqrt(np.mean(angles**2)) == pytest.approx(10, abs=0.5)


def test_swaps_are_counted_where_boosting_tells_codes_apart():
    scores = {"a": (0.9, 0.5), "b": (0.6, 0.7), "c": (0.61, 0.1)}
    rows = [
        {"factors": "f", "codes": name, "seed": 0, "D boosting": plain, "D lasso": ours}
        for name, (plain, ours) in scores.items()
    ]
    n_pairs, swapped = suite.swaps(rows, "D", "lasso", same_factors=True)
    assert n_pairs == 2  # b and c are too close
    assert swapped == {(("f", "a"), ("f", "b")): 1}
    rows[0]["factors"] = "others"
    assert suite.swaps(rows, "D", "lasso", same_factors=True) == (0, {})


@pytest.mark.slow
def test_section_of_a_small_run(monkeypatch):
    counts = dict.fromkeys(["boosting", *suite.KINDS], 1)
    monkeypatch.setattr(suite, "TIMED", {"6 of 2 classes": counts})
    monkeypatch.setitem(suite.NOISE_FACTORS, "6 of 2 classes", (2,) * 6)
    content = suite.measure(
        seeds=range(2),
        n_rows=90,
        n_timed=90,
        cases=[
            ("numbers", "perfect"),
            ("numbers", "turned 45°"),
            ("classes", "noise"),
            ("6 of 2 classes", "three factors in a code"),
        ],
        noises=[("2 numbers", 90, 3)],
    )
    text = suite.page(json.loads(json.dumps(content)))
    assert text.startswith("# The metrics themselves")
    assert "| fast_boosting | D | " in text
    assert "| numbers | perfect | " in text
    assert "| 6 of 2 classes | random_forest | 1 | " in text
    assert "2 numbers: 90 x 3" in text
    assert "nan" not in text
    merged = content["cases"][-1]
    assert merged["mig"] > 0.9
    assert merged["D boosting"] < 0.5


def test_saved_results_hold_every_case():
    content = json.loads(suite.RESULTS.read_text())
    shown = {(row["factors"], row["codes"]) for row in content["cases"]}
    assert shown == set(suite.CASES)
    assert suite.page(content) == suite.page()
