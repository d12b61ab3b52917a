"""The Python interface: blocks, rates and batches must not change a score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livemos.agent.bundle import REQUIRED_OUTPUTS
from livemos.agent.reasons import Reason
from livemos.agent.records import ClipScore, Samples, SegmentScore
from livemos.agent.scorer import Scorer, clip_score


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    """The packaged model, loaded once."""
    return Scorer()


def _speechlike(seconds: float, sample_rate_hz: int, seed: int = 0) -> Samples:
    """Pulses of voice-like sound with pauses: enough for the network to answer."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * sample_rate_hz)) / sample_rate_hz
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate_hz
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    syllables = np.clip(np.sin(2 * np.pi * 3 * t), 0, 1)
    return (0.05 * voice * syllables + 1e-4 * rng.standard_normal(len(t))).astype(np.float32)


def _values(segments: Sequence[SegmentScore]) -> np.ndarray:
    return np.array([[getattr(s, name) or np.nan for name in REQUIRED_OUTPUTS] for s in segments])


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 30_000), max_size=30), rate=st.sampled_from([8_000, 16_000, 44_100]))
def test_streaming_in_any_blocks_equals_scoring_the_whole_clip(scorer: Scorer, cuts: list[int], rate: int) -> None:
    """Packets, callbacks and files cut the same call differently; the score must not know."""
    samples = _speechlike(3.3, rate)
    stream = scorer.stream(rate)
    edges = [0, *sorted({cut % len(samples) for cut in cuts}), len(samples)]
    streamed = [segment for a, b in pairwise(edges) for segment in stream.write(samples[a:b])]
    whole = scorer.score(samples, rate)
    finished = stream.finish()
    assert [s.start_sample for s in finished.segments] == [0, 8_000, 16_000, 24_000, 32_000]
    assert list(finished.segments)[: len(streamed)] == streamed
    np.testing.assert_allclose(_values(finished.segments), _values(whole.segments), atol=1e-5)
    assert finished.reason == whole.reason


def test_a_segment_scores_the_same_alone_and_in_a_batch_of_64(scorer: Scorer, noise: Callable[..., Samples]) -> None:
    """Peers move by up to 0.35 MOS with their batch mates; here a stream's neighbours must not matter."""
    rows = np.stack([_speechlike(1.0, 16_000, seed) + noise(16_000, 0.002 * seed, seed) for seed in range(64)])
    together = scorer._scorer.score(rows, np.zeros(64, np.float32))
    alone = [scorer._scorer.score(row[None], np.zeros(1, np.float32)) for row in rows]
    np.testing.assert_allclose(together.values, np.concatenate([one.values for one in alone]), atol=1e-4)
    assert together.reasons == [one.reasons[0] for one in alone]


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
def test_the_last_whole_segment_of_a_clip_is_scored_at_every_rate(scorer: Scorer, rate: int) -> None:
    """The resampler holds a few milliseconds back; a clip of exactly two seconds still has three segments."""
    assert len(scorer.score(_speechlike(2.0, rate), rate).segments) == 3


def test_stereo_is_the_mean_of_its_channels(scorer: Scorer) -> None:
    """The stated rule; two equal channels are the mono clip."""
    mono = _speechlike(2.0, 16_000)
    assert scorer.score(np.stack([mono, mono], axis=1), 16_000) == scorer.score(mono, 16_000)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros(0, np.float32), Reason.TOO_SHORT),
        (np.zeros(3_200, np.float32), Reason.TOO_SHORT),
        (np.zeros(48_000, np.float32), Reason.SILENCE),
        (np.full(48_000, 0.25, np.float32), Reason.BAD_AUDIO),
        (np.full(48_000, np.nan, np.float32), Reason.BAD_AUDIO),
        (np.tile(np.array([0.1, -1e22], np.float32), 24_000), Reason.BAD_AUDIO),
    ],
    ids=["empty", "0.2 s", "silence", "constant", "NaN", "huge"],
)
def test_a_clip_without_a_score_has_a_reason(scorer: Scorer, samples: Samples, reason: Reason) -> None:
    """Never 0, never a made-up 1.0."""
    clip = scorer.score(samples, 16_000)
    assert (clip.mos, clip.reason) == (None, reason)
    assert clip.seconds == len(samples) / 16_000


@pytest.mark.parametrize("level", [0.003, 0.1])
def test_steady_noise_is_no_speech(scorer: Scorer, noise: Callable[..., Samples], level: float) -> None:
    """The network must not be asked how good a fan sounds."""
    assert scorer.score(noise(64_000, level), 16_000).reason is Reason.NO_SPEECH


def test_wrong_input_is_refused_with_what_was_expected(scorer: Scorer) -> None:
    """int16 taken for full-scale floats would be scored as heavy clipping."""
    with pytest.raises(ValueError, match=r"float32 with full scale 1\.0, got 1-D int16"):
        scorer.score(np.zeros(16_000, np.int16), 16_000)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sample_rate_hz must be positive"):
        scorer.stream(0)
    finished = scorer.stream(16_000)
    finished.finish()
    with pytest.raises(ValueError, match="finished"):
        finished.write(np.zeros(10, np.float32))


def _segment(index: int, mos: float | None, speech: float | None, reason: Reason | None = None) -> SegmentScore:
    return SegmentScore(
        source_id="",
        segment_index=index,
        start_sample=index * 8_000,
        start_unix_seconds=0,
        ready_unix_seconds=1,
        mos=mos,
        mos_std=None if mos is None else 0.5,
        noisiness=mos,
        coloration=mos,
        discontinuity=mos,
        loudness=mos,
        speech_ratio=speech,
        reason=reason,
    )


def test_a_clip_is_the_speech_weighted_mean_of_its_scored_segments() -> None:
    """The promise behind the `mos` column."""
    segments = [_segment(0, 4.0, 0.9), _segment(1, 2.0, 0.3), _segment(2, None, None, Reason.SILENCE)]
    clip: ClipScore = clip_score(segments, 2.0, 16_000, "m", error_correlation=1.0)
    assert clip.mos == pytest.approx((4.0 * 0.9 + 2.0 * 0.3) / 1.2, abs=1e-5)
    assert clip.mos_std == pytest.approx(0.5)
    assert clip.reason is None
    assert clip.speech_seconds == pytest.approx(0.5 * (0.9 + 0.3) + 0.5 * 0.9 / 2)


def test_a_clip_with_less_than_half_a_second_of_speech_is_no_speech() -> None:
    """One segment in which a door sounded like a voice must not give a minute of music its score."""
    silent = [_segment(index, None, 0.0, Reason.NO_SPEECH) for index in range(1, 20)]
    clip = clip_score([_segment(0, 2.0, 0.4), *silent], 10.5, 16_000, "m", error_correlation=1.0)
    assert (clip.mos, clip.reason) == (None, Reason.NO_SPEECH)
    assert clip_score([_segment(0, 2.0, 0.9), *silent], 10.5, 16_000, "m", error_correlation=1.0).mos == pytest.approx(
        2.0
    )


def test_an_unscored_clip_carries_the_reason_most_of_its_segments_have() -> None:
    """One silent second before a minute of music does not make the clip silent."""
    segments = [
        _segment(0, None, None, Reason.SILENCE),
        _segment(1, None, 0.0, Reason.NO_SPEECH),
        _segment(2, None, 0.0, Reason.NO_SPEECH),
    ]
    assert clip_score(segments, 2.0, 16_000, "m", error_correlation=1.0).reason is Reason.NO_SPEECH
