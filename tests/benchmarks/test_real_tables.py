"""The suite of real tables, on small files of their layout."""

from __future__ import annotations

import functools
import gzip

import numpy as np
import pytest
from sklearn.linear_model import Ridge

suite = pytest.importorskip("benchmarks.real_tables")
sets = pytest.importorskip("benchmarks._table_sets")

ARFF = """% a set of Mulan
@relation 'two tasks'
@attribute a numeric
@attribute colour {red,green}
@attribute "'y'1" numeric
@attribute y2 numeric
@data
1,red,0.5,10
2,green,?,20
?,red,1.5,30
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SKDISENTANGLE_DATA", str(tmp_path))
    return tmp_path


def write_new_zealand(folder, n=240, n_tasks=6):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    logits = 3 * X[:, :3] @ rng.normal(size=(3, n_tasks))
    np.savez(
        folder / "disdat_NZ.npz",
        X=X.astype("f4"),
        Y=(rng.logistic(size=logits.shape) < logits).astype("i1"),
        xy=np.column_stack([np.zeros(n), np.arange(n)]),
    )


@pytest.mark.parametrize("packed", [False, True])
def test_a_set_of_mulan(folder, packed):
    if packed:
        (folder / "enb.arff.gz").write_bytes(gzip.compress(ARFF.encode()))
    else:
        (folder / "enb.arff").write_text(ARFF)
    found = sets.table("enb")
    np.testing.assert_array_equal(found.X, [[1, 0, 1], [2, 1, 0], [np.nan, 0, 1]])
    np.testing.assert_array_equal(found.Y, [[0.5, 10], [np.nan, 20], [1.5, 30]])


def test_molecules_that_cannot_be_read_are_left_out(folder):
    bits = np.random.default_rng(0).integers(0, 2, (3, 16), dtype=np.uint8)
    np.savez(
        folder / "tox21_features.npz",
        ecfp4_packed=np.packbits(bits, axis=1),
        Y=np.array([[1, 0], [1, 1], [-1, 0]], dtype=np.int8),
        parsed=np.array([True, False, True]),
        scaffold_id=np.array([7, 8, 9]),
    )
    found = sets.table("tox21")
    np.testing.assert_array_equal(found.X, bits[[0, 2]])
    np.testing.assert_array_equal(found.Y, [[1, 0], [np.nan, 0]])
    np.testing.assert_array_equal(found.groups, [7, 9])


def test_what_is_known_of_sets_that_come_with_scikit_learn():
    for name, size in (("diabetes", (442, 10, 1)), ("linnerud", (20, 3, 3))):
        found = sets.table(name)
        assert (*found.X.shape, found.Y.shape[1]) == size
        assert sets.SETS[name].complete
        assert not sets.SETS[name].many


def test_a_missing_set_says_where_it_comes_from(folder):
    assert "sourceforge.net" in sets.lacking("enb")
    assert "psychTools" in sets.lacking("bfi")
    assert sets.lacking("diabetes") is None


def test_a_wrong_folder_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SKDISENTANGLE_DATA", str(tmp_path))
    with pytest.raises(SystemExit):
        suite.main(["enb", "--data", str(tmp_path / "none")])
    assert "--data: there is no folder" in capsys.readouterr().err
    monkeypatch.setenv("SKDISENTANGLE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit):
        suite.main(["enb"])
    assert "SKDISENTANGLE_DATA: there is no folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        suite.main(["no set"])
    assert "there is no set 'no set'" in capsys.readouterr().err


@pytest.fixture
def quick(folder, monkeypatch):
    """Quick fits; the report stays in the folder."""
    settings = {"max_iter": 2, "hidden_layer_sizes": (4,)}
    monkeypatch.setattr(
        suite, "disentangler", functools.partial(suite.disentangler, **settings)
    )
    monkeypatch.setattr(suite, "RESULTS", folder / "results" / "rows.jsonl")
    monkeypatch.setattr(suite._runs, "write_pages", lambda: None)
    return folder


def test_from_files_to_table(quick, capsys):
    write_new_zealand(quick)
    command = ["NZ", "enb", "--data", str(quick), "--splits", "1"]
    methods = ["--methods", suite.OURS, suite.LINEAR]
    suite.main([*command, *methods])
    out = capsys.readouterr().out
    assert out.count("'enb' is left out") == 1
    rows = suite.load(suite.RESULTS)
    assert [(r["set"], r["method"]) for r in rows] == [
        ("NZ", suite.OURS),
        ("NZ", suite.LINEAR),
    ]
    mine, linear = rows
    assert (linear["rows"], linear["columns"], linear["tasks"]) == (160, 4, 6)
    assert linear["score"] > 0.85
    assert (linear["width"], linear["nonzeros"]) == (4, 24)
    assert mine["width"] <= 20
    assert 0 <= mine["chosen"]["input_noise_"] <= 4
    assert "| NZ | 160 x 4 -> 6 |" in out
    # The other parts leave these rows where they are.
    for part in ("--few", "--shift"):
        suite.main([*command, part, "--methods", suite.LINEAR])
    out = capsys.readouterr().out
    by_part = {r["part"]: r for r in suite.load(suite.RESULTS)}
    assert list(by_part) == list(suite.PARTS)
    few = by_part[suite.FEW]
    assert (few["rows"], few["tasks"], few["new tasks"]) == (120, 4, 2)
    assert few["scores"]["10"] > 0.6
    assert by_part[suite.SHIFT]["rows"] == 120
    assert "**NZ**, by north or south, 1 split" in out


def test_new_tasks_get_a_head_of_the_package(quick, monkeypatch):
    write_new_zealand(quick)
    monkeypatch.setattr(suite, "N_LABELS", (10,))
    row = suite.run(suite.FEW, "NZ", suite.OURS, 0)
    assert 0.4 < row["scores"]["10"] <= 1


def test_rows_that_are_scored_are_not_fitted_on():
    groups = np.repeat(np.arange(30), 10)
    data = sets.Table(np.zeros((300, 1)), np.zeros((300, 1)), groups)
    for part, n_test in ((suite.PLAIN, 100), (suite.SHIFT, 100)):
        fit, test = suite.divided(data, part, seed=0)
        assert len(test) == n_test
        assert sorted([*fit, *test]) == list(range(300))
        assert not np.array_equal(test, suite.divided(data, part, seed=1)[1])
    assert not set(groups[fit]) & set(groups[test])
    two = sets.Table(data.X, data.Y, groups > 10)
    for seed in range(2):
        _, test = suite.divided(two, suite.SHIFT, seed)
        assert set(two.groups[test]) == {bool(seed)}


def test_missing_values_are_means_of_the_fit():
    X = np.array([[1.0, np.nan, 1], [3, np.nan, 1], [np.nan, 5, 9]])
    filled = suite.filled(X, np.array([0, 1]))
    np.testing.assert_array_equal(filled, [[1, 1], [3, 1], [2, 9]])


def test_scores():
    truth = np.array([0.0, 1, 2, np.nan])
    assert suite.quality(truth, np.array([0.0, 1, 2, 9]), "regression") == 1
    assert suite.quality(truth, np.array([9.0, 0, -9, 0]), "regression") == -1
    yes = np.array([0.0, 1, np.nan, 0])
    assert suite.quality(yes, np.array([0.1, 0.5, 0.0, 0.9]), "binary") == 0.5
    assert np.isnan(suite.quality(yes[[0, 3]], np.zeros(2), "binary"))


def test_few_labels_are_of_both_classes():
    labels = np.array([1.0] * 3 + [0] * 40 + [np.nan] * 5)
    for n, n_positive in ((5, 3), (10, 3), (40, 3)):
        rows = suite.draw(labels, "binary", n, np.random.default_rng(0))
        assert len(set(rows.tolist())) == n
        assert labels[rows].sum() == n_positive
    rng = np.random.default_rng(0)
    assert suite.draw(labels, "binary", 44, rng) is None  # there are 43
    assert suite.draw(labels[2:], "binary", 5, rng) is None  # one class has one
    assert suite.draw(np.ones(9), "regression", 5, rng) is None
    assert len(suite.draw(np.arange(9.0), "regression", 5, rng)) == 5


def test_linear_models_of_all_tasks_find_what_is_there():
    rng = np.random.default_rng(0)
    X = rng.normal(3, 2, size=(150, 6))
    Y = X[:, :2] @ [[1.0, 100], [2, -50]] + rng.normal(0, 0.1, (150, 2))
    for method in (suite.ELASTIC_NET, suite.PLS):
        model = suite.METHODS[method](X[:100], Y[:100], "regression", 0)
        found = model.predict(X[100:])
        assert suite.quality(Y[100:, 0], found[:, 0], "regression") > 0.95
        assert suite.quality(Y[100:, 1], found[:, 1], "regression") > 0.95
        assert 2 <= model.width <= 6
        assert model.nonzeros == 2 * model.width


def test_columns_in_use_are_those_of_any_task():
    models = [Ridge(), Ridge()]
    models[0].coef_, models[1].coef_ = np.array([0, 1.0, 0]), np.array([[2.0, 1, 0]])
    assert suite.in_use(models) == (2, 3)
    assert suite.in_use([object()]) == (None, None)


def row(method, seed, score, **more):
    sizes = {"rows": 10, "columns": 2, "tasks": 1, "seconds": 1.0}
    rest = {"width": None, "nonzeros": None, "chosen": {}, "machine": "here"}
    named = {"part": suite.PLAIN, "set": "enb", "method": method, "seed": seed}
    return named | sizes | rest | {"score": score} | more


def test_report_has_paired_differences():
    chosen = {"input_noise_": 0.25}
    rows = [row(suite.OURS, s, 0.5 + s / 10, width=2, chosen=chosen) for s in range(2)]
    rows += [row("boosting", s, 0.4 + s / 10) for s in range(2)]
    text = suite.page(rows)
    assert "| enb | 10 x 2 -> 1 | 0.550 |" in text
    assert "| ours | 0.550 |  | 2 |  | 1.0 | `input_noise_` 0.25 |" in text
    assert "| boosting | 0.450 | +0.100 (+0.100 to +0.100) |  |  | 1.0 |  |" in text
    few = [
        {**row(m, s, 0), "part": suite.FEW, "scores": {"5": v}}
        for m, v in ((suite.OURS, 0.7), (suite.LINEAR, 0.6))
        for s in range(2)
    ]
    lines = suite.table(few)
    assert "| `fit_task` | 0.700 |  |  |" in lines
    assert "on the columns | 0.600 +0.100 (+0.100 to +0.100) |  |  |" in lines
    assert "**enb**" not in suite.page([])


def test_what_is_run_where():
    def number(*job):
        return len(suite.seeds_of(*job))

    assert number(suite.PLAIN, "enb", suite.PLS) == suite.N_SPLITS
    assert number(suite.PLAIN, "chemicals", suite.PLS) == 0  # labels are missing
    assert number(suite.PLAIN, "NZ", suite.ELASTIC_NET) == 0  # of classes
    assert number(suite.FEW, "enb", suite.OURS) == 0
    assert number(suite.FEW, "wq", suite.OURS) == suite.N_SPLITS
    assert number(suite.FEW, "wq", "boosting") == 0
    assert number(suite.SHIFT, "wq", suite.OURS) == 0
    assert number(suite.SHIFT, "tox21", "boosting") == suite.N_SPLITS
