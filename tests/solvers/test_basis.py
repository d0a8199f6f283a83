from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from skdisentangle.encoders.scalers import last_linear
from skdisentangle.solvers.basis import (
    change_outputs,
    function_of_others,
    has_few_outputs,
    pairs,
    settled_basis,
    shears,
    simplest_basis,
    uncorrelated_basis,
)
from skdisentangle.solvers.basis.rotations import _rotate
from skdisentangle.solvers.basis.shears import _medians, _shear


def sparse_heads(seed=0, n_outputs=80, n_components=5):
    """Outputs of one to three components each."""
    rng = np.random.default_rng(seed)
    coef = rng.uniform(0.5, 1.5, size=(n_outputs, n_components))
    coef *= rng.choice([-1, 1], size=coef.shape)
    ranks = rng.random(coef.shape).argsort(axis=1)
    coef *= ranks < rng.integers(1, 4, size=(n_outputs, 1))
    return torch.from_numpy(coef)


def correlated_codes(seed, size, rho, n_rows=500):
    """Standardised codes of which every two correlate by about rho."""
    rng = np.random.default_rng(seed)
    codes = np.sqrt(1 - rho) * rng.normal(size=(n_rows, size))
    codes += np.sqrt(rho) * rng.normal(size=(n_rows, 1))
    codes = torch.from_numpy(codes)
    return (codes - codes.mean(0)) / codes.std(0, correction=0)


def mixed(seed, coef, codes, n_components=None):
    """The same scores from codes in another basis, of unit variance, and their heads."""
    rng = np.random.default_rng(seed)
    size = codes.shape[1]
    mixing = torch.from_numpy(rng.normal(size=(size, n_components or size)))
    other = codes @ mixing
    scale = other.std(0, correction=0)
    return coef @ torch.linalg.pinv(mixing).T * scale, other / scale


def correlation(codes):
    return codes.T @ codes / len(codes)


def unit(n_outputs):
    return torch.ones(n_outputs, dtype=torch.float64)


def none(n_outputs):
    return torch.zeros(n_outputs, dtype=torch.float64)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_undoes_any_mixing(seed, rho):
    """Heads mixed by any matrix come back, up to order, sign and scale."""
    coef, codes = sparse_heads(seed), correlated_codes(seed, 5, rho)
    heads, other = mixed(seed, coef, codes)
    basis = simplest_basis(heads, correlation(other), unit(80), unit(80), none(80))
    back = other @ basis.transform
    torch.testing.assert_close(back @ basis.coef.T, codes @ coef.T)
    assert back.std(0, correction=0).numpy() == pytest.approx(np.ones(5))
    match = np.abs(np.corrcoef(codes.T, back.T)[:5, 5:])
    assert match.max(1).min() > 0.9999
    assert int((basis.coef.abs() > 0.02).sum()) == int((coef != 0).sum())


def test_switches_off_what_no_output_needs():
    coef, codes = sparse_heads(), correlated_codes(0, 5, 0.5)
    heads, other = mixed(1, coef, codes, n_components=9)
    noise = 0.003 * torch.from_numpy(np.random.default_rng(2).normal(size=heads.shape))
    other = other + 0.1 * torch.from_numpy(
        np.random.default_rng(3).normal(size=other.shape)
    )
    other = (other - other.mean(0)) / other.std(0, correction=0)
    basis = simplest_basis(
        heads + noise, correlation(other), unit(80), unit(80), none(80)
    )
    assert basis.coef.any(0).tolist() == [True] * 5 + [False] * 4
    assert torch.linalg.matrix_rank(basis.transform) == 9  # nothing is thrown away
    match = np.abs(np.corrcoef(codes.T, (other @ basis.transform[:, :5]).T)[:5, 5:])
    assert match.max(1).min() > 0.97


def test_keeps_the_direction_of_a_single_output():
    """One task of sixty, and a small one, that alone needs a component."""
    coef = torch.zeros(60, 3, dtype=torch.float64)
    coef[:30, 0], coef[30:59, 1], coef[59, 2] = 1.0, 1.0, 0.3
    codes = correlated_codes(0, 3, 0.0)
    heads, other = mixed(0, coef, codes)
    basis = simplest_basis(heads, correlation(other), unit(60), unit(60), none(60))
    assert int(basis.coef.any(0).sum()) == 3


def test_large_scores_of_classes_do_not_drown_the_others():
    """Logits of classes that are told apart without error, beside a regression."""
    coef, codes = sparse_heads(), correlated_codes(0, 5, 0.3)
    spread = torch.where(torch.arange(80) < 8, 0.5, 1.0).double()
    heads, other = mixed(0, coef, codes)
    heads[:8] *= 1000.0
    basis = simplest_basis(heads, correlation(other), unit(80), spread, none(80))
    match = np.abs(np.corrcoef(codes.T, (other @ basis.transform).T)[:5, 5:])
    assert match.max(1).min() > 0.9999


def test_classes_in_an_order_count_once():
    """Three classes, of which the head of the middle one is next to nothing but error."""
    coef, codes = sparse_heads(n_outputs=40), correlated_codes(0, 5, 0.9)
    error = torch.from_numpy(np.random.default_rng(0).normal(size=coef.shape))
    # Scores mean the same with any number added to those of all classes.
    heads = torch.stack([-coef, 0.15 * error, coef], dim=1).flatten(0, 1) + 3.0
    tasks = torch.arange(40).repeat_interleave(3)
    heads, other = mixed(0, heads, codes)
    problem = heads, correlation(other), unit(120), unit(120), none(120)
    assert worst_match(codes, other @ simplest_basis(*problem).transform) < 0.97
    basis = simplest_basis(*problem, tasks)
    torch.testing.assert_close(other @ basis.transform @ basis.coef.T, other @ heads.T)
    assert worst_match(codes, other @ basis.transform) > 0.998


def test_classes_without_an_order_need_all_their_directions():
    """A single task of six classes, each of which has a component of its own."""
    coef = 2 * torch.eye(6, 5, dtype=torch.float64)
    codes = correlated_codes(0, 5, 0.5)
    heads, other = mixed(0, coef, codes)
    tasks = torch.zeros(6, dtype=torch.long)
    basis = simplest_basis(heads, correlation(other), unit(6), unit(6), none(6), tasks)
    assert int(basis.coef.any(0).sum()) == 5


@pytest.mark.parametrize("seed", range(3))
def test_a_function_of_the_other_components_is_found(seed):
    codes = correlated_codes(seed, 5, 0.9, n_rows=2000)
    share = torch.full((2000,), 1 / 2000, dtype=torch.float64)
    used = torch.tensor([True, True, False, True, True])
    every = torch.ones(5, dtype=torch.bool)
    assert function_of_others(codes, share, every, 2000) is None
    codes[:, 2] = codes[:, 1]  # not in use
    square = codes[:, [0, 1, 4]].mean(1).square() + 0.1 * codes[:, 2]
    codes[:, 3] = (square - square.mean()) / square.std(correction=0)
    assert function_of_others(codes, share, used, 2000) == 3
    assert function_of_others(codes[:30], share[:30], used, 30) is None
    used[3] = False
    assert function_of_others(codes, share, used, 2000) is None


def test_random_errors_are_no_components():
    """Heads with errors in every direction, each far above the share that may be lost."""
    coef, codes = sparse_heads(), correlated_codes(0, 9, 0.0)
    heads = torch.zeros(80, 9, dtype=torch.float64)
    heads[:, :5] = coef
    error = 0.15 * torch.from_numpy(np.random.default_rng(0).normal(size=heads.shape))
    known = torch.full((80,), 0.15, dtype=torch.float64)
    shapes = []
    for errors in (none(80), known):
        basis = simplest_basis(
            heads + error, correlation(codes), unit(80), unit(80), errors
        )
        shapes.append(int(basis.coef.any(0).sum()))
    assert shapes == [9, 5]


def test_a_component_that_many_outputs_use_a_little_is_kept():
    """Within the error of each output, but not of all of them together."""
    coef, codes = sparse_heads(), correlated_codes(0, 5, 0.0)
    coef[:, 4] = 0.5
    errors = torch.full((80,), 0.1, dtype=torch.float64)
    basis = simplest_basis(coef, correlation(codes), unit(80), unit(80), errors)
    assert int(basis.coef.any(0).sum()) == 5


def test_heads_of_zero_have_no_basis():
    codes = correlated_codes(0, 5, 0.3)
    dead = torch.zeros(80, 5, dtype=torch.float64)
    assert (
        simplest_basis(dead, correlation(codes), unit(80), unit(80), none(80)) is None
    )
    assert settled_basis(dead, correlation(codes)) is None


def test_a_basis_that_is_settled_stays():
    coef, codes = sparse_heads(), correlated_codes(0, 5, 0.0)
    assert settled_basis(coef, correlation(codes)) is None


@pytest.mark.parametrize("most", [256, 9])
@pytest.mark.parametrize("amount", [0.7, -1.2])
def test_a_pair_that_is_mixed_is_unmixed(amount, most, monkeypatch):
    monkeypatch.setattr(pairs, "MAX_SHEAR_SIZES", most)
    coef, codes = sparse_heads(), correlated_codes(0, 7, 0.3)
    other = codes.clone()
    other[:, 0] += amount * codes[:, 1]
    std = other.std(0, correction=0)
    other = other / std
    heads = torch.zeros(80, 7, dtype=torch.float64)
    heads[:, :5] = coef
    heads[:, 1] -= amount * coef[:, 0]
    heads = heads * std
    basis = settled_basis(heads, correlation(other))
    back = other @ basis.transform
    torch.testing.assert_close(back @ basis.coef.T, other @ heads.T)
    torch.testing.assert_close(back, codes)  # the components not in use, too
    assert int((basis.coef != 0).sum()) == int((coef != 0).sum())


def test_of_bases_as_sparse_the_least_correlated_is_taken():
    """One task uses both of two factors, one each alone; three bases have four nonzeros."""
    codes = correlated_codes(0, 2, 0.0, n_rows=5000)
    coef = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    mixing = torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    other = codes @ mixing  # the first factor, and the sum
    std = other.std(0, correction=0)
    heads = coef @ torch.linalg.inv(mixing).T * std
    assert int((heads != 0).sum()) == int((coef != 0).sum())
    basis = settled_basis(heads, correlation(other / std))
    back = other / std @ basis.transform
    assert abs(np.corrcoef(back.T)[0, 1]) < 0.05


def test_empty_components():
    """Directions without variance are neither divided by nor kept as noise."""
    coef, codes = sparse_heads(), correlated_codes(0, 5, 0.3)
    heads = torch.cat([coef, torch.zeros(80, 2, dtype=torch.float64)], dim=1)
    other = torch.cat([codes, codes[:, :1], torch.zeros(500, 1)], dim=1)
    basis = simplest_basis(heads, correlation(other), unit(80), unit(80), none(80))
    assert torch.isfinite(basis.transform).all()
    torch.testing.assert_close(other @ basis.transform @ basis.coef.T, codes @ coef.T)


def test_weighted_medians():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 4, 9))
    weights = rng.random((2, 4, 9))
    weights[1, :, 5:] = 0.0
    medians = _medians(values, weights)
    for place in np.ndindex(2, 4):
        costs = [
            (weights[place] * np.abs(values[place] - t)).sum() for t in values[place]
        ]
        assert medians[place] == values[place][np.argmin(costs)]


@pytest.mark.parametrize("search", [_shear, _rotate])
def test_bases_do_not_hang_on_what_is_beside_them(search):
    # Each stops when it is done, and does not go on for the sake of the others.
    rng = np.random.default_rng(0)
    heads = rng.normal(size=(20, 5)) * (rng.random((20, 5)) < 0.4)
    starts = np.linalg.qr(rng.normal(size=(6, 5, 5)))[0]
    together = search(heads, starts)
    for found, start in zip(together, starts, strict=True):
        np.testing.assert_allclose(
            found, search(heads, start[np.newaxis])[0], atol=1e-6
        )
        assert not np.allclose(found, start)


def test_layer_gives_the_changed_standardised_outputs():
    torch.manual_seed(0)
    layer = torch.nn.Linear(6, 4).double()
    rows = torch.randn(50, 6, dtype=torch.float64)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(rows).sum().backward()
    optimizer.step()
    before = copy.deepcopy(layer)(rows).detach()
    mean, std = before.mean(0), before.std(0)
    transform = torch.randn(4, 4, dtype=torch.float64)
    change_outputs(layer, optimizer, mean, std, transform)
    torch.testing.assert_close(layer(rows), (before - mean) / std @ transform)
    # What the optimiser remembers is of the old outputs; it begins again.
    assert not any(m.any() for m in optimizer.state[layer.weight].values())


def test_last_linear():
    layer = torch.nn.Linear(2, 2)
    assert last_linear(layer) is layer
    nested = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Sequential(layer))
    assert last_linear(nested) is layer
    assert last_linear(torch.nn.Sequential(layer, torch.nn.ReLU())) is None
    assert last_linear(torch.nn.Sequential()) is None
    computed = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(2, 2))
    assert last_linear(computed) is None
    layer.weight.requires_grad_(False)
    assert last_linear(layer) is None


def worst_match(codes, components):
    """Of all factors the lowest correlation with the best component."""
    n = codes.shape[1]
    return np.abs(np.corrcoef(codes.T, components.T)[:n, n:]).max(1).min()


def test_with_few_outputs_uncorrelated_components_tell_the_factors():
    """Of twelve outputs of one to three of six factors mixtures are as sparse."""
    found = {"sparsest": 0, "uncorrelated": 0}
    for seed in range(15):
        coef = sparse_heads(seed, n_outputs=12, n_components=6)
        codes = correlated_codes(seed, 6, 0.0, n_rows=4000)
        heads, other = mixed(seed, coef, codes)
        basis = simplest_basis(heads, correlation(other), unit(12), unit(12), none(12))
        other = other @ basis.transform
        found["sparsest"] += int(worst_match(codes, other) > 0.98)
        basis = uncorrelated_basis(basis.coef, correlation(other))
        if basis is not None:
            other = other @ basis.transform
        found["uncorrelated"] += int(worst_match(codes, other) > 0.98)
    assert found["sparsest"] + 3 <= found["uncorrelated"], found


def sheared(codes, coef, amount):
    """The first component takes in some of the second; codes, heads, and their scale."""
    other = codes.clone()
    other[:, 0] += amount * codes[:, 1]
    std = other.std(0, correction=0)
    heads = coef.clone()
    heads[:, 1] -= amount * coef[:, 0]
    return other / std, heads * std


@pytest.mark.parametrize(
    ("n_outputs", "rho", "finds"), [(12, 0.0, True), (12, 0.5, False), (60, 0.0, False)]
)
def test_uncorrelated_basis(n_outputs, rho, finds):
    """It is found if there is one and outputs are few; seven components, one not in use."""
    coef = torch.zeros(n_outputs, 7, dtype=torch.float64)
    coef[:, :6] = sparse_heads(3, n_outputs, n_components=6)
    codes = correlated_codes(0, 7, rho, n_rows=4000)
    other, heads = sheared(codes, coef, 0.6)
    basis = uncorrelated_basis(heads, correlation(other))
    assert (basis is not None) == finds
    if finds:
        back = other @ basis.transform
        torch.testing.assert_close(back @ basis.coef.T, other @ heads.T)
        assert back.std(0, correction=0).numpy() == pytest.approx(np.ones(7))
        torch.testing.assert_close(back[:, 6], other[:, 6])
        assert worst_match(codes[:, :6], back[:, :6]) > 0.99


def test_a_basis_that_is_uncorrelated_and_sparse_stays():
    coef = sparse_heads(3, 12, n_components=6)
    codes = correlated_codes(0, 6, 0.0, n_rows=4000)
    white = codes @ torch.linalg.inv(torch.linalg.cholesky(correlation(codes))).T
    basis = uncorrelated_basis(coef, correlation(white))
    back = white if basis is None else white @ basis.transform
    assert worst_match(white, back) > 0.999


@pytest.mark.parametrize("coef", [torch.zeros(4, 3), torch.eye(4)[:, :1]])
def test_no_uncorrelated_basis_of_less_than_two_components(coef):
    coef = coef.double()
    n_components = coef.shape[1]
    eye = torch.eye(n_components, dtype=torch.float64)
    assert uncorrelated_basis(coef, eye) is None


def test_few_outputs_are_few_for_the_components():
    assert has_few_outputs(12, 6)
    assert not has_few_outputs(60, 6)
    assert not has_few_outputs(5, 6)  # they do not even span the components
    assert not has_few_outputs(3, 1)
    assert not has_few_outputs(60, 30)


def test_with_few_outputs_exchanges_find_more_than_shears(monkeypatch):
    """Sixteen outputs of one to three of six factors, which correlate."""
    found = {"exchanges": 0, "shears": 0}
    for search in found:
        if search == "shears":
            monkeypatch.setattr(shears, "exchanged", lambda _, basis: basis)
        for seed in range(10):
            coef = sparse_heads(seed, n_outputs=16, n_components=6)
            codes = correlated_codes(seed, 6, 0.3)
            heads, other = mixed(seed, coef, codes)
            basis = simplest_basis(
                heads, correlation(other), unit(16), unit(16), none(16)
            )
            used = other @ basis.transform[:, basis.coef.any(0)]
            found[search] += int(worst_match(codes, used) > 0.98)
    assert found["shears"] + 3 <= found["exchanges"], found


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_wide_heads_are_unmixed_from_few_places(rho):
    """Of forty factors random starts find hardly any, and what varimax has turned nearly all."""
    rng = np.random.default_rng(1)
    coef = np.zeros((200, 40))
    for row in coef:
        row[rng.choice(40, 3, replace=False)] = rng.choice([-1, 1], 3)
    coef = torch.from_numpy(coef * rng.uniform(0.7, 1.3, size=coef.shape))
    codes = correlated_codes(1, 40, rho, n_rows=2000)
    heads, found = mixed(1, coef, codes)
    basis = simplest_basis(
        heads, correlation(found), unit(200), unit(200), 0.02 * unit(200)
    )
    components = (found @ basis.transform).numpy()
    assert worst_match(codes.numpy(), components) > 0.95


def test_pairs_are_settled_until_no_shear_saves_anything():
    """What is known of pairs is kept while neither of the two changes."""
    rng = np.random.default_rng(0)
    coef = sparse_heads(seed=3, n_outputs=60, n_components=8)
    codes = correlated_codes(3, 8, 0.4)
    shear = torch.eye(8, dtype=torch.float64)
    for _ in range(12):
        i, j = rng.choice(8, 2, replace=False)
        step = torch.eye(8, dtype=torch.float64)
        step[i, j] = rng.normal()
        shear = shear @ step
    heads, inner = coef @ torch.linalg.inv(shear).T, codes @ shear
    inner = inner / inner.std(0, correction=0)
    heads = heads * (codes @ shear).std(0, correction=0)
    basis = settled_basis(heads, correlation(inner))
    left = basis.coef.numpy()
    power = np.sqrt(
        np.einsum(
            "kd,de,ke->k", left, correlation(inner @ basis.transform).numpy(), left
        )
    )
    relative = left / power[:, None]
    matrix = correlation(inner @ basis.transform).numpy()
    saved = [
        pairs._best_shear(relative, matrix, i, j)[0]
        for i in range(8)
        for j in range(8)
        if i != j
    ]
    assert max(saved) <= 2 * pairs.GAIN


def test_a_search_has_a_budget(monkeypatch):
    rounds = []

    def medians(values, weights):
        rounds.append(values)
        return _medians(values, weights)

    monkeypatch.setattr(shears, "SEARCH_VALUES", 0)
    monkeypatch.setattr(shears, "_medians", medians)
    rng = np.random.default_rng(0)
    _shear(rng.normal(size=(50, 6)), np.eye(6)[np.newaxis])
    assert len(rounds) == 6 * shears.LEAST_ROUNDS
