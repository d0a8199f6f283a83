"""Suite "method": the hard problems, each solver at its defaults.

    python -m benchmarks.method --jobs 2                  # the report, over an hour
    python -m benchmarks.method --seeds 100 102           # for development
    python -m benchmarks.method --cases "500 rows" --solvers alternating --seeds 100 102

Six factors, 60 tasks of one to three factors, half regression and half binary, 4,000
rows, 2-layer mixing to 20 columns, 20 components, except as a case says. Importances are
those of ``GradientBoostingRegressor`` with its defaults on 2,000 held-out rows.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from benchmarks._runs import load, main
from benchmarks.recovery import dci
from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors
from skdisentangle.inspection import identifiability_report
from skdisentangle.inspection._identifiability import separating_tasks
from skdisentangle.metrics import disentanglement_score, mcc_score

N_TRAIN, N_TEST = 4000, 2000
RESULTS = Path(__file__).parent / "results" / "method.jsonl"

MANY = {"n_factors": 20, "n_features": 60, "n_tasks": 100}
MOST = {"n_factors": 50, "n_features": 200, "n_tasks": 400, "n_train": 20_000}

#: Case: (number of components, options of the problem).
CASES = {
    "6 components": (6, {}),
    "24 components": (24, {}),
    "48 components": (48, {}),
    "number of components found": ("auto", {}),
    "rho 0.5": (6, {"correlation": 0.5}),
    "rho 0.5, binary tasks": (6, {"correlation": 0.5, "task_types": "binary"}),
    "rho 0.9": (6, {"correlation": 0.9}),
    "rho 0.9, regression tasks": (6, {"correlation": 0.9, "task_types": "regression"}),
    "rho 0.9, binary tasks": (6, {"correlation": 0.9, "task_types": "binary"}),
    "rho 0.9, 24 components": (24, {"correlation": 0.9}),
    "500 rows": (20, {"n_train": 500}),
    "80 labelled rows a task": (20, {"missing": 0.98}),
    "12 tasks": (20, {"n_tasks": 12}),
    "20% of labels wrong": (20, {"flip_y": 0.2}),
    "every task uses all factors": (20, {"support_size": 6}),
    "20 factors, 100 tasks": (20, MANY),
    "20 factors, 100 tasks, 40 components": (40, MANY),
    "50 factors, 400 tasks": ("auto", MOST),
}
SOLVERS = ("alternating", "bilevel")
REPORT_SEEDS = range(5000, 5010)

#: Those that take longest, most of it to score them, get fewer seeds of a solver.
FEWER = {"50 factors, 400 tasks": (10, 3)}


def run(case, solver, seed, then=None, **changes):
    """One fit and its scores; `changes` are parameters away from their defaults.

    The components may be changed afterwards: ``then`` makes others, from the estimator, the
    rows of the fit, other rows, the seed and the number of factors.
    """
    n_components, options = CASES[case]
    options = {"link": "logistic"} | options
    n_train = options.pop("n_train", N_TRAIN)
    problem = make_multitask_factors(n_train + N_TEST, random_state=seed, **options)
    X, factors = problem.X[n_train:], problem.factors[n_train:]
    estimator = SparseSharedDisentangler(
        n_components, solver=solver, random_state=seed, **changes
    )
    start = time.process_time()
    estimator.fit(problem.X[:n_train], problem.Y[:n_train])
    seconds = time.process_time() - start
    if then is None:
        codes, nonzeros = estimator.transform(X), (estimator.coef_ != 0).sum()
    else:
        codes = then(estimator, problem.X[:n_train], X, seed, factors.shape[1])
        nonzeros = len(estimator.coef_) * codes.shape[1]  # heads of these are dense
    width = None if n_components == "auto" else n_components
    disentanglement, completeness = dci(factors, codes, width)
    both = np.abs(np.corrcoef(factors.T, codes.T))[: len(factors.T), len(factors.T) :]
    counts = separating_tasks(problem.supports)
    return {
        "case": case,
        "solver": solver,
        "seed": seed,
        "seconds": seconds,
        "condition": bool(counts[~np.eye(len(counts), dtype=bool)].all()),
        "identifiable": identifiability_report(
            estimator, problem.X[:n_train]
        ).identifiable,
        "active": codes.shape[1],
        "nonzeros": float(nonzeros / problem.supports.sum()),
        "disentanglement": disentanglement,
        "completeness": completeness,
        "linear": disentanglement_score(factors, codes, importance="lasso"),
        "mcc": mcc_score(factors, codes),
        "correlation": float(both.max(axis=1).min()),
    }


HEADS = (
    "case, solver, seeds, D, worst, C, linear D, MCC, worst correlation, active, "
    "nonzeros / true, identifiable, fit (CPU s)"
)


def _row(case, solver, rows):
    value = {key: [r[key] for r in rows] for key in rows[0]}
    active = sorted(set(value["active"]))
    return [
        case,
        solver,
        str(len(rows)),
        f"{np.median(value['disentanglement']):.4f}",
        f"{min(value['disentanglement']):.4f}",
        f"{np.median(value['completeness']):.4f}",
        f"{np.median(value['linear']):.3f}",
        f"{np.median(value['mcc']):.3f} ({min(value['mcc']):.3f})",
        f"{min(value['correlation']):.3f}",
        ", ".join(f"{a} ({value['active'].count(a)}x)" for a in active),
        f"{np.median(value['nonzeros']):.2f}",
        f"{sum(value['identifiable'])} of {len(rows)}",
        f"{np.median(value['seconds']):.1f}",
    ]


def table(results):
    heads = HEADS.split(", ")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for case in CASES:
        for solver in SOLVERS:
            rows = [r for r in results if (r["case"], r["solver"]) == (case, solver)]
            if not rows:
                continue
            lines.append("| " + " | ".join(_row(case, solver, rows)) + " |")
            holding = [r for r in rows if r["condition"]]
            if case == "12 tasks" and holding:
                name = f"{case}, true supports that fulfil the condition"
                lines.append("| " + " | ".join(_row(name, solver, holding)) + " |")
    return "\n".join(lines)


PAGE_TEXT = """# The method on hard problems

```bash
python -m benchmarks.method --jobs 2
```

Unless a case says otherwise, there are 4,000 rows of 20 columns (2-layer mixing), six factors, 20
components, and 60 tasks of one to three factors, half regression and half binary. With 20 factors
there are 60 columns. With 50 factors there are 200 columns and 20,000 rows.

D and C are medians of DCI with the importances of `GradientBoostingRegressor`, on 2,000 held-out
rows. Linear D has the importances of `Lasso`. MCC is the mean correlation of matched components,
median and worst. "Worst correlation" is that of a factor with its best component, over seeds and
factors. "Identifiable" is the verdict of `identifiability_report`, which does not know the
factors. "Fulfil the condition" counts the seeds whose true supports fulfil the condition of
Lachapelle et al. (ICML 2023). Seconds are processor time of the fit on one thread.

Seeds from {seed}; {machine}.

{table}
"""


def page():
    """The page of the suite, from the saved results."""
    rows = load(RESULTS)
    if not rows:
        return ""
    return PAGE_TEXT.format(
        seed=min(r["seed"] for r in rows),
        machine=rows[-1]["machine"],
        table=table(rows),
    )


def seeds(case, solver):
    """Seeds of the report."""
    n_seeds = FEWER.get(case, (len(REPORT_SEEDS),) * 2)[SOLVERS.index(solver)]
    return REPORT_SEEDS[:n_seeds]


if __name__ == "__main__":
    main(
        __doc__,
        RESULTS,
        run,
        {"case": list(CASES), "solver": list(SOLVERS)},
        seeds,
        table,
    )
