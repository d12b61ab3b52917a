"""More than the socket can hold, and more senders than there is room for: counted, told, and no memory lost."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from receive_ways import Datagram, Way
from recording import RecordingSink
from rtp_traffic import pcmu

from livemos.agent.clock import SystemClock
from livemos.agent.commands.receive_fuzz import rss_mib
from livemos.agent.records import EventKind
from livemos.agent.rtp.packet import build
from livemos.agent.sources import receive_port
from livemos.agent.sources.receive_batch import DatagramBatch
from livemos.agent.sources.rtp import RtpSource


@pytest.fixture
def overflowing() -> Iterator[tuple[RtpSource, RecordingSink]]:
    """A source with the smallest receive buffer the system gives."""
    sink = RecordingSink()
    source = RtpSource(name="desk", host="127.0.0.1", port=0, receive_buffer_bytes=1, sink=sink, clock=SystemClock())
    source.start()
    yield source, sink
    source.stop()


def until(done: Callable[[], bool]) -> None:
    """Wait for the source's thread, by its own counters."""
    pause = threading.Event()
    for _ in range(1_000):
        if done():
            return
        pause.wait(0.005)
    raise AssertionError("it did not happen within 5 s")


def test_what_the_kernel_drops_is_counted_and_told_apart_from_the_network(
    overflowing: tuple[RtpSource, RecordingSink],
) -> None:
    """Loss of this machine's own making must never be taken for loss of the line."""
    source, sink = overflowing
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", source.port))
        sent = 0

        def send(packets: int) -> None:
            nonlocal sent
            for _ in range(packets):
                sender.send(build(pcmu(sent)))
                sent += 1

        def heard() -> bool:
            send(1)
            return source.statistics().get("opened_streams", 0) > 0

        until(heard)
        send(2_000)

        def told() -> bool:
            send(1)  # the kernel tells with the next datagram it keeps
            return source.statistics().get("capture_lost_packets", 0) > 0

        until(told)
        dropped = source.statistics()["capture_lost_packets"]
        assert dropped + source.statistics()["received_packets"] <= sent
    (stream,) = sink.streams
    assert EventKind.CAPTURE_LOSS in stream.event_kinds()


class ScriptedReader:
    """Stands for the kernel: gives one list of datagrams a read, and its drop counter; then nothing."""

    rows = 8

    def __init__(self, reads: list[tuple[list[bytes], int]]) -> None:
        self.reads = reads
        self.batch = DatagramBatch.empty(self.rows, 1_500)

    def read(self, now_seconds: float) -> DatagramBatch:
        datagrams, self.batch.drops = self.reads.pop(0) if self.reads else ([], self.batch.drops)
        self.batch.count = 0
        for row, datagram in enumerate(datagrams):
            self.batch.put(row, datagram, ("192.0.2.1", 5_000), now_seconds)
        return self.batch


def test_what_waits_behind_a_drop_is_given_up_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """One long hole a stream, not one at every packet: those cost more than the machine has to give."""
    reads: list[tuple[list[bytes], int]] = []
    reader = ScriptedReader(reads)
    monkeypatch.setattr(receive_port, "BatchReader", lambda *_, **__: reader)
    sink = RecordingSink()
    source = RtpSource(name="desk", host="127.0.0.1", port=0, sink=sink, clock=SystemClock())
    packets = [build(pcmu(number)) for number in range(100)]
    lists = [packets[start : start + 8] for start in range(0, 40, 8)]
    reads += [(lists[0], 0), (lists[1], 0)]
    reads += [(lists[2], 5), (lists[3], 9), (lists[4][:3], 9)]  # the buffer was full; then empty again
    reads += [(packets[60:63], 9), ([], 9), (packets[63:66], 9)]
    source.start()
    until(lambda: source.statistics().get("received_packets", 0) == 22)
    source.stop()
    counts = source.statistics()
    assert counts["capture_lost_packets"] == 8 + 8 + 3 + 9
    (stream,) = sink.streams
    assert stream.event_kinds().count(EventKind.CAPTURE_LOSS) == 1
    assert stream.statistics[-1].received_packets == 22


def test_a_machine_that_is_late_again_and_again_tells_so_once_a_second() -> None:
    """Hundreds of streams with an event for each drop would be what makes it late."""
    way = Way(fast=True)
    for n in range(150):
        now = 0.02 * n
        way.hear([Datagram(now, build(pcmu(n)))], now)
        if n >= 50:
            way.receiver.capture_lost(1)
    (stream,) = way.sink.streams
    told = [kind for kind, _ in stream.events if kind is EventKind.CAPTURE_LOSS]
    assert len(told) == 2  # at 1.0 s and at 2.0 s of 3.0
    assert way.receiver.senders == 1
    way.close()


def test_a_flood_of_packets_and_of_senders_leaves_memory_flat() -> None:
    """An agent beside a bridge runs for months: what each packet and each sender leaves behind adds up."""
    way = Way(fast=True)
    rng = np.random.default_rng(1)
    payload = rng.integers(0, 256, 160, np.uint8).tobytes()
    peaks = []
    turn = 0
    for part in range(4):
        for n in range(150 * part, 150 * (part + 1)):
            turn += 1
            now = turn * 0.02
            calls = [
                Datagram(now, build(pcmu(n, ssrc=ssrc, payload=payload)), ("192.0.2.1", 5_000 + ssrc))
                for ssrc in range(20)
            ]
            strangers = [
                Datagram(now, build(pcmu(0, ssrc=int(ssrc))), ("192.0.2.66", int(ssrc) & 0xFFFF))
                for ssrc in rng.integers(2**20, 2**32, 80)
            ]
            way.hear([*calls, *strangers], now)
            way.sweep(now)
        for stream in way.sink.streams:
            stream.segments.clear()
        gc.collect()
        peaks.append(rss_mib())
    assert len(way.sink.streams) == 20
    assert way.receiver.senders <= 4_096
    assert peaks[-1] - peaks[1] < 8.0
    way.close()
