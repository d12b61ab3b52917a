"""Faults seen in public in other monitors and media servers, by their numbers in docs/rtp.md: not here.

Where a rule's own test (test_rules_of_*.py) shows the same traffic in detail, the test here shows what the users saw.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rtp_traffic import CaptureWriter, Listener, Port, opus_packets, pcmu

from livemos.agent.codecs import make_encoder
from livemos.agent.codecs.opus import is_dtx
from livemos.agent.records import EventKind, MediaStatistics
from livemos.agent.rtp.network_mos import IMPAIRMENTS, network_mos
from livemos.agent.rtp.packet import build
from livemos.agent.rtp.redundancy import RedundancyError, parse_blocks
from livemos.agent.rtp.rtcp import RtcpError, parse_compound
from livemos.agent.rtp.seal import SrtpKey, Unsealer
from livemos.agent.rtp.wraparound import difference32

G722 = make_encoder("G722/8000").encode(np.zeros(320, np.float32))


def kinds(port: Port) -> list[EventKind]:
    return [kind for kind, _ in port.only().events]


def test_fault_r01_a_quarter_of_g722_is_not_a_perfect_call() -> None:
    """Others: audio four times too fast, MOS 4.5. Here: an event, and no network MOS."""
    listener = Listener()
    listener.hear((pcmu(n, payload_type=9, payload=G722) for n in range(65)), every=1 / 13)
    assert EventKind.MEDIA_RATE_LOW in listener.events()
    assert listener.session.statistics().network_mos is None
    assert listener.seconds() == pytest.approx(65 * 0.02)


def test_fault_r02_a_sender_that_counts_16000_only_at_first_is_followed() -> None:
    """60 packets at 320 ticks, then 160: never a loss, never silence, jitter stays small."""
    listener = Listener()
    stamps = [320 * n for n in range(60)] + [320 * 59 + 160 * n for n in range(1, 61)]
    listener.hear(pcmu(n, stamp, payload_type=9, payload=G722) for n, stamp in enumerate(stamps))
    media = listener.session.statistics()
    assert listener.seconds() == pytest.approx(2.4)
    assert media.lost_packets == 0
    assert media.jitter_seconds == pytest.approx(0, abs=0.001)
    assert listener.events() == [EventKind.CLOCK_RATE_MISMATCH]


def test_fault_r03_ring_time_is_no_loss() -> None:
    """The SSRC changes at the answer and the sequence goes on: 748 phantom losses elsewhere."""
    port = Port()
    port.send(*(pcmu(n, ssrc=0xA) for n in range(12)))
    port.wait(12.0)
    port.send(*(pcmu(n + 748, ssrc=0xB) for n in range(12, 200)))
    stream = port.only()
    assert (stream.statistics.lost_packets, stream.statistics.received_packets) == (0, 200)
    assert EventKind.SSRC_CHANGED in kinds(port)


@pytest.mark.parametrize(("numbers", "lost"), [((5, 7, 8, 9), 1), ((5, 6, 8, 9), 1), ((5, 6, 7, 8), 0)])
def test_fault_r04_loss_at_the_very_beginning_is_neither_invented_nor_hidden(
    numbers: tuple[int, ...], lost: int
) -> None:
    """The packets on probation count."""
    listener = Listener()
    listener.hear(pcmu(n) for n in numbers)
    assert listener.session.statistics().lost_packets == lost


def test_fault_r05_the_first_packet_being_late_is_reorder_and_no_loss() -> None:
    """2, 1, 3, 4 and 2, 3, 1, 4: four packets, nothing lost, whichever came first."""
    for order in ((2, 1, 3, 4), (2, 3, 1, 4), (1, 2, 3, 4)):
        listener = Listener()
        listener.hear(pcmu(n) for n in order)
        assert listener.session.statistics().lost_packets == 0


def test_fault_r06_yesterdays_loss_is_not_todays() -> None:
    """An interval counts what was expected in it, in packets and as a ratio."""
    listener = Listener()
    now = listener.hear(pcmu(n) for n in range(100) if n % 5)
    first = listener.session.interval()
    assert (first.lost_packets, first.expected_packets) == (19, 99)
    assert first.lost_ratio == pytest.approx(19 / 99)
    listener.hear((pcmu(n) for n in range(100, 200)), start=now)
    assert listener.session.interval().lost_ratio == pytest.approx(0.0)
    listener.hear((pcmu(n) for n in range(200, 300)), start=now + 2)
    assert listener.session.interval().lost_ratio == 0


def test_fault_r07_reorder_at_the_wrap_is_no_day_of_jitter() -> None:
    """An unsigned difference turns -160 into 4,294,967,136."""
    listener = Listener()
    base = 2**32 - 320
    listener.hear(pcmu(n, base + 160 * n) for n in (0, 1, 3, 2, 4, 5))
    media = listener.session.statistics()
    assert media.jitter_seconds is not None and media.jitter_seconds < 0.02
    assert difference32(0, 160) == -160


def test_fault_r08_weeks_of_uptime_do_not_overflow_the_arrival_clock() -> None:
    """27 days at 8 kHz pass 2**64 in Q32; a year does nothing here."""
    listener = Listener()
    for n in range(50):
        listener.session.push(pcmu(n), 365 * 86_400.0 + 0.02 * n)
    assert listener.session.statistics().jitter_seconds == pytest.approx(0, abs=1e-7)


def test_fault_r09_jitter_is_in_seconds_and_not_sixteen_times_itself() -> None:
    """One packet 16 ms late: |D| = 128 ticks twice, J = 8 then 15.5 ticks of 1/8000 s."""
    listener = Listener()
    for n, at in enumerate((0.0, 0.02, 0.056, 0.06)):
        listener.session.push(pcmu(n), at)
    assert listener.session.statistics().jitter_seconds == pytest.approx(15.5 / 8_000)


def test_fault_r10_an_absurd_remote_jitter_changes_nothing_here() -> None:
    """RTCP says 268,435,456: our own numbers stay our own."""
    port = Port()
    port.send(*(pcmu(n) for n in range(50)))
    before = port.only().statistics
    block = (0x1234).to_bytes(4) + b"\xff\x7f\xff\xff" + bytes(4) + (268_435_456).to_bytes(4) + bytes(8)
    port.send_bytes(b"\x81\xc9\x00\x07" + bytes(4) + block, every=0.0)
    assert port.counts["rtcp_packets"] == 1
    assert port.counts["invalid_rtcp_packets"] == 0
    media = port.only().statistics
    assert media.remote_jitter_seconds is None
    assert replace(media, remote_lost_ratio=None) == before


def test_fault_r11_a_key_press_neither_loses_packets_nor_spoils_the_jitter() -> None:
    """Its timestamp stands still for its whole length."""
    listener = Listener({101: "telephone-event/8000"})
    keys = [pcmu(n, 800, payload_type=101, payload=b"\x01\x0a\x00\xa0") for n in range(5, 30)]
    listener.hear([*(pcmu(n) for n in range(5)), *keys, *(pcmu(n) for n in range(30, 60))])
    media = listener.session.statistics()
    assert (media.lost_packets, listener.seconds(concealed=True)) == (0, 0)
    assert media.jitter_seconds == pytest.approx(0, abs=1e-9)


def test_fault_r12_a_packet_that_arrived_is_never_lost() -> None:
    """A marker after a key press, a late one, one the codec refuses: discarded, and said so."""
    listener = Listener({96: "L16/16000", 101: "telephone-event/8000"})
    good = bytes(639) + b"\x40"
    packets = [pcmu(n, 320 * n, payload_type=96, payload=good) for n in range(10)]
    packets[5] = pcmu(5, 1_600, payload_type=96, payload=good, marker=True)
    packets[7] = pcmu(7, 2_240, payload_type=96, payload=bytes(641))
    late = packets.pop(3)
    listener.hear(packets)
    listener.hear([late], start=1.0)
    media = listener.session.statistics()
    assert (media.lost_packets, media.discarded_packets, media.received_packets) == (0, 2, 10)


def test_fault_r13_dtx_is_not_concealed() -> None:
    """Echoes of old speech during a pause, noise while muted: nothing is made up in a gap without loss."""
    listener = Listener({111: "opus/48000/2"})
    packets = opus_packets(60)
    now = listener.hear(packets[:30])
    muted = [pcmu(p.sequence_number, p.timestamp + 96_000, payload_type=111, payload=p.payload) for p in packets[30:]]
    listener.hear(muted, start=now + 2.0)
    assert listener.seconds(concealed=True) == 0
    assert listener.silent_seconds() == pytest.approx(2.0, abs=0.05)
    assert listener.session.statistics().jitter_seconds == pytest.approx(0, abs=1e-6)


def test_fault_r14_a_short_packet_is_not_proof_of_dtx() -> None:
    """The framing decides: two bytes of code 0 hold a frame of one byte."""
    assert is_dtx(b"\x78") and is_dtx(b"\x79") and is_dtx(b"\x7a\x00")
    assert not is_dtx(b"\x78\x01") and not is_dtx(b"\x7b\x01") and not is_dtx(bytes(3))


def test_fault_r15_mute_and_unmute_is_no_jitter() -> None:
    """The first packet of a new talk spurt begins a new comparison."""
    listener = Listener()
    now = listener.hear(pcmu(n) for n in range(50))
    listener.hear((pcmu(n, 160 * n, marker=n == 50) for n in range(50, 100)), start=now + 4.2)
    assert listener.session.statistics().jitter_seconds == pytest.approx(0, abs=1e-9)


def test_fault_r16_a_clock_that_goes_back_is_one_event_and_no_loss() -> None:
    """A source switch under one SSRC: no silence is invented either."""
    listener = Listener()
    listener.hear(pcmu(n, 1_000_000 + 160 * n) for n in range(50))
    listener.hear((pcmu(n, 160 * n) for n in range(50, 100)), start=1.0)
    assert listener.events() == [EventKind.TIMESTAMP_BACKWARD]
    assert listener.seconds() == 2.0
    assert listener.session.statistics().lost_packets == 0


def test_fault_r17_an_ssrc_change_is_not_dropped_packets() -> None:
    """Another SSRC with another sequence: one stream, no loss, all the audio."""
    port = Port()
    port.send(*(pcmu(n, ssrc=1) for n in range(50)))
    port.send(*(pcmu(40_000 + n, ssrc=2) for n in range(50)))
    assert port.only().statistics.lost_packets == 0
    assert port.only().seconds == pytest.approx(2.0)


def test_fault_r18_two_calls_with_one_name_are_two_streams() -> None:
    """The same SSRC after the first call was ended is a stream of its own; the counts begin anew."""
    port = Port()
    port.send(*(pcmu(n) for n in range(50)))
    port.wait(31.0)
    port.send(*(pcmu(9_000 + n) for n in range(20)))
    port.receiver.close("end")
    assert [stream.statistics.received_packets for stream in port.streams] == [50, 20]
    assert [stream.statistics.lost_packets for stream in port.streams] == [0, 0]


def test_fault_r19_an_overloaded_capture_says_so() -> None:
    """Loss that this machine made is an event beside the numbers."""
    port = Port()
    port.send(*(pcmu(n) for n in range(10)))
    port.receiver.capture_lost(3)
    assert EventKind.CAPTURE_LOSS in kinds(port)


@pytest.mark.parametrize("shape", ["qinq", "fragments", "plain"])
def test_fault_r20_r21_tags_and_fragments_hide_nothing(shape: str, tmp_path: Path) -> None:
    """A filter on ports loses tagged frames and every fragment but the first."""
    writer = CaptureWriter()
    for n in range(20):
        writer.add(pcmu(n), 0.02 * n, shape=shape)
    assert writer.replay(tmp_path / "a.pcap").only().statistics.received_packets == 20


def test_fault_r22_two_mirrored_ports_are_one_stream(tmp_path: Path) -> None:
    """Counted once, without asking for it."""
    writer = CaptureWriter()
    for n in range(20):
        writer.add(pcmu(n), 0.02 * n)
        writer.add(pcmu(n), 0.02 * n + 0.0001, ttl=63)
    media = writer.replay(tmp_path / "a.pcap").only().statistics
    assert (media.received_packets, media.duplicate_packets, media.lost_packets) == (20, 0, 0)


def test_fault_r23_rtcp_on_the_media_port_is_not_played() -> None:
    """64 to 95 with a marker is RTCP (RFC 5761)."""
    port = Port()
    for n in range(10):
        port.send_bytes(bytes([0x80, 200]) + build(pcmu(n))[2:])
    assert port.streams == [] and port.counts["rtcp_packets"] == 10


def test_fault_r25_r26_octets_that_are_no_rtcp_give_no_numbers() -> None:
    """Encrypted reports look like reports by their first octets alone."""
    seed = np.random.default_rng(26)
    for _ in range(500):
        with pytest.raises(RtcpError):
            parse_compound(b"\x80\xc8\x00\x06" + seed.bytes(24) + seed.bytes(18))


def test_fault_r27_when_nothing_arrives_it_is_a_stall_and_not_zero_loss() -> None:
    """A receiver counts up to the last packet only; the silence itself has to be told."""
    port = Port()
    port.send(*(pcmu(n) for n in range(50)))
    port.wait(5.0)
    assert EventKind.MEDIA_STALLED in kinds(port)


def test_fault_r28_absent_is_absent_and_two_lost_packets_are_two() -> None:
    """No 4.5 for what is not known, no dead zone under five packets, no codec scored as another."""
    assert MediaStatistics().network_mos is None
    assert network_mos("GSM/8000", loss_ratio=0) is None
    one, two = (network_mos("PCMU/8000", loss_ratio=n / 1_000) for n in (1, 2))
    clean = network_mos("PCMU/8000", loss_ratio=0)
    assert clean is not None and one is not None and two is not None
    assert clean > one > two
    assert len({network_mos(codec, loss_ratio=0.03) for codec in ("PCMU/8000", "G722/8000", "opus/48000/2")}) == 3
    assert IMPAIRMENTS["opus"].standing.value == "academic"


def test_fault_r30_listening_quality_needs_no_rtcp() -> None:
    """No round trip, no MOS elsewhere."""
    listener = Listener()
    listener.hear(pcmu(n) for n in range(50))
    assert listener.session.statistics().network_mos == pytest.approx(4.41, abs=0.01)


def test_fault_r31_a_stranger_is_not_heard_and_a_move_is_not_lost() -> None:
    """The same SSRC from elsewhere while the sender speaks: counted. After it fell silent: followed."""
    port = Port()
    for n in range(20):
        port.send(pcmu(n), every=0.01)
        port.send(pcmu(500 + n, payload=bytes(160)), every=0.01, peer=("198.51.100.9", 1))
    assert port.only().statistics.received_packets == 20
    port.wait(1.5)
    port.send(*(pcmu(n, 160 * n + 12_000) for n in range(20, 40)), peer=("192.0.2.1", 9))
    assert port.only().statistics.received_packets == 40


def test_fault_r32_a_leap_of_the_timestamp_makes_no_flood_of_silence() -> None:
    """2**31 ticks ahead are 74 hours of zeros for a program without a bound."""
    for leap in (2**31 - 1, 10**9):
        listener = Listener()
        listener.hear([pcmu(1), pcmu(2), pcmu(3, 480 + leap), pcmu(4, 640 + leap)])
        assert listener.seconds() <= 2.08
    with pytest.raises(RedundancyError):
        parse_blocks(b"\x80\xff\xff\xff\x00\x00")


def test_fault_r24_roll_over_counters_belong_to_their_ssrc_and_survive_reorder_at_the_wrap() -> None:
    """One counter for all streams, or bumped twice by a swapped pair, and everything after it fails."""
    srtp = pytest.importorskip("pylibsrtp")
    master = bytes(range(30))
    policy = srtp.Policy(key=master, ssrc_type=srtp.Policy.SSRC_ANY_OUTBOUND)
    sender = srtp.Session(policy)
    wrapping = [sender.protect(build(pcmu(n, ssrc=1))) for n in range(65_530, 65_545)]
    steady = [sender.protect(build(pcmu(n, ssrc=2))) for n in range(100, 115)]
    wrapping[5], wrapping[6] = wrapping[6], wrapping[5]
    port = Port(unsealer=Unsealer(SrtpKey("AES_CM_128_HMAC_SHA1_80", master)))
    for one, other in zip(wrapping, steady, strict=True):
        port.send_bytes(one, every=0.01)
        port.send_bytes(other, every=0.01)
    port.receiver.close("end")
    assert port.counts["srtp_auth_failed_packets"] == 0
    assert [stream.statistics.received_packets for stream in port.streams] == [15, 15]
    assert [stream.statistics.lost_packets for stream in port.streams] == [0, 0]
