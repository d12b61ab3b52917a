"""Batches of any size for a runtime that runs a few fixed sizes: cut, padded, handed over and put together again.

Knows nothing of GPUs: what runs is a Runner with two or more slots, so that one is filled while another runs.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from livemos.agent.engine.base import Outputs

Rows = npt.NDArray[Any]


class Runner(Protocol):
    """Runs a batch of a bucket's size in a slot; slots have buffers of their own."""

    slots: int

    def buffer(self, slot: int) -> Rows:
        """(largest bucket, ...) host memory that `start` reads; free after `finish` of the slot."""
        ...

    def start(self, slot: int, bucket: int) -> None:
        """Begin with the first `bucket` rows of the slot's buffer; returns before the result is there."""
        ...

    def finish(self, slot: int) -> Outputs:
        """Wait for the slot: (bucket, K), valid until the slot is started again."""
        ...


class Bucketed:
    """Scores any number of rows with a Runner. One thread at a time.

    buckets: the sizes the runner has prepared, rising.
    """

    def __init__(self, runner: Runner, buckets: tuple[int, ...], columns: int) -> None:
        """ValueError for buckets that do not rise from 1 or more, or a runner without two slots."""
        if not buckets or buckets[0] < 1 or list(buckets) != sorted(set(buckets)):
            raise ValueError(f"buckets {buckets} must rise from 1 or more")
        if runner.slots < 2:
            raise ValueError("a runner needs two slots: one is filled while the other runs")
        self._runner = runner
        self.buckets = buckets
        self._columns = columns

    def bucket_of(self, rows: int) -> int:
        """The smallest bucket that holds `rows`, or the largest there is."""
        return next((bucket for bucket in self.buckets if bucket >= rows), self.buckets[-1])

    def score(self, rows: Rows) -> Outputs:
        """rows (B, ...) as the runner takes them -> (B, K) float32, in order; any B, also 0."""
        outputs = np.empty((len(rows), self._columns), np.float32)
        running: deque[tuple[int, int, int]] = deque()  # slot, first row, rows
        try:
            start = turn = 0
            while start < len(rows):
                slot = turn % self._runner.slots
                if len(running) == self._runner.slots:
                    self._collect(running, outputs)
                count = min(self.bucket_of(len(rows) - start), len(rows) - start)
                self._hand_over(slot, rows[start : start + count])
                running.append((slot, start, count))
                start, turn = start + count, turn + 1
            while running:
                self._collect(running, outputs)
        finally:
            while running:  # after a failure: a slot that still runs must not be filled by the next call
                self._abandon(running.popleft()[0])
        return outputs

    def _hand_over(self, slot: int, rows: Rows) -> None:
        bucket = self.bucket_of(len(rows))
        buffer = self._runner.buffer(slot)
        buffer[: len(rows)] = rows
        buffer[len(rows) : bucket] = 0  # rows are independent, but what an earlier call left must not be NaN
        self._runner.start(slot, bucket)

    def _collect(self, running: deque[tuple[int, int, int]], outputs: Outputs) -> None:
        slot, start, count = running[0]
        outputs[start : start + count] = self._runner.finish(slot)[:count]
        running.popleft()

    def _abandon(self, slot: int) -> None:
        try:
            self._runner.finish(slot)
        except Exception:  # the first failure is the one to tell
            return
