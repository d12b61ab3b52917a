"""Inputs on which statistics pooling has gone wrong, or could: tiles, far offsets, peaked scores, padding.

One list for the interpreter, the tests on a GPU and the checklist, so that all three answer for the same inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from livemos.kernels.asp.reference import EPSILON


@dataclass(frozen=True, slots=True, kw_only=True)
class AspCase:
    """h (B, T, D), e (B, T) or (B, T, D), lengths (B,); all that lies behind a length is NaN."""

    name: str
    h: Tensor
    e: Tensor
    lengths: Tensor
    epsilon: float = EPSILON

    @property
    def per_channel(self) -> bool:
        """One score a frame and channel."""
        return self.e.dim() == 3


def _case(name: str, h: Tensor, e: Tensor, lengths: list[int] | None = None, epsilon: float = EPSILON) -> AspCase:
    lengths = [h.shape[1]] * len(h) if lengths is None else lengths
    for row, length in enumerate(lengths):
        h[row, length:] = torch.nan
        e[row, length:] = torch.nan
    return AspCase(name=name, h=h, e=e, lengths=torch.tensor(lengths, dtype=torch.int32), epsilon=epsilon)


def awkward_cases(*, quick: bool = False, seed: int = 0) -> Iterator[AspCase]:
    """All cases, float32 on the CPU; `quick` leaves out a second size of what is slow without a GPU."""
    made = torch.Generator().manual_seed(seed)

    def frames(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=made)

    for length in (1, 2, 31, 32, 33, 100) if quick else (1, 2, 25, 31, 32, 33, 64, 100, 401):
        lengths = [length, max(1, length // 2)]
        yield _case(f"{length} frames", frames(2, length, 72), frames(2, length), lengths)
    yield _case("1000 frames", frames(1, 1000, 24), frames(1, 1000))
    yield _case("one channel", frames(2, 40, 1), frames(2, 40), [40, 3])
    yield _case("more channels than a block", frames(2, 40, 130), frames(2, 40), [40, 39])
    ragged = [0, 1, 2, 31, 32, 33, 69, 70]
    yield _case("ragged with an empty row", frames(8, 70, 20), frames(8, 70), ragged)
    yield _case("ragged, a score a channel", frames(8, 70, 20), frames(8, 70, 20), ragged)
    yield _case("a score a channel, more channels than a block", frames(2, 40, 70), frames(2, 40, 70))
    for offset in (100.0, 1000.0):
        yield _case(f"offset {offset:.0f}", frames(2, 70, 40) + offset, frames(2, 70), [70, 33])
        yield _case(f"offset {offset:.0f}, a score a channel", frames(1, 70, 24) + offset, frames(1, 70, 24))
    # with next to nothing under the root, the rounding of the first pass is all there is to see
    yield _case("constant frames", torch.full((2, 70, 20), 1000.3), frames(2, 70))
    yield _case("little deviation at 100", 100.0 + 1e-3 * frames(2, 70, 20), frames(2, 70))
    yield _case("one-hot-like scores", frames(2, 70, 40), 30.0 * frames(2, 70))
    yield _case("one-hot-like scores a channel", frames(2, 70, 20), 30.0 * frames(2, 70, 20))
    rising = torch.linspace(0.0, 200.0, 70).repeat(2, 1)
    yield _case("rising scores", frames(2, 70, 20), rising)
    yield _case("falling scores", frames(2, 70, 20), -rising)
    outlier, light = frames(2, 70, 40), frames(2, 70)
    outlier[:, 0], light[:, 0] = 1e4, -60.0
    yield _case("an outlier of no weight first", outlier, light)
    hidden = frames(2, 70)
    hidden[:, :40] = -torch.inf
    # a pivot from that tile would be 0, and the rounding that of 1,000 squared
    yield _case("a first tile without weight", 1000.0 + frames(2, 70, 20), hidden)
    yield _case("no frame has weight", frames(2, 20, 20), torch.full((2, 20), -torch.inf))
    yield AspCase(
        name="strides of a slice",
        h=frames(2, 70, 80)[:, :, 3:43],
        e=frames(2, 140)[:, ::2],
        lengths=torch.tensor([70, 41], dtype=torch.int32),
    )
    yield AspCase(
        name="channels not contiguous",
        h=frames(2, 40, 70).transpose(1, 2),
        e=frames(70, 2).t(),
        lengths=torch.tensor([70, 41], dtype=torch.int32),
    )
