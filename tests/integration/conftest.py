"""Programs that are not ours, a clip for them to send, and the sink that remembers what arrived."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from recording import RecordingSink

TESTS = Path(__file__).parents[1]
BRIDGE_PROGRAMS = ("baresip", "dumpcap", "ffmpeg", "gst-launch-1.0", "janus", "rtpengine", "sipp", "tshark")


@pytest.fixture
def sink() -> RecordingSink:
    """A RecordingSink with room for all."""
    return RecordingSink()


@pytest.fixture
def require() -> Callable[..., None]:
    """require("ffmpeg", ...): skip with the reason when one is missing, or fail where LIVEMOS_REQUIRE_SENDERS=1."""

    def check(*programs: str) -> None:
        missing = [program for program in programs if shutil.which(program) is None]
        if not missing:
            return
        reason = f"{', '.join(missing)} not installed; tests/integration/senders.sh installs it"
        if os.environ.get("LIVEMOS_REQUIRE_SENDERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)

    return check


@pytest.fixture
def require_bridges() -> Callable[[], None]:
    """require_bridges(): skip unless LIVEMOS_REQUIRE_BRIDGES=1; then fail when a program of bridges.sh is missing."""

    def check() -> None:
        if os.environ.get("LIVEMOS_REQUIRE_BRIDGES") != "1":
            pytest.skip("heavy packages: `bash tests/integration/bridges.sh` installs them and runs this")
        missing = [program for program in BRIDGE_PROGRAMS if shutil.which(program) is None]
        if missing:
            pytest.fail(f"{', '.join(missing)} not installed; tests/integration/bridges.sh installs it")

    return check


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """3 s of packaged clean speech as a 16 kHz mono WAV."""
    packaged = sorted((TESTS / "data" / "clean").glob("*.flac"))[0]
    samples, rate = soundfile.read(packaged, dtype="float32", stop=3 * soundfile.info(packaged).samplerate)
    path = tmp_path / "clip.wav"
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path
