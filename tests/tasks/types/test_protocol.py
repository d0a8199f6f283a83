"""What every task type promises, checked for each that is registered."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from skdisentangle.tasks.labels import Column
from skdisentangle.tasks.types import TYPES, infer_type

pytestmark = pytest.mark.parametrize("kind", TYPES.values(), ids=TYPES)

N_ROWS, N_TASKS = 30, 2


def made(kind):
    """Scores and targets of two tasks, the number of outputs of one, a task, and the type.

    The type has the thresholds of the tasks, if they have any.
    """
    rng = np.random.default_rng(0)
    targets, thresholds = [], []
    for _ in range(N_TASKS):
        labels = kind.draw(
            *(rng, rng.normal(size=N_ROWS)),
            shift=0.2,
            noise=0.1,
            n_classes=3,
            link="threshold",
        )
        column = Column.read("a", labels)
        task = kind.task(column, 0, np.ones(N_ROWS))
        thresholds.append([3 * each for each in task.thresholds])
        task = replace(task, thresholds=tuple(thresholds[-1]))
        assert task.left_out is None
        targets.append(kind.encode(task, column, labels))
    n_outputs = kind.n_outputs(task)
    scores = torch.from_numpy(rng.normal(size=(N_ROWS, N_TASKS * n_outputs)))
    if kind.n_thresholds(task.classes):
        kind = kind.at(torch.tensor(thresholds, dtype=torch.float64))
    return scores, torch.from_numpy(np.column_stack(targets)), n_outputs, task, kind


def test_residual_is_the_derivative_of_the_value(kind):
    scores, targets, n_outputs, _, kind = made(kind)
    scores.requires_grad_()
    kind.value(scores, targets, n_outputs).sum().backward()
    found = scores.detach().clone()
    kind.residual_(found, targets, n_outputs)
    torch.testing.assert_close(found, scores.grad)


def test_hessian_is_the_derivative_of_the_residual(kind):
    scores, targets, n_outputs, _, kind = made(kind)
    rng = np.random.default_rng(1)
    direction = torch.from_numpy(rng.normal(size=tuple(scores.shape)))
    ends = [scores + 1e-6 * direction, scores - 1e-6 * direction]
    for end in ends:
        kind.residual_(end, targets, n_outputs)
    found = direction.clone()
    kind.hessian_product_(found, scores, n_outputs)
    torch.testing.assert_close(found, (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-8)
    for output in range(n_outputs):
        unit = torch.zeros_like(scores)
        unit[:, output::n_outputs] = 1.0
        kind.hessian_product_(unit, scores, n_outputs)
        bends = kind.second_derivatives(scores, n_outputs)
        torch.testing.assert_close(
            unit[:, output::n_outputs], bends[:, output::n_outputs]
        )
        assert float(bends.max()) <= kind.curvature
    along = kind.second_derivatives(scores, n_outputs) * direction
    coupling = kind.coupling(scores, n_outputs)
    if n_outputs > 1:
        shape = 1, (-1, n_outputs)
        u, step = coupling.unflatten(*shape), direction.unflatten(*shape)
        along += (u.square() * step - u * (u * step).sum(2, keepdim=True)).flatten(1)
    else:
        assert coupling is None
    torch.testing.assert_close(along, found)


def test_no_score_bends_the_loss_by_more_than_is_said(kind):
    _, _, n_outputs, _, kind = made(kind)
    ends = torch.linspace(-8, 8, N_ROWS, dtype=torch.float64)
    scores = ends.unsqueeze(1).repeat(1, N_TASKS * n_outputs)
    scores[:, 1::2] *= -0.5
    for output in range(n_outputs):
        unit = torch.zeros_like(scores)
        unit[:, output::n_outputs] = 1.0
        kind.hessian_product_(unit, scores, n_outputs)
        bends = kind.second_derivatives(scores, n_outputs)
        torch.testing.assert_close(
            unit[:, output::n_outputs], bends[:, output::n_outputs]
        )
        assert (bends >= 0).all()
        assert float(bends.max()) <= kind.curvature


def test_several_outputs_have_a_residual_in_two_parts(kind):
    scores, targets, n_outputs, _, kind = made(kind)
    if n_outputs == 1:
        assert kind.statistic(targets, 1).shape == targets.shape
        return
    found = scores.clone()
    kind.residual_(found, targets, n_outputs)
    parts = kind.mean(scores, n_outputs) - kind.statistic(targets, n_outputs)
    torch.testing.assert_close(found, parts)


def test_what_is_predicted_can_be_encoded(kind):
    scores, _, n_outputs, task, kind = made(kind)
    own = scores[:, :n_outputs].numpy()
    labels = kind.predict(task, own)
    assert labels.shape == (N_ROWS,)
    chances = kind.predict_proba(task, own)
    if kind.has_classes:
        again = kind.encode(task, Column.read("a", labels), labels)
        np.testing.assert_array_equal(again, chances.argmax(1))
        np.testing.assert_allclose(chances.sum(1), 1)
    else:
        assert chances is None


def best_scores(kind, targets, n_outputs):
    """Scores whose loss is least, each row by itself, found by Newton steps."""
    scores = torch.zeros(len(targets), N_TASKS * n_outputs, dtype=torch.float64)
    for _ in range(60):
        step = scores.clone()
        kind.residual_(step, targets, n_outputs)
        bends = kind.second_derivatives(scores, n_outputs)
        scores -= (step / bends.clamp_min(1e-3)).clamp(-0.5, 0.5)
    return scores


def test_a_perfect_prediction_scores_one(kind):
    _, targets, n_outputs, _, kind = made(kind)
    scores = best_scores(kind, targets, n_outputs)
    weights = torch.ones_like(targets)
    found = kind.score(scores, targets, weights, n_outputs)
    perfect = torch.ones(N_TASKS, dtype=torch.float64)
    torch.testing.assert_close(found, perfect, rtol=0, atol=1e-4)
    worse = kind.score(-scores, targets, weights, n_outputs)
    assert (worse < 0.6).all()


def test_squared_error_is_least_for_a_perfect_prediction(kind):
    scores, targets, n_outputs, _, kind = made(kind)
    best = best_scores(kind, targets, n_outputs)
    least, more = (
        kind.squared_error(each, targets, n_outputs) for each in (best, scores)
    )
    assert least.shape == targets.shape
    assert (least >= 0).all()
    assert (more.mean(0) > least.mean(0) + 0.02).all()


def test_spread_of_each_output(kind):
    _, targets, n_outputs, task, kind = made(kind)
    n_classes = 0 if task.classes is None else len(task.classes)
    column = targets[:, 0].numpy()
    spread = kind.spread(column, None, n_classes)
    assert spread.shape == (n_outputs,)
    told = kind.statistic(targets[:, :1], n_outputs).numpy()
    np.testing.assert_allclose(spread, told.std(axis=0))
    twice = np.append(column, column[:5])
    weight = np.where(np.arange(len(column)) < 5, 2.0, 1.0)
    np.testing.assert_allclose(
        kind.spread(column, weight / weight.mean(), n_classes),
        kind.spread(twice, None, n_classes),
    )


def test_types_have_names_and_are_found_in_order(kind):
    assert TYPES[kind.name] is kind
    for first in ("dispersed", "quadratic"):
        said = [getattr(each, first) for each in TYPES.values()]
        assert said == sorted(said, reverse=True)
    assert kind.fits(np.array([0, 1]), None) == kind.has_classes
    assert kind.fits(None, None) != kind.has_classes
    column = Column.read("a", np.array([1.0, 2.5, np.nan]))
    assert (infer_type(column) is kind) == (kind.name == "regression")
