"""Header validation, rule by rule (RFC 3550 section 5.1 and A.1, RFC 7983, RFC 5761)."""

from __future__ import annotations

import pytest

from livemos.agent.errors import PacketError
from livemos.agent.rtp.packet import (
    DatagramKind,
    InvalidPacketError,
    Packet,
    Rejection,
    build,
    kind_of,
    parse,
    parse_header,
)

HEADER = bytes.fromhex("80 60 12 34 00 00 00 a0 de ad be ef")


def test_a_plain_packet_gives_its_fields() -> None:
    """Every count and every sample depends on these six."""
    packet = parse(bytes([0x80, 0xE0]) + HEADER[2:] + b"payload")
    assert packet == Packet(
        payload_type=96, sequence_number=0x1234, timestamp=160, ssrc=0xDEADBEEF, marker=True, payload=b"payload"
    )
    assert parse(build(packet)) == packet
    assert str(packet) == "RTP(ssrc=deadbeef, seq=4660, ts=160, pt=96, 7 bytes, marker)"


def test_contributing_sources_extension_and_padding_are_cut_off() -> None:
    """A mixer's list, or an audio level extension, decoded as audio is a click in every packet."""
    first = bytes([0x80 | 0x20 | 0x10 | 2])
    datagram = first + HEADER[1:] + bytes(8) + bytes.fromhex("be de 00 01 10 2a 00 00") + b"abc" + bytes([0, 2])
    assert parse(datagram).payload == b"abc"


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (HEADER[:11], Rejection.SHORT),
        (bytes([0x8F]) + HEADER[1:] + bytes(59), Rejection.SHORT),
        (bytes([0x40]) + HEADER[1:] + b"x", Rejection.VERSION),
        (bytes([0x90]) + HEADER[1:] + bytes(2), Rejection.EXTENSION),
        (bytes([0x90]) + HEADER[1:] + b"\xbe\xde\xff\xff" + bytes(184), Rejection.EXTENSION),
        (bytes([0xA0]) + HEADER[1:] + b"abc\x00", Rejection.PADDING),
        (bytes([0xA0]) + HEADER[1:] + b"abc\x05", Rejection.PADDING),
        (HEADER, Rejection.EMPTY),
        (bytes([0xA0]) + HEADER[1:] + b"\x00\x02", Rejection.EMPTY),
    ],
)
def test_a_malformed_datagram_is_refused_with_its_reason(datagram: bytes, reason: Rejection) -> None:
    """Each reason is a counter: a hold filler, a wrong port and an attack look different."""
    with pytest.raises(InvalidPacketError) as refused:
        parse(datagram)
    assert refused.value.reason is reason
    assert isinstance(refused.value, PacketError)


def test_the_header_of_a_sealed_packet_is_checked_and_its_padding_is_not() -> None:
    """What lies behind the header is sealed; contributing sources and extension are not."""
    sealed = bytes([0xB1]) + HEADER[1:] + bytes(4) + bytes.fromhex("be de 00 01 10 2a 00 00") + b"abc\xff"
    header = parse_header(sealed)
    assert (header.sequence_number, header.timestamp, header.ssrc) == (0x1234, 160, 0xDEADBEEF)
    assert (header.payload_type, header.payload) == (96, b"")
    for datagram, reason in (
        (HEADER[:11], Rejection.SHORT),
        (HEADER, Rejection.EMPTY),
        (b"\x40" + HEADER[1:] + b"x", Rejection.VERSION),
        (sealed[:20], Rejection.EXTENSION),
    ):
        with pytest.raises(InvalidPacketError) as refused:
            parse_header(datagram)
        assert refused.value.reason is reason


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        ("80 c8", DatagramKind.RTCP),
        ("81 cd", DatagramKind.RTCP),
        ("80 60", DatagramKind.RTP),
        ("80 e0", DatagramKind.RTP),  # payload type 96 with the marker: 224 is beyond RTCP
        ("16 fe fd", DatagramKind.DTLS),
        ("00 01", DatagramKind.STUN),
        ("47 45 54", DatagramKind.UNKNOWN),
        ("", DatagramKind.UNKNOWN),
    ],
)
def test_what_shares_the_port_is_told_apart(start: str, kind: DatagramKind) -> None:
    """RTCP read as media is a burst of noise every five seconds."""
    assert kind_of(bytes.fromhex(start)) is kind
