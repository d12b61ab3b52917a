"""G.711 mu-law (PCMU) and A-law (PCMA), RFC 3551 section 4.5.14: one byte is one sample, one table look-up each way.

A lost packet never damages the next one: the codec has no memory, only its concealer has.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from livemos.agent.codecs.base import MemorylessPayload
from livemos.agent.codecs.concealment import Concealer
from livemos.agent.errors import CodecError
from livemos.agent.records import Samples

Codes = npt.NDArray[np.uint8]

_BIAS = 132  # mu-law adds it so that every segment begins at a power of two


def _mu_law_values() -> Samples:
    """Full-scale-one value of each of the 256 codes."""
    code = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = (code >> 4) & 7, (code & 15).astype(np.int32)
    magnitude = (((mantissa << 3) + _BIAS) << exponent) - _BIAS
    return (np.where(code & 0x80, -magnitude, magnitude) / 32768).astype(np.float32)


def _a_law_values() -> Samples:
    """Full-scale-one value of each of the 256 codes."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55  # even bits travel inverted
    exponent, mantissa = ((code >> 4) & 7).astype(np.int32), (code & 15).astype(np.int32)
    linear_segment = (mantissa << 4) + 8
    magnitude = np.where(exponent == 0, linear_segment, (linear_segment + 256) << np.maximum(exponent - 1, 0))
    return (np.where(code & 0x80, magnitude, -magnitude) / 32768).astype(np.float32)


def _segment_of(magnitude: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Position of the highest set bit above bit 7, 0 to 7."""
    segment: npt.NDArray[np.int32] = np.clip(np.floor(np.log2(np.maximum(magnitude, 1))) - 7, 0, 7).astype(np.int32)
    return segment


def _mu_law_codes() -> Codes:
    """Code of each 16-bit value, indexed by the value as an unsigned number."""
    value = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.minimum(np.abs(value), 32635) + _BIAS
    exponent = _segment_of(magnitude)
    mantissa = (magnitude >> (exponent + 3)) & 15
    inverted: Codes = (np.where(value < 0, 0x80, 0) | (exponent << 4) | mantissa).astype(np.uint8)
    return ~inverted


def _a_law_codes() -> Codes:
    """Code of each 16-bit value, indexed by the value as an unsigned number."""
    value = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.where(value < 0, ~value, value)
    exponent = _segment_of(magnitude)
    mantissa = (magnitude >> np.where(exponent == 0, 4, exponent + 3)) & 15
    code: Codes = (((exponent << 4) | mantissa) ^ np.where(value < 0, 0x55, 0xD5)).astype(np.uint8)
    return code


MU_LAW_VALUES, MU_LAW_CODES = _mu_law_values(), _mu_law_codes()
A_LAW_VALUES, A_LAW_CODES = _a_law_values(), _a_law_codes()


def to_int16(samples: Samples) -> npt.NDArray[np.int16]:
    """Full scale one to 16 bit, rounded, clipped at both ends; NaN becomes 0."""
    scaled = np.nan_to_num(samples * np.float32(32768.0), nan=0.0, posinf=32767.0, neginf=-32768.0)
    linear: npt.NDArray[np.int16] = np.clip(np.rint(scaled), -32768, 32767).astype(np.int16)
    return linear


class G711Decoder(MemorylessPayload):
    """Either law; `values` is its table of 256."""

    clock_rate_hz = sample_rate_hz = 8_000

    def __init__(self, values: Samples, concealer: Concealer) -> None:
        self._values = values
        self._concealer = concealer

    def packet_samples(self, payload: bytes) -> int:
        if not payload:
            raise CodecError("a G.711 payload needs at least one byte, got none")
        return len(payload)

    def decode(self, payload: bytes) -> Samples:
        self.packet_samples(payload)
        return self._concealer.heard(self._values[np.frombuffer(payload, np.uint8)])

    def run_bytes(self, ticks: int) -> int:
        return ticks

    def decode_run(self, payloads: Codes) -> Samples:
        # any octet is a valid index; "clip" spares the check
        samples = self._values.take(payloads, mode="clip")
        # the concealer remembers the last packet as one, and some repeat exactly that
        self._concealer.heard(samples[:-1].reshape(-1))
        self._concealer.heard(samples[-1])
        return samples.reshape(-1)

    def conceal(self, samples: int, next_payload: bytes | None = None) -> Samples:
        return self._concealer.conceal(samples)


class G711Encoder:
    """Either law; `codes` is its table of 65,536."""

    clock_rate_hz = sample_rate_hz = 8_000

    def __init__(self, codes: Codes) -> None:
        self._codes = codes

    def encode(self, samples: Samples) -> bytes:
        if samples.ndim != 1 or not samples.size:
            raise CodecError(f"a G.711 packet is made of mono samples (N,), got the shape {samples.shape}")
        return self._codes[to_int16(samples).view(np.uint16)].tobytes()
