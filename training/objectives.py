"""The loss of a batch of families, from the network's outputs and the targets of the same windows.

Clip and segment terms after Tseng et al. 2021 (squared error of the clip's mean over its segments, plus a lighter term
for each segment), with two of our own: differences inside a family, which carry no error of the voice, and the
dimensions, which the simulator knows exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from livemos.training.models.conformer import OUTPUTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much each term counts."""

    clip: float = 1.0
    window: float = 0.3
    contrast: float = 0.5
    dimension: float = 0.25
    presence: float = 0.3
    likelihood: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTargets:
    """All (clips, windows) float32; clips in whole families. weight: 0 where a window says nothing about quality."""

    mos: Tensor
    weight: Tensor
    noisiness: Tensor
    coloration: Tensor
    discontinuity: Tensor
    loudness: Tensor
    speech_ratio: Tensor


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """(C, W) -> (C,), 0 where a clip has no weight at all."""
    return (values * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1e-6)


def family_loss(
    outputs: Tensor, targets: BatchTargets, weights: Weights, *, family_clips: int, with_likelihood: bool
) -> dict[str, Tensor]:
    """outputs: (C, W, 7) -> each term, weighted, and their sum as "total"."""
    named = dict(zip(OUTPUTS, outputs.unbind(dim=-1), strict=True))
    error = torch.where(targets.weight > 0, named["mos"] - targets.mos, 0.0)  # (C, W)
    clip_error = weighted_mean(error, targets.weight)  # (C,)
    speaks = (targets.weight.sum(dim=1) > 0).float()
    weight_sum = targets.weight.sum().clamp_min(1.0)
    in_families = clip_error.reshape(-1, family_clips)
    contrast = in_families[:, :, None] - in_families[:, None, :]  # (families, members, members)
    dimensions = sum(
        (targets.weight * (named[name] - getattr(targets, name)).square()).sum() / weight_sum
        for name in ("noisiness", "coloration", "discontinuity", "loudness")
    )
    terms = {
        "clip": weights.clip * (speaks * clip_error.square()).sum() / speaks.sum().clamp_min(1.0),
        "window": weights.window * (targets.weight * error.square()).sum() / weight_sum,
        "contrast": weights.contrast * contrast.square().mean(),
        "dimension": weights.dimension * torch.as_tensor(dimensions),
        "presence": weights.presence
        * functional.binary_cross_entropy(named["speech_ratio"].clamp(1e-5, 1 - 1e-5), targets.speech_ratio),
    }
    if with_likelihood:
        variance = named["mos_std"].square()
        likelihood = 0.5 * (torch.log(variance) + error.detach().square() / variance)
        terms["likelihood"] = weights.likelihood * (targets.weight * likelihood).sum() / weight_sum
    terms["total"] = torch.stack(list(terms.values())).sum()
    return terms
