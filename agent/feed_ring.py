"""A bounded queue of one subscriber that drops the oldest and remembers exactly what. Pure: the hub holds the lock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from livemos.agent.feed_filter import FeedFilter, View, stream_seconds
from livemos.agent.records import FeedItem, FeedPayload, SourceEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedRange:
    """Items of one source that a slow subscriber missed; the count leaves out what its filter did not want."""

    source_id: str
    first_sequence: int
    last_sequence: int
    missed_items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Everything missed since the last item delivered, in order of source_id."""

    missed: tuple[MissedRange, ...]


class FeedRing:
    """Items a subscriber wants and has not read yet."""

    def __init__(self, wanted: FeedFilter, *, capacity_items: int) -> None:
        self.wanted = wanted
        self._capacity_items = capacity_items
        self._items: deque[FeedItem] = deque()
        self._missed: dict[str, MissedRange] = {}
        self._last_seconds: dict[tuple[str, View], float] = {}

    def offer(self, item: FeedItem, view: View) -> int:
        """Queue an item if it is wanted; how many items were dropped for it."""
        if view not in self.wanted.views or self._too_soon(item.payload, view):
            return 0
        dropped = 0
        while len(self._items) >= self._capacity_items:
            self._miss(self._items.popleft())
            dropped += 1
        self._items.append(item)
        return dropped

    def queued_items(self) -> int:
        """Fill of the queue."""
        return len(self._items)

    def take(self) -> FeedItem | Gap | None:
        """What comes next: a gap before the items that follow it."""
        if self._missed:
            missed = tuple(self._missed[source_id] for source_id in sorted(self._missed))
            self._missed = {}
            return Gap(missed=missed)
        return self._items.popleft() if self._items else None

    def forget(self, source_id: str) -> None:
        """A source began anew or has gone: its stream time starts again."""
        for view in View:
            self._last_seconds.pop((source_id, view), None)

    def _too_soon(self, payload: FeedPayload, view: View) -> bool:
        interval = self.wanted.minimum_interval_seconds
        if interval <= 0 or isinstance(payload, SourceEvent):
            return False
        key, now = (payload.source_id, view), stream_seconds(payload)
        last = self._last_seconds.get(key)
        if last is not None and now < last + interval:
            return True
        self._last_seconds[key] = now
        return False

    def _miss(self, item: FeedItem) -> None:
        source_id = item.payload.source_id
        before = self._missed.get(source_id)
        self._missed[source_id] = MissedRange(
            source_id=source_id,
            first_sequence=before.first_sequence if before else item.sequence,
            last_sequence=item.sequence,
            missed_items=before.missed_items + 1 if before else 1,
        )
