"""Dask collections, transformed lazily, block by block.

Nothing here imports Dask: whoever has a collection has it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import validate_data

__all__ = ["in_memory", "is_dask", "transform_blocks"]


def is_dask(X: Any) -> bool:
    """Whether X is a Dask array or data frame."""
    return type(X).__module__.startswith("dask.") and hasattr(X, "dask")


def in_memory(X: Any) -> Any:
    """A data frame or series of Dask as one of pandas, with its names; all else as it is."""
    return X.compute() if is_dask(X) and hasattr(X, "map_partitions") else X


def transform_blocks(estimator: Any, X: Any) -> Any:
    """Features of a Dask collection, as a collection of the same kind; nothing is computed.

    Parameters
    ----------
    estimator : SparseSharedDisentangler
        Fitted; each block goes through its ``transform``.
    X : dask.array.Array or dask.dataframe.DataFrame
        Blocks hold whole rows: an array that is cut between columns is put together.

    Returns
    -------
    dask.array.Array or dask.dataframe.DataFrame of shape (n_samples, n_features_out)
        In the chunks, or partitions, of X. Of a data frame the index is kept, and columns
        are named as by ``get_feature_names_out``.

    Raises
    ------
    ValueError
        If X has not the columns of the fit, or another output than the default is asked
        for with ``set_output``.
    TypeError
        If X is another Dask collection.
    """
    kind = _get_output_config("transform", estimator)["dense"]
    if kind != "default":
        raise ValueError(
            f"set_output(transform={kind!r}) cannot be lazy. For Dask collections use the "
            "default, which returns the kind of X."
        )
    if hasattr(X, "map_blocks"):
        return _of_array(estimator, X)
    if hasattr(X, "map_partitions") and hasattr(X, "columns"):
        return _of_frame(estimator, X)
    raise TypeError(
        "X must be a Dask array or a Dask data frame with columns; got "
        f"{type(X).__name__}."
    )


def _of_array(estimator: Any, X: Any) -> Any:
    if X.ndim != 2:
        raise ValueError(
            f"X must have 2 dimensions, rows and columns; got shape {X.shape}."
        )
    validate_data(estimator, X, reset=False, skip_check_array=True)
    if len(X.chunks[1]) > 1:
        X = X.rechunk({1: -1})
    dtype = np.dtype(np.float32 if X.dtype == np.float32 else np.float64)
    width = estimator._n_features_out
    return X.map_blocks(
        _array_block,
        estimator,
        dtype=dtype,
        chunks=(X.chunks[0], (width,)),
        meta=np.empty((0, width), dtype=dtype),
    )


def _of_frame(estimator: Any, X: Any) -> Any:
    validate_data(estimator, X._meta, reset=False, skip_check_array=True)
    # An empty frame, whose columns have the names and dtypes of the blocks'.
    return X.map_partitions(
        _frame_block, estimator, meta=_frame_block(X._meta, estimator)
    )


def _array_block(block: Any, estimator: Any) -> Any:
    if block.shape[0] == 0:  # which has no length, if it is sparse
        dtype = np.float32 if block.dtype == np.float32 else np.float64
        return np.empty((0, estimator._n_features_out), dtype=dtype)
    return estimator.transform(block)


def _frame_block(block: Any, estimator: Any) -> Any:
    narrow = all(dtype == np.float32 for dtype in block.dtypes)
    codes = np.empty(
        (len(block), estimator._n_features_out), np.float32 if narrow else np.float64
    )
    if len(block):
        codes[:] = estimator.transform(block)
    # The block's own kind of data frame: pandas here, whatever it is elsewhere.
    return type(block)(
        codes, index=block.index, columns=estimator.get_feature_names_out()
    )
