"""Downloads from a local server, and the cache, with what can go wrong in each."""

from __future__ import annotations

import hashlib
import re
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from skdisentangle.datasets import _download
from skdisentangle.datasets._cache import Source, cached_arrays
from skdisentangle.datasets._download import (
    RemoteFile,
    get_files,
    npz_blocks,
    npz_shape,
)

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves `server.content`, and misbehaves as the test says."""

    def do_GET(self):
        server = self.server
        content = server.content
        requested = self.headers.get("Range")
        server.requests.append(requested)
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        first = 0
        if requested and server.ranges:
            first = int(re.fullmatch(r"bytes=(\d+)-", requested)[1])
            if first >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            last = len(content) - 1
            claimed = first + server.shift
            self.send_header("Content-Range", f"bytes {claimed}-{last}/{last + 1}")
        else:
            self.send_response(200)
        if server.says_length:
            self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        stop = server.cuts.pop(0) if server.cuts else len(content)
        self.wfile.write(content[first:stop])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.content = CONTENT
        httpd.ranges = True  # whether it answers a range with that range
        httpd.shift = 0  # how far off the range is that it sends
        httpd.cuts = []  # where in the file successive answers break off
        httpd.statuses = []  # errors that come first
        httpd.says_length = True  # or a lost connection looks like the end
        httpd.requests = []  # the Range header of each request
        httpd.url = f"http://127.0.0.1:{httpd.server_port}/file.bin"
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield httpd
        httpd.shutdown()
        thread.join()


def fetch(server, folder, checksum=SHA256, n_retries=0, download_if_missing=True):
    remote = RemoteFile("file.bin", server.url, checksum)
    (path,) = get_files(
        [remote],
        folder,
        download_if_missing=download_if_missing,
        n_retries=n_retries,
        delay=0.0,
    )
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_complete_download(server, tmp_path):
    path = fetch(server, tmp_path)
    assert path == tmp_path / "file.bin"
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["file.bin"]
    fetch(server, tmp_path)
    assert server.requests == [None]  # the second call found the file


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_file_put_there_by_hand_is_checked(server, tmp_path, algorithm):
    path = tmp_path / "file.bin"
    path.write_bytes(CONTENT)
    digest = hashlib.new(algorithm, CONTENT).hexdigest()
    assert fetch(server, tmp_path, f"{algorithm}:{digest}") == path
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(OSError, match=r"not the official file.*checksum") as caught:
        fetch(server, tmp_path, f"{algorithm}:{digest}")
    assert str(path) in str(caught.value)
    assert path.exists()  # what users put there, users remove
    assert server.requests == []


def test_a_cut_download_is_resumed_within_a_call(server, tmp_path):
    server.cuts = [100_000, 250_000]
    with pytest.warns(UserWarning, match="trying again"):
        path = fetch(server, tmp_path, n_retries=3)
    assert path.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=100000-", "bytes=250000-"]


def test_a_cut_download_is_resumed_by_the_next_call(server, tmp_path):
    server.cuts = [100_000]
    with pytest.raises(OSError, match="100000 of 300000 bytes"):
        fetch(server, tmp_path)
    assert names(tmp_path) == ["file.bin.part"]  # never under its final name
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.requests[1:] == ["bytes=100000-"]
    assert names(tmp_path) == ["file.bin"]


def test_a_server_without_ranges_starts_anew(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(b"x" * 100_000)
    server.ranges = False
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.requests == ["bytes=100000-"]


def test_a_part_that_is_longer_than_the_file(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"more")
    with pytest.warns(UserWarning, match="416"):
        path = fetch(server, tmp_path, n_retries=1)
    assert path.read_bytes() == CONTENT
    (tmp_path / "file.bin").rename(tmp_path / "file.bin.part")
    with open(tmp_path / "file.bin.part", "ab") as file:
        file.write(b"more")
    server.ranges = False
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_part_that_is_the_whole_file(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.requests == ["bytes=300000-"]


def test_a_range_that_was_not_asked_for_is_not_taken(server, tmp_path):
    part = tmp_path / "file.bin.part"
    part.write_bytes(CONTENT[:100_000])
    server.shift = 5
    with pytest.raises(OSError, match=r"asked for bytes 100000-.*bytes 100005-"):
        fetch(server, tmp_path)
    assert part.read_bytes() == CONTENT[:100_000]


def test_a_wrong_file_is_said_and_removed(server, tmp_path):
    server.content = CONTENT[:-1] + b"x"
    with pytest.raises(OSError, match=r"not the official file.*It was removed"):
        fetch(server, tmp_path, n_retries=3)
    assert names(tmp_path) == []
    server.content = CONTENT
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_without_a_checksum_a_page_is_not_taken_for_a_zip_archive(server, tmp_path):
    server.content = b"<html>Try again tomorrow</html>"
    with pytest.raises(OSError, match="not a complete zip archive"):
        fetch(server, tmp_path, checksum=None)
    assert names(tmp_path) == []
    with zipfile.ZipFile(tmp_path / "source.zip", "w") as archive:
        archive.writestr("a", b"content")
    server.content = (tmp_path / "source.zip").read_bytes()
    path = fetch(server, tmp_path, checksum=None)
    assert path.read_bytes() == server.content


def zipped(folder, **arrays):
    """Content of a .npz file."""
    np.savez_compressed(folder / "source.npz", **arrays)
    content = (folder / "source.npz").read_bytes()
    (folder / "source.npz").unlink()
    return content


@pytest.mark.parametrize("checksum", [SHA256, None])
@pytest.mark.parametrize("cut", [0, 1, 150_000, 299_990])
def test_a_cut_that_the_server_does_not_tell_of(server, tmp_path, checksum, cut):
    """What came of it is removed, and never gets the final name."""
    if checksum is None:
        server.content = zipped(tmp_path, a=np.frombuffer(CONTENT, np.uint8))
    server.says_length, server.cuts = False, [cut]
    with pytest.raises(OSError, match=r"is not the official file: .*It was removed"):
        fetch(server, tmp_path, checksum)
    assert names(tmp_path) == []
    assert fetch(server, tmp_path, checksum).read_bytes() == server.content


def test_without_a_checksum_the_first_file_is_remembered(server, tmp_path):
    first = server.content = zipped(tmp_path, a=np.arange(5))
    path = fetch(server, tmp_path, checksum=None)
    digest = hashlib.sha256(first).hexdigest()
    record = tmp_path / "file.bin.sha256"
    assert record.read_text() == f"{digest}  file.bin\n"
    assert names(tmp_path) == ["file.bin", "file.bin.sha256"]
    fetch(server, tmp_path, checksum=None)
    assert len(server.requests) == 1

    # a later download that differs, or a file put there by hand
    server.content = zipped(tmp_path, a=np.arange(6))
    path.unlink()
    with pytest.raises(OSError, match=rf", not {digest}, .*first file.*It was removed"):
        fetch(server, tmp_path, checksum=None)
    assert names(tmp_path) == ["file.bin.sha256"]
    path.write_bytes(server.content)
    with pytest.raises(OSError, match=rf"file\.bin is not .* {digest}.*\.sha256 "):
        fetch(server, tmp_path, checksum=None)
    path.write_bytes(first)
    assert fetch(server, tmp_path, checksum=None) == path

    # who removes the record takes another for the first
    path.write_bytes(server.content)
    record.unlink()
    fetch(server, tmp_path, checksum=None)
    assert record.read_text().startswith(hashlib.sha256(server.content).hexdigest())
    record.write_text("nothing of the kind")
    with pytest.raises(OSError, match=r"sha256 should hold its SHA-256 checksum"):
        fetch(server, tmp_path, checksum=None)


def test_a_published_checksum_needs_no_record(server, tmp_path):
    fetch(server, tmp_path)
    assert names(tmp_path) == ["file.bin"]


def test_a_member_that_is_damaged_is_not_remembered(server, tmp_path):
    good = zipped(tmp_path, a=np.frombuffer(CONTENT, np.uint8))
    bad = bytearray(good)
    bad[1000] ^= 1
    server.content = bytes(bad)
    with pytest.raises(OSError, match=r"'a\.npy' in it is damaged|invalid"):
        fetch(server, tmp_path, checksum=None)
    assert names(tmp_path) == []
    server.content = good
    assert fetch(server, tmp_path, checksum=None).read_bytes() == good


@pytest.mark.parametrize("name", ["file.bin", "file.bin.part", "file.bin.sha256"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_not_written_through(server, tmp_path, name, exists):
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    folder.mkdir()
    if exists:
        outside.write_bytes(b"precious")
    (folder / name).symlink_to(outside)
    with pytest.raises(OSError, match=r"leads out of its folder, to .*outside; it is"):
        fetch(server, folder)
    assert server.requests == []
    assert outside.exists() == exists
    assert not exists or outside.read_bytes() == b"precious"


def test_retries_are_counted(server, tmp_path):
    server.statuses = [503, 503]
    with pytest.warns(UserWarning, match="503") as caught:
        fetch(server, tmp_path, n_retries=2)
    assert len(caught) == 2
    (tmp_path / "file.bin").unlink()
    server.statuses = [503, 503]
    with (
        pytest.warns(UserWarning, match="503"),
        pytest.raises(OSError, match="503"),
    ):
        fetch(server, tmp_path, n_retries=1)
    assert names(tmp_path) == []


def test_offline_error_says_what_to_put_where(server, tmp_path):
    remotes = [
        RemoteFile("a.bin", server.url, SHA256, "Or do something else."),
        RemoteFile("b.bin", server.url + "2", None),
        RemoteFile("c.bin", server.url + "3", SHA256),
    ]
    (tmp_path / "c.bin").write_bytes(CONTENT)
    server.statuses = [404]
    for download_if_missing, reason in [(False, "=False"), (True, "404")]:
        with pytest.raises(OSError, match=reason) as caught:
            get_files(
                remotes,
                tmp_path,
                download_if_missing=download_if_missing,
                n_retries=0,
                delay=0.0,
            )
        message = str(caught.value)
        for expected in [
            f"{server.url}\n",
            f"{tmp_path / 'a.bin'} ({SHA256})",
            f"{server.url}2\n",
            f"{tmp_path / 'b.bin'} (no published checksum)",
            "Or do something else.",
        ]:
            assert expected in message
        assert "c.bin" not in message  # that one is there
    assert server.requests == [None]


def test_nobody_there(tmp_path):
    """A refused connection is the same story as a server's error."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        url = f"http://127.0.0.1:{closed.server_port}/file.bin"
    with pytest.raises(OSError, match=re.escape(url)):
        get_files(
            [RemoteFile("file.bin", url, SHA256)],
            tmp_path,
            download_if_missing=True,
            n_retries=0,
            delay=0.0,
        )
    assert names(tmp_path) == []


def test_two_downloads_at_once(server, tmp_path):
    """Each writes every byte at its place, so that neither harms the other."""
    together = threading.Barrier(2, timeout=10)
    paths = []

    def run():
        together.wait()
        paths.append(fetch(server, tmp_path))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 2
    assert names(tmp_path) == ["file.bin"]
    assert paths[0].read_bytes() == CONTENT


def test_another_process_ends_the_same_download_first(server, tmp_path, monkeypatch):
    find_problem = _download.find_problem

    def find_problem_and_be_late(part, checksum):
        problem = find_problem(part, checksum)
        part.rename(tmp_path / "file.bin")
        return problem

    monkeypatch.setattr(_download, "find_problem", find_problem_and_be_late)
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert names(tmp_path) == ["file.bin"]


# --------------------------------------------------------------- the cache


def images_of(seed, shape=(10, 3, 4, 5)):
    return np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8)


def source_of(images, step=3):
    starts = list(range(0, len(images), step))[::-1]  # any order will do
    blocks = ((start, images[start : start + step]) for start in starts)
    classes = np.arange(len(images))[:, None] % 4
    return Source(images.shape, blocks, classes, [np.array([0.1, 0.2, 0.3, 0.4])])


def test_cache_is_written_once_and_mapped(tmp_path):
    images = images_of(0)
    calls = []

    def read_source():
        calls.append(1)
        return source_of(images)

    for _ in range(2):
        cached, classes, values = cached_arrays(tmp_path, "set", read_source)
        assert isinstance(cached, np.memmap)
        assert not cached.flags.writeable
        np.testing.assert_array_equal(cached, images)
        np.testing.assert_array_equal(classes[:, 0], np.arange(10) % 4)
        np.testing.assert_array_equal(values[0], [0.1, 0.2, 0.3, 0.4])
    assert calls == [1]
    assert names(tmp_path) == ["set_factors.npz", "set_images.npy"]


def test_a_conversion_that_fails_leaves_no_images(tmp_path):
    images = images_of(0)

    def damaged():
        yield 0, images[:3]
        raise OSError("the file is damaged")

    def fewer():
        yield 0, images[:3]

    for blocks, problem in [(damaged(), "damaged"), (fewer(), "10 images; got 3")]:
        source = source_of(images)._replace(blocks=blocks)
        with pytest.raises((OSError, ValueError), match=problem):
            cached_arrays(tmp_path, "set", lambda source=source: source)
        assert not [n for n in names(tmp_path) if "images" in n or "tmp" in n]
    cached, _, _ = cached_arrays(tmp_path, "set", lambda: source_of(images))
    np.testing.assert_array_equal(cached, images)


def spoil_length(path):
    path.write_bytes(path.read_bytes() + b"more")


@pytest.mark.parametrize(
    ("kind", "spoil", "said"),
    [
        ("images.npy", lambda p: p.write_bytes(p.read_bytes()[:-1]), "mmap length"),
        ("images.npy", spoil_length, "bytes instead of"),
        ("images.npy", lambda p: p.write_bytes(b""), "No data left"),
        ("images.npy", lambda p: p.write_bytes(b"text" * 99), "pickled"),
        (
            "images.npy",
            lambda p: np.save(p, images_of(0)[:-1]),
            r"\(9, 3, 4, 5\) instead",
        ),
        (
            "images.npy",
            lambda p: np.save(p, images_of(0)[0]),
            r"shape \(3, 4, 5\) instead",
        ),
        ("images.npy", lambda p: np.save(p, images_of(0) * 1.0), "holds float64"),
        (
            "images.npy",
            lambda p: np.save(p, np.asfortranarray(images_of(0))),
            "not in C order",
        ),
        ("factors.npz", lambda p: p.write_bytes(p.read_bytes()[:-30]), "zip"),
        ("factors.npz", lambda p: p.write_bytes(b""), "No data left"),
        ("factors.npz", lambda p: np.savez(p, other=np.zeros(3)), "classes"),
        (
            "factors.npz",
            lambda p: np.savez(p, classes=np.full((10, 1), 4), values_0=np.arange(4)),
            "classes do not match",
        ),
        (
            "factors.npz",
            lambda p: np.savez(p, classes=np.zeros(10, int), values_0=np.arange(4)),
            "index out of range",
        ),
    ],
)
def test_a_damaged_cache_is_named(tmp_path, kind, spoil, said):
    cached_arrays(tmp_path, "set", lambda: source_of(images_of(0)))
    path = tmp_path / f"set_{kind}"
    spoil_path = tmp_path / f"spoilt.{kind[-3:]}"
    spoil_path.write_bytes(path.read_bytes())
    spoil(spoil_path)
    spoil_path.replace(path)
    with pytest.raises(OSError, match=rf"set_{kind} is damaged.*{said}.*Remove it"):
        cached_arrays(tmp_path, "set", lambda: source_of(images_of(0)))
    path.unlink()
    cached, _, _ = cached_arrays(tmp_path, "set", lambda: source_of(images_of(0)))
    np.testing.assert_array_equal(cached, images_of(0))


def test_the_cache_of_another_shape_is_refused(tmp_path):
    cached_arrays(tmp_path, "set", lambda: source_of(images_of(0)), (10, 3, 4, 5))
    with pytest.raises(OSError, match=r"\(10, 3, 4, 5\) instead .* \(10, 3, 5, 4\)"):
        cached_arrays(tmp_path, "set", lambda: None, (10, 3, 5, 4))


def test_factors_of_other_rows_are_refused(tmp_path):
    source = source_of(images_of(0))
    source = source._replace(classes=source.classes[:-1])
    with pytest.raises(ValueError, match="each of 10 images; got 9 rows"):
        cached_arrays(tmp_path, "set", lambda: source)
    assert names(tmp_path) == []


def test_two_conversions_at_once(tmp_path):
    """One waits in the middle of its images while the other begins and ends."""
    images = images_of(0)
    begun, go_on = threading.Event(), threading.Event()

    def slow_blocks():
        yield 0, images[:5]
        begun.set()
        assert go_on.wait(10)
        yield 5, images[5:]

    results = []
    slow = source_of(images)._replace(blocks=slow_blocks())
    thread = threading.Thread(
        target=lambda: results.append(cached_arrays(tmp_path, "set", lambda: slow))
    )
    thread.start()
    assert begun.wait(10)
    results.append(cached_arrays(tmp_path, "set", lambda: source_of(images)))
    go_on.set()
    thread.join()
    assert len(results) == 2
    for cached, _, _ in results:
        np.testing.assert_array_equal(cached, images)
    assert names(tmp_path) == ["set_factors.npz", "set_images.npy"]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_blocks_of_an_array_in_an_archive(tmp_path, monkeypatch, save):
    images = images_of(1)
    save(tmp_path / "a.npz", other=np.zeros(3), images=images)
    monkeypatch.setattr(_download, "BLOCK_BYTES", 4 * images[0].nbytes)
    assert npz_shape(tmp_path / "a.npz", "images") == images.shape
    blocks = list(npz_blocks(tmp_path / "a.npz", "images"))
    assert [(first, len(rows)) for first, rows in blocks] == [(0, 4), (4, 4), (8, 2)]
    np.testing.assert_array_equal(np.concatenate([r for _, r in blocks]), images)


def test_a_damaged_archive_is_said(tmp_path):
    path = tmp_path / "a.npz"
    images = images_of(1)
    np.savez(path, images=images)
    content = bytearray(path.read_bytes())
    at = content.index(images[:1].tobytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"a\.npz is damaged.*CRC"):
        list(npz_blocks(path, "images"))


@pytest.mark.parametrize(
    "array",
    [images_of(0).astype(np.int16), np.asfortranarray(images_of(0))],
    ids=["int16", "fortran"],
)
def test_other_arrays_in_an_archive_are_refused(tmp_path, array):
    np.savez(tmp_path / "a.npz", images=array)
    with pytest.raises(ValueError, match="expected 'images' to be uint8 in C order"):
        npz_shape(tmp_path / "a.npz", "images")
    with pytest.raises(ValueError, match=r"expected an array 'imgs'; got \['images"):
        npz_shape(tmp_path / "a.npz", "imgs")
