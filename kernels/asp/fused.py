"""Attentive statistics pooling as Triton kernels: forward reads each frame once and writes nothing but the result,
backward reads each frame once and writes its gradient.

Forward: a program owns one row of the batch and BLOCK_D channels. It walks over time in tiles of BLOCK_T frames and
merges the tiles' statistics as Chan, Golub and LeVeque (1979) do. Sums of squares are never subtracted from one
another: far from zero that leaves nothing of a small deviation in float32.

Backward: a program owns one row and BLOCK_T frames and walks over the channels, because a score that channels share
sums over them. The formulas are in `asp_backward_reference`.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from livemos.kernels.asp.reference import EPSILON


@triton.jit
def asp_forward_kernel(  # noqa: PLR0915 - one launch, one function
    h_ptr,
    e_ptr,
    lengths_ptr,
    frames,
    channels,
    h_stride_b,
    h_stride_t,
    e_stride_b,
    e_stride_t,
    out_ptr,
    state_ptr,
    EPS: tl.constexpr,  # noqa: N803 - compile-time constants are capitals in Triton
    PER_CHANNEL: tl.constexpr,  # noqa: N803
    KEEP_STATE: tl.constexpr,  # noqa: N803
    BLOCK_T: tl.constexpr,  # noqa: N803
    BLOCK_D: tl.constexpr,  # noqa: N803
):
    NOTHING: tl.constexpr = float("-inf")  # noqa: N806
    SCORED: tl.constexpr = BLOCK_D if PER_CHANNEL else 1  # noqa: N806 - how many softmaxes run side by side
    row = tl.program_id(0).to(tl.int64)  # int64: row * stride can pass 2**31
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)  # [BLOCK_D]
    inside = d < channels
    length = tl.minimum(tl.load(lengths_ptr + row).to(tl.int32), frames)
    pivot = tl.zeros((BLOCK_D,), tl.float32)
    mean = tl.zeros((BLOCK_D,), tl.float32)  # less the pivot
    squares = tl.zeros((BLOCK_D,), tl.float32)  # weighted, about the mean, in units of exp(peak)
    peak = tl.full((SCORED,), NOTHING, tl.float32)
    total = tl.zeros((SCORED,), tl.float32)
    for start in range(0, length, BLOCK_T):
        t = start + tl.arange(0, BLOCK_T)  # [BLOCK_T]
        valid = t < length
        here = valid[:, None] & inside[None, :]
        # one score a frame is exponentiated before it is spread over the channels
        if PER_CHANNEL:
            score = tl.load(e_ptr + row * e_stride_b + t[:, None] * e_stride_t + d[None, :], mask=here, other=NOTHING)
        else:
            score = tl.load(e_ptr + row * e_stride_b + t, mask=valid, other=NOTHING)[:, None]
        score = score.to(tl.float32)  # [BLOCK_T, SCORED]
        x = tl.load(h_ptr + row * h_stride_b + t[:, None] * h_stride_t + d[None, :], mask=here, other=0.0)
        x = x.to(tl.float32) - pivot[None, :]  # [BLOCK_T, BLOCK_D]
        # the tile's own maximum: against the running one all its weights may underflow, and 0 / 0 follows
        tile_peak = tl.max(score, axis=0)  # [SCORED]
        weight = tl.exp(score - tl.where(tile_peak == NOTHING, 0.0, tile_peak)[None, :])
        tile_total = tl.sum(weight, axis=0)  # at least 1, or 0 where no frame has weight
        over_total = 1.0 / tl.maximum(tile_total, 1.0)
        tile_mean = tl.sum(weight * x, axis=0) * over_total  # [BLOCK_D]
        centred = x - tile_mean[None, :]
        weighted = weight * centred
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
        share = tile_total * tile_scale / tl.maximum(total, 1.0)
        step = tile_mean - mean
        mean += step * share
        squares = squares * old_scale + tile_squares * tile_scale + step * step * (old_total * share)
        peak = new_peak
    seen = total > 0.0
    variance = tl.where(seen, squares / tl.maximum(total, 1.0), 0.0)
    deviation = tl.where(seen, tl.sqrt(variance + EPS), 0.0)
    rounded = tl.where(seen, pivot + mean, 0.0)
    out = out_ptr + row * (2 * channels)
    tl.store(out + d, rounded, mask=inside)
    tl.store(out + channels + d, deviation, mask=inside)
    if KEEP_STATE:
        # what the sum of pivot and mean lost, exactly (Knuth's two-sum)
        virtual = rounded - pivot
        lost = (pivot - (rounded - virtual)) + (mean - virtual)
        spread = tl.zeros((BLOCK_D,), tl.float32)
        state = state_ptr + row * (4 * channels) + d
        tl.store(state, tl.where(seen, lost, 0.0), mask=inside)
        tl.store(state + channels, variance, mask=inside)
        tl.store(state + 2 * channels, peak + spread, mask=inside)
        tl.store(state + 3 * channels, total + spread, mask=inside)


@triton.jit
def asp_backward_kernel(
    h_ptr,
    e_ptr,
    lengths_ptr,
    pooled_ptr,
    state_ptr,
    gradient_ptr,
    frames,
    channels,
    h_stride_b,
    h_stride_t,
    e_stride_b,
    e_stride_t,
    to_h_ptr,
    to_e_ptr,
    PER_CHANNEL: tl.constexpr,  # noqa: N803
    BLOCK_T: tl.constexpr,  # noqa: N803
    BLOCK_D: tl.constexpr,  # noqa: N803
):
    NOTHING: tl.constexpr = float("-inf")  # noqa: N806
    row = tl.program_id(0).to(tl.int64)
    t = tl.program_id(1) * BLOCK_T + tl.arange(0, BLOCK_T)  # [BLOCK_T]
    length = tl.minimum(tl.load(lengths_ptr + row).to(tl.int32), frames)
    valid = t < length
    exists = t < frames
    pooled = pooled_ptr + row * (2 * channels)
    gradient = gradient_ptr + row * (2 * channels)
    state = state_ptr + row * (4 * channels)
    to_h = to_h_ptr + row * frames * channels
    to_e = to_e_ptr + row * frames * (channels if PER_CHANNEL else 1)
    if not PER_CHANNEL:
        peak = tl.load(state + 2 * channels)
        total = tl.load(state + 3 * channels)
        score = tl.load(e_ptr + row * e_stride_b + t, mask=valid, other=NOTHING).to(tl.float32)
        shared = tl.exp(score - tl.where(total > 0.0, peak, 0.0)) / tl.maximum(total, 1.0)  # [BLOCK_T]
        summed = tl.zeros((BLOCK_T,), tl.float32)
    for start in range(0, channels, BLOCK_D):
        d = start + tl.arange(0, BLOCK_D)  # [BLOCK_D]
        inside = d < channels
        here = valid[:, None] & inside[None, :]
        mean = tl.load(pooled + d, mask=inside, other=0.0)
        deviation = tl.load(pooled + channels + d, mask=inside, other=0.0)
        to_mean = tl.load(gradient + d, mask=inside, other=0.0)
        to_deviation = tl.load(gradient + channels + d, mask=inside, other=0.0)
        rest = tl.load(state + d, mask=inside, other=0.0)
        variance = tl.load(state + channels + d, mask=inside, other=0.0)
        slope = to_deviation / tl.where(deviation > 0.0, deviation, 1.0)
        x = tl.load(h_ptr + row * h_stride_b + t[:, None] * h_stride_t + d[None, :], mask=here, other=0.0)
        # the mean as float32 holds it is too coarse far from zero: 3e-5 at 1,000
        centred = tl.where(here, (x.to(tl.float32) - mean[None, :]) - rest[None, :], 0.0)  # [BLOCK_T, BLOCK_D]
        if PER_CHANNEL:
            peaks = tl.load(state + 2 * channels + d, mask=inside, other=0.0)
            totals = tl.load(state + 3 * channels + d, mask=inside, other=0.0)
            scores = tl.load(e_ptr + row * e_stride_b + t[:, None] * e_stride_t + d[None, :], mask=here, other=NOTHING)
            weight = tl.exp(scores.to(tl.float32) - tl.where(totals > 0.0, peaks, 0.0)[None, :])
            weight = weight / tl.maximum(totals, 1.0)[None, :]
        else:
            weight = shared[:, None]
        written = exists[:, None] & inside[None, :]
        place = t[:, None] * channels + d[None, :]
        to_frame = weight * (to_mean[None, :] + slope[None, :] * centred)
        tl.store(to_h + place, to_frame.to(to_h_ptr.dtype.element_ty), mask=written)
        to_score = to_mean[None, :] * centred + 0.5 * slope[None, :] * (centred * centred - variance[None, :])
        if PER_CHANNEL:
            tl.store(to_e + place, (weight * to_score).to(to_e_ptr.dtype.element_ty), mask=written)
        else:
            summed += tl.sum(to_score, axis=1)
    if not PER_CHANNEL:
        tl.store(to_e + t, (shared * summed).to(to_e_ptr.dtype.element_ty), mask=exists)


def _last_axis_packed(tensor: Tensor) -> Tensor:
    """The same values with neighbours of the last axis side by side: the kernels take strides of the others only."""
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] == 1 else tensor.contiguous()


def asp_fused(
    h: Tensor,
    e: Tensor,
    lengths: Tensor,
    epsilon: float = EPSILON,
    *,
    keep_state: bool = False,
    block_t: int = 32,
    block_d: int = 64,
    warps: int = 4,
) -> tuple[Tensor, Tensor]:
    """As `asp_reference_with_state`, for float32, float16 or bfloat16; the state is (0,) unless it is asked for.

    The device of `h` must be one Triton compiles for, or the interpreter must be on (TRITON_INTERPRET=1).
    """
    batch, frames, channels = h.shape
    h, e, per_channel = _last_axis_packed(h), _last_axis_packed(e), e.dim() == 3
    lengths = lengths.contiguous()
    out = torch.empty((batch, 2 * channels), dtype=torch.float32, device=h.device)
    state = torch.empty((batch, 4, channels) if keep_state else (0,), dtype=torch.float32, device=h.device)
    if batch * channels > 0:
        asp_forward_kernel[(batch, triton.cdiv(channels, block_d))](
            h, e, lengths, frames, channels, h.stride(0), h.stride(1), e.stride(0), e.stride(1), out, state,
            EPS=epsilon, PER_CHANNEL=per_channel, KEEP_STATE=keep_state, BLOCK_T=block_t, BLOCK_D=block_d,
            num_warps=warps,
        )  # fmt: skip
    return out, state


def asp_fused_backward(
    h: Tensor,
    e: Tensor,
    lengths: Tensor,
    pooled: Tensor,
    state: Tensor,
    gradient: Tensor,
    *,
    block_t: int = 16,
    block_d: int = 64,
    warps: int = 4,
) -> tuple[Tensor, Tensor]:
    """As `asp_backward_reference`: gradients of h and e, packed, in their types."""
    batch, frames, channels = h.shape
    h, e, per_channel = _last_axis_packed(h), _last_axis_packed(e), e.dim() == 3
    lengths, gradient = lengths.contiguous(), gradient.to(torch.float32).contiguous()
    to_h = torch.empty(h.shape, dtype=h.dtype, device=h.device)
    to_e = torch.empty(e.shape, dtype=e.dtype, device=e.device)
    if batch * frames * channels > 0:
        asp_backward_kernel[(batch, triton.cdiv(frames, block_t))](
            h, e, lengths, pooled, state, gradient, frames, channels, h.stride(0), h.stride(1), e.stride(0),
            e.stride(1), to_h, to_e,
            PER_CHANNEL=per_channel, BLOCK_T=block_t, BLOCK_D=block_d, num_warps=warps,
        )  # fmt: skip
    return to_h, to_e
