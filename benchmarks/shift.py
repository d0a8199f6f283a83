"""Suite "shift": features fitted on some domains of real data, used on another.

    python -m benchmarks.shift --jobs 2                   # the report
    python -m benchmarks.shift --sets watch --methods raw ours --seeds 0 1

See :mod:`benchmarks._real` for the sets and how to get them. Of the source domains 64% of
the rows are fitted on, 16% choose the strengths of heads, and 20% score in-domain; all rows
of the domain left out score under shift. Nothing is chosen on them.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from benchmarks._features import (
    METHODS,
    OURS,
    RAW,
    Training,
    as_labels,
    best_head,
    quality,
    quietly,
    with_subsets,
)
from benchmarks._real import LOADERS, loaded, shifts
from benchmarks._runs import load, main
from benchmarks._tables import interval, markdown

RESULTS = Path(__file__).parent / "results" / "shift.jsonl"
SETS = [name for name in LOADERS if name != "yeast"]  # which has no domains
FIRST_SEED, N_SEEDS = 5000, 5

FIT, CHOOSE = 0.64, 0.8

#: Rows with a label, in each part, for the label to be scored.
LEAST = 10

#: Differences of scores, in points, within which two methods tie.
TIE = 0.005


def parts(rows, seed):
    """Rows to fit on, to choose strengths on, and to score in-domain."""
    rows = np.random.default_rng(seed).permutation(rows)
    return np.split(rows, [round(FIT * len(rows)), round(CHOOSE * len(rows))])


def _score_label(column, kind, Z, picked):
    """Score where strengths are chosen, in-domain and shifted; None if too few rows."""
    labels, known = as_labels(column, kind)
    rows = [part[known[part]] for part in picked]
    if min(map(len, rows)) < LEAST:
        return None
    if kind != "regression" and min(len(np.unique(labels[r])) for r in rows) < 2:
        return None
    fit_on, choose_on, *others = [(Z[part], labels[part]) for part in rows]
    head, chosen = best_head(kind, fit_on, choose_on)
    return [chosen, *(quality(truth, head, X, kind) for X, truth in others)]


def run(name, method, seed):
    """All shifts of a set: a method is fitted once for each."""
    real = loaded(name)
    found = {}
    start = time.process_time()
    for shift, source, target in shifts(real):
        fit, choose, test = parts(np.flatnonzero(source), seed)
        tasks, types = with_subsets(real, real.Y.iloc[fit], seed)
        classes = None if real.classes is None else real.Y[real.classes].to_numpy()[fit]
        training = Training(real.X[fit], tasks, types, classes, seed)
        begun = time.process_time()
        variants = quietly(method, training)
        seconds = time.process_time() - begun
        for variant, features in variants.items():
            Z = np.asarray(features.transform(real.X), dtype=float)
            scores = {}
            for label in real.Y:
                columns = features.columns(label, Z.shape[1])
                scores[label] = _score_label(
                    real.Y[label],
                    real.types[label],
                    Z[:, columns],
                    (fit, choose, test, np.flatnonzero(target)),
                )
            scores = {k: np.round(v, 4).tolist() for k, v in scores.items() if v}
            found.setdefault(variant, {})[shift] = {
                "labels": scores,
                "features": int((Z[fit].std(axis=0) > 0).sum()),
                "seconds": round(seconds, 2),
            }
    return {
        "set": name,
        "method": method,
        "seed": seed,
        "seconds": round(time.process_time() - start, 1),
        "found": found,
    }


# -- report ------------------------------------------------------------------------------

CHOSEN, IN_DOMAIN, SHIFTED = range(3)


def by_variant(rows):
    """{variant: {seed: {shift: result}}} of the rows of one set."""
    out = {}
    for row in rows:
        for variant, result in row["found"].items():
            out.setdefault(variant, {})[row["seed"]] = result
    return out


def mean_score(result, which):
    """Mean over shifts of the mean over labels."""
    return np.mean(
        [np.mean([s[which] for s in r["labels"].values()]) for r in result.values()]
    )


def worst(result):
    """Of a set with one shift a domain: the domain where the mean over labels is least."""
    return min(
        np.mean([s[SHIFTED] for s in r["labels"].values()]) for r in result.values()
    )


def picked_baseline(found, seed, shift):
    """The baseline that does best where strengths are chosen: no target is looked at.

    For each shift its own, as the target of one is in the source of the others.
    """
    others = [v for v in found if not v.startswith(OURS) and seed in found[v]]
    return max(others, key=lambda v: mean_score({0: found[v][seed][shift]}, CHOSEN))


def set_table(found):
    """A line a variant: in-domain, shifted, worst domain, difference to raw columns."""
    lines = []
    for variant, runs in found.items():
        seeds = sorted(set(runs) & set(found[RAW]))
        values = {s: mean_score(runs[s], SHIFTED) for s in seeds}
        gap = [values[s] - mean_score(found[RAW][s], SHIFTED) for s in seeds]
        features = [r["features"] for s in seeds for r in runs[s].values()]
        seconds = [r["seconds"] for s in seeds for r in runs[s].values()]
        lines.append(
            [
                variant,
                f"{np.mean([mean_score(runs[s], IN_DOMAIN) for s in seeds]):.3f}",
                f"{np.mean(list(values.values())):.3f}",
                f"{np.mean([worst(runs[s]) for s in seeds]):.3f}",
                "" if variant == RAW else interval(gap),
                f"{np.median(features):.0f}",
                f"{np.median(seconds):.1f}",
            ]
        )
    heads = (
        "features, in-domain, shifted, worst domain, shifted less raw columns, "
        "number, fit (CPU s)"
    )
    return markdown(heads.split(", "), lines)


def goal_table(all_found):
    """Against the baseline that the source picks, and against raw columns."""
    lines = []
    for name, found in all_found.items():
        for ours in (v for v in found if v.startswith(OURS)):
            seeds = sorted(set(found[ours]) & set(found[RAW]))
            mine = [mean_score(found[ours][s], SHIFTED) for s in seeds]
            picked, theirs = [], []
            for seed in seeds:
                best = {d: picked_baseline(found, seed, d) for d in found[ours][seed]}
                picked += best.values()
                results = {d: found[v][seed][d] for d, v in best.items()}
                theirs.append(mean_score(results, SHIFTED))
            base = [mean_score(found[RAW][s], SHIFTED) for s in seeds]
            names = sorted(set(picked), key=picked.count, reverse=True)
            lines.append(
                [
                    name,
                    ours,
                    ", ".join(names),
                    interval(np.subtract(mine, theirs)),
                    interval(np.subtract(mine, base)),
                ]
            )
    heads = ["set", "features", "picked on the source", "less it", "less raw columns"]
    return markdown(heads, lines)


def duel_table(all_found):
    """Wins, ties and losses of ours on single shifts and seeds."""
    against = list(dict.fromkeys(v for found in all_found.values() for v in found))
    lines = []
    for other in (v for v in against if not v.startswith(OURS)):
        gaps = []
        for found in all_found.values():
            for seed in set(found.get(other, {})) & set(found.get(OURS, {})):
                for shift, result in found[other][seed].items():
                    mine = mean_score({0: found[OURS][seed][shift]}, SHIFTED)
                    gaps.append(mine - mean_score({0: result}, SHIFTED))
        gaps = np.array(gaps)
        wins, losses = int((gaps > TIE).sum()), int((gaps < -TIE).sum())
        count = f"{wins} / {len(gaps) - wins - losses} / {losses}"
        lines.append([other, count, f"{gaps.mean():+.3f}"])
    return markdown(["against", "wins / ties / losses", "mean difference"], lines)


def table(rows):
    all_found = {}
    for name in SETS:
        found = by_variant([row for row in rows if row["set"] == name])
        if RAW in found and OURS in found:
            all_found[name] = found
    if not all_found:
        return ""
    parts_ = [goal_table(all_found), duel_table(all_found)]
    for name, found in all_found.items():
        parts_ += [f"**{name}**, {len(found[OURS])} seeds", set_table(found)]
    return "\n\n".join(parts_)


SECTION = """## Real data under shift

```bash
python -m benchmarks.shift --jobs 2
```

Real sets with several labels a row (`benchmarks/_real.py` says what they are and how to get
them); each domain is left out in turn. Images and texts are embeddings of frozen backbones.
Of the rows of the other domains 64% are fitted on, 16% choose the strength of the head, 20%
score in-domain; all rows of the domain left out score under shift. Every label is a task of
the fit; sets with fewer than ten get twenty class-subset tasks more. The head of a label is
a logistic regression or ridge, the same for all features. Scores are means over labels, then
over domains left out: accuracy of classes, AUC of binary labels, correlation of measurements.
"worst domain" is the least over domains. All make {components} components where they can
choose; NCA, on 600 rows and 50 principal components, 20; CEBRA 32. LDA and NCA are fitted
where there is a label with classes. "multi-head MLP" is the same network without penalties.
In brackets 95% intervals over seeds, paired. "picked on the source" is, for each domain left
out, the best of the features that are not ours where strengths are chosen.

Wins, ties (within {tie} points) and losses of ours are counted by domain and seed. Seeds are
splits of the same rows: the intervals are of these sets, and are narrower than those of
other data would be.

Seeds {first} to {last}; {machine}.

{tables}
"""


def section(rows=None):
    rows = load(RESULTS) if rows is None else rows
    if not rows:
        return ""
    from benchmarks._features import N_COMPONENTS

    seeds = [row["seed"] for row in rows]
    return SECTION.format(
        components=N_COMPONENTS,
        tie=100 * TIE,
        first=min(seeds),
        last=max(seeds),
        machine=rows[-1]["machine"],
        tables=table(rows),
    )


def seeds(name, method):
    return range(FIRST_SEED, FIRST_SEED + N_SEEDS)


if __name__ == "__main__":
    main(
        __doc__,
        RESULTS,
        run,
        {"set": SETS, "method": list(METHODS)},
        seeds,
        table,
    )
