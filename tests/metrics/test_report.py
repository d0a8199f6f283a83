"""The table of all metrics, and the documentation of each."""

from __future__ import annotations

import builtins
import doctest
import importlib
import inspect
import pkgutil

import numpy as np
import pytest

from skdisentangle import metrics
from skdisentangle.metrics import (
    dci_scores,
    disentanglement_report,
    mcc_score,
    mig_score,
)

from .common import make_data

FUNCTIONS = [n for n in metrics.__all__ if inspect.isfunction(getattr(metrics, n))]
MODULES = [m.name for m in pkgutil.iter_modules(metrics.__path__)]


@pytest.fixture(scope="module")
def report():
    factors, is_discrete, codes = make_data("mixed", 0)
    return disentanglement_report(factors, codes, discrete_factors=is_discrete)


def test_report_holds_the_scores_of_the_functions(report):
    factors, is_discrete, codes = make_data("mixed", 0)
    assert report["mig"] == mig_score(factors, codes, discrete_factors=is_discrete)
    assert report["mcc_pearson"] == mcc_score(factors, codes)
    assert report["dci_linear_disentanglement"] != report["dci_disentanglement"]
    assert all(0 <= score <= 1 for score in report.scores.values())
    assert report.scores.keys() == report.meanings.keys()
    assert (report.n_samples, report.n_factors, report.n_codes) == (90, 3, 4)


def test_report_prints_as_a_table(report):
    lines = str(report).splitlines()
    assert lines[0] == "90 rows, 3 factors, 4 codes"
    assert len(lines) == 3 + len(report.scores)
    assert f"{report['mig']:.3f}" in next(
        line for line in lines if line.startswith("mig")
    )


def test_report_as_a_frame(report):
    pytest.importorskip("pandas")
    frame = report.to_frame()
    assert frame.loc["sap", "score"] == report["sap"]
    assert frame.index.name == "metric"


def test_report_prints_without_pandas(report, monkeypatch):
    real_import = builtins.__import__

    def without_pandas(name, *args, **kwargs):
        if name == "pandas":
            raise ImportError("no pandas")
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pandas)
    assert "mig" in str(report)
    with pytest.raises(ImportError, match="no pandas"):
        report.to_frame()


def test_report_takes_a_kind_of_importance():
    factors, is_discrete, codes = make_data("continuous", 1)
    report = disentanglement_report(factors, codes, importance="random_forest")
    seeded = report["dci_disentanglement"]
    forest = dci_scores(factors, codes, importance="random_forest").disentanglement
    assert seeded == pytest.approx(forest, abs=0.1)
    assert is_discrete.any() == np.False_


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_documented(name):
    text = getattr(metrics, name).__doc__
    for section in ("Parameters", "Returns", "Raises", "Notes", "References"):
        assert f"{section}\n    ---" in text, section
    if name not in {"make_disentanglement_scorer", "explicitness_from_curve"}:
        for word in ("chance level", "pitfalls"):
            assert word in text.lower()


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings(module):
    result = doctest.testmod(importlib.import_module(f"skdisentangle.metrics.{module}"))
    assert result.failed == 0
