"""Suite "transfer": few labels of new tasks, on features fitted to others.

    python -m benchmarks.transfer --jobs 2                # the report
    python -m benchmarks.transfer --sets yeast --methods raw ours --seeds 0 1

Where labels are many, a quarter of them are held out of the fit; where they are few, a third
of the classes of one label, whose rows the fit never sees, and the new tasks are subsets of
these. See :mod:`benchmarks._real` for the sets and how to get them.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import r2_score

from benchmarks._features import (
    BESIDE,
    FEW_LABELS,
    METHODS,
    MLP,
    OURS,
    RAW,
    SHARES,
    Training,
    as_labels,
    class_subsets,
    fitted,
    quietly,
    with_subsets,
)
from benchmarks._peers import missing_peer
from benchmarks._real import LOADERS, loaded
from benchmarks._runs import load, main
from benchmarks._tables import TIE, duel, interval, markdown

RESULTS = Path(__file__).parent / "results" / "transfer.jsonl"
FIRST_SEED, N_SEEDS = 5000, 5

#: Labels a class, and rows of a regression task; draws of them.
LABELS = {"binary": (1, 5, 10, 50), "regression": (5, 10, 50)}
N_DRAWS = 5

#: New tasks of a set with one label of many classes; of one with many labels, at the most.
N_NEW, MOST_NEW = 8, 16

#: A label with fewer rows is no new task.
LEAST_ROWS = 300

#: An R2 below this counts as this.
WORST_R2 = -1.0

#: The other kind of new task: of a label that no task of the fit depends on.
LEFT_OUT = "emoji, gender left out"
SETS = [*LOADERS, LEFT_OUT]
METHODS_LEFT_OUT = ("raw", "pca", "unpenalised", "ours")

#: Every method but for those that align two domains: there is one here.
ABLE = [name for name in METHODS if name != "skada"]

#: The head of the package, which chooses components with the fit's tasks as prior.
FIT_TASK = "ours, fit_task"


def problem(real, seed, left_out=None):
    """Rows and tasks of the fit; new tasks; rows to draw labels from, and to score."""
    rng = np.random.default_rng(seed)
    n = len(real.X)
    if left_out is not None:
        order = rng.permutation(n)
        cut = round(0.7 * n)
        fit = order[:cut]
        known = real.Y.drop(columns=left_out).iloc[fit]
        fit_tasks, fit_types = with_subsets(real, known, seed)
        values = real.Y[left_out].to_numpy()[order]
        tasks = pd.DataFrame(
            {
                f"is {value}": (values == value).astype(int)
                for value in np.unique(values)
            }
        )
        where = np.arange(n)
        types = dict.fromkeys(tasks, "binary")
        return (
            fit,
            fit_tasks,
            fit_types,
            (order, tasks, types, where[:cut], where[cut:]),
        )
    if len(real.types) < FEW_LABELS:
        labels = real.Y[real.classes].to_numpy()
        classes = rng.permutation(np.unique(labels))
        new = np.isin(labels, classes[: max(3, len(classes) // 3)])
        rows = rng.permutation(np.flatnonzero(new))
        tasks = class_subsets(labels[rows], N_NEW, seed + 1)
        types = dict.fromkeys(tasks, "binary")
        pool, test = np.array_split(np.arange(len(rows)), 2)
        fit = np.flatnonzero(~new)
        fit_tasks, fit_types = with_subsets(real, real.Y.iloc[fit], seed)
        return fit, fit_tasks, fit_types, (rows, tasks, types, pool, test)
    order = rng.permutation(n)
    fit, test = order[: round(0.7 * n)], order[round(0.7 * n) :]
    able = [name for name in real.Y if real.Y[name].notna().sum() >= LEAST_ROWS]
    held = rng.permutation(able)[: min(MOST_NEW, max(3, len(real.types) // 4))]
    fit_types = {name: kind for name, kind in real.types.items() if name not in held}
    tasks = real.Y[list(held)].iloc[order].reset_index(drop=True)
    types = {name: real.types[name] for name in held}
    where = np.arange(n)
    cut = len(fit)
    return (
        fit,
        real.Y[list(fit_types)].iloc[fit],
        fit_types,
        (order, tasks, types, where[:cut], where[cut:]),
    )


def draw(labels, known, kind, n_labels, pool, rng):
    """Rows of the pool to learn from, classes in equal numbers; None if they are too few."""
    able = pool[known[pool]]
    if kind == "regression":
        rows = rng.permutation(able)[:n_labels]
        varies = len(np.unique(labels[rows])) > 1  # else there is nothing to learn
        return rows if len(rows) == n_labels and varies else None
    rows = []
    for value in np.unique(labels[able]):
        own = able[labels[able] == value]
        if len(own) < n_labels:
            return None
        rows.append(rng.permutation(own)[:n_labels])
    return np.concatenate(rows) if len(rows) == 2 else None


def few_shot(Z, labels, kind, rows, test):
    """Score of a head on few labels; columns are standardised over rows without labels."""
    if kind == "regression":
        head = RidgeCV(alphas=np.logspace(-1, 4, 11)).fit(Z[rows], labels[rows])
        return max(WORST_R2, r2_score(labels[test], head.predict(Z[test])))
    head = LogisticRegression(max_iter=300).fit(Z[rows], labels[rows])
    return balanced(labels[test], head.predict(Z[test]))


def balanced(truth, predicted):
    """Mean over classes of accuracy: labels of species are rare."""
    return float(
        np.mean([np.mean(predicted[truth == c] == c) for c in np.unique(truth)])
    )


def measure(features, real, new, seed):
    """{number of labels: a score for each task}, means over draws; columns that vary."""
    rows, tasks, types, pool, test = new
    Z = np.asarray(features.transform(real.X[rows]), dtype=float)
    Z = features.scaler(Z.shape[1]).fit_transform(Z)

    def head(task, labels, kind, picked, scored):
        return few_shot(Z, labels, kind, picked, scored)

    used = int((Z.std(axis=0) > 0).sum())
    return over_draws(head, tasks, types, pool, test, seed), used


def over_draws(head, tasks, types, pool, test, seed):
    found = {}
    for number, (name, kind) in enumerate(types.items()):
        labels, known = as_labels(tasks[name], kind)
        scored = test[known[test]]
        for n_labels in LABELS[kind]:
            scores = []
            for turn in range(N_DRAWS):
                rng = np.random.default_rng([seed, number, n_labels, turn])
                picked = draw(labels, known, kind, n_labels, pool, rng)
                if picked is not None:
                    scores.append(head(name, labels, kind, picked, scored))
            if scores:
                found.setdefault(str(n_labels), []).append(round(np.mean(scores), 4))
    return found


def run(name, method, seed):
    name_of_set, left_out = ("emoji", "gender") if name == LEFT_OUT else (name, None)
    real = loaded(name_of_set)
    fit, tasks, types, new = problem(real, seed, left_out)
    classes = None if real.classes is None else real.Y[real.classes].to_numpy()[fit]
    training = Training(real.X[fit], tasks, types, classes, seed)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        variants = quietly(method, training)
        measured = {
            variant: measure(features, real, new, seed)
            for variant, features in variants.items()
            if features.supports is None  # new tasks have none
        }
        found = {variant: scores for variant, (scores, _) in measured.items()}
        if method == "ours":
            found[FIT_TASK] = with_fit_task(training, real, new, seed)
    return {
        "set": name,
        "method": method,
        "seed": seed,
        "seconds": round(time.process_time() - start, 1),
        "found": found,
        "features": {variant: used for variant, (_, used) in measured.items()},
    }


def with_fit_task(training, real, new, seed):
    warnings.simplefilter("ignore", UserWarning)
    estimator = fitted(training)
    rows, tasks, types, pool, test = new
    X = real.X[rows]

    def head(task, labels, kind, picked, scored):
        model = estimator.fit_task(X[picked], labels[picked], task_type=kind)
        predicted = model.predict(X[scored])
        if kind == "regression":
            return max(WORST_R2, r2_score(labels[scored], predicted))
        return balanced(labels[scored], predicted)

    return over_draws(head, tasks, types, pool, test, seed)


# -- report ------------------------------------------------------------------------------


#: Variants that are counted against all others, as the table names them.
DUELLISTS = {
    OURS: "ours",
    BESIDE: "beside the raw columns",
    BESIDE + SHARES: "beside, equal shares",
    FIT_TASK: "fit_task",
}


def by_variant(rows):
    """{variant: {seed: {number of labels: mean over tasks}}} of one set."""
    out = {}
    for row in rows:
        for variant, scores in row["found"].items():
            means = {int(k): float(np.mean(v)) for k, v in scores.items()}
            out.setdefault(variant, {})[row["seed"]] = means
    return out


def gaps(found, variant, other, *numbers):
    """Differences, a seed that has all these numbers of labels, in the mean over them."""
    mine, theirs = found[variant], found[other]
    seeds = [
        s for s in mine if all(n in mine[s] and n in theirs.get(s, {}) for n in numbers)
    ]
    return [np.mean([mine[s][n] - theirs[s][n] for n in numbers]) for s in seeds]


def columns_used(rows):
    """{variant: median number of columns}, of the rows that have it."""
    used = {}
    for row in rows:
        for variant, number in row.get("features", {}).items():
            used.setdefault(variant, []).append(number)
    return {variant: f"{np.median(many):.0f}" for variant, many in used.items()}


def set_table(found, used):
    numbers = sorted({n for means in found[RAW].values() for n in means})
    lines = []
    for variant in found:
        cells = []
        for n in numbers:
            values = [m[n] for m in found[variant].values() if n in m]
            cell = f"{np.mean(values):.3f}" if values else ""
            if variant != RAW and values:
                cell += " " + interval(gaps(found, variant, RAW, n))
            cells.append(cell)
        lines.append([variant, *cells, used.get(variant, "")])
    heads = ["features", *(f"{n} labels" for n in numbers), "number"]
    return markdown(heads, lines)


def goal_table(all_found):
    """Mean over 5 and 10 labels, against those that the goal names."""
    lines = []
    for name, found in all_found.items():
        for ours in (v for v in found if v.startswith(OURS)):
            cells = []
            for other in (RAW, "PCA", MLP):
                if other not in found:
                    cells.append("")
                    continue
                cells.append(interval(gaps(found, ours, other, 5, 10)))
            lines.append([name, ours, *cells])
    return markdown(
        ["set", "features", f"less {RAW}", "less PCA", f"less {MLP}"], lines
    )


def duel_table(all_found):
    """Wins, ties and losses of ours by seed and number of labels, 5 and 10."""
    sets = [found for name, found in all_found.items() if name != LEFT_OUT]
    against = list(dict.fromkeys(v for found in sets for v in found))
    lines = []
    for other in (v for v in against if not v.startswith(OURS)):
        line = [other]
        for ours in DUELLISTS:
            line += duel(
                [
                    gap
                    for found in sets
                    if other in found and ours in found
                    for number in (5, 10)
                    for gap in gaps(found, ours, other, number)
                ]
            )
        lines.append(line)
    heads = ["against"]
    for ours in DUELLISTS.values():
        heads += [f"{ours}: wins / ties / losses", "mean difference"]
    return markdown(heads, lines)


def table(rows):
    all_found, used = {}, {}
    for name in SETS:
        own = [row for row in rows if row["set"] == name]
        found = by_variant(own)
        if RAW in found and OURS in found:
            all_found[name] = found
            used[name] = columns_used(own)
    if not all_found:
        return ""
    parts = ["Mean over 5 and 10 labels a class:", goal_table(all_found)]
    parts.append(duel_table(all_found))
    for name, found in all_found.items():
        parts += [f"**{name}**, {len(found[OURS])} seeds", set_table(found, used[name])]
    return "\n\n".join(parts)


SECTION = """## New tasks of real data, from few labels

```bash
python -m benchmarks.transfer --jobs 2
```

Features are fitted on some tasks of a set, and judged by others. Sets with ten labels or
more hold a quarter of them out (from 3 to {most}); of the others, a third of the classes of
one label: neither rows nor tasks of the fit know them, and the new tasks are {n_new} random
halves of them. "emoji, gender left out" is another kind: the fit has tasks of roles and skin
tones only, and what it does not ask for it need not keep. From so many labels a class (or
rows, of a measurement) a logistic regression or ridge is fitted, on columns standardised
without labels; "fit_task" is this package's own head. "Equal shares" are of the variance: all
components together have that of all raw columns together (`BlockScaler`), where else each
column has the same. Scores are accuracies, averaged over
the two classes, or R2 (not below {worst}) on rows apart, means over {draws} draws, then over
tasks. In brackets the difference to raw columns with 95% intervals over seeds, paired;
seeds are splits of the same rows. "number" is how many columns vary. Wins, ties (within {tie}
points) and losses are counted by set, seed and number of labels, 5 and 10. Rows that are told
domains, or see rows of another, have no place here: there is one domain. Where labels are held
out, the few labelled rows are rows of the fit (with other labels), which favours features that
have not seen any label.

Seeds {first} to {last}; {machine}.

{tables}
"""


def section(rows=None):
    rows = load(RESULTS) if rows is None else rows
    if not rows:
        return ""
    seeds_ = [row["seed"] for row in rows]
    return SECTION.format(
        most=MOST_NEW,
        n_new=N_NEW,
        worst=WORST_R2,
        tie=100 * TIE,
        draws=N_DRAWS,
        first=min(seeds_),
        last=max(seeds_),
        machine=rows[-1]["machine"],
        tables=table(rows),
    )


def seeds(name, method):
    if name == LEFT_OUT and method not in METHODS_LEFT_OUT:
        return range(0)
    return range(FIRST_SEED, FIRST_SEED + N_SEEDS)


if __name__ == "__main__":
    main(
        __doc__,
        RESULTS,
        run,
        {"set": SETS, "method": ABLE},
        seeds,
        table,
        missing=lambda name, method: missing_peer(method),
    )
