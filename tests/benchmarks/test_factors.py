"""The suite "factors" on small problems: its problems, scores and tables."""

from __future__ import annotations

import numpy as np
import pytest

from skdisentangle.datasets import make_sprites

suite = pytest.importorskip("benchmarks.factors")


@pytest.fixture(scope="module")
def problem():
    return suite.images(0, 300, make_sprites(1300, size=16, random_state=0))


def test_rows_and_factors_of_images_belong_together(problem):
    assert problem.X.shape == (300, 256)
    assert problem.Y.shape == (300, 60)
    assert (
        len(problem.X_test) == len(problem.factors) == len(problem.periods[2]) == 1000
    )
    light = problem.X_test.reshape(-1, 16, 16).sum(1)
    centre = light @ np.arange(16) / light.sum(1)
    x = problem.factors[:, problem.names.index("x")]
    assert np.corrcoef(centre, x)[0, 1] > 0.99


def test_shuffled_keeps_rows_together():
    bunch = make_sprites(50, size=16, random_state=0)
    first = bunch.data[0].copy(), bunch.target[0].copy(), bunch.periods[2][0]
    suite.shuffled(bunch, 1)
    at = int(np.flatnonzero((bunch.target == first[1]).all(1))[0])
    assert at != 0
    assert np.array_equal(bunch.data[at], first[0])
    assert bunch.periods[2][at] == first[2]


def test_best_codes(problem):
    period = problem.periods[2]
    phase = 2 * np.pi * problem.factors[:, 2] / period
    codes = np.column_stack(
        [problem.factors[:, [3, 1, 0]], np.sin(phase), np.zeros(1000)]
    )
    best = suite.best_codes(codes, problem)
    for name in ("shape", "scale", "x", "orientation (sine)"):
        assert best[name] == pytest.approx(1.0), name
    assert max(best["y"], best["orientation (cosine)"]) < 0.15


def test_few_labels(problem):
    rng = np.random.default_rng(0)
    period = problem.periods[2]
    phase = 2 * np.pi * problem.factors[:, 2] / period
    shape = problem.factors[:, :1] == np.arange(3)
    perfect = np.column_stack(
        [problem.factors[:, [1, 3, 4]], shape, np.sin(phase), np.cos(phase)]
    )
    suite_labels = {n: suite.N_DRAWS[n] for n in (10, 100)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suite, "N_LABELS", (10, 100))
        patch.setattr(suite, "N_DRAWS", suite_labels)
        good = suite.few_labels(perfect, problem, 0)
        noise = suite.few_labels(rng.normal(size=(1000, 5)), problem, 0)
    assert good["accuracy 100"] > good["accuracy 10"] > noise["accuracy 10"] + 0.1
    assert good["accuracy 100"] > 0.9
    assert noise["accuracy 100"] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("method", ["PCA", "ICA", "PLS", "LDA"])
def test_methods_make_features(problem, method):
    codes = suite.METHODS[method](problem, 0)
    n_binary = problem.task_types.count("binary")
    width = n_binary if method == "LDA" else suite.WIDTH
    assert codes.shape == (1000, width)
    assert np.all(codes.std(0) > 0)


def test_a_missing_set_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("SKDISENTANGLE_FONTS", str(tmp_path))
    assert "fonts-lato" in suite.run("glyphs", "PCA", 0)["missing"]


def test_section_has_the_tables(monkeypatch):
    scores = dict.fromkeys([*suite.MAIN.values(), *suite.OTHERS.values()], 0.5)
    row = {
        "data": "sprites",
        "method": "ours",
        "seed": 1,
        "seconds": 3.0,
        "width": 7,
        "scores": scores,
        "best": {"x": 0.9},
        "machine": "a machine",
    }
    better = {**row, "seed": 2, "width": 8, "best": {"x": 1.0}}
    better["scores"] = {**scores, "mig": 0.7}
    pca = {**row, "method": "PCA"}
    monkeypatch.setattr(suite, "load", lambda: [row, better, pca])
    text = suite.page()
    assert "| ours | 0.500 ± 0.000 |" in text
    assert "0.600 ± 0.141" in text
    assert "| 7 to 8 | 3.0 |" in text
    assert "| ours | 0.900 |" in text
    assert "Glyphs" not in text
    assert "Seeds 1 to 2, 2 runs of each method, except 0 of ours, L1;" in text
    assert "; 1 of PCA;" in text


def run_main(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["factors", *arguments])
    suite.main()


def test_runs_are_kept_and_gone_on_with(monkeypatch, tmp_path):
    ran = []

    def run(data, method, seed):
        ran.append((data, method, seed))
        return {"data": data, "method": method, "seed": seed, "n": len(ran)}

    monkeypatch.setattr(suite, "run", run)
    monkeypatch.setattr(suite, "RESULTS", tmp_path / "factors.jsonl")
    monkeypatch.setattr(suite, "SEEDS", range(2))
    monkeypatch.setattr(suite, "write_pages", lambda: None)
    only = ("--data", "sprites", "--methods")
    run_main(monkeypatch, *only, "PCA")
    assert ran == [("sprites", "PCA", 0), ("sprites", "PCA", 1)]
    run_main(monkeypatch, *only, "PCA", "ICA")
    assert ran[2:] == [("sprites", "ICA", 0), ("sprites", "ICA", 1)]
    run_main(monkeypatch, *only, "PCA", "--fresh")
    assert ran[4:] == ran[:2]
    assert [r["n"] for r in suite.load()] == [3, 4, 5, 6]


def test_dead_codes_tell_nothing(problem):
    best = suite.best_codes(np.zeros((1000, 2)), problem)
    assert set(best.values()) == {0.0}
