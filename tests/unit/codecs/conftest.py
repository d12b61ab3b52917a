"""A voice that every machine can make: a buzz of 140 Hz through a slow envelope, so that pitch and gaps are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from livemos.agent.records import Samples


@pytest.fixture
def voice() -> Callable[[int, float], Samples]:
    """voice(sample_rate_hz, seconds) -> (N,) float32 with a pitch of 140 Hz and harmonics up to 3 kHz."""

    def make(sample_rate_hz: int, seconds: float) -> Samples:
        t = np.arange(round(sample_rate_hz * seconds)) / sample_rate_hz
        harmonics = sum(np.cos(2 * np.pi * 140 * k * t + k) / k for k in range(1, 21))
        envelope = 0.6 + 0.4 * np.sin(2 * np.pi * 2 * t)
        return (0.12 * harmonics * envelope).astype(np.float32)

    return make
