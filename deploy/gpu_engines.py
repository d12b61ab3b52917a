"""The engines on a GPU, for the checklist: agreement with the CPU, then segments a second; one JSON line a finding.

Needs what the agent needs, and the extra [gpu]; TensorRT for RTX where it is installed. Built, not executed
(docs/gpu-checklist.md).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from livemos.agent.bundle import Bundle, load_bundle
from livemos.agent.engine import make_engine
from livemos.agent.records import SAMPLE_RATE_HZ, STRIDE_SAMPLES

Row = dict[str, Any]
SecondsLeft = Callable[[], float]
_LIMITS_MOS = {"fp32": 1e-3, "fp16": 0.05}
_BATCHES = (1, 8, 32, 128, 512, 2048, 8192)
_SECONDS_A_BATCH = 3.0


def audio(segments: int, samples: int) -> np.ndarray:
    """int16 noise in bursts, from soft to loud: rows differ."""
    rng = np.random.default_rng(0)
    level = np.geomspace(30, 8_000, segments)[:, None] * (np.sin(np.arange(samples) / 700) ** 2)
    return np.clip(level * rng.standard_normal((segments, samples)), -32_768, 32_767).astype(np.int16)


def torch_agreement(bundle: Bundle, _left: SecondsLeft) -> Iterator[Row]:
    """Recorded graphs of every precision against the same graph on the CPU, batches of many sizes."""
    from livemos.agent.engine.torch_engine import TorchEngine

    heard = audio(600, bundle.manifest.segment_samples)
    plain = TorchEngine(bundle, device="cpu").score_audio(heard)
    for precision in (name for name in bundle.manifest.graph_files() if name in _LIMITS_MOS):
        engine = TorchEngine(bundle, device="cuda", precision=precision)
        for count in (1, 3, 600, 7, 129):
            apart = float(np.abs(engine.score_audio(heard[:count]) - plain[:count]).max())
            good = apart <= _LIMITS_MOS[precision]
            yield {
                "precision": precision,
                "segments": count,
                "largest": apart,
                "ok": good,
                "device": str(engine.describe()),
            }


def torch_speed(bundle: Bundle, left: SecondsLeft) -> Iterator[Row]:
    """From int16 audio in ordinary memory to scores: pinned copy, upload, features, network, download."""
    from livemos.agent.engine.torch_engine import TorchEngine

    heard = audio(max(_BATCHES), bundle.manifest.segment_samples)
    for precision in (name for name in bundle.manifest.graph_files() if name in _LIMITS_MOS):
        engine = TorchEngine(bundle, device="cuda", precision=precision)
        for batch in _BATCHES:
            if left() <= 0.0:
                return
            engine.score_audio(heard[:batch])
            times, end = [], time.perf_counter() + min(_SECONDS_A_BATCH, left())
            while time.perf_counter() < end or len(times) < 3:
                began = time.perf_counter()
                engine.score_audio(heard[:batch])
                times.append(time.perf_counter() - began)
            median, slow = (float(np.quantile(times, share)) for share in (0.5, 0.99))
            yield {
                "precision": precision, "batch": batch, "calls": len(times),
                "p50_ms": 1e3 * median, "p99_ms": 1e3 * slow,
                "segments_per_second": batch / median,
                "streams_at_half_second": int(batch / median * STRIDE_SAMPLES / SAMPLE_RATE_HZ),
                "memory_mib": torch.cuda.max_memory_allocated() / 2**20,
            }  # fmt: skip


def tensorrt_rtx(bundle: Bundle, _left: SecondsLeft) -> Iterator[Row]:
    """Plans loaded and run, against the CPU; on a GPU they are not for, the refusal."""
    from livemos.agent.engine.torch_engine import TorchEngine

    features = bundle.manifest.features.build()(
        audio(40, bundle.manifest.segment_samples).astype(np.float32) / 32_768.0
    )
    plain = TorchEngine(bundle, device="cpu").score(features)
    for precision in (name for name in bundle.manifest.graph_files() if name in _LIMITS_MOS):
        engine = make_engine(f"tensorrt-rtx/{precision}", bundle)
        engine.warm_up()
        for count in (1, 16, 40):
            apart = float(np.abs(engine.score(features[:count]) - plain[:count]).max())
            good = apart <= _LIMITS_MOS[precision]
            yield {"precision": precision, "segments": count, "largest": apart, "ok": good}


STEPS = (torch_agreement, torch_speed, tensorrt_rtx)


def main() -> int:
    """0 when every finding is ok, 1 when one is not, 2 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=120.0)
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        print("gpu_engines: no CUDA device is here; nothing was run", file=sys.stderr)
        return 2
    end, failed = time.monotonic() + asked.seconds, 0
    bundle = load_bundle(asked.bundle)
    with asked.out.open("a", encoding="utf-8") as file:
        for step in STEPS:
            if failed and step is torch_speed:  # what disagrees is not timed
                continue
            try:
                for row in step(bundle, lambda: end - time.monotonic()):
                    failed += row.get("ok") is False
                    file.write(json.dumps({"step": step.__name__, "model_id": bundle.manifest.model_id, **row}) + "\n")
                    file.flush()
            # a machine is borrowed for minutes: the other steps still count
            except Exception as error:
                failed += step is not tensorrt_rtx  # the machine may have another GPU than its plans are for
                file.write(json.dumps({"step": step.__name__, "ok": False, "error": repr(error)[:500]}) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
