"""Batch size and waiting time follow from what the engine costs on this machine."""

from __future__ import annotations

import numpy as np
import pytest

from livemos.agent.batching import SIZES, BatchPlan, measure_costs, plan_batches
from livemos.agent.engine.base import Features


def test_an_engine_that_gains_nothing_from_batches_gets_small_ones() -> None:
    """The first segment of a batch waits for the last; on a CPU it waits for nothing."""
    assert plan_batches({1: 0.4e-3, 4: 1.6e-3, 16: 6.4e-3, 64: 25.6e-3}).largest_batch == 1


def test_the_cpu_engine_of_docs_gets_sixteen() -> None:
    """0.25, 0.24, 0.21 and 0.21 ms a segment: 16 gives all there is, 64 only waits."""
    plan = plan_batches({1: 0.25e-3, 4: 0.96e-3, 16: 3.4e-3, 64: 13.4e-3})
    assert plan == BatchPlan(largest_batch=16, wait_seconds=0.01)


def test_a_gpu_gets_large_batches_and_waits_as_long_as_one_takes() -> None:
    """A call costs 0.3 ms whatever is in it; segments are nearly free."""
    costs = {size: 3e-4 + 2e-5 * size for size in SIZES}
    assert plan_batches(costs) == BatchPlan(largest_batch=256, wait_seconds=0.01)
    slower = {size: 3e-3 + 1e-4 * size for size in (1, 4, 16, 64, 256)}
    assert plan_batches(slower) == BatchPlan(largest_batch=256, wait_seconds=pytest.approx(0.0286))


def test_what_a_call_costs_around_the_engine_asks_for_larger_batches() -> None:
    """An engine that is as cheap alone would be asked a segment at a time, and the core spent on the asking."""
    costs = {1: 0.35e-3, 4: 1.35e-3, 16: 5.2e-3, 64: 20.8e-3}
    assert plan_batches(costs).largest_batch == 1
    assert plan_batches(costs, around_seconds=5e-4).largest_batch == 16


def test_a_batch_that_takes_too_long_is_never_chosen() -> None:
    """Whatever falls due during a call waits for its end."""
    assert plan_batches({1: 0.09, 4: 0.11, 16: 0.12}).largest_batch == 1
    assert plan_batches({1: 0.3, 4: 0.4}) == BatchPlan(largest_batch=1, wait_seconds=0.01)


def test_the_wait_has_a_longest() -> None:
    """The delay of a score is a promise of the documentation, not of the engine."""
    assert plan_batches({1: 0.05, 4: 0.06, 16: 0.09}).wait_seconds == 0.05


@pytest.mark.parametrize("costs", [{}, {0: 1.0}, {1: 0.0}])
def test_costs_that_are_none_are_refused(costs: dict[int, float]) -> None:
    """A plan from nothing would be a guess."""
    with pytest.raises(ValueError, match="seconds by batch size"):
        plan_batches(costs)


class Engine:
    """Takes 2 ms and 1 ms a segment by its own clock; every second call is disturbed."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.calls: list[int] = []

    def score(self, features: Features) -> None:
        assert features.dtype == np.float32
        self.calls.append(len(features))
        self.seconds += 2e-3 + 1e-3 * len(features) + (0.5 if len(self.calls) % 2 else 0.0)


def test_the_measured_cost_is_that_of_an_undisturbed_call() -> None:
    """A machine that starts many agents at once is busy at that moment."""
    engine = Engine()
    costs = measure_costs(engine.score, (98, 64), lambda: engine.seconds, largest=600)
    assert costs == pytest.approx({1: 3e-3, 4: 6e-3, 16: 18e-3, 64: 66e-3})


def test_measuring_ends_where_calls_get_long() -> None:
    """A slow machine must not spend its start measuring batches it will never run."""
    engine = Engine()
    measure_costs(engine.score, (98, 64), lambda: engine.seconds, largest=600)
    assert set(engine.calls) == {1, 4, 16, 64}


def test_no_batch_is_measured_that_the_streams_cannot_fill() -> None:
    """A batch has at most one segment of each stream."""
    engine = Engine()
    assert set(measure_costs(engine.score, (98, 64), lambda: engine.seconds, largest=5)) == {1, 4}
