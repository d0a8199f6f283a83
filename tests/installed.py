"""What a user of the wheel alone has; run by ``.ci/installed``, without any extra.

Called with the files of a release, an sdist and a wheel, in a folder where the package can
only be found if it is installed.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import pkgutil
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import skdisentangle
from skdisentangle import SparseSharedDisentangler

CORE = {"numpy", "scipy", "scikit-learn", "joblib", "torch"}

#: Imported by an extra each, and so missing here.
OPTIONAL = (
    "dask",
    "h5py",
    "matplotlib",
    "onnx",
    "onnxscript",
    "pandas",
    "PIL",
    "polars",
    "pyarrow",
    "rich",
    "safetensors",
    "sentence_transformers",
)

IN_SDIST = {
    "CHANGELOG.md",
    "CITATION.cff",
    "LICENSE",
    "PKG-INFO",
    "README.md",
    "pyproject.toml",
    "setup.cfg",
    "skdisentangle/py.typed",
}


def check_files(files: list[Path]) -> None:
    """Sdist and wheel hold what they must, and nothing else."""
    (sdist,) = [path for path in files if path.name.endswith(".tar.gz")]
    (wheel,) = [path for path in files if path.suffix == ".whl"]
    with tarfile.open(sdist) as archive:
        names = {m.name.partition("/")[2] for m in archive if m.isfile()}
    assert names >= IN_SDIST, f"missing: {IN_SDIST - names}"
    folders = {name.partition("/")[0] for name in names if "/" in name}
    assert folders == {"skdisentangle", "skdisentangle.egg-info"}, folders

    with zipfile.ZipFile(wheel) as archive:
        built = set(archive.namelist())
    info = f"skdisentangle-{skdisentangle.__version__}.dist-info"
    assert {name.partition("/")[0] for name in built} == {"skdisentangle", info}
    package = {name for name in names if name.startswith("skdisentangle/")}
    assert {name for name in built if name.startswith("skdisentangle/")} == package
    assert f"{info}/licenses/LICENSE" in built


def check_metadata() -> None:
    """The metadata says what an index shows and an installer needs."""
    found = importlib.metadata.metadata("skdisentangle")
    assert found["Version"] == skdisentangle.__version__
    assert found["License-Expression"] == "BSD-3-Clause"
    assert found["Description-Content-Type"] == "text/markdown"
    assert found.get_payload().startswith("# skdisentangle\n")
    needs = [text for text in found.get_all("Requires-Dist") if "extra ==" not in text]
    assert {text.partition(">=")[0] for text in needs} == CORE, needs
    for name in OPTIONAL:
        # else that nothing needs them would show nothing
        assert importlib.util.find_spec(name) is None, f"{name} is installed"


def check_import() -> None:
    """Each module can be imported, from where it was installed."""
    place = Path(skdisentangle.__file__)
    assert Path(sys.prefix) in place.parents, place
    for _, name, _ in pkgutil.walk_packages(skdisentangle.__path__, "skdisentangle."):
        importlib.import_module(name)


def check_fit(X: Any, Y: Any) -> SparseSharedDisentangler:
    """A fit, a transform, a pipeline."""
    dis = SparseSharedDisentangler(4, random_state=0).fit(X, Y)
    assert dis.transform(X).shape == (len(X), 2)
    pipe = make_pipeline(
        SparseSharedDisentangler(4, random_state=0), LogisticRegression()
    )
    pipe.fit(X, Y[:, 1], sparseshareddisentangler__Y_tasks=Y)
    assert pipe.score(X, Y[:, 1]) > 0.9
    return dis


def command(*arguments: Any) -> subprocess.CompletedProcess[str]:
    """Run the console script."""
    script = Path(sys.prefix) / "bin" / "skdisentangle"
    return subprocess.run(
        [script, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def check_command(dis: SparseSharedDisentangler, X: Any, folder: Path) -> None:
    """The console script does what needs no extra, and says what needs one."""
    import joblib

    done = command("--version")
    assert done.stdout == f"{skdisentangle.__version__}\n", done
    joblib.dump(dis, folder / "model.joblib")
    np.save(folder / "rows.npy", X)
    job = folder / "model.joblib", folder / "rows.npy", folder / "features"
    done = command("extract", *job)
    assert done.returncode == 0, done.stderr
    written = np.load(folder / "features" / "part-000000.npy")
    np.testing.assert_array_equal(written, dis.transform(X))
    done = command("verify", folder / "features")
    assert done.returncode == 0, done.stderr
    done = command("demo", "--quiet", "--picture", folder / "demo.png")
    assert done.returncode == 0, done.stderr
    assert "pip install 'skdisentangle[plots]'" in done.stdout

    (folder / "table.csv").write_text("a,b\n1,2\n")
    done = command("fit", folder / "table.csv", folder / "model.joblib", "--tasks", "b")
    assert done.returncode == 1
    assert "pip install 'skdisentangle[parquet]'" in done.stderr
    assert "Traceback" not in done.stderr


def check_hints(dis: SparseSharedDisentangler, X: Any, Y: Any, folder: Path) -> None:
    """What needs an extra says how to install it."""
    from skdisentangle.backbones import ImageEmbedder, TextEmbedder
    from skdisentangle.datasets import fetch_shapes3d, read_images
    from skdisentangle.extraction import extract_features
    from skdisentangle.inspection import (
        IdentifiabilityDisplay,
        InputEffectDisplay,
        LossCurveDisplay,
        TaskComponentDisplay,
        UsageDisplay,
    )

    paths = folder / "model.joblib", folder / "rows.npy", folder / "other"
    saved = Path(__file__).parent / "data" / "partial.safetensors"
    (folder / "a.png").write_bytes(b"no image")
    (folder / "text").mkdir()
    images = ImageEmbedder(torch.nn.Conv2d(3, 2, 3), image_size=8)
    hints: list[tuple[str, Callable[[], Any]]] = [
        ("files", lambda: dis.save(folder / "model.safetensors")),
        ("files", lambda: SparseSharedDisentangler.load(saved)),
        ("onnx", lambda: dis.to_onnx(folder / "model.onnx")),
        ("parquet", lambda: extract_features(*paths, format="parquet")),
        ("plots", lambda: TaskComponentDisplay.from_estimator(dis)),
        ("plots", lambda: UsageDisplay.from_estimator(dis)),
        ("plots", lambda: LossCurveDisplay.from_estimator(dis)),
        ("plots", lambda: InputEffectDisplay.from_estimator(dis, X)),
        ("plots", lambda: IdentifiabilityDisplay.from_estimator(dis, X)),
        ("images", lambda: read_images([folder / "a.png"], size=8)),
        ("datasets", lambda: fetch_shapes3d(data_home=folder)),
        ("backbones", lambda: images.transform([folder / "a.png"])),
        ("backbones", lambda: TextEmbedder(folder / "text").transform(["a"])),
    ]
    for extra, call in hints:
        said = f"nothing, though it needs the extra {extra}"
        try:
            call()
        except ImportError as error:
            said = str(error)
        assert f"pip install 'skdisentangle[{extra}]'" in said, said
    assert not (folder / "other").exists()


def main(files: list[str]) -> None:
    """Check all, and say so."""
    warnings.simplefilter("error")
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(300, 2))
    X = factors @ rng.normal(size=(2, 5))
    Y = np.column_stack([factors[:, 0], factors[:, 1] > 0, factors[:, 1]])
    check_files([Path(name) for name in files])
    check_metadata()
    check_import()
    with tempfile.TemporaryDirectory() as name:
        dis = check_fit(X, Y)
        check_command(dis, X, Path(name))
        check_hints(dis, X, Y, Path(name))
    print(f"skdisentangle {skdisentangle.__version__}, installed alone, does its work")


if __name__ == "__main__":
    main(sys.argv[1:])
