"""Audio of scoring calls: what a config may say, and bytes to mono samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from livemos.agent.records import Samples
from livemos.agent.resample import to_mono
from livemos.agent.servers.errors import RequestError
from livemos.proto.quality.v1 import quality_pb2 as pb

SAMPLE_RATES_HZ = (8_000, 192_000)
CHANNELS = 8
SOURCE_ID_CHARACTERS = 256

# encoding to little-endian dtype and the value of full scale
_ENCODINGS: dict[int, tuple[np.dtype[np.int16] | np.dtype[np.float32], float]] = {
    pb.ENCODING_LINEAR16: (np.dtype("<i2"), 32_768.0),
    pb.ENCODING_FLOAT32: (np.dtype("<f4"), 1.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFormat:
    """How the bytes of one call are read."""

    sample_rate_hz: int
    dtype: np.dtype[np.int16] | np.dtype[np.float32]
    full_scale: float
    channels: int
    source_id: str

    def samples(self, audio: bytes, field: str) -> Samples:
        """Whole frames to (N,) float32, channels averaged; NaN passes, the gate refuses it. Raises RequestError."""
        frame_bytes = self.dtype.itemsize * self.channels
        if len(audio) % frame_bytes:
            problem = f"{len(audio)} bytes are no whole frames of {self.channels} x {self.dtype.itemsize} bytes"
            raise RequestError(field, problem)
        frames = np.frombuffer(audio, self.dtype).reshape(-1, self.channels).astype(np.float32)
        return to_mono(frames / np.float32(self.full_scale))


def format_from_wire(config: pb.AudioConfig) -> AudioFormat:
    """What a caller says of its audio. Raises RequestError with the field."""
    least, most = SAMPLE_RATES_HZ
    if not least <= config.sample_rate_hz <= most:
        raise RequestError("config.sample_rate_hz", f"{config.sample_rate_hz} lies outside {least} to {most} Hz")
    if config.encoding not in _ENCODINGS:
        raise RequestError("config.encoding", f"{config.encoding} is not supported; use LINEAR16 or FLOAT32")
    if config.channel_count > CHANNELS:
        raise RequestError("config.channel_count", f"{config.channel_count} channels, at most {CHANNELS}")
    if len(config.source_id) > SOURCE_ID_CHARACTERS:
        raise RequestError("config.source_id", f"{len(config.source_id)} characters, at most {SOURCE_ID_CHARACTERS}")
    dtype, full_scale = _ENCODINGS[config.encoding]
    return AudioFormat(
        sample_rate_hz=config.sample_rate_hz,
        dtype=dtype,
        full_scale=full_scale,
        channels=config.channel_count or 1,
        source_id=config.source_id,
    )
