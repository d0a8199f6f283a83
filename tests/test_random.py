from __future__ import annotations

import numpy as np
import pytest

from skdisentangle._random import check_rng, draw_seed, generator


@pytest.mark.parametrize("random_state", [None, np.random])
def test_the_global_state_is_never_used(random_state):
    before = np.random.get_state()[1].copy()
    draws = {draw_seed(check_rng(random_state)) for _ in range(3)}
    draws |= {int(generator(random_state).integers(2**40)) for _ in range(3)}
    assert len(draws) == 6
    assert np.array_equal(before, np.random.get_state()[1])


def test_an_integer_is_a_seed_and_an_instance_goes_on():
    for make in (check_rng, generator):
        assert make(3).uniform() == make(np.int64(3)).uniform()
        assert make(3).uniform() != make(4).uniform()
        state = np.random.RandomState(0)
        assert make(state).uniform() != make(state).uniform()
        again = np.random.RandomState(0)
        assert make(again).uniform() == make(np.random.RandomState(0)).uniform()


@pytest.mark.parametrize("wrong", ["x", 1.5, -1])
def test_anything_else_is_refused(wrong):
    for make in (check_rng, generator):
        with pytest.raises(ValueError, match=r"seed|Seed"):
            make(wrong)
