"""Suite "constants": what happens at half and at twice the value of each constant.

    python -m benchmarks.constants --jobs 2                  # the report, about 20 minutes
    python -m benchmarks.constants --seeds 100 102           # for development
    python -m benchmarks.constants --constants solvers.basis._common.SMALL --seeds 100 101

Small problems that no constant was chosen on; on each the constants that can matter there.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from sklearn.datasets import load_digits

from benchmarks._runs import load, main
from benchmarks._tables import markdown
from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors, tasks_from_factors
from skdisentangle.metrics import disentanglement_score

RESULTS = Path(__file__).parent / "results" / "constants.jsonl"
REPORT_SEEDS = range(5000, 5002)

CHANGES = {"half": 0.5, "twice": 2.0}

FITS = ("three classes", "labels missing", "digits")
WITH_FEW = (*FITS, "few tasks")
NOISY = (*FITS, "few rows")

#: Module below the package: {constant: the problems it is changed on}.
CONSTANTS = {
    "solvers.basis._common": {
        "EMPTY": WITH_FEW,
        "SMALL": WITH_FEW,
        "NO_PART": WITH_FEW,
        "GAIN": WITH_FEW,
        "FEW_OUTPUTS": WITH_FEW,
    },
    "solvers.basis.shears": {
        "LOSS_SHARE": FITS,
        "ERROR_FACTOR": FITS,
        "NOISE_FACTOR": FITS,
        "SIDE_SHARE": ("three classes",),
        "MAX_STARTS": WITH_FEW,
        "MAX_TURNED": WITH_FEW,
        "VARIMAX_TOL": WITH_FEW,
    },
    "solvers.basis.functions": {"FUNCTION_SHARE": FITS},
    "solvers.basis.exchanges": {
        "N_DRAWS": ("digits", "few tasks"),
        "LEAST_ANGLE": ("digits", "few tasks"),
    },
    "solvers.basis.rotations": {
        "N_STARTS": ("digits", "few tasks"),
        "UNCORRELATED": ("digits", "few tasks"),
        "STAY": ("digits", "few tasks"),
    },
    "solvers.penalties": {
        "REWEIGHTING_CUT": FITS,
        "REWEIGHTING_GAMMA": FITS,
        "MANY_LABELS": FITS,
        "RIDGE_C": FITS,
        "MIN_USAGE": FITS,
    },
    "solvers.supports": {
        "WHOLE": ("new tasks",),
        "NOISE_LEVELS": ("new tasks",),
        "SCALES": ("new tasks",),
        "DISPERSION_ROUNDS": ("new counts",),
        "THRESHOLD_ROUNDS": ("new counts",),
        "THRESHOLD_TOL": ("new counts",),
        "INTERCEPT_SCALE": ("new tasks",),
        "MIN_KEPT": ("new tasks",),
        "MAX_KEPT": ("new tasks",),
        "WINDOW": ("new tasks",),
        "EFFECTIVE_ROWS": ("new tasks",),
        "NEWTON_TOL": ("new tasks",),
    },
    "solvers.exact_heads": {
        "THRESHOLD_ROUNDS": ("ratings",),
        "THRESHOLD_TOL": ("ratings",),
        "NEWTON_STEPS": ("digits",),
        "NEWTON_TOL": ("digits",),
        "NEWTON_LENGTHS": ("digits",),
    },
    "fitting.steps": {
        "FREE_STEPS": FITS,
        "INNER_STEPS": FITS,
        "SUPPORT_STEPS": ("bilevel",),
        "CONJUGATE_STEPS": ("bilevel",),
        "CONJUGATE_TOL": ("bilevel",),
        "VARIANCE_FLOOR": FITS,
        "ADAM_EPS": FITS,
        "EPS": FITS,
        "MEMORY": FITS,
    },
    "fitting.training": {
        "LOSS_EVERY": FITS,
        "STAGES": FITS,
        "BASIS_TIMES": FITS,
        "NEVER": FITS,
        "PARTIAL_FIT_STEPS": ("partial_fit",),
        "THRESHOLD_PACE": ("ratings",),
    },
    "fitting.all_rows": {
        "ROWS_PER_COMPONENT": ("partial_fit",),
        "CLASSES_LOSE": FITS,
        "OTHERS_LOSE": FITS,
        "COUNT_SHARE": FITS,
        "NOISY_ROWS": NOISY,
        "HEAD_ROUNDS": FITS,
    },
    "fitting.fit": {"SPARE": FITS},
    "fitting.held_back": {
        "NONLINEAR": NOISY,
        "MORE": NOISY,
        "LESS": NOISY,
        "MOST": NOISY,
        "HELD_BACK": NOISY,
        "BETTER": NOISY,
        "FAR_OUT": (*NOISY, "far out"),
        "USUAL": NOISY,
        "FEW_ROWS": ("few rows",),
        "BATCH_STEPS": FITS,
        "FULL_BATCH_STEPS": ("few rows",),
    },
    "fitting.regularisation": {
        "VECTOR_STEPS": NOISY,
        "PER_UNIT": FITS,
        "MIN_LABELS": FITS,
        "STRENGTHS": FITS,
        "LEAST": NOISY,
        "MOST": NOISY,
    },
}

#: Constants that bound memory or time, or say when to warn.
BOUNDS = {
    "solvers.basis._common": ("MAX_ROUNDS", "MAX_RANK"),
    "solvers.basis.shears": (
        "SWEEP_VALUES",
        "SEARCH_VALUES",
        "LEAST_ROUNDS",
        "VARIMAX_ROUNDS",
    ),
    "solvers.basis.pairs": ("MAX_SHEAR_SIZES", "MAX_VALUES"),
    "solvers.exact_heads": ("WHOLE_VALUES", "PART_VALUES"),
    "solvers.supports": (
        "MAX_NEWTON",
        "CHUNK_VALUES",
        "FEW_VALUES",
        "MODE_VALUES",
        "MAX_PARABOLAS",
    ),
    "fitting.training": ("GATHERED_LABELS", "MIN_EPOCHS_TO_SETTLE"),
    "fitting.fit": (
        "FULL_BATCH",
        "BATCH_SIZE",
        "FULL_BATCH_STEPS",
        "BATCH_STEPS",
        "MIN_EPOCHS",
        "MAX_COMPONENTS",
        "WORSE",
    ),
    "fitting.all_rows": (
        "CHUNK_ROWS",
        "CHUNK_VALUES",
        "BASIS_ROWS",
        "LEAST_LABELS",
        "NOISY_PARTS",
        "PART_VALUES",
    ),
    "fitting.held_back": ("SURE", "SURE_LABELS", "MOST_ROWS", "MOST_VALUES", "COPIES"),
    "fitting.regularisation": (
        "MAX_VECTORS",
        "MIN_VECTORS",
        "MAX_VALUES",
        "PART_VALUES",
        "MAX_ROWS",
        "PART_COLUMNS",
        "MAX_INCOMPLETE",
    ),
}

#: Constants just below one, whose distance from it is what is changed; and shares of a fit.
NEAR_ONE, SHARES = ("MEMORY", "USUAL"), ("STAGES", "BASIS_TIMES")


def split(constant):
    """Module and name of a constant."""
    module, name = constant.rsplit(".", 1)
    return importlib.import_module(f"skdisentangle.{module}"), name


def scaled(name, value, factor):
    """Value of a constant times a factor: of a tuple all entries, whole numbers whole."""
    if isinstance(value, tuple):
        return tuple(scaled(name, entry, factor) for entry in value)
    if isinstance(value, int):
        return max(1, round(value * factor))
    if name in NEAR_ONE:
        return 1 - (1 - value) * factor
    return min(1.0, value * factor) if name in SHARES else value * factor


def places(constant):
    """The module of a constant, and those that import it from there."""
    module, name = split(constant)
    value = getattr(module, name)
    known = [m for key, m in sys.modules.items() if key.startswith("skdisentangle")]
    return [m for m in known if vars(m).get(name) is value]


def _fitted(made, n_train, n_components, seed, **options):
    """D, active components and nonzeros of one fit, as a ratio to the true number."""
    estimator = SparseSharedDisentangler(n_components, random_state=seed, **options)
    estimator.fit(made.X[:n_train], made.Y[:n_train])
    return _recovered(estimator, made, n_train)


def _recovered(estimator, made, n_train):
    used = estimator.transform(made.X[n_train:])[:, estimator.active_components_]
    score = 0.0
    if used.shape[1]:
        score = disentanglement_score(made.factors[n_train:], used)
    outputs = made.supports.sum(1) @ [
        3 if kind == "multiclass" else 1 for kind in made.task_types
    ]
    return {
        "score": score,
        "active": used.shape[1],
        "nonzeros": float((estimator.coef_ != 0).sum() / outputs),
    }


def three_classes(seed):
    made = make_multitask_factors(
        1500,
        n_tasks=20,
        task_types="multiclass",
        n_classes=3,
        correlation=0.5,
        random_state=seed,
    )
    return _fitted(made, 1000, 12, seed)


def _incomplete(seed):
    return make_multitask_factors(
        1100, n_tasks=40, missing=0.7, correlation=0.2, random_state=seed
    )


def labels_missing(seed):
    return _fitted(_incomplete(seed), 600, 12, seed)


def bilevel(seed):
    return _fitted(_incomplete(seed), 600, 12, seed, solver="bilevel")


def ratings(seed):
    made = make_multitask_factors(
        1500, n_tasks=24, task_types="ordinal", correlation=0.5, random_state=seed
    )
    return _fitted(made, 1000, 12, seed, task_types="ordinal")


def few_tasks(seed):
    made = make_multitask_factors(
        1300, n_factors=5, n_tasks=13, mixing="polynomial", random_state=seed
    )
    return _fitted(made, 800, 10, seed)


def few_rows(seed):
    """R2 on other rows, of labels that are half noise."""
    made = make_multitask_factors(
        1150, task_types="regression", noise=1.0, random_state=seed
    )
    estimator = SparseSharedDisentangler(12, random_state=seed)
    estimator.fit(made.X[:150], made.Y[:150])
    return {
        "score": estimator.score(made.X[150:], made.Y[150:]),
        "active": len(estimator.active_components_),
        "nonzeros": float((estimator.coef_ != 0).mean()),
    }


def far_out(seed):
    """Three of a thousand rows are 100 times as large as the others."""
    made = make_multitask_factors(1500, link="logistic", random_state=seed)
    made.X[:1000:400] *= 100
    return _fitted(made, 1000, 12, seed)


def partial_fit(seed):
    made = _incomplete(seed)
    estimator = SparseSharedDisentangler(12, random_state=seed)
    for _ in range(150):
        estimator.partial_fit(made.X[:600], made.Y[:600])
    return _recovered(estimator, made, 600)


def digits(seed):
    """Accuracy on other rows; whether a digit is k is a task, for each k."""
    X, y = load_digits(return_X_y=True)
    rows = np.random.default_rng(seed).permutation(len(X))
    X, Y = X[rows], y[rows, np.newaxis] == np.arange(10)
    estimator = SparseSharedDisentangler(12, random_state=seed).fit(X[:700], Y[:700])
    return {
        "score": estimator.score(X[700:], Y[700:]),
        "active": len(estimator.active_components_),
        "nonzeros": float((estimator.coef_ != 0).mean()),
    }


@lru_cache(maxsize=2)
def _known_tasks(seed):
    made = make_multitask_factors(
        2500, n_tasks=30, correlation=0.3, link="logistic", random_state=seed
    )
    estimator = SparseSharedDisentangler(12, random_state=seed)
    return made, estimator.fit(made.X[:1000], made.Y[:1000])


def new_tasks(seed, task_types="mixed"):
    """Mean score of heads for six new tasks, from few and from many labels."""
    made, estimator = _known_tasks(seed)
    new = tasks_from_factors(
        made.factors, n_tasks=6, task_types=task_types, random_state=seed + 1
    )
    scores = []
    for n_labels in (15, 60, 700):
        rows = slice(1000, 1000 + n_labels)
        for y, kind in zip(new.Y.T, new.task_types, strict=True):
            if len(np.unique(y[rows])) == 1:  # of a few labels all may be of one class
                continue
            head = estimator.fit_task(made.X[rows], y[rows], task_type=kind)
            scores.append(head.score(made.X[2000:], y[2000:]))
    return {"score": float(np.mean(scores)), "active": None, "nonzeros": None}


def new_counts(seed):
    return new_tasks(seed, {"count": 0.5, "ordinal": 0.5})


PROBLEMS = {
    "three classes": three_classes,
    "labels missing": labels_missing,
    "digits": digits,
    "few tasks": few_tasks,
    "few rows": few_rows,
    "far out": far_out,
    "bilevel": bilevel,
    "partial_fit": partial_fit,
    "new tasks": new_tasks,
    "new counts": new_counts,
    "ratings": ratings,
}
NAMES = [f"{module}.{name}" for module, names in CONSTANTS.items() for name in names]


@lru_cache
def _at_default(problem, seed):
    return PROBLEMS[problem](seed)


def run(constant, change, problem, seed):
    """Scores with one constant changed, and with none."""
    default = _at_default(problem, seed)
    module, name = split(constant)
    value = scaled(name, getattr(module, name), CHANGES[change])
    with ExitStack() as stack:
        for place in places(constant):
            stack.enter_context(patch.object(place, name, value))
        scores = PROBLEMS[problem](seed)
    row = {
        "constant": constant,
        "change": change,
        "problem": problem,
        "seed": seed,
        **scores,
    }
    return row | {f"default {key}": value for key, value in default.items()}


def seeds(constant, change, problem):
    """Seeds of the report; none where the problem says nothing, or nothing would change."""
    module, name = split(constant)
    value = getattr(module, name)
    if problem not in CONSTANTS[constant.rsplit(".", 1)[0]][name]:
        return ()
    whole = isinstance(value, int) and scaled(name, value, CHANGES[change]) == value
    return () if whole else REPORT_SEEDS


def shown(value):
    """Value of a constant, in a cell."""
    if isinstance(value, torch.Tensor):
        return f"{value[0]:.4g} to {value[-1]:.4g}"
    if isinstance(value, tuple):
        return ", ".join(f"{entry:.4g}" for entry in value)
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def _worst(rows):
    """Worst change of a score, with its problem."""
    if not rows:
        return "-"
    change, problem = min((r["score"] - r["default score"], r["problem"]) for r in rows)
    return f"{change:+.3f} ({problem})" if abs(change) >= 5e-4 else "0"


def table(results):
    lines = []
    for constant in NAMES:
        rows = [r for r in results if r["constant"] == constant]
        if not rows:
            continue
        module, name = split(constant)
        cells = [_worst([r for r in rows if r["change"] == c]) for c in CHANGES]
        own = constant.rsplit(".", 1)[0]
        lines.append([f"`{own}`", f"`{name}`", shown(getattr(module, name)), *cells])
    return markdown(["module", "constant", "value", *CHANGES], lines)


PAGE_TEXT = """# Constants of the method

One constant at a time is set to half and to twice its value. The table has the largest loss of
score over {number} seeds and over the problems on which the constant can matter, and names the
problem. The score is D (DCI disentanglement). For "digits" it is the accuracy on held-out rows, for
"few rows" the mean R2 there, and for "new tasks" the mean R2 or accuracy of heads for new tasks.

In a tuple, all entries are changed. Whole numbers stay whole, and at least one. For `MEMORY`, its
distance from one is changed. Shares of a fit are at most one. "0" means a change of less than
0.0005, and "-" that the value stays the same.

```bash
python -m benchmarks.constants --jobs 2
```

- *three classes*: 20 tasks of three classes each, six factors of correlation 0.5, 1,000 rows.
- *labels missing*: 40 tasks, half of them binary, six factors of correlation 0.2, 70% of the
  labels missing, 600 rows. *bilevel* and *partial_fit* have the same rows.
- *digits*: `load_digits`, ten binary tasks, 700 rows.
- *few tasks*: 13 tasks of five factors, polynomial mixing, 800 rows.
- *few rows*: 60 regression tasks of six factors, whose labels are half noise, 150 rows.
- *far out*: 60 tasks of six factors, three of 1,000 rows 100 times as large as the others.
- *new tasks*: heads for six new tasks, half of them binary, from 15, 60 and 700 labels; *new
  counts*, half of them counts and half ratings.
- *ratings*: 24 ordinal tasks, six factors of correlation 0.5, 1,000 rows.

Seeds from {seed}; {machine}.

{table}

Constants that limit memory or time, or that decide when to warn, are not measured: {bounds}.
"""


def page(rows=None):
    """The page of the suite, with the saved results if there are any."""
    rows = load(RESULTS) if rows is None else rows
    if not rows:
        return ""
    bounds = [f"`{m}.{name}`" for m, names in BOUNDS.items() for name in names]
    numbers = {r["seed"] for r in rows}
    return PAGE_TEXT.format(
        number=len(numbers),
        seed=min(numbers),
        machine=rows[-1]["machine"],
        table=table(rows),
        bounds=", ".join(bounds),
    )


if __name__ == "__main__":
    # By its own name: other processes cannot be sent what __main__ keeps in a cache.
    import benchmarks.constants as suite

    main(
        __doc__,
        RESULTS,
        suite.run,
        {"constant": NAMES, "change": list(CHANGES), "problem": list(PROBLEMS)},
        seeds,
        table,
    )
