"""Reasons instead of scores: what the gate must never let through, and what it must never hold back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from livemos.agent.features import LogMel
from livemos.agent.gate import bandwidth_hz, measure, reasons_after, reasons_before
from livemos.agent.reasons import Reason
from livemos.agent.records import Samples


def _reason(segment: Samples, concealed: float = 0.0) -> Reason | None:
    batch = segment[None].astype(np.float32)
    return reasons_before(batch, measure(batch), np.array([concealed], np.float32))[0]


def test_each_kind_of_unusable_segment_has_its_reason(noise: Callable[..., Samples]) -> None:
    """A wrong score is worse than none, and an operator acts differently on each of these."""
    broken = noise(16_000)
    broken[5] = np.nan
    infinite = noise(16_000)
    infinite[5] = np.inf
    assert _reason(broken) is Reason.BAD_AUDIO
    assert _reason(infinite) is Reason.BAD_AUDIO
    huge, loud = noise(16_000), noise(16_000)
    huge[5], loud[5] = -1e19, 8.0  # finite, and beyond what features can hold; and a float file 18 dB over full scale
    assert _reason(huge) is Reason.BAD_AUDIO
    assert _reason(noise(16_000, level=0.1) * 32_768) is Reason.BAD_AUDIO  # 16-bit numbers taken for floats
    assert _reason(loud) is None
    assert _reason(np.full(16_000, 0.3)) is Reason.BAD_AUDIO
    assert _reason(np.zeros(16_000)) is Reason.SILENCE
    assert _reason(noise(16_000, level=1e-4)) is Reason.SILENCE
    assert _reason(noise(16_000), concealed=0.9) is Reason.TOO_MUCH_CONCEALED


def test_quiet_sound_and_sound_on_a_dc_offset_reach_the_network(noise: Callable[..., Samples]) -> None:
    """Speech of -50 dBov is a finding, not silence; a DC offset is taken off before the level is judged."""
    assert _reason(noise(16_000, level=10 ** (-50 / 20))) is None
    assert _reason(noise(16_000, level=0.05) + 0.4) is None
    assert _reason(noise(16_000, level=1e-4) + 0.4) is Reason.SILENCE
    assert _reason(noise(16_000), concealed=0.5) is None


def test_one_bad_segment_does_not_touch_its_neighbours_in_the_batch(noise: Callable[..., Samples]) -> None:
    """One stream's NaN must not cost another stream its score."""
    batch = np.stack([noise(16_000), np.full(16_000, np.nan, np.float32), noise(16_000, seed=1)])
    reasons = reasons_before(batch, measure(batch), np.zeros(3, np.float32))
    assert reasons == [None, Reason.BAD_AUDIO, None]


def test_levels_are_rms_in_dbov_and_clipping_is_a_share_of_samples() -> None:
    """0 dBov is the full-scale square wave, so a full-scale sine reads -3.01."""
    sine = np.sin(2 * np.pi * 997 * np.arange(16_000) / 16_000).astype(np.float32)
    measures = measure(np.stack([sine, 0.1 * sine, np.clip(3 * sine, -1, 1)]))
    assert measures.level_dbov[0] == pytest.approx(-3.01, abs=0.01)
    assert measures.level_dbov[1] == pytest.approx(-23.01, abs=0.01)
    assert measures.clipped_ratio[1] == 0.0
    assert 0.7 < measures.clipped_ratio[2] < 0.85


def test_a_level_keeps_its_digits_whatever_lies_under_it(noise: Callable[..., Samples]) -> None:
    """Measured in one pass, a soft voice on an offset would be lost in the rounding of the offset."""
    sounds = [noise(16_000, level) + np.float32(offset) for level in (0.3, 1e-3, 2e-5) for offset in (0.0, 0.02, -0.7)]
    batch = np.stack(sounds)
    measures = measure(batch)
    expected = 10 * np.log10(batch.astype(np.float64).var(axis=1))
    np.testing.assert_allclose(measures.level_dbov, expected, atol=2e-3)
    assert measures.level_dbov.dtype == np.float32
    assert measure(np.zeros((1, 16_000), np.float32)).level_dbov[0] == -np.inf


def test_clipping_of_either_sign_is_counted_in_its_own_segment(noise: Callable[..., Samples]) -> None:
    """Most segments are not looked through for it; those that reach full scale with one sign alone are."""
    batch = np.stack([noise(16_000, 0.05, seed) for seed in range(4)])
    batch[1, :160] = -1.0
    batch[3, :16] = 0.99
    batch[2, 0] = np.nan
    batch[2, 1:17] = 1.0
    np.testing.assert_allclose(measure(batch).clipped_ratio, [0.0, 0.01, 0.001, 0.001])


def test_the_network_answer_is_withheld_when_it_is_not_finite_or_hears_no_speech() -> None:
    """A model that failed must say so, and music must not get a speech score."""
    after = reasons_after(np.array([False, True, True]), np.array([0.9, 0.1, 0.3], np.float32), 0.2)
    assert after == [Reason.MODEL_ERROR, Reason.NO_SPEECH, None]


@pytest.mark.parametrize("cutoff_hz", [3_400, 5_000, 7_900])
def test_the_bandwidth_follows_the_cut_off_of_the_sound(noise: Callable[..., Samples], cutoff_hz: int) -> None:
    """Narrowband in a wideband container is judged by what is heard."""
    spectrum = np.fft.rfft(noise(16_000))
    spectrum[cutoff_hz:] = 0
    sound = np.fft.irfft(spectrum, 16_000).astype(np.float32)
    log_mel = LogMel()
    assert bandwidth_hz(log_mel(sound[None]), log_mel)[0] == pytest.approx(cutoff_hz, rel=0.08)


@pytest.mark.parametrize("frames", [97, 98])
def test_a_sound_of_one_moment_has_its_bandwidth_wherever_it_lies(noise: Callable[..., Samples], frames: int) -> None:
    """One fricative in a second of vowels shows the band; it may come first, last or in the middle."""
    log_mel = LogMel()
    features = np.full((frames, frames, log_mel.mel_bands), -4.0, np.float32)
    features[..., 30:] = -11.5
    features[np.arange(frames), np.arange(frames), 60] = -4.0
    assert set(bandwidth_hz(features, log_mel).tolist()) == {np.float32(log_mel.band_edges_hz[61])}
