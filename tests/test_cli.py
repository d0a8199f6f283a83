from __future__ import annotations

import io
import sys

import pytest

from skdisentangle import __version__
from skdisentangle._demo import ATTRIBUTES, HELD_OUT, run_demo
from skdisentangle.cli import main


def test_demo(tmp_path, capsys):
    picture = tmp_path / "new" / "picture.png"
    assert main(["demo", "--quiet", "--picture", str(picture)]) == 0
    out = capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 10_000
    lines = out.splitlines()
    for task in [*(f"is a {d}" for d in range(10)), *ATTRIBUTES]:
        row = [line for line in lines if line.startswith(task + " ")]
        assert len(row) == (0 if task == HELD_OUT else 1), task
    scores = {
        line.split(" (")[0]: [float(cell) for cell in line.split(")")[1].split()]
        for line in lines
        if line.startswith(("disentangled (", "PCA (", "LDA (", "raw pixels ("))
    }
    assert len(scores) == 4
    # ten digits from all labels, and the task held out from ten labels a class
    assert scores["disentangled"][0] > scores["PCA"][0]
    assert scores["disentangled"][3] > scores["raw pixels"][3]


def test_demo_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    out = io.StringIO()
    run_demo(tmp_path / "picture.png", out, verbose=False)
    assert "pip install 'skdisentangle[plots]'" in out.getvalue()
    assert not list(tmp_path.iterdir())


def test_a_picture_that_cannot_be_written(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(["demo", "--quiet", "--picture", str(blocked / "x.png")]) == 1
    assert "skdisentangle: " in capsys.readouterr().err


def test_version_and_usage(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.strip() == __version__
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
