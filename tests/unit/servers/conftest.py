"""A real server on a free port with a scorer that answers by rule, and a client."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import grpc
import numpy as np
import pytest

from livemos.agent.clock import SystemClock
from livemos.agent.hub import Hub
from livemos.agent.reasons import Reason
from livemos.agent.records import (
    ClipScore,
    ModelDescription,
    RollingScore,
    RollingWindow,
    Samples,
    SegmentScore,
    SourceEvent,
    StreamDescription,
)
from livemos.agent.servers.grpc_server import GrpcServer
from livemos.proto.quality.v1 import quality_pb2_grpc

MODEL = ModelDescription(
    name="test",
    version="1.2.0",
    model_id="test-1.2.0-0123456789ab",
    sha256="0123456789ab" + "0" * 52,
    licence="Apache-2.0",
    sample_rate_hz=16_000,
    segment_samples=16_000,
    stride_samples=8_000,
    engine="constant 1 (CPU, fp32)",
)


class RuleScorer:
    """Scores by rule: mos is 1 + 4 x the mean of |samples|; a raised `failure` stands for any bug or refusal."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.hold: threading.Event | None = None
        self.holding = threading.Semaphore(0)

    def score(self, samples: Samples, sample_rate_hz: int) -> ClipScore:
        stream = self.stream(sample_rate_hz)
        stream.write(samples)
        return stream.finish()

    def stream(self, sample_rate_hz: int, *, rolling: bool = False) -> RuleStream:
        return RuleStream(self, sample_rate_hz)


class RuleStream:
    """A segment for each whole half second at the input rate; the last one comes only with finish()."""

    def __init__(self, scorer: RuleScorer, sample_rate_hz: int) -> None:
        self._scorer = scorer
        self._rate_hz = sample_rate_hz
        self._samples = np.empty(0, np.float32)
        self._segments: list[SegmentScore] = []
        self._taken = 0

    def write(self, samples: Samples) -> list[SegmentScore]:
        if self._scorer.failure:
            raise self._scorer.failure
        if self._scorer.hold:
            self._scorer.holding.release()
            assert self._scorer.hold.wait(10)
        assert samples.dtype == np.float32
        assert samples.ndim == 1
        self._samples = np.concatenate([self._samples, samples])
        new: list[SegmentScore] = []
        while (len(self._segments) + 2) * self._rate_hz // 2 <= len(self._samples):
            new.append(self._segment())
        return new

    def take_rolling(self) -> list[RollingScore]:
        first, self._taken = self._taken, len(self._segments)
        return [rolling("", index) for index in range(first, self._taken)]

    def finish(self) -> ClipScore:
        seconds = len(self._samples) / self._rate_hz
        if not len(self._samples):
            return ClipScore(
                seconds=0,
                speech_seconds=0,
                sample_rate_hz=self._rate_hz,
                reason=Reason.TOO_SHORT,
                model_id=MODEL.model_id,
            )
        self._segment()
        mos = float(np.mean([s.mos for s in self._segments if s.mos is not None]))
        return ClipScore(
            seconds=seconds,
            speech_seconds=seconds / 2,
            sample_rate_hz=self._rate_hz,
            mos=mos,
            mos_std=0.25,
            model_id=MODEL.model_id,
            segments=tuple(self._segments),
        )

    def _segment(self) -> SegmentScore:
        index = len(self._segments)
        half = self._rate_hz // 2
        level = float(np.abs(self._samples[index * half : (index + 1) * half]).mean())
        score = SegmentScore(
            source_id="",
            segment_index=index,
            start_sample=8_000 * index,
            start_unix_seconds=index / 2,
            ready_unix_seconds=index / 2 + 1,
            mos=1 + 4 * level,
            mos_std=0.25,
            model_id=MODEL.model_id,
        )
        self._segments.append(score)
        return score


def segment(source_id: str, index: int = 0) -> SegmentScore:
    return SegmentScore(
        source_id=source_id,
        segment_index=index,
        start_sample=8_000 * index,
        start_unix_seconds=1_700_000_000 + index / 2,
        ready_unix_seconds=1_700_000_001 + index / 2,
        mos=4.0,
        mos_std=0.25,
        model_id=MODEL.model_id,
    )


def rolling(source_id: str, index: int = 0) -> RollingScore:
    return RollingScore(
        source_id=source_id,
        segment_index=index,
        end_sample=8_000 * index + 16_000,
        ready_unix_seconds=1_700_000_001 + index / 2,
        windows=(RollingWindow(window_seconds=5.0, mos=4.0), RollingWindow(window_seconds=None, mos=3.5)),
        model_id=MODEL.model_id,
    )


@pytest.fixture
def make() -> SimpleNamespace:
    """Builders of payloads."""
    return SimpleNamespace(segment=segment, rolling=rolling, event=SourceEvent, model=MODEL)


@pytest.fixture
def scorer() -> RuleScorer:
    """The scorer behind `server`."""
    return RuleScorer()


@pytest.fixture
def hub() -> Hub:
    """A hub with two sources."""
    hub = Hub(SystemClock(), queue_items=64, subscribers=8)
    hub.open_source(
        StreamDescription(source_id="bridge/a", kind="rtp", labels={"room": "north"}, detail="10.0.0.7:4000")
    )
    hub.open_source(StreamDescription(source_id="bridge/b", kind="rtp", labels={"room": "south"}))
    return hub


@pytest.fixture
def start_server(hub: Hub, scorer: RuleScorer) -> Iterator[Callable[..., GrpcServer]]:
    """Starts servers on free ports, serving unless told otherwise, and stops them at the end."""
    servers: list[GrpcServer] = []

    def start(*, serving: bool = True, **options: object) -> GrpcServer:
        settings: dict[str, object] = {"port": 0, "clock": SystemClock(), "hub": hub, "scorer": scorer, "model": MODEL}
        server = GrpcServer(**(settings | options))  # type: ignore[arg-type]
        server.start()
        servers.append(server)
        if serving:
            server.set_serving(True)
        return server

    yield start
    for server in servers:
        server.stop(grace_seconds=0.1)


@pytest.fixture
def server(start_server: Callable[..., GrpcServer]) -> GrpcServer:
    """A serving server."""
    return start_server()


@pytest.fixture
def channel(server: GrpcServer) -> Iterator[grpc.Channel]:
    """A client's connection to `server`."""
    with grpc.insecure_channel(server.address) as channel:
        yield channel


@pytest.fixture
def quality(channel: grpc.Channel) -> quality_pb2_grpc.QualityServiceStub:
    """A client of the feed."""
    return quality_pb2_grpc.QualityServiceStub(channel)


@pytest.fixture
def scoring(channel: grpc.Channel) -> quality_pb2_grpc.ScoringServiceStub:
    """A client of the scoring calls."""
    return quality_pb2_grpc.ScoringServiceStub(channel)
