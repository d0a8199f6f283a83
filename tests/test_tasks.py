from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skdisentangle.labels import Labels
from skdisentangle.tasks import TaskSet


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
        (WHOLE, "regression"),  # 21 whole values
        (FEW, "multiclass"),  # 20 of them
        (FEW.astype(float), "multiclass"),
        (FEW + 0.5, "regression"),
        (np.arange(N) % 2, "binary"),
        ((np.arange(N) % 2).astype(bool), "binary"),
        (np.where(np.arange(N) % 2, "yes", "no"), "binary"),
        (np.array(["a", "b", "c"] * 20, dtype=object), "multiclass"),
        (np.array([f"id{i}" for i in range(N)]), "multiclass"),  # strings are classes
        (np.where(np.arange(N) % 3 == 0, np.nan, np.arange(N) % 2), "binary"),
        (np.array([True, False, None] * 20, dtype=object), "binary"),
        (np.array([1, 2.5, None] * 20, dtype=object), "regression"),
    ],
)
def test_types_are_inferred(column, expected):
    _, tasks = build(column)
    assert tasks.tasks[0].type == expected


def test_types_can_be_said():
    y = np.column_stack([FEW, np.arange(N) % 2, np.arange(N) % 2])
    _, tasks = build(y, task_types=["regression", None, "multiclass"])
    assert [t.type for t in tasks.tasks] == ["regression", "binary", "multiclass"]
    assert tasks.n_outputs == 4
    _, tasks = build(y, task_types="regression")
    assert [t.type for t in tasks.tasks] == ["regression"] * 3
    frame = pd.DataFrame({"a": FEW, "b": FEW})
    _, tasks = build(frame, task_types={"b": "regression"})
    assert [t.type for t in tasks.tasks] == ["multiclass", "regression"]


@pytest.mark.parametrize(
    ("y", "task_types", "message"),
    [
        (FEW, "classes", "task_types: the type of task 'task0' must be one of"),
        (FEW, ["regression", "binary"], "a type for each of the 1 tasks; got 2"),
        (FEW, {"b": "binary"}, "task_types names 'b', which is not a task"),
        (FEW, "binary", "cannot be 'binary', it has 20 classes"),
        (np.array(["a", "b"] * 30), "regression", "cannot be 'regression'"),
        (FEW + 0.5, "multiclass", "labels that are not whole numbers, such as 0.5"),
    ],
)
def test_wrong_types_are_refused(y, task_types, message):
    with pytest.raises(ValueError, match=message):
        build(y, task_types=task_types)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros((3, 2, 2)), r"\(n_samples, n_tasks\); got shape \(3, 2, 2\)"),
        (np.float64(3.0), r"got shape \(\)"),
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
    labels, tasks = build(y)
    assert tasks.learned.tolist() == [2, 1, 0, 4, 3]
    assert [b.type for b in tasks.blocks] == ["regression", "binary"] + [
        "multiclass"
    ] * 2
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
    assert np.isnan(tasks.tasks[1].constant_prediction(2)).all()


def test_no_task_left_is_an_error():
    with pytest.raises(ValueError, match="no task can be learned: 'task0' has no"):
        build(np.full(N, np.nan))


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
    with pytest.raises(ValueError, match="has the label 'c', which is none of its 2"):
        tasks.encode(new)
    targets, _ = tasks.encode(new, unseen_ok=True)
    assert targets[:, 0].tolist() == [0, -1]
    with pytest.raises(ValueError, match="has the label 3"):
        tasks.encode(Labels.read(np.array([3, 3])))


def test_other_number_of_tasks():
    _, tasks = build(np.arange(N) % 2)
    with pytest.raises(ValueError, match="has 2 tasks, but the estimator was fitted"):
        tasks.encode(Labels.read(np.zeros((3, 2))))
