"""Records to messages and back. Nothing is decided here; what is unset stays unset, on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from livemos.agent.causes import Cause
from livemos.agent.feed_filter import View
from livemos.agent.feed_ring import Gap, MissedRange
from livemos.agent.reasons import Reason
from livemos.agent.records import (
    SAMPLE_RATE_HZ,
    ClipScore,
    EventKind,
    FeedItem,
    Mark,
    MediaStatistics,
    ModelDescription,
    RollingScore,
    RollingWindow,
    SegmentScore,
    SourceEvent,
    SourceSnapshot,
    StreamDescription,
    StreamState,
)
from livemos.proto.quality.v1 import quality_pb2 as pb

SCHEMA_VERSION = 1

Member = TypeVar("Member", bound=Enum)


def _numbers(members: type[Member], prefix: str, wire: Any) -> dict[Member, Any]:
    return {member: wire.Value(f"{prefix}_{member.name}") for member in members}


def _members(numbers: Mapping[Member, Any]) -> dict[int, Member]:
    return {number: member for member, number in numbers.items()}


_REASON_NUMBERS = _numbers(Reason, "REASON", pb.Reason)
_CAUSE_NUMBERS = _numbers(Cause, "CAUSE", pb.Cause)
_KIND_NUMBERS = _numbers(EventKind, "EVENT_KIND", pb.EventKind)
_STATE_NUMBERS = _numbers(StreamState, "SOURCE_STATE", pb.SourceState)
_MARK_NUMBERS = _numbers(Mark, "MARK", pb.Mark)
_MARKS = _members(_MARK_NUMBERS)
_REASONS, _KINDS, _STATES = _members(_REASON_NUMBERS), _members(_KIND_NUMBERS), _members(_STATE_NUMBERS)
_CAUSES = _members(_CAUSE_NUMBERS)
VIEWS = _members(_numbers(View, "VIEW", pb.View))
VIEW_NUMBERS = _numbers(View, "VIEW", pb.View)

_OPTIONAL_SCORES = ("mos", "mos_std", "noisiness", "coloration", "discontinuity", "loudness")
_CLIP_OPTIONALS = (*_OPTIONAL_SCORES, "cause_probability", "snr_db")
_SEGMENT_OPTIONALS = (*_CLIP_OPTIONALS, "speech_ratio", "level_dbov", "bandwidth_hz")
_WINDOW_OPTIONALS = (*_CLIP_OPTIONALS, "mos_minimum", "mos_p05")
_MEDIA_OPTIONALS = (
    "codec",
    "received_packets",
    "expected_packets",
    "lost_packets",
    "late_packets",
    "duplicate_packets",
    "reordered_packets",
    "network_mos",
    "discarded_packets",
    "recovered_packets",
    "stray_packets",
    "clock_drift_ppm",
    "recent_network_mos",
    "remote_lost_ratio",
    "remote_mos",
)


def timestamp(unix_seconds: float) -> Timestamp:
    """To the microsecond: a float of today's seconds holds no more."""
    seconds, microseconds = divmod(round(unix_seconds * 1e6), 1_000_000)
    return Timestamp(seconds=seconds, nanos=1_000 * microseconds)


def unix_seconds(wire: Timestamp) -> float:
    """The inverse of `timestamp`."""
    return wire.ToMicroseconds() / 1e6


def duration(seconds: float) -> Duration:
    """To the nanosecond."""
    whole, nanoseconds = divmod(round(abs(seconds) * 1e9), 1_000_000_000)
    # both parts carry the sign
    return Duration(seconds=whole, nanos=nanoseconds) if seconds >= 0 else Duration(seconds=-whole, nanos=-nanoseconds)


def seconds(wire: Duration) -> float:
    """The inverse of `duration`."""
    return wire.ToNanoseconds() / 1e9


def _set_fields(message: Message, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(message, name) for name in names if message.HasField(name)}


def _fields(record: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(record, name)) is not None}


def _reason_number(reason: Reason | None) -> Any:
    return pb.REASON_UNSPECIFIED if reason is None else _REASON_NUMBERS[reason]


def _cause_number(cause: Cause | None) -> Any:
    return pb.CAUSE_UNSPECIFIED if cause is None else _CAUSE_NUMBERS[cause]


def segment_to_wire(score: SegmentScore, sequence: int) -> pb.Segment:
    """A segment score with its place in the feed."""
    return pb.Segment(
        source_id=score.source_id,
        sequence=sequence,
        segment_index=score.segment_index,
        start_sample=score.start_sample,
        start_time=timestamp(score.start_unix_seconds),
        ready_time=timestamp(score.ready_unix_seconds),
        clipped_ratio=score.clipped_ratio,
        concealed_ratio=score.concealed_ratio,
        reason=_reason_number(score.reason),
        cause=_cause_number(score.cause),
        model_id=score.model_id,
        marks=[_MARK_NUMBERS[mark] for mark in score.marks],
        **_fields(score, _SEGMENT_OPTIONALS),
    )


def segment_from_wire(wire: pb.Segment) -> SegmentScore:
    """The inverse of `segment_to_wire`, without the sequence."""
    return SegmentScore(
        source_id=wire.source_id,
        segment_index=wire.segment_index,
        start_sample=wire.start_sample,
        start_unix_seconds=unix_seconds(wire.start_time),
        ready_unix_seconds=unix_seconds(wire.ready_time),
        clipped_ratio=wire.clipped_ratio,
        concealed_ratio=wire.concealed_ratio,
        reason=_REASONS.get(wire.reason),
        cause=_CAUSES.get(wire.cause),
        model_id=wire.model_id,
        marks=tuple(_MARKS[mark] for mark in wire.marks if mark in _MARKS),
        **_set_fields(wire, _SEGMENT_OPTIONALS),
    )


def _window_to_wire(window: RollingWindow) -> pb.RollingWindow:
    return pb.RollingWindow(
        window=None if window.window_seconds is None else duration(window.window_seconds),
        scored_segments=window.scored_segments,
        unscored_segments=window.unscored_segments,
        coverage_ratio=window.coverage_ratio,
        speech_duration=duration(window.speech_seconds),
        reason=_reason_number(window.reason),
        cause=_cause_number(window.cause),
        **_fields(window, _WINDOW_OPTIONALS),
    )


def _window_from_wire(wire: pb.RollingWindow) -> RollingWindow:
    return RollingWindow(
        window_seconds=seconds(wire.window) if wire.HasField("window") else None,
        scored_segments=wire.scored_segments,
        unscored_segments=wire.unscored_segments,
        coverage_ratio=wire.coverage_ratio,
        speech_seconds=seconds(wire.speech_duration),
        reason=_REASONS.get(wire.reason),
        cause=_CAUSES.get(wire.cause),
        **_set_fields(wire, _WINDOW_OPTIONALS),
    )


def _media_to_wire(media: MediaStatistics) -> pb.MediaStatistics:
    return pb.MediaStatistics(
        jitter=None if media.jitter_seconds is None else duration(media.jitter_seconds),
        playout_delay=None if media.playout_delay_seconds is None else duration(media.playout_delay_seconds),
        rfc_jitter=None if media.rfc_jitter_seconds is None else duration(media.rfc_jitter_seconds),
        remote_jitter=None if media.remote_jitter_seconds is None else duration(media.remote_jitter_seconds),
        **_fields(media, _MEDIA_OPTIONALS),
    )


def _media_from_wire(wire: pb.MediaStatistics) -> MediaStatistics:
    return MediaStatistics(
        jitter_seconds=seconds(wire.jitter) if wire.HasField("jitter") else None,
        rfc_jitter_seconds=seconds(wire.rfc_jitter) if wire.HasField("rfc_jitter") else None,
        remote_jitter_seconds=seconds(wire.remote_jitter) if wire.HasField("remote_jitter") else None,
        playout_delay_seconds=seconds(wire.playout_delay) if wire.HasField("playout_delay") else None,
        **_set_fields(wire, _MEDIA_OPTIONALS),
    )


def rolling_to_wire(score: RollingScore, sequence: int) -> pb.Rolling:
    """Rolling scores with their place in the feed."""
    return pb.Rolling(
        source_id=score.source_id,
        sequence=sequence,
        segment_index=score.segment_index,
        end_sample=score.end_sample,
        ready_time=timestamp(score.ready_unix_seconds),
        windows=[_window_to_wire(window) for window in score.windows],
        level_dbov=score.level_dbov,
        state=_STATE_NUMBERS[score.state],
        media=_media_to_wire(score.media),
        model_id=score.model_id,
    )


def rolling_from_wire(wire: pb.Rolling) -> RollingScore:
    """The inverse of `rolling_to_wire`, without the sequence."""
    return RollingScore(
        source_id=wire.source_id,
        segment_index=wire.segment_index,
        end_sample=wire.end_sample,
        ready_unix_seconds=unix_seconds(wire.ready_time),
        windows=tuple(_window_from_wire(window) for window in wire.windows),
        level_dbov=wire.level_dbov if wire.HasField("level_dbov") else None,
        state=_STATES.get(wire.state, StreamState.ACTIVE),
        media=_media_from_wire(wire.media),
        model_id=wire.model_id,
    )


def _event_to_wire(event: SourceEvent, sequence: int) -> pb.Event:
    return pb.Event(
        source_id=event.source_id,
        sequence=sequence,
        kind=_KIND_NUMBERS[event.kind],
        time=timestamp(event.unix_seconds),
        detail=event.detail,
    )


def update_to_wire(update: FeedItem | Gap) -> pb.SubscribeResponse:
    """What a subscription gives, as a message of the feed."""
    if isinstance(update, Gap):
        missed = [
            pb.MissedRange(
                source_id=part.source_id,
                first_sequence=part.first_sequence,
                last_sequence=part.last_sequence,
                missed_count=part.missed_items,
            )
            for part in update.missed
        ]
        return pb.SubscribeResponse(gap=pb.Gap(missed=missed))
    payload = update.payload
    if isinstance(payload, SegmentScore):
        return pb.SubscribeResponse(segment=segment_to_wire(payload, update.sequence))
    if isinstance(payload, RollingScore):
        return pb.SubscribeResponse(rolling=rolling_to_wire(payload, update.sequence))
    return pb.SubscribeResponse(event=_event_to_wire(payload, update.sequence))


def update_from_wire(wire: pb.SubscribeResponse) -> FeedItem | Gap | None:
    """The inverse of `update_to_wire`; None for hello, heartbeats and whatever a newer server may send."""
    kind = wire.WhichOneof("message")
    if kind == "segment":
        return FeedItem(sequence=wire.segment.sequence, payload=segment_from_wire(wire.segment))
    if kind == "rolling":
        return FeedItem(sequence=wire.rolling.sequence, payload=rolling_from_wire(wire.rolling))
    if kind == "event" and wire.event.kind in _KINDS:
        event = SourceEvent(
            source_id=wire.event.source_id,
            kind=_KINDS[wire.event.kind],
            unix_seconds=unix_seconds(wire.event.time),
            detail=wire.event.detail,
        )
        return FeedItem(sequence=wire.event.sequence, payload=event)
    if kind == "gap":
        return Gap(
            missed=tuple(
                MissedRange(
                    source_id=part.source_id,
                    first_sequence=part.first_sequence,
                    last_sequence=part.last_sequence,
                    missed_items=part.missed_count,
                )
                for part in wire.gap.missed
            )
        )
    return None


def updates_from_wire(wire: pb.SubscribeResponse) -> list[FeedItem | Gap]:
    """The updates of one message, which may be a batch of them."""
    messages = wire.batch.updates if wire.WhichOneof("message") == "batch" else (wire,)
    updates = (update_from_wire(message) for message in messages)
    return [update for update in updates if update is not None]


def source_to_wire(snapshot: SourceSnapshot) -> pb.Source:
    """A source; its newest segment and rolling scores carry no sequence of their own."""
    description = snapshot.description
    return pb.Source(
        source_id=description.source_id,
        kind=description.kind,
        labels=dict(description.labels),
        detail=description.detail,
        state=_STATE_NUMBERS[snapshot.state],
        reason=_reason_number(snapshot.reason),
        start_time=timestamp(snapshot.started_unix_seconds),
        heard_duration=duration(snapshot.heard_samples / SAMPLE_RATE_HZ),
        media=_media_to_wire(snapshot.media),
        last_sequence=snapshot.last_sequence,
        segment=None if snapshot.segment is None else segment_to_wire(snapshot.segment, 0),
        rolling=None if snapshot.rolling is None else rolling_to_wire(snapshot.rolling, 0),
    )


def source_from_wire(wire: pb.Source) -> SourceSnapshot:
    """The inverse of `source_to_wire`."""
    return SourceSnapshot(
        description=StreamDescription(
            source_id=wire.source_id, kind=wire.kind, labels=dict(wire.labels), detail=wire.detail
        ),
        state=_STATES.get(wire.state, StreamState.ACTIVE),
        reason=_REASONS.get(wire.reason),
        started_unix_seconds=unix_seconds(wire.start_time),
        media=_media_from_wire(wire.media),
        heard_samples=round(seconds(wire.heard_duration) * SAMPLE_RATE_HZ),
        segment=segment_from_wire(wire.segment) if wire.HasField("segment") else None,
        rolling=rolling_from_wire(wire.rolling) if wire.HasField("rolling") else None,
        last_sequence=wire.last_sequence,
    )


def model_to_wire(model: ModelDescription) -> pb.Model:
    """The model as its bundle says."""
    return pb.Model(
        name=model.name,
        version=model.version,
        model_id=model.model_id,
        sha256=model.sha256,
        licence=model.licence,
        sample_rate_hz=model.sample_rate_hz,
        segment_samples=model.segment_samples,
        stride_samples=model.stride_samples,
        engine=model.engine,
    )


def hello_to_wire(model: ModelDescription, *, feed_id: str, heartbeat_seconds: float) -> pb.Hello:
    """The first message of a feed."""
    return pb.Hello(
        schema_version=SCHEMA_VERSION,
        feed_id=feed_id,
        model_id=model.model_id,
        model_sha256=model.sha256,
        segment_duration=duration(model.segment_samples / model.sample_rate_hz),
        stride_duration=duration(model.stride_samples / model.sample_rate_hz),
        sample_rate_hz=model.sample_rate_hz,
        heartbeat_interval=duration(heartbeat_seconds),
    )


def clip_to_wire(clip: ClipScore, *, segments: list[pb.Segment]) -> pb.ClipScore:
    """The score of a clip, with the segments the caller asked for."""
    return pb.ClipScore(
        duration=duration(clip.seconds),
        speech_duration=duration(clip.speech_seconds),
        sample_rate_hz=clip.sample_rate_hz,
        reason=_reason_number(clip.reason),
        cause=_cause_number(clip.cause),
        model_id=clip.model_id,
        segments=segments,
        **_fields(clip, _CLIP_OPTIONALS),
    )
