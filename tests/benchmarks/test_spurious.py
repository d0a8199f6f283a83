"""The suite of a label that goes with its background, on images and rows made here."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.utils import Bunch

pytest.importorskip("PIL")
suite = pytest.importorskip("benchmarks.spurious")
shift_benchmarks = pytest.importorskip("benchmarks.shift_benchmarks")
pytestmark = pytest.mark.filterwarnings("ignore:The fit was still improving")

SIZES = {"train": (40, 4, 3, 20), "val": (8, 8, 6, 6), "test": (9, 9, 7, 7)}


def pictures(n_roles=4, n_drawings=10):
    """People that are squares of one colour each, and photographs that are noise."""
    rng = np.random.default_rng(0)
    n = n_roles * n_drawings
    people = np.full((n, 8, 8, 4), 255, dtype=np.uint8)
    people[..., :3] = rng.integers(256, size=(n, 1, 1, 3))
    roles = np.repeat([f"role {r}" for r in range(n_roles)], n_drawings)
    photos = rng.integers(256, size=(2, 200, 400, 3), dtype=np.uint8)
    return people, roles, np.repeat([0, 1], n // 2), photos


def test_images_have_the_groups_of_the_protocol():
    people, roles, occupations, photos = pictures()
    data = suite.draw(people, roles, occupations, photos, seed=0, sizes=SIZES)
    assert data.images.shape == (len(data.target), 96, 96, 3)
    for split, sizes in SIZES.items():
        inside = data.groups[data.split == split]
        assert tuple(np.bincount(inside, minlength=4)) == sizes
    np.testing.assert_array_equal(data.groups, 2 * data.target + data.place)
    np.testing.assert_array_equal(data.spot // 2, data.place)
    np.testing.assert_array_equal(data.role, roles[data.drawing])
    np.testing.assert_array_equal(data.target, occupations[data.drawing])
    # no drawing is in two splits
    seen = [set(data.drawing[rows]) for rows in suite.rows_of(data)]
    for first, second in itertools.combinations(seen, 2):
        assert not first & second
    # the person is in the picture
    for image, one in zip(data.images[:5], data.drawing, strict=False):
        there = (image == people[one, 0, 0, :3]).all(axis=2)
        assert there.sum() >= suite.PERSON[0] ** 2
    again = suite.draw(people, roles, occupations, photos, seed=0, sizes=SIZES)
    np.testing.assert_array_equal(again.images, data.images)
    other = suite.draw(people, roles, occupations, photos, seed=1, sizes=SIZES)
    assert not np.array_equal(other.drawing, data.drawing)


def test_halves_of_the_roles_do_not_go_with_the_label():
    roles = np.repeat([f"role {r}" for r in range(10)], 3)
    target = np.repeat([0, 1], [18, 12])
    tasks = suite.halves(roles, target, 5, seed=0)
    assert tasks.shape == (30, 5)
    for task in tasks.T:
        assert task[target == 0].mean() == task[target == 1].mean() == 0.5
    assert len(np.unique(tasks.T, axis=0)) > 1


def rows(sizes=SIZES, loud=4.0, times=2):
    """Columns that tell the role (out of 4), and louder ones that tell the place."""
    rng = np.random.default_rng(0)
    parts = [
        (split, group)
        for split, counts in sizes.items()
        for group, count in enumerate(counts)
        for _ in range(times * count)
    ]
    split, groups = map(np.array, zip(*parts, strict=True))
    target, place = np.divmod(groups, 2)
    role = 2 * target + rng.integers(2, size=len(groups))
    columns = np.column_stack([np.eye(4)[role], loud * np.eye(2)[place]])
    data = Bunch(
        split=split,
        target=target,
        place=place,
        spot=2 * place + rng.integers(2, size=len(groups)),
        role=np.array([f"role {r}" for r in role]),
        groups=groups,
    )
    return data, columns + rng.normal(0, 0.3, (len(groups), 6))


def test_place_is_projected_out():
    data, columns = rows()
    fit, _, test = suite.rows_of(data)

    def tells_place(codes):
        model = LogisticRegression().fit(codes[fit], data.place[fit])
        inside = test[data.target[test] == 0]
        return model.score(codes[inside], data.place[inside])

    assert tells_place(columns) > 0.95
    assert tells_place(suite.project_out(columns, data.place, fit, 4)) < 0.75


@pytest.fixture
def quick(monkeypatch):
    changes = {
        "STRENGTHS": (1e-2, 1.0),
        "ROLE_STRENGTHS": (1.0,),
        "PCA_SIZES": (2, 4),
        "ROUNDS": (1,),
        "HALVES": 3,
        "N_COMPONENTS": 6,
    }
    for name, value in changes.items():
        monkeypatch.setattr(suite, name, value)
    monkeypatch.setattr(shift_benchmarks, "DFR_REFITS", 2)


def test_label_is_the_sum_of_its_roles(quick):
    data, columns = rows(loud=0.0)
    *_, test = suite.rows_of(data)
    right = suite.role_head(columns, data)[test] == data.target[test]
    assert right.mean() > 0.9


def test_from_rows_to_table(quick, monkeypatch):
    data, columns = rows()
    original = suite.SparseSharedDisentangler

    def short(*args, **kwargs):
        return original(*args, max_iter=3, hidden_layer_sizes=(8,), **kwargs)

    monkeypatch.setattr(suite, "SparseSharedDisentangler", short)
    methods = suite.scores(data, columns, seed=0)
    kinds = [(m["features"], m["head"]) for m in methods]
    assert len(set(kinds)) == len(kinds)
    assert (suite.OURS, suite.LABEL) in kinds
    assert all(0 <= g <= 1 for m in methods for g in m["groups"])
    # whoever saw what tells the groups says so
    for m in methods:
        saw = m["head"] in (
            suite.DFR,
            "ERM, groups weighted",
            "ERM, place projected out",
        )
        saw |= m["features"] in (suite.OURS_PLACE, suite.NET)
        assert ("**" in m["labels"]) == saw
    table = suite.table([{"seed": s, "methods": methods} for s in (0, 1)])
    lines = table.splitlines()
    assert len(lines) == 2 + len(methods)
    assert all(line.count("|") == lines[0].count("|") for line in lines)


def test_gain_is_on_the_better_erm_seed_by_seed():
    def method(features, head, worst):
        groups = [1.0, worst, 1.0, 1.0]
        own = {"features": features, "head": head, "groups": groups}
        return own | {"labels": "", "seconds": 1.0}

    seeds = [
        [
            method(suite.RAW, suite.ERM, erm),
            method(suite.RAW, suite.BALANCED, balanced),
            method(suite.OURS, suite.LABEL, 0.75),
        ]
        for erm, balanced in ((0.5, 0.25), (0.25, 0.5))
    ]
    table = suite.table([{"seed": s, "methods": m} for s, m in enumerate(seeds)])
    ours = table.splitlines()[-1]
    assert "0.750 ± 0.000 | +0.250 (+0.250 to +0.250)" in ours
    # 184 of 4,795 rows are of the group of 0.75
    assert f"{1 - 0.25 * 184 / 4795:.3f} ± 0.000" in ours


def test_the_emoji_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("SKDISENTANGLE_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="npm install"):
        suite.load_people()
