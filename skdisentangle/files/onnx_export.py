"""Write encoder and heads as an ONNX graph, for runtimes without Python or torch."""

from __future__ import annotations

import copy
import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from .._extras import import_extra
from .._replacing import replacing
from ..tasks.types import TYPES

__all__ = ["OPSET", "export_onnx"]

#: Version of ONNX's operators: the newest that runtimes of the last two years know.
OPSET = 20


class _Graph(nn.Module):
    """Features and scores of rows."""

    coef: Tensor
    intercept: Tensor

    def __init__(self, estimator: Any) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(estimator.encoder_)
        self.register_buffer("coef", torch.from_numpy(estimator.coef_.copy()))
        self.register_buffer("intercept", torch.from_numpy(estimator.intercept_.copy()))

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        codes = self.encoder(rows)
        scores = torch.addmm(self.intercept, codes, self.coef.T)
        return codes, scores


def export_onnx(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator as an ONNX graph; see :meth:`OnnxMixin.to_onnx`."""
    check_is_fitted(estimator)
    for name in ("onnx", "onnxscript"):
        import_extra(name, "to_onnx", "'skdisentangle[onnx]'")
    if hasattr(estimator, "embedder_"):
        raise ValueError(
            "to_onnx cannot write an encoder that is a FineTuned. Write its backbone, "
            "embedder_.backbone, with torch.onnx.export, and fit another kind of encoder on "
            "the features of embedder_."
        )
    if len(estimator.usage_) == 0:
        raise ValueError(
            "to_onnx has no features to write: no component is in use. Lower sparsity or "
            "sharing and fit again."
        )
    graph = _Graph(estimator).float().eval()
    # Any number of rows but 0 and 1, which torch would take for constants.
    rows = torch.zeros(3, estimator.n_features_in_)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                graph,
                (rows,),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=["X"],
                output_names=["features", "scores"],
                dynamic_shapes=({0: torch.export.Dim("n_samples")},),
            )
        assert program is not None
        shape = program.model.graph.inputs[0].shape
        if shape is None or isinstance(shape[0], int):
            # Failing all else, torch takes the number of rows for a constant, and is silent.
            raise torch.onnx.OnnxExporterError(
                "its computation depends on their number"
            )
    except torch.onnx.OnnxExporterError as error:
        raise ValueError(
            "encoder: torch.onnx.export cannot make a graph of it that takes any number of "
            f"rows: {error}."
        ) from error
    program.model.metadata_props["skdisentangle"] = json.dumps(_description(estimator))
    content = program.model_proto.SerializeToString()
    with replacing(Path(path)) as file:
        file.write(content)


def _description(estimator: Any) -> dict[str, Any]:
    """What the columns of the outputs are."""
    return {
        "features": list(estimator.get_feature_names_out()),
        "tasks": [
            {
                "name": task.name,
                "type": task.type,
                "classes": None
                if task.classes is None
                else list(map(str, task.classes)),
                "scores": [task.outputs.start, task.outputs.stop],
                "left_out": task.left_out,
            }
            | ({} if task.left_out else TYPES[task.type].numbers(task))
            for task in estimator.tasks_
        ],
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch and its exporter tell each other."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
