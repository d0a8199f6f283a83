from __future__ import annotations

from itertools import count

import pytest
import torch

from skdisentangle.fitting.all_rows import finish
from skdisentangle.fitting.steps import TrainingState
from skdisentangle.fitting.training import _gathered, _has_settled
from skdisentangle.rows.batches import LabelTensors, split_batches

from ..small_fits import fit, make


def test_loss_falls_and_supports_are_found():
    rows, targets, options, state = make()
    history = fit(rows, targets, options, state)
    finish(state, rows, LabelTensors(targets, None, None), options)
    assert history.losses[-1] < 0.3 * history.losses[0]
    used = state.theta[:, :-1] != 0
    assert used.sum(1).tolist() == [1, 1, 1, 1]
    # tasks 0 and 2 are about the same column, and share a component
    assert torch.equal(used[0], used[2])
    assert int(used.any(0).sum()) == 3


def test_same_seed_same_bits():
    heads = []
    for _ in range(2):
        rows, targets, options, state = make()
        fit(rows, targets, options, state, batch_size=32, max_iter=20)
        heads.append(state.theta)
    assert torch.equal(*heads)


def test_plateaus_end_a_fit_early():
    rows, targets, options, state = make()
    history = fit(rows, targets, options, state, n_iter_no_change=5, tol=0.5)
    assert len(history.losses) < 40
    assert history.converged


def test_a_short_fit_has_not_converged():
    rows, targets, options, state = make()
    assert not fit(rows, targets, options, state, max_iter=3).converged


def test_the_best_state_is_restored():
    rows, targets, options, state = make()
    seen = []

    def validate(state):
        # best in the last third, in the epoch after which it gets worse
        seen.append(state.theta.clone())
        return 1.0 if len(seen) == 25 else 0.0

    fit(rows, targets, options, state, max_iter=30, validate=validate)
    assert torch.equal(state.theta, seen[24])


def test_a_validation_plateau_ends_each_stage():
    """The next begins from the best state, which here is the first one."""
    rows, targets, options, state = make()
    number = count()
    history = fit(
        rows,
        targets,
        options,
        state,
        max_iter=90,
        n_iter_no_change=4,
        validate=lambda state: -100.0 * next(number),
    )
    assert len(history.scores) == len(history.losses)
    # The best epoch of the time without penalties and four more, then of that with them
    # one and four, and four in each further stage.
    assert len(history.losses) == 5 + 5 + 4 + 4


def test_the_next_stage_begins_from_the_best_state():
    """The best score is that of the second epoch; the first stage ends at the sixth."""
    rows, targets, options, state = make(sparsity=0.0, sharing=0.0)
    before, number = [], count(1)

    def validate(state):
        before.append(state.snapshot())
        return -abs(next(number) - 2.0)

    fit(
        *(rows, targets, options, state),
        max_iter=90,
        n_iter_no_change=4,
        validate=validate,
        on_epoch=lambda epoch, loss, score: epoch == 7,
    )
    # One step from there, and not from where the stage ended.
    moved = [(before[6][1] - before[i][1]).abs().max() for i in (1, 5)]
    assert moved[0] < moved[1]


def test_an_interrupt_leaves_the_model_so_far():
    rows, targets, options, state = make()

    def stop(epoch, loss, score):
        if epoch == 4:
            raise KeyboardInterrupt
        return False

    history = fit(rows, targets, options, state, on_epoch=stop)
    assert history.interrupted
    assert len(history.losses) == 4
    assert state.theta.any()


def test_no_penalty_before_the_encoder_has_seen_the_tasks():
    """What no task uses gets no gradient: nothing is switched off in the first sixth."""
    rows, targets, options, state = make(sparsity=10.0)
    fit(rows, targets, options, state, on_epoch=lambda e, *_: e == 50)
    assert torch.all(state.theta[:, :-1] != 0)
    rows, targets, options, state = make(sparsity=10.0)
    fit(rows, targets, options, state, on_epoch=lambda e, *_: e == 60)
    assert not state.theta[:, :-1].any()


def test_heads_take_two_steps_until_penalties_set_in():
    rows, targets, options, state = make()
    seen = []

    def on_epoch(epoch, loss, score):
        seen.append(state.inner_steps)
        return False

    fit(rows, targets, options, state, max_iter=12, on_epoch=on_epoch)
    assert seen == [2] * 2 + [1] * 10


def test_on_epoch_can_end_the_fit():
    rows, targets, options, state = make()
    history = fit(rows, targets, options, state, on_epoch=lambda e, *_: e == 7)
    assert len(history.losses) == 7


@pytest.mark.parametrize(
    ("n_rows", "size"), [(10, 3), (9, 2), (3, 2), (2, 2), (5, 100)]
)
def test_no_batch_of_one_row(n_rows, size):
    batches = split_batches(torch.arange(n_rows), size)
    assert torch.equal(torch.cat(batches), torch.arange(n_rows))
    assert min(len(batch) for batch in batches) >= 2
    assert max(len(batch) for batch in batches) <= size + 1


def test_labels_follow_any_order_of_rows():
    labels = LabelTensors(torch.arange(6.0).view(3, 2), None, torch.arange(3.0))
    turned = labels[torch.tensor([2, 0, 1])]
    assert turned.targets[:, 0].tolist() == [4, 0, 2]
    assert turned.row_weights.tolist() == [2, 0, 1]


def test_what_counts_as_settled():
    falling = [1 / epoch for epoch in range(1, 41)]
    assert not _has_settled([1.0, 0.5, 0.5, 0.5], 1e-4, 10)
    assert _has_settled([*falling, *[falling[-1]] * 10], 1e-4, 10)
    assert not _has_settled([1.0] * 18 + [0.5, 0.3], 1e-4, 10)
    assert _has_settled([1.0, 0.6] + [0.5] * 18, 1e-4, 10)


def test_gradients_that_a_module_comes_with_do_not_count():
    ends = []
    for stale in (False, True):
        rows, targets, options, state = make()
        if stale:
            state.body(rows).sum().backward()
            state = TrainingState.start(state.body, state.theta, options)
        fit(rows, targets, options, state, max_iter=3)
        ends.append(state.body[-1].weight.detach())
    assert torch.equal(*ends)


@pytest.mark.parametrize("n_rows", [10, 9000])
def test_batches_are_gathered_as_they_are_drawn(n_rows):
    rows = torch.arange(2.0 * n_rows).view(n_rows, 2)
    labels = LabelTensors(rows + 1, rows + 2, rows[:, 0])
    order = torch.randperm(n_rows, generator=torch.Generator().manual_seed(0))
    batches = split_batches(order, 250)
    seen = list(_gathered(rows, labels, batches))
    assert len(seen) == len(batches)
    for (part, told), index in zip(seen, batches, strict=True):
        assert torch.equal(part, rows[index])
        assert torch.equal(told.targets, labels.targets[index])
        assert torch.equal(told.weights, labels.weights[index])
        assert torch.equal(told.row_weights, labels.row_weights[index])
