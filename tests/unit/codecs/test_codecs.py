"""What holds for every codec, and how they are found by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from livemos.agent.codecs import CODECS, Encoding, make_decoder, make_encoder
from livemos.agent.errors import CodecError
from livemos.agent.records import Samples

ENCODINGS = ("PCMU/8000", "PCMA/8000", "G722/8000", "L16/16000", "L16/44100/2", "opus/48000/2")
DELAY_SAMPLES = {"g722": 22, "opus": 103}  # of the coder and decoder together, at 16 kHz


def to_and_fro(encoding: str, heard: Samples, packet_seconds: float = 0.02) -> Samples:
    """Encode in packets and decode again."""
    encoder, decoder = make_encoder(encoding), make_decoder(encoding)
    size = round(packet_seconds * encoder.sample_rate_hz)
    payloads = [encoder.encode(heard[i : i + size]) for i in range(0, len(heard) - size + 1, size)]
    return np.concatenate([decoder.decode(payload) for payload in payloads])


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_speech_survives_coding_at_its_level_and_in_its_place(
    encoding: str, voice: Callable[[int, float], Samples]
) -> None:
    """A wrong byte order, law or rate leaves noise: the correlation with the original would vanish."""
    rate = make_decoder(encoding).sample_rate_hz
    heard = voice(rate, 1.0)
    played = to_and_fro(encoding, heard)
    delay = DELAY_SAMPLES.get(Encoding.parse(encoding).key, 0)
    aligned, original = played[delay + rate // 10 :], heard[rate // 10 : len(heard) - delay]
    assert len(played) == len(heard)
    # Opus keeps what is heard and not the wave
    assert np.corrcoef(aligned, original)[0, 1] > (0.8 if encoding.startswith("opus") else 0.97)
    assert aligned.std() == pytest.approx(original.std(), rel=0.1)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_duration_is_known_before_decoding(encoding: str, voice: Callable[[int, float], Samples]) -> None:
    """The media clock is advanced by it also when the payload comes too late to be decoded."""
    encoder, decoder = make_encoder(encoding), make_decoder(encoding)
    payload = encoder.encode(voice(encoder.sample_rate_hz, 0.02))
    assert decoder.packet_samples(payload) == len(decoder.decode(payload)) == round(0.02 * decoder.sample_rate_hz)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_concealment_gives_what_was_asked_for_and_fades_to_silence(
    encoding: str, voice: Callable[[int, float], Samples]
) -> None:
    """A receiver that goes on buzzing through an outage would be scored as speech."""
    encoder, decoder = make_encoder(encoding), make_decoder(encoding)
    rate, size = decoder.sample_rate_hz, round(0.02 * encoder.sample_rate_hz)
    heard = voice(encoder.sample_rate_hz, 0.2)
    for start in range(0, len(heard), size):
        last = decoder.decode(encoder.encode(heard[start : start + size]))
    first = decoder.conceal(round(0.02 * rate))
    assert first.shape == (round(0.02 * rate),)
    assert first.dtype == np.float32
    assert first.std() > 0.3 * last.std()
    for _ in range(20):
        later = decoder.conceal(round(0.02 * rate))
    assert later.std() < 0.05 * last.std()


def test_names_are_found_in_any_case() -> None:
    """SDP writes OPUS, Opus and opus; RFC 8866 section 6.6 says they are one."""
    assert make_decoder("OPUS/48000/2").clock_rate_hz == make_decoder("opus/48000").clock_rate_hz == 48_000
    assert make_decoder("pcmu/8000").sample_rate_hz == 8_000


@pytest.mark.parametrize(
    ("encoding", "part"),
    [
        ("EVS/16000", "known are PCMU"),
        ("PCMU/16000", "clock of PCMU is 8000"),
        ("opus/48000/6", "1 or 2 channel"),
        ("opus", "NAME/CLOCK"),
        ("L16/0", "NAME/CLOCK"),
    ],
)
def test_an_encoding_that_cannot_be_is_refused_with_what_to_do(encoding: str, part: str) -> None:
    """The text reaches the operator at start, when the payload map is read."""
    with pytest.raises(CodecError, match=part):
        make_decoder(encoding)


def test_each_static_payload_type_is_the_one_of_rfc_3551() -> None:
    """PCMU 0, GSM 3, PCMA 8, G722 9, G729 18: a slip here decodes A-law as mu-law, which is loud noise."""
    static = {spec.name: spec.static_payload_type for spec in CODECS.values() if spec.static_payload_type is not None}
    assert static == {"PCMU": 0, "GSM": 3, "PCMA": 8, "G722": 9, "G729": 18}


def test_l16_is_big_endian_and_stereo_becomes_the_mean() -> None:
    """The project's one rule for stereo; a sum would clip, the left channel alone would miss one party of a call."""
    payload = np.array([[16384, 0], [-32768, 32767]], ">i2").tobytes()
    played = make_decoder("L16/16000/2").decode(payload)
    np.testing.assert_allclose(played, [0.25, -0.5 / 32768], atol=1e-7)
    with pytest.raises(CodecError, match="multiple of 4 bytes"):
        make_decoder("L16/16000/2").decode(payload[:-1])


def test_a_g722_encoder_takes_its_own_packet_length_only() -> None:
    """The codec is stateful: a packet of another length would be cut without a word."""
    with pytest.raises(CodecError, match=r"\(320,\)"):
        make_encoder("G722/8000").encode(np.zeros(160, np.float32))
    assert len(make_encoder("G722/8000", packet_samples=160).encode(np.zeros(160, np.float32))) == 80


def test_an_unknown_option_of_an_encoder_is_named() -> None:
    """The simulator writes options as data."""
    with pytest.raises(CodecError, match="bitrate"):
        make_encoder("PCMU/8000", bitrate_bps=1)
