"""Codecs that are heard and not spoken: payloads of other people's encoders (tests/data/payloads), through RTP."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import soxr
from material import CLIPS, DATA, load
from rtp_traffic import Listener, pcmu

from livemos.agent.codecs import make_decoder, make_encoder
from livemos.agent.codecs.framing import split_amr, split_g726, split_speex
from livemos.agent.errors import CodecError
from livemos.agent.records import EventKind, Samples

FORMATS = {  # file: encoding, least likeness to what was encoded
    **{
        f"{packing}g726-{rate}": (f"{packing}G726-{rate}/8000", least)
        for packing in ("", "aal2-")
        for rate, least in ((16, 0.96), (24, 0.98), (32, 0.99), (40, 0.99))
    },
    "amr-octet-aligned": ("AMR/8000;octet-align=1", 0.82),
    "amr-efficient": ("AMR/8000", 0.8),
    "amr-wb-octet-aligned": ("AMR-WB/16000;octet-align=1", 0.9),
    "amr-wb-efficient": ("AMR-WB/16000", 0.9),
    "gsm": ("GSM/8000", 0.93),
    "speex-8000": ("speex/8000", 0.8),
    "speex-8000-low": ("speex/8000", 0.8),
    "speex-8000-middle": ("speex/8000", 0.8),
    "speex-16000": ("speex/16000", 0.8),
    "speex-32000": ("speex/32000", 0.8),
    "g729": ("G729/8000", 0.8),
}


def payloads(name: str) -> list[bytes]:
    data = (DATA / "payloads" / f"{name}.payloads").read_bytes()
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 2])
        found.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    return found


def likeness(heard: Samples, rate_hz: int) -> float:
    """Greatest correlation with the clip over all delays up to 60 ms: coders look ahead."""
    clip = load(CLIPS[1])[16_000 : 16_000 + 32_000]
    sent = soxr.resample(clip, 16_000, rate_hz) if rate_hz != 16_000 else clip
    size = scipy.fft.next_fast_len(len(sent) + len(heard), real=True)
    product = scipy.fft.rfft(heard, size) * np.conj(scipy.fft.rfft(sent, size))
    delay = int(np.argmax(scipy.fft.irfft(product, size)[: rate_hz * 6 // 100]))
    length = min(len(sent), len(heard) - delay)
    return float(np.corrcoef(sent[:length], heard[delay : delay + length])[0, 1])


@pytest.mark.parametrize("name", FORMATS)
def test_speech_of_another_encoder_is_heard(name: str) -> None:
    """A wrong bit order, frame length or table leaves noise; the words would be gone."""
    encoding, least = FORMATS[name]
    decoder = make_decoder(encoding)
    heard = []
    for payload in payloads(name):
        audio = decoder.decode(payload)
        assert decoder.packet_samples(payload) == len(audio)
        heard.append(audio)
    assert likeness(np.concatenate(heard), decoder.sample_rate_hz) >= least


@pytest.mark.parametrize("name", ["amr-efficient", "g729", "g726-24", "speex-16000"])
def test_it_is_played_by_a_session_with_its_own_clock(name: str) -> None:
    """From SDP's words to audio: the packets' length in ticks comes from the payload."""
    encoding, _ = FORMATS[name]
    decoder = make_decoder(encoding)
    listener = Listener({96: encoding})
    timestamp, now, sent = 0, 0.0, 0
    for number, payload in enumerate(payloads(name)[:60]):
        listener.blocks += listener.session.push(pcmu(number, timestamp, payload_type=96, payload=payload), now)
        samples = decoder.packet_samples(payload)
        timestamp, now, sent = timestamp + samples, now + samples / decoder.sample_rate_hz, sent + samples
    assert len(listener.samples()) == sent
    assert listener.events() == []


def test_a_pause_of_amr_and_g729_is_told_from_speech() -> None:
    """Comfort noise frames announce that nothing comes: no loss, no stall, no concealment."""
    for name in ("amr-octet-aligned", "g729"):
        decoder = make_decoder(FORMATS[name][0])
        pauses = [decoder.is_pause(payload) for payload in payloads(name)]
        assert not any(pauses[:50])
        assert any(pauses[100 if name.startswith("amr") else 80 :])
    assert make_decoder("AMR/8000;octet-align=1").is_pause(b"\xf0\x7c")  # no data


def test_a_lost_packet_of_theirs_is_concealed_as_any() -> None:
    """The gap is filled, and what follows is still speech."""
    decoder = make_decoder("AMR/8000;octet-align=1", concealment="pitch")
    parts = payloads("amr-octet-aligned")
    heard = []
    for index, payload in enumerate(parts):
        heard.append(decoder.conceal(160) if index % 20 == 10 else decoder.decode(payload))
    assert 0.5 < likeness(np.concatenate(heard), 8_000) < 0.95


@pytest.mark.parametrize(
    ("encoding", "payload", "problem"),
    [
        ("GSM/8000", bytes(33), "1101"),
        ("GSM/8000", b"\xd0" + bytes(31), "frames of 33 bytes"),
        ("G729/8000", bytes(11), "frames of 10 bytes"),
        ("G726-24/8000", bytes(61), "multiple of 3 bytes"),
        ("AMR/8000;octet-align=1", b"\xf0\x3c" + bytes(20), "ends inside a frame"),
        ("AMR/8000;octet-align=1", b"\xf0\x5c" + bytes(31), "frame type 11"),
        ("speex/8000", b"\x38" + bytes(3), "ends inside a frame"),
        ("iLBC/8000", bytes(37), "50 bytes"),
        ("AMR/8000", b"", "ends inside a frame"),
        ("AMR/8000;octet-align=1", b"\xf0\x44" + bytes(6), "more than its frames"),
        ("speex/8000", b"", "holds no frame"),
    ],
)
def test_what_its_format_cannot_be_is_refused(encoding: str, payload: bytes, problem: str) -> None:
    """Another codec under this number would be heard as noise."""
    with pytest.raises(CodecError, match=problem):
        make_decoder(encoding).decode(payload)


@pytest.mark.parametrize("name", [*FORMATS, "ilbc"])
def test_damaged_octets_are_audio_of_the_length_that_was_said_or_refused(name: str) -> None:
    """The receive thread lives through whatever comes under a number: nothing but CodecError leaves a decoder."""
    rng, decoder, heard = np.random.default_rng(11), make_decoder(FORMATS.get(name, ("iLBC/8000", 0.0))[0]), 0
    real = payloads(name) if name in FORMATS else [bytes(50)]
    for number in range(200):
        octets = np.frombuffer(real[number % len(real)], np.uint8).copy()
        octets[rng.integers(0, len(octets), 4)] = rng.integers(0, 256, 4, np.uint8)
        payload = octets.tobytes()[: len(octets) if number % 4 else int(rng.integers(0, len(octets)))]
        try:
            samples, audio = decoder.packet_samples(payload), decoder.decode(payload)
        except CodecError:
            continue
        assert len(audio) == samples
        assert np.abs(audio).max() <= 1.0
        heard += 1
    assert heard > 10


def test_ilbc_is_timed_by_its_mode_and_answers_in_both() -> None:
    """No encoder was at hand: that the decoder starts in each mode and keeps the clock is all that is shown."""
    for encoding, octets, samples in (("iLBC/8000", 50, 240), ("iLBC/8000", 38, 160), ("iLBC/8000;mode=20", 76, 320)):
        decoder = make_decoder(encoding)
        payload = np.random.default_rng(3).integers(0, 256, octets, np.uint8)
        payload[octets - 1 :] &= 0xFE  # the last bit of a frame is zero
        payload[37::38] &= 0xFE
        assert decoder.packet_samples(payload.tobytes()) == samples == len(decoder.decode(payload.tobytes()))
    with pytest.raises(CodecError, match="20 or 30"):
        make_decoder("iLBC/8000;mode=25")


def test_amr_with_interleaving_is_refused_with_the_reason() -> None:
    """Its frames would come in another order than they were spoken."""
    with pytest.raises(CodecError, match="interleaving is not decoded"):
        make_decoder("AMR/8000;octet-align=1;interleaving=4")
    with pytest.raises(CodecError, match="does not encode"):
        make_encoder("GSM/8000")


def test_the_packings_are_what_their_rfcs_say() -> None:
    """By hand: an AMR frame of comfort noise in either packing, G.726's first code in the low bits, Speex in octets."""
    text = "".join(str(n % 3 % 2) for n in range(39))  # the bits of a comfort noise frame, type 8
    storage = bytes([8 << 3 | 4]) + int(text + "0", 2).to_bytes(5)
    efficient = int("1111" + "010001" + text + "0" * 7, 2).to_bytes(7)
    aligned = int("11110000" + "01000100" + text + "0", 2).to_bytes(7)
    for payload, octet_aligned in ((efficient, False), (aligned, True)):
        (frame,) = split_amr(payload, wide=False, octet_aligned=octet_aligned)
        assert (frame.octets, frame.speech) == (storage, False)
    assert split_g726(b"\x21", 4, first_code_in_low_bits=True)[0].octets == b"\x12"
    # codes 1, 2, 3 of 3 bits: 001, 010, 011 from the low bit up are 0xD1 0x00; from the high bit down 0x29 0x80
    low = (1 | 2 << 3 | 3 << 6).to_bytes(3, "little")
    assert split_g726(low, 3, first_code_in_low_bits=True)[0].octets == b"\x29\x80\x00"
    silence = "00000" * 2 + "01111" + "1"  # two empty frames, then the terminator
    assert len(split_speex(int(silence, 2).to_bytes(2), 0)) == 2


def test_a_missing_library_is_told_and_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """G.729 has a static number: a machine without its decoder must say so and go on counting."""
    import av

    monkeypatch.setattr(av, "codecs_available", set())
    listener = Listener()
    listener.hear(pcmu(number, payload_type=18, payload=bytes(20)) for number in range(10))
    assert listener.session.statistics().received_packets == 10
    (event,) = listener.session.take_events()
    assert event.kind is EventKind.UNKNOWN_PAYLOAD_TYPE
    assert "no decoder g729" in event.detail
