"""G.722 at 64 kbit/s through FFmpeg: RTP clock 8,000, audio 16,000 (RFC 3551 section 4.5.2); one byte is two samples.

The sub-band ADPCM keeps its state over a gap, as receivers do, so the first samples after a loss are a little wrong;
that is part of what the listener hears.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from livemos.agent.codecs.base import MemorylessPayload
from livemos.agent.codecs.concealment import Concealer
from livemos.agent.codecs.g711 import to_int16
from livemos.agent.errors import CodecError
from livemos.agent.records import Samples

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext


def _context(mode: str, options: dict[str, str]) -> AudioCodecContext:
    import av  # FFmpeg's libraries take 0.1 s to load: only a G.722 stream pays for them

    # the two overloads of create() want literals; the mode is one here, but chosen by the caller
    context = cast("AudioCodecContext", av.CodecContext.create("g722", mode))  # type: ignore[call-overload]
    context.sample_rate = 16_000
    context.layout = "mono"
    context.format = "s16"
    context.options = options
    context.open()
    return context


class G722Decoder(MemorylessPayload):
    clock_rate_hz = 8_000
    sample_rate_hz = 16_000

    def __init__(self, concealer: Concealer) -> None:
        self._context = _context("r", {})
        self._concealer = concealer

    def packet_samples(self, payload: bytes) -> int:
        if not payload:
            raise CodecError("a G.722 payload needs at least one byte, got none")
        return 2 * len(payload)

    def decode(self, payload: bytes) -> Samples:
        return self._concealer.heard(self._decoded(payload))

    def _decoded(self, payload: bytes) -> Samples:
        import av

        expected = self.packet_samples(payload)
        try:
            frames = self._context.decode(av.Packet(payload))
        except av.FFmpegError as error:
            raise CodecError(f"FFmpeg refused a G.722 payload of {len(payload)} bytes: {error}") from error
        decoded = np.concatenate([frame.to_ndarray().ravel() for frame in frames]) if frames else np.zeros(0, np.int16)
        if decoded.size != expected:
            raise CodecError(f"a G.722 payload of {len(payload)} bytes gave {decoded.size} samples, not {expected}")
        return decoded.astype(np.float32) / np.float32(32768.0)

    def run_bytes(self, ticks: int) -> int:
        return ticks

    def decode_run(self, payloads: npt.NDArray[np.uint8]) -> Samples:
        # FFmpeg's decoder carries its state from octet to octet: where packets begin makes no difference to it
        samples = self._decoded(payloads.tobytes())
        last = 2 * payloads.shape[1]
        self._concealer.heard(samples[:-last])
        self._concealer.heard(samples[-last:])
        return samples

    def conceal(self, samples: int, next_payload: bytes | None = None) -> Samples:
        return self._concealer.conceal(samples)


class G722Encoder:
    """Packets of one length for the life of the encoder: 20 ms are 320 samples and 160 bytes."""

    clock_rate_hz = 8_000
    sample_rate_hz = 16_000

    def __init__(self, packet_samples: int = 320) -> None:
        if packet_samples < 2 or packet_samples % 2:
            raise CodecError(f"G.722 packs two samples to a byte: {packet_samples} samples do not make a packet")
        self._packet_samples = packet_samples
        self._context = _context("w", {"frame_size": str(packet_samples)})

    def encode(self, samples: Samples) -> bytes:
        import av

        if samples.shape != (self._packet_samples,):
            raise CodecError(f"this G.722 encoder takes ({self._packet_samples},) samples, got {samples.shape}")
        frame = av.AudioFrame.from_ndarray(to_int16(samples)[None, :], format="s16", layout="mono")
        frame.sample_rate = self.sample_rate_hz
        return b"".join(bytes(packet) for packet in self._context.encode(frame))
