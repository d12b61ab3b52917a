"""Log-mel features in plain torch: the definition that the fused passes are tested against.

log(max(mel power, floor)) of windowed frames, the mean of each frame removed first; power is |rfft|^2 of samples with
full scale 1.0. All in float32: in TF32 or half precision a tone over quiet noise is wrong by nats (docs/gpu.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from livemos.kernels.log_mel.plan import LogMelPlan

_FULL_SCALE_INT16 = 32768.0


@contextmanager
def _no_tf32(device: torch.device) -> Iterator[None]:
    """cuBLAS may be allowed TF32 by whoever trains in this process; these few products are not."""
    if device.type != "cuda":
        yield
        return
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed


def log_mel_reference(samples: Tensor, plan: LogMelPlan) -> Tensor:
    """samples (B, N), float32 with full scale 1.0 or int16 -> (B, frames(N), F) float32."""
    if samples.dtype == torch.int16:
        samples = samples.to(torch.float32) / _FULL_SCALE_INT16
    frames = samples.unfold(-1, len(plan.window), plan.hop_samples)  # (B, T, W)
    frames = (frames - frames.mean(dim=-1, keepdim=True)) * plan.window
    spectrum = torch.fft.rfft(frames, n=plan.fft_samples)  # (B, T, K)
    power = spectrum.real.square() + spectrum.imag.square()
    with _no_tf32(samples.device):
        mel = power @ plan.filters
    return torch.log(mel.clamp_min(plan.floor))
