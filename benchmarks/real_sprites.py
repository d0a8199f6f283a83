"""Suite "real_sprites": six known factors of sprites of a game, from pixels.

    python -m benchmarks.real_sprites --data DATA             # the report
    python -m benchmarks.real_sprites --data DATA --seeds 100 101

The sprites are those of Y. Li and S. Mandt, "Disentangled sequential autoencoder", ICML 2018
(https://github.com/YingzhenLi/Sprites; CC-BY-SA 3.0 and GPL 3.0). ``Sprites_static_64.npz`` holds
one frame of each: ``imgs`` (uint8, 64 x 64 x 3), ``factors`` (codes of the values) and
``factor_names``. All combinations of six factors are there: body, bottomwear, topwear and hair of
six values, action and direction of three.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from benchmarks import _runs
from benchmarks._real import find_file
from benchmarks._rotations import promax_of_heads
from benchmarks._runs import load
from benchmarks._tables import markdown
from skdisentangle import SparseSharedDisentangler
from skdisentangle.metrics import dci_scores, mcc_score

RESULTS = Path(__file__).parent / "results" / "real_sprites.jsonl"
FIRST_SEED, N_SEEDS = 5000, 1

FILE = "Sprites_static_64.npz"
SOURCE = "Make it of https://github.com/YingzhenLi/Sprites as benchmarks/real_sprites.py says"

#: Sprites that are fitted on, and others that score.
N_TRAIN, N_TEST = 4000, 2000

#: Tasks of each factor that are random subsets of its values.
N_SUBSETS = 5


# -- tasks -------------------------------------------------------------------------------


def thresholds(factors, rng):
    """For each factor and each of its values but the last: is the code larger?"""
    return np.column_stack(
        [codes > value for codes in factors.T for value in np.unique(codes)[:-1]]
    )


def subsets(factors, rng):
    """For each factor: is the value one of some, drawn at random?"""
    tasks = []
    for codes in factors.T:
        values = np.unique(codes)
        for _ in range(N_SUBSETS):
            some = rng.choice(values, rng.integers(1, len(values)), replace=False)
            tasks.append(np.isin(codes, some))
    return np.column_stack(tasks)


CASES = {"thresholds of the codes": thresholds, "subsets of the values": subsets}


def sprites(seed):
    """Images, codes of their factors, and names of these; in random order."""
    with np.load(find_file(FILE, SOURCE)) as found:
        images, factors = found["imgs"], found["factors"]
        names = found["factor_names"].tolist()
    order = np.random.default_rng(seed).permutation(len(images))
    return images[order], factors[order].astype(int), names


# -- methods -----------------------------------------------------------------------------

OURS, PROMAX = "ours", "no penalties, promax of its heads"
METHODS = (OURS, PROMAX)


def features(method, X, Y, rows, seed, n_factors):
    settings = {"encoder": "conv", "task_types": "binary", "random_state": seed}
    if method == OURS:
        return SparseSharedDisentangler(**settings).fit(X, Y).transform(rows)
    free = SparseSharedDisentangler(n_factors, sparsity=0, sharing=0, **settings)
    return promax_of_heads(free.fit(X, Y), X, rows, seed, n_factors)


def run(case, method, seed):
    """One fit, and its scores on sprites that it has not seen."""
    images, factors, names = sprites(seed)
    Y = CASES[case](factors, np.random.default_rng([seed, 1])).astype(float)
    fit, test = slice(N_TRAIN), slice(N_TRAIN, N_TRAIN + N_TEST)
    torch.set_num_threads(1)
    start = time.process_time()
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        codes = features(method, images[fit], Y[fit], images[test], seed, len(names))
    seconds = time.process_time() - start
    width = max(len(names), codes.shape[1])
    padded = np.pad(codes, ((0, 0), (0, width - codes.shape[1])))
    scores = dci_scores(
        factors[test], padded, importance="fast_boosting", random_state=0
    )
    return {
        "case": case,
        "method": method,
        "seed": seed,
        "disentanglement": scores.disentanglement,
        "completeness": scores.completeness,
        "mcc": mcc_score(factors[test], codes),
        "components": int(codes.shape[1]),
        "n_tasks": Y.shape[1],
        "seconds": round(seconds, 1),
    }


# -- report ------------------------------------------------------------------------------


def table(rows):
    lines = []
    for case in CASES:
        for method in METHODS:
            own = [r for r in rows if (r["case"], r["method"]) == (case, method)]
            if own:
                numbers = sorted({row["components"] for row in own})
                lines.append(
                    [
                        f"{case}, {own[0]['n_tasks']}",
                        method,
                        *(
                            f"{np.mean([row[key] for row in own]):.3f}"
                            for key in ("disentanglement", "completeness", "mcc")
                        ),
                        " to ".join(map(str, dict.fromkeys((numbers[0], numbers[-1])))),
                        f"{np.median([row['seconds'] for row in own]):.0f}",
                    ]
                )
    heads = ["tasks", "method", "D", "C", "MCC", "components", "fit (CPU s)"]
    return markdown(heads, lines)


PAGE_TEXT = """# Sprites of a game

```bash
python -m benchmarks.real_sprites --data DATA
```

Sprites of 64 x 64 pixels in colour show a figure whose body, bottomwear, topwear, hair, action
and direction vary: six factors, of three or six values each, in all combinations
(`benchmarks/real_sprites.py` says where to get them). The encoder is `encoder="conv"`, from
pixels, fitted on {n_train:,} of them. Tasks are binary. *Thresholds* ask whether the number of a
factor's value is above a threshold. Then a factor has an order, and one component is enough for
it. *Subsets* ask whether the value of a factor is in a set of values that is drawn at random,
{n_subsets} times per factor. Then a factor has no order, and may need several components.

"Ours" has default settings. "No penalties" is the same network with `sparsity=0` and `sharing=0`,
and is told that there are six factors. D and C are DCI with the importance `"fast_boosting"`. MCC
is the mean correlation of the numbers of the values with their matched components. It is not
informative for subsets. All are computed on {n_test:,} sprites that no fit has seen.
"""


def page(rows=None):
    """The page of the suite, with the saved results if there are any."""
    rows = load(RESULTS) if rows is None else rows
    text = PAGE_TEXT.format(n_train=N_TRAIN, n_test=N_TEST, n_subsets=N_SUBSETS)
    if not rows:
        return text
    seeds = f"{N_SEEDS} seed{'s' * (N_SEEDS > 1)}, from {FIRST_SEED}"
    return f"{text}\n{seeds}; {rows[-1]['machine']}.\n\n{table(rows)}\n"


def missing(case, method):
    """What the data lack, and how to get it; None if nothing."""
    try:
        find_file(FILE, SOURCE)
    except FileNotFoundError as error:
        return f"The sprites are left out: {error}"
    return None


def main(arguments=None):
    _runs.main(
        __doc__,
        RESULTS,
        run,
        {"case": list(CASES), "method": list(METHODS)},
        lambda case, method: range(FIRST_SEED, FIRST_SEED + N_SEEDS),
        table,
        arguments,
        missing,
        reads_files=True,
    )


if __name__ == "__main__":
    main()
