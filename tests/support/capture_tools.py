"""Wireshark's tools beside livemos: capture loopback, and read what both say of the same packets."""

from __future__ import annotations

import re
import signal
import socket
import struct
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from programs import Program

from livemos.agent.rtp.capture_file import CaptureReader
from livemos.agent.rtp.decapsulate import Decapsulator
from livemos.agent.rtp.jitter import InterarrivalJitter
from livemos.agent.rtp.packet import DatagramKind, kind_of, parse
from livemos.agent.rtp.payload_map import PayloadMap
from livemos.agent.rtp.session import RtpSession


class Capture:
    """`with Capture(path, port):` everything over loopback from or to that UDP port, as pcapng.

    A datagram of our own to another port marks either end; once it is in the file, so is all that came before it.
    """

    def __init__(self, path: Path, port: int) -> None:
        self.path = path
        self._marks = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._marks.bind(("127.0.0.1", 0))
        wanted = f"udp port {port} or udp port {self._marks.getsockname()[1]}"
        self._program = Program(["dumpcap", "-q", "-i", "lo", "-f", wanted, "-w", str(path)])

    def __enter__(self) -> Self:
        self._program.__enter__()
        self._program.wait_for_line("^File: ")
        self._mark(b"the capture begins")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._mark(b"the capture ends")
        self._program.stop(signal.SIGINT)
        self._marks.close()

    def _mark(self, words: bytes, attempts: int = 100) -> None:
        pause = threading.Event()
        for _ in range(attempts):
            self._marks.sendto(words, self._marks.getsockname())
            pause.wait(0.1)
            if words in self.path.read_bytes():
                return
        raise AssertionError(f"{self.path} does not hold {words!r}")


def rtp_alone(capture: Path, port: int) -> Path:
    """A classic pcap with the RTP packets to `port` and nothing else."""
    chosen = capture.with_suffix(".pcap")
    command = ["tshark", "-r", str(capture), "-d", f"udp.port=={port},rtp", "-Y", "rtp && !rtcp", "-F", "pcap"]
    subprocess.run([*command, "-w", str(chosen)], check=True, capture_output=True)
    return chosen


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """One SSRC: packets that came, packets lost, mean, highest and last running jitter (RFC 3550 A.8) in ms."""

    ssrc: int
    received_packets: int
    lost_packets: int
    jitter_mean_ms: float
    jitter_highest_ms: float
    jitter_last_ms: float | None = None  # tshark's table has none
    jitter_mean_with_repeats_ms: float | None = None  # as if a packet that comes twice were two


_ROW = re.compile(
    r"^\s*[\d.]+\s+[\d.]+\s+\S+\s+\d+\s+\S+\s+(?P<port>\d+)\s+0x(?P<ssrc>[0-9A-F]{8})\s+\S+\s+(?P<packets>\d+)\s+"
    r"(?P<lost>-?\d+) \([^)]*\)\s+(?:-?[\d.]+\s+){3}-?[\d.]+\s+(?P<mean>-?[\d.]+)\s+(?P<highest>-?[\d.]+)"
)


def tshark_figures(capture: Path, port: int, payload_types: Mapping[int, str]) -> list[StreamFigures]:
    """What `tshark -q -z rtp,streams` says of the streams to `port`.

    A description of the port goes into a copy of the capture before its first packet: without one, tshark knows
    neither that the datagrams are RTP nor the clock of a dynamic payload type, and gives a jitter of 0.
    """
    announcement, merged = capture.with_suffix(".sap.pcap"), capture.with_suffix(".described.pcapng")
    announcement.write_bytes(_announcement(port, payload_types))
    subprocess.run(["mergecap", "-w", str(merged), str(announcement), str(capture)], check=True, capture_output=True)
    command = ["tshark", "-r", str(merged), "-d", f"udp.port=={port},rtp", "-q", "-z", "rtp,streams"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [row for line in said.splitlines() if (row := _ROW.match(line)) and int(row["port"]) == port]
    assert rows, f"tshark found no stream to port {port}:\n{said}"
    return [
        StreamFigures(
            int(row["ssrc"], 16), int(row["packets"]), int(row["lost"]), float(row["mean"]), float(row["highest"])
        )
        for row in rows
    ]


def description(port: int, payload_types: Mapping[int, str], *attributes: str) -> str:
    """A plain SDP for audio at 127.0.0.1:port."""
    lines = [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "c=IN IP4 127.0.0.1",
        "t=0 0",
        f"m=audio {port} RTP/AVP {' '.join(map(str, payload_types))}",
    ]
    lines += [f"a=rtpmap:{number} {encoding}" for number, encoding in payload_types.items()]
    return "\r\n".join([*lines, *attributes, ""])


def _announcement(port: int, payload_types: Mapping[int, str]) -> bytes:
    """A capture of one frame: a session announcement (RFC 2974), dated before every other packet."""
    announced = bytes([0x20, 0, 0, 1, 127, 0, 0, 1]) + b"application/sdp\0" + description(port, payload_types).encode()
    udp = struct.pack("!HHHH", 9_875, 9_875, 8 + len(announced), 0) + announced
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + bytes([127, 0, 0, 1]) * 2 + udp
    frame = bytes(12) + b"\x08\x00" + ip
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1)
    return head + struct.pack("<IIII", 1, 0, len(frame), len(frame)) + frame


def livemos_figures(capture: Path, port: int, payload_types: Mapping[int, str]) -> list[StreamFigures]:
    """The same of livemos' own session, which is asked after each packet as tshark asks itself."""
    sessions: dict[int, RtpSession] = {}
    running: dict[int, list[float]] = {}
    with_repeats: dict[int, tuple[InterarrivalJitter, list[float]]] = {}
    mapped = PayloadMap(dict(payload_types))
    for seconds, payload in _datagrams(capture, port):
        if kind_of(payload) is not DatagramKind.RTP:
            continue
        packet = parse(payload)
        session = sessions.setdefault(packet.ssrc, RtpSession(payload_map=mapped))
        session.push(packet, seconds)
        running.setdefault(packet.ssrc, []).append(1_000 * (session.statistics().rfc_jitter_seconds or 0.0))
        jitter, values = with_repeats.setdefault(packet.ssrc, (InterarrivalJitter(), []))
        encoding = mapped.encoding_of(packet.payload_type)
        assert encoding is not None, f"payload type {packet.payload_type} is not described"
        jitter.heard(packet.timestamp, seconds, encoding.clock_rate_hz)
        values.append(1_000 * jitter.seconds)
    return [
        StreamFigures(
            ssrc,
            session.statistics().received_packets or 0,
            session.statistics().lost_packets or 0,
            float(np.mean(running[ssrc][1:])),  # the first packet has none
            max(running[ssrc]),
            running[ssrc][-1],
            float(np.mean(with_repeats[ssrc][1][1:])),
        )
        for ssrc, session in sessions.items()
    ]


def _datagrams(capture: Path, port: int) -> Iterator[tuple[float, bytes]]:
    """(seconds since the first frame, payload) of every datagram to `port`."""
    with capture.open("rb") as file:
        first = None
        for frame in CaptureReader(file):
            first = frame.nanoseconds if first is None else first
            seconds = (frame.nanoseconds - first) / 1e9
            # a fresh one each time: kept, it would take a repeated packet for a mirror's copy
            datagram = Decapsulator(Counter()).open(frame.link_type, frame.data, seconds)
            if datagram is not None and datagram.destination.port == port:
                yield seconds, bytes(datagram.payload)
