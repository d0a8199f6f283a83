r"""Through the heads: the gradient of a query loss in the codes that heads were fitted on.

Heads :math:`\theta^*` are solved on the rows of a *support* set and judged by their loss
:math:`L_q` on other rows, the *query* set. With :math:`L_s` the loss on the support and
:math:`Z_s` its codes, the penalty a weighted L1 of fixed weights, small changes of
:math:`Z_s` leave zeros at zero and signs as they are. The penalty is linear there, so it
adds nothing to the second derivatives, and on the set :math:`A` of the coefficients that
are not zero, intercepts among them,

.. math:: \frac{d L_q}{d Z_s} = \frac{\partial}{\partial Z_s}
          \langle v, \nabla_\theta L_s(\theta^*, Z_s) \rangle, \qquad
          v_A = - H_{AA}^{-1} \nabla_A L_q, \qquad v_{\bar A} = 0,

with :math:`v` held fixed and :math:`H` the Hessian of :math:`L_s` (implicit function
theorem; for the lasso, Bertrand et al., "Implicit differentiation of Lasso-type models for
hyperparameter optimization", ICML 2020; for meta-learning without a penalty, Rajeswaran
et al., "Meta-learning with implicit gradients", NeurIPS 2019).

The linear system is solved by conjugate gradients, which are at home where :math:`H` is
singular. That it is for the softmax, along the same vector added to all classes; the query
loss has no slope there, so that the solution does not depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..solvers.conjugate import conjugate_gradients
from ..tasks.blocks import Block, hessian_product, residual

__all__ = ["implicit_gradient"]


def implicit_gradient(
    theta: Tensor,
    codes: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    blocks: Sequence[Block],
    slope: Tensor,
    *,
    damping: float | Tensor = 0.0,
    max_iter: int = 1000,
    tol: float = 1e-10,
) -> Tensor:
    """Gradient in the support's codes of a loss of the heads solved on them.

    Parameters
    ----------
    theta : Tensor of shape (n_outputs, n_components + 1)
        Heads that are optimal on the support.
    codes : Tensor of shape (n_rows, n_components + 1)
        Augmented codes of the support.
    targets, weights : Tensor of shape (n_rows, n_tasks)
        Labels of the support; weights may be None.
    blocks : sequence of Block
    slope : Tensor of shape (n_outputs, n_components + 1)
        Gradient of the query loss in the heads.
    damping : float or Tensor of shape (n_outputs, 1), default=0.0
        Added to the diagonal of the Hessian; the same for all outputs of a task.
    max_iter : int, default=1000
        Steps of conjugate gradients at the most.
    tol : float, default=1e-10
        A task is solved when its remainder has fallen to this share of its slope.

    Returns
    -------
    Tensor of shape (n_rows, n_components)
    """
    scores = codes @ theta.T
    active = theta != 0
    active[:, -1] = True

    def product(direction: Tensor) -> Tensor:
        bent = hessian_product(codes @ direction.T, scores, weights, blocks)
        return torch.addmm(damping * direction, bent.T, codes, alpha=1 / len(codes))

    solution = conjugate_gradients(
        product,
        slope,
        active,
        blocks,
        max_iter=max_iter,
        tol=tol,
        # On a GPU the answer would have to be waited for, which takes longer than the steps.
        ask=codes.device.type == "cpu",
    )
    error = residual(scores.clone(), targets, weights, blocks)
    bent = hessian_product(codes @ solution.T, scores, weights, blocks)
    return (error @ solution + bent @ theta)[:, :-1] / len(codes)
