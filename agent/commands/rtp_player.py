"""Sends audio as RTP in real time: what the demo and the benchmarks play into the agent."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

import numpy as np
import numpy.typing as npt

from livemos.agent.clock import Clock
from livemos.agent.codecs import make_encoder
from livemos.agent.records import SAMPLE_RATE_HZ, Samples
from livemos.agent.resample import StreamResampler
from livemos.agent.rtp.packet import Packet, build
from livemos.agent.sources.audio_file import read_audio

PTIME_SECONDS = 0.02
DEMO_CLIP = "demo_speech.flac"
_CLIP_GAIN = 10.0 ** (10.0 / 20.0)  # the clip lies at -36 dBov; calls lie near -26 (ITU-T P.56 active level)


def demo_speech() -> Samples:
    """The packaged clip at 16 kHz, -26 dBov active level, (N,) float32."""
    with resources.as_file(resources.files("livemos.agent") / "data" / DEMO_CLIP) as file:
        samples, sample_rate_hz = read_audio(file)
    if sample_rate_hz != SAMPLE_RATE_HZ:
        raise ValueError(f"{DEMO_CLIP} is at {sample_rate_hz} Hz; the package is damaged, install it again")
    return np.asarray(np.clip(samples[:, 0] * _CLIP_GAIN, -1.0, 1.0), np.float32)


@dataclass(frozen=True, slots=True)
class EncodedClip:
    """A clip as the payloads of 20 ms packets, and what its timestamps count."""

    payloads: tuple[bytes, ...]
    timestamp_step: int


def encode(samples: Samples, encoding: str) -> EncodedClip:
    """(N,) float32 at 16 kHz as 20 ms payloads of `encoding`; a rest shorter than a packet is left out."""
    encoder = make_encoder(encoding)
    resampler = StreamResampler(SAMPLE_RATE_HZ, encoder.sample_rate_hz)
    at_rate = np.concatenate([resampler.push(samples), resampler.flush()])
    step = round(PTIME_SECONDS * encoder.sample_rate_hz)
    return EncodedClip(
        tuple(encoder.encode(at_rate[start : start + step]) for start in range(0, len(at_rate) - step + 1, step)),
        round(PTIME_SECONDS * encoder.clock_rate_hz),
    )


def play(
    clip: EncodedClip,
    lost: npt.NDArray[np.bool_],
    *,
    destination: tuple[str, int],
    payload_type: int,
    ssrc: int,
    clock: Clock,
) -> Iterator[int]:
    """Send one packet every 20 ms, leaving out those that are `lost`; yields each packet's index after its time."""
    start = clock.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for index, payload in enumerate(clip.payloads):
            clock.sleep_until(start + index * PTIME_SECONDS)
            if not lost[index]:
                packet = Packet(
                    payload_type=payload_type,
                    sequence_number=index % 2**16,
                    timestamp=index * clip.timestamp_step % 2**32,
                    ssrc=ssrc,
                    marker=index == 0,
                    payload=payload,
                )
                sender.sendto(build(packet), destination)
            yield index
