"""Models that say how much each code matters for one factor, for DCI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LassoCV, LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeRegressor

from ._validation import FloatArray, IntArray


class FastBoosting:
    """Gradient boosting with one tree a step, whatever the number of classes.

    Each step fits one regression tree to the residuals of all classes together, where
    ``GradientBoostingClassifier`` grows one tree for every class. Steps are fewer and
    larger, and end when the residuals are gone. Importances are the total decrease of
    the squared residuals by each feature, as in scikit-learn's gradient boosting.

    Parameters
    ----------
    discrete : bool
        Whether the target is classes (softmax loss) or a number (squared error).
    seed : int
        Decides between splits that are equally good.
    n_steps : int
        Largest number of trees.
    learning_rate : float or None
        None is 0.22 for numbers and 0.35 for classes. The share of noise in the
        importances grows with the product of this and `n_steps`; these values bring it
        near that of scikit-learn's 100 steps of 0.1 at 500 rows.
    max_depth : int
        Depth of each tree.
    tol : float
        Stop once the mean squared residual is this share of what it was at first.
    max_bins : int
        With more than eight rows a bin, features are first put into this many bins of
        equal counts.
    """

    def __init__(
        self,
        discrete: bool,
        seed: int,
        n_steps: int = 50,
        learning_rate: float | None = None,
        max_depth: int = 3,
        tol: float = 1e-3,
        max_bins: int = 256,
    ) -> None:
        self.discrete = discrete
        self.seed = seed
        self.n_steps = n_steps
        default_rate = 0.35 if discrete else 0.22
        self.learning_rate = default_rate if learning_rate is None else learning_rate
        self.max_depth = max_depth
        self.tol = tol
        self.max_bins = max_bins

    def fit(self, X: FloatArray, y: FloatArray | IntArray) -> FastBoosting:
        """Fit to features of shape (n_samples, n_features) and a 1-D target."""
        self.edges_: list[FloatArray] | None = None
        if len(X) > 8 * self.max_bins:
            self.edges_ = [_bin_edges(column, self.max_bins) for column in X.T]
        X32 = self._prepare(X)
        rng = np.random.RandomState(self.seed)
        if self.discrete:
            self.classes_, index = np.unique(y, return_inverse=True)
            target = np.eye(len(self.classes_))[index]
            self.start_ = np.log(target.mean(axis=0))
        else:
            target = np.asarray(y, dtype=np.float64)[:, None]
            self.start_ = target.mean(axis=0)
        raw = np.tile(self.start_, (len(X), 1))
        importances = np.zeros(X.shape[1])
        self.trees_: list[tuple[Any, FloatArray]] = []
        enough = 0.0
        for _ in range(self.n_steps):
            fitted = _softmax(raw) if self.discrete else raw
            residual = target - fitted
            error = float(np.mean(residual**2))
            enough = enough or self.tol * error
            if error <= enough:
                break
            tree = DecisionTreeRegressor(
                max_depth=self.max_depth, random_state=rng.randint(2**31 - 1)
            ).fit(X32, residual)
            importances += tree.tree_.compute_feature_importances(normalize=False)
            leaves = tree.apply(X32)
            step = tree.tree_.value.reshape(tree.tree_.node_count, -1)
            if self.discrete:
                step = step / _leaf_curvature(leaves, fitted, tree.tree_.node_count)
            self.trees_.append((tree, self.learning_rate * step))
            raw += self.trees_[-1][1][leaves]
        total = importances.sum()
        self.feature_importances_ = importances / total if total > 0 else importances
        return self

    def predict(self, X: FloatArray) -> FloatArray | IntArray:
        """Predict classes or numbers, shape (n_samples,)."""
        X32 = self._prepare(X)
        raw = np.tile(self.start_, (len(X), 1))
        for tree, step in self.trees_:
            raw += step[tree.apply(X32)]
        return self.classes_[raw.argmax(axis=1)] if self.discrete else raw[:, 0]

    def _prepare(self, X: FloatArray) -> NDArray[np.float32]:
        """Features as the trees see them: in bins, or in single precision."""
        if self.edges_ is None:
            return X.astype(np.float32)
        bins = [
            np.searchsorted(edges, x) for edges, x in zip(self.edges_, X.T, strict=True)
        ]
        return np.column_stack(bins).astype(np.float32)


def _bin_edges(column: FloatArray, max_bins: int) -> FloatArray:
    """Upper ends of all bins but the last: of each value if few, else quantiles."""
    distinct: FloatArray = np.unique(column)
    if len(distinct) <= max_bins:
        return distinct[:-1]
    return np.unique(np.quantile(column, np.arange(1, max_bins) / max_bins))


def _softmax(raw: FloatArray) -> FloatArray:
    exponential = np.exp(raw - raw.max(axis=1, keepdims=True))
    probability: FloatArray = exponential / exponential.sum(axis=1, keepdims=True)
    return probability


def _leaf_curvature(
    leaves: IntArray, probability: FloatArray, n_nodes: int
) -> FloatArray:
    """Mean of p (1 - p) in each leaf, times C / (C - 1): the Newton step's divisor."""
    n_classes = probability.shape[1]
    member = np.eye(n_nodes)[leaves]
    size = np.maximum(member.sum(axis=0), 1.0)
    curvature = (member.T @ (probability * (1.0 - probability))) / size[:, None]
    divisor: FloatArray = np.maximum(curvature, 1e-6) * n_classes / (n_classes - 1)
    return divisor


def _lasso_classifier(seed: int) -> GridSearchCV:
    # the L1-penalised classifier whose arguments are the same in all versions
    svc = LinearSVC(penalty="l1", dual=False, max_iter=5000, random_state=seed)
    return GridSearchCV(svc, {"C": [0.001, 0.01, 0.1, 1.0]}, cv=3)


#: Kind of importance -> model of (discrete, seed).
KINDS: dict[str, Callable[[bool, int], Any]] = {
    "fast_boosting": FastBoosting,
    "boosting": lambda discrete, seed: (
        GradientBoostingClassifier if discrete else GradientBoostingRegressor
    )(random_state=seed),
    "random_forest": lambda discrete, seed: (
        RandomForestClassifier if discrete else RandomForestRegressor
    )(random_state=seed),
    "lasso": lambda discrete, seed: (
        _lasso_classifier(seed) if discrete else LassoCV(cv=3)
    ),
    "linear": lambda discrete, seed: (
        LogisticRegression(C=100.0, max_iter=1000) if discrete else LinearRegression()
    ),
}


def make_model_maker(importance: Any) -> Callable[[bool, int], Any]:
    """Turn the argument `importance` into a maker of models of (discrete, seed)."""
    if isinstance(importance, str):
        if importance not in KINDS:
            raise ValueError(
                f"importance: got {importance!r}; expected one of {list(KINDS)}, an "
                "estimator or a pair (regressor, classifier)."
            )
        return KINDS[importance]
    pair = importance if isinstance(importance, tuple) else (importance, importance)
    if len(pair) != 2 or not all(hasattr(model, "fit") for model in pair):
        raise TypeError(
            f"importance: got {importance!r}; expected one of {list(KINDS)}, an "
            "estimator or a pair (regressor, classifier)."
        )

    def make(discrete: bool, seed: int) -> Any:
        model = clone(pair[1] if discrete else pair[0])
        fits = is_classifier(model) if discrete else is_regressor(model)
        if not fits:
            wanted = "classifier" if discrete else "regressor"
            raise TypeError(
                f"importance: {type(model).__name__} is not a {wanted}, which "
                f"{'discrete' if discrete else 'continuous'} factors need. Give a pair "
                "(regressor, classifier), or set discrete_factors."
            )
        if model.get_params().get("random_state", seed) is None:
            model.set_params(random_state=seed)
        return model

    return make


def fitted_importances(model: Any, n_codes: int) -> FloatArray:
    """Read the importances of a fitted model: not negative, shape (n_codes,)."""
    # down to the model inside searches and pipelines
    while hasattr(model, "best_estimator_") or hasattr(model, "steps"):
        model = getattr(model, "best_estimator_", None) or model.steps[-1][1]
    if hasattr(model, "feature_importances_"):
        values = np.abs(np.asarray(model.feature_importances_, dtype=np.float64))
    elif hasattr(model, "coef_"):
        coefficients = np.asarray(model.coef_, dtype=np.float64)
        values = np.abs(coefficients.reshape(-1, coefficients.shape[-1])).sum(axis=0)
    else:
        raise TypeError(
            f"importance: {type(model).__name__} has neither feature_importances_ nor "
            "coef_ after fit."
        )
    if values.shape != (n_codes,) or not np.all(np.isfinite(values)):
        raise ValueError(
            f"importance: {type(model).__name__} returned importances of shape "
            f"{values.shape}; expected finite values of shape ({n_codes},)."
        )
    return values
