"""Session descriptions as bridges and FFmpeg write them, and as they should not be."""

from __future__ import annotations

import pytest

from livemos.agent.codecs import make_decoder
from livemos.agent.errors import CodecError, SdpError
from livemos.agent.resample import StreamResampler
from livemos.agent.rtp.payload_map import PayloadMap, Role
from livemos.agent.rtp.sdp import parse_sdp

FFMPEG = """SDP:
v=0
o=- 0 0 IN IP4 127.0.0.1
s=No Name
c=IN IP4 127.0.0.1
t=0 0
a=tool:libavformat 62.12.102
m=audio 5004 RTP/AVP 97
b=AS:64
a=rtpmap:97 opus/48000/2
"""

BRIDGE = """v=0\r
o=- 1 1 IN IP4 192.0.2.9\r
s=-\r
c=IN IP4 192.0.2.9\r
t=0 0\r
m=video 5006 RTP/AVP 102\r
a=rtpmap:102 H264/90000\r
m=audio 49170 RTP/AVP 0 111 101 100 118\r
c=IN IP4 233.252.0.1/127\r
a=rtpmap:111 opus/48000/2\r
a=fmtp:111 minptime=10;useinbandfec=1\r
a=rtpmap:101 telephone-event/8000\r
a=rtpmap:100 EVS/16000\r
a=rtpmap:118 CN/8000\r
a=ptime:20\r
"""


def test_what_ffmpeg_writes_is_read() -> None:
    """The README's Opus and G.722 senders come with such a file."""
    description = parse_sdp(FFMPEG)
    assert (description.address, description.port) == ("127.0.0.1", 5004)
    assert description.payload_types == {97: "opus/48000/2"}


def test_the_audio_section_of_a_bridge_is_found_and_its_lines_win() -> None:
    """Media-level lines go before session-level ones; a codec we lack may be offered without being sent."""
    description = parse_sdp(BRIDGE)
    assert (description.address, description.port, description.ptime_ms) == ("233.252.0.1", 49170, 20)
    assert description.payload_types == {111: "opus/48000/2", 101: "telephone-event/8000", 118: "CN/8000"}
    assert description.parameters == {111: "minptime=10;useinbandfec=1"}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "no m=audio"),
        ("hello world", "line 1.*is this an SDP file"),
        (FFMPEG.replace("m=audio 5004", "m=audio 0"), "no m=audio line with a port"),
        (FFMPEG.replace("m=audio 5004", "m=audio many"), "m=audio PORT"),
        (FFMPEG.replace("5004", "65536"), "port 65536 does not exist"),
        (FFMPEG.replace("RTP/AVP", "RTP/SAVP"), "not plain RTP"),
        (FFMPEG.replace("c=IN IP4 127.0.0.1", "a=x"), 'no "c=IN IP4'),
        (FFMPEG.replace("a=rtpmap:97 opus/48000/2", ""), "payload type 97 has no"),
        (FFMPEG.replace("opus/48000/2", "opus"), "NAME/CLOCK"),
        (FFMPEG.replace("opus/48000/2", "opus /48000"), "NAME/CLOCK"),
        (FFMPEG + "a=ptime:never\n", "ptime:never"),
        (FFMPEG + "a=ptime:0\n", "cannot be"),
    ],
)
def test_a_description_that_cannot_be_used_says_why_and_where(text: str, part: str) -> None:
    """The operator wrote or copied it; the message names the file and the line at fault."""
    with pytest.raises(SdpError, match=part) as refused:
        parse_sdp(text, where="call.sdp")
    assert str(refused.value).startswith("call.sdp")


def test_static_numbers_are_known_and_dynamic_ones_are_not_guessed() -> None:
    """111 is often Opus; decoding something else as Opus would be noise with a score."""
    payloads = PayloadMap({111: "opus/48000/2", 96: "L16/16000", 101: "telephone-event/8000"})
    roles = {number: payloads.role_of(number) for number in (0, 3, 8, 9, 10, 11, 18, 111, 96, 13, 101, 4, 97)}
    audio = dict.fromkeys((0, 3, 8, 9, 10, 11, 18, 111, 96), Role.AUDIO)
    others = {13: Role.COMFORT_NOISE, 101: Role.TELEPHONE_EVENT, 4: Role.UNKNOWN, 97: Role.UNKNOWN}
    assert roles == audio | others


def test_format_parameters_that_decide_how_a_payload_is_read_come_along() -> None:
    """Octet-aligned AMR read as bandwidth-efficient is noise; what a codec need not know stays out."""
    offered = BRIDGE.replace("a=rtpmap:100 EVS/16000\r\n", "a=rtpmap:100 AMR-WB/16000\r\n")
    offered += "a=fmtp:100 mode-set=0,2; octet-align=1; max-red=0\r\n"
    assert parse_sdp(offered).payload_types[100] == "AMR-WB/16000;octet-align=1"
    # what it cannot decode with these parameters is left out, as a codec that is not known
    assert 100 not in parse_sdp(offered.replace("max-red=0", "interleaving=4")).payload_types


@pytest.mark.parametrize("offered", ["AMR-WB+/72000", "VND.X/8000/stereo", "~!#/16000", "x-new", "MPA/90000000"])
def test_an_offer_of_a_codec_that_is_not_known_does_not_cost_the_others(offered: str) -> None:
    """Any token may name an encoding (RFC 8866 section 6.6), what stands behind it is that encoding's own affair."""
    described = BRIDGE.replace("EVS/16000", offered)
    assert parse_sdp(described).payload_types == {111: "opus/48000/2", 101: "telephone-event/8000", 118: "CN/8000"}


@pytest.mark.parametrize("rate_hz", [1_000, 384_000])
def test_a_rate_that_is_taken_at_start_can_be_played(rate_hz: int) -> None:
    """The limits of the L16 decoder are those of the resampler behind it."""
    samples = make_decoder(f"L16/{rate_hz}").decode(bytes(2 * rate_hz // 50))
    resampler = StreamResampler(rate_hz)
    heard = len(resampler.push(samples)) + len(resampler.flush())
    assert heard == 320
    beyond = rate_hz - 1 if rate_hz == 1_000 else rate_hz + 1
    for refused in (lambda: make_decoder(f"L16/{beyond}"), lambda: StreamResampler(beyond)):
        with pytest.raises((CodecError, ValueError), match="1,000"):
            refused()


@pytest.mark.parametrize(
    ("number", "encoding", "part"),
    [
        (72, "opus/48000/2", "payload type 72"),
        (128, "PCMU/8000", "128"),
        (96, "SILK/16000", "no codec"),
        (96, "AMR-WB+/72000", "no codec"),
        (96, "L16/800", "1,000 to 384,000 Hz"),
        (96, "L16/400000", "1,000 to 384,000 Hz"),
    ],
)
def test_a_configured_number_that_cannot_be_is_refused(number: int, encoding: str, part: str) -> None:
    """72 to 76 are RTCP on the same port (RFC 5761); an unknown codec would wait in vain."""
    with pytest.raises(CodecError, match=part):
        PayloadMap({number: encoding})
