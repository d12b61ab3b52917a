"""RTP under any traffic: no exception but ours, no sample too many or too few, counters that agree."""

from __future__ import annotations

import contextlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from livemos.agent.rtp.packet import InvalidPacketError, Packet, build, kind_of, parse
from livemos.agent.rtp.payload_map import PayloadMap
from livemos.agent.rtp.session import RtpSession
from livemos.agent.rtp.wraparound import difference16, difference32, extend16

PACKETS = st.builds(
    Packet,
    payload_type=st.integers(0, 127),
    sequence_number=st.integers(0, 2**16 - 1),
    timestamp=st.integers(0, 2**32 - 1),
    ssrc=st.integers(0, 2**32 - 1),
    marker=st.booleans(),
    payload=st.binary(min_size=1, max_size=200),
)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_packet_or_one_clear_refusal(datagram: bytes) -> None:
    """The port is open to everyone."""
    kind_of(datagram)
    with contextlib.suppress(InvalidPacketError):
        packet = parse(datagram)
        assert 0 < len(packet.payload) <= len(datagram) - 12
        assert packet.payload in datagram


@given(PACKETS, st.integers(0, 15), st.integers(0, 3), st.integers(0, 8))
def test_a_packet_is_read_back_through_every_header_form(
    packet: Packet, sources: int, extension_words: int, padding: int
) -> None:
    """Mixers add contributing sources, conferences extensions, ciphers padding: the payload stays the same."""
    plain = build(packet)
    first = 0x80 | sources | (0x10 if extension_words else 0) | (0x20 if padding else 0)
    extension = b"\xbe\xde" + extension_words.to_bytes(2) + bytes(4 * extension_words) if extension_words else b""
    tail = bytes(padding - 1) + bytes([padding]) if padding else b""
    datagram = bytes([first]) + plain[1:12] + bytes(4 * sources) + extension + plain[12:] + tail
    assert parse(memoryview(datagram)) == packet


@given(st.integers(0, 2**40), st.integers(-(2**15), 2**15 - 1))
def test_serial_numbers_survive_every_wrap(number: int, step: int) -> None:
    """Off-by-one at a wrap appears after 22 minutes of a call, or after 25 hours."""
    assert difference16((number + step) % 2**16, number % 2**16) == step
    assert difference32((number + step) % 2**32, number % 2**32) == step
    assert extend16((number + step) % 2**16, number) == number + step


@st.composite
def traffic(draw: st.DrawFn) -> tuple[int, int, int, list[tuple[int, int]]]:
    """(first sequence number, first timestamp, packets sent, [(arrival slot, packet index)] in order of arrival).

    The first two arrive in order and the last arrives, so that the span of the media is known.
    """
    sent = draw(st.integers(4, 90))
    middle = range(2, sent - 1)
    kept = draw(st.lists(st.sampled_from(middle), unique=True)) if middle else []
    twice = draw(st.lists(st.sampled_from(kept), max_size=10)) if kept else []
    delays = draw(st.lists(st.integers(0, 20), min_size=len(kept) + len(twice), max_size=len(kept) + len(twice)))
    arrivals = [(index + delay, index) for index, delay in zip([*kept, *twice], delays, strict=True)]
    arrivals = [(0, 0), (1, 1), *arrivals, (sent - 1, sent - 1)]
    arrivals.sort(key=lambda pair: pair[0])
    first_number, first_timestamp = draw(st.integers(0, 2**16 - 1)), draw(st.integers(0, 2**32 - 1))
    return first_number, first_timestamp, sent, arrivals


@settings(max_examples=150, deadline=None)
@given(traffic())
def test_the_audio_is_as_long_as_the_media_whatever_the_network_did(
    run: tuple[int, int, int, list[tuple[int, int]]],
) -> None:
    """Any order, loss and duplication: the address of a sample stays its time, and nothing is counted twice."""
    first_number, first_timestamp, sent, arrivals = run
    session = RtpSession(payload_map=PayloadMap())
    blocks = []
    for slot, index in arrivals:
        packet = Packet(
            payload_type=0,
            sequence_number=(first_number + index) % 2**16,
            timestamp=(first_timestamp + 160 * index) % 2**32,
            ssrc=1,
            marker=False,
            payload=bytes([index]) * 160,
        )
        blocks += session.push(packet, 0.02 * slot)
    blocks += session.tick(1e9)
    media = session.statistics()
    different = len({index for _, index in arrivals})
    assert sum(len(block.samples) for block in blocks) == 160 * sent
    assert media.expected_packets == sent
    assert media.received_packets == different
    assert media.lost_packets == sent - different
    assert media.duplicate_packets == len(arrivals) - different
    assert media.late_packets is not None
    concealed = sum(len(block.samples) for block in blocks if block.concealed)
    assert concealed == 160 * (sent - different + media.late_packets)
    assert session.take_events() == []
    ready = [block.ready_monotonic_seconds for block in blocks]
    assert ready == sorted(ready)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(PACKETS, st.floats(0, 1)), max_size=40))
def test_no_sequence_of_valid_packets_breaks_a_session(arrivals: list[tuple[Packet, float]]) -> None:
    """A sender may be wrong in every field at once; the worst allowed is an event and concealed audio."""
    session = RtpSession(payload_map=PayloadMap({96: "opus/48000/2", 97: "L16/48000/2", 101: "telephone-event/8000"}))
    now = 0.0
    for packet, pause in arrivals:
        now += pause
        for block in session.push(packet, now):
            assert block.samples.ndim == 1
            assert np.isfinite(block.samples).all()
            assert len(block.samples) <= 2 * block.sample_rate_hz
    session.tick(now + 1)
    media = session.statistics()
    assert media.expected_packets is not None
    assert media.received_packets is not None
    assert media.lost_packets == max(0, media.expected_packets - media.received_packets)
