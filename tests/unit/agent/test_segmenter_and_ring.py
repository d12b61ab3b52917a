"""The sample grid: what makes a score independent of packets, and what a slow reader is told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livemos.agent.errors import CapacityError
from livemos.agent.ring import ROW_SAMPLES, RingBank
from livemos.agent.segmenter import end_of, start_of, whole_segments


@given(heard=st.integers(0, 10**9))
def test_the_number_of_whole_segments_is_the_number_whose_end_was_heard(heard: int) -> None:
    """One segment too many would score samples that do not exist yet, one too few adds half a second of latency."""
    count = whole_segments(heard)
    assert count == 0 or end_of(count - 1) <= heard
    assert end_of(count) > heard


def test_segments_start_every_half_second_and_last_one_second() -> None:
    """Subscribers compute times from these indices."""
    assert [start_of(k) for k in range(3)] == [0, 8_000, 16_000]
    assert end_of(2) - start_of(2) == 16_000


@given(blocks=st.lists(st.integers(0, 30_000), min_size=1, max_size=20), data=st.data())
def test_a_read_gives_exactly_what_was_written_at_that_index_or_says_it_is_gone(
    blocks: list[int], data: st.DataObject
) -> None:
    """The ring is checked against the whole signal kept in memory."""
    bank = RingBank(1)
    row = bank.acquire()
    signal = np.arange(sum(blocks), dtype=np.float32)
    position = 0
    for block in blocks:
        bank.write(row, signal[position : position + block])
        position += block
    if position == 0:
        return
    length = data.draw(st.integers(1, min(position, ROW_SAMPLES)))
    start = data.draw(st.integers(0, position - length))
    out = np.empty(length, np.float32)
    whole = bank.read(row, start, out)
    assert whole == (start >= position - ROW_SAMPLES)
    if whole:
        np.testing.assert_array_equal(out, signal[start : start + length])


def test_the_bank_refuses_a_stream_too_many_and_takes_one_again_after_a_release() -> None:
    """The cap is a promise about memory; what runs goes on."""
    bank = RingBank(2)
    first = bank.acquire()
    bank.acquire()
    with pytest.raises(CapacityError, match=r"limits\.streams"):
        bank.acquire()
    bank.write(first, np.ones(10, np.float32))
    bank.release(first)
    assert bank.written(bank.acquire()) == 0
    assert bank.in_use() == 2
