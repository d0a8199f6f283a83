"""The suite on GPUs, whose device may be any: rows of all cases, a table, a section."""

from __future__ import annotations

import json
import sys

import pytest
import torch

suite = pytest.importorskip("benchmarks.gpu")


def test_rounds_of_a_case(monkeypatch):
    small = {"n_samples": 300, "n_features": 8, "n_tasks": 6}
    settings = {"n_components": 4, "batch_size": 64, "hidden_layer_sizes": (8,)}
    monkeypatch.setattr(suite, "CASES", {"small": (small, settings)})
    rows = suite.measure(2, device="cpu")
    assert [row["case"] for row in rows] == ["small", "small"]
    assert all(row[name]["epoch"][0] > 0 for row in rows for name in ("ours", "bare"))
    assert suite.gpu_table(rows).splitlines()[2].startswith("| small | 2 | 64 |")


def test_the_page_has_a_section_where_it_was_measured(tmp_path, monkeypatch):
    def taken(x):
        return {"epoch": [x, x], "whole": [x, x]}

    row = {"case": "a case", "batch": 10, "rows": 100}
    row |= {"ours": taken(0.1), "bare": taken(0.2), "cpu": taken(0.5)}
    row |= {"transform": [1e-4, 1e-4], "transform on the CPU": [2e-4, 2e-4]}
    monkeypatch.setattr(suite, "RESULTS", tmp_path / "gpu.json")
    assert suite.page() == ""
    saved = {"machine": "a machine", "gpu": "some GPU", "results": [row]}
    suite.RESULTS.write_text(json.dumps(saved))
    section = suite.page()
    assert "| 0.50 (0.50-0.50) | 5.0 (5.0-5.0) | 10.00 | 1.00 | 0.50 |" in section
    assert "on one some GPU" in section
    assert section.endswith("a machine.\n")


def test_without_a_gpu_the_report_stays(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(suite, "RESULTS", tmp_path / "gpu.json")
    monkeypatch.setattr(sys, "argv", ["gpu"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    suite.main()
    assert "No CUDA device" in capsys.readouterr().out
    assert not suite.RESULTS.exists()
