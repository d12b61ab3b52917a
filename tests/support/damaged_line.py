"""A UDP relay that loses, repeats, delays and reorders by a seed, where the kernel has no netem."""

from __future__ import annotations

import heapq
import random
import socket
import threading
import time
from types import TracebackType
from typing import Self


class DamagedLine:
    """`with DamagedLine(to_port, seed=1) as line:` what is sent to `line.port` arrives, damaged, at `to_port`.

    lost_ratio and repeated_ratio are of the datagrams, each decided alone; delay_seconds is the mean of an
    exponential delay cut at five times its mean, so that a packet in five overtakes when it is near the packet
    interval. The first and last packets of a stream pass at once, so that all agree on where it begins and ends:
    `lost_numbers` are the sequence numbers that never left. With all three at 0 it only gives the sender an address.
    """

    def __init__(
        self,
        to_port: int | None = None,
        *,
        seed: int,
        lost_ratio: float = 0.05,
        repeated_ratio: float = 0.01,
        delay_seconds: float = 0.008,
        last_packet: int = 295,
        own_port: int = 0,
    ) -> None:
        self._to = ("127.0.0.1", to_port or 0)
        self._random = random.Random(seed)
        self._lost_ratio, self._repeated_ratio, self._delay_seconds = lost_ratio, repeated_ratio, delay_seconds
        self._last_packet = last_packet
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", own_port))
        self.port = int(self._socket.getsockname()[1])
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="damaged line", daemon=True)
        self.lost_numbers: list[int] = []
        self.repeated_packets = 0
        self.passed_packets = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join(5)
        self._socket.close()

    @property
    def lost(self) -> int:
        return len(self.lost_numbers)

    def leads_to(self, port: int) -> None:
        """Where it leads, when that could not be known before its own port was."""
        self._to = ("127.0.0.1", port)

    def _run(self) -> None:
        waiting: list[tuple[float, int, bytes]] = []
        count = 0
        while not self._stopping.is_set() or waiting:
            now = time.monotonic()
            while waiting and waiting[0][0] <= now:
                self._socket.sendto(heapq.heappop(waiting)[2], self._to)
            self._socket.settimeout(min(0.05, max(0.0005, waiting[0][0] - now)) if waiting else 0.05)
            try:
                datagram, sender = self._socket.recvfrom(2_048)
            except (TimeoutError, ConnectionRefusedError):
                continue
            if sender == self._to:  # what the far end sends back goes nowhere
                continue
            if 192 <= datagram[1] <= 223:  # RTCP (RFC 5761) is neither damaged nor counted
                self._socket.sendto(datagram, self._to)
                continue
            for copy in range(self._copies(datagram, count)):
                delay = self._delay_seconds * min(self._random.expovariate(1.0), 5.0) if self._bad(count) else 0.0
                heapq.heappush(waiting, (time.monotonic() + delay, 2 * count + copy, datagram))
            count += 1

    def _bad(self, count: int) -> bool:
        return 5 <= count <= self._last_packet

    def _copies(self, datagram: bytes, count: int) -> int:
        """How often this datagram goes on: 0, 1 or 2 times."""
        lot = self._random.random()
        if not self._bad(count):
            lot = 1.0
        if lot < self._lost_ratio:
            self.lost_numbers.append(int.from_bytes(datagram[2:4], "big"))
            return 0
        self.passed_packets += 1
        if lot < self._lost_ratio + self._repeated_ratio:
            self.repeated_packets += 1
            return 2
        return 1
