"""Do the tests of the numerics notice when the code is changed?

Cosmic Ray (``pip install cosmic-ray==8.7.0``; no extra of ours has it) says how the modules
can be changed in one place: an operator, a number, a condition, a loop left out. Of these
mutants a seeded sample is tested, each in a process of its own that stops at the first
failure::

    python -m tests.mutation --seed 0

Left out are annotations, aliases of types and protocols: nothing evaluates them, or all
they can do is fail on import. No file is changed: a process imports the mutant in place
of the module. What takes long, importing torch and all else, is done once, before the
processes are forked; so this is for Linux. Time is limited by what a process
computes, whatever else the machine does.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import functools
import gc
import multiprocessing
import os
import random
import resource
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from multiprocessing.connection import wait
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

import pytest
import torch
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).parent.parent
TYPES = "tests/tasks/types/test_protocol.py"
#: Modules that are changed, and the tests that are the first to look.
MODULES = {
    "tasks.blocks": "tests/tasks/test_blocks.py",
    "tasks.task_set": "tests/tasks/test_task_set.py",
    "tasks.weights": "tests/tasks/test_task_set.py",
    "tasks.types.base": TYPES,
    "tasks.types._classes": TYPES,
    "tasks.types.binary": TYPES,
    "tasks.types.multiclass": TYPES,
    "tasks.types.regression": TYPES,
    "solvers.penalties": "tests/solvers/test_penalties.py",
    "solvers.proximal": "tests/solvers/test_proximal.py",
}
TESTS = list(dict.fromkeys(MODULES.values()))
OPTIONS = ["-q", "-q", "-p", "no:cacheprovider"]

#: Limits of a process: seconds of computing, bytes of address space.
SECONDS, MEMORY = 30, 8 * 2**30


@functools.cache
def source(module: str) -> str:
    """Code of a module when it was first asked for: files may be edited meanwhile."""
    return (ROOT / path(module)).read_text(encoding="utf-8")


def path(module: str) -> str:
    return f"skdisentangle/{module.replace('.', '/')}.py"


@dataclass(frozen=True)
class Mutant:
    """A module with one change; a module without any has no operator."""

    module: str
    operator: str | None = None
    occurrence: int = 0

    def code(self) -> str:
        if self.operator is None:
            return source(self.module)
        operator = get_operator(self.operator)()
        return mutate_code(source(self.module), operator, self.occurrence)

    def diff(self) -> str:
        name = path(self.module)
        lines = difflib.unified_diff(
            source(self.module).splitlines(),
            self.code().splitlines(),
            *(name, f"{name} by {self.operator}"),
            n=2,
            lineterm="",
        )
        return "\n".join(lines)


def of_types_only(code: str) -> list[ast.AST]:
    """Parts of a module that are there for type checkers."""
    tree = ast.parse(code)
    found: list[ast.AST | None] = [
        part.value
        for part in tree.body
        if isinstance(part, ast.Assign) and isinstance(part.value, ast.Subscript)
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            found.append(node.returns)
        elif isinstance(node, ast.arg | ast.AnnAssign):
            found.append(node.annotation)
        elif isinstance(node, ast.ClassDef) and "Protocol" in map(
            ast.unparse, node.bases
        ):
            found.append(node)
    return [node for node in found if node is not None]


def mutants(module: str) -> Iterator[Mutant]:
    """All mutants of a module, but for those of its types."""
    code = source(module)
    spans = [
        ((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset))
        for node in of_types_only(code)
    ]
    tree = get_ast(code)
    for name in sorted(operator_names()):
        operator = get_operator(name)
        if operator.arguments():
            continue
        places = [
            place
            for node in ast_nodes(tree)
            for place in operator().mutation_positions(node)
        ]
        for occurrence, (start, _) in enumerate(places):
            if not any(first <= start < last for first, last in spans):
                yield Mutant(module, name, occurrence)


def forget_ours() -> None:
    """Let what is imported from this repository be imported anew."""
    for name in list(sys.modules):
        if name.split(".")[0] in ("skdisentangle", "tests"):
            del sys.modules[name]


def run_tests(mutant: Mutant) -> None:
    """End this process with the exit status of the tests on a mutant."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    code, get_code = mutant.code(), SourceFileLoader.get_code

    def get_mutant(loader, name):
        if name == f"skdisentangle.{mutant.module}":
            return compile(code, loader.path, "exec")
        return get_code(loader, name)

    SourceFileLoader.get_code = get_mutant
    forget_ours()
    log = os.open(os.devnull, os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    own = MODULES[mutant.module]
    tests = [own, *(other for other in TESTS if other != own)]
    os._exit(pytest.main(["-x", "--assert=plain", *OPTIONS, *tests]))


def outcomes(sample: Sequence[Mutant], n_workers: int) -> Iterator[tuple[Mutant, str]]:
    """What became of each mutant, in the order in which they end."""
    context = multiprocessing.get_context("fork")
    waiting, running = list(reversed(sample)), {}
    while waiting or running:
        while waiting and len(running) < n_workers:
            mutant = waiting.pop()
            process = context.Process(target=run_tests, args=(mutant,))
            process.start()
            running[process.sentinel] = mutant, process
        for sentinel in wait(list(running)):
            mutant, process = running.pop(sentinel)
            process.join()
            if process.exitcode == -signal.SIGXCPU:
                yield mutant, "out of time"
            else:
                yield mutant, "killed" if process.exitcode else "survived"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--size", type=int, default=200, help="of the sample")
    parser.add_argument("--workers", type=int, default=2, help="tests at a time")
    options = parser.parse_args()
    os.chdir(ROOT)
    # Imports what the tests import, in the end sympy; none of them is run in this process.
    torch.testing.assert_close(torch.ones(1), torch.ones(1))
    pytest.main(["--collect-only", *OPTIONS, *TESTS])
    gc.freeze()  # what is here stays, and need not be looked at in each process
    for _, outcome in outcomes([Mutant(next(iter(MODULES)))], 1):
        if outcome != "survived":
            sys.exit("The tests fail on the code as it is.")
    every = [mutant for module in MODULES for mutant in mutants(module)]
    sample = random.Random(options.seed).sample(every, options.size)
    count: Counter[str] = Counter()
    for number, (mutant, outcome) in enumerate(outcomes(sample, options.workers), 1):
        count[outcome] += 1
        if outcome == "survived":
            print(f"\n{mutant.diff()}\n", flush=True)
        if number % 20 == 0:
            print(f"{number} of {options.size}: {dict(count)}", flush=True)
    print(
        f"seed {options.seed}: {options.size} of {len(every)} mutants; "
        + ", ".join(f"{count[k]} {k}" for k in ("killed", "out of time", "survived"))
    )


if __name__ == "__main__":
    main()
