"""What the user says, checked and made plain: weights, sizes, devices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import _check_sample_weight

from .distributed import Ranks

__all__ = [
    "is_disentangler",
    "layer_sizes",
    "noise_sizes",
    "row_weights",
    "row_weights_of_all",
    "split_rows",
    "torch_device",
]


def is_disentangler(estimator: Any) -> bool:
    """Whether this is a disentangler, of which modules below its own must not import it."""
    return hasattr(estimator, "fit_task")


def torch_device(name: str | torch.device) -> torch.device:
    """Device of a name; ``"auto"`` is a CUDA device if there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            "device must be 'auto', 'cpu' or a device that torch can use here; got "
            f"{name!r}."
        ) from error
    return device


def layer_sizes(hidden_layer_sizes: Sequence[int]) -> list[int]:
    """Widths of hidden layers."""
    sizes = list(np.atleast_1d(np.asarray(hidden_layer_sizes)))
    if not all(isinstance(size, Integral) and int(size) >= 1 for size in sizes):
        raise ValueError(
            "hidden_layer_sizes must hold positive integers; got "
            f"{hidden_layer_sizes!r}."
        )
    return [int(size) for size in sizes]


def noise_sizes(input_noise: Any) -> tuple[float, float]:
    """Noise on the rows, and what is added to it for hidden layers."""
    given = (input_noise, 0.0) if isinstance(input_noise, Real) else tuple(input_noise)
    if len(given) != 2 or not all(
        isinstance(size, Real) and 0 <= float(size) < math.inf for size in given
    ):
        raise ValueError(
            "input_noise must be 'auto', a number that is not negative, or a pair of them; "
            f"got {input_noise!r}."
        )
    return float(given[0]), float(given[1])


def row_weights(sample_weight: ArrayLike | None, X: Any) -> NDArray[np.float64] | None:
    """Weights of the rows of X, or None if all weigh the same."""
    if sample_weight is None:
        return None
    try:
        weight: NDArray[np.float64] = _check_sample_weight(
            sample_weight, X, dtype=np.float64
        )
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(
            f"sample_weight must be a number for each row: {error}"
        ) from error
    if (weight < 0).any():
        raise ValueError(f"sample_weight must not be negative; got {weight.min():.6g}.")
    if not weight.any():
        raise ValueError("sample_weight must hold a weight above zero; all are zero.")
    with np.errstate(over="ignore"):
        if not np.isfinite(weight.sum()):
            raise ValueError(
                f"sample_weight holds numbers up to {weight.max():.6g}, whose sum is not "
                "finite; divide them by a number."
            )
    return None if np.ptp(weight) == 0 else weight


def row_weights_of_all(
    weight: NDArray[np.float64] | None,
    sample_weight: ArrayLike | None,
    n_rows: int,
    ranks: Ranks,
) -> NDArray[np.float64] | None:
    """Weights of the rows here, or None if those of all ranks weigh the same.

    Parameters
    ----------
    weight : ndarray of shape (n_rows,) or None
        As :func:`row_weights` gives them: None also if all here have another weight
        than those elsewhere.
    sample_weight : array-like or None
        As the user gave them; None stands for 1.
    n_rows : int
    ranks : Ranks
    """
    if weight is None:
        constant = 1.0 if sample_weight is None else np.max(np.asarray(sample_weight))
        weight = np.full(n_rows, float(constant))
    highest, lowest = ranks.largest(np.array([weight.max(), -weight.min()]))
    return None if highest == -lowest else weight


def split_rows(
    n_rows: int, validation_fraction: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows to fit on, and rows to hold back."""
    order = np.random.RandomState(seed).permutation(n_rows)
    n_held = max(1, round(validation_fraction * n_rows))
    if n_rows - n_held < 2:
        raise ValueError(
            f"validation_fraction={validation_fraction} leaves fewer than 2 of {n_rows} "
            "rows to fit on; lower it, or turn early_stopping off and give sparsity and "
            "sharing as numbers."
        )
    return np.sort(order[n_held:]), np.sort(order[:n_held])
