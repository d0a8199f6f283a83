"""Suite "extraction": features from files to files, against the bare forward pass.

python -m benchmarks.extraction
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
import torch

from benchmarks._readme import machine, write_pages
from skdisentangle import SparseSharedDisentangler
from skdisentangle.extraction import extract_features
from skdisentangle.rows.inputs import MAX_CHUNK_ROWS

RESULTS = Path(__file__).parent / "results" / "extraction.json"
SEED, N_TIMES = 5000, 5
#: Name, columns, rows, kind of input, kind of output.
CASES = (
    ("64 columns, .npy to .npy", 64, 1_000_000, "npy", "npy"),
    ("512 columns, .npy to .npy", 512, 250_000, "npy", "npy"),
    ("64 columns, Parquet to Parquet", 64, 1_000_000, "parquet", "parquet"),
    ("64 columns, CSV to CSV", 64, 250_000, "csv", "csv"),
)
#: Rows of 64 columns in float32, for the memory.
MEMORY_ROWS = (250_000, 1_000_000, 4_000_000, 16_000_000)

PAGE_TEXT = """# Extraction of features from files to files

```bash
python -m benchmarks.extraction
```

`extract_features` with its defaults is compared with a bare forward pass. Extraction runs from
the file of the model to the last shard, and includes checksums and flushing to the disk. The bare
pass applies the same encoder in torch to a `.npy` memory map of the same rows, in chunks of
{chunk:,} rows, and writes to an array in memory. Rows are float32. The model is the default one
(hidden layers of 128 and 128, 20 components). All files are in the cache of the system. The two
alternate {times} times. One thread computes in each, and extraction has two more to read ahead
and to write. "Speed" is the time of the bare pass divided by that of extraction: median, and
range.

{machine}; {cores} cores, with a load of {load:.1f} processes at the start. Other processes slow
extraction more than the bare pass, because it has three threads.

| case | rows | extraction (rows/s) | bare pass (rows/s) | speed |
|---|---|---|---|---|
{rows}

The next table has the peak resident memory of a process that extracts, less its memory after the
imports, in MB (`VmHWM` of the operating system). Rows have 64 columns of float32, `.npy` to `.npy`.

| rows | input (MB) | peak (MB) |
|---|---|---|
{memory}
"""


def fitted(X):
    """The default model, hardly fitted: what it has learned does not change the time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dis = SparseSharedDisentangler(
            max_iter=1, sparsity=0, sharing=0, random_state=0
        )
        return dis.fit(X, X[:, :8])


def bare(dis, path):
    """Seconds of the forward pass over a memory map."""
    encoder = copy.deepcopy(dis.encoder_).float()
    start = time.perf_counter()
    rows = np.load(path, mmap_mode="r")
    out = np.empty((len(rows), len(dis.usage_)), dtype=np.float32)
    with torch.no_grad():
        for first in range(0, len(rows), MAX_CHUNK_ROWS):
            part = torch.from_numpy(np.array(rows[first : first + MAX_CHUNK_ROWS]))
            out[first : first + MAX_CHUNK_ROWS] = encoder(part).numpy()
    return time.perf_counter() - start, out


def extraction(folder, source, output):
    shutil.rmtree(folder / "features", ignore_errors=True)
    start = time.perf_counter()
    extract_features(
        folder / "model.joblib", folder / source, folder / "features", format=output
    )
    return time.perf_counter() - start


def write_table(X, path):
    import pyarrow as pa
    from pyarrow import csv, parquet

    table = pa.table({f"x{j}": column for j, column in enumerate(X.T)})
    if path.suffix == ".csv":
        csv.write_csv(table, path)
    else:
        parquet.write_table(table, path)


def run(case, n_columns, n_rows, kind, output):
    rng = np.random.default_rng(SEED)
    X = rng.normal(size=(n_rows, n_columns)).astype(np.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "rows.npy", X)
        if kind != "npy":
            write_table(X, folder / f"rows.{kind}")
        dis = fitted(X[:5000])
        joblib.dump(dis, folder / "model.joblib")
        del X
        _, expected = bare(dis, folder / "rows.npy")
        extraction(folder, f"rows.{kind}", output)
        if output == "npy":
            shards = sorted((folder / "features").glob("*.npy"))
            made = np.concatenate([np.load(shard) for shard in shards])
            np.testing.assert_allclose(made, expected, atol=1e-4)
        pairs = [
            (
                extraction(folder, f"rows.{kind}", output),
                bare(dis, folder / "rows.npy")[0],
            )
            for _ in range(N_TIMES)
        ]
    seconds, bare_seconds = map(list, zip(*pairs, strict=True))
    return {"case": case, "rows": n_rows, "seconds": seconds, "bare": bare_seconds}


def peak_memory(n_rows):
    """MB above imports, of a process of its own that extracts a file of zeros."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        X = np.random.default_rng(SEED).normal(size=(5000, 64)).astype(np.float32)
        joblib.dump(fitted(X), folder / "model.joblib")
        np.lib.format.open_memmap(
            folder / "rows.npy", mode="w+", dtype=np.float32, shape=(n_rows, 64)
        )
        command = [sys.executable, "-m", "benchmarks.extraction", "--memory", name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {"rows": n_rows, "input": n_rows * 256 / 1e6, "peak": float(done.stdout)}


def resident(name):
    """A figure of this process in /proc, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) * 1024 / 1e6


def measure_memory(folder):
    before = resident("VmRSS")
    extraction(folder, "rows.npy", "npy")
    print(resident("VmHWM") - before)


def line(result):
    ratios = np.divide(result["bare"], result["seconds"])
    rate = result["rows"] / np.median(result["seconds"])
    bare_rate = result["rows"] / np.median(result["bare"])
    return (
        f"| {result['case']} | {result['rows']:,} | {rate:,.0f} | {bare_rate:,.0f} "
        f"| {np.median(ratios):.2f} ({ratios.min():.2f}-{ratios.max():.2f}) |"
    )


def page():
    """The page of the suite, from the saved results; empty before there are any."""
    if not RESULTS.exists():
        return ""
    saved = json.loads(RESULTS.read_text())
    return PAGE_TEXT.format(
        chunk=MAX_CHUNK_ROWS,
        times=len(saved["results"][0]["seconds"]),
        machine=saved["machine"],
        cores=saved["cores"],
        load=saved["load"],
        rows="\n".join(map(line, saved["results"])),
        memory="\n".join(
            f"| {m['rows']:,} | {m['input']:,.0f} | {m['peak']:,.0f} |"
            for m in saved["memory"]
        ),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--memory", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--jobs", type=int, help="not looked at: one thing at a time")
    options = parser.parse_args()
    if options.memory:
        measure_memory(options.memory)
        return
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    results = []
    for case in CASES:
        results.append(run(*case))
        print(line(results[-1]), flush=True)
    memory = [peak_memory(n_rows) for n_rows in MEMORY_ROWS]
    print(memory)
    content = {
        "machine": machine(),
        "cores": os.cpu_count(),
        "load": load,
        "results": results,
        "memory": memory,
    }
    RESULTS.write_text(json.dumps(content, indent=1) + "\n")
    write_pages()


if __name__ == "__main__":
    main()
