"""The suite "real_sprites", on a few sprites of its own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

suite = pytest.importorskip("benchmarks.real_sprites")


@pytest.fixture
def few(tmp_path, monkeypatch):
    """Two factors, a bright row and a bright column, in the layout of the file."""
    factors = np.array(list(itertools.product(range(3), range(4), range(20))))[:, :2]
    images = np.zeros((len(factors), 8, 8, 3), dtype=np.uint8)
    for image, (row, column) in zip(images, factors, strict=True):
        image[2 * row : 2 * row + 2] += 100
        image[:, 2 * column : 2 * column + 2] += 100
    np.savez(
        tmp_path / suite.FILE,
        imgs=images,
        factors=factors.astype(np.int8),
        factor_names=np.array(["row", "column"]),
    )
    monkeypatch.setenv("SKDISENTANGLE_DATA", str(tmp_path))
    monkeypatch.setattr(suite, "N_TRAIN", 100)
    monkeypatch.setattr(suite, "N_TEST", 60)


def test_thresholds_are_all_cuts():
    factors = np.array([[0, 0], [1, 1], [2, 0]])
    found = suite.thresholds(factors, None)
    wanted = [[0, 0, 0], [1, 0, 1], [1, 1, 0]]
    np.testing.assert_array_equal(found, np.array(wanted, dtype=bool))


def test_subsets_have_some_values_and_not_all():
    factors = np.array(list(itertools.product(range(3), range(6))))
    found = suite.subsets(factors, np.random.default_rng(0))
    assert found.shape == (18, 2 * suite.N_SUBSETS)
    shares = found.mean(0)
    assert ((shares > 0) & (shares < 1)).all()
    # Each is of one factor: it does not change with the other.
    by_first = found.reshape(3, 6, -1)[..., : suite.N_SUBSETS]
    assert (by_first == by_first[:, :1]).all()


@pytest.mark.parametrize("case", suite.CASES)
def test_rows_and_table(few, case):
    rows = [suite.run(case, method, 0) for method in suite.METHODS]
    for row in rows:
        assert 0 <= row["disentanglement"] <= 1
        assert row["components"] >= 1
    text = suite.page([row | {"machine": "here"} for row in rows])
    assert f"| {case}, {rows[0]['n_tasks']} | ours |" in text


def test_a_missing_file_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SKDISENTANGLE_DATA", str(tmp_path))
    suite.main(["--seeds", "0", "1"])
    assert "The sprites are left out: " in capsys.readouterr().out
