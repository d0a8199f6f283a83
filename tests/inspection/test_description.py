"""What a fit means, in one table."""

from __future__ import annotations

import copy
import pickle
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdisentangle import SparseSharedDisentangler
from skdisentangle.inspection import (
    FactorCodeDisplay,
    TaskComponentDisplay,
    describe,
    identifiability_report,
)


@pytest.fixture(scope="module")
def house():
    """Two factors, each a column of X, and tasks that say which."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        rng.normal(size=(600, 3)),
        columns=["area", "age", "noise"],
        index=[f"house{i}" for i in range(600)],
    )
    Y_tasks = pd.DataFrame(
        {
            "rent": 3 * X["area"],
            "price": X["area"] + 0.05 * rng.normal(size=600),
            "repairs": -2 * X["age"],
            "old": np.where(X["age"] > 0, "yes", "no"),
            "size": pd.cut(
                X["area"], [-9, -0.5, 0.5, 9], labels=["s", "m", "l"]
            ).astype(str),
        }
    )
    dis = SparseSharedDisentangler(encoder="linear", random_state=0)
    return dis.fit(X, Y_tasks), X


def test_each_component_has_its_tasks_columns_and_rows(house):
    dis, X = house
    table = dis.describe(X)
    assert list(table.index) == [0, 1]
    assert table["share of use"].sum() == pytest.approx(1)
    assert (table["verdict"] == "identifiable").all()
    codes = dis.transform(X)
    by_column = {}
    for component, row in table.iterrows():
        sign, name = row["columns"][0], row["columns"][1:].split()[0]
        by_column[name] = row
        rising = np.corrcoef(codes[:, component], X[name])[0, 1] > 0
        assert sign == ("+" if rising else "-")
        order = np.argsort(codes[:, component])
        assert row["lowest rows"].split(", ") == [f"house{i}" for i in order[:3]]
        assert row["highest rows"].split(", ") == [f"house{i}" for i in order[::-1][:3]]
    assert set(by_column) == {"area", "age"}
    area, age = by_column["area"], by_column["age"]
    sign = area["columns"][0]
    assert set(area["tasks"].split(", ")) == {
        f"{sign}rent 1.00",
        f"{sign}price 1.00",
        "size 1.00",  # of several classes, so without a sign
    }
    flipped = "-" if age["columns"][0] == "+" else "+"
    assert f"{flipped}repairs 1.00" in age["tasks"]
    assert f"{age['columns'][0]}old 1.00" in age["tasks"]


def test_no_more_than_asked_for_is_named(house):
    dis, X = house
    table = dis.describe(X, n_named=1)
    names = table["columns"].str[1:].str.split().str[0].tolist()
    assert sorted(names) == ["age", "area"]
    assert table["tasks"].iloc[names.index("area")].endswith(" and 2 more")
    assert not table["lowest rows"].str.contains(",").any()


def test_a_pipeline_is_told_by_its_own_columns(house):
    dis, X = house
    scaler = StandardScaler().set_output(transform="pandas").fit(X)
    table = describe(make_pipeline(scaler, dis), X)
    assert list(table["verdict"]) == ["identifiable"] * 2


def test_without_pandas_there_are_records(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    Y_tasks = np.column_stack([X[:, 0], 2 * X[:, 0], X[:, 1], -X[:, 1]])
    dis = SparseSharedDisentangler(encoder="linear", random_state=0).fit(X, Y_tasks)
    table = dis.describe(X)
    monkeypatch.setitem(sys.modules, "pandas", None)
    records = dis.describe(X)
    assert [record.pop("component") for record in records] == list(table.index)
    assert [list(record.values()) for record in records] == table.to_numpy().tolist()


def test_mixtures_are_told_with_their_partners():
    data = load_diabetes(as_frame=True).frame
    tasks = ["bp", "s1", "s4", "s6", "target"]
    X = data.drop(columns=tasks)
    dis = SparseSharedDisentangler(random_state=0).fit(X, data[tasks])
    report, table = identifiability_report(dis, X), dis.describe(X)
    mixed = [row["mixed_with"] for row in report.components]
    assert any(mixed)
    for verdict, others in zip(table["verdict"], mixed, strict=True):
        if others:
            shown = ", ".join(map(str, others))
            assert verdict == f"may be a mixture with {shown}"


def test_images_are_told_by_their_numbers():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(60, 2))
    images = rng.normal(size=(60, 8, 8))
    images[:, :4] += 3 * factors[:, 0, None, None]
    dis = SparseSharedDisentangler(encoder="conv", max_iter=5, random_state=0)
    with pytest.warns(ConvergenceWarning):
        dis.fit(images, np.column_stack([factors, factors[:, 0]]))
    row = dis.describe(images).iloc[0]
    assert row["columns"] == "pixels: see InputEffectDisplay"
    lowest = np.argsort(dis.transform(images)[:, 0])[:3]
    assert row["lowest rows"] == ", ".join(map(str, lowest))


def test_wrong_input_is_named(house):
    dis, X = house
    with pytest.raises(NotFittedError):
        SparseSharedDisentangler().describe(X)
    with pytest.raises(ValueError, match="n_named == 0, must be >= 1"):
        dis.describe(X, n_named=0)
    with pytest.raises(ValueError, match="at least 2 rows; got 1"):
        dis.describe(X[:1])
    with pytest.raises(TypeError, match="fitted SparseSharedDisentangler"):
        describe(StandardScaler(), X)


class TestNames:
    @pytest.fixture
    def named(self, house):
        dis, X = house
        dis = copy.deepcopy(dis)
        first = dis.describe(X)["columns"].iloc[0][1:].split()[0]
        names = ["area", "age"] if first == "area" else ["age", "area"]
        assert dis.set_component_names(names) is dis
        return dis, X, names

    def test_they_stand_wherever_columns_have_names(self, named, tmp_path):
        dis, X, names = named
        assert dis.get_feature_names_out().tolist() == names
        assert dis.describe(X)["name"].tolist() == names
        frame = dis.set_output(transform="pandas").transform(X)
        assert frame.columns.tolist() == names
        pipe = make_pipeline(dis, StandardScaler())
        pipe[1].fit(frame)
        assert pipe.get_feature_names_out().tolist() == names
        for column, name in enumerate(names):
            other = frame.to_numpy()[:, column]
            assert abs(np.corrcoef(other, X[name])[0, 1]) > 0.99

    def test_they_are_drawn(self, named):
        pytest.importorskip("matplotlib")
        dis, X, names = named
        display = TaskComponentDisplay.from_estimator(dis)
        shown = [label.get_text() for label in display.ax_.get_xticklabels()]
        assert shown == names
        codes = FactorCodeDisplay.from_estimator(dis, X, X[["area"]])
        texts = {label.get_text() for label in codes.ax_.get_xticklabels()}
        texts |= {label.get_text() for label in codes.ax_.get_yticklabels()}
        assert set(names) <= texts

    def test_files_keep_them(self, named, tmp_path):
        pytest.importorskip("safetensors")
        dis, _, names = named
        dis.save(tmp_path / "model.safetensors")
        loaded = SparseSharedDisentangler.load(tmp_path / "model.safetensors")
        assert loaded.get_feature_names_out().tolist() == names
        assert pickle.loads(pickle.dumps(dis)).component_names_.tolist() == names

    def test_a_new_fit_forgets_them(self, named):
        dis, X, _ = named
        dis.fit(X, np.column_stack([X["area"], X["age"], X["area"]]))
        assert dis.get_feature_names_out()[0] == "sparseshareddisentangler0"
        assert "name" not in dis.describe(X)

    def test_some_are_given_by_number(self, named):
        dis, _, names = named
        dis.set_component_names({1: "what the second task sees"})
        assert dis.get_feature_names_out().tolist() == [
            names[0],
            "what the second task sees",
        ]

    @pytest.mark.parametrize(
        ("names", "reason"),
        [
            (["one"], "a name for each of the 2 components; got"),
            ("ab", "a name for each of the 2 components; got 'ab'"),
            (["one", "one"], "must differ; got 'one' for components 0 and 1"),
            (["one", ""], "not empty; got '' for component 1"),
            (["one", 2], "strings that are not empty; got 2 for component 1"),
            ({2: "three"}, "there is no component 2; they are numbered 0 to 1"),
        ],
    )
    def test_wrong_names_change_nothing(self, named, names, reason):
        dis, _, before = named
        with pytest.raises(ValueError, match=reason):
            dis.set_component_names(names)
        assert dis.get_feature_names_out().tolist() == before
        with pytest.raises(NotFittedError):
            SparseSharedDisentangler().set_component_names(["one"])


def test_the_picture_has_tasks_beside_columns(house):
    pytest.importorskip("matplotlib")
    dis, X = house
    display = dis.plot(X, max_columns=2)
    tasks, columns = display.axes_[:2]
    drawn = [label.get_text() for label in tasks.get_yticklabels()]
    assert sorted(drawn) == ["old", "price", "rent", "repairs", "size"]
    named = [label.get_text() for label in columns.get_yticklabels()]
    assert sorted(named) == ["age", "area"]
    effects = display.columns.effects
    for place, name in enumerate(named):
        shown = np.asarray(columns.images[0].get_array())[place]
        expected = effects.effects[effects.column_names.index(name)]
        np.testing.assert_allclose(shown, expected)
    renamed = copy.deepcopy(dis).set_component_names(["first", "second"]).plot(X)
    for ax in renamed.axes_:
        assert [t.get_text() for t in ax.get_xticklabels()] == ["first", "second"]
