"""Small models."""

from __future__ import annotations

import warnings
from functools import lru_cache

import numpy as np
import pandas as pd
import polars as pl

from skdisentangle import SparseSharedDisentangler

__all__ = ["BASE", "fitted_model"]

#: Small, so that thousands of fits take minutes.
BASE = {
    "n_components": 3,
    "hidden_layer_sizes": (4,),
    "max_iter": 2,
    "random_state": 0,
    "device": "cpu",
}


@lru_cache
def fitted_model(kind):
    """A model of four columns that is fitted on rows without fault, or a head on one."""
    if kind == "head":
        X = np.random.default_rng(1).normal(size=(20, 4))
        return fitted_model("array").fit_task(X, np.digitize(X[:, 0], [-0.5, 0.5]))
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 4))
    Y = np.column_stack([X[:, 0], X[:, 1] > 0, rng.integers(0, 3, size=40)])
    options = {"encoder": "conv", "input_shape": (1, 2, 2)} if kind == "conv" else {}
    dis = SparseSharedDisentangler(**{**BASE, **options})
    if kind == "single":
        Y = np.where(Y[:, 2] == 0, "no", "yes")
    if kind in ("pandas", "polars"):
        names = [f"c{j}" for j in range(4)]
        X = pd.DataFrame(X, columns=names)
        Y = pd.DataFrame(
            {"t0": Y[:, 0], "t1": Y[:, 1] > 0, "t2": Y[:, 2].astype(int).astype(str)}
        )
        if kind == "polars":
            X, Y = pl.from_pandas(X), pl.from_pandas(Y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dis.partial_fit(X, Y) if kind == "partial" else dis.fit(X, Y)
