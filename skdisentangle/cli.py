"""The command ``skdisentangle``.

Help, version and wrong usage use the standard library only. Other imports take seconds, so
each command imports what it needs.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import textwrap
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from ._version import __version__

__all__ = ["main"]

#: Options of ``fit`` that are parameters of the estimator: type, and help.
ESTIMATOR_OPTIONS: dict[str, tuple[Any, str]] = {
    "n_components": (int, "number of components, or auto"),
    "sparsity": (float, "strength that keeps each head to few components, or auto"),
    "sharing": (
        float,
        "strength that keeps all heads together to few components, or auto",
    ),
    "max_iter": (int, "largest number of epochs, or auto"),
    "batch_size": (int, "rows per step, or auto"),
    "random_state": (int, "seed; the same seed gives the same model"),
    "n_threads": (int, "number of threads; -1 uses all processors"),
    "device": (str, "device that torch uses, such as cpu or cuda"),
}

#: Options whose default differs from that of the estimator.
DEFAULTS = {"random_state": 0}

MODEL_HELP = (
    "model file written by fit, save or joblib.dump; a .safetensors file runs no code, any "
    "other file can: load it only if you trust its source"
)

#: File name extensions that select joblib.
PICKLES = (".joblib", ".pkl", ".pickle")

#: File name extensions of files of rows.
ROWS = (".csv", ".npy", ".parquet", ".arrow", ".feather")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command line arguments. By default those of the process.

    Returns
    -------
    int
        Exit status: 0, or 1 after an error, whose message goes to standard error. Wrong
        usage ends the process with status 2.
    """
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = partial(_show_warning, options.named)
            options.run(options)
        print(end="", flush=True)
    except BrokenPipeError:
        # What reads the output has ended, as head does. Nothing is left for Python to write,
        # and to complain about, when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ImportError, OSError, ValueError) as error:
        said = _as_typed(str(error), options.named)
        print(f"skdisentangle: {said}", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        # torch raises a RuntimeError if it cannot allocate
        if isinstance(error, RuntimeError) and "allocate" not in str(error):
            raise
        print(f"skdisentangle: out of memory: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("skdisentangle: interrupted", file=sys.stderr)
        return 1
    return 0


def _show_warning(
    named: dict[str, str], message: Warning | str, *_: Any, **__: Any
) -> None:
    said = _as_typed(str(message), named)
    print(f"skdisentangle: warning: {said}", file=sys.stderr)


def _as_typed(text: str, named: dict[str, str]) -> str:
    """A message with the options of the command in place of parameters of Python."""
    text = re.sub(r"^The '(\w+)' parameter of \w+", r"\1", text)
    text = re.sub(r"\btask_types='(\w+)'", r"--task-types COLUMN=\1", text)
    for name, option in named.items():
        text = re.sub(rf"\b{name}='(\w+)'", rf"{option} \1", text)
        if "_" in name:  # but not as the name of a column or file, in quotes
            text = re.sub(rf"(?<![\w'/.-]){name}(?![\w'/-])", option, text)
        else:  # a word like any other, unless the message begins with it
            text = re.sub(rf"^{name}(?=:| must\b)", option, text)
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skdisentangle",
        description="Learn disentangled features from many supervised tasks.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    for add in (
        _add_demo,
        _add_fit,
        _add_describe,
        _add_score,
        _add_predict,
        _add_report,
        _add_extract,
        _add_verify,
    ):
        add(commands)
    for command in commands.choices.values():
        command.set_defaults(named=_options_of(command))
    return parser


def _options_of(command: argparse.ArgumentParser) -> dict[str, str]:
    """What the user types for the parameters of Python behind a command."""
    options = {
        action.dest: action.option_strings[-1]
        for action in command._actions
        if action.option_strings
    }
    return options | {"X": "input", "Y_tasks": options.get("tasks", "labels")}


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser(
        "demo", help="learn features of handwritten digits and compare them with others"
    )
    demo.set_defaults(run=_demo)
    demo.add_argument(
        "--picture",
        type=Path,
        default=Path("demo.png"),
        help="picture of tasks and components to write (default: %(default)s)",
    )
    demo.add_argument("--quiet", action="store_true", help="do not show progress")


def _add_fit(commands: Any) -> None:
    fit = commands.add_parser(
        "fit",
        usage="skdisentangle fit INPUT MODEL --tasks COLUMN [COLUMN ...] [options]",
        help="learn features from a table and save the model",
        description="Fit a SparseSharedDisentangler on a table that fits into memory. "
        "Print what each component means, and how well each task is predicted on these "
        "rows. Write the model to a file that runs no code when it is loaded.",
    )
    fit.set_defaults(run=_fit)
    fit.add_argument(
        "input", help="CSV, Parquet or Arrow file, or a folder of files of one kind"
    )
    fit.add_argument(
        "model",
        type=Path,
        help="file to write, such as model.safetensors; a name that ends in .joblib or .pkl "
        "selects joblib, whose files can run code when they are loaded",
    )
    fit.add_argument(
        "--tasks",
        nargs="+",
        required=True,
        metavar="COLUMN",
        help="columns of labels; an empty cell means not labelled; in a CSV file (UTF-8) NA, "
        "NaN, null and None also mean not labelled, and numbers with leading zeros, such as "
        "007, are text",
    )
    columns = fit.add_mutually_exclusive_group()
    columns.add_argument(
        "--features",
        nargs="+",
        metavar="COLUMN",
        help="columns to learn from (default: all except the tasks)",
    )
    columns.add_argument(
        "--drop",
        nargs="+",
        default=(),
        metavar="COLUMN",
        help="columns to leave out, such as an id; all others except the tasks are features",
    )
    fit.add_argument(
        "--task-types",
        nargs="+",
        metavar="TYPE",
        help="regression, count, binary, ordinal or multiclass for all tasks, or "
        "COLUMN=TYPE for some (default: inferred from the labels)",
    )
    for name, (kind, text) in ESTIMATOR_OPTIONS.items():
        fit.add_argument(
            f"--{name.replace('_', '-')}",
            type=_or_auto(kind) if "auto" in text else kind,
            default=argparse.SUPPRESS,
            help=f"{text} (default: {DEFAULTS.get(name, 'as in SparseSharedDisentangler')})",
        )
    fit.add_argument(
        "--encoder",
        choices=("mlp", "linear"),
        default=argparse.SUPPRESS,
        help="network, or a linear map, which is the easiest to read (default: mlp)",
    )
    fit.add_argument(
        "--suggest-names",
        action="store_true",
        help="name the components by the names that describe suggests; extract then writes "
        "them as the names of columns",
    )
    fit.add_argument("--quiet", action="store_true", help="do not show progress")


def _add_id(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--id",
        metavar="COLUMN",
        help="column to name rows by (default: rows are numbered from 1)",
    )


def _add_model_and_table(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", help=MODEL_HELP)
    command.add_argument(
        "input",
        help="CSV, Parquet or Arrow file, or a folder of files of one kind, with the columns "
        "that the model was fitted on",
    )


def _add_describe(commands: Any) -> None:
    describe = commands.add_parser(
        "describe",
        help="describe what each component means",
        description="Print for each component the tasks and columns that go with it, whether "
        "it can be a factor, its usage, and the rows where it is lowest and highest.",
    )
    describe.set_defaults(run=_describe)
    _add_model_and_table(describe)
    _add_id(describe)


def _add_score(commands: Any) -> None:
    score = commands.add_parser(
        "score",
        help="print how well each task is predicted",
        description="Print one score per task: R2 of measurements, D2 of counts, accuracy of "
        "classes beside that of the most frequent class, and the AUC of a task of two "
        "classes. Give rows that the model was not fitted on.",
    )
    score.set_defaults(run=_score)
    _add_model_and_table(score)


def _add_predict(commands: Any) -> None:
    predict = commands.add_parser(
        "predict",
        help="write predictions of all tasks",
        description="Write a table of predictions, with one column per task.",
    )
    predict.set_defaults(run=_predict)
    _add_model_and_table(predict)
    predict.add_argument(
        "output",
        type=Path,
        help="CSV or Parquet file to write, such as predictions.csv",
    )
    predict.add_argument(
        "--keep",
        nargs="+",
        default=(),
        metavar="COLUMN",
        help="columns to copy in front of the predictions, such as an id",
    )


def _add_report(commands: Any) -> None:
    report = commands.add_parser(
        "report",
        help="write one page of HTML about the model",
        description="Write one page of HTML that loads nothing: what each component means, "
        "whether it can be a factor, pictures, a score for each task, concerns about the data, "
        "settings and versions. Give rows that the model was not fitted on, with the columns "
        "of its tasks.",
    )
    report.set_defaults(run=_report)
    _add_model_and_table(report)
    report.add_argument(
        "output", type=Path, help="HTML file to write, such as fit.html"
    )
    _add_id(report)


def _add_extract(commands: Any) -> None:
    extract = commands.add_parser(
        "extract",
        help="write the features of a file of any size",
        description="Write the features of all rows, in shards. If the command is "
        "interrupted, run it again to resume; the result is byte-identical.",
    )
    extract.set_defaults(run=_extract)
    extract.add_argument(
        "model",
        help=MODEL_HELP,
    )
    extract.add_argument(
        "input",
        help=".npy, CSV, Parquet or Arrow file, or a folder of files of one kind",
    )
    extract.add_argument(
        "output", help="folder to write the shards and their manifest to"
    )
    extract.add_argument(
        "--format",
        choices=("npy", "csv", "parquet", "arrow"),
        default="npy",
        help="file format of the shards (default: %(default)s)",
    )
    extract.add_argument(
        "--batch-size",
        type=_or_auto(int),
        default="auto",
        help="rows to transform at a time, or auto (default: 16 MB of input)",
    )
    extract.add_argument(
        "--rows-per-shard",
        type=_or_auto(int),
        default="auto",
        help="rows per shard, or auto (default: 32 MB of features)",
    )
    extract.add_argument(
        "--keep",
        nargs="+",
        default=(),
        metavar="COLUMN",
        help="columns to copy in front of the features, such as an id; input and shards "
        "must be tables",
    )
    extract.add_argument("--quiet", action="store_true", help="do not show progress")


def _add_verify(commands: Any) -> None:
    verify = commands.add_parser(
        "verify", help="check that extracted features are complete and unchanged"
    )
    verify.set_defaults(run=_verify)
    verify.add_argument("output", help="folder that extract has written")
    verify.add_argument(
        "--model", help="also check that this model file wrote the features"
    )
    verify.add_argument(
        "--input", help="also check that the features are of this input"
    )


def _or_auto(kind: Any) -> Any:
    def read(text: str) -> Any:
        return text if text == "auto" else kind(text)

    read.__name__ = f"{kind.__name__} or auto"  # argparse shows it
    return read


def _demo(options: argparse.Namespace) -> None:
    from ._demo import run_demo

    run_demo(options.picture, sys.stdout, verbose=not options.quiet)


def _fit(options: argparse.Namespace) -> None:
    folder = options.model.parent
    writable = os.access(folder, os.W_OK) and folder.is_dir()
    if not writable or (options.model.exists() and not options.model.is_file()):
        # report it before the fit, not after
        raise OSError(
            f"model: the file {str(options.model)!r} cannot be written. Give a new or "
            "regular file in a writable folder."
        )
    task_types = _task_types(options.task_types, options.tasks)

    import joblib  # slow imports wait until the arguments are checked

    from ._replacing import replacing
    from .disentangler import SparseSharedDisentangler
    from .extraction.readers import read_table
    from .files.file_format import import_safetensors

    as_tensors = options.model.suffix.lower() not in PICKLES
    if as_tensors:
        import_safetensors()
    names = (*ESTIMATOR_OPTIONS, "encoder")
    given = {k: v for k, v in vars(options).items() if k in names}
    parameters = DEFAULTS | given
    dis = SparseSharedDisentangler(
        **parameters,
        task_types=task_types,
        verbose=int(not options.quiet),
    )
    X, Y_tasks = read_table(
        options.input, options.tasks, options.features, options.drop
    )
    print(
        f"{options.input}: {_some(len(X), 'row')}, {_some(len(options.tasks), 'task')} "
        f"({_few(options.tasks)}) and {_some(X.shape[1], 'feature')} ({_few(list(X))})",
        flush=True,
    )
    # An interrupt must not replace a model by a half-learned one.
    dis._ends_when_interrupted = True
    with redirect_stdout(sys.stderr):  # where progress belongs
        dis.fit(X, Y_tasks)
    del dis._ends_when_interrupted
    dis.set_params(verbose=0)
    can_describe = len(dis.active_components_) > 0 and len(X) > 1
    if options.suggest_names and can_describe:
        dis.set_component_names(dis.suggest_component_names(X))
    if as_tensors:
        dis.save(options.model)
    else:
        with replacing(options.model) as file:
            joblib.dump(dis, file)
    n_learned = sum(task.left_out is None for task in dis.tasks_)
    print(
        f"{options.model}: {_some(len(dis.active_components_), 'component')} for "
        f"{_some(n_learned, 'task')}, learned from {_some(X.shape[1], 'column')} and "
        f"{_some(len(X), 'row')}"
    )
    _print_scores(dis, X, Y_tasks, "on the training rows")
    if can_describe:
        _print_description(dis, _numbered(X))
    _print_concerns(dis, X, Y_tasks)


def _some(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _few(names: Sequence[str]) -> str:
    """All names, or the first and the last, where labels often stand."""
    if len(names) <= 6:
        return ", ".join(names)
    return f"{', '.join(names[:3])}, ..., {', '.join(names[-2:])}"


def _print_scores(dis: Any, X: Any, Y_tasks: Any, where: str) -> None:
    from .inspection._scores import SCORES_SAY, score_lines
    from .inspection._text import text_width

    lines = score_lines(dis, X, Y_tasks)
    lines.insert(0, ("task", f"score {where}", "most frequent class", "AUC"))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print("\n" + textwrap.fill(SCORES_SAY, text_width()))
    for line in lines:
        cells = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())


def _print_description(dis: Any, X: Any) -> None:
    from .inspection import describe

    print(f"\n{describe(dis, X)}")


def _print_concerns(dis: Any, X: Any, Y_tasks: Any) -> None:
    from .inspection import data_concerns
    from .inspection._data import fit_concerns
    from .inspection._text import text_width

    concerns = [*data_concerns(X, Y_tasks), *fit_concerns(dis)]
    if concerns:
        print("\nConcerns about the data:")
    for concern in concerns:
        print(textwrap.fill(f"- {concern}", text_width(), subsequent_indent="  "))


def _numbered(X: Any) -> Any:
    """Rows numbered from 1, as in errors about files."""
    return X.set_axis(range(1, len(X) + 1), axis=0)


def _table_of(
    options: argparse.Namespace, *, labelled: bool = False
) -> tuple[Any, Any, Any]:
    """The model, its feature columns, and the columns of its tasks or those to keep."""
    from .extraction.model import column_names, load_model
    from .extraction.readers import read_table
    from .extraction.tables import labels_like, labels_of_text
    from .validation import is_disentangler

    dis, _ = load_model(options.model)
    if not is_disentangler(dis):
        raise ValueError(
            f"model: {options.model!r} must hold a SparseSharedDisentangler; got "
            f"{type(dis).__name__}."
        )
    features = column_names(dis)
    if features is None:
        raise ValueError(
            f"model: {options.model!r} was fitted on rows without column names, so it cannot "
            "find its columns in a table. Fit it on a table."
        )
    kept = list(getattr(options, "keep", ()))
    if labelled:
        kept = [str(task.name) for task in dis.tasks_]
    row_name = getattr(options, "id", None)
    if row_name is not None and row_name not in kept:
        kept.append(row_name)
    features = [str(name) for name in features]
    # Features may be kept, too; a column that is named twice is left to the reader's error.
    more = [name for name in kept if name not in features or kept.count(name) > 1]
    classes = {str(task.name): task.classes for task in dis.tasks_}

    def labels(texts: Any) -> Any:
        if labelled and texts.name in classes:
            return labels_like(texts, classes[texts.name])
        return labels_of_text(texts)

    X, others = read_table(options.input, more, features, labels=labels)
    return dis, X, others.assign(**{n: X[n] for n in kept if n in features})[kept]


def _with_row_names(options: argparse.Namespace, X: Any, others: Any) -> Any:
    return _numbered(X) if options.id is None else X.set_axis(others[options.id])


def _describe(options: argparse.Namespace) -> None:
    dis, X, others = _table_of(options)
    _print_description(dis, _with_row_names(options, X, others))


def _score(options: argparse.Namespace) -> None:
    dis, X, Y_tasks = _table_of(options, labelled=True)
    _print_scores(dis, X, Y_tasks, f"on {_some(len(X), 'row')}")


def _report(options: argparse.Namespace) -> None:
    if options.output.suffix.lower() not in (".html", ".htm"):
        raise ValueError(
            f"output: the name must end in .html; got {options.output.name!r}."
        )
    dis, X, others = _table_of(options, labelled=True)
    Y_tasks = others[[str(task.name) for task in dis.tasks_]]
    dis.report(options.output, _with_row_names(options, X, others), Y_tasks)
    shown = _some(len(dis.active_components_), "component")
    print(f"{options.output}: report of {shown}")


def _predict(options: argparse.Namespace) -> None:
    kind = options.output.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise ValueError(
            f"output: the name must end in .csv or .parquet; got {options.output.name!r}."
        )
    import pandas as pd

    from ._replacing import replacing

    dis, X, kept = _table_of(options)
    predicted = dis.predict(X)
    if not isinstance(predicted, pd.DataFrame):
        names = [str(task.name) for task in dis.tasks_]
        predicted = pd.DataFrame(predicted, columns=names)
    twice = [name for name in kept if name in predicted]
    if twice:
        raise ValueError(
            f"keep: the column {twice[0]!r} has the name of a task, whose predictions take "
            "that name. Rename the column, or leave it out."
        )
    for place, task in enumerate(dis.tasks_):
        if task.has_whole_classes:  # write 1, as in the table, not 1.0
            whole = predicted.iloc[:, place].astype("Int64")
            predicted.isetitem(place, whole)
    table = pd.concat(
        [kept.reset_index(drop=True), predicted.reset_index(drop=True)], axis=1
    )
    with replacing(options.output) as file:
        if kind == ".csv":
            table.to_csv(file, index=False)
        else:
            table.to_parquet(file)
    print(
        f"{options.output}: predictions of {_some(predicted.shape[1], 'task')} for "
        f"{_some(len(X), 'row')}"
    )


def _task_types(
    given: Sequence[str] | None, tasks: Sequence[str]
) -> str | dict[str, str] | None:
    if given is None:
        return None
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    pairs = [text.rpartition("=") for text in given]
    types = {name: kind for name, _, kind in pairs}
    for name, _, kind in pairs:
        if name not in tasks:
            raise ValueError(
                "--task-types must be one type, or COLUMN=TYPE for columns among the "
                f"tasks; got {name or kind!r}."
            )
    return types


def _extract(options: argparse.Namespace) -> None:
    kind = Path(options.output).suffix.lower()
    if kind in ROWS:
        raise ValueError(
            f"output: {options.output!r} must be the name of a folder, for shards and their "
            f"manifest. Name it such as {options.output[: -len(kind)]!r}, and choose the format "
            "of the shards by --format."
        )

    from .extraction.extract import extract_features

    manifest = extract_features(
        options.model,
        options.input,
        options.output,
        format=options.format,
        batch_size=options.batch_size,
        rows_per_shard=options.rows_per_shard,
        keep=options.keep,
        verbose=not options.quiet,
    )
    print(f"{options.output}: {_summary(manifest)}")


def _verify(options: argparse.Namespace) -> None:
    from .extraction.extract import verify_features

    manifest = verify_features(options.output, model=options.model, input=options.input)
    print(f"{options.output}: {_summary(manifest)}, complete and unchanged")


def _summary(manifest: dict[str, Any]) -> str:
    shards = manifest["shards"]
    n_rows = sum(shard["rows"] for shard in shards)
    return (
        f"{_some(len(manifest['features']['names']), 'feature')} of "
        f"{_some(n_rows, 'row')} in {_some(len(shards), 'shard')}"
    )


if __name__ == "__main__":
    sys.exit(main())
