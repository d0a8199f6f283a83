"""Suite "real_tables": does the estimator, as it comes, predict its own tasks on real data?

    python -m benchmarks.real_tables --data DATA --jobs 2      # the report
    python -m benchmarks.real_tables --data DATA --few         # new tasks, from few labels
    python -m benchmarks.real_tables --data DATA --shift       # whole groups held out
    python -m benchmarks.real_tables enb wq --data DATA --splits 2

See :mod:`benchmarks._table_sets` for the sets and where to get them; one that is missing is
named and left out. Nothing was chosen on the report's splits.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from sklearn.cross_decomposition import PLSRegression
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import (
    LassoCV,
    LogisticRegressionCV,
    MultiTaskElasticNetCV,
    RidgeCV,
)
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, GroupShuffleSplit, KFold
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks import _runs
from benchmarks._runs import load
from benchmarks._table_sets import SETS, add_folder, lacking, use_folder
from benchmarks._table_sets import table as read_table
from benchmarks._tables import interval, markdown
from skdisentangle import SparseSharedDisentangler

RESULTS = Path(__file__).parent / "results" / "real_tables.jsonl"
FIRST_SEED, N_SPLITS = 5000, 5

#: Splits whose saved rows stay where fewer are run.
KEPT = range(FIRST_SEED, FIRST_SEED + 100)

PLAIN, FEW, SHIFT = PARTS = ("all labels", "few labels", "shift")

#: Rows of a set, where there are more.
CAP = 3000

#: Labels of each class among training rows, for a binary task to be one.
LEAST = 5

#: An R2 below this counts as this.
WORST_R2 = -1.0

#: Strengths: of ridges; inverse ones of logistic regression, and of it with L1.
RIDGES = np.logspace(-1, 5, 15)
INVERSE, INVERSE_L1 = np.logspace(-4, 1, 6), np.logspace(-3, 1, 7)
FOLDS = 3

#: Components of PLS at the most.
MOST_COMPONENTS = 20

#: Share of the training rows that new tasks draw labels from: the fit has not seen them.
POOL = 0.25
N_LABELS, N_DRAWS = (5, 10, 50), 3

#: What a fit of ours says that it chose.
CHOSEN = ("input_noise_", "nonlinear_noise_")


@dataclass(frozen=True)
class Model:
    """Scores of tasks for any rows; what it uses, None if it does not say."""

    predict: Callable
    width: int | None = None
    nonzeros: int | None = None
    chosen: dict[str, float] = field(default_factory=dict)


# -- methods: training rows, labels, kind of the tasks and a seed to a model ---------------


def disentangler(kind, seed, **settings):
    return SparseSharedDisentangler(task_types=kind, random_state=seed, **settings)


def scores_of_tasks(estimator, X, kind):
    """Predictions, or probabilities of the second class, a column a task."""
    if kind == "regression":
        return np.reshape(estimator.predict(X), (len(X), -1))
    found = estimator.predict_proba(X)
    return np.column_stack([p[:, 1] for p in _listed(found)])


def _listed(found):
    return found if isinstance(found, list) else [found]


def ours(**settings):
    def fit(X, Y, kind, seed):
        estimator = disentangler(kind, seed, **settings).fit(X, Y)
        values = {name: getattr(estimator, name, None) for name in CHOSEN}
        return Model(
            lambda rows: scores_of_tasks(estimator, rows, kind),
            len(estimator.active_components_),
            int((estimator.coef_ != 0).sum()),
            {k: round(float(v), 4) for k, v in values.items() if v is not None},
        )

    return fit


def each_task(make):
    """A model a task, from its labelled rows, on standardised columns."""

    def fit(X, Y, kind, seed):
        scaler = StandardScaler().fit(X)
        Z = scaler.transform(X)
        models = []
        for labels in Y.T:
            known = ~np.isnan(labels)
            models.append(make(kind, seed).fit(Z[known], labels[known]))

        def predict(rows):
            rows = scaler.transform(rows)
            return np.column_stack([score(model, rows, kind) for model in models])

        return Model(predict, *in_use(models))

    return fit


def score(model, rows, kind):
    if kind == "regression":
        return model.predict(rows)
    if hasattr(model, "decision_function"):
        return model.decision_function(rows)
    return model.predict_proba(rows)[:, 1]


def in_use(models):
    """Columns that some model uses, and nonzero coefficients; None if they do not say."""
    for attribute in ("coef_", "feature_importances_"):
        if hasattr(models[0], attribute):
            used = np.array([np.ravel(getattr(m, attribute)) != 0 for m in models])
            nonzeros = int(used.sum()) if attribute == "coef_" else None
            return int(used.any(0).sum()), nonzeros
    return None, None


def logistic(cv=FOLDS):
    return LogisticRegressionCV(
        Cs=INVERSE,
        cv=cv,
        scoring="neg_log_loss",
        max_iter=200,
        l1_ratios=(0,),
        use_legacy_attributes=False,
    )


def ridge(kind, seed):
    return RidgeCV(RIDGES) if kind == "regression" else logistic()


def lasso(kind, seed):
    if kind == "regression":
        return LassoCV(cv=FOLDS, random_state=seed)
    return LogisticRegressionCV(
        Cs=INVERSE_L1,
        cv=FOLDS,
        scoring="neg_log_loss",
        l1_ratios=(1,),
        solver="liblinear",
        intercept_scaling=10.0,
        random_state=seed,
        use_legacy_attributes=False,
    )


def boosting(kind, seed):
    if kind == "regression":
        return HistGradientBoostingRegressor(random_state=seed)
    return HistGradientBoostingClassifier(random_state=seed)


def forest(kind, seed):
    options = {"min_samples_leaf": 3, "random_state": seed}
    if kind == "regression":
        return RandomForestRegressor(max_features=0.4, **options)
    return RandomForestClassifier(**options)


def all_tasks(make):
    """One linear model of all tasks, on standardised columns and labels."""

    def fit(X, Y, kind, seed):
        columns, labels = StandardScaler().fit(X), StandardScaler().fit(Y)
        Z = columns.transform(X)
        model, width, nonzeros = make(Z, labels.transform(Y), seed)

        def predict(rows):
            found = model.predict(columns.transform(rows))
            return labels.inverse_transform(found.reshape(len(rows), -1))

        return Model(predict, width, nonzeros)

    return fit


def elastic_net(X, Y, seed):
    model = MultiTaskElasticNetCV(
        l1_ratio=[0.1, 0.5, 0.9, 1.0], alphas=30, cv=FOLDS, random_state=seed
    ).fit(X, Y)
    used = model.coef_ != 0
    return model, int(used.any(0).sum()), int(used.sum())


def pls(X, Y, seed):
    """The number of components by cross-validation."""
    folds = KFold(FOLDS, shuffle=True, random_state=seed)
    smallest = min(len(rows) for rows, _ in folds.split(X))
    most = min(MOST_COMPONENTS, X.shape[1], smallest - 1)
    search = GridSearchCV(
        PLSRegression(), {"n_components": range(1, most + 1)}, cv=folds
    )
    search.fit(X, Y)
    width = search.best_params_["n_components"]
    return search, width, width * Y.shape[1]


OURS, UNPENALISED, LINEAR = "ours", "ours, no penalties", "ridge or logistic"
ELASTIC_NET, PLS = "multi-task elastic net", "PLS"
METHODS = {
    OURS: ours(),
    "ours, linear encoder": ours(encoder="linear"),
    UNPENALISED: ours(sparsity=0, sharing=0),
    LINEAR: each_task(ridge),
    "lasso or L1 logistic": each_task(lasso),
    ELASTIC_NET: all_tasks(elastic_net),
    PLS: all_tasks(pls),
    "boosting": each_task(boosting),
    "random forest": each_task(forest),
}

#: How they are called where labels are few.
FEW_NAMES = {
    OURS: "`fit_task`",
    UNPENALISED: "ridge or logistic on the components without penalties",
    LINEAR: "ridge or logistic on the columns",
}


# -- splits and scores -------------------------------------------------------------------


def divided(data, part, seed):
    """Rows to fit on and rows to score."""
    rows = np.random.default_rng(seed).permutation(len(data.X))[:CAP]
    if part != SHIFT:
        return np.split(rows, [2 * len(rows) // 3])
    groups = data.groups[rows]
    kinds = np.unique(groups)
    if len(kinds) == 2:  # each in turn
        held = groups == kinds[seed % 2]
        return rows[~held], rows[held]
    splitter = GroupShuffleSplit(1, test_size=1 / 3, random_state=seed)
    fit, test = next(splitter.split(rows, groups=groups))
    return rows[fit], rows[test]


def usable(Y, kind):
    """Tasks with labels enough among these rows."""
    if kind == "regression":
        return np.flatnonzero((~np.isnan(Y)).sum(0) >= 2 * LEAST)
    return np.flatnonzero(np.minimum((Y == 1).sum(0), (Y == 0).sum(0)) >= LEAST)


def filled(X, rows):
    """Missing values as the mean of the column over some rows; columns without any left out."""
    X = X[:, ~np.isnan(X[rows]).all(0)]
    return np.where(np.isnan(X), np.nanmean(X[rows], 0), X)


def quality(truth, found, kind):
    """R2, or AUC; NaN where it is not defined."""
    known = ~np.isnan(truth)
    if kind == "regression":
        if known.sum() < 2:
            return np.nan
        return max(WORST_R2, r2_score(truth[known], found[known]))
    if len(np.unique(truth[known])) < 2:
        return np.nan
    return roc_auc_score(truth[known], found[known])


def run(part, name, method, seed):
    """One split of a set, for one method."""
    torch.set_num_threads(1)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)
        measured = (few if part == FEW else whole)(part, name, method, seed)
    return {"part": part, "set": name, "method": method, "seed": seed} | measured


def whole(part, name, method, seed):
    data, kind = read_table(name), SETS[name].kind
    fit, test = divided(data, part, seed)
    X, tasks = filled(data.X, fit), usable(data.Y[fit], kind)
    start = time.process_time()
    model = METHODS[method](X[fit], data.Y[np.ix_(fit, tasks)], kind, seed)
    seconds = time.process_time() - start
    found = model.predict(X[test])
    truth = data.Y[np.ix_(test, tasks)]
    scores = [quality(y, p, kind) for y, p in zip(truth.T, found.T, strict=True)]
    return {
        "rows": len(fit),
        "columns": X.shape[1],
        "tasks": len(tasks),
        "score": round(float(np.nanmean(scores)), 4),
        "width": model.width,
        "nonzeros": model.nonzeros,
        "seconds": round(seconds, 2),
        "chosen": model.chosen,
    }


# -- new tasks from few labels -----------------------------------------------------------


def draw(labels, kind, n_labels, rng):
    """Rows of so many labels, of both classes alike as far as can be; None if too few."""
    order = rng.permutation(np.flatnonzero(~np.isnan(labels)))
    if kind == "regression":
        rows = order[:n_labels]
        varies = len(np.unique(labels[rows])) > 1  # else there is nothing to learn
        return rows if len(rows) == n_labels and varies else None
    positive, negative = order[labels[order] == 1], order[labels[order] == 0]
    half = (n_labels + 1) // 2
    n_positive = min(len(positive), max(half, n_labels - len(negative)))
    rows = np.concatenate([positive[:n_positive], negative[: n_labels - n_positive]])
    if len(rows) < n_labels or not 2 <= n_positive <= n_labels - 2:
        return None
    return rows


def linear_head(rows, labels, kind):
    if kind == "regression":
        return RidgeCV(RIDGES).fit(rows, labels)
    fewest = int(np.bincount(labels.astype(int)).min())
    return logistic(min(5, fewest)).fit(rows, labels)


def learner(method, X, Y, kind, seed, fit):
    """From rows, their labels and rows to score: the scores of a new task."""
    if method == LINEAR:
        Z = StandardScaler().fit(X[fit]).transform(X)
    else:
        settings = {} if method == OURS else {"sparsity": 0, "sharing": 0}
        estimator = disentangler(kind, seed, **settings).fit(X[fit], Y[fit])
        if method == OURS:

            def with_fit_task(rows, labels, scored):
                head = estimator.fit_task(X[rows], labels, task_type=kind)
                return scores_of_tasks(head, X[scored], kind)[:, 0]

            return with_fit_task
        Z = estimator.transform(X)
        Z = StandardScaler().fit(Z[fit]).transform(Z)

    def with_linear_head(rows, labels, scored):
        return score(linear_head(Z[rows], labels, kind), Z[scored], kind)

    return with_linear_head


def few(part, name, method, seed):
    """A third of the tasks are new, and get labels from rows that the fit has not seen."""
    data, kind = read_table(name), SETS[name].kind
    train, test = divided(data, part, seed)
    fit, pool = np.split(train, [round((1 - POOL) * len(train))])
    X = filled(data.X, fit)
    tasks = np.random.default_rng([seed, 1]).permutation(usable(data.Y[fit], kind))
    new, others = np.split(tasks, [len(tasks) // 3])
    start = time.process_time()
    learn = learner(method, X, data.Y[:, others], kind, seed, fit)
    seconds = time.process_time() - start
    scores = {n: [] for n in N_LABELS}
    for task in new:
        labels = data.Y[:, task]
        for n_labels in N_LABELS:
            for turn in range(N_DRAWS):
                rng = np.random.default_rng([seed, task, n_labels, turn])
                picked = draw(labels[pool], kind, n_labels, rng)
                if picked is None:
                    continue
                rows = pool[picked]
                found = learn(rows, labels[rows], test)
                scores[n_labels].append(quality(labels[test], found, kind))
    return {
        "rows": len(fit),
        "columns": X.shape[1],
        "tasks": len(others),
        "new tasks": len(new),
        "scores": {
            str(n): round(float(np.nanmean(found)), 4)
            for n, found in scores.items()
            if np.isfinite(found).any()
        },
        "seconds": round(seconds, 2),
    }


# -- report ------------------------------------------------------------------------------


def by_method(rows):
    """{method: {seed: row}} of one part and set, in the order of the methods."""
    found = {method: {} for method in METHODS}
    for row in rows:
        found[row["method"]][row["seed"]] = row
    return {method: runs for method, runs in found.items() if runs}


def gaps(found, method, value):
    """Ours less another, split by split."""
    mine, theirs = found.get(OURS, {}), found[method]
    return [
        value(mine[s]) - value(theirs[s])
        for s in mine
        if s in theirs and value(mine[s]) is not None and value(theirs[s]) is not None
    ]


def less(found, method, value):
    differences = [] if method == OURS else gaps(found, method, value)
    return interval(differences) if len(differences) > 1 else ""


def _median(runs, key, digits=0):
    values = [row[key] for row in runs if row.get(key) is not None]
    return f"{np.median(values):.{digits}f}" if values else ""


def _chosen(runs):
    cells = []
    for name in CHOSEN:
        values = [row["chosen"][name] for row in runs if name in row["chosen"]]
        if values:
            cells.append(f"`{name}` {np.median(values):.2f}")
    return ", ".join(cells)


def overview(all_found):
    """Mean score of each set and method."""
    lines = []
    for name, found in all_found.items():
        one = next(iter(next(iter(found.values())).values()))
        cells = []
        for method in METHODS:
            values = [row["score"] for row in found.get(method, {}).values()]
            cells.append(f"{np.mean(values):.3f}" if values else "")
        size = f"{one['rows']:,} x {one['columns']:,} -> {one['tasks']}"
        lines.append([name, size, *cells])
    return markdown(["set", "rows x columns -> tasks", *METHODS], lines)


def set_table(found):
    lines = []
    for method, runs in found.items():
        rows = list(runs.values())
        lines.append(
            [
                method,
                f"{np.mean([row['score'] for row in rows]):.3f}",
                less(found, method, lambda row: row["score"]),
                _median(rows, "width"),
                _median(rows, "nonzeros"),
                _median(rows, "seconds", 1),
                _chosen(rows),
            ]
        )
    heads = "method, score, ours less it, width, nonzeros, fit (CPU s), chosen"
    return markdown(heads.split(", "), lines)


def few_table(found):
    lines = []
    for method, runs in found.items():
        cells = []
        for n in map(str, N_LABELS):
            values = [row["scores"][n] for row in runs.values() if n in row["scores"]]
            cell = f"{np.mean(values):.3f}" if values else ""
            gap = less(found, method, lambda row, n=n: row["scores"].get(n))
            cells.append(f"{cell} {gap}".strip())
        lines.append([FEW_NAMES[method], *cells])
    return markdown(["method", *(f"{n} labels" for n in N_LABELS)], lines)


HEADINGS = {
    PLAIN: "Tasks of the fit, on a random third of the rows:",
    FEW: (
        "New tasks from few labels: mean score, and how much `fit_task` is above it:"
    ),
    SHIFT: "Tasks of the fit, on whole groups that were held out:",
}


def table(rows):
    parts = []
    for part in PARTS:
        all_found = {}
        for name in SETS:
            own = [row for row in rows if (row["part"], row["set"]) == (part, name)]
            if own:
                all_found[name] = by_method(own)
        if not all_found:
            continue
        parts.append(HEADINGS[part])
        if part != FEW:
            parts.append(overview(all_found))
        for name, found in all_found.items():
            splits = max(map(len, found.values()))
            by = f", by {SETS[name].shift}" if part == SHIFT else ""
            parts.append(f"**{name}**{by}, {splits} split{'s' if splits > 1 else ''}")
            parts.append((few_table if part == FEW else set_table)(found))
    return "\n\n".join(parts)


PAGE_TEXT = """# Real tables

```bash
python -m benchmarks.real_tables --data DATA --jobs 2
python -m benchmarks.real_tables --data DATA --jobs 2 --few
python -m benchmarks.real_tables --data DATA --jobs 2 --shift
```

Does the estimator, with default settings, predict its own tasks on real data as well as other
models do? `DATA` is the folder with the files. Without `--data`, the environment variable
`SKDISENTANGLE_DATA` names it. `benchmarks/_table_sets.py` says what the files are and where to
get them. A set that is missing is named and left out. Names of sets before `--data` run only
these sets, and `--splits` sets the number of splits.

At most {cap:,} rows of each set are used. A random third of them is the test, five times. Binary
tasks need {least} labels of each class among the training rows. A score is the mean over tasks of
R2 or AUC. An R2 below {worst:.0f} counts as {worst:.0f}. "Ours" has default settings. "No
penalties" is the same network with `sparsity=0` and `sharing=0`, regularised the same way.

Ridge, lasso, their logistic versions, the elastic net and PLS see standardised columns. Their
strength or number of components is chosen by {folds}-fold cross-validation (leave-one-out for
ridge). The elastic net and PLS are only run on measurements without missing labels. Boosting is
`HistGradientBoosting` with its defaults. The forest has 100 trees with at least three rows in a
leaf. Both have one model per task.

"Width" is the number of components, or columns, that some task uses. "Nonzeros" is the number of
nonzero coefficients of the tasks. Times are of one processor. In brackets are paired 95% intervals
over splits. Splits share the same rows, so these intervals are narrower than those for other data.

With `--few` (sets of eight tasks or more), a third of the tasks is new. The estimator is fitted
to the other tasks, on three quarters of the training rows. Each new task gets {labels} labels
from the other quarter, as evenly from both classes as possible, in {draws} draws. It is scored on
the test rows. `fit_task` is compared with a ridge or logistic regression on the columns, and on
the components of the network without penalties. The strength of these is chosen by
cross-validation, and their columns are standardised over the rows of the fit.

With `--shift`, whole groups are the test. For Tox21 that is a third of the scaffolds, drawn at
random. For New Zealand it is the sites north of the median and those south of it, in turn.

Two constants that say which directions of the labels become components, and the largest noise for
hidden layers, were chosen on other splits of some of these tables (among them bfi, epi, msq,
oes97, wq) and on tables that are not here. Their rows are in the splits of this page, too.
"""


def not_run(rows):
    """What the report lacks, in a sentence."""
    there = {(row["part"], row["set"], row["method"]) for row in rows}
    lacks = []
    for part in PARTS:
        for name in SETS:
            wanted = [method for method in METHODS if len(seeds_of(part, name, method))]
            absent = [method for method in wanted if (part, name, method) not in there]
            if absent:
                of = f" ({', '.join(absent)})" if absent != wanted else ""
                lacks.append(f"{name}{of}, {part}")
    return (
        f"Not run: {'; '.join(lacks)}." if lacks else "All sets and methods were run."
    )


def page(rows=None):
    """The page of the suite, with the saved results if there are any."""
    rows = load(RESULTS) if rows is None else rows
    *first, last = map(str, N_LABELS)
    text = PAGE_TEXT.format(
        cap=CAP,
        least=LEAST,
        worst=WORST_R2,
        folds=FOLDS,
        labels=f"{', '.join(first)} or {last}",
        draws=N_DRAWS,
    )
    if not rows:
        return text
    return (
        f"{text}\nSplits from {FIRST_SEED}; {rows[-1]['machine']}.\n\n"
        f"{not_run(rows)}\n\n{table(rows)}\n"
    )


def seeds_of(part, name, method, n_splits=N_SPLITS):
    """Splits of the report, none where a method or set has no place in a part."""
    source = SETS[name]
    if method in (ELASTIC_NET, PLS) and not (
        source.kind == "regression" and source.complete
    ):
        return range(0)
    if part == FEW and not (source.many and method in FEW_NAMES):
        return range(0)
    if part == SHIFT and not source.shift:
        return range(0)
    return range(FIRST_SEED, FIRST_SEED + n_splits)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "sets", nargs="*", metavar="SET", help=f"all of {', '.join(SETS)} by default"
    )
    add_folder(parser)
    parser.add_argument("--splits", type=int, default=N_SPLITS)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--few", action="store_const", dest="part", const=FEW)
    kinds.add_argument("--shift", action="store_const", dest="part", const=SHIFT)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--fresh", action="store_true", help="run these again")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.sets if name not in SETS]
    if unknown:
        parser.error(
            f"SET: there is no set {unknown[0]!r}; there are {', '.join(SETS)}."
        )
    if not 1 <= options.splits <= len(KEPT):
        parser.error(f"--splits must be from 1 to {len(KEPT)}; got {options.splits}.")
    use_folder(parser, options.data)
    _runs.main(
        __doc__,
        RESULTS,
        run,
        {"part": list(PARTS), "set": list(SETS), "method": list(METHODS)},
        lambda *job: seeds_of(*job, options.splits),
        table,
        [
            *("--parts", options.part or PLAIN),
            *("--sets", *(options.sets or SETS)),
            *("--methods", *options.methods),
            *("--jobs", str(options.jobs)),
            *(["--fresh"] if options.fresh else []),
        ],
        missing=lambda part, name, method: lacking(name),
        kept=lambda *job: KEPT if len(seeds_of(*job)) else range(0),
    )


if __name__ == "__main__":
    main()
