"""The network MOS of one listener: of the whole call and of its last seconds, each from counts of its own.

What this machine lost of the traffic cannot be told from what the network lost: around a capture loss both are
withheld, and the call's begins anew behind it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from livemos.agent.rtp import network_mos

RECENT_SECONDS = 5.0
VOID_SECONDS = 2.0  # a segment of 1 s and the packets on either side of the hole
_NOTE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Counts:
    """Since the stream began: packets expected, packets not heard after recovery, and in how many bursts."""

    expected: int = 0
    missed: int = 0
    bursts: int = 0


class NetworkQuality:
    """`note` once `next_note_seconds` has come, `mos` and `recent_mos` at any time after the last note."""

    def __init__(self) -> None:
        self._notes: deque[tuple[float, Counts]] = deque()
        self._base = Counts()
        self._void_until_seconds: float | None = None
        self.next_note_seconds = 0.0

    def note(self, now_seconds: float, counts: Counts) -> None:
        """Keep the counts of this moment; one a second is enough."""
        self.next_note_seconds = now_seconds + _NOTE_SECONDS
        if self._void_until_seconds is not None and now_seconds >= self._void_until_seconds:
            self._void_until_seconds, self._base = None, counts
            self._notes.clear()
        self._notes.append((now_seconds, counts))
        while len(self._notes) > 1 and self._notes[1][0] <= now_seconds - RECENT_SECONDS:
            self._notes.popleft()

    def void(self, now_seconds: float) -> None:
        """This machine lost packets."""
        self._void_until_seconds = now_seconds + VOID_SECONDS

    def mos(self, codec: str, counts: Counts) -> float | None:
        """Of the call so far, from the last capture loss on."""
        return None if self._void_until_seconds is not None else _mos(codec, self._base, counts)

    def recent_mos(self, codec: str, counts: Counts) -> float | None:
        """Of the last 5 to 6 s; None before the stream is a second old."""
        if self._void_until_seconds is not None or len(self._notes) < 2:
            return None
        return _mos(codec, self._notes[0][1], counts)


def _mos(codec: str, before: Counts, now: Counts) -> float | None:
    expected = now.expected - before.expected
    if expected <= 0:
        return None
    missed = max(0, now.missed - before.missed)
    ratio = min(1.0, missed / expected)
    bursts = network_mos.burst_ratio(missed, now.bursts - before.bursts, ratio)
    return network_mos.network_mos(codec, loss_ratio=ratio, burst_ratio=bursts)
