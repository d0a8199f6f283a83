"""No step waits for what it has computed, and a GPU gives what the CPU gives.

A GPU works through what it is given while the CPU goes on; each number that Python asks for
makes the CPU wait. On the CPU it is seen that none is asked for; with a GPU, torch says so
itself, and the results are compared.
"""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from scipy import sparse
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from skdisentangle import SparseSharedDisentangler
from skdisentangle.fitting import all_rows, training
from skdisentangle.fitting.recording import RecordedSteps
from skdisentangle.rows import blocks, inputs

from .conftest import quick

pytestmark = pytest.mark.usefixtures("short_fits")

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=needs_cuda)]

#: Operations that give Python a number, or a tensor whose shape hangs on numbers.
WAITS = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_dim",
    "bincount",
)


class Watch(TorchDispatchMode):
    """Names of operations that have to wait for numbers."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.split(".")[0]
        mask = name.startswith("index") and any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool
            for index in (args[1] if isinstance(args[1], (list, tuple)) else ())
        )
        if mask or name in WAITS:
            self.seen.append(name)
        return function(*args, **(kwargs or {}))


def half_missing(Y):
    Y = Y.copy()
    Y[np.random.default_rng(0).random(Y.shape) < 0.5] = np.nan
    return Y


CASES = {
    "complete": ({}, lambda Y: Y, False),
    "noise": ({"input_noise": 0.3}, lambda Y: Y, False),
    "missing labels": ({"class_weight": "balanced"}, half_missing, False),
    "weights": ({}, lambda Y: Y, True),
    "no penalty": ({"sparsity": 0.0, "sharing": 0.0}, lambda Y: Y, False),
    "bilevel": ({"solver": "bilevel"}, lambda Y: Y, False),
}


#: Steps that do the same each time may be recorded; "first-order bilevel" draws tasks anew.
RECORDED = {name: CASES[name] for name in CASES if "bilevel" not in name}
RECORDED["bilevel"] = ({"solver": "bilevel"}, half_missing, False)


@contextmanager
def torch_says_so():
    """Torch raises where a GPU is waited for."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", CASES)
def test_no_step_waits(case, device, problem, monkeypatch):
    options, change, weighted = CASES[case]
    X, Y, _ = problem
    step, seen = training.step, []

    def watched(*args):
        with Watch() as watch:
            if device == "cpu":
                found = step(*args)
            else:
                with torch_says_so():
                    found = step(*args)
        seen.append(watch.seen)
        return found

    monkeypatch.setattr(training, "step", watched)
    monkeypatch.setattr(training, "_recorder", lambda *_: None)
    quick(device=device, batch_size=100, **options).fit(
        X, change(Y), sample_weight=np.linspace(1, 2, len(X)) if weighted else None
    )
    assert len(seen) > 10
    assert not any(seen)


def test_waits_are_seen():
    values = torch.arange(4.0)
    with Watch() as watch:
        values.sum().item()
        values[values > 1]
        values.nonzero()
        values.unique()
    assert watch.seen == ["_local_scalar_dense", "index", "nonzero", "_unique2"]


def places(state):
    """All that a step changes."""
    memories = state.optimizer.state.values()
    return [
        *state.body.parameters(),
        *(values for memory in memories for values in memory.values()),
        *(state.theta, state.mean, state.var, state.variance),
    ]


class Tape:
    """Stands in for CUDA graphs: what is recorded is done again, on the same tensors."""

    def __init__(self, state):
        self.state, self.n_recorded, self.n_played = state, 0, 0

    def __call__(self, run):
        self.n_recorded += 1
        before = [values.detach().clone() for values in places(self.state)]
        out = run()  # a graph is not run while it is recorded
        with torch.no_grad():
            for place, values in zip(places(self.state), before, strict=True):
                place.copy_(values)

        def replay():
            self.n_played += 1
            n_steps = self.state.n_steps
            found = run()
            with torch.inference_mode():
                out.copy_(found)
            self.state.n_steps = n_steps

        return replay, out


#: No short fits that choose it, whose steps would be counted, too.
NO_NOISE = {"input_noise": 0.0}


@pytest.fixture
def steps_only(monkeypatch):
    """No basis is tried at the end: these tests compare what steps have found.

    Heads of classes that can be told apart grow as long as they are solved for, and the
    least difference with them.
    """
    monkeypatch.setattr(all_rows, "has_few_outputs", lambda *_: False)


@pytest.mark.usefixtures("steps_only")
@pytest.mark.parametrize("case", RECORDED)
def test_recorded_steps_are_the_same(case, problem, monkeypatch):
    options, change, weighted = RECORDED[case]
    X, Y, _ = problem
    weight = np.linspace(1, 2, len(X)) if weighted else None
    fits, tapes = [], []
    for recorded in (False, True):

        def recorder(state, options):
            tapes.append(Tape(state))
            return RecordedSteps(state, options, tapes[-1])

        if recorded:
            monkeypatch.setattr(training, "_recorder", recorder)
        # Batches of two sizes.
        dis = quick(device="cpu", batch_size=45, max_iter=12, **NO_NOISE | options)
        fits.append(dis.fit(X, change(Y), sample_weight=weight))
    plain, other = fits
    # The shorter ones are too few to be recorded in the first sixth, of other steps.
    assert tapes[0].n_recorded == 3
    assert tapes[0].n_played > 60
    # Rates are held in single precision, else in double.
    np.testing.assert_allclose(other.loss_curve_, plain.loss_curve_, rtol=1e-3)
    np.testing.assert_allclose(other.coef_, plain.coef_, atol=0.02)


def test_training_changes_all_in_place(problem, monkeypatch):
    """A recorded step goes on where it was recorded."""
    X, Y, _ = problem
    seen = []
    step = training.step

    def watched(state, *args):
        found = step(state, *args)
        seen.append([values.data_ptr() for values in places(state)])
        return found

    monkeypatch.setattr(training, "step", watched)
    fitted = quick(device="cpu", batch_size=100, max_iter=12, **NO_NOISE).fit(X, Y)
    assert len(fitted.active_components_) < 6  # a basis was chosen on the way
    assert seen.count(seen[0]) == len(seen) == 36


@pytest.mark.parametrize("room", [False, True])
def test_rows_are_held_where_there_is_room(room, problem, monkeypatch):
    X, Y, _ = problem
    held = quick(device="cpu", batch_size=100).fit(X, Y)
    monkeypatch.setattr(blocks, "BUFFER_VALUES", X.size // 3)
    monkeypatch.setattr(inputs, "has_room", lambda like, shape: room)
    fitted = quick(device="cpu", batch_size=100).fit(X, Y)
    assert np.array_equal(fitted.transform(X), held.transform(X)) == room


def test_there_is_no_room_without_a_gpu():
    assert not inputs.has_room(torch.zeros(1), (1, 1))


#: All rows in each step, which a fit does in double precision.
WHOLE = {"batch_size": 300, "max_iter": 30}


@needs_cuda
@pytest.mark.usefixtures("steps_only")
class TestCuda:
    """Where there is a GPU. In double precision, what differs is the order of sums."""

    @pytest.mark.parametrize("case", RECORDED)
    def test_recorded_steps_are_the_same(self, case, problem, monkeypatch):
        options, change, weighted = RECORDED[case]
        X, Y, _ = problem
        weight = np.linspace(1, 2, len(X)) if weighted else None
        plain, recorded = (
            quick(device="cuda", batch_size=45, max_iter=12, **NO_NOISE | options)
            for _ in range(2)
        )
        recorded.fit(X, change(Y), sample_weight=weight)
        monkeypatch.setattr(training, "_recorder", lambda *_: None)
        plain.fit(X, change(Y), sample_weight=weight)
        np.testing.assert_allclose(recorded.loss_curve_, plain.loss_curve_, rtol=1e-3)
        np.testing.assert_allclose(recorded.coef_, plain.coef_, atol=0.02)

    def test_fits_in_threads(self, problem):
        X, Y, _ = problem
        alone = quick(device="cuda", batch_size=45).fit(X, Y)
        with ThreadPoolExecutor(3) as pool:
            fits = [
                pool.submit(quick(device="cuda", batch_size=45).fit, X, Y)
                for _ in range(3)
            ]
        for each in fits:
            np.testing.assert_allclose(
                each.result().transform(X), alone.transform(X), atol=1e-3
            )

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"input_noise": 0.3},
            {"solver": "bilevel"},
            {"early_stopping": True},
            {"sparsity": "auto"},
            {"n_components": "auto"},
            {"hidden_layer_sizes": (16, 16), "encoder": "linear"},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("missing", [False, True])
    def test_a_fit_is_that_of_the_cpu(self, options, missing, problem):
        X, Y, _ = problem
        Y = half_missing(Y) if missing else Y
        own, other = (
            quick(device=device, **WHOLE | options).fit(X, Y)
            for device in ("cpu", "cuda")
        )
        np.testing.assert_array_equal(own.active_components_, other.active_components_)
        np.testing.assert_allclose(own.coef_, other.coef_, atol=1e-3)
        np.testing.assert_allclose(own.transform(X), other.transform(X), atol=1e-3)
        assert other.score(X, Y) == pytest.approx(own.score(X, Y), abs=1e-3)
        assert all(p.device.type == "cpu" for p in other.encoder_.parameters())

    def test_same_seed_same_numbers(self, problem):
        X, Y, _ = problem
        one, two = (quick(device="cuda", max_iter=20).fit(X, Y) for _ in range(2))
        np.testing.assert_array_equal(one.transform(X), two.transform(X))
        np.testing.assert_array_equal(one.coef_, two.coef_)

    @pytest.mark.parametrize("kind", ["dense", "sparse", "memmap", "float32"])
    def test_rows_of_all_kinds(self, kind, problem, tmp_path):
        X, Y, _ = problem
        rows = X
        if kind == "sparse":
            rows = sparse.csr_matrix(X)
        elif kind == "memmap":
            np.save(tmp_path / "X.npy", X)
            rows = np.load(tmp_path / "X.npy", mmap_mode="r")
        elif kind == "float32":
            rows = X.astype(np.float32)
        fitted = quick(device="cuda").fit(rows, Y)
        found = fitted.transform(rows)
        expected = fitted.set_params(device="cpu").transform(rows)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(
            found, expected, atol=1e-4 if kind == "float32" else 1e-9
        )

    def test_images(self):
        rng = np.random.default_rng(0)
        images = rng.normal(size=(120, 1, 16, 16)).astype(np.float32)
        X, Y = images.reshape(120, -1), images[:, 0, :3, 0] > 0
        fitted = quick(
            device="cuda", encoder="conv", input_shape=(1, 16, 16), max_iter=4
        ).fit(X, Y)
        found = fitted.transform(X)
        expected = fitted.set_params(device="cpu").transform(X)
        np.testing.assert_allclose(found, expected, atol=1e-2)

    def test_a_module_of_the_users(self, problem):
        X, Y, _ = problem
        net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh())
        net.append(torch.nn.Linear(16, 6))
        before = pickle.dumps(net.state_dict())
        fitted = quick(device="cuda", encoder=net).fit(X, Y)
        assert pickle.dumps(net.state_dict()) == before
        found = fitted.transform(X)
        expected = fitted.set_params(device="cpu").transform(X)
        np.testing.assert_allclose(found, expected, atol=1e-9)

    def test_a_stream(self, problem):
        X, Y, _ = problem
        own, other = (quick(device=device) for device in ("cpu", "cuda"))
        for _ in range(20):
            own.partial_fit(X, Y)
            other.partial_fit(X, Y)
        np.testing.assert_allclose(own.transform(X), other.transform(X), atol=0.1)

    def test_new_tasks_and_pickles(self, problem):
        X, Y, _ = problem
        fitted = quick(device="cuda").fit(X, Y)
        head = fitted.fit_task(X[:60], Y[:60, 1])
        back = pickle.loads(pickle.dumps(fitted))
        np.testing.assert_array_equal(back.transform(X), fitted.transform(X))
        np.testing.assert_array_equal(
            pickle.loads(pickle.dumps(head)).predict(X), head.predict(X)
        )

    @pytest.mark.parametrize("lazy", [False, True])
    def test_rows_are_moved_once(self, lazy, tmp_path):
        """Of each epoch there is the order of the rows: eight bytes a row."""
        rng = np.random.default_rng(0)
        X = rng.normal(size=(4000, 50)).astype(np.float32)
        Y = (X[:, :5] > 0).astype(np.float32)
        if lazy:
            np.save(tmp_path / "X.npy", X)
            X = np.load(tmp_path / "X.npy", mmap_mode="r")
        n_epochs = 5
        fit = quick(device="cuda", max_iter=n_epochs, input_noise=0.0)
        with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as seen:
            fit.fit(X, Y)
        seen.export_chrome_trace(str(tmp_path / "trace.json"))
        events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
        moved = sum(
            event["args"].get("bytes", 0)
            for event in events
            if "Memcpy HtoD" in event.get("name", "")
        )
        least = X.nbytes + Y.nbytes
        assert least <= moved < 1.2 * least + n_epochs * 8 * len(X) + 2**18


@needs_cuda
def test_auto_takes_the_gpu(problem, monkeypatch):
    X, Y, _ = problem
    step, seen = training.step, []

    def watched(state, rows, *args):
        seen.append(rows.device.type)
        return step(state, rows, *args)

    monkeypatch.setattr(training, "step", watched)
    monkeypatch.setattr(training, "_recorder", lambda *_: None)
    SparseSharedDisentangler(max_iter=2, random_state=0).fit(X, Y)
    assert set(seen) == {"cuda"}
