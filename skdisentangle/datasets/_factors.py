"""Make synthetic rows with known, mixed factors, and tasks on these factors."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Bunch

from .._random import RandomState, generator
from ._tasks import TaskTypes, check_size, draw_tasks

__all__ = ["make_multitask_factors"]

FloatArray = NDArray[np.float64]

#: Slope of the rectifiers of ``mixing="mlp"`` below zero.
LEAKY_SLOPE = 0.2

#: Largest ratio of singular values of a layer.
MAX_CONDITION = 4.0

#: Weight of the products in ``mixing="polynomial"``, beside the factors themselves.
PRODUCT_WEIGHT = 0.5


def _layer(rng: np.random.Generator, hidden: FloatArray, n_out: int) -> FloatArray:
    """Linear map of full rank, well conditioned, to overall variance one."""
    weights = rng.normal(size=(hidden.shape[1], n_out))
    left, spectrum, right = np.linalg.svd(weights, full_matrices=False)
    floor = spectrum.max() / MAX_CONDITION
    hidden = hidden @ (left * np.clip(spectrum, floor, None)) @ right
    scaled: FloatArray = hidden / hidden.std()
    return scaled


def _products(factors: FloatArray) -> FloatArray:
    """Products of every two factors, squares included."""
    first, second = np.triu_indices(factors.shape[1])
    products = factors[:, first] * factors[:, second]
    weighted: FloatArray = PRODUCT_WEIGHT * (products - products.mean(axis=0))
    return weighted


def mix(
    rng: np.random.Generator,
    factors: FloatArray,
    mixing: str,
    n_features: int,
    n_layers: int,
) -> FloatArray:
    """Mix factors to columns; see :func:`make_multitask_factors`."""
    if mixing == "polynomial":
        return _layer(rng, np.hstack([factors, _products(factors)]), n_features)
    hidden = factors
    for layer in range(1 if mixing == "linear" else n_layers):
        if layer > 0:
            hidden = np.where(hidden > 0, hidden, LEAKY_SLOPE * hidden)
        hidden = _layer(rng, hidden, n_features)
    return hidden


def _correlation_matrix(correlation: float | ArrayLike, n_factors: int) -> FloatArray:
    try:
        matrix = np.asarray(correlation, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.ndim == 0:
        matrix = np.full((n_factors, n_factors), matrix)
        np.fill_diagonal(matrix, 1.0)
    valid = (
        matrix.shape == (n_factors, n_factors)
        and np.allclose(matrix, matrix.T)
        and np.allclose(np.diag(matrix), 1.0)
        and np.linalg.eigvalsh(matrix).min() > 0
    )
    if not valid:
        raise ValueError(
            "correlation must be a number or a symmetric matrix of shape "
            f"({n_factors}, {n_factors}) with ones on its diagonal, and positive "
            f"definite (a number between {-1 / max(1, n_factors - 1):.3g} and 1); got "
            f"{correlation!r}."
        )
    return matrix


def make_multitask_factors(
    n_samples: int = 1000,
    *,
    n_factors: int = 6,
    n_features: int = 20,
    n_tasks: int = 60,
    correlation: float | ArrayLike = 0.0,
    mixing: str = "mlp",
    n_layers: int = 2,
    support_size: int | tuple[int, int] = (1, 3),
    task_types: TaskTypes = "mixed",
    n_classes: int = 4,
    link: str = "threshold",
    noise: float = 0.1,
    flip_y: float = 0.0,
    missing: float = 0.0,
    random_state: RandomState = None,
) -> Bunch:
    """Make rows from a few hidden factors, and many tasks that each depend on some of them.

    Factors are normal with mean zero and variance one. The mixing to the columns of ``X``
    is invertible, so ``X`` contains all information about the factors.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of rows.
    n_factors : int, default=6
        Number of factors.
    n_features : int, default=20
        Number of columns of ``X``, at least ``n_factors``. With polynomial mixing, at least
        ``2 * n_factors + 1``.
    n_tasks : int, default=60
        Number of tasks.
    correlation : float or array-like of shape (n_factors, n_factors), default=0.0
        Correlation of each pair of factors, or the correlation matrix.
    mixing : {"linear", "mlp", "polynomial"}, default="mlp"
        ``"mlp"`` is a random network with leaky rectifiers (slope 0.2) and layers of
        full rank, ``"polynomial"`` a random linear map of the factors and all their
        products of degree two.
    n_layers : int, default=2
        Linear layers of ``"mlp"``.
    support_size, task_types, n_classes, link, noise, flip_y, missing
        As in :func:`tasks_from_factors`, which describes how labels depend on factors.
    random_state : int, RandomState instance or None, default=None
        Seed of all draws.

    Returns
    -------
    Bunch
        With attributes

        - **X**: ndarray of shape (n_samples, n_features).
        - **Y**: ndarray of shape (n_samples, n_tasks), NaN where not labelled.
        - **factors**: ndarray of shape (n_samples, n_factors).
        - **supports**: boolean ndarray of shape (n_tasks, n_factors).
        - **task_types**: list of str.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described. The message says which.

    Examples
    --------
    >>> from skdisentangle.datasets import make_multitask_factors
    >>> problem = make_multitask_factors(n_samples=200, random_state=0)
    >>> problem.X.shape, problem.Y.shape, problem.factors.shape
    ((200, 20), (200, 60), (200, 6))
    """
    check_size("n_samples", n_samples, 2)
    check_size("n_factors", n_factors)
    check_size("n_layers", n_layers)
    if mixing not in ("linear", "mlp", "polynomial"):
        raise ValueError(
            f"mixing must be 'linear', 'mlp' or 'polynomial'; got {mixing!r}."
        )
    least = 2 * n_factors + 1 if mixing == "polynomial" else n_factors
    check_size("n_features", n_features, least)
    rng = generator(random_state)
    matrix = _correlation_matrix(correlation, n_factors)
    factors = rng.normal(size=(n_samples, n_factors)) @ np.linalg.cholesky(matrix).T
    X = mix(rng, factors, mixing, n_features, n_layers)
    tasks = draw_tasks(
        rng,
        factors,
        set(),
        {},
        n_tasks=n_tasks,
        support_size=support_size,
        task_types=task_types,
        n_classes=n_classes,
        link=link,
        noise=noise,
        flip_y=flip_y,
        missing=missing,
    )
    return Bunch(X=X, factors=factors, **tasks)
