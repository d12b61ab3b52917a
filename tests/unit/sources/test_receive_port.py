"""The thread of one port: what the kernel dropped reaches its streams, and its counters may be asked at any time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import ItemsView

import pytest
from recording import RecordingSink
from rtp_traffic import pcmu

from livemos.agent.clock import SystemClock
from livemos.agent.records import Mark
from livemos.agent.rtp.packet import build
from livemos.agent.sources import receive_port
from livemos.agent.sources.receive_batch import DatagramBatch
from livemos.agent.sources.receive_port import sum_of
from livemos.agent.sources.rtp import RtpSource


class ScriptedReader:
    """Stands for the kernel: one list of datagrams a read with its drop counter, then nothing."""

    def __init__(self, reads: list[tuple[list[bytes], int]]) -> None:
        self.reads = reads
        self.done = threading.Event()
        self.batch = DatagramBatch.empty(8, 1_500)

    def read(self, now_seconds: float) -> DatagramBatch:
        if not self.reads:
            self.done.set()
        datagrams, self.batch.drops = self.reads.pop(0) if self.reads else ([], self.batch.drops)
        self.batch.count = 0
        for row, datagram in enumerate(datagrams):
            self.batch.put(row, datagram, ("192.0.2.1", 5_000), now_seconds)
        return self.batch


def test_a_drop_marks_what_is_heard_next_of_a_stream_that_lost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was another stream's packet; this one's is marked as on the exact path, not at its next loss hours later."""
    packets = [build(pcmu(number)) for number in range(48)]
    reads = [(packets[start : start + 8], 0) for start in range(0, 40, 8)]
    reads += [([build(pcmu(0, ssrc=99))], 1), (packets[40:], 1)]
    reader = ScriptedReader(reads)
    monkeypatch.setattr(receive_port, "BatchReader", lambda *_, **__: reader)
    sink = RecordingSink()
    source = RtpSource(name="desk", host="127.0.0.1", port=0, sink=sink, clock=SystemClock())
    source.start()
    assert reader.done.wait(5.0)
    source.stop()
    (stream,) = sink.streams
    marked = [index for index, block in enumerate(stream.blocks) if block.marks]
    assert [stream.blocks[index].marks for index in marked] == [(Mark.CAPTURE_LOSS,)]
    assert sum(len(block.samples) for block in stream.blocks[: marked[0]]) == 40 * 160


class CountedMeanwhile(Counter[str]):
    """A receive thread that counts something for the first time while its counter is read, at the worst moment."""

    def items(self) -> ItemsView[str, int]:  # type: ignore[override]
        found = super().items()

        def read() -> object:
            for pair in found:
                yield pair
                self[f"new_{len(self)}_packets"] = 1

        return read()  # type: ignore[return-value]


def test_counters_of_several_ports_are_added_while_they_grow() -> None:
    """A status request must not fail because the first odd packet of a kind came in that moment."""
    ports: list[Counter[str]] = [Counter(received_packets=2), CountedMeanwhile(received_packets=3, dtls_packets=1)]
    assert sum_of(ports) == {"received_packets": 5, "dtls_packets": 1}
