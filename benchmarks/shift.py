"""Suite "shift": features fitted on some domains of real data, used on another.

    python -m benchmarks.shift --jobs 2                   # the report
    python -m benchmarks.shift --sets watch --methods raw ours --seeds 0 1

See :mod:`benchmarks._real` for the sets and how to get them. Methods of packages that are not
installed are named and left out; what is saved of them stays. Of the source domains 64% of
the rows are fitted on, 16% choose the strengths of heads, and 20% score in-domain; all rows
of the domain left out score under shift. Nothing is chosen on them.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from benchmarks._features import (
    ALIGNMENT,
    BESIDE,
    CORAL,
    METHODS,
    MLP,
    OURS,
    RAW,
    SHARES,
    Training,
    as_labels,
    best_head,
    group_weights,
    quality,
    quietly,
    refit_head,
    with_subsets,
)
from benchmarks._peers import FEW_COMPONENTS, STEPS, missing_peer
from benchmarks._real import LOADERS, groups_of, loaded, shifts
from benchmarks._runs import load, main
from benchmarks._tables import TIE, duel, interval, markdown

RESULTS = Path(__file__).parent / "results" / "shift.jsonl"
SETS = [name for name in LOADERS if name != "yeast"]  # which has no domains
FIRST_SEED, N_SEEDS = 5000, 5

FIT, CHOOSE = 0.64, 0.8

#: Rows with a label, in each part, for the label to be scored.
LEAST = 10


def parts(rows, seed):
    """Rows to fit on, to choose strengths on, and to score in-domain."""
    rows = np.random.default_rng(seed).permutation(rows)
    return np.split(rows, [round(FIT * len(rows)), round(CHOOSE * len(rows))])


def _plain(kind, known, seed, scaler=None):
    (rows, labels, _), (other_rows, other_labels, _) = known
    others = (other_rows, other_labels)
    return best_head(kind, (rows, labels), others, scaler=scaler)


def _weighted(kind, known, seed, scaler=None):
    (rows, labels, groups), (other_rows, other_labels, _) = known
    weight = group_weights(labels, groups, kind)
    return best_head(kind, (rows, labels), (other_rows, other_labels), weight, scaler)


def _refit(kind, known, seed, scaler=None):
    _, (rows, labels, groups) = known
    return refit_head(kind, rows, labels, group_weights(labels, groups, kind), seed)


#: Heads that are told the domains of the source, and what they are tried on.
GROUP_HEADS = {"groups weighted": _weighted, "last layer refit": _refit}
WITH_GROUP_HEADS = {
    RAW: ["groups weighted"],
    MLP: ["last layer refit"],
    OURS: list(GROUP_HEADS),
}

#: What a method is told beside rows and labels of the source.
TOLD = dict.fromkeys(GROUP_HEADS, "source's domains")
TOLD |= dict.fromkeys((CORAL, ALIGNMENT), "target's rows")


def _score_label(
    column, kind, Z, picked, head=_plain, groups=None, seed=0, scaler=None
):
    """Score where strengths are chosen, in-domain and shifted; None if too few rows.

    Of ``picked``, the first two parts are for the head, which may be told their groups.
    """
    labels, known = as_labels(column, kind)
    rows = [part[known[part]] for part in picked]
    if min(map(len, rows)) < LEAST:
        return None
    if kind != "regression" and min(len(np.unique(labels[r])) for r in rows) < 2:
        return None
    for_head = [
        (Z[r], labels[r], None if groups is None else groups[r]) for r in rows[:2]
    ]
    model, chosen = head(kind, for_head, seed, scaler)
    others = [quality(labels[r], model, Z[r], kind) for r in rows[2:]]
    return [chosen, *others]


def run(name, method, seed):
    """All shifts of a set: a method is fitted once for each."""
    real = loaded(name)
    found = {}
    start = time.process_time()
    for shift, source, target in shifts(real):
        fit, choose, test = parts(np.flatnonzero(source), seed)
        picked = (fit, choose, test, np.flatnonzero(target))
        tasks, types = with_subsets(real, real.Y.iloc[fit], seed)
        classes = None if real.classes is None else real.Y[real.classes].to_numpy()[fit]
        training = Training(real.X[fit], tasks, types, classes, seed, real.X[target])
        begun = time.process_time()
        variants = quietly(method, training)
        seconds = time.process_time() - begun
        groups = groups_of(real, source)
        for variant, features in variants.items():
            Z = features.of(real.X, target)
            heads = {variant: _plain}
            if groups is not None:
                for one in WITH_GROUP_HEADS.get(variant, []):
                    heads[f"{variant}, {one}"] = GROUP_HEADS[one]
            for row, head in heads.items():
                scores = {}
                for label, kind in real.types.items():
                    columns = features.columns(label, Z.shape[1])
                    scores[label] = _score_label(
                        real.Y[label],
                        kind,
                        Z[:, columns],
                        picked,
                        head,
                        groups,
                        seed,
                        features.scaler(len(columns)),
                    )
                scores = {k: np.round(v, 4).tolist() for k, v in scores.items() if v}
                found.setdefault(row, {})[shift] = {
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


#: Variants that are counted against all others, as the table names them.
DUELLISTS = {
    OURS: "ours",
    BESIDE: "beside the raw columns",
    BESIDE + SHARES: "beside, equal shares",
}


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


def told(variant):
    """What a row was told beside rows and labels of the source; empty if nothing."""
    return next((what for end, what in TOLD.items() if variant.endswith(end)), "")


def is_ours(variant):
    """Whether it is one of ours, told nothing more."""
    return variant.startswith(OURS) and not told(variant)


def picked_baseline(found, seed, shift):
    """The baseline that does best where strengths are chosen: no target is looked at.

    Of those that are told nothing more. For each shift its own, as the target of one is in
    the source of the others.
    """
    others = [
        v
        for v in found
        if not v.startswith(OURS) and not told(v) and shift in found[v].get(seed, {})
    ]
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
        short = (
            f" ({len(seeds)} of {len(found[RAW])} seeds)"
            if len(seeds) < len(found[RAW])
            else ""
        )
        lines.append(
            [
                variant + short,
                told(variant),
                f"{np.mean([mean_score(runs[s], IN_DOMAIN) for s in seeds]):.3f}",
                f"{np.mean(list(values.values())):.3f}",
                f"{np.mean([worst(runs[s]) for s in seeds]):.3f}",
                "" if variant == RAW else interval(gap),
                f"{np.median(features):.0f}",
                f"{np.median(seconds):.1f}",
            ]
        )
    heads = (
        "features, told, in-domain, shifted, worst domain, shifted less raw columns, "
        "number, fit (CPU s)"
    )
    return markdown(heads.split(", "), lines)


def goal_table(all_found):
    """Against the baseline that the source picks, and against raw columns."""
    lines = []
    for name, found in all_found.items():
        for ours in filter(is_ours, found):
            seeds = sorted(set(found[ours]) & set(found[RAW]))
            mine = [mean_score(found[ours][s], SHIFTED) for s in seeds]
            picked, theirs = [], []
            for seed in seeds:
                best = {d: picked_baseline(found, seed, d) for d in found[ours][seed]}
                picked += best.values()
                results = {d: found[v][seed][d] for d, v in best.items()}
                theirs.append(mean_score(results, SHIFTED))
            base = [mean_score(found[RAW][s], SHIFTED) for s in seeds]
            names = sorted(set(picked), key=lambda v: (-picked.count(v), v))
            lines.append(
                [
                    name,
                    ours,
                    "; ".join(names),
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
        line = [other, told(other)]
        for ours in DUELLISTS:
            gaps = []
            for found in all_found.values():
                for seed in set(found.get(other, {})) & set(found.get(ours, {})):
                    for shift, result in found[other][seed].items():
                        mine = mean_score({0: found[ours][seed][shift]}, SHIFTED)
                        gaps.append(mine - mean_score({0: result}, SHIFTED))
            line += duel(gaps)
        lines.append(line)
    heads = ["against", "told"]
    for ours in DUELLISTS.values():
        heads += [f"{ours}: wins / ties / losses", "mean difference"]
    return markdown(heads, lines)


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
"worst domain" is the least over domains, which are the groups here. All make {components}
components where they can choose; NCA, on 600 rows and 50 principal components, 20; CEBRA and
UMAP {few}. LDA and NCA are fitted where there is a label with classes. "number" is how many
columns the head gets. In brackets 95% intervals over seeds, paired. "picked on the source"
is, for each domain left out, the best where strengths are chosen of the features that are not
ours and are told nothing more.

"told" is what a row has seen beside rows and labels of the source:

- the source's domains. "Groups weighted": for the head, each pair of a domain and a class has
  the same weight, of a measurement each domain. "Last layer refit" is deep feature reweighting:
  the head is fitted, with these weights, on the 16% that the features have not seen, half of
  which choose its strength. For the watch by arm the groups are its wearers. The emoji have
  neither: their source is one vendor.
- the target's rows, without labels: CORAL and subspace alignment, of skada.

"multi-head MLP" is the estimator without penalties; where there are such rows, "joint" is
the same network and noise with linear heads, all trained at once by Adam on the mean loss,
for {steps:,} steps (300 when this table was made); "UPGrad" the same by the Jacobian descent of
torchjd. "Parametric UMAP", of torchdr, is that network, too, and sees no labels.
"Ours, sparsity chosen" chooses it on
rows of the source that it holds back; "the label's own components" are those that its
sparse head in the fit uses. "Equal shares" are of the variance: all components together have
that of all raw columns together (`BlockScaler`), where else each column has the same. A row
that a set does not have was not run on it: other packages are left out where they are not
installed, and some take long. With chemicals, vader and watch, "sparsity chosen" was run before
the last change to how noise is drawn. Fit times are of a machine that did other things, too.

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
        few=FEW_COMPONENTS,
        steps=STEPS,
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
        missing=lambda name, method: missing_peer(method),
    )
