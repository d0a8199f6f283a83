"""Scale blocks of columns, such as components and raw columns, to equal importance."""

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

    Use this block scaling when you put tables of different widths side by side, such as a
    few components and a thousand columns. A model with one penalty for all coefficients
    then relies on each block equally, whatever its number of columns. Without it, the few
    components hardly count when labels are few. Within a block, columns keep their relative
    variances. To make these equal, too, put a :class:`~sklearn.preprocessing.StandardScaler`
    before it.

    Parameters
    ----------
    total_variance : float, default=10.0
        Sum of the variances of the scaled columns over the rows of the fit. Use the same
        value for all blocks. The larger it is, the less a given penalty shrinks the model.

    Attributes
    ----------
    scale_ : float
        Factor that multiplies all columns; 1 if no column varies.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str, shape (n_features,)
        Names of the columns, if all are strings.

    See Also
    --------
    sklearn.pipeline.FeatureUnion : Put blocks side by side.

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

    Put the components of a disentangler beside the columns, with equal importance:

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
        """Compute the scale from the variances of the columns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : ignored
            Not used, present for API consistency.

        Returns
        -------
        self : BlockScaler
            The fitted scaler.

        Raises
        ------
        ValueError
            If X is not finite, or `total_variance` is not a positive number.
        """
        X = validate_data(self, X, dtype=FLOAT_DTYPES)
        rounding = 4 * np.finfo(X.dtype).eps * np.abs(X / 2).max(axis=0)
        varying = X[:, np.ptp(X / 2, axis=0) > rounding]
        if varying.size == 0:
            self.scale_ = 1.0
            return self
        # Divide by the largest value first, so that no square overflows or underflows.
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
            Scaled rows, in the precision of X.

        Raises
        ------
        NotFittedError
            If the scaler is not fitted.
        ValueError
            If X does not have the columns of the fit, or is not finite.
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
            Rows on their original scale.

        Raises
        ------
        NotFittedError
            If the scaler is not fitted.
        ValueError
            If X does not have the columns of the fit, or is not finite.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=FLOAT_DTYPES, reset=False)
        original: NDArray[np.floating] = X / X.dtype.type(self.scale_)
        return original
