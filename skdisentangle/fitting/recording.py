"""Steps on a GPU, recorded once and played back.

A step of a small network is a hundred kernels of a few microseconds each, and Python takes
longer to start them than the GPU to run them. Recorded as a CUDA graph they are started
together. A graph goes on reading and writing where it did when it was recorded: rows, labels
and penalties of each batch are copied there, and what a step changes is changed in place.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..rows.batches import LabelTensors
from .steps import TrainingOptions, TrainingState, step

__all__ = ["RecordedSteps", "cuda_graph"]

_LOCK = threading.Lock()

#: Steps of each kind that are taken one operation at a time before one is recorded, in
#: which libraries set themselves up.
FIRST_STEPS = 3


def cuda_graph(run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """Record what a function does on the GPU.

    Parameters
    ----------
    run : callable

    Returns
    -------
    replay : callable
        Does it again.
    out : Tensor
        What the function gave, which each replay writes anew.
    """
    graph = torch.cuda.CUDAGraph()
    # Fits in other threads go on meanwhile, but for those that begin to record: that waits
    # for the GPU as a whole, which may not be while something is recorded.
    with _LOCK, torch.cuda.graph(graph, capture_error_mode="thread_local"):
        out = run()
    return graph.replay, out


class _Recorded(NamedTuple):
    replay: Callable[[], None]
    inputs: list[Tensor]
    codes: Tensor


def _tensors(rows: Tensor, labels: LabelTensors, l1: Tensor) -> list[Tensor]:
    """What a step is given, without what is not there."""
    given = (rows, labels.targets, labels.weights, labels.row_weights, l1)
    return [values for values in given if values is not None]


class RecordedSteps:
    """Steps as :func:`skdisentangle.fitting.steps.step` takes them.

    There is one record for each batch size and number of steps of the heads.

    Parameters
    ----------
    state : TrainingState
        Whose steps they are. Its rates become tensors, which a record can read.
    options : TrainingOptions
    record : callable, default=cuda_graph
        Records what a function does.
    """

    def __init__(
        self,
        state: TrainingState,
        options: TrainingOptions,
        record: Callable[
            [Callable[[], Tensor]], tuple[Callable[[], None], Tensor]
        ] = cuda_graph,
    ) -> None:
        state.hold_rates()
        self._state, self._options = state, options
        self._record = record
        self._taken: Counter[tuple[int, int]] = Counter()
        self._recorded: dict[tuple[int, int], _Recorded] = {}

    def _step(self, rows: Tensor, labels: LabelTensors, l1: Tensor) -> Tensor:
        return step(self._state, rows, labels, l1, self._options)

    def __call__(self, rows: Tensor, labels: LabelTensors, l1: Tensor) -> Tensor:
        """Take one; returns the codes, until the next of this kind."""
        kind = len(rows), self._state.inner_steps
        self._taken[kind] += 1
        if self._taken[kind] <= FIRST_STEPS:
            return self._step(rows, labels, l1)
        if kind not in self._recorded:
            own = rows.clone(), labels.clone(), l1.clone()
            n_steps = self._state.n_steps
            replay, codes = self._record(lambda: self._step(*own))
            self._state.n_steps = n_steps  # it was recorded, not taken
            self._recorded[kind] = _Recorded(replay, _tensors(*own), codes)
        recorded = self._recorded[kind]
        given = _tensors(rows, labels, l1)
        for place, values in zip(recorded.inputs, given, strict=True):
            place.copy_(values)
        recorded.replay()
        self._state.n_steps += 1
        return recorded.codes
