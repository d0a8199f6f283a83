"""Interruptions, threads, processes, memory and disks: what happens around a fit."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import re
import stat
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

import skdisentangle
from skdisentangle import SparseSharedDisentangler, SparseSharedDisentanglerCV, cli
from skdisentangle.backbones import ImageEmbedder
from skdisentangle.datasets import make_multitask_factors
from skdisentangle.metrics import mcc_score
from tests.conftest import make_problem, quick

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

PACKAGE = str(Path(skdisentangle.__file__).parent)

#: Seconds after which a process that hangs fails its test.
PATIENCE = 900

X, Y, _ = make_problem(n_samples=60, n_tasks=6)


def tiny(cls=SparseSharedDisentangler, **options):
    """An estimator that is fitted on the rows above in a tenth of a second."""
    defaults = {"n_components": 4, "hidden_layer_sizes": (8,), "max_iter": 6}
    return quick(cls, **{**defaults, **options})


def run(code, *arguments, **environment):
    """Run a script in a process of its own, whose limits and leaks are no one else's."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * PATIENCE,
    )


# -- Ctrl-C, at any line ---------------------------------------------------------------


class Interrupt:
    """Raises KeyboardInterrupt as a line of the package is reached for the first time.

    Not in those that put things back: there an interrupt has come too late.
    """

    PUT_BACK = ("guarded", "limited", "seeded", "threads")

    def __init__(self, at=None):
        self.at, self.lines = at, []
        self._seen = set()

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *error):
        sys.settrace(self._before)

    def _call(self, frame, event, argument):
        code = frame.f_code
        ours = code.co_filename.startswith(PACKAGE)
        return self._line if ours and code.co_name not in self.PUT_BACK else None

    def _line(self, frame, event, argument):
        place = frame.f_code.co_filename, frame.f_lineno
        if event == "line" and place not in self._seen:
            self._seen.add(place)
            self.lines.append(place)
            if place == self.at:
                raise KeyboardInterrupt
        return self._line


def with_dropout(n_features, n_components):
    return torch.nn.Sequential(
        torch.nn.Linear(n_features, 8),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(8, n_components),
    )


def global_state():
    numpys = np.random.get_state()
    return (
        torch.get_num_threads(),
        torch.get_rng_state().tolist(),
        (numpys[1].tolist(), *numpys[2:]),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
    )


CV = {"cls": SparseSharedDisentanglerCV, "sparsities": [0.01, 0.1], "cv": 2}
INTERRUPTED = [
    pytest.param({}, "fit", 8, id="fit"),
    pytest.param({}, "partial_fit", 8, id="partial_fit"),
    pytest.param({"warm_start": True}, "fit", 4, id="warm_start"),
    *(
        pytest.param(
            {"max_iter": 4, "input_noise": 0.2, **options},
            *(method, n),
            marks=pytest.mark.slow,
        )
        for options, method, n in [
            ({}, "fit", 40),
            ({"input_noise": "auto"}, "fit", 6),
            ({"solver": "bilevel"}, "fit", 40),
            ({"early_stopping": True}, "fit", 40),
            ({"sparsity": "auto"}, "fit", 40),
            ({"encoder": with_dropout}, "fit", 40),
            ({"cross_fit": 2}, "fit_transform", 40),
            (CV, "fit", 12),
        ]
    ),
]


@pytest.mark.parametrize("fitted", [False, True], ids=["first", "again"])
@pytest.mark.parametrize(("options", "method", "n_places"), INTERRUPTED)
def test_ctrl_c_at_any_line(options, method, n_places, fitted):
    def work(dis):
        getattr(dis, method)(X, Y)
        return dis

    start = tiny(**options)
    start = pickle.dumps(work(start) if fitted else start)
    with Interrupt() as whole:
        expected = work(pickle.loads(start))
    places = random.Random(0).sample(whole.lines, n_places)
    for place in places:
        dis = pickle.loads(start)
        before, around = pickle.dumps(dis), global_state()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", UserWarning)
            try:
                with Interrupt(place):
                    work(dis)
            except KeyboardInterrupt:
                assert pickle.dumps(dis) == before, place
            else:
                # The epochs of a fit can be ended early: what was learned is a model.
                assert any("was interrupted in" in str(w.message) for w in said), place
                codes = dis.transform(X)[:, dis.active_components_]
                if not dis.early_stopping:  # else over the rows that were not held back
                    np.testing.assert_allclose(codes.mean(0), 0, atol=1e-5)
                    np.testing.assert_allclose(codes.std(0), 1, atol=1e-2)
                assert np.isfinite(dis.score(X, Y)), place
                dis = pickle.loads(start)
        assert global_state() == around, place
        work(dis)
        np.testing.assert_array_equal(dis.coef_, expected.coef_)
        np.testing.assert_array_equal(dis.transform(X), expected.transform(X))


# -- threads ---------------------------------------------------------------------------


@pytest.mark.parametrize("encoder", ["mlp", with_dropout])
def test_fits_in_threads_are_the_fits_alone(encoder):
    def work(seed):
        dis = tiny(encoder=encoder, random_state=seed).fit(X, Y)
        return dis.coef_, dis.transform(X)

    around = global_state()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(work, range(4)))
    assert global_state() == around
    for seed, results in enumerate(together):
        for result, alone in zip(results, work(seed), strict=True):
            np.testing.assert_array_equal(result, alone)


@pytest.mark.parametrize("encoder", ["mlp", with_dropout])
def test_one_model_in_eight_threads(encoder):
    """It is transformed with, and pickled, by all at once."""
    dis = tiny(encoder=encoder).fit(X, Y)
    alone = dis.transform(X)
    start = threading.Barrier(8)

    def work(number):
        start.wait(PATIENCE)
        done = []
        for _ in range(5):
            used = pickle.loads(pickle.dumps(dis)) if number % 2 else dis
            done.append(used.transform(X))
        return done

    with ThreadPoolExecutor(8) as pool:
        for done in pool.map(work, range(8)):
            for features in done:
                np.testing.assert_array_equal(features, alone)


@pytest.mark.parametrize(("seed", "times"), [(101, 1000), (102, 1000), (103, 300)])
def test_a_few_rows_far_out_do_no_harm(seed, times):
    """A batch that has one bends the losses many times as much as the batch before."""
    made = make_multitask_factors(5000, link="logistic", random_state=seed)
    made.X[::1000] *= times  # five
    dis = SparseSharedDisentangler(16, batch_size=256, random_state=0)
    dis.fit(made.X[:4000], made.Y[:4000])
    codes = dis.transform(made.X[4001:])[:, dis.active_components_]
    assert mcc_score(made.factors[4001:], codes) > 0.99


def test_a_callback_may_fit():
    """A fit in a fit, both with modules that take torch's global random state."""
    inner = []

    class Fits(torch.nn.Module):
        def __init__(self, n_features, n_components):
            super().__init__()
            self.layer = torch.nn.Linear(n_features, n_components)

        def forward(self, rows):
            if self.training and not inner:
                inner.append(None)
                inner.append(tiny(encoder=with_dropout).fit(X, Y))
            return self.layer(rows)

    done = []
    worker = threading.Thread(
        target=lambda: done.append(tiny(encoder=Fits).fit(X, Y)), daemon=True
    )
    worker.start()
    worker.join(PATIENCE)
    assert done, "the fit hangs"
    alone = tiny(encoder=with_dropout).fit(X, Y)
    np.testing.assert_array_equal(inner[1].coef_, alone.coef_)
    np.testing.assert_array_equal(done[0].coef_, tiny(encoder=Fits).fit(X, Y).coef_)


# -- processes -------------------------------------------------------------------------


def features_of_a_fit(seed):
    with warnings.catch_warnings():  # a spawned process has no filter of the tests
        warnings.simplefilter("ignore", ConvergenceWarning)
        return tiny(random_state=seed).fit(X, Y).transform(X)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "loky"])
def test_fits_in_processes_are_the_fits_alone(method):
    if method == "loky":
        results = joblib.Parallel(2)(
            joblib.delayed(features_of_a_fit)(seed) for seed in range(2)
        )
    elif method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system does not {method}")
    else:
        with multiprocessing.get_context(method).Pool(2) as pool:
            results = pool.map_async(features_of_a_fit, range(2)).get(PATIENCE)
    for seed, features in enumerate(results):
        np.testing.assert_array_equal(features, features_of_a_fit(seed))


#: A parent whose torch has threads that its child does not have, one of which holds the
#: lock of torch's global random state.
FORKED = """
import os, signal, sys, threading, warnings
warnings.simplefilter("ignore")
import numpy as np
import torch
from skdisentangle import SparseSharedDisentangler
from skdisentangle.encoders import networks as encoders

torch.set_num_threads(2)
square = torch.ones(700, 700)
(square @ square + square).exp().sum()
X = np.random.default_rng(0).normal(size=(2000, 50))

def make(n_features, n_components):
    return torch.nn.Linear(n_features, n_components)

def work():
    for encoder in ("mlp", make):
        dis = SparseSharedDisentangler(
            3, encoder=encoder, hidden_layer_sizes=(8,), max_iter=1, random_state=0
        )
        dis.fit(X, X[:, :20]).score(X, X[:, :20])
        dis.partial_fit(X, X[:, :20])
        dis.fit_task(X[:50], X[:50, 0]).score(X, X[:, 0])
    return dis.transform(X)

held, free = threading.Event(), threading.Event()

def hold():
    with encoders.seeded(0):
        held.set()
        free.wait()

holder = threading.Thread(target=hold)
holder.start()
held.wait()
child = os.fork()
if child == 0:
    signal.alarm(int(sys.argv[1]))  # ends a process that hangs
    features = work()
    os._exit(0)
free.set()
holder.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_fits():
    done = run(FORKED, PATIENCE, OMP_NUM_THREADS="2")
    assert done.returncode == 0, done.stderr


# -- memory ----------------------------------------------------------------------------

#: Each of these asks for more memory than there is.
OUT_OF_MEMORY = """
import pickle, resource, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
import joblib
import numpy as np
import torch
from skdisentangle import SparseSharedDisentangler
from skdisentangle.cli import main
from skdisentangle.extraction import extract_features

folder = Path(sys.argv[1])
X = np.random.default_rng(0).normal(size=(200, 8))
Y = X[:, :3]

def make(**options):
    return SparseSharedDisentangler(
        4,
        sparsity=0.0,  # without penalties all components are in use: more to hold
        sharing=0.0,
        max_iter=3,
        random_state=0,
        **{"hidden_layer_sizes": (8,), **options},
    )

dis = make().fit(X, Y)
features, before = dis.transform(X), pickle.dumps(dis)
joblib.dump(dis, folder / "model.joblib")
many_X, many_Y = (np.broadcast_to(a[0], (20_000_000, a.shape[1])) for a in (X, Y))
np.lib.format.open_memmap(folder / "X.npy", "w+", float, (20_000_000, 8)).flush()
job = folder / "model.joblib", folder / "X.npy", folder / "features"

def refit():
    try:
        dis.set_params(hidden_layer_sizes=(20_000, 20_000)).fit(X, Y)
    finally:
        dis.set_params(hidden_layer_sizes=(8,))

tries = [
    lambda: dis.transform(many_X),
    lambda: dis.predict(many_X),
    lambda: dis.fit(many_X, many_Y),
    lambda: dis.partial_fit(many_X, many_Y),
    lambda: make().fit(many_X, many_Y),
    refit,
    lambda: extract_features(*job, batch_size=20_000_000),
]
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 200 * 2**20
for number, attempt in enumerate(tries):
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    try:
        attempt()
    except (MemoryError, OSError, RuntimeError) as error:
        assert "llocate" in str(error), repr(error)
    else:
        raise AssertionError(f"attempt {number} found the memory")
    assert pickle.dumps(dis) == before, number
    assert (dis.transform(X) == features).all(), number
    assert (make().fit(X, Y).transform(X) == features).all(), number
    assert not list(folder.glob("**/.*.tmp"))
assert main(["extract", *map(str, job), "--batch-size", "20000000", "--quiet"]) == 1
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_out_of_memory(tmp_path):
    done = run(OUT_OF_MEMORY, tmp_path, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert "llocate" in done.stderr


#: Does something small many times, and prints memory, files and threads along the way.
REPEATED = """
import gc, os, resource, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
import numpy as np
from skdisentangle import SparseSharedDisentangler

what, folder = sys.argv[1], Path(sys.argv[2])
X = np.random.default_rng(0).normal(size=(60, 8))
Y = np.column_stack([X[:, 0], X[:, 1] > 0, X[:, 2]])
path = folder / "model.safetensors"

def fit():
    return SparseSharedDisentangler(random_state=0).fit(X, Y)

def cycle():
    dis.transform(X)
    dis.save(path)
    SparseSharedDisentangler.load(path).transform(X)

dis = fit()
for number in range(1, 201):
    fit() if what == "fit" else cycle()
    if number in (50, 200):
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        print(
            pages * resource.getpagesize() // 1024,
            len(os.listdir("/proc/self/fd")),
            len(os.listdir("/proc/self/task")),
        )
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize("what", ["fit", "save and load"])
def test_nothing_grows(what, tmp_path):
    done = run(REPEATED, what, tmp_path)
    assert done.returncode == 0, done.stderr
    early, late = (list(map(int, line.split())) for line in done.stdout.splitlines())
    assert late[0] - early[0] < 8 * 1024  # kilobytes, in 150 times
    assert late[1:] == early[1:]


# -- disks -----------------------------------------------------------------------------


CONVOLUTION = torch.nn.Conv2d(3, 2, 3)


def embedder(memory):
    """Features of images, kept in a cache."""
    return ImageEmbedder(CONVOLUTION, image_size=8, memory=memory)


IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def dis():
    return tiny(hidden_layer_sizes=(64,)).fit(X, Y)


@pytest.fixture
def inputs(tmp_path, dis):
    """Files that the commands read."""
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X).add_prefix("x").assign(task=Y[:, 1])
    frame.to_csv(tmp_path / "table.csv", index=False)
    joblib.dump(dis, tmp_path / "model.joblib")
    np.save(tmp_path / "X.npy", X)
    return tmp_path


@contextmanager
def full_disk(n_bytes):
    """No file can be longer."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def command(*arguments):
    return cli.main([*map(str, arguments), "--quiet"])


def fit_command(path, inputs):
    return command(
        "fit", inputs / "table.csv", path, "--tasks", "task", "--max-iter", "2"
    )


WRITES = {
    "save": lambda dis, path, inputs: dis.save(path),
    "to_onnx": lambda dis, path, inputs: dis.to_onnx(path),
    "fit": lambda dis, path, inputs: fit_command(path, inputs),
    "fit, safe": lambda dis, path, inputs: fit_command(
        path.with_suffix(".safetensors"), inputs
    ),
    "demo": lambda dis, path, inputs: command("demo", "--picture", path),
    "extract": lambda dis, path, inputs: command(
        "extract", inputs / "model.joblib", inputs / "X.npy", path
    ),
}
SLOW = ("to_onnx", "demo")
FILES = [
    pytest.param(what, marks=[pytest.mark.slow] if what in SLOW else [])
    for what in WRITES
    if what != "extract"
]


def fails_to_write(what, dis, path, inputs, capsys):
    """What is said, by an error or on the standard error of a command that fails."""
    if what in ("save", "to_onnx"):
        with pytest.raises(OSError, match=re.escape(str(path.parent))) as error:
            WRITES[what](dis, path, inputs)
        return str(error.value)
    assert WRITES[what](dis, path, inputs) == 1
    said = capsys.readouterr().err
    assert str(path) in said
    assert "Traceback" not in said
    return said


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


@pytest.mark.parametrize("what", FILES)
def test_a_full_disk_leaves_the_file_that_was_there(what, dis, inputs, capsys):
    path = inputs / ("kept.safetensors" if what == "fit, safe" else "kept.png")
    path.write_bytes(b"before")
    there = names(inputs)
    with full_disk(2000):
        said = fails_to_write(what, dis, path, inputs, capsys)
    assert "File too large" in said
    assert path.read_bytes() == b"before"
    assert names(inputs) == there


@pytest.mark.parametrize("what", ["save", "fit", "fit, safe", "extract"])
def test_a_folder_that_cannot_be_written(what, dis, inputs, capsys):
    (inputs / "file").write_bytes(b"before")
    there = names(inputs)
    fails_to_write(what, dis, inputs / "file" / "new.safetensors", inputs, capsys)
    assert (inputs / "file").read_bytes() == b"before"
    assert names(inputs) == there


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("what", ["save", "fit", "fit, safe"])
def test_what_is_no_regular_file_is_not_replaced(what, dis, inputs, capsys):
    """Such as /dev/null, by a user who may."""
    path = inputs / "pipe.safetensors"
    os.mkfifo(path)
    there = names(inputs)
    said = fails_to_write(what, dis, path, inputs, capsys)
    assert "regular file" in said
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert names(inputs) == there


def test_a_cache_that_cannot_be_written(tmp_path):
    """The features are there all the same, and a later call fills the cache."""
    expected = embedder(None).transform(IMAGES)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        embedder(tmp_path / "file" / "cache").transform(IMAGES)

    cached = embedder(joblib.Memory(tmp_path / "cache", verbose=0))
    # joblib raises where it first has to keep the code of a function, else it warns
    said = r"too large.*cache|cache to disk.*too large"
    with full_disk(10), warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((OSError, Warning), match=said):
            cached.transform(IMAGES)
    cached.transform(IMAGES[:1])
    with full_disk(10), pytest.warns(Warning, match="cache to disk"):
        features = cached.transform(IMAGES)
    for _ in range(2):
        np.testing.assert_allclose(features, expected, rtol=0, atol=1e-6)
        features = cached.transform(IMAGES)
