"""Warnings that point to the user's line of code, and that are not repeated."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import joblib
import sklearn

__all__ = ["each_once", "warn"]

#: Folders whose lines are none of the user's.
_INSIDE = tuple(
    str(Path(path).parent)
    for path in (__file__, sklearn.__file__, joblib.__file__)
    if path is not None
)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn with the line that called into this package, however deep the call is."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


@contextmanager
def each_once() -> Iterator[None]:
    """Give each warning of a block once, at its end. Also a decorator.

    A block that transforms the same rows many times would repeat what scikit-learn says of
    them.
    """
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            yield
    finally:
        for said in {(w.category, str(w.message)): w for w in caught}.values():
            warnings.warn_explicit(
                said.message, said.category, said.filename, said.lineno
            )
