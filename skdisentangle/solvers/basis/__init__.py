r"""Out of dense heads: change the components to a basis in which heads are sparse.

A network without penalties finds the space that the tasks span, and in it any basis. Which
one makes the heads sparse can be seen from the heads alone: codes :math:`z` with heads
:math:`\Phi` give the same scores as codes :math:`z A^{-\top}` with heads
:math:`\Phi A`. The components are changed

- once penalties set in, to the basis of fixed volume in which the heads have the smallest
  columns (:mod:`~skdisentangle.solvers.basis.shears`); where outputs are few, single columns are
  exchanged (:mod:`~skdisentangle.solvers.basis.exchanges`); where tasks have classes, components
  that are functions of the others are left out
  (:mod:`~skdisentangle.solvers.basis.functions`),
- later, when the heads are sparse, by pairs, as long as that saves nonzeros
  (:mod:`~skdisentangle.solvers.basis.pairs`),
- at the end, where outputs are few, to a basis of uncorrelated components, if there is one
  that is about as sparse (:mod:`~skdisentangle.solvers.basis.rotations`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._common import Basis, has_few_outputs
from .functions import function_of_others
from .pairs import settled_basis
from .rotations import uncorrelated_basis
from .shears import simplest_basis

__all__ = [
    "Basis",
    "change_outputs",
    "function_of_others",
    "has_few_outputs",
    "settled_basis",
    "simplest_basis",
    "uncorrelated_basis",
]


@torch.no_grad()
def change_outputs(
    layer: nn.Linear,
    optimizer: torch.optim.Optimizer,
    mean: Tensor,
    std: Tensor,
    transform: Tensor,
) -> None:
    """Make a layer's outputs the transformed standardised ones.

    Parameters
    ----------
    layer : torch.nn.Linear
        Changed in place, as is the optimiser's memory of its gradients.
    optimizer : torch.optim.Optimizer
    mean, std : Tensor of shape (n_components,)
        Of the layer's outputs.
    transform : Tensor of shape (n_components, n_components)
    """
    change = transform.T / std
    layer.weight.copy_(change @ layer.weight)
    if layer.bias is not None:
        layer.bias.copy_(change @ (layer.bias - mean))
    for parameter in (layer.weight, layer.bias):
        if parameter is not None:
            for memory in optimizer.state.get(parameter, {}).values():
                memory.zero_()
