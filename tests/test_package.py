from __future__ import annotations

import configparser
import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import skdisentangle

MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(skdisentangle.__path__, "skdisentangle.")
]
README = Path(__file__).parent.parent / "README.md"


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_public_names_exist_and_are_documented(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for public in getattr(module, "__all__", []):
        thing = getattr(module, public)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            assert thing.__doc__, f"{name}.{public} has no docstring"


def test_every_parameter_and_attribute_is_documented():
    cls = skdisentangle.SparseSharedDisentangler
    text = inspect.getdoc(cls)
    for parameter in inspect.signature(cls).parameters:
        assert re.search(rf"^{parameter} : ", text, flags=re.MULTILINE), parameter


def test_the_lowest_versions_are_those_of_the_bounds():
    folder = README.parent
    if not (folder / "setup.cfg").exists():
        pytest.skip("an installed package has no setup.cfg")
    config = configparser.ConfigParser()
    config.read(folder / "setup.cfg")
    needs = config["options"]["install_requires"]
    needs += config["options.extras_require"]["test"]
    bounds = dict(re.findall(r"^([\w-]+)(?:\[.*\])?>=([\d.]+)$", needs, re.MULTILINE))
    assert len(bounds) == len(set(needs.split()))
    pins = (folder / "constraints-lowest.txt").read_text().split()
    lowest = dict(pin.split("==") for pin in pins)
    assert lowest.pop("distributed") == lowest["dask"]  # which asks for it
    assert lowest.keys() == bounds.keys()
    for name, bound in bounds.items():
        assert re.fullmatch(rf"{re.escape(bound)}(\.0)*", lowest[name]), name


def test_layers_do_not_import_upwards():
    """The solvers know nothing of scikit-learn."""
    code = (
        "import sys, types; package = types.ModuleType('skdisentangle');"
        f"package.__path__ = {list(skdisentangle.__path__)!r};"
        "sys.modules['skdisentangle'] = package;"
        "import skdisentangle.fitting.training;"
        "print([m for m in sys.modules if m.startswith('sklearn')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_code_of_the_readme_runs():
    """Every Python block, in order, on data of the shapes that it speaks of."""
    import numpy as np
    import sklearn
    from sklearn.model_selection import GridSearchCV

    if not README.exists():
        pytest.skip("an installed package has no README")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 4))
    names = {
        "X": X,
        "Y_tasks": np.column_stack([X[:, 0], X[:, 1] > 0]),
        "y": (X[:, 0] > 0).astype(int),
        "sklearn": sklearn,
        "GridSearchCV": GridSearchCV,
    }
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["search"].best_params_["dis__sparsity"] in (0.01, 0.03, 0.1)
