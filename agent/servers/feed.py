"""QualityService: the feed and the registry, translated. The hub decides, this file speaks."""

# ruff: noqa: N802 (calls are named by the .proto file)

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from livemos.agent.clock import Clock
from livemos.agent.errors import CapacityError
from livemos.agent.feed_filter import ALL_VIEWS, FeedFilter
from livemos.agent.feed_ring import Gap
from livemos.agent.hub import FeedClosedError, Hub, Subscription
from livemos.agent.records import FeedItem, FeedPayload, ModelDescription
from livemos.agent.servers import wire
from livemos.agent.servers.errors import LimitError, NotServingError, RequestError, UnknownSourceError
from livemos.agent.servers.status import RETRY_SECONDS, Context, Gate
from livemos.agent.servers.wire_times import seconds, timestamp
from livemos.proto.quality.v1 import quality_pb2 as pb
from livemos.proto.quality.v1 import quality_pb2_grpc

SOURCE_ID_CHARACTERS = 256
SOURCE_IDS = 100
LABELS = 16
HEARTBEAT_SECONDS = (0.5, 5.0, 60.0)  # least, default, most
LARGEST_BATCH_UPDATES = 1_000
_KEPT_MESSAGES = 2_048
_GATHER_SECONDS = 0.01  # between two messages to a subscriber that takes batches
MINIMUM_INTERVAL_SECONDS = 3_600.0  # the longest that may be asked for


class QualityService(quality_pb2_grpc.QualityServiceServicer):
    """Scores of the streams the agent hears."""

    def __init__(
        self, *, hub: Hub, model: ModelDescription, clock: Clock, gate: Gate, write_deadline_seconds: float = 300.0
    ) -> None:
        """write_deadline_seconds: a subscriber that reads nothing for so long is cut off; its gaps cost memory."""
        self._hub = hub
        self._model = model
        self._clock = clock
        self._gate = gate
        self._write_deadline_seconds = write_deadline_seconds
        self._open: set[Subscription] = set()
        self._made: dict[tuple[str, int], tuple[FeedPayload, pb.SubscribeResponse]] = {}  # oldest first

    async def Subscribe(self, request: pb.SubscribeRequest, context: Context) -> None:
        """Hello, then every update; what a slow reader missed is stated as a gap."""
        async with self._gate.answering(context):
            wanted, heartbeat_seconds = filter_from_wire(request), heartbeat_from_wire(request)
            most = most_from_wire(request)
            with self._subscribe(wanted) as subscription:
                self._open.add(subscription)
                try:
                    # the subscription is open before the hello, so nothing can slip between asking and listening
                    hello = wire.hello_to_wire(
                        self._model, feed_id=self._hub.feed_id, heartbeat_seconds=heartbeat_seconds
                    )
                    await self._write(context, pb.SubscribeResponse(hello=hello))
                    async for message in self._messages(subscription, heartbeat_seconds, most):
                        await self._write(context, message)
                finally:
                    self._open.discard(subscription)
            raise NotServingError("the server is about to stop; subscribe again later", RETRY_SECONDS)

    async def ListSources(self, request: pb.ListSourcesRequest, context: Context) -> pb.ListSourcesResponse:
        """Open and lately ended sources."""
        response = pb.ListSourcesResponse()
        async with self._gate.answering(context):
            wanted = FeedFilter(source_ids=_source_ids(request), labels=_labels(request))
            response.sources.extend(wire.source_to_wire(snapshot) for snapshot in self._hub.sources(wanted))
        return response

    async def GetSource(self, request: pb.GetSourceRequest, context: Context) -> pb.GetSourceResponse:
        """One source."""
        response = pb.GetSourceResponse()
        async with self._gate.answering(context):
            if not request.source_id:
                raise RequestError("source_id", "is empty; ListSources tells which there are")
            if len(request.source_id) > SOURCE_ID_CHARACTERS:
                problem = f"{len(request.source_id)} characters, at most {SOURCE_ID_CHARACTERS}"
                raise RequestError("source_id", problem)
            snapshot = self._hub.source(request.source_id)
            if snapshot is None:
                raise UnknownSourceError(request.source_id)
            response.source.CopyFrom(wire.source_to_wire(snapshot))
        return response

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        """Which model scores."""
        async with self._gate.answering(context):
            pass
        return pb.GetModelResponse(model=wire.model_to_wire(self._model))

    def drain(self) -> None:
        """End all feeds: what is queued is sent, then UNAVAILABLE."""
        for subscription in list(self._open):
            subscription.close()

    def _subscribe(self, wanted: FeedFilter) -> Subscription:
        try:
            return self._hub.subscribe(wanted)
        except CapacityError as full:
            raise LimitError("subscribers", str(full)) from full

    async def _messages(
        self, subscription: Subscription, heartbeat_seconds: float, most: int
    ) -> AsyncIterator[pb.SubscribeResponse]:
        while True:
            try:
                updates = await subscription.next_updates(max(1, most), timeout_seconds=heartbeat_seconds)
            except FeedClosedError:
                return
            if not updates:
                yield pb.SubscribeResponse(heartbeat=pb.Heartbeat(time=timestamp(self._clock.unix())))
            elif len(updates) == 1:
                yield self._message_of(updates[0])
            elif len(self._open) < 2:
                yield wire.batch_to_wire(updates)
            else:
                yield pb.SubscribeResponse(batch=pb.Batch(updates=map(self._message_of, updates)))
            if most > 1:
                # what comes meanwhile shares a message, and nobody has to be woken for it
                await asyncio.sleep(_GATHER_SECONDS)

    def _message_of(self, update: FeedItem | Gap) -> pb.SubscribeResponse:
        """Made once for all subscribers, as long as they are near each other."""
        if isinstance(update, Gap) or len(self._open) < 2:
            return wire.update_to_wire(update)
        key = update.payload.source_id, update.sequence
        payload, message = self._made.get(key, (None, None))
        if message is None or payload is not update.payload:
            message = wire.update_to_wire(update)
            self._made[key] = update.payload, message
            if len(self._made) > _KEPT_MESSAGES:
                del self._made[next(iter(self._made))]
        return message

    async def _write(self, context: Context, message: pb.SubscribeResponse) -> None:
        try:
            async with asyncio.timeout(self._write_deadline_seconds):
                await context.write(message)
        except TimeoutError:
            problem = f"the subscriber read nothing for {self._write_deadline_seconds:g} s; subscribe again"
            raise LimitError("unread messages", problem) from None


def filter_from_wire(request: pb.SubscribeRequest) -> FeedFilter:
    """What a subscriber asks for. Raises RequestError with the field."""
    views = []
    for position, number in enumerate(request.views):
        view = wire.VIEWS.get(number)
        if view is None:
            raise RequestError(f"views[{position}]", f"{number} is no view; leave views empty for all")
        views.append(view)
    interval = seconds(request.minimum_interval)
    if not 0 <= interval <= MINIMUM_INTERVAL_SECONDS:
        raise RequestError("minimum_interval", f"{interval:g} s lies outside 0 to {MINIMUM_INTERVAL_SECONDS:g} s")
    return FeedFilter(
        source_ids=_source_ids(request),
        labels=_labels(request),
        views=frozenset(views) or ALL_VIEWS,
        minimum_interval_seconds=interval,
    )


def most_from_wire(request: pb.SubscribeRequest) -> int:
    """Updates in one message, 0 for one by one. Raises RequestError."""
    if request.largest_batch > LARGEST_BATCH_UPDATES:
        raise RequestError("largest_batch", f"{request.largest_batch} lies outside 0 to {LARGEST_BATCH_UPDATES}")
    return int(request.largest_batch)


def heartbeat_from_wire(request: pb.SubscribeRequest) -> float:
    """The heartbeat interval in force. Raises RequestError."""
    least, default, most = HEARTBEAT_SECONDS
    if not request.HasField("heartbeat_interval"):
        return default
    asked = seconds(request.heartbeat_interval)
    if not least <= asked <= most:
        raise RequestError("heartbeat_interval", f"{asked:g} s lies outside {least:g} to {most:g} s")
    return asked


def _source_ids(request: Any) -> tuple[str, ...]:
    if len(request.source_ids) > SOURCE_IDS:
        raise RequestError("source_ids", f"{len(request.source_ids)} entries, at most {SOURCE_IDS}; use a pattern")
    for position, source_id in enumerate(request.source_ids):
        if not source_id or len(source_id) > SOURCE_ID_CHARACTERS:
            problem = f"{len(source_id)} characters, must have 1 to {SOURCE_ID_CHARACTERS}"
            raise RequestError(f"source_ids[{position}]", problem)
    return tuple(request.source_ids)


def _labels(request: Any) -> dict[str, str]:
    if len(request.labels) > LABELS:
        raise RequestError("labels", f"{len(request.labels)} entries, at most {LABELS}")
    return dict(request.labels)
