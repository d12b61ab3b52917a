"""Raw PCM from real pipes."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
import pytest

from livemos.agent.clock import SystemClock
from livemos.agent.errors import SourceError
from livemos.agent.sources.stdin import StdinSource


def source_of(sink: Any, file: Any, **settings: Any) -> StdinSource:
    source = StdinSource(name="pipe", file=file, sink=sink, clock=SystemClock(), **settings)
    source.start()
    return source


def test_samples_cut_anywhere_by_the_pipe_are_put_together(sink: Any) -> None:
    """A pipe knows bytes, not samples: one odd cut would turn all that follows into noise."""
    reading, writing = os.pipe()
    pcm = (np.arange(-4_000, 4_000, dtype="<i2") * 4).tobytes()
    with open(reading, "rb") as file:
        source = source_of(sink, file, sample_rate_hz=8_000)
        os.write(writing, pcm[:1_001])
        sink.wait_for(lambda: bool(sink.streams[0].blocks))
        os.write(writing, pcm[1_001:] + b"x")
        os.close(writing)
        assert source.wait(5)
    (stream,) = sink.streams
    np.testing.assert_array_equal(stream.samples(), np.frombuffer(pcm, "<i2") / np.float32(32_768))
    assert stream.closed == "end of the pipe"
    assert stream.wait_when_full
    assert source.statistics() == {"read_bytes": 16_001, "odd_tail_bytes": 1}


def test_two_channels_of_float_become_their_mean(sink: Any) -> None:
    """sox and ffmpeg write f32le, interleaved."""
    frames = np.array([[0.5, -0.5], [1.0, 0.0]], "<f4")
    source = source_of(sink, io.BytesIO(frames.tobytes()), channels=2, sample_format="f32le")
    assert source.wait(5)
    np.testing.assert_array_equal(sink.streams[0].samples(), [0.0, 0.5])


def test_a_quiet_pipe_can_be_stopped(sink: Any) -> None:
    """The agent ends within a second although the writer keeps the pipe open."""
    reading, writing = os.pipe()
    with open(reading, "rb") as file:
        source = source_of(sink, file)
        source.stop()
        assert source.wait(0)
    os.close(writing)
    assert sink.streams[0].closed == "stopped"
    assert not source.failed


class _BreaksAfter(io.BytesIO):
    """A device that goes away: some bytes, then an error of the operating system."""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if not data:
            raise OSError(5, "Input/output error")
        return data


def test_an_input_that_breaks_ends_its_stream_and_is_told_in_one_line(
    sink: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A stream left open would say "waiting" for ever, and exit code 0 that all was heard."""
    source = source_of(sink, _BreaksAfter(bytes(3_200)))
    assert source.wait(5)
    assert sink.streams[0].seconds() == pytest.approx(0.1)
    assert sink.streams[0].closed == "the pipe cannot be read further"
    assert source.failed
    assert caplog.messages == ["source pipe: standard input: Input/output error"]


def test_an_unknown_format_and_a_closed_input_are_refused(sink: Any, small_sink: Any) -> None:
    """Mistakes at start are told at start."""
    with pytest.raises(ValueError, match="s16le, f32le"):
        StdinSource(name="pipe", sample_format="mp3", sink=sink, clock=SystemClock())  # type: ignore[arg-type]
    closed = io.BytesIO()
    closed.close()
    with pytest.raises(SourceError, match="closed"):
        source_of(sink, closed)
    small_sink.room = 0
    with pytest.raises(SourceError, match="all 0 streams"):
        source_of(small_sink, io.BytesIO(b"ab"))
