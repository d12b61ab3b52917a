"""What the log-mel features of one model need on one device, prepared once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

BANDS_A_BLOCK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMelPlan:
    """window (W,) float32; filters (fft_samples / 2 + 1, F) float32; reach (ceil(F / 16), 2) int32.

    reach: the bins [first, end) that a block of 16 bands has weight in. Most of the filters are zeros: the product over
    the reach of each block is a quarter of the whole one.
    """

    window: Tensor
    filters: Tensor
    reach: Tensor
    hop_samples: int
    fft_samples: int
    floor: float

    @staticmethod
    def build(window: Tensor, filters: Tensor, *, hop_samples: int, fft_samples: int, floor: float) -> LogMelPlan:
        """ValueError where window and filters do not fit the transform."""
        if window.dim() != 1 or len(window) > fft_samples:
            raise ValueError(f"the window has shape {tuple(window.shape)}; it must be (W,), W <= {fft_samples}")
        if filters.dim() != 2 or len(filters) != fft_samples // 2 + 1:
            raise ValueError(f"filters have shape {tuple(filters.shape)}; there are {fft_samples // 2 + 1} bins")
        if hop_samples < 1 or floor <= 0.0:
            raise ValueError(f"hop ({hop_samples} samples) and floor ({floor}) must be above 0")
        reach = []
        for bands in torch.split(filters.cpu(), BANDS_A_BLOCK, dim=1):
            reached = torch.nonzero(bands.any(dim=1)).flatten()
            reach.append([int(reached[0]), int(reached[-1]) + 1] if len(reached) else [0, 0])
        return LogMelPlan(
            window=window.to(torch.float32).contiguous(),
            filters=filters.to(torch.float32).contiguous(),
            reach=torch.tensor(reach, dtype=torch.int32, device=filters.device),
            hop_samples=hop_samples,
            fft_samples=fft_samples,
            floor=floor,
        )

    @property
    def bands(self) -> int:
        """F."""
        return self.filters.shape[1]

    def frames(self, samples: int) -> int:
        """Whole frames inside `samples` samples."""
        return max(0, 1 + (samples - len(self.window)) // self.hop_samples)

    def to(self, device: torch.device | str) -> LogMelPlan:
        """The same plan on another device."""
        return replace(
            self, window=self.window.to(device), filters=self.filters.to(device), reach=self.reach.to(device)
        )
