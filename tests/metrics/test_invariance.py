"""What every metric promises, whatever its formula."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose

from .common import LOWEST, METRICS, SEEDED, make_data, make_factors

KINDS = st.sampled_from(["continuous", "discrete", "mixed"])
SEEDS = st.integers(0, 2**16)
every_metric = pytest.mark.parametrize("name", METRICS)

#: As many small models are trained for one score as other metrics need altogether.
LONG = ("infom", "infoc", "infoe")
every_metric_often = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in LONG else [])
        for name in METRICS
    ],
)


def quickly(n_examples):
    return settings(max_examples=n_examples, deadline=None, derandomize=True)


@every_metric_often
@quickly(6)
@given(KINDS, SEEDS)
def test_order_of_codes(name, kind, seed):
    factors, is_discrete, codes = make_data(kind, seed)
    order = np.random.default_rng(seed).permutation(codes.shape[1])
    score, permuted = (
        METRICS[name](factors, c, discrete_factors=is_discrete)
        for c in (codes, codes[:, order])
    )
    assert_allclose(permuted, score, atol=1e-9)


@every_metric_often
@quickly(6)
@given(KINDS, SEEDS)
def test_scale_sign_and_offset_of_codes(name, kind, seed):
    factors, is_discrete, codes = make_data(kind, seed)
    rng = np.random.default_rng(seed)
    n_codes = codes.shape[1]
    scale = 10.0 ** rng.uniform(-6, 6, size=n_codes) * rng.choice([-1, 1], size=n_codes)
    if name == "irs":  # weights codes by their scale, so only a common one is free
        scale = scale[:1]
    offset = rng.normal(size=n_codes) * np.abs(scale)
    score, scaled = (
        METRICS[name](factors, c, discrete_factors=is_discrete)
        for c in (codes, codes * scale + offset)
    )
    assert_allclose(scaled, score, atol=1e-6)


@every_metric_often
@quickly(6)
@given(KINDS, SEEDS, st.sampled_from([0.0, 1.0, -1e9, 1e-300]))
def test_dead_codes_change_nothing(name, kind, seed, value):
    factors, is_discrete, codes = make_data(kind, seed)
    place = np.random.default_rng(seed).integers(codes.shape[1] + 1)
    with_dead = np.insert(codes, [0, place], value, axis=1)
    score, score_with_dead = (
        METRICS[name](factors, c, discrete_factors=is_discrete)
        for c in (codes, with_dead)
    )
    assert_allclose(score_with_dead, score, atol=1e-9)


@every_metric
@pytest.mark.parametrize("kind", ["continuous", "discrete", "mixed"])
def test_only_dead_codes(name, kind):
    factors, is_discrete, _ = make_data(kind, 0)
    score = METRICS[name](factors, np.ones((90, 3)), discrete_factors=is_discrete)
    expected = LOWEST[name]
    if name == "factor_vae":
        expected = 1 / 3
    elif name == "informativeness":
        # R² of the mean is 0; the share of the largest class depends on the rows
        assert 0 <= score <= is_discrete.mean() * 0.7
        return
    assert score == expected


@every_metric
@pytest.mark.parametrize("kind", ["continuous", "discrete", "mixed"])
def test_perfect_codes(name, kind):
    factors, is_discrete = make_factors(kind, 1200, np.random.default_rng(0))
    codes = factors[:, [2, 0, 1]] * [3.0, -0.5, 1.0] + 2.0
    score = METRICS[name](factors, codes, discrete_factors=is_discrete)
    # bins of continuous factors leave some spread within, or are read out as classes
    lowest = {
        "mig": 0.9,
        "irs": 0.85,
        "irs_uniform": 0.85,
        "explicitness": 0.9,
        "sap": 0.97,
        "infom": 0.85,
        "infoc": 0.85,
        "infoe": 0.85,
    }
    assert lowest.get(name, 0.99) <= score <= 1.0


#: Largest score of 1,000 rows of noise with 3 factors, from the docstrings.
CHANCE = {
    "mcc": 0.1,
    "spearman": 0.1,
    "modularity": 0.4,
    "irs": 0.55,
    "irs_uniform": 0.55,
    "factor_vae": 0.45,
    "explicitness_curve": 0.1,
}


@every_metric
@pytest.mark.parametrize("kind", ["continuous", "discrete", "mixed"])
def test_noise_scores_at_chance(name, kind):
    rng = np.random.default_rng(1)
    factors, is_discrete = make_factors(kind, 1000, rng)
    codes = rng.normal(size=(1000, 4))
    score = METRICS[name](factors, codes, discrete_factors=is_discrete)
    if name == "informativeness":
        largest = [
            np.bincount(f.astype(int)).max() / 1000 for f in factors.T[is_discrete]
        ]
        assert_allclose(score, sum(largest) / 3, atol=0.06)
    elif name == "explicitness":
        assert_allclose(score, 0.5, atol=0.05)
    else:
        limit = CHANCE.get(name, 0.05)
        if name == "modularity" and kind != "continuous":
            limit = 1.0  # classes of unequal number: its docstring warns of that
        assert 0.0 <= score <= limit


@every_metric
@quickly(8)
@given(
    arrays(
        np.float64, (12, 2), elements=st.floats(allow_nan=False, allow_infinity=False)
    ),
    KINDS,
    SEEDS,
)
def test_in_range_for_any_finite_codes(name, codes, kind, seed):
    factors, is_discrete = make_factors(kind, 12, np.random.default_rng(seed))
    # with 20 bins for 12 rows there may be no value to hold fixed
    options = {"n_bins": 4} if name == "factor_vae" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        score = METRICS[name](factors, codes, discrete_factors=is_discrete, **options)
    assert isinstance(score, float)
    assert 0.0 <= score <= 1.0


@pytest.mark.parametrize("name", SEEDED)
def test_random_state(name):
    factors, is_discrete, codes = make_data("mixed", 3)
    before = np.random.get_state()[1].copy()
    scores = [
        METRICS[name](factors, codes, discrete_factors=is_discrete, random_state=state)
        for state in (7, 7, np.random.RandomState(7), None)
    ]
    assert scores[0] == scores[1] == scores[2]
    assert np.isfinite(scores[3])
    assert np.array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize(
    "name", ["disentanglement", "sap", "explicitness", "infoe", "infom"]
)
def test_n_jobs_changes_nothing(name):
    factors, is_discrete, codes = make_data("mixed", 4)
    one, two = (
        METRICS[name](factors, codes, discrete_factors=is_discrete, n_jobs=n)
        for n in (1, 2)
    )
    assert one == two


@every_metric
def test_single_factor_and_single_code(name):
    factors, is_discrete, _ = make_data("continuous", 5)
    one = factors[:, :1]
    score = METRICS[name](one, one, discrete_factors=is_discrete[:1])
    assert 0.5 < score <= 1.0


@every_metric
def test_better_codes_score_higher(name):
    """Noise on perfect codes lowers every score."""
    rng = np.random.default_rng(6)
    factors, is_discrete = make_factors("mixed", 600, rng)
    noise = rng.normal(size=factors.shape)
    scores = [
        METRICS[name](factors, factors + level * noise, discrete_factors=is_discrete)
        for level in (0.0, 1.5)
    ]
    assert scores[0] > scores[1]
