"""Records to messages and back. Nothing is decided here; what is unset stays unset, on both sides."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

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
from livemos.agent.servers.wire_times import duration, seconds, set_duration, set_timestamp, timestamp, unix_seconds
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
    message = pb.Segment()
    _fill_segment(message, score, sequence)
    return message


def _fill_segment(wire: Any, score: SegmentScore, sequence: int) -> None:
    wire.source_id, wire.sequence = score.source_id, sequence
    wire.segment_index, wire.start_sample = score.segment_index, score.start_sample
    set_timestamp(wire.start_time, score.start_unix_seconds)
    set_timestamp(wire.ready_time, score.ready_unix_seconds)
    wire.clipped_ratio, wire.concealed_ratio = score.clipped_ratio, score.concealed_ratio
    wire.reason, wire.cause = _reason_number(score.reason), _cause_number(score.cause)
    wire.model_id = score.model_id
    for name in _SEGMENT_OPTIONALS:
        value = getattr(score, name)
        if value is not None:
            setattr(wire, name, value)
    if score.marks:
        wire.marks.extend(_MARK_NUMBERS[mark] for mark in score.marks)


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


@functools.lru_cache(maxsize=64)
def _window_duration(seconds: float | None) -> Duration | None:
    """Of the few windows there are; for copying only."""
    return None if seconds is None else duration(seconds)


def _add_window(windows: Any, window: RollingWindow) -> None:
    """Written into its place: four for every segment, and a message made apart is copied by way of its octets."""
    added = windows.add(
        window=_window_duration(window.window_seconds),
        mos=window.mos,
        mos_std=window.mos_std,
        mos_minimum=window.mos_minimum,
        mos_p05=window.mos_p05,
        noisiness=window.noisiness,
        coloration=window.coloration,
        discontinuity=window.discontinuity,
        loudness=window.loudness,
        scored_segments=window.scored_segments,
        unscored_segments=window.unscored_segments,
        coverage_ratio=window.coverage_ratio,
        reason=_reason_number(window.reason),
        snr_db=window.snr_db,
        cause=_cause_number(window.cause),
        cause_probability=window.cause_probability,
    )
    set_duration(added.speech_duration, window.speech_seconds)


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


def _fill_media(wire: Any, media: MediaStatistics) -> None:
    for name in _MEDIA_OPTIONALS:
        value = getattr(media, name)
        if value is not None:
            setattr(wire, name, value)
    if media.jitter_seconds is not None:
        set_duration(wire.jitter, media.jitter_seconds)
    if media.playout_delay_seconds is not None:
        set_duration(wire.playout_delay, media.playout_delay_seconds)
    if media.rfc_jitter_seconds is not None:
        set_duration(wire.rfc_jitter, media.rfc_jitter_seconds)
    if media.remote_jitter_seconds is not None:
        set_duration(wire.remote_jitter, media.remote_jitter_seconds)


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
    message = pb.Rolling()
    _fill_rolling(message, score, sequence)
    return message


def _fill_rolling(wire: Any, score: RollingScore, sequence: int) -> None:
    wire.source_id, wire.sequence = score.source_id, sequence
    wire.segment_index, wire.end_sample = score.segment_index, score.end_sample
    set_timestamp(wire.ready_time, score.ready_unix_seconds)
    windows = wire.windows
    for window in score.windows:
        _add_window(windows, window)
    if score.level_dbov is not None:
        wire.level_dbov = score.level_dbov
    wire.state, wire.model_id = _STATE_NUMBERS[score.state], score.model_id
    wire.media.SetInParent()
    _fill_media(wire.media, score.media)


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


def _fill_event(wire: Any, event: SourceEvent, sequence: int) -> None:
    wire.source_id, wire.sequence = event.source_id, sequence
    wire.kind, wire.detail = _KIND_NUMBERS[event.kind], event.detail
    set_timestamp(wire.time, event.unix_seconds)


def update_to_wire(update: FeedItem | Gap) -> pb.SubscribeResponse:
    """What a subscription gives, as a message of the feed."""
    message = pb.SubscribeResponse()
    _fill_update(message, update)
    return message


def batch_to_wire(updates: Sequence[FeedItem | Gap]) -> pb.SubscribeResponse:
    """Several of them in one message."""
    message = pb.SubscribeResponse()
    for update in updates:
        _fill_update(message.batch.updates.add(), update)
    return message


def _fill_update(wire: Any, update: FeedItem | Gap) -> None:
    if isinstance(update, Gap):
        wire.gap.SetInParent()
        for part in update.missed:
            wire.gap.missed.add(
                source_id=part.source_id,
                first_sequence=part.first_sequence,
                last_sequence=part.last_sequence,
                missed_count=part.missed_items,
            )
        return
    payload = update.payload
    if isinstance(payload, SegmentScore):
        _fill_segment(wire.segment, payload, update.sequence)
    elif isinstance(payload, RollingScore):
        _fill_rolling(wire.rolling, payload, update.sequence)
    else:
        _fill_event(wire.event, payload, update.sequence)


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
    source = pb.Source(
        source_id=description.source_id,
        kind=description.kind,
        labels=dict(description.labels),
        detail=description.detail,
        state=_STATE_NUMBERS[snapshot.state],
        reason=_reason_number(snapshot.reason),
        start_time=timestamp(snapshot.started_unix_seconds),
        heard_duration=duration(snapshot.heard_samples / SAMPLE_RATE_HZ),
        last_sequence=snapshot.last_sequence,
    )
    source.media.SetInParent()
    _fill_media(source.media, snapshot.media)
    if snapshot.segment is not None:
        _fill_segment(source.segment, snapshot.segment, 0)
    if snapshot.rolling is not None:
        _fill_rolling(source.rolling, snapshot.rolling, 0)
    return source


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
