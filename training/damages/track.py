"""What a clip carries through the simulator: its samples, and the truth about what was done to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from livemos.agent.records import Samples
from livemos.training.sources import Library

Mask = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """A clip on its way, speech at -26 dBov until the output level is set.

    samples, noise: (N,) float32, what is heard and the additive part of it. talker: (N,) the competing speech in it.
    gap: (N,) float32, 0 to 1, how audibly the sample is missing (1 = silence in its place). lost, clipped: (N,) bool.
    response_db: (F,) what the linear path did to each mel band.
    """

    samples: Samples
    noise: Samples
    talker: Samples
    gap: Float32
    lost: Mask
    clipped: Mask
    response_db: Float32

    @classmethod
    def of(cls, samples: Samples, bands: int) -> Track:
        """An undamaged clip."""
        silence = np.zeros_like(samples)
        nowhere = np.zeros(len(samples), np.bool_)
        return cls(
            samples=samples,
            noise=silence,
            talker=silence,
            gap=silence,
            lost=nowhere,
            clipped=nowhere,
            response_db=np.zeros(bands, np.float32),
        )


class Damage(Protocol):
    """One impairment with every parameter it needs: applying it twice gives the same samples."""

    def apply(self, track: Track, library: Library) -> Track:
        """The damaged track, as long as before."""
        ...
