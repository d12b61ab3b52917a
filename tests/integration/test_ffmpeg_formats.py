"""FFmpeg's own RTP packets of codecs that livemos hears and does not speak: its SDP, its packing, its clock."""

from __future__ import annotations

import itertools
import shutil
import socket
import subprocess
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from material import CLIPS, load

from livemos.agent.codecs import make_decoder
from livemos.agent.records import Samples
from livemos.agent.rtp.packet import Packet, parse
from livemos.agent.rtp.sdp import parse_sdp

FORMATS = {  # encoder of FFmpeg with its options: what its SDP must say, rate of the audio
    "libopencore_amrnb": ("AMR/8000/1;octet-align=1", 8_000),
    "g726 -code_size 4": ("AAL2-G726-32/8000", 8_000),
    "g726le -code_size 3": ("G726-24/8000", 8_000),
    "libspeex": ("speex/16000", 16_000),
}


def clip(rate_hz: int) -> Samples:
    """2 s of speech at `rate_hz`."""
    speech = load(CLIPS[1])[16_000:48_000]
    if rate_hz == 16_000:
        return speech
    frames = av.AudioResampler(format="flt", layout="mono", rate=rate_hz)
    frame = av.AudioFrame.from_ndarray(speech[None], format="flt", layout="mono")
    frame.sample_rate = 16_000
    return np.concatenate([part.to_ndarray()[0] for part in [*frames.resample(frame), *frames.resample(None)]])


def written(encoder: str, rate_hz: int, folder: Path) -> tuple[Path, list[str]]:
    """A file for FFmpeg to read, and the codec to send it with: Debian's FFmpeg does not encode AMR, PyAV's does."""
    linear = (np.clip(clip(rate_hz), -1, 1) * 32_767).astype(np.int16)
    if encoder != "libopencore_amrnb":
        path = folder / "clip.wav"
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, rate_hz, 0, "NONE", ""))
            file.writeframes(linear.tobytes())
        return path, ["-c:a", *encoder.split()]
    path = folder / "clip.amr"
    with av.open(str(path), "w", format="amr") as container:
        stream = container.add_stream(encoder, rate=rate_hz, layout="mono")
        stream.bit_rate = 7_950
        for begin in range(0, len(linear) - 159, 160):
            frame = av.AudioFrame.from_ndarray(linear[None, begin : begin + 160], format="s16", layout="mono")
            frame.sample_rate = rate_hz
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path, ["-c:a", "copy"]


def sent(file: Path, codec: list[str], sdp: Path) -> list[Packet]:
    """FFmpeg's packets, all of them there when it ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        listening.bind(("127.0.0.1", 0))
        listening.setblocking(False)
        target = f"rtp://127.0.0.1:{listening.getsockname()[1]}?pkt_size=200"
        command = ["ffmpeg", "-v", "error", "-y", "-i", str(file), *codec, "-f", "rtp", "-sdp_file", str(sdp), target]
        subprocess.run(command, check=True, capture_output=True, timeout=20)
        packets = []
        while True:
            try:
                packets.append(parse(listening.recv(4_096)))
            except BlockingIOError:
                return packets


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("encoder", FORMATS)
def test_what_ffmpeg_packs_is_heard_by_the_words_of_its_description(encoder: str, tmp_path: Path) -> None:
    """Two readers of one RFC: codes in the other order, or frames cut elsewhere, would be noise."""
    encoding, rate_hz = FORMATS[encoder]
    file, codec = written(encoder, rate_hz, tmp_path)
    packets = sent(file, codec, tmp_path / "clip.sdp")
    described = parse_sdp((tmp_path / "clip.sdp").read_text(encoding="utf-8")).payload_types
    assert described == {packets[0].payload_type: encoding}
    decoder = make_decoder(encoding)
    steps = [(b.timestamp - a.timestamp) & 0xFFFF_FFFF for a, b in itertools.pairwise(packets)]
    assert steps == [decoder.packet_samples(packet.payload) for packet in packets[:-1]]
    heard = np.concatenate([decoder.decode(packet.payload) for packet in packets])
    original = clip(rate_hz)
    likeness = np.correlate(heard, original[: len(original) // 2], "valid")[: rate_hz // 10]
    delay = int(np.argmax(likeness))
    both = min(len(original), len(heard) - delay)
    assert np.corrcoef(heard[delay : delay + both], original[:both])[0, 1] > 0.8
