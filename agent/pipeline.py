"""Wires the stages: streams that sources write -> segments due -> one engine call over all streams -> rolling -> hub.

The only module that knows all of them. One scoring thread; sources' threads only append to their streams.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from livemos.agent.batching import BatchPlan
from livemos.agent.causes import named
from livemos.agent.clock import Clock
from livemos.agent.disagreement import Disagreement
from livemos.agent.errors import CapacityError
from livemos.agent.hub import Hub
from livemos.agent.metrics import Metrics
from livemos.agent.reasons import Reason
from livemos.agent.records import (
    SAMPLE_RATE_HZ,
    SEGMENT_SAMPLES,
    STRIDE_SECONDS,
    AudioBlock,
    EventKind,
    FeedPayload,
    Mark,
    MediaStatistics,
    RollingScore,
    RollingWindow,
    SegmentScore,
    SourceEvent,
    StreamDescription,
    StreamState,
)
from livemos.agent.ring import RingBank
from livemos.agent.rolling import WINDOWS_SECONDS, RollingBank
from livemos.agent.segment_scorer import SegmentScorer, SegmentScores
from livemos.agent.segmenter import start_of
from livemos.agent.stream import DueSegment, Stream
from livemos.agent.thread_names import show_name

_log = logging.getLogger(__name__)
AROUND_CALL_SECONDS = 5e-4  # what a batch costs here beside its engine call, whatever its size (docs/rtp.md, Load)
_LONGEST_GATHER_SECONDS = 0.03
_IDLE_SECONDS = 0.25
_STILL_SECONDS = 5.0  # at the end the scoring thread is waited for until it scored nothing for so long
_FAILURE_EVENT_SECONDS = 10.0  # a failing engine is one event per stream and interval, not one per segment


@dataclass(slots=True)
class _Entry:
    """A stream with what the pipeline knows of it; the writer's thread sets state and media, whole values at a time."""

    stream: Stream
    state: StreamState = StreamState.WAITING
    media: MediaStatistics = field(default_factory=MediaStatistics)
    detail: str = ""
    failure_event_monotonic_seconds: float = -math.inf
    disagreement: Disagreement = field(default_factory=Disagreement)


class PipelineWriter:
    """The StreamWriter a source gets: one stream, one thread."""

    def __init__(self, pipeline: Pipeline, entry: _Entry) -> None:
        self._pipeline = pipeline
        self._entry = entry
        self._closed = False

    def write(self, block: AudioBlock) -> None:
        """Append a block; the first one makes the stream active."""
        if self._entry.state is StreamState.WAITING:
            self.state(StreamState.ACTIVE)
        self._entry.stream.write(block)

    def wanted_samples(self) -> float:
        """How many more samples at 16 kHz until a segment is due."""
        return self._entry.stream.wanted_samples()

    def media(self, statistics: MediaStatistics) -> None:
        """Replace the packet statistics."""
        self._entry.media = statistics
        self._pipeline.hub.set_media(self._source_id, statistics)

    def state(self, state: StreamState, reason: Reason | None = None) -> None:
        """Publish the state a subscriber sees."""
        self._entry.state = state
        self._pipeline.hub.set_state(self._source_id, state, reason)

    def event(self, kind: EventKind, detail: str) -> None:
        """Publish an event of this stream."""
        self._pipeline.publish_event(self._source_id, kind, detail)

    def close(self, detail: str = "") -> None:
        """End the stream; its last segments are scored, then it is announced as ended."""
        if not self._closed:
            self._closed = True
            self._entry.detail = detail
            self._entry.stream.close()
            self._pipeline.closed(self._source_id)

    @property
    def _source_id(self) -> str:
        return self._entry.stream.description.source_id


class Pipeline:
    """The StreamSink of all sources, and the scoring thread."""

    def __init__(
        self,
        *,
        scorer: SegmentScorer,
        hub: Hub,
        clock: Clock,
        metrics: Metrics,
        streams: int,
        batches: BatchPlan = BatchPlan(),  # noqa: B008 - frozen
    ) -> None:
        self.hub = hub
        self.clock = clock
        self._scorer = scorer
        self._batches = batches
        self._metrics = metrics
        self._bank = RingBank(streams)
        self._rolling = RollingBank(streams, error_correlation=scorer.error_correlation, causes=scorer.gives_causes)
        scorer.share_frames(streams)
        self._unix_offset_seconds = clock.unix() - clock.monotonic()
        self._entries: dict[str, _Entry] = {}
        self._due_ids: deque[str] = deque()  # streams with a segment due, the longest waiting first; some named twice
        self._closing: set[str] = set()  # streams whose writer has closed
        self._lock = threading.Lock()
        self._due = threading.Event()
        self._stopping = threading.Event()
        self._drain = True
        self._scored_batches = 0
        self._thread = threading.Thread(target=self._run, name="livemos-scoring", daemon=True)
        self._segments = np.empty((batches.largest_batch, SEGMENT_SAMPLES), np.float32)

    def open(self, description: StreamDescription, *, wait_when_full: bool = False) -> PipelineWriter:
        """A writer for a new stream. Raises CapacityError at the cap, ValueError when the source_id is in use."""
        with self._lock:
            if self._stopping.is_set():
                raise CapacityError("the agent is stopping; no new streams")
            if description.source_id in self._entries:
                raise ValueError(f"source_id {description.source_id!r} is in use; names of sources must differ")
            try:
                stream = Stream(
                    description,
                    self._bank,
                    wait_when_full=wait_when_full,
                    started_unix_seconds=self.clock.unix(),
                    on_due=partial(self._note_due, description.source_id),
                )
            except CapacityError:
                self._metrics.streams_refused.inc()
                raise
            self._rolling.reset(stream.row)
            entry = _Entry(stream)
            self._entries[description.source_id] = entry
        self._metrics.streams_open.set(self._bank.in_use())
        self.hub.open_source(description)
        self.publish_event(description.source_id, EventKind.SOURCE_STARTED, description.detail)
        return PipelineWriter(self, entry)

    def closed(self, source_id: str) -> None:
        """A writer has written its last."""
        self._closing.add(source_id)
        self._due.set()

    def _note_due(self, source_id: str) -> None:
        self._due_ids.append(source_id)
        self._due.set()

    def publish_event(self, source_id: str, kind: EventKind, detail: str) -> None:
        """Put an event into the feed."""
        self.hub.publish(self._event(source_id, kind, detail))

    def _event(self, source_id: str, kind: EventKind, detail: str) -> SourceEvent:
        return SourceEvent(source_id=source_id, kind=kind, unix_seconds=self.clock.unix(), detail=detail)

    def start(self) -> None:
        """Start the scoring thread."""
        self._thread.start()

    def stop(self, *, drain: bool = True) -> None:
        """End the scoring thread: after scoring what is due (`drain`), or at once. Sources stop before."""
        self._drain = drain
        self._stopping.set()
        self._due.set()
        seen = -1
        while self._thread.is_alive() and self._scored_batches > seen:
            seen = self._scored_batches
            self._thread.join(_STILL_SECONDS)
        if self._thread.is_alive():
            _log.warning("the engine has not answered for %.0f s; last segments stay unscored", _STILL_SECONDS)
        for entry in list(self._entries.values()):
            entry.stream.abandon()

    def _run(self) -> None:
        show_name("scoring")
        while True:
            self._due.wait(_IDLE_SECONDS)
            if self._due.is_set() and not self._stopping.is_set():
                self._stopping.wait(self._gather_seconds())
            self._due.clear()
            while not (self._stopping.is_set() and not self._drain) and self._score_due():
                if 0 < len(self._due_ids) < self._batches.largest_batch and not self._stopping.is_set():
                    self._due.set()  # the rest waits for company: a call of few costs nearly as much as one of many
                    break
            self._retire()
            if self._stopping.is_set():
                return

    def _gather_seconds(self) -> float:
        """The plan's wait, or longer where so many streams are open that a full batch comes together soon."""
        full_seconds = self._batches.largest_batch * STRIDE_SECONDS / max(1, self._bank.in_use())
        return max(self._batches.wait_seconds, full_seconds if full_seconds <= _LONGEST_GATHER_SECONDS else 0.0)

    def _score_due(self) -> bool:
        """Score one batch of due segments, at most one of each stream; False when nothing was due."""
        batch = self._next_batch()
        if not batch:
            return False
        due = [entry.stream.take(out) for entry, out in zip(batch, self._segments, strict=False)]
        self._due_ids.extend(entry.stream.description.source_id for entry in batch if entry.stream.due())
        concealed = np.array([segment.concealed_ratio for segment in due], np.float32)
        rows = np.array([entry.stream.row for entry in batch], np.intp)
        indices = np.array([segment.segment_index if segment.whole else -1 for segment in due], np.intp)
        with self._metrics.scoring_seconds.time():
            scores = self._scorer.score(self._segments[: len(batch)], concealed, (rows, indices))
        for row, segment in enumerate(due):
            if not segment.whole:
                scores.reasons[row] = Reason.OVERLOADED
                scores.values[row] = np.nan
        windows = self._rolling.push(rows, scores.values, scores.reasons, scores.causes)
        payloads: list[FeedPayload] = []
        for row, (entry, segment) in enumerate(zip(batch, due, strict=True)):
            payloads += self._payloads(entry, segment, scores, row, windows[row])
        self.hub.publish_all(payloads)
        self._scored_batches += 1
        return True

    def _next_batch(self) -> list[_Entry]:
        """Streams with a segment due, the longest waiting first, none twice."""
        batch: dict[str, _Entry] = {}
        while self._due_ids and len(batch) < self._batches.largest_batch:
            source_id = self._due_ids.popleft()
            entry = self._entries.get(source_id)
            if entry is not None and entry.stream.due():
                batch[source_id] = entry
        return list(batch.values())

    def _payloads(
        self,
        entry: _Entry,
        segment: DueSegment,
        scores: SegmentScores,
        row: int,
        windows: Sequence[RollingWindow],
    ) -> list[FeedPayload]:
        """What subscribers get of one segment, in this order: its score, the windows, what is to be said about them."""
        now = self.clock.monotonic()
        score = segment_score(
            scores,
            row,
            source_id=entry.stream.description.source_id,
            segment_index=segment.segment_index,
            ready_unix_seconds=segment.ready_monotonic_seconds + self._unix_offset_seconds,
            concealed_ratio=segment.concealed_ratio,
            model_id=self._scorer.model.model_id,
            marks=segment.marks,
        )
        rolling = RollingScore(
            source_id=score.source_id,
            segment_index=score.segment_index,
            end_sample=score.start_sample + SEGMENT_SAMPLES,
            ready_unix_seconds=score.ready_unix_seconds,
            windows=tuple(windows),
            level_dbov=score.level_dbov,
            state=entry.state,
            media=entry.media,
            model_id=score.model_id,
        )
        payloads: list[FeedPayload] = [score, rolling]
        parted = entry.disagreement.heard(score, entry.media)
        if parted is not None:
            payloads.append(self._event(score.source_id, *parted))
        self._metrics.count_segment(score.reason, score.cause)
        self._metrics.score_latency_seconds.observe(max(0.0, now - segment.ready_monotonic_seconds))
        failed = score.reason is Reason.OVERLOADED or score.reason is Reason.MODEL_ERROR
        if failed and now - entry.failure_event_monotonic_seconds >= _FAILURE_EVENT_SECONDS:
            entry.failure_event_monotonic_seconds = now
            if score.reason is Reason.OVERLOADED:
                detail = "scoring fell behind by more than the ring holds; fewer streams, or a faster core"
                payloads.append(self._event(score.source_id, EventKind.SEGMENTS_REFUSED, detail))
            else:
                detail = scores.failure or "the model answered with a non-finite value"
                payloads.append(self._event(score.source_id, EventKind.MODEL_FAILED, detail))
        return payloads

    def _retire(self) -> None:
        """Announce and remove streams that ended and were scored to their end."""
        closing = [self._entries[source_id] for source_id in tuple(self._closing)]
        ended = [entry for entry in closing if entry.stream.drained()]
        for entry in ended:
            stream = entry.stream
            source_id = stream.description.source_id
            heard = stream.heard_samples()
            if heard < SEGMENT_SAMPLES:
                self._publish_too_short(entry, heard)
            seconds = heard / SAMPLE_RATE_HZ
            detail = f"{seconds:.1f} s heard" + (f"; {entry.detail}" if entry.detail else "")
            self.publish_event(source_id, EventKind.SOURCE_ENDED, detail)
            self.hub.close_source(source_id)
            self._closing.discard(source_id)
            with self._lock:
                del self._entries[source_id]
            self._bank.release(stream.row)
        if ended:
            self._metrics.streams_open.set(self._bank.in_use())

    def _publish_too_short(self, entry: _Entry, heard_samples: int) -> None:
        """A stream that ended before its first whole segment says so, instead of saying nothing."""
        window = RollingWindow(window_seconds=None, reason=Reason.TOO_SHORT)
        self.hub.publish(
            RollingScore(
                source_id=entry.stream.description.source_id,
                segment_index=0,
                end_sample=heard_samples,
                ready_unix_seconds=self.clock.unix(),
                windows=(*(replace(window, window_seconds=seconds) for seconds in WINDOWS_SECONDS), window),
                state=entry.state,
                media=entry.media,
                model_id=self._scorer.model.model_id,
            )
        )


def segment_score(
    scores: SegmentScores,
    row: int,
    *,
    source_id: str,
    segment_index: int,
    ready_unix_seconds: float,
    concealed_ratio: float,
    model_id: str,
    marks: tuple[Mark, ...] = (),
) -> SegmentScore:
    """One row of SegmentScores as a record; NaN becomes unset."""
    mos, noisiness, coloration, discontinuity, loudness, mos_std, speech_ratio = (
        None if math.isnan(value) else value for value in scores.values[row].tolist()
    )
    level, bandwidth = scores.level_dbov.item(row), scores.bandwidth_hz.item(row)
    cause, cause_probability, snr = None, None, math.nan
    if mos is not None:
        cause, cause_probability = named(scores.cause.item(row), scores.cause_probability.item(row))
        snr = scores.snr_db.item(row)
    return SegmentScore(
        source_id=source_id,
        segment_index=segment_index,
        start_sample=start_of(segment_index),
        start_unix_seconds=ready_unix_seconds - SEGMENT_SAMPLES / SAMPLE_RATE_HZ,
        ready_unix_seconds=ready_unix_seconds,
        mos=mos,
        mos_std=mos_std,
        noisiness=noisiness,
        coloration=coloration,
        discontinuity=discontinuity,
        loudness=loudness,
        speech_ratio=speech_ratio,
        level_dbov=level if math.isfinite(level) else None,
        clipped_ratio=scores.clipped_ratio.item(row),
        concealed_ratio=concealed_ratio,
        bandwidth_hz=bandwidth if math.isfinite(bandwidth) else None,
        snr_db=None if math.isnan(snr) else snr,
        cause=cause,
        cause_probability=cause_probability,
        reason=scores.reasons[row],
        model_id=model_id,
        marks=marks,
    )
