"""Bodies of encoders: built here, or brought by the user."""

from __future__ import annotations

import copy
import inspect
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["build_body", "check_can_join", "image_shape", "seeded"]

_RNG_LOCK = threading.RLock()  # what a fit calls may fit, too


def _new_lock() -> None:
    """A forked process has not the thread that would give the lock back."""
    global _RNG_LOCK
    _RNG_LOCK = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)

#: Channels of the convolutions of ``encoder="conv"``; the last is used from there on.
CONV_CHANNELS = (32, 64, 64)

#: Images at least so large are cut to a quarter, not a half, by the first convolution,
#: which at full size would take most of the time and add little.
LARGE_IMAGE = 32

#: Weights beyond which sizes of layers are taken for a mistake: a terabyte of them.
MAX_WEIGHTS = 2**37

#: Narrower layers are not normalised: it would take away much of what they say.
MIN_NORMALISED = 8


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generators for a while, then put them back as they were.

    One thread at a time: for modules of the user's, whose initialisation and dropout
    know no other generator.
    """
    devices = range(torch.cuda.device_count())
    with _RNG_LOCK, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def _initialise(layer: nn.Linear | nn.Conv2d, generator: torch.Generator) -> None:
    """Torch's default initialisation, from a generator of our own."""
    nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
    if layer.bias is not None:
        bound = 1 / math.sqrt(math.prod(layer.weight.shape[1:]))
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)


def _device() -> torch.device:
    """Where torch makes tensors, which ``skip_init`` would not ask."""
    return torch.get_default_device()


def _linear(n_in: int, n_out: int, generator: torch.Generator) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, n_in, n_out, device=_device())
    assert isinstance(layer, nn.Linear)
    _initialise(layer, generator)
    return layer


class Mlp(nn.Sequential):
    """Hidden layers, then one linear layer on what they give and on the row itself.

    What is linear in the row need not be learned by the hidden layers, and these can be
    given another view of it: a row may come twice, side by side, the second time for them.
    """

    def forward(self, rows: Tensor) -> Tensor:
        *hidden_layers, last = self
        assert isinstance(hidden_layers[0], nn.Linear)
        assert isinstance(last, nn.Linear)
        n_features = hidden_layers[0].in_features
        hidden = rows[:, -n_features:]
        for layer in hidden_layers:
            hidden = layer(hidden)
        if last.in_features > hidden.shape[1]:
            hidden = torch.cat([rows[:, :n_features], hidden], dim=1)
        out: Tensor = last(hidden)
        return out


def _hidden_layers(
    n_in: int, widths: Sequence[int], generator: torch.Generator
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [_linear(n_in, width, generator), nn.ReLU()]
        n_in = width
    return layers


def _mlp(
    n_in: int,
    hidden: Sequence[int],
    n_out: int,
    generator: torch.Generator,
    *,
    sees_rows: bool,
) -> nn.Module:
    """A network that begins as a linear map of the row."""
    if not hidden:
        return _linear(n_in, n_out, generator)
    layers = _hidden_layers(n_in, hidden, generator)
    n_direct = n_in if sees_rows else 0
    last = _linear(n_direct + hidden[-1], n_out, generator)
    with torch.no_grad():
        last.weight[:, n_direct:] = 0.0
    return Mlp(*layers, last)


def _conv(
    input_shape: tuple[int, int, int],
    hidden: Sequence[int],
    n_out: int,
    generator: torch.Generator,
) -> nn.Sequential:
    channels, height, width = input_shape
    layers: list[nn.Module] = [nn.Unflatten(1, input_shape)]
    depth = 0
    while max(height, width) > 4:
        factor = 4 if depth == 0 and max(height, width) >= LARGE_IMAGE else 2
        stride = (factor if height > 4 else 1, factor if width > 4 else 1)
        short = (-height % stride[0], -width % stride[1])
        if any(short):
            layers.append(nn.ZeroPad2d((0, short[1], 0, short[0])))
            height, width = height + short[0], width + short[1]
        n_filters = CONV_CHANNELS[min(depth, len(CONV_CHANNELS) - 1)]
        layer = nn.utils.skip_init(
            nn.Conv2d,
            channels,
            n_filters,
            (stride[0] + 2, stride[1] + 2),
            stride=stride,
            padding=1,
            device=_device(),
        )
        assert isinstance(layer, nn.Conv2d)
        _initialise(layer, generator)
        # Normalised by image, not by batch: a row's features must not depend on other
        # rows. Smooth: at the kinks of a rectifier, a deep network makes differences
        # out of rounding, and a weighted fit would differ from one on repeated rows.
        layers += [layer, nn.GroupNorm(1, n_filters), nn.SiLU()]
        channels = n_filters
        height, width = height // stride[0], width // stride[1]
        depth += 1
    layers.append(nn.Flatten())
    n_in = channels * height * width
    dense = _hidden_layers(n_in, hidden, generator)
    if hidden and hidden[0] >= MIN_NORMALISED:
        dense.insert(1, nn.LayerNorm(hidden[0]))
    dense.append(_linear(hidden[-1] if hidden else n_in, n_out, generator))
    return nn.Sequential(*layers, *dense)


def _from_user(
    encoder: nn.Module | Callable[..., nn.Module],
    n_features: int,
    n_components: int,
    seed: int,
) -> nn.Module:
    if isinstance(encoder, nn.Module):
        return copy.deepcopy(encoder)
    options: dict[str, Any] = {}
    signature = inspect.signature(encoder)
    if "n_components" in signature.parameters:
        options["n_components"] = n_components
    try:
        signature.bind(n_features, **options)
    except TypeError as error:
        raise TypeError(
            "encoder, a callable, must take n_features, and optionally n_components: "
            f"{error}."
        ) from error
    with seeded(seed):
        body = encoder(n_features, **options)
    if not isinstance(body, nn.Module):
        raise TypeError(
            "encoder, a callable, must return a torch.nn.Module when called with "
            f"n_features; got {type(body).__name__}."
        )
    return body


def _check_width(body: nn.Module, n_features: int, n_components: int) -> None:
    """Run two rows through a module of the user's and look at what comes out."""
    parameter = next(body.parameters(), None)
    dtype = torch.float32 if parameter is None else parameter.dtype
    device = torch.device("cpu") if parameter is None else parameter.device
    body.eval()
    try:
        with torch.no_grad():
            out = body(torch.zeros(2, n_features, dtype=dtype, device=device))
    except RuntimeError as error:
        raise ValueError(
            f"encoder must take rows of shape (n, {n_features}); for (2, {n_features}) its "
            f"module raised: {error}"
        ) from error
    shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
    if shape != (2, n_components):
        raise ValueError(
            "encoder must map rows of shape (n, n_features) to (n, n_components), "
            f"here (2, {n_features}) to (2, {n_components}); got {shape}. Change the "
            "width of its last layer, or n_components."
        )


def check_can_join(body: nn.Module) -> None:
    """Raise ValueError if a body looks at other rows of its process's part of a batch."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    for module in body.modules():
        if isinstance(module, kinds):
            raise ValueError(
                "encoder must not use batch normalisation in a fit on several processes, "
                f"because each sees only a part of a batch; got a {type(module).__name__}. "
                "Use LayerNorm or GroupNorm."
            )


def image_shape(
    input_shape: Sequence[int] | None, n_features: int
) -> tuple[int, int, int] | None:
    """Channels, height and width of a row that is an image; None for any other."""
    if input_shape is None:
        return None
    shape: tuple[Any, ...] = tuple(input_shape)
    if (
        len(shape) != 3
        or not all(isinstance(size, Integral) and int(size) > 0 for size in shape)
        or math.prod(shape) != n_features
    ):
        raise ValueError(
            f"input_shape must be (C, H, W) with C * H * W = {n_features}, the number of "
            f"columns of X; got {input_shape!r}."
        )
    channels, height, width = map(int, shape)
    return channels, height, width


def build_body(
    encoder: str | nn.Module | Callable[..., nn.Module],
    *,
    n_features: int,
    n_components: int,
    hidden_layer_sizes: Sequence[int],
    input_shape: tuple[int, int, int] | None,
    seed: int,
    sees_rows: bool = True,
) -> nn.Module:
    """Build the body of an encoder.

    Parameters
    ----------
    encoder : {"linear", "mlp", "conv"}, torch.nn.Module or callable
        A module is copied, with its weights; a callable is called with ``n_features``
        (and ``n_components``, if it has an argument of that name).
    n_features, n_components : int
        Widths of the input and of the output.
    hidden_layer_sizes : sequence of int
        Widths of the hidden layers, for ``"mlp"`` and, after the convolutions, for
        ``"conv"``.
    input_shape : tuple (C, H, W) or None
        Shape of a row, for ``"conv"``.
    seed : int
        Seed of the initialisation.
    sees_rows : bool, default=True
        Whether the last layer of ``"mlp"`` sees the row, too, not the hidden layers alone.

    Returns
    -------
    torch.nn.Module
        Maps (n, n_features) to (n, n_components).

    Raises
    ------
    ValueError
        If ``input_shape`` does not hold ``n_features`` values, or a module of the
        user's returns another width than ``n_components`` or has nothing to train.
    TypeError
        If the callable does not return a module.
    """
    if not isinstance(encoder, str):
        body = _from_user(encoder, n_features, n_components, seed)
        _check_width(body, n_features, n_components)
        if not any(weights.requires_grad for weights in body.parameters()):
            raise ValueError(
                f"encoder must have weights to train; {type(body).__name__} has none with "
                "requires_grad=True. For fixed features, compute them first and use "
                'encoder="linear".'
            )
        return body
    widths = [n_features, *hidden_layer_sizes, n_components]
    n_weights = sum(one * other for one, other in pairwise(widths))
    if n_weights > MAX_WEIGHTS:
        raise ValueError(
            f"n_components={n_components} and hidden_layer_sizes need {n_weights:.1e} "
            "weights, more than memory can hold. Use fewer or narrower layers."
        )
    generator = torch.Generator().manual_seed(seed)
    if encoder == "linear":
        return _linear(n_features, n_components, generator)
    if encoder == "mlp":
        return _mlp(
            n_features,
            hidden_layer_sizes,
            n_components,
            generator,
            sees_rows=sees_rows,
        )
    shape = image_shape(input_shape, n_features)
    if shape is None:
        raise ValueError('input_shape must be (C, H, W) for encoder="conv"; got None.')
    return _conv(shape, hidden_layer_sizes, n_components, generator)
