from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from skdisentangle import SparseSharedDisentangler
from skdisentangle.extraction import (
    extract,
    extract_features,
    progress,
    tables,
    verify_features,
)
from skdisentangle.extraction.manifest import locked

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

NAMES = ["a", "b", "c", "d"]
SETTINGS = {"batch_size": 8, "rows_per_shard": 20}


class Unnamed(TransformerMixin, BaseEstimator):
    """Gives what it gets, and keeps no names."""

    def fit(self, X, y=None):
        self.is_fitted_ = True
        return self

    def transform(self, X):
        return X


class Twice(Unnamed):
    """Gives two columns the same name."""

    def get_feature_names_out(self, input_features=None):
        return np.array(["f", "g", "f", "h"], dtype=object)


@pytest.fixture(scope="module")
def frame():
    X = np.random.default_rng(0).normal(size=(90, 4))
    return pd.DataFrame(X, columns=NAMES)


@pytest.fixture(scope="module")
def dis(frame):
    """Fitted on a data frame, so that it knows the names of its columns."""
    dis = SparseSharedDisentangler(3, max_iter=20, tol=0, input_noise=0, random_state=0)
    with pytest.warns(UserWarning, match="still improving"):
        return dis.fit(frame, frame[["a", "b"]])


@pytest.fixture
def job(tmp_path, frame, dis):
    """A model and an input in files; what the features should be."""
    joblib.dump(dis, tmp_path / "model.joblib")
    np.save(tmp_path / "X.npy", frame.to_numpy())
    return tmp_path / "model.joblib", tmp_path / "X.npy", tmp_path / "features"


READERS = {
    "npy": np.load,
    "csv": lambda path: pd.read_csv(path).to_numpy(),
    "parquet": lambda path: pd.read_parquet(path).to_numpy(),
    "arrow": lambda path: pd.read_feather(path).to_numpy(),
}


def read(folder):
    manifest = json.loads((folder / "_manifest.json").read_text())
    reader = READERS[manifest["settings"]["format"]]
    return np.concatenate([reader(folder / s["file"]) for s in manifest["shards"]])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write(frame, path):
    if path.suffix == ".npy":
        np.save(path, frame.to_numpy())
    elif path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        frame.to_parquet(path, row_group_size=17)
    else:
        frame.to_feather(path, chunksize=17)


@pytest.mark.parametrize("n_files", [1, 3])
@pytest.mark.parametrize(
    ("kind", "output"),
    [("npy", "csv"), ("csv", "parquet"), ("parquet", "arrow"), ("arrow", "npy")],
)
def test_every_kind_of_file(job, frame, dis, kind, output, n_files):
    model, _, features = job
    source = features.parent / f"rows.{kind}"
    if n_files == 1:
        write(frame, source)
    else:
        source.mkdir()
        for number, rows in enumerate(np.array_split(np.arange(90), n_files)):
            write(frame.iloc[rows], source / f"{number}.{kind}")
    manifest = extract_features(model, source, features, format=output, **SETTINGS)
    assert [shard["rows"] for shard in manifest["shards"]] == [20, 20, 20, 20, 10]
    assert manifest["features"]["names"] == list(dis.get_feature_names_out())
    np.testing.assert_allclose(read(features), dis.transform(frame), rtol=1e-12)
    assert verify_features(features, model=model, input=source) == manifest


def test_output_is_an_input_and_defaults_do(job, frame, dis):
    model, source, features = job
    extract_features(model, source, features, format="parquet")
    pca = PCA(2).fit(dis.transform(frame))
    joblib.dump(pca, model)
    extract_features(model, features, features / ".." / "again")
    expected = pca.transform(dis.transform(frame))
    np.testing.assert_allclose(read(features.parent / "again"), expected, atol=1e-12)
    names = sorted(path.name for path in (features.parent / "again").iterdir())
    assert names == ["_manifest.json", "part-000000.npy"]


def test_columns_of_a_table_are_found_by_name(job, frame, dis):
    model, _, features = job
    other = frame[NAMES[::-1]].assign(a=np.float32(1), id="x")
    other.to_csv(features.parent / "rows.csv", index=False)
    extract_features(model, features.parent / "rows.csv", features)
    expected = dis.transform(frame.assign(a=1.0))
    np.testing.assert_allclose(read(features), expected, rtol=1e-12)
    other.drop(columns=["b", "c"]).to_parquet(features.parent / "few.parquet")
    with pytest.raises(ValueError, match=r"lacks the columns 'b', 'c'; it has 'd', "):
        extract_features(model, features.parent / "few.parquet", features)


def test_columns_are_found_by_the_names_of_a_later_step(job, frame, dis):
    model, _, output = job
    joblib.dump(make_pipeline("passthrough", dis), model)
    path = output.with_name("other.csv")
    frame[NAMES[::-1]].to_csv(path, index=False)
    extract_features(model, path, output, **SETTINGS)
    np.testing.assert_allclose(read(output), dis.transform(frame))


def test_a_step_that_knows_no_names_does_not_hide_those_of_the_next(job, frame, dis):
    model, _, output = job
    joblib.dump(make_pipeline(Unnamed(), dis), model)
    path = output.with_name("other.csv")
    frame.to_csv(path, index=False)
    extract_features(model, path, output, **SETTINGS)
    np.testing.assert_allclose(read(output), dis.transform(frame))
    frame[NAMES[::-1]].to_csv(path, index=False)
    with pytest.raises(ValueError, match="feature names should match"):
        extract_features(model, path, output.with_name("again"), **SETTINGS)


@pytest.mark.parametrize("format", ["csv", "parquet", "arrow"])
def test_names_of_features_that_come_twice(job, frame, format):
    model, path, output = job
    joblib.dump(Twice().fit(frame.to_numpy()), model)
    manifest = extract_features(model, path, output, format=format, **SETTINGS)
    assert manifest["features"]["names"] == [f"feature{j}" for j in range(4)]
    np.testing.assert_allclose(read(output), frame)


def test_line_breaks_in_a_csv_file_of_several_blocks(job, frame, dis, monkeypatch):
    monkeypatch.setattr(tables, "BLOCK_BYTES", 1000)
    model, _, output = job
    path = output.with_name("notes.csv")
    frame.assign(note="two\nlines").to_csv(path, index=False)
    extract_features(model, path, output, **SETTINGS)
    np.testing.assert_allclose(read(output), dis.transform(frame))


def test_rows_of_dates_are_said(job, frame):
    model, _, output = job
    path = output.with_name("dates.parquet")
    frame.assign(d=pd.Timestamp("2020-01-01")).to_parquet(path)
    with pytest.raises(ValueError, match="dates or other values in the column 'd'"):
        extract_features(model, path, output, **SETTINGS)
    joblib.dump(StandardScaler().fit(frame.assign(d=0.0)), model)
    with pytest.raises(ValueError, match="the model cannot take its rows"):
        extract_features(model, path, output, **SETTINGS)


def test_a_shard_too_many_and_too_few_are_said(job):
    model, path, output = job
    manifest = extract_features(model, path, output, **SETTINGS)
    (output / "README.txt").write_text("of no account")
    verify_features(output)
    stray = output / "part-000099.npy"
    shutil.copy(output / "part-000000.npy", stray)
    with pytest.raises(ValueError, match=r"part-000099\.npy is not one of its shards"):
        verify_features(output)
    stray.unlink()
    last = manifest["shards"].pop()
    (output / last["file"]).unlink()
    (output / "_manifest.json").write_text(json.dumps(manifest))
    verify_features(output)
    with pytest.raises(ValueError, match="has more rows than these 80"):
        verify_features(output, input=path)


def test_a_later_file_lacks_a_column(job, frame):
    model, _, features = job
    folder = features.parent / "rows"
    folder.mkdir()
    frame.to_csv(folder / "1.csv", index=False)
    frame[["a", "b", "c"]].to_csv(folder / "2.csv", index=False)
    with pytest.raises(ValueError, match=r"2\.csv' lacks the columns 'd'"):
        extract_features(model, folder, features)


def test_whole_numbers_and_gaps_in_the_first_block_of_a_csv(job, monkeypatch):
    """The types of the first block are not those of the file."""
    model, _, features = job
    monkeypatch.setattr(tables, "BLOCK_BYTES", 64)
    rows = pd.DataFrame({"a": [1.0] * 30, "b": 2.0, "c": np.arange(30.0), "d": 3.5})
    text = rows.to_csv(index=False, float_format="%g")
    assert "\n1,2,0,3.5\n" in text
    text = text.replace("1,2,29,3.5", "1.5,2,29,3.5")
    (features.parent / "rows.csv").write_text(text)
    extract_features(model, features.parent / "rows.csv", features)
    rows.loc[29, "a"] = 1.5
    expected = joblib.load(model).transform(rows)
    np.testing.assert_allclose(read(features), expected, rtol=1e-12)


def test_pipeline_on_a_table_of_words_and_numbers(job, frame):
    model, _, features = job
    rows = frame.assign(city=np.resize(["Rome", "Oslo", "Lima"], 90))
    pipe = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(), ["city"]), remainder=StandardScaler()
        ),
        PCA(2),
    ).fit(rows)
    joblib.dump(pipe, model)
    rows.to_parquet(features.parent / "rows.parquet")
    extract_features(model, features.parent / "rows.parquet", features, **SETTINGS)
    np.testing.assert_allclose(read(features), pipe.transform(rows), atol=1e-12)


def test_a_model_without_names_takes_the_columns_as_they_stand(job, frame):
    model, _, features = job
    pca = PCA(2).fit(frame.to_numpy(np.float32))
    joblib.dump(pca, model)
    source = features.parent / "rows.parquet"
    frame.astype(np.float32).set_index(np.arange(5, 95)).to_parquet(source)
    manifest = extract_features(model, source, features)
    assert manifest["features"]["dtype"] == "float32"
    frame.assign(b="x").to_parquet(source)
    with pytest.raises(ValueError, match="'b' must hold numbers"):
        extract_features(model, source, features.parent / "other")
    assert not (features.parent / "other").exists()


# -- columns that are kept -------------------------------------------------------------


@pytest.fixture
def numbered(frame):
    """Rows with columns of other kinds beside the features."""
    return frame.assign(
        id=np.arange(90) + 2**60,  # more digits than a float64 has
        code=[f"{i:03d}" for i in range(90)],
        kind=pd.Categorical(np.resize(["x", "y"], 90)),
        when=pd.date_range("2020-01-01", periods=90),
    )[["code", *NAMES[::-1], "id", "kind", "when"]]


TABLE_READERS = {
    "csv": lambda path: pd.read_csv(path, dtype={"code": str}),
    "parquet": pd.read_parquet,
    "arrow": pd.read_feather,
}


@pytest.mark.parametrize("kind", ["csv", "parquet", "arrow"])
@pytest.mark.parametrize("output", ["csv", "parquet", "arrow"])
def test_columns_are_kept_beside_the_features(job, numbered, dis, kind, output):
    model, _, features = job
    source = features.parent / f"rows.{kind}"
    write(numbered, source)
    keep = ["id", "code", "kind", "when", "b"]  # one that the model takes as well
    options = {"format": output, "keep": keep, **SETTINGS}
    manifest = extract_features(model, source, features, **options)
    assert [name for name, _ in manifest["input"]["kept"]] == keep
    assert [name for name, _ in manifest["input"]["columns"]] == NAMES
    assert manifest["features"]["names"] == list(dis.get_feature_names_out())
    tables = [TABLE_READERS[output](features / s["file"]) for s in manifest["shards"]]
    found = pd.concat(tables, ignore_index=True)
    assert list(found) == [*keep, *manifest["features"]["names"]]
    np.testing.assert_allclose(
        found[manifest["features"]["names"]], dis.transform(numbered[NAMES]), rtol=1e-12
    )
    assert found["code"].tolist() == numbered["code"].tolist()
    assert found["kind"].tolist() == numbered["kind"].tolist()
    assert found["id"].astype(np.int64).tolist() == numbered["id"].tolist()
    assert pd.to_datetime(found["when"]).tolist() == numbered["when"].tolist()
    np.testing.assert_allclose(found["b"].astype(float), numbered["b"], rtol=1e-15)
    if "csv" not in (kind, output):
        assert found["id"].dtype == np.int64
        assert found["when"].dtype.kind == "M"
    assert verify_features(features, model=model, input=source) == manifest


def test_what_is_kept_is_no_feature_of_a_model_without_names(job, frame):
    model, _, features = job
    pca = PCA(2).fit(frame.to_numpy())
    joblib.dump(pca, model)
    source = features.parent / "rows.csv"
    frame.assign(id=np.arange(90)).to_csv(source, index=False)
    extract_features(model, source, features, format="csv", keep=["id"])
    found = pd.read_csv(features / "part-000000.csv")
    assert found["id"].tolist() == list(range(90))
    expected = pca.transform(frame.to_numpy())
    np.testing.assert_allclose(found.iloc[:, 1:], expected, atol=1e-12)


def test_kept_columns_go_on_in_the_same_bits(job, numbered, monkeypatch):
    model, _, features = job
    source = features.parent / "rows.csv"
    monkeypatch.setattr(tables, "BLOCK_BYTES", 1000)
    write(numbered.assign(code=numbered["code"].where(numbered.index % 7 > 0)), source)
    options = {"format": "parquet", "keep": ["code", "id"], **SETTINGS}
    once = features.parent / "once"
    extract_features(model, source, once, **options)
    monkeypatch.setattr(os, "fsync", FullDisk(6))
    with pytest.raises(OSError, match="No space left"):
        extract_features(model, source, features, **options)
    monkeypatch.undo()
    monkeypatch.setattr(tables, "BLOCK_BYTES", 1000)
    done = len(list(features.glob("part-*")))
    assert 0 < done < 5
    (features / "part-000000.parquet").write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="is written again"):
        extract_features(model, source, features, **options)
    assert contents(features) == contents(once)
    with pytest.raises(ValueError, match=r"different input: kept were 2, now 1"):
        extract_features(model, source, features, **{**options, "keep": ["id"]})
    with pytest.raises(ValueError, match="different input: kept was"):
        extract_features(model, source, features, **{**options, "keep": []})


def test_other_values_of_what_is_kept_are_said(job, numbered):
    model, _, features = job
    source = features.parent / "rows.parquet"
    write(numbered, source)
    options = {"format": "csv", "keep": ["id"], **SETTINGS}
    manifest = extract_features(model, source, features, **options)
    numbered.loc[50, "id"] += 1
    write(numbered, source)
    manifest["input"]["files"][0]["bytes"] = source.stat().st_size
    (features / "_manifest.json").write_text(json.dumps(manifest))
    verify_features(features)
    with pytest.raises(ValueError, match="rows 40 to 59 are not those that"):
        verify_features(features, input=source)
    with pytest.raises(ValueError, match="rows 40 to 59 are not those that"):
        extract_features(model, source, features, **options)
    manifest["input"]["kept"] = "id"
    (features / "_manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="is damaged"):
        verify_features(features)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"keep": ["id"]}, ValueError, "'npy' hold features alone"),
        ({"keep": "id", "format": "csv"}, TypeError, "column names; got 'id'"),
        ({"keep": [3], "format": "csv"}, TypeError, r"column names; got \[3\]"),
        ({"keep": 3, "format": "csv"}, TypeError, "column names; got 3"),
        ({"keep": ["no"], "format": "csv"}, ValueError, "lacks the columns 'no'"),
        ({"keep": ["id"] * 2, "format": "csv"}, ValueError, "'id' is requested twice"),
        ({"keep": ["list"], "format": "csv"}, ValueError, "only columns of plain val"),
        (
            {"keep": ["sparseshareddisentangler0"], "format": "csv"},
            ValueError,
            "'sparseshareddisentangler0' is also the name of a feature",
        ),
    ],
)
def test_what_cannot_be_kept(job, numbered, options, error, message):
    model, _, features = job
    source = features.parent / "rows.parquet"
    odd = numbered.assign(list=[[1, 2]] * 90, sparseshareddisentangler0=1)
    odd.to_parquet(source)
    with pytest.raises(error, match=message):
        extract_features(model, source, features, **options)
    assert not features.exists()


def test_nothing_is_kept_of_arrays(job):
    model, source, features = job
    with pytest.raises(ValueError, match=r"must be a table.*got \.npy"):
        extract_features(model, source, features, format="csv", keep=["id"])


# -- killed, and gone on with ----------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_random_instants_it_ends_in_the_same_bits(job):
    model = job[0]
    done = subprocess.run(
        [sys.executable, "-m", "tests.kill_and_resume", model.parent, "--kills", "60"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["kills"] >= 60
    assert report["shards"] == 5


class FullDisk:
    """Stands in for os.fsync: the disk is full from the n-th file on."""

    def __init__(self, n_left):
        self.n_left, self.fsync = n_left, os.fsync

    def __call__(self, descriptor):
        self.n_left -= 1
        if self.n_left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.fsync(descriptor)


@pytest.mark.parametrize("n_left", range(0, 24, 3))
def test_full_disk(job, monkeypatch, n_left):
    model, source, features = job
    extract_features(model, source, features.parent / "whole", **SETTINGS)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", FullDisk(n_left))
        with pytest.raises(OSError, match=r"No space left on device.*features"):
            extract_features(model, source, features, **SETTINGS)
    assert not [name for name in contents(features) if name.endswith(".tmp")]
    extract_features(model, source, features, **SETTINGS)
    assert contents(features) == contents(features.parent / "whole")


@pytest.mark.parametrize(
    ("kind", "output"), [("csv", "parquet"), ("parquet", "arrow"), ("arrow", "csv")]
)
def test_tables_go_on_in_the_same_bits(job, frame, monkeypatch, kind, output):
    model, _, features = job
    options = {"format": output, **SETTINGS}
    source = features.parent / f"rows.{kind}"
    write(frame, source)
    extract_features(model, source, features.parent / "whole", **options)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", FullDisk(11))
        with pytest.raises(OSError, match="No space"):
            extract_features(model, source, features, **options)
    extract_features(model, source, features, **options)
    assert contents(features) == contents(features.parent / "whole")


def test_a_write_that_the_system_cuts_short(job):
    resource = pytest.importorskip("resource")
    model, source, features = job
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large.*part-000000.npy"):
            extract_features(model, source, features)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(contents(features)) == ["_manifest.json"]
    with pytest.raises(ValueError, match="not complete: 0 shards"):
        verify_features(features)
    with pytest.raises(ValueError, match="is not complete"):
        extract_features(model, features, features.parent / "again")
    assert extract_features(model, source, features)["complete"]


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def alter(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (truncate, r"part-000002.npy has \d+ bytes instead of \d+"),
        (alter, "part-000002.npy has changed"),
        (Path.unlink, "part-000002.npy is missing"),
    ],
)
def test_damaged_shard_is_said_and_made_anew(job, damage, said):
    model, source, features = job
    extract_features(model, source, features, **SETTINGS)
    before = contents(features)
    damage(features / "part-000002.npy")
    with pytest.raises(ValueError, match=said):
        verify_features(features)
    with pytest.warns(UserWarning, match=said):
        extract_features(model, source, features, **SETTINGS)
    assert contents(features) == before


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("is_same", [True, False], ids=["same", "other"])
def test_a_link_in_place_of_a_shard_is_not_followed(job, is_same):
    """Not even to a file with the very bytes, which may change any time."""
    model, source, features = job
    extract_features(model, source, features, **SETTINGS)
    before = contents(features)
    shard, outside = features / "part-000002.npy", features.parent / "outside.npy"
    content = shard.read_bytes() if is_same else b"precious"
    outside.write_bytes(content)
    outside.chmod(0o640)
    shard.unlink()
    shard.symlink_to(outside)
    said = r"part-000002\.npy is a symbolic link, unlike the file"
    with pytest.raises(ValueError, match=said):
        verify_features(features)
    with pytest.warns(UserWarning, match=said):
        extract_features(model, source, features, **SETTINGS)
    assert not shard.is_symlink()
    assert contents(features) == before
    assert outside.read_bytes() == content
    verify_features(features, model=model, input=source)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("target", ["a file", "a folder", "nothing"])
def test_a_link_where_a_shard_will_be_is_replaced(job, monkeypatch, target):
    model, source, features = job
    stopped_early(model, source, features, monkeypatch)
    outside = features.parent / "outside"
    if target == "a folder":
        outside.mkdir()
    elif target == "a file":
        outside.write_bytes(b"precious")
    (features / "part-000003.npy").symlink_to(outside)
    extract_features(model, source, features, **SETTINGS)
    assert not (features / "part-000003.npy").is_symlink()
    verify_features(features, model=model, input=source)
    if target == "a file":
        assert outside.read_bytes() == b"precious"
    else:
        assert outside.exists() == (target == "a folder")


def test_a_folder_in_place_of_a_shard_is_said(job):
    model, source, features = job
    extract_features(model, source, features, **SETTINGS)
    (features / "part-000002.npy").unlink()
    (features / "part-000002.npy").mkdir()
    with pytest.raises(ValueError, match=r"000002\.npy is not a regular file, unlike"):
        verify_features(features)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_in_place_of_the_manifest_is_not_followed(job, exists):
    model, source, features = job
    extract_features(model, source, features, **SETTINGS)
    manifest, outside = features / "_manifest.json", features.parent / "outside.json"
    content = manifest.read_bytes()
    if exists:
        outside.write_bytes(content)
    manifest.unlink()
    manifest.symlink_to(outside)
    for call in (
        lambda: verify_features(features),
        lambda: extract_features(model, source, features, **SETTINGS),
    ):
        with pytest.raises(ValueError, match=r"_manifest\.json' is a symbolic link"):
            call()
    assert outside.exists() == exists
    assert not exists or outside.read_bytes() == content


def test_damaged_manifest_is_said(job):
    model, source, features = job
    extract_features(model, source, features)
    manifest = features / "_manifest.json"
    truncate(manifest)
    manifest.write_text(manifest.read_text()[:-1])
    for call in (
        lambda: verify_features(features),
        lambda: extract_features(model, source, features),
    ):
        with pytest.raises(ValueError, match=r"_manifest\.json' is damaged"):
            call()


def stopped_early(model, source, features, monkeypatch):
    """Begin an extraction; the disk is full after two shards."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", FullDisk(11))
        with pytest.raises(OSError, match="No space"):
            extract_features(model, source, features, **SETTINGS)
    assert len(json.loads((features / "_manifest.json").read_text())["shards"]) == 2


def test_changed_model_is_said(job, dis, monkeypatch):
    model, source, features = job
    stopped_early(*job, monkeypatch)
    kept = model.read_bytes()
    joblib.dump(PCA(3).fit(np.load(source)), model)
    with pytest.raises(
        ValueError, match="begun with a different model: class was 'Sparse"
    ):
        extract_features(model, source, features, **SETTINGS)
    model.write_bytes(kept)
    extract_features(model, source, features, **SETTINGS)
    other = model.with_name("other.joblib")
    joblib.dump(PCA(3), other)
    with pytest.raises(ValueError, match=r"other\.joblib' is not the model"):
        verify_features(features, model=other)


def test_changed_input_is_said(job, frame, monkeypatch):
    model, source, features = job
    stopped_early(*job, monkeypatch)
    X = frame.to_numpy(copy=True)
    np.save(source, X[:-1])
    with pytest.raises(ValueError, match=r"different input: files was .*'bytes': 3008"):
        extract_features(model, source, features, **SETTINGS)
    with pytest.raises(ValueError, match=r"X2\.npy' is a different input: files was"):
        np.save(source.with_name("X2.npy"), X)
        verify_features(features, input=source.with_name("X2.npy"))
    X[25, 1] += 1  # of the same size, in rows that were done
    np.save(source, X)
    rows = r"rows 20 to 39 are not those that part-000001\.npy"
    with pytest.raises(ValueError, match=rows):
        extract_features(model, source, features, **SETTINGS)
    np.save(source, frame.to_numpy())
    extract_features(model, source, features, **SETTINGS)
    np.save(source, X)
    with pytest.raises(ValueError, match=rows):
        verify_features(features, input=source)


def test_other_settings_and_versions_are_said(job, monkeypatch):
    model, source, features = job
    extract_features(model, source, features, **SETTINGS)
    with pytest.raises(ValueError, match="different setting: batch_size was 8, now 9"):
        extract_features(model, source, features, batch_size=9, rows_per_shard=20)
    monkeypatch.setattr(extract, "__version__", "99")
    with pytest.raises(ValueError, match="different version: skdisentangle was '"):
        extract_features(model, source, features, **SETTINGS)


def test_two_at_a_time_are_refused(job):
    pytest.importorskip("fcntl")
    model, source, features = job
    features.mkdir()
    with locked(features), pytest.raises(OSError, match="another process"):
        extract_features(model, source, features)
    extract_features(model, source, features)


# -- memory and progress ---------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_input(tmp_path):
    """400 MB under a limit of the system that the whole does not fit in."""
    import resource

    X = np.random.default_rng(0).normal(size=(100, 1000)).astype(np.float32)
    joblib.dump(PCA(2).fit(X), tmp_path / "model.joblib")
    rows = np.lib.format.open_memmap(
        tmp_path / "X.npy", mode="w+", dtype=np.float32, shape=(100_000, 1000)
    )
    del rows  # a file of zeros that takes no room on the disk
    status = Path("/proc/self/status").read_text()
    data = int(status.split("VmData:")[1].split()[0]) * 1024
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (data + 2**28, limits[1]))
    try:
        with pytest.raises(MemoryError):
            np.load(tmp_path / "X.npy")
        extract_features(tmp_path / "model.joblib", tmp_path / "X.npy", tmp_path / "Z")
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limits)
    assert len(read(tmp_path / "Z")) == 100_000


def test_progress(job, capsys, monkeypatch):
    model, source, features = job
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", {False: 0.0})
    extract_features(model, source, features, verbose=True, **SETTINGS)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("8 rows, ")
    assert all("rows/s" in line and "left" in line for line in lines[:-1])
    assert lines[-1].startswith("all 90 rows, ")
    extract_features(model, source, features, verbose=True, **SETTINGS)
    assert "90 rows were written before" in capsys.readouterr().err
    extract_features(model, source, features, **SETTINGS)
    assert capsys.readouterr().err == ""


def test_a_row_that_cannot_be_transformed_is_found(job, frame):
    model, source, features = job
    X = frame.to_numpy(copy=True)
    X[45, 2] = np.nan
    np.save(source, X)
    with pytest.raises(ValueError, match=r"rows 40 to 47: Input X contains NaN"):
        extract_features(model, source, features, **SETTINGS)


def test_features_of_another_kind_later_on_are_said(job):
    """A shard has one dtype; a model that changes it must not spoil one."""
    model, source, features = job
    joblib.dump(FunctionTransformer(_float32_where_small), model)
    with pytest.raises(ValueError, match="returned 4 features of float32, but 4"):
        extract_features(model, source, features, **SETTINGS)


def _float32_where_small(X):
    return X.astype(np.float32) if len(X) < 8 else X


# -- wrong arguments -------------------------------------------------------------------


def test_wrong_models_are_said_before_anything_is_written(job, dis, frame):
    model, source, features = job
    with pytest.raises(TypeError, match=r"path of a file.*got SparseShared.*joblib"):
        extract_features(dis, source, features)
    with pytest.raises(FileNotFoundError, match="missing"):
        extract_features(model.with_name("missing"), source, features)
    for content in (b"", b"no pickle", model.read_bytes()[:1000]):
        bad = model.with_name("bad.joblib")
        bad.write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.joblib' must be a file written by"):
            extract_features(bad, source, features)
    y = np.resize([0, 1], 90)
    joblib.dump(make_pipeline(PCA(2), LogisticRegression()).fit(frame, y), model)
    with pytest.raises(ValueError, match=r"no transform; save pipeline\[:-1\]"):
        extract_features(model, source, features)
    joblib.dump(OneHotEncoder().fit(frame.to_numpy()), model)
    with pytest.raises(ValueError, match="sparse"):
        extract_features(model, source, features)
    joblib.dump(PCA(2).fit(frame.to_numpy()[:, :3]), model)
    with pytest.raises(ValueError, match="expecting 3 features"):
        extract_features(model, source, features)
    assert not features.exists()


@pytest.mark.parametrize(
    "name", ["model.safetensors", "model.joblib", "model.SafeTensors", "model"]
)
def test_a_model_of_save_is_known_by_its_content(job, dis, frame, name, monkeypatch):
    """It never comes near joblib, whatever its name."""
    pytest.importorskip("safetensors")
    model, source, features = job
    model.unlink()
    dis.save(features.parent / "saved.safetensors")
    (features.parent / "saved.safetensors").rename(model.with_name(name))
    monkeypatch.setattr(joblib, "load", None)
    extract_features(model.with_name(name), source, features)
    np.testing.assert_allclose(
        read(features), dis.transform(frame), rtol=1e-5, atol=1e-6
    )
    # one that is cut short is still no pickle
    content = model.with_name(name).read_bytes()
    for size in (9, 100, len(content) - 1):
        model.with_name(name).write_bytes(content[:size])
        with pytest.raises(ValueError, match=rf"{name}' cannot be loaded: it is .*cut"):
            extract_features(model.with_name(name), source, features)


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("evil",))


@pytest.mark.parametrize("name", ["model.safetensors", "model.SAFETENSORS"])
@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3)])
def test_a_pickle_named_safetensors_is_not_run(job, name, compress, monkeypatch):
    _, source, features = job
    monkeypatch.chdir(features.parent)
    joblib.dump(Evil(), name, compress=compress)
    kind = {0: "a pickle, which can run any code", 3: "compressed, perhaps by joblib"}
    said = kind.get(compress, "compressed with gzip")
    with pytest.raises(ValueError, match=rf"{name}' cannot be loaded: it is {said}"):
        extract_features(name, source, features)
    assert not os.path.exists("evil")
    assert not features.exists()


@pytest.mark.parametrize("compress", [0, 3, *(("gzip", 3), ("bz2", 3), ("xz", 3))])
@pytest.mark.parametrize("protocol", range(6))
def test_files_of_joblib_are_not_taken_for_others(job, frame, compress, protocol):
    model, source, features = job
    pca = PCA(2).fit(frame.to_numpy())
    joblib.dump(pca, model, compress=compress, protocol=protocol)
    extract_features(model, source, features)
    np.testing.assert_allclose(read(features), pca.transform(frame.to_numpy()))


def test_wrong_inputs_are_said_before_anything_is_written(job, tmp_path):
    model, source, features = job

    def refused(path, error, match):
        with pytest.raises(error, match=match):
            extract_features(model, path, features)

    refused(tmp_path / "no.npy", FileNotFoundError, r"no file or folder .*no\.npy")
    refused(model, ValueError, r"ends in one of \.npy, \.csv")
    folder = tmp_path / "folder"
    folder.mkdir()
    refused(folder, ValueError, "files of one kind .* got none")
    shutil.copy(source, folder / "1.npy")
    (folder / "2.csv").write_text("a\n1\n")
    refused(folder, ValueError, "got csv and npy")
    (folder / "2.csv").unlink()
    np.save(folder / "2.npy", np.zeros((3, 4), dtype=np.float32))
    refused(folder, ValueError, "4 of float64, '2.npy' 4 of float32")
    np.save(tmp_path / "words.npy", np.array([["x"]]))
    refused(tmp_path / "words.npy", ValueError, "must hold numbers, of shape")
    np.save(tmp_path / "none.npy", np.zeros((0, 4)))
    refused(tmp_path / "none.npy", ValueError, "at least one row")
    truncate(source)
    refused(source, ValueError, r"X\.npy' is not a complete \.npy file")
    for name in ("bad.csv", "bad.parquet", "bad.arrow"):
        (tmp_path / name).write_text("")
        refused(tmp_path / name, ValueError, f"{name}' cannot be read")
    (tmp_path / "bare.csv").write_text("1,2,3,4\n5,6,7,8\n")
    refused(tmp_path / "bare.csv", ValueError, "first line .* names of the columns")
    assert not features.exists()


def test_other_wrong_arguments(job):
    model, source, features = job
    with pytest.raises(ValueError, match=r"format must be one of 'npy'.*got 'zip'"):
        extract_features(model, source, features, format="zip")
    for wrong in (0, 1.5, "many"):
        with pytest.raises(ValueError, match="batch_size must be a positive integer"):
            extract_features(model, source, features, batch_size=wrong)
    with pytest.raises(ValueError, match="must be new, empty, or an output begun"):
        extract_features(model, source, features.parent)
    with pytest.raises(FileNotFoundError, match=r"has no _manifest\.json"):
        verify_features(features.parent)


def test_without_pyarrow(job, monkeypatch):
    model, source, features = job
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'skdisentangle\[parquet\]'"):
        extract_features(model, source, features, format="csv")
    assert extract_features(model, source, features)["complete"]
