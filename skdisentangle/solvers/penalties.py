"""Sparsity and sharing: value, weights and proximal operator, on tensors.

Both strengths act on the heads ``coef`` (n_outputs, n_components) as one weighted L1
penalty, so that the proximal operator is a soft threshold and zeros are exact::

    penalty(coef) = mean over tasks of mean over the task's outputs of
                    spread[k] * sum_m weight[k, m] |coef[k, m]|

``spread[k]`` is the standard deviation of what the output predicts: 1 for a standardised
regression target, ``sqrt(p (1 - p))`` for a class of frequency p. With it a strength
means the same for every task: at ``sparsity=1`` a component that is the target, but for
scale, is just left out. Without it a rare class is penalised out of its task.

For a task with few labels ``sparsity`` is larger, by :func:`few_labels_factor`; not so
``sharing``, which would switch off all but a few components where every task has few, nor
``cut``, below: few labels are no reason to shrink what is large.

**Plain L1** has ``weight[k, m] = sparsity + sharing * share[m]``. It finds the components of
a fit where no basis can be chosen (:mod:`skdisentangle.fitting.training`).

**The penalty of a fit** has the same weights times ``max(0, 1 - |coef[k, m]| / cut[k])``. It
is the linearised minimax concave penalty (Zhang, "Nearly unbiased variable selection under
minimax concave penalty", Annals of Statistics 38, 2010), with ``cut[k]`` the larger of 0.3
times the largest coefficient of the output and ``2 sparsity / spread[k]``: small coefficients
are pressed to zero, large ones are not touched. That matters beyond the heads. An encoder
makes up for coefficients that are shrunk by stretching what they lack. Of correlated factors
it is the differences that are stretched, until the factors are gone.

``share`` is the gradient of the entropy of the usage at the last heads (Fumero et al.,
"Leveraging sparse and shared feature activations for disentangled representation
learning", NeurIPS 2023, penalise that entropy itself; it is concave, and linearised it
is a weighted L1). The usage sums to one, so the gradient is determined up to a constant
only; we take the constant that makes it zero for the component used most. Without that,
a strong ``sharing`` shrinks all the heads and biases the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..tasks.blocks import Block, tasks_to_outputs

__all__ = [
    "by_usage",
    "few_labels_factor",
    "output_weights",
    "penalty_weights",
    "ridge_weights",
    "sharing_entropy",
    "sharing_weights",
    "soft_threshold",
    "usage",
]

#: Coefficients above this share of an output's largest are not penalised, if they are also
#: above so many times the size at which ``sparsity`` would remove them.
REWEIGHTING_CUT, REWEIGHTING_GAMMA = 0.3, 2.0

#: Labels of a task up from which its strength is the one asked for.
MANY_LABELS = 2000

#: Inverse strength of the ridge of classes, as scikit-learn counts it: of 3, 10, 30 and 100
#: that of the best probabilities of other rows, on development problems.
RIDGE_C = 10.0

#: A usage below this counts as this, so that a component can come back to life.
MIN_USAGE = 1e-6


def soft_threshold(coef: Tensor, threshold: Tensor) -> Tensor:
    """Proximal operator of the weighted L1 norm, ``sign(c) max(|c| - t, 0)``."""
    return coef - coef.clamp(-threshold, threshold)


def output_weights(blocks: Sequence[Block], like: Tensor) -> Tensor:
    """Weight of each output in a mean over tasks of means over their outputs."""
    per_task = torch.empty(
        sum(block.n_tasks for block in blocks), dtype=like.dtype, device=like.device
    )
    for block in blocks:
        per_task[block.tasks] = 1.0 / (len(per_task) * block.n_classes)
    return tasks_to_outputs(per_task, blocks)


def usage(coef: Tensor, weights: Tensor | None = None) -> Tensor:
    """Share of the heads' magnitude that falls on each component.

    Parameters
    ----------
    coef : Tensor of shape (n_outputs, n_components)
    weights : Tensor of shape (n_outputs,), optional
        Weight of each output; by default all weigh the same.

    Returns
    -------
    Tensor of shape (n_components,)
        ``u_m``, the weighted mean over outputs of ``|coef_km| / |coef_k|_1``; it sums to
        one. Outputs without any nonzero coefficient are left out; with none left,
        all usages are zero.
    """
    size = coef.abs()
    share = size / size.sum(1, keepdim=True).clamp_min(torch.finfo(coef.dtype).tiny)
    use = share.mean(0) if weights is None else weights @ share
    return use / use.sum().clamp_min(torch.finfo(coef.dtype).tiny)


def by_usage(coef: Tensor, blocks: Sequence[Block]) -> Tensor:
    """Numbers of the components, from the one used most on."""
    use = usage(coef, output_weights(blocks, coef))
    return torch.argsort(use, descending=True, stable=True)


def sharing_entropy(use: Tensor) -> Tensor:
    """Entropy ``-sum_m u_m log u_m`` of the usage, in nats."""
    entropy: Tensor = torch.special.entr(use).sum()
    return entropy


def sharing_weights(use: Tensor) -> Tensor:
    """``log(max(u) / u_m)``, zero for the component used most.

    Not divided by ``log(n_components)``: the strength that switches a component off
    should not depend on how many there are.
    """
    log_use = use.clamp_min(MIN_USAGE).log()
    return log_use.max() - log_use


def few_labels_factor(n_labels: Tensor) -> Tensor:
    """How much more a task is penalised for few labels, ``max(1, sqrt(2000 / n))``.

    The random error of a coefficient goes with one over the root of the number of
    labels; so must a threshold that is to stay above it (Donoho & Johnstone, "Ideal
    spatial adaptation by wavelet shrinkage", Biometrika 81, 1994). At the default
    ``sparsity``, 0.03, the threshold is never below 1.3 standard errors of a target that
    is pure noise.

    Parameters
    ----------
    n_labels : Tensor of shape (n_tasks,)

    Returns
    -------
    Tensor of shape (n_tasks,)
    """
    return (MANY_LABELS / n_labels.clamp_min(1)).sqrt().clamp_min(1.0)


def ridge_weights(blocks: Sequence[Block], n_labels: Tensor) -> Tensor:
    """Ridge on the coefficients of each output, at the end of a fit.

    That of ``LogisticRegression(C=10)`` for classes, ``1 / (10 n_labels)``; none where scores
    cannot grow without bound, as for regression tasks. The penalty does not touch what is
    large. So where all rows of a fit are told apart, logits have no optimum, and
    probabilities of other rows get the surer, and the more often wrong, the longer it is
    looked for.

    Parameters
    ----------
    blocks : sequence of Block
    n_labels : Tensor of shape (n_tasks,)

    Returns
    -------
    Tensor of shape (n_outputs,)
    """
    ridge = torch.zeros_like(n_labels)
    for block in blocks:
        if block.kind.separable:
            ridge[block.tasks] = 1 / (RIDGE_C * n_labels[block.tasks])
    return tasks_to_outputs(ridge, blocks)


def penalty_weights(
    coef: Tensor,
    weights: Tensor,
    *,
    sparsity: float,
    sharing: float,
    reweighted: bool,
    spread: Tensor | None = None,
    factor: Tensor | None = None,
) -> Tensor:
    """Weights of the L1 penalty, linearised at the given heads.

    Parameters
    ----------
    coef : Tensor of shape (n_outputs, n_components)
    weights : Tensor of shape (n_outputs,)
        Weight of each output in the usage, see :func:`output_weights`.
    sparsity, sharing : float
        The two strengths.
    reweighted : bool
        Whether to spare large coefficients.
    spread : Tensor of shape (n_outputs,), optional
        Standard deviation of what each output predicts; one by default.
    factor : Tensor of shape (n_outputs,), optional
        Of the sparsity, see :func:`few_labels_factor`; one by default. Which
        coefficients are large enough to be spared does not depend on it.

    Returns
    -------
    Tensor of shape (n_outputs, n_components)
    """
    few = coef.new_ones(len(coef), 1) if factor is None else factor.unsqueeze(1)
    row = few * sparsity
    if sharing > 0:
        row = row + sharing * sharing_weights(usage(coef, weights))
    scale = coef.new_ones(len(coef), 1) if spread is None else spread.unsqueeze(1)
    row = scale * row
    if not reweighted:
        return row.expand_as(coef)
    size = coef.abs()
    cut = REWEIGHTING_CUT * size.amax(1, keepdim=True)
    cut = torch.maximum(cut, REWEIGHTING_GAMMA * sparsity / scale)
    return row * (1 - size / cut.clamp_min(torch.finfo(coef.dtype).tiny)).clamp_min(0)
