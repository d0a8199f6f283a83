r"""The first choice of a basis, from dense heads: by shears, from several starts.

Of all changes :math:`A` of the same volume we look for the one whose heads have the
smallest columns,

.. math:: \min_{|\det A| = 1} \sum_m \log \| (\Phi A)_{\cdot m} \|_1 .

The logarithm makes the scale of a component irrelevant, and the fixed volume makes the
criterion blind to correlation among the components: correlated factors are as good a
basis as independent ones, where a rotation, or an L1 penalty at unit variance, prefers
differences of factors. (With unit variance in place of fixed volume this is rotation to
simple loadings, Jennrich, "Rotation to simple loadings using component loss functions:
the oblique case", Psychometrika 71, 2006; with it, blind separation of sparse sources,
Zibulevsky & Pearlmutter, "Blind source separation by sparse decomposition in a signal
dictionary", Neural Computation 13, 2001.)

The search goes by shears, :math:`\Phi_{\cdot j} \leftarrow \Phi_{\cdot j} - t
\Phi_{\cdot i}`, which have determinant one, and for which the best :math:`t` is a
weighted median. As the problem is not convex, it begins in several places; of the bases
found we take the one with the fewest nonzeros; where outputs are few, columns of it are then
exchanged (:mod:`~skdisentangle.solvers.basis.exchanges`).

How many directions of the codes the heads need is told from the heads and their standard
errors: a direction is needed if some output would lose a share of its variance without it
that is no random error, or if over all outputs together it stands out from the noise, whose
largest singular value is about the sum of the roots of the two dimensions (Marchenko & Pastur,
"Distribution of eigenvalues for some sets of random matrices", Math. USSR-Sbornik 1, 1967).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._common import (
    EMPTY,
    GAIN,
    MAX_ROUNDS,
    Basis,
    FloatArray,
    lengths_of,
    nonzeros_in,
    rows_of_length_one,
    starts,
)
from .exchanges import exchanged

#: An output may lose so much of its variance (and of the mean over outputs) when directions
#: that no task needs are taken away. (At twice this the table oes97 lost 0.025 of R2 in the mean
#: of two splits, and hiv 0.004. At half of it oes97 lost 0.009, and twelve others nothing.)
LOSS_SHARE = 0.01

#: Random errors of the heads count as so much more than they are: heads are fitted on rows
#: that the encoder was fitted on, too.
ERROR_FACTOR = 6.0

#: Directions of a task's classes with less than this share of its power are left out. (Half
#: and twice of it moved D by 0.002 at the most.)
SIDE_SHARE = 0.02

#: Singular values of heads, in standard errors, above so many times the largest of pure
#: noise are no noise. (At 2, four questionnaires lost 0.005 to 0.01 of R2. At 1.2, up to five
#: components came of labels of which 20% are wrong, and D fell by 0.13 in one case of the suite
#: hard.)
NOISE_FACTOR = 1.5

#: Random starts of the search, and how many of the starts are turned by varimax, too; fewer
#: where a sweep from all of them would look at more values than this. (Of six to thirty
#: factors in made heads random starts alone are better where factors correlate by 0.7,
#: those of varimax where heads are noisy or outputs few; of a hundred one of varimax finds
#: more than random ones in twenty times the time.)
MAX_STARTS, MAX_TURNED, SWEEP_VALUES = 20, 5, 10**6

#: Values that a search looks at, at the most, but for the least rounds: about a minute.
SEARCH_VALUES, LEAST_ROUNDS = 3 * 10**9, 3

#: Rounds of varimax, and the relative gain that ends them.
VARIMAX_ROUNDS, VARIMAX_TOL = 50, 1e-4


def _of_tasks(
    heads: FloatArray, errors: FloatArray, tasks: NDArray[np.intp]
) -> tuple[FloatArray, FloatArray, NDArray[np.intp]]:
    """What each task asks of white codes: of several outputs the principal directions.

    The same number on the scores of all classes means nothing, and of what is left classes
    in an order need one direction: the scores of those in the middle are next to nothing
    but error, which at length one would count as much as the rest.

    Parameters
    ----------
    heads : ndarray of shape (n_outputs, n_components)
    errors : ndarray of shape (n_outputs,)
        Standard error of each output's coefficients.
    tasks : ndarray of shape (n_outputs,)
        Number of the task of each output, in order.

    Returns
    -------
    heads, errors, tasks
        The same of fewer rows: singular vectors of the centred heads of a task, times their
        singular values. Tasks of one output stay as they are.
    """
    first = np.flatnonzero(np.diff(tasks, prepend=-1))
    rows, spreads, counts = [], [], []
    for own, error in zip(
        np.split(heads, first[1:]), np.split(errors, first[1:]), strict=True
    ):
        if len(own) > 1:
            left, spectrum, right = np.linalg.svd(
                own - own.mean(0), full_matrices=False
            )
            kept = spectrum**2 >= SIDE_SHARE * (spectrum**2).sum()
            # Rounding must not decide on signs.
            left, spectrum, right = left[:, kept], spectrum[kept], right[kept]
            spectrum *= np.sign(left[np.abs(left).argmax(0), np.arange(len(spectrum))])
            own = spectrum[:, np.newaxis] * right
            error = np.sqrt(left.T**2 @ error**2)
        rows.append(own)
        spreads.append(error)
        counts.append(len(own))
    numbers = np.repeat(np.arange(len(counts)), counts)
    return np.vstack(rows), np.concatenate(spreads), numbers


def _rank(
    heads: FloatArray, errors: FloatArray, n_needed: int | None = None
) -> tuple[int, FloatArray]:
    """Directions of white codes that outputs need, and all directions, as rows."""
    left, spectrum, right = np.linalg.svd(heads)
    left = left[:, : len(spectrum)]
    power = (left * spectrum) ** 2
    whole = power.sum(1)
    errors = np.maximum(errors, EMPTY * np.sqrt(whole.mean()))
    lost = whole[:, np.newaxis] - np.cumsum(power, axis=1)
    share = LOSS_SHARE * (whole + whole.mean())[:, np.newaxis]
    # Squares of so many random errors: mean plus three standard deviations.
    n_left = len(spectrum) - 1 - np.arange(len(spectrum))
    noise = (
        ERROR_FACTOR * (n_left + 3 * np.sqrt(2 * n_left)) * errors[:, np.newaxis] ** 2
    )
    by_share, by_output = (
        int(np.argmax((lost <= least).all(0))) + 1 for least in (share, share + noise)
    )
    sizes = np.linalg.svd(heads / errors[:, np.newaxis], compute_uv=False)
    by_all = int((sizes > NOISE_FACTOR * np.sqrt(heads.shape).sum()).sum())
    rank = max(by_output, min(by_share, by_all)) if n_needed is None else n_needed
    # What a singular value decomposition leaves open must not hang on rounding: the
    # signs, and the basis of what is not needed.
    signs = np.sign(left[np.abs(left).argmax(0), np.arange(len(spectrum))])[:rank]
    needed = right[:rank] * signs[:, np.newaxis]
    rest = np.linalg.qr(np.eye(len(right)) - needed.T @ needed)[0]
    return rank, np.vstack([needed, rest[:, : len(right) - rank].T])


def _medians(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Weighted median along the last dimension."""
    order = np.argsort(values, axis=-1)
    mass = np.cumsum(np.take_along_axis(weights, order, axis=-1), axis=-1)
    # Outputs of a multiclass task sum to zero, which makes ties; rounding must not matter.
    middle = np.argmax(mass >= mass[..., -1:] * (0.5 - 1e-9), axis=-1, keepdims=True)
    place = np.take_along_axis(order, middle, axis=-1)
    medians: FloatArray = np.take_along_axis(values, place, axis=-1)[..., 0]
    return medians


def _varimax(heads: FloatArray, basis: FloatArray) -> FloatArray:
    """Turn a basis so that squared heads differ most within its columns.

    Kaiser, "The varimax criterion for analytic rotation in factor analysis", Psychometrika
    23, 1958, by the polar factor of its gradient (Jennrich, "A simple general procedure for
    orthogonal rotation", Psychometrika 66, 2001).
    """
    value = 0.0
    for _ in range(VARIMAX_ROUNDS):
        turned = heads @ basis
        square = turned**2
        left, spectrum, right = np.linalg.svd(
            heads.T @ (turned * (square - square.mean(0)))
        )
        basis = left @ right
        before, value = value, float(spectrum.sum())
        if value < before * (1 + VARIMAX_TOL):
            break
    return basis


def _starts(heads: FloatArray) -> FloatArray:
    """Where to begin: turned by varimax, and not, as many as there is time for.

    Parameters
    ----------
    heads : ndarray of shape (n_outputs, rank)
        Of white codes, rows of length one.

    Returns
    -------
    ndarray of shape (n_starts, rank, rank)
    """
    rank = heads.shape[1]
    number = min(MAX_STARTS, SWEEP_VALUES // (rank**2 * len(heads)))
    plain = starts(rank, number)
    turned = [_varimax(heads, basis) for basis in plain[: MAX_TURNED + 1]]
    return np.stack([*turned, *plain] if number else turned)


def _shear(white: FloatArray, bases: FloatArray) -> FloatArray:
    """Shear the columns of ``white @ basis`` until the criterion no longer falls.

    All bases are sheared side by side; none hangs on another.

    Parameters
    ----------
    white : ndarray of shape (n_outputs, rank)
        Heads of white codes.
    bases : ndarray of shape (n_bases, rank, rank)
        Where to begin.

    Returns
    -------
    ndarray of shape (n_bases, rank, rank)
        Of the same determinants.
    """
    tiny = np.finfo(np.float64).tiny
    # Columns of a basis are rows here, and outputs the last dimension, along which is sorted.
    columns = np.ascontiguousarray(bases.transpose(0, 2, 1))
    heads = columns @ white.T
    least = 1e-6 * np.abs(heads).max((1, 2))[:, np.newaxis]  # smaller ones are rounding
    values = np.full(len(bases), np.inf)
    moving = np.arange(len(bases))
    affordable = SEARCH_VALUES // (len(bases) * columns[0].size * len(white))
    for _ in range(min(MAX_ROUNDS, max(LEAST_ROUNDS, affordable))):
        own, now = columns[moving], heads[moving]
        for i in range(heads.shape[1]):
            column = now[:, i].copy()
            size = np.abs(column)
            out = size <= least[moving]
            column[out] = 1.0
            weights = np.where(out, 0.0, size)[:, np.newaxis]
            ratios = now / column[:, np.newaxis]
            step = _medians(ratios, np.broadcast_to(weights, ratios.shape))
            step[out.all(1)] = 0.0
            step[:, i] = 0.0
            now -= now[:, [i]] * step[:, :, np.newaxis]
            own -= own[:, [i]] * step[:, :, np.newaxis]
        columns[moving], heads[moving] = own, now
        before = values[moving]
        values[moving] = np.log(np.abs(now).sum(2) + tiny).sum(1)
        moving = moving[before - values[moving] >= GAIN]
        if not len(moving):
            break
    return columns.transpose(0, 2, 1)


def _first_of_the_sparsest(heads: FloatArray, bases: FloatArray) -> FloatArray:
    """Of those as good, as rounding must not decide between them."""
    counts = np.array([nonzeros_in(heads, basis) for basis in bases])
    sparsest: FloatArray = bases[np.argmax(counts <= counts.min() + GAIN * len(heads))]
    return sparsest


def simplest_basis(
    coef: Tensor,
    correlation: Tensor,
    weights: Tensor,
    spread: Tensor,
    errors: Tensor,
    tasks: Tensor | None = None,
    n_needed: int | None = None,
) -> Basis | None:
    """Basis of the components in which dense heads are simple.

    Directions that no output needs are switched off.

    Parameters
    ----------
    coef : Tensor of shape (n_outputs, n_components)
        Heads.
    correlation : Tensor of shape (n_components, n_components)
        Correlation matrix of the components.
    weights : Tensor of shape (n_outputs,)
        Weight of each output in the criterion.
    spread : Tensor of shape (n_outputs,)
        Standard deviation of what each output predicts. Scores of classes that are told
        apart without error grow without bound; heads are scaled so that the scores of
        an output, times its spread, vary by one at the most.
    errors : Tensor of shape (n_outputs,)
        Standard error of the coefficients of each output, for white codes.
    tasks : Tensor of shape (n_outputs,), optional
        Number of the task of each output, in order; by default each is a task.
    n_needed : int, optional
        How many directions are needed, if that is known.

    Returns
    -------
    Basis or None
        None if all heads are zero, or no component varies.
    """
    heads = coef.double().cpu().numpy()
    variance, axes = np.linalg.eigh(correlation.double().cpu().numpy())
    there = variance > EMPTY
    root = np.sqrt(np.where(there, variance, 1.0))
    whiten = np.where(there, axes / root, 0.0)  # codes @ whiten are white
    white = heads @ np.where(there, axes * root, 0.0)
    if not white.any():
        return None
    scale = spread.double().cpu().numpy()
    own = np.arange(len(white)) if tasks is None else tasks.cpu().numpy()
    share = np.bincount(own, weights.double().cpu().numpy())
    rows, row_errors, own = _of_tasks(
        white * scale[:, np.newaxis], errors.double().cpu().numpy() * scale, own
    )
    size = np.sqrt(np.bincount(own, (rows**2).sum(1)))
    weight = (share / np.maximum(size, 1))[own]
    weighted = rows * weight[:, np.newaxis]
    rank, directions = _rank(weighted, row_errors * weight, n_needed)
    white, rows = white @ directions[:rank].T, rows @ directions[:rank].T
    whiten = whiten @ directions.T
    scaled = rows * weight[:, np.newaxis]
    unit = rows_of_length_one(rows, own)
    best = _first_of_the_sparsest(unit, _shear(scaled, _starts(unit)))
    best = exchanged(unit, best)
    lengths = lengths_of(best)
    new = np.zeros_like(heads)
    new[:, :rank] = white @ best * lengths
    transform = whiten.copy()
    transform[:, :rank] = whiten[:, :rank] @ np.linalg.inv(best).T / lengths
    return Basis(torch.from_numpy(transform).to(coef), torch.from_numpy(new).to(coef))
