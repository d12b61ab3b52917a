"""Files as streams, and the reader behind `livemos score`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from livemos.agent.clock import ManualClock, SystemClock
from livemos.agent.daemon import Agent
from livemos.agent.errors import SourceError
from livemos.agent.records import EventKind, FeedItem, SourceEvent, StreamState
from livemos.agent.settings import FileSourceSettings, GrpcSettings, LimitSettings, Settings
from livemos.agent.sources.file import FileSource, audio_files, read_audio

RAMP = np.linspace(-0.5, 0.5, 8_000, dtype=np.float32)


def wav(path: Path, samples: np.ndarray = RAMP, rate: int = 8_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path


def run(sink: Any, path: Path, **settings: Any) -> FileSource:
    """Play to the end on a clock that does not wait."""
    source = FileSource(**{"name": "tape", "path": path, "sink": sink, "clock": ManualClock(), **settings})
    source.start()
    assert source.wait(10)
    source.stop()
    return source


@pytest.mark.parametrize("pace", ["live", "fast"])
def test_a_file_is_one_stream_of_all_its_samples(sink: Any, tmp_path: Path, pace: str) -> None:
    """The score of a file is the score of what is in it, at either pace."""
    source = run(sink, wav(tmp_path / "a.wav"), pace=pace)
    (stream,) = sink.streams
    np.testing.assert_array_equal(stream.samples(), RAMP)
    assert stream.description.source_id == "tape/a.wav"
    assert stream.states == [(StreamState.ACTIVE, None)]
    assert stream.closed is not None
    assert stream.wait_when_full is (pace == "fast")
    assert source.statistics()["read_files"] == 1


def test_live_blocks_are_ready_when_their_last_sample_is_due(sink: Any, tmp_path: Path) -> None:
    """Latency is counted from here; 20 ms blocks, as from a sound card."""
    run(sink, wav(tmp_path / "a.wav"))
    blocks = sink.streams[0].blocks
    assert {len(block.samples) for block in blocks} == {160}
    assert [block.ready_monotonic_seconds for block in blocks] == pytest.approx(np.arange(1, 51) * 0.02)


def test_a_folder_is_one_stream_a_file_and_a_bad_file_does_not_end_it(sink: Any, tmp_path: Path) -> None:
    """A night's run over a thousand files goes on behind the broken one."""
    wav(tmp_path / "b.wav")
    wav(tmp_path / "deep" / "c.flac")
    (tmp_path / "a.wav").write_text("not audio")
    (tmp_path / "notes.txt").write_text("no")
    source = run(sink, tmp_path, pace="fast")
    assert [stream.description.source_id for stream in sink.streams] == ["tape/b.wav", "tape/deep/c.flac"]
    assert source.statistics()["refused_files"] == 1


def test_stereo_is_heard_as_the_mean_of_its_channels(sink: Any, tmp_path: Path) -> None:
    """The one rule for stereo everywhere."""
    run(sink, wav(tmp_path / "a.wav", np.stack([RAMP, np.zeros_like(RAMP)], axis=1)), pace="fast")
    np.testing.assert_allclose(sink.streams[0].samples(), RAMP / 2, atol=1e-7)


def test_a_loop_goes_round_in_one_stream_until_it_is_stopped(sink: Any, tmp_path: Path) -> None:
    """For demonstrations: a stream that never ends."""
    source = FileSource(
        name="tape", path=wav(tmp_path / "a.wav"), pace="fast", loop=True, sink=sink, clock=SystemClock()
    )
    source.start()
    sink.wait_for(lambda: bool(sink.streams) and sink.streams[0].seconds() > 3)
    source.stop()
    assert source.wait(0)
    assert len(sink.streams) == 1
    assert sink.streams[0].closed is not None


def test_a_looped_folder_goes_round_faster_than_it_is_scored(tmp_path: Path) -> None:
    """Reading outruns scoring: the second round meets streams of the first, and waits for them."""
    for name in ("a.wav", "b.wav"):
        wav(tmp_path / name, np.tile(RAMP, 3))
    source = FileSourceSettings(name="tape", path=tmp_path, pace="fast", loop=True)
    agent = Agent(Settings(grpc=GrpcSettings(port=0), sources=(source,)))
    ended: list[str] = []
    with agent.hub.listen() as listener, agent:
        while len(ended) < 6:
            item = listener.get(10)
            assert isinstance(item, FeedItem), "the loop came to its end"
            if isinstance(item.payload, SourceEvent) and item.payload.kind is EventKind.SOURCE_ENDED:
                ended.append(item.payload.source_id)
    assert set(ended[:2]) == set(ended[2:4]) == {"tape/a.wav", "tape/b.wav"}
    assert agent.sources[0].statistics()["refused_files"] == 0


def test_a_folder_of_more_files_than_streams_is_heard_to_its_last(tmp_path: Path) -> None:
    """At full speed reading outruns scoring: a file that finds no room waits for the ones before it."""
    for number in range(6):
        wav(tmp_path / f"{number}.wav", np.tile(RAMP, 3))
    source = FileSourceSettings(name="tape", path=tmp_path, pace="fast")
    agent = Agent(Settings(grpc=GrpcSettings(port=0), limits=LimitSettings(streams=2), sources=(source,)))
    with agent:
        assert agent.wait(10)
    counts = agent.sources[0].statistics()
    assert (counts["read_files"], counts["refused_files"], counts["read_samples"]) == (6, 0, 6 * 3 * len(RAMP))


def test_a_looped_folder_of_broken_files_ends(sink: Any, tmp_path: Path) -> None:
    """Going round for ever without a sample would keep a core busy for nothing."""
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_text("not audio")
    source = run(sink, tmp_path, loop=True)
    assert source.statistics()["refused_files"] == 2


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_what_libsndfile_reads_comes_with_its_rate_and_channels(tmp_path: Path, suffix: str) -> None:
    """The rate is never assumed: 16 kHz read as 48 kHz plays three times too fast."""
    samples, rate = read_audio(wav(tmp_path / f"a.{suffix}", np.stack([RAMP, -RAMP], axis=1), rate=22_050))
    assert (samples.shape, samples.dtype, rate) == ((8_000, 2), np.float32, 22_050)
    np.testing.assert_allclose(samples[1_000:7_000, 0], RAMP[1_000:7_000], atol=0.1)


def test_other_containers_are_read_through_ffmpeg(tmp_path: Path) -> None:
    """Phones record m4a, browsers webm."""
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(RAMP[None, :], format="fltp", layout="mono")
        frame.sample_rate = 16_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    samples, rate = read_audio(path)
    assert rate == 16_000
    assert samples.shape[1] == 1
    assert abs(len(samples) - 8_000) < 2_048


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("text.wav", b"This is a letter and no sound.\n" * 20, "is it an audio file"),
        ("empty.wav", b"", "is empty"),
        ("none.wav", None, "not found"),
        ("noise.raw", bytes(1_000), "is it an audio file"),
    ],
)
def test_what_is_no_audio_is_refused_in_one_line_that_names_the_file(
    sink: Any, tmp_path: Path, name: str, content: bytes | None, part: str
) -> None:
    """`livemos score` prints it as it is; the source says the same at start."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=part) as refused:
        read_audio(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    with pytest.raises(SourceError, match=part):
        FileSource(name="tape", path=path, sink=sink, clock=ManualClock()).start()
    assert sink.streams == []


def test_a_wav_file_that_was_written_into_a_pipe_is_read(tmp_path: Path) -> None:
    """A recorder that could not go back left the length of its data at zero."""
    path = wav(tmp_path / "a.wav")
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = bytes(4)
    path.write_bytes(data)
    samples, rate = read_audio(path)
    assert rate == 8_000
    np.testing.assert_array_equal(samples[:, 0], RAMP)


def test_a_flac_file_that_was_written_into_a_pipe_is_read(sink: Any, tmp_path: Path) -> None:
    """`ffmpeg ... -f flac - > a.flac` cannot go back and write how long it became, which the format allows."""
    path = wav(tmp_path / "a.flac", RAMP, 16_000)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the length is the last 36 bits before the checksum of the samples
    data[22:26] = bytes(4)
    path.write_bytes(data)
    samples, rate = read_audio(path)
    assert rate == 16_000
    np.testing.assert_allclose(samples[:, 0], RAMP, atol=1e-4)
    run(sink, path, pace="fast")
    assert len(sink.streams[0].samples()) == len(RAMP)


@pytest.mark.skipif(sys.platform != "linux", reason="names are text elsewhere")
def test_a_name_that_is_no_utf_8_is_read_and_shown(sink: Any, tmp_path: Path) -> None:
    """An archive of an older system: its names are Latin-1, and a source id must travel as UTF-8."""
    path = wav(tmp_path / "a.wav").rename(tmp_path / os.fsdecode(b"caf\xe9.wav"))
    assert len(read_audio(path)[0]) == len(RAMP)
    run(sink, tmp_path, pace="fast")
    description = sink.streams[0].description
    assert (description.source_id, description.detail) == ("tape/caf\\xe9.wav", f"{tmp_path}/caf\\xe9.wav")
    path.write_text("not audio")
    with pytest.raises(SourceError, match=r"caf\\xe9\.wav: not audio"):
        read_audio(path)


@pytest.mark.parametrize("rate", [500, 768_000])
def test_a_sample_rate_that_cannot_be_resampled_is_refused(tmp_path: Path, rate: int) -> None:
    """A header's nonsense is the file's fault: the next file is to be read."""
    with pytest.raises(SourceError, match=rf"a\.wav: sample rates lie between .* got {rate}"):
        read_audio(wav(tmp_path / "a.wav", rate=rate))


def test_a_name_that_is_too_long_is_refused() -> None:
    """The shell expanded a variable to a whole line."""
    with pytest.raises(SourceError, match="cannot be opened"):
        audio_files("x" * 300 + ".wav")


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes in folders")
def test_a_pipe_is_refused_with_the_way_to_hear_one(tmp_path: Path) -> None:
    """`livemos score <(...)`: a pipe has no size and cannot be read twice, and is not empty."""
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(SourceError, match=r"is a pipe or a device; .* `livemos run --stdin`"):
        read_audio(tmp_path / "pipe.wav")


def test_a_file_with_a_header_and_no_samples_is_refused(tmp_path: Path) -> None:
    """A recorder that was killed leaves such files."""
    with pytest.raises(SourceError, match="holds no samples"):
        read_audio(wav(tmp_path / "a.wav", np.zeros(0, np.float32)))


def test_a_folder_without_audio_is_refused(tmp_path: Path) -> None:
    """The path was mistyped."""
    with pytest.raises(SourceError, match="no audio file in it"):
        audio_files(tmp_path)
