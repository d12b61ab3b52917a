"""Tables, batches and losses are what the loop takes them for, and what it saves can be loaded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from livemos.agent.errors import ConfigError
from livemos.agent.features import LogMel
from livemos.training import checkpoint, labels
from livemos.training.batches import Windows
from livemos.training.evaluate import (
    balance_causes,
    calibrate_doubt,
    fit_error_correlation,
    outputs_of,
    presence_threshold,
)
from livemos.training.models.base import CAUSE_OUTPUTS, FIRST_CAUSE, OUTPUTS
from livemos.training.models.conformer import ConformerSize, SpeechQualityConformer
from livemos.training.objectives import BatchTargets, Weights, family_loss
from livemos.training.recipe import Recipe
from livemos.training.simulator import FAMILY_CLIPS
from livemos.training.tables import TableJob, build, missing_shards, read_table

SMALL = ConformerSize(stem_channels=4, width=24, blocks=1, heads=2, feed_forward=32, head_width=16)


def test_labelling_goes_on_where_it_stopped(data_folder: Path, work: Path) -> None:
    """An hour of PESQ must survive an interruption; a finished table costs nothing to ask for again."""
    job = TableJob(data=data_folder, folder=work / "train", split="train", seed=1, families=10)
    assert missing_shards(job) == []
    assert list(build(job, workers=1)) == []
    longer = replace(job, families=70)
    assert missing_shards(longer) == [1, 2]


def test_a_folder_of_another_seed_is_not_mixed_in(data_folder: Path, work: Path) -> None:
    """Two simulations in one table would be a data set that no command reproduces."""
    with pytest.raises(ConfigError, match="another --work"):
        list(build(TableJob(data=data_folder, folder=work / "train", split="train", seed=2, families=10), workers=1))


def test_a_table_holds_features_and_truth_of_every_clip(work: Path) -> None:
    """A row that slips would pair one clip's sound with another's label."""
    table = read_table(work / "train")
    assert table.features.shape == (40, 698, 64)
    assert {len(column) for column in table.columns.values()} == {40}
    assert np.isnan(table.columns["pesq_wb"][32:36]).all()  # the ninth family is no speech
    assert np.isfinite(table.columns["pesq_wb"][:32]).mean() > 0.9
    assert json.loads(str(table.columns["damages"][1]))


def test_a_short_table_is_refused(work: Path) -> None:
    """Training quietly on less than the recipe says would give figures nobody can repeat."""
    with pytest.raises(ConfigError, match="livemos train label"):
        read_table(work / "train", families=64)


def test_gain_moves_features_level_and_loudness_alike(work: Path) -> None:
    """Augmentation by gain would teach that level does not matter if the target stayed behind."""
    windows = Windows.of(read_table(work / "train"), LogMel())
    clips, places = np.array([0]), np.array([[2]])
    plain = windows.batch(clips, places, np.zeros(1))
    soft = windows.batch(clips, places, np.full(1, -20.0))
    floor = np.log(1e-5)
    above = soft.features > floor + 0.1
    torch.testing.assert_close(
        plain.features[above] - soft.features[above], torch.full((int(above.sum()),), 4.605), atol=0.02, rtol=0
    )
    level = float(windows.targets.level_dbov[0])
    assert float(soft.targets.loudness) == pytest.approx(float(labels.loudness(np.array(level - 20.0))), abs=1e-4)
    assert float(soft.targets.loudness) < float(plain.targets.loudness)


def test_every_step_of_a_family_hears_the_same_seconds_of_all_members(work: Path, recipe: Recipe) -> None:
    """Differences inside a family are only free of the voice if the voice says the same."""
    windows = Windows.of(read_table(work / "train"), LogMel())
    again = windows.training_batch(recipe, 3), windows.training_batch(recipe, 3)
    assert torch.equal(again[0].features, again[1].features)
    ratio = again[0].targets.speech_ratio.reshape(-1, FAMILY_CLIPS, recipe.windows_per_clip)
    assert ratio.shape[0] == recipe.batch_families


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    """A bare unpickling error says neither which file nor what to do."""
    (tmp_path / "model.pt").write_bytes(b"no checkpoint")
    with pytest.raises(ConfigError, match="train again"):
        checkpoint.load_model(tmp_path / "model.pt")
    with pytest.raises(ConfigError, match="livemos train fit"):
        checkpoint.load_model(tmp_path / "none.pt")


def test_outputs_stay_inside_their_ranges_whatever_comes_in() -> None:
    """Unbounded outputs reached 0.1 on noise alone; a score outside 1 to 5 is no MOS."""
    torch.manual_seed(0)
    model = SpeechQualityConformer(SMALL, torch.zeros(64), torch.ones(64)).eval()
    with torch.no_grad():
        outputs = model(100.0 * torch.randn(8, 98, 64))
    named = dict(zip(OUTPUTS, outputs.unbind(1), strict=True))
    for name in OUTPUTS[:5]:
        assert named[name].min() >= 1.0
        assert named[name].max() <= 5.0
    assert named["speech_ratio"].min() >= 0.0
    assert named["speech_ratio"].max() <= 1.0
    assert named["mos_std"].min() > 0.0


def test_the_spread_never_excuses_the_mean() -> None:
    """The likelihood's gradient must reach the spread alone, or the model buys a low loss with a wide one."""
    torch.manual_seed(0)
    model = SpeechQualityConformer(SMALL, torch.zeros(64), torch.ones(64))
    outputs = model(torch.randn(4, 98, 64)).reshape(4, 1, len(OUTPUTS))
    some = torch.full((4, 1), 3.0)
    targets = BatchTargets(
        mos=some, weight=torch.ones(4, 1), noisiness=some, coloration=some, discontinuity=some, loudness=some,
        speech_ratio=torch.ones(4, 1), cause=torch.zeros(4, 1, dtype=torch.long),
    )  # fmt: skip
    terms = family_loss(outputs, targets, Weights(), family_clips=4, with_likelihood=True)
    terms["likelihood"].backward()
    touched = {name for name, value in model.named_parameters() if value.grad is not None and value.grad.any()}
    assert touched
    assert all(name.startswith("spread") for name in touched)


def test_windows_without_weight_do_not_count() -> None:
    """Pauses carry no quality; a wrong score there must cost nothing."""
    outputs = torch.full((4, 2, len(OUTPUTS)), 0.5)
    outputs[..., :5] = 3.0
    outputs[:, 1, :5] = 1.0
    weight = torch.tensor([[1.0, 0.0]]).repeat(4, 1)
    right = torch.full((4, 2), 3.0)
    targets = BatchTargets(
        mos=right, weight=weight, noisiness=right, coloration=right, discontinuity=right, loudness=right,
        speech_ratio=torch.full((4, 2), 0.5), cause=torch.zeros(4, 2, dtype=torch.long),
    )  # fmt: skip
    terms = family_loss(outputs, targets, Weights(), family_clips=4, with_likelihood=False)
    assert all(float(terms[name]) == 0.0 for name in ("clip", "window", "contrast", "dimension"))


def test_the_presence_threshold_lies_between_speech_and_silence() -> None:
    """The gate reads it from the bundle; a threshold on the wrong side silences every call."""
    said = np.array([[0.3, 0.8, 0.05, 0.02]])
    threshold, passed = presence_threshold(said, np.array([[0.9, 0.6, 0.0, 0.0]]))
    assert 0.05 < threshold <= 0.31
    assert type(threshold) is float  # a checkpoint holds no objects of numpy
    assert passed == 0.0
    lowest, passed = presence_threshold(said, np.array([[0.9, 0.6, 0.5, 0.0]]))
    assert lowest <= 0.06
    assert passed == 0.0


def test_errors_that_go_together_are_found_from_clips_alone() -> None:
    """Errors with a common part and parts that only neighbours share: the fit must give back what was drawn."""
    rng = np.random.default_rng(7)
    clips, wanted = 4_000, 0.3
    halves = rng.standard_normal((clips, 14)) / 2**0.5
    own = halves[:, 1:] + halves[:, :-1]  # segments of two halves of a second, each half in two of them
    std = rng.uniform(0.3, 0.8, (clips, 1)) * np.ones((1, 13))
    error = std * (wanted**0.5 * rng.standard_normal((clips, 1)) + (1 - wanted) ** 0.5 * own)
    clip_error = np.abs(error.mean(axis=1))
    assert fit_error_correlation(clip_error, std, np.ones((clips, 13))) == pytest.approx(wanted, abs=0.04)
    assert fit_error_correlation(clip_error, std, np.ones((clips, 13)), 0.94) > wanted + 0.05
    assert fit_error_correlation(3.0 * clip_error, std, np.ones((clips, 13))) == 1.0
    assert fit_error_correlation(0.1 * clip_error, std, np.ones((clips, 13))) == 0.0
    assert fit_error_correlation(clip_error[:0], std[:0], np.ones((0, 13))) == 1.0


class _Oracle(SpeechQualityConformer):
    """Answers with the labels and errors that were drawn, batch after batch, at the scale that was set."""

    def __init__(self, outputs: np.ndarray) -> None:  # type: ignore[type-arg]
        super().__init__(SMALL, torch.zeros(64), torch.ones(64))
        self.answers = torch.from_numpy(outputs.reshape(-1, len(OUTPUTS)).astype(np.float32))
        self.asked = 0

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        rows = self.answers[self.asked : self.asked + len(features)].clone()
        self.asked = (self.asked + len(features)) % len(self.answers)
        rows[:, OUTPUTS.index("mos_std")] *= self.spread_scale
        return rows


def test_doubt_is_set_on_even_families_by_windows_and_by_clips(work: Path) -> None:
    """Odd families judge it: what they say must not move the scale, nor how far errors go together."""
    windows = Windows.of(read_table(work / "train"), LogMel())
    truth = windows.whole_clips(np.arange(40)).targets
    even = np.arange(40) // FAMILY_CLIPS % 2 == 0
    outputs = np.full((40, truth.mos.shape[1], len(OUTPUTS)), 0.2, np.float32)
    alternating = np.resize([0.2, -0.2], truth.mos.shape[1])  # neighbours undo one another
    error = np.where(even[:, None], 0.2 + alternating, 9.0)
    outputs[..., OUTPUTS.index("mos")] = truth.mos.numpy() + error
    outputs[..., OUTPUTS.index("speech_ratio")] = truth.speech_ratio.numpy()
    model = _Oracle(outputs)
    doubt = calibrate_doubt(model, windows)
    assert float(model.spread_scale) == pytest.approx(0.4 / 0.2 / 1.6449, rel=0.01), "windows are off by 0.4 or right"
    assert (doubt.inside_90, doubt.clips_inside_90) == (0.0, 0.0)
    # clips are off by 0.2 of the 0.4 that one second is given: r + (1 - r) / n is a fourth, n being six or seven
    assert doubt.error_correlation == pytest.approx(0.16, abs=0.06)
    outputs[..., OUTPUTS.index("mos")] = truth.mos.numpy() + 0.4
    assert calibrate_doubt(_Oracle(outputs), windows).error_correlation > 0.9


def test_a_rare_cause_is_weighed_by_how_rare_it_is(work: Path) -> None:
    """A cause of one clip in fifteen was never the likeliest, however sure the sound; nothing else may move."""
    windows = Windows.of(read_table(work / "train"), LogMel())
    torch.manual_seed(3)
    model = SpeechQualityConformer(SMALL, *windows.feature_statistics()).eval()
    before = outputs_of(model, windows)
    balance_causes(model, windows)
    after = outputs_of(model, windows)
    np.testing.assert_array_equal(before[..., :FIRST_CAUSE], after[..., :FIRST_CAUSE])
    weight = windows.targets.window_weight
    taught = windows.whole_clips(np.arange(len(before))).targets.cause.numpy()
    shares = np.array([weight[taught == k].sum() for k in range(len(CAUSE_OUTPUTS))]) / weight.sum()
    assert 0 < (shares > 0).sum() < len(CAUSE_OUTPUTS)  # some of them do not occur in so small a table
    wanted = before[..., FIRST_CAUSE:] / np.maximum(shares, 1e-3)
    np.testing.assert_allclose(
        after[..., FIRST_CAUSE:], wanted / wanted.sum(axis=-1, keepdims=True), rtol=1e-3, atol=1e-6
    )
