"""The table of components as a data frame. Using it needs pandas."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from ._text import as_text

try:
    from pandas import DataFrame
except ImportError:  # the module is imported without it, too
    DataFrame = object

__all__ = ["Description"]


class Description(DataFrame):  # type: ignore[misc]
    """A data frame that prints as text, and that a notebook shows with pictures of the rows.

    What is selected from it is a plain data frame.
    """

    _metadata: ClassVar[list[str]] = ["_html"]
    _html: str

    @classmethod
    def of(cls, records: list[dict[str, Any]], html: str) -> Self:
        """The data frame of some records, and the HTML that stands for it."""
        frame = cls(DataFrame(records).set_index("component"))
        frame._html = html
        return frame

    def __repr__(self) -> str:
        if self.index.name != "component":  # somebody has changed it
            return str(super().__repr__())
        return as_text(self.reset_index().to_dict("records"))

    def _repr_html_(self) -> str:
        return self._html
