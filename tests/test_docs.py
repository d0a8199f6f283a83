"""Pages of documentation: their code runs, links lead somewhere, metrics are explained."""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import runpy
from pathlib import Path

import pytest

from skdisentangle import metrics

FOLDER = Path(__file__).parent.parent / "docs"
PAGES = [
    page for page in sorted(FOLDER.rglob("*.md")) if "```python\n" in page.read_text()
]


def name_of(page):
    """The page's folder and name, as ``learn-idea``."""
    return f"{page.parent.name}-{page.stem}"


SCORES = [name for name in metrics.__all__ if name.endswith(("_score", "_scores"))]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
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


@pytest.mark.slow
def test_the_tutorial_prints_what_it_shows():
    text = (FOLDER / "start" / "tutorial.md").read_text()
    code, shown = (
        "".join(re.findall(f"```{kind}\n(.*?)```", text, re.DOTALL))
        for kind in ("python", "text")
    )
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "tutorial.md", "exec"), {})
    assert out.getvalue() == shown


@pytest.mark.parametrize("name", [*SCORES, "explicitness_from_curve"])
def test_every_metric_says_what_a_reader_needs(name):
    text = inspect.getdoc(getattr(metrics, name))
    for part in ("math::", "*Chance level*", "*Pitfalls*", "References\n", "[0, 1]"):
        assert part in text, f"{name}: no {part!r}"


def test_page_of_metrics_names_every_function():
    text = (FOLDER / "learn" / "metrics.md").read_text()
    for name in metrics.__all__:
        if inspect.isfunction(getattr(metrics, name)):
            assert f"`{name}" in text, name


ROOT = FOLDER.parent
LINKING = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    ROOT / "benchmarks" / "README.md",
    *sorted(FOLDER.rglob("*.md")),
]
#: Pages of the site that are made when it is built.
MADE = ("auto_examples/", "reference/")


def anchors(page):
    """Names of a page's headings, as a code host makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for heading in re.findall(r"^#+ (.*)", text, flags=re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", LINKING, ids=name_of)
def test_links_of_the_page_lead_somewhere(page):
    """Where the file is read as it is; the build of the site checks its own links."""
    if not page.exists():
        pytest.skip("an installed package has no such page")
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        name, _, anchor = link.partition("#")
        if name.startswith(("https:", *MADE)):
            continue
        target = (page.parent / name) if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.slow
def test_pictures_of_the_pages(tmp_path, monkeypatch, capsys):
    """The script draws them, and the page tells what it prints."""
    pytest.importorskip("matplotlib")
    names = runpy.run_path(str(FOLDER / "pictures.py"))
    monkeypatch.setitem(names["main"].__globals__, "FOLDER", tmp_path)
    names["main"]()
    committed = {picture.name for picture in (FOLDER / "images").iterdir()}
    assert {picture.name for picture in tmp_path.iterdir()} == committed
    text = (FOLDER / "learn" / "idea.md").read_text().replace("\n", " ")
    for low, high in re.findall(r"(\d\.\d\d) to (\d\.\d\d),", capsys.readouterr().out):
        assert (low if low == high else f"{low} to {high}") in text
