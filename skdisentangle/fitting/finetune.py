"""Fits whose encoder begins with a backbone that is trained.

First the backbone is frozen, and the usual fit is made on its features, without penalties:
they would switch off what the backbone has not yet learned to show. Then it is trained, as the
lower part of the body, by the steps of any fit (:mod:`skdisentangle.fitting.steps`). Last
the usual fit is made on the features that it then gives.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .._random import RandomState, check_rng
from .._warnings import warn
from ..backbones._embedder import Embedder, Trainable
from ..backbones._finetuned import FineTuned, SomeRows, trainable, with_model
from ..distributed import Ranks
from ..encoders.networks import seeded
from ..encoders.scalers import InputScaler
from ..rows.batches import split_batches
from ..rows.targets import encode_labels
from ..validation import torch_device
from .fit import BATCH_SIZE, Setup, fit, fitted_from, training_options
from .monitor import Doubts, Monitor
from .problem import Fitted, Problem, Settings
from .progress import Line, duration
from .regularisation import RowNoise
from .steps import INNER_STEPS, step
from .stream import resumed
from .training import summed_loss, weights_of_penalty

__all__ = ["check_can_train", "fit_with_backbone"]

#: Learning rate of the encoder that follows, in that of the backbone.
FASTER = 10


class _Tuned(nn.Module):
    """Backbone, input scaler and body of an encoder, one after the other."""

    def __init__(
        self,
        backbone: Trainable,
        inputs: InputScaler,
        body: nn.Module,
        mixed: bool,
    ) -> None:
        super().__init__()
        self.module, self.inputs, self.body = backbone.module, inputs, body
        self.noise: RowNoise | None = None
        self._forward, self._mixed = backbone.forward, mixed

    def forward(self, prepared: Any) -> Tensor:
        kind = "cuda" if self._mixed else "cpu"
        with torch.autocast(kind, torch.bfloat16, enabled=self._mixed):
            features = self._forward(prepared)
        rows: Tensor = self.inputs(features.float())
        out: Tensor = self.body(rows if self.noise is None else self.noise(rows))
        return out


def check_can_train(tuned: FineTuned, *, early_stopping: bool, ranks: Ranks) -> None:
    """Raise ValueError for what does not go together with a backbone that is trained."""
    tuned._validate_params()
    if ranks.size > 1:
        raise ValueError(
            "encoder: a fit on several processes cannot train a backbone. Set n_epochs=0."
        )
    if early_stopping:
        raise ValueError(
            "early_stopping must be False if a backbone is trained, because it sees all "
            "rows. Choose n_epochs on other rows."
        )


def fit_with_backbone(
    tuned: FineTuned,
    embedder: Embedder,
    X: Any,
    kept: NDArray[np.intp] | None,
    problem: Problem,
    settings: Settings,
    random_state: RandomState,
    *,
    before: Fitted | None,
    monitor: Monitor,
) -> tuple[Fitted, Embedder]:
    """Fit encoder and heads, and train the backbone below them.

    Parameters
    ----------
    tuned : FineTuned
    embedder : Embedder
        With the backbone to begin with, which is not changed.
    X : images or texts
        As the embedder takes them.
    kept : ndarray of int or None
        Numbers of the rows of X that are those of the problem; None for all.
    problem : Problem
        Its rows are features of the backbone to begin with.
    settings : Settings
    random_state : int, RandomState instance or None
    before : Fitted or None
        A fit to go on from.
    monitor : Monitor

    Returns
    -------
    fitted : Fitted
    embedder : Embedder
        With the trained backbone.
    """
    backbone = trainable(embedder)
    kept = np.arange(problem.n_rows) if kept is None else kept
    start, own = before, settings
    if start is None:
        own = replace(settings, sparsity=0.0, sharing=0.0)
        start = fit(problem, own, random_state, monitor=Doubts())
    rows = SomeRows(embedder, X, kept)
    moved = _train(rows, problem, own, start, tuned, backbone, random_state, monitor)
    embedder = with_model(embedder, backbone.module)
    # Of rows that the backbone was trained on, features say too little of the noise that is
    # needed, and of what cannot be explained.
    noise = start.input_noise, start.nonlinear_noise
    fitted = fit(
        replace(problem, X=embedder.transform(X)[kept]),
        replace(settings, input_noise=noise),
        random_state,
        before=None if before is None else moved,
        monitor=monitor,
    )
    fitted.unexplained = start.unexplained
    return fitted, embedder


def _train(
    rows: SomeRows,
    problem: Problem,
    settings: Settings,
    before: Fitted,
    tuned: FineTuned,
    backbone: Trainable,
    random_state: RandomState,
    monitor: Monitor,
) -> Fitted:
    """Train the backbone, in place, and what follows it, from where a fit ended."""
    rng = check_rng(random_state)
    order_seed, noise_seed = map(int, rng.randint(2**31 - 1, size=2))
    like = torch.empty(0, dtype=torch.float32, device=torch_device(settings.device))
    setup = Setup.of(before, problem, settings)
    assert setup.before is not None
    before = setup.before  # without tasks of weight zero
    balanced = settings.class_weight == "balanced"
    encoded = encode_labels(setup.task_set, problem.labels, problem.weight, balanced)
    labels = encoded.tensors(slice(None), like)
    spread = torch.from_numpy(before.spread).to(like)
    options = replace(
        training_options(settings, setup.task_set, spread), recorded=False
    )
    state = resumed(setup, before, like, options)
    options = options.at(state)
    state.n_labels = torch.from_numpy(encoded.counts(slice(None)).labels).to(like)
    state.inner_steps = INNER_STEPS
    # Heads that follow small batches would follow their noise.
    state.head_pace = min(1.0, tuned.batch_size / BATCH_SIZE)
    body, inputs = state.body, _copied(setup.inputs, like)
    module = _Tuned(backbone, inputs, body, like.is_cuda).to(like.device)
    learned = [p for p in backbone.module.parameters() if p.requires_grad]
    if not learned:
        raise ValueError(
            "encoder: its backbone has no weights with requires_grad=True to train. Set "
            "n_epochs=0 to keep it frozen."
        )
    state.body = module
    state.optimizer = torch.optim.AdamW(
        [
            {"params": learned, "weight_decay": tuned.weight_decay},
            {"params": list(body.parameters()), "weight_decay": 0.0},
        ]
    )
    generator = torch.Generator().manual_seed(order_seed)
    told = _Progress(tuned, len(rows), verbose=monitor.verbose > 0)
    raises = monitor.ends_when_interrupted
    with seeded(noise_seed), nullcontext() if raises else _until_interrupted(told):
        for number, index in _batches(len(rows), tuned, generator):
            if index is None:
                module.noise = _noise(before, inputs, generator, state.theta)
                l1 = weights_of_penalty(state, options)
                continue
            _set_rates(state.optimizer, tuned, (number + 0.5) / told.n_steps)
            prepared = backbone.prepare(*rows.take(index.tolist()))
            prepared = _moved(prepared, like.device)
            if tuned.augment:
                prepared = backbone.augment(prepared, generator)
            known = labels[index.to(like.device)]
            state.set_pace()
            codes = step(state, prepared, known, l1, options)
            total = float(summed_loss(state, codes, known, options.blocks))
            told.step(total / known.targets.numel())
            if not math.isfinite(total):
                raise ValueError(
                    "encoder: the training of the backbone diverged; lower learning_rate of "
                    "FineTuned."
                )
    told.end()
    backbone.module.cpu()
    state.body = body
    fitted = fitted_from(state, setup, settings, spread, fixed=True)
    fitted.input_noise = before.input_noise
    fitted.nonlinear_noise = before.nonlinear_noise
    return fitted


def _moved(prepared: Any, device: torch.device) -> Any:
    """What a backbone takes, a tensor or a mapping with some, on a device."""
    if isinstance(prepared, Tensor):
        return prepared.to(device)
    return {
        name: values.to(device) if isinstance(values, Tensor) else values
        for name, values in prepared.items()
    }


@contextmanager
def _until_interrupted(told: _Progress) -> Iterator[None]:
    """Keep what has been learned when the user wants no more."""
    try:
        yield
    except KeyboardInterrupt:
        warn(
            f"The training of the backbone was interrupted after {told.done} of "
            f"{told.n_steps} steps; the fit continues with what it has learned."
        )


def _copied(inputs: InputScaler, like: Tensor) -> InputScaler:
    return InputScaler(inputs.mean.to(like), inputs.scale.to(like))


def _batches(
    n_rows: int, tuned: FineTuned, generator: torch.Generator
) -> Iterator[tuple[int, Tensor | None]]:
    """Number of the step and rows of each batch; None where an epoch begins."""
    number = 0
    for _ in range(tuned.n_epochs):
        yield number, None
        order = torch.randperm(n_rows, generator=generator)
        for index in split_batches(order, tuned.batch_size):
            yield number, index
            number += 1


def _noise(
    before: Fitted, inputs: InputScaler, generator: torch.Generator, like: Tensor
) -> RowNoise | None:
    """The noise of the fit, for a pass."""
    sizes = before.input_noise, before.nonlinear_noise
    if not any(sizes):
        return None
    return RowNoise(*sizes, len(inputs.mean), generator, like)


def _set_rates(
    optimizer: torch.optim.Optimizer, tuned: FineTuned, progress: float
) -> None:
    """Warm up, then fall along a half cosine."""
    if progress < tuned.warmup:
        share = progress / tuned.warmup
    else:
        left = (progress - tuned.warmup) / max(1 - tuned.warmup, 1e-9)
        share = (1 + math.cos(math.pi * left)) / 2
    first, second = optimizer.param_groups
    first["lr"] = tuned.learning_rate * share
    second["lr"] = FASTER * first["lr"]


class _Progress:
    """One line that is rewritten: steps, loss, time left."""

    def __init__(self, tuned: FineTuned, n_rows: int, *, verbose: bool) -> None:
        a_pass = len(split_batches(torch.arange(n_rows), tuned.batch_size))
        self.n_steps = max(1, a_pass * tuned.n_epochs)
        self.loss = 0.0
        self._line, self.done = Line() if verbose else None, 0
        self._first = time.monotonic()

    def step(self, loss: float) -> None:
        """Tell of a step, by its mean loss over rows and tasks."""
        self.done += 1
        self.loss = loss if self.done == 1 else 0.9 * self.loss + 0.1 * loss
        if self._line is not None:
            took = time.monotonic() - self._first
            left = took / self.done * (self.n_steps - self.done)
            self._line.write(self._text(f"{duration(left)} left"))

    def end(self) -> None:
        """Tell of the end."""
        if self._line is not None and self.done:
            took = duration(time.monotonic() - self._first)
            self._line.end(self._text(f"took {took}"))

    def _text(self, more: str) -> str:
        return (
            f"Training the backbone: step {self.done}/{self.n_steps}  "
            f"loss {self.loss:.4f}  {more}"
        )
