"""Rolling scores of all streams at once: 5, 30, 60 s and the whole call, weighted by speech.

One row a stream, arrays over rows: a batch of segments from many streams costs a handful of NumPy calls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from livemos.agent.causes import Cause, CauseBank, Float32, named, snr_db
from livemos.agent.doubt import std_of_mean
from livemos.agent.reasons import Reason
from livemos.agent.records import SEGMENT_SECONDS, STRIDE_SECONDS, RollingWindow
from livemos.agent.segment_scorer import MOS, MOS_STD, NOISINESS, SPEECH_RATIO, VALUES

WINDOWS_SECONDS = (5.0, 30.0, 60.0)
_MEANS = 5  # mos and the four dimensions: the columns of which means are kept
_BINS_PER_MOS = 100  # the whole call keeps a histogram, so a day-long call takes no more room than a minute
_BINS = 4 * _BINS_PER_MOS + 1
_PERCENTILE = 0.05

Float64 = npt.NDArray[np.float64]
Explained = tuple[Cause | None, float | None]  # cause and its probability


def segments_in(window_seconds: float) -> int:
    """Segments that lie wholly inside the last `window_seconds`: 9 for 5 s."""
    return int((window_seconds - SEGMENT_SECONDS) / STRIDE_SECONDS) + 1


@dataclass(frozen=True, slots=True)
class _Columns:
    """Statistics of one window for B rows; means (B, 5), the rest (B,)."""

    means: Float64
    std: Float64
    minimum: Float64
    p05: Float64
    scored: npt.NDArray[np.int64]
    unscored: npt.NDArray[np.int64]
    speech: Float64


class RollingBank:
    """State of `rows` streams. One thread (the scoring thread) at a time.

    causes: whether the model gives them; otherwise no room is kept for them. error_correlation: the bundle's.
    """

    def __init__(self, rows: int, *, error_correlation: float, causes: bool = False) -> None:
        self._error_correlation = error_correlation
        self._history = segments_in(max(WINDOWS_SECONDS))
        self._values = np.full((rows, self._history, len(VALUES)), np.nan, np.float32)
        self._count = np.zeros(rows, np.int64)
        self._weight = np.zeros(rows)
        self._squared_weight = np.zeros(rows)
        self._weighted = np.zeros((rows, _MEANS))
        self._weighted_variance = np.zeros(rows)
        self._minimum = np.full(rows, np.inf)
        self._scored = np.zeros(rows, np.int64)
        self._speech = np.zeros(rows)
        self._histogram = np.zeros((rows, _BINS), np.int32)
        self._last_reason: list[Reason | None] = [None] * rows
        self._causes = CauseBank(rows, [segments_in(seconds) for seconds in WINDOWS_SECONDS]) if causes else None

    def reset(self, row: int) -> None:
        """Forget the stream that used the row before."""
        self._values[row] = np.nan
        for total in (self._count, self._weight, self._squared_weight, self._weighted, self._weighted_variance):
            total[row] = 0
        self._scored[row] = 0
        self._speech[row] = 0
        self._minimum[row] = np.inf
        self._histogram[row] = 0
        self._last_reason[row] = None
        if self._causes is not None:
            self._causes.reset(row)

    def push(
        self,
        rows: npt.NDArray[np.intp],
        values: npt.NDArray[np.float32],
        reasons: list[Reason | None],
        causes: Float32 | None = None,
    ) -> list[tuple[RollingWindow, ...]]:
        """Add one segment to each of `rows` (no row twice); values (B, 7), NaN where unset -> windows per row.

        causes: (B, 9), NaN where unset, where the model gives them.
        """
        for row, reason in zip(rows, reasons, strict=True):
            self._last_reason[row] = reason
        self._values[rows, self._count[rows] % self._history] = values
        self._count[rows] += 1
        self._accumulate(rows, values.astype(np.float64))
        newest_first = self._newest_first(rows)
        count = self._count[rows]
        last_reasons = [self._last_reason[row] for row in rows]
        explained = self._explain(rows, values, causes)
        parts = [self._recent(count, newest_first[:, : segments_in(seconds)]) for seconds in WINDOWS_SECONDS]
        parts.append(self._call(rows))
        due = [np.minimum(count, segments_in(seconds)) for seconds in WINDOWS_SECONDS]
        due.append(count)
        snr = snr_db(np.stack([part.means[:, NOISINESS] for part in parts])).tolist()
        windows = [
            _windows(seconds, part, segments, part_snr, part_explained, last_reasons)
            for seconds, part, segments, part_snr, part_explained in zip(
                (*WINDOWS_SECONDS, None), parts, due, snr, explained, strict=True
            )
        ]
        return list(zip(*windows, strict=True))

    def _explain(
        self, rows: npt.NDArray[np.intp], values: npt.NDArray[np.float32], causes: Float32 | None
    ) -> list[list[Explained]]:
        """For each window and the call, the cause of each row."""
        if self._causes is None or causes is None:
            return [[(None, None)] * len(rows)] * (len(WINDOWS_SECONDS) + 1)
        place, share = self._causes.push(rows, causes, values[:, SPEECH_RATIO])
        return [list(map(named, *window)) for window in zip(place.T.tolist(), share.T.tolist(), strict=True)]

    def _accumulate(self, rows: npt.NDArray[np.intp], values: Float64) -> None:
        scored = ~np.isnan(values[:, MOS])
        rows, values = rows[scored], values[scored]
        weight = values[:, SPEECH_RATIO]
        self._weight[rows] += weight
        self._squared_weight[rows] += weight**2
        self._weighted[rows] += weight[:, None] * values[:, :_MEANS]
        self._weighted_variance[rows] += weight * values[:, MOS_STD] ** 2
        self._minimum[rows] = np.minimum(self._minimum[rows], values[:, MOS])
        self._scored[rows] += 1
        self._speech[rows] += weight * STRIDE_SECONDS
        self._histogram[rows, np.rint((values[:, MOS] - 1.0) * _BINS_PER_MOS).astype(np.intp)] += 1

    def _newest_first(self, rows: npt.NDArray[np.intp]) -> Float64:
        """(B, history, 7): what is kept of each row, the newest segment first."""
        # slots not yet written hold NaN: a segment that never came counts as unscored and is left out of `due`
        newest = self._count[rows, None] - 1 - np.arange(self._history)[None, :]
        kept: Float64 = self._values[rows[:, None], newest % self._history].astype(np.float64)
        return kept

    def _recent(self, heard: npt.NDArray[np.int64], values: Float64) -> _Columns:
        """Of the segments in `values` (B, segments, 7), of rows that have heard so many in all."""
        segments = values.shape[1]
        scored = ~np.isnan(values[:, :, MOS])
        count = scored.sum(axis=1)
        filled = np.where(scored[:, :, None], values, 0.0)
        weight = filled[:, :, SPEECH_RATIO]
        total = np.maximum(weight.sum(axis=1), 1e-12)
        ordered = np.sort(np.where(scored, values[:, :, MOS], np.inf), axis=1)
        position = _PERCENTILE * np.maximum(count - 1, 0)
        below = np.floor(position).astype(np.intp)
        every = np.arange(len(values))
        low, high = ordered[every, below], ordered[every, np.minimum(below + 1, np.maximum(count - 1, 0))]
        with np.errstate(invalid="ignore"):
            p05 = low + (position - below) * (high - low)
        return _Columns(
            means=(weight[:, :, None] * filled[:, :, :_MEANS]).sum(axis=1) / total[:, None],
            std=std_of_mean(
                (weight * filled[:, :, MOS_STD] ** 2).sum(axis=1) / total,
                total,
                (weight**2).sum(axis=1),
                self._error_correlation,
            ),
            minimum=ordered[:, 0],
            p05=p05,
            scored=count,
            unscored=np.minimum(heard, segments) - count,
            speech=weight.sum(axis=1) * STRIDE_SECONDS,
        )

    def _call(self, rows: npt.NDArray[np.intp]) -> _Columns:
        """Everything since the stream began; the percentile to 0.01 MOS."""
        total = np.maximum(self._weight[rows], 1e-12)
        scored = self._scored[rows]
        reached = np.cumsum(self._histogram[rows], axis=1) >= np.maximum(np.ceil(_PERCENTILE * scored), 1)[:, None]
        return _Columns(
            means=self._weighted[rows] / total[:, None],
            std=std_of_mean(
                self._weighted_variance[rows] / total, total, self._squared_weight[rows], self._error_correlation
            ),
            minimum=self._minimum[rows],
            p05=1.0 + reached.argmax(axis=1) / _BINS_PER_MOS,
            scored=scored,
            unscored=self._count[rows] - scored,
            speech=self._speech[rows],
        )


def _windows(
    seconds: float | None,
    part: _Columns,
    due_segments: npt.NDArray[np.int64],
    snr_db: list[float],
    explained: list[Explained],
    last_reasons: list[Reason | None],
) -> list[RollingWindow]:
    """A record for each row; whole columns become Python's numbers at once."""
    return [
        RollingWindow(
            window_seconds=seconds,
            mos=means[0],
            mos_std=std,
            mos_minimum=minimum,
            mos_p05=p05,
            noisiness=means[1],
            coloration=means[2],
            discontinuity=means[3],
            loudness=means[4],
            scored_segments=scored,
            unscored_segments=unscored,
            coverage_ratio=scored / due,
            speech_seconds=speech,
            snr_db=None if math.isnan(snr) else snr,
            cause=cause,
            cause_probability=cause_probability,
        )
        if scored
        else RollingWindow(window_seconds=seconds, unscored_segments=unscored, reason=reason or Reason.WARMING_UP)
        for means, std, minimum, p05, scored, unscored, speech, due, reason, snr, (cause, cause_probability) in zip(
            part.means.tolist(),
            part.std.tolist(),
            part.minimum.tolist(),
            part.p05.tolist(),
            part.scored.tolist(),
            part.unscored.tolist(),
            part.speech.tolist(),
            due_segments.tolist(),
            last_reasons,
            snr_db,
            explained,
            strict=True,
        )
    ]
