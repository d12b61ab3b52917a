"""Let Janus copy a room to livemos.   python janus_forward.py http://HOST:8088/janus audiobridge ROOM HOST:PORT

`audiobridge` forwards the mix of the room, once. `videoroom` forwards the audio of every publisher in the room now,
each a stream of its own. Payload type 111 is Opus then: `livemos run --rtp HOST:PORT --payload-type 111=opus/48000/2`.
Rooms with a secret, or a Janus with an admin key: add them as NAME=VALUE, for example secret=adminpwd.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from typing import Any

PAYLOAD_TYPE = 111


class Janus:
    """A session with one plugin over Janus' HTTP interface. Raises RuntimeError with Janus' own reason."""

    def __init__(self, url: str, plugin: str) -> None:
        self._url = url
        session = self._post("", janus="create")["data"]["id"]
        self.session_path = f"/{session}"
        handle = self._post(self.session_path, janus="attach", plugin=f"janus.plugin.{plugin}")["data"]["id"]
        self._handle_path = f"{self.session_path}/{handle}"

    def ask(self, request: str, **values: Any) -> dict[str, Any]:
        """A request that the plugin answers at once; its answer."""
        body = {"request": request, **values}
        answer: dict[str, Any] = self._post(self._handle_path, janus="message", body=body)["plugindata"]["data"]
        if "error" in answer:
            raise RuntimeError(f"Janus refused {request!r}: {answer['error']}")
        return answer

    def tell(self, request: str, *, jsep: dict[str, str] | None = None, **values: Any) -> dict[str, Any]:
        """A request whose answer is an event: the first event of the plugin after it, with its jsep if there is one."""
        message: dict[str, Any] = {"janus": "message", "body": {"request": request, **values}}
        self._post(self._handle_path, **message, **({"jsep": jsep} if jsep else {}))
        while True:
            event = self._open(urllib.request.Request(f"{self._url}{self.session_path}"), seconds=35)
            if event["janus"] == "event":
                answer: dict[str, Any] = event["plugindata"]["data"]
                if "error" in answer:
                    raise RuntimeError(f"Janus refused {request!r}: {answer['error']}")
                return {**answer, "jsep": event.get("jsep")}

    def close(self) -> None:
        """End the session; forwarders of rooms stay."""
        self._post(self.session_path, janus="destroy")

    def _post(self, path: str, **message: Any) -> dict[str, Any]:
        body = json.dumps({**message, "transaction": os.urandom(8).hex()}).encode()
        header = {"Content-Type": "application/json"}
        answer = self._open(urllib.request.Request(self._url + path, body, header), seconds=10)
        if answer["janus"] == "error":
            raise RuntimeError(f"Janus refused {message['janus']!r}: {answer['error']['reason']}")
        return answer

    def _open(self, request: urllib.request.Request, *, seconds: float) -> dict[str, Any]:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            read: dict[str, Any] = json.load(answer)
        return read


def forward(url: str, plugin: str, room: int, host: str, port: int, **keys: str) -> list[dict[str, Any]]:
    """Janus' answers, one a forwarded stream."""
    janus = Janus(url, plugin)
    common = {"room": room, "host": host, **keys}
    if plugin == "audiobridge":
        answers = [janus.ask("rtp_forward", **common, port=port, codec="opus", ptype=PAYLOAD_TYPE)]
    else:
        people = janus.ask("listparticipants", room=room)["participants"]
        # mid 0 is the audio of a publisher that offers its audio first, as browsers do
        streams = [{"mid": "0", "port": port, "pt": PAYLOAD_TYPE}]
        answers = [
            janus.ask("rtp_forward", **common, publisher_id=person["id"], streams=streams)
            for person in people
            if person["publisher"]
        ]
    janus.close()
    return answers


def main() -> None:
    if len(sys.argv) < 5 or sys.argv[2] not in ("audiobridge", "videoroom"):
        sys.exit(__doc__)
    url, plugin, room, destination, *keys = sys.argv[1:]
    host, _, port = destination.rpartition(":")
    answers = forward(url, plugin, int(room), host, int(port), **dict(key.split("=", 1) for key in keys))
    for answer in answers:
        print(json.dumps(answer))
    if not answers:
        sys.exit(f"nobody publishes in room {room}")


if __name__ == "__main__":
    main()
