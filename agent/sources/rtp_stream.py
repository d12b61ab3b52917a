"""One logical stream of RTP: its session on one side, its streams in the sink on the other, its state between them.

A sender may go on under another SSRC (a new *generation*): the stream stays, the session and its counts begin anew.
Each listener profile is a stream of its own in the sink; the first bears the stream's id, the others `ID@PROFILE`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from livemos.agent.errors import CapacityError
from livemos.agent.reasons import Reason
from livemos.agent.records import AudioBlock, EventKind, MediaStatistics, StreamDescription, StreamState
from livemos.agent.rtp.playout import IDEAL
from livemos.agent.rtp.session import RtpSession
from livemos.agent.sources.base import LazyWriter, StreamSink, StreamWriter

SHORTEST_STALL_SECONDS, STALL_PACKETS = 0.2, 5
CAPTURE_LOSS_EVENT_SECONDS = 1.0  # between two events of one stream: a machine that is late has no time for more
LONGEST_BURST_SECONDS = 1.0  # a sender that brings its packets in bursts is given as long, once it is known
_REPORT_SECONDS = 0.25  # between two packet statistics
_RETRY_SECONDS = 1.0  # after the sink had no room
_COUNTS = (
    "received_packets",
    "expected_packets",
    "lost_packets",
    "late_packets",
    "duplicate_packets",
    "reordered_packets",
    "discarded_packets",
    "recovered_packets",
    "stray_packets",
)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why packets that can be counted cannot be heard, and the event that says so."""

    reason: Reason
    kind: EventKind
    detail: str


ENCRYPTED = Unreadable(
    Reason.ENCRYPTED, EventKind.DECRYPTION_FAILED, "the keys that were given do not open its packets (or the roc?)"
)
CUT = Unreadable(Reason.CUT, EventKind.CAPTURE_LOSS, "the capture cut its packets (snaplen); capture them whole: -s 0")


_NOTHING = MediaStatistics()


class _Voice:
    """What one listener profile of a stream hears: its stream in the sink."""

    def __init__(self, description: StreamDescription, index: int) -> None:
        self.description = description
        self.index = index  # of the session's profiles
        self.earlier = _NOTHING  # sums over earlier generations
        self.writer: StreamWriter | None = None
        self.lazy: LazyWriter | None = None  # the same, where it can say what it waits for
        self.state = StreamState.WAITING
        self.retry_seconds = 0.0  # when to ask the sink again

    def statistics(self, session: RtpSession) -> MediaStatistics:
        """Counts of all generations; jitter, drift, codec and network MOS of the one that speaks."""
        now, before = session.statistics(self.index), self.earlier
        if before is _NOTHING:
            return now
        sums: dict[str, Any] = {name: (getattr(now, name) or 0) + (getattr(before, name) or 0) for name in _COUNTS}
        return replace(now, **sums)

    def enter(self, state: StreamState, reason: Reason | None = None) -> None:
        """Publish a change of state."""
        if state is self.state or self.writer is None:
            return
        if self.state is StreamState.STALLED:
            self.writer.event(EventKind.MEDIA_RESUMED, "packets again")
        self.state = state
        self.writer.state(state, reason)


class RtpStream:
    """Owned by its receiver's thread. `counts` is the source's, shared by its streams.

    unreadable: the packets are counted and told, and never scored. The session's profiles are fixed for its life.
    """

    def __init__(
        self,
        *,
        source_id: str,
        detail: str,
        labels: Mapping[str, str],
        session: RtpSession,
        sink: StreamSink,
        counts: Counter[str],
        unreadable: Unreadable | None = None,
        wait_when_full: bool = False,
    ) -> None:
        # a source that was given no profile keeps the labels it was given
        labelled = session.profiles != (IDEAL,)
        self._voices = [
            _Voice(
                StreamDescription(
                    source_id=f"{source_id}@{profile}" if index else source_id,
                    kind="rtp",
                    labels={**labels, "profile": profile} if labelled else labels,
                    detail=detail,
                ),
                index,
            )
            for index, profile in enumerate(session.profiles)
        ]
        self._first = self._voices[0]
        self.description = self._first.description
        self._session = session
        self._sink = sink
        self._counts = counts
        self._unreadable = unreadable
        self._wait_when_full = wait_when_full
        self._last_packet_seconds = 0.0
        self._capture_loss_told_seconds = -math.inf
        self._burst_seconds = 0.0
        self._reported_seconds = 0.0

    def silent_seconds(self, now: float) -> float:
        return now - self._last_packet_seconds

    def adopt(self, session: RtpSession, detail: str) -> None:
        """The sender goes on under another SSRC: counts add up, nothing is lost across the seam."""
        self._go_on_with(session)
        self._counts["ssrc_changes"] += 1
        self.event(EventKind.SSRC_CHANGED, detail)

    def become_unreadable(self, session: RtpSession, why: Unreadable) -> None:
        """What comes from here on `session` counts, and nobody hears."""
        self._go_on_with(session)
        self._unreadable = why
        for voice in self._voices:
            if voice.writer is not None:
                voice.writer.event(why.kind, why.detail)

    def _go_on_with(self, session: RtpSession) -> None:
        self.pass_on(self._session.tick(float("inf")), self._last_packet_seconds)
        for voice in self._voices:
            voice.earlier = voice.statistics(self._session)
        self._session = session

    def event(self, kind: EventKind, detail: str) -> None:
        """Publish an event once the stream is open; before, nobody knows of it. Of capture losses one a second."""
        if kind is EventKind.CAPTURE_LOSS:
            self._session.capture_lost()
            if self._last_packet_seconds - self._capture_loss_told_seconds < CAPTURE_LOSS_EVENT_SECONDS:
                return
            self._capture_loss_told_seconds = self._last_packet_seconds
        for voice in self._voices:
            if voice.writer is not None:
                voice.writer.event(kind, detail)

    def hear(self, blocks: list[AudioBlock], now: float) -> None:
        """A packet came at `now` and completed `blocks`."""
        if self._first.state is StreamState.STALLED and self.silent_seconds(now) <= LONGEST_BURST_SECONDS:
            # ffmpeg -re sends what one read of its file held: silence of 0.26 s between bursts is no fault of the line
            self._burst_seconds = 1.5 * self.silent_seconds(now)
        self._last_packet_seconds = now
        self.pass_on(blocks, now)

    @property
    def undisturbed(self) -> bool:
        """Open, readable, and its media is flowing."""
        first = self._first
        flowing = first.writer is not None and first.state is StreamState.ACTIVE
        return flowing and len(self._voices) == 1 and self._unreadable is None

    def wanted_samples(self) -> float:
        """How many more samples at 16 kHz until the writer has something to do with them; 0: with any."""
        lazy = self._first.lazy
        return lazy.wanted_samples() if lazy is not None else 0.0

    def report_if_due(self, now: float) -> None:
        """Statistics to the writer, a few times a second."""
        if self._first.writer is not None and now - self._reported_seconds >= _REPORT_SECONDS:
            self._report(now)

    def watch(self, now: float) -> None:
        """Notice silence, report statistics."""
        if self._first.writer is None:
            return
        for voice in self._voices[1:]:
            if blocks := self._session.take_blocks(voice.index):  # played while no packet came
                self._pass_on(voice, blocks, now)
        stall_seconds = max(SHORTEST_STALL_SECONDS, STALL_PACKETS * self._session.packet_seconds, self._burst_seconds)
        silent = self.silent_seconds(now) > stall_seconds and not self._session.quiet
        if silent and self._first.state is not StreamState.STALLED:
            self._session.stalled()
            for voice in self._voices:
                voice.enter(StreamState.STALLED, Reason.NO_MEDIA)
            self.event(EventKind.MEDIA_STALLED, f"no packets for {self.silent_seconds(now):.2f} s")
            self._report(now)
        elif not silent:
            self.report_if_due(now)

    def close(self, detail: str) -> None:
        blocks = self._session.tick(float("inf"))
        for voice in self._voices:
            heard = self._session.take_blocks(voice.index) if voice.index else blocks
            if voice.writer is not None:
                for block in heard:
                    voice.writer.write(block)
                voice.writer.media(voice.statistics(self._session))
                voice.writer.close(detail)
                voice.writer = None

    def pass_on(self, blocks: list[AudioBlock], now: float) -> None:
        """Audio and events to the sink, state with them; `blocks` are those of the first profile."""
        self._pass_on(self._first, blocks, now)
        for voice in self._voices[1:]:
            self._pass_on(voice, self._session.take_blocks(voice.index), now)

    def _pass_on(self, voice: _Voice, blocks: list[AudioBlock], now: float) -> None:
        if voice.writer is None and not self._open(voice, now):
            self._counts["refused_packets"] += 1
            self._session.take_events(voice.index)  # nobody is there to be told, perhaps for hours
            return
        writer = voice.writer
        assert writer is not None
        if self._unreadable is not None:
            voice.enter(StreamState.UNDESCRIBED, self._unreadable.reason)
            self._session.take_events(voice.index)
            return
        if self._session.undescribed_payload_type is not None:
            voice.enter(StreamState.UNDESCRIBED, Reason.UNSUPPORTED_CODEC)
        elif blocks:
            voice.enter(StreamState.ACTIVE)
        for event in self._session.take_events(voice.index):
            writer.event(event.kind, event.detail)
        for block in blocks:
            writer.write(block)

    def _open(self, voice: _Voice, now: float) -> bool:
        if now < voice.retry_seconds:
            return False
        try:
            voice.writer = self._sink.open(voice.description, wait_when_full=self._wait_when_full)
        except (CapacityError, ValueError):
            # ValueError: an earlier stream of this SSRC is still being scored to its end
            voice.retry_seconds = now + _RETRY_SECONDS
            self._counts["refused_streams"] += 1
            return False
        voice.lazy = voice.writer if isinstance(voice.writer, LazyWriter) else None
        self._counts["opened_streams"] += 1
        if self._unreadable is not None:
            voice.writer.event(self._unreadable.kind, self._unreadable.detail)
        return True

    def _report(self, now: float) -> None:
        self._reported_seconds = now
        for voice in self._voices:
            if voice.writer is not None:
                voice.writer.media(voice.statistics(self._session))
