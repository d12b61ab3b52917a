"""The decoders of AMR, AMR-WB, G.726, G.729, GSM, Speex and iLBC: framing and FFmpeg's decoder put together.

None has an encoder here: livemos hears these codecs and never speaks them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from livemos.agent.codecs import framing
from livemos.agent.codecs.base import Decoder, Encoder
from livemos.agent.codecs.concealment import make_concealer
from livemos.agent.codecs.encoding import Encoding
from livemos.agent.codecs.libav import Frame, FramedDecoder, open_decoder, open_g726
from livemos.agent.errors import CodecError

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext

AMR_PARAMETERS = ("octet-align", "crc", "robust-sorting", "interleaving")
ILBC_PARAMETERS = ("mode",)
_ILBC_BIT_RATE = {20: 15_200, 30: 13_330}  # by which FFmpeg's decoder knows the mode
_SPEEX_LAYERS = {8_000: 0, 16_000: 1, 32_000: 2}


def make_amr(encoding: Encoding, concealment: str) -> Decoder:
    """AMR or AMR-WB, without CRC, robust sorting and interleaving. Raises CodecError for those."""
    wide = encoding.key == "amr-wb"
    given = dict(encoding.parameters)
    refused = [name for name in AMR_PARAMETERS[1:] if given.get(name, "0") != "0"]
    if refused:
        raise CodecError(
            f"{encoding} with {', '.join(refused)} is not decoded; let the sender leave it out of its fmtp"
        )
    aligned = given.get("octet-align", "0") == "1" or any(name in given for name in AMR_PARAMETERS[1:])
    names = ("libopencore_amrwb", "amrwb") if wide else ("libopencore_amrnb", "amrnb")
    rate = 16_000 if wide else 8_000
    return FramedDecoder(
        encoding.name,
        clock_rate_hz=rate,
        sample_rate_hz=rate,
        split=partial(framing.split_amr, wide=wide, octet_aligned=aligned),
        samples_of=lambda _: rate // 50,
        context=open_decoder(names, rate),
        concealer=make_concealer(concealment, rate),
    )


def g726(bits: int, *, first_code_in_low_bits: bool) -> Callable[[Encoding, str], Decoder]:
    """A maker of decoders for codes of `bits`, 2 to 5."""

    def make(encoding: Encoding, concealment: str) -> Decoder:
        return FramedDecoder(
            encoding.name,
            clock_rate_hz=8_000,
            sample_rate_hz=8_000,
            split=partial(framing.split_g726, bits=bits, first_code_in_low_bits=first_code_in_low_bits),
            samples_of=lambda frame: 8 * len(frame.octets) // bits,
            context=open_g726(bits),
            concealer=make_concealer(concealment, 8_000),
        )

    return make


def make_g729(encoding: Encoding, concealment: str) -> Decoder:
    """G.729 and its Annex A; comfort noise of Annex B is heard as silence."""
    return FramedDecoder(
        encoding.name,
        clock_rate_hz=8_000,
        sample_rate_hz=8_000,
        split=framing.split_g729,
        samples_of=lambda _: 80,
        context=open_decoder(("g729",), 8_000),
        concealer=make_concealer(concealment, 8_000),
    )


def make_gsm(encoding: Encoding, concealment: str) -> Decoder:
    """GSM full rate."""
    return FramedDecoder(
        encoding.name,
        clock_rate_hz=8_000,
        sample_rate_hz=8_000,
        split=framing.split_gsm,
        samples_of=lambda _: 160,
        context=open_decoder(("gsm", "libgsm"), 8_000),
        concealer=make_concealer(concealment, 8_000),
    )


def make_ilbc(encoding: Encoding, concealment: str) -> Decoder:
    """iLBC; a mode that its fmtp does not name is told by the length of the first payload."""
    given = dict(encoding.parameters).get("mode")
    mode_ms = int(given) if given is not None and given.isdigit() else None

    if given is not None and mode_ms not in framing.ILBC_FRAME_BYTES:
        raise CodecError(f"{encoding} with mode={given} cannot be: the mode of iLBC is 20 or 30")

    def context_for(frame: Frame) -> AudioCodecContext:
        bit_rate = next(
            _ILBC_BIT_RATE[ms] for ms, size in framing.ILBC_FRAME_BYTES.items() if size == len(frame.octets)
        )
        return open_decoder(("ilbc", "libilbc"), 8_000, bit_rate)

    return FramedDecoder(
        encoding.name,
        clock_rate_hz=8_000,
        sample_rate_hz=8_000,
        split=partial(framing.split_ilbc, mode_ms=mode_ms),
        samples_of=lambda frame: 160 if len(frame.octets) == framing.ILBC_FRAME_BYTES[20] else 240,
        context=None,
        make_context=context_for,
        concealer=make_concealer(concealment, 8_000),
    )


def make_speex(encoding: Encoding, concealment: str) -> Decoder:
    """Narrow, wide and ultra-wide band, by the clock. Raises CodecError for another one."""
    rate = encoding.clock_rate_hz
    if rate not in _SPEEX_LAYERS:
        raise CodecError(f"{encoding} cannot be: the RTP clock of Speex is 8000, 16000 or 32000 Hz")
    return FramedDecoder(
        encoding.name,
        clock_rate_hz=rate,
        sample_rate_hz=rate,
        split=partial(framing.split_speex, layers=_SPEEX_LAYERS[rate]),
        samples_of=lambda _: rate // 50,
        context=open_decoder(("speex", "libspeex"), rate),
        concealer=make_concealer(concealment, rate),
    )


def no_encoder(encoding: Encoding, **options: object) -> Encoder:
    """Raises CodecError: these codecs are heard only."""
    raise CodecError(f"livemos decodes {encoding.name} and does not encode it; choose PCMU, PCMA, G722, L16 or opus")
