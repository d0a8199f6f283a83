"""Suite "leakage": a step trained on features that have seen its target, and remedies.

    python -m benchmarks.leakage                  # the report, about 5 minutes
    python -m benchmarks.leakage --seeds 600 602  # other seeds, for development

Six factors, 2-layer mixing to 20 columns, binary target of one to three factors. The
features are learned from the target alone, from 60 tasks with the target among them, or
from 60 tasks beside it, all on the same rows. Another 2,000 rows are for the test.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import cross_val_score

from benchmarks._readme import machine, write_pages
from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors

N_TASKS, N_TEST, N_FOLDS = 60, 2000, 5
RESULTS = Path(__file__).parent / "results" / "leakage.json"

#: Which tasks the features are learned from.
TARGETS = ("only task", "among 60 tasks", "beside 60 tasks")
#: How the labels are noised: all of them, or the target replaced by coin flips.
LABELS = ("clean", "20% wrong", "coin flips")
ROWS = (500,)
REPORT_SEEDS = range(5000, 5003)

#: The step that follows.
CLASSIFIERS = {
    "logistic": LogisticRegression(max_iter=1000),
    "forest": RandomForestClassifier(random_state=0),
}
#: Largest correlation with a factor from which on a component is one of some factor.
IS_FACTOR = 0.5


def make_problem(target, labels, n_train, seed):
    """Rows, the tasks to learn from, the target, and the factors."""
    types = ["binary", *["binary", "regression"] * (N_TASKS // 2)]
    problem = make_multitask_factors(
        n_train + N_TEST,
        n_tasks=N_TASKS + 1,
        task_types=types,
        flip_y=0.2 if labels == "20% wrong" else 0,
        random_state=seed,
    )
    Y = problem.Y
    if labels == "coin flips":
        Y[:, 0] = np.random.default_rng(seed).random(len(Y)) < 0.5
    y = Y[:, 0].astype(int)
    tasks = {
        "only task": y,
        "among 60 tasks": Y[:, :N_TASKS],
        "beside 60 tasks": Y[:, 1:],
    }[target]
    return problem.X, tasks, y, problem.factors


def judge(y, probability):
    """Scores of predicted probabilities of class 1."""
    right = accuracy_score(y, probability > 0.5)
    sure = np.maximum(probability, 1 - probability).mean()
    return {
        "test": right,
        "log loss": log_loss(y, probability),
        "overconfidence": sure - right,
    }


def follow(classifier, train, y_train, test, y_test, is_noise):
    """What a next step makes of the features it is given."""
    fitted = clone(classifier).fit(train, y_train)
    if hasattr(fitted, "coef_"):
        weight = np.abs(fitted.coef_[0]) * test.std(0)
    else:
        weight = fitted.feature_importances_
    total = weight.sum()
    return {
        "train": fitted.score(train, y_train),
        "weight on noise": float(weight[is_noise].sum() / total) if total else 0.0,
        **judge(y_test, fitted.predict_proba(test)[:, 1]),
    }


def run(target, labels, n_train, seed):
    warnings.simplefilter("ignore", UserWarning)  # rare classes, in folds
    X, tasks, y, factors = make_problem(target, labels, n_train, seed)
    train, test = slice(n_train), slice(n_train, None)
    half, rest = slice(n_train // 2), slice(n_train // 2, n_train)

    plain = SparseSharedDisentangler(random_state=seed, cross_fit=N_FOLDS)
    # cross_fit leaves the fit alone: one estimator gives both kinds of features
    out_of_fold = plain.fit_transform(X[train], tasks[train])
    codes = plain.transform(X)
    halved = SparseSharedDisentangler(random_state=seed).fit(X[half], tasks[half])
    half_codes = halved.transform(X)
    remedies = {
        "plain": (codes[train], y[train], codes[test]),
        "cross_fit": (out_of_fold, y[train], codes[test]),
        "half": (half_codes[rest], y[rest], half_codes[test]),
        "columns": (X[train], y[train], X[test]),
    }
    results = []
    case = {"target": target, "labels": labels, "rows": n_train, "seed": seed}
    for remedy, (features, y_train, kept) in remedies.items():
        both = np.nan_to_num(correlation(factors[test], kept))
        is_noise = both.max(0) < IS_FACTOR
        for name, classifier in CLASSIFIERS.items():
            scores = follow(classifier, features, y_train, kept, y[test], is_noise)
            if remedy == "plain":
                flattered = cross_val_score(classifier, features, y_train, cv=5)
                scores["cv on features"] = float(flattered.mean())
            results.append({**case, "remedy": remedy, "step": name, **scores})
    if target != "beside 60 tasks":
        own = plain.predict_proba(X)
        own = (own if target == "only task" else own[0])[:, 1]
        scores = {
            "train": accuracy_score(y[train], own[train] > 0.5),
            **judge(y[test], own[test]),
        }
        results.append({**case, "remedy": "predict", "step": None, **scores})
    return results


def correlation(factors, codes):
    """Absolute correlations of shape (n_factors, n_codes)."""
    with np.errstate(invalid="ignore"):
        both = np.corrcoef(factors.T, codes.T)
    n_factors = factors.shape[1]
    return np.abs(both[:n_factors, n_factors:])


def table(results, step):
    """One row a problem: means over seeds."""
    heads = (
        "features learned from,labels,rows,train,cv on features,test: plain,cross_fit"
    )
    heads += ",half,columns,predict,log loss: plain,cross_fit,half,columns,predict"
    heads += ",overconfidence: plain,cross_fit,weight on noise: plain,cross_fit"
    heads = heads.split(",")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]

    def mean(case, remedy, key):
        at = dict(zip(("target", "labels", "rows"), case, strict=True), remedy=remedy)
        at["step"] = None if remedy == "predict" else step
        found = [r[key] for r in results if all(r[k] == v for k, v in at.items())]
        return f"{np.mean(found):.2f}" if found else "-"

    everyone = ("plain", "cross_fit", "half", "columns", "predict")
    for target in TARGETS:
        for labels in LABELS:
            for n_rows in ROWS:
                case = target, labels, n_rows
                if mean(case, "plain", "test") == "-":
                    continue
                cells = [target, labels, f"{n_rows:,}"]
                cells += [mean(case, "plain", k) for k in ("train", "cv on features")]
                for key in ("test", "log loss"):
                    cells += [mean(case, remedy, key) for remedy in everyone]
                cells += [mean(case, r, "overconfidence") for r in everyone[:2]]
                # one component, learned from one task, is all there is to weigh
                alone = target == "only task"
                cells += [
                    "-" if alone else mean(case, r, "weight on noise")
                    for r in everyone[:2]
                ]
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


PAGE_TEXT = """# Leakage: a next step that is trained on rows the encoder has seen

```bash
python -m benchmarks.leakage
```

As in a pipeline, a classifier is trained on features of the same rows that the features were
learned on. There are six factors, 2-layer mixing to 20 columns, a binary target, and 2,000 rows
for the test. The features are learned from the target alone, from 60 tasks with the target among
them, or from 60 other tasks on the same factors. With "20% wrong", one in five labels of all
tasks and of the target is wrong, also in the test, so no accuracy above 0.80 can be expected.
With "coin flips", only the target is replaced, and 0.50 is the best that can be expected.

"Train" and "cv on features" belong to the plain pipeline. They are the accuracy on the training
rows, and the accuracy in cross-validation of the classifier alone, on features that were made
once. The amount by which these are above the test is the error that the leak causes. The remedies
are `cross_fit=5`; features learned on one half of the rows and the classifier on the other; the
columns of X instead of features; and `predict` of the disentangler itself. Overconfidence is mean
confidence less accuracy. "Weight on noise" is the share of the classifier's coefficients (times
spread) or importances on components that correlate by less than 0.5 with every factor.

Mean over {n_seeds} seeds from {seed}; {machine}.

`LogisticRegression`:

{logistic}

`RandomForestClassifier`:

{forest}
"""


def page():
    """The page of the suite, from the saved results; empty before there are any."""
    if not RESULTS.exists():
        return ""
    saved = json.loads(RESULTS.read_text())
    seeds = {r["seed"] for r in saved["results"]}
    tables = {step: table(saved["results"], step) for step in CLASSIFIERS}
    return PAGE_TEXT.format(
        n_seeds=len(seeds), seed=min(seeds), machine=saved["machine"], **tables
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs=2, metavar=("FIRST", "STOP"))
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS)
    parser.add_argument("--labels", nargs="+", choices=LABELS, default=LABELS)
    parser.add_argument("--rows", nargs="+", type=int, choices=ROWS, default=ROWS)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    chosen = options.targets, options.labels, options.rows
    report = options.seeds is None and chosen == (TARGETS, LABELS, ROWS)
    jobs = (
        delayed(run)(target, labels, rows, seed)
        for target in options.targets
        for labels in options.labels
        for rows in options.rows
        for seed in (range(*options.seeds) if options.seeds else REPORT_SEEDS)
    )
    nested = Parallel(n_jobs=options.jobs, return_as="list")(jobs)
    results = [result for results in nested for result in results]
    print(machine(), *(table(results, step) for step in CLASSIFIERS), sep="\n\n")
    if report:
        RESULTS.parent.mkdir(exist_ok=True)
        content = {"machine": machine(), "results": results}
        RESULTS.write_text(json.dumps(content, indent=1) + "\n")
        write_pages()


if __name__ == "__main__":
    main()
