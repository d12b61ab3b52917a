from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from livemos.training.evaluation import statistics


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    votes = np.round(rng.uniform(1, 5, 60), 1)  # ties, as votes have
    return np.round(0.6 * votes + 1.0 + rng.normal(0, 0.5, 60), 1), votes


def test_pearson_and_spearman_agree_with_scipy(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """Every claim rests on these two; ties in the votes are where home-made ranks go wrong."""
    scores, votes = pair
    once = np.ones(len(votes))
    assert statistics.pearson(scores, votes, once) == pytest.approx(scipy.stats.pearsonr(scores, votes)[0], abs=1e-12)
    assert statistics.spearman(scores, votes, once) == pytest.approx(scipy.stats.spearmanr(scores, votes)[0], abs=1e-12)


@pytest.mark.parametrize("name", ["pearson", "spearman", "bias", "rmse", "rmse_first_order"])
def test_a_weight_of_two_is_the_same_as_the_value_twice(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    """The bootstrap draws by weight: if weights were not repetitions, every interval would be wrong."""
    scores, votes = pair
    weights = np.random.default_rng(2).integers(0, 3, len(votes)).astype(float)
    repeated = np.repeat(np.arange(len(votes)), weights.astype(int))
    statistic = getattr(statistics, name)
    expected = statistic(scores[repeated], votes[repeated], np.ones(len(repeated)))
    assert statistic(scores, votes, weights) == pytest.approx(float(expected), abs=1e-12)


def test_a_score_that_never_moves_has_no_correlation_and_the_votes_spread_as_error() -> None:
    """The constant baseline must not crash the table, nor get a made-up zero."""
    scores, votes, once = np.full(4, 3.0), np.array([1.0, 2.0, 4.0, 5.0]), np.ones(4)
    assert np.isnan(statistics.pearson(scores, votes, once)) and np.isnan(statistics.spearman(scores, votes, once))
    assert statistics.rmse_first_order(scores, votes, once) == pytest.approx(np.sqrt(10 / 2))


def test_errors_are_divided_by_what_the_mapping_leaves_free() -> None:
    """P.1401 counts N - 1 without a mapping and N - 2 after a line; on few conditions the difference is large."""
    scores, votes, once = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 4.0]), np.ones(3)
    assert statistics.rmse(scores, votes, once) == pytest.approx(np.sqrt(2 / 2))
    residual = votes - np.polyval(np.polyfit(scores, votes, 1), scores)
    assert statistics.rmse_first_order(scores, votes, once) == pytest.approx(np.sqrt((residual**2).sum() / 1))


def test_a_falling_relation_is_not_turned_round_by_the_mappings() -> None:
    """A model that orders clips upside down must not look good after a line of negative slope."""
    votes = np.linspace(1, 5, 30)
    falling = 6.0 - votes
    assert statistics.line(falling, votes) == (0.0, pytest.approx(3.0))
    assert np.ptp(statistics.monotone_cubic(falling, votes)) < 1e-3
    assert statistics.rmse_first_order(falling, votes, np.ones(30)) == pytest.approx(votes.std() * np.sqrt(30 / 28))


def test_the_cubic_is_the_free_fit_where_that_rises_anyway() -> None:
    """The condition must cost nothing when it is not needed."""
    scores = np.linspace(1, 5, 40)
    votes = 0.05 * (scores - 3) ** 3 + 0.5 * scores + 1
    np.testing.assert_allclose(statistics.monotone_cubic(scores, votes), votes, atol=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_the_cubic_never_falls_and_beats_the_line(seed: int) -> None:
    """A mapping that falls would reward a model for calling the best clips worse."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(2, 4, 25)
    votes = np.clip(3 + np.sin(3 * scores) + rng.normal(0, 0.3, 25), 1, 5)
    mapped = statistics.monotone_cubic(scores, votes)
    assert (np.diff(mapped[np.argsort(scores)]) >= -1e-3).all()
    slope, offset = statistics.line(scores, votes)
    assert ((mapped - votes) ** 2).sum() <= ((slope * scores + offset - votes) ** 2).sum() + 1e-3


def test_rmse_star_forgives_what_lies_inside_the_votes_own_doubt() -> None:
    """Nobody can predict votes better than the votes know themselves: errors 0.2, 0.5, 1.0 with a doubt of 0.3."""
    mapped, votes = np.array([3.0, 3.0, 3.0]), np.array([3.2, 3.5, 4.0])
    assert statistics.rmse_star(mapped, votes, np.full(3, 0.3), 1) == pytest.approx(np.sqrt((0 + 0.2**2 + 0.7**2) / 2))
    assert np.isnan(statistics.rmse_star(mapped, votes, np.array([0.3, np.nan, 0.3]), 1))


def test_the_confidence_interval_is_students() -> None:
    """Five votes are no thirty: a Gaussian interval would call crowd votes surer than they are."""
    assert statistics.confidence_interval_95(1.0, 5) == pytest.approx(2.776 / np.sqrt(5), abs=1e-3)
    assert np.isnan(statistics.confidence_interval_95(1.0, 1)) and np.isnan(
        statistics.confidence_interval_95(1.0, np.nan)
    )


def test_ranking_accuracy_counts_only_pairs_the_listeners_told_apart() -> None:
    """By the definition of PRA: pairs (1,3), (1,5), (3,5) count, of which (3,5) is ranked wrongly and a tie is half."""
    votes, once = np.array([1.0, 1.2, 3.0, 5.0]), np.ones(4)
    accuracy = statistics.pairwise_ranking_accuracy(0.5)
    assert accuracy(np.array([1.0, 0.0, 3.0, 2.0]), votes, once) == pytest.approx(4 / 5)
    assert accuracy(np.array([1.0, 0.0, 3.0, 3.0]), votes, once) == pytest.approx(4.5 / 5)
    assert np.isnan(statistics.pairwise_ranking_accuracy(9.0)(votes, votes, once))


def test_the_bootstrap_repeats_with_its_seed_and_draws_whole_conditions(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """A report made twice must say the same, and clips of one condition must come and go together."""
    scores, votes = pair
    groups = [f"c{number // 6}" for number in range(60)]
    weights = statistics.resample_weights(groups, seed=4, resamples=200)
    again = statistics.resample_weights(groups, seed=4, resamples=200)
    np.testing.assert_array_equal(weights, again)
    assert (weights.reshape(200, 10, 6) == weights.reshape(200, 10, 6)[..., :1]).all()
    assert (weights.sum(axis=1) == 60).all() and not (weights == statistics.resample_weights(groups, 5, 200)).all()
    interval = statistics.bootstrap(statistics.pearson, scores, votes, weights)
    assert interval.low < interval.value < interval.high


def test_the_interval_is_as_wide_as_theory_says_where_theory_knows() -> None:
    """The mean of independent values is the one case that can be worked out: +-1.96 standard errors."""
    rng = np.random.default_rng(6)
    scores = rng.normal(0, 1, 400)
    weights = statistics.resample_weights([str(k) for k in range(400)], seed=1, resamples=2000)
    interval = statistics.bootstrap(statistics.bias, scores, np.zeros(400), weights)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * scores.std() / 20, rel=0.08)
