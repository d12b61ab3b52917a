"""Windows of families out of a label table, the same for the same (seed, step) on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from livemos.agent.features import NEPERS_PER_DB, LogMel
from livemos.agent.records import SEGMENT_SAMPLES, STRIDE_SAMPLES
from livemos.training import causes, labels
from livemos.training.augment import Voice, draw_voice
from livemos.training.labels import Targets
from livemos.training.objectives import BatchTargets
from livemos.training.recipe import Recipe
from livemos.training.simulator import FAMILY_CLIPS, WINDOWS
from livemos.training.tables import Table, joined

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """features: (C * W, T, F) float32, clip by clip; targets: (C, W)."""

    features: Tensor
    targets: BatchTargets


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """A table seen as 1 s windows with their targets.

    family_ends: where the families of the first table end, and those of each of a recipe's additions.
    """

    table: Table
    targets: Targets
    front_end: LogMel
    family_ends: tuple[int, ...]

    @classmethod
    def of(cls, table: Table, front_end: LogMel, additions: Sequence[Table] = (), *, bak_share: float = 0.0) -> Windows:
        """Computes the targets once. The labels of additions are brought to the scale of the first table.

        bak_share: as in `labels.make_targets`.
        """
        whole = joined(table, *additions) if additions else table
        clips = np.cumsum([len(each.features) for each in (table, *additions)])
        return cls(
            table=whole,
            targets=labels.make_targets(whole.columns, scale_clips=len(table.features), bak_share=bak_share),
            front_end=front_end,
            family_ends=tuple((clips // FAMILY_CLIPS).tolist()),
        )

    @property
    def families(self) -> int:
        """Whole families in the table."""
        return len(self.table.features) // FAMILY_CLIPS

    def batch(
        self,
        clips: Indices,
        windows: Indices,
        gains_db: npt.NDArray[np.float64],
        *,
        shifts_frames: Indices | None = None,
        voices: Sequence[Voice] | None = None,
    ) -> Batch:
        """clips: (C,), windows: (C, W) numbers 0 to WINDOWS - 1, gains_db: (C,) applied to features and level alike.

        shifts_frames: (C,) how far from its place each window of a clip begins; voices: one a clip.
        """
        frames = self.front_end.frames(SEGMENT_SAMPLES)
        stride = STRIDE_SAMPLES // self.front_end.hop_samples
        shifts = np.zeros(len(clips), np.intp) if shifts_frames is None else shifts_frames
        first_frames = np.clip(windows * stride + shifts[:, None], 0, self.table.features.shape[1] - frames)
        cut = np.stack(
            [
                self.table.features[clip, start : start + frames]
                for clip, starts in zip(clips, first_frames, strict=True)
                for start in starts
            ]
        ).astype(np.float32)
        if voices is not None:
            per_clip = cut.reshape(len(clips), -1, *cut.shape[1:])
            cut = np.concatenate([voice(clip) for voice, clip in zip(voices, per_clip, strict=True)])
        shift = np.repeat(gains_db * NEPERS_PER_DB, windows.shape[1]).astype(np.float32)
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
            coloration=of_window(self.targets.coloration),
            loudness=of_clip(labels.loudness(level_dbov)),
            speech_ratio=of_window(self.targets.speech_ratio),
            cause=torch.from_numpy(causes.of_windows(self.targets, clips, windows, level_dbov)),
        )

    def training_batch(self, recipe: Recipe, step: int) -> Batch:
        """The batch of `step`: the families of one shuffled pass, the same windows for all clips of a family."""
        families = self._families_of(recipe, step)
        rng = np.random.default_rng([recipe.seed, 2, step])
        clips = (families[:, None] * FAMILY_CLIPS + np.arange(FAMILY_CLIPS)).ravel()
        windows = np.stack([rng.permutation(WINDOWS)[: recipe.windows_per_clip] for _ in families])
        gains_db = rng.uniform(-recipe.gain_db, recipe.gain_db, len(clips))
        shifts, voices = None, None
        if recipe.augmentation is not None:
            limit = recipe.augmentation.shift_frames
            shifts = np.repeat(rng.integers(-limit, limit + 1, len(families)), FAMILY_CLIPS)
            centres_hz = self.front_end.band_edges_hz[1:-1]
            drawn = [draw_voice(rng, recipe.augmentation, centres_hz) for _ in families]
            voices = [voice for voice in drawn for _ in range(FAMILY_CLIPS)]
        windows = np.repeat(windows, FAMILY_CLIPS, axis=0)
        return self.batch(clips, windows, gains_db, shifts_frames=shifts, voices=voices)

    def _families_of(self, recipe: Recipe, step: int) -> Indices:
        """(batch_families,) of the first table alone until an addition joins, of all that have joined from then on."""
        began = [0, *(round(each.joins_at * recipe.steps) for each in recipe.additions)]
        joined_tables = sum(step >= each for each in began)
        families, since = self.family_ends[joined_tables - 1], step - began[joined_tables - 1]
        stage = 2 * joined_tables - 1  # not 2, which is the number of another draw
        per_pass = families // recipe.batch_families
        order = np.random.default_rng([recipe.seed, stage, since // per_pass]).permutation(families)
        place = since % per_pass * recipe.batch_families
        return np.asarray(order[place : place + recipe.batch_families])

    def whole_clips(self, clips: Indices) -> Batch:
        """All windows of `clips` as they are."""
        windows = np.tile(np.arange(WINDOWS), (len(clips), 1))
        return self.batch(clips, windows, np.zeros(len(clips)))

    def feature_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each band, (F,), over a few hundred clips spread over the table."""
        first = self.table.features[: self.family_ends[0] * FAMILY_CLIPS]
        some = first[:: max(1, len(first) // 400)].astype(np.float32)
        mean, deviation = some.mean(axis=(0, 1)), some.std(axis=(0, 1))
        return torch.from_numpy(mean), torch.from_numpy(np.maximum(deviation, 0.1))
