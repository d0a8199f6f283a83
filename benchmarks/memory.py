"""Suite "memory": peak memory of fit and transform against the number of rows.

python -m benchmarks.memory
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from benchmarks import _runs
from benchmarks._readme import FOLDER

RESULTS = FOLDER / "results" / "memory.jsonl"
N_FEATURES, N_TASKS, N_COMPONENTS, BATCH_SIZE = 64, 60, 16, 1024
ROWS = ("125000", "250000", "500000", "1000000")
STEP = 25_000
#: Share of the labels that are missing, where some are.
MISSING = 0.3
POLL_SECONDS = 0.005
MEGABYTE = 2**20

#: What is measured: where X is, and how it is fitted.
CASES = {
    "ndarray": "in memory, float64",
    "missing": "the same, 30 % of the labels missing",
    "memmap": "memory map, float32",
    "zarr": "zarr, float32, chunks of 16,384 rows",
    "partial_fit": "memory map, `partial_fit` on batches of 25,000 rows",
}

PAGE_TEXT = """# Memory

```bash
python -m benchmarks.memory
```

The tables have the peak memory in MiB, as the operating system reports it, against the number of
rows. There are {features} columns, {tasks} tasks, half of them binary, {components} components and
one epoch. Each fit runs in its own process. {machine}.

*X and Y in memory* (both float64). This is the peak of the resident size (`VmHWM`), less the memory
after import and less X and Y. For `transform`, its result is subtracted, too. The limit that the
package promises for `fit` is 500.

{in_memory}

*X and Y on a disk* (X float32; Y int8 in a memory map). This is the peak of the memory that is not
backed by a file (`RssAnon`, read every {poll:.0f} ms), less the memory after import. Pages of a
memory map are not counted, because the system can give them to other processes. Labels, four bytes
each, and components grow with the rows. The rest, in brackets, must not grow. With `partial_fit`
nothing grows.

{on_disk}
"""


def status(pid, *names):
    """Entries of /proc/PID/status, in MiB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return [int(re.search(rf"{name}:\s+(\d+)", text)[1]) / 1024 for name in names]


def make(rng, n_rows):
    """Rows, and labels of which each needs two columns, and noise."""
    X = rng.standard_normal((n_rows, N_FEATURES), dtype=np.float32)
    Y = np.empty((n_rows, N_TASKS), dtype=np.int8)
    for task in range(N_TASKS):
        value = X[:, task % 10] + X[:, (3 * task + 1) % 10]
        value += rng.standard_normal(n_rows, dtype=np.float32)
        Y[:, task] = value > 0 if task % 2 else np.round(20 * value.clip(-6, 6))
    return X, Y


def write(folder, case, n_rows):
    """Rows and labels on the disk, a part at a time."""
    rng = np.random.default_rng(0)
    Y = np.lib.format.open_memmap(
        folder / "Y.npy", "w+", dtype=np.int8, shape=(n_rows, N_TASKS)
    )
    if case == "zarr":
        import zarr

        shape = {"shape": (n_rows, N_FEATURES), "chunks": (16_384, N_FEATURES)}
        X = zarr.create_array(folder / "X.zarr", dtype=np.float32, **shape)
    else:
        X = np.lib.format.open_memmap(
            folder / "X.npy", "w+", dtype=np.float32, shape=(n_rows, N_FEATURES)
        )
    for start in range(0, n_rows, STEP):
        part = slice(start, start + STEP)
        X[part], Y[part] = make(rng, STEP)


def open_arrays(folder, case):
    Y = np.load(folder / "Y.npy", mmap_mode="r")
    if case == "zarr":
        import zarr

        return zarr.open_array(folder / "X.zarr", mode="r"), Y
    X = np.load(folder / "X.npy", mmap_mode="r")
    if case in ("memmap", "partial_fit"):
        return X, Y
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    if case == "missing":
        rng = np.random.default_rng(1)
        for column in Y.T:
            column[rng.random(len(column)) < MISSING] = np.nan
    return X, Y


def child(folder, case):
    """Fit and transform; say when each begins."""
    from skdisentangle import SparseSharedDisentangler

    warnings.simplefilter("ignore", ConvergenceWarning)
    if case == "zarr":
        import zarr  # noqa: F401 - what it takes by itself is not the fit's

    def phase(name):
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM restarts
        print(name, flush=True)

    peaks = {"import": status("self", "VmRSS")[0]}
    phase("open")
    X, Y = open_arrays(folder, case)
    dis = SparseSharedDisentangler(
        N_COMPONENTS, max_iter=1, batch_size=BATCH_SIZE, random_state=0
    )
    phase("fit")
    start = time.perf_counter()
    if case == "partial_fit":
        for first in range(0, len(X), STEP):
            dis.partial_fit(X[first : first + STEP], Y[first : first + STEP])
    else:
        dis.fit(X, Y)
    peaks["fit"] = status("self", "VmHWM")[0]
    seconds = time.perf_counter() - start
    phase("transform")
    features = dis.transform(X)
    peaks["transform"] = status("self", "VmHWM")[0]
    phase("end")
    print(json.dumps({"VmHWM": peaks, "seconds": seconds, "out": features.nbytes}))


def measure(case, row, seed):
    """Run a case in a process of its own, and watch it."""
    n_rows = int(row)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, case, n_rows)
        command = [sys.executable, "-m", "benchmarks.memory", "--child", case, name]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        lines, anonymous = [], {}

        def listen():
            lines.extend(iter(process.stdout.readline, ""))

        listener = threading.Thread(target=listen)
        listener.start()
        while listener.is_alive():
            phase = lines[-1].strip() if lines else "import"
            if phase == "end" or phase.startswith("{"):
                break
            anonymous.setdefault(phase, 0.0)
            anonymous[phase] = max(anonymous[phase], *status(process.pid, "RssAnon"))
            time.sleep(POLL_SECONDS)
        listener.join()
        if process.wait() != 0:
            raise RuntimeError(
                f"{case}, {n_rows} rows: exit status {process.returncode}"
            )
    found = json.loads(lines[-1])
    return {"case": case, "row": row, "seed": seed, "RssAnon": anonymous, **found}


def over(entry, phase):
    """Peak of a phase over what was there after import and must be there."""
    n_rows = int(entry["row"])
    if entry["case"] in ("ndarray", "missing"):
        given = n_rows * (N_FEATURES + N_TASKS) * 8
        peak = entry["VmHWM"][phase] - entry["VmHWM"]["import"]
        needed = (given + (phase == "transform") * entry["out"]) / MEGABYTE
        return peak - needed
    return entry["RssAnon"][phase] - entry["RssAnon"]["import"]


def cell(entry, phase):
    value = over(entry, phase)
    if entry["case"] in ("ndarray", "missing", "partial_fit") and phase == "fit":
        return f"{value:,.0f}"
    needed = entry["out"] / MEGABYTE
    if phase == "fit":
        needed = int(entry["row"]) * (N_TASKS + N_COMPONENTS) * 4 / MEGABYTE
    if entry["case"] in ("ndarray", "missing"):
        return f"{value:,.0f}"
    return f"{value:,.0f} ({value - needed:,.0f})"


def table(entries, cases):
    counts = sorted({int(entry["row"]) for entry in entries})
    lines = [
        "| X | | " + " | ".join(f"{count:,} rows" for count in counts) + " |",
        "|---|---|" + "---|" * len(counts),
    ]
    for case in cases:
        of_case = [entry for entry in entries if entry["case"] == case]
        of_case.sort(key=lambda entry: int(entry["row"]))
        for phase in ("fit", "transform"):
            cells = " | ".join(cell(entry, phase) for entry in of_case)
            lines.append(f"| {CASES[case]} | `{phase}` | {cells} |")
    return "\n".join(lines)


def page():
    entries = _runs.load(RESULTS)
    return PAGE_TEXT.format(
        features=N_FEATURES,
        tasks=N_TASKS,
        components=N_COMPONENTS,
        poll=1000 * POLL_SECONDS,
        machine=entries[0]["machine"],
        in_memory=table(entries, ("ndarray", "missing")),
        on_disk=table(entries, ("memmap", "zarr", "partial_fit")),
    )


def main():
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[3]), sys.argv[2])
        return
    _runs.main(
        __doc__,
        RESULTS,
        measure,
        {"case": list(CASES), "row": list(ROWS)},
        lambda case, row: (0,),
        lambda entries: table(entries, CASES),
    )


if __name__ == "__main__":
    main()
