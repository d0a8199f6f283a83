"""The estimator: validates, calls the pieces, holds what was fitted."""

from __future__ import annotations

import copy
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import ClassifierTags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _num_samples, check_is_fitted, validate_data

from ._notebook import task_table
from ._random import check_rng, draw_seed
from ._sklearn import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ComponentCoef,
    TransformerMixin,
    all_or_nothing,
    available_if,
    fit_context,
)
from ._threads import thread_count, threads
from ._warnings import warn
from .backbones._finetuned import FineTuned, embedder_of
from .backbones._image import ImageEmbedder
from .distributed import ALONE, Ranks, check_no_group, joined
from .encoders.scalers import Encoder
from .files.persistence import FileMixin, OnnxMixin
from .fitting.callbacks import CallbackSupportMixin
from .fitting.crossfit import out_of_fold
from .fitting.finetune import check_can_train, fit_with_backbone
from .fitting.fit import fit
from .fitting.monitor import Monitor
from .fitting.path import choose_on_held_back_rows
from .fitting.problem import Fitted, Problem, Settings
from .fitting.stream import fit_more
from .heads import SparseTaskHead
from .rows.array_api import follows_input
from .rows.blocks import LazyRows, lazy_if_large
from .rows.dask_blocks import in_memory, is_dask, transform_blocks
from .rows.images import flat_images
from .rows.inputs import InputMoments, forward
from .tasks import Task
from .tasks.labels import Labels, pandas_index
from .tasks.task import TaskProbabilities
from .tasks.task_set import TaskSet
from .tasks.types import TYPES, TaskType
from .validation import (
    component_names,
    row_weights,
    row_weights_of_all,
    torch_device,
)

__all__ = ["SparseSharedDisentangler"]


def _has_classes(estimator: SparseSharedDisentangler) -> bool:
    """Whether ``predict_proba`` is there: some task must have classes."""
    task_set = getattr(estimator, "_task_set", None)
    if task_set is None or any(TYPES[t.type].has_classes for t in task_set.tasks):
        return True
    raise AttributeError("predict_proba is not available: no task has classes.")


def _class_types(estimator: SparseSharedDisentangler) -> list[TaskType]:
    """Types of the tasks, if all have classes: as fitted, or as ``task_types`` says."""
    task_set = getattr(estimator, "_task_set", None)
    if task_set is not None:
        names = [task.type for task in task_set.tasks]
    elif isinstance(estimator.task_types, Mapping):
        names = list(estimator.task_types.values())
    else:
        names = np.asarray(estimator.task_types, dtype=object).ravel().tolist()
    types = [TYPES.get(name) if isinstance(name, str) else None for name in names]
    known = [kind for kind in types if kind is not None and kind.has_classes]
    return known if len(known) == len(types) else []


def _check_rows_of_labels(labels: Labels, n_rows: int) -> None:
    """Raise ValueError unless there is a row of labels for each of X."""
    if labels.n_rows != n_rows:
        raise ValueError(
            f"Y_tasks must have a row for each of the {n_rows} rows of X; got "
            f"{labels.n_rows}."
        )


def _has_strengths(estimator: SparseSharedDisentangler) -> bool:
    """Whether ``partial_fit`` is there: it holds no rows back to choose strengths on."""
    for name in ("sparsity", "sharing"):
        if getattr(estimator, name, "auto") == "auto":
            raise AttributeError(
                f"partial_fit cannot choose {name}, as it holds no rows back; give "
                f"SparseSharedDisentangler a number, such as the {name}_ of a fit."
            )
    return True


class SparseSharedDisentangler(
    FileMixin,
    OnnxMixin,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Disentangled features from many supervised tasks.

    An encoder is fitted together with linear heads, one for each task. The heads are
    sparse (a task uses few components) and share components (the tasks together use few
    of them), which aligns the components with the factors of variation behind the
    tasks [1]_, [2]_. With codes ``z = encoder(x)``, standardised over the training
    rows, the fit alternates between the heads (inner problem) and the encoder (outer
    problem)::

        inner:  min_(coef, intercept)  mean_t loss_t(coef z + intercept, y)
                    + mean_t mean_(k in t) spread_k
                        * sum_m (few_t * sparsity + sharing * share_m) |coef_km|
        outer:  min_encoder            mean_t weight_t loss_t

    with ``loss_t`` half the squared error of the standardised target, or the
    cross-entropy; ``spread_k`` the standard deviation of the target or class;
    ``few_t = max(1, sqrt(2000 / n_t))`` for a task with ``n_t`` labels;
    ``share_m = log(max(u) / u_m)`` the linearised entropy of the usage ``u``; and
    ``weight_t`` the inverse of the residual variance for a regression task, else one.

    Parameters
    ----------
    n_components : int or "auto", default=20
        Largest number of components; give rather too many than too few. A component is
        in use, or active, if some task has a nonzero coefficient on it. Only those in use
        are kept, so that `transform` gives as many features as factors were found.
        Without penalties (both strengths 0) all are kept. ``"auto"`` begins with one
        component for each output of the heads, at the most 64. A number above 64 that is
        also above the number of outputs, or of rows, is cut to it: neither could tell more
        components apart. An encoder of your own keeps the width it has.
    sparsity : float or "auto", default=0.03
        Strength of the penalty that keeps each task to few components. Its meaning
        does not depend on the number of tasks or outputs, on the scale of X or of a
        target, nor on the frequency of a class: at 1 a component that is the target
        itself, but for scale, is just left out. That is with 2,000 labels of a task or
        more; with fewer the penalty grows as the random errors of coefficients do, with
        one over the root of their number. ``"auto"`` chooses it on a share
        ``validation_fraction`` of the rows, held back: of a few strengths the one that
        leaves the fewest nonzero coefficients at no loss of prediction. The fit is
        then on all rows, with an int as ``random_state`` the same as with the number
        ``sparsity_``; it takes two to four times as long. With ``warm_start`` it is chosen
        in the first fit.
    sharing : float or "auto", default=0.1
        Strength of the penalty that keeps the tasks to few components together.
        ``"auto"`` chooses it like ``sparsity``; both together take about five times as
        long as one fit.
    solver : {"alternating", "bilevel"}, default="alternating"
        ``"alternating"`` solves both problems on the same rows. ``"bilevel"`` follows the
        meta-learning of [1]_: at each step heads are fitted on one half of the batch, and
        the encoder follows their loss on the other half. It mostly finds the same factors,
        and finds those of binary tasks and of noisy labels more purely. As rows are split
        at random, a row of weight 2 is not quite two rows.
    encoder : {"mlp", "linear", "conv"}, FineTuned, torch.nn.Module or callable, \
            default="mlp"
        ``"conv"`` takes images, of shape (n_samples, height, width, channels) or as
        flattened rows of ``input_shape``: convolutions of
        stride 2 down to 4 pixels (the first of stride 4 from 32 pixels on), normalised
        by image, then hidden layers.
        :class:`~skdisentangle.backbones.FineTuned` is a pretrained backbone for images or
        texts, with what follows it. A module, copied
        with its weights, or a callable that returns one when called with
        ``n_features`` (and ``n_components``, if it has an argument of that name), maps
        (n, n_features) to (n, n_components).
    hidden_layer_sizes : sequence of int, default=(128, 128)
        Widths of the hidden layers of ``"mlp"``, and of those after the convolutions
        of ``"conv"``.
    input_shape : tuple (C, H, W), default=None
        Shape of a row that is a flattened image: channels, height, width. For
        ``encoder="conv"``, None takes it from images of shape (n_samples, H, W, C).
    scale_inputs : bool, default=True
        Whether to standardise X (by column, or by channel where ``input_shape`` is
        given) on its way into the encoder. Leave it out for a module with
        preprocessing of its own.
    input_noise : float, pair of floats or "auto", default="auto"
        Standard deviation of Gaussian noise on the rows, as they go into the encoder while
        it is fitted (standardised, unless ``scale_inputs`` says otherwise). It keeps the
        encoder from learning rows by heart. The noise is new in each epoch. For a linear
        encoder it is a ridge penalty of its square, a row. In a pair the second number is
        the noise that is added to it for the hidden layers of ``"mlp"`` alone; 1 leaves
        them little but what is smooth. ``"auto"`` chooses both from the data:

        - the first is that of the ridge penalty which generalized cross-validation
          chooses, at the most 0.5. Below 0.15 it is 0, or 0.15 if all tasks have classes;
        - the second is 1. With less than 100 rows nothing more is done;
        - a quarter of the rows is held back. Short fits on the others say what predicts the
          labels there better: 0.3 or 0 in place of 1; if so, less of the first, too; and
          twice the first, up to 4. A change must gain twice its standard error.

        With ``scale_inputs=False``, where columns may be of any scale, ``"auto"`` is none;
        in ``partial_fit``, which does not know how many rows will come, too, unless a fit
        has chosen.
    task_types : str, sequence or mapping, default=None
        Type of all tasks, of each task, or of the tasks named: ``"regression"``,
        ``"count"`` (how many: 0, 1, 2, ...; never inferred), ``"binary"``, ``"ordinal"``
        (classes that stand in an order, such as ratings: numbers, or ordered categories,
        of which it is inferred), ``"multiclass"`` or None. None infers it: strings,
        booleans and categories are classes; numbers are classes if they have two whole
        values, or up to ten that look like codes, such as 0 to 3, with many rows each. A
        warning names those of more than two values. scikit-learn takes an estimator for a
        classifier, whose folds are stratified, if this says that all tasks have classes, or
        the fit has shown it.
    task_weight : array-like of shape (n_tasks,) or mapping, default=None
        Weight of each task in the mean over tasks, or of those named. A task of weight
        zero gets a head, but has no say in the encoder.
    class_weight : {"balanced"} or None, default=None
        Whether the classes of a task weigh the same, however frequent they are.
    max_iter : int or "auto", default="auto"
        Largest number of epochs. ``"auto"`` takes as many as make about 3,000 steps (400
        where each step takes all rows), and at least 10.
    batch_size : int or "auto", default="auto"
        Rows a step. ``"auto"`` takes all of up to 256 rows, else 128.
    learning_rate_init : float, default=0.005
        Learning rate at the start; it falls along a half cosine to zero.
    tol : float, default=1e-4
        A loss, or validation score, that is not better by this is no improvement.
    n_iter_no_change : int, default=10
        Epochs without improvement that end a stage of the fit early (its first sixth is
        free of penalties, then the supports are refined, in the last third all settles),
        and in the last stage the fit.
    early_stopping : bool, default=False
        Whether to hold rows back and to watch the score on them. A stage of the fit (see
        ``n_iter_no_change``) then ends when the score no longer improves, and the next one
        begins from the best state. At the end you get the best state since the penalties
        set in. Its heads are solved exactly on the rows that were not held back, unless
        that makes the score worse.
    validation_fraction : float, default=0.1
        Share of the rows to hold back for ``early_stopping``, and while ``"auto"``
        strengths are chosen.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the last fit, with its encoder, tasks and input scales,
        whatever ``encoder`` and its options say by then.
    cross_fit : int, default=None
        Number of folds, at least 2, if the features that ``fit_transform`` gives, and so
        those that the next step of a pipeline is trained on, are to be out of fold: each
        row's from an encoder that has not seen its labels, see :meth:`fit_transform`. For
        a next step whose target is among the tasks. Takes one more fit a fold. ``fit`` and
        ``transform`` are not touched by it.
    device : str or torch.device, default="auto"
        Where torch computes; ``"auto"`` takes a CUDA device if there is one.
    n_threads : int, default=1
        Number of threads that torch uses while this estimator fits or transforms. -1
        takes all processors. Small batches gain little from more than one.
    random_state : int, RandomState instance or None, default=None
        Seeds the initialisation, the order of rows and the choice of the rows held
        back. The global random states of numpy and torch are not touched.
    verbose : int, default=0
        1 prints one line that is rewritten: what is being done, loss, active components,
        time left, and at the end why the fit ended. 2 prints a line for each epoch.

    Attributes
    ----------
    encoder_ : skdisentangle.encoders.scalers.Encoder
        The fitted torch module, from raw rows to components.
    embedder_ : ImageEmbedder or TextEmbedder
        What reads X, with the trained backbone. Only with an encoder that is a
        :class:`~skdisentangle.backbones.FineTuned`; ``encoder_`` then takes its features.
    input_shape_ : tuple (C, H, W) or None
        Shape of a row that is an image: ``input_shape``, or as found in X.
    coef_ : ndarray of shape (n_outputs, n_active)
        Heads, in the units of the labels, with a column for each column of `transform`;
        zeros are exact. Predictions are ``transform(X) @ coef_.T + intercept_``, which
        are logits for classes, logarithms of the expected number for counts, and what is
        compared with the thresholds of the task for ordinal tasks.
    intercept_ : ndarray of shape (n_outputs,)
    tasks_ : list of skdisentangle.tasks.Task
        Name, type, classes, thresholds and outputs (rows of ``coef_``) of each task.
    classes_ : ndarray, or list of (ndarray or None)
        Classes of the task, in the order of ``predict_proba``: sorted, or as ordered
        categories stand. Of several tasks a list, None for a task without classes. Only
        where some task has classes.
    input_noise_, nonlinear_noise_ : float
        The noise of the fit: on the rows, and what is added to it for the hidden layers.
    sparsity_, sharing_ : float
        The strengths of the fit.
    component_names_ : ndarray of shape (n_active,)
        Only after :meth:`set_component_names`.
    usage_ : ndarray of shape (n_active,)
        Share of the heads' magnitude on each component; sums to one. Components are
        ordered by it, the most used one first.
    active_components_ : ndarray of int
        Columns of `transform` that some task uses. After `fit` that is each of them.
        :meth:`partial_fit` keeps its columns, so that some may be out of use.
    n_iter_ : int
        Number of epochs.
    loss_curve_ : list of float
        Mean loss over tasks in each epoch, without the penalty, on every fourth batch.
    validation_scores_ : list of float or None
        Score on the rows held back, after each epoch; None without early stopping.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Only if X has names, all strings.

    See Also
    --------
    sklearn.cross_decomposition.PLSRegression : Linear, dense supervised components.
    sklearn.linear_model.MultiTaskLasso : Joint feature selection among the columns.

    References
    ----------
    .. [1] M. Fumero et al., "Leveraging sparse and shared feature activations for
       disentangled representation learning", NeurIPS 2023, arXiv 2304.07939.
    .. [2] S. Lachapelle et al., "Synergies between disentanglement and sparsity:
       generalization and identifiability in multi-task learning", ICML 2023, arXiv
       2211.14666.

    Examples
    --------
    >>> import numpy as np
    >>> from skdisentangle import SparseSharedDisentangler
    >>> rng = np.random.default_rng(0)
    >>> factors = rng.normal(size=(500, 2))
    >>> X = factors @ rng.normal(size=(2, 5))
    >>> Y_tasks = np.column_stack([factors[:, 0], factors[:, 1] > 0, factors[:, 1]])
    >>> dis = SparseSharedDisentangler(n_components=4, random_state=0)
    >>> dis.fit_transform(X, Y_tasks).shape  # of four components two are in use
    (500, 2)
    >>> dis.coef_.shape
    (3, 2)
    """

    #: For :class:`skdisentangle.distributed.Ranks`.
    _fits_on_ranks: ClassVar = True

    # Not weights, which may be meant for the step after this one alone.
    __metadata_request__fit: ClassVar = {"Y_tasks": True}
    __metadata_request__partial_fit: ClassVar = {"Y_tasks": True, "classes": True}
    __metadata_request__score: ClassVar = {"Y_tasks": True}

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "sparsity": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "sharing": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "solver": [StrOptions({"alternating", "bilevel"})],
        "encoder": [
            StrOptions({"linear", "mlp", "conv"}),
            FineTuned,
            torch.nn.Module,
            callable,
        ],
        "hidden_layer_sizes": ["array-like"],
        "input_shape": ["array-like", None],
        "scale_inputs": ["boolean"],
        "input_noise": [
            Interval(Real, 0, None, closed="left"),
            tuple,
            list,
            StrOptions({"auto"}),
        ],
        "task_types": [str, "array-like", Mapping, None],
        "task_weight": ["array-like", Mapping, None],
        "class_weight": [StrOptions({"balanced"}), None],
        "max_iter": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [
            Interval(Integral, 2, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "warm_start": ["boolean"],
        "cross_fit": [Interval(Integral, 2, None, closed="left"), None],
        "device": [str, torch.device],
        "n_threads": [Integral],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # Fitted attributes, all set at once by `_set_fitted`.
    encoder_: Encoder
    embedder_: Any
    input_shape_: Any
    coef_ = ComponentCoef()
    intercept_: NDArray[np.float64]
    usage_: NDArray[np.float64]
    active_components_: NDArray[np.intp]
    tasks_: list[Task]
    sparsity_: float
    sharing_: float
    input_noise_: float
    nonlinear_noise_: float
    n_iter_: int
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    _task_set: TaskSet
    _moments: InputMoments
    _n_rows: int
    _spread: NDArray[np.float64]
    _pull: NDArray[np.float64] | None
    _unexplained: float | None

    #: Whether an interrupt is raised, and no model kept: where fits are part of a whole.
    _ends_when_interrupted: bool = False

    #: Whether this is one fit of many, of which what holds for all has been said.
    _is_part: bool = False

    def __init__(
        self,
        n_components: int | Literal["auto"] = 20,
        *,
        sparsity: float | Literal["auto"] = 0.03,
        sharing: float | Literal["auto"] = 0.1,
        solver: Literal["alternating", "bilevel"] = "alternating",
        encoder: str
        | FineTuned
        | torch.nn.Module
        | Callable[..., torch.nn.Module] = "mlp",
        hidden_layer_sizes: Sequence[int] = (128, 128),
        input_shape: tuple[int, int, int] | None = None,
        scale_inputs: bool = True,
        input_noise: float | tuple[float, float] | Literal["auto"] = "auto",
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
        cross_fit: int | None = None,
        device: str | torch.device = "auto",
        n_threads: int = 1,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.sparsity = sparsity
        self.sharing = sharing
        self.solver = solver
        self.encoder = encoder
        self.hidden_layer_sizes = hidden_layer_sizes
        self.input_shape = input_shape
        self.scale_inputs = scale_inputs
        self.input_noise = input_noise
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
        self.cross_fit = cross_fit
        self.device = device
        self.n_threads = n_threads
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        # Also where it is no classifier, as predict_proba is there, with a column a class.
        tags.classifier_tags = ClassifierTags()
        if types := _class_types(self):
            tags.estimator_type = "classifier"
            some = any(kind.most_classes is None for kind in types)
            tags.classifier_tags.multi_class = some
        tags.input_tags.sparse = self.encoder in ("linear", "mlp")
        if self.encoder == "conv" and self.input_shape is None:
            tags.input_tags.two_d_array = False
        if isinstance(self.encoder, FineTuned):
            embedder = self.encoder.embedder
            embedder = ImageEmbedder() if isinstance(embedder, str) else embedder
            tags.input_tags = embedder.__sklearn_tags__().input_tags
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.array_api_support = True
        return tags

    def _repr_html_inner(self) -> str:
        html: str = super()._repr_html_inner()
        return html + task_table(self)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle: dict[str, str] = super()._repr_mimebundle_(**kwargs)
        if "text/html" in bundle:
            bundle["text/html"] += task_table(self)
        return bundle

    # -- fitting ---------------------------------------------------------------------

    @fit_context
    @follows_input
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        Y_tasks: Any = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit encoder and heads.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Images of shape (n_samples, height, width[, channels]) for ``encoder="conv"``. What
            its embedder takes, such as paths of image files or texts, for an encoder that is
            a :class:`~skdisentangle.backbones.FineTuned`.
            Sparse for the encoders ``"linear"`` and ``"mlp"`` only. May be larger than
            memory: a memory map, an array of h5py or zarr, or another with ``shape``,
            ``dtype`` and rows by slices. More than 2**24 values are read in pieces,
            and shuffled in blocks of neighbouring rows; see ``docs/scale.md``.
        y : array-like or data frame of shape (n_samples,) or (n_samples, n_tasks)
            Task labels, unless ``Y_tasks`` is given. NaN, None and NA mean "not
            labelled".
        Y_tasks : array-like or data frame, default=None
            Task labels, for use in a pipeline whose last step has a target ``y`` of its
            own. If given, ``y`` is not looked at.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows.

        Returns
        -------
        self : SparseSharedDisentangler
            The fitted estimator.

        Raises
        ------
        ValueError
            If X, labels, weights or parameters are not as described, or the fit diverges.
            The estimator is then what it was before.

        Warns
        -----
        ConvergenceWarning
            If ``max_iter`` ended a fit that was still improving.
        UserWarning
            If tasks cannot be learned and are left out, if numbers are taken for classes
            (see ``task_types``), if there is a single task, or no component is active.
        """
        with all_or_nothing(self), threads(thread_count(self.n_threads)):
            before, ranks = Fitted.of(self) if self._goes_on() else None, joined()
            tuned = self._to_train(reset=before is None)
            if tuned is not None:
                check_can_train(tuned, early_stopping=self.early_stopping, ranks=ranks)
            problem = self._read(
                X, y, Y_tasks, sample_weight, reset=before is None, ranks=ranks
            )
            strengths = self._strengths(problem, sample_weight)
            given = y if Y_tasks is None else Y_tasks
            settings = Settings.of(self, *strengths)
            seen = X if hasattr(self, "embedder_") else problem.X
            monitor = Monitor(self, seen, given, speaks=ranks.rank == 0)
            if tuned is None:
                fitted = fit(
                    problem, settings, self.random_state, before=before, monitor=monitor
                )
            else:
                weight = None if problem.weight is None else np.asarray(sample_weight)
                fitted, self.embedder_ = fit_with_backbone(
                    tuned,
                    self.embedder_,
                    X,
                    None if weight is None else np.flatnonzero(weight),
                    problem,
                    settings,
                    self.random_state,
                    before=before,
                    monitor=monitor,
                )
            self.__dict__.pop("component_names_", None)  # those of other components
            self._set_fitted(fitted)
            is_first = ranks.rank == 0 and before is None and not self._is_part
            if is_first and len(fitted.task_set.learned) == 1:
                warn(
                    "With a single task nothing is disentangled: its components may be any "
                    "mixtures of the factors. Give the labels of more tasks, in columns of "
                    "Y_tasks; skdisentangle.datasets.tasks_from_classes makes many of one "
                    "multiclass label."
                )
            return self

    def _goes_on(self) -> bool:
        """Whether ``fit`` goes on from the last one."""
        return self.warm_start and hasattr(self, "encoder_")

    def _set_fitted(self, fitted: Fitted) -> None:
        """Set all fitted attributes."""
        self.__dict__.pop("_partial_state", None)
        self.__dict__.update(fitted.attributes())
        if len(getattr(self, "component_names_", ())) != self.coef_.shape[1]:
            self.__dict__.pop("component_names_", None)

    def _strengths(self, problem: Problem, sample_weight: Any) -> tuple[float, float]:
        """Sparsity and sharing, as given or as chosen on rows held back."""
        given = {"sparsity": self.sparsity, "sharing": self.sharing}
        if self._goes_on():
            # Chosen once: what goes on from a fit goes on at its strengths.
            for name, value in given.items():
                given[name] = getattr(self, f"{name}_") if value == "auto" else value
        if "auto" not in given.values():
            return float(given["sparsity"]), float(given["sharing"])
        seed = draw_seed(check_rng(self.random_state))
        settings = Settings.of(self, 0.0, 0.0)
        return choose_on_held_back_rows(
            *(problem, settings, self.sparsity, self.sharing, seed),
            verbose=self.verbose > 0,
        )

    @follows_input
    def fit_transform(
        self,
        X: Any,
        y: Any = None,
        *,
        Y_tasks: Any = None,
        sample_weight: ArrayLike | None = None,
    ) -> NDArray[np.floating]:
        """Fit, and give the components of the training rows.

        With ``cross_fit`` these are out of fold: rows are dealt into so many folds at
        random, and each fold's components come from an encoder fitted on the others and
        are matched one to one, by correlation, with those of the encoder of all rows. A
        component without counterpart in a fold is zero there, which is its mean; what a
        fold has in excess is left out. Rows of weight zero, which no fit looks at, get
        the components of ``transform``.

        .. note::
            With ``cross_fit``, ``fit(X, y).transform(X)`` does not equal
            ``fit_transform(X, y)``. What the next step is to be trained on is the
            latter; other rows go through ``transform``.

        Parameters
        ----------
        X, y, Y_tasks, sample_weight
            As in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_active)
            As from :meth:`transform`.

        Raises
        ------
        ValueError
            As in :meth:`fit`; also if no component is in use, if there are fewer rows than
            folds, or if a fold leaves no task that can be learned. The estimator is then
            what it was before.

        Warns
        -----
        ConvergenceWarning, UserWarning
            As in :meth:`fit`, also of the encoders of the folds.
        """
        unfitted = clone(self)
        with all_or_nothing(self):
            self.fit(X, y, Y_tasks=Y_tasks, sample_weight=sample_weight)
            if self.cross_fit is None:
                features: NDArray[np.floating] = self.transform(X)
                return features
            if not hasattr(self, "embedder_"):  # folds need what it reads
                X = self._validate_rows(X, reset=False)
            labels = y if Y_tasks is None else Y_tasks
            weight = row_weights(sample_weight, X)
            return out_of_fold(unfitted, self, X, labels, weight)

    @available_if(_has_strengths)
    @fit_context
    @follows_input
    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        *,
        Y_tasks: Any = None,
        sample_weight: ArrayLike | None = None,
        classes: Any = None,
    ) -> Self:
        """Go on fitting, with one pass over these rows.

        Parameters
        ----------
        X, y, Y_tasks, sample_weight
            As in :meth:`fit`. All calls must have the same tasks, and at least two rows;
            best some thousand, as the components are standardised over those of a step.
        classes : array-like, or list of (array-like or None), default=None
            All classes of the task, or of each task (None for a regression task).
            Looked at in the first call; without it, the classes are those of the first
            call's labels. The type, mean and scale of regression targets always come
            from the first call.

        Returns
        -------
        self : SparseSharedDisentangler
            The fitted estimator. The heads are as they are after the pass, not solved to
            the optimum as they are by :meth:`fit`. The first 500 steps (batches) are
            free of penalties, so that no coefficient is zero until then. Components are
            chosen after 1,000 steps. Until then `transform` gives all ``n_components``
            columns. From then on it gives those in use at that time, and their number,
            order and signs stay, while steps get smaller. After :meth:`fit`, and after
            :meth:`load`, components have been chosen: the first call goes on with small
            steps.

        Raises
        ------
        ValueError
            As in :meth:`fit`; also if a label is none of its task's classes.
        AttributeError
            If ``sparsity`` or ``sharing`` is ``"auto"``.
        RuntimeError
            Inside of :func:`skdisentangle.distributed.process_group`.
        """
        check_no_group("partial_fit")
        with all_or_nothing(self), threads(thread_count(self.n_threads)):
            first = not hasattr(self, "encoder_")
            if first and self._to_train(reset=True) is not None:
                raise ValueError(
                    "partial_fit cannot train a backbone; call fit first, or set n_epochs=0."
                )
            problem = self._read(X, y, Y_tasks, sample_weight, reset=first)
            if problem.n_rows < 2:
                raise ValueError(
                    "partial_fit needs at least 2 rows of weight above zero; got "
                    f"{problem.n_rows}. Of a single one nothing can be told; give some "
                    "thousand at a time."
                )
            fitted, state = fit_more(
                problem,
                Settings.of(self, float(self.sparsity), float(self.sharing)),
                self.random_state,
                before=None if first else Fitted.of(self),
                state=getattr(self, "_partial_state", None),
                classes=classes,
            )
            self._set_fitted(fitted)
            self._partial_state = state
            return self

    # -- using -----------------------------------------------------------------------

    @follows_input
    def transform(self, X: Any) -> Any:
        """Components of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Or images or texts, as in :meth:`fit`.
            Or a Dask array or data frame, which is transformed lazily, block by block.
            May be larger than memory, as in :meth:`fit`; it is read in pieces.

        Returns
        -------
        ndarray of shape (n_samples, n_active)
            A column for each component that is in use, the most used one first (but see
            :meth:`partial_fit`). Standardised over the training rows; float32 for float32
            rows, images of whole numbers and what an embedder reads, else float64. A Dask
            array for a Dask array, in its chunks, and a Dask data frame for a Dask data
            frame, with its index. With scikit-learn's array API
            dispatch, an array of the library and on the device of X.

        Raises
        ------
        ValueError
            If X is not as described, or so far from the rows of the fit that a component
            is not finite; or if no component is in use, so that there is no column to
            give.
        """
        if is_dask(X):
            check_is_fitted(self)
            return transform_blocks(self, X)
        codes = self._codes(X)
        if codes.shape[1] == 0:
            raise ValueError(
                "transform has no features to give: no component is in use, as no task "
                "gains from one at these strengths. Lower sparsity or sharing and fit "
                "again, if the tasks can be learned from X at all."
            )
        return codes

    @follows_input
    def predict(self, X: Any) -> Any:
        """Predict the labels of all tasks.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Or images or texts, as in :meth:`fit`.

        Returns
        -------
        ndarray or data frame of shape (n_samples,) or (n_samples, n_tasks)
            Of the kind of the labels in ``fit``; a data frame or series of pandas with the
            index of X, if that is a data frame of pandas. Of a count task the expected
            number, of classes the most probable one. A task that was left out is
            predicted by its only value, or is missing.
        """
        scores = self._scores(X)
        columns = []
        for task in self.tasks_:
            if task.left_out is not None:
                columns.append(task.constant_prediction(len(scores)))
            else:
                part = scores[:, task.outputs]
                columns.append(TYPES[task.type].predict(task, part))
        return self._task_set.decode(columns, pandas_index(X))

    @property
    def classes_(self) -> Any:
        """Classes of the task, or of each task, None for a regression task."""
        check_is_fitted(self)
        _has_classes(self)
        return self._one_or_all([task.classes for task in self.tasks_])

    @available_if(_has_classes)
    @follows_input
    def predict_proba(self, X: Any) -> Any:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Or images or texts, as in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or list
            For several tasks a list with one array a task, None for regression tasks
            and for tasks that were left out.
        """
        scores = self._scores(X)
        out: list[NDArray[Any] | None] = []
        for task in self.tasks_:
            part = scores[:, task.outputs]
            known = task.left_out is None
            out.append(TYPES[task.type].predict_proba(task, part) if known else None)
        alike = len({None if p is None else p.shape[1] for p in out}) == 1
        return self._one_or_all(out if alike else TaskProbabilities(out))

    def _one_or_all(self, values: list[Any]) -> Any:
        """The value of the task, where labels are of one dimension, or the list."""
        single = self._task_set.container in ("1d", "pandas-series", "polars-series")
        return values[0] if single else values

    @follows_input
    def score(
        self,
        X: Any,
        y: Any = None,
        *,
        Y_tasks: Any = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Mean over tasks of R2, D2 or accuracy; missing labels are left out.

        Parameters
        ----------
        X, y, Y_tasks, sample_weight
            As in :meth:`fit`.

        Returns
        -------
        float
            Less by a last bit if no component is in use, so that a search does not choose
            such a model, whose ``transform`` has nothing to give, by a tie.

        Raises
        ------
        ValueError
            If no task that was learned has labels to be scored.
        """
        scores = self.score_tasks(X, y, Y_tasks=Y_tasks, sample_weight=sample_weight)
        if np.isnan(scores).all():
            raise ValueError(
                "Y_tasks must have labels of a task that was learned, of more than one "
                "value if that is a regression; no task has a score."
            )
        mean = float(np.nanmean(scores))
        # A search is not to choose, of models of the same score, one without features.
        alive = len(self.active_components_) > 0
        return mean if alive else math.nextafter(mean, -math.inf)

    @follows_input
    def score_tasks(
        self,
        X: Any,
        y: Any = None,
        *,
        Y_tasks: Any = None,
        sample_weight: ArrayLike | None = None,
    ) -> NDArray[np.float64]:
        """Score of each task: R2 of a regression, D2 of a count, accuracy of classes.

        D2 is the share of the Poisson deviance that is explained, as
        ``sklearn.metrics.d2_tweedie_score(power=1)`` has it.

        Parameters
        ----------
        X, y, Y_tasks, sample_weight
            As in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_tasks,)
            NaN for a task that was left out, or has no label here.
        """
        check_is_fitted(self)
        problem = self._read(X, y, Y_tasks, sample_weight, reset=False)
        with threads(thread_count(self.n_threads)):
            return Fitted.of(self).score_tasks(problem, torch_device(self.device))

    @follows_input
    def fit_task(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: ArrayLike | None = None,
        task_type: str | None = None,
    ) -> SparseTaskHead:
        """Fit a head for a new task, from few labels; nothing here is changed.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Or images or texts, as in :meth:`fit`.
            Better not rows of the fit, whose features know their labels.
        y : array-like or series of shape (n_samples,)
            Labels of the task. A row with NaN, None or NA is left out.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows.
        task_type : {"regression", "count", "binary", "ordinal", "multiclass"}, default=None
            None infers it, see ``task_types``.

        Returns
        -------
        skdisentangle.heads.SparseTaskHead
            The fitted predictor, from raw rows to labels.

        Raises
        ------
        ValueError
            If X, y or weights are not as described, or ``y`` has fewer than two classes
            or values.
        """
        check_is_fitted(self)
        head = SparseTaskHead(FrozenEstimator(copy.copy(self)), task_type=task_type)
        return head.fit(X, y, sample_weight=sample_weight)

    def describe(self, X: Any, *, n_named: int = 3) -> Any:
        """Say what each component means: a table with a row for each component.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to look at, or images or texts, as in :meth:`fit`. At least two.
        n_named : int, default=3
            Tasks, columns and rows that are named for each component, at the most.

        Returns
        -------
        pandas.DataFrame, or list of dict without pandas
            Share of use, the tasks and columns that go with the component, whether it can be a
            factor, and the rows where it is lowest and highest. See
            :func:`skdisentangle.inspection.describe`.

        Raises
        ------
        ValueError
            If X or ``n_named`` is not as described.
        """
        from .inspection import describe  # which needs this module

        return describe(self, X, n_named=n_named)

    def plot(self, X: Any, *, max_columns: int = 20) -> Any:
        """Draw the fit: tasks beside columns, by component.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to look at, or images or texts, as in :meth:`fit`. At least two.
        max_columns : int, default=20
            Columns of X to draw, at the most; those of the largest effects.

        Returns
        -------
        skdisentangle.inspection.SummaryDisplay
            With the figure in ``figure_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed: ``pip install 'skdisentangle[plots]'``.
        ValueError
            If X is not as described, or no component is in use.
        """
        from .inspection import SummaryDisplay  # which needs this module

        return SummaryDisplay.from_estimator(self, X, max_columns=max_columns)

    def report(self, path: str | os.PathLike[str], X: Any, Y_tasks: Any = None) -> Path:
        """Write one page of HTML that says what the fit is, and what it found.

        Parameters
        ----------
        path : str or path-like
            File to write, such as ``"fit.html"``. The page holds all that it shows.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to look at, as in :meth:`describe`.
        Y_tasks : array-like or data frame, default=None
            Labels of these rows, for scores and concerns about the data.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        ImportError
            If pandas is not installed.
        OSError
            If the file cannot be written.
        ValueError
            If X or ``Y_tasks`` are not as described.
        """
        from .inspection import write_report  # which needs this module

        return write_report(self, path, X, Y_tasks)

    def set_component_names(self, names: Any) -> Self:
        """Give the components names of your own, as you understand them.

        They stand in :meth:`get_feature_names_out`, so also in data frames that `transform`
        gives, in pipelines and in extracted files, in :meth:`describe` and the displays, and in
        files that `save` writes. A new fit forgets them.

        Parameters
        ----------
        names : sequence of str, or mapping of int to str
            A name for each component, or for some, by their numbers. The others keep the
            name they have. All names must differ.

        Returns
        -------
        self : SparseSharedDisentangler
            With ``component_names_``, an ndarray of shape (n_components,).

        Raises
        ------
        ValueError
            If there is not a name for each component, a number is of none, or names are
            empty, repeated, or no strings.
        """
        check_is_fitted(self)
        before = self.get_feature_names_out().tolist()
        self.component_names_ = component_names(names, before)
        return self

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Names of the columns that `transform` gives.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Not used, there for the API.

        Returns
        -------
        ndarray of str objects, of shape (n_components,)
            The class name in lower case with a number, or what
            :meth:`set_component_names` set.
        """
        check_is_fitted(self)
        own: NDArray[Any] | None = getattr(self, "component_names_", None)
        return (
            super().get_feature_names_out(input_features) if own is None else own.copy()
        )

    @property
    def _n_features_out(self) -> int:
        return int(self.coef_.shape[1])

    # -- the door --------------------------------------------------------------------

    def _read(
        self,
        X: Any,
        y: Any,
        Y_tasks: Any,
        sample_weight: Any,
        *,
        reset: bool,
        ranks: Ranks = ALONE,
    ) -> Problem:
        """Validated rows, labels and weights; rows of weight zero are dropped."""
        with ranks.together():
            problem = self._read_here(X, y, Y_tasks, sample_weight, reset=reset)
            if ranks.size == 1:
                return problem
            for name in ("sparsity", "sharing"):
                if getattr(self, name, "auto") == "auto":
                    raise ValueError(
                        f"{name} must be a number in a fit on several processes; choose "
                        "it on one, from some of the rows."
                    )
            if self.solver != "alternating":
                raise ValueError(
                    "solver must be 'alternating' in a fit on several processes; got "
                    f"{self.solver!r}."
                )
            rows = problem.X
            rows = np.asarray(rows) if isinstance(rows, LazyRows) else rows
        self._agree(problem, ranks)
        weight = row_weights_of_all(
            problem.weight, sample_weight, problem.n_rows, ranks
        )
        return Problem(rows, problem.labels, weight, ranks)

    def _read_here(
        self, X: Any, y: Any, Y_tasks: Any, sample_weight: Any, *, reset: bool
    ) -> Problem:
        y = y if Y_tasks is None else Y_tasks
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the "
                "target y is None. Give the task labels as y or as Y_tasks."
            )
        if self._reads_with_embedder(reset=reset):  # X has a long way to go
            _check_rows_of_labels(Labels.read(in_memory(y)), _num_samples(X))
        X = self._validate_rows(X, reset=reset, ensure_min_samples=2 if reset else 1)
        labels = Labels.read(in_memory(y))
        _check_rows_of_labels(labels, X.shape[0])
        weight = row_weights(sample_weight, X)
        problem = Problem(X, labels, weight)
        if weight is None:
            return problem
        kept = np.flatnonzero(weight)
        if reset and len(kept) < 2:
            raise ValueError(
                "sample_weight must leave at least 2 rows of weight above zero; got "
                f"{len(kept)}."
            )
        return problem.take(kept) if len(kept) < len(weight) else problem

    def _agree(self, problem: Problem, ranks: Ranks) -> None:
        """Raise ValueError unless all ranks have the same columns, tasks and settings."""
        plain = (str, int, float, tuple, list, type(None))
        labels = problem.labels
        ranks.agree(
            {
                "The number of columns of X": problem.X.shape[1],
                "The names of columns of X": list(
                    getattr(self, "feature_names_in_", ())
                ),
                "The dtype of X": str(problem.X.dtype),
                "The container of Y_tasks": labels.container,
                "The columns of Y_tasks": labels.names,
                "The dtypes of Y_tasks": labels.frame_dtypes(),
                "warm_start, and whether there is a fit to go on from,": self._goes_on(),
            }
            | {
                name: value
                for name, value in self.get_params(deep=False).items()
                if isinstance(value, plain)
                and name not in ("random_state", "device", "n_threads", "verbose")
            }
        )

    def _validate_rows(self, X: Any, **options: Any) -> Any:
        """Array or CSR matrix of checked rows; LazyRows of a large array."""
        if options["reset"]:
            self.__dict__.pop("embedder_", None)
            if isinstance(self.encoder, FineTuned):
                self.embedder_ = embedder_of(self.encoder)
        if hasattr(self, "embedder_"):
            X = self.embedder_.transform(X)
        shape = self.input_shape
        if not options["reset"]:
            shape = getattr(self, "input_shape_", shape)
        if self.encoder == "conv":
            X, shape = flat_images(X, shape)
        if options["reset"]:
            self.input_shape_ = shape
        X = lazy_if_large(in_memory(X))
        lazy = isinstance(X, LazyRows)
        try:
            # scikit-learn sums to look for NaN, and infinities may cancel
            with np.errstate(invalid="ignore"):
                checked = validate_data(
                    self,
                    X.head() if lazy else X,
                    accept_sparse="csr" if self.encoder in ("linear", "mlp") else False,
                    dtype=[np.float64, np.float32],
                    **options,
                )
        except (OverflowError, TypeError, ValueError) as error:
            if re.search(r"\bX\b|feature names|sample\(s\)", str(error)):
                raise
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(
                f"X must hold numbers, of shape (n_samples, n_features): {error}"
            ) from error
        return X if lazy else lazy_if_large(checked)

    def _to_train(self, *, reset: bool) -> FineTuned | None:
        """The encoder, if a fit is to train its backbone."""
        tuned = self.encoder
        if not self._reads_with_embedder(reset=reset):
            return None
        return tuned if isinstance(tuned, FineTuned) and tuned.n_epochs else None

    def _reads_with_embedder(self, *, reset: bool) -> bool:
        """Whether X is images or texts: as ``encoder`` says, or as it was fitted."""
        if reset:
            return isinstance(self.encoder, FineTuned)
        return hasattr(self, "embedder_")

    def _codes(self, X: Any) -> NDArray[np.floating]:
        check_is_fitted(self)
        return self._forward(self._validate_rows(X, reset=False))

    def _forward(self, X: Any) -> NDArray[np.floating]:
        """Components of validated rows."""
        with threads(thread_count(self.n_threads)):
            return forward(self.encoder_, X, torch_device(self.device))

    def _scores(self, X: Any) -> NDArray[np.floating]:
        scores: NDArray[np.floating] = self._codes(X) @ self.coef_.T + self.intercept_
        return scores
