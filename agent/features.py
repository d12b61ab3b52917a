"""Log-mel features: one definition for training and serving. `kernels.log_mel` will be its GPU twin.

Frames lie on the absolute 10 ms grid of the stream and never leave their segment, so two segments that overlap share
frames exactly and no padding is ever scored: a 1 s segment has 98 frames of 25 ms.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from livemos.agent.records import SAMPLE_RATE_HZ, Samples

Float32 = npt.NDArray[np.float32]

NEPERS_PER_DB = math.log(10.0) / 10.0  # log-mel is the natural logarithm of a power
_FRAMES_AT_ONCE = 100  # spectra of more leave the cache, of less cost more in calls than in arithmetic


@dataclass(frozen=True)
class LogMel:
    """log(max(mel power, floor)) of Hann-windowed frames.

    Power is |rfft|^2 of samples with full scale 1.0, not divided by the window's energy: a full-scale sine gives about
    1e4 in its band, 16-bit rounding noise about 1e-6. The mean of each frame is removed first, so a DC offset of the
    line changes nothing. Mel scale: O'Shaughnessy 1987, 2595 log10(1 + f / 700), triangles of unit peak.
    """

    window_samples: int = 400
    hop_samples: int = 160
    fft_samples: int = 512
    mel_bands: int = 64
    minimum_hz: float = 40.0
    maximum_hz: float = 8_000.0
    floor: float = 1e-5

    def parameters(self) -> dict[str, Any]:
        """For the bundle's manifest; `LogMel(**parameters)` gives the same features."""
        return asdict(self)

    def frames(self, samples: int) -> int:
        """Whole frames inside `samples` samples."""
        return max(0, 1 + (samples - self.window_samples) // self.hop_samples)

    @cached_property
    def band_edges_hz(self) -> npt.NDArray[np.float64]:
        """(F + 2,) lower edge, centres and upper edge of the triangles."""
        low, high = (2595.0 * np.log10(1.0 + hz / 700.0) for hz in (self.minimum_hz, self.maximum_hz))
        return np.asarray(700.0 * (10.0 ** (np.linspace(low, high, self.mel_bands + 2) / 2595.0) - 1.0))

    @cached_property
    def window(self) -> Float32:
        """(window_samples,): periodic Hann."""
        n = np.arange(self.window_samples)
        return (0.5 - 0.5 * np.cos(2 * np.pi * n / self.window_samples)).astype(np.float32)

    @cached_property
    def filters(self) -> Float32:
        """(fft_samples / 2 + 1, F): triangles over the FFT bins."""
        bins_hz = np.arange(self.fft_samples // 2 + 1) * SAMPLE_RATE_HZ / self.fft_samples
        edges = self.band_edges_hz
        rising = (bins_hz[:, None] - edges[None, :-2]) / (edges[1:-1] - edges[:-2])
        falling = (edges[None, 2:] - bins_hz[:, None]) / (edges[2:] - edges[1:-1])
        triangles = np.maximum(0.0, np.minimum(rising, falling))
        # the lowest triangles are narrower than a bin: give one that no bin falls into its nearest bin
        for band in np.flatnonzero(triangles.sum(axis=0) == 0):
            triangles[np.abs(bins_hz - edges[band + 1]).argmin(), band] = 1.0
        return triangles.astype(np.float32)

    @cached_property
    def _filter_blocks(self) -> tuple[tuple[slice, slice, Float32], ...]:
        """The filters in blocks of 16 bands, each with the bins it reaches.

        The matrix is mostly zeros, and the whole product is just large enough for BLAS to wake its threads, which on a
        busy machine costs a hundred times the work (docs/audio.md).
        """
        blocks = []
        for first in range(0, self.mel_bands, 16):
            bands = slice(first, min(first + 16, self.mel_bands))
            reached = np.flatnonzero(self.filters[:, bands].any(axis=1))
            bins = slice(int(reached[0]), int(reached[-1]) + 1)
            blocks.append((bins, bands, np.ascontiguousarray(self.filters[bins, bands])))
        return tuple(blocks)

    def __call__(self, samples: Samples) -> Float32:
        """(..., N) float32 at 16 kHz -> (..., frames(N), F) float32."""
        if samples.dtype != np.float32:
            raise ValueError(f"log-mel takes float32 samples, got {samples.dtype}")
        rows = samples.reshape(-1, samples.shape[-1])
        features = np.empty((len(rows), self.frames(samples.shape[-1]), self.mel_bands), np.float32)
        self.into(rows, features)
        return features.reshape(*samples.shape[:-1], *features.shape[1:])

    def into(self, segments: Samples, features: Float32) -> None:
        """Write the features of segments (B, N) to `features` (B, frames(N), F); both may be views."""
        count = features.shape[1]
        at_once = max(1, _FRAMES_AT_ONCE // max(count, 1))
        padded = np.zeros((at_once, count, self.fft_samples), np.float32)  # behind the window it stays zero
        for first in range(0, len(segments), at_once):
            some = segments[first : first + at_once]
            self._some_into(some, padded[: len(some)], features[first : first + at_once])

    def _some_into(self, segments: Samples, padded: Float32, features: Float32) -> None:
        """Of as many segments as `padded` (B, frames, fft_samples) has room for."""
        count = features.shape[1]
        row, step = segments.strides
        frames = np.lib.stride_tricks.as_strided(
            segments,
            (len(segments), count, self.window_samples),
            (row, step * self.hop_samples, step),
            writeable=False,
        )
        mean = np.add.reduce(frames, axis=2, keepdims=True) / np.float32(self.window_samples)
        inside = np.subtract(frames, mean, out=padded[..., : self.window_samples])
        np.multiply(inside, self.window, out=inside)
        parts = scipy.fft.rfft(padded, axis=2).view(np.float32)  # real and imaginary in turns
        np.multiply(parts, parts, out=parts)
        power = parts[..., ::2] + parts[..., 1::2]
        for bins, bands, filters in self._filter_blocks:
            np.matmul(power[..., bins], filters, out=features[..., bands])
        np.maximum(features, np.float32(self.floor), out=features)
        np.log(features, out=features)
