"""Every check of scikit-learn's, on every kind of estimator that takes plain rows.

Run with ``SCIPY_ARRAY_API=1``, as ``.ci/run`` does, scikit-learn skips none of them.
"""

from __future__ import annotations

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


def not_the_same(estimator):
    """Both checks want ``fit(X, y).transform(X)`` to equal ``fit_transform(X, y)``."""
    if estimator.cross_fit is None:
        return {}
    reason = "fit_transform gives out-of-fold features"
    checks = ("check_transformer_general", "check_transformer_data_not_an_array")
    return dict.fromkeys(checks, reason)


@parametrize_with_checks(
    [
        SparseSharedDisentangler(),
        SparseSharedDisentangler(penalty="l1"),
        SparseSharedDisentangler(sparsity=0, sharing=0),
        SparseSharedDisentangler(encoder="linear"),
        SparseSharedDisentangler(encoder="conv"),
        SparseSharedDisentangler(encoder=make_body, n_components=3),
        SparseSharedDisentangler(class_weight="balanced"),
        SparseSharedDisentangler(active_only=True),
        SparseSharedDisentangler(cross_fit=2, n_components=3),
    ],
    expected_failed_checks=not_the_same,
)
def test_check(estimator, check):
    check(estimator)
