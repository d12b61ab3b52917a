"""Which payloads a subscriber wants: source ids or globs, labels, views, and how far apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from livemos.agent.records import SAMPLE_RATE_HZ, FeedPayload, RollingScore, SegmentScore, StreamDescription


class View(Enum):
    """Kinds of payload a subscriber may ask for."""

    SEGMENT = "segment"
    ROLLING = "rolling"
    EVENT = "event"


ALL_VIEWS = frozenset(View)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedFilter:
    """Everything by default.

    source_ids: exact ids or globs where `*` stands for any characters; empty: all. labels: all must be equal.
    minimum_interval_seconds: least distance, in stream time, of two payloads of one source and view; events are exempt.
    """

    source_ids: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    views: frozenset[View] = ALL_VIEWS
    minimum_interval_seconds: float = 0.0

    def wants_source(self, description: StreamDescription) -> bool:
        """Whether id and labels of a source fit."""
        named = not self.source_ids or any(glob_matches(glob, description.source_id) for glob in self.source_ids)
        return named and all(description.labels.get(key) == value for key, value in self.labels.items())


def view_of(payload: FeedPayload) -> View:
    """The view a payload belongs to."""
    if isinstance(payload, SegmentScore):
        return View.SEGMENT
    return View.ROLLING if isinstance(payload, RollingScore) else View.EVENT


def stream_seconds(payload: SegmentScore | RollingScore) -> float:
    """Where the payload lies in its stream; equal steps for each view, so distances can be compared."""
    sample = payload.end_sample if isinstance(payload, RollingScore) else payload.start_sample
    return sample / SAMPLE_RATE_HZ


def glob_matches(glob: str, text: str) -> bool:
    """Whether `text` fits `glob`; linear in both, so that a subscriber's pattern cannot stall the scoring thread."""
    first, *rest = glob.split("*")
    if not rest:
        return glob == text
    *middle, last = rest
    if not text.startswith(first) or len(text) < len(first) + len(last) or not text.endswith(last):
        return False
    position, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True
