"""Attentive statistics pooling (Okabe et al. 2018), the definition that every fused version is tested against.

Weighted mean and standard deviation of frames over time, weights by softmax of one score a frame.
"""

from __future__ import annotations

import torch
from torch import Tensor

# under the root, so that the gradient stays finite where all frames are equal
EPSILON = 1e-6


def asp_reference(h: Tensor, e: Tensor, lengths: Tensor | None = None, epsilon: float = EPSILON) -> Tensor:
    """h: (B, T, D), e: (B, T), lengths: (B,) integers, None for all T -> (B, 2 D): means, then deviations.

    float32 inside and out whatever comes in, float64 for float64. Frames at and behind a row's length are never
    looked at, they may be NaN. A row of length 0, or with no score above -inf, gives zeros.
    """
    wide = torch.float64 if h.dtype == torch.float64 else torch.float32
    x, score = h.to(wide), e.to(wide)
    if lengths is not None:
        valid = torch.arange(h.shape[1], device=h.device) < lengths[:, None]  # (B, T)
        x = torch.where(valid[:, :, None], x, 0.0)
        score = torch.where(valid, score, -torch.inf)
    peak = score.detach().amax(dim=1, keepdim=True)
    weight = torch.exp(score - torch.where(peak == -torch.inf, 0.0, peak))  # (B, T)
    total = weight.sum(dim=1, keepdim=True)  # (B, 1)
    seen = total > 0.0
    weight = (weight / torch.where(seen, total, 1.0))[:, :, None]
    mean = (weight * x).sum(dim=1)  # (B, D)
    centred = x - mean[:, None, :]
    # the mean of what is left is the rounding of the first pass; near constant frames it is all there is
    rest = (weight * centred).sum(dim=1)
    variance = ((weight * centred.square()).sum(dim=1) - rest.square()).clamp_min(0.0)
    pooled = torch.cat([mean + rest, torch.sqrt(variance + epsilon)], dim=1)
    return torch.where(seen, pooled, 0.0)
