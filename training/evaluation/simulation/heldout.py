"""A table of held-out simulated clips (`livemos train label`, split "val") and what a bundle says of each second.

Needs no audio and no torch: the table keeps the features, and targets are computed from its truth and labels with the
functions that training uses. Of the gate only the speech threshold is applied; its level rules need the audio.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from livemos.agent import gate
from livemos.agent.bundle import Manifest, load_bundle
from livemos.agent.causes import CAUSE_OUTPUTS, CAUSES
from livemos.agent.doubt import std_of_mean
from livemos.agent.engine import make_engine
from livemos.agent.engine.base import Engine
from livemos.agent.errors import ConfigError
from livemos.agent.features import LogMel
from livemos.agent.records import SEGMENT_SAMPLES, STRIDE_SAMPLES, STRIDE_SECONDS
from livemos.agent.scorer import LEAST_SPEECH_SECONDS
from livemos.training import labels
from livemos.training.evaluation.scored import BASELINE_COLUMNS, DIMENSIONS, bands_ridge
from livemos.training.evaluation.statistics import Float
from livemos.training.tables import Columns, read_table

CAUSE_NAMES = tuple(cause.value for cause in CAUSES)
_FOLDS = 10  # of the baseline that is fitted on the table itself
_EVERY_FRAME = 4
_CLIPS_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Labels with the level's say. mos: (C,), NaN without speech. windows: DIMENSIONS and speech_ratio -> (C, W).

    weight: (C, W), 0 where a window says nothing about quality.
    """

    mos: Float
    windows: dict[str, Float]
    weight: Float

    @classmethod
    def of(cls, columns: Columns) -> Truth:
        targets = labels.make_targets(columns)
        shape = targets.window_mos.shape
        level = np.asarray(targets.level_dbov, np.float64)
        penalty = labels.level_penalty(level)

        def by_window(values: np.ndarray) -> Float:
            whole = values.astype(np.float64)
            return whole if whole.ndim == 2 else np.repeat(whole[:, None], shape[1], axis=1)

        windows = {
            "mos": np.clip(by_window(targets.window_mos) - penalty[:, None], 1.0, 5.0),
            "noisiness": by_window(targets.noisiness),
            "coloration": by_window(targets.coloration),
            "discontinuity": by_window(targets.discontinuity),
            "loudness": by_window(labels.loudness(level)),
            "speech_ratio": by_window(targets.speech_ratio),
        }
        mos = np.clip(targets.mos.astype(np.float64) - penalty, 1.0, 5.0)
        return cls(mos=mos, windows=windows, weight=by_window(targets.window_weight))


@dataclass(frozen=True, slots=True, kw_only=True)
class Heldout:
    """columns: the table's. outputs: name -> (C, W) of the bundle. truth: what it should say.

    scores: name -> (C,): DIMENSIONS pooled as the product pools (NaN where it gives no score), mos_plain (all windows
    alike), and the baselines. mos_std: (C,). passed: (C, W), windows with enough speech for the gate.
    """

    columns: Columns
    outputs: dict[str, Float]
    truth: Truth
    scores: dict[str, Float]
    mos_std: Float
    passed: np.ndarray
    bandwidth_hz: Float
    front_end: LogMel

    @property
    def families(self) -> np.ndarray:
        """(C,) numbers."""
        return np.asarray(self.columns["family"], np.int64)

    @property
    def member(self) -> np.ndarray:
        """(C,) 0 to 3 by rising severity."""
        return np.asarray(self.columns["member"], np.int64)

    @property
    def ladder(self) -> np.ndarray:
        """(C,) the kind that rises in the family, "" without speech."""
        return np.asarray(self.columns["ladder"], str)

    @property
    def kinds(self) -> list[tuple[str, ...]]:
        """The kinds of damage of each clip."""
        return [tuple(kind for kind, _ in json.loads(str(damages))) for damages in self.columns["damages"]]

    @property
    def cause_probabilities(self) -> Float | None:
        """(C, 9) as CAUSE_NAMES, pooled over the clip; None where the bundle has no cause output."""
        if not set(CAUSE_OUTPUTS) <= set(self.outputs):
            return None
        weight = pooling_weights(self.outputs["speech_ratio"], self.passed)
        return np.stack([pool(self.outputs[name], weight) for name in CAUSE_OUTPUTS], axis=1)


def pooling_weights(speech_ratio: Float, passed: np.ndarray) -> Float:
    """(C, W) weights of the speech-weighted mean, all 0 for clips the product leaves unset (agent/scorer.py)."""
    heard = speech_ratio * passed
    seconds = STRIDE_SECONDS * (heard.sum(axis=1) + (heard[:, 0] + heard[:, -1]) / 2)
    return np.where(passed & (seconds >= LEAST_SPEECH_SECONDS)[:, None], speech_ratio + 1e-6, 0.0)


def pooled_std(std: Float, weight: Float, error_correlation: float) -> Float:
    """(C, W) -> (C,) standard deviation of the clips' means, as the product gives it (agent/doubt.py)."""
    return std_of_mean(pool(std**2, weight), weight.sum(axis=1), (weight**2).sum(axis=1), error_correlation)


def pool(values: Float, weight: Float) -> Float:
    """(C, W) -> (C,) weighted mean, NaN without weight."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((values * weight).sum(axis=1) / weight.sum(axis=1))


def read_heldout(work: Path, bundle: Path | None, done: Callable[[int], object]) -> Heldout:
    """Score WORK/val with a bundle, calling `done` with the clips after each lot. Raises ConfigError, BundleError."""
    folder = work / "val"
    if not folder.is_dir():
        raise ConfigError(f"{folder} is missing; `livemos train label --work {work}` makes the held-out clips")
    table = read_table(folder)
    if not np.isfinite(np.asarray(table.columns["pesq_wb"], float)).any():
        raise ConfigError(f"{folder} holds no labels; run `livemos train label` to the end")
    loaded = load_bundle(bundle)
    engine = make_engine("onnxruntime", loaded)
    outputs = score_features(table.features, engine, loaded.manifest, done)
    return assemble(table.columns, outputs, loaded.manifest, table.features)


def score_features(
    features: np.ndarray, engine: Engine, manifest: Manifest, done: Callable[[int], object]
) -> dict[str, Float]:
    """(C, T, F) features of whole clips -> name -> (C, W) of every output the manifest names."""
    front_end = manifest.features.build()
    frames, stride = front_end.frames(SEGMENT_SAMPLES), STRIDE_SAMPLES // front_end.hop_samples
    starts = range(0, features.shape[1] - frames + 1, stride)
    parts = []
    for first in range(0, len(features), _CLIPS_AT_ONCE):
        clips = features[first : first + _CLIPS_AT_ONCE]
        cut = np.stack([clip[start : start + frames] for clip in clips for start in starts]).astype(np.float32)
        parts.append(engine.score(cut).reshape(len(clips), len(starts), -1))
        done(len(clips))
    answers = np.concatenate(parts).astype(np.float64)
    return {output.name: answers[..., manifest.column(output.name)] for output in manifest.outputs}


def assemble(columns: Columns, outputs: dict[str, Float], manifest: Manifest, features: np.ndarray) -> Heldout:
    """Clip scores, baselines and truth beside the outputs."""
    truth = Truth.of(columns)
    front_end = manifest.features.build()
    passed = outputs["speech_ratio"] >= manifest.gate.minimum_speech_ratio
    weight = pooling_weights(outputs["speech_ratio"], passed)
    scores = {name: pool(outputs[name], weight) for name in DIMENSIONS}
    scores["mos_plain"] = outputs["mos"].mean(axis=1)
    scores |= _baselines(truth, columns, _band_quantiles(features))
    loudest = features.max(axis=1, keepdims=True).astype(np.float32)
    return Heldout(
        columns=columns,
        outputs=outputs,
        truth=truth,
        scores=scores,
        mos_std=pooled_std(outputs["mos_std"], weight, manifest.error_correlation),
        passed=passed,
        bandwidth_hz=gate.bandwidth_hz(loudest, front_end).astype(np.float64),
        front_end=front_end,
    )


def _band_quantiles(features: np.ndarray) -> Float:
    some = features[:, ::_EVERY_FRAME].astype(np.float32)
    return np.asarray(np.quantile(some, (0.1, 0.5, 0.9), axis=1).transpose(1, 0, 2).reshape(len(some), -1), float)


def _baselines(truth: Truth, columns: Columns, bands: Float) -> dict[str, Float]:
    """The table's mean label, the level, and a ridge regression on band levels, fitted on the other nine tenths."""
    known = np.isfinite(truth.mos)
    ridge = np.full(len(known), np.nan)
    folds = [str(family % _FOLDS) for family in np.asarray(columns["family"], np.int64)[known]]
    ridge[known] = bands_ridge(bands[known], truth.mos[known], folds)
    constant = np.where(known, truth.mos[known].mean(), np.nan)
    return dict(zip(BASELINE_COLUMNS, (constant, np.asarray(columns["level_dbov"], float), ridge), strict=True))
