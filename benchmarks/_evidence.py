"""The page of evidence: each claim with its numbers, from saved results.

A section is a function without arguments; it gives "" where there are no results yet. The
words of a section hold for any numbers: what is better or worse is counted by the code.
"""

from __future__ import annotations

import json
import re
import textwrap
from functools import partial

import numpy as np

from benchmarks import (
    _readme,
    cost,
    emotions,
    factors,
    gpu,
    hard,
    identifiability,
    known_factors,
    leakage,
    memory,
    new_tasks,
    real_images,
    real_sprites,
    real_tables,
    recovery,
    speed,
)
from benchmarks import method as problems
from benchmarks._runs import load
from benchmarks._tables import half_width, interval, markdown

#: Scores of real tables that differ by less count as equal.
TIE = 0.01

WHOLE = {"break_long_words": False, "break_on_hyphens": False}

#: Numbers of labels that the page shows.
FEW = real_tables.N_LABELS[:2]

START = """# Evidence

What was measured, where the package gains and where it loses. A program writes all numbers
and pictures of this page from saved results.

## How to read it

- **Ours** is `SparseSharedDisentangler` with its default settings, unless a row says otherwise.
- **No penalties** is the same network with `sparsity=0, sharing=0`. It shows what the penalties do.
- **D** (DCI disentanglement) measures separation: 1 is one factor per component, 0 is all mixed.
  It is computed with gradient boosting in recovery, method and ablations, and with a faster
  kind of boosting in all other suites. So compare D within a table, and not between suites.
- **Score** is R2 for measurements and AUC for yes or no, as a mean over tasks.
- **Ours less it** is a difference on the same splits, seeds or draws. Plus means that ours is
  better. In brackets is the 95% interval of the mean. A difference is **bold** if its interval
  does not contain zero. Splits share their rows, so an interval is narrower than for new data.
- **±** is the standard deviation over seeds, splits or draws. Each section says how many.
- **The same case** can come out differently in two suites, as they draw other rows and tasks.

Each section links to the page of its suite, which has the protocol, the command and all rows.
No setting was chosen on the seeds of a report, unless its page says so.
[All suites](#all-suites) says which rows are older than the present code."""


def gap(values):
    """Mean difference with its interval, bold if that leaves out zero; empty if too few."""
    values = [value for value in values if np.isfinite(value)]
    if len(values) < 2:
        return ""
    text = interval(values)
    return f"**{text}**" if abs(np.mean(values)) > half_width(values) else text


def words(text):
    """A paragraph, in lines of 110 characters."""
    return textwrap.fill(" ".join(text.split()), 110, **WHOLE)


def table_of(heads, lines):
    """A table whose intervals and spreads do not break in the middle."""
    whole = re.compile(r"(?<=\d) (±|to) (?=[-+\d])")
    lines = [[whole.sub("\u00a0\\1\u00a0", cell) for cell in line] for line in lines]
    return markdown(heads, lines)


def link(suite, name="all numbers"):
    return f"[{name}](reports/{suite}.md)"


def spread(values):
    """Mean and standard deviation, or the one value there is."""
    return _readme.spread(values) if len(values) > 1 else f"{values[0]:.3f} (1 seed)"


def picture(name, said):
    return f"![{said}](reports/{name}.svg)"


def number(rows, unit="seed"):
    """How many seeds some rows have, with the unit."""
    n = len({row["seed"] for row in rows})
    return f"{n} {unit}{'s' * (n != 1)}"


def ends(values, form="{}"):
    """Lowest and highest, or the one there is."""
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"


def middle(values, form="{:.2f}"):
    """Median and range."""
    return f"{form.format(np.median(values))} ({ends(values, form)})"


def json_of(suite):
    return json.loads(suite.RESULTS.read_text()) if suite.RESULTS.exists() else {}


# -- real tables -------------------------------------------------------------------------


def sets_of(part):
    """{set: {method: {split: row}}} of a part of the suite of real tables."""
    rows = [row for row in load(real_tables.RESULTS) if row["part"] == part]
    found = {}
    for name in real_tables.SETS:
        own = [row for row in rows if row["set"] == name]
        if any(row["method"] == real_tables.OURS for row in own):
            found[name] = real_tables.by_method(own)
    return found


def score_gaps(found, rival):
    """{set: ours less a rival, split by split}."""
    every = {
        name: real_tables.gaps(methods, rival, lambda row: row["score"])
        for name, methods in found.items()
        if rival in methods
    }
    return {name: gaps for name, gaps in every.items() if gaps}


def counts(means):
    """How many means are better, about equal, and worse."""
    means = np.asarray(means)
    better, worse = int((means > TIE).sum()), int((means < -TIE).sum())
    return better, len(means) - better - worse, worse


def rivals_table(found):
    lines = []
    for rival in real_tables.METHODS:
        means = {name: np.mean(g) for name, g in score_gaps(found, rival).items()}
        if rival == real_tables.OURS or not means:
            continue
        worst = min(means, key=means.get)
        loss = f"{means[worst]:+.3f} ({worst})" if means[worst] < 0 else "none"
        numbers = " / ".join(map(str, counts(list(means.values()))))
        seconds = np.median(taken({name: found[name] for name in means}, rival))
        own = [rival, str(len(means)), gap(list(means.values())), numbers]
        lines.append([*own, loss, f"{seconds:.1f}"])
    heads = (
        "rival, sets, ours less it, better / equal / worse, largest loss, fit (CPU s)"
    )
    return table_of(heads.split(", "), lines)


def taken(found, method):
    """Median seconds of a fit, for each set."""
    return [
        np.median([row["seconds"] for row in methods[method].values()])
        for methods in found.values()
    ]


def nonzero_share(found):
    """Median over sets of the nonzero coefficients of ours over those without penalties."""
    shares = []
    for methods in found.values():
        mine, theirs = (
            [row["nonzeros"] for row in methods.get(method, {}).values()]
            for method in (real_tables.OURS, real_tables.UNPENALISED)
        )
        if mine and theirs:
            shares.append(np.median(mine) / np.median(theirs))
    return np.median(shares)


def tables_section():
    found = sets_of(real_tables.PLAIN)
    if not found:
        return ""
    linear = [np.mean(g) for g in score_gaps(found, real_tables.LINEAR).values()]
    better, equal, worse = counts(linear)
    tasks = [next(iter(m[real_tables.OURS].values()))["tasks"] for m in found.values()]
    splits = ends([len(methods[real_tables.OURS]) for methods in found.values()])
    parts = [
        "## Real tables: your own tasks",
        words(
            f"""On {len(found)} real tables with {ends(tasks)} tasks, ours is better than a
            ridge or logistic regression on {better}, within {TIE} on {equal} and worse on
            {worse}. Ours has {nonzero_share(found):.0%} of the nonzero coefficients of the
            network without penalties (median over sets). A random third of the rows is the
            test, in {splits} splits. A fit of ours takes
            {middle(taken(found, real_tables.OURS), "{:.1f}")} seconds of a processor (median
            and range over sets). "Equal" is within {TIE}. The intervals of the table are over
            sets, those of the picture over splits of a set ({link("real_tables")})."""
        ),
        rivals_table(found),
        picture("tables", "Ours less each rival on each real table, with intervals"),
    ]
    if shifted := sets_of(real_tables.SHIFT):
        parts += [
            "The same where the test is a whole group of rows that was held out:",
            rivals_table(shifted),
        ]
    return "\n\n".join(parts)


# -- known factors -----------------------------------------------------------------------


def questionnaire_section():
    rows = load(known_factors.RESULTS)
    by = {
        method: {
            r["seed"]: known_factors.mean(r) for r in rows if r["method"] == method
        }
        for method in known_factors.METHODS
    }
    by = {method: found for method, found in by.items() if found}
    mine = by.get(known_factors.OURS)
    if not mine:
        return ""
    lines = []
    for method, found in by.items():
        gaps = [mine[seed] - found[seed] for seed in found if seed in mine]
        numbers = {r["components"] for r in rows if r["method"] == method}
        lines.append(
            [
                method,
                spread(list(found.values())),
                "" if found is mine else gap(gaps),
                ends(numbers),
            ]
        )
    rotated = [
        np.mean(list(found.values()))
        for method, found in by.items()
        if not method.startswith("ours") and method != known_factors.UPPER
    ]
    ahead = sum(value > np.mean(list(mine.values())) for value in rotated)
    numbers = {r["components"] for r in rows if r["method"] == known_factors.OURS}
    return "\n\n".join(
        [
            "## Known factors in a questionnaire",
            words(
                f"""About half of 25 personality items are columns, the others are tasks. The five
                known scales are the factors. Ours is not told the number, and
                finds {ends(numbers)} components. Their correlation with the scales is
                {spread(list(mine.values()))} over {len(mine)} draws of items. Other
                methods are told that there are five: {ahead} of {len(rotated)} have a higher
                mean than ours. The last row knows the scales ({link("known_factors")})."""
            ),
            table_of(
                ["method", "correlation with the scales", "ours less it", "components"],
                lines,
            ),
        ]
    )


def hard_by_case():
    """{case: {method: {seed: D}}}, and the R2 of least squares of each case."""
    rows = load(hard.RESULTS)
    found, linear = {}, {}
    for case in hard.CASES:
        here = [row for row in rows if row["case"] == case]
        by = {
            method: {
                r["seed"]: r["disentanglement"] for r in here if r["method"] == method
            }
            for method in hard.METHODS
        }
        by = {method: seeds for method, seeds in by.items() if seeds}
        if hard.OURS in by:
            found[case] = by
            linear[case] = np.mean([row["linear"] for row in here])
    return found, linear


def hard_section():
    found, linear = hard_by_case()
    if not found:
        return ""
    lines, means, clear = [], [], 0
    for case, by in found.items():
        mine = by[hard.OURS]
        others = {
            m: np.mean(list(d.values()))
            for m, d in by.items()
            if not m.startswith("ours")
        }
        best = max(others, key=others.get)
        gaps = [mine[seed] - by[best][seed] for seed in mine if seed in by[best]]
        means.append(np.mean(gaps))
        clear += gap(gaps).startswith("**+")
        mine = spread(list(mine.values()))
        lines.append(
            [case, f"{linear[case]:.2f}", mine, f"{others[best]:.3f}", best, gap(gaps)]
        )
    heads = "case, R2 of least squares, D of ours, best other D, of which, ours less it"
    seeds = ends([len(by[hard.OURS]) for by in found.values()])
    return "\n\n".join(
        [
            "## Known factors in hard data",
            words(
                f"""Least squares finds the factors with an R2 of only
                {ends(linear.values(), "{:.2f}")}. Labels are noisy and factors correlate. The
                D of ours less that of the best other method is {ends(means, "{:+.3f}")},
                depending on the case. In {clear} of {len(found)} cases the interval of this
                difference lies above zero. Intervals are wide, as there are {seeds} seeds.
                Other methods are told that there are six factors, ours is not
                ({link("hard")})."""
            ),
            table_of(heads.split(", "), lines),
            picture("hard", "D of each method in each hard case"),
        ]
    )


#: Problems of the suite "method" that the page shows, from easy to impossible.
TOLD = (
    "50 factors, 400 tasks",
    "rho 0.9, binary tasks",
    "500 rows",
    "80 labelled rows a task",
    "20% of labels wrong",
    "12 tasks",
    "every task uses all factors",
)


def made_by_method():
    """{method: {correlation: rows}} of the made data of the suite "factors"."""
    found = {}
    for method in factors.METHODS:
        for rho in ("0", "0.5", "0.9"):
            data = f"synthetic, rho {rho}"
            own = [
                r for r in factors.load() if (r["data"], r["method"]) == (data, method)
            ]
            if own:
                found.setdefault(method, {})[float(rho)] = own
    return found


def d_of(rows):
    return [row["scores"]["dci_disentanglement"] for row in rows]


def correlation_table(found):
    lines = []
    for method, by in found.items():
        if method in ("ours, L1", "ours, sparsity only"):
            continue
        cells = [spread(d_of(by[r])) if r in by else "" for r in (0.0, 0.5, 0.9)]
        labels = [
            f"{np.mean([row['scores']['accuracy 10'] for row in by[r]]):.3f}"
            if r in by
            else ""
            for r in (0.0, 0.9)
        ]
        seconds = np.median([row["seconds"] for rows in by.values() for row in rows])
        lines.append([method, *cells, *labels, f"{seconds:.1f}"])
    heads = ["method", *(f"D, correlation {rho}" for rho in ("0", "0.5", "0.9"))]
    heads += ["10 labels, correlation 0", "10 labels, 0.9", "fit (s)"]
    return table_of(heads, lines)


def problems_table():
    rows = [r for r in load(problems.RESULTS) if r["solver"] == problems.SOLVERS[0]]
    lines = []
    for case in TOLD:
        own = [row for row in rows if row["case"] == case]
        if own:
            d = [row["disentanglement"] for row in own]
            sure = f"{sum(row['identifiable'] for row in own)} of {len(own)}"
            active = ends([row["active"] for row in own])
            lines.append([case, f"{np.median(d):.3f}", f"{min(d):.3f}", active, sure])
    heads = "problem, D median, D worst, components, called identifiable"
    return table_of(heads.split(", "), lines)


def recovery_section():
    found = made_by_method()
    rows = [row for row in load(recovery.RESULTS) if row["case"] == "20 components"]
    if not found or not rows:
        return ""
    worst = min(row["disentanglement"] for row in rows)
    rival, high = max(
        (
            (method, np.mean(d_of(by[0.9])))
            for method, by in found.items()
            if 0.9 in by and not method.startswith("ours")
        ),
        key=lambda pair: pair[1],
    )
    shown = found["ours"][0.9]
    mine = d_of(shown)
    active = ends([row["active"] for row in rows])
    return "\n\n".join(
        [
            "## Known factors in made data, and correlation",
            words(
                f"""Six factors, 60 tasks of one to three factors, 4,000 rows, 20 columns. With
                room for 20 components, ours uses {active}, and its D is at least {worst:.3f}
                over {len(rows)} seeds ({link("recovery")}). If factors correlate by 0.9, ours
                has a D of {spread(mine)}. Of the methods that are not ours, {rival}
                has the highest, {high:.3f}. All methods in the table get the same rows and
                tasks, with {number(shown)} ({link("factors")}). "10 labels" is the accuracy on
                new tasks."""
            ),
            picture(
                "correlation", "D against the correlation of the factors, by method"
            ),
            correlation_table(found),
            words(
                f"""When does it fail? With few tasks, and with tasks that all use all factors,
                as in the last rows of the next table. "Called identifiable" counts the seeds
                for which `identifiability_report` says so of the fit ({link("method")};
                {link("ablations", "what each piece of the method adds")})."""
            ),
            problems_table(),
        ]
    )


# -- images and texts --------------------------------------------------------------------


def by_place(found):
    """{(seed, place): score}, from the scores of each seed."""
    return {
        (seed, place): score
        for seed, scores in found
        for place, score in enumerate(scores)
    }


def new_lines():
    """Scores of new tasks by columns, no penalties, components, both and `fit_task`."""
    rows = load(real_images.RESULTS)
    heads = real_images.by_head([r for r in rows if r["part"] == real_images.NEW])
    keys = (
        (real_images.RAW, real_images.LOGISTIC),
        (real_images.NET, real_images.LOGISTIC),
        (real_images.OURS, real_images.LOGISTIC),
        (real_images.OURS, real_images.BESIDE),
        (real_images.OURS, real_images.FIT_TASK),
    )
    for n in map(str, real_images.N_LABELS):
        runs = [heads.get(key, {}).items() for key in keys]
        found = [{s: own[n] for s, own in run if n in own} for run in runs]
        yield f"faces, AUC, {n} labels", found
    texts = emotions.by_method(load(emotions.RESULTS), emotions.NEW)
    keys = (
        emotions.RAW,
        emotions.PLAIN,
        emotions.COMPONENTS,
        emotions.BOTH,
        emotions.FIT_TASK,
    )
    for n in map(str, emotions.N_LABELS):
        runs = [
            [(row["seed"], scores[n]) for row, scores in texts.get(key, [])]
            for key in keys
        ]
        yield f"texts, AUC, {n} labels", [by_place(run) for run in runs]
    rows = [r for r in rows if r["part"] == real_images.CHARACTERS]
    keys = (real_images.RAW, real_images.NET, real_images.OURS, None, None)
    for n in map(str, real_images.SHOTS):
        runs = [
            [(r["seed"], r["scores"][n]) for r in rows if r["method"] == key]
            for key in keys
        ]
        name = f"characters, accuracy, {n} label{'s' * (n != '1')} per class"
        yield name, [by_place(run) for run in runs]


def new_table():
    lines = []
    for name, runs in new_lines():
        base = runs[0]
        if not base:
            continue
        cells = [f"{np.mean(list(run.values())):.3f}" if run else "" for run in runs]
        for at in (2, 3):
            gaps = [runs[at][key] - base[key] for key in runs[at] if key in base]
            cells[at] = f"{cells[at]} {gap(gaps)}".strip()
        lines.append([name, *cells])
    heads = "new tasks, columns, no penalties, components, both, `fit_task`"
    return table_of(heads.split(", "), lines)


def pixels_table():
    """Rows of images in which an encoder learns from pixels."""
    lines = []
    for data in ("sprites", "dSprites", "glyphs"):
        own = [row for row in factors.load() if row["data"] == data]
        by = {m: d_of([r for r in own if r["method"] == m]) for m in factors.METHODS}
        others = {m: np.mean(d) for m, d in by.items() if d and m[:4] != "ours"}
        if others and by["ours"]:
            best = max(others, key=others.get)
            plain = by["ours, no penalty"]
            shown = [spread(d) if d else "" for d in (by["ours"], plain)]
            lines.append([f"{data} (made)", *shown, f"{others[best]:.3f} ({best})"])
    rows = load(real_sprites.RESULTS)
    for case in dict.fromkeys(row["case"] for row in rows):
        by = {}
        for row in rows:
            if row["case"] == case:
                by.setdefault(row["method"], []).append(row["disentanglement"])
        shown = {method: spread(d) for method, d in by.items()}
        mine = shown.pop(real_sprites.OURS, "")
        others = "; ".join(f"{cell}, {method}" for method, cell in shown.items())
        lines.append([f"sprites of a game, {case}", mine, "", others])
    heads = "images, D of ours, D without penalties, D of the best other"
    return table_of(heads.split(", "), lines)


def blond_lines():
    rows = [r for r in load(real_images.RESULTS) if r["part"] == real_images.BLOND]
    for (method, head), runs in real_images.by_head(rows).items():
        worst = [min(groups) for groups in runs.values()]
        average = [
            np.average(runs[row["seed"]], weights=row["sizes"])
            for row in rows
            if row["method"] == method and row["seed"] in runs
        ]
        yield [method, head, spread(average), spread(worst)]


def images_section():
    table = new_table()
    if table.count("\n") < 2:
        return ""
    blond = list(blond_lines())
    rows = load(real_images.RESULTS)
    parts = {p: [r for r in rows if r["part"] == p] for p in real_images.PARTS}
    texts = [r for r in load(emotions.RESULTS) if r["part"] == emotions.NEW]
    made = [
        r for r in factors.load() if (r["data"], r["method"]) == ("sprites", "ours")
    ]
    return "\n\n".join(
        [
            "## Images and texts",
            words(
                f"""The columns are embeddings of a frozen backbone, or pixels of characters.
                New attributes of faces, new emotions of texts and new characters are learned
                from the columns, from the components without penalties, from the components
                of ours, from both columns and components of ours, and by `fit_task`. Cells of
                "components" and "both" have the score, and then how much it is above that of
                the columns. There are {number(parts[real_images.NEW], "split")} of faces and
                {number(texts)} for texts. The characters have
                {number(parts[real_images.CHARACTERS])}, and their intervals are over
                episodes ({link("real_images", "images")}; {link("emotions", "texts")})."""
            ),
            table,
            words(
                """For characters, the nearest class mean gives the answer. Their encoder was
                fitted on one task, so nothing is disentangled there."""
            ),
            words(
                f"""Factors of images, learned from pixels by `encoder="conv"`
                ({link("factors", "made images")}, {number(made)};
                {link("real_sprites", "sprites of a game")}):"""
            ),
            pixels_table(),
            words(
                f"""Few blond people in CelebA are men, so a classifier of blond hair can rely
                on that. "DFR" is told the groups of validation rows, "ERM" is not
                ({number(parts[real_images.BLOND], "split")}):"""
            ),
            table_of(["features", "head", "average accuracy", "worst group"], blond),
        ]
    )


# -- few labels --------------------------------------------------------------------------


def few_made_table():
    results = json_of(new_tasks).get("results", [])
    lines = []
    for problem in dict.fromkeys(line["problem"] for line in results):
        found = new_tasks.gathered(results, problem, "binary", "scores").get(FEW[1])
        if not found:
            continue
        own = np.array(found[new_tasks.OURS])
        gaps = [
            gap(own - np.array(found[rival])) if rival in found else ""
            for rival in ("ridge", new_tasks.RAW)
        ]
        lines.append([problem, f"{own.mean():.3f}", *gaps])
    heads = "made data, `fit_task`, less regression on components, less regression on raw columns"
    return table_of(heads.split(", "), lines)


def few_real_table():
    rivals = (real_tables.LINEAR, real_tables.UNPENALISED)
    lines, ahead, total = [], dict.fromkeys(rivals, 0), 0
    for name, found in sets_of(real_tables.FEW).items():
        for n in map(str, FEW):
            own = [score_at(row, n) for row in found[real_tables.OURS].values()]
            own = [score for score in own if score is not None]
            if not own:
                continue
            total += 1
            cells = []
            for rival in rivals:
                gaps = []
                if rival in found:
                    gaps = real_tables.gaps(found, rival, partial(score_at, n=n))
                ahead[rival] += bool(gaps and np.mean(gaps) > 0)
                cells.append(gap(gaps))
            lines.append([f"{name}, {n}", f"{np.mean(own):.3f}", *cells])
    heads = "real table and labels, `fit_task`, less raw columns, less no penalties"
    return table_of(heads.split(", "), lines), *ahead.values(), total


def score_at(row, n):
    """Score with so many labels, or None."""
    return row["scores"].get(n)


def few_section():
    table, columns, components, total = few_real_table()
    if not total:
        return ""
    found = sets_of(real_tables.FEW).values()
    splits = ends([len(methods[real_tables.OURS]) for methods in found])
    made = json_of(new_tasks).get("results", [])
    return "\n\n".join(
        [
            "## New tasks from few labels",
            words(
                f"""On real tables, with {FEW[0]} or {FEW[1]} labels of a new task, the mean
                score of `fit_task` is above that of a ridge or logistic regression on the raw
                columns in {columns} of {total} cases. It is above that of one on the
                components of the network without penalties in {components} of {total}. An R2
                below zero is worse than a constant. There are {splits} splits of each table
                ({link("real_tables")})."""
            ),
            table,
            words(
                f"""In made data, new tasks depend on the factors of the fit. The table has the
                accuracy with {FEW[1]} labels, for new tasks of {number(made, "fit")} per row
                ({link("new_tasks")}):"""
            ),
            few_made_table(),
        ]
    )


# -- can it be believed ------------------------------------------------------------------


def believed_section():
    rows = load(identifiability.RESULTS)
    if not rows:
        return ""
    says = np.array([row["identifiable"] for row in rows])
    found = np.array([row["disentanglement"] for row in rows]) >= identifiability.FOUND
    parts = [part for row in rows for part in row["components"]]
    said = np.array([part["identifiable"] for part in parts])
    pure = np.array([part["purity"] >= identifiability.PURE for part in parts])
    cases = {}
    for row, verdict, good in zip(rows, says, found, strict=True):
        cases.setdefault(row["case"], []).append(verdict == good)
    wrong = [f"{c} ({sum(a)} of {len(a)})" for c, a in cases.items() if not all(a)]
    table = table_of(
        [
            "report says",
            "fits",
            f"D >= {identifiability.FOUND}",
            f"D < {identifiability.FOUND}",
        ],
        [
            [name, str(mask.sum()), str(found[mask].sum()), str((~found[mask]).sum())]
            for name, mask in (("identifiable", says), ("not", ~says))
        ],
    )
    return "\n\n".join(
        [
            "## Can the components be believed?",
            words(
                f"""`identifiability_report` does not know the factors. A fit is good if its D is at
                least {identifiability.FOUND}. The report is right about
                {np.mean(says == found):.0%} of {len(rows)} fits in {len(cases)} problems.
                Of the components that it calls identifiable, {pure[said].mean():.0%}
                correlate with a factor by
                {identifiability.PURE} or more; of those in doubt, {pure[~said].mean():.0%}
                ({link("identifiability")}). It is not right about all fits of these problems:
                {", ".join(wrong) or "none"}. The numbers in brackets say how often it is right."""
            ),
            table,
        ]
    )


# -- cost --------------------------------------------------------------------------------


def cost_rows():
    """(case, other program, ratios of time, scores of both) of the suite "cost"."""
    rows = load(cost.RESULTS)
    for case in cost.CASES:
        own = [row for row in rows if row["case"] == case]
        if own:
            ratios = [row["ours"] / row["other"] for row in own]
            scores = [
                np.mean([r[k] for r in own]) for k in ("our_score", "other_score")
            ]
            yield case, own[0]["name"], ratios, scores


def peers_table():
    lines = []
    for kind in ("regression", "classes"):
        found = [
            r["peers"] for r in json_of(speed).get("peers", []) if r["kind"] == kind
        ]
        first, *others = found[0] if found else [""]
        for name in others:
            ratios = [r[name]["seconds"][1] / r[first]["seconds"][1] for r in found]
            scores = [np.median([r[n]["score"] for r in found]) for n in (name, first)]
            shown = [f"{score:.3f}" for score in scores]
            lines.append([name, kind, middle(ratios), *shown])
    heads = "other estimator, tasks, its time over ours, its score, our score"
    return table_of(heads.split(", "), lines)


def memory_sentence():
    """Memory in addition to X and Y for the most rows, in memory and on a disk."""
    rows = load(memory.RESULTS)
    most = max((int(row["row"]) for row in rows), default=0)
    parts = []
    for case in ("ndarray", "memmap"):
        own = [r for r in rows if (r["case"], int(r["row"])) == (case, most)]
        if own:
            fit, transform = (memory.over(own[0], w) for w in ("fit", "transform"))
            parts.append(
                f"{fit:.0f} MiB to fit and {transform:.0f} to transform "
                f"({memory.CASES[case]})"
            )
    return (
        f"In addition to X and Y, {most:,} rows of {memory.N_FEATURES} columns take "
        f"{', '.join(parts)} ({link('memory')})."
        if parts
        else ""
    )


def cost_section():
    fits = load(recovery.RESULTS)
    if not fits:
        return ""
    loops, given = ([row[key] for row in fits] for key in ("ratio", "ratio_given"))
    lines = [
        [case, name, middle(ratios), f"{mine:.3f}", f"{theirs:.3f}"]
        for case, name, ratios, (mine, theirs) in cost_rows()
        if mine < theirs - TIE
    ]
    heads = "case, other program, our time over its, our score, its score"
    peers = [r["kind"] for r in json_of(speed).get("peers", [])]
    rounds = ends([peers.count(kind) for kind in peers] or [0])
    parts = [
        "## Time and memory",
        words(
            f"""A whole fit takes {middle(loops)} times as long as a bare torch loop with the
            same network and batches: median and range over the cases and seeds of
            {link("recovery", "recovery")}. Without the choice of the noise it takes
            {middle(given)} times as long. Other estimators, with as many epochs, in
            {rounds} rounds each ({link("speed")}):"""
        ),
        peers_table(),
        words(
            f"""Wide heads, many classes and new tasks, each compared with another program, with
            {number(load(cost.RESULTS))} ({link("cost")}):"""
        ),
        picture("cost", "Time of ours divided by that of the other program"),
        f"Of these cases, ours scores lower by more than {TIE} in {len(lines)}:",
        table_of(heads.split(", "), lines),
    ]
    last = memory_sentence()
    if saved := json_of(gpu):
        gains = [
            row["cpu"]["epoch"][0] / row["ours"]["epoch"][0] for row in saved["results"]
        ]
        last += f""" On one {saved["gpu"]} an epoch is {ends(gains, "{:.0f}")} times as fast
            as on one thread of that machine's CPU ({link("gpu")})."""
    parts.append(words(last))
    return "\n\n".join(parts)


# -- leakage -----------------------------------------------------------------------------


def leakage_section():
    results = json_of(leakage).get("results", [])
    if not results:
        return ""

    def cell(target, labels, remedy, key):
        own = [
            r[key]
            for r in results
            if (r["target"], r["labels"], r["remedy"], r["step"])
            == (target, labels, remedy, "logistic")
        ]
        return spread(own) if own else ""

    lines = [
        [
            target,
            labels,
            cell(target, labels, "plain", "cv on features"),
            cell(target, labels, "plain", "test"),
            cell(target, labels, "cross_fit", "test"),
            cell(target, labels, "columns", "test"),
        ]
        for target in leakage.TARGETS[:2]
        for labels in leakage.LABELS
    ]
    heads = "features learned from, labels, cross-validation on the features, test"
    heads += ", test with `cross_fit=5`, test of raw columns"
    return "\n\n".join(
        [
            "## Leakage",
            words(
                f"""If you train a classifier on features of the rows of their own fit, and the
                target was among the tasks, scores on these rows are too good. The table has
                the accuracy of a logistic regression on the features: by cross-validation on
                features that were made once, and on new rows. The gap between these is the
                leak. With coin flips, 0.5 is the true accuracy ({number(results)},
                {link("leakage")})."""
            ),
            table_of(heads.split(", "), lines),
        ]
    )


def suites_section():
    lines = [
        [link(suite, suite), question, _readme.age(suite)]
        for suite, question in _readme.SUITES.items()
    ]
    ages = [
        f"- **{age}**: {said}"
        for age, said in _readme.AGES.items()
        if age in [line[-1] for line in lines]
    ]
    return "\n\n".join(
        [
            "## All suites",
            words(
                """`python -m benchmarks.NAME` runs a suite, and writes its page and this one
                again. `python -m benchmarks` runs all of them. `--data` names the folder of
                the files, for suites that read some."""
            ),
            table_of(["suite", "question", "version of its rows"], lines),
            "The versions of the rows (the page of a suite may say more):",
            "\n".join(ages),
        ]
    )


SECTIONS = (
    tables_section,
    questionnaire_section,
    hard_section,
    images_section,
    few_section,
    recovery_section,
    believed_section,
    cost_section,
    leakage_section,
    suites_section,
)


def page():
    return (
        "\n\n".join([START, *filter(None, (section() for section in SECTIONS))]) + "\n"
    )
