"""The engines by name. To add one: a file beside this one and a line here (CONTRIBUTING.md)."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from livemos.agent.bundle import FP32, Bundle
from livemos.agent.engine.base import Engine
from livemos.agent.engine.constant_engine import ConstantEngine
from livemos.agent.engine.onnx_engine import OnnxEngine
from livemos.agent.errors import ConfigError, EngineError

EngineFactory = Callable[..., Engine]


def _optional(module: str, name: str, extra: str) -> EngineFactory:
    """A factory that imports its runtime when it is called, and says which extra brings it."""

    def make(bundle: Bundle, *, threads: int = 1, precision: str = FP32) -> Engine:
        try:
            factory: EngineFactory = getattr(import_module(f"livemos.agent.engine.{module}"), name)
        except ModuleNotFoundError as missing:
            if (missing.name or "").startswith("livemos.agent"):
                raise
            raise EngineError(
                f"this engine needs the extra [{extra}] ({missing.name} is not installed); "
                f"install it with: pip install 'livemos[{extra}]'"
            ) from missing
        return factory(bundle, threads=threads, precision=precision)

    return make


ENGINES: dict[str, EngineFactory] = {
    "onnxruntime": OnnxEngine,
    "openvino": _optional("openvino_engine", "OpenVinoEngine", "openvino"),
    "torch": _optional("torch_engine", "TorchEngine", "gpu"),
    "tensorrt-rtx": _optional("tensorrt_engine", "TensorRtEngine", "tensorrt-rtx"),
    "constant": ConstantEngine,
}


def make_engine(name: str, bundle: Bundle, *, threads: int = 1) -> Engine:
    """The engine `name`, or `name/precision` ("onnxruntime/int8"), bundle loaded.

    Raises ConfigError for an unknown name, BundleError for a precision the bundle lacks, EngineError from the runtime.
    """
    engine, _, precision = name.partition("/")
    if engine not in ENGINES:
        raise ConfigError(f"engine {name!r} is unknown; choose one of: {', '.join(sorted(ENGINES))}")
    return ENGINES[engine](bundle, threads=threads, precision=precision or FP32)
