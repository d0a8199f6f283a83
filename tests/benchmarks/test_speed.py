"""The suite on speed: its bare loop learns, its tables say what was measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch

suite = pytest.importorskip("benchmarks.speed")
datasets = pytest.importorskip("skdisentangle.datasets")


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_the_gradient_of_the_bare_loop_is_that_of_autograd(missing):
    problem = datasets.make_multitask_factors(
        60, n_tasks=9, task_types=suite.FOUR, missing=missing, random_state=0
    )
    bare = suite.BareLoop(problem, 4, 20)
    assert sum(n for _, n in bare.parts) == 9
    rows, truth, labelled = next(bare.batches())
    scores = bare.heads(bare.body(rows)).detach().requires_grad_()
    total = torch.zeros(())
    task = output = 0
    for kind, n in bare.parts:
        width = bare.width(kind)
        part = scores[:, output : output + n * width].unflatten(1, (n, width))
        target = truth[:, task : task + n]
        if kind == "regression":
            loss = (part.squeeze(2) - target).square() / 2
        elif kind == "binary":
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                part.squeeze(2), target, reduction="none"
            )
        else:
            loss = torch.nn.functional.cross_entropy(
                part.transpose(1, 2), target.long(), reduction="none"
            )
        if labelled is not None:
            loss = loss * labelled[:, task : task + n]
        total = total + loss.sum() / truth.numel()
        task, output = task + n, output + n * width
    total.backward()
    torch.testing.assert_close(bare.slope(scores, truth, labelled), scores.grad)


def test_the_bare_loop_learns():
    problem = datasets.make_multitask_factors(
        500, n_tasks=6, task_types="regression", random_state=0
    )
    torch.manual_seed(0)
    bare = suite.BareLoop(problem, 6, 50)
    bare.fit(20)
    with torch.no_grad():
        scores = bare.heads(bare.norm(bare.body(bare.rows)))
    assert float((scores - bare.targets).square().mean()) < 0.5


def test_epochs_are_timed_by_what_a_fit_prints(capsys):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    estimator = suite.SparseSharedDisentangler(2, max_iter=4, random_state=0)
    taken = suite.timed_fit(estimator, X, X[:, 0])
    assert capsys.readouterr().out == ""
    for clock in range(2):
        assert taken["whole"][clock] > 3 * taken["epoch"][clock] > 0


def test_epochs_of_another_loop_come_in_between_and_do_not_count(monkeypatch):
    rng = np.random.default_rng(0)
    X, clock = rng.normal(size=(40, 3)), [0.0]

    def now():
        clock[0] += 1.0
        return clock[0], clock[0]

    def other():
        clock[0] += 100.0

    monkeypatch.setattr(suite, "now", now)
    estimator = suite.SparseSharedDisentangler(2, max_iter=4, random_state=0)
    ours, looped = suite.timed_pair(estimator, X, X[:, 0], other)
    n_epochs = estimator.n_iter_
    assert ours == {"whole": [n_epochs + 1] * 2, "epoch": [1, 1]}
    assert looped == {"whole": [101 * n_epochs] * 2, "epoch": [101, 101]}


def test_ratios_are_taken_within_rounds():
    row = {"case": next(iter(suite.EPOCH_CASES))}
    rounds = [
        row | {"ours": {"epoch": [2 * x, x], "whole": [3 * x, x]}, "bare": bare}
        for x, bare in (
            (1.0, {"epoch": [1.0, 1.0], "whole": [1.0, 1.0]}),
            (5.0, {"epoch": [5.0, 4.0], "whole": [5.0, 5.0]}),
        )
    ]
    line = suite.epoch_table(rounds).splitlines()[2]
    assert "| 2 | 1.12 (1.00-1.25) | 2.00 (2.00-2.00) | 1.00" in line


def test_a_part_that_is_not_there_leaves_the_section_out(tmp_path, monkeypatch):
    monkeypatch.setattr(suite, "RESULTS", tmp_path / "speed.json")
    assert suite.page() == ""
