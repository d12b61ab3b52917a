"""How many segments share an engine call, and how long the first of them waits: from what the engine costs here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from livemos.agent.engine.base import Features

SIZES = (1, 4, 16, 64, 256, 1024)
_WORTH_WAITING_RATIO = 1.1  # a larger batch must save more than a tenth a segment: its first rows wait for its last
_LONGEST_CALL_SECONDS = 0.1  # a segment that falls due during a call waits for its end
_SHORTEST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.01, 0.05
_CALLS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """largest_batch: segments of one engine call. wait_seconds: from the first that is due to the call."""

    largest_batch: int = 16
    wait_seconds: float = _SHORTEST_WAIT_SECONDS


def plan_batches(costs: Mapping[int, float], *, around_seconds: float = 0.0) -> BatchPlan:
    """The plan for an engine whose call of n segments takes costs[n] seconds. ValueError without a cost.

    around_seconds: what each call costs besides, whatever its size: windows, publishing, waking subscribers.
    The smallest batch that is nearly as cheap a segment as the cheapest, among those that end soon. Segments are
    gathered for as long as one such call takes: no engine is idle for longer than it works, and what a wait can add to
    a score's delay is what a busy engine adds anyway.
    """
    if not costs or min(costs) < 1 or min(costs.values()) <= 0.0:
        raise ValueError(f"costs are seconds by batch size, above 0: {dict(costs)}")
    quick = {size: cost for size, cost in costs.items() if cost <= _LONGEST_CALL_SECONDS}
    if not quick:
        smallest = min(costs)
        return BatchPlan(largest_batch=smallest, wait_seconds=_SHORTEST_WAIT_SECONDS)
    shares = {size: (cost + around_seconds) / size for size, cost in quick.items()}
    best = min(shares.values())
    largest = min(size for size, share in shares.items() if share <= best * _WORTH_WAITING_RATIO)
    wait = min(max(quick[largest], _SHORTEST_WAIT_SECONDS), _LONGEST_WAIT_SECONDS)
    return BatchPlan(largest_batch=largest, wait_seconds=wait)


def measure_costs(
    score: Callable[[Features], object], shape: tuple[int, int], now: Callable[[], float], *, largest: int
) -> dict[int, float]:
    """Seconds of a call by batch size; the best of three, as other work on the machine only adds.

    Ends at `largest`, and at the first size that takes long, so that a slow engine is measured in half a second.
    `shape` is that of one segment's features, `now` gives monotonic seconds.
    """
    costs: dict[int, float] = {}
    row = np.random.default_rng(0).normal(-4.0, 3.0, shape).astype(np.float32)
    for size in (size for size in SIZES if size <= max(1, largest)):
        features = np.repeat(row[None], size, axis=0)
        times = []
        for _ in range(_CALLS):
            started = now()
            score(features)
            times.append(now() - started)
        costs[size] = max(min(times), 1e-9)
        if costs[size] > _LONGEST_CALL_SECONDS / 4.0:
            break
    return costs
