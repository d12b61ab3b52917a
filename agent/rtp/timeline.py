"""Packets in order to audio on the media clock: what lies between two packets is lost, a pause or a jump.

The RTP timestamp is the clock. Sequence numbers say how much is missing, arrival only decides whether a step of the
timestamp was real time passing (RFC 3550 section 5.1; RFC 7587 section 4.2 for Opus).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from livemos.agent.codecs import make_decoder
from livemos.agent.codecs.base import Decoder, RunDecoder
from livemos.agent.errors import CodecError
from livemos.agent.records import SAMPLE_RATE_HZ, AudioBlock, EventKind, Mark, Samples
from livemos.agent.rtp.byte_order import ByteOrderWatch
from livemos.agent.rtp.ingest import PacketRun, Steady
from livemos.agent.rtp.packet import Packet
from livemos.agent.rtp.payload_map import PayloadMap, Role
from livemos.agent.rtp.wraparound import difference32

LONGEST_FILL_SECONDS = 2.0  # of concealment and silence together, for one gap
LONGEST_REST_SECONDS = 30.0  # of silence that the sender announced by comfort noise
LONGEST_PACKET_SECONDS = 0.25  # no codec here packs more; a longer payload is damage or an attack
PAUSE_TOLERANCE_SECONDS, PAUSE_TOLERANCE_RATIO = 0.2, 0.2
SLIPS_BEFORE_EVENT = 50  # packets whose timestamps agree on another clock, before it is believed
_COMFORT_SEED = 3389


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """Something that happened to a stream's media; the source publishes it."""

    kind: EventKind
    detail: str


@dataclass(frozen=True, slots=True)
class _Anchor:
    """The last packet that had a place on the media clock."""

    timestamp: int
    arrival_seconds: float
    ticks: int  # its duration

    @property
    def end(self) -> int:
        return self.timestamp + self.ticks & 0xFFFF_FFFF


class MediaTimeline:
    """One stream's decoder and media clock."""

    def __init__(self, payload_map: PayloadMap, *, concealment: str) -> None:
        self._map = payload_map
        self._concealment = concealment
        self._decoder: Decoder | None = None
        self._run_decoder: RunDecoder | None = None  # the same, where it takes runs
        self._payload_type: int | None = None
        self._anchor: _Anchor | None = None
        self.packet_ticks = 0  # duration of the last audio packet on its clock
        self._missing_packets = 0  # since the last audio packet
        self._slips = 0
        self._slip_step = 0  # ticks from packet to packet, of the slips counted
        self._reported: set[int] = set()  # unknown payload types
        self.events: list[SessionEvent] = []
        self.codec: str | None = None
        self.undescribed_payload_type: int | None = None  # of the newest packet, when nothing here decodes it
        self.quiet = False  # the sender announced a pause: comfort noise, or an Opus packet without a frame
        self.invalid_payloads = 0
        self.recovered_packets = 0  # lost, but decoded from the in-band FEC of the next
        self.observed_clock_rate_hz: int | None = None  # of timestamps that run at another rate than the codec's clock
        self._comfort_level_dbov: float | None = None
        self._comfort = np.random.default_rng(_COMFORT_SEED)  # the same noise on every run
        self._event_timestamp: int | None = None  # of the key press that is going on
        self._marks: set[Mark] = set()  # of the audio that is played next
        self._byte_order: ByteOrderWatch | None = None  # while the codec is L16
        self._ptime_ticks = 0
        self._new_ptime: tuple[int, int] = 0, 0  # ticks, packets of that length in a row

    @property
    def packet_seconds(self) -> float:
        """Duration of the last audio packet; 0 before the first."""
        return self.packet_ticks / self._decoder.clock_rate_hz if self._decoder else 0.0

    def duration_seconds(self, packet: Packet) -> float:
        """Of an audio packet; the last one's where its codec has not spoken yet or refuses it."""
        if self._decoder is None or packet.payload_type != self._payload_type:
            return self.packet_seconds
        try:
            return self._decoder.packet_samples(packet.payload) / self._decoder.sample_rate_hz
        except CodecError:
            return self.packet_seconds

    def insert(self, seconds: float, ready_seconds: float, *, silent: bool) -> list[AudioBlock]:
        """What a listener hears while its buffer grows: concealment, or silence between two talk spurts."""
        decoder = self._decoder
        samples = round(seconds * decoder.sample_rate_hz) if decoder is not None else 0
        if decoder is None or samples <= 0:
            return []
        if silent:
            return [self._block(decoder, self._silence(samples), ready_seconds)]
        return [self._block(decoder, decoder.conceal(samples), ready_seconds, concealed=True)]

    def mark_next(self, mark: Mark) -> None:
        """What is heard next, with what fills the gap before it, bears `mark`."""
        self._marks.add(mark)

    def play(
        self, packet: Packet, arrival_seconds: float, *, ready_seconds: float, missing_packets: int, restarted: bool
    ) -> list[AudioBlock]:
        """Audio of `packet`, with what fills the gap before it in front.

        missing_packets: how many were given up between it and the packet played before.
        """
        blocks = self._play(packet, arrival_seconds, ready_seconds, missing_packets, restarted=restarted)
        if self._marks and blocks:
            marks = tuple(sorted(self._marks, key=lambda mark: mark.value))
            self._marks.clear()
            return [replace(block, marks=marks) for block in blocks]
        return blocks

    def _play(
        self, packet: Packet, arrival_seconds: float, ready_seconds: float, missing_packets: int, *, restarted: bool
    ) -> list[AudioBlock]:
        self._missing_packets += missing_packets
        if restarted:
            self._anchor, self._missing_packets = None, 0
            self._event_timestamp = None
        role = self._map.role_of(packet.payload_type)
        if role is Role.UNKNOWN:
            self._note_unknown(packet.payload_type)
            return []
        self.undescribed_payload_type = None
        if role is Role.REDUNDANT:  # its blocks could not be read (the session counted it): its audio is missing
            self._missing_packets += 1
            return []
        if role is Role.TELEPHONE_EVENT:
            self._note_key_press(packet)
            return []
        if role is Role.COMFORT_NOISE:
            blocks = self._rest(packet, arrival_seconds, ready_seconds)
            self.quiet, self._comfort_level_dbov = True, -float(packet.payload[0] & 0x7F)
            return blocks
        return self._play_audio(packet, arrival_seconds, ready_seconds)

    def _play_audio(self, packet: Packet, arrival_seconds: float, ready_seconds: float) -> list[AudioBlock]:
        try:
            decoder = self._decoder_for(packet.payload_type)
        except CodecError as error:  # a static payload type whose library this machine lacks
            self._note_unknown(packet.payload_type, str(error))
            return []
        try:
            samples = decoder.packet_samples(packet.payload)
            if samples > LONGEST_PACKET_SECONDS * decoder.sample_rate_hz:
                raise CodecError(f"a packet of {samples / decoder.sample_rate_hz:g} s cannot be")
        except CodecError:
            self._refuse()
            return []
        blocks = self._bridge(decoder, packet, arrival_seconds, ready_seconds)
        try:
            audio = decoder.decode(packet.payload)
        except CodecError:
            self._refuse()
            if self._anchor is not None:  # what lies before it has been made up: only its own time is missing
                self._anchor = _Anchor(packet.timestamp, arrival_seconds, 0)
            return blocks
        self.packet_ticks = samples * decoder.clock_rate_hz // decoder.sample_rate_hz
        self._anchor = _Anchor(packet.timestamp, arrival_seconds, self.packet_ticks)
        self.quiet, self._comfort_level_dbov = decoder.is_pause(packet.payload), None
        if self._byte_order is not None and self._byte_order.heard(packet.payload):
            detail = (
                f"{self.codec} is noise as it is read and smooth with its octets swapped: is the sender little-endian?"
            )
            self.events.append(SessionEvent(EventKind.BYTE_ORDER_SUSPECTED, detail))
        if not self.quiet:
            self._watch_ptime(decoder)
        return [*blocks, self._block(decoder, audio, ready_seconds)]

    def _refuse(self) -> None:
        """It came, but nobody hears it: the next packet finds its time missing."""
        self.invalid_payloads += 1
        self._missing_packets += 1

    def steady(self) -> Steady | None:
        """The next packet while nothing is out of the ordinary; without its sequence number, which is not known here.

        None as well for codecs whose packets are not all of one length.
        """
        decoder, anchor, ticks = self._run_decoder, self._anchor, self.packet_ticks
        if (
            decoder is None
            or anchor is None
            or not ticks
            or anchor.ticks != ticks
            or self._ptime_ticks != ticks
            or self._missing_packets
            or self._marks
            or self.quiet
            or self._comfort_level_dbov is not None
            or self.undescribed_payload_type is not None
            or self.observed_clock_rate_hz is not None
        ):
            return None
        assert self._payload_type is not None
        return Steady(
            payload_type=self._payload_type,
            sequence_number=0,
            timestamp=anchor.end,
            payload_bytes=decoder.run_bytes(ticks),
            ticks=ticks,
            samples_16k=ticks * SAMPLE_RATE_HZ / decoder.clock_rate_hz,
        )

    def play_run(self, run: PacketRun) -> AudioBlock:
        """As `play` for each packet of a run, while `steady`."""
        decoder, anchor, count = self._run_decoder, self._anchor, len(run.arrivals)
        assert decoder is not None and anchor is not None
        audio = decoder.decode_run(run.payloads)
        timestamp = anchor.end + (count - 1) * self.packet_ticks & 0xFFFF_FFFF
        self._anchor = _Anchor(timestamp, run.arrivals[-1], self.packet_ticks)
        self._slips, self._new_ptime = 0, (0, 0)
        return AudioBlock(
            samples=audio,
            sample_rate_hz=decoder.sample_rate_hz,
            ready_monotonic_seconds=run.arrivals[-1],
            part_ready_seconds=run.arrivals,
        )

    def _note_key_press(self, packet: Packet) -> None:
        """One event for all packets of a press: they share its timestamp (RFC 4733 section 2.2.1)."""
        self._marks.add(Mark.TELEPHONE_EVENT)
        if packet.timestamp != self._event_timestamp:
            self._event_timestamp = packet.timestamp
            # which key it was is the caller's secret: card numbers and codes are dialled this way
            self.events.append(SessionEvent(EventKind.TELEPHONE_EVENT, "a key or tone was signalled"))

    def _watch_ptime(self, decoder: Decoder) -> None:
        """Two packets of a new length make a change; one alone is the end of a talk spurt."""
        ticks, seen = self._new_ptime
        if self.packet_ticks == self._ptime_ticks:
            self._new_ptime = 0, 0
            return
        self._new_ptime = self.packet_ticks, seen + 1 if self.packet_ticks == ticks else 1
        if self._ptime_ticks and self._new_ptime[1] < 2:
            return
        if self._ptime_ticks:
            before, after = (1_000 * each / decoder.clock_rate_hz for each in (self._ptime_ticks, self.packet_ticks))
            self.events.append(SessionEvent(EventKind.PTIME_CHANGED, f"packets of {before:g} ms became {after:g} ms"))
        self._ptime_ticks = self.packet_ticks

    def _note_unknown(self, payload_type: int, problem: str | None = None) -> None:
        self.undescribed_payload_type = payload_type
        self._anchor = None
        if payload_type not in self._reported:
            self._reported.add(payload_type)
            encoding = self._map.encoding_of(payload_type)
            what = problem or (f"{encoding} has no codec here" if encoding else "nothing says what it carries")
            advice = f'map it to one, e.g. {payload_type} = "opus/48000/2", or give the SDP'
            self.events.append(
                SessionEvent(EventKind.UNKNOWN_PAYLOAD_TYPE, f"payload type {payload_type}: {what}; {advice}")
            )

    def _decoder_for(self, payload_type: int) -> Decoder:
        if self._decoder is not None and payload_type == self._payload_type:
            return self._decoder
        encoding = self._map.encoding_of(payload_type)
        assert encoding is not None, "only payload types with the role AUDIO come here"
        decoder = make_decoder(encoding, concealment=self._concealment)
        if self._decoder is not None:
            self.events.append(SessionEvent(EventKind.CODEC_CHANGED, f"{self.codec} to {encoding}"))
            if decoder.clock_rate_hz != self._decoder.clock_rate_hz:
                self._anchor, self._ptime_ticks = None, 0
            self._slips, self.observed_clock_rate_hz = 0, None
        self._decoder, self._payload_type, self.codec = decoder, payload_type, str(encoding)
        linear = encoding.key == "l16"
        self._byte_order = ByteOrderWatch(encoding.clock_rate_hz, encoding.channels) if linear else None
        self._run_decoder = decoder if isinstance(decoder, RunDecoder) else None
        return decoder

    def _rest(self, packet: Packet, arrival_seconds: float, ready_seconds: float) -> list[AudioBlock]:
        """Comfort noise: silence up to it; it has no duration of its own."""
        if self._decoder is None:
            return []
        blocks = self._bridge(self._decoder, packet, arrival_seconds, ready_seconds)
        self._anchor = _Anchor(packet.timestamp, arrival_seconds, 0)
        return blocks

    def _bridge(
        self, decoder: Decoder, packet: Packet, arrival_seconds: float, ready_seconds: float
    ) -> list[AudioBlock]:
        """What fills the time between the last packet and this one: concealed audio for lost packets, then silence."""
        missing, self._missing_packets = self._missing_packets, 0
        anchor = self._anchor
        if anchor is None:
            return []
        step = difference32(packet.timestamp, anchor.end)
        lost_ticks = missing * self.packet_ticks
        if missing == 0 and step == 0:
            self._slips, self.observed_clock_rate_hz = 0, None
            return []
        rest_ticks = step - lost_ticks
        if missing and step >= 0 and rest_ticks <= 0:
            # fewer ticks than packets are missing when their packets were shorter, or were no audio
            lost_ticks, rest_ticks = (step, 0) if self._slips == 0 else (lost_ticks, 0)
        elif rest_ticks < 0 or not self._passed(rest_ticks, anchor, packet, arrival_seconds, decoder.clock_rate_hz):
            self._note_step(rest_ticks, packet, anchor, decoder.clock_rate_hz)
            rest_ticks = 0
        announced = self._comfort_level_dbov is not None and not missing
        longest_ticks = round((LONGEST_REST_SECONDS if announced else LONGEST_FILL_SECONDS) * decoder.clock_rate_hz)
        lost_ticks = min(lost_ticks, longest_ticks)
        rest_ticks = min(rest_ticks, longest_ticks - lost_ticks)
        blocks = []
        if lost_samples := _samples(lost_ticks, decoder):
            blocks += self._conceal(decoder, lost_samples, packet, ready_seconds)
        if rest_samples := _samples(rest_ticks, decoder):
            blocks.append(self._block(decoder, self._silence(rest_samples), ready_seconds))
        return blocks

    def _conceal(self, decoder: Decoder, samples: int, packet: Packet, ready_seconds: float) -> list[AudioBlock]:
        """What replaces lost audio: made up first, then what the packet behind the gap carries of it again."""
        audible = self._map.role_of(packet.payload_type) is Role.AUDIO
        recovered = min(samples, decoder.recoverable_samples(packet.payload)) if audible else 0
        try:
            made = decoder.conceal(samples, packet.payload if recovered else None)
        except CodecError:  # the packet behind the gap is damaged, and what it repeats with it
            made, recovered = decoder.conceal(samples), 0
        blocks = []
        if samples > recovered:
            blocks.append(self._block(decoder, made[: samples - recovered], ready_seconds, concealed=True))
        if recovered:
            if recovered >= min(samples, _samples(self.packet_ticks, decoder)):  # else the last of several frames
                self.recovered_packets += 1
            blocks.append(self._block(decoder, made[samples - recovered :], ready_seconds))
        return blocks

    def _silence(self, samples: int) -> Samples:
        """Digital silence, or white noise at the level the sender asked for (RFC 3389 section 3: -dBov)."""
        if self._comfort_level_dbov is None:
            return np.zeros(samples, np.float32)
        noise = self._comfort.standard_normal(samples).astype(np.float32)
        return noise * np.float32(10 ** (self._comfort_level_dbov / 20))

    def _passed(
        self, rest_ticks: int, anchor: _Anchor, packet: Packet, arrival_seconds: float, clock_rate_hz: int
    ) -> bool:
        """True when the arrivals say that the step of the timestamp was time passing: a pause of the sender."""
        media_seconds = difference32(packet.timestamp, anchor.timestamp) / clock_rate_hz
        arrival_gap_seconds = arrival_seconds - anchor.arrival_seconds
        off_seconds = abs(arrival_gap_seconds - media_seconds)
        if rest_ticks / clock_rate_hz < PAUSE_TOLERANCE_SECONDS:
            # inside the tolerance both stories fit; the nearer one is believed. A sender whose timestamps run at twice
            # the clock would otherwise have silence put behind each packet
            unpaused_seconds = media_seconds - rest_ticks / clock_rate_hz
            return off_seconds <= abs(arrival_gap_seconds - unpaused_seconds)
        return off_seconds <= max(PAUSE_TOLERANCE_SECONDS, PAUSE_TOLERANCE_RATIO * media_seconds)

    def _note_step(self, rest_ticks: int, packet: Packet, anchor: _Anchor, clock_rate_hz: int) -> None:
        """A step that no time explains: an event when it is large, or when small ones come packet after packet."""
        seconds = rest_ticks / clock_rate_hz
        if abs(seconds) >= PAUSE_TOLERANCE_SECONDS:
            if seconds > 0:
                detail = f"the timestamp went forward by {seconds:.3f} s without time passing"
                self.events.append(SessionEvent(EventKind.TIMESTAMP_JUMP, detail))
            else:
                detail = f"the timestamp went back by {-seconds:.3f} s"
                self.events.append(SessionEvent(EventKind.TIMESTAMP_BACKWARD, detail))
            return
        ticks = difference32(packet.timestamp, anchor.timestamp)
        self._slips = self._slips + 1 if ticks == self._slip_step else 1
        self._slip_step = ticks
        if self._slips == SLIPS_BEFORE_EVENT and ticks > 0:
            self.observed_clock_rate_hz = round(clock_rate_hz * ticks / self.packet_ticks)
            detail = (
                f"timestamps run at {self.observed_clock_rate_hz} Hz, those of {self.codec} at {clock_rate_hz} Hz; "
                "time is taken from the samples"
            )
            self.events.append(SessionEvent(EventKind.CLOCK_RATE_MISMATCH, detail))

    @staticmethod
    def _block(decoder: Decoder, samples: Samples, ready_seconds: float, *, concealed: bool = False) -> AudioBlock:
        return AudioBlock(
            samples=samples,
            sample_rate_hz=decoder.sample_rate_hz,
            concealed=concealed,
            ready_monotonic_seconds=ready_seconds,
        )


def _samples(ticks: int, decoder: Decoder) -> int:
    return round(ticks * decoder.sample_rate_hz / decoder.clock_rate_hz)
