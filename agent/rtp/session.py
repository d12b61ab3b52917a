"""One SSRC's life: packets and the time in, audio in order out. Pure: no socket, no clock of its own.

What the packets say is counted once; what is heard of them is up to each listener (agent/rtp/listener.py).
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from livemos.agent.records import AudioBlock, EventKind, Mark, MediaStatistics
from livemos.agent.rtp.clock_drift import ClockDrift
from livemos.agent.rtp.ingest import PacketRun, Steady
from livemos.agent.rtp.jitter import InterarrivalJitter
from livemos.agent.rtp.listener import Listener
from livemos.agent.rtp.network_quality import Counts
from livemos.agent.rtp.packet import Packet
from livemos.agent.rtp.payload_map import PayloadMap, Role
from livemos.agent.rtp.playout import IDEAL
from livemos.agent.rtp.redundancy import RedundancyError, parse_blocks, repeated_packets
from livemos.agent.rtp.rtcp import RemoteReport, RemoteVoipMetrics
from livemos.agent.rtp.sequence import Placed, SequenceTracker
from livemos.agent.rtp.timeline import SessionEvent
from livemos.agent.rtp.wraparound import difference16, difference32

LONGEST_REMOTE_JITTER_SECONDS = 10.0  # more is a broken receiver's figure, and is left out


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
    sender changes its codec. `ready_monotonic_seconds` is the packet's arrival or the moment a gap was given up, for
    listeners with a buffer the playout. profiles: names in playout.PROFILES; what `push` and `tick` give, and what is
    asked for without an index, belongs to the first, `take_blocks` has that of the others. Raises ValueError.
    """

    def __init__(
        self,
        *,
        payload_map: PayloadMap,
        reorder_wait_seconds: float = 0.06,
        concealment: str = "pitch",
        profiles: Sequence[str] = (IDEAL,),
    ) -> None:
        self._map = payload_map
        self._listeners = [
            Listener(payload_map, profile=name, reorder_wait_seconds=reorder_wait_seconds, concealment=concealment)
            for name in profiles
        ]
        self._first = self._listeners[0]
        self._others = self._listeners[1:]
        self._waiting_blocks: list[list[AudioBlock]] = [[] for _ in self._others]
        self._runs = all(listener.playout is None for listener in self._listeners) and not self._others
        self._sequence = SequenceTracker()
        self._jitter = InterarrivalJitter()
        self._rfc_jitter = InterarrivalJitter()  # over everything, to compare with RTCP
        self._clock_rate_hz = 0  # of the newest audio
        self._last_audio: Packet | None = None  # newest in arrival, for the jitter
        self._spurt_begins = False  # an event or comfort noise lies before the next audio packet
        self._drift = ClockDrift()
        self._drift_last: tuple[int, int] | None = None  # (extended number, timestamp) of the newest packet measured
        self._drift_ticks = 0  # since the first
        self._invalid_redundancy = 0
        self._remote_lost_ratio: float | None = None
        self._remote_jitter_seconds: float | None = None
        self._remote_mos: float | None = None
        self._newest_seconds = 0.0  # when the newest packet came
        self._interval = (0, 0)  # expected and unique packets at the last call of `interval`

    @property
    def profiles(self) -> tuple[str, ...]:
        """Of the listeners, the first one first."""
        return tuple(listener.profile for listener in self._listeners)

    @property
    def established(self) -> bool:
        """Two packets in sequence have come; before that there is no stream to report."""
        return self._sequence.established

    @property
    def undescribed_payload_type(self) -> int | None:
        """The newest packet's payload type when nothing here decodes it."""
        return self._first.timeline.undescribed_payload_type

    @property
    def quiet(self) -> bool:
        """The sender announced a pause (comfort noise, Opus DTX): no packets are no fault."""
        return self._first.timeline.quiet

    @property
    def packet_seconds(self) -> float:
        """Duration of the last audio packet; 0 before the first."""
        return self._first.timeline.packet_seconds

    def push(self, packet: Packet, arrival_monotonic_seconds: float) -> list[AudioBlock]:
        """Blocks that this packet completes; arrivals never go back."""
        blocks = self._advance(Listener.tick, arrival_monotonic_seconds)
        for arrived in self._sequence.place(packet, arrival_monotonic_seconds):
            for listener in self._listeners:
                listener.begin(self._sequence.base)
            placed = self._unpack(arrived)
            if placed.restarted:
                self._jitter.reset_anchor()
                self._rfc_jitter.reset_anchor()
                self._forget_drift()
                detail = f"the sender went on with sequence number {placed.packet.sequence_number}"
                for listener in self._listeners:
                    listener.events.append(SessionEvent(EventKind.SEQUENCE_RESTART, detail))
            self._measure_jitter(placed)
            for listener in self._listeners:
                listener.offer(placed)
        blocks += self._advance(Listener.play, arrival_monotonic_seconds)
        self._newest_seconds = arrival_monotonic_seconds
        if arrival_monotonic_seconds >= self._first.quality.next_note_seconds:
            for listener in self._listeners:
                listener.quality.note(arrival_monotonic_seconds, self._counts(listener))
        return blocks

    def tick(self, now_monotonic_seconds: float) -> list[AudioBlock]:
        """Blocks whose wait for a missing packet, or for their playout, has ended."""
        return self._advance(Listener.tick, now_monotonic_seconds)

    def take_blocks(self, index: int) -> list[AudioBlock]:
        """What the listener `index` of `profiles`, not the first, has heard since the last call."""
        blocks, self._waiting_blocks[index - 1] = self._waiting_blocks[index - 1], []
        return blocks

    def _advance(self, step: Callable[[Listener, float], list[AudioBlock]], now_seconds: float) -> list[AudioBlock]:
        """One step of all listeners; the blocks of the first."""
        blocks = step(self._first, now_seconds)
        for kept, listener in zip(self._waiting_blocks, self._others, strict=True):
            kept.extend(step(listener, now_seconds))
        if self._first.new_clock:
            self._first.new_clock = False
            self._forget_drift()
            self._jitter.reset_anchor()
        return blocks

    def steady(self) -> Steady | None:
        """The next packet, if it only has to continue the stream; None while anything is out of the ordinary."""
        sequence, last = self._sequence, self._last_audio
        expected = self._first.steady() if self._runs else None
        if (
            expected is None
            or last is None
            or not sequence.undisturbed
            or self._first.next_number != sequence.highest + 1
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
        assert last is not None
        rate_hz, ticks = self._clock_rate_hz, self._first.timeline.packet_ticks
        first = last.timestamp + ticks & 0xFFFF_FFFF
        self._sequence.advance(count)
        alike = self._jitter.equals(self._rfc_jitter)  # as long as nothing was left out of the one
        self._rfc_jitter.heard_run(first, ticks, arrivals, rate_hz)
        if alike:
            self._jitter.become(self._rfc_jitter)
        else:
            self._jitter.heard_run(first, ticks, arrivals, rate_hz)
        media_ticks = range(self._drift_ticks + ticks, self._drift_ticks + ticks * count + 1, ticks)
        self._drift_ticks += ticks * count
        self._drift.heard_run([each / rate_hz for each in media_ticks], arrivals)
        self._last_audio = Packet(
            payload_type=last.payload_type,
            sequence_number=self._sequence.highest_number,
            timestamp=last.timestamp + ticks * count & 0xFFFF_FFFF,
            ssrc=last.ssrc,
            marker=False,
            payload=b"",  # only the header is compared
        )
        self._drift_last = self._sequence.highest, self._last_audio.timestamp
        block = self._first.play_run(run)
        self._newest_seconds = arrivals[-1]
        quality, noted = self._first.quality, 0
        while arrivals[-1] >= quality.next_note_seconds:
            noted = bisect.bisect_left(arrivals, quality.next_note_seconds, noted)
            counts = self._counts(self._first)
            quality.note(arrivals[noted], replace(counts, expected=counts.expected - (count - 1 - noted)))
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
        for back, again in repeated_packets(packet, blocks, self._packet_ticks(packet)):
            number = placed.extended - back
            if self._fits(number, again.timestamp):
                for listener in self._listeners:
                    listener.offer_recovered(replace(placed, extended=number, packet=again, restarted=False))
        primary = blocks[-1]
        return replace(placed, packet=replace(packet, payload_type=primary.payload_type, payload=primary.payload))

    def _packet_ticks(self, packet: Packet) -> int:
        """From one packet's timestamp to the next one's; 0 while nothing tells it."""
        timeline, last = self._first.timeline, self._last_audio
        if timeline.packet_ticks and timeline.observed_clock_rate_hz is None:
            return timeline.packet_ticks
        numbers = difference16(packet.sequence_number, last.sequence_number) if last is not None else 0
        return difference32(packet.timestamp, last.timestamp) // numbers if last is not None and numbers else 0

    def _fits(self, number: int, timestamp: int) -> bool:
        """Whether a packet never came whose timestamp lies on the same side of the newest audio as its number.

        Behind a pause the distance in ticks is none in packets.
        """
        if not self._sequence.missing(number):
            return False
        if self._drift_last is None:
            return True
        newest, newest_timestamp = self._drift_last
        return (number > newest) == (difference32(timestamp, newest_timestamp) > 0)

    def hear_remote(self, report: RemoteReport | RemoteVoipMetrics) -> None:
        """Keep what the far side says of this stream, to be shown beside our own figures and never mixed with them."""
        if isinstance(report, RemoteVoipMetrics):
            self._remote_mos = report.mos_lq
            return
        self._remote_lost_ratio = report.fraction_lost_ratio
        jitter_seconds = report.jitter_ticks / self._clock_rate_hz if self._clock_rate_hz else None
        absurd = jitter_seconds is None or jitter_seconds > LONGEST_REMOTE_JITTER_SECONDS
        self._remote_jitter_seconds = None if absurd else jitter_seconds

    def capture_lost(self) -> None:
        """This machine lost packets of the stream: what is missing now says nothing about the network."""
        for listener in self._listeners:
            listener.quality.void(self._newest_seconds)
            listener.timeline.mark_next(Mark.CAPTURE_LOSS)

    def stalled(self) -> None:
        """Nothing arrives any more: neither rate nor jitter is measured over the silence."""
        for listener in self._listeners:
            listener.rate.interrupted()
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

    @property
    def next_due_seconds(self) -> float | None:
        """When `tick` will have something to give; None while no packet waits."""
        if not self._others:
            return self._first.next_due_seconds
        due = [listener.next_due_seconds for listener in self._listeners]
        return min((each for each in due if each is not None), default=None)

    def take_events(self, index: int = 0) -> list[SessionEvent]:
        """What happened to a listener since the last call, oldest first."""
        return self._listeners[index].take_events()

    def statistics(self, index: int = 0) -> MediaStatistics:
        """Of one listener: what came is the same for all, what was heard in time is not."""
        sequence, listener = self._sequence, self._listeners[index]
        quality, counts, codec = listener.quality, self._counts(listener), self._judged_codec(listener)
        return MediaStatistics(
            codec=listener.timeline.codec,
            received_packets=sequence.unique_packets,
            expected_packets=sequence.expected_packets,
            lost_packets=sequence.lost_packets,
            late_packets=listener.late_packets,
            duplicate_packets=sequence.duplicate_packets,
            reordered_packets=sequence.reordered_packets,
            jitter_seconds=self._jitter.seconds if self._clock_rate_hz else None,
            playout_delay_seconds=listener.playout_delay_seconds,
            network_mos=quality.mos(codec, counts) if codec is not None else None,
            recent_network_mos=quality.recent_mos(codec, counts) if codec is not None else None,
            discarded_packets=listener.late_packets + listener.timeline.invalid_payloads + self._invalid_redundancy,
            recovered_packets=listener.recovered_packets,
            stray_packets=sequence.stray_packets,
            rfc_jitter_seconds=self._rfc_jitter.seconds if self._clock_rate_hz else None,
            clock_drift_ppm=self._drift.ppm,
            remote_lost_ratio=self._remote_lost_ratio,
            remote_jitter_seconds=self._remote_jitter_seconds,
            remote_mos=self._remote_mos,
        )

    def _counts(self, listener: Listener) -> Counts:
        invalid = listener.timeline.invalid_payloads + self._invalid_redundancy
        unheard = max(0, self._sequence.lost_packets + listener.late_packets - listener.recovered_packets)
        return Counts(self._sequence.expected_packets, unheard + invalid, listener.bursts)

    @staticmethod
    def _judged_codec(listener: Listener) -> str | None:
        """None without a known codec, and while the media's rate is wrong: loss then says nothing about it."""
        undescribed = listener.timeline.undescribed_payload_type is not None
        return None if undescribed or listener.rate.state is not None else listener.timeline.codec

    @property
    def media_rate_ratio(self) -> float | None:
        """Seconds of media in the last whole second of the clock."""
        return self._first.rate.ratio

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
    def lead_seconds(self) -> float:
        """How long the sender may be silent because it brought its newest packets in a burst, before their time."""
        return self._drift.lead_seconds

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
        return self._first.timeline.invalid_payloads + self._invalid_redundancy

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
            self._clock_rate_hz = self._first.timeline.observed_clock_rate_hz or encoding.clock_rate_hz
        if self._clock_rate_hz:
            self._rfc_jitter.heard(packet.timestamp, placed.arrival_seconds, self._clock_rate_hz)
        if not audio:
            self._spurt_begins = True
            return
        last, self._last_audio = self._last_audio, packet
        # some senders mark every packet (aiortc does): a marker behind a marker begins nothing
        marked = packet.marker and not (last is not None and last.marker)
        begins, self._spurt_begins = self._spurt_begins or marked, False
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
        ticks = self._first.timeline.packet_ticks
        if not ticks or difference16(packet.sequence_number, last.sequence_number) != 1:
            return False
        return difference32(packet.timestamp, last.timestamp) > ticks
