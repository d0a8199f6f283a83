"""Shared by the embedders: send rows through a frozen model in batches, with a cache."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any, ClassVar, NamedTuple, Protocol, Self
from weakref import WeakKeyDictionary

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .._sklearn import BaseEstimator, TransformerMixin, fit_context
from .._threads import thread_count, threads

__all__ = [
    "Embedder",
    "Features",
    "Model",
    "Trainable",
    "code_of",
    "digest",
    "module_key",
]

Features = NDArray[np.float32]

#: Part of every key of the cache: to be raised when features change.
CACHE_VERSION = 2


def digest(parts: Iterable[bytes]) -> str:
    """Hexadecimal digest of a sequence of bytes."""
    state = hashlib.sha256()
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.hexdigest()


def module_key(module: nn.Module) -> str:
    """Digest of a module: its classes, their code, settings, parameters and buffers."""
    parts: list[Any] = []
    for name, part in module.named_modules():
        kind = type(part)
        settings = {
            key: value
            for key, value in vars(part).items()
            if key != "training" and _is_plain(value)
        }
        code = [
            code_of(member.__code__)
            for base in kind.__mro__
            if base.__module__.split(".")[0] != "torch"
            for member in vars(base).values()
            if hasattr(member, "__code__")
        ]
        parts.append((name, kind.__module__, kind.__qualname__, code, settings))
        tensors = [*part.named_parameters(recurse=False)]
        tensors += [*part.named_buffers(recurse=False)]
        parts += [(key, joblib.hash(_array(value))) for key, value in tensors]
    return str(joblib.hash(parts))


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    value = tensor.detach().cpu().contiguous()
    if value.dtype == torch.bfloat16:  # numpy has no such type
        value = value.view(torch.int16)
    return value.numpy()


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def code_of(code: CodeType) -> tuple[Any, ...]:
    """What a function does, whatever file and line it is in."""
    constants: list[Any] = []
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            constants.append(code_of(constant))
        elif isinstance(constant, frozenset):  # the order differs between processes
            constants.append(sorted(map(repr, constant)))
        else:
            constants.append(repr(constant))
    return code.co_code, code.co_names, constants


class _NotThereError(Exception):
    """The cache has no features for a key, or can no longer read them."""


def _keep(key: str, row: Features | None) -> Features:
    """What joblib's cache holds: the features of one row, whose key is known."""
    if row is None:
        raise _NotThereError(key)
    return row


def _look_up(store: Any, key: str) -> Features | None:
    """Features from the cache; None if they are not there."""
    if not store.check_call_in_cache(key, None):
        return None
    try:
        found: Features = store(key, None)
    except _NotThereError:  # removed since, or damaged
        return None
    return found


@contextmanager
def _naming(store: Any) -> Iterator[None]:
    """Say which cache it is that cannot be written: joblib does not, of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = store.store_backend.location
        raise


class Model(NamedTuple):
    """A model that is ready.

    Attributes
    ----------
    embed : callable
        Called with the numbers and the content of some rows, gives their features,
        shape (n, n_features).
    key : callable
        Gives the digest of all that decides the features, but for the row.
    """

    embed: Callable[[Sequence[int], Sequence[Any]], Features]
    key: Callable[[], str]


class Trainable(NamedTuple):
    """A copy of a model whose weights may be trained.

    Attributes
    ----------
    module : torch.nn.Module
        In eval mode, so that normalisation by batch keeps the statistics that it came with.
    prepare : callable
        Called with the numbers and the content of some rows, gives what `forward` takes.
    augment : callable
        Called with what `prepare` gave and a generator, gives the same with random changes
        that leave the labels as they are.
    forward : callable
        Gives the features, a tensor of shape (n, n_features).
    """

    module: nn.Module
    prepare: Callable[[Sequence[int], Sequence[Any]], Any]
    augment: Callable[[Any, torch.Generator], Any]
    forward: Callable[[Any], torch.Tensor]


class Rows(Protocol):
    """Rows that are read when they are needed."""

    def __len__(self) -> int: ...

    def read(self, rows: range) -> list[Any]:
        """Give the content of consecutive rows."""


class _State(NamedTuple):
    """What an embedder remembers between two calls; not part of it, nor of its pickle."""

    source: tuple[Any, ...]
    model: Model | None
    n_features: int | None


_STATES: WeakKeyDictionary[Embedder, _State] = WeakKeyDictionary()


class Embedder(TransformerMixin, BaseEstimator):
    """A stateless transformer that sends rows through a frozen model."""

    #: Batches that are handed to the model at a time.
    _batches_at_once: ClassVar[int] = 1

    #: The parameter that is the model.
    _model_name: ClassVar[str]

    memory: str | Path | joblib.Memory | None
    batch_size: int
    n_threads: int
    verbose: bool

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = []
        return tags

    @abstractmethod
    def _rows(self, X: Any) -> Rows:
        """Rows of X, checked as far as can be done without reading them."""

    @abstractmethod
    def _digest(self, row: Any) -> str:
        """Digest of the content of a row."""

    @abstractmethod
    def _name(self, number: int, row: Any) -> str:
        """What messages call a row, by its number in X and its content."""

    @abstractmethod
    def _source(self) -> tuple[Any, ...]:
        """What the model is made of: while it is equal, what is known of it holds."""

    @abstractmethod
    def _keeps_model(self) -> bool:
        """Whether a loaded model may be kept, as the source says all about it."""

    @abstractmethod
    def _load(self) -> Model:
        """Make the model ready."""

    @abstractmethod
    def _blank(self) -> Any:
        """Content of a row, whatever it be."""

    @abstractmethod
    def _trainable(self) -> Trainable:
        """A copy of the model that may be trained."""

    def _architecture(self) -> nn.Module:
        """The model, whatever its weights are."""
        return self._trainable().module

    @abstractmethod
    def _with_model(self, module: nn.Module) -> Self:
        """The same embedder of another model."""

    @fit_context
    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the parameters, X and the files of the model. It learns nothing.

        Parameters
        ----------
        X : see `transform`
            Rows.
        y : ignored
            Not used, present for API consistency.

        Returns
        -------
        self : object
            The embedder.

        Raises
        ------
        ValueError, TypeError
            If a parameter, or X, is not as described.
        FileNotFoundError
            If the model or the file of its weights does not exist.
        """
        self._rows(X)
        self._source()
        return self

    def _transform(self, X: Any) -> Features:
        self._validate_params()
        rows = self._rows(X)
        if not len(rows):
            raise ValueError("X must have at least one row; got none.")
        model = self._model()
        with threads(thread_count(self.n_threads)):
            out = self._embedded(rows, model)
        self._note(out.shape[1])
        return out

    def _embedded(self, rows: Rows, model: Model) -> Features:
        store = self._store()
        key = "" if store is None else model.key()
        out: Features | None = None
        at_once = self.batch_size * self._batches_at_once
        told = 0
        for start in range(0, len(rows), at_once):
            here = range(start, min(start + at_once, len(rows)))
            features = self._features(here, rows.read(here), model, store, key)
            if out is None:
                out = np.empty((len(rows), features.shape[1]), dtype=np.float32)
            out[start : here.stop] = features
            if self.verbose and 10 * here.stop // len(rows) > told:
                told = 10 * here.stop // len(rows)
                print(f"[{type(self).__name__}] {here.stop} of {len(rows)} rows")
        assert out is not None
        return out

    def _features(
        self, numbers: range, rows: list[Any], model: Model, store: Any, key: str
    ) -> Features:
        """Features of some rows, from the cache as far as they are there."""
        if store is None:
            return self._embed(numbers, rows, model)
        keys = [f"{key}-{self._digest(row)}" for row in rows]
        with _naming(store):
            found = [_look_up(store, key) for key in keys]
        missing = [i for i, features in enumerate(found) if features is None]
        if missing:
            new = self._embed(
                [numbers[i] for i in missing], [rows[i] for i in missing], model
            )
            with _naming(store):
                for i, features in zip(missing, new, strict=True):
                    found[i] = store(keys[i], features)
        return np.array(found, dtype=np.float32)

    def _embed(
        self, numbers: Sequence[int], rows: Sequence[Any], model: Model
    ) -> Features:
        """Features of some rows, all of them finite, so that they may be kept."""
        features = model.embed(numbers, rows)
        finite = np.isfinite(features)
        if not finite.all():
            first = int(finite.all(axis=1).argmin())
            raise ValueError(
                f"The features of {self._name(numbers[first], rows[first])} must be "
                f"finite; {np.count_nonzero(~finite[first])} of the "
                f"{features.shape[1]} values from the {self._model_name} are NaN or "
                f"infinite. Leave this row out, or use another {self._model_name}."
            )
        return features

    def _store(self) -> Any:
        """Joblib's cache of :func:`_keep`, if one is wanted."""
        memory = self.memory
        if memory is None:
            return None
        if isinstance(memory, str | Path):
            memory = joblib.Memory(memory, verbose=0)
        if memory.location is None:
            return None
        # a row is not a job that a user wants to hear of
        return memory.cache(_keep, ignore=["row"], verbose=0, mmap_mode=None)

    def _known(self) -> _State:
        """What is known of the model, as the parameters are now."""
        source = self._source()
        state = _STATES.get(self)
        if state is None or state.source != source:
            _STATES[self] = state = _State(source, None, None)
        return state

    def _model(self) -> Model:
        state = self._known()
        if state.model is not None:
            return state.model
        model = self._load()
        if self._keeps_model():
            _STATES[self] = state._replace(model=model)
        return model

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the features: the class name in lower case and a number.

        Parameters
        ----------
        input_features : ignored
            Not used, present for API consistency.

        Returns
        -------
        names : ndarray of str
            One per feature. To count them before the first transform, a blank row goes
            through the model.
        """
        self._validate_params()
        n_features = self._known().n_features
        if n_features is None:
            model = self._model()
            with threads(thread_count(self.n_threads)):
                n_features = model.embed([0], [self._blank()]).shape[1]
            self._note(n_features)
        name = type(self).__name__.lower()
        return np.array([f"{name}{i}" for i in range(n_features)], dtype=np.object_)

    def _note(self, n_features: int) -> None:
        _STATES[self] = _STATES[self]._replace(n_features=n_features)
