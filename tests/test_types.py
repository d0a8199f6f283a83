"""The types as those see them who use the package and check with mypy --strict."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import skdisentangle

pytest.importorskip("mypy")

ROOT = Path(__file__).parent.parent

RIGHT = """
from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import skdisentangle
from skdisentangle import SparseSharedDisentangler, SparseSharedDisentanglerCV
from skdisentangle.backbones import ImageEmbedder
from skdisentangle.cli import main
from skdisentangle.datasets import expand_factors, fetch_dsprites
from skdisentangle.datasets import make_multitask_factors
from skdisentangle.extraction import extract_features
from skdisentangle.heads import SparseTaskHead
from skdisentangle.inspection import (
    IdentifiabilityReport,
    UsageDisplay,
    identifiability_report,
)
from skdisentangle.metrics import (
    DCIScores,
    DisentanglementReport,
    DisentanglementScorer,
    dci_scores,
    disentanglement_report,
    make_disentanglement_scorer,
    mcc_score,
)

data = make_multitask_factors(random_state=0)
X, Y = fetch_dsprites(return_X_y=True)
images = fetch_dsprites().data
assert_type(expand_factors(X), tuple[NDArray[np.float64], NDArray[np.int64]])

dis = SparseSharedDisentangler(6, sparsity="auto", encoder="linear", random_state=0)
assert_type(dis.fit(X, Y), SparseSharedDisentangler)
assert_type(dis.fit(X, Y_tasks=Y).partial_fit(X, Y), SparseSharedDisentangler)
assert_type(dis.set_output(transform="pandas").fit(X, Y), SparseSharedDisentangler)
assert_type(dis.set_params(sharing=0.2), SparseSharedDisentangler)
assert_type(dis.set_callbacks(), SparseSharedDisentangler)
assert_type(dis.get_params(), dict[str, Any])
assert_type(dis.get_feature_names_out(), NDArray[Any])
assert_type(dis.score(X, Y), float)
assert_type(dis.score_tasks(X, Y), NDArray[np.float64])
assert_type(dis.coef_, NDArray[np.float64])
assert_type(dis.n_iter_, int)
assert_type([task.name for task in dis.tasks_], list[str])
dis.set_fit_request(sample_weight=True)  # as in scikit-learn, without a type

head = dis.fit_task(X, Y[:, 0], task_type="binary")
assert_type(head, SparseTaskHead)
assert_type(head.fit(X, Y[:, 0]).score(X, Y[:, 0]), float)
assert_type(head.predict_proba(X), NDArray[np.float64])

chosen = SparseSharedDisentanglerCV(6, sparsities=[0.01, 0.1])
assert_type(chosen.set_output(transform="default").fit(X, Y), SparseSharedDisentanglerCV)
assert_type(chosen.best_index_, int)
assert_type(ImageEmbedder().fit(images).set_output(), ImageEmbedder)

dis.save(Path("model.safetensors"))
assert_type(SparseSharedDisentangler.load("model"), SparseSharedDisentangler)
assert_type(SparseSharedDisentanglerCV.load("model"), SparseSharedDisentanglerCV)

codes = dis.transform(X)
assert_type(mcc_score(data.factors, codes), float)
assert_type(skdisentangle.metrics.mcc_score(data.factors, codes), float)
assert_type(skdisentangle.SparseSharedDisentangler(), SparseSharedDisentangler)
assert_type(dci_scores(data.factors, codes), DCIScores)
assert_type(dci_scores(data.factors, codes).code_weights, NDArray[np.float64])
assert_type(disentanglement_report(data.factors, codes), DisentanglementReport)
assert_type(make_disentanglement_scorer(mcc_score), DisentanglementScorer)
assert_type(make_disentanglement_scorer(mcc_score)(dis, X, data.factors), float)

assert_type(identifiability_report(dis, X, Y), IdentifiabilityReport)
assert_type(identifiability_report(dis, X, Y).verdict, str)
assert_type(UsageDisplay.from_estimator(dis).plot(), UsageDisplay)


class Ours(SparseSharedDisentangler):
    pass


assert_type(Ours().fit(X, Y).set_output(transform="polars"), Ours)
assert_type(Ours.load("model"), Ours)
assert_type(main(["demo"]), int)
"""

WRONG = """
import skdisentangle
from skdisentangle import SparseSharedDisentangler
from skdisentangle.cli import main
from skdisentangle.datasets import make_sprites
from skdisentangle.metrics import mcc_score

dis = SparseSharedDisentangler("six")  # arg-type
SparseSharedDisentangler(solver="l2")  # arg-type
SparseSharedDisentangler(n_component=6)  # call-arg
dis.fit()  # call-arg
dis.fit([[0.0]], sample_weights=[1.0])  # call-arg
dis.set_output(transform="numpy")  # arg-type
dis.save(3)  # arg-type
name: str = dis.score([[0.0]], [[0.0]])  # assignment
mcc_score([[0.0]], [[0.0]], method=1)  # arg-type
make_sprites("many")  # arg-type
skdisentangle.SparseDisentangler()  # attr-defined
skdisentangle.metric  # attr-defined
main("demo --help".split)  # arg-type
"""


@pytest.mark.slow
def test_users_see_the_types(tmp_path):
    """All that is right passes, and each line that is wrong is reported."""
    (tmp_path / "right.py").write_text(RIGHT)
    (tmp_path / "wrong.py").write_text(WRONG)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-pretty"]
    # The settings of the package itself, whose cache then serves here, too.
    command += ["--config-file", str(ROOT / "pyproject.toml")]
    command += [str(tmp_path / "right.py"), str(tmp_path / "wrong.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    found = re.findall(r"^(.+):(\d+): error: .+ +\[(.+)\]$", done.stdout, re.MULTILINE)
    reported = {(Path(path).name, int(line), code) for path, line, code in found}
    wrong = enumerate(WRONG.splitlines(), 1)
    assert reported == {
        ("wrong.py", number, line.rpartition("# ")[2])
        for number, line in wrong
        if "#" in line
    }, done.stdout + done.stderr


def test_the_package_says_that_it_has_types():
    assert (Path(skdisentangle.__file__).parent / "py.typed").is_file()
