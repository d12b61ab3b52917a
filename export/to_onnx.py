"""The trained network as one ONNX graph: opset 18, any batch, nothing in it but numbers and operators.

Pooling is one node, `livemos::AttentiveStatsPool`, with a function of that name in the same file. Whatever network the
checkpoint holds: only its inputs and outputs are known here.
"""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import torch
from onnx import numpy_helper
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from livemos.agent.errors import BundleError
from livemos.export.pooling_function import pooling_function
from livemos.kernels.asp.onnx_node import DOMAIN, NODE, pooling_as_one_node

OPSET = 18
INPUT, OUTPUT = "features", "outputs"
# below this the exporter reports its progress, which is no news to the caller
_EXPORTER_LOG_LEVEL = logging.ERROR


def to_onnx(model: nn.Module, frames: int, bands: int) -> bytes:
    """A checked, serialised graph features (B, frames, bands) -> outputs (B, K) of `model` in evaluation mode.

    Raises BundleError when batch normalisation was not folded into the weights.
    """
    logging.getLogger("torch.onnx").setLevel(_EXPORTER_LOG_LEVEL)
    example = torch.zeros(2, frames, bands)
    with warnings.catch_warnings(), pooling_as_one_node():
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
    if any(node.domain == DOMAIN for node in graph.graph.node):
        graph.functions.append(pooling_function())
    strip(graph)
    fold_into_pointwise(graph)
    require_folded(graph)
    return serialise(graph)


def serialise(graph: onnx.ModelProto) -> bytes:
    """The same bytes for the same graph, after ONNX's own check of structure, types and shapes."""
    onnx.checker.check_model(graph, full_check=True)
    return graph.SerializeToString(deterministic=True)


def fold_into_pointwise(graph: onnx.ModelProto) -> None:
    """Let the weights of a pointwise convolution carry the batch normalisation in front of it, in place.

    (The exporter folds what stands behind a convolution. In front, only a kernel of one frame without padding can.)
    """
    values = {each.name: each for each in graph.graph.initializer}
    for node in [each for each in graph.graph.node if each.op_type == "BatchNormalization"]:
        readers = [each for each in graph.graph.node if node.output[0] in each.input]
        if len(readers) != 1 or readers[0].op_type != "Conv" or len(readers[0].input) != 3:
            continue
        conv = readers[0]
        weight, bias = (numpy_helper.to_array(values[name]) for name in conv.input[1:])
        if weight.shape[2:] != (1, 1):
            continue
        factor, shift, mean, variance = (numpy_helper.to_array(values[name]) for name in node.input[1:5])
        epsilon = next((each.f for each in node.attribute if each.name == "epsilon"), 1e-5)
        factor = factor / np.sqrt(variance + epsilon)
        bias = bias + (weight * (shift - mean * factor)[:, None, None]).sum(axis=(1, 2, 3))
        weight = weight * factor[:, None, None]
        for name, value in zip(conv.input[1:], (weight, bias), strict=True):
            values[name].CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))
        conv.input[0] = node.input[0]
        graph.graph.node.remove(node)
        unread = set(node.input[1:]) - {name for each in graph.graph.node for name in each.input}
        for name in unread:
            graph.graph.initializer.remove(values[name])


def require_folded(graph: onnx.ModelProto) -> None:
    """BundleError where batch normalisation is left: an operator a frame that the weights can carry."""
    left = [node.name for node in graph.graph.node if node.op_type == "BatchNormalization"]
    if left:
        raise BundleError(
            f"export: batch normalisation was not folded into the weights ({', '.join(left)}); "
            f"put it directly behind a convolution or a linear layer, or in front of a pointwise convolution"
        )


def without_functions(graph: bytes) -> bytes:
    """The graph with the pooling node and without its body, for a runtime that has a plugin of that name."""
    model = onnx.load_from_string(graph)
    del model.functions[:]
    return model.SerializeToString(deterministic=True)


def inlined(graph: bytes) -> bytes:
    """The graph in ONNX's own operators alone: each pooling node replaced by its function's body."""
    model = onnx.inliner.inline_local_functions(onnx.load_from_string(graph))
    kept = [each for each in model.opset_import if each.domain != DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model.SerializeToString(deterministic=True)


def pooling_nodes(graph: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The pooling nodes of a graph."""
    return [node for node in graph.graph.node if (node.domain, node.op_type) == (DOMAIN, NODE)]


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


def multiply_adds(model: nn.Module, frames: int, bands: int) -> int:
    """Multiplications of matrices and convolutions for one segment."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, frames, bands))
    return int(counter.get_total_flops()) // 2
