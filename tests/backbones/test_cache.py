"""Features are computed once: what the cache knows again, and what it must not."""

from __future__ import annotations

import joblib
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skdisentangle.backbones import ImageEmbedder, TextEmbedder

from .common import SEEN, Small, make_images

IMAGES = make_images(9)


@pytest.fixture
def embedder(tmp_path):
    SEEN.clear()
    return ImageEmbedder(Small(), image_size=12, batch_size=4, memory=tmp_path)


def seen():
    """Images that went through the backbone since the last call."""
    n_images = sum(SEEN)
    SEEN.clear()
    return n_images


def test_rows_are_known_again_wherever_they_stand(embedder):
    first = embedder.transform(IMAGES)
    assert seen() == 9
    np.testing.assert_array_equal(embedder.transform(IMAGES), first)
    some = [7, 2, 3]
    np.testing.assert_array_equal(embedder.transform(IMAGES[some]), first[some])
    np.testing.assert_array_equal(clone(embedder).transform(list(IMAGES)), first)
    assert seen() == 0
    more = np.concatenate([make_images(2, seed=1), IMAGES])
    np.testing.assert_array_equal(embedder.transform(more)[2:], first)
    assert seen() == 2
    plain = clone(embedder).set_params(memory=None).transform(IMAGES)
    np.testing.assert_allclose(plain, first, rtol=1e-5, atol=1e-6)


def test_files_are_known_by_what_they_hold(embedder, tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        Image.fromarray(IMAGES[0]).save(path)
    embedder.transform(paths[:1])
    seen()
    embedder.transform(paths[1:])
    assert seen() == 0
    Image.fromarray(IMAGES[1]).save(paths[0])
    embedder.transform(paths)
    assert seen() == 1


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": (12, 8)},
        {"mean": (0.5, 0.5, 0.5)},
        {"std": (0.5, 0.5, 0.5)},
        {"backbone": Small(seed=1)},
        {"backbone": torch.nn.Sequential(Small())},
    ],
)
def test_other_settings_are_other_features(change, embedder):
    embedder.transform(IMAGES)
    seen()
    other = clone(embedder).set_params(**change)
    plain = clone(other).set_params(memory=None).transform(IMAGES)
    seen()
    np.testing.assert_array_equal(other.transform(IMAGES), plain)
    assert seen() == 9


def test_settings_that_do_not_matter_do_not_count(embedder):
    embedder.transform(IMAGES)
    seen()
    other = clone(embedder).set_params(batch_size=2, n_threads=2, image_size=(12, 12))
    other.transform(IMAGES)
    assert seen() == 0


def test_a_change_of_a_module_is_seen(embedder):
    """Of a parameter, of a setting that is no parameter, and of its code."""
    embedder.transform(IMAGES)
    with torch.no_grad():
        embedder.backbone.layer.bias.add_(1)
    seen()
    embedder.transform(IMAGES)
    assert seen() == 9
    embedder.backbone.gain = 2.0
    embedder.transform(IMAGES)
    assert seen() == 9
    embedder.backbone.train()  # of no matter
    embedder.transform(IMAGES)
    assert seen() == 0


def test_a_change_of_code_is_seen(embedder):
    def write(body):
        names = {"torch": torch, "SEEN": SEEN, "__name__": "notebook"}
        exec(
            "class Written(torch.nn.Module):\n"
            "    def forward(self, x):\n"
            f"        SEEN.append(len(x))\n        return {body}\n",
            names,
        )
        return names["Written"]()

    for body, n_images in (
        ("x.mean((2, 3))", 9),
        ("x.mean((2, 3))", 0),
        ("x[:, 1]", 9),
    ):
        embedder.set_params(backbone=write(body)).transform(IMAGES)
        assert seen() == n_images


def test_a_damaged_or_missing_entry_is_computed_again(embedder, tmp_path):
    first = embedder.transform(IMAGES)
    damaged, missing = sorted(tmp_path.rglob("output.pkl"))[:2]
    damaged.write_bytes(b"")
    missing.unlink()
    seen()
    again = embedder.transform(IMAGES)
    np.testing.assert_allclose(again, first, rtol=1e-5, atol=1e-6)
    assert seen() == 2
    embedder.transform(IMAGES)
    assert seen() == 0


def test_a_search_embeds_each_row_once(embedder, capsys):
    """Though each fold has rows of its own, and each candidate a clone."""
    memory = joblib.Memory(embedder.memory, verbose=10)  # not one line a row
    embedder.set_params(memory=memory)
    pipe = Pipeline([("embed", embedder), ("clf", LogisticRegression())])
    search = GridSearchCV(pipe, {"clf__C": [0.1, 1, 10]}, cv=3)
    search.fit(list(IMAGES), [0, 1, 0] * 3)
    search.predict(list(IMAGES))
    assert seen() == 9
    assert capsys.readouterr().out == ""


def test_no_location_is_no_cache(embedder):
    embedder.set_params(memory=joblib.Memory(None))
    embedder.transform(IMAGES)
    embedder.transform(IMAGES)
    assert seen() == 18


CALLS = []


def measure(texts):
    CALLS.extend(texts)
    return [[len(text), text.count("a")] for text in texts]


def test_texts_are_known_again(tmp_path):
    CALLS.clear()
    embedder = TextEmbedder(measure, memory=str(tmp_path))
    first = embedder.transform(["a", "bab", "caca"])
    np.testing.assert_array_equal(first, [[1, 1], [3, 1], [4, 2]])
    again = embedder.transform(["caca", "d", "a"])
    np.testing.assert_array_equal(again, [[4, 2], [1, 0], [1, 1]])
    assert CALLS == ["a", "bab", "caca", "d"]


def test_functions_that_cannot_be_known_again_have_no_cache(tmp_path):
    factor = len(str(tmp_path))
    for model in (lambda texts: [[factor] for _ in texts], np.atleast_2d):
        embedder = TextEmbedder(model, memory=tmp_path)
        with pytest.raises(ValueError, match="must be a plain one"):
            embedder.transform(["a"])


DIVISOR = [0.0]


def inverse(texts):
    CALLS.extend(texts)
    return [[1, len(text) / DIVISOR[0] if DIVISOR[0] else np.nan] for text in texts]


def test_features_that_are_not_finite_are_not_kept(tmp_path):
    CALLS.clear()
    embedder = TextEmbedder(inverse, memory=tmp_path)
    for _ in range(2):  # and not the second time, out of the cache
        with pytest.raises(ValueError, match=r"X\[0\], 'a', must be finite"):
            embedder.transform(["a"])
    assert CALLS == ["a", "a"]
    DIVISOR[0] = 2.0
    np.testing.assert_array_equal(embedder.transform(["a"]), [[1, 0.5]])


def test_an_image_without_finite_features_is_not_kept(embedder):
    images = IMAGES.copy()
    embedder.set_params(backbone=Holes(), batch_size=2)
    images[4] = 0
    for n_images in (6, 2):  # the rows of two batches are kept, those of the third not
        with pytest.raises(ValueError, match=r"X\[4\] must be finite"):
            embedder.transform(images)
        assert seen() == n_images
    assert np.isfinite(embedder.transform(np.delete(images, 4, axis=0))).all()


class Holes(torch.nn.Module):
    """No number for what is all black."""

    def forward(self, x):
        SEEN.append(len(x))
        brightest = x.amax((2, 3))
        return torch.where(brightest > x.amin((2, 3)), brightest, torch.nan)
