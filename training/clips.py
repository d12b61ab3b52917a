"""Clean clips: several utterances of one speaker with pauses between them, at -26 dBov active level.

Voices are multiplied before the clean and the damaged branch divide (speed, a gentle device response), so the reference
carries the change too and the network learns that such colour is no damage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
import soxr

from livemos.agent.records import SAMPLE_RATE_HZ, Samples
from livemos.training.levels import active_level_dbov, gain
from livemos.training.sources import Library, Recording

CLIP_SECONDS = 7
CLIP_SAMPLES = CLIP_SECONDS * SAMPLE_RATE_HZ
ACTIVE_LEVEL_DBOV = -26.0
MINIMUM_SNR_DB = 28.0
_EDGE_SAMPLES = 320  # 20 ms fades: an utterance neither starts nor ends with a click
_NOT_MEASURED_SNR_DB = 45.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanClip:
    """samples: (CLIP_SAMPLES,) float32. source_snr_db, source_bandwidth_hz: the worst of the recordings used."""

    samples: Samples
    speaker: str
    source_snr_db: float
    source_bandwidth_hz: float


def speaker_weights(speakers: dict[str, list[Recording]]) -> np.ndarray:
    """Probability of each speaker: the root of what there is of them, so no single voice rules and none is worn out."""
    seconds = np.array([sum(each.seconds for each in recordings) for recordings in speakers.values()])
    weights = np.sqrt(np.minimum(seconds, 120.0))
    return np.asarray(weights / weights.sum())


def draw_clip(rng: np.random.Generator, library: Library) -> CleanClip:
    """A clip of a speaker drawn at random, active in about half to nine tenths of its time."""
    speakers = library.speakers(MINIMUM_SNR_DB)
    names = list(speakers)
    speaker = names[rng.choice(len(names), p=speaker_weights(speakers))]
    used: list[Recording] = []
    parts: list[Samples] = []
    filled = 0
    order = rng.permutation(len(speakers[speaker]))
    speed = float(rng.uniform(0.9, 1.1)) if rng.random() < 0.7 else 1.0
    while filled < CLIP_SAMPLES:
        recording = speakers[speaker][order[len(used) % len(order)]]
        pause = np.zeros(int(rng.uniform(0.1, 0.9) * SAMPLE_RATE_HZ), np.float32)
        parts += [pause, _utterance(rng, library.load(recording.path), speed)]
        filled += sum(len(part) for part in parts[-2:])
        used.append(recording)
    samples = np.concatenate(parts)[:CLIP_SAMPLES]
    if rng.random() < 0.3:
        samples = smooth_response(samples, rng.normal(0.0, 2.0, 8))
    if rng.random() < 0.5:
        # a live line is seldom digitally silent between words
        samples = samples + rng.standard_normal(CLIP_SAMPLES, np.float32) * gain(float(rng.uniform(-95.0, -72.0)))
    level = active_level_dbov(samples)
    return CleanClip(
        samples=np.clip(samples * gain(ACTIVE_LEVEL_DBOV - level), -1.0, 1.0).astype(np.float32),
        speaker=speaker,
        source_snr_db=min(_NOT_MEASURED_SNR_DB if each.snr_db is None else each.snr_db for each in used),
        source_bandwidth_hz=min(each.bandwidth_hz or SAMPLE_RATE_HZ / 2 for each in used),
    )


def _utterance(rng: np.random.Generator, samples: Samples, speed: float) -> Samples:
    """One to four seconds of `samples` from a random place, played at `speed`."""
    length = min(len(samples), int(rng.uniform(1.2, 4.0) * SAMPLE_RATE_HZ * speed))
    start = int(rng.integers(0, len(samples) - length + 1))
    piece = samples[start : start + length].copy()
    if speed != 1.0:
        piece = soxr.resample(piece, SAMPLE_RATE_HZ * speed, SAMPLE_RATE_HZ, quality="MQ")
    rise = np.linspace(0.0, 1.0, _EDGE_SAMPLES, dtype=np.float32)
    piece[:_EDGE_SAMPLES] *= rise
    piece[-_EDGE_SAMPLES:] *= rise[::-1]
    return piece


def smooth_response(samples: Samples, knots_db: np.ndarray) -> Samples:
    """`samples` through a linear-phase response: gains in dB at equal steps of log f from 60 Hz to 8 kHz."""
    spectrum = scipy.fft.rfft(samples)
    hz = np.linspace(0.0, SAMPLE_RATE_HZ / 2, len(spectrum))
    places = np.log(np.geomspace(60.0, SAMPLE_RATE_HZ / 2, len(knots_db)))
    response_db = np.interp(np.log(np.maximum(hz, 1.0)), places, knots_db)
    shaped: Samples = scipy.fft.irfft(spectrum * (10.0 ** (response_db / 20.0)).astype(np.float32), n=len(samples))
    return shaped.astype(np.float32, copy=False)
