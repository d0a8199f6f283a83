"""Fits on two processes, for real: gloo, on this machine."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import runpy
import signal
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA

from skdisentangle import SparseSharedDisentangler
from skdisentangle.distributed import process_group
from skdisentangle.encoders.networks import check_can_join
from skdisentangle.fitting import fit
from skdisentangle.model_selection import SparseSharedDisentanglerCV
from skdisentangle.tasks.labels import Column
from skdisentangle.tasks.types import infer_type
from tests.conftest import make_problem

EXAMPLES = Path(__file__).parent.parent / "examples"
EXAMPLE = EXAMPLES / "scripts" / "distributed_fit.py"

#: Seconds after which a rank that hangs fails its test.
PATIENCE = 100

pytestmark = [
    pytest.mark.skipif(
        not torch.distributed.is_available(), reason="this torch has no distributed"
    ),
    pytest.mark.skipif(sys.platform == "win32", reason="forkserver is for POSIX"),
]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _rank(job, rank, port, out, timeout):
    """What each process does: the job, whose result or error goes to the parent."""
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE="2",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        GLOO_SOCKET_IFNAME="lo" if sys.platform == "linux" else "lo0",
    )
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    try:
        with process_group(timeout=timeout) as ranks:
            result = job(ranks)
    except Exception as error:  # whichever it is, the parent looks at it
        result = error
    out.send_bytes(pickle.dumps(result))


def run(job, timeout=20.0):
    """Results, or errors, of a job on two ranks; None for one that was killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.test_distributed"])
    port = free_port()
    processes, pipes = [], []
    for rank in range(2):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_rank, args=(job, rank, port, there, timeout))
        process.start()
        there.close()
        processes.append(process)
        pipes.append(here)
    end = time.monotonic() + PATIENCE
    results = []
    try:
        for rank, pipe in enumerate(pipes):
            assert pipe.poll(max(0.0, end - time.monotonic())), f"rank {rank} hangs"
            try:
                results.append(pickle.loads(pipe.recv_bytes()))
            except EOFError:
                results.append(None)
        for process in processes:
            process.join(max(0.0, end - time.monotonic()))
            assert process.exitcode is not None, "a rank does not end"
    finally:
        for process in processes:
            process.kill()
            process.join()
    return results


def problem(n_samples=200, missing=0.2):
    """Rows; labels of which some are missing; weights."""
    X, Y, _ = make_problem(n_samples=n_samples)
    rng = np.random.default_rng(0)
    Y[rng.random(Y.shape) < missing] = np.nan
    return X, Y, rng.integers(1, 4, len(X)).astype(float)


def make(**params):
    params = {"n_components": 5, "hidden_layer_sizes": (8,), **params}
    return SparseSharedDisentangler(random_state=0, **params)


def fitted(estimator):
    """All that a fit has left: bits, and what does not hang on rounding."""
    X, _, _ = problem()
    bits = pickle.dumps([v.numpy() for v in estimator.encoder_.state_dict().values()])
    return bits, {
        "codes": estimator.transform(X),
        "coef": estimator.coef_,
        "intercept": estimator.intercept_,
        "usage": estimator.usage_,
        "active": estimator.active_components_,
        "loss": np.array(estimator.loss_curve_),
        "scores": np.array(estimator.validation_scores_ or []),
        "types": [task.type for task in estimator.tasks_],
    }


def assert_same(one, other, **tolerance):
    assert one.keys() == other.keys()
    assert one.pop("types") == other.pop("types")
    for name in one:
        np.testing.assert_allclose(one[name], other[name], err_msg=name, **tolerance)


#: Parameters, share of labels that are missing, whether rows have weights, rows of the
#: first rank.
CASES = {
    "missing labels": ({"early_stopping": True, "tol": 0}, 0.2, False, 20),
    "weights": ({"class_weight": "balanced", "n_components": "auto"}, 0.2, True, 3),
    "all labels": (
        {"encoder": "conv", "input_shape": (1, 2, 4)},
        0.0,
        False,
        150,
    ),
    "counts and ratings": (
        {
            "task_weight": [1, 0, 1, 1, 1, 0, 1, 1, 1],
            "task_types": [
                None,
                None,
                "count",
                "regression",
                "count",
                "ordinal",
                None,
                "ordinal",
                None,
            ],
        },
        0.2,
        True,
        60,
    ),
}


def in_double_precision():
    """Let no rounding be in the way of a comparison of fits in batches."""
    return patch.object(fit, "precision", lambda *_, **__: torch.float64)


def fit_all(ranks):
    """Each case with all rows in each step; then in batches."""
    out = {}
    for name, (params, missing, weighted, cut) in CASES.items():
        X, Y, weight = problem(missing=missing)
        mine = slice(0, cut) if ranks.rank == 0 else slice(cut, None)
        estimator = make(max_iter=12, **params)
        given = weight[mine] if weighted else None
        assert ranks.fit(estimator, X[mine], Y[mine], sample_weight=given) is estimator
        out[name] = fitted(estimator)
    # Of a batch of 40 rows the first rank mostly holds one, or none.
    X, Y, _ = problem()
    mine = slice(0, 5) if ranks.rank == 0 else slice(5, None)
    estimator = make(max_iter=12, batch_size=40, warm_start=True)
    with in_double_precision():
        ranks.fit(estimator, X[mine], Y_tasks=Y[mine])
        ranks.fit(estimator.set_params(max_iter=2), X[mine], Y_tasks=Y[mine])
    out["batches"] = fitted(estimator)
    return out, caught(make().partial_fit, X, Y)


@pytest.fixture(scope="module")
def ran():
    return run(fit_all)


@pytest.fixture(scope="module")
def results(ran):
    return [found for found, _ in ran]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", CASES)
def test_two_ranks_find_what_one_process_finds(results, name):
    params, missing, weighted, _ = CASES[name]
    X, Y, weight = problem(missing=missing)
    alone = make(max_iter=12, **params)
    alone.fit(X, Y, sample_weight=weight if weighted else None)
    for result in results:
        assert_same(result[name][1], fitted(alone)[1], rtol=1e-6, atol=1e-8)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_batches_of_all_rows_and_a_warm_start(results):
    X, Y, _ = problem()
    alone = make(max_iter=12, batch_size=40, warm_start=True)
    with in_double_precision():
        alone.fit(X, Y)
        alone.set_params(max_iter=2).fit(X, Y)
    for result in results:
        assert_same(result["batches"][1], fitted(alone)[1], rtol=1e-6, atol=1e-7)


def test_all_ranks_end_with_the_same_bits(results):
    for name, (bits, seen) in results[0].items():
        assert bits == results[1][name][0], name
        for key, value in seen.items():
            np.testing.assert_array_equal(value, results[1][name][1][key])


def test_partial_fit_is_refused(ran):
    for _, error in ran:
        assert error.startswith("RuntimeError: partial_fit fits on the rows of one")
        assert "inside one of 2 processes. Use ranks.fit" in error


def caught(function, *args, **kwargs):
    """The error of a call, as text."""
    try:
        function(*args, **kwargs)
    except Exception as error:  # whichever it is, the test looks at it
        return f"{type(error).__name__}: {error}"
    return None


def fit_wrongly(ranks):
    """Calls that must fail on both ranks, after each of which both can go on."""
    X, Y, _ = problem(60)
    second = ranks.rank == 1
    spoilt = X.copy()
    spoilt[3, 0] = np.nan
    frame = pd.DataFrame({"a": pd.Categorical(["x", "y"] * 30)})
    odd = pd.DataFrame({"a": pd.Categorical(["x", "z"] * 30)})
    calls = {
        "rows": (make(), spoilt if second else X, Y),
        "no rows": (make(), X[:0] if second else X, Y[:0] if second else Y),
        "columns": (make(), X[:, 1:] if second else X, Y),
        "tasks": (make(), X, Y[:, 1:] if second else Y),
        "dtype": (make(), X.astype(np.float32) if second else X, Y),
        "categories": (make(), X, odd if second else frame),
        "parameter": (make(sparsity=0.1 if second else 0.03), X, Y),
        "strength": (make(sparsity="auto"), X, Y),
        "solver": (make(solver="bilevel"), X, Y),
        "another": (PCA(), X, Y),
        "a search": (SparseSharedDisentanglerCV(), X, Y),
    }
    out = {name: caught(ranks.fit, *call) for name, call in calls.items()}
    last = make(max_iter=2)
    ranks.fit(last, X, Y)
    out["last"] = last.n_iter_
    # Where there is a process group, it is used, and left as it was.
    with process_group(timeout=20) as again:
        out["again"] = caught(again.fit, make(max_iter=2), X, Y)
    assert torch.distributed.is_initialized()
    # In the middle of a fit, an error of one parts the ranks.
    out["raised"] = fit_with_fault(ranks, Raising)[0]
    out["parted"] = caught(ranks.fit, make(), X, Y)
    return out


@pytest.mark.slow
def test_what_one_rank_gets_wrong_is_said_on_all():
    first, second = run(fit_wrongly)
    for name, words in {
        "no rows": ["0 sample(s)"],
        "columns": ["number of columns of X must be the same", "8", "7 on rank 1"],
        "tasks": ["columns of Y_tasks must be the same"],
        "dtype": ["dtype of X must be the same", "'float64'", "'float32' on rank 1"],
        "categories": ["dtypes of Y_tasks must be the same"],
        "parameter": ["sparsity must be the same", "0.03 on rank 0", "0.1 on rank 1"],
        "strength": ["sparsity must be a number"],
        "solver": ["solver must be 'alternating'", "'bilevel'"],
        "another": ["TypeError", "SparseSharedDisentangler", "PCA"],
        "a search": ["TypeError", "got SparseSharedDisentanglerCV"],
        "rows": ["ValueError", "NaN"],
        "parted": ["RuntimeError", "Restart all processes"],
    }.items():
        for result in (first, second):
            for word in words:
                assert word in result[name], (name, result[name])
    assert "Rank 1 cannot take part" in first["rows"]
    assert "Rank 1" not in second["rows"]
    assert first["last"] == second["last"] == 2
    assert first["again"] is second["again"] is None
    assert first["raised"].startswith("RuntimeError: Rank 0 of 2 lost another one")
    assert second["raised"] == "ZeroDivisionError: an error of the user's"


class Faulty(torch.nn.Linear):
    """An encoder that does something on the second rank, in the 20th step."""

    rank, n_steps = 0, 0

    def forward(self, rows):
        self.n_steps += self.training
        if self.n_steps == 20 and self.rank == 1:
            self.fault()
        return super().forward(rows)

    def fault(self):
        raise NotImplementedError


class Killed(Faulty):
    def fault(self):
        os.kill(os.getpid(), signal.SIGKILL)


class Slow(Faulty):
    def fault(self):
        time.sleep(9)


class Raising(Faulty):
    def fault(self):
        raise ZeroDivisionError("an error of the user's")


def fit_with_fault(ranks, kind):
    X, Y, _ = problem(60)
    estimator = make(encoder=kind(8, 5), max_iter=40)
    estimator.encoder.rank = ranks.rank
    start = time.monotonic()
    error = caught(ranks.fit, estimator, X, Y)
    return error, time.monotonic() - start, [k for k in vars(estimator) if k[-1] == "_"]


def fit_killed(ranks):
    return fit_with_fault(ranks, Killed)


def fit_slow(ranks):
    return fit_with_fault(ranks, Slow)


@pytest.mark.parametrize(
    ("job", "timeout", "other"),
    [
        (fit_killed, 50.0, None),
        pytest.param(
            *(fit_slow, 6.0, "RuntimeError: Rank 1 of 2 lost another one"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_rank_that_is_lost_ends_the_fit(job, timeout, other):
    first, second = run(job, timeout)
    error, seconds, left = first
    assert error.startswith("RuntimeError: Rank 0 of 2 lost another one")
    assert f"timeout of {timeout:g} s" in error
    assert seconds < 40
    assert left == []
    if other is None:
        assert second is None
    else:
        assert second[0].startswith(other)


def test_batch_normalisation_is_refused():
    with pytest.raises(ValueError, match="encoder must not use batch normalisation"):
        check_can_join(torch.nn.Sequential(torch.nn.BatchNorm1d(5)))


@pytest.mark.slow
def test_the_example_under_torchrun():
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if sys.platform == "linux":
        environment["GLOO_SOCKET_IFNAME"] = "lo"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run"),
            *("--nproc-per-node", "2", "--master-addr", "127.0.0.1"),
            *("--master-port", str(free_port()), str(EXAMPLE)),
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "2 processes" in done.stdout


def test_without_torchrun_the_script_runs_on_one_process(capsys, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    runpy.run_path(str(EXAMPLE))
    assert "1 process" in capsys.readouterr().out


def test_timeout_must_be_above_zero():
    with (
        pytest.raises(ValueError, match="timeout must be above 0"),
        process_group(timeout=0),
    ):
        pass


def test_distinct_labels_of_ranks_are_merged():
    def read(*values):
        return Column.read("a", np.array(values, dtype=object)).distinct()

    merged = Column.merge([read(2, 1, 2), read(None), read(5, None)])
    assert merged.values.tolist() == [1, 2, 5]
    # Of measurements two and a fraction say that they are no classes.
    some = Column.merge([read(*np.linspace(0, 1, 50).tolist()), read(3, 4)])
    assert len(some.values) < 6
    assert infer_type(some).name == "regression"
    with pytest.raises(ValueError, match="'a' has numbers on rank 0 and strings on"):
        Column.merge([read(1, 2), read("x")])
