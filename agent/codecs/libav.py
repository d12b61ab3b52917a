"""Codecs of fixed frames through FFmpeg's decoders: a payload is split into frames, each frame is decoded alone.

What a codec needs besides is how its payload format packs frames: agent/codecs/framing.py. A pause (SID, no data) is
what the decoder makes of it, or silence. Lost packets are concealed as for G.711, by the concealer that was chosen.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from livemos.agent.codecs.base import MemorylessPayload
from livemos.agent.codecs.concealment import Concealer
from livemos.agent.errors import CodecError
from livemos.agent.records import Samples

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext


@dataclass(frozen=True, slots=True)
class Frame:
    """What the decoder is given for one frame; speech False: a pause, which the decoder may refuse."""

    octets: bytes
    speech: bool = True


Split = Callable[[bytes], Sequence[Frame]]


def open_decoder(names: Sequence[str], sample_rate_hz: int, bit_rate: int | None = None) -> AudioCodecContext:
    """The first of FFmpeg's decoders `names` that this build has. Raises CodecError."""
    import av  # FFmpeg's libraries take 0.1 s to load: only a stream that needs them pays

    for name in names:
        if name in av.codecs_available:
            # the two overloads of create() want literals; the mode is one here, but the name is not
            context = cast("AudioCodecContext", av.CodecContext.create(name, "r"))
            context.sample_rate = sample_rate_hz
            context.layout = "mono"
            if bit_rate is not None:
                context.bit_rate = bit_rate
            try:
                context.open()
            except (av.FFmpegError, ValueError) as error:
                raise CodecError(f"FFmpeg's decoder {name} does not start: {error}") from error
            return context
    raise CodecError(f"this FFmpeg has no decoder {' or '.join(names)}; install PyAV from its wheel: pip install av")


def open_g726(bits: int) -> AudioCodecContext:
    """FFmpeg's G.726 decoder for codes of `bits`: PyAV can set that number only by way of a WAV header."""
    import av

    form = struct.pack("<HHIIHH", 0x45, 1, 8_000, 1_000 * bits, 1, bits)
    chunks = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", 64) + bytes(64)
    try:
        container = av.open(io.BytesIO(b"RIFF" + struct.pack("<I", len(chunks)) + chunks), "r", format="wav")
    except (av.FFmpegError, ValueError) as error:
        raise CodecError(f"FFmpeg's decoder g726 does not start: {error}") from error
    return container.streams.audio[0].codec_context


class FramedDecoder(MemorylessPayload):
    """split: payload to frames, raises CodecError. samples_of: duration of a frame at sample_rate_hz.

    Without a `context`, `make_context` is called with the first frame: its length tells the codec's mode.
    """

    def __init__(
        self,
        name: str,
        *,
        clock_rate_hz: int,
        sample_rate_hz: int,
        split: Split,
        samples_of: Callable[[Frame], int],
        context: AudioCodecContext | None,
        concealer: Concealer,
        make_context: Callable[[Frame], AudioCodecContext] | None = None,
    ) -> None:
        self._name = name
        self.clock_rate_hz, self.sample_rate_hz = clock_rate_hz, sample_rate_hz
        self._split, self._samples_of = split, samples_of
        self._context, self._make_context = context, make_context
        self._concealer = concealer

    def packet_samples(self, payload: bytes) -> int:
        return sum(self._samples_of(frame) for frame in self._frames(payload))

    def is_pause(self, payload: bytes) -> bool:
        """True when every frame of the packet is one of a pause."""
        return not any(frame.speech for frame in self._frames(payload))

    def decode(self, payload: bytes) -> Samples:
        frames = self._frames(payload)
        if self._context is None:
            assert self._make_context is not None
            self._context = self._make_context(frames[0])
        heard = np.concatenate([self._decode_frame(self._context, frame) for frame in frames])
        return self._concealer.heard(heard)

    def conceal(self, samples: int, next_payload: bytes | None = None) -> Samples:
        return self._concealer.conceal(samples)

    def _frames(self, payload: bytes) -> Sequence[Frame]:
        frames = self._split(payload)
        if not frames:
            raise CodecError(f"a payload of {self._name} with {len(payload)} bytes holds no frame")
        return frames

    def _decode_frame(self, context: AudioCodecContext, frame: Frame) -> Samples:
        import av

        wanted = self._samples_of(frame)
        try:
            parts = [_mono(part.to_ndarray()) for part in context.decode(av.Packet(frame.octets))]
        except (av.FFmpegError, ValueError) as error:
            if not frame.speech:
                return np.zeros(wanted, np.float32)
            raise CodecError(
                f"FFmpeg refused a frame of {self._name} with {len(frame.octets)} bytes: {error}"
            ) from error
        decoded = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        if decoded.size != wanted:
            if not frame.speech:
                return np.zeros(wanted, np.float32)
            raise CodecError(f"a frame of {self._name} gave {decoded.size} samples, not {wanted}")
        return decoded


def _mono(decoded: np.ndarray) -> Samples:
    """(1, N) of any of FFmpeg's formats to (N,) float32 at full scale one; FFmpeg's float may exceed it."""
    flat = decoded.ravel()
    if flat.dtype == np.int16:
        return np.asarray(flat.astype(np.float32) / np.float32(32768.0))
    return np.clip(flat.astype(np.float32), -1.0, 1.0)
