"""Publishes a clip in a Janus VideoRoom over WebRTC, with Debian's aiortc.   videoroom_publisher.py URL ROOM CLIP.wav

Says "publishing" when connected, sends silence until a line comes on standard input, then the clip once, then silence.
"""

from __future__ import annotations

import asyncio
import fractions
import runpy
import sys
import wave
from pathlib import Path

from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from av import AudioFrame

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "janus_forward.py"
RATE_HZ = 48_000
STEP = RATE_HZ // 50


class ClipTrack(MediaStreamTrack):
    """20 ms of mono 48 kHz a call, by the clock."""

    kind = "audio"

    def __init__(self, path: str) -> None:
        super().__init__()
        with wave.open(path) as file:
            if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (RATE_HZ, 1, 2):
                raise ValueError(f"{path}: a mono 16-bit WAV at {RATE_HZ} Hz is needed")
            self._rest = file.readframes(file.getnframes())
        self._started: float | None = None
        self._index = 0
        self.playing = False

    async def recv(self) -> AudioFrame:
        loop = asyncio.get_running_loop()
        self._started = loop.time() if self._started is None else self._started
        await asyncio.sleep(max(0.0, self._started + self._index / 50 - loop.time()))
        data = bytes(2 * STEP)
        if self.playing:
            data, self._rest = self._rest[: 2 * STEP].ljust(2 * STEP, b"\0"), self._rest[2 * STEP :]
        frame = AudioFrame(format="s16", layout="mono", samples=STEP)
        frame.planes[0].update(data)
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, self._index * STEP, fractions.Fraction(1, RATE_HZ)
        self._index += 1
        return frame


async def publish(url: str, room: int, clip: str) -> None:
    janus = runpy.run_path(str(EXAMPLE))["Janus"](url, "videoroom")
    await asyncio.to_thread(janus.tell, "join", room=room, ptype="publisher")
    # no servers: only addresses of this machine are tried
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    track = ClipTrack(clip)
    connection.addTrack(track)
    connected = asyncio.Event()

    @connection.on("connectionstatechange")
    def changed() -> None:
        if connection.connectionState == "connected":
            connected.set()

    await connection.setLocalDescription(await connection.createOffer())
    offer = {"type": "offer", "sdp": connection.localDescription.sdp}
    answer = await asyncio.to_thread(janus.tell, "publish", jsep=offer)
    await connection.setRemoteDescription(RTCSessionDescription(**answer["jsep"]))
    await asyncio.wait_for(connected.wait(), 15)
    print("publishing", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    track.playing = True
    await asyncio.to_thread(sys.stdin.read)  # until the test closes or ends this
    await connection.close()


if __name__ == "__main__":
    asyncio.run(publish(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
