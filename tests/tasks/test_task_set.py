from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.datasets import load_diabetes, load_digits, load_iris, load_linnerud

from skdisentangle.files.task_files import plain_tasks
from skdisentangle.tasks.labels import Labels
from skdisentangle.tasks.task_set import TaskSet
from skdisentangle.tasks.weights import learned_task_weights
from tests.conftest import on_two_ranks


def build(y, **options):
    labels = Labels.read(y)
    options.setdefault("task_types", None)
    options.setdefault("sample_weight", np.ones(labels.n_rows))
    return labels, TaskSet.build(labels, **options)


N = 60
WHOLE = np.arange(N) % 21
FEW = np.arange(N) % 20


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (np.linspace(0, 1, N), "regression"),
        (FEW, "regression"),  # 20 whole values
        (FEW.astype(float), "regression"),
        (FEW % 4, "multiclass"),
        ((FEW % 4).astype(float), "multiclass"),
        (FEW % 4 - 1, "multiclass"),  # -1 is a class as any other
        (FEW % 5 * 2, "regression"),
        (FEW + 0.5, "regression"),
        (np.arange(N) % 2, "binary"),
        ((np.arange(N) % 2).astype(bool), "binary"),
        (np.where(np.arange(N) % 2, "yes", "no"), "binary"),
        (np.array(["a", "b", "c"] * 20, dtype=object), "multiclass"),
        (np.array([f"w{i % 30}" for i in range(N)]), "multiclass"),
        (np.where(np.arange(N) % 3 == 0, np.nan, np.arange(N) % 2), "binary"),
        (np.array([True, False, None] * 20, dtype=object), "binary"),
        (np.array([1, 2.5, None] * 20, dtype=object), "regression"),
    ],
)
def test_types_are_inferred(column, expected):
    _, tasks = build(column)
    assert tasks.tasks[0].type == expected


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("digits", load_digits().target, "multiclass"),
        ("iris", load_iris().target, "multiclass"),
        ("a fold of 30 rows of three classes", np.arange(24) % 3, "multiclass"),
        ("codes with a gap", np.array([0, 1, 3])[np.arange(90) % 3], "multiclass"),
        ("ratings", np.repeat([1, 2, 3, 4, 5], [9, 20, 40, 80, 51]), "multiclass"),
        ("a rare class", np.repeat([0, 1, 2, 3], [300, 4, 90, 60]), "multiclass"),
        ("two codes", np.repeat([3, 7], 5), "binary"),
        ("ids of 18 digits", 10**17 + np.arange(90) % 3, "multiclass"),
        ("signs", np.repeat([-1, 1], 5), "binary"),
        ("diabetes", load_diabetes().target, "regression"),
        ("linnerud", load_linnerud().target, "regression"),
        ("ages", 18 + np.arange(400) % 9, "regression"),
        ("years", 2015 + np.arange(400) % 5, "regression"),
        ("rooms", 3 + np.arange(400) % 6, "regression"),
        ("children", np.repeat(range(6), [180, 120, 70, 20, 7, 2]), "regression"),
        ("children of many", 1000 * np.repeat([0, 1], 3), "binary"),
        ("two ages of two people", np.array([23, 45]), "regression"),
        ("few rows a value", np.arange(21) % 3, "regression"),
        ("eleven codes", np.arange(440) % 11, "regression"),
        ("two gaps", np.array([0, 2, 4])[np.arange(90) % 3], "regression"),
        ("levels", np.array([0, 10, 100])[np.arange(90) % 3], "regression"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_numbers_are_classes_if_they_are_codes_of_many_rows(name, values, expected):
    """Whatever kind of number they are, and with some missing."""
    holes = values.astype(object)
    holes[:: max(len(holes), 2) - 1] = None
    kinds = [np.float32, object] if values.max() < 2**24 else [object]
    for given in (values, *(values.astype(kind) for kind in kinds)):
        _, tasks = build(given, quiet=True)
        assert {task.type for task in tasks.tasks} == {expected}, name
    if len(values) > 60:
        _, tasks = build(holes, quiet=True)
        assert {task.type for task in tasks.tasks} == {expected}, name


def test_a_column_keeps_its_type_in_its_folds():
    """A row more or less does not turn measurements into classes, or back."""
    rng = np.random.default_rng(0)
    columns = {
        "age": rng.integers(18, 41, size=400),  # 23 values, or fewer
        "class": rng.integers(0, 4, size=400),
        "children": rng.poisson(1.5, size=400),
        "share": rng.random(400).round(2),
    }
    for name, values in columns.items():
        whole = build(values, quiet=True)[1].tasks[0].type
        for seed in range(20):
            rows = np.random.default_rng(seed).permutation(400)[:320]
            assert build(values[rows], quiet=True)[1].tasks[0].type == whole, name


def test_whole_weights_are_rows():
    """So that rows said twice are as rows of weight two; other weights are no rows."""
    few = np.arange(9) % 3
    assert build(few, quiet=True)[1].tasks[0].type == "regression"
    weight = np.repeat([4.0, 3.0, 5.0], 3)
    for y, weights in ((few, weight), (few.repeat(weight.astype(int)), np.ones(36))):
        _, tasks = build(y, sample_weight=weights, quiet=True)
        assert tasks.tasks[0].type == "multiclass"
    _, tasks = build(few, sample_weight=weight / 7, quiet=True)
    assert tasks.tasks[0].type == "regression"


def test_numbers_taken_for_classes_are_named_once():
    frame = pd.DataFrame(
        {
            "stage": FEW % 3,
            "stars": FEW % 5 + 1.0,
            "said": FEW % 3,
            "two": FEW % 2,
            "word": np.array(list("abc"))[FEW % 3],
            "kind": pd.Categorical(FEW % 3),
            "size": np.linspace(0, 1, N),
        }
    )
    with pytest.warns(UserWarning, match="taken for classes") as caught:
        build(frame, task_types={"said": "multiclass"})
    assert len(caught) == 1
    text = str(caught[0].message)
    assert "tasks 'stage' (3 values), 'stars' (5 values), because" in text
    assert "task_types='multiclass' to confirm this, 'ordinal' if" in text
    assert "'count' for counts, or 'regression' for measurements" in text
    with pytest.warns(UserWarning, match="task_type='multiclass' to confirm"):
        build(FEW % 3, setting="task_type")
    with pytest.warns(UserWarning, match=r"'task2' \(3 values\) and 12 more, because"):
        build(np.tile(FEW % 3, (15, 1)).T)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build(frame, quiet=True)
        build(
            frame.drop(columns="stars"),
            task_types={"stage": "multiclass", "said": "regression"},
        )
        build(FEW % 3, classes=[[0, 1, 2]])


@pytest.mark.parametrize("form", ["array", "objects", "category", "polars"])
def test_ids_are_left_out(form):
    """Words most of which differ: classes of a row each, and thousands of them."""
    ids = np.array([f"p{i % 40}" for i in range(N)])
    make = {
        "array": lambda values: values,
        "objects": lambda values: values.astype(object),
        "category": lambda values: pd.Series(values).astype("category"),
        "polars": lambda values: pl.Series("task0", values),
    }[form]
    message = "'task0' looks like an id: 40 different labels in 60 rows"
    with pytest.raises(ValueError, match=message):
        build(make(ids))
    assert build(make(ids), task_types="multiclass")[1].n_outputs == 40
    assert build(make(ids[:49]))[1].n_outputs == 40  # too few rows to say
    often = np.array([f"p{i % 30}" for i in range(N)])
    assert build(make(often))[1].n_outputs == 30
    frame = pd.DataFrame({"id": make(ids), "size": np.linspace(0, 1, N)})
    with pytest.warns(UserWarning, match=r"'id' \(looks like an id") as caught:
        labels, tasks = build(frame)
    assert len(caught) == 1
    assert "task_types='multiclass'" in str(caught[0].message)
    assert tasks.learned.tolist() == [1]
    assert tasks.types_found() == [None, "regression"]
    assert np.isnan(tasks.tasks[0].constant_prediction(2)).all()
    # The same where other processes have the other rows.
    with pytest.warns(UserWarning, match="looks like an id"):
        found = on_two_ranks(
            lambda ranks: TaskSet.build(
                labels.take(np.arange(ranks.rank, N, 2)),
                task_types=None,
                sample_weight=np.ones(N // 2),
                ranks=ranks,
            )
        )
    assert [each.tasks[0].left_out for each in found] == [tasks.tasks[0].left_out] * 2


def test_types_can_be_said():
    y = np.column_stack([FEW, np.arange(N) % 2, np.arange(N) % 2])
    _, tasks = build(y, task_types=["regression", None, "multiclass"])
    assert [t.type for t in tasks.tasks] == ["regression", "binary", "multiclass"]
    assert tasks.n_outputs == 4
    _, tasks = build(y, task_types="regression")
    assert [t.type for t in tasks.tasks] == ["regression"] * 3
    frame = pd.DataFrame({"a": FEW, "b": FEW})
    _, tasks = build(frame, task_types={"b": "multiclass"})
    assert [t.type for t in tasks.tasks] == ["regression", "multiclass"]


@pytest.mark.parametrize(
    ("y", "task_types", "message"),
    [
        (FEW, "classes", "task_types: the type of task 'task0' must be one of"),
        (FEW, ["regression", "binary"], "one type for each of the 1 tasks; got 2"),
        (FEW, {"b": "binary"}, "task_types names 'b', which is not a task"),
        (FEW, "binary", "cannot be 'binary': it has 20 classes"),
        (FEW % 3, "binary", "cannot be 'binary': it has 3 classes"),
        (np.array(["a", "b"] * 30), "regression", "cannot be 'regression'"),
        (FEW + 0.5, "multiclass", "labels that are not whole numbers, such as 0.5"),
    ],
)
def test_wrong_types_are_refused(y, task_types, message):
    with pytest.raises(ValueError, match=message):
        build(y, task_types=task_types)


def test_columns_go_by_their_own_names():
    """Which may be numbers; as strings, too, as which tasks are named."""
    frame = pd.DataFrame({0: FEW, 7: FEW, ("a", 1): FEW})
    types = {0: "multiclass", "('a', 1)": "regression"}
    _, tasks = build(frame, task_types=types)
    kinds = ["multiclass", "regression", "regression"]
    assert [task.type for task in tasks.tasks] == kinds
    assert tasks.learned.tolist() == [1, 2, 0]
    weight = learned_task_weights({7: 2.0, ("a", 1): 3.0}, tasks)
    assert weight.tolist() == [1.0, 1.5, 0.5]
    with pytest.raises(ValueError, match="task_weight names 8, which is not a task"):
        learned_task_weights({8: 2.0}, tasks)
    _, tasks = build(pd.Series(FEW), task_types={"task0": "regression"})
    assert tasks.tasks[0].type == "regression"
    with pytest.raises(ValueError, match="task_types names 0, which is not a task"):
        build(FEW, task_types={0: "regression"})


def test_an_unknown_task_is_told_the_known_ones():
    frame = pd.DataFrame({"a": FEW, "c": FEW})
    with pytest.raises(ValueError, match=r"names 'b', .*; the tasks are 'a', 'c'\."):
        build(frame, task_types={"a": "multiclass", "b": "binary"})


def test_classes_can_be_said():
    """More of them than there are labels of; the types follow."""
    y = np.column_stack([np.zeros(N), np.zeros(N), np.linspace(0, 1, N), np.zeros(N)])
    types = [None, None, None, "multiclass"]
    classes = [[3, 0], [2, 0, 1], None, [0, 5]]
    _, tasks = build(y, classes=classes, task_types=types)
    kinds = [task.type for task in tasks.tasks]
    assert kinds == ["binary", "multiclass", "regression", "multiclass"]
    assert [task.n_outputs for task in tasks.tasks] == [1, 3, 1, 2]
    assert tasks.tasks[0].classes.tolist() == [0, 3]
    assert tasks.tasks[1].classes.tolist() == [0, 1, 2]
    # In the order of the solvers.
    assert tasks.learned.tolist() == [2, 0, 3, 1]
    assert tasks.n_classes().tolist() == [0, 2, 2, 3]
    names = [tasks.kind(number).name for number in range(4)]
    assert names == ["regression", "binary", "multiclass", "multiclass"]
    # In the order of the columns, a row an output.
    mean, scale = tasks.output_units()
    value = y[:, 2]
    assert mean.tolist() == pytest.approx([0, 0, 0, 0, value.mean(), 0, 0])
    assert scale.tolist() == pytest.approx([1, 1, 1, 1, value.std(), 1, 1])
    with pytest.warns(UserWarning, match=r"'task0' \(has one class only\)"):
        build(y, classes=[[0], [0, 1], None, [0, 1]])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("binary", "declares 3 classes for task 'task0', .* is 'binary'"),
        ("regression", "declares 3 classes for task 'task0', .* is 'regression'"),
    ],
)
def test_classes_that_contradict_the_type_are_refused(kind, message):
    with pytest.raises(ValueError, match=message):
        build(np.arange(N) % 2, classes=[[0, 1, 2]], task_types=kind)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros((3, 2, 2)), r"\(n_samples, n_tasks\); got shape \(3, 2, 2\)"),
        (np.array(3.0), r"got shape \(\)"),
        (np.float64(3.0), r"got float64\."),
        (np.zeros((3, 0)), "at least one column"),
        (pd.DataFrame(index=range(3)), "at least one column"),
        ([[1, 2], [3]], "rows have different lengths"),
        (np.array([0.0, np.inf, 1.5]), "holds infinite labels"),
        (np.array([1j, 2, 3]), "has dtype complex128"),
        (np.array([1, "a", 2], dtype=object), "mixes strings and numbers"),
        ([1, "a", 2], "mixes strings and numbers"),
        (np.array([{}, {}, None], dtype=object), "has one of type dict"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "has dtype datetime64"),
    ],
)
def test_unusable_labels_are_refused(y, message):
    with pytest.raises(ValueError, match=message):
        Labels.read(y)


def test_order_of_solvers_and_of_columns():
    """Inside, tasks stand by type; outside, in the order of the columns."""
    y = np.column_stack(
        [FEW % 3, np.arange(N) % 2, np.linspace(0, 1, N), FEW % 4, FEW % 3 + 7]
    )
    labels, tasks = build(y, task_types=[None] * 4 + ["multiclass"])
    assert tasks.learned.tolist() == [2, 1, 0, 4, 3]
    assert [b.type for b in tasks.blocks] == ["regression", "binary"] + [
        "multiclass"
    ] * 2
    assert [(b.tasks.start, b.tasks.stop) for b in tasks.blocks] == [
        (0, 1),
        (1, 2),
        (2, 4),
        (4, 5),
    ]
    assert [(b.outputs.start, b.outputs.stop) for b in tasks.blocks] == [
        (0, 1),
        (1, 2),
        (2, 8),
        (8, 12),
    ]
    outputs = [(t.outputs.start, t.outputs.stop) for t in tasks.tasks]
    assert outputs == [(0, 3), (3, 4), (4, 5), (5, 9), (9, 12)]
    assert tasks.output_order.tolist() == [2, 3, 4, 1, 0, 8, 9, 10, 11, 5, 6, 7]
    targets, labelled = tasks.encode(labels)
    assert labelled.all()
    np.testing.assert_array_equal(targets[:, 3], FEW % 3)  # 7, 8, 9 as 0, 1, 2
    assert targets[:, 0].mean() == pytest.approx(0)
    assert targets[:, 0].std() == pytest.approx(1)


@pytest.mark.parametrize("scale", [1e-200, 1e-8, 1.0, 1e8, 1e200])
def test_regression_targets_of_any_scale(scale):
    value = np.random.default_rng(0).normal(size=N) + 3
    labels, tasks = build(value * scale)
    targets, _ = tasks.encode(labels)
    np.testing.assert_allclose(targets[:, 0], (value - value.mean()) / value.std())


def test_weights_in_mean_and_scale():
    value = np.array([0.0, 1.0, 5.0, 9.5])
    weight = np.array([1.0, 2.0, 0.0, 1.0])
    _, tasks = build(value, sample_weight=weight, task_types="regression")
    repeated = np.array([0.0, 1.0, 1.0, 9.5])
    assert tasks.tasks[0].mean == pytest.approx(repeated.mean())
    assert tasks.tasks[0].scale == pytest.approx(repeated.std())


@pytest.mark.parametrize(
    ("value", "constant"),
    [
        (np.zeros(N), True),
        (np.full(N, -1e200), True),
        (7e9 + np.linspace(0, 1e-5, N), True),  # rounding, more or less
        (7e9 + np.linspace(0, 1.0, N), False),
        (1e-200 * (7 + np.linspace(0, 1e-5, N)), False),
    ],
)
def test_what_is_a_constant_target(value, constant):
    y = np.column_stack([value, np.linspace(0, 1, N)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if constant else "error")
        _, tasks = build(y, task_types="regression")
    assert (tasks.tasks[0].left_out is not None) == constant
    assert tasks.tasks[0].mean == pytest.approx(value[0], rel=1e-5)
    assert tasks.n_outputs == 2 - constant
    reason = "has one value only" if len(set(value)) == 1 else "varies too little"
    assert (tasks.tasks[0].left_out or reason).startswith(reason)


def test_a_column_of_no_labels_fits_any_type():
    y = np.column_stack([np.full(N, None), np.arange(N) % 2])
    with pytest.warns(UserWarning, match=r"'task0' \(has no label\)"):
        build(y, task_types=["regression", "binary"])


def test_two_ranks_find_the_tasks_of_all_rows():
    """Labels, some missing, of which the first rank has but a few."""
    rng = np.random.default_rng(0)
    value = rng.normal(size=(N, 3)) * [1.0, 1e-200, 1e150] + [5.0, 0.0, 1e150]
    value[:40, 1] = np.nan
    frame = pd.DataFrame(value, columns=["a", "b", "c"])
    frame["kind"] = np.where(np.arange(N) < 50, "x", "y")
    frame["class"] = np.array(list("pqrs"))[np.arange(N) % 4]
    frame["constant"] = 2.5
    labels = Labels.read(frame)
    weight = rng.uniform(0.5, 2.0, size=N)

    def job(ranks):
        mine = np.arange(10) if ranks.rank == 0 else np.arange(10, N)
        return TaskSet.build(
            labels.take(mine), task_types=None, sample_weight=weight[mine], ranks=ranks
        )

    with pytest.warns(UserWarning, match="'constant'"):
        expected = TaskSet.build(labels, task_types=None, sample_weight=weight)
    with pytest.warns(UserWarning, match="'constant'") as caught:
        found = on_two_ranks(job)
    assert len(caught) == 1  # by the first rank alone
    for tasks in found:
        assert tasks.blocks == expected.blocks
        for one, other in zip(tasks.tasks, expected.tasks, strict=True):
            assert (one.name, one.type, one.outputs, one.left_out) == (
                *(other.name, other.type, other.outputs, other.left_out),
            )
            assert one.mean == pytest.approx(other.mean, rel=1e-12, abs=0)
            assert one.scale == pytest.approx(other.scale, rel=1e-12, abs=0)
            np.testing.assert_array_equal(one.classes, other.classes)


def test_degenerate_tasks_are_named_in_one_warning():
    frame = pd.DataFrame(
        {
            "good": np.arange(N) % 2,
            "empty": np.full(N, np.nan),
            "one class": ["a"] * N,
            "constant": np.full(N, 2.5),
        }
    )
    with pytest.warns(UserWarning, match="left out") as caught:
        _, tasks = build(frame)
    assert len(caught) == 1
    text = str(caught[0].message)
    for name in ("empty", "one class", "constant"):
        assert repr(name) in text
    assert "good" not in text
    assert tasks.learned.tolist() == [0]
    assert tasks.n_outputs == 1
    assert tasks.tasks[2].constant_prediction(2).tolist() == ["a", "a"]
    assert tasks.tasks[3].constant_prediction(2).tolist() == [2.5, 2.5]
    np.testing.assert_array_equal(
        tasks.tasks[1].constant_prediction(2), [np.nan, np.nan]
    )
    # It names the line that is so many calls away, this one by default, or is not given.
    labels = Labels.read(frame)
    options = {"task_types": None, "sample_weight": np.ones(N)}
    with pytest.warns(UserWarning, match="left out") as caught:
        TaskSet.build(labels, **options)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TaskSet.build(labels, **options, quiet=True)


def test_tasks_left_out_have_no_outputs():
    y = np.column_stack([np.zeros(N), FEW % 3, np.full(N, np.nan), np.arange(N) % 2])
    with pytest.warns(UserWarning, match="left out"):
        _, tasks = build(y)
    outputs = [(task.outputs.start, task.outputs.stop) for task in tasks.tasks]
    assert outputs == [(0, 0), (0, 3), (3, 3), (3, 4)]
    assert tasks.output_order.tolist() == [1, 2, 3, 0]


def test_of_many_tasks_left_out_some_are_named():
    y = np.full((N, 46), np.nan)
    y[:, 0] = np.arange(N) % 2
    with pytest.warns(UserWarning, match=r"and 25 more\.") as caught:
        build(y)
    assert str(caught[0].message).count("has no label") == 20
    with pytest.warns(UserWarning, match=r"'task20' \(has no label\)\."):
        build(y[:, :21])
    with pytest.raises(ValueError, match="no task can be learned") as error:
        build(y[:, 1:])
    assert str(error.value).count("has no label") == 5


def test_no_task_left_is_an_error():
    with pytest.raises(ValueError, match="no task can be learned: 'task0' has no"):
        build(np.full(N, np.nan))


def test_predictions_of_arrays():
    y = np.column_stack([FEW, np.arange(N) % 2])
    _, tasks = build(y)
    out = tasks.decode([np.array([1, 2]), np.array([0, 1])])
    assert out.dtype == np.int64
    assert out.tolist() == [[1, 0], [2, 1]]
    out = tasks.decode([np.array([1, 2]), np.array([0.5, 1])])
    assert out.dtype == np.float64
    out = tasks.decode([np.array(["a", "bcd"]), np.array(["x", "y"])])
    assert out.dtype == np.dtype("<U3")
    assert out.tolist() == [["a", "x"], ["bcd", "y"]]
    out = tasks.decode([np.array(["a", "b"]), np.array([1, 2])])
    assert out.dtype == object
    assert out.tolist() == [["a", 1], ["b", 2]]
    _, tasks = build(FEW)
    assert tasks.decode([np.array([1, 2])]).tolist() == [1, 2]


def test_categories_may_be_fractions():
    series = pd.Series(pd.Categorical([0.5, 1.5, 2.5, None] * 15), name="level")
    labels, tasks = build(series)
    assert tasks.tasks[0].type == "multiclass"
    assert tasks.tasks[0].classes.tolist() == [0.5, 1.5, 2.5]
    targets, labelled = tasks.encode(labels)
    assert targets[:4, 0].tolist() == [0, 1, 2, 0]
    assert labelled[:4, 0].tolist() == [True, True, True, False]
    out = tasks.decode([np.array([1.5, 0.5])])
    assert out.dtype == series.dtype
    assert out.tolist() == [1.5, 0.5]
    # Also where other processes have the other rows.
    assert labels.columns[0].distinct().values.tolist() == [0.5, 1.5, 2.5]


def test_predictions_for_whole_labels_need_not_be_whole():
    _, tasks = build(pd.Series(WHOLE, name="count"))
    assert tasks.tasks[0].type == "regression"
    assert tasks.decode([np.array([1.5, 0.5])]).tolist() == [1.5, 0.5]
    _, tasks = build(pl.Series("count", WHOLE))
    assert tasks.decode([np.array([1.5, 0.5])]).to_list() == [1.5, 0.5]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames_come_back_as_they_were(library):
    content = {
        "kind": ["x", "y", None] * 20,
        "flag": [True, False, None] * 20,
        "count": [1, 2, None] * 20,
        "value": [0.5, 1.5, None] * 20,
    }
    if library == "pandas":
        frame = pd.DataFrame(
            {
                "kind": pd.Categorical(content["kind"]),
                "flag": pd.array(content["flag"], dtype="boolean"),
                "count": pd.array(content["count"], dtype="Int64"),
                "value": pd.array(content["value"], dtype="Float64"),
            }
        )
    else:
        frame = pl.DataFrame(content, schema_overrides={"kind": pl.Categorical})
    labels, tasks = build(frame)
    assert [t.type for t in tasks.tasks] == ["binary"] * 3 + ["regression"]
    _, labelled = tasks.encode(labels)
    assert labelled.mean(0).tolist() == pytest.approx([2 / 3] * 4)
    predicted = [
        np.array(["x", "y"], dtype=object),
        np.array([True, False]),
        np.array([2, 1]),
        np.array([0.25, 0.75]),
    ]
    out = tasks.decode(predicted)
    assert type(out) is type(frame)
    assert list(out.columns) == list(frame.columns)
    assert list(out.dtypes)[:3] == list(frame.dtypes)[:3]
    assert [list(out[name]) for name in content] == [list(p) for p in predicted]


@pytest.mark.parametrize("missing", [None, 1])
def test_whole_numbers_come_back_as_they_were(missing):
    """Whether or not some are missing, and were read as floats for that."""
    whole = [0, 1, missing] * 20
    frame = pd.DataFrame(
        {
            "a": pd.array(whole, dtype="Int64"),
            "b": pd.array(whole, dtype="UInt8"),
            "one": pd.array([missing, 2, 2] * 20, dtype="Int64"),
            "value": pd.array([3, *range(58), missing], dtype="Int64"),
        }
    )
    if missing is not None:
        frame["one"] = frame["one"].where(frame["one"] == 2, 2)
    for given in (frame, pl.from_pandas(frame)):
        with pytest.warns(UserWarning, match="'one'"):
            _, tasks = build(given)
        columns = [task.classes for task in tasks.tasks[:2]]
        one = tasks.tasks[2].constant_prediction(2)
        out = tasks.decode([*columns, one, np.array([0.5, 1.0])])
        assert list(out.dtypes)[:3] == list(given.dtypes)[:3]
        assert list(out["one"]) == [2, 2]
        assert list(out["value"]) == [0.5, 1.0]  # of a regression
    # What the data type cannot hold stays a float.
    _, tasks = build(frame["a"], classes=[[0.5, 1.0]])
    assert tasks.decode([np.array([0.5, 1.0])]).tolist() == [0.5, 1.0]


@pytest.mark.parametrize("kind", ["interval", "datetime64", "period", "timedelta64"])
def test_categories_come_back_as_they_were(kind):
    dates = pd.Series(pd.to_datetime(["2021-05-01", "2020-01-01", None] * 20))
    series = {
        "interval": pd.Series(pd.cut([0.5, 2.5, np.nan] * 20, [0, 1, 2, 3])),
        "datetime64": dates.astype("category"),
        "period": dates.dt.to_period("M").astype("category"),
        "timedelta64": (dates - dates[1]).astype("category"),
    }[kind]
    labels, tasks = build(series)
    classes = tasks.tasks[0].classes
    assert classes.tolist() == sorted(set(series.dropna()))
    targets, labelled = tasks.encode(labels)
    assert labelled[:3, 0].tolist() == [True, True, False]
    out = tasks.decode([classes[targets[:2, 0].astype(int)]])
    assert out.dtype == series.dtype
    assert out.tolist() == series[:2].tolist()
    # Also where they are said, and where other processes have the other rows.
    _, said = build(series, classes=[series.cat.categories])
    assert said.encode(labels, unseen_ok=True)[0].min() == 0
    assert labels.columns[0].distinct().values.tolist() == classes.tolist()
    with pytest.raises(
        ValueError, match=f"task 'task0' are categories of kind '{kind}'"
    ):
        plain_tasks(tasks)


def test_predictions_have_an_index():
    frame = pd.DataFrame({"a": np.arange(N) % 2, "b": np.arange(N) % 2})
    index = pd.Index([5, 5, 3], name="row")
    values = np.array([0, 1, 1])
    for given in (frame, frame["a"]):
        _, tasks = build(given)
        out = tasks.decode([values] * len(tasks.tasks), index)
        assert out.index.equals(index)
        assert out.index.name == "row"
        assert (values == out.to_numpy().T).all()
        assert tasks.decode([values] * len(tasks.tasks)).index.equals(pd.RangeIndex(3))
    _, tasks = build(pl.from_pandas(frame))
    assert tasks.decode([values, values], index).shape == (3, 2)
    _, tasks = build(frame.to_numpy())
    assert isinstance(tasks.decode([values, values], index), np.ndarray)


def test_names_that_are_not_strings_come_back():
    frame = pd.DataFrame({7: np.arange(N) % 2, 8: np.arange(N) % 2})
    _, tasks = build(frame)
    assert [t.name for t in tasks.tasks] == ["7", "8"]
    out = tasks.decode([np.zeros(2, dtype=int)] * 2)
    assert list(out.columns) == [7, 8]


def test_series_come_back_as_series():
    series = pd.Series(["a", "b"] * 30, name="kind", index=range(5, 65))
    _, tasks = build(series)
    out = tasks.decode([np.array(["b", "a"], dtype=object)])
    assert isinstance(out, pd.Series)
    assert out.name == "kind"
    column = pl.Series("kind", ["a", "b"] * 30)
    _, tasks = build(column)
    out = tasks.decode([np.array(["b", "a"], dtype=object)])
    assert isinstance(out, pl.Series)
    assert out.to_list() == ["b", "a"]


def test_unseen_labels():
    _, tasks = build(np.array(["a", "b"] * 30))
    new = Labels.read(np.array(["a", "c"]))
    with pytest.raises(ValueError, match="has the label 'c', which is not among its 2"):
        tasks.encode(new)
    targets, _ = tasks.encode(new, unseen_ok=True)
    assert targets[:, 0].tolist() == [0, -1]
    for kind in (None, object):
        _, tasks = build(np.array(["a", "b"] * 30, dtype=kind))
        with pytest.raises(ValueError, match="has the label 3"):
            tasks.encode(Labels.read(np.array([3, 3])))
        with pytest.raises(ValueError, match="has the label True"):
            tasks.encode(Labels.read(np.array([True, False], dtype=object)))
    _, tasks = build(FEW % 3 * 2, task_types="multiclass")  # 0, 2 and 4
    targets, labelled = tasks.encode(
        Labels.read(np.array([4.0, -1.0, 2.0, 3.0, np.nan, 0.0, 5.0])), unseen_ok=True
    )
    assert targets[:, 0].tolist() == [2, -1, 1, -1, 0, 0, -1]
    assert labelled[:, 0].tolist() == [True] * 4 + [False] + [True] * 2
    message = r"label 3.0, .* its 3 classes \[0, 2, 4\].* without warm_start, or"
    with pytest.raises(ValueError, match=message):
        tasks.encode(Labels.read(np.array([2.0, 3.0])))


@pytest.mark.parametrize("unseen_ok", [False, True])
@pytest.mark.parametrize(
    ("labels", "others"),
    [
        (np.array([0, 1] * 30), np.array(["0", "1"])),
        (np.array([True, False] * 30), np.array(["True", "False"], dtype=object)),
        (np.array(["0", "1"] * 30), np.array([0, 1])),
        (np.array(["0", "1"] * 30, dtype=object), np.array([0.0, np.nan])),
    ],
)
def test_labels_of_another_kind_are_no_unseen_classes(labels, others, unseen_ok):
    """Else all predictions would be wrong without a word."""
    _, tasks = build(labels, task_types="binary")
    with pytest.raises(ValueError, match="its classes are of another kind"):
        tasks.encode(Labels.read(others), unseen_ok=unseen_ok)


def test_classes_are_no_labels_of_a_regression_task():
    _, tasks = build(np.linspace(0, 1, N))
    with pytest.raises(ValueError, match="a regression task; got the label 'b'"):
        tasks.encode(Labels.read(np.array(["b", "a"])))
    targets, labelled = tasks.encode(Labels.read(np.array([None, None])))
    assert not labelled.any()
    assert not targets.any()


def test_other_number_of_tasks():
    _, tasks = build(np.arange(N) % 2)
    with pytest.raises(ValueError, match="has 2 tasks, but the estimator was fitted"):
        tasks.encode(Labels.read(np.zeros((3, 2))))


ORDER = "column 0 is 's', but was 'r'. The names are the same, in a different order"


@pytest.mark.parametrize(
    ("fitted", "given", "message"),
    [
        (["r", "s"], ["r", "s"], None),
        (["r", "s"], ["s", "r"], ORDER),
        (
            ["r", "s"],
            ["r", "t"],
            "column 1 is 't', but was 's'. There is no column 's'",
        ),
        (["r", "s"], ["r", "r"], "There is no column 's'"),
        (["r", "r"], ["r", "r"], None),
        # Names of columns without any.
        (["r", "s"], [0, 1], None),
        ([0, 1], ["r", "s"], None),
        (["r", "s"], ["column_0", "column_1"], None),
        ([0, 1], [1, 0], "column 0 is '1', but was '0'. The names are the same"),
        ([5, 6], [6, 5], "column 0 is '6', but was '5'. The names are the same"),
        ([5, 6], [5, 7], "There is no column '6'"),
    ],
)
def test_names_of_columns_are_those_of_the_fit(fitted, given, message):
    _, tasks = build(pd.DataFrame(np.eye(2), columns=fitted))
    frame = pd.DataFrame(np.eye(2), columns=given)
    others = [frame]
    if all(isinstance(name, str) for name in given) and len(set(given)) > 1:
        others.append(pl.from_pandas(frame))
    for other in others:
        if message is None:
            targets, _ = tasks.encode(Labels.read(other))
            assert targets.tolist() == np.eye(2).tolist()
            continue
        with pytest.raises(ValueError, match=f"^y must .*{message}"):
            tasks.encode(Labels.read(other, argument="y"))


def test_labels_without_names_go_by_position():
    frame = pd.DataFrame(np.eye(2), columns=["r", "s"])
    for one, other in (
        (frame, np.eye(2)),
        (np.eye(2), frame),
        (np.eye(2), frame[["s", "r"]]),
        (frame["r"], frame["s"]),
        (frame["r"], frame[["s"]]),
    ):
        _, tasks = build(one)
        targets, _ = tasks.encode(Labels.read(other))
        assert targets.tolist() == np.reshape(other, (2, -1)).tolist()
