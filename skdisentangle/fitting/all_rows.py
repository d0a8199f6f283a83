"""What a fit does on all rows, or a sample of them, between and after the steps.

Labels are counted, the noise on the rows is chosen, a basis of the components is chosen,
and at the end heads are solved and statistics taken on all rows. When each is done is
said in :mod:`skdisentangle.fitting.training`, how a basis is found in
:mod:`skdisentangle.solvers.basis`.
"""

from __future__ import annotations

import copy
import math
from functools import partial

import torch
from torch import Tensor, nn

from ..distributed import Part, Ranks
from ..encoders.scalers import last_linear
from ..rows.batches import LabelRows, LabelTensors, Rows, RowsInBlocks
from ..solvers.basis import (
    Basis,
    change_outputs,
    function_of_others,
    has_few_outputs,
    settled_basis,
    simplest_basis,
    uncorrelated_basis,
)
from ..solvers.exact_heads import pulls_at_zeros, solve_penalized_heads
from ..solvers.penalties import (
    by_usage,
    few_labels_factor,
    output_weights,
    ridge_weights,
)
from ..solvers.proximal import augment, standard_errors, sum_tensors
from ..tasks.blocks import loss_values, residual, task_scores, tasks_to_outputs
from .regularisation import MAX_ROWS, NoisyRows, choose_input_noise
from .steps import EPS, TrainingOptions, TrainingState, squared_errors

__all__ = [
    "ROWS_PER_COMPONENT",
    "change_basis",
    "change_basis_of_a_stream",
    "check_finite",
    "chunk_rows",
    "choose_noise",
    "few_labels",
    "finish",
    "intercepts_alone",
    "raw_components",
    "score_state",
    "sample_rows",
    "share_of_labels",
]

#: Rows that go through the body at a time when the whole of X is looked at.
CHUNK_ROWS = 4096

#: And values of standardised rows, at the most, where they are not in memory.
CHUNK_VALUES = 2**25

#: Rows that a basis is chosen on, at the most, and labels that each task has among them at
#: the least, if it has so many.
BASIS_ROWS, LEAST_LABELS = 8192, 100

#: Rows for each component that a stream chooses a basis on, at the least.
ROWS_PER_COMPONENT = 10

#: By how much the loss of a task with classes, and of any other, may rise when a component
#: that is a function of others is left out. (Squares that sharpen classes raised it by 0.1
#: at the most; of a regression 0.05 are a tenth of its variance. Half and twice of either
#: left fits of three classes as they were.)
CLASSES_LOSE, OTHERS_LOSE = 0.2, 0.05

#: By what share of that it may rise when components are fewer once functions are gone. (It was
#: seen to rise by a twentieth to a sixth where none was a factor, by a third where one was.)
COUNT_SHARE = 0.2

#: Rows with noise that heads are solved on at the end of a fit, at the least.
NOISY_ROWS = 1024

#: Rounds in which the penalty follows the heads at the end of a fit. One, at the weights that
#: the steps ended with, where heads only say what a short fit is worth.
HEAD_ROUNDS = 3

#: Rows with noise are put together from parts, and take so many times the memory.
NOISY_PARTS = 8

#: Values of raw components in the statistics at the end of a fit.
PART_VALUES = 2**19


def few_labels(state: TrainingState, options: TrainingOptions) -> Tensor | None:
    """By how much more each output is penalised because its task has few labels."""
    if state.n_labels is None:
        return None
    return tasks_to_outputs(few_labels_factor(state.n_labels), options.blocks)


def check_finite(*values: Tensor | float) -> None:
    """Raise ValueError if what a fit works with has left the range of numbers."""
    if not all(torch.as_tensor(value).isfinite().all() for value in values):
        raise ValueError(
            "The fit diverged: its numbers are no longer finite. Lower "
            "learning_rate_init or input_noise. If the encoder is a module, or "
            "scale_inputs is off, bring the columns of X to similar scales."
        )


def chunk_rows(rows: Rows | RowsInBlocks) -> int:
    """Rows to look at together."""
    if isinstance(rows, RowsInBlocks):
        return rows.chunk_rows
    most = CHUNK_VALUES
    if isinstance(rows, NoisyRows):
        most //= NOISY_PARTS
    return min(CHUNK_ROWS, max(16, most // max(1, rows.shape[1])))


def raw_components(
    body: nn.Module,
    rows: Rows,
    which: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Raw components of all rows, or of those given, in evaluation mode."""
    body.eval()
    which = torch.arange(len(rows)) if which is None else which
    start = 0
    with torch.no_grad():
        for index in which.split(chunk_rows(rows)):
            part = body(rows[index])
            if out is None:
                out = part.new_empty(len(which), part.shape[1])
            out[start : start + len(part)] = part
            start += len(part)
    assert out is not None
    return out


def sample_rows(labels: LabelRows, ranks: Ranks, most: int = BASIS_ROWS) -> Tensor:
    """Random rows that stand for those of all ranks, those here, in order.

    So many at the most, and besides some labelled ones of each task that has few labels
    among them: a task is known by what labels it has.
    """
    shard = ranks.shard(len(labels))
    n_rows = len(labels) if shard is None else shard.n_rows
    device = labels.targets.device
    if n_rows <= most:
        return torch.arange(len(labels), device=device)
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(n_rows, generator=generator)[:most].sort().values
    some = chosen if shard is None else shard.here(chosen)
    some = some.to(device)
    weights = labels.weights
    if weights is None:
        return some
    there = ranks.sum((weights[some] > 0).sum(0))
    few = torch.nonzero(there < LEAST_LABELS).squeeze(1)
    if not len(few):
        return some
    # More of one task than there are rows to spare would be no sample.
    each = max(1, min(LEAST_LABELS, most // len(few)))
    taken, more = torch.zeros(len(few), device=device), [some]
    order = torch.randperm(len(labels), generator=generator).to(device)
    for index in order.split(CHUNK_ROWS):
        known = weights[index][:, few] > 0
        known &= taken + known.cumsum(0) <= each
        more.append(index[known.any(1)])
        taken += known.sum(0)
        if (taken >= each).all():
            break
    found: Tensor = torch.cat(more).unique()
    return found


def share_of_labels(known: LabelTensors, labels: LabelRows, ranks: Ranks) -> Tensor:
    """Share of the labels of each task, by weight, that some rows of all ranks hold."""
    n_rows = ranks.count(len(labels))
    if known.weights is None:
        return known.targets.new_full((known.targets.shape[1],), len(known) / n_rows)
    return known.weights.sum(0) / n_rows


def choose_noise(
    rows: Rows,
    labels: LabelRows,
    options: TrainingOptions,
    n_rows: float,
    n_labels: Tensor,
) -> float:
    """Noise on the rows, of which there are so many, with so many labels of each task."""
    ranks = options.ranks
    # Of wide rows fewer: they are made dense, and held together.
    most = min(MAX_ROWS, max(16, CHUNK_VALUES // max(1, rows.shape[1])))
    some = sample_rows(labels, ranks, most)
    known = labels[some].of_all(ranks)
    held = ranks.rows(rows[some])
    sampled = n_labels * share_of_labels(known, labels, ranks)
    return ranks.first(
        lambda: choose_input_noise(
            held, known, options.blocks, n_rows=n_rows, n_labels=sampled
        )
    )


def change_basis(
    state: TrainingState,
    rows: Rows,
    labels: LabelRows,
    options: TrainingOptions,
    *,
    first: bool,
    n_labels: Tensor | None = None,
) -> bool:
    """Change the components to a basis in which the heads are sparser, if there is one.

    Only where the body ends in a linear layer, in which the change can be made.

    Parameters
    ----------
    state : TrainingState
        Changed in place.
    rows, labels, options
        As in :func:`skdisentangle.fitting.training.train`.
    first : bool
        Whether this is the choice among all bases, at the end of the time without
        penalties, in which components that no task needs are switched off for good;
        else pairs of the components in use are looked at once more.
    n_labels : Tensor of shape (n_tasks,), optional
        Labels of each task in these rows, for the first choice.

    Returns
    -------
    bool
        Whether the basis was changed.
    """
    layer = last_linear(state.body)
    if layer is None or not options.penalised:
        return False
    ranks = options.ranks
    some = sample_rows(labels, ranks)
    # From here on each rank has the sample of all.
    raw = ranks.rows(raw_components(state.body, rows, some)).double()
    check_finite(raw)
    known = labels[some].of_all(ranks)
    share = known.row_weights
    share = raw.new_ones(len(raw)) if share is None else share.double()
    share = share / share.sum()
    mean = share @ raw
    centred = raw - mean
    std = (share @ centred.square() + EPS).sqrt()
    codes = centred / std
    correlation = (codes.T * share) @ codes
    if first or options.bilevel:
        # The heads of the last batches, or of one small support, are ten times noisier.
        codes = codes.to(state.theta)
        _solve_all(state, codes, known, options, penalised=not first)
    if not first:
        coef = state.theta[:, :-1].cpu()
        basis = ranks.first(lambda: settled_basis(coef, correlation))
    else:
        counts = share_of_labels(known, labels, ranks)
        counts *= ranks.count(len(labels)) if n_labels is None else n_labels
        basis = _simplest_basis(state, codes, known, correlation, counts, options)
        if basis is not None and any(b.kind.has_classes for b in options.blocks):
            basis = _without_functions(
                state, basis, codes, share, known, counts, options
            )
        if basis is not None:
            basis = _at_most(basis, options)
    return _take_basis(state, layer, mean, std, basis)


def change_basis_of_a_stream(
    state: TrainingState,
    rows: Rows,
    labels: LabelRows,
    options: TrainingOptions,
    *,
    first: bool,
    batch_size: int,
) -> bool:
    """The same where each pass brings few rows; returns whether there were enough.

    Moments of the components are summed over passes until rows are enough; heads are those
    of the last batches.
    """
    layer = last_linear(state.body)
    if layer is None or not options.penalised:
        return True
    raw = raw_components(state.body, rows).double()
    check_finite(raw)
    held = augment(raw)
    sums = held.T @ held
    state.moments = sums if state.moments is None else state.moments + sums
    n_seen, n_components = float(state.moments[-1, -1]), raw.shape[1]
    if n_seen < ROWS_PER_COMPONENT * n_components:
        return False
    moments, state.moments = state.moments / n_seen, None
    mean = moments[-1, :-1]
    covariance = moments[:-1, :-1] - torch.outer(mean, mean)
    std = (covariance.diagonal().clamp_min(0) + EPS).sqrt()
    correlation = covariance / torch.outer(std, std)
    if first:
        codes = ((raw - mean) / std).to(state.theta)
        known = labels[:]
        # Heads know about two batches.
        counts = share_of_labels(known, labels, options.ranks) * 2 * batch_size
        basis = _simplest_basis(state, codes, known, correlation, counts, options)
    else:
        basis = settled_basis(state.theta[:, :-1].cpu(), correlation.cpu())
    _take_basis(state, layer, mean, std, basis)
    return True


def _simplest_basis(
    state: TrainingState,
    codes: Tensor,
    known: LabelTensors,
    correlation: Tensor,
    n_labels: Tensor,
    options: TrainingOptions,
    n_needed: int | None = None,
) -> Basis | None:
    """Basis in which the heads, which have no penalty yet, are simple."""
    coef, blocks = state.theta[:, :-1], options.blocks
    errors = standard_errors(
        augment(codes) @ state.theta.T,
        known.targets,
        known.weights,
        blocks,
        n_labels.clamp_min(1),
        coef.shape[1],
    )
    # Of a task without a label here nothing is known but its head.
    errors = torch.where(
        errors.isfinite(), errors, torch.linalg.vector_norm(coef, dim=1)
    )
    weights = output_weights(blocks, coef)
    tasks = tasks_to_outputs(torch.arange(len(n_labels)), blocks)

    def choose() -> Basis | None:
        return simplest_basis(
            coef.cpu(), correlation, weights, options.spread, errors, tasks, n_needed
        )

    return options.ranks.first(choose)


def _without_functions(
    state: TrainingState,
    basis: Basis,
    codes: Tensor,
    share: Tensor,
    known: LabelTensors,
    n_labels: Tensor,
    options: TrainingOptions,
) -> Basis:
    """A basis without components that are functions of others, if tasks can do without.

    ``codes`` and the heads, which are changed, are those from before the basis; ``share`` is
    that of each row in the statistics.
    """
    ranks = options.ranks
    before = _losses(state, codes, known, options)
    most = torch.full_like(before, OTHERS_LOSE)
    for block in options.blocks:
        if block.kind.has_classes:
            most[block.tasks] = CLASSES_LOSE
    codes = codes @ basis.transform.to(codes)
    number = float(n_labels.max())  # of rows, at the least

    def losses_at(codes: Tensor, coef: Tensor) -> Tensor:
        state.theta[:, :-1] = coef.to(codes)
        _solve_all(state, codes, known, options, penalised=False)
        return _losses(state, codes, known, options)

    while True:
        kept = basis.coef.any(0).to(codes.device)
        surplus = ranks.first(partial(function_of_others, codes, share, kept, number))
        if surplus is None:
            return basis
        kept[surplus] = False
        codes = codes * kept
        now = losses_at(codes, basis.coef.to(codes) * kept)
        if ranks.any(bool((now - before > most).any())):
            return basis
        correlation = (codes.double().T * share) @ codes.double()
        heads = state.theta.clone()
        where = codes, known, correlation, n_labels, options
        found = _simplest_basis(state, *where)
        if found is None:
            return basis
        used = found.coef.any(0).to(codes)
        if used.sum() < kept.sum():
            # Counted without the function, a factor that is used least may be gone, too.
            new = codes @ found.transform.to(codes) * used
            rise = losses_at(new, found.coef) - now
            if ranks.any(bool((rise > COUNT_SHARE * most).any())):
                state.theta.copy_(heads)
                found = _simplest_basis(state, *where, n_needed=int(kept.sum()))
                assert found is not None  # as before
        transform = basis.transform * kept.to(basis.transform)
        basis = Basis(transform @ found.transform, found.coef)
        codes = codes @ found.transform.to(codes)


def _at_most(basis: Basis, options: TrainingOptions) -> Basis:
    """A basis of no more components than are asked for, those that are used most."""
    coef, most = basis.coef, options.most_components
    if most is None or most >= coef.shape[1]:
        return basis
    kept = torch.zeros_like(coef[0])
    kept[by_usage(coef, options.blocks)[:most]] = 1.0
    return basis._replace(coef=coef * kept)


def _losses(
    state: TrainingState, codes: Tensor, known: LabelTensors, options: TrainingOptions
) -> Tensor:
    """Mean loss of each task on its labels; zero without any."""
    values = loss_values(augment(codes) @ state.theta.T, known.targets, options.blocks)
    if known.weights is None:
        return values.mean(0)
    tiny = torch.finfo(values.dtype).tiny
    return (values * known.weights).sum(0) / known.weights.sum(0).clamp_min(tiny)


def _take_basis(
    state: TrainingState,
    layer: nn.Linear,
    mean: Tensor,
    std: Tensor,
    basis: Basis | None,
) -> bool:
    """Let the body give the components of a basis, if there is one."""
    if basis is None:
        return False
    coef = state.theta[:, :-1]
    transform = basis.transform.to(coef)
    change_outputs(layer, state.optimizer, mean.to(coef), std.to(coef), transform)
    state.theta[:, :-1] = basis.coef.to(coef)
    state.mean.zero_()
    state.var.fill_(1.0)
    state.based = True
    return True


def score_state(
    state: TrainingState, rows: Rows, labels: LabelRows, options: TrainingOptions
) -> float:
    """Mean over tasks of their scores, with the running statistics."""
    options = options.at(state)
    raw = raw_components(state.body, rows)
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
    state: TrainingState,
    rows: Rows,
    labels: LabelRows,
    options: TrainingOptions,
    *,
    n_rows: float | None = None,
    seed: int = 0,
    heads_only: bool = False,
) -> None:
    """Replace running statistics and moving heads by those of all rows.

    Afterwards the components have mean zero and variance one over the rows. The heads are
    optimal for the rows with noise, if the fit had some, of which few rows make several
    copies: heads of rows known by heart would believe too much. Those of classes have a
    little ridge. No head is on a component that does not vary. Where outputs are few for the
    components in use, these are made uncorrelated if that leaves the heads about as sparse.
    It is noted how far the data pull at each zero, and how much of each target is left.

    Parameters
    ----------
    state : TrainingState
        Changed in place.
    rows, labels, options
        As in :func:`skdisentangle.fitting.training.train`.
    n_rows : float, optional
        How many rows there are, on all ranks, by number or by weight.
    seed : int, default=0
        Seed of the noise.
    heads_only : bool, default=False
        Whether to leave out what does not change the scores.
    """
    here, generator = len(labels), torch.Generator().manual_seed(seed)
    n_copies = math.ceil(NOISY_ROWS / (n_rows or options.ranks.count(here)))
    noise = state.noise(rows.shape[1], generator)
    if noise is None:
        _finish(state, rows, labels, options, heads_only)
        return
    noises = [noise]
    for _ in range(n_copies - 1):
        noise = copy.copy(noise)
        noise.renew(1, generator)
        noises.append(noise)
    known = labels
    if n_copies > 1:
        known = labels[torch.arange(here, device=state.theta.device).repeat(n_copies)]
    _finish(state, NoisyRows(rows, noises), known, options, heads_only)
    mean, scale = state.mean, (state.var + EPS).rsqrt()
    _standardised_components(state, rows, labels, options)
    # The same scores, from components of variance one without noise.
    coef, intercept = state.theta[:, :-1], state.theta[:, -1]
    ratio = scale * (state.var + EPS).sqrt()
    intercept = intercept + coef @ ((state.mean - mean) * scale)
    state.theta = torch.cat([coef * ratio, intercept.unsqueeze(1)], dim=1)
    if state.pull is not None:
        state.pull = state.pull / ratio
    state.copy_first(options.ranks)


def _finish(
    state: TrainingState,
    rows: Rows,
    labels: LabelRows,
    options: TrainingOptions,
    heads_only: bool,
) -> None:
    """Statistics, heads and pulls on all of these rows."""
    options = options.at(state)
    codes = _exact_heads(state, rows, labels, options, rough=heads_only)
    if heads_only:
        return
    coef = state.theta[:, :-1]

    def is_worth_it() -> bool:
        return has_few_outputs(int(coef.any(1).sum()), int(coef.any(0).sum()))

    if options.ranks.first(is_worth_it):
        codes = _try_uncorrelated(state, codes, rows, labels, options)
    state.pull = pulls_at_zeros(
        *(state.theta, codes, labels.targets, labels.weights, options.blocks),
        part=_part(labels, options.ranks),
    )
    some = sample_rows(labels, options.ranks)
    known = labels[some].of_all(options.ranks)
    scores = options.ranks.rows(augment(codes[some])) @ state.theta.T
    errors = residual(scores, known.targets, None, options.blocks)
    state.variance.copy_(squared_errors(errors, known.weights, len(state.variance)))
    state.copy_first(options.ranks)


def _standardised_components(
    state: TrainingState,
    rows: Rows,
    labels: LabelRows,
    options: TrainingOptions,
    out: Tensor | None = None,
) -> Tensor:
    """Set statistics to those of all rows; return the components, in ``out`` if it is there.

    At the end of a fit they are, next to the labels, what takes most memory.
    """
    ranks = options.ranks
    raw = raw_components(state.body, rows, out=out)
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
    check_finite(state.var)
    codes = raw.sub_(state.mean).mul_((state.var + EPS).rsqrt())
    # Nothing moves the coefficients of what does not vary but for rounding, or by next to
    # nothing beside what standardising adds to variances: they would stay.
    eps = max(torch.finfo(raw.dtype).eps, 1e-12)
    least = (eps * mean).square() + eps * EPS
    varies = (state.var > least).to(raw)
    codes.mul_(varies)
    coef, intercept = state.theta[:, :-1], state.theta[:, -1:]
    state.theta = torch.cat([coef * varies, intercept], dim=1)
    return codes


def _exact_heads(
    state: TrainingState,
    rows: Rows,
    labels: LabelRows,
    options: TrainingOptions,
    out: Tensor | None = None,
    *,
    rough: bool = False,
) -> Tensor:
    """Set statistics and heads to those of all rows; return the standardised components."""
    codes = _standardised_components(state, rows, labels, options, out)
    part, ridge = _part(labels, options.ranks), None
    if state.n_labels is not None:
        ridge = ridge_weights(options.blocks, state.n_labels)
    where = state, codes, labels, options
    _solve_all(*where, penalised=True, part=part, ridge=ridge, rough=rough)
    check_finite(state.theta)
    return codes


def _try_uncorrelated(
    state: TrainingState,
    codes: Tensor,
    rows: Rows,
    labels: LabelRows,
    options: TrainingOptions,
) -> Tensor:
    """Change to a basis of uncorrelated components, if exact heads are as sparse in it.

    They may have no more nonzeros in excess than there are components: the choice of the
    basis is by heads without penalties, whose errors can make any basis look as good as
    another. ``codes`` are standardised, and the heads exact for them; those of the basis
    that is taken in the end are returned, in their place.
    """
    layer = last_linear(state.body)
    if layer is None or not options.penalised:
        return codes
    ranks, kept = options.ranks, state.snapshot()
    used = state.theta[:, :-1] != 0
    correlation = _correlation(codes, labels, ranks)
    codes.mul_(used.any(0))
    part = _part(labels, ranks)
    _solve_all(state, codes, labels, options, penalised=False, part=part)
    coef = state.theta[:, :-1] * used.any(1, keepdim=True)
    basis = ranks.first(lambda: uncorrelated_basis(coef.cpu(), correlation))
    state.restore(kept)
    if basis is None:
        return codes
    std = (state.var + EPS).sqrt()
    change_outputs(layer, state.optimizer, state.mean, std, basis.transform.to(coef))
    # From the heads with penalties: without, those of classes that can be told apart are
    # large, and would stay so.
    back = torch.linalg.inv(basis.transform.double()).T.to(coef)
    coef, intercept = state.theta[:, :-1], state.theta[:, -1:]
    state.theta = torch.cat([coef @ back, intercept], dim=1)
    codes = _exact_heads(state, rows, labels, options, out=codes)

    def is_as_sparse() -> bool:
        excess = int((state.theta[:, :-1] != 0).sum()) - int(used.sum())
        return excess <= int(used.any(0).sum())

    if not ranks.first(is_as_sparse):
        state.restore(kept)
        codes = _standardised_components(state, rows, labels, options, out=codes)
        codes.mul_(used.any(0))
    return codes


def intercepts_alone(
    theta: Tensor, labels: LabelRows, options: TrainingOptions
) -> Tensor:
    """Intercepts of heads without components, which know only how often each label comes.

    ``theta`` gives the shape of heads.
    """
    coef = torch.zeros_like(theta[:, :-1])
    solution = solve_penalized_heads(
        *(coef.new_zeros(len(labels), coef.shape[1]), labels.targets, labels.weights),
        options.blocks,
        output_weights(options.blocks, coef),
        sparsity=0.0,
        sharing=0.0,
        reweighted=False,
        coef=coef,
        intercept=torch.zeros_like(theta[:, -1]),
        row_weights=labels.row_weights,
    )
    return solution.intercept


def _part(labels: LabelRows, ranks: Ranks) -> Part | None:
    """Of which rows those here are a part; None if they are all."""
    shard = ranks.shard(len(labels))
    return None if shard is None else Part(ranks, shard.n_rows)


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
    ridge: Tensor | None = None,
    rough: bool = False,
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
        reweighted=penalised,
        coef=coef,
        intercept=state.theta[:, -1],
        row_weights=labels.row_weights,
        part=part,
        spread=options.spread,
        factor=few_labels(state, options),
        ridge=ridge,
        n_rounds=1 if rough else HEAD_ROUNDS,
    )
    state.theta[:, :-1] = solution.coef
    state.theta[:, -1] = solution.intercept
