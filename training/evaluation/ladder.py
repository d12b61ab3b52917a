"""Known damage for clean clips at 16 kHz, one kind at a time: what an output reacts to, with certainty.

Written apart from the simulator on purpose: a damage that training knows by heart would flatter the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.signal

from livemos.agent.records import SAMPLE_RATE_HZ, Samples
from livemos.training.levels import FRAME_SAMPLES, active_frames, active_level_dbov, gain

ACTIVE_LEVEL_DBOV = -26.0
_FRAME = SAMPLE_RATE_HZ // 50  # 20 ms
_SEED = 17
# clip at ACTIVE_LEVEL_DBOV, another talker's clip, random source -> damaged clip
Apply = Callable[[Samples, Samples, np.random.Generator], Samples]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One damage. dimension: the score that should take most of it, empty where none is named for it."""

    dimension: str
    apply: Apply


def at_level(samples: Samples, level_dbov: float = ACTIVE_LEVEL_DBOV) -> Samples:
    """The clip at an active level."""
    return samples * gain(level_dbov - active_level_dbov(samples))


def damaged(samples: Samples, other: Samples, rung: Rung, number: int) -> Samples:
    """Clip `number`, at -26 dBov, after one damage, within full scale; the same call gives the same samples."""
    rng = np.random.default_rng([_SEED, number])
    return np.clip(rung.apply(at_level(samples), at_level(other), rng), -1.0, 1.0).astype(np.float32)


def _level(decibels: float) -> Apply:
    return lambda speech, _other, _rng: speech * gain(decibels)


def clipped(speech: Samples, share_ratio: float) -> Samples:
    """The loudest share of the active speech flattened, brought back to the same RMS."""
    active = np.repeat(active_frames(speech), FRAME_SAMPLES)
    limit = float(np.quantile(np.abs(speech[: len(active)][active]), 1.0 - share_ratio))
    flat = np.clip(speech, -limit, limit)
    return flat * np.float32(np.sqrt(np.mean(speech**2) / np.mean(flat**2)))


def _band(kind: str, edges_hz: float | tuple[float, float]) -> Apply:
    sections = scipy.signal.butter(8, edges_hz, kind, fs=SAMPLE_RATE_HZ, output="sos")
    return lambda speech, _other, _rng: scipy.signal.sosfilt(sections, speech).astype(np.float32)


def lost(speech: Samples, ratio: float, rng: np.random.Generator, *, repeat: bool) -> Samples:
    """Frames of 20 ms replaced with silence, or with the frame before; exactly the given share of all."""
    frames = speech[: len(speech) // _FRAME * _FRAME].reshape(-1, _FRAME).copy()
    chosen = np.sort(1 + rng.choice(len(frames) - 1, size=round(ratio * len(frames)), replace=False))
    for frame in chosen:
        frames[frame] = frames[frame - 1] if repeat else 0.0
    return frames.ravel()


def gap(speech: Samples, seconds: float = 0.5) -> Samples:
    """Silence over the stretch of that length that holds most of the clip's energy."""
    length = round(seconds * SAMPLE_RATE_HZ)
    energy = np.concatenate([[0.0], np.cumsum(np.square(speech, dtype=np.float64))])
    start = int(np.argmax(energy[length:] - energy[:-length]))
    holed = speech.copy()
    holed[start : start + length] = 0.0
    return holed


def _echo(speech: Samples, _other: Samples, _rng: np.random.Generator) -> Samples:
    delay = round(0.2 * SAMPLE_RATE_HZ)
    late = np.concatenate([np.zeros(delay, np.float32), speech[:-delay]])
    return np.asarray(speech + late * gain(-10.0), np.float32)


def _reverberant(speech: Samples, _other: Samples, rng: np.random.Generator) -> Samples:
    """A tail that falls by 60 dB in 0.6 s and holds as much energy as the direct sound."""
    time = np.arange(round(0.8 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tail = rng.standard_normal(len(time)) * 10.0 ** (-3.0 * time / 0.6)
    tail[: round(0.003 * SAMPLE_RATE_HZ)] = 0.0
    response = tail / np.sqrt(np.sum(tail**2))
    response[0] = 1.0
    return at_level(np.asarray(scipy.signal.fftconvolve(speech, response)[: len(speech)], np.float32))


def white_noise(speech: Samples, snr_db: float, rng: np.random.Generator) -> Samples:
    """White noise below the active level of a clip that stands at ACTIVE_LEVEL_DBOV."""
    noise = rng.standard_normal(len(speech)).astype(np.float32)
    return speech + noise * gain(ACTIVE_LEVEL_DBOV - snr_db)


def _talker(speech: Samples, other: Samples, _rng: np.random.Generator) -> Samples:
    return speech + np.resize(other, len(speech)) * gain(-10.0)


def _hum(speech: Samples, _other: Samples, _rng: np.random.Generator) -> Samples:
    tone = np.sin(2 * np.pi * 50.0 * np.arange(len(speech)) / SAMPLE_RATE_HZ).astype(np.float32)
    return speech + tone * np.float32(np.sqrt(2.0)) * gain(ACTIVE_LEVEL_DBOV - 10.0)


LADDER: dict[str, Rung] = {
    "level -20 dB": Rung(dimension="loudness", apply=_level(-20.0)),
    "level -35 dB": Rung(dimension="loudness", apply=_level(-35.0)),
    "clipped 5 %": Rung(dimension="coloration", apply=lambda speech, _other, _rng: clipped(speech, 0.05)),
    "telephone band": Rung(dimension="coloration", apply=_band("bandpass", (300.0, 3_400.0))),
    "7 kHz band": Rung(dimension="coloration", apply=_band("lowpass", 7_000.0)),
    "5 % zeroed": Rung(dimension="discontinuity", apply=lambda s, _, rng: lost(s, 0.05, rng, repeat=False)),
    "15 % zeroed": Rung(dimension="discontinuity", apply=lambda s, _, rng: lost(s, 0.15, rng, repeat=False)),
    "15 % repeated": Rung(dimension="discontinuity", apply=lambda s, _, rng: lost(s, 0.15, rng, repeat=True)),
    "one 0.5 s gap": Rung(dimension="discontinuity", apply=lambda speech, _other, _rng: gap(speech)),
    "echo 200 ms -10 dB": Rung(dimension="", apply=_echo),
    "reverb 0.6 s": Rung(dimension="", apply=_reverberant),
    "white noise 20 dB": Rung(dimension="noisiness", apply=lambda s, _, rng: white_noise(s, 20.0, rng)),
    "talker 10 dB": Rung(dimension="noisiness", apply=_talker),
    "hum 50 Hz 10 dB": Rung(dimension="noisiness", apply=_hum),
}
