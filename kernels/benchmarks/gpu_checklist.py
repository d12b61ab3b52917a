"""All that waits for a GPU, in one run without network: writes one JSON line a finding, and goes on after a failure.

    python -m livemos.kernels.benchmarks.gpu_checklist --out rows.jsonl --seconds 460

Needs torch and triton alone. Agreement comes first; an operator that disagrees is not timed.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from livemos.kernels.benchmarks.registry import BENCHMARKS, speech_plan
from livemos.kernels.benchmarks.run import describe_machine, time_operator

Row = dict[str, Any]
SecondsLeft = Callable[[], float]

_TOLERANCE = {torch.float32: 2e-5, torch.float16: 1e-3, torch.bfloat16: 1e-2}
# the same inputs in a process with the interpreter on; what comes out is compared with the hardware's
_INTERPRETED = """
import sys, torch
from livemos.kernels.asp.fused import asp_fused
from livemos.kernels.benchmarks.asp_cases import awkward_cases
torch.save({c.name: asp_fused(c.h, c.e, c.lengths, c.epsilon)[0] for c in awkward_cases(quick=True)}, sys.argv[1])
"""


def inventory(_left: SecondsLeft) -> Iterator[Row]:
    """GPU, driver, versions, commit, clocks as they are."""
    yield describe_machine()


def agreement(left: SecondsLeft) -> Iterator[Row]:
    """Forward and backward against the definition in double precision, every case and type."""
    from livemos.kernels.benchmarks.asp_agreement import measure
    from livemos.kernels.benchmarks.asp_cases import awkward_cases

    for dtype, limit in _TOLERANCE.items():
        for case in awkward_cases():
            if left() <= 0.0:
                return
            errors = measure(case, dtype, "cuda")
            good = errors.finite and errors.padding_is_zero and errors.worst <= limit
            yield {"case": case.name, "dtype": str(dtype), "ok": good, "limit": limit, **dataclasses.asdict(errors)}


def interpreter_and_hardware(_left: SecondsLeft) -> Iterator[Row]:
    """Same inputs, both ways: more than 1e-5 would be TF32, bfloat16 sums, or an approximation nobody asked for."""
    from livemos.kernels.asp.fused import asp_fused
    from livemos.kernels.benchmarks.asp_cases import awkward_cases

    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "interpreted.pt")
        subprocess.run(
            [sys.executable, "-c", _INTERPRETED, file],
            check=True, timeout=90, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True,
        )  # fmt: skip
        interpreted = torch.load(file, weights_only=True)
    for case in awkward_cases(quick=True):
        expected = interpreted[case.name]
        got = asp_fused(case.h.cuda(), case.e.cuda(), case.lengths.cuda(), case.epsilon)[0].cpu()
        difference = float((got - expected).abs().max() / expected.abs().max().clamp_min(1e-30))
        yield {"case": case.name, "relative_difference": difference, "ok": difference <= 1e-5}


def ahead_of_time(_left: SecondsLeft) -> Iterator[Row]:
    """What this machine's compiler makes of every kernel for this GPU."""
    from livemos.kernels.benchmarks.ahead_of_time import all_usages

    major, minor = torch.cuda.get_device_capability()
    for usage in all_usages((10 * major + minor,)):
        spilled = usage.stack_bytes + usage.local_bytes > 0
        yield {"ok": not spilled and usage.registers <= usage.registers_limit, **dataclasses.asdict(usage)}


def log_mel_agreement(_left: SecondsLeft) -> Iterator[Row]:
    """Fused against plain torch in float64, with TF32 allowed around it."""
    from livemos.kernels.log_mel.fused import log_mel_fused
    from livemos.kernels.log_mel.reference import log_mel_reference

    plan = speech_plan(torch.device("cuda"))
    exact = dataclasses.replace(plan, window=plan.window.double(), filters=plan.filters.double())
    seconds = torch.arange(16_000, device="cuda") / 16_000
    noise = torch.randn(8, 16_000, generator=torch.Generator("cuda").manual_seed(0), device="cuda")
    signals = {
        "noise": (0.2 * noise, 1e-4),
        "tone over quiet noise": (0.5 * torch.sin(2 * torch.pi * 440 * seconds) + 3e-5 * noise, 1e-2),
        "silence": (0.0 * noise, 1e-6),
    }
    torch.backends.cuda.matmul.allow_tf32 = True
    for name, (signal, limit) in signals.items():
        integers = (signal * 32768).round().clamp(-32768, 32767).to(torch.int16)
        expected = log_mel_reference(integers.double() / 32768, exact)
        for way, call in (("fused", log_mel_fused), ("torch", log_mel_reference)):
            nats = float((call(integers, plan) - expected).abs().max())
            yield {"signal": name, "way": way, "nats": nats, "limit": limit, "ok": nats <= limit}
    torch.backends.cuda.matmul.allow_tf32 = False


def _tile_row(size: tuple[int, int, int], block_t: int, block_d: int, warps: int) -> Row:
    import triton.testing

    from livemos.kernels.asp.fused import asp_fused, asp_fused_backward

    h, e = torch.randn(size, device="cuda", dtype=torch.float16), torch.randn(size[:2], device="cuda")
    lengths = torch.full(size[:1], size[1], dtype=torch.int32, device="cuda")
    pooled, state = asp_fused(h, e, lengths, keep_state=True)

    def forward() -> object:
        return asp_fused(h, e, lengths, block_t=block_t, block_d=block_d, warps=warps)

    def backward() -> object:
        return asp_fused_backward(h, e, lengths, pooled, state, pooled, block_t=block_t, block_d=block_d, warps=warps)

    return {
        "size": list(size),
        "block_t": block_t,
        "block_d": block_d,
        "warps": warps,
        "forward_ms": triton.testing.do_bench(forward, rep=20),
        "backward_ms": triton.testing.do_bench(backward, rep=20),
    }


def tiles(left: SecondsLeft) -> Iterator[Row]:
    """Block sizes of the forward and the backward at three sizes, float16."""
    sizes = ((64, 25, 96), (4096, 25, 128), (4096, 100, 256))
    for size, block_t, block_d, warps in itertools.product(sizes, (16, 32, 64), (32, 64, 128), (4, 8)):
        if left() <= 0.0:
            return
        yield _tile_row(size, block_t, block_d, warps)


def chunks(_left: SecondsLeft) -> Iterator[Row]:
    """Segments a chunk of the features: what stays in the cache."""
    import triton.testing

    from livemos.kernels.log_mel.fused import log_mel_fused

    plan = speech_plan(torch.device("cuda"))
    samples = torch.randint(-8000, 8000, (4096, 16_000), device="cuda", dtype=torch.int16)
    for size in (64, 128, 256, 512, 4096):
        median = triton.testing.do_bench(lambda n=size: log_mel_fused(samples, plan, chunk_segments=n))
        yield {"chunk_segments": size, "segments": len(samples), "median_ms": median}


def captured_graph(_left: SecondsLeft) -> Iterator[Row]:
    """Features and pooling replayed from a CUDA graph, lengths changing, against eager."""
    from livemos.kernels.asp.fused import asp_fused
    from livemos.kernels.log_mel.fused import log_mel_fused

    plan = speech_plan(torch.device("cuda"))
    samples = torch.zeros(128, 16_000, dtype=torch.int16, device="cuda")
    lengths = torch.full((128,), 98, dtype=torch.int32, device="cuda")

    def work() -> torch.Tensor:
        mel = log_mel_fused(samples, plan)
        return asp_fused(mel, mel.mean(dim=2), lengths)[0]

    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = work()
    equal = True
    for replay in range(100):
        samples.random_(-8000, 8000)
        lengths.fill_(replay % 99)
        graph.replay()
        equal = equal and torch.equal(captured, work())
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(200):
        graph.replay()
    torch.cuda.synchronize()
    yield {"segments": 128, "ok": equal, "replay_ms": (time.perf_counter() - began) * 1000 / 200}


def timings(left: SecondsLeft) -> Iterator[Row]:
    """Every operator: fused, torch, torch.compile, copy."""
    for benchmark in BENCHMARKS.values():
        yield from time_operator(benchmark, left)


STEPS = (
    inventory, agreement, log_mel_agreement, captured_graph, ahead_of_time, chunks, timings, tiles,
    interpreter_and_hardware,
)  # fmt: skip


def main() -> int:
    """0 when every finding is ok, 1 when one is not, 2 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=460.0)
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        print("gpu_checklist: no CUDA device is here; nothing was run", file=sys.stderr)
        return 2
    end = time.monotonic() + asked.seconds
    failed = 0
    with asked.out.open("a", encoding="utf-8") as file:
        for step in STEPS:
            # what disagrees is not timed
            if failed and step in (chunks, timings, tiles):
                continue
            began = time.monotonic()
            rows = 0
            try:
                for row in step(lambda: end - time.monotonic()):
                    rows, failed = rows + 1, failed + (row.get("ok") is False)
                    file.write(json.dumps({"step": step.__name__, **row}) + "\n")
                    file.flush()
            # a machine is borrowed for minutes: the other steps still count
            except Exception as error:
                failed += 1
                file.write(json.dumps({"step": step.__name__, "ok": False, "error": repr(error)[:500]}) + "\n")
            print(f"{step.__name__}: {rows} rows, {time.monotonic() - began:.0f} s, {failed} failed so far", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
