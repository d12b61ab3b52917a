"""One stream between its source's thread, which writes, and the scoring thread, which reads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from livemos.agent.records import SAMPLE_RATE_HZ, AudioBlock, Samples, StreamDescription
from livemos.agent.resample import StreamResampler
from livemos.agent.ring import ROW_SAMPLES, RingBank
from livemos.agent.segmenter import end_of, start_of, whole_segments

_WAIT_SECONDS = 0.5  # how often a waiting file looks whether it was closed


@dataclass(frozen=True, slots=True)
class DueSegment:
    """What the scoring thread gets beside the samples."""

    segment_index: int
    whole: bool  # False: overwritten before it could be read
    concealed_ratio: float
    ready_monotonic_seconds: float


class Stream:
    """Resampler, ring row and book-keeping of one stream.

    `write` and `close` belong to the source's thread, `take` and `drained` to the scoring thread.
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
        self._resampler: StreamResampler | None = None
        self._rate_hz = 0
        self._concealed_spans: deque[tuple[int, int]] = deque()
        self._ready: deque[float] = deque()  # one entry per whole segment not yet taken
        self._whole = 0
        self._taken = 0
        self._ended = False
        self._room = threading.Condition()
        self.first_ready_monotonic_seconds: float | None = None

    def write(self, block: AudioBlock) -> None:
        """Append a block at any rate; a change of rate closes the old resampler's tail first."""
        if block.sample_rate_hz != self._rate_hz:
            self._append_tail(block.ready_monotonic_seconds)
            self._rate_hz = block.sample_rate_hz
            self._resampler = StreamResampler(block.sample_rate_hz, SAMPLE_RATE_HZ)
        assert self._resampler is not None
        self._append(self._resampler.push(block.samples), block.concealed, block.ready_monotonic_seconds)

    def close(self, ready_monotonic_seconds: float) -> None:
        """No more audio: what the resampler still holds is written, whole segments stay to be taken."""
        if not self._ended:
            self._append_tail(ready_monotonic_seconds)
            self._ended = True
            self._on_due()

    def abandon(self) -> None:
        """Close without writing: the scoring side has gone; a writer that waits for room is let go."""
        with self._room:
            self._ended = True
            self._room.notify_all()

    def _append_tail(self, ready_monotonic_seconds: float) -> None:
        if self._resampler is not None:
            self._append(self._resampler.flush(), False, ready_monotonic_seconds)
            self._resampler = None

    def _append(self, samples: Samples, concealed: bool, ready_monotonic_seconds: float) -> None:
        if self._ended or not len(samples):
            return
        # a waiting writer brings long blocks in pieces, so that the reader can keep up inside one row
        piece = ROW_SAMPLES // 4 if self._wait_when_full else len(samples)
        for start in range(0, len(samples), piece):
            self._append_piece(samples[start : start + piece], concealed, ready_monotonic_seconds)

    def _append_piece(self, samples: Samples, concealed: bool, ready_monotonic_seconds: float) -> None:
        if self._wait_when_full:
            self._wait_for_room(len(samples))
        if self.first_ready_monotonic_seconds is None:
            self.first_ready_monotonic_seconds = ready_monotonic_seconds - len(samples) / SAMPLE_RATE_HZ
        before = self._bank.written(self.row)
        if concealed:
            self._concealed_spans.append((before, before + len(samples)))
        after = self._bank.write(self.row, samples)
        whole = whole_segments(after)
        if whole > self._whole:
            for index in range(self._whole, whole):
                late_by = (after - end_of(index)) / SAMPLE_RATE_HZ
                self._ready.append(ready_monotonic_seconds - late_by)
            self._whole = whole
            self._on_due()

    def _wait_for_room(self, samples: int) -> None:
        with self._room:
            while not self._ended and self._bank.written(self.row) + samples - start_of(self._taken) > ROW_SAMPLES:
                self._room.wait(_WAIT_SECONDS)

    def heard_samples(self) -> int:
        """Samples at 16 kHz so far."""
        return self._bank.written(self.row)

    def due(self) -> int:
        """Whole segments that wait to be taken."""
        return len(self._ready)

    def take(self, out: Samples) -> DueSegment:
        """Copy the next due segment to `out` (16000,); call only when `due()` > 0."""
        index = self._taken
        whole = self._bank.read(self.row, start_of(index), out)
        concealed = self._concealed_ratio(index)
        ready = self._ready.popleft()
        with self._room:
            self._taken = index + 1
            self._room.notify_all()
        return DueSegment(index, whole, concealed, ready)

    def _concealed_ratio(self, index: int) -> float:
        start, end = start_of(index), end_of(index)
        while self._concealed_spans and self._concealed_spans[0][1] <= start:
            self._concealed_spans.popleft()
        concealed = sum(max(0, min(end, stop) - max(start, begin)) for begin, stop in tuple(self._concealed_spans))
        return concealed / (end - start)

    def drained(self) -> bool:
        """Ended, and every whole segment was taken."""
        return self._ended and not self._ready
