from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from livemos.training.evaluation import doubt, figures, lengths, statistics
from livemos.training.evaluation.rated_sets import read_peers, read_sets
from livemos.training.evaluation.scored import Listener, ScoredSet, Segments, score_set

Row = dict[str, object]


@pytest.fixture(scope="module")
def scored(data_folder: Path, peers_folder: Path) -> ScoredSet:
    [rated] = read_sets(data_folder)
    return score_set(rated, Listener(), read_peers(peers_folder, rated), lambda: None)


def _row(rows: list[Row], **wanted: object) -> Row:
    [row] = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return row


def test_the_packaged_model_follows_noise_and_the_oracle_is_perfect_but_for_its_shift(scored: ScoredSet) -> None:
    """The whole way from files to figures, with one column whose figures are known beforehand."""
    rows = list(figures.figures(scored, 100))
    assert float(str(_row(rows, unit="clip", target="mos", column="mos")["pearson"])) > 0.85
    oracle = _row(rows, unit="clip", target="mos", column="oracle")
    assert oracle["pearson"] == pytest.approx(1) and oracle["bias"] == pytest.approx(-0.5)
    assert oracle["pra"] == 1 and oracle["rmse_star_first_order"] == pytest.approx(0, abs=1e-6)
    assert oracle["kind"] == "peer" and oracle["band"] == "wide" and oracle["n"] == 10


def test_conditions_are_means_of_their_clips(scored: ScoredSet) -> None:
    """Averaging is what the figures per condition promise; the oracle's mean is 0.5 below the mean vote."""
    clip, condition = list(figures.units(scored))
    assert len(condition.groups) == 5 and condition.groups[0] == "snr40"
    np.testing.assert_allclose(condition.columns["mos"], clip.columns["mos"].reshape(5, 2).mean(axis=1))
    np.testing.assert_allclose(condition.columns["oracle"], condition.votes["mos"] - 0.5, atol=1e-6)


def test_intervals_in_the_table_draw_conditions(scored: ScoredSet) -> None:
    """Drawing clips gives narrower intervals, and claims that a second test with other damage would not hold up."""
    row = _row(list(figures.figures(scored, 300)), unit="clip", target="mos", column="mos")
    groups = [clip.condition for clip in scored.rated.clips]
    votes = np.array([clip.votes.mos for clip in scored.rated.clips])
    drawn = statistics.resample_weights(groups, figures.SEED, 300)
    expected = statistics.bootstrap(statistics.bias, scored.columns["mos"], votes, drawn)
    assert (row["bias_low"], row["bias_high"]) == (expected.low, expected.high)


def test_background_votes_meet_noisiness_and_speech_votes_the_speech_dimensions(scored: ScoredSet) -> None:
    """A P.835 vote held against the wrong output would say that a good dimension is bad."""
    rows = list(figures.figures(scored, 100))
    assert {row["column"] for row in rows if row["target"] == "bak"} == {"noisiness", "noisiness_ungated"}
    assert "speech_dimensions" in {row["column"] for row in rows if row["target"] == "sig"}
    assert float(str(_row(rows, unit="clip", target="bak", column="noisiness")["pearson"])) > 0.8
    for gated in ("", "_ungated"):
        worse = np.minimum(scored.columns[f"coloration{gated}"], scored.columns[f"discontinuity{gated}"])
        np.testing.assert_array_equal(scored.columns[f"speech_dimensions{gated}"], worse)


def test_ungated_scores_exist_where_the_gate_gives_none(data_folder: Path) -> None:
    """Leaving out the worst clips flatters or hurts a model; the other column shows which."""
    listener = Listener()
    hiss = np.random.default_rng(0).normal(0, 0.05, 32_000).astype(np.float32)
    assert listener.scorer.score(hiss, 16_000).mos is None
    assert np.isfinite(listener.ungated(hiss)).all() and np.isnan(listener.ungated(hiss[:8_000])).all()


def test_a_clip_without_a_score_is_left_out_and_counted(scored: ScoredSet) -> None:
    """A clip that silently became a zero, or silently vanished, would change every figure."""
    holed = dict(scored.columns) | {"mos": np.where(np.arange(10) == 9, np.nan, scored.columns["mos"])}
    other = replace(scored, columns=holed)
    row = _row(list(figures.figures(other, 100)), unit="clip", target="mos", column="mos")
    assert (row["n"], row["unset"]) == (9, 1) and np.isfinite(float(str(row["pearson"])))


def test_the_difference_to_a_public_model_is_resampled_together(scored: ScoredSet) -> None:
    """Two separate intervals would call a clear difference unclear."""
    [clip, _] = [row for row in figures.beside_rows(scored, 200) if row["column"] == "mos"]
    assert clip["peer"] == "oracle" and float(str(clip["pearson_difference_high"])) <= 0
    assert float(str(clip["pearson_difference_low"])) <= float(str(clip["pearson_difference"]))


def test_longer_excerpts_spread_less_and_the_minimum_is_never_above_the_mean(scored: ScoredSet) -> None:
    """What waiting buys is the reason for rolling windows; the order of poolings is plain arithmetic."""
    rows = list(lengths.lengths(scored, 100))
    one = _row(rows, unit="clip", seconds=1.0, pooling="mean")
    two = _row(rows, unit="clip", seconds=2.0, pooling="mean")
    # seven segments a clip, less those that the gate of the packaged model leaves unset
    scored_seconds = sum(each.scored for each in scored.segments)
    assert (one["clips"], one["excerpts"], two["excerpts"]) == (10, scored_seconds, 50)
    assert scored_seconds > 60
    assert float(str(two["spread"])) < float(str(one["spread"]))
    low = _row(rows, unit="clip", seconds=4.0, pooling="minimum")
    assert float(str(low["bias"])) < float(str(_row(rows, unit="clip", seconds=4.0, pooling="mean")["bias"]))
    assert _row(rows, unit="condition", seconds=5.0, pooling="mean")["clips"] == 5
    assert not [row for row in rows if row["seconds"] in (8.0, 30.0)]  # nothing here is as long


def test_every_clip_counts_alike_however_long_it_is(scored: ScoredSet) -> None:
    """Ten seconds of one talker must not outvote nine others."""
    said = np.random.default_rng(8).uniform(1, 5, 10)
    long_first = [20] + [3] * 9
    other = replace(
        scored,
        segments=tuple(
            Segments(values=np.full((count, 5), value), speech_ratio=np.ones(count))
            for value, count in zip(said, long_first, strict=True)
        ),
    )
    row = _row(list(lengths.lengths(other, 100)), unit="clip", seconds=1.0, pooling="mean")
    votes = [clip.votes.mos for clip in scored.rated.clips]
    assert row["excerpts"] == 47 and row["pearson"] == pytest.approx(np.corrcoef(said, votes)[0, 1])


def test_pooling_takes_scored_segments_alone_weighted_by_speech() -> None:
    """An unset second has no score to average, and a second that is half pause counts half."""
    values = np.full((3, 5), np.nan)
    values[:2, 0] = (2.0, 4.0)
    segments = Segments(values=values, speech_ratio=np.array([1.0, 0.5, 0.9]))
    assert segments.scored == 2 and len(segments) == 3
    assert segments.pooled("speech-weighted mean") == pytest.approx((2 + 0.5 * 4) / 1.5, abs=1e-4)
    assert segments.pooled("mean") == 3 and segments.pooled("minimum") == 2
    assert np.isnan(segments.pooled("mean", 2))


def test_coverage_is_right_for_errors_that_are_as_doubted() -> None:
    """Errors drawn with the stated deviation must lie inside as often as promised, and half the deviation must not."""
    error = np.random.default_rng(5).normal(0, 0.4, 20_000)
    for nominal in (0.5, 0.9):
        assert doubt.coverage(error, np.full(20_000, 0.4), nominal) == pytest.approx(nominal, abs=0.01)
    assert doubt.coverage(error, np.full(20_000, 0.2), 0.9) == pytest.approx(0.589, abs=0.01)


def test_doubt_is_judged_raw_after_a_line_and_with_the_votes_own(scored: ScoredSet) -> None:
    """Three questions, three curves: is it right as given, right but for the set's scale, right but for the votes."""
    rows = list(doubt.doubts(scored))
    assert {row["variant"] for row in rows} == {"raw", "line", "line+votes"}
    raw, line, both = (_row(rows, variant=name, nominal=0.9) for name in ("raw", "line", "line+votes"))
    assert float(str(line["rms_error"])) <= float(str(raw["rms_error"]))
    votes = np.array([clip.votes.mos for clip in scored.rated.clips])
    slope, _ = statistics.line(scored.columns["mos"], votes)
    assert raw["mean_std"] == pytest.approx(scored.mos_std.mean())
    assert line["mean_std"] == pytest.approx(slope * scored.mos_std.mean())
    assert both["mean_std"] == pytest.approx(np.hypot(slope * scored.mos_std, 0.7 / np.sqrt(10)).mean())


def test_bias_is_given_per_set_and_band_and_never_for_a_relative_scale(scored: ScoredSet) -> None:
    """An offset against votes that were relative to a reference means nothing."""
    rows = list(figures.figures(scored, 100))
    [oracle] = [row for row in figures.bias_rows([scored], rows) if row["column"] == "oracle"]
    assert oracle["noise"] == pytest.approx(-0.5) and oracle["wide band"] == pytest.approx(-0.5)
    other = replace(scored, rated=replace(scored.rated, relative_scale=True))
    assert not list(figures.bias_rows([other], rows)) and not list(doubt.doubts(other))
