"""What a clip carries through the simulator: its samples, and the truth about what was done to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from livemos.agent.records import Samples
from livemos.training.sources import Library

Mask = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """A clip on its way, speech at -26 dBov until the output level is set.

    samples, noise: (N,) float32, what is heard and the additive part of it. talker: (N,) the competing speech in it.
    gap: (N,) float32, 0 to 1, how audibly the sample is missing (1 = silence in its place). lost, clipped: (N,) bool.
    response_db: (F,) what the linear path did to each mel band; level_change_db: what it did to the level. place: (N,)
    which sample of the clean clip is heard at each moment, -1 for none; None while nothing has shifted.
    """

    samples: Samples
    noise: Samples
    talker: Samples
    gap: Float32
    lost: Mask
    clipped: Mask
    response_db: Float32
    level_change_db: float = 0.0
    place: Places | None = None

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


def taken(values: npt.NDArray[Any], source: Places) -> npt.NDArray[Any]:
    """`values[source]`, zero where the source is -1."""
    return np.where(source >= 0, values[np.maximum(source, 0)], np.zeros(1, values.dtype))


def rearranged(track: Track, source: Places, samples: Samples | None = None) -> Track:
    """The track with moment n taken from moment `source[n]` of before, (N,), -1 for silence.

    `samples` replaces what a plain look-up would give, where the joins were smoothed.
    """
    before = np.arange(len(source)) if track.place is None else track.place
    return replace(
        track,
        samples=taken(track.samples, source) if samples is None else samples,
        noise=taken(track.noise, source),
        talker=taken(track.talker, source),
        gap=taken(track.gap, source),
        lost=taken(track.lost, source),
        clipped=taken(track.clipped, source),
        place=np.where(source >= 0, before[np.maximum(source, 0)], -1),
    )


class Damage(Protocol):
    """One impairment with every parameter it needs: applying it twice gives the same samples."""

    def apply(self, track: Track, library: Library) -> Track:
        """The damaged track, as long as before."""
        ...
