"""Suite "cost": what wide heads, many classes, new tasks and small tables cost.

python -m benchmarks.cost
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks._runs import load, main
from benchmarks._tables import markdown
from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors
from skdisentangle.metrics import mcc_score
from skdisentangle.solvers.basis import shears
from skdisentangle.solvers.basis._common import starts

RESULTS = Path(__file__).parent / "results" / "cost.jsonl"
REPORT_SEEDS = range(5000, 5003)
NOISE = 0.15  # where it is given, so that nothing is chosen

NETWORK = "the same network without penalties"
LOGISTIC = "logistic regression"


def timed(estimator, *data):
    """A fit, and seconds of the processor that it took."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for message in ("Nothing seems to be learned", "A single task"):
            warnings.filterwarnings("ignore", message=message)
        start = time.process_time()
        estimator.fit(*data)
    return time.process_time() - start


def row(ours, other, scores, name, what):
    return {
        "ours": ours,
        "other": other,
        "our_score": float(scores[0]),
        "other_score": float(scores[1]),
        "name": name,
        "what": what,
    }


def dense(**settings):
    """The same without penalties: a network with dense heads."""
    return SparseSharedDisentangler(sparsity=0, sharing=0, **settings)


def from_random_places(heads):
    return starts(heads.shape[1], 2)


def wide(n_factors, n_tasks, n_rows, seed, *, other=NETWORK):
    """Linear mixing of many factors, of which each task needs three."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(2 * n_rows, n_factors))
    X = factors @ rng.normal(size=(n_factors, 2 * n_factors))
    use = np.zeros((n_tasks, n_factors))
    for task in use:
        signs = rng.choice([-1, 1], 3)
        task[rng.choice(n_factors, 3, replace=False)] = signs * rng.uniform(0.7, 1.3, 3)
    Y = factors @ use.T
    Y += 0.3 * Y.std(0) * rng.normal(size=Y.shape)
    settings = {
        **{"n_components": n_factors, "encoder": "linear", "max_iter": 30},
        **{"input_noise": 0, "random_state": seed},
    }
    here = X[:n_rows], Y[:n_rows]
    ours = SparseSharedDisentangler(**settings)
    taken = timed(ours, *here)
    if other == NETWORK:
        rival = dense(**settings)
        their = timed(rival, *here)
    else:
        rival = SparseSharedDisentangler(**settings)
        with (
            mock.patch.object(shears, "_starts", from_random_places),
            mock.patch.object(shears, "SEARCH_VALUES", 1e12),
        ):
            their = timed(rival, *here)
    unseen = slice(n_rows, None)
    scores = [
        mcc_score(factors[unseen], each.transform(X[unseen])) for each in (ours, rival)
    ]
    return row(taken, their, scores, other, "MCC")


def classes(n_classes, seed, *, noise="auto"):
    """One task of many classes, about Gaussian centres."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n_classes, 32))
    n_rows = max(2000, 4 * n_classes)
    y = np.append(np.arange(n_classes), rng.integers(n_classes, size=2 * n_rows))
    X = centres[y] + 0.7 * rng.normal(size=(len(y), 32))
    here, unseen = slice(n_rows), slice(n_rows, None)
    ours = SparseSharedDisentangler(
        task_types="multiclass", input_noise=noise, random_state=seed
    )
    rival = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    taken, their = (timed(each, X[here], y[here]) for each in (ours, rival))
    scores = [each.score(X[unseen], y[unseen]) for each in (ours, rival)]
    return row(taken, their, scores, LOGISTIC, "accuracy")


def new_task(n_classes, n_rows, seed):
    """A head for a new task of four of twelve components."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n_rows + 13_000, 12))
    use = np.zeros((40, 12))
    for task in use:
        task[rng.choice(12, 3, replace=False)] = rng.choice([-1, 1], 3) * 1.5
    X = factors @ rng.normal(size=(12, 24))
    Y = factors[:3000] @ use.T
    Y += 0.3 * Y.std(0) * rng.normal(size=Y.shape)
    dis = SparseSharedDisentangler(encoder="linear", random_state=seed)
    dis.fit(X[:3000], Y)
    logits = 1.2 * factors[:, :4] @ rng.normal(size=(n_classes, 4)).T
    y = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    here, unseen = slice(3000, 3000 + n_rows), slice(3000 + n_rows, None)
    kind = "binary" if n_classes == 2 else "multiclass"
    start = time.process_time()
    head = dis.fit_task(X[here], y[here], task_type=kind)
    taken = time.process_time() - start
    codes, rival = dis.transform(X), LogisticRegression(max_iter=1000)
    their = timed(rival, codes[here], y[here])
    scores = (
        head.score(X[unseen], y[unseen]),
        rival.score(codes[unseen], y[unseen]),
    )
    return row(taken, their, scores, f"{LOGISTIC} on the components", "accuracy")


def small(n_rows, seed):
    """Few rows of ten columns: what the choice of the noise adds."""
    problem = make_multitask_factors(n_rows + 1000, n_features=10, random_state=seed)
    X, Y = problem.X, problem.Y
    settings = {"task_types": problem.task_types, "random_state": seed}
    here, unseen = slice(n_rows), slice(n_rows, None)
    ours = SparseSharedDisentangler(**settings)
    taken = timed(ours, X[here], Y[here])
    chosen = ours.input_noise_, ours.nonlinear_noise_
    rival = SparseSharedDisentangler(input_noise=chosen, **settings)
    their = timed(rival, X[here], Y[here])
    scores = [each.score(X[unseen], Y[unseen]) for each in (ours, rival)]
    return row(taken, their, scores, "the same fit, its noise given", "mean score")


def bilevel(seed, **options):
    problem = make_multitask_factors(6000, random_state=seed, **options)
    here, unseen = slice(4000), slice(4000, None)
    settings = {"task_types": problem.task_types, "random_state": seed}
    ours = SparseSharedDisentangler(solver="bilevel", input_noise=NOISE, **settings)
    rival = SparseSharedDisentangler(input_noise=NOISE, **settings)
    taken, their = (
        timed(each, problem.X[here], problem.Y[here]) for each in (ours, rival)
    )
    scores = [
        mcc_score(problem.factors[unseen], each.transform(problem.X[unseen]))
        for each in (ours, rival)
    ]
    return row(taken, their, scores, 'solver="alternating"', "MCC")


def many_tasks(seed):
    """The size of ToxCast, in a process of its own, whose memory is looked at."""
    command = [sys.executable, "-m", "benchmarks.cost", "--alone", str(seed)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def many_tasks_here(seed):
    rng = np.random.default_rng(seed)
    X = (rng.random((10_000, 1024)) < 0.06).astype(np.float32)
    use = rng.normal(size=(1024, 12)) * (rng.random((1024, 12)) < 0.05)
    factors = X @ use
    factors = (factors - factors.mean(0)) / factors.std(0)
    heads = np.zeros((12, 617))
    for task in heads.T:
        task[rng.choice(12, 2, replace=False)] = 2.5 * rng.normal(size=2)
    truth = (factors @ heads + rng.logistic(size=(10_000, 617)) > 2).astype(float)
    Y = np.where(rng.random(truth.shape) < 0.7, np.nan, truth)
    ours = SparseSharedDisentangler(random_state=seed)
    taken = timed(ours, X[:8600], Y[:8600])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    rival = dense(random_state=seed)
    their = timed(rival, X[:8600], Y[:8600])
    scores = [
        np.mean(
            [
                roc_auc_score(labels, chances[:, 1])
                for labels, chances in zip(
                    truth[8600:].T, each.predict_proba(X[8600:]), strict=True
                )
            ]
        )
        for each in (ours, rival)
    ]
    return row(taken, their, scores, NETWORK, "AUC") | {"gigabytes": peak}


SEARCH = "a search from three random places"
FOUR = {"task_types": {"multiclass": 2, "binary": 1, "regression": 3}}
CASES = {
    "100 components, 300 tasks": partial(wide, 100, 300, 3000, other=SEARCH),
    "100 components, 300 tasks: dense heads": partial(wide, 100, 300, 3000),
    "200 components, 600 tasks": partial(wide, 200, 600, 6000),
    "20 components, 2,000 tasks": partial(wide, 20, 2000, 3000),
    "10 classes": partial(classes, 10),
    "100 classes": partial(classes, 100),
    "400 classes": partial(classes, 400),
    "400 classes, noise given": partial(classes, 400, noise=NOISE),
    "1,000 classes, noise given": partial(classes, 1000, noise=NOISE),
    "`fit_task`, 2 classes, 3,000 rows": partial(new_task, 2, 3000),
    "`fit_task`, 10 classes, 500 rows": partial(new_task, 10, 500),
    "`fit_task`, 10 classes, 3,000 rows": partial(new_task, 10, 3000),
    "`fit_task`, 50 classes, 10,000 rows": partial(new_task, 50, 10_000),
    "100 rows of 10 columns": partial(small, 100),
    "300 rows of 10 columns": partial(small, 300),
    '`solver="bilevel"`, mixed tasks': bilevel,
    '`solver="bilevel"`, binary tasks': partial(bilevel, task_types="binary"),
    '`solver="bilevel"`, a third of 4 classes': partial(bilevel, **FOUR),
    "8,600 rows, 1,024 columns, 617 tasks, 70% unlabelled": many_tasks,
}


def run(case, seed):
    torch.set_num_threads(1)
    with threadpool_limits(1):
        return {"case": case, "seed": seed} | CASES[case](seed=seed)


def results_table(rows):
    lines = []
    for case in CASES:
        own = [each for each in rows if each["case"] == case]
        if not own:
            continue
        taken = [each["ours"] for each in own]
        ratios = [each["ours"] / each["other"] for each in own]
        scores = [
            np.mean([each[which] for each in own])
            for which in ("our_score", "other_score")
        ]
        peak = max(each.get("gigabytes", 0) for each in own)
        lines.append(
            [
                f"{case} ({peak:.1f} GB)" if peak else case,
                str(len(own)),
                f"{np.median(taken):.2f} ({min(taken):.2f}-{max(taken):.2f})",
                own[0]["name"],
                f"{np.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
                f"{scores[0]:.3f}",
                f"{scores[1]:.3f}",
                own[0]["what"],
            ]
        )
    heads = "case, seeds, ours (CPU s), other program, our time over its, our score, its score"
    return markdown([*heads.split(", "), "score"], lines)


PAGE_TEXT = """# Cost of wide heads, classes and new tasks

```bash
python -m benchmarks.cost
```

Each case runs ours and another program one after the other, on the same data and on one thread.
Times are seconds of the processor: median over seeds, and range. Scores are means over seeds, on
rows that no fit has seen. Short fits choose the noise, as by default. In the cases of wide heads
and of solvers, and where a case says so, the noise is given instead. MCC is the mean correlation
of matched components. It is low for a network without penalties, even if that predicts well. With
400 classes in 32 columns, the default of 20 components is few: logistic regression uses all
columns.
"""


def page(rows=None):
    """The page of the suite, with the saved results if there are any."""
    rows = load(RESULTS) if rows is None else rows
    if not rows:
        return PAGE_TEXT
    said = rows[-1]["machine"]
    return (
        f"{PAGE_TEXT}\nSeeds from {REPORT_SEEDS[0]}; {said}.\n\n{results_table(rows)}\n"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        torch.set_num_threads(1)
        with threadpool_limits(1):
            print(json.dumps(many_tasks_here(int(sys.argv[2]))))
    else:
        main(
            __doc__,
            RESULTS,
            run,
            {"case": list(CASES)},
            lambda case: REPORT_SEEDS,
            results_table,
        )
