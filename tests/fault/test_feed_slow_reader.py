"""A subscriber that stops reading: it alone pays, and it is told exactly what it missed."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import pytest

from livemos.agent.clock import SystemClock
from livemos.agent.hub import Hub
from livemos.agent.records import ClipScore, EventKind, ModelDescription, Samples, SourceEvent, StreamDescription
from livemos.agent.servers.grpc_server import GrpcServer
from livemos.agent.servers.scoring import ScoringStream
from livemos.proto.quality.v1 import quality_pb2 as pb
from livemos.proto.quality.v1 import quality_pb2_grpc

EVENTS = 6_000
MODEL = ModelDescription(
    name="m",
    version="1",
    model_id="m-1-0",
    sha256="0" * 64,
    licence="Apache-2.0",
    sample_rate_hz=16_000,
    segment_samples=16_000,
    stride_samples=8_000,
    engine="none",
)


class NoScorer:
    """The feed alone is tried here."""

    def score(self, samples: Samples, sample_rate_hz: int) -> ClipScore:
        raise NotImplementedError

    def stream(self, sample_rate_hz: int) -> ScoringStream:
        raise NotImplementedError


@pytest.fixture
def hub() -> Hub:
    """Rings of 200 updates."""
    hub = Hub(SystemClock(), queue_items=200)
    for source_id in ("a", "b"):
        hub.open_source(StreamDescription(source_id=source_id, kind="rtp"))
    return hub


@pytest.fixture
def server(hub: Hub) -> Iterator[GrpcServer]:
    """A server whose subscribers must read something every two seconds."""
    server = GrpcServer(hub=hub, scorer=NoScorer(), model=MODEL, clock=SystemClock(), port=0, write_deadline_seconds=2)
    server.start()
    server.set_serving(True)
    yield server
    server.stop(grace_seconds=0.1)


def publish(hub: Hub, source_id: str, number: int) -> None:
    detail = f"{number:>1000}"  # a kilobyte each: the connection's own buffers fill soon
    hub.publish(SourceEvent(source_id=source_id, kind=EventKind.CODEC_CHANGED, unix_seconds=1.0, detail=detail))


def test_a_stalled_subscriber_gets_exact_gaps_and_nobody_else_notices(server: GrpcServer, hub: Hub) -> None:
    """Loss is always stated: delivered numbers and gaps together leave no hole, and the reader beside loses nothing."""
    with grpc.insecure_channel(server.address) as slow_channel, grpc.insecure_channel(server.address) as quick_channel:
        slow = quality_pb2_grpc.QualityServiceStub(slow_channel).Subscribe(pb.SubscribeRequest(), timeout=30)
        quick = quality_pb2_grpc.QualityServiceStub(quick_channel).Subscribe(pb.SubscribeRequest(), timeout=30)
        assert next(slow).HasField("hello")
        assert next(quick).HasField("hello")
        read = threading.Semaphore(0)
        seen: list[pb.SubscribeResponse] = []

        def read_quickly() -> None:
            for message in quick:
                seen.append(message)
                read.release()
                if len(seen) == EVENTS:
                    return

        reader = threading.Thread(target=read_quickly)
        reader.start()
        for number in range(EVENTS):
            publish(hub, "ab"[number % 2], number)
            if number % 50 == 49:  # the quick reader keeps pace
                assert all(read.acquire(timeout=10) for _ in range(50))
        reader.join(10)
        assert [int(message.event.detail) for message in seen] == list(range(EVENTS))

        expected = {"a": 1, "b": 1}
        gaps = 0
        while min(expected.values()) <= EVENTS // 2:
            message = next(slow)
            if message.HasField("gap"):
                gaps += 1
                for missed in message.gap.missed:
                    assert missed.first_sequence == expected[missed.source_id]
                    assert missed.missed_count == missed.last_sequence - missed.first_sequence + 1
                    expected[missed.source_id] = missed.last_sequence + 1
            elif message.HasField("event"):
                assert message.event.sequence == expected[message.event.source_id]
                expected[message.event.source_id] += 1
        assert gaps >= 1
        assert hub.statistics().dropped_items > 0
        slow.cancel()
        quick.cancel()


def test_a_subscriber_that_reads_nothing_for_long_is_cut_off(server: GrpcServer, hub: Hub) -> None:
    """Its ring and its list of gaps would otherwise be kept for a client that has hung."""
    with grpc.insecure_channel(server.address) as channel:
        call = quality_pb2_grpc.QualityServiceStub(channel).Subscribe(pb.SubscribeRequest(), timeout=30)
        assert next(call).HasField("hello")
        pause = threading.Event()
        for number in range(40_000):  # far more than the connection buffers, at a pace the server keeps
            publish(hub, "a", number)
            if number % 100 == 99:
                pause.wait(0.02)
                if hub.statistics().subscribers == 0:
                    break
        assert hub.statistics().subscribers == 0
        with pytest.raises(grpc.RpcError) as ended:
            for _ in call:
                pass
        assert ended.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED)
