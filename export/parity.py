"""The same audio through the trained network and through the engine that will serve it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from livemos.agent.bundle import Bundle
from livemos.agent.engine.onnx_engine import OnnxEngine
from livemos.agent.errors import BundleError
from livemos.agent.features import LogMel
from livemos.agent.records import SAMPLE_RATE_HZ, SEGMENT_SAMPLES, Samples

LIMIT_MOS = 1e-3  # of every output, in its own unit
PARITY = "parity.json"
_SEED = 20
_PACKAGED = "demo_speech.flac"

Outputs = npt.NDArray[np.float32]


def fixed_audio() -> dict[str, Samples]:
    """Segments of (16,000,) float32 that are the same on every machine: synthetic ones, and the packaged speech."""
    rng = np.random.default_rng(_SEED)
    time = np.arange(SEGMENT_SAMPLES) / SAMPLE_RATE_HZ
    syllables = np.maximum(0.0, np.sin(2 * np.pi * 3.5 * time)) ** 2
    voice = syllables * sum(np.sin(2 * np.pi * 120.0 * k * time + k) / k for k in range(1, 30)) * 0.1
    hiss = rng.standard_normal(SEGMENT_SAMPLES)
    gated = voice * (np.arange(SEGMENT_SAMPLES) // 320 % 7 != 3)
    made = {
        "silence": np.zeros(SEGMENT_SAMPLES),
        "hiss": 0.05 * hiss,
        "tone": 0.3 * np.sin(2 * np.pi * 440.0 * time),
        "voice": voice,
        "voice, soft": 0.03 * voice,
        "voice with hiss": voice + 0.02 * hiss,
        "voice with lost packets": gated,
        "voice, clipped": np.clip(8.0 * voice, -0.5, 0.5),
    }
    return {name: samples.astype(np.float32) for name, samples in made.items()} | _packaged()


def _packaged() -> dict[str, Samples]:
    """The first segments of the speech that ships with the agent."""
    with resources.as_file(resources.files("livemos.agent") / "data" / _PACKAGED) as file:
        samples, rate_hz = soundfile.read(file, dtype="float32", always_2d=True)
    if rate_hz != SAMPLE_RATE_HZ:
        return {}
    starts = range(0, min(len(samples), 4 * SEGMENT_SAMPLES) - SEGMENT_SAMPLES + 1, SEGMENT_SAMPLES)
    return {
        f"{_PACKAGED} from {start}": np.ascontiguousarray(samples[start : start + SEGMENT_SAMPLES, 0])
        for start in starts
    }


def features_of(audio: Mapping[str, Samples], front_end: LogMel) -> npt.NDArray[np.float32]:
    """(B, T, F) in the order of `audio`."""
    return np.stack([front_end(samples) for samples in audio.values()])


def parity_document(names: list[str], outputs: Outputs) -> bytes:
    """What a bundle keeps: the network's own outputs, (B, K), by name of the audio."""
    rows = {name: [round(float(value), 6) for value in row] for name, row in zip(names, outputs, strict=True)}
    return (json.dumps({"limit": LIMIT_MOS, "outputs": rows}, indent=1) + "\n").encode()


def worst_difference(bundle: Bundle) -> float:
    """Largest difference between the bundle's recorded outputs and the engine on this machine. Raises BundleError."""
    if PARITY not in bundle.files:
        raise BundleError(f"model bundle {bundle.origin}: {PARITY} is missing; export it again")
    recorded: dict[str, Any] = json.loads(bundle.files[PARITY])["outputs"]
    audio = {name: samples for name, samples in fixed_audio().items() if name in recorded}
    if not audio:
        raise BundleError(f"model bundle {bundle.origin}: {PARITY} names no audio that is known here; export it again")
    heard = OnnxEngine(bundle).score(features_of(audio, bundle.manifest.features.build()))
    expected = np.array([recorded[name] for name in audio], np.float32)
    return float(np.abs(heard - expected).max())


def require_parity(bundle: Bundle) -> float:
    """The worst difference, where it is within the limit. Raises BundleError where it is not."""
    worst = worst_difference(bundle)
    if not worst <= LIMIT_MOS:
        raise BundleError(
            f"model bundle {bundle.origin}: the engine differs from the trained network by {worst:.2g}, "
            f"more than {LIMIT_MOS:g}; do not use it, and report versions of torch, onnx and onnxruntime"
        )
    return worst
