"""Kill extractions at random instants, and see whether they are continued to the bit.

    python -m tests.kill_and_resume FOLDER [--kills N] [--seed S]

FOLDER holds ``model.joblib`` and ``X.npy``. Each extraction runs in a process of its own,
forked from this one, which has everything imported. Half of them end at a line of the
package's code drawn at random, in whichever thread reaches it; half after a random time,
perhaps in the middle of a write. After each kill all files that have their names must be
whole; when one run at last goes through, the output must be that of an uninterrupted run.
Prints a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

from skdisentangle import _replacing, extraction

CODE = {_replacing.__file__, *map(str, Path(extraction.__file__).parent.glob("*.py"))}


class Tracer:
    """Counts lines of the package's code; kills the process at one of them."""

    def __init__(self, fatal=None):
        self.count, self.fatal = 0, fatal

    def __call__(self, frame, event, argument):
        if frame.f_code.co_filename not in CODE:
            return None
        if event == "line":
            self.count += 1
            if self.count == self.fatal:
                os.kill(os.getpid(), signal.SIGKILL)
        return self

    def __enter__(self):
        threading.settrace(self)
        sys.settrace(self)
        return self

    def __exit__(self, *error):
        sys.settrace(None)
        threading.settrace(None)


def extract(folder, output):
    extraction.extract_features(
        folder / "model.joblib",
        folder / "X.npy",
        output,
        batch_size=8,
        rows_per_shard=20,
    )


def killed(folder, output, line=None, seconds=None):
    """Whether an extraction in a forked process was killed before its end."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with Tracer(line):
                extract(folder, output)
            status = 0
        finally:
            os._exit(status)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        assert os.WEXITSTATUS(status) == 0, "an extraction ended in an error"
    return os.WIFSIGNALED(status)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    folder, output = options.folder, options.folder / "killed"

    with Tracer() as tracer:
        start = time.monotonic()
        extract(folder, folder / "whole")
        seconds = time.monotonic() - start
    whole = contents(folder / "whole")

    n_kills = n_outputs = n_partial = 0
    while n_kills < options.kills:
        shutil.rmtree(output, ignore_errors=True)
        while True:
            by_line = draw.random() < 0.5
            if not killed(
                folder,
                output,
                line=draw.randint(1, tracer.count) if by_line else None,
                seconds=None if by_line else draw.uniform(0, seconds),
            ):
                break
            n_kills += 1
            if not output.exists():
                continue  # killed before its first file
            left = contents(output)
            n_partial += any(name.endswith(".tmp") for name in left)
            for name, content in left.items():
                if name.startswith("part"):
                    assert content == whole[name], f"{name} is not whole"
        assert contents(output) == whole, "an output differs"
        n_outputs += 1
    report = {
        "kills": n_kills,
        "kills_within_a_write": n_partial,
        "outputs": n_outputs,
        "shards": len(whole) - 1,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
