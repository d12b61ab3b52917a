"""Attentive statistics pooling as one Triton kernel: each frame is read once, nothing but the result is written.

A program owns one row of the batch and BLOCK_D channels. It walks over time in tiles of BLOCK_T frames and merges the
tiles' statistics as Chan, Golub and LeVeque (1979) do. Sums of squares are never subtracted from one another: far from
zero that leaves nothing of a small deviation in float32.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from livemos.kernels.asp.reference import EPSILON


@triton.jit
def asp_forward_kernel(
    h_ptr,
    e_ptr,
    lengths_ptr,
    frames,
    channels,
    h_stride_b,
    h_stride_t,
    e_stride_b,
    out_ptr,
    EPS: tl.constexpr,  # noqa: N803 - compile-time constants are capitals in Triton
    BLOCK_T: tl.constexpr,  # noqa: N803
    BLOCK_D: tl.constexpr,  # noqa: N803
):
    NOTHING: tl.constexpr = float("-inf")  # noqa: N806
    row = tl.program_id(0).to(tl.int64)  # int64: row * stride can pass 2**31
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)  # [BLOCK_D]
    inside = d < channels
    length = tl.minimum(tl.load(lengths_ptr + row).to(tl.int32), frames)
    pivot = tl.zeros((BLOCK_D,), tl.float32)
    mean = tl.zeros((BLOCK_D,), tl.float32)  # less the pivot
    squares = tl.zeros((BLOCK_D,), tl.float32)  # weighted, about the mean, in units of exp(peak)
    peak = tl.full((1,), NOTHING, tl.float32)
    total = tl.zeros((1,), tl.float32)
    for start in range(0, length, BLOCK_T):
        t = start + tl.arange(0, BLOCK_T)  # [BLOCK_T]
        valid = t < length
        score = tl.load(e_ptr + row * e_stride_b + t, mask=valid, other=NOTHING).to(tl.float32)
        x = (
            tl.load(
                h_ptr + row * h_stride_b + t[:, None] * h_stride_t + d[None, :],
                mask=valid[:, None] & inside[None, :],
                other=0.0,
            ).to(tl.float32)
            - pivot[None, :]
        )  # [BLOCK_T, BLOCK_D]
        # the tile's own maximum: against the running one all its weights may underflow, and 0 / 0 follows
        tile_peak = tl.max(score, axis=0, keep_dims=True)  # [1]
        weight = tl.exp(score - tl.where(tile_peak == NOTHING, 0.0, tile_peak))  # [BLOCK_T]
        tile_total = tl.sum(weight, axis=0, keep_dims=True)
        over_total = tl.where(tile_total > 0.0, 1.0 / tile_total, 0.0)
        tile_mean = tl.sum(weight[:, None] * x, axis=0) * over_total  # [BLOCK_D]
        centred = tl.where(valid[:, None], x - tile_mean[None, :], 0.0)
        weighted = weight[:, None] * centred
        rest = tl.sum(weighted, axis=0) * over_total  # what rounding left in the tile's mean
        tile_squares = tl.maximum(tl.sum(weighted * centred, axis=0) - tile_total * rest * rest, 0.0)
        # the first tile that counts gives the pivot: one frame alone may be an outlier of no weight
        first = total == 0.0
        pivot = tl.where(first, tile_mean, pivot)
        tile_mean = tl.where(first, rest, tile_mean + rest)
        new_peak = tl.maximum(peak, tile_peak)
        safe_peak = tl.where(new_peak == NOTHING, 0.0, new_peak)
        old_scale = tl.exp(peak - safe_peak)
        tile_scale = tl.exp(tile_peak - safe_peak)
        old_total = total * old_scale
        total = old_total + tile_total * tile_scale
        share = tl.where(total > 0.0, tile_total * tile_scale / total, 0.0)
        step = tile_mean - mean
        mean += step * share
        squares = squares * old_scale + tile_squares * tile_scale + step * step * (old_total * share)
        peak = new_peak
    seen = total > 0.0
    variance = tl.where(seen, squares / total, 0.0)
    deviation = tl.where(seen, tl.sqrt(variance + EPS), 0.0)
    out = out_ptr + row * (2 * channels)
    tl.store(out + d, tl.where(seen, mean + pivot, 0.0), mask=inside)
    tl.store(out + channels + d, deviation, mask=inside)


def asp_fused(
    h: Tensor, e: Tensor, lengths: Tensor, epsilon: float = EPSILON, *, block_t: int = 32, block_d: int = 64
) -> Tensor:
    """As `asp_reference`, forward only: h (B, T, D) float32, float16 or bfloat16 with D contiguous -> (B, 2 D) float32.

    The device of `h` must be one Triton compiles for, or the interpreter must be on (TRITON_INTERPRET=1).
    """
    batch, frames, channels = h.shape
    if h.stride(2) != 1 and channels > 1:
        h = h.contiguous()
    if e.stride(1) != 1:
        e = e.contiguous()
    out = torch.empty((batch, 2 * channels), dtype=torch.float32, device=h.device)
    if batch == 0:
        return out
    asp_forward_kernel[(batch, triton.cdiv(channels, block_d))](
        h, e, lengths, frames, channels, h.stride(0), h.stride(1), e.stride(0), out,
        EPS=epsilon, BLOCK_T=block_t, BLOCK_D=block_d, num_warps=4,
    )  # fmt: skip
    return out
