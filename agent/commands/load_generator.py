"""A process of its own that plays N calls as RTP into a socket: `python -m livemos.agent.commands.load_generator`.

Every call sends a packet each 20 ms. As unrelated calls do, they begin at different times, evenly over half a second:
their segments do not all fall due at once.
"""

from __future__ import annotations

import argparse
import socket
import struct
import time

from livemos.agent.commands.rtp_player import PTIME_SECONDS, demo_speech, encode

_SLICES = 20  # of one packet time: calls are sent in groups 1 ms apart
_START_TICKS = 25  # packets in the half second over which calls begin


def generate(*, port: int, streams: int, seconds: float, encoding: str, payload_type: int) -> int:
    """Send `streams` calls to 127.0.0.1:port for `seconds`; returns packets sent."""
    clip = encode(demo_speech(), encoding)
    count = len(clip.payloads)
    header = struct.Struct("!BBHII")
    calls = [(0x5EED_0000 + index, index * 7919 % count, index * _START_TICKS // streams) for index in range(streams)]
    groups = [calls[index::_SLICES] for index in range(_SLICES)]
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect(("127.0.0.1", port))
    sent = 0
    start = time.monotonic()
    for tick in range(round(seconds / PTIME_SECONDS)):
        for slot, group in enumerate(groups):
            wait = start + (tick + slot / _SLICES) * PTIME_SECONDS - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            for ssrc, offset, begin in group:
                sent_ticks = tick - begin
                if sent_ticks >= 0:
                    timestamp = sent_ticks * clip.timestamp_step & 0xFFFF_FFFF
                    head = header.pack(0x80, payload_type, sent_ticks & 0xFFFF, timestamp, ssrc)
                    sender.send(head + clip.payloads[(sent_ticks + offset) % count])
                    sent += 1
    return sent


def main() -> None:
    """Command line of the generator process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--encoding", required=True)
    parser.add_argument("--payload-type", type=int, required=True)
    given = parser.parse_args()
    sent = generate(
        port=given.port,
        streams=given.streams,
        seconds=given.seconds,
        encoding=given.encoding,
        payload_type=given.payload_type,
    )
    print(sent)


if __name__ == "__main__":
    main()
