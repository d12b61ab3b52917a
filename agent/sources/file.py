"""A file or a folder of files as streams, one after the other: by the clock, or as fast as it can be scored."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from livemos.agent.clock import Clock
from livemos.agent.errors import CapacityError, SourceError
from livemos.agent.file_names import shown
from livemos.agent.records import AudioBlock, MediaStatistics, Samples, StreamDescription, StreamState
from livemos.agent.resample import to_mono
from livemos.agent.sources.audio_file import AudioReader, audio_files, read_audio
from livemos.agent.sources.base import StreamSink, StreamWriter
from livemos.agent.sources.worker import Worker

__all__ = ["FileSource", "audio_files", "read_audio"]

LIVE_BLOCK_SECONDS, FAST_BLOCK_SECONDS = 0.02, 0.1
_RETRY_SECONDS = 0.02  # until the stream of the last round is scored to its end
_ROOM_SECONDS = 0.2  # until there is room again: each refusal is counted in the metrics

_log = logging.getLogger(__name__)


class FileSource:
    """Each file is a stream `name/relative path`. With `loop`, one file goes round in one stream that never ends."""

    def __init__(
        self,
        *,
        name: str,
        path: str | Path,
        pace: Literal["live", "fast"] = "live",
        loop: bool = False,
        labels: Mapping[str, str] | None = None,
        sink: StreamSink,
        clock: Clock,
    ) -> None:
        self._name = name
        self._path = Path(path)
        self._live = pace == "live"
        self._loop = loop
        self._labels = dict(labels or {})
        self._sink, self._clock = sink, clock
        self._files: list[Path] = []
        self._opened: set[str] = set()  # source ids so far
        self._worker = Worker(name, self._run)
        self._counts = {"read_files": 0, "refused_files": 0, "read_samples": 0}

    @property
    def name(self) -> str:
        return self._name

    def start(self) -> None:
        """Raises SourceError when the path is missing, the folder has no audio, or the one file cannot be read."""
        self._files = audio_files(self._path)
        if len(self._files) == 1:
            AudioReader(self._files[0])
        self._worker.start()

    def stop(self) -> None:
        self._worker.stop()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        return self._worker.wait(timeout_seconds)

    def statistics(self) -> dict[str, int]:
        return dict(self._counts)

    def _run(self) -> None:
        while self._play_all() and self._loop:
            pass

    def _play_all(self) -> bool:
        """One round; False when it was stopped, or when not one file could be played."""
        played = False
        for file in self._files:
            if self._worker.stopping.is_set():
                return False
            try:
                self._play(file)
                self._counts["read_files"] += 1
                played = True
            except (SourceError, CapacityError, ValueError) as error:
                # one bad file does not end a folder; ValueError: another source has a stream of this name
                self._counts["refused_files"] += 1
                _log.warning("file skipped: %s", error)
        return played

    def _play(self, file: Path) -> None:
        reader = AudioReader(file)
        description = StreamDescription(
            source_id=f"{self._name}/{self._relative(file)}", kind="file", labels=self._labels, detail=shown(file)
        )
        writer = self._open(description)
        if writer is None:
            return
        try:
            writer.media(MediaStatistics(codec=f"file/{reader.sample_rate_hz}"))
            writer.state(StreamState.ACTIVE)
            self._write(reader, writer)
        finally:
            writer.close()

    def _open(self, description: StreamDescription) -> StreamWriter | None:
        """None when it was stopped first. Waits where this source's earlier streams are still being scored."""
        while not self._worker.stopping.is_set():
            try:
                writer = self._sink.open(description, wait_when_full=not self._live)
            except ValueError:
                if description.source_id not in self._opened:
                    raise
                self._worker.stopping.wait(_RETRY_SECONDS)
            except CapacityError:
                if self._live or not self._opened:
                    raise
                self._worker.stopping.wait(_ROOM_SECONDS)
            else:
                self._opened.add(description.source_id)
                return writer
        return None

    def _write(self, reader: AudioReader, writer: StreamWriter) -> None:
        rate = reader.sample_rate_hz
        start_seconds, heard_samples = self._clock.monotonic(), 0
        for samples in self._samples(reader):
            heard_samples += len(samples)
            due_seconds = start_seconds + heard_samples / rate
            if self._live:
                self._clock.sleep_until(due_seconds)
            if self._worker.stopping.is_set():
                return
            ready = due_seconds if self._live else self._clock.monotonic()
            writer.write(AudioBlock(samples=samples, sample_rate_hz=rate, ready_monotonic_seconds=ready))
            self._counts["read_samples"] += len(samples)

    def _samples(self, reader: AudioReader) -> Iterator[Samples]:
        frames = round(reader.sample_rate_hz * (LIVE_BLOCK_SECONDS if self._live else FAST_BLOCK_SECONDS))
        while True:
            for block in reader.blocks(frames):
                yield to_mono(block)
            if not (self._loop and len(self._files) == 1):
                return

    def _relative(self, file: Path) -> str:
        return shown(file.relative_to(self._path).as_posix() if self._path.is_dir() else file.name)
