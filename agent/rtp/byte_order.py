"""L16 sent with its octets swapped: noise as it is read, and smooth the other way round. Told, never undone.

Speech at 8 kHz and above changes little from sample to sample; read in the wrong order it jumps by half the scale.
"""

from __future__ import annotations

import numpy as np

HEARD_SECONDS = 1.0  # of sound, before anything is said
_ROUGH_RATIO, _SMOOTH_RATIO = 1.0, 0.5  # energy of the first difference over the energy: white noise has 2
_SILENT_RMS = 64.0  # of 32,768: below, either order is quiet or both are


class ByteOrderWatch:
    """`heard` for each payload; True once, when the sound so far fits the other order and not its own."""

    def __init__(self, sample_rate_hz: int, channels: int) -> None:
        self._wanted_samples = round(HEARD_SECONDS * sample_rate_hz)
        self._channels = channels
        self._samples = 0
        self._energy = np.zeros(2)
        self._difference = np.zeros(2)
        self._told = False

    def heard(self, payload: bytes) -> bool:
        if self._told or len(payload) < 4 * self._channels:
            return False
        for order, dtype in enumerate((">i2", "<i2")):
            samples = np.frombuffer(payload, dtype)[:: self._channels].astype(np.float64)
            if order == 0:
                if np.sqrt(np.mean(samples**2)) < _SILENT_RMS:
                    return False
                self._samples += samples.size
            self._energy[order] += float(samples @ samples)
            step = np.diff(samples)
            self._difference[order] += float(step @ step)
        if self._samples < self._wanted_samples:
            return False
        as_read, swapped = self._difference / np.maximum(self._energy, 1.0)
        self._samples, self._energy, self._difference = 0, np.zeros(2), np.zeros(2)
        self._told = as_read > _ROUGH_RATIO and swapped < _SMOOTH_RATIO
        return self._told
