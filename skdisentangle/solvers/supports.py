"""Which components a new task uses, and its head, from few labels. On tensors.

With few labels the support of a task (the set of components that it uses) is not known.
So every support that the labels leave in play gets a probability, and the head is the
mean of the heads of all supports, weighted by it. With the codes ``z`` as given::

    probability(support)  ~  evidence(labels | support) * prior(support)
    prior(support)        =  (1 - w) prod_(m in support) p_m prod_(m not in it) (1 - p_m)
                             + w if the support is all components
    coefficients          ~  N(0, scale^2)  on the support, zero elsewhere

``p_m`` is the share of tasks that use component m, and ``scale`` the size of a coefficient. Both
come from tasks whose heads are known. A new task may not be sparse in the components at all:
``w``, or ``WHOLE``, of the prior is for that. On all components the size of a coefficient is
smaller, by the root of the share of components that a known task uses, so that scores are as
large as those of known tasks. This is the spike-and-slab prior
(Mitchell & Beauchamp, "Bayesian variable selection in linear regression", JASA 83,
1988) with its hyperparameters fitted to other tasks, and the mean over supports is
Bayesian model averaging (Hoeting et al., "Bayesian model averaging: a tutorial",
Statistical Science 14, 1999). Seen as a penalty, each component costs
about ``log((1 - p_m) / p_m)``, the less the more tasks use it, and no strength has to
be chosen: what labels say for a component grows with their number, its cost does not.

The evidence of a regression task is exact, with a flat prior on the intercept and on the
logarithm of the target's scale, averaged over levels of the noise: that of the known tasks,
as with few labels nothing else says how much of a target the components can tell, and those
of ``NOISE_LEVELS`` that are more. That of a task with
classes is Laplace's approximation (MacKay, "The evidence framework applied to
classification networks", Neural Computation 4, 1992), averaged over ``SCALES``. As its mode
takes Newton steps on all rows, supports for many rows or classes are searched by a parabola
of the loss, at first where no component is used, then at the mode of the best support, until
that stays the same; the best ones get their own modes, as many as there is time for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..tasks.blocks import Block
from ..tasks.types import TYPES, TaskType
from .thresholds import move_thresholds

__all__ = ["SupportAverage", "average_over_supports", "head_prior"]

#: Prior probability that a new task uses all components. (From ten labels it raised the AUC of new
#: attributes of faces by 0.014, from 50 labels that of species in a survey by 0.003. On made
#: data, where all tasks are sparse, it cost 0.001 from five labels. A quarter gained 0.002 more
#: there, and cost 0.004.)
WHOLE = 0.1

#: Variances of the noise, where that of a regression target is about one. Less than that of
#: the known tasks is none of them.
NOISE_LEVELS = (1e-3, 1e-2, 1e-1, 1.0)

#: Sizes of a logit's coefficients, in units of those of the known heads. None is larger: the
#: components were fitted to the known tasks, and explain a new one as well at best. (On real
#: tables and faces twice these sizes lowered the AUC from ten labels by 0.003 to 0.014, on made
#: data it raised it by 0.002 to 0.003; half of them lowered it on made data by 0.006 to 0.009.)
SCALES = (0.25, 0.5, 1.0)

#: Standard deviation of the prior on a logit's intercept.
INTERCEPT_SCALE = 3.0

#: The neighbours of so many best supports are looked at, in any case; and of more, up
#: to ``MAX_KEPT``, if they are within ``WINDOW`` of the best in log probability.
MIN_KEPT, MAX_KEPT, WINDOW = 5, 30, 10.0

#: More rows than this count as so many. Components are the factors only nearly, and
#: enough rows would find a trace of every factor in each component.
EFFECTIVE_ROWS = 500

#: Newton steps at most, and the gain in log posterior below which they end: what is left to
#: gain is then about its square.
MAX_NEWTON, NEWTON_TOL = 50, 1e-2

#: Rows times squared parameters of a head on all components: up to the first number all
#: supports get a mode of their own, beyond it as many as make up the second.
FEW_VALUES, MODE_VALUES = 3 * 10**6, 5 * 10**7

#: Parabolas of a search, at the most.
MAX_PARABOLAS = 6

#: Estimates of the variance of residuals, of a type whose loss does not tell it.
DISPERSION_ROUNDS = 2

#: Rounds of heads and thresholds in turn, at the most, and the move that ends them.
THRESHOLD_ROUNDS, THRESHOLD_TOL = 6, 0.05

#: Values that a batch of supports holds at the most.
CHUNK_VALUES = 2**21

Support = tuple[int, ...]

#: Log posterior, up to a constant, and head of a support.
_Fit = tuple[float, Tensor]

#: From supports of one size, of shape (n_supports, size), to their log evidence, up to a
#: constant that all share, and heads (n_supports, n_outputs, size + 1), the intercept last.
_Evidence = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class SupportAverage:
    """Heads averaged over supports.

    Attributes
    ----------
    coef : Tensor of shape (n_outputs, n_components)
    intercept : Tensor of shape (n_outputs,)
    inclusion : Tensor of shape (n_components,)
        Probability that the task uses each component.
    """

    coef: Tensor
    intercept: Tensor
    inclusion: Tensor


@dataclass(frozen=True)
class _Data:
    """Codes (n_rows, n_components), targets and weights (n_rows,) of one task."""

    codes: Tensor
    targets: Tensor
    weights: Tensor
    kind: TaskType
    n_outputs: int
    scale: float
    usual_size: float
    noise_levels: Sequence[float]

    def scale_on(self, size: int) -> float:
        """Size of the coefficients on a support of so many components."""
        whole = self.codes.shape[1]
        return self.scale * math.sqrt(self.usual_size / whole if size == whole else 1.0)


def average_over_supports(
    codes: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    task_type: str,
    n_outputs: int,
    log_odds: Tensor,
    scale: float,
    noise: float | None = None,
    thresholds: Tensor | None = None,
) -> SupportAverage:
    """Average the heads of one task over its supports.

    The supports are searched from the empty one: all that differ in one component from
    the best ones found, until the best ones stay the same; and that of all components. With
    few components that is all supports.

    Parameters
    ----------
    codes : Tensor of shape (n_rows, n_components)
        In double precision.
    targets : Tensor of shape (n_rows,)
        See :mod:`skdisentangle.tasks.blocks`.
    weights : Tensor of shape (n_rows,)
        Positive, of mean one; a row of weight two counts as two.
    task_type : str
        Name of the task type.
    n_outputs : int
        Number of classes of a multiclass task, else one.
    log_odds : Tensor of shape (n_components,)
        Logarithm of the odds that a task uses each component.
    scale : float
        Size (root mean square) of the coefficients on a support.
    noise : float, optional
        Variance of the noise of known regression tasks, as a share of that of the target.
        A regression task has as much or more; by default any.
    thresholds : Tensor of shape (1, n_thresholds), optional
        Of a task that has some: where to start. They are moved, in place, to where the
        labels want them.

    Returns
    -------
    SupportAverage
    """
    block = Block(task_type, slice(0, 1), slice(0, n_outputs), n_outputs, thresholds)
    kind = block.kind
    weights = weights * min(1.0, EFFECTIVE_ROWS / len(weights))
    levels: tuple[float, ...] = NOISE_LEVELS
    if noise is not None:
        noise = max(noise, min(NOISE_LEVELS))
        levels = (noise, *(level for level in NOISE_LEVELS if level > noise))
    usual_size = max(1.0, float(log_odds.sigmoid().sum()))
    data = _Data(*(codes, targets, weights, kind, n_outputs, scale, usual_size), levels)
    if thresholds is not None:
        rows = F.pad(codes, (0, 1), value=1.0)
        labelled = rows, targets.unsqueeze(1), weights.unsqueeze(1)
        for _ in range(THRESHOLD_ROUNDS):
            found = _average(data, log_odds)
            theta = torch.cat([found.coef, found.intercept.unsqueeze(1)], 1)
            moved = move_thresholds(theta, lambda: [labelled], [block])
            if moved <= THRESHOLD_TOL:
                break
        return found
    if not kind.dispersed or kind.quadratic:
        return _average(data, log_odds)
    # The loss is a log-likelihood but for a factor, one over the variance of residuals: to
    # begin with that of the labels, which is more.
    mean = weights @ targets / weights.sum()
    left, n_used = targets - mean, 1.0
    for _ in range(DISPERSION_ROUNDS):
        spare = max(1.0, len(weights) - n_used) / len(weights)
        variance = weights @ left.square() / weights.sum() / spare
        found = _average(replace(data, weights=weights / variance), log_odds)
        scores = codes @ found.coef.T + found.intercept
        left = targets - kind.mean(scores, n_outputs)[:, 0]
        n_used = 1 + float(found.inclusion.sum())
    return found


def _average(data: _Data, log_odds: Tensor) -> SupportAverage:
    """Average the heads of one task, whose loss is a negative log-likelihood."""
    codes, n_outputs = data.codes, data.n_outputs
    fits = _search(data, log_odds)
    supports = sorted(fits, key=lambda support: (-fits[support][0], support))
    n_components = codes.shape[1]
    probability = torch.tensor([fits[s][0] for s in supports], dtype=codes.dtype)
    probability = probability.softmax(0)
    coef = codes.new_zeros(n_outputs, n_components)
    intercept = codes.new_zeros(n_outputs)
    inclusion = codes.new_zeros(n_components)
    for share, support in zip(probability.tolist(), supports, strict=True):
        theta, where = fits[support][1], list(support)
        coef[:, where] += share * theta[:, :-1]
        intercept += share * theta[:, -1]
        inclusion[where] += share
    return SupportAverage(coef, intercept, inclusion)


def _search(data: _Data, log_odds: Tensor) -> dict[Support, _Fit]:
    """Log posterior, up to a constant, and head of all supports looked at."""
    prior = _Prior.build(log_odds)
    if data.kind.quadratic:
        return _explore(partial(_regressions, data), data, prior)
    n_rows, n_components = data.codes.shape
    if n_rows * (data.n_outputs * (n_components + 1)) ** 2 <= FEW_VALUES:
        return _explore(partial(_laplaces, data), data, prior, n_rows)
    base: Support = ()
    seen: set[Support] = set()
    start = None
    while True:
        parabola = _Parabola.at(data, base, start)
        fits = _explore(parabola.evidence, data, prior)
        seen.add(base)
        best = min(fits, key=lambda support: (-fits[support][0], support))
        if best in seen or len(seen) == MAX_PARABOLAS:
            break
        base, start = best, fits[best][1]
    return fits | _with_modes(data, prior, fits)


def _with_modes(
    data: _Data, prior: _Prior, fits: dict[Support, _Fit]
) -> dict[Support, _Fit]:
    """The best supports, each by its own mode."""
    order = sorted(fits, key=lambda support: (-fits[support][0], support))
    least = fits[order[0]][0] - WINDOW
    left, chosen = float(MODE_VALUES), []
    for support in order:
        left -= len(data.codes) * (data.n_outputs * (len(support) + 1)) ** 2
        if left < 0 or fits[support][0] < least:
            break
        chosen.append(support)

    def modes(index: Tensor) -> tuple[Tensor, Tensor]:
        own = [fits[support][1] for support in map(tuple, index.tolist())]
        return _laplaces(data, index, torch.stack(own))

    return _evaluated(chosen, modes, data, prior, n_rows=len(data.codes))


@dataclass(frozen=True)
class _Prior:
    """Prior of supports: log odds of each component, and what hangs on the size."""

    log_odds: Tensor
    by_size: Tensor

    @classmethod
    def build(cls, log_odds: Tensor) -> _Prior:
        size = len(log_odds)
        by_size = (math.log(1 - WHOLE) - F.softplus(log_odds).sum()).repeat(size + 1)
        whole = by_size[-1] + log_odds.sum()
        by_size[-1] += whole.new_full((), math.log(WHOLE)).logaddexp(whole) - whole
        return cls(log_odds, by_size)

    def of(self, supports: Tensor) -> Tensor:
        """Log prior of supports of one size."""
        return self.log_odds[supports].sum(1) + self.by_size[supports.shape[1]]


def _evaluated(
    supports: Iterable[Support],
    evidence: _Evidence,
    data: _Data,
    prior: _Prior,
    n_rows: int = 1,
) -> dict[Support, _Fit]:
    """Log posterior and head of supports, some of one size at a time.

    ``n_rows`` are those that the evidence looks at.
    """
    fits: dict[Support, _Fit] = {}
    by_size: dict[int, list[Support]] = {}
    for support in sorted(supports):
        by_size.setdefault(len(support), []).append(support)
    for size, group in by_size.items():
        width = data.n_outputs * (size + 1)
        step = max(1, CHUNK_VALUES // (width * max(n_rows, width)))
        for start in range(0, len(group), step):
            part = group[start : start + step]
            index = torch.tensor(part, dtype=torch.long).reshape(len(part), size)
            log_evidence, theta = evidence(index)
            values = (log_evidence + prior.of(index)).tolist()
            fits.update(zip(part, zip(values, theta, strict=True), strict=True))
    return fits


def _explore(
    evidence: _Evidence, data: _Data, prior: _Prior, n_rows: int = 1
) -> dict[Support, _Fit]:
    """Look at neighbours of the best supports until these stay the same, and at the whole."""
    fits: dict[Support, _Fit] = {}
    expanded: set[Support] = set()
    new: set[Support] = {()}
    while new:
        fits |= _evaluated(new, evidence, data, prior, n_rows)
        best = sorted(fits, key=lambda support: (-fits[support][0], support))
        least = fits[best[0]][0] - WINDOW
        new = set()
        for rank, support in enumerate(best[:MAX_KEPT]):
            kept = rank < MIN_KEPT or fits[support][0] >= least
            if kept and support not in expanded:
                expanded.add(support)
                new |= _neighbours(support, data.codes.shape[1])
        new -= fits.keys()
    whole = tuple(range(data.codes.shape[1]))
    if whole not in fits:
        fits |= _evaluated({whole}, evidence, data, prior, n_rows)
    return fits


def _neighbours(support: Support, n_components: int) -> set[Support]:
    """Supports with one component more or less."""
    return {
        tuple(sorted(set(support) ^ {component})) for component in range(n_components)
    }


@dataclass(frozen=True)
class _Parabola:
    """Loss of a task as a parabola of all coefficients, about some head.

    Of a head ``t`` it is ``constant - slope t + t hessian t / 2``, so that the mode and the
    evidence of each support have a closed form.

    Attributes
    ----------
    constant : float
    slope : Tensor of shape (n_outputs * (n_components + 1),)
    hessian : Tensor of shape (n_outputs * (n_components + 1),) * 2
    """

    data: _Data
    constant: float
    slope: Tensor
    hessian: Tensor

    @classmethod
    def at(cls, data: _Data, support: Support, start: Tensor | None) -> _Parabola:
        """About the mode on a support, looked for from some head on it."""
        where = [*support, data.codes.shape[1]]
        index = torch.tensor([support], dtype=torch.long)
        begin = None if start is None else start.unsqueeze(0)
        own = _laplace(data, index, 1.0, begin)[1][0]
        n_outputs, kind = data.n_outputs, data.kind
        rows = F.pad(data.codes, (0, 1), value=1.0)
        theta = rows.new_zeros(n_outputs, rows.shape[1])
        theta[:, where] = own
        scores, targets = rows @ theta.T, data.targets.unsqueeze(1)
        loss = data.weights @ kind.value(scores, targets, n_outputs)[:, 0]
        error = scores.clone()
        kind.residual_(error, targets, n_outputs)
        slope = ((error * data.weights.unsqueeze(1)).T @ rows).flatten()
        hessian = _hessian(rows.unsqueeze(0), scores, data)[0]
        flat = theta.flatten()
        bent = hessian @ flat
        constant = float(loss - slope @ flat + flat @ bent / 2)
        return cls(data, constant, bent - slope, hessian)

    def evidence(self, supports: Tensor) -> tuple[Tensor, Tensor]:
        """Log evidence and heads of supports of one size, averaged over scales."""
        n_supports, size = supports.shape
        n_outputs, width = self.data.n_outputs, self.data.codes.shape[1] + 1
        columns = F.pad(supports, (0, 1), value=width - 1)
        first = width * torch.arange(n_outputs).unsqueeze(1)
        where = (columns.unsqueeze(1) + first).flatten(1)
        bend = self.hessian[where.unsqueeze(2), where.unsqueeze(1)]
        slope = self.slope[where].unsqueeze(2)
        parts = []
        for scale in SCALES:
            precision = _precision(size, scale * self.data.scale_on(size), slope)
            own = bend.clone()
            own.diagonal(dim1=1, dim2=2).add_(precision.repeat(n_outputs))
            factor = torch.linalg.cholesky(own)
            theta = torch.cholesky_solve(slope, factor)
            log_det = 2 * factor.diagonal(dim1=1, dim2=2).log().sum(1)
            prior = n_outputs * precision.log().sum()
            gained = (slope * theta).sum((1, 2)) / 2 - self.constant
            shape = n_supports, n_outputs, size + 1
            parts.append((gained + (prior - log_det) / 2, theta.view(shape)))
        return _mean_of(parts)


def _precision(size: int, scale: float, like: Tensor) -> Tensor:
    """Of the prior on the coefficients of an output, the intercept last."""
    precision = like.new_full((size + 1,), scale**-2)
    precision[-1] = INTERCEPT_SCALE**-2
    return precision


def _hessian(rows: Tensor, scores: Tensor, data: _Data) -> Tensor:
    """Of the summed losses of several heads, at the scores of their rows.

    Parameters
    ----------
    rows : Tensor of shape (n_heads, n_rows, width)
    scores : Tensor of shape (n_rows, n_heads * n_outputs)
    data : _Data

    Returns
    -------
    Tensor of shape (n_heads, n_outputs * width, n_outputs * width)
    """
    n_heads, _, width = rows.shape
    n_outputs = data.n_outputs
    weights = data.weights.unsqueeze(1)

    def times_rows(values: Tensor) -> Tensor:
        values = values.unflatten(1, (n_heads, n_outputs)).transpose(0, 1)
        return (values.unsqueeze(3) * rows.unsqueeze(2)).flatten(2)

    bend = data.kind.second_derivatives(scores, n_outputs)
    coupling = data.kind.coupling(scores, n_outputs)
    if coupling is not None:
        bend = bend + coupling.square()
    blocks = times_rows(bend * weights).transpose(1, 2) @ rows
    hessian = rows.new_zeros(n_heads, n_outputs, width, n_outputs, width)
    own = blocks.unflatten(1, (n_outputs, width)).permute(0, 2, 3, 1)
    hessian.diagonal(dim1=1, dim2=3).copy_(own)
    whole = hessian.flatten(3, 4).flatten(1, 2)
    if coupling is not None:
        root = times_rows(coupling * weights.sqrt())
        whole.baddbmm_(root.transpose(1, 2), root, alpha=-1.0)
    return whole


def _mean_of(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Log evidence and heads of supports, averaged over noise levels or scales.

    Parameters
    ----------
    parts : sequence of (Tensor of shape (n_supports,), Tensor)
        Log evidence, up to a constant that all share, and heads, of shape (n_supports,
        n_outputs, size + 1); the last coefficient is the intercept.
    """
    values = torch.stack([value for value, _ in parts])
    thetas = torch.stack([theta for _, theta in parts])
    shares = values.softmax(0)[:, :, None, None]
    return values.logsumexp(0), (shares * thetas).sum(0)


def _regressions(data: _Data, supports: Tensor) -> tuple[Tensor, Tensor]:
    """Log evidence and heads of supports of one size, of a task with a squared loss."""
    return _mean_of([_regression(data, supports, noise) for noise in data.noise_levels])


def _laplaces(
    data: _Data, supports: Tensor, start: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The same of another task, at the modes, from where they are about."""
    parts = []
    for scale in SCALES:
        parts.append(_laplace(data, supports, scale, start))
        start = parts[-1][1]
    return _mean_of(parts)


def _regression(data: _Data, supports: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    """Closed form, with the intercept and the target's scale integrated out.

    With centred codes ``Z`` and targets ``y``, ``r = noise / scale^2`` and ``k`` the
    size of the support, the targets have covariance ``noise I + scale^2 Z Z^T`` up to
    their squared scale, and

        2 log evidence = -log det(I + Z^T Z / r) - (n - 1) log(y^T y - b^T H^-1 b)

    with ``H = Z^T Z + r I`` and ``b = Z^T y``, up to a constant.
    """
    total = data.weights.sum()
    code_mean = data.weights @ data.codes / total
    target_mean = data.weights @ data.targets / total
    codes, targets = data.codes - code_mean, data.targets - target_mean
    weighted = codes * data.weights.unsqueeze(1)
    gram, cross = weighted.T @ codes, weighted.T @ targets
    size = supports.shape[1]
    ratio = noise / data.scale_on(size) ** 2
    hessian = gram[supports.unsqueeze(2), supports.unsqueeze(1)] + ratio * torch.eye(
        size, dtype=gram.dtype
    )
    slope = cross[supports]
    factor = torch.linalg.cholesky(hessian)
    coef = torch.cholesky_solve(slope.unsqueeze(2), factor).squeeze(2)
    left = data.weights @ targets.square() - (slope * coef).sum(1)
    log_det = 2 * factor.diagonal(dim1=1, dim2=2).log().sum(1) - size * math.log(ratio)
    left = left.clamp_min(torch.finfo(left.dtype).tiny)
    log_evidence = -(log_det + (total - 1) * left.log()) / 2
    intercept = target_mean - (code_mean[supports] * coef).sum(1, keepdim=True)
    return log_evidence, torch.cat([coef, intercept], 1).unsqueeze(1)


def _laplace(
    data: _Data, supports: Tensor, scale: float, start: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Laplace's approximation at the mode, found by damped Newton steps."""
    n_supports, size = supports.shape
    n_outputs, kind = data.n_outputs, data.kind
    rows = F.pad(data.codes[:, supports].transpose(0, 1), (0, 1), value=1.0)
    precision = _precision(size, scale * data.scale_on(size), rows)
    targets = data.targets.unsqueeze(1).expand(-1, n_supports)
    weights = data.weights.unsqueeze(1)

    def scores(theta: Tensor) -> Tensor:
        logits = rows @ theta.transpose(1, 2)
        return logits.transpose(0, 1).reshape(len(data.codes), -1)

    def log_joint(theta: Tensor) -> Tensor:
        values = kind.value(scores(theta), targets, n_outputs)
        prior = (precision * theta.square()).sum((1, 2)) / 2
        return -(weights * values).sum(0) - prior

    def derivatives(theta: Tensor) -> tuple[Tensor, Tensor]:
        at = scores(theta)
        residual = at.clone()
        kind.residual_(residual, targets, n_outputs)
        error = residual.unflatten(1, (n_supports, n_outputs)).permute(1, 0, 2)
        slope = (weights * error).transpose(1, 2) @ rows + precision * theta
        hessian = _hessian(rows, at, data)
        hessian.diagonal(dim1=1, dim2=2).add_(precision.repeat(n_outputs))
        return slope, hessian

    theta = rows.new_zeros(n_supports, n_outputs, size + 1) if start is None else start
    value = log_joint(theta)
    for _ in range(MAX_NEWTON):
        slope, hessian = derivatives(theta)
        step = torch.linalg.solve(hessian, slope.flatten(1)).view_as(theta)
        length = value.new_ones(n_supports)
        new, new_value = theta, value
        while True:
            new = theta - length[:, None, None] * step
            new_value = log_joint(new)
            downhill = (new_value < value - NEWTON_TOL) & (length > NEWTON_TOL)
            if not downhill.any():
                break
            length = torch.where(downhill, length / 2, length)
        gain = (new_value - value).max()
        theta, value = new, new_value
        if gain < NEWTON_TOL:
            break
    _, hessian = derivatives(theta)
    log_det = torch.linalg.slogdet(hessian).logabsdet
    prior = n_outputs * precision.log().sum()
    return value + (prior - log_det) / 2, theta


def head_prior(
    heads: Sequence[tuple[str, Tensor]], task_type: str
) -> tuple[Tensor, float]:
    """What the heads of known tasks say of the head of a new one.

    Parameters
    ----------
    heads : sequence of (str, Tensor of shape (n_outputs, n_components))
        Type and coefficients of each known task, for targets of variance one.
    task_type : str
        Of the new task.

    Returns
    -------
    log_odds : Tensor of shape (n_components,)
        Logarithm of the odds that a task uses each component; half a task is added on
        either side, so that nothing is certain.
    scale : float
        Root mean square of the coefficients on the supports of the tasks of that type.
        Where there is none, as if they made scores as large as the type expects.
    """
    used = torch.stack([(coef != 0).any(0) for _, coef in heads])
    count = used.double().sum(0)
    log_odds = ((count + 0.5) / (len(used) - count + 0.5)).log()
    sizes = [coef[:, (coef != 0).any(0)] for kind, coef in heads if kind == task_type]
    values = torch.cat([part.flatten() for part in sizes]) if sizes else count[:0]
    if len(values):
        return log_odds, float(values.square().mean().sqrt())
    size = max(1.0, float(count.sum()) / len(used))
    return log_odds, TYPES[task_type].score_scale / size**0.5
