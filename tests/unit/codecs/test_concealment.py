"""What a gap sounds like, measured where it begins, inside, and where it ends."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from livemos.agent.codecs.concealment import CONCEALERS, PitchRepetition, make_concealer
from livemos.agent.errors import CodecError
from livemos.agent.records import Samples


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_a_steady_tone_goes_on_through_10_ms_as_if_nothing_were_missing(rate: int) -> None:
    """The pitch is found and the phase kept; 150 Hz is a voice."""
    t = np.arange(rate // 5) / rate
    tone = (0.5 * np.sin(2 * np.pi * 150 * t)).astype(np.float32)
    concealer = PitchRepetition(rate)
    concealer.heard(tone[: rate // 10])
    gap = rate // 100
    made = concealer.conceal(gap)
    wanted = tone[rate // 10 : rate // 10 + gap]
    assert np.square(made - wanted).mean() < 0.01 * np.square(wanted).mean()


def growing_tone() -> Samples:
    """160 Hz at 8 kHz, 28 % louder each cycle, ending on a peak of 0.3: repeating its last cycle plainly would jump."""
    n = np.arange(1_001) - 1_000
    return (0.3 * np.cos(2 * np.pi * n / 50) * np.exp(n / 200)).astype(np.float32)


def test_a_gap_begins_and_goes_round_without_a_click() -> None:
    """A step at a seam is a click that the listener does not hear and the score would: here it would be 0.1."""
    concealer = PitchRepetition(8_000)
    before = concealer.heard(growing_tone())
    played = np.concatenate([before[-1:], concealer.conceal(160)])
    assert np.abs(np.diff(played)).max() < 0.05


def test_a_gap_ends_without_a_click_and_leaves_the_rest_of_the_block_alone() -> None:
    """The good signal is somewhere else in its cycle; the block behind the gap is all received audio but its start."""
    concealer = PitchRepetition(8_000)
    concealer.heard(growing_tone())
    made = concealer.conceal(50)
    good = np.full(160, -0.3, np.float32)
    after = concealer.heard(good)
    assert abs(after[0] - made[-1]) < 0.1
    np.testing.assert_array_equal(after[80:], good[80:])
    assert (good == np.float32(-0.3)).all()


def test_the_level_falls_by_a_fifth_every_10_ms_after_the_first(voice: Callable[[int, float], Samples]) -> None:
    """G.711 Appendix I: full for 10 ms, silent from 60 ms on; in one call or in many."""
    speech = voice(8_000, 0.5)
    once, often = PitchRepetition(8_000), PitchRepetition(8_000)
    once.heard(speech)
    often.heard(speech)
    whole = once.conceal(640)
    np.testing.assert_array_equal(whole, np.concatenate([often.conceal(n) for n in (1, 79, 240, 320)]))
    assert np.abs(whole[480:]).max() < 1e-9
    assert 0 < np.abs(whole[400:480]).max() < 0.3 * np.abs(whole[:80]).max()


@pytest.mark.parametrize("name", sorted(CONCEALERS))
def test_a_gap_before_anything_was_heard_is_silence(name: str) -> None:
    """The first packets of a call get lost too."""
    assert not make_concealer(name, 8_000).conceal(160).any()


def test_repetition_plays_the_last_packet_again_for_60_ms() -> None:
    """What plain gateways do; the simulator lets the model hear it."""
    concealer = make_concealer("repeat", 8_000)
    packet = np.linspace(-0.5, 0.5, 160, dtype=np.float32)
    concealer.heard(packet)
    np.testing.assert_array_equal(concealer.conceal(480), np.tile(packet, 3))
    assert not concealer.conceal(160).any()


def test_nan_in_the_history_does_not_reach_the_gap() -> None:
    """One bad block must not make a whole gap unusable."""
    concealer = PitchRepetition(8_000)
    concealer.heard(np.full(800, np.nan, np.float32))
    assert np.isfinite(concealer.conceal(160)).all()


def test_an_unknown_concealment_is_refused_by_name() -> None:
    """It comes from settings and recipes."""
    with pytest.raises(CodecError, match="pitch, repeat, zero"):
        make_concealer("magic", 8_000)
