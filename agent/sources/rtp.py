"""RTP over UDP: one socket, one thread, one session and one stream for every SSRC that proves to be one."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import selectors
import socket
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from livemos.agent.clock import Clock
from livemos.agent.errors import CodecError, SdpError, SourceError
from livemos.agent.rtp.packet import DatagramKind, InvalidPacketError, kind_of, parse
from livemos.agent.rtp.payload_map import PayloadMap
from livemos.agent.rtp.sdp import SdpDescription, parse_sdp
from livemos.agent.sources.base import StreamSink
from livemos.agent.sources.rtp_stream import RtpStream
from livemos.agent.sources.worker import Worker

MAX_SSRCS = 4_096  # sessions kept, proven or not; the streams among them are capped by the sink
RECEIVE_BUFFER_BYTES = 4 << 20
_LONGEST_DATAGRAM_BYTES = 65_536
_DRAIN_DATAGRAMS = 512  # read before time is looked at again
_SWEEP_SECONDS = 0.05  # how often silence is noticed, and a stop


class RtpSource:
    """Streams `name/<ssrc in hex>` of one UDP port.

    payload_types: {111: "opus/48000/2"}; `sdp` names a file whose audio line adds its own, which go before, and its
    port when `port` is None. idle_seconds: a stream silent for so long has ended. Port 0 takes a free one.
    """

    def __init__(
        self,
        *,
        name: str,
        host: str = "0.0.0.0",
        port: int | None = None,
        payload_types: Mapping[int, str] | None = None,
        sdp: str | Path | None = None,
        idle_seconds: float = 30.0,
        reorder_wait_seconds: float = 0.06,
        concealment: str = "pitch",
        labels: Mapping[str, str] | None = None,
        sink: StreamSink,
        clock: Clock,
    ) -> None:
        self._name = name
        self._host = host
        self._asked_port = port
        self._payload_types = dict(payload_types or {})
        self._sdp_path = sdp
        self._idle_seconds = idle_seconds
        self._reorder_wait_seconds = reorder_wait_seconds
        self._concealment = concealment
        self._labels = dict(labels or {})
        self._sink, self._clock = sink, clock
        self._payload_map = PayloadMap()
        self._socket: socket.socket | None = None
        self._streams: dict[int, RtpStream] = {}
        self._counts: Counter[str] = Counter(received_packets=0, received_bytes=0, refused_packets=0)
        self._buffer = bytearray(_LONGEST_DATAGRAM_BYTES)
        self._worker = Worker(name, self._run)

    @property
    def name(self) -> str:
        return self._name

    @property
    def port(self) -> int:
        """The UDP port that was bound; 0 before start."""
        return int(self._socket.getsockname()[1]) if self._socket is not None else 0

    def start(self) -> None:
        """Raises SourceError: the port is taken, the address is not this machine's, the SDP or payload map is wrong."""
        description = self._read_sdp()
        try:
            self._payload_map = PayloadMap(
                {**self._payload_types, **(description.payload_types if description else {})}
            )
        except CodecError as error:
            raise SourceError(f"source {self._name}: {error}") from error
        port = self._asked_port if self._asked_port is not None else description.port if description else 0
        self._socket = self._bind(port)
        self._worker.start()

    def stop(self) -> None:
        self._worker.stop()
        if self._socket is not None:
            self._socket.close()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        return self._worker.wait(timeout_seconds)

    def statistics(self) -> dict[str, int]:
        """received_packets counts every datagram; the others say what became of those that gave no audio."""
        return dict(self._counts)

    def _read_sdp(self) -> SdpDescription | None:
        if self._sdp_path is None:
            return None
        where = f"SDP file {self._sdp_path}"
        try:
            text = Path(self._sdp_path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"source {self._name}: {where} cannot be read ({error})") from error
        try:
            description = parse_sdp(text, where=where)
        except SdpError as error:
            raise SourceError(f"source {self._name}: {error}") from error
        with contextlib.suppress(ValueError):  # a host name is no group
            if ipaddress.ip_address(description.address).is_multicast:
                raise SourceError(
                    f"source {self._name}: {where} names the group {description.address}, and livemos does not join "
                    "multicast groups yet; let the bridge send to this machine's own address"
                )
        return description

    def _bind(self, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_DGRAM)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            opened.bind((self._host, port))
        except OSError as error:
            opened.close()
            if error.errno == errno.EADDRINUSE:
                problem = "is in use by another program; stop that one, or choose another port"
            else:
                problem = f"cannot be bound ({error.strerror or error}); choose an address of this machine"
            raise SourceError(f"source {self._name}: UDP port {port} on {self._host} {problem}") from error
        opened.setblocking(False)
        return opened

    def _run(self) -> None:
        assert self._socket is not None
        next_sweep_seconds = 0.0
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            while not self._worker.stopping.is_set():
                if selector.select(self._patience_seconds()):
                    self._drain(self._socket)
                now = self._clock.monotonic()
                self._tick_waiting(now)
                if now >= next_sweep_seconds:
                    next_sweep_seconds = now + _SWEEP_SECONDS
                    self._sweep(now)
        for stream in self._streams.values():
            stream.close("stopped")

    def _patience_seconds(self) -> float:
        """Until the next gap is given up, at most until the next sweep."""
        due = [stream.next_due_seconds for stream in self._streams.values() if stream.next_due_seconds is not None]
        if not due:
            return _SWEEP_SECONDS
        return min(_SWEEP_SECONDS, max(0.0, min(due) - self._clock.monotonic()))

    def _drain(self, opened: socket.socket) -> None:
        view = memoryview(self._buffer)
        for _ in range(_DRAIN_DATAGRAMS):
            try:
                size, peer = opened.recvfrom_into(self._buffer)
            except BlockingIOError:
                return
            except OSError:  # an ICMP answer to something else, or the socket closed by stop()
                return
            self._counts["received_packets"] += 1
            self._counts["received_bytes"] += size
            self._hear(view[:size], peer)

    def _hear(self, datagram: memoryview, peer: tuple[str, int]) -> None:
        kind = kind_of(datagram)
        if kind is not DatagramKind.RTP:
            self._counts[f"{kind.value}_packets"] += 1
            return
        try:
            packet = parse(datagram)
        except InvalidPacketError as invalid:
            self._counts[f"invalid_{invalid.reason.value}_packets"] += 1
            return
        stream = self._streams.get(packet.ssrc)
        if stream is None:
            if len(self._streams) >= MAX_SSRCS:
                self._counts["refused_packets"] += 1
                return
            stream = self._streams[packet.ssrc] = self._new_stream(packet.ssrc, peer)
        stream.hear(packet, self._clock.monotonic())

    def _new_stream(self, ssrc: int, peer: tuple[str, int]) -> RtpStream:
        return RtpStream(
            source_id=f"{self._name}/{ssrc:08x}",
            detail=f"{peer[0]}:{peer[1]} to UDP port {self.port}",
            labels=self._labels,
            payload_map=self._payload_map,
            reorder_wait_seconds=self._reorder_wait_seconds,
            concealment=self._concealment,
            sink=self._sink,
            counts=self._counts,
        )

    def _tick_waiting(self, now: float) -> None:
        for stream in self._streams.values():
            if stream.next_due_seconds is not None:
                stream.tick(now)

    def _sweep(self, now: float) -> None:
        for ssrc, stream in list(self._streams.items()):
            stream.watch(now)
            if stream.silent_seconds(now) >= self._idle_seconds:
                stream.close(f"no packets for {self._idle_seconds:g} s")
                del self._streams[ssrc]
