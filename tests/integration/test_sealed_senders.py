"""SRTP from a sender that is not ours: opened with its key, told and never scored with another."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from livemos.agent.clock import SystemClock
from livemos.agent.reasons import Reason
from livemos.agent.records import StreamState
from livemos.agent.sources.rtp import RtpSource

pytestmark = pytest.mark.senders
KEY = base64.b64encode(bytes(range(30))).decode()
OTHER = base64.b64encode(bytes(30)).decode()


@pytest.mark.parametrize("key", [KEY, OTHER], ids=["its key", "another key"])
def test_ffmpeg_sends_sealed_g711(key: str, sink: Any, clip: Path, require: Callable[..., None]) -> None:
    """FFmpeg seals by its own code, not by the library that opens here."""
    require("ffmpeg")
    pytest.importorskip("pylibsrtp")
    source = RtpSource(name="desk", host="127.0.0.1", port=0, srtp_key=SecretStr(key), sink=sink, clock=SystemClock())
    source.start()
    try:
        command = ["ffmpeg", "-v", "error", "-nostdin", "-re", "-i", str(clip), "-ar", "8000", "-c:a", "pcm_mulaw"]
        sealed = ["-f", "rtp", "-srtp_out_suite", "AES_CM_128_HMAC_SHA1_80", "-srtp_out_params", KEY]
        done = subprocess.run(
            [*command, *sealed, f"srtp://127.0.0.1:{source.port}?pkt_size=188"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    finally:
        source.stop()
    (stream,) = sink.streams
    if key == KEY:
        assert stream.seconds() == pytest.approx(3.0, abs=0.1)
        assert stream.statistics[-1].lost_packets == 0
        assert source.statistics().get("srtp_auth_failed_packets", 0) == 0
    else:
        assert stream.seconds() == 0
        assert stream.states[0] == (StreamState.UNDESCRIBED, Reason.ENCRYPTED)
        assert source.statistics()["srtp_auth_failed_packets"] > 50
