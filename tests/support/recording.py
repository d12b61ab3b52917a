"""A sink that remembers, and that a test can wait on."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from livemos.agent.errors import CapacityError
from livemos.agent.reasons import Reason
from livemos.agent.records import AudioBlock, EventKind, MediaStatistics, Samples, StreamDescription, StreamState


class RecordingStream:
    """Everything a source did to one stream."""

    def __init__(self, description: StreamDescription, wait_when_full: bool, changed: threading.Condition) -> None:
        self.description = description
        self.wait_when_full = wait_when_full
        self.blocks: list[AudioBlock] = []
        self.statistics: list[MediaStatistics] = []
        self.states: list[tuple[StreamState, Reason | None]] = []
        self.events: list[tuple[EventKind, str]] = []
        self.closed: str | None = None
        self._changed = changed

    def write(self, block: AudioBlock) -> None:
        with self._changed:
            self.blocks.append(block)
            self._changed.notify_all()

    def media(self, statistics: MediaStatistics) -> None:
        with self._changed:
            self.statistics.append(statistics)
            self._changed.notify_all()

    def state(self, state: StreamState, reason: Reason | None = None) -> None:
        with self._changed:
            self.states.append((state, reason))
            self._changed.notify_all()

    def event(self, kind: EventKind, detail: str) -> None:
        with self._changed:
            self.events.append((kind, detail))
            self._changed.notify_all()

    def close(self, detail: str = "") -> None:
        with self._changed:
            self.closed = detail if self.closed is None else self.closed  # as a pipeline: the first counts
            self._changed.notify_all()

    def samples(self) -> Samples:
        """All that was written, one after the other."""
        return np.concatenate([np.zeros(0, np.float32), *(block.samples for block in self.blocks)])

    def seconds(self) -> float:
        return sum(len(block.samples) / block.sample_rate_hz for block in self.blocks)

    def event_kinds(self) -> list[EventKind]:
        return [kind for kind, _ in self.events]


class RecordingSink:
    """Accepts `room` streams."""

    def __init__(self, room: int = 1_000) -> None:
        self.room = room
        self.streams: list[RecordingStream] = []
        self._changed = threading.Condition()

    def open(self, description: StreamDescription, *, wait_when_full: bool = False) -> RecordingStream:
        with self._changed:
            if len(self.streams) >= self.room:
                raise CapacityError(f"all {self.room} streams are in use")
            self.streams.append(RecordingStream(description, wait_when_full, self._changed))
            self._changed.notify_all()
            return self.streams[-1]

    def wait_for(self, condition: Callable[[], bool], timeout_seconds: float = 5.0) -> None:
        """Return once `condition` holds; fail at the timeout."""
        with self._changed:
            assert self._changed.wait_for(condition, timeout_seconds), "what the test waits for did not happen"
