"""Updates of a feed as JSON lines: stable keys in snake_case, unset scores null, times ISO 8601 UTC."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from livemos.agent.feed_ring import Gap
from livemos.agent.records import (
    SAMPLE_RATE_HZ,
    FeedItem,
    MediaStatistics,
    RollingScore,
    RollingWindow,
    SegmentScore,
    SourceSnapshot,
)

_SCORES = ("mos", "mos_std", "noisiness", "coloration", "discontinuity", "loudness")
_SEGMENT_RATIOS = ("speech_ratio", "level_dbov", "clipped_ratio", "concealed_ratio", "bandwidth_hz", "snr_db")
_WINDOW_NUMBERS = ("scored_segments", "unscored_segments", "coverage_ratio", "speech_seconds", "snr_db")


def update_lines(update: FeedItem | Gap) -> Iterator[str]:
    """One line an update; a gap has one for each source concerned."""
    if isinstance(update, Gap):
        for part in update.missed:
            yield _line(
                type="gap",
                source_id=part.source_id,
                first_sequence=part.first_sequence,
                last_sequence=part.last_sequence,
                missed_count=part.missed_items,
            )
        return
    payload, head = update.payload, {"source_id": update.payload.source_id, "sequence": update.sequence}
    if isinstance(payload, SegmentScore):
        yield _line(type="segment", **head, **_segment(payload))
    elif isinstance(payload, RollingScore):
        yield _line(type="rolling", **head, **_rolling(payload))
    else:
        yield _line(
            type="event",
            **head,
            kind=payload.kind.value,
            time=_time(payload.unix_seconds),
            detail=payload.detail,
        )


def source_line(snapshot: SourceSnapshot) -> str:
    """One line a source, with its newest scores."""
    description = snapshot.description
    return _line(
        type="source",
        source_id=description.source_id,
        last_sequence=snapshot.last_sequence,
        kind=description.kind,
        labels=dict(description.labels),
        detail=description.detail,
        state=snapshot.state.value,
        reason=_value(snapshot.reason),
        start_time=_time(snapshot.started_unix_seconds),
        heard_seconds=snapshot.heard_samples / SAMPLE_RATE_HZ,
        media=_media(snapshot.media),
        segment=None if snapshot.segment is None else _segment(snapshot.segment),
        rolling=None if snapshot.rolling is None else _rolling(snapshot.rolling),
    )


def _line(**fields: Any) -> str:
    return json.dumps(fields, ensure_ascii=False, allow_nan=False)


def _segment(score: SegmentScore) -> dict[str, Any]:
    return {
        "segment_index": score.segment_index,
        "start_sample": score.start_sample,
        "start_time": _time(score.start_unix_seconds),
        "ready_time": _time(score.ready_unix_seconds),
        **_rounded(score, (*_SCORES, *_SEGMENT_RATIOS)),
        **_cause(score),
        "reason": _value(score.reason),
        "model_id": score.model_id,
        "marks": [mark.value for mark in score.marks],
    }


def _rolling(score: RollingScore) -> dict[str, Any]:
    return {
        "segment_index": score.segment_index,
        "end_sample": score.end_sample,
        "ready_time": _time(score.ready_unix_seconds),
        "windows": [_window(window) for window in score.windows],
        **_rounded(score, ("level_dbov",)),
        "state": score.state.value,
        "media": _media(score.media),
        "model_id": score.model_id,
    }


def _window(window: RollingWindow) -> dict[str, Any]:
    return {
        "window_seconds": window.window_seconds,
        **_rounded(window, (*_SCORES, "mos_minimum", "mos_p05", *_WINDOW_NUMBERS)),
        **_cause(window),
        "reason": _value(window.reason),
    }


def _cause(record: SegmentScore | RollingWindow) -> dict[str, Any]:
    return {"cause": _value(record.cause), **_rounded(record, ("cause_probability",))}


def _media(media: MediaStatistics) -> dict[str, Any]:
    return {name: getattr(media, name) for name in MediaStatistics.__slots__}


def _rounded(record: object, names: tuple[str, ...]) -> dict[str, Any]:
    """Scores travel as 32-bit floats: digits beyond the fourth are none of the model's."""
    values = {name: getattr(record, name) for name in names}
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}


def _value(member: Enum | None) -> str | None:
    return None if member is None else str(member.value)


def _time(unix_seconds: float) -> str:
    moment = datetime.fromtimestamp(round(unix_seconds, 3), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
