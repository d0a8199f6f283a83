"""The suite of real images, on small files of the same layout that are made here."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

PIL = pytest.importorskip("PIL.Image")
suite = pytest.importorskip("benchmarks.real_images")
pytestmark = pytest.mark.filterwarnings("ignore:The fit was still improving")

NAMES = ["Bangs", suite.LABEL, "Smiling", suite.BACKGROUND, "Young", "Bald"]
ALPHABETS = {1: ["Greek", "Korean", "Latin"], 2: ["Greek", "Latin", "Tagalog"]}


def encoded(pixels, kind):
    content = io.BytesIO()
    PIL.fromarray(pixels).save(content, kind)
    return content.getvalue()


def write_faces(folder, n=240):
    """Faces of one colour: attributes follow its channels."""
    rng = np.random.default_rng(0)
    colours = rng.integers(30, 226, size=(n, 3), dtype=np.uint8)
    bright = np.where(colours > 127, 1, -1)
    labels = np.column_stack([bright, bright[:, :2], -bright[:, 2:]])
    with zipfile.ZipFile(folder / suite.FACES, "w") as file:
        lines = [str(n), " ".join(NAMES)]
        for number, (colour, own) in enumerate(zip(colours, labels, strict=True), 1):
            name = f"{number:06d}.jpg"
            pixels = np.broadcast_to(colour, (8, 8, 3))
            path = f"celeba/img_align_celeba/{name}"
            file.writestr(path, encoded(np.ascontiguousarray(pixels), "JPEG"))
            lines.append(f"{name} {' '.join(f'{value:2d}' for value in own)}")
        file.writestr("celeba/list_attr_celeba.txt", "\n".join(lines) + "\n")
    return colours, labels > 0


def write_characters(folder):
    """Each character is black ink in a place of its own; drawings differ by a pixel or so."""
    rng = np.random.default_rng(1)
    for number, alphabets in ALPHABETS.items():
        top = f"images_background_small{number}"
        with zipfile.ZipFile(folder / suite.DRAWINGS.format(number), "w") as file:
            file.writestr(f"{top}/", "")
            for alphabet in alphabets:
                for character in range(6):
                    left, upper = rng.integers(60, size=2)
                    for drawing in range(8):
                        shift = rng.integers(4, size=2)
                        pixels = np.full((105, 105), 255, dtype=np.uint8)
                        x, y = left + shift[0], upper + shift[1]
                        pixels[y : y + 30, x : x + 30] = 0
                        name = f"character{character:02d}/{drawing:02d}.png"
                        file.writestr(
                            f"{top}/{alphabet}/{name}", encoded(pixels, "PNG")
                        )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Files, short fits, and mean colours in the place of a network's columns."""
    write_characters(tmp_path)
    write_faces(tmp_path)

    def quick(kind, seed, **settings):
        steps = 10 if settings.get("encoder") == "conv" else 100
        settings |= {"max_iter": steps, "hidden_layer_sizes": (8,), "input_noise": 0.1}
        return disentangler(kind, seed, **settings)

    disentangler = suite.disentangler
    monkeypatch.setattr(suite, "disentangler", quick)
    monkeypatch.setattr(suite, "embedded", lambda images: images.mean((1, 2)))
    monkeypatch.setattr(suite, "N_NEW", 2)
    monkeypatch.setattr(suite, "N_LABELS", (6, 20))
    monkeypatch.setattr(suite, "N_DRAWS", 1)
    monkeypatch.setattr(suite, "N_EPISODES", 20)
    monkeypatch.setattr(suite, "RESULTS", tmp_path / "results" / "rows.jsonl")
    monkeypatch.setattr(suite._runs, "write_pages", lambda: None)
    monkeypatch.setenv("SKDISENTANGLE_DATA", str(tmp_path))
    for read in (suite._faces, suite.small_faces):
        read.cache_clear()
    yield tmp_path
    for read in (suite._faces, suite.small_faces):
        read.cache_clear()


@pytest.fixture
def fitted_on(folder, monkeypatch):
    """What every fit is given: rows and labels."""
    seen = []

    class Watched(suite.SparseSharedDisentangler):
        def fit(self, X, y):
            seen.append((np.asarray(X), np.asarray(y)))
            return super().fit(X, y)

    def quick(kind, seed, **settings):
        settings |= {"max_iter": 2, "hidden_layer_sizes": (8,), "input_noise": 0.1}
        return Watched(task_types=kind, random_state=seed, **settings)

    monkeypatch.setattr(suite, "disentangler", quick)
    return seen


# -- data --------------------------------------------------------------------------------


def test_faces_and_attributes_are_those_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("SKDISENTANGLE_DATA", str(tmp_path))
    colours, labels = write_faces(tmp_path, n=30)
    images, found, names = suite.read_faces()
    assert images.shape == (30, 8, 8, 3)
    np.testing.assert_allclose(images.mean((1, 2)), colours, atol=4)
    np.testing.assert_array_equal(found, labels)
    assert names == NAMES


def test_drawings_have_ink_on_nothing(folder):
    X, characters, alphabets = suite.read_characters(2)
    assert X.shape == (3 * 6 * 8, suite.DRAWING_SIZE**2)
    assert X.min() == 0
    assert X.max() == 1
    np.testing.assert_allclose(X.mean(1), 30**2 / 105**2, atol=0.001)
    assert sorted(set(alphabets)) == ALPHABETS[2]
    assert len(set(characters)) == 18
    assert characters[0].startswith(f"{alphabets[0]}/")


# -- splits ------------------------------------------------------------------------------


def test_rows_are_fitted_on_held_back_or_scored():
    parts = suite.divided(1000, 3)
    assert [len(part) for part in parts] == [500, 200, 300]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(1000))
    assert not np.array_equal(parts[0], suite.divided(1000, 4)[0])


def test_new_attributes_are_no_tasks():
    new, tasks = suite.parted(40, 7)
    assert (len(new), len(tasks)) == (10, 30)
    np.testing.assert_array_equal(np.sort(np.concatenate([new, tasks])), np.arange(40))


def test_the_fit_sees_neither_test_rows_nor_new_attributes(fitted_on):
    X, Y, _ = suite.faces()
    fit, *_ = suite.divided(len(X), 3)
    _, tasks = suite.parted(Y.shape[1], 3)
    suite.run(suite.NEW, suite.OURS, 3)
    ((rows, labels),) = fitted_on
    np.testing.assert_array_equal(rows, X[fit])
    np.testing.assert_array_equal(labels, Y[np.ix_(fit, tasks)])


def test_labels_of_new_attributes_are_of_rows_held_back(folder, monkeypatch):
    asked = []
    linear_head = suite.linear_head
    X, *_ = suite.faces()
    fit, pool, _ = suite.divided(len(X), 3)
    columns = suite.standardised(X, fit)

    def watched(rows, labels, kind):
        asked.append(rows)
        return linear_head(rows, labels, kind)

    monkeypatch.setattr(suite, "linear_head", watched)
    suite.run(suite.NEW, suite.RAW, 3)
    assert [len(rows) for rows in asked] == [6, 20] * 2
    held = {row.tobytes() for row in columns[pool]}
    assert all(row.tobytes() in held for rows in asked for row in rows)


def test_the_background_is_no_task_and_chooses_nothing(fitted_on, monkeypatch):
    X, Y, names = suite.faces()
    fit, *_ = suite.divided(len(X), 3)
    others = [n for n, name in enumerate(names) if name != suite.BACKGROUND]
    np.testing.assert_array_equal(suite.without_background(Y, names), Y[:, others])
    before = suite.run(suite.BLOND, suite.OURS, 3)
    rows, labels = fitted_on[0]
    np.testing.assert_array_equal(rows, X[fit])
    np.testing.assert_array_equal(labels, Y[np.ix_(fit, others)])
    # Whoever is male, the same is answered.
    other = Y.copy()
    male = names.index(suite.BACKGROUND)
    other[:, male] = np.random.default_rng(0).permutation(Y[:, male])
    monkeypatch.setattr(suite, "faces", lambda: (X, other, names))
    after = suite.run(suite.BLOND, suite.OURS, 3)
    np.testing.assert_array_equal(fitted_on[1][1], labels)
    assert after["sizes"] != before["sizes"]
    right = [
        np.average(row["scores"][suite.ERM], weights=row["sizes"])
        for row in (before, after)
    ]
    assert right[0] == pytest.approx(right[1], abs=1e-3)


def test_alphabets_of_both_sets_are_left_out(folder):
    *_, alphabets = suite.read_characters(1)
    *_, others = suite.read_characters(2)
    rows = suite.in_the_other_alone(alphabets, others)
    assert set(others[rows]) == {"Tagalog"}
    assert len(rows) == (others == "Tagalog").sum()
    for seed, alphabet in ((0, "Tagalog"), (1, "Korean")):
        row = suite.run(suite.CHARACTERS, suite.RAW, seed)
        assert row["alphabets"] == [alphabet]
    first = suite.FIRST_SEED
    assert [suite.sets_of(first + n) for n in range(2)] == [(1, 2), (2, 1)]


def test_the_encoder_of_characters_sees_one_set(fitted_on):
    suite.run(suite.CHARACTERS, suite.OURS, 1)
    ((rows, labels),) = fitted_on
    X, characters, _ = suite.read_characters(2)
    np.testing.assert_array_equal(rows, X)
    np.testing.assert_array_equal(np.unique(characters)[labels], characters)


# -- episodes ----------------------------------------------------------------------------


def test_nearest_mean():
    known = np.array([[[0.0, 0], [2, 0]], [[5.0, 5], [5, 7]]])
    asked = np.array([[1.0, 1], [5, 6], [9, 9]])
    np.testing.assert_array_equal(suite.nearest_mean(known, asked), [0, 1, 1])


@pytest.mark.parametrize("shots", suite.SHOTS)
def test_episodes_of_codes_that_tell_all_or_nothing(shots):
    characters = np.repeat([f"c{n}" for n in range(9)], 20)
    right = np.repeat(np.eye(9), 20, axis=0)
    assert suite.episodes(right, characters, shots, 0) == [1.0] * suite.N_EPISODES
    noise = np.random.default_rng(0).normal(size=(len(characters), 4))
    found = suite.episodes(noise, characters, shots, 0)
    assert np.mean(found) == pytest.approx(1 / suite.WAYS, abs=0.03)
    assert found == suite.episodes(noise, characters, shots, 0)
    assert found != suite.episodes(noise, characters, shots, 1)


# -- rows --------------------------------------------------------------------------------

HEADS = {
    suite.RAW: [suite.LOGISTIC],
    suite.OURS: [suite.FIT_TASK, suite.LOGISTIC, suite.BESIDE],
    suite.PIXELS: [suite.FIT_TASK, suite.LOGISTIC],
    suite.NET: [suite.LOGISTIC, suite.BESIDE],
}


def run_for(part):
    """Methods that the part is run for."""
    return [method for method in suite.METHODS if suite.seeds(part, method)]


@pytest.mark.parametrize("method", run_for(suite.NEW))
def test_new_attributes_give_a_row(folder, method, monkeypatch):
    # Each of the new ones follows a channel that some task follows, too.
    monkeypatch.setattr(suite, "parted", lambda n, seed: np.split(np.arange(n), [2]))
    row = suite.run(suite.NEW, method, 0)
    assert list(row["scores"]) == HEADS[method]
    for scores in row["scores"].values():
        assert list(scores) == ["6", "20"]
        assert 0.7 < scores["20"] <= 1
    assert (row["rows"], row["tasks"]) == (120, 4)
    text = suite.page([row | {"machine": "here"}])
    assert (
        f"| {method} | {HEADS[method][0]} | {row['scores'][HEADS[method][0]]['6']:.3f}"
        in text
    )


@pytest.mark.parametrize("method", run_for(suite.BLOND))
def test_blond_hair_gives_a_row(folder, method):
    row = suite.run(suite.BLOND, method, 0)
    assert list(row["scores"]) == [suite.ERM, suite.DFR]
    assert sum(row["sizes"]) == 72
    for groups in row["scores"].values():
        assert len(groups) == 4
        assert min(groups) > 0.5
    text = suite.page([row | {"machine": "here"}])
    assert f"| {method} | {suite.DFR} |" in text


@pytest.mark.parametrize("method", run_for(suite.CHARACTERS))
def test_new_characters_give_a_row(folder, method):
    row = suite.run(suite.CHARACTERS, method, 0)
    assert list(row["scores"]) == ["1", "5"]
    for accuracies in row["scores"].values():
        assert len(accuracies) == 20
        assert 1 / suite.WAYS < np.mean(accuracies) <= 1
    text = suite.page([row | {"machine": "here"}])
    assert f"| {method} | {np.mean(row['scores']['1']):.3f} ±" in text


# -- report ------------------------------------------------------------------------------


def test_from_files_to_table(folder, capsys):
    given = ["--data", str(folder), "--methods", suite.RAW]
    suite.main([*given, "--parts", suite.BLOND, suite.CHARACTERS])
    rows = suite.load(suite.RESULTS)
    assert [(row["part"], row["seed"]) for row in rows] == [
        (part, suite.FIRST_SEED + number)
        for part in (suite.BLOND, suite.CHARACTERS)
        for number in range(suite.N_SEEDS[part])
    ]
    out = capsys.readouterr().out
    assert out.count("| raw |") == 3  # two heads for blond hair, and new characters
    suite.main([*given, "--parts", suite.NEW, "--seeds", "100", "101"])
    assert suite.load(suite.RESULTS) == rows
    assert suite.TITLES[suite.NEW] in capsys.readouterr().out


def test_missing_files_and_a_wrong_folder(folder, capsys):
    (folder / suite.FACES).unlink()
    (folder / suite.DRAWINGS.format(2)).unlink()
    suite.main(["--data", str(folder)])
    out = capsys.readouterr().out
    assert "'blond hair' is left out: no CelebA_10k_89x109.zip" in out
    assert "https://github.com/brendenlake/omniglot" in out
    assert not suite.load(suite.RESULTS)
    with pytest.raises(SystemExit):
        suite.main(["--data", str(folder / "none")])
    assert "there is no folder" in capsys.readouterr().err


def test_report_is_paired():
    fit = {"components": 7, "seconds": 20.0, "machine": "here"}
    rows = []
    for method, shift in ((suite.OURS, 0.0), (suite.RAW, 0.1)):
        for seed in range(2):
            row = fit | {"method": method, "seed": seed}
            head = suite.FIT_TASK if method == suite.OURS else suite.LOGISTIC
            scores = {str(n): 0.5 + shift for n in suite.N_LABELS}
            rows.append(row | {"part": suite.NEW, "scores": {head: scores}})
            groups = {"scores": {suite.ERM: [0.9, 0.8, 0.7, 0.3 + shift + seed / 5]}}
            groups["sizes"] = [50, 30, 15, 5]
            rows.append(row | {"part": suite.BLOND} | groups)
            shots = {"1": [0.4 + shift, 0.6 + shift], "5": [0.7 + shift, 0.7 + shift]}
            rows.append(row | {"part": suite.CHARACTERS, "scores": shots})
    text = suite.page(rows)
    gap = "-0.100 (-0.100 to -0.100)"
    assert f"| raw | logistic | 0.600 | {gap} |" in text
    assert "| ours | fit_task | 0.500 |  |" in text
    assert f"| ours | ERM | 0.815 | 0.400 | {gap} |" in text
    assert "| raw | ERM | 0.820 | 0.500 |  |" in text
    assert "blond, male (5)" in text
    assert "| ours | 0.500 ± 0.184 |  | 0.700 ± 0.000 |  | 7 | 20 |" in text
    assert f"| raw | 0.600 ± 0.184 | {gap} |" in text
    assert "| ours |" not in suite.page([])
