"""Suite "ablations": what each piece of the method does, by leaving it out.

    python -m benchmarks.ablations --jobs 2                # the report, about 15 minutes
    python -m benchmarks.ablations --seeds 100 101 --jobs 2    # for development

Problems and scores are those of the suite "method".
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from benchmarks import _plain_l1, method
from benchmarks._rotations import TURNED
from benchmarks._runs import load, main
from skdisentangle.fitting import all_rows, steps, training
from skdisentangle.solvers.basis import shears

RESULTS = Path(__file__).parent / "results" / "ablations.jsonl"
REPORT_SEEDS = range(5000, 5003)

CASES = (
    "rho 0.9, 24 components",
    "80 labelled rows a task",
    "12 tasks",
    "20% of labels wrong",
)


def _unsolved(*args, penalised, **options):
    """Heads of the last batches stand for those of all rows until the fit ends."""
    if penalised or "part" in options:
        _SOLVE_ALL(*args, penalised=penalised, **options)


_SOLVE_ALL = all_rows._solve_all


def _nothing_through_heads(_, codes, *__, **___):
    """The heads' part of the gradient, as if they did not follow the codes."""
    return torch.zeros_like(codes[:, :-1])


UNPENALISED = ("alternating", {"sparsity": 0.0, "sharing": 0.0}, ())

#: What is made of the components of a network without penalties.
THEN = {f"no penalties, {name}": then for name, then in TURNED.items()}

#: Name: (solver, parameters of the estimator, what is replaced where by what).
VARIANTS = {
    "defaults": ("alternating", {}, ()),
    "no sharing": ("alternating", {"sharing": 0.0}, ()),
    "no penalties": UNPENALISED,
    **dict.fromkeys(THEN, UNPENALISED),
    "plain L1": ("alternating", {}, _plain_l1.REPLACED),
    "few labels not penalised more": (
        "alternating",
        {},
        ((all_rows, "few_labels_factor", torch.ones_like),),
    ),
    "no change of basis": (
        "alternating",
        {},
        ((training, "change_basis", lambda *_, **__: False),),
    ),
    "penalties from the start, no change of basis": (
        "alternating",
        {},
        (
            (training, "change_basis", lambda *_, **__: False),
            (training, "STAGES", (0.0, *training.STAGES[1:])),
        ),
    ),
    "basis from the heads of the last batches": (
        "alternating",
        {},
        ((all_rows, "_solve_all", _unsolved),),
    ),
    "columns of the basis not exchanged": (
        "alternating",
        {},
        ((shears, "exchanged", lambda _, columns: columns),),
    ),
    "no look at uncorrelated bases": (
        "alternating",
        {},
        ((all_rows, "uncorrelated_basis", lambda *_: None),),
    ),
    "pairs not settled": (
        "alternating",
        {},
        ((all_rows, "settled_basis", lambda *_: None),),
    ),
    'solver="bilevel"': ("bilevel", {}, ()),
    'solver="bilevel", first-order': (
        "bilevel",
        {},
        ((steps, "implicit_gradient", _nothing_through_heads),),
    ),
    'solver="bilevel", 10 inner steps': (
        "bilevel",
        {},
        ((steps, "SUPPORT_STEPS", 10),),
    ),
}


def run(variant, case, seed):
    solver, changes, replaced = VARIANTS[variant]
    with ExitStack() as stack:
        for place, name, value in replaced:
            stack.enter_context(patch.object(place, name, value))
        row = method.run(case, solver, seed, THEN.get(variant), **changes)
    return row | {"variant": variant}


def table(results):
    lines = ["| | " + " | ".join(CASES) + " |", "|---" * (len(CASES) + 1) + "|"]
    for variant in VARIANTS:
        cells = []
        for case in CASES:
            rows = [r for r in results if (r["variant"], r["case"]) == (variant, case)]
            if not rows:
                cells.append("-")
                continue
            d = [r["disentanglement"] for r in rows]
            active = sorted({r["active"] for r in rows})
            between = (
                f"{active[0]}" if len(active) == 1 else f"{active[0]} to {active[-1]}"
            )
            nonzeros = np.median([r["nonzeros"] for r in rows])
            cells.append(
                f"{np.median(d):.3f} ({min(d):.3f}); {between}; {nonzeros:.2f}"
            )
        if set(cells) != {"-"}:
            lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


PAGE_TEXT = """# What each piece of the method does

```bash
python -m benchmarks.ablations --jobs 2
```

Each row leaves out or replaces one piece of the method, on some of the problems of the suite
"method". A cell has three numbers: D, as median (worst) over {number} seeds; the number of active
components, where 6 are needed; and the number of nonzero coefficients, divided by the true number.
"Plain L1" shrinks large coefficients as much as small ones. "First-order" leaves out the gradient
through the heads. Rows with a rotation (varimax or promax) or FastICA apply it to the components
of a fit without penalties. These rows are told that there are six factors. The 12 tasks are drawn
without checking that their supports tell all factors apart.

Seeds from {seed}; {machine}.

{table}
"""


def page():
    """The page of the suite, from the saved results."""
    rows = load(RESULTS)
    if not rows:
        return ""
    numbers = {r["seed"] for r in rows}
    return PAGE_TEXT.format(
        number=len(numbers),
        seed=min(numbers),
        machine=rows[-1]["machine"],
        table=table(rows),
    )


def seeds(variant, case):
    """Seeds of the report."""
    return REPORT_SEEDS


if __name__ == "__main__":
    main(
        __doc__,
        RESULTS,
        run,
        {"variant": list(VARIANTS), "case": list(CASES)},
        seeds,
        table,
    )
