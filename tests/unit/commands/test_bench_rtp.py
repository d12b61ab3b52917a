"""The benchmark of streams: its generator speaks RTP, its judgement checks every promise, its search ends."""

from __future__ import annotations

import os
import socket
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from livemos.agent.commands.bench_rtp import Row, holds, search_largest
from livemos.agent.commands.load_generator import generate
from livemos.agent.commands.rtp_load import measure, running_agent
from livemos.agent.errors import ConfigError, SourceError
from livemos.agent.rtp.packet import Packet, parse


@pytest.mark.parametrize(("limit", "first"), [(500, 100), (37, 100), (1, 8), (700, 1)])
def test_the_search_ends_at_the_largest_number_that_holds(limit: int, first: int) -> None:
    """The figure people quote is the last row: it must hold, and a few per cent more must not."""
    tried: list[int] = []

    def run(count: int) -> Row:
        tried.append(count)
        return {"streams": count, "holds": count <= limit}

    *_, best = search_largest(first, run)
    assert best["holds"]
    assert int(str(best["streams"])) <= limit < 1.06 * int(str(best["streams"])) + 1
    assert len(tried) == len(set(tried)) < 20


@pytest.mark.parametrize(
    "fault",
    [{"socket_drops": 1}, {"cpu_share": 0.95}, {"latency_p99_ms": 151.0}, {"segments_received": 900}],
    ids=lambda fault: next(iter(fault)),
)
def test_a_run_that_breaks_one_promise_does_not_hold(fault: Row) -> None:
    """A number with dropped packets or late scores is no capacity."""
    good: Row = {
        "socket_drops": 0,
        "cpu_share": 0.8,
        "latency_p99_ms": 90.0,
        "segments_received": 1_000,
        "segments_expected": 1_000,
    }
    assert holds(good)
    assert not holds({**good, **fault})


def _measure(**given: Any) -> None:
    measure(
        1, **{"seconds": 1.0, "encoding": "PCMU/8000", "payload_type": 0, "core": None, "engine": "constant", **given}
    )


@pytest.mark.parametrize("core", [9_999, -1])
def test_a_core_that_is_not_there_is_answered_with_those_that_are(core: int) -> None:
    """In a container fewer cores may be used than the machine has, and not from 0 on."""
    with pytest.raises(ConfigError, match=rf"--pin-core {core}: .* cores {min(os.sched_getaffinity(0))}.*choose"):
        _measure(core=core)


@pytest.mark.parametrize("folder", ["empty", "nowhere"])
def test_a_folder_with_nothing_to_play_is_named(tmp_path: Path, folder: str) -> None:
    """The reader of a traceback from the generator looks for the fault in the agent."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "call.wav").touch()
    with pytest.raises(SourceError, match=rf"--clips .*{folder}: no FLAC file"):
        _measure(clips=tmp_path / folder)


def test_a_clip_that_is_no_audio_is_said_at_once_and_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The generator is another process: what stops it must not wait for the end of the run, nor be a row of zeros."""
    (tmp_path / "broken.flac").write_text("no audio")
    with pytest.raises(SourceError, match=r"the generator of the benchmark ended with code 1"):
        _measure(clips=tmp_path, seconds=60.0)
    said = capfd.readouterr().err.splitlines()
    assert [line for line in said if "broken.flac" in line] == said


def test_the_measured_agent_has_the_settings_of_the_benchmark_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator's sources would be scored beside the load, on the ports of the agent in service."""
    monkeypatch.setenv("LIVEMOS_CONFIG", str(tmp_path / "site.toml"))
    (tmp_path / "site.toml").write_text('[[sources]]\ntype = "rtp"\nname = "bridge"\nhost = "127.0.0.1"\nport = 0\n')
    monkeypatch.setenv("LIVEMOS_LIMITS__STREAMS", "1")
    monkeypatch.setenv("LIVEMOS_GRPC__REFLECTION", "maybe")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with running_agent(0, port, 0, "PCMU/8000", 2, None, "constant", None) as agent:
        variables = Path(f"/proc/{agent.pid}/environ").read_bytes().decode().split("\0")
    assert [each for each in variables if each.startswith("LIVEMOS_")] == ["LIVEMOS_LIMITS__STREAMS=10"]


def test_the_generator_sends_unbroken_streams_of_distinct_senders() -> None:
    """A generator that skips or repeats would charge the agent with faults of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        heard.bind(("127.0.0.1", 0))
        heard.setblocking(False)
        sent, _ = generate(port=heard.getsockname()[1], streams=30, seconds=1.0, encoding="PCMU/8000", payload_type=0)
        streams: defaultdict[int, list[Packet]] = defaultdict(list)
        for _ in range(sent):
            packet = parse(heard.recv(2_048))
            streams[packet.ssrc].append(packet)
    assert len(streams) == 30
    for packets in streams.values():
        first = packets[0]
        assert len(packets) >= 24
        for n, packet in enumerate(packets):
            assert packet.sequence_number == (first.sequence_number + n) % 2**16
            assert packet.timestamp == first.timestamp + 160 * n
            assert (packet.payload_type, len(packet.payload), packet.marker) == (0, 160, False)
