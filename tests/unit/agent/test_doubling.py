"""Telephone audio is doubled by a filter of our own: in sound it must be FFmpeg's, in bits no library's."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from livemos.agent.doubling import HELD_BACK_SAMPLES, TAPS, RateDoubler
from livemos.agent.records import Samples
from livemos.agent.resample import StreamResampler


def speechlike(samples: int, seed: int = 0) -> Samples:
    """Noise below 3.4 kHz at 8 kHz, on the grid of a 16-bit codec."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(samples) * 0.2)
    spectrum[round(len(spectrum) * 0.85) :] = 0
    return (np.rint(np.fft.irfft(spectrum, samples) * 32_768) / 32_768).astype(np.float32)


def test_every_sum_is_exact() -> None:
    """Only an exact sum is the same for every matrix shape, processor and library: the score log hangs on it."""
    samples = speechlike(400)
    played = RateDoubler().push(samples)
    impulse = np.zeros(400, np.float32)
    impulse[200] = 1.0
    # the weights as the filter itself shows them, the newest input's first
    weights = [Fraction(float(each)) for each in RateDoubler().push(impulse)[1::2][200 - 32 : 200 + 32]]
    for n in range(100, 130):
        exact = sum(w * Fraction(float(samples[n + 32 - k])) for k, w in enumerate(weights))
        assert played[2 * n + 1] == np.float32(float(exact)), n
        assert played[2 * n] == samples[n]


@pytest.mark.parametrize("cut", [1, 31, 160, 4_000])
def test_any_cut_gives_the_same_bits(cut: int) -> None:
    """Packets come alone or in runs, and concealed audio lies on no codec's grid."""
    samples = np.random.default_rng(2).uniform(-1, 1, 8_000).astype(np.float32)
    whole, cut_up = RateDoubler(), RateDoubler()
    parts = [cut_up.push(samples[start : start + cut]) for start in range(0, 8_000, cut)]
    np.testing.assert_array_equal(np.concatenate(parts), whole.push(samples))


def test_it_is_the_filter_that_the_model_was_trained_behind() -> None:
    """Clips of other rates go through FFmpeg: a band more or less would move every score of a telephone call."""
    samples = speechlike(16_000)
    ours = StreamResampler(8_000)
    theirs = StreamResampler(8_000)
    theirs._doubler = None  # the way of all other rates
    one, other = (np.concatenate([each.push(samples), each.flush()]) for each in (ours, theirs))
    difference = (one - other)[200:-200]
    assert 10 * np.log10(np.mean(difference**2) / np.mean(other**2)) < -110


def test_what_is_not_a_number_spoils_as_far_as_the_filter_reaches_whatever_the_cut() -> None:
    """A bad block makes one segment unscorable; a spoilt matrix row would spoil more, and depend on the packets."""
    samples = speechlike(2_000)
    samples[1_000] = np.inf
    whole, cut_up = RateDoubler(), RateDoubler()
    played = whole.push(samples)
    parts = [cut_up.push(samples[start : start + 160]) for start in range(0, 2_000, 160)]
    np.testing.assert_array_equal(np.concatenate(parts), played)
    assert np.count_nonzero(~np.isfinite(played)) == TAPS + 1


def test_a_short_push_waits_for_what_lies_behind_it() -> None:
    """Half the filter is held back, not a sample more: a score is due 150 ms after its second."""
    doubler = RateDoubler()
    assert len(doubler.push(np.ones(HELD_BACK_SAMPLES, np.float32))) == 0
    assert len(doubler.push(np.ones(1, np.float32))) == 2
    assert len(doubler.push(np.ones(0, np.float32))) == 0
