"""A small real bundle whose answers one can work out: an ONNX graph of the mean of the log-mel features alone.

With d the distance of that mean from the one of white noise at 0.05: mos is 3 - d / 10, the share of speech
0.5 + d / 10, noisiness constant, and of the causes NOISE has the logit -d, LEVEL has d, all others have -2. So loud
noise is a matter of level, soft noise a matter of noise, and the loud one counts as more speech. The columns stand in
an order of the graph's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from livemos.agent.bundle import (
    GRAPH,
    REQUIRED_OUTPUTS,
    FeatureSpec,
    GateSpec,
    Manifest,
    OutputSpec,
    model_id,
    sha256,
    write_bundle,
)
from livemos.agent.causes import CAUSE_OUTPUTS, CAUSES, Cause
from livemos.agent.features import LogMel

NOISINESS = 3.0
MINIMUM_SPEECH_RATIO = 0.1
_OTHER_LOGIT = -2.0
_SLOPES = {"mos": -0.1, "speech_ratio": 0.1}
_OFFSETS = {"mos": 3.0, "speech_ratio": 0.5, "mos_std": 0.5, "noisiness": NOISINESS}
_LIMITS = {"speech_ratio": ("ratio", 0.0, 1.0), "mos_std": ("MOS", 0.0, 4.0)}


def white(level: float, seconds: float = 1.0, seed: int = 0) -> npt.NDArray[np.float32]:
    """Gaussian noise at 16 kHz."""
    rng = np.random.default_rng(seed)
    return (level * rng.standard_normal(round(16_000 * seconds))).astype(np.float32)


def distance(segment: npt.NDArray[np.float32]) -> float:
    """d of one segment (16000,)."""
    log_mel = LogMel()
    return float(log_mel(segment[None]).mean() - log_mel(white(0.05)[None]).mean())


def expected_causes(segment: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """(9,) probabilities that the graph gives for one segment, in the order of CAUSES."""
    d = distance(segment)
    odds = np.exp([{Cause.NOISE: -d, Cause.LEVEL: d}.get(cause, _OTHER_LOGIT) for cause in CAUSES])
    return np.asarray(odds / odds.sum())


def write_cause_bundle(path: Path, *, causes: Sequence[str] = CAUSE_OUTPUTS) -> Path:
    """The bundle at `path`, with the named causes among its outputs; () for a bundle without."""
    names = [*reversed(REQUIRED_OUTPUTS), *reversed(causes)]
    graph = _graph(causes)
    limits = dict.fromkeys(causes, ("ratio", 0.0, 1.0)) | _LIMITS
    manifest = Manifest(
        name="causes",
        version="1",
        model_id=model_id("causes", "1", sha256(graph)),
        licence="Apache-2.0",
        sample_rate_hz=16_000,
        segment_samples=16_000,
        stride_samples=8_000,
        features=FeatureSpec(**LogMel().parameters()),
        outputs=tuple(
            OutputSpec(name=name, unit=unit, minimum=low, maximum=high)
            for name in names
            for unit, low, high in [limits.get(name, ("MOS", 1.0, 5.0))]
        ),
        gate=GateSpec(minimum_speech_ratio=MINIMUM_SPEECH_RATIO),
        opset=18,
        files={GRAPH: sha256(graph)},
    )
    write_bundle(path, manifest, {GRAPH: graph})
    return path


def _graph(causes: Sequence[str]) -> bytes:
    """features (B, T, F) -> (B, 7 + causes): both halves are a line of d, the causes through a softmax."""
    front_end = LogMel()
    middle = float(front_end(white(0.05)[None]).mean())
    scores = [*reversed(REQUIRED_OUTPUTS)]
    logits = {"cause_noise": (-1.0, 0.0), "cause_level": (1.0, 0.0)}
    lines = {
        "scores": [(_SLOPES.get(name, 0.0), _OFFSETS.get(name, 4.0)) for name in scores],
        "logits": [logits.get(name, (0.0, _OTHER_LOGIT)) for name in reversed(causes)],
    }
    constants = {"axes": np.array([1, 2]), "middle": np.array([middle], np.float32)}
    nodes = [
        onnx.helper.make_node("ReduceMean", ["features", "axes"], ["mean"], keepdims=0),
        onnx.helper.make_node("Sub", ["mean", "middle"], ["distance"]),
        onnx.helper.make_node("Unsqueeze", ["distance", "last"], ["column"]),
    ]
    constants["last"] = np.array([1])
    for name, line in lines.items():
        if line:
            constants[f"{name}_slope"], constants[f"{name}_offset"] = np.array(line, np.float32).T[:, None]
            nodes.append(onnx.helper.make_node("MatMul", ["column", f"{name}_slope"], [f"{name}_rise"]))
            nodes.append(onnx.helper.make_node("Add", [f"{name}_rise", f"{name}_offset"], [name]))
    halves = ["scores"]
    if causes:
        nodes.append(onnx.helper.make_node("Softmax", ["logits"], ["causes"], axis=1))
        halves.append("causes")
    nodes.append(onnx.helper.make_node("Concat", halves, ["outputs"], axis=1))
    frames, bands = front_end.frames(16_000), front_end.mel_bands
    kind = onnx.TensorProto.FLOAT
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            nodes,
            "causes",
            [onnx.helper.make_tensor_value_info("features", kind, ["B", frames, bands])],
            [onnx.helper.make_tensor_value_info("outputs", kind, ["B", len(scores) + len(causes)])],
            [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
