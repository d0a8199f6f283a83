"""Pairs of components that are settled, when penalties have made the heads sparse."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from ._common import (
    EMPTY,
    GAIN,
    MAX_ROUNDS,
    NO_PART,
    Basis,
    FloatArray,
    count_nonzeros,
)

#: Sizes of a shear, at the most, that are tried.
MAX_SHEAR_SIZES = 32

#: Values that are looked at, at the most, after each pair was looked at once: about a tenth
#: of a second. Heads of hundreds of classes are dense, and would go on saving one of
#: thousands of nonzeros at a time.
MAX_VALUES = 10**7


def _best_shear(
    heads: FloatArray, correlation: FloatArray, i: int, j: int
) -> tuple[float, float, float]:
    """The shear of two components that saves most: what it saves, its size, and a length.

    Component i takes in t times component j, and is scaled back to variance one; the heads
    of j lose t times those of i.
    """
    here = heads[:, i] != 0  # of the other outputs nothing changes
    first, second = heads[here, i], heads[here, j]
    both = (np.abs(first) > NO_PART) & (np.abs(second) > NO_PART)
    if not both.any():
        return 0.0, 0.0, 1.0
    t = second[both] / first[both]
    if len(t) > MAX_SHEAR_SIZES:
        # Of many outputs some stand for all; sizes that many agree on stay among them.
        t = np.sort(t)[:: -(-len(t) // MAX_SHEAR_SIZES)]
    std = np.sqrt(np.maximum(1 + t**2 + 2 * t * correlation[i, j], EMPTY))
    first, second = first[:, np.newaxis], second[:, np.newaxis]
    saved = count_nonzeros(first) + count_nonzeros(second) - np.log(std)
    saved -= count_nonzeros(second - first * t) + count_nonzeros(first * std)
    number = int(np.argmax(saved))
    return saved[number], t[number], std[number]


def settled_basis(coef: Tensor, correlation: Tensor) -> Basis | None:
    """Shear pairs of components as long as that saves nonzeros, or correlation at a tie.

    With few tasks many bases are as sparse as that of the factors: where a single task
    tells two factors apart, a shear takes one zero and gives another. Of such we take the
    one whose components are least correlated. A nonzero counts as much as a factor
    ``e`` in the square root of the determinant of the correlation matrix, so that many
    tasks outweigh the preference.

    Parameters
    ----------
    coef : Tensor of shape (n_outputs, n_components)
        Sparse heads.
    correlation : Tensor of shape (n_components, n_components)
        Correlation matrix of the components.

    Returns
    -------
    Basis or None
        None if there is nothing to gain. Components that no output uses stay as they are.
    """
    heads = coef.double().cpu().numpy()
    matrix = correlation.double().cpu().numpy()
    chosen = np.flatnonzero(heads.any(0))
    heads, matrix = heads[:, chosen], matrix[np.ix_(chosen, chosen)]
    power = np.sqrt(np.einsum("kd,de,ke->k", heads, matrix, heads).clip(min=0))
    used = power > 0
    heads = heads[used] / power[used, np.newaxis]
    number = len(chosen)
    transform = np.eye(number)
    shears = np.zeros((number, number, 3))
    changed = set(range(number))
    n_values = 0
    for _ in range(MAX_ROUNDS):
        for i, j in permutations(range(number), 2):
            if i in changed or j in changed:
                shears[i, j] = _best_shear(heads, matrix, i, j)
        saved = shears[:, :, 0]
        if saved.max(initial=0.0) <= GAIN:
            break
        i, j = map(int, np.unravel_index(saved.argmax(), saved.shape))
        change = np.eye(number)
        change[j, i] = shears[i, j, 1]
        change[:, i] /= shears[i, j, 2]
        heads = heads @ np.linalg.inv(change).T
        heads[np.abs(heads) < EMPTY] = 0
        matrix = change.T @ matrix @ change
        transform = transform @ change
        changed = {i, j}
        n_used = int(np.count_nonzero(heads[:, [i, j]]))
        n_values += 2 * number * n_used * MAX_SHEAR_SIZES
        if n_values > MAX_VALUES:
            break
    if np.array_equal(transform, np.eye(len(chosen))):
        return None
    n_outputs, n_components = coef.shape
    new = np.zeros((n_outputs, n_components))
    new[np.ix_(used, chosen)] = heads * power[used, np.newaxis]
    full = np.eye(n_components)
    full[np.ix_(chosen, chosen)] = transform
    return Basis(torch.from_numpy(full).to(coef), torch.from_numpy(new).to(coef))
