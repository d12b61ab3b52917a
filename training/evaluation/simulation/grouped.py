"""Figures of many values that come in families, and how far the luck of the families moves them.

A family is one voice in one condition at four severities, a clip thirteen windows: drawing values singly would count
the luck of one voice fifty times. Each family is summed up once, and the bootstrap draws sums.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.stats

from livemos.training.evaluation.figures import SEED, Row
from livemos.training.evaluation.statistics import CONFIDENCE, RESAMPLES, Float

Figure = Callable[[Float], Float]  # sums (..., K) -> (...)


@dataclass(frozen=True, slots=True)
class Sums:
    """Weighted sums of n, scores, labels, their squares and product by family, (G, 6)."""

    by_family: Float

    @classmethod
    def of(cls, scores: Float, labels: Float, families: np.ndarray, weights: Float | None = None) -> Sums:
        """scores, labels, weights: (N,) of any unit; families: (N,) whose they are. NaN in either is left out."""
        known = np.isfinite(scores) & np.isfinite(labels)
        weight = np.ones(len(scores)) if weights is None else weights
        known &= weight > 0
        x, y, w = scores[known], labels[known], weight[known]
        terms = np.stack([w, w * x, w * y, w * x * x, w * y * y, w * x * y])
        names, member = np.unique(families[known], return_inverse=True)
        return cls(np.stack([np.bincount(member, term, len(names)) for term in terms], axis=1))

    def row(self, resamples: int = RESAMPLES, names: tuple[str, ...] = ("pearson", "rmse", "bias")) -> Row:
        """Each figure by name with its `_low` and `_high`."""
        return figures_of(self.by_family, {name: FIGURES[name] for name in names}, resamples)


def figures_of(by_family: Float, figures: dict[str, Figure], resamples: int = RESAMPLES) -> Row:
    """Figures of sums (G, K) with the 95 % interval over families that are drawn with replacement."""
    row: Row = {}
    if not len(by_family):
        return row
    families = len(by_family)
    draws = np.random.default_rng(SEED).multinomial(families, np.full(families, 1 / families), size=resamples)
    drawn = draws @ by_family
    for name, figure in figures.items():
        with np.errstate(invalid="ignore", divide="ignore"):
            value, values = float(figure(by_family.sum(axis=0))), figure(drawn)
        row[name] = value
        values = values[np.isfinite(values)]
        if families > 1 and len(values) > 1 and np.isfinite(value):
            low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
            row |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    return row


def spearman(scores: Float, labels: Float) -> float:
    """Correlation of ranks; NaN where either does not vary."""
    if not np.ptp(scores) > 1e-9 or not np.ptp(labels) > 1e-9:
        return float("nan")
    return float(scipy.stats.spearmanr(scores, labels)[0])


def ratio(sums: Float) -> Float:
    """Second sum over the first: a share, or a mean."""
    return np.asarray(sums[..., 1] / sums[..., 0])


def _pearson(sums: Float) -> Float:
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread = (n * xx - x * x) * (n * yy - y * y)
    return np.asarray(np.where(spread > 1e-9 * n**4, (n * xy - x * y) / np.sqrt(np.maximum(spread, 1e-300)), np.nan))


def _rmse(sums: Float) -> Float:
    n, _, _, xx, yy, xy = np.moveaxis(sums, -1, 0)
    return np.asarray(np.sqrt(np.maximum(xx + yy - 2 * xy, 0.0) / n))


def _bias(sums: Float) -> Float:
    return np.asarray((sums[..., 1] - sums[..., 2]) / sums[..., 0])


FIGURES: dict[str, Figure] = {"pearson": _pearson, "rmse": _rmse, "bias": _bias}
