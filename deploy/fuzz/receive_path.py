"""Coverage-guided fuzzing of the receive path with atheris: datagrams in, nothing but domain errors may come out.

    pip install atheris
    python deploy/fuzz/receive_path.py -atheris_runs=1000000 deploy/fuzz/corpus

An input is a list of datagrams, each as one octet (turns of 8 ms to wait before it, modulo 8), two octets of length and
the octets. `python deploy/fuzz/receive_path.py --write-corpus` writes the seeds beside this file. Without coverage,
`python -m livemos.agent.commands.receive_fuzz` pushes ten million mutated packets through the same path.
"""

from __future__ import annotations

import contextlib
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

try:
    import atheris
except ImportError:  # no wheel for every Python: the seeds are written and run without it
    atheris = None

with atheris.instrument_imports(include=["livemos"]) if atheris else contextlib.nullcontext():
    from livemos.agent.rtp.addresses import Transport
    from livemos.agent.rtp.packet import Packet, build
    from livemos.agent.rtp.payload_map import PayloadMap
    from livemos.agent.sources.receive_batch import DatagramBatch
    from livemos.agent.sources.receive_lanes import ReceiveLanes
    from livemos.agent.sources.rtp_receiver import RtpReceiver

TURN_SECONDS = 0.008
PAYLOAD_TYPES = {96: "opus/48000/2", 97: "red/8000", 98: "L16/16000", 101: "telephone-event/8000"}


class Swallow:
    """A sink whose streams take everything."""

    def open(self, description: object, *, wait_when_full: bool = False) -> Swallow:
        return self

    def write(self, block: object) -> None: ...
    def media(self, statistics: object) -> None: ...
    def state(self, state: object, reason: object = None) -> None: ...
    def event(self, kind: object, detail: str) -> None: ...
    def close(self, detail: str = "") -> None: ...


def datagrams(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(turns to wait, octets) of an input."""
    position = 0
    while position + 3 <= len(data):
        size = int.from_bytes(data[position + 1 : position + 3]) % 1_500
        yield data[position] % 8, data[position + 3 : position + 3 + size]
        position += 3 + size


def run_one(data: bytes) -> None:
    """One input through a fresh path."""
    receiver = RtpReceiver(
        name="fuzz",
        labels={},
        payload_map=PayloadMap(PAYLOAD_TYPES),
        reorder_wait_seconds=0.06,
        concealment="pitch",
        idle_seconds=1.0,
        sink=Swallow(),
        counts=Counter(),
        unix=lambda: 0.0,
    )
    lanes = ReceiveLanes(receiver, Transport("", 5_004), lanes=16, address_words=1)
    batch = DatagramBatch.empty(1, 9_000)
    turn = 0
    for wait, octets in datagrams(data):
        turn += wait
        batch.put(0, octets, ("192.0.2.1", 5_000), turn * TURN_SECONDS)
        lanes.hear(batch)
        receiver.tick(turn * TURN_SECONDS)
        lanes.sweep(turn * TURN_SECONDS)
    lanes.close("end")


def corpus() -> Iterator[tuple[str, bytes]]:
    """Seeds: a few packets of each kind the path tells apart."""

    def call(payload_type: int, payload: bytes, ticks: int) -> bytes:
        packets = (
            build(
                Packet(
                    payload_type=payload_type,
                    sequence_number=(65_533 + n) % 2**16,
                    timestamp=(2**32 - 2 * ticks + n * ticks) % 2**32,
                    ssrc=7,
                    marker=False,
                    payload=payload,
                )
            )
            for n in range(6)
        )
        return b"".join(b"\x02" + struct.pack("!H", len(each)) + each for each in packets)

    yield "pcmu", call(0, b"\x20\xa0" * 40, 80)
    yield "pcma", call(8, b"\x55\xd5" * 40, 80)
    yield "g722", call(9, b"\x12\x34" * 40, 80)
    yield "opus_pause", call(96, b"\x08", 960)
    yield "l16", call(98, b"\x01\x00" * 80, 80)
    yield "key_press", call(101, b"\x05\x8a\x00\xa0", 0)
    yield "comfort_noise", call(13, b"\x40", 160)
    yield "red", call(97, b"\x80\x01\x40\x04\x00" + b"\x20" * 8, 80)
    report = bytes([0x80, 201, 0, 1]) + (7).to_bytes(4)
    yield "rtcp", b"\x00" + struct.pack("!H", len(report)) + report


def main() -> None:
    """Seeds to disk, or fuzz."""
    if "--write-corpus" in sys.argv:
        folder = Path(__file__).parent / "corpus"
        folder.mkdir(exist_ok=True)
        for name, data in corpus():
            (folder / name).write_bytes(data)
        return
    if atheris is None:
        sys.exit("atheris is not installed; run: pip install atheris")
    atheris.Setup(sys.argv, run_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
