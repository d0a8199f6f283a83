"""Numbers that README and site quote are those of the benchmarks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
REPORTS = ROOT / "benchmarks" / "reports"

pytestmark = pytest.mark.skipif(
    not (ROOT / "benchmarks").exists(), reason="only the repository has benchmarks"
)

#: Names that would make a line below too long.
LONG = {
    "FastICA": "no penalties, FastICA of its components",
    "promax": "no penalties, promax of its heads",
}

#: What is quoted: page, suite (and a heading on its page), first cells of the row, beginning
#: of the column's name, and the number as the page has it.
QUOTED = """
README | factors: Synthetic, rho 0 | ours | D | 0.997
README | factors: Synthetic, rho 0 | ours | 10 labels | 0.794
README | factors: Synthetic, rho 0 | ours, no penalty | D | 0.711
README | factors: Synthetic, rho 0 | ours, no penalty | 10 labels | 0.783
README | factors: Synthetic, rho 0 | PLS | D | 0.375
README | factors: Synthetic, rho 0 | PLS | 10 labels | 0.679
README | factors: Synthetic, rho 0 | PCA | D | 0.378
README | factors: Synthetic, rho 0 | PCA | 10 labels | 0.677
README | factors: Synthetic, rho 0 | ICA | D | 0.307
README | factors: Synthetic, rho 0 | ICA | 10 labels | 0.657
README | factors: Synthetic, rho 0 | LDA | D | 0.920
README | factors: Synthetic, rho 0 | LDA | 10 labels | 0.782
README | factors: Synthetic, rho 0 | CEBRA | D | 0.529
README | factors: Synthetic, rho 0 | CEBRA | 10 labels | 0.775
README | factors: Synthetic, rho 0 | CEBRA | fit (s) | 20.1
README | factors: Synthetic, rho 0.9 | ours | D | 0.995
README | factors: Synthetic, rho 0.9 | ours | 10 labels | 0.858
README | factors: Synthetic, rho 0.9 | ours, no penalty | D | 0.664
README | factors: Synthetic, rho 0.9 | PLS | D | 0.055
README | factors: Synthetic, rho 0.9 | PCA | D | 0.048
README | factors: Synthetic, rho 0.9 | ICA | D | 0.083
README | factors: Synthetic, rho 0.9 | LDA | D | 0.943
README | factors: Synthetic, rho 0.9 | LDA | 10 labels | 0.863
README | factors: Synthetic, rho 0.9 | CEBRA | D | 0.283
README | hard | coupling layers (0.50); ours | D | 0.736
README | hard | coupling layers (0.50); ours | fit (CPU s) | 7.7
README | hard | coupling layers (0.50); promax | D | 0.554
README | hard | coupling layers (0.50); promax | fit (CPU s) | 5.7
README | hard | coupling layers (0.50); PLS predictions, varimax | D | 0.182
README | hard | coupling layers (0.50); PCA of X, varimax | D | 0.121
README | hard | coupling layers (0.50); FastICA | D | 0.216
README | known_factors | ours | mean correlation | 0.769
README | known_factors | promax | mean correlation | 0.786
README | known_factors | PLS predictions, varimax | mean correlation | 0.788
README | known_factors | PCA of X, varimax | mean correlation | 0.763
README | real_tables | wq | ours | 0.113
README | real_tables | wq | random forest | 0.170
README | real_tables | oes97 | ours | 0.746
README | real_tables | oes97 | lasso | 0.778
README | real_images | ours; logistic, beside the embeddings | 10 labels | 0.695
README | real_images | ours; fit_task | 10 labels | 0.684
README | new_tasks | fit_task | 20 | 0.919
README | new_tasks | less ridge or logistic | 20 | 0.049
README | new_tasks | less ridge or logistic on X | 20 | 0.086
README | recovery | 20 components | fit (CPU s) | 4.4
README | memory | in memory, float64; `fit` | 1,000,000 rows | 423
README | memory | in memory, float64; `transform` | 1,000,000 rows | 115
start/should_i_use_it | known_factors | ours | mean correlation | 0.77
start/should_i_use_it | known_factors | PLS predictions, varimax | mean correlation | 0.79
learn/idea | new_tasks | fit_task | 20 | 0.919
learn/idea | new_tasks | less ridge or logistic | 20 | 0.049
learn/objective | ablations | defaults | rho 0.9 | 0.997
learn/objective | ablations | plain L1 | rho 0.9 | 0.027
learn/objective | ablations | defaults | 12 tasks | 0.985
learn/objective | ablations | no look at uncorrelated bases | 12 tasks | 0.941
learn/labels | recovery | 20 components, half unlabelled | D m | 0.997
learn/labels | recovery | 20 components | D m | 0.998
learn/labels | method | 80 labelled rows a task | D | 0.971
learn/strengths | method | rho 0.9, binary tasks | D | 0.981
learn/strengths | method | rho 0.9, binary tasks; bilevel | D | 0.988
learn/strengths | method | rho 0.9 | worst | 0.989
learn/strengths | method | rho 0.9; bilevel | worst | 0.771
learn/strengths | method | 20% of labels wrong; bilevel | D | 0.984
learn/strengths | method | 20% of labels wrong | D | 0.983
learn/pipelines | leakage | among 60 tasks; clean | test: plain | 0.95
learn/pipelines | leakage | among 60 tasks; coin flips | weight on noise | 0.79
learn/pipelines | leakage | only task; coin flips | train | 0.58
learn/reading | recovery | 30 tasks | D m | 0.997
learn/reading | recovery | 30 tasks | D w | 0.996
learn/reading | recovery | 15 tasks | D m | 0.994
learn/reading | recovery | 15 tasks | D w | 0.990
learn/reading | method | 24 components | D | 0.998
learn/reading | method | 24 components | worst | 0.997
learn/reading | method | 24 components | identifiable | 10 of 10
learn/reading | method | 12 tasks | D | 0.984
learn/reading | method | 12 tasks | worst | 0.860
learn/reading | method | 12 tasks | identifiable | 6 of 10
learn/reading | method | 500 rows | D | 0.987
learn/reading | method | 500 rows | worst | 0.978
learn/reading | method | 80 labelled rows a task | D | 0.971
learn/reading | method | 80 labelled rows a task | worst | 0.949
learn/reading | method | 20% of labels wrong | D | 0.983
learn/reading | method | 20% of labels wrong | worst | 0.981
learn/reading | method | every task uses all factors | D | 0.35
learn/reading | identifiability | 3 to 5 factors a task | median D, n | 0.246
learn/reading | identifiability | two factors tied | report: | 0%
learn/reading | identifiability | rho 0.9 | median D, i | 0.998
learn/reading | identifiability | rho 0.9, 20 tasks | D >= | 0%
learn/reading | factors: Glyphs | ours | D | 0.843
learn/reading | new_tasks | less ridge or logistic | 20 | 0.049
learn/reading | new_tasks | less ridge or logistic | 1000 | 0.002
howto/images_and_texts | factors: Sprites | ours | D | 0.999
howto/images_and_texts | factors: Sprites | ours, no penalty | D | 0.948
howto/images_and_texts | factors: Sprites | PCA | D | 0.684
howto/images_and_texts | factors: DSprites | ours | D | 0.999
howto/images_and_texts | factors: Glyphs | ours | D | 0.843
howto/images_and_texts | real_sprites | thresholds of the codes, 24; ours | D | 1.000
howto/images_and_texts | real_sprites | subsets of the values, 30; ours | D | 0.956
howto/images_and_texts | real_sprites | subsets of the values, 30; promax | D | 0.525
howto/real_data | real_images | raw; logistic | 10 labels | 0.661
howto/real_data | real_images | ours; fit_task | 10 labels | 0.684
howto/real_data | real_images | ours; logistic, beside the embeddings | 10 labels | 0.695
howto/real_data | real_images | raw; DFR | worst group | 0.63
howto/real_data | real_images | ours; DFR | worst group | 0.72
howto/real_data | real_images | ours; ERM | worst group | 0.07
howto/real_data | hard | coupling layers (0.50); ours | D | 0.74
howto/real_data | hard | coupling layers (0.50); promax | D | 0.55
howto/real_data | hard | 1,000 rows (0.42); ours | D | 0.438
howto/real_data | hard | 1,000 rows (0.42); promax | D | 0.309
howto/real_data | hard | 15 tasks (0.50); ours | D | 0.565
howto/real_data | hard | 15 tasks (0.50); promax | D | 0.519
howto/real_data | emotions | logistic regression on embeddings | macro-F1 | 0.382
howto/real_data | emotions | ours, logistic regression on components | macro-F1 | 0.380
"""

#: On how many real tables a method is ahead, at three decimals, as pages say it.
AHEAD = """
README | ours, no penalties | **9 of 14**
README | PLS | 7 of 12
README | random forest | better on 6 of 14 sets
README | ridge or logistic | ridge or logistic regression on 7 (
README | lasso or L1 logistic | lasso on 6 (
start/should_i_use_it | ours, no penalties | without penalties is better on 9 of the 14,
start/should_i_use_it | random forest | A random forest is better on 6 of the 14,
start/should_i_use_it | lasso or L1 logistic | A lasso is better on 6 of the 14,
howto/real_data | ours, no penalties | without penalties** is better on 9 of the 14:
howto/real_data | random forest | A random forest** is better on 6 of the 14,
howto/real_data | ridge or logistic | logistic regression** is better on 7 of the 14:
howto/real_data | lasso or L1 logistic | A lasso** is better on 6 of the 14,
howto/real_data | boosting | Boosting is better on 2 of 9.
"""

#: On how many of them a method is the best of all, as pages say it.
BEST = """
start/should_i_use_it | random forest | the best of all methods on 5.
start/should_i_use_it | lasso or L1 logistic | the best of all on 3.
howto/real_data | random forest | the best of all methods on 5,
howto/real_data | lasso or L1 logistic | the best of all on 3 (
"""


def cells(line):
    return [cell.strip(" *") for cell in line.split("|")]


def table_row(suite, row):
    """Names of the columns and cells of the first row that begins so."""
    name, _, heading = suite.partition(": ")
    text = (REPORTS / f"{name}.md").read_text()
    if heading:
        parts = re.split(r"^#+ ", text, flags=re.MULTILINE)
        (text,) = [part for part in parts if part.startswith(f"{heading}\n")]
    lines = [line[1:-1] for line in text.splitlines() if line.startswith("|")]
    first = [LONG.get(cell, cell) for cell in row.split("; ")]
    found = next(
        n for n, line in enumerate(lines) if cells(line)[: len(first)] == first
    )
    head = next(n for n in range(found, 0, -1) if set(lines[n]) <= set("|- ")) - 1
    return cells(lines[head]), cells(lines[found])


def text_of(page):
    path = ROOT / "README.md" if page == "README" else ROOT / "docs" / f"{page}.md"
    return path.read_text()


@pytest.mark.parametrize("quoted", QUOTED.strip().splitlines())
def test_numbers_are_those_of_the_benchmarks(quoted):
    page, suite, row, column, shown = cells(quoted)
    names, values = table_row(suite, row)
    value = values[next(n for n, name in enumerate(names) if name.startswith(column))]
    if re.fullmatch(r"\d\.\d+", shown):
        number = float(re.match(r"\D*([\d.]+)", value)[1])
        digits = len(shown) - 2
        assert abs(number - float(shown)) <= 0.5001 * 10**-digits, value
    else:
        assert value == shown
    if not shown.endswith("%"):  # those are said in words
        assert shown in text_of(page)


def parts(said):
    """Page, method, and what the page says of it."""
    return [part.strip() for part in said.split("|")]


def check_said(page, said, counts):
    """The page says it, and its numbers are the first of these."""
    assert said in " ".join(text_of(page).split())
    numbers = [int(number) for number in re.findall(r"\d+", said)]
    assert numbers == counts[: len(numbers)]


@pytest.mark.parametrize("quoted", AHEAD.strip().splitlines())
def test_methods_are_ahead_on_as_many_real_tables_as_pages_say(quoted):
    page, method, said = parts(quoted)
    evidence = pytest.importorskip("benchmarks._evidence")
    tables = pytest.importorskip("benchmarks.real_tables")
    gaps = evidence.score_gaps(evidence.sets_of(tables.PLAIN), method)
    ahead = sum(round(sum(own) / len(own), 3) < 0 for own in gaps.values())
    check_said(page, said, [ahead, len(gaps)])


def rows_on_page():
    """Rows of the page's table of real tables: the set, and the cells after its sizes."""
    text = text_of("howto/real_data").partition("## Images")[0]
    rows = [cells(line[1:-1]) for line in text.splitlines() if line.startswith("| ")]
    return {re.sub(r".*\((\w+)\)", r"\1", row[0]): row[1:] for row in rows[1:]}


@pytest.mark.parametrize("quoted", BEST.strip().splitlines())
def test_methods_are_the_best_on_as_many_real_tables_as_pages_say(quoted):
    page, method, said = parts(quoted)
    best = 0
    for name in rows_on_page():
        names, values = table_row("real_tables", name)
        scores = {n: float(v) for n, v in zip(names[2:], values[2:], strict=True) if v}
        own = scores.pop(method)
        best += own > max(scores.values())
    check_said(page, said, [best])


def test_table_of_real_tables_is_that_of_the_report():
    report = (REPORTS / "real_tables.md").read_text()
    shown = (
        "ours",
        "ours, no penalties",
        "ridge or logistic",
        "lasso or L1 logistic",
        "random forest",
    )
    on_page = rows_on_page()
    assert len(on_page) == 14
    for name, found in on_page.items():
        names, values = table_row("real_tables", name)
        of_set = dict(zip(names, values, strict=True))
        sizes = of_set["rows x columns -> tasks"].replace(" ->", ",")
        width = re.search(
            rf"^\*\*{name}\*\*,.*?\| ours \|[^|]*\|[^|]*\|([^|]*)\|",
            report,
            re.DOTALL | re.MULTILINE,
        )
        assert found == [sizes, *(of_set[each] for each in shown), width[1].strip()]
