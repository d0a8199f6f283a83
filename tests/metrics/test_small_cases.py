"""Cases small enough to be worked out by hand, and the limits of each metric."""

from __future__ import annotations

import numpy as np
import pytest

from skdisentangle.metrics import (
    explicitness_curve_score,
    explicitness_from_curve,
    explicitness_score,
    factor_vae_score,
    infomec_scores,
    irs_score,
    mcc_score,
    mig_score,
    modularity_score,
    sap_score,
)

A = np.array([0, 0, 1, 1])
B = np.array([0, 1, 0, 1])
AB = np.column_stack([A, B])


def repeated(array, times=50):
    return np.tile(array, (times, 1))


def test_mig_divides_by_the_entropy_of_the_factor():
    """A code of 4 values holds a factor of 2 exactly: a reference says 0.5."""
    code = np.column_stack([2 * A + B])
    assert mig_score(A[:, None], code) == pytest.approx(1.0)


def test_mig_of_a_partly_informative_code():
    """A code equal to a factor in 3 of 4 rows, and one without information."""
    factor, code = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])
    # H(factor) = 1 bit; I = H(factor) - (3/4) h(1/3) with h(1/3) = log2(3) - 2/3 bits
    information = 1 - 0.75 * (np.log2(3) - 2 / 3)
    score = mig_score(factor[:, None], np.column_stack([code, B]))
    assert score == pytest.approx(information)


def test_mig_and_sap_of_copies_are_zero():
    factors = repeated(AB)
    copies = np.hstack([factors, -factors])
    assert mig_score(factors, copies) == pytest.approx(0.0)
    assert sap_score(factors, copies) == pytest.approx(0.0)


def test_mig_of_continuous_factors_in_bins():
    factor = np.arange(100.0)[:, None]
    assert mig_score(factor, 3 - factor / 7) == pytest.approx(1.0)
    # with two bins the code of four levels still says in which half the factor is
    assert mig_score(factor, factor // 25, n_bins=2) == pytest.approx(1.0)


def test_modularity_of_a_merged_code():
    """One code for A alone, one that informs equally about A and B, one dead."""
    codes = np.column_stack([A, 2 * A + B, np.zeros(4)])
    assert modularity_score(AB, codes) == pytest.approx((1.0 + 0.0) / 2)


def test_mcc_matches_one_to_one():
    """Both codes are best at the first factor, so one has to take the other."""
    rng = np.random.default_rng(0)
    f, g = np.linalg.qr(rng.normal(size=(50, 2)) - 0.0)[0].T
    f, g = f - f.mean(), g - g.mean()
    g -= f * (f @ g) / (f @ f)
    f, g = f / np.linalg.norm(f), g / np.linalg.norm(g)
    codes = np.column_stack([f, 0.8 * f + 0.6 * g])
    score = mcc_score(np.column_stack([f, g]), codes)
    assert score == pytest.approx((1.0 + 0.6) / 2)


def test_mcc_of_missing_factors():
    factors = np.random.default_rng(0).normal(size=(30, 4))
    codes = np.column_stack([factors[:, 0], np.ones(30)])
    assert mcc_score(factors, codes) == pytest.approx(1 / 4)
    assert mcc_score(factors, codes, missing_factors="ignore") == pytest.approx(1.0)


def test_spearman_sees_monotone_codes():
    factors = np.random.default_rng(0).normal(size=(30, 2))
    codes = np.exp(3 * factors)
    assert mcc_score(factors, codes, method="spearman") == pytest.approx(1.0)
    assert mcc_score(factors, codes) < 0.9


def test_sap_of_continuous_factors_is_a_gap_of_r2():
    f = np.tile([-1.0, -1.0, 1.0, 1.0], 5)
    g = np.tile([-1.0, 1.0, -1.0, 1.0], 5)
    # squared correlations with f: 1/2 for f + g, 1/5 for f + 2 g
    codes = np.column_stack([f + g, f + 2 * g])
    assert sap_score(f[:, None], codes) == pytest.approx(1 / 2 - 1 / 5)


def test_sap_sees_ordered_classes():
    """A linear SVM, the reference's choice, cannot tell classes in the middle."""
    rng = np.random.default_rng(0)
    factors = rng.integers(10, size=(600, 1))
    assert sap_score(factors, factors * 1.0) > 0.95
    assert sap_score(factors, factors * 1.0, classifier="linear_svc") < 0.4


def test_explicitness_reads_linear_information_only():
    factors = repeated(AB, 40)
    exclusive_or = (factors[:, 0] ^ factors[:, 1])[:, None]
    assert explicitness_score(factors, factors @ [[1, 1], [1, -1]]) == 1.0
    assert explicitness_score(factors, exclusive_or * 1.0) == pytest.approx(
        0.5, abs=0.1
    )


def test_explicitness_survives_classes_in_one_part_of_the_split_only():
    factors = np.array([0, 0, 1, 1, 0, 1, 2, 2])[:, None]
    split = [(np.arange(6), np.arange(2, 8))]
    assert explicitness_score(factors, factors * 1.0, cv=split) == 1.0
    constant_here = [(np.array([0, 1, 4]), np.arange(8))]
    assert explicitness_score(factors, factors * 1.0, cv=constant_here) == 0.5


def test_irs_of_a_code_that_moves_with_another_factor():
    """Held at A, the code 2 A + B still moves by 0.5 of at most 1.5."""
    code = (2 * A + B)[:, None] * 1.0
    assert irs_score(AB, code, quantile=1.0) == pytest.approx(1 - 0.5 / 1.5)


def test_irs_weights():
    codes = np.column_stack([A * 3.0, A ^ B])  # the second moves freely: 0
    assert irs_score(AB, codes, quantile=1.0) == pytest.approx(3 / 4)
    assert irs_score(AB, codes, quantile=1.0, weights="uniform") == pytest.approx(1 / 2)


def test_irs_stays_in_range():
    """Without clipping this is 1 - 16/15: the group is centered at -1, all at 0.5."""
    factors = np.array([0, 0, 1, 1])[:, None]
    code = np.array([-1.0, 1.0, 0.0, 0.0])[:, None]
    skewed = np.array([-8.0, 8.0, 7.0, -7.0])[:, None] + 0.0
    for values in (code, skewed):
        assert 0.0 <= irs_score(factors, values, quantile=1.0) <= 1.0


def test_factor_vae_of_one_code_for_two_factors():
    """Only A is told: votes for the code of A are right, the others are guesses."""
    factors = repeated(AB)
    score = factor_vae_score(factors, factors[:, :1] * 1.0, n_train=500, n_test=4000)
    assert score == pytest.approx(0.5, abs=0.03)
    assert factor_vae_score(factors, factors * 1.0, n_train=500, n_test=500) == 1.0


def test_factor_vae_with_a_sampler():
    factors = np.random.default_rng(0).normal(size=(300, 3))
    calls = []

    def sampler(j, size, rng):
        calls.append((j, size))
        batch = rng.normal(size=(size, 3))
        batch[:, j] = batch[0, j]
        return batch * [1.0, 1e-3, 1e3]

    score = factor_vae_score(
        factors, factors * [1, 1e-3, 1e3], sampler=sampler, n_train=60, n_test=40
    )
    assert score == 1.0
    assert len(calls) == 100
    assert {size for _, size in calls} == {64}


def test_factor_vae_refuses_what_it_cannot_hold():
    unique = np.arange(20)[:, None]
    with pytest.raises(ValueError, match=r"no two rows share a value of column 0"):
        factor_vae_score(unique, unique * 1.0, discrete_factors=True)
    with pytest.raises(ValueError, match=r"sampler: returned codes of shape \(64, 5\)"):
        factor_vae_score(AB, AB * 1.0, sampler=lambda j, n, rng: np.zeros((n, 5)))
    with pytest.raises(TypeError, match="sampler: got 3"):
        factor_vae_score(AB, AB * 1.0, sampler=3)


def test_infomec_does_not_depend_on_scale():
    """Pruning by range would drop the second code here and keep the noise."""
    rng = np.random.default_rng(0)
    factors = rng.integers(4, size=(500, 2))
    codes = np.column_stack([factors * [1.0, 1e-6], 100 * rng.normal(size=500)])
    scores = infomec_scores(factors, codes)
    assert scores.active_codes.tolist() == [True, True, False]
    assert scores.infom > 0.9
    assert scores.infoc > 0.9


def test_infomec_of_discrete_codes_by_hand():
    """One code holds A, the other A and B: NMI rows (1, 0) and (1, 1)."""
    factors = repeated(AB)
    codes = np.column_stack([factors[:, 0], 2 * factors[:, 0] + factors[:, 1]])
    scores = infomec_scores(factors, codes)
    assert scores.nmi_matrix == pytest.approx(np.array([[1.0, 0.0], [1.0, 1.0]]))
    assert scores.infom == pytest.approx(((1 + 0.5) / 2 - 0.5) / 0.5)
    assert scores.infoc == pytest.approx(((0.5 + 1) / 2 - 0.5) / 0.5)


def test_curve_of_noise_is_not_explicit():
    """The formula alone gives a flat curve the best score."""
    rng = np.random.default_rng(0)
    factors, codes = rng.normal(size=(800, 2)), rng.normal(size=(800, 3))
    assert explicitness_curve_score(factors, codes) < 0.05
    assert explicitness_curve_score(factors, codes, penalize_unexplained=False) > 0.9


def test_curve_needs_capacity_for_nonlinear_codes():
    factors = np.random.default_rng(0).normal(size=(800, 2))
    linear = explicitness_curve_score(factors, factors @ [[1.0, 2.0], [1.0, -1.0]])
    bent = explicitness_curve_score(factors, np.sign(factors) * np.abs(factors) ** 0.2)
    assert bent < 0.97 < 0.999 < linear


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 1, 2], [1, 1, 0], 1.0), "capacities: expected a strictly increasing"),
        (([1, 2], [1, -1], 1.0), "losses: expected a 1D array without negative"),
        (([1, 2], [1, 0], 0.0), "baseline_loss: got 0.0"),
        (([1, 2, 3], [1, 0], 1.0), "inconsistent numbers of samples"),
        (([1], [1], 1.0), "minimum of 2 is required"),
    ],
)
def test_bad_curves(arguments, message):
    with pytest.raises(ValueError, match=message):
        explicitness_from_curve(*arguments)
