"""The vectorised rolling windows against a slow, clear model of the same definition."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from livemos.agent.causes import CAUSES
from livemos.agent.reasons import Reason
from livemos.agent.rolling import WINDOWS_SECONDS, RollingBank, segments_in

CORRELATION = 0.4  # of the errors of seconds (agent/doubt.py)
_Segment = tuple[float, float, float] | None  # mos, speech_ratio, mos_std; None is unscored

segment = st.one_of(st.none(), st.tuples(st.floats(1, 5), st.floats(0.1, 1), st.floats(0.05, 2)))


def _values(given_segment: _Segment) -> np.ndarray:
    if given_segment is None:
        return np.full(7, np.nan, np.float32)
    mos, speech, std = given_segment
    return np.array([mos, mos - 0.1, mos, mos, mos, std, speech], np.float32)


def _causes(given_segment: _Segment) -> np.ndarray:
    """Probabilities (9,) that follow from the numbers, so that the model knows them too."""
    if given_segment is None:
        return np.full(9, np.nan, np.float32)
    share = np.random.default_rng(int(1e6 * sum(given_segment))).dirichlet(np.ones(9))
    return share.astype(np.float32)


def _mean_causes(history: list[_Segment]) -> np.ndarray:
    """The definition: probabilities weighted by speech."""
    scored = [item for item in history if item is not None]
    weights = [float(np.float32(speech)) for _, speech, _ in scored]
    return np.average([_causes(item).astype(np.float64) for item in scored], axis=0, weights=weights)


def _expected(history: list[_Segment]) -> dict[str, float] | None:
    """The definition, one segment at a time."""
    scored = [tuple(float(np.float32(x)) for x in item) for item in history if item is not None]
    if not scored:
        return None
    weight = sum(speech for _, speech, _ in scored)
    ordered = sorted(mos for mos, _, _ in scored)
    position = 0.05 * (len(ordered) - 1)
    seconds = 0.5 + 0.5 * weight**2 / sum(speech**2 for _, speech, _ in scored)
    kept = CORRELATION + (1 - CORRELATION) / seconds
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return {
        "mos": sum(mos * speech for mos, speech, _ in scored) / weight,
        "std": math.sqrt(kept * sum(speech * std**2 for _, speech, std in scored) / weight),
        "minimum": ordered[0],
        "p05": ordered[below] + (position - below) * (ordered[above] - ordered[below]),
        "speech": 0.5 * weight * (len(history) + 1) / len(history),  # of all the time the segments lie over
    }


@settings(max_examples=40, deadline=None)
@given(first=st.lists(segment, min_size=1, max_size=200), second=st.lists(segment, min_size=1, max_size=200))
def test_every_window_follows_its_definition_for_streams_that_share_the_bank(
    first: list[_Segment], second: list[_Segment]
) -> None:
    """Two streams of different length run through one bank; neither may see the other's segments."""
    bank = RollingBank(3, error_correlation=CORRELATION, causes=True)
    streams = {0: first, 2: second}
    heard: dict[int, list[_Segment]] = {0: [], 2: []}
    for step in range(max(len(first), len(second))):
        rows = [row for row, history in streams.items() if step < len(history)]
        for row in rows:
            heard[row].append(streams[row][step])
        values = np.stack([_values(streams[row][step]) for row in rows])
        reasons = [None if streams[row][step] is not None else Reason.SILENCE for row in rows]
        causes = np.stack([_causes(streams[row][step]) for row in rows])
        windows = bank.push(np.array(rows), values, reasons, causes)
    for row, parts in zip(rows, windows, strict=True):
        for seconds, window in zip((*WINDOWS_SECONDS, None), parts, strict=True):
            history = heard[row] if seconds is None else heard[row][-segments_in(seconds) :]
            expected = _expected(history)
            assert window.window_seconds == seconds
            assert window.scored_segments == sum(item is not None for item in history)
            assert window.scored_segments + window.unscored_segments == len(history)
            if expected is None:
                assert window.mos is None and window.reason is Reason.SILENCE
                assert (window.cause, window.cause_probability, window.snr_db) == (None, None, None)
                continue
            assert window.mos is not None and window.mos_p05 is not None
            mean = _mean_causes(history)
            assert window.cause is CAUSES[mean.argmax()]
            assert math.isclose(window.cause_probability or 0, mean.max(), abs_tol=1e-6)
            assert math.isclose(window.mos, expected["mos"], abs_tol=1e-5)
            assert math.isclose(window.mos_std or 0, expected["std"], abs_tol=1e-5)
            assert math.isclose(window.mos_minimum or 0, expected["minimum"], abs_tol=1e-5)
            assert math.isclose(window.speech_seconds, expected["speech"], abs_tol=1e-4)
            assert math.isclose(window.coverage_ratio, window.scored_segments / len(history), abs_tol=1e-9)
            # the call keeps a histogram: its percentile is to 0.01 MOS
            assert math.isclose(window.mos_p05, expected["p05"], abs_tol=1e-5 if seconds is not None else 0.0051)
            assert window.mos_p05 >= (window.mos_minimum or 0)


def test_five_seconds_hold_nine_segments() -> None:
    """Segments that lie wholly inside: one second each, every half second."""
    assert [segments_in(seconds) for seconds in WINDOWS_SECONDS] == [9, 59, 119]


def test_a_row_that_is_reused_starts_without_the_old_call() -> None:
    """A new call must not begin with the last one's minimum."""
    bank = RollingBank(1, error_correlation=CORRELATION)
    bank.push(np.array([0]), _values((1.0, 1.0, 0.5))[None], [None])
    bank.reset(0)
    (windows,) = bank.push(np.array([0]), _values((4.0, 1.0, 0.5))[None], [None])
    assert [window.mos_minimum for window in windows] == [4.0] * 4
    assert [window.scored_segments for window in windows] == [1] * 4


def test_a_minute_without_a_pause_has_its_percentile_between_the_sixth_and_the_seventh_lowest_score() -> None:
    """Of 119 scores as many are kept in order as that takes; one less would break the longest of all windows."""
    bank = RollingBank(1, error_correlation=CORRELATION)
    mos = np.random.default_rng(3).uniform(1, 5, 130)
    for each in mos:
        (windows,) = bank.push(np.array([0]), _values((each, 0.9, 0.5))[None], [None])
    for window, seconds in zip(windows, WINDOWS_SECONDS, strict=False):
        last = np.sort(mos[-segments_in(seconds) :].astype(np.float32))
        assert math.isclose(window.mos_p05 or 0, float(np.quantile(last.astype(np.float64), 0.05)), abs_tol=1e-6)
        assert window.mos_minimum == last[0]
