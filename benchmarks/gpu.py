"""Suite "gpu": fits and ``transform`` on a GPU, where there is one.

    python -m benchmarks.gpu                  # the report, about two minutes
    python -m benchmarks.gpu --rounds 1       # for development

In each round a fit of ours on the GPU and the bare loop of the suite "speed", moved there,
run one after the other on the same data. The same fit on the CPU is timed once.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from benchmarks._readme import machine, write_pages
from benchmarks.speed import (
    BATCH,
    HIDDEN,
    WIDE,
    BareLoop,
    ratio,
    seconds,
    table,
    timed_fit,
)
from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors

RESULTS = Path(__file__).parent / "results" / "gpu.json"

#: Case: (options of the problem, options of the estimator).
CASES = {
    "20,000 x 64, 60 tasks": (WIDE, BATCH),
    "the same, batches of 4,096": (WIDE, BATCH | {"batch_size": 4096}),
    "the same, half of the labels missing": (WIDE | {"missing": 0.5}, BATCH),
    "the same, 1,000 tasks": (WIDE | {"n_tasks": 1000}, BATCH),
    "100,000 x 256, 60 tasks, batches of 4,096, layers of 512": (
        WIDE | {"n_samples": 100_000, "n_features": 256},
        BATCH | {"batch_size": 4096, "hidden_layer_sizes": (512, 512)},
    ),
}
ROUNDS, EPOCHS, CPU_EPOCHS = 3, 10, 3


def measure(rounds, device="cuda"):
    """Rows of all cases, round by round."""
    results = []
    for case, (options, settings) in CASES.items():
        problem = make_multitask_factors(random_state=0, **options)
        X, Y = problem.X.astype(np.float32), problem.Y
        ours = SparseSharedDisentangler(
            **settings, max_iter=EPOCHS, device=device, random_state=0
        )
        on_cpu = clone(ours).set_params(device="cpu", max_iter=CPU_EPOCHS)
        timed_fit(clone(ours).set_params(max_iter=2), X, Y)  # warms up
        cpu = timed_fit(on_cpu, X, Y)
        for _ in range(rounds):
            fitted = timed_fit(ours, X, Y)
            hidden = settings.get("hidden_layer_sizes", HIDDEN)
            bare = BareLoop(problem, ours.n_components, ours.batch_size, hidden, device)
            looped = bare.fit(EPOCHS)
            results.append(
                {
                    "case": case,
                    "batch": ours.batch_size,
                    "rows": len(X),
                    "ours": fitted,
                    "bare": looped,
                    "cpu": cpu,
                    "transform": list(seconds(ours.transform, X)),
                    "transform on the CPU": list(seconds(on_cpu.transform, X)),
                }
            )
        print(gpu_table(results).splitlines()[-1], flush=True)
    return results


def gpu_table(results):
    rows = []
    for case in dict.fromkeys(r["case"] for r in results):
        found = [r for r in results if r["case"] == case]
        ours, bare, cpu = (
            [r[name]["epoch"][0] for r in found] for name in ("ours", "bare", "cpu")
        )
        n_steps = -(-found[0]["rows"] // found[0]["batch"])
        rates = (
            np.median([r["rows"] / r[name][0] for r in found]) / 1e6
            for name in ("transform", "transform on the CPU")
        )
        cells = [case, str(len(found)), f"{found[0]['batch']:,}"]
        cells += [ratio(ours, bare), ratio(cpu, ours, 1)]
        cells += [f"{1e3 * np.median(ours) / n_steps:.2f}"]
        rows.append(cells + [f"{rate:.2f}" for rate in rates])
    heads = (
        "case, rounds, batch, epoch over the bare loop's, epoch on the CPU over ours, "
    )
    heads += "a step (ms), transform (million rows a second), the same on the CPU"
    return table(heads, rows)


PAGE_TEXT = """# On a GPU

```bash
python -m benchmarks.gpu
```

Fits of {epochs} epochs on one {gpu} are compared with the bare loop of
[the suite "speed"](speed.md) on the same GPU, and with ours on one thread of the same machine's
CPU. The steps of the bare loop are not recorded as CUDA graphs. Times are by the clock, and times
of an epoch are medians. "Step" is one step of our fit on the GPU. `transform` takes and returns
numpy arrays of float32.

{table}

{machine}.
"""


def page():
    """The page of the suite, from the saved results."""
    if not RESULTS.exists():
        return ""
    saved = json.loads(RESULTS.read_text())
    return PAGE_TEXT.format(
        epochs=EPOCHS,
        gpu=saved["gpu"],
        machine=saved["machine"],
        table=gpu_table(saved["results"]),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, help="fewer or more, for development")
    parser.add_argument(
        "--jobs", type=int, help="not looked at: times are taken one by one"
    )
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("No CUDA device here: the report stays as it is.")
        return
    torch.set_num_threads(1)
    with threadpool_limits(1):
        results = measure(options.rounds or ROUNDS)
    print(gpu_table(results))
    if options.rounds is None:
        saved = {
            "machine": machine(),
            "gpu": torch.cuda.get_device_name(),
            "results": results,
        }
        RESULTS.write_text(json.dumps(saved, indent=1) + "\n")
        write_pages()


if __name__ == "__main__":
    main()
