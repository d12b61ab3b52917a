"""Mutated packets through the whole receive path in this process: lanes, receiver, sessions, codecs, segments.

    python -m livemos.agent.commands.receive_fuzz --packets 10000000 --seed 1 [--skip N]

A healthy stream plays beside them, and alone through a second path; its segments must be the same in every bit. Nothing
is scored: the segments are what scores are made of. The run is split in rounds of a fixed number of packets, each with
a seed of its own and with fresh streams, so that `--skip` goes on where an earlier run ended. Ends with status 1 when
an exception escapes, a sample of the healthy stream differs, or memory grows.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from livemos.agent.errors import CapacityError
from livemos.agent.reasons import Reason
from livemos.agent.records import (
    SEGMENT_SAMPLES,
    AudioBlock,
    EventKind,
    MediaStatistics,
    StreamDescription,
    StreamState,
)
from livemos.agent.ring import RingBank
from livemos.agent.rtp.addresses import Transport
from livemos.agent.rtp.admission import Caps
from livemos.agent.rtp.packet import Packet, build
from livemos.agent.rtp.payload_map import PayloadMap
from livemos.agent.sources.receive_batch import DatagramBatch
from livemos.agent.sources.receive_lanes import ReceiveLanes
from livemos.agent.sources.rtp_receiver import RtpReceiver
from livemos.agent.stream import Stream

ROUND_PACKETS = 100_000  # 8 s of the healthy stream
_TURN_SECONDS, _TURN_PACKETS = 0.008, 100  # 12,500 packets a second of the streams' time
_SWEEP_TURNS = 6
_HEAD_START_TURNS = 30  # the healthy stream is there first: a flood of new SSRCs keeps later ones out, as it should
_SENDERS = 24
_STREAMS = 256
_HEALTHY_SSRC, _HEALTHY_PEER = 0x600D_600D, ("192.0.2.200", 40_000)
_GROWTH_MIB = 48.0  # after the first rounds; ring rows are touched as they are first used
_LOCAL = Transport("", 5_004)
CAPS = Caps(sources=_STREAMS, new_ssrcs_per_second=100, source_packets_per_second=10_000)
_PAYLOAD_TYPES = {96: "opus/48000/2", 97: "red/8000", 98: "L16/16000", 101: "telephone-event/8000"}


@dataclass
class _Outcome:
    """What a round brought."""

    packets: int
    healthy: str  # hash over the healthy stream's segments
    counts: Counter[str]


class _SegmentHash:
    """A StreamWriter over a real stream: hashes the segments of one stream, takes and drops those of the others."""

    def __init__(self, description: StreamDescription, bank: RingBank, digest: hashlib._Hash | None) -> None:
        self._bank, self._digest = bank, digest
        self._stream = Stream(description, bank, wait_when_full=False, started_unix_seconds=0.0, on_due=lambda: None)
        self._out = np.empty(SEGMENT_SAMPLES, np.float32)

    def write(self, block: AudioBlock) -> None:
        self._stream.write(block)
        self._take()

    def wanted_samples(self) -> float:
        return self._stream.wanted_samples()

    def media(self, statistics: MediaStatistics) -> None:
        del statistics

    def state(self, state: StreamState, reason: Reason | None = None) -> None:
        del state, reason

    def event(self, kind: EventKind, detail: str) -> None:
        del kind, detail

    def close(self, detail: str = "") -> None:
        del detail
        self._stream.close()
        self._take()
        self._bank.release(self._stream.row)

    def _take(self) -> None:
        while self._stream.due():
            due = self._stream.take(self._out)
            if self._digest is not None:
                self._digest.update(f"{due.segment_index} {due.whole} {due.concealed_ratio}".encode())
                self._digest.update(self._out.tobytes())


class _Sink:
    def __init__(self, bank: RingBank) -> None:
        self._bank = bank
        self.digest = hashlib.sha256()

    def open(self, description: StreamDescription, *, wait_when_full: bool = False) -> _SegmentHash:
        if self._bank.in_use() >= _STREAMS:
            raise CapacityError("full")
        healthy = description.source_id == f"fuzz/{_HEALTHY_SSRC:08x}"
        return _SegmentHash(description, self._bank, self.digest if healthy else None)


class _Path:
    """One receive path on a clock of its own."""

    def __init__(self, bank: RingBank) -> None:
        self.counts: Counter[str] = Counter()
        self.sink = _Sink(bank)
        self.receiver = RtpReceiver(
            name="fuzz",
            labels={},
            payload_map=PayloadMap(_PAYLOAD_TYPES),
            reorder_wait_seconds=0.06,
            concealment="pitch",
            idle_seconds=1.0,
            sink=self.sink,
            counts=self.counts,
            unix=lambda: 0.0,
            caps=CAPS,
        )
        self.lanes = ReceiveLanes(self.receiver, _LOCAL, lanes=_STREAMS, address_words=1)
        self.batch = DatagramBatch.empty(512, 9_000)

    def turn(self, number: int, datagrams: list[tuple[bytes, tuple[str, int]]]) -> None:
        """A turn of the receive thread."""
        now = number * _TURN_SECONDS
        for row, (octets, peer) in enumerate(datagrams):
            self.batch.put(row, octets, peer, now - _TURN_SECONDS / 2)
        self.batch.count = len(datagrams)
        self.lanes.hear(self.batch)
        self.receiver.tick(now)
        if number % _SWEEP_TURNS == 0:
            self.lanes.sweep(now)


class Mutator:
    """Packets of `_SENDERS` senders, most of them in order, many of them damaged in one of a dozen ways."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._number = rng.integers(0, 2**16, _SENDERS)
        self._timestamp = rng.integers(0, 2**32, _SENDERS)
        self._ssrc = rng.integers(0, 2**32, _SENDERS)
        self._type = rng.choice([0, 0, 0, 8, 9, 96, 97, 98, 101, 13, 77], _SENDERS)
        self._size = rng.choice([1, 80, 160, 160, 240, 320], _SENDERS)

    def datagrams(self, count: int) -> list[tuple[bytes, tuple[str, int]]]:
        """The next `count`."""
        senders = self._rng.integers(0, _SENDERS, count).tolist()
        fates = self._rng.random(count).tolist()
        noise = self._rng.bytes(count * 400)
        return [
            (self._next(sender, fate, noise[400 * row : 400 * row + 400]), ("192.0.2.1", 10_000 + sender // 3))
            for row, (sender, fate) in enumerate(zip(senders, fates, strict=True))
        ]

    def _next(self, sender: int, fate: float, noise: bytes) -> bytes:
        size = int(self._size[sender])
        self._number[sender] = (self._number[sender] + 1) % 2**16
        self._timestamp[sender] = (self._timestamp[sender] + size) % 2**32
        packet = Packet(
            payload_type=int(self._type[sender]),
            sequence_number=int(self._number[sender]),
            timestamp=int(self._timestamp[sender]),
            ssrc=int(self._ssrc[sender]),
            marker=False,
            payload=noise[64 : 64 + size],
        )
        whole = build(packet)
        return whole if fate >= 0.4 else self._damage(sender, whole, noise)

    def _damage(self, sender: int, whole: bytes, noise: bytes) -> bytes:
        kind, at = noise[0] % 14, noise[1] * 256 + noise[2]
        if kind < 6:
            self._change_sender(kind, sender, at, noise)
            return whole
        damaged = bytearray(whole)
        if kind == 6:
            return whole[: at % (len(whole) + 1)]
        if kind == 7:
            return noise[3 : 3 + at % 397]
        if kind == 8:
            damaged[noise[4] % 2] = noise[3]  # version and flags, or marker and payload type
        elif kind == 9:
            damaged[8:12] = _HEALTHY_SSRC.to_bytes(4)  # the healthy stream's SSRC from another address
        elif kind == 10:
            damaged[2:4] = noise[3:5]  # one number out of place
        elif kind == 11:
            damaged += noise * 30  # longer than any media packet
        else:
            for place in noise[3:8]:
                damaged[place % len(damaged)] ^= noise[8]
        return bytes(damaged)

    def _change_sender(self, kind: int, sender: int, value: int, noise: bytes) -> None:
        """What changes for all packets of a sender that follow."""
        if kind == 0:
            self._number[sender] = value
        elif kind == 1:
            self._number[sender] = (self._number[sender] - 1) % 2**16  # the same number once more
        elif kind == 2:
            self._timestamp[sender] = int.from_bytes(noise[3:7])
        elif kind == 3:
            if noise[7] < 25:  # seldom: the cap on new senders would shed most packets
                self._ssrc[sender] = int.from_bytes(noise[3:7])
        elif kind == 4:
            self._type[sender] = noise[3] & 0x7F
        else:
            self._size[sender] = 1 + noise[3] % 320


def _healthy(turns: int) -> Iterator[bytes]:
    """A packet of PCMU noise each 20 ms, one in two and a half turns."""
    rng = np.random.default_rng(600)
    for n in range(turns):
        payload = rng.integers(0, 256, 160, np.uint8).tobytes()
        yield build(
            Packet(
                payload_type=0,
                sequence_number=(65_000 + n) % 2**16,
                timestamp=(2**32 - 8_000 + 160 * n) % 2**32,
                ssrc=_HEALTHY_SSRC,
                marker=False,
                payload=payload,
            )
        )


def play_round(seed: int, packets: int, bank: RingBank, *, mutated: bool = True) -> _Outcome:
    """One round; without `mutated` the healthy stream is alone."""
    path = _Path(bank)
    mutator = Mutator(np.random.default_rng(seed))
    turns = _HEAD_START_TURNS + -(-packets // _TURN_PACKETS)
    healthy = _healthy(turns)
    for turn in range(1, turns + 1):
        datagrams = mutator.datagrams(_TURN_PACKETS) if mutated and turn > _HEAD_START_TURNS else []
        if int(turn * 0.4) > int((turn - 1) * 0.4):
            datagrams.insert(turn % (len(datagrams) + 1), (next(healthy), _HEALTHY_PEER))
        path.turn(turn, datagrams)
    path.lanes.close("end of the round")
    return _Outcome((turns - _HEAD_START_TURNS) * _TURN_PACKETS, path.sink.digest.hexdigest(), path.counts)


def rss_mib() -> float:
    """Resident memory of this process; 0 where there is no /proc."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4_096 / 2**20
    except OSError:
        return 0.0


def fuzz(packets: int, seed: int, *, skip: int = 0, tell: bool = True, round_packets: int = ROUND_PACKETS) -> int:
    """Rounds until `packets` have gone through; 0 when all was well, else 1 with the reason on standard error."""
    bank = RingBank(_STREAMS)
    alone = play_round(0, round_packets, bank, mutated=False).healthy
    counts: Counter[str] = Counter()
    steady_mib, started, done = 0.0, time.monotonic(), skip
    for number in range(skip // round_packets, -(-packets // round_packets)):
        outcome = play_round(seed * 1_000_003 + number, round_packets, bank)
        done += outcome.packets
        counts.update(outcome.counts)
        if outcome.healthy != alone:
            print(f"round {number}: the healthy stream changed", file=sys.stderr)
            return 1
        now_mib = rss_mib()
        if number - skip // round_packets < 3:
            steady_mib = max(steady_mib, now_mib)
        elif now_mib > steady_mib + _GROWTH_MIB:
            print(f"round {number}: memory grew from {steady_mib:.0f} to {now_mib:.0f} MiB", file=sys.stderr)
            return 1
        if tell:
            pace = (done - skip) / (time.monotonic() - started)
            print(f"{done} packets, {pace:.0f}/s, {now_mib:.0f} MiB", flush=True)
    if tell:
        print(dict(sorted(counts.items())))
    return 0


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Mutated packets through the receive path, a healthy stream beside.")
    parser.add_argument("--packets", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--skip", type=int, default=0, help="packets that an earlier run has done")
    given = parser.parse_args()
    sys.exit(fuzz(given.packets, given.seed, skip=given.skip))


if __name__ == "__main__":
    main()
