"""Rotations find loadings that were simple before they were mixed."""

from __future__ import annotations

import numpy as np
import pytest

rotations = pytest.importorskip("benchmarks._rotations")


def made(correlation, seed=0):
    """Three factors, of unequal loadings on twelve outputs: one or two factors each."""
    rng = np.random.default_rng(seed)
    covariance = np.full((3, 3), correlation) + (1 - correlation) * np.eye(3)
    factors = rng.multivariate_normal(np.zeros(3), covariance, size=4000)
    loadings = np.kron(np.eye(3), np.ones((4, 1))) * rng.uniform(1, 3, (12, 1))
    loadings[0, 1] = 0.5
    return factors, loadings


def matched(factors, codes):
    both = np.abs(np.corrcoef(factors.T, codes.T))[:3, 3:]
    assert sorted(both.argmax(1)) == [0, 1, 2]
    return both.max(1)


@pytest.mark.parametrize("rotation", [rotations.varimax, rotations.promax])
def test_uncorrelated_factors_are_found(rotation):
    factors, loadings = made(0.0)
    outputs = factors @ loadings.T
    codes = rotations.rotated(outputs[:3000], outputs[3000:], rotation)
    assert codes.shape == (1000, 3)  # there are no more axes than factors
    assert matched(factors[3000:], codes).min() > 0.99


def test_varimax_is_a_rotation_and_promax_need_not_be():
    factors, loadings = made(0.6)
    outputs = factors @ loadings.T
    turn = rotations.varimax(loadings @ np.linalg.qr(np.ones((3, 3)) + np.eye(3))[0])
    np.testing.assert_allclose(turn.T @ turn, np.eye(3), atol=1e-10)
    straight = rotations.rotated(outputs, outputs, rotations.varimax)
    oblique = rotations.rotated(outputs, outputs, rotations.promax)
    np.testing.assert_allclose(np.cov(straight.T, ddof=0), np.eye(3), atol=1e-6)
    np.testing.assert_allclose(oblique.std(0), 1)
    assert matched(factors, straight).min() < 0.97
    assert matched(factors, oblique).min() > 0.98


def test_the_strongest_axes_are_kept_and_dead_outputs_do_no_harm():
    factors, loadings = made(0.0)
    noise = np.random.default_rng(1).normal(0, 0.1, (4000, 12))
    outputs = np.column_stack([factors @ loadings.T + noise, np.zeros(4000)])
    codes = rotations.rotated(outputs, outputs, rotations.varimax, n_axes=3)
    assert codes.shape == (4000, 3)
    assert matched(factors, codes).min() > 0.98


class Network:
    """Components that are mixtures of the factors, with heads that undo the mixing."""

    def __init__(self, loadings):
        self.mixing = np.array([[1.0, 0.8, 0], [0, 1, -0.7], [0.5, 0, 1]])
        scale = 10.0 ** np.arange(len(loadings)).reshape(-1, 1) / 1e5
        self.coef_ = scale * loadings @ np.linalg.inv(self.mixing)

    def transform(self, rows):
        return rows @ self.mixing.T


def test_heads_of_a_network_tell_its_factors_whatever_their_units():
    factors, loadings = made(0.0)
    for name in ("varimax of its heads", "promax of its heads"):
        then = rotations.TURNED[name]
        codes = then(Network(loadings), factors[:3000], factors[3000:], 0)
        assert matched(factors[3000:], codes).min() > 0.99


def test_independent_components_need_no_heads():
    factors = np.random.default_rng(0).uniform(-1, 1, (4000, 3))
    network = Network(np.eye(3))
    then = rotations.TURNED["FastICA of its components"]
    codes = then(network, factors[:3000], factors[3000:], 0)
    assert matched(factors[3000:], codes).min() > 0.98
