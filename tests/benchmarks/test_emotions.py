"""The suite of emotions, on small files of the layout of the real ones."""

from __future__ import annotations

import gzip
import hashlib

import numpy as np
import pytest

suite = pytest.importorskip("benchmarks.emotions")

NAMES = ["joy", "grief", "pride", "fear", "anger", "neutral"]
SIZES = {"train": 400, "dev": 160, "test": 160}


def word_counts(texts):
    """A text model: how often each emotion is named, and numbers that say nothing."""
    noise = [hashlib.sha256(text.encode()).digest()[:4] for text in texts]
    counts = [[text.split().count(name) for name in NAMES] for text in texts]
    return np.hstack([counts, np.array([[*part] for part in noise]) / 255])


def write(folder, name, n_texts, packed):
    """Texts that name their emotions; some have two."""
    rng = np.random.default_rng(len(name))
    lines = []
    for row in range(n_texts):
        own = sorted(rng.permutation(len(NAMES))[: 1 + (row % 3 == 0)])
        words = [NAMES[emotion] for emotion in own if rng.random() < 0.9]
        numbers = ",".join(map(str, own))
        lines.append(f'{" ".join(words)} "said\u2028{name} {row}\t{numbers}\tid{row}\n')
    content = "".join(lines).encode()
    if packed:
        (folder / f"{name}.tsv.gz").write_bytes(gzip.compress(content))
    else:
        (folder / f"{name}.tsv").write_bytes(content)


def quick(seed, **settings):
    """A disentangler that takes a second."""
    given = {"max_iter": 12, "hidden_layer_sizes": (8,), "n_components": 5}
    return suite.SparseSharedDisentangler(
        task_types="binary", random_state=seed, input_noise=0, **given, **settings
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "goemotions").mkdir()
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "train.tsv").write_text("of another set\n")
    for name, size in SIZES.items():
        write(tmp_path / "goemotions", name, size, packed=name != "dev")
    (tmp_path / "goemotions" / "labels.txt").write_text("\n".join(NAMES))
    monkeypatch.setenv("SKDISENTANGLE_DATA", str(tmp_path))
    monkeypatch.setenv("SKDISENTANGLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(suite, "MODEL", word_counts)
    monkeypatch.setattr(suite, "disentangler", quick)
    monkeypatch.setattr(suite, "RESULTS", tmp_path / "results" / "rows.jsonl")
    monkeypatch.setattr(suite._runs, "write_pages", lambda: None)
    return tmp_path


def test_a_text_may_have_several_emotions(folder):
    (folder / "goemotions" / "dev.tsv").write_bytes(
        'two\u2028 of "them\t0,4\ta\nnone but\r this\t5\tb\n'.encode()
    )
    assert suite.read_names() == NAMES
    texts, Y = suite.read_texts("dev", len(NAMES))
    assert texts == ['two\u2028 of "them', "none but\r this"]
    np.testing.assert_array_equal(Y, [[1, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 1]])


def test_embeddings_are_of_the_texts_and_kept(folder):
    data = suite.emotions()
    assert data.names == NAMES
    for name, size in SIZES.items():
        rows = getattr(data, name)
        texts, Y = suite.read_texts(name, len(NAMES))
        assert len(texts) == size
        np.testing.assert_array_equal(rows.Y, Y)
        np.testing.assert_allclose(rows.X, word_counts(texts), rtol=1e-6)
    assert any((folder / "cache").rglob("*"))
    assert suite.emotions() is data


def test_names_as_the_authors_have_them(folder):
    (folder / "goemotions" / "labels.txt").rename(folder / "goemotions/emotions.txt")
    assert suite.read_names() == NAMES
    (folder / "goemotions/emotions.txt").write_text("\n".join(NAMES[:-1]))
    assert suite.read_names() == NAMES


def test_rows_of_development_are_not_those_of_test(folder):
    data = suite.emotions()
    assert data.split(suite.FIRST_SEED) == (data.train, data.dev, data.test)
    train, dev, test = data.split(100)
    assert train is data.train
    together = np.concatenate([dev.X, test.X])
    assert len(dev.X) == len(test.X)
    np.testing.assert_array_equal(
        np.sort(together.view("f4,f4,f4,f4,f4,f4,f4,f4,f4,f4"), axis=0),
        np.sort(data.dev.X.view("f4,f4,f4,f4,f4,f4,f4,f4,f4,f4"), axis=0),
    )


@pytest.mark.parametrize("seed", range(5))
def test_threshold_has_the_largest_f1(seed):
    rng = np.random.default_rng(seed)
    labels = rng.random(60) < 0.3
    scores = np.round(labels + rng.normal(size=60), 1)  # some are the same
    f1 = {s: suite.f1_score(labels, scores >= s) for s in scores}
    assert f1[suite.threshold(labels.astype(int), scores)] == max(f1.values())


def test_thresholds_are_of_dev_alone():
    rng = np.random.default_rng(0)
    dev, test = (suite.Rows(None, rng.integers(0, 2, (50, 3))) for _ in range(2))
    on_dev, on_test = rng.normal(size=(2, 50, 3))
    cuts = [suite.threshold(dev.Y[:, e], on_dev[:, e]) for e in range(3)]
    # Whatever the labels of test, no threshold moves with them.
    for labels in (test.Y, 1 - test.Y):
        found = suite.scored(on_dev, dev, on_test, suite.Rows(None, labels))
        f1 = [suite.f1_score(labels[:, e], on_test[:, e] >= cuts[e]) for e in range(3)]
        auc = [suite.roc_auc_score(labels[:, e], on_test[:, e]) for e in range(3)]
        np.testing.assert_allclose(found["f1"], f1, atol=1e-4)
        np.testing.assert_allclose(found["auc"], auc, atol=1e-4)


@pytest.mark.parametrize("features", [suite.OURS, suite.NO_PENALTIES])
def test_held_out_emotions_are_no_tasks(folder, features, monkeypatch):
    seen = {}

    class Watched(suite.SparseSharedDisentangler):
        def fit(self, X, Y):
            seen["Y"] = Y
            return super().fit(X, Y)

    monkeypatch.setattr(suite, "N_DRAWS", 1)
    monkeypatch.setattr(
        suite,
        "disentangler",
        lambda seed, **settings: Watched(max_iter=2, input_noise=0, **settings),
    )
    row = suite.run(suite.NEW, features, suite.FIRST_SEED)
    assert len(row["held"]) == 2
    kept = [NAMES.index(name) for name in NAMES if name not in row["held"]]
    data = suite.emotions()
    np.testing.assert_array_equal(seen["Y"], data.train.Y[:, kept])
    others = suite.run(suite.NEW, suite.EMBEDDINGS, suite.FIRST_SEED)
    assert others["held"] == row["held"]


def test_each_seed_holds_a_third_out():
    drawn = {tuple(suite.held_out(28, seed)) for seed in range(20)}
    assert len(drawn) > 10
    assert all(len(set(emotions)) == 9 for emotions in drawn)


def test_labels_are_half_positive_as_far_as_can_be():
    labels = np.repeat([1, 0], [15, 100])
    for n_labels, n_positive in ((10, 5), (50, 15)):
        rows = suite.picked(labels, n_labels, np.random.default_rng(0))
        assert len(set(rows)) == n_labels
        assert labels[rows].sum() == n_positive


def test_labels_of_new_emotions_are_of_dev(folder, monkeypatch):
    monkeypatch.setattr(suite, "N_DRAWS", 1)
    data = suite.emotions()
    learned = []

    def watched(columns, dev, test):
        assert dev is data.dev
        assert test is data.test

        def scores(rows, labels):
            learned.append((rows, labels))
            return np.arange(len(test.X))

        return scores

    monkeypatch.setattr(suite, "few_shot", watched)
    row = suite.run(suite.NEW, suite.EMBEDDINGS, suite.FIRST_SEED)
    held = [NAMES.index(name) for name in row["held"]]
    expected = [(e, n) for e in held for n in suite.N_LABELS]
    for (emotion, n_labels), (rows, labels) in zip(expected, learned, strict=True):
        assert len(rows) == n_labels
        np.testing.assert_array_equal(labels, data.dev.Y[rows, emotion])


def test_blocks_have_the_same_variance():
    X = np.random.default_rng(0).normal(size=(200, 30)) * np.geomspace(1, 99, 30)
    columns = suite.side_by_side([suite.raw, lambda X: X[:, :2]], X)(X)
    variances = columns.var(axis=0)
    assert variances[:30].sum() == pytest.approx(variances[30:].sum())
    np.testing.assert_allclose(variances[:30], variances[0])


@pytest.mark.parametrize("features", suite.FEATURES)
def test_each_method_gives_a_row(folder, features):
    row = suite.run(suite.ALL, features, suite.FIRST_SEED)
    methods = {
        suite.EMBEDDINGS: [suite.RAW],
        suite.OURS: [suite.OURS, suite.COMPONENTS, suite.BOTH],
        suite.NO_PENALTIES: [suite.NO_PENALTIES, suite.PLAIN],
    }[features]
    assert list(row["found"]) == methods
    for scores in row["found"].values():
        assert len(scores["f1"]) == len(scores["auc"]) == len(NAMES)
        # Texts name their emotions, nine times of ten.
        assert 0.7 < np.mean(scores["f1"]) <= 1
        assert 0.8 < np.mean(scores["auc"]) <= 1
    text = suite.page([row | {"machine": "here"}])
    assert all(f"| {method} |" in text for method in methods)
    if features == suite.OURS:
        assert "| component | usage |" in text
        assert any(
            name in NAMES for part in row["components"] for name, _ in part["emotions"]
        )


@pytest.mark.parametrize("features", suite.FEATURES)
def test_each_method_learns_new_emotions(folder, features, monkeypatch):
    monkeypatch.setattr(suite, "N_DRAWS", 2)
    row = suite.run(suite.NEW, features, suite.FIRST_SEED)
    methods = {
        suite.EMBEDDINGS: [suite.RAW],
        suite.OURS: [suite.FIT_TASK, suite.COMPONENTS, suite.BOTH],
        suite.NO_PENALTIES: [suite.PLAIN],
    }[features]
    assert list(row["found"]) == methods
    for method, scores in row["found"].items():
        assert list(scores) == [str(n) for n in suite.N_LABELS]
        assert all(len(aucs) == len(row["held"]) for aucs in scores.values())
        assert all(0 <= auc <= 1 for aucs in scores.values() for auc in aucs)
        if method in (suite.RAW, suite.BOTH):  # texts name the new ones, too
            assert np.mean(scores["100"]) > 0.8


def test_components_are_told_by_their_largest_coefficients():
    class Fitted:
        usage_ = np.array([0.75, 0.25])
        coef_ = np.array([[1.0, 0], [-3, 0.5], [2, 0], [-0.1, 0], [0, 0], [0, 0]])

    first, second = suite.named(Fitted(), NAMES)
    assert first["emotions"] == [["grief", -3.0], ["pride", 2.0], ["joy", 1.0]]
    assert second == {"usage": 0.25, "emotions": [["grief", 0.5]]}


def test_from_files_to_table(folder, capsys):
    arguments = ["--data", str(folder), "--cache", str(folder / "cache")]
    arguments += ["--parts", suite.ALL, "--features", suite.EMBEDDINGS]
    suite.main([*arguments, "--seeds", "100", "101"])
    assert not suite.load(suite.RESULTS)
    suite.main(arguments)
    (row,) = suite.load(suite.RESULTS)
    assert row["seed"] == suite.FIRST_SEED
    assert row["rows"] == SIZES["train"]
    assert f"| {suite.RAW} |" in capsys.readouterr().out
    assert f"| {suite.RAW} |" not in suite.page([])


def new_row(features, seed, **scores):
    found = {
        name: {str(n): values for n in suite.N_LABELS}
        for name, values in scores.items()
    }
    return {"part": suite.NEW, "feature": features, "seed": seed, "found": found}


def test_new_emotions_are_compared_one_by_one():
    rows = [
        new_row(suite.EMBEDDINGS, 0, **{suite.RAW: [0.5, 0.7]}),
        new_row(suite.OURS, 0, **{suite.FIT_TASK: [0.6, 0.8]}),
        new_row(suite.OURS, 1, **{suite.FIT_TASK: [0.9, 0.9]}),  # without a rival
    ]
    shown = suite.new_table(rows)
    assert f"| {suite.FIT_TASK} | 0.800 | 0.800 | 0.800 | +0.100 (+0.100 to" in shown


@pytest.mark.parametrize("name", ["train.tsv.gz", "test.tsv.gz", "dev.tsv"])
def test_a_missing_file_is_named(folder, name, capsys):
    (folder / "others" / "train.tsv").unlink()
    (folder / "goemotions" / name).unlink()
    suite.main(["--data", str(folder)])
    said = capsys.readouterr().out
    assert name.removesuffix(".gz") in said
    assert "google-research" in said
    assert not suite.load(suite.RESULTS)


def test_missing_names_and_a_wrong_folder(folder, capsys):
    (folder / "goemotions" / "labels.txt").unlink()
    assert "labels.txt" in suite.missing(suite.ALL, suite.OURS)
    with pytest.raises(SystemExit):
        suite.main(["--data", str(folder / "none")])
    assert "there is no folder" in capsys.readouterr().err


def test_a_missing_model_is_told(folder, monkeypatch):
    monkeypatch.setattr(suite, "MODEL", "a model that is not there")
    assert "a model that is not there" in suite.missing(suite.ALL, suite.OURS)
