"""The microphone's life with a sound system in the hand; tests/integration has a real one."""

from __future__ import annotations

import sys
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


def test_without_portaudio_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is a system package that pip does not bring on Linux; importing it fails with OSError."""

    class Failing:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
            if name == "sounddevice":
                raise OSError("PortAudio library not found")

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Failing(), *sys.meta_path])
    with pytest.raises(DeviceError, match="apt-get install libportaudio2"):
        PortAudio().devices()
