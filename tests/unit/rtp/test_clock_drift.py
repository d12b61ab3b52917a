"""The drift of a sender's clock over calls of any length: the figure, and what it costs to keep."""

from __future__ import annotations

import numpy as np
import pytest

from livemos.agent.rtp.clock_drift import ClockDrift


def heard(drift: ClockDrift, seconds: float, ppm: float, *, begin: float = 0.0) -> None:
    """Ten packets a second of a sender that is fast by `ppm`, each up to 30 ms late."""
    late = np.random.default_rng(1).exponential(0.01, round(10 * seconds)).clip(0, 0.03)
    for n, each in enumerate(late.tolist()):
        media = begin + 0.1 * n
        drift.heard(media, media / (1 + ppm * 1e-6) + each)


@pytest.mark.parametrize("ppm", [-120.0, 0.0, 80.0])
@pytest.mark.parametrize("seconds", [100, 700, 5_000])
def test_the_drift_of_a_call_of_any_length_is_right(seconds: float, ppm: float) -> None:
    """Joining bins must not bend the line that was measured before."""
    drift = ClockDrift()
    heard(drift, seconds, ppm)
    assert drift.ppm == pytest.approx(ppm, abs=15 if seconds == 100 else 1)


def test_a_long_call_keeps_no_more_than_a_short_one() -> None:
    """A point a second was 11 MiB of 330 streams after five minutes, and would be 12 times as much in an hour."""
    drift = ClockDrift()
    heard(drift, 8_000, 50.0)
    assert drift.points <= 120
    drift.reset()
    heard(drift, 60, 50.0)
    assert drift.points >= 50  # a new clock is measured by the second again


def test_what_is_older_than_the_window_no_longer_counts() -> None:
    """A clock that was warm after an hour is told as it is, not as it was."""
    drift = ClockDrift()
    heard(drift, 2_000, 200.0)
    behind = 2_000 / (1 + 200e-6) - 2_000.0
    for n in range(45_000):
        drift.heard(2_000 + 0.1 * n, 2_000 + 0.1 * n + behind)
    assert drift.ppm == pytest.approx(0.0, abs=1)


def test_runs_give_what_their_packets_give() -> None:
    """How long a sender of bursts may be silent decides whose stream another SSRC is, on both ways of a packet."""
    rng = np.random.default_rng(4)
    media = 0.02 * np.arange(6_000)
    arrivals = np.maximum.accumulate(media + rng.exponential(0.03, len(media))).tolist()
    alone, together = ClockDrift(), ClockDrift()
    begin = 0
    while begin < len(arrivals):
        end = min(len(arrivals), begin + int(rng.integers(1, 60)))
        together.heard_run(media[begin:end].tolist(), arrivals[begin:end])
        for n in range(begin, end):
            alone.heard(float(media[n]), arrivals[n])
        assert (together.lead_seconds, together.ppm) == (alone.lead_seconds, alone.ppm)
        begin = end
