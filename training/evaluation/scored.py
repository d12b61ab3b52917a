"""The model's and the baselines' answers for the clips of a set: segments once, everything else from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from livemos.agent.bundle import load_bundle
from livemos.agent.engine import make_engine
from livemos.agent.features import LogMel
from livemos.agent.records import SAMPLE_RATE_HZ, SEGMENT_SAMPLES, STRIDE_SAMPLES, ClipScore, Samples
from livemos.agent.resample import to_mono
from livemos.agent.scorer import Scorer
from livemos.agent.sources.audio_file import read_audio
from livemos.training.evaluation.rated_sets import RatedSet
from livemos.training.evaluation.statistics import Float
from livemos.training.levels import active_level_dbov

DIMENSIONS = ("mos", "noisiness", "coloration", "discontinuity", "loudness")
BASELINE_COLUMNS = ("constant", "level", "bands_ridge")
CONSTANT = 3.0
_QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """Segments of a clip: values (S, 5) as DIMENSIONS, NaN where the gate left one unset; speech_ratio (S,)."""

    values: Float
    speech_ratio: Float

    def __len__(self) -> int:
        return len(self.values)

    @property
    def scored(self) -> int:
        """How many have a score."""
        return int(np.isfinite(self.values[:, 0]).sum())

    def pooled(self, pooling: str, start: int = 0, stop: int | None = None) -> float:
        """MOS of segments [start, stop) under one of POOLINGS; NaN when none of them has a score."""
        mos, speech = self.values[start:stop, 0], self.speech_ratio[start:stop]
        known = np.isfinite(mos)
        return POOLINGS[pooling](mos[known], speech[known]) if known.any() else float("nan")

    @classmethod
    def of(cls, clip: ClipScore) -> Segments:
        values = np.array([[getattr(segment, name) for name in DIMENSIONS] for segment in clip.segments], float)
        return cls(
            values=values.reshape(len(clip.segments), len(DIMENSIONS)),
            speech_ratio=np.array([segment.speech_ratio or 0.0 for segment in clip.segments]),
        )


# (S,) scores and speech ratios -> one score
POOLINGS: dict[str, Callable[[Float, Float], float]] = {
    "speech-weighted mean": lambda mos, speech: float(np.average(mos, weights=speech + 1e-6)),
    "mean": lambda mos, speech: float(mos.mean()),
    "10th percentile": lambda mos, speech: float(np.quantile(mos, 0.1)),
    "minimum": lambda mos, speech: float(mos.min()),
}


class Listener:
    """One bundle on ONNX Runtime, asked in two ways: as the product answers, and as its network alone does."""

    def __init__(self, bundle: Path | None = None) -> None:
        """Load the bundle at a path, or the packaged one. Raises BundleError, EngineError."""
        loaded = load_bundle(bundle)
        self.scorer = Scorer(bundle)
        self._engine = make_engine("onnxruntime", loaded)
        self._columns = [loaded.manifest.column(name) for name in DIMENSIONS]
        self.front_end = loaded.manifest.features.build()

    def ungated(self, samples: Samples) -> Float:
        """(5,) plain means over all 1 s segments at 16 kHz, speech or not; NaN for less than a second.

        What the public models' window columns are: no segment is left out, however little speech it holds.
        """
        starts = range(0, len(samples) - SEGMENT_SAMPLES + 1, STRIDE_SAMPLES)
        if not starts:
            return np.full(len(DIMENSIONS), np.nan)
        features = self.front_end(np.stack([samples[start : start + SEGMENT_SAMPLES] for start in starts]))
        return np.asarray(self._engine.score(features)[:, self._columns].mean(axis=0), float)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSet:
    """A set with all that was answered for its clips.

    segments: one a clip, in the set's order. columns: name -> (N,), NaN where unset. mos_std: (N,).
    sample_rates_hz: (N,) of the files.
    """

    rated: RatedSet
    segments: tuple[Segments, ...]
    columns: dict[str, Float]
    kinds: dict[str, str]  # column -> livemos, peer, baseline
    mos_std: Float
    sample_rates_hz: Float


def score_set(
    rated: RatedSet, listener: Listener, peers: dict[str, dict[str, float]], scored: Callable[[], object]
) -> ScoredSet:
    """Score every clip once, calling `scored` after each. Raises SourceError for a file that cannot be read."""
    clips: list[ClipScore] = []
    levels, bands, rates, ungated = [], [], [], []
    front_end = LogMel()
    for clip in rated.clips:
        samples, sample_rate_hz = read_audio(rated.folder / clip.file)
        clips.append(listener.scorer.score(samples, sample_rate_hz))
        rates.append(sample_rate_hz)
        heard = at_16k(samples, sample_rate_hz)
        ungated.append(listener.ungated(heard))
        levels.append(active_level_dbov(heard))
        bands.append(np.quantile(front_end(heard), _QUANTILES, axis=0).ravel())
        scored()
    segments = tuple(Segments.of(clip) for clip in clips)
    columns = _model_columns(clips, segments, np.array(ungated))
    kinds = dict.fromkeys(columns, "livemos")
    for name, values in peers.items():
        columns[name] = np.array([values[clip.file] for clip in rated.clips])
        kinds[name] = "peer"
    by_condition = rated.condition_votes()
    votes = np.array([by_condition[clip.condition].mos if rated.conditions else clip.votes.mos for clip in rated.clips])
    conditions = [clip.condition for clip in rated.clips]
    baselines = (np.full(len(clips), CONSTANT), np.array(levels), bands_ridge(np.array(bands), votes, conditions))
    columns.update(zip(BASELINE_COLUMNS, baselines, strict=True))
    kinds.update(dict.fromkeys(BASELINE_COLUMNS, "baseline"))
    return ScoredSet(
        rated=rated,
        segments=segments,
        columns=columns,
        kinds=kinds,
        mos_std=_values(clips, "mos_std"),
        sample_rates_hz=np.array(rates, float),
    )


def at_16k(samples: Samples, sample_rate_hz: int) -> Samples:
    """Mono at the one rate that features and levels know."""
    mono = to_mono(samples)
    if sample_rate_hz == SAMPLE_RATE_HZ:
        return mono
    return np.asarray(soxr.resample(mono, sample_rate_hz, SAMPLE_RATE_HZ), np.float32)


def bands_ridge(bands: Float, votes: Float, conditions: Sequence[str], penalty_ratio: float = 1.0) -> Float:
    """What the mel bands' quantiles alone can say: ridge regression, each condition predicted from all the others.

    bands (N, Q) in log power. It is fitted on the set it is judged on (without the condition in question), which no
    model here is allowed to do: a control for how easy the set is, not a rival.
    """
    groups = np.asarray(conditions)
    predicted = np.full(len(votes), np.nan)
    for group in np.unique(groups):
        inside = groups == group
        if inside.all():
            return predicted
        known, asked = bands[~inside], bands[inside]
        centre, spread = known.mean(axis=0), known.std(axis=0) + 1e-6
        known, asked = (known - centre) / spread, (asked - centre) / spread
        kernel = known @ known.T
        penalty = penalty_ratio * float(np.trace(kernel)) / len(kernel) + 1e-6
        mean = votes[~inside].mean()
        predicted[inside] = mean + asked @ known.T @ np.linalg.solve(
            kernel + penalty * np.eye(len(kernel)), votes[~inside] - mean
        )
    return predicted


def _model_columns(clips: Sequence[ClipScore], segments: Sequence[Segments], ungated: Float) -> dict[str, Float]:
    """As `livemos score` gives them, MOS under other poolings, and the network's plain means.

    speech_dimensions is the lower of coloration and discontinuity: a voice is as damaged as the worse of them says.
    """
    columns = {name: _values(clips, name) for name in DIMENSIONS}
    columns["speech_dimensions"] = np.minimum(columns["coloration"], columns["discontinuity"])
    for column, pooling in (("mos_plain", "mean"), ("mos_minimum", "minimum"), ("mos_p10", "10th percentile")):
        columns[column] = np.array(
            [
                each.pooled(pooling) if clip.mos is not None else np.nan
                for clip, each in zip(clips, segments, strict=True)
            ]
        )
    for name, values in zip(DIMENSIONS, ungated.T, strict=True):
        columns[f"{name}_ungated"] = values
    columns["speech_dimensions_ungated"] = np.minimum(columns["coloration_ungated"], columns["discontinuity_ungated"])
    return columns


def _values(clips: Sequence[ClipScore], name: str) -> Float:
    return np.array([getattr(clip, name) for clip in clips], float)  # None becomes NaN
