"""Opus framing (RFC 6716 section 3) and its two repairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from livemos.agent.codecs import make_decoder, make_encoder
from livemos.agent.codecs.opus import library_version, packet_samples_48k
from livemos.agent.errors import CodecError
from livemos.agent.records import Samples


@pytest.mark.parametrize(
    ("payload", "milliseconds"),
    [
        (bytes([0x78, 0]), 20),  # configuration 15: hybrid full band, 20 ms, one frame
        (bytes([0x00, 0]), 10),  # configuration 0: SILK narrow band, 10 ms
        (bytes([0x18, 0]), 60),
        (bytes([0x19, 0]), 120),  # two frames of 60 ms
        (bytes([0x80, 0]), 2.5),  # CELT narrow band
        (bytes([0x7B, 6]), 120),  # code 3: six frames of 20 ms
    ],
)
def test_the_toc_octet_tells_the_duration(payload: bytes, milliseconds: float) -> None:
    """Loss is measured in time: the wrong duration shifts everything behind a gap."""
    assert packet_samples_48k(payload) == milliseconds * 48


@pytest.mark.parametrize("payload", [b"", bytes([0x7B]), bytes([0x7B, 7]), bytes([0x7B, 0])])
def test_a_packet_over_120_ms_or_without_frames_is_refused(payload: bytes) -> None:
    """RFC 6716 section 3.4 makes them invalid; libopus would be asked for a buffer of any length."""
    with pytest.raises(CodecError, match="Opus"):
        make_decoder("opus/48000/2").decode(payload)


def played_with_a_loss(heard: Samples, *, fec: bool) -> tuple[Samples, Samples]:
    """(what is played in place of packet 25, what it held)."""
    encoder = make_encoder("opus/48000/2", bitrate_bps=24_000, fec=True, expected_loss_ratio=0.3)
    payloads = [encoder.encode(heard[i : i + 320]) for i in range(0, len(heard) - 319, 320)]
    whole, broken = make_decoder("opus/48000/2"), make_decoder("opus/48000/2")
    for payload in payloads[:25]:
        whole.decode(payload)
        broken.decode(payload)
    return broken.conceal(320, payloads[26] if fec else None), whole.decode(payloads[25])


def test_in_band_fec_restores_a_lost_packet_better_than_concealment() -> None:
    """FEC is why libopus is called directly: without it livemos scores a worse call than the listener hears."""
    rng = np.random.default_rng(3)
    t = np.arange(16_000) / 16_000
    # a pitch that jumps every 40 ms, so that nothing before the loss foretells what was lost
    pitch = np.repeat(rng.uniform(90, 300, 25), 640)
    heard = (0.2 * np.sign(np.sin(2 * np.pi * np.cumsum(pitch) / 16_000)) * (0.5 + 0.5 * np.cos(9 * t))).astype(
        np.float32
    )
    (concealed, lost), (restored, _) = played_with_a_loss(heard, fec=False), played_with_a_loss(heard, fec=True)
    assert np.corrcoef(restored, lost)[0, 1] > 0.8
    assert np.square(restored - lost).mean() < 0.5 * np.square(concealed - lost).mean()


def test_a_stereo_sender_is_heard_as_the_mean_of_both_channels(voice: Callable[[int, float], Samples]) -> None:
    """One party on the left alone must come out at half its level, not vanish and not double."""
    import av

    context = av.CodecContext.create("libopus", "w")
    context.sample_rate, context.layout, context.format, context.bit_rate = 48_000, "stereo", "flt", 128_000
    context.open()
    left = voice(48_000, 1.0)
    decoder = make_decoder("opus/48000/2")
    played = []
    for start in range(0, 48_000, 960):
        interleaved = np.stack([left[start : start + 960], np.zeros(960, np.float32)], axis=1).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(interleaved), format="flt", layout="stereo")
        frame.sample_rate = 48_000
        played += [decoder.decode(bytes(packet)) for packet in context.encode(frame)]
    assert np.concatenate(played)[3_200:].std() == pytest.approx(left[9_600:].std() / 2, rel=0.1)


def test_the_library_says_its_version() -> None:
    """A score that differs between two machines is first asked for its decoder."""
    assert library_version().startswith("libopus ")
