"""The pages of the report: made from the results, short, and all of them on the site."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

readme = pytest.importorskip("benchmarks._readme")
from benchmarks import _evidence, hard, real_tables  # noqa: E402
from benchmarks._tables import half_width, interval  # noqa: E402

SITE = readme.FOLDER.parent / "docs" / "evidence"


@pytest.fixture(scope="module")
def pages():
    return readme.pages()


def test_pages_are_made_of_the_saved_results(pages):
    """A page that is older than its results, or edited by hand, is told."""
    for path, text in pages.items():
        assert (readme.FOLDER / path).read_text() == text, path
    committed = {page.stem for page in readme.REPORTS.glob("*.md")}
    assert committed == set(readme.SUITES)


def test_the_page_of_evidence_is_short(pages):
    assert len(pages["README.md"].splitlines()) <= 300


def test_every_suite_has_a_command_a_version_and_a_place_on_the_site(pages):
    listed = (SITE / "index.md").read_text().splitlines()
    for suite in readme.SUITES:
        text = pages[f"reports/{suite}.md"]
        age, said = readme.age(suite), readme.version(suite)
        assert text.startswith("# ")
        assert f"python -m benchmarks.{suite}" in text
        assert said in text
        assert f"[{suite}](reports/{suite}.md)" in pages["README.md"]
        assert re.search(rf"\[{suite}\].* {age} \|$", pages["README.md"], re.MULTILINE)
        assert readme.AGES[age] in pages["README.md"]
        assert suite in listed
        assert f"reports/{suite}.md" in (SITE / f"{suite}.md").read_text()


def test_links_of_the_pages_lead_somewhere(pages):
    for path, text in pages.items():
        folder = (readme.FOLDER / path).parent
        for link in re.findall(r"\]\(([^)#\s]+)", text):
            if not link.startswith("https:"):
                assert (folder / link).exists(), (path, link)


def test_pictures_are_drawn_from_the_saved_results(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    from benchmarks import _pictures

    _pictures.draw(tmp_path)
    committed = {picture.name for picture in readme.REPORTS.glob("*.svg")}
    assert {picture.name for picture in tmp_path.iterdir()} == committed
    for picture in tmp_path.iterdir():
        text = (readme.REPORTS / picture.name).read_text()
        if f"Matplotlib v{matplotlib.__version__}," in text:
            assert picture.read_text() == text, picture.name


def test_a_page_without_results(tmp_path, monkeypatch):
    for name in vars(_evidence):
        module = getattr(_evidence, name)
        if hasattr(module, "RESULTS"):
            monkeypatch.setattr(module, "RESULTS", tmp_path / "none")
    assert [part for part in _evidence.SECTIONS if part()] == [_evidence.suites_section]
    monkeypatch.setattr(real_tables, "page", lambda: "")
    assert "Not measured yet." in readme.report("real_tables")


def test_sets_are_counted_as_better_equal_and_worse(tmp_path, monkeypatch):
    scores = {"enb": (0.5, 0.4), "jura": (0.5, 0.505), "wq": (0.1, 0.3)}
    rows = [
        {
            "part": real_tables.PLAIN,
            "set": name,
            "method": method,
            "seed": seed,
            "tasks": 2,
            "score": score + seed / 1000,
            "nonzeros": nonzeros,
            "seconds": 1.0,
        }
        for name, (mine, theirs) in scores.items()
        for seed in range(3)
        for method, score, nonzeros in (
            (real_tables.OURS, mine, 1),
            (real_tables.LINEAR, theirs, 9),
            (real_tables.UNPENALISED, mine, 4),
        )
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(real_tables, "RESULTS", path)
    text = _evidence.tables_section()
    assert (
        "better than a ridge or logistic regression on 1, within 0.01 on 1 and worse on"
        in text.replace("\n", " ")
    )
    assert "Ours has 25% of the nonzero" in text.replace("\n", " ")
    assert "| ridge or logistic | 3 | " in text
    assert " | 1 / 1 / 1 | -0.200 (wq) | " in text


def test_the_best_other_method_of_a_case_is_named(tmp_path, monkeypatch):
    d = {hard.OURS: 0.8, "PLS predictions, varimax": 0.3, "PCA of X, varimax": 0.6}
    rows = [
        {
            "case": "waves",
            "method": method,
            "seed": seed,
            "disentanglement": value + seed / 100,
            "linear": 0.5,
        }
        for method, value in d.items()
        for seed in range(3)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(hard, "RESULTS", path)
    text = _evidence.hard_section().replace("\u00a0", " ")
    assert "| 0.610 | PCA of X, varimax | **+0.200 (+0.200 to +0.200)** |" in text
    assert "in 1 of 1 cases" in text.replace("\n", " ").lower()


def test_a_difference_is_bold_if_its_interval_leaves_out_zero():
    assert _evidence.gap([0.2, 0.21, 0.19]).startswith("**+0.200")
    assert _evidence.gap([-0.2, -0.21, -0.19]).startswith("**-0.200")
    assert _evidence.gap([0.2, -0.1, 0.0]).startswith("+0.033")
    assert _evidence.gap([0.2, np.nan]) == ""


def test_an_interval_is_that_of_student():
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert half_width(values) == pytest.approx(2.776 * np.sqrt(2.5 / 5), rel=1e-3)
    assert interval(values).startswith("+3.000 (+1.037 to +4.963)")
    assert np.isnan(half_width([1.0]))
