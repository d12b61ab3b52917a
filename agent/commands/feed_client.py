"""A client of a running agent for commands: subscribes, reconnects, and says in one line what is wrong."""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from livemos.agent.errors import LivemosError
from livemos.agent.feed_filter import FeedFilter
from livemos.agent.feed_ring import Gap
from livemos.agent.records import FeedItem, SourceSnapshot

if TYPE_CHECKING:
    import grpc

_CALL_SECONDS = 5.0
_RETRYABLE = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED", "INTERNAL", "DEADLINE_EXCEEDED", "UNKNOWN")
_BACKOFF_SECONDS = (0.25, 5.0)  # the first wait, and the longest
_LARGEST_BATCH = 256  # updates in one message
_QUEUE_UPDATES = 2_000  # a slow terminal makes the agent state a gap; it does not fill this machine's memory
_LARGEST_ANSWER_BYTES = 64 << 20  # ListSources names every stream: 20,000 of them are 19 MB


class AgentAwayError(LivemosError):
    """No agent answers at that address, or it refuses the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """A feed is open; what is known of each source now."""

    model: str
    sources: tuple[SourceSnapshot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The feed ended; another attempt follows, unless it was refused for good."""

    why: str
    final: bool = False


FeedMessage = Connected | Lost | FeedItem | Gap


class FeedClient:
    """Reads one agent's feed on a thread of its own. Use it as a context manager."""

    def __init__(self, address: str, wanted: FeedFilter) -> None:
        import grpc

        from livemos.proto.quality.v1 import quality_pb2_grpc

        self.address = address
        self._wanted = wanted
        # the agent is a neighbour: a proxy meant for the web would only stand in the way
        options = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", _LARGEST_ANSWER_BYTES)]
        self._channel = grpc.insecure_channel(address, options=options)
        self._stub: Any = quality_pb2_grpc.QualityServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._messages: queue.Queue[FeedMessage] = queue.Queue(_QUEUE_UPDATES)
        self._stopping = threading.Event()
        self._call: Any = None
        self._thread: threading.Thread | None = None

    def sources(self) -> tuple[SourceSnapshot, ...]:
        """The sources that fit, now. Raises AgentAwayError."""
        import grpc

        from livemos.agent.servers import wire
        from livemos.proto.quality.v1 import quality_pb2 as pb

        request = pb.ListSourcesRequest(source_ids=self._wanted.source_ids, labels=dict(self._wanted.labels))
        try:
            response = self._stub.ListSources(request, timeout=_CALL_SECONDS)
        except grpc.RpcError as error:
            raise AgentAwayError(_explain(self.address, error)) from error
        return tuple(wire.source_from_wire(source) for source in response.sources)

    def start(self) -> None:
        """Connect and begin to read; wait while the agent warms up. Raises AgentAwayError when nobody answers."""
        import grpc

        from livemos.proto.quality.v1 import quality_pb2 as pb

        try:
            self._stub.GetModel(pb.GetModelRequest(), timeout=_CALL_SECONDS)
        except grpc.RpcError as error:
            if not _is_warming_up(error):
                raise AgentAwayError(_explain(self.address, error)) from error
        self._thread = threading.Thread(target=self._read, name="livemos-watch", daemon=True)
        self._thread.start()

    def next(self, timeout_seconds: float) -> FeedMessage | None:
        """The next message, None at the timeout. Raises AgentAwayError when the agent refused for good."""
        try:
            message = self._messages.get(timeout=max(0.0, timeout_seconds))
        except queue.Empty:
            return None
        if isinstance(message, Lost) and message.final:
            raise AgentAwayError(message.why)
        return message

    def close(self) -> None:
        """End the call and the thread."""
        self._stopping.set()
        if self._call is not None:
            self._call.cancel()
        if self._thread is not None:
            self._thread.join(_CALL_SECONDS)
        self._channel.close()

    def __enter__(self) -> FeedClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> None:
        import grpc

        wait_seconds, longest = _BACKOFF_SECONDS
        while not self._stopping.is_set():
            final = False
            try:
                for message in self._feed():
                    if isinstance(message, Connected):
                        wait_seconds = _BACKOFF_SECONDS[0]
                    self._put(message)
                why = "the agent ended the feed"
            except grpc.RpcError as error:
                why = _explain(self.address, error)
                final = error.code().name not in _RETRYABLE
            except AgentAwayError as error:
                why = str(error)
            if not self._stopping.is_set():
                self._put(Lost(why=why, final=final))
                if final:
                    return
                # each client waits a little differently, so that they do not all come back at once
                self._stopping.wait(wait_seconds * random.uniform(0.75, 1.25))
                wait_seconds = min(longest, 2 * wait_seconds)

    def _feed(self) -> Iterator[FeedMessage]:
        from livemos.agent.servers import wire
        from livemos.proto.quality.v1 import quality_pb2 as pb

        request = pb.SubscribeRequest(
            source_ids=self._wanted.source_ids,
            labels=dict(self._wanted.labels),
            views=[wire.VIEW_NUMBERS[view] for view in self._wanted.views],
            largest_batch=_LARGEST_BATCH,
        )
        self._call = self._stub.Subscribe(request)
        if self._stopping.is_set():
            self._call.cancel()  # close() looked for a call before there was one
        for message in self._call:
            if message.WhichOneof("message") == "hello":
                # listed after the feed is open, so that nothing is missed between the two
                yield Connected(model=message.hello.model_id, sources=self.sources())
            yield from wire.updates_from_wire(message)

    def _put(self, message: FeedMessage) -> None:
        while not self._stopping.is_set():
            try:
                self._messages.put(message, timeout=0.25)
            except queue.Full:
                continue
            return


def _is_warming_up(error: Any) -> bool:
    """UNAVAILABLE from an agent that answers carries details; from a dead address it does not."""
    from grpc_status import rpc_status

    return rpc_status.from_call(error) is not None and error.code().name == "UNAVAILABLE"


def _explain(address: str, error: grpc.RpcError) -> str:
    code, details = error.code().name, (error.details() or "").splitlines()
    text = details[0] if details else code
    if code == "UNAVAILABLE" and not _is_warming_up(error):
        return f"no agent answers at {address}; start one there with `livemos run`, or check the address"
    if code == "DEADLINE_EXCEEDED":
        return f"no answer from {address} within {_CALL_SECONDS:g} s; check the address and the firewall between"
    if code in ("UNIMPLEMENTED", "UNKNOWN"):
        return f"{address} answers, but is not a livemos agent; check the port (the agent's is grpc.port)"
    return f"the agent at {address} refused: {text}"
