"""The hub: numbering, filters, bounded rings, gaps, the registry of sources, and threads that meet a loop."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable

import pytest

from livemos.agent.clock import ManualClock
from livemos.agent.errors import CapacityError
from livemos.agent.feed_filter import FeedFilter, View, glob_matches
from livemos.agent.feed_ring import Gap
from livemos.agent.hub import FeedClosedError, Hub, Listener
from livemos.agent.reasons import Reason
from livemos.agent.records import (
    EventKind,
    FeedItem,
    MediaStatistics,
    RollingScore,
    RollingWindow,
    SegmentScore,
    SourceEvent,
    StreamDescription,
    StreamState,
)


def segment(source_id: str, index: int = 0) -> SegmentScore:
    return SegmentScore(
        source_id=source_id,
        segment_index=index,
        start_sample=8_000 * index,
        start_unix_seconds=1_700_000_000 + index / 2,
        ready_unix_seconds=1_700_000_001 + index / 2,
        mos=4.0,
        mos_std=0.2,
    )


def rolling(source_id: str, index: int = 0) -> RollingScore:
    return RollingScore(
        source_id=source_id,
        segment_index=index,
        end_sample=8_000 * index + 16_000,
        ready_unix_seconds=1_700_000_001 + index / 2,
        windows=(RollingWindow(window_seconds=None, mos=4.0),),
    )


def event(source_id: str, kind: EventKind = EventKind.SOURCE_STARTED) -> SourceEvent:
    return SourceEvent(source_id=source_id, kind=kind, unix_seconds=1_700_000_000.0)


def hub_with(*source_ids: str, clock: ManualClock | None = None, **options: float) -> Hub:
    hub = Hub(clock or ManualClock(), **options)  # type: ignore[arg-type]
    for source_id in source_ids:
        hub.open_source(StreamDescription(source_id=source_id, kind="rtp", labels={"room": source_id[0]}))
    return hub


def drain(listener: Listener) -> list[FeedItem | Gap]:
    updates = []
    while (update := listener.get(timeout_seconds=0)) is not None:
        updates.append(update)
    return updates


def sequences(updates: list[FeedItem | Gap], source_id: str) -> list[int]:
    return [u.sequence for u in updates if isinstance(u, FeedItem) and u.payload.source_id == source_id]


def test_each_source_is_numbered_densely_from_one_over_all_views() -> None:
    """A subscriber can tell a loss from silence only when nothing else makes holes in the numbers."""
    hub = hub_with("a", "b")
    listener = hub.listen()
    for index in range(5):
        hub.publish(segment("a", index))
        hub.publish(rolling("a", index))
        hub.publish(event("b"))
    updates = drain(listener)
    assert sequences(updates, "a") == list(range(1, 11))
    assert sequences(updates, "b") == list(range(1, 6))


def test_publishing_for_a_source_that_was_never_opened_is_refused() -> None:
    """A score without a source in the registry could not be listed or explained."""
    with pytest.raises(ValueError, match="open_source"):
        hub_with("a").publish(segment("nobody"))


@pytest.mark.parametrize(
    ("glob", "text", "fits"),
    [
        ("a", "a", True),
        ("a", "ab", False),
        ("*", "", True),
        ("bridge/*", "bridge/0x1f", True),
        ("bridge/*", "bridge", False),
        ("*/0x1f", "bridge/0x1f", True),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("ab*ba", "aba", False),
        ("a*a*a", "aa", False),
        ("[x]?", "[x]?", True),
        ("[x]", "x", False),
    ],
)
def test_a_star_stands_for_any_characters_and_nothing_else_is_special(glob: str, text: str, fits: bool) -> None:
    """Source ids hold brackets (IPv6) and dots; a pattern language with more signs would surprise."""
    assert glob_matches(glob, text) is fits


def test_a_hostile_pattern_is_answered_at_once() -> None:
    """Matching happens under the lock that the scoring thread needs: 60 stars must not backtrack."""
    assert not glob_matches("*a" * 60 + "b", "a" * 20_000)


def test_a_subscriber_gets_only_the_sources_labels_and_views_it_asked_for_and_no_gap_for_the_rest() -> None:
    """What a filter leaves out is not a loss."""
    hub = hub_with("a1", "a2", "b1")
    wanted = FeedFilter(source_ids=("*1",), labels={"room": "a"}, views=frozenset({View.ROLLING}))
    listener = hub.listen(wanted)
    for source_id in ("a1", "a2", "b1"):
        hub.publish(segment(source_id))
        hub.publish(rolling(source_id))
        hub.publish(event(source_id))
    assert [(u.sequence, u.payload) for u in drain(listener) if isinstance(u, FeedItem)] == [(2, rolling("a1"))]
    assert hub.statistics().dropped_items == 0


def test_a_source_opened_after_the_subscription_is_heard_when_it_fits() -> None:
    """Calls come and go while the dashboard stays."""
    hub = hub_with()
    listener = hub.listen(FeedFilter(source_ids=("late*",)))
    for source_id in ("late1", "other"):
        hub.open_source(StreamDescription(source_id=source_id, kind="rtp"))
        hub.publish(segment(source_id))
    assert [u.payload.source_id for u in drain(listener) if isinstance(u, FeedItem)] == ["late1"]


def test_the_minimum_interval_thins_each_view_of_each_source_in_stream_time_and_spares_events() -> None:
    """A dashboard that draws once a second wants half the numbers, but never to miss that a call ended."""
    hub = hub_with("a", "b")
    listener = hub.listen(FeedFilter(minimum_interval_seconds=1.0))
    for index in range(6):
        for source_id in ("a", "b"):
            hub.publish(segment(source_id, index))
            hub.publish(rolling(source_id, index))
        hub.publish(event("a"))
    items = [u for u in drain(listener) if isinstance(u, FeedItem)]
    indices = [u.payload.segment_index for u in items if isinstance(u.payload, SegmentScore)]
    assert indices == [0, 0, 2, 2, 4, 4]
    assert [u.payload.segment_index for u in items if isinstance(u.payload, RollingScore)] == [0, 0, 2, 2, 4, 4]
    assert sum(isinstance(u.payload, SourceEvent) for u in items) == 6


def test_a_source_that_starts_again_is_not_held_back_by_its_former_life() -> None:
    """Its stream time begins at zero again; comparing with the old one would silence it for minutes."""
    hub = hub_with("a")
    listener = hub.listen(FeedFilter(minimum_interval_seconds=5.0))
    hub.publish(segment("a", 40))
    hub.close_source("a")
    hub.open_source(StreamDescription(source_id="a", kind="rtp"))
    hub.publish(segment("a", 38))
    assert sequences(drain(listener), "a") == [1, 2]


def test_a_full_ring_drops_the_oldest_and_the_gap_says_exactly_what_is_missing() -> None:
    """Loss is always stated, before the items that follow it, and only to the one who was slow."""
    hub = hub_with("a", "b", queue_items=4)
    slow, quick = hub.listen(), hub.listen()
    seen: list[FeedItem | Gap] = []
    for index in range(5):
        hub.publish(segment("b", index))
        hub.publish(segment("a", index))
        seen += drain(quick)
    gap, *rest = drain(slow)
    assert isinstance(gap, Gap)
    assert [(m.source_id, m.first_sequence, m.last_sequence, m.missed_items) for m in gap.missed] == [
        ("a", 1, 3, 3),
        ("b", 1, 3, 3),
    ]
    assert sequences(rest, "a") == sequences(rest, "b") == [4, 5]
    assert sequences(seen, "a") == sequences(seen, "b") == [1, 2, 3, 4, 5]
    assert not any(isinstance(update, Gap) for update in seen)
    assert hub.statistics().dropped_items == 6


def test_a_gap_counts_only_what_the_subscriber_had_asked_for() -> None:
    """The range spans numbers of views that were filtered out; the count must not."""
    hub = hub_with("a", queue_items=1)
    listener = hub.listen(FeedFilter(views=frozenset({View.SEGMENT})))
    for index in range(3):
        hub.publish(segment("a", index))
        hub.publish(rolling("a", index))
    gap = listener.get(0)
    assert isinstance(gap, Gap)
    (missed,) = gap.missed
    assert (missed.first_sequence, missed.last_sequence, missed.missed_items) == (1, 3, 2)


def test_the_subscriber_beyond_the_cap_is_refused_and_a_closed_one_makes_room() -> None:
    """Out of room the newest is refused; the message names the limit."""
    hub = hub_with("a", subscribers=2)
    first, _second = hub.listen(), hub.listen()
    with pytest.raises(CapacityError, match=r"limits\.subscribers"):
        hub.listen()
    with first:
        pass
    hub.listen()
    assert hub.statistics().subscribers == 2


def test_a_closed_subscription_delivers_what_it_holds_and_then_says_so() -> None:
    """At shutdown the last scores still reach the subscriber."""
    hub = hub_with("a")
    listener = hub.listen()
    hub.publish(segment("a"))
    hub.close()
    hub.publish(segment("a", 1))
    assert sequences([listener.get(0)], "a") == [1]  # type: ignore[list-item]
    with pytest.raises(FeedClosedError):
        listener.get(0)


def test_the_registry_shows_the_latest_of_everything() -> None:
    """A client that lists before it subscribes must see what a subscriber saw."""
    clock = ManualClock()
    hub = hub_with("b", "a", clock=clock)
    hub.publish(segment("a", 3))
    hub.publish(rolling("a", 3))
    hub.set_state("a", StreamState.STALLED, Reason.NO_MEDIA)
    media = MediaStatistics(codec="PCMU/8000", lost_packets=2)
    hub.set_media("a", media)
    assert [s.description.source_id for s in hub.sources()] == ["a", "b"]
    snapshot = hub.source("a")
    assert snapshot is not None
    assert (snapshot.segment, snapshot.rolling) == (segment("a", 3), rolling("a", 3))
    assert (snapshot.state, snapshot.reason, snapshot.media) == (StreamState.STALLED, Reason.NO_MEDIA, media)
    assert (snapshot.last_sequence, snapshot.heard_samples) == (2, 8_000 * 3 + 16_000)
    assert snapshot.started_unix_seconds == clock.unix()


def test_an_ended_source_is_remembered_for_the_retention_time_and_then_forgotten() -> None:
    """A dashboard wants to show the call that just ended, and memory must not grow with every call of a year."""
    clock = ManualClock()
    hub = hub_with("a", "b", clock=clock, retention_seconds=300)
    hub.close_source("a")
    hub.set_state("a", StreamState.ACTIVE)  # a late word of its thread
    clock.advance(299)
    ended = hub.source("a")
    assert ended is not None
    assert ended.state is StreamState.ENDED
    clock.advance(2)
    assert hub.source("a") is None
    assert [s.description.source_id for s in hub.sources()] == ["b"]


def test_ended_sources_are_bounded_in_number_and_the_oldest_go_first() -> None:
    """A storm of short calls inside the retention time must not fill the memory."""
    hub = hub_with(ended_sources=3)
    for number in range(10):
        hub.open_source(StreamDescription(source_id=f"call{number}", kind="rtp"))
        hub.close_source(f"call{number}")
    assert [s.description.source_id for s in hub.sources()] == ["call7", "call8", "call9"]


def test_a_source_id_in_use_is_refused_and_an_ended_one_goes_on_counting() -> None:
    """Sequences are never used twice while anyone may remember them."""
    hub = hub_with("a")
    with pytest.raises(ValueError, match="is open"):
        hub.open_source(StreamDescription(source_id="a", kind="rtp"))
    hub.publish(segment("a"))
    hub.close_source("a")
    hub.open_source(StreamDescription(source_id="a", kind="rtp"))
    assert hub.publish(segment("a")) == 2
    snapshot = hub.source("a")
    assert snapshot is not None
    assert snapshot.state is StreamState.WAITING


def test_a_source_that_was_forgotten_goes_on_counting_when_it_comes_back() -> None:
    """A telephone calls again after an hour: a reader keyed by source and sequence must not see one twice."""
    clock = ManualClock()
    hub = hub_with("a", clock=clock, retention_seconds=300)
    hub.publish(segment("a"))
    hub.close_source("a")
    clock.advance(301)
    assert hub.source("a") is None
    hub.open_source(StreamDescription(source_id="a", kind="rtp"))
    assert hub.publish(segment("a")) == 2


def test_many_publishing_threads_lose_nothing_and_keep_the_order_of_each_source() -> None:
    """Receive threads publish events while the scoring thread publishes scores."""
    hub = hub_with(*(f"s{n}" for n in range(8)), queue_items=100_000)
    listener = hub.listen()
    threads = [
        threading.Thread(target=lambda n=n: [hub.publish(segment(f"s{n % 8}", i)) for i in range(500)])
        for n in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    updates = drain(listener)
    for number in range(8):
        assert sequences(updates, f"s{number}") == list(range(1, 1_001))
    assert hub.statistics().published_items == hub.statistics().delivered_items == 8_000


def run_with_publisher(hub: Hub, publish: Callable[[], None], wanted: int) -> list[FeedItem | Gap]:
    """Subscribe on a loop, publish from another thread, collect until `wanted` items or missed items came."""

    async def collect() -> list[FeedItem | Gap]:
        with hub.subscribe() as subscription:
            thread = threading.Thread(target=publish)
            thread.start()
            updates: list[FeedItem | Gap] = []
            known = 0
            async with asyncio.timeout(15):
                async for update in subscription:
                    updates.append(update)
                    known += sum(m.missed_items for m in update.missed) if isinstance(update, Gap) else 1
                    if known >= wanted:
                        break
            thread.join(5)
        return updates

    return asyncio.run(collect())


def test_a_sleeping_loop_is_woken_by_a_publisher_on_another_thread() -> None:
    """The one crossing between the scoring thread and the event loop."""
    hub = hub_with("a")

    def publish() -> None:
        for index in range(2_000):
            hub.publish(segment("a", index))

    assert sequences(run_with_publisher(hub, publish, 2_000), "a") == list(range(1, 2_001))
    assert hub.statistics().subscribers == 0


def test_items_and_gaps_together_account_for_every_number_whatever_the_timing() -> None:
    """The promise to clients: each sequence is delivered once or lies in exactly one stated gap."""
    random.seed(7)
    hub = hub_with("a", "b", queue_items=16)

    def publish() -> None:
        for index in range(5_000):
            hub.publish(segment(random.choice("ab"), index))

    updates = run_with_publisher(hub, publish, 5_000)
    for source_id in "ab":
        expected = 1
        for update in updates:
            if isinstance(update, Gap):
                for missed in update.missed:
                    if missed.source_id == source_id:
                        assert missed.first_sequence == expected
                        assert missed.missed_items == missed.last_sequence - missed.first_sequence + 1
                        expected = missed.last_sequence + 1
            elif update.payload.source_id == source_id:
                assert update.sequence == expected
                expected += 1


def test_a_subscriber_whose_loop_has_gone_is_dropped_at_the_next_publish() -> None:
    """A crashed server thread must not leave a ring that fills for ever, nor break the scoring thread."""
    hub = hub_with("a")

    async def leave_open() -> None:
        subscription = hub.subscribe()
        assert await subscription.next(timeout_seconds=0.01) is None

    asyncio.run(leave_open())
    assert hub.statistics().subscribers == 1
    hub.publish(segment("a"))
    assert hub.statistics().subscribers == 0


def test_an_idle_subscription_returns_at_its_timeout_and_is_woken_by_close() -> None:
    """Heartbeats hang on the timeout, drains on the wake-up."""
    hub = hub_with("a")

    async def check() -> None:
        with hub.subscribe() as subscription:
            assert await subscription.next(timeout_seconds=0.01) is None
            waiting = asyncio.create_task(subscription.next())
            await asyncio.sleep(0)
            hub.close()
            with pytest.raises(FeedClosedError):
                async with asyncio.timeout(5):
                    await waiting

    asyncio.run(check())
