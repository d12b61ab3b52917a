"""SRTP from senders that are not ours: opened with its key, told and never scored with another."""

from __future__ import annotations

import base64
import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from recording import RecordingSink, RecordingStream

from livemos.agent.clock import SystemClock
from livemos.agent.reasons import Reason
from livemos.agent.records import EventKind, StreamState
from livemos.agent.sources.rtp import RtpSource

pytestmark = pytest.mark.senders
AES_CM, AES_GCM = "AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM"
KEY_BYTES = {AES_CM: 16 + 14, AES_GCM: 16 + 12}  # master key and salt (RFC 4568, RFC 7714)


class Desk:
    """A source with a key, and what it gave."""

    def __init__(self, suite: str, key: bytes) -> None:
        self.sink = RecordingSink()
        sealed = {"srtp_suite": suite, "srtp_key": SecretStr(base64.b64encode(key).decode())}
        self.source = RtpSource(name="desk", host="127.0.0.1", port=0, sink=self.sink, clock=SystemClock(), **sealed)

    def only(self) -> RecordingStream:
        (stream,) = self.sink.streams
        return stream


@contextlib.contextmanager
def two_desks(suite: str) -> Iterator[tuple[Desk, Desk, bytes]]:
    """A listener with the sender's key, one with another key, and the sender's key."""
    key = bytes(range(KEY_BYTES[suite]))
    knowing, guessing = Desk(suite, key), Desk(suite, bytes(reversed(key)))
    with contextlib.ExitStack() as stack:
        for desk in (knowing, guessing):
            desk.source.start()
            stack.callback(desk.source.stop)
        yield knowing, guessing, key


def send(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr


def check_opened(desk: Desk, packets: int) -> None:
    """All of the 3 s clip, nothing refused."""
    stream = desk.only()
    assert stream.seconds() == pytest.approx(3.0, abs=0.1)
    assert stream.samples().std() > 0.005
    assert stream.statistics[-1].lost_packets == 0
    assert stream.statistics[-1].received_packets == packets
    assert desk.source.statistics().get("srtp_auth_failed_packets", 0) == 0


def check_refused(desk: Desk, packets: int) -> None:
    """Counted and reported, never scored: no block of sound, whatever the packets hold."""
    stream = desk.only()
    assert stream.blocks == []
    assert stream.states[0] == (StreamState.UNDESCRIBED, Reason.ENCRYPTED)
    assert stream.event_kinds()[0] is EventKind.DECRYPTION_FAILED
    assert stream.statistics[-1].received_packets == packets
    assert stream.statistics[-1].codec is None
    assert desk.source.statistics()["srtp_auth_failed_packets"] == packets


def test_ffmpeg_sends_sealed_g711(clip: Path, require: Callable[..., None]) -> None:
    """FFmpeg seals by its own code, not by the library that opens here. It has no GCM."""
    require("ffmpeg")
    pytest.importorskip("pylibsrtp")
    with two_desks(AES_CM) as (knowing, guessing, key):
        command = ["ffmpeg", "-v", "error", "-nostdin", "-re", "-i", str(clip)]
        for desk in (knowing, guessing):
            sealed = ["-srtp_out_suite", AES_CM, "-srtp_out_params", base64.b64encode(key).decode()]
            address = f"srtp://127.0.0.1:{desk.source.port}?pkt_size=188"
            command += ["-af", "aresample=8000,asetnsamples=160", "-c:a", "pcm_mulaw", "-f", "rtp", *sealed, address]
        send(command)
    check_opened(knowing, 150)
    check_refused(guessing, 150)


@pytest.mark.parametrize(
    ("suite", "cipher", "tag"),
    [(AES_CM, "aes-128-icm", "hmac-sha1-80"), (AES_GCM, "aes-128-gcm", "null")],
    ids=[AES_CM, AES_GCM],
)
def test_gstreamer_sends_sealed_g711(
    suite: str, cipher: str, tag: str, clip: Path, require: Callable[..., None]
) -> None:
    """The same sealed packets to both listeners."""
    require("gst-launch-1.0")
    pytest.importorskip("pylibsrtp")
    with two_desks(suite) as (knowing, guessing, key):
        ports = ",".join(f"127.0.0.1:{desk.source.port}" for desk in (knowing, guessing))
        pipeline = (
            f"filesrc location={clip} ! wavparse ! audioconvert ! audioresample ! audio/x-raw,rate=8000 ! "
            f"audiobuffersplit output-buffer-duration=1/50 ! alawenc ! rtppcmapay ! "
            f"srtpenc key={key.hex()} rtp-cipher={cipher} rtp-auth={tag} rtcp-cipher={cipher} rtcp-auth={tag} ! "
            f"multiudpsink clients={ports}"
        )
        send(["gst-launch-1.0", "-q", *pipeline.split()])
    check_opened(knowing, 150)
    check_refused(guessing, 150)
