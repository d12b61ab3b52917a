"""QualityService over a real connection."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from livemos.agent.hub import Hub
from livemos.agent.reasons import Reason
from livemos.agent.records import EventKind, MediaStatistics, StreamDescription, StreamState
from livemos.agent.servers.grpc_server import GrpcServer
from livemos.proto.quality.v1 import quality_pb2 as pb
from livemos.proto.quality.v1 import quality_pb2_grpc


def next_of(call, kind: str) -> pb.SubscribeResponse:  # type: ignore[no-untyped-def]
    """The next message, which must be of that kind."""
    message = next(call)
    assert message.WhichOneof("message") == kind, message
    return message


def publish_calls(hub: Hub, make: SimpleNamespace) -> None:
    for source_id in ("bridge/a", "bridge/b"):
        hub.publish(make.segment(source_id))
        hub.publish(make.rolling(source_id))
        hub.publish(
            make.event(source_id=source_id, kind=EventKind.CODEC_CHANGED, unix_seconds=1_700_000_000.0, detail="PCMA")
        )


def until_subscribers(hub: Hub, count: int) -> None:
    """Wait, by the hub's own counters, until so many subscribers are open."""
    done = threading.Event()
    for _ in range(1_000):
        if hub.statistics().subscribers == count:
            return
        done.wait(0.01)
    raise AssertionError(f"{hub.statistics().subscribers} subscribers, expected {count}")


def detail_of(error: grpc.RpcError, detail: type) -> object:
    status = rpc_status.from_call(error)
    assert status is not None
    for packed in status.details:
        if packed.Is(detail.DESCRIPTOR):  # type: ignore[attr-defined]
            message = detail()
            packed.Unpack(message)
            return message
    raise AssertionError(f"no {detail.__name__} in {status}")


def test_the_hello_comes_first_and_says_what_a_client_must_know(
    quality: quality_pb2_grpc.QualityServiceStub, hub: Hub, make: SimpleNamespace
) -> None:
    """A client needs no knowledge from elsewhere to place a sample index or to trust a silence."""
    call = quality.Subscribe(pb.SubscribeRequest(), timeout=10)
    hello = next_of(call, "hello").hello
    assert (hello.schema_version, hello.feed_id) == (1, hub.feed_id)
    assert (hello.model_id, hello.model_sha256) == (make.model.model_id, make.model.sha256)
    assert (hello.segment_duration.ToMilliseconds(), hello.stride_duration.ToMilliseconds()) == (1_000, 500)
    assert (hello.sample_rate_hz, hello.heartbeat_interval.seconds) == (16_000, 5)
    call.cancel()


def test_updates_arrive_in_the_order_and_with_the_numbers_of_the_hub(
    quality: quality_pb2_grpc.QualityServiceStub, hub: Hub, make: SimpleNamespace
) -> None:
    """Ordered and unique is what a client builds on."""
    call = quality.Subscribe(pb.SubscribeRequest(), timeout=10)
    next_of(call, "hello")
    publish_calls(hub, make)
    assert next_of(call, "segment").segment.sequence == 1
    rolling = next_of(call, "rolling").rolling
    assert (rolling.sequence, rolling.windows[1].HasField("window"), rolling.windows[1].mos) == (2, False, 3.5)
    event = next_of(call, "event").event
    assert (event.sequence, event.kind, event.detail) == (3, pb.EVENT_KIND_CODEC_CHANGED, "PCMA")
    assert [next(call).WhichOneof("message") for _ in range(3)] == ["segment", "rolling", "event"]
    call.cancel()


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (pb.SubscribeRequest(source_ids=["bridge/b"]), ["b1", "b2", "b3"]),
        (pb.SubscribeRequest(source_ids=["*/a", "none"]), ["a1", "a2", "a3"]),
        (pb.SubscribeRequest(labels={"room": "south"}), ["b1", "b2", "b3"]),
        (pb.SubscribeRequest(labels={"room": "south", "floor": "2"}), []),
        (pb.SubscribeRequest(views=[pb.VIEW_ROLLING]), ["a2", "b2"]),
        (pb.SubscribeRequest(views=[pb.VIEW_SEGMENT, pb.VIEW_EVENT], source_ids=["*"]), ["a1", "a3", "b1", "b3"]),
    ],
)
def test_filters_choose_by_source_label_and_view(
    quality: quality_pb2_grpc.QualityServiceStub,
    hub: Hub,
    make: SimpleNamespace,
    request_: pb.SubscribeRequest,
    expected: list[str],
) -> None:
    """A dashboard of one room must not pay for the whole bridge."""
    request_.heartbeat_interval.CopyFrom(Duration(nanos=500_000_000))
    call = quality.Subscribe(request_, timeout=10)
    next_of(call, "hello")
    publish_calls(hub, make)
    got = []
    while (kind := (message := next(call)).WhichOneof("message")) != "heartbeat":
        update = getattr(message, kind)
        got.append(f"{update.source_id[-1]}{update.sequence}")
    assert got == expected
    call.cancel()


def test_the_minimum_interval_thins_without_a_gap(
    quality: quality_pb2_grpc.QualityServiceStub, hub: Hub, make: SimpleNamespace
) -> None:
    """What the client asked to leave out is not a loss."""
    call = quality.Subscribe(
        pb.SubscribeRequest(minimum_interval=Duration(seconds=2), views=[pb.VIEW_SEGMENT]), timeout=10
    )
    next_of(call, "hello")
    for index in range(9):
        hub.publish(make.segment("bridge/a", index))
    assert [next_of(call, "segment").segment.segment_index for _ in range(3)] == [0, 4, 8]
    call.cancel()


def test_an_idle_feed_sends_heartbeats_at_the_asked_interval(quality: quality_pb2_grpc.QualityServiceStub) -> None:
    """A quiet feed and a dead one look alike without them."""
    call = quality.Subscribe(pb.SubscribeRequest(heartbeat_interval=Duration(nanos=500_000_000)), timeout=10)
    assert next_of(call, "hello").hello.heartbeat_interval.ToMilliseconds() == 500
    first, second = (next_of(call, "heartbeat").heartbeat.time.ToMilliseconds() for _ in range(2))
    assert 450 <= second - first <= 2_000
    call.cancel()


def test_a_cancelled_call_leaves_no_subscriber(quality: quality_pb2_grpc.QualityServiceStub, hub: Hub) -> None:
    """Rings of clients that went away would fill and count against the cap."""
    call = quality.Subscribe(pb.SubscribeRequest(), timeout=10)
    next_of(call, "hello")
    assert hub.statistics().subscribers == 1
    call.cancel()
    until_subscribers(hub, 0)


def test_an_asyncio_client_reads_the_same_feed(server: GrpcServer, hub: Hub, make: SimpleNamespace) -> None:
    """Half of the clients will be written so."""

    async def read() -> list[int]:
        async with grpc.aio.insecure_channel(server.address) as channel:
            call = quality_pb2_grpc.QualityServiceStub(channel).Subscribe(pb.SubscribeRequest(), timeout=10)
            assert (await call.read()).HasField("hello")
            await asyncio.to_thread(lambda: [hub.publish(make.segment("bridge/a", i)) for i in range(50)])
            numbers = [(await call.read()).segment.sequence for _ in range(50)]
            call.cancel()
        return numbers

    assert asyncio.run(read()) == list(range(1, 51))
    until_subscribers(hub, 0)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.SubscribeRequest(views=[pb.VIEW_EVENT, pb.VIEW_UNSPECIFIED]), "views[1]"),
        (pb.SubscribeRequest(views=[77]), "views[0]"),  # type: ignore[list-item]
        (pb.SubscribeRequest(minimum_interval=Duration(seconds=-1)), "minimum_interval"),
        (pb.SubscribeRequest(heartbeat_interval=Duration(nanos=400_000_000)), "heartbeat_interval"),
        (pb.SubscribeRequest(heartbeat_interval=Duration(seconds=61)), "heartbeat_interval"),
        (pb.SubscribeRequest(source_ids=["a", ""]), "source_ids[1]"),
        (pb.SubscribeRequest(source_ids=["x" * 257]), "source_ids[0]"),
        (pb.SubscribeRequest(source_ids=["x"] * 101), "source_ids"),
        (pb.SubscribeRequest(labels={str(n): "" for n in range(17)}), "labels"),
    ],
)
def test_a_bad_request_names_the_field_and_opens_nothing(
    quality: quality_pb2_grpc.QualityServiceStub, hub: Hub, request_: pb.SubscribeRequest, field: str
) -> None:
    """A client's author must see at once which field is wrong."""
    with pytest.raises(grpc.RpcError) as refused:
        next(quality.Subscribe(request_, timeout=10))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    bad = detail_of(refused.value, error_details_pb2.BadRequest)
    assert [violation.field for violation in bad.field_violations] == [field]  # type: ignore[attr-defined]
    assert hub.statistics().subscribers == 0


def test_sources_are_listed_with_all_that_is_known(
    quality: quality_pb2_grpc.QualityServiceStub, hub: Hub, make: SimpleNamespace
) -> None:
    """A meter that starts in the middle of a call fills its rows from here."""
    hub.publish(make.segment("bridge/a", 4))
    hub.publish(make.rolling("bridge/a", 4))
    hub.set_state("bridge/a", StreamState.STALLED, Reason.NO_MEDIA)
    hub.set_media("bridge/a", MediaStatistics(codec="PCMU/8000", lost_packets=0, jitter_seconds=0.0025))
    sources = quality.ListSources(pb.ListSourcesRequest(), timeout=5).sources
    assert [source.source_id for source in sources] == ["bridge/a", "bridge/b"]
    source = sources[0]
    assert (source.kind, source.labels["room"], source.detail) == ("rtp", "north", "10.0.0.7:4000")
    assert (source.state, source.reason) == (pb.SOURCE_STATE_STALLED, pb.REASON_NO_MEDIA)
    assert (source.media.lost_packets, source.media.HasField("lost_packets")) == (0, True)
    assert (source.media.HasField("late_packets"), source.media.jitter.ToMicroseconds()) == (False, 2_500)
    assert (source.last_sequence, source.heard_duration.ToMilliseconds()) == (2, 3_000)
    assert (source.segment.mos, source.rolling.windows[0].window.seconds) == (4.0, 5)
    assert not sources[1].HasField("segment")
    chosen = quality.ListSources(pb.ListSourcesRequest(labels={"room": "south"}), timeout=5).sources
    assert [source.source_id for source in chosen] == ["bridge/b"]


def test_one_source_is_found_by_its_exact_id_and_an_unknown_one_is_not(
    quality: quality_pb2_grpc.QualityServiceStub,
) -> None:
    """NOT_FOUND names the resource, so that a client tells an ended call from a fault."""
    assert quality.GetSource(pb.GetSourceRequest(source_id="bridge/b"), timeout=5).source.source_id == "bridge/b"
    with pytest.raises(grpc.RpcError) as refused:
        quality.GetSource(pb.GetSourceRequest(source_id="bridge/*"), timeout=5)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert detail_of(refused.value, error_details_pb2.ResourceInfo).resource_name == "bridge/*"  # type: ignore[attr-defined]
    with pytest.raises(grpc.RpcError) as refused:
        quality.GetSource(pb.GetSourceRequest(), timeout=5)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("character", ["x", "\u20ac", "\U0001f399", "\U0010ffff"])
@pytest.mark.parametrize(
    ("characters", "code"), [(256, "NOT_FOUND"), (257, "INVALID_ARGUMENT"), (20_000, "INVALID_ARGUMENT")]
)
def test_a_source_id_that_is_too_long_is_refused_before_it_is_repeated_in_the_answer(
    quality: quality_pb2_grpc.QualityServiceStub, character: str, characters: int, code: str
) -> None:
    """An answer that overflows the room for errors reads RESOURCE_EXHAUSTED, and a client would try again for ever."""
    with pytest.raises(grpc.RpcError) as refused:
        quality.GetSource(pb.GetSourceRequest(source_id=character * characters), timeout=5)
    assert refused.value.code().name == code
    if code == "INVALID_ARGUMENT":
        bad = detail_of(refused.value, error_details_pb2.BadRequest)
        assert bad.field_violations[0].field == "source_id"  # type: ignore[attr-defined]


def test_the_model_is_described_as_its_bundle_says(
    quality: quality_pb2_grpc.QualityServiceStub, make: SimpleNamespace
) -> None:
    """Scores of two models are never mixed by someone who can see which is which."""
    model = quality.GetModel(pb.GetModelRequest(), timeout=5).model
    assert {name: getattr(model, name) for name in model.DESCRIPTOR.fields_by_name} == {
        name: getattr(make.model, name) for name in type(make.model).__slots__
    }


def test_a_subscriber_beyond_the_cap_gets_resource_exhausted_and_when_to_retry(
    start_server: Callable[..., GrpcServer], make: SimpleNamespace
) -> None:
    """Out of room the newest is refused, with a detail a client can act on."""
    from livemos.agent.clock import SystemClock

    server = start_server(hub=Hub(SystemClock(), subscribers=1))
    with grpc.insecure_channel(server.address) as channel:
        stub = quality_pb2_grpc.QualityServiceStub(channel)
        first = stub.Subscribe(pb.SubscribeRequest(), timeout=10)
        next_of(first, "hello")
        with pytest.raises(grpc.RpcError) as refused:
            next(stub.Subscribe(pb.SubscribeRequest(), timeout=10))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        quota = detail_of(refused.value, error_details_pb2.QuotaFailure)
        assert quota.violations[0].subject == "subscribers"  # type: ignore[attr-defined]
        assert detail_of(refused.value, error_details_pb2.RetryInfo).retry_delay.seconds == 1  # type: ignore[attr-defined]
        first.cancel()


def test_an_exception_inside_a_handler_is_internal_without_its_text(
    quality: quality_pb2_grpc.QualityServiceStub, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """UNKNOWN with a Python message would tell a stranger paths and values."""

    def fail(*_: object) -> None:
        raise KeyError("secret path")

    for name in ("subscribe", "sources", "source"):
        monkeypatch.setattr(hub, name, fail)
    calls = (
        lambda: next(quality.Subscribe(pb.SubscribeRequest(), timeout=5)),
        lambda: quality.ListSources(pb.ListSourcesRequest(), timeout=5),
        lambda: quality.GetSource(pb.GetSourceRequest(source_id="a"), timeout=5),
    )
    for call in calls:
        with pytest.raises(grpc.RpcError) as refused:
            call()
        assert refused.value.code() is grpc.StatusCode.INTERNAL
        assert "secret" not in (refused.value.details() or "")
        info = detail_of(refused.value, error_details_pb2.ErrorInfo)
        assert (info.domain, info.reason) == ("livemos", "INTERNAL_ERROR")  # type: ignore[attr-defined]


def test_a_source_that_starts_during_the_feed_is_heard(
    quality: quality_pb2_grpc.QualityServiceStub, hub: Hub, make: SimpleNamespace
) -> None:
    """Calls begin while the dashboard is open."""
    call = quality.Subscribe(pb.SubscribeRequest(source_ids=["bridge/*"]), timeout=10)
    next_of(call, "hello")
    hub.open_source(StreamDescription(source_id="bridge/new", kind="rtp"))
    hub.publish(make.segment("bridge/new"))
    assert next_of(call, "segment").segment.source_id == "bridge/new"
    call.cancel()


def test_updates_that_wait_come_as_one_message_to_those_who_ask(
    quality: quality_pb2_grpc.QualityServiceStub, hub: Hub, make: SimpleNamespace
) -> None:
    """A message costs both sides the same whether it holds one score or a hundred: hundreds of streams need this."""
    alone, together = (quality.Subscribe(pb.SubscribeRequest(largest_batch=most)) for most in (0, 4))
    for call in (alone, together):
        next_of(call, "hello")
    until_subscribers(hub, 2)
    hub.publish_all([make.segment(source_id) for source_id in ("bridge/a", "bridge/b") for _ in range(3)])
    singles = [next_of(alone, "segment").segment for _ in range(6)]
    batches = [next_of(together, "batch").batch for _ in range(2)]
    assert [len(batch.updates) for batch in batches] == [4, 2]
    assert [update.segment for batch in batches for update in batch.updates] == singles
    with pytest.raises(grpc.RpcError) as refused:
        next(quality.Subscribe(pb.SubscribeRequest(largest_batch=1_001)))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
