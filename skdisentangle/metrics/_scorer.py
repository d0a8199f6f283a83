"""Make a scorer for scikit-learn's searches from a metric of factors and codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.utils.metadata_routing import MetadataRequest


class DisentanglementScorer:
    """Result of :func:`make_disentanglement_scorer`. Call it, do not construct it.

    Parameters
    ----------
    metric : callable
        ``metric(factors, codes, **kwargs)``.
    attribute : str or None
        Attribute of the metric's result that is the score.
    greater_is_better : bool
        If False, the sign is turned.
    kwargs : dict
        Further arguments of the metric.
    """

    def __init__(
        self,
        metric: Callable[..., Any],
        attribute: str | None,
        greater_is_better: bool,
        kwargs: dict[str, Any],
    ) -> None:
        self._metric = metric
        self._attribute = attribute
        self._sign = 1 if greater_is_better else -1
        self._kwargs = kwargs
        self._factors_request: bool | str | None = None

    def __call__(
        self, estimator: Any, X: Any, y: Any = None, factors: Any = None
    ) -> float:
        """Score the codes ``estimator.transform(X)``.

        Parameters
        ----------
        estimator : fitted transformer
            Anything with ``transform``.
        X : array-like
            What it transforms.
        y : array-like of shape (n_samples, n_factors), optional
            The factors, as searches pass them.
        factors : array-like of shape (n_samples, n_factors), optional
            The factors, if `y` is something else; through metadata routing.

        Returns
        -------
        score : float
        """
        truth = y if factors is None else factors
        if truth is None:
            raise ValueError(
                "factors: got None. Pass the true factors as y, or as factors= with "
                "metadata routing and set_score_request(factors=True)."
            )
        if not hasattr(estimator, "transform"):
            raise TypeError(
                f"estimator: {type(estimator).__name__} has no transform, so there are "
                "no codes to score. Pass a transformer, or the part of a pipeline that "
                "ends in one, such as pipeline[:-1]."
            )
        result = self._metric(truth, estimator.transform(X), **self._kwargs)
        if self._attribute is not None:
            result = getattr(result, self._attribute)
        try:
            return self._sign * float(result)
        except TypeError as error:
            raise TypeError(
                f"metric: {self!r} returned a {type(result).__name__}; expected a "
                "number. Name the one to use with attribute=."
            ) from error

    def set_score_request(self, *, factors: bool | str | None) -> DisentanglementScorer:
        """Request the metadata `factors` (metadata routing of scikit-learn).

        Parameters
        ----------
        factors : bool, str or None
            True to request it, a string to request it by that name, False not to, None
            to raise an error if it is passed.

        Returns
        -------
        scorer : DisentanglementScorer
            A copy of this scorer with that request.
        """
        copy = DisentanglementScorer(
            self._metric, self._attribute, self._sign == 1, dict(self._kwargs)
        )
        copy._factors_request = factors
        return copy

    def get_metadata_routing(self) -> MetadataRequest:
        """Return what this scorer requests, for scikit-learn.

        Returns
        -------
        routing : MetadataRequest
        """
        request = MetadataRequest(owner=type(self).__name__)
        request.score.add_request(param="factors", alias=self._factors_request)
        return request

    def __repr__(self) -> str:
        name = getattr(self._metric, "__name__", repr(self._metric))
        parts = [name]
        if self._attribute is not None:
            parts.append(f"attribute={self._attribute!r}")
        if self._sign == -1:
            parts.append("greater_is_better=False")
        parts += [f"{key}={value!r}" for key, value in self._kwargs.items()]
        return f"make_disentanglement_scorer({', '.join(parts)})"


def make_disentanglement_scorer(
    metric: Callable[..., Any],
    *,
    attribute: str | None = None,
    greater_is_better: bool = True,
    **kwargs: Any,
) -> DisentanglementScorer:
    """Make a scorer that scores the codes of a transformer against true factors.

    Give it as ``scoring`` to ``GridSearchCV``, ``cross_validate`` and the like. It calls
    ``transform``, unlike a scorer from scikit-learn's ``make_scorer``.

    Parameters
    ----------
    metric : callable
        ``metric(factors, codes, **kwargs)``, such as those of this module.
    attribute : str or None, default=None
        Attribute to use as the score if the metric returns an object, such as
        ``"infom"`` of :func:`infomec_scores`.
    greater_is_better : bool, default=True
        Whether larger values are better, as for all metrics of this module. False flips the
        sign.
    **kwargs : dict
        Further arguments for the metric.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y)`` with the factors as `y`, or ``scorer(estimator, X,
        factors=factors)``. With metadata routing, ``set_score_request(factors=True)``
        lets a search pass `factors` and leaves `y` free for something else.

    Raises
    ------
    TypeError
        If `metric` cannot be called.

    Notes
    -----
    Each metric has its own formula, range and chance level; the scorer adds nothing.
    Scorers pickle if the metric does.

    *Pitfalls*: scores on small validation folds are noisier, and some metrics have a
    chance level that rises for few rows.

    References
    ----------
    The protocol of scorers: scikit-learn's user guide, "Callable scorers".

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.model_selection import cross_val_score
    >>> from skdisentangle.metrics import make_disentanglement_scorer, mcc_score
    >>> factors = np.random.default_rng(0).normal(size=(300, 3)) * [1, 2, 4]
    >>> scorer = make_disentanglement_scorer(mcc_score, method="spearman")
    >>> cross_val_score(PCA(), factors, factors, scoring=scorer, cv=3).round(1)
    array([1., 1., 1.])
    """
    if not callable(metric):
        raise TypeError(
            f"metric: got {metric!r}; expected a callable (factors, codes) -> score."
        )
    return DisentanglementScorer(metric, attribute, greater_is_better, kwargs)
