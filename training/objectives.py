"""The loss of a batch of families, from the network's outputs and the targets of the same windows.

Clip and segment terms after Tseng et al. 2021 (squared error of the clip's mean over its segments, plus a lighter term
for each segment), with three of our own: differences inside a family, which carry no error of the voice, the
dimensions, which the simulator knows exactly, and the cause of a low score.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from livemos.training.models.base import FIRST_CAUSE, OUTPUTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much each term counts."""

    clip: float = 1.0
    window: float = 0.3
    contrast: float = 0.5
    dimension: float = 0.25
    presence: float = 0.3
    cause: float = 0.1
    likelihood: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTargets:
    """All (clips, windows) float32; clips in whole families. weight: 0 where a window says nothing about quality.

    cause: index into CAUSE_OUTPUTS, int64.
    """

    mos: Tensor
    weight: Tensor
    noisiness: Tensor
    coloration: Tensor
    discontinuity: Tensor
    loudness: Tensor
    speech_ratio: Tensor
    cause: Tensor


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """(C, W) -> (C,), 0 where a clip has no weight at all."""
    return (values * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1e-6)


def family_loss(
    outputs: Tensor, targets: BatchTargets, weights: Weights, *, family_clips: int, with_likelihood: bool
) -> dict[str, Tensor]:
    """outputs: (C, W, K) -> each term, weighted, and their sum as "total"."""
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
    picked = outputs[..., FIRST_CAUSE:].gather(-1, targets.cause[..., None]).squeeze(-1).clamp_min(1e-5)
    terms["cause"] = -weights.cause * (targets.weight * torch.log(picked)).sum() / weight_sum
    if with_likelihood:
        variance = named["mos_std"].square()
        likelihood = 0.5 * (torch.log(variance) + error.detach().square() / variance)
        terms["likelihood"] = weights.likelihood * (targets.weight * likelihood).sum() / weight_sum
    terms["total"] = torch.stack(list(terms.values())).sum()
    return terms


class TaskWeights(nn.Module):
    """Homoscedastic weighting: each term t counts exp(-s) t / 2 + s / 2 with a learned log variance s (S1 eq. 2).

    The terms come in weighted as Weights says; s starts at 0. The likelihood, which is one already, is left as it is.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = names
        self.log_variance = nn.Parameter(torch.zeros(len(names)))

    def forward(self, terms: dict[str, Tensor]) -> Tensor:
        """The total of a batch's terms."""
        learned = torch.stack([terms[name] for name in self.names])
        total = 0.5 * (torch.exp(-self.log_variance) * learned + self.log_variance).sum()
        return total + terms["likelihood"] if "likelihood" in terms else total


LEARNED_TERMS = ("clip", "window", "contrast", "dimension", "presence", "cause")


def make_task_weights(*, learned: bool) -> TaskWeights | None:
    """The module of a recipe whose `learned_task_weights` is set, else None."""
    return TaskWeights(LEARNED_TERMS) if learned else None
