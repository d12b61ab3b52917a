"""Whether mos_std means what it says: how often the interval it gives holds what the listeners said."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.stats

from livemos.training.evaluation.figures import Row
from livemos.training.evaluation.scored import ScoredSet
from livemos.training.evaluation.statistics import Float, line

NOMINAL = (0.05, *np.round(np.arange(0.1, 1.0, 0.1), 1).tolist(), 0.95)
DOUBT_COLUMNS = ("set", "variant", "nominal", "coverage", "clips", "mean_std", "rms_error")


def coverage(error: Float, std: Float, nominal: float) -> float:
    """Share of errors inside the central interval of a Gaussian of that standard deviation."""
    return float((np.abs(error) <= scipy.stats.norm.ppf((1 + nominal) / 2) * std).mean())


def doubts(scored: ScoredSet) -> Iterator[Row]:
    """Coverage per set with clips' own votes, in three variants.

    raw: mos and mos_std as given. line: after one line per set, the deviation scaled with its slope. line+votes: the
    doubt of the votes' own mean added, which the model cannot know and which a perfect model would still show.
    """
    rated = scored.rated
    if not rated.votes_per_clip or rated.relative_scale:
        return
    mos, std = scored.columns["mos"], scored.mos_std
    votes = np.array([clip.votes.mos for clip in rated.clips])
    vote_error = np.array([clip.votes.std / np.sqrt(clip.votes.count) for clip in rated.clips])
    known = np.isfinite(mos)
    mos, std, votes, vote_error = mos[known], std[known], votes[known], vote_error[known]
    if len(mos) < 5:
        return
    slope, offset = line(mos, votes)
    mapped = slope * mos + offset
    variants = {"raw": (mos, std), "line": (mapped, slope * std)}
    if np.isfinite(vote_error).all():
        variants["line+votes"] = (mapped, np.hypot(slope * std, vote_error))
    for variant, (scores, deviation) in variants.items():
        for nominal in NOMINAL:
            yield {
                "set": rated.name,
                "variant": variant,
                "nominal": nominal,
                "coverage": coverage(scores - votes, deviation, nominal),
                "clips": len(votes),
                "mean_std": float(deviation.mean()),
                "rms_error": float(np.sqrt(np.mean((scores - votes) ** 2))),
            }
