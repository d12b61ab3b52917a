"""ScoringService: audio that the caller sends, scored by the Scorer on threads, never on the event loop."""

# ruff: noqa: N802 (calls are named by the .proto file)

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

from livemos.agent.records import ClipScore, RollingScore, Samples, SegmentScore
from livemos.agent.servers import wire
from livemos.agent.servers.audio import AudioFormat, format_from_wire
from livemos.agent.servers.errors import LimitError, RequestError
from livemos.agent.servers.status import Context, Gate
from livemos.proto.quality.v1 import quality_pb2 as pb
from livemos.proto.quality.v1 import quality_pb2_grpc

Result = TypeVar("Result")


class ScoringStream(Protocol):
    """One stream of a Scorer, used by one call at a time."""

    def write(self, samples: Samples) -> Sequence[SegmentScore]:
        """The segments that (N,) float32 samples complete, often none."""
        ...

    def take_rolling(self) -> Sequence[RollingScore]:
        """One for each segment scored since it was last asked."""
        ...

    def finish(self) -> ClipScore:
        """The whole, with all segments; no more samples follow."""
        ...


class Scorer(Protocol):
    """A loaded model; its calls may come from several threads."""

    def score(self, samples: Samples, sample_rate_hz: int) -> ClipScore:
        """The score of (N,) float32 samples."""
        ...

    def stream(self, sample_rate_hz: int, *, rolling: bool = False) -> ScoringStream:
        """A stream at that rate, with rolling scores if asked to."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringLimits:
    """Caps of the scoring calls."""

    calls: int = 8  # Score and StreamingScore at once; more are refused
    workers: int = 2  # of them computing at once; the others wait their turn
    message_bytes: int = 8 * 1024 * 1024  # audio of one message
    stream_seconds: float = 3_600.0  # audio of one StreamingScore call


class ScoringService(quality_pb2_grpc.ScoringServiceServicer):
    """Scores of audio that the caller sends."""

    def __init__(self, *, scorer: Scorer, gate: Gate, limits: ScoringLimits) -> None:
        self._scorer = scorer
        self._gate = gate
        self._limits = limits
        self._calls = 0
        self._workers = asyncio.Semaphore(limits.workers)

    async def Score(self, request: pb.ScoreRequest, context: Context) -> pb.ScoreResponse:
        """One clip, one answer."""
        response = pb.ScoreResponse()
        async with self._gate.answering(context):
            with self._call():
                form = format_from_wire(request.config)
                samples = self._samples(form, request.audio)
                clip = await self._compute(partial(self._scorer.score, samples, form.sample_rate_hz))
                kept = clip.segments if request.include_segments else ()
                segments = [_segment(score, form, sequence) for sequence, score in enumerate(kept, start=1)]
                response.score.CopyFrom(wire.clip_to_wire(clip, segments=segments))
        return response

    async def StreamingScore(self, request_iterator: AsyncIterator[pb.StreamingScoreRequest], context: Context) -> None:
        """Config, audio, end; segments as they are complete, then the summary."""
        async with self._gate.answering(context):
            with self._call():
                await self._score_stream(request_iterator, context)

    async def _score_stream(self, requests: AsyncIterator[pb.StreamingScoreRequest], context: Context) -> None:
        form = await _first_config(requests)
        stream = self._scorer.stream(form.sample_rate_hz, rolling=True)
        answers = _Answers(form)
        heard_samples = 0
        async for request in requests:
            kind = request.WhichOneof("message")
            if kind == "config":
                raise RequestError("config", "was sent twice; open another call for other audio")
            if kind == "end":
                break  # the caller may wait for the summary before it closes its side
            if kind != "audio":
                raise RequestError("message", "is empty; send audio, or end")
            samples = self._samples(form, request.audio)
            heard_samples += len(samples)
            if heard_samples > self._limits.stream_seconds * form.sample_rate_hz:
                problem = f"a call takes at most {self._limits.stream_seconds:g} s of audio; open another one"
                raise LimitError("stream seconds", problem, passes=False)
            segments = await self._compute(partial(stream.write, samples))
            await answers.send(context, segments, stream.take_rolling())
        clip = await self._compute(stream.finish)
        await answers.send(context, clip.segments[answers.sent_segments :], stream.take_rolling())
        await context.write(pb.StreamingScoreResponse(summary=wire.clip_to_wire(clip, segments=[])))

    def _samples(self, form: AudioFormat, audio: bytes) -> Samples:
        if len(audio) > self._limits.message_bytes:
            problem = f"{len(audio)} bytes of audio, at most {self._limits.message_bytes} a message; use StreamingScore"
            raise LimitError("message bytes", problem, passes=False)
        return form.samples(audio, "audio")

    @contextmanager
    def _call(self) -> Iterator[None]:
        if self._calls >= self._limits.calls:
            problem = f"{self._calls} scoring calls are running, at most {self._limits.calls} (limits.scoring_calls)"
            raise LimitError("scoring calls", problem)
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    async def _compute(self, work: Callable[[], Result]) -> Result:
        """What the work returns. A thread cannot be stopped: behind a cancelled call it keeps its turn and its slot."""
        await self._workers.acquire()
        job = asyncio.ensure_future(asyncio.to_thread(work))
        job.add_done_callback(lambda _: self._workers.release())
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            if not job.done():
                self._calls += 1  # in place of the caller's, which ends with it
                job.add_done_callback(self._end_abandoned)
            raise

    def _end_abandoned(self, _: asyncio.Future[Result]) -> None:
        self._calls -= 1


class _Answers:
    """Numbers the answers of one stream and gives them the caller's name."""

    def __init__(self, form: AudioFormat) -> None:
        self.sent_segments = 0
        self._form = form
        self._sequence = 0

    async def send(self, context: Context, segments: Sequence[SegmentScore], rolling: Sequence[RollingScore]) -> None:
        """Each segment, and behind it the windows that end with it."""
        for segment, windows in zip(segments, rolling, strict=True):
            self._sequence += 1
            await context.write(pb.StreamingScoreResponse(segment=_segment(segment, self._form, self._sequence)))
            self._sequence += 1
            named = replace(windows, source_id=self._form.source_id)
            await context.write(pb.StreamingScoreResponse(rolling=wire.rolling_to_wire(named, self._sequence)))
            self.sent_segments += 1


def _segment(score: SegmentScore, form: AudioFormat, sequence: int) -> pb.Segment:
    return wire.segment_to_wire(replace(score, source_id=form.source_id), sequence)


async def _first_config(requests: AsyncIterator[pb.StreamingScoreRequest]) -> AudioFormat:
    async for request in requests:
        kind = request.WhichOneof("message")
        if kind != "config":
            raise RequestError(kind or "message", "came first; the first message of a call is its config")
        return format_from_wire(request.config)
    raise RequestError("config", "is missing; the call ended before its first message")
