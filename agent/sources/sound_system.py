"""The sound devices of this machine, through PortAudio: what can be listened to, and a running capture."""

from __future__ import annotations

import difflib
import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from livemos.agent.errors import DeviceError

BLOCK_SECONDS = 0.02

OnBlock = Callable[[npt.NDArray[np.float32]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureDevice:
    """A device that sound can be taken from."""

    index: int
    name: str
    driver: str  # PortAudio's host API: ALSA, Core Audio, ...
    channels: int
    sample_rate_hz: int  # the device's own
    default: bool


class Capture(Protocol):
    """A running capture."""

    @property
    def active(self) -> bool:
        """False once the device has stopped by itself."""
        ...

    def close(self) -> None:
        """Stop and free the device."""
        ...


class SoundSystem(Protocol):
    """What the source needs of PortAudio."""

    def devices(self) -> list[CaptureDevice]:
        """Raises DeviceError without PortAudio, or when it cannot say."""
        ...

    def open(self, device: CaptureDevice, on_block: OnBlock) -> Capture:
        """Call `on_block` with (N, C) arrays that stay its own. Raises DeviceError."""
        ...

    def refresh(self) -> None:
        """Look for devices again, if no other capture would be ended by that. Raises DeviceError."""
        ...


class PortAudio:
    """sounddevice, imported when a device is asked for, because the import fails where the library is missing.

    One for all microphones of a process: to see a device that was plugged in, PortAudio must be shut down and started
    again, which ends every capture there is.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._captures = 0
        self._runs = True  # the import has started it

    def devices(self) -> list[CaptureDevice]:
        sounddevice = _sounddevice()
        try:
            with self._lock:  # not while another microphone's refresh has it shut down
                default = sounddevice.default.device[0]
                drivers = [api["name"] for api in sounddevice.query_hostapis()]
                known = list(sounddevice.query_devices())
        except sounddevice.PortAudioError as error:
            raise DeviceError(f"PortAudio lists no devices ({error}); is the sound server running?") from error
        return [
            CaptureDevice(
                index=index,
                name=device["name"],
                driver=drivers[device["hostapi"]],
                channels=device["max_input_channels"],
                sample_rate_hz=round(device["default_samplerate"]),
                default=index == default,
            )
            for index, device in enumerate(known)
            if device["max_input_channels"] > 0
        ]

    def open(self, device: CaptureDevice, on_block: OnBlock) -> Capture:
        sounddevice = _sounddevice()

        def callback(block: npt.NDArray[np.float32], frames: int, time: Any, status: Any) -> None:
            on_block(block.copy())

        with self._lock:
            try:
                stream = sounddevice.InputStream(
                    device=device.index,
                    samplerate=device.sample_rate_hz,
                    channels=min(2, device.channels),
                    dtype="float32",
                    blocksize=round(BLOCK_SECONDS * device.sample_rate_hz),
                    latency="low",
                    callback=callback,
                )
                stream.start()
            except sounddevice.PortAudioError as error:
                raise DeviceError(f'microphone "{device.name}" cannot be opened ({error}); is it in use?') from error
            self._captures += 1
        return _SoundDeviceCapture(stream, sounddevice.PortAudioError, self._closed)

    def refresh(self) -> None:
        sounddevice = _sounddevice()
        with self._lock:
            if self._captures:
                return
            try:
                # sounddevice has no public way to have PortAudio list the devices anew
                if self._runs:
                    self._runs = False  # from here on, also when it does not start again
                    sounddevice._terminate()
                sounddevice._initialize()
                self._runs = True
            except sounddevice.PortAudioError as error:
                raise DeviceError(f"PortAudio does not start again ({error}); is the sound server running?") from error

    def _closed(self) -> None:
        with self._lock:
            self._captures -= 1


class _SoundDeviceCapture:
    def __init__(self, stream: Any, failure: type[Exception], on_close: Callable[[], None]) -> None:
        self._stream = stream
        self._failure = failure
        self._on_close = on_close

    @property
    def active(self) -> bool:
        try:
            return bool(self._stream.active)
        except self._failure:  # PortAudio asked the driver, and the device is no more
            return False

    def close(self) -> None:
        self._stream.close(ignore_errors=True)
        self._on_close()


def _sounddevice() -> ModuleType:
    try:
        import sounddevice
    except OSError as error:
        raise DeviceError(
            "no microphone without the PortAudio library; install it (Debian: apt-get install libportaudio2)"
        ) from error
    except Exception as error:  # its PortAudioError, a class that a failed import does not leave behind
        raise DeviceError(f"PortAudio does not start ({error}); is the sound server running?") from error
    module: ModuleType = sounddevice
    return module


@functools.cache
def portaudio() -> PortAudio:
    """The one of this process."""
    return PortAudio()


def list_devices() -> list[CaptureDevice]:
    """What can be listened to. Raises DeviceError without PortAudio."""
    return portaudio().devices()


def choose_device(wanted: str | int | None, devices: Sequence[CaptureDevice]) -> CaptureDevice:
    """By index, by name or a part of one (case ignored), None for the default. Raises DeviceError naming near ones."""
    if not devices:
        raise DeviceError("no capture device on this machine; plug one in, or start the sound server")
    if wanted is None:
        return next((device for device in devices if device.default), devices[0])
    text = str(wanted).strip()
    if text.isdigit():
        for device in devices:
            if device.index == int(text):
                return device
    exact = [device for device in devices if device.name == text]
    part = [device for device in devices if text.lower() in device.name.lower()]
    found = exact or part
    if not found:
        names = [device.name for device in devices]
        near = difflib.get_close_matches(text, names, n=3, cutoff=0.3) or names[:5]
        raise DeviceError(
            f'no capture device is called "{text}"; near: {", ".join(near)} (all of them: `livemos devices`)'
        )
    # one device is often listed by several drivers; the default one wins, then the first
    return next((device for device in found if device.default), found[0])
