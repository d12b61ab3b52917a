"""One label out of several teachers, each where it is right."""

from __future__ import annotations

import json

import numpy as np
import pytest

from livemos.training import blend, labels
from livemos.training.effects import Columns
from livemos.training.simulator import WINDOWS

CLIPS = 400


def a_table(seed: int = 0, kind: str = "noise", asked_every: int = 1) -> tuple[Columns, np.ndarray]:
    """Clips of one kind with rising severity, a PESQ label that follows it, and teachers with scales of their own."""
    rng = np.random.default_rng(seed)
    severity = np.tile([0.0, 0.3, 0.6, 0.9], CLIPS // 4)
    truth = 4.4 - 2.5 * severity
    asked = (np.arange(CLIPS) // 4) % asked_every == 0
    seconds = np.where(asked, 1.0, np.nan)[:, None] * (
        0.4 * truth[:, None] + 1.5 + 0.05 * rng.standard_normal((CLIPS, 7))
    )
    columns: Columns = {
        "damages": np.array([json.dumps([[kind, {}]] if each else []) for each in severity]),
        "severities": np.array([json.dumps([each] if each else []) for each in severity]),
        "speech_ratio": np.full((CLIPS, WINDOWS), 0.8, np.float32),
        "gap_ratio": np.zeros((CLIPS, WINDOWS), np.float32),
        "clipped_ratio": np.zeros((CLIPS, WINDOWS), np.float32),
        "noise_db": np.repeat((-40.0 + 35.0 * severity)[:, None], WINDOWS, axis=1),
        "distill_mos": np.where(asked, 0.6 * truth + 1.0 + 0.1 * rng.standard_normal(CLIPS), np.nan),
        "cs22_b1": seconds,
        "cs22_b2": 2.0 * seconds - 1.0,
        "dnsmos_pro": seconds + 0.02 * rng.standard_normal((CLIPS, 7)),
    }
    return columns, truth + 0.1 * rng.standard_normal(CLIPS)


def test_the_scale_of_a_teacher_does_not_matter() -> None:
    """Each public model has a scale of its own; the label has one."""
    columns, pesq = a_table()
    before = blend.ask(columns, pesq)
    after = blend.ask(columns | {"cs22_b1": 5.0 - 0.2 * (5.0 - np.asarray(columns["cs22_b1"]))}, pesq)
    assert before is not None
    assert after is not None
    np.testing.assert_allclose(before.clip, after.clip, atol=1e-6)
    np.testing.assert_allclose(before.window, after.window, atol=1e-6)
    assert before.clip.std() == pytest.approx(pesq.std(), rel=1e-6)


def test_clips_that_nobody_asked_about_get_a_guess_on_the_same_scale() -> None:
    """A teacher that heard every second family must not leave a step between the halves."""
    columns, pesq = a_table(asked_every=2)
    opinion = blend.ask(columns, pesq)
    assert opinion is not None
    assert opinion.asked.mean() == 0.5
    assert np.isfinite(opinion.clip).all()
    guessed, heard = opinion.clip[~opinion.asked], opinion.clip[opinion.asked]
    assert guessed.mean() == pytest.approx(heard.mean(), abs=0.05)
    assert np.corrcoef(guessed, pesq[~opinion.asked])[0, 1] > 0.95
    assert not opinion.window[~opinion.asked].any()


def test_a_bad_second_is_told_from_its_clip() -> None:
    """The student hears one second; its label follows what the teachers heard in that second."""
    columns, pesq = a_table()
    worse = np.array(columns["cs22_b2"])
    worse[8, 3] -= 1.0
    before, after = blend.ask(columns, pesq), blend.ask(columns | {"cs22_b2": worse}, pesq)
    assert before is not None
    assert after is not None
    change = after.window[8] - before.window[8]
    assert change.argmin() == 6  # the window that starts with second 3
    assert change[6] < -0.2
    assert change[5] == pytest.approx(change[7], abs=0.01)
    assert change[6] < change[5] < 0.0
    assert (change[[0, 2, 10, 12]] > 0.0).all()


def test_pesq_counts_where_it_is_right() -> None:
    """It knows what was lost; it is unfair to suppressors."""
    trust = [blend.pesq_trust(a_table(kind=kind)[0])[1] for kind in ("gaps", "loss", "noise", "suppression")]
    assert (np.diff(trust) < 0.0).all()


def test_a_table_that_no_teacher_heard_has_no_opinion() -> None:
    """The first data set was labelled with PESQ alone."""
    columns, pesq = a_table()
    silent = {name: np.full_like(np.asarray(columns[name], np.float64), np.nan) for name in blend.SECOND_TEACHERS}
    assert blend.ask(columns | silent | {"distill_mos": np.full(CLIPS, np.nan)}, pesq) is None


def test_averaging_does_not_narrow_the_scale() -> None:
    """Voices that disagree pull an average to the middle; clean speech stays clean."""
    pesq = np.linspace(1.5, 4.5, 40)
    clean = pesq > 4.2
    mos, factor = blend.restored(pesq, 3.0 + 0.6 * (pesq - 3.0), clean)
    np.testing.assert_allclose(mos, pesq, atol=1e-9)
    assert factor == pytest.approx(1 / 0.6)


def test_a_second_that_is_silent_in_the_middle_of_a_word_is_no_speech() -> None:
    """Nobody can hear what was said in a gap, and a model must not be taught to."""
    columns, _ = a_table(kind="gaps")
    gap = np.zeros((CLIPS, WINDOWS), np.float32)
    gap[1::4, 4] = 1.0
    columns |= {
        "gap_ratio": gap,
        "pesq_wb": np.tile([4.5, 3.9, 3.2, 2.5], CLIPS // 4),
        "member": np.tile(np.arange(4), CLIPS // 4),
        "ladder": np.full(CLIPS, "gaps"),
        "severity": np.tile([0.0, 0.3, 0.6, 0.9], CLIPS // 4),
        "level_dbov": np.full(CLIPS, -26.0),
        "source_snr_db": np.full(CLIPS, 60.0),
        "response_db": np.zeros((CLIPS, 64)),
    }
    targets = labels.make_targets(columns)
    assert targets.speech_ratio[1, 4] == 0.0
    assert targets.window_weight[1, 4] == 0.0
    assert targets.window_weight[1, 3] > 0.5
    assert (targets.loss_share[0] == 1.0).all()
    assert np.flatnonzero(targets.loss_share[1]).tolist() == [4]
