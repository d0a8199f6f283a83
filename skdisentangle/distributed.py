"""Fit on several processes or machines, each of which holds some of the rows.

Under ``torchrun``, every process runs the same script and gives its own rows to
:meth:`Ranks.fit`. All processes end with the same fitted estimator. Up to rounding, it is
the fit of one process on all rows in the order of the ranks, however you distribute the
rows. Ranks may have different numbers of rows.

Batches are drawn from all rows, and each rank processes the part of a batch that it holds.
The statistics of the components, the sums for the heads, the residual variances and the
gradient of the encoder are sums over rows, so they are summed over ranks. All ranks then
take the same steps.

If a rank is killed, raises an error or does not answer within the timeout, the fit of all
other ranks ends with an error that says so.
"""

# The gradients of the encoder are summed here, not by torch's DistributedDataParallel. That
# object must be deleted before its process group ends, or the end may hang, but after an error
# the traceback keeps it alive. It also averages over ranks, where we need a sum over rows. The
# gradient through the statistics of a batch is summed over ranks, too
# (``steps.through_standardisation``): without that the encoder converges to something else.

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = [
    "ALONE",
    "Part",
    "Ranks",
    "Shard",
    "check_no_group",
    "joined",
    "process_group",
]

Thing = TypeVar("Thing")


class Ranks:
    """The processes of a fit, and the number of this process.

    :func:`process_group` returns it. Only :meth:`fit` involves all ranks. Any other call
    inside the group, such as `transform`, concerns this process alone. `partial_fit` raises
    an error.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    size : int
        Number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1, timeout: float = 0.0) -> None:
        self.rank = rank
        self.size = size
        self._timeout = timeout
        self._group: dist.ProcessGroup | None = None
        self._together = True

    def __repr__(self) -> str:
        return f"Ranks(rank={self.rank}, size={self.size})"

    def fit(
        self,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        Y_tasks: Any = None,
        sample_weight: Any = None,
    ) -> Any:
        """Fit an estimator on the rows of all ranks.

        Call it on every rank, with the same parameters. Rank 0 provides the seed if
        ``random_state`` is None, and the weights of a module of your own.

        Parameters
        ----------
        estimator : SparseSharedDisentangler
            It must have ``solver="alternating"``, numbers as strengths, and an encoder
            without batch normalisation.
        X, y, Y_tasks, sample_weight
            The rows of this rank, at least two, as in
            :meth:`~skdisentangle.SparseSharedDisentangler.fit`. On ranks without
            ``sample_weight`` it is 1.

        Returns
        -------
        SparseSharedDisentangler
            The fitted estimator, the same on all ranks.

        Raises
        ------
        ValueError
            On all ranks, if the rows, labels or parameters of one rank are not as
            described, or if parameters, columns or tasks differ between ranks.
        TypeError
            If it is another estimator.
        RuntimeError
            If another rank was killed, failed, or did not answer within the timeout. The
            estimator then stays as it was before, and these ranks cannot fit any more.
        """
        if not getattr(estimator, "_fits_on_ranks", False):
            raise TypeError(
                "estimator must be a SparseSharedDisentangler, the only one that can be "
                f"fitted on the rows of all ranks; got {type(estimator).__name__}."
            )
        if self.size == 1:
            return estimator.fit(X, y, Y_tasks=Y_tasks, sample_weight=sample_weight)
        if not self._together:
            raise RuntimeError(
                f"Rank {self.rank} lost the other ranks when a fit ended with an error. "
                "Restart all processes."
            )
        with ExitStack() as on_error:
            on_error.callback(self._leave)
            token = _JOINED.set(self)
            try:
                estimator.fit(X, y, Y_tasks=Y_tasks, sample_weight=sample_weight)
            except _OnAllRanksError as error:
                on_error.pop_all()
                raise error.error from error.error.__cause__
            finally:
                _JOINED.reset(token)
            on_error.pop_all()
        return estimator

    # -- what the fit asks of the others; without any, nothing is changed ---------------

    def sum(self, values: Thing) -> Thing:
        """Sum over ranks of a tensor or float array, which may be overwritten."""
        total: Thing = self._reduce(values, "SUM")
        return total

    def largest(self, values: Thing) -> Thing:
        """Largest over ranks of each entry of a tensor or float array."""
        most: Thing = self._reduce(values, "MAX")
        return most

    def mean(self, values: NDArray[np.float64]) -> Any:
        """Mean over the rows of all ranks."""
        if self.size == 1:
            return values.mean(0)
        return self.sum(values.sum(0)) / self.count(len(values))

    def count(self, number: int) -> int:
        """Sum over ranks of a number."""
        return int(self.sum(np.array([float(number)]))[0])

    def any(self, condition: bool) -> bool:
        """Whether it is so on some rank."""
        return bool(self.largest(np.array([float(condition)]))[0])

    def gather(self, thing: Thing) -> list[Thing]:
        """What each rank has, in their order."""
        out: list[Any] = [thing] * self.size
        if self.size > 1:
            self._call(dist.all_gather_object, out, thing)
        return out

    def first(self, make: Callable[[], Thing]) -> Thing:
        """What the first rank makes; tensors in it must be on the CPU."""
        if self.size == 1:
            return make()
        out: list[Any] = [make() if self.rank == 0 else None]
        self._call(dist.broadcast_object_list, out, src=0)
        made: Thing = out[0]
        return made

    def rows(self, values: Tensor) -> Tensor:
        """Rows of all ranks, in their order."""
        if self.size == 1:
            return values
        # Sums of zeros and rows: the ranks' numbers of rows need not be the same.
        shard = Shard(self, *self._place(len(values)))
        out = values.new_zeros(shard.n_rows, *values.shape[1:])
        out[shard.first : shard.first + len(values)] = values
        return self.sum(out)

    def copy_first(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors by those of the first rank."""
        if self.size > 1:
            theirs = self.first(lambda: [tensor.detach().cpu() for tensor in tensors])
            with torch.no_grad():
                for tensor, first in zip(tensors, theirs, strict=True):
                    tensor.copy_(first)

    def sum_each(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors of one dtype by their sums over ranks, in one message."""
        if self.size > 1 and tensors:
            flat = self.sum(torch.cat([tensor.flatten() for tensor in tensors]))
            sizes = [tensor.numel() for tensor in tensors]
            for tensor, total in zip(tensors, flat.split(sizes), strict=True):
                tensor.copy_(total.view_as(tensor))

    def sum_gradients(self, module: nn.Module) -> None:
        """Sum the gradients of a module over ranks; none counts as zero."""
        if self.size == 1:
            return
        parameters = [p for p in module.parameters() if p.requires_grad]
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.sum_each([p.grad for p in parameters if p.grad is not None])

    def together(self) -> AbstractContextManager[None]:
        """Let all ranks fail if one does, in a block in which none asks the others."""
        return nullcontext() if self.size == 1 else _Together(self)

    def agree(self, facts: dict[str, Any]) -> None:
        """Raise ValueError, on all ranks, unless facts are the same on all."""
        if self.size == 1:
            return
        theirs = self.gather(facts)
        for name, value in theirs[0].items():
            for rank, other in enumerate(theirs):
                if other[name] != value:
                    raise _OnAllRanksError(
                        ValueError(
                            f"{name} must be the same on all ranks; got {value!r} on rank "
                            f"0 and {other[name]!r} on rank {rank}."
                        )
                    )

    def shard(self, n_rows: int) -> Shard | None:
        """Place of this rank's rows among all; None if it holds all."""
        return None if self.size == 1 else Shard(self, *self._place(n_rows))

    def _place(self, n_rows: int) -> tuple[int, int, int]:
        counts = self.gather(n_rows)
        return sum(counts[: self.rank]), n_rows, sum(counts)

    def _reduce(self, values: Any, operation: str) -> Any:
        if self.size == 1:
            return values
        if isinstance(values, np.ndarray | np.floating):
            out = torch.from_numpy(np.array(values, dtype=np.float64))
            return self._reduce(out, operation).numpy()
        values = values.contiguous()
        self._call(dist.all_reduce, values, op=getattr(dist.ReduceOp, operation))
        return values

    def _call(self, collective: Callable[..., Any], *args: Any, **options: Any) -> None:
        try:
            collective(*args, group=self._group, **options)
        except RuntimeError as error:
            raise RuntimeError(
                f"Rank {self.rank} of {self.size} lost another one, which was killed, "
                f"raised an error of its own, or did not answer within the timeout of "
                f"{self._timeout:g} s. Read the errors of the others, then restart all "
                "processes."
            ) from error

    def _start(self) -> None:
        """Open a group of our own: with our timeout, and ours to close."""
        self._group = dist.new_group(timeout=timedelta(seconds=self._timeout))

    def _leave(self) -> None:
        """Close the connections: what others still ask of this rank fails at once."""
        if self._group is not None:
            if torch.__version__ < "2.8":
                # It closes a group with the interpreter's lock held, for which threads of
                # the group may still wait: without time to get it, all would hang.
                time.sleep(0.1)
            dist.destroy_process_group(self._group)
        self._group, self._together = None, False


#: The ranks of a process that has no others.
ALONE = Ranks()

_JOINED: ContextVar[Ranks] = ContextVar("joined", default=ALONE)


def joined() -> Ranks:
    """The ranks that take part in the current fit."""
    return _JOINED.get()


_OPEN: ContextVar[Ranks] = ContextVar("open", default=ALONE)


def check_no_group(method: str) -> None:
    """Raise RuntimeError in a process group of several, where a method would be local."""
    n_processes = _OPEN.get().size
    if n_processes > 1:
        raise RuntimeError(
            f"{method} fits on the rows of one process, so it must be called outside "
            f"process_group; got a call inside one of {n_processes} processes. Use "
            "ranks.fit, which fits on the rows of all."
        )


class _OnAllRanksError(Exception):
    """Carries an error that all ranks raise, after which they are still together."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class _Together:
    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        said = None if kind is None else f"{kind.__name__}: {error}"
        for rank, other in enumerate(self._ranks.gather(said)):
            if other is not None:
                if isinstance(error, Exception):
                    raise _OnAllRanksError(error) from error
                if error is None:
                    raise _OnAllRanksError(
                        ValueError(f"Rank {rank} cannot take part in the fit. {other}")
                    )


@dataclass(frozen=True)
class Shard:
    """Rows of a rank, ``n_here`` from ``first`` on, among all ``n_rows``."""

    ranks: Ranks
    first: int
    n_here: int
    n_rows: int

    def here(self, index: Any) -> Any:
        """Those of some rows that are here, numbered from the first one here."""
        inside = (index >= self.first) & (index < self.first + self.n_here)
        return index[inside] - self.first


class Part(NamedTuple):
    """What a rank holds of a batch of ``n_rows``."""

    ranks: Ranks
    n_rows: int


@contextmanager
def process_group(
    *, timeout: float = 600.0, backend: str | None = None
) -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` started.

    Parameters
    ----------
    timeout : float, default=600.0
        Longest time in seconds that a rank waits for the others, at the start and in each
        exchange. Make it longer than the rank with the most rows needs to read them.
    backend : str, default=None
        Backend of torch.distributed, such as ``"gloo"``. None uses gloo for tensors on
        the CPU and NCCL for those on a GPU. It is ignored if torch.distributed already has
        a process group.

    Yields
    ------
    Ranks
        The ranks. Without ``torchrun`` and outside any process group there is one rank, so
        the same script runs in a single process, too.

    Raises
    ------
    ValueError
        If the timeout is not above 0.
    RuntimeError
        If not all processes join within the timeout.

    Examples
    --------
    >>> import numpy as np
    >>> from skdisentangle import SparseSharedDisentangler
    >>> from skdisentangle.distributed import process_group
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 4))
    >>> with process_group(timeout=60) as ranks:
    ...     mine = slice(ranks.rank, None, ranks.size)
    ...     dis = SparseSharedDisentangler(2, random_state=0)
    ...     dis = ranks.fit(dis, X[mine], X[mine, :3])
    >>> dis.transform(X).shape
    (100, 2)
    """
    if not timeout > 0:
        raise ValueError(f"timeout must be above 0 seconds; got {timeout!r}.")
    ours = not (dist.is_available() and dist.is_initialized())
    if ours and "WORLD_SIZE" not in os.environ:
        yield ALONE
        return
    if ours:
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
    try:
        ranks = Ranks(dist.get_rank(), dist.get_world_size(), timeout)
        ranks._start()
        token = _OPEN.set(ranks)
        try:
            yield ranks
            # None is to leave while another has yet to get its answer.
            if ranks._together:
                ranks.gather(None)
        finally:
            _OPEN.reset(token)
            ranks._leave()
    finally:
        if ours:
            dist.destroy_process_group()
