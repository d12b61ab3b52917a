"""ONNX Runtime on a CPU: the default engine."""

from __future__ import annotations

import numpy as np
import onnxruntime

from livemos.agent.bundle import FP32, Bundle
from livemos.agent.engine.base import EngineDescription, Features, Outputs
from livemos.agent.errors import EngineError


class OnnxEngine:
    """Runs the bundle's graph with ONNX Runtime.

    Batches are cut into chunks of at most `largest_batch` segments: beyond 16 nothing is gained on a CPU and the cache
    is lost, and few shapes keep the runtime's arena small.
    """

    largest_batch = 16

    def __init__(self, bundle: Bundle, *, threads: int = 1, precision: str = FP32) -> None:
        """`threads` of the runtime inside one call. Raises EngineError when the graph cannot be loaded.

        BundleError where the bundle has no graph of that precision.
        """
        graph = bundle.graph_of(precision)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle cores belong to the bridge
        try:
            self._session = onnxruntime.InferenceSession(
                graph, sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as failure:  # the runtime has no common base class for its errors
            raise EngineError(f"{bundle.origin}: ONNX Runtime cannot load the graph: {failure}") from failure
        self._input = self._session.get_inputs()[0].name
        features = bundle.manifest.features.build()
        self._frames = features.frames(bundle.manifest.segment_samples)
        self._bands = features.mel_bands
        self._columns = len(bundle.manifest.outputs)
        self._precision = precision

    def score(self, features: Features) -> Outputs:
        """(B, T, F) float32 -> (B, K) float32; any B, also 0."""
        if features.shape[1:] != (self._frames, self._bands):
            raise ValueError(f"features are (B, {self._frames}, {self._bands}), got {features.shape}")
        outputs = np.empty((len(features), self._columns), np.float32)
        for start in range(0, len(features), self.largest_batch):
            chunk = slice(start, start + self.largest_batch)
            try:
                (outputs[chunk],) = self._session.run(None, {self._input: features[chunk]})
            except Exception as failure:  # as above
                raise EngineError(f"ONNX Runtime failed on a batch of {len(features[chunk])}: {failure}") from failure
        return outputs

    def warm_up(self) -> None:
        """Run the smallest and the largest batch once."""
        for batch in (1, self.largest_batch):
            self.score(np.zeros((batch, self._frames, self._bands), np.float32))

    def describe(self) -> EngineDescription:
        """Name, device, precision and version."""
        return EngineDescription(
            name="onnxruntime", device="CPU", precision=self._precision, version=onnxruntime.__version__
        )
