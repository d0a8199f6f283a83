"""scikit-learn's bases and decorators, with the types that it does not give."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import sklearn.base
from sklearn.utils import metaestimators

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    # Derived from the originals, so that type checkers still take our estimators for
    # scikit-learn's, and what is not said here has no type, as there.
    class BaseEstimator(sklearn.base.BaseEstimator):
        def get_params(self, deep: bool = True) -> dict[str, Any]: ...
        def set_params(self, **params: Any) -> Self: ...

    class TransformerMixin(sklearn.base.TransformerMixin):
        def set_output(
            self, *, transform: Literal["default", "pandas", "polars"] | None = None
        ) -> Self: ...

    class ClassNamePrefixFeaturesOutMixin(sklearn.base.ClassNamePrefixFeaturesOutMixin):
        def get_feature_names_out(
            self, input_features: ArrayLike | None = None
        ) -> NDArray[Any]: ...

    class OneToOneFeatureMixin(sklearn.base.OneToOneFeatureMixin):
        def get_feature_names_out(
            self, input_features: ArrayLike | None = None
        ) -> NDArray[Any]: ...

else:
    from sklearn.base import (
        BaseEstimator,
        ClassNamePrefixFeaturesOutMixin,
        OneToOneFeatureMixin,
        TransformerMixin,
    )

__all__ = [
    "BaseEstimator",
    "ClassNamePrefixFeaturesOutMixin",
    "OneToOneFeatureMixin",
    "TransformerMixin",
    "available_if",
    "fit_context",
]

Method = TypeVar("Method", bound=Callable[..., Any])


def fit_context(method: Method) -> Method:
    """Check the parameters before a fit, as scikit-learn's own estimators do."""
    checked: Method = sklearn.base._fit_context(prefer_skip_nested_validation=True)(
        method
    )
    return checked


def available_if(check: Callable[[Any], bool]) -> Callable[[Method], Method]:
    """Hide a method from objects for which the check is false or raises."""
    decorator: Callable[[Method], Method] = metaestimators.available_if(check)
    return decorator
