"""Sparse heads for new tasks, on the frozen features of a fitted disentangler."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils import ClassifierTags, RegressorTags
from sklearn.utils.validation import check_is_fitted

from ._sklearn import BaseEstimator, ComponentCoef, available_if
from ._threads import thread_count, threads
from .files.persistence import FileMixin
from .rows.array_api import follows_input, in_numpy
from .solvers.supports import average_over_supports, head_prior
from .tasks import Task
from .tasks.blocks import task_scores
from .tasks.labels import Labels, pandas_index
from .tasks.task_set import TaskSet
from .tasks.types import TYPES, check_type
from .validation import is_disentangler, row_weights

__all__ = ["SparseTaskHead"]

#: A component less probable than this gets no coefficient; one as probable as this is used.
MIN_INCLUSION, USED = 0.1, 0.5


def _has_classes(head: SparseTaskHead) -> bool:
    """Whether ``predict_proba`` exists: the task must have classes."""
    kind = head._type()
    if kind is not None and not TYPES[kind].has_classes:
        raise AttributeError(f"predict_proba is not available for a {kind} task.")
    return True


class SparseTaskHead(FileMixin, BaseEstimator):
    """Predict a new task from few labels, on the components of a fitted disentangler.

    The head is linear in the components of a fitted
    :class:`~skdisentangle.SparseSharedDisentangler`, which stays as it is. The head averages
    over plausible supports, so there is no strength to tune. With few labels it stays careful,
    with more it settles on few components.

    Usually you make it with :meth:`~skdisentangle.SparseSharedDisentangler.fit_task`.

    Parameters
    ----------
    disentangler : SparseSharedDisentangler or FrozenEstimator
        The fitted disentangler. Searches and cross-validation clone what they fit: for
        them, wrap it in a :class:`sklearn.frozen.FrozenEstimator`.
    task_type : {"regression", "count", "binary", "ordinal", "multiclass"}, default=None
        Type of the task. None infers it from the labels, as the disentangler does.
        Strings, booleans and categories are classes. Numbers are classes if they have two
        whole values, or up to ten that look like codes, such as 0 to 3, with many rows
        each. If your labels are few and are codes of more than two classes, give the type.

    Attributes
    ----------
    coef_ : ndarray of shape (n_outputs, n_active)
        Coefficients in the units of the labels, with one column per column of the
        disentangler's `transform`. Zeros are exact. There is one output, or one per class
        for a multiclass task.
    intercept_ : ndarray of shape (n_outputs,)
        Intercepts.
    inclusion_ : ndarray of shape (n_active,)
        Probability that the task uses each component. Below 0.1 its coefficient is zero.
    support_ : ndarray of int
        Components that the task uses with a probability of at least 0.5, as numbers of
        components: the median probability model [1]_. With few labels, ``coef_`` also has
        nonzero coefficients outside it.
    task_ : skdisentangle.tasks.Task
        Name, type and classes of the task.
    classes_ : ndarray of shape (n_classes,)
        Classes. Only for a task with classes.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Only if the disentangler has them.

    Notes
    -----
    A prior comes from the tasks of the disentangler's fit: how many components a task uses,
    which components many tasks use, how large coefficients are, and how noisy a regression
    task is. A tenth of the prior is for a task that uses all components. Each support that
    the labels leave plausible is weighted by its probability. See the module
    ``solvers.supports`` for the formulas and their sources.

    References
    ----------
    .. [1] M. M. Barbieri and J. O. Berger, "Optimal predictive model selection", Annals of
       Statistics 32, 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from skdisentangle import SparseSharedDisentangler
    >>> rng = np.random.default_rng(0)
    >>> factors = rng.normal(size=(500, 2))
    >>> X = factors @ rng.normal(size=(2, 5))
    >>> Y_tasks = np.column_stack([factors[:, 0], factors[:, 1] > 0, factors[:, 1]])
    >>> dis = SparseSharedDisentangler(n_components=4, random_state=0).fit(X, Y_tasks)
    >>> head = dis.fit_task(X[:40], factors[:40, 0] > 0.5)
    >>> len(head.support_)
    1
    >>> head.score(X[40:], factors[40:, 0] > 0.5) > 0.9
    True
    """

    coef_ = ComponentCoef()
    _task_set: TaskSet

    def __init__(self, disentangler: Any, *, task_type: str | None = None) -> None:
        self.disentangler = disentangler
        self.task_type = task_type

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        kind = TYPES.get(self._type() or "")
        if kind is not None and kind.has_classes:
            tags.estimator_type = "classifier"
            tags.classifier_tags = ClassifierTags(multi_class=kind.most_classes != 2)
        elif kind is not None:
            tags.estimator_type = "regressor"
            tags.regressor_tags = RegressorTags()
        tags.input_tags = self.disentangler.__sklearn_tags__().input_tags
        return tags

    def _type(self) -> str | None:
        """Type of the task, or None if it is not known yet."""
        task = getattr(self, "task_", None)
        return self.task_type if task is None else task.type

    @follows_input
    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the head.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, as the disentangler takes them.
        y : array-like or series of shape (n_samples,)
            Labels of one task. A row with NaN, None or NA is left out.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows, relative to their mean. A row of weight
            zero is left out.

        Returns
        -------
        self : SparseTaskHead
            The fitted head.

        Raises
        ------
        NotFittedError
            If the disentangler is not fitted.
        TypeError
            If ``disentangler`` is not a disentangler.
        ValueError
            If X, y or weights are not as described, ``y`` has fewer than two classes or
            values, or ``task_type`` does not fit its labels.
        """
        check_type(self.task_type, "task_type")
        fitted = _unfrozen(self.disentangler)
        try:
            check_is_fitted(fitted)
        except NotFittedError as error:
            raise NotFittedError(
                "disentangler must be fitted. Searches and cross-validation clone it, and "
                "the clone is not fitted: give sklearn.frozen.FrozenEstimator(disentangler)."
            ) from error
        # A later fit sets new attributes on the original, not on this copy.
        fitted = copy.copy(in_numpy(fitted))
        codes, labels, weight = _read(fitted, X, y, sample_weight)
        task_set = TaskSet.build(
            labels,
            task_types=self.task_type,
            sample_weight=weight,
            setting="task_type",
        )
        weight = weight / weight.mean()
        task = task_set.tasks[0]
        targets, _ = task_set.encode(labels)
        log_odds, scale = head_prior(_standard_heads(fitted), task.type)
        thresholds = task_set.blocks[0].thresholds
        try:
            with threads(thread_count(fitted.n_threads)):
                found = average_over_supports(
                    torch.from_numpy(codes),
                    torch.from_numpy(targets[:, 0]),
                    torch.from_numpy(weight),
                    task_type=task.type,
                    n_outputs=task.n_outputs,
                    log_odds=log_odds,
                    scale=scale,
                    noise=fitted._unexplained,
                    thresholds=thresholds,
                )
            finite = found.coef.isfinite().all() and found.intercept.isfinite().all()
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            finite = torch.tensor(False)
        if not finite:
            raise ValueError(
                "X: its components are too large to fit a head. Its rows have another scale "
                "than those that the disentangler was fitted on."
            )
        active, n_components = fitted.active_components_, len(fitted.usage_)
        inclusion = found.inclusion.numpy()
        kept = inclusion >= MIN_INCLUSION
        mean, unit = task_set.output_units()
        # Dropped coefficients move their mean into the intercept.
        dropped = found.coef.numpy()[:, ~kept] @ (
            weight @ codes[:, ~kept] / weight.sum()
        )
        coef = np.zeros((task.n_outputs, n_components))
        coef[:, active[kept]] = found.coef.numpy()[:, kept] * unit[:, np.newaxis]
        everywhere = np.zeros(n_components)
        everywhere[active] = inclusion
        self._set_fitted(
            fitted,
            task_set if thresholds is None else task_set.with_thresholds([thresholds]),
            coef=coef,
            intercept=(found.intercept.numpy() + dropped) * unit + mean,
            inclusion=everywhere,
            support=active[inclusion >= USED],
        )
        return self

    def _set_fitted(
        self,
        disentangler: Any,
        task_set: TaskSet,
        *,
        coef: NDArray[np.float64],
        intercept: NDArray[np.float64],
        inclusion: NDArray[np.float64],
        support: NDArray[np.intp],
    ) -> None:
        """Set all fitted attributes, from a fit or from a file."""
        self.coef_ = coef
        self.intercept_ = intercept
        self.inclusion_ = inclusion
        self.support_ = support
        self.disentangler_ = disentangler
        self.task_: Task = task_set.tasks[0]
        self._task_set = task_set
        self.n_features_in_ = disentangler.n_features_in_
        for name, value in (
            ("feature_names_in_", getattr(disentangler, "feature_names_in_", None)),
            ("classes_", self.task_.classes),
        ):
            if value is not None:
                setattr(self, name, value)
            elif hasattr(self, name):
                delattr(self, name)

    @follows_input
    def predict(self, X: Any) -> Any:
        """Predict the labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, as the disentangler takes them.

        Returns
        -------
        ndarray or series of shape (n_samples,)
            Predictions in the same container as the labels in ``fit``. A pandas series has
            the index of X, if X is a pandas data frame.
        """
        scores = self._scores(X)
        labels = TYPES[self.task_.type].predict(self.task_, scores)
        return self._task_set.decode([labels], pandas_index(X))

    @available_if(_has_classes)
    @follows_input
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, as the disentangler takes them.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        chances = TYPES[self.task_.type].predict_proba(self.task_, self._scores(X))
        return np.asarray(chances)

    @follows_input
    def score(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Compute R2, D2 (count tasks) or accuracy (classes), on labelled rows.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`.

        Returns
        -------
        float
            The score; 1 is best.
        """
        check_is_fitted(self)
        codes, labels, weight = _read(self.disentangler_, X, y, sample_weight)
        weight = weight / weight.mean()
        targets, _ = self._task_set.encode(labels, unseen_ok=True)
        mean, unit = self._task_set.output_units()
        scores = (self._linear(codes) - mean) / unit
        with threads(thread_count(self.disentangler_.n_threads)):
            value = task_scores(
                torch.from_numpy(scores),
                torch.from_numpy(targets),
                torch.from_numpy(weight)[:, None],
                self._task_set.blocks,
            )
        return float(value)

    def _scores(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        return self._linear(_active_codes(self.disentangler_, X))

    def _linear(self, codes: NDArray[np.float64]) -> NDArray[np.float64]:
        coef = self.coef_[:, self.disentangler_.active_components_]
        out: NDArray[np.float64] = codes @ coef.T + self.intercept_
        return out


def _unfrozen(disentangler: Any) -> Any:
    """The disentangler, taken out of a FrozenEstimator; TypeError for anything else."""
    if isinstance(disentangler, FrozenEstimator):
        disentangler = disentangler.estimator
    if not is_disentangler(disentangler):
        raise TypeError(
            "disentangler must be a SparseSharedDisentangler, or a FrozenEstimator of one; "
            f"got {type(disentangler).__name__}."
        )
    return disentangler


def _active_codes(disentangler: Any, X: Any) -> NDArray[np.float64]:
    codes = np.asarray(disentangler.transform(X), dtype=np.float64)
    return codes[:, disentangler.active_components_]


def _read(
    disentangler: Any, X: Any, y: Any, sample_weight: ArrayLike | None
) -> tuple[NDArray[np.float64], Labels, NDArray[np.float64]]:
    """Codes, labels and weights of the labelled rows of nonzero weight."""
    if y is None:
        raise ValueError(
            "This SparseTaskHead estimator requires y to be passed, but the target y is "
            "None. Give the labels of one task."
        )
    codes = _active_codes(disentangler, X)
    labels = Labels.read(y, argument="y")
    if len(labels.columns) != 1:
        raise ValueError(
            f"y must hold the labels of one task; got {len(labels.columns)} columns."
        )
    if labels.n_rows != len(codes):
        raise ValueError(
            f"y must have one label for each of the {len(codes)} rows of X; got "
            f"{labels.n_rows}."
        )
    weight = row_weights(sample_weight, codes)
    if weight is None:
        weight = np.ones(len(codes))
    kept = np.flatnonzero((weight > 0) & ~labels.columns[0].missing)
    if len(kept) == 0:
        raise ValueError(
            "y must have at least one label in a row of weight above zero; all are missing."
        )
    return codes[kept], labels.take(kept), weight[kept]


def _standard_heads(disentangler: Any) -> list[tuple[str, torch.Tensor]]:
    """Type and coefficients of each task of the fit, for targets of variance one."""
    coef = disentangler.coef_[:, disentangler.active_components_]
    return [
        (task.type, torch.from_numpy(coef[task.outputs] / task.scale))
        for task in disentangler.tasks_
        if task.left_out is None
    ]
