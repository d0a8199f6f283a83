"""The file format: turn bytes into a JSON document and arrays, and back.

A file is in the `safetensors <https://github.com/huggingface/safetensors>`_ format. It holds
the arrays, and in the header's metadata, under the key ``"skdisentangle"``, a JSON document
with everything else. A checksum over every byte detects damage. It is not a signature:
anybody who can write a file can write any weights. Entries of the document are read by name
and checked by kind. Nothing is unpickled, imported or called by a name from the file.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .._extras import import_extra
from .._version import __version__

__all__ = [
    "ABOVE_ZERO",
    "FORMAT",
    "Content",
    "pack",
    "unpack",
]

#: Version of the layout of a file. It is raised when older packages could not read, or
#: would misread, what this one writes; older files are to be read for ever.
FORMAT = 1

#: Key of the document in the metadata; and the longest header that safetensors takes.
KEY, MAX_HEADER = "skdisentangle", 100_000_000

#: The checksum's place, in a document inside of a JSON string; and before it is known.
CHECKSUM_PLACE, NO_CHECKSUM = rb"\"sha256\":\"", "0" * 64

#: The least number that is no zero, for scales.
ABOVE_ZERO = math.ulp(0.0)

#: Data types of arrays and labels, by the names that they go by in a file.
NUMPY_DTYPE = r"\|O|\|b1|[<|][iu][1248]|<f[248]|[<|][US]\d{1,6}"

#: Strings of numpy of variable width, by the object that stands for a missing one.
STRING_DTYPES: dict[str, dict[str, Any]] = {
    "T": {},
    "T(nan)": {"na_object": math.nan},
    "T(None)": {"na_object": None},
}

#: How other kinds of file begin.
OTHER_FILES = {
    b"PK": "a zip archive, such as numpy.savez and torch.save write",
    b"\x80": "a pickle, which can run any code when it is loaded, and was not",
    b"\x1f\x8b": "compressed with gzip",
    **dict.fromkeys(
        (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"),
        "compressed, perhaps by joblib.dump",
    ),
    b"\x93NUMPY": "an array of numpy.save",
    b"\x89HDF": "an HDF5 file",
}


# -- bytes -----------------------------------------------------------------------------


def import_safetensors() -> Any:
    """Import safetensors; an ImportError says how to install it."""
    needed = "To save or load, skdisentangle", "'skdisentangle[files]'"
    import_extra("safetensors.numpy", *needed)
    return import_extra("safetensors", *needed)


def pack(document: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> bytes:
    """Bytes of a file, with their checksum."""
    safetensors = import_safetensors()
    text = json.dumps(
        {"sha256": NO_CHECKSUM, **document}, allow_nan=False, separators=(",", ":")
    )
    # safetensors takes memory as it lies, whatever the strides.
    dense = {name: np.array(array, order="C") for name, array in arrays.items()}
    try:
        data = safetensors.numpy.save(dense, {KEY: text})
    except safetensors.SafetensorError as error:
        raise ValueError(f"safetensors says: {error}.") from error
    start, stop = checksum_place(data, 8 + int.from_bytes(data[:8], "little"))
    checksum = hashlib.sha256(data).hexdigest().encode()
    return bytes(data[:start]) + checksum + bytes(data[stop:])


def checksum_place(data: bytes, end_of_header: int) -> tuple[int, int]:
    """Where the checksum stands, a SHA-256 of the file with zeros in its place."""
    start = data.find(CHECKSUM_PLACE, 0, end_of_header) + len(CHECKSUM_PLACE)
    if start < len(CHECKSUM_PLACE):
        raise ValueError("it is damaged: its header holds no checksum.")
    return start, start + len(NO_CHECKSUM)


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Document and arrays of a file's bytes, after checking that they are undamaged."""
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
            f"it is damaged: its header is not that of a safetensors file ({error})."
        ) from error
    if text is None:
        raise ValueError(
            "it is a damaged or different safetensors file: its metadata has no "
            f"{KEY!r}. Only files of save() can be loaded."
        )
    version, by = document.get("format"), document.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError(
            f"it is damaged: its format should be a number, not {version!r:.50}."
        )
    if version > FORMAT:
        raise ValueError(
            f"it has format {version}, written by skdisentangle {by!r:.50}; this is "
            f"skdisentangle {__version__}, which reads formats up to {FORMAT}. Install a "
            "later version."
        )
    start, stop = checksum_place(data, 8 + size)
    said = data[start:stop].decode("latin-1")
    found = hashlib.sha256(data[:start])
    found.update(NO_CHECKSUM.encode())
    found.update(data[stop:])
    if found.hexdigest() != said:
        raise ValueError(
            f"it is damaged or cut short: its checksum is {found.hexdigest()[:16]}..., and "
            f"should be {said[:16]!r}.... Copy it again, or save the estimator again."
        )
    safetensors = import_safetensors()
    try:
        arrays = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"its arrays are not valid ({error}).") from error
    return document, arrays


def _json(text: str | bytes) -> Any:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"it should be an object, not {found!r:.50}")
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
    return "it is not a safetensors file. Only files of save() can be loaded."


# -- values and arrays -----------------------------------------------------------------


class Content:
    """What a file says, asked for by name and checked to be of the kind it should be."""

    def __init__(self, document: Any, arrays: dict[str, NDArray[Any]]) -> None:
        if not isinstance(document, dict):
            raise ValueError(f"it should be an object, not {document!r:.80}.")
        self.document: dict[str, Any] = document
        self.arrays = arrays

    def get(self, name: str, kind: type) -> Any:
        """A value of this kind."""
        value = self.document.get(name)
        if kind is float:
            value = restored(value)
            if isinstance(value, float):
                return value
        elif isinstance(value, kind) and (kind is not int or is_int(value)):
            return value
        raise ValueError(f"{name!r} should be a {kind.__name__}; got {value!r:.80}.")

    def number(self, name: str, kind: type = float, *, least: float = -math.inf) -> Any:
        """A finite number that is not below another."""
        value = self.get(name, kind)
        if not math.isfinite(value) or value < least:
            raise ValueError(f"{name!r} should be {_range(least)}; got {value!r:.50}.")
        return value

    def part(self, name: str) -> Content:
        return Content(self.get(name, dict), self.arrays)

    def array(
        self,
        name: str,
        shape: tuple[int | None, ...],
        dtype: Any = np.float64,
        *,
        least: float = -math.inf,
    ) -> NDArray[Any]:
        """A copy of an array of finite numbers; None stands for any length."""
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
        found = np.array(array, dtype=dtype)
        wrong = ~np.isfinite(found) | (found < least)
        if wrong.any():
            raise ValueError(
                f"the numbers of {name!r} should be {_range(least)}; got "
                f"{found[wrong][0].item()!r}."
            )
        return found


def _range(least: float) -> str:
    if least == -math.inf:
        return "finite"
    return (
        "above zero and finite" if least == ABOVE_ZERO else f"finite, at least {least}"
    )


def plain(value: Any) -> Any:
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
        return {"tuple": [plain(each) for each in value]}
    if isinstance(value, Mapping):
        return {"mapping": [[plain(k), plain(v)] for k, v in value.items()]}
    if isinstance(value, list | range):
        return [plain(each) for each in value]
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {"array": plain(value.tolist()), "dtype": numpy_name(value.dtype)}
    if hasattr(value, "__array__"):
        return plain(np.asarray(value).tolist())
    raise TypeError(f"{type(value).__name__} cannot be saved")


def restored(value: Any) -> Any:
    """A value that :func:`plain` has made JSON of."""
    if isinstance(value, list):
        return [restored(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = Content(value, {})
    if "float" in value and value["float"] in ("nan", "inf", "-inf"):
        return float(value["float"])
    if "tuple" in value:
        return tuple(restored(found.get("tuple", list)))
    if "mapping" in value:
        pairs = restored(found.get("mapping", list))
        if all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            try:
                return dict(pairs)
            except TypeError as error:
                raise ValueError(f"{value!r:.80} is not a mapping: {error}.") from error
    if "array" in value and found.get("dtype", str)[1:2] in "biuf":
        try:
            return np.array(
                restored(found.get("array", list)), numpy_dtype(value["dtype"])
            )
        except (OverflowError, TypeError) as error:
            raise ValueError(f"{value!r:.80} is not an array: {error}.") from error
    raise ValueError(f"{value!r:.80} is not of a kind that a file can hold.")


def as_numpy(array: Any) -> NDArray[Any]:
    found: NDArray[Any] = (
        array.detach().cpu().numpy() if isinstance(array, Tensor) else array
    )
    return found


def narrowed(array: NDArray[Any]) -> NDArray[Any]:
    """In single precision, if that holds every bit: most fits are computed in it."""
    if array.dtype != np.float64:
        return array
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    return single if np.array_equal(single, array) else array


def is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_list_of(values: Any, *kinds: type) -> bool:
    return isinstance(values, list) and all(type(value) in kinds for value in values)


def numpy_name(dtype: Any) -> str:
    if dtype.kind != "T":
        return str(dtype.newbyteorder("<").str)
    missing = getattr(dtype, "na_object", "")
    return "T" if isinstance(missing, str) else f"T({missing})"


def numpy_dtype(name: str) -> Any:
    if name in STRING_DTYPES and hasattr(np.dtypes, "StringDType"):
        return np.dtypes.StringDType(**STRING_DTYPES[name])
    if not re.fullmatch(NUMPY_DTYPE, name):
        raise ValueError(f"labels of data type {name!r:.50} cannot be saved.")
    return np.dtype(name)
