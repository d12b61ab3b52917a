"""Every parser of bytes from outside answers or raises our own error; a good stream beside the bytes lives on."""

from __future__ import annotations

import contextlib
import io
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from rtp_traffic import CaptureWriter, Port, pcmu

from livemos.agent.codecs.opus import has_redundancy, is_dtx
from livemos.agent.errors import SdpError
from livemos.agent.rtp.capture_file import CaptureError, CaptureReader
from livemos.agent.rtp.decapsulate import FRAGMENT_BYTES, Decapsulator
from livemos.agent.rtp.packet import build
from livemos.agent.rtp.redundancy import RedundancyError, parse_blocks
from livemos.agent.rtp.rtcp import RtcpError, parse_compound
from livemos.agent.rtp.sdp import parse_sdp

MAGICS = st.sampled_from([b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\xa1\xb2\x3c\x4d", b"\x0a\x0d\x0d\x0a"])
FRAME = CaptureWriter.frame(pcmu(1), shape="qinq")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120))
def test_reports_redundancy_and_opus_framing_refuse_or_answer(data: bytes) -> None:
    """All three read lengths that a stranger wrote."""
    with contextlib.suppress(RtcpError):
        parse_compound(b"\x80\xc9" + data)
    with contextlib.suppress(RedundancyError):
        assert sum(len(block.payload) for block in parse_blocks(data)) <= len(data)
    has_redundancy(data)
    is_dtx(data)


@settings(max_examples=300, deadline=None)
@given(MAGICS, st.binary(max_size=300))
def test_a_damaged_capture_ends_or_is_refused(magic: bytes, data: bytes) -> None:
    """Time and memory stay in proportion to the file."""
    with contextlib.suppress(CaptureError):
        assert sum(len(frame.data) for frame in CaptureReader(io.BytesIO(magic + data))) <= len(data)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 300), st.binary(max_size=80), st.integers(0, len(FRAME)), st.integers(0, 255))
def test_a_mutated_frame_gives_a_datagram_or_nothing(link: int, tail: bytes, position: int, value: int) -> None:
    """Tunnels nest, fragments overlap, lengths lie."""
    opener = Decapsulator(Counter())
    mutated = bytearray(FRAME + tail)
    mutated[min(position, len(mutated) - 1)] = value
    for frame in (tail, bytes(mutated), bytes(mutated[:position])):
        opener.open(link, frame, 0.0)
        opener.open(1, frame, 0.0)
    assert opener._piece_bytes <= FRAGMENT_BYTES


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["v=0", "m=audio 5004 RTP/SAVP 96", "c=IN IP4 1.2.3.4", "a=rtpmap:96 L16/8000", "a=crypto:"]
        ).flatmap(lambda line: st.text(max_size=12).map(lambda tail: line + tail)),
        max_size=12,
    )
)
def test_any_text_is_a_description_or_an_sdp_error(lines: list[str]) -> None:
    """It was copied out of a log or a mail."""
    port, problem = 0, ""
    try:
        port = parse_sdp("\n".join(lines), where="a mail").port
    except SdpError as error:
        problem = str(error)
    assert 0 < port < 65_536 or "a mail" in problem


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 171), st.integers(0, 255), st.integers(0, 172)), max_size=60))
def test_mutated_packets_leave_the_stream_beside_them_whole(damage: list[tuple[int, int, int]]) -> None:
    """The header of the good stream's SSRC is left alone; everything else may be anything."""
    port = Port({101: "telephone-event/8000", 121: "red/8000", 111: "opus/48000/2"})
    for number in range(60):
        port.send(pcmu(number, ssrc=1), every=0.01)
        if number < len(damage):
            position, value, size = damage[number]
            mutated = bytearray(build(pcmu(number, ssrc=2)))
            mutated[position] = value
            if mutated[8:12] != b"\0\0\0\1":
                port.send_bytes(bytes(mutated[:size]), peer=("192.0.2.2", 9), every=0.0)
        port.wait(0.01)
    port.receiver.close("end")
    (good,) = [stream for stream in port.streams if stream.source_id == "desk/00000001"]
    assert (good.statistics.received_packets, good.statistics.lost_packets) == (60, 0)
    assert abs(good.seconds - 1.2) < 1e-6
