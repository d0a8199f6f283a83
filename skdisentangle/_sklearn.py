"""scikit-learn's bases and decorators, with the types that it does not give."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import sklearn.base
from sklearn.utils import metaestimators

if TYPE_CHECKING:
    import numpy as np
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
    "ComponentCoef",
    "OneToOneFeatureMixin",
    "TransformerMixin",
    "all_or_nothing",
    "available_if",
    "fit_context",
]

#: Module of scikit-learn's whose functions ask for coefficients of columns.
SELECTION = "sklearn.feature_selection._base"

Method = TypeVar("Method", bound=Callable[..., Any])


class ComponentCoef:
    """The attribute ``coef_`` where it is over components, not over columns of X.

    scikit-learn's selectors of columns, ``RFE`` and ``SelectFromModel``, would treat it as
    one over columns and silently select wrong ones, so they get an error.
    """

    def __get__(self, estimator: Any, owner: type) -> NDArray[np.float64]:
        if estimator is None:
            raise AttributeError(
                f"coef_ exists only after the fit of a {owner.__name__}."
            )
        if "coef_" not in vars(estimator):
            raise AttributeError(
                f"This {owner.__name__} is not fitted and has no coef_."
            )
        # There is nothing else by which an estimator knows who asks.
        if sys._getframe(1).f_globals.get("__name__") == SELECTION:
            raise TypeError(
                f"The coef_ of {owner.__name__} is over components, not over columns of X, "
                "so it cannot select columns. Set importance_getter to a function of the "
                "estimator that returns one number per column, such as one based on "
                "skdisentangle.inspection.input_effects, or use "
                "sklearn.feature_selection.SequentialFeatureSelector."
            )
        coef: NDArray[np.float64] = vars(estimator)["coef_"]
        return coef

    def __set__(self, estimator: Any, coef: NDArray[np.float64]) -> None:
        vars(estimator)["coef_"] = coef

    def __delete__(self, estimator: Any) -> None:
        del vars(estimator)["coef_"]


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


@contextmanager
def all_or_nothing(estimator: Any) -> Iterator[None]:
    """Leave an estimator as it was if a fit of it ends in an error.

    What scikit-learn's callbacks keep on the estimator is theirs to clear.
    """
    held = vars(estimator)
    before = dict(held)
    try:
        yield
    except BaseException:
        theirs = {k: v for k, v in held.items() if k.startswith(("_callback", "_skl"))}
        held.clear()
        held.update(before, **theirs)
        raise
