"""What is timed: one entry an operator, with its sizes, types, bytes and the tests that must be green first."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from livemos.kernels.asp.reference import asp_backward_reference, asp_reference, asp_reference_with_state
from livemos.kernels.log_mel.plan import LogMelPlan
from livemos.kernels.log_mel.reference import log_mel_reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One size on one device: both callables take nothing and compute the same. moved_bytes: read and written once."""

    reference: Callable[[], Any]
    fused: Callable[[], Any]
    moved_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """sizes: what `prepare` takes; tests: files below tests/unit/kernels that must pass before anything is timed."""

    operator: str
    axes: str
    sizes: tuple[tuple[int, ...], ...]
    dtypes: tuple[torch.dtype, ...]
    tests: tuple[str, ...]
    prepare: Callable[[tuple[int, ...], torch.dtype, torch.device], Workload]


def _frames(size: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    batch, frames, channels = size
    made = torch.Generator(device).manual_seed(0)
    h = torch.randn(batch, frames, channels, generator=made, device=device).to(dtype)
    e = torch.randn(batch, frames, generator=made, device=device)
    return h, e, torch.full((batch,), frames, dtype=torch.int32, device=device)


def _bytes(*tensors: Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _asp_forward(size: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Workload:
    from livemos.kernels.asp.fused import asp_fused

    h, e, lengths = _frames(size, dtype, device)
    return Workload(
        reference=lambda: asp_reference(h, e, lengths),
        fused=lambda: asp_fused(h, e, lengths)[0],
        moved_bytes=_bytes(h, e, lengths) + 4 * 2 * size[0] * size[2],
    )


def _asp_backward(size: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Workload:
    from livemos.kernels.asp.fused import asp_fused_backward

    h, e, lengths = _frames(size, dtype, device)
    pooled, state = asp_reference_with_state(h, e, lengths)
    gradient = torch.ones_like(pooled)
    return Workload(
        reference=lambda: asp_backward_reference(h, e, lengths, pooled, state, gradient),
        fused=lambda: asp_fused_backward(h, e, lengths, pooled, state, gradient),
        moved_bytes=2 * _bytes(h, e) + _bytes(lengths, pooled, state, gradient),
    )


def speech_plan(device: torch.device) -> LogMelPlan:
    """25 ms every 10 ms at 16 kHz, 512-point FFT, 64 bands of equal width in mel: the size of the default features."""
    window = torch.hann_window(400)
    low, high = (2595.0 * math.log10(1.0 + hz / 700.0) for hz in (40.0, 8000.0))
    mel = torch.linspace(low, high, 66)
    edges = 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    bins = torch.arange(257)[:, None] * 31.25
    rising, falling = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2]), (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rising, falling).clamp_min(0.0)
    return LogMelPlan.build(window, filters, hop_samples=160, fft_samples=512, floor=1e-5).to(device)


def _log_mel(size: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Workload:
    from livemos.kernels.log_mel.fused import log_mel_fused

    plan = speech_plan(device)
    made = torch.Generator(device).manual_seed(0)
    samples = torch.randint(-8000, 8000, size, generator=made, device=device, dtype=torch.int16)
    frames = size[0] * plan.frames(size[1])
    # samples in, frames out and in again, spectrum out and in again, features out
    moved_bytes = _bytes(samples) + 4 * frames * (2 * 512 + 2 * 2 * 257 + plan.bands)
    return Workload(
        reference=lambda: log_mel_reference(samples, plan),
        fused=lambda: log_mel_fused(samples, plan),
        moved_bytes=moved_bytes,
    )


_POOLED_SIZES = ((64, 25, 96), (1024, 25, 96), (4096, 25, 128), (4096, 100, 256), (8192, 100, 256), (4096, 400, 256))
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)

BENCHMARKS = {
    "asp-forward": Benchmark(
        operator="asp-forward",
        axes="B x T x D",
        sizes=_POOLED_SIZES,
        dtypes=_FLOATS,
        tests=("test_asp_reference.py", "test_asp_operator.py", "test_asp_fused.py", "test_asp_gpu.py"),
        prepare=_asp_forward,
    ),
    "asp-backward": Benchmark(
        operator="asp-backward",
        axes="B x T x D",
        sizes=_POOLED_SIZES,
        dtypes=_FLOATS,
        tests=("test_asp_reference.py", "test_asp_operator.py", "test_asp_fused.py", "test_asp_gpu.py"),
        prepare=_asp_backward,
    ),
    "log-mel": Benchmark(
        operator="log-mel",
        axes="B x samples",
        sizes=((64, 16_000), (256, 16_000), (1024, 16_000), (4096, 16_000)),
        dtypes=(torch.int16,),
        tests=("test_log_mel.py",),
        prepare=_log_mel,
    ),
}
