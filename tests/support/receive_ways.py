"""The same datagrams through the exact path and through the lanes, down to the segments that would be scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from livemos.agent.reasons import Reason
from livemos.agent.records import (
    SEGMENT_SAMPLES,
    AudioBlock,
    EventKind,
    MediaStatistics,
    Samples,
    StreamDescription,
    StreamState,
)
from livemos.agent.ring import RingBank
from livemos.agent.rtp.addresses import Transport, transport
from livemos.agent.rtp.payload_map import PayloadMap
from livemos.agent.sources.receive_batch import DatagramBatch
from livemos.agent.sources.receive_lanes import ReceiveLanes
from livemos.agent.sources.rtp_receiver import RtpReceiver
from livemos.agent.stream import DueSegment, Stream

LOCAL = Transport("", 5_004)
TURN_SECONDS, SWEEP_SECONDS = 0.008, 0.05


@dataclass(frozen=True, slots=True)
class Datagram:
    """What arrived when from whom."""

    seconds: float
    octets: bytes
    peer: tuple[str, int] = ("192.0.2.1", 5_000)


class ScoredStream:
    """A StreamWriter over a real stream and ring: keeps each segment as the scoring thread would get it."""

    def __init__(self, description: StreamDescription, bank: RingBank) -> None:
        self.source_id = description.source_id
        self.stream = Stream(description, bank, wait_when_full=False, started_unix_seconds=0.0, on_due=lambda: None)
        self.segments: list[tuple[DueSegment, Samples]] = []
        self.statistics = MediaStatistics()
        self.states: list[tuple[StreamState, Reason | None]] = []
        self.events: list[tuple[EventKind, str]] = []
        self.closed: str | None = None

    def write(self, block: AudioBlock) -> None:
        self.stream.write(block)
        self._take()

    def wanted_samples(self) -> float:
        return self.stream.wanted_samples()

    def media(self, statistics: MediaStatistics) -> None:
        self.statistics = statistics

    def state(self, state: StreamState, reason: Reason | None = None) -> None:
        self.states.append((state, reason))

    def event(self, kind: EventKind, detail: str) -> None:
        self.events.append((kind, detail))

    def close(self, detail: str = "") -> None:
        self.stream.close()
        self._take()
        self.closed = detail

    def _take(self) -> None:
        while self.stream.due():
            out = np.empty(SEGMENT_SAMPLES, np.float32)
            self.segments.append((self.stream.take(out), out))

    def outcome(self) -> dict[str, Any]:
        """Everything but the samples, to be compared."""
        return {
            "source_id": self.source_id,
            "statistics": self.statistics,
            "states": self.states,
            "events": self.events,
            "closed": self.closed,
            "heard_samples": self.stream.heard_samples(),
            "segments": [due for due, _ in self.segments],
        }


class ScoringSink:
    """Room for many."""

    def __init__(self, rows: int = 1_200) -> None:
        self.bank = RingBank(rows)
        self.streams: list[ScoredStream] = []

    def open(self, description: StreamDescription, *, wait_when_full: bool = False) -> ScoredStream:
        self.streams.append(ScoredStream(description, self.bank))
        return self.streams[-1]


@dataclass
class Way:
    """A receiver with its sink; `lanes` on the fast way, None on the exact one."""

    fast: bool
    payload_types: dict[int, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    batch_rows: int = 512

    def __post_init__(self) -> None:
        self.sink = ScoringSink()
        self.counts: Counter[str] = Counter()
        self.receiver = RtpReceiver(
            name="desk",
            labels={},
            payload_map=PayloadMap(self.payload_types),
            reorder_wait_seconds=0.06,
            concealment=self.settings.pop("concealment", "pitch"),
            idle_seconds=2.0,
            sink=self.sink,
            counts=self.counts,
            unix=lambda: 0.0,
            **self.settings,
        )
        self.lanes = ReceiveLanes(self.receiver, LOCAL, lanes=1_200, address_words=1)
        self.batch = DatagramBatch.empty(self.batch_rows, 9_000)
        self.fastest = 0  # streams that took the fast way at once

    def hear(self, datagrams: Sequence[Datagram], now: float) -> None:
        """A turn of the receive thread: what came, then what is due."""
        if self.fast:
            for start in range(0, len(datagrams), self.batch_rows):
                for row, each in enumerate(datagrams[start : start + self.batch_rows]):
                    self.batch.put(row, each.octets, each.peer, each.seconds)
                self.lanes.hear(self.batch)
            self.fastest = max(self.fastest, self.lanes.open_lanes)
        else:
            for each in datagrams:
                self.receiver.hear(each.octets, transport(*each.peer), LOCAL, each.seconds)
        self.receiver.tick(now)

    def sweep(self, now: float) -> None:
        """As the receive thread sweeps."""
        if self.fast:
            self.lanes.sweep(now)
        else:
            self.receiver.sweep(now)

    def close(self) -> None:
        """The end of the source."""
        if self.fast:
            self.lanes.close("stopped")
        else:
            self.receiver.close("stopped")


def play(datagrams: Sequence[Datagram], *ways: Way, seconds: float | None = None) -> None:
    """Everything into each way, in turns of TURN_SECONDS, in the order of arrival."""
    ordered = sorted(datagrams, key=lambda each: each.seconds)
    end = seconds if seconds is not None else ordered[-1].seconds + 0.5
    position, next_sweep = 0, 0.0
    for turn in range(1, int(end / TURN_SECONDS) + 2):
        now = turn * TURN_SECONDS
        begin = position
        while position < len(ordered) and ordered[position].seconds <= now:
            position += 1
        for way in ways:
            way.hear(ordered[begin:position], now)
        if now >= next_sweep:
            next_sweep = now + SWEEP_SECONDS
            for way in ways:
                way.sweep(now)
    for way in ways:
        way.close()


def assert_equal(exact: Way, fast: Way) -> None:
    """Streams, states, events, statistics, counts, segments with their times, and every sample."""
    assert [each.outcome() for each in fast.sink.streams] == [each.outcome() for each in exact.sink.streams]
    assert fast.counts == exact.counts
    for one, other in zip(fast.sink.streams, exact.sink.streams, strict=True):
        for (due, samples), (_, expected) in zip(one.segments, other.segments, strict=True):
            np.testing.assert_array_equal(samples, expected, err_msg=f"{one.source_id} {due}")
