"""Runs of a suite: what is asked for on the command line, and what is kept of it.

A row is a dict with a value for each axis of the suite (``"case"``, say) and for
``"seed"``. Rows of the report are saved as lines of JSON as soon as they are made: a
report that was cut short goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os

from joblib import Parallel, delayed

from benchmarks._readme import machine, write_pages
from benchmarks._table_sets import add_cache, add_folder, use_folder


def load(path):
    """Saved rows; none before there are any."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def _save(path, rows):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _parser(doc, axes, *, reads_files=False, keeps_embeddings=False):
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    if reads_files:
        add_folder(parser)
    if keeps_embeddings:
        add_cache(parser)
    parser.add_argument(
        "--seeds",
        type=int,
        nargs=2,
        metavar=("FIRST", "STOP"),
        help="run these instead of those of the report, and save nothing",
    )
    for axis, values in axes.items():
        parser.add_argument(f"--{axis}s", nargs="+", choices=values, default=values)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--fresh", action="store_true", help="run these again")
    return parser


def _listed(axes, options, seeds):
    """Combinations asked for, in the order of the axes, with the seeds last."""
    jobs = [()]
    for axis in axes:
        jobs = [(*job, value) for job in jobs for value in getattr(options, f"{axis}s")]
    if options.seeds is not None:
        return [(*job, seed) for job in jobs for seed in range(*options.seeds)]
    return [(*job, seed) for job in jobs for seed in seeds(*job)]


def main(
    doc,
    path,
    run,
    axes,
    seeds,
    table,
    arguments=None,
    missing=None,
    kept=None,
    *,
    reads_files=False,
    keeps_embeddings=False,
):
    """The command of a suite.

    Parameters
    ----------
    doc : str
        Its first line says what the suite is.
    path : Path
        Where the rows of the report are.
    run : callable
        Gives a row, from a value of each axis and a seed.
    axes : dict of str to list of str
    seeds : callable
        Seeds of the report, from a value of each axis; none if that is not run.
    table : callable
        Gives the text that is printed at the end, from rows.
    arguments : list of str, optional
        Those of the process by default.
    missing : callable, optional
        From a value of each axis, says what is missing for it, or None. It is then named and
        left out, and saved rows of it stay.
    kept : callable, optional
        Seeds whose saved rows stay, from a value of each axis; those of the report by default.
    reads_files, keeps_embeddings : bool, default=False
        Whether the command takes the folder of the data, and one for embeddings.
    """
    parser = _parser(
        doc, axes, reads_files=reads_files, keeps_embeddings=keeps_embeddings
    )
    options = parser.parse_args(arguments)
    if reads_files:
        use_folder(parser, options.data)
    if keeps_embeddings and options.cache is not None:
        os.environ["SKDISENTANGLE_CACHE"] = options.cache  # for workers, too
    report = options.seeds is None
    jobs = _listed(axes, options, seeds)
    if missing is not None:
        reasons = {job: missing(*job[:-1]) for job in jobs}
        for reason in dict.fromkeys(filter(None, reasons.values())):
            print(reason)
        jobs = [job for job in jobs if reasons[job] is None]

    def key(row):
        return (*(row[axis] for axis in axes), row["seed"])

    rows = load(path) if report else []
    if options.fresh:
        rows = [row for row in rows if key(row) not in jobs]
    there = {key(row) for row in rows}
    found = Parallel(n_jobs=options.jobs, return_as="generator")(
        delayed(run)(*job) for job in jobs if job not in there
    )
    for row in found:
        rows.append(row | {"machine": machine()})
        if report:
            _save(path, rows)
    if report:
        everything = _listed(axes, _parser(doc, axes).parse_args([]), kept or seeds)
        rank = {job: number for number, job in enumerate(everything)}
        # A row of a case that is no more would stand in the table for ever.
        rows = sorted((r for r in rows if key(r) in rank), key=lambda r: rank[key(r)])
        _save(path, rows)
        write_pages()
    print(machine(), table(rows), sep="\n\n")
