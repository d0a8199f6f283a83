"""Noise on the inputs while fitting, which keeps an encoder from learning rows by heart.

Gaussian noise of variance s^2 on the inputs of a linear model is a ridge penalty of s^2
a row, and for other models nearly so (Bishop, "Training with noise is equivalent to
Tikhonov regularization", Neural Computation 7, 1995). So a ridge regression of the labels
on the rows, whose strength has a closed-form choice, says how much noise there should be:
next to none where rows are many and the labels follow from them, and much where they are
few, or tell little.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..rows.batches import LabelTensors, Rows
from ..tasks.blocks import Block

__all__ = [
    "NoisyRows",
    "RowNoise",
    "choose_input_noise",
    "least_noise",
    "least_nonlinear_noise",
]

#: Vectors of noise for a pass, at the most and at the least, and values of all of them.
MAX_VECTORS, MIN_VECTORS, MAX_VALUES = 1021, 61, 2**20

#: Steps for which vectors of noise serve, at the least, if a pass is shorter: with all rows in
#: each step a third of the time of a fit on wide rows would go into drawing them.
VECTOR_STEPS = 8

#: Steps of a projection of a row in which noise tells rows apart, and values that are
#: projected at a time.
PER_UNIT, PART_VALUES = 1e4, 2**22

#: Rows that the ridge regression is fitted on, at the most, and columns that are held in
#: double precision at a time.
MAX_ROWS, PART_COLUMNS = 1000, 4096

#: Tasks with missing labels that have a say in it, each by a regression of its own, and
#: labels that one of them must have.
MAX_INCOMPLETE, MIN_LABELS = 8, 20

#: Strengths that are tried, for one row.
STRENGTHS = torch.logspace(-1, 5, 49, dtype=torch.float64, device="cpu")

#: Noise of less than this (as a standard deviation) makes no difference, and is left out,
#: unless all tasks have classes: they get the least (on a problem of binary tasks and
#: correlated factors D is 0.81 without it, 0.90 with half of it, and 0.98 with it or twice
#: as much). Where a linear model knows nothing it would ask for more than the most, which
#: hides what hidden layers can know.
LEAST, MOST = 0.15, 0.5


class RowNoise:
    """Gaussian noise on standardised rows, for one pass over them.

    Equal rows get equal noise, wherever they stand, so that a row of weight 2 stays two
    rows, the order of rows means as little as it does without noise, and ranks need not
    agree on more than the generator. The noise of a row is one of a bank of vectors, chosen
    by a projection of the row. The projection is drawn for each pass, the bank for each that
    is not very short.

    Parameters
    ----------
    std : float
        Standard deviation.
    nonlinear_std : float
        That of the noise that is added for the hidden layers, which then get a view of
        their own (:class:`skdisentangle.encoders.networks.Mlp`).
    n_features : int
    generator : torch.Generator
    like : Tensor
        Gives type and device of the rows.
    n_steps : int, default=1
        Of the first pass.
    """

    def __init__(
        self,
        std: float,
        nonlinear_std: float,
        n_features: int,
        generator: torch.Generator,
        like: Tensor,
        n_steps: int = 1,
    ) -> None:
        self._sizes, self._n_features = (std, nonlinear_std), n_features
        self._like = like.new_empty(0)
        self._n_steps = VECTOR_STEPS
        self.renew(n_steps, generator)

    def renew(self, n_steps: int, generator: torch.Generator) -> None:
        """Give rows other noise, for a pass of so many steps."""
        width, like = self._n_features, self._like
        if self._n_steps >= VECTOR_STEPS:
            n_vectors = min(MAX_VECTORS, max(MIN_VECTORS, MAX_VALUES // max(1, width)))
            self._banks = [
                None
                if size == 0
                else torch.randn(n_vectors, width, generator=generator)
                .mul_(size)
                .to(like)
                for size in self._sizes
            ]
            self._n_steps = 0
        self._n_steps += n_steps
        axis = torch.randn(width, 2, generator=generator, dtype=torch.float64)
        self._axes = axis.to(like.device)

    def __call__(self, rows: Tensor) -> Tensor:
        """The rows, with noise, and, if there is some, the view of the hidden layers."""
        # In parts, as wide rows in double precision would be more than all the rest.
        size = max(1, PART_VALUES // max(1, rows.shape[1]))
        parts = [part.double() @ self._axes for part in rows.split(size)]
        # Rounded, as the last bits of a projection depend on where a row stands.
        whole = torch.cat(parts).mul_(PER_UNIT).round_().long()
        first, more = self._banks
        if first is not None:
            rows = first.index_select(0, whole[:, 0].remainder(len(first))).add_(rows)
        if more is None:
            return rows
        own = more.index_select(0, whole[:, 1].remainder(len(more))).add_(rows)
        return torch.cat([rows, own], dim=1)


class NoisyRows:
    """Copies of rows, one after the other, each with noise of its own."""

    def __init__(self, rows: Rows, noises: Sequence[RowNoise]) -> None:
        self._rows, self._noises = rows, noises
        self.shape = (len(noises) * len(rows), rows.shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Tensor) -> Tensor:
        """Rows by index, which rises."""
        n_rows = len(self._rows)
        held, copy = self._rows[index % n_rows], index // n_rows
        parts = [
            noise(held[copy == number]) for number, noise in enumerate(self._noises)
        ]
        return torch.cat([part for part in parts if len(part)])


def least_noise(blocks: Sequence[Block]) -> float:
    """Noise that rows get in any case.

    Logits of classes are as steep as the encoder is sure of a factor, which it is least
    where rows are rare: components are bent there, unless there is more to be unsure of
    everywhere. Measurements hold them straight.
    """
    return LEAST if all(block.kind.has_classes for block in blocks) else 0.0


def least_nonlinear_noise(blocks: Sequence[Block]) -> float:
    """Noise that is added for hidden layers in any case, if there are some.

    Where classes are told apart without error, they make components that tell them apart
    still more surely, beside those of the factors.
    """
    return LEAST if any(block.kind.has_classes for block in blocks) else 0.0


def choose_input_noise(
    rows: Tensor,
    labels: LabelTensors,
    blocks: Sequence[Block],
    n_rows: float,
    n_labels: Tensor,
) -> float:
    """Standard deviation of the noise that stands for the best ridge penalty.

    The penalty is that of the least generalized cross-validation (Golub, Heath & Wahba,
    Technometrics 21, 1979), summed over tasks, each as a share of its variance. Classes
    are regressed on as indicators, with the weights of rows, not those of classes.

    Parameters
    ----------
    rows : Tensor of shape (n_sample, n_features)
        Rows as the body gets them, or a sample.
    labels : LabelTensors
        Their labels.
    blocks : sequence of Block
    n_rows : float
        Different rows of the fit, of which these are a sample.
    n_labels : Tensor of shape (n_tasks,)
        Labels of each task in the sample, those of equal rows counted once.

    Returns
    -------
    float
        In the units of the rows, at the most 0.5. Too little to matter is zero, or, if all
        tasks have classes, 0.15 (see :func:`least_noise`).
    """
    there = torch.ones_like(labels.targets, dtype=torch.bool)
    if labels.weights is not None:
        there = labels.weights > 0
    share = labels.row_weights
    if share is None:
        share = torch.ones_like(labels.targets[:, 0])
    own = [(block, task) for block in blocks for task in range(*_span(block))]
    complete = there.all(0).tolist()
    together = [task for task in own if complete[task[1]]]
    apart = [t for t in own if not complete[t[1]] and n_labels[t[1]] >= MIN_LABELS]
    step = max(1, -(-len(apart) // MAX_INCOMPLETE))
    groups = [together] if together else []
    groups += [[task] for task in apart[::step]]
    curves = []
    for group in groups:
        first = group[0][1]
        known = torch.nonzero(there[:, first]).squeeze(1)
        curves.append(
            _cross_validation(
                rows if complete[first] else rows.index_select(0, known),
                labels.targets.index_select(0, known),
                share.index_select(0, known),
                group,
                float(n_labels[first]),
            )
        )
    least = least_noise(blocks)
    if not curves:
        return least
    strength = float(STRENGTHS[torch.stack(curves).sum(0).argmin()])
    std = min(MOST, (strength / n_rows) ** 0.5)
    return std if std >= LEAST else least


def _span(block: Block) -> tuple[int, int]:
    return block.tasks.start, block.tasks.stop


def _cross_validation(
    rows: Tensor,
    targets: Tensor,
    share: Tensor,
    tasks: Sequence[tuple[Block, int]],
    n_different: float,
) -> Tensor:
    """Generalized cross-validation at each strength, of tasks labelled on these rows.

    With X = U S V', the share of a row as its weight and h = s^2 / (s^2 + strength / n),
    the residual of a target is what lies outside of U, and (1 - h) of what lies on it.
    """
    share = share.double() / share.double().sum()
    root = share.sqrt().unsqueeze(1)

    def centred(values: Tensor) -> Tensor:
        values = values.double()
        return (values - share @ values).mul_(root)

    indicators = [
        block.kind.statistic(targets[:, [task]], block.n_classes).double()
        for block, task in tasks
    ]
    y = torch.cat([centred(columns) for columns in indicators], 1)
    say = torch.cat([y.new_full((c.shape[1],), 1 / c.shape[1]) for c in indicators])
    total = y.square().sum(0)
    # The smaller of the two products has the same eigenvalues, and is all that is needed.
    if rows.shape[0] <= rows.shape[1]:
        product = y.new_zeros(len(rows), len(rows))
        for part in rows.split(PART_COLUMNS, dim=1):
            X = centred(part)
            product.addmm_(X, X.T)
        values, vectors = torch.linalg.eigh(product)
        along = (vectors.T @ y).square()
        outside = torch.zeros_like(total)
    else:
        X = centred(rows)
        values, vectors = torch.linalg.eigh(X.T @ X)
        values = values.clamp_min(0)
        projected = (vectors.T @ (X.T @ y)).square()
        along = projected / values.clamp_min(1e-12 * values.max() + 1e-300).unsqueeze(1)
        outside = (total - along.sum(0)).clamp_min(0)
    values = values.clamp_min(0)
    ridge = STRENGTHS.to(values).unsqueeze(1) / n_different
    lost = ridge / (values + ridge)  # 1 - h, which may be near zero
    error = (outside + lost.square() @ along) @ (say / total.clamp_min(1e-12))
    freedom = (((1 - lost).sum(1) + 1) / n_different).clamp_max(1 - 1e-9)
    mean_square: Tensor = error / (1 - freedom).square()
    return mean_square
