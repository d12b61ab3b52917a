"""The newest seconds of every stream in one preallocated block of memory: one writer and one reader a row.

A row is addressed by absolute sample index. The writer never waits for the reader: it overwrites, and the reader finds
out afterwards that what it copied was no longer whole. So a slow reader loses segments, never the stream its place.
"""

from __future__ import annotations

import threading

import numpy as np

from livemos.agent.errors import CapacityError
from livemos.agent.records import Samples

ROW_SAMPLES = 65_536  # 4.1 s: a 1 s segment, and 3 s for a scoring thread that fell behind


class RingBank:
    """`rows` rings of ROW_SAMPLES float32 samples; memory is touched only for rows in use."""

    def __init__(self, rows: int) -> None:
        self._samples = np.zeros((rows, ROW_SAMPLES), np.float32)
        self._written = [0] * rows
        self._free = list(range(rows - 1, -1, -1))
        self._lock = threading.Lock()
        self.rows = rows

    def acquire(self) -> int:
        """A free row, empty. Raises CapacityError at the cap."""
        with self._lock:
            if not self._free:
                raise CapacityError(f"all {self.rows} streams are in use; raise limits.streams or close some")
            row = self._free.pop()
        self._written[row] = 0
        return row

    def release(self, row: int) -> None:
        """Give a row back; its reader and writer must be done with it."""
        with self._lock:
            self._free.append(row)

    def in_use(self) -> int:
        """Rows held by streams."""
        return self.rows - len(self._free)

    def written(self, row: int) -> int:
        """Samples written to the row since it was acquired."""
        return self._written[row]

    def write(self, row: int, samples: Samples) -> int:
        """Append (N,) samples, any N; returns the new count. Writer's thread only."""
        start = self._written[row]
        end = start + len(samples)
        ring = self._samples[row]
        kept = samples[-ROW_SAMPLES:]
        offset = (end - len(kept)) % ROW_SAMPLES
        first = min(len(kept), ROW_SAMPLES - offset)
        # the count goes up before the samples change: a reader that sees the old count has copied the old samples
        self._written[row] = end
        ring[offset : offset + first] = kept[:first]
        ring[: len(kept) - first] = kept[first:]
        return end

    def read(self, row: int, start: int, out: Samples) -> bool:
        """Copy samples [start, start + len(out)) to `out`; False when they were (partly) overwritten meanwhile."""
        ring = self._samples[row]
        offset = start % ROW_SAMPLES
        first = min(len(out), ROW_SAMPLES - offset)
        out[:first] = ring[offset : offset + first]
        out[first:] = ring[: len(out) - first]
        return start >= self._written[row] - ROW_SAMPLES
