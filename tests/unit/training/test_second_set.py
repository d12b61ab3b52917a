"""The second set of damages: wide, with generators that training never hears, and the first set left as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from livemos.agent.features import LogMel
from livemos.training.clips import CLIP_SAMPLES, CleanClip
from livemos.training.damages import CAUSES, DAMAGE_SETS, DAMAGES, Track
from livemos.training.damages.surroundings import Room
from livemos.training.damages.terminal import FrontClipping, GainPumping
from livemos.training.damages.timing import CutOut, Gaps, Robotic, Slips, TimeScaling
from livemos.training.levels import FRAME_SAMPLES, active_frames, frame_power
from livemos.training.simulator import Simulator, window_truth
from livemos.training.sources import Library

BANDS = LogMel().mel_bands
FIRST_WEIGHTS = {
    "reverberation": 0.06, "noise": 0.19, "talker": 0.05, "hum": 0.02, "echo": 0.05, "clipping": 0.08,
    "equaliser": 0.03, "suppression": 0.05, "band": 0.06, "telephone": 0.03, "mnru": 0.05, "g711": 0.03,
    "g722": 0.01, "opus": 0.06, "loss": 0.26, "mutes": 0.03,
}  # fmt: skip


@pytest.fixture(scope="module")
def second(library: Library) -> Simulator:
    return Simulator(library=library, seed=11, features=LogMel(), damage_set=DAMAGE_SETS["second"])


def clip_of(speech: np.ndarray) -> CleanClip:
    return CleanClip(samples=speech, speaker="x", source_snr_db=60.0, source_bandwidth_hz=8000.0)


def test_the_first_set_keeps_its_kinds_in_order_and_weight() -> None:
    """The shipped model must be rebuilt from its recipe: another order or weight draws other clips."""
    kinds = DAMAGE_SETS["first"].kinds
    assert [(name, kind.weight) for name, kind in kinds.items()] == list(FIRST_WEIGHTS.items())
    assert not any(kind.held_out for kind in kinds.values())


def test_what_is_held_out_is_never_drawn_for_training() -> None:
    """A figure for an unseen generator is worth nothing once the generator was seen."""
    kinds = DAMAGE_SETS["second"]
    held_out = {"corridor", "gsm", "speex", "noise_filled_loss"}
    assert kinds.drawn(held_out=True).keys() - kinds.drawn(held_out=False).keys() == held_out


def test_held_out_recordings_move_from_training_to_validation(data_folder: Path) -> None:
    """A noise corpus and some rooms are judged on and never trained on; voices stay where they are."""
    held_out = frozenset({"made/up"})
    train = Library.open(data_folder, "train", permissive=True, held_out=held_out)
    val = Library.open(data_folder, "val", permissive=True, held_out=held_out)
    assert not train.of_kind("noise") and not train.of_kind("rir")
    assert {each.path for each in val.of_kind("noise")} == {"n1.flac", "n2.flac"}
    assert {each.speaker for each in val.of_kind("clean")} == {"vera"}


def test_every_kind_has_a_cause_of_the_list() -> None:
    """The cause output is trained on these names."""
    assert {kind.cause for kind in DAMAGES.values()} == set(CAUSES)


def test_families_of_the_second_set_repeat(second: Simulator, library: Library) -> None:
    """Kept labels are joined with audio that is made again."""
    again = Simulator(library=library, seed=11, features=LogMel(), damage_set=DAMAGE_SETS["second"])
    for number in (0, 1, 7):
        for one, other in zip(second.family(number), again.family(number), strict=True):
            assert np.array_equal(one.samples, other.samples)
            assert len(one.severities) == len(one.damages)
    assert all(clip.reference is None for clip in second.family(7))


def test_a_gap_is_silent_and_known(library: Library, speech: np.ndarray) -> None:
    """One dead half second must be charged to the seconds it lies in."""
    track = Gaps(seconds=0.5, gaps=1, hiss_dbov=None, seed=3).apply(Track.of(speech, BANDS), library)
    assert track.lost.sum() == pytest.approx(8_000, abs=1)
    assert not track.samples[track.lost].any()
    assert np.array_equal(track.samples[~track.lost], speech[~track.lost])
    assert (window_truth(clip_of(speech), track).gap_ratio > 0).sum() in {2, 3}


def test_cut_out_speech_moves_the_rest_up_and_the_truth_with_it(library: Library, speech: np.ndarray) -> None:
    """Activity of the clean clip must be read where its samples are heard now."""
    track = CutOut(cut_ratio=0.1, piece_ms=60, seed=5).apply(Track.of(speech, BANDS), library)
    assert track.place is not None
    heard = track.place >= 0
    assert 0.04 < 1.0 - heard.mean() < 0.11
    np.testing.assert_array_equal(track.samples[heard], speech[track.place[heard]])
    truth = window_truth(clip_of(speech), track)
    assert truth.speech_ratio[-1] < window_truth(clip_of(speech), Track.of(speech, BANDS)).speech_ratio[-1]


@pytest.mark.parametrize(
    "damage",
    [
        Slips(packet_ms=20, slips_per_second=6.0, seed=2),
        TimeScaling(factor=1.4, stretch_seconds=0.3, stretches=4, seed=2),
        Robotic(looped_ratio=0.3, frame_ms=10, mean_seconds=0.2, seed=2),
    ],
)
def test_playout_faults_keep_the_clip_in_step(damage: Slips, library: Library, speech: np.ndarray) -> None:
    """A drift beyond a fifth of a second would make the reference, and with it the label, another clip's."""
    track = damage.apply(Track.of(speech, BANDS), library)
    place = np.arange(CLIP_SAMPLES) if track.place is None else track.place
    drift = np.abs(place - np.arange(CLIP_SAMPLES))[place >= 0]
    assert np.quantile(drift, 0.9) < 0.25 * 16_000
    assert 0.01 < track.lost.mean() < 0.6


def test_a_doubled_packet_is_marked_where_it_comes_again(library: Library, speech: np.ndarray) -> None:
    """The first time it is what was said; the second time it is the fault."""
    step = 320
    track = Slips(packet_ms=20, slips_per_second=6.0, seed=2).apply(Track.of(speech, BANDS), library)
    assert track.place is not None
    packets, marked = track.place[::step] // step, track.lost[::step]
    again = np.flatnonzero(np.diff(packets) == 0) + 1
    assert len(again) > 3
    assert marked[again].all()
    plain = np.flatnonzero(np.diff(packets, prepend=-1) == 1)
    assert not marked[plain].any()


def test_stretched_speech_keeps_its_pitch(library: Library, speech: np.ndarray) -> None:
    """Time scaling is no resampling: the long-term spectrum stays."""
    track = TimeScaling(factor=1.5, stretch_seconds=0.5, stretches=4, seed=1).apply(Track.of(speech, BANDS), library)

    def peak_hz(samples: np.ndarray) -> float:
        spectrum = np.abs(np.fft.rfft(samples)) ** 2
        return float(np.average(np.arange(len(spectrum)), weights=spectrum)) / 7.0

    assert peak_hz(track.samples) == pytest.approx(peak_hz(speech), rel=0.1)


def test_a_late_voice_detector_takes_onsets_alone(library: Library, speech: np.ndarray) -> None:
    """Front clipping removes what follows a pause and nothing else."""
    padded = speech.copy()
    padded[40_000:60_000] = 0.0
    track = FrontClipping(late_ms=100.0, open_ms=1.0).apply(Track.of(padded, BANDS), library)
    onset = 60_000 // FRAME_SAMPLES + np.flatnonzero(active_frames(padded)[60_000 // FRAME_SAMPLES :])[0]
    first = slice(onset * FRAME_SAMPLES, onset * FRAME_SAMPLES + 1_300)
    assert not track.samples[first].any()
    assert track.gap[first].min() == 1.0


def test_pumping_lifts_what_lies_between_words(library: Library, speech: np.ndarray) -> None:
    """The background of pauses rises with the gain, speech does not."""
    silent = speech.copy()
    silent[32_000:80_000] = 0.0
    pumped = GainPumping(most_gain_db=30.0, attack_ms=10.0, release_ms=200.0, background_db=-50.0, seed=1)
    still = GainPumping(most_gain_db=0.0, attack_ms=10.0, release_ms=200.0, background_db=-50.0, seed=1)
    pause = slice(60_000, 78_000)
    powers = [
        frame_power(damage.apply(Track.of(silent, BANDS), library).samples[pause]).mean() for damage in (pumped, still)
    ]
    assert powers[0] > 100 * powers[1]


def test_a_room_decays_as_it_says() -> None:
    """Severity of reverberation is a decay time."""
    response = Room(size_m=(6.0, 4.0, 3.0), decay_seconds=0.6, distance_m=2.0, seed=4).response()
    energy = np.cumsum(response[::-1].astype(float) ** 2)[::-1]
    level_db = 10 * np.log10(energy / energy[0] + 1e-12)
    late = [np.argmax(level_db < limit) / 16_000 for limit in (-15.0, -35.0)]
    assert (late[1] - late[0]) * 3 == pytest.approx(0.6, rel=0.2)
    assert response[0] == pytest.approx(1.0, abs=0.05)
