"""pcap and pcapng to (time, link type, frame): both byte orders, µs and ns, several sections, cut at any byte.

dpkt takes byte order, link type and time resolution from the first section and interface for all that follow; captures
of switches and merged files have several of each.
Source: the pcap and pcapng drafts of the IETF opsawg group.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from livemos.agent.errors import MediaError

_PCAP_MAGIC = {  # octets as they lie in the file: byte order, units a second
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000_000),
    b"\xa1\xb2\x3c\x4d": (">", 1_000_000_000),
}
_SECTION = b"\x0a\x0d\x0d\x0a"
_SECTION_TYPE, _INTERFACE_TYPE, _SIMPLE_TYPE, _PACKET_TYPE = 0x0A0D0D0A, 1, 3, 6
_ORDER_MAGIC = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
_OPTION_RESOLUTION, _OPTION_OFFSET = 9, 14
_LONGEST_BLOCK_BYTES = 16 << 20


class CaptureError(MediaError):
    """A file that is no capture, or whose structure cannot be followed."""


@dataclass(frozen=True, slots=True)
class Frame:
    """nanoseconds since 1970; `data` may be shorter than what was on the wire (`cut`)."""

    nanoseconds: int
    link_type: int
    data: bytes
    cut: bool


@dataclass(slots=True)
class CaptureReader:
    """Iterate for the frames; afterwards `truncated` says whether the file ended inside a record."""

    file: BinaryIO
    truncated: bool = False

    def __iter__(self) -> Iterator[Frame]:
        """Raises CaptureError for a file that is no capture."""
        magic = self.file.read(4)
        if magic in _PCAP_MAGIC:
            order, units = _PCAP_MAGIC[magic]
            yield from self._pcap(order, units)
        elif magic == _SECTION:
            yield from self._pcapng()
        else:
            raise CaptureError("this is neither pcap nor pcapng; write it with tcpdump -w or dumpcap")

    def _take(self, size: int) -> bytes | None:
        """None, and `truncated`, when the file ends first."""
        data = self.file.read(size)
        if len(data) == size:
            return data
        self.truncated = True
        return None

    def _pcap(self, order: str, units: int) -> Iterator[Frame]:
        head = self._take(20)
        if head is None:
            return
        link_type = struct.unpack(order + "HHiIII", head)[5] & 0x0FFF_FFFF
        record = struct.Struct(order + "IIII")
        while first := self.file.read(1):
            rest = self._take(record.size - 1)
            if rest is None:
                return
            seconds, fraction, captured, wire = record.unpack(first + rest)
            if captured > _LONGEST_BLOCK_BYTES:
                raise CaptureError(f"a record of {captured} bytes cannot be; the file is damaged")
            data = self._take(captured)
            if data is None:
                return
            yield Frame(seconds * 10**9 + fraction * (10**9 // units), link_type, data, captured < wire)

    def _pcapng(self) -> Iterator[Frame]:
        order, interfaces = "<", list[_Interface]()
        kind_octets: bytes | None = _SECTION
        while kind_octets:
            kind = struct.unpack(order + "I", kind_octets)[0]
            head = self._take(4)
            if head is None:
                return
            if kind == _SECTION_TYPE:
                magic = self._take(4)
                if magic is None:
                    return
                if magic not in _ORDER_MAGIC:
                    raise CaptureError("a section of the pcapng file names no byte order; the file is damaged")
                order, interfaces = _ORDER_MAGIC[magic], []
            size = struct.unpack(order + "I", head)[0]
            taken = 12 if kind == _SECTION_TYPE else 8
            if size < 12 or size % 4 or size > _LONGEST_BLOCK_BYTES:
                raise CaptureError(f"a block of {size} bytes cannot be; the file is damaged")
            body = self._take(size - taken)
            if body is None:
                return
            if kind == _INTERFACE_TYPE:
                interfaces.append(_interface(body[:-4], order))
            elif kind in (_PACKET_TYPE, _SIMPLE_TYPE):
                frame = _frame(kind, body[:-4], order, interfaces)
                if frame is not None:
                    yield frame
            kind_octets = self.file.read(4)
            if kind_octets and len(kind_octets) < 4:
                self.truncated = True
                return


@dataclass(frozen=True, slots=True)
class _Interface:
    link_type: int
    units: int  # a second
    offset_seconds: int
    snap_bytes: int


def _interface(body: bytes, order: str) -> _Interface:
    if len(body) < 8:
        raise CaptureError("an interface description ends early; the file is damaged")
    link_type, _, snap_bytes = struct.unpack_from(order + "HHI", body)
    units, offset_seconds, position = 1_000_000, 0, 8
    while position + 4 <= len(body):
        code, size = struct.unpack_from(order + "HH", body, position)
        value = body[position + 4 : position + 4 + size]
        if code == _OPTION_RESOLUTION and len(value) == 1:
            exponent = value[0] & 0x7F
            units = 2**exponent if value[0] & 0x80 else 10 ** min(exponent, 18)
        elif code == _OPTION_OFFSET and len(value) == 8:
            offset_seconds = struct.unpack(order + "q", value)[0]
        elif code == 0:
            break
        position += 4 + (size + 3 & ~3)
    return _Interface(link_type, units, offset_seconds, snap_bytes)


def _frame(kind: int, body: bytes, order: str, interfaces: list[_Interface]) -> Frame | None:
    if kind == _SIMPLE_TYPE:  # without a time it cannot be replayed
        return None
    if len(body) < 20:
        raise CaptureError("a packet block ends early; the file is damaged")
    number, high, low, captured, wire = struct.unpack_from(order + "IIIII", body)
    if number >= len(interfaces):
        raise CaptureError(f"a packet names interface {number}, and the section has {len(interfaces)}")
    interface = interfaces[number]
    nanoseconds = (high << 32 | low) * 10**9 // interface.units + interface.offset_seconds * 10**9
    return Frame(nanoseconds, interface.link_type, body[20 : 20 + captured], captured < wire)
