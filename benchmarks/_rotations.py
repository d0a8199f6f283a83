"""Rotations of factor analysis, as rivals: simple structure without any penalty.

A model's outputs (its predictions of tasks, or the columns themselves) are a few axes times
loadings; a rotation turns the axes until the loadings are simple.
"""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import FastICA
from sklearn.preprocessing import StandardScaler

#: Turns of varimax at the most, and the gain below which it has arrived.
TURNS, GAIN = 1000, 1e-9

#: Power of promax's target.
POWER = 4

#: Axes with less of the largest variance than this are none.
EMPTY = 1e-9


def _rows_of_length_one(loadings):
    """Kaiser's normalisation: each output counts alike, however strong it is."""
    length = np.linalg.norm(loadings, axis=1, keepdims=True)
    return loadings / np.where(length > 0, length, 1)


def varimax(loadings):
    """The rotation that makes the squared loadings of each axis vary most.

    H. F. Kaiser, "The varimax criterion for analytic rotation in factor analysis",
    Psychometrika 23, 1958. By singular value decompositions, on rows of length one.

    Parameters
    ----------
    loadings : ndarray of shape (n_outputs, n_axes)

    Returns
    -------
    ndarray of shape (n_axes, n_axes)
        Orthogonal; ``loadings @ varimax(loadings)`` is simple.
    """
    rows = _rows_of_length_one(loadings)
    turn, before = np.eye(rows.shape[1]), 0.0
    for _ in range(TURNS):
        turned = rows @ turn
        pull = rows.T @ (turned**3 - turned * (turned**2).mean(0))
        left, size, right = np.linalg.svd(pull)
        turn = left @ right
        if size.sum() <= before * (1 + GAIN):
            break
        before = size.sum()
    return turn


def promax(loadings):
    """The oblique turn towards the loadings of varimax, taken to a power.

    A. E. Hendrickson and P. O. White, "Promax: a quick method for rotation to oblique simple
    structure", British Journal of Statistical Psychology 17, 1964.

    Returns
    -------
    ndarray of shape (n_axes, n_axes)
        ``loadings @ promax(loadings)`` is the pattern; the axes, times the transposed
        inverse, have a variance of one each.
    """
    turn = varimax(loadings)
    rows = _rows_of_length_one(loadings) @ turn
    target = rows * np.abs(rows) ** (POWER - 1)
    oblique = np.linalg.lstsq(rows, target, rcond=None)[0]
    size = np.sqrt(np.diag(np.linalg.inv(oblique.T @ oblique)))
    return turn @ (oblique * size)


def rotated(fit_outputs, outputs, rotation, n_axes=None):
    """Axes behind outputs, turned until the loadings are simple.

    Parameters
    ----------
    fit_outputs : ndarray of shape (n_fit, n_outputs)
        Of training rows: axes and rotation are theirs.
    outputs : ndarray of shape (n_samples, n_outputs)
    rotation : callable
        :func:`varimax` or :func:`promax`.
    n_axes : int, optional
        So many principal axes of the outputs; all by default.

    Returns
    -------
    ndarray of shape (n_samples, n_axes)
        Of variance one, on the training rows.
    """
    mean = fit_outputs.mean(0)
    variance, axes = np.linalg.eigh(np.cov(fit_outputs - mean, rowvar=False, ddof=0))
    order = np.argsort(-variance)[:n_axes]
    order = order[variance[order] > EMPTY * variance.max()]
    spread, axes = np.sqrt(variance[order]), axes[:, order]
    turn = rotation(axes * spread)
    return (outputs - mean) @ (axes / spread) @ np.linalg.inv(turn).T


def of_columns(fit_rows, rows, rotation, n_axes):
    """Principal axes of standardised columns, see :func:`rotated`."""
    scaler = StandardScaler().fit(fit_rows)
    return rotated(scaler.transform(fit_rows), scaler.transform(rows), rotation, n_axes)


def of_predictions(model, fit_rows, labels, rows, rotation, n_axes):
    """Principal axes of what a linear model predicts, see :func:`rotated`; all standardised."""
    scaler = StandardScaler().fit(fit_rows)
    labels = StandardScaler().fit_transform(labels)
    model.fit(scaler.transform(fit_rows), labels)
    fitted, found = (model.predict(scaler.transform(part)) for part in (fit_rows, rows))
    return rotated(fitted, found, rotation, n_axes)


def of_heads(estimator, fit_rows, rows, rotation, n_axes=None):
    """Axes behind the heads of a fitted network, see :func:`rotated`; tasks count alike."""
    fit_outputs = estimator.transform(fit_rows) @ estimator.coef_.T
    outputs = estimator.transform(rows) @ estimator.coef_.T
    spread = fit_outputs.std(0)
    spread = np.where(spread > 0, spread, 1)
    return rotated(fit_outputs / spread, outputs / spread, rotation, n_axes)


# -- other components of a fitted network, from it, rows of the fit, other rows, a seed ------


def varimax_of_heads(estimator, fit_rows, rows, seed, n_axes=None):
    return of_heads(estimator, fit_rows, rows, varimax, n_axes)


def promax_of_heads(estimator, fit_rows, rows, seed, n_axes=None):
    return of_heads(estimator, fit_rows, rows, promax, n_axes)


def ica_of_components(estimator, fit_rows, rows, seed, n_axes=None):
    """Independent components, which no label has a say in."""
    model = FastICA(n_axes, whiten="unit-variance", random_state=seed, max_iter=500)
    model.fit(estimator.transform(fit_rows))
    return model.transform(estimator.transform(rows))


#: Names of these, as they follow "no penalties".
TURNED = {
    "varimax of its heads": varimax_of_heads,
    "promax of its heads": promax_of_heads,
    "FastICA of its components": ica_of_components,
}
