"""The front end of the ConferencingSpeech 2022 baselines: magnitude mel bands in dB, as librosa would give them.

Slaney mel scale and area normalisation to 20 kHz, transform of 4096 points, Hann window of 20 ms, hop of 10 ms, frames
centred with reflected edges; floor -80 dB, and at most 80 dB below the loudest value of the piece.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.signal

Array = npt.NDArray[np.float32]

MEL_BANDS = 48
_HIGHEST_HZ = 20_000.0
_TRANSFORM_SAMPLES = 4096
_LINEAR_TO_HZ, _LINEAR_HZ_PER_MEL = 1_000.0, 200.0 / 3.0
_LOG_STEP = np.log(6.4) / 27.0


def _mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    first_log_mel = _LINEAR_TO_HZ / _LINEAR_HZ_PER_MEL
    logarithmic = _LINEAR_TO_HZ * np.exp(_LOG_STEP * (mel - first_log_mel))
    return np.where(mel < first_log_mel, mel * _LINEAR_HZ_PER_MEL, logarithmic)


@lru_cache(maxsize=4)
def mel_filters(sample_rate_hz: int) -> Array:
    """(48, 2049) triangles; those above half the sample rate are empty."""
    highest_mel = _LINEAR_TO_HZ / _LINEAR_HZ_PER_MEL + np.log(_HIGHEST_HZ / _LINEAR_TO_HZ) / _LOG_STEP
    edges_hz = _mel_to_hz(np.linspace(0.0, highest_mel, MEL_BANDS + 2))
    bins_hz = np.linspace(0.0, sample_rate_hz / 2, _TRANSFORM_SAMPLES // 2 + 1)
    widths_hz = np.diff(edges_hz)
    rising = (bins_hz - edges_hz[:-2, None]) / widths_hz[:-1, None]
    falling = (edges_hz[2:, None] - bins_hz) / widths_hz[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * (2.0 / (edges_hz[2:] - edges_hz[:-2]))[:, None], np.float32)


def decibel_mel(pieces: Array, sample_rate_hz: int) -> Array:
    """(P, N) samples -> (P, 48, T) dB, T = 1 + N // hop."""
    hop, window = sample_rate_hz // 100, sample_rate_hz // 50
    half = _TRANSFORM_SAMPLES // 2
    padded = np.pad(pieces, ((0, 0), (half, half)), mode="reflect")
    # only the window's samples differ from 0, and a magnitude does not know where they lie in the transform
    frames = np.lib.stride_tricks.sliding_window_view(padded, window, axis=1)[:, half - window // 2 :: hop]
    frames = frames[:, : 1 + pieces.shape[1] // hop] * scipy.signal.get_window("hann", window).astype(np.float32)
    magnitudes = np.abs(scipy.fft.rfft(frames, _TRANSFORM_SAMPLES, axis=-1))
    mel = np.einsum("ptf,mf->pmt", magnitudes, mel_filters(sample_rate_hz), optimize=True)
    decibel = 20.0 * np.log10(np.maximum(mel, 1e-4))
    return np.asarray(np.maximum(decibel, decibel.max(axis=(1, 2), keepdims=True) - 80.0), np.float32)


def blocks(mel: Array, frames: int, stride: int) -> Array:
    """(P, 48, T) -> (P, S, 48, frames), overlapping blocks in time."""
    views = np.lib.stride_tricks.sliding_window_view(mel, frames, axis=2)[:, :, ::stride]
    return np.ascontiguousarray(views.transpose(0, 2, 1, 3))
