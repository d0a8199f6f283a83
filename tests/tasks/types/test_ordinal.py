"""Ordinal tasks: the order of classes on every way, and heads against the likelihood."""

import copy
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit

from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors, tasks_from_factors
from skdisentangle.files.file_format import Content
from skdisentangle.files.task_files import plain_tasks, restored_tasks
from skdisentangle.fitting.all_rows import finish
from skdisentangle.fitting.steps import TrainingOptions, TrainingState
from skdisentangle.inspection import identifiability_report
from skdisentangle.rows.batches import LabelTensors
from skdisentangle.solvers.exact_heads import solve_penalized_heads
from skdisentangle.solvers.thresholds import move_thresholds
from skdisentangle.tasks.blocks import Block, loss_values
from skdisentangle.tasks.labels import Column, Labels
from skdisentangle.tasks.task_set import TaskSet
from skdisentangle.tasks.types import TYPES

ORDINAL = TYPES["ordinal"]
COEF = np.array([2.0, -1.0, 0.0])
THRESHOLDS = np.array([-2.5, -1.0, 0.5, 3.0])


def made(n_rows=4000, seed=0):
    """Codes, and ranks by the cumulative logit of COEF and THRESHOLDS."""
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(n_rows, 3))
    latent = codes @ COEF + rng.logistic(size=n_rows)
    return codes, np.searchsorted(THRESHOLDS, latent).astype(float)


def solved(codes, ranks, thresholds=None, weights=None):
    """Heads without a penalty, and the thresholds with their intercept."""
    n_cuts = int(ranks.max())
    if thresholds is None:
        thresholds = np.linspace(-1, 1, n_cuts)
    block = Block(
        *("ordinal", slice(0, 1), slice(0, 1)),
        thresholds=torch.from_numpy(np.array([thresholds])),
    )
    found = solve_penalized_heads(
        torch.from_numpy(codes),
        torch.from_numpy(ranks[:, np.newaxis]),
        None if weights is None else torch.from_numpy(weights[:, np.newaxis]),
        [block],
        torch.ones(1, dtype=torch.float64),
        sparsity=0.0,
        sharing=0.0,
        reweighted=False,
        coef=torch.zeros(1, codes.shape[1], dtype=torch.float64),
        intercept=torch.zeros(1, dtype=torch.float64),
        ridge=torch.full((1,), 1e-9, dtype=torch.float64),
        max_iter=500,
        tol=1e-7,
    )
    cuts = block.thresholds[0] - found.intercept
    return found.coef[0].numpy(), cuts.numpy(), block


def most_likely(codes, ranks):
    """Coefficients and thresholds of the largest likelihood."""
    n = codes.shape[1]
    index = ranks.astype(int)

    def loss(x):
        below = expit(np.sort(x[n:]) - (codes @ x[:n])[:, np.newaxis])
        ends = np.zeros((len(codes), 1))
        chances = np.diff(np.hstack([ends, below, ends + 1]))
        return -np.log(chances[np.arange(len(codes)), index].clip(1e-12)).mean()

    start = np.concatenate([np.zeros(n), np.linspace(-1, 1, index.max())])
    return np.split(minimize(loss, start, method="BFGS").x, [n])


def test_heads_and_thresholds_are_those_of_the_cumulative_logit():
    codes, ranks = made()
    coef, cuts, _ = solved(codes, ranks)
    likely, places = most_likely(codes, ranks)
    np.testing.assert_allclose(coef, likely, atol=0.06)
    np.testing.assert_allclose(cuts, places, atol=0.06)
    np.testing.assert_allclose(coef, COEF, atol=0.15)
    np.testing.assert_allclose(cuts, THRESHOLDS, atol=0.15)


def test_heads_and_thresholds_are_the_optimum():
    """Of the loss in both at once, found by another solver."""
    codes, ranks = made(600)
    coef, cuts, block = solved(codes, ranks)
    known = torch.from_numpy(ranks[:, np.newaxis])

    def loss(x):
        own = Block(
            *("ordinal", slice(0, 1), slice(0, 1)),
            thresholds=torch.from_numpy(x[np.newaxis, 3:].copy()),
        )
        scores = torch.from_numpy(codes @ x[:3, np.newaxis])
        return float(loss_values(scores, known, [own]).mean())

    best = minimize(loss, np.concatenate([coef, cuts]), method="BFGS").x
    np.testing.assert_allclose(np.concatenate([coef, cuts]), best, rtol=0.01, atol=0.01)
    np.testing.assert_array_equal(np.diff(block.thresholds[0]) > 0, True)


def test_probabilities_are_frequencies():
    codes, ranks = made()
    coef, cuts, _ = solved(codes, ranks)
    others, truth = made(20000, seed=1)
    task = ORDINAL.task(Column.read("a", np.arange(5.0)), 0, np.ones(5))
    task = replace(task, thresholds=tuple(cuts))
    chances = ORDINAL.predict_proba(task, others @ coef[:, np.newaxis])
    for label in range(5):
        for low in (0.0, 0.1, 0.3, 0.6):
            some = (chances[:, label] >= low) & (chances[:, label] < low + 0.1)
            if some.sum() > 1000:
                share = (truth[some] == label).mean()
                assert share == pytest.approx(chances[some, label].mean(), abs=0.03)


def test_two_classes_are_a_binary_task():
    codes, ranks = made(200)
    ranks = (ranks > 1).astype(float)
    ordinal = ORDINAL.at(torch.zeros(1, 1, dtype=torch.float64))
    binary = TYPES["binary"]
    scores = torch.from_numpy(codes[:, :1])
    targets = torch.from_numpy(ranks[:, np.newaxis])
    for name in ("value", "squared_error"):
        torch.testing.assert_close(
            *(getattr(kind, name)(scores, targets, 1) for kind in (ordinal, binary))
        )
    torch.testing.assert_close(ordinal.mean(scores, 1), binary.mean(scores, 1))
    assert ordinal.spread(ranks, None, 2) == pytest.approx(
        binary.spread(ranks, None, 2)
    )


def test_the_bound_on_the_bend():
    """It is (K - 1) / (2 K) where all thresholds are one, and the score is there."""
    for n_classes in (2, 3, 10):
        kind = ORDINAL.at(torch.zeros(1, n_classes - 1, dtype=torch.float64))
        bend = kind.second_derivatives(torch.zeros(1, 1, dtype=torch.float64), 1)
        assert float(bend) == pytest.approx((n_classes - 1) / (2 * n_classes))
        assert float(bend) < ORDINAL.curvature


def test_weights_and_parts_of_rows():
    codes, ranks = made(300)
    weights = np.random.default_rng(0).integers(0, 3, size=300)
    coef, cuts, _ = solved(codes, ranks, weights=weights / weights.mean())
    repeated = np.repeat(np.arange(300), weights)
    again, places, _ = solved(codes[repeated], ranks[repeated])
    np.testing.assert_allclose(coef, again, rtol=0.01, atol=0.01)
    np.testing.assert_allclose(cuts, places, rtol=0.01, atol=0.01)

    theta = torch.tensor([[2.0, -1.0, 0.0, 0.0]], dtype=torch.float64)
    rows = torch.from_numpy(np.column_stack([codes, np.ones(300)]))
    known = torch.from_numpy(ranks[:, np.newaxis])
    ends = []
    for size in (300, 70):
        start = torch.tensor([[-1.0, 0.0, 1.0, 2.0]], dtype=torch.float64)
        block = Block("ordinal", slice(0, 1), slice(0, 1), thresholds=start)
        parts = [
            (own, truth, None)
            for own, truth in zip(rows.split(size), known.split(size), strict=True)
        ]
        assert move_thresholds(theta, lambda parts=parts: parts, [block]) > 1
        ends.append(start)
    torch.testing.assert_close(*ends)


# -- the order of classes ------------------------------------------------------------------

SIZES = ["small", "medium", "large", "huge"]


def frames():
    labels = ["medium", None, "large", "small", "medium", "large"]
    ordered = pd.CategoricalDtype(SIZES, ordered=True)
    return {
        "pandas": pd.DataFrame({"size": pd.Categorical(labels, dtype=ordered)}),
        "polars": pl.DataFrame({"size": pl.Series(labels, dtype=pl.Enum(SIZES))}),
    }


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_classes_keep_the_order_of_categories(library):
    labels = Labels.read(frames()[library])
    tasks = TaskSet.build(labels, task_types=None, sample_weight=np.ones(6))
    (task,) = tasks.tasks
    assert task.type == "ordinal"
    assert task.classes.tolist() == SIZES[:3]  # none is huge
    targets, labelled = tasks.encode(labels)
    assert targets[labelled].tolist() == [1, 2, 0, 1, 2]
    assert task.thresholds == pytest.approx((-np.log(2), np.log(2)))


def test_other_types_keep_it_too():
    labels = Labels.read(frames()["pandas"])
    options = {"sample_weight": np.ones(6)}
    tasks = TaskSet.build(labels, task_types="multiclass", **options)
    assert tasks.tasks[0].classes.tolist() == SIZES[:3]
    two = pd.Series(pd.Categorical(["no", "yes", "no"], ["yes", "no"], ordered=True))
    tasks = TaskSet.build(Labels.read(two), task_types=None, sample_weight=np.ones(3))
    assert tasks.tasks[0].type == "binary"
    assert tasks.tasks[0].classes.tolist() == ["yes", "no"]
    numbers = pd.Series(pd.Categorical([3, 1, 2, 3], [2, 3, 1], ordered=True))
    read = Labels.read(numbers)
    tasks = TaskSet.build(read, task_types=None, sample_weight=np.ones(4))
    assert tasks.tasks[0].classes.tolist() == [2, 3, 1]
    assert tasks.encode(read)[0].ravel().tolist() == [1, 2, 0, 1]
    bins = pd.cut(pd.Series([0.1, 5.0, 9.0, 2.0]), [0, 3, 6, 10])
    tasks = TaskSet.build(Labels.read(bins), task_types=None, sample_weight=np.ones(4))
    assert tasks.tasks[0].type == "ordinal"


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["a", "b", "c"]),
        pd.Series(pd.Categorical(["a", "b", "c"])),
        pl.Series(["a", "b", "c"], dtype=pl.Categorical),
        np.array([True, False, True]),
    ],
)
def test_classes_without_an_order_are_refused(labels):
    read = Labels.read(labels)
    with pytest.raises(ValueError, match="the order of its classes such as"):
        TaskSet.build(read, task_types="ordinal", sample_weight=np.ones(3))
    with pytest.raises(ValueError, match="the order of its classes such as"):
        TaskSet.build(
            *(read,),
            task_types="ordinal",
            sample_weight=np.ones(3),
            classes=[read.columns[0].values.tolist()],
        )


def test_numbers_are_ordered_by_size():
    stars = np.array([3.5, 1.0, np.nan, 5.0, 3.5])
    read = Labels.read(stars)
    options = {"sample_weight": np.ones(5)}
    tasks = TaskSet.build(read, task_types="ordinal", **options)
    assert tasks.tasks[0].classes.tolist() == [1.0, 3.5, 5.0]
    tasks = TaskSet.build(
        read, task_types="ordinal", classes=[[5, 4, 3.5, 1, 2]], **options
    )
    assert tasks.tasks[0].classes.tolist() == [1, 2, 3.5, 4, 5]
    assert len(tasks.tasks[0].thresholds) == 4
    with pytest.raises(ValueError, match="cannot be 'ordinal': it has 200 classes"):
        TaskSet.build(
            Labels.read(np.arange(200.0)),
            task_types="ordinal",
            sample_weight=np.ones(200),
        )


def test_tasks_of_as_many_classes_stand_together():
    rng = np.random.default_rng(0)
    Y = np.column_stack([np.arange(60) % k for k in (4, 3, 4, 2)]).astype(float)
    tasks = TaskSet.build(
        Labels.read(rng.permutation(Y)), task_types="ordinal", sample_weight=np.ones(60)
    )
    shapes = [tuple(block.thresholds.shape) for block in tasks.blocks]
    assert shapes == [(1, 1), (1, 2), (2, 3)]
    moved = tasks.with_thresholds([2 * block.thresholds for block in tasks.blocks])
    assert moved.tasks[2].thresholds == pytest.approx(
        2 * np.array(tasks.tasks[2].thresholds)
    )
    assert len(moved.blocks[2].thresholds.unique()) == 3


# -- the estimator -------------------------------------------------------------------------


def as_frame(Y):
    dtype = pd.CategoricalDtype(SIZES, ordered=True)
    return pd.DataFrame(
        {
            f"t{j}": pd.Categorical.from_codes(
                np.where(np.isnan(y), -1, y).astype(int), dtype=dtype
            )
            for j, y in enumerate(Y.T)
        }
    )


@pytest.fixture(scope="module")
def fitted():
    world = make_multitask_factors(
        *(900,),
        n_factors=3,
        n_tasks=15,
        mixing="linear",
        task_types="ordinal",
        link="logistic",
        random_state=2,
    )
    Y = world.Y.copy()
    Y[:100, 3] = np.nan
    dis = SparseSharedDisentangler(5, encoder="linear", random_state=0)
    return world, dis.fit(world.X[:700], as_frame(Y[:700]))


def test_estimator_finds_factors_and_predicts_categories(fitted):
    world, dis = fitted
    X, Y = world.X[700:], as_frame(world.Y[700:])
    assert {task.type for task in dis.tasks_} == {"ordinal"}
    assert dis.coef_.shape[0] == 15
    codes = dis.transform(world.X)
    matched = np.abs(np.corrcoef(world.factors.T, codes.T)[:3, 3:])
    assert (matched.max(1) > 0.98).all()
    labels = dis.predict(X)
    assert (labels.dtypes == Y.dtypes).all()
    assert labels["t0"].cat.ordered
    assert dis.classes_[0].tolist() == SIZES
    chances = dis.predict_proba(X)
    for j, name in enumerate(Y):
        np.testing.assert_allclose(chances[j].sum(1), 1)
        assert (chances[j] >= 0).all()
        picked = np.array(SIZES)[chances[j].argmax(1)]
        np.testing.assert_array_equal(picked, labels[name])
        # Equally frequent classes: probabilities are so in the mean.
        np.testing.assert_allclose(chances[j].mean(0), 0.25, atol=0.08)
    scores = dis.score_tasks(X, Y)
    np.testing.assert_allclose(scores, (labels == Y).mean(), atol=1e-12)
    assert scores.mean() > 0.6
    ranks = np.column_stack([labels[name].cat.codes for name in Y])
    assert np.abs(ranks - world.Y[700:]).mean() < 0.45


def test_probabilities_beat_those_of_classes_without_order(fitted):
    world, dis = fitted
    other = SparseSharedDisentangler(
        5, encoder="linear", task_types="multiclass", random_state=0
    ).fit(world.X[:700], world.Y[:700])

    def lost(model):
        rows = np.arange(200)
        return -np.mean(
            [
                np.log(p[rows, world.Y[700:, j].astype(int)]).mean()
                for j, p in enumerate(model.predict_proba(world.X[700:]))
            ]
        )

    assert lost(dis) < lost(other)


def test_files_streams_and_onnx(fitted, tmp_path):
    world, dis = fitted
    dis.save(tmp_path / "dis.safetensors")
    loaded = SparseSharedDisentangler.load(tmp_path / "dis.safetensors")
    pd.testing.assert_frame_equal(loaded.predict(world.X), dis.predict(world.X))
    np.testing.assert_array_equal(
        loaded.predict_proba(world.X)[2], dis.predict_proba(world.X)[2]
    )
    assert loaded.tasks_[0].thresholds == dis.tasks_[0].thresholds
    before = loaded.score(world.X, as_frame(world.Y))
    loaded.partial_fit(world.X, as_frame(world.Y))
    assert loaded.tasks_[0].thresholds != dis.tasks_[0].thresholds
    assert loaded.score(world.X, as_frame(world.Y)) > before - 0.05
    loaded.save(tmp_path / "stream.safetensors")
    again = SparseSharedDisentangler.load(tmp_path / "stream.safetensors")
    for model in (loaded, again):
        model.partial_fit(world.X[:300], as_frame(world.Y[:300]))
    np.testing.assert_allclose(again.coef_, loaded.coef_)
    assert again.tasks_[4].thresholds == pytest.approx(loaded.tasks_[4].thresholds)

    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    dis.to_onnx(tmp_path / "dis.onnx")
    (kept,) = [
        each.value
        for each in onnx.load(tmp_path / "dis.onnx").metadata_props
        if each.key == "skdisentangle"
    ]
    told = json.loads(kept)["tasks"][0]
    assert told["classes"] == SIZES
    assert told["thresholds"] == pytest.approx(dis.tasks_[0].thresholds)


@pytest.mark.parametrize(
    "thresholds", [[0.0], [0.0, 1.0, "2"], [3.0, 2.0, 1.0], None, [0.0, 1.0, 2.0, 3.0]]
)
def test_wrong_thresholds_in_a_file_are_refused(fitted, thresholds):
    document = plain_tasks(fitted[1]._task_set)
    restored_tasks(Content(document, {}))
    document["columns"][1]["thresholds"] = thresholds
    with pytest.raises(
        ValueError, match="'thresholds' of task 't1' should be 3 numbers"
    ):
        restored_tasks(Content(document, {}))


def test_a_stream_from_its_first_rows(fitted):
    world, _ = fitted
    dis = SparseSharedDisentangler(5, encoder="linear", random_state=0)
    for start in range(0, 900, 300):
        rows = slice(start, start + 300)
        for _ in range(10):
            dis.partial_fit(
                world.X[rows], as_frame(world.Y[rows]), classes=[SIZES] * 15
            )
    assert dis.tasks_[0].classes.tolist() == SIZES
    assert dis.score(world.X, as_frame(world.Y)) > 0.55


def test_a_copy_of_a_state_has_thresholds_of_its_own():
    """Models that callbacks are shown do not change the fit."""
    rows = torch.linspace(-1, 1, 30, dtype=torch.float64).unsqueeze(1)
    ranks = (rows > -0.8).double() + (rows > 0.8)
    thresholds = torch.tensor([[-1.0, 1.0]], dtype=torch.float64)
    options = TrainingOptions(
        blocks=(Block("ordinal", slice(0, 1), slice(0, 1), thresholds=thresholds),),
        sparsity=0.01,
        sharing=0.0,
        learning_rate=0.01,
        spread=torch.ones(1, dtype=torch.float64),
        task_weights=torch.ones(1, dtype=torch.float64),
    )
    body = torch.nn.Linear(1, 1).double()
    state = TrainingState.start(body, torch.zeros(1, 2, dtype=torch.float64), options)
    before = thresholds.clone()
    shown = copy.deepcopy(state)
    finish(shown, rows, LabelTensors(ranks, None, None), options)
    assert float((shown.thresholds[0] - thresholds).abs().max()) > 0.1
    torch.testing.assert_close(thresholds, before)
    kept = state.snapshot()
    finish(state, rows, LabelTensors(ranks, None, None), options)
    assert state.thresholds[0] is thresholds
    torch.testing.assert_close(thresholds, shown.thresholds[0])
    state.restore(kept)
    torch.testing.assert_close(thresholds, before)


def test_early_stopping(fitted):
    world, _ = fitted
    dis = SparseSharedDisentangler(
        *(5,),
        encoder="linear",
        task_types="ordinal",
        early_stopping=True,
        random_state=0,
    )
    dis.fit(world.X, world.Y)
    assert dis.score(world.X, world.Y) > 0.6


@pytest.mark.parametrize(
    "changes",
    [
        {"solver": "bilevel"},
        {"sparsity": "auto"},
        {"class_weight": "balanced"},
        {"cross_fit": 2},
    ],
)
def test_other_ways_to_fit(fitted, changes):
    world, _ = fitted
    dis = SparseSharedDisentangler(
        5, encoder="linear", task_types="ordinal", random_state=0, **changes
    )
    codes = dis.fit_transform(world.X, world.Y)
    matched = np.abs(np.corrcoef(world.factors.T, codes.T)[:3, 3:])
    assert (matched.max(1) > 0.95).all()


def test_a_new_task_from_few_labels(fitted, tmp_path):
    world, dis = fitted
    rng = np.random.default_rng(0)
    latent = 3 * world.factors[:, 1] + rng.logistic(size=900)
    ranks = np.searchsorted([-2.0, 0.0, 2.5], latent)
    dtype = pd.CategoricalDtype(SIZES, ordered=True)
    y = pd.Series(pd.Categorical.from_codes(ranks, dtype=dtype))
    head = dis.fit_task(world.X[:100], y[:100])
    assert head.task_.type == "ordinal"
    assert head.classes_.tolist() == SIZES
    *others, largest = np.sort(np.abs(head.coef_[0]))
    assert max(others) < 0.15 * largest
    assert head.coef_.shape == (1, 3)
    assert np.abs(head.coef_).max() == pytest.approx(3, rel=0.3)
    assert head.predict(world.X).dtype == dtype
    chances = head.predict_proba(world.X[100:])
    np.testing.assert_allclose(
        chances.mean(0), np.bincount(ranks[100:]) / 800, atol=0.08
    )
    truth = np.diff(
        expit([-np.inf, -2.0, 0.0, 2.5, np.inf] - 3 * world.factors[100:, 1:2])
    ).argmax(1)
    score = head.score(world.X[100:], y[100:])
    assert score > (truth == ranks[100:]).mean() - 0.08
    head.save(tmp_path / "head.safetensors")
    again = type(head).load(tmp_path / "head.safetensors")
    np.testing.assert_array_equal(again.predict_proba(world.X[100:]), chances)


def test_displays_and_reports(fitted):
    _, dis = fitted
    table = dis._repr_html_inner()
    assert "<td>ordinal</td><td>small, medium, large, huge</td>" in table
    assert identifiability_report(dis) is not None


def test_made_labels_are_cut_in_order():
    factors = np.random.default_rng(0).normal(size=(2000, 1))
    for link, least in (("threshold", 0.9), ("logistic", 0.75)):
        tasks = tasks_from_factors(
            *(factors,),
            n_tasks=1,
            support_size=1,
            task_types="ordinal",
            n_classes=5,
            link=link,
            random_state=0,
        )
        assert np.unique(tasks.Y, return_counts=True)[1].tolist() == [400] * 5
        assert abs(np.corrcoef(factors.T, tasks.Y.T)[0, 1]) > least


def test_all_types_together_find_the_factors():
    shares = dict.fromkeys(TYPES, 1.0)
    world = make_multitask_factors(
        2500, n_factors=4, n_tasks=24, task_types=shares, random_state=1
    )
    assert set(world.task_types) == set(TYPES)
    dis = SparseSharedDisentangler(8, task_types=world.task_types, random_state=0)
    dis.fit(world.X[:2000], world.Y[:2000])
    codes = dis.transform(world.X[2000:])
    matched = np.abs(np.corrcoef(world.factors[2000:].T, codes.T)[:4, 4:])
    assert (matched.max(1) > 0.95).all()
    scores = dis.score_tasks(world.X[2000:], world.Y[2000:])
    for kind, least in {"ordinal": 0.85, "multiclass": 0.85, "count": 0.55}.items():
        assert scores[np.array(world.task_types) == kind].mean() > least
