"""The gRPC server on a thread and event loop of its own: feed, scoring, health, reflection."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from livemos.agent.clock import Clock
from livemos.agent.errors import ConfigError
from livemos.agent.hub import Hub
from livemos.agent.records import ModelDescription
from livemos.agent.servers.feed import QualityService
from livemos.agent.servers.scoring import Scorer, ScoringLimits, ScoringService
from livemos.agent.servers.status import Gate
from livemos.agent.thread_names import show_name
from livemos.proto.quality.v1 import quality_pb2_grpc
from livemos.proto.quality.v1.quality_pb2 import DESCRIPTOR

SERVICES = tuple(service.full_name for service in DESCRIPTOR.services_by_name.values())

_ENVELOPE_BYTES = 64 * 1024  # what a message may hold beside its audio
_START_SECONDS = 10.0
_CALL_SECONDS = 5.0

_log = logging.getLogger(__name__)
Result = TypeVar("Result")


class GrpcServer:
    """start(), set_serving(True) once the model is warm, stop(): from any thread but the server's own."""

    def __init__(
        self,
        *,
        hub: Hub,
        scorer: Scorer,
        model: ModelDescription,
        clock: Clock,
        host: str = "127.0.0.1",
        port: int = 50_561,
        reflection: bool = True,
        limits: ScoringLimits | None = None,
        write_deadline_seconds: float = 300.0,
    ) -> None:
        """port 0 takes a free one. write_deadline_seconds: a subscriber that reads nothing for so long is cut off."""
        self.host = host
        self.port = port
        self._hub = hub
        self._scorer = scorer
        self._model = model
        self._clock = clock
        self._reflection = reflection
        self._limits = limits or ScoringLimits()
        self._write_deadline_seconds = write_deadline_seconds
        self._gate = Gate()
        self._health = health.aio.HealthServicer()
        self._started: Future[int] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="livemos-grpc", daemon=True)

    @property
    def address(self) -> str:
        """host:port as bound, with brackets around IPv6."""
        return _address(self.host, self.port)

    def start(self) -> None:
        """Bind and answer; health is NOT_SERVING until set_serving. Raises ConfigError when the address is not free."""
        _check_free(self.host, self.port)
        self._thread.start()
        self.port = self._started.result(_START_SECONDS)

    def set_serving(self, serving: bool) -> None:
        """Open or shut the gate, and say so in the health service."""
        self._call(self._set_serving(serving))

    def stop(self, grace_seconds: float = 2.0) -> None:
        """Health NOT_SERVING, feeds sent to their end and closed with UNAVAILABLE, then everything. Idempotent."""
        if self._loop is None or not self._thread.is_alive():
            return
        try:
            self._call(self._drain(grace_seconds), _CALL_SECONDS + grace_seconds)
        except (RuntimeError, TimeoutError):
            _log.warning("the gRPC server did not drain within %g s", grace_seconds)
        self._thread.join(_CALL_SECONDS)

    def _call(self, work: Coroutine[Any, Any, Result], timeout_seconds: float = _CALL_SECONDS) -> Result:
        if self._loop is None:
            work.close()
            raise RuntimeError("the gRPC server is not started; call start() first")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_seconds)

    def _run(self) -> None:
        show_name("grpc")
        try:
            asyncio.run(self._serve())
        except Exception as error:
            if not self._started.done():
                self._started.set_exception(error)
            else:
                _log.exception("the gRPC server ended")

    async def _serve(self) -> None:
        self._server = grpc.aio.server(options=_options(self._limits))
        self._feed = QualityService(
            hub=self._hub,
            model=self._model,
            clock=self._clock,
            gate=self._gate,
            write_deadline_seconds=self._write_deadline_seconds,
        )
        scoring = ScoringService(scorer=self._scorer, gate=self._gate, limits=self._limits)
        quality_pb2_grpc.add_QualityServiceServicer_to_server(self._feed, self._server)  # type: ignore[no-untyped-call]
        quality_pb2_grpc.add_ScoringServiceServicer_to_server(scoring, self._server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if self._reflection:
            names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)
        try:
            port = self._server.add_insecure_port(self.address)
        except RuntimeError as error:
            raise _cannot_listen(self.address, str(error)) from error
        await self._set_serving(False)
        await self._server.start()
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        self._started.set_result(port)
        await self._stopped.wait()

    async def _set_serving(self, serving: bool) -> None:
        self._gate.serving = serving
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in (health.OVERALL_HEALTH, *SERVICES):
            await self._health.set(service, status)

    async def _drain(self, grace_seconds: float) -> None:
        self._gate.draining = True
        await self._set_serving(False)
        self._feed.drain()
        await self._server.stop(grace_seconds)
        assert self._stopped is not None
        self._stopped.set()


def _options(limits: ScoringLimits) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),  # else a second agent on the same port would silently take half of the calls
        ("grpc.max_receive_message_length", limits.message_bytes + _ENVELOPE_BYTES),
        # a ping each 30 s finds dead subscribers behind NAT; clients may ping each 10 s
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _check_free(host: str, port: int) -> None:
    """gRPC says only that it failed; a plain socket says why."""
    address = _address(host, port)
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            probe.listen(1)
    except OSError as error:
        raise _cannot_listen(address, error.strerror or str(error)) from error


def _cannot_listen(address: str, why: str) -> ConfigError:
    return ConfigError(
        f"cannot listen on {address} ({why}); stop the program that uses it, or set grpc.host and grpc.port "
        f"to a free address (port 0 takes any)"
    )
