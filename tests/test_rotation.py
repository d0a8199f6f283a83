from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from skdisentangle.rotation import last_linear, rotate_outputs, simplest_rotation


def sparse_heads(seed=0, n_outputs=40, n_components=5):
    rng = np.random.default_rng(seed)
    coef = rng.normal(size=(n_outputs, n_components))
    coef *= rng.random(coef.shape) < 0.3
    return torch.from_numpy(coef)


def random_rotation(seed, size):
    matrix = np.random.default_rng(seed).normal(size=(size, size))
    return torch.from_numpy(np.linalg.qr(matrix)[0])


@pytest.mark.parametrize("seed", range(5))
def test_undoes_a_rotation(seed):
    """Heads mixed by any rotation come back, up to order and sign."""
    coef = sparse_heads(seed)
    weights = torch.ones(len(coef), dtype=torch.float64)
    mixed = coef @ random_rotation(seed, 5)
    rotation = simplest_rotation(mixed, weights, max_sweeps=20)
    back = mixed @ rotation
    assert float(back.abs().sum()) <= 1.05 * float(coef.abs().sum())
    match = np.abs(np.corrcoef(coef.T, back.T)[:5, 5:])
    assert match.max(1).min() > 0.98


def test_is_a_rotation():
    mixed = sparse_heads() @ random_rotation(3, 5)
    rotation = simplest_rotation(mixed, torch.ones(40, dtype=torch.float64))
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(5, dtype=torch.float64))


def test_leaves_simple_heads_and_unused_components_alone():
    coef = sparse_heads()
    assert simplest_rotation(coef, torch.ones(40, dtype=torch.float64)) is None
    mixed = coef @ random_rotation(1, 5)
    wide = torch.cat([mixed, torch.zeros(40, 2, dtype=torch.float64)], dim=1)
    rotation = simplest_rotation(wide, torch.ones(40, dtype=torch.float64))
    torch.testing.assert_close(rotation[5:, 5:], torch.eye(2, dtype=torch.float64))
    assert not (wide @ rotation)[:, 5:].any()


def test_layer_gives_the_rotated_standardised_outputs():
    torch.manual_seed(0)
    layer = torch.nn.Linear(6, 4).double()
    rows = torch.randn(50, 6, dtype=torch.float64)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(rows).sum().backward()
    optimizer.step()
    before = copy.deepcopy(layer)(rows).detach()
    mean, std = before.mean(0), before.std(0)
    rotation = random_rotation(2, 4)
    rotate_outputs(layer, optimizer, mean, std, rotation)
    torch.testing.assert_close(layer(rows), (before - mean) / std @ rotation)
    assert layer.weight not in optimizer.state


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
