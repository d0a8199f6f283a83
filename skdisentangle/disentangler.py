"""The estimator: validates, calls the pieces, holds what was fitted."""

from __future__ import annotations

import copy
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import wraps
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.utils import ClassifierTags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    check_is_fitted,
    validate_data,
)

from ._notebook import task_table
from ._random import check_rng, draw_seed
from ._sklearn import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    Method,
    TransformerMixin,
    available_if,
    fit_context,
)
from ._threads import thread_count, threads
from .distributed import ALONE, Ranks, check_no_group, joined
from .encoders.networks import build_body, check_can_join, image_shape, seeded
from .encoders.scalers import ComponentScaler, Encoder, InputScaler
from .files.persistence import FileMixin, OnnxMixin
from .fitting.all_rows import finish, score_state
from .fitting.callbacks import CallbackSupportMixin, EpochCallbacks
from .fitting.crossfit import out_of_fold
from .fitting.path import choose_on_held_back_rows
from .fitting.steps import EPS, Bilevel, TrainingOptions, TrainingState
from .fitting.training import History, train, train_pass
from .heads import SparseTaskHead
from .rows.array_api import follows_input
from .rows.batches import LabelRows, Rows
from .rows.blocks import LazyRows, lazy_if_large
from .rows.dask_blocks import in_memory, is_dask, transform_blocks
from .rows.inputs import (
    CompactLabels,
    EncodedLabels,
    InputMoments,
    encode_labels,
    forward,
    label_weights,
    standardised_rows,
    unscaled,
)
from .solvers.penalties import PENALTIES, output_weights, usage
from .tasks.blocks import task_scores, tasks_to_outputs
from .tasks.labels import Labels, pandas_index
from .tasks.task_set import TaskSet
from .tasks.types import TYPES
from .tasks.weights import learned_task_weights
from .validation import (
    layer_sizes,
    row_weights,
    row_weights_of_all,
    split_rows,
    torch_device,
)

__all__ = ["SparseSharedDisentangler"]

#: Rows up to which a fit takes all of them at each step, and rows a batch beyond that.
FULL_BATCH, BATCH_SIZE = 256, 128

#: Steps of ``max_iter="auto"``: with all rows at each step, and with batches; and the
#: least number of passes over the rows.
FULL_BATCH_STEPS, BATCH_STEPS, MIN_EPOCHS = 400, 3000, 10

#: Components that ``n_components="auto"`` begins with, at the most.
MAX_COMPONENTS = 64


#: From a method that ``fit`` or ``partial_fit`` calls, through its three wrappers, to the
#: user's line.
WARN_LEVEL = 6


def _has_classes(estimator: SparseSharedDisentangler) -> bool:
    """Whether ``predict_proba`` is there: some task must have classes."""
    task_set = getattr(estimator, "_task_set", None)
    if task_set is None or any(TYPES[t.type].has_classes for t in task_set.tasks):
        return True
    raise AttributeError("predict_proba is not available: no task has classes.")


def _has_strengths(estimator: SparseSharedDisentangler) -> bool:
    """Whether ``partial_fit`` is there: it holds no rows back to choose strengths on."""
    for name in ("sparsity", "sharing"):
        if getattr(estimator, name, "auto") == "auto":
            raise AttributeError(
                f"partial_fit cannot choose {name}, as it holds no rows back; give "
                f"SparseSharedDisentangler a number, such as the {name}_ of a fit."
            )
    return True


def _all_or_nothing(method: Method) -> Method:
    """Leave the estimator as it was if the method raises.

    What scikit-learn's callbacks keep on the estimator is theirs to clear.
    """

    @wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = dict(vars(self))
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            theirs = {
                name: value
                for name, value in vars(self).items()
                if name.startswith(("_callback", "_skl"))
            }
            vars(self).clear()
            vars(self).update(before, **theirs)
            raise

    return cast(Method, guarded)


def _in_own_threads(method: Method) -> Method:
    """Let torch use as many threads as ``n_jobs`` says, from the first line to the last.

    One more thread than that, and a fit in a forked process hangs: it waits for threads
    that only its parent has.
    """

    @wraps(method)
    def limited(self: Any, *args: Any, **kwargs: Any) -> Any:
        with threads(thread_count(self.n_jobs)):
            return method(self, *args, **kwargs)

    return cast(Method, limited)


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
        Number of components. Rather too many than too few: those that no task needs
        are switched off. ``"auto"`` begins with one for each output of the heads, at
        the most 64, and keeps those in use only, so that `transform` gives as many
        features as factors were found.
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
    penalty : {"reweighted", "l1"}, default="reweighted"
        ``"reweighted"`` is the minimax concave penalty, which does not shrink the large
        coefficients of a task; ``"l1"`` shrinks all, and loses correlated factors.
    solver : {"alternating", "bilevel"}, default="alternating"
        ``"alternating"`` solves both problems on the same rows. ``"bilevel"`` is the
        meta-learning of [1]_: at each step heads are fitted on some rows of the batch,
        the support, and the encoder follows their loss on the others, the query. It takes
        about 1.5 times as long and mostly finds the same factors; for binary tasks and for
        noisy labels, whose heads no longer fit the rows that they are judged on, it finds
        them more purely. As rows are split at random,
        a row of weight 2 is not quite two rows.
    outer_gradient : {"implicit", "first_order"}, default="implicit"
        With ``solver="bilevel"``: whether the gradient also goes through the fitted heads,
        by implicit differentiation on their nonzero coefficients, or takes the heads for
        constants, which is faster, and was no worse where we measured.
    support_fraction : float, default=0.5
        With ``solver="bilevel"``: share of the rows of a batch that heads are fitted on.
    tasks_per_step : int, default=None
        With ``solver="bilevel"``: number of tasks, drawn anew at each step, that the
        encoder follows; the heads of all tasks are fitted. None, and any number above
        that of the tasks, stand for all.
    encoder : {"mlp", "linear", "conv"}, torch.nn.Module or callable, default="mlp"
        ``"conv"`` takes rows for flattened images of ``input_shape``: convolutions of
        stride 2 down to 4 pixels (the first of stride 4 from 32 pixels on), normalised
        by image, then hidden layers. A module, copied
        with its weights, or a callable that returns one when called with
        ``n_features`` (and ``n_components``, if it has an argument of that name), maps
        (n, n_features) to (n, n_components).
    hidden_layer_sizes : sequence of int, default=(128, 128)
        Widths of the hidden layers of ``"mlp"``, and of those after the convolutions
        of ``"conv"``.
    input_shape : tuple (C, H, W), default=None
        Shape of a row, for ``encoder="conv"``. None stands for (1, 1, n_features).
    scale_inputs : bool, default=True
        Whether to standardise X (by column, or by channel where ``input_shape`` is
        given) on its way into the encoder. Leave it out for a module with
        preprocessing of its own.
    input_noise : float or "auto", default="auto"
        Standard deviation of Gaussian noise on the rows, as they go into the encoder while
        it is fitted (standardised, unless ``scale_inputs`` says otherwise); new in each
        epoch. It keeps an encoder from learning rows by heart. For a linear encoder it is a
        ridge penalty of its square, a row; so ``"auto"`` takes 1.5 times the noise that
        stands for the strength which generalized cross-validation chooses for a ridge
        regression of the labels on the columns: none (below 0.15) where rows are many for
        their columns and tell the labels well, at the most 0.5. With
        ``scale_inputs=False``, where columns may be of any scale, ``"auto"`` is none.
        ``partial_fit``, which does not know how many rows will come, takes ``"auto"`` for
        none unless a fit has chosen.
    task_types : str, sequence or mapping, default=None
        Type of all tasks, of each task, or of the tasks named: ``"regression"``,
        ``"binary"``, ``"multiclass"`` or None. None infers it: strings, booleans and
        categories are classes; numbers are classes if they are whole and take at most
        20 values.
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
        Whether to hold rows back, watch the score on them, end the fit when it does not
        improve and restore the best state.
    validation_fraction : float, default=0.1
        Share of the rows to hold back for ``early_stopping``, and while ``"auto"``
        strengths are chosen.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the last fit, with its encoder, tasks and input scales,
        whatever ``encoder`` and its options say by then.
    active_only : bool, default=False
        Whether ``transform`` gives the active components only. Otherwise it gives all
        of them, and those that no task uses are zero.
    cross_fit : int, default=None
        Number of folds, at least 2, if the features that ``fit_transform`` gives, and so
        those that the next step of a pipeline is trained on, are to be out of fold: each
        row's from an encoder that has not seen its labels, see :meth:`fit_transform`. For
        a next step whose target is among the tasks. Takes one more fit a fold. ``fit`` and
        ``transform`` are not touched by it.
    device : str or torch.device, default="auto"
        Where torch computes; ``"auto"`` takes a CUDA device if there is one.
    n_jobs : int, default=None
        Number of threads that torch uses on the CPU. None means 1: small networks gain
        nothing by more, results keep the same bits on every machine size, and threads
        of several fits at a time do not get into each other's way. -1 means all
        processors.
    random_state : int, RandomState instance or None, default=None
        Seeds the initialisation, the order of rows and the choice of the rows held
        back. The global random states of numpy and torch are not touched.
    verbose : bool, default=False
        Whether to print a line an epoch.

    Attributes
    ----------
    encoder_ : skdisentangle.encoders.scalers.Encoder
        The fitted torch module, from raw rows to components.
    coef_ : ndarray of shape (n_outputs, n_components)
        Heads, in the units of the labels; zeros are exact. Predictions are
        ``transform(X) @ coef_.T + intercept_``, which are logits for classes.
    intercept_ : ndarray of shape (n_outputs,)
    tasks_ : list of skdisentangle.tasks.Task
        Name, type, classes and outputs (rows of ``coef_``) of each task.
    classes_ : ndarray, or list of (ndarray or None)
        Classes of the task, in the order of ``predict_proba``; of several tasks a list,
        None for a regression task. Only where some task has classes.
    input_noise_ : float
        The noise of the fit.
    sparsity_, sharing_ : float
        The strengths of the fit.
    usage_ : ndarray of shape (n_components,)
        Share of the heads' magnitude on each component; sums to one.
    active_components_ : ndarray of int
        Components that some task uses. Components are ordered by usage.
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
    >>> dis.fit_transform(X, Y_tasks).shape
    (500, 4)
    >>> len(dis.active_components_)
    2
    """

    #: For :class:`skdisentangle.distributed.Ranks`.
    _fits_on_ranks: ClassVar = True

    __metadata_request__fit: ClassVar = {"Y_tasks": True, "sample_weight": True}
    __metadata_request__partial_fit: ClassVar = {
        "Y_tasks": True,
        "sample_weight": True,
        "classes": True,
    }
    __metadata_request__score: ClassVar = {"Y_tasks": True, "sample_weight": True}

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "sparsity": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "sharing": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "penalty": [StrOptions(set(PENALTIES))],
        "solver": [StrOptions({"alternating", "bilevel"})],
        "outer_gradient": [StrOptions({"implicit", "first_order"})],
        "support_fraction": [Interval(Real, 0, 1, closed="neither")],
        "tasks_per_step": [Interval(Integral, 1, None, closed="left"), None],
        "encoder": [
            StrOptions({"linear", "mlp", "conv"}),
            torch.nn.Module,
            callable,
        ],
        "hidden_layer_sizes": ["array-like"],
        "input_shape": ["array-like", None],
        "scale_inputs": ["boolean"],
        "input_noise": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
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
        "active_only": ["boolean"],
        "cross_fit": [Interval(Integral, 2, None, closed="left"), None],
        "device": [str, torch.device],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    input_noise_: float
    #: Whether an interrupt is raised, and no model kept: where fits are part of a whole.
    _ends_when_interrupted: bool = False
    _task_set: TaskSet
    _inputs: InputScaler
    _moments: InputMoments
    _n_rows: int
    _spread: NDArray[np.float64]
    _pull: NDArray[np.float64] | None

    def __init__(
        self,
        n_components: int | Literal["auto"] = 20,
        *,
        sparsity: float | Literal["auto"] = 0.03,
        sharing: float | Literal["auto"] = 0.1,
        penalty: Literal["reweighted", "l1"] = "reweighted",
        solver: Literal["alternating", "bilevel"] = "alternating",
        outer_gradient: Literal["implicit", "first_order"] = "implicit",
        support_fraction: float = 0.5,
        tasks_per_step: int | None = None,
        encoder: str | torch.nn.Module | Callable[..., torch.nn.Module] = "mlp",
        hidden_layer_sizes: Sequence[int] = (128, 128),
        input_shape: tuple[int, int, int] | None = None,
        scale_inputs: bool = True,
        input_noise: float | Literal["auto"] = "auto",
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
        active_only: bool = False,
        cross_fit: int | None = None,
        device: str | torch.device = "auto",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.n_components = n_components
        self.sparsity = sparsity
        self.sharing = sharing
        self.penalty = penalty
        self.solver = solver
        self.outer_gradient = outer_gradient
        self.support_fraction = support_fraction
        self.tasks_per_step = tasks_per_step
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
        self.active_only = active_only
        self.cross_fit = cross_fit
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        # Not a classifier, but predict_proba is there, with a column a class.
        tags.classifier_tags = ClassifierTags()
        tags.input_tags.sparse = self.encoder in ("linear", "mlp")
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
    @_all_or_nothing
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
            If tasks cannot be learned and are left out, or no component is active.
        """
        again = self.warm_start and hasattr(self, "encoder_")
        given = y if Y_tasks is None else Y_tasks
        ranks = joined()
        with ranks.together():
            X, labels, weight = self._read(
                X, y, Y_tasks, sample_weight, reset=not again
            )
            if ranks.size > 1:
                self._check_can_join()
                X = np.asarray(X) if isinstance(X, LazyRows) else X
        if ranks.size > 1:
            self._agree(X, labels, again, ranks)
            weight = row_weights_of_all(weight, sample_weight, X.shape[0], ranks)
        self.sparsity_, self.sharing_ = self._strengths(
            X, labels, weight, sample_weight, again
        )
        return self._fit(
            X, labels, weight, self.random_state, again=again, y=given, ranks=ranks
        )

    def _check_can_join(self) -> None:
        """Raise ValueError for what is not there in a fit on several processes."""
        for name in ("sparsity", "sharing"):
            if getattr(self, name, "auto") == "auto":
                raise ValueError(
                    f"{name} must be a number in a fit on several processes; choose it on "
                    "one, from some of the rows."
                )
        if self.solver != "alternating":
            raise ValueError(
                "solver must be 'alternating' in a fit on several processes; got "
                f"{self.solver!r}."
            )

    def _agree(self, X: Any, labels: Labels, again: bool, ranks: Ranks) -> None:
        """Raise ValueError unless all ranks have the same columns, tasks and settings."""
        plain = (str, int, float, tuple, list, type(None))
        ranks.agree(
            {
                "The number of columns of X": X.shape[1],
                "The names of columns of X": list(
                    getattr(self, "feature_names_in_", ())
                ),
                "The dtype of X": str(X.dtype),
                "The container of Y_tasks": labels.container,
                "The columns of Y_tasks": labels.names,
                "The dtypes of Y_tasks": labels.frame_dtypes(),
                "warm_start, and whether there is a fit to go on from,": again,
            }
            | {
                name: value
                for name, value in self.get_params(deep=False).items()
                if isinstance(value, plain)
                and name not in ("random_state", "device", "n_jobs", "verbose")
            }
        )

    def _strengths(
        self,
        X: Any,
        labels: Labels,
        weight: NDArray[np.float64] | None,
        sample_weight: ArrayLike | None,
        again: bool,
    ) -> tuple[float, float]:
        """Sparsity and sharing, as given or as chosen on rows held back."""
        given = {"sparsity": self.sparsity, "sharing": self.sharing}
        if again:
            # Chosen once: what goes on from a fit goes on at its strengths.
            for name, value in given.items():
                given[name] = getattr(self, f"{name}_") if value == "auto" else value
        if "auto" in given.values():
            seed = draw_seed(check_rng(self.random_state))
            return choose_on_held_back_rows(self, X, labels, weight, seed)
        return float(given["sparsity"]), float(given["sharing"])

    @_in_own_threads
    def _fit(
        self,
        X: Any,
        labels: Labels,
        weight: NDArray[np.float64] | None,
        random_state: int | np.random.RandomState | None,
        *,
        again: bool,
        start: float = 0.0,
        quiet: bool = False,
        y: Any = None,
        ranks: Ranks = ALONE,
    ) -> Self:
        """Fit on rows that have been read, at strengths that have been set.

        Parameters
        ----------
        X, labels, weight
            As :meth:`_read` gives them.
        random_state : int, RandomState instance or None
        again : bool
            Whether to go on from the last fit.
        start : float, default=0.0
            Share of the fit that is taken for done.
        quiet : bool, default=False
            Whether to leave out warnings and callbacks: this is one fit of many.
        y : array-like or data frame, default=None
            The labels as given, for callbacks.
        ranks : Ranks, optional
            Processes that have the other rows.
        """
        rng = check_rng(random_state)
        seeds = ranks.first(lambda: rng.randint(2**31 - 1, size=4))
        body_seed, order_seed, noise_seed, split_seed = seeds
        level = 0 if quiet else WARN_LEVEL + 4
        self._setup(
            X, labels, weight, again, int(body_seed), stacklevel=level, ranks=ranks
        )
        encoded = self._encode(labels, weight, ranks)

        held_back: NDArray[np.intp] | None = None
        rows_in: NDArray[np.intp] | slice = slice(None)
        shard = ranks.shard(X.shape[0])
        n_rows = X.shape[0] if shard is None else shard.n_rows
        if self.early_stopping:
            rows_in, held_back = split_rows(
                n_rows, self.validation_fraction, int(split_seed)
            )
            n_rows = len(rows_in)
            if shard is not None:
                rows_in, held_back = shard.here(rows_in), shard.here(held_back)
        batch_size, max_iter = self._budget(n_rows)
        dtype = self._precision(X, all_rows=batch_size >= n_rows)
        like = torch.empty(0, dtype=dtype, device=torch_device(self.device))

        self._spread = encoded.spread(self._task_set, ranks)
        noise: float | None = None  # to be chosen, once, like the strengths
        if self.input_noise != "auto":
            noise = float(self.input_noise)
        elif again:
            noise = self.input_noise_
        elif not self.scale_inputs:
            noise = 0.0  # columns may be of any scale, or numbers of words
        options = self._options(like, noise, ranks)
        state = TrainingState.start(*self._begin(like, again), options)
        if ranks.size > 1:
            check_can_join(state.body)
        state.copy_first(ranks)
        train_rows = standardised_rows(X, self._inputs, like, rows_in)
        train_labels = encoded.tensors(rows_in, like)
        validate = None
        if held_back is not None:
            kept_rows = standardised_rows(X, self._inputs, like, held_back)
            kept_labels = encoded.tensors(held_back, like)

            def validate(state: TrainingState) -> float:
                score = score_state(state, kept_rows, kept_labels, options)
                if math.isnan(score):
                    raise ValueError(
                        f"validation_fraction={self.validation_fraction} holds back rows "
                        "without a label of a task that can be learned; raise it, or set "
                        "early_stopping=False."
                    )
                return score

        callbacks = EpochCallbacks(None if quiet else self, max_iter, X, y)

        def stopped_here() -> dict[str, Any]:
            fitted = copy.copy(self)
            fitted._finish(copy.deepcopy(state), train_rows, train_labels, options)
            return {k: v for k, v in vars(fitted).items() if k.endswith("_")}

        def on_epoch(epoch: int, loss: float, score: float | None) -> bool:
            if self.verbose and ranks.rank == 0:
                shown = "" if score is None else f"  validation score {score:.4f}"
                active = int((state.theta[:, :-1] != 0).any(0).sum())
                print(
                    f"Epoch {epoch}/{max_iter}  loss {loss:.4f}{shown}  "
                    f"active components {active}",
                    flush=True,
                )
            return ranks.any(callbacks.epoch(stopped_here))

        own_noise = isinstance(self.encoder, str)
        with nullcontext() if own_noise else seeded(int(noise_seed) + ranks.rank):
            history = train(
                state,
                train_rows,
                train_labels,
                options,
                batch_size=batch_size,
                max_iter=max_iter,
                tol=self.tol,
                n_iter_no_change=self.n_iter_no_change,
                generator=torch.Generator().manual_seed(int(order_seed)),
                start=start,
                validate=validate,
                on_epoch=on_epoch,
            )
            if (quiet or self._ends_when_interrupted) and history.interrupted:
                raise KeyboardInterrupt  # an end of the whole, not of one fit of many
            self._finish(state, train_rows, train_labels, options)
        self.input_noise_ = float(state.input_noise)
        self.n_iter_ = len(history.losses)
        self.loss_curve_ = history.losses
        self.validation_scores_ = history.scores if self.early_stopping else None
        if not quiet:
            self._warn(history, max_iter)
        callbacks.end()
        return self

    @_all_or_nothing
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
        ndarray of shape (n_samples, n_components)
            As from :meth:`transform`.

        Raises
        ------
        ValueError
            As in :meth:`fit`; also if there are fewer rows than folds, or a fold leaves
            no task that can be learned. The estimator is then what it was before.

        Warns
        -----
        ConvergenceWarning, UserWarning
            As in :meth:`fit`, also of the encoders of the folds.
        """
        unfitted = clone(self)
        self.fit(X, y, Y_tasks=Y_tasks, sample_weight=sample_weight)
        if self.cross_fit is None:
            features: NDArray[np.floating] = self.transform(X)
            return features
        X = self._validate_rows(X, reset=False)
        codes = out_of_fold(
            unfitted,
            self,
            X,
            y if Y_tasks is None else Y_tasks,
            row_weights(sample_weight, X),
        )
        return codes[:, self.active_components_] if self.active_only else codes

    @available_if(_has_strengths)
    @fit_context
    @_all_or_nothing
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
            free of penalties, so that no coefficient is zero until then. The components
            are chosen in the first call after that with at least 10 rows a component.

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
        self.sparsity_, self.sharing_ = float(self.sparsity), float(self.sharing)
        first = not hasattr(self, "encoder_")
        X, labels, weight = self._read(X, y, Y_tasks, sample_weight, reset=first)
        if X.shape[0] < 2:
            raise ValueError(
                f"partial_fit needs at least 2 rows of weight above zero; got {X.shape[0]}. "
                "Of a single one nothing can be told; give some thousand at a time."
            )
        rng = check_rng(self.random_state)
        body_seed, order_seed, noise_seed = rng.randint(2**31 - 1, size=3)
        if first:
            self._setup(X, labels, weight, False, int(body_seed), classes)
        encoded = self._encode(labels, weight)
        if first:
            self._spread = encoded.spread(self._task_set)
        else:
            self._moments = copy.copy(self._moments)
            self._moments.update(X, np.ones(X.shape[0]) if weight is None else weight)
            self._n_rows += X.shape[0]
            self._inputs = self._input_scaler()
        like = torch.empty(0, dtype=torch.float32, device=torch_device(self.device))
        if first or self.input_noise != "auto":
            # On a stream it is not known how few the rows will be.
            auto = self.input_noise == "auto"
            self.input_noise_ = 0.0 if auto else float(self.input_noise)
        options = self._options(like, self.input_noise_)
        # A copy, so that a pass that is cut short leaves nothing half done.
        state = copy.deepcopy(getattr(self, "_partial_state", None))
        if state is None:
            state = TrainingState.start(*self._begin(like, not first), options)
            self.loss_curve_, self.n_iter_ = [], 0
            self.validation_scores_ = None
        batch_size, _ = self._budget(X.shape[0])
        with (
            threads(thread_count(self.n_jobs)),
            nullcontext() if isinstance(self.encoder, str) else seeded(int(noise_seed)),
        ):
            loss = train_pass(
                state,
                standardised_rows(X, self._inputs, like),
                encoded.tensors(slice(None), like),
                options,
                batch_size=batch_size,
                generator=torch.Generator().manual_seed(
                    (int(order_seed) + state.n_steps) % 2**31
                ),
            )
            self._hold(copy.deepcopy(state))
        self._partial_state = state
        self.n_iter_ += 1
        self.loss_curve_ = [*self.loss_curve_, loss]
        return self

    # -- using -----------------------------------------------------------------------

    @follows_input
    def transform(self, X: Any) -> Any:
        """Components of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Or a Dask array or data frame, which is transformed lazily, block by block.
            May be larger than memory, as in :meth:`fit`; it is read in pieces.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            Standardised over the training rows; float32 for float32 rows, else float64.
            With ``active_only``, of shape ``(n_samples, len(active_components_))``. A
            Dask array for a Dask array, in its chunks, and a Dask data frame for a Dask
            data frame, with its index. With scikit-learn's array API dispatch, an array
            of the library and on the device of X.

        Raises
        ------
        ValueError
            If X is not as described, or so far from the rows of the fit that a component
            is not finite.
        """
        if is_dask(X):
            check_is_fitted(self)
            return transform_blocks(self, X)
        codes = self._codes(X)
        return codes[:, self.active_components_] if self.active_only else codes

    @follows_input
    def predict(self, X: Any) -> Any:
        """Predict the labels of all tasks.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray or data frame of shape (n_samples,) or (n_samples, n_tasks)
            Of the kind of the labels in ``fit``; a data frame or series of pandas with the
            index of X, if that is a data frame of pandas. A task that was left out is
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
        return self._one_or_all(out)

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
        """Mean over tasks of R2 or accuracy; missing labels are left out.

        Parameters
        ----------
        X, y, Y_tasks, sample_weight
            As in :meth:`fit`.

        Returns
        -------
        float

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
        return float(np.nanmean(scores))

    @follows_input
    def score_tasks(
        self,
        X: Any,
        y: Any = None,
        *,
        Y_tasks: Any = None,
        sample_weight: ArrayLike | None = None,
    ) -> NDArray[np.float64]:
        """R2 or accuracy of each task.

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
        return self._score_tasks(*self._read(X, y, Y_tasks, sample_weight, reset=False))

    @_in_own_threads
    def _score_tasks(
        self, X: Any, labels: Labels, weight: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        task_set = self._task_set
        targets, labelled = task_set.encode(labels, unseen_ok=True)
        weights = label_weights(labelled, weight, targets, None)
        raw = self._raw_scores(X)
        scores = task_scores(
            torch.from_numpy(raw),
            torch.from_numpy(targets).to(torch.from_numpy(raw)),
            None if weights is None else torch.from_numpy(weights),
            task_set.blocks,
        )
        out = np.full(len(task_set.tasks), np.nan)
        out[task_set.learned] = scores.numpy()
        return out

    def _raw_scores(self, X: Any) -> NDArray[np.floating]:
        """Scores of standardised targets, in the order of the solvers."""
        codes = self._forward(X)
        coef, intercept = self._standardised_heads()
        scores: NDArray[np.floating] = codes @ coef.T.astype(codes.dtype)
        return scores + intercept.astype(codes.dtype)

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
            Better not rows of the fit, whose features know their labels.
        y : array-like or series of shape (n_samples,)
            Labels of the task. A row with NaN, None or NA is left out.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows.
        task_type : {"regression", "binary", "multiclass"}, default=None
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

    @property
    def _n_features_out(self) -> int:
        if self.active_only:
            return int(self.active_components_.shape[0])
        return int(self.usage_.shape[0])

    # -- the steps of a fit ----------------------------------------------------------

    def _read(
        self, X: Any, y: Any, Y_tasks: Any, sample_weight: Any, *, reset: bool
    ) -> tuple[Any, Labels, NDArray[np.float64] | None]:
        """Validated rows, labels and weights; rows of weight zero are dropped."""
        y = y if Y_tasks is None else Y_tasks
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the "
                "target y is None. Give the task labels as y or as Y_tasks."
            )
        X = self._validate_rows(X, reset=reset, ensure_min_samples=2 if reset else 1)
        labels = Labels.read(in_memory(y))
        if labels.n_rows != X.shape[0]:
            raise ValueError(
                f"Y_tasks must have a row for each of the {X.shape[0]} rows of X; got "
                f"{labels.n_rows}."
            )
        weight = row_weights(sample_weight, X)
        if weight is None:
            return X, labels, None
        kept = np.flatnonzero(weight)
        if reset and len(kept) < 2:
            raise ValueError(
                "sample_weight must leave at least 2 rows of weight above zero; got "
                f"{len(kept)}."
            )
        if len(kept) < len(weight):
            X, labels, weight = X[kept], labels.take(kept), weight[kept]
        return X, labels, weight

    def _validate_rows(self, X: Any, **options: Any) -> Any:
        """Array or CSR matrix of checked rows; LazyRows of a large array."""
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

    def _setup(
        self,
        X: Any,
        labels: Labels,
        weight: NDArray[np.float64] | None,
        again: bool,
        seed: int,
        classes: Any = None,
        stacklevel: int = WARN_LEVEL + 2,
        ranks: Ranks = ALONE,
    ) -> None:
        """Tasks, input scales and body, new or those of the last fit."""
        self.__dict__.pop("_partial_state", None)
        if again:
            self._task_set.check(labels)
            return
        ones = np.ones(X.shape[0]) if weight is None else weight
        if classes is not None:
            classes = labels.check_classes(classes)
        self._task_set = TaskSet.build(
            labels,
            task_types=self.task_types,
            sample_weight=ones,
            classes=classes,
            stacklevel=stacklevel,
            ranks=ranks,
        )
        self._moments = InputMoments(X.shape[1])
        self._moments.update(X, ones, ranks)
        self._n_rows = ranks.count(X.shape[0])
        self._body = build_body(
            self.encoder,
            n_features=X.shape[1],
            n_components=self._width(),
            hidden_layer_sizes=layer_sizes(self.hidden_layer_sizes),
            input_shape=image_shape(self.input_shape, X.shape[1]),
            seed=seed,
        )
        self._inputs = self._input_scaler()
        self.tasks_ = self._task_set.tasks

    def _width(self) -> int:
        """Outputs of the body."""
        if self.n_components == "auto":
            return min(self._task_set.n_outputs, MAX_COMPONENTS)
        return int(self.n_components)

    def _input_scaler(self) -> InputScaler:
        n_features = len(self._moments.mean)
        if not self.scale_inputs:
            return unscaled(n_features)
        shape = image_shape(self.input_shape, n_features)
        return self._moments.scaler(self._n_rows, shape)

    def _encode(
        self,
        labels: Labels,
        weight: NDArray[np.float64] | None,
        ranks: Ranks = ALONE,
    ) -> EncodedLabels | CompactLabels:
        return encode_labels(
            self._task_set, labels, weight, self.class_weight == "balanced", ranks
        )

    @staticmethod
    def _precision(X: Any, *, all_rows: bool) -> torch.dtype:
        """Precision of the fit: with all rows in each step, that of X.

        Double precision then costs next to nothing, and makes the fit indifferent to the
        order of the rows.
        """
        return torch.float64 if X.dtype == np.float64 and all_rows else torch.float32

    def _budget(self, n_rows: int) -> tuple[int, int]:
        """Rows a batch, and epochs."""
        if self.batch_size == "auto":
            batch_size = n_rows if n_rows <= FULL_BATCH else BATCH_SIZE
        else:
            batch_size = min(int(self.batch_size), n_rows)
        if self.max_iter != "auto":
            return batch_size, int(self.max_iter)
        n_batches = math.ceil(n_rows / batch_size)
        n_steps = FULL_BATCH_STEPS if n_batches == 1 else BATCH_STEPS
        return batch_size, max(MIN_EPOCHS, math.ceil(n_steps / n_batches))

    def _options(
        self, like: torch.Tensor, noise: float | None, ranks: Ranks = ALONE
    ) -> TrainingOptions:
        """Constants of a fit; ``noise`` on the inputs, None if it is to be chosen."""
        blocks = self._task_set.blocks
        task_weights = torch.from_numpy(
            learned_task_weights(self.task_weight, self._task_set)
        ).to(like)
        return TrainingOptions(
            blocks=blocks,
            sparsity=self.sparsity_,
            sharing=self.sharing_,
            reweighted=self.penalty == "reweighted",
            learning_rate=float(self.learning_rate_init),
            spread=torch.from_numpy(self._spread).to(like),
            task_weights=tasks_to_outputs(task_weights / len(task_weights), blocks),
            bilevel=self._bilevel(),
            input_noise=noise,
            ranks=ranks,
            # Modules of the user's may do another thing each time.
            recorded=isinstance(self.encoder, str)
            and self.tasks_per_step is None
            and ranks.size == 1,
        )

    def _bilevel(self) -> Bilevel | None:
        if self.solver == "alternating":
            return None
        return Bilevel(
            support_fraction=float(self.support_fraction),
            tasks_per_step=self.tasks_per_step,
            implicit=self.outer_gradient == "implicit",
        )

    def _begin(
        self, like: torch.Tensor, again: bool
    ) -> tuple[torch.nn.Module, torch.Tensor]:
        """Body and heads to begin with: new ones, or copies of those fitted."""
        n_outputs = self._task_set.n_outputs
        if not again:
            body: torch.nn.Module = self.__dict__.pop("_body")
            theta = like.new_zeros(n_outputs, self._width() + 1)
            return body.to(like.device, like.dtype), theta
        coef, intercept = self._standardised_heads()
        if self.n_components not in ("auto", coef.shape[1]):
            raise ValueError(
                f"n_components={self.n_components} cannot go on from a fit of "
                f"{coef.shape[1]} components; set warm_start=False."
            )
        components = self.encoder_.components
        theta = like.new_zeros(n_outputs, len(components.mean) + 1)
        in_order = torch.from_numpy(coef).to(like) * components.sign.to(like)
        theta[:, components.order] = in_order
        theta[:, -1] = torch.from_numpy(intercept).to(like)
        return copy.deepcopy(self.encoder_.body).to(like.device, like.dtype), theta

    def _standardised_heads(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Heads for standardised targets, in the order of the solvers."""
        mean, scale = self._task_set.output_units()
        order = np.argsort(self._task_set.output_order)
        coef = (self.coef_ / scale[:, np.newaxis])[order]
        return coef, ((self.intercept_ - mean) / scale)[order]

    def _finish(
        self,
        state: TrainingState,
        rows: Rows,
        labels: LabelRows,
        options: TrainingOptions,
    ) -> None:
        """Exact statistics and heads over the training rows; then hold them."""
        finish(state, rows, labels, options)
        self._hold(state)

    def _hold(self, state: TrainingState) -> None:
        """Order, sign and switch components, and set the fitted attributes."""
        task_set = self._task_set
        coef = state.theta[:, :-1].double().cpu()
        use = usage(coef, output_weights(task_set.blocks, coef))
        order = torch.argsort(use, descending=True, stable=True)
        coef, use = coef[:, order], use[order]
        largest = coef.abs().argmax(0, keepdim=True)
        sign = coef.gather(0, largest).squeeze(0).sign()

        if self.sparsity_ == 0 and self.sharing_ == 0:
            sign = torch.where(sign == 0, 1.0, sign)
        if self.n_components == "auto":
            kept = sign != 0
            coef, use, order, sign = coef[:, kept], use[kept], order[kept], sign[kept]

        components = ComponentScaler(len(state.mean))
        components.mean = state.mean.double().cpu()
        components.scale = (state.var.double().cpu() + EPS).rsqrt()
        components.order = order
        components.sign = sign
        body = state.body.cpu().double()
        self.encoder_ = Encoder(self._inputs, body, components).eval()
        mean, scale = task_set.output_units()
        intercept = state.theta[:, -1].double().cpu().numpy()
        rows = task_set.output_order
        self.coef_ = (coef * sign).numpy()[rows] * scale[:, np.newaxis] + 0.0
        self.intercept_ = intercept[rows] * scale + mean
        self._pull = None
        if state.pull is not None:
            pull = state.pull.double().cpu()[:, order].numpy()
            self._pull = pull[rows] * scale[:, np.newaxis]
        self.usage_ = use.numpy()
        self.active_components_ = np.flatnonzero(sign.numpy())

    def _warn(self, history: History, max_iter: int) -> None:
        if history.interrupted:
            warnings.warn(
                f"The fit was interrupted in epoch {len(history.losses) + 1}; the model "
                "is what had been learned so far.",
                UserWarning,
                stacklevel=WARN_LEVEL + 2,
            )
        elif not history.converged:
            warnings.warn(
                f"The fit was still improving after max_iter={max_iter} epochs; give "
                "max_iter a larger number.",
                ConvergenceWarning,
                stacklevel=WARN_LEVEL + 2,
            )
        if len(self.active_components_) == 0:
            warnings.warn(
                "No component is active: no task gains from one at these strengths. "
                "Lower sparsity or sharing, if the tasks can be learned from X at all.",
                UserWarning,
                stacklevel=WARN_LEVEL + 2,
            )

    def _codes(self, X: Any) -> NDArray[np.floating]:
        check_is_fitted(self)
        return self._forward(self._validate_rows(X, reset=False))

    @_in_own_threads
    def _forward(self, X: Any) -> NDArray[np.floating]:
        return forward(self.encoder_, X, torch_device(self.device))

    def _scores(self, X: Any) -> NDArray[np.floating]:
        scores: NDArray[np.floating] = self._codes(X) @ self.coef_.T + self.intercept_
        return scores
