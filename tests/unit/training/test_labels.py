"""Labels rise where a listener's would."""

from __future__ import annotations

import json

import numpy as np
import pytest

from livemos.training import labels
from livemos.training.damages import Track
from livemos.training.damages.additive import Noise
from livemos.training.labelers import pesq_wb
from livemos.training.sources import Library


def test_pesq_labels_fall_with_noise(library: Library, speech: np.ndarray) -> None:
    """The order of degrees is the least a label owes."""
    scores = []
    for snr_db in (40.0, 20.0, 5.0):
        noise = Noise(snr_db=snr_db, path="", start_sample=0, slope_db_per_octave=0.0, seed=1)
        scores.append(pesq_wb(speech, noise.apply(Track.of(speech, 64), library).samples))
    mos = labels.mos_from_pesq(np.array([pesq_wb(speech, speech), *scores]))
    assert (np.diff(mos) < -0.1).all()
    assert mos[0] == pytest.approx(4.5, abs=0.1)


def test_silence_has_no_pesq_label(speech: np.ndarray) -> None:
    """What cannot be labelled is not a 1.0."""
    assert np.isnan(pesq_wb(speech * 0, speech * 0))


def test_the_scale_ends_where_listeners_do() -> None:
    """Clean near 4.5, a telephone band near 3.5, the worst noise near 1.7 and never below 1."""
    clean, telephone, worst = labels.mos_from_pesq(np.array([4.64, 3.2, 1.08]))
    assert clean == pytest.approx(4.5, abs=0.05)
    assert 3.3 < telephone < 3.6
    assert 1.5 < worst < 1.9


@pytest.mark.parametrize(
    ("dimension", "from_good_to_bad"),
    [
        (labels.noisiness, [-60.0, -40.0, -30.0, -20.0, -10.0, 0.0]),
        (labels.discontinuity, [0.0, 0.01, 0.05, 0.1, 0.3, 1.0]),
        (labels.coloration, [0.0, 2.0, 5.0, 12.0, 20.0]),
        (labels.loudness, [-24.0, -35.0, -45.0, -60.0]),
        (labels.loudness, [-24.0, -15.0, -8.0, -3.0]),
    ],
)
def test_dimensions_fall_as_the_damage_rises(dimension: object, from_good_to_bad: list[float]) -> None:
    """Higher is better, everywhere, between 1 and 5."""
    assert callable(dimension)
    values = dimension(np.array(from_good_to_bad))
    assert (np.diff(values) < 0).all()
    assert values[0] > 4.5
    assert values.min() >= 1.0


def test_a_comfortable_level_costs_nothing_and_extremes_do() -> None:
    """PESQ aligns the level away; people do not."""
    assert labels.level_penalty(np.array([-36.0, -26.0, -16.0])).tolist() == [0.0, 0.0, 0.0]
    assert (labels.level_penalty(np.array([-50.0, -8.0])) > 0.3).all()


def test_a_recording_is_not_noisy_for_what_lies_in_its_pauses() -> None:
    """Noise that was added counts, whatever the recording; breath and rooms between words do not."""
    both = 10.0 * np.log10(10.0**-2.0 + 10.0**-3.0)
    columns = {"noise_db": np.array([[-30.0], [both], [-20.0]]), "source_snr_db": np.array([30.0, 30.0, 60.0])}
    added = labels.added_noise_db(columns)[:, 0]
    assert labels.noisiness(added[0]) > 4.7
    np.testing.assert_allclose(added[1:], -20.0, atol=0.01)


def test_a_voice_under_loud_noise_is_no_clear_voice() -> None:
    """Listeners mark the speech down too where they hardly hear it; soft noise leaves it alone."""
    columns = table_columns([[0, 0, 0]] * 3, [4.6, 2.4, 1.2], ladder="noise")
    columns["noise_db"] = np.repeat(np.array([[-59.0], [-20.0], [0.0]]), 3, axis=1)
    heard = labels.make_targets(columns).coloration[:, 0]
    assert heard[0] == pytest.approx(heard[1], abs=0.02)
    assert heard[2] == pytest.approx(heard[0] - 1.5, abs=0.05)


def table_columns(
    gap_ratio: list[list[float]], pesq: list[float], ladder: str = "gaps", base: tuple[str, ...] = ()
) -> dict[str, np.ndarray]:
    """Members of a family with three windows of speech each: `base` in all of them, `ladder` from the second on."""
    clips = len(pesq)
    kinds = [[*base, ladder] if member else list(base) for member in range(clips)]
    return {
        "pesq_wb": np.array(pesq),
        "level_dbov": np.full(clips, -26.0),
        "source_snr_db": np.full(clips, 60.0),
        "response_db": np.zeros((clips, 64)),
        "member": np.arange(clips),
        "family": np.zeros(clips),
        "ladder": np.array([ladder] * clips),
        "severity": np.linspace(0.0, 1.0, clips),
        "damages": np.array([json.dumps([[kind, {}] for kind in each]) for each in kinds]),
        "severities": np.array([json.dumps([0.5] * len(each)) for each in kinds]),
        "clipped_ratio": np.zeros((clips, 3)),
        "speech_ratio": np.full((clips, 3), 0.8),
        "gap_ratio": np.array(gap_ratio),
        "noise_db": np.full((clips, 3), -60.0),
    }


def test_a_window_that_lost_nothing_is_as_good_as_the_undamaged_clip() -> None:
    """Otherwise a live meter stays low long after the line has recovered."""
    targets = labels.make_targets(table_columns([[0, 0, 0], [0, 0.3, 0]], [4.64, 2.0]))
    clean = targets.mos[0]
    assert targets.window_mos[1, 0] == targets.window_mos[1, 2] == pytest.approx(clean)
    assert targets.window_mos[1, 1] < targets.mos[1] < clean


def test_a_gap_of_the_base_condition_is_borne_by_its_window_alone() -> None:
    """What every member of a family lost in one second says nothing about the others, whatever else rises in them."""
    columns = table_columns([[0, 0.3, 0]] * 2, [3.9, 2.8], ladder="noise", base=("gaps",))
    targets = labels.make_targets(columns)
    spared, hit = targets.window_mos[:, 0], targets.window_mos[:, 1]
    assert spared[0] == targets.window_mos[0, 2] == pytest.approx(labels.CLEAN_MOS)
    assert (hit < targets.mos).all() and (targets.mos < spared).all()
    assert spared[1] < spared[0] - 0.3  # the noise is everywhere
    np.testing.assert_allclose(targets.window_mos.mean(axis=1), targets.mos, atol=0.05)


def test_lost_speech_that_nobody_hears_is_borne_by_all_windows() -> None:
    """A loss that fell into a pause, or was concealed, has no window of its own."""
    share = labels.loss_share(np.zeros((1, 3)), np.full((1, 3), 0.8))
    assert share.tolist() == [[1.0, 1.0, 1.0]]
    share = labels.loss_share(np.array([[0.0, 0.1, 0.3]]), np.array([[0.8, 0.8, 0.8]]))
    assert share[0, 0] == 0.0 and share[0, 1] < share[0, 2]
    assert share.mean() == pytest.approx(1.0)


def test_a_clip_without_speech_has_no_say_in_quality() -> None:
    """Its weight is zero, so no made-up score is ever learned."""
    columns = table_columns([[0, 0, 0], [0, 0, 0]], [4.64, float("nan")])
    columns["speech_ratio"][1] = 0.0
    targets = labels.make_targets(columns)
    assert targets.window_weight[0].all()
    assert not targets.window_weight[1].any()
