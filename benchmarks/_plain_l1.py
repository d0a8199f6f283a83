"""Plain L1 in place of the penalty of the package, to measure what the latter gains.

The penalty of the package fades out for coefficients that are large beside the others of
their task. Plain L1 shrinks them all alike.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from skdisentangle.fitting import training
from skdisentangle.solvers import exact_heads
from skdisentangle.solvers.penalties import penalty_weights


def _never_reweighted(*args, **options):
    return penalty_weights(*args, **options | {"reweighted": False})


#: What is replaced where by what.
REPLACED = tuple(
    (place, "penalty_weights", _never_reweighted) for place in (training, exact_heads)
)


@contextmanager
def plain_l1():
    """Fit with plain L1 inside."""
    with ExitStack() as stack:
        for place, name, value in REPLACED:
            stack.enter_context(patch.object(place, name, value))
        yield
