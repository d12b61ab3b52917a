"""Rules 19 to 23 of RTP done right: addresses, floods, groups, mirrors and captures.

Expected values come from the RFC or from arithmetic in the test, never from what the program printed.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import dpkt
import numpy as np
import pytest
from rtp_traffic import CaptureWriter, Port, events, pcmu

from livemos.agent.clock import SystemClock
from livemos.agent.errors import SourceError
from livemos.agent.reasons import Reason
from livemos.agent.records import EventKind, Mark, StreamState
from livemos.agent.rtp.addresses import AddressPolicy, Transport, transport
from livemos.agent.rtp.admission import Caps
from livemos.agent.rtp.capture_file import CaptureReader
from livemos.agent.rtp.decapsulate import LINK_ETHERNET, Decapsulator
from livemos.agent.rtp.packet import build, parse
from livemos.agent.sources.rtp import RtpSource

PEER = transport("192.0.2.1", 5_000)


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


def test_rule_19_nobody_is_heard_beside_the_sender_that_was_learned() -> None:
    """Neither a newcomer nor one that had sent its first packet already."""
    port = Port(policy=AddressPolicy.LEARN_ONCE)
    port.send(pcmu(1, ssrc=2), peer=("192.0.2.2", 5_000))
    port.send(*(pcmu(number) for number in range(10)))
    for ssrc in (2, 3):
        port.send(*(pcmu(number, ssrc=ssrc) for number in range(2, 6)), peer=("192.0.2.2", 5_000))
    assert (port.only().seconds, port.counts["source_rejected_packets"]) == (pytest.approx(0.2), 8)


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


def test_rule_20_a_stranger_that_goes_on_does_not_keep_the_others() -> None:
    """It never has two packets in sequence; what began after it and fell silent is forgotten all the same."""
    port = Port()
    for number in range(100):
        port.send(pcmu(2 * number, ssrc=1), pcmu(7 * number, ssrc=1_000 + number), every=0.05)
    # the stranger, and who was heard in the last 2 s: 20 at ten a second, and one between two sweeps
    assert port.receiver.senders <= 22
    assert port.counts["probation_dropped_packets"] >= 78


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


def test_rule_23_from_its_first_cut_packet_on_a_stream_is_only_counted(tmp_path: Path) -> None:
    """A snaplen of 128 keeps short packets whole: what a half packet decodes to would be scored beside them."""
    writer = CaptureWriter()
    sizes = [40] * 10 + [160] * 30 + [40] * 10
    for number, size in enumerate(sizes):
        writer.add(pcmu(number, sum(sizes[:number]), payload=b"\x20\xa0" * (size // 2)), 0.02 * number)
    stream = writer.replay(tmp_path / "mixed.pcap", snaplen=128).only()
    assert stream.seconds == pytest.approx(10 * 0.005)
    assert stream.states == [(StreamState.ACTIVE, None), (StreamState.UNDESCRIBED, Reason.CUT)]
    assert (stream.statistics.received_packets, stream.statistics.lost_packets) == (50, 0)
    assert events(stream.events, EventKind.CAPTURE_LOSS) == [EventKind.CAPTURE_LOSS]


@pytest.mark.parametrize(("cut_packets", "streams"), [(3, 2), (1, 1)])
def test_rule_23_what_was_held_before_the_first_cut_packet_is_not_played(cut_packets: int, streams: int) -> None:
    """A second SSRC, proven, and not yet known whose stream it is: with its cut packets it proves itself anew."""
    port = Port()
    port.send(*(pcmu(number) for number in range(10)), every=0.01)
    port.send(pcmu(500, ssrc=2), pcmu(501, ssrc=2), every=0.001)
    for number in range(502, 502 + cut_packets):
        port.receiver.hear(build(pcmu(number, ssrc=2))[:60], PEER, Transport("", 5_004), port.now, cut=True)
    port.wait(3)
    assert [stream.seconds for stream in port.streams] == [pytest.approx(0.2), 0][:streams]
    assert port.receiver.senders == streams


def test_rule_23_a_cut_packet_is_counted_by_its_header_alone() -> None:
    """Padding count, extension and payload lie where the capture kept nothing."""
    port = Port()
    for number in range(10):
        header = bytearray(build(pcmu(number))[:12])
        header[0] |= 0x30  # padding and extension
        port.receiver.hear(bytes(header) + b"\xbe\xde\x00\x09", PEER, PEER, 0.02 * number, cut=True)
    assert (port.only().statistics.received_packets, port.only().seconds) == (10, 0)
    port.receiver.hear(build(pcmu(10))[:11], PEER, PEER, 0.2, cut=True)
    assert port.counts["invalid_short_packets"] == 1
