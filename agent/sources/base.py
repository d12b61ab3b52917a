"""The seam between sources and the rest: a source opens streams in a sink and writes audio blocks into them.

A source owns its thread and its device; it knows nothing of segments, scores or gRPC. To add one: a file here, a line
in SOURCES, a settings member (CONTRIBUTING.md).
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from livemos.agent.reasons import Reason
from livemos.agent.records import AudioBlock, EventKind, MediaStatistics, StreamDescription, StreamState


class StreamWriter(Protocol):
    """One stream, written by one thread."""

    def write(self, block: AudioBlock) -> None:
        """Append a block. Blocks only when the stream was opened with wait_when_full; else the overrun is counted."""
        ...

    def media(self, statistics: MediaStatistics) -> None:
        """Replace the stream's packet statistics (call a few times a second, not per packet)."""
        ...

    def state(self, state: StreamState, reason: Reason | None = None) -> None:
        """State changed; `reason` says why scores are missing while it lasts."""
        ...

    def event(self, kind: EventKind, detail: str) -> None:
        """Publish an event of this stream."""
        ...

    def close(self, detail: str = "") -> None:
        """The stream has ended; what was written is still scored. Idempotent."""
        ...


@runtime_checkable
class LazyWriter(Protocol):
    """A writer that says how much it waits for, so that a source with many streams need not come with every packet."""

    def wanted_samples(self) -> float:
        """How many more samples at 16 kHz until a write makes something happen; 0 or less: any write does."""
        ...


class StreamSink(Protocol):
    """Where sources open streams."""

    def open(self, description: StreamDescription, *, wait_when_full: bool = False) -> StreamWriter:
        """A writer for a new stream. Raises CapacityError at the cap, ValueError when the source_id is in use."""
        ...


@runtime_checkable
class FallibleSource(Protocol):
    """A source that can end before its time: its file is damaged, its pipe breaks."""

    @property
    def failed(self) -> bool:
        """True once it has ended so; the log says why."""
        ...


class Source(Protocol):
    """A running source of streams."""

    @property
    def name(self) -> str:
        """Unique in the agent; source ids begin with it."""
        ...

    def start(self) -> None:
        """Open the socket, device or file and begin. Raises SourceError with what, where and what to do."""
        ...

    def stop(self) -> None:
        """Stop within a second and close all streams. Idempotent."""
        ...

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """True once the source has ended by itself (a file at its end, a closed pipe); False at the timeout."""
        ...

    def statistics(self) -> dict[str, int]:
        """Counters for metrics: names end in a unit, for example `received_packets`."""
        ...
