"""Noise on the rows of a fit, chosen by short fits on most rows.

Two sizes are chosen: of the noise on the rows as the linear part of an encoder sees them,
and of what is added for its hidden layers
(:class:`skdisentangle.encoders.networks.Mlp`). Generalized cross-validation says how large the
first should be (:mod:`skdisentangle.fitting.regularisation`); the second is one, with which
hidden layers see little but what is smooth. A quarter of the rows is held back. Twice the
noise for all, or less for the hidden layers, and with it none for all, is taken if the
loss there is less by more than twice the standard error of the difference (a stricter rule
than that of one such error, Breiman, Friedman, Olshen & Stone, "Classification and Regression
Trees", 1984, section 3.4.3): short fits say too little of what long ones learn by heart, so
what is in doubt is left to the noise. None for hidden layers is tried only where less was
better. Where less was not, twice the noise for hidden layers is tried, and taken if the loss is
less at all, for the same reason. Short fits have no ``sharing``: without a basis it switches off
components that are needed, and what is lost with them hides what the noise does.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..distributed import ALONE
from ..encoders.networks import Mlp
from ..rows.batches import LabelRows, LabelTensors, Rows, n_batches
from ..solvers.proximal import augment
from ..tasks.blocks import loss_values, residual, thresholds_of, with_thresholds
from .all_rows import (
    choose_noise,
    finish,
    intercepts_alone,
    raw_components,
    sample_rows,
    share_of_labels,
)
from .regularisation import PART_VALUES, PER_UNIT, least_noise, least_nonlinear_noise
from .steps import EPS, TrainingOptions, TrainingState
from .training import train

__all__ = ["Noise", "choose_on_held_back_rows", "share_that_varies"]

#: Noise for the hidden layers to begin with, less of it, and more. (On tables other than those
#: of the report, more gained up to 0.03 with one binary task, and lost up to 0.02 on 138 rows.)
NONLINEAR, LESS, MORE = 1.0, (0.3, 0.0), 2.0

#: Noise on all columns is not doubled beyond this: as much hides all.
MOST = 4.0

#: One of so many rows is held back.
HELD_BACK = 4

#: Where each row comes so many times, any of them are held back, not those of a kind.
COPIES = 16

#: With fewer rows too few are held back to choose anything.
FEW_ROWS = 100

#: Where fewer than this share of the rows make up the variance of the columns, noise in its unit
#: would hide all others, and there is none. (Of real tables it was at least 0.05, of lognormal
#: columns or mostly zeros 0.02; of five rows of 4,000 times 30 to 1,000 at most 0.0074.)
FAR_OUT = 0.01

#: A change must gain so many times the standard error of what it gains. Half as many changes
#: little on tables tried; two, as short fits understate what long ones learn by heart.
BETTER = 2.0

#: Something was learned of a task if rows held back say so by so many standard errors. With
#: fewer labels there they say nothing of it.
SURE, SURE_LABELS = 1.0, 100

#: Rows that say more than such a share of the others count as if they said as much.
USUAL = 0.95

#: Rows that short fits are made on, at the most, and values of them.
MOST_ROWS, MOST_VALUES = 20_000, 2**23

#: Steps of a short fit with batches, and with all rows in each step; no more than half of
#: those of the fit itself.
BATCH_STEPS, FULL_BATCH_STEPS = 350, 200


@dataclass(frozen=True)
class Noise:
    """What is chosen.

    Attributes
    ----------
    rows, nonlinear : float
        Standard deviations of the noise on the rows, and of what is added to it for the
        hidden layers.
    in_doubt : tuple of int
        Tasks of which rows held back show no sign that anything was learned.
    """

    rows: float
    nonlinear: float
    in_doubt: tuple[int, ...] = ()


class _Tried(NamedTuple):
    """What each row held back says of some noise; both of shape (n_others, n_tasks).

    ``losses`` add up to the loss of each task, relative to that of heads that use no
    component; NaN for a task without labels. ``gains`` add up to the slope at which that
    loss falls from such heads towards those learned.
    """

    losses: Tensor
    gains: Tensor


@dataclass(frozen=True)
class _Split:
    """Rows to fit on and rows held back, with labels.

    ``counts`` has, for each row held back, how many rows it stands for, ``share`` the share
    of each task's labels that are not held back, and ``n_rows`` how many rows are not.
    """

    rows: Tensor
    labels: LabelTensors
    others: Tensor
    other_labels: LabelTensors
    counts: Tensor
    share: Tensor
    n_rows: float


def share_that_varies(rows: Tensor, weights: Tensor | None) -> float:
    """Share of the rows that make up the variance of the columns.

    ``mean(r)^2 / mean(r^2)`` with r the squared length of a standardised row: the inverse
    participation ratio, k / n if k of n rows are of one length and all others are zero.
    """
    length = rows.square().mean(1, dtype=torch.float64)
    share = torch.ones_like(length) if weights is None else weights.double()
    share = share / share.sum()
    square = share @ length.square()
    return float((share @ length) ** 2 / square) if square > 0 else 1.0


def _is_held_back(rows: Tensor, labels: LabelTensors, seed: int) -> Tensor:
    """Which rows to hold back: by what is in them, so that copies stay together.

    A row of weight 2 must do what two rows do.
    """
    generator = torch.Generator().manual_seed(seed)
    known = labels.targets.double()
    if labels.weights is not None:
        known = torch.where(labels.weights > 0, known, 0.0)
    hidden = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
    for values in (rows, known):
        axis = torch.randn(values.shape[1], generator=generator, dtype=torch.float64)
        # In parts, as all in double precision would be more than all the rest.
        size = max(1, PART_VALUES // values.shape[1])
        parts = [part.double() @ axis.to(rows.device) for part in values.split(size)]
        hidden += torch.cat(parts)
    # Rounded, as the last bits depend on where a row stands.
    whole = hidden.mul_(PER_UNIT).round_().long()
    if len(whole.unique()) >= len(rows) / COPIES:
        return whole.remainder(HELD_BACK) == 0
    # Most are copies of a few, as of columns and labels of a few values: those to come are, too.
    return torch.rand(len(rows), generator=generator).to(rows.device) < 1 / HELD_BACK


def _split(rows: Tensor, labels: LabelTensors, n_rows: float, seed: int) -> _Split:
    held = _is_held_back(rows, labels, seed)
    fitted, others = (torch.nonzero(which).squeeze(1) for which in (~held, held))
    weight = labels.row_weights
    weight = torch.ones_like(labels.targets[:, 0]) if weight is None else weight
    counts = weight[others] * (n_rows / weight.sum())
    # Weights are of mean one.
    own, unit = labels[fitted], weight[fitted].mean()
    own = LabelTensors(
        own.targets,
        None if own.weights is None else own.weights / unit,
        None if own.row_weights is None else own.row_weights / unit,
    )
    share = share_of_labels(labels[fitted], labels, ALONE)
    return _Split(
        *(rows[fitted], own, rows[others], labels[others], counts.double(), share),
        n_rows=float(weight[fitted].sum() * (n_rows / weight.sum())),
    )


def choose_on_held_back_rows(
    body: nn.Module,
    heads: Tensor,
    rows: Rows,
    labels: LabelRows,
    options: TrainingOptions,
    *,
    n_rows: float,
    n_labels: Tensor,
    batch_size: int,
    n_steps: int,
    tol: float,
    n_iter_no_change: int,
    seed: int,
    on_stage: Callable[[str], None],
) -> Noise:
    """Choose the noise of a fit.

    Parameters
    ----------
    body : torch.nn.Module
        Where the fit begins; not changed.
    heads : Tensor of shape (n_outputs, n_components + 1)
        The same.
    rows : Rows
        Standardised inputs, those of this rank.
    labels : LabelRows
    options : TrainingOptions
    n_rows : float
        How many rows there are, by number or by weight.
    n_labels : Tensor of shape (n_tasks,)
        Labels of each task.
    batch_size, n_steps, tol, n_iter_no_change
        Those of the fit.
    seed : int
    on_stage : callable
        Called with what is done from there on, in words.

    Returns
    -------
    Noise
    """
    ranks = options.ranks
    linear = choose_noise(rows, labels, options, n_rows, n_labels)
    has_hidden_layers = isinstance(body, Mlp)
    nonlinear = NONLINEAR if has_hidden_layers else 0.0
    most = min(MOST_ROWS, max(FEW_ROWS, MOST_VALUES // max(1, rows.shape[1])))
    some = sample_rows(labels, ranks, most)
    known, held = labels[some].of_all(ranks), ranks.rows(rows[some])
    if share_that_varies(held, known.row_weights) < FAR_OUT:
        return Noise(0.0, 0.0)
    if n_rows < FEW_ROWS or not (has_hidden_layers or linear):
        return Noise(linear, nonlinear)
    n_labels = n_labels * share_of_labels(known, labels, ranks)
    n_rows = n_rows * len(held) / ranks.count(len(labels))
    alone = replace(options, ranks=ALONE, recorded=False, sharing=0.0)

    def choose() -> Noise:
        split = _split(held, known, n_rows, seed)
        if min(len(split.rows), len(split.others)) < 2:
            return Noise(linear, nonlinear)
        own_labels = n_labels * split.share
        plain = _with_own_thresholds(alone)
        intercepts = intercepts_alone(heads, split.labels, plain)
        nothing = intercepts.expand(len(split.others), -1)

        numbers = itertools.count(1)

        def tried(linear: float, nonlinear: float) -> _Tried:
            on_stage(f"choosing the noise, short fit {next(numbers)}")
            own = _with_own_thresholds(alone)
            state = TrainingState.start(copy.deepcopy(body), heads, own)
            state.set_noise(linear, nonlinear)
            state.n_labels = own_labels
            size = min(batch_size, len(split.rows))
            n_a_pass = n_batches(len(split.rows), size)
            most = FULL_BATCH_STEPS if n_a_pass == 1 else BATCH_STEPS
            history = train(
                *(state, split.rows, split.labels, own),
                batch_size=size,
                max_iter=max(1, round(min(most, n_steps / 2) / n_a_pass)),
                tol=tol,
                n_iter_no_change=n_iter_no_change,
                generator=torch.Generator().manual_seed(seed),
                searches_basis=False,
            )
            if history.interrupted:
                raise KeyboardInterrupt
            finish(
                *(state, split.rows, split.labels, own),
                n_rows=split.n_rows,
                seed=seed,
                heads_only=True,
            )
            return _look(state, split, own, nothing, plain)

        noise = _least(
            *(tried, split.counts, linear, nonlinear),
            least=least_noise(alone.blocks),
            least_nonlinear=least_nonlinear_noise(alone.blocks),
        )
        # Other networks may need more steps than a short fit has to learn anything.
        of_tables = isinstance(body, Mlp | nn.Linear)
        return noise if of_tables else replace(noise, in_doubt=())

    return ranks.first(choose)


def _error(values: Tensor, counts: Tensor) -> Tensor:
    """Standard error of the sum of some rows' values, of which one may stand for two."""
    square = (values.square() / counts.unsqueeze(1)).sum(0)
    return (square - values.sum(0).square() / counts.sum()).clamp_min(0).sqrt()


def _usual(values: Tensor, counts: Tensor) -> Tensor:
    """What a few rows far out say is worth no more than what others do.

    ``values`` are of shape (n_others, n_sums), and ``counts`` how many rows each stands for.
    """
    number = counts.unsqueeze(1)
    each = values / number
    sizes, order = each.abs().sort(0)
    below = counts[order].cumsum(0) < USUAL * counts.sum()
    most = sizes.gather(0, below.sum(0, keepdim=True).clamp_max(len(sizes) - 1))
    return each.clamp(-most, most) * number


def _least(
    tried: Callable[[float, float], _Tried],
    counts: Tensor,
    linear: float,
    nonlinear: float,
    *,
    least: float,
    least_nonlinear: float,
) -> Noise:
    """Go from there to more noise on all rows, and back to less on hidden layers.

    As long as it is better. There is to be no less than the least.
    """
    best, first = tried(linear, nonlinear), linear

    def gains_of(other: _Tried) -> Tensor:
        gain = (best.losses - other.losses).nanmean(1, keepdim=True)
        return _usual(gain, counts)

    def is_better(other: _Tried) -> bool:
        gain = gains_of(other)
        return bool(gain.sum() > BETTER * _error(gain, counts))

    def try_more() -> None:
        """Double the noise on all rows as long as that is better."""
        nonlocal linear, best
        while linear > 0 and 2 * linear <= MOST:
            other = tried(2 * linear, nonlinear)
            if not is_better(other):
                break
            linear, best = 2 * linear, other

    # Where rows are learned by heart all noise looks good, and that on all columns is better.
    try_more()
    has_less = False
    for less in LESS if nonlinear else ():
        # From where all began.
        other = tried(first, lesser := max(less, least_nonlinear))
        if gains_of(other).sum() <= 0:
            break  # where less noise is worse, none is
        if is_better(other):
            linear, nonlinear, best, has_less = first, lesser, other, True
    if nonlinear and not has_less:
        other = tried(linear, MORE)
        if gains_of(other).sum() > 0:
            nonlinear, best = MORE, other
    if has_less:
        # What a network knows, a linear model does not, and asks for too much.
        if linear > least and is_better(other := tried(least, nonlinear)):
            linear, best = least, other
        try_more()
    gains = _usual(best.gains, counts)
    doubt = gains.sum(0) < SURE * _error(gains, counts)
    doubt &= counts @ (gains != 0).to(counts) >= SURE_LABELS
    return Noise(linear, nonlinear, tuple(torch.nonzero(doubt).squeeze(1).tolist()))


def _with_own_thresholds(options: TrainingOptions) -> TrainingOptions:
    """The same with thresholds of its own, which move as heads are solved for."""
    thresholds = [each.clone() for each in thresholds_of(options.blocks)]
    return replace(options, blocks=with_thresholds(options.blocks, thresholds))


def _look(
    state: TrainingState,
    split: _Split,
    options: TrainingOptions,
    nothing: Tensor,
    plain: TrainingOptions,
) -> _Tried:
    """What the rows held back say of where a short fit has ended.

    ``nothing`` are the scores there of heads that use no component, ``plain`` their options.
    """
    options = options.at(state)
    raw = raw_components(state.body, split.others)
    codes = augment((raw - state.mean) * (state.var + EPS).rsqrt())
    known = split.other_labels
    weights = known.weights
    weights = torch.ones_like(known.targets) if weights is None else weights
    scores = codes @ state.theta.T
    own, whole = (
        loss_values(given, known.targets, blocks).double() * weights
        for given, blocks in ((scores, options.blocks), (nothing, plain.blocks))
    )
    total = whole.sum(0)
    slopes = residual(nothing.clone(), known.targets, known.weights, plain.blocks)
    gains = [
        (slopes * (nothing - scores))[:, block.outputs]
        .unflatten(1, (-1, block.n_classes))
        .sum(2)
        for block in options.blocks
    ]
    return _Tried(
        own / torch.where(total > 0, total, torch.nan), torch.cat(gains, 1).double()
    )
