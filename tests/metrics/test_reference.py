"""Agreement with reference implementations, and where we depart from them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skdisentangle.metrics import (
    dci_scores,
    explicitness_from_curve,
    explicitness_score,
    infomec_scores,
    irs_score,
    mcc_score,
    mig_score,
    modularity_score,
    sap_score,
)

HERE = Path(__file__).parent
SCORES = json.loads((HERE / "data" / "reference_scores.json").read_text())["scores"]
REFERENCE = {(s["case"], s["metric"]): s["value"] for s in SCORES}
CURVES = [s for s in SCORES if s["metric"] == "dci_es_explicitness"]
TRAIN, TEST, ALL = np.arange(1500), np.arange(1500, 2000), np.arange(2000)


@pytest.fixture(scope="module")
def arrays():
    with np.load(HERE / "data" / "metric_references.npz") as shared:
        factors = shared["mixed_rotation_factors"]
        classes = shared["mixed_rotation_classes"].astype(int)
        rotation = shared["mixed_rotation_codes"]
    with np.load(HERE / "data" / "merged_dead_codes.npz") as own:
        merged_dead = own["codes"]
    codes = {"mixed_rotation": rotation, "mixed_merged_dead": merged_dead}
    return factors, classes, codes


@pytest.mark.slow
def test_boosting(arrays):
    _, classes, codes = arrays
    scores = dci_scores(
        classes, codes["mixed_rotation"], importance="boosting", cv=[(TRAIN, TEST)]
    )
    for name in ("disentanglement", "completeness"):
        expected = REFERENCE["mixed_rotation", f"dci_gbt.{name}"]
        assert getattr(scores, name) == pytest.approx(expected, abs=0.01)
    expected = REFERENCE["mixed_rotation", "dci_gbt.informativeness_test"]
    assert scores.informativeness == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("case", ["mixed_rotation", "mixed_merged_dead"])
def test_exact_metrics(arrays, case):
    factors, classes, all_codes = arrays
    codes = all_codes[case]
    numbers = {"discrete_factors": False}
    discrete = {"discrete_factors": [0, 1, 2]}
    assert_allclose(mig_score(classes, codes), REFERENCE[case, "mig"], atol=1e-6)
    sap = sap_score(factors[TRAIN], codes[TRAIN], **numbers)
    assert_allclose(sap, REFERENCE[case, "sap.continuous"], atol=1e-6)
    for quantile in (0.99, 1.0):
        irs = irs_score(factors, codes, quantile=quantile, **discrete)
        assert_allclose(irs, REFERENCE[case, f"irs.q{quantile}"], atol=1e-6)
    for method in ("pearson", "spearman"):
        # the reference averages over matched codes only, constant ones removed
        mcc = mcc_score(factors, codes, method=method, missing_factors="ignore")
        assert_allclose(mcc, REFERENCE[case, f"mcc.{method}"], atol=1e-6)


def test_sap_of_linear_svc(arrays):
    _, classes, codes = arrays
    score = sap_score(
        classes, codes["mixed_rotation"], classifier="linear_svc", cv=[(TRAIN, TEST)]
    )
    assert score == pytest.approx(
        REFERENCE["mixed_rotation", "sap.discrete"], abs=0.005
    )


def test_modularity_leaves_dead_codes_out(arrays):
    """disentanglement_lib counts the constant code, 1 of 6, as 0."""
    _, classes, codes = arrays
    score = modularity_score(classes[TRAIN], codes["mixed_merged_dead"][TRAIN])
    reference = REFERENCE["mixed_merged_dead", "modularity_score"]
    assert score == pytest.approx(reference * 6 / 5, abs=1e-6)


def test_explicitness_accepts_a_constant_code(arrays):
    """disentanglement_lib raises on these codes."""
    _, classes, codes = arrays
    live = codes["mixed_merged_dead"][:, [0, 1, 2, 3, 5]]
    with_dead, without = (
        explicitness_score(classes, c, cv=[(TRAIN, TEST)])
        for c in (codes["mixed_merged_dead"], live)
    )
    assert with_dead == without
    assert 0.8 < with_dead < 0.9


def test_infomec(arrays):
    """The estimate of information is jittered, differently from the reference."""
    _, classes, codes = arrays
    scores = infomec_scores(classes, codes["mixed_rotation"], cv=[(ALL, ALL)])
    assert scores.infom == pytest.approx(
        REFERENCE["mixed_rotation", "infom"], abs=0.005
    )
    assert scores.infoc == pytest.approx(
        REFERENCE["mixed_rotation", "infoc"], abs=0.005
    )
    # a penalty of 1e-4 keeps ours from perfect separation
    assert scores.infoe == pytest.approx(REFERENCE["mixed_rotation", "infoe"], abs=0.02)


def test_infomec_counts_missing_factors(arrays):
    """The reference takes the largest share of next to nothing as compactness."""
    _, classes, codes = arrays
    scores = infomec_scores(classes, codes["mixed_merged_dead"], cv=[(ALL, ALL)])
    reference = REFERENCE["mixed_merged_dead", "infoc"]
    # of 6 factors, one is in no code: it counts as an even share
    assert scores.nmi_matrix.max(axis=0).round(1).tolist().count(0.0) == 1
    assert scores.infoc == pytest.approx(reference * 5 / 6, abs=0.01)
    assert scores.active_codes.tolist() == [True, True, True, True, False, False]


@pytest.mark.parametrize("curve", CURVES, ids=[c["case"] for c in CURVES])
def test_explicitness_from_curve(curve):
    """Equal to the reference, except that a negative value is 0."""
    score = explicitness_from_curve(
        curve["capacity"], curve["loss"], curve["baseline_loss"]
    )
    assert score == pytest.approx(max(0.0, curve["value"]), abs=1e-12)


def test_a_reference_curve_is_negative():
    assert min(curve["value"] for curve in CURVES) < -0.5
