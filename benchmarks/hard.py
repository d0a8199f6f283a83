"""Suite "hard": known factors in data that are as hard as real ones.

    python -m benchmarks.hard --jobs 2              # the report
    python -m benchmarks.hard --seeds 100 102       # for development

Least squares finds little of the factors in the columns; labels are noisy, of three types, and
use some factors more than others. One thing was chosen on the report's seeds: how high the waves
are, so that least squares finds no more than 0.6 of the factors. No setting of ours was.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.cross_decomposition import PLSRegression
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from threadpoolctl import threadpool_limits

from benchmarks._rotations import TURNED, of_columns, of_predictions, varimax
from benchmarks._runs import load, main
from benchmarks._tables import interval, markdown
from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import tasks_from_factors
from skdisentangle.metrics import dci_scores, mcc_score

RESULTS = Path(__file__).parent / "results" / "hard.jsonl"
REPORT_SEEDS = range(5000, 5003)

N_TEST, N_FACTORS, N_COLUMNS = 2000, 6, 20

#: Coupling layers, the height and the frequency of their waves, and that of "waves".
N_LAYERS, HEIGHT, FREQUENCY = 4, 1.8, 1.5

#: Columns of "table" that come twice, and the numbers of values that they take in turn.
N_TWICE, N_VALUES = 6, (2, 3, 4, 5, 6)

#: Tasks are drawn from so many times as many, by how often their factors are to be used.
CANDIDATES = 5

TYPES = {"regression": 0.4, "binary": 0.4, "multiclass": 0.2}


# -- mixing: factors to columns ----------------------------------------------------------


def coupled(rng, factors, n_columns=N_COLUMNS):
    """Coupling layers, each of which adds waves of half of the directions to the others.

    They can be inverted: L. Dinh, J. Sohl-Dickstein and S. Bengio, "Density estimation using
    Real NVP", ICLR 2017.
    """
    n = factors.shape[1]
    half, hidden = n // 2, factors
    for _ in range(N_LAYERS):
        hidden = hidden @ np.linalg.qr(rng.normal(size=(n, n)))[0]
        kept, moved = hidden[:, :half], hidden[:, half:]
        slopes = FREQUENCY * rng.normal(size=(half, n - half)) / np.sqrt(half)
        phases = rng.uniform(0, 2 * np.pi, n - half)
        moved = moved + HEIGHT * np.sin(kept @ slopes + phases)
        hidden = np.hstack([kept, moved])
    return hidden @ np.linalg.qr(rng.normal(size=(n_columns, n)))[0].T


def waves(rng, factors):
    """Cosine and sine of random directions of the factors."""
    slopes = rng.normal(size=(factors.shape[1], N_COLUMNS // 2))
    phases = FREQUENCY * factors @ (slopes / np.linalg.norm(slopes, axis=0))
    return np.hstack([np.cos(phases), np.sin(phases)])


def table(rng, factors):
    """Coupling layers whose columns take two to six values, some columns twice."""
    hidden = coupled(rng, factors, N_COLUMNS - N_TWICE)
    columns = []
    for number, column in enumerate(hidden.T):
        n_values = N_VALUES[number % len(N_VALUES)]
        cuts = np.quantile(column, np.linspace(0, 1, n_values + 1)[1:-1])
        columns.append(np.searchsorted(cuts, column).astype(float))
    return np.column_stack([*columns, *columns[:N_TWICE]])


# -- problems ----------------------------------------------------------------------------

#: Case: what is another than in the first.
CASES = {
    "coupling layers": {},
    "waves": {"mixing": waves},
    "table": {"mixing": table},
    "half of each label is noise": {"noise": 0.5},
    "70% of each label is noise": {"noise": 0.7},
    "rho 0.5": {"correlation": 0.5},
    "15 tasks": {"n_tasks": 15},
    "1,000 rows": {"n_train": 1000},
    "table, rho 0.5, half is noise": {
        "mixing": table,
        "correlation": 0.5,
        "noise": 0.5,
    },
}


def problem(seed, n_train=4000, mixing=coupled, noise=0.3, correlation=0.3, n_tasks=30):
    """Columns, labels and factors; ``noise`` is its share of a value's variance."""
    rng = np.random.default_rng(seed)
    among = np.full((N_FACTORS, N_FACTORS), correlation)
    np.fill_diagonal(among, 1.0)
    n_rows = n_train + N_TEST
    factors = rng.normal(size=(n_rows, N_FACTORS)) @ np.linalg.cholesky(among).T
    X = mixing(rng, factors)
    drawn = tasks_from_factors(
        factors,
        n_tasks=CANDIDATES * n_tasks,
        task_types=TYPES,
        n_classes=3,
        noise=np.sqrt(noise / (1 - noise)),
        random_state=seed,
    )
    # Tasks have one to three factors, so that the first comes in twice as many as the last.
    use = 1 / np.arange(1, N_FACTORS + 1)
    weight = (drawn.supports * use).sum(1) / drawn.supports.sum(1)
    own = rng.choice(len(weight), n_tasks, replace=False, p=weight / weight.sum())
    types = [drawn.task_types[task] for task in own]
    return X, drawn.Y[:, own], factors, types, drawn.supports[own]


# -- methods -----------------------------------------------------------------------------


def disentangler(types, seed, **settings):
    return SparseSharedDisentangler(task_types=types, random_state=seed, **settings)


def ours(**settings):
    def features(X, Y, types, rows, seed):
        return disentangler(types, seed, **settings).fit(X, Y).transform(rows)

    return features


def turned(turn):
    """Components of the network without penalties, told the number of factors."""

    def features(X, Y, types, rows, seed):
        settings = {"sparsity": 0, "sharing": 0, "n_components": N_FACTORS}
        estimator = disentangler(types, seed, **settings).fit(X, Y)
        return turn(estimator, X, rows, seed, N_FACTORS)

    return features


def indicators(Y, types):
    """Labels as numbers: a column for each class of a task of several."""
    columns = []
    for labels, kind in zip(Y.T, types, strict=True):
        if kind == "multiclass":
            columns += [labels == value for value in np.unique(labels)]
        else:
            columns.append(labels)
    return np.column_stack(columns).astype(float)


def pls(X, Y, types, rows, seed):
    labels, model = indicators(Y, types), PLSRegression(N_FACTORS)
    return of_predictions(model, X, labels, rows, varimax, N_FACTORS)


def pca(X, Y, types, rows, seed):
    return of_columns(X, rows, varimax, N_FACTORS)


OURS = "ours"
METHODS = {
    OURS: ours(),
    "ours, linear encoder": ours(encoder="linear"),
    **{f"no penalties, {name}": turned(turn) for name, turn in TURNED.items()},
    "PLS predictions, varimax": pls,
    "PCA of X, varimax": pca,
}


def run(case, method, seed):
    """One fit and its scores on rows that it has not seen."""
    options = CASES[case]
    X, Y, factors, types, supports = problem(seed, **options)
    n_train = len(X) - N_TEST
    fit, test = slice(n_train), slice(n_train, None)
    torch.set_num_threads(1)
    start = time.process_time()
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)
        codes = METHODS[method](X[fit], Y[fit], types, X[test], seed)
    seconds = time.process_time() - start
    width = max(N_FACTORS, codes.shape[1])
    padded = np.pad(codes, ((0, 0), (0, width - codes.shape[1])))
    dci = dci_scores(factors[test], padded, importance="fast_boosting", random_state=0)
    linear = LinearRegression().fit(X[fit], factors[fit]).predict(X[test])
    return {
        "case": case,
        "method": method,
        "seed": seed,
        "disentanglement": dci.disentanglement,
        "completeness": dci.completeness,
        "mcc": mcc_score(factors[test], codes),
        "active": int(codes.shape[1]),
        "linear": float(r2_score(factors[test], linear)),
        "least_used": int(supports.sum(0).min()),
        "seconds": seconds,
    }


# -- report ------------------------------------------------------------------------------


def _row(case, method, own, mine):
    gaps = [mine[r["seed"]] - r["disentanglement"] for r in own if r["seed"] in mine]
    active = sorted({r["active"] for r in own})
    return [
        case,
        method,
        *(
            f"{np.mean([r[key] for r in own]):.3f}"
            for key in ("disentanglement", "completeness", "mcc")
        ),
        f"{min(r['mcc'] for r in own):.3f}",
        interval(gaps) if len(gaps) > 1 and method != OURS else "",
        " to ".join(map(str, dict.fromkeys((active[0], active[-1])))),
        f"{np.median([r['seconds'] for r in own]):.1f}",
    ]


def results_table(rows):
    lines = []
    for case in CASES:
        here = [row for row in rows if row["case"] == case]
        mine = {r["seed"]: r["disentanglement"] for r in here if r["method"] == OURS}
        shown = "no run"
        if here:
            shown = f"{case} ({np.mean([row['linear'] for row in here]):.2f})"
        for method in METHODS:
            own = [row for row in here if row["method"] == method]
            if own:
                lines.append(_row(shown, method, own, mine))
    heads = (
        "case (R2 of least squares), method, D, C, MCC, worst MCC, D of ours less it"
    )
    return markdown([*heads.split(", "), "components", "fit (CPU s)"], lines)


PAGE_TEXT = """# Known factors in hard data

```bash
python -m benchmarks.hard --jobs 2
```

Unless a case says otherwise, there are 4,000 rows of 20 columns, six factors that correlate by 0.3,
and 30 tasks of one to three factors. Of the tasks, 40% are regressions, 40% are binary and 20% have
three classes. Noise is 30% of the variance behind each label. About twice as many tasks use the
first factor as the last. Columns are made in one of three ways: by four coupling layers; by waves
(cosine and sine of random directions); or by coupling layers whose columns are rounded to two to
six values, with six of the columns there twice ("table"). The number in brackets is the R2 of
least squares, from the columns to the factors, on rows that it has not seen. For the "two-layer
mixing" of the other suites it is about 0.96. The height of the waves in the coupling layers was
raised until this R2 was at most 0.6 on these seeds.

"Ours" is not told the number of factors. All rows with a rotation or ICA are told that there are
six. "No penalties" is the same network with `sparsity=0` and `sharing=0`. D and C are DCI with
the importance `"fast_boosting"`, and MCC is the mean correlation of matched components. All are
computed on 2,000 rows that no fit has seen: mean over {n_seeds} seeds, and the worst. "D of ours
less it" has a paired 95% interval over seeds.
"""


def page(rows=None):
    """The page of the suite, with the saved results if there are any."""
    rows = load(RESULTS) if rows is None else rows
    text = PAGE_TEXT.format(n_seeds=len(REPORT_SEEDS))
    if not rows:
        return text
    first, said = REPORT_SEEDS[0], rows[-1]["machine"]
    return f"{text}\nSeeds from {first}; {said}.\n\n{results_table(rows)}\n"


if __name__ == "__main__":
    main(
        __doc__,
        RESULTS,
        run,
        {"case": list(CASES), "method": list(METHODS)},
        lambda case, method: REPORT_SEEDS,
        results_table,
    )
