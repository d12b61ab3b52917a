"""The graph in float16 where that is harmless: from the first product of weights to the pooling.

What stays in float32: the normalisation of the features (a log-mel value of -11 in half precision is off by 0.004),
pooling, and the heads behind it. Casts stand at the borders. Types in the graph say all, as engines that are strongly
typed want it.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from livemos.agent.errors import BundleError
from livemos.export.to_onnx import pooling_nodes, serialise

_PRODUCTS = {"Conv", "Gemm", "MatMul"}
_LARGEST_HALF = 65504.0


def to_half(graph: bytes) -> bytes:
    """A graph of the same inputs and outputs. Raises BundleError where a weight does not fit float16."""
    model = onnx.load_from_string(graph)
    _constants_to_initializers(model.graph)
    half = half_nodes(model)
    if {output.name for output in model.graph.output} & half:
        raise BundleError("export: no pooling node before the outputs; pool with livemos.kernels.attentive_stats_pool")
    floats = _float_values(model)
    _convert(model.graph, half, floats)
    del model.graph.value_info[:]
    return serialise(model)


def half_nodes(model: onnx.ModelProto) -> set[str]:
    """Outputs of the nodes between the first products and the pooling, each node named by its first output."""
    after_product, after_pool = set[str](), set[str]()
    pools = {node.output[0] for node in pooling_nodes(model)}
    chosen = set[str]()
    for node in model.graph.node:  # in the order of computation
        given, made = set(node.input), set(node.output)
        if node.output[0] in pools or given & after_pool:
            after_pool |= made
        elif given & after_product or node.op_type in _PRODUCTS:
            after_product |= made
            chosen.add(node.output[0])
    return chosen


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Constants as initializers, so that there is one kind of constant."""
    kept = []
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = graph.initializer.add()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _float_values(model: onnx.ModelProto) -> set[str]:
    """Names of all float32 values."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    floats = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return floats | {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}


def _convert(graph: onnx.GraphProto, half: set[str], floats: set[str]) -> None:
    weights = {tensor.name: tensor for tensor in graph.initializer}
    made_half = {name for node in graph.node if node.output[0] in half for name in node.output if name in floats}
    nodes: list[onnx.NodeProto] = []
    cast = dict[tuple[str, int], str]()

    def as_type(name: str, element: int) -> str:
        """`name` in the other type: a converted weight, or a cast that all readers share."""
        if (name, element) not in cast:
            cast[name, element] = f"{name}_as_{TensorProto.DataType.Name(element).lower()}"
            if name in weights:
                graph.initializer.append(_half_weight(weights[name], cast[name, element]))
            else:
                nodes.append(helper.make_node("Cast", [name], [cast[name, element]], to=element))
        return cast[name, element]

    for node in graph.node:
        inside = node.output[0] in half
        for index, name in enumerate(node.input):
            if inside and name in floats - made_half:
                node.input[index] = as_type(name, TensorProto.FLOAT16)
            elif not inside and name in made_half:
                node.input[index] = as_type(name, TensorProto.FLOAT)
        if inside and node.op_type == "Cast":
            for attribute in node.attribute:
                if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                    attribute.i = TensorProto.FLOAT16
        nodes.append(node)
    read = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)


def _half_weight(tensor: TensorProto, name: str) -> TensorProto:
    values = numpy_helper.to_array(tensor)
    if np.abs(values, where=np.isfinite(values), out=np.zeros_like(values)).max(initial=0.0) > _LARGEST_HALF:
        raise BundleError(f"export: the weight {tensor.name} is larger than float16 holds ({_LARGEST_HALF:g})")
    return numpy_helper.from_array(values.astype(np.float16), name)
