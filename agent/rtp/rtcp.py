"""RTCP on or beside a media port: checked as a whole before a number of it is believed (RFC 3550 section 6.4, A.2).

What a remote side reports is shown apart and never enters a score: its figures may be absurd, or not RTCP at all.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from livemos.agent.errors import PacketError

SENDER_REPORT, RECEIVER_REPORT, EXTENDED_REPORT = 200, 201, 207
_VOIP_METRICS = 7  # block type, RFC 3611 section 4.7
_UNKNOWN = 127  # of its scores


class RtcpError(PacketError):
    """Octets that are no compound RTCP packet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderReport:
    """ntp_seconds: since 1900, 32.32 bits read as a float pair to keep the fraction."""

    ssrc: int
    ntp_seconds: int
    ntp_fraction: float
    rtp_timestamp: int
    packets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteReport:
    """What the far receiver `reporter` says of the stream `ssrc`; jitter in ticks of its clock."""

    reporter: int
    ssrc: int
    fraction_lost_ratio: float
    cumulative_lost: int
    jitter_ticks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteVoipMetrics:
    """Remote R factor and MOS (RFC 3611 section 4.7); None where the far side says it does not know."""

    ssrc: int
    r_factor: int | None
    mos_lq: float | None
    mos_cq: float | None


RtcpReport = SenderReport | RemoteReport | RemoteVoipMetrics


def parse_compound(datagram: bytes | memoryview) -> list[RtcpReport]:
    """Reports of a compound packet, in order. Raises RtcpError when A.2's checks fail."""
    data = bytes(datagram)
    reports: list[RtcpReport] = []
    position = 0
    while position < len(data):
        if len(data) - position < 4:
            raise RtcpError(f"{len(data) - position} bytes are left over behind the last RTCP packet")
        first, kind, words = struct.unpack_from("!BBH", data, position)
        if first >> 6 != 2:
            raise RtcpError(f"RTCP is version 2, got {first >> 6} at byte {position}")
        if position == 0 and (kind not in (SENDER_REPORT, RECEIVER_REPORT) or first & 0x20):
            raise RtcpError(f"a compound begins with an unpadded SR or RR, not with type {kind}")
        end = position + 4 * (words + 1)
        if end > len(data):
            raise RtcpError(f"an RTCP packet of type {kind} ends at byte {end} of {len(data)}")
        reports += _reports(kind, first & 0x1F, data[position:end])
        position = end
    if not reports and not data:
        raise RtcpError("no bytes")
    return reports


def _reports(kind: int, count: int, packet: bytes) -> list[RtcpReport]:
    if kind == SENDER_REPORT:
        if len(packet) < 28:
            raise RtcpError(f"a sender report has 28 bytes, got {len(packet)}")
        ssrc, seconds, fraction, timestamp, packets = struct.unpack_from("!IIIII", packet, 4)
        sender = SenderReport(
            ssrc=ssrc,
            ntp_seconds=seconds,
            ntp_fraction=fraction / 2**32,
            rtp_timestamp=timestamp,
            packets=packets,
        )
        return [sender, *_blocks(ssrc, count, packet, 28)]
    if kind == RECEIVER_REPORT:
        if len(packet) < 8:
            raise RtcpError(f"a receiver report has 8 bytes, got {len(packet)}")
        return _blocks(int.from_bytes(packet[4:8]), count, packet, 8)
    return _extended(packet) if kind == EXTENDED_REPORT else []


def _blocks(reporter: int, count: int, packet: bytes, begin: int) -> list[RtcpReport]:
    if begin + 24 * count > len(packet):
        raise RtcpError(f"{count} report blocks need {begin + 24 * count} bytes, got {len(packet)}")
    reports: list[RtcpReport] = []
    for position in range(begin, begin + 24 * count, 24):
        ssrc, loss, _, jitter = struct.unpack_from("!IIII", packet, position)
        cumulative = ((loss & 0xFFFFFF) ^ 0x800000) - 0x800000  # signed 24 bits
        reports.append(
            RemoteReport(
                reporter=reporter,
                ssrc=ssrc,
                fraction_lost_ratio=(loss >> 24) / 256,
                cumulative_lost=cumulative,
                jitter_ticks=jitter,
            )
        )
    return reports


def _extended(packet: bytes) -> list[RtcpReport]:
    reports: list[RtcpReport] = []
    position = 8
    while position + 4 <= len(packet):
        kind, words = packet[position], int.from_bytes(packet[position + 2 : position + 4])
        end = position + 4 * (words + 1)
        if end > len(packet):
            raise RtcpError(f"an XR block of type {kind} ends at byte {end} of {len(packet)}")
        if kind == _VOIP_METRICS and words == 8:
            r_factor, mos_lq, mos_cq = packet[position + 24], packet[position + 26], packet[position + 27]
            reports.append(
                RemoteVoipMetrics(
                    ssrc=int.from_bytes(packet[position + 4 : position + 8]),
                    r_factor=None if r_factor == _UNKNOWN else r_factor,
                    mos_lq=None if mos_lq == _UNKNOWN else mos_lq / 10,
                    mos_cq=None if mos_cq == _UNKNOWN else mos_cq / 10,
                )
            )
        position = end
    return reports
