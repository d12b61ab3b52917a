"""RTP over UDP: one socket, one thread, one receiver that makes streams of the senders it hears.

The thread wakes every few milliseconds and takes all that has come in one call (agent/sources/receive_batch.py).
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import selectors
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import SecretStr

from livemos.agent.clock import Clock
from livemos.agent.errors import CodecError, SdpError, SourceError
from livemos.agent.rtp.addresses import AddressPolicy, Transport
from livemos.agent.rtp.admission import Caps
from livemos.agent.rtp.payload_map import PayloadMap
from livemos.agent.rtp.playout import IDEAL
from livemos.agent.rtp.sdp import SdpDescription, parse_sdp
from livemos.agent.rtp.seal import SrtpKey, Unsealer
from livemos.agent.sources import multicast
from livemos.agent.sources.base import StreamSink
from livemos.agent.sources.receive_batch import BatchReader, DatagramBatch, set_receive_buffer, word_count
from livemos.agent.sources.receive_lanes import ReceiveLanes
from livemos.agent.sources.rtp_receiver import RtpReceiver
from livemos.agent.sources.worker import Worker
from livemos.agent.thread_names import show_name

RECEIVE_BUFFER_BYTES = 8 << 20
_DRAIN_BATCHES = 8  # read before time is looked at again
_SWEEP_SECONDS = 0.05  # how often silence is noticed, and a stop
_GATHER_SECONDS = 0.008  # between two readings while datagrams come; so late may a gap be given up


_log = logging.getLogger(__name__)


class RtpSource:
    """Streams `name/<ssrc in hex>` of one UDP port.

    payload_types: {111: "opus/48000/2"}; `sdp` names a file whose audio line adds its own, which go before, its port
    when `port` is None, its group and its keys. idle_seconds: a stream silent for so long has ended. Port 0 takes a
    free one. addresses: a policy's name (agent/rtp/addresses.py). group, interface, group_sources: multicast, a sender
    list makes it source-specific. srtp_suite, srtp_key, srtp_roc: SDES keys of every sender.
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
        profiles: Sequence[str] = (IDEAL,),
        addresses: str = "follow",
        group: str | None = None,
        interface: str | None = None,
        group_sources: Sequence[str] = (),
        srtp_suite: str = "AES_CM_128_HMAC_SHA1_80",
        srtp_key: SecretStr | None = None,
        srtp_roc: int = 0,
        caps: Caps | None = None,
        receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES,
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
        self._profiles = tuple(profiles)
        self._policy = AddressPolicy(addresses)
        self._group, self._interface, self._group_sources = group, interface, tuple(group_sources)
        self._srtp_suite, self._srtp_key, self._srtp_roc = srtp_suite, srtp_key, srtp_roc
        self._caps = caps
        self._receive_buffer_bytes = receive_buffer_bytes
        self._labels = dict(labels or {})
        self._sink, self._clock = sink, clock
        self._socket: socket.socket | None = None
        self._receiver: RtpReceiver | None = None
        self._local = Transport("", 0)
        self._kernel_drops = 0
        self._counts: Counter[str] = Counter(received_packets=0, received_bytes=0, refused_packets=0)
        self._reader: BatchReader | None = None
        self._lanes: ReceiveLanes | None = None
        self._worker = Worker(name, self._run)

    @property
    def name(self) -> str:
        return self._name

    @property
    def port(self) -> int:
        """The UDP port that was bound; 0 before start."""
        return int(self._socket.getsockname()[1]) if self._socket is not None else 0

    def start(self) -> None:
        """Raises SourceError: the port is taken, the address not this machine's; SDP, payload map or key is wrong."""
        description = self._read_sdp()
        try:
            payload_map = PayloadMap({**self._payload_types, **(description.payload_types if description else {})})
            unsealer = self._unsealer(description)
        except (CodecError, SdpError) as error:
            raise SourceError(f"source {self._name}: {error}") from error
        port = self._asked_port if self._asked_port is not None else description.port if description else 0
        self._socket = self._bind(port)
        try:
            self._join(self._socket, description)
        except SourceError as error:
            self._socket.close()
            raise SourceError(f"source {self._name}: {error}") from error
        self._local = Transport("", self.port)
        self._receiver = RtpReceiver(
            name=self._name,
            labels=self._labels,
            payload_map=payload_map,
            reorder_wait_seconds=self._reorder_wait_seconds,
            concealment=self._concealment,
            idle_seconds=self._idle_seconds,
            sink=self._sink,
            counts=self._counts,
            unix=self._clock.unix,
            caps=self._caps,
            policy=self._policy,
            unsealer=unsealer,
            profiles=self._profiles,
        )
        caps = self._caps or Caps()
        # a row more than the largest datagram that is let through: longer ones are told by their length
        self._reader = BatchReader(self._socket, row_bytes=caps.datagram_bytes)
        words = word_count(self._socket.family)
        self._lanes = ReceiveLanes(self._receiver, self._local, lanes=caps.sources, address_words=words)
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
        return description

    def _unsealer(self, description: SdpDescription | None) -> Unsealer | None:
        where = f"source {self._name}"
        if self._srtp_key is not None:
            secret = self._srtp_key.get_secret_value()
            return Unsealer(SrtpKey.parse(self._srtp_suite, secret, where=where, roc=self._srtp_roc))
        if description is not None and description.keys:
            key = description.keys[0]
            return Unsealer(SrtpKey(key.suite, key.master, self._srtp_roc))
        return None

    def _join(self, opened: socket.socket, description: SdpDescription | None) -> None:
        sources = self._group_sources
        if self._group is None and description is not None:
            with contextlib.suppress(ValueError):  # a host name is no group
                if ipaddress.ip_address(description.address).is_multicast:
                    self._group, sources = description.address, sources or description.source_filter
        if self._group is not None:
            multicast.join(opened, self._group, self._interface, sources)

    def _bind(self, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_DGRAM)
        try:
            granted_bytes = set_receive_buffer(opened, self._receive_buffer_bytes)
            opened.bind((self._host, port))
        except OSError as error:
            opened.close()
            if error.errno == errno.EADDRINUSE:
                problem = "is in use by another program; stop that one, or choose another port"
            else:
                problem = f"cannot be bound ({error.strerror or error}); choose an address of this machine"
            raise SourceError(f"source {self._name}: UDP port {port} on {self._host} {problem}") from error
        if granted_bytes < self._receive_buffer_bytes:
            advice = f"sysctl net.core.rmem_max={self._receive_buffer_bytes} allows it"
            _log.warning("source %s: the receive buffer is %d bytes; %s", self._name, granted_bytes, advice)
        opened.setblocking(False)
        return opened

    def _run(self) -> None:
        assert self._reader is not None and self._lanes is not None
        assert self._receiver is not None and self._socket is not None
        receiver, lanes, reader = self._receiver, self._lanes, self._reader
        show_name(f"receive-{self._name}")
        next_sweep_seconds = 0.0
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            while not self._worker.stopping.is_set():
                heard = self._drain(reader, lanes)
                now = self._clock.monotonic()
                receiver.tick(now)
                if now >= next_sweep_seconds:
                    next_sweep_seconds = now + _SWEEP_SECONDS
                    lanes.sweep(now)
                if heard:
                    # let datagrams gather, so that one waking serves many
                    self._worker.stopping.wait(_GATHER_SECONDS)
                else:
                    selector.select(_GATHER_SECONDS if receiver.next_due_seconds is not None else _SWEEP_SECONDS)
        lanes.close("stopped")

    def _drain(self, reader: BatchReader, lanes: ReceiveLanes) -> int:
        """All that waits at the socket, a few batches at most; how many datagrams it was."""
        heard = 0
        for _ in range(_DRAIN_BATCHES):
            try:
                batch = reader.read(self._clock.monotonic())
            except OSError:  # the socket was closed by stop()
                break
            if not batch.count:
                break
            heard += batch.count
            self._counts["received_packets"] += batch.count
            self._counts["received_bytes"] += int(batch.sizes[: batch.count].sum())
            self._tell_drops(batch.drops)
            if self._group is not None:
                self._counts["wrong_group_packets"] += batch.keep(self._to_group(batch, self._group))
            lanes.hear(batch)
            if batch.count < len(batch.sizes):
                break
        return heard

    def _tell_drops(self, drops: int) -> None:
        if drops != self._kernel_drops:
            assert self._receiver is not None
            self._receiver.capture_lost((drops - self._kernel_drops) & 0xFFFF_FFFF)
            self._kernel_drops = drops

    @staticmethod
    def _to_group(batch: DatagramBatch, group: str) -> npt.NDArray[np.bool_]:
        """Which datagrams were sent to our group: the kernel hands a wildcard socket those of all joined groups."""
        wanted = np.frombuffer(ipaddress.ip_address(group).packed.ljust(16, b"\0"), np.uint8)
        return np.asarray((batch.destinations[: batch.count] == wanted).all(axis=1))
