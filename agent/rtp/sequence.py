"""Where a packet belongs: probation, 16-bit numbers extended, duplicates, reorder and restarts (RFC 3550 A.1, A.3).

Departs from A.1 in one thing: the packets on probation are kept and counted, so a call loses no beginning.
"""

from __future__ import annotations

from dataclasses import dataclass

from livemos.agent.rtp.packet import Packet
from livemos.agent.rtp.wraparound import difference16, extend16

MAX_DROPOUT_PACKETS = 3_000  # a larger step forward is a restart, RFC 3550 A.1
MAX_MISORDER_PACKETS = 100  # a larger step back is a restart
PROBATION_PACKETS = 8  # kept while none follows another
PROBATION_REACH_PACKETS = 8  # kept packets this little ahead of or behind the first pair belong to the stream
_REMEMBERED_PACKETS = 256  # for telling duplicates; more than MAX_MISORDER_PACKETS


@dataclass(frozen=True, slots=True)
class Placed:
    """A packet with its extended number, which rises by one per packet sent and goes on over a restart."""

    extended: int
    packet: Packet
    arrival_seconds: float
    restarted: bool = False  # the first after the sender began a new sequence


class SequenceTracker:
    """Counts for one SSRC; `place` says where each arriving packet belongs."""

    def __init__(self) -> None:
        self._probation: list[tuple[Packet, float]] = []
        self._stray: tuple[Packet, float] | None = None
        self._base = 0
        self._begun = 0  # extended number of the first packet behind the newest restart
        self._highest = 0
        self._highest_number = 0  # the 16-bit number that belongs to _highest
        self._seen = 0  # bit k: the packet with number _highest - k has come; 0 before the stream exists
        self.unique_packets = self.duplicate_packets = self.reordered_packets = self.stray_packets = 0
        self.cycles = 0  # wraps of the 16-bit number; a restart is none

    @property
    def established(self) -> bool:
        """Two packets in sequence have come: this is a stream and not a stray datagram."""
        return self._seen != 0

    @property
    def base(self) -> int:
        """Extended number of the first packet."""
        return self._base

    @property
    def expected_packets(self) -> int:
        return self._highest - self._base + 1 if self.established else 0

    @property
    def lost_packets(self) -> int:
        """Expected less those that came at least once; never negative."""
        return max(0, self.expected_packets - self.unique_packets)

    @property
    def cumulative_lost(self) -> int:
        """RFC 3550 section 6.4.1, to compare with RTCP: duplicates count as received, so it may be negative."""
        return self.expected_packets - self.unique_packets - self.duplicate_packets

    @property
    def probation_packets(self) -> int:
        """Held because no neighbour has come yet."""
        return len(self._probation)

    @property
    def highest_number(self) -> int:
        """The newest sequence number, 16 bits; meaningful once established."""
        return self._highest_number

    @property
    def base_number(self) -> int:
        """The first sequence number, 16 bits; meaningful once established."""
        return self._base & 0xFFFF

    def missing(self, extended: int) -> bool:
        """Whether a packet of the sequence that goes on now has not come; remembered over 256 packets."""
        step = extended - self._highest
        if extended < max(self._base, self._begun) or not -_REMEMBERED_PACKETS < step <= 0:
            return False
        return not self._seen >> -step & 1

    def place(self, packet: Packet, arrival_seconds: float) -> list[Placed]:
        """Packets that found their place through this one: none (held, duplicate), one, or a few at once."""
        if not self.established:
            return self._on_probation(packet, arrival_seconds)
        step = difference16(packet.sequence_number, self._highest_number)
        if -MAX_MISORDER_PACKETS <= step < MAX_DROPOUT_PACKETS:
            self._drop_stray()
            return self._accept(self._highest + step, packet, arrival_seconds)
        if self._stray is not None and difference16(packet.sequence_number, self._stray[0].sequence_number) == 1:
            held, held_arrival_seconds = self._stray
            self._stray = None
            # the sequence broke, the stream did not: nothing is lost in between
            first = self._begun = self._highest + 1
            return [
                *self._accept(first, held, held_arrival_seconds, restarted=True),
                *self._accept(first + 1, packet, arrival_seconds),
            ]
        self._drop_stray()
        self._stray = packet, arrival_seconds
        return []

    @property
    def undisturbed(self) -> bool:
        """Established, and no stray waits for its neighbour."""
        return self.established and self._stray is None

    @property
    def highest(self) -> int:
        """Extended number of the newest packet."""
        return self._highest

    def advance(self, packets: int) -> None:
        """As `place` for each of the next `packets` numbers in order, at most 1,000, while undisturbed."""
        number = self._highest_number + packets
        self.cycles += number >> 16
        self._seen = ((self._seen << packets) | ((1 << packets) - 1)) & ((1 << _REMEMBERED_PACKETS) - 1)
        self._highest, self._highest_number = self._highest + packets, number & 0xFFFF
        self.unique_packets += packets

    def _on_probation(self, packet: Packet, arrival_seconds: float) -> list[Placed]:
        number = packet.sequence_number
        held = self._probation
        if any(other.sequence_number == number for other, _ in held):
            return []
        neighbours = [o.sequence_number for o, _ in held if abs(difference16(o.sequence_number, number)) == 1]
        held.append((packet, arrival_seconds))
        if not neighbours:
            if len(held) > PROBATION_PACKETS:
                held.pop(0)
                self.stray_packets += 1
            return []
        members = [
            (extend16(other.sequence_number, number), other, arrived)
            for other, arrived in held
            if abs(difference16(other.sequence_number, number)) <= PROBATION_REACH_PACKETS
        ]
        self.stray_packets += len(held) - len(members)
        self._probation = []
        # a cycle above zero, so that packets from before the base keep a positive number
        self._base = min(extended for extended, _, _ in members) + 0x10000
        self._highest = self._base - 1
        return [one for extended, other, at in members for one in self._accept(extended + 0x10000, other, at)]

    def _accept(
        self, extended: int, packet: Packet, arrival_seconds: float, *, restarted: bool = False
    ) -> list[Placed]:
        step = extended - self._highest
        if step > 0:
            if self._seen and not restarted and packet.sequence_number < self._highest_number:
                self.cycles += 1
            self._seen = ((self._seen << step) | 1) & ((1 << _REMEMBERED_PACKETS) - 1)
            self._highest, self._highest_number = extended, packet.sequence_number
        elif self._seen >> -step & 1:
            self.duplicate_packets += 1
            return []
        else:
            self._seen |= 1 << -step
            self.reordered_packets += 1
        if extended >= self._base:
            self.unique_packets += 1
        return [Placed(extended, packet, arrival_seconds, restarted)]

    def _drop_stray(self) -> None:
        if self._stray is not None:
            self._stray = None
            self.stray_packets += 1
