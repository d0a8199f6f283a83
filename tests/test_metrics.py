"""Disentanglement metrics: known values, invariances, degenerate codes, chance."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdisentangle import SparseSharedDisentangler, metrics

DATA = Path(__file__).parent / "data"
REFERENCE = json.loads((DATA / "metric_references.json").read_text())


def few_votes(factors, codes, **options):
    return metrics.factor_vae_score(factors, codes, n_train=300, n_test=200, **options)


def linear_disentanglement(factors, codes):
    return metrics.disentanglement_score(factors, codes, importance="linear")


#: Metric: (score of perfect codes at least, score of noise at most).
SCORES = {
    metrics.disentanglement_score: (0.98, 0.1),
    linear_disentanglement: (0.9, 0.4),
    metrics.completeness_score: (0.98, 0.1),
    metrics.informativeness_score: (0.95, 0.6),
    metrics.mig_score: (0.6, 0.1),
    metrics.sap_score: (0.3, 0.1),
    metrics.mcc_score: (0.99, 0.2),
    metrics.modularity_score: (0.95, 1.0),  # barely sees noise, as its notes say
    metrics.explicitness_score: (0.95, 0.65),
    metrics.irs_score: (0.9, 0.75),
    few_votes: (0.98, 0.75),
}
ids = [score.__name__ for score in SCORES]


def make_factors(seed=0, n_samples=600):
    """A number, a class of four values and a class of two."""
    rng = np.random.default_rng(seed)
    return np.column_stack(
        [
            rng.uniform(-1, 1, size=n_samples),
            rng.integers(0, 4, size=n_samples),
            rng.integers(0, 2, size=n_samples),
        ]
    )


DISCRETE = [False, True, True]


def call(score, factors, codes):
    if score is linear_disentanglement:
        return metrics.disentanglement_score(
            factors, codes, importance="linear", discrete_factors=DISCRETE
        )
    return score(factors, codes, discrete_factors=DISCRETE)


@pytest.mark.parametrize(("score", "limits"), SCORES.items(), ids=ids)
def test_perfect_codes_and_noise(score, limits):
    factors = make_factors()
    noise = np.random.default_rng(1).normal(size=factors.shape)
    assert limits[0] <= call(score, factors, factors) <= 1
    assert 0 <= call(score, factors, noise) <= limits[1]


@pytest.mark.parametrize("score", SCORES, ids=ids)
@settings(max_examples=5, deadline=None)
@given(
    order=st.permutations(range(4)),
    signs=st.lists(st.sampled_from([-1.0, 1.0]), min_size=4, max_size=4),
    scales=st.lists(st.sampled_from([1e-3, 1.0, 1e4]), min_size=4, max_size=4),
)
def test_order_and_scale_of_codes_do_not_matter(score, order, signs, scales):
    factors = make_factors(n_samples=150)
    rng = np.random.default_rng(2)
    codes = factors @ rng.normal(size=(3, 4)) + 0.1 * rng.normal(size=(150, 4))
    changed = (codes * np.array(signs) * np.array(scales))[:, order]
    if score is metrics.irs_score:
        # Deviations weigh the codes of this one, so that scales matter by definition.
        changed = codes[:, order]
    if score in (metrics.mig_score, metrics.modularity_score):
        # A value on the edge of a bin falls on its other side in a mirror.
        changed = (codes * np.array(scales))[:, order]
    expected = call(score, factors, codes)
    assert call(score, factors, changed) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("score", SCORES, ids=ids)
@pytest.mark.parametrize("position", [0, 3])
@pytest.mark.parametrize("value", [0.0, 1e9])
def test_a_dead_code_changes_nothing(score, position, value):
    factors = make_factors(n_samples=200)
    codes = factors + 0.3 * np.random.default_rng(3).normal(size=factors.shape)
    dead = np.insert(codes, position, value, axis=1)
    assert call(score, factors, dead) == pytest.approx(call(score, factors, codes))


@pytest.mark.parametrize("score", SCORES, ids=ids)
def test_only_dead_codes(score):
    factors = make_factors(n_samples=100)
    assert 0 <= call(score, factors, np.zeros((100, 2))) <= 0.6


@pytest.mark.parametrize("score", SCORES, ids=ids)
def test_bad_input_is_named(score):
    factors = make_factors(n_samples=50)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        call(score, factors, factors[:20])
    with pytest.raises(ValueError, match="NaN"):
        call(score, factors, factors * np.nan)


def test_mig_by_hand():
    """One code is the factor of two equal classes, the other says half as much."""
    factor = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    other = np.array([0, 0, 0, 1, 1, 1, 1, 0])
    share = 1 + (0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    codes = np.column_stack([factor, other])
    assert metrics.mig_score(factor[:, None], codes) == pytest.approx(1 - share)


def test_mcc_by_hand():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(100, 2))
    codes = factors[:, :1] * -2
    assert metrics.mcc_score(factors, codes) == pytest.approx(0.5)
    ignored = metrics.mcc_score(factors, codes, missing_factors="ignore")
    assert ignored == pytest.approx(1)


def test_dci_does_not_count_noise_codes_like_others():
    """A code of no importance does not pull disentanglement down."""
    factors = make_factors()
    noise = np.random.default_rng(1).normal(size=(600, 3))
    scores = metrics.dci_scores(
        factors, np.hstack([factors, noise]), discrete_factors=DISCRETE
    )
    assert scores.disentanglement > 0.97
    assert scores.importance_matrix.shape == (6, 3)


def test_rotation_lowers_disentanglement():
    factors = np.random.default_rng(0).normal(size=(500, 2))
    turned = factors @ np.array([[1.0, 1.0], [-1.0, 1.0]])
    for score in (metrics.disentanglement_score, linear_disentanglement):
        assert score(factors, turned) < 0.2
    assert metrics.mcc_score(factors, turned) == pytest.approx(np.sqrt(0.5), abs=0.05)


@pytest.mark.parametrize("name", sorted(REFERENCE["scores"]))
def test_agrees_with_reference_implementations(name):
    """On the arrays and with the rows that the scores beside them were made on."""
    expected = REFERENCE["scores"][name]
    with np.load(DATA / "metric_references.npz") as arrays:
        factors = arrays[name + "_factors"]
        classes = arrays[name + "_classes"].astype(int)
        codes = arrays[name + "_codes"]
    n_train = REFERENCE["n_train"]
    rows = np.arange(len(codes))
    train, numbers = rows[:n_train], {"discrete_factors": False}
    ours = {
        "mig": metrics.mig_score(classes, codes),
        "modularity": metrics.modularity_score(classes[train], codes[train]),
        "sap": metrics.sap_score(factors[train], codes[train], **numbers),
        "irs": metrics.irs_score(factors, codes),
        "mcc_pearson": metrics.mcc_score(factors, codes),
        "mcc_spearman": metrics.mcc_score(factors, codes, method="spearman"),
        "explicitness": metrics.explicitness_score(
            classes, codes, cv=[(train, rows[n_train:])]
        ),
    }
    assert ours.keys() == expected.keys()
    for metric, value in expected.items():
        assert ours[metric] == pytest.approx(value, abs=1e-6), metric


def test_scorer_calls_transform():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(200, 2))
    dis = SparseSharedDisentangler(2, max_iter=30, random_state=0)
    dis.fit(factors @ rng.normal(size=(2, 3)), factors)
    X = factors @ rng.normal(size=(2, 3))
    scorer = metrics.make_disentanglement_scorer(metrics.mcc_score)
    expected = metrics.mcc_score(factors, dis.transform(X))
    assert scorer(dis, X, factors) == pytest.approx(expected)


def test_report_holds_every_score():
    factors = make_factors(n_samples=200)
    report = metrics.disentanglement_report(factors, factors, discrete_factors=DISCRETE)
    text = str(report)
    for name in ("MIG", "SAP", "MCC", "IRS"):
        assert name.lower() in text.lower()
    frame = report.to_frame()
    assert np.isfinite(frame.select_dtypes("number").to_numpy()).all()
