"""RTP over UDP: a port, and a receiver that makes streams of the senders it hears, or several that share them."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import SecretStr

from livemos.agent.clock import Clock
from livemos.agent.errors import CodecError, SdpError, SourceError
from livemos.agent.rtp.addresses import AddressPolicy
from livemos.agent.rtp.admission import Caps
from livemos.agent.rtp.payload_map import PayloadMap
from livemos.agent.rtp.playout import IDEAL
from livemos.agent.rtp.sdp import SdpDescription, parse_sdp
from livemos.agent.rtp.seal import SrtpKey, Unsealer
from livemos.agent.sources import multicast
from livemos.agent.sources.base import StreamSink
from livemos.agent.sources.receive_batch import set_receive_buffer
from livemos.agent.sources.receive_port import ReceivePort, sum_of
from livemos.agent.sources.receive_steering import share_port, steer_by_ssrc
from livemos.agent.sources.rtp_receiver import RtpReceiver

RECEIVE_BUFFER_BYTES = 8 << 20

_log = logging.getLogger(__name__)


class RtpSource:
    """Streams `name/<ssrc in hex>` of one UDP port.

    payload_types: {111: "opus/48000/2"}; `sdp` names a file whose audio line adds its own, which go before, its port
    when `port` is None, its group and its keys. idle_seconds: a stream silent for so long has ended. Port 0 takes a
    free one. addresses: a policy's name (agent/rtp/addresses.py). group, interface, group_sources: multicast, a sender
    list makes it source-specific. srtp_suite, srtp_key, srtp_roc: SDES keys of every sender. receive_workers: sockets
    and threads that share the port, each SSRC to one of them; caps are shared out among them, and a sender that changes
    its SSRC begins a new stream where another worker gets it.
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
        receive_workers: int = 1,
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
        self._receive_buffer_bytes, self._receive_workers = receive_buffer_bytes, receive_workers
        self._labels = dict(labels or {})
        self._sink, self._clock = sink, clock
        self._sockets: list[socket.socket] = []
        self._ports: list[ReceivePort] = []

    @property
    def name(self) -> str:
        return self._name

    @property
    def port(self) -> int:
        """The UDP port that was bound; 0 before start."""
        return int(self._sockets[0].getsockname()[1]) if self._sockets else 0

    def start(self) -> None:
        """Raises SourceError: the port is taken, the address not this machine's; SDP, payload map or key is wrong."""
        description = self._read_sdp()
        try:
            payload_map = PayloadMap({**self._payload_types, **(description.payload_types if description else {})})
            # each worker's own: they hold the roll-over counters of its senders
            unsealers = [self._unsealer(description) for _ in range(self._receive_workers)]
        except (CodecError, SdpError) as error:
            raise SourceError(f"source {self._name}: {error}") from error
        port = self._asked_port if self._asked_port is not None else description.port if description else 0
        try:
            self._open(port, description)
        except SourceError as error:
            self._close()
            raise SourceError(f"source {self._name}: {error}") from error
        counts: list[Counter[str]] = [Counter() for _ in self._sockets]
        receivers = [
            self._make_receiver(payload_map, unsealer, each) for unsealer, each in zip(unsealers, counts, strict=True)
        ]
        for receiver in receivers:
            receiver.share_reports(receivers)
        self._ports = [
            self._make_port(index, opened, receivers[index], counts[index])
            for index, opened in enumerate(self._sockets)
        ]
        for each in self._ports:
            each.worker.start()

    def stop(self) -> None:
        for each in self._ports:
            each.worker.stopping.set()
        for each in self._ports:
            each.worker.stop()
        self._close()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        return all(each.worker.wait(timeout_seconds) for each in self._ports)

    def statistics(self) -> dict[str, int]:
        """received_packets counts every datagram; the others say what became of those that gave no audio."""
        zero: Counter[str] = Counter(received_packets=0, received_bytes=0, refused_packets=0)
        return sum_of([zero, *(each.counts for each in self._ports)])

    def _open(self, port: int, description: SdpDescription | None) -> None:
        """All sockets, bound to one port."""
        workers = self._receive_workers
        if workers > 1 and port:
            self._bind(port, shared=False).close()  # sockets that share do not notice another program's
        for _ in range(workers):
            self._sockets.append(self._bind(self.port or port, shared=workers > 1))
        self._join(self._sockets[0], description)
        if workers > 1:
            if self._group is not None:
                raise SourceError("each socket of a group gets every packet: set receive_workers = 1")
            if self._policy is AddressPolicy.LEARN_ONCE:
                raise SourceError("workers would learn different senders: set receive_workers = 1, or follow or pin")
            steer_by_ssrc(self._sockets[0], workers)

    @property
    def _worker_caps(self) -> Caps:
        return (self._caps or Caps()).shared_by(self._receive_workers)

    def _make_receiver(self, payload_map: PayloadMap, unsealer: Unsealer | None, counts: Counter[str]) -> RtpReceiver:
        return RtpReceiver(
            name=self._name,
            labels=self._labels,
            payload_map=payload_map,
            reorder_wait_seconds=self._reorder_wait_seconds,
            concealment=self._concealment,
            idle_seconds=self._idle_seconds,
            sink=self._sink,
            counts=counts,
            unix=self._clock.unix,
            caps=self._worker_caps,
            policy=self._policy,
            unsealer=unsealer,
            profiles=self._profiles,
        )

    def _make_port(self, index: int, opened: socket.socket, receiver: RtpReceiver, counts: Counter[str]) -> ReceivePort:
        name = self._name if self._receive_workers == 1 else f"{self._name}-{index}"
        caps, clock = self._worker_caps, self._clock
        return ReceivePort(name, opened, receiver, counts, caps=caps, group=self._group, clock=clock)

    def _close(self) -> None:
        for opened in self._sockets:
            opened.close()
        self._sockets = []

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
            return Unsealer(replace(description.keys[0], roc=self._srtp_roc))
        return None

    def _join(self, opened: socket.socket, description: SdpDescription | None) -> None:
        sources = self._group_sources
        if self._group is None and description is not None:
            with contextlib.suppress(ValueError):  # a host name is no group
                if ipaddress.ip_address(description.address).is_multicast:
                    self._group, sources = description.address, sources or description.source_filter
        if self._group is not None:
            multicast.join(opened, self._group, self._interface, sources)

    def _bind(self, port: int, *, shared: bool) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_DGRAM)
        try:
            granted_bytes = set_receive_buffer(opened, self._receive_buffer_bytes)
            if shared:
                share_port(opened)
            opened.bind((self._host, port))
        except OSError as error:
            opened.close()
            if error.errno == errno.EADDRINUSE:
                problem = "is in use by another program; stop that one, or choose another port"
            else:
                problem = f"cannot be bound ({error.strerror or error}); choose an address of this machine"
            raise SourceError(f"UDP port {port} on {self._host} {problem}") from error
        if granted_bytes < self._receive_buffer_bytes:
            advice = f"sysctl net.core.rmem_max={self._receive_buffer_bytes} allows it"
            _log.warning("source %s: the receive buffer is %d bytes; %s", self._name, granted_bytes, advice)
        opened.setblocking(False)
        return opened
