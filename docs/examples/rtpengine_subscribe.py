"""Let rtpengine copy one side of a call.   python rtpengine_subscribe.py NG CALL_ID FROM_TAG HOST:PORT >offer.sdp

NG is rtpengine's control port (`listen-ng`), HOST:PORT where livemos listens. What is printed is rtpengine's own
description of the copy, for `livemos run --rtp HOST:PORT --sdp offer.sdp`. Nothing is installed: the ng protocol is
bencode over UDP.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from typing import Any


def encode(value: Any) -> bytes:
    """str, int, list and dict as bencode."""
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, list):
        return b"l" + b"".join(map(encode, value)) + b"e"
    if isinstance(value, dict):
        return b"d" + b"".join(encode(key) + encode(value[key]) for key in value) + b"e"
    text = value.encode()
    return b"%d:%s" % (len(text), text)


def decode(data: bytes, at: int = 0) -> tuple[Any, int]:
    """The bencoded value at `at`, and where it ends."""
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if kind in (b"l", b"d"):
        items, at = [], at + 1
        while data[at : at + 1] != b"e":
            item, at = decode(data, at)
            items.append(item)
        return (items if kind == b"l" else dict(zip(items[::2], items[1::2], strict=True))), at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    return data[colon + 1 : end].decode(), end


class Rtpengine:
    """`with Rtpengine("HOST:PORT") as ask: ask("ping")`. Raises RuntimeError with rtpengine's own reason."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((host.strip("[]"), int(port)))
        self._socket.settimeout(5)

    def __enter__(self) -> Rtpengine:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def __call__(self, command: str, **values: Any) -> dict[str, Any]:
        cookie = os.urandom(8).hex().encode()
        request = {"command": command, **{name.replace("_", "-"): value for name, value in values.items()}}
        self._socket.send(cookie + b" " + encode(request))
        while True:
            echoed, _, body = self._socket.recv(65_535).partition(b" ")
            if echoed == cookie:
                answer: dict[str, Any] = decode(body)[0]
                if answer["result"] == "error":
                    raise RuntimeError(f"rtpengine refused {command!r}: {answer.get('error-reason')}")
                return answer


def answer_for(offer: str, host: str, port: int) -> str:
    """rtpengine's offer turned around: the same codecs, received at host:port."""
    answer = re.sub(r"(?m)^m=audio \d+", f"m=audio {port}", offer)
    answer = re.sub(r"(?m)^c=IN .*?(\r?)$", rf"c=IN {'IP6' if ':' in host else 'IP4'} {host}\1", answer)
    answer = re.sub(r"(?m)^a=rtcp:.*\n", "", answer)
    return answer.replace("a=sendonly", "a=recvonly")


def main() -> None:
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    address, call_id, from_tag, destination = sys.argv[1:]
    host, _, port = destination.rpartition(":")
    request = {"call_id": call_id, "from_tag": from_tag}
    with Rtpengine(address) as ask:
        # with one port for media and RTCP, rtpengine's sender reports reach livemos too
        offer = ask("subscribe request", **request, rtcp_mux=["offer"])
        answer = answer_for(offer["sdp"], host.strip("[]"), int(port))
        ask("subscribe answer", **request, to_tag=offer["to-tag"], sdp=answer)
    print(offer["sdp"], end="")


if __name__ == "__main__":
    main()
