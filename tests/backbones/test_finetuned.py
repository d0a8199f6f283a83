"""Backbones that are trained as part of the encoder."""

from __future__ import annotations

import joblib
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from torch import nn

from skdisentangle import SparseSharedDisentangler, SparseSharedDisentanglerCV
from skdisentangle.backbones import (
    FineTuned,
    ImageEmbedder,
    MobileNetV2,
    TextEmbedder,
    _image,
)
from skdisentangle.backbones._image import flipped_and_cropped

N = 240


class Shade(nn.Module):
    """A backbone that is given as it should not be: its features are the mean of red."""

    def __init__(self, width=6):
        super().__init__()
        self.filters = nn.Conv2d(3, width, 1)
        self.norm = nn.BatchNorm2d(width)
        nn.init.zeros_(self.filters.bias)
        with torch.no_grad():
            self.filters.weight[:, 0] = torch.linspace(0.5, 1.5, width).view(-1, 1, 1)
            self.filters.weight[:, 1:] = 0.0

    def forward(self, images):
        return self.norm(self.filters(images))


def shades(n=N, seed=0):
    """Images of one colour with some noise, and the shares of red, green and blue."""
    rng = np.random.default_rng(seed)
    colour = rng.uniform(0.1, 0.9, size=(n, 1, 1, 3))
    pixels = np.clip(colour + 0.05 * rng.normal(size=(n, 8, 8, 3)), 0, 1)
    return (255 * pixels).astype(np.uint8), colour[:, 0, 0]


IMAGES, COLOURS = shades()


def tuned(n_epochs=30, **options):
    embedder = options.pop("embedder", None) or ImageEmbedder(Shade(), image_size=None)
    settings = {"learning_rate": 0.02, "batch_size": 32, "encoder": "linear"}
    return FineTuned(embedder, n_epochs=n_epochs, **settings | options)


def disentangler(encoder=None, **options):
    settings = {"random_state": 0, "task_types": "regression"}
    return SparseSharedDisentangler(6, encoder=encoder or tuned(), **settings | options)


def by_heart():
    """An encoder that can learn some rows by heart."""
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Flatten(), nn.Linear(192, 256), nn.ReLU(), nn.Linear(256, 32)
    )
    embedder = ImageEmbedder(backbone, image_size=None)
    return tuned(60, embedder=embedder, learning_rate=3e-3, augment=False)


@pytest.fixture(scope="module")
def fitted():
    return disentangler().fit(IMAGES, COLOURS)


def test_training_finds_what_the_frozen_backbone_does_not_show(fitted):
    images, colours = shades(200, seed=1)
    frozen = disentangler(tuned(n_epochs=0)).fit(IMAGES, COLOURS)
    assert frozen.score(images, colours) < 0.7
    assert fitted.score(images, colours) > 0.95
    assert fitted.transform(images).shape == (200, 3)


def test_heads_fit_the_features_that_come_out(fitted):
    """`transform`, `coef_` and `predict` are of one model, as with any encoder."""
    scores = fitted.transform(IMAGES) @ fitted.coef_.T + fitted.intercept_
    np.testing.assert_allclose(scores, fitted.predict(IMAGES), rtol=1e-5, atol=1e-6)
    features = fitted.embedder_.transform(IMAGES)
    codes = fitted.encoder_(torch.from_numpy(features).double()).detach().numpy()
    np.testing.assert_allclose(codes, fitted.transform(IMAGES), rtol=1e-3, atol=1e-4)


def test_the_backbone_that_is_given_stays_as_it_is():
    backbone = Shade()
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    encoder = tuned(n_epochs=2, embedder=ImageEmbedder(backbone, image_size=None))
    dis = disentangler(encoder).fit(IMAGES, COLOURS)
    assert all(torch.equal(before[k], v) for k, v in backbone.state_dict().items())
    trained = dis.embedder_.backbone.state_dict()
    assert not torch.equal(trained["filters.weight"], before["filters.weight"])
    # Statistics of batches stay those of the pretraining.
    assert torch.equal(trained["norm.running_mean"], before["norm.running_mean"])


def test_a_seed_decides_all_and_global_generators_stay(fitted):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    again = clone(fitted).fit(IMAGES, COLOURS)
    assert torch.equal(before, torch.random.get_rng_state())
    np.testing.assert_array_equal(again.transform(IMAGES), fitted.transform(IMAGES))


def test_paths_give_what_arrays_give(tmp_path):
    paths = []
    for number, image in enumerate(IMAGES[:80]):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(image).save(paths[-1])
    dis = disentangler(tuned(n_epochs=2))
    of_files = clone(dis).fit(paths, COLOURS[:80]).transform(paths)
    of_arrays = clone(dis).fit(IMAGES[:80], COLOURS[:80]).transform(IMAGES[:80])
    np.testing.assert_array_equal(of_files, of_arrays)


def test_rows_of_weight_zero_have_no_say():
    wrong, images = COLOURS.copy(), IMAGES.copy()
    wrong[120:], images[120:] = 7.0, 0
    weight = np.repeat([1.0, 0.0], 120)
    dis = disentangler(tuned(n_epochs=2))
    right = clone(dis).fit(IMAGES, COLOURS, sample_weight=weight)
    other = clone(dis).fit(images, wrong, sample_weight=weight)
    np.testing.assert_array_equal(right.transform(IMAGES), other.transform(IMAGES))


@pytest.mark.parametrize("warm_start", [False, True])
def test_tasks_of_weight_zero_have_no_say(warm_start):
    beside = np.column_stack([COLOURS[:, 0] > 0.5, COLOURS])
    types = ["binary", *["regression"] * 3]
    options = {"warm_start": warm_start}
    alone = disentangler(tuned(n_epochs=2), **options)
    both = disentangler(
        tuned(n_epochs=2), **options, task_types=types, task_weight=[0, 1, 1, 1]
    )
    for _ in range(1 + warm_start):
        alone.fit(IMAGES, COLOURS)
        both.fit(IMAGES, beside)
        np.testing.assert_array_equal(both.transform(IMAGES), alone.transform(IMAGES))
    assert both.score_tasks(IMAGES, beside)[0] > 0.8


def test_missing_labels_and_classes():
    labels = np.column_stack([COLOURS[:, 0], COLOURS[:, 1] > 0.5, COLOURS[:, 2] > 0.5])
    labels[::3, 0] = np.nan
    types = ["regression", "binary", "binary"]
    dis = disentangler(task_types=types).fit(IMAGES, labels)
    scores = dis.score_tasks(IMAGES, labels)
    assert (scores > 0.85).all()


def test_files_hold_the_trained_backbone(fitted, tmp_path):
    path = tmp_path / "model.safetensors"
    fitted.save(path)
    again = SparseSharedDisentangler.load(path, encoder=tuned())
    np.testing.assert_array_equal(again.transform(IMAGES), fitted.transform(IMAGES))
    with pytest.raises(ValueError, match="encoder"):
        SparseSharedDisentangler.load(path)
    other = tuned(embedder=ImageEmbedder(nn.Conv2d(3, 6, 2), image_size=None))
    with pytest.raises(ValueError, match="its backbone differs from that of"):
        SparseSharedDisentangler.load(path, encoder=other)


def test_pickles_hold_it_too(fitted, tmp_path):
    joblib.dump(fitted, tmp_path / "model.joblib")
    again = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(again.predict(IMAGES), fitted.predict(IMAGES))


def test_a_new_task_and_its_file(fitted, tmp_path):
    is_red = COLOURS[:, 0] > 0.5
    head = fitted.fit_task(IMAGES[:40], is_red[:40])
    assert head.score(IMAGES[40:], is_red[40:]) > 0.9
    head.save(tmp_path / "head.safetensors")
    again = type(head).load(tmp_path / "head.safetensors", encoder=tuned())
    np.testing.assert_array_equal(again.predict(IMAGES), head.predict(IMAGES))


def test_pipelines_and_searches():
    is_red = COLOURS[:, 0] > 0.5
    pipeline = make_pipeline(disentangler(tuned(n_epochs=1)), LogisticRegression())
    search = GridSearchCV(
        pipeline,
        {"sparseshareddisentangler__encoder__n_epochs": [0, 1]},
        cv=2,
    )
    search.fit(IMAGES[:80], is_red[:80], sparseshareddisentangler__Y_tasks=COLOURS[:80])
    assert search.predict(IMAGES).shape == (N,)


def test_cross_fit_gives_features_of_folds_that_did_not_see_a_row():
    noise = np.random.default_rng(0).normal(size=(80, 2))
    dis = disentangler(by_heart(), cross_fit=2, sparsity=0, sharing=0)
    features = dis.fit_transform(IMAGES[:80], noise)
    plain = dis.transform(IMAGES[:80])
    assert features.shape == plain.shape

    def known(columns):
        return LinearRegression().fit(columns, noise).score(columns, noise)

    # What a fit has learned by heart is not in features of folds.
    assert known(plain) > 0.5
    assert known(features) < 0.3


def test_strengths_are_chosen_on_features_of_the_frozen_backbone():
    trained, frozen = (
        SparseSharedDisentanglerCV(
            4,
            sparsities=[0.03, 0.3],
            cv=2,
            encoder=tuned(n_epochs=n),
            task_types="regression",
            random_state=0,
        ).fit(IMAGES[:80], COLOURS[:80])
        for n in (2, 0)
    )
    assert trained.cv_results_.keys() == frozen.cv_results_.keys()
    for name, values in trained.cv_results_.items():
        np.testing.assert_array_equal(values, frozen.cv_results_[name])
    assert not np.allclose(trained.coef_, frozen.coef_)


def test_partial_fit_goes_on_with_the_backbone_as_it_is(fitted):
    with pytest.raises(ValueError, match="Call fit first, or set n_epochs=0"):
        disentangler().partial_fit(IMAGES, COLOURS)
    dis = clone(fitted).fit(IMAGES, COLOURS)
    before = dis.embedder_
    dis.partial_fit(IMAGES, COLOURS)
    assert dis.embedder_ is before
    assert dis.score(IMAGES, COLOURS) > 0.9


def test_a_graph_cannot_hold_it(fitted, tmp_path):
    with pytest.raises(ValueError, match=r"embedder_\.backbone, with torch\.onnx"):
        fitted.to_onnx(tmp_path / "model.onnx")


def test_a_fit_goes_on_with_what_was_fitted(fitted):
    """Whatever `encoder` says by then."""
    dis = clone(fitted).set_params(warm_start=True, encoder__n_epochs=1)
    dis.fit(IMAGES, COLOURS)
    before = dis.embedder_.backbone.filters.weight.clone()
    dis.fit(IMAGES, COLOURS)
    assert not torch.equal(dis.embedder_.backbone.filters.weight, before)
    dis.set_params(encoder="linear").fit(IMAGES, COLOURS)
    assert len(dis.transform(IMAGES)) == N
    plain = disentangler("linear", warm_start=True).fit(COLOURS, COLOURS)
    plain.set_params(encoder=tuned()).fit(COLOURS, COLOURS)
    assert len(plain.transform(COLOURS)) == N


def test_a_new_fit_of_another_kind_forgets_the_backbone(fitted, tmp_path):
    dis = clone(fitted).set_params(encoder__n_epochs=0).fit(IMAGES, COLOURS)
    dis.set_params(encoder="linear").fit(COLOURS, COLOURS)
    assert not hasattr(dis, "embedder_")
    dis.save(tmp_path / "model.safetensors")
    again = SparseSharedDisentangler.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.transform(COLOURS), dis.transform(COLOURS))


def test_rows_held_back_would_be_seen_by_the_backbone():
    with pytest.raises(ValueError, match="early_stopping must be False"):
        disentangler(early_stopping=True).fit(IMAGES, COLOURS)


def test_the_noise_of_new_tasks_is_not_that_of_rows_known_by_heart():
    noise = np.random.default_rng(0).normal(size=(80, 2))
    dis = disentangler(by_heart(), sparsity=0, sharing=0).fit(IMAGES[:80], noise)
    by_features = 1 - dis.score(IMAGES[:80], noise)
    assert by_features < 0.5
    assert dis._unexplained > by_features + 0.2


def test_layers_that_are_frozen_stay_so():
    backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 1))
    backbone[0].requires_grad_(False)
    encoder = tuned(n_epochs=1, embedder=ImageEmbedder(backbone, image_size=None))
    dis = disentangler(encoder).fit(IMAGES, COLOURS)
    found = dis.embedder_.backbone
    assert torch.equal(found[0].weight, backbone[0].weight)
    assert not torch.equal(found[1].weight, backbone[1].weight)
    backbone.requires_grad_(False)
    with pytest.raises(ValueError, match="no weights with requires_grad=True"):
        disentangler(encoder).fit(IMAGES, COLOURS)


def test_a_single_step_trains():
    encoder = tuned(n_epochs=1, batch_size=64)
    dis = disentangler(encoder).fit(IMAGES[:60], COLOURS[:60])
    before = encoder.embedder.backbone.filters.weight
    assert not torch.equal(dis.embedder_.backbone.filters.weight, before)


def test_a_training_that_diverges_says_what_to_lower():
    with pytest.raises(ValueError, match="lower learning_rate of FineTuned"):
        disentangler(tuned(n_epochs=2, learning_rate=1e30)).fit(IMAGES, COLOURS)


def test_a_backbone_by_name_is_loaded_without_its_pretrained_weights(
    tmp_path, monkeypatch
):
    torch.manual_seed(0)
    torch.save(MobileNetV2().state_dict(), tmp_path / "weights.pth")
    embedder = ImageEmbedder(weights=tmp_path / "weights.pth", image_size=32)
    dis = disentangler(tuned(n_epochs=1, embedder=embedder, learning_rate=1e-4))
    dis.set_params(sparsity=0, sharing=0).fit(IMAGES[:40], COLOURS[:40])
    dis.save(tmp_path / "model.safetensors")
    monkeypatch.setattr(_image, "MOBILENET_PACKAGE", "no_such_package")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    encoder = FineTuned(ImageEmbedder(image_size=32))
    again = SparseSharedDisentangler.load(
        tmp_path / "model.safetensors", encoder=encoder
    )
    np.testing.assert_array_equal(
        again.transform(IMAGES[:9]), dis.transform(IMAGES[:9])
    )


def test_files_are_loaded_with_the_kind_of_encoder_of_the_fit(fitted, tmp_path):
    fitted.save(tmp_path / "tuned.safetensors")
    with pytest.raises(ValueError, match="must be a FineTuned, as in the fit"):
        SparseSharedDisentangler.load(
            tmp_path / "tuned.safetensors", encoder=nn.Linear(6, 6)
        )
    own = disentangler(nn.Linear(3, 6)).fit(COLOURS, COLOURS)
    own.save(tmp_path / "own.safetensors")
    with pytest.raises(ValueError, match="must be a module or a callable"):
        SparseSharedDisentangler.load(tmp_path / "own.safetensors", encoder=tuned())


def test_a_failed_fit_leaves_all_as_it_was(fitted):
    dis = clone(fitted).fit(IMAGES, COLOURS)
    before, kept = dis.transform(IMAGES), dis.embedder_
    with pytest.raises(ValueError, match="row for each"):
        dis.fit(IMAGES[:50], COLOURS)
    assert dis.embedder_ is kept
    np.testing.assert_array_equal(dis.transform(IMAGES), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_epochs": -1}, "n_epochs"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"warmup": 2.0}, "warmup"),
        ({"encoder": "conv"}, "encoder"),
        ({"batch_size": 1}, "batch_size"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=f"The '{message}' parameter of FineTuned"):
        disentangler(tuned(**options)).fit(IMAGES, COLOURS)


def test_wrong_rows_are_named(tmp_path):
    dis = disentangler()
    with pytest.raises(ValueError, match="looks like that of a single image"):
        dis.fit(IMAGES[0], COLOURS[:8])
    with pytest.raises(FileNotFoundError, match=r"X\[1\]"):
        good = tmp_path / "good.png"
        Image.fromarray(IMAGES[0]).save(good)
        dis.fit([str(good), "missing.png"], COLOURS[:2])


def test_progress_is_one_line_with_the_time_left(capsys):
    disentangler(tuned(n_epochs=1), verbose=True).fit(IMAGES, COLOURS)
    line = capsys.readouterr().out.split("Training the backbone: ")[-1]
    assert line.startswith("step 8/8  loss ")
    assert "took " in line


def test_images_are_mirrored_and_cropped():
    ramp = torch.linspace(0, 1, 32).expand(200, 1, 32, 32)  # brighter to the right
    changed = flipped_and_cropped(ramp, torch.Generator().manual_seed(0))
    assert changed.shape == ramp.shape
    assert (changed.min() >= 0) & (changed.max() <= 1)
    slopes = changed[:, 0, 16, 24] - changed[:, 0, 16, 8]
    assert 60 < (slopes < 0).sum() < 140
    # A window of 0.8 to 1 of the width has as much of the slope.
    whole = 16 / 31
    assert (slopes.abs() <= whole * 1.01).all()
    assert (slopes.abs() >= whole * 0.79).all()


class Words(nn.Module):
    """What FineTuned asks of a model of sentence-transformers."""

    VOCABULARY = ("good", "bad", "cat", "dog")
    max_seq_length = 8

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 6)
        self.tokenizer = "letters"

    def tokenize(self, texts):
        index = {word: number for number, word in enumerate(self.VOCABULARY)}
        rows = [[index.get(word, 4) for word in text.split()] for text in texts]
        return {"input_ids": torch.tensor(rows), "texts": texts}

    def forward(self, tokens):
        return {"sentence_embedding": self.table(tokens["input_ids"]).mean(1)}

    def encode(self, texts, **options):
        with torch.no_grad():
            return self(self.tokenize(texts))["sentence_embedding"].numpy()


def test_texts():
    rng = np.random.default_rng(0)
    first, second = rng.integers(2, size=(2, 200))
    texts = [
        f"a {('cat', 'dog')[b]} {('bad', 'good')[a]}"
        for a, b in zip(first, second, strict=True)
    ]
    torch.manual_seed(0)
    model = Words()
    encoder = tuned(embedder=TextEmbedder(model), n_epochs=3)
    labels = np.column_stack([first, second])
    dis = disentangler(encoder, task_types="binary")
    with pytest.raises(ValueError, match=r"X\[1\] must be a string; got 3"):
        dis.fit(["a", 3], labels[:2])
    assert dis.fit(texts, labels).score(texts, labels) == 1.0
    words = dis.embedder_.model.table.weight
    assert not torch.equal(words[:4], model.table.weight[:4])


def test_a_function_of_texts_cannot_be_trained():
    def lengths(texts):
        return np.array([[len(text)] for text in texts])

    texts = ["a" * n for n in range(2, 42)]
    labels = np.arange(40.0)
    encoder = tuned(embedder=TextEmbedder(lengths), n_epochs=1)
    with pytest.raises(
        TypeError, match="model must be a model of sentence-transformers"
    ):
        disentangler(encoder).fit(texts, labels)
    frozen = tuned(embedder=TextEmbedder(lengths), n_epochs=0)
    with pytest.warns(UserWarning, match="single task"):
        dis = disentangler(frozen).fit(texts, labels)
    assert dis.score(texts, labels) > 0.9
