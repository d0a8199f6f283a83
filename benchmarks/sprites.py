"""Suite "sprites": how long images of known factors take to draw.

python -m benchmarks.sprites --jobs 2
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from benchmarks._readme import machine, write_readme
from skdisentangle.datasets import make_sprites

RESULTS = Path(__file__).parent / "results" / "sprites.json"
N_SAMPLES, N_TIMES = 50_000, 5
CASES = {"grey": {}, "colour": {"color": True}}

SECTION = """## Drawing sprites

```bash
python -m benchmarks.sprites --jobs 2
```

Seconds for {n:,} images of 64 x 64 pixels with `make_sprites`, {times} times with another
seed each, on {jobs} threads; {machine}.

| images | median | slowest |
|---|---|---|
{rows}
"""


def seconds(seed, jobs, options):
    start = time.perf_counter()
    make_sprites(N_SAMPLES, random_state=seed, n_jobs=jobs, **options)
    return time.perf_counter() - start


def section():
    content = json.loads(RESULTS.read_text())
    rows = [
        f"| {case} | {np.median(taken):.2f} | {max(taken):.2f} |"
        for case, taken in content["seconds"].items()
    ]
    return SECTION.format(
        n=N_SAMPLES,
        times=N_TIMES,
        jobs=content["jobs"],
        machine=content["machine"],
        rows="\n".join(rows),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=1)
    jobs = parser.parse_args().jobs
    taken = {
        case: [seconds(seed, jobs, options) for seed in range(N_TIMES)]
        for case, options in CASES.items()
    }
    content = {"machine": machine(), "jobs": jobs, "seconds": taken}
    RESULTS.write_text(json.dumps(content, indent=1) + "\n")
    write_readme()


if __name__ == "__main__":
    main()
