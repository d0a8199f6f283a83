"""The protocol of a benchmark of distribution shift, on its real files, in one command.

``python -m benchmarks.shift_benchmarks NAME PATH --backbone BACKBONE`` for those who have the
files; see ``docs/howto/shift.md``. Nothing is downloaded, and no result of it is in the report.

Inputs go through a frozen backbone once. On its embeddings, logistic regression (empirical
risk minimisation, ERM) is compared to the same on features of ``SparseSharedDisentangler``,
whose settings are its defaults, or, where one domain after the other is left out, those of
``SETTINGS`` that do best when a source domain is left out, too. Where there are groups, a
second head is fitted on validation rows balanced by group (DFR). The target is among its
tasks; what the features know of the labels of the training rows does no harm to accuracy where
the strength of the regression is chosen on rows that the encoder has not seen, as here.

With ``--train`` the backbone is trained, too: once on the class alone, by a network without
penalties, and once on the tasks of ours, with the same budget and the same random changes of the
images. Logistic regression is then fitted on the embeddings of the first, on the components of
ours, and on these beside the embeddings of the same backbone. Nothing is then chosen by leaving a
source domain out, which takes longer than all else.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from benchmarks._readme import machine, spread
from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import (
    load_camelyon17,
    load_civilcomments,
    load_office_home,
    load_pacs,
    load_vlcs,
    load_waterbirds,
    read_images,
)
from skdisentangle.metrics import group_accuracies, worst_group_accuracy


class Benchmark(NamedTuple):
    """A set: how it is read, how many seeds its authors ask for, how settings are chosen."""

    load: Callable
    n_seeds: int
    chosen_on: str
    seeded: bool = False  # draws tasks by a seed


FIFTH = "a random fifth of each source domain"

BENCHMARKS = {
    "pacs": Benchmark(load_pacs, 3, FIFTH, seeded=True),
    "vlcs": Benchmark(load_vlcs, 3, FIFTH, seeded=True),
    "office_home": Benchmark(load_office_home, 3, FIFTH, seeded=True),
    "waterbirds": Benchmark(load_waterbirds, 5, "the validation split"),
    "civilcomments": Benchmark(load_civilcomments, 5, "the validation split"),
    "camelyon17": Benchmark(load_camelyon17, 10, "the validation centre"),
}

#: Strengths of logistic regression to choose from, by accuracy on validation rows.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)

#: What a head is fitted on.
RAW, OURS, OURS_GROUPS = "embeddings", "ours", "ours, groups as tasks"
OURS_CHOSEN = "ours, chosen by leaving a source domain out"

#: The same of a backbone that has been trained: on the class alone, or on our tasks.
ERM_TRAINED, OURS_TRAINED = "trained on the class", "ours, trained"
BESIDE_TRAINED = "ours, trained, beside its embeddings"
TRAINED = (ERM_TRAINED, OURS_TRAINED, BESIDE_TRAINED)

#: Labels a class of the domain left out, where a few are given, and draws of them.
SHOTS, SHOT_DRAWS = (1, 5, 10), 10

#: Components of the network that is trained on the class.
N_ERM = 64

#: What is chosen of, by leaving a source domain out: "leave-one-domain-out cross-validation"
#: of I. Gulrajani and D. Lopez-Paz, "In search of lost domain generalization", ICLR 2021.
SETTINGS = {"dis__encoder": ["mlp", "linear"], "dis__input_noise": ["auto", 2.0]}

#: How a head is fitted: on training rows, or on validation rows balanced by group.
ERM, DFR = "ERM", "DFR"

#: Inverse strengths and number of refits of DFR, as its authors have them.
DFR_STRENGTHS = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)
DFR_REFITS = 20

#: Embeddings that need nothing: to try the command, not to score with.
PLAIN = ("pixels", "words")


# ---------------------------------------------------------------------- embeddings


def mean_pixels(paths, batch_size=256):
    """Images at 8 x 8 pixels, a row each."""
    batches = np.array_split(paths, range(batch_size, len(paths), batch_size))
    small = [read_images(batch, size=8).reshape(len(batch), -1) for batch in batches]
    return np.concatenate(small).astype(np.float32) / 255


def hashed_words(texts, n_features=256):
    hashing = HashingVectorizer(n_features=n_features, dtype=np.float32)
    return hashing.transform(texts).toarray()


def make_embedding(backbone, name, cache):
    """The transformer of inputs that an argument names."""
    if backbone == "pixels" and name != "civilcomments":
        return FunctionTransformer(mean_pixels)
    if backbone == "words" and name == "civilcomments":
        return FunctionTransformer(hashed_words)
    if backbone in PLAIN:
        raise SystemExit(
            f"--backbone {backbone} is not for {name}: 'words' is for civilcomments, "
            "'pixels' for all others."
        )
    from skdisentangle.backbones import ImageEmbedder, TextEmbedder

    embedder = TextEmbedder if name == "civilcomments" else ImageEmbedder
    return embedder(backbone, memory=cache, verbose=True)


# ---------------------------------------------------------------------- protocol


def splits(bunch, seed):
    """Parts of the protocol: name, training rows, validation rows."""
    if "split" in bunch:
        return [("", *(np.flatnonzero(bunch.split == s) for s in ("train", "val")))]
    # Leave one domain out. DomainBed holds back a random fifth of each of the others.
    parts = []
    for source, target in LeaveOneGroupOut().split(bunch.target, groups=bunch.domain):
        fit, held = train_test_split(
            source, test_size=0.2, stratify=bunch.domain[source], random_state=seed
        )
        parts.append((bunch.domain_names[bunch.domain[target[0]]], fit, held))
    return parts


def metrics(name, bunch, part, predicted):
    """The set's own metrics, of predictions for all rows."""
    right = predicted == bunch.target
    if part:
        return {part: right[bunch.domain == bunch.domain_names.index(part)].mean()}
    test = bunch.split == "test"
    scored = bunch.target[test], predicted[test]
    if name == "camelyon17":
        return {
            "test centre": right[test].mean(),
            "validation centre": right[bunch.split == "val"].mean(),
            "training centres, rows held back": right[bunch.split == "id_val"].mean(),
        }
    if name == "waterbirds":
        groups = bunch.groups[:, None] == np.arange(4)
        sizes = groups[bunch.split == "train"].sum(axis=0)
        each = group_accuracies(*scored, groups[test])
        return {
            "worst of 4 groups": worst_group_accuracy(*scored, groups[test]),
            "average, weighted by training groups": np.average(each, weights=sizes),
            "average": right[test].mean(),
        }
    return {
        "worst of 16 groups": worst_group_accuracy(*scored, bunch.groups[test]),
        "average": right[test].mean(),
        "worst of 4 coarse groups": worst_group_accuracy(
            *scored, bunch.coarse_groups[test]
        ),
    }


def labels_used(bunch, kind, head):
    """What a method was told, for the table."""
    if "split" not in bunch:
        return "class, of source domains"
    target = bunch.task_names[0]
    own = [name for name in bunch.task_names if name not in bunch.group_tasks]
    if len(own) > 4:
        own = [*own[:2], f"{len(own) - 2} more"]
    train = {RAW: [target] if head == ERM else [], ERM_TRAINED: [target]}.get(kind, own)
    parts = [f"{', '.join(train)} of train"] if train else []
    if kind == OURS_GROUPS:
        parts.append(f"**groups** of train ({len(bunch.group_tasks)} tasks)")
    parts.append(f"{target} of val")
    if head == DFR:
        parts.append("**groups** of val")
    return "; ".join(parts)


def features(estimator, embedded, bunch, fit, tasks, seed):
    """Disentangled features of all rows, learned from the tasks of some."""
    types = [bunch.task_types[t] for t in tasks]
    dis = clone(estimator).set_params(task_types=types, random_state=seed)
    return dis.fit(embedded[fit], bunch.Y_tasks[np.ix_(fit, tasks)]).transform(embedded)


def choose_across_domains(estimator, embedded, bunch, fit, tasks, seed):
    """The estimator with those settings whose features serve a domain best that it has not seen."""
    types = [bunch.task_types[t] for t in tasks]
    pipeline = Pipeline(
        [
            ("dis", clone(estimator).set_params(task_types=types, random_state=seed)),
            ("scale", StandardScaler()),
            ("clf", LogisticRegression(max_iter=1000)),
        ]
    )
    search = GridSearchCV(pipeline, SETTINGS, cv=LeaveOneGroupOut(), refit=False)
    search.fit(
        embedded[fit],
        bunch.target[fit],
        groups=bunch.domain[fit],
        dis__Y_tasks=bunch.Y_tasks[np.ix_(fit, tasks)],
    )
    own = {key.removeprefix("dis__"): v for key, v in search.best_params_.items()}
    return clone(estimator).set_params(**own), own


def trained_features(estimator, tuned, bunch, inputs, fit, tasks, seed):
    """Features of all rows after training the backbone, by what it is trained on."""
    erm = SparseSharedDisentangler(
        N_ERM,
        sparsity=0,
        sharing=0,
        encoder=tuned,
        task_types="multiclass" if len(np.unique(bunch.target)) > 2 else "binary",
        n_threads=estimator.n_threads,
        verbose=estimator.verbose,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A single task")
        erm.fit(inputs[fit], bunch.target[fit])
    codes = {ERM_TRAINED: erm.embedder_.transform(inputs)}
    types = [bunch.task_types[t] for t in tasks]
    ours = clone(estimator)
    ours.set_params(encoder=tuned, task_types=types, random_state=seed)
    ours.fit(inputs[fit], bunch.Y_tasks[np.ix_(fit, tasks)])
    embedded = ours.embedder_.transform(inputs)
    with torch.no_grad():
        own = ours.encoder_(torch.from_numpy(embedded).double()).numpy()
    codes[OURS_TRAINED] = own
    parts = [standardised(part, fit) for part in (own, embedded)]
    codes[BESIDE_TRAINED] = np.hstack(parts)
    return codes


def standardised(codes, fit):
    return StandardScaler().fit(codes[fit]).transform(codes)


def predict(codes, target, fit, held):
    """Classes of all rows by logistic regression on some."""
    models = [
        LogisticRegression(C=C, max_iter=1000).fit(codes[fit], target[fit])
        for C in STRENGTHS
    ]
    best = max(models, key=lambda model: model.score(codes[held], target[held]))
    return best.predict(codes)


def predict_dfr(codes, target, groups, held, seed):
    """Classes of all rows by deep feature reweighting, for a target of 0 and 1.

    L1 logistic regression on validation rows, of which each group has as many as the smallest.
    Half of them choose the strength, by the worst group of the other half; the mean of refits
    on draws from all predicts. P. Kirichenko, P. Izmailov and A. G. Wilson, "Last layer
    re-training is sufficient for robustness to spurious correlations", ICLR 2023.
    """
    rng = np.random.default_rng(seed)

    def refit(rows, C):
        own = [rows[groups[rows] == group] for group in np.unique(groups[rows])]
        least = min(map(len, own))
        drawn = np.concatenate([rng.choice(r, least, replace=False) for r in own])
        model = LogisticRegression(
            C=C, l1_ratio=1, solver="liblinear", random_state=0, max_iter=1000
        )
        return model.fit(codes[drawn], target[drawn])

    tune, check = train_test_split(
        held, test_size=0.5, stratify=groups[held], random_state=seed
    )

    def worst(C):
        predicted = refit(tune, C).predict(codes[check])
        return worst_group_accuracy(target[check], predicted, groups[check])

    C = max(DFR_STRENGTHS, key=worst)
    models = [refit(held, C) for _ in range(DFR_REFITS)]
    slopes = np.mean([model.coef_[0] for model in models], axis=0)
    start = np.mean([model.intercept_[0] for model in models])
    return (codes @ slopes + start > 0).astype(target.dtype)


def few_shot(codes, target, rows, seed):
    """Accuracy on a domain from a few labels a class of it, by the nearest mean of a class.

    Mean over draws, by the number of labels.
    """
    rng = np.random.default_rng(seed)
    found = {}
    for number in SHOTS:
        scores = []
        for _ in range(SHOT_DRAWS):
            rows = rng.permutation(rows)
            classes = np.unique(target[rows])
            own = [rows[target[rows] == c] for c in classes]
            # Of each class at least one is left to score.
            own = [some[: min(number, len(some) - 1)] for some in own]
            known = np.concatenate(own)
            others = np.setdiff1d(rows, known)
            means = [codes[some].mean(0) for some in own]
            nearest = cdist(codes[others], means).argmin(1)
            scores.append((classes[nearest] == target[others]).mean())
        found[f"{number} labels"] = float(np.mean(scores))
    return found


def run(
    name, path, embedding, seeds, estimator=None, say=print, tuned=None, domains=None
):
    """Results of the whole protocol.

    Parameters
    ----------
    name : str
        One of `BENCHMARKS`.
    path : str or path-like
        As the loader takes it.
    embedding : transformer
        From `paths` or `text` to columns. It must be frozen: it sees all inputs at once.
    seeds : sequence of int
    estimator : SparseSharedDisentangler, optional
        What is cloned for each fit; by default one of default settings.
    say : callable
        Is told each row as it is made.
    tuned : FineTuned, optional
        Trains the backbone, for the rows of `TRAINED`.
    domains : sequence of str, optional
        Names of those to leave out, one after the other; all by default.

    Returns
    -------
    rows : list of dict
        Features, head, labels used, seed, and the metrics.
    """
    estimator = estimator or SparseSharedDisentangler()
    load, _, _, seeded = BENCHMARKS[name]
    bunch = load(path, **({"random_state": seeds[0]} if seeded else {}))
    inputs = np.asarray(bunch.text if "text" in bunch else bunch.paths, dtype=object)
    embedded = embedding.fit_transform(inputs)
    unknown = set(domains or ()) - set(bunch.get("domain_names", ()))
    if unknown or (domains and "split" in bunch):
        raise ValueError(
            f"domains must be some of {bunch.get('domain_names')}, of a set without an official "
            f"split; got {domains}."
        )
    rows = []
    for seed in seeds:
        if seeded and seed != seeds[0]:
            bunch = load(path, random_state=seed)
        plain = [
            t for t, n in enumerate(bunch.task_names) if n not in bunch.group_tasks
        ]
        tasks = {RAW: None, OURS: plain}
        if "split" not in bunch and tuned is None:
            tasks[OURS_CHOSEN] = plain
        if bunch.group_tasks:
            tasks[OURS_GROUPS] = range(len(bunch.task_names))
        if tuned is not None:
            tasks |= dict.fromkeys(TRAINED)
        # Groups that do not overlap, if there are any.
        groups = bunch.get("coarse_groups", bunch.get("groups"))
        heads = [ERM] if groups is None else [ERM, DFR]
        scores = {(kind, head): {} for kind in tasks for head in heads}
        shots = {key: [] for key in scores}
        chosen = {}
        if not seeded and seed != seeds[0]:
            del scores[RAW, ERM]  # nothing in it is random
        for part, fit, held in splits(bunch, seed):
            if domains is not None and part not in domains:
                continue
            codes = {}
            if tuned is not None:
                codes = trained_features(
                    estimator, tuned, bunch, inputs, fit, plain, seed
                )
            for kind, own in tasks.items():
                found, given = codes.get(kind, embedded), estimator
                if kind == OURS_CHOSEN:
                    given, chosen[part] = choose_across_domains(
                        estimator, embedded, bunch, fit, own, seed
                    )
                if own is not None:
                    found = features(given, embedded, bunch, fit, own, seed)
                codes[kind] = standardised(found, fit)
            for kind, head in scores:
                if head == ERM:
                    predicted = predict(codes[kind], bunch.target, fit, held)
                else:
                    predicted = predict_dfr(
                        codes[kind], bunch.target, groups, held, seed
                    )
                scores[kind, head] |= metrics(name, bunch, part, predicted)
                if part:
                    there = np.flatnonzero(
                        bunch.domain == bunch.domain_names.index(part)
                    )
                    few = few_shot(codes[kind], bunch.target, there, seed)
                    shots[kind, head].append(few)
        for (kind, head), own in scores.items():
            if "split" not in bunch:
                own["mean of domains"] = np.mean(list(own.values()))
                for number in shots[kind, head][0]:
                    each = [few[number] for few in shots[kind, head]]
                    own[f"{number} a class"] = np.mean(each)
            labels = labels_used(bunch, kind, head)
            rows.append(
                {"features": kind, "head": head, "labels used": labels, "seed": seed}
                | {metric: float(score) for metric, score in own.items()}
            )
            say(rows[-1] | ({"chosen": chosen} if kind == OURS_CHOSEN else {}))
    return rows


def table(rows):
    """Results as a table: mean and standard deviation over seeds."""
    said = ["features", "head", "labels used"]
    columns = [key for key in rows[0] if key not in (*said, "seed")]
    lines = [
        f"| {' | '.join(said + columns)} |",
        "|---" * len(said + columns) + "|",
    ]
    for method in dict.fromkeys(tuple(row[key] for key in said) for row in rows):
        own = [row for row in rows if tuple(row[key] for key in said) == method]
        cells = [[row[column] for row in own] for column in columns]
        shown = [spread(c) if len(c) > 1 else f"{c[0]:.3f}" for c in cells]
        lines.append(f"| {' | '.join([*method, *shown])} |")
    return "\n".join(lines)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=BENCHMARKS)
    parser.add_argument("path", help="folder of the files; nothing is downloaded")
    parser.add_argument(
        "--backbone",
        help="what skdisentangle.backbones takes, by default mobilenet_v2 for images and "
        "all-MiniLM-L6-v2 for text; or 'pixels' or 'words', to try this",
    )
    parser.add_argument("--cache", help="folder in which embeddings are kept")
    parser.add_argument(
        "--seeds", type=int, help="how many, if not the official number"
    )
    parser.add_argument("--domains", nargs="+", help="leave these out only")
    parser.add_argument(
        "--train",
        type=int,
        default=0,
        metavar="EPOCHS",
        help="train the backbone, too, for so many epochs",
    )
    parser.add_argument(
        "--image-size", type=int, default=224, help="height and width, 224 by default"
    )
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    options = parser.parse_args(arguments)
    if options.train and options.backbone in PLAIN:
        parser.error(f"--train needs a backbone; {options.backbone!r} is none")
    benchmark = BENCHMARKS[options.name]
    n_seeds = benchmark.n_seeds if options.seeds is None else options.seeds
    if n_seeds < 1:
        parser.error(f"--seeds must be at least 1; got {n_seeds}")
    usual = "all-MiniLM-L6-v2" if options.name == "civilcomments" else "mobilenet_v2"
    backbone = options.backbone or usual
    embedding = make_embedding(backbone, options.name, options.cache)
    if hasattr(embedding, "image_size"):
        embedding.set_params(image_size=options.image_size, n_threads=options.threads)
    tuned = None
    if options.train:
        from skdisentangle.backbones import FineTuned

        own = clone(embedding).set_params(memory=None, verbose=False)
        tuned = FineTuned(own, n_epochs=options.train)
    try:
        rows = run(
            options.name,
            options.path,
            embedding,
            range(n_seeds),
            SparseSharedDisentangler(n_threads=options.threads),
            say=lambda row: print(row, file=sys.stderr, flush=True),
            tuned=tuned,
            domains=options.domains,
        )
    except (
        OSError,
        ValueError,
    ) as error:  # of the files: it says what is wrong with them
        parser.exit(1, f"{error}\n")
    print(
        f"{options.name}, {n_seeds} seed(s), backbone: {backbone}\n{machine()}",
        table(rows),
        "Accuracies; mean and standard deviation over seeds. The strength of ERM, logistic "
        f"regression, was chosen by accuracy on {benchmark.chosen_on}.",
        sep="\n\n",
    )


if __name__ == "__main__":
    main()
