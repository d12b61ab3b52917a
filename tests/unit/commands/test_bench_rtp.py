"""The benchmark of streams: its generator speaks RTP, its judgement checks every promise, its search ends."""

from __future__ import annotations

import socket
from collections import defaultdict

import pytest

from livemos.agent.commands.bench_rtp import Row, holds, search_largest
from livemos.agent.commands.load_generator import generate
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
