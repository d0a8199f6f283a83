"""The estimator: validates input, calls the solvers, holds the fitted attributes."""

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
from .rows.frames import check_cells
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
    """Whether ``predict_proba`` exists: some task must have classes."""
    task_set = getattr(estimator, "_task_set", None)
    if task_set is None or any(TYPES[t.type].has_classes for t in task_set.tasks):
        return True
    raise AttributeError("predict_proba is not available: no task has classes.")


def _class_types(estimator: SparseSharedDisentangler) -> list[TaskType]:
    """Types of the tasks if all have classes, as fitted or as in ``task_types``."""
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
    """Raise ValueError unless X and the labels have the same number of rows."""
    if labels.n_rows != n_rows:
        raise ValueError(
            f"Y_tasks must have one row for each of the {n_rows} rows of X; got "
            f"{labels.n_rows}."
        )


def _has_strengths(estimator: SparseSharedDisentangler) -> bool:
    """Whether ``partial_fit`` exists: it cannot choose strengths."""
    for name in ("sparsity", "sharing"):
        if getattr(estimator, name, "auto") == "auto":
            raise AttributeError(
                f"partial_fit cannot choose {name}, because it holds back no rows. Set "
                f"{name} to a number, such as the {name}_ of an earlier fit."
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
    """Learn disentangled features from many supervised tasks.

    Give rows of data and the labels of several tasks. The estimator fits an encoder and one
    linear head per task. Two penalties align the components with the factors behind the
    tasks [1]_, [2]_: ``sparsity`` keeps each head to few components, and ``sharing`` keeps
    all heads together to few components. The package uses these terms:

    task
        One column of labels to predict. Its type is one of those of ``task_types``.
    factor
        A hidden property that made your rows and that tasks depend on, such as the size of
        a thing in an image.
    component
        One feature that the encoder computes, which should recover one factor. Components
        are the columns of `transform`.
    head
        The linear model that predicts one task from the components. It has one output, or
        one output per class for a multiclass task.
    support
        The set of components with a nonzero coefficient in a head.
    usage
        A component's share of the magnitude of all heads.
    active component
        A component in use: at least one head has a nonzero coefficient on it.

    The parameters come in four groups: basic, tasks, training and expert. A table in the
    notes below says when to change which.

    Parameters
    ----------
    n_components : int or "auto", default=20
        Largest number of components. Give too many rather than too few: only active
        components are kept, so `transform` returns as many columns as factors were found.
        If both strengths are 0, all components are kept. ``"auto"`` starts with one
        component per output of the heads, at most 64. A number above 64 is lowered to the
        number of outputs or of rows, but not below 64, as neither can tell more components
        apart. An encoder of your own keeps its width.
    encoder : {"mlp", "linear", "conv"}, FineTuned, torch.nn.Module or callable, \
            default="mlp"
        The network that computes the components.

        - ``"mlp"``: hidden layers of ``hidden_layer_sizes`` with ReLU. A last linear layer
          takes both their output and the row itself, and training starts from a linear map.
          Use it for tables and for embeddings.
        - ``"linear"``: a linear map of the row, which is the easiest to read. Use it if
          ``"mlp"`` does not predict new rows better.
        - ``"conv"``: convolutions, then hidden layers. It takes images of shape (n_samples,
          height, width, channels), or flattened rows of ``input_shape``. The convolutions
          have stride 2 (the first has stride 4 from 32 pixels on), normalise each image, and
          end at 4 pixels.
        - :class:`~skdisentangle.backbones.FineTuned`: a pretrained backbone for images or
          texts, followed by one of the above.
        - A torch module, which is copied with its weights. It must map (n, n_features) to
          (n, n_components).
        - A callable that returns such a module. It is called with ``n_features``, and with
          ``n_components`` if it has an argument of that name.
    sparsity : float or "auto", default=0.03
        Strength of the penalty that keeps each head to few components. Its meaning does
        not depend on the number of tasks or outputs, the scale of X or of a target, or the
        frequency of a class. At 1 the penalty just drops a component that equals the
        target up to scale. For a task with fewer than 2,000 labels the penalty grows by
        ``sqrt(2000 / n_labels)``, because its coefficients have larger random errors.

        ``"auto"`` holds back a share ``validation_fraction`` of the rows and tries a few
        strengths. It takes the one with the fewest nonzero coefficients that does not
        predict the held-out rows worse, then fits on all rows. This takes two to four times
        as long. With an int as ``random_state``, the result is the same as with the number
        ``sparsity_``. With ``warm_start``, only the first fit chooses.
    sharing : float or "auto", default=0.1
        Strength of the penalty that keeps all heads together to few components.
        ``"auto"`` chooses it like ``sparsity``. Choosing both takes about five times as
        long as one fit.
    random_state : int, RandomState instance or None, default=None
        Seed of the initialisation, the order of the rows and the choice of held-out rows.
        The global random states of numpy and torch are not touched.
    task_types : str, sequence or mapping, default=None
        Type of all tasks, of each task, or of the named tasks:

        - ``"regression"``: measurements.
        - ``"count"``: how many, 0, 1, 2, ... It is never inferred.
        - ``"binary"``: two classes.
        - ``"ordinal"``: classes in an order, such as ratings, given as numbers or ordered
          categories. It is inferred from ordered categories.
        - ``"multiclass"``: classes without an order.
        - None infers the type. Strings, booleans and categories are classes. Numbers are
          classes if they have two whole values, or up to ten that look like codes, such as
          0 to 3, with many rows each. A warning names the tasks of numbers with more than
          two classes.

        scikit-learn treats the estimator as a classifier, and stratifies its folds, if this
        parameter or the fit shows that all tasks have classes.
    task_weight : array-like of shape (n_tasks,) or mapping, default=None
        Weight of each task, or of the named tasks, in the mean loss. A task of weight zero
        gets its head after the training. The features are those of a fit without it. In
        :meth:`partial_fit` it can still influence which components are in use.
    class_weight : {"balanced"} or None, default=None
        Whether all classes of a task weigh the same, however frequent they are.
    max_iter : int or "auto", default="auto"
        Largest number of epochs. ``"auto"`` aims at about 3,000 steps (400 if each step
        takes all rows), and takes at least 10 epochs.
    batch_size : int or "auto", default="auto"
        Rows per step. ``"auto"`` takes all rows if there are at most 256, else 128.
    learning_rate_init : float, default=0.005
        Learning rate at the start. It falls to zero along half a cosine.
    tol : float, default=1e-4
        Smallest change of the loss, or of the validation score, that counts as an
        improvement.
    n_iter_no_change : int, default=10
        End a stage of the fit after this many epochs without improvement. The first stage
        (a sixth of the fit) has no penalties, the second refines the supports, and in the
        last (a third) everything settles. The end of the last stage ends the fit.
    early_stopping : bool, default=False
        Whether to hold back rows and watch the score on them. A stage of the fit then ends
        when this score no longer improves, and the next stage starts from the best state.
        The fit returns the best state since the penalties set in. Its heads are solved
        exactly on the rows that were not held back, unless that lowers the score.
    validation_fraction : float, default=0.1
        Share of the rows to hold back for ``early_stopping``, and to choose ``"auto"``
        strengths.
    warm_start : bool, default=False
        Whether ``fit`` continues from the last fit. It keeps the encoder, tasks and input
        scales of that fit, even if you have changed ``encoder`` or its options.
    device : str or torch.device, default="auto"
        Where torch computes. ``"auto"`` uses a CUDA device if there is one.
    n_threads : int, default=1
        Number of torch threads while this estimator fits or transforms. -1 uses all
        processors. Small batches gain little from more than one.
    verbose : int, default=0
        1 shows one line that is updated: current stage, loss, active components, time
        left, and at the end why the fit ended. 2 prints one line per epoch.
    hidden_layer_sizes : sequence of int, default=(128, 128)
        Widths of the hidden layers of ``"mlp"``, and of those after the convolutions of
        ``"conv"``.
    input_shape : tuple (C, H, W), default=None
        Channels, height and width of a row that is a flattened image. For
        ``encoder="conv"``, None takes it from images of shape (n_samples, H, W, C).
    scale_inputs : bool, default=True
        Whether to standardise X before the encoder: by column, or by channel if
        ``input_shape`` is given. Turn it off for a module that does its own preprocessing.
    input_noise : float, pair of floats or "auto", default="auto"
        Standard deviation of Gaussian noise that is added to the rows during training, new
        in each epoch. It keeps the encoder from overfitting. Rows are standardised first,
        unless ``scale_inputs=False``. For a linear encoder, the noise acts as a ridge
        penalty whose strength per row is its square. The second number of a pair is noise
        added on top for the hidden layers of ``"mlp"`` only. At 1 these learn little but
        smooth functions.
        ``"auto"`` chooses both numbers from the data:

        - The first comes from the ridge penalty that generalized cross-validation chooses,
          at most 0.5. Below 0.15 it becomes 0, or 0.15 if all tasks have classes.
        - The second is 1. With fewer than 100 rows, the choice ends here.
        - Short fits then compare alternatives on a quarter of the rows, held back: 0.3 or 0
          instead of 1; if one is better, also a smaller first number; and twice the first
          number, up to 4. A change must improve the loss by twice its standard error. If 0.3
          is not better than 1, they also try 2, which need only have a smaller loss.

        ``"auto"`` adds no noise with ``scale_inputs=False``, where columns may have any
        scale. It adds none in ``partial_fit`` either, where the number of rows is unknown,
        unless an earlier fit has chosen it.
    solver : {"alternating", "bilevel"}, default="alternating"
        ``"alternating"`` fits heads and encoder on the same rows. ``"bilevel"`` follows the
        meta-learning of [1]_: each step fits heads on one half of the batch, and updates the
        encoder by their loss on the other half. It recovers the factors of binary tasks and
        of noisy labels more purely. It may miss a factor if factors are strongly
        correlated, and takes about twice as long. It splits rows at random, so a row of
        weight 2 does not exactly equal two rows.
    cross_fit : int, default=None
        Number of folds, at least 2, for out-of-fold features in ``fit_transform``: each row
        is encoded by a fit that has not seen its labels, see :meth:`fit_transform`. This
        takes one more fit per fold. It does not change ``fit`` or ``transform``.

    Attributes
    ----------
    encoder_ : skdisentangle.encoders.scalers.Encoder
        The fitted torch module, from raw rows to components.
    embedder_ : ImageEmbedder or TextEmbedder
        Reads X with the trained backbone; ``encoder_`` then takes its features. Only if the
        encoder is a :class:`~skdisentangle.backbones.FineTuned`.
    input_shape_ : tuple (C, H, W) or None
        Shape of a row that is an image: ``input_shape``, or as found in X.
    coef_ : ndarray of shape (n_outputs, n_active)
        Coefficients of the heads, in the units of the labels, with one column per column of
        `transform`. Zeros are exact. ``transform(X) @ coef_.T + intercept_`` gives the
        prediction of a regression task, the logits of classes, the logarithm of the
        expected count, and for an ordinal task the score to compare with its thresholds.
    intercept_ : ndarray of shape (n_outputs,)
        Intercepts of the heads.
    tasks_ : list of skdisentangle.tasks.Task
        Name, type, classes, thresholds and outputs (rows of ``coef_``) of each task.
    classes_ : ndarray, or list of (ndarray or None)
        Classes of the task, in the order of ``predict_proba``: sorted, or in the order of
        ordered categories. For several tasks a list, with None for a task without classes.
        Only if some task has classes.
    input_noise_, nonlinear_noise_ : float
        The noise used by the fit: the row noise, and the hidden noise, which is added on
        top for the hidden layers.
    sparsity_, sharing_ : float
        The strengths used by the fit.
    component_names_ : ndarray of shape (n_active,)
        Names of the components. Only after :meth:`set_component_names`.
    usage_ : ndarray of shape (n_active,)
        Usage of each component. It sums to one, and components are sorted by it, the most
        used one first.
    active_components_ : ndarray of int
        Columns of `transform` that are active components: all of them after :meth:`fit`.
        :meth:`partial_fit` keeps its columns, so some of them may go out of use.
    n_iter_ : int
        Number of epochs.
    loss_curve_ : list of float
        Mean loss over tasks in each epoch, without penalties, on every fourth batch.
    validation_scores_ : list of float or None
        Score on the held-out rows after each epoch. None without early stopping.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Only if all are strings.

    See Also
    --------
    sklearn.cross_decomposition.PLSRegression : Linear, dense supervised components.
    sklearn.linear_model.MultiTaskLasso : Joint feature selection among the columns.

    Notes
    -----
    Which parameter to change when:

    ======================== =========================================================
    Parameter                Change it if
    ======================== =========================================================
    **Basic**
    ``n_components``         all components are in use after a fit: raise it
    ``encoder``              X is images or texts, or a linear map may be enough
    ``sparsity``             heads use too many components: raise it; scores are low or
                             no component is in use: lower it
    ``sharing``              more components are in use than you expect: raise it
    ``random_state``         each run should give the same result: set an int
    **Tasks**
    ``task_types``           a type is inferred wrongly, or labels are counts
    ``task_weight``          some tasks matter more than others
    ``class_weight``         rare classes matter as much as frequent ones
    **Training**
    ``max_iter``             a warning says that the loss was still improving: raise it
    ``batch_size``           memory is short: lower it; a GPU is idle: raise it
    ``learning_rate_init``   the loss diverges: lower it
    ``tol``                  the fit ends too early: lower it
    ``n_iter_no_change``     the fit ends too early: raise it
    ``early_stopping``       scores are worse on new rows than on those of the fit
    ``validation_fraction``  scores on the held-out rows vary too much: raise it
    ``warm_start``           you want to continue a fit
    ``device``               torch should use another device
    ``n_threads``            layers are wide or rows are images: raise it
    ``verbose``              you want to watch the fit
    **Expert**
    ``hidden_layer_sizes``   scores are low although rows are many: widen the layers
    ``input_shape``          rows are flattened images
    ``scale_inputs``         your module does its own preprocessing: turn it off
    ``input_noise``          the choice takes too long: give numbers
    ``solver``               tasks are binary or labels are noisy: try ``"bilevel"``
    ``cross_fit``            the target of a later pipeline step is among the tasks
    ======================== =========================================================

    With components ``z = encoder(x)``, standardised over the training rows, the fit
    alternates between the heads (inner problem) and the encoder (outer problem)::

        inner:  min_(coef, intercept)  mean_t loss_t(coef z + intercept, y)
                    + mean_t mean_(k in t) spread_k
                        * sum_m (few_t * sparsity + sharing * share_m) |coef_km|
        outer:  min_encoder            mean_t weight_t loss_t

    - ``loss_t`` is half the squared error of the standardised target, or the cross-entropy;
    - ``spread_k`` is the standard deviation of the target or class;
    - ``few_t = max(1, sqrt(2000 / n_t))`` for a task with ``n_t`` labels;
    - ``share_m = log(max(u) / u_m)`` is the linearised entropy of the usage ``u``;
    - ``weight_t`` is the inverse of the residual variance for a regression task, else one.

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
        "encoder": [
            StrOptions({"linear", "mlp", "conv"}),
            FineTuned,
            torch.nn.Module,
            callable,
        ],
        "sparsity": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "sharing": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "random_state": ["random_state"],
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
        "device": [str, torch.device],
        "n_threads": [Integral],
        "verbose": ["verbose"],
        "hidden_layer_sizes": ["array-like"],
        "input_shape": ["array-like", None],
        "scale_inputs": ["boolean"],
        "input_noise": [
            Interval(Real, 0, None, closed="left"),
            tuple,
            list,
            StrOptions({"auto"}),
        ],
        "solver": [StrOptions({"alternating", "bilevel"})],
        "cross_fit": [Interval(Integral, 2, None, closed="left"), None],
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
    _stages: list[tuple[int, str]]
    _task_set: TaskSet
    _moments: InputMoments
    _n_rows: int
    _spread: NDArray[np.float64]
    _pull: NDArray[np.float64] | None
    _unexplained: float | None

    #: Whether an interrupt is raised instead of keeping the model so far.
    _ends_when_interrupted: bool = False

    #: Whether this is one fit of many, so that warnings for all of them are not repeated.
    _is_part: bool = False

    def __init__(
        self,
        n_components: int | Literal["auto"] = 20,
        *,
        encoder: str
        | FineTuned
        | torch.nn.Module
        | Callable[..., torch.nn.Module] = "mlp",
        sparsity: float | Literal["auto"] = 0.03,
        sharing: float | Literal["auto"] = 0.1,
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
        verbose: int = 0,
        hidden_layer_sizes: Sequence[int] = (128, 128),
        input_shape: tuple[int, int, int] | None = None,
        scale_inputs: bool = True,
        input_noise: float | tuple[float, float] | Literal["auto"] = "auto",
        solver: Literal["alternating", "bilevel"] = "alternating",
        cross_fit: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.encoder = encoder
        self.sparsity = sparsity
        self.sharing = sharing
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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        # Set for non-classifiers, too: predict_proba exists, with one column per class.
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
            Rows to learn from. Sparse only for the encoders ``"linear"`` and ``"mlp"``.
            For ``encoder="conv"``, images of shape (n_samples, height, width[, channels]).
            For a :class:`~skdisentangle.backbones.FineTuned`, whatever its embedder reads,
            such as texts or paths of image files.
            X may be larger than memory: a memory map, an array of h5py or zarr, or any
            object with ``shape``, ``dtype`` and rows by slices. More than 2**24 values
            are read in pieces and shuffled in blocks of neighbouring rows.
        y : array-like or data frame of shape (n_samples,) or (n_samples, n_tasks)
            Task labels, unless ``Y_tasks`` is given. NaN, None and NA mean "not
            labelled".
        Y_tasks : array-like or data frame, default=None
            Task labels, for a pipeline whose last step has its own target ``y``. If given,
            ``y`` is ignored.
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
            The estimator then stays as it was before.

        Warns
        -----
        ConvergenceWarning
            If ``max_iter`` ended a fit that was still improving.
        UserWarning
            If tasks cannot be learned and are left out, if numbers are taken for classes
            (see ``task_types``), if there is only one task, or if no component is active.
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
            self.__dict__.pop("component_names_", None)  # they name the old components
            self._set_fitted(fitted)
            is_first = ranks.rank == 0 and before is None and not self._is_part
            if is_first and len(fitted.task_set.learned) == 1:
                warn(
                    "With a single task nothing is disentangled: its components may be any "
                    "mixture of the factors. Give labels of more tasks as columns of "
                    "Y_tasks. skdisentangle.datasets.tasks_from_classes makes several tasks "
                    "from one multiclass label."
                )
            return self

    def _goes_on(self) -> bool:
        """Whether ``fit`` continues from the last fit."""
        return self.warm_start and hasattr(self, "encoder_")

    def _set_fitted(self, fitted: Fitted) -> None:
        """Set all fitted attributes."""
        self.__dict__.pop("_partial_state", None)
        self.__dict__.update(fitted.attributes())
        if len(getattr(self, "component_names_", ())) != self.coef_.shape[1]:
            self.__dict__.pop("component_names_", None)

    def _strengths(self, problem: Problem, sample_weight: Any) -> tuple[float, float]:
        """Sparsity and sharing, as given or as chosen on held-out rows."""
        given = {"sparsity": self.sparsity, "sharing": self.sharing}
        if self._goes_on():
            # Chosen once: a fit that continues another one keeps its strengths.
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
        """Fit, and return the components of the training rows.

        With ``cross_fit`` the components are out of fold. Rows are split into that many
        folds at random, and an encoder fitted on the other folds computes the components of
        each fold. These are matched one to one, by correlation, with the components of the
        encoder of all rows. A component without a match in a fold is zero there, which is
        its mean. Extra components of a fold are dropped. Rows of weight zero, which no fit
        uses, get the components of ``transform``.

        .. note::
            With ``cross_fit``, ``fit(X, y).transform(X)`` does not equal
            ``fit_transform(X, y)``. Train the next step on ``fit_transform``, and pass new
            rows through ``transform``.

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
            As in :meth:`fit`. Also if no component is in use, if there are fewer rows than
            folds, or if no task can be learned without a fold. The estimator then stays as
            it was before.

        Warns
        -----
        ConvergenceWarning, UserWarning
            As in :meth:`fit`, also for the encoders of the folds.
        """
        unfitted = clone(self)
        with all_or_nothing(self):
            self.fit(X, y, Y_tasks=Y_tasks, sample_weight=sample_weight)
            if self.cross_fit is None:
                features: NDArray[np.floating] = self.transform(X)
                return features
            if not hasattr(self, "embedder_"):  # the folds read raw X with their own
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
        """Continue to fit, with one pass over these rows.

        The first 500 steps (batches) have no penalties, so no coefficient is zero. After
        1,000 steps the components are chosen. Until then `transform` returns all
        ``n_components`` columns. From then on it returns the components in use at that time:
        their number, order and signs stay, and steps get smaller. After :meth:`fit` or
        :meth:`load`, components are already chosen, so the first call takes small steps.

        Parameters
        ----------
        X, y, Y_tasks, sample_weight
            As in :meth:`fit`. All calls must have the same tasks and at least two rows.
            Give several thousand rows per call, because each step standardises the
            components over its rows.
        classes : array-like, or list of (array-like or None), default=None
            All classes of the task, or of each task (None for a regression task). Only the
            first call reads it. Without it, the classes are those among the labels of the
            first call. The type of each task, and the mean and scale of regression
            targets, always come from the first call.

        Returns
        -------
        self : SparseSharedDisentangler
            The fitted estimator. Its heads are those of the last step. Unlike :meth:`fit`,
            this method does not solve them to the optimum.

        Raises
        ------
        ValueError
            As in :meth:`fit`. Also if a label is not among the classes of its task.
        AttributeError
            If ``sparsity`` or ``sharing`` is ``"auto"``.
        RuntimeError
            Inside :func:`skdisentangle.distributed.process_group`.
        """
        check_no_group("partial_fit")
        with all_or_nothing(self), threads(thread_count(self.n_threads)):
            first = not hasattr(self, "encoder_")
            if first and self._to_train(reset=True) is not None:
                raise ValueError(
                    "partial_fit cannot train a backbone. Call fit first, or set n_epochs=0."
                )
            problem = self._read(X, y, Y_tasks, sample_weight, reset=first)
            if problem.n_rows < 2:
                raise ValueError(
                    "partial_fit needs at least 2 rows of weight above zero; got "
                    f"{problem.n_rows}. Give several thousand rows per call."
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
        """Compute the components of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, images or texts, as in :meth:`fit`. X may be larger than memory; it is
            read in pieces. A Dask array or data frame is transformed lazily, block by
            block.

        Returns
        -------
        ndarray of shape (n_samples, n_active)
            One column per component in use, the most used one first (but see
            :meth:`partial_fit`), standardised over the training rows. The dtype is float32
            for float32 rows, for images of whole numbers and for rows that an embedder
            reads, else float64. A Dask array gives a Dask array in the same chunks, and a
            Dask data frame gives one with the same index. With scikit-learn's array API
            dispatch, the result is an array of the same library and on the same device as
            X.

        Raises
        ------
        ValueError
            If X is not as described, or so far from the training rows that a component is
            not finite. Also if no component is in use, so that there are no columns.
        """
        if is_dask(X):
            check_is_fitted(self)
            return transform_blocks(self, X)
        codes = self._codes(X)
        if codes.shape[1] == 0:
            raise ValueError(
                "transform has no features to return: no component is in use, because "
                "no task gains from one at these strengths. Lower sparsity or sharing and fit "
                "again. If that does not help, X may not predict the tasks."
            )
        return codes

    @follows_input
    def predict(self, X: Any) -> Any:
        """Predict the labels of all tasks.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, images or texts, as in :meth:`fit`.

        Returns
        -------
        ndarray or data frame of shape (n_samples,) or (n_samples, n_tasks)
            Predictions in the same container as the labels in ``fit``. A pandas data frame
            or series has the index of X, if X is a pandas data frame. The prediction is the
            expected number for a count task, and the most probable class for a task with
            classes. A task that was left out is predicted by its only value, or is missing.
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
        """Classes of the task, or of each task, with None for a task without classes."""
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
            Rows, images or texts, as in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or list
            An array for one task, also if its labels are a column. For several tasks a
            list with one array per task. It holds None for tasks without classes and for
            tasks that were left out.
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
        """The value of a single task, or the list; a column of labels is one task, too."""
        return values[0] if len(values) == 1 else values

    @follows_input
    def score(
        self,
        X: Any,
        y: Any = None,
        *,
        Y_tasks: Any = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Compute the mean over tasks of R2, D2 or accuracy, on labelled rows.

        Parameters
        ----------
        X, y, Y_tasks, sample_weight
            As in :meth:`fit`.

        Returns
        -------
        float
            The mean score. It is lowered by its last bit if no component is in use. A search
            then never prefers such a model, whose ``transform`` fails, in a tie.

        Raises
        ------
        ValueError
            If no learned task has labels that can be scored.
        """
        scores = self.score_tasks(X, y, Y_tasks=Y_tasks, sample_weight=sample_weight)
        if np.isnan(scores).all():
            raise ValueError(
                "Y_tasks must have labels of a task that was learned, with more than one "
                "value for a regression task; no task has a score."
            )
        mean = float(np.nanmean(scores))
        # Of models with the same score, a search must not choose one without features.
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
        """Compute the score of each task.

        The score is R2 for a regression task, accuracy for a task with classes, and D2 for a
        count task: the explained share of the Poisson deviance, as in
        ``sklearn.metrics.d2_tweedie_score(power=1)``.

        Parameters
        ----------
        X, y, Y_tasks, sample_weight
            As in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_tasks,)
            Scores. NaN for a task that was left out or has no label here.
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
        """Fit a head for a new task from few labels. The estimator stays as it is.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, images or texts, as in :meth:`fit`. Give rows that the fit has not seen:
            the encoder has been trained on the labels of the others.
        y : array-like or series of shape (n_samples,)
            Labels of the task. A row with NaN, None or NA is left out.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows.
        task_type : {"regression", "count", "binary", "ordinal", "multiclass"}, default=None
            Type of the task. None infers it, see ``task_types``.

        Returns
        -------
        skdisentangle.heads.SparseTaskHead
            The fitted predictor, from raw rows to labels. Its ``task_type`` is the type given
            or inferred, so that clones of it have the same.

        Raises
        ------
        ValueError
            If X, y or weights are not as described, or ``y`` has fewer than two classes
            or values.
        """
        check_is_fitted(self)
        head = SparseTaskHead(FrozenEstimator(copy.copy(self)), task_type=task_type)
        head.fit(X, y, sample_weight=sample_weight)
        return head.set_params(task_type=head.task_.type)

    def describe(self, X: Any, *, n_named: int = 3) -> Any:
        """Describe what each component means, in a table with one row per component.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, images or texts to look at, as in :meth:`fit`. At least two.
        n_named : int, default=3
            Largest number of tasks, columns and rows to name for each component.

        Returns
        -------
        pandas.DataFrame, or list of dict without pandas
            For each component its name, the tasks and columns that go with it, whether it
            can be a factor, its usage, and the rows where it is lowest and highest.
            ``print`` shows it as text. A notebook shows the rows as small pictures if they
            are images, and as texts if they are texts. ``"price (+0.80)"`` among the tasks
            means: the price rises with the component, and the size of its coefficient is 0.8
            of the largest one of that task. Tasks of several classes have no sign. See
            :func:`skdisentangle.inspection.describe`.

        Raises
        ------
        ImportError
            If X holds image files and Pillow is not installed.
        ValueError
            If X or ``n_named`` is not as described.
        """
        from .inspection import describe  # which needs this module

        return describe(self, X, n_named=n_named)

    def plot(self, X: Any, *, max_columns: int = 20) -> Any:
        """Draw for each component the tasks and the columns of X that go with it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, images or texts to look at, as in :meth:`fit`. At least two.
        max_columns : int, default=20
            Largest number of columns of X to draw: those with the largest effects.

        Returns
        -------
        skdisentangle.inspection.SummaryDisplay
            The display. Its figure is ``figure_``.

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
        """Write one HTML page that describes the fit and its results.

        Parameters
        ----------
        path : str or path-like
            File to write, such as ``"fit.html"``. It loads no other files.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to look at, as in :meth:`describe`.
        Y_tasks : array-like or data frame, default=None
            Labels of these rows. If given, the page shows scores and concerns about the
            data.

        Returns
        -------
        pathlib.Path
            The file written.

        Raises
        ------
        ImportError
            If X holds image files and Pillow is not installed.
        OSError
            If the file cannot be written.
        ValueError
            If X or ``Y_tasks`` are not as described.
        """
        from .inspection import write_report  # which needs this module

        return write_report(self, path, X, Y_tasks)

    def suggest_component_names(self, X: Any) -> list[str]:
        """Guess a name for each component, from its tasks and columns.

        The names are guesses. Check each one with :meth:`describe`, then give those that you
        agree with to :meth:`set_component_names`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, images or texts to look at, as in :meth:`fit`. At least two.

        Returns
        -------
        list of str
            One name per component, of at most 32 characters. All names differ, also from
            those of tasks and columns. A name says what high values of the component mean,
            such as ``"low price"``. See
            :func:`skdisentangle.inspection.suggest_component_names`.

        Raises
        ------
        ValueError
            If X is not as described.
        """
        from .inspection import suggest_component_names  # which needs this module

        return suggest_component_names(self, X)

    def set_component_names(self, names: Any) -> Self:
        """Name the components yourself.

        The names appear in :meth:`get_feature_names_out`, and so in data frames from
        `transform`, in pipelines and in extracted files. They also appear in
        :meth:`describe`, in the displays and in files that `save` writes. A new fit removes
        them.

        Parameters
        ----------
        names : sequence of str, mapping of int to str, or None
            One name per component, or a mapping from some component numbers to names. The
            other components keep their names. All names must differ. None removes all names.

        Returns
        -------
        self : SparseSharedDisentangler
            With ``component_names_``, an ndarray of shape (n_components,), unless names are
            None.

        Raises
        ------
        ValueError
            If a sequence does not have one name per component, a number is not that of a
            component, or names are empty, repeated or not strings.
        """
        check_is_fitted(self)
        if names is None:
            self.__dict__.pop("component_names_", None)
            return self
        before = self.get_feature_names_out().tolist()
        self.component_names_ = component_names(names, before)
        return self

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return the names of the columns of `transform`.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Not used, present for API consistency.

        Returns
        -------
        ndarray of str objects, of shape (n_components,)
            The class name in lower case with a number, or the names set by
            :meth:`set_component_names`.
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
                        f"{name} must be a number in a fit on several processes. Choose "
                        "it first in one process, on some of the rows."
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
        if self._reads_with_embedder(reset=reset):  # reading X may take long
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
        # Of Arrow tables the columns are no names.
        names = [name for name in getattr(X, "columns", ()) if isinstance(name, str)]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(
                f"X must have different column names; several are {twice!r}."
            )
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
            if re.search(r"feature names|sample\(s\)", str(error)):
                raise
            check_cells(X)  # says more of a data frame
            if re.search(r"\bX\b", str(error)):
                raise
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(
                f"X must hold numbers, of shape (n_samples, n_features): {error}"
            ) from error
        return X if lazy else lazy_if_large(checked)

    def _to_train(self, *, reset: bool) -> FineTuned | None:
        """The encoder, if the fit must train its backbone."""
        tuned = self.encoder
        if not self._reads_with_embedder(reset=reset):
            return None
        return tuned if isinstance(tuned, FineTuned) and tuned.n_epochs else None

    def _reads_with_embedder(self, *, reset: bool) -> bool:
        """Whether an embedder reads X, according to ``encoder`` or to the fit."""
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
