"""Windows of families out of a label table, the same for the same (seed, step) on every machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from livemos.agent.features import LogMel
from livemos.agent.records import SEGMENT_SAMPLES, STRIDE_SAMPLES
from livemos.training import causes, labels
from livemos.training.labels import Targets
from livemos.training.objectives import BatchTargets
from livemos.training.recipe import Recipe
from livemos.training.simulator import FAMILY_CLIPS, WINDOWS
from livemos.training.tables import Table

Indices = npt.NDArray[np.intp]
_NEPERS_PER_DB = np.log(10.0) / 10.0  # of power


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """features: (C * W, T, F) float32, clip by clip; targets: (C, W)."""

    features: Tensor
    targets: BatchTargets


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """A table seen as 1 s windows with their targets."""

    table: Table
    targets: Targets
    front_end: LogMel

    @classmethod
    def of(cls, table: Table, front_end: LogMel) -> Windows:
        """Computes the targets once."""
        return cls(table=table, targets=labels.make_targets(table.columns), front_end=front_end)

    @property
    def families(self) -> int:
        """Whole families in the table."""
        return len(self.table.features) // FAMILY_CLIPS

    def batch(self, clips: Indices, windows: Indices, gains_db: npt.NDArray[np.float64]) -> Batch:
        """clips: (C,), windows: (C, W) numbers 0 to WINDOWS - 1, gains_db: (C,) applied to features and level alike."""
        frames = self.front_end.frames(SEGMENT_SAMPLES)
        stride = STRIDE_SAMPLES // self.front_end.hop_samples
        cut = np.stack(
            [
                self.table.features[clip, start : start + frames]
                for clip, starts in zip(clips, windows * stride, strict=True)
                for start in starts
            ]
        ).astype(np.float32)
        shift = np.repeat(gains_db * _NEPERS_PER_DB, windows.shape[1]).astype(np.float32)
        cut = np.maximum(cut + shift[:, None, None], np.float32(np.log(self.front_end.floor)))
        return Batch(features=torch.from_numpy(cut), targets=self._targets(clips, windows, gains_db))

    def _targets(self, clips: Indices, windows: Indices, gains_db: npt.NDArray[np.float64]) -> BatchTargets:
        def of_window(values: npt.NDArray[np.float32]) -> Tensor:
            return torch.from_numpy(values[clips[:, None], windows].astype(np.float32))

        def of_clip(values: npt.NDArray[np.number]) -> Tensor:
            return torch.from_numpy(np.repeat(values[:, None], windows.shape[1], axis=1).astype(np.float32))

        level_dbov = self.targets.level_dbov[clips] + gains_db
        penalty = of_clip(labels.level_penalty(level_dbov))
        return BatchTargets(
            mos=torch.nan_to_num(of_window(self.targets.window_mos) - penalty, nan=1.0).clamp(1.0, 5.0),
            weight=of_window(self.targets.window_weight),
            noisiness=of_window(self.targets.noisiness),
            discontinuity=of_window(self.targets.discontinuity),
            coloration=of_clip(self.targets.coloration[clips]),
            loudness=of_clip(labels.loudness(level_dbov)),
            speech_ratio=of_window(self.targets.speech_ratio),
            cause=of_clip(causes.largest(causes.with_level(self.targets.effects[clips], level_dbov))).long(),
            cause_weight=of_window(self.targets.window_weight * self.targets.touched),
        )

    def training_batch(self, recipe: Recipe, step: int) -> Batch:
        """The batch of `step`: the families of one shuffled pass, the same windows for all clips of a family."""
        per_pass = self.families // recipe.batch_families
        order = np.random.default_rng([recipe.seed, 1, step // per_pass]).permutation(self.families)
        place = step % per_pass * recipe.batch_families
        rng = np.random.default_rng([recipe.seed, 2, step])
        families = order[place : place + recipe.batch_families]
        clips = (families[:, None] * FAMILY_CLIPS + np.arange(FAMILY_CLIPS)).ravel()
        windows = np.stack([rng.permutation(WINDOWS)[: recipe.windows_per_clip] for _ in families])
        gains_db = rng.uniform(-recipe.gain_db, recipe.gain_db, len(clips))
        return self.batch(clips, np.repeat(windows, FAMILY_CLIPS, axis=0), gains_db)

    def whole_clips(self, clips: Indices) -> Batch:
        """All windows of `clips` as they are."""
        windows = np.tile(np.arange(WINDOWS), (len(clips), 1))
        return self.batch(clips, windows, np.zeros(len(clips)))

    def feature_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each band, (F,), over a few hundred clips spread over the table."""
        some = self.table.features[:: max(1, len(self.table.features) // 400)].astype(np.float32)
        mean, deviation = some.mean(axis=(0, 1)), some.std(axis=(0, 1))
        return torch.from_numpy(mean), torch.from_numpy(np.maximum(deviation, 0.1))
