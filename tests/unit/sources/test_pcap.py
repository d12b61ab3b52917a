"""Captures through the whole agent: the same bytes on every run, the packaged model, the running daemon."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from material import CLIPS, load
from pydantic import ValidationError
from rtp_traffic import CaptureWriter, pcmu

from livemos.agent import capture_scorer
from livemos.agent.capture_scorer import CaptureScorer
from livemos.agent.codecs import make_encoder
from livemos.agent.commands.score import app as command_of_score
from livemos.agent.daemon import Agent
from livemos.agent.errors import SourceError
from livemos.agent.records import EventKind, FeedItem, FeedPayload, SegmentScore, SourceEvent
from livemos.agent.settings import GrpcSettings, PcapSourceSettings, Settings


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 s of clean speech as PCMU, every 20th packet lost after the 200th, and G.722 beside it."""
    speech = load(CLIPS[0])[: 8 * 16_000]
    writer = CaptureWriter()
    mu_law, wide = make_encoder("PCMU/8000"), make_encoder("G722/8000")
    for n in range(len(speech) // 320):
        wideband = speech[320 * n : 320 * n + 320]
        # halving by the mean of pairs is filter enough for a test of numbers
        narrow = wideband.reshape(-1, 2).mean(axis=1)
        if n < 200 or n % 20:
            writer.add(pcmu(n, payload=mu_law.encode(narrow), ssrc=1), 0.02 * n)
        writer.add(pcmu(n, payload_type=9, payload=wide.encode(wideband), ssrc=2), 0.02 * n + 0.001)
    return writer.write(tmp_path_factory.mktemp("call") / "call.pcap")


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The morning of a carrier: 300 calls that begin in one second, 0.2 s of each."""
    writer = CaptureWriter()
    for n in range(10):
        for ssrc in range(300):
            writer.add(pcmu(n, ssrc=0x1000 + ssrc), 0.02 * n + 5e-5 * ssrc)
    return writer.write(tmp_path_factory.mktemp("trunk") / "trunk.pcap")


def score(*arguments: str) -> bytes:
    command = [sys.executable, "-m", "livemos.agent", "score", *arguments]
    return subprocess.run(command, capture_output=True, check=True, timeout=50).stdout


def score_here(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, list[dict[str, str]], str]:
    """Exit code, rows and standard error of `livemos score ARGUMENTS`, without the start of another program."""
    with pytest.raises(SystemExit) as left:
        command_of_score([*map(str, arguments), "--format", "csv"])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), list(csv.DictReader(out.splitlines())), err


def test_the_score_log_of_a_capture_is_the_same_in_every_byte(call: Path) -> None:
    """An operator who replays a complaint must see what the alarm saw."""
    logs = [score(str(call), "--segments", "--format", "jsonl") for _ in range(2)]
    assert len({hashlib.sha256(log).hexdigest() for log in logs}) == 1
    assert logs[0].count(b'"what": "segment"') >= 28


def test_each_stream_of_a_capture_has_its_network_and_its_signal(call: Path) -> None:
    """Loss and jitter of one call say nothing about its neighbour."""
    streams, counts = CaptureScorer().score(call)
    narrow, wide = streams
    assert (narrow.media.codec, wide.media.codec) == ("PCMU/8000", "G722/8000")
    packets = narrow.media.expected_packets
    assert packets is not None and packets >= 380
    assert narrow.media.lost_packets == len([n for n in range(200, packets) if n % 20 == 0])
    assert wide.media.lost_packets == 0
    assert narrow.media.network_mos is not None and wide.media.network_mos is not None
    assert narrow.media.network_mos < 4.41
    assert narrow.clip is not None and wide.clip is not None
    assert narrow.clip.mos is not None and wide.clip.mos is not None
    assert narrow.clip.seconds == pytest.approx(8.0, abs=0.1)
    assert any(segment.concealed_ratio > 0 for segment in narrow.segments)
    assert counts["received_packets"] == (narrow.media.received_packets or 0) + (wide.media.received_packets or 0)


def test_a_capture_is_a_source_of_the_agent(call: Path) -> None:
    """The feed of a replay carries what the score log carries."""
    source = PcapSourceSettings(name="pcap", path=call)
    agent = Agent(Settings(grpc=GrpcSettings(port=0), sources=(source,)))
    scored = {stream.description.source_id.partition("/")[2]: stream for stream in CaptureScorer().score(call)[0]}
    items: list[FeedPayload] = []
    with agent.hub.listen() as listener, agent:
        ended = 0
        while ended < 2:
            item = listener.get(20)
            assert isinstance(item, FeedItem), "the replay did not end"
            items.append(item.payload)
            ended += isinstance(item.payload, SourceEvent) and item.payload.kind is EventKind.SOURCE_ENDED
        assert agent.wait(5)
    segments = [item for item in items if isinstance(item, SegmentScore)]
    for name, stream in scored.items():
        mine = [each.mos for each in segments if each.source_id == f"pcap/{name}"]
        assert len(mine) == len(stream.segments)
        both = [(a, b.mos) for a, b in zip(mine, stream.segments, strict=True) if b.mos is not None]
        assert both and all(a == pytest.approx(b, abs=1e-3) for a, b in both)


def test_calls_that_begin_in_one_second_are_heard_from_their_first_packet(trunk: Path) -> None:
    """A file is no flood: what a live port sheds would be missing from rows that say nothing was lost."""
    streams, counts = CaptureScorer().score(trunk)
    assert {stream.media.received_packets for stream in streams} == {10}
    assert len(streams) == 300
    assert all(stream.clip is not None and stream.clip.seconds == pytest.approx(0.2, abs=0.01) for stream in streams)
    assert not [name for name in counts if name.startswith(("cap_", "refused_"))]


def test_a_clock_that_was_set_back_costs_no_packet_and_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """NTP steps the machine that captures; an hour of media must not fall into one second and be shed there."""
    writer = CaptureWriter()
    for n in range(3_000):
        writer.add(pcmu(n), 0.02 * n - (3_600 if n >= 500 else 0))
    _, rows, told = score_here(capsys, writer.write(tmp_path / "stepped.pcap"))
    assert [(row["expected_packets"], row["lost_packets"], row["seconds"]) for row in rows] == [
        ("3000", "0", "60.0000")
    ]
    assert float(rows[0]["jitter_seconds"]) < 0.002
    assert "its clock was set back" in told


def test_streams_beyond_the_cap_are_told_and_are_exit_code_2(
    trunk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that is not there cannot say why it is not there."""
    monkeypatch.setattr(capture_scorer, "CaptureScorer", partial(CaptureScorer, streams=257))
    code, rows, err = score_here(capsys, trunk)
    assert (code, len(rows)) == (2, 257)
    assert len(err.splitlines()) == 1
    assert "packets not heard, more than 257 streams are open at once; split it" in err


def test_a_capture_without_a_stream_is_told_and_is_below_every_limit(
    call: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A check that heard nothing must not pass: the mirror port was the wrong one."""
    empty = CaptureWriter().write(tmp_path / "empty.pcap")
    code, rows, err = score_here(capsys, empty)
    assert (code, rows) == (0, [])
    assert f"{empty}: no RTP stream found in 0 packets" in err
    code, rows, err = score_here(capsys, "--fail-below", "1.0", empty, call)
    assert (code, len(rows)) == (1, 2)
    assert err.splitlines()[1:] == ["livemos: 1 of 3 streams below 1.0 or without a score"]


def test_captures_of_one_name_are_told_apart_in_the_score_log(
    call: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """a/call.pcap and b/call.PCAP: their streams have the same id, and capitals are no other format."""
    other = tmp_path / "call.PCAP"
    other.write_bytes(call.read_bytes())
    code, rows, _ = score_here(capsys, "--segments", call, other)
    assert code == 0
    assert list(rows[0])[-2:] == ["marks", "file"]
    assert {row["file"] for row in rows} == {str(call), str(other)}
    assert len({row["source_id"] for row in rows}) == 2


def test_what_is_no_capture_is_refused_by_name(tmp_path: Path) -> None:
    """The WAV beside the capture is picked by mistake."""
    path = tmp_path / "call.pcap"
    path.write_bytes(b"RIFF" + bytes(100))
    with pytest.raises(SourceError, match=r"call\.pcap: this is neither pcap nor pcapng"):
        CaptureScorer().score(path)


def test_a_capture_damaged_in_the_middle_is_scored_up_to_there(
    call: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """A disk's bad block is one line and a source that failed, no traceback and no silence; `score` keeps the rows."""
    damaged = bytearray(call.read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 400] = b"\xff" * 400
    path = tmp_path / "call.pcap"
    path.write_bytes(damaged)
    agent = Agent(Settings(grpc=GrpcSettings(port=0), sources=(PcapSourceSettings(name="pcap", path=path),)))
    ends: list[str] = []
    with agent.hub.listen() as listener, agent:
        segments = 0
        while len(ends) < 2:
            item = listener.get(20)
            assert isinstance(item, FeedItem), "the streams did not end"
            segments += isinstance(item.payload, SegmentScore)
            if isinstance(item.payload, SourceEvent) and item.payload.kind is EventKind.SOURCE_ENDED:
                ends.append(item.payload.detail)
        assert agent.wait(5)
    assert agent.failed
    assert segments >= 10
    assert all(detail.endswith("; the capture cannot be read further") for detail in ends)
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("livemos.agent.sources")]
    assert line.startswith(f"capture {path}: a record of ") and line.endswith("the file is damaged")
    code, rows, told = score_here(capsys, path)
    assert code == 2
    assert [float(row["seconds"]) for row in rows] == pytest.approx([4.0, 4.0], abs=0.3)
    assert f"capture {path} is damaged" in told


def test_a_capture_is_scored_for_each_listener_that_is_asked_for(call: Path) -> None:
    """`--profile` twice: two rows a stream, the profile in a column, the buffer's delay beside it."""
    table = score(str(call), "--profile", "ideal", "--profile", "fixed50", "--format", "jsonl").decode()
    rows = [json.loads(line) for line in table.splitlines()]
    assert [(row["source_id"], row["profile"], row["playout_delay_seconds"]) for row in rows] == [
        ("call/00000001", "ideal", 0.0),
        ("call/00000001@fixed50", "fixed50", 0.05),
        ("call/00000002", "ideal", 0.0),
        ("call/00000002@fixed50", "fixed50", 0.05),
    ]
    # nothing came late: what the telephone heard is what was sent
    assert rows[0]["mos"] == pytest.approx(rows[1]["mos"], abs=0.15)


def test_listener_profiles_are_set_in_the_settings_of_a_source(call: Path) -> None:
    """One name to write down, and subscribers filter by its label."""
    with pytest.raises(ValidationError, match="fixed50"):
        PcapSourceSettings(name="pcap", path=call, profiles=("fixed60",))  # type: ignore[arg-type]
    settings = PcapSourceSettings(name="pcap", path=call, profiles=("fixed200", "adaptive500"))
    agent = Agent(Settings(grpc=GrpcSettings(port=0), sources=(settings,)))
    with agent:
        assert agent.wait(20)
        labels = {each.description.source_id: each.description.labels for each in agent.hub.sources()}
    assert {name: dict(each) for name, each in labels.items()} == {
        "pcap/00000001": {"profile": "fixed200"},
        "pcap/00000001@adaptive500": {"profile": "adaptive500"},
        "pcap/00000002": {"profile": "fixed200"},
        "pcap/00000002@adaptive500": {"profile": "adaptive500"},
    }


def test_a_replay_is_more_than_fifty_times_as_fast_as_the_call(call: Path) -> None:
    """A night of captures must be scored before the next: two streams of 8 s in less than 0.32 s of this processor."""
    scorer = CaptureScorer()
    scorer.score(call)
    began = time.process_time()
    streams, _ = scorer.score(call)
    spent = time.process_time() - began
    heard = sum(stream.clip.seconds for stream in streams if stream.clip is not None)
    assert heard > 15.0
    assert heard / spent > 50.0


def test_the_score_log_is_the_same_for_one_worker_and_for_two(
    tmp_path: Path,
) -> None:
    """Who scores on more cores must not get other figures, nor events in another order."""
    capture, rng = CaptureWriter(), np.random.default_rng(4)
    for n in range(1_200):
        for ssrc in (1, 2, 3):
            if rng.random() > 0.02:
                noise = rng.integers(0, 256, 160, np.uint8).tobytes()
                capture.add(pcmu(n, ssrc=ssrc, payload=noise), 0.02 * n + 0.001 * ssrc)
    path = capture.write(tmp_path / "calls.pcap")
    alone, together = CaptureScorer(), CaptureScorer(workers=2)
    logs = []
    for scorer in (alone, together, together):
        streams, counts = scorer.score(path)
        text = repr([(each.segments, each.events, each.clip, each.media) for each in streams]) + repr(counts)
        logs.append(hashlib.sha256(text.encode()).hexdigest())
        assert sum(len(each.segments) for each in streams) > 128
    together.close()
    assert logs[0] == logs[1] == logs[2]
