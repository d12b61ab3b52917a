"""The sender's sampling clock against ours, from the lower envelope of transit times (RFC 3550 section 6.4.1).

A packet can be late but never early, so the least delayed packet of each second shows the clocks and hides the queue.
A long call is kept in longer bins, not in more of them: it takes no more memory after two minutes than after an hour.
"""

from __future__ import annotations

import bisect
import math
import operator
from collections import deque
from collections.abc import Sequence

LEAST_SECONDS = 30.0  # of measurement before a figure is given
_SHORTEST_BIN_SECONDS, _LONGEST_BIN_SECONDS = 1.0, 32.0
_BINS = 120  # of the longest: 64 minutes


class ClockDrift:
    """Feed `heard` with media time and arrival of packets in order of the media.

    The line through the bins' minima is kept as running sums: it is asked for twice a second of every stream.
    """

    def __init__(self) -> None:
        self._minima: deque[tuple[float, float]] = deque()  # (arrival, transit), both in seconds from the first's
        self._bin_seconds = _SHORTEST_BIN_SECONDS
        self._origin = 0.0, 0.0
        self._sums = _Sums()
        self._bin: tuple[float, float] | None = None
        self._bin_end_seconds = 0.0
        self._transit = 0.0  # of the newest packet
        self._largest_transits = -math.inf, -math.inf  # of the bin before this one, and of this one

    def heard(self, media_seconds: float, arrival_seconds: float) -> None:
        """media_seconds: since any fixed point of the sender's clock."""
        point = arrival_seconds, arrival_seconds - media_seconds
        self._transit = point[1]
        if self._bin is None or arrival_seconds >= self._bin_end_seconds:
            if self._bin is not None:
                self._keep(self._bin)
            self._bin, self._bin_end_seconds = point, arrival_seconds + self._bin_seconds
            self._largest_transits = self._largest_transits[1], point[1]
            return
        if point[1] < self._bin[1]:
            self._bin = point
        self._note_largest(point[1])

    def heard_run(self, media_seconds: Sequence[float], arrivals: Sequence[float]) -> None:
        """As `heard` for each pair."""
        begin = 0
        while begin < len(arrivals):
            if self._bin is None or arrivals[begin] >= self._bin_end_seconds:
                self.heard(media_seconds[begin], arrivals[begin])
                begin += 1
                continue
            end = bisect.bisect_left(arrivals, self._bin_end_seconds, begin)
            transits = list(map(operator.sub, arrivals[begin:end], media_seconds[begin:end]))
            least = min(transits)
            if least < self._bin[1]:
                self._bin = arrivals[begin + transits.index(least)], least
            self._note_largest(max(transits))
            self._transit = transits[-1]
            begin = end

    def reset(self) -> None:
        """The sender's clock was set anew."""
        self._minima.clear()
        self._bin_seconds = _SHORTEST_BIN_SECONDS
        self._sums = _Sums()
        self._bin = None
        self._largest_transits = -math.inf, -math.inf

    @property
    def lead_seconds(self) -> float:
        """How much sooner the newest packet came than the latest of late: a sender of bursts is silent for as long."""
        return max(self._largest_transits) - self._transit if self._bin is not None else 0.0

    @property
    def points(self) -> int:
        """Bins that are kept."""
        return len(self._minima)

    @property
    def ppm(self) -> float | None:
        """Positive when the sender is fast; None before LEAST_SECONDS were heard."""
        if not self._minima or self._minima[-1][0] - self._minima[0][0] < LEAST_SECONDS:
            return None
        slope = self._sums.slope()
        return -1e6 * slope / (1.0 - slope) if slope < 1.0 else None

    def _note_largest(self, transit: float) -> None:
        if transit > self._largest_transits[1]:
            self._largest_transits = self._largest_transits[0], transit

    def _keep(self, point: tuple[float, float]) -> None:
        if not self._minima:
            self._origin = point
        x, y = point[0] - self._origin[0], point[1] - self._origin[1]
        self._minima.append((x, y))
        self._sums.add(x, y, 1)
        if len(self._minima) > _BINS:
            if self._bin_seconds < _LONGEST_BIN_SECONDS:
                self._join_bins()
            else:
                self._sums.add(*self._minima.popleft(), -1)

    def _join_bins(self) -> None:
        """Bins twice as long: of two neighbours the less delayed one is left."""
        before = [*self._minima]
        self._minima = deque(min(before[n : n + 2], key=operator.itemgetter(1)) for n in range(0, len(before), 2))
        self._bin_seconds *= 2.0
        self._sums = _Sums()
        for x, y in self._minima:
            self._sums.add(x, y, 1)


class _Sums:
    """Least squares in one unknown: the slope of y over x."""

    __slots__ = ("_n", "_x", "_xx", "_xy", "_y")

    def __init__(self) -> None:
        self._n = 0
        self._x = self._y = self._xx = self._xy = 0.0

    def add(self, x: float, y: float, times: int) -> None:
        """One more point, or with -1 one less."""
        self._n += times
        self._x += times * x
        self._y += times * y
        self._xx += times * x * x
        self._xy += times * x * y

    def slope(self) -> float:
        """Of at least two different x."""
        return (self._n * self._xy - self._x * self._y) / (self._n * self._xx - self._x * self._x)
