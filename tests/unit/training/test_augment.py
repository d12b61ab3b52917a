"""Voices that nobody recorded, and a second table that joins on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from livemos.agent.features import LogMel
from livemos.training.augment import Augmentation, draw_voice
from livemos.training.batches import Windows
from livemos.training.recipe import Addition, Recipe
from livemos.training.simulator import FAMILY_CLIPS
from livemos.training.tables import read_table

CENTRES_HZ = LogMel().band_edges_hz[1:-1]
FLOOR = np.log(1e-5)


def test_a_warped_voice_has_its_formants_moved_by_the_factor() -> None:
    """A peak at 1 kHz of a voice warped by +10 % lies at 1.1 kHz: that is another vocal tract, not noise."""
    only_warp = Augmentation(warp_ratio=0.1, colour_db=0.0, share=1.0)
    peak = np.exp(-((np.log(CENTRES_HZ / 1000.0)) ** 2) / 0.02).astype(np.float32)
    moved = []
    for seed in range(40):
        warped = draw_voice(np.random.default_rng(seed), only_warp, CENTRES_HZ)(peak)
        factor = 1.0 + np.random.default_rng(seed).random(2)[1] * 0.2 - 0.1
        centre_hz = np.exp(np.sum(warped * np.log(CENTRES_HZ)) / np.sum(warped))
        still_hz = np.exp(np.sum(peak * np.log(CENTRES_HZ)) / np.sum(peak))
        moved.append(centre_hz / still_hz / factor)
    np.testing.assert_allclose(moved, 1.0, atol=0.01)


def test_the_colour_of_a_voice_is_smooth_and_of_the_stated_size() -> None:
    """A response with cliffs would be a damage; one of 10 dB as well."""
    only_colour = Augmentation(warp_ratio=0.0, colour_db=2.0, share=1.0)
    flat = np.zeros(64, np.float32)
    in_db = 10.0 / np.log(10.0)
    colours = [draw_voice(np.random.default_rng(seed), only_colour, CENTRES_HZ)(flat) * in_db for seed in range(200)]
    assert 1.2 < np.std(colours) < 2.2
    assert np.abs(np.diff(colours, axis=1)).max() < 1.0


def test_families_outside_the_share_are_heard_as_they_are() -> None:
    """The network must know the recordings themselves too."""
    never = Augmentation(share=0.0)
    features = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    np.testing.assert_array_equal(draw_voice(np.random.default_rng(1), never, CENTRES_HZ)(features), features)


def test_a_family_shares_its_voice_and_steps_repeat(work: Path, recipe: Recipe) -> None:
    """Members of a family may differ by their damage alone, and a step is a function of its number."""
    table = read_table(work / "train")
    same = np.repeat(table.features[::FAMILY_CLIPS], FAMILY_CLIPS, axis=0)  # all members sound like the first
    windows = Windows.of(replace(table, features=same), LogMel())
    heard = replace(recipe, gain_db=0.0, augmentation=Augmentation(share=1.0))
    batch = windows.training_batch(heard, 3).features
    assert torch.equal(batch, windows.training_batch(heard, 3).features)
    members = batch.reshape(heard.batch_families, FAMILY_CLIPS, heard.windows_per_clip, 98, 64)
    assert torch.equal(members, members[:, :1].expand_as(members))
    plain = windows.training_batch(replace(heard, augmentation=None), 3).features
    assert (batch != plain).float().mean() > 0.5
    assert float(batch.min()) >= np.float32(FLOOR)


def test_an_addition_is_heard_from_its_share_of_the_steps_on(work: Path, recipe: Recipe) -> None:
    """Clips that join on the way must leave the steps before, and the labels of the others, as they were."""
    first, second = read_table(work / "train"), read_table(work / "val")
    addition = Addition(name="more", seed=9, families=4, damage_set="first", joins_at=0.5)
    joining = replace(recipe, additions=(addition,))
    alone, both = Windows.of(first, LogMel()), Windows.of(first, LogMel(), [second])
    np.testing.assert_array_equal(both.targets.mos[: len(first.features)], alone.targets.mos)
    for step in range(12):
        assert torch.equal(both.training_batch(joining, step).features, alone.training_batch(recipe, step).features)
    marked = replace(first, features=np.zeros_like(first.features)), replace(second, features=second.features * 0 + 5)
    windows = Windows.of(marked[0], LogMel(), [marked[1]])
    added = [float((windows.training_batch(joining, step).features > 3.0).float().mean()) for step in range(24)]
    assert max(added[:12]) == 0.0
    assert 0.1 < np.mean(added[12:]) < 0.5  # 4 of 14 families
