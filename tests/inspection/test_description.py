"""What a fit means, in one table."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdisentangle import SparseSharedDisentangler
from skdisentangle.inspection import describe, identifiability_report


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
