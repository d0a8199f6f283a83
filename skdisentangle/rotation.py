"""Out of bad optima: rotate components to simpler heads.

Alternating steps can come to rest where two components are each a mixture of two
factors: every small rotation makes the heads less sparse, a large one much sparser.
Between stages of a fit we therefore look for the rotation, pair of components by pair,
that makes the L1 penalty of the heads smallest (rotation to simple loadings, Jennrich,
"Rotation to simple loadings using component loss functions: the orthogonal case",
Psychometrika 69, 2004), and carry it out in the last layer of the body.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["last_linear", "rotate_outputs", "simplest_rotation"]

#: Angles tried for each pair of components, over a quarter turn.
N_ANGLES = 45

#: A rotation must lower the penalty on its pair of components by this share.
LEAST_GAIN = 0.01


def simplest_rotation(
    coef: Tensor, weights: Tensor, max_sweeps: int = 5
) -> Tensor | None:
    """Rotation of the components that makes the L1 norm of the heads small.

    Parameters
    ----------
    coef : Tensor of shape (n_outputs, n_components)
    weights : Tensor of shape (n_outputs,)
        Weight of each output in the norm.
    max_sweeps : int, default=5
        Sweeps over all pairs of components that are in use.

    Returns
    -------
    Tensor of shape (n_components, n_components), or None
        ``rotation``, with ``coef @ rotation`` the simpler heads and ``codes @ rotation``
        their components. None if no pair gains by a turn.
    """
    n_components = coef.shape[1]
    # Many small steps that look at numbers: on the CPU, wherever the heads are.
    heads = (coef * weights.unsqueeze(1)).double().cpu()
    rotation = torch.eye(n_components, dtype=heads.dtype)
    angles = torch.arange(1, N_ANGLES) * (math.pi / 2 / N_ANGLES)
    cos, sin = angles.cos().double(), angles.sin().double()
    active = torch.nonzero(heads.any(0)).squeeze(1).tolist()
    turned = False
    for _ in range(max_sweeps):
        turned_in_sweep = False
        for position, i in enumerate(active):
            for j in active[position + 1 :]:
                first, second = heads[:, i], heads[:, j]
                now = first.abs().sum() + second.abs().sum()
                one = torch.outer(cos, first) + torch.outer(sin, second)
                two = torch.outer(cos, second) - torch.outer(sin, first)
                norms = one.abs().sum(1) + two.abs().sum(1)
                best = int(norms.argmin())
                if norms[best] >= (1 - LEAST_GAIN) * now:
                    continue
                heads[:, i], heads[:, j] = one[best], two[best]
                turn_i = cos[best] * rotation[:, i] + sin[best] * rotation[:, j]
                turn_j = cos[best] * rotation[:, j] - sin[best] * rotation[:, i]
                rotation[:, i], rotation[:, j] = turn_i, turn_j
                turned_in_sweep = True
        turned = turned or turned_in_sweep
        if not turned_in_sweep:
            break
    return rotation.to(coef) if turned else None


def last_linear(body: nn.Module) -> nn.Linear | None:
    """The linear layer that a body ends in, if it plainly does and may be changed."""
    while isinstance(body, nn.Sequential) and len(body):
        body = body[-1]
    # Not a subclass: its weight may be computed from something else.
    if type(body) is nn.Linear and body.weight.requires_grad:
        return body
    return None


@torch.no_grad()
def rotate_outputs(
    layer: nn.Linear,
    optimizer: torch.optim.Optimizer,
    mean: Tensor,
    std: Tensor,
    rotation: Tensor,
) -> None:
    """Make a layer's outputs the rotated standardised ones.

    Parameters
    ----------
    layer : torch.nn.Linear
        Changed in place, as is the optimiser's memory of its gradients.
    optimizer : torch.optim.Optimizer
    mean, std : Tensor of shape (n_components,)
        Of the layer's outputs.
    rotation : Tensor of shape (n_components, n_components)
    """
    turn = rotation.T / std
    layer.weight.copy_(turn @ layer.weight)
    if layer.bias is not None:
        layer.bias.copy_(turn @ (layer.bias - mean))
    for parameter in (layer.weight, layer.bias):
        if parameter is not None:
            optimizer.state.pop(parameter, None)
