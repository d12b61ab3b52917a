"""Runs in a process of its own: log-mel of `livemos.kernels` against the agent's features on the same signals.

Prints one line a signal: largest difference in nats, plain torch and fused, from int16 and float32 samples.
"""

from __future__ import annotations

import json

import numpy as np
import torch
from scipy.signal import lfilter

from livemos.agent.features import LogMel
from livemos.kernels.log_mel.fused import log_mel_fused
from livemos.kernels.log_mel.plan import LogMelPlan
from livemos.kernels.log_mel.reference import log_mel_reference
from livemos.kernels.operators import log_mel


def signals() -> dict[str, np.ndarray]:
    """One second each at 16 kHz, whole 16-bit steps, so that int16 and float32 are the same signal."""
    random = np.random.default_rng(0)
    seconds = np.arange(16_000) / 16_000
    white = random.standard_normal(16_000)
    voiced = lfilter([1.0], [1.0, -1.6, 0.85], np.sin(2 * np.pi * 120 * seconds) > 0.97)
    made = {
        "noise": 0.3 * white,
        "quiet noise": 1e-4 * white,
        "speech-like": 0.1 * voiced * (1.0 + np.sin(2 * np.pi * 4 * seconds)) + 1e-3 * white,
        "440 Hz over quiet noise": 0.5 * np.sin(2 * np.pi * 440 * seconds) + 3e-5 * white,
        "two tones": 0.4 * np.sin(2 * np.pi * 1000 * seconds) + 0.4 * np.sin(2 * np.pi * 3100 * seconds),
        "line with an offset": 0.2 + 1e-3 * white,
        "silence": np.zeros(16_000),
    }
    return {name: np.clip(np.rint(x * 32768.0), -32768, 32767).astype(np.int16) for name, x in made.items()}


def plan_of(features: LogMel) -> LogMelPlan:
    """The agent's own window and filters, as a bundle's loader would hand them over."""
    return LogMelPlan.build(
        torch.from_numpy(features.window),
        torch.from_numpy(features.filters),
        hop_samples=features.hop_samples,
        fft_samples=features.fft_samples,
        floor=features.floor,
    )


def main() -> None:
    features = LogMel()
    plan = plan_of(features)
    made = signals()
    for name, integers in made.items():
        floats = integers.astype(np.float32) / np.float32(32768.0)
        expected = features(floats[None])
        got = {
            "reference": log_mel_reference(torch.from_numpy(floats[None]), plan),
            "reference_int16": log_mel_reference(torch.from_numpy(integers[None]), plan),
            "fused_int16": log_mel_fused(torch.from_numpy(integers[None]), plan),
        }
        if name in {"noise", "two tones"}:
            got["fused"] = log_mel_fused(torch.from_numpy(floats[None]), plan)
        row = {key: float(np.abs(value.numpy() - expected).max()) for key, value in got.items()}
        print(json.dumps({"signal": name, "shape": list(got["fused_int16"].shape), **row}))
    batch = torch.from_numpy(np.stack(list(made.values())))[:, :4_000]
    whole, chunked = log_mel(batch, plan), log_mel_fused(batch, plan, chunk_segments=3)
    print(json.dumps({"signal": "batch", "chunks_are_equal": torch.equal(whole, chunked), "rows": len(whole)}))
    odd = LogMel(window_samples=320, hop_samples=100, mel_bands=40, floor=1e-6)
    cut = made["noise"][:5_000].astype(np.float32) / np.float32(32768.0)
    difference = log_mel_fused(torch.from_numpy(cut[None]), plan_of(odd)).numpy() - odd(cut[None])
    print(json.dumps({"signal": "other parameters", "fused": float(np.abs(difference).max())}))


if __name__ == "__main__":
    main()
