"""One stream between its source's thread, which writes, and the scoring thread, which reads."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from livemos.agent.records import SAMPLE_RATE_HZ, AudioBlock, Mark, Samples, StreamDescription
from livemos.agent.resample import StreamResampler
from livemos.agent.ring import ROW_SAMPLES, RingBank
from livemos.agent.segmenter import end_of, start_of, whole_segments

_WAIT_SECONDS = 0.5  # how often a waiting file looks whether it was closed
_RESAMPLER_SAMPLES = 96  # at 16 kHz; more than any resampler holds back (docs/audio.md)


@dataclass(frozen=True, slots=True)
class DueSegment:
    """What the scoring thread gets beside the samples."""

    segment_index: int
    whole: bool  # False: overwritten before it could be read
    concealed_ratio: float
    ready_monotonic_seconds: float
    marks: tuple[Mark, ...] = ()


class Stream:
    """Resampler, ring row and book-keeping of one stream.

    Blocks are kept at their own rate until they complete a segment, then resampled in one go: the same samples, at a
    small part of the cost of resampling every packet. `write` and `close` belong to the source's thread, `take` and
    `drained` to the scoring thread.
    """

    def __init__(
        self,
        description: StreamDescription,
        bank: RingBank,
        *,
        wait_when_full: bool,
        started_unix_seconds: float,
        on_due: Callable[[], None],
    ) -> None:
        self.description = description
        self.row = bank.acquire()
        self.started_unix_seconds = started_unix_seconds
        self._bank = bank
        self._wait_when_full = wait_when_full
        self._on_due = on_due
        self._resampler = StreamResampler(SAMPLE_RATE_HZ)
        self._base = 0  # where at 16 kHz the resampler's output begins
        self._received = 0  # samples at the resampler's rate, those that wait included
        self._waiting: list[Samples] = []
        self._concealed_spans: deque[tuple[float, float]] = deque()
        self._marked_spans: deque[tuple[float, float, tuple[Mark, ...]]] = deque()
        self._ready: deque[float] = deque()  # when the end of each segment not yet taken was heard
        self._last_ready_monotonic_seconds = 0.0
        self._reached = 0  # segments whose end has been received
        self._whole = 0  # segments whose end lies in the ring
        self._taken = 0
        self._ended = False
        self._room = threading.Condition()

    def write(self, block: AudioBlock) -> None:
        """Append a block at any rate; a change of rate closes the old resampler's tail first."""
        if block.sample_rate_hz != self._resampler.from_hz:
            self._finish_resampler()
            self._resampler = StreamResampler(block.sample_rate_hz)
        start = self._position()
        self._received += len(block.samples)
        end = self._position()
        if block.concealed:
            self._concealed_spans.append((start, end))
        if block.marks:
            self._marked_spans.append((start, end, block.marks))
        self._last_ready_monotonic_seconds = block.ready_monotonic_seconds
        while end_of(self._reached) <= end:
            self._ready.append(self._heard_seconds(block, start, end))
            self._reached += 1
        self._waiting.append(block.samples)
        held_back = 0 if block.sample_rate_hz == SAMPLE_RATE_HZ else _RESAMPLER_SAMPLES
        if self._wait_when_full or end - held_back >= end_of(self._whole):
            self._resample()

    def _heard_seconds(self, block: AudioBlock, start: float, end: float) -> float:
        """When the end of segment `_reached`, which lies in the block, was played out."""
        parts, wanted = block.part_ready_seconds, end_of(self._reached)
        if not parts:
            return block.ready_monotonic_seconds - (end - wanted) / SAMPLE_RATE_HZ
        first_received = self._received - len(block.samples)
        samples = len(block.samples) // len(parts)
        from_hz, base = block.sample_rate_hz, self._base
        # the part's end as `write` would have reckoned it for this part alone
        part = max(1, math.ceil((wanted - start) / (end - start) * len(parts)) - 1)
        while base + (first_received + part * samples) * SAMPLE_RATE_HZ / from_hz < wanted:
            part += 1
        part_end = base + (first_received + part * samples) * SAMPLE_RATE_HZ / from_hz
        return parts[part - 1] - (part_end - wanted) / SAMPLE_RATE_HZ

    def wanted_samples(self) -> float:
        """How many more samples at 16 kHz until a segment is due; 0 or less when every block is written at once."""
        if self._wait_when_full:
            return 0.0
        held_back = 0 if self._resampler.from_hz == SAMPLE_RATE_HZ else _RESAMPLER_SAMPLES
        return end_of(self._whole) + held_back - self._position()

    def close(self) -> None:
        """No more audio: what waits and what the resampler holds is written, whole segments stay to be taken."""
        if not self._ended:
            self._finish_resampler()
            self._ended = True
            self._on_due()

    def abandon(self) -> None:
        """Close without writing: the scoring side has gone; a writer that waits for room is let go."""
        with self._room:
            self._ended = True
            self._room.notify_all()

    def _position(self) -> float:
        """What was received, as an index at 16 kHz."""
        return self._base + self._received * SAMPLE_RATE_HZ / self._resampler.from_hz

    def _resample(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._append(self._resampler.push(waiting[0] if len(waiting) == 1 else np.concatenate(waiting)))

    def _finish_resampler(self) -> None:
        self._resample()
        self._append(self._resampler.flush())
        self._base = self._bank.written(self.row)
        self._received = 0

    def _append(self, samples: Samples) -> None:
        # a waiting writer brings long blocks in pieces, so that the reader can keep up inside one row
        piece = ROW_SAMPLES // 4 if self._wait_when_full else max(1, len(samples))
        for start in range(0, len(samples), piece):
            part = samples[start : start + piece]
            if self._wait_when_full:
                self._wait_for_room(len(part))
            if self._ended:
                return
            whole = whole_segments(self._bank.write(self.row, part))
            if whole > self._whole:
                self._whole = whole
                self._on_due()

    def _wait_for_room(self, samples: int) -> None:
        with self._room:
            while not self._ended and self._bank.written(self.row) + samples - start_of(self._taken) > ROW_SAMPLES:
                self._room.wait(_WAIT_SECONDS)

    def heard_samples(self) -> int:
        """Samples at 16 kHz so far, those that wait to be resampled left out."""
        return self._bank.written(self.row)

    def due(self) -> int:
        """Whole segments that wait to be taken."""
        return self._whole - self._taken

    def take(self, out: Samples) -> DueSegment:
        """Copy the next due segment to `out` (16000,); call only when `due()` > 0."""
        index = self._taken
        whole = self._bank.read(self.row, start_of(index), out)
        concealed = self._concealed_ratio(index)
        # the last segment may end half a sample behind what was received: a resampler rounds
        ready = self._ready.popleft() if self._ready else self._last_ready_monotonic_seconds
        with self._room:
            self._taken = index + 1
            self._room.notify_all()
        return DueSegment(index, whole, concealed, ready, self._marks(index))

    def _marks(self, index: int) -> tuple[Mark, ...]:
        if not self._marked_spans:
            return ()
        start, end = start_of(index), end_of(index)
        while self._marked_spans and self._marked_spans[0][1] <= start:
            self._marked_spans.popleft()
        overlapping = {mark for begin, _, marks in tuple(self._marked_spans) if begin < end for mark in marks}
        return tuple(sorted(overlapping, key=lambda mark: mark.value))

    def _concealed_ratio(self, index: int) -> float:
        start, end = start_of(index), end_of(index)
        while self._concealed_spans and self._concealed_spans[0][1] <= start:
            self._concealed_spans.popleft()
        concealed = sum(max(0, min(end, stop) - max(start, begin)) for begin, stop in tuple(self._concealed_spans))
        return concealed / (end - start)

    def drained(self) -> bool:
        """Ended, and every whole segment was taken."""
        return self._ended and not self.due()
