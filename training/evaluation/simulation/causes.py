"""Which damage explains a low score, as the bundle says and as it was, and the evidence a user is shown beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from livemos.agent.causes import snr_db
from livemos.training.causes import Evidence, find_causes, find_evidence
from livemos.training.evaluation.figures import Row
from livemos.training.evaluation.simulation.grouped import Sums, figures_of
from livemos.training.evaluation.simulation.heldout import CAUSE_NAMES, Heldout
from livemos.training.evaluation.statistics import Float

_ENDS = ("", "_low", "_high")
CAUSE_COLUMNS = ("who", "cause", "clips", "called", "precision", "recall", *(f"f1{end}" for end in _ENDS))
EVIDENCE_COLUMNS = ("cause", "clips", "mos", "snr_db", "concealed_ratio", "clipped_ratio", "bandwidth_hz", "level_dbov")
MACRO = "macro"
# without a cause output: the dimension that is lowest by more than this says the cause
_NOTICEABLE = 0.6
_BY_DIMENSION = {"noisiness": "noise", "discontinuity": "loss", "coloration": "band", "loudness": "level"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseTable:
    """true: (N,) and said: who -> (N,), places in CAUSE_NAMES, of clips with a known cause; families: (N,)."""

    true: np.ndarray
    said: dict[str, np.ndarray]
    families: np.ndarray
    clips: np.ndarray
    evidence: Evidence

    def confusion(self, who: str) -> np.ndarray:
        """(9, 9) clips by true cause and by what was said."""
        counts = np.zeros((len(CAUSE_NAMES), len(CAUSE_NAMES)), np.int64)
        np.add.at(counts, (self.true, self.said[who]), 1)
        return counts


def cause_table(heldout: Heldout) -> CauseTable:
    """Causes of all clips that have one and a score. The bundle's own, where it gives them, and two baselines.

    lowest dimension: the cause that belongs to the dimension furthest below its ceiling; most frequent: the cause that
    most clips have.
    """
    causes = find_causes(heldout.columns)
    clips = np.flatnonzero(causes.known & np.isfinite(heldout.scores["mos"]))
    true = causes.cause[clips]
    said = {}
    probabilities = heldout.cause_probabilities
    if probabilities is not None:
        said["livemos"] = probabilities[clips].argmax(axis=1)
    said["lowest dimension"] = _lowest_dimension(heldout, clips)
    said["most frequent"] = np.full(len(clips), np.bincount(true).argmax())
    return CauseTable(
        true=true,
        said=said,
        families=heldout.families[clips],
        clips=clips,
        evidence=find_evidence(heldout.columns, heldout.front_end),
    )


def _lowest_dimension(heldout: Heldout, clips: np.ndarray) -> np.ndarray:
    lost = np.stack([4.6 - heldout.scores[name][clips] for name in _BY_DIMENSION], axis=1)
    places = np.array([CAUSE_NAMES.index(cause) for cause in _BY_DIMENSION.values()])
    return np.where(lost.max(axis=1) > _NOTICEABLE, places[lost.argmax(axis=1)], CAUSE_NAMES.index("none"))


def cause_rows(table: CauseTable, resamples: int) -> Iterator[Row]:
    """F1 of each cause and their mean, with intervals over families; causes that no clip has are left out."""
    present = [k for k in range(len(CAUSE_NAMES)) if (table.true == k).any()]
    names, member = np.unique(table.families, return_inverse=True)
    for who, said in table.said.items():
        # by family: right, true, called, one of each a cause
        sums = np.zeros((len(names), 3, len(CAUSE_NAMES)))
        for place, (named, counted) in enumerate(((table.true, said == table.true), (table.true, 1), (said, 1))):
            np.add.at(sums[:, place], (member, named), counted)
        flat = sums.reshape(len(names), -1)
        macro = figures_of(flat, {"f1": lambda drawn: _f1(drawn)[..., present].mean(axis=-1)}, resamples)
        yield {"who": who, "cause": MACRO, "clips": len(table.true), "called": len(said), **macro}
        for k in present:
            right, true, called = flat.sum(axis=0).reshape(3, -1)[:, k].tolist()
            yield {
                "who": who,
                "cause": CAUSE_NAMES[k],
                "clips": int(true),
                "called": int(called),
                "precision": right / called if called else None,
                "recall": right / true,
                **figures_of(flat, {"f1": lambda drawn, k=k: _f1(drawn)[..., k]}, resamples),  # type: ignore[misc]
            }


def _f1(flat: Float) -> Float:
    right, true, called = np.moveaxis(flat.reshape(*flat.shape[:-1], 3, len(CAUSE_NAMES)), -2, 0)
    return np.asarray(2 * right / np.maximum(true + called, 1.0))


def confusion_rows(table: CauseTable) -> Iterator[Row]:
    """One row a true cause; columns are what was said."""
    for who in table.said:
        counts = table.confusion(who)
        for k, name in enumerate(CAUSE_NAMES):
            if counts[k].any():
                yield {"who": who, "true": name, **dict(zip(CAUSE_NAMES, counts[k].tolist(), strict=True))}


def evidence_rows(heldout: Heldout, table: CauseTable) -> Iterator[Row]:
    """Mean truth of the evidence by true cause: what a user would expect to see beside it."""
    for k, name in enumerate(CAUSE_NAMES):
        inside = table.clips[table.true == k]
        if len(inside):
            yield {
                "cause": name,
                "clips": len(inside),
                "mos": float(heldout.scores["mos"][inside].mean()),
                **{
                    field: float(np.asarray(getattr(table.evidence, field), float)[inside].mean())
                    for field in EVIDENCE_COLUMNS[3:]
                },
            }


def estimate_rows(heldout: Heldout, table: CauseTable, resamples: int) -> Iterator[Row]:
    """Evidence that is estimated beside the truth: SNR from noisiness (where it can be told), the upper band edge.

    Level, clipped and concealed share are measured, not estimated (agent/gate.py, the receiver's counters).
    """
    clips = table.clips
    pairs = {
        "snr_db": (snr_db(heldout.scores["noisiness"][clips]), table.evidence.snr_db[clips]),
        "bandwidth_hz": (heldout.bandwidth_hz[clips], table.evidence.bandwidth_hz[clips]),
    }
    for name, (estimate, truth) in pairs.items():
        told = int(np.isfinite(estimate).sum())
        sums = Sums.of(np.asarray(estimate, float), np.asarray(truth, float), table.families)
        yield {"evidence": name, "clips": told, **sums.row(resamples)}


ESTIMATE_COLUMNS = ("evidence", "clips", *(f"{name}{end}" for name in ("pearson", "rmse", "bias") for end in _ENDS))
