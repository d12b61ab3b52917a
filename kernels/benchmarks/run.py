"""Times operators on a GPU: fused, plain torch, `torch.compile`, and a copy of as many bytes, in the same run.

Nothing is timed without a GPU, or while a test of the operator is red: a fast wrong answer is no result.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from livemos.kernels.benchmarks.registry import BENCHMARKS, Benchmark


class BenchmarkRefusedError(Exception):
    """Nothing was timed; the message is one line that says why."""


def require_gpu() -> torch.device:
    """The first CUDA device, or a refusal."""
    if not torch.cuda.is_available():
        raise BenchmarkRefusedError("no CUDA device is here: kernels are timed on a GPU or not at all")
    return torch.device("cuda")


def require_green(benchmark: Benchmark, tests: Path) -> None:
    """Runs the operator's tests; a refusal where one fails or is missing."""
    files = [tests / name for name in benchmark.tests]
    missing = [str(file) for file in files if not file.exists()]
    if missing:
        raise BenchmarkRefusedError(f"{benchmark.operator}: its tests are not at {missing[0]}; run in a checkout")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *map(str, files)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    if ran.returncode != 0:
        last = (ran.stdout.strip() or ran.stderr.strip()).splitlines()[-1:]
        raise BenchmarkRefusedError(f"{benchmark.operator}: its tests are red, nothing was timed ({' '.join(last)})")


def _output_of(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def describe_machine() -> dict[str, Any]:
    """What a figure means nothing without: GPU, driver, versions, commit."""
    import triton

    present = torch.cuda.is_available()
    driver = _output_of("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").splitlines()
    return {
        "gpu": torch.cuda.get_device_name() if present else None,
        "compute_capability": ".".join(map(str, torch.cuda.get_device_capability())) if present else None,
        "driver": driver[0] if driver else "unknown",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "triton": triton.__version__,
        "commit": _output_of("git", "rev-parse", "--short=12", "HEAD"),
    }


def _milliseconds(call: Callable[[], Any]) -> dict[str, float]:
    import triton.testing

    median, low, high = triton.testing.do_bench(call, quantiles=[0.5, 0.2, 0.8])
    return {"median_ms": median, "p20_ms": low, "p80_ms": high}


def _ways(benchmark: Benchmark, size: tuple[int, ...], dtype: torch.dtype) -> tuple[dict[str, Any], int]:
    device = require_gpu()
    work = benchmark.prepare(size, dtype, device)
    # a copy of N bytes reads N and writes N, so half of the operator's bytes
    source = torch.zeros(max(1, work.moved_bytes // 2), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    torch.compiler.reset()
    ways = {
        "fused": work.fused,
        "torch": work.reference,
        "torch.compile": torch.compile(work.reference),
        "copy": lambda: target.copy_(source),
    }
    return ways, work.moved_bytes


def time_operator(benchmark: Benchmark, seconds_left: Callable[[], float] = lambda: 1e9) -> Iterator[dict[str, Any]]:
    """One row a size, type and way; stops between sizes when the time is over."""
    require_gpu()
    machine = describe_machine()
    for size in benchmark.sizes:
        for dtype in benchmark.dtypes:
            if seconds_left() <= 0.0:
                return
            ways, moved_bytes = _ways(benchmark, size, dtype)
            for way, call in ways.items():
                timed = _milliseconds(call)
                yield {
                    "operator": benchmark.operator,
                    "way": way,
                    "size": list(size),
                    "axes": benchmark.axes,
                    "dtype": str(dtype).removeprefix("torch."),
                    "moved_bytes": moved_bytes,
                    "gigabytes_per_second": moved_bytes / timed["median_ms"] / 1e6,
                    **timed,
                    **machine,
                }


def run(operators: Iterable[str], tests: Path, results: Path) -> Iterator[dict[str, Any]]:
    """Tests, then times the operators; each row is appended to `results` (JSONL) as it comes."""
    require_gpu()
    for operator in operators:
        benchmark = BENCHMARKS[operator]
        require_green(benchmark, tests)
        results.parent.mkdir(parents=True, exist_ok=True)
        for row in time_operator(benchmark):
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            yield row
