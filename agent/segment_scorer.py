"""Segments in, scores or reasons out: gate, features, engine, gate again. Live path and Python interface share it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from livemos.agent import gate
from livemos.agent.bundle import Bundle
from livemos.agent.causes import CAUSE_OUTPUTS, likeliest, snr_db, weighted
from livemos.agent.engine.base import Engine
from livemos.agent.errors import EngineError
from livemos.agent.reasons import Reason
from livemos.agent.records import ModelDescription, Samples
from livemos.agent.shared_frames import Indices, SharedFrames

Float32 = npt.NDArray[np.float32]

# columns of SegmentScores.values, in this order whatever the graph's own order is
VALUES = ("mos", "noisiness", "coloration", "discontinuity", "loudness", "mos_std", "speech_ratio")
MOS, NOISINESS, COLORATION, DISCONTINUITY, LOUDNESS, MOS_STD, SPEECH_RATIO = range(len(VALUES))


@dataclass(frozen=True, slots=True)
class SegmentScores:
    """Columns for B segments: values (B, 7) as VALUES names them, NaN where unset; reasons[i] is None when scored.

    causes: (B, 9) probabilities, NaN where unset, None when the bundle gives none; cause and cause_probability: the
    likeliest of them (causes.likeliest). snr_db: NaN where it cannot be told.
    """

    values: Float32
    reasons: list[Reason | None]
    level_dbov: Float32  # -inf for digital silence
    clipped_ratio: Float32
    bandwidth_hz: Float32  # NaN where the network was not asked
    causes: Float32 | None
    cause: npt.NDArray[np.intp]
    cause_probability: npt.NDArray[np.float64]
    snr_db: npt.NDArray[np.float64]
    failure: str | None = None  # what the engine said when it failed

    def weighted_causes(self) -> Float32:
        """(B, 9) probabilities times speech, to be summed over a clip; zeros where unset."""
        if self.causes is None:
            return np.zeros((len(self.values), len(CAUSE_OUTPUTS)), np.float32)
        return weighted(self.causes, self.values[:, SPEECH_RATIO])


def _unset(segments: int) -> Float32:
    return np.full((segments, len(VALUES)), np.nan, np.float32)


def _unset_causes(segments: int) -> Float32:
    return np.full((segments, len(CAUSE_OUTPUTS)), np.nan, np.float32)


def _spread(of_asked: Float32, asked: Indices, segments: int) -> Float32:
    """Rows of the segments that were asked about, NaN for the others."""
    whole = np.full((segments, *of_asked.shape[1:]), np.nan, np.float32)
    whole[asked] = of_asked
    return whole


class SegmentScorer:
    """Holds one engine and the bundle's thresholds. One thread at a time."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        manifest = bundle.manifest
        self._engine = engine
        self._log_mel = manifest.features.build()
        self._columns = [manifest.column(name) for name in VALUES]
        limits = [manifest.outputs[column] for column in self._columns]
        self.gives_causes = set(CAUSE_OUTPUTS) <= {output.name for output in manifest.outputs}
        if self.gives_causes:
            self._columns += [manifest.column(name) for name in CAUSE_OUTPUTS]
        self._minimum = np.array([output.minimum for output in limits], np.float32)
        self._maximum = np.array([output.maximum for output in limits], np.float32)
        self._shared: SharedFrames | None = None
        self._minimum_speech_ratio = manifest.gate.minimum_speech_ratio
        self.error_correlation = manifest.error_correlation
        self.model = ModelDescription(
            name=manifest.name,
            version=manifest.version,
            model_id=manifest.model_id,
            sha256=manifest.files["model.onnx"],
            licence=manifest.licence,
            sample_rate_hz=manifest.sample_rate_hz,
            segment_samples=manifest.segment_samples,
            stride_samples=manifest.stride_samples,
            engine=str(engine.describe()),
        )

    def warm_up(self) -> None:
        """Score noise once, all the way. Raises EngineError when the model does not answer."""
        self._engine.warm_up()
        noise = np.random.default_rng(0).normal(0.0, 0.05, (1, self.model.segment_samples)).astype(np.float32)
        failure = self.score(noise, np.zeros(1, np.float32)).failure
        if failure is not None:
            raise EngineError(failure)

    def _features(self, segments: Samples, asked: Indices, places: tuple[Indices, Indices] | None) -> Float32:
        if self._shared is None or places is None:
            return self._log_mel(segments)
        rows, indices = places
        return self._shared(segments, rows[asked], indices[asked])

    def _ask(self, features: Float32) -> tuple[Float32, Float32, list[Reason | None], str | None]:
        """Values and causes as in SegmentScores, reasons and the failure, of segments that the gate let through."""
        failure = None
        try:
            outputs = self._engine.score(features)[:, self._columns]
        except Exception as error:  # a runtime's own: the thread that scores all streams must outlive it
            failure = str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"
            outputs = np.full((len(features), len(self._columns)), np.nan, np.float32)
        values = outputs[:, : len(VALUES)]
        finite = np.asarray(np.isfinite(values).all(axis=1))
        reasons = gate.reasons_after(finite, values[:, SPEECH_RATIO], self._minimum_speech_ratio)
        values = np.minimum(np.maximum(values, self._minimum), self._maximum)
        causes = outputs[:, len(VALUES) :] if self.gives_causes else _unset_causes(len(features))
        refused = [row for row, reason in enumerate(reasons) if reason is not None]
        if refused:
            values[refused, :SPEECH_RATIO] = np.nan
            values[~finite] = np.nan
            causes[refused] = np.nan
        return values, causes, reasons, failure

    def share_frames(self, streams: int) -> None:
        """From now on `score` may be told which stream a segment is of, a number below `streams`."""
        self._shared = SharedFrames(
            self._log_mel,
            streams=streams,
            segment_samples=self.model.segment_samples,
            stride_samples=self.model.stride_samples,
        )

    def score(
        self, segments: Samples, concealed_ratio: Float32, places: tuple[Indices, Indices] | None = None
    ) -> SegmentScores:
        """Scores of segments (B, 16000) float32, of each of which `concealed_ratio` (B,) was made up by the receiver.

        places: streams (B,), none twice, and the segments' indices in them (B,), -1 where samples are missing; what
        two successive segments share is then computed once. Needs `share_frames`.

        Never raises for what it hears; an engine that fails gives MODEL_ERROR for its segments and `failure`.
        """
        measures = gate.measure(segments)
        reasons = gate.reasons_before(segments, measures, concealed_ratio)
        asked = np.array([row for row, reason in enumerate(reasons) if reason is None], np.intp)
        every = len(asked) == len(segments)
        if self._shared is not None and places is not None and not every:
            self._shared.forget(np.delete(places[0], asked))
        values, causes, bandwidth, failure = _unset(0), _unset_causes(0), np.empty(0, np.float32), None
        if len(asked):
            features = self._features(segments if every else segments[asked], asked, places)
            bandwidth = gate.bandwidth_hz(features, self._log_mel)
            values, causes, after, failure = self._ask(features)
            for row, reason in zip(asked.tolist(), after, strict=True):
                reasons[row] = reason
        if not every:
            values, causes, bandwidth = (_spread(each, asked, len(segments)) for each in (values, causes, bandwidth))
        cause, cause_probability = likeliest(causes)
        return SegmentScores(
            values=values,
            reasons=reasons,
            level_dbov=measures.level_dbov,
            clipped_ratio=measures.clipped_ratio,
            bandwidth_hz=bandwidth,
            causes=causes if self.gives_causes else None,
            cause=cause,
            cause_probability=cause_probability,
            snr_db=snr_db(values[:, NOISINESS]),
            failure=failure,
        )
