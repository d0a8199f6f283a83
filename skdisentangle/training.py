"""The outer loop: batches, stages, choice of the basis, stopping.

What is done on a batch is in :mod:`skdisentangle.steps`.

**Stages.** The first sixth of a fit is free of penalties: a component that no task uses
gets no gradient, and a penalty that is there before an encoder has learned to see a
factor switches off the components that would have become it. Then the basis is chosen in
which the heads are sparsest (:mod:`skdisentangle.basis`), and the penalty asked for
refines the supports; after two thirds all of it settles while the learning rate, a half
cosine over the whole fit, goes to zero. Where no basis can be chosen, plain L1 finds the
components up to a third of the fit. A plateau of the loss ends a stage early. At the very
end heads are solved on all rows, and where outputs are few a basis of uncorrelated
components is tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .basis import (
    Basis,
    change_outputs,
    has_few_outputs,
    settled_basis,
    simplest_basis,
    uncorrelated_basis,
)
from .distributed import Part, Ranks, Shard
from .encoders import last_linear
from .losses import (
    LOSSES,
    block_scores,
    split_heads,
    split_labels,
    task_scores,
    tasks_to_outputs,
)
from .noise import MAX_ROWS, InputNoise, choose_input_noise
from .penalties import few_labels_factor, output_weights, penalty_weights
from .recording import RecordedSteps
from .rows import (
    Batches,
    BatchesInParts,
    LabelRows,
    LabelTensors,
    Rows,
    RowsInBlocks,
    gather,
    shuffled_batches,
)
from .solvers import (
    augment,
    pad_weights,
    solve_penalized_heads,
    standard_errors,
    sum_tensors,
)
from .steps import EPS, TrainingOptions, TrainingState, step

__all__ = [
    "History",
    "change_basis",
    "finish",
    "score_state",
    "threads",
    "train",
    "train_pass",
]

#: Rows that go through the body at a time when the whole of X is looked at.
CHUNK_ROWS = 4096

#: Labels that are gathered for the next few batches at a time.
GATHERED_LABELS = 2**18
#: And values of standardised rows, at the most, where they are not in memory.
CHUNK_VALUES = 2**25

#: Labels that are counted at a time.
LABELS_AT_ONCE = 2**21

#: Values of raw components in the statistics at the end of a fit.
PART_VALUES = 2**19

#: The loss curve is the mean over every so many batches, which are drawn at random.
LOSS_EVERY = 4

#: Where penalties set in; where the one asked for takes over from plain L1 if no basis was
#: chosen; where the fit settles.
STAGES = (1 / 6, 1 / 3, 2 / 3)

#: A fit of fewer epochs is never said to have converged.
MIN_EPOCHS_TO_SETTLE = 5

#: When to look for a basis of the components that makes the heads sparser.
BASIS_TIMES = (*STAGES[:2], 1 / 2)

#: Rows that the correlations of the components are estimated from, at the most; and in
#: ``partial_fit``, for each component, at the least.
BASIS_ROWS, ROWS_PER_COMPONENT = 8192, 10

#: A penalty that no loss pays.
NEVER = 1e6

#: ``partial_fit`` does not know how long it will go on: steps until the last stage but
#: one. It stays there.
PARTIAL_FIT_STEPS = 1000


@contextmanager
def threads(n_threads: int) -> Iterator[None]:
    """Let torch use so many threads for a while, then put the setting back."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(n_threads)
        yield
    finally:
        torch.set_num_threads(before)


def _pass(
    state: TrainingState,
    rows: Rows,
    labels: LabelRows,
    batches: Batches,
    l1: Tensor,
    options: TrainingOptions,
    generator: torch.Generator,
    set_rate: Callable[[float], None] | None = None,
    shard: Shard | None = None,
    recorder: RecordedSteps | None = None,
) -> float:
    """Go through the batches once; return the mean loss over tasks and rows."""
    state.body.train()
    total = torch.zeros((), dtype=l1.dtype, device=l1.device)
    n_rows = 0
    here, sizes = batches, None
    if shard is not None:
        assert not isinstance(batches, BatchesInParts)  # ranks hold their rows
        here = [shard.here(index) for index in batches]
        sizes = [len(index) for index in batches]
    noise = None
    if state.input_noise > 0:
        noise = InputNoise(state.input_noise, rows.shape[1], generator, l1)
    for number, (held, batch) in enumerate(_gathered(rows, labels, here)):
        if set_rate is not None:
            set_rate(number / len(batches))
        if noise is not None:
            held = noise(held)
        size = len(held) if sizes is None else sizes[number]
        part = None if shard is None else Part(shard.ranks, size)
        state.set_pace()
        if recorder is None:
            codes = step(state, held, batch, l1, options, generator, part)
        else:
            codes = recorder(held, batch, l1)
        if number % LOSS_EVERY == 0:
            total += _loss(state, codes, batch, options, size) * size
            n_rows += size
    return float(options.ranks.sum(total)) / n_rows


def _recorder(
    state: TrainingState, options: TrainingOptions, generator: torch.Generator
) -> RecordedSteps | None:
    """What takes the steps on a GPU, if they may be recorded."""
    if options.recorded and state.theta.is_cuda:
        return RecordedSteps(state, options, generator)
    return None


def _few_labels(state: TrainingState, options: TrainingOptions) -> Tensor | None:
    """By how much more each output is penalised because its task has few labels."""
    if state.n_labels is None:
        return None
    return tasks_to_outputs(few_labels_factor(state.n_labels), options.blocks)


def _loss(
    state: TrainingState,
    codes: Tensor,
    labels: LabelTensors,
    options: TrainingOptions,
    n_rows: int,
) -> Tensor:
    """Loss of some rows in the mean over the rows of a batch and tasks."""
    blocks, targets = options.blocks, labels.targets
    known = split_labels(targets, labels.weights, blocks)
    total = codes.new_zeros(())
    for block, own, (truth, weight) in zip(
        blocks, split_heads(state.theta, blocks), known, strict=True
    ):
        scores = block_scores(own, codes, block)
        values = LOSSES[block.type].value(scores, truth, block.n_classes)
        total += (values if weight is None else values.mul_(weight)).sum()
    return total / (n_rows * targets.shape[1])


def _gathered(
    rows: Rows, labels: LabelRows, batches: Batches
) -> Iterator[tuple[Tensor, LabelTensors]]:
    """Rows and labels of each batch, gathered for a few batches at a time."""
    n_rows = min(_chunk_rows(rows), GATHERED_LABELS // labels.targets.shape[1])
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
        reweighted=options.reweighted and (state.based or progress >= STAGES[1]),
        spread=options.spread,
        factor=_few_labels(state, options),
    )
    if state.based:
        # Else a task with few labels, of which a batch has one or two, wakes components
        # that have been switched off.
        weights = weights + NEVER * (coef == 0).all(0)
    return pad_weights(weights, options.blocks)


def train_pass(
    state: TrainingState,
    rows: Rows,
    labels: LabelRows,
    options: TrainingOptions,
    *,
    batch_size: int,
    generator: torch.Generator,
) -> float:
    """One pass over the rows at a constant rate, for ``partial_fit``.

    Returns
    -------
    float
        Mean loss over tasks and rows.
    """
    progress = STAGES[1] * state.n_steps / PARTIAL_FIT_STEPS
    state.input_noise = options.input_noise or 0.0
    seen = _count_labels(rows, labels, options.ranks)
    state.n_labels = seen if state.n_labels is None else state.n_labels + seen
    enough = len(labels) >= ROWS_PER_COMPONENT * (state.theta.shape[1] - 1)
    if progress >= STAGES[0] and enough and not state.based:
        change_basis(state, rows, labels, options, first=True)
    l1 = _l1(state, options, progress)
    batches = shuffled_batches(rows, len(rows), batch_size, generator, state.theta)
    return _pass(state, rows, labels, batches, l1, options, generator)


def _sample(labels: LabelRows, ranks: Ranks, most: int = BASIS_ROWS) -> Tensor:
    """Of some rows, evenly spaced, that stand for those of all ranks, those here."""
    shard = ranks.shard(len(labels))
    n_rows = len(labels) if shard is None else shard.n_rows
    step = math.ceil(n_rows / most)
    some = torch.arange(0, n_rows, step, device=labels.targets.device)
    return some if shard is None else shard.here(some)


def _count_labels(rows: Rows, labels: LabelRows, ranks: Ranks) -> Tensor:
    """Labels of each task; those of equal rows count once, like one of a larger weight."""
    return _count_different(rows, labels, ranks)[1:]


def _count_different(
    rows: Rows, labels: LabelRows, ranks: Ranks, most: int = BASIS_ROWS
) -> Tensor:
    """Different rows, then those among them with a label of each task.

    Those of all ranks are counted. Rows are taken for equal if one random projection of
    theirs is. Of more than ``most`` rows, a sample is counted, and stands for all.
    """
    some = _sample(labels, ranks, most)
    parts = []
    for index in some.split(max(1, _chunk_rows(rows) // 4)):
        held = rows[index]
        generator = torch.Generator().manual_seed(0)
        axis = torch.randn(held.shape[1], generator=generator, dtype=torch.float64)
        parts.append((held.double() * axis.to(held.device)).sum(1))
    projected = ranks.rows(torch.cat(parts))
    decimals = (projected / projected.abs().max().clamp_min(EPS)).round(decimals=9)
    groups, group = decimals.unique(return_inverse=True)
    n_rows, n_tasks = len(projected), labels.targets.shape[1]
    if labels.weights is None:
        count = projected.new_full((1 + n_tasks,), len(groups))
    else:
        known = ranks.rows(labels.weights[some])
        counts = [projected.new_full((1,), len(groups))]
        for part in known.split(max(1, LABELS_AT_ONCE // n_rows), dim=1):
            there = (part != 0).to(part)
            seen = part.new_zeros(len(groups), part.shape[1])
            counts.append((seen.index_add_(0, group, there) > 0).sum(0))
        count = torch.cat([part.to(projected) for part in counts])
    count = count.clamp_min_(1).to(held.dtype)
    return count * ranks.count(len(labels)) / n_rows


def _set_noise(
    state: TrainingState,
    rows: Rows,
    labels: LabelRows,
    options: TrainingOptions,
    counts: Tensor,
) -> None:
    """Choose the noise on the rows, where it is not given."""
    if options.input_noise is not None:
        state.input_noise = options.input_noise
        return
    ranks = options.ranks
    # Of wide rows fewer: they are made dense, and held together.
    most = min(MAX_ROWS, max(16, CHUNK_VALUES // max(1, rows.shape[1])))
    some = _sample(labels, ranks, most)
    known = labels[some].of_all(ranks)
    sampled = len(known) / ranks.count(len(labels))
    # Counted in this sample: where rows are repeated, a smaller one has more different
    # rows than its share.
    n_labels = _count_different(rows, labels, ranks, most)[1:] * sampled
    held = ranks.rows(rows[some])
    state.input_noise = ranks.first(
        lambda: choose_input_noise(
            held, known, options.blocks, n_rows=float(counts[0]), n_labels=n_labels
        )
    )


def change_basis(
    state: TrainingState,
    rows: Rows,
    labels: LabelRows,
    options: TrainingOptions,
    *,
    first: bool,
) -> bool:
    """Change the components to a basis in which the heads are sparser, if there is one.

    Only where the body ends in a linear layer, in which the change can be made.

    Parameters
    ----------
    state : TrainingState
        Changed in place.
    rows, labels, options
        As in :func:`train`.
    first : bool
        Whether this is the choice among all bases, at the end of the time without
        penalties, in which components that no task needs are switched off for good;
        else pairs of the components in use are looked at once more.

    Returns
    -------
    bool
        Whether the basis was changed.
    """
    layer = last_linear(state.body)
    if layer is None or (options.sparsity == 0 and options.sharing == 0):
        return False
    ranks = options.ranks
    some = _sample(labels, ranks)
    # From here on each rank has the sample of all.
    raw = ranks.rows(_raw_components(state.body, rows, some)).double()
    _check_finite(raw)
    known = labels[some].of_all(ranks)
    share = known.row_weights
    share = raw.new_ones(len(raw)) if share is None else share.double()
    share = share / share.sum()
    mean = share @ raw
    centred = raw - mean
    std = (share @ centred.square() + EPS).sqrt()
    codes = centred / std
    correlation = (codes.T * share) @ codes
    if first or options.bilevel is not None:
        # The heads of the last batches, or of one small support, are ten times noisier.
        codes = codes.to(state.theta)
        _solve_all(state, codes, known, options, penalised=not first)
    coef = state.theta[:, :-1]
    if first:
        n_labels = _count_labels(rows, labels, ranks)
        errors = standard_errors(
            augment(codes) @ state.theta.T,
            known.targets,
            known.weights,
            options.blocks,
            n_labels * len(known) / ranks.count(len(labels)),
            coef.shape[1],
        )

    def choose() -> Basis | None:
        if not first:
            return settled_basis(coef.cpu(), correlation)
        weights = output_weights(options.blocks, coef)
        return simplest_basis(coef.cpu(), correlation, weights, options.spread, errors)

    basis = ranks.first(choose)
    if basis is None:
        return False
    transform, new = basis.transform.to(coef), basis.coef.to(coef)
    change_outputs(layer, state.optimizer, mean.to(coef), std.to(coef), transform)
    state.theta[:, :-1] = new
    state.mean.zero_()
    state.var.fill_(1.0)
    state.based = True
    return True


@dataclass
class History:
    """What a fit has been through."""

    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    converged: bool = True
    interrupted: bool = False


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
        Score of the state on rows held back, higher is better. With it, a plateau of
        the score, in the last stage, ends the fit, and the best state is restored.
    on_epoch : callable, optional
        Called with the number of the epoch (from 1), the loss and the score; ends the
        fit by returning True.

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
    in_order = batch_size >= n_rows and options.bilevel is None
    every_row = torch.arange(n_rows if in_order else 0, device=state.theta.device)
    counts = _count_different(rows, labels, options.ranks)
    state.n_labels = counts[1:]
    _set_noise(state, rows, labels, options, counts)

    recorder = _recorder(state, options, generator)

    def set_rate(share: float) -> None:
        angle = math.pi * min(1.0, progress + share / max_iter)
        rate = options.learning_rate * (1 + math.cos(angle)) / 2
        state.set_learning_rate(rate)

    try:
        for epoch in range(1, n_epochs + 1):
            batches: Batches = [every_row]
            if not in_order:
                batches = shuffled_batches(
                    rows, n_rows, batch_size, generator, state.theta
                )
            l1 = _l1(state, options, progress)
            loss = _pass(
                state,
                rows,
                labels,
                batches,
                l1,
                options,
                generator,
                set_rate,
                shard,
                recorder,
            )
            _check_finite(state.theta, loss)
            history.losses.append(loss)
            score = None if validate is None else validate(state)
            if score is not None:
                history.scores.append(score)
                # Supports are final only in the last stage: the best state is one of it.
                if progress >= STAGES[-1] or epoch == n_epochs:
                    stale = 0 if score > best_score + tol else stale + 1
                    if score > best_score or kept is None:
                        best_score, kept = score, _snapshot(state)
            if score is None or progress < STAGES[-1]:
                stale = 0 if loss < best - tol else stale + 1
                best = min(best, loss)
            if on_epoch is not None and on_epoch(epoch, loss, score):
                break
            before = progress
            progress += 1 / max_iter
            if stale >= n_iter_no_change:
                ahead = [stage for stage in STAGES if stage > progress]
                if not ahead:
                    break
                progress, stale, best = ahead[0], 0, math.inf
            for time in BASIS_TIMES:
                if before < time <= progress:
                    first = time == BASIS_TIMES[0]
                    change_basis(state, rows, labels, options, first=first)
        else:
            history.converged = _has_settled(history.losses, tol, n_iter_no_change)
    except KeyboardInterrupt:
        if shard is not None:
            raise  # the others go on, and cannot finish without this one
        history.interrupted = True
    if kept is not None:
        _restore(state, kept)
    state.body.eval()
    return history


def _check_finite(*values: Tensor | float) -> None:
    """Raise ValueError if what a fit works with has left the range of numbers."""
    if not all(torch.as_tensor(value).isfinite().all() for value in values):
        raise ValueError(
            "The fit diverged, its numbers are not finite any more. Lower "
            "learning_rate_init or input_noise; if the encoder is a module, or "
            "scale_inputs is off, bring the columns of X to about the same scale."
        )


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


_Snapshot = tuple[dict[str, Tensor], Tensor, Tensor, Tensor]


def _snapshot(state: TrainingState) -> _Snapshot:
    weights = {k: v.detach().clone() for k, v in state.body.state_dict().items()}
    return weights, state.theta.clone(), state.mean.clone(), state.var.clone()


def _restore(state: TrainingState, kept: _Snapshot) -> None:
    state.body.load_state_dict(kept[0])
    state.theta, state.mean, state.var = kept[1:]


def _raw_components(body: nn.Module, rows: Rows, which: Tensor | None = None) -> Tensor:
    """Raw components of all rows, or of those given, in evaluation mode."""
    body.eval()
    which = torch.arange(len(rows)) if which is None else which
    out: Tensor | None = None
    start = 0
    with torch.no_grad():
        for index in which.split(_chunk_rows(rows)):
            part = body(rows[index])
            if out is None:
                out = part.new_empty(len(which), part.shape[1])
            out[start : start + len(part)] = part
            start += len(part)
    assert out is not None
    return out


def _chunk_rows(rows: Rows | RowsInBlocks) -> int:
    """Rows to look at together."""
    if isinstance(rows, RowsInBlocks):
        return rows.chunk_rows
    return min(CHUNK_ROWS, max(16, CHUNK_VALUES // max(1, rows.shape[1])))


def score_state(
    state: TrainingState, rows: Rows, labels: LabelRows, options: TrainingOptions
) -> float:
    """Mean over tasks of R2 or accuracy, with the running statistics."""
    raw = _raw_components(state.body, rows)
    codes = augment((raw - state.mean) * (state.var + EPS).rsqrt())
    known = labels[:]
    scores = task_scores(
        codes @ state.theta.T,
        known.targets,
        known.weights,
        options.blocks,
        options.ranks,
    )
    return float(scores.nanmean())


def finish(
    state: TrainingState, rows: Rows, labels: LabelRows, options: TrainingOptions
) -> None:
    """Replace running statistics and moving heads by those of all rows.

    Afterwards the components have mean zero and variance one over the rows, and the
    heads are optimal for them. No head is on a component that does not vary. Where outputs
    are few for the components in use, these are made uncorrelated if that leaves the heads
    about as sparse.

    Parameters
    ----------
    state : TrainingState
        Changed in place.
    rows, labels, options
        As in :func:`train`.
    """
    codes = _exact_heads(state, rows, labels, options)
    coef = state.theta[:, :-1]

    def is_worth_it() -> bool:
        return has_few_outputs(int(coef.any(1).sum()), int(coef.any(0).sum()))

    if options.ranks.first(is_worth_it):
        _try_uncorrelated(state, codes, rows, labels, options)
    state.copy_first(options.ranks)


def _exact_heads(
    state: TrainingState, rows: Rows, labels: LabelRows, options: TrainingOptions
) -> Tensor:
    """Set statistics and heads to those of all rows; return the standardised components."""
    ranks = options.ranks
    raw = _raw_components(state.body, rows)
    share = labels.row_weights
    share = raw.new_ones(len(raw)) if share is None else share
    share = (share / ranks.sum(share.sum())).double()
    # In parts, and in place: all rows in double precision would be more than the rest.
    size = max(1, PART_VALUES // raw.shape[1])
    parts = list(zip(share.split(size), raw.split(size), strict=True))
    mean = ranks.sum(sum_tensors(weight @ part.double() for weight, part in parts))
    var = sum_tensors(
        weight @ (part.double() - mean).square() for weight, part in parts
    )
    state.mean, state.var = mean.to(raw), ranks.sum(var).to(raw)
    _check_finite(state.var)
    codes = raw.sub_(state.mean).mul_((state.var + EPS).rsqrt())
    # Nothing moves the coefficients of what does not vary but for rounding: they would stay.
    eps = max(torch.finfo(raw.dtype).eps, 1e-12)
    least = (eps * mean).square() + torch.finfo(torch.float32).tiny
    varies = (state.var > least).to(raw)
    codes.mul_(varies)
    coef, intercept = state.theta[:, :-1], state.theta[:, -1:]
    state.theta = torch.cat([coef * varies, intercept], dim=1)
    part = _part(labels, ranks)
    _solve_all(state, codes, labels, options, penalised=True, part=part)
    _check_finite(state.theta)
    return codes


def _part(labels: LabelRows, ranks: Ranks) -> Part | None:
    """Of which rows those here are a part; None if they are all."""
    shard = ranks.shard(len(labels))
    return None if shard is None else Part(ranks, shard.n_rows)


def _try_uncorrelated(
    state: TrainingState,
    codes: Tensor,
    rows: Rows,
    labels: LabelRows,
    options: TrainingOptions,
) -> None:
    """Change to a basis of uncorrelated components, if exact heads are as sparse in it.

    They may have no more nonzeros in excess than there are components: the choice of the
    basis is by heads without penalties, whose errors can make any basis look as good as
    another. ``codes`` are standardised, and the heads exact for them.
    """
    layer = last_linear(state.body)
    if layer is None or (options.sparsity == 0 and options.sharing == 0):
        return
    ranks, kept = options.ranks, _snapshot(state)
    used = state.theta[:, :-1] != 0
    correlation = _correlation(codes, labels, ranks)
    codes.mul_(used.any(0))
    part = _part(labels, ranks)
    _solve_all(state, codes, labels, options, penalised=False, part=part)
    coef = state.theta[:, :-1] * used.any(1, keepdim=True)
    basis = ranks.first(lambda: uncorrelated_basis(coef.cpu(), correlation))
    _restore(state, kept)
    if basis is None:
        return
    std = (state.var + EPS).sqrt()
    change_outputs(layer, state.optimizer, state.mean, std, basis.transform.to(coef))
    # From the heads with penalties: without, those of classes that can be told apart are
    # large, and would stay so.
    back = torch.linalg.inv(basis.transform.double()).T.to(coef)
    coef, intercept = state.theta[:, :-1], state.theta[:, -1:]
    state.theta = torch.cat([coef @ back, intercept], dim=1)
    _exact_heads(state, rows, labels, options)

    def is_as_sparse() -> bool:
        excess = int((state.theta[:, :-1] != 0).sum()) - int(used.sum())
        return excess <= int(used.any(0).sum())

    if not ranks.first(is_as_sparse):
        _restore(state, kept)


def _correlation(codes: Tensor, labels: LabelRows, ranks: Ranks) -> Tensor:
    """Correlation of standardised components over all rows, on the CPU."""
    weights = labels.row_weights
    total = len(codes) if weights is None else weights.sum()
    rows = codes.T if weights is None else codes.T * weights
    count = ranks.sum(codes.new_full((), float(total)))
    return (ranks.sum(rows @ codes) / count).double().cpu()


def _solve_all(
    state: TrainingState,
    codes: Tensor,
    labels: LabelRows,
    options: TrainingOptions,
    *,
    penalised: bool,
    part: Part | None = None,
) -> None:
    """Solve for the heads on the codes of all rows, from the heads there are."""
    coef = state.theta[:, :-1]
    solution = solve_penalized_heads(
        codes,
        labels.targets,
        labels.weights,
        options.blocks,
        output_weights(options.blocks, coef),
        sparsity=options.sparsity if penalised else 0.0,
        sharing=options.sharing if penalised else 0.0,
        reweighted=options.reweighted and penalised,
        coef=coef,
        intercept=state.theta[:, -1],
        row_weights=labels.row_weights,
        part=part,
        spread=options.spread,
        factor=_few_labels(state, options),
    )
    state.theta[:, :-1] = solution.coef
    state.theta[:, -1] = solution.intercept
