"""The body of the node `livemos::AttentiveStatsPool` in operators of ONNX, for runtimes without a kernel of that name.

The same two passes as kernels/asp/reference.py. A model-local function: ONNX Runtime and TensorRT for RTX put its body
in place of the node; a runtime with a plugin of that name is given the graph without the function.
"""

from __future__ import annotations

import onnx
from onnxscript import FLOAT, INT32, script
from onnxscript import opset18 as op
from onnxscript.values import Opset

from livemos.kernels.asp.onnx_node import DOMAIN, NODE, VERSION
from livemos.kernels.asp.reference import EPSILON

_LOWEST = -3.4028234663852886e38  # of float32; below every score that has weight


@script(Opset(DOMAIN, VERSION))
def AttentiveStatsPool(  # noqa: N802 - the name of the node
    h: FLOAT["B", "T", "D"],  # noqa: F821, UP037
    e: FLOAT[...],
    lengths: INT32["B"],  # noqa: F821, UP037
    epsilon: float = EPSILON,
) -> FLOAT["B", "D2"]:  # noqa: F821, UP037
    """h (B, T, D), e (B, T) or (B, T, D), lengths (B,) -> (B, 2 D): means, then deviations."""
    frames = op.Squeeze(op.Shape(h, start=1, end=2))
    ends = op.Unsqueeze(op.Cast(lengths, to=7), [1])
    valid = op.Unsqueeze(op.Less(op.Unsqueeze(op.Range(0, frames, 1), [0]), ends), [2])
    x = op.Where(valid, h, op.Constant(value_float=0.0))
    score = op.Where(valid, op.Reshape(e, [0, 0, -1]), op.Constant(value_float=_LOWEST))
    peak = op.ReduceMax(score, [1], keepdims=1)
    seen = op.Greater(peak, op.Constant(value_float=_LOWEST))
    weight = op.Exp(score - op.Where(seen, peak, op.Constant(value_float=0.0)))
    total = op.ReduceSum(weight, [1], keepdims=1)
    share = weight / op.Where(seen, total, op.Constant(value_float=1.0))
    mean = op.ReduceSum(share * x, [1], keepdims=1)
    centred = x - mean
    rest = op.ReduceSum(share * centred, [1], keepdims=1)
    squares = op.ReduceSum(share * centred * centred, [1], keepdims=1)
    variance = op.Max(squares - rest * rest, op.Constant(value_float=0.0))
    deviation = op.Sqrt(variance + epsilon)
    nothing = op.Constant(value_float=0.0)
    means = op.Where(seen, mean + rest, nothing)
    deviations = op.Where(seen, deviation, nothing)
    return op.Squeeze(op.Concat(means, deviations, axis=2), [1])


def pooling_function() -> onnx.FunctionProto:
    """The function, without the texts of the machine that wrote it."""
    function: onnx.FunctionProto = AttentiveStatsPool.to_function_proto()
    assert (function.domain, function.name) == (DOMAIN, NODE)
    function.doc_string = ""
    for node in function.node:
        node.doc_string = ""
        del node.metadata_props[:]
    return function
