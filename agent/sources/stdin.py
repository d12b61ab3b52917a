"""Raw PCM from a pipe as one stream: `ffmpeg ... -f s16le - | livemos run ...`. The pipe's end is the stream's end."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Mapping
from typing import BinaryIO, Literal

import numpy as np

from livemos.agent.clock import Clock
from livemos.agent.errors import CapacityError, SourceError
from livemos.agent.records import AudioBlock, MediaStatistics, Samples, StreamDescription, StreamState
from livemos.agent.resample import to_mono
from livemos.agent.sources.base import StreamSink, StreamWriter
from livemos.agent.sources.worker import Worker

_READ_BYTES = 65_536
_POLL_SECONDS = 0.1  # how often a quiet pipe looks whether it was stopped

_FORMATS: dict[str, tuple[str, float]] = {"s16le": ("<i2", 32768.0), "f32le": ("<f4", 1.0)}  # dtype, full scale


class StdinSource:
    """sample_format: s16le or f32le, `channels` interleaved and averaged. `file` stands in for standard input."""

    def __init__(
        self,
        *,
        name: str,
        sample_rate_hz: int = 16_000,
        channels: int = 1,
        sample_format: Literal["s16le", "f32le"] = "s16le",
        labels: Mapping[str, str] | None = None,
        file: BinaryIO | None = None,
        sink: StreamSink,
        clock: Clock,
    ) -> None:
        if sample_format not in _FORMATS:
            raise ValueError(f"sample_format is one of {', '.join(_FORMATS)}, got {sample_format!r}")
        self._name = name
        self._sample_rate_hz, self._channels = sample_rate_hz, channels
        self._dtype, self._full_scale = _FORMATS[sample_format]
        self._codec = f"{sample_format}/{sample_rate_hz}/{channels}"
        self._labels = dict(labels or {})
        self._file = file
        self._sink, self._clock = sink, clock
        self._writer: StreamWriter | None = None
        self._worker = Worker(name, self._run)
        self._counts = {"read_bytes": 0, "odd_tail_bytes": 0}

    @property
    def name(self) -> str:
        return self._name

    def start(self) -> None:
        """Raises SourceError when standard input is a terminal or closed, or when there is no room for a stream."""
        file = self._file or (sys.stdin.buffer if sys.stdin is not None else None)
        if file is None or file.closed:
            raise SourceError(f"source {self._name}: standard input is closed; pipe PCM into livemos")
        if file.isatty():
            raise SourceError(f"source {self._name}: standard input is a terminal; pipe {self._codec} PCM into livemos")
        self._file = file
        description = StreamDescription(source_id=self._name, kind="stdin", labels=self._labels, detail=self._codec)
        try:
            self._writer = self._sink.open(description, wait_when_full=True)
        except CapacityError as error:
            raise SourceError(f"source {self._name}: {error}") from error
        self._writer.media(MediaStatistics(codec=self._codec))
        self._worker.start()

    def stop(self) -> None:
        self._worker.stop()
        if self._writer is not None:
            self._writer.close("stopped")

    def wait(self, timeout_seconds: float | None = None) -> bool:
        return self._worker.wait(timeout_seconds)

    @property
    def failed(self) -> bool:
        """Reading failed before the pipe's end; what came before was scored."""
        return self._worker.failed

    def statistics(self) -> dict[str, int]:
        return dict(self._counts)

    def _run(self) -> None:
        assert self._writer is not None
        detail = "the pipe cannot be read further"
        try:
            self._hear(self._writer)
            detail = "stopped" if self._worker.stopping.is_set() else "end of the pipe"
        except OSError as error:
            raise SourceError(f"source {self._name}: standard input: {error.strerror or error}") from error
        finally:
            self._writer.close(detail)

    def _hear(self, writer: StreamWriter) -> None:
        frame_bytes = self._channels * np.dtype(self._dtype).itemsize
        held = b""
        active = False
        while (data := self._read()) is not None:
            self._counts["read_bytes"] += len(data)
            data = held + data
            whole = len(data) - len(data) % frame_bytes
            held = data[whole:]
            if not whole:
                continue
            if not active:
                active = True
                writer.state(StreamState.ACTIVE)
            writer.write(
                AudioBlock(
                    samples=self._samples(data[:whole]),
                    sample_rate_hz=self._sample_rate_hz,
                    ready_monotonic_seconds=self._clock.monotonic(),
                )
            )
        self._counts["odd_tail_bytes"] += len(held)

    def _samples(self, data: bytes) -> Samples:
        frames = np.frombuffer(data, self._dtype).reshape(-1, self._channels).astype(np.float32)
        return to_mono(frames / np.float32(self._full_scale))

    def _read(self) -> bytes | None:
        """The next bytes; None at the end, or when stopped."""
        assert self._file is not None
        try:
            descriptor = self._file.fileno()
        except OSError:  # no file of the operating system, but bytes in memory
            descriptor = -1
        while not self._worker.stopping.is_set():
            if descriptor < 0:
                return self._file.read(_READ_BYTES) or None
            # Windows cannot select on a pipe: there a stop waits for the next bytes
            if sys.platform == "win32" or select.select([descriptor], [], [], _POLL_SECONDS)[0]:
                return os.read(descriptor, _READ_BYTES) or None
        return None
