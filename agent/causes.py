"""What lowers a score most: nine probabilities a segment, pooled by speech over windows, calls and clips.

A bundle gives them when it names all of CAUSE_OUTPUTS among its outputs; without them no cause is given.
Shapes: B segments, W windows, 9 causes in the order of Cause.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


class Cause(Enum):
    """What explains a low score best; values are the names in tables, in the order of the columns."""

    NOISE = "noise"  # background noise, babble, hum
    LOSS = "loss"  # missing, repeated, stretched or cut speech
    CLIPPING = "clipping"
    BAND = "band"  # a band limit or a coloured response
    LEVEL = "level"  # too soft, too loud, or pumping
    ECHO_OR_TALKER = "echo_or_talker"  # an echo, or a second talker
    REVERBERATION = "reverberation"
    CODEC = "codec"  # coding or noise suppression
    NONE = "none"  # nothing lowers the score by much


CAUSES = tuple(Cause)
CAUSE_OUTPUTS = tuple(f"cause_{cause.value}" for cause in CAUSES)
SNR_RANGE_DB = (0.0, 40.0)  # beyond it a tenth of noisiness is more than 2.5 dB
# noisiness = 1 + 3.8 / (1 + exp((NOISINESS_MIDDLE_DB - snr_db) / NOISINESS_SCALE_DB)): what networks are taught
NOISINESS_MIDDLE_DB, NOISINESS_SCALE_DB = 20.0, 10.0
_NOISINESS_RANGE = tuple(
    1.0 + 3.8 / (1.0 + math.exp((NOISINESS_MIDDLE_DB - snr) / NOISINESS_SCALE_DB)) for snr in SNR_RANGE_DB
)
_LEAST_WEIGHT = 1e-9  # what rounding leaves of a window that has emptied stays below


def snr_db(noisiness: npt.NDArray[np.floating]) -> Float64:
    """Active speech to A-weighted noise in dB, for any shape; NaN outside SNR_RANGE_DB and where noisiness is NaN.

    The inverse of `noisiness` in training/labels.py.
    """
    low, high = _NOISINESS_RANGE
    inside = np.minimum(np.maximum(noisiness, low, dtype=np.float64), high)
    snr = NOISINESS_MIDDLE_DB - NOISINESS_SCALE_DB * np.log(3.8 / (inside - 1.0) - 1.0)
    return np.where(inside == noisiness, snr, np.nan)


def weighted(causes: Float32, speech_ratio: Float32) -> Float32:
    """(B, 9) probabilities times (B,) speech; zeros where a segment has no cause (NaN)."""
    product = causes * speech_ratio[:, None]
    return np.where(np.isnan(product), np.float32(0.0), product)


def likeliest(causes: Float32 | Float64) -> tuple[Indices, Float64]:
    """(..., 9) probabilities, or sums of weighted ones -> place in CAUSES and share of the whole, NaN where unknown."""
    total = causes.sum(axis=-1, dtype=np.float64)
    return causes.argmax(axis=-1), causes.max(axis=-1) / np.where(total > _LEAST_WEIGHT, total, np.nan)


def named(place: int, share: float) -> tuple[Cause | None, float | None]:
    """One answer of `likeliest` as it travels; both unset where it is unknown."""
    return (None, None) if math.isnan(share) else (CAUSES[place], float(share))


class CauseBank:
    """Sums of weighted probabilities of `rows` streams, over windows of so many `segments` and over the whole call.

    A window's sum gains the newest segment and loses the one that left, so a push costs the same for any window.
    """

    def __init__(self, rows: int, segments: Sequence[int]) -> None:
        self._lengths = np.array(segments, np.int64)
        self._history = int(self._lengths.max())
        self._held = np.zeros((rows, self._history, len(CAUSES)), np.float32)
        self._sums = np.zeros((rows, len(segments) + 1, len(CAUSES)))
        self._count = np.zeros(rows, np.int64)

    def reset(self, row: int) -> None:
        """Forget the stream that used the row before."""
        for state in (self._held, self._sums, self._count):
            state[row] = 0

    def push(self, rows: Indices, causes: Float32, speech_ratio: Float32) -> tuple[Indices, Float64]:
        """One segment to each of `rows` (no row twice) -> `likeliest` of each window and the call, (B, W + 1) each."""
        added = weighted(causes, speech_ratio)
        count = self._count[rows]
        # slots not yet written hold zeros: nothing leaves a window before it is full
        left = self._held[rows[:, None], (count[:, None] - self._lengths) % self._history]  # (B, W, 9)
        self._sums[rows, :-1] += added.astype(np.float64)[:, None] - left
        self._sums[rows, -1] += added
        self._held[rows, count % self._history] = added
        self._count[rows] = count + 1
        return likeliest(self._sums[rows])
