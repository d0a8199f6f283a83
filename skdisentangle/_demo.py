"""Fit a disentangler to the digits of scikit-learn, with their attributes as tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ._replacing import replacing
from .disentangler import SparseSharedDisentangler
from .inspection import TaskComponentDisplay

__all__ = ["ATTRIBUTES", "HELD_OUT", "digit_tasks", "run_demo"]

#: Which digits have the attribute; one task each, beside one for each digit.
ATTRIBUTES: dict[str, str] = {
    "even": "02468",
    "at least 5": "56789",
    "prime": "2357",
    "closed loop": "0689",
    "straight stroke": "1457",
    "open to the left": "2379",
    "square": "0149",
    "multiple of 3": "0369",
}

#: Left out of the fit, and learned from few labels on the finished features.
HELD_OUT = "prime"

LABELS_PER_CLASS = (2, 5, 10, 20)
N_DRAWS = 20


def digit_tasks(digits: NDArray[np.int_]) -> dict[str, NDArray[np.int_]]:
    """Binary labels of every task: "is a 0" to "is a 9", and the attributes."""
    tasks = {f"is a {digit}": (digits == digit).astype(int) for digit in range(10)}
    for name, members in ATTRIBUTES.items():
        tasks[name] = np.isin(digits, [int(m) for m in members]).astype(int)
    return tasks


def _few_label_scores(
    train: NDArray[np.floating],
    train_labels: NDArray[np.int_],
    test: NDArray[np.floating],
    test_labels: NDArray[np.int_],
    n_per_class: int,
) -> NDArray[np.float64]:
    """Accuracy of a LogisticRegression on a few rows of each class, over draws."""
    scores = []
    for seed in range(N_DRAWS):
        rng = np.random.default_rng(seed)
        rows = np.concatenate(
            [
                rng.choice(
                    np.flatnonzero(train_labels == c), n_per_class, replace=False
                )
                for c in (0, 1)
            ]
        )
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit(train[rows], train_labels[rows])
        scores.append(model.score(test, test_labels))
    return np.array(scores)


def run_demo(picture: Path, out: TextIO, *, verbose: bool = True) -> dict[str, float]:
    """Fit on the digits, print what was learned, and draw it.

    Parameters
    ----------
    picture : Path
        File for the picture of tasks by components. Without matplotlib no picture is
        written, and the output says how to install it.
    out : text stream
        Where to print.
    verbose : bool, default=True
        Whether to show the progress of the fit.

    Returns
    -------
    dict
        For each kind of features, the accuracy on the ten digits for rows not in the fit.
    """

    def say(text: str) -> None:
        print(text, file=out, flush=True)

    pixels, digits = load_digits(return_X_y=True)
    labels = digit_tasks(digits)
    fitted = [name for name in labels if name != HELD_OUT]
    Y = np.column_stack([labels[name] for name in fitted])
    rows = np.arange(len(digits))
    # Three parts: one for the fit, one for the heads of new tasks, one to score on.
    fit_rows, rest = train_test_split(
        rows, train_size=0.5, stratify=digits, random_state=0
    )
    head_rows, test_rows = train_test_split(
        rest, train_size=0.5, stratify=digits[rest], random_state=0
    )
    say(
        f"{len(fit_rows)} images of handwritten digits (8x8 pixels), {len(fitted)} "
        f"tasks. The task {HELD_OUT!r} is held out of the fit."
    )
    dis = SparseSharedDisentangler(random_state=0, verbose=verbose)
    dis.fit(pixels[fit_rows], Y[fit_rows])
    codes = dis.transform(pixels)

    say(f"\n{'task':18s} {'accuracy':>8s}  components in use")
    accuracy = dis.score_tasks(pixels[test_rows], Y[test_rows])
    for task, name, score in zip(dis.tasks_, fitted, accuracy, strict=True):
        used = np.flatnonzero(dis.coef_[task.outputs].any(axis=0))
        say(f"{name:18s} {score:8.3f}  {', '.join(map(str, used))}")
    width = codes.shape[1]
    say(f"\n{width} of {dis.n_components} components are in use.")

    lda = LinearDiscriminantAnalysis().fit(pixels[fit_rows], digits[fit_rows])
    pca = PCA(min(width, pixels.shape[1]), random_state=0).fit(pixels[fit_rows])
    features = {
        f"disentangled ({width})": codes,
        f"PCA ({pca.n_components_})": pca.transform(pixels),
        f"LDA ({lda.transform(pixels[:1]).shape[1]})": lda.transform(pixels),
        f"raw pixels ({pixels.shape[1]})": pixels,
    }
    say(
        "\nAccuracy of a LogisticRegression on each kind of features (number of columns),"
    )
    say("on rows that are not in the fit.")
    say("ten digits: from all labels.")
    say(
        f"n=2 and more: the held-out task {HELD_OUT!r} from n labels per class, mean over "
        f"{N_DRAWS} draws."
    )
    heads = "".join(f"{f'n={n}':>8s}" for n in LABELS_PER_CLASS)
    say(f"\n{'features':20s}{'ten digits':>12s}{heads}")
    results = {}
    for name, values in features.items():
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        model.fit(values[head_rows], digits[head_rows])
        results[name] = float(model.score(values[test_rows], digits[test_rows]))
        new = labels[HELD_OUT]
        few = [
            _few_label_scores(
                values[head_rows], new[head_rows], values[test_rows], new[test_rows], n
            ).mean()
            for n in LABELS_PER_CLASS
        ]
        cells = "".join(f"{score:8.3f}" for score in few)
        say(f"{name:20s}{results[name]:12.3f}{cells}")
    _draw(dis, fitted, picture, say)
    return results


def _draw(
    dis: SparseSharedDisentangler,
    names: list[str],
    picture: Path,
    say: Callable[[str], None],
) -> None:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        say(
            "\nNo picture: matplotlib is missing. Install it with "
            "pip install 'skdisentangle[plots]'."
        )
        return
    width = dis.coef_.shape[1]
    figure = Figure(figsize=(4.4 + 0.32 * width, 6.0), layout="constrained")
    FigureCanvasAgg(figure)
    TaskComponentDisplay.from_estimator(dis, task_names=names, ax=figure.subplots())
    picture.parent.mkdir(parents=True, exist_ok=True)
    with replacing(picture) as file:
        figure.savefig(file, format=picture.suffix[1:] or "png", dpi=130)
    say(f"\nPicture of tasks by components: {picture}")
