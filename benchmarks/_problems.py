"""Problems with known factors, shared by the suites."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Problem:
    X: np.ndarray
    Y: np.ndarray
    factors: np.ndarray
    supports: np.ndarray
    task_types: list[str]


def leaky_mixing(rng, factors, n_features, n_layers=2, slope=0.2):
    """Invertible mixing: random layers of full rank, leaky rectifiers between them."""
    hidden = factors
    for layer in range(n_layers):
        weights = rng.normal(size=(hidden.shape[1], n_features))
        left, spectrum, right = np.linalg.svd(weights, full_matrices=False)
        hidden = hidden @ (left * np.clip(spectrum, spectrum.max() / 4, None)) @ right
        hidden /= hidden.std()
        if layer < n_layers - 1:
            hidden = np.where(hidden > 0, hidden, slope * hidden)
    return hidden


def make_problem(
    seed,
    *,
    n_samples=4000,
    n_factors=6,
    n_tasks=60,
    n_features=20,
    n_layers=2,
    share_binary=0.5,
    n_multiclass=0,
    noise=0.1,
    labels="logistic",
    missing=0.0,
    correlation=0.0,
    max_support=3,
):
    """Independent or equicorrelated normal factors, and tasks of 1 to 3 of them.

    ``labels="logistic"`` draws binary labels with log-odds of four times the value of
    the task; ``"threshold"`` cuts the value, with a little noise, at a random place.
    """
    rng = np.random.default_rng(seed)
    covariance = np.full((n_factors, n_factors), correlation)
    np.fill_diagonal(covariance, 1.0)
    factors = rng.normal(size=(n_samples, n_factors))
    factors = factors @ np.linalg.cholesky(covariance).T
    X = leaky_mixing(rng, factors, n_features, n_layers)
    Y = np.empty((n_samples, n_tasks))
    supports = np.zeros((n_tasks, n_factors), dtype=bool)
    n_binary = round(share_binary * n_tasks)
    types = ["binary"] * n_binary + ["regression"] * (n_tasks - n_binary)
    types[:n_multiclass] = ["multiclass"] * n_multiclass
    types = [types[t] for t in rng.permutation(n_tasks)]
    for task, kind in enumerate(types):
        size = rng.integers(1, max_support + 1)
        support = rng.choice(n_factors, size=size, replace=False)
        supports[task, support] = True
        signs = rng.choice([-1.0, 1.0], size=size)
        value = factors[:, support] @ (signs * rng.uniform(0.5, 1.5, size=size))
        value /= value.std()
        shift = 0.3 * rng.normal()
        if kind == "regression":
            Y[:, task] = value + noise * rng.normal(size=n_samples)
        elif kind == "multiclass":
            Y[:, task] = np.digitize(
                value + noise * rng.normal(size=n_samples), [-0.7, 0.0, 0.7]
            )
        elif labels == "logistic":
            odds = 4 * (value - shift)
            Y[:, task] = rng.random(n_samples) < 1 / (1 + np.exp(-odds))
        else:
            Y[:, task] = value + noise * rng.normal(size=n_samples) > shift
    Y[rng.random(Y.shape) < missing] = np.nan
    return Problem(X, Y, factors, supports, types)
