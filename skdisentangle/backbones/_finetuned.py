"""A pretrained backbone that a disentangler trains as part of its encoder."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from .._sklearn import BaseEstimator
from ._embedder import Embedder, Trainable
from ._image import ImageEmbedder

__all__ = [
    "FineTuned",
    "SomeRows",
    "architecture",
    "embedder_of",
    "trainable",
    "with_model",
]


class FineTuned(BaseEstimator):
    """Train a pretrained backbone for images or texts as part of the encoder.

    Give it to :class:`~skdisentangle.SparseSharedDisentangler` as ``encoder``. X is then what
    the embedder takes: images, paths of image files, or texts. ``fit`` takes three steps:

    1. It sends X through the frozen backbone once. It fits an encoder and heads on these
       features, without penalties, and chooses the input noise.
    2. It trains the backbone on batches of X, together with that encoder and those heads.
    3. It sends X through the trained backbone once. The usual fit, with penalties, uses these
       features.

    Parameters
    ----------
    embedder : ImageEmbedder, TextEmbedder or str, default="mobilenet_v2"
        Embedder that reads X and has the backbone. A string means ``ImageEmbedder(string)``.
        Its batch size, device, threads and cache apply while the backbone is frozen.
    encoder : {"linear", "mlp"}, default="linear"
        The encoder after the backbone, as in
        :class:`~skdisentangle.SparseSharedDisentangler`.
    n_epochs : int, default=5
        Passes over X that train the backbone. 0 keeps it frozen.
    learning_rate : float, default=1e-4
        Largest learning rate of the backbone. That of the encoder after it is ten times
        larger.
    warmup : float, default=0.1
        Share of the steps in which the learning rate rises from zero. It then falls to
        zero along a half cosine.
    weight_decay : float, default=0.01
        Weight decay of the backbone, as in AdamW [1]_.
    augment : bool, default=True
        Whether to mirror images and crop them at random, differently in each epoch. Half of
        the images are mirrored. Turn it off if left and right, position or size matter.
        Texts are not changed.
    batch_size : int, default=64
        Rows per step.

    See Also
    --------
    ImageEmbedder, TextEmbedder : Frozen backbones, as steps of a pipeline.

    Notes
    -----
    Batch normalisation keeps its pretrained statistics, and dropout is off. The features of a
    row therefore do not depend on other rows. On a CUDA device the backbone computes in mixed
    precision (bfloat16).

    ``sparsity="auto"`` and :class:`~skdisentangle.SparseSharedDisentanglerCV` choose strengths
    on features of the frozen backbone. ``early_stopping`` raises an error, because the backbone
    sees all rows. Weights with ``requires_grad=False`` are not trained.

    References
    ----------
    .. [1] I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019.

    Examples
    --------
    >>> import torch
    >>> from skdisentangle import SparseSharedDisentangler
    >>> from skdisentangle.backbones import FineTuned, ImageEmbedder
    >>> from skdisentangle.datasets import make_sprites
    >>> sprites = make_sprites(200, size=16, random_state=0)
    >>> images = sprites.images
    >>> backbone = torch.nn.Conv2d(3, 8, 5)  # yours is pretrained
    >>> encoder = FineTuned(ImageEmbedder(backbone, image_size=None), n_epochs=1)
    >>> dis = SparseSharedDisentangler(encoder=encoder, random_state=0)
    >>> len(dis.fit_transform(images, sprites.target))
    200
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "embedder": [str, Embedder],
        "encoder": [StrOptions({"linear", "mlp"})],
        "n_epochs": [Interval(Integral, 0, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "warmup": [Interval(Real, 0, 1, closed="both")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "augment": ["boolean"],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(
        self,
        embedder: Embedder | str = "mobilenet_v2",
        *,
        encoder: Literal["linear", "mlp"] = "linear",
        n_epochs: int = 5,
        learning_rate: float = 1e-4,
        warmup: float = 0.1,
        weight_decay: float = 0.01,
        augment: bool = True,
        batch_size: int = 64,
    ) -> None:
        self.embedder = embedder
        self.encoder = encoder
        self.n_epochs = n_epochs
        self.learning_rate = learning_rate
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.augment = augment
        self.batch_size = batch_size


def embedder_of(tuned: FineTuned) -> Embedder:
    """An embedder that a fit may keep; parameters are checked."""
    tuned._validate_params()
    if isinstance(tuned.embedder, str):
        return ImageEmbedder(tuned.embedder)
    own: Embedder = clone(tuned.embedder)
    return own


def trainable(embedder: Embedder) -> Trainable:
    """A copy of its model that may be trained."""
    embedder._validate_params()
    return embedder._trainable()


def architecture(embedder: Embedder) -> nn.Module:
    """Its model, whatever the weights are: those of a file are to come."""
    return embedder._architecture()


def with_model(embedder: Embedder, module: nn.Module) -> Embedder:
    """The same embedder of another model."""
    return embedder._with_model(module)


class SomeRows:
    """Some rows of X, which are read when they are needed."""

    def __init__(self, embedder: Embedder, X: Any, numbers: NDArray[np.intp]) -> None:
        self._rows, self._numbers = embedder._rows(X), numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def take(self, which: Sequence[int]) -> tuple[list[int], list[Any]]:
        """Numbers in X, for messages, and content of some rows."""
        numbers = [int(self._numbers[each]) for each in which]
        return numbers, [self._rows.read(range(n, n + 1))[0] for n in numbers]
