"""Cases that once failed."""

from __future__ import annotations

from skdisentangle.files.file_format import unpack

from .files import model_bytes

__all__ = ["REGRESSIONS"]

X = {
    "seed": 0,
    "rows": 20,
    "columns": 3,
    "fill": "normal",
    "dtype": "float64",
    "form": "array",
}
Y = {"seed": 0, "tasks": ["numbers", "two words"], "missing": 0, "form": "objects"}


def _fit(method="fit", weights="none", rows=(), labels=(), **options):
    return {
        "X": {**X, **dict(rows)},
        "Y": {**Y, **dict(labels)},
        "weights": weights,
        "options": options,
        "method": method,
    }


def _labels(tasks, form, missing=0):
    kinds = {"seed": 0, "tasks": tasks, "missing": missing, "form": form}
    return {"rows": 60, "Y": kinds, "types": None}


def _use(method, model="array", rows=(), labels=()):
    return {
        "model": model,
        "X": {**X, "columns": 4, **dict(rows)},
        "Y": {**Y, **dict(labels)},
        "method": method,
    }


def _load(model, key):
    """A file of labels whose first column has another name."""
    document, _ = unpack(model_bytes(model))
    del document["sha256"]
    columns = sorted(document).index("tasks"), 0, 0
    column = document["tasks"]["columns"][0]
    path = [*columns, sorted(column).index("key")]
    return {"model": model, "sealed": True, "forged": [(path, key)]}


def _manifest(command, path, value):
    """A manifest of another value, at a place that numbers lead to."""
    extract = ["extract", "@model.joblib", "@rows.npy", "@features"]
    arguments = extract if command == "extract" else [command, "@features"]
    return {
        "arguments": arguments,
        "files": {"features/_manifest.json": [(path, value)]},
        "text": b"",
    }


#: For each property, by what was wrong.
REGRESSIONS = {
    "fit": {
        "X that is no array": _fit(rows={"form": "text"}),
        "X that is a dict": _fit(rows={"form": "dict"}),
        "rows of different lengths": _fit(rows={"form": "ragged"}),
        "a number too large for a float": _fit(rows={"spoil": "huge whole"}),
        "infinite sum of finite rows": _fit(rows={"fill": "extremes"}),
        "infinite variance": _fit(rows={"fill": "1e300"}),
        "columns that are constant": _fit(
            rows={"rows": 12, "columns": 1, "fill": "1e-300"}, labels={"missing": 0.5}
        ),
        "scale beyond single precision": _fit(
            rows={"fill": "1e-40", "dtype": "float32"}
        ),
        "noise beyond all numbers": _fit(input_noise="1e300"),
        "steps beyond all numbers": _fit(learning_rate_init="1e300"),
        "rows that are not scaled": _fit(
            rows={"fill": "1e160"}, scale_inputs="False", encoder="'linear'"
        ),
        "empty image": _fit(input_shape="(0, 1, 3)"),
        "image of fractions": _fit(input_shape="(1.5, 2, 1)"),
        "image of another size": _fit(input_shape="(2, 2, 2)"),
        "more threads than there are": _fit(n_threads="10**30"),
        "more weights than memory": _fit(hidden_layer_sizes="(10**30,)"),
        "module of other rows": _fit(encoder="torch.nn.Linear(7, 3)"),
        "factory of other arguments": _fit(encoder="lambda: None"),
        "task weights that are words": _fit(task_weight="['a', 'b']"),
        "weights that are words": _fit(weights="words"),
        "labels near the largest number": _fit(
            labels={"seed": 43, "tasks": ["extremes"], "form": "1d"}
        ),
        "labels too large for a float": _fit(labels={"tasks": ["vast whole"]}),
    },
    "labels": {
        "bytes as categories": _labels(["bytes"], "pandas category"),
        "bytes of polars": _labels(["bytes"], "polars"),
        "categories of numbers and truths": _labels(
            ["bools and numbers"], "category of whole"
        ),
        "ids with a fraction beside them": _labels(["ids", "numbers"], "list"),
        "ids of which some are missing": _labels(["ids"], "Int64", missing=0.1),
    },
    "use": {
        "score without labels": _use(
            "score", labels={"tasks": ["numbers"] * 3, "missing": 1}
        ),
        "rows of another scale": _use("transform", rows={"fill": "extremes"}),
        "head on rows of another scale": _use("fit_task", rows={"fill": "1e160"}),
        "head on rows that are all but equal": _use(
            "fit_task",
            model="partial",
            rows={"seed": 33, "rows": 6, "fill": "offset"},
            labels={"seed": 33, "tasks": ["words"]},
        ),
        "score on labels of another scale": _use(
            "score", labels={"tasks": ["extremes"] * 3, "form": "array"}
        ),
        "score on truths where classes were words": _use(
            "score",
            model="pandas",
            rows={"rows": 4},
            labels={"tasks": ["numbers", "numbers", "bools"]},
        ),
        "128 bits": _use("score", labels={"tasks": ["huge whole"], "form": "polars"}),
    },
    "load": {
        "number for the name of a column": _load("polars", "3"),
        "list for the name of a column": _load("pandas", "[1]"),
    },
    "cli": {
        "no shards": _manifest("verify", [5], None),
        "no state": _manifest("verify", [0], None),
        "settings of another kind": _manifest("extract", [4], "[1]"),
        "shard without rows": _manifest("verify", [5, 0, 3], "{}"),
        "model of another kind": _manifest("extract", [3], "-1"),
        "features of another kind": _manifest("extract", [1], "True"),
    },
}
