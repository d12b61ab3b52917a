"""Log-mel features on a GPU: two Triton passes around the library's FFT.

The first takes int16 or float32 samples to windowed frames ready for the transform, the second takes the spectrum to
log-mel without writing power or mel. The FFT stays the library's: a matrix DFT does 30 times its work, and in TF32 it
is wrong by nats (docs/gpu.md).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from livemos.kernels.log_mel.plan import BANDS_A_BLOCK, LogMelPlan


@triton.jit
def frame_kernel(
    samples_ptr,
    window_ptr,
    frames,
    stride_b,
    hop_samples,
    window_samples,
    fft_samples,
    out_ptr,
    SCALE: tl.constexpr,  # noqa: N803 - compile-time constants are capitals in Triton
    BLOCK_T: tl.constexpr,  # noqa: N803
    BLOCK_W: tl.constexpr,  # noqa: N803
):
    row = tl.program_id(0).to(tl.int64)
    t = tl.program_id(1) * BLOCK_T + tl.arange(0, BLOCK_T)  # [BLOCK_T]
    n = tl.arange(0, BLOCK_W)  # [BLOCK_W]
    exists = t < frames
    in_window = n < window_samples
    heard = exists[:, None] & in_window[None, :]
    x = tl.load(samples_ptr + row * stride_b + t[:, None] * hop_samples + n[None, :], mask=heard, other=0)
    x = x.to(tl.float32) * SCALE  # [BLOCK_T, BLOCK_W]
    mean = tl.sum(x, axis=1) / window_samples
    window = tl.load(window_ptr + n, mask=in_window, other=0.0)  # zero behind the window: the padding of the FFT
    windowed = (x - mean[:, None]) * window[None, :]
    place = (row * frames + t[:, None]) * fft_samples + n[None, :]
    tl.store(out_ptr + place, windowed, mask=exists[:, None] & (n < fft_samples)[None, :])


@triton.jit
def mel_kernel(
    spectrum_ptr,
    filters_ptr,
    reach_ptr,
    rows,
    bins,
    bands,
    out_ptr,
    FLOOR: tl.constexpr,  # noqa: N803
    BLOCK_M: tl.constexpr,  # noqa: N803
    BLOCK_K: tl.constexpr,  # noqa: N803
    BLOCK_F: tl.constexpr,  # noqa: N803
):
    m = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)  # [BLOCK_M]
    block = tl.program_id(1)
    f = block * BLOCK_F + tl.arange(0, BLOCK_F)  # [BLOCK_F]
    exists, banded = m < rows, f < bands
    first = tl.load(reach_ptr + 2 * block)
    end = tl.load(reach_ptr + 2 * block + 1)
    mel = tl.zeros((BLOCK_M, BLOCK_F), tl.float32)
    for start in range(first, end, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)  # [BLOCK_K]
        reached = k < end
        place = spectrum_ptr + m[:, None] * (2 * bins) + 2 * k[None, :]
        both = exists[:, None] & reached[None, :]
        real = tl.load(place, mask=both, other=0.0)
        imaginary = tl.load(place + 1, mask=both, other=0.0)
        power = real * real + imaginary * imaginary  # [BLOCK_M, BLOCK_K]
        filters = tl.load(
            filters_ptr + k[:, None] * bands + f[None, :], mask=reached[:, None] & banded[None, :], other=0.0
        )
        # "ieee": the default is TF32, three decimal digits
        mel = tl.dot(power, filters, mel, input_precision="ieee")
    tl.store(
        out_ptr + m[:, None] * bands + f[None, :],
        tl.log(tl.maximum(mel, FLOOR)),
        mask=exists[:, None] & banded[None, :],
    )


def frame_fused(samples: Tensor, plan: LogMelPlan) -> Tensor:
    """samples (B, N) int16 or float32 -> (B, frames(N), fft_samples) float32, mean removed, windowed, zero-padded."""
    if samples.dtype not in (torch.int16, torch.float32):
        raise ValueError(f"log-mel takes int16 or float32 samples, got {samples.dtype}")
    if samples.stride(1) != 1:
        samples = samples.contiguous()
    batch, frames = samples.shape[0], plan.frames(samples.shape[1])
    out = torch.empty((batch, frames, plan.fft_samples), dtype=torch.float32, device=samples.device)
    if out.numel() > 0:
        block_t = 4
        frame_kernel[(batch, triton.cdiv(frames, block_t))](
            samples, plan.window, frames, samples.stride(0), plan.hop_samples, len(plan.window), plan.fft_samples, out,
            SCALE=1.0 / 32768.0 if samples.dtype == torch.int16 else 1.0, BLOCK_T=block_t,
            BLOCK_W=triton.next_power_of_2(plan.fft_samples), num_warps=4,
        )  # fmt: skip
    return out


def mel_fused(spectrum: Tensor, plan: LogMelPlan) -> Tensor:
    """spectrum (B, T, K) complex64 -> log-mel (B, T, F) float32."""
    batch, frames, bins = spectrum.shape
    out = torch.empty((batch, frames, plan.bands), dtype=torch.float32, device=spectrum.device)
    if out.numel() > 0:
        block_m = 32
        mel_kernel[(triton.cdiv(batch * frames, block_m), triton.cdiv(plan.bands, BANDS_A_BLOCK))](
            torch.view_as_real(spectrum.contiguous()), plan.filters, plan.reach, batch * frames, bins, plan.bands, out,
            FLOOR=plan.floor, BLOCK_M=block_m, BLOCK_K=32, BLOCK_F=BANDS_A_BLOCK, num_warps=4,
        )  # fmt: skip
    return out


def log_mel_fused(samples: Tensor, plan: LogMelPlan, *, chunk_segments: int = 256) -> Tensor:
    """As `log_mel_reference`, chunk by chunk, so that frames and spectrum of a chunk stay in the L2 cache."""
    chunks = [mel_fused(torch.fft.rfft(frame_fused(part, plan)), plan) for part in torch.split(samples, chunk_segments)]
    return chunks[0] if len(chunks) == 1 else torch.cat(chunks)
