"""Which columns move a component: values against closed forms, names, kinds of rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    PolynomialFeatures,
    StandardScaler,
)
from torch import nn

from skdisentangle import SparseSharedDisentangler
from skdisentangle.inspection import InputEffectDisplay, InputEffects, input_effects

pytestmark = [
    pytest.mark.filterwarnings("ignore:The fit was still improving"),
    pytest.mark.filterwarnings("ignore:No component is in use"),
]


def quick(**options):
    options = {"encoder": "linear", "max_iter": 30, "random_state": 0} | options
    return SparseSharedDisentangler(4, **options)


@pytest.fixture(scope="module")
def fitted(problem):
    X, Y, _ = problem
    return quick().fit(X, Y), X, Y


def slopes(dis, n_columns):
    """Of a linear encoder, by differences."""
    step = np.vstack([np.zeros(n_columns), np.eye(n_columns)])
    codes = dis.transform(step)[:, dis.active_components_]
    return codes[1:] - codes[0]


def test_gradient_of_a_linear_encoder(fitted):
    dis, X, _ = fitted
    effects = input_effects(dis, X, method="gradient")
    slope = slopes(dis, X.shape[1])
    expected = np.abs(slope) * X.std(axis=0)[:, np.newaxis]
    np.testing.assert_allclose(effects.effects, expected)
    np.testing.assert_allclose(effects.directions, np.sign(slope))
    assert effects.components == dis.active_components_.tolist()
    assert effects.column_names == [f"x{j}" for j in range(X.shape[1])]


def test_permutation_of_a_linear_encoder(fitted):
    """|slope| times the mean distance of two rows, 2 / sqrt(pi) for normal columns."""
    dis, X, _ = fitted
    effects = input_effects(dis, X)
    assert effects.method == "permutation"
    slope = slopes(dis, X.shape[1])
    ratio = effects.effects / (np.abs(slope) * X.std(axis=0)[:, np.newaxis])
    # All components see the same exchange of a column.
    np.testing.assert_allclose(ratio, ratio[:, :1] * np.ones_like(ratio))
    np.testing.assert_allclose(ratio[:, 0], 2 / np.sqrt(np.pi), rtol=0.1)
    np.testing.assert_allclose(effects.directions, np.sign(slope))


def test_a_curved_component_has_no_direction():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    Y = np.column_stack([X[:, 0] ** 2, 2 * X[:, 0] ** 2, X[:, 1], -X[:, 1]])
    dis = quick(encoder="mlp", max_iter=100).fit(X, Y)
    for method in ("gradient", "permutation"):
        effects = input_effects(dis, X, method=method)
        tops = [effects.top(c, n_columns=1)[0] for c in effects.components]
        assert sorted(tops) == ["x0", "x1"]
        curved = tops.index("x0")
        assert abs(effects.directions[0, curved]) < 0.3
        assert abs(effects.directions[1, 1 - curved]) > 0.9


def test_names_and_strings_of_the_users_own_columns():
    """Permutation asks after the columns given, whatever the pipeline makes of them."""
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    city, age = rng.choice(["Bern", "Oslo"], 300), rng.normal(size=300)
    X = pd.DataFrame({"city": city, "age": age}, index=np.arange(300)[::-1])
    Y = np.column_stack([age, -2 * age, city == "Oslo", 1.0 * (city == "Bern")])
    before = make_column_transformer(
        (OneHotEncoder(), ["city"]), (StandardScaler(), ["age"])
    )
    pipe = make_pipeline(before, quick()).fit(X, Y)
    copy = X.copy()
    effects = input_effects(pipe, X)
    pd.testing.assert_frame_equal(X, copy)
    assert effects.column_names == ["city", "age"]
    tops = [effects.top(c, n_columns=1) for c in effects.components]
    assert sorted(tops) == [["age"], ["city"]]
    assert np.isnan(effects.directions[0]).all()
    assert "age" in str(effects)
    frame = effects.to_frame()
    assert frame.index.tolist() == ["city", "age"]
    np.testing.assert_array_equal(frame.to_numpy(), effects.effects)
    # The gradient sees what the disentangler sees.
    inner = input_effects(pipe, X, method="gradient")
    assert inner.column_names == [
        "onehotencoder__city_Bern",
        "onehotencoder__city_Oslo",
        "standardscaler__age",
    ]


def test_polars(fitted):
    pl = pytest.importorskip("polars")
    dis, X, _ = fitted
    frame = pl.DataFrame(X, schema=[f"c{j}" for j in range(X.shape[1])])
    pipe = make_pipeline(StandardScaler(), dis)
    pipe[0].fit(frame)
    assert input_effects(pipe, frame).column_names[1] == "c1"
    plain = make_pipeline(StandardScaler().fit(X), dis)
    np.testing.assert_allclose(
        input_effects(pipe, frame).effects, input_effects(plain, X).effects
    )


def test_texts_and_sparse_rows():
    rng = np.random.default_rng(0)
    words = np.array(["red", "blue", "large", "small"])
    counts = rng.integers(0, 2, size=(200, 4))
    texts = [" ".join(words[row > 0]) or "none" for row in counts]
    asked = counts[:, [0, 2]]
    Y = np.hstack([asked, 1 - asked])
    pipe = make_pipeline(CountVectorizer(), quick(max_iter=400)).fit(texts, Y)
    effects = input_effects(pipe, texts)
    assert effects.method == "gradient"
    assert {effects.top(c, 1)[0] for c in effects.components} == {"red", "large"}
    with pytest.raises(ValueError, match="method='permutation' needs X as a table"):
        input_effects(pipe, texts, method="permutation")
    rows = sparse.csr_matrix(counts.astype(float))
    dis = quick().fit(rows, Y)
    assert input_effects(dis, rows).method == "gradient"


def test_images():
    pytest.importorskip("matplotlib").use("Agg")
    import matplotlib.pyplot as plt

    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2 * 8 * 8))
    bright = X.reshape(200, 2, 8, 8)[:, :, :4].mean(axis=(1, 2, 3))
    dis = quick(encoder="conv", input_shape=(2, 8, 8), hidden_layer_sizes=())
    dis.fit(X, np.column_stack([bright, -bright]))
    effects = input_effects(dis, X)
    assert effects.method == "gradient"
    assert effects.image_shape == (2, 8, 8)
    display = InputEffectDisplay(effects).plot()
    drawn = display.im_.get_array()
    expected = effects.effects[:, 0].reshape(2, 8, 8).sum(axis=0)
    assert expected[:4].sum() > 2 * expected[4:].sum()
    signed = (effects.effects * effects.directions)[:, 0].reshape(2, 8, 8).sum(axis=0)
    np.testing.assert_allclose(drawn[:8, :8], signed / expected.max())
    # The component follows the brightness of the upper half, up or down.
    rises = np.corrcoef(dis.transform(X)[:, 0], bright)[0, 1] > 0
    assert (drawn[:4, :8].mean() > 0.1) if rises else (drawn[:4, :8].mean() < -0.1)
    assert display.ax_.texts[0].get_text() == str(dis.active_components_[0])
    plt.close("all")


def test_display():
    pytest.importorskip("matplotlib").use("Agg")
    import matplotlib.pyplot as plt

    values = np.array([[0.1, 0.9], [0.8, 0.0], [0.2, 0.1], [0.5, 0.05]])
    directions = np.array([[0.9, -0.9], [0.1, 0.0], [1.0, 1.0], [1.0, 0.0]])
    names = ["height $", "age", "income", "city"]
    effects = InputEffects(values, directions, names, [2, 5], "permutation")
    display = InputEffectDisplay(effects, max_columns=3).plot()
    assert display.order_.tolist() == [1, 3, 0]
    bars = np.array([(bar.get_x(), bar.get_width()) for bar in display.bars_])
    left, length = bars.reshape(3, 2, 2).transpose(2, 0, 1)
    np.testing.assert_allclose(length / length.max(), values[[1, 3, 0]] / 0.9)
    # From its component to the right, to the left, or to both sides if that is not clear.
    ways = (left + length / 2 - np.arange(2)) / np.where(length > 0, length / 2, 1)
    np.testing.assert_allclose(ways, [[0, 0], [1, 0], [1, -1]], atol=1e-9)
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == ["age", "city", r"height \$"]
    assert display.ax_.get_ylabel() == "column of X (3 of 4)"
    said = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert said == ["rises with it", "falls with it", "depends on the row"]
    with pytest.raises(ValueError, match="max_columns == 0"):
        InputEffectDisplay(effects, max_columns=0).plot()
    nothing = InputEffects(np.zeros((4, 0)), np.zeros((4, 0)), names, [], "gradient")
    with pytest.raises(ValueError, match="nothing to draw"):
        InputEffectDisplay(nothing).plot()
    plt.close("all")


def test_rows_are_drawn_with_a_seed(fitted):
    dis, X, _ = fitted
    first = input_effects(dis, X, max_samples=50, random_state=1)
    again = input_effects(dis, X, max_samples=50, random_state=1)
    other = input_effects(dis, X, max_samples=50, random_state=2)
    np.testing.assert_array_equal(first.effects, again.effects)
    assert np.any(first.effects != other.effects)


def test_names_where_a_step_has_none(problem):
    X, Y, _ = problem

    pipe = make_pipeline(FunctionTransformer(), quick(max_iter=5)).fit(X, Y)
    assert input_effects(pipe, X, method="gradient").column_names[0] == "x0"
    pipe = make_pipeline(PolynomialFeatures(2, include_bias=False), quick(max_iter=5))
    names = input_effects(pipe.fit(X, Y), X, method="gradient").column_names
    assert names[-1] == "x7^2"


class NotSmooth(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, rows):
        return self.layer(rows.detach())


def test_refuses(fitted):
    dis, X, Y = fitted
    with pytest.raises(ValueError, match="method must be one of 'auto', 'permutation'"):
        input_effects(dis, X, method="shap")
    with pytest.raises(ValueError, match="at least 2 rows; got 1"):
        input_effects(dis, X[:1])
    with pytest.raises(ValueError, match="each of the 8 columns; got 1"):
        input_effects(dis, X, feature_names=["a"])
    assert input_effects(dis, X, feature_names="abcdefgh").column_names[7] == "h"
    with pytest.raises(ValueError, match="max_samples == 1"):
        input_effects(dis, X, max_samples=1)
    with pytest.raises(ValueError, match="features"):
        input_effects(dis, X[:, :2])
    with pytest.raises(ValueError, match="component must be one of the active ones"):
        input_effects(dis, X).top(17)
    blind = quick(encoder=NotSmooth(), max_iter=2).fit(X, Y)
    with pytest.raises(ValueError, match="differentiate"):
        input_effects(blind, X, method="gradient")
