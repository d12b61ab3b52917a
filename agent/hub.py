"""Where the scoring thread and the event loop meet: numbers, what is known of each source, one ring a subscriber.

A publisher never waits: the lock is held for microseconds, a full ring drops its oldest item and remembers what it
dropped, and a loop is woken only when its subscriber sleeps.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from livemos.agent.clock import Clock
from livemos.agent.errors import CapacityError
from livemos.agent.feed_filter import FeedFilter, view_of
from livemos.agent.feed_ring import FeedRing, Gap
from livemos.agent.reasons import Reason
from livemos.agent.records import (
    SEGMENT_SAMPLES,
    FeedItem,
    FeedPayload,
    MediaStatistics,
    RollingScore,
    SegmentScore,
    SourceSnapshot,
    StreamDescription,
    StreamState,
)

_SEQUENCES_KEPT = 20_000  # a source that comes back after so many others were forgotten counts from 1 again


class HubStatistics(NamedTuple):
    """Counters since the hub was made, and what is open now."""

    published_items: int
    delivered_items: int
    dropped_items: int
    subscribers: int
    open_sources: int


class FeedClosedError(Exception):
    """The subscription was closed and everything it held was delivered."""


@dataclass(slots=True)
class _SourceEntry:
    """A source and those who listen to it; guarded by the hub's lock."""

    description: StreamDescription
    started_unix_seconds: float
    state: StreamState = StreamState.WAITING
    reason: Reason | None = None
    media: MediaStatistics = field(default_factory=MediaStatistics)
    heard_samples: int = 0
    segment: SegmentScore | None = None
    rolling: RollingScore | None = None
    last_sequence: int = 0
    rings: dict[_Ring, None] = field(default_factory=dict)

    def snapshot(self) -> SourceSnapshot:
        return SourceSnapshot(
            description=self.description,
            state=self.state,
            reason=self.reason,
            started_unix_seconds=self.started_unix_seconds,
            media=self.media,
            heard_samples=self.heard_samples,
            segment=self.segment,
            rolling=self.rolling,
            last_sequence=self.last_sequence,
        )


class _Ring(FeedRing):
    """A ring in its hub; closing it, or leaving its `with` block, ends the subscription."""

    def __init__(self, hub: Hub, wanted: FeedFilter) -> None:
        super().__init__(wanted, capacity_items=hub.queue_items)
        self._hub = hub
        self.closed = False
        self.sleeping = False

    def wake(self) -> None:
        """Tell the sleeping subscriber to look again; called without the lock, from any thread."""
        raise NotImplementedError

    def close(self) -> None:
        """Take nothing more; what is queued is still delivered, then FeedClosedError is raised. Idempotent."""
        self._hub.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Subscription(_Ring):
    """A subscriber on an event loop: `async for` items and gaps, or `await next(...)`. Close it, or use `with`."""

    def __init__(self, hub: Hub, wanted: FeedFilter) -> None:
        super().__init__(hub, wanted)
        self._loop = asyncio.get_running_loop()
        self._awake = asyncio.Event()

    async def next(self, timeout_seconds: float | None = None) -> FeedItem | Gap | None:
        """The next item or gap, None at the timeout. Raises FeedClosedError."""
        updates = await self.next_updates(1, timeout_seconds)
        return updates[0] if updates else None

    async def next_updates(self, most: int, timeout_seconds: float | None = None) -> list[FeedItem | Gap]:
        """What waits, at most `most`, in order; empty at the timeout. Raises FeedClosedError."""
        while True:
            self._awake.clear()
            updates = self._hub.take_all(self, most)
            if updates:
                return updates
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self._awake.wait()
            except TimeoutError:
                return []

    def wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._awake.set)
        except RuntimeError:
            self.close()  # the loop ended without closing its subscriptions

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> FeedItem | Gap:
        try:
            update = await self.next()
        except FeedClosedError:
            raise StopAsyncIteration from None
        assert update is not None  # there was no timeout
        return update


class Listener(_Ring):
    """A subscriber on a thread of its own."""

    def __init__(self, hub: Hub, wanted: FeedFilter) -> None:
        super().__init__(hub, wanted)
        self._awake = threading.Event()

    def get(self, timeout_seconds: float | None = None) -> FeedItem | Gap | None:
        """The next item or gap, None at the timeout. Raises FeedClosedError."""
        while True:
            self._awake.clear()
            update = self._hub.take(self)
            if update is not None:
                return update
            if not self._awake.wait(timeout_seconds):
                return None

    def wake(self) -> None:
        self._awake.set()


RingT = TypeVar("RingT", bound=_Ring)


class Hub:
    """Publishes payloads to subscribers and keeps the registry of sources. Every method may be called by any thread."""

    def __init__(
        self,
        clock: Clock,
        *,
        queue_items: int = 4_096,
        subscribers: int = 64,
        retention_seconds: float = 300.0,
        ended_sources: int = 1_000,
    ) -> None:
        """queue_items: ring of one subscriber; subscribers: cap on them; retention_seconds and ended_sources: how long
        and how many ended sources are remembered."""
        self.queue_items = queue_items
        self.feed_id = uuid.uuid4().hex  # sequences of two hubs do not belong together
        self._clock = clock
        self._subscriber_cap = subscribers
        self._retention_seconds = retention_seconds
        self._ended_cap = ended_sources
        self._lock = threading.Lock()
        self._sources: dict[str, _SourceEntry] = {}
        self._ended: dict[str, float] = {}  # monotonic seconds of the end, the oldest first
        self._last_sequences: dict[str, int] = {}  # of sources that were forgotten, the oldest first
        self._rings: set[_Ring] = set()
        self._published = self._delivered = self._dropped = 0

    def publish(self, payload: FeedPayload) -> int:
        """Number the payload and queue it for everyone who wants it; its sequence.

        Raises ValueError for a source that was never opened, or was forgotten.
        """
        return self.publish_all([payload])

    def publish_all(self, payloads: Sequence[FeedPayload]) -> int:
        """As `publish` for each in order, and a sleeping subscriber is woken once; the last sequence, 0 for none."""
        asleep: list[_Ring] = []
        sequence = 0
        with self._lock:
            for payload in payloads:
                sequence = self._queue(payload, asleep)
        for ring in asleep:
            ring.wake()
        return sequence

    def _queue(self, payload: FeedPayload, asleep: list[_Ring]) -> int:
        """With the lock held."""
        view = view_of(payload)
        entry = self._sources.get(payload.source_id)
        if entry is None:
            raise ValueError(f"source {payload.source_id!r} is unknown to the hub; call open_source first")
        entry.last_sequence += 1
        item = FeedItem(sequence=entry.last_sequence, payload=payload)
        self._published += 1
        if isinstance(payload, SegmentScore):
            entry.segment = payload
            entry.heard_samples = max(entry.heard_samples, payload.start_sample + SEGMENT_SAMPLES)
        elif isinstance(payload, RollingScore):
            entry.rolling = payload
            entry.heard_samples = max(entry.heard_samples, payload.end_sample)
        for ring in entry.rings:
            self._dropped += ring.offer(item, view)
            if ring.sleeping and ring.queued_items():
                ring.sleeping = False
                asleep.append(ring)
        return item.sequence

    def subscribe(self, wanted: FeedFilter | None = None) -> Subscription:
        """Everything published from now on, for a coroutine of the running loop. Raises CapacityError at the cap."""
        return self._add(Subscription(self, wanted or FeedFilter()))

    def listen(self, wanted: FeedFilter | None = None) -> Listener:
        """Everything published from now on, for a thread. Raises CapacityError at the cap."""
        return self._add(Listener(self, wanted or FeedFilter()))

    def open_source(self, description: StreamDescription) -> None:
        """A new source, or a new life of an ended one, whose sequence goes on. Raises ValueError when it is open."""
        source_id = description.source_id
        with self._lock:
            self._forget_old()
            before = self._sources.get(source_id)
            if before is not None and source_id not in self._ended:
                raise ValueError(f"source {source_id!r} is open; close it first or choose another id")
            self._ended.pop(source_id, None)
            entry = _SourceEntry(description, self._clock.unix())
            entry.last_sequence = self._last_sequences.pop(source_id, 0) if before is None else before.last_sequence
            entry.rings = {ring: None for ring in self._rings if ring.wanted.wants_source(description)}
            for ring in entry.rings:
                ring.forget(source_id)
            self._sources[source_id] = entry

    def set_state(self, source_id: str, state: StreamState, reason: Reason | None = None) -> None:
        """State of an open source and why its scores are missing; without effect on one that ended."""
        with self._lock:
            entry = self._open_entry(source_id)
            if entry is not None:
                entry.state, entry.reason = state, reason

    def set_media(self, source_id: str, media: MediaStatistics) -> None:
        """Packet statistics of an open source; without effect on one that ended."""
        with self._lock:
            entry = self._open_entry(source_id)
            if entry is not None:
                entry.media = media

    def close_source(self, source_id: str) -> None:
        """The source has ended; it is remembered for the retention time. Idempotent."""
        with self._lock:
            entry = self._open_entry(source_id)
            if entry is not None:
                entry.state = StreamState.ENDED
                self._ended[source_id] = self._clock.monotonic()
            self._forget_old()

    def sources(self, wanted: FeedFilter | None = None) -> list[SourceSnapshot]:
        """Open sources and those that ended within the retention time, in order of source_id."""
        with self._lock:
            self._forget_old()
            entries = [
                entry.snapshot()
                for entry in self._sources.values()
                if wanted is None or wanted.wants_source(entry.description)
            ]
        return sorted(entries, key=lambda snapshot: snapshot.description.source_id)

    def source(self, source_id: str) -> SourceSnapshot | None:
        """What is known of one source; None when it is unknown or forgotten."""
        with self._lock:
            self._forget_old()
            entry = self._sources.get(source_id)
            return entry.snapshot() if entry is not None else None

    def statistics(self) -> HubStatistics:
        """Counters for metrics."""
        with self._lock:
            open_sources = len(self._sources) - len(self._ended)
            return HubStatistics(self._published, self._delivered, self._dropped, len(self._rings), open_sources)

    def close(self) -> None:
        """Close every subscription; what they hold is still delivered."""
        with self._lock:
            rings = list(self._rings)
        for ring in rings:
            ring.close()

    def take(self, ring: _Ring) -> FeedItem | Gap | None:
        """For subscribers: their next update; None puts the ring to sleep until the next one."""
        updates = self.take_all(ring, 1)
        return updates[0] if updates else None

    def take_all(self, ring: _Ring, most: int) -> list[FeedItem | Gap]:
        """For subscribers: their next updates; none puts the ring to sleep until the next one."""
        updates: list[FeedItem | Gap] = []
        with self._lock:
            while len(updates) < most and (update := ring.take()) is not None:
                updates.append(update)
                self._delivered += isinstance(update, FeedItem)
            if not updates:
                if ring.closed:
                    raise FeedClosedError
                ring.sleeping = True
        return updates

    def remove(self, ring: _Ring) -> None:
        """For subscribers: queue nothing more for this ring."""
        with self._lock:
            if ring.closed:
                return
            ring.closed = True
            self._rings.discard(ring)
            for entry in self._sources.values():
                entry.rings.pop(ring, None)
        ring.wake()

    def _add(self, ring: RingT) -> RingT:
        with self._lock:
            if len(self._rings) >= self._subscriber_cap:
                raise CapacityError(
                    f"all {self._subscriber_cap} subscriptions are taken; close one or raise limits.subscribers"
                )
            self._rings.add(ring)
            for entry in self._sources.values():
                if ring.wanted.wants_source(entry.description):
                    entry.rings[ring] = None
        return ring

    def _open_entry(self, source_id: str) -> _SourceEntry | None:
        return None if source_id in self._ended else self._sources.get(source_id)

    def _forget_old(self) -> None:
        oldest = self._clock.monotonic() - self._retention_seconds
        while self._ended:
            source_id, ended = next(iter(self._ended.items()))
            if ended > oldest and len(self._ended) <= self._ended_cap:
                return
            del self._ended[source_id]
            forgotten = self._sources.pop(source_id)
            self._last_sequences[source_id] = forgotten.last_sequence
            if len(self._last_sequences) > _SEQUENCES_KEPT:
                del self._last_sequences[next(iter(self._last_sequences))]
            for ring in forgotten.rings:
                ring.forget(source_id)
