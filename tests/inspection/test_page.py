"""A look at data before a fit, and a fit on one page."""

from __future__ import annotations

import re
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from skdisentangle import SparseSharedDisentangler
from skdisentangle.inspection import data_concerns, write_report
from skdisentangle.inspection._scores import score_lines


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(300, 3)), columns=["a", "b", "<c>"])
    Y_tasks = pd.DataFrame(
        {
            "one": X["a"] + 0.1 * rng.normal(size=300),
            "two": np.where(X["b"] > 0, "yes", "no"),
            "three": X["a"] - X["b"] + 0.1 * rng.normal(size=300),
        }
    )
    return X, Y_tasks


def test_good_data_raise_no_concern(table):
    X, Y_tasks = table
    assert data_concerns(X, Y_tasks) == []
    assert data_concerns(X.to_numpy(), Y_tasks.drop(columns="two").to_numpy()) == []
    assert data_concerns(sparse.csr_matrix(X.to_numpy()), Y_tasks) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda X, Y: (X, Y[["one"]]), "There is one task."),
        (
            lambda X, Y: (X, Y.assign(few=[1.0, 2.0, *[np.nan] * 298])),
            "There are fewer than 30 labels of 'few'.",
        ),
        (
            lambda X, Y: (X, Y.assign(flat="x")),
            "All labels of 'flat' are the same, or missing.",
        ),
        (
            lambda X, Y: (X, Y.assign(again=-2 * Y["one"] + 5)),
            "Tasks say the same: 'one' and 'again'.",
        ),
        (
            lambda X, Y: (X, Y.assign(other=np.where(X["b"] > 0, 7, 3))),
            "Tasks say the same: 'two' and 'other'.",
        ),
        (
            lambda X, Y: (
                X,
                Y.assign(
                    near=Y["one"] + 0.1 * X["<c>"], nearer=3 * Y["one"] + 0.1 * X["b"]
                ),
            ),
            "Tasks say nearly the same (correlation above 0.98): 'one', 'near', 'nearer'.",
        ),
        (lambda X, Y: (X.assign(flat=4.0), Y), "constant, and say nothing: 'flat'."),
        (
            lambda X, Y: (X.assign(number=np.arange(300) * 3 + 9), Y),
            "look like ids, a whole number for each row: 'number'.",
        ),
        (
            lambda X, Y: (
                X.assign(key=np.random.default_rng(1).permutation(300)),
                Y,
            ),
            "look like ids, a whole number for each row: 'key'.",
        ),
        (
            lambda X, Y: (pd.concat([X[:200], X[:100]]), Y),
            "33% of the rows of X repeat others.",
        ),
        (
            lambda X, Y: (X.assign(price=3 * Y["three"]), Y),
            "Task 'three' says the same as column 'price' of X.",
        ),
    ],
)
def test_each_concern_is_told_alone(table, change, said):
    (found,) = data_concerns(*change(*table))
    assert said in found


def test_counts_and_codes_are_no_ids(table):
    X, Y_tasks = table
    rng = np.random.default_rng(1)
    more = X.assign(age=rng.integers(18, 90, 300), salary=rng.integers(10**6, size=300))
    assert data_concerns(more, Y_tasks) == []


def test_only_rows_that_both_have_are_compared(table):
    """Half of a task repeats another, and nothing is known of its other half."""
    X, Y_tasks = table
    half = np.where(np.arange(300) < 150, 4 * Y_tasks["one"] - 1, np.nan)
    (found,) = data_concerns(X, Y_tasks.assign(half=half))
    assert "'one' and 'half'" in found
    apart = np.where(np.arange(300) < 20, Y_tasks["one"], np.nan)
    found = data_concerns(X, Y_tasks.assign(apart=apart))
    assert not any("say the same" in concern for concern in found)  # too few to tell


def test_images_and_texts_have_no_columns():
    rng = np.random.default_rng(0)
    Y_tasks = rng.normal(size=(50, 2))
    images = [rng.normal(size=(4, 4 + i % 2)) for i in range(50)]  # of two sizes
    for X in (
        ["a text"] * 50,
        images,
        np.zeros((50, 4, 4)),
        pd.Series(["a text"] * 50),
    ):
        assert data_concerns(X, Y_tasks) == []
    with pytest.raises(ValueError, match="for each of the 50 rows of X; got 49"):
        data_concerns(images, Y_tasks[1:])


def test_rows_and_labels_must_go_together(table):
    X, Y_tasks = table
    with pytest.raises(ValueError, match="for each of the 299 rows of X; got 300"):
        data_concerns(X[1:], Y_tasks)


@pytest.fixture(scope="module")
def fitted(table):
    X, Y_tasks = table
    dis = SparseSharedDisentangler(encoder="linear", random_state=0)
    return dis.fit(X, Y_tasks)


class TestReport:
    def test_it_holds_all_that_it_shows(self, fitted, table, tmp_path):
        X, Y_tasks = table
        path = fitted.report(tmp_path / "fit.html", X, Y_tasks)
        html = path.read_text()
        for part in (
            "What each component means",
            "Can the components be factors?",
            "share of use",
            "&lt;c&gt;",
            "Nothing stands out.",
            "scikit-learn",
            "nonlinear_noise_",
        ):
            assert part in html
        assert "<c>" not in html
        score = fitted.score_tasks(X, Y_tasks=Y_tasks)[0]
        assert f"<td>one</td><td>{score:.3f} (R2)</td><td></td><td></td>" in html
        often = Y_tasks["two"].value_counts(normalize=True).max()
        area = roc_auc_score(Y_tasks["two"], fitted.predict_proba(X)[1][:, 1])
        cells = f"<td>{often:.3f}</td><td>{area:.3f}</td>"
        assert f" (accuracy)</td>{cells}" in html
        # Nothing is fetched: all sources are data, and there are no scripts or sheets.
        assert all(
            source.startswith("data:") for source in re.findall(r'src="([^"]+)"', html)
        )
        assert not re.search(r"<(script|link)|url\(", html)

    def test_labels_and_pictures_may_be_left_out(
        self, fitted, table, tmp_path, monkeypatch
    ):
        monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
        path = tmp_path / "fit.html"
        fitted.report(path, table[0])
        html = path.read_text()
        assert "<img" not in html
        assert "Concerns" not in html
        assert "(R2)" not in html

    def test_texts_are_in_it(self, tmp_path):
        words = ["red", "large", "old"]
        has = np.random.default_rng(0).integers(0, 2, size=(100, 3)).astype(bool)
        texts = [
            " ".join(np.array(words)[row]) + f", number {i}"
            for i, row in enumerate(has)
        ]
        dis = SparseSharedDisentangler(encoder="linear", random_state=0)
        pipe = make_pipeline(CountVectorizer(vocabulary=words), dis).fit(texts, has)
        html = write_report(pipe, tmp_path / "fit.html", texts, has).read_text()
        lowest = np.argsort(pipe.transform(texts)[:, 0])[0]
        assert f"{lowest}: {texts[lowest]}" in html
        assert "<td>task0</td><td>1.000 (accuracy)</td>" in html

    def test_images_are_in_it(self, tmp_path):
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, size=(60, 8, 8), dtype=np.uint8)
        images[::2] //= 2
        labels = np.arange(60) % 2
        dis = SparseSharedDisentangler(encoder="conv", random_state=0)
        dis.fit(images, np.column_stack([labels, 1 - labels]))
        path = dis.report(tmp_path / "fit.html", images)
        html = path.read_text()
        n_rows = 8 * len(dis.active_components_)
        assert (
            len(re.findall(r'<img alt="row \d+" src="data:image/png', html)) == n_rows
        )

    def test_without_pandas(self, tmp_path, monkeypatch):
        X = np.random.default_rng(0).normal(size=(100, 3))
        Y_tasks = X @ np.array([[1.0, 0, 1], [0, 1, 1], [0, 0, 0]])
        dis = SparseSharedDisentangler(encoder="linear", random_state=0)
        dis.fit(X, Y_tasks)
        expected = dis.report(tmp_path / "with.html", X, Y_tasks).read_text()
        monkeypatch.setitem(sys.modules, "pandas", None)
        found = dis.report(tmp_path / "without.html", X, Y_tasks).read_text()
        assert found == expected

    def test_much_noise_is_a_concern(self, table, tmp_path):
        X, Y_tasks = table
        path = tmp_path / "fit.html"
        for encoder in ("mlp", "linear"):
            dis = SparseSharedDisentangler(encoder=encoder, random_state=0)
            html = dis.fit(X[:90], Y_tasks[:90]).report(path, X).read_text()
            assert ("nonlinear_noise_ is at least 1" in html) == (encoder == "mlp")

    def test_the_path_comes_first(self, fitted, table, tmp_path):
        with pytest.raises(TypeError, match=r"comes before X and Y_tasks; got DataFr"):
            fitted.report(*table, tmp_path / "fit.html")

    def test_what_was_there_stays_if_it_fails(self, fitted, table, tmp_path):
        path = tmp_path / "fit.html"
        path.write_text("before")
        with pytest.raises(ValueError, match="at least 2 rows"):
            fitted.report(path, table[0][:1])
        assert path.read_text() == "before"
        with pytest.raises(OSError, match="No such file"):
            fitted.report(tmp_path / "no" / "fit.html", table[0])


class TestScores:
    def test_the_area_tells_of_a_rare_class_what_accuracy_does_not(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(2000, 3))
        noise = rng.normal(size=(2, 2000))
        odds = np.column_stack([X[:, 0] + noise[0], noise[1]])
        rare = pd.DataFrame((odds > 2.5).astype(int), columns=["seen", "unseen"])
        rare["grade"] = np.digitize(X[:, 1], [-0.5, 0.5]).astype(str)
        dis = SparseSharedDisentangler(
            encoder="linear", input_noise=0, random_state=0
        ).fit(X[:1000], rare[:1000])
        seen, unseen, grade = score_lines(dis, X[1000:], rare[1000:])
        assert seen[1].endswith("(accuracy)")
        assert abs(float(seen[1].split()[0]) - float(seen[2])) < 0.02
        assert float(seen[3]) > 0.8
        assert abs(float(unseen[3]) - 0.5) < 0.15
        assert grade[3] == ""

    def test_gaps_and_unknown_classes_are_left_out(self, fitted, table):
        X, Y_tasks = table
        chances = fitted.predict_proba(X)[1][:, 1]
        two = Y_tasks["two"].copy()
        two[::3], two[1::3] = None, "perhaps"
        area = roc_auc_score(two[2::3], chances[2::3])
        assert score_lines(fitted, X, Y_tasks.assign(two=two))[1][3] == f"{area:.3f}"
        assert score_lines(fitted, X, Y_tasks.assign(two="yes"))[1][3] == ""
        nothing = Y_tasks.assign(two=np.where(X["a"] > 9, "yes", None))
        assert score_lines(fitted, X, nothing)[1][1:] == ("none", "", "")
