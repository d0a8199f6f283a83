"""Count tasks against references for the loss, the score and the heads."""

import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import d2_tweedie_score

from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors, tasks_from_factors
from skdisentangle.solvers.exact_heads import solve_heads
from skdisentangle.solvers.supports import average_over_supports
from skdisentangle.tasks.blocks import Block
from skdisentangle.tasks.labels import Column
from skdisentangle.tasks.types import TYPES, infer_type
from skdisentangle.tasks.types.count import CAP

COUNT = TYPES["count"]


def made(n_rows=2000, seed=0):
    """Codes, and numbers that depend on two of them."""
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(n_rows, 4))
    return codes, rng.poisson(np.exp(1 + 0.6 * codes[:, 0] - 0.4 * codes[:, 2]))


def encoded(labels):
    column = Column.read("a", labels)
    task = COUNT.task(column, 0, np.ones(len(labels)))
    return task, COUNT.encode(task, column, labels)


def test_heads_are_those_of_a_poisson_regression():
    codes, labels = made()
    task, targets = encoded(labels)
    found = solve_heads(
        torch.from_numpy(codes),
        torch.from_numpy(targets[:, np.newaxis]),
        None,
        (Block("count", slice(0, 1), slice(0, 1)),),
        torch.zeros(1, 4, dtype=torch.float64),
        max_iter=5000,
        tol=1e-9,
    )
    reference = PoissonRegressor(alpha=0, tol=1e-9, max_iter=1000).fit(codes, labels)
    np.testing.assert_allclose(found.coef[0], reference.coef_, atol=1e-6)
    scores = codes @ found.coef.numpy().T + found.intercept.numpy() + task.mean
    assert scores.max() - task.mean < CAP  # else the two are not the same
    np.testing.assert_allclose(
        COUNT.predict(task, scores), reference.predict(codes), rtol=1e-6
    )


def test_score_is_that_of_scikit_learn():
    _, labels = made()
    task, targets = encoded(labels)
    rng = np.random.default_rng(1)
    scores = 2.5 * rng.normal(size=len(labels))
    assert scores.max() > CAP
    weights = rng.uniform(0, 2, size=len(labels))
    found = COUNT.score(
        *(torch.from_numpy(v)[:, None] for v in (scores, targets, weights)), 1
    )
    predicted = COUNT.predict(task, scores[:, np.newaxis] + task.mean)
    assert float(found) == pytest.approx(
        d2_tweedie_score(labels, predicted, sample_weight=weights, power=1)
    )


def test_a_constant_is_met_or_not():
    targets = torch.ones(5, 1, dtype=torch.float64)
    ones = torch.ones_like(targets)
    assert float(COUNT.score(0 * ones, targets, ones, 1)) == 1
    assert float(COUNT.score(ones, targets, ones, 1)) == 0


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ([1.0, 2.5, 3.0], r"2\.5 is not a whole number"),
        ([1.0, -2.0, np.nan], r"-2\.0 is below zero"),
        ([1, -(2**63), None], r"-9223372036854775808 is below zero"),
        (["a", "b", "a"], "'a' is a class"),
        ([True, False, True], "True is a class"),
    ],
)
def test_other_labels_are_refused(labels, why):
    column = Column.read("rings", np.array(labels))
    with pytest.raises(ValueError, match=f"'rings' cannot be 'count': {why}"):
        COUNT.task(column, 0, np.ones(3))
    task, _ = encoded(np.array([1, 2, 3]))
    present = column.values[~column.missing]
    with pytest.raises(ValueError, match=f"is a count task, but {why}"):
        COUNT.encode(task, column, present)


def test_is_never_inferred():
    assert (
        infer_type(Column.read("a", np.repeat(np.arange(5), 20))).name == "multiclass"
    )
    assert infer_type(Column.read("a", np.arange(50))).name == "regression"


@pytest.fixture(scope="module")
def fitted():
    world = make_multitask_factors(
        700,
        n_factors=3,
        n_tasks=15,
        mixing="linear",
        task_types="count",
        random_state=2,
    )
    Y = world.Y.copy()
    Y[:100, 3] = np.nan
    dis = SparseSharedDisentangler(
        5, encoder="linear", task_types="count", random_state=0
    )
    return world, dis.fit(world.X[:500], Y[:500])


def test_predictions_are_expected_numbers(fitted):
    world, dis = fitted
    assert not hasattr(dis, "predict_proba")
    X, Y = world.X[500:], world.Y[500:]
    expected = dis.predict(X)
    assert expected.shape == Y.shape
    assert (expected > 0).all()
    linear = dis.transform(X) @ dis.coef_.T + dis.intercept_
    np.testing.assert_allclose(np.log(expected), linear)
    scores = dis.score_tasks(X, Y)
    for task, score in enumerate(scores):
        assert score == pytest.approx(
            d2_tweedie_score(Y[:, task], expected[:, task], power=1)
        )
    assert dis.score(X, Y) == pytest.approx(scores.mean())
    assert scores.mean() > 0.55


def test_factors_are_found(fitted):
    world, dis = fitted
    codes = dis.transform(world.X)
    assert codes.shape[1] == 3
    matched = np.abs(np.corrcoef(world.factors.T, codes.T)[:3, 3:])
    assert (matched.max(1) > 0.97).all()


def test_a_new_task_from_few_labels(fitted):
    world, dis = fitted
    rng = np.random.default_rng(0)
    labels = rng.poisson(np.exp(2 + 0.8 * world.factors[:, 1]))
    head = dis.fit_task(world.X[:60], labels[:60], task_type="count")
    *others, largest = np.sort(np.abs(head.coef_[0]))
    assert max(others) < 0.15 * largest
    truth = np.exp(2 + 0.8 * world.factors[500:, 1])
    assert head.score(world.X[500:], labels[500:]) == pytest.approx(
        d2_tweedie_score(labels[500:], truth, power=1), abs=0.05
    )


@pytest.mark.parametrize("scatter", [0.0, 10.0])
def test_noise_is_no_support_however_much_it_scatters(scatter):
    """Of numbers that scatter as Poisson's do, and of such with ten times their variance."""
    rng = np.random.default_rng(0)
    odds, rate = 0.2, np.full(100, 20.0)
    found = []
    for _ in range(20):
        if scatter:
            rate = rng.gamma(20 / scatter, scatter, size=100)
        _, targets = encoded(rng.poisson(rate))
        average = average_over_supports(
            torch.from_numpy(rng.normal(size=(100, 4))),
            torch.from_numpy(targets),
            torch.ones(100, dtype=torch.float64),
            task_type="count",
            n_outputs=1,
            log_odds=torch.full((4,), np.log(odds), dtype=torch.float64),
            scale=0.5,
        )
        found.append(float(average.inclusion.mean()))
    assert np.mean(found) < odds


def test_one_value_is_predicted_where_there_is_no_other(fitted):
    world, _ = fitted
    Y = world.Y[:200, :3].copy()
    Y[:, 1] = 7
    dis = SparseSharedDisentangler(
        4, encoder="linear", task_types="count", max_iter=5, random_state=0
    )
    with pytest.warns(UserWarning, match="one value only"):
        dis.fit(world.X[:200], Y)
    assert (dis.predict(world.X)[:, 1] == 7).all()


def test_files_and_a_fit_that_goes_on(fitted, tmp_path):
    world, dis = fitted
    dis.save(tmp_path / "dis.safetensors")
    loaded = SparseSharedDisentangler.load(tmp_path / "dis.safetensors")
    np.testing.assert_array_equal(loaded.predict(world.X), dis.predict(world.X))
    loaded.partial_fit(world.X, world.Y)
    assert loaded.score(world.X, world.Y) > 0.5
    head = dis.fit_task(world.X[:60], world.Y[:60, 0], task_type="count")
    head.save(tmp_path / "head.safetensors")
    again = type(head).load(tmp_path / "head.safetensors")
    np.testing.assert_array_equal(again.predict(world.X), head.predict(world.X))


def test_metadata_of_a_graph_turn_scores_into_numbers(fitted, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    world, dis = fitted
    dis.to_onnx(tmp_path / "dis.onnx")
    (kept,) = onnx.load(tmp_path / "dis.onnx").metadata_props[:1]
    limit = json.loads(kept.value)["tasks"][0]["linear_from"]
    far = 40 * world.X  # some are beyond
    scores = dis.transform(far) @ dis.coef_[0] + dis.intercept_[0]
    assert scores.max() > limit
    beyond = np.maximum(scores - limit, 0)
    expected = np.exp(np.minimum(scores, limit)) * (1 + beyond)
    np.testing.assert_allclose(dis.predict(far)[:, 0], expected)


@pytest.mark.parametrize("changes", [{"solver": "bilevel"}, {"sparsity": "auto"}])
def test_other_ways_to_fit(fitted, changes):
    world, _ = fitted
    dis = SparseSharedDisentangler(
        5, encoder="linear", task_types="count", random_state=0, **changes
    )
    dis.fit(world.X, world.Y)
    matched = np.abs(np.corrcoef(world.factors.T, dis.transform(world.X).T)[:3, 3:])
    assert (matched.max(1) > 0.95).all()


def test_made_counts_follow_the_value():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(4000, 2))
    tasks = tasks_from_factors(
        factors, n_tasks=3, support_size=1, task_types="count", random_state=0
    )
    assert (tasks.Y >= 0).all()
    assert (tasks.Y % 1 == 0).all()
    fit = PoissonRegressor(alpha=0).fit(factors, tasks.Y[:, 0])
    assert np.abs(fit.coef_[tasks.supports[0]]) == pytest.approx(0.7, abs=0.1)
    assert np.abs(fit.coef_[~tasks.supports[0]]) == pytest.approx(0, abs=0.05)
