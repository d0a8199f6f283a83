"""Suite "identifiability": does the report on a fit know whether the factors were found?

    python -m benchmarks.identifiability --jobs 2          # the report, about 12 minutes
    python -m benchmarks.identifiability --seeds 300 302   # for development

Each problem gets one fit with the defaults. The report sees the fit and the rows that it was
made on, and no factor. Beside it: disentanglement (DCI, default importance) on 2,000 other
rows, and whether the true supports fulfil the condition of Lachapelle et al. (ICML 2023).
Factors that no task needs are left out of both.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks._runs import load, main
from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors
from skdisentangle.inspection import identifiability_report
from skdisentangle.inspection._identifiability import separating_tasks
from skdisentangle.metrics import disentanglement_score

RESULTS = Path(__file__).parent / "results" / "identifiability.jsonl"
N_TRAIN, N_TEST = 4000, 2000

#: Disentanglement from which on the factors count as found, and a looser mark.
FOUND, LOOSE = 0.95, 0.9

#: Correlation with a factor from which on a component counts as that factor.
PURE = 0.95

#: Options of ``make_multitask_factors``, except for ``tied`` and ``n_train``.
CASES = {
    "60 tasks": {},
    "30 tasks": {"n_tasks": 30},
    "20 tasks": {"n_tasks": 20},
    "15 tasks": {"n_tasks": 15},
    "12 tasks": {"n_tasks": 12},
    "9 tasks": {"n_tasks": 9},
    "6 tasks": {"n_tasks": 6},
    "3 to 5 factors a task": {"support_size": (3, 5)},
    "3 to 5 factors a task, 20 tasks": {"support_size": (3, 5), "n_tasks": 20},
    "all factors in each task": {"support_size": 6},
    "all factors in each task, 12 tasks": {"support_size": 6, "n_tasks": 12},
    "two factors tied": {"tied": True},
    "two factors tied, 20 tasks": {"tied": True, "n_tasks": 20},
    "rho 0.9": {"correlation": 0.9},
    "rho 0.9, 20 tasks": {"correlation": 0.9, "n_tasks": 20},
    "rho 0.9, 12 tasks": {"correlation": 0.9, "n_tasks": 12},
    "500 rows": {"n_train": 500},
    "80 labelled rows a task": {"missing": 0.98},
    "20% of labels wrong": {"flip_y": 0.2},
    "binary tasks only": {"task_types": "binary"},
    "linear mixing": {"mixing": "linear"},
}
#: The case that the rules are hardest put to has more.
REPORT_SEEDS = {
    case: range(5000, 5020) if case == "12 tasks" else range(5000, 5005)
    for case in CASES
}


def tie(problem, seed):
    """Labels of tasks that use the first and the last factor only together."""
    rng = np.random.default_rng([seed, 1])
    supports = problem.supports.copy()
    supports[:, -1] = supports[:, 0]
    supports[~supports.any(axis=1), 1] = True
    weights = rng.uniform(0.5, 1.5, supports.shape) * rng.choice(
        [-1, 1], supports.shape
    )
    values = problem.factors @ (supports * weights).T
    values = values / values.std(axis=0) + 0.1 * rng.normal(size=values.shape)
    binary = np.array([kind == "binary" for kind in problem.task_types])
    cuts = 0.3 * rng.normal(size=len(supports))
    problem.Y, problem.supports = np.where(binary, values > cuts, values), supports


def run(case, seed):
    options = dict(CASES[case])
    n_train = options.pop("n_train", N_TRAIN)
    tied = options.pop("tied", False)
    problem = make_multitask_factors(n_train + N_TEST, random_state=seed, **options)
    if tied:
        tie(problem, seed)
    needed = problem.supports.any(axis=0)
    counts = separating_tasks(problem.supports[:, needed])
    X, Y = problem.X[:n_train], problem.Y[:n_train]
    estimator = SparseSharedDisentangler(random_state=seed).fit(X, Y)
    report = identifiability_report(estimator, X)
    factors = problem.factors[n_train:, needed]
    codes = estimator.transform(problem.X[n_train:])
    both = np.abs(np.corrcoef(factors.T, codes.T))
    purity = both[: len(factors.T), len(factors.T) :].max(axis=0)
    return {
        "case": case,
        "seed": seed,
        "condition": bool(counts[~np.eye(len(counts), dtype=bool)].all()),
        "disentanglement": disentanglement_score(factors, codes),
        "identifiable": report.identifiable,
        "components": [
            {"identifiable": row["identifiable"], "purity": float(value)}
            for row, value in zip(report.components, purity, strict=True)
            if not row["minor"]
        ],
    }


def share(values):
    return f"{100 * np.mean(values):.0f}%" if len(values) else "-"


def table(results):
    heads = [
        "problem",
        "draws",
        "condition holds",
        f"D >= {FOUND}",
        "report: identifiable",
        f"report agrees with D >= {FOUND}",
        "with the condition",
        "median D, identifiable",
        "median D, not",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for case in [*CASES, "all"]:
        rows = [r for r in results if case in (r["case"], "all")]
        if not rows:
            continue
        says = np.array([r["identifiable"] for r in rows])
        d = np.array([r["disentanglement"] for r in rows])
        holds = np.array([r["condition"] for r in rows])
        medians = [f"{np.median(d[w]):.3f}" if w.any() else "-" for w in (says, ~says)]
        cells = [share(x) for x in (holds, d >= FOUND, says, says == (d >= FOUND))]
        cells = [case, str(len(rows)), *cells, share(says == holds), *medians]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def summary(results):
    """What the table does not say, in sentences."""
    says = np.array([r["identifiable"] for r in results])
    d = np.array([r["disentanglement"] for r in results])
    parts = [c for r in results for c in r["components"]]
    pure = np.array([c["purity"] >= PURE for c in parts])
    said = np.array([c["identifiable"] for c in parts])
    found = d >= FOUND
    lines = [
        f"Of the fits that the report calls identifiable, {share(found[says])} have "
        f"D >= {FOUND}. Of the other fits, {share(found[~says])} have it. If D >= {LOOSE} "
        f"is required instead, the report agrees in {share(says == (d >= LOOSE))} of the "
        f"fits. Of the components that it calls identifiable, {share(pure[said])} "
        f"correlate with a factor by {PURE} or more. Of the components in doubt, "
        f"{share(pure[~said])} do.",
    ]
    if len(set(found)) == 2:
        doubt = [
            1 - np.mean([c["identifiable"] for c in r["components"]]) for r in results
        ]
        area = roc_auc_score(found, -np.array(doubt))
        lines.append(
            f"Ranked by their share of components in doubt, fits with D >= {FOUND} come "
            f"before the others with an area under the curve of {area:.3f}."
        )
    return " ".join(lines)


PAGE_TEXT = """# Whether the factors can be believed

```bash
python -m benchmarks.identifiability --jobs 2
```

Unless a case says otherwise, there are 4,000 rows of 20 columns (2-layer mixing), six factors, 20
components, and 60 tasks of one to three factors, half regression and half binary. Each draw gets
one fit, and `identifiability_report(estimator, X)`, which does not know the factors. "Condition"
means that the true supports fulfil the condition of Lachapelle et al. (ICML 2023). Then the
factors are identifiable in principle, but the fit may still miss them. D is DCI disentanglement
on 2,000 held-out rows. "Tied" factors are always used together.

Seeds from {seed}; {machine}.

{table}

{summary}
"""


def page():
    """The page of the suite, from the saved results."""
    results = load(RESULTS)
    if not results:
        return ""
    return PAGE_TEXT.format(
        seed=min(r["seed"] for r in results),
        machine=results[-1]["machine"],
        table=table(results),
        summary=summary(results),
    )


def shown(results):
    return table(results) + "\n\n" + summary(results)


if __name__ == "__main__":
    main(
        __doc__,
        RESULTS,
        run,
        {"case": list(CASES)},
        REPORT_SEEDS.__getitem__,
        shown,
    )
