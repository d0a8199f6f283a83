"""Rows and labels on their way into a fit, and the batches that they are cut into.

What the outer loop asks of rows (:mod:`skdisentangle.fitting.training`) and what holds them
(:mod:`skdisentangle.rows.inputs`, :mod:`skdisentangle.rows.blocks`) meet here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ..distributed import Ranks
from ..solvers.proximal import Sliceable

__all__ = [
    "Batches",
    "BatchesInParts",
    "LabelRows",
    "LabelTensors",
    "Rows",
    "RowsInBlocks",
    "gather",
    "n_batches",
    "shuffled_batches",
    "split_batches",
]


class Rows(Protocol):
    """Rows of standardised inputs, gathered by index."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Tensor) -> Tensor: ...


@runtime_checkable
class BatchesInParts(Protocol):
    """Row numbers of the batches of a pass, of which some can be had together."""

    def __len__(self) -> int: ...

    def parts(self) -> Iterator[Sequence[Tensor]]: ...


Batches = Sequence[Tensor] | BatchesInParts


@runtime_checkable
class RowsInBlocks(Rows, Protocol):
    """Rows that can be gathered by index, but are better had in an order of their own."""

    @property
    def chunk_rows(self) -> int: ...

    def batches(self, batch_size: int, generator: torch.Generator) -> Batches: ...


class LabelRows(Protocol):
    """Labels of rows, which become tensors when some rows are asked for."""

    @property
    def targets(self) -> Sliceable: ...

    @property
    def weights(self) -> Sliceable | None: ...

    @property
    def row_weights(self) -> Tensor | None: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Tensor | slice) -> LabelTensors: ...


@dataclass(frozen=True)
class LabelTensors:
    """Encoded labels of some rows.

    Attributes
    ----------
    targets : Tensor of shape (n_rows, n_tasks)
        See :mod:`skdisentangle.tasks.blocks`.
    weights : Tensor of shape (n_rows, n_tasks) or None
        Weight of each label, zero where there is none; of mean one. None for ones.
    row_weights : Tensor of shape (n_rows,) or None
        Weight of each row in the statistics of the components. None for ones.
    """

    targets: Tensor
    weights: Tensor | None
    row_weights: Tensor | None

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: Tensor | slice) -> LabelTensors:
        return LabelTensors(
            gather(self.targets, index),
            None if self.weights is None else gather(self.weights, index),
            None if self.row_weights is None else gather(self.row_weights, index),
        )

    def clone(self) -> LabelTensors:
        """The same in memory of its own."""
        return LabelTensors(
            self.targets.clone(),
            None if self.weights is None else self.weights.clone(),
            None if self.row_weights is None else self.row_weights.clone(),
        )

    def of_all(self, ranks: Ranks) -> LabelTensors:
        """Labels of the rows of all ranks."""
        return LabelTensors(
            ranks.rows(self.targets),
            None if self.weights is None else ranks.rows(self.weights),
            None if self.row_weights is None else ranks.rows(self.row_weights),
        )

    def split(self, sizes: Sequence[int]) -> list[LabelTensors]:
        """Consecutive parts of so many rows."""
        empty = [None] * len(sizes)
        return [
            LabelTensors(*parts)
            for parts in zip(
                self.targets.split(sizes),
                empty if self.weights is None else self.weights.split(sizes),
                empty if self.row_weights is None else self.row_weights.split(sizes),
                strict=True,
            )
        ]


def gather(values: Tensor, index: Tensor | slice) -> Tensor:
    """Rows of a tensor; ``index_select`` is several times faster than indexing."""
    return values[index] if isinstance(index, slice) else values.index_select(0, index)


def n_batches(n_rows: int, batch_size: int) -> int:
    """Batches of nearly equal size, none of a single row."""
    return max(1, min(math.ceil(n_rows / batch_size), n_rows // 2))


def split_batches(order: Tensor, batch_size: int) -> list[Tensor]:
    """Cut a permutation into batches."""
    return list(order.tensor_split(n_batches(len(order), batch_size)))


def shuffled_batches(
    rows: Rows | RowsInBlocks,
    n_rows: int,
    batch_size: int,
    generator: torch.Generator,
    like: Tensor,
) -> Batches:
    """Batches of all rows, of all ranks, in random order, each row in one of them.

    Rows that are not in memory say themselves in which order they can be had.
    """
    if isinstance(rows, RowsInBlocks):
        return rows.batches(batch_size, generator)
    order = torch.randperm(n_rows, generator=generator).to(like.device)
    return split_batches(order, batch_size)
