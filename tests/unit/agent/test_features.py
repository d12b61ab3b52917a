"""Log-mel against its definition in float64, and the two promises that segments rest on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from livemos.agent.features import LogMel
from livemos.agent.records import Samples


def _by_definition(samples: np.ndarray, log_mel: LogMel) -> np.ndarray:
    """One frame, one bin, one band at a time, in float64."""
    window = np.hanning(log_mel.window_samples + 1)[:-1]
    edges = log_mel.band_edges_hz
    bins_hz = np.arange(257) * 16_000 / 512
    rows = []
    for start in range(0, len(samples) - 400 + 1, 160):
        frame = samples[start : start + 400].astype(np.float64)
        power = np.abs(np.fft.rfft((frame - frame.mean()) * window, 512)) ** 2
        bands = []
        for low, centre, high in zip(edges, edges[1:], edges[2:], strict=False):
            triangle = np.clip(
                np.minimum((bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)), 0, None
            )
            if not triangle.any():
                triangle[np.abs(bins_hz - centre).argmin()] = 1.0
            bands.append(max(float(triangle @ power), log_mel.floor))
        rows.append(np.log(bands))
    return np.array(rows)


def test_the_features_follow_their_definition(noise: Callable[..., Samples]) -> None:
    """Training, serving and a later GPU twin all have to mean the same numbers."""
    samples = noise(4_000) + 0.3 * np.sin(2 * np.pi * 440 * np.arange(4_000) / 16_000).astype(np.float32)
    log_mel = LogMel()
    np.testing.assert_allclose(log_mel(samples), _by_definition(samples, log_mel), atol=2e-4)


def test_a_segment_has_98_frames_and_shares_48_of_them_with_the_next(noise: Callable[..., Samples]) -> None:
    """Frames lie on the stream's 10 ms grid and never leave their segment."""
    log_mel, samples = LogMel(), noise(24_000)
    first, second = log_mel(samples[:16_000]), log_mel(samples[8_000:])
    assert first.shape == (98, 64)
    np.testing.assert_array_equal(first[50:], second[:48])


def test_a_dc_offset_changes_nothing(noise: Callable[..., Samples]) -> None:
    """A bad sound card has one; no listener hears it."""
    samples = noise(16_000, 0.05)
    np.testing.assert_allclose(LogMel()(samples + np.float32(0.2)), LogMel()(samples), atol=5e-3)


def test_a_batch_gives_what_its_rows_give_and_an_empty_one_is_empty(noise: Callable[..., Samples]) -> None:
    """Rows must not see each other."""
    log_mel, rows = LogMel(), np.stack([noise(16_000, seed=s) for s in range(3)])
    np.testing.assert_array_equal(log_mel(rows), np.stack([log_mel(row) for row in rows]))
    assert log_mel(rows[:0]).shape == (0, 98, 64)
    assert log_mel(rows[:, :300]).shape == (3, 0, 64)
    halves = rows[:, 8_000:]  # views, and three of them: more than are transformed at once
    np.testing.assert_array_equal(log_mel(halves), np.stack([log_mel(row) for row in halves]))
    np.testing.assert_array_equal(log_mel(rows.reshape(3, 1, -1))[:, 0], log_mel(rows))
    with pytest.raises(ValueError, match="float32"):
        log_mel(rows.astype(np.float64))
