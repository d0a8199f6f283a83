from __future__ import annotations

import configparser
import contextlib
import doctest
import importlib
import inspect
import io
import pickle
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
    # The later of two bounds: torch has one for the core, and one for ONNX.
    assert len(bounds) + 1 == len(set(needs.split()))
    assert bounds["torch"] != re.search(r"torch>=([\d.]+)", needs)[1]
    pins = (folder / "constraints-lowest.txt").read_text().split()
    lowest = dict(pin.split("==") for pin in pins)
    assert lowest.pop("distributed") == lowest["dask"]  # which asks for it
    assert lowest.keys() == bounds.keys()
    for name, bound in bounds.items():
        assert re.fullmatch(rf"{re.escape(bound)}(\.0)*", lowest[name]), name


def fresh(code, *arguments):
    """What code prints in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def loaded(code, *arguments):
    """Packages that code loads in an interpreter of its own."""
    code = f"import atexit, sys\natexit.register(lambda: print(*sys.modules))\n{code}"
    last = fresh(code, *arguments).splitlines()[-1]
    return {name.partition(".")[0] for name in last.split()}


def test_layers_do_not_import_upwards():
    """The solvers know nothing of scikit-learn."""
    found = loaded("import skdisentangle.fitting.training")
    assert "torch" in found
    assert "sklearn" not in found


HEAVY = {"joblib", "numpy", "pandas", "scipy", "sklearn", "torch"}


@pytest.mark.parametrize(
    "code",
    [
        "import skdisentangle",
        "import skdisentangle; skdisentangle.__version__; dir(skdisentangle)",
        "import skdisentangle; hasattr(skdisentangle, 'nothing')",
        "import skdisentangle.cli",
    ],
)
def test_what_the_package_holds_is_loaded_when_it_is_used(code):
    assert loaded(code) & HEAVY == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["fit", "--help"],
        ["extract", "--help"],
        ["verify", "--help"],
        ["demo", "--help"],
        [],
        ["nothing"],
        ["fit", "rows.csv", "model.joblib", "--tasks", "a", "--sparsity", "much"],
        ["fit", "rows.csv", "no folder/model.joblib", "--tasks", "a"],
        ["fit", "rows.csv", "model", "--tasks", "a", "--task-types", "b=binary"],
    ],
)
def test_help_and_wrong_usage_load_nothing_that_takes_long(arguments):
    code = (
        "from contextlib import suppress; from skdisentangle.cli import main\n"
        "with suppress(SystemExit): main(sys.argv[1:])"
    )
    assert loaded(code, *arguments) & HEAVY == set()


def test_metrics_and_data_do_without_torch():
    found = loaded("import skdisentangle.metrics, skdisentangle.datasets")
    assert "sklearn" in found
    assert "torch" not in found


def test_features_are_verified_without_torch():
    """It has no part in that, and takes longer to load than most files to read."""
    code = "from skdisentangle.cli import main; main(['verify', 'no folder'])"
    found = loaded(code)
    assert "numpy" in found
    assert "torch" not in found


def test_names_of_the_package():
    assert {
        "SparseSharedDisentangler",
        "SparseSharedDisentanglerCV",
        "__version__",
        "datasets",
        "metrics",
    } <= set(dir(skdisentangle))
    for name in set(dir(skdisentangle)):
        getattr(skdisentangle, name)
    with pytest.raises(
        AttributeError,
        match=r"^module 'skdisentangle' has no attribute 'SparseDisentangler'$",
    ) as error:
        _ = skdisentangle.SparseDisentangler
    # by which Python finds the name that was meant
    assert (error.value.name, error.value.obj) == ("SparseDisentangler", skdisentangle)
    assert not hasattr(skdisentangle, "__wrapped__")


def test_each_name_is_loaded_by_whoever_asks_first():
    """A pickle, ``import *`` and a submodule, where nothing has been loaded before."""
    data = pickle.dumps(skdisentangle.SparseSharedDisentangler(7))
    code = (
        "import pickle, sys\n"
        "model = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
        "from skdisentangle import *\n"
        "import skdisentangle\n"
        "assert type(model) is SparseSharedDisentangler, model\n"
        "print(model.n_components, SparseSharedDisentanglerCV.__name__, __version__)\n"
        "print(skdisentangle.datasets.make_sprites.__name__)"
    )
    assert fresh(code, data.hex()).split() == [
        "7",
        "SparseSharedDisentanglerCV",
        skdisentangle.__version__,
        "make_sprites",
    ]


@pytest.mark.slow
def test_each_module_can_be_the_first_that_is_imported():
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    for ours in [m for m in sys.modules if m.startswith('skdisentangle')]:\n"
        "        del sys.modules[ours]\n"
        "    importlib.import_module(name)\n"
        "    print(name)"
    )
    assert fresh(code, *MODULES).split() == MODULES


@pytest.mark.slow
def test_code_of_the_readme_runs():
    """It prints what stands below it; and the page stays short."""
    if not README.exists():
        pytest.skip("an installed package has no README")
    text = README.read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (shown,) = re.findall(r"```text\n(.*?)```", text, flags=re.DOTALL)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(block, "README.md", "exec"), {})
    assert out.getvalue() == shown
    assert len(text.splitlines()) <= 150
