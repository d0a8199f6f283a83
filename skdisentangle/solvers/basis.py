r"""Out of dense heads: change the components to a basis in which heads are sparse.

A network without penalties finds the space that the tasks span, and in it any basis. Which
one makes the heads sparse can be seen from the heads alone: codes :math:`z` with heads
:math:`\Phi` give the same scores as codes :math:`z A^{-\top}` with heads
:math:`\Phi A`. Of all :math:`A` of the same volume we look for the one whose heads have
the smallest columns,

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
weighted median; from several starts, as the problem is not convex, each refined by weights
that spare large coefficients. With few outputs that often fails. Then a column of the basis is
better found as what is orthogonal to the heads of enough outputs that do without it, and a
basis by taking the sparsest columns that are independent, which is the sparsest basis of all
if the columns are there, and exchanging columns. Of all bases found we take the one with
the fewest nonzeros; where these are about as many, one whose components are less correlated.

How many directions of the codes the heads need is told from the heads and their standard
errors: a direction is needed if some output would lose a share of its variance without it
that is no random error, or if over all outputs together it stands out from the noise, whose
largest singular value is about the sum of the roots of the two dimensions (Marchenko & Pastur,
"Distribution of eigenvalues for some sets of random matrices", Math. USSR-Sbornik 1, 1967).

Later, when penalties have made the heads sparse, pairs of components are looked at once
more, see :func:`settled_basis`.

With few outputs the sparsest basis need not be that of the factors: with 12 tasks for six
factors some mixture most often saves a zero or two. So at the end we look, among rotations,
for the sparsest basis whose components are uncorrelated. If there is one with hardly more
nonzeros, then what makes the heads sparse makes the components uncorrelated, too, which
mixtures have no reason to be. For correlated factors there is none, unless the heads are all
error: in six dimensions the sparsest rotation has about ten nonzeros more. See
:func:`uncorrelated_basis`.
"""

from __future__ import annotations

from itertools import combinations, permutations
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = [
    "Basis",
    "change_outputs",
    "has_few_outputs",
    "settled_basis",
    "simplest_basis",
    "uncorrelated_basis",
]

FloatArray = NDArray[np.float64]

#: An output may lose so much of its variance (and of the mean over outputs) when directions
#: that no task needs are taken away.
LOSS_SHARE = 0.02

#: Starts of the search, fewer in high dimensions, where each takes longer.
MAX_STARTS, STARTS_BUDGET = 20, 4000

MAX_SWEEPS = 30

#: Outputs, at the most, that the starts are refined on.
MAX_OUTPUTS = 500

#: A sweep must lower the sum of logarithms by this for the search to go on.
TOLERANCE = 1e-4

#: Bases whose costs differ by less than this, for each output, are as good.
SAME = 1e-3

#: Random errors of the heads count as so much more than they are: heads are fitted on rows
#: that the encoder was fitted on, too.
ERROR_FACTOR = 6.0

#: Singular values of heads, in standard errors, above so many times the largest of pure
#: noise are no noise.
NOISE_FACTOR = 2.5

#: Smallness of a coefficient, relative to its row, from which on the last sweeps count
#: it as zero.
ZERO_EPS = 0.1

#: Directions of the codes with less variance than this are empty.
EMPTY = 1e-6

#: Smallness of a coefficient, in standard deviations of what its output predicts, around
#: which it stops to count: in the choice among all bases, and when pairs are settled. No
#: part of an output at all.
EARLY_SMALL, SMALL, NO_PART = 0.1, 0.05, 0.02

#: Columns that many outputs do without: draws of outputs, columns kept, columns as good
#: as the same (a cosine), as good as dependent (a sine), bases made of them; in
#: higher dimensions the shears find the way.
N_DRAWS, MAX_COLUMNS, SAME_COLUMN, LEAST_ANGLE, N_EXCHANGES = 1500, 300, 0.995, 0.05, 10
MAX_EXCHANGE_RANK = 12

#: Outputs for each component, at the most, that are few: with more, the sparsest basis is
#: that of the factors.
FEW_OUTPUTS = 4

#: Starts of the search among rotations, fewer in high dimensions, where most starts find the
#: best; it ends when that has been found so often. No search in higher dimensions.
MAX_ROTATIONS, ROTATIONS_BUDGET, OFTEN_ENOUGH, MAX_ROTATION_RANK = 30, 1000, 4, 20

#: Components with no more correlation than this are uncorrelated; the correlation around
#: which one begins to count.
UNCORRELATED, CORRELATED = 0.15, 0.1

#: How strongly a column stays where the outputs that do without it leave it open.
STAY = 1e-2

#: A shear of a pair must save so many nonzeros; so many shears at the most, and sizes of one
#: that are tried.
LEAST_SAVING, MAX_SHEARS, MAX_SHEAR_SIZES = 1e-3, 100, 256


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


def _rank(heads: FloatArray, errors: FloatArray) -> tuple[int, FloatArray]:
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
    rank = max(by_output, min(by_share, by_all))
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


def _lengths(basis: FloatArray) -> FloatArray:
    """Standard deviations of the components, whose heads are white heads @ basis.

    Of one basis or, along the first dimension, of several.
    """
    lengths: FloatArray = np.linalg.norm(np.linalg.inv(basis), axis=-1)
    return lengths


def _nonzeros(relative: FloatArray, small: float) -> FloatArray:
    """Smooth count, over outputs, of the coefficients that are not small."""
    square = relative**2
    count: FloatArray = (square / (square + small**2)).sum(0)
    return count


def _cost(heads: FloatArray, basis: FloatArray) -> float:
    """Nonzeros of a basis, less the logarithm of the root of its correlations' determinant.

    The heads are those of white codes, rows of length one.
    """
    inverse = np.linalg.inv(basis)
    lengths = np.linalg.norm(inverse, axis=1)
    volume = np.linalg.slogdet(inverse)[1] - np.log(lengths).sum()
    return float(_nonzeros(heads @ basis * lengths, EARLY_SMALL).sum() - volume)


def _shear(white: FloatArray, bases: FloatArray, *, reweighted: bool) -> FloatArray:
    """Shear the columns of ``white @ basis`` until the criterion no longer falls.

    With weights it is another criterion that falls, and a few sweeps are all that follow.
    All bases are sheared side by side; none hangs on another.

    Parameters
    ----------
    white : ndarray of shape (n_outputs, rank)
        Heads of white codes.
    bases : ndarray of shape (n_bases, rank, rank)
        Where to begin.
    reweighted : bool
        Whether coefficients that are nearly zero count more.

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
    for _ in range(MAX_SWEEPS):
        own, now = columns[moving], heads[moving]
        lengths = _lengths(own.transpose(0, 2, 1))[:, :, np.newaxis]
        for i in range(heads.shape[1]):
            column = now[:, i].copy()
            size = np.abs(column)
            out = size <= least[moving]
            column[out] = 1.0
            weights = np.where(out, 0.0, size)[:, np.newaxis]
            if reweighted:
                sizes = np.abs(now) * lengths
                relative = sizes / sizes.max(1, keepdims=True).clip(tiny)
                weights = weights * ZERO_EPS / (relative + ZERO_EPS)
            ratios = now / column[:, np.newaxis]
            step = _medians(ratios, np.broadcast_to(weights, ratios.shape))
            step[out.all(1)] = 0.0
            step[:, i] = 0.0
            now -= now[:, [i]] * step[:, :, np.newaxis]
            own -= own[:, [i]] * step[:, :, np.newaxis]
        columns[moving], heads[moving] = own, now
        before = values[moving]
        values[moving] = np.log(np.abs(now).sum(2) + tiny).sum(1)
        moving = moving[before - values[moving] >= TOLERANCE]
        if not len(moving):
            break
    return columns.transpose(0, 2, 1)


def _null_columns(heads: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Columns of a basis for which many outputs have no coefficient, best first.

    All but one of the directions are spanned by the heads of any so many outputs; if none
    of these uses a factor, what is orthogonal to them is that factor's column.
    """
    n_outputs, rank = heads.shape
    draws = rng.random((N_DRAWS, n_outputs)).argsort(axis=1)[:, : rank - 1]
    _, spectrum, right = np.linalg.svd(heads[draws])
    columns = right[spectrum[:, -1] > LEAST_ANGLE, -1]
    counts = _nonzeros(heads @ columns.T, EARLY_SMALL)
    kept: list[int] = []
    for i in np.argsort(counts, kind="stable"):
        if not np.any(np.abs(columns[kept] @ columns[i]) > SAME_COLUMN):
            kept.append(int(i))
            if len(kept) == MAX_COLUMNS:
                break
    best: FloatArray = columns[kept].T
    return best


def _independent(columns: FloatArray, order: NDArray[np.intp]) -> FloatArray | None:
    """Basis of the first of the columns, in this order, that are independent."""
    rank = len(columns)
    span = np.zeros((0, rank))
    chosen = []
    for i in order:
        left = columns[:, i] - span.T @ (span @ columns[:, i])
        length = np.linalg.norm(left)
        if length > LEAST_ANGLE:
            chosen.append(i)
            span = np.vstack([span, left / length])
            if len(chosen) == rank:
                return columns[:, chosen]
    return None


def _exchange(heads: FloatArray, basis: FloatArray, columns: FloatArray) -> FloatArray:
    """Exchange columns of a basis for others as long as its cost falls."""
    sizes = np.abs(heads @ columns)
    best = _cost(heads, basis)
    for _ in range(MAX_SHEARS):
        inverse = np.linalg.inv(basis)
        gram = inverse @ inverse.T
        parts = inverse @ columns
        there = np.abs(heads @ basis)
        volume = np.linalg.slogdet(inverse)[1]
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
            costs = _nonzeros(new, EARLY_SMALL).sum(0) - volume
            costs += np.log(np.abs(part[able])) + np.log(lengths).sum(0)
            i = int(np.argmin(costs))
            if costs[i] < best - LEAST_SAVING:
                best, found = float(costs[i]), (m, able[i])
        if found is None:
            break
        basis = basis.copy()
        basis[:, found[0]] = columns[:, found[1]]
    return basis


def _exchanged(heads: FloatArray, rng: np.random.Generator) -> list[FloatArray]:
    """Bases of columns that many outputs do without, after exchanges."""
    columns = _null_columns(heads, rng)
    counts = _nonzeros(heads @ columns, EARLY_SMALL)
    bases = []
    for number in range(N_EXCHANGES):
        # The sparsest independent columns, then such of about as few nonzeros.
        jitter = rng.gumbel(size=len(counts)) if number else 0.0
        order = np.argsort(counts + jitter, kind="stable")
        basis = _independent(columns, order)
        if basis is not None:
            bases.append(_exchange(heads, basis, columns))
    return bases


def _correlation(basis: FloatArray) -> FloatArray:
    """Correlation of the components whose heads are white heads @ basis; zero diagonal."""
    inverse = np.linalg.inv(basis)
    unit = inverse / np.linalg.norm(inverse, axis=1, keepdims=True)
    correlation: FloatArray = unit @ unit.T
    np.fill_diagonal(correlation, 0.0)
    return correlation


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
    for _ in range(MAX_SWEEPS):
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
            counts = _nonzeros(parts[0] * at[0] - parts[1] * at[1], EARLY_SMALL)
            counts += _nonzeros(parts[0] * at[1] + parts[1] * at[0], EARLY_SMALL)
            counts[~there.T] = np.inf
            best = counts.argmin(1)
            chosen = np.arange(len(best)), best
            before = _nonzeros(one, EARLY_SMALL) + _nonzeros(other, EARLY_SMALL)
            better = counts[chosen] < before - LEAST_SAVING
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
    small = np.abs(heads @ basis) < EARLY_SMALL
    stay = STAY * np.eye(len(basis))
    for m, without in enumerate(small.T):
        rest = heads[without]
        column = np.linalg.solve(rest.T @ rest + stay, basis[:, m])
        columns[:, m] = column / np.linalg.norm(column)
    return columns


def _parameters(heads: FloatArray, basis: FloatArray) -> tuple[float, float, float]:
    """Nonzeros of a basis, correlated pairs, and the largest correlation."""
    correlation = _correlation(basis)
    nonzeros = _nonzeros(heads @ basis * _lengths(basis), EARLY_SMALL).sum()
    pairs = _nonzeros(correlation, CORRELATED).sum() / 2
    return float(nonzeros), float(pairs), float(np.abs(correlation).max())


def has_few_outputs(n_outputs: int, n_components: int) -> bool:
    """Whether a basis of uncorrelated components is worth looking for."""
    most = FEW_OUTPUTS * n_components
    return 1 < n_components <= min(MAX_ROTATION_RANK, n_outputs) and n_outputs <= most


def _uncorrelated(heads: FloatArray, basis: FloatArray) -> FloatArray | None:
    """Sparsest basis of uncorrelated components, if it is hardly less sparse than another.

    Parameters
    ----------
    heads : ndarray of shape (n_outputs, rank)
        Of white codes, rows of length one.
    basis : ndarray of shape (rank, rank)
        The other, symmetric.
    """
    n_outputs, rank = heads.shape
    rng = np.random.default_rng(0)
    starts = [np.eye(rank)]  # the rotation that is nearest to it
    for _ in range(int(np.clip(ROTATIONS_BUDGET // rank**2, 3, MAX_ROTATIONS))):
        starts.append(np.linalg.qr(rng.normal(size=(rank, rank)))[0])
    nonzeros, pairs, _ = _parameters(heads, basis)
    best, fewest, most = None, nonzeros + pairs, nonzeros + rank / 2
    same, n_times = SAME * n_outputs, 0
    for rotated in _rotate(heads, np.stack(starts)):
        columns = _relieved(heads, rotated)
        if np.linalg.svd(columns, compute_uv=False)[-1] < LEAST_ANGLE:
            continue
        nonzeros, pairs, largest = _parameters(heads, columns)
        if largest > UNCORRELATED or nonzeros > most:
            continue
        if nonzeros + pairs < fewest - same:
            best, fewest, n_times = columns, nonzeros + pairs, 0
        n_times += nonzeros + pairs <= fewest + same
        if n_times == OFTEN_ENOUGH:
            break
    return best


def simplest_basis(
    coef: Tensor,
    correlation: Tensor,
    weights: Tensor,
    spread: Tensor,
    errors: Tensor,
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
    unit = spread.double().cpu().numpy()
    size = np.linalg.norm(white, axis=1) * unit
    weight = weights.double().cpu().numpy() * unit / np.maximum(size, 1)
    rank, directions = _rank(
        white * weight[:, np.newaxis], errors.double().cpu().numpy() * weight
    )
    white = white @ directions[:rank].T
    whiten = whiten @ directions.T
    scaled = white * weight[:, np.newaxis]
    rng = np.random.default_rng(0)
    starts = [np.eye(rank)]
    for _ in range(int(np.clip(STARTS_BUDGET // rank**2, 2, MAX_STARTS))):
        starts.append(np.linalg.qr(rng.normal(size=(rank, rank)))[0])
    # Of very many outputs some show the way; what they find is refined on all.
    some = scaled[:: -(-len(scaled) // MAX_OUTPUTS)]
    sheared = _shear(some, np.stack(starts), reweighted=False)
    found = list(_shear(some, sheared, reweighted=True))
    sizes = np.linalg.norm(white, axis=1, keepdims=True)
    unit_heads = (white / sizes.clip(np.finfo(np.float64).tiny))[sizes[:, 0] > 0]
    if len(some) < len(scaled):
        best = min(found, key=lambda basis: _cost(unit_heads, basis))
        found += list(_shear(scaled, best[np.newaxis], reweighted=True))
    if 1 < rank <= min(MAX_EXCHANGE_RANK, len(unit_heads)):
        found += _exchanged(unit_heads, rng)
    costs = [_cost(unit_heads, basis) for basis in found]
    # The first of those that are as good: rounding must not decide between them.
    best = next(
        basis
        for basis, cost in zip(found, costs, strict=True)
        if cost <= min(costs) + SAME * len(unit_heads)
    )
    lengths = _lengths(best)
    new = np.zeros_like(heads)
    new[:, :rank] = white @ best * lengths
    transform = whiten.copy()
    transform[:, :rank] = whiten[:, :rank] @ np.linalg.inv(best).T / lengths
    return Basis(torch.from_numpy(transform).to(coef), torch.from_numpy(new).to(coef))


def uncorrelated_basis(coef: Tensor, correlation: Tensor) -> Basis | None:
    """Basis of uncorrelated components that is about as sparse as the one there is.

    It may have no more nonzeros in excess than it has correlated pairs less, as either is
    a parameter; and, as there are many to choose from, no more than half of the components.
    By a smooth count of the nonzeros of heads without penalties, which errors of the heads
    blur: whether exact ones are as sparse has to be seen.

    Parameters
    ----------
    coef : Tensor of shape (n_outputs, n_components)
        Heads without penalties on the components in use; zero elsewhere.
    correlation : Tensor of shape (n_components, n_components)
        Correlation matrix of the components.

    Returns
    -------
    Basis or None
        None if there is none, if it is the one there is, or if outputs are not few.
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
    sizes = np.linalg.norm(white[used], axis=1, keepdims=True)
    unit_heads = white[used] / sizes.clip(np.finfo(np.float64).tiny)
    best = _uncorrelated(unit_heads, whiten)
    if best is None:
        return None
    lengths = _lengths(best)
    new = np.zeros_like(heads)
    new[:, chosen] = white @ best * lengths
    full = np.eye(len(matrix))
    full[np.ix_(chosen, chosen)] = whiten @ np.linalg.inv(best).T / lengths
    return Basis(torch.from_numpy(full).to(coef), torch.from_numpy(new).to(coef))


def _best_shear(heads: FloatArray, correlation: FloatArray) -> FloatArray | None:
    """The shear of a pair of components that saves most, as a change of basis.

    Component i takes in t times component j, and is scaled back to variance one; the heads
    of j lose t times those of i.
    """
    n = len(correlation)
    counts = _nonzeros(heads, SMALL)
    best, gain = None, LEAST_SAVING
    for i, j in permutations(range(n), 2):
        both = (np.abs(heads[:, [i, j]]) > NO_PART).all(1)
        if not both.any():
            continue
        t = heads[both, j] / heads[both, i]
        if len(t) > MAX_SHEAR_SIZES:
            # Of many outputs some stand for all; sizes that many agree on stay among them.
            t = np.sort(t)[:: -(-len(t) // MAX_SHEAR_SIZES)]
        std = np.sqrt(np.maximum(1 + t**2 + 2 * t * correlation[i, j], EMPTY))
        after = _nonzeros(heads[:, [j]] - heads[:, [i]] * t, SMALL)
        after += _nonzeros(heads[:, [i]] * std, SMALL)
        saved = counts[i] + counts[j] - after - np.log(std)
        number = int(np.argmax(saved))
        if saved[number] > gain:
            gain, best = saved[number], (i, j, t[number], std[number])
    if best is None:
        return None
    i, j, amount, length = best
    change = np.eye(n)
    change[j, i] = amount
    change[:, i] /= length
    return change


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
    transform = np.eye(len(chosen))
    for _ in range(MAX_SHEARS):
        change = _best_shear(heads, matrix)
        if change is None:
            break
        heads = heads @ np.linalg.inv(change).T
        heads[np.abs(heads) < EMPTY] = 0
        matrix = change.T @ matrix @ change
        transform = transform @ change
    if np.array_equal(transform, np.eye(len(chosen))):
        return None
    n_outputs, n_components = coef.shape
    new = np.zeros((n_outputs, n_components))
    new[np.ix_(used, chosen)] = heads * power[used, np.newaxis]
    full = np.eye(n_components)
    full[np.ix_(chosen, chosen)] = transform
    return Basis(torch.from_numpy(full).to(coef), torch.from_numpy(new).to(coef))


@torch.no_grad()
def change_outputs(
    layer: nn.Linear,
    optimizer: torch.optim.Optimizer,
    mean: Tensor,
    std: Tensor,
    transform: Tensor,
) -> None:
    """Make a layer's outputs the transformed standardised ones.

    Parameters
    ----------
    layer : torch.nn.Linear
        Changed in place, as is the optimiser's memory of its gradients.
    optimizer : torch.optim.Optimizer
    mean, std : Tensor of shape (n_components,)
        Of the layer's outputs.
    transform : Tensor of shape (n_components, n_components)
    """
    change = transform.T / std
    layer.weight.copy_(change @ layer.weight)
    if layer.bias is not None:
        layer.bias.copy_(change @ (layer.bias - mean))
    for parameter in (layer.weight, layer.bias):
        if parameter is not None:
            for memory in optimizer.state.get(parameter, {}).values():
                memory.zero_()
