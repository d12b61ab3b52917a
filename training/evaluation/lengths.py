"""Accuracy against the length that was heard, and against the rule that makes one score of many segments.

An excerpt of L seconds holds 2 L - 1 segments, of which those with a score are pooled, as the live path does. Excerpts
longer than a clip are cut from the clips of one condition put behind each other, and held against its votes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from livemos.agent.records import STRIDE_SECONDS
from livemos.training.evaluation import statistics
from livemos.training.evaluation.figures import SEED, Row
from livemos.training.evaluation.scored import POOLINGS, ScoredSet, Segments
from livemos.training.evaluation.statistics import Float

EXCERPT_SECONDS = (1.0, 2.0, 4.0, 8.0)
ROLLING_SECONDS = (5.0, 10.0, 30.0)
LENGTH_COLUMNS = (
    *("set", "unit", "seconds", "pooling", "clips", "excerpts"),
    *("pearson", "pearson_low", "pearson_high", "rmse_first_order", "bias", "spread"),
)
Excerpts = list[list[float]]  # per clip or condition


def lengths(scored: ScoredSet, resamples: int = statistics.RESAMPLES) -> Iterator[Row]:
    """Rows for excerpts of clips, whole clips (seconds unset) and rolling windows over a condition's clips in a row.

    Every clip counts alike however many excerpts it has. spread is the mean standard deviation of the excerpts of one
    clip (or condition): what waiting longer would smooth away.
    """
    rated = scored.rated
    conditions = [clip.condition for clip in rated.clips]
    if rated.votes_per_clip:
        votes = np.array([clip.votes.mos for clip in rated.clips])
        for seconds in (*EXCERPT_SECONDS, None):
            yield from _rows(scored, "clip", seconds, scored.segments, votes, conditions, resamples)
    by_condition = rated.condition_votes()
    joined = [
        _join([each for each, name in zip(scored.segments, conditions, strict=True) if name == condition])
        for condition in by_condition
    ]
    votes = np.array([each.mos for each in by_condition.values()])
    for seconds in ROLLING_SECONDS:
        yield from _rows(scored, "condition", seconds, joined, votes, list(by_condition), resamples)


def _join(parts: Sequence[Segments]) -> Segments:
    return Segments(
        values=np.concatenate([each.values for each in parts]),
        speech_ratio=np.concatenate([each.speech_ratio for each in parts]),
    )


def _rows(
    scored: ScoredSet,
    unit: str,
    seconds: float | None,
    parts: Sequence[Segments],
    votes: Float,
    groups: Sequence[str],
    resamples: int,
) -> Iterator[Row]:
    for pooling in POOLINGS:
        excerpts = [_excerpts(each, seconds, pooling) for each in parts]
        member = np.repeat(np.arange(len(parts)), [len(each) for each in excerpts])
        used = sorted(set(member.tolist()))
        if len(used) < 5 or len({groups[part] for part in used}) < 5:
            continue  # too few clips are as long as that
        scores = np.array([score for each in excerpts for score in each])
        share = 1.0 / np.array([len(excerpts[part]) for part in member.tolist()])
        weights = statistics.resample_weights([groups[part] for part in member.tolist()], SEED, resamples) * share
        drawn = statistics.pearson(scores, votes[member], weights[weights.sum(axis=1) > 4])
        drawn = drawn[np.isfinite(drawn)]
        low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (np.nan, np.nan)
        several = [float(np.std(each)) for each in excerpts if len(each) > 1]
        yield {
            "set": scored.rated.name,
            "unit": unit,
            "seconds": seconds,
            "pooling": pooling,
            "clips": len(used),
            "excerpts": len(scores),
            "pearson": float(statistics.pearson(scores, votes[member], share)),
            "pearson_low": float(low),
            "pearson_high": float(high),
            "rmse_first_order": float(statistics.rmse_first_order(scores, votes[member], share)),
            "bias": float(statistics.bias(scores, votes[member], share)),
            "spread": float(np.mean(several)) if several else float("nan"),
        }


def _excerpts(segments: Segments, seconds: float | None, pooling: str) -> list[float]:
    width = len(segments) if seconds is None else round(seconds / STRIDE_SECONDS) - 1
    if not 0 < width <= len(segments):
        return []
    scores = [segments.pooled(pooling, start, start + width) for start in range(len(segments) - width + 1)]
    return [score for score in scores if np.isfinite(score)]
