"""Every check of scikit-learn's, on every kind of estimator that takes plain rows.

None is expected to fail, but for the two that rule out a random split of the rows.

Run with ``SCIPY_ARRAY_API=1``, as ``.ci/run`` does, scikit-learn skips none of them.
"""

from __future__ import annotations

import pytest
import torch
from sklearn.utils.estimator_checks import parametrize_with_checks

from skdisentangle import SparseSharedDisentangler


def make_body(n_features, n_components):
    """A factory of a body, as a user would write it."""
    return torch.nn.Sequential(
        torch.nn.Linear(n_features, 8),
        torch.nn.Tanh(),
        torch.nn.Linear(8, n_components),
    )


def expected_to_fail(estimator):
    """Checks that a kind of estimator cannot pass, with the reason."""
    failing = {}
    if estimator.cross_fit is not None:
        # Both want ``fit(X, y).transform(X)`` to equal ``fit_transform(X, y)``.
        for check in (
            "check_transformer_general",
            "check_transformer_data_not_an_array",
        ):
            failing[check] = "fit_transform gives out-of-fold features"
    if estimator.solver == "bilevel":
        for kind in ("dense", "sparse"):
            failing[f"check_sample_weight_equivalence_on_{kind}_data"] = (
                "copies of a row may be split between support and query, one row cannot"
            )
    return failing


# The labels of some checks are noise, and the fit may say so.
@pytest.mark.filterwarnings("ignore:No component is active:UserWarning")
@parametrize_with_checks(
    [
        SparseSharedDisentangler(),
        SparseSharedDisentangler(penalty="l1"),
        SparseSharedDisentangler(sparsity=0, sharing=0),
        SparseSharedDisentangler(solver="bilevel"),
        SparseSharedDisentangler(encoder="linear"),
        SparseSharedDisentangler(encoder="conv"),
        SparseSharedDisentangler(encoder=make_body, n_components=3),
        SparseSharedDisentangler(class_weight="balanced"),
        SparseSharedDisentangler(active_only=True),
        SparseSharedDisentangler(cross_fit=2, n_components=3),
    ],
    expected_failed_checks=expected_to_fail,
)
def test_check(estimator, check):
    check(estimator)
