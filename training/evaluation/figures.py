"""The table of figures: one row for each set, unit (clip, condition), target (MOS, SIG, BAK) and column of scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from livemos.training.evaluation import statistics
from livemos.training.evaluation.rated_sets import TARGETS, RatedSet
from livemos.training.evaluation.scored import BASELINE_COLUMNS, DIMENSIONS, ScoredSet
from livemos.training.evaluation.statistics import Float, Interval, Statistic

Row = dict[str, object]
SEED = 9
_BANDS = ((8_000, "narrow"), (16_000, "wide"), (32_000, "super-wide"))
# dimensions of the votes that a column may be held against; every other column is held against MOS alone
_SPEECH = ("coloration", "discontinuity", "speech_dimensions", "nisqa_col", "nisqa_dis", "dnsmos_sig")
_BACKGROUND = ("noisiness", "nisqa_noi", "dnsmos_bak")
_OTHERS = (*DIMENSIONS[1:], "speech_dimensions", "mos_plain", "mos_minimum", "mos_p10", *BASELINE_COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Clips, or conditions with the mean of their clips: scores by column, votes by target, groups to resample."""

    name: str
    columns: dict[str, Float]
    votes: dict[str, Float]
    ci95: Float  # of mos, NaN where the spread of the votes is not published
    groups: tuple[str, ...]


def units(scored: ScoredSet) -> Iterator[Unit]:
    """Clips where they have votes of their own, then conditions."""
    rated = scored.rated
    conditions = tuple(clip.condition for clip in rated.clips)
    if rated.votes_per_clip:
        votes = [clip.votes for clip in rated.clips]
        yield Unit(
            name="clip",
            columns=scored.columns,
            votes={target: np.array([getattr(each, target) for each in votes]) for target in TARGETS},
            ci95=np.array([each.ci95 for each in votes]),
            groups=conditions,
        )
    by_condition = rated.condition_votes()
    members = [np.array([name == condition for condition in conditions]) for name in by_condition]
    yield Unit(
        name="condition",
        columns={
            name: np.array([_mean_of_known(values[inside]) for inside in members])
            for name, values in scored.columns.items()
        },
        votes={target: np.array([getattr(each, target) for each in by_condition.values()]) for target in TARGETS},
        ci95=np.array([each.ci95 for each in by_condition.values()]),
        groups=tuple(by_condition),
    )


def _mean_of_known(values: Float) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def band_of(scored: ScoredSet) -> str:
    """The band of most of the set's files."""
    rate_hz = float(np.median(scored.sample_rates_hz))
    return next((name for limit_hz, name in _BANDS if rate_hz <= limit_hz), "full")


def figures(scored: ScoredSet, resamples: int = statistics.RESAMPLES) -> Iterator[Row]:
    """Rows of one set; see docs/evaluation.md for the columns."""
    for unit in units(scored):
        weights = statistics.resample_weights(unit.groups, SEED, resamples)
        for target in TARGETS:
            votes = unit.votes[target]
            if np.isnan(votes).any():
                continue
            for column, scores in unit.columns.items():
                if target != "mos" and not _meant_for(column, target):
                    continue
                head: Row = {
                    "set": scored.rated.name,
                    "band": band_of(scored),
                    "unit": unit.name,
                    "target": target,
                    "column": column,
                    "kind": scored.kinds[column],
                }
                ci95 = unit.ci95 if target == "mos" else np.full(len(votes), np.nan)
                judged = _judge(scores, votes, ci95, weights)
                if column == "level":  # decibels, not opinions
                    judged |= dict.fromkeys(("rmse", "rmse_low", "rmse_high", "bias", "bias_low", "bias_high"))
                yield head | judged


def _meant_for(column: str, target: str) -> bool:
    return column.removesuffix("_1s").removesuffix("_ungated") in (_SPEECH if target == "sig" else _BACKGROUND)


def _judge(scores: Float, votes: Float, ci95: Float, weights: Float) -> Row:
    """Figures of one column; values without a score are left out and counted."""
    known = np.isfinite(scores)
    row: Row = {"n": int(known.sum()), "unset": int((~known).sum())}
    if known.sum() < 5:
        return row
    scores, votes, ci95, weights = scores[known], votes[known], ci95[known], weights[:, known]
    weights = weights[weights.sum(axis=1) > 4]
    threshold = float(np.mean(ci95)) if np.isfinite(ci95).all() else 0.0
    measured: dict[str, Statistic] = {
        "pearson": statistics.pearson,
        "spearman": statistics.spearman,
        "rmse": statistics.rmse,
        "rmse_first_order": statistics.rmse_first_order,
        "bias": statistics.bias,
        "pra": statistics.pairwise_ranking_accuracy(threshold),
    }
    for name, statistic in measured.items():
        row |= _spread(name, statistics.bootstrap(statistic, scores, votes, weights))
    cubic = statistics.monotone_cubic(scores, votes)
    slope, offset = statistics.line(scores, votes)
    row["rmse_third_order"] = float(np.sqrt(((cubic - votes) ** 2).sum() / (len(votes) - 4)))
    row["rmse_star_first_order"] = statistics.rmse_star(slope * scores + offset, votes, ci95, 2)
    row["rmse_star_third_order"] = statistics.rmse_star(cubic, votes, ci95, 4)
    row["pra_threshold"] = threshold
    row["line_slope"], row["line_offset"] = slope, offset
    return row


def _spread(name: str, interval: Interval) -> Row:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def tells_mos(column: str) -> bool:
    """Whether a column is one model's overall score: neither a dimension nor a baseline nor another pooling."""
    stem = column.removesuffix("_1s")
    dimension = stem.endswith(("_noi", "_dis", "_col", "_loud", "_sig", "_bak"))
    return stem in ("mos", "mos_ungated") or not (dimension or "ungated" in stem or stem in _OTHERS)


def beside_rows(scored: ScoredSet, resamples: int = statistics.RESAMPLES) -> Iterator[Row]:
    """Pearson of livemos less that of each public model on the values both have, with the interval of the difference.

    Both are resampled together, so what a lucky draw of conditions gives to both cancels.
    """
    for unit in units(scored):
        weights = statistics.resample_weights(unit.groups, SEED, resamples)
        votes = unit.votes["mos"]
        for own in ("mos", "mos_ungated"):
            for column, peer in unit.columns.items():
                if scored.kinds[column] != "peer" or not tells_mos(column):
                    continue
                known = np.isfinite(unit.columns[own]) & np.isfinite(peer)
                if known.sum() < 5:
                    continue

                def difference(ours: Float, heard: Float, drawn: Float, theirs: Float = peer[known]) -> Float:
                    return statistics.pearson(ours, heard, drawn) - statistics.pearson(theirs, heard, drawn)

                drawn = weights[:, known]
                interval = statistics.bootstrap(
                    difference, unit.columns[own][known], votes[known], drawn[drawn.sum(axis=1) > 4]
                )
                head: Row = {"set": scored.rated.name, "unit": unit.name, "column": own, "peer": column}
                yield head | {"n": int(known.sum())} | _spread("pearson_difference", interval)


BESIDE_COLUMNS = (
    *("set", "unit", "column", "peer", "n"),
    *("pearson_difference", "pearson_difference_low", "pearson_difference_high"),
)
FIGURE_COLUMNS = (
    *("set", "band", "unit", "target", "column", "kind", "n", "unset"),
    *(
        f"{name}{end}"
        for name in ("pearson", "spearman", "rmse", "rmse_first_order", "bias", "pra")
        for end in ("", "_low", "_high")
    ),
    *("rmse_third_order", "rmse_star_first_order", "rmse_star_third_order", "pra_threshold"),
    *("line_slope", "line_offset"),
)


def clip_rows(scored: ScoredSet) -> Iterator[Row]:
    """Every answer for every clip, for those who want to compute something else."""
    rated: RatedSet = scored.rated
    for number, clip in enumerate(rated.clips):
        row: Row = {"set": rated.name, "file": clip.file, "condition": clip.condition}
        row |= {"votes_mos": clip.votes.mos, "votes_ci95": clip.votes.ci95}
        row |= {"votes_sig": clip.votes.sig, "votes_bak": clip.votes.bak}
        row |= {name: float(values[number]) for name, values in scored.columns.items() if scored.kinds[name] != "peer"}
        segments = scored.segments[number]
        yield row | {
            "mos_std": float(scored.mos_std[number]),
            "scored_segments": segments.scored,
            "segments": len(segments),
        }


def bias_rows(scored: Sequence[ScoredSet], rows: Sequence[Row]) -> Iterator[Row]:
    """Raw bias on absolute scales, per set and per band: mean score less mean vote, nothing fitted."""
    absolute = {each.rated.name for each in scored if not each.rated.relative_scale}
    chosen: dict[tuple[str, str], Row] = {}
    for row in rows:  # condition rows overwrite none: a set's clips come first
        if row["set"] in absolute and row["target"] == "mos" and row.get("bias") is not None:
            chosen.setdefault((str(row["column"]), str(row["set"])), row)
    bands = dict.fromkeys(band_of(each) for each in scored if each.rated.name in absolute)
    for column in dict.fromkeys(column for column, _ in chosen):
        of_column = [row for (name, _), row in chosen.items() if name == column]
        line: Row = {"column": column, "kind": of_column[0]["kind"]}
        line |= {str(row["set"]): row["bias"] for row in of_column}
        for band in bands:
            biases = [float(str(row["bias"])) for row in of_column if row["band"] == band]
            line[f"{band} band"] = float(np.mean(biases)) if biases else None
        yield line
