"""Damaged clips: the same every time, in the order they claim, with truth that matches what was done."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from livemos.agent.features import LogMel
from livemos.training.clips import CLIP_SAMPLES, CleanClip
from livemos.training.damages import DAMAGES, Track
from livemos.training.damages.additive import Noise
from livemos.training.damages.channel import Band, Clipping, Mutes
from livemos.training.damages.transmission import Transmission, loss_pattern
from livemos.training.levels import active_level_dbov, level_db
from livemos.training.simulator import FAMILY_CLIPS, WINDOWS, Simulator, window_truth
from livemos.training.sources import Library

BANDS = LogMel().mel_bands
OTHER_PROGRAM = {"gsm", "speex"}  # encoded by the ffmpeg of a distribution; tests/unit/training/test_coding.py


def transmission(encoding: str, lost_ratio: float, concealment: str = "zero") -> Transmission:
    return Transmission(
        encoding=encoding, packet_ms=20, lost_ratio=lost_ratio, mean_burst_packets=1.0, concealment=concealment, seed=4
    )


def clip_of(speech: np.ndarray) -> CleanClip:
    return CleanClip(samples=speech, speaker="x", source_snr_db=60.0, source_bandwidth_hz=8000.0)


def test_a_family_is_the_same_every_time_and_another_one_is_not(simulator: Simulator, library: Library) -> None:
    """Audio is not stored: the table is only explainable if (seed, family) gives the same samples again."""
    again = Simulator(library=library, seed=5, features=LogMel())
    for first, second in zip(simulator.family(3), again.family(3), strict=True):
        assert np.array_equal(first.samples, second.samples)
        assert first.damages == second.damages
    other = Simulator(library=library, seed=6, features=LogMel()).family(3)
    assert not np.array_equal(other[0].samples, simulator.family(3)[0].samples)


def test_members_of_a_family_share_the_speech_and_rise_in_severity(simulator: Simulator) -> None:
    """The order inside a family is what needs no listener."""
    for number in (0, 1, 2):
        clips = simulator.family(number)
        assert len(clips) == FAMILY_CLIPS
        assert all(np.array_equal(clip.reference, clips[0].reference) for clip in clips)
        assert [clip.severity for clip in clips] == sorted(clip.severity for clip in clips)


def test_every_ninth_family_is_no_speech(simulator: Simulator) -> None:
    """The presence output learns from windows in which nobody speaks."""
    for clip in simulator.family(8):
        assert clip.reference is None
        assert not clip.truth.speech_ratio.any()


def test_output_is_sixteen_bit_and_as_long_as_promised(simulator: Simulator) -> None:
    """The line carries 16 bits; a model that hears below them hears what no call has."""
    for clip in simulator.family(1):
        steps = clip.samples * 32768.0
        assert clip.samples.shape == (CLIP_SAMPLES,)
        assert np.abs(clip.samples).max() <= 1.0
        assert np.abs(steps - np.round(steps)).max() < 1e-3


@pytest.mark.parametrize("kind", sorted(DAMAGES.keys() - OTHER_PROGRAM))
def test_every_kind_draws_applies_and_repeats(kind: str, library: Library, speech: np.ndarray) -> None:
    """A damage is data: applied twice it gives the same finite samples, and it does something."""
    damage = DAMAGES[kind].draw(np.random.default_rng(2), 0.7, library)
    first = damage.apply(Track.of(speech, BANDS), library)
    second = damage.apply(Track.of(speech, BANDS), library)
    assert first.samples.shape == speech.shape
    assert first.samples.dtype == np.float32
    assert np.isfinite(first.samples).all()
    assert np.array_equal(first.samples, second.samples)
    assert not np.allclose(first.samples, speech, atol=1e-5)


def test_noise_is_added_at_the_ratio_it_says(library: Library, speech: np.ndarray) -> None:
    """Noisiness is labelled from this number."""
    noise = Noise(snr_db=10.0, path="n1.flac", start_sample=123, slope_db_per_octave=0.0, seed=1)
    track = noise.apply(Track.of(speech, BANDS), library)
    np.testing.assert_allclose(track.samples - speech, track.noise, atol=1e-6)
    assert active_level_dbov(speech) - level_db(float(np.mean(track.noise**2))) == pytest.approx(10.0, abs=0.2)


def test_lost_packets_are_where_the_truth_says(library: Library, speech: np.ndarray) -> None:
    """With plain samples and zero-filling, a lost packet is silence and nothing else changes."""
    track = transmission("L16/16000", 0.1).apply(Track.of(speech, BANDS), library)
    assert 0.05 < track.lost.mean() < 0.15
    assert not track.samples[track.lost].any()
    np.testing.assert_allclose(track.samples[~track.lost], speech[~track.lost], atol=1 / 32768)


@pytest.mark.parametrize("encoding", ["PCMU/8000", "PCMA/8000", "G722/8000", "opus/48000/2"])
def test_real_codecs_leave_speech_recognisable_and_conceal_what_is_lost(
    encoding: str, library: Library, speech: np.ndarray
) -> None:
    """The simulator plays calls with the agent's own parts; a shifted or silent output would teach nonsense."""
    sent = replace(transmission(encoding, 0.0), bitrate_bps=32_000 if encoding.startswith("opus") else None)
    whole = sent.apply(Track.of(speech, BANDS), library)
    spectrum = np.fft.rfft(speech) * np.conj(np.fft.rfft(whole.samples))
    lag = np.argmax(np.abs(np.fft.irfft(spectrum)))
    lag = min(lag, len(speech) - lag)
    assert lag < 200, "more than 12 ms of delay"
    assert not whole.lost.any()
    holed = replace(sent, lost_ratio=0.2, concealment="pitch").apply(Track.of(speech, BANDS), library)
    assert holed.lost.any()
    assert np.square(holed.samples[holed.lost]).mean() > 0


def test_bursts_are_as_long_and_losses_as_many_as_asked() -> None:
    """Burstiness is what separates a bad radio link from a thin one."""
    lost = loss_pattern(1, 200_000, 0.1, 4.0)
    starts = np.count_nonzero(lost[1:] & ~lost[:-1])
    assert lost.mean() == pytest.approx(0.1, abs=0.01)
    assert lost.sum() / starts == pytest.approx(4.0, rel=0.1)
    single = loss_pattern(1, 200_000, 0.1, 1.0)
    assert np.corrcoef(single[1:], single[:-1])[0, 1] == pytest.approx(0.0, abs=0.02)


def test_window_truth_tells_which_seconds_were_hit(speech: np.ndarray) -> None:
    """A window that nothing touched must be known as such, whatever its clip."""
    gap = np.zeros(CLIP_SAMPLES, np.float32)
    gap[32_000:40_000] = 1.0  # 2.0 to 2.5 s
    track = replace(Track.of(speech, BANDS), gap=gap, lost=gap > 0)
    truth = window_truth(clip_of(speech), track)
    assert truth.lost_ratio.shape == (WINDOWS,)
    assert np.flatnonzero(truth.lost_ratio).tolist() == [3, 4]  # windows from 1.5 and from 2.0 s
    assert truth.lost_ratio[4] == pytest.approx(0.5)
    assert (truth.gap_ratio[[3, 4]] > 0.2).all()
    assert not truth.gap_ratio[[0, 1, 2, 5, 6]].any()


def test_clipping_is_counted_and_keeps_the_level(library: Library, speech: np.ndarray) -> None:
    """Loudness has its own label; clipping must not change it by the way."""
    track = Clipping(peak_ratio=0.1, soft=False).apply(Track.of(speech, BANDS), library)
    assert track.clipped.mean() > 0.05
    assert active_level_dbov(track.samples) == pytest.approx(active_level_dbov(speech), abs=0.3)


def test_a_clipper_lifts_the_noise_beside_the_peaks_as_well(library: Library, speech: np.ndarray) -> None:
    """The truth about noise must say what is heard: the level is restored after the cut, and the noise with it."""
    quiet = (0.001 * np.random.default_rng(1).standard_normal(CLIP_SAMPLES)).astype(np.float32)
    noisy = replace(Track.of(speech, BANDS), samples=speech + quiet, noise=quiet)
    clipped = Clipping(peak_ratio=0.05, soft=False).apply(noisy, library)
    untouched = ~clipped.clipped
    lifted = clipped.samples[untouched] / noisy.samples[untouched]
    assert lifted.mean() > 1.2
    np.testing.assert_allclose(clipped.noise, quiet * lifted.mean(), rtol=1e-3)


def test_a_narrow_band_is_softer_and_the_truth_says_so(simulator: Simulator, speech: np.ndarray) -> None:
    """A filter that takes the bass takes level; noise that goes with it is no part of that."""
    time = np.arange(CLIP_SAMPLES) / 16_000
    # louder than the speech, and gone behind the edge
    hum = (0.1 * np.sin(2 * np.pi * 100.0 * time)).astype(np.float32)
    clean, noisy = Track.of(speech, BANDS), replace(Track.of(speech, BANDS), samples=speech + hum, noise=hum)
    narrow = Band(low_hz=600.0, high_hz=2200.0, order=6, narrow_rate=True)
    softer = simulator.apply("edges", narrow, clean)
    change_db = active_level_dbov(softer.samples) - active_level_dbov(speech)
    assert change_db < -2.0
    assert softer.level_change_db == pytest.approx(change_db, abs=0.5)
    assert simulator.apply("edges", narrow, noisy).level_change_db == pytest.approx(change_db, abs=0.7)
    assert simulator.apply("mutes", Mutes(muted_ratio=0.3, mean_seconds=0.1, seed=1), clean).level_change_db == 0.0


def test_the_level_of_a_clip_is_the_one_that_is_heard(simulator: Simulator) -> None:
    """Loudness and the price of a level are labelled from it; a filter may have taken ten decibels on the way."""
    kinds = {"telephone": simulator.damage_set.kinds["telephone"]}
    telephones = replace(simulator, damage_set=replace(simulator.damage_set, kinds=kinds, undamaged_ratio=1.0))
    worst = [clip for family in range(6) for clip in telephones.family(family)[-1:]]
    whole = [clip for clip in worst if clip.reference is not None and not clip.truth.clipped_ratio.any()]
    said, heard = [clip.level_dbov for clip in whole], [active_level_dbov(clip.samples) for clip in whole]
    assert len(said) > 3
    np.testing.assert_allclose(said, heard, atol=1.0)


def test_a_band_edge_colours_the_response_and_mutes_do_not(simulator: Simulator, speech: np.ndarray) -> None:
    """Coloration is labelled from the response that is recorded here."""
    edge = Band(low_hz=0.0, high_hz=2000.0, order=8, narrow_rate=False)
    dull = simulator.apply("band", edge, Track.of(speech, BANDS))
    assert dull.response_db[-10:].mean() < dull.response_db[10:20].mean() - 10.0
    muted = simulator.apply("mutes", Mutes(muted_ratio=0.1, mean_seconds=0.1, seed=1), Track.of(speech, BANDS))
    assert not muted.response_db.any()
    assert muted.lost.any()
