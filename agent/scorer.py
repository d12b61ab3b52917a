"""The Python interface: arrays in, scores out. Load once, score from then on.

from livemos.agent import Scorer
scorer = Scorer()
clip = scorer.score(samples, 16_000)        # clip.mos, clip.reason, clip.segments
stream = scorer.stream(8_000)
for block in blocks:
    for segment in stream.write(block):
        print(segment.start_sample, segment.mos)
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from livemos.agent.bundle import load_bundle
from livemos.agent.causes import CAUSES, Float64, likeliest, named, snr_db
from livemos.agent.doubt import std_of_mean
from livemos.agent.engine import make_engine
from livemos.agent.pipeline import segment_score
from livemos.agent.reasons import Reason
from livemos.agent.records import (
    SAMPLE_RATE_HZ,
    SEGMENT_SAMPLES,
    STRIDE_SECONDS,
    ClipScore,
    ModelDescription,
    RollingScore,
    Samples,
    SegmentScore,
)
from livemos.agent.resample import StreamResampler, to_mono
from livemos.agent.rolling import RollingBank
from livemos.agent.segment_scorer import SegmentScorer, SegmentScores
from livemos.agent.segmenter import end_of, start_of, whole_segments

LEAST_SPEECH_SECONDS = 0.5  # one bark in a minute of traffic is no call
_BATCH_SEGMENTS = 64
_DIMENSIONS = ("mos", "noisiness", "coloration", "discontinuity", "loudness")


class Scorer:
    """A loaded model. Safe to share between threads; calls take turns at the engine."""

    def __init__(self, bundle: Path | str | None = None, *, engine: str = "onnxruntime", threads: int = 1) -> None:
        """Load the bundle at a path, or the packaged one. Raises BundleError, EngineError, ConfigError."""
        loaded = load_bundle(None if bundle is None else Path(bundle))
        self._scorer = SegmentScorer(loaded, make_engine(engine, loaded, threads=threads))
        self._lock = threading.Lock()

    @property
    def model(self) -> ModelDescription:
        """Which model scores."""
        return self._scorer.model

    @property
    def error_correlation(self) -> float:
        """How far the model's errors of seconds of one stream go together (agent/doubt.py)."""
        return self._scorer.error_correlation

    def score(self, samples: npt.NDArray[np.float32], sample_rate_hz: int) -> ClipScore:
        """The score of a whole clip: (N,) or (N, channels) float32, full scale 1.0, any rate.

        Channels are averaged to mono. Equal to `stream(sample_rate_hz)` fed with the same samples in any blocks.
        Raises ValueError for a wrong shape, dtype or rate.
        """
        stream = self.stream(sample_rate_hz)
        stream.write(samples)
        return stream.finish()

    def stream(self, sample_rate_hz: int, *, rolling: bool = False) -> ScoringStream:
        """A stream that returns the segments each block completes, and keeps rolling scores of them if asked to.

        Raises ValueError for a rate that is no rate.
        """
        return ScoringStream(self, sample_rate_hz, rolling=rolling)

    def _rolling_bank(self) -> RollingBank:
        """Windows of one stream."""
        return RollingBank(1, error_correlation=self.error_correlation, causes=self._scorer.gives_causes)

    def _score_segments(self, segments: Samples, first_index: int) -> tuple[list[SegmentScore], SegmentScores]:
        """Their scores as records and as columns."""
        with self._lock:
            scores = self._scorer.score(segments, np.zeros(len(segments), np.float32))
        records = [
            segment_score(
                scores,
                row,
                source_id="",
                segment_index=first_index + row,
                ready_unix_seconds=end_of(first_index + row) / SAMPLE_RATE_HZ,
                concealed_ratio=0.0,
                model_id=self.model.model_id,
            )
            for row in range(len(segments))
        ]
        return records, scores


class ScoringStream:
    """One stream of a Scorer. Times of its segments count from its first sample. Not for two threads at once."""

    def __init__(self, scorer: Scorer, sample_rate_hz: int, *, rolling: bool = False) -> None:
        if sample_rate_hz <= 0:
            raise ValueError(f"sample_rate_hz must be positive, got {sample_rate_hz}")
        self._scorer = scorer
        self._sample_rate_hz = sample_rate_hz
        self._resampler = StreamResampler(sample_rate_hz, SAMPLE_RATE_HZ)
        self._held = np.empty(0, np.float32)  # samples from the start of the next segment on
        self._next_index = 0
        self._heard_samples = 0  # at the input rate
        self._segments: list[SegmentScore] = []
        self._cause_sums = np.zeros(len(CAUSES))
        self._bank = scorer._rolling_bank() if rolling else None
        self._rolling: list[RollingScore] = []  # not yet taken
        self._finished = False

    def write(self, samples: npt.NDArray[np.float32]) -> list[SegmentScore]:
        """Scores of the segments that (N,) or (N, channels) float32 samples complete, often none."""
        if self._finished:
            raise ValueError("the stream is finished; open another with Scorer.stream()")
        samples = np.asarray(samples)
        if samples.dtype != np.float32 or samples.ndim not in (1, 2):
            raise ValueError(
                f"samples are (N,) or (N, channels) float32 with full scale 1.0, got {samples.ndim}-D {samples.dtype}"
            )
        self._heard_samples += len(samples)
        return self._advance(self._resampler.push(to_mono(samples)))

    def take_rolling(self) -> list[RollingScore]:
        """Statistics over windows as of each segment since the last call of this; none unless opened with `rolling`."""
        taken, self._rolling = self._rolling, []
        return taken

    def finish(self) -> ClipScore:
        """Score what is left and return the whole; the stream takes no more samples."""
        if not self._finished:
            self._finished = True
            self._advance(self._resampler.flush())
        seconds = self._heard_samples / self._sample_rate_hz
        return clip_score(
            self._segments,
            seconds,
            self._sample_rate_hz,
            self._scorer.model.model_id,
            error_correlation=self._scorer.error_correlation,
            cause_sums=self._cause_sums,
        )

    def _advance(self, samples: Samples) -> list[SegmentScore]:
        self._held = np.concatenate([self._held, samples])
        first = self._next_index
        base = start_of(first)
        last = whole_segments(base + len(self._held))
        scored: list[SegmentScore] = []
        for start in range(first, last, _BATCH_SEGMENTS):
            indices = range(start, min(last, start + _BATCH_SEGMENTS))
            batch = np.stack([self._held[start_of(i) - base : start_of(i) - base + SEGMENT_SAMPLES] for i in indices])
            records, scores = self._scorer._score_segments(batch, start)
            scored += records
            self._cause_sums += scores.weighted_causes().sum(axis=0, dtype=np.float64)
            if self._bank is not None:
                self._rolling += _rolling_scores(self._bank, records, scores)
        if last > first:
            self._next_index = last
            self._held = self._held[start_of(last) - base :].copy()
        self._segments += scored
        return scored


def _rolling_scores(bank: RollingBank, records: Sequence[SegmentScore], scores: SegmentScores) -> list[RollingScore]:
    """One for each segment, which enters the bank's only row."""
    rolled = []
    for row, record in enumerate(records):
        of_row = slice(row, row + 1)
        causes = None if scores.causes is None else scores.causes[of_row]
        (windows,) = bank.push(np.zeros(1, np.intp), scores.values[of_row], [record.reason], causes)
        rolled.append(
            RollingScore(
                source_id=record.source_id,
                segment_index=record.segment_index,
                end_sample=record.start_sample + SEGMENT_SAMPLES,
                ready_unix_seconds=record.ready_unix_seconds,
                windows=windows,
                level_dbov=record.level_dbov,
                model_id=record.model_id,
            )
        )
    return rolled


def clip_score(
    segments: Sequence[SegmentScore],
    seconds: float,
    sample_rate_hz: int,
    model_id: str,
    *,
    error_correlation: float,
    cause_sums: Float64 | None = None,
) -> ClipScore:
    """The speech-weighted mean of the scored segments, unset below LEAST_SPEECH_SECONDS of speech in them.

    mos_std is that of the mean (agent/doubt.py), error_correlation the bundle's. cause_sums: (9,), the sum of their
    `weighted_causes`, where the bundle gives causes.
    """
    scored = [segment for segment in segments if segment.mos is not None]
    speech_seconds = _speech_seconds([segment.speech_ratio or 0.0 for segment in segments])
    judged_seconds = _speech_seconds(
        [(segment.speech_ratio or 0.0) * (segment.mos is not None) for segment in segments]
    )
    if judged_seconds < LEAST_SPEECH_SECONDS:
        reason = (
            Reason.NO_SPEECH if scored else _most_common([segment.reason for segment in segments]) or Reason.TOO_SHORT
        )
        return ClipScore(
            seconds=seconds,
            speech_seconds=speech_seconds,
            sample_rate_hz=sample_rate_hz,
            reason=reason,
            model_id=model_id,
            segments=tuple(segments),
        )
    weights = np.array([segment.speech_ratio or 0.0 for segment in scored]) + 1e-6
    means = {
        name: float(np.average([getattr(segment, name) for segment in scored], weights=weights)) for name in _DIMENSIONS
    }
    variance = np.average([(segment.mos_std or 0.0) ** 2 for segment in scored], weights=weights)
    place, share = likeliest(np.zeros(len(CAUSES)) if cause_sums is None else cause_sums)
    cause, cause_probability = named(int(place), float(share))
    snr = float(snr_db(np.array(means["noisiness"])))
    return ClipScore(
        seconds=seconds,
        speech_seconds=speech_seconds,
        sample_rate_hz=sample_rate_hz,
        mos=means["mos"],
        mos_std=float(std_of_mean(variance, weights.sum(), (weights**2).sum(), error_correlation)),
        noisiness=means["noisiness"],
        coloration=means["coloration"],
        discontinuity=means["discontinuity"],
        loudness=means["loudness"],
        snr_db=None if math.isnan(snr) else snr,
        cause=cause,
        cause_probability=cause_probability,
        model_id=model_id,
        segments=tuple(segments),
    )


def _speech_seconds(ratios: Sequence[float]) -> float:
    """Each segment answers for its stride, the first and the last also for the half second at the clip's ends."""
    return STRIDE_SECONDS * (sum(ratios) + (ratios[0] + ratios[-1]) / 2) if ratios else 0.0


def _most_common(reasons: Sequence[Reason | None]) -> Reason | None:
    """The reason of most segments, the earliest in Reason's order among equals."""
    counted = [
        (reasons.count(reason), -position, reason) for position, reason in enumerate(Reason) if reason in reasons
    ]
    return max(counted, key=lambda item: item[:2])[2] if counted else None
