"""Segments scored in processes of their own, each with a model: more than one core for captures."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from livemos.agent.bundle import load_bundle
from livemos.agent.engine import make_engine
from livemos.agent.records import Samples
from livemos.agent.segment_scorer import Float32, SegmentScorer, SegmentScores


class ScoringPool:
    """`workers` processes; they end with this one, or with `close`."""

    def __init__(self, bundle: Path | None, *, engine: str, workers: int) -> None:
        self.workers = workers
        self._processes = ProcessPoolExecutor(
            workers,
            # a forked copy would share the locks of the runtime's threads
            mp_context=multiprocessing.get_context("spawn"),
        )
        self._score = functools.partial(_score, bundle, engine)

    def score(self, segments: Samples, concealed_ratio: Float32) -> Callable[[], SegmentScores]:
        """Begin to score a batch as SegmentScorer.score does; what is returned waits for the scores."""
        return self._processes.submit(self._score, segments, concealed_ratio).result

    def close(self) -> None:
        """End the processes."""
        self._processes.shutdown()


@functools.cache
def _scorer(bundle: Path | None, engine: str) -> SegmentScorer:
    """Of this process: a pool hands its workers functions and arguments, not objects."""
    loaded = load_bundle(bundle)
    return SegmentScorer(loaded, make_engine(engine, loaded, threads=1))


def _score(bundle: Path | None, engine: str, segments: Samples, concealed_ratio: Float32) -> SegmentScores:
    return _scorer(bundle, engine).score(segments, concealed_ratio)
