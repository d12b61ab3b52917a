"""One socket, one thread, one receiver: the thread wakes every few milliseconds and takes all that has come."""

from __future__ import annotations

import ipaddress
import selectors
import socket
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from livemos.agent.clock import Clock
from livemos.agent.rtp.addresses import Transport
from livemos.agent.rtp.admission import Caps
from livemos.agent.sources.receive_batch import BatchReader, DatagramBatch, word_count
from livemos.agent.sources.receive_lanes import ReceiveLanes
from livemos.agent.sources.rtp_receiver import RtpReceiver
from livemos.agent.sources.worker import Worker
from livemos.agent.thread_names import show_name

_DRAIN_BATCHES = 8  # read before time is looked at again
_BACKLOG_BATCHES = 256  # given up at once; more than a buffer of 64 MiB holds
_SWEEP_SECONDS = 0.05  # how often silence is noticed, and a stop
_GATHER_SECONDS = 0.012  # between two readings while datagrams come; so late may a gap be given up


class ReceivePort:
    """`counts` are the receiver's and this port's; `group`: only datagrams sent to it are heard. Owns `opened`."""

    def __init__(
        self,
        name: str,
        opened: socket.socket,
        receiver: RtpReceiver,
        counts: Counter[str],
        *,
        caps: Caps,
        group: str | None,
        clock: Clock,
    ) -> None:
        self.counts = counts
        self.worker = Worker(name, self._run)
        self._name, self._socket, self._receiver, self._clock = name, opened, receiver, clock
        self._group = group
        # a longer datagram is told by its length
        self._reader = BatchReader(opened, row_bytes=caps.datagram_bytes)
        local = Transport("", int(opened.getsockname()[1]))
        self._lanes = ReceiveLanes(receiver, local, lanes=caps.sources, address_words=word_count(opened.family))
        self._kernel_drops = 0

    def _run(self) -> None:
        show_name(f"receive-{self._name}")
        next_sweep_seconds = 0.0
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            while not self.worker.stopping.is_set():
                heard = self._drain()
                now = self._clock.monotonic()
                self._receiver.tick(now)
                if now >= next_sweep_seconds:
                    next_sweep_seconds = now + _SWEEP_SECONDS
                    self._lanes.sweep(now)
                if heard:
                    # let datagrams gather, so that one waking serves many
                    self.worker.stopping.wait(_GATHER_SECONDS)
                else:
                    waits = self._receiver.next_due_seconds is not None
                    selector.select(_GATHER_SECONDS if waits else _SWEEP_SECONDS)
        self._lanes.close("stopped")

    def _drain(self) -> int:
        """All that waits at the socket, a few batches at most; how many datagrams it was."""
        heard = 0
        for _ in range(_DRAIN_BATCHES):
            try:
                batch = self._reader.read(self._clock.monotonic())
            except OSError:  # the socket was closed by stop()
                break
            if not batch.count:
                break
            if batch.drops != self._kernel_drops:
                self._give_up_backlog(batch)
                break
            heard += batch.count
            self.counts["received_packets"] += batch.count
            self.counts["received_bytes"] += int(batch.sizes[: batch.count].sum())
            if self._group is not None:
                self.counts["wrong_group_packets"] += batch.keep(_sent_to(batch, self._group))
            self._lanes.hear(batch)
            if batch.count < len(batch.sizes):
                break
        return heard

    def _give_up_backlog(self, batch: DatagramBatch) -> None:
        """The kernel dropped datagrams: leave what waits behind them unheard too, in one piece.

        A full buffer lets in one datagram here and there. Streams with a hole at every packet cost several times what
        whole ones do, so a machine that was late once would stay late; after one long hole it begins afresh.
        """
        given_up = batch.count
        for _ in range(_BACKLOG_BATCHES):
            if batch.count < len(batch.sizes):
                break
            batch = self._reader.read(self._clock.monotonic())
            given_up += batch.count
        dropped = (batch.drops - self._kernel_drops) & 0xFFFF_FFFF
        self._kernel_drops = batch.drops
        self._lanes.capture_lost(given_up + dropped)


def _sent_to(batch: DatagramBatch, group: str) -> npt.NDArray[np.bool_]:
    """Which datagrams were sent to the group: the kernel hands a wildcard socket those of all joined groups."""
    wanted = np.frombuffer(ipaddress.ip_address(group).packed.ljust(16, b"\0"), np.uint8)
    return np.asarray((batch.destinations[: batch.count] == wanted).all(axis=1))


def sum_of(counts: Sequence[Counter[str]]) -> dict[str, int]:
    """Counters of several ports as one, while their threads go on counting."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update(dict(each))  # copied in one step: a name counted for the first time would end the iteration
    return dict(total)
