"""What is measured of a segment without a model, and the reasons that forbid a score before and after the network."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from livemos.agent.features import NEPERS_PER_DB, LogMel
from livemos.agent.reasons import Reason
from livemos.agent.records import Samples

SILENCE_DBOV = -66.0  # RMS of a second; quiet speech of -50 dBov active level stays 10 dB above
LARGEST_CONCEALED_RATIO = 0.8
LARGEST_PEAK = 100.0  # of full scale; +40 dB is no audio: numbers of another scale, or a fault
CLIPPED_LEVEL = 0.985  # of full scale; a resampler rounds the corner of a clipped wave a little
_BLOCK_SAMPLES = 400
_LARGEST_OFFSET_RATIO = 0.01  # of the power
BAND_RANGE_DB = 48.0  # a mel band counts as sounding within this range of the loudest band

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Measures:
    """Columns, one row a segment: level_dbov (-inf for digital silence), clipped_ratio, valid, constant.

    valid: finite, and no sample beyond LARGEST_PEAK.
    """

    level_dbov: Float32
    clipped_ratio: Float32
    valid: npt.NDArray[np.bool_]
    constant: npt.NDArray[np.bool_]


def measure(segments: Samples) -> Measures:
    """Level after removal of the mean, clipping and validity of segments (B, N)."""
    highest, lowest = segments.max(axis=1, initial=-np.inf), segments.min(axis=1, initial=np.inf)
    peak = np.maximum(highest, -lowest)  # NaN where a sample is
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        level_dbov = (10.0 * np.log10(_power(segments))).astype(np.float32)
    clipped_ratio = np.zeros(len(segments), np.float32)
    loud = np.flatnonzero(~(peak < CLIPPED_LEVEL))
    if len(loud):
        clipped_ratio[loud] = (np.abs(segments[loud]) >= CLIPPED_LEVEL).mean(axis=1)
    return Measures(
        level_dbov=level_dbov, clipped_ratio=clipped_ratio, valid=peak <= LARGEST_PEAK, constant=highest == lowest
    )


def _power(segments: Samples) -> Float32:
    """(B,) variance of segments (B, N), in one pass where the mean is small, as it is in all but faulty audio."""
    # short blocks: sums keep their digits, and BLAS has no reason to wake its threads (docs/audio.md)
    samples = segments.shape[1]
    block = math.gcd(samples, _BLOCK_SAMPLES)
    blocks = segments.reshape(len(segments), samples // block, block)
    square = np.vecdot(blocks, blocks).sum(axis=1) / samples
    mean_square = (np.vecdot(blocks, np.ones(block, np.float32)).sum(axis=1) / samples) ** 2
    power: Float32 = square - mean_square
    offset = np.flatnonzero(mean_square > _LARGEST_OFFSET_RATIO * square)  # their difference would lose its digits
    if len(offset):
        power[offset] = segments[offset].var(axis=1)
    return power


def reasons_before(segments: Samples, measures: Measures, concealed_ratio: Float32) -> list[Reason | None]:
    """Per segment the first reason not to ask the network, or None."""
    return [
        Reason.BAD_AUDIO
        if not valid
        else Reason.TOO_MUCH_CONCEALED
        if concealed > LARGEST_CONCEALED_RATIO
        # a constant other than zero is no acoustic silence: a stuck converter or a DC fault
        else (Reason.SILENCE if first == 0.0 else Reason.BAD_AUDIO)
        if constant
        else Reason.SILENCE
        if level < SILENCE_DBOV
        else None
        for valid, concealed, constant, first, level in zip(
            measures.valid.tolist(),
            concealed_ratio.tolist(),
            measures.constant.tolist(),
            segments[:, 0].tolist(),
            measures.level_dbov.tolist(),
            strict=True,
        )
    ]


def reasons_after(
    outputs_finite: npt.NDArray[np.bool_], speech_ratio: Float32, minimum_speech_ratio: float
) -> list[Reason | None]:
    """Per segment (B,) why the network's answer must not be given, or None."""
    return [
        Reason.MODEL_ERROR if not finite else Reason.NO_SPEECH if speech < minimum_speech_ratio else None
        for finite, speech in zip(outputs_finite.tolist(), speech_ratio.tolist(), strict=True)
    ]


def bandwidth_hz(features: Float32, log_mel: LogMel) -> Float32:
    """Centre of the highest band that sounds: (B, T, F) log-mel -> (B,) Hz.

    A band sounds when its loudest frame lies within BAND_RANGE_DB of the loudest band's and above the floor.
    """
    half = (features.shape[1] + 1) // 2  # of an odd number both hold the middle
    loudest = np.maximum(features[:, :half], features[:, -half:]).max(axis=1)  # (B, F), sooner than one maximum
    threshold = np.maximum(
        loudest.max(axis=1, keepdims=True) - BAND_RANGE_DB * NEPERS_PER_DB, np.log(log_mel.floor) + 0.5
    )
    sounding = loudest >= threshold
    highest = features.shape[2] - 1 - sounding[:, ::-1].argmax(axis=1)
    return np.asarray(log_mel.band_edges_hz[highest + 1], np.float32)
