"""RTP in the hand: packets, a session that is listened to, a port on a manual clock, captures written to order."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from livemos.agent.clock import ManualClock
from livemos.agent.codecs import make_encoder
from livemos.agent.reasons import Reason
from livemos.agent.records import AudioBlock, EventKind, MediaStatistics, Samples, StreamDescription, StreamState
from livemos.agent.rtp.addresses import Transport, transport
from livemos.agent.rtp.packet import Packet, build
from livemos.agent.rtp.payload_map import PayloadMap
from livemos.agent.rtp.session import RtpSession
from livemos.agent.sources.pcap import CaptureReplay
from livemos.agent.sources.rtp_receiver import RtpReceiver

_SWEEP_SECONDS = 0.05


def pcmu(
    sequence_number: int,
    timestamp: int | None = None,
    *,
    payload_type: int = 0,
    payload: bytes = b"\x20\xa0" * 80,
    ssrc: int = 0x1234,
    marker: bool = False,
) -> Packet:
    """20 ms of PCMU that is not silence, at 160 ticks a packet unless said otherwise."""
    return Packet(
        payload_type=payload_type,
        sequence_number=sequence_number % 2**16,
        timestamp=(160 * sequence_number if timestamp is None else timestamp) % 2**32,
        ssrc=ssrc,
        marker=marker,
        payload=payload,
    )


def opus_packets(
    count: int, *, milliseconds: float = 20, advance: int | None = None, fec: bool = False
) -> list[Packet]:
    """Real Opus of a harmonic voice, payload type 111; `advance` ticks from packet to packet."""
    application = "voip" if milliseconds >= 10 else "lowdelay"
    encoder = make_encoder(
        "opus/48000/2", fec=fec, expected_loss_ratio=0.3 if fec else 0.0, bitrate_bps=24_000, application=application
    )
    size = round(16 * milliseconds)
    t = np.arange(count * size) / 16_000
    envelope = 0.2 + 0.1 * np.sin(2 * np.pi * 3 * t)
    voice = (envelope * np.sign(np.sin(2 * np.pi * 150 * t))).astype(np.float32)
    ticks = round(48 * milliseconds) if advance is None else advance
    return [
        pcmu(n, ticks * n, payload_type=111, payload=encoder.encode(voice[n * size : (n + 1) * size]))
        for n in range(count)
    ]


class Listener:
    """A session and all that came out of it."""

    def __init__(self, payload_types: dict[int, str] | None = None) -> None:
        self.session = RtpSession(payload_map=PayloadMap(payload_types or {}))
        self.blocks: list[AudioBlock] = []

    def hear(self, packets: Iterable[Packet], *, start: float = 0.0, every: float = 0.02) -> float:
        """Packets at a steady pace; returns when the next one is due."""
        now = start
        for packet in packets:
            self.blocks += self.session.push(packet, now)
            now += every
        return now

    def end(self) -> Listener:
        self.blocks += self.session.tick(1e9)
        return self

    def seconds(self, *, concealed: bool | None = None) -> float:
        chosen = [block for block in self.blocks if concealed in (None, block.concealed)]
        return round(sum(len(block.samples) / block.sample_rate_hz for block in chosen), 6)

    def silent_seconds(self) -> float:
        chosen = [block for block in self.blocks if not block.concealed and np.abs(block.samples).max(initial=0) < 1e-3]
        return round(sum(len(block.samples) / block.sample_rate_hz for block in chosen), 6)

    def samples(self) -> Samples:
        return np.concatenate([block.samples for block in self.blocks])

    def events(self) -> list[EventKind]:
        return [event.kind for event in self.session.take_events()]


@dataclass
class HeardStream:
    """What a receiver did to one stream; a StreamWriter."""

    source_id: str
    blocks: list[AudioBlock] = field(default_factory=list)
    statistics: MediaStatistics = field(default_factory=MediaStatistics)
    states: list[tuple[StreamState, Reason | None]] = field(default_factory=list)
    events: list[tuple[EventKind, str]] = field(default_factory=list)
    closed: str | None = None

    @property
    def seconds(self) -> float:
        return sum(len(block.samples) / block.sample_rate_hz for block in self.blocks)

    def write(self, block: AudioBlock) -> None:
        self.blocks.append(block)

    def media(self, statistics: MediaStatistics) -> None:
        self.statistics = statistics

    def state(self, state: StreamState, reason: Reason | None = None) -> None:
        self.states.append((state, reason))

    def event(self, kind: EventKind, detail: str) -> None:
        self.events.append((kind, detail))

    def close(self, detail: str = "") -> None:
        self.closed = detail


class Sink:
    """Room for everyone."""

    def __init__(self) -> None:
        self.streams: list[HeardStream] = []

    def open(self, description: StreamDescription, *, wait_when_full: bool = False) -> HeardStream:
        self.streams.append(HeardStream(description.source_id))
        return self.streams[-1]


class Port:
    """A receiver on a manual clock: packets go in 20 ms apart, the sweep runs as the socket's thread runs it."""

    def __init__(self, payload_types: dict[int, str] | None = None, **settings: Any) -> None:
        self.now = 0.0
        self.sink = Sink()
        self.counts: Counter[str] = Counter()
        self._next_sweep = 0.0
        self.receiver = RtpReceiver(
            name="desk",
            labels={},
            payload_map=PayloadMap(payload_types or {}),
            reorder_wait_seconds=0.06,
            concealment="pitch",
            idle_seconds=30.0,
            sink=self.sink,
            counts=self.counts,
            unix=lambda: 1_700_000_000.0 + self.now,
            **settings,
        )

    @property
    def streams(self) -> list[HeardStream]:
        return self.sink.streams

    def only(self) -> HeardStream:
        """The one stream there is, its numbers up to date."""
        for sender in self.receiver._senders.values():
            if sender.stream is not None:
                sender.stream._report(self.now)
        (stream,) = self.sink.streams
        return stream

    def send(self, *packets: Packet, every: float = 0.02, peer: tuple[str, int] = ("192.0.2.1", 5_000)) -> None:
        for packet in packets:
            self.send_bytes(build(packet), every=every, peer=peer)

    def send_bytes(self, datagram: bytes, *, every: float = 0.02, peer: tuple[str, int] = ("192.0.2.1", 5_000)) -> None:
        self.receiver.hear(datagram, transport(*peer), Transport("", 5_004), self.now)
        self.wait(every)

    def wait(self, seconds: float) -> None:
        """Let time pass as the socket's thread does."""
        end = self.now + seconds
        while self._next_sweep <= end:
            self._tick(self._next_sweep)
            self.receiver.sweep(self._next_sweep)
            self._next_sweep += _SWEEP_SECONDS
        self._tick(end)

    def _tick(self, now: float) -> None:
        self.now = max(self.now, now)
        self.receiver.tick(self.now)


class Replayed:
    """A capture's streams and counts."""

    def __init__(self, streams: list[HeardStream], counts: Counter[str]) -> None:
        self.streams, self.counts = streams, counts

    def only(self) -> HeardStream:
        (stream,) = self.streams
        return stream


class CaptureWriter:
    """Frames with times, written in any form of pcap and pcapng, and replayed."""

    def __init__(self) -> None:
        self._frames: list[tuple[int, bytes]] = []

    def add(self, packet: Packet, seconds: float, *, shape: str = "plain", ttl: int = 64) -> None:
        at = round(seconds * 1e6) * 1_000 + 1_700_000_000 * 10**9
        if shape == "fragments":
            udp = self.udp(packet)
            for offset in (64, 0):  # the second half first
                body = udp[offset:] if offset else udp[:64]
                flags = offset // 8 | (0 if offset else 0x2000)
                frame = self.ethernet(self.ipv4(17, body, flags=flags, identity=packet.sequence_number))
                self._frames.append((at, frame))
            return
        self._frames.append((at, self.frame(packet, shape=shape, ttl=ttl)))

    @staticmethod
    def udp(packet: Packet) -> bytes:
        payload = build(packet)
        return struct.pack("!HHHH", 5_000, 5_004, 8 + len(payload), 0) + payload

    @staticmethod
    def ipv4(protocol: int, body: bytes, *, ttl: int = 64, flags: int = 0, identity: int = 0) -> bytes:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), identity, flags, ttl, protocol, 0)
        return head + bytes([192, 0, 2, 1, 192, 0, 2, 2]) + body

    @staticmethod
    def ethernet(packet: bytes, *, tags: int = 0) -> bytes:
        tagged = b"\x88\xa8\x00\x05" + b"\x81\x00\x00\x07" * (tags - 1) if tags else b""
        return bytes(12) + tagged + b"\x08\x00" + packet

    @classmethod
    def frame(cls, packet: Packet, *, shape: str, ttl: int = 64) -> bytes:
        return cls.ethernet(cls.ipv4(17, cls.udp(packet), ttl=ttl), tags=2 if shape == "qinq" else 0)

    def write(self, path: Path, *, form: str = "pcap-us", snaplen: int = 65_535, cut_bytes: int = 0) -> Path:
        if form.startswith("pcapng"):
            data = self._pcapng(2 if form.endswith("sections") else 1)
        else:
            order, per = ">" if form.endswith("big") else "<", 1_000 if "us" in form else 1
            magic = 0xA1B2C3D4 if per == 1_000 else 0xA1B23C4D
            data = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, 1)
            for at, frame in self._frames:
                kept = frame[:snaplen]
                data += struct.pack(order + "IIII", at // 10**9, at % 10**9 // per, len(kept), len(frame)) + kept
        path.write_bytes(data[: len(data) - cut_bytes])
        return path

    def _pcapng(self, sections: int) -> bytes:
        data = b""
        share = -(-len(self._frames) // sections)
        for section in range(sections):
            order, exponent = ("<", 9) if section == 0 else (">", 6)
            section_head = struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1)
            data += self._block(order, 0x0A0D0D0A, section_head)
            option = struct.pack(order + "HHB3x", 9, 1, exponent) + struct.pack(order + "HH", 0, 0)
            data += self._block(order, 1, struct.pack(order + "HHI", 1, 0, 0) + option)
            for at, frame in self._frames[section * share : (section + 1) * share]:
                units = at // 10 ** (9 - exponent)
                head = struct.pack(order + "IIIII", 0, units >> 32, units & 0xFFFFFFFF, len(frame), len(frame))
                data += self._block(order, 6, head + frame + bytes(-len(frame) % 4))
        return data

    @staticmethod
    def _block(order: str, kind: int, body: bytes) -> bytes:
        size = struct.pack(order + "I", 12 + len(body))
        return struct.pack(order + "I", kind) + size + body + size

    def replay(self, path: Path, **how: Any) -> Replayed:
        self.write(path, **how)
        sink = Sink()
        replay = CaptureReplay(path, name="call", sink=sink, clock=ManualClock())
        replay.run()
        return Replayed(sink.streams, replay.counts)


def events(pairs: Iterable[tuple[EventKind, str]], *kinds: EventKind) -> list[EventKind]:
    """The kinds among `pairs` that are asked for, in order."""
    return [kind for kind, _ in pairs if kind in kinds]
