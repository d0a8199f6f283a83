"""A search, and a transform, on a Dask cluster of two processes, for real."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import Future
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from skdisentangle import SparseSharedDisentangler
from tests.conftest import make_problem

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

#: Seconds after which a search that hangs fails its test.
PATIENCE = 90

FOLDER = "SKDISENTANGLE_TEST_FOLDER"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dask")
    settings = {
        "distributed.scheduler.allowed-failures": 1,
        "temporary-directory": str(folder),
        "distributed.nanny.environ": {FOLDER: str(folder), "OMP_NUM_THREADS": "1"},
    }
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def make_search(scoring=None):
    dis = SparseSharedDisentangler(
        5, hidden_layer_sizes=(8,), max_iter=10, tol=0, random_state=0
    )
    return GridSearchCV(
        dis, {"sparsity": [0.01, 0.1]}, cv=2, scoring=scoring, refit=False
    )


def run(search, client):
    X, Y, _ = make_problem(n_samples=200)
    done = Future()

    def work():
        try:
            with joblib.parallel_config(backend="dask", client=client, scatter=[X, Y]):
                done.set_result(search.fit(X, Y))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return done.result(PATIENCE)


def assert_as_alone(search):
    X, Y, _ = make_problem(n_samples=200)
    alone = make_search().fit(X, Y)
    assert search.cv_results_.keys() == alone.cv_results_.keys()
    for name, values in alone.cv_results_.items():
        if "time" not in name:
            np.testing.assert_array_equal(search.cv_results_[name], values)


def dies_once(estimator, X, Y):
    """Kill the worker that is first to get here."""
    try:
        (Path(os.environ[FOLDER]) / "died").touch(exist_ok=False)
    except FileExistsError:
        return estimator.score(X, Y)
    return os.kill(os.getpid(), signal.SIGKILL)


def dies(estimator, X, Y):
    os.kill(os.getpid(), signal.SIGKILL)


pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_search_finds_what_it_finds_alone(client):
    assert_as_alone(run(make_search(), client))


def test_work_of_a_worker_that_was_killed_is_done_again(client):
    assert_as_alone(run(make_search(dies_once), client))


@pytest.mark.slow
def test_transform_on_other_processes(client):
    da = pytest.importorskip("dask.array")
    X, Y, _ = make_problem(n_samples=200)
    dis = SparseSharedDisentangler(5, hidden_layer_sizes=(8,), random_state=0)
    dis.fit(X, Y)
    codes = dis.transform(da.from_array(X, chunks=(50, 8))).compute()
    np.testing.assert_allclose(codes, dis.transform(X), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_job_that_kills_every_worker_ends_in_an_error(client):
    # The second is for the rows, which were lost with the last worker.
    errors = (distributed.KilledWorker, distributed.client.FutureCancelledError)
    with pytest.raises(errors):
        run(make_search(dies), client)
