"""One SSRC on a socket: its session on one side, its stream in the sink on the other, and its state between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from livemos.agent.errors import CapacityError
from livemos.agent.reasons import Reason
from livemos.agent.records import AudioBlock, EventKind, StreamDescription, StreamState
from livemos.agent.rtp.packet import Packet
from livemos.agent.rtp.payload_map import PayloadMap
from livemos.agent.rtp.session import RtpSession
from livemos.agent.sources.base import StreamSink, StreamWriter

SHORTEST_STALL_SECONDS, STALL_PACKETS = 0.2, 5
LONGEST_BURST_SECONDS = 1.0  # a sender that brings its packets in bursts is given as long, once it is known
_REPORT_SECONDS = 0.25  # between two packet statistics
_RETRY_SECONDS = 1.0  # after the sink had no room


class RtpStream:
    """Owned by its socket's thread. `counts` is the source's, shared by its streams."""

    def __init__(
        self,
        *,
        source_id: str,
        detail: str,
        labels: Mapping[str, str],
        payload_map: PayloadMap,
        reorder_wait_seconds: float,
        concealment: str,
        sink: StreamSink,
        counts: Counter[str],
    ) -> None:
        self._description = StreamDescription(source_id=source_id, kind="rtp", labels=labels, detail=detail)
        self._session = RtpSession(
            payload_map=payload_map, reorder_wait_seconds=reorder_wait_seconds, concealment=concealment
        )
        self._sink = sink
        self._counts = counts
        self._writer: StreamWriter | None = None
        self._state = StreamState.WAITING
        self._last_packet_seconds = 0.0
        self._burst_seconds = 0.0
        self._reported_seconds = 0.0
        self._retry_seconds = 0.0

    @property
    def next_due_seconds(self) -> float | None:
        """When `tick` has something to do."""
        return self._session.next_due_seconds

    def silent_seconds(self, now: float) -> float:
        return now - self._last_packet_seconds

    def hear(self, packet: Packet, now: float) -> None:
        if self._state is StreamState.STALLED and self.silent_seconds(now) <= LONGEST_BURST_SECONDS:
            # ffmpeg -re sends what one read of its file held: silence of 0.26 s between bursts is no fault of the line
            self._burst_seconds = 1.5 * self.silent_seconds(now)
        self._last_packet_seconds = now
        blocks = self._session.push(packet, now)
        if self._session.established:
            self._pass_on(blocks, now)

    def tick(self, now: float) -> None:
        """Give up gaps whose wait has ended."""
        blocks = self._session.tick(now)
        if blocks:
            self._pass_on(blocks, now)

    def watch(self, now: float) -> None:
        """Notice silence, report statistics."""
        if self._writer is None:
            return
        stall_seconds = max(SHORTEST_STALL_SECONDS, STALL_PACKETS * self._session.packet_seconds, self._burst_seconds)
        silent = self.silent_seconds(now) > stall_seconds and not self._session.quiet
        if silent and self._state is not StreamState.STALLED:
            self._enter(StreamState.STALLED, Reason.NO_MEDIA)
            self._writer.event(EventKind.MEDIA_STALLED, f"no packets for {self.silent_seconds(now):.2f} s")
            self._report(now)
        elif not silent and now - self._reported_seconds >= _REPORT_SECONDS:
            self._report(now)

    def close(self, detail: str) -> None:
        if self._writer is not None:
            for block in self._session.tick(float("inf")):
                self._writer.write(block)
            self._writer.media(self._session.statistics())
            self._writer.close(detail)
            self._writer = None

    def _pass_on(self, blocks: list[AudioBlock], now: float) -> None:
        if self._writer is None and not self._open(now):
            self._counts["refused_packets"] += 1
            return
        assert self._writer is not None
        if self._session.undescribed_payload_type is not None:
            self._enter(StreamState.UNDESCRIBED, Reason.UNSUPPORTED_CODEC)
        elif blocks:
            self._enter(StreamState.ACTIVE)
        for event in self._session.take_events():
            self._writer.event(event.kind, event.detail)
        for block in blocks:
            self._writer.write(block)

    def _open(self, now: float) -> bool:
        if now < self._retry_seconds:
            return False
        try:
            self._writer = self._sink.open(self._description)
        except (CapacityError, ValueError):
            # ValueError: an earlier stream of this SSRC is still being scored to its end
            self._retry_seconds = now + _RETRY_SECONDS
            self._counts["refused_streams"] += 1
            return False
        self._counts["opened_streams"] += 1
        return True

    def _enter(self, state: StreamState, reason: Reason | None = None) -> None:
        if state is self._state or self._writer is None:
            return
        if self._state is StreamState.STALLED:
            self._writer.event(EventKind.MEDIA_RESUMED, "packets again")
        self._state = state
        self._writer.state(state, reason)

    def _report(self, now: float) -> None:
        assert self._writer is not None
        self._reported_seconds = now
        self._writer.media(self._session.statistics())
