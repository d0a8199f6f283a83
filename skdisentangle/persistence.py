"""Fitted estimators in files that run nothing when they are loaded.

A file is one of `safetensors <https://github.com/huggingface/safetensors>`_: the arrays,
and in the header's metadata, under the key ``"skdisentangle"``, a JSON document with all
else. What a file may hold is listed here, name by name; there is no pickle, no import
and no call by a name that is read from it. A checksum over every byte tells damage from
what was written. It is no signature: who can write a file can write any weights.

Here it is the estimator that is an argument: nothing in this module knows its class. The
file of a head for a new task holds that of its disentangler.
"""

from __future__ import annotations

import copy
import errno
import hashlib
import importlib
import json
import math
import os
import re
import stat
import warnings
from collections.abc import Mapping
from dataclasses import fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from ._files import replacing
from ._version import __version__
from .array_api import in_numpy
from .encoders import ComponentScaler, Encoder, InputScaler, build_body
from .inputs import InputMoments
from .labels import Labels
from .onnx_export import export_onnx
from .steps import TrainingState
from .tasks import TASK_TYPES, Task, TaskSet
from .validation import layer_sizes, torch_device

__all__ = [
    "FORMAT",
    "FileMixin",
    "OnnxMixin",
    "load_estimator",
    "save_estimator",
]

#: Version of the layout of a file. It is raised when older packages could not read, or
#: would misread, what this one writes; older files are to be read for ever.
FORMAT = 1

#: Key of the document in the metadata; and the longest header that safetensors takes.
KEY, MAX_HEADER = "skdisentangle", 100_000_000

#: The checksum's place, in a document inside of a JSON string; and before it is known.
CHECKSUM_PLACE, NO_CHECKSUM = rb"\"sha256\":\"", "0" * 64

#: Parameters that are not in a file as such: an encoder may be code, and where and with how
#: many threads to compute is a matter of the machine.
NOT_KEPT = ("encoder", "device", "n_jobs")

#: Fitted attributes that are plain values. Those that an estimator lacks are left out.
ATTRIBUTES = (
    "sparsity_",
    "sharing_",
    "input_noise_",
    "n_iter_",
    "loss_curve_",
    "validation_scores_",
    "cv_results_",
    "best_index_",
    "n_splits_",
)

#: Data types of labels, by the names that they go by in a file.
NUMPY_DTYPE = r"\|O|\|b1|[<|][iu][1248]|<f[248]|[<|][US]\d{1,6}"
PANDAS_DTYPE = r"U?Int(8|16|32|64)|Float(32|64)|boolean|str|string\[(python|pyarrow)\]"
ARROW_DTYPE = r"u?int(8|16|32|64)|halffloat|float|double|bool|(large_)?string"
POLARS_DTYPE = r"U?Int(8|16|32|64|128)|Float(32|64)|Boolean|String|Categorical|Null"

#: Characters of the class labels of a task at the most, where they have a fixed width.
MAX_CHARACTERS = 2**24

#: How other kinds of file begin.
OTHER_FILES = {
    b"PK": "a zip archive, such as numpy.savez and torch.save write",
    b"\x80": "a pickle, which can run any code when it is loaded, and was not",
    b"\x1f\x8b": "compressed with gzip",
    b"\x78": "compressed, perhaps by joblib.dump",
    b"\x93NUMPY": "an array of numpy.save",
    b"\x89HDF": "an HDF5 file",
}


class FileMixin:
    """``save`` and ``load`` of a disentangler, or of a head for a new task."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to a file that holds no code.

        The file is there whole or not at all, and has been read back before it gets its
        name. It holds what was fitted and the parameters, no training data; the file of
        a :class:`~skdisentangle.heads.SparseTaskHead` holds its disentangler. Not kept are
        ``device`` and ``n_jobs``, which are matters of the machine, callbacks, metadata
        requests, and the code of an encoder of the user's. Needs ``pip install
        'skdisentangle[files]'``.

        Parameters
        ----------
        path : str or path-like
            File to write, such as ``"model.safetensors"``. A file that is there is
            replaced.

        Raises
        ------
        NotFittedError
            If there is nothing to write yet.
        ValueError
            If parameters were changed since the fit such that they no longer describe the
            encoder, or something cannot be kept in a file.
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
        load : The way back.

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
        """Read a fitted estimator from a file that :meth:`save` has written.

        Nothing that the file says is run, whoever wrote it. It does what it did where it
        was saved: transforms and predicts the same, fits heads for new tasks, and goes on
        fitting, by ``partial_fit`` or ``warm_start``.

        Parameters
        ----------
        path : str or path-like
        encoder : torch.nn.Module or callable, default=None
            For an encoder that was not built in: a module of the same architecture, or the
            callable that makes one, as for the constructor. A copy of it takes the
            weights of the file.
        device : str or torch.device, default="auto"
            Becomes the parameter of that name of the disentangler, wherever the file was
            written.

        Returns
        -------
        estimator
            Of the class that was saved, which must be this one or derived from it.

        Raises
        ------
        ValueError
            If the file is something else, damaged, or written by a later version that
            this one cannot read; or ``encoder`` is missing, not asked for, or of another
            architecture.
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

        The graph takes ``X``, float32 of shape (n_samples, n_features), any number of
        rows. It gives ``features``, what :meth:`transform` gives for rows of float32, and
        ``scores`` of shape (n_samples, n_outputs), ``features @ coef_.T + intercept_``:
        predictions of regression tasks, logits of binary tasks (above zero is the second
        class) and of the classes of multiclass tasks. Its metadata has, under
        ``"skdisentangle"``, a JSON document with the names of the features and with name,
        type, classes and columns of the scores of each task. Needs ``pip install
        'skdisentangle[onnx]'``.

        Parameters
        ----------
        path : str or path-like
            File to write, such as ``"model.onnx"``, whole or not at all.

        Raises
        ------
        NotFittedError
            If there is nothing to write yet.
        ValueError
            If an encoder of the user's does what ONNX cannot, or does not take any number
            of rows.
        OSError
            If the file cannot be written.
        ImportError
            If onnx or onnxscript is not installed.
        """
        export_onnx(in_numpy(self), _writable_path(path))


def save_estimator(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator; see :meth:`FileMixin.save`."""
    check_is_fitted(estimator)
    estimator, path = in_numpy(estimator), _writable_path(path)
    try:
        document, arrays, left_out = _encode(estimator)
        data = _pack(document, arrays)
        fitted = estimator.disentangler_ if _is_head(type(estimator)) else estimator
        own = fitted.encoder_.body if _is_custom(fitted) else None
        _decode(type(estimator), *_unpack(data), own, torch.device("cpu"))
    except ValueError as error:
        raise ValueError(
            f"This {type(estimator).__name__} cannot be kept in a file: {error}"
        ) from error
    with replacing(path) as file:
        file.write(data)
    if left_out:
        warnings.warn(
            f"Left out of {str(path)!r}, where they will be at their defaults: "
            + ", ".join(left_out)
            + ". Only numbers, strings, and lists, tuples, mappings and arrays of them "
            "are kept.",
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
            errno.EINVAL, f"A file of save() is wanted, this is {what}", str(path)
        )
    data = path.read_bytes()
    try:
        estimator = _decode(kind, *_unpack(data), encoder, where)
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


# -- bytes -----------------------------------------------------------------------------


def _safetensors() -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "Files of save and load need safetensors: pip install 'skdisentangle[files]'."
        ) from error
    return safetensors


def _pack(document: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> bytes:
    """Bytes of a file, with their checksum."""
    safetensors = _safetensors()
    text = json.dumps(
        {"sha256": NO_CHECKSUM, **document}, allow_nan=False, separators=(",", ":")
    )
    # safetensors takes memory as it lies, whatever the strides.
    plain = {name: np.array(array, order="C") for name, array in arrays.items()}
    try:
        data = safetensors.numpy.save(plain, {KEY: text})
    except safetensors.SafetensorError as error:
        raise ValueError(f"safetensors says: {error}.") from error
    start, stop = _checksum_place(data, 8 + int.from_bytes(data[:8], "little"))
    checksum = hashlib.sha256(data).hexdigest().encode()
    return bytes(data[:start]) + checksum + bytes(data[stop:])


def _checksum_place(data: bytes, end_of_header: int) -> tuple[int, int]:
    """Where the checksum stands, a SHA-256 of the file with zeros in its place."""
    start = data.find(CHECKSUM_PLACE, 0, end_of_header) + len(CHECKSUM_PLACE)
    if start < len(CHECKSUM_PLACE):
        raise ValueError("it is damaged, its header holds no checksum.")
    return start, start + len(NO_CHECKSUM)


def _unpack(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Document and arrays of a file's bytes, which are what was written."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(len(data) - 8, MAX_HEADER) or data[8:9] != b"{":
        raise ValueError(_what_else(data, size))
    header = data[8 : 8 + size]
    try:
        metadata = _json(header).get("__metadata__", {})
        text = metadata.get(KEY)
        document = {} if text is None else _json(text)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"it is damaged, its header is no JSON of a safetensors file ({error})."
        ) from error
    if text is None:
        raise ValueError(
            "it is a safetensors file of something else, or damaged: its metadata has no "
            f"{KEY!r}. Only files of save() can be loaded."
        )
    version, by = document.get("format"), document.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError(f"it is damaged, its format is said to be {version!r:.50}.")
    if version > FORMAT:
        raise ValueError(
            f"it has format {version}, written by skdisentangle {by!r:.50}; this is "
            f"skdisentangle {__version__}, which reads formats up to {FORMAT}. Install a "
            "later version."
        )
    start, stop = _checksum_place(data, 8 + size)
    said = data[start:stop].decode("latin-1")
    found = hashlib.sha256(data[:start])
    found.update(NO_CHECKSUM.encode())
    found.update(data[stop:])
    if found.hexdigest() != said:
        raise ValueError(
            f"it is damaged or cut short: its checksum is {found.hexdigest()[:16]}..., and "
            f"should be {said[:16]!r}.... Copy it anew, or save the estimator again."
        )
    safetensors = _safetensors()
    try:
        arrays = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"its arrays are not as they should be ({error}).") from error
    return document, arrays


def _json(text: str | bytes) -> Any:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"it should be an object, and is {found!r:.50}")
    return found


def _what_else(data: bytes, size: int) -> str:
    """What a file is that does not begin as it should."""
    for start, kind in OTHER_FILES.items():
        # A header of so many bytes would begin in the same way, and with a bracket.
        if data.startswith(start) and data[8:9] != b"{":
            return f"it is {kind}. Only files of save() can be loaded."
    if len(data) < 8 or (data[8:9] == b"{" and size > len(data) - 8):
        return (
            f"it is cut short or damaged: {len(data):,} bytes, of which {size:,} should be "
            "the header."
        )
    return "it is no safetensors file. Only files of save() can be loaded."


# -- the estimator, as plain values and arrays, and back -------------------------------


def _is_custom(estimator: Any) -> bool:
    return not isinstance(estimator.encoder, str)


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
            parameters[name] = _plain(value)
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
    for name, value in encoder.body.state_dict().items():
        if not isinstance(value, Tensor):
            raise ValueError(
                f"its encoder has state that is no tensor, {name!r}, a "
                f"{type(value).__name__}."
            )
        arrays[f"body.{name}"] = value
    kept = {name: _narrowed(_numpy(array)) for name, array in arrays.items()}
    document = {
        "format": FORMAT,
        "version": __version__,
        "estimator": type(estimator).__name__,
        "parameters": parameters,
        "encoder": _encoder_name(estimator.encoder),
        "attributes": {
            name: _plain(getattr(estimator, name))
            for name in ATTRIBUTES
            if hasattr(estimator, name)
        },
        "feature_names": _plain(getattr(estimator, "feature_names_in_", None)),
        "n_rows": int(estimator._n_rows),
        "weight": float(moments.weight),
        "tasks": _plain_tasks(estimator._task_set),
        "output": getattr(estimator, "_sklearn_output_config", {}).get("transform"),
        "partial": None,
    }
    state = getattr(estimator, "_partial_state", None)
    if state is not None:
        document["partial"], more = _plain_state(state)
        kept.update(more)
    return document, kept, left_out


def _encoder_name(encoder: Any) -> str | dict[str, str]:
    """Kind of a built-in encoder, or a name that only tells the user which to bring."""
    if isinstance(encoder, str):
        return str(encoder)
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
    found = _Content(document, arrays)
    kind = _class_of(kind, found.get("estimator", str))
    if _is_head(kind):
        return _decode_head(kind, found, encoder, device)
    known = kind._get_param_names()  # type: ignore[attr-defined]
    parameters = {}
    for name, value in found.get("parameters", dict).items():
        if name not in known or name in NOT_KEPT:
            raise ValueError(
                f"it has a parameter {name!r:.50}, which skdisentangle {__version__} does "
                f"not know; it was written by {document.get('version')!r:.50}."
            )
        parameters[name] = _restored(value)
    is_custom = isinstance(document.get("encoder"), dict)
    if is_custom:
        name = _Content(document["encoder"], {}).get("custom", str)
        if encoder is None:
            raise ValueError(
                f"its encoder is a module of the user's, {name!r:.200}, of which it holds "
                "the weights only. Give load() a module of this architecture, or the "
                "callable that makes one, as encoder=."
            )
        if isinstance(encoder, str):
            raise ValueError(
                f"its encoder is a module of the user's, {name!r:.200}; encoder= must be "
                f"such a module, or a callable that makes one; got {encoder!r:.50}."
            )
    else:
        name = found.get("encoder", str)
        if encoder is not None:
            raise ValueError(
                f"its encoder is {name!r:.50}, which is built in; leave encoder= out."
            )
        encoder = name
    estimator = kind(encoder=encoder, **parameters)
    estimator._validate_params()
    estimator._task_set = _restored_tasks(found.part("tasks"))
    estimator.tasks_ = estimator._task_set.tasks
    n_outputs = estimator._task_set.n_outputs

    raw = found.array("components.mean", (None,))
    order = found.array("components.order", (None,), np.int64)
    width = len(order)
    if not ((order >= 0) & (order < len(raw))).all():
        raise ValueError("'components.order' names components that are not there.")
    components = ComponentScaler(len(raw))
    components.mean = torch.from_numpy(raw)
    components.scale = torch.from_numpy(found.array("components.scale", raw.shape))
    components.order = torch.from_numpy(order)
    sign = found.array("components.sign", (width,))
    components.sign = torch.from_numpy(sign)

    mean = found.array("inputs.mean", (None,))
    n_features = len(mean)
    inputs = InputScaler(
        torch.from_numpy(mean),
        torch.from_numpy(found.array("inputs.scale", mean.shape)),
    )
    body = _restored_body(estimator, found, n_features, len(raw))
    estimator._inputs = inputs
    estimator.encoder_ = Encoder(inputs, body, components).eval()
    estimator.coef_ = found.array("coef", (n_outputs, width))
    estimator.intercept_ = found.array("intercept", (n_outputs,))
    estimator.usage_ = found.array("usage", (width,))
    estimator.active_components_ = np.flatnonzero(sign)
    estimator._spread = found.array("spread", (n_outputs,))
    estimator._n_rows = found.get("n_rows", int)
    moments = estimator._moments = InputMoments(0)
    moments.weight = found.get("weight", float)
    moments.mean = found.array("moments.mean", mean.shape)
    moments.var = found.array("moments.var", mean.shape)

    attributes = found.get("attributes", dict)
    for name in ATTRIBUTES:
        if name in attributes:
            setattr(estimator, name, _restored(attributes[name]))
    for name in ("sparsity_", "sharing_", "input_noise_", "n_iter_"):
        if not _is_number(getattr(estimator, name, None)):
            raise ValueError(f"{name!r} should be a number.")
    estimator.n_features_in_ = n_features
    names = document.get("feature_names")
    if names is not None:
        names = _restored(names)
        if not _is_list_of(names, str) or len(names) != n_features:
            raise ValueError(f"'feature_names' should be {n_features} strings.")
        estimator.feature_names_in_ = np.array(names, dtype=object)
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
        "tasks": _plain_tasks(head._task_set),
        "disentangler": whole,
    }
    return document, arrays, left_out


def _decode_head(
    kind: type, found: _Content, encoder: Any, device: torch.device
) -> Any:
    whole = found.get("disentangler", dict)
    fitted = _decode(FileMixin, whole, found.arrays, encoder, device)
    if _is_head(type(fitted)):
        raise ValueError("the head should be on a disentangler, not on another head.")
    task_type = found.part("parameters").document.get("task_type")
    if task_type not in (None, *TASK_TYPES):
        raise ValueError(f"'task_type' should not be {task_type!r:.50}.")
    task_set = _restored_tasks(found.part("tasks"))
    if len(task_set.tasks) != 1 or task_set.tasks[0].left_out is not None:
        raise ValueError("the head of a new task should be of one task.")
    n_outputs, width = task_set.n_outputs, len(fitted.usage_)
    support = found.array("head.support", (None,), np.int64)
    if not ((support >= 0) & (support < width)).all():
        raise ValueError("'head.support' names components that are not there.")
    head = kind(fitted, task_type=task_type)
    head._set_fitted(
        copy.copy(fitted),
        task_set,
        coef=found.array("head.coef", (n_outputs, width)),
        intercept=found.array("head.intercept", (n_outputs,)),
        inclusion=found.array("head.inclusion", (width,)),
        support=support,
    )
    return head


def _class_of(kind: type, name: str) -> type:
    """The class of this name, among one and those derived from it."""
    kinds = [kind]
    for each in kinds:
        if each.__name__ == name:
            return each
        kinds += each.__subclasses__()
    raise ValueError(
        f"it holds a {name!r:.100}; {kind.__name__}.load() takes a {kind.__name__} or what "
        "is derived from it. Call load() of the class that was saved."
    )


def _restored_body(
    estimator: Any, found: _Content, n_features: int, n_components: int
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
    shape = estimator.input_shape
    if shape is not None and not all(
        isinstance(n, int | np.integer) and n > 0 for n in shape
    ):
        raise ValueError(
            f"'input_shape' should be positive integers; got {shape!r:.80}."
        )
    n_weights = sum(array.size for array in found.arrays.values())
    if not _is_custom(estimator) and max(hidden, default=0) > n_weights:
        raise ValueError(f"'hidden_layer_sizes' {hidden!r:.80} are not those it holds.")
    # Nothing is allocated for a built-in body but what the file brings, whatever sizes it
    # claims. A module of the user's stays where it is, and is copied.
    with torch.device("cpu" if _is_custom(estimator) else "meta"):
        body = build_body(
            estimator.encoder,
            n_features=n_features,
            n_components=n_components,
            hidden_layer_sizes=hidden,
            input_shape=shape,
            seed=0,
        )
    if _is_custom(estimator):
        body = body.cpu().double()
    try:
        body.load_state_dict(weights, assign=not _is_custom(estimator))
    except RuntimeError as error:
        raise ValueError(
            f"its weights are not those of the encoder {estimator.encoder!r:.200} as its "
            f"parameters describe it: {error}"
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
        if isinstance(value, Tensor):
            arrays[f"partial.{field.name}"] = _numpy(value)
        elif field.name not in ("body", "optimizer"):
            values[field.name] = _plain(value)
    for number, moments in state.optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            arrays[f"partial.optimizer.{number}.{name}"] = _numpy(value)
    return values, arrays


def _restored_state(
    estimator: Any, found: _Content, device: torch.device
) -> TrainingState:
    like = torch.empty(0, dtype=torch.float32, device=device)

    def put(name: str, shape: tuple[int | None, ...]) -> Tensor:
        values = found.array(f"partial.{name}", shape, np.float32)
        return torch.from_numpy(values).to(device)

    part, document = found.part("partial"), found.document["partial"]
    n_outputs = estimator._task_set.n_outputs
    theta = put("theta", (n_outputs, len(estimator.encoder_.components.mean) + 1))
    state = TrainingState.start(
        copy.deepcopy(estimator.encoder_.body).to(like),
        theta,
        estimator._options(like, estimator.input_noise_),
    )
    for field in fields(state):
        if f"partial.{field.name}" in found.arrays:
            default = getattr(state, field.name)
            shape = (
                (len(estimator._task_set.learned),)
                if default is None
                else tuple(default.shape)
            )
            setattr(state, field.name, put(field.name, shape))
        elif field.name in document:
            default = getattr(state, field.name)
            kind = int if default is None else type(default)
            if document[field.name] is not None:
                setattr(state, field.name, part.get(field.name, kind))
    memory: dict[int, dict[str, Tensor]] = {}
    for number, parameter in enumerate(state.optimizer.param_groups[0]["params"]):
        start = f"optimizer.{number}."
        if f"partial.{start}exp_avg" in found.arrays:
            memory[number] = {
                "step": put(f"{start}step", ()),
                "exp_avg": put(f"{start}exp_avg", tuple(parameter.shape)),
                "exp_avg_sq": put(f"{start}exp_avg_sq", tuple(parameter.shape)),
            }
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": memory, "param_groups": groups})
    return state


# -- tasks -----------------------------------------------------------------------------


def _plain_tasks(task_set: TaskSet) -> dict[str, Any]:
    """Tasks, less what follows from their types and classes."""
    columns = []
    for number, task in enumerate(task_set.tasks):
        column = {
            "name": str(task.name),
            "type": task.type,
            "classes": None if task.classes is None else _plain_values(task.classes),
            "mean": _plain(float(task.mean)),
            "scale": float(task.scale),
            "left_out": task.left_out,
            "dtype": _plain_dtype(task.name, task_set.dtypes[number]),
        }
        if task_set.keys:
            try:
                column["key"] = _plain(task_set.keys[number])
            except TypeError as error:
                raise ValueError(
                    f"the column of task {task.name!r} has a name that is no string, "
                    f"number or tuple, {task_set.keys[number]!r:.100}."
                ) from error
        columns.append(column)
    return {"container": task_set.container, "columns": columns}


def _restored_tasks(found: _Content) -> TaskSet:
    container = found.get("container", str)
    library = container.split("-")[0]
    if library not in ("1d", "2d", "pandas", "polars"):
        raise ValueError(
            f"'container' names none that labels come in: {container!r:.50}."
        )
    columns = [_Content(each, {}) for each in found.get("columns", list)]
    if not columns or (
        container not in ("2d", "pandas", "polars") and len(columns) > 1
    ):
        raise ValueError(
            f"{len(columns)} tasks do not go with labels of {container!r:.50}."
        )
    tasks = []
    for index, column in enumerate(columns):
        kind, classes = column.get("type", str), column.document.get("classes")
        if classes is not None:
            classes = _restored_values(column.part("classes"))
        left_out = column.document.get("left_out")
        if left_out is not None:
            left_out = column.get("left_out", str)
        n_classes = 0 if classes is None else len(classes)
        fits = {
            "regression": classes is None,
            "binary": classes is not None and (left_out or n_classes == 2),
            "multiclass": classes is not None and (left_out or n_classes > 1),
        }
        name = column.get("name", str)
        if not fits.get(kind):
            raise ValueError(
                f"task {name!r:.50} cannot be of type {kind!r:.50}, with {n_classes} "
                f"classes; types are {', '.join(map(repr, TASK_TYPES))}."
            )
        tasks.append(
            Task(
                name,
                index,
                kind,
                classes,
                slice(0, 0),
                mean=column.get("mean", float),
                scale=column.get("scale", float),
                left_out=left_out,
            )
        )
    labels = Labels(
        [],
        container,
        [_restored_dtype(column.part("dtype"), library) for column in columns],
        [_restored_key(column, library) for column in columns]
        if library in ("pandas", "polars")
        else [],
    )
    return TaskSet.lay_out(tasks, labels, stacklevel=0)


def _restored_key(column: _Content, library: str) -> Any:
    """Name of a column of a data frame: strings in polars, what has a hash in pandas."""
    if library == "polars":
        return column.get("key", str)
    key = _restored(column.document.get("key"))
    try:
        hash(key)
    except TypeError as error:
        raise ValueError(f"'key' cannot name a column: {error}.") from error
    return key


def _plain_values(values: NDArray[Any]) -> dict[str, Any]:
    """Class labels, and their data type."""
    items = values.tolist()
    if values.dtype.kind == "S":
        items = [item.decode("latin-1") for item in items]
    return {"dtype": _numpy_name(values.dtype), "values": [_plain(v) for v in items]}


def _restored_values(found: _Content) -> NDArray[Any]:
    values, name = found.get("values", list), found.get("dtype", str)
    dtype = _numpy_dtype(name)
    kinds: dict[str, tuple[type, ...]] = {
        "b": (bool,),
        "i": (int,),
        "u": (int,),
        "f": (int, float),
        "O": (str, bool),
    }
    if not _is_list_of(values, *kinds.get(dtype.kind, (str,))):
        raise ValueError(f"labels of data type {name!r} should not be {values!r:.80}.")
    if dtype.itemsize * len(values) > 4 * MAX_CHARACTERS:
        raise ValueError(f"labels of data type {name!r} are too long.")
    if dtype.kind == "S":
        values = [value.encode("latin-1") for value in values]
    try:
        return np.array(values, dtype=dtype)
    except OverflowError as error:
        raise ValueError(f"labels of data type {name!r}: {error}.") from error


def _numpy_name(dtype: Any) -> str:
    return "T" if dtype.kind == "T" else str(dtype.newbyteorder("<").str)


def _numpy_dtype(name: str) -> Any:
    if name == "T" and hasattr(np.dtypes, "StringDType"):
        return np.dtypes.StringDType()
    if not re.fullmatch(NUMPY_DTYPE, name):
        raise ValueError(f"labels of data type {name!r:.50} cannot be kept in a file.")
    return np.dtype(name)


def _plain_dtype(task: str, dtype: Any) -> dict[str, Any]:
    """Data type of a column of labels: of numpy, pandas or polars."""
    if isinstance(dtype, np.dtype):
        return {"numpy": _numpy_name(dtype)}
    library = type(dtype).__module__.split(".")[0]
    if library == "pandas":
        if dtype.name == "category":
            return {
                "categories": _plain_values(np.asarray(dtype.categories)),
                "of": _plain_dtype(task, dtype.categories.dtype),
                "ordered": bool(dtype.ordered),
            }
        if hasattr(dtype, "pyarrow_dtype"):
            return {"arrow": str(dtype.pyarrow_dtype)}
        if hasattr(dtype, "storage"):  # one of several types named "string"
            plain = isinstance(dtype.na_value, float)
            return {"pandas": "str" if plain else f"string[{dtype.storage}]"}
        return {"pandas": str(dtype.name)}
    if hasattr(dtype, "categories") and type(dtype).__name__ == "Enum":
        return {"enum": dtype.categories.to_list()}
    # Older versions of polars also name the order of a Categorical, which is the default.
    return {"polars": str(dtype).removesuffix("(ordering='physical')")}


def _restored_dtype(found: _Content, library: str) -> Any:
    """The same from a file; only those of a list, which hold labels."""
    if "numpy" in found.document:
        return _numpy_dtype(found.get("numpy", str))
    if library == "pandas":
        pd = _imported("pandas")
        if "categories" in found.document:
            values = _restored_values(found.part("categories"))
            of = _restored_dtype(found.part("of"), library)
            try:
                index = pd.Index(values, dtype=of)
            except TypeError as error:
                raise ValueError(f"categories of {of}: {error}.") from error
            return pd.CategoricalDtype(index, found.get("ordered", bool))
        if "arrow" in found.document:
            name = _named(found, "arrow", ARROW_DTYPE)
            return pd.ArrowDtype(_imported("pyarrow").type_for_alias(name))
        return pd.api.types.pandas_dtype(_named(found, "pandas", PANDAS_DTYPE))
    if library == "polars":
        pl = _imported("polars")
        if "enum" in found.document:
            categories = found.get("enum", list)
            if not _is_list_of(categories, str) or len(set(categories)) < len(
                categories
            ):
                raise ValueError("'enum' should be a list of different strings.")
            return pl.Enum(categories)
        return getattr(pl, _named(found, "polars", POLARS_DTYPE))()
    raise ValueError(f"labels cannot have data type {found.document!r:.80}.")


def _named(found: _Content, library: str, pattern: str) -> str:
    name: str = found.get(library, str)
    if not re.fullmatch(pattern, name):
        raise ValueError(
            f"labels of {library} data type {name!r:.80} cannot be kept in a file; turn "
            "them into numbers, strings, booleans or categories before the fit."
        )
    return name


def _imported(library: str) -> Any:
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise ImportError(
            f"The labels of the fit came in {library}, of which predictions are to be, "
            f"too: pip install {library}."
        ) from error


# -- values and arrays -----------------------------------------------------------------


class _Content:
    """What a file says, asked for by name and checked to be of the kind it should be."""

    def __init__(self, document: Any, arrays: dict[str, NDArray[Any]]) -> None:
        if not isinstance(document, dict):
            raise ValueError(f"there should be an object, not {document!r:.80}.")
        self.document: dict[str, Any] = document
        self.arrays = arrays

    def get(self, name: str, kind: type) -> Any:
        value = self.document.get(name)
        if kind is float:
            value = _restored(value)
            if isinstance(value, float):
                return value
        elif isinstance(value, kind) and (kind is not int or _is_int(value)):
            return value
        raise ValueError(f"{name!r} should be a {kind.__name__}; got {value!r:.80}.")

    def part(self, name: str) -> _Content:
        return _Content(self.get(name, dict), self.arrays)

    def array(
        self, name: str, shape: tuple[int | None, ...], dtype: Any = np.float64
    ) -> NDArray[Any]:
        """A copy of an array; None stands for any length."""
        array = self.arrays.get(name)
        if array is None:
            raise ValueError(f"the array {name!r} is missing.")
        fits = array.ndim == len(shape) and all(
            wanted in (None, size)
            for wanted, size in zip(shape, array.shape, strict=True)
        )
        if not fits or not np.can_cast(array.dtype, dtype):
            raise ValueError(
                f"the array {name!r} should have shape {shape} and fit {np.dtype(dtype)}; "
                f"got shape {array.shape} of {array.dtype}."
            )
        return np.array(array, dtype=dtype)


def _plain(value: Any) -> Any:
    """A value as JSON; TypeError if it is of a kind that is not kept."""
    if value is None or isinstance(value, bool | np.bool_):
        return None if value is None else bool(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return number if math.isfinite(number) else {"float": repr(number)}
    if isinstance(value, tuple):
        return {"tuple": [_plain(each) for each in value]}
    if isinstance(value, Mapping):
        return {"mapping": [[_plain(k), _plain(v)] for k, v in value.items()]}
    if isinstance(value, list | range):
        return [_plain(each) for each in value]
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {"array": _plain(value.tolist()), "dtype": _numpy_name(value.dtype)}
    if hasattr(value, "__array__"):
        return _plain(np.asarray(value).tolist())
    raise TypeError(f"{type(value).__name__} is not kept")


def _restored(value: Any) -> Any:
    """A value that :func:`_plain` has made JSON of."""
    if isinstance(value, list):
        return [_restored(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = _Content(value, {})
    if "float" in value and value["float"] in ("nan", "inf", "-inf"):
        return float(value["float"])
    if "tuple" in value:
        return tuple(_restored(found.get("tuple", list)))
    if "mapping" in value:
        pairs = _restored(found.get("mapping", list))
        if all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            try:
                return dict(pairs)
            except TypeError as error:
                raise ValueError(f"{value!r:.80} is no mapping: {error}.") from error
    if "array" in value and found.get("dtype", str)[1:2] in "biuf":
        try:
            return np.array(
                _restored(found.get("array", list)), _numpy_dtype(value["dtype"])
            )
        except (OverflowError, TypeError) as error:
            raise ValueError(f"{value!r:.80} is no array: {error}.") from error
    raise ValueError(f"{value!r:.80} is of no kind that a file can hold.")


def _numpy(array: Any) -> NDArray[Any]:
    found: NDArray[Any] = (
        array.detach().cpu().numpy() if isinstance(array, Tensor) else array
    )
    return found


def _narrowed(array: NDArray[Any]) -> NDArray[Any]:
    """In single precision, if that holds every bit: most fits are computed in it."""
    if array.dtype != np.float64:
        return array
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    return single if np.array_equal(single, array) else array


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_int(value) or isinstance(value, float)


def _is_list_of(values: Any, *kinds: type) -> bool:
    return isinstance(values, list) and all(type(value) in kinds for value in values)
