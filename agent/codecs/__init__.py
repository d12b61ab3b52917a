"""Every codec livemos decodes, by the name SDP gives it; to add one: a file here and a line in CODECS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from livemos.agent.codecs import framed, g711
from livemos.agent.codecs.base import Decoder, Encoder
from livemos.agent.codecs.concealment import make_concealer
from livemos.agent.codecs.encoding import Encoding
from livemos.agent.codecs.g722 import G722Decoder, G722Encoder
from livemos.agent.codecs.l16 import L16Encoder, make_l16
from livemos.agent.codecs.opus import OpusDecoder, OpusEncoder
from livemos.agent.errors import CodecError

__all__ = ["CODECS", "CodecSpec", "Encoding", "codec_of", "make_decoder", "make_encoder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecSpec:
    """What is fixed about a codec; clock_rate_hz and sample_rate_hz are None where the encoding chooses them.

    make_decoder(encoding, concealment): `concealment` is a name in CONCEALERS (Opus has its own and ignores it).
    make_encoder(encoding, **options): options are the encoder's keywords.
    """

    name: str
    clock_rate_hz: int | None
    sample_rate_hz: int | None
    static_payload_type: int | None
    channels: tuple[int, ...]  # that an encoding may write
    make_decoder: Callable[[Encoding, str], Decoder]
    make_encoder: Callable[..., Encoder]
    parameters: tuple[str, ...] = ()  # of a=fmtp, that decide how a payload is read


CODECS: dict[str, CodecSpec] = {
    "pcmu": CodecSpec(
        name="PCMU",
        clock_rate_hz=8_000,
        sample_rate_hz=8_000,
        static_payload_type=0,
        channels=(1,),
        make_decoder=lambda _, concealment: g711.G711Decoder(g711.MU_LAW_VALUES, make_concealer(concealment, 8_000)),
        make_encoder=lambda _: g711.G711Encoder(g711.MU_LAW_CODES),
    ),
    "pcma": CodecSpec(
        name="PCMA",
        clock_rate_hz=8_000,
        sample_rate_hz=8_000,
        static_payload_type=8,
        channels=(1,),
        make_decoder=lambda _, concealment: g711.G711Decoder(g711.A_LAW_VALUES, make_concealer(concealment, 8_000)),
        make_encoder=lambda _: g711.G711Encoder(g711.A_LAW_CODES),
    ),
    "g722": CodecSpec(
        name="G722",
        clock_rate_hz=8_000,
        sample_rate_hz=16_000,
        static_payload_type=9,
        channels=(1,),
        make_decoder=lambda _, concealment: G722Decoder(make_concealer(concealment, 16_000)),
        make_encoder=lambda _, **options: G722Encoder(**options),
    ),
    "l16": CodecSpec(
        name="L16",
        clock_rate_hz=None,
        sample_rate_hz=None,
        static_payload_type=None,  # 10 and 11 name one rate each: agent/rtp/payload_map.py
        channels=(1, 2),
        make_decoder=make_l16,
        make_encoder=lambda encoding: L16Encoder(encoding.clock_rate_hz, encoding.channels),
    ),
    "opus": CodecSpec(
        name="opus",
        clock_rate_hz=48_000,
        sample_rate_hz=16_000,
        static_payload_type=None,
        channels=(1, 2),
        make_decoder=lambda _, __: OpusDecoder(),
        make_encoder=lambda _, **options: OpusEncoder(**options),
    ),
    "amr": CodecSpec(
        name="AMR",
        clock_rate_hz=8_000,
        sample_rate_hz=8_000,
        static_payload_type=None,
        channels=(1,),
        make_decoder=framed.make_amr,
        make_encoder=framed.no_encoder,
        parameters=framed.AMR_PARAMETERS,
    ),
    "amr-wb": CodecSpec(
        name="AMR-WB",
        clock_rate_hz=16_000,
        sample_rate_hz=16_000,
        static_payload_type=None,
        channels=(1,),
        make_decoder=framed.make_amr,
        make_encoder=framed.no_encoder,
        parameters=framed.AMR_PARAMETERS,
    ),
    "g729": CodecSpec(
        name="G729",
        clock_rate_hz=8_000,
        sample_rate_hz=8_000,
        static_payload_type=18,
        channels=(1,),
        make_decoder=framed.make_g729,
        make_encoder=framed.no_encoder,
    ),
    "gsm": CodecSpec(
        name="GSM",
        clock_rate_hz=8_000,
        sample_rate_hz=8_000,
        static_payload_type=3,
        channels=(1,),
        make_decoder=framed.make_gsm,
        make_encoder=framed.no_encoder,
    ),
    "ilbc": CodecSpec(
        name="iLBC",
        clock_rate_hz=8_000,
        sample_rate_hz=8_000,
        static_payload_type=None,
        channels=(1,),
        make_decoder=framed.make_ilbc,
        make_encoder=framed.no_encoder,
        parameters=framed.ILBC_PARAMETERS,
    ),
    "speex": CodecSpec(
        name="speex",
        clock_rate_hz=None,
        sample_rate_hz=None,
        static_payload_type=None,
        channels=(1,),
        make_decoder=framed.make_speex,
        make_encoder=framed.no_encoder,
    ),
    **{
        f"{prefix}g726-{8 * bits}": CodecSpec(
            name=f"{prefix.upper()}G726-{8 * bits}",
            clock_rate_hz=8_000,
            sample_rate_hz=8_000,
            static_payload_type=None,
            channels=(1,),
            make_decoder=framed.g726(bits, first_code_in_low_bits=not prefix),
            make_encoder=framed.no_encoder,
        )
        for bits in (2, 3, 4, 5)
        for prefix in ("", "aal2-")  # the two packings of RFC 3551 section 4.5.4
    },
}


def codec_of(encoding: Encoding | str) -> tuple[CodecSpec, Encoding]:
    """The codec and the encoding, checked against each other; names ignore case. Raises CodecError."""
    if isinstance(encoding, str):
        encoding = Encoding.parse(encoding)
    spec = CODECS.get(encoding.key)
    if spec is None:
        known = ", ".join(each.name for each in CODECS.values())
        raise CodecError(f"no codec decodes {encoding}; known are {known}: correct the payload map or the SDP")
    if spec.clock_rate_hz not in (None, encoding.clock_rate_hz):
        raise CodecError(f"{encoding} cannot be: the RTP clock of {spec.name} is {spec.clock_rate_hz} Hz")
    if encoding.channels not in spec.channels:
        raise CodecError(
            f"{encoding} cannot be decoded: {spec.name} has {' or '.join(map(str, spec.channels))} channel(s)"
        )
    return spec, encoding


def make_decoder(encoding: Encoding | str, *, concealment: str = "pitch") -> Decoder:
    """A decoder for one stream of "PCMU/8000", "L16/16000/1", "opus/48000/2", ... Raises CodecError."""
    spec, encoding = codec_of(encoding)
    return spec.make_decoder(encoding, concealment)


def make_encoder(encoding: Encoding | str, **options: Any) -> Encoder:
    """An encoder for one stream; `options` are its keywords, for Opus bitrate_bps, fec and so on. Raises CodecError."""
    spec, encoding = codec_of(encoding)
    try:
        return spec.make_encoder(encoding, **options)
    except TypeError as error:
        raise CodecError(f"the encoder of {spec.name} does not take {sorted(options)}: {error}") from error
