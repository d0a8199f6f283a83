"""Suite "spurious": a label that goes with its background, on images of real parts.

    pip install -r benchmarks/requirements.txt; see benchmarks/_real.py for the emoji
    python -m benchmarks.spurious                  # the report
    python -m benchmarks.spurious --seeds 0 2      # for development

After Waterbirds (Sagawa et al., "Distributionally robust neural networks for group shifts",
ICLR 2020), with its group sizes: emoji of people, cut out, are pasted on crops of the two
photographs that come with scikit-learn. The label is whether a person has an occupation, by
Unicode's own grouping; in training, 95% of those without are on the one photograph and of
those with on the other, in validation and test half. The role (out of 71) takes the place
of the species; a role has 36 drawings, and no drawing is in two splits.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_sample_images
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve
from sklearn.utils import Bunch

from benchmarks._readme import spread
from benchmarks._real import draw_emoji, embed_images
from benchmarks._runs import load, main
from benchmarks._tables import interval, markdown
from benchmarks.shift_benchmarks import predict_dfr, standardised
from skdisentangle import SparseSharedDisentangler
from skdisentangle.metrics import group_accuracies

RESULTS = Path(__file__).parent / "results" / "spurious.jsonl"
SEEDS = range(5000, 5005)

IMAGE_SIZE = 96
#: Sides of the pasted person, and of the crop behind it, in pixels: from, to.
PERSON, CROP = (64, 88), (96, 192)

#: Rows of each group, 2 * label + place.
GROUP_SIZES = {
    "train": (3498, 184, 56, 1057),
    "val": (467, 466, 133, 133),
    "test": (2255, 2255, 642, 642),
}
#: Share of the drawings of each role, about that of the rows.
DRAWINGS = {"train": 0.4, "val": 0.1, "test": 0.5}

#: What the photographs show.
PLACES = ("temple", "flower")

#: Unicode's group of those with an occupation.
OCCUPATION = "person-role"

#: Halves of the roles that are tasks.
HALVES = 48
N_COMPONENTS = 48

#: Inverse strengths of logistic regression to choose from, by validation rows.
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
#: Likewise those for the roles; numbers of components of PCA; rounds of projection.
ROLE_STRENGTHS = (1e-4, 1e-3)
PCA_SIZES = (20, 100, 400)
ROUNDS = (1, 4, 16)


# ---------------------------------------------------------------------- images


def load_people():
    """Cut-out emoji: images (n, 64, 64, 4), roles, and whether they are occupations."""
    drawings = [
        (np.asarray(image), role, group == OCCUPATION)
        for image, role, *_, group in draw_emoji()
    ]
    images, roles, occupations = map(np.array, zip(*drawings, strict=True))
    return images, roles, occupations.astype(int)


def crop(photo, half, rng):
    """A square out of the left or right half of a photograph, mirrored or not."""
    from PIL import Image

    height, width = photo.shape[:2]
    side = rng.integers(CROP[0], CROP[1] + 1)
    top = rng.integers(height - side + 1)
    left = rng.integers(width // 2 - side + 1) + half * (width // 2)
    square = photo[top : top + side, left : left + side]
    square = square[:, :: rng.choice([-1, 1])]
    return Image.fromarray(np.ascontiguousarray(square)).resize((IMAGE_SIZE,) * 2)


def paste(person, background, rng):
    """A person of random size somewhere on a background, mirrored or not."""
    from PIL import Image

    side = int(rng.integers(PERSON[0], PERSON[1] + 1))
    person = Image.fromarray(np.ascontiguousarray(person[:, :: rng.choice([-1, 1])]))
    person = person.resize((side, side))
    left, top = (int(n) for n in rng.integers(IMAGE_SIZE - side + 1, size=2))
    background.paste(person, (left, top), person)
    return np.asarray(background)


def draw(people, roles, occupations, photos, seed, sizes=GROUP_SIZES):
    """Images and labels of all splits.

    Parameters
    ----------
    people : ndarray of uint8, shape (n_people, height, width, 4)
    roles : ndarray of str, shape (n_people,)
    occupations : ndarray of {0, 1}, shape (n_people,)
    photos : pair of ndarray of uint8, shape (height, width, 3)
    seed : int
    sizes : dict of str to sequence of 4 int
        Rows of each group in each split.

    Returns
    -------
    Bunch
        images (n, 96, 96, 3), and for each row: split, target, drawing (number of the
        person), role, place (0 or 1), spot (0 to 3: the half of the photograph), groups
        (2 * target + place).
    """
    rng = np.random.default_rng(seed)
    split_of = np.empty(len(people), dtype=object)
    ends = np.cumsum(list(DRAWINGS.values()))[:-1]
    for role in np.unique(roles):
        own = rng.permutation(np.flatnonzero(roles == role))
        parts = np.split(own, np.rint(ends * len(own)).astype(int))
        for split, part in zip(DRAWINGS, parts, strict=True):
            split_of[part] = split
    images, rows = [], []
    for split, counts in sizes.items():
        for group, count in enumerate(counts):
            target, place = divmod(group, 2)
            own = np.flatnonzero((split_of == split) & (occupations == target))
            for one in rng.choice(own, count):
                half = rng.integers(2)
                background = crop(photos[place], half, rng)
                images.append(paste(people[one], background, rng))
                spot = 2 * place + half
                rows.append((split, target, one, roles[one], place, spot, group))
    names = ("split", "target", "drawing", "role", "place", "spot", "groups")
    columns = map(np.array, zip(*rows, strict=True))
    return Bunch(images=np.stack(images), **dict(zip(names, columns, strict=True)))


def rows_of(data):
    """Numbers of the rows of training, validation and test."""
    return [np.flatnonzero(data.split == name) for name in GROUP_SIZES]


def halves(roles, target, n_tasks, seed):
    """Tasks that tell random halves of the roles apart, (n_samples, n_tasks) of 0 and 1.

    Each takes half of the roles of either label, so that it goes neither with the label
    nor with what the label goes with.
    """
    rng = np.random.default_rng(seed)
    names, codes = np.unique(roles, return_inverse=True)
    label = np.array([target[codes == role][0] for role in range(len(names))])
    tasks = np.zeros((n_tasks, len(names)), dtype=int)
    for task in tasks:
        for one in np.unique(label):
            own = rng.permutation(np.flatnonzero(label == one))
            task[own[: len(own) // 2]] = 1
    return tasks.T[codes]


# ---------------------------------------------------------------------- methods


def best(scores, data):
    """Classes by the scores, cut where both classes are told equally well.

    Which scores, by the accuracy there, and where to cut them, validation rows say, of
    known class only.
    """
    _, held, _ = rows_of(data)
    cuts = []
    for one in scores:
        wrong, right, limits = roc_curve(data.target[held], one[held])
        at = np.argmin(np.abs(right - (1 - wrong)))
        cuts.append((right[at] - wrong[at], limits[at], one))
    _, limit, chosen = max(cuts, key=lambda cut: cut[0])
    return (chosen >= limit).astype(int)


def regressions(codes, data, weight=None):
    """Logistic regressions of the label on training rows, and the codes they take."""
    fit, *_ = rows_of(data)
    codes = standardised(codes, fit)
    models = [
        LogisticRegression(C=C, max_iter=1000).fit(codes[fit], data.target[fit], weight)
        for C in STRENGTHS
    ]
    return models, codes


def plain_head(codes, data):
    """ERM: strength by accuracy on validation rows, no threshold."""
    _, held, _ = rows_of(data)
    models, codes = regressions(codes, data)
    accurate = max(models, key=lambda m: m.score(codes[held], data.target[held]))
    return accurate.predict(codes)


def head(codes, data, weight=None):
    """ERM: strength and threshold by what :func:`best` makes of validation rows."""
    models, codes = regressions(codes, data, weight)
    return best([model.decision_function(codes) for model in models], data)


def best_head(several, data):
    """The same; and which codes, too."""
    scores = []
    for codes in several:
        models, own = regressions(codes, data)
        scores += [model.decision_function(own) for model in models]
    return best(scores, data)


def reweighted_head(codes, data):
    """Each group of training rows weighs the same."""
    groups = data.groups[rows_of(data)[0]]
    sizes = np.bincount(groups, minlength=4)
    return head(codes, data, len(groups) / 4 / sizes[groups])


def dfr_head(codes, data, seed):
    fit, held, _ = rows_of(data)
    codes = standardised(codes, fit)
    return predict_dfr(codes, data.target, data.groups, held, seed)


def role_head(codes, data):
    """Logistic regression of the roles: the label is as probable as all of its roles."""
    fit, *_ = rows_of(data)
    codes = standardised(codes, fit)
    scores = []
    for C in ROLE_STRENGTHS:
        model = LogisticRegression(C=C, max_iter=100).fit(codes[fit], data.role[fit])
        own = [data.target[data.role == role][0] for role in model.classes_]
        scores.append(model.predict_proba(codes) @ np.array(own))
    return best(scores, data)


def project_out(codes, labels, fit, n_rounds):
    """Columns without the directions that tell the place, one after the other.

    S. Ravfogel et al., "Null it out: guarding protected attributes by iterative nullspace
    projection", ACL 2020.
    """
    codes = standardised(codes, fit).astype(np.float64)
    for _ in range(n_rounds):
        model = LogisticRegression(C=1e-2, max_iter=1000)
        slope = model.fit(codes[fit], labels[fit]).coef_[0]
        slope /= np.linalg.norm(slope)
        codes -= np.outer(codes @ slope, slope)
    return codes


def disentangle(data, embedded, seed, place, **changes):
    """Codes of all rows, parts of them that a head can be restricted to, the label's scores.

    Tasks are the label, halves of the roles, and, if asked for, the place and the half of
    the photograph.
    """
    fit, *_ = rows_of(data)
    tasks = np.column_stack(
        [data.target, halves(data.role, data.target, HALVES, seed)]
        + ([data.place, data.spot] if place else [])
    )
    types = ["binary"] * (HALVES + 1) + ["binary", "multiclass"] * place
    estimator = SparseSharedDisentangler(
        N_COMPONENTS, task_types=types, random_state=seed, **changes
    )
    codes = estimator.fit(embedded[fit], tasks[fit]).transform(embedded)
    used = np.array(
        [np.any(estimator.coef_[t.outputs] != 0, axis=0) for t in estimator.tasks_]
    )
    of_label, active = used[0], used.any(axis=0)
    of_place = used[HALVES + 1 :].any(axis=0)
    parts = {ALL: active}
    if not of_label.all():  # else there is nothing to restrict
        parts |= {LABEL: of_label}
        if place:
            parts |= {CLEAN: of_label & ~of_place, OTHERS: active & ~of_place}
    own = estimator.tasks_[0].outputs
    return codes, parts, codes @ estimator.coef_[own][0] + estimator.intercept_[own]


RAW, PCA_ROW, NET = "embeddings", "PCA", "ours without penalties"
OURS, OURS_PLACE = "ours", "ours, place among the tasks"

ERM, BALANCED, DFR = "ERM", "ERM, threshold chosen", "DFR"
ALL, LABEL = "ERM on all components", "ERM on those of the label"
CLEAN = "ERM on those of the label, less those of the place"
OWN = "its own for the label"
OTHERS = "ERM on all, less those of the place"

#: What a method has seen of training rows, in bold what tells their groups.
ROLE_TASKS, PLACE_TASKS = "label, role", "label, role, **place**"


def methods(data, embedded, seed):
    """(features, head, labels used, seconds, classes of all rows) of each method."""
    fit, *_ = rows_of(data)

    def timed(features, name, labels, predict, *arguments, before=0.0):
        start = time.perf_counter()
        predicted = predict(*arguments)
        seconds = before + time.perf_counter() - start
        return features, name, labels, seconds, predicted

    yield timed(RAW, ERM, "label", plain_head, embedded, data)
    yield timed(RAW, BALANCED, "label", head, embedded, data)
    yield timed(RAW, "roles, summed", ROLE_TASKS, role_head, embedded, data)
    yield timed(
        RAW,
        "ERM, place projected out",
        "label, **place**",
        lambda: best_head(
            [project_out(embedded, data.place, fit, n) for n in ROUNDS], data
        ),
    )
    pca = PCA(max(PCA_SIZES), random_state=seed).fit(embedded[fit]).transform(embedded)
    yield timed(
        PCA_ROW, BALANCED, "label", best_head, [pca[:, :n] for n in PCA_SIZES], data
    )
    for features, place, changes in (
        (NET, True, {"sparsity": 0, "sharing": 0}),
        (OURS, False, {}),
        (OURS_PLACE, True, {}),
    ):
        start = time.perf_counter()
        codes, parts, own = disentangle(data, embedded, seed, place, **changes)
        before = time.perf_counter() - start
        labels = PLACE_TASKS if place else ROLE_TASKS
        yield timed(features, OWN, labels, best, [own], data, before=before)
        for name, columns in parts.items():
            # Without components nothing is told.
            kept = codes[:, columns] if columns.any() else np.zeros((len(codes), 1))
            yield timed(features, name, labels, head, kept, data, before=before)
        if features == OURS_PLACE:
            labels = f"{PLACE_TASKS}; **groups** of val"
            kept = codes[:, parts[ALL]]
            yield timed(
                features, DFR, labels, dfr_head, kept, data, seed, before=before
            )
    weighted = "ERM, groups weighted"
    yield timed(RAW, weighted, "label, **place**", reweighted_head, embedded, data)
    yield timed(RAW, DFR, "**groups** of val", dfr_head, embedded, data, seed)


def scores(data, embedded, seed):
    """A dict for each method, with the accuracies of the groups of test rows."""
    *_, test = rows_of(data)
    groups = data.groups[test][:, None] == np.arange(4)
    return [
        {
            "features": features,
            "head": name,
            "labels": labels,
            "seconds": seconds,
            "groups": group_accuracies(
                data.target[test], predicted[test], groups
            ).tolist(),
        }
        for features, name, labels, seconds, predicted in methods(data, embedded, seed)
    ]


def run(seed):
    """Images of one seed, and what every method makes of them."""
    data = draw(*load_people(), load_sample_images().images, seed)
    embedded = embed_images(data.images, IMAGE_SIZE)
    return {"seed": seed, "methods": scores(data, embedded, seed)}


# ---------------------------------------------------------------------- report


def table(rows):
    """Means over seeds, and what the worst group gains on the better ERM, seed by seed."""

    def of(features, name, row):
        return next(
            m for m in row["methods"] if (m["features"], m["head"]) == (features, name)
        )

    erm = [max(min(of(RAW, h, row)["groups"]) for h in (ERM, BALANCED)) for row in rows]
    groups = [
        f"{who} on {where}" for who in ("other", "occupation") for where in PLACES
    ]
    heads = ["features", "head", "labels used", "average", "worst group"]
    heads += ["its gain on ERM's", *groups, "seconds"]
    lines = []
    for method in rows[0]["methods"]:
        features, name = method["features"], method["head"]
        own = [of(features, name, row) for row in rows]
        groups = np.array([m["groups"] for m in own])
        worst = groups.min(axis=1)
        average = np.average(groups, axis=1, weights=GROUP_SIZES["train"])
        lines.append(
            [
                features,
                name,
                method["labels"],
                spread(average),
                spread(worst),
                interval(worst - erm),
                *(f"{mean:.3f}" for mean in groups.mean(axis=0)),
                f"{np.median([m['seconds'] for m in own]):.0f}",
            ]
        )
    return markdown(heads, lines)


SECTION = """## A label that goes with its background

```bash
python -m benchmarks.spurious
```

Waterbirds' protocol and group sizes on images of real parts: emoji of people, with an
occupation or not, on crops of two photographs, by which 95% of the labels can be told in
training and none in validation and test; frozen MobileNetV2 at 96 pixels. "Average" weighs
groups as in training; gains are on the worst group of the better of the two ERMs on the
embeddings, by seed, with 95% t intervals over {n} seeds. Heads are logistic regressions on
training rows, but DFR's, which is fitted on validation rows. But for "ERM" and DFR,
scores are cut where both classes of the validation rows are told equally well, and the
strength is the best there; validation rows' groups are told to DFR only. For "ERM" the
strength is that of the best accuracy, and there is no cut.
"Labels used" are those of training rows; what tells the groups is in bold. The tasks of ours
are the label and {n_tasks} random halves of the roles, each half of either label's; and, if
said so, the photograph and its half. "Seconds" are medians of fit and head, in one
thread, on a machine that did other things too.

Seeds from {seed}; {machine}.

{table}
"""


def section():
    """The part of the report, from the saved results."""
    rows = load(RESULTS)
    if not rows:
        return ""
    return SECTION.format(
        n=len(rows),
        n_tasks=HALVES,
        seed=rows[0]["seed"],
        machine=rows[-1]["machine"],
        table=table(rows),
    )


if __name__ == "__main__":
    main(__doc__, RESULTS, run, {}, lambda: SEEDS, table)
