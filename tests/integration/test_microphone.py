"""A microphone that is real to the program: the monitor of a PulseAudio null sink, reached as any ALSA device."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livemos.agent.clock import SystemClock
from livemos.agent.errors import DeviceError
from livemos.agent.records import EventKind, StreamState
from livemos.agent.sources.file import read_audio
from livemos.agent.sources.microphone import MicrophoneSource, list_devices
from livemos.agent.sources.sound_system import portaudio

pytestmark = pytest.mark.senders

ALSA = """</usr/share/alsa/alsa.conf>
pcm.livemos_loop { type pulse device "loop.monitor" }
"""


def pulseaudio(*arguments: str) -> None:
    """Returns when the server of this test's own runtime folder has started, or ended."""
    done = subprocess.run(["pulseaudio", *arguments], capture_output=True, text=True, timeout=15, check=False)
    assert done.returncode == 0, done.stderr


def start_server() -> None:
    modules = ("-L", "module-native-protocol-unix", "-L", "module-null-sink sink_name=loop")
    pulseaudio("-n", "--start", "--daemonize=yes", "--exit-idle-time=-1", *modules)


@pytest.fixture
def loop(require: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A private sound server with one null sink, whose monitor is the capture device livemos_loop."""
    require("pulseaudio", "paplay")
    config = tmp_path / "alsa.conf"
    config.write_text(ALSA)
    runtime = tmp_path / "pulse"
    runtime.mkdir(mode=0o700)
    monkeypatch.delenv("PULSE_SERVER", raising=False)
    for variable in ("HOME", "XDG_RUNTIME_DIR", "PULSE_RUNTIME_PATH"):
        monkeypatch.setenv(variable, str(runtime))
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
    start_server()
    try:
        try:
            portaudio().refresh()
        except DeviceError as error:
            if os.environ.get("LIVEMOS_REQUIRE_SENDERS") == "1":
                raise
            pytest.skip(str(error))
        yield
    finally:
        pulseaudio("--kill")


@pytest.fixture
def source(loop: None, sink: Any) -> Iterator[MicrophoneSource]:
    """A microphone that has given its first block."""
    source = MicrophoneSource(name="mic", device="livemos_loop", sink=sink, clock=SystemClock())
    source.start()
    try:
        sink.wait_for(lambda: bool(sink.streams[0].blocks), timeout_seconds=8)
        yield source
    finally:
        source.stop()


def test_what_is_played_into_the_room_is_heard(source: MicrophoneSource, sink: Any, clip: Path) -> None:
    """The clip's energy arrives once, at its level, in blocks of 20 ms."""
    assert any(device.name == "livemos_loop" for device in list_devices())
    original, original_rate = read_audio(clip)
    (stream,) = sink.streams
    before = stream.seconds()
    subprocess.run(["paplay", "--device=loop", str(clip)], check=True, timeout=15, capture_output=True)
    sink.wait_for(lambda: stream.seconds() > before + len(original) / original_rate + 0.3)
    heard, rate = stream.samples(), stream.blocks[0].sample_rate_hz
    energy_db = 10 * np.log10((np.square(heard).sum() / rate) / (np.square(original).sum() / original_rate))
    assert energy_db == pytest.approx(0, abs=1.0)
    assert {len(block.samples) for block in stream.blocks} == {round(0.02 * rate)}
    assert stream.states == [(StreamState.ACTIVE, None)]


def test_a_sound_server_that_ends_is_told_within_a_second_and_taken_back(source: MicrophoneSource, sink: Any) -> None:
    """As good as pulling the plug: PortAudio's stream dies, and only a fresh list of devices brings it back."""
    (stream,) = sink.streams
    clock = SystemClock()
    pulseaudio("--kill")
    gone = clock.monotonic()
    sink.wait_for(lambda: EventKind.DEVICE_LOST in stream.event_kinds())
    assert clock.monotonic() - gone < 1.0
    assert stream.states[-1][0] is StreamState.STALLED
    start_server()
    sink.wait_for(lambda: EventKind.DEVICE_BACK in stream.event_kinds(), timeout_seconds=12)
    blocks = len(stream.blocks)
    sink.wait_for(lambda: len(stream.blocks) > blocks + 5)
    assert stream.states[-1] == (StreamState.ACTIVE, None)
