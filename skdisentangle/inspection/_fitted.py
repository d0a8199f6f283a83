"""What displays ask of a fitted estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ..tasks import Task
from ..validation import is_disentangler

if TYPE_CHECKING:
    from ..disentangler import SparseSharedDisentangler

__all__ = [
    "active_codes",
    "column_names",
    "component_labels",
    "fitted_parts",
    "held_zeros",
    "learned_tasks",
    "task_sizes",
]


def fitted_parts(estimator: Any) -> tuple[SparseSharedDisentangler, Pipeline | None]:
    """The fitted disentangler of an estimator, and the steps before it, if any.

    Parameters
    ----------
    estimator : SparseSharedDisentangler, Pipeline or search
        Of a search, its best estimator is meant; of a pipeline, its last disentangler.

    Raises
    ------
    TypeError
        If there is no disentangler.
    ValueError
        If a search has no best estimator.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    """
    found, before = estimator, None
    if hasattr(found, "estimator") and hasattr(found, "cv"):
        check_is_fitted(found)
        if not hasattr(found, "best_estimator_"):
            raise ValueError(
                "estimator has no best_estimator_: a search must be fitted with "
                "refit=True."
            )
        found = found.best_estimator_
    if isinstance(found, Pipeline):
        places = [
            place
            for place, (_, step) in enumerate(found.steps)
            if is_disentangler(step)
        ]
        if places:
            before = found[: places[-1]] if places[-1] > 0 else None
            found = found[places[-1]]
    if not is_disentangler(found):
        raise TypeError(
            "estimator must be a fitted SparseSharedDisentangler, or a pipeline with "
            f"one; got {type(estimator).__name__}."
        )
    check_is_fitted(found)
    return found, before


def active_codes(estimator: SparseSharedDisentangler, X: Any) -> NDArray[np.float64]:
    """Active components of rows, shape (n_samples, n_active)."""
    codes = np.asarray(estimator.transform(X), dtype=np.float64)
    return codes[:, estimator.active_components_]


def component_labels(estimator: SparseSharedDisentangler) -> list[Any]:
    """What to call the active components: their names, if they have some, or numbers."""
    active: list[Any] = estimator.active_components_.tolist()
    names = getattr(estimator, "component_names_", None)
    if names is None:
        return active
    prefix = type(estimator).__name__.lower()
    return [j if names[j] == f"{prefix}{j}" else names[j] for j in active]


def learned_tasks(estimator: SparseSharedDisentangler) -> list[Task]:
    """The tasks that have a head."""
    return [task for task in estimator.tasks_ if task.left_out is None]


def task_sizes(
    estimator: SparseSharedDisentangler,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Size and sign of each learned task's coefficients on all components.

    Returns
    -------
    sizes : ndarray of shape (n_learned, n_components)
        Norm over the outputs of a task, as a share of its largest.
    signs : ndarray of shape (n_learned, n_components)
        -1, 0 or 1; zero for a task of several outputs.
    """
    coef, learned = estimator.coef_, learned_tasks(estimator)
    sizes = np.zeros((len(learned), coef.shape[1]))
    signs = np.zeros_like(sizes)
    for row, task in enumerate(learned):
        part = coef[task.outputs]
        # Scaled first: the squares of tiny or huge units leave the range.
        largest = np.abs(part).max(initial=0.0)
        sizes[row] = np.linalg.norm(part / (largest or 1.0), axis=0)
        sizes[row] /= sizes[row].max(initial=0.0) or 1.0
        if len(part) == 1:
            signs[row] = np.sign(part[0])
    return sizes, signs


def held_zeros(estimator: SparseSharedDisentangler, share: float) -> NDArray[np.bool_]:
    """Which tasks leave a component out only because of the penalty.

    Their coefficients would be, beyond chance, this share of the task's largest without it.
    None is known of a model that has no exact heads, as after ``partial_fit``.

    Returns
    -------
    ndarray of shape (n_learned, n_components)
    """
    learned = learned_tasks(estimator)
    held = np.zeros((len(learned), estimator.coef_.shape[1]), dtype=bool)
    if estimator._pull is None:
        return held
    for row, task in enumerate(learned):
        coef, pull = estimator.coef_[task.outputs], estimator._pull[task.outputs]
        largest = np.abs(coef).max(initial=0.0)
        if largest > 0:
            held[row] = ~coef.any(axis=0) & (pull.max(axis=0) >= share * largest)
    return held


def column_names(X: Any, estimator: Any, n_columns: int) -> list[str]:
    """Names of the columns of X: its own, those of the fit, or x0, x1, ..."""
    names = getattr(X, "columns", None)
    if names is None:
        names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        return [f"x{j}" for j in range(n_columns)]
    return [str(name) for name in names]
