"""Lost packets behind a concealment that no training clip knows: noise with the colour of the last good packet."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
import scipy.signal

from livemos.agent.records import SAMPLE_RATE_HZ, Samples
from livemos.training.damages.track import Track
from livemos.training.damages.transmission import loss_pattern
from livemos.training.sources import Library

_ORDER = 12
_AUDIBLE = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseFilledLoss:
    """Each lost packet becomes noise through the linear prediction filter of the packet before, 3 dB softer each."""

    packet_ms: int
    lost_ratio: float
    mean_burst_packets: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> NoiseFilledLoss:
        return cls(
            packet_ms=int(rng.choice([10, 20, 40])),
            lost_ratio=0.008 * (37.0**severity),
            mean_burst_packets=float(rng.choice([1.0, 2.0, 3.5])),
            seed=int(rng.integers(2**31)),
        )

    def apply(self, track: Track, library: Library) -> Track:
        step = self.packet_ms * SAMPLE_RATE_HZ // 1000
        samples = track.samples.copy()
        lost = loss_pattern(self.seed, len(samples) // step, self.lost_ratio, self.mean_burst_packets)
        rng = np.random.default_rng(self.seed)
        for k in np.flatnonzero(lost):
            before = samples[(k - 1) * step : k * step]
            samples[k * step : (k + 1) * step] = _like(before, rng) * np.float32(0.71)
        mask = np.pad(np.repeat(lost, step), (0, len(samples) - len(lost) * step))
        gap = np.maximum(track.gap, mask * np.float32(_AUDIBLE))
        return replace(track, samples=samples, gap=gap, lost=track.lost | mask)


def _like(before: Samples, rng: np.random.Generator) -> Samples:
    """Noise with the spectrum and the power of `before`."""
    windowed = before.astype(np.float64) * np.hanning(len(before))
    correlation = np.correlate(windowed, windowed, "full")[len(windowed) - 1 :][: _ORDER + 1]
    correlation[0] = correlation[0] * 1.001 + 1e-9
    taps = scipy.linalg.solve_toeplitz(correlation[:-1], correlation[1:])
    noise = scipy.signal.lfilter([1.0], np.concatenate([[1.0], -taps]), rng.standard_normal(len(before)))
    power = float(np.mean(before.astype(np.float64) ** 2))
    return np.asarray(noise * np.sqrt(power / max(float(np.mean(noise**2)), 1e-20)), np.float32)
