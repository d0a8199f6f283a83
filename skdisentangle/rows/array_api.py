"""Support arrays of other libraries through scikit-learn's array API dispatch.

With ``sklearn.set_config(array_api_dispatch=True)``, results and fitted arrays have the
library and device of X. Without it they are numpy arrays. The computation is the same in both
cases: rows go through numpy to ``device``.
"""

from __future__ import annotations

import copy
from contextlib import nullcontext
from functools import wraps
from typing import Any, cast

import numpy as np
import torch
from sklearn import get_config
from sklearn.utils._array_api import _convert_to_numpy, get_namespace_and_device
from sklearn.utils._set_output import _get_output_config

from .._sklearn import Method, all_or_nothing

__all__ = ["FITTED_ARRAYS", "follows_input", "in_numpy", "numpy_array"]

#: Attributes that follow the X of the fit, as scikit-learn's checks want it.
FITTED_ARRAYS = (
    "coef_",
    "intercept_",
    "usage_",
    "active_components_",
    "inclusion_",
    "support_",
    "_spread",
    "_pull",
)

#: An array library's namespace, and a device of it; None stands for numpy.
Space = tuple[Any, Any] | None


def follows_input(method: Method) -> Method:
    """Give a method that takes rows numpy's arrays, and its results back as X was.

    ``fit``, ``fit_transform`` and ``partial_fit`` also move the fitted arrays to where X
    is. To all other methods the estimator looks as if it had been fitted in numpy.
    """
    fits = method.__name__ in ("fit", "fit_transform", "partial_fit")

    @wraps(method)
    def following(self: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        with all_or_nothing(self) if fits else nullcontext():
            space = _space(X)
            if fits:
                _move(self, None)
                estimator = self
            else:
                _check_same_space(self, space, method.__name__)
                estimator = in_numpy(self)
            given = [numpy_array(value) for value in (X, *args)]
            named = {name: numpy_array(value) for name, value in kwargs.items()}
            out = method(estimator, *given, **named)
            if space is None:
                return out
            if fits:
                _move(self, space)
            if "transform" in method.__name__ and (
                _get_output_config("transform", self)["dense"] != "default"
            ):
                return out  # a data frame is to be made of it
            return _moved(out, space)

    return cast(Method, following)


def numpy_array(value: Any) -> Any:
    """Another library's array as numpy's, if dispatch is enabled; else the value itself."""
    if _space(value) is None:
        return value
    return _to_numpy(value)


def in_numpy(estimator: Any) -> Any:
    """The estimator, or a shallow copy of it whose fitted arrays are numpy's."""
    if not any(_is_foreign(vars(estimator).get(name)) for name in FITTED_ARRAYS):
        return estimator
    estimator = copy.copy(estimator)
    _move(estimator, None)
    return estimator


def _is_foreign(value: Any) -> bool:
    return hasattr(value, "__dlpack__") and not isinstance(
        value, np.ndarray | np.generic
    )


def _space(value: Any) -> Space:
    if not get_config()["array_api_dispatch"] or not _is_foreign(value):
        return None
    namespace, _, device = get_namespace_and_device(value)
    return namespace, device


def _to_numpy(array: Any) -> Any:
    if isinstance(array, torch.Tensor):
        return array.detach().cpu().numpy()
    return _convert_to_numpy(array, array.__array_namespace__())


def _moved(value: Any, space: Space) -> Any:
    """Numbers in another library; objects and strings, which it cannot hold, as they are."""
    if isinstance(value, list):
        return [_moved(each, space) for each in value]
    if _is_foreign(value):
        value = _to_numpy(value)
    if (
        space is None
        or not isinstance(value, np.ndarray)
        or value.dtype.kind not in "biuf"
    ):
        return value
    namespace, device = space
    if getattr(device, "type", None) == "mps" and value.dtype == np.float64:
        value = value.astype(np.float32)  # all that such a device has
    return namespace.asarray(np.ascontiguousarray(value), device=device)


def _move(estimator: Any, space: Space) -> None:
    held = vars(estimator)
    for name in FITTED_ARRAYS:
        if name in held:
            held[name] = _moved(held[name], space)


def _check_same_space(estimator: Any, space: Space, method: str) -> None:
    """Raise ValueError if the fit was in another library, not numpy, or on another device.

    That is scikit-learn's rule. What was fitted in numpy, or comes from a file, has no
    place of its own, and takes any array.
    """
    fitted = _space(getattr(estimator, "coef_", None))
    if fitted is not None and fitted != space:
        raise ValueError(
            f"Inputs passed to {type(estimator).__name__}.{method}() must use the same "
            f"namespace and the same device as those passed to fit(), which were "
            f"{_named(fitted)}; got {_named(space)}."
        )


def _named(space: Space) -> str:
    if space is None:
        return "numpy's arrays, or none"
    return f"arrays of {space[0].__name__.split('.')[-1]} on {space[1]}"
