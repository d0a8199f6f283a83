"""Hypothesis strategies of cases."""

from __future__ import annotations

from hypothesis import strategies as st

from .building import FILLS, FORMS, LABEL_FORMS, LABELS, SPOILS, WEIGHTS

__all__ = ["cli_cases", "fit_cases", "label_cases", "load_cases", "use_cases"]

SEEDS = st.integers(0, 99)
METHODS = ["transform", "predict", "predict_proba", "score", "fit_task"]

#: Expressions of options: those that may be, and those that may not.
OPTIONS = {
    "n_components": (["1", "2", "40", "'auto'"], ["0", "10**30", "2.5", "nan", "None"]),
    "sparsity": (["0", "0.3", "'auto'", "1e300"], ["-1", "nan", "inf", "'x'", "[1]"]),
    "sharing": (["0", "1.0", "'auto'"], ["-1", "nan", "inf", "'x'", "None"]),
    "solver": (["'bilevel'", "'alternating'"], ["'newton'", "None"]),
    "encoder": (
        [
            "'linear'",
            "'conv'",
            "'mlp'",
            "lambda n_features, n_components: torch.nn.Linear(n_features, n_components)",
        ],
        [
            "'tree'",
            "None",
            "3",
            "lambda n_features: None",
            "torch.nn.Linear(3, 99)",
            "lambda n_features: torch.nn.Linear(n_features, 99)",
            "torch.nn.Linear",
            "lambda: torch.nn.Identity()",
            "torch.nn.ReLU",
        ],
    ),
    "hidden_layer_sizes": (
        ["()", "(1,)", "[3, 2]", "np.array([2])", "5"],
        ["(0,)", "(2.5,)", "('a',)", "None", "(10**30,)", "[[2, 3], [4, 5]]", "(nan,)"],
    ),
    "input_shape": (
        ["(1, 2, 2)", "(1, 1, 3)", "[2, 1, 1]", "None"],
        [
            "(1, 2)",
            "(0, 1, 3)",
            "(-1, -1, 3)",
            "'abc'",
            "(1.5, 2, 1)",
            "(10**30, 1, 1)",
        ],
    ),
    "scale_inputs": (["True", "False"], ["'yes'", "nan"]),
    "input_noise": (["0", "0.2", "'auto'", "1e300"], ["-1", "nan", "inf", "'much'"]),
    "task_types": (
        [
            "None",
            "'regression'",
            "'binary'",
            "'multiclass'",
            "['multiclass']",
            "{'task0': 'multiclass'}",
            "{'t0': 'regression'}",
            "[None, 'regression']",
        ],
        ["'quantile'", "{'nothing': 'binary'}", "[3]", "4", "[['binary']]", "{1: 2}"],
    ),
    "task_weight": (
        ["None", "[1.0, 2.0]", "{'task0': 2.0}", "{'t0': 0.0}", "[0, 1]", "[1e300]"],
        ["[-1.0]", "[nan]", "'x'", "{'t0': 'a'}", "{'none': 1}", "[[1.0]]", "['a']"],
    ),
    "class_weight": (["'balanced'", "None"], ["{0: 1}", "'equal'"]),
    "max_iter": (["1", "3", "6"], ["0", "-1", "2.5", "nan", "'x'"]),
    "batch_size": (["2", "5", "'auto'", "10**30"], ["1", "0", "nan", "2.0"]),
    "learning_rate_init": (
        ["0.1", "1e-300", "1e5", "1e300"],
        ["0", "-1", "nan", "inf", "'x'"],
    ),
    "tol": (["0", "1e300"], ["-1", "nan", "'x'"]),
    "n_iter_no_change": (["1", "10**30"], ["0", "1.5"]),
    "early_stopping": (["True", "False"], ["'yes'", "None"]),
    "validation_fraction": (["0.01", "0.5", "0.99"], ["0", "1", "nan"]),
    "warm_start": (["True"], ["'yes'"]),
    "cross_fit": (["2", "5", "None"], ["1", "0", "2.5", "'x'", "10**30"]),
    "device": (["'cpu'", "torch.device('cpu')"], ["'tpu'", "3", "'cuda:99'", "''"]),
    "n_threads": (["1", "-1"], ["0", "1.5", "10**30"]),
    "random_state": (["1", "np.random.RandomState(3)"], ["-1", "'x'", "10**30"]),
    "verbose": (["False"], ["'x'"]),
}

#: What most cases have, so that a good part of them is fitted. Each case may be odd in one
#: or two ways.
PLAIN_FORMS = ["array", "fortran", "read-only", "strided", "list", "pandas", "polars"]
PLAIN_FILLS = ["normal", "whole", "scales", "offset", "rank one", "discrete"]
PLAIN_LABELS = ["numbers", "whole", "bools", "words", "two words", "whole floats"]
PLAIN_LABELS += ["codes", "counts", "ids", "zip codes"]
PLAIN_LABEL_FORMS = ["array", "1d", "objects", "list", "pandas", "polars", "masked"]
DTYPES = ["float64", "float64", "float32", "float16", "int64", "int8", "uint8", "bool"]
ODD_DTYPES = ["object", "U9", "S9", "complex128", "timedelta64[s]", "longdouble"]
ODD = ("fill", "dtype", "form", "spoil", "few", "wide")
ODD_LABELS = ("labels", "label form", "missing", "more", "block", "repeats")


def oddities(*names):
    """Ways in which a case is out of the ordinary."""
    return st.lists(st.sampled_from(names), max_size=2, unique=True)


@st.composite
def rows(draw, odd, columns=None):
    """Specification of rows."""
    n_rows, n_columns = draw(st.integers(4, 40)), draw(st.integers(1, 6))
    if "few" in odd:
        n_rows = draw(st.integers(0, 3))
        n_columns = draw(st.integers(0 if n_rows == 0 else 1, 3))
    spec = {
        "seed": draw(SEEDS),
        "rows": n_rows,
        "columns": 60 if "wide" in odd else columns or n_columns,
        "fill": draw(st.sampled_from(sorted(FILLS) if "fill" in odd else PLAIN_FILLS)),
        "dtype": draw(st.sampled_from(ODD_DTYPES if "dtype" in odd else DTYPES)),
        "form": draw(st.sampled_from(sorted(FORMS) if "form" in odd else PLAIN_FORMS)),
    }
    if "spoil" in odd:
        spec["spoil"] = draw(st.sampled_from(sorted(SPOILS)))
    return spec


@st.composite
def labels(draw, odd):
    """Specification of labels."""
    kinds = st.sampled_from(sorted(LABELS) if "labels" in odd else PLAIN_LABELS)
    forms = sorted(LABEL_FORMS) if "label form" in odd else PLAIN_LABEL_FORMS
    spec = {
        "seed": draw(SEEDS),
        "tasks": draw(st.lists(kinds, min_size=1, max_size=4)),
        "missing": draw(
            st.sampled_from([0.5, 0.95, 1] if "missing" in odd else [0, 0.1])
        ),
        "form": draw(st.sampled_from(forms)),
    }
    if "more" in odd:
        spec["more"] = draw(st.sampled_from([-1, 1]))
    if "block" in odd:
        spec["block"] = draw(st.sampled_from([0.3, 0.8, 0.95]))
    if "repeats" in odd:
        spec["repeats"] = draw(st.sampled_from([2, 5, 40]))
    return spec


@st.composite
def label_cases(draw):
    """Labels in any container, their types said or not; no rows, and no fit."""
    odd = draw(oddities("labels", "label form", "label form", *ODD_LABELS))
    types = [*[None] * 9, "multiclass", "regression", "binary"]
    return {
        "rows": draw(st.one_of(st.integers(1, 40), st.integers(50, 200))),
        "Y": draw(labels(odd)),
        "types": draw(st.sampled_from(types)),
    }


@st.composite
def fit_cases(draw):
    """Rows, labels, weights and options for a fit."""
    odd = draw(oddities(*ODD, *ODD_LABELS, "weights", "option"))
    names = draw(st.lists(st.sampled_from(sorted(OPTIONS)), max_size=3, unique=True))
    options = {name: draw(st.sampled_from(OPTIONS[name][0])) for name in names}
    if "option" in odd:
        name = draw(st.sampled_from(sorted(OPTIONS)))
        options[name] = draw(st.sampled_from(OPTIONS[name][1]))
    return {
        "X": draw(rows(odd)),
        "Y": draw(labels(odd)),
        "weights": draw(
            st.sampled_from(sorted(WEIGHTS) if "weights" in odd else ["none"])
        ),
        "options": options,
        "method": draw(st.sampled_from(["fit", "fit", "fit_transform", "partial_fit"])),
    }


@st.composite
def use_cases(draw):
    """A fitted model, and other rows and labels for it."""
    odd = draw(oddities(*ODD, *ODD_LABELS, "columns"))
    return {
        "model": draw(st.sampled_from(MODELS)),
        "X": draw(rows(odd, None if "columns" in odd else 4)),
        "Y": draw(labels(odd)),
        "method": draw(st.sampled_from(METHODS)),
    }


# -- files -----------------------------------------------------------------------------

PLACES = st.one_of(st.integers(0, 40), st.integers(0, 2**16))
SOME_BYTES = st.binary(max_size=12)
DAMAGE = st.one_of(
    st.tuples(st.just("flip"), PLACES, st.integers(0, 7)),
    st.tuples(st.just("cut"), PLACES),
    st.tuples(st.just("drop"), PLACES, st.integers(1, 99)),
    st.tuples(st.just("insert"), PLACES, SOME_BYTES),
    st.tuples(st.just("copy"), PLACES, PLACES),
    st.tuples(st.just("all"), st.just(0), st.binary(max_size=40)),
)

#: Expressions of JSON values for the place of others; None takes the value away.
ODD_VALUES = [
    *("None", "True", "0", "-1", "3", "0.5", "1e300", "10**6", "10**30", "2**63", "''"),
    *("'nan'", "'__class__'", "'<U999999'", "'|O'", "'<f8'", "'pandas'", "'2d'"),
    *("'mlp'", "'conv'", "[]", "{}", "[1, 2]", "['a', 1]", "[[1], [2, 3]]", "'/'"),
    *("{'tuple': 3}", "{'mapping': [[[], 1]]}", "{'array': ['a'], 'dtype': '<i8'}"),
    *(
        "{'custom': 'os.system'}",
        "{'float': 'nan'}",
        "{'tuple': [10**12]}",
        "'a' * 9999",
    ),
    *("{'tuple': [10**12, 10**12]}", "[[[[[[[[[[[[[]]]]]]]]]]]]]", "'auto'", "'../x'"),
]
FORGED = st.lists(
    st.tuples(
        st.lists(st.integers(0, 40), min_size=1, max_size=5),
        st.one_of(st.sampled_from(ODD_VALUES), st.none()),
    ),
    min_size=1,
    max_size=2,
)

#: What may become of an array.
ODD_ARRAYS = [
    "lambda a: a.reshape(-1)[:-1]",
    "lambda a: a[np.newaxis]",
    "lambda a: a.astype(np.int16)",
    "lambda a: a.astype(np.float16)",
    "lambda a: a > 0",
    "lambda a: np.full_like(a, 99)",
    "lambda a: a * nan",
    "lambda a: -a",
    "lambda a: a * 1e30",
    "lambda a: np.zeros((0, 3))",
    "lambda a: np.zeros(10**5)",
]

#: What is put before all else in the header, and in the document.
ODD_HEADERS = [
    b'"x":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4]},',
    b'"x":{"dtype":"F32","shape":[0,9223372036854775807],"data_offsets":[0,0]},',
    b'"__metadata__":{},',
    b'"coef":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},',
    b'"x":' + b"[" * 20_000 + b",",
    b'"x":' + b"[" * 200 + b"]" * 200 + b",",
    b'"x":' + b"9" * 5000 + b",",
]
ODD_DOCUMENTS = [
    b'"format":1,',
    b'"tasks":{},',
    b'"x":' + b"[" * 20_000 + b",",
    b'"x":' + b"[" * 500 + b"]" * 500 + b",",
    b'"x":' + b"9" * 5000 + b",",
    b'"x":1e999,',
    b'"x":NaN,',
]
MODELS = ["array", "single", "pandas", "polars", "conv", "partial"]


@st.composite
def load_cases(draw):
    """A file of a model, and what has become of it."""
    kind = draw(st.sampled_from(["damage", "forged", "arrays", "header", "document"]))
    files = [*MODELS, "head", "frame.safetensors", "partial.safetensors"]
    case = {"model": draw(st.sampled_from(files)), "sealed": draw(st.booleans())}
    if kind == "damage":
        case[kind] = draw(st.lists(DAMAGE, min_size=1, max_size=3))
    elif kind == "forged":
        case[kind] = draw(FORGED)
    elif kind == "arrays":
        odd = st.tuples(st.integers(0, 40), st.sampled_from(ODD_ARRAYS))
        case[kind] = draw(st.lists(odd, min_size=1, max_size=2))
    else:
        odd = ODD_HEADERS if kind == "header" else ODD_DOCUMENTS
        case[kind] = draw(st.sampled_from(odd))
    return case


# -- the command line ------------------------------------------------------------------

#: Arguments that do; "@" stands for the folder.
COMMANDS = {
    "fit": ["@table.csv", "@new.joblib", "--tasks", "size", "kind"],
    "extract": ["@model.joblib", "@rows.npy", "@new"],
    "verify": ["@features"],
}
FIT_OPTIONS = ["--n-components", "2", "--max-iter", "1", "--batch-size", "9", "--quiet"]
PATHS = [
    *("@table.csv", "@table.parquet", "@rows.npy", "@rows.csv", "@rows.parquet"),
    *("@rows.arrow", "@model.joblib", "@model.safetensors", "@features", "@shards"),
    *("@odd.csv", "@", "@missing", "@missing.npy", "@missing/new", "@new.safetensors"),
    *("@new\0", "", "@\ud800.csv", "@" + "n" * 300),
]
WORDS = [
    *("--tasks", "size", "kind", "a", "nothing", "--features", "b", "--task-types"),
    *("binary", "size=regression", "kind=binary", "size=x", "=", "--format", "csv"),
    *("parquet", "npy", "--batch-size", "0", "3", "auto", "nan", "inf", "--quiet"),
    *("--rows-per-shard", "-1", "9", "1e999", "--model", "--input", "--sparsity"),
    *("0.1", "--n-components", "--device", "tpu", "cpu", "--random-state", "-h", "--"),
    *("--n-jobs", "--version", "é", "\ud800", "9" * 5000, "--sharing", "1"),
]
CELLS = st.sampled_from(
    ["1", "2.5", "", "nan", "inf", "1e999", "x", "é", '"', "a,b", "true", "2020-01-01"]
)
TABLES = st.one_of(
    st.binary(max_size=40),
    st.lists(st.lists(CELLS, max_size=4), max_size=9).map(
        lambda lines: "\n".join(["a,b,size,kind", *map(",".join, lines)]).encode()
    ),
    st.lists(st.lists(CELLS, max_size=4), max_size=9).map(
        lambda lines: "\n".join(map(",".join, lines)).encode("utf-16")
    ),
)
FILES = [
    *("table.csv", "table.parquet", "rows.npy", "rows.csv", "rows.parquet"),
    *("rows.arrow", "model.joblib", "model.safetensors"),
    *("features/part-000000.npy", "shards/part-000001.npy"),
]


@st.composite
def cli_cases(draw):
    """Files, some of them damaged, and arguments."""
    command = draw(st.sampled_from(sorted(COMMANDS)))
    arguments = list(COMMANDS[command])
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(arguments)))
        words = PATHS if place < 3 and draw(st.booleans()) else WORDS
        if place < len(arguments) and draw(st.booleans()):
            arguments[place] = draw(st.sampled_from(PATHS if place < 3 else words))
        else:
            arguments[place:place] = draw(
                st.lists(st.sampled_from(words), min_size=1, max_size=2)
            )
    if command == "fit":
        arguments += FIT_OPTIONS
    files = {}
    for _ in range(draw(st.integers(0, 2))):
        if draw(st.booleans()):
            name = draw(st.sampled_from(["features", "shards"]))
            files[f"{name}/_manifest.json"] = draw(FORGED)
            paths = {"extract": ["@model.joblib", "@rows.npy"], "verify": []}
            if command in paths:
                arguments = [*paths[command], f"@{name}"]
                if name == "shards" and command == "extract":
                    arguments += ["--rows-per-shard", "9"]
        else:
            damage = draw(st.lists(DAMAGE, min_size=1, max_size=2))
            files[draw(st.sampled_from(FILES))] = damage
    return {
        "arguments": [command, *arguments],
        "files": files,
        "text": draw(TABLES),
    }
