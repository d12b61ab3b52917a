"""The RTP source over real sockets of this machine."""

from __future__ import annotations

import base64
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording import RecordingSink

from livemos.agent.clock import SystemClock
from livemos.agent.codecs import make_encoder
from livemos.agent.errors import SourceError
from livemos.agent.reasons import Reason
from livemos.agent.records import EventKind, StreamState
from livemos.agent.rtp.packet import Packet, build, parse
from livemos.agent.rtp.payload_map import PayloadMap
from livemos.agent.rtp.session import RtpSession
from livemos.agent.sources import SOURCES
from livemos.agent.sources.rtp import RtpSource
from livemos.agent.sources.rtp_stream import RtpStream


@contextmanager
def listening(sink: Any, **settings: Any) -> Iterator[tuple[RtpSource, Callable[[bytes], None]]]:
    """A started source and a function that sends it a datagram."""
    source = RtpSource(name="desk", host="127.0.0.1", port=0, sink=sink, clock=SystemClock(), **settings)
    source.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        try:
            yield source, lambda datagram: sender.sendto(datagram, ("127.0.0.1", source.port)) and None
        finally:
            source.stop()


def pcmu(number: int, *, ssrc: int = 0xABC, payload_type: int = 0) -> bytes:
    return build(
        Packet(
            payload_type=payload_type,
            sequence_number=number % 2**16,
            timestamp=160 * number,
            ssrc=ssrc,
            marker=False,
            payload=b"\x20\xa0" * 80,
        )
    )


def test_a_sender_becomes_a_stream_with_its_audio_and_its_numbers(sink: Any) -> None:
    """The way of every bridge that is hooked up."""
    with listening(sink, labels={"site": "a"}) as (source, send):
        for number in (1, 2, 3, 5, 4, 6):
            send(pcmu(number))
        sink.wait_for(lambda: bool(sink.streams) and sink.streams[0].seconds() > 0.119)
        (stream,) = sink.streams
        sink.wait_for(lambda: bool(stream.statistics) and stream.statistics[-1].received_packets == 6)
        assert source.wait(0) is False
    assert stream.description.source_id == "desk/00000abc"
    assert stream.description.labels == {"site": "a"}
    assert stream.states[0] == (StreamState.ACTIVE, None)
    assert stream.blocks[0].sample_rate_hz == 8_000
    assert stream.statistics[-1].reordered_packets == 1
    assert stream.closed is not None
    assert source.statistics()["received_packets"] == 6


def test_two_senders_on_one_port_are_two_streams(sink: Any) -> None:
    """A bridge sends all its calls to one port; the SSRC tells them apart."""
    with listening(sink) as (_, send):
        for number in range(5):
            send(pcmu(number, ssrc=1))
            send(pcmu(number, ssrc=2))
        sink.wait_for(lambda: len(sink.streams) == 2 and all(stream.seconds() > 0.099 for stream in sink.streams))
    assert {stream.description.source_id.rpartition("/")[2] for stream in sink.streams} == {"00000001", "00000002"}


def test_a_gap_is_given_up_by_the_clock_although_nothing_more_arrives(sink: Any) -> None:
    """The last words before a hang-up must not wait for a packet that never comes."""
    with listening(sink) as (_, send):
        for number in (1, 2, 4):
            send(pcmu(number))
        sink.wait_for(lambda: bool(sink.streams) and len(sink.streams[0].blocks) == 4)
    assert [block.concealed for block in sink.streams[0].blocks] == [False, False, True, False]


def test_silence_is_told_as_stalled_and_its_end_as_resumed(sink: Any) -> None:
    """The operator sees a dead line within the second; scores are missing with a reason."""
    with listening(sink) as (_, send):
        send(pcmu(1))
        send(pcmu(2))
        sink.wait_for(lambda: bool(sink.streams) and EventKind.MEDIA_STALLED in sink.streams[0].event_kinds())
        (stream,) = sink.streams
        assert stream.states[-1] == (StreamState.STALLED, Reason.NO_MEDIA)
        send(pcmu(3))
        sink.wait_for(lambda: EventKind.MEDIA_RESUMED in stream.event_kinds() and len(stream.states) == 3)
        assert stream.states[-1] == (StreamState.ACTIVE, None)


def test_a_sender_in_bursts_is_called_stalled_once_and_then_known(sink: Any) -> None:
    """FFmpeg reading FLAC sends 13 packets every 0.26 s: a change of state for each burst would bury real faults."""
    session = RtpSession(payload_map=PayloadMap())
    stream = RtpStream(source_id="desk/1", detail="", labels={}, session=session, sink=sink, counts=Counter())
    for burst in range(20):
        for number in range(13):
            now = 0.26 * burst
            stream.hear(session.push(parse(pcmu(13 * burst + number)), now), now)
        for step in range(1, 13):
            stream.watch(0.26 * burst + 0.02 * step)
    kinds = sink.streams[0].event_kinds()
    assert kinds == [EventKind.MEDIA_STALLED, EventKind.MEDIA_RESUMED]
    stream.watch(0.26 * 20 + 1.0)
    assert sink.streams[0].event_kinds()[-1] is EventKind.MEDIA_STALLED


def test_an_idle_stream_is_closed_and_the_same_sender_opens_a_new_one(sink: Any) -> None:
    """Streams are a bounded resource, and bridges hang up without a word."""
    with listening(sink, idle_seconds=0.15) as (_, send):
        send(pcmu(1))
        send(pcmu(2))
        sink.wait_for(lambda: bool(sink.streams) and sink.streams[0].closed is not None)
        assert sink.streams[0].closed == "no packets for 0.15 s"
        send(pcmu(3))
        send(pcmu(4))
        sink.wait_for(lambda: len(sink.streams) == 2)


def test_an_unknown_payload_type_opens_a_stream_without_scores_and_says_why(sink: Any) -> None:
    """The commonest mistake of a first hook-up is a payload map without 111."""
    with listening(sink) as (_, send):
        for number in range(10):
            send(pcmu(number, payload_type=111))
        sink.wait_for(lambda: bool(sink.streams) and bool(sink.streams[0].events))
        (stream,) = sink.streams
        assert stream.states == [(StreamState.UNDESCRIBED, Reason.UNSUPPORTED_CODEC)]
        assert stream.event_kinds() == [EventKind.UNKNOWN_PAYLOAD_TYPE]
        assert stream.blocks == []


def test_beyond_the_cap_the_newest_stream_is_refused_and_what_runs_goes_on(small_sink: Any) -> None:
    """Out of room, the newest work is refused and counted."""
    with listening(small_sink) as (source, send):
        for number in range(3):
            send(pcmu(number, ssrc=1))
        small_sink.wait_for(lambda: bool(small_sink.streams) and small_sink.streams[0].seconds() > 0.059)
        for number in range(3):  # while the first goes on, so that the second is no next generation of it
            send(pcmu(number, ssrc=2))
            send(pcmu(3 + number, ssrc=1))
        small_sink.wait_for(lambda: small_sink.streams[0].seconds() > 0.119)
        assert len(small_sink.streams) == 1
        assert source.statistics()["refused_streams"] == 1
        assert source.statistics()["refused_packets"] == 2


def test_a_stream_that_finds_no_room_keeps_nothing_of_what_happened_to_it() -> None:
    """Refused for a night, a sender whose clock jumps would fill the memory with events for nobody."""
    sink, counts = RecordingSink(room=0), Counter[str]()
    session = RtpSession(payload_map=PayloadMap())
    stream = RtpStream(source_id="desk/1", detail="", labels={}, session=session, sink=sink, counts=counts)
    for number in range(500):
        packet = parse(pcmu(number))
        jumps = replace(packet, timestamp=(packet.timestamp + number % 2 * 80_000) % 2**32)
        stream.hear(session.push(jumps, 0.02 * number), 0.02 * number)
    assert session.take_events() == []
    assert counts["refused_packets"] > 400
    sink.room = 1
    stream.hear(session.push(parse(pcmu(500)), 12.0), 12.0)
    assert len(sink.streams) == 1 and len(sink.streams[0].events) <= 1


def test_what_is_not_rtp_is_counted_by_its_kind(sink: Any) -> None:
    """RTCP, STUN and DTLS share the port; none of them is audio, none of them an error."""
    with listening(sink) as (source, send):
        for datagram in (b"\x80\xc8" + bytes(26), b"\x00\x01" + bytes(18), b"\x16\xfe\xfd", b"\x80\x00", b"hello"):
            send(datagram)
        for number in range(3):
            send(pcmu(number))
        sink.wait_for(lambda: bool(sink.streams) and sink.streams[0].seconds() > 0.059)
        counts = source.statistics()
    assert (counts["rtcp_packets"], counts["stun_packets"], counts["dtls_packets"]) == (1, 1, 1)
    assert (counts["invalid_short_packets"], counts["unknown_packets"]) == (1, 1)
    assert len(sink.streams) == 1


def test_an_sdp_file_gives_the_port_and_the_codec(sink: Any, tmp_path: Path) -> None:
    """Bridges and FFmpeg describe their Opus in such a file."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    sdp = tmp_path / "call.sdp"
    sdp.write_text(f"v=0\nc=IN IP4 127.0.0.1\nm=audio {port} RTP/AVP 97\na=rtpmap:97 opus/48000/2\n")
    source = RtpSource(name="call", host="127.0.0.1", sdp=sdp, sink=sink, clock=SystemClock())
    source.start()
    try:
        assert source.port == port
        payload = make_encoder("opus/48000/2").encode(np.zeros(320, np.float32))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(3):
                packet = Packet(
                    payload_type=97,
                    sequence_number=number,
                    timestamp=960 * number,
                    ssrc=5,
                    marker=False,
                    payload=payload,
                )
                sender.sendto(build(packet), ("127.0.0.1", port))
        sink.wait_for(lambda: bool(sink.streams) and len(sink.streams[0].blocks) == 3)
        assert sink.streams[0].blocks[0].sample_rate_hz == 16_000
    finally:
        source.stop()


def test_a_description_whose_key_has_an_mki_opens_what_bears_it(sink: Any, tmp_path: Path) -> None:
    """The source sets the roll-over counter of the description's key, and leaves the rest of it as it is."""
    srtp = pytest.importorskip("pylibsrtp")
    master = bytes(range(30))
    sdp = tmp_path / "call.sdp"
    crypto = f"AES_CM_128_HMAC_SHA1_80 inline:{base64.b64encode(master).decode()}|2^20|1:4"
    sdp.write_text(f"v=0\nc=IN IP4 127.0.0.1\nm=audio 40000 RTP/SAVP 0\na=crypto:1 {crypto}\n")
    out = srtp.Session(srtp.Policy(key=master, ssrc_type=srtp.Policy.SSRC_ANY_OUTBOUND))
    with listening(sink, sdp=sdp) as (source, send):
        for number in range(5):
            sealed = out.protect(pcmu(number))
            send(sealed[:-10] + b"\0\0\0\1" + sealed[-10:])
        sink.wait_for(lambda: bool(sink.streams) and sink.streams[0].seconds() > 0.099)
        assert source.statistics().get("srtp_auth_failed_packets", 0) == 0


def test_a_port_in_use_is_named_with_what_to_do(sink: Any) -> None:
    """The second agent on a machine, or the bridge itself: the commonest failure of a start."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        source = RtpSource(name="desk", host="127.0.0.1", port=port, sink=sink, clock=SystemClock())
        with pytest.raises(SourceError, match=f"UDP port {port} on 127.0.0.1 is in use .* choose another port"):
            source.start()


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"host": "192.0.2.1"}, "cannot be bound"),
        ({"payload_types": {96: "nonsense"}}, "NAME/CLOCK"),
        ({"sdp": "missing.sdp"}, "missing.sdp cannot be read"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_start(sink: Any, settings: dict[str, Any], part: str) -> None:
    """Each one names the source, so that the operator finds the line to correct."""
    source = RtpSource(**{"name": "desk", "port": 0, "sink": sink, "clock": SystemClock(), **settings})
    with pytest.raises(SourceError, match=f"source desk: .*{part}"):
        source.start()


def test_a_multicast_description_is_refused_and_not_silently_deaf(sink: Any, tmp_path: Path) -> None:
    """Without a join nothing would ever arrive, and nobody would know why."""
    sdp = tmp_path / "group.sdp"
    sdp.write_text("v=0\nc=IN IP4 233.252.0.1/127\nm=audio 5004 RTP/AVP 0\n")
    with pytest.raises(SourceError, match=r"source desk: the multicast group .* needs an interface"):
        RtpSource(name="desk", sdp=sdp, sink=sink, clock=SystemClock()).start()


def test_every_kind_of_source_is_registered() -> None:
    """Settings name these."""
    assert set(SOURCES) == {"rtp", "pcap", "microphone", "file", "stdin"}


def test_workers_share_a_port_and_each_hears_whole_streams() -> None:
    """A stream cut in two would be two streams with half of the packets lost each."""
    sink = RecordingSink()
    with (
        listening(sink, receive_workers=3) as (source, send),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        other.connect(("127.0.0.1", source.port))
        for n in range(60):
            for ssrc in range(12):
                # half of the calls from another address: the kernel's own choice goes by addresses; numbers far apart,
                # because a call of one address that goes on where another one paused is its new SSRC (rule 8)
                (send if ssrc % 2 else other.send)(pcmu(4_000 * ssrc + n, ssrc=ssrc))
            other.send(bytes([0x80, 201, 0, 1]) + (n % 12).to_bytes(4))
        sink.wait_for(lambda: len(sink.streams) == 12 and all(each.seconds() > 1.19 for each in sink.streams))
        heard = [port.counts["received_packets"] for port in source._ports]
    assert heard == [260, 260, 260]  # 240 packets and 20 reports each: SSRC modulo 3


@pytest.mark.parametrize("reporter", [0x5000, 0x5001, 0x5002])
def test_what_the_far_side_reports_finds_the_worker_of_its_sender(reporter: int) -> None:
    """The kernel steers RTCP by who wrote it; whom it speaks of is heard by another worker, two times in three."""
    sink = RecordingSink()
    report = struct.pack("!BBHIIIIIII", 0x81, 201, 7, reporter, 0xABC, 64 << 24 | 5, 30, 80, 0, 0)
    with listening(sink, receive_workers=3) as (_, send):
        for number in range(3):
            send(pcmu(number))
        sink.wait_for(lambda: bool(sink.streams) and sink.streams[0].seconds() > 0.059)
        send(report)
        sink.wait_for(lambda: any(each.remote_lost_ratio is not None for each in sink.streams[0].statistics))
    assert sink.streams[0].statistics[-1].remote_lost_ratio == 0.25


@pytest.mark.parametrize(
    ("settings", "why"),
    [({"addresses": "learn_once"}, "different senders"), ({"group": "239.1.2.3", "interface": "lo"}, "every packet")],
    ids=["learn_once", "group"],
)
def test_what_workers_cannot_share_is_refused_with_what_to_do(settings: dict[str, str], why: str) -> None:
    """Two workers that both learn a first sender, or both hear a group, would give wrong streams."""
    with pytest.raises(SourceError, match=f"{why}.*receive_workers = 1"):
        listening(RecordingSink(), receive_workers=2, **settings).__enter__()


def test_workers_do_not_take_half_of_another_programs_port() -> None:
    """Sockets that share a port do not notice a second agent: its operator would see half of the streams."""
    with listening(RecordingSink(), receive_workers=2) as (source, _):
        second = RtpSource(
            name="two",
            host="127.0.0.1",
            port=source.port,
            receive_workers=2,
            sink=RecordingSink(),
            clock=SystemClock(),
        )
        with pytest.raises(SourceError, match="in use"):
            second.start()
