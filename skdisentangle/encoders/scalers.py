"""From standardised rows to components: the scalers around a body, and all three as one."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .networks import Mlp

__all__ = ["ComponentScaler", "Encoder", "InputScaler", "last_linear"]

_LENT_LOCK = threading.Lock()


def _new_lock() -> None:
    """A forked process has not the thread that would give the lock back."""
    global _LENT_LOCK
    _LENT_LOCK = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)

#: Layers that hold tensors as parameters and buffers, and nowhere else.
PLAIN_LAYERS = frozenset(
    {
        Mlp,
        nn.Conv2d,
        nn.Flatten,
        nn.GELU,
        nn.GroupNorm,
        nn.LayerNorm,
        nn.Linear,
        nn.ReLU,
        nn.Sequential,
        nn.SiLU,
        nn.Tanh,
        nn.Unflatten,
        nn.ZeroPad2d,
    }
)


class InputScaler(nn.Module):
    """``(x - mean) * scale`` by column; columns without variance become zero."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, rows: Tensor) -> Tensor:
        return (rows - self.mean).mul_(self.scale)


class ComponentScaler(nn.Module):
    """``((h - mean) * scale)[:, order] * sign``; the sign of a component is 1, -1 or 0.

    ``mean`` and ``scale`` are in the order of the body's outputs, ``sign`` in the order
    of the components. A sign of zero marks a component that no task uses.
    """

    mean: Tensor
    scale: Tensor
    order: Tensor
    sign: Tensor

    def __init__(self, n_components: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_components))
        self.register_buffer("scale", torch.ones(n_components))
        self.register_buffer("order", torch.arange(n_components))
        self.register_buffer("sign", torch.ones(n_components))

    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and bias of a linear layer that gives components, not raw values."""
        gain = self.scale[self.order] * self.sign
        shifted = (bias - self.mean)[self.order] * gain
        return weight[self.order] * gain.unsqueeze(1), shifted + 0.0

    def forward(self, raw: Tensor) -> Tensor:
        centred = raw.index_select(1, self.order).sub_(self.mean[self.order])
        gain = self.scale[self.order] * self.sign
        # Adding zero turns a negative zero into a plain one. In one operation, addcmul,
        # torch 2.8 could not export it.
        return centred.mul_(gain).add_(0.0)


class Encoder(nn.Module):
    """Input scaler, body and component scaler, one after the other."""

    def __init__(
        self, inputs: InputScaler, body: nn.Module, components: ComponentScaler
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.body = body
        self.components = components

    def forward(self, rows: Tensor) -> Tensor:
        out: Tensor = self.components(self.body(self.inputs(rows)))
        return out

    @torch.no_grad()
    def cast(
        self, device: torch.device, dtype: torch.dtype
    ) -> Callable[[Tensor], Tensor]:
        """The same function of rows, for use only, on a device and in a precision.

        This encoder is not changed, and several threads may do so at once. Where all
        layers are torch's own, the scaling of the components is taken into the last one,
        if that is linear. Classes of the user's may not be made to be copied: they lend
        their parameters for the time of a call.
        """

        def moved(values: Tensor) -> Tensor:
            kind = dtype if values.is_floating_point() else values.dtype
            return values.to(device, kind)

        kinds = {type(module) for module in self.body.modules()}
        if not all(
            kind in PLAIN_LAYERS or kind.__module__.startswith("torch.nn")
            for kind in kinds
        ):
            named = (*self.named_parameters(), *self.named_buffers())
            state = {name: moved(values) for name, values in named}

            def lent(rows: Tensor) -> Tensor:
                with _LENT_LOCK:
                    out: Tensor = torch.func.functional_call(self, state, (rows,))
                return out

            return lent
        copied: dict[int, Any] = {}
        layer = last_linear(self.body)
        if layer is not None and layer.bias is not None and not _is_tied(self, layer):
            weight, bias = self.components.folded(layer.weight, layer.bias)
            copied[id(layer.weight)], copied[id(layer.bias)] = (
                moved(weight),
                moved(bias),
            )
            copied[id(self.components)] = nn.Identity()
        if kinds <= PLAIN_LAYERS:
            return _with_tensors(self, copied, moved)
        for values in (*self.parameters(), *self.buffers()):
            copied.setdefault(id(values), moved(values))
        return copy.deepcopy(self, copied)


def _with_tensors(
    module: nn.Module, copied: dict[int, Any], moved: Callable[[Tensor], Tensor]
) -> nn.Module:
    """A copy of plain layers with other tensors, unless ``copied`` has one already.

    What a deep copy would give, in less time: a call of ``transform`` makes one.
    """
    new = module.__class__.__new__(module.__class__)
    new.__dict__.update(module.__dict__)
    for held in ("_parameters", "_buffers"):
        tensors = {}
        for name, values in module.__dict__[held].items():
            if values is not None and id(values) not in copied:
                copied[id(values)] = moved(values)
            tensors[name] = None if values is None else copied[id(values)]
        new.__dict__[held] = tensors
    new.__dict__["_modules"] = {
        name: copied[id(part)]
        if id(part) in copied
        else _with_tensors(part, copied, moved)
        for name, part in module.__dict__["_modules"].items()
    }
    return new


def _uses(module: nn.Module, tensor: Tensor) -> int:
    """How often a parameter stands in a module; twice in a layer that is there twice."""
    here = sum(held is tensor for held in module.__dict__["_parameters"].values())
    parts = module.__dict__["_modules"].values()
    return here + sum(_uses(part, tensor) for part in parts if part is not None)


def _is_tied(module: nn.Module, layer: nn.Linear) -> bool:
    """Whether a layer's parameters have a second use in the module."""
    return _uses(module, layer.weight) > 1 or _uses(module, layer.bias) > 1


def last_linear(body: nn.Module) -> nn.Linear | None:
    """The linear layer that a body ends in, if it plainly does and may be changed."""
    while isinstance(body, nn.Sequential) and len(body):
        body = body[-1]
    # Not a subclass: its weight may be computed from something else.
    if type(body) is nn.Linear and body.weight.requires_grad:
        return body
    return None
