"""Load a model from a file, and compute the features of rows."""

from __future__ import annotations

import hashlib
import os
import struct
import warnings
import zlib
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .manifest import file_hash
from .readers import KINDS
from .tables import check_numbers

#: Bytes of the header of a safetensors file, at the most, as the format has it.
MAX_HEADER = 100_000_000

__all__ = ["column_names", "feature_names", "features_of", "load_model"]


def load_model(path: str | os.PathLike[str]) -> tuple[Any, str]:
    """Estimator in a file, and the checksum of the file."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(
            "model must be the path of a file, so that you can resume the extraction; got "
            f"{type(path).__name__}. Write the file with joblib.dump(model, path)."
        )
    with open(path, "rb") as file:
        start = file.read(9)
    if _are_tensors(start) or Path(path).suffix.lower() == ".safetensors":
        from ..disentangler import SparseSharedDisentangler  # loads torch, for seconds

        return SparseSharedDisentangler.load(path), file_hash(path)
    if Path(path).suffix.lower() in KINDS:
        raise ValueError(
            f"model: {os.fspath(path)!r} is a file of rows, by its name. Give the model first, "
            "then the rows."
        )
    try:
        with open(path, "rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            estimator = joblib.load(file)
    except (
        ArithmeticError,
        AttributeError,
        EOFError,
        ImportError,
        LookupError,
        RuntimeError,
        TypeError,
        UnpicklingError,
        ValueError,
        struct.error,
        zlib.error,
    ) as error:  # what loading a broken or foreign pickle can raise
        raise ValueError(
            f"model: {os.fspath(path)!r} must be a file written by joblib.dump, and the "
            "packages that it needs must be installed. Loading it failed with "
            f"{type(error).__name__}: {error}."
        ) from error
    if not hasattr(estimator, "transform"):
        what = f"a {type(estimator).__name__}, which has no transform"
        if hasattr(estimator, "steps"):
            what += "; save pipeline[:-1], the steps before the last"
        raise ValueError(f"model: {os.fspath(path)!r} holds {what}.")
    return estimator, checksum


def _are_tensors(start: bytes) -> bool:
    """Whether a file that starts so is one of safetensors; no file of joblib does.

    Such a file starts with the length of its header, then the header, a JSON object.
    """
    return int.from_bytes(start[:8], "little") <= MAX_HEADER and start[8:] == b"{"


def column_names(estimator: Any) -> Any:
    """Names of the columns that the model was fitted on; None if it does not know them."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        for _, step in getattr(estimator, "steps", ()):
            if step not in (None, "passthrough"):
                return column_names(step)
    return names


def _knows_names(estimator: Any) -> bool:
    """Whether the model, or a part of it, looks at the names of columns."""
    parts = [
        *getattr(estimator, "steps", ()),
        *getattr(estimator, "transformer_list", ()),
    ]
    return hasattr(estimator, "feature_names_in_") or any(
        _knows_names(part) for _, part in parts
    )


def features_of(estimator: Any, rows: Any) -> NDArray[Any]:
    """Features of a block of rows."""
    if len(rows) == 0:
        raise ValueError("input must hold at least one row; got none.")
    if hasattr(rows, "columns") and not _knows_names(estimator):
        check_numbers(
            rows, "The model was fitted without column names, so it takes all columns."
        )
        rows = rows.to_numpy()
        if rows.dtype.kind != "f":  # whole numbers in a block, if none is missing there
            rows = rows.astype(np.float64)
    with warnings.catch_warnings():
        # .npy files have no names
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        try:
            features = estimator.transform(rows)
        except TypeError as error:
            raise ValueError(
                f"input: the model cannot take its rows: {error}"
            ) from error
    if sparse.issparse(features):
        raise ValueError(
            "model: transform must return a dense array; got a sparse one."
        )
    features = np.ascontiguousarray(features)
    if (
        features.ndim != 2
        or len(features) != len(rows)
        or features.dtype.kind not in "fiub"
    ):
        raise ValueError(
            f"model: transform of {len(rows)} rows must return numbers of shape "
            f"({len(rows)}, n_features_out); got {features.dtype} of shape "
            f"{features.shape}."
        )
    return features


def feature_names(estimator: Any, width: int) -> list[str]:
    """Names of the features, numbered if the model does not name them."""
    try:
        names = [str(name) for name in estimator.get_feature_names_out()]
    except (AttributeError, ValueError):  # a step does not know them
        names = []
    if len(names) == len(set(names)) == width:  # a table has each name once
        return names
    return [f"feature{j}" for j in range(width)]
