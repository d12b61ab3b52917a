"""The fast way from datagrams to streams: packets that only continue a stream wait in arrays, and go on as one run.

A lane is the expectation of one steady stream: its next header, its sender's address, its packets' length. All headers
of a batch are compared with the lanes at once; what fits is copied to its lane in one step. A lane is emptied when its
stream has something to do with the samples, or when anything else concerns its sender. Every other datagram takes the
exact path (agent/sources/rtp_receiver.py), in the order of arrival, after its lane was emptied and closed: the outcome
is the same in every bit.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from livemos.agent.rtp.addresses import Transport
from livemos.agent.rtp.ingest import PacketRun
from livemos.agent.rtp.sequence import PROBATION_PACKETS
from livemos.agent.sources.receive_batch import DatagramBatch
from livemos.agent.sources.rtp_receiver import RtpReceiver
from livemos.agent.sources.rtp_sender import SUCCESSION_NUMBERS
from livemos.agent.sources.rtp_stream import SHORTEST_STALL_SECONDS

SLOTS = 64  # packets a lane holds: 0.5 s of 10 ms packets, with room for a burst
LARGEST_PAYLOAD_BYTES = 320  # 40 ms of G.711
_HEADER_BYTES = 12
_SILENT_SECONDS = 0.75 * SHORTEST_STALL_SECONDS  # a lane as quiet as this is closed before it could be a stall

Indices = npt.NDArray[np.intp]


class ReceiveLanes:
    """Datagrams to one local address: `hear` for each batch, `sweep` as its receiver's, `close` at the end.

    address_words: how many 8-byte words of a socket address tell two senders apart.
    """

    def __init__(self, receiver: RtpReceiver, local: Transport, *, lanes: int, address_words: int) -> None:
        self._receiver, self._local, self._address_words = receiver, local, address_words
        self._free = list(range(lanes - 1, -1, -1))
        self._by_ssrc: dict[int, int] = {}
        self._ssrcs = [0] * lanes
        self._sorted: tuple[npt.NDArray[np.uint32], Indices] | None = None
        # what the next packet of each lane must be
        self._head = np.zeros(lanes, np.uint32)  # version, flags, marker and payload type: the first two octets
        self._number = np.zeros(lanes, np.int64)
        self._timestamp = np.zeros(lanes, np.int64)
        self._ticks = np.zeros(lanes, np.int64)
        self._size = np.zeros(lanes, np.int64)  # of a datagram
        self._address = np.zeros((lanes, address_words), np.uint64)
        # what the sender's caps still let through, in the second of the newest packet and in a new one
        self._second = np.zeros(lanes, np.int64)
        self._left = np.zeros(lanes, np.int64)
        self._left_at_first = np.zeros(lanes, np.int64)
        # what has come
        self._open = np.zeros(lanes, np.bool_)
        self._fill = np.zeros(lanes, np.int64)
        self._due = np.zeros(lanes, np.int64)  # packets with which the lane is emptied
        self._last_seconds = np.zeros(lanes)
        self._packet_samples_16k = np.zeros(lanes)
        self._payloads = np.empty((lanes * SLOTS, LARGEST_PAYLOAD_BYTES), np.uint8)
        self._arrivals = np.empty(lanes * SLOTS)

    @property
    def open_lanes(self) -> int:
        """Streams that take the fast way now."""
        return len(self._by_ssrc)

    def hear(self, batch: DatagramBatch) -> None:
        """All datagrams of a batch."""
        start = 0
        while start < batch.count:
            # the caps count in whole seconds: none of them begins inside one step
            second = math.floor(batch.arrivals[start])
            end = int(np.searchsorted(batch.arrivals[: batch.count], second + 1))
            self._hear_second(batch, start, end)
            start = end

    def sweep(self, now: float) -> None:
        """Close the lanes that fell silent, then the receiver's sweep."""
        if self._by_ssrc:
            silent = np.flatnonzero(self._open & (now - self._last_seconds > _SILENT_SECONDS))
            for lane in self._order() if self._receiver.has_unsettled else silent:
                self._shut(int(lane))
        self._receiver.sweep(now)

    def flush(self) -> None:
        """Hand on what waits in any lane."""
        for lane in self._order():
            self._empty(int(lane))

    def capture_lost(self, packets: int) -> None:
        """As the receiver's: what is marked is the next packet, which must not pass by in a lane."""
        self._shut_all()
        self._receiver.capture_lost(packets)

    def close(self, detail: str) -> None:
        """Hand on everything and end all streams."""
        self._shut_all()
        self._receiver.close(detail)

    def _order(self) -> list[int]:
        return list(self._by_ssrc.values())

    def _hear_second(self, batch: DatagramBatch, start: int, end: int) -> None:
        rows = np.arange(start, end)
        sizes = batch.sizes[start:end]
        if not self._by_ssrc or not self._receiver.has_room(end - start, int(sizes.sum()), batch.arrivals[start]):
            self._hear_exactly(batch, rows)
            return
        head = batch.octets.view(">u4")[start:end, :3].astype(np.uint32)
        addresses = batch.addresses.view(np.uint64)[start:end, : self._address_words]
        lane, known = self._lanes_of(head[:, 2])
        rank = _ranks(np.where(known, lane, -1))
        second = math.floor(batch.arrivals[start])
        left = np.where(self._second[lane] == second, self._left[lane], self._left_at_first[lane])
        number = self._number[lane] + rank & 0xFFFF
        timestamp = self._timestamp[lane] + rank * self._ticks[lane] & 0xFFFF_FFFF
        fits = (
            known
            & (head[:, 0] == (self._head[lane] << np.uint32(16) | number.astype(np.uint32)))
            & (head[:, 1] == timestamp)
            & (sizes == self._size[lane])
            & (self._fill[lane] + rank < SLOTS)
            & (rank < left)
            & (addresses == self._address[lane]).all(axis=1)
        )
        if not fits.all():
            fits = self._set_aside(batch, rows, lane, known, fits, addresses)
        self._second[lane[fits]], self._left[lane[fits]] = second, left[fits] - rank[fits] - 1
        self._take(batch, rows[fits], lane[fits], rank[fits])
        if not fits.all():
            self._hear_exactly(batch, rows[~fits])

    def _lanes_of(self, ssrcs: npt.NDArray[np.uint32]) -> tuple[Indices, npt.NDArray[np.bool_]]:
        if self._sorted is None:
            all_ssrcs = np.fromiter(self._by_ssrc, np.uint32, len(self._by_ssrc))
            all_lanes = np.fromiter(self._by_ssrc.values(), np.intp, len(self._by_ssrc))
            order = np.argsort(all_ssrcs)
            self._sorted = all_ssrcs[order], all_lanes[order]
        sorted_ssrcs, lanes = self._sorted
        place = np.minimum(np.searchsorted(sorted_ssrcs, ssrcs), len(sorted_ssrcs) - 1)
        return lanes[place], sorted_ssrcs[place] == ssrcs

    def _set_aside(
        self,
        batch: DatagramBatch,
        rows: Indices,
        lane: Indices,
        known: npt.NDArray[np.bool_],
        fits: npt.NDArray[np.bool_],
        addresses: npt.NDArray[np.uint64],
    ) -> npt.NDArray[np.bool_]:
        """Which rows may take the fast way after all: none of a lane with an odd packet, or a newcomer."""
        odd = np.zeros(len(self._open), np.bool_)
        odd[lane[known & ~fits]] = True
        strangers = np.flatnonzero(~known)
        seen: set[int] = set()
        for index in strangers:
            datagram = batch.datagram(rows[index])
            if self._receiver.is_newcomer(datagram, self._local, seen):
                odd |= self._may_precede(addresses[index], int.from_bytes(datagram[2:4]))
        for each in np.flatnonzero(odd):
            self._shut(int(each))
        return fits & ~odd[lane]

    def _may_precede(self, address: npt.NDArray[np.uint64], number: int) -> npt.NDArray[np.bool_]:
        """Lanes whose stream a newcomer with this number could go on: they have to be at the same point in time.

        Where several streams come from its address, only the nearness of the numbers counts (RtpReceiver); the margin
        covers what waits in the lane, what the batch still holds of it, and the newcomer's packets on probation.
        """
        same: npt.NDArray[np.bool_] = self._open & (self._address == address).all(axis=1)
        if np.count_nonzero(same) > 1:
            ahead = (number - (self._number - 1) + 0x8000 & 0xFFFF) - 0x8000
            same &= (ahead > -SLOTS) & (ahead <= SUCCESSION_NUMBERS + PROBATION_PACKETS + SLOTS)
        return same

    def _take(self, batch: DatagramBatch, rows: Indices, lane: Indices, rank: npt.NDArray[np.int64]) -> None:
        """Copy packets that fit to their lanes, and hand on what is due."""
        if not len(rows):
            return
        sizes = batch.sizes[rows] - _HEADER_BYTES
        self._receiver.count_run(len(rows), int(batch.sizes[rows].sum()), batch.arrivals[rows[0]])
        slots = lane * SLOTS + self._fill[lane] + rank
        self._arrivals[slots] = batch.arrivals[rows]
        for size in np.unique(sizes):
            alike = sizes == size
            payloads = batch.octets[rows[alike], _HEADER_BYTES : _HEADER_BYTES + size]
            self._payloads[slots[alike], :size] = payloads
        lanes, counts = np.unique(lane, return_counts=True) if rank.any() else (lane, np.ones(len(lane), np.int64))
        self._fill[lanes] += counts
        self._number[lanes] = self._number[lanes] + counts & 0xFFFF
        self._timestamp[lanes] = self._timestamp[lanes] + counts * self._ticks[lanes] & 0xFFFF_FFFF
        self._last_seconds[lane] = batch.arrivals[rows]  # of several the last is kept
        for each in lanes[self._fill[lanes] >= self._due[lanes]]:
            self._empty(int(each))

    def _hear_exactly(self, batch: DatagramBatch, rows: Indices) -> None:
        heard: dict[int, int] = {}
        for row in rows:
            datagram = batch.datagram(row)
            if len(datagram) >= _HEADER_BYTES:
                ssrc = int.from_bytes(datagram[8:12])
                if ssrc in self._by_ssrc:
                    self._shut(self._by_ssrc[ssrc])
                heard[ssrc] = row
            # the size as sent decides, not what the row could hold
            whole = datagram if len(datagram) == batch.sizes[row] else bytes(int(batch.sizes[row]))
            self._receiver.hear(whole, batch.peer(row), self._local, float(batch.arrivals[row]))
        for ssrc, row in heard.items():
            self._open_lane(ssrc, batch, row)

    def _open_lane(self, ssrc: int, batch: DatagramBatch, row: int) -> None:
        """Give the stream a lane if it is steady and `row` came from its sender."""
        steady = self._receiver.steady(self._local, ssrc, batch.peer(row))
        if steady is None or not self._free or steady.payload_bytes > LARGEST_PAYLOAD_BYTES:
            return
        last_seconds = self._receiver.last_seconds(self._local, ssrc)
        if batch.arrivals[row] - last_seconds > _SILENT_SECONDS:
            return  # its packets are shed; the sweep has to see that it is silent
        lane = self._free.pop()
        self._by_ssrc[ssrc], self._sorted = lane, None
        self._receiver.set_laned(self._local, ssrc, True)
        self._head[lane] = 0x8000 | steady.payload_type
        self._number[lane], self._timestamp[lane] = steady.sequence_number, steady.timestamp
        self._ticks[lane], self._size[lane] = steady.ticks, _HEADER_BYTES + steady.payload_bytes
        self._address[lane] = batch.addresses.view(np.uint64)[row, : self._address_words]
        self._packet_samples_16k[lane] = steady.samples_16k
        now = float(batch.arrivals[row])
        self._second[lane] = math.floor(now)
        self._left[lane], self._left_at_first[lane] = self._receiver.packets_left(
            self._local, ssrc, int(self._size[lane]), now
        )
        self._fill[lane], self._open[lane] = 0, True
        self._last_seconds[lane] = last_seconds
        self._ssrcs[lane] = ssrc
        self._set_due(lane)

    def _set_due(self, lane: int) -> None:
        wanted = self._receiver.wanted_samples(self._local, self._ssrcs[lane])
        self._due[lane] = min(SLOTS, max(1, math.ceil(wanted / self._packet_samples_16k[lane])))

    def _empty(self, lane: int) -> None:
        """Hand on what waits in a lane; it stays open."""
        count = int(self._fill[lane])
        if not count:
            return
        slots = slice(lane * SLOTS, lane * SLOTS + count)
        size = int(self._size[lane]) - _HEADER_BYTES
        run = PacketRun(payloads=self._payloads[slots, :size], arrivals=self._arrivals[slots].tolist())
        self._fill[lane] = 0
        self._receiver.hear_run(self._local, self._ssrcs[lane], run)
        self._set_due(lane)

    def _shut_all(self) -> None:
        for lane in self._order():
            self._shut(lane)

    def _shut(self, lane: int) -> None:
        """Hand on what waits, and close the lane."""
        self._empty(lane)
        ssrc = self._ssrcs[lane]
        del self._by_ssrc[ssrc]
        self._sorted, self._open[lane] = None, False
        self._receiver.set_laned(self._local, ssrc, False)
        self._free.append(lane)


def _ranks(lane: Indices) -> npt.NDArray[np.int64]:
    """Per row, how many rows before it have the same lane."""
    rank = np.zeros(len(lane), np.int64)
    order = np.argsort(lane, kind="stable")
    ordered = lane[order]
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    if len(begins) < len(lane):
        lengths = np.diff(np.append(begins, len(lane)))
        rank[order] = np.arange(len(lane)) - np.repeat(begins, lengths)
    return rank
