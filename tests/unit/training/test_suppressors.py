"""Real suppressors: what comes out is in time, at its level, less noisy, and known for what is left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from livemos.agent.features import LogMel
from livemos.training.clips import ACTIVE_LEVEL_DBOV
from livemos.training.damages import DAMAGE_SETS, Track
from livemos.training.damages.additive import Noise
from livemos.training.damages.suppressors import SUPPRESSORS, Suppressor
from livemos.training.labelers import pesq_wb
from livemos.training.levels import FRAME_SAMPLES, active_frames, active_level_dbov, gain, level_db
from livemos.training.simulator import Simulator
from livemos.training.sources import Library

BANDS = LogMel().mel_bands
HISS = Noise(snr_db=12.0, path="", start_sample=0, slope_db_per_octave=-3.0, seed=3)


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    """Four seconds of a real voice at the level of the simulator."""
    file = Path(__file__).parents[2] / "data" / "clean" / "en-ls2007.flac"
    samples, _ = soundfile.read(file, frames=64_000, dtype="float32")
    return np.asarray(samples * gain(ACTIVE_LEVEL_DBOV - active_level_dbov(samples)))


@pytest.mark.parametrize("name", SUPPRESSORS)
def test_noise_falls_and_speech_stays(name: str, recording: np.ndarray, library: Library) -> None:
    """Its truth is the noise that is left, not the noise that went in."""
    clean = Track.of(recording, BANDS)
    noisy = HISS.apply(clean, library)
    suppressed = Suppressor(name=name, strength=4, noise=HISS).apply(clean, library)
    assert suppressed.samples.shape == recording.shape and suppressed.samples.dtype == np.float32
    assert active_level_dbov(suppressed.samples) == pytest.approx(active_level_dbov(recording), abs=1.0)
    assert pesq_wb(recording, suppressed.samples) > pesq_wb(recording, noisy.samples) + 0.1
    pause = ~np.repeat(active_frames(recording), FRAME_SAMPLES)
    went_in_db, left_db, known_db = (
        level_db(float(np.mean(each[: len(pause)][pause] ** 2)))
        for each in (noisy.noise, suppressed.samples, suppressed.noise)
    )
    assert left_db < went_in_db - 3.0
    assert known_db == pytest.approx(left_db, abs=6.0)
    envelopes = [np.abs(each[:63_840]).reshape(-1, 160).mean(axis=1) for each in (suppressed.samples, recording)]
    shifted = [np.corrcoef(np.roll(envelopes[0], -late), envelopes[1])[0, 1] for late in range(-4, 5)]
    assert int(np.argmax(shifted)) == 4


@pytest.mark.parametrize("name", SUPPRESSORS)
def test_the_same_parameters_give_the_same_samples(name: str, recording: np.ndarray, library: Library) -> None:
    """No state of a clip before is left in the library."""
    damage = Suppressor(name=name, strength=2, noise=HISS)
    first, again = (damage.apply(Track.of(recording, BANDS), library).samples for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = damage.apply(Track.of(recording[::-1].copy(), BANDS), library).samples
    assert not np.array_equal(first, other)


def test_the_level_of_the_speech_is_restored(
    recording: np.ndarray, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loudness is another dimension; a suppressor that turns everything down must not move it."""
    monkeypatch.setitem(SUPPRESSORS, "soft", lambda samples, strength: samples // 4)
    softer = Suppressor(name="soft", strength=1, noise=replace(HISS, snr_db=40.0)).apply(
        Track.of(recording, BANDS), library
    )
    assert active_level_dbov(softer.samples) == pytest.approx(active_level_dbov(recording), abs=0.5)


def test_a_family_rises_by_the_noise_before_one_suppressor(library: Library) -> None:
    """Its members differ by the noise alone."""
    kind = DAMAGE_SETS["fourth"].kinds["suppressor"]
    drawn = [kind.draw(np.random.default_rng(5), severity, library) for severity in (0.0, 0.5, 1.0)]
    assert all(isinstance(each, Suppressor) for each in drawn)
    noises = [each.noise for each in drawn if isinstance(each, Suppressor)]
    assert noises[0].snr_db > noises[1].snr_db > noises[2].snr_db
    assert {replace(each, snr_db=0.0) for each in noises} == {replace(noises[0], snr_db=0.0)}


def test_the_fourth_set_is_mostly_what_listening_tests_are_made_of(library: Library) -> None:
    """Noise, suppressors and MNRU on top of each other; all else stays in it for company."""
    kinds = DAMAGE_SETS["fourth"].drawn(held_out=False)
    weights = {name: kind.weight for name, kind in kinds.items()}
    heard = sum(weights[name] for name in ("suppressor", "noise", "made_up_noise", "babble", "mnru"))
    share = heard / sum(weights.values())
    assert 0.6 < share < 0.8
    simulator = Simulator(library=library, seed=3, features=LogMel(), damage_set=DAMAGE_SETS["fourth"])
    alone = [len(simulator.kinds(number)) == 1 for number in range(400) if simulator.kinds(number)]
    assert 0.27 < np.mean(alone) < 0.43
    assert set(DAMAGE_SETS["third"].kinds) | {"suppressor"} == set(DAMAGE_SETS["fourth"].kinds)
