"""The microphone's life with a sound system in the hand; tests/integration has a real one."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from livemos.agent.clock import SystemClock
from livemos.agent.errors import DeviceError
from livemos.agent.reasons import Reason
from livemos.agent.records import EventKind, StreamState
from livemos.agent.sources import microphone
from livemos.agent.sources.microphone import CaptureDevice, MicrophoneSource
from livemos.agent.sources.sound_system import OnBlock, PortAudio, choose_device


def device(index: int, name: str, *, default: bool = False, rate: int = 48_000) -> CaptureDevice:
    return CaptureDevice(index=index, name=name, driver="test", channels=2, sample_rate_hz=rate, default=default)


DEVICES = [device(0, "USB Headset"), device(3, "Built-in Audio", default=True), device(7, "Webcam Microphone")]


class HeldCapture:
    """A capture that delivers when told."""

    def __init__(self, on_block: OnBlock) -> None:
        self.on_block = on_block
        self.active = True
        self.closed = False

    def close(self) -> None:
        self.closed = True


class HeldSound:
    """Devices that can be unplugged."""

    def __init__(self) -> None:
        self.plugged = [device(0, "Desk Microphone")]
        self.captures: list[HeldCapture] = []
        self.refreshed = 0
        self.on_open: Callable[[HeldCapture], None] = lambda _: None

    def devices(self) -> list[CaptureDevice]:
        return list(self.plugged)

    def open(self, device: CaptureDevice, on_block: OnBlock) -> HeldCapture:
        capture = HeldCapture(on_block)
        self.captures.append(capture)
        self.on_open(capture)
        return capture

    def refresh(self) -> None:
        self.refreshed += 1


@contextmanager
def listening(sink: Any, sound: HeldSound) -> Iterator[MicrophoneSource]:
    source = MicrophoneSource(name="mic", device="desk", sound_system=sound, sink=sink, clock=SystemClock())
    source.start()
    try:
        yield source
    finally:
        source.stop()


@pytest.mark.parametrize(
    ("wanted", "index"),
    [(None, 3), (7, 7), ("7", 7), ("headset", 0), ("Webcam Microphone", 7), ("audio", 3)],
)
def test_a_device_is_found_by_index_name_or_a_part_of_it(wanted: str | int | None, index: int) -> None:
    """What `livemos devices` prints can be typed in any of these ways."""
    assert choose_device(wanted, DEVICES).index == index


def test_an_unknown_device_is_answered_with_near_names() -> None:
    """Device names are long and changing."""
    with pytest.raises(DeviceError, match=r'"headest"; near: USB Headset.*livemos devices'):
        choose_device("headest", DEVICES)
    with pytest.raises(DeviceError, match="no capture device on this machine"):
        choose_device(None, [])


def test_blocks_of_the_device_become_mono_audio_at_its_own_rate(sink: Any) -> None:
    """The callback hands over (N, C) and returns; the rest happens in the source's thread."""
    sound = HeldSound()
    with listening(sink, sound):
        sound.captures[0].on_block(np.array([[0.5, 0.0], [1.0, -1.0]], np.float32))
        sink.wait_for(lambda: bool(sink.streams[0].blocks))
    (stream,) = sink.streams
    np.testing.assert_array_equal(stream.samples(), [0.25, 0.0])
    assert stream.blocks[0].sample_rate_hz == 48_000
    assert stream.states == [(StreamState.ACTIVE, None)]
    assert stream.description.detail == "Desk Microphone"
    assert stream.closed is not None
    assert sound.captures[0].closed


@pytest.mark.parametrize("how", ["stops", "falls silent"])
def test_a_device_that_goes_is_told_within_a_second_and_taken_back(
    sink: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Some drivers end the stream, others just stop calling; a headset is replugged without a word to livemos."""
    monkeypatch.setattr(microphone, "RETRY_SECONDS", 0.05)
    sound, clock = HeldSound(), SystemClock()
    block = np.zeros((960, 1), np.float32)
    with listening(sink, sound) as source:
        (stream,) = sink.streams
        sound.captures[0].on_block(block)
        sink.wait_for(lambda: bool(stream.blocks))
        sound.on_open = lambda capture: capture.on_block(block)
        gone = clock.monotonic()
        if how == "stops":
            sound.captures[0].active = False
        sink.wait_for(lambda: stream.event_kinds() == [EventKind.DEVICE_LOST])
        assert clock.monotonic() - gone < 1.0
        assert (StreamState.STALLED, Reason.NO_MEDIA) in stream.states
        sink.wait_for(lambda: EventKind.DEVICE_BACK in stream.event_kinds() and len(stream.blocks) == 2)
        assert stream.states[-1] == (StreamState.ACTIVE, None)
        assert sound.refreshed >= 1
        assert source.statistics()["device_losses"] == 1


def test_the_blocks_of_a_device_that_is_back_keep_their_order(sink: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one proves that the device lives; several come meanwhile, and swapped blocks are a click in speech."""
    monkeypatch.setattr(microphone, "RETRY_SECONDS", 0.05)
    sound = HeldSound()
    with listening(sink, sound):
        (stream,) = sink.streams

        def deliver(capture: HeldCapture) -> None:
            sound.captures[0].on_block(np.full((480, 1), 9.0, np.float32))  # a late one of the capture that is closed
            for value in (1.0, 2.0, 3.0):
                capture.on_block(np.full((480, 1), value, np.float32))

        sound.on_open = deliver
        sound.captures[0].active = False
        sink.wait_for(lambda: len(stream.blocks) >= 3)
    assert [float(block.samples[0]) for block in stream.blocks] == [1.0, 2.0, 3.0]


class FailingPortAudio(types.ModuleType):
    """What livemos calls of the `sounddevice` module, over a PortAudio that does not start again at once."""

    class PortAudioError(Exception):
        """As sounddevice raises it."""

    default = types.SimpleNamespace(device=(0, 0))

    def __init__(self, *, failing_starts: int) -> None:
        super().__init__("sounddevice")
        self.failing_starts = failing_starts
        self.started = True
        self.streams = 0

    def _initialize(self) -> None:
        if self.failing_starts:
            self.failing_starts -= 1
            raise self.PortAudioError("Unanticipated host error [PaErrorCode -9999]")
        self.started = True

    def _terminate(self) -> None:
        self._check_started()
        self.started = False

    def _check_started(self) -> None:
        if not self.started:
            raise self.PortAudioError("PortAudio not initialized [PaErrorCode -10000]")

    def query_hostapis(self) -> list[dict[str, Any]]:
        self._check_started()
        return [{"name": "ALSA"}]

    def query_devices(self) -> list[dict[str, Any]]:
        return [{"name": "Desk", "hostapi": 0, "max_input_channels": 1, "default_samplerate": 16_000.0}]

    def InputStream(self, *, callback: Callable[..., None], **_: Any) -> Any:  # noqa: N802
        self.streams += 1
        return UnpluggedStream(self, callback, alive=self.streams > 1)


class UnpluggedStream:
    """Gives one block; unless it is alive, PortAudio cannot even say whether it runs."""

    def __init__(self, portaudio: FailingPortAudio, callback: Callable[..., None], *, alive: bool) -> None:
        self._portaudio, self._callback, self._alive = portaudio, callback, alive

    def start(self) -> None:
        self._callback(np.zeros((320, 1), np.float32), 320, None, None)

    def close(self, ignore_errors: bool = False) -> None:
        """Frees nothing."""

    @property
    def active(self) -> bool:
        if not self._alive:
            raise self._portaudio.PortAudioError("Unanticipated host error [PaErrorCode -9999]")
        return True


def test_a_portaudio_that_does_not_start_again_is_tried_until_it_does(
    sink: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sound server often goes together with the device; the source must outlive both, for days if need be."""
    monkeypatch.setattr(microphone, "RETRY_SECONDS", 0.05)
    failing = FailingPortAudio(failing_starts=2)
    monkeypatch.setitem(sys.modules, "sounddevice", failing)
    source = MicrophoneSource(name="mic", sound_system=PortAudio(), sink=sink, clock=SystemClock())
    source.start()
    try:
        (stream,) = sink.streams
        sink.wait_for(lambda: stream.event_kinds() == [EventKind.DEVICE_LOST, EventKind.DEVICE_BACK])
        sink.wait_for(lambda: len(stream.blocks) == 2)
        assert source.statistics()["failed_reopens"] == 2
        assert failing.started
        assert not source.wait(0)
    finally:
        source.stop()


def test_a_portaudio_that_lists_nothing_is_a_device_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """`livemos devices` and `run --microphone` print it as one line; in a recovery it means: try again."""
    failing = FailingPortAudio(failing_starts=0)
    failing.started = False
    monkeypatch.setitem(sys.modules, "sounddevice", failing)
    with pytest.raises(DeviceError, match=r"not initialized.*is the sound server running"):
        PortAudio().devices()


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (OSError("PortAudio library not found"), "apt-get install libportaudio2"),
        (FailingPortAudio.PortAudioError("PaErrorCode -9999"), r"does not start .*-9999.*is the sound server running"),
    ],
    ids=["no library", "does not start"],
)
def test_without_portaudio_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch, failure: Exception, said: str) -> None:
    """The library is a system package that pip does not bring on Linux; the import loads it, and starts it."""

    class Failing:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
            if name == "sounddevice":
                raise failure

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Failing(), *sys.meta_path])
    with pytest.raises(DeviceError, match=said):
        PortAudio().devices()
