"""Check and convert arguments of the user: weights, sizes, devices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import _check_sample_weight

from .distributed import Ranks

__all__ = [
    "component_names",
    "is_disentangler",
    "layer_sizes",
    "noise_sizes",
    "row_weights",
    "row_weights_of_all",
    "split_rows",
    "torch_device",
]


def is_disentangler(estimator: Any) -> bool:
    """Whether this is a disentangler. Modules below its own must not import the class."""
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
    """Noise on the rows, and noise added on top for the hidden layers."""
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
    """Weights of the rows of X, or None if each counts as one row.

    All weights 2 are all rows twice; below one, a row is still a row.
    """
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
    return None if np.ptp(weight) == 0 and weight[0] <= 1 else weight


def row_weights_of_all(
    weight: NDArray[np.float64] | None,
    sample_weight: ArrayLike | None,
    n_rows: int,
    ranks: Ranks,
) -> NDArray[np.float64] | None:
    """Weights of the rows here, or None if each row of all ranks counts as one.

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
    return None if highest == -lowest and highest <= 1 else weight


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


def component_names(names: Any, default: list[str]) -> NDArray[Any]:
    """Names of components, from those given for all, or for some by number.

    Raises
    ------
    ValueError
        If they are not as ``SparseSharedDisentangler.set_component_names`` asks.
    """
    number = len(default)
    found = list(default)
    if isinstance(names, Mapping):
        for key, name in names.items():
            if not isinstance(key, Integral) or not 0 <= int(key) < number:
                raise ValueError(
                    f"names: there is no component {key!r}; they are numbered 0 to "
                    f"{number - 1}."
                )
            found[int(key)] = name
    else:
        found = [] if isinstance(names, str) else list(names)
        if len(found) != number:
            raise ValueError(
                f"names must hold a name for each of the {number} components; got "
                f"{names!r:.80}."
            )
    for place, name in enumerate(found):
        if not isinstance(name, str) or not name.strip():
            raise ValueError(
                f"names must be strings that are not empty; got {name!r} for component "
                f"{place}."
            )
        if name in found[:place]:
            raise ValueError(
                f"names must differ; got {name!r} for components {found.index(name)} and "
                f"{place}."
            )
    return np.array([str(name) for name in found], dtype=object)
