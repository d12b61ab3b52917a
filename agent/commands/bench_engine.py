"""`livemos bench engine`: what each engine scores in a second on one core, beside ONNX Runtime in the same run."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from livemos.agent.bundle import FP32, Bundle, load_bundle
from livemos.agent.commands.environment import append_results
from livemos.agent.commands.options import BundleOption
from livemos.agent.commands.output import Format, Row, choose_format, print_rows
from livemos.agent.engine import make_engine
from livemos.agent.engine.base import Engine, Features
from livemos.agent.errors import BundleError, ConfigError, EngineError
from livemos.agent.records import SAMPLE_RATE_HZ, STRIDE_SAMPLES

BASELINE = "onnxruntime/fp32"
COLUMNS = (
    "engine",
    "precision",
    "device",
    "version",
    "batch",
    "calls",
    "ms_per_segment",
    "segments_per_second",
    "streams_at_half_second",
    "call_p50_ms",
    "call_p99_ms",
    "ratio_to_onnxruntime",
    "model_id",
)
_DEFAULT = "onnxruntime/fp32,onnxruntime/int8,openvino/fp32"
_ROUNDS = 5


def engine(
    engines: Annotated[
        str, typer.Option("--engines", help="NAME or NAME/PRECISION with commas; those that cannot run are named.")
    ] = _DEFAULT,
    batches: Annotated[str, typer.Option("--batches", help="Segments a call, with commas.")] = "1,4,16,64",
    bundle: BundleOption = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Measured time a row.")] = 2.0,
    core: Annotated[int | None, typer.Option("--core", help="Pin this process to a core.")] = 0,
    results: Annotated[Path | None, typer.Option("--results", help="Append rows with machine and versions.")] = None,
    output_format: Annotated[
        Format | None, typer.Option("--format", help="Default: table on a terminal, csv when piped.")
    ] = None,
) -> None:
    """Time engines on the same features, in turns, so that a busy moment hits all of them.

    Features are made before; a stream has a segment every half second. The ratio is to the best batch of ONNX Runtime
    in float32 with one thread, in this run.
    """
    sizes = [int(size) for size in batches.split(",") if size.strip().isdigit()]
    if not sizes or min(sizes) < 1:
        raise ConfigError(f"--batches {batches}: give whole numbers with commas, for example 1,16")
    names = [name.strip() for name in engines.split(",") if name.strip()]
    loaded = load_bundle(bundle)
    with _pinned(core):
        rows = measure(load_engines(names, loaded), loaded, sizes, seconds)
    if results is not None:
        for row in rows:
            append_results(results, "engine", row)
    print_rows(rows, COLUMNS, choose_format(output_format))


@contextmanager
def _pinned(core: int | None) -> Iterator[None]:
    """This process, and the threads it starts meanwhile, on one core. Raises ConfigError where there is none such."""
    if core is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    if core not in before:
        raise ConfigError(f"--core {core}: this process may run on {', '.join(map(str, sorted(before)))}")
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def load_engines(names: Sequence[str], bundle: Bundle) -> dict[str, Engine]:
    """Engines by name, the baseline among them; one that cannot run here is told on stderr. Raises ConfigError."""
    engines: dict[str, Engine] = {}
    for name in dict.fromkeys([BASELINE, *(name if "/" in name else f"{name}/{FP32}" for name in names)]):
        try:
            made = make_engine(name, bundle)
            made.warm_up()
        except (BundleError, EngineError) as refused:
            print(f"bench engine: {name} is left out: {refused}", file=sys.stderr)
        else:
            engines[name] = made
    return engines


def measure(engines: Mapping[str, Engine], bundle: Bundle, sizes: Sequence[int], seconds: float) -> list[Row]:
    """Rows of COLUMNS, by engine and batch. Engines take turns in rounds; each row is timed for `seconds` in all."""
    features = bundle.manifest.features.build()
    shape = (max(sizes), features.frames(bundle.manifest.segment_samples), features.mel_bands)
    heard = np.random.default_rng(0).normal(-4.0, 3.0, shape).astype(np.float32)
    calls: dict[tuple[str, int], list[float]] = {(name, size): [] for name in engines for size in sizes}
    for size in sizes:
        for _ in range(_ROUNDS):
            for name, each in engines.items():
                calls[name, size].extend(_timed(each, heard[:size], seconds / _ROUNDS))
    rates = {cell: cell[1] / float(np.median(times)) for cell, times in calls.items()}
    best = max((rates[BASELINE, size] for size in sizes), default=float("nan")) if BASELINE in engines else None
    return [_row(engines[name], size, calls[name, size], best, bundle) for name, size in calls]


def _timed(engine_: Engine, features: Features, seconds: float) -> Iterator[float]:
    """Seconds of each call, until `seconds` have gone; at least two calls."""
    end, done = time.perf_counter() + seconds, 0
    while done < 2 or time.perf_counter() < end:
        started = time.perf_counter()
        engine_.score(features)
        yield time.perf_counter() - started
        done += 1


def _row(engine_: Engine, size: int, times: list[float], best: float | None, bundle: Bundle) -> dict[str, object]:
    described = engine_.describe()
    median, slow = (float(np.quantile(times, share)) for share in (0.5, 0.99))
    return {
        "engine": described.name,
        "precision": described.precision,
        "device": described.device,
        "version": described.version,
        "batch": size,
        "calls": len(times),
        "ms_per_segment": 1e3 * median / size,
        "segments_per_second": size / median,
        "streams_at_half_second": int(size / median * STRIDE_SAMPLES / SAMPLE_RATE_HZ),
        "call_p50_ms": 1e3 * median,
        "call_p99_ms": 1e3 * slow,
        "ratio_to_onnxruntime": None if best is None else size / median / best,
        "model_id": bundle.manifest.model_id,
    }
