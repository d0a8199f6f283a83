"""Every check of scikit-learn's, on every kind of estimator that takes plain rows.

Those of kinds that share most of their code with others are among the slow tests.

None is expected to fail, but for the two that rule out a random split of the rows, and
for those of classifiers that want weights by class, or an error in other words. The
checks of array libraries skip those that are not installed, and devices that are not
there: cupy, dpnp; cuda, xpu, mps. They look at the containers, not at what is computed,
and are run on the first estimator only.
"""

from __future__ import annotations

import re

import pytest
import torch
from sklearn.utils.estimator_checks import estimator_checks_generator

from skdisentangle import SparseSharedDisentangler
from skdisentangle.encoders.networks import build_body

from .conftest import run_check


def make_body(n_features, n_components):
    """A factory of a body, as a user would write it."""
    return torch.nn.Sequential(
        torch.nn.Linear(n_features, 8),
        torch.nn.Tanh(),
        torch.nn.Linear(8, n_components),
    )


def make_convolutions(n_features, n_components):
    """The body of ``encoder="conv"``, whose images are here of height one."""
    return build_body(
        "conv",
        n_features=n_features,
        n_components=n_components,
        hidden_layer_sizes=(128, 128),
        input_shape=(1, 1, n_features),
        seed=0,
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
    if estimator.task_types is not None:
        failing["check_class_weight_classifiers"] = (
            "each task has classes of its own, to which no weights can be given by name"
        )
    if estimator.task_types == "binary":
        failing["check_classifier_not_supporting_multiclass"] = (
            "the error names the task, and the number of its classes"
        )
    return failing


ESTIMATORS = [
    SparseSharedDisentangler(),
    SparseSharedDisentangler(sparsity=0, sharing=0),
    SparseSharedDisentangler(solver="bilevel"),
    SparseSharedDisentangler(encoder="linear"),
    SparseSharedDisentangler(encoder=make_convolutions),
    SparseSharedDisentangler(encoder=make_body, n_components=3),
    SparseSharedDisentangler(class_weight="balanced"),
    SparseSharedDisentangler(cross_fit=2, n_components=3),
    SparseSharedDisentangler(encoder="linear", task_types="multiclass"),
    SparseSharedDisentangler(encoder="linear", task_types="binary"),
]


#: These fit to every sparse format, and take as long as all others together.
SLOW = ("check_estimator_sparse_array", "check_estimator_sparse_matrix")

#: Numbers of the estimators whose other checks are not slow.
QUICK = (0, 3, 6)

#: Number of the first that is a classifier, of which the checks of classifiers are quick.
CLASSIFIER = 8


def checks():
    """Pairs of estimator and check, with marks of those that fail or are slow."""
    for number, estimator in enumerate(ESTIMATORS):
        for pair in estimator_checks_generator(
            estimator, expected_failed_checks=expected_to_fail(estimator), mark="xfail"
        ):
            checked, check = getattr(pair, "values", pair)
            library = check.keywords.get("array_namespace", "numpy")
            mixed = "X_ns_and_device" in check.keywords
            named = check.func.__name__
            quick = number in QUICK or (number == CLASSIFIER and "classif" in named)
            if not quick or (number and named in SLOW):
                marks = (*getattr(pair, "marks", ()), pytest.mark.slow)
                yield pytest.param(checked, check, marks=marks)
            elif number == 0 or (library == "numpy" and not mixed):
                yield pair


def shown(value):
    """Part of the name of a test: the estimator's parameters, or the check's name."""
    if not hasattr(value, "func"):
        # Without addresses: tests have the same names in all processes that share them.
        return re.sub(r"\s+", " ", re.sub(r" at 0x\w+", "", repr(value)))
    options = (str(v) for k, v in value.keywords.items() if k != "name")
    return " ".join([value.func.__name__, *options])


# The labels of some checks are noise, and the fit may say so.
@pytest.mark.filterwarnings("ignore:No component is in use:UserWarning")
@pytest.mark.parametrize(("estimator", "check"), [*checks()], ids=shown)
def test_check(estimator, check):
    run_check(estimator, check)
