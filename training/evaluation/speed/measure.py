"""Time on one core, contenders taking turns, so that what disturbs the machine disturbs all of them."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from livemos.agent.errors import ConfigError
from livemos.agent.records import SEGMENT_SAMPLES, Samples
from livemos.training.evaluation.figures import Row
from livemos.training.evaluation.speed.contenders import Contender

SPEED_COLUMNS = (
    *("model", "kind", "precision", "batch", "cpu_ms", "cpu_ms_min", "wall_ms", "wall_ms_min", "calls"),
    "times_livemos",
)
_LEAST_CALLS = 3
_TURNS = 4
_QUICK_SECONDS = 0.1
_SEED = 3


class _Call(NamedTuple):
    cpu_seconds: float
    wall_seconds: float


def segments_of(batch: int) -> Samples:
    """(B, 16000): noise that swells and fades at the pace of syllables, about -26 dBov, different in each segment."""
    rng = np.random.default_rng(_SEED)
    seconds = np.arange(SEGMENT_SAMPLES) / SEGMENT_SAMPLES
    envelope = 1.0 + 0.9 * np.sin(2 * np.pi * (4.0 * seconds + rng.random((batch, 1))))
    return np.asarray(0.05 * envelope * rng.standard_normal((batch, SEGMENT_SAMPLES)), np.float32)


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """This process on one core, where the system can do that. Raises ConfigError for a core that it may not use."""
    if core is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {core})
    except (OSError, ValueError, OverflowError) as refused:
        known = ", ".join(map(str, sorted(before)))
        raise ConfigError(f"--core {core}: not a core that this process may use; choose one of {known}") from refused
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure(
    contenders: Sequence[Contender], batches: Sequence[int], seconds: float, done: Callable[[], object]
) -> list[Row]:
    """Milliseconds a segment, one row a contender and batch, calling `done` after each batch of a contender.

    Contenders run in turns of a quarter of `seconds` until each has had `seconds` and three measured calls. A quick one
    begins its turn with an unmeasured call: the one before it has emptied the caches, as no stream of segments does.
    cpu_ms and wall_ms are medians over calls; times_livemos: cpu_ms over that of the first contender at that batch.
    """
    rows: list[Row] = []
    for batch in batches:
        segments = segments_of(batch)
        taken: list[list[_Call]] = [[] for _ in contenders]
        for contender in contenders:
            contender.score(segments)
        waiting = list(range(len(contenders)))
        while waiting:
            for place in list(waiting):
                calls = taken[place]
                if not calls or calls[-1].wall_seconds < _QUICK_SECONDS:
                    contenders[place].score(segments)
                calls += _turn(contenders[place], segments, seconds / _TURNS)
                if len(calls) >= _LEAST_CALLS and sum(call.wall_seconds for call in calls) >= seconds:
                    waiting.remove(place)
                    done()
        rows += _rows(contenders, batch, taken)
    return rows


def _turn(contender: Contender, segments: Samples, seconds: float) -> list[_Call]:
    """At least one call, and more until `seconds` are over."""
    calls: list[_Call] = []
    began = time.perf_counter()
    while not calls or time.perf_counter() - began < seconds:
        wall, cpu = time.perf_counter(), time.process_time()
        contender.score(segments)
        calls.append(_Call(time.process_time() - cpu, time.perf_counter() - wall))
    return calls


def _rows(contenders: Sequence[Contender], batch: int, taken: list[list[_Call]]) -> Iterator[Row]:
    first_ms = 1e3 * float(np.median([call.cpu_seconds for call in taken[0]])) / batch
    for contender, calls in zip(contenders, taken, strict=True):
        cpu, wall = 1e3 * np.array(calls).T / batch
        yield {
            "model": contender.name,
            "kind": contender.kind,
            "precision": contender.precision,
            "batch": batch,
            "cpu_ms": float(np.median(cpu)),
            "cpu_ms_min": float(cpu.min()),
            "wall_ms": float(np.median(wall)),
            "wall_ms_min": float(wall.min()),
            "calls": len(calls),
            "times_livemos": float(np.median(cpu)) / first_ms,
        }


def machine() -> dict[str, str]:
    """What the figures belong to: processor, system and the versions that matter."""
    names = []
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    facts = {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    for package in ("livemos", "numpy", "scipy", "onnxruntime", "torch", "distillmos"):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    return facts
