"""Interarrival jitter as RFC 3550 A.8 defines it, kept in clock ticks and told in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from livemos.agent.rtp.wraparound import difference32


class InterarrivalJitter:
    """J += (|D| - J) / 16, D = difference of arrivals - difference of timestamps, both in ticks of the media clock."""

    def __init__(self) -> None:
        self._jitter_ticks = 0.0
        self._clock_rate_hz = 0
        self._last: tuple[int, float] | None = None

    def heard(self, timestamp: int, arrival_seconds: float, clock_rate_hz: int) -> None:
        """A packet arrived; a change of clock begins a new anchor and converts what was measured."""
        if clock_rate_hz != self._clock_rate_hz:
            self._jitter_ticks *= clock_rate_hz / self._clock_rate_hz if self._clock_rate_hz else 0.0
            self._clock_rate_hz, self._last = clock_rate_hz, None
        if self._last is not None:
            last_timestamp, last_arrival_seconds = self._last
            arrival_ticks = (arrival_seconds - last_arrival_seconds) * clock_rate_hz
            distance = arrival_ticks - difference32(timestamp, last_timestamp)
            self._jitter_ticks += (abs(distance) - self._jitter_ticks) / 16.0
        self._last = timestamp, arrival_seconds

    def heard_run(self, timestamp: int, ticks: int, arrivals: Sequence[float], clock_rate_hz: int) -> None:
        """As `heard` for each of several packets, `ticks` apart, the first at `timestamp`."""
        self.heard(timestamp, arrivals[0], clock_rate_hz)
        jitter_ticks = self._jitter_ticks
        for before, arrival in pairwise(arrivals):
            jitter_ticks += (abs((arrival - before) * clock_rate_hz - ticks) - jitter_ticks) / 16.0
        self._jitter_ticks = jitter_ticks
        self._last = timestamp + (len(arrivals) - 1) * ticks & 0xFFFF_FFFF, arrivals[-1]

    def equals(self, other: InterarrivalJitter) -> bool:
        """Whether the two have measured the same, and will of the same packets."""
        return (
            self._jitter_ticks == other._jitter_ticks
            and self._last == other._last
            and self._clock_rate_hz == other._clock_rate_hz
        )

    def become(self, other: InterarrivalJitter) -> None:
        """Take over what the other has measured."""
        self._jitter_ticks, self._last, self._clock_rate_hz = other._jitter_ticks, other._last, other._clock_rate_hz

    def reset_anchor(self) -> None:
        """The next packet is not compared with the last: a pause, a restart or a new talk spurt lies between."""
        self._last = None

    @property
    def seconds(self) -> float:
        return self._jitter_ticks / self._clock_rate_hz if self._clock_rate_hz else 0.0
