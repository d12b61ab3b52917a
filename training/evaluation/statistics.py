"""How well scores follow votes: correlation, error, rank of pairs, and how far chance alone could move each figure.

Scores and votes are (N,) float arrays, one value a clip or a condition. Weights (N,) count how often a value is drawn:
ones for the set as it is, a resample's counts for the bootstrap, so both go through the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.optimize
import scipy.stats

Float = npt.NDArray[np.float64]
Weights = npt.NDArray[np.float64]  # (..., N)
Statistic = Callable[[Float, Float, Weights], Float]  # scores, votes (N,), weights (..., N) -> (...)

RESAMPLES = 1000
CONFIDENCE = 0.95
_CUBIC_GRID = 65


def pearson(scores: Float, votes: Float, weights: Weights) -> Float:
    """Correlation; NaN where either does not vary."""
    return _correlation(np.broadcast_to(scores, weights.shape), np.broadcast_to(votes, weights.shape), weights)


def spearman(scores: Float, votes: Float, weights: Weights) -> Float:
    """Correlation of the mid-ranks that each value has among the drawn ones."""
    return _correlation(_weighted_ranks(scores, weights), _weighted_ranks(votes, weights), weights)


def bias(scores: Float, votes: Float, weights: Weights) -> Float:
    """Mean score less mean vote."""
    return np.asarray(((scores - votes) * weights).sum(axis=-1) / weights.sum(axis=-1))


def rmse(scores: Float, votes: Float, weights: Weights) -> Float:
    """Root mean square error of scores as they are, over N - 1 (ITU-T P.1401, 7.5.1)."""
    return np.asarray(np.sqrt(((scores - votes) ** 2 * weights).sum(axis=-1) / (weights.sum(axis=-1) - 1)))


def rmse_first_order(scores: Float, votes: Float, weights: Weights) -> Float:
    """Root mean square error after the best rising line (of slope zero at least), over N - 2."""
    total = weights.sum(axis=-1)
    centred = votes - ((votes * weights).sum(axis=-1) / total)[..., None]
    spread = (centred**2 * weights).sum(axis=-1)
    r = np.nan_to_num(pearson(scores, votes, weights))
    return np.asarray(np.sqrt(spread * (1 - np.maximum(r, 0.0) ** 2) / (total - 2)))


def _correlation(a: Float, b: Float, weights: Weights) -> Float:
    total = weights.sum(axis=-1, keepdims=True)
    a = a - (a * weights).sum(axis=-1, keepdims=True) / total
    b = b - (b * weights).sum(axis=-1, keepdims=True) / total
    power = (a * a * weights).sum(axis=-1) * (b * b * weights).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = np.where(power > 1e-18, (a * b * weights).sum(axis=-1) / np.sqrt(power), np.nan)
    return np.asarray(r)


def _weighted_ranks(values: Float, weights: Weights) -> Float:
    below = (values[None, :] < values[:, None]).astype(float)
    same = (values[None, :] == values[:, None]).astype(float)
    return np.asarray(weights @ below.T + (weights @ same.T + 1.0) / 2.0)


def pairwise_ranking_accuracy(threshold: float) -> Statistic:
    """Share of the pairs whose votes differ by more than `threshold` that the scores order alike; a tie counts half.

    Ragano et al. 2022 (PRA): the mean of (sgn(y_i - y_j) sgn(s_i - s_j) + 1) / 2 over those pairs, with the mean 95 %
    confidence interval of the votes as threshold. NaN without such a pair.
    """

    def accuracy(scores: Float, votes: Float, weights: Weights) -> Float:
        difference = votes[:, None] - votes[None, :]
        counted = (np.abs(difference) > threshold).astype(float)
        agreed = counted * (np.sign(difference) * np.sign(scores[:, None] - scores[None, :]) + 1.0) / 2.0
        pairs = ((weights @ counted) * weights).sum(axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(((weights @ agreed) * weights).sum(axis=-1) / pairs)

    return accuracy


def line(scores: Float, votes: Float) -> tuple[float, float]:
    """Slope, at least zero, and offset of the best line from scores to votes."""
    spread = float(np.var(scores))
    slope = max(0.0, float(np.mean((scores - scores.mean()) * (votes - votes.mean()))) / spread) if spread else 0.0
    return slope, float(votes.mean() - slope * scores.mean())


def monotone_cubic(scores: Float, votes: Float) -> Float:
    """Scores mapped by the best third-order polynomial that never falls between the lowest and the highest of them.

    Least squares under that condition (ITU-T P.1401, 7.3.3), so a relation that falls is mapped to a constant.
    """
    low, high = float(scores.min()), float(scores.max())
    if high - low < 1e-9:
        return np.full(len(scores), votes.mean())
    x = 2.0 * (scores - low) / (high - low) - 1.0
    powers = np.vander(x, 4, increasing=True)
    grid = np.linspace(-1.0, 1.0, _CUBIC_GRID)
    slopes = np.stack([np.zeros_like(grid), np.ones_like(grid), 2 * grid, 3 * grid**2], axis=1)
    free = np.linalg.lstsq(powers, votes, rcond=None)[0]
    if (slopes @ free >= 0).all():
        return np.asarray(powers @ free)
    slope, offset = line(x, votes)
    best = scipy.optimize.minimize(
        lambda c: float(((powers @ c - votes) ** 2).sum()),
        np.array([offset, slope, 0.0, 0.0]),
        jac=lambda c: 2.0 * powers.T @ (powers @ c - votes),
        constraints={"type": "ineq", "fun": lambda c: slopes @ c, "jac": lambda c: slopes},
        method="SLSQP",
    )
    return np.asarray(powers @ best.x)


def rmse_star(mapped: Float, votes: Float, ci95: Float, coefficients: int) -> float:
    """Error beyond the votes' own doubt: root of the sum of max(0, |error| - ci95)^2 over N - coefficients.

    ITU-T P.1401, 7.7. NaN where any confidence interval is not known.
    """
    beyond = np.maximum(0.0, np.abs(mapped - votes) - ci95)
    return float(np.sqrt((beyond**2).sum() / (len(votes) - coefficients)))


def confidence_interval_95(std: float, count: float) -> float:
    """Half width of the 95 % interval of a mean of `count` votes (Student's t); NaN for fewer than two."""
    if not count >= 2:
        return float("nan")
    return float(scipy.stats.t.ppf(0.975, count - 1) * std / np.sqrt(count))


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and its bootstrap interval."""

    value: float
    low: float
    high: float


def resample_weights(groups: Sequence[str], seed: int, resamples: int = RESAMPLES) -> Weights:
    """(R, N) how often each value is drawn when whole groups are drawn with replacement.

    Clips of one condition go together: drawing them singly would count one damage's luck many times.
    """
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return np.asarray(counts[:, member], float)


def bootstrap(statistic: Statistic, scores: Float, votes: Float, weights: Weights) -> Interval:
    """The figure of all values, and the 2.5th and 97.5th percentile of it over the resamples that define it."""
    value = float(statistic(scores, votes, np.ones(len(scores))))
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = statistic(scores, votes, weights)
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(drawn) < 2:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(value, float(low), float(high))
