"""Media against the wall clock: a stream may lose nothing and still bring only a quarter of its seconds.

A sender that fills each packet half, or sends every fourth, keeps its sequence numbers contiguous: nothing is lost, and
only the sum of what was played tells.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from livemos.agent.records import EventKind

LOWEST_RATIO, HIGHEST_RATIO = 0.9, 1.1
WINDOW_SECONDS = 1.0
WINDOWS_BEFORE_EVENT = 2
LONGEST_WINDOW_SECONDS = 2.0


class MediaRate:
    """Give it every span of media with the time it was there; it answers with an event when the rate turns bad or good.

    A window is judged by the first media after its end, so bursts inside a window are no fault.
    """

    def __init__(self) -> None:
        self._start_seconds: float | None = None
        self._media_seconds = 0.0
        self._outside: list[float] = []
        self.ratio: float | None = None  # of the last whole window
        self.state: EventKind | None = None  # MEDIA_RATE_LOW or MEDIA_RATE_HIGH while it lasts

    def heard(self, filled_seconds: float, media_seconds: float, now_seconds: float) -> EventKind | None:
        """A packet of `media_seconds` was played at `now_seconds`, behind `filled_seconds` of what lay before it."""
        if self._start_seconds is None:
            self._start_seconds = now_seconds
        self._media_seconds += filled_seconds
        event = None
        if now_seconds - self._start_seconds > LONGEST_WINDOW_SECONDS:
            self.interrupted()  # an outage is loss, not a rate
            self._start_seconds = now_seconds
        elif now_seconds - self._start_seconds >= WINDOW_SECONDS:
            # measured from packet to packet, so a window that ends between two packets is not a packet short
            event = self._judge(self._media_seconds / (now_seconds - self._start_seconds))
            self._start_seconds, self._media_seconds = now_seconds, 0.0
        self._media_seconds += media_seconds
        return event

    def heard_inside(self, media_seconds: float, arrivals: Sequence[float]) -> int:
        """As `heard(0, media_seconds, ...)` for the arrivals before the window's end; how many those are."""
        start = self._start_seconds
        if start is None:
            return 0
        inside = bisect.bisect_left(arrivals, WINDOW_SECONDS, key=lambda arrival: arrival - start)
        total = self._media_seconds
        for _ in range(inside):  # one by one: a product would round otherwise
            total += media_seconds
        self._media_seconds = total
        return inside

    def interrupted(self) -> None:
        """A stall, a restart or an announced pause: what was measured so far says nothing."""
        self._start_seconds, self._media_seconds = None, 0.0
        self._outside.clear()

    def _judge(self, ratio: float) -> EventKind | None:
        self.ratio = ratio
        if LOWEST_RATIO <= ratio <= HIGHEST_RATIO:
            self._outside.clear()
            restored, self.state = self.state is not None, None
            return EventKind.MEDIA_RATE_RESTORED if restored else None
        self._outside.append(ratio)
        recent = self._outside[-WINDOWS_BEFORE_EVENT:]
        if len(recent) < WINDOWS_BEFORE_EVENT:
            return None
        if max(recent) < LOWEST_RATIO:
            found = EventKind.MEDIA_RATE_LOW
        elif min(recent) > HIGHEST_RATIO:
            found = EventKind.MEDIA_RATE_HIGH
        else:
            return None
        del self._outside[:-WINDOWS_BEFORE_EVENT]
        if found is self.state:
            return None
        self.state = found
        return found
