"""Run all suites, one after the other: ``python -m benchmarks [--jobs N]``."""

from __future__ import annotations

import subprocess
import sys

from benchmarks._readme import SUITES

for suite in SUITES:
    subprocess.run(
        [sys.executable, "-m", f"benchmarks.{suite}", *sys.argv[1:]], check=True
    )
