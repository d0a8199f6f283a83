"""Blocks of columns that are to count alike: features, and the columns they were made of."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import FLOAT_DTYPES, check_is_fitted, validate_data

from ._sklearn import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, fit_context

__all__ = ["BlockScaler"]


class BlockScaler(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Scale all columns by one number, so that their variances have a given sum.

    Known as block scaling where tables of different widths are analysed together: the
    columns of a block keep their variances relative to each other, and a head with one
    penalty for all coefficients relies on each block as much as on the others, whatever
    their numbers of columns. A few components beside a thousand columns would else hardly
    count where labels are few. To count columns of a block alike, put a
    :class:`~sklearn.preprocessing.StandardScaler` before.

    Parameters
    ----------
    total_variance : float, default=10.0
        Sum of the variances of the columns, after scaling, over the rows of the fit. What
        matters to a head is the same for all blocks; the larger, the less a given penalty
        holds the head back.

    Attributes
    ----------
    scale_ : float
        What columns are multiplied by; 1 where no column varies.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str, shape (n_features,)
        Names of the columns, if they were all strings.

    See Also
    --------
    sklearn.pipeline.FeatureUnion : Puts blocks side by side.

    References
    ----------
    J. A. Westerhuis, T. Kourti and J. F. MacGregor, "Analysis of multiblock and
    hierarchical PCA and PLS models", Journal of Chemometrics 12, 1998.

    Examples
    --------
    >>> import numpy as np
    >>> from skdisentangle.preprocessing import BlockScaler
    >>> X = np.random.default_rng(0).normal(size=(100, 50))
    >>> Z = BlockScaler().fit_transform(X)
    >>> round(float(Z.var(axis=0).sum()), 6)
    10.0

    Components of a disentangler beside the columns, in equal shares:

    >>> from sklearn.pipeline import FeatureUnion, make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skdisentangle import SparseSharedDisentangler
    >>> both = FeatureUnion(
    ...     [
    ...         ("dis", make_pipeline(SparseSharedDisentangler(), BlockScaler())),
    ...         ("raw", make_pipeline(StandardScaler(), BlockScaler())),
    ...     ]
    ... )
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "total_variance": [Interval(Real, 0, None, closed="neither")]
    }

    def __init__(self, total_variance: float = 10.0) -> None:
        self.total_variance = total_variance

    @fit_context
    def fit(self, X: Any, y: Any = None) -> Self:
        """Sum the variances of the columns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : ignored
            There for pipelines.

        Returns
        -------
        self : BlockScaler
            Itself.

        Raises
        ------
        ValueError
            If X is not finite, or `total_variance` not a positive number.
        """
        X = validate_data(self, X, dtype=FLOAT_DTYPES)
        rounding = 4 * np.finfo(X.dtype).eps * np.abs(X / 2).max(axis=0)
        varying = X[:, np.ptp(X / 2, axis=0) > rounding]
        if varying.size == 0:
            self.scale_ = 1.0
            return self
        # Of columns divided by the largest value, no square can overflow or vanish.
        largest = float(np.abs(varying).max())
        variances = (varying / largest).var(axis=0, dtype=np.float64)
        self.scale_ = float(np.sqrt(self.total_variance / variances.sum())) / largest
        return self

    def transform(self, X: Any) -> NDArray[np.floating]:
        """Scale rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        X_out : ndarray of shape (n_samples, n_features)
            Rows, in the precision that they came in.

        Raises
        ------
        NotFittedError
            Before a fit.
        ValueError
            If X has another number of columns than at the fit, or is not finite.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=FLOAT_DTYPES, reset=False)
        scaled: NDArray[np.floating] = X * X.dtype.type(self.scale_)
        return scaled

    def inverse_transform(self, X: Any) -> NDArray[np.floating]:
        """Undo the scaling.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Scaled rows.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features)
            Rows as they were.

        Raises
        ------
        NotFittedError
            Before a fit.
        ValueError
            If X has another number of columns than at the fit, or is not finite.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=FLOAT_DTYPES, reset=False)
        original: NDArray[np.floating] = X / X.dtype.type(self.scale_)
        return original
