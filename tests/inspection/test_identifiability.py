from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors
from skdisentangle.inspection import IdentifiabilityDisplay, identifiability_report
from skdisentangle.inspection._identifiability import _separated, separating_tasks

#: Every pair of three components is told apart, by four tasks or more.
CLEAR = np.array(
    [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1]] * 2
) * np.resize([1.0, -0.7, 0.9, 0.6, -1.2], (12, 3))


def fitted(heads, **options):
    """An estimator as if fitted, with these heads of regression tasks."""
    dis = SparseSharedDisentangler(heads.shape[1], **options)
    dis.coef_ = np.asarray(heads, dtype=float)
    dis.tasks_ = [
        SimpleNamespace(outputs=slice(t, t + 1), left_out=None)
        for t in range(len(heads))
    ]
    size = np.abs(dis.coef_)
    share = size / size.sum(axis=1, keepdims=True).clip(min=1e-12)
    dis.usage_ = share.sum(axis=0) / max(share.sum(), 1e-12)
    dis.active_components_ = np.flatnonzero(size.any(axis=0))
    dis._pull = np.zeros_like(dis.coef_)
    dis.transform = lambda X: X
    return dis


def normal(correlation=0.0, n_components=3, n_rows=2000):
    matrix = np.full((n_components, n_components), correlation)
    np.fill_diagonal(matrix, 1.0)
    rows = np.random.default_rng(0).normal(size=(n_rows, n_components))
    return rows @ np.linalg.cholesky(matrix).T


def test_counts_of_tasks_that_separate():
    supports = [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    counts = separating_tasks(supports)
    # By hand: of two tasks with 0 one has no 1, and none has 2; 2 never is without 1.
    assert counts.tolist() == [[0, 1, 2], [1, 0, 1], [1, 0, 0]]
    assert separating_tasks(np.ones((5, 3), dtype=bool)).sum() == 0
    assert separating_tasks(np.eye(3)).tolist() == (1 - np.eye(3)).tolist()


def test_clear_supports_are_identifiable():
    report = identifiability_report(fitted(CLEAR))
    assert report.identifiable
    assert report.verdict.startswith("Identifiable: 3 components")
    assert report.unseparated_pairs == []
    assert report.rank == 3
    assert report.effective_n_factors == pytest.approx(3, abs=0.1)
    assert [row["verdict"] for row in report.components] == ["identifiable"] * 3
    assert [row["n_tasks"] for row in report.components] == [6, 6, 6]
    assert [row["n_separating"] for row in report.components] == [4, 4, 4]


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_units_of_the_labels_do_not_matter(unit):
    scale = np.where(np.arange(12) % 2, 1.0, unit)[:, np.newaxis]
    report = identifiability_report(fitted(CLEAR * scale))
    assert report.identifiable
    assert report.rank == 3


def test_component_that_is_never_alone():
    heads = CLEAR.copy()
    heads[:, 1] = np.where((heads[:, 1] == 0) & (heads[:, 0] != 0), 1.1, heads[:, 1])
    report = identifiability_report(fitted(heads), normal())
    assert not report.identifiable
    assert report.unseparated_pairs == [(0, 1)]
    assert report.verdict.startswith(
        "Not identifiable: 1 of 3 components in doubt (component 0)."
    )
    row = report.components[0]
    assert row["mixed_with"] == [1]
    assert row["verdict"] == (
        "may be mixed with component 1 (none of the 6 tasks omits component 1)"
    )
    # Which says nothing of 1 itself.
    assert report.components[1]["identifiable"]


def test_dense_heads():
    heads = np.random.default_rng(0).uniform(0.5, 1.5, size=(40, 5))
    report = identifiability_report(fitted(heads), normal(n_components=5))
    assert not report.identifiable
    assert len(report.unseparated_pairs) == 20
    assert "tasks that need nearly all factors" in report.verdict


def test_as_many_tasks_as_components():
    """One task a component: any heads can be brought to that form."""
    heads = np.eye(4)
    assert not identifiability_report(fitted(heads)).identifiable
    correlated = identifiability_report(
        fitted(heads), normal(correlation=0.6, n_components=4)
    )
    assert not correlated.identifiable
    assert len(correlated.unseparated_pairs) == 12


def test_few_tasks_count_if_components_are_uncorrelated():
    few = CLEAR[:6]
    without_rows = identifiability_report(fitted(few))
    assert not without_rows.identifiable
    assert "Given X" in without_rows.verdict
    assert identifiability_report(fitted(few), normal()).identifiable
    assert not identifiability_report(fitted(few), normal(0.5)).identifiable
    # With more tasks correlation does not matter.
    assert identifiability_report(fitted(CLEAR), normal(0.9)).identifiable


def test_zeros_without_a_gap_are_chance():
    sizes = np.abs(CLEAR)
    sizes = np.vstack([sizes, [[1, 0.2, 0], [1, 0.1, 0]]])
    none = np.zeros_like(sizes, dtype=bool)
    separated, without, small = _separated(sizes, none, np.eye(3))
    assert without[0, 1] == 4
    assert small[0, 1] == 2
    assert not separated[0, 1]
    sizes[-2:, 1] = 0.5
    assert _separated(sizes, none, np.eye(3))[0].all()


def test_zeros_that_only_the_penalty_holds():
    dis = fitted(CLEAR)
    without_1 = (CLEAR[:, 0] != 0) & (CLEAR[:, 1:] == 0).all(axis=1)
    largest = np.abs(CLEAR).max(axis=1)
    dis._pull[without_1, 1] = 0.03 * largest[without_1]
    report = identifiability_report(dis, normal())
    assert report.unseparated_pairs == [(0, 1)]
    assert report.separating_tasks[0, 1] == 2
    assert report.components[0]["verdict"] == (
        "may be mixed with component 1 (2 of the 6 tasks omit component 1; 2 nearly do)"
    )
    dis._pull /= 2
    assert identifiability_report(dis, normal()).identifiable


def test_factors_that_are_used_only_together():
    """In some basis of theirs many tasks seem to need one alone; the data say otherwise."""
    fooled = 0
    for seed in range(4):
        problem = make_multitask_factors(
            1000,
            n_factors=4,
            n_features=8,
            n_tasks=20,
            mixing="linear",
            support_size=(1, 2),
            task_types="regression",
            random_state=seed,
        )
        rng = np.random.default_rng(seed)
        used = problem.supports.copy()
        used[:, 3] = used[:, 0]
        used[~used.any(axis=1), 1] = True
        weights = rng.uniform(0.5, 1.5, used.shape) * rng.choice([-1, 1], used.shape)
        Y = problem.factors @ (used * weights).T
        Y = Y / Y.std(axis=0) + 0.1 * rng.normal(size=Y.shape)
        dis = SparseSharedDisentangler(8, encoder="linear", random_state=0)
        report = identifiability_report(dis.fit(problem.X, Y), problem.X)
        assert len(report.components) == 4
        assert not report.identifiable
        assert sum(row["identifiable"] for row in report.components) >= 2
        dis._pull = None
        fooled += identifiability_report(dis, problem.X).identifiable
    assert fooled >= 2


def test_a_task_of_several_outputs_counts_once():
    dis = fitted(np.repeat(CLEAR[:6], 2, axis=0))
    assert identifiability_report(dis).identifiable
    dis.tasks_ = [
        SimpleNamespace(outputs=slice(2 * t, 2 * t + 2), left_out=None)
        for t in range(6)
    ]
    report = identifiability_report(dis)
    assert report.n_tasks == 6
    assert not report.identifiable


def test_rarely_used_components_do_not_decide():
    heads = np.zeros((26, 4))
    heads[:12, :3] = heads[12:24, :3] = CLEAR
    heads[24:] = [[1, 0, 0, 0.4], [0, 1, 0, 0]]
    report = identifiability_report(fitted(heads))
    row = report.components[3]
    assert row["minor"]
    assert not row["identifiable"]
    assert report.identifiable
    assert report.verdict.endswith("except component 3, used rarely.")


def test_heads_of_less_rank_than_components():
    """Every pair is told apart, but the four heads see three directions of the four."""
    heads = np.zeros((24, 4))
    block = [[1, -1, 0, 0], [0, 1, -1, 0], [0, 0, 1, -1], [-1, 0, 0, 1]]
    heads[:] = np.tile(block, (6, 1))
    report = identifiability_report(fitted(heads))
    assert report.unseparated_pairs == []
    assert report.rank == 3
    assert not report.identifiable
    assert "rank 3, which is less than 4" in report.verdict
    assert "do not see" in report.components[0]["verdict"]


def test_nothing_active_and_one_component():
    report = identifiability_report(fitted(np.zeros((3, 2))), normal(n_components=2))
    assert not report.identifiable
    assert report.verdict == "Not identifiable: no component is active."
    assert report.verdict in str(report)
    one = identifiability_report(fitted(np.ones((3, 1))), normal(n_components=1))
    assert not one.identifiable
    assert "all tasks use the only component, so it may be a mixture" in one.verdict
    assert one.components[0]["verdict"] == "used by all tasks: may be a mixture"
    assert np.isnan(one.components[0]["n_separating"])


def test_a_task_without_components_omits_none():
    heads = np.ones((3, 1)) * [[1], [1], [0]]
    assert identifiability_report(fitted(heads)).components[0]["used_by_all"]


@pytest.mark.parametrize("n_others", [1, 2])
def test_what_all_tasks_use_is_in_doubt_beside_others(n_others):
    """Others are told apart as before, but all may hold some of it."""
    others = CLEAR[:, :n_others]
    heads = np.column_stack([np.ones(len(CLEAR)), others])
    report = identifiability_report(fitted(heads), normal(n_components=1 + n_others))
    assert not report.identifiable
    assert "All tasks use component 0." in report.verdict
    first, *rest = report.components
    assert first["used_by_all"]
    assert not first["identifiable"]
    assert first["mixed_with"] == []
    assert first["verdict"] == "used by all tasks: may be a mixture"
    assert [row["mixed_with"] for row in rest] == [[0]] * n_others
    assert not any(row["used_by_all"] for row in rest)
    # One task that does without it is not enough for the others, but for itself.
    heads = np.vstack([heads, [[0] + [1] * n_others]])
    report = identifiability_report(fitted(heads), normal(0.9, 1 + n_others))
    assert report.components[0]["identifiable"]


def test_one_task_tells_nothing_apart():
    report = identifiability_report(fitted(np.ones((1, 2))), normal(n_components=2))
    assert report.verdict.startswith("Not identifiable: a single task cannot tell")
    for row, other in zip(report.components, (1, 0), strict=True):
        assert not row["identifiable"]
        assert row["verdict"].startswith(
            "one task tells nothing apart; may be mixed with component "
            f"{other} (only one task uses it, which uses component {other}, too)"
        )


def test_names_stand_in_all_sentences():
    heads = CLEAR.copy()
    heads[:, 1] = np.where((heads[:, 1] == 0) & (heads[:, 0] != 0), 1.1, heads[:, 1])
    dis = fitted(heads)
    dis.component_names_ = np.array(["height", "debt", "sparseshareddisentangler2"])
    report = identifiability_report(dis, normal())
    assert "1 of 3 components in doubt (height)." in report.verdict
    assert [row["name"] for row in report.components] == ["height", "debt", 2]
    assert report.components[0]["verdict"] == (
        "may be mixed with debt (none of the 6 tasks omits debt)"
    )
    lines = str(report).splitlines()
    assert lines[5].lstrip().startswith("height ")
    assert lines[7].lstrip().startswith("2 ")


def test_table_and_frame():
    pytest.importorskip("pandas")
    report = identifiability_report(fitted(CLEAR))
    lines = str(report).splitlines()
    assert "12 tasks, 3 active components, heads of rank 3" in lines[2]
    assert len(lines) == 5 + 3
    frame = report.to_frame()
    assert frame.index.tolist() == [0, 1, 2]
    assert frame.loc[1, "n_tasks"] == 6


@pytest.mark.parametrize(
    ("support_size", "expected"), [((1, 2), True), (4, False)], ids=["sparse", "dense"]
)
def test_of_real_fits(support_size, expected):
    problem = make_multitask_factors(
        400,
        n_factors=4,
        n_features=6,
        n_tasks=40,
        mixing="linear",
        support_size=support_size,
        task_types="regression",
        random_state=0,
    )
    dis = SparseSharedDisentangler(8, encoder="linear", random_state=0)
    report = identifiability_report(dis.fit(problem.X, problem.Y), problem.X)
    assert report.identifiable is expected
    assert report.verdict.startswith("Identifiable" if expected else "Not identif")


@pytest.fixture(scope="module")
def small_fit():
    problem = make_multitask_factors(
        300,
        n_factors=3,
        n_features=5,
        n_tasks=15,
        mixing="linear",
        support_size=(1, 2),
        random_state=1,
    )
    dis = SparseSharedDisentangler(4, encoder="linear", max_iter=60, random_state=0)
    return dis.fit(problem.X, problem.Y), problem.X, problem.Y


@pytest.mark.filterwarnings("ignore:The fit was still improving")
def test_stability_over_refits(small_fit):
    dis, X, Y = small_fit
    options = {"n_refits": 2, "random_state": 0}
    report = identifiability_report(dis, X, Y, **options)
    stability = [row["stability"] for row in report.components]
    assert min(stability) > 0.9
    again = identifiability_report(dis, X, Y, **options)
    assert [row["stability"] for row in again.components] == stability
    # Components that are not those of the re-fits are told.
    tasks = dis._task_set
    dis = fitted(CLEAR, encoder="linear", max_iter=60)
    dis._task_set = tasks
    noise = np.random.default_rng(0).normal(size=(300, 3))
    dis.transform = lambda X: noise
    report = identifiability_report(dis, X, Y, **options)
    assert not report.identifiable
    assert all("other fits" in row["verdict"] for row in report.components)


@pytest.mark.filterwarnings("ignore:The fit was still improving")
def test_frames(small_fit):
    pd = pytest.importorskip("pandas")
    dis, X, Y = small_fit
    frame = pd.DataFrame(X), pd.DataFrame(Y)
    dis_frame = SparseSharedDisentangler(
        4, encoder="linear", max_iter=60, random_state=0
    )
    dis_frame.set_output(transform="pandas").fit(*frame)
    report = identifiability_report(dis_frame, *frame, n_refits=1, random_state=0)
    expected = identifiability_report(dis, X)
    np.testing.assert_allclose(report.correlation, expected.correlation)
    assert report.components[0]["stability"] > 0.9


def test_errors(small_fit):
    dis, X, Y = small_fit
    with pytest.raises(TypeError, match="got LinearRegression"):
        identifiability_report(LinearRegression())
    with pytest.raises(NotFittedError):
        identifiability_report(SparseSharedDisentangler())
    with pytest.raises(ValueError, match="without X"):
        identifiability_report(dis, Y_tasks=Y)
    with pytest.raises(ValueError, match="n_refits == 0"):
        identifiability_report(dis, X, Y, n_refits=0)
    with pytest.raises(ValueError, match="at least 2 rows"):
        identifiability_report(dis, X[:1])
    with pytest.raises(ValueError, match="features"):
        identifiability_report(dis, X[:, :2])
    for wrong in (Y[:-1], np.vstack([Y, Y])):
        with pytest.raises(ValueError, match=f"each of the 300 rows.*{len(wrong)}"):
            identifiability_report(dis, X, wrong)
    with pytest.raises(ValueError, match="has 3 tasks"):
        identifiability_report(dis, X, Y[:, :3])


def test_components_that_do_not_vary_are_no_evidence(small_fit):
    """They are not uncorrelated; the verdict is the one without rows."""
    dis, X, _ = small_fit
    report = identifiability_report(dis, np.repeat(X[:1], 5, axis=0))
    assert np.isnan(report.correlation).all()
    assert not report.identifiable
    without = identifiability_report(dis)
    np.testing.assert_array_equal(report.separated, without.separated)


def test_refits_draw_rows_from_which_a_task_can_be_learned():
    """One row of the rare class is left out by a third of the draws."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    y = np.array(["rare"] + ["often"] * 59)
    dis = SparseSharedDisentangler(
        2, encoder="linear", max_iter=5, sparsity=1e-3, sharing=0.0, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dis.fit(X, y)
        report = identifiability_report(dis, X, y, n_refits=8, random_state=0)
        assert report.components[0]["stability"] > 0
        same = np.full(60, "often")
        with pytest.raises(ValueError, match="must have more labels for re-fits"):
            identifiability_report(dis, X, same)


@pytest.mark.filterwarnings("ignore:The fit was still improving")
def test_of_a_pipeline_and_a_search(small_fit):
    dis, X, Y = small_fit
    pipe = make_pipeline(StandardScaler(), clone(dis)).fit(X, Y)
    report = identifiability_report(pipe, X, Y, n_refits=1, random_state=0)
    rows = pipe[0].transform(X)
    alone = identifiability_report(pipe[1], rows, Y, n_refits=1, random_state=0)
    assert str(report) == str(alone)
    search = GridSearchCV(pipe, {f"{pipe.steps[1][0]}__sparsity": [0.03]}, cv=2)
    found = identifiability_report(search.fit(X, Y), X)
    assert found.verdict == identifiability_report(search.best_estimator_, X).verdict


def test_display():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    heads = np.vstack([CLEAR, [[1.0, 0, 0]]])
    heads[:, 1] = np.where(heads[:, 0] != 0, 1.1, heads[:, 1])
    display = IdentifiabilityDisplay.from_estimator(fitted(heads))
    assert display.figure_ is display.ax_.figure
    assert len(display.frames_) == len(display.report.unseparated_pairs) > 0
    assert display.text_[0, 1].get_text() == "0"
    assert display.text_[0, 0] is None
    assert "Not identifiable" in display.ax_.get_title()
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels[0] == "in doubt 0"
    _, ax = plt.subplots()
    clear = IdentifiabilityDisplay(identifiability_report(fitted(CLEAR))).plot(ax=ax)
    assert clear.ax_ is ax
    assert clear.frames_ == []
    assert ax.get_title() == "Identifiable"
    with pytest.raises(ValueError, match="nothing to draw"):
        IdentifiabilityDisplay.from_estimator(fitted(np.zeros((3, 2))))
    plt.close("all")


def test_display_without_matplotlib(monkeypatch):
    for name in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    report = identifiability_report(fitted(CLEAR))
    with pytest.raises(ImportError, match="pip install 'skdisentangle\\[plots\\]'"):
        IdentifiabilityDisplay(report).plot()
