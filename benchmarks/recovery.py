"""Suite "recovery": do default settings recover known factors, and at what cost?

    python -m benchmarks.recovery                  # the report, about 10 minutes
    python -m benchmarks.recovery --seeds 100 103  # other seeds, for development

Six factors, 60 tasks of one to three factors, half regression and half binary, 4,000
rows, 2-layer mixing to 20 columns, except as a case says. Importances are those of
``GradientBoostingRegressor`` with its defaults on 2,000 held-out rows; components that are
not in use count as constant columns. Nothing was chosen on the report's seeds.

The time of a fit is compared, in the same process and one after the other, with a bare
torch loop: the same body, batches, epochs and optimiser, with dense linear heads.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import entropy
from sklearn.base import clone
from sklearn.ensemble import GradientBoostingRegressor
from threadpoolctl import threadpool_limits

from benchmarks._runs import load, main
from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors
from skdisentangle.encoders.networks import build_body
from skdisentangle.fitting.fit import budget
from skdisentangle.fitting.problem import Settings

N_TRAIN, N_TEST = 4000, 2000
RESULTS = Path(__file__).parent / "results" / "recovery.jsonl"

#: Case: (number of components, options of the problem).
CASES = {
    "6 components": (6, {}),
    "20 components": (20, {}),
    "6 components, half unlabelled": (6, {"missing": 0.5}),
    "20 components, half unlabelled": (20, {"missing": 0.5}),
    "6 components, thresholded labels": (6, {"link": "threshold"}),
    "20 components, thresholded labels": (20, {"link": "threshold"}),
}
#: The range that the defaults are meant for; 20 components.
RANGE = {
    "linear mixing": {"mixing": "linear"},
    "500 rows": {"n_train": 500},
    "20,000 rows": {"n_train": 20_000},
    "50,000 rows, 100 columns, 100 tasks": {
        "n_train": 50_000,
        "n_features": 100,
        "n_tasks": 100,
    },
    "500 columns": {"n_features": 500},
    "15 tasks": {"n_tasks": 15},
    "30 tasks": {"n_tasks": 30},
    "200 tasks": {"n_tasks": 200},
    "binary tasks only": {"task_types": "binary"},
    "regression tasks only": {"task_types": "regression"},
    "20 of the tasks with 4 classes": {
        "task_types": {"multiclass": 2, "binary": 1, "regression": 3}
    },
}
CASES |= {name: (20, options) for name, options in RANGE.items()}
REPORT_SEEDS = {
    name: range(5000, 5003) if name in RANGE else range(5000, 5005) for name in CASES
}


def dci(factors, codes, n_codes=None):
    """Disentanglement and completeness (Eastwood & Williams, ICLR 2018).

    With ``n_codes`` there are so many codes, of which those not given are constant.
    """
    columns = [
        GradientBoostingRegressor(random_state=0).fit(codes, f).feature_importances_
        for f in factors.T
    ]
    importance = np.array(columns).T
    n_factors = importance.shape[1]
    n_codes = n_codes or len(importance)
    rows, total = importance.sum(1), importance.sum()
    used = rows > 0
    by_code = 1 - entropy(importance[used], axis=1) / np.log(n_factors)
    by_factor = 1 - entropy(importance, axis=0) / np.log(n_codes)
    return float(by_code @ rows[used] / total), float(by_factor.mean())


def bare_loop(problem, estimator, n_train=N_TRAIN):
    """CPU seconds of a plain torch loop that fits the same network to the same labels.

    Labels of more than two classes count as numbers.
    """
    X = problem.X[:n_train]
    Y = problem.Y[:n_train]
    start = time.process_time()
    rows = torch.from_numpy((X - X.mean(0)) / X.std(0)).float()
    binary = torch.tensor([t == "binary" for t in problem.task_types])
    order = torch.argsort(binary.int(), stable=True)
    n_regression = int((~binary).sum())
    mean, scale = np.nanmean(Y, 0), np.nanstd(Y, 0)
    scaled = np.where(binary.numpy(), Y, (Y - mean) / scale)
    labelled = torch.from_numpy(~np.isnan(Y)).float()[:, order]
    targets = torch.from_numpy(np.nan_to_num(scaled)).float()[:, order]
    body = build_body(
        "mlp",
        n_features=X.shape[1],
        n_components=estimator.n_components,
        hidden_layer_sizes=estimator.hidden_layer_sizes,
        input_shape=None,
        seed=0,
    )
    heads = torch.nn.Linear(estimator.n_components, Y.shape[1])
    optimizer = torch.optim.Adam(
        [*body.parameters(), *heads.parameters()],
        lr=estimator.learning_rate_init,
        fused=True,
    )
    complete = bool(labelled.all())
    settings = Settings.of(estimator, estimator.sparsity_, estimator.sharing_)
    n_batches = -(-n_train // budget(n_train, settings)[0])
    for _ in range(estimator.n_iter_):
        for index in torch.randperm(n_train).tensor_split(n_batches):
            scores = heads(body(rows[index]))
            truth = targets[index]
            squared = (scores[:, :n_regression] - truth[:, :n_regression]).square() / 2
            logistic = torch.nn.functional.binary_cross_entropy_with_logits(
                scores[:, n_regression:], truth[:, n_regression:], reduction="none"
            )
            if not complete:
                squared = squared * labelled[index, :n_regression]
                logistic = logistic * labelled[index, n_regression:]
            loss = (squared.sum() + logistic.sum()) / truth.numel()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return time.process_time() - start


def timed_fit(estimator, X, Y):
    """CPU seconds of a fit."""
    start = time.process_time()
    estimator.fit(X, Y)
    return time.process_time() - start


def run(case, seed):
    torch.set_num_threads(1)
    with threadpool_limits(1):
        return measured(case, seed)


def measured(case, seed):
    n_components, options = CASES[case]
    options = dict(options)
    n_train = options.pop("n_train", N_TRAIN)
    options = {"link": "logistic"} | options
    problem = make_multitask_factors(n_train + N_TEST, random_state=seed, **options)
    estimator = SparseSharedDisentangler(n_components, random_state=seed)
    labelled = problem.X[:n_train], problem.Y[:n_train]
    seconds = timed_fit(estimator, *labelled)
    chosen = estimator.input_noise_, estimator.nonlinear_noise_
    given = clone(estimator).set_params(input_noise=chosen)
    seconds_given = timed_fit(given, *labelled)
    bare = bare_loop(problem, estimator, n_train)
    result = {
        "case": case,
        "seed": seed,
        "seconds": seconds,
        "ratio": seconds / bare,
        # The bare loop takes as long for each epoch.
        "ratio_given": seconds_given / bare * estimator.n_iter_ / given.n_iter_,
        "n_iter": estimator.n_iter_,
        "active": estimator.coef_.shape[1],
        "nonzeros": float((estimator.coef_ != 0).sum() / problem.supports.sum()),
    }
    codes = estimator.transform(problem.X[n_train:])
    factors = problem.factors[n_train:]
    both = np.corrcoef(factors.T, codes.T)
    n_factors = factors.shape[1]
    result["correlation"] = float(np.abs(both[:n_factors, n_factors:]).max(1).min())
    result["disentanglement"], result["completeness"] = dci(
        factors, codes, n_components
    )
    return result


def table(results):
    heads = "case,seeds,D median,D worst,C median,C worst,worst correlation,active"
    heads = [
        *heads.split(","),
        "fit (CPU s)",
        "fit / bare loop",
        "the same, noise given",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for case in CASES:
        rows = [r for r in results if r["case"] == case]
        if not rows:
            continue
        value = {key: [r[key] for r in rows] for key in rows[0]}
        d, c = value["disentanglement"], value["completeness"]
        active = sorted(set(value["active"]))
        cells = [
            case,
            str(len(rows)),
            *(f"{cell:.4f}" for cell in (np.median(d), min(d), np.median(c), min(c))),
            f"{min(value['correlation']):.3f}",
            ", ".join(f"{a} ({value['active'].count(a)}x)" for a in active),
            f"{np.median(value['seconds']):.1f}",
            *(
                f"{np.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
                for ratios in (value["ratio"], value["ratio_given"])
            ),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


PAGE_TEXT = """# Recovery of known factors

```bash
python -m benchmarks.recovery
```

There are 4,000 rows of 20 columns (2-layer mixing), six factors, and 60 tasks of one to three
factors, half regression and half binary. In the lower part of the table there are 20 components,
and one thing is changed at a time. D and C are DCI disentanglement and completeness (Eastwood &
Williams, ICLR 2018) with the importances of `GradientBoostingRegressor`, on 2,000 held-out rows.
Unused components count as constant columns. "Worst correlation" is that of a factor with its best
component, over seeds and factors. "Active" is the number of components that some task uses. Six
are needed. The last columns have the CPU time of the whole fit divided by that of a bare torch loop
with the same body, batches, epochs and optimiser, and dense linear heads. Both run in one process,
on one thread. By default, short fits choose the noise first. In the last column, the chosen noise
is given. Cells have the median, and the range over seeds.

Seeds from {seed}; {machine}.

{table}

Fewer tasks, and correlated factors, are in [the suite "method"](method.md).
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


if __name__ == "__main__":
    main(
        __doc__,
        RESULTS,
        run,
        {"case": list(CASES)},
        REPORT_SEEDS.__getitem__,
        table,
    )
