"""The six benchmarks of distribution shift, from their files to the table."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import Bunch

from skdisentangle import SparseSharedDisentangler
from skdisentangle.backbones import FineTuned, ImageEmbedder
from skdisentangle.metrics import worst_group_accuracy
from tests.datasets import layouts

pytest.importorskip("PIL")
shift = pytest.importorskip("benchmarks.shift_benchmarks")
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*the official set has"),
    pytest.mark.filterwarnings("ignore:The fit was still improving"),
]

#: Quick, and not good: what is tested is the way from files to table.
QUICK = SparseSharedDisentangler(
    n_components=5, max_iter=3, hidden_layer_sizes=(8,), sparsity=0, sharing=0
)


@pytest.fixture(autouse=True)
def few_strengths(monkeypatch):
    monkeypatch.setattr(shift, "STRENGTHS", (1e-2, 1.0))


def embedding(name):
    if name == "civilcomments":
        return FunctionTransformer(shift.hashed_words)
    return FunctionTransformer(shift.mean_pixels)


# A few rows less a domain lack classes of some tasks.
@pytest.mark.filterwarnings("ignore:Tasks left out")
@pytest.mark.parametrize("name", shift.BENCHMARKS)
def test_from_files_to_table(tmp_path, name):
    layouts.write(tmp_path, name)
    told = []
    rows = shift.run(name, tmp_path, embedding(name), [0], QUICK, say=told.append)
    for row in told:
        chosen = row.pop("chosen", None)
        assert (chosen is not None) == (row["features"] == shift.OURS_CHOSEN)
        if chosen is not None:
            assert set(chosen) <= set(row)  # one for each domain that is left out
            names = {key.removeprefix("dis__") for key in shift.SETTINGS}
            assert all(set(own) == names for own in chosen.values())
    assert rows == told
    # what the test wrote can be told apart by a linear model
    first = dict(rows[0])
    assert [first.pop(key) for key in ("features", "head")] == ["embeddings", "ERM"]
    scores = {k: v for k, v in first.items() if k not in ("labels used", "seed")}
    assert set(scores.values()) == {1.0}
    expected = {
        "waterbirds": "worst of 4 groups",
        "civilcomments": "worst of 16 groups",
        "camelyon17": "test centre",
    }
    assert expected.get(name, "mean of domains") in scores
    # whoever saw groups says so
    for row in rows:
        saw = row["features"] == shift.OURS_GROUPS or row["head"] == "DFR"
        assert ("**groups**" in row["labels used"]) == saw
    assert len(rows) == {"waterbirds": 6, "civilcomments": 6, "camelyon17": 3}.get(
        name, 3
    )
    lines = shift.table(rows).splitlines()
    assert len(lines) == 2 + len(rows)
    assert all(line.count("|") == lines[0].count("|") for line in lines)


@pytest.mark.filterwarnings("ignore:Tasks left out")
def test_a_backbone_is_trained_on_source_rows_only(tmp_path):
    layouts.write(tmp_path, "vlcs")
    seen = []

    class Watching(ImageEmbedder):
        def _trainable(self):
            found = super()._trainable()

            def prepare(numbers, images):
                seen.append(len(images))
                return found.prepare(numbers, images)

            return found._replace(prepare=prepare)

    embedder = Watching(torch.nn.Conv2d(3, 6, 3), image_size=8)
    rows = shift.run(
        "vlcs",
        tmp_path,
        embedder,
        [0],
        QUICK,
        say=lambda row: None,
        tuned=FineTuned(embedder, n_epochs=1),
    )
    kinds = [row["features"] for row in rows]
    assert kinds[-3:] == list(shift.TRAINED)
    assert [row["labels used"] for row in rows[-3:]] == ["class, of source domains"] * 3
    assert all(0 <= row["mean of domains"] <= 1 for row in rows)
    bunch = shift.load_vlcs(tmp_path)
    n_fitted = sum(len(fit) for _, fit, _ in shift.splits(bunch, 0))
    assert sum(seen) == 2 * n_fitted  # one epoch each, of two networks


def test_domains_are_left_out_one_by_one(tmp_path):
    layouts.write(tmp_path, "vlcs")
    bunch = shift.load_vlcs(tmp_path)
    parts = shift.splits(bunch, seed=0)
    assert [part for part, _, _ in parts] == bunch.domain_names
    for d, (_, fit, held) in enumerate(parts):
        assert not np.intersect1d(fit, held).size
        rows = np.sort(np.concatenate([fit, held]))
        np.testing.assert_array_equal(rows, np.flatnonzero(bunch.domain != d))
        # a fifth of each source domain
        counts = np.bincount(bunch.domain[held], minlength=4)
        assert counts.tolist() == [0 if i == d else 3 for i in range(4)]
    assert not np.array_equal(parts[0][2], shift.splits(bunch, seed=1)[0][2])


def test_metrics_of_waterbirds():
    # who looks at the place is right where bird and place go together
    place = np.array([0, 1, 0, 1] * 3)
    target = np.array([0, 0, 1, 1] * 3)
    split = np.repeat(["train", "val", "test"], 4)
    split[1:3] = "unused"
    bunch = Bunch(target=target, groups=2 * target + place, split=split)
    found = shift.metrics("waterbirds", bunch, "", place)
    assert found["worst of 4 groups"] == 0
    assert found["average"] == 0.5
    assert found["average, weighted by training groups"] == 1.0


def test_metrics_of_civilcomments():
    groups = np.zeros((4, 16), dtype=bool)
    groups[[0, 1, 1], [0, 3, 5]] = True
    bunch = Bunch(
        target=np.array([0, 1, 0, 1]),
        groups=groups,
        coarse_groups=np.array([1, 3, 0, 2]),
        split=np.array(["test"] * 4),
    )
    found = shift.metrics("civilcomments", bunch, "", np.array([0, 1, 0, 0]))
    # the last comment speaks of nobody
    assert found["worst of 16 groups"] == 1.0
    assert found["average"] == 0.75
    assert found["worst of 4 coarse groups"] == 0.0


def test_reweighting_finds_what_the_groups_have_in_common():
    # In training the place tells the bird as well as the bird itself, and more loudly.
    rng = np.random.default_rng(0)
    bird = rng.integers(2, size=1200)
    place = np.where(rng.random(1200) < 0.97, bird, 1 - bird)
    place[800:] = rng.integers(2, size=400)
    codes = np.column_stack([bird, 3 * place]) + rng.normal(0, 0.4, (1200, 2))
    fit, held, test = np.split(np.arange(1200), [800, 1000])
    codes = shift.standardised(codes, fit)
    groups = 2 * bird + place

    def worst(predicted):
        return worst_group_accuracy(bird[test], predicted[test], groups[test])

    assert worst(shift.predict(codes, bird, fit, held)) < 0.6
    assert worst(shift.predict_dfr(codes, bird, groups, held, seed=0)) > 0.8


def test_spread_over_seeds():
    said = {"head": "ERM", "labels used": "all"}
    rows = [
        {"features": "embeddings", **said, "seed": 0, "score": 0.5},
        {"features": "ours", **said, "seed": 0, "score": 0.25},
        {"features": "ours", **said, "seed": 1, "score": 0.75},
    ]
    lines = shift.table(rows).splitlines()
    assert lines[2] == "| embeddings | ERM | all | 0.500 |"
    assert lines[3] == "| ours | ERM | all | 0.500 ± 0.354 |"


def test_command(tmp_path, capsys, monkeypatch):
    layouts.write(tmp_path, "waterbirds")
    monkeypatch.setattr(shift, "SparseSharedDisentangler", lambda **_: QUICK)
    arguments = ["waterbirds", str(tmp_path), "--backbone", "pixels", "--seeds", "2"]
    shift.main(arguments)
    out = capsys.readouterr().out
    assert "| embeddings | ERM | waterbird of train; waterbird of val | 1.000 |" in out
    # with no chance in it, it is run once
    assert [
        line.count("±") for line in out.splitlines() if line.startswith("| emb")
    ] == [
        0,
        3,
    ]
    assert "chosen by accuracy on the validation split" in out


def test_command_without_the_files_or_with_wrong_arguments(tmp_path, capsys):
    with pytest.raises(SystemExit):
        shift.main(["pacs", str(tmp_path / "none"), "--backbone", "pixels"])
    assert "There is no folder" in capsys.readouterr().err
    for arguments in (["pacs", ".", "--seeds", "0"], ["nosuchset", "."]):
        with pytest.raises(SystemExit):
            shift.main(arguments)
    with pytest.raises(SystemExit, match="not for pacs"):
        shift.main(["pacs", ".", "--backbone", "words"])


def test_few_labels_of_a_domain():
    """Classes far apart are told by one label; those that are one cloud are not by ten."""
    target = np.repeat([0, 1, 2], 40)
    noise = np.random.default_rng(0).normal(size=(120, 3))
    found = shift.few_shot(10 * np.eye(3)[target] + noise, target, np.arange(120), 0)
    assert found == {f"{number} labels": 1.0 for number in shift.SHOTS}
    mixed = shift.few_shot(noise, target, np.arange(120), 0)
    assert all(0.2 < score < 0.5 for score in mixed.values())
