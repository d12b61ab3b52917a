"""A sound device as a stream. The callback only copies into a queue; a device that goes is noticed and taken back."""

from __future__ import annotations

import queue
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from livemos.agent.clock import Clock
from livemos.agent.errors import CapacityError, DeviceError, SourceError
from livemos.agent.reasons import Reason
from livemos.agent.records import AudioBlock, EventKind, MediaStatistics, StreamDescription, StreamState
from livemos.agent.resample import to_mono
from livemos.agent.sources.base import StreamSink, StreamWriter
from livemos.agent.sources.sound_system import (
    Capture,
    CaptureDevice,
    SoundSystem,
    choose_device,
    list_devices,
    portaudio,
)
from livemos.agent.sources.worker import Worker

__all__ = ["CaptureDevice", "MicrophoneSource", "list_devices"]

SILENT_SECONDS = 0.7  # without a callback: the device has gone; leaves time to tell it within a second
FIRST_BLOCK_SECONDS = 3.0  # a sound server wakes a sleeping device in up to 2 s, a headset takes as long
RETRY_SECONDS = 1.0
_POLL_SECONDS = 0.1


class MicrophoneSource:
    """One device at its own rate; two channels become one by their mean.

    device: index, name or part of a name; None takes the default. sound_system: PortAudio unless given.
    """

    def __init__(
        self,
        *,
        name: str,
        device: str | int | None = None,
        labels: Mapping[str, str] | None = None,
        sound_system: SoundSystem | None = None,
        sink: StreamSink,
        clock: Clock,
    ) -> None:
        self._name = name
        self._wanted = device
        self._labels = dict(labels or {})
        self._sound: SoundSystem = sound_system or portaudio()
        self._sink, self._clock = sink, clock
        self._queue: queue.SimpleQueue[tuple[npt.NDArray[np.float32], float]] = queue.SimpleQueue()
        self._device: CaptureDevice | None = None
        self._capture: Capture | None = None
        self._writer: StreamWriter | None = None
        self._worker = Worker(name, self._run)
        self._counts = {"read_samples": 0, "device_losses": 0, "failed_reopens": 0}

    @property
    def name(self) -> str:
        return self._name

    def start(self) -> None:
        """Raises DeviceError for an unknown or busy device, SourceError when there is no room for a stream."""
        self._open()
        assert self._device is not None
        description = StreamDescription(
            source_id=self._name, kind="microphone", labels=self._labels, detail=self._device.name
        )
        try:
            self._writer = self._sink.open(description)
        except CapacityError as error:
            self._close()
            raise SourceError(f"source {self._name}: {error}") from error
        self._tell_format()
        self._worker.start()

    def stop(self) -> None:
        self._worker.stop()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        return self._worker.wait(timeout_seconds)

    def statistics(self) -> dict[str, int]:
        return dict(self._counts)

    def _open(self) -> None:
        device = choose_device(self._wanted, self._sound.devices())
        clock = self._clock
        # a queue of its own: what a device that went still hands over has another rate, perhaps
        blocks = self._queue = queue.SimpleQueue()
        self._capture = self._sound.open(device, lambda block: blocks.put((block, clock.monotonic())))
        self._device = device

    def _close(self) -> None:
        if self._capture is not None:
            self._capture.close()
            self._capture = None

    def _tell_format(self) -> None:
        assert self._writer is not None
        assert self._device is not None
        self._writer.media(MediaStatistics(codec=f"pcm/{self._device.sample_rate_hz}"))

    def _run(self) -> None:
        assert self._writer is not None
        try:
            while not self._worker.stopping.is_set():
                self._listen(self._writer)
                if not self._worker.stopping.is_set():
                    self._recover(self._writer)
        finally:
            self._close()
            self._writer.close("stopped")

    def _listen(self, writer: StreamWriter) -> None:
        """Pass blocks on until the device is silent or has stopped."""
        heard_seconds, patience_seconds = self._clock.monotonic(), FIRST_BLOCK_SECONDS
        while not self._worker.stopping.is_set():
            try:
                block, ready_seconds = self._queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                silent = self._clock.monotonic() - heard_seconds > patience_seconds
                if silent or self._capture is None or not self._capture.active:
                    return
                continue
            if patience_seconds == FIRST_BLOCK_SECONDS:
                patience_seconds = SILENT_SECONDS
                writer.state(StreamState.ACTIVE)
            assert self._device is not None
            heard_seconds = ready_seconds
            samples = to_mono(block)
            self._counts["read_samples"] += len(samples)
            writer.write(
                AudioBlock(
                    samples=samples, sample_rate_hz=self._device.sample_rate_hz, ready_monotonic_seconds=ready_seconds
                )
            )

    def _recover(self, writer: StreamWriter) -> None:
        """Tell the loss, then try once a second until the device is back or the source is stopped."""
        assert self._device is not None
        lost = self._device.name
        self._counts["device_losses"] += 1
        writer.state(StreamState.STALLED, Reason.NO_MEDIA)
        writer.event(EventKind.DEVICE_LOST, f'"{lost}" gives no more sound; trying again every {RETRY_SECONDS:g} s')
        self._close()
        while not self._worker.stopping.wait(RETRY_SECONDS):
            try:
                self._sound.refresh()
                self._open()
            except DeviceError:
                self._counts["failed_reopens"] += 1
                continue
            if self._gives_sound():
                self._tell_format()
                writer.event(EventKind.DEVICE_BACK, f'"{self._device.name}"')
                return
            self._counts["failed_reopens"] += 1
            self._close()

    def _gives_sound(self) -> bool:
        """A device can be opened and yet be dead: wait for its first block, which stays the first in the queue."""
        for _ in range(round(FIRST_BLOCK_SECONDS / _POLL_SECONDS)):
            if self._worker.stopping.is_set() or self._capture is None or not self._capture.active:
                return False
            if not self._queue.empty():
                return True
            self._worker.stopping.wait(_POLL_SECONDS)
        return False
