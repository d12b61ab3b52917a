"""Segment k of a stream is samples [8,000 k, 8,000 k + 16,000) at 16 kHz, whatever the packets looked like."""

from __future__ import annotations

from livemos.agent.records import SEGMENT_SAMPLES, STRIDE_SAMPLES


def start_of(segment_index: int) -> int:
    """First sample of a segment."""
    return segment_index * STRIDE_SAMPLES


def end_of(segment_index: int) -> int:
    """One past the last sample of a segment."""
    return segment_index * STRIDE_SAMPLES + SEGMENT_SAMPLES


def whole_segments(heard_samples: int) -> int:
    """How many segments lie wholly inside the first `heard_samples` samples."""
    return max(0, 1 + (heard_samples - SEGMENT_SAMPLES) // STRIDE_SAMPLES)
