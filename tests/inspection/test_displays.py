"""Displays of a fit: what is drawn, how it is labelled, and what is refused."""

from __future__ import annotations

import sys
from itertools import pairwise

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_sprites
from skdisentangle.inspection import (
    FactorCodeDisplay,
    InputEffectDisplay,
    InputEffects,
    LossCurveDisplay,
    TaskComponentDisplay,
    TraversalDisplay,
    UsageDisplay,
)
from skdisentangle.inspection._plots import short_names
from skdisentangle.inspection._task_components import grouped_by_support
from skdisentangle.inspection._traversal import rows_along
from tests.conftest import make_problem

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:The fit was still improving")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def quick(**options):
    options = {"encoder": "linear", "max_iter": 40, "random_state": 0} | options
    return SparseSharedDisentangler(options.pop("n_components", 6), **options)


@pytest.fixture(scope="module")
def fitted(problem):
    X, Y, factors = problem
    return quick().fit(X, Y), X, Y, factors


@pytest.fixture(scope="module")
def idle(problem):
    """Nothing is active."""
    X, Y, _ = problem
    with pytest.warns(UserWarning, match="No component is in use"):
        return quick(max_iter=5, sparsity=10.0).fit(X, Y)


def texts(labels):
    return [label.get_text() for label in labels]


def no_overlap(figure, labels):
    """Whether all labels stand apart, as drawn."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    boxes = [label.get_window_extent(renderer) for label in labels]
    return not any(a.overlaps(b) for a, b in pairwise(boxes))


class TestNames:
    def test_long_ones_keep_both_ends(self):
        (short,) = short_names(["a beginning " + "x" * 100 + " the end"])
        assert len(short) == 32
        assert short.startswith("a beginning")
        assert short.endswith("the end")

    def test_equal_ones_get_numbers(self):
        names = [f"{'a' * 40}{number}{'b' * 40}" for number in range(2)]
        assert [name[:2] for name in short_names([*names, "c"])] == ["0:", "1:", "c"]

    def test_no_formulas_and_no_lines(self):
        assert short_names(["cost in $\n_per $ {unit}"]) == [
            r"cost in \$ _per \$ {unit}"
        ]


class TestTaskComponents:
    def test_order(self):
        used = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0], [1, 0, 0]])
        assert grouped_by_support(used.astype(bool)).tolist() == [1, 4, 3, 0, 2]

    def test_draws_the_heads(self, fitted):
        dis, *_ = fitted
        display = TaskComponentDisplay.from_estimator(dis)
        drawn = display.im_.get_array()
        tasks = [dis.tasks_[t] for t in display.order_]
        for row, task in enumerate(tasks):
            coef = dis.coef_[task.outputs][:, dis.active_components_]
            size = np.linalg.norm(coef, axis=0)
            np.testing.assert_allclose(drawn[row].filled(0), size / size.max())
            # A white cell is an exact zero, and the other way round.
            np.testing.assert_array_equal(drawn.mask[row], ~coef.any(axis=0))
        labels = texts(display.ax_.get_yticklabels())
        assert labels == [task.name for task in tasks]
        assert texts(display.ax_.get_xticklabels()) == [
            str(component) for component in dis.active_components_
        ]
        assert no_overlap(display.figure_, display.ax_.get_yticklabels())

    def test_signs(self, fitted):
        dis, *_ = fitted
        display = TaskComponentDisplay.from_estimator(dis)
        for row, index in enumerate(display.order_):
            task = dis.tasks_[index]
            for column, component in enumerate(dis.active_components_):
                text, value = display.signs_[row, column], dis.coef_[task.outputs]
                if task.type == "multiclass" or value[0, component] == 0:
                    assert text is None
                else:
                    expected = "+" if value[0, component] > 0 else "−"  # noqa: RUF001
                    assert text.get_text() == expected

    def test_many_tasks(self):
        rng = np.random.default_rng(0)
        sizes = rng.random((200, 60)) * (rng.random((200, 60)) < 0.1)
        names = [f"question {t} with a name that takes some room" for t in range(200)]
        display = TaskComponentDisplay(sizes, signs=np.sign(sizes), task_names=names)
        display.plot()
        assert all(text is None for text in display.signs_.ravel())
        for labels in (
            display.ax_.get_yticklabels(),
            display.ax_.get_xticklabels(),
        ):
            assert 10 < len(labels) < 60
            assert no_overlap(display.figure_, labels)
        assert display.ax_.get_ylabel() == "task (1 of 5 is named)"
        width, height = display.figure_.get_size_inches()
        assert max(width, height) < 15

    def test_given_axes(self):
        _, ax = plt.subplots()
        display = TaskComponentDisplay([[1.0, 0.0]], task_names=["price"]).plot(ax=ax)
        assert display.ax_ is ax
        assert display.figure_ is ax.figure
        assert texts(ax.get_yticklabels()) == ["price"]

    def test_names_of_frames_and_tasks_left_out(self, problem):
        pd = pytest.importorskip("pandas")
        X, Y, _ = problem
        labels = pd.DataFrame(Y[:, :2], columns=["$a$ and $b", "<b>"]).assign(idle=1.0)
        with pytest.warns(UserWarning, match="left out"):
            dis = quick(max_iter=5).fit(X, labels)
        display = TaskComponentDisplay.from_estimator(dis)
        drawn = texts(display.ax_.get_yticklabels())
        assert sorted(drawn) == ["<b>", r"\$a\$ and \$b"]
        display.figure_.canvas.draw()

    def test_given_names(self, fitted):
        dis, *_ = fitted
        names = [f"question {t}" for t in range(9)]
        display = TaskComponentDisplay.from_estimator(dis, task_names=names)
        drawn = texts(display.ax_.get_yticklabels())
        assert drawn == [names[t] for t in display.order_]
        with pytest.raises(ValueError, match="each of the 9 tasks; got 8"):
            TaskComponentDisplay.from_estimator(dis, task_names=names[:8])

    def test_refuses(self, idle):
        with pytest.raises(ValueError, match="nothing to draw"):
            TaskComponentDisplay.from_estimator(idle)
        with pytest.raises(ValueError, match="task_names must go with sizes"):
            TaskComponentDisplay([[1.0]], task_names=["a", "b"]).plot()
        with pytest.raises(ValueError, match="signs must go with sizes"):
            TaskComponentDisplay([[1.0]], signs=[1.0]).plot()
        with pytest.raises(ValueError, match="sizes must have shape"):
            TaskComponentDisplay([1.0]).plot()
        with pytest.raises(TypeError, match="ax must be a matplotlib Axes; got list"):
            TaskComponentDisplay([[1.0]]).plot(ax=[])
        with pytest.raises(NotFittedError):
            TaskComponentDisplay.from_estimator(SparseSharedDisentangler())
        with pytest.raises(TypeError, match="got LinearRegression"):
            TaskComponentDisplay.from_estimator(LinearRegression())


class TestEstimators:
    def test_pipelines_and_searches(self, problem):
        X, Y, _ = problem
        pipe = make_pipeline(StandardScaler(), quick(max_iter=5), LinearRegression())
        name = "sparseshareddisentangler"
        search = GridSearchCV(pipe, {f"{name}__sparsity": [0.03, 0.1]}, cv=2)
        search.fit(X, Y[:, 0], **{f"{name}__Y_tasks": Y})
        found = search.best_estimator_[name]
        display = UsageDisplay.from_estimator(search)
        np.testing.assert_array_equal(display.usage, found.usage_)
        display = UsageDisplay.from_estimator(search.best_estimator_)
        np.testing.assert_array_equal(display.usage, found.usage_)
        search = clone(search).set_params(refit=False)
        search.fit(X, Y[:, 0], **{f"{name}__Y_tasks": Y})
        with pytest.raises(ValueError, match="refit=True"):
            UsageDisplay.from_estimator(search)
        with pytest.raises(TypeError, match="got Pipeline"):
            UsageDisplay.from_estimator(make_pipeline(StandardScaler()))


class TestUsage:
    def test_bars_and_counts(self, fitted):
        dis, *_ = fitted
        display = UsageDisplay.from_estimator(dis)
        heights = [bar.get_height() for bar in display.bars_]
        np.testing.assert_allclose(heights, dis.usage_)
        used = np.array([dis.coef_[t.outputs].any(axis=0) for t in dis.tasks_])
        counts = used.sum(axis=0)
        assert texts(display.counts_) == [str(c) for c in counts if c]
        n_active = len(dis.active_components_)
        assert f"({n_active} in use)" in display.ax_.get_title()

    def test_nothing_active_and_many(self, idle):
        display = UsageDisplay.from_estimator(idle)
        assert "(0 in use)" in display.ax_.get_title()
        display = UsageDisplay(np.full(200, 1 / 200), np.ones(200, dtype=int)).plot()
        assert display.counts_ == []
        assert no_overlap(display.figure_, display.ax_.get_xticklabels())
        with pytest.raises(ValueError, match="usage and n_tasks"):
            UsageDisplay([1.0], [1, 2]).plot()
        with pytest.raises(ValueError, match="components must hold 1 names; got 2"):
            UsageDisplay([1.0], [1], components=["a", "b"]).plot()


class TestLossCurve:
    def test_curves(self, problem):
        X, Y, _ = problem
        dis = quick(max_iter=12, early_stopping=True).fit(X, Y)
        display = LossCurveDisplay.from_estimator(dis)
        np.testing.assert_array_equal(display.line_.get_ydata(), dis.loss_curve_)
        np.testing.assert_array_equal(
            display.score_line_.get_ydata(), dis.validation_scores_
        )
        assert display.line_.get_xdata()[0] == 1

    def test_stages_are_shaded(self, fitted):
        dis, X, Y, _ = fitted
        display = LossCurveDisplay.from_estimator(dis)
        named = texts(display.ax_.get_legend().get_texts())
        assert named[:3] == ["without penalties", "with penalties", "settling"]
        edges = [
            (round(box.x0, 1), round(box.x1, 1))
            for box in (span.get_extents() for span in self.in_epochs(display))
        ]
        assert edges[0][0] == 0.5
        assert edges[-1][1] == dis.n_iter_ + 0.5
        assert all(before[1] == after[0] for before, after in pairwise(edges))
        # Forty epochs: penalties set in after a sixth, and the last third settles.
        assert [start for start, _ in edges] == [0.5, 7.5, 27.5]
        dense = quick(sparsity=0, sharing=0).fit(X, Y)
        legend = LossCurveDisplay.from_estimator(dense).ax_.get_legend()
        assert texts(legend.get_texts()) == ["without penalties"]

    @staticmethod
    def in_epochs(display):
        """Paths of the spans, across in epochs."""
        return [
            span.get_path().transformed(span.get_patch_transform())
            for span in display.stages_
        ]

    def test_a_change_of_the_basis_is_a_line(self):
        stages = [(0, "without penalties"), (2, "basis changed"), (2, "settling")]
        display = LossCurveDisplay([0.4, 0.3, 0.2], stages=stages).plot()
        (line,) = [line for line in display.ax_.lines if line is not display.line_]
        assert list(line.get_xdata()) == [2.5, 2.5]
        assert len(display.stages_) == 2

    def test_no_scores_and_zero_loss(self, fitted):
        display = LossCurveDisplay.from_estimator(fitted[0])
        assert display.score_ax_ is None
        assert display.ax_.get_yscale() == "log"
        assert LossCurveDisplay([0.1, 0.0]).plot().ax_.get_yscale() == "linear"


class TestFactorCodes:
    def test_diagonal(self):
        importance = np.array([[0.0, 0.1, 0.9], [0.2, 0.0, 0.0], [0.8, 0.0, 0.1]])
        importance = np.vstack([importance, [0.0, 0.9, 0.0]])
        display = FactorCodeDisplay(
            importance, factor_names=["a", "b", "c"], code_names="wxyz"
        ).plot()
        assert display.order_.tolist() == [2, 3, 0, 1]
        np.testing.assert_array_equal(
            display.im_.get_array(), importance[[2, 3, 0, 1]].T
        )
        assert texts(display.ax_.get_xticklabels()) == ["y", "z", "w", "x"]
        assert texts(display.ax_.get_yticklabels()) == ["a", "b", "c"]
        assert display.text_[0, 0].get_text() == ".80"
        assert display.text_[0, 1] is None

    def test_from_estimator(self, fitted):
        pd = pytest.importorskip("pandas")
        dis, X, _, factors = fitted
        named = pd.DataFrame(factors, columns=["size", "age", "colour"])
        display = FactorCodeDisplay.from_estimator(
            dis, X, named, importance="linear", discrete_factors=False
        )
        assert texts(display.ax_.get_yticklabels()) == ["size", "age", "colour"]
        assert len(display.code_names) == len(dis.active_components_)
        assert np.diag(display.im_.get_array()).min() > 0.8

    def test_refuses(self, idle, problem):
        X, _, factors = problem
        with pytest.raises(ValueError, match="nothing to draw"):
            FactorCodeDisplay.from_estimator(idle, X, factors)
        with pytest.raises(ValueError, match="factor_names must hold 2 names; got 1"):
            FactorCodeDisplay([[1.0, 0.0]], factor_names=["a"]).plot()
        with pytest.raises(ValueError, match="importance must have shape"):
            FactorCodeDisplay([]).plot()


class TestTraversal:
    def test_rows(self):
        rng = np.random.default_rng(0)
        codes = rng.uniform(-1, 1, size=(5000, 3))
        reference = int(np.abs(codes).sum(axis=1).argmin())
        rows = rows_along(codes, 1, 5, reference)
        assert np.all(np.diff(codes[rows, 1]) > 0.3)
        others = codes[rows][:, [0, 2]] - codes[reference, [0, 2]]
        assert np.linalg.norm(others, axis=1).max() < 0.3

    def test_from_codes(self):
        rng = np.random.default_rng(0)
        codes = rng.uniform(size=(300, 2))
        images = np.tile(codes[:, :1, np.newaxis], (1, 4, 5))
        display = TraversalDisplay.from_codes(codes, images, names=["grey", "b"])
        assert display.rows.shape == (2, 7)
        drawn = display.im_.get_array()
        assert drawn.shape == (2 * 5 - 1, 7 * 6 - 1)
        assert np.all(np.diff(drawn[0, ::6]) > 0)
        assert drawn.mask[4].all()  # between the rows
        # What gets brighter along one component, and not along the other.
        changes = np.asarray(display.changes)
        assert changes[0].min() > 0.8
        assert np.abs(changes[1]).max() < 0.3
        left, right, *_ = display.changes_.get_extent()
        assert left >= drawn.shape[1]
        assert display.ax_.get_xlim()[1] == right
        assert texts(display.ax_.get_yticklabels()) == ["grey", "b"]
        labels = texts(display.ax_.get_xticklabels())
        assert (labels[0], labels[-2], labels[-1]) == ("2%", "98%", "change")
        color = np.stack([images] * 3, axis=-1)
        display = TraversalDisplay.from_codes(codes, color, columns=[1], n_steps=3)
        assert display.im_.get_array().shape == (4, 3 * 6 - 1, 3)
        assert display.components == [1]

    def test_from_estimator(self):
        sprites = make_sprites(200, size=8, color=True, random_state=0)
        dis = quick(encoder="conv", input_shape=sprites.input_shape, max_iter=2)
        dis.fit(sprites.data, sprites.target[:, [1, 3, 5]])
        component = int(dis.active_components_[-1])
        display = TraversalDisplay.from_estimator(
            dis, sprites.data, components=[component], n_steps=4
        )
        first = sprites.data[display.rows[0, 0]].reshape(3, 8, 8)
        drawn = display.im_.get_array()[:8, :8]
        np.testing.assert_allclose(
            drawn, np.moveaxis(first, 0, 2) / sprites.data[display.rows].max()
        )
        with pytest.raises(ValueError, match="components must be active ones"):
            TraversalDisplay.from_estimator(dis, sprites.data, components=[99])

    @pytest.mark.parametrize("color", [False, True])
    @pytest.mark.parametrize("container", [np.asarray, list])
    def test_from_images(self, color, container):
        """Images that the encoder takes are drawn as they are."""
        sprites = make_sprites(100, size=8, color=color, random_state=0)
        images = sprites.images
        assert images.ndim == 3 + color
        dis = quick(encoder="conv", max_iter=2)
        dis.fit(images, sprites.target[:, [1, 3]])
        display = TraversalDisplay.from_estimator(dis, container(images), n_steps=3)
        first = images[display.rows[0, 0]]
        drawn = display.im_.get_array()[:8, :8]
        np.testing.assert_allclose(drawn * images[display.rows].max(), first, atol=1e-6)

    def test_refuses(self, fitted, idle):
        dis, X, *_ = fitted
        with pytest.raises(ValueError, match="images must be given"):
            TraversalDisplay.from_estimator(dis, X)
        with pytest.raises(ValueError, match=r"images must have shape .* got \(300, 2"):
            TraversalDisplay.from_estimator(dis, X, images=np.zeros((300, 2)))
        with pytest.raises(ValueError, match="each of the 300 rows; got 2"):
            TraversalDisplay.from_estimator(dis, X, images=np.zeros((2, 4, 4)))
        with pytest.raises(ValueError, match="reference == 300"):
            TraversalDisplay.from_codes(X, np.zeros((300, 4, 4)), reference=300)
        with pytest.raises(ValueError, match="nothing to draw"):
            TraversalDisplay.from_estimator(idle, X)
        with pytest.raises(ValueError, match="images must have shape"):
            TraversalDisplay(np.zeros((2, 2))).plot()


class TestLongNames:
    """Names of components are turned where they have no room, and never overlap."""

    NAMES = tuple(f"a component that has a long name {number}" for number in range(12))

    @pytest.mark.parametrize(
        "make",
        [
            lambda names: TaskComponentDisplay(
                np.eye(len(names)), components=names, task_names=names
            ),
            lambda names: UsageDisplay(
                np.ones(len(names)), range(len(names)), components=names
            ),
            lambda names: FactorCodeDisplay(
                np.eye(len(names)), code_names=names, factor_names=names
            ),
            lambda names: InputEffectDisplay(
                InputEffects(
                    np.eye(len(names)),
                    np.eye(len(names)),
                    list(names),
                    list(range(len(names))),
                    "permutation",
                    component_names=list(names),
                )
            ),
        ],
        ids=["tasks", "usage", "factors", "columns"],
    )
    @pytest.mark.parametrize("number", [1, 12])
    def test_all_are_there_and_within_the_figure(self, make, number):
        display = make(self.NAMES[:number]).plot()
        display.figure_.canvas.draw()
        labels = display.ax_.get_xticklabels()
        assert len(labels) == number
        assert number == 1 or labels[0].get_rotation() > 0
        whole = display.figure_.bbox
        renderer = display.figure_.canvas.get_renderer()
        ticks = display.ax_.get_yticklabels()
        bottom, top = sorted(display.ax_.get_ylim())
        for text in (
            *labels,
            *[tick for tick in ticks if bottom <= tick.get_position()[1] <= top],
            display.ax_.xaxis.label,
            display.ax_.yaxis.label,
            display.ax_.title,
        ):
            box = text.get_window_extent(renderer)
            assert box.x0 >= -1
            assert box.y0 >= -1
            assert box.x1 <= whole.x1 + 1
            assert box.y1 <= whole.y1 + 1
        assert display.ax_.get_position().height > 0.3


def test_without_matplotlib(fitted, monkeypatch):
    for name in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)
    dis, X, *_ = fitted
    for make in (
        lambda: TaskComponentDisplay.from_estimator(dis),
        lambda: UsageDisplay.from_estimator(dis),
        lambda: LossCurveDisplay.from_estimator(dis),
        lambda: InputEffectDisplay.from_estimator(dis, X),
        lambda: FactorCodeDisplay([[1.0]]).plot(),
        lambda: TraversalDisplay(np.zeros((1, 1, 4, 4))).plot(),
    ):
        with pytest.raises(ImportError, match=r"pip install 'skdisentangle\[plots\]'"):
            make()


def test_one_component():
    X, Y, factors = make_problem(n_factors=1, n_tasks=1)
    dis = quick(n_components=1, max_iter=5).fit(X, Y)
    for display in (
        TaskComponentDisplay.from_estimator(dis),
        UsageDisplay.from_estimator(dis),
        InputEffectDisplay.from_estimator(dis, X),
        FactorCodeDisplay.from_estimator(dis, X, factors, importance="linear"),
        TraversalDisplay.from_estimator(dis, X, images=np.zeros((300, 4, 4))),
    ):
        display.figure_.canvas.draw()


def test_codes_of_a_pipeline_are_those_of_its_rows(problem):
    X, Y, factors = problem
    pipe = make_pipeline(PCA(3), quick(max_iter=5)).fit(X, Y)
    display = FactorCodeDisplay.from_estimator(pipe, X, factors, importance="linear")
    alone = FactorCodeDisplay.from_predictions(
        factors, pipe.transform(X)[:, pipe[-1].active_components_], importance="linear"
    )
    np.testing.assert_array_equal(display.importance, alone.importance)
