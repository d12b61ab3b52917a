"""OpenVINO on a CPU, of the extra [openvino]: for machines where `livemos bench engine` shows that it pays."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.inliner
import openvino

from livemos.agent.bundle import FP32, Bundle
from livemos.agent.engine.base import EngineDescription, Features, Outputs
from livemos.agent.errors import EngineError


class OpenVinoEngine:
    """Runs the bundle's graph with OpenVINO. One stream, arithmetic in float32: its own default is bfloat16."""

    largest_batch = 16

    def __init__(self, bundle: Bundle, *, threads: int = 1, precision: str = FP32) -> None:
        """Raises EngineError when the graph cannot be loaded, BundleError where there is none of that precision.

        The graph in 8 bits is refused: OpenVINO misreads what is quantised about a ReLU, and its MOS is 0.6 (RMS) off.
        """
        if precision == "int8":
            raise EngineError(
                "openvino/int8: OpenVINO computes this graph wrongly; choose openvino or onnxruntime/int8"
            )
        graph = bundle.graph_of(precision)
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            # its reader knows no functions inside a model
            plain = onnx.inliner.inline_local_functions(onnx.load_from_string(graph)).SerializeToString()
            core: Any = openvino.Core()
            compiled = core.compile_model(core.read_model(plain), "CPU", settings)
            self._request = compiled.create_infer_request()
        except Exception as failure:  # the runtime raises RuntimeError and its subclasses, onnx its own
            raise EngineError(f"{bundle.origin}: OpenVINO cannot load the graph: {failure}") from failure
        features = bundle.manifest.features.build()
        self._shape = (features.frames(bundle.manifest.segment_samples), features.mel_bands)
        self._columns = len(bundle.manifest.outputs)
        self._precision = precision

    def score(self, features: Features) -> Outputs:
        """(B, T, F) float32 -> (B, K) float32; any B, also 0."""
        if features.shape[1:] != self._shape:
            raise ValueError(f"features are (B, {self._shape[0]}, {self._shape[1]}), got {features.shape}")
        outputs = np.empty((len(features), self._columns), np.float32)
        for start in range(0, len(features), self.largest_batch):
            chunk = slice(start, start + self.largest_batch)
            try:
                outputs[chunk] = self._request.infer({0: np.ascontiguousarray(features[chunk])})[0]
            except RuntimeError as failure:
                raise EngineError(f"OpenVINO failed on a batch of {len(features[chunk])}: {failure}") from failure
        return outputs

    def warm_up(self) -> None:
        """Run the smallest and the largest batch once."""
        for batch in (1, self.largest_batch):
            self.score(np.zeros((batch, *self._shape), np.float32))

    def describe(self) -> EngineDescription:
        """Name, device, precision and version."""
        version = openvino.__version__.partition("-")[0]
        return EngineDescription(name="openvino", device="CPU", precision=self._precision, version=version)
