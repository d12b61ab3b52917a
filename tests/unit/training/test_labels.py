"""Labels rise where a listener's would."""

from __future__ import annotations

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


def table_columns(gap_ratio: list[list[float]], pesq: list[float]) -> dict[str, np.ndarray]:
    """Two members of a loss family with three windows of speech each."""
    clips = len(pesq)
    return {
        "pesq_wb": np.array(pesq),
        "level_dbov": np.full(clips, -26.0),
        "source_snr_db": np.full(clips, 60.0),
        "response_db": np.zeros((clips, 64)),
        "member": np.arange(clips),
        "family": np.zeros(clips),
        "ladder": np.array(["loss"] * clips),
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


def test_a_clip_without_speech_has_no_say_in_quality() -> None:
    """Its weight is zero, so no made-up score is ever learned."""
    columns = table_columns([[0, 0, 0], [0, 0, 0]], [4.64, float("nan")])
    columns["speech_ratio"][1] = 0.0
    targets = labels.make_targets(columns)
    assert targets.window_weight[0].all()
    assert not targets.window_weight[1].any()
