"""Linear 16-bit audio, RFC 3551 section 4.5.11: signed, network byte order, channels interleaved, any usual rate.

Two channels become one by their mean, which is livemos's one rule for stereo.
"""

from __future__ import annotations

import numpy as np

from livemos.agent.codecs.base import MemorylessPayload
from livemos.agent.codecs.concealment import Concealer, make_concealer
from livemos.agent.codecs.encoding import Encoding
from livemos.agent.codecs.g711 import to_int16
from livemos.agent.errors import CodecError
from livemos.agent.records import Samples

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 384_000  # that agent/resample.py takes


def make_l16(encoding: Encoding, concealment: str) -> L16Decoder:
    """Raises CodecError for a rate that cannot be resampled: at the first packet it would be too late to say so."""
    rate_hz = encoding.clock_rate_hz
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        raise CodecError(f"{encoding} cannot be decoded: L16 has {LOWEST_RATE_HZ:,} to {HIGHEST_RATE_HZ:,} Hz")
    return L16Decoder(rate_hz, encoding.channels, make_concealer(concealment, rate_hz))


class L16Decoder(MemorylessPayload):
    """`channels` 1 or 2 in, mono out."""

    def __init__(self, sample_rate_hz: int, channels: int, concealer: Concealer) -> None:
        self.clock_rate_hz = self.sample_rate_hz = sample_rate_hz
        self._channels = channels
        self._concealer = concealer

    def packet_samples(self, payload: bytes) -> int:
        """Samples per channel."""
        frame_bytes = 2 * self._channels
        if not payload or len(payload) % frame_bytes:
            raise CodecError(
                f"an L16 payload of {self._channels} channel(s) is a multiple of {frame_bytes} bytes, "
                f"got {len(payload)}; check rate and channels in the payload map"
            )
        return len(payload) // frame_bytes

    def decode(self, payload: bytes) -> Samples:
        frames = self.packet_samples(payload)
        linear = np.frombuffer(payload, ">i2").reshape(frames, self._channels).astype(np.float32)
        mono = linear[:, 0] if self._channels == 1 else linear.mean(axis=1)
        return self._concealer.heard(mono / np.float32(32768.0))

    def conceal(self, samples: int, next_payload: bytes | None = None) -> Samples:
        return self._concealer.conceal(samples)


class L16Encoder:
    """Mono in; the same signal on every channel."""

    def __init__(self, sample_rate_hz: int, channels: int) -> None:
        self.clock_rate_hz = self.sample_rate_hz = sample_rate_hz
        self._channels = channels

    def encode(self, samples: Samples) -> bytes:
        if samples.ndim != 1 or not samples.size:
            raise CodecError(f"an L16 packet is made of mono samples (N,), got the shape {samples.shape}")
        return np.repeat(to_int16(samples), self._channels).astype(">i2").tobytes()
