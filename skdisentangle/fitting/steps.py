"""One step of a fit: heads, then encoder, on a batch.

Each step takes a batch, standardises the raw components over it, moves the heads by one or
two proximal gradient steps (:mod:`skdisentangle.solvers.proximal`) and then the body by one
Adam step. As the heads, which go on from those of the last batch, nearly minimise the inner
objective on the same rows, the envelope theorem makes the gradient in the body the plain
partial derivative at those heads.

So it is with the alternating solver. The bilevel one splits the batch, once it is
standardised: the heads move on the first part, the *support*, and the body follows the
loss of the rest, the *query*, of which a part comes through the heads
(:mod:`skdisentangle.fitting.bilevel`). All else but the number of steps is the same for both.

**Weights of tasks.** The body follows the mean over tasks of their losses read as
negative log-likelihoods: the loss of a regression or count task is divided by its
residual variance. Without that, binary tasks, whose loss stays large, pull the encoder
off the factors that the regression tasks pin down. The heads of different tasks do not
touch, so the weights do not change the inner problem.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from ..distributed import ALONE, Part, Ranks
from ..encoders.networks import Mlp
from ..rows.batches import LabelTensors
from ..solvers.proximal import (
    augment,
    curvature,
    largest_eigenvalue,
    proximal_steps,
)
from ..tasks.blocks import (
    Block,
    block_residual,
    block_scores,
    residual,
    split_heads,
    split_labels,
    tasks_to_outputs,
    thresholds_of,
    weighted,
    with_thresholds,
)
from .bilevel import implicit_gradient
from .regularisation import RowNoise

__all__ = [
    "TrainingOptions",
    "TrainingState",
    "squared_errors",
    "standardise",
    "step",
    "through_standardisation",
]

#: Proximal gradient steps of the heads for each step of the encoder, with the alternating
#: solver: while the encoder learns to see the factors, and later. A coefficient that starts
#: near zero grows with its component, and the component with it; with one step factors that
#: are hard to see are not found in time. Later components do not profit of a second one,
#: which costs a look at the rows; with many the heads follow the noise of each batch. (Longer
#: steps, by the slack of the bound on the curvature, lose correlated factors, and an encoder
#: that follows the heads from before their step, for which one look would be enough, sees the
#: factors less clearly.)
FREE_STEPS, INNER_STEPS = 2, 1

#: The same with the bilevel solver, on the support: with a single one, correlated factors of
#: binary tasks are lost at times.
SUPPORT_STEPS = 2

#: Conjugate gradient steps at the most, and the share of the slope that may remain. The
#: damping bounds the condition number by one more than the support's steps, so that about
#: ten steps are enough.
CONJUGATE_STEPS, CONJUGATE_TOL = 20, 1e-3

#: Residual variance (as a share of the target's) below which a task does not gain
#: further weight.
VARIANCE_FLOOR = 0.02

#: Keeps Adam from blowing up rounding noise where a gradient vanishes.
ADAM_EPS = 1e-6

#: Added to the variance of a raw component before it is divided by.
EPS = 1e-5

#: Memory of the running means of residual variances and of component statistics.
MEMORY = 0.99


@dataclass(frozen=True)
class TrainingOptions:
    """Constants of a fit; names as in the estimator.

    ``bilevel`` says which solver. ``ranks`` are the processes that the rows are spread over.
    ``recorded`` says that steps may be recorded on a GPU: that the body does the same in
    each of them. ``most_components`` are in use once a basis is chosen; None for all.
    """

    blocks: Sequence[Block]
    sparsity: float
    sharing: float
    learning_rate: float
    spread: Tensor
    task_weights: Tensor
    bilevel: bool = False
    ranks: Ranks = ALONE
    recorded: bool = False
    most_components: int | None = None

    @property
    def penalised(self) -> bool:
        """Whether heads are penalised at all."""
        return self.sparsity > 0 or self.sharing > 0

    @cached_property
    def curvatures(self) -> Tensor:
        """Bound on the curvature of each loss in its scores, shape (n_outputs, 1)."""
        found = torch.empty_like(self.spread).unsqueeze(1)
        for block in self.blocks:
            found[block.outputs] = block.kind.curvature
        return found

    def at(self, state: TrainingState) -> TrainingOptions:
        """The same with the thresholds of a state, which may be a copy of another."""
        if not state.thresholds:
            return self
        return replace(self, blocks=with_thresholds(self.blocks, state.thresholds))


Snapshot = tuple[dict[str, Tensor], Tensor, Tensor, Tensor, list[Tensor]]


@dataclass
class TrainingState:
    """All that changes while fitting.

    Attributes
    ----------
    body : torch.nn.Module
    theta : Tensor of shape (n_outputs, n_components + 1)
        Heads, in the order of the body's outputs; the last column is the intercept.
    mean, var : Tensor of shape (n_components,)
        Running statistics of the raw components.
    variance : Tensor of shape (n_dispersed_tasks,)
        Running residual variances.
    optimizer : torch.optim.Adam
    n_steps : int
    based : bool
        Whether a basis has been chosen for the components.
    n_labels : Tensor of shape (n_tasks,) or None
        Labels of each task; None until they are counted.
    input_noise, nonlinear_noise : float
        Standard deviations of the noise on the rows, and of what is added to it for hidden
        layers (:class:`skdisentangle.encoders.networks.Mlp`).
    columns, signs : Tensor of shape (n_chosen,) or None
        Of a fit that goes on: the outputs of the body that have been chosen for
        components, and their signs.
    pull : Tensor of shape (n_outputs, n_components) or None
        See :func:`skdisentangle.solvers.exact_heads.pulls_at_zeros`; None before the end of a fit.
    settled : bool
        Of a stream: whether the choice of the basis is final.
    moments : Tensor of shape (n_components + 1, n_components + 1) or None
        Of a stream that waits for rows to choose a basis on: sums of products of its raw
        components, and a one.
    head_pace : float
        Share of a whole step that the heads take; less than one on long streams, where
        they average over batches.
    inner_steps : int
        Steps of the heads for each step of the encoder, with the alternating solver.
    pace : float or Tensor of shape ()
        Share of a batch in the running statistics. A tensor where steps are recorded, as
        numbers would be recorded, too.
    thresholds : list of Tensor
        Those of the blocks, the very tensors.

    Training changes ``theta``, ``mean``, ``var``, ``variance`` and ``thresholds`` in place:
    recorded steps go on where these are.
    """

    body: nn.Module
    theta: Tensor
    mean: Tensor
    var: Tensor
    variance: Tensor
    optimizer: torch.optim.Optimizer
    n_steps: int = 0
    based: bool = False
    n_labels: Tensor | None = None
    input_noise: float = 0.0
    nonlinear_noise: float = 0.0
    columns: Tensor | None = None
    signs: Tensor | None = None
    pull: Tensor | None = None
    settled: bool = False
    moments: Tensor | None = None
    head_pace: float = 1.0
    inner_steps: int = FREE_STEPS
    pace: float | Tensor = 1.0
    thresholds: list[Tensor] = field(default_factory=list)

    def set_noise(self, rows: float, nonlinear: float) -> None:
        """Set the noise; what is for hidden layers, only if there are some of our own."""
        self.input_noise = rows
        self.nonlinear_noise = nonlinear if isinstance(self.body, Mlp) else 0.0

    def noise(
        self,
        n_features: int,
        generator: torch.Generator,
        n_steps: int = 1,
        last: RowNoise | None = None,
    ) -> RowNoise | None:
        """Noise for a pass of so many steps over rows of so many columns, if there is to be some.

        ``last`` is that of the pass before, which becomes it.
        """
        if self.input_noise == 0 and self.nonlinear_noise == 0:
            return None
        if last is not None:
            last.renew(n_steps, generator)
            return last
        sizes = self.input_noise, self.nonlinear_noise
        return RowNoise(*sizes, n_features, generator, self.theta, n_steps)

    def set_pace(self) -> None:
        """Set the share of the next batch in the running statistics."""
        pace = max(1 - MEMORY, 1 / (1 + self.n_steps))
        if isinstance(self.pace, Tensor):
            self.pace.fill_(pace)
        else:
            self.pace = pace

    def set_learning_rate(self, rate: float) -> None:
        """Set the length of the steps of the body."""
        group = self.optimizer.param_groups[0]
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate

    def hold_rates(self) -> None:
        """Keep pace and learning rate in tensors from now on."""
        self.pace = self.theta.new_ones(())
        group = self.optimizer.param_groups[0]
        group["lr"] = torch.tensor(group["lr"], device=self.theta.device)

    @classmethod
    def start(
        cls, body: nn.Module, theta: Tensor, options: TrainingOptions
    ) -> TrainingState:
        """Begin at a body and heads, with fresh statistics and a fresh optimiser."""
        n_components = theta.shape[1] - 1
        n_dispersed = sum(
            block.n_tasks for block in options.blocks if block.kind.dispersed
        )
        optimizer = torch.optim.Adam(
            [p for p in body.parameters() if p.requires_grad],
            lr=options.learning_rate,
            eps=ADAM_EPS,
            fused=theta.device.type in ("cpu", "cuda"),
        )
        optimizer.zero_grad()  # a module of the user's may come with gradients
        return cls(
            body=body,
            theta=theta.clone(),
            mean=theta.new_zeros(n_components),
            var=theta.new_ones(n_components),
            variance=theta.new_ones(n_dispersed),
            optimizer=optimizer,
            thresholds=thresholds_of(options.blocks),
        )

    def snapshot(self) -> Snapshot:
        """A copy of what the components and heads of a fit are made of."""
        weights = {k: v.detach().clone() for k, v in self.body.state_dict().items()}
        thresholds = [each.clone() for each in self.thresholds]
        heads = self.theta.clone()
        return weights, heads, self.mean.clone(), self.var.clone(), thresholds

    def restore(self, kept: Snapshot) -> None:
        """Go back to a snapshot, in place: recorded steps go on where tensors are."""
        self.body.load_state_dict(kept[0])
        own = self.theta, self.mean, self.var, *self.thresholds
        for values, before in zip(own, (*kept[1:4], *kept[4]), strict=True):
            values.copy_(before)

    def copy_first(self, ranks: Ranks) -> None:
        """Take body, heads and statistics of the first rank, bit by bit."""
        own = [self.theta, self.mean, self.var, self.variance, *self.thresholds]
        if self.pull is not None:
            own.append(self.pull)
        ranks.copy_first([*self.body.state_dict().values(), *own])


def _shares(codes: Tensor, row_weights: Tensor | None, part: Part | None) -> Tensor:
    """Share of each row in the statistics of its batch, shape (n_rows, 1)."""
    ranks, n_rows = part or (ALONE, len(codes))
    if row_weights is None:
        return codes.new_full((len(codes), 1), 1 / n_rows)
    return (row_weights / ranks.sum(row_weights.sum())).unsqueeze(1)


def standardise(
    raw: Tensor,
    state: TrainingState,
    row_weights: Tensor | None,
    part: Part | None = None,
) -> tuple[Tensor, Tensor]:
    """Standardise raw components over a batch, and keep running statistics.

    With ``part``, over all of the batch of which these rows are a part.

    Returns
    -------
    codes : Tensor of shape (n_rows, n_components)
    scale : Tensor of shape (n_components,)
        One over the standard deviations, for :func:`through_standardisation`.
    """
    if row_weights is None and part is None:
        # Not F.batch_norm: its running variance has another denominator, so that a fit
        # on repeated rows would differ from a weighted one.
        codes, mean, scale = torch.native_batch_norm(
            raw, None, None, None, None, True, 0.0, EPS
        )
        var = scale.pow(-2).sub_(EPS)
    else:
        ranks = ALONE if part is None else part.ranks
        share = _shares(raw, row_weights, part)
        mean = ranks.sum((share * raw).sum(0))
        centred = raw - mean
        var = ranks.sum((share * centred.square()).sum(0))
        scale = (var + EPS).rsqrt()
        codes = centred * scale
    state.mean.lerp_(mean, state.pace)
    state.var.lerp_(var, state.pace)
    return codes, scale


def through_standardisation(
    slope: Tensor,
    codes: Tensor,
    scale: Tensor,
    row_weights: Tensor | None,
    part: Part | None = None,
) -> Tensor:
    """Gradient in the raw components, from that in the codes; both (n_rows, n_components).

    Mean and variance take in all rows: what a shift or a stretch of a component would do
    to the loss is taken away (Ioffe & Szegedy, "Batch normalization", ICML 2015).
    """
    shift, stretch = slope.sum(0), (slope * codes).sum(0)
    if row_weights is None and part is None:
        each = 1 / codes.shape[0]
        slope = slope.addcmul(codes, stretch, value=-each).sub_(shift, alpha=each)
    else:
        ranks = ALONE if part is None else part.ranks
        ranks.sum_each([shift, stretch])
        share = _shares(codes, row_weights, part)
        slope = slope - share * (shift + codes * stretch)
    return slope.mul_(scale)


def squared_errors(
    errors: Tensor,
    weights: Tensor | None,
    n_dispersed: int,
    part: Part | None = None,
) -> Tensor:
    """Mean squared residual of each dispersed task; these come first."""
    if n_dispersed == 0:
        return errors.new_zeros(0)
    ranks, n_rows = part or (ALONE, errors.shape[0])
    square = errors[:, :n_dispersed].square()
    if weights is not None:
        square.mul_(weights[:, :n_dispersed])
    return ranks.sum(square.sum(0)).div_(n_rows)


def _outer_weights(
    errors: Tensor, n_rows: int, state: TrainingState, options: TrainingOptions
) -> Tensor:
    """Weight of each output, and a row, in the gradient of the body; updates the variances.

    ``errors`` are those of the batch, of so many rows, mean squared, of each dispersed task.
    """
    outer = options.task_weights / n_rows
    n_dispersed = errors.shape[0]
    if n_dispersed:
        state.variance.lerp_(errors, state.pace)
        floor = VARIANCE_FLOOR * options.spread[:n_dispersed].square()
        outer[:n_dispersed].div_(state.variance + floor)
    return outer


def _alternating(
    state: TrainingState,
    codes: Tensor,
    labels: LabelTensors,
    l1: Tensor,
    options: TrainingOptions,
    part: Part | None,
) -> Tensor:
    """Move the heads; gradient in the codes, on the same rows."""
    targets, weights, blocks = labels.targets, labels.weights, options.blocks
    ranks, n_rows = part or (ALONE, codes.shape[0])
    gram = bound = None
    if labels.row_weights is None:
        gram = ranks.sum(codes.T @ codes)
    if gram is not None and weights is None:
        # As `curvature` has it; of standardised codes no power overflows.
        bound = options.curvatures * largest_eigenvalue(gram, 1 / n_rows)
    moved = proximal_steps(
        state.theta,
        codes,
        targets,
        weights,
        blocks,
        l1,
        state.inner_steps,
        labels.row_weights,
        part,
        bound,
        gram,
        state.head_pace,
    )
    state.theta.copy_(moved)
    known = split_labels(targets, weights, blocks)
    scores = [
        block_scores(own, codes, block)
        for own, block in zip(split_heads(state.theta, blocks), blocks, strict=True)
    ]
    errors = [
        block_residual(score, truth, None, block)
        for score, block, (truth, _) in zip(scores, blocks, known, strict=True)
    ]
    n_dispersed = len(state.variance)
    first = errors[0]
    if first.shape[1] < n_dispersed:
        first = torch.cat(errors, dim=1)
    lost = squared_errors(first, weights, n_dispersed, part)
    outer = _outer_weights(lost, n_rows, state, options)
    heads = split_heads(state.theta[:, :-1] * outer.unsqueeze(1), blocks)
    slope = None
    for error, block, (_, weight), own in zip(
        errors, blocks, known, heads, strict=True
    ):
        error = weighted(error, weight, block)
        slope = error @ own if slope is None else slope.addmm_(error, own)
    assert slope is not None
    return slope


def _bilevel(
    state: TrainingState,
    codes: Tensor,
    labels: LabelTensors,
    l1: Tensor,
    options: TrainingOptions,
) -> Tensor:
    """Move the heads on the first half of the rows; gradient in the codes of the others' loss."""
    blocks = options.blocks
    n_support = max(1, len(codes) // 2)
    fixed, support = codes[:n_support], labels[:n_support]
    moved = proximal_steps(
        state.theta,
        fixed,
        support.targets,
        support.weights,
        blocks,
        l1,
        SUPPORT_STEPS,
        support.row_weights,
        pace=state.head_pace,
    )
    state.theta.copy_(moved)
    query = labels[n_support:]
    scores = codes[n_support:] @ state.theta.T
    n_dispersed = len(state.variance)
    error = residual(scores, query.targets, None, blocks)
    lost = squared_errors(error, query.weights, n_dispersed)
    if query.weights is not None:
        error *= tasks_to_outputs(query.weights, blocks)
    outer = _outer_weights(lost, len(error), state, options)
    if support.weights is not None:
        told = (support.weights > 0).any(0)
        outer = outer * tasks_to_outputs(told, blocks)
    error *= outer
    # Heads that take n steps of length 1 / L from where they were do not follow the codes
    # all the way where the loss bends little: they respond about as the optimum would with
    # a ridge of L / n around the start. Without it the gradient promises the body what the
    # heads do not do, and correlated factors are lost; so they are without the response.
    bound = curvature(fixed, support.weights, blocks, support.row_weights)
    through = implicit_gradient(
        state.theta,
        fixed,
        support.targets,
        support.weights,
        blocks,
        error.T @ codes[n_support:],
        damping=bound / SUPPORT_STEPS,
        max_iter=CONJUGATE_STEPS,
        tol=CONJUGATE_TOL,
    )
    return torch.cat([through, error @ state.theta[:, :-1]])


def step(
    state: TrainingState,
    rows: Tensor,
    labels: LabelTensors,
    l1: Tensor,
    options: TrainingOptions,
    part: Part | None = None,
) -> Tensor:
    """One step of heads and body on a batch.

    Parameters
    ----------
    state : TrainingState
        Changed in place.
    rows : Tensor of shape (n_rows, n_features)
        Standardised inputs.
    labels : LabelTensors
    l1 : Tensor of shape (n_outputs, n_components + 1)
    options : TrainingOptions
    part : Part, optional
        Of which batch these rows are a part, spread over processes.

    Returns
    -------
    Tensor of shape (n_rows, n_components + 1)
        The augmented codes of the batch, for the loss curve.
    """
    raw = state.body(rows)
    # The heads need no autograd, and their small operations are a fifth faster without.
    with torch.inference_mode():
        codes, scale = standardise(raw.detach(), state, labels.row_weights, part)
        fixed = augment(codes)
        if options.bilevel:
            slope = _bilevel(state, fixed, labels, l1, options)
        else:
            slope = _alternating(state, fixed, labels, l1, options, part)
        slope = through_standardisation(slope, codes, scale, labels.row_weights, part)
    raw.backward(slope)
    options.ranks.sum_gradients(state.body)
    _descend(state.optimizer)
    state.n_steps += 1
    return fixed


def _descend(optimizer: torch.optim.Optimizer) -> None:
    """One step of Adam, which takes the gradients with it.

    ``Optimizer.step`` and ``zero_grad`` would do the same, but what they do around it
    takes more time than the step itself. The first step of a parameter is left to them.
    """
    group, *others = optimizer.param_groups
    if others:
        optimizer.step()
        optimizer.zero_grad()
        return
    moving = [p for p in group["params"] if p.grad is not None]
    states = [optimizer.state[p] for p in moving]
    if all(states):
        with torch.no_grad():
            adam(
                moving,
                [p.grad for p in moving],
                [held["exp_avg"] for held in states],
                [held["exp_avg_sq"] for held in states],
                [],
                [held["step"] for held in states],
                fused=group["fused"],
                amsgrad=False,
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                lr=group["lr"],
                weight_decay=0.0,
                eps=group["eps"],
                maximize=False,
            )
    else:
        optimizer.step()
    for parameter in moving:
        parameter.grad = None
