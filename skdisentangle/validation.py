"""What the user says, checked and made plain: weights, sizes, devices, threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from joblib import cpu_count
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import _check_sample_weight

from .distributed import Ranks
from .tasks.task_set import TaskSet, said_of_tasks

#: More threads than this are taken for a mistake: torch may end the process.
MAX_THREADS = 1024

__all__ = [
    "is_disentangler",
    "layer_sizes",
    "learned_task_weights",
    "row_weights",
    "row_weights_of_all",
    "split_rows",
    "thread_count",
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


def thread_count(n_jobs: int | None) -> int:
    """Number of threads; None is 1, and -1 all processors, -2 all but one, ..."""
    if n_jobs is None:
        return 1
    if n_jobs == 0:
        raise ValueError("n_jobs must be None, positive, or -1; got 0.")
    if n_jobs > MAX_THREADS:
        raise ValueError(f"n_jobs must be at most {MAX_THREADS}; got {n_jobs}.")
    return n_jobs if n_jobs > 0 else max(1, int(cpu_count()) + 1 + n_jobs)


def layer_sizes(hidden_layer_sizes: Sequence[int]) -> list[int]:
    """Widths of hidden layers."""
    sizes = list(np.atleast_1d(np.asarray(hidden_layer_sizes)))
    if not all(isinstance(size, Integral) and int(size) >= 1 for size in sizes):
        raise ValueError(
            "hidden_layer_sizes must hold positive integers; got "
            f"{hidden_layer_sizes!r}."
        )
    return [int(size) for size in sizes]


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


def learned_task_weights(
    task_weight: ArrayLike | Mapping[Any, float] | None, task_set: TaskSet
) -> NDArray[np.float64]:
    """Weights of the learned tasks, in the order of the solvers, of mean one."""
    n_tasks = len(task_set.tasks)
    if task_weight is None:
        return np.ones(len(task_set.learned))
    if isinstance(task_weight, Mapping):
        names = [task.name for task in task_set.tasks]
        task_weight = said_of_tasks(
            task_weight, names, task_set.keys, "task_weight", 1.0
        )
    try:
        weight = np.asarray(task_weight, dtype=np.float64)
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(
            f"task_weight must hold numbers; got {task_weight!r}."
        ) from error
    if weight.shape != (n_tasks,):
        raise ValueError(
            f"task_weight must hold a weight for each of the {n_tasks} tasks; got "
            f"shape {weight.shape}."
        )
    weight = weight[task_set.learned]
    if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
        raise ValueError(
            "task_weight must be finite and not negative, and one of the tasks that can "
            f"be learned must have a weight above zero; got {task_weight!r}."
        )
    relative: NDArray[np.float64] = weight / weight.mean()
    return relative


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
