from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import h5py
import numpy as np
import pytest
import torch
import zarr

from skdisentangle import SparseSharedDisentangler
from skdisentangle.rows import blocks, targets
from skdisentangle.rows.blocks import BlockRows, LazyRows, chunks, lazy_if_large
from skdisentangle.rows.inputs import InputMoments, standardised_rows

from ..conftest import make_problem

CONTAINERS = ("ndarray", "fortran", "memmap", "h5py", "h5py chunks", "zarr", "slices")


class Slices:
    """The least that an array must have."""

    def __init__(self, values):
        self._values = values
        self.shape, self.dtype = values.shape, values.dtype

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        return self._values[rows]


def put(X, container, folder, chunk=60):
    """The same rows in another container."""
    if container == "memmap":
        np.save(folder / "X.npy", X)
        return np.load(folder / "X.npy", mmap_mode="r")
    if container.startswith("h5py"):
        stored = (chunk, X.shape[1]) if "chunks" in container else None
        return h5py.File(folder / f"{container}.h5", "w").create_dataset(
            "X", data=X, chunks=stored
        )
    if container == "zarr":
        array = zarr.create_array(
            folder / "X.zarr",
            shape=X.shape,
            dtype=X.dtype,
            chunks=(chunk, X.shape[1]),
        )
        array[:] = X
        return array
    return {"ndarray": np.asarray, "fortran": np.asfortranarray, "slices": Slices}[
        container
    ](X)


@pytest.fixture
def small(monkeypatch):
    """Blocks of 20 rows of 8 columns, of which eight fit into the buffer."""
    monkeypatch.setattr(blocks, "BUFFER_VALUES", 1280)
    monkeypatch.setattr(blocks, "BLOCK_VALUES", 160)
    monkeypatch.setattr(blocks, "CHUNK_VALUES", 400)


def make_rows(n_rows=500, dtype=np.float64):
    return np.random.default_rng(0).normal(3, 2, size=(n_rows, 8)).astype(dtype)


def block_rows(X, n_rows=None):
    moments = InputMoments(X.shape[1])
    moments.update(X, np.ones(len(X)))
    like = torch.empty(0)
    scaler = moments.scaler(len(X))
    return (
        BlockRows(LazyRows(X), scaler, like),
        standardised_rows(X, scaler, like),
    )


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, ">f4"])
def test_lazy_rows_are_the_rows(container, dtype, tmp_path):
    X = make_rows(dtype=dtype)
    lazy = lazy_if_large(put(X, container, tmp_path))
    assert isinstance(lazy, LazyRows)
    assert lazy.dtype == (np.float32 if dtype == np.float32 else np.float64)
    assert np.asarray(lazy).dtype == lazy.dtype
    shuffled = np.random.default_rng(0).permutation(500)
    for index in (slice(3, 480), slice(None, None, 7), shuffled, np.array([499, 0])):
        assert lazy[index].shape == X[index].shape
        np.testing.assert_array_equal(np.asarray(lazy[index]), X[index])
    np.testing.assert_array_equal(
        np.asarray(lazy[shuffled][10:200]), X[shuffled][10:200]
    )
    parts = [np.asarray(lazy[rows]) for rows in chunks(lazy)]
    np.testing.assert_array_equal(np.concatenate(parts), X)


@pytest.mark.usefixtures("small")
def test_what_is_small_or_not_an_array_is_as_it_was(tmp_path):
    for X in (
        [[1.0, 2.0]],
        torch.ones(1000, 8),
        make_rows(100),
        np.empty((900, 8), "O"),
    ):
        assert lazy_if_large(X) is X
    stored = put(make_rows(100), "zarr", tmp_path)
    np.testing.assert_array_equal(lazy_if_large(stored), make_rows(100))


def every_batch(batches):
    return [index for part in batches.parts() for index in part]


@pytest.mark.usefixtures("small")
def test_a_pass_has_each_row_once_and_its_own_values():
    rows, whole = block_rows(make_rows())
    generator = torch.Generator().manual_seed(0)
    first, second = (every_batch(rows.batches(32, generator)) for _ in range(2))
    assert torch.cat(first).sort()[0].tolist() == list(range(500))
    assert not torch.equal(torch.cat(first), torch.cat(second))
    again = every_batch(rows.batches(32, torch.Generator().manual_seed(0)))
    assert all(map(torch.equal, first, again))
    batches = rows.batches(32, generator)
    assert len(batches) == len(first)
    for part in batches.parts():
        for index in part:
            assert 16 <= len(index) <= 32
            torch.testing.assert_close(rows[index], whole[index], rtol=0, atol=0)


@pytest.mark.usefixtures("small")
def test_a_batch_mixes_rows_of_many_blocks():
    rows, _ = block_rows(make_rows())
    batches = every_batch(rows.batches(32, torch.Generator().manual_seed(0)))
    n_blocks = [len((index // 20).unique()) for index in batches]
    assert min(n_blocks) >= 5  # of the six or seven that are in the buffer


class Reads:
    """Notes which rows are read."""

    def __init__(self, X, **attributes):
        self._X, self.parts = X, []
        self.shape, self.dtype = X.shape, X.dtype
        vars(self).update(attributes)

    def __getitem__(self, rows):
        self.parts.append((rows.start, rows.stop))
        return self._X[rows]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("stored", [None, (7, 8), ((35, 35, 430), (8,)), (400, 8)])
def test_reads_are_whole_blocks_in_order(stored):
    X = Reads(make_rows(), chunks=stored)
    scaler = InputMoments(8).scaler(1)
    rows = BlockRows(LazyRows(X), scaler, torch.empty(0))
    every_batch(rows.batches(32, torch.Generator().manual_seed(0)))
    size = {None: 20, (7, 8): 21, (400, 8): 20}.get(stored, 35)
    starts = [start for start, _ in X.parts]
    assert sorted(X.parts) == [
        (start, min(500, start + size)) for start in range(0, 500, size)
    ]
    # within a buffer from the front to the back
    back = sum(a > b for a, b in pairwise(starts))
    assert back == {20: 3, 21: 3, 35: 3}[size]


@pytest.mark.usefixtures("small")
def test_far_rows_are_jumped_to_and_near_ones_read_together(monkeypatch):
    monkeypatch.setattr(blocks, "JUMP_BYTES", 10 * 64)
    X = Reads(make_rows())
    np.asarray(LazyRows(X)[np.array([5, 0, 9, 300, 301, 499])])
    assert X.parts == [(0, 10), (300, 302), (499, 500)]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_value_is_named_with_its_place(bad):
    X, Y, _ = make_problem()
    X[123, 4] = bad
    dis = SparseSharedDisentangler(4, max_iter=5, tol=1)
    with pytest.raises(ValueError, match=rf"got {bad} in row 123, column 4"):
        dis.fit(X, Y)
    assert not hasattr(dis, "encoder_")
    dis.fit(X[:120], Y[:120])
    with pytest.raises(ValueError, match="row 123, column 4"):
        dis.transform(X)


@pytest.mark.usefixtures("small")
def test_a_lazy_array_of_another_shape_is_refused(tmp_path):
    X, Y, _ = make_problem()
    dis = SparseSharedDisentangler(4, max_iter=5, tol=1, random_state=0)
    for wrong in (np.zeros((300, 2, 4)), np.zeros(300)):
        with pytest.raises(ValueError, match=r"dim 3|1D array"):
            dis.fit(put(wrong, "h5py", tmp_path), Y)
    dis.fit(X, Y)
    with pytest.raises(ValueError, match="expecting 8 features"):
        dis.transform(Slices(np.zeros((300, 9))))
    with pytest.raises(ValueError, match="row for each of the 300 rows"):
        dis.fit(Slices(X), Y[:100])


def fit(X, Y, *, sample_weight=None, **settings):
    settings = {"max_iter": 12, "random_state": 0, "batch_size": 32, **settings}
    dis = SparseSharedDisentangler(4, tol=1, **settings)
    return dis.fit(X, Y, sample_weight=sample_weight)


def bits(dis, X):
    return dis.transform(X).tobytes() + dis.coef_.tobytes()


@pytest.mark.parametrize("size", ["small", "large"])
def test_any_container_gives_the_same_bits(size, tmp_path, request):
    if size == "large":
        request.getfixturevalue("small")
    X, Y, _ = make_problem()
    X = X.astype(np.float32)
    expected = bits(fit(X, Y, max_iter=5), X)
    for container in CONTAINERS[1:]:
        held = put(X, container, tmp_path)
        assert bits(fit(held, Y, max_iter=5), held) == expected, container
    assert bits(fit(X, Y, max_iter=5, random_state=1), X) != expected


WAYS = {
    "plain": {},
    "early stopping": {"early_stopping": True, "validation_fraction": 0.6},
    "all rows a step": {"batch_size": 300},
    "weights": {"sample_weight": np.arange(300) % 4},
    "auto": {"sparsity": "auto", "max_iter": 6},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_fit_in_blocks_is_as_good_as_one_in_memory(way, monkeypatch, request):
    """Even where the rows are in the order of a task."""
    X, Y, _ = make_problem()
    order = Y[:, 0].argsort()
    X, Y = X[order], Y[order]
    settings = {"max_iter": 25, **WAYS[way]}
    in_memory = fit(X, Y, **settings)
    expected = in_memory.transform(X)
    request.getfixturevalue("small")
    monkeypatch.setattr(targets, "MANY_LABELS", 100)
    in_blocks = fit(X, Y, **settings)
    assert in_blocks.score(X, Y) > in_memory.score(X, Y) - 0.02
    np.testing.assert_allclose(in_memory.transform(X), expected, rtol=1e-6, atol=1e-9)
    if way == "all rows a step":
        # No order of rows: only rounding is between the two.
        np.testing.assert_allclose(
            in_blocks.transform(X), expected, rtol=0.05, atol=0.05
        )


@pytest.mark.usefixtures("small")
def test_features_out_of_fold_are_read_lazily_too(tmp_path):
    X, Y, _ = make_problem()
    dis = SparseSharedDisentangler(4, max_iter=5, tol=1, random_state=0, cross_fit=2)
    features = dis.fit_transform(put(X, "zarr", tmp_path), Y)
    assert features.tobytes() == dis.fit_transform(X, Y).tobytes()
    assert np.abs(features - dis.transform(X)).max() > 0.01


@pytest.mark.usefixtures("small")
def test_partial_fit_reads_in_blocks():
    X, Y, _ = make_problem()
    a, b = (SparseSharedDisentangler(4, random_state=0) for _ in range(2))
    for _ in range(3):
        a.partial_fit(X, Y)
        b.partial_fit(Slices(X), Y)
    assert bits(a, X) == bits(b, X)


LIMITED = """
import resource, sys, warnings
import numpy as np
from skdisentangle import SparseSharedDisentangler

def dis():
    return SparseSharedDisentangler(
        4, encoder="linear", max_iter=1, tol=1, batch_size=512, random_state=0
    )

warnings.simplefilter("ignore")
dis().fit(np.random.default_rng(0).random((600, 3)), np.arange(600) % 2)
path, megabytes = sys.argv[1], int(sys.argv[2])
lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
limit = 1024 * int(lines["VmData"].split()[0]) + megabytes * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
X = np.load(path, mmap_mode="r")
features = dis().fit(X, X[:, 0] > 0).transform(X)
assert features.shape == (len(X), 1) and np.isfinite(features).all()
print("fitted")
try:
    np.load(path)
except MemoryError:
    print("too large to load")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_data_larger_than_memory(tmp_path):
    """Under a limit of the operating system that the data themselves exceed."""
    rows = np.random.default_rng(0).standard_normal((1000, 4096), dtype=np.float32)
    X = np.lib.format.open_memmap(
        tmp_path / "X.npy", "w+", dtype=np.float32, shape=(24_000, 4096)
    )
    for start in range(0, len(X), 1000):
        X[start : start + 1000] = rows
    X.flush()
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "X.npy"), "300"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split("\n")[:2] == ["fitted", "too large to load"], done.stderr
