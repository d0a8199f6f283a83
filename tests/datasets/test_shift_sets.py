"""The six benchmarks of distribution shift, each on a small folder of its layout."""

from __future__ import annotations

import csv
import shutil
import sys

import numpy as np
import pytest
from sklearn.utils import Bunch

from skdisentangle.datasets import (
    load_camelyon17,
    load_civilcomments,
    load_office_home,
    load_pacs,
    load_vlcs,
    load_waterbirds,
    read_images,
)
from tests.datasets import layouts

pytest.importorskip("PIL")
pytestmark = pytest.mark.filterwarnings("ignore:.*but the official set has")

LOADERS = {
    "pacs": load_pacs,
    "vlcs": load_vlcs,
    "office_home": load_office_home,
    "waterbirds": load_waterbirds,
    "civilcomments": load_civilcomments,
    "camelyon17": load_camelyon17,
}
DOMAIN_SETS = ["pacs", "vlcs", "office_home"]
TABLES = {
    "waterbirds": "metadata.csv",
    "camelyon17": "metadata.csv",
    "civilcomments": "all_data_with_identities.csv",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The folder of each set; not to be changed."""
    root = tmp_path_factory.mktemp("data")
    return {name: layouts.write(root, name) for name in LOADERS}


def edited(tmp_path, folder, table, edit):
    """A copy of a set with another text in its table."""
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    with open(copy / table, newline="") as file:
        text = file.read()
    with open(copy / table, "w", newline="") as file:
        file.write(edit(text))
    return copy


@pytest.mark.parametrize("name", LOADERS)
def test_what_every_set_has(folders, name):
    found = LOADERS[name](folders[name])
    assert isinstance(found, Bunch)
    inputs = found.text if name == "civilcomments" else found.paths
    n = len(inputs)
    assert all(isinstance(row, str) for row in inputs)
    assert found.target.shape == (n,)
    assert len(found.target_names) == found.target.max() + 1
    assert found.Y_tasks.shape == (n, len(found.task_names))
    assert len(found.task_types) == len(found.task_names)
    assert len(set(found.task_names)) == len(found.task_names)
    assert set(found.group_tasks) <= set(found.task_names[1:])
    np.testing.assert_array_equal(found.Y_tasks[:, 0], found.target)
    assert "Licence" in found.DESCR
    for kind in "domain", "groups", "coarse_groups":
        if kind in found:
            names = found[f"{kind.removesuffix('s')}_names"]
            many = found[kind].ndim == 2
            assert len(names) == (
                found[kind].shape[1] if many else found[kind].max() + 1
            )


@pytest.mark.parametrize("name", LOADERS)
def test_the_folder_above_is_as_good(folders, name):
    above = LOADERS[name](str(folders[name].parent))
    kind = "text" if name == "civilcomments" else "paths"
    assert above[kind].tolist() == LOADERS[name](folders[name])[kind].tolist()


@pytest.mark.parametrize("name", LOADERS)
def test_missing_folder_says_what_to_get_and_where(tmp_path, name):
    with pytest.raises(
        FileNotFoundError, match=r"There is no folder.*https://"
    ) as info:
        LOADERS[name](tmp_path / "nowhere")
    assert "nowhere" in str(info.value)
    (tmp_path / "holiday.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"holds 'holiday\.txt'.*https://"):
        LOADERS[name](tmp_path)
    with pytest.raises(FileNotFoundError, match="is a file, not a folder"):
        LOADERS[name](tmp_path / "holiday.txt")
    with pytest.raises(TypeError, match="path must be"):
        LOADERS[name](None)


@pytest.mark.parametrize("name", LOADERS)
def test_part_of_a_set_is_told(folders, name):
    with pytest.warns(UserWarning, match="but the official set has") as caught:
        LOADERS[name](folders[name])
    assert caught[0].filename == __file__


# ------------------------------------------------------------- a folder a domain


@pytest.mark.parametrize("name", DOMAIN_SETS)
def test_domains_and_classes_are_the_folders(folders, name):
    found = LOADERS[name](folders[name], random_state=0)
    assert found.domain_names == layouts.DOMAINS[name][1]
    assert found.target_names == layouts.CLASSES[name]
    counts = np.zeros((4, len(found.target_names)), dtype=int)
    np.add.at(counts, (found.domain, found.target), 1)
    assert np.all(counts == layouts.images_each(name))
    for path, domain, target in zip(
        found.paths, found.domain, found.target, strict=True
    ):
        assert path.split("/")[-3] == found.domain_names[domain]
        assert path.split("/")[-2] == found.target_names[target]


def test_class_subsets_are_tasks(folders):
    found = load_vlcs(folders["vlcs"])
    assert len(found.task_names) == 1 + 10  # every pair of five classes
    task = found.task_names.index("car or dog")
    labels = found.Y_tasks[:, task]
    inside = np.isin(found.target, [1, 3])
    np.testing.assert_array_equal(labels[inside], found.target[inside])
    assert np.isnan(labels[~inside]).all()
    assert len(load_office_home(folders["office_home"]).task_names) == 1 + 60
    triples = load_vlcs(folders["vlcs"], n_tasks=4, n_classes=3, random_state=0)
    assert triples.task_types == ["multiclass"] * 5
    again = load_vlcs(folders["vlcs"], n_tasks=4, n_classes=3, random_state=0)
    assert triples.task_names == again.task_names
    with pytest.raises(ValueError, match="n_classes must be at most 5"):
        load_vlcs(folders["vlcs"], n_classes=6)
    with pytest.raises(ValueError, match="n_classes must be"):
        load_vlcs(folders["vlcs"], n_classes=1)


@pytest.mark.parametrize(
    ("name", "renamed"), [("office_home", "office_home"), ("pacs", "kfold")]
)
def test_other_names_of_the_folder(folders, tmp_path, name, renamed):
    shutil.copytree(folders[name], tmp_path / renamed)
    assert len(LOADERS[name](tmp_path).paths) == len(LOADERS[name](folders[name]).paths)


def test_space_in_the_name_of_a_domain(folders, tmp_path):
    folder = tmp_path / "office_home"
    shutil.copytree(folders["office_home"], folder)
    (folder / "Real World").rename(folder / "RealWorld")
    with pytest.raises(FileNotFoundError, match=r"holds 'Art', .*'RealWorld'.*space"):
        load_office_home(tmp_path)


def test_every_class_is_wanted_in_every_domain(folders, tmp_path):
    folder = tmp_path / "PACS"
    shutil.copytree(folders["pacs"], folder)
    (folder / "photo" / "dog" / "Thumbs.db").touch()
    (folder / ".DS_Store").touch()
    assert len(load_pacs(folder).paths) == 4 * 7 * 3  # what is no image does not count
    for file in (folder / "photo" / "dog").glob("*.jpg"):
        file.unlink()
    with pytest.raises(FileNotFoundError, match=r"no image in .*photo/dog"):
        load_pacs(folder)
    shutil.rmtree(folder / "photo" / "dog")
    with pytest.raises(FileNotFoundError, match=r"photo' has no folder 'dog'"):
        load_pacs(folder)
    for domain in layouts.DOMAINS["pacs"][1]:
        shutil.rmtree(folder / domain / "dog", ignore_errors=True)
    with pytest.raises(OSError, match=r"per class, 7 in all.*got 6"):
        load_pacs(folder)


# ------------------------------------------------------------- sets with a table


def test_waterbirds(folders):
    found = load_waterbirds(folders["waterbirds"])
    with open(folders["waterbirds"] / "metadata.csv") as file:
        rows = list(csv.DictReader(file))
    assert found.groups.tolist() == [2 * int(r["y"]) + int(r["place"]) for r in rows]
    assert found.group_names[1] == "landbird on water"
    assert found.split.tolist() == [
        ("train", "val", "test")[int(r["split"])] for r in rows
    ]
    assert found.task_types == ["binary", "multiclass", "binary", "multiclass"]
    _, species, place, fine = found.Y_tasks.astype(int).T
    for i, row in enumerate(rows):
        folder, _ = row["img_filename"].split("/")
        assert found.task_classes[1][species[i]] == folder
        assert str(place[i]) == row["place"]
        assert f"/{found.task_classes[3][fine[i]]}/" in row["place_filename"]
    assert found.task_classes[3] == [
        "bamboo_forest",
        "forest/broadleaf",
        "lake/natural",
        "ocean",
    ]


def test_waterbirds_of_wilds(tmp_path, folders):
    layouts.write_waterbirds(tmp_path, "waterbirds_v1.0")
    found = load_waterbirds(tmp_path)
    assert found.paths[0].startswith(str(tmp_path / "waterbirds_v1.0"))
    assert (
        found.target.tolist() == load_waterbirds(folders["waterbirds"]).target.tolist()
    )


def test_camelyon17_splits_come_from_the_centres(folders):
    found = load_camelyon17(folders["camelyon17"])
    assert set(found.split[found.domain == 1]) == {"val"}
    assert set(found.split[found.domain == 2]) == {"test"}
    for center in 0, 3, 4:
        assert (
            found.split[found.domain == center].tolist()
            == (["train"] * 6 + ["id_val"] * 2) * 2
        )
    assert found.patient[0] == "004"
    assert found.paths[0].endswith(
        "patches/patient_004_node_0/patch_patient_004_node_0_x_3328_y_21792.png"
    )
    assert read_images(found.paths[:3]).shape == (3, 96, 96, 3)
    slides = found.Y_tasks[:, found.task_names.index("slide")]
    assert len(np.unique(slides)) == 10


def test_civilcomments_as_pandas_and_the_definitions_have_it(folders):
    pd = pytest.importorskip("pandas")
    found = load_civilcomments(folders["civilcomments"])
    frame = pd.read_csv(
        folders["civilcomments"] / "all_data_with_identities.csv",
        index_col=0,
        keep_default_na=False,  # a comment may be the word NA
    )
    assert found.text.tolist() == frame["comment_text"].tolist()
    assert any('"' in text and "\n" in text for text in found.text)
    assert found.split.tolist() == frame["split"].tolist()
    names = ["toxicity", *layouts.IDENTITIES, *layouts.FURTHER]
    assert found.task_names == names
    np.testing.assert_array_equal(found.Y_tasks, frame[names] >= 0.5)
    assert set(frame["toxicity"][found.target == 1]) == {0.5, 0.75}
    for i, identity in enumerate(layouts.IDENTITIES):
        present = (frame[identity] >= 0.5).to_numpy()
        for toxic in 0, 1:
            expected = present & (found.target == toxic)
            np.testing.assert_array_equal(found.groups[:, 2 * i + toxic], expected)
    assert found.group_names[:3] == [
        "male, not toxic",
        "male, toxic",
        "female, not toxic",
    ]
    anyone = (frame[layouts.IDENTITIES] >= 0.5).any(axis=1)
    assert found.coarse_groups.tolist() == (2 * found.target + anyone).tolist()


def test_blank_label_is_missing_and_no_group(folders, tmp_path):
    def blank_male(text):
        rows = list(csv.reader(text.splitlines(keepends=True)))
        rows[1][rows[0].index("male")] = ""
        lines = [
            ",".join('"' + value.replace('"', '""') + '"' for value in row)
            for row in rows
        ]
        return "\n".join(lines) + "\n"

    table = TABLES["civilcomments"]
    folder = edited(tmp_path, folders["civilcomments"], table, blank_male)
    found = load_civilcomments(folder)
    assert np.isnan(found.Y_tasks[0, 1])
    assert not found.groups[0, :2].any()


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text[: text.rindex(",") - 2], "cut off"),
        (lambda text: text.split("\n")[0] + "\n", "no row"),
        (lambda text: "", "no column"),
        (lambda text: text.replace("split", "fold", 1), "no column 'split'"),
        (lambda text: text + '0,"a comment that', "cut off"),
    ],
    ids=["last row", "header alone", "empty", "column", "quote"],
)
def test_damaged_table(folders, tmp_path, name, edit, message):
    folder = edited(tmp_path, folders[name], TABLES[name], edit)
    with pytest.raises(OSError, match=message) as info:
        LOADERS[name](folder)
    assert TABLES[name] in str(info.value)


@pytest.mark.parametrize(
    ("name", "column", "value", "message"),
    [
        ("waterbirds", "split", "3", "one of 0, 1, 2; got 3 in row 2"),
        ("waterbirds", "y", "2", "column 'y'"),
        ("waterbirds", "place", "bog", "'bog' in column 'place'"),
        ("waterbirds", "place_filename", "ocean", "got 'ocean'"),
        ("camelyon17", "split", "2", "one of 0, 1; got 2 in row 2"),
        ("camelyon17", "center", "5", "column 'center'"),
        ("camelyon17", "tumor", "", "'' in column 'tumor'"),
        ("civilcomments", "split", "dev", "'test'; got 'dev' in row 2"),
        ("civilcomments", "toxicity", "", "shares from 0 to 1; got nan in row 2"),
        ("civilcomments", "male", "1.5", "'male' must hold shares.*1.5 in row 2"),
    ],
)
def test_unknown_value(folders, tmp_path, name, column, value, message):
    def edit(text):
        rows = list(csv.reader(text.splitlines(keepends=True)))
        rows[3][rows[0].index(column)] = value
        quoted = [
            ",".join('"' + v.replace('"', '""') + '"' for v in row) for row in rows
        ]
        return "\n".join(quoted) + "\n"

    folder = edited(tmp_path, folders[name], TABLES[name], edit)
    with pytest.raises(OSError, match=message):
        LOADERS[name](folder)


@pytest.mark.parametrize("name", ["waterbirds", "camelyon17"])
def test_row_without_its_image(folders, tmp_path, name):
    folder = edited(tmp_path, folders[name], "metadata.csv", lambda text: text)
    found = LOADERS[name](folder)
    lost = found.paths[5]
    (tmp_path / lost).unlink()
    with pytest.raises(
        FileNotFoundError, match=f"1 of the {len(found.paths)} images"
    ) as e:
        LOADERS[name](folder)
    assert lost in str(e.value)
    shutil.rmtree((tmp_path / lost).parent)
    with pytest.raises(FileNotFoundError, match="images"):
        LOADERS[name](folder)


# ------------------------------------------------------------- images


def test_read_images(tmp_path):
    from PIL import Image

    left = np.zeros((4, 6, 3), dtype=np.uint8)
    left[:, :3] = 200
    layouts.save(tmp_path / "a.png", left)
    Image.fromarray(left[..., 0]).save(tmp_path / "grey.png")
    paths = np.array(
        [str(tmp_path / "a.png"), str(tmp_path / "grey.png")], dtype=object
    )
    whole = read_images(paths)
    assert whole.dtype == np.uint8
    np.testing.assert_array_equal(whole, [left, left])
    assert read_images(paths, size=5).shape == (2, 5, 5, 3)
    small = read_images(paths, size=(2, 4))
    assert small.shape == (2, 2, 4, 3)
    assert small[0, 0, 0, 0] == 200
    assert small[0, 0, -1, 0] == 0


def test_read_images_that_are_not_there_or_none(tmp_path, monkeypatch):
    layouts.save(tmp_path / "a.png", np.zeros((4, 4, 3)))
    layouts.save(tmp_path / "b.png", np.random.default_rng(0).random((40, 40, 3)) * 255)
    good, other = str(tmp_path / "a.png"), tmp_path / "b.png"
    with pytest.raises(ValueError, match=r"size must be given.*b\.png"):
        read_images([good, other])
    with pytest.raises(FileNotFoundError, match=r"nothing\.png"):
        read_images([good, tmp_path / "nothing.png"])
    other.write_bytes(other.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"paths\[1\] .* '.*b\.png': .* truncated"):
        read_images([good, other])
    other.write_text("text")
    with pytest.raises(ValueError, match=r"cannot decode '.*b\.png'\."):
        read_images([other])
    with pytest.raises(TypeError, match="list of paths"):
        read_images(good)
    with pytest.raises(ValueError, match="at least one"):
        read_images([])
    for size in 0, "8", (8,), (8, 0), 8.0:
        with pytest.raises(ValueError, match="size must be"):
            read_images([good], size=size)
    for name in ("PIL", "PIL.Image"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"skdisentangle\[images\]"):
        read_images([good])
