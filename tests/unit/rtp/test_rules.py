"""The 25 rules of RTP done right: each test is one rule, with the traffic and the numbers it was written down with.

Expected values come from the RFC or from arithmetic in the test, never from what the program printed.
"""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import dpkt
import numpy as np
import pytest
from material import CLIPS, load
from rtp_traffic import CaptureWriter, Listener, Port, opus_packets, pcmu

from livemos.agent.capture_scorer import CaptureScorer
from livemos.agent.clock import SystemClock
from livemos.agent.codecs import make_encoder
from livemos.agent.codecs.opus import has_redundancy, packet_samples_48k
from livemos.agent.errors import CodecError, SdpError, SourceError
from livemos.agent.reasons import Reason
from livemos.agent.records import EventKind, Mark, StreamState
from livemos.agent.rtp.addresses import AddressPolicy, transport
from livemos.agent.rtp.admission import Caps
from livemos.agent.rtp.capture_file import CaptureReader
from livemos.agent.rtp.clock_drift import ClockDrift
from livemos.agent.rtp.decapsulate import LINK_ETHERNET, Decapsulator
from livemos.agent.rtp.packet import build, parse
from livemos.agent.rtp.redundancy import parse_blocks
from livemos.agent.rtp.rtcp import RemoteReport, SenderReport, parse_compound
from livemos.agent.rtp.sdp import parse_sdp
from livemos.agent.rtp.seal import SUITES, SealError, SrtpKey, Unsealer
from livemos.agent.rtp.wall_clock import NTP_TO_UNIX_SECONDS, WallClock
from livemos.agent.sources.rtp import RtpSource

HEADER = build(pcmu(1))[:12]


def events(pairs: Iterable[tuple[EventKind, str]], *kinds: EventKind) -> list[EventKind]:
    """The kinds among `pairs` that are asked for, in order."""
    return [kind for kind, _ in pairs if kind in kinds]


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


def test_rule_10_only_what_is_described_is_decoded() -> None:
    """111 without a map: the network is measured, the signal is not guessed at."""
    port = Port()
    port.send(*(pcmu(number, payload_type=111) for number in range(10) if number != 5))
    port.wait(0.1)
    stream = port.only()
    assert stream.states[-1] == (StreamState.UNDESCRIBED, Reason.UNSUPPORTED_CODEC)
    assert (stream.seconds, stream.statistics.received_packets, stream.statistics.lost_packets) == (0, 9, 1)
    assert (stream.statistics.network_mos, stream.statistics.jitter_seconds) == (None, None)


def test_rule_11_g722_counts_8000_ticks_for_16000_samples() -> None:
    """50 packets of 160 bytes are one second of 16 kHz audio, also when the sender counts 320."""
    payload = make_encoder("G722/8000").encode(np.zeros(320, np.float32))
    right = Listener()
    right.hear(pcmu(number, payload_type=9, payload=payload) for number in range(50))
    assert sum(len(block.samples) for block in right.blocks) == 16_000
    assert right.events() == []
    wrong = Listener()
    wrong.hear(pcmu(number, 320 * number, payload_type=9, payload=payload) for number in range(100))
    assert sum(len(block.samples) for block in wrong.blocks) == 32_000
    (event,) = wrong.session.take_events()
    assert event.kind is EventKind.CLOCK_RATE_MISMATCH
    assert "16000 Hz" in event.detail
    assert wrong.session.statistics().lost_packets == 0


def test_rule_12_the_toc_says_how_long_an_opus_packet_is() -> None:
    """2.5 to 120 ms by configuration and frame count; the clock is 48000 whatever the sender thinks."""
    assert packet_samples_48k(bytes([0x78])) == 960
    assert packet_samples_48k(bytes([0x7B, 6]) + bytes(6)) == 5_760
    with pytest.raises(CodecError):
        packet_samples_48k(bytes([0x7B, 7]) + bytes(7))
    listener = Listener({111: "opus/48000/2"})
    listener.hear(opus_packets(100, advance=480))
    (event,) = listener.session.take_events()
    assert event.kind is EventKind.CLOCK_RATE_MISMATCH
    assert "24000 Hz" in event.detail
    assert listener.seconds() == 2.0


@pytest.mark.parametrize("milliseconds", [2.5, 5, 10, 20, 40, 60])
def test_rule_12_every_frame_length_is_played_at_its_length(milliseconds: float) -> None:
    """From the low-delay bridge to the satellite link."""
    listener = Listener({111: "opus/48000/2"})
    packets = opus_packets(24, milliseconds=milliseconds)
    listener.hear(packets, every=milliseconds / 1_000)
    assert listener.seconds() == pytest.approx(24 * milliseconds / 1_000)
    assert listener.events() == []


def test_rule_13_a_dtx_pause_is_silence_and_no_loss() -> None:
    """50 packets, a second with two refreshes, 50 packets: the sequence has no gap."""
    listener = Listener({111: "opus/48000/2"})
    packets = opus_packets(102)
    refresh = bytes([packets[0].payload[0]])  # the TOC alone
    now = listener.hear(packets[:50])
    for index, at in ((50, 0.4), (51, 0.8)):
        packet = pcmu(index, 48_000 + round(48_000 * at), payload_type=111, payload=refresh)
        listener.hear([packet], start=now + at)
        assert listener.session.quiet
    late = [
        pcmu(index, 96_000 + 960 * (index - 52), payload_type=111, payload=packets[index].payload)
        for index in range(52, 102)
    ]
    listener.hear(late, start=now + 1.0)
    media = listener.session.statistics()
    assert (media.lost_packets, listener.seconds(concealed=True)) == (0, 0)
    assert listener.seconds() == pytest.approx(3.0, abs=0.001)
    assert listener.silent_seconds() >= 0.9
    assert media.jitter_seconds == pytest.approx(0, abs=1e-6)
    assert listener.events() == []


def test_rule_13_what_fec_brings_back_is_lost_but_not_concealed() -> None:
    """Seq 5 missing, seq 6 carries it again; a packet without redundancy brings nothing back."""
    for fec in (True, False):
        listener = Listener({111: "opus/48000/2"})
        packets = opus_packets(40, fec=fec)
        listener.hear(packet for packet in packets if packet.sequence_number != 25)
        listener.end()
        media = listener.session.statistics()
        assert (media.lost_packets, media.recovered_packets) == (1, int(fec))
        assert listener.seconds(concealed=True) == (0 if fec else 0.02)
        assert listener.seconds() == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("payload", "carries"),
    [
        (bytes([9 << 3, 0b1100_0000]), True),  # 20 ms of SILK: activity, redundancy
        (bytes([9 << 3, 0b1010_0000]), False),
        (bytes([11 << 3, 0b0001_0000]), True),  # 60 ms: three activity bits before it
        (bytes([11 << 3, 0b1110_1111]), False),
        (bytes([9 << 3 | 4, 0b0001_0000]), True),  # stereo: the side channel's own two bits
        (bytes([9 << 3 | 3, 0b1100_0010, 1, 1, 9, 0b0100_0000]), False),  # padding and a length before the frame
        (bytes([9 << 3 | 3, 0b1100_0010, 1, 1, 0b0100_0000, 9]), True),
        (bytes([31 << 3, 0xFF]), False),  # CELT has none
        (bytes([9 << 3]), False),
    ],
)
def test_rule_13_the_redundancy_flag_is_found_behind_every_framing(payload: bytes, carries: bool) -> None:
    """RFC 6716 section 4.2.3: the bit behind the activity bits of the first frame; a wrong bit conceals for nothing."""
    assert has_redundancy(payload) is carries


def test_rule_14_l16_is_big_endian_and_even() -> None:
    """640 bytes at 16 kHz are 20 ms; 641 are none, and are concealed."""
    ramp = np.arange(320, dtype=np.int16) * 100
    listener = Listener({96: "L16/16000/1"})
    payloads = [ramp.astype(">i2").tobytes()] * 3 + [bytes(641)]
    listener.hear(
        pcmu(number, 320 * number, payload_type=96, payload=payload) for number, payload in enumerate(payloads)
    )
    assert listener.seconds() == 0.06
    np.testing.assert_allclose(listener.blocks[0].samples, ramp / 32_768, atol=1e-6)
    assert (listener.session.invalid_payloads, listener.session.statistics().discarded_packets) == (1, 1)


def test_rule_14_little_endian_l16_is_told_and_not_swapped() -> None:
    """A sender that forgot to swap its octets: one event, and the audio as it came. Speech and hiss are none."""
    listener, swapped = Listener({96: "L16/16000"}), Listener({96: "L16/16000"})
    speech = load(CLIPS[0])[: 5 * 16_000]
    linear = (speech * 32_767).astype(np.int16)
    packets = [linear[begin : begin + 320] for begin in range(0, len(linear), 320)]
    listener.hear(
        pcmu(n, 320 * n, payload_type=96, payload=each.astype(">i2").tobytes()) for n, each in enumerate(packets)
    )
    assert listener.events() == []
    swapped.hear(
        pcmu(n, 320 * n, payload_type=96, payload=each.astype("<i2").tobytes()) for n, each in enumerate(packets)
    )
    assert swapped.events() == [EventKind.BYTE_ORDER_SUSPECTED]
    assert swapped.samples()[: len(speech)].std() > 0.3
    noise = Listener({96: "L16/16000"})
    hiss = np.random.default_rng(1).normal(0, 3_000, (250, 320)).astype(">i2")
    noise.hear(pcmu(n, 320 * n, payload_type=96, payload=row.tobytes()) for n, row in enumerate(hiss))
    assert noise.events() == []


def test_rule_15_segments_beside_a_key_press_are_marked(tmp_path: Path) -> None:
    """200 ms of keys at 3 s: what is heard there is no fault of the line, and the reader can tell."""
    writer = CaptureWriter()
    for number in range(300):
        key = 150 <= number < 160
        packet = pcmu(number, 160 * 150, payload_type=101, payload=b"\x05\x8a\x00\xa0") if key else pcmu(number)
        writer.add(packet, 0.02 * number)
    path = writer.write(tmp_path / "call.pcap")
    scorer = CaptureScorer(engine="constant")
    (stream,), _ = scorer.score(path, payload_types={101: "telephone-event/8000"})
    marked = [segment.segment_index for segment in stream.segments if Mark.TELEPHONE_EVENT in segment.marks]
    # the keys and the packet behind them lie in [3.0, 3.22): segments from 2.5, 3.0 s and, by the resampler, none other
    assert marked == [5, 6]


def test_rule_15_key_presses_are_in_the_sequence_and_nowhere_else() -> None:
    """Ten packets of one key: one event without the digit, no loss, no jitter, nothing concealed."""
    listener = Listener({101: "telephone-event/8000"})
    keys = [pcmu(number, 1_600, payload_type=101, payload=b"\x05\x8a\x00\xa0") for number in range(11, 21)]
    listener.hear([*(pcmu(number) for number in range(1, 11)), *keys, *(pcmu(number) for number in range(21, 31))])
    media = listener.session.statistics()
    assert (media.lost_packets, listener.seconds(concealed=True)) == (0, 0)
    assert media.jitter_seconds == pytest.approx(0, abs=1e-9)
    (event,) = listener.session.take_events()
    assert event.kind is EventKind.TELEPHONE_EVENT
    assert "5" not in event.detail


def test_rule_16_comfort_noise_holds_its_level_until_speech_returns() -> None:
    """Level 60, then 3 s without a packet: 3 s at -60 dBov, no loss, no stall."""
    port = Port()
    port.send(pcmu(1), pcmu(2), pcmu(3, payload_type=13, payload=b"\x3c"))
    port.wait(3.0)
    port.send(pcmu(4, 480 + 24_000 + 160), pcmu(5, 640 + 24_000 + 160))
    stream = port.only()
    rest = max((block.samples for block in stream.blocks), key=len)
    assert len(rest) / 8_000 == pytest.approx(3.0, abs=0.05)
    assert 20 * np.log10(rest.std()) == pytest.approx(-60, abs=0.3)
    assert stream.statistics.lost_packets == 0
    assert events(stream.events, EventKind.MEDIA_STALLED) == []


def test_rule_17_a_packet_that_red_repeats_is_lost_and_heard() -> None:
    """Depth 1, seq 5 lost: recovered in time; a block that is longer than its packet is refused."""

    def red(number: int) -> Any:
        header = bytes([0x80]) + (160 << 10 | 160).to_bytes(3) + b"\x00"
        payload = header + bytes([number - 1]) * 160 + bytes([number]) * 160
        return pcmu(number, payload_type=121, payload=payload)

    listener = Listener({121: "red/8000"})
    listener.hear(red(number) for number in range(1, 11) if number != 5)
    media = listener.session.statistics()
    assert (media.lost_packets, media.recovered_packets) == (1, 1)
    assert (listener.seconds(), listener.seconds(concealed=True)) == (0.2, 0)
    plain = Listener()
    plain.hear(pcmu(number, payload=bytes([number]) * 160) for number in range(1, 11))
    np.testing.assert_array_equal(listener.samples(), plain.samples())
    broken = pcmu(11, payload_type=121, payload=bytes([0x80]) + (160 << 10 | 1_000).to_bytes(3) + b"\x00" + bytes(20))
    listener.hear([broken], start=1.0)
    assert listener.session.invalid_redundancy == 1
    long = bytes([0xFF]) + (12_345 << 10 | 600).to_bytes(3) + b"\x05" + bytes(600) + b"x"
    block, primary = parse_blocks(long)
    assert (block.payload_type, block.offset, len(block.payload)) == (127, 12_345, 600)
    assert (primary.payload_type, primary.payload) == (5, b"x")


def test_rule_18_a_quarter_of_the_media_is_an_event_and_withholds_the_network_mos() -> None:
    """13 packets/s of 20 ms G.722 with contiguous numbers: ratio 0.26, where others say 4.5."""
    payload = make_encoder("G722/8000").encode(np.zeros(320, np.float32))
    listener = Listener()
    listener.hear((pcmu(number, payload_type=9, payload=payload) for number in range(65)), every=1 / 13)
    assert listener.events() == [EventKind.MEDIA_RATE_LOW]
    assert listener.session.media_rate_ratio == pytest.approx(0.26, abs=0.02)
    assert listener.session.statistics().network_mos is None
    fast = Listener()
    fast.hear((pcmu(number) for number in range(300)), every=0.015)
    assert fast.events() == [EventKind.MEDIA_RATE_HIGH]
    steady = Listener()
    steady.hear((pcmu(number) for number in range(300) if number % 20), every=0.02 * 20 / 19)
    assert steady.events() == []


def test_rule_18_a_change_of_ptime_is_one_event() -> None:
    """20 to 40 ms at packet 500: the payload says so, not the SDP."""
    listener = Listener()
    now = listener.hear(pcmu(number) for number in range(500))
    longer = [pcmu(500 + n, 80_000 + 320 * n, payload=b"\x20\xa0" * 160) for n in range(50)]
    listener.hear(longer, start=now, every=0.04)
    assert listener.events() == [EventKind.PTIME_CHANGED]
    assert listener.session.statistics().lost_packets == 0
    assert listener.seconds() == 12.0


def test_rule_18_silence_without_a_word_is_a_stall() -> None:
    """No packet for five packet times, at least 200 ms."""
    port = Port()
    port.send(*(pcmu(number) for number in range(10)))
    port.wait(0.15)
    assert events(port.only().events, EventKind.MEDIA_STALLED) == []
    port.wait(0.1)
    assert events(port.only().events, EventKind.MEDIA_STALLED) == [EventKind.MEDIA_STALLED]
    assert port.only().states[-1] == (StreamState.STALLED, Reason.NO_MEDIA)


def test_rule_19_a_sender_that_moves_is_followed_or_refused_by_policy() -> None:
    """Same SSRC, next number, new port after 1.5 s."""
    for policy, moved in ((AddressPolicy.FOLLOW, 1), (AddressPolicy.PIN, 0), (AddressPolicy.LEARN_ONCE, 0)):
        port = Port(policy=policy)
        port.send(*(pcmu(number) for number in range(10)))
        port.wait(1.5)
        port.send(*(pcmu(number, 160 * number + 12_000) for number in range(10, 20)), peer=("192.0.2.1", 7_777))
        stream = port.only()
        assert len(events(stream.events, EventKind.SOURCE_MOVED)) == moved
        assert stream.statistics.lost_packets == 0
        assert port.counts["source_rejected_packets"] == (0 if moved else 10)
    far = Port()
    far.send(*(pcmu(number) for number in range(10)))
    far.wait(1.5)
    far.send(*(pcmu(number) for number in range(20_000, 20_010)), peer=("192.0.2.1", 7_777))
    assert far.counts["source_rejected_packets"] == 10


def test_rule_19_a_mapped_address_is_the_same_sender() -> None:
    """A socket for both families writes IPv4 senders as ::ffff:a.b.c.d; the scope of a link stays."""
    assert transport("::ffff:192.0.2.1", 5) == transport("192.0.2.1", 5)
    assert transport("fe80::1%eth0", 5) != transport("fe80::1%eth1", 5)
    port = Port()
    for number in range(10):
        port.send(pcmu(number), peer=("::ffff:192.0.2.1" if number % 2 else "192.0.2.1", 5_000))
    assert port.only().statistics.received_packets == 10


def test_rule_20_a_flood_of_ssrcs_does_not_touch_the_good_streams() -> None:
    """100,000 random SSRCs beside ten streams: bounded senders, counted refusals, nothing lost."""
    caps = Caps(sources=100, new_ssrcs_per_second=50)
    port = Port(caps=caps)
    seed = np.random.default_rng(20)
    for number in range(50):
        for ssrc in range(1, 11):
            port.send_bytes(build(pcmu(number, ssrc=ssrc)), every=0.0)
        for ssrc in seed.integers(1_000, 2**32, 2_000):
            port.send_bytes(build(pcmu(int(ssrc) % 65_536, ssrc=int(ssrc))), every=0.0)
        port.wait(0.02)
    assert len(port.streams) == 10
    assert [stream.statistics.lost_packets for stream in port.streams] == [0] * 10
    assert port.receiver.senders <= 100
    assert port.counts["cap_new_ssrc_packets"] > 90_000


def test_rule_20_datagrams_and_rates_beyond_their_caps_are_counted() -> None:
    """9,000 bytes of PCMU are 1.1 s in one packet: no sender means that."""
    port = Port(caps=Caps(source_packets_per_second=100))
    port.send(pcmu(1), pcmu(2), pcmu(3, payload=bytes(8_988)), pcmu(4))
    assert port.only().seconds == pytest.approx(0.08)
    port.send_bytes(build(pcmu(5, payload=bytes(9_000))))
    assert port.counts["cap_datagram_packets"] == 1
    for number in range(5, 300):
        port.send_bytes(build(pcmu(number)), every=0.001)
    assert port.counts["cap_source_rate_packets"] > 0
    assert port.only().statistics.lost_packets is not None


def test_rule_21_a_group_is_joined_on_a_named_interface_and_others_are_not_heard(recorder: Any) -> None:
    """Linux hands every joined group to a wildcard socket: the second group on the port is counted, not played."""

    def sent(group: str, port: int, packets: Iterable[Any], out: socket.socket) -> None:
        for packet in packets:
            out.sendto(build(packet), (group, port))

    with pytest.raises(SourceError, match="interface nowhere0 is not here"):
        RtpSource(name="g", port=0, group="232.1.1.1", interface="nowhere0", sink=recorder, clock=SystemClock()).start()
    loopback = "lo"
    source = RtpSource(name="g", port=0, group="239.1.1.1", interface=loopback, sink=recorder, clock=SystemClock())
    source.start()
    other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        index = socket.if_nametoindex(loopback)
        membership = struct.pack("4s4si", socket.inet_aton("239.1.1.2"), bytes(4), index)
        other.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("4s4si", bytes(4), bytes(4), index))
        sent("239.1.1.2", source.port, (pcmu(number, ssrc=2) for number in range(5)), out)
        sent("239.1.1.1", source.port, (pcmu(number, ssrc=1) for number in range(5)), out)
        recorder.wait_for(lambda: bool(recorder.streams) and recorder.streams[0].seconds() > 0.099)
        assert [stream.description.source_id for stream in recorder.streams] == ["g/00000001"]
        assert source.statistics()["wrong_group_packets"] == 5
    finally:
        source.stop()
        other.close()
        out.close()


def test_rule_21_a_group_of_one_source_is_not_heard_from_another(recorder: Any) -> None:
    """Source-specific multicast is how a broadcaster keeps strangers out of the group."""
    with contextlib.ExitStack() as opened:
        source = RtpSource(
            name="g",
            port=0,
            group="232.1.1.1",
            interface="lo",
            group_sources=["127.0.0.7"],
            sink=recorder,
            clock=SystemClock(),
        )
        source.start()
        opened.callback(source.stop)
        index = socket.if_nametoindex("lo")
        for address, ssrc in (("127.0.0.8", 2), ("127.0.0.7", 1)):
            out = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            out.bind((address, 0))
            membership = struct.pack("4s4si", bytes(4), socket.inet_aton(address), index)
            out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, membership)
            for number in range(5):
                out.sendto(build(pcmu(number, ssrc=ssrc)), ("232.1.1.1", source.port))
        recorder.wait_for(lambda: bool(recorder.streams) and recorder.streams[0].seconds() > 0.099)
        assert [stream.description.source_id for stream in recorder.streams] == ["g/00000001"]
        assert source.statistics()["received_packets"] == 5


def test_rule_22_tags_copies_and_fragments_of_a_mirror_change_nothing(tmp_path: Path) -> None:
    """Each packet twice with another TTL, behind two tags, or in two fragments: the same stream."""
    results = {}
    for shape in ("plain", "copies", "qinq", "fragments"):
        writer = CaptureWriter()
        for number in range(50):
            if number == 20:
                continue
            writer.add(pcmu(number), 0.02 * number, shape=shape)
            if shape == "copies":
                writer.add(pcmu(number), 0.02 * number + 0.0001, shape=shape, ttl=63)
        port = writer.replay(tmp_path / f"{shape}.pcap")
        stream = port.only()
        results[shape] = (stream.statistics, [block.samples.tobytes() for block in stream.blocks])
        if shape == "copies":
            assert port.counts["mirrored_copies_packets"] == 49
    assert results["plain"][0].lost_packets == 1
    assert results["copies"] == results["qinq"] == results["fragments"] == results["plain"]


@pytest.mark.parametrize("tunnel", ["gre", "erspan2", "vxlan", "ipip"])
def test_rule_22_tunnels_of_switches_and_clouds_are_opened(tunnel: str) -> None:
    """The mirror is seldom on the same wire."""
    inner = CaptureWriter.frame(pcmu(1), shape="plain")
    ip = inner[14:]
    outer: Callable[[int, bytes], bytes] = CaptureWriter.ipv4
    packed = {
        "gre": outer(47, b"\x00\x00\x08\x00" + ip),
        "erspan2": outer(47, b"\x10\x00\x88\xbe" + bytes(4) + bytes(8) + inner),
        "vxlan": outer(17, struct.pack("!HHHH", 1, 4789, 16 + len(inner), 0) + b"\x08" + bytes(7) + inner),
        "ipip": outer(4, ip),
    }[tunnel]
    found = Decapsulator(Counter()).open(LINK_ETHERNET, bytes(12) + b"\x08\x00" + packed, 0.0)
    assert found is not None
    assert parse(found.payload) == pcmu(1)


def test_rule_22_what_this_machine_lost_is_told_to_every_stream() -> None:
    """An overloaded probe must not look like a bad network."""
    port = Port()
    port.send(pcmu(1), pcmu(2))
    port.receiver.capture_lost(40)
    assert port.counts["capture_lost_packets"] == 40
    assert events(port.only().events, EventKind.CAPTURE_LOSS) == [EventKind.CAPTURE_LOSS]


def test_rule_22_what_fills_the_hole_of_a_capture_loss_is_marked() -> None:
    """The gap behind the loss bears the mark, what is heard a second later does not."""
    port = Port()
    port.send(*(pcmu(number) for number in range(50)))
    port.receiver.capture_lost(5)
    port.send(*(pcmu(number) for number in range(55, 110)))
    marked = [block for block in port.only().blocks if Mark.CAPTURE_LOSS in block.marks]
    assert sum(len(block.samples) for block in marked if block.concealed) == 5 * 160
    assert marked[0].concealed and len(marked) == 2


def test_rule_23_every_form_of_a_capture_gives_the_same_stream(tmp_path: Path) -> None:
    """pcap in µs and ns, both byte orders, pcapng in two sections: bytes of audio and numbers agree."""
    writer = CaptureWriter()
    for number in range(100):
        if number not in (30, 31):
            writer.add(pcmu(number), 0.02 * number + (0.003 if number % 7 == 0 else 0))
    results = []
    for form in ("pcap-us", "pcap-us-big", "pcap-ns", "pcapng", "pcapng-two-sections", "pcap-us"):
        stream = writer.replay(tmp_path / f"{form}.cap", form=form).only()
        results.append((stream.statistics, stream.events, b"".join(b.samples.tobytes() for b in stream.blocks)))
    assert results[0][0].lost_packets == 2
    assert all(result == results[0] for result in results)


def test_rule_23_a_reader_of_others_writes_what_this_one_reads(tmp_path: Path) -> None:
    """dpkt as the second implementation of both formats."""
    frames = [CaptureWriter.frame(pcmu(number), shape="plain") for number in range(5)]
    for make in (dpkt.pcap.Writer, dpkt.pcapng.Writer):
        path = tmp_path / make.__module__
        with path.open("wb") as file:
            written = make(file)
            for number, frame in enumerate(frames):
                written.writepkt(frame, ts=1_700_000_000.25 + number)
        with path.open("rb") as file:
            read = list(CaptureReader(file))
        assert [frame.data for frame in read] == frames
        assert [frame.nanoseconds for frame in read] == [(1_700_000_000_250 + 1_000 * n) * 10**6 for n in range(5)]


def test_rule_23_cut_packets_give_numbers_and_no_score_and_a_cut_file_gives_what_it_has(tmp_path: Path) -> None:
    """Snaplen 128 is common, and so is a disk that was full."""
    writer = CaptureWriter()
    for number in range(50):
        if number != 20:
            writer.add(pcmu(number), 0.02 * number)
    stream = writer.replay(tmp_path / "snap.pcap", snaplen=128).only()
    assert (stream.seconds, stream.statistics.received_packets, stream.statistics.lost_packets) == (0, 49, 1)
    assert stream.states[-1] == (StreamState.UNDESCRIBED, Reason.CUT)
    assert events(stream.events, EventKind.CAPTURE_LOSS) == [EventKind.CAPTURE_LOSS]
    port = writer.replay(tmp_path / "torn.pcap", cut_bytes=50)
    assert port.counts["truncated_files"] == 1
    assert port.only().statistics.received_packets == 48


SDP = """v=0
c=IN IP4 192.0.2.9
a=sendrecv
m=audio 5004 RTP/SAVP 96 97
c=IN IP4 232.1.1.1/32
a=sendonly
a=rtpmap:96 L16/16000
a=rtpmap:97 PCMU/8000
a=fmtp:96 x=1
a=ptime:20
a=maxptime:60
a=rtcp:5007
a=rtcp-mux
a=source-filter: incl IN IP4 232.1.1.1 192.0.2.1 192.0.2.2
a=crypto:1 NO_SUCH_SUITE inline:AAAA
a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{key}|2^31
"""
MASTER = bytes(range(30))


def test_rule_24_the_description_is_read_and_its_key_stays_out_of_every_text() -> None:
    """Media level beats session level; suites we cannot open are passed over."""
    description = parse_sdp(SDP.format(key=base64.b64encode(MASTER).decode()))
    assert (description.address, description.port, description.direction) == ("232.1.1.1", 5004, "sendonly")
    assert (description.ptime_ms, description.maxptime_ms, description.rtcp_port) == (20, 60, 5007)
    assert (description.rtcp_mux, description.source_filter) == (True, ("192.0.2.1", "192.0.2.2"))
    assert description.keys == (SrtpKey("AES_CM_128_HMAC_SHA1_80", MASTER),)
    assert description.parameters == {96: "x=1"}
    assert "0x" not in repr(description.keys) and str(MASTER) not in repr(description)
    with pytest.raises(SdpError) as refused:
        parse_sdp(SDP.format(key=base64.b64encode(MASTER[:20]).decode()))
    assert base64.b64encode(MASTER[:20]).decode() not in str(refused.value)


def sealed(suite: str, master: bytes, numbers: Iterable[int]) -> list[bytes]:
    """Datagrams of a sender that is libsrtp itself."""
    srtp = pytest.importorskip("pylibsrtp")
    profile = getattr(srtp.Policy, SUITES[suite][0])
    policy = srtp.Policy(key=master, ssrc_type=srtp.Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile)
    sender = srtp.Session(policy)
    return [sender.protect(build(pcmu(number))) for number in numbers]


@pytest.mark.parametrize("suite", SUITES)
def test_rule_24_sealed_packets_open_over_the_wrap_and_a_wrong_key_is_told(suite: str) -> None:
    """Join at 65530, wrap to 5. The wrong key gives counts, a reason and never a score."""
    master = bytes(range(SUITES[suite][1]))
    datagrams = sealed(suite, master, range(65_530, 65_542))
    port = Port(unsealer=Unsealer(SrtpKey(suite, master)))
    for datagram in datagrams:
        port.send_bytes(datagram)
    assert (port.only().statistics.received_packets, port.only().seconds) == (12, pytest.approx(0.24))
    wrong = Port(unsealer=Unsealer(SrtpKey(suite, bytes(len(master)))))
    for datagram in datagrams:
        wrong.send_bytes(datagram)
    stream = wrong.only()
    assert wrong.counts["srtp_auth_failed_packets"] == 12
    assert (stream.seconds, stream.states) == (0, [(StreamState.UNDESCRIBED, Reason.ENCRYPTED)])
    assert events(stream.events, EventKind.DECRYPTION_FAILED) == [EventKind.DECRYPTION_FAILED]


@pytest.mark.parametrize("suite", SUITES)
def test_rule_24_sealed_reports_open_with_the_senders_key_alone(suite: str) -> None:
    """A sender report under the same key sets the wall clock; one under another key is counted and not believed."""
    import pylibsrtp

    name, size = SUITES[suite]
    master = bytes(range(size))
    port = Port(unsealer=Unsealer(SrtpKey(suite, master)))
    for datagram in sealed(suite, master, range(50)):
        port.send_bytes(datagram)
    ntp = round(1_700_000_000 + NTP_TO_UNIX_SECONDS)
    report = struct.pack("!BBHIIIIII", 0x80, 200, 6, 0x1234, ntp, 0, 0, 50, 8_000)
    profile = getattr(pylibsrtp.Policy, name)
    for key in (master, bytes(size)):
        policy = pylibsrtp.Policy(key=key, ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile)
        port.send_bytes(pylibsrtp.Session(policy).protect_rtcp(report))
    assert (port.counts["sender_reports"], port.counts["rtcp_undecryptable_packets"]) == (1, 1)


@pytest.mark.parametrize("suite", SUITES)
def test_rule_24_a_key_with_an_mki_opens_what_bears_it(suite: str) -> None:
    """SDES names keys: `|2^20|66051:4` is 00 01 02 03 in every packet, behind the payload and before the tag."""
    import pylibsrtp

    name, size = SUITES[suite]
    master = bytes(range(size))
    key = SrtpKey.parse(suite, base64.b64encode(master).decode() + "|2^20|66051:4", where="the SDP")
    assert key.mki == b"\x00\x01\x02\x03"
    profile = getattr(pylibsrtp.Policy, name)
    policy = pylibsrtp.Policy(key=master, ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile)
    sender, unsealer = pylibsrtp.Session(policy), Unsealer(key)
    tag = {"AES_CM_128_HMAC_SHA1_80": 10, "AES_CM_128_HMAC_SHA1_32": 4}.get(suite, 0)
    for number in range(3):
        sealed = sender.protect(build(pcmu(number)))
        at = len(sealed) - tag
        assert unsealer.unseal(sealed[:at] + key.mki + sealed[at:], 0x1234) == build(pcmu(number))
    report = sender.protect_rtcp(struct.pack("!BBHIIIIII", 0x80, 200, 6, 0x1234, 1, 0, 0, 50, 8_000))
    end = len(report) - (10 if tag else 0)  # RFC 4568 section 6.2.2: 80 bits also with SHA1_32
    assert unsealer.unseal_control(report[:end] + key.mki + report[end:])[:2] == b"\x80\xc8"
    with pytest.raises(SealError, match="another key"):
        unsealer.unseal(sealed[:at] + b"\x00\x01\x02\x04" + sealed[at:], 0x1234)
    with pytest.raises(SdpError, match="does not fit"):
        SrtpKey.parse(suite, base64.b64encode(master).decode() + "|256:1", where="the SDP")


def test_rule_24_a_late_join_needs_the_roll_over_counter_and_a_replay_is_refused() -> None:
    """Three wraps into a call: with roc=3 all pass, without it none, and nothing passes twice."""
    suite = "AES_CM_128_HMAC_SHA1_80"
    walk = [*range(0, 3 << 16, 0x7000)]
    late = sealed(suite, MASTER, [*walk, *range(3 << 16, (3 << 16) + 10)])[len(walk) :]
    knowing, ignorant = Unsealer(SrtpKey(suite, MASTER, roc=3)), Unsealer(SrtpKey(suite, MASTER))
    assert [parse(knowing.unseal(datagram, 0x1234)).sequence_number for datagram in late] == list(range(10))
    for datagram in late:
        with pytest.raises(SealError):
            ignorant.unseal(datagram, 0x1234)
        with pytest.raises(SealError):
            knowing.unseal(datagram, 0x1234)


def test_rule_25_the_drift_of_a_sender_is_told_in_ppm_and_is_no_fault() -> None:
    """+100 ppm for an hour behind a growing queue: 100 within 5, and no media-rate event."""
    drift = ClockDrift()
    seed = np.random.default_rng(25)
    for number in range(180_000):
        media = 0.02 * number
        # nine packets of ten wait in a queue that grows by 0.1 s in the hour: 28 ppm, were it taken for the clock
        queued = 0.1 * media / 3_600 if number % 10 else 0.0
        drift.heard(media, media / 1.0001 + queued + float(seed.exponential(0.002)))
    assert drift.ppm == pytest.approx(100, abs=5)
    listener = Listener()
    listener.hear((pcmu(number) for number in range(3_000)), every=0.02 / 1.0001)
    assert listener.session.statistics().clock_drift_ppm == pytest.approx(100, abs=1)
    assert listener.events() == []


def test_rule_25_only_a_sane_sender_report_sets_the_wall_clock() -> None:
    """A report of 1975, one that stands still and one at half speed are counted and forgotten."""

    def report(unix: float, timestamp: int) -> SenderReport:
        seconds = int(unix) + NTP_TO_UNIX_SECONDS
        return SenderReport(
            ssrc=1, ntp_seconds=seconds, ntp_fraction=unix % 1, rtp_timestamp=timestamp % 2**32, packets=1
        )

    clock, now = WallClock(), 1_700_000_000.0
    assert not clock.heard(report(157_766_400.0, 0), 8_000, now)
    assert clock.unix_seconds(0, 8_000) is None
    assert clock.heard(report(now, 2**32 - 8_000), 8_000, now)
    assert clock.heard(report(now + 5, 32_000), 8_000, now + 5)
    assert not clock.heard(report(now + 5, 72_000), 8_000, now + 10)
    assert not clock.heard(report(now + 10, 32_000 + 20_000), 8_000, now + 10)
    assert clock.insane_reports == 3
    assert clock.unix_seconds(36_000, 8_000) == pytest.approx(now + 5.5)
    signed = struct.pack("!BBHI", 0x81, 201, 7, 9) + struct.pack("!IIIIII", 1, 0x40FFFFFF, 0, 268_435_456, 0, 0)
    assert parse_compound(signed) == [
        RemoteReport(reporter=9, ssrc=1, fraction_lost_ratio=0.25, cumulative_lost=-1, jitter_ticks=268_435_456)
    ]


def test_the_page_names_every_test_of_a_rule() -> None:
    """docs/rtp.md is where an operator looks up what is promised; a promise without its test is none."""
    root = Path(__file__).parents[3]
    mine = set(re.findall(r"^def test_rule_(\d\d_\w+)", Path(__file__).read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"`(\d\d_\w+)`", (root / "docs" / "rtp.md").read_text(encoding="utf-8")))
    assert named == mine
    assert {name[:2] for name in mine} == {f"{rule:02d}" for rule in range(1, 26)}
