"""Senders that are not ours, as the README hooks them up, into a real RTP source."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from programs import Program

from livemos.agent.clock import SystemClock
from livemos.agent.sources.file import read_audio
from livemos.agent.sources.rtp import RtpSource

pytestmark = pytest.mark.senders


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ffmpeg(clip: Path, port: int, *codec: str) -> list[str]:
    command = ["ffmpeg", "-v", "error", "-nostdin", "-re", "-i", str(clip), "-ac", "1", *codec]
    return [
        *command,
        "-f",
        "rtp",
        f"rtp://127.0.0.1:{port}?pkt_size=172" if "pcm_mulaw" in codec else f"rtp://127.0.0.1:{port}",
    ]


def send(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr


def check_heard(stream: Any, clip: Path, codec: str) -> None:
    """All of the clip, at its level, and not a packet lost."""
    original, rate = read_audio(clip)
    heard = stream.samples()
    media = stream.statistics[-1]
    assert media.codec == codec
    assert (media.lost_packets, media.late_packets, media.duplicate_packets) == (0, 0, 0)
    assert media.received_packets == media.expected_packets
    assert stream.seconds() == pytest.approx(len(original) / rate, abs=0.1)
    assert not any(block.concealed for block in stream.blocks)
    assert 20 * np.log10(heard.std() / original.std()) == pytest.approx(0, abs=1.5)


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("PCMU/8000", ("-ar", "8000", "-c:a", "pcm_mulaw")),
        ("PCMA/8000", ("-ar", "8000", "-c:a", "pcm_alaw")),
    ],
)
def test_ffmpeg_sends_g711(
    require: Callable[..., None], sink: Any, clip: Path, codec: str, options: tuple[str, ...]
) -> None:
    """The README's first sender: a static payload type, so nothing has to be described."""
    require("ffmpeg")
    source = RtpSource(name="rtp", host="127.0.0.1", port=0, sink=sink, clock=SystemClock())
    source.start()
    try:
        send(ffmpeg(clip, source.port, *options))
    finally:
        source.stop()
    (stream,) = sink.streams
    check_heard(stream, clip, codec)


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("opus/48000/2", ("-ar", "48000", "-c:a", "libopus", "-b:a", "32k")),
        ("G722/8000", ("-ar", "16000", "-c:a", "g722")),
        ("L16/44100", ("-ar", "44100", "-c:a", "pcm_s16be")),
    ],
)
def test_ffmpeg_sends_what_its_sdp_describes(
    require: Callable[..., None], sink: Any, clip: Path, codec: str, options: tuple[str, ...]
) -> None:
    """The description is FFmpeg's own, written before the packets that it describes."""
    require("ffmpeg")
    sdp, port = clip.with_suffix(".sdp"), free_port()
    # a first short run writes the description, so that the source listens before the first packet of the second
    send(
        [
            *ffmpeg(clip, port, *options)[:-3],
            "-t",
            "0.05",
            "-sdp_file",
            str(sdp),
            "-f",
            "rtp",
            f"rtp://127.0.0.1:{port}",
        ]
    )
    source = RtpSource(name="rtp", host="127.0.0.1", sdp=sdp, sink=sink, clock=SystemClock())
    source.start()
    try:
        assert source.port == port
        send(ffmpeg(clip, port, *options))
    finally:
        source.stop()
    (stream,) = sink.streams
    check_heard(stream, clip, codec)


def test_gstreamer_sends_opus(require: Callable[..., None], sink: Any, clip: Path) -> None:
    """The second independent implementation of RTP and of Opus' payload format."""
    require("gst-launch-1.0")
    source = RtpSource(
        name="rtp", host="127.0.0.1", port=0, payload_types={111: "opus/48000/2"}, sink=sink, clock=SystemClock()
    )
    source.start()
    pipeline = (
        f"filesrc location={clip} ! wavparse ! audioconvert ! audioresample ! audio/x-raw,rate=48000 ! opusenc ! "
        f"rtpopuspay pt=111 ! udpsink host=127.0.0.1 port={source.port}"
    )
    try:
        send(["gst-launch-1.0", "-q", *pipeline.split()])
    finally:
        source.stop()
    (stream,) = sink.streams
    check_heard(stream, clip, "opus/48000/2")


def test_gstreamer_rtpbin_sends_rtcp_beside_its_media(require: Callable[..., None], sink: Any, clip: Path) -> None:
    """RTP and sender reports on one port (RFC 5761): the reports are read, and none of them is taken for media."""
    require("gst-launch-1.0")
    source = RtpSource(name="rtp", host="127.0.0.1", port=0, sink=sink, clock=SystemClock())
    source.start()
    pipeline = (
        f"rtpbin name=rtp filesrc location={clip} ! wavparse ! audioconvert ! audioresample ! audio/x-raw,rate=8000 ! "
        f"audiobuffersplit output-buffer-duration=1/50 ! alawenc ! rtppcmapay ! rtp.send_rtp_sink_0 "
        f"rtp.send_rtp_src_0 ! udpsink host=127.0.0.1 port={source.port} "
        f"rtp.send_rtcp_src_0 ! udpsink host=127.0.0.1 port={source.port} sync=false async=false"
    )
    try:
        # not waited for: the end of the file sometimes never leaves rtpbin's RTCP pad, and the program stays
        with Program(["gst-launch-1.0", "-q", *pipeline.split()]):
            sink.wait_for(lambda: bool(sink.streams) and sink.streams[0].seconds() > 2.99, timeout_seconds=15)
            pause = threading.Event()
            for _ in range(100):  # the first report comes when rtpbin draws it, at the latest with its goodbye
                if source.statistics().get("sender_reports"):
                    break
                pause.wait(0.05)
    finally:
        source.stop()
    (stream,) = sink.streams
    check_heard(stream, clip, "PCMA/8000")
    counts = source.statistics()
    assert counts["sender_reports"] > 0
    assert counts.get("invalid_rtcp_packets", 0) == counts.get("insane_sender_reports", 0) == 0


def test_the_clip_is_speech(clip: Path) -> None:
    """A silent clip would pass every comparison of levels above."""
    samples, rate = soundfile.read(clip)
    assert rate == 16_000
    assert samples.std() > 0.005
