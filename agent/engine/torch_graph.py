"""A bundle's ONNX graph as a torch module, node by node: the same file that ONNX Runtime runs, with our pooling kernel.

The operators are those our exports use; another one is refused by name. Integers that describe shapes stay in the
host's memory, so that nothing waits for a GPU and a CUDA graph can record every step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from livemos.agent.errors import EngineError
from livemos.kernels.operators import attentive_stats_pool

Attributes = dict[str, Any]
Operator = Callable[..., Any]

_TYPES = {onnx.TensorProto.FLOAT: torch.float32, onnx.TensorProto.FLOAT16: torch.float16}
_CONVOLUTIONS = {3: functional.conv1d, 4: functional.conv2d}


def _ints(tensor: Tensor | None) -> list[int]:
    return [] if tensor is None else [int(value) for value in tensor.reshape(-1).tolist()]


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, **at: Any) -> Tensor:
    pads = at.get("pads") or [0] * (2 * (x.dim() - 2))
    half = len(pads) // 2
    if pads[:half] != pads[half:] or at.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise EngineError(f"a convolution with uneven padding {pads} is not known to the torch engine")
    result: Tensor = _CONVOLUTIONS[x.dim()](
        x,
        weight,
        bias,
        stride=at.get("strides", 1),
        padding=pads[:half],
        dilation=at.get("dilations", 1),
        groups=at.get("group", 1),
    )
    return result


def _gemm(a: Tensor, b: Tensor, c: Tensor | None = None, **at: Any) -> Tensor:
    product: Tensor = (a.T if at.get("transA") else a) @ (b.T if at.get("transB") else b) * at.get("alpha", 1.0)
    return product if c is None else product + at.get("beta", 1.0) * c


def _layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None = None, **at: Any) -> Tensor:
    axis = at.get("axis", -1) % x.dim()
    # sums in float32, as the graph asks for, whatever the frames are
    wide = functional.layer_norm(
        x.float(), x.shape[axis:], weight.float(), None if bias is None else bias.float(), at.get("epsilon", 1e-5)
    )
    return wide.to(x.dtype)


def _slice(x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None) -> Tensor:
    first, last = _ints(starts), _ints(ends)
    chosen = [slice(None)] * x.dim()
    for start, end, axis, step in zip(
        first, last, _ints(axes) or range(len(first)), _ints(steps) or [1] * len(first), strict=True
    ):
        size = x.shape[axis]  # "from the beginning" and "to the end" are the outermost integers
        chosen[axis] = slice(max(start, -size), min(end, size), step)
    return x[tuple(chosen)]


def _reshape(x: Tensor, shape: Tensor, **at: Any) -> Tensor:
    wanted = _ints(shape)
    if not at.get("allowzero"):
        wanted = [x.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    return x.reshape(wanted)


def _split(x: Tensor, sizes: Tensor | None = None, **at: Any) -> list[Tensor]:
    axis, parts = at.get("axis", 0), at.get("num_outputs", 2)
    return list(torch.split(x, _ints(sizes), axis) if sizes is not None else torch.chunk(x, parts, axis))


def _squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    return x.squeeze(tuple(_ints(axes))) if axes is not None else x.squeeze()


def _unsqueeze(x: Tensor, axes: Tensor) -> Tensor:
    wanted = _ints(axes)
    for axis in sorted(axis % (x.dim() + len(wanted)) for axis in wanted):
        x = x.unsqueeze(axis)
    return x


def _shape(x: Tensor, **at: Any) -> Tensor:
    return torch.tensor(x.shape[at.get("start", 0) : at.get("end")], dtype=torch.int64)


def _gather(x: Tensor, index: Tensor, **at: Any) -> Tensor:
    if index.numel() != 1 or index.dim() > 1:
        raise EngineError("gathering several rows is not known to the torch engine")
    axis = at.get("axis", 0)
    return x.select(axis, int(index)) if index.dim() == 0 else x.narrow(axis, int(index), 1)


def _reduce(reduction: Callable[..., Tensor]) -> Operator:
    def reduce(x: Tensor, axes: Tensor | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
        if noop_with_empty_axes and (axes is None or not axes.numel()):
            return x
        return reduction(x, dim=_ints(axes) or list(range(x.dim())), keepdim=bool(keepdims))

    return reduce


def _expand(x: Tensor, shape: Tensor) -> Tensor:
    wanted = _ints(shape)
    own = [1] * (len(wanted) - x.dim()) + list(x.shape)
    return x.expand([max(a, b) for a, b in zip(own, wanted, strict=True)])


def _pool(h: Tensor, e: Tensor, lengths: Tensor, **at: Any) -> Tensor:
    pooled: Tensor = attentive_stats_pool(h, e, lengths, at["epsilon"])
    return pooled


def _divide(a: Tensor, b: Tensor) -> Tensor:
    whole = not (a.is_floating_point() or b.is_floating_point())
    return torch.div(a, b, rounding_mode="trunc" if whole else None)


OPERATORS: dict[str, Operator] = {
    "Add": torch.add,
    "AttentiveStatsPool": _pool,
    "Cast": lambda x, to, **_: x.to(_TYPES[to]),
    "Clip": lambda x, low=None, high=None: torch.clamp(x, low, high),
    "Concat": lambda *parts, axis: torch.cat(parts, axis),
    "Conv": _conv,
    "Div": _divide,
    "Equal": torch.eq,
    "Exp": torch.exp,
    "Expand": _expand,
    "Gather": _gather,
    "Gemm": _gemm,
    "Greater": torch.gt,
    "LayerNormalization": _layer_norm,
    "MatMul": torch.matmul,
    "Mul": torch.mul,
    "Pow": torch.pow,
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceSum": _reduce(torch.sum),
    "Relu": torch.relu,
    "Reshape": _reshape,
    "Shape": _shape,
    "Sigmoid": torch.sigmoid,
    "Slice": _slice,
    "Softmax": lambda x, axis=-1: torch.softmax(x, axis),
    "Split": _split,
    "Sqrt": torch.sqrt,
    "Squeeze": _squeeze,
    "Sub": torch.sub,
    "Tanh": torch.tanh,
    "Transpose": lambda x, perm: x.permute(perm),
    "Unsqueeze": _unsqueeze,
    "Where": torch.where,
}
_NOT_FOR_TORCH = {"stash_type", "kernel_shape"}


class TorchGraph(nn.Module):
    """features (B, T, F) float32 -> outputs (B, K) float32, on the device its weights are on."""

    def __init__(self, graph: bytes) -> None:
        """Raises EngineError where the graph has an operator that is not known here."""
        super().__init__()
        model = onnx.load_from_string(graph).graph
        unknown = sorted({node.op_type for node in model.node} - set(OPERATORS))
        if unknown:
            raise EngineError(f"the graph has {', '.join(unknown)}, which the torch engine does not know")
        (self._input,), (self._output,) = ([value.name for value in each] for each in (model.input, model.output))
        self._shapes: dict[str, Tensor] = {}
        self._weights: dict[str, str] = {}
        for index, tensor in enumerate(model.initializer):
            value = torch.from_numpy(np.array(numpy_helper.to_array(tensor)))
            if value.dtype == torch.int64:
                self._shapes[tensor.name] = value
            else:
                self._weights[tensor.name] = f"weight_{index}"
                self.register_buffer(f"weight_{index}", value)
        self._steps = [
            (
                OPERATORS[node.op_type],
                list(node.input),
                list(node.output),
                {
                    each.name: helper.get_attribute_value(each)
                    for each in node.attribute
                    if each.name not in _NOT_FOR_TORCH
                },
            )
            for node in model.node
        ]

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, F) -> (B, K)."""
        values: dict[str, Any] = {**self._shapes, self._input: features, "": None}
        values |= {name: getattr(self, buffer) for name, buffer in self._weights.items()}
        for operator, given, made, attributes in self._steps:
            try:
                results = operator(*(values[name] for name in given), **attributes)
            except (KeyError, TypeError, ValueError) as unknown:
                raise EngineError(
                    f"{', '.join(made)}: a form of its operator that is not known: {unknown}"
                ) from unknown
            values.update(zip(made, results if isinstance(results, list) else [results], strict=True))
        outputs: Tensor = values[self._output]
        return outputs
