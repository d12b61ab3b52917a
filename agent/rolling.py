"""Rolling scores of all streams at once: 5, 30, 60 s and the whole call, weighted by speech.

One row a stream, arrays over rows: a batch of segments from many streams costs a handful of NumPy calls. A window's
sums gain the newest segment and lose the one that left; lowest scores are sorted anew each time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import repeat

import numpy as np

from livemos.agent.causes import Cause, CauseBank, Float32, Float64, Indices, named, snr_db
from livemos.agent.doubt import std_of_mean
from livemos.agent.reasons import Reason
from livemos.agent.records import SEGMENT_SECONDS, STRIDE_SECONDS, RollingWindow
from livemos.agent.segment_scorer import MOS, MOS_STD, NOISINESS, SPEECH_RATIO, VALUES

WINDOWS_SECONDS = (5.0, 30.0, 60.0)
_MEANS = 5  # mos and the four dimensions: the columns of which means are kept
_BINS_PER_MOS = 100  # the whole call keeps a histogram, so a day-long call takes no more room than a minute
_BINS = 4 * _BINS_PER_MOS + 1
_PERCENTILE = 0.05
# what is summed of each scored segment, in place of its mos_std and speech_ratio and behind them
_WEIGHT, _SQUARED_WEIGHT, _VARIANCE, _SCORED = SPEECH_RATIO, SPEECH_RATIO + 1, MOS_STD, SPEECH_RATIO + 2
_SUMS = len(VALUES) + 2

Explained = tuple[Cause | None, float | None]  # cause and its probability


def segments_in(window_seconds: float) -> int:
    """Segments that lie wholly inside the last `window_seconds`: 9 for 5 s."""
    return int((window_seconds - SEGMENT_SECONDS) / STRIDE_SECONDS) + 1


_LENGTHS = np.array([segments_in(seconds) for seconds in WINDOWS_SECONDS], np.int64)
_HISTORY = int(_LENGTHS.max())
_LOWEST = int(_PERCENTILE * (_HISTORY - 1)) + 2  # so many scores in order tell a percentile


class RollingBank:
    """State of `rows` streams. One thread (the scoring thread) at a time.

    causes: whether the model gives them; otherwise no room is kept for them. error_correlation: the bundle's.
    """

    def __init__(self, rows: int, *, error_correlation: float, causes: bool = False) -> None:
        self._error_correlation = error_correlation
        self._count = np.zeros(rows, np.int64)
        self._mos = np.full((rows, _HISTORY), np.inf, np.float32)  # above every score where there is none
        self._terms = np.zeros((rows, _HISTORY, _SUMS))  # of the same segments, 0 where there is no score
        self._sums = np.zeros((rows, len(_LENGTHS) + 1, _SUMS))  # of the windows, then of the call
        self._minimum = np.full(rows, np.inf, np.float32)  # of the call
        self._histogram = np.zeros((rows, _BINS), np.int32)
        self._last_reason: list[Reason | None] = [None] * rows
        self._causes = CauseBank(rows, _LENGTHS.tolist()) if causes else None

    def reset(self, row: int) -> None:
        """Forget the stream that used the row before."""
        for state in (self._count, self._terms, self._sums, self._histogram):
            state[row] = 0
        self._mos[row] = self._minimum[row] = np.inf
        self._last_reason[row] = None
        if self._causes is not None:
            self._causes.reset(row)

    def push(
        self,
        rows: Indices,
        values: Float32,
        reasons: Sequence[Reason | None],
        causes: Float32 | None = None,
    ) -> list[tuple[RollingWindow, ...]]:
        """Add one segment to each of `rows` (no row twice); values (B, 7), NaN where unset -> windows per row.

        causes: (B, 9), NaN where unset, where the model gives them.
        """
        for row, reason in zip(rows.tolist(), reasons, strict=True):
            self._last_reason[row] = reason
        self._add(rows, values)
        sums = self._sums[rows]
        scored = sums[..., _SCORED]
        weight = np.maximum(sums[..., _WEIGHT], 1e-12)
        means = sums[..., :_MEANS] / weight[..., None]
        std = std_of_mean(
            np.maximum(sums[..., _VARIANCE], 0.0) / weight,
            weight,
            sums[..., _SQUARED_WEIGHT],
            self._error_correlation,
        )
        lowest, p05 = self._low_scores(rows, scored)
        count = self._count[rows, None]
        due = np.concatenate([np.minimum(count, _LENGTHS), count], axis=1)
        return _records(
            np.concatenate([means, *(each[..., None] for each in (std, lowest, p05))], axis=-1).tolist(),
            scored.astype(np.int64).tolist(),
            due.tolist(),
            # segments overlap by half: n of them lie over n + 1 strides
            (sums[..., _WEIGHT] * STRIDE_SECONDS * (due + 1) / due).tolist(),
            snr_db(means[..., NOISINESS]).tolist(),
            self._explain(rows, values, causes),
            [self._last_reason[row] for row in rows.tolist()],
        )

    def _add(self, rows: Indices, values: Float32) -> None:
        """The newest segments enter the sums and what is kept; those that are older than a window leave it."""
        count = self._count[rows]
        scored = ~np.isnan(values[:, MOS])
        mos = np.where(scored, values[:, MOS], np.float32(np.inf))
        weight = np.where(scored, values[:, SPEECH_RATIO], np.float32(0.0)).astype(np.float64)
        terms = np.empty((len(rows), _SUMS))
        terms[:, : len(VALUES)] = np.where(scored[:, None], values, np.float32(0.0))
        terms[:, _VARIANCE] **= 2
        terms[:, : len(VALUES)] *= weight[:, None]
        terms[:, _WEIGHT] = weight
        terms[:, _SQUARED_WEIGHT] = weight**2
        terms[:, _SCORED] = scored
        # slots not yet written hold zeros: nothing leaves a window before it is full
        left = self._terms[rows[:, None], (count[:, None] - _LENGTHS) % _HISTORY]
        self._sums[rows, :-1] += terms[:, None] - left
        self._sums[rows, -1] += terms
        place = count % _HISTORY
        self._terms[rows, place] = terms
        self._mos[rows, place] = mos
        self._count[rows] = count + 1
        self._minimum[rows] = np.minimum(self._minimum[rows], mos)
        bins = np.rint((values[scored, MOS].astype(np.float64) - 1.0) * _BINS_PER_MOS).astype(np.intp)
        self._histogram[rows[scored], bins] += 1

    def _low_scores(self, rows: Indices, scored: Float64) -> tuple[Float64, Float64]:
        """Minimum and 5th percentile (B, W + 1) of each window's scores and the call's, whose percentile is to 0.01."""
        newest = (self._count[rows, None] - 1 - np.arange(_HISTORY)) % _HISTORY
        kept = self._mos[rows[:, None], newest]
        lowest = np.full((len(rows), len(_LENGTHS), _LOWEST), np.inf)  # in order; infinite without a score
        for window, length in enumerate(_LENGTHS.tolist()):
            lowest[:, window, :length] = np.sort(kept[:, :length], axis=1)[:, :_LOWEST]
        last = np.maximum(scored - 1.0, 0.0)
        position = _PERCENTILE * last  # among the scores in order, from 0; between two of them lies what lies between
        below = position.astype(np.intp)
        above = np.minimum(below + 1, last.astype(np.intp))
        place = np.arange(len(rows))[:, None], np.arange(len(_LENGTHS))
        low, high = np.empty((2, len(rows), len(_LENGTHS) + 1))
        low[:, :-1], high[:, :-1] = lowest[*place, below[:, :-1]], lowest[*place, above[:, :-1]]
        reached = np.cumsum(self._histogram[rows], axis=1)
        low[:, -1] = 1.0 + (reached > below[:, -1:]).argmax(axis=1) / _BINS_PER_MOS
        high[:, -1] = 1.0 + (reached > above[:, -1:]).argmax(axis=1) / _BINS_PER_MOS
        minimum = np.concatenate([lowest[..., 0], self._minimum[rows, None]], axis=1)
        with np.errstate(invalid="ignore"):
            p05 = low + (position - below) * (high - low)
        return minimum, np.maximum(p05, minimum)  # a bin may lie below its score

    def _explain(self, rows: Indices, values: Float32, causes: Float32 | None) -> list[list[Explained]]:
        """For each row, the cause of each window and of the call."""
        if self._causes is None or causes is None:
            return [[(None, None)] * (len(_LENGTHS) + 1)] * len(rows)
        place, share = self._causes.push(rows, causes, values[:, SPEECH_RATIO])
        return [list(map(named, *row)) for row in zip(place.tolist(), share.tolist(), strict=True)]


def _records(
    means: list[list[list[float]]],
    scored: list[list[int]],
    due: list[list[int]],
    speech_seconds: list[list[float]],
    snr_db: list[list[float]],
    explained: list[list[Explained]],
    last_reasons: list[Reason | None],
) -> list[tuple[RollingWindow, ...]]:
    """Per row and window: columns are Python's numbers by now. means: the five, then std, minimum and percentile."""
    return [
        tuple(map(_record, (*WINDOWS_SECONDS, None), *of_row, repeat(reason)))
        for *of_row, reason in zip(means, scored, due, speech_seconds, snr_db, explained, last_reasons, strict=True)
    ]


def _record(
    seconds: float | None,
    means: list[float],
    scored: int,
    due: int,
    speech_seconds: float,
    snr_db: float,
    explained: Explained,
    last_reason: Reason | None,
) -> RollingWindow:
    if not scored:
        return RollingWindow(window_seconds=seconds, unscored_segments=due, reason=last_reason or Reason.WARMING_UP)
    mos, noisiness, coloration, discontinuity, loudness, std, minimum, p05 = means
    return RollingWindow(
        window_seconds=seconds,
        mos=mos,
        mos_std=std,
        mos_minimum=minimum,
        mos_p05=p05,
        noisiness=noisiness,
        coloration=coloration,
        discontinuity=discontinuity,
        loudness=loudness,
        scored_segments=scored,
        unscored_segments=due - scored,
        coverage_ratio=scored / due,
        speech_seconds=speech_seconds,
        snr_db=None if math.isnan(snr_db) else snr_db,
        cause=explained[0],
        cause_probability=explained[1],
    )
