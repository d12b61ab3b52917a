"""torch on a GPU: the bundle's graph with the Triton kernels, recorded as CUDA graphs; on a CPU the same, unrecorded.

For CUDA cards that TensorRT for RTX does not serve, and for large batches. On a GPU built, not executed (docs/gpu.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from livemos.agent.bundle import FP32, Bundle
from livemos.agent.engine.base import EngineDescription, Features, Outputs
from livemos.agent.engine.bucketed import Bucketed
from livemos.agent.engine.torch_graph import TorchGraph
from livemos.agent.engine.torch_runners import CudaGraphRunner, PlainRunner, Program
from livemos.agent.errors import EngineError
from livemos.agent.features import LogMel
from livemos.kernels.log_mel.plan import LogMelPlan
from livemos.kernels.operators import log_mel

CUDA_BUCKETS = (1, 8, 32, 128, 512, 2048)
CPU_BUCKETS = (1, 4, 16)


@dataclass(slots=True)
class _Lazy:
    """Made at the first use: most callers need features or audio, not both, and recording takes seconds."""

    make: Callable[[], Bucketed]
    made: Bucketed | None = field(default=None)

    def score(self, rows: npt.NDArray[np.generic]) -> Outputs:
        if self.made is None:
            self.made = self.make()
        return self.made.score(rows)


class TorchEngine:
    """Scores features as every engine does, and int16 audio with the features made on the device."""

    def __init__(self, bundle: Bundle, *, threads: int = 1, precision: str = FP32, device: str | None = None) -> None:
        """device: "cuda" where there is one, else "cpu". Raises EngineError for a graph it cannot run."""
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        on_gpu = self._device.type == "cuda"
        if on_gpu and not torch.cuda.is_available():
            raise EngineError("the torch engine was asked for a CUDA device, and none is here")
        if not on_gpu:
            torch.set_num_threads(threads)
        self._precision = precision
        self._network = TorchGraph(bundle.graph_of(precision)).eval().to(self._device)
        features = bundle.manifest.features.build()
        self._plan = log_mel_plan(features).to(self._device)
        self._samples = bundle.manifest.segment_samples
        self._shape = (features.frames(self._samples), features.mel_bands)
        buckets, columns = (CUDA_BUCKETS if on_gpu else CPU_BUCKETS), len(bundle.manifest.outputs)
        runner = CudaGraphRunner if on_gpu else PlainRunner
        self.largest_batch = buckets[-1]

        def bucketed(program: Program, row: tuple[int, ...], dtype: torch.dtype) -> Callable[[], Bucketed]:
            return lambda: Bucketed(runner(program, row, dtype, buckets), buckets, columns)

        self._from_features = _Lazy(bucketed(self._network, self._shape, torch.float32))
        self._from_audio = _Lazy(bucketed(self._hear, (self._samples,), torch.int16))

    def _hear(self, samples: Tensor) -> Tensor:
        outputs: Tensor = self._network(log_mel(samples, self._plan))
        return outputs

    def score(self, features: Features) -> Outputs:
        """(B, T, F) float32 -> (B, K) float32; any B, also 0. Raises EngineError."""
        if features.shape[1:] != self._shape:
            raise ValueError(f"features are (B, {self._shape[0]}, {self._shape[1]}), got {features.shape}")
        return self._run(self._from_features, features)

    def score_audio(self, samples: npt.NDArray[np.int16]) -> Outputs:
        """(B, N) int16 segments -> (B, K) float32; half the bytes of float32 on the way to a GPU."""
        if samples.dtype != np.int16 or samples.shape[1:] != (self._samples,):
            raise ValueError(f"audio is (B, {self._samples}) int16, got {samples.shape} {samples.dtype}")
        return self._run(self._from_audio, samples)

    def _run(self, scorer: _Lazy, rows: npt.NDArray[np.generic]) -> Outputs:
        try:
            return scorer.score(rows)
        except RuntimeError as failure:  # torch's own, out of memory among them
            reason = str(failure).partition("\n")[0]
            raise EngineError(f"the torch engine failed on a batch of {len(rows)}: {reason}") from failure

    def warm_up(self) -> None:
        """Record every graph, and run the smallest and the largest once."""
        for batch in (1, self.largest_batch):
            self.score(np.zeros((batch, *self._shape), np.float32))

    def describe(self) -> EngineDescription:
        """Name, device, precision and version."""
        on_gpu = self._device.type == "cuda"
        return EngineDescription(
            name="torch",
            device=torch.cuda.get_device_name(self._device) if on_gpu else "CPU",
            precision=self._precision,
            version=torch.__version__,
        )


def log_mel_plan(features: LogMel) -> LogMelPlan:
    """The agent's front end for the GPU's."""
    return LogMelPlan.build(
        torch.from_numpy(features.window),
        torch.from_numpy(features.filters),
        hop_samples=features.hop_samples,
        fft_samples=features.fft_samples,
        floor=features.floor,
    )
