"""TensorRT for RTX on a GPU, from a plan that `livemos export --plans` built. Built, not executed (docs/gpu.md)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import torch

from livemos.agent.bundle import FP32, Bundle
from livemos.agent.engine.base import EngineDescription, Features, Outputs
from livemos.agent.engine.plans import PlanCache, PlanSettings, default_folder, publish, read_plan, sha256_of
from livemos.agent.errors import EngineError

_CAPABILITIES = ("8.0", "8.6", "8.9", "12.0")  # what TensorRT for RTX builds for


def load_plan(module: Any, logger: Any, plan: bytes, settings: PlanSettings, *, origin: str, rebuild: str) -> Any:
    """The engine of a plan. Raises EngineError where the runtime refuses it or its profiles are not those wanted."""
    engine = module.Runtime(logger).deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineError(
            f"plan {origin}: {settings.runtime} {settings.version} cannot load it on this machine "
            f"({logger.said() or 'it did not say why'}); with a GPU and its driver, build it again with: {rebuild}"
        )
    if engine.num_optimization_profiles != len(settings.buckets):
        raise EngineError(
            f"plan {origin}: it has {engine.num_optimization_profiles} profiles instead of {len(settings.buckets)}; "
            f"build it again with: {rebuild}"
        )
    return engine


def _logger(module: Any) -> Any:
    class Logger(module.ILogger):  # type: ignore[misc]  # a base without types
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self._last = ""

        def log(self, severity: Any, message: str) -> None:
            if severity <= module.ILogger.ERROR:
                self._last = " ".join(message.split())

        def said(self) -> str:
            return self._last

    return Logger()


class TensorRtEngine:
    """Runs a plan in its profiles' batches; one stream, buffers of the largest batch made once."""

    def __init__(self, bundle: Bundle, *, threads: int = 1, precision: str = FP32) -> None:
        """Raises EngineError without a GPU, without a plan, or where the plan does not fit; `threads` means nothing."""
        module = import_module("tensorrt_rtx")
        graph_sha256 = sha256_of(bundle.graph_of(precision))
        self._settings = PlanSettings(
            runtime="tensorrt-rtx",
            version=str(module.__version__),
            precision=precision,
            compute_capabilities=_CAPABILITIES,
        )
        rebuild = f"livemos export --plans {bundle.origin}"
        path = PlanCache(default_folder()).path(graph_sha256, self._settings)
        device = None
        if torch.cuda.is_available():
            device = ".".join(map(str, torch.cuda.get_device_capability()))
        plan = read_plan(path, graph_sha256, self._settings, device=device, rebuild=rebuild)
        self._engine = load_plan(module, _logger(module), plan, self._settings, origin=str(path), rebuild=rebuild)
        # kernels are compiled for this very GPU on first use; the next start finds them here
        self._kept = path.with_suffix(".runtime-cache")
        config = self._engine.create_runtime_config()
        self._runtime_cache = config.create_runtime_cache()
        if self._kept.exists():
            self._runtime_cache.deserialize(self._kept.read_bytes())
        config.set_runtime_cache(self._runtime_cache)
        self._context = self._engine.create_execution_context(config)
        features = bundle.manifest.features.build()
        self._shape = (features.frames(bundle.manifest.segment_samples), features.mel_bands)
        self.largest_batch = self._settings.buckets[-1]
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch has no types for it
        self._given = torch.empty((self.largest_batch, *self._shape), dtype=torch.float32, device="cuda")
        self._made = torch.empty((self.largest_batch, len(bundle.manifest.outputs)), device="cuda")

    def score(self, features: Features) -> Outputs:
        """(B, T, F) float32 -> (B, K) float32; any B, also 0."""
        if features.shape[1:] != self._shape:
            raise ValueError(f"features are (B, {self._shape[0]}, {self._shape[1]}), got {features.shape}")
        outputs = np.empty((len(features), self._made.shape[1]), np.float32)
        for start in range(0, len(features), self.largest_batch):
            chunk = slice(start, start + self.largest_batch)
            outputs[chunk] = self._run(features[chunk])
        return outputs

    def _run(self, features: Features) -> Outputs:
        batch, context = len(features), self._context
        with torch.cuda.stream(self._stream):
            self._given[:batch].copy_(torch.from_numpy(np.ascontiguousarray(features)))
            context.set_optimization_profile_async(self._settings.profile_of(batch), self._stream.cuda_stream)
            context.set_input_shape("features", (batch, *self._shape))
            context.set_tensor_address("features", self._given.data_ptr())
            context.set_tensor_address("outputs", self._made.data_ptr())
            if not context.execute_async_v3(self._stream.cuda_stream):
                raise EngineError(f"TensorRT for RTX failed on a batch of {batch}")
            outputs: Outputs = self._made[:batch].cpu().numpy()
        return outputs

    def warm_up(self) -> None:
        """Run each profile once, and keep what was compiled for this GPU."""
        for bucket in self._settings.buckets:
            self.score(np.zeros((bucket, *self._shape), np.float32))
        publish(self._kept, bytes(self._runtime_cache.serialize()))

    def describe(self) -> EngineDescription:
        """Name, device, precision and version."""
        return EngineDescription(
            name="tensorrt-rtx",
            device=torch.cuda.get_device_name(),
            precision=self._settings.precision,
            version=self._settings.version,
        )
