"""Save fitted estimators to files that run no code when they are loaded.

This module lists, name by name, what a file may hold. Bytes, values and arrays are in
:mod:`skdisentangle.files.file_format`, tasks in :mod:`skdisentangle.files.task_files`.

The estimator is an argument here, so this module does not import its class. The file of a
head for a new task contains its disentangler.
"""

from __future__ import annotations

import copy
import errno
import math
import os
import stat
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from .._replacing import replacing
from .._threads import threads
from .._version import __version__
from .._warnings import warn
from ..backbones._finetuned import (
    FineTuned,
    architecture,
    embedder_of,
    with_model,
)
from ..encoders.networks import build_body
from ..encoders.scalers import ComponentScaler, Encoder, InputScaler
from ..fitting.fit import training_options
from ..fitting.problem import Fitted, Settings, encoder_of_columns
from ..fitting.steps import TrainingState
from ..rows.array_api import in_numpy
from ..rows.inputs import InputMoments
from ..tasks.types import TYPES
from ..validation import layer_sizes, torch_device
from .file_format import (
    ABOVE_ZERO,
    FORMAT,
    Content,
    as_numpy,
    is_int,
    is_list_of,
    narrowed,
    pack,
    plain,
    restored,
    unpack,
)
from .onnx_export import export_onnx
from .task_files import plain_tasks, restored_tasks

__all__ = [
    "FileMixin",
    "OnnxMixin",
    "load_estimator",
    "save_estimator",
]

#: Parameters that are not in a file as such: an encoder may be code, and where and with how
#: many threads to compute is a matter of the machine.
NOT_KEPT = ("encoder", "device", "n_threads")

#: Ends of the names of pickles, which run code when they are loaded.
PICKLES = (".joblib", ".pkl", ".pickle")

#: Parameters of version 0.1.0 that are gone: a file that has them is read without.
GONE = (
    "penalty",
    "outer_gradient",
    "support_fraction",
    "tasks_per_step",
    "active_only",
)

#: What of a state that fitting goes on from is not in a file: the encoder has it, or each
#: pass sets it.
NOT_OF_STATE = (
    "body",
    "optimizer",
    "inner_steps",
    "columns",
    "signs",
    "thresholds",
)

#: What of it counts, or is a variance.
NOT_NEGATIVE = ("var", "variance", "n_labels")

#: Fitted attributes that are plain values. Those that an estimator lacks are left out.
ATTRIBUTES = (
    "sparsity_",
    "sharing_",
    "input_noise_",
    "nonlinear_noise_",
    "_unexplained",
    "input_shape_",
    "n_iter_",
    "loss_curve_",
    "validation_scores_",
    "_stages",
    "cv_results_",
    "best_index_",
    "n_splits_",
)


class FileMixin:
    """``save`` and ``load`` of a disentangler, or of a head for a new task."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the fitted estimator to a file that contains no code.

        The file holds parameters and fitted attributes, but no training data. The file of a
        :class:`~skdisentangle.heads.SparseTaskHead` also holds its disentangler. The file
        does not hold ``device`` and ``n_threads``, which depend on the machine, callbacks,
        metadata requests, or the code of an encoder of your own. It is read back as a check
        before it gets its name, so you never find an incomplete file. Needs
        ``pip install 'skdisentangle[files]'``.

        Parameters
        ----------
        path : str or path-like
            File to write, such as ``"model.safetensors"``. An existing file is replaced.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If you changed parameters after the fit so that they no longer describe the
            encoder, or if something cannot be saved. Also if the name is that of a pickle:
            it ends in ``.pkl``, ``.pickle`` or ``.joblib``.
        OSError
            If the file cannot be written.
        ImportError
            If safetensors is not installed.

        Warns
        -----
        UserWarning
            If parameters that are objects, such as a splitter or a RandomState, are
            left out.

        See Also
        --------
        load : Load the estimator from the file.

        Examples
        --------
        >>> import numpy as np, tempfile
        >>> from pathlib import Path
        >>> from skdisentangle import SparseSharedDisentangler
        >>> X = np.random.default_rng(0).normal(size=(200, 5))
        >>> dis = SparseSharedDisentangler(3, random_state=0).fit(X, X[:, :2])
        >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> dis.save(path)
        >>> again = SparseSharedDisentangler.load(path)
        >>> bool((again.transform(X) == dis.transform(X)).all())
        True
        """
        save_estimator(self, path)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        encoder: nn.Module | Any = None,
        device: str | torch.device = "auto",
    ) -> Self:
        """Load a fitted estimator from a file that :meth:`save` has written.

        Loading runs no code from the file, whoever wrote it. The loaded estimator works like
        the saved one: it gives the same features and predictions, fits heads for new tasks,
        and continues to fit with ``partial_fit`` or ``warm_start``.

        Parameters
        ----------
        path : str or path-like
            File to read.
        encoder : FineTuned, torch.nn.Module or callable, default=None
            Only for an encoder that is not built in: what you gave to the constructor. That
            is a :class:`~skdisentangle.backbones.FineTuned` of the same backbone, a module
            of the same architecture, or the callable that makes one. A copy of it gets the
            weights of the file.
        device : str or torch.device, default="auto"
            The parameter ``device`` of the loaded disentangler.

        Returns
        -------
        estimator
            The estimator, of the class that was saved. This must be the class that you call
            ``load`` on, or derived from it.

        Raises
        ------
        ValueError
            If the file is something else, damaged, or written by a later version that
            this one cannot read. Also if ``encoder`` is missing, not needed, or has a
            different architecture.
        OSError
            If the file cannot be read.
        ImportError
            If safetensors, or the library of the data frame that labels came in, is not
            installed.
        """
        estimator: Self = load_estimator(cls, path, encoder, device)
        return estimator


class OnnxMixin:
    """``to_onnx`` of a disentangler."""

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write encoder and heads as an ONNX graph, for runtimes without Python or torch.

        The graph takes ``X``, float32 of shape (n_samples, n_features), with any number of
        rows. It returns two arrays:

        - ``features``, as :meth:`transform` returns them for float32 rows;
        - ``scores`` of shape (n_samples, n_outputs), ``features @ coef_.T + intercept_``.

        The scores are predictions for regression tasks, and logits for tasks with classes (a
        binary logit above zero means the second class). For count tasks they are logarithms
        of the expected number, up to the ``linear_from`` of the task. Beyond it, the number
        grows linearly. For ordinal tasks, compare them with ``thresholds``.

        The metadata holds a JSON document under ``"skdisentangle"``. It has the names of the
        features, and for each task its name, type, classes, columns of the scores and the
        numbers named above. Needs ``pip install 'skdisentangle[onnx]'``.

        Parameters
        ----------
        path : str or path-like
            File to write, such as ``"model.onnx"``. You never find an incomplete file.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If an encoder of your own uses operations that ONNX lacks, or does not take any
            number of rows.
        OSError
            If the file cannot be written.
        ImportError
            If onnx or onnxscript is not installed.
        """
        with threads():
            export_onnx(in_numpy(self), _writable_path(path))


def save_estimator(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator; see :meth:`FileMixin.save`."""
    check_is_fitted(estimator)
    estimator, path = in_numpy(estimator), _writable_path(path)
    if path.suffix.lower() in PICKLES:
        raise ValueError(
            f"path: {path.name!r} is the name of a pickle, and this file is none. Name it "
            f"such as {path.with_suffix('.safetensors').name!r}, or write a pickle by "
            "joblib.dump."
        )
    try:
        document, arrays, left_out = _encode(estimator)
        data = pack(document, arrays)
        fitted = estimator.disentangler_ if _is_head(type(estimator)) else estimator
        own = fitted.encoder_.body if _is_custom(fitted) else None
        if isinstance(fitted.encoder, FineTuned):
            own = fitted.encoder
        with threads():
            _decode(type(estimator), *unpack(data), own, torch.device("cpu"))
    except ValueError as error:
        raise ValueError(
            f"This {type(estimator).__name__} cannot be saved: {error}"
        ) from error
    with replacing(path) as file:
        file.write(data)
    if left_out:
        warnings.warn(
            f"Parameters not saved in {str(path)!r}, which will have their defaults: "
            + ", ".join(left_out)
            + ". Only numbers, strings, and lists, tuples, mappings and arrays of them "
            "can be saved.",
            UserWarning,
            stacklevel=3,
        )


def load_estimator(
    kind: type,
    path: str | os.PathLike[str],
    encoder: Any = None,
    device: str | torch.device = "auto",
) -> Any:
    """Read a fitted estimator of a class, or of one derived from it; see :meth:`FileMixin.load`."""
    where = torch_device(device)
    path = _checked_path(path)
    # Looked at before it is opened: to open a pipe would wait for somebody to write.
    if not stat.S_ISREG(os.stat(path).st_mode):
        what = "a folder" if path.is_dir() else "no regular file"
        raise OSError(
            errno.EINVAL, f"A file of save() is expected, this is {what}", str(path)
        )
    data = path.read_bytes()
    try:
        with threads():
            estimator = _decode(kind, *unpack(data), encoder, where)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} cannot be loaded: {error}") from error
    for each in (
        (estimator.disentangler, estimator.disentangler_)
        if _is_head(type(estimator))
        else (estimator,)
    ):
        each.device = device
    return estimator


def _checked_path(path: Any) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(
            f"path must be a str or path-like, the name of a file; got {path!r:.100}."
        )
    return Path(path)


def _writable_path(path: Any) -> Path:
    checked = _checked_path(path)
    if not checked.parent.is_dir():
        raise FileNotFoundError(
            errno.ENOENT, "The folder to write to does not exist", str(checked.parent)
        )
    return checked


# -- the estimator, as plain values and arrays, and back -------------------------------


def _is_custom(estimator: Any) -> bool:
    """Whether the body is made by code of the user's."""
    return not isinstance(encoder_of_columns(estimator.encoder), str)


def _is_head(kind: Any) -> bool:
    """Whether a class is that of heads, which have a disentangler inside."""
    return "disentangler" in kind._get_param_names()


def _encode(
    estimator: Any,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]], list[str]]:
    """Document, arrays, and the parameters that are left out."""
    if _is_head(type(estimator)):
        return _encode_head(estimator)
    parameters, left_out = {}, []
    for name, value in estimator.get_params(deep=False).items():
        if name in NOT_KEPT:
            continue
        try:
            parameters[name] = plain(value)
        except TypeError:
            left_out.append(f"{name}={value!r:.100}")
    encoder, components = estimator.encoder_, estimator.encoder_.components
    moments = estimator._moments
    arrays = {
        "coef": estimator.coef_,
        "intercept": estimator.intercept_,
        "usage": estimator.usage_,
        "spread": estimator._spread,
        "inputs.mean": encoder.inputs.mean,
        "inputs.scale": encoder.inputs.scale,
        "moments.mean": moments.mean,
        "moments.var": moments.var,
        "components.mean": components.mean,
        "components.scale": components.scale,
        "components.order": components.order,
        "components.sign": components.sign,
    }
    if estimator._pull is not None:
        arrays["pull"] = estimator._pull
    arrays |= _state_of("body", encoder.body)
    backbone = _own_backbone(estimator)
    if backbone is not None:
        arrays |= _state_of("backbone", backbone)
    kept = {name: narrowed(as_numpy(array)) for name, array in arrays.items()}
    document = {
        "format": FORMAT,
        "version": __version__,
        "estimator": type(estimator).__name__,
        "parameters": parameters,
        "encoder": _encoder_name(estimator.encoder),
        "attributes": {
            name: plain(getattr(estimator, name))
            for name in ATTRIBUTES
            if hasattr(estimator, name)
        },
        "feature_names": plain(getattr(estimator, "feature_names_in_", None)),
        "component_names": plain(getattr(estimator, "component_names_", None)),
        "n_rows": int(estimator._n_rows),
        "weight": float(moments.weight),
        "tasks": plain_tasks(estimator._task_set),
        "output": getattr(estimator, "_sklearn_output_config", {}).get("transform"),
        "partial": None,
    }
    state = getattr(estimator, "_partial_state", None)
    if state is not None:
        document["partial"], more = _plain_state(state)
        kept.update(more)
    return document, kept, left_out


def _state_of(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    """Tensors of a module by name, such as a file can hold."""
    found = {}
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            raise ValueError(
                f"its encoder has state that is not a tensor, {name!r}, a "
                f"{type(value).__name__}."
            )
        if value.dtype == torch.bfloat16:
            raise ValueError(
                f"its encoder has {name!r} in bfloat16, which numpy does not support; give "
                "a module in float32."
            )
        found[f"{prefix}.{name}"] = value
    return found


def _own_backbone(estimator: Any) -> nn.Module | None:
    """The backbone, if it is one that no name stands for, as it has been trained."""
    embedder = getattr(estimator, "embedder_", None)
    found = None if embedder is None else getattr(embedder, embedder._model_name)
    return found if isinstance(found, nn.Module) else None


def _restored_embedder(estimator: Any, found: Content) -> Any:
    """The embedder that the encoder describes, with the backbone of the file."""
    embedder = embedder_of(estimator.encoder)
    weights = {
        name.removeprefix("backbone."): torch.from_numpy(np.array(array))
        for name, array in found.arrays.items()
        if name.startswith("backbone.")
    }
    if not weights:
        return embedder
    module = architecture(embedder)
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"its backbone differs from that of encoder={estimator.encoder!r:.200}: "
            f"{error!s:.500}"
        ) from error
    return with_model(embedder, module)


def _encoder_name(encoder: Any) -> str | dict[str, str]:
    """Kind of a built-in encoder, or a name that only tells the user which to bring."""
    if isinstance(encoder, str):
        return str(encoder)
    if isinstance(encoder, FineTuned):
        return {"custom": FineTuned.__name__}  # wherever it is defined
    named = encoder if hasattr(encoder, "__qualname__") else type(encoder)
    return {"custom": f"{named.__module__}.{named.__qualname__}"}


def _decode(
    kind: type,
    document: dict[str, Any],
    arrays: dict[str, NDArray[Any]],
    encoder: Any,
    device: torch.device,
) -> Any:
    """The estimator; raises ValueError for whatever is not as it should be."""
    found = Content(document, arrays)
    kind = _class_of(kind, found.get("estimator", str))
    if _is_head(kind):
        return _decode_head(kind, found, encoder, device)
    known = kind._get_param_names()  # type: ignore[attr-defined]
    parameters, gone = {}, []
    for name, value in found.get("parameters", dict).items():
        if name in GONE:
            gone.append(f"{name}={restored(value)!r:.50}")
            continue
        if name not in known or name in NOT_KEPT:
            raise ValueError(
                f"it has a parameter {name!r:.50}, which skdisentangle {__version__} does "
                f"not have; it was written by {document.get('version')!r:.50}."
            )
        parameters[name] = restored(value)
    if gone:
        warn(
            "The file has parameters that no longer exist and are ignored: "
            f"{', '.join(gone)}."
        )
    is_custom = isinstance(document.get("encoder"), dict)
    if is_custom:
        name = Content(document["encoder"], {}).get("custom", str)
        is_tuned = name == FineTuned.__name__
        if is_tuned != isinstance(encoder, FineTuned) and encoder is not None:
            wanted = (
                "a FineTuned, as in the fit" if is_tuned else "a module or a callable"
            )
            raise ValueError(
                f"its encoder is a {name!r:.200}; encoder= must be {wanted}; got "
                f"{encoder!r:.80}."
            )
        if is_tuned and encoder is None:
            raise ValueError(
                "its encoder is a FineTuned, and the file holds only its weights. Give "
                "load() the FineTuned of the fit as encoder=."
            )
        if encoder is None:
            raise ValueError(
                f"its encoder is a custom module, {name!r:.200}, and the file holds only its "
                "weights. Give load() a module of this architecture, or the callable that "
                "makes one, as encoder=."
            )
        if isinstance(encoder, str):
            raise ValueError(
                f"its encoder is a custom module, {name!r:.200}; encoder= must be such a "
                f"module, or a callable that makes one; got {encoder!r:.50}."
            )
    else:
        name = found.get("encoder", str)
        if encoder is not None:
            raise ValueError(
                f"its encoder is {name!r:.50}, which is built in; do not give encoder=."
            )
        encoder = name
    estimator = kind(encoder=encoder, **parameters)
    estimator._validate_params()
    if is_custom and isinstance(encoder, FineTuned):
        estimator.embedder_ = _restored_embedder(estimator, found)
    shape = restored(found.get("attributes", dict).get("input_shape_"))
    three = isinstance(shape, list | tuple) and len(shape) == 3
    if shape is not None and not (three and is_list_of(list(shape), int)):
        raise ValueError(
            f"'input_shape_' should be three whole numbers; got {shape!r:.80}."
        )
    estimator.input_shape_ = estimator.input_shape if shape is None else tuple(shape)
    task_set = restored_tasks(found.part("tasks"))
    n_outputs = task_set.n_outputs

    raw = found.array("components.mean", (None,))
    order = found.array("components.order", (None,), np.int64)
    width = len(order)
    _check_numbers("components.order", order, len(raw))
    sign, kept = _signs(found, width)
    components = ComponentScaler(int(kept.sum()))
    components.mean = torch.from_numpy(raw)
    components.scale = torch.from_numpy(
        found.array("components.scale", raw.shape, least=ABOVE_ZERO)
    )
    components.order = torch.from_numpy(order[kept])
    components.sign = torch.from_numpy(sign[kept])

    mean = found.array("inputs.mean", (None,))
    n_features = len(mean)
    inputs = InputScaler(
        torch.from_numpy(mean),
        # zero for a column that is constant
        torch.from_numpy(found.array("inputs.scale", mean.shape, least=0)),
    )
    body = _restored_body(estimator, found, n_features, len(raw))
    moments = InputMoments(0)
    moments.weight = found.number("weight", least=0)
    moments.mean = found.array("moments.mean", mean.shape)
    moments.var = found.array("moments.var", mean.shape, least=0)
    pull = None
    if "pull" in found.arrays:
        pull = found.array("pull", (n_outputs, width))[:, kept]
    attributes = {
        name: restored(value)
        for name, value in found.get("attributes", dict).items()
        if name in ATTRIBUTES
    }
    given = Content(attributes, {})
    attributes.setdefault("nonlinear_noise_", 0.0)  # files of 0.1 have none
    for name in ("sparsity_", "sharing_", "input_noise_", "nonlinear_noise_"):
        if is_int(attributes.get(name)):
            attributes[name] = float(attributes[name])
        given.number(name, least=0)
    if attributes.setdefault("_unexplained", None) is not None:
        given.number("_unexplained", least=0)
    for name in ("n_iter_", "best_index_", "n_splits_"):
        if name == "n_iter_" or name in attributes:
            given.number(name, int, least=0)
    for name in ("loss_curve_", "validation_scores_"):
        values = attributes.get(name)
        if not (
            is_list_of(values, int, float)
            or (values is None and name == "validation_scores_")
        ):
            raise ValueError(f"{name!r} should be numbers; got {values!r:.80}.")
    stages = attributes.get("_stages", [])  # files of 0.1 have none
    if not isinstance(stages, list) or not all(
        isinstance(pair, tuple) and list(map(type, pair)) == [int, str]
        for pair in stages
    ):
        raise ValueError(
            f"'_stages' should be pairs of an epoch and a name; got {stages!r:.80}."
        )
    fitted = Fitted(
        task_set=task_set,
        moments=moments,
        n_rows=found.number("n_rows", int, least=1),
        spread=found.array("spread", (n_outputs,), least=0),
        encoder=Encoder(inputs, body, components).eval(),
        coef=found.array("coef", (n_outputs, width))[:, kept],
        intercept=found.array("intercept", (n_outputs,)),
        usage=found.array("usage", (width,), least=0)[kept],
        pull=pull,
        unexplained=attributes["_unexplained"],
        sparsity=attributes["sparsity_"],
        sharing=attributes["sharing_"],
        input_noise=attributes["input_noise_"],
        nonlinear_noise=attributes["nonlinear_noise_"],
    )
    vars(estimator).update(fitted.attributes() | attributes)
    estimator.n_features_in_ = n_features
    names = document.get("feature_names")
    if names is not None:
        names = restored(names)
        if not is_list_of(names, str) or len(names) != n_features:
            raise ValueError(f"'feature_names' should be {n_features} strings.")
        estimator.feature_names_in_ = np.array(names, dtype=object)
    own = document.get("component_names")
    if own is not None:
        own, number = restored(own), estimator.coef_.shape[1]
        if not is_list_of(own, str) or len(set(own)) != number or len(own) != number:
            raise ValueError(f"'component_names' should be {number} different strings.")
        estimator.component_names_ = np.array(own, dtype=object)
    output = document.get("output")
    if output is not None:
        if output not in ("default", "pandas", "polars"):
            raise ValueError(f"'output' should name a container; got {output!r:.50}.")
        estimator.set_output(transform=output)
    if document.get("partial") is not None:
        estimator._partial_state = _restored_state(estimator, found, device)
    return estimator


def _encode_head(
    head: Any,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]], list[str]]:
    """The same of a head for a new task, whose disentangler is a part of it."""
    whole, arrays, left_out = _encode(in_numpy(head.disentangler_))
    for name in ("coef", "intercept", "inclusion", "support"):
        arrays[f"head.{name}"] = getattr(head, f"{name}_")
    document = {
        "format": whole.pop("format"),
        "version": whole.pop("version"),
        "estimator": type(head).__name__,
        "parameters": {"task_type": head.task_type},
        "tasks": plain_tasks(head._task_set),
        "disentangler": whole,
    }
    return document, arrays, left_out


def _decode_head(kind: type, found: Content, encoder: Any, device: torch.device) -> Any:
    version = found.document.get("version")
    whole = {**found.get("disentangler", dict), "version": version}
    fitted = _decode(FileMixin, whole, found.arrays, encoder, device)
    if _is_head(type(fitted)):
        raise ValueError("the head should use a disentangler, not another head.")
    task_type = found.part("parameters").document.get("task_type")
    if task_type not in (None, *TYPES):
        raise ValueError(f"'task_type' should not be {task_type!r:.50}.")
    task_set = restored_tasks(found.part("tasks"))
    if len(task_set.tasks) != 1 or task_set.tasks[0].left_out is not None:
        raise ValueError("a head should have one task.")
    _, kept = _signs(found, None)
    n_outputs, width = task_set.n_outputs, len(kept)
    support = found.array("head.support", (None,), np.int64)
    _check_numbers("head.support", support, width)
    inclusion = found.array("head.inclusion", (width,), least=0)[kept]
    if (inclusion > 1 + 1e-6).any():
        raise ValueError(
            "the numbers of 'head.inclusion' should be probabilities; got "
            f"{inclusion.max().item()!r}."
        )
    number = np.cumsum(kept) - 1  # of each component among those in use
    head = kind(fitted, task_type=task_type)
    head._set_fitted(
        copy.copy(fitted),
        task_set,
        coef=found.array("head.coef", (n_outputs, width))[:, kept],
        intercept=found.array("head.intercept", (n_outputs,)),
        inclusion=inclusion,
        support=number[support],
    )
    return head


def _check_numbers(name: str, numbers: NDArray[np.int64], count: int) -> None:
    """Raise ValueError unless these are numbers of different components."""
    if not ((numbers >= 0) & (numbers < count)).all():
        raise ValueError(f"{name!r} names components that do not exist.")
    if len(np.unique(numbers)) < len(numbers):
        raise ValueError(f"{name!r} names a component twice.")


def _signs(
    found: Content, width: int | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Signs of the components, and which are kept.

    Version 0.1.0 kept components that no task uses, as ones of sign zero.
    """
    sign = found.array("components.sign", (width,))
    first = found.document.get("version") == "0.1.0"
    if not np.isin(sign, [1, -1, 0] if first else [1, -1]).all():
        raise ValueError("the numbers of 'components.sign' should be 1 or -1.")
    return sign, sign != 0


def _class_of(kind: type, name: str) -> type:
    """The class of this name, among one and those derived from it."""
    kinds = [kind]
    for each in kinds:
        if each.__name__ == name:
            return each
        kinds += each.__subclasses__()
    raise ValueError(
        f"it holds a {name!r:.100}, and {kind.__name__}.load() reads only "
        f"{kind.__name__} or classes derived from it. Call load() of the class that was "
        "saved."
    )


def _restored_body(
    estimator: Any, found: Content, n_features: int, n_components: int
) -> nn.Module:
    """Body with the weights of the file."""
    weights = {
        name.removeprefix("body."): torch.from_numpy(np.array(array))
        for name, array in found.arrays.items()
        if name.startswith("body.")
    }
    weights = {
        k: v.double() if v.is_floating_point() else v for k, v in weights.items()
    }
    hidden = layer_sizes(estimator.hidden_layer_sizes)
    shape = estimator.input_shape_
    if shape is not None and not all(
        isinstance(n, int | np.integer) and n > 0 for n in shape
    ):
        raise ValueError(
            f"'input_shape' should be positive integers; got {shape!r:.80}."
        )
    if not _is_custom(estimator):
        for name, values in weights.items():
            if not values.isfinite().all():
                raise ValueError(f"the weights {name!r:.50} should be finite.")
    # said at once: to build thousands of layers takes long, though they hold nothing
    n_weights = sum(values.numel() for values in weights.values())
    kind = encoder_of_columns(estimator.encoder)
    if kind in ("mlp", "conv") and (
        max(hidden, default=0) > n_weights or len(hidden) > len(weights)
    ):
        raise ValueError(
            f"'hidden_layer_sizes' has {len(hidden):,} layers, {hidden!r:.80}, which do not "
            "match its weights."
        )
    # In files of 0.1 the last layer of an mlp saw the hidden ones alone.
    last = weights.get(f"{2 * len(hidden)}.weight")
    sees_rows = last is None or not hidden or last.shape[-1] != hidden[-1]
    # Nothing is allocated for a built-in body but what the file brings, whatever sizes it
    # claims. A module of the user's stays where it is, and is copied.
    with torch.device("cpu" if _is_custom(estimator) else "meta"):
        body = build_body(
            kind,
            n_features=n_features,
            n_components=n_components,
            hidden_layer_sizes=hidden,
            input_shape=shape,
            seed=0,
            sees_rows=sees_rows,
        )
    if _is_custom(estimator):
        body = body.cpu().double()
    try:
        body.load_state_dict(weights, assign=not _is_custom(estimator))
    except RuntimeError as error:
        raise ValueError(
            f"its weights do not match the encoder {estimator.encoder!r:.200} that its "
            f"parameters describe: {error!s:.500}"
        ) from error
    return body.eval()


def _plain_state(
    state: TrainingState,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What ``partial_fit`` goes on from, less the body, which the encoder has."""
    values: dict[str, Any] = {}
    arrays = {}
    for field in fields(state):
        value = getattr(state, field.name)
        if isinstance(value, Tensor) and field.name not in NOT_OF_STATE:
            arrays[f"partial.{field.name}"] = as_numpy(value)
        elif field.name not in NOT_OF_STATE:
            values[field.name] = plain(value)
    values["chosen"] = state.columns is not None
    for number, moments in state.optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            arrays[f"partial.optimizer.{number}.{name}"] = as_numpy(value)
    return values, arrays


def _restored_state(
    estimator: Any, found: Content, device: torch.device
) -> TrainingState:
    like = torch.empty(0, dtype=torch.float32, device=device)

    def put(
        name: str, shape: tuple[int | None, ...], least: float = -math.inf
    ) -> Tensor:
        values = found.array(f"partial.{name}", shape, np.float32, least=least)
        return torch.from_numpy(values).to(device)

    part, document = found.part("partial"), found.document["partial"]
    n_outputs = estimator._task_set.n_outputs
    theta = put("theta", (n_outputs, len(estimator.encoder_.components.mean) + 1))
    state = TrainingState.start(
        copy.deepcopy(estimator.encoder_.body).to(like),
        theta,
        training_options(
            Settings.of(estimator, estimator.sparsity_, estimator.sharing_),
            estimator._task_set,
            torch.from_numpy(estimator._spread).to(like),
        ),
    )
    for field in fields(state):
        if f"partial.{field.name}" in found.arrays:
            default = getattr(state, field.name)
            shape = (
                (len(estimator._task_set.learned),)
                if default is None
                else tuple(default.shape)
            )
            least = 0 if field.name in NOT_NEGATIVE else -math.inf
            setattr(state, field.name, put(field.name, shape, least))
        elif field.name in document:
            default = getattr(state, field.name)
            kind = int if default is None else type(default)
            if document[field.name] is not None:
                value = (
                    part.get(field.name, kind)
                    if kind is bool
                    else part.number(field.name, kind, least=0)
                )
                setattr(state, field.name, value)
    if document.get("chosen", state.based):
        components = estimator.encoder_.components
        state.columns, state.signs = components.order, components.sign
    memory: dict[int, dict[str, Tensor]] = {}
    for number, parameter in enumerate(state.optimizer.param_groups[0]["params"]):
        start = f"optimizer.{number}."
        if f"partial.{start}exp_avg" in found.arrays:
            memory[number] = {
                "step": put(f"{start}step", (), 0),
                "exp_avg": put(f"{start}exp_avg", tuple(parameter.shape)),
                "exp_avg_sq": put(f"{start}exp_avg_sq", tuple(parameter.shape), 0),
            }
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": memory, "param_groups": groups})
    return state
