"""Uncorrelated components, at the end of a fit: by rotations, where outputs are few.

With few outputs the sparsest basis need not be that of the factors: with 12 tasks for six
factors some mixture most often saves a zero or two. So we look, among rotations, for the
sparsest basis whose components are uncorrelated. If there is one with hardly more
nonzeros, then what makes the heads sparse makes the components uncorrelated, too, which
mixtures have no reason to be. For correlated factors there is none, unless the heads are all
error: in six dimensions the sparsest rotation has about ten nonzeros more.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from ._common import (
    EMPTY,
    GAIN,
    MAX_ROUNDS,
    NO_PART,
    SMALL,
    Basis,
    FloatArray,
    count_nonzeros,
    has_few_outputs,
    lengths_of,
    nonzeros_in,
    rows_of_length_one,
    starts,
)

#: Random starts of the search, beside the rotation that is nearest to what is there.
N_STARTS = 3

#: Components with no more correlation than this are uncorrelated.
UNCORRELATED = 0.15

#: How strongly a column stays where the outputs that do without it leave it open.
STAY = 1e-2


def _rotate(heads: FloatArray, bases: FloatArray) -> FloatArray:
    """Rotate pairs of the columns of ``heads @ basis`` as long as that saves nonzeros.

    Of all angles those are tried at which some output loses one of the two. All bases are
    rotated side by side; none hangs on another.

    Parameters
    ----------
    heads : ndarray of shape (n_outputs, rank)
    bases : ndarray of shape (n_bases, rank, rank)

    Returns
    -------
    ndarray of shape (n_bases, rank, rank)
    """
    n_outputs, rank = heads.shape
    # Columns of heads and basis, below each other, turn alike: (rows, bases, columns).
    turned = np.vstack([heads, np.eye(rank)]) @ bases
    turned = np.ascontiguousarray(turned.transpose(1, 0, 2))
    moving = np.arange(len(bases))
    for _ in range(MAX_ROUNDS):
        now = turned[:, moving]
        moved = np.zeros(len(moving), dtype=bool)
        for i, j in combinations(range(rank), 2):
            first, second = now[:, :, i], now[:, :, j]
            one, other = first[:n_outputs], second[:n_outputs]
            size = np.hypot(one, other)
            there = size > NO_PART
            size[~there] = 1.0
            cos, sin = other / size, one / size
            parts = one[:, :, np.newaxis], other[:, :, np.newaxis]
            at = cos.T, sin.T
            counts = count_nonzeros(parts[0] * at[0] - parts[1] * at[1])
            counts += count_nonzeros(parts[0] * at[1] + parts[1] * at[0])
            counts[~there.T] = np.inf
            best = counts.argmin(1)
            chosen = np.arange(len(best)), best
            before = count_nonzeros(one) + count_nonzeros(other)
            better = counts[chosen] < before - GAIN
            if better.any():
                moved |= better
                c = np.where(better, at[0][chosen], 1.0)
                s = np.where(better, at[1][chosen], 0.0)
                now[:, :, i], now[:, :, j] = (
                    first * c - second * s,
                    first * s + second * c,
                )
        turned[:, moving] = now
        moving = moving[moved]
        if not len(moving):
            break
    return turned[n_outputs:].transpose(1, 0, 2)


def _relieved(heads: FloatArray, basis: FloatArray) -> FloatArray:
    """Columns turned to what the outputs that do without them say, where they say it."""
    columns = basis.copy()
    small = np.abs(heads @ basis) < SMALL
    stay = STAY * np.eye(len(basis))
    for m, without in enumerate(small.T):
        rest = heads[without]
        column = np.linalg.solve(rest.T @ rest + stay, basis[:, m])
        columns[:, m] = column / np.linalg.norm(column)
    return columns


def _uncorrelated(heads: FloatArray, basis: FloatArray) -> FloatArray | None:
    """Sparsest basis of uncorrelated components, if it is hardly less sparse than another.

    Parameters
    ----------
    heads : ndarray of shape (n_outputs, rank)
        Of white codes, rows of length one.
    basis : ndarray of shape (rank, rank)
        The other, symmetric: of rotations the nearest to it is no rotation at all.
    """
    n_outputs, rank = heads.shape
    best, fewest = None, nonzeros_in(heads, basis) + rank / 2
    for rotated in _rotate(heads, starts(rank, N_STARTS)):
        columns = _relieved(heads, rotated)
        # Of columns that are nearly orthogonal the components correlate by their cosines.
        if np.abs(columns.T @ columns - np.eye(rank)).max() > UNCORRELATED:
            continue
        nonzeros = nonzeros_in(heads, columns)
        if nonzeros < fewest - GAIN * n_outputs:
            best, fewest = columns, nonzeros
    return best


def uncorrelated_basis(coef: Tensor, correlation: Tensor) -> Basis | None:
    """Basis of uncorrelated components that is about as sparse as the one there is.

    It may have as many nonzeros in excess as half of the components: by a smooth count, of
    heads without penalties, whose errors blur it. Whether exact heads are as sparse has to
    be seen.

    Parameters
    ----------
    coef : Tensor of shape (n_outputs, n_components)
        Heads without penalties on the components in use; zero elsewhere.
    correlation : Tensor of shape (n_components, n_components)
        Correlation matrix of the components.

    Returns
    -------
    Basis or None
        None if there is none, or if outputs are not few.
        Components that no output uses stay as they are.
    """
    heads = coef.double().cpu().numpy()
    matrix = correlation.double().cpu().numpy()
    chosen, used = np.flatnonzero(heads.any(0)), heads.any(1)
    if not has_few_outputs(int(used.sum()), len(chosen)):
        return None
    variance, axes = np.linalg.eigh(matrix[np.ix_(chosen, chosen)])
    if variance[0] < EMPTY:
        return None
    root = (axes * np.sqrt(variance)) @ axes.T
    whiten = np.linalg.inv(root)
    white = heads[:, chosen] @ root
    best = _uncorrelated(rows_of_length_one(white[used]), whiten)
    if best is None:
        return None
    lengths = lengths_of(best)
    new = np.zeros_like(heads)
    new[:, chosen] = white @ best * lengths
    full = np.eye(len(matrix))
    full[np.ix_(chosen, chosen)] = whiten @ np.linalg.inv(best).T / lengths
    return Basis(torch.from_numpy(full).to(coef), torch.from_numpy(new).to(coef))
