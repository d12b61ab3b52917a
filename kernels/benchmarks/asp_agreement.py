"""How far the fused statistics pooling is from the definition in double precision, forward and backward."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from livemos.kernels.asp.fused import asp_fused, asp_fused_backward
from livemos.kernels.asp.reference import asp_reference
from livemos.kernels.benchmarks.asp_cases import AspCase


@dataclass(frozen=True, slots=True, kw_only=True)
class AspErrors:
    """Largest error of each result, divided by the largest value of that result (means, deviations, gradients).

    Means are weighed against deviations too: the mean of centred noise is small beside what it is the mean of. The
    gradient of a score shared by D channels is a sum of D terms of both signs; its error is divided by the largest
    sum of their magnitudes, and by no less than 1e-3 (the gradient at the output is of size 1; constant frames give 0).
    """

    mean: float
    deviation: float
    to_frames: float
    to_scores: float
    finite: bool
    padding_is_zero: bool  # gradients at and behind the lengths

    @property
    def worst(self) -> float:
        """The largest of the four."""
        return max(self.mean, self.deviation, self.to_frames, self.to_scores)


def _relative(got: Tensor, exact: Tensor, scale: float = 0.0) -> float:
    """Zero where both are; an exact result of zeros counts errors as they are."""
    if got.numel() == 0:
        return 0.0
    scale = scale or float(exact.abs().max())
    return float((got.double() - exact).abs().max()) / (scale or 1.0)


def measure(case: AspCase, dtype: torch.dtype = torch.float32, device: str = "cpu", **blocks: int) -> AspErrors:
    """Both see the same values rounded to `dtype`; the exact gradient is autograd's through the definition."""
    h, e, lengths = case.h.to(device, dtype), case.e.to(device, dtype), case.lengths.to(device)
    pooled, state = asp_fused(h, e, lengths, case.epsilon, keep_state=True, **blocks)
    gradient = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(1)).to(device)
    to_h, to_e = asp_fused_backward(h, e, lengths, pooled, state, gradient, **blocks)
    exact_h = torch.nan_to_num(h.double()).requires_grad_()
    exact_e = torch.nan_to_num(e.double(), neginf=-torch.inf)
    # a score a channel, so that the terms of a shared score's gradient are known
    exact_e = (exact_e if case.per_channel else exact_e[:, :, None].expand(h.shape)).clone().requires_grad_()
    exact = asp_reference(exact_h, exact_e, lengths, case.epsilon)
    torch.autograd.backward(exact, gradient.double())
    exact, channels = exact.detach(), h.shape[2]
    assert exact_h.grad is not None
    assert exact_e.grad is not None
    to_each = exact_e.grad
    terms, exact_to_e = (to_each, to_each) if case.per_channel else (to_each.abs().sum(dim=2), to_each.sum(dim=2))
    padding = torch.arange(h.shape[1], device=device) >= lengths[:, None]
    return AspErrors(
        mean=_relative(pooled[:, :channels], exact[:, :channels], float(exact.abs().max())),
        deviation=_relative(pooled[:, channels:], exact[:, channels:]),
        to_frames=_relative(to_h, exact_h.grad),
        to_scores=_relative(to_e, exact_to_e, max(1e-3, float(terms.abs().max()))),
        finite=bool(torch.isfinite(pooled).all() and torch.isfinite(to_h).all() and torch.isfinite(to_e).all()),
        padding_is_zero=not bool(to_h[padding].any() or to_e[padding].any()),
    )
