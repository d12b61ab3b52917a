"""Captures through the whole agent: the same bytes on every run, the packaged model, the running daemon."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from material import CLIPS, load
from rtp_traffic import CaptureWriter, pcmu

from livemos.agent.capture_scorer import CaptureScorer
from livemos.agent.codecs import make_encoder
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


def score(*arguments: str) -> bytes:
    command = [sys.executable, "-m", "livemos.agent", "score", *arguments]
    return subprocess.run(command, capture_output=True, check=True, timeout=50).stdout


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


def test_what_is_no_capture_is_refused_by_name(tmp_path: Path) -> None:
    """The WAV beside the capture is picked by mistake."""
    path = tmp_path / "call.pcap"
    path.write_bytes(b"RIFF" + bytes(100))
    with pytest.raises(SourceError, match=r"call\.pcap: this is neither pcap nor pcapng"):
        CaptureScorer().score(path)
