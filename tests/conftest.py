"""Settings and data shared by the tests."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

# Asked by scipy when it is first imported, for scikit-learn's array API dispatch.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import numpy as np
import pytest
import torch
from hypothesis import settings
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skdisentangle import SparseSharedDisentangler, SparseSharedDisentanglerCV
from skdisentangle.distributed import Ranks

# The same examples in every run: a suite that fails by chance teaches to ignore it.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")


#: Advice that goes with small labels, which most tests have: classes in a matrix of floats,
#: one task alone. Tests of the advice itself catch it before these filters do.
ADVICE = ("Numbers are taken for classes in", "With a single task nothing is")


def pytest_collection_modifyitems(items):
    """Tests that turn warnings into errors are not about advice on their labels."""
    for item in items:
        for begin in ADVICE:
            item.add_marker(
                pytest.mark.filterwarnings(f"ignore:{begin}:UserWarning"), append=False
            )


def run_check(estimator, check):
    """A check of scikit-learn's.

    Some draw labels at random, of which penalties rightly leave no component, and
    ``transform`` says so. Without penalties the estimator must pass all the same.
    """
    try:
        check(estimator)
    except ValueError as error:
        if "no component is in use" not in str(error):
            raise
        weak = {"sparsity": 0.0, "sharing": 0.0}
        if isinstance(estimator, SparseSharedDisentanglerCV):
            weak = {"sparsities": [1e-6]}
        check(clone(estimator).set_params(**weak))


def make_problem(seed=0, n_samples=300, n_factors=3, n_tasks=9, n_features=8):
    """Linear mixing of a few factors; tasks of all three types, in turn."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n_samples, n_factors))
    X = factors @ rng.normal(size=(n_factors, n_features))
    Y = np.empty((n_samples, n_tasks))
    for task in range(n_tasks):
        support = rng.choice(n_factors, size=1 + task % 2, replace=False)
        value = factors[:, support] @ rng.uniform(0.5, 1.5, size=len(support))
        if task % 3 == 0:
            Y[:, task] = value
        elif task % 3 == 1:
            Y[:, task] = value > 0
        else:
            Y[:, task] = np.digitize(value, [-0.5, 0.5])
    return X, Y, factors


@pytest.fixture(autouse=True)
def no_idle_workers():
    """End joblib's workers after each test that has used some.

    Left idle they end by themselves after some minutes, at times just as a later test gives
    them work, which then waits for ever.
    """
    yield
    reusable = sys.modules.get("joblib.externals.loky.reusable_executor")
    if reusable is not None and reusable._executor is not None:
        reusable._executor.shutdown(wait=True, kill_workers=True)


@pytest.fixture(scope="session")
def problem():
    return make_problem()


def quick(cls=SparseSharedDisentangler, **options):
    """A small estimator, of few epochs."""
    defaults = {
        "n_components": 6,
        "hidden_layer_sizes": (16,),
        "max_iter": 8,
        "random_state": 0,
    }
    return cls(**{**defaults, **options})


@pytest.fixture(scope="session")
def quick_fit(problem):
    """One that is fitted; whoever changes it takes a copy."""
    X, Y, _ = problem
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return quick().fit(X, Y)


@pytest.fixture
def short_fits():
    """Short fits may say that they were short."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


class Threads(Ranks):
    """Ranks that are threads of this process, for functions that ask the others."""

    def __init__(self, rank, things, barrier):
        super().__init__(rank, len(things))
        self._things, self._barrier = things, barrier

    def gather(self, thing):
        self._things[self.rank] = thing
        self._barrier.wait()
        found = list(self._things)
        self._barrier.wait()
        return found

    def _reduce(self, values, operation):
        kind = torch.as_tensor if torch.is_tensor(values) else np.asarray
        stacked = torch.stack([torch.as_tensor(v) for v in self.gather(values)])
        return kind(stacked.sum(0) if operation == "SUM" else stacked.amax(0))


def on_two_ranks(job):
    """Results of a job, given ranks, on two that wait for each other."""
    things, barrier = [None, None], threading.Barrier(2, timeout=60)

    def run(rank):
        try:
            return job(Threads(rank, things, barrier))
        except BaseException:
            barrier.abort()  # the other is not to wait
            raise

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(run, range(2)))
