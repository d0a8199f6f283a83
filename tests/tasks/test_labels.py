"""Labels out of any container, and what an estimator does with them."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp

from skdisentangle.inspection import identifiability_report
from skdisentangle.tasks.labels import Labels
from skdisentangle.tasks.types import infer_type
from tests.conftest import quick

FLOATS = [0.5, 1.5, None, 2.5]
WHOLE = [0, 1, None, 2]
WORDS = ["a", "b", None, "c"]


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(60, 4))


@pytest.mark.parametrize(
    "values",
    [
        pd.array(WHOLE, dtype="Int64"),
        pd.array(FLOATS, dtype="Float64"),
        pd.array([True, False, None, True], dtype="boolean"),
        pd.array(WORDS, dtype="string"),
        pd.Series(WORDS).astype("string[python]").values,
        pd.Categorical(WORDS),
        pd.cut(np.arange(4.0), 2),
        pd.Index(WORDS, name="kind"),
        pd.Index([0.5, 1.5, np.nan, 2.5]),
        pd.arrays.SparseArray([0.5, 0.0, np.nan, 0.0]),
    ],
    ids=lambda values: f"{type(values).__name__} of {values.dtype}",
)
def test_arrays_and_indexes_of_pandas_are_read_as_series(values):
    series = Labels.read(pd.Series(values))
    read = Labels.read(values)
    assert read.container == series.container == "pandas-series"
    assert (read.dtypes, read.keys) == (series.dtypes, series.keys)
    one, other = read.columns[0], series.columns[0]
    assert (one.name, one.categorical) == (other.name, other.categorical)
    np.testing.assert_array_equal(one.missing, other.missing)
    np.testing.assert_array_equal(one.values[~one.missing], other.values[~one.missing])


def test_frames_of_a_class_derived_from_that_of_pandas():
    class Mine(pd.DataFrame):
        pass

    labels = Labels.read(Mine({"height": [1.5, 2.5]}))
    assert (labels.container, labels.names) == ("pandas", ["height"])


@pytest.mark.parametrize(
    ("values", "categorical"),
    [
        (np.array([0.5, -999.0, 1.5]), False),
        (np.array([0.5, -999.0, 1.5], dtype=np.float32), False),
        (np.array([3, -999, 4]), False),
        (np.array([3, 255, 4], dtype=np.uint8), False),
        (np.array(["a", "never", "b"]), True),
        (np.array([True, True, False]), True),
        (np.array(["a", {}, "b"], dtype=object), True),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_what_is_masked_is_missing(values, categorical):
    masked = np.ma.masked_array(values, mask=[False, True, False])
    before = values.copy()
    for labels in (Labels.read(masked), Labels.read(masked[:, np.newaxis])):
        column = labels.columns[0]
        assert column.missing.tolist() == [False, True, False]
        assert column.values[~column.missing].tolist() == values[::2].tolist()
        assert column.categorical == categorical
    assert (masked.data == before).all()
    whole = Labels.read(masked[::2]).columns[0]
    assert whole.values.dtype == values.dtype
    assert not whole.missing.any()


def test_a_mask_of_records_is_refused():
    records = np.ma.zeros(3, dtype=[("a", float), ("b", int)])
    with pytest.raises(ValueError, match="task 'task0' has dtype"):
        Labels.read(records)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (pl.DataFrame({"a": [1.5]}).lazy(), r"got LazyFrame\. Give Y_tasks\.collect"),
        (sp.csr_matrix(np.eye(3)), r"got csr_matrix\. Give Y_tasks\.toarray\(\)\.$"),
        (sp.coo_array(np.eye(3)), r"got coo_array\. Give Y_tasks\.toarray\(\)\.$"),
        ({"a": [1.5, 2.5]}, r"got dict\.$"),
        ((value for value in "ab"), r"got generator\.$"),
        (None, r"got None\.$"),
        ("labels", r"got str\.$"),
        (pd.MultiIndex.from_product([[0, 1], ["a", "b"]]), "has one of type tuple"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_holds_no_labels_is_named(y, message):
    with pytest.raises(ValueError, match=f"^Y_tasks.*{message}"):
        Labels.read(y)


@pytest.mark.parametrize(
    "y",
    [
        None,
        np.zeros((3, 0)),
        pd.DataFrame(index=range(3)),
        np.zeros((2, 2, 2)),
        [[1, 2], [3]],
        [1, "a"],
        [{}, {}],
        [1.5, np.inf],
        np.array([1j]),
        [10**400, None],
        pl.Series([2.5, np.inf]),
        pd.Series([1, "a"]),
    ],
    ids=repr,
)
def test_errors_speak_of_the_argument(y):
    with pytest.raises(ValueError, match=r"^y(:| must)"):
        Labels.read(y, argument="y")


def test_categories_in_an_order_are_classes():
    """Whatever they are; what has no order is refused, and told what to do."""
    dates = pd.Series(pd.to_datetime(["2021-05-01", "2020-01-01", None]))
    for labels in (
        pd.Series(pd.cut([0.5, 2.5, np.nan], [0, 1, 2, 3])),
        dates.astype("category"),
        dates.dt.tz_localize("UTC").astype("category"),
        dates.dt.date.astype("category"),
        dates.dt.to_period("M").astype("category"),
        (dates - dates[0]).astype("category"),
    ):
        column = Labels.read(labels).columns[0]
        assert column.categorical
        assert column.missing.tolist() == [False, False, True]
        assert infer_type(column).name == "binary"
        assert column.values[:2].tolist() == labels[:2].tolist()
    with pytest.raises(ValueError, match=r"type Timestamp\. Make strings or numbers"):
        Labels.read(dates)
    with pytest.raises(ValueError, match=r"type tuple\. Make strings or numbers"):
        Labels.read(pd.Series([(1, 2), (3, 4)]).astype("category"))


# -- in an estimator -------------------------------------------------------------------


def _nearly(one, other):
    """The same labels by index, but for rounding."""
    return np.allclose(one.astype(float), other.astype(float)) and (
        one.index.equals(other.index)
    )


def test_predictions_have_the_index_of_the_rows(rows):
    frame = pd.DataFrame(rows, columns=list("abcd"))
    labels = pd.DataFrame({"r": rows[:, 0], "s": rows[:, 1] > 0})
    order = np.random.default_rng(1).permutation(60)
    for y in (labels, labels["r"], labels["r"].array):
        dis = quick().fit(frame, y)
        predicted = dis.predict(frame)
        shuffled = dis.predict(frame.iloc[order])
        assert (shuffled.index == order).all()
        assert _nearly(shuffled.sort_index(), predicted)
        assert dis.predict(frame.iloc[[3, 3, 2]]).index.tolist() == [3, 3, 2]
        numbered = quick().fit(rows, y).predict(rows[order])
        assert numbered.index.equals(pd.RangeIndex(60))
    dis = quick().fit(frame, labels.to_numpy(dtype=float))
    assert isinstance(dis.predict(frame.iloc[order]), np.ndarray)
    head = dis.fit_task(frame[:30], labels["r"][:30])
    assert (head.predict(frame.iloc[order]).index == order).all()


def test_a_single_task_is_told_that_nothing_is_disentangled(rows):
    """Once in a fit, whatever other fits it takes; and so does the report on it."""
    alone = "^With a single task nothing is disentangled"
    one, many = rows[:, :1], rows[:, :2]
    dis = quick(max_iter=20, cross_fit=2)
    with pytest.warns(UserWarning) as caught:
        dis.fit_transform(rows, one)
    messages = [str(w.message) for w in caught]
    assert sum(m.startswith(alone[1:]) for m in messages) == 1
    with pytest.warns(UserWarning, match=alone):
        quick().fit(rows, one[:, 0])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quick(max_iter=20).fit(rows, many)
        report = identifiability_report(dis, rows, one, n_refits=2)
    assert not any("single task" in str(w.message) for w in caught)
    assert not report.identifiable
    assert report.verdict.startswith("Not identifiable: a single task cannot tell")
    for row in report.components:
        assert not row["identifiable"]
        assert row["verdict"].startswith("is of a single task")


def test_types_of_a_fit_hold_in_its_parts(rows):
    """Labels of some of the rows may look like others: few rows of a class, ids."""
    stage = np.arange(60) % 3
    names = [f"p{i % 50}" for i in range(60)]
    labels = pd.DataFrame({"stage": stage, "name": names, "size": rows[:, 0]})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dis = quick(max_iter=20, cross_fit=4)
        dis.fit_transform(rows, labels)
        guessed = [w for w in caught if "taken for classes" in str(w.message)]
    assert len(guessed) == 1
    assert [task.type for task in dis.tasks_] == ["multiclass"] * 2 + ["regression"]
    assert dis.tasks_[1].left_out.startswith("looks like an id")
    assert dis.predict(rows)["stage"].isin([0, 1, 2]).all()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        identifiability_report(dis, rows, labels, n_refits=2)
    assert not any("taken for classes" in str(w.message) for w in caught)


def test_ages_in_a_first_batch_are_no_classes(rows):
    ages = 18 + np.arange(60) % 23
    part = quick().partial_fit(rows[:4], ages[:4]).partial_fit(rows, ages)
    assert part.tasks_[0].type == "regression"


def test_arrays_of_pandas_everywhere(rows):
    words = pd.array(np.where(rows[:, 0] > 0, "high", "low"), dtype="string")
    for fit in ("fit", "partial_fit"):
        dis = getattr(quick(), fit)(rows, words)
        same = getattr(quick(), fit)(rows, pd.Series(words))
        assert (dis.coef_ == same.coef_).all()
        assert dis.predict(rows).equals(same.predict(rows))
        assert dis.score(rows, words) == same.score(rows, pd.Series(words))
    head = dis.fit_task(rows[:30], words[:30])
    assert head.predict(rows).dtype == words.dtype
    assert head.score(rows, words) == head.score(rows, words.to_numpy())


def test_masked_labels_everywhere(rows):
    mask = np.random.default_rng(2).random(60) < 0.3
    masked = np.ma.masked_array(np.where(mask, -999.0, rows[:, 0]), mask=mask)
    holes = np.where(mask, np.nan, rows[:, 0])
    for fit in ("fit", "partial_fit"):
        dis = getattr(quick(), fit)(rows, masked)
        same = getattr(quick(), fit)(rows, holes)
        assert (dis.coef_ == same.coef_).all()
        assert dis.score(rows, masked) == same.score(rows, holes)
    head = dis.fit_task(rows, masked)
    assert (head.coef_ == dis.fit_task(rows, holes).coef_).all()
    assert head.score(rows, masked) == head.score(rows, holes)


def test_columns_in_another_order_are_refused_everywhere(rows):
    labels = pd.DataFrame({"r": rows[:, 0], "s": rows[:, 1]})
    other = labels[["s", "r"]]
    warm = quick(warm_start=True).fit(rows, labels)
    part = quick().partial_fit(rows, labels)
    for method in (warm.fit, warm.score, warm.score_tasks, part.partial_fit):
        with pytest.raises(
            ValueError, match="The names are the same, in another order"
        ):
            method(rows, other)
    assert warm.score(rows, labels) == warm.score(rows, labels.to_numpy())
    plain = quick().fit(rows, labels.to_numpy())
    assert plain.score(rows, labels) == plain.score(rows, labels.to_numpy())


def test_intervals_as_classes(rows, tmp_path):
    labels = pd.qcut(pd.Series(rows[:, 0], name="third"), 3)
    dis = quick().fit(rows, labels)
    predicted = dis.predict(rows)
    assert predicted.dtype == labels.dtype
    assert (predicted == labels).mean() == pytest.approx(dis.score(rows, labels))
    assert dis.predict_proba(rows).shape == (60, 3)
    # Without a class in the first call, which is given apart.
    part = quick().partial_fit(rows, labels.where(rows[:, 0] < 0, labels.min()))
    assert len(part.tasks_[0].classes) < 3
    classes = labels.cat.categories
    part = quick().partial_fit(rows[:9], labels[:9], classes=classes)
    part.partial_fit(rows, labels)
    assert part.predict(rows).dtype == labels.dtype
    with pytest.raises(ValueError, match=r"cannot be kept .*'interval'.*rename_cat"):
        dis.save(tmp_path / "model")
    text = labels.cat.rename_categories(str)
    quick().fit(rows, text).save(tmp_path / "model")
