"""Features of real sets, by many methods, and the heads that they are judged by.

A method is given training rows, their labels and tasks, and says what becomes of any rows.
Each is followed by the same heads: a standardised logistic regression or ridge, whose
strength is chosen on rows that were held back, never on the target domain.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.compose import ColumnTransformer
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, MultiTaskLassoCV, Ridge
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import KFold
from sklearn.neighbors import NeighborhoodComponentsAnalysis
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks._peers import (
    aligned,
    cebra_embedding,
    joint_network,
    umap_embedding,
    upgrad_descent,
)
from skdisentangle import SparseSharedDisentangler
from skdisentangle.preprocessing import BlockScaler

#: Strengths of the heads: inverse, of logistic regression, and of a ridge.
INVERSE_STRENGTHS = (0.01, 0.1, 1.0)
RIDGES = (1.0, 10.0, 100.0, 1000.0)

#: Components of every method that makes some, unless its data allow fewer.
N_COMPONENTS = 64

#: Rows and columns for methods whose time grows with the square of them.
FEW_ROWS, FEW_COLUMNS = 600, 50

#: Class-subset tasks for sets with fewer labels than this.
FEW_LABELS, N_SUBSETS = 10, 20


@dataclass
class Training:
    """What a method may see: rows of the source, labels, tasks, and a seed.

    And rows of the target without labels, which only methods of domain adaptation look at.
    """

    X: np.ndarray
    tasks: pd.DataFrame
    types: dict[str, str]
    classes: np.ndarray | None
    seed: int
    X_target: np.ndarray | None = None


@dataclass
class Features:
    """``transform`` for rows; the columns for a label where not all.

    ``transform_target`` if rows of the target are transformed in another way. ``first`` if
    so many columns are a block, and all others are one, and a head is to rely on both alike.
    """

    transform: Callable
    supports: dict | None = None
    transform_target: Callable | None = None
    first: int | None = None

    def of(self, X, target):
        """Features of rows, of which a mask tells those of the target."""
        Z = np.asarray(self.transform(X), dtype=float)
        if self.transform_target is not None:
            Z[target] = self.transform_target(X[target])
        return Z

    def columns(self, label, n_columns):
        """Columns for the head of a label."""
        own = None if self.supports is None else self.supports.get(label)
        return np.arange(n_columns) if own is None or len(own) == 0 else own

    def scaler(self, n_columns):
        """What the head of so many columns is given: they count alike, or their blocks do.

        The others keep their variances, so that strengths of heads mean the same.
        """
        if self.first is None:
            return StandardScaler()
        others = n_columns - self.first
        blocks = {"first": slice(self.first), "others": slice(self.first, None)}
        return ColumnTransformer(
            [
                (name, make_pipeline(StandardScaler(), BlockScaler(others)), columns)
                for name, columns in blocks.items()
            ]
        )


def class_subsets(labels, n_tasks, seed):
    """Binary tasks: is the class one of a half of them, drawn at random?"""
    rng = np.random.default_rng(seed)
    classes = np.unique(labels)
    half = max(1, len(classes) // 2)
    columns = {}
    for number in range(n_tasks):
        chosen = rng.permutation(classes)[:half]
        columns[f"subset {number}"] = np.isin(labels, chosen).astype(int)
    return pd.DataFrame(columns)


def with_subsets(real, labels, seed):
    """The labels of a set as tasks, with class subsets where they are few."""
    types = {name: real.types[name] for name in labels}
    if len(types) >= FEW_LABELS or real.classes not in types:
        return labels, types
    more = class_subsets(labels[real.classes].to_numpy(), N_SUBSETS, seed)
    more.index = labels.index
    return labels.join(more), types | dict.fromkeys(more, "binary")


def numeric(tasks, types):
    """Tasks as columns of numbers, classes as indicators; missing ones as the mean."""
    columns = []
    for name, kind in types.items():
        if kind == "regression":
            columns.append(tasks[name].astype(float).to_frame())
        else:
            indicators = pd.get_dummies(tasks[name], dtype=float)
            columns.append(indicators.iloc[:, 1:] if kind == "binary" else indicators)
    values = pd.concat(columns, axis=1).to_numpy(float)
    mean, std = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    values = (values - mean) / np.where(std > 0, std, 1)
    return np.nan_to_num(values)


def raw(training):
    return {"raw columns": Features(lambda X: X)}


def pca(training):
    n = min(N_COMPONENTS, *training.X.shape)
    model = make_pipeline(StandardScaler(), PCA(n, random_state=training.seed))
    return {"PCA": Features(model.fit(training.X).transform)}


def pls(training):
    Y = numeric(training.tasks, training.types)
    n = min(N_COMPONENTS, Y.shape[1], *training.X.shape)
    model = PLSRegression(n).fit(training.X, Y)
    return {"PLS": Features(model.transform)}


def lasso(training):
    """Columns that MultiTaskLasso keeps, its strength chosen by cross-validation."""
    scaler = StandardScaler().fit(training.X)
    X, Y = scaler.transform(training.X), numeric(training.tasks, training.types)
    folds = KFold(3, shuffle=True, random_state=training.seed)
    model = MultiTaskLassoCV(eps=0.01, alphas=20, cv=folds, max_iter=300).fit(X, Y)
    kept = np.flatnonzero((model.coef_ != 0).any(0))
    return {"MultiTaskLasso": Features(lambda X: X[:, kept])}


def lda(training):
    if training.classes is None:
        return {}
    model = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto")
    model.fit(training.X.astype(float), training.classes)
    return {"LDA": Features(model.transform)}


def nca(training):
    """On a few rows and principal components, or it would take most of the time."""
    if training.classes is None:
        return {}
    rows = np.random.default_rng(training.seed).permutation(len(training.X))[:FEW_ROWS]
    n = min(FEW_COLUMNS, len(rows), training.X.shape[1])
    reduce = make_pipeline(StandardScaler(), PCA(n, random_state=training.seed))
    model = NeighborhoodComponentsAnalysis(
        min(20, n), max_iter=30, random_state=training.seed
    )
    reduced = reduce.fit_transform(training.X[rows])
    model.fit(reduced, training.classes[rows])
    return {"NCA": Features(lambda X: model.transform(reduce.transform(X)))}


def cebra(training):
    labels = numeric(training.tasks, training.types)
    transform = cebra_embedding(training.X, labels, N_COMPONENTS, training.seed)
    return {"CEBRA": Features(transform)}


def torchdr(training):
    transform = umap_embedding(training.X, N_COMPONENTS, training.seed)
    return {"parametric UMAP": Features(transform)}


def torchjd(training):
    """A network without penalties, with the noise of ours on the rows, by Jacobian descent."""
    return joint(training, "UPGrad", upgrad_descent())


def joint(training, name="joint", descend=None):
    """The same by gradients of the mean loss, to compare with."""
    noise = fitted(training, sparsity=0, sharing=0).input_noise_
    transform = joint_network(
        training.X,
        training.tasks,
        training.types,
        N_COMPONENTS,
        training.seed,
        noise=noise,
        descend=descend,
    )
    return {f"{MLP}, {name}": Features(transform)}


def skada(training):
    """Two alignments of the columns with those of the target."""
    if training.X_target is None:
        return {}
    found = {}
    for name in (CORAL, ALIGNMENT):
        own, target = aligned(
            name, training.X, training.X_target, N_COMPONENTS, training.seed
        )
        found[name] = Features(own, transform_target=target)
    return found


def fitted(training, **settings):
    estimator = SparseSharedDisentangler(
        N_COMPONENTS, task_types=training.types, random_state=training.seed, **settings
    )
    return estimator.fit(training.X, training.tasks)


def beside(transform):
    """Features, then the columns themselves."""
    return lambda X: np.hstack([transform(X), X])


def with_columns(name, transform):
    """Features beside the columns, each column counting alike, and each block."""
    both = beside(transform)
    return {
        name: Features(both),
        f"{name}{SHARES}": Features(both, first=N_COMPONENTS),
    }


def supports_of(estimator):
    """Components of each task's head."""
    used = {}
    for task in estimator.tasks_:
        rows = estimator.coef_[task.outputs]
        used[task.name] = np.flatnonzero((rows != 0).any(0))
    return used


def ours(training):
    estimator = fitted(training)
    transform = estimator.transform
    return {
        OURS: Features(transform),
        "ours, the label's own components": Features(transform, supports_of(estimator)),
        **with_columns(BESIDE, transform),
    }


def tuned(training):
    """Sparsity chosen on rows of the source held back."""
    estimator = fitted(training, sparsity="auto")
    return {"ours, sparsity chosen": Features(estimator.transform)}


def unpenalised(training):
    """The same network without penalties."""
    transform = fitted(training, sparsity=0, sharing=0).transform
    return {
        MLP: Features(transform),
        **with_columns(f"{MLP} beside the raw columns", transform),
    }


METHODS = {
    "raw": raw,
    "pca": pca,
    "pls": pls,
    "lasso": lasso,
    "lda": lda,
    "nca": nca,
    "cebra": cebra,
    "torchdr": torchdr,
    "skada": skada,
    "joint": joint,
    "torchjd": torchjd,
    "unpenalised": unpenalised,
    "ours": ours,
    "tuned": tuned,
}

#: Name of the baseline that all are compared to, and of the method itself.
RAW, OURS, MLP = "raw columns", "ours", "multi-head MLP"

#: Name of its features with the columns themselves.
BESIDE = "ours beside the raw columns"

#: End of the names of those whose blocks count alike, whatever their numbers of columns.
SHARES = ", equal shares"

#: Names of the methods that look at rows of the target.
CORAL, ALIGNMENT = "CORAL", "subspace alignment"


def quietly(method, training):
    """Features of a method, on one thread and without what it says on the way."""
    torch.set_num_threads(1)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="Variables are collinear")
        warnings.filterwarnings("ignore", message="y residual is constant")
        warnings.filterwarnings("ignore", category=UserWarning)
        return METHODS[method](training)


def as_labels(column, kind):
    """A label as an array, and where it is known."""
    known = column.notna().to_numpy()
    if kind == "regression":
        return column.to_numpy(float), known
    values = column.astype(str).to_numpy() if column.dtype == object else column
    return np.asarray(values), known


def quality(truth, head, rows, kind):
    """Accuracy, AUC of a binary label, correlation of a measurement; NaN where undefined."""
    if kind == "regression":
        predicted = head.predict(rows)
        if np.ptp(predicted) == 0 or np.ptp(truth) == 0:
            return 0.0
        return float(np.corrcoef(truth, predicted)[0, 1])
    if kind == "binary":
        if len(np.unique(truth)) < 2:
            return np.nan
        return float(roc_auc_score(truth, head.decision_function(rows)))
    return float(accuracy_score(truth, head.predict(rows)))


def heads(kind):
    """Heads of all strengths, strong to weak."""
    if kind == "regression":
        return [Ridge(strength) for strength in RIDGES[::-1]]
    return [LogisticRegression(C=c, max_iter=200) for c in INVERSE_STRENGTHS]


def best_head(kind, fit_on, chosen_on, weight=None, scaler=None):
    """Head, with its scaler, of the strength that is best on other rows; and its score."""
    (rows, labels), (other_rows, other_labels) = fit_on, chosen_on
    best, best_score = None, -np.inf
    for head in heads(kind):
        model = fitted_head(head, rows, labels, weight, scaler)
        score = quality(other_labels, model, other_rows, kind)
        if best is None or score > best_score:
            best, best_score = model, score
    return best, best_score


def fitted_head(head, rows, labels, weight, scaler=None):
    model = Pipeline([("scale", scaler or StandardScaler()), ("head", head)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(rows, labels, head__sample_weight=weight)


def group_weights(labels, groups, kind):
    """Weights by which all groups weigh the same, of which a class has its own."""
    pairs = groups if kind == "regression" else np.char.add(groups, labels.astype(str))
    _, group, sizes = np.unique(pairs, return_inverse=True, return_counts=True)
    return len(labels) / len(sizes) / sizes[group]


def refit_head(kind, rows, labels, weight, seed):
    """Head of rows that the features were not fitted on; and its score.

    Half of the rows choose the strength; the middle one if a half has one class only.
    Deep feature reweighting, with weights in place of draws (P. Kirichenko, P. Izmailov and
    A. G. Wilson, "Last layer re-training is sufficient for robustness to spurious
    correlations", ICLR 2023).
    """
    halves = np.array_split(np.random.default_rng(seed).permutation(len(labels)), 2)
    strengths = heads(kind)
    best, best_score = strengths[len(strengths) // 2], np.nan
    if kind == "regression" or min(len(np.unique(labels[h])) for h in halves) > 1:
        tune, check = halves
        scores = [
            quality(
                labels[check],
                fitted_head(head, rows[tune], labels[tune], weight[tune]),
                rows[check],
                kind,
            )
            for head in strengths
        ]
        best, best_score = strengths[int(np.argmax(scores))], max(scores)
    return fitted_head(best, rows, labels, weight), best_score
