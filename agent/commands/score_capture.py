"""`livemos score call.pcap`: a row a stream, or the score log with `--segments`; the same bytes on every run."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from livemos.agent.commands.output import Format, Row, print_rows
from livemos.agent.errors import SourceError
from livemos.agent.file_names import shown

if TYPE_CHECKING:
    from livemos.agent.capture_scorer import CaptureStream

# promised: names and order stay, new columns are added at the end
STREAM_COLUMNS = (
    "file",
    "source_id",
    "detail",
    "codec",
    "seconds",
    "expected_packets",
    "lost_packets",
    "lost_ratio",
    "late_packets",
    "duplicate_packets",
    "recovered_packets",
    "jitter_seconds",
    "clock_drift_ppm",
    "network_mos",
    "mos",
    "mos_std",
    "noisiness",
    "coloration",
    "discontinuity",
    "loudness",
    "reason",
    "events",
    "model_id",
    "profile",
    "playout_delay_seconds",
    "cause",
    "cause_probability",
    "snr_db",
    "remote_lost_ratio",
    "remote_jitter_seconds",
    "remote_mos",
)
STREAM_HEADINGS = {
    "source_id": "stream",
    "codec": "codec",
    "seconds": "s",
    "lost_ratio": "loss",
    "jitter_seconds": "jitter s",
    "network_mos": "net MOS",
    "mos": "MOS",
    "reason": "reason",
    "events": "events",
}
_SCORES = ("mos", "mos_std", "noisiness", "coloration", "discontinuity", "loudness")
_CAUSES = ("cause_probability", "snr_db")
LOG_COLUMNS = (
    *("source_id", "at_seconds", "what", *_SCORES, "concealed_ratio", "reason", "detail"),
    *("cause", *_CAUSES),
    "marks",
    "file",
)


def run(
    paths: list[Path],
    *,
    output_format: Format,
    segments: bool,
    fail_below: float | None,
    bundle: Path | None,
    engine: str,
    payload_types: Mapping[int, str],
    sdp: Path | None,
    profiles: Sequence[str],
    workers: int,
) -> None:
    """Raises typer.Exit: 1 below `fail_below`, 2 when a capture could not be read, or heard as a whole."""
    from livemos.agent.capture_scorer import CaptureScorer

    scorer = CaptureScorer(bundle, engine=engine, workers=workers)
    found: list[tuple[Path, CaptureStream]] = []
    unreadable = empty = 0
    for path in paths:
        try:
            streams, counts = scorer.score(path, payload_types=payload_types, sdp=sdp, profiles=profiles)
        except SourceError as error:
            unreadable += 1
            _tell(str(error))
            continue
        _tell_what_is_missing(shown(path), counts, streams=len(streams), most=scorer.streams)
        unreadable += _unheard_packets(counts) > 0 or "damaged_files" in counts
        empty += not streams
        found += [(path, stream) for stream in streams]
    scorer.close()
    if segments:
        print_rows(_log_rows(found), LOG_COLUMNS, output_format)
    else:
        print_rows(_stream_rows(found), STREAM_COLUMNS, output_format, headings=STREAM_HEADINGS)
    if unreadable:
        raise typer.Exit(2)
    # a capture without a stream has no score either
    scores = [stream.clip.mos if stream.clip else None for _, stream in found] + [None] * empty
    below = sum(mos is None or mos < fail_below for mos in scores) if fail_below is not None else 0
    if below:
        _tell(f"{below} of {len(scores)} streams below {fail_below} or without a score")
        raise typer.Exit(1)


def _tell(message: str) -> None:
    print(f"livemos: {message}", file=sys.stderr)


def _tell_what_is_missing(capture: str, counts: Mapping[str, int], *, streams: int, most: int) -> None:
    if unheard := _unheard_packets(counts):
        _tell(
            f"capture {capture}: {unheard} packets not heard, more than {most} streams are open at once; split it by "
            f"address or time (tshark -Y, editcap -A -B)"
        )
    if counts.get("damaged_files"):
        _tell(f"capture {capture} is damaged and cannot be read to its end; results go up to there")
    if counts.get("truncated_files"):
        _tell(f"capture {capture} ends inside a record; results go up to there")
    if steps := counts.get("clock_steps"):
        _tell(f"capture {capture}: its clock was set back ({steps} x); frames behind a step follow on the one before")
    if not streams:
        packets = counts.get("received_packets", 0)
        _tell(f"capture {capture}: no RTP stream found in {packets} packets; is the media in it, whole and over UDP?")


def _unheard_packets(counts: Mapping[str, int]) -> int:
    """Those of streams and of senders for which there was no room."""
    return counts.get("refused_packets", 0) + counts.get("cap_sources_packets", 0)


def _stream_rows(found: list[tuple[Path, CaptureStream]]) -> Iterator[Row]:
    for path, stream in found:
        clip, media = stream.clip, stream.media
        names = (*_SCORES, *_CAUSES, "seconds", "model_id")
        row = {name: getattr(media, name) for name in STREAM_COLUMNS if hasattr(media, name)}
        row |= {name: getattr(clip, name) for name in names}
        row["reason"] = clip.reason.value if clip is not None and clip.reason is not None else None
        row["cause"] = clip.cause.value if clip is not None and clip.cause is not None else None
        row |= {"file": shown(path), "source_id": stream.description.source_id, "detail": stream.description.detail}
        if media.expected_packets:
            row["lost_ratio"] = (media.lost_packets or 0) / media.expected_packets
        row["profile"] = stream.description.labels.get("profile", "ideal")
        row["events"] = " ".join(dict.fromkeys(event.kind.value for event in stream.events)) or None
        yield row


def _log_rows(found: list[tuple[Path, CaptureStream]]) -> Iterator[Row]:
    """Segments and events of each stream in the order of time."""
    for path, stream in found:
        rows: list[dict[str, object]] = [
            {
                "file": shown(path),
                "source_id": segment.source_id,
                "at_seconds": round(segment.ready_unix_seconds, 6),
                "what": "segment",
                **{name: getattr(segment, name) for name in (*_SCORES, *_CAUSES, "concealed_ratio")},
                "reason": segment.reason.value if segment.reason else None,
                "cause": segment.cause.value if segment.cause else None,
                "marks": " ".join(mark.value for mark in segment.marks) or None,
            }
            for segment in stream.segments
        ]
        rows += [
            {
                "file": shown(path),
                "source_id": event.source_id,
                "at_seconds": round(event.unix_seconds, 6),
                "what": event.kind.value,
                "detail": event.detail,
            }
            for event in stream.events
        ]
        yield from sorted(rows, key=lambda row: float(str(row["at_seconds"])))
