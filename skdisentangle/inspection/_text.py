"""Records as lines of text that fit a terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable
from typing import Any

__all__ = ["as_text", "text_width"]

#: Widest line of text, and the narrowest that is worth wrapping to, in characters.
WIDEST, NARROWEST = 100, 40


def text_width() -> int:
    """Characters in a line of text: those of the terminal, within limits."""
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size().columns))


def as_text(records: Iterable[dict[str, Any]]) -> str:
    """A block of lines for each record, wrapped to the width of the terminal."""
    width = text_width()

    def lines(record: dict[str, Any]) -> list[str]:
        shown = {
            name: f"{value:.2f}" if isinstance(value, float) else str(value)
            for name, value in record.items()
        }
        head = f"component {shown.pop('component')}"
        for key in ("name", "suggested name"):
            if key in shown:
                head += f", {key}: {shown.pop(key)}"
        # A name and its number stay on one line.
        wrapped = [
            textwrap.fill(
                f"{name}: {value}".replace(" (", "\N{NO-BREAK SPACE}("),
                width,
                initial_indent="  ",
                subsequent_indent="      ",
                break_on_hyphens=False,
            ).replace("\N{NO-BREAK SPACE}(", " (")
            for name, value in shown.items()
        ]
        return [head, *wrapped]

    return "\n\n".join("\n".join(lines(record)) for record in records)
