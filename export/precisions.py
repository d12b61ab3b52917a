"""The graphs of one network: float32, half precision, and 8 bits where these pass on speech."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import nn

from livemos.agent.bundle import FP32, GRAPH, GraphSpec
from livemos.agent.features import LogMel
from livemos.export.calibration import CalibrationSpeech, calibration_speech
from livemos.export.parity import LIMIT_SPEECH_RMS_MOS, LIMITS_MOS, difference, features_of, fixed_audio
from livemos.export.to_half import to_half
from livemos.export.to_int8 import OPERATORS, to_int8

HALF, INT8 = "model.fp16.onnx", "model.int8.onnx"

Outputs = npt.NDArray[np.float32]
Report = Callable[[str], None]


def make_graphs(
    model: nn.Module,
    graph: bytes,
    front_end: LogMel,
    outputs: tuple[str, ...],
    calibration: Path | None,
    report: Report,
) -> list[tuple[GraphSpec, bytes]]:
    """The float32 graph, the one in half precision, and the int8 one where a way of making it passes."""
    report("float16 graph")
    graphs = [(_spec(GRAPH, FP32), graph), (_spec(HALF, "fp16"), to_half(graph))]
    if calibration is None:
        report("no int8 graph: no --calibration was given")
        return graphs
    report(f"int8 graph, scales from {calibration}")
    speech = calibration_speech(calibration, front_end)
    fixed = features_of(fixed_audio(), front_end)
    for operators in OPERATORS:
        made = to_int8(graph, speech.setting, operators)
        on_speech = speech_rms_mos(model, made, speech, outputs.index("mos"))
        on_fixed = difference("int8", run_graph(made, fixed), run_network(model, fixed), _in_mos(outputs))
        kinds = ", ".join(operators)
        report(f"int8 in {kinds}: {on_speech:.3f} MOS (RMS) on other speech, {on_fixed.rms_mos:.3f} on the fixed audio")
        if on_speech <= LIMIT_SPEECH_RMS_MOS and on_fixed.is_within:
            return [*graphs, (_spec(INT8, "int8", round(on_speech, 6)), made)]
    limit = min(LIMIT_SPEECH_RMS_MOS, LIMITS_MOS["int8"][0])
    report(f"no int8 graph: all ways of making it are further than {limit:g} MOS from the network")
    return graphs


def speech_rms_mos(model: nn.Module, graph: bytes, speech: CalibrationSpeech, mos: int) -> float:
    """Root mean square difference of the output "mos", column `mos`, on speech that no scale was set by."""
    apart = run_graph(graph, speech.judging)[:, mos] - run_network(model, speech.judging)[:, mos]
    return float(np.sqrt(np.mean(np.square(apart, dtype=np.float64))))


def run_network(model: nn.Module, features: npt.NDArray[np.float32]) -> Outputs:
    """The network in torch, float32: (B, T, F) -> (B, K)."""
    with torch.no_grad():
        outputs: Outputs = model.eval()(torch.from_numpy(features)).numpy()
    return outputs


def run_graph(graph: bytes, features: npt.NDArray[np.float32]) -> Outputs:
    """A graph in ONNX Runtime: (B, T, F) -> (B, K)."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    outputs: Outputs = session.run(None, {session.get_inputs()[0].name: features})[0]
    return outputs


def _in_mos(outputs: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    """Which columns count as MOS while a graph is chosen; the bundle's own parity asks the manifest."""
    return np.array([name != "speech_ratio" and not name.startswith("cause") for name in outputs])


def _spec(file: str, precision: str, speech_rms: float | None = None) -> GraphSpec:
    """A graph before its parity was measured."""
    return GraphSpec.model_validate(
        {"file": file, "precision": precision, "rms_mos": 0.0, "max_mos": 0.0, "speech_rms_mos": speech_rms}
    )
