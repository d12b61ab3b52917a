"""Other voices and other microphones, made on the features of a batch: what no listener would mark down.

A network that has heard 129 talkers takes the colour of an unknown voice for damage. Warping the mel axis moves
formants and pitch as another vocal tract does (Jaitly and Hinton 2013), a gentle smooth response is another microphone,
and a window that begins a few frames off is another second of the same clip. One family gets one draw, so that its
members still differ by their damage alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from livemos.agent.features import NEPERS_PER_DB

Float32 = npt.NDArray[np.float32]
_COLOUR_KNOTS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """warp_ratio: formants move by up to this share, both ways; colour_db: deviation of the response at each of six
    knots over the mel axis; shift_frames: a window begins up to so many frames off, both ways. `share` of the families
    get warp and colour.
    """

    warp_ratio: float = 0.1
    colour_db: float = 2.0
    shift_frames: int = 8
    share: float = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """What one family gets. places: (F,) which band, between bands too, each band is read from; colour: (F,) nepers."""

    places: Float32
    colour: Float32

    def __call__(self, features: Float32) -> Float32:
        """(..., F) log-mel -> (..., F)."""
        lower = np.minimum(self.places.astype(np.intp), features.shape[-1] - 2)
        upper_share = self.places - lower
        between = features[..., lower] * (1.0 - upper_share) + features[..., lower + 1] * upper_share
        return np.asarray(between + self.colour, np.float32)


def draw_voice(rng: np.random.Generator, augmentation: Augmentation, centres_hz: npt.NDArray[np.float64]) -> Voice:
    """centres_hz: (F,) of the mel bands, rising."""
    bands = np.arange(len(centres_hz))
    if rng.random() >= augmentation.share:
        return Voice(places=bands.astype(np.float32), colour=np.zeros(len(bands), np.float32))
    factor = 1.0 + rng.uniform(-augmentation.warp_ratio, augmentation.warp_ratio)
    places = np.interp(centres_hz / factor, centres_hz, bands)
    knots_db = rng.normal(0.0, augmentation.colour_db, _COLOUR_KNOTS)
    colour_db = np.interp(bands, np.linspace(0, len(bands) - 1, _COLOUR_KNOTS), knots_db)
    return Voice(places=places.astype(np.float32), colour=(colour_db * NEPERS_PER_DB).astype(np.float32))
