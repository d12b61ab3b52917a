"""The server's life: bind, health, reflection, drain."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from livemos.agent.errors import ConfigError
from livemos.agent.hub import Hub
from livemos.agent.servers.grpc_server import SERVICES, GrpcServer
from livemos.proto.quality.v1 import quality_pb2 as pb
from livemos.proto.quality.v1 import quality_pb2_grpc

NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVING = health_pb2.HealthCheckResponse.SERVING


def retry_delay_of(error: grpc.RpcError) -> float:
    status = rpc_status.from_call(error)
    assert status is not None
    info = error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    return float(info.retry_delay.ToMilliseconds() / 1e3)


def test_health_is_not_serving_until_the_model_is_warm_for_every_service(
    start_server: Callable[..., GrpcServer],
) -> None:
    """A load balancer must not send calls to a model that is still loading."""
    server = start_server(serving=False)
    with grpc.insecure_channel(server.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=""), timeout=10)
        assert next(watch).status == NOT_SERVING
        server.set_serving(True)
        assert next(watch).status == SERVING
        for service in ("", "livemos.quality.v1.QualityService", "livemos.quality.v1.ScoringService"):
            assert health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5).status == SERVING
        server.set_serving(False)
        assert next(watch).status == NOT_SERVING
        watch.cancel()


def test_calls_before_the_model_is_warm_are_unavailable_with_a_time_to_retry(
    start_server: Callable[..., GrpcServer],
) -> None:
    """UNAVAILABLE is the one code that clients retry by themselves."""
    server = start_server(serving=False)
    with grpc.insecure_channel(server.address) as channel:
        quality = quality_pb2_grpc.QualityServiceStub(channel)
        scoring = quality_pb2_grpc.ScoringServiceStub(channel)
        calls = (
            lambda: next(quality.Subscribe(pb.SubscribeRequest(), timeout=5)),
            lambda: quality.ListSources(pb.ListSourcesRequest(), timeout=5),
            lambda: quality.GetSource(pb.GetSourceRequest(source_id="a"), timeout=5),
            lambda: quality.GetModel(pb.GetModelRequest(), timeout=5),
            lambda: scoring.Score(pb.ScoreRequest(), timeout=5),
            lambda: next(scoring.StreamingScore(iter([pb.StreamingScoreRequest()]), timeout=5)),
        )
        for call in calls:
            with pytest.raises(grpc.RpcError) as refused:
                call()
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            assert retry_delay_of(refused.value) == 1.0


def test_reflection_lists_the_services_and_can_be_switched_off(start_server: Callable[..., GrpcServer]) -> None:
    """grpcurl works with nothing but the address."""

    def names(server: GrpcServer) -> set[str]:
        with grpc.insecure_channel(server.address) as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            request = reflection_pb2.ServerReflectionRequest(list_services="")
            answer = next(stub.ServerReflectionInfo(iter([request]), timeout=5))
            return {service.name for service in answer.list_services_response.service}

    assert {*SERVICES, "grpc.health.v1.Health"} <= names(start_server())
    with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):
        names(start_server(reflection=False))


def test_a_drain_sends_what_is_queued_and_ends_feeds_unavailable(
    start_server: Callable[..., GrpcServer], hub: Hub, make: SimpleNamespace
) -> None:
    """The last scores before a restart arrive, and the client knows to come back."""
    server = start_server()
    with grpc.insecure_channel(server.address) as channel:
        call = quality_pb2_grpc.QualityServiceStub(channel).Subscribe(pb.SubscribeRequest(), timeout=10)
        assert next(call).HasField("hello")
        for index in range(20):
            hub.publish(make.segment("bridge/a", index))
        server.stop(grace_seconds=3)
        assert [next(call).segment.sequence for _ in range(20)] == list(range(1, 21))
        with pytest.raises(grpc.RpcError) as ended:
            next(call)
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    assert retry_delay_of(ended.value) == 1.0
    assert hub.statistics().subscribers == 0


def test_stopping_takes_no_longer_than_its_grace_though_a_subscriber_reads_nothing(
    start_server: Callable[..., GrpcServer], hub: Hub, make: SimpleNamespace
) -> None:
    """A restart must not hang on the slowest client."""
    server = start_server()
    with grpc.insecure_channel(server.address) as channel:
        call = quality_pb2_grpc.QualityServiceStub(channel).Subscribe(pb.SubscribeRequest(), timeout=30)
        assert next(call).HasField("hello")
        for index in range(20_000):
            hub.publish(make.rolling("bridge/a", index))
        began = time.monotonic()
        server.stop(grace_seconds=0.5)
        assert time.monotonic() - began < 4
        server.stop()
        call.cancel()
    assert not any(thread.name == "livemos-grpc" and thread.is_alive() for thread in threading.enumerate())


def test_a_second_agent_on_the_same_port_is_told_so(start_server: Callable[..., GrpcServer]) -> None:
    """gRPC's default lets both bind and splits the calls between them: half of the subscribers would see nothing."""
    first = start_server()
    with pytest.raises(ConfigError, match=re.escape(first.address)) as refused:
        start_server(port=first.port)
    assert "in use" in str(refused.value)
    assert "grpc.port" in str(refused.value)


def test_a_port_held_by_another_grpc_process_with_port_sharing_is_refused_too() -> None:
    """The kernel would join a listener that also sets SO_REUSEPORT; ours must not set it."""
    from livemos.agent.servers.grpc_server import _options
    from livemos.agent.servers.scoring import ScoringLimits

    assert dict(_options(ScoringLimits()))["grpc.so_reuseport"] == 0


def test_an_address_that_is_not_ours_is_a_clear_error(start_server: Callable[..., GrpcServer]) -> None:
    """A typing mistake in grpc.host says so before anything is served."""
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:0 "):
        start_server(host="192.0.2.1")


@pytest.mark.skipif(not socket.has_dualstack_ipv6() or not os.path.exists("/proc/net/if_inet6"), reason="no IPv6 here")
def test_an_ipv6_address_is_bound_and_written_with_brackets(start_server: Callable[..., GrpcServer]) -> None:
    """host:port with a bare ::1 cannot be read back."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 loopback address here")
    server = start_server(host="::1")
    assert server.address == f"[::1]:{server.port}"
    with grpc.insecure_channel(server.address) as channel:
        assert (
            quality_pb2_grpc.QualityServiceStub(channel).GetModel(pb.GetModelRequest(), timeout=5).model.name == "test"
        )


def test_importing_the_server_does_not_load_a_model_runtime() -> None:
    """The wire rooms stay usable, and quick to start, without an engine."""
    code = "import sys, livemos.agent.servers.grpc_server; print(sorted({'torch', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=15, check=True)
    assert done.stdout.strip() == "[]"
