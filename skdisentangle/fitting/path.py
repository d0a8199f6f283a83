"""How sparse: models over a range of strengths, and the choice among them.

A path begins with one fit at the weakest strengths, which finds the factors. From there
each pair of strengths takes the last part of a fit once more: heads and encoder settle at
strengths of their own, while the learning rate goes to zero. All begin at the same model,
not at their neighbour, so that none is trained longer than another, and a component that
one of them loses is not lost to the next. Towards stronger ones, since a component that
no task uses gets no gradient and does not come back.

Models are compared on rows that were held back, by squared error (:func:`row_losses`):
the prediction hardly changes while a stronger penalty takes away what no task needs, and
gets worse as soon as it takes away a factor. So we take the model of the fewest nonzero
coefficients among those whose loss is at most a hundredth above the least, by which
models differ that were merely trained anew. The rule of one standard error (Breiman,
Friedman, Olshen & Stone, "Classification and Regression Trees", 1984, section 3.4.3) is
the same with that error in the place of the hundredth; where rows are few the error is so
large that it lets factors go.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from numbers import Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils import Bunch

from .._random import check_rng, draw_seed
from .._threads import thread_count, threads
from ..rows.array_api import numpy_array
from ..rows.targets import label_weights
from ..tasks.blocks import Block
from ..tasks.labels import Labels
from ..tasks.task_set import TaskSet
from ..tasks.weights import idle_tasks, learned_task_weights
from ..validation import split_rows, torch_device
from .fit import fit
from .problem import Fitted, Problem, Settings

__all__ = [
    "SHARINGS",
    "SPARSITIES",
    "can_learn",
    "check_strengths",
    "choose_on_held_back_rows",
    "compare",
    "count_nonzeros",
    "fewest_nonzeros",
    "fit_path",
    "row_losses",
    "sparsity_path",
    "with_task_types",
]

FloatArray = NDArray[np.float64]

#: What ``"auto"`` chooses from. At 0.3 a fit, which is under the penalty for longer than
#: a model of the path, may lose factors that the path keeps.
SPARSITIES = (0.01, 0.03, 0.1, 0.2)
SHARINGS = (0.03, 0.1, 0.3)

#: Where a model of the path joins the fit: the share of it that is taken for done.
REFIT_START = 0.85

#: Share of the least loss by which another is let pass as no worse.
TOLERANCE = 0.01


def squared_errors(
    scores: NDArray[np.floating], targets: FloatArray, blocks: Sequence[Block]
) -> FloatArray:
    """Half the squared error of each row and task.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_outputs)
    targets : ndarray of shape (n_rows, n_tasks)
        See :mod:`skdisentangle.tasks.blocks`.
    blocks : sequence of Block

    Returns
    -------
    ndarray of shape (n_rows, n_tasks)
        Of a regression task, for its standardised target; of a count, twice that of the root
        of its share of the mean; of ordered classes, the mean squared error of the
        probabilities to be above each cut; of others half the Brier score,
        ``sum_c (p_c - [class is c])^2 / 2`` (Brier, "Verification of forecasts expressed
        in terms of probability", Monthly Weather Review 78, 1950).
    """
    scored = torch.from_numpy(scores)
    truth = torch.from_numpy(targets).to(scored)
    parts = [
        block.kind.squared_error(
            scored[:, block.outputs], truth[:, block.tasks], block.n_classes
        )
        for block in blocks
    ]
    errors: FloatArray = torch.cat(parts, dim=1).double().numpy()
    return errors


def row_losses(fitted: Fitted, settings: Settings, problem: Problem) -> FloatArray:
    """What each row adds to the mean over tasks of their mean squared errors.

    Not the loss of the fit: the cross-entropy of rows that were held back hangs, where
    rows are few, on how sure a model is of its errors, and prefers strengths that lose
    factors and with them confidence.

    Parameters
    ----------
    fitted : Fitted
    settings : Settings
    problem : Problem
        A class that the fit has not seen counts as no label.

    Returns
    -------
    ndarray of shape (n_rows,)
        Their mean is the loss; NaN if no task has a label here.
    """
    task_set = fitted.task_set
    targets, labelled = task_set.encode(problem.labels, unseen_ok=True)
    n_classes = task_set.n_classes()
    labelled &= (targets >= 0) | (n_classes == 0)
    targets = np.where(labelled, targets, 0.0)
    balance = n_classes if settings.class_weight == "balanced" else None
    weights = label_weights(labelled, problem.weight, targets, balance)
    scores = fitted.raw_scores(problem.X, torch_device(settings.device))
    errors = squared_errors(scores, targets, task_set.blocks)
    if weights is not None:
        errors *= weights
    share = learned_task_weights(settings.task_weight, task_set)
    share = np.where(labelled.any(0), share, 0.0)
    with np.errstate(invalid="ignore"):
        losses: FloatArray = errors @ (share / share.sum())
    return losses


def compare(losses: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Loss of each model, and the standard error of its difference to the least.

    Parameters
    ----------
    losses : ndarray of shape (n_models, n_rows)
        Loss of each model on each row that was held back.

    Returns
    -------
    loss, error : ndarray of shape (n_models,)
        The error is zero for the model of the least loss, and with a single row.
    """
    loss = losses.mean(1)
    more = losses - losses[loss.argmin()]
    n_rows = losses.shape[1]
    return loss, more.std(1, ddof=min(1, n_rows - 1)) / np.sqrt(n_rows)


def fewest_nonzeros(
    loss: FloatArray,
    n_nonzero: NDArray[np.number],
    strengths: Sequence[tuple[float, float]],
) -> int:
    """Number of the model of the fewest nonzeros among those as good as the best.

    Parameters
    ----------
    loss : ndarray of shape (n_models,)
    n_nonzero : ndarray of shape (n_models,)
        Nonzero coefficients.
    strengths : sequence of (sparsity, sharing), of length n_models

    Returns
    -------
    int
        Of those with as few nonzeros, the one of the weakest sparsity, then sharing.
        One without any, and so without features, only if it is better than all others.
    """
    near = np.flatnonzero(loss <= (1 + TOLERANCE) * loss.min())
    if n_nonzero[loss == loss.min()].any():
        near = near[n_nonzero[near] > 0]
    sparsity, sharing = np.transpose(strengths)
    order = np.lexsort((sharing[near], sparsity[near], n_nonzero[near]))
    return int(near[order[0]])


def with_task_types(settings: Settings, problem: Problem) -> Settings:
    """Types of tasks as seen on all rows: on some, integers may look like classes."""
    task_set = TaskSet.build(
        problem.labels,
        task_types=settings.task_types,
        sample_weight=problem.weights(),
        quiet=True,
    )
    return replace(settings, task_types=task_set.types_found())


def can_learn(labels: Labels) -> bool:
    """Whether some task has two different labels."""
    return any(
        len(np.unique(column.values[~column.missing])) > 1 for column in labels.columns
    )


def fit_path(
    problem: Problem,
    settings: Settings,
    strengths: Sequence[tuple[float, float]],
    seed: int,
) -> list[Fitted]:
    """Fit a model at each pair of strengths, sparsity and sharing.

    Parameters
    ----------
    problem : Problem
    settings : Settings
        Of all but the strengths.
    strengths : sequence of (sparsity, sharing)
    seed : int

    Returns
    -------
    list of Fitted
        In the order of the strengths.
    """

    def at(sparsity: float, sharing: float) -> Settings:
        return replace(settings, sparsity=sparsity, sharing=sharing)

    base = fit(problem, at(*np.min(strengths, axis=0).tolist()), seed)
    return [
        fit(problem, at(*pair), seed, before=base, start=REFIT_START)
        for pair in strengths
    ]


def count_nonzeros(models: Sequence[Fitted], settings: Settings) -> NDArray[np.intp]:
    """Nonzero coefficients of each model, but for tasks of weight zero."""

    def trained(model: Fitted) -> Fitted:
        idle = idle_tasks(settings.task_weight, model.task_set)
        return model.over(model.task_set.without(idle))

    return np.array([np.count_nonzero(trained(model).coef) for model in models])


def hold_back(
    problem: Problem,
    settings: Settings,
    strengths: Sequence[tuple[float, float]],
    seed: int,
) -> tuple[list[Fitted], FloatArray, NDArray[np.intp]]:
    """Path on most rows; losses on, and numbers of, the rows held back."""
    fraction = float(settings.validation_fraction)
    fitted_on, held_back = split_rows(problem.n_rows, fraction, seed)
    most = problem.take(fitted_on)
    if not can_learn(most.labels):
        raise ValueError(
            f"validation_fraction={fraction} leaves {len(fitted_on)} rows to fit on, "
            "from which no task can be learned. Lower it, or set sparsity and sharing to "
            "numbers."
        )
    models = fit_path(most, settings, strengths, seed)
    others = problem.take(held_back)
    losses = np.array([row_losses(model, settings, others) for model in models])
    if np.isnan(losses).any():
        raise ValueError(
            f"validation_fraction={fraction} holds back {len(held_back)} rows, on which "
            "no task that can be learned from the others has a label. Raise it, or set "
            "sparsity and sharing to numbers."
        )
    return models, losses, held_back


def choose_on_held_back_rows(
    problem: Problem,
    settings: Settings,
    sparsity: float | str,
    sharing: float | str,
    seed: int,
    *,
    verbose: bool = False,
) -> tuple[float, float]:
    """Choose the strengths that are ``"auto"``.

    Parameters
    ----------
    problem : Problem
        A share ``validation_fraction`` of its rows is held back.
    settings : Settings
        Of all but the strengths.
    sparsity, sharing : float or "auto"
    seed : int
    verbose : bool, default=False
        Whether to print a line a candidate.

    Returns
    -------
    sparsity, sharing : float
    """

    def range_of(
        given: float | str, candidates: tuple[float, ...]
    ) -> tuple[float, ...]:
        return candidates if given == "auto" else (float(given),)

    strengths = list(
        product(range_of(sparsity, SPARSITIES), range_of(sharing, SHARINGS))
    )
    settings = with_task_types(settings, problem)
    models, losses, _ = hold_back(problem, settings, strengths, seed)
    loss, counts = losses.mean(1), count_nonzeros(models, settings)
    if verbose:
        for (first, second), mean, count in zip(strengths, loss, counts, strict=True):
            print(
                f"sparsity {first:.4g}  sharing {second:.4g}  held-out loss "
                f"{mean:.4f}  nonzeros {count}",
                flush=True,
            )
    return strengths[fewest_nonzeros(loss, counts, strengths)]


def check_strengths(name: str, values: Any, *, zero: bool = False) -> list[float]:
    """Sorted strengths, from strong to weak.

    Raises
    ------
    ValueError
        If they are not numbers above zero (or not negative, if `zero`), or none.
    """
    given = np.asarray(values, dtype=object).ravel().tolist()
    valid = all(
        isinstance(value, Real)
        and np.isfinite(float(value))
        and (float(value) > 0 or (zero and float(value) == 0))
        for value in given
    )
    if not given or not valid:
        raise ValueError(
            f"{name} must hold numbers {'of at least' if zero else 'above'} 0; got "
            f"{values!r}."
        )
    return sorted({float(value) for value in given}, reverse=True)


def sparsity_path(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    Y_tasks: Any = None,
    sample_weight: ArrayLike | None = None,
    sparsities: int | ArrayLike = 10,
) -> Bunch:
    """Fit models from strong to weak sparsity, in about the time of two and a half fits.

    All models share one fit at the weakest sparsity. Each model then repeats only the last
    part of the fit, at its own sparsity.

    Parameters
    ----------
    estimator : SparseSharedDisentangler
        The settings of the models; it is not changed. A share ``validation_fraction`` of
        the rows is held back to compare the models.
    X, y, Y_tasks, sample_weight
        As in :meth:`~skdisentangle.SparseSharedDisentangler.fit`.
    sparsities : int or array-like, default=10
        The strengths, above zero, or their number. A number of strengths is spaced evenly
        in the logarithm from 0.5 to 0.003.

    Returns
    -------
    Bunch
        The models. All attributes except the last three have length n_sparsities:

        - **sparsities**: ndarray, from strong to weak.
        - **estimators**: list of fitted estimators.
        - **losses**: ndarray, the mean loss over held-out rows and tasks: half the squared
          error of standardised regression targets, half the Brier score of classes.
        - **errors**: ndarray, the standard error of the difference from the lowest loss.
        - **scores**: ndarray, the estimators' scores (R2, D2, accuracy) on these rows.
        - **n_nonzero**: ndarray of int, the number of nonzero coefficients.
        - **n_active**: ndarray of int, the number of active components, which are the
          columns of the estimator's ``transform``.
        - **held_back**: ndarray of int, the held-out rows.
        - **best_index**: int, the model with the fewest nonzero coefficients whose loss is
          at most 1% above the lowest. This is the rule of ``sparsity="auto"``.
        - **best_sparsity**: float, the sparsity of that model.

    Raises
    ------
    ValueError
        If the estimator's sharing is ``"auto"``, if sparsities are not as described,
        or as in :meth:`~skdisentangle.SparseSharedDisentangler.fit`.

    See Also
    --------
    skdisentangle.inspection.SparsityPathDisplay : Draw the path.
    sklearn.linear_model.lasso_path : For a single linear task.

    Examples
    --------
    >>> from skdisentangle import SparseSharedDisentangler
    >>> from skdisentangle.datasets import make_multitask_factors
    >>> from skdisentangle.model_selection import sparsity_path
    >>> made = make_multitask_factors(500, mixing="linear", random_state=0)
    >>> dis = SparseSharedDisentangler(8, encoder="linear", random_state=0)
    >>> path = sparsity_path(dis, made.X, made.Y, sparsities=[1.0, 0.1, 0.01])
    >>> bool((path.n_nonzero[0] < path.n_nonzero[1:]).all())
    True
    >>> path.estimators[path.best_index].transform(made.X).shape
    (500, 6)
    """
    X, y, Y_tasks, sample_weight = map(numpy_array, (X, y, Y_tasks, sample_weight))
    if isinstance(sparsities, int | np.integer):
        if sparsities < 1:
            raise ValueError(f"sparsities must be at least 1; got {sparsities}.")
        sparsities = np.geomspace(0.5, 0.003, int(sparsities))
    values = check_strengths("sparsities", sparsities)
    if "sparsity" not in getattr(estimator, "get_params", dict)():
        raise TypeError(
            "estimator must be a SparseSharedDisentangler, to vary its sparsity; got "
            f"{type(estimator).__name__}."
        )
    model = clone(estimator).set_params(sparsity=values[0])
    model._validate_params()
    if model.sharing == "auto":
        raise ValueError(
            "sharing of the estimator must be a number, because the path varies only "
            "sparsity; got 'auto'."
        )
    problem = model._read(X, y, Y_tasks, sample_weight, reset=True)
    strengths = [(value, float(model.sharing)) for value in values]
    settings = with_task_types(Settings.of(model, *strengths[0]), problem)
    seed = draw_seed(check_rng(model.random_state))
    with threads(thread_count(model.n_threads)):
        models, losses, held_back = hold_back(problem, settings, strengths, seed)
        others, device = problem.take(held_back), torch_device(settings.device)
        scores = [np.nanmean(found.score_tasks(others, device)) for found in models]
    estimators = []
    for found in models:
        fitted = copy.copy(model).set_params(sparsity=found.sparsity)
        vars(fitted).update(found.attributes())
        estimators.append(fitted)
    loss, error = compare(losses)
    counts = count_nonzeros(models, settings)
    best = fewest_nonzeros(loss, counts, strengths)
    if problem.weight is not None:  # rows of weight zero were dropped
        held_back = np.flatnonzero(np.asarray(sample_weight))[held_back]
    return Bunch(
        sparsities=np.array(values),
        estimators=estimators,
        losses=loss,
        errors=error,
        scores=np.array(scores),
        n_nonzero=counts,
        n_active=np.array([found.n_active for found in models]),
        held_back=held_back,
        best_index=best,
        best_sparsity=values[best],
    )
