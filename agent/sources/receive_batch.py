"""Many datagrams in one call: `recvmmsg` into memory laid out once, with kernel time stamps and the drop counter.

Where the C library has no recvmmsg (other systems than Linux, 32 bits), datagrams are read one by one into the same
memory, stamped when they are read.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import ipaddress
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from livemos.agent.rtp.addresses import Transport, transport

BATCH_DATAGRAMS = 512
ADDRESS_BYTES = 32  # a sockaddr_in6 has 28; what the kernel leaves stays zero
_CONTROL_BYTES = 128
_TIMESTAMPNS, _RXQ_OVFL, _RCVBUFFORCE = 35, 40, 33  # asm-generic/socket.h; Python names none of them
_PKTINFO, _PKTINFO6 = 8, 50  # linux/in.h, linux/in6.h
_CMSG_HEAD_BYTES = 16  # size_t length, int level, int type
_OLDEST_SECONDS = 5.0  # a stamp further back is a clock that was set, not a datagram that waited
_KNOWN_ADDRESSES = 4_096

# struct mmsghdr of 64-bit Linux
_MMSGHDR = np.dtype(
    {
        "names": ["name", "namelen", "iov", "iovlen", "control", "controllen", "flags", "len"],
        "formats": ["u8", "u4", "u8", "u8", "u8", "u8", "u4", "u4"],
        "offsets": [0, 8, 16, 24, 32, 40, 48, 56],
        "itemsize": 64,
    }
)


@dataclass(slots=True)
class DatagramBatch:
    """The newest datagrams, `count` of them, in the order of their arrival. Rows are overwritten by the next read.

    octets: (B, R) uint8. sizes: (B,), as sent, so larger than R where the row holds only the beginning. addresses:
    (B, 32) uint8, socket addresses as the kernel writes them. arrivals: (B,) monotonic seconds, never falling.
    destinations: where they were sent to, (B, 16) uint8, of sockets asked for it. drops: the kernel's counter.
    """

    octets: npt.NDArray[np.uint8]
    sizes: npt.NDArray[np.int64]
    addresses: npt.NDArray[np.uint8]
    arrivals: npt.NDArray[np.float64]
    destinations: npt.NDArray[np.uint8]
    count: int = 0
    drops: int = 0
    _transports: dict[bytes, Transport] = field(default_factory=dict)

    @classmethod
    def empty(cls, rows: int, row_bytes: int) -> DatagramBatch:
        """Room for `rows` datagrams; row_bytes is rounded up to whole words."""
        return cls(
            octets=np.zeros((rows, -(-row_bytes // 8) * 8), np.uint8),
            sizes=np.zeros(rows, np.int64),
            addresses=np.zeros((rows, ADDRESS_BYTES), np.uint8),
            arrivals=np.zeros(rows),
            destinations=np.zeros((rows, 16), np.uint8),
        )

    def put(self, row: int, datagram: bytes, peer: tuple[Any, ...], arrival_seconds: float) -> None:
        """Set one row; for readers without recvmmsg, and for traffic made in memory."""
        kept = min(len(datagram), self.octets.shape[1])
        self.octets[row, :kept] = np.frombuffer(datagram, np.uint8, kept)
        self.sizes[row] = len(datagram)
        self.addresses[row] = np.frombuffer(_socket_address(peer), np.uint8)
        self.arrivals[row] = arrival_seconds
        self.count = row + 1

    def keep(self, wanted: npt.NDArray[np.bool_]) -> int:
        """Keep the rows that are wanted, in their order; how many were not."""
        left_out = self.count - int(wanted.sum())
        if left_out:
            rows = np.flatnonzero(wanted)
            for column in (self.octets, self.sizes, self.addresses, self.arrivals, self.destinations):
                column[: len(rows)] = column[rows]
            self.count = len(rows)
        return left_out

    def datagram(self, row: int) -> memoryview:
        """As many octets as were kept."""
        return memoryview(self.octets[row])[: min(int(self.sizes[row]), self.octets.shape[1])]

    def peer(self, row: int) -> Transport:
        """Who sent it."""
        raw = self.addresses[row].tobytes()
        known = self._transports.get(raw)
        if known is None:
            if len(self._transports) >= _KNOWN_ADDRESSES:
                self._transports.clear()
            known = self._transports[raw] = _transport_of(raw)
        return known


def set_receive_buffer(opened: socket.socket, wanted_bytes: int) -> int:
    """Ask for a receive buffer, over the system's limit where this process may; what was granted, as Linux counts."""
    try:
        opened.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, wanted_bytes)
    except OSError:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted_bytes)
    return opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


class BatchReader:
    """Reads one non-blocking UDP socket. `read` until it gives fewer datagrams than the batch has rows."""

    def __init__(self, opened: socket.socket, *, row_bytes: int, rows: int = BATCH_DATAGRAMS) -> None:
        self.batch = DatagramBatch.empty(rows, row_bytes)
        self._socket = opened
        self._last_seconds = 0.0
        self._recvmmsg = _recvmmsg()
        if self._recvmmsg is not None:
            opened.setsockopt(socket.SOL_SOCKET, _RXQ_OVFL, 1)
            opened.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
        self._control = np.zeros((rows, _CONTROL_BYTES), np.uint8)
        row_pointers = np.arange(rows, dtype=np.uint64)
        octets, addresses = self.batch.octets, self.batch.addresses
        self._vectors = np.zeros((rows, 2), np.uint64)  # struct iovec: address, length
        self._vectors[:, 0] = octets.ctypes.data + row_pointers * np.uint64(octets.shape[1])
        self._vectors[:, 1] = octets.shape[1]
        self._heads = np.zeros(rows, _MMSGHDR)
        self._heads["name"] = addresses.ctypes.data + row_pointers * np.uint64(ADDRESS_BYTES)
        self._heads["iov"] = self._vectors.ctypes.data + row_pointers * np.uint64(16)
        self._heads["iovlen"] = 1
        self._heads["control"] = self._control.ctypes.data + row_pointers * np.uint64(_CONTROL_BYTES)
        self._heads_pointer = ctypes.c_void_p(self._heads.ctypes.data)

    def read(self, now_seconds: float) -> DatagramBatch:
        """What waits, at most a batch; `now_seconds` is the monotonic clock's."""
        batch = self.batch
        batch.count = self._read_many(now_seconds) if self._recvmmsg is not None else self._read_each(now_seconds)
        return batch

    def _read_many(self, now_seconds: float) -> int:
        heads, batch = self._heads, self.batch
        heads["namelen"], heads["controllen"] = ADDRESS_BYTES, _CONTROL_BYTES
        assert self._recvmmsg is not None
        flags = socket.MSG_DONTWAIT | socket.MSG_TRUNC  # the length as sent, also where it does not fit
        count = int(self._recvmmsg(self._socket.fileno(), self._heads_pointer, len(heads), flags, None))
        if count <= 0:
            if ctypes.get_errno() == errno.EBADF:
                raise OSError(errno.EBADF, "the socket was closed")
            return 0  # nothing waits, or an ICMP answer to something else
        batch.sizes[:count] = heads["len"][:count]
        self._stamp(count, now_seconds)
        return count

    def _stamp(self, count: int, now_seconds: float) -> None:
        """Control messages come in a fixed order: time stamp, drops where there were any, destination."""
        batch, control = self.batch, self._control[:count]
        longs, words = control.view(np.int64), control.view(np.int32)
        stamped = (words[:, 2] == socket.SOL_SOCKET) & (words[:, 3] == _TIMESTAMPNS)
        age = (time.time_ns() - (longs[:, 2] * 1_000_000_000 + longs[:, 3])) * 1e-9
        age = np.where(stamped & (age < _OLDEST_SECONDS), np.maximum(age, 0.0), 0.0)
        arrivals = np.maximum(now_seconds - age, self._last_seconds)
        batch.arrivals[:count] = np.maximum.accumulate(arrivals)
        self._last_seconds = float(batch.arrivals[count - 1])
        counted = (words[:, 10] == socket.SOL_SOCKET) & (words[:, 11] == _RXQ_OVFL)
        lengths = self._heads["controllen"][:count]
        counted &= lengths >= 52
        if counted.any():
            batch.drops = int(control[np.flatnonzero(counted)[-1], 48:52].view(np.uint32)[0])
        rest = np.where(counted, 56, 32)
        if int(lengths.max()) > int(rest.min()):
            self._note_destinations(count, rest)

    def _note_destinations(self, count: int, rest: npt.NDArray[np.int64]) -> None:
        batch, control = self.batch, self._control
        batch.destinations[:count] = 0
        for start in (32, 56):
            head = control[:count, start : start + _CMSG_HEAD_BYTES].copy().view(np.int32)
            data = start + _CMSG_HEAD_BYTES
            here = rest == start
            four = here & (head[:, 2] == socket.IPPROTO_IP) & (head[:, 3] == _PKTINFO)
            six = here & (head[:, 2] == socket.IPPROTO_IPV6) & (head[:, 3] == _PKTINFO6)
            batch.destinations[:count][four, :4] = control[:count][four, data + 8 : data + 12]
            batch.destinations[:count][six] = control[:count][six, data : data + 16]

    def _read_each(self, now_seconds: float) -> int:
        count = 0
        arrival_seconds = self._last_seconds = max(self._last_seconds, now_seconds)
        while count < len(self.batch.sizes):
            try:
                datagram, peer = self._socket.recvfrom(65_536)
            except OSError:
                break
            self.batch.put(count, datagram, peer, arrival_seconds)
            count += 1
        return count


def _recvmmsg() -> Any | None:
    if not sys.platform.startswith("linux") or ctypes.sizeof(ctypes.c_void_p) != 8 or sys.byteorder != "little":
        return None
    call = getattr(ctypes.CDLL(None, use_errno=True), "recvmmsg", None)
    if call is not None:
        call.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]
        call.restype = ctypes.c_int
    return call


@functools.lru_cache(maxsize=_KNOWN_ADDRESSES)
def _socket_address(peer: tuple[Any, ...]) -> bytes:
    """A sockaddr_in or sockaddr_in6, padded with zeros."""
    host, port = str(peer[0]).partition("%")[0], int(peer[1])
    address = ipaddress.ip_address(host)
    head = (socket.AF_INET if address.version == 4 else socket.AF_INET6).to_bytes(2, sys.byteorder)
    head += port.to_bytes(2, "big")
    if address.version == 4:
        return (head + address.packed).ljust(ADDRESS_BYTES, b"\0")
    scope = int(peer[3]) if len(peer) > 3 else 0
    return (head + bytes(4) + address.packed + scope.to_bytes(4, sys.byteorder)).ljust(ADDRESS_BYTES, b"\0")


def _transport_of(raw: bytes) -> Transport:
    family, port = int.from_bytes(raw[:2], sys.byteorder), int.from_bytes(raw[2:4], "big")
    if family == socket.AF_INET:
        return transport(socket.inet_ntop(socket.AF_INET, raw[4:8]), port)
    host, scope = socket.inet_ntop(socket.AF_INET6, raw[8:24]), int.from_bytes(raw[24:28], sys.byteorder)
    return transport(f"{host}%{_interface_name(scope)}" if scope else host, port)


def _interface_name(scope: int) -> str:
    try:
        return socket.if_indextoname(scope)
    except OSError:
        return str(scope)


def word_count(family: int) -> int:
    """How many 8-byte words of a socket address tell two senders of a socket of `family` apart."""
    return 1 if family == socket.AF_INET else ADDRESS_BYTES // 8
