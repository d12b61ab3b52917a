from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from livemos.agent.errors import ConfigError
from livemos.agent.records import Samples
from livemos.agent.scorer import Scorer
from livemos.training.evaluation import robustness
from livemos.training.evaluation.ladder import LADDER, at_level, clipped, damaged, gap, lost, white_noise
from livemos.training.levels import active_frames, active_level_dbov

SPEAKERS = ("en-ls6081", "en-ls2007", "en-ls7447")


@pytest.fixture(scope="module")
def clips(clean_folder: Path) -> list[Samples]:
    return [soundfile.read(clean_folder / f"{name}.flac", dtype="float32")[0] for name in SPEAKERS]


def test_every_damage_changes_the_clip_within_full_scale_and_repeats(clips: list[Samples]) -> None:
    """A damage that does nothing, or another thing each time, would make the table noise."""
    for name, rung in LADDER.items():
        once = damaged(clips[0], clips[1], rung, 3)
        assert np.abs(once).max() <= 1 and once.dtype == np.float32, name
        assert np.sqrt(np.mean((once - at_level(clips[0])[: len(once)]) ** 2)) > 1e-4, name
        np.testing.assert_array_equal(once, damaged(clips[0], clips[1], rung, 3), err_msg=name)


def test_five_per_cent_means_five_per_cent(clips: list[Samples]) -> None:
    """The table names amounts; they must be the amounts."""
    speech = at_level(clips[0])
    flat = clipped(speech, 0.05)
    active = np.repeat(active_frames(speech), 160)
    at_limit = np.abs(flat[: len(active)][active]) >= np.abs(flat).max() * 0.9999
    assert at_limit.mean() == pytest.approx(0.05, abs=0.003)
    assert np.mean(flat**2) == pytest.approx(np.mean(speech**2), rel=1e-3)
    ones = np.ones(320 * 100, np.float32)
    assert 1 - lost(ones, 0.15, np.random.default_rng(0), repeat=False).mean() == pytest.approx(0.15)
    ramp = np.arange(320 * 100, dtype=np.float32)
    repeated = lost(ramp, 0.15, np.random.default_rng(0), repeat=True)
    assert (repeated != ramp).mean() == pytest.approx(0.15) and not (repeated[320:] == 0).any()


def test_levels_and_noise_are_as_named(clips: list[Samples]) -> None:
    """20 dB SNR is 20 dB below the active level, not below the mean with its pauses."""
    speech = at_level(clips[0])
    assert active_level_dbov(speech) == pytest.approx(-26, abs=0.1)
    noise = white_noise(speech, 20.0, np.random.default_rng(0)) - speech
    assert 10 * np.log10(np.mean(noise**2)) == pytest.approx(-46, abs=0.1)
    assert (gap(speech) == 0).sum() >= 8_000


def test_the_packaged_model_falls_where_it_must_and_presence_is_counted(clips: list[Samples]) -> None:
    """The whole measurement on three clips: the figures in the table are those of the model."""
    result = robustness.measure(clips, {"recorded noise": [np.full(16_000, 0.1, np.float32)]}, Scorer(), lambda: None)
    by_name = {str(row["damage"]): row for row in result.ladder}
    assert next(iter(by_name)) == robustness.CLEAN and set(LADDER) < set(by_name)
    for name in ("one 0.5 s gap", "echo 200 ms -10 dB", "clipped 5 %", "5 % zeroed", "hum 50 Hz 10 dB"):
        low, change, high = (float(str(by_name[name][key])) for key in ("mos_low", "mos", "mos_high"))
        assert low <= change <= high and high - low < 1, name
        # the lowest second of a clip cannot lose less than its mean gains
        assert float(str(by_name[name]["worst_second"])) < 0.5, name
    assert float(str(by_name["5 % zeroed"]["mos_high"])) < 0
    assert float(str(by_name["15 % zeroed"]["discontinuity"])) < -1
    assert float(str(by_name["white noise 20 dB"]["noisiness"])) < -0.5
    assert float(str(by_name["level -35 dB"]["loudness"])) < -1 and by_name["level -35 dB"]["lowered_ratio"] == 1
    presence = {str(row["sound"]): row for row in result.presence}
    assert presence["digital silence"]["right_ratio"] == 1 and presence["digital silence"]["segments"] == 11
    assert (
        presence["speech, clean"]["wanted"] == "scored" and float(str(presence["speech, clean"]["right_ratio"])) > 0.9
    )


def test_a_sound_meets_the_goal_from_ninety_five_per_cent_on() -> None:
    """Silence, noise, every call signal and music are held to it; one second in twenty may be wrong."""
    assert {"digital silence", "white noise", "tones", "dial tone", "busy tone", "ringing tone"} <= set(
        robustness.synthetic_sounds()
    )
    assert robustness._share("a", "unset", [True] * 19 + [False])["goal_met"] is True
    assert robustness._share("a", "unset", [True] * 18 + [False])["goal_met"] is False
    assert robustness._share("a", "unset", [])["goal_met"] is False
    busy = robustness.synthetic_sounds()["busy tone"][0]
    assert not busy[8_000:16_000].any() and busy[16_001:20_000].any(), "half a second on, half a second off"


def test_own_causes_are_held_against_the_others() -> None:
    """The matrix in one line a dimension: own falls 2 and 1, the other's 0.5 and -0.1, by hand."""
    still = dict.fromkeys(("noisiness", "coloration", "discontinuity", "loudness"), 0.0)
    ladder: list[dict[str, object]] = [
        {"damage": "a", "own_dimension": "noisiness", **still, "noisiness": -2.0},
        {"damage": "b", "own_dimension": "noisiness", **still, "noisiness": -1.0},
        {"damage": "c", "own_dimension": "loudness", **still, "noisiness": -0.5},
        {"damage": "d", "own_dimension": "loudness", **still, "noisiness": 0.1},
        {"damage": "e", "own_dimension": "", **still, "noisiness": -9.0},
    ]
    noisiness = robustness.own_against_others(ladder)[0]
    assert noisiness == {
        "dimension": "noisiness",
        "own_mean_fall": 1.5,
        "others_mean_fall": pytest.approx(0.2),
        "others_largest_fall": 0.5,
    }


def test_only_held_out_sounds_without_voices_are_asked(tmp_path: Path) -> None:
    """Babble is speech, and noise that was trained on proves nothing."""
    rows = [("n1", "noise", "rain", "test"), ("n2", "noise", "babble", "test"), ("n3", "noise", "rain", "train")]
    lines = [f"{path}.flac,{kind},{category},{split}" for path, kind, category, split in rows]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,kind,category,split", *lines]) + "\n", encoding="utf-8")
    soundfile.write(tmp_path / "n1.flac", np.zeros(8_000, np.float32), 8_000)
    sounds = robustness.recorded_sounds(tmp_path)
    assert list(sounds) == ["recorded noise"] and [len(each) for each in sounds["recorded noise"]] == [16_000]


def test_a_folder_that_cannot_serve_is_named(tmp_path: Path) -> None:
    """A wrong --clean or --data must say what it wanted."""
    with pytest.raises(ConfigError, match=r"is no folder; give a folder of clean recordings with --clean"):
        robustness.read_clean(tmp_path / "none")
    soundfile.write(tmp_path / "one.flac", np.zeros(16_000, np.float32), 16_000)
    with pytest.raises(ConfigError, match="holds 1 recordings; at least 2 are needed"):
        robustness.read_clean(tmp_path)
    with pytest.raises(ConfigError, match=r"has no manifest\.csv"):
        robustness.recorded_sounds(tmp_path)
