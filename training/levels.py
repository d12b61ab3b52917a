"""Speech activity and active level of clean speech, the measures every label is anchored to."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.fft

from livemos.agent.features import LogMel
from livemos.agent.records import SAMPLE_RATE_HZ, Samples

FRAME_SAMPLES = 160  # 10 ms, the hop of the features
_MARGIN_DB = 15.9  # ITU-T P.56: active is what lies above the active level less this margin
_HANGOVER_FRAMES = 10  # 100 ms: stops inside words belong to speech
_SILENCE = 1e-12

Mask = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]


def frame_power(samples: Samples) -> Float32:
    """(N // 160,) mean square of consecutive 10 ms frames."""
    whole = len(samples) // FRAME_SAMPLES
    return np.asarray(np.square(samples[: whole * FRAME_SAMPLES].reshape(whole, FRAME_SAMPLES)).mean(axis=1))


def active_frames(samples: Samples) -> Mask:
    """(N // 160,) True where clean speech is active, in the manner of ITU-T P.56 method B on 10 ms frames."""
    power = frame_power(samples)
    smoothed = np.convolve(power, np.ones(3) / 3, mode="same")
    active = smoothed > _SILENCE
    for _ in range(5):
        if not active.any():
            return active
        active = smoothed > power[active].mean() * 10 ** (-_MARGIN_DB / 10)
    held = np.convolve(active, np.ones(_HANGOVER_FRAMES + 1), mode="full")[: len(active)] > 0
    return np.asarray(held)


def active_level_dbov(samples: Samples) -> float:
    """Mean power of the active frames in dB to the overload point (ITU-T G.100.1); -inf for digital silence."""
    power = frame_power(samples)
    active = active_frames(samples)
    return level_db(float(power[active].mean())) if active.any() else -np.inf


def level_db(power: float) -> float:
    """10 log10, with digital silence at -120 dB."""
    return float(10.0 * np.log10(max(power, _SILENCE)))


def gain(decibels: float) -> np.float32:
    """Amplitude factor."""
    return np.float32(10.0 ** (decibels / 20.0))


def levelled(samples: Samples, like: Samples) -> Samples:
    """`samples` at the active level of `like`; as they are where either is silent."""
    change = active_level_dbov(like) - active_level_dbov(samples)
    return samples * gain(change) if np.isfinite(change) else samples


def a_weighted(samples: Samples) -> Samples:
    """`samples` with the A curve of IEC 61672-1 applied, because a rumble annoys less than a hiss of the same power."""
    spectrum = scipy.fft.rfft(samples)
    squared = np.linspace(0.0, SAMPLE_RATE_HZ / 2, len(spectrum), dtype=np.float64) ** 2
    curve = (12194.0**2 * squared**2) / (
        (squared + 20.6**2) * np.sqrt((squared + 107.7**2) * (squared + 737.9**2)) * (squared + 12194.0**2)
    )
    weighted: Samples = scipy.fft.irfft(spectrum * (1.2589 * curve).astype(np.float32), n=len(samples))
    return weighted.astype(np.float32, copy=False)


def band_levels_db(samples: Samples, features: LogMel) -> Float32:
    """(F,) long-term level of each mel band, nothing more than 55 dB below the strongest."""
    power = np.exp(features(samples)).mean(axis=0)
    levels = 10.0 * np.log10(power + 1e-12)
    return np.asarray(np.maximum(levels, levels.max() - 55.0), np.float32)
