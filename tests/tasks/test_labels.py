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
from tests.conftest import on_two_ranks, quick

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
    with pytest.raises(ValueError, match=r"type Timestamp\. Turn them into strings"):
        Labels.read(dates)
    with pytest.raises(ValueError, match=r"type tuple\. Turn them into strings"):
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
    with pytest.warns(UserWarning, match=alone) as caught:
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
        assert row["verdict"].startswith("one task tells nothing apart")


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
            ValueError, match="The names are the same, in a different order"
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
    with pytest.raises(ValueError, match=r"cannot be saved: .*'interval'.*rename_cat"):
        dis.save(tmp_path / "model")
    text = labels.cat.rename_categories(str)
    quick().fit(rows, text).save(tmp_path / "model")


# -- whole numbers beyond floats, and text in every container --------------------------

#: Three numbers that are one as floats.
IDS = [2**60 + 1, 2**60 + 2, 2**60 + 3]
HUGE = [2**70 + 1, 2**70 + 2, 2**70 + 3]
STRINGS = hasattr(np.dtypes, "StringDType")


def _columns_of(values, missing):
    """The values again and again, the last 7 of 60 missing if so said."""
    out = np.array(values, dtype=object)[np.arange(60) % 3]
    if missing:
        out[-7:] = None
    return out


def _masked(column):
    mask = np.array([value is None for value in column])
    return np.ma.masked_array(
        np.array([IDS[0] if gone else v for v, gone in zip(column, mask, strict=True)]),
        mask=mask,
    )


WHOLE_FORMS = {
    "objects": lambda column: column,
    "list": lambda column: column.tolist(),
    "list with NaN": lambda column: [np.nan if v is None else v for v in column],
    "two columns": lambda column: np.column_stack(
        [column, np.linspace(0, 1, 60)]
    ).tolist(),
    "masked": _masked,
    "pandas objects": pd.Series,
    "Int64": lambda column: pd.Series(column, dtype="Int64"),
    "arrow": lambda column: pd.Series(column, dtype="int64[pyarrow]"),
    "category": lambda column: pd.Series(pd.array(column, dtype="Int64")).astype(
        "category"
    ),
    "polars": lambda column: pl.Series("a", column.tolist(), dtype=pl.Int64),
    "polars UInt64": lambda column: pl.Series("a", column.tolist(), dtype=pl.UInt64),
}
if hasattr(pl, "Int128"):
    WHOLE_FORMS["polars Int128"] = lambda column: pl.Series(
        "a", column.tolist(), dtype=pl.Int128
    )


def _first_column(predicted):
    if isinstance(predicted, np.ndarray) and predicted.ndim == 2:
        predicted = predicted[:, 0]
    return predicted.to_list() if hasattr(predicted, "to_list") else predicted.tolist()


@pytest.mark.parametrize("missing", [False, True], ids=["", "some missing"])
@pytest.mark.parametrize("form", WHOLE_FORMS)
def test_whole_numbers_beyond_floats_stay_apart(rows, tmp_path, form, missing):
    """Read, predicted, scored, and saved: as the very numbers that they are."""
    column = _columns_of(IDS, missing)
    given = WHOLE_FORMS[form](column)
    labels = Labels.read(given)
    there = ~labels.columns[0].missing
    assert there.tolist() == [value is not None for value in column]
    assert labels.columns[0].values[there].tolist() == column[there].tolist()
    types = None if form == "category" else {labels.names[0]: "multiclass"}
    X = rows + 3 * np.eye(4)[np.arange(60) % 3]
    dis = quick(task_types=types, max_iter=60).fit(X, given)
    assert dis.tasks_[0].type == "multiclass"
    assert dis.tasks_[0].classes.tolist() == IDS
    predicted = dis.predict(X)
    if hasattr(given, "dtype") and form != "masked":
        assert predicted.dtype == (
            object
            if form == "objects" and missing
            else (np.int64 if form == "objects" else given.dtype)
        )
    found = _first_column(predicted)
    assert set(found) == set(IDS)
    assert (np.array(found, dtype=object) == column)[there].mean() > 0.9
    dis.save(tmp_path / "model")
    back = type(dis).load(tmp_path / "model")
    assert _first_column(back.predict(X)) == found
    assert type(back.predict(X)) is type(predicted)
    scores = dis.score_tasks(X, given)
    assert scores[0] > 0.9
    assert (back.score_tasks(X, given) == scores).all()
    part = quick(task_types=types).partial_fit(X, given).partial_fit(X[:9], given[:9])
    assert part.tasks_[0].classes.tolist() == IDS


@pytest.mark.parametrize("missing", [False, True], ids=["", "some missing"])
def test_whole_numbers_beyond_those_of_numpy(rows, tmp_path, missing):
    column = _columns_of(HUGE, missing)
    forms = [column, column.tolist()]
    if hasattr(pl, "Int128"):
        forms.append(pl.Series("task0", column.tolist(), dtype=pl.Int128))
    for given in forms:
        dis = quick(task_types="multiclass").fit(rows, given)
        assert dis.tasks_[0].classes.tolist() == HUGE
        dis.save(tmp_path / "model")
        back = type(dis).load(tmp_path / "model")
        assert set(_first_column(back.predict(rows))) <= set(HUGE)
        assert back.score(rows, given) == dis.score(rows, given)
    wide = np.array([2**63 + 1, 2**64 - 1] * 30, dtype=np.uint64)
    assert quick().fit(rows, wide).tasks_[0].classes.tolist() == [2**63 + 1, 2**64 - 1]
    assert Labels.read([2**63 + 1, -1]).columns[0].values.tolist() == [2**63 + 1, -1]
    with pytest.raises(ValueError, match="too large for a float"):
        Labels.read([10**400, 0])


def test_large_and_small_whole_numbers_side_by_side(rows):
    """Predictions are no floats, which would be others."""
    y = np.column_stack([_columns_of(IDS, False), np.linspace(0, 1, 60)])
    dis = quick(task_types=["multiclass", None]).fit(rows, y)
    predicted = dis.predict(rows)
    assert predicted.dtype == object
    assert set(predicted[:, 0]) <= set(IDS)
    assert all(isinstance(value, float) for value in predicted[:, 1])


def test_later_labels_are_compared_as_they_are(rows):
    """Whole numbers of another data type, and floats, that are near a class."""
    dis = quick(task_types="multiclass").fit(rows, _columns_of(IDS, False))
    for label in (float(2**60), np.uint64(2**60), 2**60 + 4, 2**60):
        with pytest.raises(ValueError, match="not among its 3 classes"):
            dis._task_set.encode(Labels.read(np.array([label])))
    same = Labels.read(np.array(IDS, dtype=np.uint64))
    assert dis._task_set.encode(same)[0][:, 0].tolist() == [0, 1, 2]


def test_two_ranks_of_whole_numbers_beyond_floats():
    """One without missing labels, and one with: of another data type."""
    column = _columns_of(IDS, False)
    column[0] = None
    labels = [Labels.read(column[:9]), Labels.read(column[9:].astype(np.int64))]
    small = [Labels.read(np.array([0.0, np.nan])), Labels.read(np.array([2**60 + 1]))]

    def job(ranks):
        return [each[ranks.rank].of_all(ranks).columns[0] for each in (labels, small)]

    for found, mixed in on_two_ranks(job):
        assert found.values.tolist() == IDS
        assert found.counts.tolist() == [19, 20, 20]
        assert mixed.values.tolist() == [0, 2**60 + 1]


def _string_dtype(**options):
    return np.dtypes.StringDType(**options)


@pytest.mark.skipif(not STRINGS, reason="numpy has no StringDType")
@pytest.mark.parametrize("na_object", [np.nan, None, "", "n/a"], ids=repr)
def test_strings_of_numpy_with_missing_ones(rows, tmp_path, na_object):
    dtype = _string_dtype(na_object=na_object)
    given = np.array(["low", "high"], dtype=dtype)[(rows[:, 0] > 0).astype(int)]
    given[:5] = na_object
    for y in (given, given[:, np.newaxis]):
        labels = Labels.read(y)
        assert labels.columns[0].missing.tolist() == [True] * 5 + [False] * 55
        dis = quick().fit(rows, y)
        assert dis.tasks_[0].classes.tolist() == ["high", "low"]
        predicted = dis.predict(rows)
        assert predicted.dtype == dtype
        assert (predicted == y)[5:].mean() == pytest.approx(dis.score(rows, y))
        dis.save(tmp_path / "model")
        back = type(dis).load(tmp_path / "model").predict(rows)
        assert back.dtype.kind == "T"
        assert back.tolist() == predicted.tolist()
        if not isinstance(na_object, str):
            assert back.dtype == dtype
    # The same words in other containers.
    words = np.array(given[5:].tolist())
    assert dis.score(rows[5:], words) == dis.score(rows[5:], given[5:])


def test_bytes_are_text(rows, tmp_path):
    """As h5py gives them: of fixed width, or objects."""
    high = rows[:, 0] > 0
    words = np.where(high, "größer", "klein")
    fixed = np.char.encode(words, "utf-8")
    objects = np.array([word.encode() for word in words], dtype=object)
    holes = objects.copy()
    holes[:3] = None
    expected = quick().fit(rows, words)
    for given in (fixed, objects, fixed[:, np.newaxis], objects.tolist()):
        dis = quick().fit(rows, given)
        assert dis.tasks_[0].classes.tolist() == ["größer", "klein"]
        assert (dis.coef_ == expected.coef_).all()
        assert dis.score(rows, words) == dis.score(rows, given)
        dis.save(tmp_path / "model")
        back = type(dis).load(tmp_path / "model")
        for one in (dis, back):
            predicted = one.predict(rows)
            if given is fixed or np.ndim(given) == 2:
                assert predicted.dtype.kind == "S"
                predicted = np.char.decode(predicted, "utf-8")
            assert predicted.ravel().tolist() == expected.predict(rows).tolist()
    assert Labels.read(holes).columns[0].missing.tolist() == [True] * 3 + [False] * 57
    masked = np.ma.masked_array(fixed, mask=np.arange(60) < 3)
    assert Labels.read(masked).columns[0].missing.tolist() == [True] * 3 + [False] * 57
    frame = pl.DataFrame({"word": objects.tolist()})
    dis = quick().fit(rows, frame)
    assert dis.tasks_[0].classes.tolist() == ["größer", "klein"]
    assert dis.predict(rows)["word"].dtype == pl.Binary
    assert set(dis.predict(rows)["word"]) <= set(objects)
    dis.save(tmp_path / "model")
    assert type(dis).load(tmp_path / "model").predict(rows).equals(dis.predict(rows))
    series = pd.Series(objects, dtype="binary[pyarrow]")
    dis = quick().fit(rows, series)
    assert dis.predict(rows).dtype == series.dtype
    dis.save(tmp_path / "model")
    assert type(dis).load(tmp_path / "model").predict(rows).equals(dis.predict(rows))
    category = pd.Series(objects).astype("category")
    dis = quick().fit(rows, category)
    assert dis.predict(rows).dtype == category.dtype
    assert set(dis.predict(rows)) <= set(objects)
    with pytest.raises(ValueError, match=r"categories of kind 'bytes', .*rename_cat"):
        dis.save(tmp_path / "model")
    part = quick().partial_fit(rows, fixed, classes=np.unique(fixed))
    assert part.tasks_[0].classes.tolist() == ["größer", "klein"]
    for bad in (np.array([b"gr\xfcn", b"rot"]), np.array([b"gr\xfcn", None], object)):
        with pytest.raises(ValueError, match=r"not UTF-8, such as b'gr\\xfcn'"):
            Labels.read(bad)
    with pytest.raises(ValueError, match=r"has one of type bytes\. Turn them into"):
        Labels.read(np.array([b"a", "b"], dtype=object))


def test_strings_of_h5py(rows, tmp_path):
    h5py = pytest.importorskip("h5py")
    words = ["größer" if value > 0 else "klein" for value in rows[:, 0]]
    with h5py.File(tmp_path / "labels.h5", "w") as file:
        of_any_width = file.create_dataset("any", data=words)
        coded = np.char.encode(np.array(words), "utf-8")
        of_one_width = file.create_dataset("one", data=coded)
        decoded = of_any_width.asstr()
        for data in (of_any_width, of_one_width, decoded):
            for given in (data, data[:]):
                labels = Labels.read(given)
                assert labels.columns[0].values.tolist() == words
                assert quick().fit(rows, given).classes_.tolist() == ["größer", "klein"]


def test_minus_one_is_a_class(rows):
    """As any other number: there is none that means "not labelled"."""
    stage = np.arange(60) % 3 - 1
    for given in (stage, stage.astype(float), pl.Series(stage), stage.tolist()):
        dis = quick().fit(rows, given)
        assert dis.tasks_[0].classes.tolist() == [-1, 0, 1]
        assert not Labels.read(given).columns[0].missing.any()
