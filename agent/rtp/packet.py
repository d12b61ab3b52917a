"""One datagram to one RTP packet, or the reason why not (RFC 3550 section 5.1 and A.1, RFC 7983 section 7)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum

from livemos.agent.errors import PacketError

_HEADER = struct.Struct("!BBHII")
_Fixed = tuple[int, int, int, int, int]  # first octet, second octet, sequence number, timestamp, SSRC


class DatagramKind(Enum):
    """Which protocol a datagram on a media port belongs to, by its first octets."""

    RTP = "rtp"
    RTCP = "rtcp"
    STUN = "stun"
    DTLS = "dtls"
    UNKNOWN = "unknown"


class Rejection(Enum):
    """Why a datagram is not a valid RTP packet."""

    SHORT = "short"  # ends inside its header
    VERSION = "version"  # not version 2
    EXTENSION = "extension"  # header extension longer than the datagram
    PADDING = "padding"  # padding count 0 or longer than the payload
    EMPTY = "empty"  # no payload left


class InvalidPacketError(PacketError):
    """A datagram that is not a valid RTP packet, and why."""

    def __init__(self, reason: Rejection, message: str) -> None:
        self.reason = reason
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A valid RTP packet without its padding, contributing sources and header extension."""

    payload_type: int
    sequence_number: int
    timestamp: int
    ssrc: int
    marker: bool
    payload: bytes

    def __str__(self) -> str:
        mark = ", marker" if self.marker else ""
        return (
            f"RTP(ssrc={self.ssrc:08x}, seq={self.sequence_number}, ts={self.timestamp}, pt={self.payload_type}, "
            f"{len(self.payload)} bytes{mark})"
        )


def kind_of(datagram: bytes | memoryview) -> DatagramKind:
    """RFC 7983 by the first octet; among RTP and RTCP the second octet decides (RFC 5761 section 4)."""
    if not datagram:
        return DatagramKind.UNKNOWN
    first = datagram[0]
    if 128 <= first <= 191:
        return DatagramKind.RTCP if len(datagram) > 1 and 192 <= datagram[1] <= 223 else DatagramKind.RTP
    if first <= 3:
        return DatagramKind.STUN
    return DatagramKind.DTLS if 20 <= first <= 63 else DatagramKind.UNKNOWN


def parse(datagram: bytes | memoryview) -> Packet:
    """The packet with its own copy of the payload. Raises InvalidPacketError."""
    size = len(datagram)
    fixed = _fixed_header(datagram, size)
    begin = _payload_begin(datagram, fixed[0], size)
    end = size
    if fixed[0] & 0x20:
        padding = datagram[-1]
        if not 1 <= padding <= size - begin:
            raise InvalidPacketError(
                Rejection.PADDING, f"{padding} bytes of padding in {size - begin} bytes of payload"
            )
        end -= padding
    if begin == end:
        raise InvalidPacketError(Rejection.EMPTY, f"no payload behind {begin} bytes of header")
    return _packet(fixed, bytes(datagram[begin:end]))


def parse_header(datagram: bytes | memoryview, *, cut: bool = False) -> Packet:
    """The packet of a sealed datagram, without payload: how much of that is padding nobody knows before it is opened.

    cut: a capture kept the datagram's beginning only; anything behind the 12 octets may be missing. Raises
    InvalidPacketError.
    """
    size = len(datagram)
    fixed = _fixed_header(datagram, size)
    if not cut and _payload_begin(datagram, fixed[0], size) == size:
        raise InvalidPacketError(Rejection.EMPTY, f"no payload behind {size} bytes of header")
    return _packet(fixed, b"")


def _fixed_header(datagram: bytes | memoryview, size: int) -> _Fixed:
    if size < _HEADER.size:
        raise InvalidPacketError(Rejection.SHORT, f"an RTP header has 12 bytes, got {size}")
    fixed: _Fixed = _HEADER.unpack_from(datagram)
    return fixed


def _packet(fixed: _Fixed, payload: bytes) -> Packet:
    _, second, sequence_number, timestamp, ssrc = fixed
    return Packet(
        payload_type=second & 0x7F,
        sequence_number=sequence_number,
        timestamp=timestamp,
        ssrc=ssrc,
        marker=bool(second & 0x80),
        payload=payload,
    )


def _payload_begin(datagram: bytes | memoryview, first: int, size: int) -> int:
    """Behind contributing sources and header extension. Raises InvalidPacketError."""
    if first >> 6 != 2:
        raise InvalidPacketError(Rejection.VERSION, f"RTP is version 2, got {first >> 6}")
    begin = _HEADER.size + 4 * (first & 0x0F)
    if size < begin:
        raise InvalidPacketError(Rejection.SHORT, f"{first & 0x0F} contributing sources need {begin} bytes, got {size}")
    if first & 0x10:
        if size < begin + 4:
            raise InvalidPacketError(Rejection.EXTENSION, f"a header extension begins at byte {begin} of {size}")
        begin += 4 + 4 * int.from_bytes(datagram[begin + 2 : begin + 4])
        if size < begin:
            raise InvalidPacketError(Rejection.EXTENSION, f"the header extension ends at byte {begin} of {size}")
    return begin


def build(packet: Packet) -> bytes:
    """The datagram of `packet`: 12 octets of header, then the payload."""
    second = (packet.marker << 7) | packet.payload_type
    return _HEADER.pack(0x80, second, packet.sequence_number, packet.timestamp, packet.ssrc) + packet.payload
