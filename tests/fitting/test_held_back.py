"""Noise that is chosen on rows held back, and what becomes of it in a fit."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score

from skdisentangle import SparseSharedDisentangler
from skdisentangle.encoders.networks import build_body
from skdisentangle.fitting import held_back
from skdisentangle.fitting.held_back import _is_held_back
from skdisentangle.fitting.regularisation import LEAST, NoisyRows, RowNoise
from skdisentangle.rows.batches import LabelTensors


def _noisy_table(n_rows, seed=0, error=1.5):
    """Four tasks of which a linear model can know half."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 12))
    truth = rng.normal(size=(12, 4)) / 12**0.5
    return X, X @ truth + error * rng.normal(size=(n_rows, 4)) / 1.5


def _products(n_rows, seed=0):
    """Tasks that a linear model knows nothing of."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 4))
    first, second = X[:, 0] * X[:, 1], X[:, 2] * X[:, 3]
    tasks = [first, second, first + second, first - second]
    return X, np.column_stack(tasks)


def test_a_noisy_table_is_predicted_about_as_well_as_by_a_ridge():
    X, Y = _noisy_table(1600)
    rows, others = slice(0, 400), slice(400, None)
    dis = SparseSharedDisentangler(random_state=0).fit(X[rows], Y[rows])
    ridge = RidgeCV(np.logspace(-1, 4, 12)).fit(X[rows], Y[rows])
    ours = r2_score(Y[others], dis.predict(X[others]))
    assert ours > r2_score(Y[others], ridge.predict(X[others])) - 0.02
    assert dis.nonlinear_noise_ >= held_back.NONLINEAR


def test_what_is_not_linear_is_still_learned():
    X, Y = _products(2500)
    dis = SparseSharedDisentangler(random_state=0).fit(X[:1500], Y[:1500])
    assert dis.nonlinear_noise_ < held_back.NONLINEAR
    assert r2_score(Y[1500:], dis.predict(X[1500:])) > 0.9


def test_with_few_rows_nothing_is_held_back(monkeypatch):
    tried = []
    monkeypatch.setattr(held_back, "_look", lambda *given: tried.append(given))
    X, Y = _noisy_table(held_back.FEW_ROWS - 1)
    dis = SparseSharedDisentangler(random_state=0).fit(X, Y)
    assert not tried
    assert dis.nonlinear_noise_ == held_back.NONLINEAR
    assert dis.input_noise_ >= LEAST


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        # Those at (linear, nonlinear); all else is as bad as can be.
        ({(0.2, 1.0): 1.0}, (0.2, 1.0)),
        ({(0.2, 1.0): 1.0, (0.2, 0.3): 0.9, (0.2, 0.0): 0.8}, (0.2, 0.0)),
        ({(0.2, 1.0): 1.0, (0.2, 0.3): 1.0 - 1e-9, (0.2, 0.0): 0.8}, (0.2, 0.0)),
        # More for hidden layers is taken at a tie of all but the last digits.
        ({(0.2, 1.0): 1.0, (0.2, 2.0): 1.0 - 1e-9}, (0.2, 2.0)),
        ({(0.2, 1.0): 1.0, (0.2, 2.0): 1.0 + 1e-9}, (0.2, 1.0)),
        ({(0.2, 1.0): 3, (0.4, 1.0): 2, (0.4, 2.0): 1.9}, (0.4, 2.0)),
        ({(0.2, 1.0): 1.0, (0.2, 0.3): 0.9, (0.2, 2.0): 0.5}, (0.2, 0.3)),
        # Where less is worse, none is not tried.
        ({(0.2, 1.0): 1.0, (0.2, 0.0): 0.8}, (0.2, 1.0)),
        ({(0.2, 1.0): 1.0, (0.4, 1.0): 0.9, (0.8, 1.0): 0.7}, (0.8, 1.0)),
        ({(0.2, 1.0): 1.0, (0.2, 0.3): 0.5, (0.4, 0.3): 0.4}, (0.4, 0.3)),
        ({(0.2, 1.0): 1.0, (0.2, 0.3): 0.5, (0.0, 0.3): 0.3}, (0.0, 0.3)),
        ({(0.2, 1.0): 1.0, (0.0, 1.0): 0.3}, (0.2, 1.0)),
        # Learned by heart: less noise for hidden layers is better, but not good.
        ({(0.2, 1.0): 3, (0.2, 0.3): 2.5, (0.4, 1.0): 2, (0.8, 1.0): 1}, (0.8, 1.0)),
        # Only hidden layers know something: where all noise is doubled they know nothing.
        (
            {
                **{(0.2, 1.0): 1.1, (0.4, 1.0): 1.0, (0.2, 0.3): 0.8},
                **{(0.2, 0.0): 0.6, (0, 0): 0.5},
            },
            (0.0, 0.0),
        ),
    ],
)
def test_the_better_is_taken(losses, expected):
    counts = torch.ones(100, dtype=torch.float64)

    def tried(*noise):
        each = torch.full((100, 2), losses.get(noise, 9.0) / 100, dtype=torch.float64)
        return held_back._Tried(each, each)

    noise = held_back._least(tried, counts, 0.2, 1.0, least=0.0, least_nonlinear=0.0)
    assert (noise.rows, noise.nonlinear) == expected


@pytest.mark.filterwarnings("ignore:The fit was still improving")
def test_short_fits_are_sparse_and_do_not_share(monkeypatch):
    """Without a basis `sharing` switches off what is needed, and hides what the noise does."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    seen = []

    def train(state, rows, labels, options, **settings):
        seen.append((options.sparsity, options.sharing))
        return plain(state, rows, labels, options, **settings)

    plain = held_back.train
    monkeypatch.setattr(held_back, "train", train)
    SparseSharedDisentangler(sparsity=0.2, sharing=0.3, max_iter=4).fit(X, X)
    assert set(seen) == {(0.2, 0.0)}


def test_what_is_in_doubt_is_left_to_the_noise():
    spread = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(200).unsqueeze(1)
    counts = torch.ones(400, dtype=torch.float64)

    def chosen(gain, least=0.0):
        def tried(linear, nonlinear):
            gained = gain if nonlinear == least else 1e-9 * (nonlinear < 1)
            losses = 1 - gained - (spread if nonlinear < 1 else 0 * spread)
            return held_back._Tried(losses / 400, losses)

        return held_back._least(
            tried, counts, 0.0, 1.0, least=0.0, least_nonlinear=least
        ).nonlinear

    error = float(spread.std()) / 400**0.5
    assert chosen(0.9 * held_back.BETTER * error) == 1.0
    assert chosen(1.1 * held_back.BETTER * error) == 0.0
    assert chosen(1.1 * held_back.BETTER * error, LEAST) == LEAST


def test_a_row_that_stands_for_two_counts_as_two():
    values = torch.randn(30, 1, generator=torch.Generator().manual_seed(0)).double()
    twice = torch.cat([values, values])
    by_count = held_back._error(2 * values, torch.full((30,), 2.0).double())
    by_row = held_back._error(twice, torch.ones(60).double())
    assert by_count == pytest.approx(float(by_row))
    usual = held_back._usual(2 * values, torch.full((30,), 2.0).double())
    by_row = held_back._usual(twice, torch.ones(60).double())
    torch.testing.assert_close(usual, by_row[:30] + by_row[30:])
    assert usual.abs().max() < 2 * values.abs().max()


def test_equal_rows_stay_together_wherever_they_stand():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(400, 6, generator=generator)
    targets = torch.randn(400, 2, generator=generator)
    order = torch.randperm(800, generator=generator)
    twice = LabelTensors(targets.repeat(2, 1)[order], None, None)
    held = _is_held_back(rows, LabelTensors(targets, None, None), 0)
    both = _is_held_back(rows.repeat(2, 1)[order], twice, 0)
    assert torch.equal(both, held.repeat(2)[order])
    assert 0.15 < held.double().mean() < 0.35
    # Measurements that were repeated, with other results, are no copies.
    again = _is_held_back(rows[:1].repeat(400, 1), LabelTensors(targets, None, None), 0)
    assert 0.15 < again.double().mean() < 0.35


def test_rows_of_a_few_kinds_are_held_back_at_random():
    X = np.repeat([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], 60, axis=0)
    y = X[:, 0] != X[:, 1]
    Y = np.column_stack([y, ~y])
    for seed in range(4):
        dis = SparseSharedDisentangler(
            2, random_state=seed, hidden_layer_sizes=(16,), input_noise="auto"
        ).fit(X, Y)
        assert dis.score(X, Y) == 1.0


def test_few_rows_of_much_weight_can_be_fitted():
    X, Y = _noisy_table(6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dis = SparseSharedDisentangler(2, random_state=0, max_iter=20, sparsity=0)
        dis.fit(X, Y, sample_weight=np.full(6, 50.0))
    assert np.isfinite(dis.transform(X)).all()


def test_a_weight_of_two_chooses_as_two_rows_do():
    X, Y = _noisy_table(120)
    weight = np.r_[np.full(60, 2.0), np.ones(60)]
    twice = np.r_[np.arange(60), np.arange(120)]
    made = {"random_state": 0, "hidden_layer_sizes": (16,), "max_iter": 200}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        weighted = SparseSharedDisentangler(4, **made).fit(X, Y, sample_weight=weight)
        repeated = SparseSharedDisentangler(4, **made).fit(X[twice], Y[twice])
    assert weighted.input_noise_ == pytest.approx(repeated.input_noise_)
    assert weighted.nonlinear_noise_ == repeated.nonlinear_noise_
    np.testing.assert_allclose(weighted.transform(X), repeated.transform(X), atol=1e-5)


def test_a_task_that_is_noise_is_named():
    X, Y = _noisy_table(600, error=0.5)
    Y[:, 2] = np.random.default_rng(5).normal(size=600)
    dis = SparseSharedDisentangler(random_state=0, hidden_layer_sizes=(16,))
    with pytest.warns(UserWarning, match="seems to be learned for 'task2': short"):
        dis.fit(X, Y)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "ordinal", "count"])
def test_every_type_of_task_can_be_chosen_on(kind):
    X, Y = _noisy_table(300)
    cut = {"binary": [0], "multiclass": [-0.5, 0.5], "ordinal": [-1, 0, 1]}
    tasks = np.digitize(Y, cut.get(kind, np.arange(5)))
    dis = SparseSharedDisentangler(
        4, task_types=kind, max_iter=60, random_state=0, hidden_layer_sizes=(16,)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        dis.fit(X, tasks)
    assert dis.nonlinear_noise_ in (held_back.MORE, 1.0, *held_back.LESS)
    assert dis.input_noise_ >= LEAST


def test_a_pair_gives_both_by_hand():
    X, Y = _noisy_table(120)
    made = {"max_iter": 200, "random_state": 0, "hidden_layer_sizes": (16,)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        dis = SparseSharedDisentangler(4, input_noise=(0.2, 0.5), **made).fit(X, Y)
        one = SparseSharedDisentangler(4, input_noise=0.2, **made).fit(X, Y)
    assert (dis.input_noise_, dis.nonlinear_noise_) == (0.2, 0.5)
    assert (one.input_noise_, one.nonlinear_noise_) == (0.2, 0.0)
    assert not np.allclose(dis.transform(X)[:, :1], one.transform(X)[:, :1])


@pytest.mark.parametrize("hidden", [{"encoder": "linear"}, {"hidden_layer_sizes": ()}])
def test_without_hidden_layers_there_is_no_noise_for_them(hidden):
    X, Y = _noisy_table(120)
    dis = SparseSharedDisentangler(4, input_noise=(0.2, 1.0), random_state=0, **hidden)
    dis.fit(X, Y)
    assert (dis.input_noise_, dis.nonlinear_noise_) == (0.2, 0.0)
    dis.partial_fit(X, Y)
    assert dis.nonlinear_noise_ == 0.0


@pytest.mark.parametrize("wrong", [(0.1,), (0.1, -1.0), (0.1, "auto"), [1, 2, 3]])
def test_a_wrong_pair_is_named(wrong):
    X, Y = _noisy_table(60)
    with pytest.raises(ValueError, match="input_noise must be 'auto', a number"):
        SparseSharedDisentangler(4, input_noise=wrong).fit(X, Y)


def test_an_mlp_begins_linear_and_can_be_given_two_views():
    body = build_body(
        "mlp",
        n_features=5,
        n_components=3,
        hidden_layer_sizes=(7, 6),
        input_shape=None,
        seed=0,
    )
    rows = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    linear = body[-1]
    expected = rows @ linear.weight[:, :5].T + linear.bias
    torch.testing.assert_close(body(rows), expected)
    torch.nn.init.normal_(linear.weight, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(body(torch.cat([rows, rows], 1)), body(rows))
    other = body(torch.cat([rows, 0 * rows], 1)) - body(0 * rows)
    torch.testing.assert_close(other, rows @ linear.weight[:, :5].T)


def test_the_hidden_layers_view_is_noisier():
    rows = torch.randn(2000, 10, generator=torch.Generator().manual_seed(0))
    noise = RowNoise(0.3, 0.4, 10, torch.Generator().manual_seed(1), rows)
    seen = noise(rows)
    first, second = (seen[:, :10] - rows), (seen[:, 10:] - rows)
    assert first.std() == pytest.approx(0.3, rel=0.05)
    assert second.std() == pytest.approx(0.5, rel=0.05)
    assert (second - first).std() == pytest.approx(0.4, rel=0.05)


def test_copies_of_rows_have_noise_of_their_own():
    rows = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    noises = [
        RowNoise(0.5, 0.0, 4, torch.Generator().manual_seed(seed), rows)
        for seed in (1, 2)
    ]
    copies = NoisyRows(rows, noises)
    assert len(copies) == 60
    whole = copies[torch.arange(60)]
    torch.testing.assert_close(whole, torch.cat([noise(rows) for noise in noises]))
    torch.testing.assert_close(copies[torch.arange(20, 45)], whole[20:45])


def test_components_are_standardised_without_the_noise():
    X, Y = _noisy_table(150)
    dis = SparseSharedDisentangler(
        4, input_noise=(0.5, 1.0), random_state=0, hidden_layer_sizes=(16,)
    ).fit(X, Y)
    features = dis.transform(X)
    np.testing.assert_allclose(features.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(features.std(0), 1, atol=1e-3)
    # Heads of noisy rows are those of a ridge: they believe less than least squares.
    own = np.linalg.lstsq(features, Y - Y.mean(0), rcond=None)[0].T
    assert np.abs(dis.coef_).sum() < np.abs(own).sum()
    np.testing.assert_allclose(dis.predict(X).mean(0), Y.mean(0), atol=0.1)


def test_files_keep_it(tmp_path):
    X, Y = _noisy_table(120)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        dis = SparseSharedDisentangler(3, max_iter=30, random_state=0).fit(X, Y)
    dis.save(tmp_path / "model.safetensors")
    again = SparseSharedDisentangler.load(tmp_path / "model.safetensors")
    assert (again.input_noise_, again.nonlinear_noise_) == (
        dis.input_noise_,
        dis.nonlinear_noise_,
    )
    np.testing.assert_array_equal(again.transform(X), dis.transform(X))


def test_share_of_the_rows_that_make_up_the_variance():
    """A few rows far out are told from columns that are mostly zero."""
    rows = torch.zeros(1000, 4)
    rows[:5] = 3.0
    assert held_back.share_that_varies(rows, None) == pytest.approx(0.005)
    weights = torch.ones(1000)
    weights[:5] = 2.0
    twice = torch.cat([rows, rows[:5]])
    assert held_back.share_that_varies(rows, weights) == pytest.approx(
        held_back.share_that_varies(twice, None)
    )
    generator = torch.Generator().manual_seed(0)
    sparse = (torch.rand(1000, 5, generator=generator) < 0.03).float()
    sparse = (sparse - sparse.mean(0)) / sparse.std(0)
    assert held_back.share_that_varies(sparse, None) > 2 * held_back.FAR_OUT
    assert held_back.share_that_varies(0 * rows, None) == 1
