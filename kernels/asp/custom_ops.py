"""`livemos::asp` and `livemos::asp_backward`: torch sees one operator, whichever implementation runs.

Both are opaque to `torch.compile` and stay one node in `torch.export`. Which implementation runs is decided by the
device when the operator is called, not when it is traced.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from livemos.kernels.asp.reference import asp_backward_reference, asp_reference, asp_reference_with_state

# facts of the process, fixed where Triton fixes them: on import. Traced code may read them
TRITON_IS_INSTALLED = find_spec("triton") is not None
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def runs_fused(device_type: str) -> bool:
    """CUDA tensors take the Triton kernels; under Triton's interpreter all tensors do."""
    return TRITON_IS_INSTALLED and (device_type == "cuda" or INTERPRETED)


def _require_shapes(h: Tensor, e: Tensor, lengths: Tensor) -> None:
    if h.dim() != 3 or e.shape not in (h.shape[:2], h.shape) or lengths.shape != h.shape[:1]:
        raise ValueError(
            f"attentive statistics pooling takes h (B, T, D), e (B, T) or (B, T, D) and lengths (B,), "
            f"got {tuple(h.shape)}, {tuple(e.shape)} and {tuple(lengths.shape)}"
        )


@torch.library.custom_op("livemos::asp", mutates_args=())
def asp(h: Tensor, e: Tensor, lengths: Tensor, epsilon: float, keep_state: bool) -> tuple[Tensor, Tensor]:
    """Pooled rows (B, 2 D), and the state (B, 4, D) for the gradient, (0,) where `keep_state` is false."""
    _require_shapes(h, e, lengths)
    if runs_fused(h.device.type) and h.dtype != torch.float64:
        from livemos.kernels.asp.fused import asp_fused

        return asp_fused(h, e, lengths, epsilon, keep_state=keep_state)
    if keep_state:
        return asp_reference_with_state(h, e, lengths, epsilon)
    pooled = asp_reference(h, e, lengths, epsilon)
    return pooled, pooled.new_empty(0)


@asp.register_fake
def _(h: Tensor, e: Tensor, lengths: Tensor, epsilon: float, keep_state: bool) -> tuple[Tensor, Tensor]:
    wide = torch.float64 if h.dtype == torch.float64 else torch.float32
    batch, _, channels = h.shape
    state = h.new_empty((batch, 4, channels) if keep_state else (0,), dtype=wide)
    return h.new_empty((batch, 2 * channels), dtype=wide), state


@torch.library.custom_op("livemos::asp_backward", mutates_args=())
def asp_backward(
    h: Tensor, e: Tensor, lengths: Tensor, pooled: Tensor, state: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of h and e from that of the pooled rows; formulas in `asp_backward_reference`."""
    if runs_fused(h.device.type) and h.dtype != torch.float64:
        from livemos.kernels.asp.fused import asp_fused_backward

        return asp_fused_backward(h, e, lengths, pooled, state, gradient)
    to_h, to_e = asp_backward_reference(h, e, lengths, pooled, state, gradient)
    return to_h.contiguous(), to_e.contiguous()


@asp_backward.register_fake
def _(h: Tensor, e: Tensor, lengths: Tensor, pooled: Tensor, state: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    return h.new_empty(h.shape), e.new_empty(e.shape)


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    h, e, lengths, _, keep_state = inputs
    if not keep_state:
        raise ValueError("livemos::asp has no gradient without its state; call it with keep_state=True")
    ctx.save_for_backward(h, e, lengths, *output)


def _backward(ctx: Any, gradient: Tensor, _to_state: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
    to_h, to_e = asp_backward(*ctx.saved_tensors, gradient)
    return to_h, to_e, None, None, None


asp.register_autograd(_backward, setup_context=_save_for_backward)
