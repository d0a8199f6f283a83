from __future__ import annotations

import pytest

memory = pytest.importorskip("benchmarks.memory")


def test_what_must_be_there_is_taken_off():
    """A million rows: X and Y as float64 take 946 MiB, labels and codes 290."""
    entry = {
        "row": "1000000",
        "out": 64 * 2**20,
        "VmHWM": {"import": 300, "fit": 1646, "transform": 1400},
        "RssAnon": {"import": 200, "fit": 600, "transform": 364},
    }
    in_memory = entry | {"case": "ndarray"}
    assert memory.over(in_memory, "fit") == pytest.approx(400, abs=0.1)
    assert memory.over(in_memory, "transform") == pytest.approx(90, abs=0.1)
    on_disk = entry | {"case": "memmap"}
    assert memory.cell(on_disk, "fit") == "400 (110)"
    assert memory.cell(on_disk, "transform") == "164 (100)"
    lines = memory.table([in_memory, on_disk], ("ndarray", "memmap")).splitlines()
    assert "1,000,000 rows" in lines[0]
    assert len(lines) == 2 + 4
