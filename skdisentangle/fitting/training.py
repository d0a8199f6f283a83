"""The outer loop: batches, stages, choice of the basis, stopping.

What is done on a batch is in :mod:`skdisentangle.fitting.steps`, what is done on all rows in
:mod:`skdisentangle.fitting.all_rows`.

**Stages.** The first sixth of a fit is free of penalties: a component that no task uses
gets no gradient, and a penalty that is there before an encoder has learned to see a
factor switches off the components that would have become it. Then the basis is chosen in
which the heads are sparsest (:mod:`skdisentangle.solvers.basis`), and the penalty asked for
refines the supports; after two thirds all of it settles while the learning rate, a half
cosine over the whole fit, goes to zero. Where no basis can be chosen, plain L1 finds the
components up to a third of the fit. A plateau of the loss ends a stage early. At the very
end heads are solved on all rows, and where outputs are few a basis of uncorrelated
components is tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ..distributed import Part, Shard
from ..rows.batches import (
    Batches,
    BatchesInParts,
    LabelRows,
    LabelTensors,
    Rows,
    gather,
    shuffled_batches,
)
from ..solvers.penalties import output_weights, penalty_weights
from ..solvers.proximal import pad_weights, sum_tensors
from ..solvers.thresholds import move_thresholds
from ..tasks.blocks import Block, block_scores, split_heads, split_labels
from .all_rows import (
    ROWS_PER_COMPONENT,
    change_basis,
    change_basis_of_a_stream,
    check_finite,
    chunk_rows,
    few_labels,
)
from .recording import RecordedSteps
from .regularisation import RowNoise
from .steps import FREE_STEPS, INNER_STEPS, TrainingOptions, TrainingState, step

__all__ = [
    "BASIS_CHANGED",
    "History",
    "Reason",
    "summed_loss",
    "train",
    "train_pass",
    "weights_of_penalty",
]

#: Labels that are gathered for the next few batches at a time.
GATHERED_LABELS = 2**18

#: The loss curve is the mean over every so many batches, which are drawn at random.
LOSS_EVERY = 4

#: Share of a batch in the thresholds of ordinal tasks, each time the loss is taken.
THRESHOLD_PACE = 0.1

#: Where penalties set in; where the one asked for takes over from plain L1 if no basis was
#: chosen; where the fit settles.
STAGES = (1 / 6, 1 / 3, 2 / 3)

#: What is done before each of them, and after the last.
STAGE_NAMES = ("without penalties", "with penalties", "with penalties", "settling")

#: What a history calls a change of the basis.
BASIS_CHANGED = "basis changed"

#: A fit of fewer epochs is never said to have converged.
MIN_EPOCHS_TO_SETTLE = 5

#: When to look for a basis of the components that makes the heads sparser.
BASIS_TIMES = (*STAGES[:2], 1 / 2)

#: A penalty that no loss pays.
NEVER = 1e6

#: ``partial_fit`` does not know how long it will go on: steps until the last stage but
#: one. It stays there.
PARTIAL_FIT_STEPS = 1000


def _pass(
    state: TrainingState,
    rows: Rows,
    labels: LabelRows,
    batches: Batches,
    l1: Tensor,
    options: TrainingOptions,
    noise: RowNoise | None,
    set_rate: Callable[[float], None] | None = None,
    shard: Shard | None = None,
    recorder: RecordedSteps | None = None,
) -> float:
    """Go through the batches once; return the mean loss over tasks and rows."""
    state.body.train()
    total = torch.zeros((), dtype=l1.dtype, device=l1.device)
    n_values = 0
    here, sizes = batches, None
    if shard is not None:
        assert not isinstance(batches, BatchesInParts)  # ranks hold their rows
        here = [shard.here(index) for index in batches]
        sizes = [len(index) for index in batches]
    for number, (held, batch) in enumerate(_gathered(rows, labels, here)):
        if set_rate is not None:
            set_rate(number / len(batches))
        if noise is not None:
            held = noise(held)
        size = len(held) if sizes is None else sizes[number]
        part = None if shard is None else Part(shard.ranks, size)
        state.set_pace()
        if recorder is None:
            codes = step(state, held, batch, l1, options, part)
        else:
            codes = recorder(held, batch, l1)
        if number % LOSS_EVERY == 0:
            total += summed_loss(state, codes, batch, options.blocks)
            if state.thresholds:
                _follow_thresholds(state, codes, batch, options)
            n_values += size * batch.targets.shape[1]
    return float(options.ranks.sum(total)) / n_values


def _recorder(state: TrainingState, options: TrainingOptions) -> RecordedSteps | None:
    """What takes the steps on a GPU, if they may be recorded."""
    if options.recorded and state.theta.is_cuda:
        return RecordedSteps(state, options)
    return None


def summed_loss(
    state: TrainingState, codes: Tensor, labels: LabelTensors, blocks: Sequence[Block]
) -> Tensor:
    """Loss of some rows, summed over them and the tasks."""
    known = split_labels(labels.targets, labels.weights, blocks)
    parts = []
    for block, own, (truth, weight) in zip(
        blocks, split_heads(state.theta, blocks), known, strict=True
    ):
        scores = block_scores(own, codes, block)
        values = block.kind.value(scores, truth, block.n_classes)
        parts.append((values if weight is None else values.mul_(weight)).sum())
    return sum_tensors(parts)


def _follow_thresholds(
    state: TrainingState, codes: Tensor, labels: LabelTensors, options: TrainingOptions
) -> None:
    """Move thresholds some way to where those of a batch are."""
    known = codes, labels.targets, labels.weights
    move_thresholds(
        state.theta,
        lambda: [known],
        options.blocks,
        ranks=options.ranks,
        share=max(THRESHOLD_PACE * state.head_pace, 1 / state.n_steps),
        max_iter=1,
    )


def _gathered(
    rows: Rows, labels: LabelRows, batches: Batches
) -> Iterator[tuple[Tensor, LabelTensors]]:
    """Rows and labels of each batch, gathered for a few batches at a time."""
    n_rows = min(chunk_rows(rows), GATHERED_LABELS // labels.targets.shape[1])
    parts = batches.parts() if isinstance(batches, BatchesInParts) else [batches]
    for part in parts:
        at_once = max(1, n_rows // max(1, *map(len, part)))
        for first in range(0, len(part), at_once):
            some = part[first : first + at_once]
            sizes = [len(index) for index in some]
            index = torch.cat(list(some))
            held = gather(rows, index) if isinstance(rows, Tensor) else rows[index]
            yield from zip(held.split(sizes), labels[index].split(sizes), strict=True)


def _l1(state: TrainingState, options: TrainingOptions, progress: float) -> Tensor:
    """Weights of the L1 penalty at the last heads, at so much of the fit."""
    coef = state.theta[:, :-1]
    free = progress < STAGES[0]
    weights = penalty_weights(
        coef,
        output_weights(options.blocks, coef),
        sparsity=0.0 if free else options.sparsity,
        sharing=0.0 if free else options.sharing,
        reweighted=state.based or progress >= STAGES[1],
        spread=options.spread,
        factor=few_labels(state, options),
    )
    if state.based:
        # Else a task with few labels, of which a batch has one or two, wakes components
        # that have been switched off.
        weights = weights + NEVER * (coef == 0).all(0)
    return pad_weights(weights, options.blocks)


def weights_of_penalty(state: TrainingState, options: TrainingOptions) -> Tensor:
    """Weights of the L1 penalty at the last heads, at the end of a fit."""
    return _l1(state, options, 1.0)


def _enter(state: TrainingState, options: TrainingOptions, progress: float) -> Tensor:
    """Set the steps of the heads for a pass at so much of the fit; weights of its penalty."""
    state.inner_steps = FREE_STEPS if progress < STAGES[0] else INNER_STEPS
    return _l1(state, options, progress)


def train_pass(
    state: TrainingState,
    rows: Rows,
    labels: LabelRows,
    options: TrainingOptions,
    *,
    batch_size: int,
    generator: torch.Generator,
    n_labels: Tensor,
) -> float:
    """One pass over the rows, for ``partial_fit``.

    The rate is constant until components have been chosen and have settled; from there it
    falls with one over the root of the number of steps (Robbins & Monro, "A stochastic
    approximation method", Ann. Math. Statist. 22, 1951), and so does the pace of the heads.

    Parameters
    ----------
    state, rows, labels, options, batch_size, generator
        As in :func:`train`.
    n_labels : Tensor of shape (n_tasks,)
        Labels of each task in these rows.

    Returns
    -------
    float
        Mean loss over tasks and rows.
    """
    state.n_labels = n_labels if state.n_labels is None else state.n_labels + n_labels
    progress = STAGES[1] * state.n_steps / PARTIAL_FIT_STEPS
    first = not state.based
    if progress >= STAGES[0 if first else 1] and not state.settled:
        enough = len(labels) >= ROWS_PER_COMPONENT * (state.theta.shape[1] - 1)
        where = state, rows, labels, options
        if enough:
            change_basis(*where, first=first, n_labels=n_labels)
        else:
            enough = change_basis_of_a_stream(
                *where, first=first, batch_size=batch_size
            )
        state.settled = enough and progress >= STAGES[1]
    l1 = _enter(state, options, progress)
    share = min(1.0, PARTIAL_FIT_STEPS / max(1, state.n_steps)) ** 0.5
    state.head_pace = share
    state.set_learning_rate(options.learning_rate * share)
    batches = shuffled_batches(rows, len(rows), batch_size, generator, state.theta)
    noise = state.noise(rows.shape[1], generator, len(batches))
    return _pass(state, rows, labels, batches, l1, options, noise)


#: Why a fit ends: its epochs are used up, it no longer improves, it was asked to, or Ctrl-C.
Reason = Literal["budget", "plateau", "asked", "interrupted"]


@dataclass
class History:
    """What a fit has been through.

    ``stages`` holds what began, or was done, and the number of epochs before it.
    """

    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    stages: list[tuple[int, str]] = field(default_factory=list)
    converged: bool = True
    reason: Reason = "budget"

    @property
    def interrupted(self) -> bool:
        return self.reason == "interrupted"


def train(
    state: TrainingState,
    rows: Rows,
    labels: LabelRows,
    options: TrainingOptions,
    *,
    batch_size: int,
    max_iter: int,
    tol: float,
    n_iter_no_change: int,
    generator: torch.Generator,
    start: float = 0.0,
    validate: Callable[[TrainingState], float] | None = None,
    on_epoch: Callable[[int, float, float | None], bool] | None = None,
    on_stage: Callable[[str], None] | None = None,
    searches_basis: bool = True,
) -> History:
    """Fit body and heads.

    Parameters
    ----------
    state : TrainingState
        Changed in place.
    rows : Rows
        Standardised inputs.
    labels : LabelTensors
    options : TrainingOptions
    batch_size, max_iter : int
        Rows a batch, and epochs at the most.
    tol : float
        A loss (or validation score) that is not better by this does not count as
        improvement.
    n_iter_no_change : int
        Epochs without improvement that make a plateau.
    generator : torch.Generator
        Source of the order of rows.
    start : float, default=0.0
        Share of the fit that is taken for done, of the epochs, the stages and the fall
        of the learning rate.
    validate : callable, optional
        Score of the state on rows held back, higher is better. With it, a plateau of the
        score, not of the loss, ends a stage; the next begins from the best state, and at
        the end the best state since penalties set in is restored.
    on_epoch : callable, optional
        Called with the number of the epoch (from 1), the loss and the score; ends the
        fit by returning True.
    on_stage : callable, optional
        Called with what is done from there on, in words.
    searches_basis : bool, default=True
        Whether to look for a basis of the components in which heads are sparse.

    Returns
    -------
    History
    """
    history = History()
    progress, best, stale = start, math.inf, 0
    n_epochs = max(1, round((1 - start) * max_iter))
    best_score, kept = -math.inf, None
    shard = options.ranks.shard(len(labels))
    n_rows = len(labels) if shard is None else shard.n_rows
    # Where all rows go into each step their order means nothing, but for the split.
    in_order = batch_size >= n_rows and not options.bilevel
    every_row = torch.arange(n_rows if in_order else 0, device=state.theta.device)
    recorder = _recorder(state, options)
    noise: RowNoise | None = None

    def set_rate(share: float) -> None:
        angle = math.pi * min(1.0, progress + share / max_iter)
        rate = options.learning_rate * (1 + math.cos(angle)) / 2
        state.set_learning_rate(rate)

    def tell(what: str) -> None:
        if on_stage is not None:
            on_stage(what)

    def tell_stage() -> None:
        number = sum(stage <= progress for stage in STAGES)
        name = STAGE_NAMES[number] if options.penalised else STAGE_NAMES[0]
        if all(name != told for _, told in history.stages):
            history.stages.append((len(history.losses), name))
        tell(name)

    try:
        tell_stage()
        for epoch in range(1, n_epochs + 1):
            batches: Batches = [every_row]
            if not in_order:
                batches = shuffled_batches(
                    rows, n_rows, batch_size, generator, state.theta
                )
            noise = state.noise(rows.shape[1], generator, len(batches), noise)
            l1 = _enter(state, options, progress)
            loss = _pass(
                state,
                rows,
                labels,
                batches,
                l1,
                options,
                noise,
                set_rate,
                shard,
                recorder,
            )
            check_finite(state.theta, loss)
            history.losses.append(loss)
            score = None if validate is None else validate(state)
            if score is not None:
                history.scores.append(score)
                stale = 0 if score > best_score + tol else stale + 1
                if score > best_score or kept is None:
                    best_score, kept = score, state.snapshot()
            else:
                stale = 0 if loss < best - tol else stale + 1
                best = min(best, loss)
            if on_epoch is not None and on_epoch(epoch, loss, score):
                history.reason = "asked"
                break
            before = progress
            progress += 1 / max_iter
            if stale >= n_iter_no_change:
                ahead = [stage for stage in STAGES if stage > progress]
                if not ahead:
                    history.reason = "plateau"
                    break
                progress, stale, best = ahead[0], 0, math.inf
            if kept is not None and any(before < stage <= progress for stage in STAGES):
                # What a stage has made worse, the next does not begin with.
                state.restore(kept)
                stale = 0
            if before < STAGES[0] <= progress:
                # From here on heads are sparse, and their score is another.
                best_score, kept = -math.inf, None
            for time in BASIS_TIMES if searches_basis else ():
                if before < time <= progress:
                    first = time == BASIS_TIMES[0]
                    tell("searching for a basis")
                    changed = change_basis(
                        *(state, rows, labels, options),
                        first=first,
                        n_labels=state.n_labels,
                    )
                    if changed:
                        history.stages.append((epoch, BASIS_CHANGED))
            if any(before < time <= progress for time in (*STAGES, *BASIS_TIMES)):
                tell_stage()
        else:
            history.converged = _has_settled(history.losses, tol, n_iter_no_change)
    except KeyboardInterrupt:
        if shard is not None:
            raise  # the others go on, and cannot finish without this one
        history.reason = "interrupted"
    if kept is not None:
        state.restore(kept)
    state.body.eval()
    return history


def _has_settled(losses: Sequence[float], tol: float, n_iter_no_change: int) -> bool:
    """Whether the last tenth of the epochs improved no more than a little.

    The learning rate has gone to zero by then, and some improvement comes of that
    alone: a hundred times ``tol``, relative to the first loss, is let pass.
    """
    if len(losses) < MIN_EPOCHS_TO_SETTLE:
        return False
    window = min(n_iter_no_change, max(1, len(losses) // 10))
    before = min(losses[:-window])
    return before - min(losses[-window:]) <= 100 * tol * abs(losses[0])
