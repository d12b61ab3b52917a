"""Attentive statistics pooling (Okabe et al. 2018), the definition that every fused version is tested against.

Weighted mean and standard deviation of frames over time, weights by softmax of one score a frame, or of one score a
frame and channel.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# under the root, so that the gradient stays finite where all frames are equal
EPSILON = 1e-6


class _Moments(NamedTuple):
    """What the pooled row and its gradient are made of; the last axis is D, or 1 where all channels share scores."""

    mean: Tensor  # (B, D), first pass
    rest: Tensor  # (B, D), what rounding left in it
    variance: Tensor  # (B, D)
    peak: Tensor  # (B, D or 1), largest score
    total: Tensor  # (B, D or 1), sum of exp(score - peak)


def _wide(h: Tensor) -> torch.dtype:
    return torch.float64 if h.dtype == torch.float64 else torch.float32


def _hide_padding(h: Tensor, e: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Frames (B, T, D) and scores (B, T, D or 1) in the wide type, 0 and -inf at and behind each row's length."""
    x, score = h.to(_wide(h)), e.to(_wide(h))
    if e.dim() == 2:
        score = score[:, :, None]
    if lengths is not None:
        valid = (torch.arange(h.shape[1], device=h.device) < lengths[:, None])[:, :, None]  # (B, T, 1)
        x = torch.where(valid, x, 0.0)
        score = torch.where(valid, score, -torch.inf)
    return x, score


def _moments(x: Tensor, score: Tensor) -> _Moments:
    peak = score.detach().amax(dim=1, keepdim=True)
    weight = torch.exp(score - torch.where(peak == -torch.inf, 0.0, peak))  # (B, T, D or 1)
    total = weight.sum(dim=1, keepdim=True)
    weight = weight / torch.where(total > 0.0, total, 1.0)
    mean = (weight * x).sum(dim=1)  # (B, D)
    centred = x - mean[:, None, :]
    # the mean of what is left is the rounding of the first pass; near constant frames it is all there is
    rest = (weight * centred).sum(dim=1)
    variance = ((weight * centred.square()).sum(dim=1) - rest.square()).clamp_min(0.0)
    return _Moments(mean, rest, variance, peak[:, 0], total[:, 0])


def asp_reference(h: Tensor, e: Tensor, lengths: Tensor | None = None, epsilon: float = EPSILON) -> Tensor:
    """h: (B, T, D), e: (B, T) or (B, T, D), lengths: (B,), None for all T -> (B, 2 D): means, then deviations.

    float32 inside and out whatever comes in, float64 for float64. Frames at and behind a row's length are never
    looked at, they may be NaN. A row (a channel of it) of length 0, or with no score above -inf, gives zeros.
    """
    found = _moments(*_hide_padding(h, e, lengths))
    pooled = torch.cat([found.mean + found.rest, torch.sqrt(found.variance + epsilon)], dim=1)
    seen = found.total > 0.0
    return torch.where(seen.repeat(1, 2) if e.dim() == 3 else seen, pooled, 0.0)


def asp_reference_with_state(
    h: Tensor, e: Tensor, lengths: Tensor | None = None, epsilon: float = EPSILON
) -> tuple[Tensor, Tensor]:
    """The pooled rows, and the state (B, 4, D) that `asp_backward_reference` needs.

    State: exact mean less the rounded one in the result, variance, largest score, sum of exp(score - largest).
    """
    found = _moments(*_hide_padding(h, e, lengths))
    seen = found.total > 0.0
    rounded = found.mean + found.rest
    rest = (found.mean - rounded) + found.rest
    deviation = torch.sqrt(found.variance + epsilon)
    pooled = torch.where(seen.repeat(1, 2) if e.dim() == 3 else seen, torch.cat([rounded, deviation], dim=1), 0.0)
    state = torch.stack([rest, found.variance, found.peak.expand_as(rounded), found.total.expand_as(rounded)], dim=1)
    return pooled, state


def asp_backward_reference(
    h: Tensor, e: Tensor, lengths: Tensor | None, pooled: Tensor, state: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of h and e in their types, zero in the padding; gradient is that of the pooled rows, (B, 2 D).

    With weights p, d = h - mean, and the gradients g_mean and g_dev of mean and deviation:

        g_h = p (g_mean + g_dev d / deviation)
        g_e = p sum over the channels that share e of (g_mean d + g_dev (d^2 - variance) / (2 deviation))
    """
    x, score = _hide_padding(h, e, lengths)
    channels = h.shape[2]
    mean, deviation = pooled[:, None, :channels], pooled[:, None, channels:]
    to_mean, to_deviation = gradient[:, None, :channels].to(x.dtype), gradient[:, None, channels:].to(x.dtype)
    rest, variance, peak, total = (part[:, None] for part in state.unbind(dim=1))  # each (B, 1, D)
    if e.dim() == 2:
        peak, total = peak[..., :1], total[..., :1]
    seen = total > 0.0
    weight = torch.where(seen, torch.exp(score - torch.where(seen, peak, 0.0)) / torch.where(seen, total, 1.0), 0.0)
    slope = to_deviation / torch.where(deviation > 0.0, deviation, 1.0)
    # the mean as float32 holds it is too coarse far from zero: 3e-5 at 1,000
    centred = (x - mean) - rest
    to_frames = weight * (to_mean + slope * centred)
    to_scores = weight * (to_mean * centred + 0.5 * slope * (centred.square() - variance))
    if e.dim() == 2:
        to_scores = to_scores.sum(dim=2)
    return to_frames.to(h.dtype), to_scores.to(e.dtype)
