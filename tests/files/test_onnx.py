from __future__ import annotations

import json
import os
import sys
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

from skdisentangle import SparseSharedDisentangler

from ..conftest import quick

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
runtime = pytest.importorskip("onnxruntime")

pytestmark = pytest.mark.usefixtures("short_fits")


class Own(torch.nn.Module):
    """A user's module, of a class that is not torch's."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.first = torch.nn.Linear(n_features, 12)
        self.norm = torch.nn.BatchNorm1d(12)
        self.last = torch.nn.Linear(12, n_components)

    def forward(self, rows):
        return self.last(torch.tanh(self.norm(self.first(rows))))


def other_for_three_rows(n_features, n_components):
    class Odd(Own):
        def forward(self, rows):
            return super().forward(rows) * (2.0 if len(rows) == 3 else 1.0)

    return Odd(n_features, n_components)


@pytest.mark.parametrize(
    "options",
    [
        {"encoder": "conv", "input_shape": (1, 33, 6)},
        {"encoder": Own},
    ],
    ids=["conv", "own"],
)
def test_runtime_gives_what_transform_and_predict_give(options, tmp_path):
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(60, 3))
    X = factors @ rng.normal(size=(3, 198)) + 0.1 * rng.normal(size=(60, 198))
    X = X.astype(np.float32)
    kinds = np.digitize(factors[:, 1], [-0.5, 0.5])
    Y = np.column_stack([factors[:, 0] * 9, kinds, factors[:, 2] > 0])
    dis = quick(**options).fit(X, Y)
    before = {k: v.clone() for k, v in dis.encoder_.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dis.to_onnx(tmp_path / "model.onnx")
    assert os.listdir(tmp_path) == ["model.onnx"]
    for name, value in dis.encoder_.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])

    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    session = runtime.InferenceSession(
        str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    assert session.get_inputs()[0].shape == ["n_samples", 198]
    said = json.loads(session.get_modelmeta().custom_metadata_map["skdisentangle"])
    assert said["features"] == list(dis.get_feature_names_out())
    size, kind, positive = said["tasks"]
    assert [t["type"] for t in said["tasks"]] == ["regression", "multiclass", "binary"]
    assert kind["classes"] == ["0.0", "1.0", "2.0"]
    for n_rows in (1, 2, 3, 60):
        features, scores = session.run(["features", "scores"], {"X": X[:n_rows]})
        expected = dis.transform(X[:n_rows])
        assert features.shape == expected.shape
        np.testing.assert_allclose(features, expected, atol=2e-5)
        predicted = dis.predict(X[:n_rows])
        np.testing.assert_allclose(
            scores[:, slice(*size["scores"])][:, 0], predicted[:, 0], atol=1e-3
        )
        best = scores[:, slice(*kind["scores"])].argmax(1)
        np.testing.assert_array_equal(best, predicted[:, 1])
        found = scores[:, slice(*positive["scores"])][:, 0] > 0
        np.testing.assert_array_equal(found, predicted[:, 2])


def test_wrong_arguments(problem, tmp_path, monkeypatch):
    X, Y, _ = problem
    with pytest.raises(NotFittedError):
        SparseSharedDisentangler().to_onnx(tmp_path / "model.onnx")
    dis = quick(max_iter=1).fit(X, Y)
    with pytest.raises(TypeError, match="path must be a str or path-like"):
        dis.to_onnx(None)
    with pytest.raises(FileNotFoundError, match="no_such"):
        dis.to_onnx(tmp_path / "no_such" / "model.onnx")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"pip install 'skdisentangle\[onnx\]'"):
        dis.to_onnx(tmp_path / "model.onnx")


def test_module_that_is_another_for_another_number_of_rows(problem, tmp_path):
    X, Y, _ = problem
    dis = quick(encoder=other_for_three_rows, max_iter=1).fit(X, Y)
    with pytest.raises(
        ValueError, match=r"encoder: .*any number of rows: its computation"
    ):
        dis.to_onnx(tmp_path / "model.onnx")
    assert os.listdir(tmp_path) == []
