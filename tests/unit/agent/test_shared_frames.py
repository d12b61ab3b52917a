"""Frames that two segments share are computed once, and are the ones LogMel gives."""

from __future__ import annotations

import numpy as np
import pytest

from livemos.agent.features import LogMel
from livemos.agent.shared_frames import SharedFrames


class CountedLogMel:
    """LogMel that notes how many samples it was given."""

    def __init__(self) -> None:
        self.samples = 0
        self.inner = LogMel()

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def __call__(self, samples: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        self.samples += samples.size
        return self.inner(samples)

    def into(self, samples: np.ndarray, features: np.ndarray) -> None:  # type: ignore[type-arg]
        self.samples += samples.size
        self.inner.into(samples, features)


def play(shared: SharedFrames, signal: np.ndarray, row: int, indices: list[int]) -> list[np.ndarray]:  # type: ignore[type-arg]
    rows = np.array([row])
    return [shared(signal[None, 8_000 * k : 8_000 * k + 16_000], rows, np.array([k]))[0] for k in indices]


@pytest.fixture
def signal() -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(2).normal(0.0, 0.1, 16_000 * 5).astype(np.float32)


def make(log_mel: object) -> SharedFrames:
    return SharedFrames(log_mel, streams=3, segment_samples=16_000, stride_samples=8_000)  # type: ignore[arg-type]


@pytest.mark.parametrize("indices", [[0, 1, 2, 3], [0, 2, 3, 5], [4, 0, 1]], ids=["all", "gaps", "anew"])
def test_features_are_those_of_the_whole_segment(signal: np.ndarray, indices: list[int]) -> None:  # type: ignore[type-arg]
    """A frame of another second would score what nobody said there."""
    for k, features in zip(indices, play(make(LogMel()), signal, 1, indices), strict=True):
        np.testing.assert_allclose(features, LogMel()(signal[8_000 * k : 8_000 * k + 16_000]), rtol=1e-5, atol=1e-5)


def test_a_successive_segment_costs_half(signal: np.ndarray) -> None:  # type: ignore[type-arg]
    """Features are a third of what a segment costs."""
    counted = CountedLogMel()
    play(make(counted), signal, 0, [0, 1, 2, 3])
    assert counted.samples == 16_000 + 3 * 8_320


def test_another_stream_or_a_segment_not_looked_at_begins_anew(signal: np.ndarray) -> None:  # type: ignore[type-arg]
    """A row is given to a new stream when the old one ends; its frames are not the new one's."""
    shared = make(LogMel())
    play(shared, signal, 2, [0, 1])
    shared.forget(np.array([2]))
    other = signal[::-1].copy()
    (features,) = play(shared, other, 2, [2])
    np.testing.assert_allclose(features, LogMel()(other[16_000:32_000]), rtol=1e-5, atol=1e-5)
    play(shared, signal, 1, [0])
    missing = shared(signal[None, 8_000:24_000], np.array([1]), np.array([-1]))[0]
    np.testing.assert_allclose(missing, LogMel()(signal[8_000:24_000]), rtol=1e-5, atol=1e-5)
    (after,) = play(shared, other, 1, [0])
    np.testing.assert_allclose(after, LogMel()(other[:16_000]), rtol=1e-5, atol=1e-5)


def test_streams_that_go_on_and_streams_that_begin_share_a_batch(signal: np.ndarray) -> None:  # type: ignore[type-arg]
    """Calls begin at any time: in one batch some segments need half their frames, some all, each its own."""
    shared, other = make(LogMel()), signal[::-1].copy()
    play(shared, signal, 0, [0])
    play(shared, other, 2, [4])
    batch = np.stack([signal[8_000:24_000], signal[:16_000], other[40_000:56_000]])
    features = shared(batch, np.array([0, 1, 2]), np.array([1, 0, 5]))
    np.testing.assert_allclose(features, LogMel()(batch), rtol=1e-5, atol=1e-5)
    batch = np.stack([other[48_000:64_000], signal[8_000:24_000], signal[16_000:32_000]])
    features = shared(batch, np.array([2, 1, 0]), np.array([6, 1, 2]))
    np.testing.assert_allclose(features, LogMel()(batch), rtol=1e-5, atol=1e-5)
