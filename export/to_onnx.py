"""The trained network as one ONNX graph: opset 18, any batch, nothing in it but numbers and operators."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import onnx
import torch
from torch.utils.flop_counter import FlopCounterMode

from livemos.training.models.conformer import SpeechQualityConformer

OPSET = 18
INPUT, OUTPUT = "features", "outputs"
# below this the exporter reports its progress, which is no news to the caller
_EXPORTER_LOG_LEVEL = logging.ERROR


def to_onnx(model: SpeechQualityConformer, frames: int, bands: int) -> bytes:
    """A checked, serialised graph features (B, frames, bands) -> outputs (B, 7) of `model` in evaluation mode."""
    logging.getLogger("torch.onnx").setLevel(_EXPORTER_LOG_LEVEL)
    example = torch.zeros(2, frames, bands)
    with warnings.catch_warnings():
        # torch 2.13 warns about its own use of a class it is about to rename
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.onnx.export(
            model.eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    assert program is not None  # None is for exports to a file
    graph = program.model_proto
    strip(graph)
    onnx.checker.check_model(graph, full_check=True)
    return graph.SerializeToString(deterministic=True)


def strip(graph: onnx.ModelProto) -> None:
    """Remove what describes the exporting machine: the same weights give the same bytes everywhere."""
    del graph.metadata_props[:], graph.graph.metadata_props[:]
    graph.doc_string = graph.graph.doc_string = ""
    graph.producer_version = ""
    described: list[Any] = [*graph.graph.node, *graph.graph.value_info, *graph.graph.input, *graph.graph.output]
    for item in described:
        del item.metadata_props[:]
        item.doc_string = ""
    for tensor in graph.graph.initializer:
        del tensor.metadata_props[:]


def multiply_adds(model: SpeechQualityConformer, frames: int, bands: int) -> int:
    """Multiplications of matrices and convolutions for one segment."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, frames, bands))
    return int(counter.get_total_flops()) // 2
