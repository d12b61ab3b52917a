"""Cutting, padding and hand-over for runtimes with fixed batches: every row's own result, in order, at any batch."""

from __future__ import annotations

import numpy as np
import pytest

from livemos.agent.engine.base import Outputs
from livemos.agent.engine.bucketed import Bucketed, Rows

BUCKETS = (1, 4, 16)


class Recorder:
    """Sums each row when it is *finished*, as a GPU would at any time until then; keeps what it was asked."""

    slots = 2

    def __init__(self) -> None:
        self.buffers = [np.full((BUCKETS[-1], 3), np.nan, np.float32) for _ in range(self.slots)]
        self.running: dict[int, int] = {}
        self.started: list[tuple[int, int]] = []
        self.fails_at = -1

    def buffer(self, slot: int) -> Rows:
        assert slot not in self.running, "filled while it runs"
        return self.buffers[slot]

    def start(self, slot: int, bucket: int) -> None:
        assert bucket in BUCKETS
        assert np.isfinite(self.buffers[slot][:bucket]).all(), "padding with what was there before"
        if len(self.started) == self.fails_at:
            raise RuntimeError("out of memory")
        self.running[slot] = bucket
        self.started.append((slot, bucket))

    def finish(self, slot: int) -> Outputs:
        bucket = self.running.pop(slot)
        rows = self.buffers[slot][:bucket]
        outputs = np.stack([rows.sum(axis=1), rows[:, 0]], axis=1)
        self.buffers[slot][:] = np.nan  # nothing may be read from a slot that was given back
        return outputs


def rows_of(count: int) -> Rows:
    return np.random.default_rng(count).standard_normal((count, 3)).astype(np.float32)


@pytest.mark.parametrize("count", [0, 1, 2, 4, 5, 15, 16, 17, 32, 33, 100])
def test_every_row_gets_its_own_result_in_order(count: int) -> None:
    """A shifted row is another call's score."""
    runner = Recorder()
    rows = rows_of(count)
    outputs = Bucketed(runner, BUCKETS, 2).score(rows)
    assert outputs.shape == (count, 2)
    np.testing.assert_array_equal(outputs, np.stack([rows.sum(axis=1), rows[:, 0]], axis=1).reshape(count, 2))
    assert not runner.running


@pytest.mark.parametrize(
    ("count", "buckets"), [(1, [1]), (3, [4]), (16, [16]), (17, [16, 1]), (37, [16, 16, 16]), (34, [16, 16, 4])]
)
def test_the_smallest_bucket_that_holds_the_rest_is_taken(count: int, buckets: list[int]) -> None:
    """Padding to the largest would cost a stream at night what a thousand cost by day."""
    runner = Recorder()
    Bucketed(runner, BUCKETS, 2).score(rows_of(count))
    assert [bucket for _, bucket in runner.started] == buckets


def test_slots_take_turns_so_that_one_is_filled_while_the_other_runs() -> None:
    """One slot would make the GPU wait for every copy."""
    runner = Recorder()
    Bucketed(runner, BUCKETS, 2).score(rows_of(64))
    assert [slot for slot, _ in runner.started] == [0, 1, 0, 1]


def test_after_a_failure_nothing_runs_and_the_next_call_is_sound() -> None:
    """An engine that failed once is asked again half a second later."""
    runner = Recorder()
    runner.fails_at = 2
    scorer = Bucketed(runner, BUCKETS, 2)
    with pytest.raises(RuntimeError, match="out of memory"):
        scorer.score(rows_of(64))
    assert not runner.running
    rows = rows_of(5)
    runner.fails_at = -1
    np.testing.assert_array_equal(scorer.score(rows)[:, 1], rows[:, 0])


@pytest.mark.parametrize("buckets", [(), (0, 4), (4, 1), (4, 4)])
def test_buckets_that_do_not_rise_are_refused(buckets: tuple[int, ...]) -> None:
    """They are searched from the first."""
    with pytest.raises(ValueError, match="must rise"):
        Bucketed(Recorder(), buckets, 2)


def test_a_runner_with_one_slot_is_refused() -> None:
    """Its buffer would be filled while it is read."""
    runner = Recorder()
    runner.slots = 1  # type: ignore[misc]
    with pytest.raises(ValueError, match="two slots"):
        Bucketed(runner, BUCKETS, 2)
