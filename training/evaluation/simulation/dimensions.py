"""Whether each dimension means what it says: how far it moves for its own causes and for others, and what it follows.

The matrix takes ladders over otherwise undamaged speech and compares the two worst members with the first, each pair
at a comfortable output level, so that only the rising kind speaks; what the label moves stands beside what the model
moves. For the level itself undamaged clips that are far too quiet or too loud are held against comfortable ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from livemos.training import labels
from livemos.training.causes import find_evidence
from livemos.training.damages import CAUSES, DAMAGES
from livemos.training.evaluation.figures import Row
from livemos.training.evaluation.scored import DIMENSIONS
from livemos.training.evaluation.simulation.grouped import Sums, figures_of, ratio, spearman
from livemos.training.evaluation.simulation.heldout import Heldout
from livemos.training.evaluation.statistics import Float

# as the labels have it (training/labels.py): a second voice and an echo are noise to the first, and what codecs and
# clipping do to a voice is its colour; the first of each is the dimension's namesake. Reverberation belongs to none.
OWN_CAUSES = {
    "noisiness": ("noise", "echo_or_talker"),
    "coloration": ("band", "codec", "clipping"),
    "discontinuity": ("loss",),
    "loudness": ("level",),
}
_ENDS = ("", "_low", "_high")
MATRIX_COLUMNS = (
    "dimension",
    "cause",
    "own",
    "pairs",
    "families",
    *(f"fall{end}" for end in _ENDS),
    "label_fall",
)
FOLLOWS_COLUMNS = (
    "dimension",
    "follows",
    "unit",
    "values",
    *(f"pearson{end}" for end in _ENDS),
    "spearman",
    "label_spearman",
)
_FAR_DB = 8.0  # beyond the comfortable range
_WORST_MEMBERS = (2, 3)


def matrix_rows(heldout: Heldout, resamples: int) -> Iterator[Row]:
    """Mean fall of each output (DIMENSIONS) for each cause, with the fall of its label."""
    said = {name: heldout.scores[name] for name in DIMENSIONS}
    wanted = {name: _clip_label(heldout, name) for name in DIMENSIONS}
    for cause in CAUSES:
        before, after = _level_pairs(heldout) if cause == "level" else _ladder_pairs(heldout, cause)
        for name in DIMENSIONS:
            fall, label_fall = said[name][before] - said[name][after], wanted[name][before] - wanted[name][after]
            known = np.isfinite(fall) & np.isfinite(label_fall)
            families = heldout.families[after[known]]
            names, member = np.unique(families, return_inverse=True)
            sums = np.stack([np.bincount(member), np.bincount(member, fall[known], len(names))], axis=1)
            yield {
                "dimension": name,
                "cause": cause,
                "own": cause in OWN_CAUSES.get(name, ()),
                "pairs": int(known.sum()),
                "families": len(names),
                **(figures_of(sums.astype(float), {"fall": ratio}, resamples) if len(names) else {}),
                "label_fall": float(label_fall[known].mean()) if known.any() else None,
            }


def _clip_label(heldout: Heldout, name: str) -> Float:
    if name == "mos":
        return heldout.truth.mos
    weight = heldout.truth.weight
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((heldout.truth.windows[name] * weight).sum(axis=1) / weight.sum(axis=1))


def _comfortable(heldout: Heldout) -> np.ndarray:
    low, high = labels.LEVEL_RANGE_DBOV
    level = np.asarray(heldout.columns["level_dbov"], np.float64)
    return np.asarray((level >= low) & (level <= high))


def _ladder_pairs(heldout: Heldout, cause: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of first members and of the worst members of ladders of a cause, whose base is undamaged."""
    comfortable, ladder = _comfortable(heldout), heldout.ladder
    of_cause = np.array([bool(kind) and DAMAGES[kind].cause == cause for kind in ladder])
    # of a ladder of lost packets the codec stays: its first member is no damage beside the rising kind
    base_kinds = np.array([len(set(kinds) - {str(kind)}) for kinds, kind in zip(heldout.kinds, ladder, strict=True)])
    after = np.flatnonzero(of_cause & np.isin(heldout.member, _WORST_MEMBERS) & comfortable & (base_kinds == 0))
    before = after - heldout.member[after]
    kept = comfortable[before]
    return before[kept], after[kept]


def _level_pairs(heldout: Heldout) -> tuple[np.ndarray, np.ndarray]:
    """Undamaged clips far outside the comfortable range, each beside one inside it, in turn."""
    undamaged = np.array([not kinds for kinds in heldout.kinds]) & (heldout.ladder != "")
    low, high = labels.LEVEL_RANGE_DBOV
    level = np.asarray(heldout.columns["level_dbov"], np.float64)
    after = np.flatnonzero(undamaged & ((level < low - _FAR_DB) | (level > high + _FAR_DB / 2)))
    inside = np.flatnonzero(undamaged & _comfortable(heldout))
    if not len(inside):
        return after[:0], after[:0]
    return np.resize(inside, len(after)), after


def own_against_others(matrix: list[Row]) -> list[Row]:
    """Per dimension its fall for its own causes, and the largest fall for a cause that is not its own.

    others_move_less: that one is smaller than the fall for the dimension's first cause.
    """
    rows: list[Row] = []
    for dimension, own in OWN_CAUSES.items():
        falls = {
            str(row["cause"]): float(str(row["fall"]))
            for row in matrix
            if row["dimension"] == dimension and row.get("fall") is not None
        }
        others = {cause: fall for cause, fall in falls.items() if cause not in own}
        if own[0] not in falls or not others:
            continue
        worst = max(others, key=lambda name: others[name])
        rows.append(
            {
                "dimension": dimension,
                "own_cause": own[0],
                "own_fall": falls[own[0]],
                "also_own": ", ".join(f"{cause} {falls[cause]:.2f}" for cause in own[1:] if cause in falls),
                "largest_other": worst,
                "largest_other_fall": others[worst],
                "others_move_less": others[worst] < falls[own[0]],
            }
        )
    return rows


def follows_rows(heldout: Heldout, resamples: int) -> Iterator[Row]:
    """Noisiness beside SNR, discontinuity beside loss, coloration beside response and band, loudness beside level."""
    used = heldout.truth.weight > 0
    families = np.repeat(heldout.families[:, None], used.shape[1], axis=1)[used]
    by_second = {
        ("noisiness", "SNR"): -labels.added_noise_db(heldout.columns),
        ("discontinuity", "speech not lost"): 1.0 - np.asarray(heldout.columns["gap_ratio"], np.float64),
    }
    for (dimension, driver), values in by_second.items():
        label = heldout.truth.windows[dimension][used]
        row = _follows(heldout.outputs[dimension][used], values[used], label, families, resamples)
        yield {"dimension": dimension, "follows": driver, "unit": "window", **row}
    spoken = np.isfinite(heldout.truth.mos) & np.isfinite(heldout.scores["mos"])
    level = np.asarray(heldout.columns["level_dbov"], np.float64)
    evidence = find_evidence(heldout.columns, heldout.front_end)
    colour = labels.colour_db(np.asarray(heldout.columns["response_db"], np.float64))
    quiet = spoken & (level < -24.0)
    loud = spoken & (level > -24.0)
    by_clip = (
        ("noisiness", "SNR", np.asarray(evidence.snr_db, float), spoken),
        ("discontinuity", "speech not lost", 1.0 - _lost_speech(heldout), spoken),
        ("coloration", "evenness of response", -colour, spoken),
        ("coloration", "upper band edge", np.asarray(evidence.bandwidth_hz, float), spoken),
        ("loudness", "level, below -24 dBov", level, quiet),
        ("loudness", "level, above -24 dBov (falls)", -level, loud),
    )
    for dimension, driver, values, chosen in by_clip:
        row = _follows(
            heldout.scores[dimension][chosen],
            values[chosen],
            _clip_label(heldout, dimension)[chosen],
            heldout.families[chosen],
            resamples,
        )
        yield {"dimension": dimension, "follows": driver, "unit": "clip", **row}


def _lost_speech(heldout: Heldout) -> Float:
    weight = heldout.truth.weight
    lost = np.asarray(heldout.columns["gap_ratio"], np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((lost * weight).sum(axis=1) / weight.sum(axis=1))


def _follows(said: Float, driver: Float, label: Float, families: np.ndarray, resamples: int) -> Row:
    known = np.isfinite(said) & np.isfinite(driver) & np.isfinite(label)
    if known.sum() < 5:
        return {"values": int(known.sum())}
    return {
        "values": int(known.sum()),
        **Sums.of(said[known], driver[known], families[known]).row(resamples, ("pearson",)),
        "spearman": spearman(said[known], driver[known]),
        "label_spearman": spearman(label[known], driver[known]),
    }
