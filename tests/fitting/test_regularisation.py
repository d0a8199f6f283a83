"""Noise on the inputs, and how much of it there should be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeCV

from skdisentangle import SparseSharedDisentangler
from skdisentangle.fitting import regularisation as noise
from skdisentangle.fitting.regularisation import (
    LEAST,
    MOST,
    RowNoise,
    choose_input_noise,
)
from skdisentangle.rows.batches import LabelTensors
from skdisentangle.tasks.blocks import Block

#: Fits here are cut short.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

REGRESSION = [Block("regression", slice(0, 2), slice(0, 2))]


def _standard(values):
    return (values - values.mean(0)) / values.std(0)


def _problem(n_rows=60, n_features=30, seed=0, error=2.0):
    rng = np.random.default_rng(seed)
    X = _standard(rng.normal(size=(n_rows, n_features)))
    truth = rng.normal(size=(n_features, 2)) / np.sqrt(n_features)
    y = _standard(X @ truth + error * rng.normal(size=(n_rows, 2)))
    return X, y


def _chosen(X, y, blocks=REGRESSION, weights=None, n_rows=None, n_labels=None):
    targets = torch.from_numpy(np.asarray(y, dtype=float))
    labels = LabelTensors(targets, weights, None)
    n_rows = len(X) if n_rows is None else n_rows
    if n_labels is None:
        n_labels = torch.full((targets.shape[1],), float(len(X)))
    return choose_input_noise(torch.from_numpy(X), labels, blocks, n_rows, n_labels)


def test_noise_has_its_deviation_and_is_equal_on_equal_rows():
    rows = torch.randn(500, 40, generator=torch.Generator().manual_seed(0))
    rows[7] = rows[300]
    add = RowNoise(0.5, 0.0, 40, torch.Generator().manual_seed(1), rows)
    added = add(rows) - rows
    assert added.std() == pytest.approx(0.5, rel=0.03)
    torch.testing.assert_close(added[7], added[300])
    torch.testing.assert_close(add(rows[100:110]) - rows[100:110], added[100:110])
    # Few rows share a vector: at random 500 draws of 1,021 hit about 395.
    assert len(added.unique(dim=0)) > 350


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [(["binary"], LEAST), (["binary", "multiclass"], LEAST), (["regression"], 0.0)],
)
def test_where_all_tasks_have_classes_there_is_a_least_noise(kinds, expected):
    """Labels that follow from many rows, where nothing else asks for noise."""
    X, y = _problem(n_rows=1000, n_features=5, error=0.1)
    blocks, columns, first = [], [], 0
    for task, kind in enumerate(kinds):
        width = 3 if kind == "multiclass" else 1
        blocks.append(
            Block(kind, slice(task, task + 1), slice(first, first + width), width)
        )
        first += width
        cuts = {"binary": [0.0], "multiclass": [-0.4, 0.4], "regression": []}[kind]
        columns.append(np.digitize(y[:, 0], cuts) if cuts else y[:, 0])
    assert _chosen(X, np.stack(columns, 1), blocks) == expected
    blocks.append(
        Block("regression", slice(len(kinds), len(kinds) + 1), slice(first, first + 1))
    )
    assert _chosen(X, np.stack([*columns, y[:, 1]], 1), blocks) == 0.0


def test_each_pass_has_noise_of_its_own():
    rows = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    first, second = (RowNoise(1.0, 0.0, 5, generator, rows)(rows) for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("n_steps", "n_banks"), [(1, 3), (4, 9), (9, 17)])
def test_short_passes_share_vectors_and_no_pass_is_like_the_last(
    n_steps, n_banks, monkeypatch
):
    """Which vector a row gets is drawn for each pass, the vectors for eight steps or more."""
    monkeypatch.setattr("skdisentangle.fitting.regularisation.MAX_VECTORS", 61)
    rows = torch.randn(200, 5, generator=torch.Generator().manual_seed(0)).double()
    generator = torch.Generator().manual_seed(1)
    noise = RowNoise(1.0, 0.0, 5, generator, rows, n_steps)
    seen, vectors = [noise(rows) - rows], set()
    for _ in range(16):
        noise.renew(n_steps, generator)
        seen.append(noise(rows) - rows)
        assert not torch.allclose(seen[-1], seen[-2])
    for added in seen:
        vectors.update(added[:, 0].mul(1e6).round().long().tolist())
    assert 0.9 * 61 * n_banks < len(vectors) <= 61 * n_banks
    assert torch.cat(seen).std() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("shape", [(400, 30), (600, 700), (300, 10)])
def test_the_ridge_is_that_of_generalized_cross_validation(shape):
    X, y = _problem(*shape, error=1.0)
    strengths = np.logspace(-1, 5, 49)
    errors = np.zeros(len(strengths))
    for j in range(2):
        for i, strength in enumerate(strengths):
            # The hat matrix spelt out: centred columns, and one more for the mean.
            hat = X @ np.linalg.solve(
                X.T @ X + strength * np.eye(shape[1]), X.T
            ) + 1 / len(X)
            left = y[:, j] - hat @ y[:, j]
            errors[i] += (left**2).mean() / (1 - np.trace(hat) / len(X)) ** 2
    best = strengths[errors.argmin()]
    expected = min(MOST, (best / len(X)) ** 0.5)
    assert _chosen(X, y) == pytest.approx(expected)


def test_the_ridge_is_near_that_of_leaving_rows_out():
    X, y = _problem(2000, 40)
    left_out = RidgeCV(alphas=np.logspace(-1, 5, 49)).fit(X, y).alpha_
    assert 0.7 < _chosen(X, y) / (left_out / len(X)) ** 0.5 < 1.4


def test_more_rows_and_clearer_labels_need_less_noise():
    few, many = _problem(300), _problem(3000)
    assert _chosen(*few) > _chosen(*many) > 0
    assert _chosen(*_problem(3000, error=0.0)) == 0.0


def test_labels_without_a_trace_in_the_rows_ask_for_the_most():
    rng = np.random.default_rng(0)
    X = _standard(rng.normal(size=(50, 20)))
    assert _chosen(X, rng.normal(size=(50, 2))) == MOST


def test_a_task_with_missing_labels_counts_where_it_has_some():
    X, y = _problem(600, error=1.0)
    rng = np.random.default_rng(1)
    there = rng.random((600, 2)) < 0.5
    weights = torch.from_numpy(there.astype(float))
    hidden = np.where(there, y, 99.0)
    n_labels = torch.from_numpy(there.sum(0).astype(float))
    with_some = _chosen(X, hidden, weights=weights, n_labels=n_labels)
    assert 0.3 < with_some / _chosen(X, y) < 3
    few = torch.tensor([3.0, 3.0], dtype=torch.float64)
    assert _chosen(X, hidden, weights=weights, n_labels=few) == 0.0


def test_classes_are_regressed_on_as_indicators():
    X, y = _problem(150)
    classes = np.digitize(y[:, :1], [-0.5, 0.5]).astype(float)
    three = [Block("multiclass", slice(0, 1), slice(0, 3), 3)]
    indicators = _standard(np.eye(3)[classes[:, 0].astype(int)])
    same = [Block("regression", slice(0, 3), slice(0, 3))]
    assert _chosen(X, classes, three) == _chosen(X, indicators, same)


def test_a_fit_takes_the_noise_that_its_rows_ask_for():
    X, y = _problem(60)
    fitted = SparseSharedDisentangler(5, max_iter=2, random_state=0).fit(X, y)
    assert fitted.input_noise_ == pytest.approx(_chosen(X, y))
    none = SparseSharedDisentangler(5, max_iter=2, input_noise=0, random_state=0)
    assert none.fit(X, y).input_noise_ == 0.0
    assert not np.allclose(none.transform(X), fitted.transform(X))


def test_a_repeated_row_is_a_row_of_weight_two():
    X, y = _problem(40)
    weight = np.r_[np.full(20, 2.0), np.ones(20)]
    twice = np.r_[np.arange(20), np.arange(40)]
    settings = {"encoder": "linear", "random_state": 0, "max_iter": 100}
    weighted = SparseSharedDisentangler(4, **settings).fit(X, y, sample_weight=weight)
    repeated = SparseSharedDisentangler(4, **settings).fit(X[twice], y[twice])
    assert weighted.input_noise_ == pytest.approx(repeated.input_noise_)
    assert weighted.input_noise_ > 0
    np.testing.assert_allclose(weighted.transform(X), repeated.transform(X), atol=1e-6)


def test_what_goes_on_from_a_fit_keeps_its_noise():
    X, y = _problem(60)
    model = SparseSharedDisentangler(
        4, warm_start=True, max_iter=2, random_state=0
    ).fit(X, y)
    before = model.input_noise_
    assert before > 0
    many = _problem(3000, error=0.0)
    assert model.fit(*many).input_noise_ == before
    assert model.partial_fit(*many).input_noise_ == before


def test_a_stream_takes_auto_for_none():
    X, y = _problem(60)
    assert SparseSharedDisentangler(4).partial_fit(X, y).input_noise_ == 0.0
    given = SparseSharedDisentangler(4, input_noise=0.5)
    assert given.partial_fit(X, y).input_noise_ == 0.5


@pytest.mark.parametrize("wrong", [-0.1, "some", None])
def test_noise_is_a_number_or_auto(wrong):
    X, y = _problem(60)
    with pytest.raises(ValueError, match="input_noise"):
        SparseSharedDisentangler(input_noise=wrong).fit(X, y)


def test_a_missing_label_of_the_first_task_does_not_silence_the_others():
    # All tasks but one in eight are noise; the first has one label less.
    rng = np.random.default_rng(0)
    X = _standard(rng.normal(size=(400, 40)))
    y = rng.normal(size=(400, 40))
    y[:, ::5] = X @ rng.normal(size=(40, 8))
    blocks = [Block("regression", slice(0, 40), slice(0, 40))]
    weights = torch.ones(400, 40, dtype=torch.float64)
    every = _chosen(X, y, blocks)
    assert every > 0
    weights[0, 0] = 0
    n_labels = (weights > 0).sum(0)
    assert _chosen(X, y, blocks, weights, n_labels=n_labels) == pytest.approx(every)


def test_balanced_classes_do_not_change_the_noise():
    X, y = _problem(600, error=0.5)
    classes = (y > [[1.0, -1.0]]).astype(float)
    blocks = [Block("binary", slice(0, 2), slice(0, 2), 1)]
    balanced = torch.from_numpy(np.where(classes == [[1, 0]], 5.0, 0.2))
    plain = _chosen(X, classes, blocks)
    assert MOST > plain > 0
    assert _chosen(X, classes, blocks, balanced) == plain


def test_wide_rows_are_looked_at_a_part_of_the_columns_at_a_time(monkeypatch):
    X, y = _problem(60, 100)
    whole = _chosen(X, y)
    monkeypatch.setattr(noise, "PART_COLUMNS", 7)
    assert _chosen(X, y) == whole
    rows = torch.from_numpy(X)
    generator = torch.Generator()
    added = RowNoise(0.5, 0.0, 100, generator.manual_seed(0), rows)(rows)
    monkeypatch.setattr(noise, "PART_VALUES", 300)
    parts = RowNoise(0.5, 0.0, 100, generator.manual_seed(0), rows)(rows)
    assert torch.equal(added, parts)


class _Words(torch.nn.Module):
    """A module of the user's whose rows are numbers of words."""

    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(7, 4)
        self.out = torch.nn.Linear(4 * 5, 3)

    def forward(self, rows):
        return self.out(self.words(rows.long()).flatten(1))


def test_rows_that_are_not_scaled_get_no_noise_unasked():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 7, size=(100, 5)).astype(float)
    y = rng.normal(size=(100, 2))
    model = SparseSharedDisentangler(
        3, encoder=_Words(), scale_inputs=False, max_iter=2, random_state=0
    )
    assert model.fit(X, y).input_noise_ == 0.0
    given = SparseSharedDisentangler(
        3,
        encoder="linear",
        scale_inputs=False,
        input_noise=0.3,
        max_iter=2,
        random_state=0,
    )
    assert given.fit(X, y).input_noise_ == 0.3
