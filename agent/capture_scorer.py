"""A capture to scores: replay and segments on one thread, the model there or in processes of a pool.

Segments of all streams share engine calls of a fixed size, in an order that the file alone decides, so a second run
repeats the first in every bit, with any number of workers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from livemos.agent.bundle import load_bundle
from livemos.agent.causes import CAUSES, Float64
from livemos.agent.clock import ManualClock
from livemos.agent.disagreement import Disagreement
from livemos.agent.engine import make_engine
from livemos.agent.errors import CapacityError, SourceError
from livemos.agent.file_names import shown
from livemos.agent.pipeline import segment_score
from livemos.agent.reasons import Reason
from livemos.agent.records import (
    SAMPLE_RATE_HZ,
    SEGMENT_SAMPLES,
    AudioBlock,
    ClipScore,
    EventKind,
    MediaStatistics,
    SegmentScore,
    SourceEvent,
    StreamDescription,
    StreamState,
)
from livemos.agent.ring import RingBank
from livemos.agent.rtp.playout import IDEAL
from livemos.agent.rtp.seal import SrtpKey
from livemos.agent.scorer import clip_score
from livemos.agent.scoring_pool import ScoringPool
from livemos.agent.segment_scorer import SegmentScorer, SegmentScores
from livemos.agent.sources.pcap import CaptureReplay
from livemos.agent.stream import DueSegment, Stream

STREAMS_AT_ONCE = 4_096
_BANK_STREAMS = 256
_BATCH_SEGMENTS = 64
_PIECE_SECONDS = 0.5  # a block longer than the ring would overwrite itself


@dataclass(slots=True)
class CaptureStream:
    """What the replay found of one stream."""

    description: StreamDescription
    media: MediaStatistics = field(default_factory=MediaStatistics)
    reason: Reason | None = None  # why the stream as a whole has no score
    segments: list[SegmentScore] = field(default_factory=list)
    cause_sums: Float64 = field(default_factory=lambda: np.zeros(len(CAUSES)))  # weighted by speech
    events: list[SourceEvent] = field(default_factory=list)
    clip: ClipScore | None = None
    disagreement: Disagreement = field(default_factory=Disagreement)

    def note(self, kind: EventKind, detail: str, unix_seconds: float) -> None:
        """Keep an event."""
        source_id = self.description.source_id
        self.events.append(
            SourceEvent(source_id=source_id, kind=kind, unix_seconds=round(unix_seconds, 9), detail=detail)
        )


class _Waiting(NamedTuple):
    found: CaptureStream
    due: DueSegment
    media: MediaStatistics


class CaptureScorer:
    """Holds the model; `score` for each capture.

    streams: heard at once at most, each profile one; each takes 256 KiB of memory while it is open. What is beyond is
    in the counts as `refused_packets`.
    """

    def __init__(
        self,
        bundle: Path | None = None,
        *,
        engine: str = "onnxruntime",
        workers: int = 1,
        streams: int = STREAMS_AT_ONCE,
    ) -> None:
        """workers: processes that score, each with a model of its own. Raises BundleError, EngineError, ConfigError."""
        self.streams = streams
        loaded = load_bundle(bundle)
        self._scorer = SegmentScorer(loaded, make_engine(engine, loaded, threads=1))
        self._pool = ScoringPool(bundle, engine=engine, workers=workers) if workers > 1 else None

    def score(
        self,
        path: Path,
        *,
        payload_types: Mapping[int, str] | None = None,
        sdp: Path | None = None,
        key: SrtpKey | None = None,
        profiles: Sequence[str] = (IDEAL,),
    ) -> tuple[list[CaptureStream], dict[str, int]]:
        """Streams in the order in which they proved themselves, and the replay's counts. Raises SourceError.

        A capture that is damaged behind its first stream is scored up to there: `damaged_files` of the counts is 1.

        profiles: names in rtp.playout.PROFILES; each is a stream of its own.
        """
        clock = ManualClock(unix=0.0)  # times count from the first frame
        sink = _ScoringSink(self._scorer, clock, self._pool, self.streams)
        replay = CaptureReplay(
            path,
            name=shown(path.stem),
            sink=sink,
            clock=clock,
            payload_types=payload_types,
            sdp=sdp,
            key=key,
            profiles=profiles,
        )
        try:
            replay.run()
        except SourceError:
            if not sink.streams:
                raise
            replay.counts["damaged_files"] += 1
        sink.finish()
        return sink.streams, dict(sorted(replay.counts.items()))

    def close(self) -> None:
        """End the workers, where there are any."""
        if self._pool is not None:
            self._pool.close()


class _ScoringSink:
    """A StreamSink that scores in the caller's thread, or in a pool; what becomes of the scores is the same."""

    def __init__(self, scorer: SegmentScorer, clock: ManualClock, pool: ScoringPool | None, at_once: int) -> None:
        self._at_once = at_once
        self.scorer, self.clock = scorer, clock
        self._pool = pool
        self._scoring: deque[tuple[list[_Waiting], Callable[[], SegmentScores]]] = deque()  # in order of the file
        self.streams: list[CaptureStream] = []
        self._banks: list[RingBank] = []  # grows with the streams that are open at once
        self._waiting: list[_Waiting] = []
        self._segments = np.empty((_BATCH_SEGMENTS, SEGMENT_SAMPLES), np.float32)

    def open(self, description: StreamDescription, *, wait_when_full: bool = False) -> _Writer:
        """Raises CapacityError when as many streams are open as there may be."""
        bank = self._bank_with_room()
        stream = Stream(
            description, bank, wait_when_full=False, started_unix_seconds=self.clock.unix(), on_due=lambda: None
        )
        found = CaptureStream(description)
        self.streams.append(found)
        return _Writer(self, stream, found, bank)

    def _bank_with_room(self) -> RingBank:
        for bank in self._banks:
            if bank.in_use() < bank.rows:
                return bank
        rows = min(_BANK_STREAMS, self._at_once - sum(bank.rows for bank in self._banks))
        if rows <= 0:
            raise CapacityError(f"all {self._at_once} streams are in use")
        self._banks.append(RingBank(rows))
        return self._banks[-1]

    def take(self, stream: Stream, found: CaptureStream) -> None:
        """Copy what is due; a full batch is scored."""
        while stream.due():
            due = stream.take(self._segments[len(self._waiting)])
            # the packets' statistics of now: the segment is scored when its batch is full
            self._waiting.append(_Waiting(found, due, found.media))
            if len(self._waiting) == _BATCH_SEGMENTS:
                self.flush()

    def flush(self) -> None:
        """Have what waits scored; the scores are taken in the order of the file, some of them later."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        concealed = np.array([each.due.concealed_ratio for each in waiting], np.float32)
        segments = self._segments[: len(waiting)]
        if self._pool is None:
            self._keep(waiting, self.scorer.score(segments, concealed))
            return
        # a copy: the pool sends it off while the next segments are written
        self._scoring.append((waiting, self._pool.score(segments.copy(), concealed)))
        while len(self._scoring) > 2 * self._pool.workers:
            self._keep_oldest()

    def settle(self) -> None:
        """Wait for all scores."""
        self.flush()
        while self._scoring:
            self._keep_oldest()

    def _keep_oldest(self) -> None:
        waiting, scores = self._scoring.popleft()
        self._keep(waiting, scores())

    def _keep(self, waiting: list[_Waiting], scores: SegmentScores) -> None:
        causes = scores.weighted_causes()
        for row, (found, due, media) in enumerate(waiting):
            score = segment_score(
                scores,
                row,
                source_id=found.description.source_id,
                segment_index=due.segment_index,
                ready_unix_seconds=due.ready_monotonic_seconds,
                concealed_ratio=due.concealed_ratio,
                model_id=self.scorer.model.model_id,
                marks=due.marks,
            )
            found.segments.append(score)
            found.cause_sums += causes[row]
            if (parted := found.disagreement.heard(score, media)) is not None:
                found.note(*parted, score.ready_unix_seconds)

    def finish(self) -> None:
        """Score the rest and sum up each stream."""
        self.settle()


class _Writer:
    """A StreamWriter of the sink."""

    def __init__(self, sink: _ScoringSink, stream: Stream, found: CaptureStream, bank: RingBank) -> None:
        self._sink, self._stream, self._found, self._bank = sink, stream, found, bank
        self._rate_hz = SAMPLE_RATE_HZ

    def write(self, block: AudioBlock) -> None:
        """Score what the block completes."""
        self._rate_hz = block.sample_rate_hz
        piece = round(_PIECE_SECONDS * block.sample_rate_hz)
        for start in range(0, len(block.samples), piece):
            self._stream.write(replace(block, samples=block.samples[start : start + piece]))
            self._sink.take(self._stream, self._found)

    def media(self, statistics: MediaStatistics) -> None:
        """Keep the newest."""
        self._found.media = statistics

    def state(self, state: StreamState, reason: Reason | None = None) -> None:
        """Only what keeps a stream from ever being scored is kept."""
        if state is StreamState.UNDESCRIBED:
            self._found.reason = reason

    def event(self, kind: EventKind, detail: str) -> None:
        """Kept with the capture's time."""
        self._found.note(kind, detail, self._sink.clock.unix())

    def close(self, detail: str = "") -> None:
        """Score to the end."""
        self._stream.close()
        self._sink.take(self._stream, self._found)
        self._sink.settle()
        # what the scores tell is noted when they are there: a batch later, or several
        self._found.events.sort(key=lambda event: event.unix_seconds)
        seconds = self._stream.heard_samples() / SAMPLE_RATE_HZ
        clip = clip_score(
            self._found.segments,
            seconds,
            self._rate_hz,
            self._sink.scorer.model.model_id,
            error_correlation=self._sink.scorer.error_correlation,
            cause_sums=self._found.cause_sums,
        )
        if clip.mos is None and self._found.reason is not None:
            clip = ClipScore(
                seconds=seconds,
                speech_seconds=0.0,
                sample_rate_hz=self._rate_hz,
                reason=self._found.reason,
                model_id=clip.model_id,
            )
        self._found.clip = clip
        self._bank.release(self._stream.row)
