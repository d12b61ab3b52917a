"""Runs in a process of its own: the fused kernel under Triton's interpreter against the reference in double precision.

Prints one line a case: name, largest error of means, largest error of deviations, finite or not.
"""

from __future__ import annotations

import json

import torch

from livemos.kernels.asp.fused import asp_fused
from livemos.kernels.asp.reference import EPSILON, asp_reference


def compare(
    name: str, h: torch.Tensor, e: torch.Tensor, lengths: torch.Tensor, epsilon: float = EPSILON, **blocks: int
) -> None:
    fused = asp_fused(h, e, lengths, epsilon, **blocks)
    exact = asp_reference(h.double(), e.double(), lengths, epsilon).float()
    channels = h.shape[2]
    scale = max(1.0, float(exact[:, :channels].abs().max()))
    error = (fused - exact).abs()
    row = {
        "case": name,
        "mean": float(error[:, :channels].max()) / scale,
        "deviation": float(error[:, channels:].max()),
        "finite": bool(torch.isfinite(fused).all()),
        "dtype": str(fused.dtype),
    }
    print(json.dumps(row))


def padded(
    batch: int, frames: int, channels: int, lengths: list[int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random input with NaN behind every row's length."""
    h, e = torch.randn(batch, frames, channels), torch.randn(batch, frames)
    for row, length in enumerate(lengths):
        h[row, length:] = torch.nan
        e[row, length:] = torch.nan
    return h, e, torch.tensor(lengths, dtype=torch.int32)


def main() -> None:
    torch.manual_seed(0)
    for frames in (1, 2, 31, 32, 33, 64, 100):
        compare(f"frames {frames}", *padded(2, frames, 72, [frames, max(1, frames // 2)]))
    ragged = [0, 1, 2, 31, 32, 33, 99, 100]
    compare("ragged, empty row, NaN padding", *padded(len(ragged), 100, 72, ragged))
    h, e, lengths = padded(2, 100, 72, [100, 100])
    compare("offset 100", h + 100.0, e, lengths)
    # with next to nothing under the root, the rounding of the first pass is all there is to see
    compare("constant far from zero", torch.full_like(h, 1000.3), e, lengths, epsilon=1e-12)
    compare("one channel", *padded(2, 40, 1, [40, 3]))
    compare("more channels than a block", *padded(2, 40, 130, [40, 39]))
    compare("peaked scores", h, e * 30.0, lengths)
    rising = torch.linspace(0.0, 200.0, 100).repeat(2, 1)
    compare("rising scores", h, rising, lengths)
    compare("falling scores", h, -rising, lengths)
    outlier, light = h.clone(), e.clone()
    outlier[:, 0], light[:, 0] = 1e4, -60.0
    compare("an outlier of no weight first", outlier, light, lengths)
    compare("half precision", h.half(), e, lengths)
    compare("other blocks", h, e, lengths, block_t=16, block_d=32)
    wide = torch.randn(2, 100, 144)[:, :, :72]
    compare("rows not packed", wide, e, lengths)
    compare("channels not contiguous", torch.randn(2, 72, 100).transpose(1, 2), e, lengths)
    hidden = e.clone()
    hidden[:, :40] = -torch.inf
    compare("a first tile without weight", h, hidden, lengths)
    compare("no frame has weight", h, torch.full_like(e, -torch.inf), lengths)


if __name__ == "__main__":
    main()
