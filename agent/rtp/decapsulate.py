"""Frames of a mirror port to UDP datagrams: tags and tunnels stripped, fragments put together, copies dropped.

Ethernet, 802.1Q and 802.1ad (up to 4 tags), Linux cooked v1 and v2, raw IP, loopback; IPv4 and IPv6 with fragments;
GRE, ERSPAN II and III, VXLAN, IP in IP. Sources: IEEE 802.1Q, RFC 791, RFC 8200, RFC 2784, RFC 7348.
"""

from __future__ import annotations

import ipaddress
import struct
from collections import Counter, OrderedDict
from dataclasses import dataclass

from livemos.agent.rtp.addresses import Transport, transport

LINK_NULL, LINK_ETHERNET, LINK_RAW, LINK_LOOP, LINK_SLL, LINK_IPV4, LINK_IPV6, LINK_SLL2 = (
    0,
    1,
    101,
    108,
    113,
    228,
    229,
    276,
)
_TAGS = (0x8100, 0x88A8, 0x9100)
_IPV4, _IPV6 = 0x0800, 0x86DD
_TUNNELLED_ETHERNET, _ERSPAN_II, _ERSPAN_III = 0x6558, 0x88BE, 0x22EB
_UDP, _IPIP, _IP6IP, _GRE, _FRAGMENT = 17, 4, 41, 47, 44
_EXTENSIONS = (0, 43, 60)  # hop-by-hop, routing, destination options
_VXLAN_PORT = 4789
_DEEPEST = 8  # headers inside headers
_MOST_TAGS = 4
FRAGMENT_BYTES, FRAGMENT_SECONDS = 4 << 20, 30.0
COPY_SECONDS = 0.5  # a mirrored copy comes within
_COPIES_REMEMBERED = 8_192


@dataclass(frozen=True, slots=True)
class Datagram:
    """A UDP payload and its way."""

    source: Transport
    destination: Transport
    payload: bytes


@dataclass(slots=True)
class _Pieces:
    parts: dict[int, bytes]
    first_seconds: float
    size: int | None = None  # known with the last piece

    def whole(self) -> bytes | None:
        if self.size is None:
            return None
        joined = bytearray()
        for offset in sorted(self.parts):
            if offset > len(joined):
                return None
            joined[offset:] = self.parts[offset]
        return bytes(joined[: self.size]) if len(joined) >= self.size else None


class Decapsulator:
    """`open` for each frame; `counts` says what was left out and why."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._pieces: OrderedDict[tuple[object, ...], _Pieces] = OrderedDict()
        self._piece_bytes = 0
        self._seen: OrderedDict[tuple[Transport, Transport, bytes], float] = OrderedDict()

    def open(self, link_type: int, frame: bytes, now: float) -> Datagram | None:
        """The UDP datagram inside, None when there is none, or not yet, or it was heard before."""
        found = self._strip(link_type, frame)
        datagram = self._ip(*found, now, 0) if found else None
        if datagram is None or self._copied(datagram, now):
            return None
        return datagram

    def _strip(self, link_type: int, frame: bytes) -> tuple[int, bytes] | None:
        if link_type == LINK_ETHERNET:
            return _ethernet(frame)
        if link_type == LINK_SLL and len(frame) >= 16:
            return _untag(int.from_bytes(frame[14:16]), frame[16:])
        if link_type == LINK_SLL2 and len(frame) >= 20:
            return _untag(int.from_bytes(frame[:2]), frame[20:])
        if link_type in (LINK_NULL, LINK_LOOP):
            frame = frame[4:]
        elif link_type not in (LINK_RAW, LINK_IPV4, LINK_IPV6):
            self._counts["unknown_link_frames"] += 1
            return None
        return (_IPV6 if frame[:1] and frame[0] >> 4 == 6 else _IPV4), frame

    def _ip(self, kind: int, data: bytes, now: float, depth: int) -> Datagram | None:
        if depth > _DEEPEST:
            self._counts["too_deep_frames"] += 1
            return None
        if kind == _IPV4:
            return self._ipv4(data, now, depth)
        return self._ipv6(data, now, depth) if kind == _IPV6 else None

    def _ipv4(self, data: bytes, now: float, depth: int) -> Datagram | None:
        if len(data) < 20 or data[0] >> 4 != 4:
            return None
        begin, total = 4 * (data[0] & 15), int.from_bytes(data[2:4])
        if begin < 20 or len(data) < begin:
            return None
        body = data[begin : total or None]
        flags = int.from_bytes(data[6:8])
        protocol = data[9]
        if flags & 0x3FFF:
            key = (data[12:20], data[4:6], protocol)
            whole = self._joined(key, 8 * (flags & 0x1FFF), body, last=not flags & 0x2000, now=now)
            if whole is None:
                return None
            body = whole
        return self._inside(protocol, body, data[12:16], data[16:20], now, depth)

    def _ipv6(self, data: bytes, now: float, depth: int) -> Datagram | None:
        if len(data) < 40:
            return None
        source, target = data[8:24], data[24:40]
        protocol, body = data[6], data[40 : 40 + int.from_bytes(data[4:6])]
        for _ in range(_DEEPEST):
            if len(body) < 8:
                return None
            if protocol == _FRAGMENT:
                flags = int.from_bytes(body[2:4])
                key = (source + target, body[4:8], body[0])
                whole = self._joined(key, flags & 0xFFF8, body[8:], last=not flags & 1, now=now)
                if whole is None:
                    return None
                protocol, body = body[0], whole
            elif protocol in _EXTENSIONS:
                protocol, body = body[0], body[8 + 8 * body[1] :]
            else:
                break
        return self._inside(protocol, body, source, target, now, depth)

    def _inside(
        self, protocol: int, body: bytes, source: bytes, target: bytes, now: float, depth: int
    ) -> Datagram | None:
        if protocol == _UDP and len(body) >= 8:
            from_port, to_port, size = struct.unpack_from("!HHH", body)
            payload = body[8 : size or None]
            if to_port == _VXLAN_PORT and len(payload) > 8 and payload[0] & 8:
                inner = _ethernet(payload[8:])
                return self._ip(*inner, now, depth + 1) if inner else None
            return Datagram(
                transport(str(ipaddress.ip_address(source)), from_port),
                transport(str(ipaddress.ip_address(target)), to_port),
                payload,
            )
        if protocol == _IPIP:
            return self._ip(_IPV4, body, now, depth + 1)
        if protocol == _IP6IP:
            return self._ip(_IPV6, body, now, depth + 1)
        if protocol == _GRE and len(body) >= 4:
            found = _gre(body)
            return self._ip(*found, now, depth + 1) if found else None
        return None

    def _joined(self, key: tuple[object, ...], offset: int, part: bytes, *, last: bool, now: float) -> bytes | None:
        """The whole once its last missing piece is there; the oldest make place for the newest."""
        pieces = self._pieces.get(key)
        if pieces is None:
            pieces = self._pieces[key] = _Pieces({}, now)
        self._piece_bytes += len(part) - len(pieces.parts.get(offset, b""))
        pieces.parts[offset] = part
        if last:
            pieces.size = offset + len(part)
        whole = pieces.whole()
        if whole is not None:
            self._forget(key)
        while self._pieces:
            oldest = next(iter(self._pieces))
            if self._piece_bytes <= FRAGMENT_BYTES and now - self._pieces[oldest].first_seconds < FRAGMENT_SECONDS:
                break
            self._counts["dropped_fragments"] += len(self._pieces[oldest].parts)
            self._forget(oldest)
        return whole

    def _forget(self, key: tuple[object, ...]) -> None:
        self._piece_bytes -= sum(map(len, self._pieces.pop(key).parts.values()))

    def _copied(self, datagram: Datagram, now: float) -> bool:
        """True for the second of two equal datagrams within COPY_SECONDS: the packet passed two mirrored ports."""
        key = datagram.source, datagram.destination, datagram.payload
        before = self._seen.pop(key, None)
        self._seen[key] = now
        if len(self._seen) > _COPIES_REMEMBERED:
            self._seen.popitem(last=False)
        copied = before is not None and now - before <= COPY_SECONDS
        self._counts["mirrored_copies_packets"] += copied
        return copied


def _ethernet(frame: bytes) -> tuple[int, bytes] | None:
    return _untag(int.from_bytes(frame[12:14]), frame[14:]) if len(frame) >= 14 else None


def _untag(kind: int, data: bytes) -> tuple[int, bytes] | None:
    for _ in range(_MOST_TAGS):
        if kind not in _TAGS or len(data) < 4:
            break
        kind, data = int.from_bytes(data[2:4]), data[4:]
    return kind, data


def _gre(body: bytes) -> tuple[int, bytes] | None:
    """Checksum, key and sequence number are optional words; what follows is IP, Ethernet or ERSPAN."""
    flags, kind = struct.unpack_from("!HH", body)
    begin = 4 + 4 * (bool(flags & 0x8000) + bool(flags & 0x2000) + bool(flags & 0x1000))
    inner = body[begin:]
    if kind == _TUNNELLED_ETHERNET:
        return _ethernet(inner)
    if kind == _ERSPAN_II:  # type I has no header of its own, and no sequence number either
        return _ethernet(inner[8:] if flags & 0x1000 else inner)
    if kind == _ERSPAN_III and len(inner) >= 12:
        return _ethernet(inner[20:] if inner[11] & 1 else inner[12:])
    return kind, inner
