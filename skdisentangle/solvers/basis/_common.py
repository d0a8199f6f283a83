"""What the searches for a basis share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

FloatArray = NDArray[np.float64]

#: Directions of the codes with less variance than this are empty.
EMPTY = 1e-6

#: Size of a coefficient, in standard deviations of what its output predicts, around which
#: it stops to count.
SMALL = 0.1

#: A coefficient of this size is no part of an output at all.
NO_PART = 0.02

#: A search goes on if it gains more than this: so many nonzeros, or so much of its own
#: criterion. Of two bases none is better if they differ by less for each output.
GAIN = 1e-3

#: Rounds of a search at the most.
MAX_ROUNDS = 100

#: Outputs for each component, at the most, that are few: with more, the sparsest basis is
#: that of the factors. With more components than the most a search takes long.
FEW_OUTPUTS, MAX_RANK = 4, 20


class Basis(NamedTuple):
    """A change of components.

    Attributes
    ----------
    transform : Tensor of shape (n_components, n_components)
        ``codes @ transform`` are the new components, of variance one.
    coef : Tensor of shape (n_outputs, n_components)
        Their heads, which give the same scores; zero for components without use.
    """

    transform: Tensor
    coef: Tensor


def has_few_outputs(n_outputs: int, n_components: int) -> bool:
    """Whether outputs span the components, and are so few that more must be looked at."""
    most = FEW_OUTPUTS * n_components
    return 1 < n_components <= min(MAX_RANK, n_outputs) and n_outputs <= most


def lengths_of(basis: FloatArray) -> FloatArray:
    """Standard deviations of the components, whose heads are white heads @ basis."""
    lengths: FloatArray = np.linalg.norm(np.linalg.inv(basis), axis=1)
    return lengths


def count_nonzeros(relative: FloatArray) -> FloatArray:
    """Smooth count, over outputs, of the coefficients that are not small."""
    square = relative**2
    count: FloatArray = (square / (square + SMALL**2)).sum(0)
    return count


def nonzeros_in(heads: FloatArray, basis: FloatArray) -> float:
    """Nonzeros in a basis of the heads of white codes, rows of length one."""
    return float(count_nonzeros(heads @ basis * lengths_of(basis)).sum())


def rows_of_length_one(
    heads: FloatArray, tasks: NDArray[np.intp] | None = None
) -> FloatArray:
    """Heads of length one, of the outputs that have any; of a task all rows together."""
    sizes = np.linalg.norm(heads, axis=1)
    if tasks is not None:
        sizes = np.sqrt(np.bincount(tasks, sizes**2))[tasks]
    there = sizes > 0
    unit: FloatArray = heads[there] / sizes[there, np.newaxis]
    return unit


def starts(rank: int, number: int) -> FloatArray:
    """Where a search begins: at the basis there is, and at so many random rotations of it.

    Returns
    -------
    ndarray of shape (1 + number, rank, rank)
    """
    rng = np.random.default_rng(0)
    random = [np.linalg.qr(rng.normal(size=(rank, rank)))[0] for _ in range(number)]
    return np.stack([np.eye(rank), *random])
