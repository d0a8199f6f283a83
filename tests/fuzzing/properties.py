"""What must hold for every case, in plain functions.

Each raises AssertionError, or whatever the package should not have raised, if it does not
hold; and otherwise says how the case ended: ``"done"``, or the type of the refusal.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import math
import pickle
import re
import tempfile
import tracemalloc
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
from sklearn.base import clone

from skdisentangle import SparseSharedDisentangler
from skdisentangle.cli import main
from skdisentangle.files.file_format import Content
from skdisentangle.files.task_files import plain_tasks, restored_tasks
from skdisentangle.heads import SparseTaskHead
from skdisentangle.tasks.labels import Labels
from skdisentangle.tasks.task_set import TaskSet

from .building import evaluate, make_labels, make_rows, make_weights, some_rows
from .files import damaged_model, make_folder, model_bytes
from .models import BASE, fitted_model
from .strategies import cli_cases, fit_cases, label_cases, load_cases, use_cases

__all__ = [
    "PROPERTIES",
    "check_cli",
    "check_fit",
    "check_labels",
    "check_load",
    "check_use",
]

#: What a refusal may speak of: an argument, or what scikit-learn calls the rows.
ARGUMENTS = (
    "X",
    "y",
    "Y_tasks",
    "sample_weight",
    "classes",
    "task",
    r"Found array with",
    r"Expected 2D array",
    r"[Ss]parse",
    r"Complex data",
    r"feature names",
    r"[Ss]ample weights",
    *inspect.signature(SparseSharedDisentangler).parameters,
)
NAMED = re.compile("|".join(rf"\b{name}\b" for name in ARGUMENTS))

#: Warnings of torch, which are of a class that the package's own have, too.
OF_TORCH = r"(?s).*(torch|[Tt]ensor|Triggered internally)"


class Refused(Exception):  # noqa: N818
    """A clear refusal: its argument is the type of the error."""


@contextmanager
def refusals(named=NAMED):
    """Turn clear refusals into ``Refused``, and warnings that are not meant into errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UserWarning)
        warnings.filterwarnings("error", OF_TORCH, UserWarning)
        try:
            yield
        except (ValueError, TypeError) as error:
            if not named.search(str(error)):
                raise AssertionError("the error names no argument") from error
            raise Refused(type(error).__name__) from error


def ending(check):
    """Give ``"done"``, or the type of the refusal."""

    def checked(case):
        try:
            check(case)
        except Refused as refusal:
            return refusal.args[0]
        return "done"

    return checked


# -- labels ----------------------------------------------------------------------------


@ending
def check_labels(case):
    """What is read, encoded, decoded and kept in a file are the labels themselves."""
    Y, columns = make_labels(case["Y"], case["rows"])
    with refusals():
        labels = Labels.read(Y)
        tasks = TaskSet.build(
            labels,
            task_types=case["types"],
            sample_weight=np.ones(labels.n_rows),
            quiet=True,
        )
        targets, labelled = tasks.encode(labels)
    single = getattr(Y, "dtype", None) == np.float32
    if isinstance(Y, pl.DataFrame | pl.Series):  # which makes one type of a mixture
        columns = columns_of(Y if isinstance(Y, pl.DataFrame) else Y.to_frame())
    predicted = [task.constant_prediction(labels.n_rows) for task in tasks.tasks]
    for number, index in enumerate(tasks.learned):
        task, there = tasks.tasks[index], labelled[:, number]
        truth = [None if _missing(v) else v for v in columns[index]]
        assert [v is not None for v in truth] == there.tolist(), task.name
        wanted = [_as_text(v) for v in truth if v is not None]
        target = targets[there, number]
        assert np.isfinite(target).all()
        if task.classes is None:
            back = target * task.scale + task.mean
            wanted = np.array(wanted, dtype=float)
            size = np.abs(wanted).max()
            rtol = 1e-6 if single else 1e-12
            np.testing.assert_allclose(back, wanted, rtol=rtol, atol=rtol * size)
            predicted[index] = np.where(there, targets[:, number], 0.0)
            continue
        assert len(task.classes) == len(
            {np.float32(v) if single else v for v in wanted}
        )
        found = task.classes[target.astype(int)].tolist()
        assert single or found == wanted, task.name
        predicted[index] = task.classes[targets[:, number].astype(int)]
    out = tasks.decode(predicted)
    assert_container(out, Y, labels)
    for index in tasks.learned:
        if tasks.tasks[index].classes is not None:
            values = [_as_text(v) for v in columns_of(out)[index]]
            assert values == predicted[index].tolist(), tasks.tasks[index].name
    try:
        document = json.loads(json.dumps(plain_tasks(tasks)))
    except ValueError as error:
        if not re.search("cannot be saved", str(error)):
            raise
        return
    kept = restored_tasks(Content(document, {}))
    for one, other in zip(kept.tasks, tasks.tasks, strict=True):
        assert (one.name, one.type, one.left_out) == (
            *(other.name, other.type, other.left_out),
        )
        if one.classes is not None:
            assert one.classes.tolist() == other.classes.tolist()
            assert one.classes.dtype == other.classes.dtype
    again, _ = kept.encode(labels)
    assert_equal(again, targets, "encoded by the tasks of the file")


def _as_text(value):
    return value.decode() if isinstance(value, bytes) else value


def columns_of(predicted):
    """Predictions as a list a task."""
    if hasattr(predicted, "iter_columns"):
        return [column.to_list() for column in predicted.iter_columns()]
    if hasattr(predicted, "columns"):
        return [predicted.iloc[:, j].tolist() for j in range(predicted.shape[1])]
    return predicted.T.tolist() if np.ndim(predicted) == 2 else [list(predicted)]


def assert_container(predicted, Y, labels):
    """A frame for a frame, a series for a series, an array for all else."""
    if isinstance(Y, pd.DataFrame | pd.Series | pl.DataFrame | pl.Series):
        assert type(predicted) is type(Y)
        if hasattr(Y, "columns"):
            assert list(predicted.columns) == list(Y.columns)
        return
    assert isinstance(predicted, np.ndarray)
    assert predicted.ndim == (1 if labels.container == "1d" else 2)


# -- fit -------------------------------------------------------------------------------


def _estimator(case):
    options = {name: evaluate(text) for name, text in case["options"].items()}
    return SparseSharedDisentangler(**{**BASE, **options})


@ending
def check_fit(case):
    """A fit is sound and the same again; or it is refused, and nothing has changed."""
    X = make_rows(case["X"])
    n_rows = case["X"]["rows"]
    Y, columns = make_labels(case["Y"], n_rows)
    weights = make_weights(case["weights"], n_rows)
    given = pickle.dumps([X, Y, weights]) if _can_be_pickled(X) else None
    dis = _estimator(case)
    with refusals():
        features = _fitted(dis, case["method"], X, Y, weights)
        if features is None:
            features = dis.transform(X)
    if given is not None:
        assert pickle.dumps([X, Y, weights]) == given, "the input was changed"
    assert_attributes(dis)
    assert_features(features, dis, n_rows)
    with refusals():
        assert_alike(dis, X, n_rows)
        assert_predictions(dis, X, columns)
    if not isinstance(dis.random_state, np.random.RandomState):
        with refusals():
            again = clone(dis)
            _fitted(again, case["method"], X, Y, weights)
            assert_equal(again.transform(X), dis.transform(X), "fitted again")
    if isinstance(dis.encoder, str):
        with refusals():
            dis.random_state = 0
            assert_equal(
                pickle.loads(pickle.dumps(dis)).transform(X), dis.transform(X), "pickle"
            )
            assert_equal(through_file(dis).transform(X), dis.transform(X), "file")


def _can_be_pickled(X):
    return type(X) is not object


def _fitted(dis, method, X, Y, weights):
    """Fit, or leave all as it was; the features if the method gives some."""
    if method == "partial_fit" and not hasattr(dis, method):
        raise Refused("AttributeError")
    for _ in range(2 if method == "partial_fit" else 1):
        before = dict(vars(dis))
        try:
            out = getattr(dis, method)(X, Y, sample_weight=weights)
        except (ValueError, TypeError):
            assert vars(dis) == before, "a refused fit left something behind"
            raise
    return out if method == "fit_transform" else None


def through_file(dis):
    """The estimator, saved and loaded."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        dis.save(path)
        return type(dis).load(path, device="cpu")


def assert_attributes(dis):
    """Fitted numbers are finite."""
    for name in ("coef_", "intercept_", "usage_", "input_noise_", "loss_curve_"):
        assert np.isfinite(getattr(dis, name)).all(), name
    assert dis.coef_.shape == (len(dis.intercept_), len(dis.usage_))


def assert_features(features, dis, n_rows):
    """Finite numbers, a row for each row, and a column for each component."""
    width = len(dis.usage_)
    assert features.shape == (n_rows, width)
    assert features.dtype in (np.float32, np.float64)
    assert np.isfinite(features).all()


def assert_equal(one, other, what):
    """The same bits."""
    assert one.tobytes() == other.tobytes(), what


def assert_alike(dis, X, n_rows):
    """The same bits again, and rows that do not depend on others."""
    whole = dis.transform(X)
    assert_equal(dis.transform(X), whole, "transformed again")
    half = n_rows // 2
    if half:
        parts = [
            dis.transform(some_rows(X, part))
            for part in (slice(half), slice(half, None))
        ]
        size = np.abs(whole).max(initial=1.0)
        tolerance = 1e-4 if whole.dtype == np.float32 else 1e-9
        np.testing.assert_allclose(
            np.concatenate(parts), whole, rtol=0, atol=tolerance * size
        )


def assert_predictions(dis, X, columns):
    """Labels that the fit has seen, or finite numbers; and probabilities."""
    predicted = dis.predict(X)
    found = [[_as_text(v) for v in values] for values in columns_of(predicted)]
    columns = columns[: len(dis.tasks_)]
    for task, values, seen in zip(dis.tasks_, found, columns, strict=True):
        known = [label for label in seen if not _missing(label)]
        for value in values:
            if task.left_out is not None and _missing(value):
                continue
            if task.type == "regression":
                assert math.isfinite(value), f"{task.name}: {value!r}"
            else:
                assert any(value == label for label in known), f"{task.name}: {value!r}"
    if not hasattr(dis, "predict_proba"):
        return
    out = dis.predict_proba(X)
    for task, part in zip(
        dis.tasks_, out if isinstance(out, list) else [out], strict=True
    ):
        if task.type == "regression" or task.left_out is not None:
            assert part is None
        else:
            assert part.shape == (len(found[0]), len(task.classes))
            assert (part >= 0).all()
            np.testing.assert_allclose(part.sum(1), 1, rtol=1e-4)


def _missing(value):
    return value is None or value is pd.NA or value != value


# -- use -------------------------------------------------------------------------------


@ending
def check_use(case):
    """What a fitted model gives for any rows is finite, or refused; it is not changed."""
    dis = fitted_model(case["model"])
    before = pickle.dumps(dis)
    X = make_rows(case["X"])
    n_rows, method = case["X"]["rows"], case["method"]
    Y, _ = make_labels(case["Y"], n_rows)
    try:
        with refusals():
            if method == "score":
                score = dis.score(X, Y)
                assert not math.isinf(score)
            elif method == "fit_task":
                check_head(
                    dis, X, make_labels({**case["Y"], "form": "1d list"}, n_rows)
                )
            else:
                out = getattr(dis, method)(X)
                if method == "transform":
                    assert_features(out, dis, n_rows)
                    assert_alike(dis, X, n_rows)
                elif method == "predict":
                    assert len(out) == n_rows
                else:
                    for part in out if isinstance(out, list) else [out]:
                        assert part is None or np.isfinite(part).all()
    finally:
        assert pickle.dumps(dis) == before, "the model was changed"


def check_head(dis, X, labels):
    """A head for a new task predicts labels that it has seen, or finite numbers."""
    Y, columns = labels
    head = dis.fit_task(X, Y)
    known = [label for label in columns[0] if not _missing(label)]
    for value in head.predict(X).tolist():
        assert (
            (value in known)
            if head.task_.type != "regression"
            else (math.isfinite(value))
        ), f"{value!r}"


# -- load ------------------------------------------------------------------------------

#: How a refusal to load begins.
NOT_LOADED = re.compile(r"model\.safetensors' cannot be loaded: \S")

#: Bytes that loading a file of some kilobytes may take: labels of a forged width take most.
MOST_MEMORY = 2**27


@ending
def check_load(case):
    """A damaged file is refused, or is the model; a forged one may be another model."""
    kind = SparseTaskHead if case["model"] == "head" else SparseSharedDisentangler
    whole, data = model_bytes(case["model"]), damaged_model(case)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(data)
        tracemalloc.start()
        try:
            with refusals(NOT_LOADED):
                back = kind.load(path, device="cpu")
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < MOST_MEMORY, f"{peak:,} bytes"
            assert [found.name for found in Path(folder).iterdir()] == [path.name]
        path.write_bytes(whole)
        with refusals():
            good = kind.load(path, device="cpu")
    rows = np.random.default_rng(0).normal(size=(9, back.n_features_in_))
    if hasattr(back, "feature_names_in_"):
        rows = pd.DataFrame(rows, columns=back.feature_names_in_)
    if data == whole:
        assert_equal(back._scores(rows), good._scores(rows), "as it was")
        return
    assert case["sealed"] or case.get("forged") or case.get("arrays"), "not found"
    with refusals():
        back.predict(rows)
        if kind is SparseSharedDisentangler:
            assert np.isfinite(np.asarray(back.transform(rows))).all()


# -- the command line ------------------------------------------------------------------


def _run(arguments):
    """Status and what is said on the standard error."""
    out, err = (
        io.TextIOWrapper(io.BytesIO(), "utf-8", errors)
        for errors in ("strict", "backslashreplace")
    )
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(arguments)
        except SystemExit as stop:
            status = stop.code
    err.seek(0)
    return status, err.read()


def check_cli(case):
    """The status is 0, 1 or 2, and if it is not 0, something is said."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_folder(folder, case)
        arguments = [
            str(folder / text[1:]) if text.startswith("@") else text
            for text in case["arguments"]
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", UserWarning)
            status, said = _run(arguments)
            assert status in (0, 1, 2)
            assert "Traceback" not in said
            if status:
                assert re.search(r"skdisentangle[\w ]*: .{9}", said), said
            elif arguments[0] == "extract" and "-h" not in arguments:
                assert _run(["verify", arguments[3]])[0] == 0, "not as it was written"
    return f"status {status}"


#: Of each name a strategy of cases, and what they are checked by.
PROPERTIES = {
    "labels": (label_cases(), check_labels),
    "fit": (fit_cases(), check_fit),
    "use": (use_cases(), check_use),
    "load": (load_cases(), check_load),
    "cli": (cli_cases(), check_cli),
}
