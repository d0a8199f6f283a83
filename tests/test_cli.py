from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from skdisentangle import SparseSharedDisentangler, __version__
from skdisentangle._demo import ATTRIBUTES, HELD_OUT, run_demo
from skdisentangle.cli import main
from skdisentangle.extraction import tables
from skdisentangle.fitting import training


def test_demo(tmp_path, capsys):
    picture = tmp_path / "new" / "picture.png"
    assert main(["demo", "--quiet", "--picture", str(picture)]) == 0
    out = capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 10_000
    lines = out.splitlines()
    for task in [*(f"is a {d}" for d in range(10)), *ATTRIBUTES]:
        row = [line for line in lines if line.startswith(task + " ")]
        assert len(row) == (0 if task == HELD_OUT else 1), task
    scores = {
        line.split(" (")[0]: [float(cell) for cell in line.split(")")[1].split()]
        for line in lines
        if line.startswith(("disentangled (", "PCA (", "LDA (", "raw pixels ("))
    }
    assert len(scores) == 4
    # ten digits from all labels, and the task held out from ten labels a class
    assert scores["disentangled"][0] > scores["PCA"][0]
    assert scores["disentangled"][3] > scores["raw pixels"][3]


def test_demo_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    out = io.StringIO()
    run_demo(tmp_path / "picture.png", out, verbose=False)
    assert "pip install 'skdisentangle[plots]'" in out.getvalue()
    assert not list(tmp_path.iterdir())


def test_a_picture_that_cannot_be_written(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(["demo", "--quiet", "--picture", str(blocked / "x.png")]) == 1
    assert "skdisentangle: " in capsys.readouterr().err


def test_version_and_usage(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.strip() == __version__
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2


@pytest.fixture
def table(tmp_path):
    pytest.importorskip("pyarrow")
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(120, 3)), columns=["a", "b", "c"])
    frame["size"] = frame["a"]
    frame["kind"] = np.where(frame["b"] > 0, "round", "square")
    frame.loc[::5, "kind"] = None
    frame["one of three"] = np.digitize(frame["c"], [-0.5, 0.5])
    return frame


FIT = ["--n-components", "4", "--max-iter", "30", "--random-state", "0", "--quiet"]


@pytest.mark.filterwarnings("ignore:The fit was still improving")
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_whole_job_from_a_shell(tmp_path, table, capsys, kind):
    suffix = {"csv": "joblib", "parquet": "safetensors"}[kind]
    source, model = str(tmp_path / f"rows.{kind}"), str(tmp_path / f"model.{suffix}")
    if kind == "csv":
        table.to_csv(source, index=False)
    else:
        table.to_parquet(source)
    tasks = ["--tasks", "size", "kind", "one of three"]
    types = ["--task-types", "one of three=regression"]
    assert main(["fit", source, model, *tasks, *types, *FIT]) == 0
    load = {"csv": joblib.load, "parquet": SparseSharedDisentangler.load}[kind]
    dis = load(model)
    assert [(t.name, t.type) for t in dis.tasks_] == [
        ("size", "regression"),
        ("kind", "binary"),
        ("one of three", "regression"),
    ]
    assert list(dis.tasks_[1].classes) == ["round", "square"]
    assert dis.get_params()["n_components"] == 4
    assert not dis.verbose
    first, said = capsys.readouterr().out.split("\n", 1)
    tasks = "3 tasks (size, kind, one of three)"
    assert first == f"{source}: 120 rows, {tasks} and 3 features (a, b, c)"
    assert said.startswith(f"{model}: ")
    for task in ("size", "kind", "one of three"):
        assert f"\n{task} " in said
    assert "share of use" in said

    output = str(tmp_path / "features")
    assert main(["extract", model, source, output, "--rows-per-shard", "50"]) == 0
    said = capsys.readouterr()
    n_features = dis.coef_.shape[1]
    assert said.out == f"{output}: {n_features} features of 120 rows in 3 shards\n"
    assert "120 rows" in said.err
    features = [np.load(tmp_path / "features" / f"part-00000{i}.npy") for i in range(3)]
    expected = dis.transform(table[["a", "b", "c"]])
    np.testing.assert_allclose(np.concatenate(features), expected, rtol=1e-12)

    kept = str(tmp_path / "kept")
    keep = ["--format", "csv", "--keep", "kind", "size", "--quiet"]
    assert main(["extract", model, source, kept, *keep]) == 0
    header = (tmp_path / "kept" / "part-000000.csv").read_text().splitlines()[0]
    assert header.startswith('"kind","size","sparseshareddisentangler0"')
    assert main(["verify", kept, "--input", source]) == 0
    assert main(["extract", model, source, kept + "2", "--keep", "kind"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("skdisentangle: --keep: shards of format 'npy'")
    assert "give --format parquet" in said

    check = ["verify", output, "--model", model, "--input", source]
    assert main(check) == 0
    (tmp_path / "features" / "part-000001.npy").unlink()
    assert main(check) == 1
    assert "part-000001.npy is missing" in capsys.readouterr().err


def test_an_interrupted_fit_keeps_the_model_there_is(tmp_path, table, monkeypatch):
    source, model = tmp_path / "rows.csv", tmp_path / "model.joblib"
    table.to_csv(source, index=False)
    model.write_bytes(b"what was there")
    step, steps = training.step, []

    def pressed(*arguments, **options):
        steps.append(arguments)
        if len(steps) == 3:
            raise KeyboardInterrupt
        return step(*arguments, **options)

    monkeypatch.setattr(training, "step", pressed)
    tasks = ["--tasks", "size", "kind", "one of three"]
    assert main(["fit", str(source), str(model), *tasks, *FIT]) == 1
    assert model.read_bytes() == b"what was there"


@pytest.mark.filterwarnings("ignore:The fit was still improving")
def test_a_model_that_is_written_again_keeps_link_and_permissions(tmp_path, table):
    source, model = tmp_path / "rows.csv", tmp_path / "model.joblib"
    table.to_csv(source, index=False)
    model.write_bytes(b"")
    model.chmod(0o600)
    link = tmp_path / "link.joblib"
    link.symlink_to(model)
    tasks = ["--tasks", "size", "kind", "one of three"]
    assert main(["fit", str(source), str(link), *tasks, *FIT]) == 0
    assert link.is_symlink()
    assert model.stat().st_mode & 0o777 == 0o600
    assert "_ends_when_interrupted" not in vars(joblib.load(model))


def test_safetensors_are_asked_for_before_the_fit(tmp_path, table, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    source = tmp_path / "rows.csv"
    table.to_csv(source, index=False)
    arguments = [str(source), str(tmp_path / "m.safetensors"), "--tasks", "nope"]
    assert main(["fit", *arguments]) == 1
    assert "pip install 'skdisentangle[files]'" in capsys.readouterr().err


def test_a_table_that_is_not_utf8(tmp_path, capsys):
    source = tmp_path / "rows.csv"
    for text, code, where in [
        ("a,farbe\n1,rot\n2,grün\n", "latin1", "; the column 'farbe' is not"),
        ("a,größe,farbe\n1,2,rot\n", "latin1", "; its first line is not"),
        ("a,farbe\n1,rot\n2,grün\n", "utf-16", ""),
    ]:
        source.write_bytes(text.encode(code))
        assert main(["fit", str(source), str(tmp_path / "m"), "--tasks", "farbe"]) == 1
        said = capsys.readouterr().err
        assert f"rows.csv' must be encoded in UTF-8{where}. Convert it" in said
        assert f"iconv -f {code} -t utf-8 'rows.csv' > utf8.csv." in said


def test_bad_cells_of_features_are_named(tmp_path, table, capsys, monkeypatch):
    """By row and column: in the first block, which tells the types, and in later ones."""
    source = tmp_path / "rows.csv"
    arguments = ["fit", str(source), str(tmp_path / "m"), "--tasks", "size", "kind"]
    cells = table.astype({"b": object})
    for cell, row, said in [
        ("n.a.", 2, "'b' holds text, 'n.a.' in row 3."),
        ("1,5", 118, "'b' holds text, '1,5' in row 119."),
        ("inf", 118, "'b' is not finite in row 119."),
    ]:
        bad = cells.copy()
        bad.loc[row, "b"] = cell
        bad.to_csv(source, index=False)
        for size in (2**22, 1024):
            monkeypatch.setattr(tables, "BLOCK_BYTES", size)
            assert main([*arguments, "--features", "a", "b"]) == 1
            assert said in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:The fit was still improving")
def test_labels_of_a_csv_file_are_what_they_say(tmp_path, table, capsys):
    source, model = tmp_path / "rows.csv", tmp_path / "model.safetensors"
    ids = [2**59 + 1, 2**59 + 2, 2**59 + 3]
    third = np.digitize(table["a"], [-0.5, 0.5])
    table["id"] = np.array(ids)[third]
    table["zip"] = np.array(["01067", "10115", "00999"])[third]
    table["word"] = np.array(["None of them", "NaNs", "x"])[third]
    missing = ["", "NA", "<NA>", "None", "nan", "NULL", "n/a", "null"]
    for name in ("id", "zip", "word", "size"):
        table[name] = table[name].astype(object)
        table.loc[: len(missing) - 1, name] = missing
    table.to_csv(source, index=False)
    tasks = ["--tasks", "id", "zip", "word", "size"]
    arguments = [str(source), str(model), *tasks, "--features", "a", "b", "c", *FIT]
    assert main(["fit", *arguments]) == 0
    capsys.readouterr()
    dis = SparseSharedDisentangler.load(model)
    found = {task.name: (task.type, task.classes) for task in dis.tasks_}
    assert found["size"] == ("regression", None)
    assert [found[name][1].tolist() for name in ("id", "zip", "word")] == [
        ids,
        ["00999", "01067", "10115"],
        ["NaNs", "None of them", "x"],
    ]
    predicted = dis.predict(table[["a", "b", "c"]])
    assert set(predicted["id"]) <= set(ids)
    assert (predicted["id"] == np.array(ids)[third])[8:].mean() > 0.5


def test_a_fit_that_cannot_be(tmp_path, table, capsys):
    source, model = str(tmp_path / "rows.csv"), str(tmp_path / "model.joblib")
    table.to_csv(source, index=False)
    np.save(tmp_path / "rows.npy", np.zeros((3, 2)))
    numbered, gaps = tmp_path / "numbered.csv", tmp_path / "gaps.csv"
    table[["a", "b"]].to_csv(numbered)
    table.assign(b=table["b"].where(table.index != 2)).to_csv(gaps, index=False)
    semicolons, tabs = tmp_path / "semicolons.csv", tmp_path / "tabs.csv"
    table.to_csv(semicolons, index=False, sep=";", decimal=",")
    table.to_csv(tabs, index=False, sep="\t")
    for arguments, said in [
        ([source, model, "--tasks", "nope"], "lacks the columns 'nope'"),
        ([source, model, "--tasks", "size"], "'kind' holds text, 'square' in row 2"),
        ([source, model, "--tasks", "a", "--drop", "d"], "lacks the columns 'd'"),
        ([source, model, "--tasks", "a", "--drop", "a"], "column 'a' is a task"),
        ([source, model, "--tasks", *table.columns], "input: all columns are tasks;"),
        ([source, model, "--tasks", "a", "--features", "a"], "requested twice"),
        ([source, model, "--tasks", "a", "--task-types", "b=binary"], "got 'b'"),
        ([source, str(tmp_path / "no" / "m"), "--tasks", "a"], "cannot be written"),
        ([str(tmp_path / "no.csv"), model, "--tasks", "a"], "no file or folder"),
        ([str(numbered), model, "--tasks", "a"], "a column without a name"),
        ([str(gaps), model, "--tasks", "a", "--features", "b"], "first in row 3."),
        ([str(semicolons), model, "--tasks", "a"], "its first line has semicolons"),
        ([str(tabs), model, "--tasks", "a"], "its first line has tabs"),
        ([str(tmp_path / "rows.npy"), model, "--tasks", "a"], "must be a table"),
    ]:
        assert main(["fit", *arguments, *FIT]) == 1
        assert said in capsys.readouterr().err
    assert not (tmp_path / "model.joblib").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "rows.csv", "model.joblib"],
        ["fit", "rows.csv", "model.joblib", "--tasks", "a", "--sparsity", "much"],
        ["extract", "model.joblib", "rows.csv"],
        ["extract", "model.joblib", "rows.csv", "out", "--format", "zip"],
        ["verify"],
    ],
)
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: skdisentangle" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:The fit was still improving")
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_labels_to_score_are_read_as_those_of_the_fit(tmp_path, table, capsys, kind):
    """Even if all cells of the new table look like something else."""
    pytest.importorskip("safetensors")
    source, new = tmp_path / f"rows.{kind}", tmp_path / "new.csv"
    model, report = str(tmp_path / "model.safetensors"), tmp_path / "fit.html"
    table = table[["a", "b", "c"]].copy()
    table["code"] = np.where(table["a"] > 1, "A", np.where(table["a"] > 0, "1", "2"))
    table["zip"] = np.where(table["b"] > 1, "010", np.where(table["b"] > 0, "120", "9"))
    table["yes"] = (table["c"] > 0).astype(int)
    getattr(table, f"to_{kind}")(source, index=False)
    seen = table[(table["code"] != "A") & (table["zip"] != "010")]
    seen.to_csv(new, index=False)
    tasks = ["--tasks", "code", "zip", "yes", "--encoder", "linear"]
    assert main(["fit", str(source), model, *tasks]) == 0
    capsys.readouterr()
    assert main(["score", model, str(new)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    found = {cells[0]: float(cells[1]) for cells in lines if "(accuracy)" in cells}
    dis = SparseSharedDisentangler.load(model)
    right = dis.predict(seen[["a", "b", "c"]])
    for name in ("code", "zip", "yes"):
        assert found[name] > 0.7
        assert found[name] == pytest.approx(
            np.mean(right[name] == seen[name]), abs=1e-3
        )
    assert main(["report", model, str(new), str(report)]) == 0
    capsys.readouterr()
    gap = seen.assign(yes=seen["yes"].astype(object))
    gap.iloc[4, gap.columns.get_loc("yes")] = "?"
    gap.to_csv(new, index=False)
    assert main(["score", model, str(new)]) == 1
    assert (
        "'yes' was fitted on classes such as 0; got '?' in row 5"
        in capsys.readouterr().err
    )
    # A column that is kept may not have the name of a prediction.
    out = tmp_path / "out.csv"
    assert main(["predict", model, str(source), str(out), "--keep", "yes"]) == 1
    assert "the column 'yes' has the name of a task" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.filterwarnings("ignore:The fit was still improving")
def test_describe_score_report_and_predict(tmp_path, table, capsys):
    pytest.importorskip("safetensors")
    source, model = str(tmp_path / "rows.csv"), str(tmp_path / "model.safetensors")
    table.assign(id=[f"r{i}" for i in range(len(table))]).to_csv(source, index=False)
    tasks = ["--tasks", "size", "kind", "one of three"]
    features = ["--features", "a", "b", "c"]
    assert main(["fit", source, model, *tasks, *features, *FIT]) == 0
    capsys.readouterr()
    dis = SparseSharedDisentangler.load(model)
    assert dis.get_params()["random_state"] == 0  # unless it is given
    X = table[["a", "b", "c"]]
    names = dis.suggest_component_names(X)

    assert main(["describe", model, source]) == 0
    said = capsys.readouterr().out
    assert "identifiable" in said or "mixture" in said
    assert f"component 0, suggested name: {names[0]}" in said
    expected = dis.describe(X.set_axis(range(1, 121), axis=0))  # rows as errors count
    assert said.strip() == str(expected)
    assert main(["describe", model, source, "--id", "id"]) == 0
    assert "highest rows: r" in capsys.readouterr().out

    assert main(["score", model, source]) == 0
    said = capsys.readouterr().out.splitlines()
    Y_tasks = table[["size", "kind", "one of three"]]
    scores = dis.score_tasks(table[["a", "b", "c"]], Y_tasks=Y_tasks)
    for line, name, score in zip(said[-3:], Y_tasks.columns, scores, strict=True):
        assert line.startswith(name)
        assert f" {score:.3f} (" in line
    assert said[-3].endswith("(R2)")
    often = Y_tasks["kind"].value_counts(normalize=True).max()
    there = Y_tasks["kind"].notna()
    chances = dis.predict_proba(X[there])[1][:, 1]
    area = roc_auc_score(Y_tasks["kind"][there], chances)
    assert re.search(rf" {often:.3f} +{area:.3f}$", said[-2])
    assert re.search(r"\(accuracy\) +0\.\d{3}$", said[-1])  # of three classes: no AUC

    output = tmp_path / "predictions.csv"
    assert main(["predict", model, source, str(output), "--keep", "id"]) == 0
    found = pd.read_csv(output)
    assert list(found.columns) == ["id", "size", "kind", "one of three"]
    assert found["id"].iloc[3] == "r3"
    expected = dis.predict(table[["a", "b", "c"]])
    np.testing.assert_allclose(found["size"], expected["size"])
    assert (found["kind"].to_numpy() == expected["kind"].to_numpy()).all()
    kept = str(tmp_path / "kept.csv")
    assert main(["predict", model, source, kept, "--keep", "b", "id", "a"]) == 0
    found = pd.read_csv(kept)
    assert list(found.columns[:4]) == ["b", "id", "a", "size"]
    np.testing.assert_allclose(found["a"], table["a"])  # a feature, too
    assert main(["predict", model, source, kept, "--keep", "a", "a"]) == 1
    assert "the column 'a' is requested twice" in capsys.readouterr().err

    capsys.readouterr()
    page = tmp_path / "fit.html"
    assert main(["report", model, source, str(page)]) == 0
    assert capsys.readouterr().out.startswith(f"{page}: report of ")
    score = dis.score_tasks(table[["a", "b", "c"]], Y_tasks=Y_tasks)[0]
    html = page.read_text()
    assert f"<td>size</td><td>{score:.3f} (R2)</td><td></td><td></td>" in html
    assert f"<td>{often:.3f}</td><td>{area:.3f}</td>" in html
    assert main(["report", model, source, str(page), "--id", "id"]) == 0
    capsys.readouterr()
    assert re.search(r"<div>r\d+, r\d+, ", page.read_text())
    assert main(["report", model, source, str(tmp_path / "fit.pdf")]) == 1
    assert "must end in .html; got 'fit.pdf'" in capsys.readouterr().err

    assert main(["predict", model, source, str(tmp_path / "p.txt")]) == 1
    assert "must end in .csv or .parquet" in capsys.readouterr().err
    assert main(["score", model, str(output)]) == 1
    assert "lacks the columns 'a', 'b', 'c'" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:The fit was still improving")
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_whole_numbers_with_gaps_come_back_as_whole_numbers(tmp_path, table, kind):
    source, model = str(tmp_path / f"rows.{kind}"), str(tmp_path / "m.joblib")
    table["flag"] = (table["a"] > 0).astype("Int64").mask(table.index % 4 == 0)
    table["grade"] = (table["one of three"] + 3).astype("Int64").mask(table["b"] > 1)
    table["dose"] = 2 * table["b"]
    if kind == "csv":
        table.to_csv(source, index=False)
    else:
        table.to_parquet(source)
    tasks = ["--tasks", "flag", "grade", "dose", "--features", "a", "b", "c"]
    types = ["--task-types", "grade=multiclass"]
    assert main(["fit", source, model, *tasks, *types, *FIT]) == 0
    for output in (tmp_path / "p.csv", tmp_path / "p.parquet"):
        assert main(["predict", model, source, str(output)]) == 0
    rows = [line.split(",") for line in (tmp_path / "p.csv").read_text().split()]
    assert {row[0] for row in rows[1:]} == {"0", "1"}
    assert {row[1] for row in rows[1:]} == {"3", "4", "5"}
    assert all("." in row[2] for row in rows[1:])
    written = pd.read_parquet(tmp_path / "p.parquet")
    assert written.dtypes.astype(str).tolist() == ["Int64", "Int64", "float64"]
    predicted = joblib.load(model).predict(table[["a", "b", "c"]])
    assert (written["flag"].to_numpy() == predicted["flag"].to_numpy()).all()


@pytest.mark.filterwarnings("ignore:The fit was still improving")
def test_predictions_of_labels_in_an_array(tmp_path, table):
    """One of them is left out; it is predicted by its only value."""
    source, model = str(tmp_path / "rows.csv"), str(tmp_path / "m.joblib")
    X = table[["a", "b", "c"]]
    X.to_csv(source, index=False)
    flag = (X["a"] > 0).to_numpy().astype(float)
    flag[::4] = np.nan
    dis = SparseSharedDisentangler(encoder="linear", max_iter=30, random_state=0)
    with pytest.warns(UserWarning, match="left out"):
        dis.fit(X, np.column_stack([flag, np.full(len(X), 7.0), X["b"]]))
    joblib.dump(dis, model)
    assert main(["predict", model, source, str(tmp_path / "p.csv")]) == 0
    header, *rows = (tmp_path / "p.csv").read_text().split()
    assert header == "task0,task1,task2"
    assert {tuple(row.split(",")[:2]) for row in rows} == {("0", "7"), ("1", "7")}


@pytest.mark.filterwarnings("ignore:The fit was still improving")
def test_models_that_no_table_goes_with(tmp_path, table, capsys):
    source = tmp_path / "rows.csv"
    table.to_csv(source, index=False)
    for estimator, reason in [
        (
            StandardScaler().fit(table[["a", "b"]]),
            "must hold a SparseSharedDisentangler",
        ),
        (
            SparseSharedDisentangler(encoder="linear", max_iter=2, input_noise=0).fit(
                table[["a", "b"]].to_numpy(), table[["a", "b"]].to_numpy()
            ),
            "fitted on rows without column names",
        ),
    ]:
        joblib.dump(estimator, tmp_path / "model.joblib")
        assert main(["describe", str(tmp_path / "model.joblib"), str(source)]) == 1
        assert reason in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:The fit was still improving")
def test_unusable_columns_are_all_named_and_dropped(tmp_path, table, capsys):
    source, model = str(tmp_path / "rows.csv"), str(tmp_path / "model.joblib")
    table.insert(0, "the id", [f"r{i}" for i in range(120)])
    table["gap"] = table["c"].where(table.index != 2)
    table.to_csv(source, index=False)
    tasks = ["--tasks", "size", "one of three"]
    assert main(["fit", source, model, *tasks, "--drop", "a", *FIT]) == 1
    said = capsys.readouterr().err
    assert "'the id' holds text, 'r0' in row 1; 'kind' holds text" in said
    assert "'gap' lacks numbers in 1 row, first in row 3" in said
    assert said.endswith("leave columns out: --drop a 'the id' kind gap.\n")
    drop = ["--drop", "the id", "kind", "gap", "--encoder", "linear", "--suggest-names"]
    assert main(["fit", source, model, *tasks, *drop, *FIT]) == 0
    dis = joblib.load(model)
    assert dis.feature_names_in_.tolist() == ["a", "b", "c"]
    assert dis.encoder == "linear"
    names = dis.get_feature_names_out().tolist()
    assert {name.split()[1] for name in names} <= {"a", "c", "size", "one"}
    assert f"component 0, name: {names[0]}" in capsys.readouterr().out
    features = ["--format", "csv", "--keep", "the id", "--quiet"]
    assert main(["extract", model, source, str(tmp_path / "f"), *features]) == 0
    written = pd.read_csv(tmp_path / "f" / "part-000000.csv")
    assert written.columns.tolist() == ["the id", *names]


@pytest.mark.filterwarnings("ignore:The fit was still improving")
def test_concerns_are_printed(tmp_path, table, capsys):
    source = tmp_path / "rows.csv"
    table.assign(again=table["size"] + 0.1 * table["c"]).to_csv(source, index=False)
    arguments = [str(source), str(tmp_path / "m.joblib"), "--features", "a", "b"]
    assert main(["fit", *arguments, "--tasks", "size", "again", *FIT]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Concerns about the data: - Tasks say nearly the same" in out
    assert "'size', 'again'" in out


def test_warnings_name_options(tmp_path, table, capsys):
    source = tmp_path / "rows.csv"
    table.to_csv(source, index=False)
    arguments = [str(source), str(tmp_path / "m.joblib"), "--features", "a", "b", "c"]
    tasks = ["--tasks", "size", "one of three", *FIT, "--max-iter", "2"]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["fit", *arguments, *tasks]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("skdisentangle: warning: ") for line in lines)
    text = "".join(lines)
    assert "Set --task-types COLUMN=multiclass to" in text
    assert "after --max-iter=2 epochs; raise --max-iter." in text


@pytest.mark.filterwarnings("ignore:The fit was still improving")
def test_errors_name_options(tmp_path, table, capsys):
    """Also where the functions behind the commands name a parameter of theirs."""
    source, model = str(tmp_path / "rows.csv"), str(tmp_path / "m.joblib")
    table["max_iter"] = table["c"]
    table["endless"] = np.inf
    table.to_csv(source, index=False)
    fit = ["fit", source, model, "--features", "a", "b", "c", *FIT]
    assert main([*fit, "--tasks", "size", "kind"]) == 0
    features = str(tmp_path / "features")
    extract = ["extract", model, source, features, "--quiet"]
    assert main(extract) == 0
    np.save(tmp_path / "rows.npy", np.zeros((3, 3)))
    dis = SparseSharedDisentangler(encoder="linear", max_iter=3, random_state=0)
    numbers = table[["a", "b", "c"]].to_numpy()
    joblib.dump(dis.fit(numbers, numbers), tmp_path / "unnamed.joblib")
    from_array = [str(tmp_path / "unnamed.joblib"), str(tmp_path / "rows.npy")]
    capsys.readouterr()
    for arguments, said in [
        ([*fit, "--tasks", "size", "--n-components", "0"], "--n-components must be an"),
        ([*fit, "--tasks", "size", "--sparsity=-1"], "--sparsity must be a float"),
        ([*fit, "--tasks", "size", "--device", "gpux"], "--device must be 'auto'"),
        ([*fit, "--tasks", "size", "--n-threads", "0"], "--n-threads must be positive"),
        (
            [*fit, "--tasks", "max_iter", "--task-types", "max_iter=count"],
            "--task-types: task 'max_iter' cannot be 'count'",
        ),
        ([*fit, "--tasks", "endless"], "--tasks: task 'endless' holds infinite"),
        (
            ["fit", source, model, "--tasks", "a", "--drop", "a"],
            "--drop: the column 'a' is a task",
        ),
        ([*extract, "--batch-size", "0"], "--batch-size must be a positive"),
        ([*extract, "--rows-per-shard", "0"], "--rows-per-shard must be a positive"),
        (
            ["extract", *from_array, features, "--format", "csv", "--keep", "id"],
            "--keep: ",
        ),
        (
            ["verify", features, "--input", str(tmp_path / "no.csv")],
            "--input: there is no file",
        ),
    ]:
        assert main(arguments) == 1
        assert f"skdisentangle: {said}" in capsys.readouterr().err


def test_arguments_in_the_wrong_place(tmp_path, table, capsys):
    source, model = str(tmp_path / "rows.csv"), str(tmp_path / "m.safetensors")
    table.to_csv(source, index=False)
    assert main(["describe", source, model]) == 1
    assert "Give the model first, then the rows." in capsys.readouterr().err
    assert main(["extract", model, source, str(tmp_path / "out.csv")]) == 1
    said = capsys.readouterr().err
    assert "must be the name of a folder" in said
    assert "--format" in said
    with pytest.raises(SystemExit) as stop:
        main(["fit", source, model, "--tasks", "a", "--drop", "b", "--features", "c"])
    assert stop.value.code == 2


def test_as_a_module_and_before_a_reader_that_ends():
    command = [sys.executable, "-m", "skdisentangle"]
    shown = subprocess.run([*command, "--version"], capture_output=True, text=True)
    assert shown.stdout.strip() == __version__
    script = "import sys; from skdisentangle import cli; "
    script += "cli._verify = lambda options: print('x' * 10**6); sys.exit(cli.main())"
    end, start = os.pipe()
    os.close(end)
    command = [sys.executable, "-c", script, "verify", "folder"]
    ended = subprocess.run(command, stdout=start, stderr=subprocess.PIPE, text=True)
    os.close(start)
    assert ended.returncode == 1
    assert ended.stderr == ""
