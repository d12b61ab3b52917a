"""Caps against floods: how much one port, one sender and one second may bring (RFC 3550 section 9)."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What one port takes; what is beyond is shed and counted under the cap's name."""

    sources: int = 4_096
    new_ssrcs_per_second: int = 200
    packets_per_second: int = 200_000
    bytes_per_second: int = 200_000_000
    source_packets_per_second: int = 1_000  # 2.5 ms packets are 400 a second
    source_bytes_per_second: int = 1_000_000
    datagram_bytes: int = 9_000

    def shared_by(self, workers: int) -> Caps:
        """Of one of `workers` that share the port; what is of a sender or a datagram stays as it is."""
        return replace(
            self,
            sources=-(-self.sources // workers),
            new_ssrcs_per_second=-(-self.new_ssrcs_per_second // workers),
            packets_per_second=-(-self.packets_per_second // workers),
            bytes_per_second=-(-self.bytes_per_second // workers),
        )


class Budget:
    """`per_second` units in any second, counted in whole seconds of the clock handed in."""

    __slots__ = ("_per_second", "_second", "_used")

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._second = -1
        self._used = 0

    def left(self, now_seconds: float) -> int:
        """Units that may still be taken in this second."""
        return self._per_second - (self._used if int(now_seconds) == self._second else 0)

    def take(self, units: int, now_seconds: float) -> bool:
        """False when the second's budget is used up; refused units are not counted against it."""
        second = int(now_seconds)
        if second != self._second:
            self._second, self._used = second, 0
        if self._used + units > self._per_second:
            return False
        self._used += units
        return True
