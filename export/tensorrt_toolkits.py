"""TensorRT for RTX and TensorRT: one builder, and what differs between the two behind a small Protocol.

Neither ships types, and TensorRT is on no public index: their modules are Any here, imported when they are asked for.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any, Protocol

import onnx
from google.protobuf.message import DecodeError

from livemos.agent.engine.plans import PlanSettings
from livemos.agent.errors import EngineError, MissingExtraError
from livemos.export.to_onnx import without_functions

_OLDEST_TENSORRT = (10, 9)  # the first with plugins compiled ahead of time


class Toolkit(Protocol):
    """What differs between the two."""

    name: str

    def module(self) -> Any:
        """The imported package. Raises MissingExtraError or EngineError."""
        ...

    def compute_capabilities(self) -> tuple[str, ...]:
        """The GPUs that a plan built here is for."""
        ...

    def prepare(self, graph: bytes) -> bytes:
        """The graph as its parser wants it, plugins registered. Raises EngineError."""
        ...

    def configure(self, config: Any, settings: PlanSettings) -> None:
        """Options of its own on a builder configuration."""
        ...


class TensorRtRtx:
    """TensorRT for RTX: plans for several GPUs at once, built without one; it puts the function in the node's place."""

    name = "tensorrt-rtx"

    def module(self) -> Any:
        """tensorrt_rtx."""
        try:
            return import_module("tensorrt_rtx")
        except ModuleNotFoundError as missing:
            raise MissingExtraError("export --plans", "tensorrt-rtx", "tensorrt_rtx") from missing

    def compute_capabilities(self) -> tuple[str, ...]:
        """A100, consumer 30 and 40 series, 50 series; it has none for H100."""
        return ("8.0", "8.6", "8.9", "12.0")

    def prepare(self, graph: bytes) -> bytes:
        """As it is; refused where a node has neither an operator nor a function."""
        try:
            model = onnx.load_from_string(graph)
        except DecodeError as damaged:
            raise EngineError(f"the graph is damaged ({damaged}); export the bundle again") from damaged
        known = {(function.domain, function.name) for function in model.functions}
        for node in model.graph.node:
            if node.domain not in ("", "ai.onnx") and (node.domain, node.op_type) not in known:
                raise EngineError(
                    f"the graph has the node {node.domain}::{node.op_type} without its function, which {self.name} "
                    f"needs; export the bundle again with: livemos export --checkpoint FILE --out BUNDLE"
                )
        return graph

    def configure(self, config: Any, settings: PlanSettings) -> None:
        """The GPUs."""
        capability = self.module().ComputeCapability
        config.num_compute_capabilities = len(settings.compute_capabilities)
        for index, name in enumerate(settings.compute_capabilities):
            config.set_compute_capability(getattr(capability, f"SM{name.replace('.', '')}"), index)


class TensorRt:
    """TensorRT, with the Triton kernel as a plugin: plans for the GPU that builds them. Built, not executed."""

    name = "tensorrt"

    def module(self) -> Any:
        """tensorrt, 10.9 or later."""
        try:
            module = import_module("tensorrt")
        except ImportError as missing:
            raise EngineError(
                f"TensorRT is not installed ({missing}); it comes from NVIDIA's own package index, "
                f"or use TensorRT for RTX: pip install 'livemos[tensorrt-rtx]'"
            ) from missing
        version = tuple(int(part) for part in module.__version__.split(".")[:2])
        if version < _OLDEST_TENSORRT:
            raise EngineError(f"TensorRT {module.__version__} is too old; plugins need 10.9 or later")
        return module

    def compute_capabilities(self) -> tuple[str, ...]:
        """Of the GPU that is here."""
        import torch

        if not torch.cuda.is_available():
            raise EngineError("TensorRT builds plans on the GPU they are for, and no CUDA device is here")
        major, minor = torch.cuda.get_device_capability()
        return (f"{major}.{minor}",)

    def prepare(self, graph: bytes) -> bytes:
        """Without functions: a function would win over the plugin."""
        from livemos.export.asp_plugin import register_plugin

        register_plugin()
        return without_functions(graph)

    def configure(self, config: Any, settings: PlanSettings) -> None:
        """Nothing of its own."""


TOOLKITS: dict[str, Toolkit] = {"tensorrt-rtx": TensorRtRtx(), "tensorrt": TensorRt()}


class Messages:
    """What a toolkit logged as an error since the last `take`."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, line: str) -> None:
        """Keep one."""
        self._lines.append(" ".join(line.split()))

    def take(self) -> list[str]:
        """Those kept, which are forgotten."""
        lines, self._lines = self._lines, []
        return lines


@lru_cache(maxsize=2)  # a toolkit keeps the first logger of the process and drops all later ones
def logger_of(module: Any) -> tuple[Any, Messages]:
    """The one logger of a toolkit in this process, and where its errors go."""
    messages = Messages()

    class Logger(module.ILogger):  # type: ignore[misc]  # a base without types
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity <= module.ILogger.ERROR:
                messages.add(message)

    return Logger(), messages
