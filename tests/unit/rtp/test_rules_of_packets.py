"""Rules 1 to 9 of RTP done right: packets, sequences and sources, with the traffic they were written for.

Expected values come from the RFC or from arithmetic in the test, never from what the program printed.
"""

from __future__ import annotations

import struct

import pytest
from rtp_traffic import Listener, Port, events, pcmu

from livemos.agent.errors import SdpError
from livemos.agent.records import EventKind
from livemos.agent.rtp.admission import Caps
from livemos.agent.rtp.packet import build
from livemos.agent.rtp.sdp import parse_sdp

HEADER = build(pcmu(1))[:12]


def test_rule_01_a_header_that_cannot_be_is_refused_with_its_reason() -> None:
    """Four malformed datagrams are four counters; the stream beside them does not notice."""
    port = Port()
    for number in range(4):
        port.send(pcmu(number))
    before = port.only().statistics
    for bad in (
        HEADER[:11],
        bytes([0xA0]) + HEADER[1:] + b"abc\x00",
        bytes([0x90]) + HEADER[1:] + b"\xbe\xde\xff\xff" + bytes(184),
        b"\x00"[:0] + b"\x80",
    ):
        port.send_bytes(bad)
    assert {key: port.counts[f"invalid_{key}_packets"] for key in ("short", "padding", "extension")} == {
        "short": 2,
        "padding": 1,
        "extension": 1,
    }
    assert port.only().statistics == before
    port.send(pcmu(1, ssrc=0), pcmu(2, ssrc=0), pcmu(4), pcmu(3, ssrc=0), pcmu(5))
    assert len(port.streams) == 2


def test_rule_02_rtcp_dtls_and_stun_on_the_port_are_told_apart_and_rtcp_is_checked() -> None:
    """RTCP as media is noise; media as RTCP is nonsense in the statistics."""
    port = Port()
    report = struct.pack("!BBHIIIIII", 0x80, 200, 6, 7, 0xE0000000, 0x80000000, 160, 10, 1600)
    broken = report + struct.pack("!BBHI", 0x81, 202, 60, 7)
    for datagram in (report, b"\x80\x60" + build(pcmu(1))[2:], b"\x16\xfe\xfd", b"\x00\x01", broken):
        port.send_bytes(datagram)
    counts = port.counts
    assert (counts["rtcp_packets"], counts["invalid_rtcp_packets"]) == (2, 1)
    assert (counts["dtls_packets"], counts["stun_packets"]) == (1, 1)
    assert port.receiver.senders == 1
    mux = "v=0\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 72\na=rtpmap:72 PCMU/8000\na=rtcp-mux\n"
    with pytest.raises(SdpError, match="payload type 72 is RTCP"):
        parse_sdp(mux)


def test_rule_03_two_in_sequence_prove_a_stream_and_count_from_the_first() -> None:
    """1, 12, 13, 14: base 12. 500 strays of 500 SSRCs: no stream, all counted."""
    listener = Listener()
    listener.hear(pcmu(number) for number in (1, 12, 13, 14))
    media = listener.session.statistics()
    assert (media.expected_packets, media.lost_packets, media.stray_packets) == (3, 0, 1)
    assert listener.seconds() == 0.06
    port = Port(caps=Caps(new_ssrcs_per_second=1_000))
    for ssrc in range(1, 501):
        port.send_bytes(build(pcmu(7, ssrc=ssrc)), every=0.0)
    port.wait(3.0)
    assert port.streams == []
    assert port.counts["probation_dropped_packets"] == 500
    assert port.receiver.senders == 0


def test_rule_04_the_sequence_wraps_reorders_and_restarts() -> None:
    """One cycle, one reordered packet; a restart is believed only when the next packet follows it."""
    listener = Listener()
    listener.hear(pcmu(number) for number in (65533, 65535, 65536, 65537, 65534, 65538))
    media = listener.session.statistics()
    assert (media.expected_packets, media.received_packets, media.lost_packets) == (6, 6, 0)
    assert (media.reordered_packets, listener.session.cycles) == (1, 1)
    restart = Listener()
    restart.hear(pcmu(number) for number in (999, 1000, 40000, 40001))
    assert restart.events() == [EventKind.SEQUENCE_RESTART]
    assert restart.session.statistics().lost_packets == 0
    stray = Listener()
    stray.hear(pcmu(number) for number in (999, 1000, 40000, 1001))
    assert (stray.events(), stray.session.statistics().stray_packets) == ([], 1)


def test_rule_05_loss_late_duplicate_and_discarded_are_four_numbers() -> None:
    """5, 10, 6 to 9: nothing lost. 7 of 100 lost and 3 twice: RTCP would say 4. A clean minute reads 0."""
    shuffled = Listener()
    shuffled.hear(pcmu(number) for number in (5, 10, 6, 7, 8, 9))
    media = shuffled.end().session.statistics()
    assert (media.lost_packets, media.reordered_packets) == (0, 4)
    lost = {3, 11, 12, 40, 41, 42, 90}
    sent = [number for number in range(100) if number not in lost for _ in range(1 + (number in (5, 50, 99)))]
    listener = Listener()
    listener.hear((pcmu(number) for number in sent), every=0.019)
    media = listener.end().session.statistics()
    assert (media.received_packets, media.lost_packets, media.duplicate_packets) == (93, 7, 3)
    assert listener.session.cumulative_lost == 4
    assert listener.session.interval().lost_packets == 7
    listener.hear((pcmu(number) for number in range(100, 150)), start=2.0)
    after = listener.session.interval()
    assert (after.expected_packets, after.lost_packets, after.lost_ratio) == (50, 0, 0.0)
    late = Listener()
    late.hear(pcmu(number) for number in (1, 2, 3, 5, 6))
    late.hear([pcmu(4)], start=0.5)
    media = late.session.statistics()
    assert (media.late_packets, media.discarded_packets, media.lost_packets) == (1, 1, 0)


@pytest.mark.parametrize("offset", [0.0, (2**63 - 10**9) / 1e9], ids=["now", "after 292 years"])
def test_rule_06_jitter_is_a8_by_hand(offset: float) -> None:
    """Arrivals 0, 20, 50, 60 ms: D = 0, 80, 80 ticks gives 0, 5, 9.6875 ticks of 1/8000 s, also across a wrap."""
    for base in (0, 2**32 - 320):
        listener = Listener()
        for number, arrival in enumerate((0.0, 0.02, 0.05, 0.06)):
            listener.session.push(pcmu(number, base + 160 * number), offset + arrival)
        media = listener.session.statistics()
        # a float of 292 years has steps of 2 µs
        assert media.jitter_seconds == pytest.approx(9.6875 / 8_000, abs=1e-9 if not offset else 2e-6)
        assert media.rfc_jitter_seconds == pytest.approx(media.jitter_seconds)


def test_rule_06_jitter_leaves_out_events_and_the_first_packet_of_a_talk_spurt() -> None:
    """The unfiltered value keeps them, because RTCP of other programs does."""
    listener = Listener()
    now = listener.hear(pcmu(number) for number in range(5))
    spurt = [pcmu(number, 160 * number, marker=number == 5) for number in range(5, 10)]
    listener.hear(spurt, start=now + 0.5)
    media = listener.session.statistics()
    assert media.jitter_seconds == pytest.approx(0, abs=1e-9)
    # D = 4000 ticks once, then four times 15/16 of it
    assert media.rfc_jitter_seconds == pytest.approx(4_000 / 16 * (15 / 16) ** 4 / 8_000)


def test_rule_06_a_marker_on_every_packet_hides_no_jitter() -> None:
    """aiortc marks all of its packets: read as a talk spurt each, they would have no jitter at all."""
    listener = Listener()
    for number, arrival in enumerate((0.0, 0.02, 0.05, 0.06)):
        listener.session.push(pcmu(number, 160 * number, marker=True), arrival)
    media = listener.session.statistics()
    assert media.jitter_seconds == pytest.approx(9.6875 / 8_000, abs=1e-9)
    assert media.jitter_seconds == media.rfc_jitter_seconds


@pytest.mark.parametrize(
    ("advance", "gap", "seconds", "kinds"),
    [
        (8_000, 1.0, 0.08 + 0.98, []),
        (8_000, 0.02, 0.08, [EventKind.TIMESTAMP_JUMP]),
        (-48_000, 0.02, 0.08, [EventKind.TIMESTAMP_BACKWARD]),
        (8_000 * 3_600, 3_600.0, 0.08 + 2.0, []),
    ],
    ids=["pause", "jump", "backward", "an hour on hold"],
)
def test_rule_07_a_step_of_the_timestamp_is_a_pause_only_if_time_passed(
    advance: int, gap: float, seconds: float, kinds: list[EventKind]
) -> None:
    """Explained by the arrivals it is silence, at most 2 s of it; unexplained it is an event and no silence."""
    listener = Listener()
    listener.hear([pcmu(9), pcmu(10)])
    listener.hear([pcmu(11, 1_600 + advance), pcmu(12, 1_760 + advance)], start=0.02 + gap)
    assert listener.seconds() == pytest.approx(seconds)
    assert listener.events() == kinds
    assert listener.session.statistics().lost_packets == 0


def test_rule_08_another_ssrc_is_a_new_generation_of_the_same_stream() -> None:
    """Ring tone, answer, a stray, transfer: nothing was lost on the wire, so nothing is reported lost."""
    port = Port()
    for number in range(773, 3_334):
        ssrc = 0xA if number < 785 else 0xB if number < 1_521 else 0xC if number == 1_521 else 0xD
        port.send(pcmu(number, ssrc=ssrc))
    port.wait(0.2)
    stream = port.only()
    assert stream.source_id == "desk/0000000a"
    assert events(stream.events, EventKind.SSRC_CHANGED) == [EventKind.SSRC_CHANGED] * 2
    assert stream.statistics.lost_packets == 0
    assert stream.statistics.received_packets == 3_333 - 773 + 1 - 1
    assert stream.seconds == pytest.approx(0.02 * 2_560)
    port.wait(3.0)
    assert port.counts["probation_dropped_packets"] == 1


def test_rule_08_two_ssrcs_that_speak_at_once_are_two_streams() -> None:
    """A bridge sends all its calls from one port; merging two calls would score neither."""
    port = Port()
    for number in range(20):
        port.send(pcmu(number, ssrc=1), every=0.01)
        port.send(pcmu(5_000 + number, ssrc=2), every=0.01)
    assert sorted(stream.source_id for stream in port.streams) == ["desk/00000001", "desk/00000002"]
    assert [stream.seconds for stream in port.streams] == pytest.approx([0.4, 0.4])


def test_rule_08_two_ssrcs_that_begin_in_one_instant_are_two_streams() -> None:
    """Datagrams that are read together may bear one time: then neither of two calls is known to be the later one."""
    port = Port()
    for number in range(2):
        port.send(pcmu(number, ssrc=1), pcmu(5_000 + number, ssrc=2), every=0.0)
    port.wait(0.5)
    port.send(pcmu(5_002, ssrc=2), pcmu(5_003, ssrc=2))
    assert sorted(stream.source_id for stream in port.streams) == ["desk/00000001", "desk/00000002"]


def burst(port: Port, ssrc: int, first: int, packets: int) -> None:
    """Packets all at once, as a sender brings them that wakes seldom."""
    port.send(*(pcmu(number, ssrc=ssrc) for number in range(first, first + packets)), every=0.0)


@pytest.mark.parametrize("packets", [5, 13, 40])
def test_rule_08_calls_of_one_address_that_come_in_bursts_are_streams_of_their_own(packets: int) -> None:
    """Between its bursts a call is as silent as one that has ended: its media's time says that it has not."""
    port = Port()
    for number in range(0, 400, packets):
        burst(port, 1, number, packets)
        port.wait(0.4 * 0.02 * packets)
        burst(port, 2, 9_000 + number, packets)
        port.wait(0.6 * 0.02 * packets)
    assert [stream.source_id for stream in port.streams] == ["desk/00000001", "desk/00000002"]
    assert port.counts["ssrc_changes"] == 0
    assert [stream.seconds for stream in port.streams] == pytest.approx([8.0 + 0.02 * (-400 % packets)] * 2, abs=0.03)


def test_rule_08_a_sender_of_bursts_may_change_its_ssrc() -> None:
    """What waits for a burst that does not come is heard whole, a little later."""
    port = Port()
    for ssrc in (1, 2):
        for number in range(0, 130, 13):
            burst(port, ssrc, 5_000 * ssrc + number, 13)
            port.wait(0.26)
    stream = port.only()
    assert events(stream.events, EventKind.SSRC_CHANGED) == [EventKind.SSRC_CHANGED]
    assert (stream.statistics.received_packets, stream.statistics.lost_packets) == (260, 0)
    assert stream.seconds == pytest.approx(5.2)


def test_rule_09_one_ssrc_from_two_addresses_is_a_collision_and_never_merged() -> None:
    """The established sender keeps its stream; the other's packets are counted."""
    port = Port()
    port.send(pcmu(98, ssrc=7), pcmu(99, ssrc=7))
    for number in range(100, 120):
        port.send(pcmu(number, ssrc=7), every=0.01)
        port.send(pcmu(8_900 + number, ssrc=7), every=0.01, peer=("192.0.2.2", 4_000))
    stream = port.only()
    assert stream.statistics.lost_packets == 0
    assert stream.statistics.received_packets == 22
    assert port.counts["ssrc_collision_packets"] == 20
    assert events(stream.events, EventKind.SSRC_COLLISION) == [EventKind.SSRC_COLLISION]
