"""Noisiness with a share of what a teacher of P.835 votes hears."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from livemos.agent.features import LogMel
from livemos.training import blend, p835
from livemos.training.batches import Windows
from livemos.training.effects import Columns
from livemos.training.simulator import WINDOWS
from livemos.training.tables import read_table

CLIPS = 400
ALL = np.ones(CLIPS, np.bool_)
SHARE = 0.6


def a_table(asked_every: int = 1) -> tuple[Columns, np.ndarray, np.ndarray]:
    """Noise in four strengths, of two sorts that annoy differently. Columns, noisiness by level, labels."""
    rng = np.random.default_rng(0)
    severity = np.tile([0.0, 0.3, 0.6, 0.9], CLIPS // 4)
    shrill = np.arange(CLIPS) // 4 % 2 == 1
    noisiness = (4.7 - 3.0 * severity)[:, None] + 0.1 * rng.standard_normal((CLIPS, WINDOWS))
    noisiness[severity == 0] = 4.75
    asked = np.arange(CLIPS) // 4 % (2 * asked_every) < 2
    bak = 0.5 * (4.7 - 3.0 * severity - 1.0 * shrill * (severity > 0)) + 1.5
    columns: Columns = {
        "damages": np.array([json.dumps([["noise", {}]] if each else []) for each in severity]),
        "severities": np.array([json.dumps([each] if each else []) for each in severity]),
        "speech_ratio": np.full((CLIPS, WINDOWS), 0.8, np.float32),
        "gap_ratio": np.zeros((CLIPS, WINDOWS), np.float32),
        "clipped_ratio": np.zeros((CLIPS, WINDOWS), np.float32),
        "noise_db": np.repeat((-45.0 + 35.0 * severity)[:, None], WINDOWS, axis=1),
        "dnsmos_bak": np.where(asked, bak, np.nan),
    }
    return columns, noisiness, 4.4 - 2.5 * severity


def test_of_two_noises_of_one_level_the_one_that_annoys_more_is_noisier() -> None:
    """A meter of levels needs no model."""
    columns, noisiness, mos = a_table()
    heard = p835.with_bak(columns, noisiness, mos, ALL, SHARE).mean(axis=1)
    shrill, strong = np.arange(CLIPS) // 4 % 2 == 1, np.arange(CLIPS) % 4 == 2
    assert noisiness[strong & shrill].mean() == pytest.approx(noisiness[strong & ~shrill].mean(), abs=0.05)
    assert heard[strong & ~shrill].mean() - heard[strong & shrill].mean() > 0.3


def test_the_scale_of_the_teacher_does_not_matter_and_windows_stay_apart() -> None:
    """BAK runs from 1.2 to 4.1; and a clip's teacher knows nothing of its seconds."""
    columns, noisiness, mos = a_table()
    before = p835.with_bak(columns, noisiness, mos, ALL, SHARE)
    other = columns | {"dnsmos_bak": 10.0 * np.asarray(columns["dnsmos_bak"]) - 7.0}
    np.testing.assert_allclose(p835.with_bak(other, noisiness, mos, ALL, SHARE), before, atol=1e-6)
    inside = ((before > 1.0) & (before < 5.0)).all(axis=1)
    apart = (noisiness - noisiness[:, :1])[inside]
    np.testing.assert_allclose((before - before[:, :1])[inside], apart, atol=1e-6)


def test_clips_without_noise_keep_their_noisiness_whatever_the_teacher_says() -> None:
    """BAK also falls with losses and clipping, which are no noise."""
    columns, noisiness, mos = a_table()
    quiet = np.arange(CLIPS) % 4 == 0
    columns["dnsmos_bak"][quiet] = 1.0
    np.testing.assert_array_equal(p835.with_bak(columns, noisiness, mos, ALL, SHARE)[quiet], noisiness[quiet])


def test_clips_that_nobody_asked_about_lie_on_the_same_scale() -> None:
    """One in four families is asked; the rest must not be another kind of label."""
    columns, noisiness, mos = a_table(asked_every=2)
    heard = p835.with_bak(columns, noisiness, mos, ALL, SHARE).mean(axis=1)
    asked, noisy = np.isfinite(columns["dnsmos_bak"]), np.arange(CLIPS) % 4 > 0
    assert heard[noisy & asked].mean() == pytest.approx(heard[noisy & ~asked].mean(), abs=0.05)
    assert np.corrcoef(heard[noisy & ~asked], noisiness[noisy & ~asked].mean(axis=1))[0, 1] > 0.98


def test_a_share_moves_the_noisiness_of_a_training_table_and_nothing_else(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a recipe asks for has to arrive where batches are cut."""
    monkeypatch.setattr(blend, "LEAST_ASKED", 4)  # the table of these tests is small
    table, rng = read_table(work / "train"), np.random.default_rng(0)
    rows = len(table.features)
    noise_db = np.repeat(rng.uniform(-30.0, 0.0, rows)[:, None], WINDOWS, axis=1)
    answers = {"noise_db": noise_db, "distill_mos": rng.uniform(1, 5, rows), "dnsmos_bak": rng.uniform(1, 4, rows)}
    asked = replace(table, columns=table.columns | answers)
    plain, shared = Windows.of(asked, LogMel()).targets, Windows.of(asked, LogMel(), bak_share=0.6).targets
    spoken = plain.window_weight.any(axis=1)
    assert (np.abs(shared.noisiness - plain.noisiness)[spoken] > 0.01).mean() > 0.8
    for name in ("mos", "coloration", "discontinuity", "effects", "window_weight"):
        np.testing.assert_array_equal(getattr(shared, name), getattr(plain, name))


def test_without_answers_the_truth_stays() -> None:
    """Tables of the first recipe never asked."""
    columns, noisiness, mos = a_table()
    columns["dnsmos_bak"][:] = np.nan
    np.testing.assert_array_equal(p835.with_bak(columns, noisiness, mos, ALL, SHARE), noisiness)
    answered, _, _ = a_table()
    np.testing.assert_array_equal(p835.with_bak(answered, noisiness, mos, ALL, 0.0), noisiness)
    del columns["dnsmos_bak"]
    np.testing.assert_array_equal(p835.with_bak(columns, noisiness, mos, ALL, SHARE), noisiness)
