"""A process of its own that plays N calls as RTP into a socket: `python -m livemos.agent.commands.load_generator`.

Every call sends a packet each 20 ms. As unrelated calls do, they begin at different times, evenly over half seconds:
their segments do not all fall due at once. Headers are made as arrays and packets sent many at a time, so that the
generator takes a small part of its core. It prints the packets sent, and how late the latest turn was.
"""

from __future__ import annotations

import argparse
import ctypes
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from livemos.agent.commands.rtp_player import PTIME_SECONDS, EncodedClip, demo_speech, encode
from livemos.agent.errors import LivemosError
from livemos.agent.records import Samples
from livemos.agent.resample import StreamResampler, to_mono

_SLICES = 20  # of one packet time: calls are sent in groups 1 ms apart
_CALLS_A_SECOND = 150  # that begin; an agent takes 200 new ones
_FIRST_SSRC = 0x5EED_0000
_HEADER_BYTES = 12
_LEVEL_DBOV = -26.0  # of the clips, RMS

Octets = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Material:
    """Payloads of all clips, one after the other: (P, N) uint8 and their sizes (P,)."""

    payloads: Octets
    sizes: npt.NDArray[np.uint64]
    timestamp_step: int


def material(encoding: str, clips: Path | None) -> Material:
    """The packaged clip, or every audio file of a folder, as payloads of 20 ms."""
    speech = [demo_speech()] if clips is None else [_read(file) for file in sorted(clips.glob("*.flac"))]
    encoded: list[EncodedClip] = [encode(samples, encoding) for samples in speech]
    payloads = [payload for clip in encoded for payload in clip.payloads]
    sizes = np.array([len(payload) for payload in payloads], np.uint64)
    table = np.zeros((len(payloads), int(sizes.max())), np.uint8)
    for row, payload in zip(table, payloads, strict=True):
        row[: len(payload)] = np.frombuffer(payload, np.uint8)
    return Material(table, sizes, encoded[0].timestamp_step)


def _read(file: Path) -> Samples:
    from livemos.agent.sources.audio_file import read_audio

    samples, rate_hz = read_audio(file)
    resampler = StreamResampler(rate_hz)
    mono = to_mono(samples)
    at_16k = np.concatenate([resampler.push(mono), resampler.flush()])
    gain = 10.0 ** (_LEVEL_DBOV / 20.0) / max(1e-6, float(np.sqrt(np.mean(at_16k**2))))
    return np.asarray(np.clip(at_16k * gain, -1.0, 1.0), np.float32)


def start_ticks(streams: int) -> int:
    """Packet times over which the calls begin: whole half seconds, so that segments are due evenly."""
    return 25 * max(1, -(-2 * streams // _CALLS_A_SECOND))


class _Group:
    """Calls that send at the same instants."""

    def __init__(self, calls: Sequence[int], streams: int, source: Material, payload_type: int) -> None:
        self._source = source
        number = np.array(calls, np.int64)
        self._begins = number * start_ticks(streams) // max(1, streams)
        self._numbers = number * 7919 % 65_536  # RFC 3550 section 5.1: a call begins anywhere
        self._offsets = number * 7919 % len(source.sizes)
        self.packets = np.zeros((len(calls), _HEADER_BYTES + source.payloads.shape[1]), np.uint8)
        self.packets[:, 0], self.packets[:, 1] = 0x80, payload_type
        self.packets[:, 8:12] = (_FIRST_SSRC + number).astype(">u4").view(np.uint8).reshape(-1, 4)
        self.sizes = np.zeros(len(calls), np.uint64)

    def fill(self, tick: int) -> slice:
        """Set the packets of a tick; which of them are sent (calls begin in order)."""
        ticks = tick - self._begins
        begun = int(np.count_nonzero(ticks >= 0))
        rows = (self._offsets + ticks) % len(self._source.sizes)
        self.packets[:, 2:4] = (ticks + self._numbers & 0xFFFF).astype(">u2").view(np.uint8).reshape(-1, 2)
        stamps = ticks * self._source.timestamp_step & 0xFFFF_FFFF
        self.packets[:, 4:8] = stamps.astype(">u4").view(np.uint8).reshape(-1, 4)
        self.packets[:, _HEADER_BYTES:] = self._source.payloads[rows]
        self.sizes[:] = self._source.sizes[rows] + _HEADER_BYTES
        return slice(0, begun)


Send = Callable[[slice], int]


def _sender(opened: socket.socket, group: _Group) -> Send:
    """Sends rows of a group: `sendmmsg` where there is one, else one by one."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "sendmmsg", None)
    if call is None:
        return lambda rows: sum(
            opened.send(packet[:size]) > 0 for packet, size in zip(group.packets[rows], group.sizes[rows], strict=True)
        )
    call.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
    count = np.arange(len(group.packets), dtype=np.uint64)
    vectors = np.zeros((len(count), 2), np.uint64)  # struct iovec
    vectors[:, 0] = group.packets.ctypes.data + count * np.uint64(group.packets.shape[1])
    heads = np.zeros((len(count), 8), np.uint64)  # struct mmsghdr
    heads[:, 2], heads[:, 3] = vectors.ctypes.data + count * np.uint64(16), 1

    def send(rows: slice) -> int:
        vectors[:, 1] = group.sizes
        sent = 0
        while sent < rows.stop:
            done = call(opened.fileno(), heads.ctypes.data + 64 * sent, rows.stop - sent, 0)
            if done <= 0:
                break
            sent += done
        return sent

    return send


def generate(
    *, port: int, streams: int, seconds: float, encoding: str, payload_type: int, clips: Path | None = None
) -> tuple[int, float]:
    """Send `streams` calls to 127.0.0.1:port for `seconds`; packets sent, and seconds the latest turn was late."""
    source = material(encoding, clips)
    groups = [_Group(range(index, streams, _SLICES), streams, source, payload_type) for index in range(_SLICES)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.connect(("127.0.0.1", port))
        turns = [(slot, group, _sender(opened, group)) for slot, group in enumerate(groups) if len(group.packets)]
        return _play(turns, round(seconds / PTIME_SECONDS))


def _play(turns: Sequence[tuple[int, _Group, Send]], ticks: int) -> tuple[int, float]:
    sent, latest = 0, 0.0
    start = time.monotonic()
    for tick in range(ticks):
        for slot, group, send in turns:
            wait = start + (tick + slot / _SLICES) * PTIME_SECONDS - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            latest = max(latest, -wait)
            rows = group.fill(tick)
            if rows.stop:
                sent += send(rows)
    return sent, latest


def main() -> None:
    """Command line of the generator process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--encoding", required=True)
    parser.add_argument("--payload-type", type=int, required=True)
    parser.add_argument("--clips", type=Path)
    given = parser.parse_args()
    try:
        sent, latest = generate(
            port=given.port,
            streams=given.streams,
            seconds=given.seconds,
            encoding=given.encoding,
            payload_type=given.payload_type,
            clips=given.clips,
        )
    except LivemosError as error:
        raise SystemExit(f"livemos: {error}") from error
    print(sent, f"{latest:.4f}")


if __name__ == "__main__":
    main()
