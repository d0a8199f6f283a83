"""Random states: what scikit-learn takes, but never numpy's global one."""

from __future__ import annotations

from types import ModuleType

import numpy as np
from sklearn.utils import check_random_state

__all__ = ["RandomState", "check_rng", "draw_seed", "generator"]

RandomState = int | np.random.RandomState | None


def check_rng(random_state: RandomState | ModuleType) -> np.random.RandomState:
    """Like scikit-learn's helper, but None never means the global state."""
    if random_state is None or random_state is np.random:
        return np.random.RandomState(np.random.SeedSequence().generate_state(8))
    rng: np.random.RandomState = check_random_state(random_state)
    return rng


def draw_seed(rng: np.random.RandomState) -> int:
    """Draw a seed for a part that runs on its own."""
    return int(rng.randint(np.iinfo(np.int32).max))


def generator(random_state: RandomState) -> np.random.Generator:
    """Numpy's generator, of an integer its own."""
    rng = check_rng(random_state)
    if isinstance(random_state, int | np.integer):
        return np.random.default_rng(int(random_state))
    return np.random.default_rng(draw_seed(rng))
