"""One stream's life in the hand: what is played, what is counted, what is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from rtp_traffic import Listener, opus_packets

from livemos.agent.codecs import make_encoder
from livemos.agent.codecs.opus import has_redundancy
from livemos.agent.records import EventKind
from livemos.agent.rtp.packet import Packet

PacketMaker = Callable[..., Packet]


def test_packets_in_order_are_played_as_they_come(pcmu: PacketMaker) -> None:
    """A fixed wait for every packet would eat the 150 ms that a score may take."""
    listener = Listener()
    listener.hear(pcmu(number) for number in range(10))
    assert listener.seconds() == 0.2
    assert [block.ready_monotonic_seconds for block in listener.blocks][2:] == pytest.approx(
        [0.02 * number for number in range(2, 10)]
    )
    assert listener.session.next_due_seconds is None


@pytest.mark.parametrize(
    ("numbers", "counts"),  # expected, received, lost, reordered, duplicate, stray
    [
        ([1, 12, 13, 14], (3, 3, 0, 0, 0, 1)),  # counted back to the first of the run
        ([65533, 65535, 65536, 65537, 65534, 65538], (6, 6, 0, 1, 0, 0)),  # over the wrap
        ([1000, 40000, 1001], (2, 2, 0, 0, 0, 1)),  # one stray packet changes nothing
        ([5, 10, 6, 7, 8, 9], (6, 6, 0, 4, 0, 0)),
        ([1, 2, 3, 3, 5, 6, 6], (6, 5, 1, 0, 2, 0)),
        ([1, 2, 2900, 2901], (2901, 4, 2897, 0, 0, 0)),  # below RFC 3550's MAX_DROPOUT it is loss
    ],
)
def test_loss_reorder_and_duplicates_are_counted_apart(
    pcmu: PacketMaker, numbers: list[int], counts: tuple[int, ...]
) -> None:
    """Numbers with different causes: an operator acts differently on each."""
    listener = Listener()
    listener.hear(pcmu(number) for number in numbers)
    media = listener.end().session.statistics()
    assert counts == (
        media.expected_packets,
        media.received_packets,
        media.lost_packets,
        media.reordered_packets,
        media.duplicate_packets,
        listener.session.stray_packets,
    )


def test_a_stream_needs_two_packets_in_sequence(pcmu: PacketMaker) -> None:
    """A stray datagram must not open a stream; the two that prove it are both played."""
    listener = Listener()
    listener.hear([pcmu(7)])
    assert not listener.session.established
    assert listener.blocks == []
    listener.hear([pcmu(8)], start=0.02)
    assert listener.session.established
    assert listener.seconds() == 0.04


def test_a_swapped_pair_is_played_in_order_and_nothing_is_concealed(pcmu: PacketMaker) -> None:
    """Reorder inside the wait is repaired for every listener with a jitter buffer."""
    packets = [pcmu(number, payload=bytes([number]) * 160) for number in (1, 2, 4, 3, 5)]
    listener = Listener()
    listener.hear(packets)
    in_order = Listener()
    in_order.hear(sorted(packets, key=lambda packet: packet.sequence_number))
    np.testing.assert_array_equal(
        np.concatenate([block.samples for block in listener.blocks]),
        np.concatenate([block.samples for block in in_order.blocks]),
    )
    assert listener.seconds(concealed=True) == 0


def test_a_missing_packet_is_concealed_after_the_wait_and_comes_too_late_then(pcmu: PacketMaker) -> None:
    """Playing it afterwards would shift every later sample, and the score would describe the wrong second."""
    listener = Listener()
    now = listener.hear(pcmu(number) for number in (1, 2, 3, 5, 6))
    assert listener.seconds() == 0.06
    assert listener.session.next_due_seconds == pytest.approx(0.06 + 0.06)
    listener.blocks += listener.session.tick(0.1201)
    assert listener.seconds() == 0.12
    assert listener.seconds(concealed=True) == 0.02
    concealed = next(block for block in listener.blocks if block.concealed)
    assert concealed.ready_monotonic_seconds == pytest.approx(0.12)
    assert concealed.samples.std() > 0
    listener.hear([pcmu(4), pcmu(7)], start=now + 0.1)
    media = listener.session.statistics()
    assert (media.late_packets, media.lost_packets) == (1, 0)
    assert listener.seconds() == 0.14


def test_jitter_is_the_one_of_the_rfc(pcmu: PacketMaker) -> None:
    """RFC 3550 A.8 by hand: D = 0, 0, 80, 80 ticks gives 0, 5, 9.6875 ticks of 1/8000 s."""
    listener = Listener()
    for number, arrival in enumerate((0.0, 0.02, 0.05, 0.06)):
        listener.session.push(pcmu(number), arrival)
    assert listener.session.statistics().jitter_seconds == pytest.approx(9.6875 / 8_000)


def test_jitter_does_not_see_the_wrap_of_the_timestamp(pcmu: PacketMaker) -> None:
    """An unsigned difference of 4,294,967,136 ticks would be 149 hours of jitter."""
    listener = Listener()
    listener.hear(pcmu(number, 2**32 - 480 + 160 * number) for number in range(8))
    assert listener.session.statistics().jitter_seconds == pytest.approx(0, abs=1e-9)
    assert listener.seconds() == 0.16
    assert listener.events() == []


def test_a_pause_that_the_arrivals_confirm_is_silence_and_no_loss(pcmu: PacketMaker) -> None:
    """Silence suppression. The clock of the stream has to go on."""
    listener = Listener()
    listener.hear([pcmu(9), pcmu(10)])
    listener.hear([pcmu(11, 10 * 160 + 8_000), pcmu(12, 11 * 160 + 8_000)], start=0.02 + 1.0)
    assert listener.seconds() == pytest.approx(0.08 + 0.98)
    assert listener.silent_seconds() == pytest.approx(0.98)
    assert listener.seconds(concealed=True) == 0
    assert listener.session.statistics().jitter_seconds == pytest.approx(0, abs=1e-9)
    assert listener.events() == []


def test_at_most_two_seconds_of_silence_are_made_for_one_gap(pcmu: PacketMaker) -> None:
    """A call on hold for an hour must not come back with an hour of zeros."""
    listener = Listener()
    listener.hear([pcmu(9), pcmu(10)])
    listener.hear([pcmu(11, 11 * 160 + 80_000)], start=10.04)
    assert listener.seconds() == pytest.approx(2.06)


@pytest.mark.parametrize(("jump", "kind"), [(8_000, EventKind.TIMESTAMP_JUMP), (-48_000, EventKind.TIMESTAMP_BACKWARD)])
def test_a_jump_that_no_time_explains_is_an_event_and_no_silence(pcmu: PacketMaker, jump: int, kind: EventKind) -> None:
    """The sender's clock was set anew, as bridges do on a transfer."""
    listener = Listener()
    listener.hear([pcmu(9), pcmu(10), *(pcmu(number, number * 160 + jump) for number in (11, 12, 13))])
    assert listener.seconds() == 0.1
    assert listener.events() == [kind]


@pytest.mark.parametrize("advance", [320, 80])
def test_timestamps_at_the_wrong_clock_change_no_audio_and_are_told_once(pcmu: PacketMaker, advance: int) -> None:
    """Senders that count G.722 at 16 kHz, or Opus at 24 kHz, are many."""
    listener = Listener()
    listener.hear(pcmu(number, number * advance) for number in range(100))
    assert listener.seconds() == 2.0
    assert listener.silent_seconds() == 0
    assert listener.events() == [EventKind.CLOCK_RATE_MISMATCH]


def test_a_restart_of_the_sequence_is_followed_without_invented_loss(pcmu: PacketMaker) -> None:
    """A bridge that re-invites begins anew; 39,000 lost packets would be a lie."""
    listener = Listener()
    listener.hear(pcmu(number) for number in (998, 999, 40_000, 40_001, 40_002))
    assert listener.seconds() == 0.1
    assert listener.session.statistics().lost_packets == 0
    assert listener.events() == [EventKind.SEQUENCE_RESTART]


def test_an_outage_is_concealed_for_two_seconds_at_most(pcmu: PacketMaker) -> None:
    """500 packets lost are 10 s; what the listener hears after 60 ms is silence anyway."""
    listener = Listener()
    listener.hear([pcmu(1), pcmu(2)])
    listener.hear([pcmu(503), pcmu(504)], start=10.04)
    listener.end()
    assert listener.seconds(concealed=True) == 2.0
    assert listener.session.statistics().lost_packets == 500


def test_key_presses_are_no_loss_and_no_audio(pcmu: PacketMaker) -> None:
    """Event packets share the sequence and stand still in time; audio goes on behind them."""
    listener = Listener({101: "telephone-event/8000"})
    keys = [pcmu(number, 1_600, payload_type=101, payload=b"\x05\x0a\x00\xa0") for number in range(10, 20)]
    listener.hear([*(pcmu(number) for number in range(10)), *keys, *(pcmu(number) for number in range(20, 30))])
    media = listener.session.statistics()
    assert (media.lost_packets, listener.seconds(concealed=True)) == (0, 0)
    assert media.jitter_seconds == pytest.approx(0, abs=1e-9)
    assert listener.seconds() == pytest.approx(0.6)
    assert listener.silent_seconds() == pytest.approx(0.2)


def test_comfort_noise_opens_a_span_of_silence(pcmu: PacketMaker) -> None:
    """The sender is quiet on purpose; nothing is lost and nothing has stalled."""
    listener = Listener()
    listener.hear([pcmu(1), pcmu(2), pcmu(3, payload_type=13, payload=b"\x3c")])
    assert listener.session.quiet
    listener.hear([pcmu(4, 3 * 160 + 8_000), pcmu(5, 4 * 160 + 8_000)], start=0.04 + 1.0)
    assert not listener.session.quiet
    (rest,) = [block.samples for block in listener.blocks if len(block.samples) > 160]
    assert len(rest) == 8_000
    assert 20 * np.log10(rest.std()) == pytest.approx(-60, abs=0.5)
    assert listener.session.statistics().lost_packets == 0


def test_an_unknown_payload_type_is_counted_and_told_but_never_guessed(pcmu: PacketMaker) -> None:
    """The network's numbers are right, the signal has no score, and the event says what to configure."""
    listener = Listener()
    listener.hear(pcmu(number, payload_type=111) for number in range(10))
    assert listener.blocks == []
    assert listener.session.statistics().received_packets == 10
    assert listener.session.undescribed_payload_type == 111
    (event,) = listener.session.take_events()
    assert event.kind is EventKind.UNKNOWN_PAYLOAD_TYPE
    assert '111 = "opus/48000/2"' in event.detail


def test_a_change_of_codec_goes_on_in_place(pcmu: PacketMaker) -> None:
    """A re-invite from mu-law to A-law keeps sequence and clock."""
    listener = Listener()
    listener.hear([pcmu(1), pcmu(2), pcmu(3, payload_type=8), pcmu(4, payload_type=8)])
    assert listener.seconds() == 0.08
    assert listener.events() == [EventKind.CODEC_CHANGED]
    assert listener.session.statistics().codec == "PCMA/8000"


def test_a_payload_that_its_codec_refuses_is_concealed(pcmu: PacketMaker) -> None:
    """641 bytes are no L16; the packet came, the listener heard nothing of it."""
    listener = Listener({96: "L16/16000"})
    payloads = [bytes(639) + b"\x40"] * 3 + [bytes(641)] + [bytes(639) + b"\x40"] * 2
    listener.hear(
        pcmu(number, number * 320, payload_type=96, payload=payload) for number, payload in enumerate(payloads)
    )
    assert listener.session.invalid_payloads == 1
    assert listener.seconds() == 0.12
    assert listener.seconds(concealed=True) == 0.02
    assert listener.session.statistics().lost_packets == 0


def test_g722_counts_8000_ticks_for_16000_samples(pcmu: PacketMaker) -> None:
    """RFC 3551 section 4.5.2: 50 packets are one second of 16 kHz audio."""
    encoder = make_encoder("G722/8000")
    payload = encoder.encode(np.zeros(320, np.float32))
    listener = Listener()
    listener.hear(pcmu(number, payload_type=9, payload=payload) for number in range(50) if number != 20)
    assert sum(len(block.samples) for block in listener.end().blocks) == 16_000
    assert listener.seconds(concealed=True) == 0.02


def test_opus_runs_on_48000_ticks_and_hears_its_fec(pcmu: PacketMaker) -> None:
    """The duration comes from the TOC; a lost packet is asked of the next one."""
    encoder = make_encoder("opus/48000/2", fec=True, expected_loss_ratio=0.3, bitrate_bps=24_000)
    t = np.arange(16_000) / 16_000
    voice = (0.3 * np.sign(np.sin(2 * np.pi * 150 * t))).astype(np.float32)
    payloads = [encoder.encode(voice[i : i + 320]) for i in range(0, 16_000, 320)]
    listener = Listener({111: "opus/48000/2"})
    listener.hear(
        pcmu(number, 960 * number, payload_type=111, payload=payload)
        for number, payload in enumerate(payloads)
        if number != 30
    )
    listener.end()
    assert listener.seconds() == 1.0
    assert listener.seconds(concealed=True) == 0
    assert listener.blocks[30].sample_rate_hz == 16_000
    assert listener.blocks[30].samples.std() > 0.1
    assert listener.session.statistics().recovered_packets == 1


@pytest.mark.parametrize("repeats", [False, True])
def test_a_damaged_packet_behind_a_gap_leaves_the_gap_made_up(repeats: bool) -> None:
    """Its TOC is whole and its frames are not: the five before it are concealed all the same, and not silence."""
    packets = {packet.sequence_number: packet for packet in opus_packets(60, fec=repeats)}
    good = packets[25]
    frames = b"\xff\xff" + (b"\xff" if repeats else b"\x00") * 3  # longer than what follows; FEC announced or not
    packets[25] = replace(good, payload=bytes([good.payload[0] | 2]) + frames)
    assert has_redundancy(packets[25].payload) is repeats
    listener = Listener({111: "opus/48000/2"})
    for number, packet in packets.items():
        if not 20 <= number < 25:
            listener.hear([packet], start=0.02 * number)
    listener.end()
    media = listener.session.statistics()
    assert (media.lost_packets, listener.session.invalid_payloads) == (5, 1)
    assert media.recovered_packets == int(repeats)  # the damaged one, from the packet behind it
    assert (listener.seconds(), listener.seconds(concealed=True)) == (1.2, 0.1 if repeats else 0.12)
    assert listener.silent_seconds() == 0


def test_a_flood_behind_a_gap_is_not_kept_without_end(pcmu: PacketMaker) -> None:
    """Memory is bounded by packets, not by the sender's manners."""
    listener = Listener()
    listener.hear([pcmu(1), pcmu(2)])
    listener.hear((pcmu(number) for number in range(4, 1_000)), start=0.05, every=0.0)
    assert listener.session.next_due_seconds is None
    assert listener.seconds(concealed=True) == 0.02
