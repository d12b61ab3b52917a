"""The network MOS of the last seconds, and what is withheld when the loss was our own."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
from rtp_traffic import Listener, Port

from livemos.agent.records import EventKind
from livemos.agent.rtp.ingest import PacketRun
from livemos.agent.rtp.packet import Packet

PacketMaker = Callable[..., Packet]


def test_the_recent_network_mos_forgets_what_the_call_remembers(pcmu: PacketMaker) -> None:
    """10 % of loss in the first 10 s, none in the next 10: the call is at 3.4 to 4.1, its last seconds at 4.41."""
    listener = Listener()
    now = listener.hear((pcmu(number) for number in range(500) if number % 10 != 5), every=0.02 * 10 / 9)
    early = listener.session.statistics()
    assert early.network_mos is not None and early.recent_network_mos is not None
    assert early.recent_network_mos == pytest.approx(early.network_mos, abs=0.05)
    listener.hear((pcmu(number) for number in range(500, 1_000)), start=max(now, 10.0))
    late = listener.session.statistics()
    assert late.recent_network_mos == pytest.approx(4.41, abs=0.005)
    assert late.network_mos is not None and late.network_mos < 4.2


def test_a_run_of_packets_leaves_the_same_network_mos_as_packet_by_packet(pcmu: PacketMaker) -> None:
    """The fast way of the socket must not show another number than the replay of its capture."""

    one, many = Listener(), Listener()
    payload = np.frombuffer(pcmu(0).payload, np.uint8)
    for begin in range(0, 1_000, 100):
        alone = range(begin + (begin > 0), begin + 30)  # the first of every hundred is lost
        together = range(begin + 30, begin + 100)
        for listener in (one, many):
            listener.hear((pcmu(number) for number in alone), start=0.02 * alone[0])
        for number in together:
            one.session.push(pcmu(number), 0.02 * number)
        assert many.session.steady() is not None
        arrivals = [0.02 * number for number in together]
        many.session.push_run(PacketRun(payloads=np.tile(payload, (len(together), 1)), arrivals=arrivals))
        mine, theirs = one.session.statistics(), many.session.statistics()
        assert mine.recent_network_mos == theirs.recent_network_mos
        assert (mine.network_mos, mine.lost_packets) == (theirs.network_mos, theirs.lost_packets)
    assert mine.lost_packets == 9
    assert mine.recent_network_mos is not None and mine.recent_network_mos < 4.4


def test_a_capture_loss_withholds_the_network_mos_and_begins_it_anew(pcmu: PacketMaker) -> None:
    """40 packets that our own socket dropped are not the network's: unset for 2 s, and no loss afterwards."""
    port = Port()
    port.send(*(pcmu(number) for number in range(200)))
    port.receiver.capture_lost(40)
    port.send(*(pcmu(number) for number in range(240, 260)))
    media = port.only().statistics
    assert media.lost_packets == 40
    assert (media.network_mos, media.recent_network_mos) == (None, None)
    port.send(*(pcmu(number) for number in range(260, 460)))
    media = port.only().statistics
    assert media.network_mos == pytest.approx(4.41, abs=0.005)
    assert media.recent_network_mos == pytest.approx(4.41, abs=0.005)
    assert EventKind.CAPTURE_LOSS in [kind for kind, _ in port.only().events]


def receiver_report(ssrc: int, *, lost: int, jitter_ticks: int, mos_lq: int = 127) -> bytes:
    """RR of a far receiver with one block, then XR with VoIP metrics."""
    block = struct.pack("!IIIIII", ssrc, lost << 24, 0, jitter_ticks, 0, 0)
    metrics = struct.pack("!I12x4xBBBB8x", ssrc, 80, 127, mos_lq, 127)
    extended = struct.pack("!BBH", 7, 0, 8) + metrics
    xr = struct.pack("!BBHI", 0x80, 207, 1 + len(extended) // 4, 9) + extended
    return struct.pack("!BBHI", 0x81, 201, 7, 9) + block + xr


def test_what_the_far_receiver_says_is_shown_apart(pcmu: PacketMaker) -> None:
    """A quarter lost and 10 ms of jitter over there: told beside our own figures, which stay as they are."""
    port = Port()
    port.send(*(pcmu(number) for number in range(100)))
    before = port.only().statistics
    port.send_bytes(receiver_report(0x1234, lost=64, jitter_ticks=80, mos_lq=38))
    after = port.only().statistics
    assert (after.remote_lost_ratio, after.remote_jitter_seconds, after.remote_mos) == (0.25, 0.01, 3.8)
    assert (after.lost_packets, after.network_mos) == (before.lost_packets, before.network_mos)
    port.send_bytes(receiver_report(0x1234, lost=0, jitter_ticks=0x1000_0000))
    assert port.only().statistics.remote_jitter_seconds is None  # 9 hours: a broken receiver's figure
