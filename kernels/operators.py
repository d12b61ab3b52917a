"""The operators models call; each picks its fused kernel where one can run, and says which one it picked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from livemos.kernels.asp.reference import EPSILON, asp_reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """Which implementation of an operator runs on a device, and why."""

    operator: str
    implementation: str  # "triton" or "reference"
    device: str
    reason: str

    def __str__(self) -> str:
        return f"{self.operator}: {self.implementation} on {self.device} ({self.reason})"


@cache
def _triton_is_installed() -> bool:
    return find_spec("triton") is not None


def describe_dispatch(device: torch.device | str, *, needs_gradient: bool = False) -> Dispatch:
    """What `attentive_stats_pool` runs for tensors on `device`."""
    device = torch.device(device)
    if device.type != "cuda":
        implementation, reason = "reference", "the fused kernel is for CUDA tensors"
    elif needs_gradient:
        implementation, reason = "reference", "the fused kernel has no backward"
    elif not _triton_is_installed():
        implementation, reason = "reference", "triton is not installed"
    else:
        implementation, reason = "triton", "CUDA tensors, forward only"
    return Dispatch(operator="attentive_stats_pool", implementation=implementation, device=str(device), reason=reason)


def attentive_stats_pool(h: Tensor, e: Tensor, lengths: Tensor | None = None, epsilon: float = EPSILON) -> Tensor:
    """Weighted mean and deviation over time: h (B, T, D), e (B, T), lengths (B,) or None for T -> (B, 2 D) float32.

    kernels/asp/reference.py is the definition. Which implementation runs: `describe_dispatch`.
    """
    needs_gradient = torch.is_grad_enabled() and (h.requires_grad or e.requires_grad)
    if h.is_cuda and describe_dispatch(h.device, needs_gradient=needs_gradient).implementation == "triton":
        # importing Triton takes 0.5 s and needs a package that CPU users do not have
        from livemos.kernels.asp.fused import asp_fused

        if lengths is None:
            lengths = torch.full((h.shape[0],), h.shape[1], dtype=torch.int32, device=h.device)
        return asp_fused(h, e, lengths, epsilon)
    return asp_reference(h, e, lengths, epsilon)
