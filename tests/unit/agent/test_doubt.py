"""The doubt of a window or a clip shrinks with what it heard, as far as the bundle says, and the same everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cause_bundle import white, write_cause_bundle
from rtp_traffic import CaptureWriter, pcmu

from livemos.agent.bundle import load_bundle, write_bundle
from livemos.agent.capture_scorer import CaptureScorer
from livemos.agent.codecs import make_encoder
from livemos.agent.doubt import effective_seconds, std_of_mean
from livemos.agent.reasons import Reason
from livemos.agent.records import Samples, SegmentScore
from livemos.agent.rolling import RollingBank
from livemos.agent.scorer import Scorer, clip_score
from livemos.agent.segment_scorer import VALUES

CORRELATION = 0.3


def _seconds(*weights: float) -> float:
    each = np.array(weights)
    return float(effective_seconds(each.sum(), (each**2).sum()))


def test_overlapping_segments_are_counted_by_the_seconds_they_last() -> None:
    """Nine segments of five seconds are five seconds; counted as nine, errors would average out that do not."""
    assert _seconds(0.7) == 1.0
    assert _seconds(*[0.7] * 9) == pytest.approx(5.0)
    assert _seconds(*[0.2] * 119) == pytest.approx(60.0)


def test_a_second_with_little_speech_is_no_second_of_its_own() -> None:
    """A breath beside one second of speech adds nothing to what is known of the voice."""
    assert _seconds(1.0, 0.01, 0.01) < 1.03
    assert _seconds() == 1.0


def test_errors_that_go_together_stay_and_the_others_average_out() -> None:
    """Drawn, not derived: a part common to the stream, the rest each second's own."""
    rng = np.random.default_rng(0)
    shared, own = rng.standard_normal((2, 20_000, 1)) * CORRELATION**0.5, 0.5 * (1 - CORRELATION) ** 0.5
    means = (0.5 * shared[0] + own * rng.standard_normal((20_000, 10))).mean(axis=1)
    # ten seconds in a row are 19 segments
    assert std_of_mean(0.25, 19.0, 19.0, CORRELATION) == pytest.approx(means.std(), rel=0.02)
    assert std_of_mean(0.25, 19.0, 19.0, 1.0) == 0.5, "a bundle that says nothing takes all errors for one"


def _segments() -> tuple[np.ndarray, list[SegmentScore]]:
    """Eleven segments as columns and as records, the fourth without a score."""
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.uniform(1, 5, (11, 5)), rng.uniform(0.1, 1, (11, 2))], axis=1).astype(np.float32)
    values[3] = np.nan
    records = [
        SegmentScore(
            source_id="",
            segment_index=k,
            start_sample=8_000 * k,
            start_unix_seconds=0.0,
            ready_unix_seconds=0.0,
            reason=Reason.SILENCE if k == 3 else None,
            **({} if k == 3 else dict(zip(VALUES, row.tolist(), strict=True))),
        )
        for k, row in enumerate(values)
    ]
    return values, records


def test_the_windows_of_a_call_and_the_score_of_a_clip_have_the_same_doubt() -> None:
    """The same seconds in `livemos watch` and in `livemos score` must not come with two intervals."""
    values, records = _segments()
    bank = RollingBank(1, error_correlation=CORRELATION)
    for row, record in zip(values, records, strict=True):
        (windows,) = bank.push(np.array([0]), row[None], [record.reason])
    clip = clip_score(records, 6.0, 16_000, "", error_correlation=CORRELATION)
    assert [window.mos_std for window in windows[1:]] == [pytest.approx(clip.mos_std)] * 3
    last_nine = clip_score(records[-9:], 5.0, 16_000, "", error_correlation=CORRELATION)
    assert windows[0].mos_std == pytest.approx(last_nine.mos_std)
    for window in windows:
        assert window.mos_std is not None and window.mos_std < 0.85 * np.sqrt(np.nanmean(values[:, 5] ** 2))


def test_a_reused_row_forgets_how_long_the_old_call_was() -> None:
    """A new call would begin as certain as the old one ended."""
    values, _ = _segments()
    bank = RollingBank(1, error_correlation=CORRELATION)
    for row in values:
        bank.push(np.array([0]), row[None], [None])
    bank.reset(0)
    (windows,) = bank.push(np.array([0]), values[:1], [None])
    assert [window.mos_std for window in windows] == [pytest.approx(float(values[0, 5]))] * 4


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """old.livemos with a correlation of a quarter."""
    old = load_bundle(write_cause_bundle(tmp_path / "old.livemos"))
    assert old.manifest.error_correlation == 1.0
    files = {name: content for name, content in old.files.items() if name != "manifest.json"}
    write_bundle(tmp_path / "told.livemos", old.manifest.model_copy(update={"error_correlation": 0.25}), files)
    return tmp_path / "told.livemos"


@pytest.fixture
def speech() -> Samples:
    """Four seconds that the bundle of tests/support takes for speech."""
    return white(0.05, 4.0)


def test_the_bundle_says_how_far_errors_go_together(told: Path, speech: Samples) -> None:
    """From the manifest to the clip that `livemos score` prints; an old manifest without it keeps its answers."""
    before, after = Scorer(told.parent / "old.livemos").score(speech, 16_000), Scorer(told).score(speech, 16_000)
    assert before.mos_std is not None and after.mos_std is not None
    spread = [segment.mos_std or 0.0 for segment in before.segments]
    assert before.mos_std == pytest.approx(np.sqrt(np.mean(np.square(spread))), rel=1e-3)
    assert after.mos_std == pytest.approx(before.mos_std * np.sqrt(0.25 + 0.75 / 4), rel=1e-3)
    assert (after.mos, after.segments[0].mos_std) == (before.mos, before.segments[0].mos_std)


def test_the_streams_of_a_capture_have_that_doubt(told: Path, speech: Samples, tmp_path: Path) -> None:
    """A recorded call must not look surer, nor less sure, than the file of its audio."""
    writer, encoder = CaptureWriter(), make_encoder("PCMU/8000")
    for n in range(200):
        writer.add(pcmu(n, payload=encoder.encode(speech[::2][160 * n : 160 * n + 160])), 0.02 * n)
    (stream,), _ = CaptureScorer(told).score(writer.write(tmp_path / "call.pcap"))
    assert stream.clip is not None and stream.clip.mos_std is not None
    spread = np.sqrt(np.mean([(segment.mos_std or 0.0) ** 2 for segment in stream.segments]))
    assert stream.clip.mos_std == pytest.approx(spread * np.sqrt(0.25 + 0.75 / 4), rel=0.01)
