"""The sender's sampling clock against ours, from the lower envelope of transit times (RFC 3550 section 6.4.1).

A packet can be late but never early, so the least delayed packet of each second shows the clocks and hides the queue.
"""

from __future__ import annotations

from collections import deque

import numpy as np

LEAST_SECONDS = 30.0  # of measurement before a figure is given
_BIN_SECONDS = 1.0
_BINS = 3_600


class ClockDrift:
    """Feed `heard` with media time and arrival of packets in order of the media."""

    def __init__(self) -> None:
        self._minima: deque[tuple[float, float]] = deque(maxlen=_BINS)  # (arrival, transit), both in seconds
        self._bin: tuple[float, float] | None = None
        self._bin_end_seconds = 0.0

    def heard(self, media_seconds: float, arrival_seconds: float) -> None:
        """media_seconds: since any fixed point of the sender's clock."""
        point = arrival_seconds, arrival_seconds - media_seconds
        if self._bin is None or arrival_seconds >= self._bin_end_seconds:
            if self._bin is not None:
                self._minima.append(self._bin)
            self._bin, self._bin_end_seconds = point, arrival_seconds + _BIN_SECONDS
        elif point[1] < self._bin[1]:
            self._bin = point

    def reset(self) -> None:
        """The sender's clock was set anew."""
        self._minima.clear()
        self._bin = None

    @property
    def ppm(self) -> float | None:
        """Positive when the sender is fast; None before LEAST_SECONDS were heard."""
        if not self._minima or self._minima[-1][0] - self._minima[0][0] < LEAST_SECONDS:
            return None
        points = np.array(self._minima)
        points -= points[0]
        slope = float(np.polyfit(points[:, 0], points[:, 1], 1)[0])
        return -1e6 * slope / (1.0 - slope) if slope < 1.0 else None
