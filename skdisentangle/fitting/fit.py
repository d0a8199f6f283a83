"""One fit, from a problem and settings to what has been learned.

:func:`fit` sets up tasks, scales, body and heads, lets :mod:`skdisentangle.fitting.training`
take the steps, and turns where they end into a :class:`~skdisentangle.fitting.problem.Fitted`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._random import RandomState, check_rng
from ..distributed import ALONE, Ranks
from ..encoders.networks import build_body, check_can_join, image_shape, seeded
from ..encoders.scalers import ComponentScaler, Encoder, InputScaler, last_linear
from ..rows.batches import n_batches
from ..rows.inputs import InputMoments, standardised_rows, unscaled
from ..rows.targets import encode_labels
from ..solvers.penalties import by_usage, output_weights, usage
from ..tasks.blocks import (
    Block,
    tasks_to_outputs,
    thresholds_of,
    with_thresholds,
)
from ..tasks.task_set import TaskSet
from ..tasks.weights import idle_tasks, learned_task_weights
from ..validation import layer_sizes, noise_sizes, split_rows, torch_device
from .all_rows import finish, score_state
from .held_back import Noise, choose_on_held_back_rows
from .idle import with_idle_tasks
from .monitor import Monitor
from .problem import Fitted, Problem, Settings
from .steps import EPS, TrainingOptions, TrainingState
from .training import train

__all__ = [
    "Setup",
    "budget",
    "columns_in_use",
    "fit",
    "fitted_from",
    "input_scaler",
    "training_options",
]

#: Rows up to which a fit takes all of them at each step, and rows a batch beyond that.
FULL_BATCH, BATCH_SIZE = 256, 128

#: Steps of ``max_iter="auto"``: with all rows at each step, and with batches; and the
#: least number of passes over the rows.
FULL_BATCH_STEPS, BATCH_STEPS, MIN_EPOCHS = 400, 3000, 10

#: Components that ``n_components="auto"`` begins with, at the most, and any fit, if there are
#: fewer outputs.
MAX_COMPONENTS = 64

#: Outputs of a body beyond the components, until a basis is chosen: room for a function of
#: factors that sharpens classes, which else takes the place of one. (Of seven factors in
#: tasks of three classes D was 0.62 to 0.84 in eight of nine fits without, and 0.97 to 0.99 in
#: all of six with one to seven.)
SPARE = 2

#: By so much less of a score exact heads are worse than those of the steps.
WORSE = 0.01


@dataclass
class Setup:
    """Tasks, scales and body of a fit, new or those of the last one.

    The body has ``n_components + spare`` outputs. Of all rows, tasks of weight zero are left
    out of ``task_set``: nothing that depends on them can then change the components.
    """

    task_set: TaskSet
    moments: InputMoments
    n_rows: int
    inputs: InputScaler
    body: torch.nn.Module
    n_components: int
    before: Fitted | None = None
    spare: int = 0

    @classmethod
    def new(
        cls,
        problem: Problem,
        settings: Settings,
        seed: int,
        *,
        classes: object = None,
        of_all_rows: bool = False,
        quiet: bool = False,
    ) -> Setup:
        """Look at labels and rows, and build a body.

        If these are all rows there will be, the body has outputs to spare where that is of
        use, and no more outputs than there are rows.
        """
        labels, ranks = problem.labels, problem.ranks
        weights = problem.weights()
        task_set = TaskSet.build(
            labels,
            task_types=settings.task_types,
            sample_weight=weights,
            classes=None if classes is None else labels.check_classes(classes),
            quiet=quiet,
            ranks=ranks,
        )
        if of_all_rows:
            task_set = task_set.without(idle_tasks(settings.task_weight, task_set))
        n_features = problem.X.shape[1]
        moments = InputMoments(n_features)
        moments.update(problem.X, weights, ranks)
        n_rows = ranks.count(problem.n_rows)
        width = _width(settings, task_set, n_rows if of_all_rows else None)
        hidden = layer_sizes(settings.hidden_layer_sizes)
        may_bend = settings.encoder == "conv" or (settings.encoder == "mlp" and hidden)
        of_classes = any(block.kind.has_classes for block in task_set.blocks)
        needed = of_all_rows and settings.penalised and may_bend and of_classes
        spare = SPARE if needed else 0
        body = build_body(
            settings.encoder,
            n_features=n_features,
            n_components=width + spare,
            hidden_layer_sizes=hidden,
            input_shape=image_shape(settings.input_shape, n_features),
            seed=seed,
        )
        inputs = input_scaler(moments, n_rows, settings)
        return cls(task_set, moments, n_rows, inputs, body, width, spare=spare)

    @classmethod
    def of(cls, before: Fitted, problem: Problem, settings: Settings) -> Setup:
        """Go on from a fit, on all rows."""
        before.task_set.check(problem.labels)
        task_set = before.task_set
        idle = idle_tasks(settings.task_weight, task_set)
        before = before.over(task_set.without(idle))
        width = len(before.encoder.components.mean)
        wanted = settings.n_components
        able = {
            _width(settings, before.task_set, most) for most in (None, before.n_rows)
        }
        if wanted != "auto" and width not in able:
            raise ValueError(
                f"n_components={wanted} cannot continue a fit of "
                f"{width} components; set warm_start=False."
            )
        return cls(
            before.task_set,
            before.moments,
            before.n_rows,
            before.encoder.inputs,
            copy.deepcopy(before.encoder.body),
            width,
            before,
        )

    def heads(self, like: Tensor) -> Tensor:
        """Heads to begin with: zeros, or those of the last fit."""
        width = self.n_components + self.spare
        theta = like.new_zeros(self.task_set.n_outputs, width + 1)
        if self.before is not None:
            coef, intercept = self.before.standardised_heads()
            components = self.before.encoder.components
            in_order = torch.from_numpy(coef).to(like) * components.sign.to(like)
            theta[:, components.order] = in_order
            theta[:, -1] = torch.from_numpy(intercept).to(like)
        return theta

    def begin(self, like: Tensor, options: TrainingOptions) -> TrainingState:
        """State before the first step."""
        body = self.body.to(like.device, like.dtype)
        return TrainingState.start(body, self.heads(like), options)


def _width(settings: Settings, task_set: TaskSet, n_rows: int | None) -> int:
    """Components to begin with.

    Heads tell no more of them apart than there are outputs, nor rows than there are rows.
    """
    width, most = settings.n_components, task_set.n_outputs
    if width == "auto":
        return min(most, MAX_COMPONENTS)
    if n_rows is not None:
        most = min(most, n_rows)
    if settings.penalised and isinstance(settings.encoder, str):
        width = min(width, max(MAX_COMPONENTS, most))
    return int(width)


def input_scaler(moments: InputMoments, n_rows: int, settings: Settings) -> InputScaler:
    """Scales of the columns, of so many rows."""
    n_features = len(moments.mean)
    if not settings.scale_inputs:
        return unscaled(n_features)
    return moments.scaler(n_rows, image_shape(settings.input_shape, n_features))


def budget(n_rows: int, settings: Settings) -> tuple[int, int]:
    """Rows a batch, and epochs."""
    if settings.batch_size == "auto":
        batch_size = n_rows if n_rows <= FULL_BATCH else BATCH_SIZE
    else:
        batch_size = min(int(settings.batch_size), n_rows)
    if settings.max_iter != "auto":
        return batch_size, int(settings.max_iter)
    n_batches = math.ceil(n_rows / batch_size)
    n_steps = FULL_BATCH_STEPS if n_batches == 1 else BATCH_STEPS
    return batch_size, max(MIN_EPOCHS, math.ceil(n_steps / n_batches))


def precision(X: Any, *, all_rows: bool) -> torch.dtype:
    """Precision of a fit: with all rows in each step, that of X.

    Double precision then costs next to nothing, and makes the fit indifferent to the order
    of the rows.
    """
    return torch.float64 if X.dtype == np.float64 and all_rows else torch.float32


def training_options(
    settings: Settings,
    task_set: TaskSet,
    spread: Tensor,
    ranks: Ranks = ALONE,
) -> TrainingOptions:
    """Constants of the steps."""
    weights = learned_task_weights(settings.task_weight, task_set)
    share = torch.from_numpy(weights / len(weights)).to(spread)
    thresholds = [each.to(spread, copy=True) for each in thresholds_of(task_set.blocks)]
    return TrainingOptions(
        blocks=with_thresholds(task_set.blocks, thresholds),
        sparsity=settings.sparsity,
        sharing=settings.sharing,
        learning_rate=float(settings.learning_rate_init),
        spread=spread,
        task_weights=tasks_to_outputs(share, task_set.blocks),
        bilevel=settings.solver == "bilevel",
        ranks=ranks,
        # Modules of the user's may do another thing each time.
        recorded=isinstance(settings.encoder, str) and ranks.size == 1,
    )


def fitted_from(
    state: TrainingState,
    setup: Setup,
    settings: Settings,
    spread: Tensor,
    *,
    fixed: bool = False,
) -> Fitted:
    """What has been learned by now: components in their order, with signs, and heads.

    Components are ordered by usage, and have the sign of their largest coefficient; those
    that no task uses are left out, unless there is no penalty. ``fixed`` is for fits that
    go on: the components are those of ``state.columns``, as they stand there, or all
    outputs of the body.
    """
    task_set = setup.task_set
    coef = state.theta[:, :-1].double().cpu()
    use = usage(coef, output_weights(task_set.blocks, coef))
    order, sign = state.columns, state.signs
    if not fixed:
        order, sign = columns_in_use(
            state, task_set.blocks, penalised=settings.penalised
        )
    elif order is None or sign is None:
        order, sign = torch.arange(coef.shape[1]), torch.ones(coef.shape[1])
    order, sign = order.cpu(), sign.double().cpu()
    components = ComponentScaler(len(order))
    components.mean = state.mean.double().cpu()
    components.scale = (state.var.double().cpu() + EPS).rsqrt()
    components.order = order
    components.sign = sign
    encoder = Encoder(setup.inputs, state.body.cpu().double(), components).eval()
    mean, scale = task_set.output_units()
    rows = task_set.output_order
    pull = None
    if state.pull is not None:
        pull = state.pull.double().cpu()[:, order].numpy()[rows] * scale[:, np.newaxis]
    unexplained = None
    n_squared = sum(block.n_tasks for block in task_set.blocks if block.kind.quadratic)
    if n_squared:  # these tasks come first
        whole = spread[:n_squared].double().square()
        left = state.variance[:n_squared].double() / whole.to(state.variance.device)
        unexplained = float(left.quantile(0.5))
    return Fitted(
        task_set=task_set.with_thresholds(state.thresholds),
        moments=setup.moments,
        n_rows=setup.n_rows,
        spread=spread.double().cpu().numpy(),
        encoder=encoder,
        coef=(coef[:, order] * sign).numpy()[rows] * scale[:, np.newaxis] + 0.0,
        intercept=state.theta[:, -1].double().cpu().numpy()[rows] * scale + mean,
        usage=use[order].numpy(),
        pull=pull,
        unexplained=unexplained,
        sparsity=settings.sparsity,
        sharing=settings.sharing,
        input_noise=float(state.input_noise),
        nonlinear_noise=float(state.nonlinear_noise),
    )


def drop_spare(
    state: TrainingState, blocks: Sequence[Block], n_components: int
) -> None:
    """Leave the body so many outputs, those that are used most.

    Of those without use the ones of small weights, but not of none: large ones make a
    component of what hardly varies, and in a fit that goes on from either rounding decides.
    """
    coef = state.theta[:, :-1]
    layer = last_linear(state.body)
    if layer is None or coef.shape[1] <= n_components:
        return
    order = by_usage(coef, blocks)
    used = coef.any(0)[order]
    size = torch.linalg.vector_norm(layer.weight.detach(), dim=1)[order]
    size[size < EPS * size.max()] = math.inf
    order = torch.cat([order[used], order[~used][size[~used].argsort(stable=True)]])
    kept = order[:n_components].sort().values
    for name in ("weight", "bias"):
        values = getattr(layer, name).detach()[kept]
        setattr(layer, name, torch.nn.Parameter(values))
    layer.out_features = n_components
    state.theta = torch.cat([coef[:, kept], state.theta[:, -1:]], dim=1)
    state.mean, state.var = state.mean[kept], state.var[kept]


def columns_in_use(
    state: TrainingState, blocks: Sequence[Block], *, penalised: bool
) -> tuple[Tensor, Tensor]:
    """Outputs of the body that make components, by usage, and their signs."""
    coef = state.theta[:, :-1].double().cpu()
    order = by_usage(coef, blocks)
    coef = coef[:, order]
    largest = coef.abs().argmax(0, keepdim=True)
    sign = coef.gather(0, largest).squeeze(0).sign()
    if not penalised:
        return order, torch.where(sign == 0, 1.0, sign)
    kept = sign != 0
    return order[kept], sign[kept]


def fit(
    problem: Problem,
    settings: Settings,
    random_state: RandomState,
    *,
    before: Fitted | None = None,
    start: float = 0.0,
    monitor: Monitor | None = None,
) -> Fitted:
    """Fit encoder and heads.

    Parameters
    ----------
    problem : Problem
    settings : Settings
    random_state : int, RandomState instance or None
    before : Fitted, optional
        A fit to go on from.
    start : float, default=0.0
        Share of the fit that is taken for done.
    monitor : Monitor, optional
        Is told of each epoch and of the end. Without one, as where this is one fit of
        many, nothing is said, and an interrupt is an error.

    Returns
    -------
    Fitted
    """
    X, ranks = problem.X, problem.ranks
    rng = check_rng(random_state)
    seeds = ranks.first(lambda: rng.randint(2**31 - 1, size=4))
    body_seed, order_seed, noise_seed, split_seed = map(int, seeds)
    quiet = monitor is None or monitor.only_doubts
    if before is None:
        setup = Setup.new(problem, settings, body_seed, of_all_rows=True, quiet=quiet)
    else:
        setup = Setup.of(before, problem, settings)
    task_set = setup.task_set
    balanced = settings.class_weight == "balanced"
    encoded = encode_labels(task_set, problem.labels, problem.weight, balanced, ranks)

    rows_in: slice | np.ndarray[tuple[int], np.dtype[np.intp]] = slice(None)
    held_back = None
    shard = ranks.shard(problem.n_rows)
    n_rows = problem.n_rows if shard is None else shard.n_rows
    if settings.early_stopping:
        fraction = settings.validation_fraction
        rows_in, held_back = split_rows(n_rows, fraction, split_seed)
        n_rows = len(rows_in)
        if shard is not None:
            rows_in, held_back = shard.here(rows_in), shard.here(held_back)
    batch_size, max_iter = budget(n_rows, settings)
    device = torch_device(settings.device)
    dtype = precision(X, all_rows=batch_size >= n_rows)
    like = torch.empty(0, dtype=dtype, device=device)

    noise: Noise | None = None  # to be chosen, once, like the strengths
    if settings.input_noise != "auto":
        noise = Noise(*noise_sizes(settings.input_noise))
    elif before is not None:
        noise = Noise(before.input_noise, before.nonlinear_noise)
    elif not settings.scale_inputs:
        noise = Noise(0.0, 0.0)  # columns may be of any scale, or numbers of words
    spread = torch.from_numpy(encoded.spread(task_set, ranks)).to(like)
    options = training_options(settings, task_set, spread, ranks)
    options = replace(options, most_components=setup.n_components)
    state = setup.begin(like, options)
    if ranks.size > 1:
        check_can_join(state.body)
    state.copy_first(ranks)
    train_rows = standardised_rows(X, setup.inputs, like, rows_in)
    train_labels = encoded.tensors(rows_in, like)
    counts = encoded.counts(rows_in, ranks)
    validate: Callable[[TrainingState], float] | None = None
    if held_back is not None:
        kept_rows = standardised_rows(X, setup.inputs, like, held_back)
        kept_labels = encoded.tensors(held_back, like)

        def held_back_score(state: TrainingState) -> float:
            score = score_state(state, kept_rows, kept_labels, options)
            if math.isnan(score):
                raise ValueError(
                    f"validation_fraction={settings.validation_fraction} holds back only "
                    "rows without a label of a task that can be learned; raise it, or set "
                    "early_stopping=False."
                )
            return score

        validate = held_back_score

    def finish_all(state: TrainingState) -> None:
        where = state, train_rows, train_labels, options
        finish(*where, n_rows=counts.rows, seed=noise_seed)

    def with_all_heads(state: TrainingState) -> Fitted:
        fitted = fitted_from(state, setup, settings, spread)
        others = task_set.idle()
        if others is None:
            return fitted
        own = encode_labels(others, problem.labels, problem.weight, balanced, ranks)
        width = torch.from_numpy(own.spread(others, ranks)).to(like)
        alone = replace(settings, task_weight=None, sharing=0.0)
        return with_idle_tasks(
            *(fitted, others, train_rows, own.tensors(rows_in, like)),
            own.counts(rows_in, ranks),
            training_options(alone, others, width, ranks),
            seed=noise_seed,
        )

    def ended(state: TrainingState) -> Fitted:
        drop_spare(state, options.blocks, setup.n_components)
        if validate is None:
            finish_all(state)
            return with_all_heads(state)
        before, kept = validate(state), state.snapshot()
        finish_all(state)
        if validate(state) < before - WORSE:
            # Of rows known by heart, heads that are optimal for them believe too much.
            state.restore(kept)
            state.pull = None
        return with_all_heads(state)

    def on_epoch(epoch: int, loss: float, score: float | None) -> bool:
        if monitor is None:
            return ranks.any(False)
        stop = monitor.epoch(
            *(epoch, max_iter, loss, score),
            n_active=min(
                int((state.theta[:, :-1] != 0).any(0).sum()), setup.n_components
            ),
            fitted=lambda: ended(copy.deepcopy(state)),
        )
        return ranks.any(stop)

    def on_stage(name: str) -> None:
        if monitor is not None:
            monitor.stage(name)

    state.n_labels = torch.from_numpy(counts.labels).to(like).clamp_min(1)
    if monitor is not None:
        monitor.begin(max_iter)
    own_noise = isinstance(settings.encoder, str)
    with nullcontext() if own_noise else seeded(noise_seed + ranks.rank):
        if noise is None:
            noise = choose_on_held_back_rows(
                state.body,
                state.theta,
                train_rows,
                train_labels,
                options,
                n_rows=counts.rows,
                n_labels=state.n_labels,
                batch_size=batch_size,
                n_steps=max_iter * n_batches(n_rows, batch_size),
                tol=settings.tol,
                n_iter_no_change=settings.n_iter_no_change,
                seed=order_seed,
                on_stage=on_stage,
            )
            if monitor is not None:
                monitor.doubt(
                    [task_set.tasks[task_set.learned[k]].name for k in noise.in_doubt]
                )
        state.set_noise(noise.rows, noise.nonlinear)
        history = train(
            state,
            train_rows,
            train_labels,
            options,
            batch_size=batch_size,
            max_iter=max_iter,
            tol=settings.tol,
            n_iter_no_change=settings.n_iter_no_change,
            generator=torch.Generator().manual_seed(order_seed),
            start=start,
            validate=validate,
            on_epoch=on_epoch,
            on_stage=on_stage,
        )
        if history.interrupted and (monitor is None or monitor.ends_when_interrupted):
            raise KeyboardInterrupt  # an end of the whole, not of one fit of many
        on_stage("solving for the heads on all rows")
        fitted = ended(state)
    fitted.losses, fitted.stages = history.losses, history.stages
    fitted.scores = history.scores if settings.early_stopping else None
    if monitor is not None:
        monitor.end(fitted, history, max_iter)
    return fitted
