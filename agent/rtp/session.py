"""One SSRC's life: packets and the time in, audio in order out. Pure: no socket, no clock of its own.

A packet that continues the stream is decoded at once. Behind a gap packets wait, at most `reorder_wait_seconds` from
the arrival of the first that waits; then what is missing is concealed and comes too late if it comes at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from livemos.agent.records import AudioBlock, EventKind, MediaStatistics
from livemos.agent.rtp import network_mos
from livemos.agent.rtp.clock_drift import ClockDrift
from livemos.agent.rtp.ingest import PacketRun, Steady
from livemos.agent.rtp.jitter import InterarrivalJitter
from livemos.agent.rtp.media_rate import MediaRate
from livemos.agent.rtp.packet import Packet
from livemos.agent.rtp.payload_map import PayloadMap, Role
from livemos.agent.rtp.redundancy import RedundancyError, parse_blocks
from livemos.agent.rtp.sequence import Placed, SequenceTracker
from livemos.agent.rtp.timeline import MediaTimeline, SessionEvent
from livemos.agent.rtp.wraparound import difference16, difference32

_NEW_CLOCK = (EventKind.TIMESTAMP_JUMP, EventKind.TIMESTAMP_BACKWARD, EventKind.CLOCK_RATE_MISMATCH)
MAX_WAITING_PACKETS = 512  # behind one gap; more means a flood, and the gap is given up at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Counters since the call before: deltas, and their ratio to what was expected in that time (None: nothing was)."""

    expected_packets: int
    received_packets: int
    lost_packets: int
    lost_ratio: float | None


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
        self._rfc_jitter = InterarrivalJitter()  # over everything, to compare with RTCP
        self._clock_rate_hz = 0  # of the newest audio
        self._last_audio: Packet | None = None  # newest in arrival, for the jitter
        self._spurt_begins = False  # an event or comfort noise lies before the next audio packet
        self._rate = MediaRate()
        self._drift = ClockDrift()
        self._drift_last: tuple[int, int] | None = None  # (extended number, timestamp) of the newest packet measured
        self._drift_ticks = 0  # since the first
        self._invalid_redundancy = self._recovered_red = 0
        self._bursts = 0  # gaps that were given up
        self._interval = (0, 0)  # expected and unique packets at the last call of `interval`
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
        blocks = self._give_up_due(arrival_monotonic_seconds)
        for arrived in self._sequence.place(packet, arrival_monotonic_seconds):
            if self._next is None:
                self._next = self._sequence.base
            placed = self._unpack(arrived)
            if placed.restarted:
                self._jitter.reset_anchor()
                self._rfc_jitter.reset_anchor()
                self._forget_drift()
                self._rate.interrupted()
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
        self._watch_rate(blocks)
        return blocks

    def steady(self) -> Steady | None:
        """The next packet, if it only has to continue the stream; None while anything is out of the ordinary."""
        sequence, last = self._sequence, self._last_audio
        expected = self._timeline.steady()
        if (
            expected is None
            or last is None
            or not sequence.undisturbed
            or self._waiting
            or self._next != sequence.highest + 1
            or self._spurt_begins
            or last.payload_type != expected.payload_type
            or last.sequence_number != sequence.highest_number
            or last.timestamp + expected.ticks & 0xFFFF_FFFF != expected.timestamp
            or self._drift_last != (sequence.highest, last.timestamp)
            or self._map.role_of(expected.payload_type) is not Role.AUDIO
        ):
            return None
        return replace(expected, sequence_number=sequence.highest_number + 1 & 0xFFFF)

    def push_run(self, run: PacketRun) -> list[AudioBlock]:
        """As `push` for each packet of a run, while `steady`: one block, and not a bit of difference besides."""
        last, arrivals, count = self._last_audio, run.arrivals, len(run.arrivals)
        assert last is not None and self._next is not None
        rate_hz, ticks = self._clock_rate_hz, self._timeline.packet_ticks
        first = last.timestamp + ticks & 0xFFFF_FFFF
        self._sequence.advance(count)
        self._next += count
        self._rfc_jitter.heard_run(first, ticks, arrivals, rate_hz)
        self._jitter.heard_run(first, ticks, arrivals, rate_hz)
        self._drift.heard_run([(self._drift_ticks + ticks * n) / rate_hz for n in range(1, count + 1)], arrivals)
        self._drift_ticks += ticks * count
        self._last_audio = replace(
            last,
            sequence_number=self._sequence.highest_number,
            timestamp=last.timestamp + ticks * count & 0xFFFF_FFFF,
            marker=False,
        )
        self._drift_last = self._sequence.highest, self._last_audio.timestamp
        block = self._timeline.play_run(run)
        media_seconds = len(block.samples) // count / block.sample_rate_hz
        if not self._rate.heard_inside(media_seconds, arrivals):
            for arrival in arrivals:
                self._note_rate(self._rate.heard(0.0, media_seconds, arrival))
        return [block]

    def _unpack(self, placed: Placed) -> Placed:
        """The primary payload of a RED packet; what it repeats of packets that never came waits in their place."""
        packet = placed.packet
        if self._map.role_of(packet.payload_type) is not Role.REDUNDANT:
            return placed
        try:
            blocks = parse_blocks(packet.payload)
        except RedundancyError:
            self._invalid_redundancy += 1
            return placed
        *earlier, primary = blocks
        for back, block in enumerate(reversed(earlier), start=1):
            number = self._sequence.missing(packet.sequence_number - back, placed.extended)
            if number is None or not block.payload or self._next is None or number < self._next:
                continue
            if number in self._waiting:
                continue
            again = replace(
                packet,
                payload_type=block.payload_type,
                sequence_number=number & 0xFFFF,
                timestamp=(packet.timestamp - block.offset) & 0xFFFF_FFFF,
                marker=False,
                payload=block.payload,
            )
            self._waiting[number] = replace(placed, extended=number, packet=again, restarted=False)
            self._recovered_red += 1
        return replace(placed, packet=replace(packet, payload_type=primary.payload_type, payload=primary.payload))

    def _watch_rate(self, blocks: list[AudioBlock]) -> None:
        """Media against the wall clock. Announced pauses are no media and no fault."""
        if not blocks or self.quiet:
            if self.quiet:
                self._rate.interrupted()
            return
        *filled, newest = (len(block.samples) / block.sample_rate_hz for block in blocks)
        self._note_rate(self._rate.heard(sum(filled), newest, blocks[-1].ready_monotonic_seconds))

    def _note_rate(self, kind: EventKind | None) -> None:
        if kind is not None:
            self._events.append(SessionEvent(kind, f"{self._rate.ratio:.2f} s of media a second"))

    def stalled(self) -> None:
        """Nothing arrives any more: neither rate nor jitter is measured over the silence."""
        self._rate.interrupted()
        self._jitter.reset_anchor()

    def interval(self) -> Interval:
        """What came since the last call; never counts of the whole call (RFC 3550 A.3)."""
        sequence = self._sequence
        before_expected, before_unique = self._interval
        self._interval = sequence.expected_packets, sequence.unique_packets
        expected = sequence.expected_packets - before_expected
        received = sequence.unique_packets - before_unique
        lost = max(0, expected - received)
        return Interval(
            expected_packets=expected,
            received_packets=received,
            lost_packets=lost,
            lost_ratio=lost / expected if expected > 0 else None,
        )

    def tick(self, now_monotonic_seconds: float) -> list[AudioBlock]:
        """Blocks whose wait for a missing packet has ended."""
        blocks = self._give_up_due(now_monotonic_seconds)
        self._watch_rate(blocks)
        return blocks

    def _give_up_due(self, now_monotonic_seconds: float) -> list[AudioBlock]:
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
        recovered = self._recovered_red + self._timeline.recovered_packets
        return MediaStatistics(
            codec=self._timeline.codec,
            received_packets=sequence.unique_packets,
            expected_packets=sequence.expected_packets,
            lost_packets=sequence.lost_packets,
            late_packets=self._late_packets,
            duplicate_packets=sequence.duplicate_packets,
            reordered_packets=sequence.reordered_packets,
            jitter_seconds=self._jitter.seconds if self._clock_rate_hz else None,
            playout_delay_seconds=0.0,  # played on arrival; other listeners come with their profiles
            network_mos=self._network_mos(recovered),
            discarded_packets=self._late_packets + self.invalid_payloads,
            recovered_packets=recovered,
            stray_packets=sequence.stray_packets,
            rfc_jitter_seconds=self._rfc_jitter.seconds if self._clock_rate_hz else None,
            clock_drift_ppm=self._drift.ppm,
        )

    def _network_mos(self, recovered: int) -> float | None:
        """Unset without a known codec, and while the media's rate is wrong: loss then says nothing about it."""
        codec, expected = self._timeline.codec, self._sequence.expected_packets
        if codec is None or not expected or self._rate.state is not None or self.undescribed_payload_type is not None:
            return None
        missed = max(0, self._sequence.lost_packets - recovered) + self._late_packets + self.invalid_payloads
        ratio = min(1.0, missed / expected)
        bursts = network_mos.burst_ratio(missed, self._bursts, ratio)
        return network_mos.network_mos(codec, loss_ratio=ratio, burst_ratio=bursts)

    @property
    def media_rate_ratio(self) -> float | None:
        """Seconds of media in the last whole second of the clock."""
        return self._rate.ratio

    @property
    def clock_rate_hz(self) -> int:
        """Of the newest audio's timestamps, as observed; 0 before any."""
        return self._clock_rate_hz

    @property
    def cumulative_lost(self) -> int:
        """As RTCP reports it: duplicates make up for lost packets."""
        return self._sequence.cumulative_lost

    @property
    def cycles(self) -> int:
        """Wraps of the sequence number."""
        return self._sequence.cycles

    @property
    def probation_packets(self) -> int:
        """Packets held because this is no stream yet."""
        return self._sequence.probation_packets

    @property
    def first_number(self) -> int:
        """The sequence number the stream began with; meaningful once established."""
        return self._sequence.base_number

    @property
    def newest_number(self) -> int:
        """The newest sequence number; meaningful once established."""
        return self._sequence.highest_number

    @property
    def invalid_payloads(self) -> int:
        """Packets whose payload their codec refused; they are concealed."""
        return self._timeline.invalid_payloads + self._invalid_redundancy

    @property
    def invalid_redundancy(self) -> int:
        """RED packets whose block headers do not add up."""
        return self._invalid_redundancy

    @property
    def stray_packets(self) -> int:
        """Packets far outside the sequence that nothing followed; they are neither received nor lost."""
        return self._sequence.stray_packets

    def _measure_jitter(self, placed: Placed) -> None:
        """RFC 3550 A.8 over audio packets of one talk spurt; events and comfort noise keep another clock."""
        packet = placed.packet
        encoding = self._map.encoding_of(packet.payload_type)
        audio = encoding is not None and self._map.role_of(packet.payload_type) is Role.AUDIO
        if audio and encoding is not None:
            self._clock_rate_hz = self._timeline.observed_clock_rate_hz or encoding.clock_rate_hz
        if self._clock_rate_hz:
            self._rfc_jitter.heard(packet.timestamp, placed.arrival_seconds, self._clock_rate_hz)
        if not audio:
            self._spurt_begins = True
            return
        last, self._last_audio = self._last_audio, packet
        begins, self._spurt_begins = self._spurt_begins or packet.marker, False
        if last is None or begins or last.payload_type != packet.payload_type or self._paused(packet, last):
            self._jitter.reset_anchor()
        self._jitter.heard(packet.timestamp, placed.arrival_seconds, self._clock_rate_hz)
        self._measure_drift(placed)

    def _measure_drift(self, placed: Placed) -> None:
        """Sum up the timestamps of packets that move the stream forward; a jump begins the measurement anew."""
        if self._drift_last is not None:
            number, timestamp = self._drift_last
            if placed.extended <= number:
                return
            ticks = difference32(placed.packet.timestamp, timestamp)
            if not 0 <= ticks <= 120 * self._clock_rate_hz:
                self._forget_drift()
            else:
                self._drift_ticks += ticks
        self._drift_last = placed.extended, placed.packet.timestamp
        self._drift.heard(self._drift_ticks / self._clock_rate_hz, placed.arrival_seconds)

    def _forget_drift(self) -> None:
        self._drift.reset()
        self._drift_last, self._drift_ticks = None, 0

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
            changes = len(self._timeline.events)
            blocks += self._timeline.play(
                placed.packet,
                placed.arrival_seconds,
                ready_seconds=ready_seconds,
                missing_packets=missing_packets,
                restarted=placed.restarted,
            )
            if any(event.kind in _NEW_CLOCK for event in self._timeline.events[changes:]):
                self._forget_drift()
                self._jitter.reset_anchor()
            missing_packets = 0
        return blocks

    def _give_up_one_gap(self, ready_seconds: float) -> list[AudioBlock]:
        first = min(self._waiting)
        missing_packets = first - (first if self._next is None else self._next)
        if missing_packets > 0:
            self._bursts += 1
        self._next = first
        return self._play_in_order(ready_seconds, missing_packets)
