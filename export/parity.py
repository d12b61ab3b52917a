"""The same audio through the trained network and through the engine that will serve it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from livemos.agent.bundle import FP32, Bundle
from livemos.agent.engine.onnx_engine import OnnxEngine
from livemos.agent.errors import BundleError
from livemos.agent.features import LogMel
from livemos.agent.records import SAMPLE_RATE_HZ, SEGMENT_SAMPLES, Samples
from livemos.export.calibration import damaged

LIMIT_MOS = 1e-3  # of every output of the float32 graph, in its own unit
# root mean square and largest difference of the outputs in MOS, for a graph of that precision to be shipped
LIMITS_MOS = {"fp32": (1e-4, 1e-3), "fp16": (0.01, 0.05), "int8": (0.05, 0.3)}
LIMIT_SPEECH_RMS_MOS = 0.05
PARITY = "parity.json"
_SEED = 20
_PACKAGED = "demo_speech.flac"
_UNDAMAGED = 4  # segments

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
    return {name: samples.astype(np.float32) for name, samples in made.items()} | _packaged(rng)


def _packaged(rng: np.random.Generator) -> dict[str, Samples]:
    """The first segments of the speech that ships with the agent, and those after them damaged in simple ways."""
    with resources.as_file(resources.files("livemos.agent") / "data" / _PACKAGED) as file:
        samples, rate_hz = soundfile.read(file, dtype="float32", always_2d=True)
    if rate_hz != SAMPLE_RATE_HZ:
        return {}
    whole = len(samples) // SEGMENT_SAMPLES
    segments = np.ascontiguousarray(samples[: whole * SEGMENT_SAMPLES, 0]).reshape(whole, SEGMENT_SAMPLES)
    heard = {f"{_PACKAGED} from {k * SEGMENT_SAMPLES}": segments[k] for k in range(_UNDAMAGED)}
    for k in range(_UNDAMAGED, whole):
        made = damaged(segments[k], rng)
        heard |= {f"{_PACKAGED} from {k * SEGMENT_SAMPLES}, {name}": each for name, each in made.items()}
    return heard


def features_of(audio: Mapping[str, Samples], front_end: LogMel) -> npt.NDArray[np.float32]:
    """(B, T, F) in the order of `audio`."""
    return np.stack([front_end(samples) for samples in audio.values()])


def parity_document(names: list[str], outputs: Outputs) -> bytes:
    """What a bundle keeps: the network's own outputs, (B, K), by name of the audio."""
    rows = {name: [round(float(value), 6) for value in row] for name, row in zip(names, outputs, strict=True)}
    return (json.dumps({"limit": LIMIT_MOS, "outputs": rows}, indent=1) + "\n").encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A graph against the network: of the outputs in MOS, and the largest of any output in its own unit."""

    precision: str
    rms_mos: float
    max_mos: float
    max_any: float

    @property
    def is_within(self) -> bool:
        """Whether a graph of this precision may be served. NaN may not."""
        rms, largest = LIMITS_MOS[self.precision]
        exact = self.precision != FP32 or self.max_any <= LIMIT_MOS
        return self.rms_mos <= rms and self.max_mos <= largest and exact


def difference(precision: str, heard: Outputs, expected: Outputs, in_mos: npt.NDArray[np.bool_]) -> Difference:
    """Outputs (B, K) of an engine against those of the network; `in_mos` (K,) tells which columns are in MOS."""
    apart = np.abs(heard.astype(np.float64) - expected)
    mos = apart[:, in_mos]
    return Difference(
        precision=precision,
        rms_mos=float(np.sqrt(np.mean(mos**2))),
        max_mos=float(mos.max()),
        max_any=float(apart.max()),
    )


def differences(bundle: Bundle) -> list[Difference]:
    """Each graph of the bundle, run on this machine, against the recorded outputs. Raises BundleError, EngineError."""
    if PARITY not in bundle.files:
        raise BundleError(f"model bundle {bundle.origin}: {PARITY} is missing; export it again")
    recorded: dict[str, Any] = json.loads(bundle.files[PARITY])["outputs"]
    audio = {name: samples for name, samples in fixed_audio().items() if name in recorded}
    if not audio:
        raise BundleError(f"model bundle {bundle.origin}: {PARITY} names no audio that is known here; export it again")
    features = features_of(audio, bundle.manifest.features.build())
    expected = np.array([recorded[name] for name in audio], np.float32)
    in_mos = np.array([output.unit == "MOS" for output in bundle.manifest.outputs])
    return [
        difference(precision, OnnxEngine(bundle, precision=precision).score(features), expected, in_mos)
        for precision in bundle.manifest.graph_files()
    ]


def worst_difference(bundle: Bundle) -> float:
    """Largest difference of the float32 graph on this machine. Raises BundleError."""
    return differences(bundle)[0].max_any


def require_parity(bundle: Bundle) -> list[Difference]:
    """The differences, where all are within their limits. Raises BundleError where one is not."""
    found = differences(bundle)
    for each in found:
        if not each.is_within:
            rms, largest = LIMITS_MOS[each.precision]
            raise BundleError(
                f"model bundle {bundle.origin}: the {each.precision} engine differs from the trained network by "
                f"{each.rms_mos:.2g} MOS (RMS) and {each.max_any:.2g} at most, more than {rms:g} and {largest:g}; "
                f"do not use it, and report versions of torch, onnx and onnxruntime"
            )
    return found
