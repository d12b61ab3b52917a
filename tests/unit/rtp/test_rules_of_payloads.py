"""Rules 10 to 18 of RTP done right: what a payload says, with the traffic they were written for.

Expected values come from the RFC or from arithmetic in the test, never from what the program printed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from material import CLIPS, load
from rtp_traffic import CaptureWriter, Listener, Port, events, opus_packets, pcmu

from livemos.agent.capture_scorer import CaptureScorer
from livemos.agent.codecs import make_encoder
from livemos.agent.codecs.opus import has_redundancy, packet_samples_48k
from livemos.agent.errors import CodecError
from livemos.agent.reasons import Reason
from livemos.agent.records import EventKind, Mark, Samples, StreamState
from livemos.agent.rtp.packet import Packet
from livemos.agent.rtp.payload_map import PayloadMap
from livemos.agent.rtp.redundancy import parse_blocks
from livemos.agent.rtp.session import RtpSession


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


@pytest.mark.parametrize(("milliseconds", "frames"), [(60, 1), (120, 2)])
def test_rule_13_of_a_packet_of_several_frames_only_the_last_comes_back(milliseconds: int, frames: int) -> None:
    """Redundancy is of the frame before; the rest of the packet was made up, and to say it was heard would be a lie."""
    packets = opus_packets(30, milliseconds=milliseconds, fec=True)
    lost = next(number for number in range(15, 29) if has_redundancy(packets[number + 1].payload))
    listener = Listener({111: "opus/48000/2"})
    listener.hear((packet for packet in packets if packet.sequence_number != lost), every=milliseconds / 1_000)
    listener.end()
    media = listener.session.statistics()
    assert (media.lost_packets, media.recovered_packets) == (1, int(frames == 1))
    assert listener.seconds() == pytest.approx(30 * milliseconds / 1_000)
    gap = [(len(block.samples), block.concealed) for block in listener.blocks[lost : lost + frames]]
    assert gap == [(960, True)] * (frames - 1) + [(960, False)]
    assert listener.seconds(concealed=True) == pytest.approx(0.06 * (frames - 1))


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


def _red(number: int, *distances: int, shift: int = 0, ticks: int = 160, timestamp: int | None = None) -> Packet:
    """Packet `number`, its payload its own number, with those so many packets before it; `shift` renumbers it."""
    head = b"".join(bytes([0x80]) + (ticks * distance << 10 | 160).to_bytes(3) for distance in distances)
    body = b"".join(bytes([number - distance]) * 160 for distance in (*distances, 0))
    stamp = 160 * number if timestamp is None else timestamp
    return pcmu(number + shift, stamp, payload_type=121, payload=head + b"\x00" + body)


def _plain(numbers: Iterable[int]) -> Samples:
    plain = Listener()
    plain.hear(pcmu(number, payload=bytes([number]) * 160) for number in numbers)
    return plain.samples()


@pytest.mark.parametrize("distances", [(2,), (3, 1), (5, 2)])
def test_rule_17_the_offset_of_a_block_says_whose_it_is(distances: tuple[int, ...]) -> None:
    """RFC 2198 lets a sender leave packets out between two blocks; counted, the wrong word is put in."""
    listener = Listener({121: "red/8000"})
    for number in range(10, 60):
        listener.hear([_red(number, *distances)] if number != 30 else [], start=0.02 * number)
    listener.end()
    media = listener.session.statistics()
    assert (media.lost_packets, media.recovered_packets, listener.seconds(concealed=True)) == (1, 1, 0)
    np.testing.assert_array_equal(listener.samples(), _plain(range(10, 60)))


def test_rule_17_a_block_between_two_packets_is_left_out() -> None:
    """An offset of one and a half packets is of no packet that was lost; made-up audio is honest, a guess is not."""
    listener = Listener({121: "red/8000"})
    listener.hear(_red(number, 1, ticks=240) for number in range(10, 60) if number != 30)
    listener.end()
    assert (listener.session.statistics().recovered_packets, listener.seconds(concealed=True)) == (0, 0.02)


def test_rule_17_behind_a_pause_a_block_is_not_put_into_an_older_gap() -> None:
    """Behind 60 ms of pause the packet before lies four packets' ticks back, and four packets back another was lost."""
    listener = Listener({121: "red/8000"})
    now = listener.hear((_red(number, 9) for number in (10, 11, 12, 13, 14, 15, 16, 18, 19)), every=0.001)
    listener.hear([_red(21, 4, timestamp=160 * 24)], start=now)  # 20 is lost too
    assert listener.session.statistics().recovered_packets == 0


def test_rule_17_red_goes_on_over_a_restart_of_the_sequence() -> None:
    """Extended numbers and those on the wire part at a restart; what is lost behind it is repeated all the same."""
    listener = Listener({121: "red/8000"})
    packets = [_red(number, 1, shift=30_000 if number >= 50 else 0) for number in range(10, 100)]
    listener.hear(packet for packet in packets if packet.sequence_number not in (30, 30_060, 30_070))
    listener.end()
    media = listener.session.statistics()
    assert (media.lost_packets, media.recovered_packets, listener.seconds(concealed=True)) == (3, 3, 0)
    np.testing.assert_array_equal(listener.samples(), _plain(range(10, 100)))


def test_rule_17_what_was_lost_before_a_restart_is_not_repeated_behind_it() -> None:
    """A new sequence repeats packets of its own, which never had a number in the old one."""
    listener = Listener({121: "red/8000"})
    packets = [_red(number, 4) for number in range(10, 50)]
    packets += [_red(number, 4, shift=30_000, timestamp=77_000 + 160 * number) for number in range(50, 60)]
    now = listener.hear(packets[:37])
    listener.hear(packets[38:], start=now, every=0.001)  # 47 is lost, and 51 comes before it is given up
    listener.end()
    media = listener.session.statistics()
    assert (media.lost_packets, media.recovered_packets, listener.seconds(concealed=True)) == (1, 0, 0.02)


@pytest.mark.parametrize("profile", ["ideal", "fixed50"])
def test_rule_17_a_packet_heard_through_red_costs_no_network_mos(profile: str) -> None:
    """It came behind its copy, or before it was played: either way it was heard, and only once."""
    order = list(range(10, 210))
    for place in range(20, 190, 10):
        order[place], order[place + 1] = order[place + 1], order[place]
    session = RtpSession(payload_map=PayloadMap({121: "red/8000"}), profiles=(profile,))
    for place, number in enumerate(order):
        session.push(_red(number, 1), 0.02 * place)
    session.tick(1e9)
    media = session.statistics()
    late = 17 if profile == "ideal" else 0
    assert (media.lost_packets, media.late_packets, media.recovered_packets) == (0, late, late)
    assert media.network_mos == pytest.approx(4.41, abs=0.01)


def test_rule_17_a_buffered_listener_takes_red_until_the_instant_of_its_packet() -> None:
    """Of two lost packets the older one plays 10 ms behind the packet that repeats both."""
    session = RtpSession(payload_map=PayloadMap({121: "red/8000"}), profiles=("fixed50",))
    blocks = []
    for number in range(10, 60):
        if number not in (30, 31):
            blocks += session.push(_red(number, 2, 1), 0.02 * number)
    blocks += session.tick(1e9)
    media = session.statistics()
    assert (media.lost_packets, media.recovered_packets) == (2, 2)
    assert [block.ready_monotonic_seconds for block in blocks] == pytest.approx(
        [0.02 * number + 0.05 for number in range(10, 60)]
    )
    np.testing.assert_array_equal(np.concatenate([block.samples for block in blocks]), _plain(range(10, 60)))


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
