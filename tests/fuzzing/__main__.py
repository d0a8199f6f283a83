"""``python -m tests.fuzzing --cases 10000``: many random cases, and what became of them."""

from __future__ import annotations

import argparse
import ast
import shlex
import sys
import traceback
from collections import Counter
from pathlib import Path

import hypothesis

from .properties import PROPERTIES

__all__ = ["main", "run"]

#: How the cases are dealt out: those that are quick get more.
SHARES = {"labels": 0.3, "fit": 0.07, "use": 0.18, "load": 0.35, "cli": 0.1}

#: Bytes of address space that the cases may take on top of what is there at the start.
MORE_MEMORY = 4 * 2**30

#: Failures that are shown of each property, each from another place of the code.
MOST_SHOWN = 20


def main(arguments=None):
    """Run the command; the status is 1 if a case failed."""
    options = _parser().parse_args(arguments)
    names = list(PROPERTIES) if options.only is None else [options.only]
    if options.case is not None:
        if options.only is None:
            raise SystemExit("--case needs --only, the property that it is a case of")
        print(PROPERTIES[options.only][1](ast.literal_eval(options.case)))
        return 0
    _limit_memory()
    n_failed = 0
    for name in names:
        share = SHARES[name] if options.only is None else 1.0
        n_cases = max(1, round(share * options.cases))
        ends, failures = run(name, n_cases, options.seed, progress=True)
        n_failed += sum(map(len, failures.values()))
        _report(name, ends, failures)
    return int(n_failed > 0)


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzzing", description="Try random input."
    )
    parser.add_argument("--cases", type=int, default=1000, help="in all")
    parser.add_argument("--seed", type=int, default=0, help="other cases for another")
    parser.add_argument("--only", choices=list(PROPERTIES), help="one property only")
    parser.add_argument("--case", help="run this case of --only, and show its error")
    return parser


def run(name, n_cases, seed, progress=False):
    """Run cases of a property.

    Returns
    -------
    ends : Counter
        How many cases ended how.
    failures : dict
        For each error and place in the code, pairs of case and error.
    """
    strategy, check = PROPERTIES[name]
    ends, failures = Counter(), {}

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=n_cases,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategy)
    def each(case):
        try:
            ends[check(case)] += 1
        except Exception as error:
            ends["failed"] += 1
            failures.setdefault(_place(error), []).append((case, error))
        if progress and ends.total() % max(1, n_cases // 20) == 0:
            print(f"{name}: {ends.total()} of {n_cases}", file=sys.stderr, flush=True)

    each()
    return ends, failures


def _place(error):
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return type(error).__name__, frame.filename, frame.lineno


def _report(name, ends, failures):
    n_failed, n_done = ends["failed"], ends["done"] + ends["status 0"]
    print(f"{name}: {ends.total()} cases, {n_done} accepted, {n_failed} failed")
    for end, count in ends.most_common():
        print(f"    {count:6} {end}")
    for (kind, file, line), found in list(failures.items())[:MOST_SHOWN]:
        case, error = min(found, key=lambda pair: len(repr(pair[0])))
        print(f"  {len(found)} times {kind} at {file}:{line}: {error!s:.300}")
        text = shlex.quote(repr(case))
        print(f"    python -m tests.fuzzing --only {name} --case {text}")


def _limit_memory():
    """Have allocations beyond all measure fail, where the system can."""
    if sys.platform != "linux":
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MORE_MEMORY
    resource.setrlimit(
        resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1])
    )


if __name__ == "__main__":
    sys.exit(main())
