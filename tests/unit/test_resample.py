"""The resampler's promises: aligned, whole, quick, clean, and the same for any cut of its input."""

from __future__ import annotations

import numpy as np
import pytest

from livemos.agent.records import Samples
from livemos.agent.resample import StreamResampler, to_mono

RATES_HZ = (8_000, 11_025, 12_000, 22_050, 24_000, 32_000, 44_100, 48_000)


def tone(hz: float, rate: int, seconds: float = 1.0) -> Samples:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def resampled(samples: Samples, rate: int, block: int = 10**9) -> Samples:
    resampler = StreamResampler(rate)
    parts = [resampler.push(samples[i : i + block]) for i in range(0, len(samples), block)]
    return np.concatenate([*parts, resampler.flush()])


def level_db(samples: Samples, hz: int) -> float:
    """Level of the component at `hz` of 1 s at 16 kHz, relative to the tone that went in."""
    middle = samples[2_000:14_000]
    window = np.hanning(len(middle))
    wave = np.exp(-2j * np.pi * hz * np.arange(len(middle)) / 16_000)
    return float(20 * np.log10(np.abs((middle * window) @ wave) / window.sum() * 4 + 1e-12))


@pytest.mark.parametrize("rate", RATES_HZ)
def test_the_output_does_not_depend_on_how_the_input_was_cut(rate: int) -> None:
    """Segments have to be the same for any packetisation."""
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, rate).astype(np.float32)
    np.testing.assert_array_equal(resampled(noise, rate, block=rate // 50), resampled(noise, rate, block=777))


@pytest.mark.parametrize("rate", RATES_HZ)
def test_a_tone_keeps_its_phase_and_level(rate: int) -> None:
    """Sample 16,000 is the second's end in the score's address; a delay inside would shift the whole call."""
    played = resampled(tone(1_000, rate), rate)
    assert len(played) == 16_000
    np.testing.assert_allclose(played[500:-500], tone(1_000, 16_000)[500:-500], atol=2e-4)


@pytest.mark.parametrize("rate", RATES_HZ)
def test_at_most_5_ms_are_held_back(rate: int) -> None:
    """A score is due 150 ms after its second; soxr's stream alone would take 115 of them."""
    resampler = StreamResampler(rate)
    pushed = given = 0
    for _ in range(50):
        given += len(resampler.push(np.zeros(rate // 50, np.float32)))
        pushed += rate // 50
    assert 0 <= pushed / rate - given / 16_000 <= 0.005


@pytest.mark.parametrize("rate", [*RATES_HZ, 16_000])
@pytest.mark.parametrize("samples", [0, 1, 5, 100, 1_601])
def test_the_length_is_right_for_clips_of_any_length(rate: int, samples: int) -> None:
    """FFmpeg's own flush gives nothing for input shorter than its filter."""
    assert abs(len(resampled(np.ones(samples, np.float32), rate)) - samples * 16_000 / rate) <= 1


def test_images_of_narrow_band_speech_stay_below_90_db() -> None:
    """An image above 4 kHz would be heard as a wider, hissing band: PyAV's default filter leaves it at -27 dB."""
    played = resampled(tone(3_600, 8_000), 8_000)
    assert level_db(played, 3_600) == pytest.approx(0, abs=0.1)
    assert level_db(played, 4_400) < -90


@pytest.mark.parametrize("rate", [24_000, 44_100, 48_000])
def test_what_lies_above_8_khz_does_not_fold_back(rate: int) -> None:
    """Sibilants of full-band speech would come back as whistling."""
    assert level_db(resampled(tone(9_000, rate), rate), 7_000) < -90
    assert level_db(resampled(tone(7_400, rate), rate), 7_400) == pytest.approx(0, abs=0.1)


def test_a_nan_spoils_its_neighbourhood_only() -> None:
    """One bad block makes one segment unscorable, not the rest of the call."""
    samples = tone(1_000, 8_000)
    samples[4_000] = np.nan
    spoilt = np.flatnonzero(np.isnan(resampled(samples, 8_000, block=160)))
    assert 0 < len(spoilt) <= 160
    assert abs(spoilt.mean() - 8_000) < 100


def test_equal_rates_hand_the_samples_through_without_a_copy() -> None:
    """Opus and G.722 streams come at 16 kHz."""
    samples = tone(440, 16_000)
    resampler = StreamResampler(16_000)
    assert resampler.push(samples) is samples
    assert len(resampler.flush()) == 0


def test_after_a_flush_a_new_stream_begins() -> None:
    """A codec change ends one stretch of audio; its tail must not ring into the next."""
    resampler = StreamResampler(8_000)
    first = np.concatenate([resampler.push(tone(500, 8_000)), resampler.flush()])
    second = np.concatenate([resampler.push(tone(500, 8_000)), resampler.flush()])
    np.testing.assert_array_equal(first, second)


def test_stereo_becomes_the_mean_of_its_channels() -> None:
    """The one rule for stereo everywhere."""
    np.testing.assert_allclose(to_mono(np.array([[1.0, 0.0], [0.5, -0.5]], np.float32)), [0.5, 0.0])
    mono = np.ones(3, np.float32)
    assert to_mono(mono) is mono
    with pytest.raises(ValueError, match=r"\(N, C\)"):
        to_mono(np.ones((1, 2, 3), np.float32))


@pytest.mark.parametrize("rate", [0, -8_000, 500, 10**6])
def test_an_impossible_rate_is_refused(rate: int) -> None:
    """It would come from a damaged file header."""
    with pytest.raises(ValueError, match="between 1,000 and 384,000"):
        StreamResampler(rate)
