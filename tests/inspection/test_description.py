"""What a fit means, in one table."""

from __future__ import annotations

import base64
import copy
import io
import pickle
import re
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skdisentangle import SparseSharedDisentangler
from skdisentangle.backbones import FineTuned, ImageEmbedder
from skdisentangle.inspection import (
    FactorCodeDisplay,
    IdentifiabilityDisplay,
    TaskComponentDisplay,
    UsageDisplay,
    data_concerns,
    describe,
    identifiability_report,
)

#: A name, and the sign of its number.
NAMED = re.compile(r"(\w+) \(([+-])\d")


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
        name, sign = NAMED.match(row["columns"]).groups()
        by_column[name] = row
        rising = np.corrcoef(codes[:, component], X[name])[0, 1] > 0
        assert sign == ("+" if rising else "-")
        order = np.argsort(codes[:, component])
        assert row["lowest rows"].split(", ") == [f"house{i}" for i in order[:3]]
        assert row["highest rows"].split(", ") == [f"house{i}" for i in order[::-1][:3]]
    assert set(by_column) == {"area", "age"}
    area, age = by_column["area"], by_column["age"]
    sign = NAMED.match(area["columns"])[2]
    assert set(area["tasks"].split(", ")) == {
        f"rent ({sign}1.00)",
        f"price ({sign}1.00)",
        "size (1.00)",  # of several classes, so without a sign
    }
    sign = NAMED.match(age["columns"])[2]
    flipped = "-" if sign == "+" else "+"
    assert f"repairs ({flipped}1.00)" in age["tasks"]
    assert f"old ({sign}1.00)" in age["tasks"]


@pytest.mark.parametrize("width", [60, 200])
def test_it_prints_as_lines_that_fit(house, monkeypatch, width):
    dis, X = house
    monkeypatch.setenv("COLUMNS", str(width))
    table = dis.describe(X, n_named=5)
    lines = str(table).splitlines()
    assert max(map(len, lines)) <= min(width, 100)
    for component, row in table.iterrows():
        assert (
            f"component {component}, suggested name: {row['suggested name']}" in lines
        )
    text = " ".join(line.strip() for line in lines)
    for name in ("tasks", "verdict", "columns", "lowest rows", "highest rows"):
        for said in table[name]:
            assert f"{name}: {said}" in text
    assert all(")" in line for line in lines if "(" in line)  # numbers keep to names
    table.index.name = None  # then it is shown as any data frame
    assert "component 0" not in str(table)


def test_a_component_of_all_tasks_is_never_identifiable():
    """Two independent columns, of which all tasks need the sum."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(400, 2)), columns=["height", "debt"])
    sums = X["height"] + X["debt"]
    Y_tasks = pd.DataFrame({f"t{j}": sums + rng.normal(size=400) for j in range(6)})
    dis = SparseSharedDisentangler(encoder="linear", random_state=0).fit(X, Y_tasks)
    table = dis.describe(X)
    assert table["verdict"].tolist() == ["used by all tasks: may be a mixture"]
    pytest.importorskip("matplotlib")
    display = IdentifiabilityDisplay.from_estimator(dis, X)
    assert display.ax_.get_title() == "Not identifiable"
    with pytest.warns(UserWarning, match="single task"):
        dis.fit(X, Y_tasks[["t0"]])
    assert dis.describe(X)["verdict"].iloc[0] == "one task tells nothing apart"


def test_no_more_than_asked_for_is_named(house):
    dis, X = house
    table = dis.describe(X, n_named=1)
    names = table["columns"].str.split().str[0].tolist()
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
    assert records._repr_html_() == table._repr_html_()


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
            noun = "component" if len(others) == 1 else "components"
            shown = ", ".join(map(str, others))
            assert verdict == f"may be a mixture with {noun} {shown}"


def test_images_are_told_by_their_numbers():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(60, 2))
    images = rng.normal(size=(60, 8, 8))
    images[:, :4] += 3 * factors[:, 0, None, None]
    dis = SparseSharedDisentangler(encoder="conv", max_iter=5, random_state=0)
    with pytest.warns(ConvergenceWarning):
        dis.fit(images, np.column_stack([factors, factors[:, 0]]))
    table = dis.describe(images)
    row = table.iloc[0]
    assert row["columns"] == "pixels: see InputEffectDisplay"
    lowest = np.argsort(dis.transform(images)[:, 0])[:3]
    assert row["lowest rows"] == ", ".join(map(str, lowest))
    found = pictures(table)
    # Of all that are shown the darkest pixel is black, the brightest white.
    shown = images[sorted(found)]
    scaled = 255 * (shown - shown.min()) / np.ptp(shown)
    for image, expected in zip(shown_in_order(found), scaled, strict=True):
        assert np.abs(image - expected).max() <= 0.5


def pictures(table):
    """Pixels of the pictures in a table's HTML, by the numbers of their rows."""
    image = pytest.importorskip("PIL.Image")
    found = re.findall(
        r'alt="row (\d+)" src="data:image/png;base64,([^"]+)"', table._repr_html_()
    )
    assert found
    return {
        int(row): np.asarray(image.open(io.BytesIO(base64.b64decode(data)))).astype(int)
        for row, data in found
    }


def shown_in_order(found):
    return [found[row] for row in sorted(found)]


def test_pictures_are_those_of_the_rows():
    """In grey and colour, of images, of rows of pixels, and of large images, made small."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(60, 8, 8, 3), dtype=np.uint8)
    images[::2, :4] //= 4
    dark = np.arange(60) % 2 == 0
    dis = SparseSharedDisentangler(encoder="conv", random_state=0)
    dis.fit(images, np.column_stack([dark, ~dark]))
    for row, pixels in pictures(dis.describe(images)).items():
        np.testing.assert_array_equal(pixels, images[row])
    flat = np.moveaxis(images, 3, 1).reshape(60, -1)
    for row, pixels in pictures(dis.describe(flat)).items():
        np.testing.assert_array_equal(pixels, images[row])

    large = images.repeat(20, axis=1).repeat(20, axis=2)  # 160 pixels
    shrink = FunctionTransformer(lambda X: X[:, ::20, ::20].reshape(60, -1))
    plain = SparseSharedDisentangler(encoder="linear", random_state=0)
    pipe = make_pipeline(shrink, plain).fit(large, np.column_stack([dark, ~dark]))
    for row, pixels in pictures(describe(pipe, large)).items():
        assert max(pixels.shape) <= 64
        whole = pixels.mean(axis=(0, 1)) - large[row].mean(axis=(0, 1))
        assert np.abs(whole).max() < 4


def test_image_files_are_shown(tmp_path):
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(40, 8, 8, 3), dtype=np.uint8)
    paths = [tmp_path / f"{number}.png" for number in range(40)]
    for path, pixels in zip(paths, images, strict=True):
        image.fromarray(pixels).save(path)
    bright = images.mean(axis=(1, 2))
    embedder = ImageEmbedder(torch.nn.Conv2d(3, 4, 3), image_size=None)
    dis = SparseSharedDisentangler(encoder="linear", random_state=0)
    pipe = make_pipeline(embedder, dis).fit(paths, bright[:, :2])
    for row, pixels in pictures(describe(pipe, paths)).items():
        np.testing.assert_array_equal(pixels, images[row])
    tuned = SparseSharedDisentangler(
        encoder=FineTuned(embedder, n_epochs=0), random_state=0
    ).fit(images, bright[:, :2])
    for row, pixels in pictures(tuned.describe(images)).items():
        np.testing.assert_array_equal(pixels, images[row])


def test_texts_are_shown_by_their_beginnings():
    rng = np.random.default_rng(0)
    is_red, is_large = rng.integers(0, 2, size=(2, 100)).astype(bool)
    texts = [
        f"<b>number\n{i}</b> {'red' if red else ''} {'large' if large else ''} "
        + "and so on " * 20
        for i, (red, large) in enumerate(zip(is_red, is_large, strict=True))
    ]
    dis = SparseSharedDisentangler(encoder="linear", random_state=0)
    pipe = make_pipeline(CountVectorizer(vocabulary=["red", "large"]), dis)
    pipe.fit(texts, np.column_stack([is_red, is_large, is_red]))
    for X in (texts, np.array(texts, dtype=object), pd.Series(texts, index=range(100))):
        table = describe(pipe, X)
        html = table._repr_html_()
        rows = table["highest rows"].iloc[0].split(", ")
        assert len(rows) == 3
        for row in map(int, rows):
            beginning = f"{row}: &lt;b&gt;number {row}&lt;/b&gt; "
            assert html.count(beginning) == 1
        assert "and so…" in html or "and so on…" in html
        assert "and so on " * 8 not in html
    names = {name.removeprefix("low ") for name in table["suggested name"]}
    assert {name.removeprefix("high ") for name in names} == {"red", "large"}


def test_the_table_is_a_data_frame(house):
    dis, X = house
    table = dis.describe(X)
    assert "<td" in table._repr_html_()
    assert type(table[["tasks"]]) is pd.DataFrame
    again = pickle.loads(pickle.dumps(table))
    assert again._repr_html_() == table._repr_html_()
    assert "<table" in pd.DataFrame(table)._repr_html_()


@pytest.mark.parametrize("fitted_on", ["frame", "array"])
def test_scikit_learn_warns_once_of_names(house, tmp_path, fitted_on):
    pytest.importorskip("matplotlib")
    dis, X = house
    other, said = X.to_numpy(), "X does not have valid feature names"
    if fitted_on == "array":
        dis = copy.deepcopy(dis)
        del dis.feature_names_in_
        other, said = X, "X has feature names"
    for call in (
        dis.describe,
        dis.suggest_component_names,
        dis.plot,
        lambda rows: dis.report(tmp_path / "fit.html", rows),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call(other)
        (warning,) = caught
        assert str(warning.message).startswith(said)
    with warnings.catch_warnings(), pytest.raises(UserWarning, match=said):
        warnings.simplefilter("error")  # which holds inside, too
        dis.describe(other)


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


class TestSuggestedNames:
    @pytest.fixture
    def mixed(self):
        """Four factors that no column shows alone, and tasks of all kinds."""
        rng = np.random.default_rng(0)
        factors = rng.normal(size=(800, 4))
        X = factors @ rng.normal(size=(4, 8))
        Y_tasks = pd.DataFrame(
            {
                "sold": (factors[:, 0] > 0).astype(int),
                "kind": np.where(factors[:, 1] > 0, "round", "square"),
                "price": factors[:, 2],
                "class": np.digitize(factors[:, 3], [-0.5, 0.5]).astype(str),
            }
        )
        names = [f"c{j}" for j in range(8)]
        X = pd.DataFrame(X, columns=names)
        dis = SparseSharedDisentangler(4, encoder="linear", random_state=0)
        return dis.fit(X, Y_tasks), X

    @staticmethod
    def flipped(dis):
        """The same model, each component with the other sign."""
        other = copy.deepcopy(dis)
        other.encoder_.components.sign *= -1
        other.coef_ = -other.coef_
        return other

    def test_a_column_that_stands_out_comes_first(self, house):
        dis, X = house
        names = dis.suggest_component_names(X)
        assert {name.split()[1] for name in names} == {"area", "age"}
        codes = dis.transform(X)
        for number, name in enumerate(names):
            rises = np.corrcoef(codes[:, number], X[name.split()[-1]])[0, 1] > 0
            assert name.split()[0] == ("high" if rises else "low")
        others = self.flipped(dis).suggest_component_names(X)
        for name, other in zip(names, others, strict=True):
            column = name.split()[1]
            assert {name, other} == {f"high {column}", f"low {column}"}

    def test_else_a_task_names_a_component_by_its_high_end(self, mixed):
        dis, X = mixed
        names = dis.suggest_component_names(X)
        flipped = self.flipped(dis).suggest_component_names(X)
        assert names == dis.suggest_component_names(X)
        pairs = set(zip(names, flipped, strict=True))
        ends = {frozenset(pair) for pair in pairs}
        assert frozenset(["high price", "low price"]) in ends
        assert frozenset(["kind=round", "kind=square"]) in ends
        assert ("about class", "about class") in pairs
        assert frozenset(["likely sold", "not sold"]) in ends
        codes, predicted = dis.transform(X), dis.predict(X)
        for number, name in enumerate(names):
            if name.startswith("kind="):
                high = predicted["kind"][codes[:, number] > 1]
                assert set(high) == {name.removeprefix("kind=")}

    @pytest.mark.parametrize(
        ("height", "debt", "name"),
        [
            (1, 1, "height + debt"),
            (-1, -1, "low (height + debt)"),
            (1, -1, "height - debt"),
            (-1, 1, "debt - height"),
            (1, 0.3, "high height"),
        ],
    )
    def test_two_columns_that_count_about_the_same_are_both_named(
        self, height, debt, name
    ):
        rng = np.random.default_rng(0)
        X = pd.DataFrame(rng.normal(size=(400, 3)), columns=["height", "debt", "age"])
        need = height * X["height"] + debt * X["debt"]
        Y_tasks = pd.DataFrame({f"t{j}": (j + 1) * need for j in range(3)})
        dis = SparseSharedDisentangler(encoder="linear", random_state=0)
        dis.fit(X, Y_tasks)
        if dis.coef_[0, 0] < 0:  # the sign of a component is chance
            dis = self.flipped(dis)
        first = dis.suggest_component_names(X)[0]
        assert first == name

    def test_so_are_two_tasks_and_of_more_the_number(self):
        rng = np.random.default_rng(0)
        factors = rng.normal(size=(800, 3))
        X = pd.DataFrame(factors @ rng.normal(size=(3, 8)))
        X = X.add_prefix("c")
        long = "what someone owes to all the others"
        Y_tasks = pd.DataFrame(
            {
                "sold": (factors[:, 0] > 0).astype(float),
                "kind": np.where(factors[:, 0] > 0, 3, 1),
                long: factors[:, 1],
                "rent": factors[:, 1],
                **{f"price {j}": factors[:, 2] for j in range(4)},
            }
        )
        Y_tasks["kind"] = Y_tasks["kind"].mask(Y_tasks.index % 9 == 0)  # so floats
        dis = SparseSharedDisentangler(3, encoder="linear", random_state=0)
        dis.fit(X, Y_tasks)
        for which in (dis, self.flipped(dis)):
            names = which.suggest_component_names(X)
            assert len(set(names)) == 3
            assert max(map(len, names)) <= 32
            assert any(
                re.fullmatch(r"(high|low) price \d and 3 others", n) for n in names
            )
            assert any("what" in n and "rent" in n for n in names)
            sold = {"sold + kind=3", "kind=3 + sold", "kind=1 - sold"}
            assert sold & {*names}

    def test_they_differ_and_are_short(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(300, 3))
        long = "the answer to a question that is far too long to be a name, number"
        Y_tasks = pd.DataFrame(X, columns=[f"{long} {j} of three" for j in range(3)])
        dis = SparseSharedDisentangler(encoder="linear", random_state=0)
        names = dis.fit(X, Y_tasks).suggest_component_names(X)
        assert len(set(names)) == 3
        assert max(map(len, names)) <= 32
        assert all(name.startswith(("high the answ", "low the answ")) for name in names)
        dis.set_component_names(names)

    def test_they_are_none_of_the_names_of_tasks_and_columns(self):
        rng = np.random.default_rng(0)
        X = pd.DataFrame(rng.normal(size=(300, 2)), columns=["a", "b"])
        Y_tasks = X.set_axis(["high a", "low a"], axis=1)
        dis = SparseSharedDisentangler(encoder="linear", random_state=0)
        names = dis.fit(X, Y_tasks).suggest_component_names(X)
        assert not {*names} & {*X.columns, *Y_tasks.columns}

    def test_the_table_has_them_until_names_are_set(self, house):
        dis, X = house
        names = dis.suggest_component_names(X)
        assert dis.describe(X)["suggested name"].tolist() == names
        named = copy.deepcopy(dis).set_component_names(names)
        assert "suggested name" not in named.describe(X)


class TestNames:
    @pytest.fixture
    def named(self, house):
        dis, X = house
        dis = copy.deepcopy(dis)
        first = dis.describe(X)["columns"].iloc[0].split()[0]
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
        for display in (
            UsageDisplay.from_estimator(dis),
            IdentifiabilityDisplay.from_estimator(dis),
        ):
            shown = [label.get_text() for label in display.ax_.get_xticklabels()]
            assert shown == names

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

    def test_none_removes_them(self, named):
        dis, X, _ = named
        assert dis.set_component_names(None) is dis
        assert dis.get_feature_names_out()[0] == "sparseshareddisentangler0"
        assert "suggested name" in dis.describe(X)

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
    lengths = np.array([bar.get_width() for bar in display.columns.bars_])
    rows = [effects.column_names.index(name) for name in named]
    expected = effects.effects[rows].ravel()
    np.testing.assert_allclose(lengths / lengths.max(), expected / expected.max())
    renamed = copy.deepcopy(dis).set_component_names(["first", "second"]).plot(X)
    for ax in renamed.axes_:
        assert [t.get_text() for t in ax.get_xticklabels()] == ["first", "second"]


@pytest.mark.parametrize(
    "container",
    [*["csr", "csc", "coo", "lil", "dok", "dia", "bsr"], "coo_matrix", "arrow", "dask"],
)
def test_rows_in_any_container_that_fit_takes(house, container):
    """All of them are looked at as an array of the same numbers is."""
    _, X = house
    X = X[:200].reset_index(drop=True)
    labels = np.column_stack([X["area"], X["age"], X["area"] + X["age"]])
    if container == "arrow":
        pa = pytest.importorskip("pyarrow")
        rows, plain = pa.table({name: X[name].to_numpy() for name in X}), X
    elif container == "dask":
        dd = pytest.importorskip("dask.dataframe")
        rows, plain = dd.from_pandas(X, npartitions=2), X
    else:
        plain = sparse.csr_array(X.to_numpy())
        kind = container if container.endswith("matrix") else f"{container}_array"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sparse.SparseEfficiencyWarning)
            rows = getattr(sparse, kind)(plain)
    dis = SparseSharedDisentangler(3, encoder="linear", max_iter=20, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        dis.fit(rows, labels)
        found, wanted = (describe(dis, given) for given in (rows, plain))
        assert found["columns"].tolist() == wanted["columns"].tolist()
        assert dis.suggest_component_names(rows) == dis.suggest_component_names(plain)
        assert data_concerns(rows, labels) == data_concerns(plain, labels)
        reports = [
            identifiability_report(dis, given, labels, n_refits=1, random_state=0)
            for given in (rows, plain)
        ]
    assert reports[0].verdict == reports[1].verdict
