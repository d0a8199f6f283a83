"""Suite "recovery": do default settings recover known factors, and at what cost?

    python -m benchmarks.recovery                  # the report's seeds, ~15 minutes
    python -m benchmarks.recovery --seeds 100 103  # other seeds, for development

Six factors, 60 tasks of one to three factors, half regression and half binary, 4,000
rows, 2-layer mixing to 20 columns. Importances are those of
``GradientBoostingRegressor`` with its defaults on 2,000 held-out rows, all columns of
``transform`` included.

The time of a fit is compared, in the same process and one after the other, with a bare
torch loop: the same body, batches, epochs and optimiser, with dense linear heads.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import sklearn
import torch
from joblib import Parallel, delayed
from scipy.stats import entropy
from sklearn.ensemble import GradientBoostingRegressor

from benchmarks._problems import make_problem
from skdisentangle import SparseSharedDisentangler, __version__
from skdisentangle.encoders import build_body

REPORT_SEEDS = range(1000, 1010)
N_TRAIN, N_TEST = 4000, 2000

CASES = {
    "6 components": (6, {}),
    "20 components": (20, {}),
    "6 components, half unlabelled": (6, {"missing": 0.5}),
    "20 components, half unlabelled": (20, {"missing": 0.5}),
    "6 components, thresholded labels": (6, {"labels": "threshold"}),
    "20 components, thresholded labels": (20, {"labels": "threshold"}),
}


def dci(factors, codes):
    """Disentanglement and completeness (Eastwood & Williams, ICLR 2018)."""
    columns = [
        GradientBoostingRegressor(random_state=0).fit(codes, f).feature_importances_
        for f in factors.T
    ]
    importance = np.array(columns).T
    n_codes, n_factors = importance.shape
    rows, total = importance.sum(1), importance.sum()
    used = rows > 0
    by_code = 1 - entropy(importance[used], axis=1) / np.log(n_factors)
    by_factor = 1 - entropy(importance, axis=0) / np.log(n_codes)
    return float(by_code @ rows[used] / total), float(by_factor.mean())


def bare_loop(problem, estimator):
    """Seconds of a plain torch loop that fits the same network to the same labels."""
    X = problem.X[:N_TRAIN]
    Y = problem.Y[:N_TRAIN]
    start = time.perf_counter()
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
    n_batches = -(-N_TRAIN // 128)
    for _ in range(estimator.n_iter_):
        for index in torch.randperm(N_TRAIN).tensor_split(n_batches):
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
    return time.perf_counter() - start


def run(case, seed, score=True):
    n_components, options = CASES[case]
    problem = make_problem(seed, n_samples=N_TRAIN + N_TEST, **options)
    estimator = SparseSharedDisentangler(n_components, random_state=seed)
    start = time.perf_counter()
    estimator.fit(problem.X[:N_TRAIN], problem.Y[:N_TRAIN])
    seconds = time.perf_counter() - start
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    bare = bare_loop(problem, estimator)
    torch.set_num_threads(threads)
    result = {
        "case": case,
        "seed": seed,
        "seconds": seconds,
        "ratio": seconds / bare,
        "n_iter": estimator.n_iter_,
        "active": len(estimator.active_components_),
        "nonzeros": float((estimator.coef_ != 0).sum() / problem.supports.sum()),
    }
    codes = estimator.transform(problem.X[N_TRAIN:])
    factors = problem.factors[N_TRAIN:]
    both = np.corrcoef(factors.T, codes[:, estimator.active_components_].T)
    n_factors = factors.shape[1]
    result["correlation"] = float(np.abs(both[:n_factors, n_factors:]).max(1).min())
    if score:
        result["disentanglement"], result["completeness"] = dci(factors, codes)
    return result


def table(results):
    lines = [
        "| case | D median | D worst | C median | C worst | active | fit, s | fit / bare loop |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case in CASES:
        rows = [r for r in results if r["case"] == case]
        if not rows:
            continue
        d, c = ([r[k] for r in rows] for k in ("disentanglement", "completeness"))
        active = sorted({r["active"] for r in rows})
        seconds, ratio = (
            float(np.median([r[k] for r in rows])) for k in ("seconds", "ratio")
        )
        lines.append(
            f"| {case} | {np.median(d):.4f} | {min(d):.4f} | {np.median(c):.4f} | "
            f"{min(c):.4f} | {', '.join(map(str, active))} | {seconds:.1f} | "
            f"{ratio:.2f} |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs=2, metavar=("FIRST", "STOP"))
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--output", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    seeds = REPORT_SEEDS if options.seeds is None else range(*options.seeds)
    jobs = (delayed(run)(case, seed) for case in options.cases for seed in seeds)
    results = Parallel(n_jobs=options.jobs)(jobs)
    machine = (
        f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, scikit-learn {sklearn.__version__}, "
        f"skdisentangle {__version__}"
    )
    print(f"Seeds {seeds.start} to {seeds.stop - 1}; {machine}.\n")
    print(table(results))
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        report = {"machine": machine, "results": results}
        options.output.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
