"""The metrics as functions (factors, codes) -> number, and data for them."""

from __future__ import annotations

import numpy as np

from skdisentangle.metrics import (
    completeness_score,
    disentanglement_score,
    explicitness_curve_score,
    explicitness_score,
    factor_vae_score,
    infomec_scores,
    informativeness_score,
    irs_score,
    mcc_score,
    mig_score,
    modularity_score,
    sap_score,
)


def infom(factors, codes, **kwargs):
    return infomec_scores(factors, codes, **kwargs).infom


def infoc(factors, codes, **kwargs):
    return infomec_scores(factors, codes, **kwargs).infoc


def infoe(factors, codes, **kwargs):
    return infomec_scores(factors, codes, **kwargs).infoe


def irs_uniform(factors, codes, **kwargs):
    return irs_score(factors, codes, weights="uniform", **kwargs)


def spearman(factors, codes, **kwargs):
    return mcc_score(factors, codes, method="spearman", **kwargs)


def factor_vae(factors, codes, **kwargs):
    return factor_vae_score(factors, codes, n_train=600, n_test=300, **kwargs)


METRICS = {
    "disentanglement": disentanglement_score,
    "completeness": completeness_score,
    "informativeness": informativeness_score,
    "mig": mig_score,
    "sap": sap_score,
    "mcc": mcc_score,
    "spearman": spearman,
    "modularity": modularity_score,
    "explicitness": explicitness_score,
    "infom": infom,
    "infoc": infoc,
    "infoe": infoe,
    "irs": irs_score,
    "irs_uniform": irs_uniform,
    "factor_vae": factor_vae,
    "explicitness_curve": explicitness_curve_score,
}

#: Scores of a representation in which nothing varies.
LOWEST = dict.fromkeys(METRICS, 0.0) | {"explicitness": 0.5}
SEEDED = [
    n
    for n in METRICS
    if n not in {"mig", "mcc", "spearman", "modularity", "irs", "irs_uniform"}
]


def make_factors(kind, n_samples, rng, n_factors=3):
    """Independent factors: normal, or of 2, 3, ... classes, or both in turn."""
    factors = rng.normal(size=(n_samples, n_factors))
    is_discrete = np.zeros(n_factors, dtype=bool)
    if kind != "continuous":
        is_discrete[:: 1 if kind == "discrete" else 2] = True
    for j in np.flatnonzero(is_discrete):
        factors[:, j] = rng.permutation(np.arange(n_samples) % (j + 2))
    return factors, is_discrete


def make_data(kind, seed, n_samples=90, n_codes=4):
    """Factors, which are discrete, and codes that are noisy mixtures of them."""
    rng = np.random.default_rng(seed)
    factors, is_discrete = make_factors(kind, n_samples, rng)
    codes = factors @ rng.normal(size=(factors.shape[1], n_codes)) ** 3
    return factors, is_discrete, codes + 0.3 * rng.normal(size=codes.shape)
