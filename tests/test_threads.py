"""What torch is set to: nothing of it changes a fit, and a fit leaves it as it was."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from skdisentangle import SparseSharedDisentangler
from skdisentangle._threads import threads
from skdisentangle.inspection import input_effects
from skdisentangle.model_selection import sparsity_path

from .conftest import make_problem, quick

pytestmark = pytest.mark.usefixtures("short_fits")


def number_elsewhere():
    """Number of threads that torch takes in a new thread of the process."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


class TestThreads:
    def test_are_put_back_after_an_error(self):
        before = torch.get_num_threads()
        with pytest.raises(RuntimeError, match="boom"), threads(before + 1):
            assert torch.get_num_threads() == before + 1
            raise RuntimeError("boom")
        assert torch.get_num_threads() == before

    def test_are_put_back_inside(self):
        before = torch.get_num_threads()
        with threads(before + 2):
            with threads(before + 1), threads():
                assert torch.get_num_threads() == before + 1
            assert torch.get_num_threads() == before + 2
        assert torch.get_num_threads() == before

    @pytest.mark.parametrize("first_out", [0, 1])
    def test_of_two_at_once_are_those_before(self, first_out):
        """Whoever comes second sees the number of the first, and must not put it back."""
        before = torch.get_num_threads()
        entered = [threading.Event(), threading.Event()]
        may_leave = [threading.Event(), threading.Event()]
        seen = {}

        def work(number):
            if number:
                entered[0].wait(10)
            with threads(before + 1 + number):
                entered[number].set()
                may_leave[number].wait(10)
                seen[number] = torch.get_num_threads()
            seen[number, "after"] = torch.get_num_threads()

        workers = [threading.Thread(target=work, args=(n,)) for n in (0, 1)]
        for worker in workers:
            worker.start()
        for event in entered:
            assert event.wait(10)
        for number in (first_out, 1 - first_out):
            may_leave[number].set()
            workers[number].join()
        assert seen[0] == before + 1
        assert seen[1] == before + 2
        assert seen[0, "after"] == seen[1, "after"] == before
        assert torch.get_num_threads() == before
        assert number_elsewhere() == before

    def test_of_many_fits_at_once(self):
        before = torch.get_num_threads()
        torch.set_num_threads(3)
        try:
            X, Y, _ = make_problem(n_samples=40)
            alone = quick(max_iter=2).fit(X, Y)

            def fit(number):
                return quick(max_iter=2, n_threads=1 + number % 2).fit(X, Y)

            with ThreadPoolExecutor(4) as pool:
                fits = list(pool.map(fit, range(8)))
                assert {*pool.map(lambda _: torch.get_num_threads(), range(8))} == {3}
            assert torch.get_num_threads() == number_elsewhere() == 3
            for each in fits[::2]:
                np.testing.assert_array_equal(each.coef_, alone.coef_)
        finally:
            torch.set_num_threads(before)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_a_fork_beside_a_fit(self):
        """The child has not the thread that would give back what it has taken."""
        inside, done = threading.Event(), threading.Event()

        def work():
            with threads(1):
                inside.set()
                done.wait(10)

        worker = threading.Thread(target=work)
        torch.set_default_dtype(torch.float64)
        try:
            worker.start()
            assert inside.wait(10)
            child = os.fork()
            if child == 0:
                own = torch.get_default_dtype() == torch.float64
                with threads(1):
                    own = own and torch.get_default_dtype() == torch.float32
                own = own and torch.get_default_dtype() == torch.float64
                os._exit(0 if own else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        finally:
            done.set()
            worker.join()
            torch.set_default_dtype(torch.float32)


@contextmanager
def default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        yield
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device():
    """One that holds no numbers: whatever is made there by mistake is found."""
    with torch.device("meta"):
        yield
        assert torch.get_default_device().type == "meta"


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def no_grad():
    with torch.no_grad():
        yield
        assert not torch.is_grad_enabled()


@contextmanager
def inference_mode():
    with torch.inference_mode():
        yield
        assert torch.is_inference_mode_enabled()


SETTINGS = [default_device, default_dtype, deterministic, inference_mode, no_grad]


def make_body(n_features, n_components):
    return torch.nn.Sequential(
        torch.nn.Linear(n_features, 8),
        torch.nn.Tanh(),
        torch.nn.Linear(8, n_components),
    )


KINDS = {
    "mlp": {},
    "linear": {"encoder": "linear"},
    "conv": {"encoder": "conv", "input_shape": (2, 2, 2)},
    "factory": {"encoder": make_body},
    "bilevel": {"solver": "bilevel"},
    "path": {"sparsity": "auto", "early_stopping": True, "validation_fraction": 0.2},
}


def everything(kind, folder, setting):
    """All numbers that come out of a chain of calls, each under a setting."""
    X, Y, _ = make_problem(n_samples=60)
    options = KINDS[kind]
    encoder = {"encoder": make_body} if kind == "factory" else {}
    with setting():
        dis = quick(max_iter=4, n_components=4, **options).fit(X, Y)
        head = dis.fit_task(X[:30], X[:30, 0])
        out = [dis.coef_, dis.transform(X), dis.predict(X), dis.score_tasks(X, Y)]
        out += [head.coef_, head.predict(X), head.score(X, X[:, 0])]
        dis.save(folder / "model")
        back = SparseSharedDisentangler.load(folder / "model", **encoder)
        out += [back.transform(X)]
        back.set_params(warm_start=True, max_iter=2).fit(X, Y)
        out += [back.coef_]
        if kind != "path":
            more = quick(n_components=4, **options).partial_fit(X, Y)
            more.save(folder / "model")
            more = SparseSharedDisentangler.load(folder / "model", **encoder)
            out += [more.partial_fit(X, Y).coef_, more.transform(X)]
        out += [input_effects(dis, X, method="gradient").effects]
    # made in inference mode, these could not be trained
    out += [back.fit(X, Y).coef_, dis.set_params(warm_start=True).fit(X, Y).coef_]
    return out


@pytest.fixture(scope="module")
def as_usual(tmp_path_factory):
    found = {}

    def of(kind):
        if kind not in found:
            folder = tmp_path_factory.mktemp("usual")
            found[kind] = everything(kind, folder, threads)
        return found[kind]

    return of


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_same_bits_under_every_setting(setting, kind, as_usual, tmp_path):
    pytest.importorskip("safetensors")
    for one, other in zip(
        everything(kind, tmp_path, setting), as_usual(kind), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("setting", SETTINGS)
def test_onnx_under_every_setting(setting, quick_fit, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    rows = make_problem(n_samples=20)[0].astype(np.float32)
    with setting():
        quick_fit.to_onnx(tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    (features,) = session.run(["features"], {"X": rows})
    np.testing.assert_allclose(features, quick_fit.transform(rows), atol=1e-4)


def test_a_path_under_inference_mode():
    X, Y, _ = make_problem(n_samples=60)
    usual = sparsity_path(quick(max_iter=3), X, Y, sparsities=[0.1, 0.3])
    with torch.inference_mode():
        found = sparsity_path(quick(max_iter=3), X, Y, sparsities=[0.1, 0.3])
    np.testing.assert_array_equal(found.losses, usual.losses)
