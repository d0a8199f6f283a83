"""Import packages that only parts of this one need."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

__all__ = ["import_extra"]


def import_extra(name: str, whose: str, install: str) -> Any:
    """Import an optional package.

    Parameters
    ----------
    name : str
        The package, or a module of it.
    whose : str
        What needs it, in the words of a user.
    install : str
        What ``pip install`` takes to get it.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        If it is not installed, or cannot be imported. The message says which, and how to
        install it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        if find_spec(package) is None:
            raise ImportError(
                f"{whose} needs {package}: pip install {install}."
            ) from error
        raise ImportError(
            f"{whose} needs {package}. It is installed, but cannot be imported: {error}"
        ) from error
