"""The operators models call; each picks its fused kernel where one can run, and says which one it picked."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from livemos.kernels.asp.custom_ops import asp, runs_fused
from livemos.kernels.asp.onnx_node import node_is_wanted, symbolic_pool
from livemos.kernels.asp.reference import EPSILON, asp_reference
from livemos.kernels.log_mel.plan import LogMelPlan
from livemos.kernels.log_mel.reference import log_mel_reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """Which implementation of an operator runs on a device, and why."""

    operator: str
    implementation: str  # "triton" or "reference"
    device: str
    reason: str

    def __str__(self) -> str:
        return f"{self.operator}: {self.implementation} on {self.device} ({self.reason})"


def describe_dispatch(device: torch.device | str, operator: str = "attentive_stats_pool") -> Dispatch:
    """What an operator of this module runs for tensors on `device`, forward and backward."""
    device = torch.device(device)
    if runs_fused(device.type):
        implementation, reason = "triton", "CUDA tensors" if device.type == "cuda" else "Triton's interpreter is on"
    elif device.type != "cuda":
        implementation, reason = "reference", "the fused kernel is for CUDA tensors"
    else:
        implementation, reason = "reference", "triton is not installed"
    return Dispatch(operator=operator, implementation=implementation, device=str(device), reason=reason)


def attentive_stats_pool(h: Tensor, e: Tensor, lengths: Tensor | None = None, epsilon: float = EPSILON) -> Tensor:
    """Weighted mean and deviation over time -> (B, 2 D) float32.

    h (B, T, D); e (B, T), one score a frame, or (B, T, D); lengths (B,) or None for T. kernels/asp/reference.py is the
    definition. Where Triton runs this is the operator `livemos::asp`, forward and backward; elsewhere it is the
    definition itself, which autograd and an ONNX export take apart. Which one: `describe_dispatch`.
    """
    if node_is_wanted():
        return symbolic_pool(h, e, lengths, epsilon)
    fused = runs_fused(h.device.type) and h.dtype != torch.float64
    if not fused or torch.onnx.is_in_onnx_export():
        return asp_reference(h, e, lengths, epsilon)
    if lengths is None:
        lengths = torch.full((h.shape[0],), h.shape[1], dtype=torch.int32, device=h.device)
    needs_gradient = torch.is_grad_enabled() and (h.requires_grad or e.requires_grad)
    pooled: Tensor = asp(h, e, lengths, epsilon, needs_gradient)[0]
    return pooled


def log_mel(samples: Tensor, plan: LogMelPlan) -> Tensor:
    """Features of segments: samples (B, N) int16, or float32 with full scale 1.0 -> (B, frames(N), F) float32.

    No gradient. kernels/log_mel/reference.py is the definition; the plan lies on the device of the samples.
    """
    if not runs_fused(samples.device.type):
        return log_mel_reference(samples, plan)
    from livemos.kernels.log_mel.fused import log_mel_fused

    return log_mel_fused(samples, plan)
