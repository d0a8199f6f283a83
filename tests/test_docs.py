"""The code on every page of the documentation runs, and the metrics are documented."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from skdisentangle import metrics

FOLDER = Path(__file__).parent.parent / "docs"
PAGES = [
    page for page in sorted(FOLDER.glob("*.md")) if "```python\n" in page.read_text()
]
SCORES = [name for name in metrics.__all__ if name.endswith(("_score", "_scores"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_on_the_page_runs(page):
    """All Python blocks of a page, in order, in one namespace."""
    if page.stem == "arrays":
        pytest.importorskip("sklearn", minversion="1.8")
    names = {"__name__": page.stem}
    for match in re.finditer(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        # errors show the line of the page
        first_line = page.read_text()[: match.start(1)].count("\n")
        code = "\n" * first_line + match[1]
        exec(compile(code, str(page), "exec"), names)


@pytest.mark.parametrize("name", [*SCORES, "explicitness_from_curve"])
def test_every_metric_says_what_a_reader_needs(name):
    text = inspect.getdoc(getattr(metrics, name))
    for part in ("math::", "*Chance level*", "*Pitfalls*", "References\n", "[0, 1]"):
        assert part in text, f"{name}: no {part!r}"


def test_page_of_metrics_names_every_function():
    text = (FOLDER / "metrics.md").read_text()
    for name in metrics.__all__:
        if inspect.isfunction(getattr(metrics, name)):
            assert f"`{name}" in text, name
