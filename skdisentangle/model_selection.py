"""Choose strengths by cross-validation, or fit a path of models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from numbers import Integral
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ._random import check_rng, draw_seed
from .backbones import FineTuned
from .disentangler import SparseSharedDisentangler
from .fitting.path import (
    SPARSITIES,
    can_learn,
    check_strengths,
    compare,
    count_nonzeros,
    fewest_nonzeros,
    fit_path,
    row_losses,
    sparsity_path,
    with_task_types,
)
from .fitting.problem import Problem, Settings
from .tasks.labels import Labels

__all__ = ["SparseSharedDisentanglerCV", "sparsity_path"]


class SparseSharedDisentanglerCV(SparseSharedDisentangler):
    """SparseSharedDisentangler that chooses its strengths by cross-validation.

    In each fold it fits all pairs of strengths along one path. That takes about as long as
    one fit, plus a seventh of a fit per pair. Among the pairs whose squared error on the
    held-out rows is at most 1% above the lowest, it takes the pair with the fewest nonzero
    coefficients (mean over folds). ``sparsity="auto"`` uses the same rule, but holds back
    rows only once. The final fit is on all rows.

    Parameters
    ----------
    n_components : int or "auto", default=20
        As in :class:`SparseSharedDisentangler`.
    encoder : {"mlp", "linear", "conv"}, FineTuned, torch.nn.Module or callable, \
            default="mlp"
        As in :class:`SparseSharedDisentangler`.
    sparsities : array-like, default=(0.01, 0.03, 0.1, 0.2)
        Values of ``sparsity`` to choose from, above zero.
    sharings : array-like, default=(0.1,)
        Values of ``sharing`` to choose from.
    cv : int, splitter, iterable or None, default=None
        Number of folds of shuffled rows, or a splitter or an iterable of pairs of row
        numbers, as in scikit-learn. None means 5 folds. Folds are fitted one after the
        other.
    random_state, task_types, task_weight, class_weight, max_iter, batch_size, \
learning_rate_init, tol, n_iter_no_change, early_stopping, validation_fraction, warm_start, \
device, n_threads, verbose, hidden_layer_sizes, input_shape, scale_inputs, input_noise, \
solver, cross_fit
        As in :class:`SparseSharedDisentangler`. With ``warm_start``, only the first fit
        chooses the strengths.

    Attributes
    ----------
    sparsity_, sharing_ : float
        The strengths chosen.
    cv_results_ : dict of ndarray, each of shape (n_candidates,)
        One entry per pair of strengths, ``param_sparsity`` and ``param_sharing``.
        ``mean_test_loss`` is the mean loss over held-out rows and tasks: half the squared
        error of standardised regression targets, half the Brier score of classes.
        ``error_test_loss`` is the standard error of its difference from the lowest.
        ``mean_n_nonzero`` and ``mean_n_active`` are the numbers of nonzero coefficients and
        of active components, averaged over folds.
    best_index_ : int
        Index of the chosen pair.
    n_splits_ : int
        Number of folds, including those that are skipped because no task can be learned or
        no held-out row has a label.
    encoder_, coef_, intercept_, tasks_, usage_, active_components_, n_iter_, \
loss_curve_, validation_scores_, n_features_in_, feature_names_in_
        As in :class:`SparseSharedDisentangler`, from the fit on all rows.

    See Also
    --------
    skdisentangle.model_selection.sparsity_path : Models at several strengths.
    sklearn.linear_model.LassoCV : For a single linear task.

    Examples
    --------
    >>> from skdisentangle.datasets import make_multitask_factors
    >>> from skdisentangle.model_selection import SparseSharedDisentanglerCV
    >>> made = make_multitask_factors(500, mixing="linear", random_state=0)
    >>> dis = SparseSharedDisentanglerCV(
    ...     8, sparsities=[0.01, 0.1, 1.0], cv=2, encoder="linear", random_state=0
    ... ).fit(made.X, made.Y)
    >>> dis.sparsity_
    0.1
    """

    _fits_on_ranks: ClassVar = False

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **{
            name: constraint
            for name, constraint in (
                SparseSharedDisentangler._parameter_constraints.items()
            )
            if name not in ("sparsity", "sharing")
        },
        "sparsities": ["array-like"],
        "sharings": ["array-like"],
        "cv": ["cv_object"],
    }

    def __init__(
        self,
        n_components: int | Literal["auto"] = 20,
        *,
        encoder: str
        | FineTuned
        | torch.nn.Module
        | Callable[..., torch.nn.Module] = "mlp",
        sparsities: ArrayLike = SPARSITIES,
        sharings: ArrayLike = (0.1,),
        cv: Any = None,
        random_state: int | np.random.RandomState | None = None,
        task_types: str | Sequence[str | None] | Mapping[Any, str] | None = None,
        task_weight: ArrayLike | Mapping[Any, float] | None = None,
        class_weight: Literal["balanced"] | None = None,
        max_iter: int | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        learning_rate_init: float = 0.005,
        tol: float = 1e-4,
        n_iter_no_change: int = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        device: str | torch.device = "auto",
        n_threads: int = 1,
        verbose: bool = False,
        hidden_layer_sizes: Sequence[int] = (128, 128),
        input_shape: tuple[int, int, int] | None = None,
        scale_inputs: bool = True,
        input_noise: float | tuple[float, float] | Literal["auto"] = "auto",
        solver: Literal["alternating", "bilevel"] = "alternating",
        cross_fit: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.encoder = encoder
        self.sparsities = sparsities
        self.sharings = sharings
        self.cv = cv
        self.random_state = random_state
        self.task_types = task_types
        self.task_weight = task_weight
        self.class_weight = class_weight
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.device = device
        self.n_threads = n_threads
        self.verbose = verbose
        self.hidden_layer_sizes = hidden_layer_sizes
        self.input_shape = input_shape
        self.scale_inputs = scale_inputs
        self.input_noise = input_noise
        self.solver = solver
        self.cross_fit = cross_fit

    def _strengths(self, problem: Problem, sample_weight: Any) -> tuple[float, float]:
        """Choose sparsity and sharing by cross-validation."""
        if self._goes_on():
            return self.sparsity_, self.sharing_
        candidates = list(
            product(
                check_strengths("sparsities", self.sparsities),
                check_strengths("sharings", self.sharings, zero=True),
            )
        )
        seed = draw_seed(check_rng(self.random_state))
        kept = None if problem.weight is None else np.asarray(sample_weight) != 0
        folds = list(self._folds(problem.X, problem.labels, kept, seed))
        settings = with_task_types(Settings.of(self, *candidates[0]), problem)
        losses, nonzeros, active, weights = [], [], [], []
        for number, (train, test) in enumerate(folds, 1):
            seen = problem.take(train)
            if not len(test) or not can_learn(seen.labels):
                continue
            models = fit_path(seen, settings, candidates, seed)
            unseen = problem.take(test)
            fold = np.array([row_losses(model, settings, unseen) for model in models])
            if np.isnan(fold).any():
                continue
            losses.append(fold)
            weights.append(np.full(len(test), unseen.weights().mean()))
            nonzeros.append(count_nonzeros(models, settings))
            active.append([model.n_active for model in models])
            if self.verbose:
                print(
                    f"Fold {number}/{len(folds)}  loss {fold.mean(1).min():.4f} to "
                    f"{fold.mean(1).max():.4f}",
                    flush=True,
                )
        if not losses:
            raise ValueError(
                f"cv={self.cv!r} leaves no fold with a task that can be learned and has a "
                "label on the held-out rows. Use fewer folds, or give sparsity and sharing "
                "as numbers to SparseSharedDisentangler."
            )
        # Rows of a fold have mean weight one, and each fold counts by its total weight.
        share = np.concatenate(weights)
        pooled = np.hstack(losses) * (share / share.mean())
        loss, error = compare(pooled)
        counts = np.mean(nonzeros, axis=0)
        sparsities, sharings = np.transpose(candidates)
        self.cv_results_ = {
            "param_sparsity": sparsities,
            "param_sharing": sharings,
            "mean_test_loss": loss,
            "error_test_loss": error,
            "mean_n_nonzero": counts,
            "mean_n_active": np.mean(active, axis=0),
        }
        self.best_index_ = fewest_nonzeros(loss, counts, candidates)
        self.n_splits_ = len(folds)
        return candidates[self.best_index_]

    def _folds(
        self, X: Any, labels: Labels, kept: NDArray[np.bool_] | None, seed: int
    ) -> Iterable[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Rows to fit on and held-out rows. Splitters see only rows of nonzero weight.

        Row numbers from the user refer to X as given, before rows of weight zero were
        dropped.
        """
        if self.cv is None or isinstance(self.cv, Integral):
            n_splits = 5 if self.cv is None else int(self.cv)
            # Imported when used: it takes a third of the time of our own import.
            from sklearn.model_selection import KFold

            yield from KFold(n_splits, shuffle=True, random_state=seed).split(X)
        elif hasattr(self.cv, "split"):
            values = [column.values for column in labels.columns]
            y = values[0] if len(values) == 1 else np.column_stack(values)
            yield from self.cv.split(X, y)
        else:
            n_rows = X.shape[0] if kept is None else len(kept)
            place = np.full(n_rows, -1)
            place[slice(None) if kept is None else kept] = np.arange(X.shape[0])
            for train, test in self.cv:
                first, second = place[train], place[test]
                yield first[first >= 0], second[second >= 0]
