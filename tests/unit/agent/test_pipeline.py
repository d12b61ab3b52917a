"""The wired stages: what sources write comes out as scores, in order, with reasons, and the end is announced last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from livemos.agent.bundle import Bundle
from livemos.agent.clock import SystemClock
from livemos.agent.engine.base import EngineDescription, Features, Outputs
from livemos.agent.errors import CapacityError, EngineError
from livemos.agent.hub import Gap, Hub, Listener
from livemos.agent.metrics import Metrics
from livemos.agent.pipeline import Pipeline
from livemos.agent.reasons import Reason
from livemos.agent.records import (
    AudioBlock,
    EventKind,
    FeedPayload,
    MediaStatistics,
    RollingScore,
    Samples,
    SegmentScore,
    SourceEvent,
    StreamDescription,
    StreamState,
)
from livemos.agent.segment_scorer import SegmentScorer

WAIT_SECONDS = 20.0


class GatedEngine:
    """Holds every batch back until `open` is set, so that a test decides when scoring goes on; or fails."""

    def __init__(self, inner: object, *, fails: bool = False) -> None:
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.inner = inner
        self.fails = fails

    def score(self, features: Features) -> Outputs:
        self.entered.set()
        assert self.open.wait(WAIT_SECONDS)
        if self.fails:
            raise EngineError("out of memory on the device")
        return self.inner.score(features)  # type: ignore[attr-defined, no-any-return]

    def warm_up(self) -> None:
        """Nothing to warm."""

    def describe(self) -> EngineDescription:
        return EngineDescription(name="gated", device="test", precision="fp32", version="1")


class Turns(threading.Event):
    """In place of GatedEngine.open: each call takes one of the turns that were given."""

    def __init__(self) -> None:
        super().__init__()
        self._turns = threading.Semaphore(0)

    def give(self, turns: int) -> None:
        self._turns.release(turns)

    def wait(self, timeout: float | None = None) -> bool:
        return self._turns.acquire(timeout=timeout)

    def set(self) -> None:
        self.give(100)


class Bench:
    """A running pipeline with one listener."""

    def __init__(self, bundle: Bundle, engine: object, streams: int) -> None:
        self.engine = GatedEngine(engine)
        self.hub = Hub(SystemClock(), queue_items=100_000)
        self.pipeline = Pipeline(
            scorer=SegmentScorer(bundle, self.engine),
            hub=self.hub,
            clock=SystemClock(),
            metrics=Metrics(),
            streams=streams,
        )
        self.listener: Listener = self.hub.listen()
        self.pipeline.start()

    def until(self, done: Callable[[list[FeedPayload]], bool]) -> list[FeedPayload]:
        """Payloads as they come until `done` says so."""
        payloads: list[FeedPayload] = []
        while not done(payloads):
            item = self.listener.get(WAIT_SECONDS)
            assert item is not None, f"nothing more after {payloads[-3:]}"
            assert not isinstance(item, Gap)
            payloads.append(item.payload)
        return payloads

    def until_ended(self, *source_ids: str) -> list[FeedPayload]:
        """Everything up to the end of these streams."""

        def ended(payloads: list[FeedPayload]) -> bool:
            over = {p.source_id for p in payloads if isinstance(p, SourceEvent) and p.kind is EventKind.SOURCE_ENDED}
            return over >= set(source_ids)

        return self.until(ended)


@pytest.fixture
def bench(graphless_bundle: Bundle, level_engine: object) -> Iterator[Callable[[int], Bench]]:
    """bench(streams) -> a running pipeline, stopped at the end of the test."""
    running: list[Bench] = []

    def make(streams: int = 4) -> Bench:
        running.append(Bench(graphless_bundle, level_engine, streams))
        return running[-1]

    yield make
    for each in running:
        each.engine.open.set()
        each.pipeline.stop()


def _block(samples: Samples, rate: int = 16_000, ready: float = 0.0, concealed: bool = False) -> AudioBlock:
    return AudioBlock(samples=samples, sample_rate_hz=rate, ready_monotonic_seconds=ready, concealed=concealed)


def _segments(payloads: list[FeedPayload], source_id: str = "a") -> list[SegmentScore]:
    return [p for p in payloads if isinstance(p, SegmentScore) and p.source_id == source_id]


def _open(bench: Bench, source_id: str = "a", *, wait: bool = False):  # type: ignore[no-untyped-def]
    return bench.pipeline.open(StreamDescription(source_id=source_id, kind="push"), wait_when_full=wait)


@pytest.mark.parametrize("packet", [20, 160, 161, 4_001, 48_000])
def test_segments_do_not_depend_on_how_the_samples_were_cut(
    bench: Callable[..., Bench], noise: Callable[..., Samples], packet: int
) -> None:
    """Packets of 1 ms and a whole file give the same scores at the same sample indices."""
    running = bench()
    samples = noise(48_000) * np.linspace(0.1, 1, 48_000, dtype=np.float32)
    writer = _open(running, wait=True)
    for start in range(0, len(samples), packet):
        writer.write(_block(samples[start : start + packet]))
    writer.close()
    segments = _segments(running.until_ended("a"))
    assert [s.start_sample for s in segments] == [0, 8_000, 16_000, 24_000, 32_000]
    expected = running.pipeline._scorer.score(
        np.stack([samples[s.start_sample :][:16_000] for s in segments]), np.zeros(5, np.float32)
    )
    np.testing.assert_allclose([s.mos for s in segments], expected.values[:, 0], atol=1e-6)


def test_a_stream_is_announced_scored_rolled_up_and_ended_in_that_order(
    bench: Callable[..., Bench], noise: Callable[..., Samples]
) -> None:
    """A subscriber builds its view of a stream from this order alone."""
    running = bench()
    writer = _open(running)
    writer.write(_block(noise(24_000)))
    writer.close("end of file")
    payloads = running.until_ended("a")
    kinds = [p.kind if isinstance(p, SourceEvent) else type(p) for p in payloads]
    pair = [SegmentScore, RollingScore]
    assert kinds == [EventKind.SOURCE_STARTED, *pair, *pair, EventKind.SOURCE_ENDED]
    rolling = payloads[4]
    assert isinstance(rolling, RollingScore)
    assert [window.scored_segments for window in rolling.windows] == [2, 2, 2, 2]
    assert rolling.state is StreamState.ACTIVE
    ended = payloads[-1]
    assert isinstance(ended, SourceEvent)
    assert ended.detail == "1.5 s heard; end of file"
    snapshot = running.hub.source("a")
    assert snapshot is not None
    assert snapshot.state is StreamState.ENDED


def test_the_windows_have_the_doubt_that_the_bundle_tells(
    graphless_bundle: Bundle, level_engine: object, noise: Callable[..., Samples]
) -> None:
    """Three seconds whose errors go together by a quarter are surer than one; the bundle says so, the windows do."""
    manifest = graphless_bundle.manifest.model_copy(update={"error_correlation": 0.25})
    running = Bench(replace(graphless_bundle, manifest=manifest), level_engine, 1)
    writer = _open(running)
    writer.write(_block(noise(48_000)))
    writer.close()
    rolling = [p for p in running.until_ended("a") if isinstance(p, RollingScore)][-1]
    running.pipeline.stop()
    assert [window.mos_std for window in rolling.windows] == [pytest.approx(0.5 * (0.25 + 0.75 / 3) ** 0.5)] * 4


def test_segments_of_many_streams_that_fall_due_together_share_one_engine_call(
    bench: Callable[..., Bench], noise: Callable[..., Samples], level_engine: object
) -> None:
    """Hundreds of streams a core need batches across streams."""
    running = bench(12)
    running.engine.open.clear()
    first = _open(running, "first")
    first.write(_block(noise(16_000)))
    assert running.engine.entered.wait(WAIT_SECONDS)  # the scoring thread is held in this call
    names = [f"s{index}" for index in range(10)]
    writers = [_open(running, name) for name in names]
    for index, writer in enumerate(writers):
        writer.write(_block(noise(16_000, seed=index)))
        writer.close()
    running.engine.open.set()
    running.until_ended(*names)
    assert level_engine.batches[:2] == [1, 10]  # type: ignore[attr-defined]


def test_a_reader_that_falls_behind_gives_overloaded_and_the_stream_keeps_its_place(
    bench: Callable[..., Bench], noise: Callable[..., Samples]
) -> None:
    """Out of time, segments are refused with a reason; the newest are scored at their own sample indices."""
    running = bench()
    running.engine.open.clear()
    writer = _open(running)
    writer.write(_block(noise(16_000)))
    assert running.engine.entered.wait(WAIT_SECONDS)
    for _ in range(10):
        writer.write(_block(noise(16_000)))  # ten seconds, while the ring holds four
    writer.close()
    running.engine.open.set()
    payloads = running.until_ended("a")
    segments = _segments(payloads)
    assert [s.segment_index for s in segments] == list(range(21))
    assert segments[0].reason is None
    assert segments[1].reason is Reason.OVERLOADED
    assert segments[1].mos is None
    assert segments[-1].reason is None
    refused = [p for p in payloads if isinstance(p, SourceEvent) and p.kind is EventKind.SEGMENTS_REFUSED]
    assert len(refused) == 1  # one event for the lot, not one a segment


def test_a_source_that_waits_loses_nothing_however_fast_it_reads(
    bench: Callable[..., Bench], noise: Callable[..., Samples]
) -> None:
    """A file at full speed is held back by the ring instead of overrunning it."""
    running = bench()
    writer = _open(running, wait=True)
    writer.write(_block(np.tile(noise(16_000), 30)))
    writer.close()
    segments = _segments(running.until_ended("a"))
    assert len(segments) == 59
    assert all(s.reason is None for s in segments)


def test_a_failing_engine_costs_scores_but_not_the_stream(
    bench: Callable[..., Bench], noise: Callable[..., Samples]
) -> None:
    """MODEL_ERROR with one event that says why; when the engine recovers, scores return."""
    running = bench()
    running.engine.fails = True
    writer = _open(running)
    writer.write(_block(noise(24_000)))
    failed = running.until(lambda payloads: len(_segments(payloads)) == 2)
    assert [s.reason for s in _segments(failed)] == [Reason.MODEL_ERROR] * 2
    running.engine.fails = False
    writer.write(_block(noise(8_000)))
    writer.close()
    payloads = failed + running.until_ended("a")
    assert _segments(payloads)[-1].reason is None
    events = [p for p in payloads if isinstance(p, SourceEvent) and p.kind is EventKind.MODEL_FAILED]
    assert [event.detail for event in events] == ["out of memory on the device"]


def test_concealed_media_is_stated_and_too_much_of_it_is_not_scored(
    bench: Callable[..., Bench], noise: Callable[..., Samples]
) -> None:
    """What the receiver made up says little about the call; the share stands beside every score."""
    running = bench()
    writer = _open(running)
    writer.write(_block(noise(12_000)))
    writer.write(_block(noise(20_000), concealed=True))
    writer.close()
    segments = _segments(running.until_ended("a"))
    assert [s.concealed_ratio for s in segments] == [0.25, 0.75, 1.0]
    assert [s.reason for s in segments] == [None, None, Reason.TOO_MUCH_CONCEALED]


def test_a_stream_shorter_than_a_segment_says_too_short(
    bench: Callable[..., Bench], noise: Callable[..., Samples]
) -> None:
    """A call of 0.2 s must not vanish without a word."""
    running = bench()
    writer = _open(running)
    writer.write(_block(noise(3_200)))
    writer.close()
    payloads = running.until_ended("a")
    (rolling,) = [p for p in payloads if isinstance(p, RollingScore)]
    assert {window.reason for window in rolling.windows} == {Reason.TOO_SHORT}
    assert not _segments(payloads)


def test_a_change_of_rate_inside_a_stream_keeps_the_grid(
    bench: Callable[..., Bench], noise: Callable[..., Samples]
) -> None:
    """A codec switch from 8 kHz to 16 kHz continues the same call."""
    running = bench()
    writer = _open(running)
    writer.write(_block(noise(8_000), rate=8_000))
    writer.write(_block(noise(16_000)))
    writer.close()
    assert len(_segments(running.until_ended("a"))) == 3


def test_the_cap_on_streams_refuses_the_newest_and_a_used_name_is_an_error(
    bench: Callable[..., Bench], noise: Callable[..., Samples]
) -> None:
    """What runs goes on; the same name can be used again after its stream has ended."""
    running = bench(2)
    writer = _open(running, "a")
    with pytest.raises(ValueError, match="'a' is in use"):
        _open(running, "a")
    _open(running, "b")
    with pytest.raises(CapacityError, match=r"limits\.streams"):
        _open(running, "c")
    writer.write(_block(noise(16_000)))
    writer.close()
    running.until_ended("a")
    again = _open(running, "a")
    again.write(_block(noise(16_000)))
    again.close()
    assert len(_segments(running.until_ended("a"))) == 1


def test_the_end_waits_as_long_as_segments_are_still_being_scored(
    bench: Callable[..., Bench], noise: Callable[..., Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A capture read to its end leaves a backlog; each call of a slow engine may take as long as stopping waits."""
    running = bench()
    running.engine.open = turns = Turns()
    writer = _open(running)
    writer.write(_block(noise(40_000)))
    writer.close()
    pipeline, thread = running.pipeline, running.pipeline._thread
    join = thread.join

    def one_turn(timeout: float) -> None:
        before = pipeline._scored_batches
        turns.give(1)
        while thread.is_alive() and pipeline._scored_batches == before:
            join(0.001)

    monkeypatch.setattr(thread, "join", one_turn)
    pipeline.stop()
    monkeypatch.undo()
    assert not thread.is_alive()
    assert [segment.segment_index for segment in _segments(running.until_ended("a"))] == [0, 1, 2, 3]


def test_a_new_stream_does_not_inherit_the_windows_of_the_one_before(
    bench: Callable[..., Bench], noise: Callable[..., Samples]
) -> None:
    """With room for one stream the second call gets the first one's place in memory, and nothing else of it."""
    running = bench(1)
    for name in ("first", "second"):
        writer = _open(running, name)
        writer.write(_block(noise(24_000)))
        writer.close()
        payloads = running.until_ended(name)
    rolling = [p for p in payloads if isinstance(p, RollingScore)]
    assert [score.windows[-1].scored_segments for score in rolling] == [1, 2]


def test_ready_time_is_when_the_last_sample_of_the_segment_was_played_out(
    bench: Callable[..., Bench], noise: Callable[..., Samples]
) -> None:
    """Latency is counted from there, so a block that holds more than the segment's end is dated back."""
    running = bench()
    clock = SystemClock()
    offset = clock.unix() - clock.monotonic()
    writer = _open(running)
    writer.write(_block(noise(10_000), ready=100.0))
    writer.write(_block(noise(10_000), ready=101.0))
    writer.close()
    (segment,) = _segments(running.until_ended("a"))
    assert segment.ready_unix_seconds - offset == pytest.approx(101.0 - 4_000 / 16_000, abs=0.05)
    assert segment.start_unix_seconds == pytest.approx(segment.ready_unix_seconds - 1.0)


def test_media_statistics_and_state_travel_with_the_rolling_score(
    bench: Callable[..., Bench], noise: Callable[..., Samples]
) -> None:
    """Loss and codec stand beside the score they explain."""
    running = bench()
    writer = _open(running)
    writer.media(MediaStatistics(codec="PCMU/8000", lost_packets=3))
    writer.write(_block(noise(16_000)))
    writer.close()
    (rolling,) = [p for p in running.until_ended("a") if isinstance(p, RollingScore)]
    assert rolling.media.lost_packets == 3
    assert rolling.state is StreamState.ACTIVE
