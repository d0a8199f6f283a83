"""Columns of a basis that are exchanged, where outputs are few and shears find too little.

All but one of the directions are spanned by the heads of any so many outputs. If none of
these uses a factor, what is orthogonal to them is that factor's column. So there is a
choice of columns that enough outputs do without, and a basis takes one in for one of its
own as long as that saves nonzeros. A nonzero counts as much as a factor ``e`` in the
square root of the determinant of the correlation matrix: else columns would be taken that
hardly differ.
"""

from __future__ import annotations

import numpy as np

from ._common import (
    EMPTY,
    GAIN,
    MAX_ROUNDS,
    FloatArray,
    count_nonzeros,
    has_few_outputs,
)

#: Draws of outputs.
N_DRAWS = 1500

#: A sine: directions that are closer count as dependent.
LEAST_ANGLE = 0.05


def exchanged(heads: FloatArray, basis: FloatArray) -> FloatArray:
    """The basis after all exchanges that gain something; itself if outputs are not few.

    Parameters
    ----------
    heads : ndarray of shape (n_outputs, rank)
        Of white codes, rows of length one.
    basis : ndarray of shape (rank, rank)

    Returns
    -------
    ndarray of shape (rank, rank)
    """
    if not has_few_outputs(*heads.shape):
        return basis
    columns = _null_columns(heads)
    sizes = np.abs(heads @ columns)
    for _ in range(MAX_ROUNDS):
        inverse = np.linalg.inv(basis)
        gram = inverse @ inverse.T
        parts = inverse @ columns
        there = np.abs(heads @ basis)
        lengths = np.sqrt(gram.diagonal())
        least = count_nonzeros(there * lengths).sum()
        least += np.log(lengths).sum() - GAIN
        found = None
        for m, part in enumerate(parts):
            able = np.flatnonzero(np.abs(part) > LEAST_ANGLE)
            if not len(able):
                continue
            # Rows of the new inverse, and their lengths, for all new columns at once.
            ratio = parts[:, able] / part[able]
            ratio[m] = 0
            square = gram.diagonal()[:, np.newaxis] - 2 * ratio * gram[:, [m]]
            square += ratio**2 * gram[m, m]
            square[m] = gram[m, m] / part[able] ** 2
            lengths = np.sqrt(np.maximum(square, EMPTY**2))
            new = there[:, :, np.newaxis] * lengths
            new[:, m] = sizes[:, able] * lengths[m]
            costs = count_nonzeros(new).sum(0)
            costs += np.log(np.abs(part[able])) + np.log(lengths).sum(0)
            i = int(np.argmin(costs))
            if costs[i] < least:
                least, found = costs[i], (m, able[i])
        if found is None:
            break
        basis = basis.copy()
        basis[:, found[0]] = columns[:, found[1]]
    return basis


def _null_columns(heads: FloatArray) -> FloatArray:
    """Columns of length one that the outputs of each draw do without."""
    n_outputs, rank = heads.shape
    draws = np.random.default_rng(0).random((N_DRAWS, n_outputs)).argsort(axis=1)
    _, spectrum, right = np.linalg.svd(heads[draws[:, : rank - 1]])
    columns: FloatArray = right[spectrum[:, -1] > LEAST_ANGLE, -1].T
    return columns
