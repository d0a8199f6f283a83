"""Suite "metrics": how do the metrics of disentanglement themselves behave?

    python -m benchmarks.metrics                  # the report, about 11 minutes
    python -m benchmarks.metrics --seeds 100 102  # other seeds, for development

Three questions. Does the default importance of DCI rank codes as gradient boosting
does, and at what cost? What does each metric say of codes whose faults are known? What
does it say of noise? Nothing was chosen on the report's seeds.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from itertools import combinations
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from scipy.linalg import expm
from scipy.stats import spearmanr
from sklearn.exceptions import ConvergenceWarning

from benchmarks._readme import machine, write_pages
from skdisentangle.datasets._factors import mix
from skdisentangle.metrics import dci_scores, disentanglement_report

RESULTS = Path(__file__).parent / "results" / "metrics.json"
SEEDS = range(5000, 5005)
N_ROWS = 500

#: Kinds of importance that are compared with "boosting".
KINDS = ["fast_boosting", "random_forest", "lasso", "linear"]
#: Cases whose scores by boosting differ by less count as equal.
LEAST_GAP = 0.02

#: Factors: number of classes of each (0 for a number), correlation of all pairs.
FACTORS = {
    "numbers": ((0,) * 4, 0.0),
    "6 numbers": ((0,) * 6, 0.0),
    "numbers, rho 0.5": ((0,) * 4, 0.5),
    "numbers, rho 0.9": ((0,) * 4, 0.9),
    "classes": ((2, 3, 5, 8), 0.0),
    "classes, rho 0.9": ((2, 3, 5, 8), 0.9),
    "10 classes": ((10, 10), 0.0),
    "6 of 2 classes": ((2,) * 6, 0.0),
    "numbers and classes": ((0, 0, 3, 8), 0.0),
}
#: Noise: the same.
NOISE_FACTORS = {
    "6 numbers": (0,) * 6,
    "6 of 10 classes": (10,) * 6,
    "6 of 2 to 10 classes": (2, 3, 4, 6, 8, 10),
    "5 numbers, 1 of 2 classes": (0, 0, 0, 0, 0, 2),
    "2 numbers": (0, 0),
}
#: (factors, rows, codes) of noise; the first few also by the slower importances.
NOISE = [
    ("6 numbers", 300, 6),
    ("6 numbers", 2000, 6),
    ("6 of 10 classes", 300, 6),
    ("6 of 10 classes", 2000, 6),
    ("6 of 2 to 10 classes", 300, 6),
    ("6 of 2 to 10 classes", 2000, 6),
    ("5 numbers, 1 of 2 classes", 2000, 6),
    ("6 numbers", 2000, 20),
    ("2 numbers", 2000, 6),
]
SLOWER_ON_NOISE = {
    ("6 numbers", 300): ["boosting", "random_forest", "lasso"],
    ("6 numbers", 2000): ["boosting", "lasso"],
    ("6 of 10 classes", 300): ["random_forest", "lasso"],
    ("6 of 10 classes", 2000): ["lasso"],
}
#: Factors of the timing -> kind -> how often; gradient boosting takes minutes.
N_TIMED = 10_000
TIMED = {
    "6 numbers": {"boosting": 3, "fast_boosting": 5, "lasso": 5, "linear": 5}
    | {"random_forest": 1},
    "6 of 10 classes": {"boosting": 1, "fast_boosting": 5, "lasso": 5, "linear": 5}
    | {"random_forest": 1},
}


def make_factors(rng, n_rows, classes, rho=0.0):
    """Equicorrelated normal values; factors of classes are cut at their quantiles.

    Returns the factors, which of them are discrete, and their standardised values.
    """
    shared = rng.normal(size=(n_rows, 1))
    own = rng.normal(size=(n_rows, len(classes)))
    factors = np.sqrt(rho) * shared + np.sqrt(1 - rho) * own
    for j, n_classes in enumerate(classes):
        if n_classes:
            ranks = factors[:, j].argsort().argsort()
            factors[:, j] = ranks * n_classes // n_rows
    values = (factors - factors.mean(0)) / factors.std(0)
    return factors, np.array(classes) > 0, values


def turned(values, rng, degrees):
    """Rotate all factors into one another, by `degrees` in the root mean square."""
    skew = rng.normal(size=(values.shape[1],) * 2)
    skew -= skew.T
    skew *= np.sqrt(len(skew)) / np.linalg.norm(skew)
    return values @ expm(np.deg2rad(degrees) * skew)


def noise(values, rng, scale=1.0):
    return scale * rng.normal(size=values.shape)


def merged(values, rng):
    """Three factors of two classes a code, which takes eight values."""
    return np.sign(values).reshape(len(values), -1, 3) @ [4.0, 2.0, 1.0]


#: Name -> codes of (standardised values of the factors, rng).
CODES = {
    "perfect": lambda v, rng: v,
    "turned 5°": lambda v, rng: turned(v, rng, 5),
    "turned 10°": lambda v, rng: turned(v, rng, 10),
    "turned 20°": lambda v, rng: turned(v, rng, 20),
    "turned 45°": lambda v, rng: turned(v, rng, 45),
    "turned at random": lambda v, rng: (
        v @ np.linalg.qr(rng.normal(size=(v.shape[1],) * 2))[0]
    ),
    "noisy": lambda v, rng: v + noise(v, rng, 0.4),
    "very noisy": lambda v, rng: v + noise(v, rng),
    "beside noise codes": lambda v, rng: np.hstack([v, noise(v, rng)]),
    "noisy, beside noise codes": lambda v, rng: np.hstack(
        [v + noise(v, rng, 0.4), noise(v, rng)]
    ),
    "turned 20°, beside dead codes": lambda v, rng: np.hstack(
        [turned(v, rng, 20), np.ones_like(v)]
    ),
    "each factor twice": lambda v, rng: (
        np.hstack([v, -v]) + noise(np.hstack([v, v]), rng, 0.1)
    ),
    "cubed": lambda v, rng: v**3,
    "nonlinear mixture": lambda v, rng: mix(rng, v, "mlp", v.shape[1], 2),
    "two factors missing": lambda v, rng: v[:, :-2],
    "two factors in a code": lambda v, rng: np.column_stack(
        [v[:, 0] + v[:, 1], v[:, 2:]]
    ),
    "noise": noise,
}
CODES_BY_FACTORS = {
    "numbers": list(CODES),
    "6 numbers": ["turned at random"],
    "numbers, rho 0.5": ["perfect", "turned 20°", "noisy"],
    "numbers, rho 0.9": ["perfect", "turned 5°", "turned 20°", "noisy"],
    "classes": [
        "perfect",
        "turned 10°",
        "turned 20°",
        "noisy",
        "noisy, beside noise codes",
        "each factor twice",
        "noise",
    ],
    "classes, rho 0.9": ["perfect", "turned 20°"],
    "10 classes": [
        "perfect",
        "turned 10°",
        "turned 20°",
        "very noisy",
        "noisy, beside noise codes",
    ],
    "6 of 2 classes": ["perfect", "three factors in a code"],
    "numbers and classes": ["perfect", "turned 20°", "noisy", "noise"],
}
CODES["three factors in a code"] = merged
CASES = [(f, codes) for f, names in CODES_BY_FACTORS.items() for codes in names]
#: The cases that every metric is shown.
PROFILED = [
    *[("numbers", codes) for codes in CODES_BY_FACTORS["numbers"]],
    ("6 numbers", "turned at random"),
    ("numbers, rho 0.5", "perfect"),
    ("numbers, rho 0.9", "perfect"),
    ("numbers, rho 0.9", "turned 5°"),
    ("classes", "perfect"),
    ("classes", "each factor twice"),
    ("classes, rho 0.9", "perfect"),
    ("10 classes", "perfect"),
    ("6 of 2 classes", "perfect"),
    ("6 of 2 classes", "three factors in a code"),
]


def all_scores(factors, is_discrete, codes):
    """All metrics but DCI, by their defaults."""
    report = disentanglement_report(factors, codes, discrete_factors=is_discrete)
    return {k: v for k, v in report.scores.items() if not k.startswith("dci")}


def dci(factors, is_discrete, codes, kind, n_jobs=None):
    with warnings.catch_warnings():
        # liblinear's, which say nothing of the ranking
        warnings.simplefilter("ignore", ConvergenceWarning)
        scores = dci_scores(
            factors,
            codes,
            importance=kind,
            discrete_factors=is_discrete,
            n_jobs=n_jobs,
        )
    return {
        f"D {kind}": scores.disentanglement,
        f"C {kind}": scores.completeness,
        f"I {kind}": scores.informativeness,
    }


def rounded(scores):
    return {name: round(float(score), 5) for name, score in scores.items()}


def score_case(case, seed, n_rows):
    """Every metric, and DCI by every kind of importance, of one set of codes."""
    rng = np.random.default_rng([seed, *"/".join(case).encode()])
    classes, rho = FACTORS[case[0]]
    if case[0] == "10 classes":
        n_rows *= 2
    factors, is_discrete, values = make_factors(rng, n_rows, classes, rho)
    codes = CODES[case[1]](values, rng)
    profiled = case in PROFILED
    scores = all_scores(factors, is_discrete, codes) if profiled else {}
    for kind in ["boosting", *KINDS]:
        scores |= dci(factors, is_discrete, codes, kind)
    return {"factors": case[0], "codes": case[1], "seed": seed} | rounded(scores)


def score_noise(case, seed):
    name, n_rows, n_codes = case
    rng = np.random.default_rng([seed, *name.encode(), n_rows, n_codes])
    factors, is_discrete, _ = make_factors(rng, n_rows, NOISE_FACTORS[name])
    codes = rng.normal(size=(n_rows, n_codes))
    scores = all_scores(factors, is_discrete, codes)
    kinds = SLOWER_ON_NOISE.get((name, n_rows), []) if n_codes == 6 else []
    for kind in ["fast_boosting", "linear", *kinds]:
        scores |= dci(factors, is_discrete, codes, kind)
    case = {"factors": name, "rows": n_rows, "codes": n_codes, "seed": seed}
    return case | rounded(scores)


def measure_time(n_rows):
    """Seconds of DCI by each kind with two threads, one after the other."""
    rows = []
    for name, repeats in TIMED.items():
        for repeat in range(max(repeats.values())):
            rng = np.random.default_rng(repeat)
            factors, is_discrete, values = make_factors(
                rng, n_rows, NOISE_FACTORS[name]
            )
            codes = np.hstack(
                [values + noise(values, rng, 0.3), rng.normal(size=(n_rows, 4))]
            )
            for kind, times in repeats.items():
                if repeat >= times:
                    continue
                start = time.perf_counter()
                dci(factors, is_discrete, codes, kind, n_jobs=2)
                seconds = round(time.perf_counter() - start, 3)
                rows.append({"factors": name, "kind": kind, "seconds": seconds})
    return rows


def measure(
    seeds=SEEDS, n_rows=N_ROWS, n_timed=N_TIMED, cases=CASES, noises=NOISE, jobs=1
):
    timed = measure_time(n_timed)  # first, while nothing else runs here
    parallel = Parallel(n_jobs=jobs)
    return {
        "machine": machine(),
        "seeds": list(seeds),
        "rows": n_rows,
        "timed rows": n_timed,
        "cases": parallel(
            delayed(score_case)(case, seed, n_rows) for case in cases for seed in seeds
        ),
        "noise": parallel(
            delayed(score_noise)(case, seed) for case in noises for seed in seeds
        ),
        "time": timed,
    }


def by_case(rows, *names):
    """Group rows by what they say under `names`, in the order they come."""
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def column(rows, name):
    return np.array([row[name] for row in rows])


def swaps(rows, score, kind, same_factors):
    """Pairs of cases that `kind` ranks against boosting, of those boosting tells apart.

    Returns the number of pairs told apart, over seeds, and the swapped ones by case.
    """
    n_pairs, swapped = 0, {}
    for one in by_case(rows, "seed").values():
        for a, b in combinations(one, 2):
            gap = a[f"{score} boosting"] - b[f"{score} boosting"]
            same = a["factors"] == b["factors"]
            if abs(gap) <= LEAST_GAP or (same_factors and not same):
                continue
            n_pairs += 1
            if gap * (a[f"{score} {kind}"] - b[f"{score} {kind}"]) < 0:
                pair = tuple((row["factors"], row["codes"]) for row in (a, b))
                swapped[pair] = swapped.get(pair, 0) + 1
    return n_pairs, swapped


def table(heads, rows):
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def share(count, total):
    return f"{count} of {total}" if total else "-"


def agreement_table(rows):
    heads = ["kind", "score", "rank correlation, median", "worst", "mean difference"]
    heads += ["largest", "swapped, same factors", "swapped, all"]
    lines = []
    for kind in KINDS:
        for score in "DC":
            ours, plain = f"{score} {kind}", f"{score} boosting"
            ranks = [
                spearmanr(column(one, ours), column(one, plain)).statistic
                for one in by_case(rows, "seed").values()
            ]
            gap = np.abs(column(rows, ours) - column(rows, plain))
            counts = []
            for same in (True, False):
                n_pairs, swapped = swaps(rows, score, kind, same)
                counts.append(share(sum(swapped.values()), n_pairs))
            line = [kind, score, f"{np.median(ranks):.3f}", f"{min(ranks):.3f}"]
            lines.append([*line, f"{gap.mean():.3f}", f"{gap.max():.3f}", *counts])
    return table(heads, lines)


def swapped_table(rows):
    """Where fast boosting ranks codes of the same factors otherwise."""
    lines = []
    cases = by_case(rows, "factors", "codes")
    for score in "DC":
        _, swapped = swaps(rows, score, "fast_boosting", True)
        for pair, count in swapped.items():
            medians = [
                f"{np.median(column(cases[case], f'{score} {kind}')):.3f}"
                for kind in ("boosting", "fast_boosting")
                for case in pair
            ]
            n_seeds = len(cases[pair[0]])
            (factors, first), (_, second) = pair
            line = [score, factors, first, second, f"{count} of {n_seeds}"]
            lines.append([*line, *(" / ".join(medians[i : i + 2]) for i in (0, 2))])
    heads = ["score", "factors", "first codes", "second codes", "seeds"]
    heads += ["boosting, first / second", "fast boosting, first / second"]
    return table(heads, lines) if lines else "There is none."


def kinds_table(rows):
    names = [f"D {kind}" for kind in ["boosting", *KINDS]]
    names += ["C boosting", "C fast_boosting"]
    lines = []
    for case, one in by_case(rows, "factors", "codes").items():
        middle = [f"{np.median(column(one, name)):.3f}" for name in names]
        gap = np.abs(column(one, "D fast_boosting") - column(one, "D boosting"))
        lines.append([*case, *middle, f"{gap.max():.3f}"])
    heads = ["factors", "codes", *names, "D: fast from boosting, largest"]
    return table(heads, lines)


def time_table(rows):
    heads = ["factors", "kind", "runs", "seconds (range)", "boosting's time / its own"]
    lines = []
    for (factors, kind), one in by_case(rows, "factors", "kind").items():
        seconds = column(one, "seconds")
        plain = by_case(rows, "factors", "kind")[factors, "boosting"]
        ratio = np.median(column(plain, "seconds")) / np.median(seconds)
        spread = f"{np.median(seconds):.2f} ({seconds.min():.2f}-{seconds.max():.2f})"
        lines.append([factors, kind, len(one), spread, f"{ratio:.1f}"])
    return table(heads, lines)


#: Score -> head of its column.
PROFILE = {
    "D fast_boosting": "D fast",
    "D linear": "D linear",
    "C fast_boosting": "C fast",
    "I fast_boosting": "I fast",
    "mcc_pearson": "MCC",
    "mcc_spearman": "MCC rank",
    "mig": "MIG",
    "sap": "SAP",
    "modularity": "modularity",
    "explicitness": "explicitness",
    "explicitness_curve": "DCI-ES E",
    "infom": "InfoM",
    "infoc": "InfoC",
    "infoe": "InfoE",
    "irs": "IRS",
    "factor_vae": "FactorVAE",
}


def profile_table(rows):
    shown = [row for row in rows if "mig" in row]
    lines = []
    ranges = []
    for case, one in by_case(shown, "factors", "codes").items():
        values = np.array([column(one, name) for name in PROFILE])
        if case[1] == "turned at random":
            ends = {"lowest": values.min(axis=1), "highest": values.max(axis=1)}
        else:
            ends = {"": np.median(values, axis=1)}
            ranges.append(np.ptp(values, axis=1))
        for end, scores in ends.items():
            name = f"{case[1]}, {end}" if end else case[1]
            lines.append([case[0], name, *(f"{score:.2f}" for score in scores)])
    if ranges:
        widest = [f"{spread:.2f}" for spread in np.max(ranges, axis=0)]
        lines.append(["largest range over seeds", "not turned at random", *widest])
    return table(["factors", "codes", *PROFILE.values()], lines)


def noise_table(rows):
    names = {f"{score} {kind}": None for score in "DC" for kind in ["boosting", *KINDS]}
    names = [*names, "I fast_boosting", *list(PROFILE)[4:]]
    groups = by_case(rows, "factors", "rows", "codes")
    lines = []
    for name in names:
        cells = []
        for one in groups.values():
            values = column(one, name) if name in one[0] else np.array([])
            cells.append(
                f"{values.mean():.3f} ({values.min():.3f}-{values.max():.3f})"
                if len(values)
                else ""
            )
        lines.append([PROFILE[name] if name in list(PROFILE)[4:] else name, *cells])
    heads = [f"{factors}: {n} x {m}" for factors, n, m in groups]
    return table(["score", *heads], lines)


PAGE_TEXT = """# The metrics themselves

```bash
python -m benchmarks.metrics
```

Seeds {first} to {last}; {machine}.

## Does fast boosting rank codes as gradient boosting does?

A *code* is any feature that a metric compares with the factors. These codes have known faults.
There are {rows} rows ({double} for factors of 10 classes). Every kind of importance scores the
same codes on the same split, with a third of the rows held out by default. "Numbers" are four
normal factors. "Classes" are factors of 2, 3, 5 and 8 classes. "10 classes" are two factors of 10
classes. Rho is the correlation of every pair of factors. "Turned" codes are the factors rotated
into one another, by that angle in the root mean square.

Rank correlation is Spearman's with `importance="boosting"`, over all cases of a seed. "Swapped"
counts the pairs of cases that a kind ranks the other way, among the pairs of the same factors that
boosting separates by more than {gap}. Differences are absolute, over all cases and seeds.

{agreement}

These are the codes of the same factors that fast boosting ranks the other way in some seed, with
medians over seeds:

{swapped}

Medians over seeds:

{kinds}

The next table has the time of `dci_scores` for {timed} rows, 10 codes (6 noisy factors and 4 of
noise) and 6 factors: median and range. One kind runs after the other in one process with two
threads. Slow kinds run only once.

{time}

## What each metric says of the same codes

Cells are medians over seeds. Metrics have their default settings.

{profile}

## Chance levels

Here the codes are normal noise, independent of the factors. Cells have the mean and range over
seeds. The heading of a column has the factors, then rows x codes.

{noise}
"""


def page(content=None):
    """The page of the suite, from the saved results unless given some."""
    if content is None:
        content = json.loads(RESULTS.read_text())
    cases = content["cases"]
    return PAGE_TEXT.format(
        first=min(content["seeds"]),
        last=max(content["seeds"]),
        machine=content["machine"],
        rows=content["rows"],
        double=2 * content["rows"],
        gap=LEAST_GAP,
        timed=f"{content['timed rows']:,}",
        agreement=agreement_table(cases),
        swapped=swapped_table(cases),
        kinds=kinds_table(cases),
        time=time_table(content["time"]),
        profile=profile_table(cases),
        noise=noise_table(content["noise"]),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs=2, metavar=("FIRST", "STOP"))
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    seeds = range(*options.seeds) if options.seeds else SEEDS
    content = measure(seeds, jobs=options.jobs)
    if options.seeds is None:
        RESULTS.parent.mkdir(exist_ok=True)
        # one line a row of results
        text = json.dumps(content).replace("}, {", "},\n{").replace("[{", "[\n{")
        RESULTS.write_text(text + "\n")
        write_pages()
    print(page(content))


if __name__ == "__main__":
    main()
