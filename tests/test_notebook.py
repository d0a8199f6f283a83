"""What notebooks show of an estimator."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest
from sklearn import config_context

from skdisentangle import SparseSharedDisentangler, SparseSharedDisentanglerCV
from skdisentangle._notebook import task_table

pytestmark = pytest.mark.filterwarnings("ignore:The fit was still improving")


class Table(HTMLParser):
    """Cells of the table, and whether every tag is closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.rows = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def fitted(problem):
    pd = pytest.importorskip("pandas")
    X, Y, _ = problem
    labels = pd.DataFrame(
        {
            "<script>alert(1)</script>": Y[:, 0],
            "a & b": np.where(Y[:, 1] > 0, "<i>", '"no"'),
            "grade": np.arange(len(Y)) % 7,
            "idle": 1.0,
        }
    )
    dis = SparseSharedDisentangler(
        4, encoder="linear", max_iter=30, random_state=0, task_types={"grade": None}
    )
    with pytest.warns(UserWarning, match="left out"):
        return dis.fit(X, labels)


def test_table_of_tasks(fitted):
    table = Table(task_table(fitted))
    assert table.open == []
    head, *rows = table.rows
    assert head == ["task", "type", "classes", "components"]
    assert rows[0][:2] == ["<script>alert(1)</script>", "regression"]
    assert rows[1][:3] == ["a & b", "binary", '"no", <i>']
    assert rows[2][1:3] == ["multiclass", "7 classes"]
    assert rows[3][2:] == ["1", "left out: has one class only"]  # not 1.0
    coef = np.abs(fitted.coef_[0])
    used = [int(number) for number in rows[0][3].split(", ")]
    assert sorted(used) == np.flatnonzero(coef).tolist()
    assert np.all(np.diff(coef[used]) <= 0)


def test_names_are_escaped(fitted):
    html = task_table(fitted)
    assert "<script>" not in html
    assert "<i>" not in html


def test_below_what_scikit_learn_shows(fitted):
    table = task_table(fitted)
    html = fitted._repr_html_()
    assert html.endswith(table)
    assert html.count("skd-tasks") == table.count("skd-tasks")
    assert "SparseSharedDisentangler" in html[: -len(table)]
    bundle = fitted._repr_mimebundle_()
    assert bundle["text/html"].endswith(table)
    assert bundle["text/html"].count("skd-tasks") == table.count("skd-tasks")
    assert bundle["text/plain"] == repr(fitted)


def test_not_fitted_or_not_wanted(fitted):
    for estimator in (SparseSharedDisentangler(), SparseSharedDisentanglerCV()):
        assert task_table(estimator) == ""
        assert "skd-tasks" not in estimator._repr_html_()
        assert "skd-tasks" not in estimator._repr_mimebundle_()["text/html"]
    with config_context(display="text"):
        assert not hasattr(fitted, "_repr_html_")
        assert "text/html" not in fitted._repr_mimebundle_()


def test_nothing_active(problem):
    X, Y, _ = problem
    dis = SparseSharedDisentangler(3, encoder="linear", max_iter=3, sparsity=10.0)
    with pytest.warns(UserWarning, match="No component is in use"):
        dis.fit(X, Y[:, 0])
    table = Table(task_table(dis))
    assert table.rows[1] == ["task0", "regression", "", "none"]
    assert "1 task, 0 of 3 components in use" in task_table(dis)
