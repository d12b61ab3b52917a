"""Batches of datagrams from a real socket: when they came, from whom, how long they were, where they were sent to."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from livemos.agent.rtp.addresses import transport
from livemos.agent.sources import multicast, receive_batch
from livemos.agent.sources.receive_batch import BatchReader, DatagramBatch, set_receive_buffer


@pytest.fixture(params=["recvmmsg", "one by one"])
def reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of reading; the second is that of systems without the first."""
    if request.param == "one by one":
        monkeypatch.setattr(receive_batch, "_recvmmsg", lambda: None)
    return str(request.param)


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A receiving socket and one connected to it."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        heard.bind(("127.0.0.1", 0))
        heard.setblocking(False)
        sender.connect(heard.getsockname())
        yield heard, sender


def test_datagrams_come_whole_in_order_and_with_their_sender(
    reading: str, sockets: tuple[socket.socket, socket.socket]
) -> None:
    """More than a batch waits: nothing may be lost between two reads."""
    heard, sender = sockets
    reader = BatchReader(heard, row_bytes=64, rows=8)
    sent = [bytes([n]) * (n + 1) for n in range(20)]
    for each in sent:
        sender.send(each)
    got = []
    while reader.read(time.monotonic()).count:
        batch = reader.batch
        got += [bytes(batch.datagram(row)) for row in range(batch.count)]
        assert batch.peer(0) == transport(*sender.getsockname())
    assert got == sent


def test_a_datagram_longer_than_a_row_is_told_by_its_length(
    reading: str, sockets: tuple[socket.socket, socket.socket]
) -> None:
    """The cap on the length of datagrams must see what was sent, not what the row could hold."""
    heard, sender = sockets
    reader = BatchReader(heard, row_bytes=64, rows=8)
    sender.send(bytes(1_000))
    batch = reader.read(time.monotonic())
    assert (batch.count, int(batch.sizes[0]), len(batch.datagram(0))) == (1, 1_000, 64)


def test_datagrams_carry_the_time_at_which_the_kernel_got_them(sockets: tuple[socket.socket, socket.socket]) -> None:
    """A thread that reads every few milliseconds would otherwise see jitter that is its own."""
    heard, sender = sockets
    reader = BatchReader(heard, row_bytes=64)
    for _ in range(200):  # where no socket was stamped before, the kernel begins a moment after it is asked to
        sender.send(b"?")
        threading.Event().wait(0.01)
        now = time.monotonic()
        if reader.read(now).arrivals[0] < now - 0.005:
            break
    sent_seconds = []
    for _ in range(4):
        sender.send(b"x")
        sent_seconds.append(time.monotonic())
        threading.Event().wait(0.03)
    now = time.monotonic()
    batch = reader.read(now)
    arrivals = batch.arrivals[: batch.count]
    assert batch.count == 4
    assert (arrivals <= now).all() and (np.diff(arrivals) > 0.02).all()
    np.testing.assert_allclose(arrivals, sent_seconds, atol=0.015)


def test_a_clock_that_was_set_gives_no_arrival_in_the_future_or_before_the_last(
    sockets: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernel stamps are of the wall clock: somebody may turn it between stamp and read."""
    heard, sender = sockets
    reader = BatchReader(heard, row_bytes=64)
    real = time.time_ns
    seen = []
    for shift_seconds in (0, -3_600, 3_600, -2, 2):
        sender.send(b"x")
        monkeypatch.setattr(receive_batch.time, "time_ns", lambda shift=shift_seconds: real() + shift * 10**9)
        now = time.monotonic()
        seen.append(float(reader.read(now).arrivals[0]))
        assert seen[-1] <= now
    assert seen == sorted(seen)


def test_a_wildcard_socket_tells_where_each_datagram_was_sent_to() -> None:
    """The kernel hands it every joined group's packets: those of another group are another stream's."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        heard.bind(("0.0.0.0", 0))
        heard.setblocking(False)
        multicast.join(heard, "239.8.7.6", "lo", ())
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        port = heard.getsockname()[1]
        reader = BatchReader(heard, row_bytes=64)
        for number, address in enumerate(("239.8.7.6", "127.0.0.1", "239.8.7.6")):
            sender.sendto(bytes([number]), (address, port))
        batch = reader.read(time.monotonic())
        assert [socket.inet_ntoa(batch.destinations[row, :4].tobytes()) for row in range(3)] == [
            "239.8.7.6",
            "127.0.0.1",
            "239.8.7.6",
        ]
        assert batch.keep(batch.destinations[:3, 0] == 239) == 1
        assert [batch.octets[row, 0] for row in range(batch.count)] == [0, 2]


@pytest.mark.parametrize(
    "peer", [("192.0.2.1", 5_004), ("2001:db8::1", 9), ("::ffff:192.0.2.7", 1), ("fe80::1%lo", 7, 0, 1)], ids=str
)
def test_an_address_survives_the_way_through_memory(peer: tuple[str, int]) -> None:
    """A sender that looks like two would be a collision with itself."""
    batch = DatagramBatch.empty(1, 64)
    batch.put(0, b"x", peer, 0.0)
    assert batch.peer(0) == transport(peer[0], peer[1])


def test_the_receive_buffer_is_what_was_asked_for_or_what_the_system_allows() -> None:
    """A buffer that silently stays small loses packets at the first pause of the thread."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        assert set_receive_buffer(opened, 1 << 16) >= 1 << 16
