"""One SSRC's life: packets and the time in, audio in order out. Pure: no socket, no clock of its own.

A packet that continues the stream is decoded at once. Behind a gap packets wait, at most `reorder_wait_seconds` from
the arrival of the first that waits; then what is missing is concealed and comes too late if it comes at all.
"""

from __future__ import annotations

from livemos.agent.records import AudioBlock, EventKind, MediaStatistics
from livemos.agent.rtp.jitter import InterarrivalJitter
from livemos.agent.rtp.packet import Packet
from livemos.agent.rtp.payload_map import PayloadMap, Role
from livemos.agent.rtp.sequence import Placed, SequenceTracker
from livemos.agent.rtp.timeline import MediaTimeline, SessionEvent
from livemos.agent.rtp.wraparound import difference16, difference32

MAX_WAITING_PACKETS = 512  # behind one gap; more means a flood, and the gap is given up at once


class RtpSession:
    """Call `push` for each packet and `tick` when nothing comes; both give blocks in the order of the media.

    concealment: a name in codecs.concealment.CONCEALERS. Blocks of one session may change their sample rate when the
    sender changes its codec. `ready_monotonic_seconds` is the packet's arrival, or the moment a gap was given up.
    """

    def __init__(
        self, *, payload_map: PayloadMap, reorder_wait_seconds: float = 0.06, concealment: str = "pitch"
    ) -> None:
        self._map = payload_map
        self._reorder_wait_seconds = reorder_wait_seconds
        self._sequence = SequenceTracker()
        self._jitter = InterarrivalJitter()
        self._last_audio: Packet | None = None  # newest in arrival, for the jitter
        self._timeline = MediaTimeline(payload_map, concealment=concealment)
        self._waiting: dict[int, Placed] = {}
        self._next: int | None = None  # extended number that is played next
        self._late_packets = 0
        self._events: list[SessionEvent] = []

    @property
    def established(self) -> bool:
        """Two packets in sequence have come; before that there is no stream to report."""
        return self._sequence.established

    @property
    def undescribed_payload_type(self) -> int | None:
        """The newest packet's payload type when nothing here decodes it."""
        return self._timeline.undescribed_payload_type

    @property
    def quiet(self) -> bool:
        """The sender announced a pause (comfort noise, Opus DTX): no packets are no fault."""
        return self._timeline.quiet

    @property
    def packet_seconds(self) -> float:
        """Duration of the last audio packet; 0 before the first."""
        return self._timeline.packet_seconds

    def push(self, packet: Packet, arrival_monotonic_seconds: float) -> list[AudioBlock]:
        """Blocks that this packet completes; arrivals never go back."""
        blocks = self.tick(arrival_monotonic_seconds)
        for placed in self._sequence.place(packet, arrival_monotonic_seconds):
            if self._next is None:
                self._next = self._sequence.base
            if placed.restarted:
                self._jitter.reset_anchor()
                detail = f"the sender went on with sequence number {placed.packet.sequence_number}"
                self._events.append(SessionEvent(EventKind.SEQUENCE_RESTART, detail))
            self._measure_jitter(placed)
            if placed.extended < self._next:
                self._late_packets += 1
                continue
            self._waiting[placed.extended] = placed
        blocks += self._play_in_order(arrival_monotonic_seconds)
        while len(self._waiting) > MAX_WAITING_PACKETS:
            blocks += self._give_up_one_gap(arrival_monotonic_seconds)
        return blocks

    def tick(self, now_monotonic_seconds: float) -> list[AudioBlock]:
        """Blocks whose wait for a missing packet has ended."""
        blocks: list[AudioBlock] = []
        while (due := self.next_due_seconds) is not None and due <= now_monotonic_seconds:
            blocks += self._give_up_one_gap(due)
        return blocks

    @property
    def next_due_seconds(self) -> float | None:
        """When `tick` will have something to give; None while no packet waits."""
        if not self._waiting:
            return None
        return min(placed.arrival_seconds for placed in self._waiting.values()) + self._reorder_wait_seconds

    def take_events(self) -> list[SessionEvent]:
        """What happened since the last call, oldest first."""
        events = [*self._events, *self._timeline.events]
        self._events.clear()
        self._timeline.events.clear()
        return events

    def statistics(self) -> MediaStatistics:
        sequence = self._sequence
        return MediaStatistics(
            codec=self._timeline.codec,
            received_packets=sequence.unique_packets,
            expected_packets=sequence.expected_packets,
            lost_packets=sequence.lost_packets,
            late_packets=self._late_packets,
            duplicate_packets=sequence.duplicate_packets,
            reordered_packets=sequence.reordered_packets,
            jitter_seconds=self._jitter.seconds,
            playout_delay_seconds=0.0,  # played on arrival; other listeners come with their profiles
        )

    @property
    def invalid_payloads(self) -> int:
        """Packets whose payload their codec refused; they are concealed."""
        return self._timeline.invalid_payloads

    @property
    def stray_packets(self) -> int:
        """Packets far outside the sequence that nothing followed; they are neither received nor lost."""
        return self._sequence.stray_packets

    def _measure_jitter(self, placed: Placed) -> None:
        """RFC 3550 A.8 over audio packets of one talk spurt; events and comfort noise keep another clock."""
        packet = placed.packet
        encoding = self._map.encoding_of(packet.payload_type)
        if encoding is None or self._map.role_of(packet.payload_type) is not Role.AUDIO:
            return
        last, self._last_audio = self._last_audio, packet
        if last is None or packet.marker or last.payload_type != packet.payload_type or self._paused(packet, last):
            self._jitter.reset_anchor()
        self._jitter.heard(packet.timestamp, placed.arrival_seconds, encoding.clock_rate_hz)

    def _paused(self, packet: Packet, last: Packet) -> bool:
        """True when nothing is missing between the two, and yet more time than one packet holds."""
        ticks = self._timeline.packet_ticks
        if not ticks or difference16(packet.sequence_number, last.sequence_number) != 1:
            return False
        return difference32(packet.timestamp, last.timestamp) > ticks

    def _play_in_order(self, ready_seconds: float, missing_packets: int = 0) -> list[AudioBlock]:
        blocks: list[AudioBlock] = []
        while self._next is not None and (placed := self._waiting.pop(self._next, None)) is not None:
            self._next += 1
            blocks += self._timeline.play(
                placed.packet,
                placed.arrival_seconds,
                ready_seconds=ready_seconds,
                missing_packets=missing_packets,
                restarted=placed.restarted,
            )
            missing_packets = 0
        return blocks

    def _give_up_one_gap(self, ready_seconds: float) -> list[AudioBlock]:
        first = min(self._waiting)
        missing_packets = first - (first if self._next is None else self._next)
        self._next = first
        return self._play_in_order(ready_seconds, missing_packets)
