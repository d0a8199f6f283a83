"""Pages of documentation: their code runs, links lead somewhere, metrics are explained."""

from __future__ import annotations

import inspect
import re
import runpy
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


ROOT = FOLDER.parent
LINKING = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    ROOT / "benchmarks" / "README.md",
    *sorted(FOLDER.glob("*.md")),
]
#: Pages of the site that are made when it is built.
MADE = ("auto_examples/", "reference/")


def anchors(page):
    """Names of a page's headings, as a code host makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for heading in re.findall(r"^#+ (.*)", text, flags=re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.stem)
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
    text = (FOLDER / "idea.md").read_text().replace("\n", " ")
    for low, high in re.findall(r"(\d\.\d\d) to (\d\.\d\d),", capsys.readouterr().out):
        assert (low if low == high else f"{low} to {high}") in text


#: Names that would make a line below too long.
LONG = {
    "few labels": "New tasks of real data, from few labels",
    "equal shares": "ours beside the raw columns, equal shares",
    "hard": "Known factors in hard data",
    "FastICA": "no penalties, FastICA of its components",
    "promax": "no penalties, promax of its heads",
}

#: Numbers that the user guide quotes: page, section of the benchmarks, first cells of the
#: row, beginning of the column's name, and the number as the page has it.
QUOTED = """
idea | New tasks from few labels | fit_task | 20 | 0.916
idea | New tasks from few labels | ridge | 20 | 0.046
objective | What each piece of the method does | defaults | rho 0.9 | 0.997
objective | What each piece of the method does | plain L1 | rho 0.9 | 0.028
objective | What each piece of the method does | defaults | 12 tasks | 0.985
objective | What each piece of the method does | no look at uncorrelated bases | 12 tasks | 0.942
missing_labels | Recovery of known factors | 20 components, half unlabelled | D m | 0.997
missing_labels | Recovery of known factors | 20 components | D m | 0.998
missing_labels | The method on hard problems | 80 labelled rows a task | D | 0.976
model_selection | The method on hard problems | rho 0.9, binary tasks | D | 0.945
model_selection | The method on hard problems | rho 0.9, binary tasks; bilevel | D | 0.978
images | Sprites | ours | D | 0.999
images | Sprites | ours, no penalty | D | 0.948
images | Sprites | PCA | D | 0.684
images | DSprites | ours | D | 0.999
images | Glyphs | ours | D | 0.843
failures | Recovery of known factors | 30 tasks | D m | 0.997
failures | Recovery of known factors | 30 tasks | D w | 0.996
failures | Recovery of known factors | 15 tasks | D m | 0.992
failures | Recovery of known factors | 15 tasks | D w | 0.991
failures | The method on hard problems | 24 components | D | 0.999
failures | The method on hard problems | 24 components | worst | 0.998
failures | The method on hard problems | 24 components | identifiable | 10 of 10
failures | The method on hard problems | 12 tasks | D | 0.987
failures | The method on hard problems | 12 tasks | worst | 0.861
failures | The method on hard problems | 12 tasks | identifiable | 6 of 10
failures | The method on hard problems | 500 rows | D | 0.991
failures | The method on hard problems | 500 rows | worst | 0.988
failures | The method on hard problems | 80 labelled rows a task | D | 0.976
failures | The method on hard problems | 80 labelled rows a task | worst | 0.971
failures | The method on hard problems | 20% of labels wrong | D | 0.975
failures | The method on hard problems | 20% of labels wrong | worst | 0.972
failures | The method on hard problems | every task uses all factors | D | 0.43
failures | Whether the factors can be believed | 3 to 5 factors a task | median D, n | 0.584
failures | Whether the factors can be believed | two factors tied | report: | 0%
failures | Whether the factors can be believed | rho 0.9 | median D, i | 0.999
failures | Whether the factors can be believed | rho 0.9, 20 tasks | D >= | 0%
failures | Glyphs | ours | D | 0.843
failures | New tasks from few labels | ridge | 20 | 0.046
failures | New tasks from few labels | ridge | 1000 | 0.004
real_data | Real data under shift | chemicals; ours | less raw | 0.093
real_data | Real data under shift | chemicals; ours beside the raw columns | less raw | 0.082
real_data | Real data under shift | chemicals; ours beside the raw columns | less it | 0.017
real_data | Real data under shift | glyphs; ours | less raw | 0.013
real_data | Real data under shift | watch; ours beside the raw columns | less raw | 0.037
real_data | Real data under shift | watch; ours beside the raw columns | less it | 0.017
real_data | Real data under shift | vader; ours | less raw | 0.036
real_data | Real data under shift | vader; ours beside the raw columns | less it | 0.024
real_data | Real images | raw; logistic | 10 labels | 0.661
real_data | Real images | ours; logistic | 100 labels | 0.747
real_data | Real images | ours; fit_task | 10 labels | 0.666
real_data | Real images | ours; logistic, beside the embeddings | 10 labels | 0.698
real_data | Real images | ours; logistic, beside the embeddings | 50 labels | 0.744
real_data | Real images | no penalties; logistic | 50 labels | 0.730
real_data | Real images | raw; DFR | worst group | 0.63
real_data | Real images | ours; DFR | worst group | 0.74
real_data | Real images | ours; ERM | worst group | 0.08
real_data | Emotions of short texts | logistic regression on embeddings | macro-F1 | 0.382
real_data | Emotions of short texts | ours, logistic regression on components | macro-F1 | 0.380
images | Sprites of a game | thresholds of the codes, 24; ours | D | 1.000
images | Sprites of a game | subsets of the values, 30; ours | D | 0.955
images | Sprites of a game | subsets of the values, 30; promax | D | 0.516
real_data | Real data under shift | piosphere; ours | less raw | 0.037
real_data | Real data under shift | piosphere; ours beside the raw columns | less raw | 0.009
real_data | Real data under shift | emoji; ours | less raw | 0.046
real_data | Real data under shift | emoji; ours beside the raw columns | less it | 0.007
real_data | Real data under shift | chemicals; equal shares | less raw | 0.084
real_data | Real data under shift | glyphs; equal shares | less raw | 0.024
real_data | Real data under shift | watch; equal shares | less raw | 0.029
real_data | Real data under shift | vader; equal shares | less raw | 0.036
real_data | Real data under shift | piosphere; equal shares | less raw | 0.016
real_data | Real data under shift | emoji; equal shares | less raw | 0.008
real_data | New tasks of real data, from few labels | chemicals; ours | less raw | 0.183
real_data | New tasks of real data, from few labels | vader; ours | less raw | 0.198
real_data | New tasks of real data, from few labels | yeast; ours | less raw | 0.036
real_data | New tasks of real data, from few labels | piosphere; ours | less raw | 0.015
real_data | New tasks of real data, from few labels | emoji; ours | less raw | 0.048
real_data | New tasks of real data, from few labels | glyphs; ours | less raw | 0.029
real_data | New tasks of real data, from few labels | watch; ours | less raw | 0.068
real_data | few labels | chemicals; equal shares | less raw | 0.237
real_data | few labels | vader; equal shares | less raw | 0.215
real_data | few labels | yeast; equal shares | less raw | 0.035
real_data | few labels | piosphere; equal shares | less raw | 0.020
real_data | few labels | emoji; equal shares | less raw | 0.009
real_data | few labels | glyphs; equal shares | less raw | 0.001
real_data | few labels | watch; equal shares | less raw | 0.004
real_data | Real tables | wq | ours | 0.109
real_data | Real tables | oes97 | ours | 0.748
real_data | Real tables | atp7d | ours | 0.698
real_data | Real tables | enb | ours, no penalties | 0.993
../README | Synthetic, rho 0 | ours | D | 0.998
../README | Synthetic, rho 0 | ours | 10 labels | 0.794
../README | Synthetic, rho 0 | ours, no penalty | D | 0.729
../README | Synthetic, rho 0 | ours, no penalty | 10 labels | 0.797
../README | Synthetic, rho 0 | PLS | D | 0.375
../README | Synthetic, rho 0 | PLS | 10 labels | 0.679
../README | Synthetic, rho 0 | PCA | D | 0.378
../README | Synthetic, rho 0 | PCA | 10 labels | 0.677
../README | Synthetic, rho 0 | ICA | D | 0.307
../README | Synthetic, rho 0 | ICA | 10 labels | 0.657
../README | Synthetic, rho 0 | LDA | D | 0.920
../README | Synthetic, rho 0 | LDA | 10 labels | 0.782
../README | Synthetic, rho 0 | CEBRA | D | 0.529
../README | Synthetic, rho 0 | CEBRA | 10 labels | 0.775
../README | Synthetic, rho 0 | CEBRA | fit (s) | 20.1
../README | Synthetic, rho 0.9 | ours | D | 0.995
../README | Synthetic, rho 0.9 | ours | 10 labels | 0.858
../README | Synthetic, rho 0.9 | ours, no penalty | D | 0.638
../README | Synthetic, rho 0.9 | PLS | D | 0.055
../README | Synthetic, rho 0.9 | PCA | D | 0.048
../README | Synthetic, rho 0.9 | ICA | D | 0.083
../README | Synthetic, rho 0.9 | LDA | D | 0.943
../README | Synthetic, rho 0.9 | LDA | 10 labels | 0.863
../README | Synthetic, rho 0.9 | CEBRA | D | 0.283
../README | hard | coupling layers (0.50); ours | D | 0.753
../README | hard | coupling layers (0.50); ours | fit (CPU s) | 8.6
../README | hard | coupling layers (0.50); promax | D | 0.554
../README | hard | coupling layers (0.50); promax | fit (CPU s) | 5.8
../README | hard | coupling layers (0.50); PLS predictions, varimax | D | 0.182
../README | hard | coupling layers (0.50); PCA of X, varimax | D | 0.121
../README | hard | coupling layers (0.50); FastICA | D | 0.216
../README | Known factors in real data | ours | mean correlation | 0.767
../README | Known factors in real data | promax | mean correlation | 0.781
../README | Known factors in real data | PLS predictions, varimax | mean correlation | 0.788
../README | Known factors in real data | PCA of X, varimax | mean correlation | 0.763
../README | Real tables | wq | ours | 0.109
../README | Real tables | wq | random forest | 0.170
../README | Real tables | oes97 | ours | 0.748
../README | Real tables | oes97 | lasso | 0.778
../README | Real images | ours; logistic, beside the embeddings | 10 labels | 0.698
../README | Real images | ours; fit_task | 10 labels | 0.666
../README | New tasks from few labels | fit_task | 20 | 0.916
../README | New tasks from few labels | ridge | 20 | 0.046
../README | New tasks from few labels | ridge on X | 20 | 0.083
../README | Recovery of known factors | 20 components | fit (s) | 3.8
../README | Memory | in memory, float64; `fit` | 1,000,000 rows | 423
../README | Memory | in memory, float64; `transform` | 1,000,000 rows | 115
guide | Known factors in real data | ours | mean correlation | 0.77
guide | Known factors in real data | PLS predictions, varimax | mean correlation | 0.79
"""


def cells(line):
    return [cell.strip(" *") for cell in line.split("|")]


@pytest.mark.parametrize("quoted", QUOTED.strip().splitlines())
def test_numbers_of_the_guide_are_those_of_the_benchmarks(quoted):
    page, section, row, column, shown = cells(quoted)
    report = ROOT / "benchmarks" / "README.md"
    if not report.exists():
        pytest.skip("an installed package has no benchmarks")
    text = re.split(r"^#+ ", report.read_text(), flags=re.MULTILINE)
    section = LONG.get(section, section)
    (text,) = [part for part in text if part.startswith(f"{section}\n")]
    lines = [line[1:-1] for line in text.splitlines() if line.startswith("|")]
    first = [LONG.get(cell, cell) for cell in row.split("; ")]
    found = next(
        n for n, line in enumerate(lines) if cells(line)[: len(first)] == first
    )
    head = next(n for n in range(found, 0, -1) if set(lines[n]) <= set("|- ")) - 1
    names = cells(lines[head])
    index = next(n for n, name in enumerate(names) if name.startswith(column))
    value = cells(lines[found])[index]
    if re.fullmatch(r"\d\.\d+", shown):
        number = float(re.match(r"\D*([\d.]+)", value)[1])
        digits = len(shown) - 2
        assert abs(number - float(shown)) <= 0.5001 * 10**-digits, value
    else:
        assert value == shown
    if not shown.endswith("%"):  # those are said in words
        assert shown in (FOLDER / f"{page}.md").read_text()
