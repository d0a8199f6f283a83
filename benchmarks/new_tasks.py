"""Suite "new_tasks": heads for tasks that were not in the fit, from few labels.

    python -m benchmarks.new_tasks --jobs 2           # the report, about 20 minutes
    python -m benchmarks.new_tasks --seeds 400 402    # other seeds, for development

A disentangler is fitted on many tasks; then new tasks come, with 5 to 1,000 labels from
rows that were not in the fit. ``fit_task`` is compared with scikit-learn's linear models on
the same features, and on the columns of X. Nothing was chosen on the report's seeds.
"""

from __future__ import annotations

import argparse
import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import (
    LassoCV,
    LogisticRegression,
    LogisticRegressionCV,
    RidgeCV,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks._readme import machine, write_pages
from benchmarks._tables import interval, markdown
from skdisentangle import SparseSharedDisentangler
from skdisentangle._demo import digit_tasks
from skdisentangle.datasets import make_multitask_factors, tasks_from_factors

RESULTS = Path(__file__).parent / "results" / "new_tasks.json"
SEEDS = range(5000, 5002)

N_TRAIN, N_POOL, N_TEST = 4000, 3000, 3000
N_NEW_TASKS = 20

#: Number of labels -> draws of them for each task.
N_DRAWS = {5: 3, 10: 3, 20: 3, 50: 2, 200: 1, 1000: 1}

RIDGES = np.logspace(-3, 3, 13)


@dataclass(frozen=True)
class Problem:
    """A fitted disentangler, rows that it has not seen, and new tasks on them."""

    estimator: SparseSharedDisentangler
    X: np.ndarray
    Y: np.ndarray
    types: list[str]
    n_pool: int
    factors: np.ndarray | None = None
    supports: np.ndarray | None = None


def synthetic(seed, n_components=20, **options):
    made = make_multitask_factors(
        N_TRAIN + N_POOL + N_TEST, link="logistic", random_state=seed, **options
    )
    estimator = SparseSharedDisentangler(n_components, random_state=seed)
    estimator.fit(made.X[:N_TRAIN], made.Y[:N_TRAIN])
    factors = made.factors[N_TRAIN:]
    new = tasks_from_factors(factors, n_tasks=N_NEW_TASKS, random_state=seed + 10_000)
    X = made.X[N_TRAIN:]
    return Problem(estimator, X, new.Y, new.task_types, N_POOL, factors, new.supports)


def digits(seed):
    """New tasks: is the digit one of five, drawn at random?"""
    X, digit = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(X))
    X, digit = X[order], digit[order]
    n_train, n_pool = 900, 450
    tasks = np.column_stack(list(digit_tasks(digit[:n_train]).values()))
    estimator = SparseSharedDisentangler(random_state=seed).fit(X[:n_train], tasks)
    chosen = [rng.permutation(10)[:5] for _ in range(N_NEW_TASKS)]
    Y = np.column_stack([np.isin(digit[n_train:], five) for five in chosen])
    types = ["binary"] * N_NEW_TASKS
    return Problem(estimator, X[n_train:], Y.astype(float), types, n_pool)


PROBLEMS = {
    "6 factors": lambda seed: synthetic(seed),
    "6 factors, rho 0.9": lambda seed: synthetic(seed, correlation=0.9),
    "20 factors": lambda seed: synthetic(
        seed, 30, n_factors=20, n_features=40, n_tasks=100
    ),
    "digits": digits,
}


# -- methods: a fitted model of the rows X, or of their components -----------------------


def n_folds(labels, kind):
    """Five, or as many as the labels allow."""
    fewest = len(labels) if kind == "regression" else min(np.bincount(labels > 0))
    return int(min(5, fewest))


def ridge(rows, labels, kind):
    is_number = kind == "regression"
    model = RidgeCV(RIDGES) if is_number else LogisticRegression(max_iter=1000)
    return make_pipeline(StandardScaler(), model).fit(rows, labels)


def ridge_cv(rows, labels, kind):
    if kind == "regression":
        return None  # as above: RidgeCV is cross-validated, leaving one out
    model = LogisticRegressionCV(
        Cs=7,
        cv=n_folds(labels, kind),
        scoring="neg_log_loss",
        max_iter=1000,
        l1_ratios=(0,),
        use_legacy_attributes=False,
    )
    return make_pipeline(StandardScaler(), model).fit(rows, labels)


def l1_model(labels, kind):
    if kind == "regression":
        return LassoCV(cv=n_folds(labels, kind))
    return LogisticRegressionCV(
        Cs=np.logspace(-1.5, 2, 8),
        cv=n_folds(labels, kind),
        scoring="neg_log_loss",
        l1_ratios=(1,),
        solver="liblinear",
        intercept_scaling=10.0,
        use_legacy_attributes=False,
    )


def lasso(rows, labels, kind):
    model = make_pipeline(StandardScaler(), l1_model(labels, kind))
    return model.fit(rows, labels)


def weighted_lasso(estimator):
    """L1 with the penalty of the fit: a component that few tasks use costs more."""
    use = estimator.usage_
    ratio = estimator.sharing_ / estimator.sparsity_
    cost = 1 + ratio * np.log(use.max() / use)

    def fit(rows, labels, kind):
        scaled = FunctionTransformer(lambda codes: codes / cost)
        model = make_pipeline(scaled, l1_model(labels, kind))
        return model.fit(rows, labels)

    return fit


OURS, RAW = "fit_task", "ridge on X"
METHODS = {
    "ridge": ridge,
    "ridge, strength by CV": ridge_cv,
    "L1, strength by CV": lasso,
    "L1 weighted by usage, strength by CV": None,
    RAW: ridge,
}


def draw(labels, kind, n_labels, n_pool, rng):
    """Rows of the pool; classes in equal numbers."""
    order = rng.permutation(n_pool)
    if kind == "regression":
        return order[:n_labels]
    positive = labels[order] > 0
    half = (n_labels + 1) // 2
    return np.concatenate([order[positive][:half], order[~positive][: n_labels - half]])


def quality(predicted, truth, kind):
    """Accuracy, or R2; an R2 below -1 counts as -1."""
    if kind == "binary":
        return float(np.mean((predicted > 0.5) == (truth > 0.5)))
    return float(max(-1.0, 1 - np.mean((predicted - truth) ** 2) / truth.var()))


def jaccard(chosen, true, owner):
    """Of the factors that own the chosen components with the true ones."""
    mine, truth = {int(owner[c]) for c in chosen}, set(np.flatnonzero(true).tolist())
    return len(mine & truth) / len(mine | truth)


def run(name, seed):
    """Results of one fit: a line a kind of task and number of labels."""
    torch.set_num_threads(1)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return measure(PROBLEMS[name](seed), name, seed)


def measure(problem, name, seed):
    estimator, n_pool = problem.estimator, problem.n_pool
    codes = estimator.transform(problem.X)
    owner = None
    if problem.factors is not None:
        both = np.corrcoef(problem.factors.T, codes.T)
        n_factors = problem.factors.shape[1]
        owner = np.abs(both[:n_factors, n_factors:]).argmax(0)
    methods = METHODS | {
        "L1 weighted by usage, strength by CV": weighted_lasso(estimator)
    }
    rng = np.random.default_rng(seed)
    lines = {}
    for task, (labels, kind) in enumerate(zip(problem.Y.T, problem.types, strict=True)):
        truth = labels[n_pool:]
        for n_labels, n_draws in N_DRAWS.items():
            if n_labels > n_pool:
                continue
            scores = {method: [] for method in [OURS, *methods]}
            overlap = {method: [] for method in [OURS, *methods]}
            for _ in range(n_draws):
                rows = draw(labels, kind, n_labels, n_pool, rng)
                head = estimator.fit_task(problem.X[rows], labels[rows], task_type=kind)
                predicted = head.predict(problem.X[n_pool:])
                scores[OURS].append(quality(predicted, truth, kind))
                if owner is not None:
                    value = jaccard(head.support_, problem.supports[task], owner)
                    overlap[OURS].append(value)
                for method, fit in methods.items():
                    values = problem.X if method == RAW else codes
                    model = fit(values[rows], labels[rows], kind)
                    if model is None:
                        continue
                    predicted = model.predict(values[n_pool:])
                    scores[method].append(quality(predicted, truth, kind))
                    if owner is not None and method.startswith("L1"):
                        chosen = np.flatnonzero(np.ravel(model[-1].coef_))
                        value = jaccard(chosen, problem.supports[task], owner)
                        overlap[method].append(value)
            line = lines.setdefault(
                (kind, n_labels),
                {
                    "problem": name,
                    "seed": seed,
                    "kind": kind,
                    "labels": n_labels,
                    "active": codes.shape[1],
                    "scores": {},
                    "overlap": {},
                },
            )
            for key, found in (("scores", scores), ("overlap", overlap)):
                for method, values in found.items():
                    if values:
                        mean = round(float(np.mean(values)), 4)
                        line[key].setdefault(method, []).append(mean)
    return list(lines.values())


# -- report ------------------------------------------------------------------------------


def gathered(results, problem, kind, key):
    """Number of labels -> method -> a value for each task of each seed."""
    out = {}
    for line in results:
        if (line["problem"], line["kind"]) == (problem, kind):
            for method, values in line[key].items():
                out.setdefault(line["labels"], {}).setdefault(method, []).extend(values)
    return out


def shown(method):
    """Its name in a table: what is called a ridge is a logistic regression for classes."""
    return method.replace("ridge", "ridge or logistic")


def score_table(found):
    """Mean of ours, and the paired difference of ours from each other method."""
    rows = [[OURS, *(f"**{np.mean(v[OURS]):.3f}**" for v in found.values())]]
    for method in METHODS:
        cells = [
            interval(np.subtract(values[OURS], values[method]))
            for values in found.values()
            if method in values
        ]
        if cells:
            rows.append([f"less {shown(method)}", *cells])
    return markdown(["labels", *map(str, found)], rows)


def overlap_table(found):
    methods = [m for m in [OURS, *METHODS] if m in next(iter(found.values()))]
    rows = [[m, *(f"{np.mean(v[m]):.2f}" for v in found.values())] for m in methods]
    return markdown(["labels", *map(str, found)], rows)


def tables(results):
    parts = []
    for problem in dict.fromkeys(line["problem"] for line in results):
        for kind, measure_name in (("binary", "accuracy"), ("regression", "R2")):
            found = gathered(results, problem, kind, "scores")
            if not found:
                continue
            parts += [f"{problem}, {kind} tasks: {measure_name}", score_table(found)]
            overlap = gathered(results, problem, kind, "overlap")
            if overlap:
                parts += ["Support:", overlap_table(overlap)]
    return "\n\n".join(parts)


PAGE_TEXT = """# New tasks from few labels

```bash
python -m benchmarks.new_tasks
```

A disentangler with default settings is fitted to one of four problems: the problem of the suite
"recovery" (4,000 rows, 60 tasks, 20 components), the same with factors that correlate by 0.9, 20
factors (100 tasks, 40 columns, 30 components), or 900 of scikit-learn's digits (18 tasks). Then
there are {tasks} new tasks for each fit. They depend on one to three factors, and half of them
are binary (is the value above a threshold?), half regression. For the digits a new task asks
whether the digit is one of five, drawn at random. The labels come from rows that were not in the
fit, with equal numbers of both classes. The scores are from yet other rows.

The first row of a table is the mean score of `fit_task`. The other rows show by how much
`fit_task` is above each other method on the same draws. Plus means that `fit_task` is better. In
brackets is the paired 95% interval over tasks and seeds. An R2 below -1 counts as -1.

"Ridge or logistic" is `RidgeCV`, or `LogisticRegression` with its defaults for classes, after a
`StandardScaler`. It sees the components of `transform`, or the raw columns X. "L1 weighted by
usage" has the penalty of the fit. "CV" means that the strength is chosen by cross-validation.
"Support" tables compare the factors of the chosen components with the factors that the task
depends on, by their Jaccard index. For `fit_task` the chosen components are those of `support_`.

Seeds {first} to {last}; {machine}.

{tables}
"""


def page(content=None):
    """The page of the suite, from the saved results unless given some."""
    if content is None:
        if not RESULTS.exists():
            return ""
        content = json.loads(RESULTS.read_text())
    seeds = [line["seed"] for line in content["results"]]
    return PAGE_TEXT.format(
        tasks=N_NEW_TASKS,
        first=min(seeds),
        last=max(seeds),
        machine=content["machine"],
        tables=tables(content["results"]),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs=2, metavar=("FIRST", "STOP"))
    parser.add_argument(
        "--problems", nargs="+", choices=list(PROBLEMS), default=list(PROBLEMS)
    )
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    seeds = range(*options.seeds) if options.seeds else SEEDS
    found = Parallel(n_jobs=options.jobs)(
        delayed(run)(name, seed) for name in options.problems for seed in seeds
    )
    content = {
        "machine": machine(),
        "results": [line for part in found for line in part],
    }
    if options.seeds is None and options.problems == list(PROBLEMS):
        RESULTS.parent.mkdir(exist_ok=True)
        text = json.dumps(content).replace("}, {", "},\n{").replace("[{", "[\n{")
        RESULTS.write_text(text + "\n")
        write_pages()
    print(page(content))


if __name__ == "__main__":
    main()
