"""The graph with 8-bit weights and activations for a CPU: scales are fixed here, so a row never depends on its batch.

Quantise-dequantise pairs around convolutions and products with weights, up to the pooling; weights signed, a scale a
channel, activations unsigned, a scale a tensor. Products of two activations (attention), pooling and heads stay
float32.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from livemos.export.to_half import half_nodes
from livemos.export.to_onnx import INPUT, inlined, serialise, strip

# the first is faster, the second closer to float32
OPERATORS = (("Conv", "Gemm", "MatMul"), ("Gemm", "MatMul"))
_ROWS_A_CALL = 8


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # published without types
    """Features in small batches."""

    def __init__(self, features: npt.NDArray[np.float32]) -> None:
        self._batches: Iterator[npt.NDArray[np.float32]] = iter(
            [features[start : start + _ROWS_A_CALL] for start in range(0, len(features), _ROWS_A_CALL)]
        )

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def to_int8(graph: bytes, features: npt.NDArray[np.float32], operators: tuple[str, ...] = OPERATORS[0]) -> bytes:
    """A graph of the same inputs and outputs, scales set by `features` (B, T, F), in ONNX's own operators alone."""
    model = onnx.load_from_string(graph)
    before_pool = half_nodes(model)
    weights = {tensor.name for tensor in model.graph.initializer}
    kept = [
        node.name
        for node in model.graph.node
        if node.op_type in operators and not (node.output[0] in before_pool and weights & set(node.input))
    ]
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # the quantiser advises on the root logger, about graphs of other shapes
    try:
        with tempfile.TemporaryDirectory() as folder:
            given, made = Path(folder) / "given.onnx", Path(folder) / "made.onnx"
            given.write_bytes(inlined(graph))
            quantize_static(
                given,
                made,
                _Reader(features),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(operators),
                nodes_to_exclude=kept,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
            quantised = onnx.load(made)
    finally:
        root.setLevel(level)
    strip(quantised)
    return serialise(quantised)
